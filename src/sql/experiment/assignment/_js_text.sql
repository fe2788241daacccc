create or replace function experiment._js_text(value jsonb, depth int default 0)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(_js_text.value)
    when 'string', 'boolean' then
      return _js_text.value #>> '{}';
    when 'number' then
      return experiment._double_text(experiment._double(_js_text.value #>> '{}'));
    when 'null' then
      return 'null';
    when 'object' then
      return '[object Object]';
    else
      perform experiment._check_depth(_js_text.depth);
      return (
        select coalesce(
          string_agg(
            case when element.value = 'null' then '' else experiment._js_text(element.value, _js_text.depth + 1) end,
            ',' order by element.number
          ),
          ''
        )
        from jsonb_array_elements(_js_text.value) with ordinality as element (value, number)
      );
  end case;
end;
$$;

comment on function experiment._js_text(jsonb, integer) is $$
Returns a JSON value as the text to which JavaScript converts it, which is hashed and compared.
$$;

grant execute on function experiment._js_text(jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
