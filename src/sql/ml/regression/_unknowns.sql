create or replace function ml._unknowns(settled ml.design)
returns integer[]
language sql
stable
parallel safe
begin atomic
  select array_remove(array[settled.intercept], null) || settled.active;
end;

comment on function ml._unknowns(ml.design) is $$
Returns the positions of the coefficients of a settled design, the intercept first.
$$;

grant execute on function ml._unknowns(ml.design) to insights_analyst, insights_admin, insights_worker;
