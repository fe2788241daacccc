/* A definer owned by insights_reader: servers query any person without privileges on the tables. It logs the read. */
create or replace function experiment.assign(person text, experiment text, attributes jsonb default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(assign.experiment);
  v_person record;
begin
  v_person := experiment._named_attributes(assign.person, assign.attributes);
  perform privacy.record_disclosure(array[v_person.person_id], 'experiment.assign');
  return experiment._assign(v_experiment, v_person.person_id, v_person.attributes);
end;
$$;

alter function experiment.assign(text, text, jsonb) owner to insights_reader;

comment on function experiment.assign(text, text, jsonb) is $$
@behavior -mutationField +queryField
Returns the variation of a person in an experiment.
The result is that of GrowthBook's clients (`inExperiment`, `variationId`, `key`, `value`, …). It writes nothing: the
exposure is the event "Experiment Viewed".
`person`: a `userId`, also one that has sent nothing yet, or the `anonymousId` of a browser. `attributes`: further ones,
such as those of the request; those of the person take precedence.
The read of an administrator is logged: see `privacy.disclosure`.
Errors: CF001 for an empty person, CF002 for an unknown experiment (names the nearest), CF008 for too long attributes,
CF005 in a read-only transaction.
$$;

grant execute on function experiment.assign(text, text, jsonb) to insights_admin, insights_worker;
