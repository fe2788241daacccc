/* A definer owned by insights_reader: servers query any person without privileges on the tables. It logs the read. */
create or replace function experiment.evaluate_features(person text, attributes jsonb default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_person record;
begin
  v_person := experiment._named_attributes(evaluate_features.person, evaluate_features.attributes);
  perform privacy.record_disclosure(array[v_person.person_id], 'experiment.evaluate_features');
  return experiment._evaluate_features(v_person.person_id, v_person.attributes);
end;
$$;

alter function experiment.evaluate_features(text, jsonb) owner to insights_reader;

comment on function experiment.evaluate_features(text, jsonb) is $$
@behavior -mutationField +queryField
Returns the values of all features for a person.
By key of the feature, the result of GrowthBook's clients (`value`, `source`, `experimentResult`, …). The
arguments are those of `experiment.assign`.
The read of an administrator is logged: see `privacy.disclosure`.
Errors: CF001 for an empty person, CF008 for too long attributes, CF005 in a read-only transaction.
$$;

grant execute on function experiment.evaluate_features(text, jsonb) to insights_admin, insights_worker;
