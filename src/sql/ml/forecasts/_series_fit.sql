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
    -- The errors of a moving average that is not invertible grow without bound: they are clipped, and the fit rejects
    -- such parameters.
    residuals[v_step] := greatest(least(v_error, 1e100), -1e100);
  end loop;
end;
$$;

comment on function ml._arima_filter(float8[], int[], float8[]) is $$
Returns the errors of an ARMA model, conditional on the first p values and on errors of 0 before them.
`shape`: p, q, with mean (0, 1); `parameters`: ar, ma, mean.
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
Returns smoothing parameters from unbounded numbers.
0 < alpha < 1, 0 < beta < alpha, 0 < gamma < 1 − alpha, 0.8 < phi < 0.98. Those in `fixed` that are not null are
returned unchanged.
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
  v_moving int[] := array(
    select k
    from generate_series(1, cardinality(start)) as k
    where kind = 'arima'
      or fixed[k] is null
    order by k
  );
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
    v_moving := array(
      select k
      from unnest(v_moving) as k
      where k = 1
        or (k = 2 and shape[2] > 0)
        or (k = 3 and shape[3] = 1)
        or (k = 4 and shape[2] = 2)
      order by k
    );
  end if;
  while v_moving <> '{}' and iterations < max_iter loop
    iterations := iterations + 1;
    -- Derivatives of the errors by central differences, one column per parameter, in one array.
    v_slopes := '{}';
    foreach v_k in array v_moving loop
      v_step := 1e-5 * greatest(1, abs(v_point[v_k]));
      v_try := v_point;
      v_try[v_k] := v_point[v_k] + v_step;
      v_new := v_point;
      v_new[v_k] := v_point[v_k] - v_step;
      v_slopes := v_slopes || array(
        select (up - down) / (2 * v_step)
        from unnest(
          ml._series_residuals(kind, series, shape, v_try, fixed),
          ml._series_residuals(kind, series, shape, v_new, fixed)
        ) with ordinality as entry (up, down, place)
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
          (
            select sum(v_slopes[(i - 1) * cardinality(series) + t] * v_slopes[(j - 1) * cardinality(series) + t])
            from generate_series(1, cardinality(series)) as t
          ) as product,
          (
            select sum(v_slopes[(i - 1) * cardinality(series) + t] * residuals[t])
            from generate_series(1, cardinality(series)) as t
          ) as slope
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
          v_try[v_moving[i]] := case
            when kind = 'ets' then
              greatest(-30, least(30, v_point[v_moving[i]] + greatest(-3, least(3, v_step))))
            else v_point[v_moving[i]] + v_step
          end;
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
Returns the parameters of a filter (`ets` or `arima`) with the least squares of the one-step errors.
`covariance` is the inverse of the products of the derivatives, to be multiplied by the residual variance.
Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, 1963.
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

comment on function ml._series_residuals(text, float8[], int[], float8[], float8[]) is $$
Returns the one-step errors of a filter at a point of its free parameters.
$$;

grant execute on function
  ml._arima_filter(float8[], int[], float8[]),
  ml._bounded(float8[], float8[]),
  ml._series_fit(text, float8[], int[], float8[], float8[], int),
  ml._series_residuals(text, float8[], int[], float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
