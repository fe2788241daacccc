create or replace function experiment.stop(experiment text, reason text)
returns experiment.experiment
language plpgsql
volatile
-- A definer: it writes the experiments and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_before experiment.experiment;
  v_experiment experiment.experiment;
begin
  if coalesce(btrim(stop.reason), '') = '' then
    perform common.refuse('CF001', 'the reason is empty', 'Say in a sentence why the experiment ends; it is recorded.');
  elsif length(stop.reason) > 2000 then
    perform common.refuse('CF008', format('the reason has %s characters', length(stop.reason)),
      'It can have at most 2,000.');
  end if;
  -- No refresh of exposures may have read events later than the end and not have seen it.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform experiment._begin_change();
  v_before := experiment._find_experiment(stop.experiment);
  if v_before.state in ('draft', 'stopped') then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_before.experiment_key, v_before.state),
      'Only a running experiment can be stopped.'
    );
  elsif v_before.state = 'shipped' and v_before.placement is not null then
    perform common.refuse(
      'CF003', format('a variation of "%s" was shipped to %s', v_before.experiment_key, v_before.placement),
      'Change it there.'
    );
  end if;
  update experiment.experiment as known
  set
    state = 'stopped',
    stopped_at = coalesce(known.stopped_at, clock_timestamp()),
    shipped_variation = null,
    shipped_at = null
  where known.experiment_id = v_before.experiment_id
  returning known.* into v_experiment;
  perform experiment._log_change(
    'experiment', v_experiment.experiment_key, 'stopped',
    jsonb_build_object('state', v_before.state, 'shipped_variation', v_before.shipped_variation),
    jsonb_build_object('state', v_experiment.state, 'reason', stop.reason)
  );
  return v_experiment;
end;
$$;

comment on function experiment.stop(text, text) is $$
Ends an experiment: people get the default value again, and outcomes from now on do not count.
Of a shipped variation of a feature: takes it back.
Errors: CF001 and CF008 for the reason, CF002 for an unknown experiment (names the nearest), CF003 for one that is not
running, or that was shipped to a placement.
$$;

grant execute on function experiment.stop(text, text) to insights_admin;
