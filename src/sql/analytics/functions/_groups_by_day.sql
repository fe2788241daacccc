create or replace function analytics._groups_by_day(
  breakdown text, top_values int, smallest_group int, day_numbers int[], day_blocks int[], day_people bit(4096)[]
)
returns table (value text, is_other boolean, day int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
  v_values text[];
  v_others boolean[];
begin
  select coalesce(array_agg(active.block), '{}'), coalesce(array_agg(active.people), '{}') into v_blocks, v_people
  from (
    select entry.block, bit_or(entry.people) as people
    from unnest(day_blocks, day_people) as entry (block, people)
    group by entry.block
  ) as active;
  select
    array_agg(by_value.value), array_agg(by_value.is_other), array_agg(by_value.block), array_agg(by_value.people)
  into v_values, v_others, v_blocks, v_people
  from analytics._people_by_value(
    _groups_by_day.breakdown, _groups_by_day.top_values, _groups_by_day.smallest_group, v_blocks, v_people
  ) as by_value;

  return query
  with of_day as materialized (
    select
      entry.day, array_agg(by_value.value) as value_names, array_agg(by_value.is_other) as value_others,
      array_agg(by_value.block) as value_blocks, array_agg(by_value.people & entry.people) as value_people
    from unnest(day_numbers, day_blocks, day_people) as entry (day, block, people)
    join unnest(v_values, v_others, v_blocks, v_people) as by_value (value, is_other, block, people)
      on by_value.block = entry.block
    group by entry.day
  )

  select placed.value, placed.is_other, of_day.day, placed.block, placed.people
  from of_day
  cross join lateral analytics._place_values(
    of_day.value_names, of_day.value_others, of_day.value_blocks, of_day.value_people, _groups_by_day.smallest_group
  ) as placed;
end;
$$;

comment on function analytics._groups_by_day(text, int, int, int[], int[], bit[]) is $$
Divides the people of each day by the value of what a breakdown names, as of now, for analysts.
`day_numbers`, `day_blocks`, `day_people`: the people of each day, one bit per person. On each day, the groups are those
of `analytics._place_values`: so neither two values, nor a value and all people, differ by too few people, and nor do
two periods. Arguments and errors are those of `analytics._people_by_value`.
$$;

grant execute on function analytics._groups_by_day(text, int, int, int[], int[], bit[]) to insights_reader;
