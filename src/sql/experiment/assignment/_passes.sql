create or replace function experiment._passes(payload jsonb, wanted jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment._eval_condition(
    _passes.payload -> 'attributes',
    experiment._doubles(_passes.wanted),
    coalesce(_passes.payload -> 'savedGroups', '{}'),
    0
  );
end;
$$;

comment on function experiment._passes(jsonb, jsonb) is $$
Returns whether the attributes of a payload fulfil a condition.
$$;

grant execute on function experiment._passes(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
