create or replace function ml._chi2_independence_test_add(state text[], var1 text, var2 text, observed bigint)
returns text[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  if observed < 0 then
    perform common.refuse('CF001', format('an observed number is %s', observed), 'Give counts, from 0.');
  elsif cardinality(state) >= 30000 then
    perform common.refuse('CF008', 'there are more than 10000 rows',
      'Give one row per pair of values: group by both, and count(*) as the observed number.');
  end if;
  -- The state stays small whatever the values are.
  return state || array[
    case when octet_length(var1) > 64 then md5(var1) else var1 end,
    case when octet_length(var2) > 64 then md5(var2) else var2 end,
    observed::text
  ];
end;
$$;

comment on function ml._chi2_independence_test_add(text[], text, text, bigint) is $$
Adds a cell to the state of `ml.chi2_independence_test`: its two values and its count.
$$;

create or replace function ml._chi2_independence_test(state text[])
returns ml.chi2_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df bigint;
  v_observations float8;
  v_statistic float8;
begin
  if cardinality(state) = 0 then
    return null;
  end if;

  with cell as (
    select state[at] as var1, state[at + 1] as var2, sum(state[at + 2]::bigint)::float8 as observed
    from generate_series(1, cardinality(state), 3) as at
    group by 1, 2
  ),
  row_sum as (select var1, sum(observed) as observed from cell group by var1 having sum(observed) > 0),
  column_sum as (select var2, sum(observed) as observed from cell group by var2 having sum(observed) > 0)

  select (select count(*) - 1 from row_sum) * (select count(*) - 1 from column_sum),
    (select sum(row_sum.observed) from row_sum),
    -- With e = r c / n, the cells without observations add the e that the others do not.
    greatest(sum((cell.observed - expected.number) * (cell.observed - expected.number) / expected.number)
      + ((select sum(row_sum.observed) from row_sum) - sum(expected.number)), 0)
  into v_df, v_observations, v_statistic
  from cell
  join row_sum using (var1)
  join column_sum using (var2)
  cross join lateral (
    select row_sum.observed / (select sum(row_sum.observed) from row_sum) * column_sum.observed as number
  ) as expected;

  return case
    when v_observations > 0 then ml._chi2_test(v_statistic, v_observations, v_df)
    else (null, null, v_df, null, null)::ml.chi2_test_result
  end;
end;
$$;

comment on function ml._chi2_independence_test(text[]) is $$Returns the result of `ml.chi2_independence_test`.$$;

create or replace aggregate ml.chi2_independence_test(var1 text, var2 text, observed bigint) (
  sfunc = ml._chi2_independence_test_add,
  stype = text[],
  initcond = '{}',
  finalfunc = ml._chi2_independence_test,
  parallel = safe
);

comment on aggregate ml.chi2_independence_test(text, text, bigint) is $$
@behavior -*
Pearson's chi-squared test of independence: do two categorical variables depend on each other?
One row per pair of values, as text, and how often it was observed; pairs without a row have 0 observations: `select
(ml.chi2_independence_test(segment, outcome, people)).* from (select segment, outcome, count(*) as people from learner
group by 1, 2) as cell`. Without Yates' correction. Degrees of freedom: (values of one - 1) × (values of the other -
1), those with observations. `phi` is √(χ²/n), `contingency_coef` √(χ²/(n+χ²)). The p-value is null without degrees of
freedom. Rows with a NULL are left out; null without rows. Error CF001 for an observed number below 0, CF008 for more
than 10,000 rows. MADlib's manual computes the expected numbers in the query and calls `chi2_gof_test`, which is
possible here too; R's `chisq.test(…, correct = FALSE)`.
$$;

grant execute on function ml.chi2_independence_test(text, text, bigint)
to insights_reader, insights_analyst, insights_admin, insights_worker;
