create or replace function monitor.start_run(task text)
returns bigint
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  insert into monitor.run (task) values (start_run.task) returning run_id;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Notes that a task begins; returns the key of its run. Commit before the work begins, so that a killed run leaves a trace.
$$;

grant execute on function monitor.start_run(text) to insights_worker;
