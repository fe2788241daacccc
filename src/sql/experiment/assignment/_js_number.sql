create or replace function experiment._js_number(value jsonb)
returns double precision
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text text;
  v_base int;
begin
  case jsonb_typeof(_js_number.value)
    when 'number' then
      return experiment._double(_js_number.value #>> '{}');
    when 'boolean' then
      return (_js_number.value::boolean)::int;
    when 'null' then
      return 0;
    when 'string', 'array' then
      v_text := btrim(
        experiment._js_text(_js_number.value),
        E' \t\n\u000b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
          '\u2028\u2029\u202f\u205f\u3000\ufeff'
      );
    else
      return 'nan';
  end case;
  if v_text = '' then
    return 0;
  elsif v_text ~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$' then
    return experiment._double(v_text);
  elsif v_text in ('Infinity', '+Infinity', '-Infinity') then
    return v_text::double precision;
  elsif v_text !~ '^0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)$' then
    return 'nan';
  end if;
  v_base := case lower(substr(v_text, 2, 1)) when 'x' then 16 when 'o' then 8 else 2 end;
  v_text := ltrim(substr(v_text, 3), '0');
  if length(v_text) > 1024 then
    return 'infinity';
  end if;
  return experiment._double(
    coalesce(
      (
        select sum(
          (strpos('0123456789abcdef', lower(digit.value)) - 1)
            * v_base::numeric ^ (length(v_text) - digit.number)::numeric
        )
        from unnest(string_to_array(v_text, null)) with ordinality as digit (value, number)
      ),
      0
    )::text
  );
end;
$$;

comment on function experiment._js_number(jsonb) is $$
Returns a JSON value as the number to which JavaScript converts it, NaN if it is not one.
$$;

grant execute on function experiment._js_number(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
