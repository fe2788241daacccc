create or replace function ml.chi_squared_cdf(x float8, nu float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x constant float8 := greatest(ml._finite_range(x), 0);
begin
  if v_x = 'NaN' or nu = 'NaN' then
    return 'NaN';
  end if;
  perform ml._check_degrees(nu, 1e7);
  return ml._incomplete_gamma(greatest(nu, 1e-100) / 2, v_x / 2, false);
end;
$$;

comment on function ml.chi_squared_cdf(float8, float8) is $$
Returns the chi-squared distribution function at x with nu > 0 degrees of freedom, by the incomplete gamma function.
Error CF001 unless `nu` is above 0, and at most 1e7.
$$;

grant execute on function ml.chi_squared_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
