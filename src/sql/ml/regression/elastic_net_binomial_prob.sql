create or replace function ml.elastic_net_binomial_prob(coefficients float8[], intercept float8, ind_var float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml.logregr_predict_prob(
    elastic_net_binomial_prob.intercept || elastic_net_binomial_prob.coefficients, 1::float8 || elastic_net_binomial_prob.ind_var
  );
end;

comment on function ml.elastic_net_binomial_prob(float8[], float8, float8[]) is $$
Probability of the class 1 (true) by a logistic elastic net, from coef_all and intercept. Error CF001 when lengths
differ.
$$;

grant execute on function ml.elastic_net_binomial_prob(float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
