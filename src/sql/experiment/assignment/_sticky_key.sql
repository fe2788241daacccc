create or replace function experiment._js_json(value jsonb, depth int default 0)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(_js_json.value)
    when 'array' then
      perform experiment._check_depth(_js_json.depth);
      return (
        select '[' || coalesce(
          string_agg(experiment._js_json(element.value, _js_json.depth + 1), ',' order by element.number),
          ''
        ) || ']'
        from jsonb_array_elements(_js_json.value) with ordinality as element (value, number)
      );
    when 'object' then
      perform experiment._check_depth(_js_json.depth);
      return (
        select '{' || coalesce(
          string_agg(
            to_json(member.key)::text || ':' || experiment._js_json(member.value, _js_json.depth + 1),
            ',' order by member.number
          ),
          ''
        ) || '}'
        from jsonb_each(_js_json.value) with ordinality as member (key, value, number)
      );
    when 'number' then
      return experiment._js_text(_js_json.value);
    else
      return _js_json.value::text;
  end case;
end;
$$;

comment on function experiment._js_json(jsonb, integer) is $$
Returns JSON as JavaScript writes it, without blanks; the members of an object in the order of jsonb.
$$;

grant execute on function experiment._js_json(jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._sticky_key(attribute text, value jsonb)
returns text
language sql
immutable
parallel safe
begin atomic
  select _sticky_key.attribute || '||' || case jsonb_typeof(_sticky_key.value)
    when 'string' then _sticky_key.value #>> '{}'
    else experiment._js_json(_sticky_key.value)
  end;
end;

comment on function experiment._sticky_key(text, jsonb) is $$
Returns the key of the document of sticky buckets for a value of an attribute.
$$;

grant execute on function experiment._sticky_key(text, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
