/*
 * Whether a bit is set depends on the activity of its person alone. Bits are therefore set and cleared by comparing the
 * activity of the person before and after, and the activity of nobody else is read.
 */
create or replace function track._change_presence(removed track.activity[], added track.activity[])
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
      typed.event_type_id, entry.day, entry.person_id, bool_or(entry.was) as was, bool_or(not entry.was) as is_present
    from (
      select *, false as was from unnest(_change_presence.added)
      union all
      select *, true from unnest(_change_presence.removed)
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where entry.person_id <> 0
      and typed.event_count > 0
    group by 1, 2, 3
    having bool_or(entry.was) <> bool_or(not entry.was)
  )

  merge into track.presence
  using (
    select
      by_person.event_type_id, by_person.day, (by_person.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.is_present), v_no_people)
        as set_bits,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.was), v_no_people) as cleared_bits
    from by_person
    group by 1, 2, 3
  ) as change
  on presence.event_type_id = change.event_type_id
    and presence.day = change.day
    and presence.block = change.block
  when matched
    and presence.event_count = 0
    and bit_count(presence.people & ~change.cleared_bits | change.set_bits) = 0
  then delete
  when matched then update set people = presence.people & ~change.cleared_bits | change.set_bits
  when not matched then
    insert (event_type_id, day, block, people, event_count, counted_count)
    values (change.event_type_id, change.day, change.block, change.set_bits, 0, 0);
end;
$$;

comment on function track._change_presence(track.activity[], track.activity[]) is $$
Clears and sets the bits of `track.presence` of people whose activity changed, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_item_months(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with by_person as (
    select
      entry.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_item_months.added)
      union all
      select item_id, day, person_id, true from unnest(_change_item_months.removed)
    ) as entry
    where entry.item_id is not null
      and entry.person_id <> 0
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 32768)::int as part,
      array_agg((by_person.person_id % 32768)::smallint) as people,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.item_month
  using (
    select change.item_id, change.month, change.part, fresh.people, fresh.days
    from change
    left join track.item_month as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.part = change.part
    cross join lateral (
      select
        array_agg(combined.person order by combined.person) as people,
        array_agg(combined.days order by combined.person) as days
      from (
        select
          entry.person, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days
        from (
          select listed.person, listed.days, 0 as cleared, 0 as added
          from unnest(stored.people, stored.days) as listed (person, days)
          union all
          select changed.person, 0, changed.cleared, changed.added
          from unnest(change.people, change.cleared, change.added) as changed (person, cleared, added)
        ) as entry
        group by entry.person
      ) as combined
      where combined.days <> 0
    ) as fresh
  ) as change
  on item_month.item_id = change.item_id and item_month.month = change.month and item_month.part = change.part
  when matched and change.people is null then delete
  when matched then update set people = change.people, days = change.days
  when not matched and change.people is not null then
    insert (item_id, month, part, people, days, event_count, engaged)
    values (change.item_id, change.month, change.part, change.people, change.days, 0, interval '0');
end;
$$;

comment on function track._change_item_months(track.activity[], track.activity[]) is $$
Changes the people and days of `track.item_month` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_course_presence(removed track.activity[], added track.activity[])
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
      course.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_course_presence.added)
      union
      select item_id, day, person_id, true from unnest(_change_course_presence.removed)
    ) as entry
    join track.item_ancestor as ancestor on ancestor.item_id = entry.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where entry.person_id <> 0
      -- Courses that are queued are recomputed by the next refresh.
      and course.item_id not in (select stale_course.item_id from track.stale_course)
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 4096)::int as block,
      array_agg((by_person.person_id % 4096)::smallint) as members,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.course_presence
  using (
    select change.item_id, change.month, change.block, fresh.people, fresh.members, fresh.days
    from change
    left join track.course_presence as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.block = change.block
    cross join lateral (
      -- Only the bits of the people that changed are computed.
      select
        coalesce(stored.people, v_no_people)
          & ~bit_or(track.person_bit(combined.member)) filter (where combined.is_changed)
          | coalesce(
            bit_or(track.person_bit(combined.member)) filter (where combined.is_changed and combined.days <> 0),
            v_no_people
          ) as people,
        array_agg(combined.member order by combined.member) filter (where combined.days <> 0) as members,
        array_agg(combined.days order by combined.member) filter (where combined.days <> 0) as days
      from (
        select
          entry.member, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days,
          bool_or(entry.is_changed) as is_changed
        from (
          select listed.member, listed.days, 0 as cleared, 0 as added, false as is_changed
          from unnest(stored.members, stored.days) as listed (member, days)
          union all
          select changed.member, 0, changed.cleared, changed.added, true
          from unnest(change.members, change.cleared, change.added) as changed (member, cleared, added)
        ) as entry
        group by entry.member
      ) as combined
    ) as fresh
  ) as change
  on course_presence.item_id = change.item_id
    and course_presence.month = change.month
    and course_presence.block = change.block
  when matched and change.members is null then delete
  when matched then update set people = change.people, members = change.members, days = change.days
  when not matched and change.members is not null then
    insert (item_id, month, block, people, members, days)
    values (change.item_id, change.month, change.block, change.people, change.members, change.days);
end;
$$;

comment on function track._change_course_presence(track.activity[], track.activity[]) is $$
Changes the people and days of `track.course_presence` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;
