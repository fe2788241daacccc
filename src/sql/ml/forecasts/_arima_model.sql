create or replace function ml._arima_deviance(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select 0.5 * count(*) * ln(sum(entry.error * entry.error))
  from unnest(
    ml._arima_errors(
      _arima_deviance.series, _arima_deviance.orders, _arima_deviance.point, _arima_deviance.bounded
    )
  ) as entry (error)
  where abs(entry.error) > 1e-140;
end;

comment on function ml._arima_deviance(float8[], int[], float8[], boolean) is $$
Returns what the logarithm of the likelihood lacks, up to a constant; null where the model is not stationary.
$$;

create or replace function ml._arima_curvature(
  series float8[],
  orders int[],
  point float8[],
  bounded boolean,
  out deviance float8,
  out gradient float8[],
  out curvature float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(point);
  v_step constant float8 := 1e-4;
  v_sides float8[] := array[0, 0];
  v_try float8[];
  v_sum float8;
begin
  deviance := ml._arima_deviance(series, orders, point, bounded);
  gradient := array_fill(0::float8, array[v_count]);
  curvature := array_fill(0::float8, array[v_count, v_count]);
  for i in 1..v_count loop
    for v_side in 1..2 loop
      v_try := point;
      v_try[i] := point[i] + (2 * v_side - 3) * v_step;
      v_sides[v_side] := ml._arima_deviance(series, orders, v_try, bounded);
    end loop;
    gradient[i] := (v_sides[2] - v_sides[1]) / (2 * v_step);
    curvature[i][i] := (v_sides[1] + v_sides[2] - 2 * deviance) / v_step ^ 2;
    for j in 1..i - 1 loop
      v_sum := 0;
      for v_side in 1..2 loop
        for v_other in 1..2 loop
          v_try := point;
          v_try[i] := point[i] + (2 * v_side - 3) * v_step;
          v_try[j] := point[j] + (2 * v_other - 3) * v_step;
          v_sum := v_sum
            + case when v_side = v_other then 1 else -1 end * ml._arima_deviance(series, orders, v_try, bounded);
        end loop;
      end loop;
      curvature[i][j] := v_sum / (4 * v_step ^ 2);
      curvature[j][i] := curvature[i][j];
    end loop;
  end loop;
end;
$$;

comment on function ml._arima_curvature(float8[], int[], float8[], boolean) is $$
Returns the deviance of an ARIMA model with its first and second derivatives, by differences.
$$;

create or replace function ml._arima_refined(
  series float8[],
  orders int[],
  start float8[],
  max_iter int,
  out point float8[],
  out iterations int,
  out converged boolean
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near record;
  v_damped float8[];
  v_inverse float8[];
  v_damping float8 := 0;
  v_try float8[];
  v_step float8;
  v_promise float8;
begin
  point := start;
  iterations := 0;
  converged := false;
  v_near := ml._arima_curvature(series, orders, point, true);
  while iterations < max_iter and not converged loop
    iterations := iterations + 1;
    v_damped := v_near.curvature;
    for i in 1..cardinality(point) loop
      v_damped[i][i] := v_damped[i][i] + v_damping;
    end loop;
    v_inverse := (ml._spd_inverse(v_damped, 1e-14)).inverse;
    if v_inverse is not null then
      v_try := point;
      v_promise := 0;
      for i in 1..cardinality(point) loop
        v_step := 0;
        for j in 1..cardinality(point) loop
          v_step := v_step - v_inverse[i][j] * v_near.gradient[j];
        end loop;
        v_promise := v_promise - v_step * v_near.gradient[i];
        v_try[i] := point[i] + greatest(-2, least(2, v_step));
      end loop;
      -- By how much the step would raise the logarithm of the likelihood.
      converged := v_damping = 0 and v_promise < 1e-8;
      if ml._arima_deviance(series, orders, v_try, true) < v_near.deviance then
        point := v_try;
        v_damping := case when v_damping > 0.01 then v_damping / 10 else 0 end;
        if not converged then
          v_near := ml._arima_curvature(series, orders, point, true);
        end if;
        continue;
      end if;
    end if;
    exit when v_damping > 1e9;
    v_damping := greatest(v_damping * 10, 0.01);
  end loop;
end;
$$;

comment on function ml._arima_refined(float8[], int[], float8[], int) is $$
Returns the estimate of an ARIMA model by damped Newton steps, from a point near it.
For likelihoods with a long ridge, on which least squares advance slowly.
$$;

create or replace function ml._arima_model(
  series float8[],
  orders int[],
  method text,
  max_iter int,
  out failure text,
  out parameters float8[],
  out standard_errors float8[],
  out residual_variance float8,
  out log_likelihood float8,
  out value_count int,
  out iterations int,
  out converged boolean,
  out unit_root text,
  out residuals float8[],
  out state float8[],
  out covariance float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_p constant int := orders[1];
  v_d constant int := orders[2];
  v_q constant int := orders[3];
  v_mean constant int := orders[4];
  v_unknowns constant int := v_p + v_q + v_mean;
  v_known constant int := (select count(value) from unnest(series) as value);
  v_gaps constant boolean := v_known < cardinality(series);
  v_exact constant int := case method when 'ml' then 1 else 0 end;
  v_largest constant float8 := (select max(abs(value)) from unnest(series) as value);
  v_values float8[] := series;
  v_levels float8[] := '{}';
  v_centre float8;
  v_scale float8;
  v_shape int[];
  v_fit record;
  v_best record;
  v_least float8;
  v_filtered record;
  v_errors float8[];
  v_start float8[];
  v_counted int;
  v_offset float8 := 0;
  v_arma int;
  v_inverse float8[];
begin
  converged := false;
  failure := case
    when v_known - v_d - case when v_exact = 1 then 0 else v_p end <= v_unknowns + 1 then
      format('%s values are too few for orders %s', v_known, orders[1:3])
    when v_gaps and v_exact = 0 then 'it has a gap, which the method css does not accept'
    when v_gaps and v_d > 1 and v_mean = 1 then
      'it has a gap, so that the mean of its second or higher differences is not estimated'
  end;
  if failure is not null then
    return;
  end if;

  -- Without gaps the series is differenced; with gaps the levels are part of the state.
  if not v_gaps then
    for v_round in 1..v_d loop
      v_levels := v_levels || v_values[cardinality(v_values)];
      v_values := array(
        select v_values[place + 1] - v_values[place]
        from generate_series(1, cardinality(v_values) - 1) as place
        order by place
      );
    end loop;
  end if;
  v_shape := array[v_p, case when v_gaps then v_d else 0 end, v_q, v_mean, v_exact];

  -- In units in which the changes are about 1, around 0.
  select avg(value), stddev_pop(value / v_largest) * v_largest
  into v_centre, v_scale
  from unnest(v_values) as value;
  if v_gaps and v_d > 0 then
    select stddev_pop((change.value - change.last) / v_largest) * v_largest
    into v_scale
    from (
      select entry.value, lag(entry.value) over (order by entry.place) as last
      from unnest(v_values) with ordinality as entry (value, place)
      where entry.value is not null
    ) as change;
  end if;
  if not coalesce(v_scale > 1e-13 * v_largest and v_scale > 1e-100, false) then
    failure := case when v_d = 0 then 'it is constant' else 'its differences are constant' end;
    return;
  end if;
  if v_mean = 0 and v_shape[2] = 0 then
    v_centre := 0;
    select sqrt(avg((value / v_scale) ^ 2)) * v_scale into v_scale from unnest(v_values) as value;
  end if;
  v_values := array(
    select (entry.value - v_centre) / v_scale
    from unnest(v_values) with ordinality as entry (value, place)
    order by entry.place
  );

  -- Nine starts; the best three are followed to the end.
  for v_start in
    select tried.start
    from (
      select candidate.start, ml._squares(ml._arima_errors(v_values, v_shape, candidate.start, true)) as squares
      from (
        select distinct array_cat(
          array_cat(
            case when v_p > 0 then ar.partial || array_fill(0::float8, array[v_p - 1]) else '{}' end,
            case when v_q > 0 then ma.partial || array_fill(0::float8, array[v_q - 1]) else '{}' end
          ),
          array_fill(0::float8, array[v_mean])
        ) as start
        from unnest(array[-0.6, 0.1, 0.8]::float8[]) as ar (partial)
        cross join unnest(array[-0.6, 0.1, 0.6]::float8[]) as ma (partial)
      ) as candidate
    ) as tried
    order by tried.squares
    limit 3
  loop
    v_fit := ml._series_fit(
      'arima', v_values, v_shape, v_start, null,
      array(select generate_series(1, v_unknowns)), v_p + v_q, least(max_iter, 40), 1e-10
    );
    if v_least is null or v_fit.squares < v_least then
      v_best := v_fit;
      v_least := v_fit.squares;
    end if;
  end loop;
  iterations := v_best.iterations;
  converged := v_best.converged;
  v_start := v_best.point;
  if not converged and iterations < max_iter then
    v_best := ml._arima_refined(v_values, v_shape, v_start, max_iter - iterations);
    iterations := iterations + v_best.iterations;
    converged := v_best.converged;
    v_start := v_best.point;
  end if;
  unit_root := nullif(concat_ws(', ',
    case when exists (select from unnest(v_start[1:v_p]) as free where abs(free) > 4.5) then 'ar' end,
    case when exists (select from unnest(v_start[v_p + 1:v_p + v_q]) as free where abs(free) > 4.5) then 'ma' end
  ), '');
  parameters := ml._arima_bounded(v_start[1:v_p], 1)
    || ml._arima_bounded(v_start[v_p + 1:v_p + v_q], -1)
    || v_start[v_p + v_q + 1:v_unknowns];

  v_errors := ml._arima_errors(v_values, v_shape, parameters, false);
  v_counted := (select count(error) from unnest(v_errors) as error);
  value_count := v_known - v_d;
  if unit_root is null then
    v_inverse := (
      ml._spd_inverse((ml._arima_curvature(v_values, v_shape, parameters, false)).curvature, 1e-12)
    ).inverse;
  end if;
  standard_errors := array(
    select sqrt(v_inverse[k][k] * v_counted / value_count)
    from generate_series(1, v_unknowns) as k
    order by k
  );
  log_likelihood := -0.5 * value_count * (ln(2 * pi() * ml._squares(v_errors) / v_counted) + 1)
    - value_count * ln(v_scale);

  -- The state after the last value is that of the exact filter for both methods.
  if v_mean = 1 then
    v_offset := parameters[v_unknowns];
  end if;
  v_filtered := ml._arima_filter(
    array(
      select entry.value - v_offset * case v_shape[2] when 0 then 1 else entry.place end
      from unnest(v_values) with ordinality as entry (value, place)
      order by entry.place
    ),
    parameters[1:v_p], parameters[v_p + 1:v_p + v_q], v_shape[2]
  );
  if v_exact = 1 then
    v_errors := array(
      select entry.residual / entry.deviation
      from unnest(v_filtered.residuals, v_filtered.deviations) with ordinality as entry (residual, deviation, place)
      order by entry.place
    );
  end if;
  residual_variance := ml._squares(v_errors) / v_counted * v_scale ^ 2;
  residuals := array(
    select entry.error * v_scale
    from unnest(v_errors) with ordinality as entry (error, place)
    order by entry.place
  );
  if v_mean = 1 then
    parameters[v_unknowns] := v_offset * v_scale + case v_shape[2] when 0 then v_centre else 0 end;
    standard_errors[v_unknowns] := standard_errors[v_unknowns] * v_scale;
  end if;
  state := array(
    select part.value * v_scale
    from unnest(v_filtered.state) with ordinality as part (value, place)
    order by part.place
  );
  covariance := v_filtered.covariance;
  v_arma := cardinality(state) - v_shape[2];
  if v_shape[2] > 0 then
    state[v_arma + 1] := state[v_arma + 1] + v_centre;
    if v_mean = 1 then
      state[v_arma + 1] := state[v_arma + 1] + parameters[v_unknowns] * (cardinality(series) + 1);
    end if;
  elsif v_d > 0 then
    v_start := array_fill(0::float8, array[v_arma + v_d, v_arma + v_d]);
    for i in 1..v_arma + v_d loop
      for j in 1..v_arma + v_d loop
        v_start[i][j] := covariance[case when i > v_arma then 1 else i end][case when j > v_arma then 1 else j end];
      end loop;
    end loop;
    covariance := v_start;
    for k in reverse v_d..1 loop
      state[v_arma + k] := v_levels[k] + case
        when k < v_d then state[v_arma + k + 1]
        else state[1] + case when v_mean = 1 then parameters[v_unknowns] else 0 end
      end;
    end loop;
  end if;
end;
$$;

comment on function ml._arima_model(float8[], int[], text, int) is $$
Returns the ARIMA model of a series, or the reason why it has none.
`orders`: p, d, q, with mean (0, 1); `method`: css, ml. `parameters` and `standard_errors`: ar, ma, mean. `residuals`
begin with the first value that has one, and, without gaps, after the first d. `state` and `covariance` are those of
ml._arima_ahead. `value_count`: number of values less d.
$$;

grant execute on function
  ml._arima_deviance(float8[], int[], float8[], boolean),
  ml._arima_curvature(float8[], int[], float8[], boolean),
  ml._arima_refined(float8[], int[], float8[], int),
  ml._arima_model(float8[], int[], text, int)
to insights_analyst, insights_admin, insights_worker;
