create or replace function monitor.delete_old_runs(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.run.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_runs.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_runs.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;

  -- The latest run of each task is kept at any age: it shows when the task last ran.
  delete from monitor.run
  where run.started_at < now() - delete_old_runs.older_than
    and exists (
      select
      from monitor.run as later
      where later.task = run.task
        and later.started_at > run.started_at
    );
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_runs(interval) is $$
@behavior -mutationField
Deletes runs older than `older_than`, except the latest run of each task. Returns the number of deleted rows.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_runs(interval) to insights_worker;
