create or replace function monitor.unsilence(source text, subject text default null)
returns int
language plpgsql
volatile
-- A definer: silences are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_ended int;
begin
  perform monitor._check_source(unsilence.source);
  -- One of this very moment has no period that could remain in the history.
  update monitor.alert_silence as known
  set until = greatest(v_now, known.since + interval '1 microsecond')
  where known.source = unsilence.source
    and (unsilence.subject is null or known.subject = unsilence.subject)
    and known.until > v_now;
  get diagnostics v_ended = row_count;
  return v_ended;
end;
$$;

comment on function monitor.unsilence(text, text) is $$
Ends the silences of a check or rule now, with `subject` those about it only. Returns their number.
Errors: CF002 for an unknown check or rule (names the nearest).
$$;

grant execute on function monitor.unsilence(text, text) to insights_admin;
