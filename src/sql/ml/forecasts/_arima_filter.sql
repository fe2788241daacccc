create or replace function ml._reflected(
  coefficients float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := cardinality(coefficients);
  v_line float8[] := coefficients;
  v_lower float8[];
  v_reflection float8;
begin
  for k in reverse v_size..1 loop
    v_reflection := v_line[k];
    if v_reflection is null or not abs(v_reflection) < 1 then
      return null;
    end if;
    v_lower := v_line;
    for i in 1..k - 1 loop
      v_lower[i] := (v_line[i] + v_reflection * v_line[k - i]) / ((1 - v_reflection) * (1 + v_reflection));
    end loop;
    v_line := v_lower;
  end loop;
  return v_line;
end;
$$;

comment on function ml._reflected(float8[]) is $$
Returns the partial autocorrelations of an autoregression; null when it is not stationary.
Source: Monahan, A note on enforcing stationarity in autoregressive-moving average models, Biometrika 71, 1984.
$$;

create or replace function ml._unreflected(
  partials float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_line float8[] := partials;
  v_lower float8[];
begin
  for k in 2..cardinality(partials) loop
    v_lower := v_line;
    for i in 1..k - 1 loop
      v_line[i] := v_lower[i] - partials[k] * v_lower[k - i];
    end loop;
  end loop;
  return v_line;
end;
$$;

comment on function ml._unreflected(float8[]) is $$
Returns the autoregression with the given partial autocorrelations, which is stationary when each is within −1 and 1.
$$;

create or replace function ml._arima_start(
  ar float8[],
  ma float8[],
  differences int
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := cardinality(ar);
  v_q constant int := cardinality(ma);
  v_size constant int := greatest(v_p, v_q + 1);
  v_partials constant float8[] := ml._reflected(ar);
  v_line float8[] := '{}';
  v_lower float8[];
  v_theta constant float8[] := 1::float8 || ma;
  v_pure float8[];
  v_mixed float8[];
  v_psi float8[];
  v_variance float8 := 1;
  v_sum float8;
  v_start float8[];
begin
  if v_partials is null then
    return null;
  end if;
  -- Autocovariances of the autoregression alone, at lags 0, 1, 2, …: Levinson's recursion.
  v_pure := array[1];
  for k in 1..v_p loop
    v_variance := v_variance * (1 - v_partials[k]) * (1 + v_partials[k]);
    v_lower := v_line;
    for i in 1..k - 1 loop
      v_line[i] := v_lower[i] - v_partials[k] * v_lower[k - i];
    end loop;
    v_line := v_line || v_partials[k];
    v_sum := 0;
    for i in 1..k loop
      v_sum := v_sum + v_line[i] * v_pure[abs(k - i) + 1];
    end loop;
    v_pure := v_pure || v_sum;
  end loop;
  for k in v_p + 1..v_size + v_q loop
    v_sum := 0;
    for i in 1..v_p loop
      v_sum := v_sum + ar[i] * v_pure[k - i + 1];
    end loop;
    v_pure := v_pure || case when abs(v_sum) < 1e-150 then 0 else v_sum end;
  end loop;
  -- Those of the mixed process, and its response to an error.
  for k in 0..v_size loop
    v_sum := 0;
    for i in 0..v_q loop
      for j in 0..v_q loop
        v_sum := v_sum + v_theta[i + 1] * v_theta[j + 1] * v_pure[abs(k + i - j) + 1];
      end loop;
    end loop;
    v_mixed := v_mixed || v_sum / v_variance;
    v_sum := coalesce(v_theta[k + 1], 0);
    for i in 1..least(v_p, k) loop
      v_sum := v_sum + ar[i] * v_psi[k - i + 1];
    end loop;
    v_psi := v_psi || case when abs(v_sum) < 1e-150 then 0 else v_sum end;
  end loop;
  -- The first line of the covariance of the state; the others follow from its stationarity.
  v_start := array_fill(0::float8, array[v_size + differences, v_size + differences]);
  for j in 1..v_size loop
    v_sum := 0;
    for k in j..v_size loop
      v_sum := v_sum + coalesce(ar[k], 0) * v_mixed[k - j + 2] + coalesce(v_theta[k], 0) * v_psi[k - j + 1];
    end loop;
    v_start[1][j] := v_sum;
    v_start[j][1] := v_sum;
  end loop;
  for i in reverse v_size..2 loop
    for j in reverse v_size..i loop
      v_sum := coalesce(ar[i], 0) * coalesce(ar[j], 0) * v_start[1][1]
        + coalesce(v_theta[i], 0) * coalesce(v_theta[j], 0)
        + case when j < v_size then coalesce(ar[i], 0) * v_start[1][j + 1] else 0 end
        + case when i < v_size then coalesce(ar[j], 0) * v_start[1][i + 1] else 0 end
        + case when i < v_size and j < v_size then v_start[i + 1][j + 1] else 0 end;
      v_start[i][j] := v_sum;
      v_start[j][i] := v_sum;
    end loop;
  end loop;
  -- Nothing is known of the levels before the first value.
  for i in v_size + 1..v_size + differences loop
    v_start[i][i] := 1e6;
  end loop;
  return v_start;
end;
$$;

comment on function ml._arima_start(float8[], float8[], int) is $$
Returns the covariance of the state of ml._arima_filter before the first value, in units of the variance of the errors.
Null when the autoregression is not stationary.
Source: Durbin and Koopman, Time Series Analysis by State Space Methods, 2012, section 5.6.
$$;

create or replace function ml._arima_next(
  ar float8[],
  ma float8[],
  differences int,
  mean float8,
  state float8[],
  covariance float8[],
  out next_state float8[],
  out next_covariance float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := cardinality(state);
  v_arma constant int := v_size - differences;
  v_half float8[] := covariance;
begin
  -- Each line of the state moves up one place; the levels are sums of the differences.
  next_state := state;
  for i in 1..v_arma loop
    next_state[i] := coalesce(ar[i], 0) * state[1] + case when i < v_arma then state[i + 1] else 0 end;
    if abs(next_state[i]) < 1e-150 then
      next_state[i] := 0;
    end if;
  end loop;
  for i in reverse v_size..v_arma + 1 loop
    next_state[i] := state[i] + case when i = v_size then next_state[1] + mean else next_state[i + 1] end;
  end loop;
  for j in 1..v_size loop
    for i in 1..v_arma loop
      v_half[i][j] := coalesce(ar[i], 0) * covariance[1][j] + case when i < v_arma then covariance[i + 1][j] else 0 end;
    end loop;
    for i in reverse v_size..v_arma + 1 loop
      v_half[i][j] := covariance[i][j] + v_half[case when i = v_size then 1 else i + 1 end][j];
    end loop;
  end loop;
  next_covariance := v_half;
  for i in 1..v_size loop
    for j in 1..v_arma loop
      next_covariance[i][j] := coalesce(ar[j], 0) * v_half[i][1]
        + case when j < v_arma then v_half[i][j + 1] else 0 end;
    end loop;
    for j in reverse v_size..v_arma + 1 loop
      next_covariance[i][j] := v_half[i][j] + next_covariance[i][case when j = v_size then 1 else j + 1 end];
    end loop;
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      next_covariance[i][j] := next_covariance[i][j]
        + case when i = 1 or i > v_arma then 1 else coalesce(ma[i - 1], 0) end
        * case when j = 1 or j > v_arma then 1 else coalesce(ma[j - 1], 0) end;
      if abs(next_covariance[i][j]) < 1e-150 then
        next_covariance[i][j] := 0;
      end if;
    end loop;
  end loop;
end;
$$;

comment on function ml._arima_next(float8[], float8[], int, float8, float8[], float8[]) is $$
Returns the expected state of ml._arima_filter one step later and its covariance.
`mean`: that of the last differences.
$$;

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
      v_value := v_state[1];
      for i in 1..v_size loop
        v_state[i] := v_phi[i] * v_value + v_state[i + 1] + v_gain[i] * (v_error / v_spread);
      end loop;
      v_first := v_change[1];
      v_last_spread := v_spread;
      v_spread := v_spread + v_weight * v_first * v_first;
      for i in 1..v_size loop
        v_value := v_phi[i] * v_first + v_change[i + 1];
        v_gain[i] := v_gain[i] + v_weight * v_first * v_value;
        v_change[i] := v_value - v_gain[i] / v_spread * v_first;
        if abs(v_change[i]) < 1e-100 then
          v_change[i] := 0;
        end if;
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
Source: Morf, Sidhu and Kailath, Some new algorithms for recursive estimation in constant, linear, discrete-time systems,
IEEE Transactions on Automatic Control 19, 1974.
$$;

create or replace function ml._arima_conditional(
  series float8[],
  ar float8[],
  ma float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := cardinality(ar);
  v_q constant int := cardinality(ma);
  v_residuals float8[] := array_fill(null::float8, array[cardinality(series)]);
  v_error float8;
begin
  for v_step in v_p + 1..cardinality(series) loop
    v_error := series[v_step];
    for k in 1..v_p loop
      v_error := v_error - ar[k] * series[v_step - k];
    end loop;
    for k in 1..least(v_q, v_step - v_p - 1) loop
      v_error := v_error - ma[k] * v_residuals[v_step - k];
    end loop;
    -- Neither vanishes below the least number, nor grows without bound where the moving average is not invertible.
    v_residuals[v_step] := case
      when abs(v_error) < 1e-150 then 0
      else greatest(least(v_error, 1e100), -1e100)
    end;
  end loop;
  return v_residuals;
end;
$$;

comment on function ml._arima_conditional(float8[], float8[], float8[]) is $$
Returns the errors of an autoregressive moving average, conditional on the first p values and on errors of 0 before.
The first p are null.
Source: Box and Jenkins, Time Series Analysis, 1970, section 7.1.
$$;

create or replace function ml._arima_bounded(
  free float8[],
  sign int
)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select coalesce(array_agg(_arima_bounded.sign * entry.coefficient order by entry.place), '{}')
  from unnest(
    ml._unreflected(
      array(
        select 0.9999999 * tanh(part.value)
        from unnest(_arima_bounded.free) with ordinality as part (value, place)
        order by part.place
      )
    )
  ) with ordinality as entry (coefficient, place);
end;

comment on function ml._arima_bounded(float8[], int) is $$
Returns the coefficients of a stationary autoregression (`sign` 1) or an invertible moving average (−1).
They are computed from unbounded numbers, whose hyperbolic tangents are the partial autocorrelations.
$$;

create or replace function ml._arima_errors(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := orders[1];
  v_d constant int := orders[2];
  v_q constant int := orders[3];
  v_mean constant float8 := case when orders[4] = 1 then point[v_p + v_q + 1] else 0 end;
  v_ar float8[] := point[1:v_p];
  v_ma float8[] := point[v_p + 1:v_p + v_q];
  v_centred float8[] := series;
  v_fit record;
  v_scale float8;
begin
  if bounded then
    v_ar := ml._arima_bounded(v_ar, 1);
    v_ma := ml._arima_bounded(v_ma, -1);
  end if;
  if v_mean <> 0 then
    -- With one difference, what rises by the mean at each step.
    for v_step in 1..cardinality(series) loop
      v_centred[v_step] := series[v_step] - v_mean * case v_d when 0 then 1 else v_step end;
    end loop;
  end if;
  if orders[5] = 0 then
    return ml._arima_conditional(v_centred, v_ar, v_ma);
  end if;
  if v_d > 0 or array_position(series, null) is not null then
    select filtered.residuals, filtered.deviations
    into v_fit
    from ml._arima_filter(v_centred, v_ar, v_ma, v_d) as filtered;
  else
    v_fit := ml._arima_innovations(v_centred, v_ar, v_ma);
  end if;
  if v_fit.residuals is null then
    return null;
  end if;
  -- The likelihood falls with the sum of squares of these: errors over their deviations, times the mean deviation.
  select exp(avg(ln(deviation))) into v_scale from unnest(v_fit.deviations) as deviation;
  for v_step in 1..cardinality(series) loop
    v_fit.residuals[v_step] := v_fit.residuals[v_step] / v_fit.deviations[v_step] * v_scale;
  end loop;
  return v_fit.residuals;
end;
$$;

comment on function ml._arima_errors(float8[], int[], float8[], boolean) is $$
Returns the errors of an ARIMA model whose least sum of squares is the estimate.
`orders`: p, d, q, with mean (0, 1), exact likelihood (0, 1; otherwise conditional, with d = 0). `point`: ar, ma, mean;
`bounded`: the first two as unbounded numbers of ml._arima_bounded. Null when the model is not stationary.
$$;

grant execute on function
  ml._reflected(float8[]),
  ml._unreflected(float8[]),
  ml._arima_start(float8[], float8[], int),
  ml._arima_next(float8[], float8[], int, float8, float8[], float8[]),
  ml._arima_filter(float8[], float8[], float8[], int),
  ml._arima_innovations(float8[], float8[], float8[]),
  ml._arima_conditional(float8[], float8[], float8[]),
  ml._arima_bounded(float8[], int),
  ml._arima_errors(float8[], int[], float8[], boolean)
to insights_analyst, insights_admin, insights_worker;
