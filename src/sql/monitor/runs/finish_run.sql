create or replace function monitor.finish_run(run_id bigint, row_count bigint default null, detail jsonb default null)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'ok', finished_at = clock_timestamp(), row_count = finish_run.row_count, detail = finish_run.detail
  where run.run_id = finish_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.finish_run(bigint, bigint, jsonb) is $$
@behavior -mutationField
Marks a run as finished and stores the number of rows that it wrote or removed.
A run that has already ended is not changed.
$$;

grant execute on function monitor.finish_run(bigint, bigint, jsonb) to insights_worker, insights_admin;
