create or replace function ml.chi_squared_cdf(x float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_gamma(chi_squared_cdf.nu / 2, greatest(chi_squared_cdf.x, 0) / 2, false);
end;

comment on function ml.chi_squared_cdf(float8, float8) is $$
Returns the chi-squared distribution function at x with nu > 0 degrees of freedom, by the incomplete gamma function.
$$;

grant execute on function ml.chi_squared_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
