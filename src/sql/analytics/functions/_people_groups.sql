create or replace function analytics._people_groups(
  breakdown text, top_values int, smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (value text, is_other boolean, blocks int[], people bit(4096)[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_values text[];
  v_others boolean[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('top_values', _people_groups.top_values, 1, 100);
  if breakdown is null then
    return query
    select null::text, false, _people_groups.all_blocks, _people_groups.all_people;
    return;
  end if;

  -- Read first, so that an invalid argument is an error also when there are no people.
  select
    array_agg(by_value.value), array_agg(by_value.is_other), array_agg(by_value.block), array_agg(by_value.people)
  into v_values, v_others, v_blocks, v_people
  from analytics._people_by_value(
    _people_groups.breakdown, _people_groups.top_values, _people_groups.smallest_group
  ) as by_value;

  return query
  with valued as materialized (
    select by_value.value, by_value.is_other, by_value.block, by_value.people & member.people as people
    from unnest(v_values, v_others, v_blocks, v_people) as by_value (value, is_other, block, people)
    join unnest(_people_groups.all_blocks, _people_groups.all_people) as member (block, people)
      on member.block = by_value.block
    where bit_count(by_value.people & member.people) > 0
  ),

  everyone as (
    select sum(bit_count(united.people)) as person_count
    from (select bit_or(valued.people) as people from valued group by valued.block) as united
  ),

  -- Neither a value nor the people without it may be too few.
  sized as materialized (
    select
      valued.value, valued.is_other, sum(bit_count(valued.people)) as person_count,
      valued.is_other
        or sum(bit_count(valued.people)) < coalesce(_people_groups.smallest_group, 1)
        or everyone.person_count > sum(bit_count(valued.people))
          and everyone.person_count - sum(bit_count(valued.people)) < coalesce(_people_groups.smallest_group, 1)
        as is_rest
    from valued
    cross join everyone
    group by valued.value, valued.is_other, everyone.person_count
  ),

  rest as (
    select coalesce(sum(bit_count(united.people)), 0) as person_count
    from (
      select bit_or(valued.people) as people
      from valued
      join sized on sized.value is not distinct from valued.value and sized.is_other = valued.is_other
      where sized.is_rest
      group by valued.block
    ) as united
  ),

  -- With the smallest other value where the rest would be too few.
  placed as (
    select
      sized.value, sized.is_other,
      sized.is_rest
        or rest.person_count > 0
          and rest.person_count < coalesce(_people_groups.smallest_group, 1)
          and row_number() over (order by sized.is_rest, sized.person_count, sized.value) = 1
        as is_rest
    from sized
    cross join rest
  ),

  named as (
    select
      case when not placed.is_rest then placed.value end as value, placed.is_rest, valued.block,
      bit_or(valued.people) as people
    from placed
    join valued on valued.value is not distinct from placed.value and valued.is_other = placed.is_other
    group by 1, 2, 3
  )

  select named.value, named.is_rest, array_agg(named.block), array_agg(named.people)
  from named
  group by named.value, named.is_rest
  order by named.is_rest, named.value is null, named.value collate "C";
end;
$$;

comment on function analytics._people_groups(text, int, int, int[], bit[]) is $$
Divides people by the value of what a breakdown names, as of now (`analytics._people_by_value`).
`all_blocks`, `all_people`: the people, one bit per person. `breakdown` null: one group with all of them, without a
value.
`smallest_group`: no group is smaller than this, and none leaves out fewer people: others are in the rest (`is_other`),
with the smallest other value where the rest would be smaller. Null: values are as they are. A person who is in several
sets of a family is in several groups.
Errors: as `analytics._people_by_value`; CF001 for `top_values` that are not from 1 to 100.
$$;

grant execute on function analytics._people_groups(text, int, int, int[], bit[]) to insights_reader;
