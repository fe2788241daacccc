create or replace function monitor.metrics()
returns setof monitor.metric_value
language sql
stable
-- No definer: administrators and workers may read the tables.
set search_path to pg_catalog, pg_temp
rows 500
as $$
  select series.metric, metric.kind, metric.unit, series.labels, series.value, series.measured_at, metric.description
  from monitor.series
  join monitor.metric using (metric)
  join monitor.probe using (probe)
  join monitor.probe_state as state using (probe)
  -- Only what the last run has measured: the table, task or model of another series does not exist any more.
  where series.measured_at = state.measured_at
    -- Values that a failing probe or a stopped worker left behind are not those of the present.
    and series.measured_at > clock_timestamp() - probe.every * 2 - interval '5 minutes'
  union all
  select metric.metric, metric.kind, metric.unit, '{}', extract(epoch from clock_timestamp() - sample.sampled_at),
    clock_timestamp(), metric.description
  from monitor.metric
  cross join (
    select max(sampled_at) as sampled_at
    from monitor.sample
    -- Without those of a clock that was ahead.
    where sampled_at <= clock_timestamp()
  ) as sample
  where metric.metric = 'insights_observation_age_seconds'
    and sample.sampled_at is not null
  order by 1, 4
$$;

comment on function monitor.metrics() is $$
Returns the latest value of each series.
A series is left out when the last run of its probe did not measure it, and when its latest value is older than two
intervals of its probe and five minutes.
`insights_observation_age_seconds` is measured by this function: it rises while no worker runs.
$$;

grant execute on function monitor.metrics() to insights_admin, insights_worker;
