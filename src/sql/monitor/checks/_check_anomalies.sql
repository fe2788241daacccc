create or replace function monitor._check_anomalies()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'anomalies', watch.name, 'warning',
    -- Owners of alerts may not see exact figures: the score, without them.
    format(
      '%s of %s%s%s in the %s from %s (%s) %s far %s what the past predicts: score %s',
      case watch.measure when 'engaged' then 'engaged time' else watch.measure end,
      coalesce('"' || watch.event_name || '"', 'all activity'),
      coalesce(' in ' || watch.item, ''), coalesce(' among ' || watch.among, ''),
      watch.bucket, to_char(latest.bucket_start at time zone watch.zone, 'YYYY-MM-DD HH24:MI'), watch.zone,
      case watch.measure when 'engaged' then 'is' else 'are' end,
      case when latest.figure > latest.expected then 'above' else 'below' end, round(latest.score::numeric)
    ),
    format(
      'See the course of it: select * from analytics.anomalies(%s). If it is right, there is nothing to do: the alert '
        || 'ends with the next %s. Or: select analytics.unwatch_trend(%L)',
      concat_ws(
        ', ',
        'event_name => ' || quote_literal(watch.event_name),
        'bucket => ' || quote_literal(watch.bucket),
        'zone => ' || quote_literal(watch.zone),
        'measure => ' || quote_literal(watch.measure),
        'item => ' || quote_literal(watch.item),
        'among => ' || quote_literal(watch.among)
      ),
      watch.bucket, watch.name
    ),
    round(latest.score::numeric)::float8, watch.threshold
  )
  from analytics.trend_watch as watch
  cross join lateral (
    select found.bucket_start, found.figure, found.expected, found.score
    from analytics.trend_anomaly as found
    where found.name = watch.name
    order by found.bucket_start desc
    limit 1
  ) as latest
  -- The latest complete bucket, until the next one was compared.
  where latest.bucket_start >= common.add_buckets(watch.checked_at, watch.bucket, -2, watch.zone)
$$;

comment on function monitor._check_anomalies() is $$
Finds watched trends (`analytics.watch_trend`) whose latest complete bucket is an anomaly.
$$;
