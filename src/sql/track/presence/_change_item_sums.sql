create or replace function track._change_item_sums(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_with_parts boolean[];
  v_days date[];
  v_event_counts int[];
  v_person_counts int[];
  v_engaged interval[];
begin
  -- Items by themselves, and courses with all that they contain.
  with signed as (
    select entry.person_id, entry.item_id, entry.day, entry.event_count, entry.engaged, true as is_added
    from unnest(_change_item_sums.added) as entry
    where entry.item_id is not null
    union all
    select entry.person_id, entry.item_id, entry.day, -entry.event_count, -entry.engaged, false
    from unnest(_change_item_sums.removed) as entry
    where entry.item_id is not null
  ),

  by_person as (
    select
      signed.item_id, false as with_parts, signed.day, signed.person_id,
      sum(signed.event_count) as event_count,
      sum(signed.engaged) as engaged,
      bool_or(signed.is_added)::int - bool_or(not signed.is_added)::int as person_count
    from signed
    group by signed.item_id, signed.day, signed.person_id

    union all

    select
      course.item_id, true, signed.day, signed.person_id,
      sum(signed.event_count),
      sum(signed.engaged),
      bool_or(signed.is_added)::int - bool_or(not signed.is_added)::int
    from signed
    join track.item_ancestor as ancestor on ancestor.item_id = signed.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    -- Courses that are queued are recomputed by the next refresh.
    where course.item_id not in (select stale_course.item_id from track.stale_course)
    group by course.item_id, signed.day, signed.person_id
  ),

  change as (
    select
      by_person.item_id, by_person.with_parts, by_person.day,
      sum(by_person.event_count)::int as event_count,
      sum(by_person.person_count)::int as person_count,
      sum(by_person.engaged) as engaged
    from by_person
    group by by_person.item_id, by_person.with_parts, by_person.day
    having sum(by_person.event_count) <> 0
      or sum(by_person.person_count) <> 0
      or sum(by_person.engaged) <> interval '0'
  )

  select
    array_agg(change.item_id), array_agg(change.with_parts), array_agg(change.day), array_agg(change.event_count),
    array_agg(change.person_count), array_agg(change.engaged)
  into v_items, v_with_parts, v_days, v_event_counts, v_person_counts, v_engaged
  from change;
  if v_items is null then
    return;
  end if;

  merge into track.item_day
  using unnest(v_items, v_with_parts, v_days, v_event_counts, v_person_counts, v_engaged)
    as change (item_id, with_parts, day, event_count, person_count, engaged)
  on item_day.with_parts = change.with_parts
    and item_day.day = change.day
    and item_day.item_id = change.item_id
  when matched and item_day.person_count + change.person_count = 0 then delete
  when matched then
    update set
      event_count = item_day.event_count + change.event_count,
      person_count = item_day.person_count + change.person_count,
      engaged = item_day.engaged + change.engaged
  when not matched and change.person_count > 0 then
    insert (item_id, with_parts, day, event_count, person_count, engaged)
    values (
      change.item_id, change.with_parts, change.day, change.event_count, change.person_count, change.engaged
    );

  update track.item_month
  set event_count = item_month.event_count + change.event_count, engaged = item_month.engaged + change.engaged
  from (
    select
      signed.item_id, (signed.person_id / 32768)::int as part,
      date_trunc('month', signed.day::timestamp)::date as month,
      sum(signed.event_count)::int as event_count,
      sum(signed.engaged) as engaged
    from (
      select entry.person_id, entry.item_id, entry.day, entry.event_count, entry.engaged
      from unnest(_change_item_sums.added) as entry
      union all
      select entry.person_id, entry.item_id, entry.day, -entry.event_count, -entry.engaged
      from unnest(_change_item_sums.removed) as entry
    ) as signed
    where signed.item_id is not null
    group by 1, 2, 3
    having sum(signed.event_count) <> 0 or sum(signed.engaged) <> interval '0'
  ) as change
  where item_month.item_id = change.item_id
    and item_month.month = change.month
    and item_month.part = change.part;
end;
$$;

comment on function track._change_item_sums(track.activity[], track.activity[]) is $$
Subtracts activity from the sums of `track.item_day` and `track.item_month`, and adds other activity.
Both contain all activity of people in the set `counted` on the days of the change. A month that has no row any more is
left out.
$$;
