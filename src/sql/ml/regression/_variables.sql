create or replace function ml._variables(settled jsonb)
returns integer[]
language sql
stable
parallel safe
begin atomic
  select case when settled ->> 'intercept' is null then '{}' else '{0}' end::integer[]
    || array(
      select value::integer
      from jsonb_array_elements_text(settled -> 'active') with ordinality as list (value, nth)
      order by nth
    );
end;

comment on function ml._variables(jsonb) is $$
Returns the unknowns of a settled design: 0 for the intercept if there is one, then the positions of the columns.
$$;

grant execute on function ml._variables(jsonb) to insights_analyst, insights_admin, insights_worker;
