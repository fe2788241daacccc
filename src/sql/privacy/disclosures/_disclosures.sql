create or replace function privacy._disclosures(subject privacy.subject)
returns setof privacy.disclosed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    entry.read_at, entry.read_by, entry.role, entry.function_name, entry.reason, entry.subject_name
  from (
    -- Of several names of the person, the first: it is one read.
    select distinct on (disclosure.read_id, disclosure.function_name) disclosure.*
    from privacy.disclosure
    where disclosure.identity_id = any ((_disclosures.subject).identity_ids)
      or disclosure.identity_id is null
    order by disclosure.read_id, disclosure.function_name, disclosure.identity_id
  ) as entry
  order by entry.read_at desc, entry.read_id desc, entry.function_name;
end;
$$;

comment on function privacy._disclosures(privacy.subject) is $$
Returns the reads of the record of a person, and of tables of all people, the latest first.
$$;
