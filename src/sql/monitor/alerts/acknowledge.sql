create or replace function monitor.acknowledge(alert_id bigint, note text default null)
returns monitor.alert
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_alert monitor.alert;
begin
  perform monitor._check_note('note', acknowledge.note);
  v_alert := monitor._lock_alert(acknowledge.alert_id);
  update monitor.alert
  set
    state = 'acknowledged',
    acknowledged_at = clock_timestamp(),
    acknowledged_by = common.author(),
    changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'acknowledged', common.author(), acknowledge.note);
  return v_alert;
end;
$$;

comment on function monitor.acknowledge(bigint, text) is $$
Marks an alert as acknowledged, with a note: a person takes care of it.
If its severity rises afterwards, it is open again.
Errors: CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than 2,000 characters.
$$;

grant execute on function monitor.acknowledge(bigint, text) to insights_admin;
