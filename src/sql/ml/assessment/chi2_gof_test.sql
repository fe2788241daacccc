do $$
begin
  if to_regtype('ml.chi2_test_result') is null then
    create type ml.chi2_test_result as (
      statistic float8,
      p_value float8,
      df bigint,
      phi float8,
      contingency_coef float8
    );
  end if;
end;
$$;

comment on type ml.chi2_test_result is $$
Result of Pearson's chi-squared test.
$$;
comment on column ml.chi2_test_result.statistic is $$Sum of (observed - expected)^2 / expected.$$;
comment on column ml.chi2_test_result.p_value is $$
Probability of at least this statistic when the expectation is true.
$$;
comment on column ml.chi2_test_result.df is $$Degrees of freedom.$$;
comment on column ml.chi2_test_result.phi is $$sqrt(statistic / number of rows), as MADlib.$$;
comment on column ml.chi2_test_result.contingency_coef is $$
sqrt(statistic / (number of rows + statistic)), as MADlib.
$$;

create or replace function ml._chi2_counted(state float8[], observed bigint, expected float8, df bigint)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if observed < 0 or not (expected > 1e-100 and expected < 1e100) or df < 0 then
    perform common.refuse('CF001', format('%s observed, %s expected, df %s', observed, expected, df),
      'Counts are 0 or more, expectations above 0, and df is 0 (rows less one) or more.');
  elsif state[1] > 0 and state[5] <> df then
    perform common.refuse('CF001', format('df is %s and %s', state[5], df), 'Give the same df for all rows.');
  end if;
  return array[
    state[1] + 1, state[2] + observed, state[3] + expected,
    state[4] + observed::float8 * observed / expected, df
  ];
end;
$$;

comment on function ml._chi2_counted(float8[], bigint, float8, bigint) is $$
Adds a row to a chi-squared test: number of rows, sums of observed, expected and observed^2 / expected, and df.
Error CF001.
$$;

create or replace function ml._chi2_merged(one float8[], other float8[])
returns float8[]
language sql
immutable
strict
parallel safe
begin atomic
  select array[one[1] + other[1], one[2] + other[2], one[3] + other[3], one[4] + other[4], greatest(one[5], other[5])];
end;

comment on function ml._chi2_merged(float8[], float8[]) is $$Adds two states of a chi-squared test.$$;

create or replace function ml._chi2_test(state float8[])
returns ml.chi2_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result ml.chi2_test_result;
begin
  if state[2] > 0 then
    v_result.df := case when state[5] > 0 then state[5] else state[1] - 1 end;
    -- Expectations are shares: they are scaled to the sum of the observations.
    v_result.statistic := greatest(state[4] * state[3] / state[2] - state[2], 0);
    v_result.p_value := case when v_result.df > 0 then ml._incomplete_gamma(
      v_result.df / 2.0, v_result.statistic / 2, true
    ) end;
    v_result.phi := sqrt(v_result.statistic / state[1]);
    v_result.contingency_coef := sqrt(v_result.statistic / (state[1] + v_result.statistic));
  end if;
  return v_result;
end;
$$;

comment on function ml._chi2_test(float8[]) is $$Pearson's chi-squared test.$$;

create or replace aggregate ml.chi2_gof_test(observed bigint, expected float8, df bigint) (
  sfunc = ml._chi2_counted,
  stype = float8[],
  initcond = '{0, 0, 0, 0, 0}',
  combinefunc = ml._chi2_merged,
  finalfunc = ml._chi2_test,
  parallel = safe
);

comment on aggregate ml.chi2_gof_test(bigint, float8, bigint) is $$
@behavior -*
Returns Pearson's chi-squared test of goodness of fit, as MADlib: one row for each kind of event.
`observed` is the number of events, `expected` the number or share that is expected: it is scaled to the sum of the
observations. `df` is 0 for the number of rows less one, or for instance (rows - 1) (columns - 1) for the independence
of a table. Rows with a null are left out. Errors: CF001 (negative, an expectation of 0, several df).
Source: Pearson, Philosophical Magazine 50, 1900.
$$;

grant execute on function
  ml._chi2_counted(float8[], bigint, float8, bigint), ml._chi2_merged(float8[], float8[]), ml._chi2_test(float8[]),
  ml.chi2_gof_test(bigint, float8, bigint)
to insights_analyst, insights_admin, insights_worker;
