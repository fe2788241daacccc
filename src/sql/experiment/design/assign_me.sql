/* A definer owned by insights_reader: it reads the experiments, and the data of the signed-in person alone. */
create or replace function experiment.assign_me(experiment text, attributes jsonb default null)
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_person record;
begin
  -- Names of experiments that have not started are not public, nor are suggestions of names.
  select * into v_experiment
  from experiment.experiment as known
  where known.experiment_key = assign_me.experiment and known.state <> 'draft';
  if not found then
    perform common.refuse(
      'CF002', format('there is no experiment "%s"', coalesce(left(assign_me.experiment, 100), 'null')),
      'Give the key of an experiment that has started.'
    );
  end if;
  v_person := experiment._own_attributes(assign_me.attributes);
  return experiment._assign(v_experiment, v_person.person_id, v_person.attributes);
end;
$$;

alter function experiment.assign_me(text, jsonb) owner to insights_reader;

comment on function experiment.assign_me(text, jsonb) is $$
Returns the variation of the signed-in person in an experiment, as `experiment.assign` does.
`attributes`: further ones, such as `anonymousId`, by which a visitor is assigned; those of the person take precedence.
Errors: CF001 and CF008 for invalid attributes, CF002 for an experiment that is unknown or has not started.
$$;

grant execute on function experiment.assign_me(text, jsonb) to insights_visitor, insights_learner;
