create or replace function track._change_value_presence(removed track.value_activity[], added track.value_activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  with by_person as (
    select
      entry.property_id, entry.value_id, entry.day, entry.person_id,
      bool_or(entry.was) as was,
      bool_or(not entry.was) as is_present,
      sum(case when entry.was then -entry.event_count else entry.event_count end)::int as event_count
    from (
      select *, true as was from unnest(_change_value_presence.removed)
      union all
      select *, false from unnest(_change_value_presence.added)
    ) as entry
    group by 1, 2, 3, 4
    having bool_or(entry.was) <> bool_or(not entry.was)
      or sum(case when entry.was then -entry.event_count else entry.event_count end) <> 0
  ),

  by_block as (
    select
      by_person.property_id, by_person.value_id, by_person.day, (by_person.person_id / 4096)::int as block,
      bit_or(track.person_bit(by_person.person_id))
        filter (where by_person.person_id <> 0 and by_person.is_present and not by_person.was)
        as set_bits,
      bit_or(track.person_bit(by_person.person_id))
        filter (where by_person.was and not by_person.is_present) as cleared_bits,
      sum(by_person.event_count) filter (
        where coalesce(get_bit(excluded.people, (by_person.person_id % 4096)::int), 0) = 0
      ) as event_count,
      sum(by_person.event_count) filter (
        where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0
      ) as counted_count
    from by_person
    left join track.person_set_block as excluded
      on excluded.name = 'excluded' and excluded.block = by_person.person_id / 4096
    left join track.person_set_block as counted
      on counted.name = 'counted' and counted.block = by_person.person_id / 4096
    group by 1, 2, 3, 4
  ),

  -- The four blocks of a part are put together last, because an operation on bits costs their length.
  change as materialized (
    select
      by_block.property_id, by_block.value_id, by_block.day, by_block.block / 4 as part,
      (
        coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 0), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 1), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 2), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 3), v_no_people)
      )::bit(16384) as set_bits,
      (
        coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 0), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 1), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 2), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 3), v_no_people)
      )::bit(16384) as cleared_bits,
      coalesce(sum(by_block.event_count), 0)::int as event_count,
      coalesce(sum(by_block.counted_count), 0)::int as counted_count
    from by_block
    group by 1, 2, 3, 4
  )

  merge into track.value_presence as stored
  using change
  on stored.property_id = change.property_id
    and stored.value_id = change.value_id
    and stored.day = change.day
    and stored.part = change.part
  when matched
    and stored.event_count + change.event_count = 0
    and bit_count(stored.people & ~change.cleared_bits | change.set_bits) = 0
  then delete
  when matched then
    update set
      people = stored.people & ~change.cleared_bits | change.set_bits,
      event_count = stored.event_count + change.event_count,
      counted_count = stored.counted_count + change.counted_count
  when not matched and (change.event_count > 0 or bit_count(change.set_bits) > 0) then
    insert (property_id, value_id, day, part, people, event_count, counted_count)
    values (
      change.property_id, change.value_id, change.day, change.part, change.set_bits, change.event_count,
      change.counted_count
    );
end;
$$;

comment on function track._change_value_presence(track.value_activity[], track.value_activity[]) is $$
Changes `track.value_presence` after a change of the values of events, given before and after the change.
Both contain all events with declared properties of these people on the days of the change.
$$;
