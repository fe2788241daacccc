create or replace function monitor._is_silenced(source text, subject text, at timestamptz)
returns boolean
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select exists (
    select
    from monitor.alert_silence as silence
    where silence.source = _is_silenced.source
      and (silence.subject is null or silence.subject = _is_silenced.subject)
      and silence.since <= _is_silenced.at
      and silence.until > _is_silenced.at
  )
$$;

comment on function monitor._is_silenced(text, text, timestamptz) is $$
Returns whether alerts of a source and subject are silenced at a time.
$$;
