create or replace function ml._tested(fit ml.fit, df float8)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit := fit;
begin
  select wald.std_err, wald.stats, wald.p_values
  into v_fit.std_err, v_fit.stats, v_fit.p_values
  from ml._wald(fit.coef, fit.covariance, df) as wald;
  return v_fit;
end;
$$;

comment on function ml._tested(ml.fit, float8) is $$
Returns a fit with the standard errors and tests of its coefficients, from its covariance: see ml._wald.
$$;

grant execute on function ml._tested(ml.fit, float8) to insights_analyst, insights_admin, insights_worker;
