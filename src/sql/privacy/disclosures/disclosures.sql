create or replace function privacy.disclosures(person text)
returns setof privacy.disclosed
language plpgsql
stable
-- A definer: it finds the person through functions that only the owner may execute.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if disclosures.person is null then
    perform common.refuse('CF001', 'person is null', 'Give the userId or anonymousId of the person.');
  end if;
  return query
  select disclosed.*
  from privacy._disclosures(privacy._subject(disclosures.person)) as disclosed;
end;
$$;

comment on function privacy.disclosures(text) is $$
@name privacy_disclosures_of
Returns who has read the record of a person, the latest first (FERPA, 34 CFR 99.32): see `privacy.disclosure`.
`person` is a `userId` or `anonymousId`; the reads of all her identities are returned, also those before a merge, and
those of tables of all people (`subject_name` null), of each reader, table and reason the last one of a day (UTC).
Errors: CF001 (null), CF002 for an unknown person.
$$;

grant execute on function privacy.disclosures(text) to insights_admin;
