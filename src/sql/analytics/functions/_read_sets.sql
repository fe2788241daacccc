create or replace function analytics._read_sets(
  names text[], smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (name text, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all_count constant bigint := (select sum(bit_count(entry.people)) from unnest(all_people) as entry (people));
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  select array_agg(named.number), array_agg(named.block), array_agg(named.people)
  into v_numbers, v_blocks, v_people
  from (
    select entry.number::int as number, everyone.block, set_block.people & everyone.people as people
    from unnest(_read_sets.names) with ordinality as entry (name, number)
    cross join lateral track.person_set_blocks(entry.name) as set_block
    join unnest(_read_sets.all_blocks, _read_sets.all_people) as everyone (block, people)
      on everyone.block = set_block.block
  ) as named
  where bit_count(named.people) > 0;

  return query
  with united as materialized (
    select near.number, near.block, near.people
    from analytics._merge_near(v_numbers, v_blocks, v_people, _read_sets.smallest_group) as near
  ),

  sized as (
    select united.number, sum(bit_count(united.people)) as person_count from united group by united.number
  )

  select _read_sets.names[united.number], united.block, united.people
  from united
  join sized on sized.number = united.number
  where sized.person_count between _read_sets.smallest_group and v_all_count - _read_sets.smallest_group
    or sized.person_count = v_all_count

  union all

  select _read_sets.names[sized.number], everyone.block, everyone.people
  from sized
  cross join unnest(_read_sets.all_blocks, _read_sets.all_people) as everyone (block, people)
  where sized.person_count >= _read_sets.smallest_group
    and sized.person_count > v_all_count - _read_sets.smallest_group
    and sized.person_count < v_all_count;
end;
$$;

comment on function analytics._read_sets(text[], int, int[], bit[]) is $$
Returns the sets of people (`track.person_set`) as analysts see them, one bit per person.
`all_blocks`, `all_people`: the people they are chosen from, others are left out. A set of fewer of them than
`smallest_group` has no rows, and one that leaves out fewer is all of them. Sets of `names` that differ by fewer people
are one (`analytics._merge_near`): give all sets of a family. Errors: CF002 for an unknown set.
$$;

grant execute on function analytics._read_sets(text[], int, int[], bit[]) to insights_reader;
