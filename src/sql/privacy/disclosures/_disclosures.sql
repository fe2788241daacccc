create or replace function privacy._disclosures(subject privacy.subject)
returns setof privacy.disclosed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    disclosure.read_at, disclosure.read_by, disclosure.role, disclosure.function_name, disclosure.reason,
    disclosure.subject_name
  from privacy.disclosure
  where disclosure.identity_id = any ((_disclosures.subject).identity_ids)
  order by disclosure.read_at desc, disclosure.read_id desc, disclosure.disclosure_id;
end;
$$;

comment on function privacy._disclosures(privacy.subject) is $$
Returns the reads of the record of a person, the latest first.
$$;
