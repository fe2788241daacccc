create or replace function ml._log_beta(a float8, b float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant float8 := least(a, b);
  v_q constant float8 := greatest(a, b);
begin
  -- for a large argument the difference of two large logarithms is expanded, since half the digits would cancel
  if v_p >= 10 then
    return ml._log_gamma_correction(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + 0.918938533204672741780329736406 - 0.5 * ln(v_q)
      + (v_p - 0.5) * ln(v_p / (v_p + v_q)) + v_q * ml._log1p(-v_p / (v_p + v_q));
  elsif v_q >= 10 then
    return ml._log_gamma(v_p) + ml._log_gamma_correction(v_q) - ml._log_gamma_correction(v_p + v_q)
      + v_p - v_p * ln(v_p + v_q) + (v_q - 0.5) * ml._log1p(-v_p / (v_p + v_q));
  end if;
  return ml._log_gamma(v_p) + ml._log_gamma(v_q) - ml._log_gamma(v_p + v_q);
end
$$;

comment on function ml._log_beta(float8, float8) is $$
Returns the natural logarithm of the beta function for a, b > 0, accurate for large arguments too (as in TOMS 708).
$$;

grant execute on function ml._log_beta(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
