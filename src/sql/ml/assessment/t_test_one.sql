create or replace aggregate ml.t_test_one(value float8) (
  sfunc = ml._sample_of_one,
  stype = float8[],
  initcond = '{0, 0, 0, 0, 0, 0}',
  combinefunc = ml._sample_merged,
  finalfunc = ml._t_test_of_one,
  parallel = safe
);

comment on aggregate ml.t_test_one(float8) is $$
@behavior -*
Returns Student's t-test of the mean of a sample against 0, as MADlib.
For another mean, subtract it from the value.
`p_value_one_sided` is for the alternative that the mean is greater. Nulls are left out. The statistic is null with
fewer than two values, or when they are all the same. Errors: CF001 (not finite), CF007 (beyond 1e100).
Source: Student, The probable error of a mean, Biometrika 6, 1908.
$$;

grant execute on function ml.t_test_one(float8) to insights_analyst, insights_admin, insights_worker;
