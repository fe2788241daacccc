create or replace function track.remove_from_person_set(name text, people bigint[])
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return track._list_people(remove_from_person_set.name, '{}', coalesce(remove_from_person_set.people, '{}'));
end;
$$;

comment on function track.remove_from_person_set(text, bigint[]) is $$
Removes people from a set whose members are listed. Returns the number of people in the set.
People who are not in the set are ignored. Errors: CF001 for a set with computed members, CF002 for an unknown set.
$$;

grant execute on function track.remove_from_person_set(text, bigint[]) to insights_admin;
