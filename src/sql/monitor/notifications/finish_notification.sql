create or replace function monitor.finish_notification(
  notification_id bigint,
  attempt int,
  error text default null,
  status_code int default null,
  retry_after int default null
)
returns text
language plpgsql
volatile
-- A definer: notifications are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_least constant interval := make_interval(secs => least(greatest(finish_notification.retry_after, 0), 21600));
  v_error constant text := left(finish_notification.error, 300);
  -- Between 100 and 599, or it is not a status.
  v_status constant smallint := case
    when finish_notification.status_code between 100 and 599 then finish_notification.status_code
  end;
  v_row monitor.notification;
begin
  select notification.* into v_row
  from monitor.notification
  where notification.notification_id = finish_notification.notification_id
  for update;
  -- The channel was removed, or it was delivered already.
  if v_row.notification_id is null or v_row.state = 'delivered' then
    return v_row.state;
  end if;

  if v_error is null then
    -- A delivery counts, even if a later attempt has started.
    update monitor.notification
    set
      state = 'delivered', leased_until = null, finished_at = v_now, status_code = v_status, last_error = null
    where notification.notification_id = v_row.notification_id;
    update monitor.channel
    set failures = 0, failing_since = null, retry_at = null, delivered_at = v_now, last_error = null
    where channel.channel = v_row.channel;
    return 'delivered';
  end if;

  -- The failure of an attempt whose time had passed is not that of the present one.
  if v_row.state <> 'sending' or v_row.attempts is distinct from finish_notification.attempt then
    return v_row.state;
  end if;
  update monitor.notification
  set
    -- 410 Gone: the receiver does not want it, now or later.
    state = case when v_status = 410 or v_row.created_at < v_now - interval '3 days' then 'failed' else 'waiting' end,
    finished_at = case when v_status = 410 or v_row.created_at < v_now - interval '3 days' then v_now end,
    leased_until = null,
    next_attempt_at = v_now + greatest(v_least, monitor._backoff(v_row.attempts, '6 hours')),
    status_code = v_status,
    last_error = v_error
  where notification.notification_id = v_row.notification_id
  returning notification.* into v_row;
  update monitor.channel
  set
    failures = channel.failures + 1,
    failing_since = coalesce(channel.failing_since, v_now),
    retry_at = v_now + greatest(v_least, monitor._backoff(channel.failures + 1, '10 minutes')),
    last_error = v_error
  where channel.channel = v_row.channel;
  return v_row.state;
end;
$$;

comment on function monitor.finish_notification(bigint, int, text, int, int) is $$
@behavior -*
Records the result of an attempt to send a notification.
It was delivered if there is no error. Returns the state of the notification; null if its channel was removed in the
meantime.
After a failure it is tried again, after half a minute, then twice as long each time up to six hours, less or more by a
quarter at random, and not before `retry_after` seconds (at most six hours). It fails permanently after three days, or
by the status 410. The failure of an attempt whose time had passed is ignored; its success counts. After a failure, the
others of the channel wait too, up to ten minutes, and then one of them is tried.
$$;

grant execute on function monitor.finish_notification(bigint, int, text, int, int) to insights_worker;
