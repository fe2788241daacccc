/*
 * A time series is filtered one step after another, the one thing here that is no set operation: each error depends on the
 * state that the errors before it left. The series is one array, the filter a loop over it, and least squares over its
 * parameters (Levenberg and Marquardt's) calls the filter a few dozen times.
 */
create or replace function ml._ets_filter(
  series float8[],
  shape int[],
  parameters float8[],
  out residuals float8[],
  out level float8,
  out slope float8,
  out seasons float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period constant int := shape[1];
  v_trend constant int := shape[2];
  v_seasonal constant boolean := shape[3] = 1;
  v_size constant int := cardinality(series);
  v_alpha constant float8 := parameters[1];
  v_beta constant float8 := case when v_trend > 0 then parameters[2] else 0 end;
  v_gamma constant float8 := case when v_seasonal then parameters[3] else 0 end;
  v_phi constant float8 := case v_trend when 0 then 0 when 1 then 1 else parameters[4] end;
  v_cycles int;
  v_mean float8;
  v_error float8;
  v_place int;
begin
  residuals := array_fill(0::float8, array[v_size]);
  seasons := array_fill(0::float8, array[greatest(v_period, 1)]);
  slope := 0;
  if v_seasonal then
    -- The first cycles: their means give level and slope, what they leave of each place gives the seasons.
    v_cycles := least(v_size / v_period, 3);
    select case when v_trend > 0 and v_cycles > 1 then coalesce(regr_slope(mean, cycle), 0) / v_period else 0 end, avg(mean)
    into slope, v_mean
    from (
      select (place - 1) / v_period as cycle, avg(value) as mean
      from unnest(series) with ordinality as entry (value, place)
      where place <= v_cycles * v_period
      group by (place - 1) / v_period
    ) as cycle;
    level := v_mean - slope * (v_cycles * v_period + 1) / 2;
    select array_agg(coalesce(season, 0) - coalesce(middle, 0) order by place)
    into seasons
    from (
      select wanted.place, left_over.season, avg(left_over.season) over () as middle
      from generate_series(0, v_period - 1) as wanted (place)
      left join (
        select ((place - 1) % v_period)::int as place, avg(value - level - slope * place) as season
        from unnest(series) with ordinality as entry (value, place)
        where place <= v_cycles * v_period
        group by (place - 1) % v_period
      ) as left_over on left_over.place = wanted.place
    ) as centred;
  elsif v_trend > 0 then
    select coalesce(regr_slope(value, place), 0), coalesce(regr_intercept(value, place), avg(value))
    into slope, level
    from unnest(series) with ordinality as entry (value, place)
    where place <= greatest(10, v_size / 10);
  else
    level := (select value from unnest(series) with ordinality as entry (value, place) where value is not null order by place limit 1);
  end if;
  for v_step in 1..v_size loop
    v_place := (v_step - 1) % greatest(v_period, 1) + 1;
    v_error := series[v_step] - level - v_phi * slope - case when v_seasonal then seasons[v_place] else 0 end;
    -- A gap moves the state on without correcting it.
    if v_error is null then
      residuals[v_step] := null;
      v_error := 0;
    else
      residuals[v_step] := v_error;
    end if;
    level := level + v_phi * slope + v_alpha * v_error;
    slope := v_phi * slope + v_beta * v_error;
    if v_seasonal then
      seasons[v_place] := seasons[v_place] + v_gamma * v_error;
    end if;
  end loop;
  -- The season of the next step first.
  if v_seasonal then
    v_place := v_size % v_period;
    seasons := seasons[v_place + 1:v_period] || seasons[1:v_place];
  end if;
end;
$$;

comment on function ml._ets_filter(float8[], int[], float8[]) is $$
One-step errors and the last state of exponential smoothing with additive errors.
`shape`: period, trend (0 none, 1 additive, 2 damped), seasonal (0, 1);
`parameters`: alpha, beta, gamma, phi. Nulls in the series are gaps. Source: Hyndman and others, Forecasting with Exponential Smoothing, 2008, chapter 2.
$$;

create or replace function ml._arima_filter(
  series float8[],
  shape int[],
  parameters float8[],
  out residuals float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := shape[1];
  v_q constant int := shape[2];
  v_mean constant float8 := case when shape[3] = 1 then parameters[v_p + v_q + 1] else 0 end;
  v_size constant int := cardinality(series);
  v_error float8;
begin
  residuals := array_fill(0::float8, array[v_size]);
  for v_step in v_p + 1..v_size loop
    v_error := series[v_step] - v_mean;
    for k in 1..v_p loop
      v_error := v_error - parameters[k] * (series[v_step - k] - v_mean);
    end loop;
    for k in 1..least(v_q, v_step - 1) loop
      v_error := v_error - parameters[v_p + k] * residuals[v_step - k];
    end loop;
    -- Far from any root the errors of a moving average explode; such parameters are simply bad.
    residuals[v_step] := greatest(least(v_error, 1e100), -1e100);
  end loop;
end;
$$;

comment on function ml._arima_filter(float8[], int[], float8[]) is $$
Errors of an ARMA model, conditional on the first p values and on errors of 0 before them. `shape`: p, q, with mean (0, 1); `parameters`: ar, ma, mean.
Source: Box and Jenkins, Time Series Analysis, 1970, section 7.1.
$$;

create or replace function ml._bounded(
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

comment on function ml._bounded(float8[], float8[]) is $$
Smoothing parameters from free numbers: 0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 − alpha, 0.8 < phi < 0.98; those in `fixed` as they are.
$$;

create or replace function ml._series_fit(
  kind text,
  series float8[],
  shape int[],
  start float8[],
  fixed float8[],
  max_iter int,
  out parameters float8[],
  out residuals float8[],
  out covariance float8[],
  out squares float8,
  out iterations int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_k int;
  v_moving int[] := array(select k from generate_series(1, cardinality(start)) as k where kind = 'arima' or fixed[k] is null order by k);
  v_point float8[] := start;
  v_try float8[];
  v_new float8[];
  v_new_squares float8;
  v_damping float8 := 0.001;
  v_slopes float8[];
  v_gram float8[];
  v_damped float8[];
  v_gradient float8[];
  v_inverse float8[];
  v_step float8;
  v_better boolean;
begin
  residuals := ml._series_residuals(kind, series, shape, v_point, fixed);
  squares := (select sum(error * error) from unnest(residuals) as error);
  iterations := 0;
  if kind = 'ets' then
    v_moving := array(select k from unnest(v_moving) as k where k = 1 or (k = 2 and shape[2] > 0) or (k = 3 and shape[3] = 1) or (k = 4 and shape[2] = 2) order by k);
  end if;
  while v_moving <> '{}' and iterations < max_iter loop
    iterations := iterations + 1;
    -- Slopes of the errors by central differences, one column a parameter, in one array.
    v_slopes := '{}';
    foreach v_k in array v_moving loop
      v_step := 1e-5 * greatest(1, abs(v_point[v_k]));
      v_try := v_point;
      v_try[v_k] := v_point[v_k] + v_step;
      v_new := v_point;
      v_new[v_k] := v_point[v_k] - v_step;
      v_slopes := v_slopes || array(
        select (up - down) / (2 * v_step)
        from unnest(ml._series_residuals(kind, series, shape, v_try, fixed), ml._series_residuals(kind, series, shape, v_new, fixed)) with ordinality as entry (up, down, place)
        order by place
      );
    end loop;
    select array_agg(line order by i), array_agg(slope order by i)
    into v_gram, v_gradient
    from (
      select i, array_agg(product order by j) as line, max(slope) as slope
      from (
        select
          i, j,
          (select sum(v_slopes[(i - 1) * cardinality(series) + t] * v_slopes[(j - 1) * cardinality(series) + t]) from generate_series(1, cardinality(series)) as t) as product,
          (select sum(v_slopes[(i - 1) * cardinality(series) + t] * residuals[t]) from generate_series(1, cardinality(series)) as t) as slope
        from generate_series(1, cardinality(v_moving)) as i
        cross join generate_series(1, cardinality(v_moving)) as j
      ) as pair
      group by i
    ) as filled;
    v_better := false;
    for v_attempt in 1..12 loop
      v_damped := v_gram;
      for i in 1..cardinality(v_moving) loop
        v_damped[i][i] := v_gram[i][i] * (1 + v_damping) + 1e-300;
      end loop;
      v_inverse := (ml._spd_inverse(v_damped, 1e-15)).inverse;
      if v_inverse is not null then
        v_try := v_point;
        for i in 1..cardinality(v_moving) loop
          v_step := 0;
          for j in 1..cardinality(v_moving) loop
            v_step := v_step - v_inverse[i][j] * v_gradient[j];
          end loop;
          v_try[v_moving[i]] := case when kind = 'ets' then greatest(-30, least(30, v_point[v_moving[i]] + greatest(-3, least(3, v_step)))) else v_point[v_moving[i]] + v_step end;
        end loop;
        v_new := ml._series_residuals(kind, series, shape, v_try, fixed);
        v_new_squares := (select sum(error * error) from unnest(v_new) as error);
        if v_new_squares < squares then
          v_better := (squares - v_new_squares) > 1e-12 * squares;
          v_point := v_try;
          residuals := v_new;
          squares := v_new_squares;
          v_damping := greatest(v_damping / 5, 1e-12);
          exit;
        end if;
      end if;
      v_damping := v_damping * 4;
    end loop;
    exit when not v_better;
  end loop;
  covariance := case when v_gram is not null then (ml._spd_inverse(v_gram, 1e-15)).inverse end;
  parameters := case when kind = 'ets' then ml._bounded(v_point, fixed) else v_point end;
end;
$$;

comment on function ml._series_fit(text, float8[], int[], float8[], float8[], int) is $$
Least squares of the one-step errors over the parameters of a filter (`ets` or `arima`).
`covariance` is the inverse of the
slopes' products, to be multiplied by the residual variance. Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, 1963.
$$;

create or replace function ml._series_residuals(
  kind text,
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
begin
  if kind = 'ets' then
    return (ml._ets_filter(series, shape, ml._bounded(point, fixed))).residuals;
  end if;
  return ml._arima_filter(series, shape, point);
end;
$$;

comment on function ml._series_residuals(text, float8[], int[], float8[], float8[]) is $$The one-step errors of a filter at a point of its free parameters.$$;

create or replace function ml._read_series(
  relation regclass,
  timestamp_column text,
  timeseries_column text,
  groups text[]
)
returns void
language plpgsql
set client_min_messages to warning
as $$
declare
  v_time text := common.column_name(relation, timestamp_column, 'timestamp column');
  v_value text := common.numeric_expression(timeseries_column, relation, 'time series column');
  v_bad text;
begin
  drop table if exists pg_temp._ml_series;
  execute format(
    'create temp table _ml_series on commit drop as select jsonb_build_array(%s) as place, %s array_agg(%s order by %s) as series, array_agg(%s::text order by %s) as times from %s where %s is not null %s',
    coalesce(array_to_string(groups, ', '), ''),
    case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end,
    v_value, v_time, v_time, v_time, relation, v_time,
    case when groups = '{}' then 'having count(*) > 0' else 'group by ' || array_to_string(groups, ', ') end
  );
  if not exists (select from pg_temp._ml_series) then
    perform common.refuse('CF004', format('"%s" has no row with a time', relation), 'A forecast needs a past.');
  end if;
  execute 'select times[array_position(series, bad)] from pg_temp._ml_series cross join unnest(array[''NaN'', ''Infinity'', ''-Infinity'']::float8[]) as bad where array_position(series, bad) is not null limit 1' into v_bad;
  if v_bad is not null then
    perform common.refuse('CF001', format('the value at %s is NaN or infinity', left(v_bad, 100)),
      'Make it null to leave a gap.');
  end if;
  execute format('select %1$s::text from %2$s group by %3$s %1$s having count(*) > 1 limit 1', v_time, relation, case when groups = '{}' then '' else array_to_string(groups, ', ') || ',' end) into v_bad;
  if v_bad is not null then
    perform common.refuse('CF001', format('there are several rows at %s', left(v_bad, 100)),
      'Sum or average them first, or name grouping columns.');
  end if;
end;
$$;

comment on function ml._read_series(regclass, text, text, text[]) is $$
Reads one array a group, in the order of time, into the temporary table `_ml_series`. Errors: CF001 (two rows at a time, non-finite), CF002, CF004 (no rows).
$$;

grant execute on function
  ml._ets_filter(float8[], int[], float8[]), ml._arima_filter(float8[], int[], float8[]), ml._bounded(float8[], float8[]),
  ml._series_fit(text, float8[], int[], float8[], float8[], int), ml._series_residuals(text, float8[], int[], float8[], float8[]),
  ml._read_series(regclass, text, text, text[])
to insights_analyst, insights_admin, insights_worker;
