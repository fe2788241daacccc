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
  when abs(value) < 1e-30 then 0
  else value
end::real;

comment on function ml._weight(float8) is $$
Returns a weight in single precision, infinite or 0 where the number is out of range.
$$;

grant execute on function ml._weight(float8) to insights_analyst, insights_admin, insights_worker;
