create or replace function analytics._enrolled_learners(
  course_id bigint, among text, smallest_group int, with_dropped boolean
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
  v_learners bigint[];
begin
  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_enrolled_learners.among, _enrolled_learners.smallest_group) as member;
  if _enrolled_learners.smallest_group is not null then
    select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
    from analytics._members(null, _enrolled_learners.smallest_group) as member;
  end if;

  v_learners := array(
    select distinct enrolment.person_id
    from track.enrolment
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = _enrolled_learners.course_id
      and enrolment.person_id <> 0
      and (_enrolled_learners.with_dropped or enrolment.status <> 'dropped')
  );
  if _enrolled_learners.smallest_group is null or _enrolled_learners.among is null then
    return v_learners;
  end if;

  -- Sets of the learners of this course, so that no difference of two results is that of few of them.
  select array_agg(listed.block), array_agg(listed.people) into v_blocks, v_people
  from analytics._bits_of(v_learners) as listed;
  return array(
    select entry.person_id
    from unnest(v_learners) as entry (person_id)
    join analytics._among_of(
      _enrolled_learners.among, _enrolled_learners.smallest_group, v_blocks, v_people
    ) as chosen
      on chosen.block = entry.person_id / 4096
      and get_bit(chosen.people, (entry.person_id % 4096)::int) <> 0
  );
end;
$$;

comment on function analytics._enrolled_learners(bigint, text, int, boolean) is $$
Returns the people who are enrolled in a course, without excluded ones; `with_dropped`: also those who have dropped it.
`among`: people of these sets now. `smallest_group`: counted people only, and sets of the learners as analysts see them
(`analytics._among_of`); null: as they are. Errors: CF001 and CF002 as `analytics._among`.
$$;

grant execute on function analytics._enrolled_learners(bigint, text, int, boolean) to insights_reader;
