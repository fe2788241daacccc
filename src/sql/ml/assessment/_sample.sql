/*
 * The state of a comparison of samples: for each of two samples the number of values, their mean and the sum of squared
 * deviations from it, updated without cancellation (Chan, Golub and LeVeque, The American Statistician 37, 1983).
 */
create or replace function ml._sample_of_two(state float8[], is_first boolean, value float8)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at constant int := case when is_first then 1 else 4 end;
  v_state float8[] := state;
  v_delta float8;
begin
  if not abs(value) < 1e100 then
    perform common.refuse(case when abs(value) < 'Infinity' then 'CF007' else 'CF001' end,
      format('the value %s cannot be compared', value), 'Give finite numbers between -1e100 and 1e100.');
  end if;
  v_delta := value - v_state[v_at + 1];
  v_state[v_at] := v_state[v_at] + 1;
  v_state[v_at + 1] := v_state[v_at + 1] + v_delta / v_state[v_at];
  v_state[v_at + 2] := v_state[v_at + 2] + ml._times(v_delta, value - v_state[v_at + 1]);
  return v_state;
end;
$$;

comment on function ml._sample_of_two(float8[], boolean, float8) is $$
Adds a value to the first or second sample of a test. Errors: CF001 (not finite), CF007 (too large).
$$;

create or replace function ml._sample_of_one(state float8[], value float8)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select case when value is null then state else ml._sample_of_two(state, true, value) end;
end;

comment on function ml._sample_of_one(float8[], float8) is $$
Adds a value to the sample of a test.
$$;

create or replace function ml._sample_of_pairs(state float8[], one float8, other float8)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select case when num_nulls(one, other) > 0 then state else ml._sample_of_two(state, true, one - other) end;
end;

comment on function ml._sample_of_pairs(float8[], float8, float8) is $$
Adds the difference of a pair to the sample of a test.
$$;

create or replace function ml._sample_merged(one float8[], other float8[])
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at int;
  v_state float8[] := one;
  v_delta float8;
  v_total float8;
begin
  foreach v_at in array array[1, 4] loop
    v_total := one[v_at] + other[v_at];
    continue when v_total = 0;
    v_delta := other[v_at + 1] - one[v_at + 1];
    v_state[v_at] := v_total;
    v_state[v_at + 1] := one[v_at + 1] + v_delta * other[v_at] / v_total;
    v_state[v_at + 2] := one[v_at + 2] + other[v_at + 2]
      + ml._times(v_delta, v_delta) * one[v_at] / v_total * other[v_at];
  end loop;
  return v_state;
end;
$$;

comment on function ml._sample_merged(float8[], float8[]) is $$
Adds the samples of two states.
$$;

grant execute on function
  ml._sample_of_two(float8[], boolean, float8), ml._sample_of_one(float8[], float8),
  ml._sample_of_pairs(float8[], float8, float8), ml._sample_merged(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
