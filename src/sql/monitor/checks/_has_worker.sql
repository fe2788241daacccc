create or replace function monitor._has_worker()
returns boolean
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select exists (
    select
    from monitor.worker
    where worker.stopped_at is null
      and worker.seen_at > clock_timestamp() - interval '3 minutes'
      -- Not one of a clock that was ahead.
      and worker.seen_at <= clock_timestamp() + interval '1 minute'
  )
$$;

comment on function monitor._has_worker() is $$
Returns whether a worker has sent a heartbeat within three minutes.
$$;
