create or replace function ml._ets_errors(
  series float8[],
  shape int[],
  point float8[],
  fixed float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_errors float8[];
  v_mean_logarithm float8;
  v_scale float8;
begin
  select filtered.errors, filtered.mean_logarithm
  into v_errors, v_mean_logarithm
  from ml._ets_filter(
    series, shape, ml._ets_parameters(point[1:4], fixed), ml._ets_initial(shape, point, fixed)
  ) as filtered;
  if shape[4] = 1 and v_errors is not null then
    v_scale := exp(v_mean_logarithm);
    for v_step in 1..cardinality(series) loop
      v_errors[v_step] := v_errors[v_step] * v_scale;
    end loop;
  end if;
  return v_errors;
end;
$$;

comment on function ml._ets_errors(float8[], int[], float8[], float8[]) is $$
Returns errors of exponential smoothing whose sum of squares is least where the likelihood is greatest.
Relative errors are multiplied by the geometric mean of the means. `point`: alpha, beta, gamma, phi as unbounded
numbers, level, slope, seasons but the last; `fixed`: the first six, null where they are fitted.
$$;

grant execute on function
  ml._ets_filter(float8[], int[], float8[], float8[]),
  ml._ets_parameters(float8[], float8[]),
  ml._ets_initial(int[], float8[], float8[]),
  ml._ets_errors(float8[], int[], float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
