create or replace function analytics._course_use(
  first_day date, end_day date, among text, smallest_group int
)
returns table (course_id bigint, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _course_use.among is null then
    return query
    select used.item_id, used.event_count, used.person_count, used.engaged
    from analytics._item_use(
      'course', _course_use.first_day, _course_use.end_day, null, _course_use.end_day,
      coalesce(_course_use.smallest_group, 1)
    ) as used;
    return;
  end if;

  -- The sums of the rollups are those of all counted people: the use of some of them is read from their journeys.
  return query
  with used as materialized (
    select
      course.item_id, activity.person_id, activity.day,
      sum(activity.event_count)::bigint as event_count, sum(activity.engaged) as engaged
    from track.activity_of(
      analytics._people_among(_course_use.among, _course_use.smallest_group, true),
      _course_use.first_day,
      _course_use.end_day
    ) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    group by course.item_id, activity.person_id, activity.day
  ),

  small as materialized (
    select used.item_id, used.day, date_trunc('week', used.day::timestamp)::date as week
    from used
    group by used.item_id, used.day
    having count(*) < _course_use.smallest_group
  ),

  -- The rule of `analytics._left_out_days`.
  week_of_group as (
    select small.item_id, small.week
    from small
    join used on used.item_id = small.item_id and used.day = small.day
    where small.week >= _course_use.first_day
      and small.week + 7 <= _course_use.end_day
    group by small.item_id, small.week
    having count(distinct used.person_id) >= _course_use.smallest_group
  )

  select used.item_id, sum(used.event_count)::bigint, count(distinct used.person_id), sum(used.engaged)
  from used
  left join small on small.item_id = used.item_id and small.day = used.day
  left join week_of_group on week_of_group.item_id = small.item_id and week_of_group.week = small.week
  where small.day is null
    or week_of_group.week is not null
  group by used.item_id;
end;
$$;

comment on function analytics._course_use(date, date, text, int) is $$
Returns the use of each course by counted people on the days between two (`end_day` exclusive).
With all that it contains: what `analytics._item_use` returns for courses, of the people in an expression of sets
(`analytics._among`); null: all counted people. `smallest_group`: the days that `analytics._left_out_days` describes,
here of these people, are left out; null: all days count.
$$;

grant execute on function analytics._course_use(date, date, text, int) to insights_reader;
