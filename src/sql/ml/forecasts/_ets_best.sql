create or replace function ml._ets_start(
  series float8[],
  shape int[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period constant int := greatest(shape[1], 1);
  v_size constant int := cardinality(series);
  v_cycles constant int := least(v_size / v_period, 3);
  v_level float8;
  v_slope float8 := 0;
  v_seasons float8[] := '{}';
begin
  if shape[3] > 0 then
    -- The means of the first cycles give level and slope, the mean residuals of each position in the cycle the seasons.
    select coalesce(regr_slope(mean, cycle), 0) / v_period, avg(mean)
    into v_slope, v_level
    from (
      select (place - 1) / v_period as cycle, avg(value) as mean
      from unnest(series) with ordinality as entry (value, place)
      where place <= v_cycles * v_period
      group by (place - 1) / v_period
    ) as cycle;
    if shape[2] = 0 then
      v_slope := 0;
    end if;
    v_level := v_level - v_slope * (v_cycles * v_period + 1) / 2;
    select array_agg(coalesce(season, 0) - coalesce(middle, 0) order by place)
    into v_seasons
    from (
      select wanted.place, left_over.season, avg(left_over.season) over () as middle
      from generate_series(0, v_period - 1) as wanted (place)
      left join (
        select ((place - 1) % v_period)::int as place, avg(value - v_level - v_slope * place) as season
        from unnest(series) with ordinality as entry (value, place)
        where place <= v_cycles * v_period
        group by (place - 1) % v_period
      ) as left_over on left_over.place = wanted.place
    ) as centred;
  else
    select
      case when shape[2] > 0 then coalesce(regr_slope(value, place), 0) else 0 end,
      case when shape[2] > 0 then coalesce(regr_intercept(value, place), avg(value)) else avg(value) end
    into v_slope, v_level
    from (
      select entry.value, entry.place
      from unnest(series) with ordinality as entry (value, place)
      where entry.value is not null
      order by entry.place
      limit greatest(case when shape[2] > 0 then 10 else 5 end, v_size / 10)
    ) as early;
  end if;
  return array[v_level, v_slope] || v_seasons;
end;
$$;

comment on function ml._ets_start(float8[], int[]) is $$
Returns a state before the first value to begin with: level, slope and additive seasons of the first cycles.
$$;

create or replace function ml._ets_fit(
  series float8[],
  shape int[],
  fixed float8[],
  starts float8[],
  max_iter int,
  tolerance float8,
  out point float8[],
  out squares float8,
  out iterations int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_moving int[];
  v_start float8[];
  v_squares float8;
begin
  for k in 1..coalesce(array_length(starts, 1), 0) loop
    v_start := array(select starts[k][i] from generate_series(1, array_length(starts, 2)) as i order by i);
    v_squares := ml._squares(ml._ets_errors(series, shape, v_start, fixed));
    if squares is null or v_squares < squares then
      point := v_start;
      squares := v_squares;
    end if;
  end loop;
  if squares is null then
    return;
  end if;
  v_moving := array(
    select k
    from generate_series(1, 5 + case when shape[3] > 0 then shape[1] else 1 end) as k
    where (k > 6 or fixed[k] is null)
      and case
        when k in (1, 5) then true
        when k in (2, 6) then shape[2] > 0
        when k = 3 then shape[3] > 0
        when k = 4 then shape[2] = 2
        -- The seasons of a long cycle are those of its first cycles.
        else shape[1] <= 24
      end
    order by k
  );
  select fit.point, fit.squares, fit.iterations
  into point, squares, iterations
  from ml._series_fit('ets', series, shape, point, fixed, v_moving, 4, max_iter, tolerance) as fit;
end;
$$;

comment on function ml._ets_fit(float8[], int[], float8[], float8[], int, float8) is $$
Returns the parameters and the initial state of exponential smoothing with the greatest likelihood.
The best of `starts`, one per line, is where it begins. The seasons of cycles longer than 24 are not fitted.
$$;

create or replace function ml._ets_criterion(
  squares float8,
  value_count int,
  shape int[],
  scale float8
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case when value_count > size.unknowns + 1 then
    value_count * (ln(greatest(squares, 1e-20 * value_count)) + 2 * ln(scale))
    + 2 * size.unknowns * (1 + (size.unknowns + 1.0) / (value_count - size.unknowns - 1))
  end
  -- Parameters, initial state and the variance.
  from (
    select 3 + (array[0, 2, 3])[shape[2] + 1] + case when shape[3] > 0 then shape[1] else 0 end as unknowns
  ) as size;
end;

comment on function ml._ets_criterion(float8, int, int[], float8) is $$
Returns the corrected Akaike criterion of exponential smoothing, as ets() of R; null with too few values.
$$;

create or replace function ml._ets_point(
  whole float8[],
  season int,
  shape int[],
  shift float8,
  scale float8
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_point float8[] := whole[1:4] || (whole[5] - shift) / scale || whole[6] / scale;
begin
  if shape[3] > 0 then
    for k in 7..5 + shape[1] loop
      v_point := v_point || case
        when shape[3] = 1 then whole[k] / scale
        when season = 2 then whole[k]
        else greatest(0.1, 1 + whole[k] / greatest(abs(whole[5]), scale))
      end;
    end loop;
  end if;
  return v_point;
end;
$$;

comment on function ml._ets_point(float8[], int, int[], float8, float8) is $$
Returns a point of ml._ets_errors for a series that was shifted and scaled, from one in the unit of the series.
The latter has all seasons, which are of the kind `season` (1 additive, 2 factors).
$$;

create or replace function ml._ets_best(
  series float8[],
  shapes int[],
  fixed float8[],
  out shape int[],
  out parameters float8[],
  out state float8[],
  out errors float8[],
  out squares float8,
  out residual_variance float8,
  out criterion float8,
  out iterations int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant int := (select count(value) from unnest(series) as value);
  v_largest constant float8 := (select greatest(max(abs(value)), 1e-100) from unnest(series) as value);
  -- Additive errors are of a series around 0, relative ones of a series around 1.
  v_centre constant float8 := (select avg(value) from unnest(series) as value);
  v_deviation constant float8 := coalesce(
    (select nullif(stddev_pop(value / v_largest), 0) * v_largest from unnest(series) as value), v_largest
  );
  v_plain constant float8[] := array(
    select (entry.value - v_centre) / v_deviation
    from unnest(series) with ordinality as entry (value, place)
    order by entry.place
  );
  v_relative float8[];
  v_scaled float8[];
  v_shape int[];
  v_shift float8;
  v_scale float8;
  v_fixed float8[];
  v_starts float8[];
  v_heuristic float8[];
  v_fit record;
  v_whole float8[];
  v_season int := 0;
  v_criterion float8;
  v_chosen float8[];
  v_filtered record;
begin
  for v_number in 1..array_length(shapes, 1) loop
    v_shape := array[shapes[v_number][1], shapes[v_number][2], shapes[v_number][3], shapes[v_number][4]];
    v_shift := case when v_shape[4] = 1 then 0 else v_centre end;
    v_scale := case when v_shape[4] = 1 then v_centre else v_deviation end;
    if v_shape[4] = 1 and v_relative is null then
      v_relative := array(
        select entry.value / v_centre
        from unnest(series) with ordinality as entry (value, place)
        order by entry.place
      );
    end if;
    v_fixed := array[
      fixed[1], fixed[2], fixed[3], fixed[4], (fixed[5] - v_shift) / v_scale, fixed[6] / v_scale
    ];
    -- It begins at one of three degrees of smoothing, or where the shape before ended.
    v_heuristic := ml._ets_start(series, v_shape);
    v_starts := array_fill(0::float8, array[0, 0]);
    for v_try in 1..3 loop
      v_starts := v_starts || array[ml._ets_point(
        array[(array[-2.2, 0, 2.2])[v_try], -2, -3, 2]::float8[] || v_heuristic, 1, v_shape, v_shift, v_scale
      )];
    end loop;
    if v_whole is not null and (v_season = v_shape[3] or (v_season = 1 and v_shape[3] = 2)) then
      v_starts := v_starts || array[ml._ets_point(v_whole, v_season, v_shape, v_shift, v_scale)];
    end if;
    v_scaled := case when v_shape[4] = 1 then v_relative else v_plain end;
    v_fit := ml._ets_fit(v_scaled, v_shape, v_fixed, v_starts, 4, 1e-3);
    continue when v_fit.squares is null;
    -- A shape that is far behind after a few steps is not followed.
    v_criterion := ml._ets_criterion(v_fit.squares, v_known, v_shape, v_scale);
    if shape is null or v_criterion < criterion + 12 then
      v_fit := ml._ets_fit(
        v_scaled, v_shape, v_fixed, array[v_fit.point],
        case when v_shape[3] = 0 then 100 else 30 end,
        case when v_shape[3] = 0 then 1e-8 else 1e-5 end
      );
    end if;
    v_season := v_shape[3];
    v_whole := ml._ets_initial(v_shape, v_fit.point, v_fixed);
    v_whole := v_fit.point[1:4] || v_whole[1] * v_scale + v_shift || v_whole[2] * v_scale
      || array(
        select case v_season when 1 then part.season * v_scale else part.season end
        from unnest(v_whole[3:]) with ordinality as part (season, place)
        order by part.place
      );
    v_criterion := ml._ets_criterion(v_fit.squares, v_known, v_shape, v_scale);
    if shape is null or v_criterion < criterion then
      shape := v_shape;
      criterion := v_criterion;
      v_chosen := v_whole;
    end if;
  end loop;

  -- The best is fitted to the end.
  v_shift := case when shape[4] = 1 then 0 else v_centre end;
  v_scale := case when shape[4] = 1 then v_centre else v_deviation end;
  v_fixed := array[fixed[1], fixed[2], fixed[3], fixed[4], (fixed[5] - v_shift) / v_scale, fixed[6] / v_scale];
  v_scaled := case when shape[4] = 1 then v_relative else v_plain end;
  v_fit := ml._ets_fit(
    v_scaled, shape, v_fixed, array[ml._ets_point(v_chosen, shape[3], shape, v_shift, v_scale)], 30, 1e-7
  );
  iterations := v_fit.iterations;
  criterion := ml._ets_criterion(v_fit.squares, v_known, shape, v_scale);
  parameters := ml._ets_parameters(v_fit.point[1:4], v_fixed);
  v_filtered := ml._ets_filter(v_scaled, shape, parameters, ml._ets_initial(shape, v_fit.point, v_fixed));
  squares := ml._squares(v_filtered.errors) * case when shape[4] = 1 then 1 else v_scale ^ 2 end;
  residual_variance := squares / greatest(
    v_known - (2 + (array[0, 2, 3])[shape[2] + 1] + case when shape[3] > 0 then shape[1] else 0 end), 1
  );
  state := array[v_filtered.state[1] * v_scale + v_shift, v_filtered.state[2] * v_scale]
    || array(
      select case shape[3] when 1 then part.season * v_scale else part.season end
      from unnest(v_filtered.state[3:]) with ordinality as part (season, place)
      order by part.place
    );
  -- In the unit of the series: a relative error is one of a mean, value / (1 + error).
  errors := array(
    select case
      when shape[4] = 1 then entry.value - entry.value / nullif(1 + entry.error, 0)
      else entry.error * v_scale
    end
    from unnest(series, v_filtered.errors) with ordinality as entry (value, error, place)
    order by entry.place
  );
end;
$$;

comment on function ml._ets_best(float8[], int[], float8[]) is $$
Returns the exponential smoothing of a series with the least corrected Akaike criterion among some shapes.
`shapes`: one per line, as in ml._ets_filter, the simple ones first; `fixed`: alpha, beta, gamma, phi, level and slope
where they are not fitted. `errors` are in the unit of the series; `squares` and `residual_variance` are of the errors
of the model.
$$;

grant execute on function
  ml._ets_start(float8[], int[]),
  ml._ets_fit(float8[], int[], float8[], float8[], int, float8),
  ml._ets_criterion(float8, int, int[], float8),
  ml._ets_point(float8[], int, int[], float8, float8),
  ml._ets_best(float8[], int[], float8[])
to insights_analyst, insights_admin, insights_worker;
