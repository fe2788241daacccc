create or replace function experiment.eval_feature(payload jsonb, feature_key text)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_context jsonb := experiment._context(eval_feature.payload);
  v_feature record;
begin
  if eval_feature.feature_key is null then
    return null;
  end if;
  select feature.* into v_feature
  from experiment._feature(
    v_context, eval_feature.feature_key, '{}', coalesce(v_context -> 'stickyBucketAssignmentDocs', '{}'), 0
  ) as feature;
  return experiment._doubles(v_feature.result) || experiment._docs(v_context, v_feature.docs);
end;
$$;

comment on function experiment.eval_feature(jsonb, text) is $$
Returns the value of a feature for a person, as the result object of GrowthBook's clients.
The payload is their context: `attributes`, `features`, `savedGroups`, `contextualBandits`, `forcedVariations`,
`forcedFeatureValues`, `url`, `enabled`, `qaMode`, `stickyBucketAssignmentDocs` by `attribute||value`. The result holds
`value`, `on`, `off`, `source` (`unknownFeature`, `defaultValue`, `force`, `override`, `experiment`, `prerequisite` or
`cyclicPrerequisite`), `ruleId`, and for an experiment `experiment` and `experimentResult`. If the payload has documents
of sticky buckets, they count, and the result has those of the person afterwards as `stickyBucketAssignmentDocs`.
A feature that makes a client fail, such as one whose rules are an object, raises CF009; more than 32 levels of
prerequisites raise CF008.
$$;

grant execute on function experiment.eval_feature(jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
