create or replace function experiment._evaluate_features(person_id bigint, attributes jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_payload constant jsonb := experiment._payload(_evaluate_features.person_id, _evaluate_features.attributes, true);
  v_person constant jsonb := v_payload - 'features';
begin
  return (
    select coalesce(
      jsonb_object_agg(
        feature.key,
        experiment.eval_feature(
          -- Reading all features for each one would take time in the square of their number.
          case
            when feature.value @? '$.rules[*].parentConditions' then v_payload
            else v_person || jsonb_build_object('features', jsonb_build_object(feature.key, feature.value))
          end,
          feature.key
        ) - 'stickyBucketAssignmentDocs'
      ),
      '{}'
    )
    from jsonb_each(v_payload -> 'features') as feature
  );
end;
$$;

comment on function experiment._evaluate_features(bigint, jsonb) is $$
@behavior -*
Returns the results of all features for a person with these attributes.
$$;

grant execute on function experiment._evaluate_features(bigint, jsonb) to insights_reader;
