create or replace function experiment._feature_result(value jsonb, source text, rule_id jsonb default null)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'value', _feature_result.value,
    'on', experiment._truthy(_feature_result.value),
    'off', not experiment._truthy(_feature_result.value),
    'source', _feature_result.source,
    'ruleId', case when experiment._truthy(_feature_result.rule_id) then _feature_result.rule_id else '""' end
  );
end;
$$;

comment on function experiment._feature_result(jsonb, text, jsonb) is $$
Returns GrowthBook's result object of a feature.
$$;

grant execute on function experiment._feature_result(jsonb, text, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._in_rollout(payload jsonb, rule jsonb, feature_key text)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_range jsonb := _in_rollout.rule -> 'range';
  v_coverage jsonb := _in_rollout.rule -> 'coverage';
  v_value jsonb;
  v_n double precision;
  v_share double precision;
begin
  if not experiment._truthy(v_range) then
    if v_coverage is null then
      return true;
    elsif v_coverage = '0' then
      return false;
    end if;
  end if;
  v_value := (
    experiment._hash_attribute(
      _in_rollout.payload -> 'attributes',
      _in_rollout.rule -> 'hashAttribute',
      case
        when experiment._is_sticky(_in_rollout.payload, _in_rollout.rule) then _in_rollout.rule -> 'fallbackAttribute'
      end
    )
  ).value;
  if not experiment._truthy(v_value) then
    return false;
  end if;
  v_n := experiment.hash(
    case
      when experiment._truthy(_in_rollout.rule -> 'seed') then experiment._js_text(_in_rollout.rule -> 'seed')
      else _in_rollout.feature_key
    end,
    experiment._js_text(v_value),
    experiment._hash_version(_in_rollout.rule -> 'hashVersion', 1)
  );
  if v_n is null then
    return false;
  elsif experiment._truthy(v_range) then
    return experiment._in_json_range(v_n, v_range);
  end if;
  v_share := experiment._js_number(v_coverage);
  return v_n <= v_share and v_share <> 'nan';
end;
$$;

comment on function experiment._in_rollout(jsonb, jsonb, text) is $$
Returns whether a person is in the range or the coverage of a rule that forces a value.
$$;

grant execute on function experiment._in_rollout(jsonb, jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._leaf(payload jsonb, contexts jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_context jsonb;
begin
  if not experiment._truthy(_leaf.contexts) then
    return null;
  elsif jsonb_typeof(_leaf.contexts) <> 'array' then
    perform experiment._refuse_condition(_leaf.contexts, 'the contexts of the bandit', 'an array of contexts');
  end if;
  for v_context in select element.value from jsonb_array_elements(_leaf.contexts) as element (value) loop
    if not experiment._truthy(v_context -> 'condition')
      or experiment._passes(_leaf.payload, v_context -> 'condition')
    then
      return v_context;
    end if;
  end loop;
  return null;
end;
$$;

comment on function experiment._leaf(jsonb, jsonb) is $$
Returns the first of the contexts of a contextual bandit whose condition the person fulfils, null if there is none.
$$;

grant execute on function experiment._leaf(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._experiment_of(payload jsonb, rule jsonb, feature_key text)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_variations jsonb := coalesce(
    nullif(_experiment_of.rule -> 'contextualVariations', 'null'), _experiment_of.rule -> 'variations'
  );
  v_experiment jsonb;
  v_bandit jsonb;
  v_leaf jsonb;
  v_weights jsonb;
begin
  if not experiment._truthy(v_variations) then
    return null;
  end if;
  v_experiment := jsonb_build_object(
    'variations', v_variations,
    'key', case
      when experiment._truthy(_experiment_of.rule -> 'key') then _experiment_of.rule -> 'key'
      else to_jsonb(_experiment_of.feature_key)
    end
  ) || (
    select coalesce(jsonb_object_agg(member.key, member.value), '{}')
    from jsonb_each(_experiment_of.rule) as member
    where member.key in ('coverage', 'bucketVersion', 'minBucketVersion')
      or member.key in (
        'weights', 'hashAttribute', 'fallbackAttribute', 'disableStickyBucketing', 'namespace', 'meta', 'ranges',
        'name', 'phase', 'seed', 'hashVersion', 'filters', 'condition'
      )
      and experiment._truthy(member.value)
  );
  if not experiment._truthy(_experiment_of.rule -> 'contextualBanditRef') then
    return v_experiment;
  end if;
  v_bandit := _experiment_of.payload -> 'contextualBandits'
    -> experiment._js_text(_experiment_of.rule -> 'contextualBanditRef');
  if not experiment._truthy(v_bandit) then
    return v_experiment;
  end if;
  v_leaf := experiment._leaf(_experiment_of.payload, v_bandit -> 'contexts');
  if v_leaf is null then
    v_leaf := '{"leafId": -1}';
    v_weights := coalesce(
      v_experiment -> 'weights',
      (
        select jsonb_agg(experiment._json_number(1.0::double precision / jsonb_array_length(v_variations)))
        from generate_series(1, jsonb_array_length(v_variations))
      ),
      '[]'
    );
  else
    v_weights := v_leaf -> 'weights';
    v_experiment := v_experiment || jsonb_build_object('weights', v_weights);
  end if;
  return v_experiment || jsonb_build_object(
    'contextualBandit',
    jsonb_build_object('leafId', v_leaf -> 'leafId', 'variationWeights', v_weights) || case
      when v_bandit ? 'banditVersion' then jsonb_build_object('banditVersion', v_bandit -> 'banditVersion')
      else '{}'
    end
  );
end;
$$;

comment on function experiment._experiment_of(jsonb, jsonb, text) is $$
Returns the experiment of a rule, null if the rule has no variations.
That of a contextual bandit has the weights of the first of its contexts whose condition the person fulfils.
$$;

grant execute on function experiment._experiment_of(jsonb, jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._feature(
  payload jsonb,
  feature_key text,
  path text[],
  inout docs jsonb,
  inout evaluated int,
  out result jsonb
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_feature jsonb;
  v_rule jsonb;
  v_path text[];
  v_parents record;
  v_experiment jsonb;
  v_result jsonb;
begin
  if _feature.feature_key = any (_feature.path) then
    _feature.result := experiment._feature_result('null', 'cyclicPrerequisite');
    return;
  end if;
  v_path := _feature.path || _feature.feature_key;
  _feature.evaluated := _feature.evaluated + 1;
  if cardinality(v_path) > 32 or _feature.evaluated > 10000 then
    perform common.refuse(
      'CF008',
      format('the prerequisites of feature "%s" are too many', left(v_path[1], 100)),
      'Give at most 32 levels of prerequisites, and 10000 evaluations of features.'
    );
  end if;
  if jsonb_typeof(_feature.payload -> 'forcedFeatureValues') = 'object'
    and _feature.payload -> 'forcedFeatureValues' ? _feature.feature_key
  then
    _feature.result := experiment._feature_result(
      _feature.payload -> 'forcedFeatureValues' -> _feature.feature_key, 'override'
    );
    return;
  end if;
  v_feature := _feature.payload -> 'features' -> _feature.feature_key;
  if not experiment._truthy(v_feature) then
    _feature.result := experiment._feature_result('null', 'unknownFeature');
    return;
  end if;
  if experiment._truthy(v_feature -> 'rules') and jsonb_typeof(v_feature -> 'rules') <> 'array' then
    perform experiment._refuse_condition(v_feature -> 'rules', 'the rules of the feature', 'an array of rules');
  end if;

  for v_rule in
    select element.value
    from jsonb_array_elements(
      case when experiment._truthy(v_feature -> 'rules') then v_feature -> 'rules' else '[]' end
    ) as element (value)
  loop
    if jsonb_typeof(v_rule) <> 'object' then
      perform experiment._refuse_condition(v_rule, 'a rule of the feature', 'an object');
    end if;
    if experiment._truthy(v_rule -> 'parentConditions') then
      select parents.* into v_parents
      from experiment._parents(
        _feature.payload, v_rule -> 'parentConditions', v_path, _feature.docs, _feature.evaluated
      ) as parents;
      _feature.docs := v_parents.docs;
      _feature.evaluated := v_parents.evaluated;
      if v_parents.verdict = 'cyclic' then
        _feature.result := experiment._feature_result('null', 'cyclicPrerequisite');
        return;
      elsif v_parents.verdict = 'blocked' then
        _feature.result := experiment._feature_result('null', 'prerequisite');
        return;
      end if;
      continue when v_parents.verdict = 'failed';
    end if;
    continue when experiment._truthy(v_rule -> 'filters')
      and experiment._filtered_out(v_rule -> 'filters', _feature.payload -> 'attributes');

    if v_rule ? 'force' then
      continue when experiment._truthy(v_rule -> 'condition')
        and not experiment._passes(_feature.payload, v_rule -> 'condition');
      continue when not experiment._in_rollout(_feature.payload, v_rule, _feature.feature_key);
      _feature.result := experiment._feature_result(v_rule -> 'force', 'force', v_rule -> 'id');
      return;
    end if;

    v_experiment := experiment._experiment_of(_feature.payload, v_rule, _feature.feature_key);
    continue when v_experiment is null;
    select ran.docs, ran.evaluated, ran.result into _feature.docs, _feature.evaluated, v_result
    from experiment._run(
      _feature.payload, v_experiment, _feature.feature_key, v_path, _feature.docs, _feature.evaluated
    ) as ran;
    if not ((v_result -> 'hashUsed')::boolean and (v_result -> 'inExperiment')::boolean) then
      v_experiment := v_experiment - 'contextualBandit';
    end if;
    if (v_result -> 'inExperiment')::boolean and not v_result ? 'passthrough' then
      _feature.result := experiment._feature_result(v_result -> 'value', 'experiment', v_rule -> 'id')
        || jsonb_build_object('experiment', v_experiment, 'experimentResult', v_result);
      return;
    end if;
  end loop;
  _feature.result := experiment._feature_result(coalesce(v_feature -> 'defaultValue', 'null'), 'defaultValue');
end;
$$;

comment on function experiment._feature(jsonb, text, text[], jsonb, integer) is $$
Returns GrowthBook's result of a feature, and the documents of sticky buckets after it.
The path is that of the features under evaluation, `evaluated` their number so far.
$$;

grant execute on function experiment._feature(jsonb, text, text[], jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
