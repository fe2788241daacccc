create or replace function ml.logregr_predict(coef float8[], ind_var float8[])
returns boolean
language sql
immutable
parallel safe
begin atomic
  select ml.linregr_predict(logregr_predict.coef, logregr_predict.ind_var) > 0;
end;

comment on function ml.logregr_predict(float8[], float8[]) is $$
Class by a logistic model: whether class 1 (true) is more probable than not. As ml.logregr_predict_prob.
$$;

grant execute on function ml.logregr_predict(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
