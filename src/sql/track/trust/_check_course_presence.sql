create or replace function track._check_course_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_one constant bit(4096) := b'1'::bit(4096);
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  by_person as (
    select
      course.item_id,
      (activity.person_id % 4096)::smallint as member,
      bit_or(1 << (extract(day from activity.day)::int - 1)) as days
    from track._raw_activity(v_first, v_last, _check_course_presence.month, v_end) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where activity.person_id <> 0
      and activity.person_id <> all ((select queued.people from queued)::bigint[])
    group by course.item_id, activity.person_id
  ),

  stored as (
    select course_presence.*
    from track.course_presence
    where course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  -- The rows as they should be: queued people as they are stored, all others from the events.
  expected as (
    select
      entry.item_id,
      bit_or(v_one >> entry.member) as people,
      array_agg(entry.member order by entry.member) as members,
      array_agg(entry.days order by entry.member) as days
    from (
      select by_person.item_id, by_person.member, by_person.days
      from by_person
      union all
      select stored.item_id, listed.member, listed.days
      from stored
      cross join unnest(stored.members, stored.days) as listed (member, days)
      where v_first + listed.member = any ((select queued.people from queued)::bigint[])
    ) as entry
    group by entry.item_id
  ),

  compared as (
    select
      item_id, expected.people, expected.members, expected.days,
      (expected.people, expected.members, expected.days) is distinct from (stored.people, stored.members, stored.days)
        as is_different
    from stored
    full join expected using (item_id)
    -- Queued courses are recomputed by the next refresh.
    where item_id not in (select stale_course.item_id from track.stale_course)
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.is_different
  ),

  deleted as (
    delete from track.course_presence
    using differing
    where is_repair
      and differing.people is null
      and course_presence.item_id = differing.item_id
      and course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  written as (
    insert into track.course_presence (item_id, month, block, people, members, days)
    select
      differing.item_id, _check_course_presence.month, _check_course_presence.block, differing.people,
      differing.members, differing.days
    from differing
    where is_repair
      and differing.people is not null
    on conflict on constraint course_presence_pkey do update
    set people = excluded.people, members = excluded.members, days = excluded.days
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format(
        'course %s, %s, block %s', min(differing.item_id), _check_course_presence.month, _check_course_presence.block
      )
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_course_presence(date, int, boolean) is $$
Compares `track.course_presence` with the events of a month and a block of people.
`is_repair`: writes what the events give.
$$;
