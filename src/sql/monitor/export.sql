create or replace function monitor.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := privacy.user_names(subject);
begin
  return next privacy.exported_rows(
    'monitor.alert',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', alert.source, 'subject', alert.subject, 'opened_at', alert.opened_at,
          'acknowledged_at', alert.acknowledged_at, 'acknowledged_by', alert.acknowledged_by
        )
        order by alert.alert_id
      )
      from monitor.alert
      where alert.acknowledged_by = any (v_names)
    ),
    'Alerts that the person acknowledged.'
  );
  return next privacy.exported_rows(
    'monitor.alert_event',
    (
      select jsonb_agg(
        jsonb_build_object(
          'happened_at', alert_event.happened_at, 'transition', alert_event.transition, 'owner', alert_event.owner,
          'author', alert_event.author, 'note', alert_event.note
        )
        order by alert_event.alert_event_id
      )
      from monitor.alert_event
      where alert_event.author = any (v_names)
    ),
    'Changes of alerts that the person made.'
  );
  return next privacy.exported_rows(
    'monitor.alert_silence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', alert_silence.source, 'subject', alert_silence.subject, 'since', alert_silence.since,
          'until', alert_silence.until, 'reason', alert_silence.reason, 'author', alert_silence.author
        )
        order by alert_silence.silence_id
      )
      from monitor.alert_silence
      where alert_silence.author = any (v_names)
    ),
    'Silences of alerts that the person set.'
  );
  return next privacy.exported_rows(
    'monitor.rule',
    (
      select jsonb_agg(
        jsonb_build_object('rule', rule.rule, 'metric', rule.metric, 'set_at', rule.set_at, 'set_by', rule.set_by)
        order by rule.rule
      )
      from monitor.rule
      where rule.set_by = any (v_names)
    ),
    'Rules about metrics that the person set.'
  );
end;
$$;

comment on function monitor.export(privacy.subject) is $$
@behavior -*
Returns what a person did as an administrator: alerts that she acknowledged, changed or silenced, and rules that she set.
For `privacy.export_person`.
$$;
