create or replace function monitor._probe_workers()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, null::jsonb, measured.value
  from (
    select
      count(*) filter (
        where worker.stopped_at is null and worker.seen_at > clock_timestamp() - interval '2 minutes'
      ) as running,
      extract(epoch from clock_timestamp() - max(worker.seen_at)) as silence
    from monitor.worker
    -- Not those of a clock that was ahead.
    where worker.seen_at <= clock_timestamp() + interval '1 minute'
  ) as state
  cross join lateral (
    values
      ('insights_workers', state.running::float8),
      ('insights_worker_silence_seconds', state.silence::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_workers() is $$
Measures the workers: how many sent a heartbeat within two minutes, and the time since the last one.
$$;
