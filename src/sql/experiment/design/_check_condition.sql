/*
 * The operators are those of GrowthBook's SDK. The SDK regards a condition that it cannot evaluate as not fulfilled,
 * so that a misspelt one would select no person, without an error.
 */
create or replace function experiment._check_condition(
  condition jsonb,
  attributes text[],
  depth int default 0
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_logical constant text[] := '{$and,$or,$nor,$not}';
  -- Those of clients, and the traits that Segment reserves for names and addresses of people.
  v_identifying constant text[] := '{id,anonymousId,deviceId,sessionId,pageId,userId,email,name,firstName,lastName,'
    'username,phone,address,avatar,birthday}';
  v_key text;
  v_value jsonb;
  v_name text;
begin
  if jsonb_typeof(_check_condition.condition) is distinct from 'object' then
    perform common.refuse(
      'CF001',
      format('%s is not a condition', coalesce(left(_check_condition.condition::text, 100), 'null')),
      'Give an object in GrowthBook''s form, such as {"country": "DE", "age": {"$gte": 18}}.'
    );
  elsif _check_condition.depth > 20 then
    perform common.refuse('CF008', 'a condition has more than 20 levels', 'Write it with fewer levels.');
  end if;

  for v_key, v_value in select entry.key, entry.value from jsonb_each(_check_condition.condition) as entry loop
    if v_key in ('$and', '$or', '$nor') then
      if jsonb_typeof(v_value) <> 'array' or jsonb_array_length(v_value) = 0 then
        perform common.refuse('CF001', format('%s has the value %s', v_key, left(v_value::text, 100)),
          'Give a list of conditions.');
      end if;
      perform experiment._check_condition(part.value, _check_condition.attributes, _check_condition.depth + 1)
      from jsonb_array_elements(v_value) as part (value);
    elsif v_key = '$not' then
      perform experiment._check_condition(v_value, _check_condition.attributes, _check_condition.depth + 1);
    elsif v_key = '$savedGroup' then
      perform common.refuse('CF001', 'the condition uses $savedGroup',
        'Saved groups are not served to clients: use a trait.');
    elsif starts_with(v_key, '$') then
      perform common.refuse(
        'CF001',
        format('the condition has an unknown operator "%s"', left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_logical) || '"?',
          'Use ' || array_to_string(v_logical, ', ') || ', or an operator in the value of an attribute.')
      );
    else
      v_name := split_part(v_key, '.', 1);
      if _check_condition.attributes is not null and v_name <> all (_check_condition.attributes) then
        perform experiment._refuse_unknown_name(
          'attribute', v_name, _check_condition.attributes,
          'Attributes are id, anonymousId, those of the client, and the traits of people.'
        );
      elsif _check_condition.attributes is not null
        and v_name = any (v_identifying)
        and v_value not in ('{"$exists": true}', '{"$exists": false}')
      then
        perform common.refuse(
          'CF001',
          format('the condition compares "%s", which identifies people', v_name),
          'Conditions are public, because clients evaluate them. Use a trait, such as {"role": "tester"}, or $exists.'
        );
      end if;
      perform experiment._check_operators(v_value, _check_condition.depth + 1);
    end if;
  end loop;
end;
$$;

comment on function experiment._check_condition(jsonb, text[], int) is $$
@behavior -*
Raises an error for a condition that GrowthBook's SDK cannot evaluate, or that names what does not exist.
`attributes`: the names that may be used; null: any.
Errors: CF001 (names an unknown operator and the nearest), CF002 (an unknown attribute), CF008 (too deep).
$$;
