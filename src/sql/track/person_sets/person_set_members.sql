create or replace function track.person_set_members(name text)
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_members.name);
begin
  return query
  select person_set_block.block::bigint * 4096 + place
  from track.person_set_block
  cross join generate_series(0, 4095) as place
  where person_set_block.name = v_set.name
    and get_bit(person_set_block.people, place) = 1
  order by person_set_block.block, place;
end;
$$;

comment on function track.person_set_members(text) is $$
Returns the people of a set, as of the last refresh, in the order of their keys.
A query that filters events by a large set joins `track.person_set_block` instead. Errors: CF002 for an unknown set
(names the nearest).
$$;

grant execute on function track.person_set_members(text) to insights_reader, insights_admin, insights_worker;
