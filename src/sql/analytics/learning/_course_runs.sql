create or replace function analytics._course_runs(course_id bigint, learners bigint[])
returns table (person_id bigint, status text, enrolled_at timestamptz, ended_at timestamptz, grade float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select distinct on (enrolment.person_id)
      enrolment.person_id, enrolment.status, enrolment.enrolled_at, enrolment.ended_at
    from track.enrolment
    where enrolment.item_id = _course_runs.course_id
      and enrolment.person_id = any (_course_runs.learners)
    order by
      enrolment.person_id, enrolment.enrolled_at desc, enrolment.status = 'completed' desc,
      enrolment.ended_at desc nulls first
  ),

  graded as (
    select distinct on (scored.person_id) scored.person_id, scored.score
    from analytics._attempts(_course_runs.learners, array[_course_runs.course_id], 'scores') as scored
    join run on run.person_id = scored.person_id and scored.scored_at >= run.enrolled_at
    order by scored.person_id, scored.attempt desc
  )

  select run.person_id, run.status, run.enrolled_at, run.ended_at, graded.score::float8
  from run
  left join graded on graded.person_id = run.person_id;
end;
$$;

comment on function analytics._course_runs(bigint, bigint[]) is $$
Returns the latest enrolment of each of these learners in a course, with the grade.
The grade is the latest score of the course itself since the enrolment (`Course Completed`, or `Task Graded` and `Grade
Changed` of the course), from 0 to 1; null without one.
$$;

grant execute on function analytics._course_runs(bigint, bigint[]) to insights_reader;
