create or replace function track._refresh_course_presence()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
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
  insert into track.course_presence (item_id, month, block, people, members, days)
  select
    used.course_id, used.month, (used.person_id / 4096)::int,
    bit_or(track.person_bit(used.person_id)),
    array_agg((used.person_id % 4096)::smallint order by used.person_id),
    array_agg(used.days order by used.person_id)
  from track.course_people(v_courses, '-infinity', 'infinity') as used
  group by 1, 2, 3;

  delete from track.item_day
  where item_day.with_parts
    and item_day.item_id = any (v_courses)
    and item_day.day >= v_kept;
  insert into track.item_day (item_id, with_parts, day, event_count, person_count, engaged)
  select course.item_id, true, summed.day, summed.event_count, counted.person_count, summed.engaged
  from track.item as course
  cross join lateral (
    select item_day.day, sum(item_day.event_count)::int as event_count, sum(item_day.engaged) as engaged
    from track.item_ancestor as ancestor
    join track.item_day on item_day.item_id = ancestor.item_id and not item_day.with_parts
    where ancestor.ancestor_item_id = course.item_id
      and item_day.day >= v_kept
    group by item_day.day
  ) as summed
  join lateral (
    select used.day, count(*)::int as person_count
    from (
      select distinct item_month.month + place as day, item_month.part, listed.person
      from track.item_ancestor as ancestor
      join track.item_month on item_month.item_id = ancestor.item_id
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
      join track.person_set_block as counted
        on counted.name = 'counted'
        and counted.block = item_month.part * 8 + listed.person / 4096
        and get_bit(counted.people, listed.person % 4096) <> 0
      where ancestor.ancestor_item_id = course.item_id
    ) as used
    group by used.day
  ) as counted on counted.day = summed.day
  where course.item_id = any (v_courses)
    and course.kind = 'course';
end;
$$;

comment on function track._refresh_course_presence() is $$
Recomputes `track.course_presence`, and the sums of days, for the courses whose items changed (`track.stale_course`).
$$;
