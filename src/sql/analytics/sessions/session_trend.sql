/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_trend(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_point
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
  v_bounds constant timestamptz[] := analytics._bounds(
    _session_trend.bucket, _session_trend.since, _session_trend.until, _session_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  -- Analysts see the values of each day or shorter bucket.
  v_by_day constant boolean := analytics._is_by_day(_session_trend.breakdown, _session_trend.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_count * analytics._value_count(_session_trend.breakdown, _session_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_trend.among, _session_trend.smallest_group) as member;

  return query
  with started as materialized (
    select
      session.person_id, width_bucket(session.started_at, v_bounds) as bucket, session.views, session.duration,
      session.engaged,
      case
        when not v_by_day then 0
        when _session_trend.bucket in ('minute', 'hour', 'day') then width_bucket(session.started_at, v_bounds)
        else session.started_at::date - date '0001-01-01'
      end as day
    from analytics._sessions(v_bounds, _session_trend.among, _session_trend.smallest_group) as session
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct started.day, started.person_id from started where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_trend.breakdown, _session_trend.top_values, _session_trend.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  valued as (
    select null::text as value, false as is_other, started.*
    from started
    where _session_trend.breakdown is null

    union all

    select part.value, part.is_other, started.*
    from part
    join started
      on started.person_id / 4096 = part.block
      and started.day = part.day
      and get_bit(part.people, (started.person_id % 4096)::int) <> 0
    where _session_trend.breakdown is not null
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bucket,
      count(*) as session_count,
      count(distinct valued.person_id) as person_count,
      avg(valued.duration) as mean_duration,
      percentile_cont(0.5) within group (order by valued.duration) as median_duration,
      avg(valued.engaged) as mean_engaged,
      percentile_cont(0.5) within group (order by valued.engaged) as median_engaged,
      avg(valued.views)::float8 as mean_views,
      count(*) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds') as bounce_count,
      count(distinct valued.person_id) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds')
        as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(
          counted.bounce_count, counted.bounced_people, _session_trend.smallest_group, counted.session_count
        ),
        0
      )::bigint as bounce_count,
      counted.person_count as exact_people, counted.mean_duration, counted.median_duration, counted.mean_engaged,
      counted.median_engaged, counted.mean_views
    from (
      select distinct counted.value, counted.is_other from counted where _session_trend.breakdown is not null
      union all
      select null, false where _session_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.session_count,
    shown.person_count,
    shown.session_count::float8 / nullif(shown.person_count, 0),
    analytics._shown_time(shown.mean_duration, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(
      shown.median_duration, shown.exact_people, _session_trend.smallest_group, shown.mean_duration
    ),
    analytics._shown_time(shown.mean_engaged, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(shown.median_engaged, shown.exact_people, _session_trend.smallest_group, shown.mean_engaged),
    analytics._shown_mean(shown.mean_views, shown.exact_people, _session_trend.smallest_group),
    shown.bounce_count,
    -- least() ignores a null.
    case when shown.session_count > 0 then least(shown.bounce_count::float8 / shown.session_count, 1) end,
    v_bounds[shown.bucket + 1] <= now(),
    _session_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

alter function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
) is $$
Computes the result of `analytics.session_trend`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_trend_shown(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
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
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst;

create or replace function analytics.session_trend(
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_trend(text, timestamptz, timestamptz, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_trend(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values, null
    );
  else
    return query
    select *
    from analytics._session_trend_shown(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns sessions by time bucket, with their duration, engaged time, depth and bounces.
A session counts in the bucket in which it started, from `since` until `until` (extended to whole buckets of the zone;
weeks start on Monday). A bounce is a session of at most one page view and less than 10 seconds of engaged time.
`among`: people of these sets now; `breakdown`: `set.<family>` or `trait.<name>`, of which the `top_values` values of
most people are named; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set or zone (names the nearest), CF008 for more than
100,000 buckets and values.
$$;

grant execute on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
