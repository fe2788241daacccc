create or replace function track.set_person_set(name text, people bigint[], description text default null)
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform track._check_set_name(set_person_set.name);
  insert into track.person_set (name, description)
  values (set_person_set.name, coalesce(set_person_set.description, 'A list of people.'))
  on conflict on constraint person_set_pkey do update
  set description = excluded.description
  where set_person_set.description is not null
    and person_set.members is null;
  return track._list_people(set_person_set.name, coalesce(set_person_set.people, '{}'), null);
end;
$$;

comment on function track.set_person_set(text, bigint[], text) is $$
Makes a list of people the members of a set, which is created if it does not exist. Returns the number of people.
The list follows merges of people, and their reversal. `description` null: unchanged.
Errors: CF001 for an invalid name and for a set with computed members, CF002 for an unknown person.
$$;

grant execute on function track.set_person_set(text, bigint[], text) to insights_admin;
