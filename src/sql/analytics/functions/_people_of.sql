create or replace function analytics._people_of(blocks int[], people bit(4096)[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select person.person_id
    from track.person
    join unnest(_people_of.blocks, _people_of.people) as member (block, people)
      on member.block = person.person_id / 4096
      and get_bit(member.people, (person.person_id % 4096)::int) <> 0
    where person.person_id <> 0
  );
end;
$$;

comment on function analytics._people_of(int[], bit[]) is $$
Returns the people of blocks of bits, as `analytics._bits_of` makes them. Bits that belong to no person are ignored.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_of(int[], bit[]) to insights_reader;
