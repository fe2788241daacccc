create or replace function ml._chi2_test(statistic float8, observations float8, df bigint)
returns ml.chi2_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if df > 1e7 then
    perform common.refuse('CF008', format('there are %s degrees of freedom', df), 'Use at most 10000000.');
  end if;
  return (
    statistic,
    case when df > 0 then ml._incomplete_gamma(df / 2.0::float8, ml._finite_range(statistic) / 2, true) end,
    df,
    sqrt(statistic / observations),
    sqrt(statistic / (observations + statistic))
  )::ml.chi2_test_result;
end;
$$;

comment on function ml._chi2_test(float8, float8, bigint) is $$
Returns the result of a chi-squared test, with the two coefficients for the number of observations.
$$;

grant execute on function ml._chi2_test(float8, float8, bigint)
to insights_reader, insights_analyst, insights_admin, insights_worker;
