create or replace function ml._wsr_test_close(state float8[])
returns float8[]
language sql
immutable
parallel safe
begin atomic
  -- The mean rank of the last t of n rows is n - (t - 1) / 2.
  select array[
    _wsr_test_close.state[1],
    _wsr_test_close.state[2]
      + _wsr_test_close.state[7] * (_wsr_test_close.state[1] - (_wsr_test_close.state[6] - 1) / 2),
    _wsr_test_close.state[3] + (_wsr_test_close.state[6] - _wsr_test_close.state[7])
      * (_wsr_test_close.state[1] - (_wsr_test_close.state[6] - 1) / 2),
    _wsr_test_close.state[4],
    _wsr_test_close.state[5],
    0,
    0,
    _wsr_test_close.state[8]
      + _wsr_test_close.state[6] * (_wsr_test_close.state[6] - 1) * (_wsr_test_close.state[6] + 1)
  ];
end;

comment on function ml._wsr_test_close(float8[]) is $$
Returns the state of `ml.wsr_test` with the ranks of the last tie added.
$$;

grant execute on function ml._wsr_test_close(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._wsr_test_add(state float8[], value float8, "precision" float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant float8 := abs(value);
  v_precision float8 := "precision";
begin
  /*
   * Rows, rank sums of positive and of negative values without the last tie, size of the last value, upper bound of its
   * tie, rows of the tie, its positive ones, and the sum of t³ - t over the ties of t rows before.
   */
  if not abs("precision") <= 1e290 then
    perform common.refuse('CF001', format('the precision is %s', "precision"),
      'Give a number of at most 1e290; one below 0 stands for 2^-52 times the value.');
  elsif v_size < state[4] or value = 'NaN' then
    perform ml._check_order(v_size, state[4], 'abs(value)');
  end if;
  state[4] := v_size;
  if value = 0 then
    return state;
  end if;
  if v_precision < 0 then
    v_precision := case when v_size > 1e-290 and v_size < 1e300 then v_size * 2.220446049250313e-16 else 0 end;
  end if;
  if not v_size - v_precision <= state[5] then
    state := ml._wsr_test_close(state);
  end if;
  state[1] := state[1] + 1;
  state[5] := greatest(state[5], v_size + v_precision);
  state[6] := state[6] + 1;
  state[7] := state[7] + case when value > 0 then 1 else 0 end;
  return state;
end;
$$;

comment on function ml._wsr_test_add(float8[], float8, float8) is $$
Adds a value to the state of `ml.wsr_test`. Values that are equal within their precision have the mean of their ranks.
$$;

grant execute on function ml._wsr_test_add(float8[], float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._wsr_test_add_value(state float8[], value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  return ml._wsr_test_add(state, value, -1);
end;
$$;

comment on function ml._wsr_test_add_value(float8[], float8) is $$
Adds a value to the state of `ml.wsr_test`, with the precision of double precision.
$$;

create or replace function ml._wsr_test(state float8[])
returns ml.wsr_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_state constant float8[] := ml._wsr_test_close(state);
  v_n constant float8 := state[1];
  v_z float8;
  v_p float8;
begin
  if state[4] is null then
    return null;
  end if;
  v_z := (v_state[2] - v_n * (v_n + 1) / 4)
    / nullif(sqrt(v_n * (v_n + 1) * (2 * v_n + 1) / 24 - v_state[8] / 48), 0);
  v_p := ml._normal_p_value(v_z);
  return (
    least(v_state[2], v_state[3]),
    v_state[2],
    v_state[3],
    v_n,
    v_z,
    case when v_z > 0 then v_p / 2 else 1 - v_p / 2 end,
    v_p
  )::ml.wsr_test_result;
end;
$$;

comment on function ml._wsr_test(float8[]) is $$Returns the result of `ml.wsr_test`.$$;

create or replace aggregate ml.wsr_test(value float8, "precision" float8) (
  sfunc = ml._wsr_test_add,
  stype = float8[],
  initcond = '{0,0,0,NULL,NULL,0,0,0}',
  finalfunc = ml._wsr_test,
  parallel = safe
);

comment on aggregate ml.wsr_test(float8, float8) is $$
@behavior -*
Wilcoxon's signed-rank test of one sample: is it symmetric around 0?
For another centre, subtract it; for pairs, give their differences. An ordered aggregate, by the size of the values:
`select (ml.wsr_test(value - other, precision order by abs(value - other))).* from pair`. Values of 0 are left out, as
in MADlib and R. `precision`: two values are equal where they differ by no more than the precisions of both; one below
0 stands for 2^-52 times the value. Equal sizes have the mean of their ranks, and reduce the variance. `statistic` is
the smaller rank sum, R's `V` is `rank_sum_pos`; `z_statistic` is its normal approximation, without a correction for
continuity: R's `wilcox.test(…, exact = FALSE, correct = FALSE)`. `p_value_one_sided` is the probability of a positive
rank sum that is at least as high. NULLs are left out; null without rows. `num` is 0, and the p-values are null, where
all values are 0. Error CF001 for NaN, for a precision above 1e290, and for rows that are not ordered. MADlib's
`wsr_test`.
$$;

create or replace aggregate ml.wsr_test(value float8) (
  sfunc = ml._wsr_test_add_value,
  stype = float8[],
  initcond = '{0,0,0,NULL,NULL,0,0,0}',
  finalfunc = ml._wsr_test,
  parallel = safe
);

comment on aggregate ml.wsr_test(float8) is $$
@behavior -*
Wilcoxon's signed-rank test of one sample, with the precision of double precision.
As the aggregate with `precision`.
$$;

grant execute on function ml.wsr_test(float8, float8), ml.wsr_test(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
