create or replace function monitor.delete_old_alerts(older_than interval default '1 year')
returns bigint
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_alerts.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_alerts.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;
  delete from monitor.alert_silence as silence where silence.until < now() - delete_old_alerts.older_than;
  delete from monitor.alert where alert.resolved_at < now() - delete_old_alerts.older_than;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_alerts(interval) is $$
@behavior -*
Deletes alerts that were resolved, and silences that ended, more than `older_than` ago. Returns the number of alerts.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_alerts(interval) to insights_worker;
