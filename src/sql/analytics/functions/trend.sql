/* The exact figures, of all people and of counted people. `analytics._trend_points` shows them. */
create or replace function analytics._trend(
  event_type_id int, bucket text, since timestamptz, until timestamptz, of_days date[] default null
)
returns table (
  bucket_start timestamptz, event_count bigint, person_count bigint, counted_events bigint, counted_people bigint
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (_trend.since at time zone 'UTC')::date;
  v_end_day constant date := (_trend.until at time zone 'UTC')::date;
  v_queued record;
begin
  -- Hours are not in the rollup.
  if _trend.bucket = 'hour' then
    return query
    with by_person as (
      select
        date_trunc('hour', event.occurred_at at time zone 'UTC') as bucket_start, event.person_id, count(*) as events
      from track.event
      where event.event_type_id = _trend.event_type_id
        and event.occurred_at >= _trend.since
        and event.occurred_at < _trend.until
      group by 1, 2
    )
    select
      by_person.bucket_start at time zone 'UTC',
      sum(by_person.events)::bigint,
      count(nullif(by_person.person_id, 0)),
      coalesce(
        sum(by_person.events) filter (where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0), 0
      )::bigint,
      count(*) filter (where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0)
    from by_person
    left join track.person_set_blocks('counted') as counted on counted.block = by_person.person_id / 4096
    left join track.person_set_blocks('excluded') as excluded on excluded.block = by_person.person_id / 4096
    where coalesce(get_bit(excluded.people, (by_person.person_id % 4096)::int), 0) = 0
    group by by_person.bucket_start;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select activity.person_id, activity.day, -activity.event_count as event_count, true as was
    from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    where activity.event_type_id = _trend.event_type_id
    union all
    select activity.person_id, activity.day, activity.event_count, false
    from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, _trend.event_type_id)
      as activity
  ),

  change as (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not queued.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where queued.is_counted), 0) as counted_count
    from (
      select
        queued.*,
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
      from queued
      left join excluded on excluded.block = queued.person_id / 4096
      left join counted on counted.block = queued.person_id / 4096
      left join track.person_set_block as stored_excluded
        on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
      left join track.person_set_block as stored_counted
        on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    ) as queued
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count, presence.counted_count
    from track.presence
    where presence.event_type_id = _trend.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
  ),

  by_block as (
    select
      date_trunc(_trend.bucket, coalesce(present.day, change.day)::timestamp) as bucket_start,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count,
      sum(coalesce(present.counted_count, 0) + coalesce(change.counted_count, 0)) as counted_count
    from present
    full join change on change.day = present.day and change.block = present.block
    where _trend.of_days is null
      or coalesce(present.day, change.day) = any (_trend.of_days)
    group by 1, 2
  )

  select
    by_block.bucket_start at time zone 'UTC',
    sum(by_block.event_count)::bigint,
    sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)))::bigint,
    sum(by_block.counted_count)::bigint,
    coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint
  from by_block
  left join excluded on excluded.block = by_block.block
  left join counted on counted.block = by_block.block
  group by by_block.bucket_start
  having sum(by_block.event_count) > 0;
end;
$$;

comment on function analytics._trend(int, text, timestamptz, timestamptz, date[]) is $$
Returns the exact numbers of events and people per bucket that has events, with the privileges of the caller.
`since` and `until` are bounds of buckets, in UTC. `of_days`: only these days, UTC, of buckets of a day or more; null:
all. Events and people are those of all people who are not excluded, and those of the set `counted`. Days are read from
the bits of `track.presence`, hours from the events.
$$;

grant execute on function analytics._trend(int, text, timestamptz, timestamptz, date[]) to insights_reader;

