create or replace function ml._t_test_two_unpooled(state float8[])
returns ml.t_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_variance float8;
  v_share float8;
begin
  if state[2] + state[6] = 0 then
    return null;
  elsif state[2] < 2 or state[6] < 2 or state[4] + state[8] = 0 then
    return (null, null, null, null)::ml.t_test_result;
  end if;
  v_variance := state[4] / (state[2] - 1) / state[2] + state[8] / (state[6] - 1) / state[6];
  v_share := sqrt(state[4] / (state[2] - 1) / state[2]) / sqrt(v_variance);
  v_share := ml._finite_range(v_share) * ml._finite_range(v_share);
  return ml._t_test(
    (state[1] - state[5]) + (state[3] - state[7]),
    sqrt(v_variance),
    -- Welch and Satterthwaite; the share avoids squares that are out of range
    1 / (ml._finite_range(v_share) * ml._finite_range(v_share) / (state[2] - 1)
      + (1 - v_share) * (1 - v_share) / (state[6] - 1))
  );
end;
$$;

comment on function ml._t_test_two_unpooled(float8[]) is $$Returns the result of `ml.t_test_two_unpooled`.$$;

create or replace aggregate ml.t_test_two_unpooled(in_first boolean, value float8) (
  sfunc = ml._two_samples_add,
  stype = float8[],
  initcond = '{0,0,0,0,0,0,0,0}',
  finalfunc = ml._t_test_two_unpooled,
  combinefunc = ml._two_samples_combine,
  parallel = safe
);

comment on aggregate ml.t_test_two_unpooled(boolean, float8) is $$
@behavior -*
Welch's t-test of two samples with unequal variances: is the mean of the first that of the second?
`in_first` states whether `value` is of the first sample. `p_value_one_sided` is the probability of a difference
(first minus second) that is at least as high; the degrees of freedom are Welch and Satterthwaite's. Rows with a NULL
are left out; null without rows. All columns are null where a sample has fewer than two rows, or all values of each
are equal. Error CF001 for NaN, infinity and values above 1e100. MADlib's `t_test_two_unpooled`; R's `t.test`.
$$;

grant execute on function ml.t_test_two_unpooled(boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
