create or replace function ml._ks_test_add(state float8[], in_first boolean, value float8, m bigint, n bigint)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  -- m, n, rows of each sample so far, the value of the last row, the largest distance so far
  if state is null or state[5] is null then
    if m < 0 or n < 0 then
      perform common.refuse('CF001', format('the sizes of the samples are %s and %s', m, n),
        'Give the numbers of rows, count(*) filter (where …).');
    end if;
    state := array[m, n, 0, 0, value, 0];
  end if;
  if state[1] <> m or state[2] <> n then
    perform common.refuse('CF001', format('the sizes of the samples are %s and %s, then %s and %s', state[1], state[2],
      m, n), 'Give the same numbers in all rows.');
  end if;
  if value < state[5] or value = 'NaN' then
    perform ml._check_order(value, state[5], 'value');
  elsif value > state[5] then
    state[6] := greatest(state[6], abs(state[3] / greatest(m, 1) - state[4] / greatest(n, 1)));
    state[5] := value;
  end if;
  if in_first then
    state[3] := state[3] + 1;
  else
    state[4] := state[4] + 1;
  end if;
  return state;
end;
$$;

comment on function ml._ks_test_add(float8[], boolean, float8, bigint, bigint) is $$
Adds a value to the state of `ml.ks_test`, which measures the distance after the last one of equal values.
$$;

create or replace function ml._kolmogorov_p_value(k float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- Two series of the same function: each converges within four terms on its side of 1.
  select case
    when _kolmogorov_p_value.k >= 1 then (
      select 2 * sum((2 * (j % 2) - 1) * exp(greatest(-2 * j * j * scale.k * scale.k, -700)) order by j desc)
      from generate_series(1, 4) as j
    )
    when _kolmogorov_p_value.k >= 0.05 then 1 - 2.50662827463100050241576528481 / scale.k * (
      select sum(exp(greatest(-(2 * j - 1) * (2 * j - 1) * 1.2337005501361698273543 / (scale.k * scale.k), -700))
        order by j desc)
      from generate_series(1, 4) as j
    )
    else 1
  end
  from (select least(greatest(_kolmogorov_p_value.k, 0.05), 18) as k) as scale;
end;

comment on function ml._kolmogorov_p_value(float8) is $$
Returns the probability that a variable of Kolmogorov's distribution is at least k.
$$;

grant execute on function ml._kolmogorov_p_value(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._ks_test(state float8[])
returns ml.ks_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_root float8;
  v_k float8;
begin
  if state[5] is null then
    return null;
  elsif state[1] <> state[3] or state[2] <> state[4] then
    perform common.refuse('CF001', format('the samples have %s and %s rows, not %s and %s', state[3], state[4],
      state[1], state[2]), 'Give the numbers of rows, count(*) filter (where …).');
  elsif state[3] = 0 or state[4] = 0 then
    return (null, null, null)::ml.ks_test_result;
  end if;
  v_root := sqrt(state[3] / (state[3] + state[4]) * state[4]);
  v_k := (v_root + 0.12 + 0.11 / v_root) * state[6];
  return (state[6], v_k, ml._kolmogorov_p_value(v_k))::ml.ks_test_result;
end;
$$;

comment on function ml._ks_test(float8[]) is $$Returns the result of `ml.ks_test`.$$;

create or replace aggregate ml.ks_test(in_first boolean, value float8, m bigint, n bigint) (
  sfunc = ml._ks_test_add,
  stype = float8[],
  initcond = '{0,0,0,0,NULL,0}',
  finalfunc = ml._ks_test,
  parallel = safe
);

comment on aggregate ml.ks_test(boolean, float8, bigint, bigint) is $$
@behavior -*
Kolmogorov-Smirnov test of two samples: do both have the same distribution?
`in_first` states whether `value` is of the first sample, which has `m` rows; the second has `n`. An ordered
aggregate: `select (ml.ks_test(in_first, value, m, n order by value)).* from sample, (select count(*) filter (where
in_first) as m, count(*) filter (where not in_first) as n from sample) as size`. `statistic` is the largest distance
of the distribution functions, ties counted together; `k_statistic` is (r + 0.12 + 0.11/r) of it with r = √(mn/(m+n))
(Stephens, 1970), which `p_value` compares with Kolmogorov's distribution: R's `ks.test` has the same statistic, and
another p-value. Rows with a NULL are left out and must not be counted; null without rows, and where a sample is
empty. Error CF001 for NaN, for rows that are not ordered, and for other numbers of rows than `m` and `n`. MADlib's
`ks_test`.
$$;

grant execute on function ml.ks_test(boolean, float8, bigint, bigint)
to insights_reader, insights_analyst, insights_admin, insights_worker;
