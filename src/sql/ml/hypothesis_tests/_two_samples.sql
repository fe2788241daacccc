/*
 * State of the tests of two samples, four numbers for each sample: its first value (the origin), the number of values,
 * and mean and sum of squared deviations of the values minus the origin. Values near 1e9 lose no digits by that.
 */

create or replace function ml._two_samples_add(state float8[], in_first boolean, value float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at constant int := case when in_first then 1 else 5 end;
  v_value float8;
  v_deviation float8;
begin
  if not abs(value) <= 1e100 then
    perform ml._check_magnitude(value);
  end if;
  if state[v_at + 1] = 0 then
    state[v_at] := value;
  end if;
  v_value := value - state[v_at];
  if abs(v_value) < 1e-100 then
    v_value := 0;
  end if;
  -- Welford's update (1962)
  v_deviation := v_value - state[v_at + 2];
  state[v_at + 1] := state[v_at + 1] + 1;
  state[v_at + 2] := state[v_at + 2] + v_deviation / state[v_at + 1];
  state[v_at + 3] := state[v_at + 3] + v_deviation * (v_value - state[v_at + 2]);
  return state;
end;
$$;

comment on function ml._two_samples_add(float8[], boolean, float8) is $$
Adds a value to the state of a test of two samples.
$$;

create or replace function ml._two_samples_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_count float8;
  v_distance float8;
begin
  foreach v_at in array array[1, 5] loop
    continue when other[v_at + 1] = 0;
    if state[v_at + 1] = 0 then
      state[v_at:v_at + 3] := other[v_at:v_at + 3];
      continue;
    end if;
    -- Chan, Golub and LeVeque (1979)
    v_count := state[v_at + 1] + other[v_at + 1];
    v_distance := (other[v_at] - state[v_at]) + (other[v_at + 2] - state[v_at + 2]);
    if abs(v_distance) < 1e-100 then
      v_distance := 0;
    end if;
    state[v_at + 2] := state[v_at + 2] + v_distance * (other[v_at + 1] / v_count);
    state[v_at + 3] := state[v_at + 3] + other[v_at + 3]
      + v_distance * v_distance * (state[v_at + 1] * other[v_at + 1] / v_count);
    state[v_at + 1] := v_count;
  end loop;
  return state;
end;
$$;

comment on function ml._two_samples_combine(float8[], float8[]) is $$
Returns the state of a test of two samples over the rows of both states.
$$;
