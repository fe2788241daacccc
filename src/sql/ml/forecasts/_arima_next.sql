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
