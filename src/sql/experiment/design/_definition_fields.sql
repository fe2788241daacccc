create or replace function experiment._definition_fields()
returns table (
  name text, type text, lowest numeric, highest numeric, choices text[], default_value jsonb
)
language sql
immutable
parallel safe
begin atomic
  select field.name, field.type, field.lowest, field.highest, field.choices, field.default_value::jsonb
  from (
    values
      ('key', 'string', null::numeric, null::numeric, null::text[], null),
      ('name', 'string', 1, 200, null, null),
      ('hypothesis', 'string', 1, 10000, null, null),
      ('feature', 'string', 1, 100, null, null),
      ('placement', 'string', 1, 100, null, null),
      ('variations', 'array', 2, 50, null, null),
      ('weights', 'array', 2, 50, null, null),
      ('coverage', 'number', 0.0001, 1, null, '1'),
      ('hash_attribute', 'string', 1, 100, null, '"id"'),
      ('fallback_attribute', 'string', 1, 100, null, null),
      ('hash_version', 'integer', 1, 2, null, '2'),
      ('seed', 'string', 1, 200, null, null),
      ('layer', 'string', 1, 63, null, null),
      ('layer_from', 'number', 0, 1, null, null),
      ('layer_until', 'number', 0, 1, null, null),
      ('holdout', 'string', 1, 63, null, null),
      ('condition', 'object', null, null, null, null),
      ('parent_conditions', 'array', 0, 20, null, null),
      ('is_sticky', 'boolean', null, null, null, 'false'),
      ('bucket_version', 'integer', 0, 1000000, null, '0'),
      ('min_bucket_version', 'integer', 0, 1000000, null, '0'),
      ('population', 'string', 1, 100, null, '"counted"'),
      ('strata', 'string', 1, 110, null, null),
      ('test', 'string', null, null, array['welch', 'sequential', 'bayesian'], '"sequential"'),
      ('alpha', 'number', 0.000001, 0.4999, null, '0.05'),
      ('tuning', 'number', 1, 1000000000, null, '5000'),
      ('correction', 'string', null, null, array['none', 'holm', 'benjamini_hochberg'], '"none"'),
      ('before_period', 'interval', 0, null, null, '"14 days"'),
      ('planned_people', 'integer', 1, 2000000000, null, null),
      ('minimum_duration', 'interval', 0, null, null, '"7 days"'),
      ('maximum_duration', 'interval', 1, null, null, null),
      ('is_decided_automatically', 'boolean', null, null, null, 'false'),
      ('bandit', 'string', null, null, array['thompson', 'top_two'], null),
      ('minimum_weight', 'number', 0, 0.5, null, '0.01'),
      ('update_interval', 'interval', 60, null, null, '"1 day"'),
      ('goals', 'array', 0, 20, null, null),
      ('secondary', 'array', 0, 50, null, null),
      ('guardrails', 'array', 0, 20, null, null)
  ) as field (name, type, lowest, highest, choices, default_value);
end;

comment on function experiment._definition_fields() is $$
@behavior -*
Returns the fields of the definition of an experiment.
Each with its type, the range of its number, length or seconds, its choices and its default.
$$;
