create or replace function ml.elastic_net_gaussian_predict(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select elastic_net_gaussian_predict.intercept
    + ml.linregr_predict(elastic_net_gaussian_predict.coefficients, elastic_net_gaussian_predict.ind_var);
end;

comment on function ml.elastic_net_gaussian_predict(float8[], float8, float8[]) is $$
Prediction of a linear elastic net: intercept plus coef_all times the independent variables. Error CF001 when lengths
differ.
$$;

grant execute on function ml.elastic_net_gaussian_predict(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
