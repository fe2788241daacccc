create or replace function experiment._check_people(experiment_id int)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment experiment.experiment;
  v_kept_at timestamptz;
begin
  select kept.kept_at into v_kept_at
  from experiment.kept
  where kept.experiment_id = _check_people.experiment_id;
  if not found then
    return;
  end if;
  select known.* into v_experiment
  from experiment.experiment as known
  where known.experiment_id = _check_people.experiment_id;
  if not experiment._are_events_complete(v_experiment) then
    perform common.refuse(
      'CF010',
      format('people of the experiment "%s" were deleted by a rule of retention', v_experiment.experiment_key),
      format(
        'The results as of %s are kept: read experiment.results and health without among.',
        to_char(v_kept_at at time zone 'UTC', 'YYYY-MM-DD')
      )
    );
  end if;
end;
$$;

comment on function experiment._check_people(int) is $$
@behavior -*
Raises CF010 for an ended experiment whose results are kept and whose exposures and outcomes are not complete any more.
A figure of the people who are left would be that of another time.
$$;

grant execute on function experiment._check_people(int) to insights_reader;
