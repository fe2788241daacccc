create or replace function monitor.start_run(task text)
returns bigint
language plpgsql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_run_id bigint;
begin
  if start_run.task is null then
    perform common.refuse('CF001', 'task is null', 'Give the name of the task.');
  end if;
  insert into monitor.run (task) values (start_run.task) returning run.run_id into v_run_id;
  return v_run_id;
end;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Records the start of a task and returns the key of the run.
Commit before the task does its work, so that a terminated run leaves a record.
Errors: CF001 for null.
$$;

grant execute on function monitor.start_run(text) to insights_worker, insights_admin;
