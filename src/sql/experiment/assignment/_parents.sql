create or replace function experiment._parents(
  payload jsonb,
  parents jsonb,
  path text[],
  inout docs jsonb,
  inout evaluated int,
  out verdict text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_parent jsonb;
  v_result jsonb;
begin
  if jsonb_typeof(_parents.parents) <> 'array' then
    perform experiment._refuse_condition(_parents.parents, 'parentConditions', 'an array of conditions');
  end if;
  for v_parent in select element.value from jsonb_array_elements(_parents.parents) as element (value) loop
    if jsonb_typeof(v_parent -> 'id') is distinct from 'string' then
      perform experiment._refuse_condition(v_parent, 'a prerequisite', 'an object with the id of a feature');
    end if;
    select feature.docs, feature.evaluated, feature.result into _parents.docs, _parents.evaluated, v_result
    from experiment._feature(
      _parents.payload, v_parent ->> 'id', _parents.path, _parents.docs, _parents.evaluated
    ) as feature;
    if v_result -> 'source' = '"cyclicPrerequisite"' then
      _parents.verdict := 'cyclic';
      return;
    end if;
    if experiment._truthy(v_parent -> 'condition') and not experiment._eval_condition(
      experiment._doubles(jsonb_build_object('value', v_result -> 'value')),
      experiment._doubles(v_parent -> 'condition'),
      coalesce(_parents.payload -> 'savedGroups', '{}'),
      0
    ) then
      _parents.verdict := case when experiment._truthy(v_parent -> 'gate') then 'blocked' else 'failed' end;
      return;
    end if;
  end loop;
  _parents.verdict := 'passed';
end;
$$;

comment on function experiment._parents(jsonb, jsonb, text[], jsonb, integer) is $$
Returns whether the features that an experiment or a rule needs have the values that it needs.
The verdict is passed, failed, blocked (by a prerequisite that is a gate) or cyclic (it is under evaluation already).
$$;

grant execute on function experiment._parents(jsonb, jsonb, text[], jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
