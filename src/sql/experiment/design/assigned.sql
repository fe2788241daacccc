create or replace function experiment.assigned(placement text, person_id bigint, identity_id bigint)
returns experiment.assigned
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment experiment.experiment;
  v_result jsonb;
  v_is_in boolean;
begin
  select * into v_experiment
  from experiment.experiment as known
  where known.placement = assigned.placement
    and known.state = 'running';
  if not found then
    return null;
  end if;
  v_result := experiment._assign(
    v_experiment, assigned.person_id, experiment._attributes(assigned.person_id, assigned.identity_id)
  );
  v_is_in := (v_result ->> 'inExperiment')::boolean and (v_result ->> 'hashUsed')::boolean;
  return row(
    v_experiment.experiment_id,
    v_experiment.experiment_key,
    case when v_is_in then (v_result ->> 'variationId')::smallint end,
    v_result -> 'value',
    case when v_is_in then (
      select known.weights[1 + (v_result ->> 'variationId')::int]
      from experiment.weighting as known
      where known.experiment_id = v_experiment.experiment_id
      order by known.since desc
      limit 1
    ) end
  )::experiment.assigned;
end;
$$;

comment on function experiment.assigned(text, bigint, bigint) is $$
@behavior -*
Returns the variation of a person in the experiment on a placement; null when none is running there.
`variation` is null for a person who does not take part: held out, outside the coverage or without the attribute. The
value is then that of the control. `identity_id`: the identity that is served; null: the first user name of the person.
$$;

grant execute on function experiment.assigned(text, bigint, bigint) to insights_reader;
