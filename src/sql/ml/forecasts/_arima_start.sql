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
