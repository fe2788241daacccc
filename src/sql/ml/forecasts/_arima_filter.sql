create or replace function ml._arima_filter(
  series float8[],
  ar float8[],
  ma float8[],
  differences int,
  out residuals float8[],
  out deviations float8[],
  out state float8[],
  out covariance float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant int := cardinality(series);
  v_q constant int := cardinality(ma);
  v_arma constant int := greatest(cardinality(ar), v_q + 1);
  v_size constant int := v_arma + differences;
  -- The place of the observed value in the state.
  v_seen constant int := case when differences > 0 then v_arma + 1 else 1 end;
  v_phi float8[] := ar || array_fill(0::float8, array[v_arma - cardinality(ar)]);
  v_theta float8[] := ma || array_fill(0::float8, array[v_arma - v_q]);
  v_settled boolean := false;
  v_error float8;
  v_spread float8;
  v_known int := 0;
  v_value float8;
  v_gain float8[];
  v_next record;
begin
  covariance := ml._arima_start(ar, ma, differences);
  if covariance is null then
    return;
  end if;
  residuals := array_fill(null::float8, array[v_length]);
  deviations := array_fill(null::float8, array[v_length]);
  state := array_fill(0::float8, array[v_size]);
  for v_step in 1..v_length loop
    v_value := series[v_step];
    v_error := v_value - state[v_seen];
    if v_settled and v_error is not null then
      -- The covariance is that of the next error alone: what follows is the recursion of Box and Jenkins.
      if abs(v_error) < 1e-150 then
        v_error := 0;
      end if;
      residuals[v_step] := v_error;
      deviations[v_step] := 1;
      v_value := state[1] + v_error;
      for i in 1..v_arma - 1 loop
        state[i] := v_phi[i] * v_value + state[i + 1] + v_theta[i] * v_error;
        if abs(state[i]) < 1e-150 then
          state[i] := 0;
        end if;
      end loop;
      state[v_arma] := v_phi[v_arma] * v_value;
      for i in reverse v_size..v_arma + 1 loop
        state[i] := state[i] + v_error + state[case when i = v_size then 1 else i + 1 end];
      end loop;
      continue;
    end if;
    if v_error is not null then
      v_spread := covariance[v_seen][v_seen];
      v_known := v_known + 1;
      -- The first values only show where the levels are.
      if v_known > differences then
        residuals[v_step] := v_error;
        deviations[v_step] := sqrt(v_spread);
      end if;
      v_settled := v_known > differences and v_spread - 1 < 1e-13;
      v_gain := array_fill(0::float8, array[v_size]);
      for i in 1..v_size loop
        v_gain[i] := covariance[i][v_seen] / v_spread;
        state[i] := state[i] + v_gain[i] * v_error;
      end loop;
      for i in 1..v_size loop
        for j in 1..i loop
          v_value := covariance[i][j] - v_gain[i] * v_gain[j] * v_spread;
          covariance[i][j] := v_value;
          covariance[j][i] := v_value;
        end loop;
      end loop;
    else
      v_settled := false;
    end if;
    v_next := ml._arima_next(ar, ma, differences, 0, state, covariance);
    state := v_next.next_state;
    covariance := v_next.next_covariance;
  end loop;
end;
$$;

comment on function ml._arima_filter(float8[], float8[], float8[], int) is $$
Returns the errors of a series about its ARIMA forecasts, their standard deviations, and the state after the last value.
The state holds an autoregressive moving average and, after it, the last value of the series and of each difference but
the last; it is expected at the step after the last. Deviations and `covariance` are in units of the standard deviation
of the errors. Nulls in the series are gaps. All results are null when the autoregression is not stationary.
Source: Gardner, Harvey and Phillips, An algorithm for exact maximum likelihood estimation of autoregressive-moving
average models by means of Kalman filtering, Applied Statistics 29, 1980.
$$;
