create or replace function analytics._course_completion(blocks int[], people bit(4096)[])
returns table (course_id bigint, enrolment_count bigint, completion_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  -- One bit per person, of all blocks, also of those between them without counted people.
  v_people constant varbit := (
    with member as materialized (
      select listed.block, listed.people
      from unnest(_course_completion.blocks, _course_completion.people) as listed (block, people)

      union all

      select counted.block, counted.people
      from track.person_set_blocks('counted') as counted
      where _course_completion.blocks is null
    )

    select string_agg(coalesce(member.people, v_no_people)::text, '' order by every.block)::varbit
    from generate_series(0, (select max(member.block) from member)) as every (block)
    left join member on member.block = every.block
  );
begin
  -- People with one enrolment in a course, under the identity that gave them their key, are nearly all.
  return query
  with further as materialized (
    select distinct enrolment.person_id, enrolment.item_id
    from track.enrolment
    where enrolment.identity_id <> enrolment.person_id
  ),

  counted as (
    select
      enrolment.item_id,
      count(*) as enrolment_count,
      count(*) filter (where enrolment.status = 'completed') as completion_count
    from track.enrolment
    where enrolment.identity_id = enrolment.person_id
      and enrolment.person_id < length(v_people)
      and get_bit(v_people, enrolment.person_id::int) <> 0
    group by enrolment.item_id

    union all

    -- A person completed a course when one of her enrolments in it is completed.
    select
      by_person.item_id,
      sum(1 - by_person.is_counted::int),
      sum(by_person.is_completed::int - by_person.is_counted_completed::int)
    from (
      select
        enrolment.item_id, enrolment.person_id,
        bool_or(enrolment.identity_id = enrolment.person_id) as is_counted,
        bool_or(enrolment.status = 'completed') as is_completed,
        bool_or(enrolment.status = 'completed' and enrolment.identity_id = enrolment.person_id) as is_counted_completed
      from further
      join track.enrolment
        on enrolment.person_id = further.person_id
        and enrolment.item_id = further.item_id
      where enrolment.person_id < length(v_people)
        and get_bit(v_people, enrolment.person_id::int) <> 0
      group by enrolment.item_id, enrolment.person_id
    ) as by_person
    group by by_person.item_id
  )

  select counted.item_id, sum(counted.enrolment_count)::bigint, sum(counted.completion_count)::bigint
  from counted
  join track.item on item.item_id = counted.item_id and item.kind = 'course'
  group by counted.item_id;
end;
$$;

comment on function analytics._course_completion(int[], bit[]) is $$
Returns the numbers of counted people who are or were enrolled in each course, and of those who completed it, as of now.
Courses without enrolments have no row. `blocks`, `people`: counted people, one bit per person; null: all of them.
$$;

grant execute on function analytics._course_completion(int[], bit[]) to insights_reader;
