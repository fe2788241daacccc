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
  -- Bounds prevent an overflow or underflow of exp, which are errors in SQL; beyond 700 the probability is rounded to
  -- 0 or 1. Since greatest() and least() ignore a null, a null must match no branch.
  return case
    when v_eta >= 0 then 1 / (1 + exp(-least(v_eta, 700)))
    when v_eta < 0 then exp(greatest(v_eta, -700)) / (1 + exp(greatest(v_eta, -700)))
  end;
end;
$$;

comment on function ml.logregr_predict_prob(float8[], float8[]) is $$
Returns the probability of class 1 (true) by a logistic model: 1 / (1 + exp(-coef . ind_var)).
`ind_var` is the array of the training, with the 1 of the intercept.
Null when either is null or contains a null. Error CF001 when their lengths differ.
$$;

grant execute on function ml.logregr_predict_prob(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
