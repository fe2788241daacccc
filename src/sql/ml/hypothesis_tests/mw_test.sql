create or replace function ml._mw_test_add(state float8[], in_first boolean, value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  -- rows of each sample, rank sum of the first without the last tie, the last value, its rows and those of the first
  if value < state[4] or value = 'NaN' then
    perform ml._check_order(value, state[4], 'value');
  elsif value > state[4] or state[4] is null then
    state[3] := state[3] + state[6] * (state[1] + state[2] - (state[5] - 1) / 2);
    state[4] := value;
    state[5] := 0;
    state[6] := 0;
  end if;
  state[5] := state[5] + 1;
  if in_first then
    state[1] := state[1] + 1;
    state[6] := state[6] + 1;
  else
    state[2] := state[2] + 1;
  end if;
  return state;
end;
$$;

comment on function ml._mw_test_add(float8[], boolean, float8) is $$
Adds a value to the state of `ml.mw_test`. Equal values have the mean of their ranks.
$$;

create or replace function ml._mw_test(state float8[])
returns ml.mw_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_m constant float8 := state[1];
  v_n constant float8 := state[2];
  v_u float8;
  v_z float8;
begin
  if v_m + v_n = 0 then
    return null;
  elsif v_m = 0 or v_n = 0 then
    return (null, null, null, null)::ml.mw_test_result;
  end if;
  v_u := state[3] + state[6] * (v_m + v_n - (state[5] - 1) / 2) - v_m * (v_m + 1) / 2;
  v_u := least(v_u, v_m * v_n - v_u);
  v_z := (v_u - v_m * v_n / 2) / sqrt(v_m * v_n * (v_m + v_n + 1) / 12);
  return (v_z, v_u, 1 - ml._normal_p_value(v_z) / 2, ml._normal_p_value(v_z))::ml.mw_test_result;
end;
$$;

comment on function ml._mw_test(float8[]) is $$Returns the result of `ml.mw_test`.$$;

create or replace aggregate ml.mw_test(in_first boolean, value float8) (
  sfunc = ml._mw_test_add,
  stype = float8[],
  initcond = '{0,0,0,NULL,0,0}',
  finalfunc = ml._mw_test,
  parallel = safe
);

comment on aggregate ml.mw_test(boolean, float8) is $$
@behavior -*
Mann-Whitney test of two samples: are the values of one higher than those of the other?
`in_first` states whether `value` is of the first sample. An ordered aggregate: `select (ml.mw_test(in_first, value
order by value)).* from sample`. `u_statistic` is the smaller of both U, so that `statistic`, its normal
approximation, is at most 0, and `p_value_one_sided` at least 0.5, as in MADlib; use `p_value_two_sided`. Equal values
have the mean of their ranks; the variance is not reduced for them, as in MADlib, which makes the p-value a little too
high (R's `wilcox.test(…, exact = FALSE, correct = FALSE)` without ties is the same). Rows with a NULL are left out;
null without rows, and where a sample is empty. Error CF001 for NaN and for rows that are not ordered. MADlib's
`mw_test`.
$$;

grant execute on function ml.mw_test(boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
