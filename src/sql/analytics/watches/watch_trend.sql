create or replace function analytics.watch_trend(
  name text,
  event_name text default null,
  bucket text default 'day',
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  direction text default 'both',
  season int default null,
  history int default 28,
  threshold float8 default 3.5
)
returns analytics.trend_watch
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_most constant int := 100;
  v_watch analytics.trend_watch;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(watch_trend.name ~ '^[a-z][a-z0-9_-]{0,62}$', false) is false then
    perform common.refuse(
      'CF001', format('name is "%s"', coalesce(left(watch_trend.name, 100), 'null')),
      'Use 1 to 63 lower-case letters, digits, "_" and "-", with a letter at the beginning, such as "daily-views".'
    );
  end if;
  if watch_trend.bucket is null or watch_trend.bucket not in ('hour', 'day', 'week') then
    perform common.refuse(
      'CF001', format('bucket is "%s"', coalesce(left(watch_trend.bucket, 100), 'null')), 'Use hour, day or week.'
    );
  end if;
  if watch_trend.direction is null or watch_trend.direction not in ('both', 'above', 'below') then
    perform common.refuse(
      'CF001', format('direction is "%s"', coalesce(left(watch_trend.direction, 100), 'null')),
      'Use both, above or below.'
    );
  end if;
  if not exists (select from analytics.trend_watch where trend_watch.name = watch_trend.name)
    and (select count(*) from analytics.trend_watch) >= v_most
  then
    perform common.refuse(
      'CF008', format('%s trends are watched', v_most),
      'Remove one: select analytics.unwatch_trend(name) from analytics.trend_watch.'
    );
  end if;

  -- Checks the other arguments.
  perform
  from analytics.anomalies(
    event_name => watch_trend.event_name,
    bucket => watch_trend.bucket,
    since => now() - interval '1 hour',
    zone => watch_trend.zone,
    measure => watch_trend.measure,
    item => watch_trend.item,
    among => watch_trend.among,
    season => watch_trend.season,
    history => watch_trend.history,
    threshold => watch_trend.threshold
  );

  delete from analytics.trend_watch
  where trend_watch.name = watch_trend.name;
  insert into analytics.trend_watch (
    name, event_name, bucket, zone, measure, item, among, direction, season, history, threshold
  )
  values (
    watch_trend.name, watch_trend.event_name, watch_trend.bucket, watch_trend.zone, watch_trend.measure,
    watch_trend.item, watch_trend.among, watch_trend.direction, watch_trend.season, watch_trend.history,
    watch_trend.threshold
  )
  returning * into v_watch;
  return v_watch;
end;
$$;

comment on function analytics.watch_trend(
  text, text, text, text, text, text, text, text, int, int, float8
) is $$
Watches a trend: each hour its latest complete buckets are compared with what its past predicts, and an anomaly alerts.
The task `find_anomalies` stores what `analytics.anomalies` finds in `analytics.trend_anomaly`, and `monitor.health`
reports the latest bucket, so that `monitor.alert` and its channels have it. A watch of the same name is replaced.
`bucket`: `hour`, `day` or `week`; `direction`: `both`, `above` or `below` the expected figure. The other arguments are
those of `analytics.anomalies`. Figures are exact, about all people: only admins watch trends, and the alerts, which
others read, have the score and no figure. At most 100 trends are watched.
Errors: CF001 for an invalid argument, CF008 for too many, and those of `analytics.trend`.
$$;

grant execute on function analytics.watch_trend(text, text, text, text, text, text, text, text, int, int, float8)
to insights_admin;
