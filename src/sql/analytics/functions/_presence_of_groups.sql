create or replace function analytics._presence_of_groups(
  event_type_id int,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, start_at timestamptz, end_at timestamptz, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_first timestamp;
  v_end constant timestamp := date_trunc(
    'week', (_presence_of_groups.until - interval '1 microsecond') at time zone _presence_of_groups.zone
  ) + interval '7 days';
  v_bounds timestamptz[];
begin
  if _presence_of_groups.bucket in ('minute', 'hour') then
    -- Of whole days, so that what is left out does not depend on the period.
    v_bounds := analytics._bounds(
      _presence_of_groups.bucket,
      date_trunc('day', _presence_of_groups.since, _presence_of_groups.zone),
      (
        date_trunc('day', (_presence_of_groups.until - interval '1 microsecond') at time zone _presence_of_groups.zone)
          + interval '1 day'
      ) at time zone _presence_of_groups.zone,
      _presence_of_groups.zone
    );
    return query
    with present as materialized (
      select by_value.value_key, by_value.bucket, by_value.block, by_value.people
      from analytics._presence_by_value(
        _presence_of_groups.event_type_id, v_bounds, _presence_of_groups.item_id, _presence_of_groups.among,
        _presence_of_groups.breakdown, _presence_of_groups.top_values, _presence_of_groups.known_values,
        _presence_of_groups.smallest_group
      ) as by_value
    ),

    sized as (
      select
        summed.*,
        summed.person_count >= _presence_of_groups.smallest_group as is_group,
        bool_or(summed.person_count < _presence_of_groups.smallest_group)
          over (partition by summed.value_key, summed.day) as has_small
      from (
        select
          present.value_key, present.bucket, sum(bit_count(present.people)) as person_count,
          date_trunc('day', v_bounds[present.bucket] at time zone _presence_of_groups.zone) as day
        from present
        group by present.value_key, present.bucket
      ) as summed
    ),

    numbered as (
      select
        sized.*,
        row_number() over (
          partition by sized.value_key, sized.day, sized.is_group order by sized.person_count, sized.bucket
        ) as position
      from sized
    )

    select
      present.value_key, v_bounds[present.bucket], v_bounds[present.bucket + 1], present.block, present.people
    from numbered
    join present on present.value_key = numbered.value_key and present.bucket = numbered.bucket
    where numbered.is_group
      and (not numbered.has_small or numbered.position > 1);
    return;
  end if;

  v_first := date_trunc(
    'week',
    case
      when isfinite(_presence_of_groups.since) then _presence_of_groups.since
      else coalesce(
        least(
          (
            select min(presence.day)
            from track.presence
            where presence.event_type_id = _presence_of_groups.event_type_id
          )::timestamptz - interval '1 day',
          (select setting.oldest_event from track.setting),
          _presence_of_groups.until - interval '1 day'
        ),
        _presence_of_groups.until - interval '1 day'
      )
    end at time zone _presence_of_groups.zone
  );
  -- Days of the zone. The last bound is that of a week, so that the first day of each week is a bound.
  v_bounds := array(
    select distinct day at time zone _presence_of_groups.zone as bound
    from generate_series(v_first, v_end, '1 day') as day
    order by bound
  );
  return query
  with present as materialized (
    select
      by_value.value_key, by_value.bucket, by_value.block, by_value.people,
      date_trunc('week', v_bounds[by_value.bucket] at time zone _presence_of_groups.zone) as week
    from analytics._presence_by_value(
      _presence_of_groups.event_type_id, v_bounds, _presence_of_groups.item_id, _presence_of_groups.among,
      _presence_of_groups.breakdown, _presence_of_groups.top_values, _presence_of_groups.known_values,
      _presence_of_groups.smallest_group
    ) as by_value
  ),

  sized as (
    select
      present.value_key, present.bucket,
      sum(bit_count(present.people)) >= _presence_of_groups.smallest_group as is_group
    from present
    group by present.value_key, present.bucket
  ),

  small_week as materialized (
    select
      by_week.value_key, by_week.week, by_week.block, by_week.people,
      sum(bit_count(by_week.people)) over (partition by by_week.value_key, by_week.week) as person_count
    from (
      select present.value_key, present.week, present.block, bit_or(present.people) as people
      from present
      join sized on sized.value_key = present.value_key and sized.bucket = present.bucket
      where not sized.is_group
      group by present.value_key, present.week, present.block
    ) as by_week
  )

  select present.value_key, v_bounds[present.bucket], v_bounds[present.bucket + 1], present.block, present.people
  from present
  join sized on sized.value_key = present.value_key and sized.bucket = present.bucket
  where sized.is_group

  union all

  select
    small_week.value_key, small_week.week at time zone _presence_of_groups.zone,
    (small_week.week + interval '7 days') at time zone _presence_of_groups.zone, small_week.block, small_week.people
  from small_week
  where small_week.person_count >= _presence_of_groups.smallest_group;
end;
$$;

comment on function analytics._presence_of_groups(
  int, text, timestamptz, timestamptz, text, bigint, text, text, int, text[], int
) is $$
Returns the counted people with an event by period, of periods with at least `smallest_group` of them.
A period is a day of the zone, or a whole week (from Monday): of the people of its small days together, when they are
at least as many. With a bucket of a minute or an hour, it is such a bucket; in each day that has a small one, the
smallest other one is left out as well (secondary suppression). So no figure contains the use of fewer people, and no
two differ by it. The periods cover `since` until `until`, and the whole weeks or days at both ends. `since` may be
`-infinity`. The other arguments are those of `analytics._presence_by_value`.
$$;

grant execute on function analytics._presence_of_groups(
  int, text, timestamptz, timestamptz, text, bigint, text, text, int, text[], int
) to insights_reader;

create or replace function analytics._presence_in_buckets(
  event_type_id int,
  bounds timestamptz[],
  bucket text,
  zone text,
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, bucket_number int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_since timestamptz := bounds[1];
begin
  if _presence_in_buckets.smallest_group is null then
    return query
    select by_value.value_key, by_value.bucket, by_value.block, by_value.people
    from analytics._presence_by_value(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bounds, _presence_in_buckets.item_id,
      _presence_in_buckets.among, _presence_in_buckets.breakdown, _presence_in_buckets.top_values,
      _presence_in_buckets.known_values, null
    ) as by_value;
    return;
  end if;

  -- The past of hours is read by day.
  if _presence_in_buckets.bucket in ('minute', 'hour') and not isfinite(v_since) then
    v_since := date_trunc('day', bounds[2], _presence_in_buckets.zone);
    return query
    select past.value_key, 1, past.block, bit_or(past.people)
    from analytics._presence_of_groups(
      _presence_in_buckets.event_type_id, 'day', '-infinity', v_since, _presence_in_buckets.zone,
      _presence_in_buckets.item_id, _presence_in_buckets.among, _presence_in_buckets.breakdown,
      _presence_in_buckets.top_values, _presence_in_buckets.known_values, _presence_in_buckets.smallest_group
    ) as past
    where past.end_at <= v_since
    group by past.value_key, past.block;
  end if;

  return query
  select placed.value_key, placed.bucket_number, placed.block, bit_or(placed.people)
  from (
    select of_group.*, width_bucket(of_group.start_at, _presence_in_buckets.bounds) as bucket_number
    from analytics._presence_of_groups(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bucket, v_since, bounds[cardinality(bounds)],
      _presence_in_buckets.zone, _presence_in_buckets.item_id, _presence_in_buckets.among,
      _presence_in_buckets.breakdown, _presence_in_buckets.top_values, _presence_in_buckets.known_values,
      _presence_in_buckets.smallest_group
    ) as of_group
  ) as placed
  where placed.bucket_number between 1 and cardinality(_presence_in_buckets.bounds) - 1
    and placed.end_at <= _presence_in_buckets.bounds[placed.bucket_number + 1]
  group by placed.value_key, placed.bucket_number, placed.block;
end;
$$;

comment on function analytics._presence_in_buckets(
  int, timestamptz[], text, text, bigint, text, text, int, text[], int
) is $$
Returns the people with an event in each bucket, by value of a breakdown.
`smallest_group` null: those of `analytics._presence_by_value`. Otherwise those of `analytics._presence_of_groups`,
whose periods are whole within the bucket: the numbers of people of all functions for analysts agree. `bounds` are those
of buckets of the size `bucket` in the zone; the first one may be `-infinity`.
$$;

grant execute on function analytics._presence_in_buckets(
  int, timestamptz[], text, text, bigint, text, text, int, text[], int
) to insights_reader;
