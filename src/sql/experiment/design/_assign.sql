create or replace function experiment._assign(
  experiment experiment.experiment,
  person_id bigint,
  attributes jsonb
)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment constant experiment.experiment := _assign.experiment;
  v_result jsonb;
begin
  v_result := experiment.run(
    experiment._payload(
      case when v_experiment.is_sticky then _assign.person_id end,
      _assign.attributes,
      v_experiment.parent_conditions is not null
    ),
    experiment._rule(v_experiment)
      || case when v_experiment.state = 'running' then '{}' else '{"active": false}'::jsonb end
  ) - 'stickyBucketAssignmentDocs';
  if v_experiment.state <> 'shipped' then
    return v_result;
  end if;
  return (
    select
      v_result || jsonb_build_object(
        'variationId', known.variation, 'key', known.variation_key, 'name', known.name, 'value', known.value
      )
    from experiment.variation as known
    where known.experiment_id = v_experiment.experiment_id
      and known.variation = v_experiment.shipped_variation
  );
end;
$$;

comment on function experiment._assign(experiment.experiment, bigint, jsonb) is $$
@behavior -*
Returns the assignment of a person to an experiment: the result of GrowthBook's clients.
No person is in an experiment that is not running; of a shipped one, all people have its variation.
$$;

grant execute on function experiment._assign(experiment.experiment, bigint, jsonb) to insights_reader;
