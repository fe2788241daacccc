create or replace function analytics._course_grades(course_id bigint, learners bigint[], smallest_group int)
returns setof analytics.grade_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    -- A grade of 1 is in the highest bucket. Null stays null, which "least" would ignore.
    select
      case when run.grade is not null then least(floor(run.grade * 10 + 1e-9)::int, 9) end as bucket,
      count(*) as person_count
    from analytics._course_runs(_course_grades.course_id, _course_grades.learners) as run
    group by 1
  ),

  shown as (
    select
      bucket.number,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_grades.smallest_group), 0
      )::bigint as person_count
    from (select nullif(entry.number, -1) as number from generate_series(-1, 9) as entry (number)) as bucket
    left join counted on counted.bucket is not distinct from bucket.number
  )

  select
    shown.number / 10.0::float8, case shown.number when 9 then 1 else (shown.number + 1) / 10.0::float8 end,
    shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8
  from shown
  order by shown.number desc nulls last;
end;
$$;

comment on function analytics._course_grades(bigint, bigint[], int) is $$
Computes the result of `analytics.course_grades` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_grades(bigint, bigint[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_grades(course text, among text default null)
returns setof analytics.grade_bucket
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(coalesce(course_grades.course, ''), course_grades.among);
  return query
  select *
  from analytics._course_grades(v_visible.course_id, v_visible.learners, v_visible.smallest_group);
end;
$$;

alter function analytics.course_grades(text, text) owner to insights_reader;

comment on function analytics.course_grades(text, text) is $$
Returns the distribution of the grades of a course, by tenths as in Open edX Aspects, with the learners without a grade.
The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task Graded` and
`Grade Changed` whose item is the course. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.course_grades(text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
