create or replace function analytics._trend_of_item(
  of_item_id bigint, bounds timestamptz[], of_days date[] default null
)
returns table (bucket int, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the item.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_of_item.of_item_id
  );
  -- The rollups have the sums and people of courses with all that they contain.
  v_is_course constant boolean := exists (
      select from track.item where item.item_id = _trend_of_item.of_item_id and item.kind = 'course'
    )
    and not exists (select from track.stale_course);
  v_bounds constant date[] := array(
    select (given.bound at time zone 'UTC')::date
    from unnest(bounds) with ordinality as given (bound, position)
    order by given.position
  );
  v_first_day date;
  v_end_day date;
  v_queued record;
begin
  -- Without the time before and after all use.
  select
    greatest(v_bounds[1], min(known.first_day)),
    least(v_bounds[cardinality(v_bounds)], max(known.end_day))
  into v_first_day, v_end_day
  from (
    select min(item_month.month) as first_day, (max(item_month.month) + interval '1 month')::date as end_day
    from track.item_month
    where item_month.item_id = any (v_items)
    union all
    select (min(stale.since) at time zone 'UTC')::date, (max(stale.until) at time zone 'UTC')::date + 1
    from track.stale
  ) as known;
  if v_first_day is null or v_first_day >= v_end_day then
    return;
  end if;
  v_queued := track.queued_days(v_first_day, v_end_day);

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  day as materialized (
    select entry.day::date as day, width_bucket(entry.day::date, v_bounds) as bucket
    from generate_series(v_first_day, v_end_day - 1, interval '1 day') as entry (day)
    where _trend_of_item.of_days is null
      or entry.day::date = any (_trend_of_item.of_days)
  ),

  month_bucket as materialized (
    select
      date_trunc('month', day.day::timestamp)::date as month, day.bucket,
      bit_or(1 << (extract(day from day.day)::int - 1)) as days
    from day
    group by 1, 2
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select day.bucket, queued.person_id, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join day on day.day = queued.day
    where queued.item_id = any (v_items)
  ),

  queued_month as materialized (
    select
      entry.person_id, month.month,
      analytics._days_of_month(month.month, entry.first_day, entry.end_day) as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    join (select distinct month_bucket.month from month_bucket) as month
      on month.month < entry.end_day
      and month.month > entry.first_day - 31
  ),

  stored as (
    select month_bucket.bucket, month_bucket.month, item_month.part::bigint * 32768 + listed.person as person_id,
      listed.days & month_bucket.days as days
    from track.item_month
    join month_bucket on month_bucket.month = item_month.month
    cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
    where not v_is_course
      and item_month.item_id = any (v_items)
      and listed.days & month_bucket.days <> 0

    union all

    select month_bucket.bucket, month_bucket.month, course_presence.block::bigint * 4096 + listed.member,
      listed.days & month_bucket.days
    from track.course_presence
    join month_bucket on month_bucket.month = course_presence.month
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_is_course
      and course_presence.item_id = _trend_of_item.of_item_id
      and listed.days & month_bucket.days <> 0
  ),

  people as (
    select used.bucket, count(*) as person_count
    from (
      select stored.bucket, stored.person_id
      from stored
      join counted
        on counted.block = stored.person_id / 4096
        and get_bit(counted.people, (stored.person_id % 4096)::int) <> 0
      left join queued_month on queued_month.person_id = stored.person_id and queued_month.month = stored.month
      where stored.days & ~coalesce(queued_month.days, 0) <> 0
      union
      select queued.bucket, queued.person_id
      from queued
      where not queued.was
    ) as used
    group by used.bucket
  ),

  summed as (
    select spent.bucket, sum(spent.event_count)::bigint as event_count, sum(spent.engaged) as engaged
    from (
      select day.bucket, item_day.event_count, item_day.engaged
      from day
      cross join unnest(case when v_is_course then array[_trend_of_item.of_item_id] else v_items end) as part (item_id)
      join track.item_day
        on item_day.with_parts = v_is_course
        and item_day.day = day.day
        and item_day.item_id = part.item_id
      union all
      select
        queued.bucket,
        case when queued.was then -queued.event_count else queued.event_count end,
        case when queued.was then -queued.engaged else queued.engaged end
      from queued
    ) as spent
    group by spent.bucket
  )

  select people.bucket, coalesce(summed.event_count, 0), people.person_count, coalesce(summed.engaged, '0')
  from people
  left join summed on summed.bucket = people.bucket;
end;
$$;

comment on function analytics._trend_of_item(bigint, timestamptz[], date[]) is $$
Returns the exact use of an item and what it contains by counted people, per bucket with use.
`bounds` and `of_days` are those of `analytics._trend`. Read from `track.item_day`, `track.item_month` and
`track.course_presence`, as `analytics.popular_items` does, with the privileges of the caller.
$$;

grant execute on function analytics._trend_of_item(bigint, timestamptz[], date[]) to insights_reader;
