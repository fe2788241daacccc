create or replace function analytics._members(among text, smallest_group int)
returns table (block int, people bit(4096))
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select entry.block, entry.people & ~coalesce(excluded.people, b'0'::bit(4096))
  from analytics._among($1, $2) as entry
  left join track.person_set_blocks('excluded') as excluded on excluded.block = entry.block;
$$;

comment on function analytics._members(text, int) is $$
Returns the people of an expression of sets (`analytics._among`) who are not excluded, one bit per person.
`smallest_group`: counted people only; null: all.
$$;

grant execute on function analytics._members(text, int) to insights_reader;
