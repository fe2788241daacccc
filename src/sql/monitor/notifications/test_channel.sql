create or replace function monitor.test_channel(channel text)
returns bigint
language plpgsql
volatile
-- A definer: notifications are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_notification_id bigint;
begin
  perform monitor._check_channel(test_channel.channel);
  -- Two tests of a channel, one after the other.
  perform from monitor.channel where channel.channel = test_channel.channel for update;
  if exists (
    select
    from monitor.notification
    where notification.channel = test_channel.channel
      and notification.alert_event_id is null
      and notification.finished_at is null
  ) then
    perform common.refuse(
      'CF010',
      format('a test of the channel "%s" is waiting', test_channel.channel),
      'The worker sends it within a minute: select state, last_error from monitor.notification'
    );
  end if;
  update monitor.channel set retry_at = null where channel.channel = test_channel.channel;
  insert into monitor.notification (channel, message_id, body)
  values (
    test_channel.channel,
    'msg_' || replace(gen_random_uuid()::text, '-', ''),
    json_build_object(
      'type', 'channel.test',
      'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', json_build_object('channel', test_channel.channel)
    )::text
  )
  returning notification.notification_id into v_notification_id;
  return v_notification_id;
end;
$$;

comment on function monitor.test_channel(text) is $$
Enqueues a test of a channel and returns its key in `monitor.notification`, which shows the result within a minute.
A channel that waits after a failure is tried at once.
Errors: CF002 for an unknown channel (names the nearest), CF010 while another test is waiting.
$$;

grant execute on function monitor.test_channel(text) to insights_admin;
