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
  v_nobody constant bit(4096) := b'0'::bit(4096);
  v_one constant bit(4096) := b'1'::bit(4096);
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select
      listed.people,
      (
        select coalesce(bit_or(v_one >> (person_id % 4096)::int), v_nobody)
        from unnest(listed.people) as person_id
      ) as bits
    from (select track._unrefreshed_people(v_first, v_last)) as listed (people)
  ),

  used as (
    select distinct activity.item_id, activity.person_id
    from track._raw_activity(v_first, v_last, _check_course_presence.month, v_end) as activity
    where activity.item_id is not null
      and activity.person_id <> 0
      and activity.person_id <> all ((select queued.people from queued)::bigint[])
  ),

  fresh as (
    select course.item_id, bit_or(v_one >> (used.person_id % 4096)::int) as people
    from used
    join track.item_ancestor as ancestor on ancestor.item_id = used.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    group by course.item_id
  ),

  stored as (
    select course_presence.item_id, course_presence.people
    from track.course_presence
    where course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  compared as (
    select
      item_id,
      coalesce(stored.people, v_nobody) as stored_people,
      coalesce(stored.people, v_nobody) & queued.bits | coalesce(fresh.people, v_nobody) as people
    from stored
    full join fresh using (item_id)
    cross join queued
    -- Queued courses are recomputed by the next refresh.
    where item_id not in (select stale_course.item_id from track.stale_course)
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.people <> compared.stored_people
  ),

  deleted as (
    delete from track.course_presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and course_presence.item_id = differing.item_id
      and course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  written as (
    insert into track.course_presence (item_id, month, block, people)
    select differing.item_id, _check_course_presence.month, _check_course_presence.block, differing.people
    from differing
    where is_repair
      and bit_count(differing.people) > 0
    on conflict on constraint course_presence_pkey do update
    set people = excluded.people
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
