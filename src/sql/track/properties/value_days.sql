create or replace function track.value_days(
  event_type_id int,
  property text,
  first_day date,
  end_day date,
  bounds date[] default null
)
returns table (
  value text,
  day date,
  block int,
  people bit(4096),
  event_count bigint,
  counted_count bigint,
  is_other boolean
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the queue.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(16384) := b'0'::bit(16384);
  v_no_block constant bit(4096) := b'0'::bit(4096);
  v_declared track.declared_property;
  v_queued record;
begin
  if track.is_property_complete(value_days.event_type_id, value_days.property) is not true then
    return;
  end if;
  select declared.* into v_declared
  from track.declared_property as declared
  where declared.event_type_id = value_days.event_type_id
    and declared.property = value_days.property;
  v_queued := track.queued_days(value_days.first_day, value_days.end_day);

  return query
  with known as materialized (
    select property_value.value_id, '=' || property_value.value as key
    from track.property_value
    where property_value.property_id = v_declared.property_id
    union all
    values (0, '')
  ),

  -- The changes of the next refresh.
  queued as (
    select activity.person_id, activity.day, known.key, -activity.event_count as event_count, true as was
    from track.stored_values(v_queued.people, v_queued.first_days, v_queued.end_days, v_declared.property_id)
      as activity
    join known on known.value_id = activity.value_id
    union all
    select activity.person_id, activity.day, coalesce('=' || activity.value, ''), activity.event_count, false
    from track.event_values(
      v_queued.people, v_queued.first_days, v_queued.end_days, value_days.event_type_id, value_days.property
    ) as activity
  ),

  excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  judged as (
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
  ),

  change_block as (
    select
      judged.key, judged.day, (judged.person_id / 4096)::int as block,
      bit_or(track.person_bit(judged.person_id)) filter (where judged.was) as cleared,
      bit_or(track.person_bit(judged.person_id)) filter (where not judged.was and judged.person_id <> 0) as added,
      sum(judged.event_count) filter (where not judged.is_excluded) as event_count,
      sum(judged.event_count) filter (where judged.is_counted) as counted_count
    from judged
    group by 1, 2, 3
  ),

  change as (
    select
      change_block.key, change_block.day, change_block.block / 4 as part,
      (
        coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 0), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 1), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 2), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 3), v_no_block)
      )::bit(16384) as cleared,
      (
        coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 0), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 1), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 2), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 3), v_no_block)
      )::bit(16384) as added,
      sum(change_block.event_count) as event_count,
      sum(change_block.counted_count) as counted_count
    from change_block
    group by 1, 2, 3
  ),

  stored as (
    select
      known.key, value_presence.day, value_presence.part, value_presence.people, value_presence.event_count,
      value_presence.counted_count
    from track.value_presence
    join known on known.value_id = value_presence.value_id
    where value_presence.property_id = v_declared.property_id
      and value_presence.day >= value_days.first_day
      and value_presence.day < value_days.end_day
  ),

  -- Each row as of now. A stored row that does not change stays compressed.
  current as materialized (
    select
      coalesce(stored.key, change.key) as key,
      coalesce(stored.day, change.day) as day,
      coalesce(stored.part, change.part) as part,
      case
        when change.cleared is null then stored.people
        else coalesce(stored.people & ~change.cleared, v_no_people) | change.added
      end as people,
      coalesce(stored.event_count, 0) + coalesce(change.event_count, 0) as event_count,
      coalesce(stored.counted_count, 0) + coalesce(change.counted_count, 0) as counted_count
    from stored
    full join change on change.key = stored.key and change.day = stored.day and change.part = stored.part
  ),

  ranked as (
    select
      current.key,
      row_number() over (order by sum(current.event_count) desc, current.key collate "C") > v_declared.most_values
        and row_number() over (order by sum(current.counted_count) desc, current.key collate "C")
          > v_declared.most_values as is_other
    from current
    where current.key <> ''
    group by current.key
  ),

  summed as (
    select
      coalesce(ranked.is_other, false) as is_other,
      case when not ranked.is_other then substr(current.key, 2) end as value,
      case
        when value_days.bounds is null then current.day
        else value_days.bounds[width_bucket(current.day, value_days.bounds)]
      end as day,
      current.part,
      bit_or(current.people) as people,
      sum(current.event_count) as event_count,
      sum(current.counted_count) as counted_count
    from current
    left join ranked on ranked.key = current.key
    group by 1, 2, 3, 4
  ),

  divided as (
    select
      summed.value, summed.is_other, summed.day, summed.part * 4 + piece as block,
      substring(summed.people from piece * 4096 + 1 for 4096)::bit(4096) as people,
      case piece when 0 then summed.event_count else 0 end as event_count,
      case piece when 0 then summed.counted_count else 0 end as counted_count
    from summed
    cross join generate_series(0, 3) as piece
  )

  select
    divided.value, divided.day, divided.block, divided.people, divided.event_count::bigint,
    divided.counted_count::bigint, divided.is_other
  from divided
  where bit_count(divided.people) > 0
    or divided.event_count > 0;
end;
$$;

comment on function track.value_days(int, text, date, date, date[]) is $$
@behavior -*
Returns who did an event, by value of a declared property and day (UTC), exact as of now, with queued people.
`end_day` exclusive. `bounds`: rows are by the days from one of these to the next one, of which `day` is the first;
null: by day. `day` is null before the first bound.
`people` as in `track.presence`, with people who are excluded. `event_count`: events of people who are not excluded,
`counted_count`: of the set `counted`; they are those of four blocks and are in the row of the first of these, so that
only their sum over all blocks of a value and day has a meaning.
`value` is null for events without the property, and for the rest (`is_other`). Named are the values with the most
events in the period, as many as declared, and those with the most events of counted people; of equal ones the first in
byte order. This depends on the events alone, and not on the order of their arrival.
Without rows when the property is not declared or not complete: see `track.is_property_complete`. Read the events then.
$$;

grant execute on function track.value_days(int, text, date, date, date[]) to insights_reader, insights_admin;
