create or replace function experiment._override(experiment_key text, url text, variations int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_query text := regexp_replace(split_part(_override.url, '?', 2), '#[^\n\r\u2028\u2029]*', '');
  v_value text;
  v_parts text[];
  v_number double precision;
begin
  v_value := (
    select pair.value
    from unnest(string_to_array(v_query, '&')) with ordinality as pair (value, number)
    where split_part(pair.value, '=', 1) = _override.experiment_key
    order by pair.number
    limit 1
  );
  v_value := ltrim(
    split_part(v_value, '=', 2),
    E' \t\n\u000b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
      '\u2028\u2029\u202f\u205f\u3000\ufeff'
  );
  v_parts := regexp_match(v_value, '^([+-]?)(?:0[xX]([0-9a-fA-F]+)|([0-9]+))');
  v_number := coalesce(
    experiment._js_number(to_jsonb('0x' || v_parts[2])),
    experiment._double(v_parts[3])
  ) * case v_parts[1] when '-' then -1 else 1 end;
  return case when v_number >= 0 and v_number < _override.variations then v_number end;
end;
$$;

comment on function experiment._override(text, text, integer) is $$
Returns the variation in the query of a URL, such as `?new-player=1`, null if it has no such variation.
$$;

grant execute on function experiment._override(text, text, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._position(value jsonb, place text)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number numeric;
begin
  if jsonb_typeof(_position.value) = 'number' then
    v_number := (_position.value #>> '{}')::numeric;
  end if;
  if v_number is null or v_number <> trunc(v_number) then
    perform experiment._refuse_condition(_position.value, _position.place, 'the position of a variation');
  end if;
  return case when v_number between 0 and 10000 then v_number else -1 end;
end;
$$;

comment on function experiment._position(jsonb, text) is $$
Returns the position of a variation that a payload forces, -1 if it cannot be one.
Raises CF009 unless it is a whole number.
$$;

grant execute on function experiment._position(jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._result(
  payload jsonb,
  experiment jsonb,
  variation int,
  feature_id text,
  hash_used boolean default false,
  bucket double precision default null,
  sticky_bucket_used boolean default false
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_in_experiment boolean := _result.variation between 0 and jsonb_array_length(_result.experiment -> 'variations') - 1;
  v_variation int := case when v_in_experiment then _result.variation else 0 end;
  v_attribute text;
  v_value jsonb;
  v_meta jsonb := '{}';
  v_bandit jsonb := _result.experiment -> 'contextualBandit';
  v_member text;
  v_result jsonb;
begin
  select hashed.attribute, hashed.value into v_attribute, v_value
  from experiment._hash_attribute(
    _result.payload -> 'attributes',
    _result.experiment -> 'hashAttribute',
    case
      when experiment._is_sticky(_result.payload, _result.experiment) then _result.experiment -> 'fallbackAttribute'
    end
  ) as hashed;
  if experiment._truthy(_result.experiment -> 'meta') then
    v_meta := _result.experiment -> 'meta' -> v_variation;
    if jsonb_typeof(v_meta) is null or v_meta = 'null' then
      perform experiment._refuse_condition(
        _result.experiment -> 'meta', format('meta of the experiment without variation %s', v_variation),
        'an array with an object for each variation'
      );
    end if;
  end if;
  v_result := jsonb_build_object(
    'key', case when experiment._truthy(v_meta -> 'key') then v_meta -> 'key' else to_jsonb(v_variation::text) end,
    'featureId', _result.feature_id,
    'inExperiment', v_in_experiment,
    'hashUsed', _result.hash_used,
    'variationId', v_variation,
    'hashAttribute', v_attribute,
    'hashValue', v_value,
    'stickyBucketUsed', _result.sticky_bucket_used
  );
  if _result.experiment -> 'variations' -> v_variation is not null then
    v_result := v_result || jsonb_build_object('value', _result.experiment -> 'variations' -> v_variation);
  end if;
  if _result.bucket is not null then
    v_result := v_result || jsonb_build_object('bucket', trim_scale(round(_result.bucket::numeric, 4)));
  end if;
  foreach v_member in array array['name', 'passthrough'] loop
    if experiment._truthy(v_meta -> v_member) then
      v_result := v_result || jsonb_build_object(v_member, v_meta -> v_member);
    end if;
  end loop;
  if jsonb_typeof(v_bandit) = 'object' and _result.hash_used and v_in_experiment then
    foreach v_member in array array['leafId', 'variationWeights', 'banditVersion'] loop
      if v_bandit ? v_member then
        v_result := v_result || jsonb_build_object(v_member, v_bandit -> v_member);
      end if;
    end loop;
  end if;
  return v_result;
end;
$$;

comment on function experiment._result(jsonb, jsonb, integer, text, boolean, double precision, boolean) is $$
Returns GrowthBook's result object of an experiment for a variation, the first if the experiment does not have it.
$$;

grant execute on function experiment._result(jsonb, jsonb, integer, text, boolean, double precision, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._assignments(doc jsonb)
returns jsonb
language sql
immutable
parallel safe
begin atomic
  select case
    when jsonb_typeof(_assignments.doc -> 'assignments') = 'object' then _assignments.doc -> 'assignments'
    else '{}'
  end;
end;

comment on function experiment._assignments(jsonb) is $$
Returns the assignments of a document of sticky buckets, none if there is no document.
$$;

grant execute on function experiment._assignments(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._sticky_experiment_key(experiment jsonb)
returns text
language sql
immutable
parallel safe
begin atomic
  select experiment._js_text(_sticky_experiment_key.experiment -> 'key') || '__' || case
    when experiment._truthy(_sticky_experiment_key.experiment -> 'bucketVersion')
      then experiment._js_text(_sticky_experiment_key.experiment -> 'bucketVersion')
    else '0'
  end;
end;

comment on function experiment._sticky_experiment_key(jsonb) is $$
Returns the key of an experiment and its bucket version in a document of sticky buckets.
$$;

grant execute on function experiment._sticky_experiment_key(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._sticky_variation(
  docs jsonb,
  attributes jsonb,
  experiment jsonb,
  out variation int,
  out is_blocked boolean
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_hashed record;
  v_fallback record;
  v_assignments jsonb := '{}';
  v_least double precision;
  v_prefix text := experiment._js_text(_sticky_variation.experiment -> 'key') || '__';
  v_variation_key jsonb;
begin
  _sticky_variation.variation := -1;
  _sticky_variation.is_blocked := false;
  select hashed.* into v_hashed
  from experiment._hash_attribute(
    _sticky_variation.attributes, _sticky_variation.experiment -> 'hashAttribute', null
  ) as hashed;
  select hashed.* into v_fallback
  from experiment._hash_attribute(
    _sticky_variation.attributes, _sticky_variation.experiment -> 'fallbackAttribute', null
  ) as hashed;
  -- The document of the attribute wins over that of the fallback.
  if experiment._truthy(v_fallback.value) then
    v_assignments := experiment._assignments(
      _sticky_variation.docs -> experiment._sticky_key(v_fallback.attribute, v_fallback.value)
    );
  end if;
  v_assignments := v_assignments || experiment._assignments(
    _sticky_variation.docs -> experiment._sticky_key(v_hashed.attribute, v_hashed.value)
  );
  v_least := experiment._js_number(_sticky_variation.experiment -> 'minBucketVersion');
  if v_least > 0 and exists (
    select
    from jsonb_object_keys(v_assignments) as assignment (key)
    where starts_with(assignment.key, v_prefix)
      and substr(assignment.key, length(v_prefix) + 1) ~ '^(0|[1-9][0-9]{0,8})$'
      and substr(assignment.key, length(v_prefix) + 1)::double precision < v_least
  ) then
    _sticky_variation.is_blocked := true;
    return;
  end if;
  v_variation_key := v_assignments -> experiment._sticky_experiment_key(_sticky_variation.experiment);
  if v_variation_key is null or jsonb_typeof(_sticky_variation.experiment -> 'meta') is distinct from 'array' then
    return;
  end if;
  _sticky_variation.variation := coalesce(
    (
      select meta.number - 1
      from jsonb_array_elements(_sticky_variation.experiment -> 'meta') with ordinality as meta (value, number)
      where meta.value -> 'key' = v_variation_key
        and jsonb_typeof(v_variation_key) not in ('array', 'object')
      order by meta.number
      limit 1
    ),
    -1
  );
end;
$$;

comment on function experiment._sticky_variation(jsonb, jsonb, jsonb) is $$
Returns the variation that a person's documents of sticky buckets hold for an experiment, -1 if none.
Blocked is a person with an assignment of a bucket version below the least of the experiment.
$$;

grant execute on function experiment._sticky_variation(jsonb, jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._variation(n double precision, experiment jsonb)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number int := 0;
  v_range jsonb;
  v_weights double precision[];
begin
  if experiment._truthy(_variation.experiment -> 'ranges') then
    if jsonb_typeof(_variation.experiment -> 'ranges') <> 'array' then
      perform experiment._refuse_condition(_variation.experiment -> 'ranges', 'ranges', 'an array of ranges');
    end if;
    for v_range in
      select element.value
      from jsonb_array_elements(_variation.experiment -> 'ranges') as element (value)
    loop
      if experiment._in_json_range(_variation.n, v_range) then
        return v_number;
      end if;
      v_number := v_number + 1;
    end loop;
    return -1;
  end if;
  if experiment._truthy(_variation.experiment -> 'weights') then
    if jsonb_typeof(_variation.experiment -> 'weights') <> 'array'
      or jsonb_path_exists(_variation.experiment -> 'weights', 'strict $[*] ? (@.type() != "number")')
    then
      perform experiment._refuse_condition(_variation.experiment -> 'weights', 'weights', 'an array of numbers');
    end if;
    v_weights := array(
      select experiment._js_number(weight.value)
      from jsonb_array_elements(_variation.experiment -> 'weights') with ordinality as weight (value, number)
      order by weight.number
    );
  end if;
  return experiment.choose_variation(
    _variation.n,
    experiment.bucket_ranges(
      jsonb_array_length(_variation.experiment -> 'variations'),
      experiment._js_number(_variation.experiment -> 'coverage'),
      v_weights
    )
  );
end;
$$;

comment on function experiment._variation(double precision, jsonb) is $$
Returns the variation of an experiment for a place between 0 and 1, -1 if it is in the range of none.
$$;

grant execute on function experiment._variation(double precision, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._is_targeted(
  payload jsonb,
  experiment jsonb,
  value text,
  path text[],
  inout docs jsonb,
  inout evaluated int,
  out passes boolean
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parents record;
begin
  _is_targeted.passes := false;
  if experiment._truthy(_is_targeted.experiment -> 'filters') then
    if experiment._filtered_out(_is_targeted.experiment -> 'filters', _is_targeted.payload -> 'attributes') then
      return;
    end if;
  elsif experiment._truthy(_is_targeted.experiment -> 'namespace')
    and not experiment.in_namespace(_is_targeted.value, _is_targeted.experiment -> 'namespace')
  then
    return;
  end if;
  -- A function in a client, where another value than a function excludes all people; JSON has no functions.
  if experiment._truthy(_is_targeted.experiment -> 'include') then
    return;
  end if;
  if experiment._truthy(_is_targeted.experiment -> 'condition')
    and not experiment._passes(_is_targeted.payload, _is_targeted.experiment -> 'condition')
  then
    return;
  end if;
  if experiment._truthy(_is_targeted.experiment -> 'parentConditions') then
    select parents.* into v_parents
    from experiment._parents(
      _is_targeted.payload,
      _is_targeted.experiment -> 'parentConditions',
      _is_targeted.path,
      _is_targeted.docs,
      _is_targeted.evaluated
    ) as parents;
    _is_targeted.docs := v_parents.docs;
    _is_targeted.evaluated := v_parents.evaluated;
    if v_parents.verdict <> 'passed' then
      return;
    end if;
  end if;
  if experiment._truthy(_is_targeted.experiment -> 'groups') and not exists (
    select
    from jsonb_array_elements_text(_is_targeted.experiment -> 'groups') as wanted (name)
    where experiment._truthy(_is_targeted.payload -> 'groups' -> wanted.name)
  ) then
    return;
  end if;
  _is_targeted.passes := true;
end;
$$;

comment on function experiment._is_targeted(jsonb, jsonb, text, text[], jsonb, integer) is $$
Returns whether an experiment is meant for a person: filters or namespace, condition, prerequisites and groups.
$$;

grant execute on function experiment._is_targeted(jsonb, jsonb, text, text[], jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._run(
  payload jsonb,
  definition jsonb,
  feature_id text,
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
  v_experiment jsonb := _run.definition;
  v_attributes jsonb := _run.payload -> 'attributes';
  v_key text;
  v_variations int;
  v_variation int;
  v_attribute text;
  v_value jsonb;
  v_is_sticky boolean;
  v_found boolean := false;
  v_is_blocked boolean := false;
  v_passes boolean;
  v_n double precision;
  v_doc_key text;
  v_before jsonb;
  v_after jsonb;
begin
  if jsonb_typeof(v_experiment -> 'key') is distinct from 'string' then
    perform experiment._refuse_condition(v_experiment -> 'key', 'the key of the experiment', 'a text');
  elsif jsonb_typeof(v_experiment -> 'variations') is distinct from 'array' then
    perform experiment._refuse_condition(v_experiment -> 'variations', 'the variations of the experiment', 'an array');
  end if;
  v_key := v_experiment ->> 'key';
  v_variations := jsonb_array_length(v_experiment -> 'variations');
  <<decision>>
  begin
    if v_variations < 2 or _run.payload -> 'enabled' = 'false' then
      exit decision;
    end if;

    if jsonb_typeof(_run.payload -> 'overrides' -> v_key) = 'object' then
      v_experiment := v_experiment || (_run.payload -> 'overrides' -> v_key);
    end if;
    if jsonb_typeof(v_experiment -> 'contextualBandit') = 'object'
      and experiment._truthy(v_experiment -> 'weights')
    then
      v_experiment := jsonb_set(v_experiment, '{contextualBandit,variationWeights}', v_experiment -> 'weights');
    end if;

    if experiment._truthy(v_experiment -> 'urlPatterns')
      and not experiment._url_targeted(_run.payload ->> 'url', v_experiment -> 'urlPatterns')
    then
      exit decision;
    end if;
    v_variation := experiment._override(v_key, _run.payload ->> 'url', v_variations);
    if v_variation is null and jsonb_typeof(_run.payload -> 'forcedVariations') = 'object'
      and _run.payload -> 'forcedVariations' ? v_key
    then
      v_variation := experiment._position(_run.payload -> 'forcedVariations' -> v_key, 'the forced variation');
    end if;
    if v_variation is not null then
      _run.result := experiment._result(_run.payload, v_experiment, v_variation, _run.feature_id);
      exit decision;
    end if;
    if v_experiment -> 'status' = '"draft"' or v_experiment -> 'active' = 'false' then
      exit decision;
    end if;

    v_is_sticky := experiment._is_sticky(_run.payload, v_experiment);
    select hashed.attribute, hashed.value into v_attribute, v_value
    from experiment._hash_attribute(
      v_attributes,
      v_experiment -> 'hashAttribute',
      case when v_is_sticky then v_experiment -> 'fallbackAttribute' end
    ) as hashed;
    if not experiment._truthy(v_value) then
      exit decision;
    end if;
    if v_is_sticky then
      select sticky.variation, sticky.variation >= 0, sticky.is_blocked into v_variation, v_found, v_is_blocked
      from experiment._sticky_variation(_run.docs, v_attributes, v_experiment) as sticky;
    end if;

    if not v_found then
      select checked.docs, checked.evaluated, checked.passes into _run.docs, _run.evaluated, v_passes
      from experiment._is_targeted(
        _run.payload, v_experiment, experiment._js_text(v_value), _run.path, _run.docs, _run.evaluated
      ) as checked;
      if not v_passes then
        exit decision;
      end if;
    end if;
    if experiment._truthy(v_experiment -> 'url')
      and not experiment._url_matches(_run.payload ->> 'url', v_experiment ->> 'url')
    then
      exit decision;
    end if;

    v_n := experiment.hash(
      case
        when experiment._truthy(v_experiment -> 'seed') then experiment._js_text(v_experiment -> 'seed')
        else v_key
      end,
      experiment._js_text(v_value),
      experiment._hash_version(v_experiment -> 'hashVersion', 1)
    );
    if v_n is null then
      exit decision;
    end if;
    if not v_found then
      v_variation := experiment._variation(v_n, v_experiment);
    end if;
    if v_is_blocked then
      _run.result := experiment._result(
        _run.payload, v_experiment, -1, _run.feature_id, sticky_bucket_used => true
      );
      exit decision;
    end if;
    if v_variation < 0 then
      exit decision;
    end if;
    if v_experiment ? 'force' then
      _run.result := experiment._result(
        _run.payload,
        v_experiment,
        experiment._position(v_experiment -> 'force', 'the forced variation'),
        _run.feature_id
      );
      exit decision;
    end if;
    if experiment._truthy(_run.payload -> 'qaMode') or v_experiment -> 'status' = '"stopped"' then
      exit decision;
    end if;

    _run.result := experiment._result(
      _run.payload, v_experiment, v_variation, _run.feature_id, true, v_n, v_found
    );
    if v_is_sticky then
      v_doc_key := experiment._sticky_key(v_attribute, v_value);
      v_before := experiment._assignments(_run.docs -> v_doc_key);
      v_after := v_before
        || jsonb_build_object(experiment._sticky_experiment_key(v_experiment), _run.result -> 'key');
      if v_after <> v_before then
        _run.docs := _run.docs || jsonb_build_object(
          v_doc_key,
          jsonb_build_object(
            'attributeName', v_attribute,
            'attributeValue', substr(v_doc_key, length(v_attribute) + 3),
            'assignments', v_after
          )
        );
      end if;
    end if;
  end;
  if _run.result is null then
    _run.result := experiment._result(_run.payload, v_experiment, -1, _run.feature_id);
  end if;
end;
$$;

comment on function experiment._run(jsonb, jsonb, text, text[], jsonb, integer) is $$
Returns GrowthBook's result of an experiment, and the documents of sticky buckets after it.
The path is that of the features under evaluation, `evaluated` their number so far.
$$;

grant execute on function experiment._run(jsonb, jsonb, text, text[], jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
