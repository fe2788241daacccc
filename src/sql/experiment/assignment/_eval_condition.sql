create or replace function experiment._path(subject jsonb, path text)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value jsonb := _path.subject;
  v_part text;
begin
  foreach v_part in array case when _path.path = '' then array[''] else string_to_array(_path.path, '.') end loop
    v_value := case jsonb_typeof(v_value)
      when 'object' then v_value -> v_part
      when 'array' then case
        when v_part = 'length' then to_jsonb(jsonb_array_length(v_value))
        when v_part ~ '^(0|[1-9][0-9]{0,8})$' then v_value -> v_part::int
      end
    end;
    if v_value is null then
      return 'null';
    end if;
  end loop;
  return v_value;
end;
$$;

comment on function experiment._path(jsonb, text) is $$
Returns the value at a path of names divided by dots, JSON null if there is none.
A part selects a member of an object, or an element of an array by its position from 0.
$$;

grant execute on function experiment._path(jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._is_operators(rule jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(bool_and(starts_with(name.name, '$')), false)
  from jsonb_object_keys(_is_operators.rule) as name (name);
end;

comment on function experiment._is_operators(jsonb) is $$
Returns whether each member of a JSON object is an operator, and there is one.
$$;

grant execute on function experiment._is_operators(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._includes(list jsonb, item jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(_includes.item) in ('array', 'object') then
    return false;
  elsif _includes.list @> _includes.item then
    return true;
  elsif jsonb_typeof(_includes.item) = 'number' and _includes.list::text ~ '[0-9.]{16}' then
    return exists (
      select
      from jsonb_array_elements(_includes.list) as element (value)
      where jsonb_typeof(element.value) = 'number'
        and experiment._double(element.value #>> '{}') = experiment._double(_includes.item #>> '{}')
    );
  end if;
  return false;
end;
$$;

comment on function experiment._includes(jsonb, jsonb) is $$
Returns whether a JSON array includes a value of the same type and content.
As in JavaScript, an array or an object is in no other array, and numbers are compared in double precision.
$$;

grant execute on function experiment._includes(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._folded(value jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case jsonb_typeof(_folded.value)
    when 'string' then to_jsonb(experiment._lower(_folded.value #>> '{}'))
    when 'array' then (
      select coalesce(
        jsonb_agg(
          case
            when jsonb_typeof(element.value) = 'string' then to_jsonb(experiment._lower(element.value #>> '{}'))
            else element.value
          end
          order by element.number
        ),
        '[]'
      )
      from jsonb_array_elements(_folded.value) with ordinality as element (value, number)
    )
    else _folded.value
  end;
end;
$$;

comment on function experiment._folded(jsonb) is $$
Returns a JSON value with its text, or the texts of an array, in lower case.
$$;

grant execute on function experiment._folded(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._intersects(actual jsonb, list jsonb, insensitive boolean default false)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _intersects.insensitive then
    return experiment._intersects(experiment._folded(_intersects.actual), experiment._folded(_intersects.list));
  elsif jsonb_typeof(_intersects.actual) <> 'array' then
    return experiment._includes(_intersects.list, _intersects.actual);
  elsif jsonb_array_length(_intersects.actual) <= 4 then
    return coalesce(
      (
        select bool_or(experiment._includes(_intersects.list, element.value))
        from jsonb_array_elements(_intersects.actual) as element (value)
      ),
      false
    );
  end if;
  -- Of long arrays, a join; the elements of a list that JavaScript would round are compared as it does.
  return exists (
    select
    from jsonb_array_elements(_intersects.actual) as actual (value)
    join jsonb_array_elements(experiment._doubles(_intersects.list)) as element (value)
      on element.value = actual.value
    where jsonb_typeof(actual.value) not in ('array', 'object')
  );
end;
$$;

comment on function experiment._intersects(jsonb, jsonb, boolean) is $$
Returns whether a JSON array includes a value, or one of the values of an array, without regard to case if wanted.
$$;

grant execute on function experiment._intersects(jsonb, jsonb, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._compare_texts(a text, b text)
returns int
language sql
immutable
parallel safe
begin atomic
  select case
    when _compare_texts.a = _compare_texts.b then 0
    -- Surrogates come before the characters from U+E000.
    when _compare_texts.a || _compare_texts.b ~ '[\U00010000-\U0010ffff]' collate "C"
      then case
        when experiment._code_units(_compare_texts.a) < experiment._code_units(_compare_texts.b) then -1
        else 1
      end
    when _compare_texts.a < _compare_texts.b collate "C" then -1
    else 1
  end;
end;

comment on function experiment._compare_texts(text, text) is $$
Returns -1, 0 or 1 for the order of two texts by their UTF-16 code units.
$$;

grant execute on function experiment._compare_texts(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._compare(actual jsonb, expected jsonb)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_actual double precision;
  v_expected double precision;
begin
  if jsonb_typeof(_compare.actual) in ('string', 'array', 'object')
    and jsonb_typeof(_compare.expected) in ('string', 'array', 'object')
  then
    return experiment._compare_texts(experiment._js_text(_compare.actual), experiment._js_text(_compare.expected));
  end if;
  v_actual := experiment._js_number(_compare.actual);
  v_expected := experiment._js_number(_compare.expected);
  return case
    when v_actual = 'nan' or v_expected = 'nan' then null
    when v_actual < v_expected then -1
    when v_actual > v_expected then 1
    else 0
  end;
end;
$$;

comment on function experiment._compare(jsonb, jsonb) is $$
Returns -1, 0 or 1 as JavaScript orders two JSON values, null if it does not.
Two texts are compared by their code units, anything else as numbers; a value that is not a number has no order.
$$;

grant execute on function experiment._compare(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._version(value jsonb)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text text := case
    when jsonb_typeof(_version.value) in ('string', 'number') then experiment._js_text(_version.value)
    else ''
  end;
  v_parts text[];
begin
  v_text := case when v_text = '' then '0' else v_text end;
  v_text := regexp_replace(v_text, '^v', '');
  v_text := regexp_replace(v_text, '\+[^\n\r\u2028\u2029]*$', '');
  v_parts := case when v_text = '' then array[''] else regexp_split_to_array(v_text, '[-.]') end;
  if cardinality(v_parts) = 3 then
    v_parts := v_parts || '~'::text;
  end if;
  return (
    select string_agg(
      case when part.value ~ '^[0-9]{1,4}$' then lpad(part.value, 5) else part.value end,
      '-' order by part.number
    )
    from unnest(v_parts) with ordinality as part (value, number)
  );
end;
$$;

comment on function experiment._version(jsonb) is $$
Returns a version in a form whose order is that of versions.
The parts are divided by - and numbers padded to five places; a version of three parts comes after its pre-releases.
Another value than a text or a number is version 0.
$$;

grant execute on function experiment._version(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._elem_match(actual jsonb, rule jsonb, saved_groups jsonb, depth int)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_element jsonb;
  v_operators boolean;
begin
  if jsonb_typeof(_elem_match.rule) <> 'object' then
    perform experiment._refuse_condition(_elem_match.rule, '$elemMatch', 'a condition');
  end if;
  v_operators := experiment._is_operators(_elem_match.rule);
  for v_element in
    select element.value
    from jsonb_array_elements(_elem_match.actual) as element (value)
    where element.value <> 'null'
  loop
    if v_operators and experiment._eval_value(
      _elem_match.rule, v_element, _elem_match.saved_groups, false, _elem_match.depth
    ) or not v_operators and experiment._eval_condition(
      v_element, _elem_match.rule, _elem_match.saved_groups, _elem_match.depth
    ) then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function experiment._elem_match(jsonb, jsonb, jsonb, integer) is $$
Returns whether an element of an array fulfils operators or a condition.
A null element does not, as in GrowthBook.
$$;

grant execute on function experiment._elem_match(jsonb, jsonb, jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._has_all(
  actual jsonb,
  rules jsonb,
  saved_groups jsonb,
  insensitive boolean,
  depth int
)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule jsonb;
  v_element jsonb;
  v_passes boolean;
begin
  for v_rule in select element.value from jsonb_array_elements(_has_all.rules) as element (value) loop
    v_passes := jsonb_typeof(v_rule) = 'string' and _has_all.actual @> v_rule;
    if not v_passes then
      for v_element in select element.value from jsonb_array_elements(_has_all.actual) as element (value) loop
        v_passes := experiment._eval_value(
          v_rule, v_element, _has_all.saved_groups, _has_all.insensitive, _has_all.depth
        );
        exit when v_passes;
      end loop;
    end if;
    if v_passes is not true then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

comment on function experiment._has_all(jsonb, jsonb, jsonb, boolean, integer) is $$
Returns whether each of the rules is fulfilled by an element of an array.
$$;

grant execute on function experiment._has_all(jsonb, jsonb, jsonb, boolean, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._eval_value(
  rule jsonb,
  actual jsonb,
  saved_groups jsonb,
  insensitive boolean,
  depth int
)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_operator text;
  v_expected jsonb;
  v_order int;
  v_passes boolean;
  v_actual_type text := jsonb_typeof(_eval_value.actual);
begin
  case jsonb_typeof(_eval_value.rule)
    when 'string' then
      return case
        when _eval_value.insensitive
          then experiment._lower(experiment._js_text(_eval_value.actual)) = experiment._lower(_eval_value.rule #>> '{}')
        when v_actual_type = 'string' then _eval_value.actual = _eval_value.rule
        else experiment._js_text(_eval_value.actual) = _eval_value.rule #>> '{}'
      end;
    when 'number' then
      return experiment._js_number(_eval_value.actual) = experiment._double(_eval_value.rule #>> '{}');
    when 'boolean' then
      return v_actual_type <> 'null' and experiment._truthy(_eval_value.actual) = _eval_value.rule::boolean;
    when 'null', 'array' then
      return _eval_value.actual = _eval_value.rule;
    else
      null;
  end case;
  if not experiment._is_operators(_eval_value.rule) then
    return _eval_value.actual = _eval_value.rule;
  end if;
  perform experiment._check_depth(_eval_value.depth);
  for v_operator, v_expected in select member.key, member.value from jsonb_each(_eval_value.rule) as member loop
    case
      when v_operator in ('$eq', '$ne') then
        v_passes := (
          v_actual_type not in ('array', 'object') and _eval_value.actual = v_expected
        ) = (v_operator = '$eq');
      when v_operator in ('$lt', '$lte', '$gt', '$gte') then
        v_order := experiment._compare(_eval_value.actual, v_expected);
        v_passes := case v_operator
          when '$lt' then v_order < 0
          when '$lte' then v_order <= 0
          when '$gt' then v_order > 0
          else v_order >= 0
        end;
      when v_operator in ('$veq', '$vne', '$vlt', '$vlte', '$vgt', '$vgte') then
        v_order := experiment._compare_texts(
          experiment._version(_eval_value.actual), experiment._version(v_expected)
        );
        v_passes := case v_operator
          when '$veq' then v_order = 0
          when '$vne' then v_order <> 0
          when '$vlt' then v_order < 0
          when '$vlte' then v_order <= 0
          when '$vgt' then v_order > 0
          else v_order >= 0
        end;
      when v_operator = '$exists' then
        v_passes := experiment._truthy(v_expected) = (v_actual_type <> 'null');
      when v_operator in ('$in', '$nin', '$ini', '$nini') then
        v_passes := jsonb_typeof(v_expected) = 'array'
          and experiment._intersects(_eval_value.actual, v_expected, v_operator in ('$ini', '$nini'))
            = (v_operator in ('$in', '$ini'));
      when v_operator in ('$inGroup', '$notInGroup') then
        -- A group that is missing is empty; one without a list of values has no members, and nobody is outside of it.
        v_expected := coalesce(_eval_value.saved_groups -> experiment._js_text(v_expected), '[]');
        if v_expected -> 'type' = '"list"' then
          v_expected := v_expected -> 'values';
        end if;
        v_passes := jsonb_typeof(v_expected) = 'array'
          and experiment._intersects(_eval_value.actual, v_expected) = (v_operator = '$inGroup');
      when v_operator = '$not' then
        v_passes := not experiment._eval_value(
          v_expected, _eval_value.actual, _eval_value.saved_groups, false, _eval_value.depth + 1
        );
      when v_operator = '$size' then
        v_passes := v_actual_type = 'array' and experiment._eval_value(
          v_expected,
          to_jsonb(jsonb_array_length(_eval_value.actual)),
          _eval_value.saved_groups,
          false,
          _eval_value.depth + 1
        );
      when v_operator = '$elemMatch' then
        v_passes := v_actual_type = 'array' and experiment._elem_match(
          _eval_value.actual, v_expected, _eval_value.saved_groups, _eval_value.depth + 1
        );
      when v_operator in ('$all', '$alli') then
        v_passes := v_actual_type = 'array' and jsonb_typeof(v_expected) = 'array' and experiment._has_all(
          _eval_value.actual,
          v_expected,
          _eval_value.saved_groups,
          v_operator = '$alli',
          _eval_value.depth + 1
        );
      when v_operator in ('$regex', '$regexi') then
        v_passes := jsonb_typeof(v_expected) = 'string' and experiment._matches(
          experiment._js_text(_eval_value.actual), v_expected #>> '{}', v_operator = '$regexi'
        );
      when v_operator = '$type' then
        v_passes := v_expected = to_jsonb(v_actual_type);
      else
        -- An operator that is not known never passes, as in GrowthBook's clients, which log it.
        v_passes := false;
    end case;
    if v_passes is not true then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

comment on function experiment._eval_value(jsonb, jsonb, jsonb, boolean, integer) is $$
Returns whether a value fulfils the rule of a condition: a value that it equals, or operators such as `{"$gt": 3}`.
Equality converts as JavaScript does: the rule "1" takes the number 1 and the rule 1 the text "1".
$$;

grant execute on function experiment._eval_value(jsonb, jsonb, jsonb, boolean, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._in_saved_group(subject jsonb, reference jsonb, saved_groups jsonb, depth int)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_group jsonb := _in_saved_group.saved_groups -> (_in_saved_group.reference ->> 'id');
  v_attribute jsonb := coalesce(nullif(_in_saved_group.reference -> 'attributeKey', 'null'), v_group -> 'attributeKey');
begin
  if jsonb_typeof(_in_saved_group.reference) <> 'object'
    or jsonb_typeof(_in_saved_group.reference -> 'id') is distinct from 'string'
    or jsonb_typeof(_in_saved_group.reference -> 'attributeKey') <> 'string'
    or jsonb_typeof(v_group) is distinct from 'object'
  then
    return false;
  elsif v_group -> 'type' = '"list"' then
    return jsonb_typeof(v_attribute) is not distinct from 'string'
      and jsonb_typeof(v_group -> 'values') is not distinct from 'array'
      and experiment._intersects(
        experiment._path(_in_saved_group.subject, v_attribute #>> '{}'), v_group -> 'values'
      );
  elsif v_group -> 'type' = '"condition"' and jsonb_typeof(v_group -> 'condition') in ('object', 'array') then
    -- Within its own condition a group has no members.
    return experiment._eval_condition(
      _in_saved_group.subject,
      experiment._doubles(v_group -> 'condition'),
      _in_saved_group.saved_groups || jsonb_build_object(_in_saved_group.reference ->> 'id', null),
      _in_saved_group.depth
    );
  end if;
  return false;
end;
$$;

comment on function experiment._in_saved_group(jsonb, jsonb, jsonb, integer) is $$
Returns whether attributes are in a saved group with a type, `list` (of values of an attribute) or `condition`.
A reference is such as `{"id": "staff", "attributeKey": "email"}`; one that is not known has no members.
$$;

grant execute on function experiment._in_saved_group(jsonb, jsonb, jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._eval_condition(subject jsonb, wanted jsonb, saved_groups jsonb, depth int)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key text;
  v_rule jsonb;
  v_condition jsonb;
  v_passes boolean;
begin
  perform experiment._check_depth(_eval_condition.depth);
  if jsonb_typeof(_eval_condition.wanted) is distinct from 'object' then
    perform experiment._refuse_condition(_eval_condition.wanted, 'a condition', 'an object');
  end if;
  for v_key, v_rule in select member.key, member.value from jsonb_each(_eval_condition.wanted) as member loop
    if v_key in ('$or', '$nor', '$and') then
      if jsonb_typeof(v_rule) <> 'array' then
        perform experiment._refuse_condition(v_rule, v_key, 'an array of conditions');
      end if;
      -- An empty list passes, of $nor too as one of its conditions would.
      v_passes := v_key = '$and' or v_rule = '[]';
      for v_condition in select element.value from jsonb_array_elements(v_rule) as element (value) loop
        v_passes := experiment._eval_condition(
          _eval_condition.subject, v_condition, _eval_condition.saved_groups, _eval_condition.depth + 1
        );
        exit when v_passes <> (v_key = '$and');
      end loop;
      if v_passes = (v_key = '$nor') then
        return false;
      end if;
    elsif v_key = '$not' then
      if experiment._eval_condition(
        _eval_condition.subject, v_rule, _eval_condition.saved_groups, _eval_condition.depth + 1
      ) then
        return false;
      end if;
    elsif v_key = '$savedGroup' then
      if not experiment._in_saved_group(
        _eval_condition.subject, v_rule, _eval_condition.saved_groups, _eval_condition.depth + 1
      ) then
        return false;
      end if;
    elsif not experiment._eval_value(
      v_rule,
      experiment._path(_eval_condition.subject, v_key),
      _eval_condition.saved_groups,
      false,
      _eval_condition.depth + 1
    ) then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

comment on function experiment._eval_condition(jsonb, jsonb, jsonb, integer) is $$
Returns whether a JSON value fulfils a condition of GrowthBook; see `experiment.eval_condition`.
Its numbers are double precision in their least digits already.
$$;

grant execute on function experiment._eval_condition(jsonb, jsonb, jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
