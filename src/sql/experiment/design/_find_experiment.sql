create or replace function experiment._find_experiment(experiment text)
returns experiment.experiment
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment experiment.experiment;
begin
  select * into v_experiment
  from experiment.experiment as known
  where known.experiment_key = _find_experiment.experiment;
  if not found then
    perform experiment._refuse_unknown_name(
      'experiment',
      _find_experiment.experiment,
      array(
        select known.experiment_key from experiment.experiment as known order by known.experiment_id desc limit 1000
      ),
      'The experiments are the rows of experiment.experiment.'
    );
  end if;
  return v_experiment;
end;
$$;

comment on function experiment._find_experiment(text) is $$
@behavior -*
Returns an experiment by its key. Errors: CF002 (names the nearest).
$$;

grant execute on function experiment._find_experiment(text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
