create or replace function monitor.fail_run(run_id bigint, error text)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'failed', finished_at = clock_timestamp(), error = left(fail_run.error, 10000)
  where run.run_id = fail_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.fail_run(bigint, text) is $$
@behavior -mutationField
Marks a run as failed and stores its error message, at most 10,000 characters of it.
A run that has already ended is not changed.
$$;

grant execute on function monitor.fail_run(bigint, text) to insights_worker, insights_admin;
