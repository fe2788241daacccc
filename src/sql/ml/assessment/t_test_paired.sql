create or replace aggregate ml.t_test_paired(one float8, other float8) (
  sfunc = ml._sample_of_pairs,
  stype = float8[],
  initcond = '{0, 0, 0, 0, 0, 0}',
  combinefunc = ml._sample_merged,
  finalfunc = ml._t_test_of_one,
  parallel = safe
);

comment on aggregate ml.t_test_paired(float8, float8) is $$
@behavior -*
Returns Student's t-test of the mean of one - other, as MADlib.
`p_value_one_sided` is for the alternative that one is greater. Pairs with a null are left out. The statistic is
null with fewer than two pairs, or when all differences are the same. Errors: CF001 (not finite), CF007 (beyond 1e100).
$$;

grant execute on function ml.t_test_paired(float8, float8) to insights_analyst, insights_admin, insights_worker;
