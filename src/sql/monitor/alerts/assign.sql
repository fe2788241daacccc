create or replace function monitor.assign(alert_id bigint, owner text, note text default null)
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
  perform monitor._check_note('note', assign.note);
  perform monitor._check_owner(assign.owner);
  v_alert := monitor._lock_alert(assign.alert_id);
  update monitor.alert
  set owner = assign.owner, changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'assigned', common.author(), assign.note);
  return v_alert;
end;
$$;

comment on function monitor.assign(bigint, text, text) is $$
Gives an alert to another owner, with a note. Channels of an owner get the alerts of this owner.
Errors: CF001 for an invalid name, CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than
2,000 characters.
$$;

grant execute on function monitor.assign(bigint, text, text) to insights_admin;
