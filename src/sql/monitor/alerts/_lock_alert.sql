create or replace function monitor._lock_alert(alert_id bigint)
returns monitor.alert
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_alert monitor.alert;
begin
  select alert.* into v_alert from monitor.alert where alert.alert_id = _lock_alert.alert_id for update;
  if v_alert.alert_id is null then
    perform common.refuse(
      'CF002',
      format('there is no alert %s', coalesce(_lock_alert.alert_id::text, 'null')),
      'The table monitor.alert lists the alerts.'
    );
  end if;
  if v_alert.state = 'resolved' then
    perform common.refuse(
      'CF010',
      format('alert %s is resolved', v_alert.alert_id),
      'If its problem is found again, it is opened again or has a new alert.'
    );
  end if;
  return v_alert;
end;
$$;

comment on function monitor._lock_alert(bigint) is $$
Returns an alert that is not resolved, locked for a change.
Errors: CF002 for an unknown alert, CF010 for a resolved one.
$$;

create or replace function monitor._check_note(name text, note text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if length(_check_note.note) > 2000 then
    perform common.refuse(
      'CF008',
      format('%s has %s characters', _check_note.name, length(_check_note.note)),
      'Give at most 2000 characters.'
    );
  end if;
end;
$$;

comment on function monitor._check_note(text, text) is $$
Raises CF008 for a note of more than 2,000 characters.
$$;
