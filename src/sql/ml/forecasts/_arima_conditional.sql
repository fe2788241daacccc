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
