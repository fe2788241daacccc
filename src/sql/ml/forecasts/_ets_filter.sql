/*
 * A time series is filtered step by step, which is not a set operation: each error depends on the state that results
 * from the errors before it. The series is one array, and the filter a loop over it.
 */
create or replace function ml._ets_filter(
  series float8[],
  shape int[],
  parameters float8[],
  initial float8[],
  out errors float8[],
  out mean_logarithm float8,
  out state float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period constant int := greatest(shape[1], 1);
  v_season constant int := shape[3];
  v_relative constant boolean := shape[4] = 1;
  v_size constant int := cardinality(series);
  v_alpha constant float8 := parameters[1];
  v_beta constant float8 := case when shape[2] > 0 then parameters[2] else 0 end;
  v_gamma constant float8 := case when shape[3] > 0 then parameters[3] else 0 end;
  v_phi constant float8 := case shape[2] when 0 then 0 when 1 then 1 else parameters[4] end;
  v_level float8 := initial[1];
  v_slope float8 := case when shape[2] > 0 then initial[2] else 0 end;
  v_seasons float8[] := case when shape[3] > 0 then initial[3:] else array_fill(0::float8, array[1]) end;
  v_error float8;
  v_mean float8;
  v_season_now float8;
  v_place int := 0;
  v_known int := 0;
begin
  errors := array_fill(null::float8, array[v_size]);
  mean_logarithm := 0;
  for v_step in 1..v_size loop
    v_slope := v_phi * v_slope;
    v_level := v_level + v_slope;
    if v_season = 0 then
      v_mean := v_level;
    else
      v_place := v_place % v_period + 1;
      v_season_now := v_seasons[v_place];
      v_mean := case when v_season = 1 then v_level + v_season_now else v_level * v_season_now end;
    end if;
    v_error := series[v_step] - v_mean;
    if v_relative then
      -- A mean that is not above 0 has no relative error, so that there is no such model.
      if not v_mean > 1e-9 or (v_season = 2 and not v_season_now > 1e-9) then
        errors := null;
        mean_logarithm := null;
        return;
      end if;
      if v_error is not null then
        mean_logarithm := mean_logarithm + ln(v_mean);
        v_known := v_known + 1;
      end if;
    end if;
    -- A gap moves the state forward without a correction.
    continue when v_error is null;
    if abs(v_error) < 1e-100 then
      v_error := 0;
    end if;
    if abs(v_slope) < 1e-100 then
      v_slope := 0;
    end if;
    errors[v_step] := case when v_relative then v_error / v_mean else v_error end;
    if v_season = 2 then
      -- Relative to level and season: the products of the multiplicative model.
      v_error := v_error / v_mean;
      v_slope := v_slope + v_beta * v_error * v_level;
      v_level := v_level + v_alpha * v_error * v_level;
      v_seasons[v_place] := v_season_now + v_gamma * v_error * v_season_now;
    else
      v_level := v_level + v_alpha * v_error;
      v_slope := v_slope + v_beta * v_error;
      if v_season = 1 then
        v_seasons[v_place] := v_season_now + v_gamma * v_error;
      end if;
    end if;
  end loop;
  mean_logarithm := mean_logarithm / greatest(v_known, 1);
  -- Rotated, so that the season of the next step is the first.
  state := array[v_level, v_slope];
  if v_season > 0 then
    v_place := v_size % v_period;
    state := state || v_seasons[v_place + 1:v_period] || v_seasons[1:v_place];
  end if;
end;
$$;

comment on function ml._ets_filter(float8[], int[], float8[], float8[]) is $$
Returns the one-step errors and the last state of exponential smoothing.
`shape`: period, trend (0 none, 1 additive, 2 damped), season (0 none, 1 additive, 2 multiplicative), error (0 additive,
1 multiplicative, which is relative to the mean); `parameters`: alpha, beta, gamma, phi; `initial` and `state`: level,
slope, seasons. `mean_logarithm` is the average logarithm of the means of relative errors. Nulls in the series are gaps.
All results are null where a relative error has no mean above 0.
Source: Hyndman and others, Forecasting with Exponential Smoothing, 2008, chapter 2.
$$;

create or replace function ml._ets_parameters(
  free float8[],
  fixed float8[]
)
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array[
    chosen.alpha,
    coalesce(fixed[2], chosen.alpha * (0.0001 + 0.9998 / (1 + exp(-free[2])))),
    coalesce(fixed[3], (1 - chosen.alpha) * (0.0001 + 0.9998 / (1 + exp(-free[3])))),
    coalesce(fixed[4], 0.8 + 0.18 / (1 + exp(-free[4])))
  ]
  from (select coalesce(fixed[1], 0.0001 + 0.9998 / (1 + exp(-free[1]))) as alpha) as chosen;
end;

comment on function ml._ets_parameters(float8[], float8[]) is $$
Returns smoothing parameters from unbounded numbers.
0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 − alpha, 0.8 < phi < 0.98. Those in `fixed` that are not null are
returned unchanged.
$$;

create or replace function ml._ets_initial(
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
  v_initial float8[] := array[coalesce(fixed[5], point[5]), coalesce(fixed[6], point[6])];
  v_rest float8 := case shape[3] when 2 then shape[1] else 0 end;
begin
  if shape[3] > 0 then
    for k in 7..5 + shape[1] loop
      v_rest := v_rest - point[k];
    end loop;
    v_initial := v_initial || point[7:5 + shape[1]] || v_rest;
  end if;
  return v_initial;
end;
$$;

comment on function ml._ets_initial(int[], float8[], float8[]) is $$
Returns the state before the first value: level, slope, seasons.
The last season is what makes their sum 0, or, when they are factors, their mean 1.
$$;

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
