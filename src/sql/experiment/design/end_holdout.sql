create or replace function experiment.end_holdout(holdout text)
returns experiment.holdout
language plpgsql
volatile
-- A definer: it writes the holdouts and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_before experiment.holdout;
  v_holdout experiment.holdout;
begin
  perform experiment._begin_change();
  v_before := experiment._find_holdout(end_holdout.holdout);
  if v_before.ended_at is not null then
    return v_before;
  end if;
  update experiment.holdout as known set ended_at = clock_timestamp()
  where known.holdout = v_before.holdout
  returning known.* into v_holdout;
  perform experiment._log_change('holdout', v_holdout.holdout, 'ended', to_jsonb(v_before), to_jsonb(v_holdout));
  return v_holdout;
end;
$$;

comment on function experiment.end_holdout(text) is $$
Ends a holdout: from now on its people are assigned as all others. Without effect when it has ended before.
Errors: CF002 for an unknown holdout (names the nearest).
$$;

grant execute on function experiment.end_holdout(text) to insights_admin;
