/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.session_bin
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
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
  v_times constant interval[] := array(
    select make_interval(secs => entry.seconds)
    from unnest(v_starts) with ordinality as entry (seconds, number)
    order by entry.number
  );
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(
    _session_distribution.breakdown, _session_distribution.smallest_group
  );
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;
  perform common.check_count('top_values', _session_distribution.top_values, 1, 100);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_distribution.among, _session_distribution.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_distribution.among, array[v_days[1], v_days[cardinality(v_days)]],
      _session_distribution.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.ended_at - session.started_at, v_times)
        else width_bucket(session.view_count::float8, v_starts)
      end as bin,
      count(*) as session_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_distribution.breakdown, _session_distribution.top_values, _session_distribution.smallest_group,
      v_blocks, v_people, used.days, used.people
    ) as part
  ),

  -- One row per value, person and bin: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.bin, by_person.person_id, by_person.session_count
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    where _session_distribution.breakdown is null

    union all

    select
      part.value, part.is_other, by_person.bin, by_person.person_id,
      sum(by_person.session_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _session_distribution.breakdown is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bin, sum(valued.session_count) as session_count,
      count(*) as person_count
    from valued
    group by valued.value, valued.is_other, valued.bin
  ),

  shown as (
    select
      part.value, part.is_other, listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _session_distribution.breakdown is not null
      union all
      select null, false where _session_distribution.breakdown is null
    ) as part
    cross join generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted
      on counted.value is not distinct from part.value
      and counted.is_other = part.is_other
      and counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count
      / nullif(sum(shown.session_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bin;
end;
$$;

alter function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
owner to insights_reader;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.session_distribution`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
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
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values, null
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
