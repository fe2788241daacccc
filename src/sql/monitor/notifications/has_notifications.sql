create or replace function monitor.has_notifications()
returns boolean
language sql
stable
-- A definer: workers have no privilege on the functions that it calls.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select exists (select from monitor._ready_notifications(clock_timestamp()))
    or exists (
      select
      from monitor.notification
      where notification.finished_at is null
        and notification.created_at < clock_timestamp() - interval '3 days'
    )
$$;

comment on function monitor.has_notifications() is $$
@behavior -*
Returns whether there is a notification to send.
$$;

grant execute on function monitor.has_notifications() to insights_worker;
