create or replace function analytics._place_values(
  value_names text[], value_others boolean[], value_blocks int[], value_people bit(4096)[], smallest_group int
)
returns table (value text, is_other boolean, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_is_rest boolean[];
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
  v_moved int;
begin
  select array_agg(given.number), array_agg(given.block), array_agg(given.people)
  into v_numbers, v_blocks, v_people
  from (
    select
      dense_rank() over (order by entry.is_other, entry.value is null, entry.value collate "C")::int as number,
      entry.block, entry.people
    from unnest(value_names, value_others, value_blocks, value_people) as entry (value, is_other, block, people)
    where bit_count(entry.people) > 0
    order by number
  ) as given;
  select
    array_agg(given.value order by given.is_other, given.value is null, given.value collate "C"),
    array_agg(given.is_other order by given.is_other, given.value is null, given.value collate "C")
  into v_names, v_is_rest
  from (
    select distinct entry.value, entry.is_other
    from unnest(value_names, value_others, value_people) as entry (value, is_other, people)
    where bit_count(entry.people) > 0
  ) as given;

  if _place_values.smallest_group > 1 and v_numbers is not null then
    select array_agg(near.number), array_agg(near.block), array_agg(near.people)
    into v_numbers, v_blocks, v_people
    from analytics._merge_near(v_numbers, v_blocks, v_people, _place_values.smallest_group) as near;

    -- Each turn moves values to the rest, until no difference is that of too few people.
    loop
      with part as materialized (
        select entry.number, entry.block, entry.people, v_is_rest[entry.number] as is_rest
        from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
      ),

      united as materialized (
        select
          part.block, bit_or(part.people) as of_all,
          coalesce(bit_or(part.people) filter (where part.is_rest), b'0'::bit(4096)) as of_rest,
          coalesce(bit_or(part.people) filter (where not part.is_rest), b'0'::bit(4096)) as named
        from part
        group by part.block
      ),

      whole as (
        select
          sum(bit_count(united.of_all)) as all_count, sum(bit_count(united.of_rest)) as rest_count,
          sum(bit_count(united.of_all & ~united.named)) as unnamed_count
        from united
      ),

      sized as (
        select
          part.number, sum(bit_count(part.people)) as person_count,
          sum(bit_count(part.people & united.of_rest)) as common_count
        from part
        join united on united.block = part.block
        where not part.is_rest
        group by part.number
      ),

      ranked as (
        select
          sized.*, whole.*,
          row_number() over (order by sized.person_count, v_names[sized.number] collate "C", sized.number) as place
        from sized
        cross join whole
      )

      select ranked.number into v_moved
      from ranked
      where ranked.person_count < _place_values.smallest_group
        or ranked.all_count - ranked.person_count between 1 and _place_values.smallest_group - 1
        or ranked.unnamed_count between 1 and _place_values.smallest_group - 1 and ranked.place = 1
        or ranked.rest_count > 0
          and greatest(ranked.rest_count, ranked.person_count) - ranked.common_count
            between 1 and _place_values.smallest_group - 1
      order by ranked.place
      limit 1;
      exit when not found;
      v_is_rest[v_moved] := true;
    end loop;
  end if;

  return query
  select
    case when not v_is_rest[part.number] then v_names[part.number] end, v_is_rest[part.number], part.block,
    bit_or(part.people)
  from unnest(v_numbers, v_blocks, v_people) as part (number, block, people)
  group by 1, 2, 3;
end;
$$;

comment on function analytics._place_values(text[], boolean[], int[], bit[], int) is $$
Returns the values of a breakdown as the reader sees them, with their people, one bit per person.
The arguments are rows of `analytics._people_by_value`. `smallest_group`: values that differ by fewer people are one
(`analytics._merge_near`). No value has fewer people and none leaves out fewer: others are in the rest (`is_other`), and
so are the smallest values until neither the people without a named value, nor the difference of the rest to a value,
are too few. Null: values are as they are.
$$;

grant execute on function analytics._place_values(text[], boolean[], int[], bit[], int) to insights_reader;
