create or replace function ml._ets_best(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[]
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := (select count(value) from unnest(series) as value);
  v_candidate record;
  v_fit record;
  v_state record;
  v_shape int[];
  v_unknowns int;
  v_criterion float8;
  v_best jsonb;
  v_best_criterion float8;
begin
  for v_candidate in
    select trend_shape, season_shape
    from unnest(
      case trend
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'damped' then array[2]
        else array[0, 1, 2]
      end
    ) as trend_shape
    cross join unnest(
      case seasonal when 'none' then array[0] when 'auto' then array[0, 1] else array[1] end
    ) as season_shape
    where season_shape = 0 or (period > 1 and cardinality(series) >= 2 * period)
    order by season_shape, trend_shape
  loop
    v_shape := array[period, v_candidate.trend_shape, v_candidate.season_shape];
    v_fit := ml._series_fit('ets', series, v_shape, array[-1, -2, -2, 1], fixed, 60);
    -- Parameters, initial state and the variance.
    v_unknowns := 2 + 1
      + case v_candidate.trend_shape when 0 then 0 when 1 then 2 else 3 end
      + v_candidate.season_shape * period;
    v_criterion := v_size * ln(greatest(v_fit.squares / v_size, 1e-300)) + case
      when v_size > v_unknowns + 1 then 2.0 * v_unknowns * v_size / (v_size - v_unknowns - 1)
      else 1e6 * v_unknowns
    end;
    if v_best is null or v_criterion < v_best_criterion then
      v_state := ml._ets_filter(series, v_shape, v_fit.parameters);
      v_best_criterion := v_criterion;
      v_best := jsonb_build_object(
        'trend', (array['none', 'additive', 'damped'])[v_candidate.trend_shape + 1],
        'seasonal', v_candidate.season_shape,
        'alpha', v_fit.parameters[1],
        'beta', case when v_candidate.trend_shape > 0 then v_fit.parameters[2] end,
        'gamma', case when v_candidate.season_shape = 1 then v_fit.parameters[3] end,
        'phi', case when v_candidate.trend_shape = 2 then v_fit.parameters[4] end,
        'level', v_state.level,
        'slope', case when v_candidate.trend_shape > 0 then v_state.slope end,
        'seasons', case when v_candidate.season_shape = 1 then to_jsonb(v_state.seasons) end,
        'squares', v_fit.squares,
        'aicc', v_criterion,
        'residual_variance',
          v_fit.squares / greatest(v_size - (v_unknowns - 2 - v_candidate.season_shape * period), 1),
        'num_iterations', v_fit.iterations
      );
    end if;
  end loop;
  return v_best;
end;
$$;

comment on function ml._ets_best(float8[], int, text, text, float8[]) is $$
Returns the smoothing model of a series with the least corrected Akaike criterion among the requested shapes, as JSON.
$$;

create or replace function ml._ets_mean_error(
  model jsonb,
  period int,
  fitted float8[],
  actual float8[],
  logarithmic boolean
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select avg(abs(
    case
      when _ets_mean_error.logarithmic then entry.actual - exp(entry.fitted - entry.residual)
      else entry.residual
    end
  ))
  from unnest(
    (
      ml._ets_filter(
        _ets_mean_error.fitted,
        array[
          period,
          array_position(array['none', 'additive', 'damped'], model ->> 'trend') - 1,
          (model ->> 'seasonal')::int
        ],
        array[
          (model ->> 'alpha')::float8,
          (model ->> 'beta')::float8,
          (model ->> 'gamma')::float8,
          (model ->> 'phi')::float8
        ]
      )
    ).residuals,
    _ets_mean_error.fitted,
    _ets_mean_error.actual
  ) as entry (residual, fitted, actual);
end;

comment on function ml._ets_mean_error(jsonb, int, float8[], float8[], boolean) is $$
Returns the mean absolute one-step error of a smoothing model, in the unit of `actual`.
`fitted` is the series that was smoothed: the logarithm of `actual` when `logarithmic`.
$$;

create or replace function ml._ets_holdout(
  fitted float8[],
  actual float8[],
  period int,
  trend text,
  seasonal text,
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
  v_known constant int := cardinality(fitted) - holdout;
  v_model constant jsonb := ml._ets_best(fitted[1:v_known], period, trend, seasonal, fixed);
begin
  select
    avg(abs(unseen.value - case when seasonal = 'multiplicative' then exp(ahead.forecast) else ahead.forecast end)),
    avg(abs(unseen.value - actual[v_known - period + 1 + (unseen.place - 1)::int % period]))
  into mae, naive_mae
  from unnest(actual[v_known + 1:]) with ordinality as unseen (value, place)
  join ml._ets_ahead(v_model, holdout) as ahead on ahead.step = unseen.place;
end;
$$;

comment on function ml._ets_holdout(float8[], float8[], int, text, text, float8[], int) is $$
Returns the mean absolute errors of a smoothing model and of the seasonal-naive forecast on held-out rows.
These are the last `holdout` rows; the model is trained on the rows before.
$$;

create or replace function ml._ets_model(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out model jsonb,
  out method text,
  out size int,
  out mae float8,
  out mase float8,
  out holdout_rows int,
  out holdout_mae float8,
  out holdout_naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log constant boolean := seasonal = 'multiplicative';
  v_fitted float8[] := series;
begin
  size := cardinality(series) - (select count(*) from unnest(series) as value where value is null);
  if v_log then
    if exists (select from unnest(series) as value where value <= 0) then
      perform common.refuse('CF001', 'a multiplicative season needs values above 0', 'Choose additive.');
    end if;
    v_fitted := array(
      select ln(entry.value)
      from unnest(series) with ordinality as entry (value, place)
      order by entry.place
    );
  end if;
  model := ml._ets_best(v_fitted, period, trend, seasonal, fixed) || jsonb_build_object('log', v_log);
  method := format(
    'ETS(A,%s,%s)%s',
    case model ->> 'trend' when 'none' then 'N' when 'additive' then 'A' else 'Ad' end,
    case (model ->> 'seasonal')::int when 0 then 'N' else 'A' end,
    case when v_log then ' of the logarithm' else '' end
  );
  mae := ml._ets_mean_error(model, period, v_fitted, series, v_log);
  -- The mean absolute error of the seasonal-naive forecast on the same rows: the scale of MASE.
  mase := mae / nullif((
    select avg(abs(pair.value - pair.before))
    from (
      select entry.value, lag(entry.value, period) over (order by entry.place) as before
      from unnest(series) with ordinality as entry (value, place)
    ) as pair
  ), 0);

  holdout_rows := coalesce(holdout, case
    when size >= greatest(3 * period, 10) + period then greatest(period, size / 10)
    else 0
  end);
  holdout_rows := case when size - holdout_rows >= greatest(4, 2 * period) then nullif(holdout_rows, 0) end;
  if holdout_rows > 0 then
    select compared.mae, compared.naive_mae
    into holdout_mae, holdout_naive_mae
    from ml._ets_holdout(v_fitted, series, period, trend, seasonal, fixed, holdout_rows) as compared;
  end if;
end;
$$;

comment on function ml._ets_model(float8[], int, text, text, float8[], int) is $$
Returns the smoothing model of a series, with its errors and those of the seasonal-naive forecast.
The arguments and results are those of `ml.ets_train`, `fixed` the result of `ml._ets_fixed`; `size`: number of values.
$$;

grant execute on function
  ml._ets_best(float8[], int, text, text, float8[]),
  ml._ets_mean_error(jsonb, int, float8[], float8[], boolean),
  ml._ets_holdout(float8[], float8[], int, text, text, float8[], int),
  ml._ets_model(float8[], int, text, text, float8[], int)
to insights_analyst, insights_admin, insights_worker;
