create or replace function ml._f_test(state float8[])
returns ml.f_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_df1 constant float8 := state[2] - 1;
  v_df2 constant float8 := state[6] - 1;
  v_root float8;
  v_upper float8;
  v_lower float8;
begin
  if v_df1 + v_df2 = -2 then
    return null;
  elsif not (v_df1 > 0 and v_df2 > 0 and state[8] > 0) then
    return (null, greatest(v_df1, 0), greatest(v_df2, 0), null, null)::ml.f_test_result;
  end if;
  v_root := sqrt(state[4] / v_df1) / sqrt(state[8] / v_df2);
  v_upper := ml._fisher_f_p_value(v_root, v_df1, v_df2);
  v_lower := case when v_root > 0 then ml._fisher_f_p_value(1 / v_root, v_df2, v_df1) else 0 end;
  return (
    ml._finite_range(v_root) * ml._finite_range(v_root),
    v_df1,
    v_df2,
    v_upper,
    2 * least(v_upper, v_lower)
  )::ml.f_test_result;
end;
$$;

comment on function ml._f_test(float8[]) is $$Returns the result of `ml.f_test`.$$;

create or replace aggregate ml.f_test(in_first boolean, value float8) (
  sfunc = ml._two_samples_add,
  stype = float8[],
  initcond = '{0,0,0,0,0,0,0,0}',
  finalfunc = ml._f_test,
  combinefunc = ml._two_samples_combine,
  parallel = safe
);

comment on aggregate ml.f_test(boolean, float8) is $$
@behavior -*
Fisher's F-test of two samples: is the variance of the first that of the second?
`in_first` states whether `value` is of the first sample. The statistic is the variance of the first divided by that
of the second; `p_value_one_sided` is the probability of one that is at least as high. Rows with a NULL are left out;
null without rows. Statistic and p-values are null where a sample has fewer than two rows, or all values of the second
are equal. Error CF001 for NaN, infinity and values above 1e100. MADlib's `f_test`; R's `var.test`.
$$;

grant execute on function ml.f_test(boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
