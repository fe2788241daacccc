create or replace function ml.elastic_net_binomial_prob(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if array_ndims(coefficients) > 1 or array_ndims(ind_var) > 1 then
    perform common.refuse('CF001', 'the coefficients or the independent variables are a matrix',
      'Give the arrays of one row.');
  end if;
  return ml.logregr_predict_prob(intercept || coefficients, 1::float8 || ind_var);
end;
$$;

comment on function ml.elastic_net_binomial_prob(float8[], float8, float8[]) is $$
Returns the probability of class 1 (true) by a logistic elastic net, from coef_all and intercept.
Error CF001 when the lengths differ, or an array has two dimensions.
$$;

grant execute on function ml.elastic_net_binomial_prob(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
