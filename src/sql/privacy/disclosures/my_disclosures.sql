create or replace function privacy.my_disclosures()
returns setof privacy.disclosed
language plpgsql
stable
-- A definer: it reads privacy.disclosure for the signed-in person.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select disclosed.*
  from privacy._disclosures(privacy._signed_in_subject()) as disclosed;
end;
$$;

comment on function privacy.my_disclosures() is $$
Returns who has read the record of the signed-in person, the latest first: see `privacy.disclosure`.
Reads of tables of all people (`subject_name` null) are in it, too: of each reader, table and reason the last of a day.
Errors: CF005 when no person is signed in, CF002 when no data of the person is stored.
$$;

grant execute on function privacy.my_disclosures() to insights_learner;
