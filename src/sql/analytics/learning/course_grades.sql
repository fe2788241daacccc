create or replace function analytics._course_grades(
  course_id bigint, learners bigint[], smallest_group int, breakdown_value text, is_other boolean
)
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
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    _course_grades.breakdown_value, _course_grades.is_other
  from shown
  order by shown.number desc nulls last;
end;
$$;

comment on function analytics._course_grades(bigint, bigint[], int, text, boolean) is $$
Computes the result of `analytics.course_grades` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_grades(bigint, bigint[], int, text, boolean) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_grades(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
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
  v_part record;
begin
  v_visible := analytics._visible_learners(
    coalesce(course_grades.course, ''), course_grades.among, course_grades.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      course_grades.breakdown, course_grades.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_grades(
      v_visible.course_id, v_part.people, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_grades(text, text, text, int) owner to insights_reader;

comment on function analytics.course_grades(text, text, text, int) is $$
Returns the distribution of the grades of a course, by tenths as in Open edX Aspects, with the learners without a grade.
The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task Graded` and
`Grade Changed` whose item is the course. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_grades(text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
