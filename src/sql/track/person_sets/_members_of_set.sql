create or replace function track._members_of_set(person_set track.person_set, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using (person_set).name, people;

  -- Person 0 (anonymized events) is in no set.
  return query
  select person.person_id
  from track.person
  where person.person_id = any (v_members)
    and person.person_id <> 0;
end;
$$;

comment on function track._members_of_set(track.person_set, bigint[]) is $$
Returns which of the given people belong to a set as of now.
$$;
