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
      'Give the same array as in training, the constant 1 included.'
    );
  end if;
  for i in 1..cardinality(coef) loop
    v_sum := v_sum + coef[i] * col_ind[i];
  end loop;
  return v_sum;
end;
$$;

comment on function ml.linregr_predict(float8[], float8[]) is $$
Prediction of a linear model: the sum of coef times col_ind, which is the array of the training with the 1 included.
Null when either is null or holds a null. Error CF001 when their lengths differ.
$$;

grant execute on function ml.linregr_predict(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
