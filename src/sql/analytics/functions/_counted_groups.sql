create or replace function analytics._counted_groups(
  among text, breakdown text, top_values int, smallest_group int
)
returns table (value text, is_other boolean, blocks int[], people bit(4096)[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
begin
  if among is not null or breakdown is not null then
    select array_agg(member.block), array_agg(member.people & counted.people) into v_blocks, v_people
    from analytics._among(_counted_groups.among, _counted_groups.smallest_group) as member
    join track.person_set_blocks('counted') as counted on counted.block = member.block;
  end if;

  return query
  select part.value, part.is_other, part.blocks, part.people
  from analytics._people_groups(
    _counted_groups.breakdown, _counted_groups.top_values, _counted_groups.smallest_group, v_blocks, v_people
  ) as part;
end;
$$;

comment on function analytics._counted_groups(text, text, int, int) is $$
Divides the counted people of an expression of sets by the value of what a breakdown names, as of now.
The people are one bit per person. With neither an expression nor a breakdown, there is one group with null arrays:
all counted people, whose figures the readers take from sums.
Arguments and errors: as `analytics._among` and `analytics._people_groups`.
$$;

grant execute on function analytics._counted_groups(text, text, int, int) to insights_reader;
