create or replace function experiment._rule(experiment experiment.experiment)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment constant experiment.experiment := _rule.experiment;
  v_rule jsonb;
  v_share constant float8 := (
    select known.share
    from experiment.holdout as known
    where known.holdout = v_experiment.holdout and known.ended_at is null
  );
begin
  select jsonb_build_object('weights', known.weights, 'coverage', known.coverage) into v_rule
  from experiment.weighting as known
  where known.experiment_id = v_experiment.experiment_id
  order by known.since desc
  limit 1;
  select
    v_rule || jsonb_build_object(
      'variations', jsonb_agg(known.value order by known.variation),
      'meta', jsonb_agg(jsonb_build_object('key', known.variation_key, 'name', known.name) order by known.variation)
    )
  into v_rule
  from experiment.variation as known
  where known.experiment_id = v_experiment.experiment_id;

  v_rule := v_rule || jsonb_strip_nulls(jsonb_build_object(
    'key', v_experiment.experiment_key,
    'name', v_experiment.name,
    'hashAttribute', v_experiment.hash_attribute,
    'fallbackAttribute', v_experiment.fallback_attribute,
    'hashVersion', v_experiment.hash_version,
    'seed', v_experiment.seed,
    'disableStickyBucketing', not v_experiment.is_sticky,
    'bucketVersion', v_experiment.bucket_version,
    'minBucketVersion', v_experiment.min_bucket_version
  ));
  -- Not within the above: their nulls are values to compare with.
  if v_experiment.condition is not null then
    v_rule := v_rule || jsonb_build_object('condition', v_experiment.condition);
  end if;
  if v_experiment.parent_conditions is not null then
    v_rule := v_rule || jsonb_build_object('parentConditions', v_experiment.parent_conditions);
  end if;

  if v_share is not null then
    -- Clients ignore the namespace of an experiment with filters: the layer is a filter with the same hash.
    return v_rule || jsonb_build_object(
      'filters',
      jsonb_build_array(experiment._holdout_filter(v_experiment, v_share, true)) || case
        when v_experiment.layer is null then '[]'
        else jsonb_build_array(jsonb_build_object(
          'attribute', v_experiment.hash_attribute,
          'seed', '__' || v_experiment.layer,
          'hashVersion', 1,
          'ranges', jsonb_build_array(jsonb_build_array(v_experiment.layer_from, v_experiment.layer_until))
        ))
      end
    );
  elsif v_experiment.layer is not null then
    return v_rule || jsonb_build_object(
      'namespace', jsonb_build_array(v_experiment.layer, v_experiment.layer_from, v_experiment.layer_until)
    );
  end if;
  return v_rule;
end;
$$;

comment on function experiment._rule(experiment.experiment) is $$
@behavior -*
Returns an experiment in GrowthBook's form: a rule of a feature, which is also an experiment to run.
With its present weights.
$$;

grant execute on function experiment._rule(experiment.experiment) to insights_reader;
