create or replace function ml._ets_shapes(
  period int,
  trend text,
  seasonal text,
  positive boolean,
  cycles int
)
returns int[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(
    array[period, shape.trend, shape.season, shape.error]
    order by shape.season, shape.trend, shape.error
  )
  from (
    select trend_shape as trend, season_shape as season, error_shape as error
    from unnest(
      case _ets_shapes.trend
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'damped' then array[2]
        else array[0, 1, 2]
      end
    ) as trend_shape
    cross join unnest(
      case _ets_shapes.seasonal
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'multiplicative' then array[2]
        else array[0, 1, 2]
      end
    ) as season_shape
    cross join unnest(array[0, 1]) as error_shape
    -- Additive errors of multiplicative seasons are not stable.
    where (season_shape = 0 or (period > 1 and cycles >= 2))
      and (error_shape = 0 or positive)
      and (season_shape < 2 or error_shape = 1)
  ) as shape;
end;

comment on function ml._ets_shapes(int, text, text, boolean, int) is $$
Returns the shapes of exponential smoothing among which one is chosen, those of ets() of R.
One per line, the simple ones first. Multiplicative ones need a series whose values are all above 0 (`positive`),
seasons at least two `cycles`.
$$;

create or replace function ml._ets_chosen(
  series float8[],
  shapes int[],
  fixed float8[],
  out model jsonb,
  out shape int[],
  out mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit constant record := ml._ets_best(series, shapes, fixed);
  -- Counts are not below 0; neither is what only has a relative error.
  v_least constant float8 := case
    when v_fit.shape[4] = 1
      or not exists (select from unnest(series) as value where value < 0 or value <> floor(value))
      then 0
  end;
begin
  shape := v_fit.shape;
  mae := (select avg(abs(error)) from unnest(v_fit.errors) as error);
  model := jsonb_build_object(
    'error', (array['additive', 'multiplicative'])[shape[4] + 1],
    'trend', (array['none', 'additive', 'damped'])[shape[2] + 1],
    'seasonal', (array['none', 'additive', 'multiplicative'])[shape[3] + 1],
    'alpha', v_fit.parameters[1],
    'beta', case when shape[2] > 0 then v_fit.parameters[2] end,
    'gamma', case when shape[3] > 0 then v_fit.parameters[3] end,
    'phi', case when shape[2] = 2 then v_fit.parameters[4] end,
    'level', v_fit.state[1],
    'slope', case when shape[2] > 0 then v_fit.state[2] end,
    'seasons', case when shape[3] > 0 then to_jsonb(v_fit.state[3:]) end,
    'least', v_least,
    'aicc', v_fit.criterion,
    'squares', v_fit.squares,
    'residual_variance', v_fit.residual_variance,
    'num_iterations', v_fit.iterations
  );
end;
$$;

comment on function ml._ets_chosen(float8[], int[], float8[]) is $$
Returns the best of some shapes as the JSON from which ml._ets_ahead forecasts, and its mean absolute one-step error.
$$;

create or replace function ml._ets_holdout(
  series float8[],
  shape int[],
  fixed float8[],
  holdout int,
  out mae float8,
  out naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant int := cardinality(series) - holdout;
  v_period constant int := greatest(shape[1], 1);
  v_model constant jsonb := (ml._ets_chosen(series[1:v_known], array[shape], fixed)).model;
  v_cycle constant float8[] := (ml._naive_cycle(series[1:v_known], v_period)).cycle;
begin
  select
    avg(abs(unseen.value - ahead.forecast)),
    avg(abs(unseen.value - v_cycle[(unseen.place - 1)::int % v_period + 1]))
  into mae, naive_mae
  from unnest(series[v_known + 1:]) with ordinality as unseen (value, place)
  join ml._ets_ahead(v_model, holdout) as ahead on ahead.step = unseen.place;
end;
$$;

comment on function ml._ets_holdout(float8[], int[], float8[], int) is $$
Returns the mean absolute errors of a shape and of the seasonal-naive forecast on held-out rows.
These are the last `holdout` rows; the model is fitted to the rows before.
$$;

create or replace function ml._ets_model(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out failure text,
  out model jsonb,
  out method text,
  out size int,
  out mae float8,
  out mase float8,
  out holdout_rows int,
  out holdout_mae float8,
  out holdout_naive_mae float8,
  out cycle float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_lowest float8;
  v_highest float8;
  v_fit record;
  v_naive record;
  v_naive_mae float8;
begin
  select count(value), min(value), max(value) into size, v_lowest, v_highest from unnest(series) as value;
  failure := case
    when size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * period end) then
      format('%s values are too few for a forecast', size)
    when cardinality(series) <= period then
      format('%s values are too few for a cycle of %s', size, period)
    when greatest(abs(v_lowest), abs(v_highest)) between 1e-320 and 1e-100 then 'its values are within 1e-100 of 0'
    when seasonal = 'multiplicative' and v_lowest <= 0 then
      'a multiplicative season needs values above 0; choose additive'
  end;
  if failure is not null then
    return;
  end if;

  v_fit := ml._ets_chosen(
    series,
    ml._ets_shapes(period, trend, seasonal, v_lowest > 1e-100, cardinality(series) / period),
    fixed
  );
  model := v_fit.model;
  method := format(
    'ETS(%s,%s,%s)',
    (array['A', 'M'])[v_fit.shape[4] + 1],
    (array['N', 'A', 'Ad'])[v_fit.shape[2] + 1],
    (array['N', 'A', 'M'])[v_fit.shape[3] + 1]
  );
  mae := v_fit.mae;
  v_naive := ml._naive_cycle(series, period);
  cycle := v_naive.cycle;
  -- The mean absolute error of the seasonal-naive forecast on the same rows: the scale of MASE.
  select avg(abs(pair.value - pair.last))
  into v_naive_mae
  from (
    select entry.value, lag(entry.value, _ets_model.period) over (order by entry.place) as last
    from unnest(series) with ordinality as entry (value, place)
  ) as pair;

  holdout_rows := coalesce(holdout, case
    when size >= greatest(3 * period, 10) + period then greatest(period, size / 10)
    else 0
  end);
  holdout_rows := case when size - holdout_rows >= greatest(4, 2 * period) then nullif(holdout_rows, 0) end;
  if holdout_rows > 0 then
    select compared.mae, compared.naive_mae
    into holdout_mae, holdout_naive_mae
    from ml._ets_holdout(series, v_fit.shape, fixed, holdout_rows) as compared;
  end if;
  -- Where the choice is free, the naive forecast is one of the choices.
  if holdout_naive_mae < holdout_mae and trend = 'auto' and seasonal = 'auto' and num_nonnulls(variadic fixed) = 0 then
    method := case when period > 1 then 'seasonal naive' else 'naive' end;
    mae := v_naive_mae;
    model := jsonb_build_object(
      'error', 'additive',
      'trend', 'none',
      'seasonal', 'additive',
      'seasons', to_jsonb(v_naive.cycle),
      'ages', to_jsonb(v_naive.ages),
      'least', model -> 'least',
      'residual_variance', v_naive.deviation ^ 2
    );
  end if;
  mase := mae / nullif(v_naive_mae, 0);
end;
$$;

comment on function ml._ets_model(float8[], int, text, text, float8[], int) is $$
Returns the smoothing model of a series, with its errors and those of the seasonal-naive forecast.
The arguments and results are those of `ml.ets_train`, `fixed` the result of `ml._ets_fixed`; `size`: number of values;
`cycle`: the seasonal-naive forecast of the next cycle; `failure`: why the series has no model.
$$;

grant execute on function
  ml._ets_shapes(int, text, text, boolean, int),
  ml._ets_chosen(float8[], int[], float8[]),
  ml._ets_holdout(float8[], int[], float8[], int),
  ml._ets_model(float8[], int, text, text, float8[], int)
to insights_analyst, insights_admin, insights_worker;
