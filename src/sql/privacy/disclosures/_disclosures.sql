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
    (
      select distinct on (disclosure.read_id, disclosure.function_name)
        disclosure.read_at, disclosure.read_id, disclosure.read_by, disclosure.role, disclosure.function_name,
        disclosure.reason, disclosure.subject_name
      from privacy.disclosure
      where disclosure.identity_id = any ((_disclosures.subject).identity_ids)
      order by disclosure.read_id, disclosure.function_name, disclosure.identity_id
    )
    union all
    -- Those of tables are many, and in the list of every person.
    select
      max(disclosure.read_at), max(disclosure.read_id), disclosure.read_by, disclosure.role,
      disclosure.function_name, disclosure.reason, null
    from privacy.disclosure
    where disclosure.identity_id is null
    group by
      (disclosure.read_at at time zone 'UTC')::date, disclosure.read_by, disclosure.role, disclosure.function_name,
      disclosure.reason
  ) as entry
  order by entry.read_at desc, entry.read_id desc, entry.function_name;
end;
$$;

comment on function privacy._disclosures(privacy.subject) is $$
Returns the reads of the record of a person, and of tables of all people, the latest first.
Of the reads of a table by the same reader and for the same reason, the last one of each day (UTC).
$$;
