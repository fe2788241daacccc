create or replace function analytics._bits_of(people_ids bigint[])
returns table (block int, people bit(4096))
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id))
  from unnest($1) as entry (person_id)
  group by 1;
$$;

comment on function analytics._bits_of(bigint[]) is $$
Returns people as blocks of bits, as `track.person_set_block` stores them.
$$;

grant execute on function analytics._bits_of(bigint[]) to insights_reader;
