create or replace function monitor._check_growth()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with size as (
    select
      series.value as bytes, setting.database_limit_bytes::float8 as most,
      (
        -- One sample of each of the last 14 days.
        select regr_slope(daily.bytes, extract(epoch from daily.sampled_at)::float8)
        from generate_series(0, 14) as day
        cross join lateral (
          select sample.sampled_at, sample.measured[series.series_id] as bytes
          from monitor.sample
          where sample.sampled_at > clock_timestamp() - make_interval(days => day + 1)
            and sample.sampled_at <= clock_timestamp() - make_interval(days => day)
          order by sample.sampled_at desc
          limit 1
        ) as daily
      ) as per_second
    from monitor.alert_setting as setting
    join monitor.series on series.metric = 'insights_database_bytes'
    where setting.database_limit_bytes is not null
  ),

  forecast as (
    select size.*,
      case when size.per_second > 0 then (size.most - size.bytes) / size.per_second / 86400 end as days
    from size
  )

  select monitor._finding(
    'growth', '',
    case when forecast.bytes >= 0.95 * forecast.most or forecast.days < 3 then 'critical' else 'warning' end,
    format('the database has %s of %s%s', pg_size_pretty(forecast.bytes::numeric),
      pg_size_pretty(forecast.most::numeric),
      case when forecast.days between 0 and 1000
        then format(', and reaches it in %s days', floor(forecast.days)) end),
    'Extend the disk and monitor.alert_setting.database_limit_bytes, or keep less: insights retention. See the largest '
      || 'tables: select relid::regclass, pg_size_pretty(pg_total_relation_size(relid)) from pg_stat_user_tables '
      || 'order by pg_total_relation_size(relid) desc limit 10',
    forecast.bytes, forecast.most
  )
  from forecast
  where forecast.bytes >= 0.85 * forecast.most
    or forecast.days < 30
$$;

comment on function monitor._check_growth() is $$
Finds that the database has almost reached its limit (`monitor.alert_setting.database_limit_bytes`).
That is 85 percent of it, or less than 30 days at the growth of the last two weeks. Nothing without this setting.
$$;
