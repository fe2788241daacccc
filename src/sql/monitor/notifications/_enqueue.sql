create or replace function monitor._enqueue(event monitor.alert_event, alert monitor.alert)
returns void
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  insert into monitor.notification (channel, alert_event_id, alert_id, message_id, body)
  select
    channel.channel, event.alert_event_id, event.alert_id,
    'msg_' || replace(gen_random_uuid()::text, '-', ''),
    json_build_object(
      'type', 'alert.' || event.transition,
      'timestamp', to_char(event.happened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', json_build_object(
        'alert_id', event.alert_id,
        'alert_event_id', event.alert_event_id,
        'source', alert.source,
        'subject', alert.subject,
        'owner', event.owner,
        'severity', event.severity,
        'state', alert.state,
        'message', alert.message,
        'fix', alert.fix,
        'value', alert.value,
        'threshold', alert.threshold,
        'opened_at', to_char(alert.opened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      )
    )::text
  from monitor.channel
  where event.is_notified
    and channel.is_active
    and (
      (
        (channel.owners is null or event.owner = any (channel.owners))
        and (channel.least_severity = 'warning' or event.severity = 'critical')
      )
      -- The end of an alert is for each channel that was notified of it.
      or (
        event.transition = 'resolved'
        and exists (
          select
          from monitor.notification as earlier
          where earlier.alert_id = event.alert_id
            and earlier.channel = channel.channel
        )
      )
    )
$$;

comment on function monitor._enqueue(monitor.alert_event, monitor.alert) is $$
Enqueues the notifications of a transition, in its transaction.
$$;
