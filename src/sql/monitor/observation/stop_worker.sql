create or replace function monitor.stop_worker(worker text)
returns void
language sql
volatile
-- A definer: workers write monitor.worker through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.worker
  set seen_at = clock.time, stopped_at = clock.time
  from (select clock_timestamp() as time offset 0) as clock
  where worker.worker = stop_worker.worker
$$;

comment on function monitor.stop_worker(text) is $$
@behavior -*
Records that a worker was stopped as intended; one without this record was killed.
$$;

grant execute on function monitor.stop_worker(text) to insights_worker;
