create or replace function monitor.resolve(alert_id bigint, note text default null)
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
  perform monitor._check_note('note', resolve.note);
  v_alert := monitor._lock_alert(resolve.alert_id);
  update monitor.alert
  set state = 'resolved', resolved_at = clock_timestamp(), changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'resolved', common.author(), resolve.note);
  return v_alert;
end;
$$;

comment on function monitor.resolve(bigint, text) is $$
Resolves an alert at once, with a note.
If its problem is found again, the next `monitor.watch` opens it again: to keep a known problem from notifying, use
`monitor.silence`.
Errors: CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than 2,000 characters.
$$;

grant execute on function monitor.resolve(bigint, text) to insights_admin;
