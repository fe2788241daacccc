create or replace function track.course_people(courses bigint[], first_month date, end_month date)
returns table (course_id bigint, month date, person_id bigint, days int)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select course.item_id, item_month.month, item_month.part::bigint * 32768 + used.person, bit_or(used.days)
  from track.item as course
  join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
  join track.item_month on item_month.item_id = ancestor.item_id
  cross join lateral unnest(item_month.people, item_month.days) as used (person, days)
  where course.item_id = any (course_people.courses)
    and course.kind = 'course'
    and item_month.month >= course_people.first_month
    and item_month.month < course_people.end_month
  group by 1, 2, 3;
end;
$$;

comment on function track.course_people(bigint[], date, date) is $$
@behavior -*
Returns the people of courses by month, with their days, as of the last refresh: what `track.course_presence` stores.
Computed from `track.item_month`, for the months between two (`end_month` exclusive).
$$;

grant execute on function track.course_people(bigint[], date, date) to insights_reader, insights_admin;
