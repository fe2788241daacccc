create or replace function experiment._assign_by(
  experiment experiment.experiment,
  rule jsonb,
  payload jsonb
)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result constant jsonb := experiment.run(_assign_by.payload, _assign_by.rule) - 'stickyBucketAssignmentDocs';
begin
  if (_assign_by.experiment).state <> 'shipped' then
    return v_result;
  end if;
  return (
    select
      v_result || jsonb_build_object(
        'variationId', known.variation, 'key', known.variation_key, 'name', known.name, 'value', known.value
      )
    from experiment.variation as known
    where known.experiment_id = (_assign_by.experiment).experiment_id
      and known.variation = (_assign_by.experiment).shipped_variation
  );
end;
$$;

comment on function experiment._assign_by(experiment.experiment, jsonb, jsonb) is $$
@behavior -*
Returns the assignment by a rule (`experiment._active_rule`) of the person of a payload.
$$;

grant execute on function experiment._assign_by(experiment.experiment, jsonb, jsonb) to insights_reader;

create or replace function experiment._active_rule(experiment experiment.experiment)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment._rule(_active_rule.experiment)
    || case when (_active_rule.experiment).state = 'running' then '{}' else '{"active": false}'::jsonb end;
end;
$$;

comment on function experiment._active_rule(experiment.experiment) is $$
@behavior -*
Returns an experiment in GrowthBook's form; no person is in one that is not running.
$$;

grant execute on function experiment._active_rule(experiment.experiment) to insights_reader;

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
begin
  return experiment._assign_by(
    _assign.experiment,
    experiment._active_rule(_assign.experiment),
    experiment._payload(
      case when (_assign.experiment).is_sticky then _assign.person_id end,
      _assign.attributes,
      (_assign.experiment).parent_conditions is not null
    )
  );
end;
$$;

comment on function experiment._assign(experiment.experiment, bigint, jsonb) is $$
@behavior -*
Returns the assignment of a person to an experiment: the result of GrowthBook's clients.
No person is in an experiment that is not running; of a shipped one, all people have its variation.
$$;

grant execute on function experiment._assign(experiment.experiment, bigint, jsonb) to insights_reader;
