create or replace function experiment._check_start(experiment experiment.experiment)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment constant experiment.experiment := _check_start.experiment;
  v_other experiment.experiment;
begin
  if not exists (
    select from experiment.measured as known
    where known.experiment_id = v_experiment.experiment_id and known.role = 'goal'
  ) then
    perform common.refuse('CF003', format('the experiment "%s" has no goal', v_experiment.experiment_key),
      'Name the metric that decides in the field "goals" of its definition.');
  end if;
  -- Features, metrics and names can have changed since the definition was checked.
  perform experiment._check_definition(experiment.definition(v_experiment.experiment_key));

  select * into v_other
  from experiment.experiment as known
  where known.state = 'running'
    and (
      known.placement = v_experiment.placement
      or known.feature_key = v_experiment.feature_key and known.layer is distinct from v_experiment.layer
      or known.feature_key = v_experiment.feature_key and known.layer is null
      or (known.seed, known.hash_attribute) = (v_experiment.seed, v_experiment.hash_attribute)
        and (known.layer is null or known.layer is distinct from v_experiment.layer)
    )
  order by known.experiment_id
  limit 1;
  if found then
    perform common.refuse(
      'CF003',
      format(
        'the experiment "%s" is running %s', v_other.experiment_key,
        case
          when v_other.placement = v_experiment.placement then format('on the placement "%s"', v_other.placement)
          when v_other.feature_key = v_experiment.feature_key then format('on the feature "%s"', v_other.feature_key)
          else format('with the seed "%s"', left(v_other.seed, 100))
        end
      ),
      case
        when v_other.placement = v_experiment.placement then 'Of the experiments on a placement, one runs at a time.'
        when v_other.feature_key = v_experiment.feature_key
          then 'Stop it, or give both experiments ranges of one layer.'
        else 'Give this one another seed, so that the two assignments are independent.'
      end
    );
  end if;
end;
$$;

comment on function experiment._check_start(experiment.experiment) is $$
@behavior -*
Raises CF003 for an experiment that cannot start.
$$;
