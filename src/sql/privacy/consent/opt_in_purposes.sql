create or replace function privacy.opt_in_purposes(birth_date date)
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
  where privacy._of_age_at(opt_in_purposes.birth_date, aged.age) > now()
    and aged.is_own
    and aged.purpose not in (
      select minor.purpose
      from privacy.minor_purposes(opt_in_purposes.birth_date) as minor (purpose)
    );
end;
$$;

comment on function privacy.opt_in_purposes(date) is $$
@behavior -*
Returns the purposes that need the grant of a person born on a date, and about which she decides herself. Null: none.
$$;
