create or replace function analytics._family_of_set(set_name text)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_family constant text := substring(_family_of_set.set_name from '^(.*\.)[^.]*$');
begin
  return array(
    select person_set.name
    from track.person_set
    where person_set.name = _family_of_set.set_name
      or starts_with(person_set.name, v_family)
        and strpos(substr(person_set.name, length(v_family) + 1), '.') = 0
    order by person_set.name collate "C"
  );
end;
$$;

comment on function analytics._family_of_set(text) is $$
Returns the names of the sets of people of the same family.
These have the same name up to its last dot. A name without a dot is a family of its own.
$$;

grant execute on function analytics._family_of_set(text) to insights_reader;
