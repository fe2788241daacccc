create or replace function ml._arima_ahead(
  ar float8[],
  ma float8[],
  mean float8,
  differences int,
  state float8[],
  covariance float8[],
  steps int
)
returns table (step int, forecast float8, deviation float8)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_next record;
  v_state float8[] := state;
  v_covariance float8[] := covariance;
  v_seen constant int := case when differences > 0 then cardinality(state) - differences + 1 else 1 end;
begin
  for v_step in 1..steps loop
    step := v_step;
    forecast := v_state[v_seen] + case when differences > 0 then 0 else mean end;
    deviation := sqrt(v_covariance[v_seen][v_seen]);
    return next;
    v_next := ml._arima_next(ar, ma, differences, mean, v_state, v_covariance);
    v_state := v_next.next_state;
    v_covariance := v_next.next_covariance;
  end loop;
end;
$$;

comment on function ml._arima_ahead(float8[], float8[], float8, int, float8[], float8[], int) is $$
Returns the forecast of each of the next `steps` values of an ARIMA model and its standard deviation.
`state` and `covariance` are the expected ones of the next step; deviations are in units of that of the errors.
$$;

grant execute on function ml._arima_ahead(float8[], float8[], float8, int, float8[], float8[], int)
to insights_analyst, insights_admin, insights_worker;
