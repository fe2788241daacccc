create or replace function analytics._trend(
  event_type_id int, bucket text, since timestamptz, until timestamptz, window_size int, smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_length constant interval := ('1 ' || _trend.bucket)::interval;
begin
  return query
  with counted as (
    select *
    from analytics._event_counts(_trend.event_type_id, _trend.bucket, _trend.since, _trend.until)
  ),

  filled as (
    select
      bucket.bucket_start,
      bucket.ordinality as bucket_number,
      bucket.bucket_start >= _trend.since at time zone 'UTC'
        and bucket.bucket_start + v_length <= least(_trend.until, now()) at time zone 'UTC' as is_complete,
      case when floor.is_met then coalesce(counted.event_count, 0) end as event_count,
      case when floor.is_met then coalesce(counted.person_count, 0) end as person_count
    from generate_series(
      date_trunc(_trend.bucket, _trend.since at time zone 'UTC'),
      _trend.until at time zone 'UTC' - interval '1 microsecond',
      v_length
    ) with ordinality as bucket (bucket_start, ordinality)
    left join counted using (bucket_start)
    cross join lateral (
      select counted.event_count is null or counted.counted_count >= _trend.smallest_group as is_met
    ) as floor
  )

  -- The rows after the last complete bucket have its number, and so its average and slope.
  select
    filled.bucket_start at time zone 'UTC',
    filled.event_count::bigint,
    filled.person_count::bigint,
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
    range between (_trend.window_size - 1)::bigint preceding and current row
  )
  order by filled.bucket_number;
end;
$$;

comment on function analytics._trend(int, text, timestamptz, timestamptz, int, int) is $$
Computes the result of `analytics.trend`, with the privileges of the caller and the given smallest group.
$$;

grant execute on function analytics._trend(int, text, timestamptz, timestamptz, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
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
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_event_type_id constant int := (
    select event_type.event_type_id
    from track.event_type
    where event_type.name = trend.event_name
  );
  v_longest constant interval := interval '10000 hours';
begin
  perform common.check_period(trend.since, trend.until);
  if length(trend.event_name) > 200 then
    perform common.refuse('CF008', format('event_name has %s characters', length(trend.event_name)),
      'The name of an event has 200 at most.');
  end if;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(trend.event_name, 100)),
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
                select unnest(regexp_split_to_array(lower(trend.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(trend.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  if trend.bucket is null or trend.bucket not in ('hour', 'day', 'week', 'month') then
    perform common.refuse('CF001', format('bucket is "%s"', left(trend.bucket, 100)),
      'Use hour, day, week (from Monday) or month.');
  end if;
  perform common.check_count('window_size', trend.window_size, 1, 10000);
  if not isfinite(trend.since) or not isfinite(trend.until)
    or trend.until - trend.since > v_longest * (
      case trend.bucket
        when 'hour' then 1
        when 'day' then 24
        when 'week' then 168
        else 720
      end
    )
  then
    perform common.refuse(
      'CF008',
      format('from %s until %s there are more than 10000 buckets of one %s', trend.since, trend.until, trend.bucket),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  return query
  select *
  from analytics._trend(
    v_event_type_id, trend.bucket, trend.since, trend.until, trend.window_size,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics.trend(text, text, timestamptz, timestamptz, int) is $$
Returns the number of events of a type per time bucket, between two times (`until` exclusive).
Buckets are in UTC, weeks start on Monday, and empty buckets are zero. Each bucket has the numbers of events and
distinct people, the running average over the last `window_size` complete buckets, and the slope of the least-squares
line through them, in events per bucket.
A bucket that begins before `since`, or ends after `until` or now, is not complete (`is_complete`). Its numbers are
those of the part in the period, and are excluded from average and slope, because they differ by the length of the
bucket.
The average and slope in its own row are those of the last complete bucket before it; null when there is none. With
the default arguments the last bucket is the current day, which is not complete.
Events of anonymous browsers are included. Buckets with fewer counted people (`track.exclude_person`) than
`analytics.setting.smallest_group` are null, and excluded from average and slope. Whole days are read from the rollup,
and those that are queued for a refresh from the events: the result includes every event that was stored when the
function was called.
Errors: CF002 for an unknown event (with the most similar names), CF001 for an invalid argument, CF008 for more than
10,000 buckets.
$$;

grant execute on function analytics.trend(text, text, timestamptz, timestamptz, int)
to insights_analyst, insights_admin, insights_worker;