create or replace function analytics._trend_of_groups(
  event_type_id int, bucket text, since timestamptz, until timestamptz, smallest_group int
)
returns table (bucket_start timestamptz, event_count bigint, person_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_week constant interval := interval '7 days';
  v_first_week constant timestamptz := date_trunc('week', _trend_of_groups.since);
  v_end_week constant timestamptz := date_trunc('week', _trend_of_groups.until - interval '1 microsecond') + v_week;
  v_small_days date[];
  v_days date[];
begin
  if _trend_of_groups.bucket = 'hour' then
    -- Of whole days, so that the hours that are left out do not depend on the period.
    return query
    with counted as (
      select
        kernel.bucket_start,
        kernel.counted_events,
        kernel.counted_people,
        kernel.counted_people >= _trend_of_groups.smallest_group as is_group,
        bool_or(kernel.counted_people between 1 and _trend_of_groups.smallest_group - 1) over of_day as has_small_hour,
        date_trunc('day', kernel.bucket_start) as day
      from analytics._trend(
        _trend_of_groups.event_type_id,
        'hour',
        date_trunc('day', _trend_of_groups.since),
        date_trunc('day', _trend_of_groups.until - interval '1 microsecond') + interval '1 day'
      ) as kernel
      window of_day as (partition by date_trunc('day', kernel.bucket_start))
    ),

    numbered as (
      select
        counted.*,
        row_number() over (
          partition by counted.day, counted.is_group
          order by counted.counted_people, counted.bucket_start
        ) as position
      from counted
    )

    select numbered.bucket_start, numbered.counted_events, numbered.counted_people
    from numbered
    where numbered.is_group
      and (not numbered.has_small_hour or numbered.position > 1);
    return;
  end if;

  select
    array_agg(kernel.bucket_start::date) filter (where kernel.counted_people < _trend_of_groups.smallest_group),
    coalesce(
      array_agg(kernel.bucket_start::date) filter (where kernel.counted_people >= _trend_of_groups.smallest_group), '{}'
    )
  into v_small_days, v_days
  from analytics._trend(_trend_of_groups.event_type_id, 'day', v_first_week, v_end_week) as kernel;

  if v_small_days is not null and _trend_of_groups.bucket <> 'day' then
    v_days := v_days || array(
      select small.day
      from analytics._trend(
        _trend_of_groups.event_type_id, 'week', v_first_week, v_end_week, v_small_days
      ) as week
      join unnest(v_small_days) as small (day)
        on date_trunc('week', small.day::timestamptz) = week.bucket_start
      where week.counted_people >= _trend_of_groups.smallest_group
        -- A month contains the weeks that are whole within it.
        and date_trunc(_trend_of_groups.bucket, week.bucket_start)
          = date_trunc(_trend_of_groups.bucket, week.bucket_start + interval '6 days')
    );
  end if;

  return query
  select kernel.bucket_start, kernel.counted_events, kernel.counted_people
  from analytics._trend(
    _trend_of_groups.event_type_id, _trend_of_groups.bucket, _trend_of_groups.since, _trend_of_groups.until, v_days
  ) as kernel;
end;
$$;

comment on function analytics._trend_of_groups(int, text, timestamptz, timestamptz, int) is $$
Returns the numbers of events and counted people per bucket, so that no difference of buckets is that of a small group.
A day with fewer than `smallest_group` people is in no figure by itself: the small days of a week (from Monday) count
together, in the buckets that contain the whole week, when they have at least `smallest_group` people together, and
otherwise nowhere. By hour, small hours are left out, and in each day that has one the smallest other hour as well
(secondary suppression): what is missing of a day has at least `smallest_group` people.
$$;

grant execute on function analytics._trend_of_groups(int, text, timestamptz, timestamptz, int) to insights_reader;

create or replace function analytics._trend_points(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = _trend_points.event_name
  );
  v_longest constant interval := interval '10000 hours';
  v_length interval;
  v_since timestamptz;
  v_until timestamptz;
begin
  perform common.check_period(_trend_points.since, _trend_points.until);
  if length(_trend_points.event_name) > 200 then
    perform common.refuse('CF008', format('event_name has %s characters', length(_trend_points.event_name)),
      'The name of an event has 200 at most.');
  end if;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_trend_points.event_name, 100)),
      coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(_trend_points.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(_trend_points.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  if _trend_points.bucket is null or _trend_points.bucket not in ('hour', 'day', 'week', 'month') then
    perform common.refuse('CF001', format('bucket is "%s"', left(_trend_points.bucket, 100)),
      'Use hour, day, week (from Monday) or month.');
  end if;
  perform common.check_count('window_size', _trend_points.window_size, 1, 10000);
  if not isfinite(_trend_points.since) or not isfinite(_trend_points.until)
    or _trend_points.until - _trend_points.since > v_longest * (
      case _trend_points.bucket
        when 'hour' then 1
        when 'day' then 24
        when 'week' then 168
        else 720
      end
    )
  then
    perform common.refuse(
      'CF008',
      format(
        'from %s until %s there are more than 10000 buckets of one %s',
        _trend_points.since, _trend_points.until, _trend_points.bucket
      ),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  -- Whole buckets: what a bucket contains, and so its figures, does not depend on the arguments.
  v_length := ('1 ' || _trend_points.bucket)::interval;
  v_since := date_trunc(_trend_points.bucket, _trend_points.since);
  v_until := date_trunc(_trend_points.bucket, _trend_points.until - interval '1 microsecond') + v_length;

  return query
  with counted as (
    select kernel.bucket_start, kernel.event_count, kernel.person_count
    from analytics._trend(v_event_type_id, _trend_points.bucket, v_since, v_until) as kernel
    where _trend_points.smallest_group is null

    union all

    select of_groups.bucket_start, of_groups.event_count, of_groups.person_count
    from analytics._trend_of_groups(
      v_event_type_id, _trend_points.bucket, v_since, v_until, _trend_points.smallest_group
    ) as of_groups
    where _trend_points.smallest_group is not null
  ),

  filled as (
    select
      bucket.bucket_start,
      bucket.ordinality as bucket_number,
      bucket.bucket_start + v_length <= now() as is_complete,
      coalesce(
        analytics._shown(counted.event_count, counted.person_count, _trend_points.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _trend_points.smallest_group), 0
      )::bigint as person_count
    from generate_series(v_since, v_until - interval '1 microsecond', v_length)
      with ordinality as bucket (bucket_start, ordinality)
    left join counted using (bucket_start)
  )

  -- The rows after the last complete bucket have its number, and so its average and slope.
  select
    filled.bucket_start,
    filled.event_count,
    filled.person_count,
    (avg(filled.event_count) filter (where filled.is_complete) over last_buckets)::float8,
    regr_slope(filled.event_count::float8, filled.bucket_number::float8)
      filter (where filled.is_complete) over last_buckets,
    filled.is_complete
  from filled
  cross join (
    select max(complete.bucket_number) as bucket_number from filled as complete where complete.is_complete
  ) as last_complete
  window last_buckets as (
    order by least(filled.bucket_number, last_complete.bucket_number)
    range between (_trend_points.window_size - 1)::bigint preceding and current row
  )
  order by filled.bucket_number;
end;
$$;

comment on function analytics._trend_points(text, text, timestamptz, timestamptz, int, int) is $$
Computes the result of `analytics.trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._trend_of_groups` and `analytics._shown`); null:
exact figures of all people. Averages and slopes are computed from the figures as shown.
$$;

grant execute on function analytics._trend_points(text, text, timestamptz, timestamptz, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trend_exact(
  event_name text, bucket text, since timestamptz, until timestamptz, window_size int
)
returns setof analytics.trend_point
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
  select * from analytics._trend_points($1, $2, $3, $4, $5, null);
$$;

alter function analytics._trend_exact(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics._trend_exact(text, text, timestamptz, timestamptz, int) is $$
Returns the result of `analytics.trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._trend_exact(text, text, timestamptz, timestamptz, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trend_shown(
  event_name text, bucket text, since timestamptz, until timestamptz, window_size int
)
returns setof analytics.trend_point
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
  from analytics._trend_points($1, $2, $3, $4, $5, (select smallest_group from analytics.setting));
$$;

alter function analytics._trend_shown(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics._trend_shown(text, text, timestamptz, timestamptz, int) is $$
Returns the result of `analytics.trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._trend_shown(text, text, timestamptz, timestamptz, int)
to insights_analyst;

create or replace function analytics.trend(
  event_name text,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  window_size int default 7
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._trend_exact(text, text, timestamptz, timestamptz, int)', 'execute') then
    return query
    select *
    from analytics._trend_exact(trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size);
  else
    return query
    select *
    from analytics._trend_shown(trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size);
  end if;
end;
$$;

comment on function analytics.trend(text, text, timestamptz, timestamptz, int) is $$
Returns the number of events of a type per time bucket, of the buckets from `since` until `until` (exclusive).
Buckets are in UTC, weeks start on Monday, and empty buckets are zero. The period is extended to whole buckets at both
ends: the figures of a bucket do not depend on the arguments. Each bucket has the numbers of events and distinct people,
the running average over the last `window_size` complete buckets, and the slope of the least-squares line through them,
in events per bucket.
A bucket that has not ended yet is not complete (`is_complete`). Its numbers are those until now, and are excluded from
average and slope, because they differ by the length of the bucket. The average and slope in its own row are those of
the last complete bucket before it; null when there is none. With the default arguments the last bucket is the current
day, which is not complete.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), rounded by `analytics._shown`; a bucket with fewer of them than
`analytics.setting.smallest_group` reads as an empty one, and averages and slopes are computed from the figures as
shown. Whole days are read from the rollup, and those that are queued for a refresh from the events: the result includes
every event that was stored when the function was called.
Errors: CF002 for an unknown event (with the most similar names), CF001 for an invalid argument, CF008 for more than
10,000 buckets.
$$;

grant execute on function analytics.trend(text, text, timestamptz, timestamptz, int)
to insights_analyst, insights_admin, insights_worker;
