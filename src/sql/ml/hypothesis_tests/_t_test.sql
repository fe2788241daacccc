create or replace function ml._t_test(difference float8, std_err float8, df float8)
returns ml.t_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_t float8;
  v_p float8;
begin
  if df > 0 and std_err > 0 then
    v_t := difference / std_err;
    v_p := ml._students_t_p_value(ml._finite_range(v_t), df);
  end if;
  return (v_t, df, case when v_t > 0 then v_p / 2 else 1 - v_p / 2 end, v_p)::ml.t_test_result;
end;
$$;

comment on function ml._t_test(float8, float8, float8) is $$
Returns the result of a t-test: a difference in units of its standard error, and its p-values.
Statistic and p-values are null without degrees of freedom or variation.
$$;

grant execute on function ml._t_test(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function ml._t_test_of_one(state float8[])
returns ml.t_test_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if state[1] = 0 then
    return null;
  end if;
  return ml._t_test(
    state[2] / state[1],
    case when state[1] > 1 then sqrt(state[3] / (state[1] - 1) / state[1]) end,
    state[1] - 1
  );
end;
$$;

comment on function ml._t_test_of_one(float8[]) is $$
Returns the t-test of a sample from the state of `float8_accum`: number, sum, and sum of squares around the mean.
$$;
