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
Records the start of a task and returns the key of the run.
Commit before the task does its work, so that a terminated run leaves a record.
$$;

grant execute on function monitor.start_run(text) to insights_worker;
