create or replace function analytics._course_people(course_id bigint, people bigint[])
returns table (person_id bigint, is_enrolled boolean, is_shown boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  decided as (
    select
      candidate.person_id,
      candidate.person_id in (
        select enrolment.person_id
        from track.enrolment
        where enrolment.person_id = any (_course_people.people)
          and enrolment.item_id = _course_people.course_id
      ) as is_enrolled,
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      v_by_default <> (
        candidate.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics', _course_people.people) as decision
          where decision.granted <> v_by_default
        )
      )
      and candidate.person_id not in (select privacy.restricted(_course_people.people)) as is_shown
    from (select distinct listed.person_id from unnest(_course_people.people) as listed (person_id)) as candidate
    where candidate.person_id <> 0
  )

  select decided.person_id, decided.is_enrolled, decided.is_shown
  from decided
  where decided.is_enrolled
    or (
      decided.is_shown
      and exists (
        select
        from counted
        where counted.block = decided.person_id / 4096
          and get_bit(counted.people, (decided.person_id % 4096)::int) <> 0
      )
      and not exists (
        select
        from track.item_ancestor as ancestor
        join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = _course_people.course_id
          and item_role.person_id = decided.person_id
      )
    );
end;
$$;

comment on function analytics._course_people(bigint, bigint[]) is $$
Returns which of the given people are learners of a course, for its instructors; the caller has found them active in it.
These are the enrolled people, and of the others those who are counted, have no role in the course and have not opted
out of `analytics`. `is_shown`: whether name and activity may be shown; false for people who have
opted out, and for those whose data is restricted.
$$;

grant execute on function analytics._course_people(bigint, bigint[]) to insights_reader;
