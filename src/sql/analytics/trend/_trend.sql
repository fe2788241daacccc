create or replace function analytics._trend(
  event_type_id int, bounds timestamptz[], of_days date[] default null, of_item_id bigint default null
)
returns table (
  bucket int,
  event_count bigint,
  person_count bigint,
  counted_events bigint,
  counted_people bigint,
  counted_engaged interval
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
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_bounds constant date[] := array(
    select (given.bound at time zone 'UTC')::date
    from unnest(bounds) with ordinality as given (bound, position)
    order by given.position
  );
  -- Null: all.
  v_event_types constant int[] := case when _trend.event_type_id <> 0 then array[_trend.event_type_id] end;
  v_queued record;
begin
  if _trend.of_item_id is not null then
    return query
    select
      of_item.bucket, of_item.event_count, of_item.person_count, of_item.event_count, of_item.person_count,
      of_item.engaged
    from analytics._trend_of_item(_trend.of_item_id, _trend.bounds, _trend.of_days) as of_item;
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
  queued as materialized (
    select
      activity.person_id, activity.day, activity.was,
      case
        when _trend.event_type_id = 0 then activity.event_count - activity.automatic_count
        else activity.event_count
      end as event_count,
      case when activity.item_id is not null then activity.engaged end as engaged,
      coalesce(
        get_bit(
          case when activity.was then stored_excluded.people else excluded.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_excluded,
      coalesce(
        get_bit(
          case when activity.was then stored_counted.people else counted.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_counted
    from (
      select stored.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as stored
      union all
      select computed.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as computed
    ) as activity
    left join excluded on excluded.block = activity.person_id / 4096
    left join counted on counted.block = activity.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = activity.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = activity.person_id / 4096
    where _trend.of_days is null
      or activity.day = any (_trend.of_days)
  ),

  change as (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end)
          filter (where not queued.is_excluded),
        0
      ) as event_count,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end) filter (where queued.is_counted),
        0
      ) as counted_count
    from queued
    where queued.event_count > 0
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count, presence.counted_count
    from track.presence
    where presence.event_type_id = _trend.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
      and (_trend.of_days is null or presence.day = any (_trend.of_days))
  ),

  by_block as (
    select
      width_bucket(coalesce(present.day, change.day), v_bounds) as bucket,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count,
      sum(coalesce(present.counted_count, 0) + coalesce(change.counted_count, 0)) as counted_count
    from present
    full join change on change.day = present.day and change.block = present.block
    group by 1, 2
  ),

  -- Time is spent in items, not in events of one type.
  engaged as (
    select width_bucket(spent.day, v_bounds) as bucket, sum(spent.engaged) as engaged
    from (
      select item_day.day, item_day.engaged
      from track.item_day
      where _trend.event_type_id = 0
        and not item_day.with_parts
        and item_day.day >= v_first_day
        and item_day.day < v_end_day
        and (_trend.of_days is null or item_day.day = any (_trend.of_days))
      union all
      select queued.day, case when queued.was then -queued.engaged else queued.engaged end
      from queued
      where _trend.event_type_id = 0
        and queued.is_counted
    ) as spent
    group by 1
  ),

  by_bucket as (
    select
      by_block.bucket,
      sum(by_block.event_count)::bigint as event_count,
      coalesce(sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people))), 0)::bigint as person_count,
      sum(by_block.counted_count)::bigint as counted_events,
      coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint as counted_people
    from by_block
    left join excluded on excluded.block = by_block.block
    left join counted on counted.block = by_block.block
    group by by_block.bucket
    having sum(by_block.event_count) > 0
  )

  select
    by_bucket.bucket, by_bucket.event_count, by_bucket.person_count, by_bucket.counted_events,
    by_bucket.counted_people,
    case when _trend.event_type_id = 0 then coalesce(engaged.engaged, '0') end
  from by_bucket
  left join engaged on engaged.bucket = by_bucket.bucket;
end;
$$;

comment on function analytics._trend(int, timestamptz[], date[], bigint) is $$
Returns the exact numbers of events and people per bucket that has events, with the privileges of the caller.
`event_type_id` 0: any event that is not automatic. `bounds`: n + 1 ascending beginnings of days, UTC, for the buckets
1 to n. `of_days`: only these days; null: all. Events and people are those of all people who are not excluded, and those
of the set `counted`, whose engaged time is that of any page; null for one event type. Read from the bits of
`track.presence` and the sums of `track.item_day`. `of_item_id`: use of the item, by `analytics._trend_of_item`, instead
of events.
$$;

grant execute on function analytics._trend(int, timestamptz[], date[], bigint) to insights_reader;
