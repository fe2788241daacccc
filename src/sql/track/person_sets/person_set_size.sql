create or replace function track.person_set_size(name text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return track._person_set_size((track._find_person_set(person_set_size.name)).name);
end;
$$;

comment on function track.person_set_size(text) is $$
Returns the number of people in a set, as of the last refresh.
Errors: CF002 for an unknown set (names the nearest).
$$;

grant execute on function track.person_set_size(text) to insights_reader, insights_admin, insights_worker;
