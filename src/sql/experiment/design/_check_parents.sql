create or replace function experiment._check_parents(parents jsonb, feature_key text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parent jsonb;
  v_cycle text;
begin
  if jsonb_typeof(_check_parents.parents) <> 'array' then
    perform common.refuse('CF001', format('the prerequisites are %s', left(_check_parents.parents::text, 100)),
      'Give a list such as [{"id": "player", "condition": {"value": true}}].');
  end if;
  for v_parent in select entry.value from jsonb_array_elements(_check_parents.parents) as entry loop
    if jsonb_typeof(v_parent) <> 'object'
      or jsonb_typeof(v_parent -> 'id') is distinct from 'string'
      or v_parent - '{id,condition,gate}'::text[] <> '{}'
      or jsonb_typeof(coalesce(v_parent -> 'gate', 'false')) <> 'boolean'
    then
      perform common.refuse('CF001', format('a prerequisite is %s', left(v_parent::text, 100)),
        'Give an object with the id of a feature and a condition on its value, {"value": true}.');
    elsif not exists (select from experiment.feature as known where known.feature_key = v_parent ->> 'id') then
      perform experiment._refuse_unknown_name(
        'feature', v_parent ->> 'id',
        array(select known.feature_key from experiment.feature as known order by known.feature_key limit 1000),
        'Create it with experiment.define_feature.'
      );
    end if;
    perform experiment._check_condition(v_parent -> 'condition', null);
    if exists (
      select from jsonb_object_keys(v_parent -> 'condition') as entry (key)
      where split_part(entry.key, '.', 1) <> 'value' and not starts_with(entry.key, '$')
    ) then
      perform common.refuse('CF001', format('the condition of a prerequisite is %s',
        left((v_parent -> 'condition')::text, 100)), 'Compare the value of the feature: {"value": true}.');
    end if;
  end loop;

  -- The features that a feature needs, by its rules and by the experiments on it.
  with recursive need as (
    select known.feature_key, parent.value ->> 'id' as parent_key
    from experiment.feature as known
    cross join lateral jsonb_array_elements(known.rules) as rule (value)
    cross join lateral jsonb_array_elements(coalesce(rule.value -> 'parentConditions', '[]')) as parent (value)
    union
    select known.feature_key, parent.value ->> 'id'
    from experiment.experiment as known
    cross join lateral jsonb_array_elements(known.parent_conditions) as parent (value)
    where known.feature_key is not null and known.state in ('draft', 'running')
  ),

  needed (feature_key) as (
    select parent.value ->> 'id'
    from jsonb_array_elements(_check_parents.parents) as parent (value)
    union
    select need.parent_key
    from needed
    join need using (feature_key)
  )

  select needed.feature_key into v_cycle
  from needed
  where needed.feature_key = _check_parents.feature_key;
  if found then
    perform common.refuse('CF001', format('the feature "%s" would need itself', left(v_cycle, 100)),
      'Remove one of the prerequisites.');
  end if;
end;
$$;

comment on function experiment._check_parents(jsonb, text) is $$
@behavior -*
Raises an error for prerequisites that are invalid, that name an unknown feature, or that need `feature_key` itself.
Errors: CF001, CF002.
$$;
