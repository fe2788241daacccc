create or replace function ml.forecast_series(
  series float8[],
  steps_ahead int,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  confidence float8 default 0.95
)
returns setof ml.forecast_point
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- The model is JSON, with all digits of its numbers.
set extra_float_digits to 1
as $$
declare
  v_fixed constant float8[] := ml._ets_fixed(
    forecast_series.seasonal_period, forecast_series.trend, forecast_series.seasonal, null, null
  );
  v_fit record;
  v_naive record;
begin
  perform common.check_count('steps_ahead', forecast_series.steps_ahead, 1, 10000);
  if coalesce(forecast_series.confidence > 0 and forecast_series.confidence < 1, false) is false then
    perform common.refuse(
      'CF001', format('confidence is %s', coalesce(forecast_series.confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.'
    );
  end if;
  if cardinality(forecast_series.series) > 10000 then
    perform common.refuse(
      'CF008', format('the series has %s values', cardinality(forecast_series.series)), 'Give at most 10000.'
    );
  end if;
  if array_ndims(forecast_series.series) > 1
    or exists (
      select
      from unnest(forecast_series.series) as value
      where value = 'nan' or abs(value) > 1e100
    )
  then
    perform common.refuse(
      'CF001', 'the series has values that are not numbers up to 1e100, or several dimensions',
      'Give one list of numbers. Null is a gap.'
    );
  end if;
  v_fit := ml._ets_model(series, seasonal_period, trend, seasonal, v_fixed, null);
  if v_fit.failure is not null then
    perform common.refuse(
      case when v_fit.failure ~ 'too few' then 'CF004' else 'CF001' end,
      format('the series has no forecast: %s', v_fit.failure),
      'Give at least four values, more than one cycle of a season, and two cycles where a season is requested.'
    );
  end if;
  v_naive := ml._naive_cycle(series, seasonal_period);
  return query
  select
    ahead.step, ahead.forecast, ahead.lower, ahead.upper,
    naive.value, naive.value - quantile.z * naive.deviation, naive.value + quantile.z * naive.deviation,
    v_fit.method, v_fit.mase, v_fit.holdout_mae, v_fit.holdout_naive_mae
  from ml._ets_interval(v_fit.model, forecast_series.steps_ahead, forecast_series.confidence) as ahead
  cross join (select ml.normal_quantile((1 + forecast_series.confidence) / 2) as z) as quantile
  cross join lateral (
    select
      v_naive.cycle[place] as value,
      v_naive.deviation * sqrt(v_naive.ages[place] + (ahead.step - 1) / seasonal_period) as deviation
    from (select (ahead.step - 1) % seasonal_period + 1 as place) as position
  ) as naive
  order by ahead.step;
end;
$$;

comment on function ml.forecast_series(float8[], int, int, text, text, float8) is $$
Returns the next values of a series by exponential smoothing, with prediction intervals, beside the seasonal-naive ones.
The model is that of `ml.ets_train`, which is the naive one where that is better on held-out values; the intervals are
those of `ml.ets_forecast` and `ml.seasonal_naive_forecast`.
`series`: values in the order of time, one per step; null is a gap. `seasonal_period`: steps in a cycle, such as 7 for
days with a weekly cycle. `confidence`: probability that an interval contains the value.
Errors: CF001 for an invalid argument, CF004 for too few values, CF008 for more than 10,000.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008.
$$;

grant execute on function ml.forecast_series(float8[], int, int, text, text, float8)
to insights_analyst, insights_admin, insights_worker;
