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
    _people_groups.breakdown, _people_groups.top_values, _people_groups.smallest_group,
    coalesce(_people_groups.all_blocks, '{}'), coalesce(_people_groups.all_people, '{}')
  ) as by_value;

  return query
  select placed.value, placed.is_other, array_agg(placed.block), array_agg(placed.people)
  from analytics._place_values(v_values, v_others, v_blocks, v_people, _people_groups.smallest_group) as placed
  group by placed.value, placed.is_other
  order by placed.is_other, placed.value is null, placed.value collate "C";
end;
$$;

comment on function analytics._people_groups(text, int, int, int[], bit[]) is $$
Divides people by the value of what a breakdown names, as of now (`analytics._people_by_value`).
`all_blocks`, `all_people`: the people, one bit per person. `breakdown` null: one group with all of them, without a
value.
`smallest_group`: the groups are those of `analytics._place_values`; null: values are as they are. A person who is in
several sets of a family is in several groups.
Errors: as `analytics._people_by_value`; CF001 for `top_values` that are not from 1 to 100.
$$;

grant execute on function analytics._people_groups(text, int, int, int[], bit[]) to insights_reader;
