/*
 * State: number of rows, sum of the expected numbers, mean and sum of squared deviations of observed / expected,
 * weighted by the expected numbers, and the degrees of freedom. Chi-squared is the sum of squares divided by the mean:
 * no difference of large numbers, whatever the scale of the expected ones.
 */

create or replace function ml._chi2_gof_test_add(state float8[], observed bigint, expected float8, df bigint)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ratio float8;
  v_deviation float8;
begin
  if observed is null or expected is null then
    return state;
  end if;
  if observed < 0 then
    perform common.refuse('CF001', format('an observed number is %s', observed), 'Give counts, from 0.');
  elsif not (expected >= 1e-50 and expected <= 1e50) then
    perform common.refuse('CF001', format('an expected number is %s', expected),
      'Give numbers above 0, in any unit, from 1e-50 to 1e50. Leave out what cannot occur.');
  elsif df < 0 or state[1] > 0 and state[5] <> coalesce(df, 0) then
    perform common.refuse('CF001', format('there are %s degrees of freedom', df),
      'Give the same number, from 0, in all rows; with 0, it is the number of rows minus 1.');
  end if;
  v_ratio := observed / expected;
  v_deviation := v_ratio - state[3];
  -- West's update (1979)
  state[1] := state[1] + 1;
  state[2] := state[2] + expected;
  state[3] := state[3] + v_deviation * (expected / state[2]);
  state[4] := state[4] + expected * v_deviation * (v_ratio - state[3]);
  state[5] := coalesce(df, 0);
  return state;
end;
$$;

comment on function ml._chi2_gof_test_add(float8[], bigint, float8, bigint) is $$
Adds a count to the state of `ml.chi2_gof_test`.
$$;

grant execute on function ml._chi2_gof_test_add(float8[], bigint, float8, bigint)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._chi2_gof_test_add_expected(state float8[], observed bigint, expected float8)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return ml._chi2_gof_test_add(state, observed, expected, 0);
end;
$$;

comment on function ml._chi2_gof_test_add_expected(float8[], bigint, float8) is $$
Adds a count to the state of `ml.chi2_gof_test`.
$$;

create or replace function ml._chi2_gof_test_add_observed(state float8[], observed bigint)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return ml._chi2_gof_test_add(state, observed, 1, 0);
end;
$$;

comment on function ml._chi2_gof_test_add_observed(float8[], bigint) is $$
Adds a count to the state of `ml.chi2_gof_test`, with the same expected number in each row.
$$;

create or replace function ml._chi2_gof_test_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_expected constant float8 := state[2] + other[2];
  v_distance constant float8 := other[3] - state[3];
begin
  if state[1] = 0 then
    return other;
  elsif other[1] = 0 then
    return state;
  elsif state[5] <> other[5] then
    perform common.refuse('CF001', format('there are %s and %s degrees of freedom', state[5], other[5]),
      'Give the same number, from 0, in all rows; with 0, it is the number of rows minus 1.');
  end if;
  return array[
    state[1] + other[1],
    v_expected,
    state[3] + v_distance * (other[2] / v_expected),
    state[4] + other[4] + state[2] * (other[2] / v_expected) * v_distance * v_distance,
    state[5]
  ];
end;
$$;

comment on function ml._chi2_gof_test_combine(float8[], float8[]) is $$
Returns the state of `ml.chi2_gof_test` over the rows of both states.
$$;

create or replace function ml._chi2_gof_test(state float8[])
returns ml.chi2_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df constant bigint := case when state[5] > 0 then state[5] else state[1] - 1 end;
begin
  if state[1] = 0 then
    return null;
  elsif state[3] = 0 then
    return (null, null, v_df, null, null)::ml.chi2_test_result;
  end if;
  return ml._chi2_test(greatest(state[4], 0) / state[3], state[3] * state[2], v_df);
end;
$$;

comment on function ml._chi2_gof_test(float8[]) is $$Returns the result of `ml.chi2_gof_test`.$$;

create or replace aggregate ml.chi2_gof_test(observed bigint, expected float8, df bigint) (
  sfunc = ml._chi2_gof_test_add,
  stype = float8[],
  initcond = '{0,0,0,0,0}',
  finalfunc = ml._chi2_gof_test,
  combinefunc = ml._chi2_gof_test_combine,
  parallel = safe
);

comment on aggregate ml.chi2_gof_test(bigint, float8, bigint) is $$
@behavior -*
Pearson's chi-squared test of goodness of fit: do counts follow the expected distribution?
One row per outcome: how often it was observed, and how often it is expected, in any unit: the sum of the expected
numbers is scaled to that of the observed ones. `df`: degrees of freedom, the same in all rows; with 0 or null, the
number of rows minus 1. `phi` is √(χ²/n) and `contingency_coef` √(χ²/(n+χ²)), where n is the number of observations.
(MADlib's manual has the same formulas, but its code divides by the number of rows: 2.06 instead of 0.30 in its
example.) Rows with a NULL count are left out; null without rows. The statistic is null where all counts are 0, the
p-value where there are no degrees of freedom. Error CF001 for an observed number below 0 and for an expected one
outside of 1e-50 to 1e50, so that 0 is an error too; CF008 for more than 10,000,000 degrees of freedom. R's
`chisq.test`.
$$;

create or replace aggregate ml.chi2_gof_test(observed bigint, expected float8) (
  sfunc = ml._chi2_gof_test_add_expected,
  stype = float8[],
  initcond = '{0,0,0,0,0}',
  finalfunc = ml._chi2_gof_test,
  combinefunc = ml._chi2_gof_test_combine,
  parallel = safe
);

comment on aggregate ml.chi2_gof_test(bigint, float8) is $$
@behavior -*
Pearson's chi-squared test of goodness of fit, with the number of rows minus 1 as degrees of freedom.
As the aggregate with `df`.
$$;

create or replace aggregate ml.chi2_gof_test(observed bigint) (
  sfunc = ml._chi2_gof_test_add_observed,
  stype = float8[],
  initcond = '{0,0,0,0,0}',
  finalfunc = ml._chi2_gof_test,
  combinefunc = ml._chi2_gof_test_combine,
  parallel = safe
);

comment on aggregate ml.chi2_gof_test(bigint) is $$
@behavior -*
Pearson's chi-squared test of goodness of fit: are all outcomes equally likely?
As the aggregate with `df`.
$$;

grant execute on function ml.chi2_gof_test(bigint, float8, bigint), ml.chi2_gof_test(bigint, float8),
  ml.chi2_gof_test(bigint)
to insights_reader, insights_analyst, insights_admin, insights_worker;
