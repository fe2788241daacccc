create or replace function analytics._merge_near(
  set_numbers int[], set_blocks int[], set_people bit(4096)[], smallest_group int
)
returns table (number int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_numbers int[] := _merge_near.set_numbers;
  v_blocks int[] := _merge_near.set_blocks;
  v_people bit(4096)[] := _merge_near.set_people;
  -- The set that each one is part of.
  v_targets int[] := array(
    select generate_series(1, (select max(entry.number) from unnest(set_numbers) as entry (number)))
  );
  v_merged int[];
  v_into int[];
begin
  -- Each turn leaves fewer sets.
  loop
    with part as materialized (
      select * from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
    ),

    sized as materialized (
      select part.number, sum(bit_count(part.people)) as person_count
      from part
      group by part.number
      having sum(bit_count(part.people)) >= _merge_near.smallest_group
    ),

    near as (
      select one.number as into_number, other.number as merged_number
      from sized as one
      join sized as other
        on other.number > one.number
        and abs(other.person_count - one.person_count) < _merge_near.smallest_group
      cross join lateral (
        select coalesce(sum(bit_count(part_of_one.people & part_of_other.people)), 0) as person_count
        from part as part_of_one
        join part as part_of_other
          on part_of_other.number = other.number
          and part_of_other.block = part_of_one.block
        where part_of_one.number = one.number
      ) as common
      where greatest(one.person_count, other.person_count) - common.person_count
        between 1 and _merge_near.smallest_group - 1
    )

    select array_agg(first_near.merged_number), array_agg(first_near.into_number) into v_merged, v_into
    from (
      select near.merged_number, min(near.into_number) as into_number from near group by near.merged_number
    ) as first_near;
    exit when v_merged is null;

    v_targets := array(
      select coalesce(change.into_number, target.number)
      from unnest(v_targets) with ordinality as target (number, place)
      left join unnest(v_merged, v_into) as change (merged_number, into_number)
        on change.merged_number = target.number
      order by target.place
    );
    select array_agg(united.number), array_agg(united.block), array_agg(united.people)
    into v_numbers, v_blocks, v_people
    from (
      select coalesce(change.into_number, part.number) as number, part.block, bit_or(part.people) as people
      from unnest(v_numbers, v_blocks, v_people) as part (number, block, people)
      left join unnest(v_merged, v_into) as change (merged_number, into_number)
        on change.merged_number = part.number
      group by 1, 2
    ) as united;
  end loop;

  return query
  select target.place::int, part.block, part.people
  from unnest(v_targets) with ordinality as target (number, place)
  join unnest(v_numbers, v_blocks, v_people) as part (number, block, people) on part.number = target.number;
end;
$$;

comment on function analytics._merge_near(int[], int[], bit[], int) is $$
Returns sets of people, of which those that differ by fewer than `smallest_group` people are united.
Two sets are near when both have people, at least one of them has people that the other has not, and either has fewer
of these than `smallest_group`. Near sets are each the union of both, until no two different sets are near. So the
difference of two results is never that of a few people. Sets of fewer people than `smallest_group` stay as they are.
`set_numbers` (1, 2, …), `set_blocks`, `set_people`: the sets, one bit per person.
$$;

grant execute on function analytics._merge_near(int[], int[], bit[], int) to insights_reader;
