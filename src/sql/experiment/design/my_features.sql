/* A definer owned by insights_reader: it reads the features, and the data of the signed-in person alone. */
create or replace function experiment.my_features(attributes jsonb default null)
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_person record;
begin
  v_person := experiment._own_attributes(my_features.attributes);
  return experiment._evaluate_features(v_person.person_id, v_person.attributes);
end;
$$;

alter function experiment.my_features(jsonb) owner to insights_reader;

comment on function experiment.my_features(jsonb) is $$
Returns the values of all features for the signed-in person, or for a visitor, as `experiment.evaluate_features` does.
`attributes`: further ones, such as `anonymousId`; those of the person take precedence. Errors: CF001, CF008.
$$;

grant execute on function experiment.my_features(jsonb) to insights_visitor, insights_learner;
