create or replace function ml.logregr_predict_prob(coef float8[], ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_eta constant float8 := ml.linregr_predict(coef, ind_var);
begin
  -- exp is kept from overflow and underflow, which are errors in SQL; beyond 700 the probability is 0 or 1 anyway
  return case
    when v_eta >= 0 then 1 / (1 + exp(-least(v_eta, 700)))
    -- greatest() ignores a null, so a null needs its own way: no branch at all.
    when v_eta < 0 then exp(greatest(v_eta, -700)) / (1 + exp(greatest(v_eta, -700)))
  end;
end;
$$;

comment on function ml.logregr_predict_prob(float8[], float8[]) is $$
Probability of the class 1 (true) by a logistic model: 1 / (1 + exp(-coef . ind_var)), the 1 of the intercept included.
Null when either is null or holds a null. Error CF001 when their lengths differ.
$$;

grant execute on function ml.logregr_predict_prob(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
