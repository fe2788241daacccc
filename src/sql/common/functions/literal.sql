create or replace function common.literal(value jsonb, type text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_element constant text := regexp_replace(literal.type, '\[\]$', '');
  v_text constant text := literal.value #>> '{}';
  v_relative text[];
  v_expression text;
begin
  if v_element is null or v_element not in (
    'text', 'boolean', 'smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric',
    'timestamp with time zone', 'timestamp without time zone', 'date', 'interval', 'uuid', 'jsonb'
  ) then
    return null;
  end if;

  if literal.type in ('timestamp with time zone', 'timestamp without time zone', 'date') then
    v_relative := coalesce(
      regexp_match(v_text, '^([+-]) ?(\d[0-9a-z .:]*)$', 'i'),
      regexp_match(v_text, '^([+-]?)(P[0-9.YMWDTHS]+)$')
    );
  end if;
  v_expression := case
    when v_text is null then format('null::%s', literal.type)
    when literal.type = 'jsonb' then format('%L::jsonb', literal.value::text)
    when literal.type ~ '\[\]$' and jsonb_typeof(literal.value) = 'array' then format(
      'array[%s]::%s',
      (
        select string_agg(coalesce(quote_literal(element.value), 'null'), ', ' order by element.number)
        from jsonb_array_elements_text(literal.value) with ordinality as element (value, number)
      ),
      literal.type
    )
    when v_relative is not null then format(
      case literal.type
        when 'timestamp with time zone' then '(now() %s %L::interval)'
        else '(now() at time zone ''UTC'' %s %L::interval)::' || literal.type
      end,
      case v_relative[1] when '+' then '+' else '-' end,
      v_relative[2]
    )
    else format('%L::%s', v_text, literal.type)
  end;

  begin
    execute format('select %s', v_expression);
    return v_expression;
  exception
    -- The second one for an array with bounds that are too large.
    when data_exception or program_limit_exceeded then
      return null;
  end;
end;
$$;

comment on function common.literal(jsonb, text) is $$
Returns the SQL expression of a JSON value as a type; null when it is not a value of the type.
`type`: text, boolean, a number, time, interval, uuid or jsonb, in the form of `format_type`, or an array of them.
A time can be relative to now: "-28 days" and the ISO 8601 duration "P28D" are before now, "+7 days" is after it; the
sign applies to the whole duration. The text of other times is read with the time zone UTC.
$$;

grant execute on function common.literal(jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
