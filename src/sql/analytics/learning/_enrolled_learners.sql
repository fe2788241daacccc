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
  v_chosen bit(4096)[];
  v_learners bigint[];
  v_others bigint[];
begin
  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(everyone.block), array_agg(everyone.people), array_agg(member.people)
  into v_blocks, v_people, v_chosen
  from analytics._members(null, _enrolled_learners.smallest_group) as everyone
  join analytics._members(_enrolled_learners.among, _enrolled_learners.smallest_group) as member
    on member.block = everyone.block;

  select
    coalesce(array_agg(learner.person_id) filter (where learner.is_chosen), '{}'),
    coalesce(array_agg(learner.person_id) filter (where not learner.is_chosen), '{}')
  into v_learners, v_others
  from (
    select distinct
      enrolment.person_id, get_bit(member.chosen, (enrolment.person_id % 4096)::int) <> 0 as is_chosen
    from track.enrolment
    join unnest(v_blocks, v_people, v_chosen) as member (block, people, chosen)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = _enrolled_learners.course_id
      and enrolment.person_id <> 0
      and (_enrolled_learners.with_dropped or enrolment.status <> 'dropped')
  ) as learner;

  -- As `analytics._among` for all people, so that the difference to all learners is not that of a small group.
  return case
    when cardinality(v_learners) < _enrolled_learners.smallest_group then '{}'
    when v_others <> '{}' and cardinality(v_others) < _enrolled_learners.smallest_group then v_learners || v_others
    else v_learners
  end;
end;
$$;

comment on function analytics._enrolled_learners(bigint, text, int, boolean) is $$
Returns the people who are enrolled in a course, without excluded ones; `with_dropped`: also those who have dropped it.
`among`: people of these sets now. `smallest_group`: counted people only; fewer learners than this read as none, and all
but fewer learners than this as all; null: as they are. Errors: CF001 and CF002 as `analytics._among`.
$$;

grant execute on function analytics._enrolled_learners(bigint, text, int, boolean) to insights_reader;
