create or replace function monitor.silence(source text, until timestamptz, reason text, subject text default null)
returns monitor.alert_silence
language plpgsql
volatile
-- A definer: silences are written by this function only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_silence monitor.alert_silence;
begin
  if (silence.until > v_now and silence.until <= v_now + interval '90 days') is not true then
    perform common.refuse(
      'CF001',
      format('until is %s', coalesce(silence.until::text, 'null')),
      'Give a time within the next 90 days.'
    );
  end if;
  if btrim(silence.reason) <> '' is not true then
    perform common.refuse('CF001', 'reason is null or empty', 'Give the reason, for later readers of the alert.');
  end if;
  perform monitor._check_note('reason', silence.reason);
  perform monitor._check_source(silence.source);
  if length(silence.subject) > 300 then
    perform common.refuse(
      'CF008', format('subject has %s characters', length(silence.subject)), 'Give the subject of an alert, or null.'
    );
  end if;
  insert into monitor.alert_silence (source, subject, since, until, reason, author)
  values (silence.source, silence.subject, v_now, silence.until, silence.reason, common.author())
  returning alert_silence.* into v_silence;
  return v_silence;
end;
$$;

comment on function monitor.silence(text, timestamptz, text, text) is $$
Records the alerts of a check or rule until a time without sending them, such as during maintenance.
With `subject`, only those about it. Alerts that are open when the silence ends, and of which channels do not know, are
sent then. `monitor.unsilence` ends a silence.
Errors: CF001 for a time that is not within the next 90 days, or without a reason, CF002 for an unknown check or rule
(names the nearest), CF008 for too long texts.
$$;

grant execute on function monitor.silence(text, timestamptz, text, text) to insights_admin;
