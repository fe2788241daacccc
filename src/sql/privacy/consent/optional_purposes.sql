create or replace function privacy.optional_purposes()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select purpose.purpose
  from privacy.purpose
  where purpose.basis in ('consent', 'legitimate_interests', 'public_task')
  order by purpose.purpose;
end;
$$;

comment on function privacy.optional_purposes() is $$
@behavior -*
Returns the purposes that a decision about "all" means.
They are those that need consent, and those that a person may opt out of (GDPR article 21).
$$;
