create or replace function privacy._ages(purposes text[])
returns table (purpose text, age smallint, is_own boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select aged.purpose, aged.age, aged.is_own
  from (
    select purpose.purpose, limited.age, limited.is_own
    from privacy.purpose
    cross join privacy.setting
    cross join lateral (
      values
        (
          coalesce(purpose.minimum_age, case purpose.basis when 'consent' then setting.age_of_consent end),
          false
        ),
        (purpose.opt_in_age, true)
    ) as limited (age, is_own)
    where _ages.purposes is null
      or purpose.purpose = any (_ages.purposes)
  ) as aged
  where aged.age > 0;
end;
$$;

comment on function privacy._ages(text[]) is $$
Returns the purposes that need an age, with this age in years. Null: all purposes.
`is_own` false: below the age, a guardian decides (`privacy.purpose.minimum_age`). True: below it, the purpose needs a
grant (`privacy.purpose.opt_in_age`).
$$;

grant execute on function privacy._ages(text[])
to insights_reader, insights_learner, insights_admin, insights_worker;
