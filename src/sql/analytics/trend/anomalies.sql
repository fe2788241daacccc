create or replace function analytics.anomalies(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10,
  season int default null,
  history int default 28,
  threshold float8 default 3.5
)
returns setof analytics.anomaly
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  -- 1.4826 median absolute deviations are one standard deviation of a normal distribution.
  v_scale constant float8 := 1.482602218505602;
  v_season constant int := coalesce(
    anomalies.season, case anomalies.bucket when 'hour' then 168 when 'day' then 7 else 1 end
  );
begin
  perform common.check_count('season', v_season, 1, 1000);
  perform common.check_count('history', anomalies.history, 10, 1000);
  if threshold is null or not threshold > 0 or threshold > 1000 then
    perform common.refuse(
      'CF001',
      format('threshold is %s', coalesce(threshold::text, 'null')),
      'Give a number of standard deviations, above 0 and up to 1000. The usual one is 3.5.'
    );
  end if;
  -- Before times are computed with it.
  perform common.check_zone(anomalies.zone);
  return query
  with point as (
    select
      listed.breakdown_value, listed.is_other, listed.bucket_start, listed.figure,
      listed.bucket_end > anomalies.since as is_in_period
    from analytics.trend_figures(
      event_name => anomalies.event_name,
      bucket => anomalies.bucket,
      -- The buckets before, which the first ones are compared with.
      since => common.add_buckets(
        anomalies.since, anomalies.bucket, -(anomalies.history + 3 * v_season), anomalies.zone
      ),
      until => anomalies.until,
      zone => anomalies.zone,
      measure => anomalies.measure,
      item => anomalies.item,
      among => anomalies.among,
      breakdown => anomalies.breakdown,
      top_values => anomalies.top_values
    ) as listed
  ),

  based as (
    select
      seasonal.*,
      (
        select percentile_cont(0.5) within group (order by earlier.figure)
        from unnest(array[seasonal.one_ago, seasonal.two_ago, seasonal.three_ago]) as earlier (figure)
      ) as base
    from (
      select
        point.*,
        lag(point.figure, v_season) over by_value as one_ago,
        lag(point.figure, 2 * v_season) over by_value as two_ago,
        lag(point.figure, 3 * v_season) over by_value as three_ago
      from point
      window by_value as (partition by point.breakdown_value, point.is_other order by point.bucket_start)
    ) as seasonal
    where seasonal.three_ago is not null
  ),

  residual as (
    select
      based.*,
      array_agg(based.figure - based.base) over (
        partition by based.breakdown_value, based.is_other
        order by based.bucket_start
        rows between anomalies.history preceding and 1 preceding
      ) as earlier
    from based
  ),

  scored as (
    select
      residual.bucket_start, residual.breakdown_value, residual.is_other, residual.figure,
      residual.base + middle.residual as expected,
      greatest(
        v_scale * spread.deviation,
        -- Counts vary at least as those of a Poisson distribution. The median of three has 0.4487 of their variance.
        case when anomalies.measure <> 'engaged' then sqrt(1.4487 * greatest(residual.base + middle.residual, 1)) end
      ) as deviation
    from residual
    cross join lateral (
      select percentile_cont(0.5) within group (order by listed.residual) as residual
      from unnest(residual.earlier) as listed (residual)
    ) as middle
    cross join lateral (
      select percentile_cont(0.5) within group (order by abs(listed.residual - middle.residual)) as deviation
      from unnest(residual.earlier) as listed (residual)
    ) as spread
    where residual.is_in_period
      and cardinality(residual.earlier) >= 10
  )

  select
    scored.bucket_start,
    scored.breakdown_value,
    scored.is_other,
    scored.figure,
    scored.expected,
    greatest(scored.expected - anomalies.threshold * scored.deviation, 0),
    scored.expected + anomalies.threshold * scored.deviation,
    (scored.figure - scored.expected) / nullif(scored.deviation, 0),
    coalesce(abs(scored.figure - scored.expected) > anomalies.threshold * scored.deviation, false),
    anomalies.zone
  from scored
  order by scored.is_other, scored.breakdown_value is null, scored.breakdown_value, scored.bucket_start;
end;
$$;

comment on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
) is $$
Returns a trend with the figures that are expected from its past, and the buckets that differ significantly from them.
A bucket is expected to have the median of the figures at the same place of the three seasons before it, plus the
median of the differences from such medians over the `history` buckets before it. It is an anomaly (`is_anomaly`) if
it differs from that by more than `threshold` deviations: 1.4826 times the median absolute deviation of these
differences, and for events and people at least that of the difference of Poisson counts from such a median. The score
is the modified z-score of B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers" (1993), whose threshold
is 3.5. Medians are not moved by one unusual bucket. There is one row per complete bucket that has 10 such differences
before it. `season`: number of buckets; null: 168 hours or 7 days, and 1 for other buckets. `measure`: `events`,
`people`, or `engaged` time in seconds. The other arguments are those of `analytics.trend`, with whose figures, and
whose rules for analysts, it is computed. Errors: as `analytics.trend`, CF001 for another measure, season, history or
threshold.
$$;

grant execute on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
)
to insights_analyst, insights_admin, insights_worker;
