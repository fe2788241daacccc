create or replace function ml._t_test_one_add(state float8[], value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  if not abs(value) <= 1e100 then
    perform ml._check_magnitude(value);
  end if;
  -- the state of the built-in var_samp, which is updated without cancellation (Youngs and Cramer, 1971)
  return float8_accum(state, value);
end;
$$;

comment on function ml._t_test_one_add(float8[], float8) is $$Adds a value to the state of `ml.t_test_one`.$$;

create or replace aggregate ml.t_test_one(value float8) (
  sfunc = ml._t_test_one_add,
  stype = float8[],
  initcond = '{0,0,0}',
  finalfunc = ml._t_test_of_one,
  combinefunc = float8_combine,
  parallel = safe
);

comment on aggregate ml.t_test_one(float8) is $$
@behavior -*
Student's t-test of one sample: is the mean 0?
For another mean, subtract it: `select (ml.t_test_one(grade - 70)).* from result`. `p_value_one_sided` is the
probability of a mean that is at least as high, `p_value_two_sided` of one that is at least as far from 0. NULLs are
left out; null without rows. Statistic and p-values are null for one row, and where all values are equal. Error CF001
for NaN, infinity and values above 1e100. MADlib's `t_test_one`; R's `t.test`.
$$;

grant execute on function ml.t_test_one(float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
