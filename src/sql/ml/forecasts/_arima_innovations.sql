create or replace function ml._arima_innovations(
  series float8[],
  ar float8[],
  ma float8[],
  out residuals float8[],
  out deviations float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant int := cardinality(series);
  v_size constant int := greatest(cardinality(ar), cardinality(ma) + 1);
  v_phi constant float8[] := ar || array_fill(0::float8, array[v_size - cardinality(ar)]);
  v_theta constant float8[] := ma || array_fill(0::float8, array[v_size - cardinality(ma)]);
  v_start constant float8[] := ml._arima_start(ar, ma, 0);
  v_state float8[] := array_fill(0::float8, array[v_size + 1]);
  v_gain float8[] := array_fill(0::float8, array[v_size + 1]);
  -- The covariance of the state changes by `v_weight` times the square of this vector.
  v_change float8[];
  v_weight float8;
  v_first float8;
  v_spread float8;
  v_last_spread float8;
  v_error float8;
  v_value float8;
  v_level float8;
  v_share float8;
  v_settled boolean := false;
begin
  if v_start is null then
    return;
  end if;
  residuals := array_fill(0::float8, array[v_length]);
  deviations := array_fill(1::float8, array[v_length]);
  v_spread := v_start[1][1];
  for i in 1..v_size loop
    v_gain[i] := v_phi[i] * v_spread + case when i < v_size then v_start[i + 1][1] else 0 end;
  end loop;
  v_change := v_gain;
  v_weight := -1 / v_spread;
  for v_step in 1..v_length loop
    v_error := series[v_step] - v_state[1];
    if abs(v_error) < 1e-150 then
      v_error := 0;
    end if;
    residuals[v_step] := v_error;
    if v_settled then
      v_value := v_state[1] + v_error;
      for i in 1..v_size loop
        v_state[i] := v_phi[i] * v_value + v_state[i + 1] + v_theta[i] * v_error;
      end loop;
    else
      deviations[v_step] := sqrt(v_spread);
      v_level := v_state[1];
      v_share := v_error / v_spread;
      v_first := v_change[1];
      v_last_spread := v_spread;
      v_spread := v_spread + v_weight * v_first * v_first;
      for i in 1..v_size loop
        v_state[i] := v_phi[i] * v_level + v_state[i + 1] + v_gain[i] * v_share;
        v_value := v_phi[i] * v_first + v_change[i + 1];
        v_gain[i] := v_gain[i] + v_weight * v_first * v_value;
        v_value := v_value - v_gain[i] / v_spread * v_first;
        v_change[i] := case when abs(v_value) < 1e-100 then 0 else v_value end;
      end loop;
      v_weight := v_weight * (1 + v_weight * v_first * v_first / v_last_spread);
      v_settled := v_spread - 1 < 1e-13;
    end if;
    if abs(v_state[1]) < 1e-150 then
      v_state[1] := 0;
    end if;
  end loop;
end;
$$;

comment on function ml._arima_innovations(float8[], float8[], float8[]) is $$
Returns the errors and deviations of ml._arima_filter for a series without gaps and differences, in less time.
Null when the autoregression is not stationary.
Source: Morf, Sidhu and Kailath, Some new algorithms for recursive estimation in constant, linear, discrete-time
systems, IEEE Transactions on Automatic Control 19, 1974.
$$;
