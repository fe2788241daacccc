create or replace function ml._times(a float8, b float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  if a = 0 or b = 0 then
    return 0;
  elsif abs(a) >= 1 and abs(b) > 1e300 / abs(a) and abs(a) < 'Infinity' and abs(b) < 'Infinity' then
    perform common.refuse('CF007', format('the product of %s and %s is too large for a number', a, b),
      'Use other units, so that the values are between 1e-100 and 1e100.');
  elsif abs(a) < 1 and abs(b) < 1 and abs(a) < 1e-300 / abs(b) then
    return 0;
  end if;
  return a * b;
end;
$$;

comment on function ml._times(float8, float8) is $$
A product; 0 where it is too small for a number. Error CF007 where it is too large.
$$;

grant execute on function ml._times(float8, float8)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
