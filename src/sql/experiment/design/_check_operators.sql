create or replace function experiment._check_operators(value jsonb, depth int)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_operators constant text[] := '{$eq,$ne,$lt,$lte,$gt,$gte,$veq,$vne,$vlt,$vlte,$vgt,$vgte,$in,$nin,$ini,$nini,'
    '$exists,$not,$size,$elemMatch,$all,$alli,$regex,$regexi,$type}';
  v_types constant text[] := '{string,number,boolean,array,object,null}';
  v_key text;
  v_value jsonb;
  v_is_valid boolean;
begin
  if _check_operators.depth > 20 then
    perform common.refuse('CF008', 'a condition has more than 20 levels', 'Write it with fewer levels.');
  end if;
  -- Anything else than an object of operators is a value for equality.
  if jsonb_typeof(_check_operators.value) <> 'object'
    or not exists (select from jsonb_object_keys(_check_operators.value) as entry (key) where starts_with(key, '$'))
  then
    return;
  elsif exists (
    select from jsonb_object_keys(_check_operators.value) as entry (key) where not starts_with(key, '$')
  ) then
    perform common.refuse(
      'CF001',
      format('%s mixes operators and values', left(_check_operators.value::text, 100)),
      'Clients compare such an object as a whole. Give operators only.'
    );
  end if;
  for v_key, v_value in select entry.key, entry.value from jsonb_each(_check_operators.value) as entry loop
    if v_key in ('$inGroup', '$notInGroup') then
      perform common.refuse('CF001', format('the condition uses %s', v_key),
        'Saved groups are not served to clients: use a trait.');
    elsif v_key <> all (v_operators) then
      perform common.refuse(
        'CF001',
        format('the condition has an unknown operator "%s"', left(v_key, 100)),
        coalesce('Did you mean "' || common.nearest_name(v_key, v_operators) || '"?',
          'Use one of ' || array_to_string(v_operators, ', ') || '.')
      );
    end if;
    v_is_valid := case
      when v_key in ('$in', '$nin', '$ini', '$nini', '$all', '$alli') then jsonb_typeof(v_value) = 'array'
      when v_key = '$exists' then jsonb_typeof(v_value) = 'boolean'
      when v_key = '$type' then v_value #>> '{}' = any (v_types)
      when v_key in ('$regex', '$regexi') then jsonb_typeof(v_value) = 'string'
      when v_key in ('$veq', '$vne', '$vlt', '$vlte', '$vgt', '$vgte')
        then jsonb_typeof(v_value) in ('string', 'number')
      when v_key in ('$lt', '$lte', '$gt', '$gte') then jsonb_typeof(v_value) in ('string', 'number')
      -- Clients compare lists and objects by identity, so that none is equal.
      when v_key in ('$eq', '$ne') then jsonb_typeof(v_value) not in ('array', 'object')
      when v_key = '$size' then jsonb_typeof(v_value) in ('number', 'object')
      when v_key = '$elemMatch' then jsonb_typeof(v_value) = 'object'
      else true
    end;
    if not coalesce(v_is_valid, false) then
      perform common.refuse(
        'CF001',
        format('%s has the value %s', v_key, left(v_value::text, 100)),
        case
          when v_key = '$exists' then 'Give true or false.'
          when v_key = '$type' then 'Give one of ' || array_to_string(v_types, ', ') || '.'
          when v_key like '$%egex%' then 'Give a regular expression as a string.'
          when v_key in ('$in', '$nin', '$ini', '$nini', '$all', '$alli') then 'Give a list of values.'
          when v_key in ('$eq', '$ne') then 'Give a string, a number, true, false or null; compare lists without $eq.'
          when v_key = '$elemMatch' then 'Give operators, or a condition on the elements.'
          when v_key = '$size' then 'Give a number, or operators on the number of elements.'
          else 'Give a number or a string.'
        end
      );
    end if;
    if v_key in ('$regex', '$regexi') then
      if experiment._regex(v_value #>> '{}', v_key = '$regexi') is null then
        perform common.refuse(
          'CF001',
          format('"%s" is not a regular expression', left(v_value #>> '{}', 100)),
          'Use the syntax of JavaScript.'
        );
      end if;
      perform experiment._matches('', v_value #>> '{}', v_key = '$regexi');
    elsif v_key in ('$not', '$size') then
      perform experiment._check_operators(v_value, _check_operators.depth + 1);
    elsif v_key in ('$all', '$alli') then
      perform experiment._check_operators(element.value, _check_operators.depth + 1)
      from jsonb_array_elements(v_value) as element (value);
    elsif v_key = '$elemMatch' then
      if exists (select from jsonb_object_keys(v_value) as entry (key) where starts_with(key, '$')) then
        perform experiment._check_operators(v_value, _check_operators.depth + 1);
      else
        perform experiment._check_condition(v_value, null, _check_operators.depth + 1);
      end if;
    end if;
  end loop;
end;
$$;

comment on function experiment._check_operators(jsonb, int) is $$
@behavior -*
Raises CF001 or CF008 for operators of a condition that GrowthBook's SDK does not know.
$$;
