create or replace function privacy._ages(purposes text[])
returns table (purpose text, age smallint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select aged.purpose, aged.age
  from (
    select
      purpose.purpose,
      coalesce(purpose.minimum_age, case purpose.basis when 'consent' then setting.age_of_consent end) as age
    from privacy.purpose
    cross join privacy.setting
    where _ages.purposes is null
      or purpose.purpose = any (_ages.purposes)
  ) as aged
  where aged.age > 0;
end;
$$;

comment on function privacy._ages(text[]) is $$
Returns the purposes that need an age, with this age in years: see `privacy.purpose.minimum_age`. Null: all purposes.
$$;

grant execute on function privacy._ages(text[])
to insights_reader, insights_learner, insights_admin, insights_worker;
