create or replace function common.split_expressions(expressions text)
returns text[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest constant int := 200000;
  -- Separator of the parts: a character that no expression needs.
  v_mark constant text := chr(1);
  -- An array of characters: substr on a multibyte text scans all characters before the position.
  v_chars text[];
  v_parts text[];
  v_char text;
  v_next text;
  v_former text;
  v_quote text;
  v_escapes boolean := false;
  v_depth int := 0;
  v_position int := 1;
  v_problem text;
begin
  if length(expressions) > v_longest then
    perform common.refuse('CF008', format('an expression has %s characters', length(expressions)),
      format('Give %s at most.', v_longest));
  end if;
  v_chars := string_to_array(expressions, null);
  if strpos(expressions, v_mark) > 0 then
    v_problem := 'control characters are not allowed';
  end if;
  while v_position <= cardinality(v_chars) and v_problem is null loop
    v_former := v_chars[v_position - 1];
    v_char := v_chars[v_position];
    v_next := v_chars[v_position + 1];
    if v_quote is not null then
      if v_escapes and v_char = '\' then
        v_position := v_position + 1;
      elsif v_char = v_quote then
        v_quote := null;
      end if;
    elsif v_char in ('''', '"') then
      v_quote := v_char;
      v_escapes := v_char = ''''
        and coalesce(v_former in ('e', 'E'), false)
        and coalesce(v_chars[v_position - 2] !~* '[a-z0-9_$]', true);
    elsif v_char in ('(', '[', '{') then
      v_depth := v_depth + 1;
    elsif v_char in (')', ']', '}') then
      v_depth := v_depth - 1;
      if v_depth < 0 then
        v_problem := 'a closing bracket has no opening bracket';
      end if;
    elsif v_char = ';' then
      v_problem := 'semicolons are not allowed';
    elsif (v_char = '-' and v_next = '-') or (v_char = '/' and v_next = '*') then
      v_problem := 'comments are not allowed';
    elsif v_char = '$' and coalesce(v_former !~* '[a-z0-9_$]', true) then
      v_problem := 'dollar quotes and parameters are not allowed';
    elsif v_char = ',' and v_depth = 0 then
      v_chars[v_position] := v_mark;
    end if;
    v_position := v_position + 1;
  end loop;
  v_problem := coalesce(
    v_problem,
    case when v_quote is not null then 'a quote is not closed' when v_depth > 0 then 'a bracket is not closed' end
  );
  v_parts := array(
    select btrim(part.part, E' \t\n\r')
    from unnest(string_to_array(array_to_string(v_chars, ''), v_mark)) with ordinality as part (part, place)
    order by part.place
  );
  if v_problem is null and ('' = any (v_parts) or v_parts = '{}') then
    v_problem := 'one of its parts is empty';
  end if;
  if v_problem is not null then
    perform common.refuse('CF001', format('"%s" is not an expression: %s', left(expressions, 100), v_problem),
      'Give a column, a list of columns, or one SQL expression over them.');
  end if;
  return v_parts;
end;
$$;

comment on function common.split_expressions(text) is $$
Returns the parts of a list of expressions, separated at the commas outside brackets and quotes.
Rejects text that could end the statement that it is inserted into, or hide a part of it: semicolons, comments, dollar
quotes, unbalanced brackets. Errors: CF001; CF008 above 200,000 characters.
$$;

grant execute on function common.split_expressions(text) to insights_analyst, insights_admin, insights_worker;
