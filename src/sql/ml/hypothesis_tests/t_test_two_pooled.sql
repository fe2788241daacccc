create or replace function ml._t_test_two_pooled(state float8[])
returns ml.t_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df constant float8 := state[2] + state[6] - 2;
begin
  if state[2] + state[6] = 0 then
    return null;
  elsif state[2] = 0 or state[6] = 0 then
    return (null, v_df, null, null)::ml.t_test_result;
  end if;
  return ml._t_test(
    (state[1] - state[5]) + (state[3] - state[7]),
    case when v_df > 0 then sqrt((state[4] + state[8]) / v_df * (1 / state[2] + 1 / state[6])) end,
    v_df
  );
end;
$$;

comment on function ml._t_test_two_pooled(float8[]) is $$Returns the result of `ml.t_test_two_pooled`.$$;

create or replace aggregate ml.t_test_two_pooled(in_first boolean, value float8) (
  sfunc = ml._two_samples_add,
  stype = float8[],
  initcond = '{0,0,0,0,0,0,0,0}',
  finalfunc = ml._t_test_two_pooled,
  combinefunc = ml._two_samples_combine,
  parallel = safe
);

comment on aggregate ml.t_test_two_pooled(boolean, float8) is $$
@behavior -*
Student's t-test of two samples with equal variances: is the mean of the first that of the second?
`in_first` states whether `value` is of the first sample. `p_value_one_sided` is the probability of a difference
(first minus second) that is at least as high. Rows with a NULL are left out; null without rows. Statistic and
p-values are null where a sample is empty, both have one row, or all values of each are equal. Error CF001 for NaN,
infinity and values above 1e100. MADlib's `t_test_two_pooled`; R's `t.test(…, var.equal = TRUE)`.
$$;

grant execute on function ml.t_test_two_pooled(boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
