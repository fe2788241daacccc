create or replace function ml._t_test_paired_add(state float8[], value float8, paired_value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  if not (abs(value) <= 1e100 and abs(paired_value) <= 1e100) then
    perform ml._check_magnitude(value), ml._check_magnitude(paired_value);
  end if;
  return float8_accum(state, value - paired_value);
end;
$$;

comment on function ml._t_test_paired_add(float8[], float8, float8) is $$
Adds the difference of a pair to the state of `ml.t_test_paired`.
$$;

create or replace aggregate ml.t_test_paired(value float8, paired_value float8) (
  sfunc = ml._t_test_paired_add,
  stype = float8[],
  initcond = '{0,0,0}',
  finalfunc = ml._t_test_of_one,
  combinefunc = float8_combine,
  parallel = safe
);

comment on aggregate ml.t_test_paired(float8, float8) is $$
@behavior -*
Student's t-test of pairs: is the mean of `value` that of `paired_value`?
It is `ml.t_test_one(value - paired_value)`, which MADlib calls the dependent paired t-test. `p_value_one_sided` is
the probability of a mean difference that is at least as high. Pairs with a NULL are left out; null without rows.
Statistic and p-values are null for one pair, and where all differences are equal. Error CF001 for NaN, infinity and
values above 1e100. R's `t.test(…, paired = TRUE)`.
$$;

grant execute on function ml.t_test_paired(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
