create or replace function ml.linregr_predict(coef float8[], col_ind float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sum float8 := 0;
begin
  if cardinality(coef) <> cardinality(col_ind) then
    perform common.refuse(
      'CF001',
      format('%s coefficients, but %s independent variables', cardinality(coef), cardinality(col_ind)),
      'Give the same array as in training, including the constant 1.'
    );
  end if;
  for i in 1..cardinality(coef) loop
    v_sum := v_sum + case
      when abs(coef[i]) between 1e-100 and 1e100 and abs(col_ind[i]) between 1e-100 and 1e100 then coef[i] * col_ind[i]
      else ml._times(coef[i], col_ind[i])
    end;
  end loop;
  return nullif(v_sum, 'NaN');
end;
$$;

comment on function ml.linregr_predict(float8[], float8[]) is $$
Returns the prediction of a linear model: the sum of coef times col_ind.
`col_ind` is the array of the training, with the 1 of the intercept. Null when either is null or contains a null or NaN.
Errors: CF001 when their lengths differ, CF007 for a product that is too large.
$$;

grant execute on function ml.linregr_predict(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
