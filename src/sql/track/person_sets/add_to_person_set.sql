create or replace function track.add_to_person_set(name text, people bigint[])
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return track._list_people(add_to_person_set.name, coalesce(add_to_person_set.people, '{}'), '{}');
end;
$$;

comment on function track.add_to_person_set(text, bigint[]) is $$
Adds people to a set whose members are listed. Returns the number of people in the set.
Errors: CF001 for a set with computed members, CF002 for an unknown set or person.
$$;

grant execute on function track.add_to_person_set(text, bigint[]) to insights_admin;
