create or replace function track._refresh_course_presence()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_courses bigint[];
begin
  if not exists (select from track.stale_course) then
    return;
  end if;
  with taken as (
    delete from track.stale_course
    returning stale_course.item_id
  )
  select array_agg(distinct taken.item_id) into v_courses from taken;

  delete from track.course_presence where course_presence.item_id = any (v_courses);
  insert into track.course_presence (item_id, month, block, people)
  select used.course_id, used.month, (used.person_id / 4096)::int, bit_or(track.person_bit(used.person_id))
  from track.course_people(v_courses, '-infinity', 'infinity') as used
  group by 1, 2, 3;
end;
$$;

comment on function track._refresh_course_presence() is $$
Recomputes `track.course_presence` for the courses whose items changed (`track.stale_course`).
$$;
