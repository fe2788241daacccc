do $$
begin
  if to_regtype('ml.t_test_result') is null then
    create type ml.t_test_result as (
      statistic float8,
      df float8,
      p_value_one_sided float8,
      p_value_two_sided float8
    );
  end if;
end;
$$;

comment on type ml.t_test_result is $$
Result of a t-test.
$$;
comment on column ml.t_test_result.statistic is $$t; null without variance, or with fewer than two values.$$;
comment on column ml.t_test_result.df is $$Degrees of freedom; of the unpooled test not a whole number.$$;
comment on column ml.t_test_result.p_value_one_sided is $$
Probability of at least this t when the mean is not greater: the alternative is that it is greater.
$$;
comment on column ml.t_test_result.p_value_two_sided is $$Probability of a t at least as far from 0.$$;

create or replace function ml._t_test(difference float8, variance float8, df float8)
returns ml.t_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result ml.t_test_result;
begin
  v_result.df := df;
  if df > 0 and variance > 0 then
    v_result.statistic := difference / sqrt(variance);
    v_result.p_value_one_sided := ml.students_t_cdf(-v_result.statistic, df);
    v_result.p_value_two_sided := ml._students_t_p_value(v_result.statistic, df);
  end if;
  return v_result;
end;
$$;

comment on function ml._t_test(float8, float8, float8) is $$
A t-test of a difference with an estimated variance.
$$;

create or replace function ml._t_test_of_one(state float8[])
returns ml.t_test_result
language sql
immutable
parallel safe
begin atomic
  select ml._t_test(
    state[2], state[3] / nullif(state[1] - 1, 0) / nullif(state[1], 0), case when state[1] > 1 then state[1] - 1 end
  );
end;

comment on function ml._t_test_of_one(float8[]) is $$The t-test of one sample.$$;

create or replace function ml._t_test_pooled(state float8[])
returns ml.t_test_result
language sql
immutable
parallel safe
begin atomic
  select ml._t_test(
    state[2] - state[5],
    (state[3] + state[6]) / nullif(state[1] + state[4] - 2, 0)
      * (1 / nullif(state[1], 0) + 1 / nullif(state[4], 0)),
    case when state[1] > 0 and state[4] > 0 and state[1] + state[4] > 2 then state[1] + state[4] - 2 end
  );
end;

comment on function ml._t_test_pooled(float8[]) is $$The t-test of two samples of equal variance.$$;

create or replace function ml._t_test_unpooled(state float8[])
returns ml.t_test_result
language sql
immutable
parallel safe
begin atomic
  select ml._t_test(
    state[2] - state[5],
    part.first + part.second,
    case when part.first + part.second > 0
      then 1 / ((part.first / (part.first + part.second)) ^ 2 / (state[1] - 1)
        + (part.second / (part.first + part.second)) ^ 2 / (state[4] - 1)) end
  )
  from (values (
    state[3] / nullif(state[1] - 1, 0) / nullif(state[1], 0),
    state[6] / nullif(state[4] - 1, 0) / nullif(state[4], 0)
  )) as part (first, second);
end;

comment on function ml._t_test_unpooled(float8[]) is $$Welch's t-test of two samples.$$;

grant execute on function
  ml._t_test(float8, float8, float8), ml._t_test_of_one(float8[]), ml._t_test_pooled(float8[]),
  ml._t_test_unpooled(float8[])
to insights_analyst, insights_admin, insights_worker;
