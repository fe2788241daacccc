create or replace function experiment.drop_experiment(experiment text)
returns void
language plpgsql
volatile
-- A definer: it writes the experiments and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_definition jsonb;
begin
  perform experiment._begin_change();
  v_experiment := experiment._find_experiment(drop_experiment.experiment);
  if v_experiment.state <> 'draft' then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_experiment.experiment_key, v_experiment.state),
      'Only a draft can be dropped; a running experiment can be stopped.'
    );
  end if;
  v_definition := experiment.definition(v_experiment.experiment_key);
  delete from experiment.experiment as known where known.experiment_id = v_experiment.experiment_id;
  perform experiment._log_change('experiment', v_experiment.experiment_key, 'dropped', v_definition, null);
end;
$$;

comment on function experiment.drop_experiment(text) is $$
Removes a draft. Errors: CF002 for an unknown experiment (names the nearest), CF003 for one that has started.
$$;

grant execute on function experiment.drop_experiment(text) to insights_admin;
