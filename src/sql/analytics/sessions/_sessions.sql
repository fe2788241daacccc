create or replace function analytics._sessions(bounds timestamptz[], among text, smallest_group int)
returns table (
  person_id bigint,
  started_at timestamptz,
  duration interval,
  engaged interval,
  views int,
  entry_item_id bigint,
  exit_item_id bigint
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, _sessions.among, _sessions.bounds, _sessions.smallest_group)
  end;
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(entry.block), array_agg(entry.people & ~coalesce(excluded.people, b'0'::bit(4096)))
  into v_blocks, v_people
  from analytics._among(_sessions.among, _sessions.smallest_group) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  )

  select
    session.person_id, session.started_at, session.ended_at - session.started_at, session.engaged, session.view_count,
    session.entry_item_id, session.exit_item_id
  from track.session
  join member
    on member.block = session.person_id / 4096
    and get_bit(member.people, (session.person_id % 4096)::int) <> 0
  where session.started_at >= bounds[1]
    and session.started_at < bounds[cardinality(bounds)]
    and session.person_id <> 0
    and (v_visible is null or session.started_at <@ v_visible);
end;
$$;

comment on function analytics._sessions(timestamptz[], text, int) is $$
Returns the sessions of people who are not excluded that started in a period, with the privileges of the caller.
`bounds`: ascending times. `smallest_group`: of counted people, in `analytics._visible_periods`; null: of all. As of
the last refresh of the sessions.
$$;

grant execute on function analytics._sessions(timestamptz[], text, int) to insights_reader;
