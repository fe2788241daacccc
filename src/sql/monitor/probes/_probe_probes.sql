create or replace function monitor._probe_probes()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('probe', state.probe), measured.value
  from monitor.probe_state as state
  cross join lateral (
    values
      ('insights_probe_failures', state.failures::float8),
      ('insights_probe_seconds', extract(epoch from state.duration)::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_probes() is $$
Measures the last run of each probe.
$$;
