create or replace aggregate ml.t_test_two_pooled(is_first boolean, value float8) (
  sfunc = ml._sample_of_two,
  stype = float8[],
  initcond = '{0, 0, 0, 0, 0, 0}',
  combinefunc = ml._sample_merged,
  finalfunc = ml._t_test_pooled,
  parallel = safe
);

comment on aggregate ml.t_test_two_pooled(boolean, float8) is $$
@behavior -*
Returns Student's t-test of the means of two samples of equal variance, as MADlib.
`is_first` is true for the values of the first sample. `p_value_one_sided` is for the alternative that the mean of the
first is greater. Rows with a null are left out. The statistic is null without a variance. Errors: CF001 (not finite),
CF007 (beyond 1e100).
$$;

grant execute on function ml.t_test_two_pooled(boolean, float8) to insights_analyst, insights_admin, insights_worker;
