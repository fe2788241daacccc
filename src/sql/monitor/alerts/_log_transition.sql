create or replace function monitor._log_transition(
  alert monitor.alert,
  transition text,
  author text default null,
  note text default null
)
returns void
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  with logged as (
    insert into monitor.alert_event (alert_id, transition, severity, owner, is_notified, author, note)
    select
      alert.alert_id, _log_transition.transition, alert.severity, alert.owner,
      case
        when _log_transition.transition in ('opened', 'raised', 'reopened') then not alert.is_silenced
        -- Channels that know of the alert, and of its severity, are not notified again.
        when _log_transition.transition = 'unsilenced'
          then alert.state = 'open' and known.severity is distinct from alert.severity
        when _log_transition.transition = 'resolved' then known.severity is not null
        else false
      end,
      _log_transition.author, _log_transition.note
    from (select) as one
    left join (
      select
        case when event.transition <> 'resolved' then event.severity end as severity,
        row_number() over (order by event.alert_event_id desc) as nth
      from monitor.alert_event as event
      where event.alert_id = alert.alert_id
        and event.is_notified
    ) as known on known.nth = 1
    returning alert_event.*
  )
  select monitor._enqueue(logged, _log_transition.alert)
  from logged
$$;

comment on function monitor._log_transition(monitor.alert, text, text, text) is $$
Adds a transition to the history of an alert, and decides whether channels are notified of it.
Their notifications are enqueued in the same transaction.
$$;
