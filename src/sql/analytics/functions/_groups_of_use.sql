create or replace function analytics._groups_of_use(
  breakdown text,
  top_values int,
  smallest_group int,
  all_blocks int[],
  all_people bit(4096)[],
  used_days int[],
  used_people bigint[]
)
returns table (value text, is_other boolean, day int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_days int[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  if not analytics._is_by_day(_groups_of_use.breakdown, _groups_of_use.smallest_group) then
    return query
    select part.value, part.is_other, 0, entry.block, entry.people
    from analytics._people_groups(
      _groups_of_use.breakdown, _groups_of_use.top_values, _groups_of_use.smallest_group, all_blocks, all_people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people);
    return;
  end if;

  perform common.check_count('top_values', _groups_of_use.top_values, 1, 100);
  select array_agg(listed.day), array_agg(listed.block), array_agg(listed.people) into v_days, v_blocks, v_people
  from (
    select used.day, member.block, bit_or(track.person_bit(used.person_id)) & member.people as people
    from unnest(used_days, used_people) as used (day, person_id)
    join unnest(all_blocks, all_people) as member (block, people) on member.block = used.person_id / 4096
    group by used.day, member.block, member.people
  ) as listed;

  return query
  select part.value, part.is_other, part.day, part.block, part.people
  from analytics._groups_by_day(
    _groups_of_use.breakdown, _groups_of_use.top_values, _groups_of_use.smallest_group, v_days, v_blocks, v_people
  ) as part;
end;
$$;

comment on function analytics._groups_of_use(text, int, int, int[], bit[], int[], bigint[]) is $$
Divides the people of a period by the value of what a breakdown names, as of now.
`all_blocks`, `all_people`: the people to choose from, one bit per person. For analysts, the values are those of each
day (`analytics._groups_by_day`): `used_days`, `used_people`: each day of a person once; null and not read where
`analytics._is_by_day` is false. Otherwise there is one group for each value (`analytics._people_groups`), of day 0.
Errors: as `analytics._people_groups`.
$$;

grant execute on function analytics._groups_of_use(text, int, int, int[], bit[], int[], bigint[]) to insights_reader;
