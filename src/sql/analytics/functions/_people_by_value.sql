create or replace function analytics._people_by_value(
  breakdown text,
  top_values int default 10,
  smallest_group int default null,
  all_blocks int[] default null,
  all_people bit(4096)[] default null
)
returns table (value text, is_other boolean, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the sets.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_kind constant text := split_part(_people_by_value.breakdown, '.', 1);
  v_name constant text := substr(_people_by_value.breakdown, length(v_kind) + 2);
  v_sets text[];
  v_blocks int[] := all_blocks;
  v_people bit(4096)[] := all_people;
begin
  perform common.check_count('top_values', _people_by_value.top_values, 1, 100);
  if v_kind not in ('set', 'trait') or v_name = '' or length(v_name) > 100 then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_people_by_value.breakdown, 100)),
      'Use "set.<family or name of sets of people>" or "trait.<name>".'
    );
  end if;

  if all_blocks is null then
    select array_agg(among.block), array_agg(among.people) into v_blocks, v_people
    from analytics._among(null, _people_by_value.smallest_group) as among;
  end if;

  if v_kind = 'set' then
    v_sets := array(
      select person_set.name
      from track.person_set
      where starts_with(person_set.name, v_name || '.')
      order by person_set.name
      limit 101
    );
    if cardinality(v_sets) > 100 then
      perform common.refuse(
        'CF008', format('there are more than 100 sets "%s.…"', v_name), 'Give a longer beginning of their names.'
      );
    end if;
    if v_sets = '{}' then
      perform track.person_set_size(v_name);
    end if;
    perform analytics._check_sets(case when v_sets = '{}' then array[v_name] else v_sets end);

    return query
    with everyone as materialized (
      select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
    ),

    named as materialized (
      select
        case when v_sets = '{}' then 'true' else substr(members.name, length(v_name) + 2) end as value,
        members.block, members.people & everyone.people as people
      from everyone
      join (
        select family.name, set_block.block, set_block.people
        from unnest(case when v_sets = '{}' then array[v_name] else v_sets end) as family (name)
        cross join lateral track.person_set_blocks(family.name) as set_block
        where _people_by_value.smallest_group is null

        union all

        select visible.name, visible.block, visible.people
        from (
          select case when v_sets = '{}' then analytics._family_of_set(v_name) else v_sets end as names
          where _people_by_value.smallest_group is not null
        ) as family
        cross join lateral analytics._read_sets(
          family.names, _people_by_value.smallest_group, v_blocks, v_people
        ) as visible
        where v_sets <> '{}' or visible.name = v_name
      ) as members on members.block = everyone.block
    )

    select named.value, false, named.block, named.people
    from named
    where bit_count(named.people) > 0

    union all

    select case when v_sets = '{}' then 'false' end, false, everyone.block, rest.people
    from everyone
    cross join lateral (
      select
        everyone.people & ~coalesce(
          (select bit_or(named.people) from named where named.block = everyone.block), v_no_people
        ) as people
    ) as rest
    where bit_count(rest.people) > 0;
    return;
  end if;

  return query
  with everyone as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  stated as (
    select trait.person_id, left(trait.value #>> '{}', 200) as value
    from track.current_trait(null, v_name) as trait
  ),

  by_value as materialized (
    select
      stated.value, (stated.person_id / 4096)::int as block,
      bit_or(track.person_bit(stated.person_id)) & everyone.people as people
    from stated
    join everyone on everyone.block = stated.person_id / 4096
    where stated.value is not null
    group by stated.value, everyone.block, everyone.people, (stated.person_id / 4096)::int
  ),

  ranked as (
    select
      by_value.value,
      row_number() over (order by sum(bit_count(by_value.people)) desc, by_value.value)
        <= _people_by_value.top_values
        and sum(bit_count(by_value.people)) >= coalesce(_people_by_value.smallest_group, 1) as is_named
    from by_value
    group by by_value.value
  )

  select case when ranked.is_named then by_value.value end, not ranked.is_named, by_value.block, bit_or(by_value.people)
  from by_value
  join ranked on ranked.value = by_value.value
  where bit_count(by_value.people) > 0
  group by 1, 2, 3

  union all

  select null, false, everyone.block, rest.people
  from everyone
  cross join lateral (
    select
      everyone.people & ~coalesce(
        (select bit_or(by_value.people) from by_value where by_value.block = everyone.block), v_no_people
      ) as people
  ) as rest
  where bit_count(rest.people) > 0;
end;
$$;

comment on function analytics._people_by_value(text, int, int, int[], bit[]) is $$
Returns the people by value of what a breakdown names, one bit per person, as of now.
`breakdown`: `set.<family>` for the sets whose names begin with `<family>.` (the value is the rest of the name, and null
for people in none of them; a person may be in several), `set.<name>` for one set (`true` and `false`), or
`trait.<name>` for a trait (the text of a JSON scalar, at most 200 characters; null: people without it).
Of a trait, the `top_values` values with most people are named; people with other values have `is_other` and a null
value. `smallest_group`: counted people only, sets as analysts see them (`analytics._read_sets`), and a value of fewer
people is not named; null: all people. `all_blocks`, `all_people`: the people to choose from, null: all of these.
Errors: CF001 for another breakdown, CF002 for an unknown set, CF008 for more than 100 sets.
$$;

grant execute on function analytics._people_by_value(text, int, int, int[], bit[]) to insights_reader;
