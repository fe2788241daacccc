create or replace function privacy.optional_purposes(to_grant boolean default false)
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
    and not (coalesce(optional_purposes.to_grant, false) and purpose.shares_data)
  order by purpose.purpose;
end;
$$;

comment on function privacy.optional_purposes(boolean) is $$
@behavior -*
Returns the purposes that a decision about "all" means.
They are those that need consent, and those that a person may opt out of (GDPR article 21). `to_grant`: without those
for which data leaves the organization (`privacy.purpose.shares_data`), which are granted by name only.
$$;
