create or replace function analytics._learner_groups(
  breakdown text, top_values int, smallest_group int, learners bigint[]
)
returns table (value text, is_other boolean, people bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
begin
  if breakdown is null then
    perform common.check_count('top_values', _learner_groups.top_values, 1, 100);
    return query
    select null::text, false, _learner_groups.learners;
    return;
  end if;

  select array_agg(listed.block), array_agg(listed.people) into v_blocks, v_people
  from analytics._bits_of(_learner_groups.learners) as listed;

  return query
  select part.value, part.is_other, chosen.people
  from analytics._people_groups(
    _learner_groups.breakdown, _learner_groups.top_values, _learner_groups.smallest_group, v_blocks, v_people
  ) as part
  cross join lateral (
    select array_agg(entry.person_id) as people
    from unnest(_learner_groups.learners) as entry (person_id)
    join unnest(part.blocks, part.people) as member (block, people)
      on member.block = entry.person_id / 4096
      and get_bit(member.people, (entry.person_id % 4096)::int) <> 0
  ) as chosen
  order by part.is_other, part.value is null, part.value collate "C";
end;
$$;

comment on function analytics._learner_groups(text, int, int, bigint[]) is $$
Divides learners by the value of what a breakdown names, as of now (`analytics._people_groups`).
`breakdown` null: one group with all of them, without a value.
$$;

grant execute on function analytics._learner_groups(text, int, int, bigint[]) to insights_reader;
