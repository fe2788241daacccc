/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Of "..." in the order of the names.
  v_place_of_others float8;
  v_size bigint;
  -- Of the transitions of a step; there are fewer than 32 steps.
  v_steps_size bigint;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_paths.breakdown, _paths.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  if _paths.breakdown is not null and _paths.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;
  v_size := cardinality(v_names) + 2;
  v_steps_size := 32 * v_size * v_size;
  v_place_of_others := 0.5 + (select count(*) from unnest(v_names) as name where name collate "C" < '...');

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_paths.among, _paths.smallest_group) as member;

  return query
  -- A transition is one number, which is grouped faster: its step, source and target, which is 0 at the end of a path.
  with moved as not materialized (
    select
      path.person_id, path.day, path.is_member, path.is_compared,
      (path.step * v_size + path.source + 1) * v_size + coalesce(path.target + 1, 1) as edge,
      (path.ended - path.started)::float8 as took
    from (
      select
        path.person_id, path.is_member, path.is_compared, generate_series(1::bigint, cardinality(path.nodes)) as step,
        case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
        unnest(path.nodes) as source, unnest(path.nodes[2:]) as target, unnest(path.starts) as started,
        unnest(path.starts[2:]) as ended
      from analytics._session_paths(
        v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type,
        analytics._node_number(v_names, _paths.start_at, 'start_at'),
        analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, true, _paths.among,
        _paths.compared_with, _paths.smallest_group
      ) as path
    ) as path
  ),

  divided as materialized (
    select moved.* from moved where _paths.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  part as materialized (
    select
      part.value, part.is_other, part.day, part.block, part.people,
      dense_rank() over (order by part.is_other, part.value is null, part.value) as number
    from used
    cross join lateral analytics._groups_of_use(
      _paths.breakdown, _paths.top_values, _paths.smallest_group, v_blocks, v_people, used.days, used.people
    ) as part
    where _paths.breakdown is not null
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.number
    from (select distinct divided.person_id, divided.day from divided) as person
    join part
      on part.block = person.person_id / 4096
      and part.day = person.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
  ),

  -- The number of the value comes before the step.
  view as materialized (
    select moved.person_id, moved.is_member, moved.is_compared, moved.edge, moved.took
    from moved
    where _paths.breakdown is null

    union all

    select
      divided.person_id, divided.is_member, divided.is_compared, place.number * v_steps_size + divided.edge,
      divided.took
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
  ),

  edge as materialized (
    select
      view.edge,
      (view.edge / v_steps_size)::int as part,
      (view.edge % v_steps_size / (v_size * v_size))::int as step,
      (view.edge / v_size % v_size - 1)::int as source,
      nullif(view.edge % v_size - 1, 0)::int as target,
      (count(*) filter (where view.is_member))::float8 as transition_count,
      (count(*) filter (where view.is_compared))::float8 as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.edge
  ),

  -- The people of exact figures are counted for these only.
  candidate as materialized (
    select ranked.*
    from (
      select
        edge.*,
        row_number() over (
          partition by edge.part
          order by
            greatest(edge.transition_count, edge.compared_count) desc, edge.step,
            case edge.source when -1 then v_place_of_others else edge.source end,
            case edge.target when -1 then v_place_of_others else edge.target end
        ) as rank
      from edge
      where edge.target is not null
    ) as ranked
    where _paths.smallest_group is not null
      or ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  counted as (
    select
      by_person.edge,
      count(*) filter (where by_person.is_member) as person_count,
      count(*) filter (where by_person.is_compared) as compared_people
    from (
      select view.edge, view.person_id, bool_or(view.is_member) as is_member, bool_or(view.is_compared) as is_compared
      from view
      join candidate on candidate.edge = view.edge
      group by view.edge, view.person_id
    ) as by_person
    group by by_person.edge
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.part, edge.step, edge.source, sum(edge.transition_count) as path_count,
      sum(edge.compared_count) as compared_count
    from edge
    group by edge.part, edge.step, edge.source
  ),

  shown as materialized (
    select
      candidate.part, candidate.step, candidate.source, candidate.target,
      candidate.took / nullif(candidate.transition_count, 0) as mean_microseconds, counted.person_count,
      counted.compared_people,
      analytics._shown(
        candidate.transition_count, counted.person_count, _paths.smallest_group
      )::bigint as transition_count,
      analytics._shown(
        candidate.compared_count, counted.compared_people, _paths.smallest_group
      )::bigint as compared_count
    from candidate
    join counted on counted.edge = candidate.edge
    where counted.person_count >= coalesce(_paths.smallest_group, 1)
      or counted.compared_people >= coalesce(_paths.smallest_group, 1)
  ),

  -- All other figures are those of these only. The nodes are numbered in the order of their names.
  largest as materialized (
    select ranked.*
    from (
      select
        shown.*,
        row_number() over (
          partition by shown.part
          order by
            greatest(shown.transition_count, shown.compared_count) desc, shown.step,
            case shown.source when -1 then v_place_of_others else shown.source end,
            case shown.target when -1 then v_place_of_others else shown.target end
        ) as rank
      from shown
    ) as ranked
    where ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  related as (
    select
      largest.*,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as compared_path_count
    from largest
    join node on node.part = largest.part and node.step = largest.step and node.source = largest.source
  )

  select
    related.step,
    coalesce(v_names[related.source], '...'),
    coalesce(v_names[related.target], '...'),
    related.transition_count,
    analytics._shown(related.person_count, related.person_count, _paths.smallest_group)::bigint,
    -- least() ignores a null.
    case when related.path_count > 0 then least(related.transition_count / related.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (related.mean_microseconds / 1000000)::float8), related.person_count,
      _paths.smallest_group
    ),
    case when _paths.compared_with is not null then related.compared_count end,
    case
      when _paths.compared_with is not null
        then analytics._shown(related.compared_people, related.compared_people, _paths.smallest_group)::bigint
    end,
    case
      when _paths.compared_with is not null and related.compared_path_count > 0
        then least(related.compared_count / related.compared_path_count, 1)
    end,
    part.value,
    coalesce(part.is_other, false)
  from related
  left join (select distinct part.number, part.value, part.is_other from part) as part on part.number = related.part
  order by related.part, related.rank;
end;
$$;

alter function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
)
owner to insights_reader;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.paths`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_edge
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, '
      || 'int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values, null
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`:
the names of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other
events. `wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of
the first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of
the last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` transitions of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;
