create or replace function analytics._enrolled_learners(course text, among text, smallest_group int)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_course_id constant bigint := analytics._item_id(coalesce(_enrolled_learners.course, ''));
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(entry.block), array_agg(entry.people & ~coalesce(excluded.people, v_no_people))
  into v_blocks, v_people
  from analytics._among(_enrolled_learners.among, _enrolled_learners.smallest_group) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;

  return array(
    select distinct enrolment.person_id
    from track.enrolment
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = v_course_id
      and enrolment.status <> 'dropped'
      and enrolment.person_id <> 0
  );
end;
$$;

comment on function analytics._enrolled_learners(text, text, int) is $$
Returns the people who are enrolled in a course and have not dropped it, without excluded ones.
`among`: people of these sets now. `smallest_group`: counted people only; null: all. Errors: CF001 and CF002 as
`analytics._among`, CF002 for an unknown course.
$$;

grant execute on function analytics._enrolled_learners(text, text, int) to insights_reader;
