create or replace function experiment._check_rules(feature_key text, value_type text, rules jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fields constant text[] :=
    '{id,description,force,condition,parentConditions,coverage,hashAttribute,hashVersion,seed}';
  v_attributes text[];
  v_rule jsonb;
  v_field text;
begin
  if jsonb_typeof(_check_rules.rules) <> 'array' then
    perform common.refuse('CF001', format('the rules are %s', left(_check_rules.rules::text, 100)),
      'Give a list such as [{"condition": {"role": "staff"}, "force": true}].');
  elsif jsonb_array_length(_check_rules.rules) > 100 then
    perform common.refuse('CF008', format('there are %s rules', jsonb_array_length(_check_rules.rules)),
      'A feature can have 100.');
  elsif _check_rules.rules = '[]' then
    return;
  end if;
  v_attributes := experiment._known_attributes(true);
  for v_rule in select entry.value from jsonb_array_elements(_check_rules.rules) as entry loop
    if jsonb_typeof(v_rule) <> 'object' then
      perform common.refuse('CF001', format('a rule is %s', left(v_rule::text, 100)),
        'Give an object such as {"condition": {"role": "staff"}, "force": true}.');
    elsif v_rule ? 'variations' then
      perform common.refuse('CF001', 'a rule has variations', 'Use experiment.define_experiment for an experiment.');
    end if;
    for v_field in select entry.key from jsonb_object_keys(v_rule) as entry (key) loop
      if v_field <> all (v_fields) then
        perform common.refuse(
          'CF001', format('a rule has the unknown field "%s"', left(v_field, 100)),
          coalesce('Did you mean "' || common.nearest_name(v_field, v_fields) || '"?',
            'Use ' || array_to_string(v_fields, ', ') || '.')
        );
      end if;
    end loop;
    perform experiment._check_value(v_rule -> 'force', _check_rules.value_type, 'the value that a rule forces');
    if v_rule ? 'condition' then
      perform experiment._check_condition(v_rule -> 'condition', v_attributes);
    end if;
    if v_rule ? 'parentConditions' then
      perform experiment._check_parents(v_rule -> 'parentConditions', _check_rules.feature_key);
    end if;
    if v_rule ? 'coverage' and not coalesce(
      case when jsonb_typeof(v_rule -> 'coverage') = 'number' then
        (v_rule ->> 'coverage')::numeric between 0 and 1
      end, false
    ) then
      perform common.refuse('CF001', format('the coverage of a rule is %s', left((v_rule -> 'coverage')::text, 100)),
        'Give a number from 0 to 1.');
    elsif v_rule ? 'hashVersion' and v_rule -> 'hashVersion' not in ('1', '2') then
      perform common.refuse('CF001', format('hashVersion is %s', left((v_rule -> 'hashVersion')::text, 100)),
        'Use 2, or 1 for old clients.');
    elsif v_rule ? 'hashAttribute' and v_rule ->> 'hashAttribute' <> all (v_attributes) then
      perform experiment._refuse_unknown_name('attribute', v_rule ->> 'hashAttribute', v_attributes,
        'Use id or anonymousId.');
    end if;
    if exists (
      select from unnest('{id,description,seed,hashAttribute}'::text[]) as field (name)
      where v_rule ? field.name
        and (jsonb_typeof(v_rule -> field.name) <> 'string' or length(v_rule ->> field.name) > 2000)
    ) then
      perform common.refuse('CF001', format('a rule is %s', left(v_rule::text, 100)),
        'id, description, seed and hashAttribute are strings.');
    end if;
  end loop;
end;
$$;

comment on function experiment._check_rules(text, text, jsonb) is $$
@behavior -*
Raises an error for rules that a feature cannot have. Errors: CF001, CF002, CF008.
$$;
