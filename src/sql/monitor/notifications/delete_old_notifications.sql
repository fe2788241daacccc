create or replace function monitor.delete_old_notifications(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.notification.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_notifications.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse(
      'CF001',
      format('older_than is %s', coalesce(delete_old_notifications.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.'
    );
  end if;
  delete from monitor.notification
  where notification.finished_at < now() - delete_old_notifications.older_than
    -- By the others, the end of the alert is sent to the same channels.
    and not exists (
      select from monitor.alert where alert.alert_id = notification.alert_id and alert.resolved_at is null
    );
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_notifications(interval) is $$
@behavior -*
Deletes notifications that were delivered, or failed, more than `older_than` ago, unless their alert is not resolved.
Returns their number.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_notifications(interval) to insights_worker;
