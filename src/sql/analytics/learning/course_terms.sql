create or replace function analytics._course_terms(
  course_id bigint, learners bigint[], smallest_group int, breakdown_value text, is_other boolean
)
returns setof analytics.course_term
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select run.*, term.annotation_id, term.title, term.starts_at, term.ends_at
    from analytics._course_runs(_course_terms.course_id, _course_terms.learners) as run
    left join lateral (
      select annotation.annotation_id, annotation.title, annotation.starts_at, annotation.ends_at
      from analytics.annotation
      where annotation.kind = 'term'
        and run.enrolled_at >= annotation.starts_at
        and run.enrolled_at < coalesce(annotation.ends_at, 'infinity')
      order by annotation.starts_at desc, annotation.annotation_id desc
      limit 1
    ) as term on true
  ),

  counted as (
    select
      run.title, run.starts_at, run.ends_at,
      count(*) as learner_count,
      count(*) filter (where run.status = 'completed') as completed_count,
      count(*) filter (where run.status = 'dropped') as dropped_count,
      percentile_cont(0.5) within group (order by run.ended_at - run.enrolled_at)
        filter (where run.status = 'completed') as median_time,
      count(run.ended_at) filter (where run.status = 'completed') as timed_count,
      count(run.grade) as graded_count,
      avg(run.grade) as mean_grade
    from run
    group by run.annotation_id, run.title, run.starts_at, run.ends_at
  ),

  shown as (
    select
      counted.title, counted.starts_at, counted.ends_at,
      analytics._shown(counted.learner_count, counted.learner_count, _course_terms.smallest_group)::bigint
        as learner_count,
      analytics._shown(counted.completed_count, counted.completed_count, _course_terms.smallest_group)::bigint
        as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, _course_terms.smallest_group)::bigint
        as dropped_count,
      analytics._shown_time(
        counted.median_time, counted.timed_count, _course_terms.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown(counted.graded_count, counted.graded_count, _course_terms.smallest_group)::bigint
        as graded_count,
      analytics._shown_mean(counted.mean_grade, counted.graded_count, _course_terms.smallest_group) as mean_grade
    from counted
  )

  select
    shown.title, shown.starts_at, shown.ends_at, shown.learner_count, shown.completed_count, shown.dropped_count,
    shown.completed_count / nullif(shown.learner_count, 0)::float8, shown.median_time, shown.graded_count,
    shown.mean_grade,
    _course_terms.breakdown_value, _course_terms.is_other
  from shown
  where shown.learner_count > 0
  order by shown.starts_at nulls last, shown.ends_at, shown.title collate "C";
end;
$$;

comment on function analytics._course_terms(bigint, bigint[], int, text, boolean) is $$
Computes the result of `analytics.course_terms` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_terms(bigint, bigint[], int, text, boolean) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_terms(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.course_term
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
    coalesce(course_terms.course, ''), course_terms.among, course_terms.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      course_terms.breakdown, course_terms.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_terms(
      v_visible.course_id, v_part.people, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_terms(text, text, text, int) owner to insights_reader;

comment on function analytics.course_terms(text, text, text, int) is $$
Returns the learners of a course by the term in which they enrolled, with completions, times and grades.
Terms are the annotations of the kind `term` (`analytics.annotate`). A learner is in the one in which her latest
enrolment began, of several in that which began last; those of no term have a row without title. A term without learners
has no row. The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task
Graded` and `Grade Changed` whose item is the course. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers; the mean grade is null for fewer than 1.5
times as many graded learners, and the median time for fewer than 4.5 times as many.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_terms(text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
