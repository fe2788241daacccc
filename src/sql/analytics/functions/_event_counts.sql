create or replace function analytics._event_counts(
  event_type_id int, bucket text, since timestamptz, until timestamptz
)
returns table (bucket_start timestamp, event_count bigint, person_count bigint, counted_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (_event_counts.since at time zone 'UTC')::date;
  v_end_day constant date := (
    _event_counts.until at time zone 'UTC' + interval '1 day' - interval '1 microsecond'
  )::date;
  v_queued record;
begin
  -- Hours are not in the rollup.
  if _event_counts.bucket = 'hour' then
    return query
    with by_person as (
      select
        date_trunc('hour', event.occurred_at at time zone 'UTC') as bucket_start, event.person_id, count(*) as events
      from track.event
      where event.event_type_id = _event_counts.event_type_id
        and event.occurred_at >= _event_counts.since
        and event.occurred_at < _event_counts.until
      group by 1, 2
    )
    select
      by_person.bucket_start,
      sum(by_person.events)::bigint,
      count(nullif(by_person.person_id, 0)),
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
    where activity.event_type_id = _event_counts.event_type_id
    union all
    select activity.person_id, activity.day, activity.event_count, false
    from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, _event_counts.event_type_id)
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
      coalesce(
        sum(queued.event_count) filter (
          where coalesce(
            get_bit(
              case when queued.was then stored.people else excluded.people end, (queued.person_id % 4096)::int
            ),
            0
          ) = 0
        ),
        0
      ) as event_count
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored
      on stored.name = 'excluded' and stored.block = queued.person_id / 4096
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count
    from track.presence
    where presence.event_type_id = _event_counts.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
  ),

  by_block as (
    select
      date_trunc(_event_counts.bucket, coalesce(present.day, change.day)::timestamp) as bucket_start,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count
    from present
    full join change on change.day = present.day and change.block = present.block
    group by 1, 2
  )

  select
    by_block.bucket_start,
    sum(by_block.event_count)::bigint,
    sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)))::bigint,
    coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint
  from by_block
  left join excluded on excluded.block = by_block.block
  left join counted on counted.block = by_block.block
  group by by_block.bucket_start;
end;
$$;

comment on function analytics._event_counts(int, text, timestamptz, timestamptz) is $$
Returns the number of events of a type, and of their distinct people, per bucket (UTC) between two times.
Days, weeks and months are read from the bits of `track.presence`: whole days, the first and the last one included. Hours are read from the events. Excluded people are left out; `counted_count` is the number
of people in the set `counted`. Buckets without events have no row.
$$;

grant execute on function analytics._event_counts(int, text, timestamptz, timestamptz) to insights_reader;
