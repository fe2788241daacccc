create or replace function analytics._people_among(among text, smallest_group int)
returns bigint[]
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select analytics._people_of(array_agg(member.block), array_agg(member.people))
  from analytics._members($1, $2) as member;
$$;

comment on function analytics._people_among(text, int) is $$
Returns the people of an expression of sets (`analytics._among`) who are not excluded.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_among(text, int) to insights_reader;
