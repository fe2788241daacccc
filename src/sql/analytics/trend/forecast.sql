create or replace function analytics.forecast(
  event_name text default null,
  bucket text default 'day',
  steps_ahead int default 14,
  since timestamptz default null,
  until timestamptz default now(),
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 5,
  season int default null,
  confidence float8 default 0.95
)
returns setof analytics.forecast_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_season constant int := coalesce(
    forecast.season, case forecast.bucket when 'hour' then 168 when 'day' then 7 else 1 end
  );
  v_since timestamptz;
  v_points int;
  v_rows analytics.figure_list[];
begin
  perform common.check_count('steps_ahead', forecast.steps_ahead, 1, 366);
  perform common.check_count('season', v_season, 1, 1000);
  -- Before times are computed with it.
  perform common.check_zone(forecast.zone);
  v_since := coalesce(
    forecast.since,
    common.add_buckets(
      forecast.until, forecast.bucket, case forecast.bucket when 'hour' then -504 when 'day' then -182 else -60 end,
      forecast.zone
    )
  );

  -- From the first event on.
  with point as (
    select
      listed.*,
      sum(listed.figure) over (
        partition by listed.breakdown_value, listed.is_other
        order by listed.bucket_start
      ) > 0 as has_begun
    from analytics.trend_figures(
      forecast.event_name, forecast.bucket, v_since, forecast.until, forecast.zone, forecast.measure, forecast.item,
      forecast.among, forecast.breakdown, forecast.top_values
    ) as listed
  ),

  series as (
    select
      point.breakdown_value, point.is_other, max(point.bucket_end) as ends_at,
      array_agg(point.figure order by point.bucket_start) as figures
    from point
    where point.has_begun
    group by point.breakdown_value, point.is_other
    having count(*) >= 4
  )

  select
    sum(cardinality(series.figures)),
    array_agg(
      row(series.breakdown_value, series.is_other, series.ends_at, series.figures)::analytics.figure_list
      order by series.is_other, series.breakdown_value is null, series.breakdown_value
    )
  into v_points, v_rows
  from series;

  if v_points > 5000 then
    perform common.refuse(
      'CF008', format('%s series have %s buckets', cardinality(v_rows), v_points),
      'Forecasts are computed from 5000 buckets at most. Give a later since, fewer top_values or longer buckets.'
    );
  end if;

  return query
  select
    common.add_buckets(listed.ends_at, forecast.bucket, ahead.step_ahead - 1, forecast.zone),
    listed.breakdown_value, listed.is_other, ahead.step_ahead,
    greatest(ahead.forecast_value, 0), greatest(ahead.lower, 0), greatest(ahead.upper, 0),
    ahead.naive_value, greatest(ahead.naive_lower, 0), ahead.naive_upper,
    ahead.method, ahead.mase, ahead.holdout_mae, ahead.holdout_naive_mae, cardinality(listed.figures), forecast.zone
  from unnest(v_rows) with ordinality as listed (breakdown_value, is_other, ends_at, figures, position)
  cross join lateral ml.forecast_series(
    series => listed.figures,
    steps_ahead => forecast.steps_ahead,
    -- A cycle that the figures do not cover is not known.
    seasonal_period => case when cardinality(listed.figures) > v_season then v_season else 1 end,
    confidence => forecast.confidence
  ) as ahead
  order by listed.position, ahead.step_ahead;
end;
$$;

comment on function analytics.forecast(
  text, text, int, timestamptz, timestamptz, text, text, text, text, text, int, int, float8
) is $$
Returns the expected figures of the next buckets of a trend, with prediction intervals, beside the naive forecast.
The model is exponential smoothing with trend and season (`ml.forecast_series`), from the complete buckets of the period
since the first event; a series of fewer than four has no rows. The naive forecast is the figure one season ago.
`holdout_mae` and `holdout_naive_mae` are the mean absolute errors of both on the last buckets, with models that did not
know them; where the naive one is smaller, the forecast is the naive one. `since`: null for the last 504 hours, 182
days, or 60 other buckets. `season`: number of buckets; null: 168 hours or 7 days, and 1 for other buckets. `measure`:
`events`, `people`, or `engaged` time in seconds. The other arguments are those of `analytics.trend`, with whose
figures, and whose rules for analysts, it is computed. A fit of 182 days or 504 hours takes about 0.4 s.
Errors: as `analytics.trend`, CF001 for another invalid argument, CF008 for more than 5,000 buckets of all series.
$$;

grant execute on function analytics.forecast(
  text, text, int, timestamptz, timestamptz, text, text, text, text, text, int, int, float8
) to insights_analyst, insights_admin, insights_worker;
