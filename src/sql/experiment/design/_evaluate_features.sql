create or replace function experiment._evaluate_features(person_id bigint, attributes jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_payload constant jsonb := experiment._payload(_evaluate_features.person_id, _evaluate_features.attributes, true);
begin
  return (
    select coalesce(
      jsonb_object_agg(
        feature.key, experiment.eval_feature(v_payload, feature.key) - 'stickyBucketAssignmentDocs'
      ),
      '{}'
    )
    from jsonb_object_keys(v_payload -> 'features') as feature (key)
  );
end;
$$;

comment on function experiment._evaluate_features(bigint, jsonb) is $$
@behavior -*
Returns the results of all features for a person with these attributes.
$$;

grant execute on function experiment._evaluate_features(bigint, jsonb) to insights_reader;
