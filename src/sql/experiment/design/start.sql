create or replace function experiment.start(experiment text)
returns experiment.experiment
language plpgsql
volatile
-- A definer: it writes the experiments and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_time timestamptz;
begin
  -- No refresh of exposures may have read events later than the start and not have seen it.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform experiment._begin_change();
  v_experiment := experiment._find_experiment(start.experiment);
  if v_experiment.state <> 'draft' then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_experiment.experiment_key, v_experiment.state),
      'An experiment starts once: define another one.'
    );
  end if;
  perform experiment._check_start(v_experiment);

  v_time := clock_timestamp();
  update experiment.experiment as known
  set state = 'running', started_at = v_time
  where known.experiment_id = v_experiment.experiment_id
  returning known.* into v_experiment;
  update experiment.weighting as known
  set since = v_time
  where known.experiment_id = v_experiment.experiment_id;
  perform experiment.define_arms(v_experiment.experiment_id);
  perform experiment._log_change(
    'experiment', v_experiment.experiment_key, 'started', null, experiment.definition(v_experiment.experiment_key)
  );
  return v_experiment;
end;
$$;

comment on function experiment.start(text) is $$
Starts an experiment: from now on people are assigned, and its plan cannot change any more.
The history holds the complete plan of this moment.
Errors: CF002 for an unknown experiment (names the nearest), CF003 for one that is not a draft, that has no goal or
that another running experiment excludes: on the same placement, or on the same feature without a layer in common.
$$;

grant execute on function experiment.start(text) to insights_admin;
