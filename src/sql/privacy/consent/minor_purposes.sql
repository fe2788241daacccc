create or replace function privacy.minor_purposes(birth_date date)
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select aged.purpose
  from privacy._ages(null) as aged
  where privacy._of_age_at(minor_purposes.birth_date, aged.age) > now()
    and not aged.is_own;
end;
$$;

comment on function privacy.minor_purposes(date) is $$
@behavior -*
Returns the purposes about which a person born on a date cannot decide herself yet. Null: none.
$$;
