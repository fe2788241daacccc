create or replace function ml._log_gamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_product float8 := 1;
begin
  if not x > 0 then
    perform common.refuse('CF001', format('a parameter of the distribution is %s', 2 * x),
      'Degrees of freedom are above 0.');
  end if;
  -- x gamma(x) = gamma(x + 1), applied until Stirling's series is accurate to the last digit
  while v_x < 16 loop
    v_product := v_product * v_x;
    v_x := v_x + 1;
  end loop;
  return (v_x - 0.5) * ln(v_x) - v_x + 0.918938533204672741780329736406 + ml._log_gamma_correction(v_x) - ln(v_product);
end
$$;

comment on function ml._log_gamma(float8) is $$
Returns the natural logarithm of the gamma function for x > 0; CF001 for any other number.
$$;

grant execute on function ml._log_gamma(float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
