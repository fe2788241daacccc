create or replace function experiment.eval_condition(
  attributes jsonb,
  condition jsonb,
  saved_groups jsonb default '{}'
)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment._eval_condition(
    coalesce(experiment._doubles(eval_condition.attributes), 'null'),
    experiment._doubles(eval_condition.condition),
    coalesce(eval_condition.saved_groups, '{}'),
    0
  );
end;
$$;

comment on function experiment.eval_condition(jsonb, jsonb, jsonb) is $$
Returns whether attributes fulfil a targeting condition, equal to GrowthBook's clients.
A condition is an object of paths such as `address.country`, each with a value or with operators: `$eq`, `$ne`, `$lt`,
`$lte`, `$gt`, `$gte`, `$veq`, `$vne`, `$vlt`, `$vlte`, `$vgt`, `$vgte` (versions), `$in`, `$nin`, `$inGroup`,
`$notInGroup` (of `saved_groups`, arrays or groups with a type), `$all`, `$regex`, `$exists`, `$type`, `$size`,
`$elemMatch`, `$not`; `$ini`, `$nini`, `$alli` and `$regexi` without regard to case; `$and`, `$or`, `$nor` and `$not` of
conditions, `$savedGroup`. An operator that is not known never passes. Values convert as in JavaScript, a missing
attribute is null.
A condition that makes a client fail, such as `$or` without an array, raises CF009, one that is nested deeper than 64
levels CF008.
$$;

grant execute on function experiment.eval_condition(jsonb, jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
