create or replace function ml._weight(value float8)
returns real
language sql
immutable
strict
parallel safe
return case
  when value = 'NaN' then 'NaN'
  when value > 1e30 then 'Infinity'
  when value < -1e30 then '-Infinity'
  when abs(value) < 1e-15 then 0
  else value
end::real;

comment on function ml._weight(float8) is $$
Returns a weight in single precision, infinite above 1e30, and 0 below 1e-15, whose square it could not hold.
$$;

grant execute on function ml._weight(float8) to insights_analyst, insights_admin, insights_worker;
