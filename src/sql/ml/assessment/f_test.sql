do $$
begin
  if to_regtype('ml.f_test_result') is null then
    create type ml.f_test_result as (
      statistic float8,
      df1 float8,
      df2 float8,
      p_value_one_sided float8,
      p_value_two_sided float8
    );
  end if;
end;
$$;

comment on type ml.f_test_result is $$
Result of an F-test.
$$;
comment on column ml.f_test_result.statistic is $$
Variance of the first sample over that of the second; null when the second is 0.
$$;
comment on column ml.f_test_result.df1 is $$Degrees of freedom of the first sample.$$;
comment on column ml.f_test_result.df2 is $$Degrees of freedom of the second sample.$$;
comment on column ml.f_test_result.p_value_one_sided is $$
Probability of at least this ratio when the variances are equal: the alternative is that the first is greater.
$$;
comment on column ml.f_test_result.p_value_two_sided is $$Twice the smaller of both tails.$$;

create or replace function ml._f_test(state float8[])
returns ml.f_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result ml.f_test_result;
begin
  v_result.df1 := case when state[1] > 1 then state[1] - 1 end;
  v_result.df2 := case when state[4] > 1 then state[4] - 1 end;
  if v_result.df1 > 0 and v_result.df2 > 0 and state[3] > 0 and state[6] > 0 then
    v_result.statistic := (state[3] / v_result.df1) / (state[6] / v_result.df2);
    v_result.p_value_one_sided := ml.fisher_f_cdf(1 / v_result.statistic, v_result.df2, v_result.df1);
    v_result.p_value_two_sided := 2 * least(
      v_result.p_value_one_sided, ml.fisher_f_cdf(v_result.statistic, v_result.df1, v_result.df2)
    );
  end if;
  return v_result;
end;
$$;

comment on function ml._f_test(float8[]) is $$The F-test of the variances of two samples.$$;

create or replace aggregate ml.f_test(is_first boolean, value float8) (
  sfunc = ml._sample_of_two,
  stype = float8[],
  initcond = '{0, 0, 0, 0, 0, 0}',
  combinefunc = ml._sample_merged,
  finalfunc = ml._f_test,
  parallel = safe
);

comment on aggregate ml.f_test(boolean, float8) is $$
@behavior -*
Returns Fisher's F-test of the variances of two samples, as MADlib.
`is_first` is true for the values of the first sample. `p_value_one_sided` is for the alternative that the variance of the
first is greater. Rows with a null are left out. The statistic is null when a sample does not vary. Errors: CF001 (not
finite), CF007 (beyond 1e100).
$$;

grant execute on function ml._f_test(float8[]), ml.f_test(boolean, float8)
to insights_analyst, insights_admin, insights_worker;
