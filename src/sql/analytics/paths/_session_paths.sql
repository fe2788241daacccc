create or replace function analytics._session_paths(
  since timestamptz,
  until timestamptz,
  node_of int[],
  node_of_type int[],
  start_node int,
  end_node int,
  steps int,
  with_starts boolean,
  among text,
  compared_with text,
  smallest_group int
)
returns table (
  person_id bigint, started_at timestamptz, is_member boolean, is_compared boolean, nodes int[], starts bigint[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Of analysts, the periods in which each of the sets is a group; otherwise null.
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, _session_paths.among, array[since, until], _session_paths.smallest_group)
  end;
  v_compared_visible constant tstzmultirange := case
    when smallest_group is not null and compared_with is not null
      then analytics._visible_periods(
        0, null, _session_paths.compared_with, array[since, until], _session_paths.smallest_group
      )
  end;
  v_half constant int := _session_paths.steps / 2;
  v_blocks int[];
  v_people bit(4096)[];
  v_compared bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people), array_agg(compared.people)
  into v_blocks, v_people, v_compared
  from analytics._members(_session_paths.among, _session_paths.smallest_group) as member
  join analytics._members(_session_paths.compared_with, _session_paths.smallest_group) as compared
    on compared.block = member.block;

  return query
  with member as materialized (
    select
      entry.block, entry.people,
      case when _session_paths.compared_with is not null then entry.compared end as compared
    from unnest(v_blocks, v_people, v_compared) as entry (block, people, compared)
  ),

  -- Views of nodes.
  viewed as (
    select
      session.person_id, session.started_at,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0
        and (v_visible is null or session.started_at <@ v_visible) as is_member,
      coalesce(
        get_bit(member.compared, (session.person_id % 4096)::int) <> 0
          and (v_compared_visible is null or session.started_at <@ v_compared_visible),
        false
      ) as is_compared,
      view.nodes, view.starts
    from track.session
    join member on member.block = session.person_id / 4096
    cross join lateral (
      select array_agg(viewed.node) as nodes, array_agg(viewed.start) filter (where with_starts) as starts
      from (
        select
          node_of[unnest(session.view_item_ids)] as node,
          unnest(case when with_starts then session.view_starts end) as start,
          unnest(session.view_continued) as is_continued
      ) as viewed
      where viewed.node > 0
        and viewed.is_continued is not true
    ) as view
    where node_of_type is null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.view_item_ids is not null
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ (v_visible + coalesce(v_compared_visible, '{}')))
  ),

  -- Events of nodes, from the journeys. Those of the same instant are in the order of their types.
  happened as (
    select
      session.person_id, session.started_at,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0
        and (v_visible is null or session.started_at <@ v_visible) as is_member,
      coalesce(
        get_bit(member.compared, (session.person_id % 4096)::int) <> 0
          and (v_compared_visible is null or session.started_at <@ v_compared_visible),
        false
      ) as is_compared,
      place.nodes, place.starts
    from track.session
    cross join lateral (
      select
        array_agg(event.node order by event.at, event.event_type_id, event.node) as nodes,
        array_agg(
          (extract(epoch from event.at - session.started_at) * 1000000)::bigint
          order by event.at, event.event_type_id, event.node
        ) as starts
      from (
        select
          sliced.event_type_id, sliced.at,
          case when node_of_type[sliced.event_type_id] = -1 then node_of[sliced.item_id]
            else node_of_type[sliced.event_type_id]
          end as node
        from (
          select
            part.event_type_id,
            unnest(part.occurred_at[part.before + 1:part.until]) as at,
            unnest(part.item_ids[part.before + 1:part.until]) as item_id
          from (
            select
              step.event_type_id, step.occurred_at, step.item_ids,
              width_bucket(session.started_at - interval '1 microsecond', step.occurred_at) as before,
              width_bucket(session.ended_at, step.occurred_at) as until
            from track.step
            where step.person_id = session.person_id
              and not step.is_automatic
              and node_of_type[step.event_type_id] <> 0
          ) as part
        ) as sliced
      ) as event
      where event.node > 0
    ) as place
    join member on member.block = session.person_id / 4096
    where node_of_type is not null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ (v_visible + coalesce(v_compared_visible, '{}')))
  ),

  view as (
    select * from viewed
    union all
    select * from happened
  )

  select view.person_id, view.started_at, view.is_member, view.is_compared, cut.nodes, cut.starts
  from view
  -- The last of several equal ones in succession.
  cross join lateral (
    select array_agg(run.node) as nodes, array_agg(run.start) filter (where with_starts) as starts
    from (
      select unnest(view.nodes) as node, unnest(view.nodes[2:] || 0) as next, unnest(view.starts) as start
    ) as run
    where run.node <> run.next
  ) as path
  cross join lateral (
    select
      case when start_node is null then 1 else array_position(path.nodes, start_node) end as first_place
  ) as start
  cross join lateral (
    select
      case
        when start.first_place is null then null
        when end_node is null then cardinality(path.nodes)
        else array_position(path.nodes, end_node, start.first_place)
      end as last_place
  ) as stop
  cross join lateral (
    select
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.nodes[start.first_place:stop.last_place]
        when end_node is null
          then path.nodes[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.nodes[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.nodes[start.first_place:start.first_place + v_half - 1] || -1
          || path.nodes[stop.last_place - v_half + 1:stop.last_place]
      end as nodes,
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.starts[start.first_place:stop.last_place]
        when end_node is null
          then path.starts[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.starts[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.starts[start.first_place:start.first_place + v_half]
          || path.starts[stop.last_place - v_half + 1:stop.last_place]
      end as starts
  ) as cut
  where stop.last_place is not null
    and (view.is_member or view.is_compared);
end;
$$;

comment on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
) is $$
Returns the paths through the sessions that started in a period, with the privileges of the caller.
`node_of`: the number of the node of each item, by its key; 0: none. `node_of_type`: that of each event type, -1 for the
node of the item; null: nodes are page views. `start_node`: the path starts with the first such
node; `end_node`: it ends with the first one (after the start). At most `steps` nodes: the first ones, with an end the
last ones, and with both the first and the last half with -1 in place of those between. Equal nodes in succession are
one, that of the last view. `starts`: start of each view, in microseconds after that of the session; null unless
`with_starts`.
`started_at`: start of the session. `is_member`, `is_compared`: whether the person is one of `among` and of
`compared_with`. As of the last refresh of the sessions. `smallest_group`: counted people, in periods with enough of
them in each of the sets (`analytics._visible_periods`); null: all.
$$;

grant execute on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
)
to insights_reader;
