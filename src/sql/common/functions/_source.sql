/*
 * How every function of this room that is given the name of a table, of a column or an expression reads it.
 * These helpers and their callers are security invoker and keep the caller's search_path, so a name means what it
 * means to the caller and nothing is reached that the caller could not reach alone.
 */
create or replace function ml._nearest(
  name text,
  candidates text[]
)
returns text
language sql
immutable
parallel safe
begin atomic
  select ranked.candidate
  from (
    select
      candidate,
      (
        select 2.0 * count(*) filter (where pair.sides = 2) / greatest(sum(pair.sides), 1)
        from (
          select side.bigram, count(distinct side.which) as sides
          from (
            select 1 as which, substr(' ' || lower(_nearest.name) || ' ', position, 2) as bigram
            from generate_series(1, length(_nearest.name) + 1) as position
            union
            select 2, substr(' ' || lower(candidate) || ' ', position, 2)
            from generate_series(1, length(candidate) + 1) as position
          ) as side
          group by side.bigram
        ) as pair
      ) as similarity
    from (
      select given.candidate
      from unnest(_nearest.candidates) as given (candidate)
      where length(given.candidate) <= 100
        and length(_nearest.name) <= 100
      limit 1000
    ) as near
  ) as ranked
  where ranked.similarity >= 0.3
  order by ranked.similarity desc, ranked.candidate
  limit 1;
end;

comment on function ml._nearest(text, text[]) is $$
The candidate that shares most pairs of letters with a name (Dice coefficient), null when none is near. For error messages.
Only names of at most 100 characters are compared, with the first 1,000 such candidates.
$$;

create or replace function ml._relation(source_table text)
returns regclass
language plpgsql
stable
parallel safe
as $$
declare
  v_relation regclass;
  v_kind "char";
  v_nearest text;
begin
  if source_table is null or btrim(source_table) = '' then
    raise exception using errcode = 'CF001', message = 'the source table is null or empty',
      hint = 'Name a table, view or materialized view, such as ''public.houses''.';
  end if;
  begin
    perform parse_ident(source_table);
    v_relation := to_regclass(source_table);
  exception when invalid_parameter_value or invalid_name or syntax_error then
    raise exception using errcode = 'CF001', message = format('"%s" is not the name of a table', left(source_table, 100)),
      hint = 'Give schema.name; put a name with blanks, capitals or semicolons into double quotes.';
  end;
  if v_relation is null then
    v_nearest := ml._nearest(
      (parse_ident(source_table))[array_upper(parse_ident(source_table), 1)],
      (
        select array_agg(class.relname::text)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.relkind in ('r', 'v', 'm', 'p', 'f')
          and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
      )
    );
    raise exception using errcode = 'CF002', message = format('there is no table "%s"', left(source_table, 100)),
      hint = coalesce('Did you mean "' || v_nearest || '"?', 'Name a table, view or materialized view, with its schema.');
  end if;
  v_kind := (select relkind from pg_catalog.pg_class where oid = v_relation);
  if v_kind not in ('r', 'v', 'm', 'p', 'f') then
    raise exception using errcode = 'CF001', message = format('"%s" is not a table, view or materialized view', left(source_table, 100)),
      hint = 'Name a relation that has rows.';
  end if;
  if not has_any_column_privilege(v_relation, 'select') then
    raise exception using errcode = 'CF005', message = format('role "%s" may not read "%s"', current_user, left(source_table, 100)),
      hint = 'Ask its owner for select.';
  end if;
  return v_relation;
end;
$$;

comment on function ml._relation(text) is $$
The table, view or materialized view of a name as the caller sees it, which the caller may read.
Errors: CF001 (not a name, not a relation with rows), CF002 (absent; names the nearest), CF005 (not readable).
$$;

create or replace function ml._output(
  output_table text,
  suffixes text[] default '{}'
)
returns text
language plpgsql
stable
parallel safe
as $$
declare
  v_parts text[];
  v_schema text;
  v_name text;
  v_suffix text;
begin
  begin
    v_parts := parse_ident(output_table);
  exception when invalid_parameter_value then
    null;
  end;
  if v_parts is null or array_length(v_parts, 1) > 2 then
    raise exception using errcode = 'CF001', message = format('"%s" is not a name for the output table', coalesce(left(output_table, 100), 'null')),
      hint = 'Give name or schema.name; put a name with blanks, capitals or semicolons into double quotes.';
  end if;
  v_name := v_parts[array_length(v_parts, 1)];
  v_schema := case when array_length(v_parts, 1) = 2 then v_parts[1] else current_schema() end;
  if v_schema is null or to_regnamespace(quote_ident(v_schema)) is null then
    raise exception using errcode = 'CF002', message = format('there is no schema "%s"', coalesce(left(v_schema, 100), '')),
      hint = 'Create it, or name the output table as schema.name.';
  end if;
  if not has_schema_privilege(v_schema, 'create') then
    raise exception using errcode = 'CF005', message = format('role "%s" may not create tables in schema "%s"', current_user, left(v_schema, 100)),
      hint = 'Name the output table in a schema of your own.';
  end if;
  foreach v_suffix in array array['']::text[] || suffixes loop
    if octet_length(v_name || v_suffix) > 63 then
      raise exception using errcode = 'CF001', message = format('the name "%s" is longer than 63 bytes', left(v_name || v_suffix, 100)),
        hint = 'Choose a shorter name for the output table.';
    end if;
    if to_regclass(format('%I.%I', v_schema, v_name || v_suffix)) is not null then
      raise exception using errcode = 'CF003', message = format('the output table "%s" exists already', left(v_name || v_suffix, 100)),
        hint = 'Drop it, or choose another name; nothing is overwritten.';
    end if;
  end loop;
  return format('%I.%I', v_schema, v_name);
end;
$$;

comment on function ml._output(text, text[]) is $$
The quoted, qualified name of a table that is to be made, together with those that carry the suffixes.
Errors: CF001 (not a name), CF002 (no such schema), CF003 (it exists), CF005 (not allowed there).
$$;

create or replace function ml._suffixed(
  qualified_name text,
  suffix text
)
returns text
language sql
immutable
strict
parallel safe
begin atomic
  -- Longer ones are none, and parse_ident would show them whole.
  select format('%I.%I', (parse_ident(left(qualified_name, 300)))[1], (parse_ident(left(qualified_name, 300)))[2] || suffix);
end;

comment on function ml._suffixed(text, text) is $$The quoted name of a companion table: schema.name and a suffix such as `_summary`.$$;

create or replace function ml._split(expressions text)
returns text[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest constant int := 200000;
  -- Parts are cut at this mark, which no expression needs.
  v_mark constant text := chr(1);
  -- Each character by its place: to cut it out of a text, all before it would have to be walked through.
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
    raise exception using errcode = 'CF008', message = format('an expression has %s characters', length(expressions)),
      hint = format('Give %s at most.', v_longest);
  end if;
  v_chars := string_to_array(expressions, null);
  if strpos(expressions, v_mark) > 0 then
    v_problem := 'a control character has no place here';
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
      v_escapes := v_char = '''' and coalesce(v_former in ('e', 'E'), false) and coalesce(v_chars[v_position - 2] !~* '[a-z0-9_$]', true);
    elsif v_char in ('(', '[', '{') then
      v_depth := v_depth + 1;
    elsif v_char in (')', ']', '}') then
      v_depth := v_depth - 1;
      if v_depth < 0 then
        v_problem := 'a bracket is closed that was never opened';
      end if;
    elsif v_char = ';' then
      v_problem := 'a semicolon ends the statement';
    elsif (v_char = '-' and v_next = '-') or (v_char = '/' and v_next = '*') then
      v_problem := 'a comment hides the rest';
    elsif v_char = '$' and coalesce(v_former !~* '[a-z0-9_$]', true) then
      v_problem := 'dollar quotes and parameters have no place here';
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
    v_problem := 'a part of it is empty';
  end if;
  if v_problem is not null then
    raise exception using errcode = 'CF001', message = format('"%s" is not an expression: %s', left(expressions, 100), v_problem),
      hint = 'Give a column, a list of columns, or one SQL expression over them.';
  end if;
  return v_parts;
end;
$$;

comment on function ml._split(text) is $$
The parts of a list of expressions, cut at the commas outside brackets and quotes.
Refuses what could end the statement that it is put into or hide a part of it: semicolons, comments, dollar quotes, unbalanced brackets. Errors: CF001, CF008 above 200,000 characters.
$$;

create or replace function ml._columns(relation regclass)
returns text[]
language sql
stable
parallel safe
begin atomic
  select coalesce(array_agg(attribute.attname::text order by attribute.attnum), '{}')
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped;
end;

comment on function ml._columns(regclass) is $$Names of a relation's columns, in order.$$;

create or replace function ml._expression(
  expression text,
  relation regclass,
  role text
)
returns regtype
language plpgsql
stable
as $$
declare
  v_columns text[] := ml._columns(relation);
  v_type regtype;
  v_cursor refcursor;
  v_name text;
  v_message text;
begin
  if expression is null or btrim(expression) = '' then
    raise exception using errcode = 'CF001', message = format('the %s is null or empty', left(role, 100)),
      hint = format('Name a column of %s or an expression over its columns.', relation);
  end if;
  perform ml._split(expression);
  begin
    -- A cursor takes exactly one statement, and no row is read: the columns are null, only the type is asked for.
    open v_cursor no scroll for execute format(
      'select pg_catalog.pg_typeof((%s)) from (values (1)) as one left join (select * from %s where false) as source on true',
      expression, relation
    );
    fetch v_cursor into v_type;
    close v_cursor;
  exception
    when undefined_column then
      get stacked diagnostics v_message = message_text;
      v_name := coalesce(substring(v_message from '"([^"]*)"'), substring(v_message from 'column ([^ ]+) '), expression);
      raise exception using errcode = 'CF002',
        message = format('%s: "%s" has no column "%s"', left(role, 100), relation, left(v_name, 100)),
        hint = coalesce(
          'Did you mean "' || ml._nearest(v_name, v_columns) || '"?',
          format('Its columns are %s.', array_to_string(v_columns, ', '))
        );
    when insufficient_privilege then
      get stacked diagnostics v_message = message_text;
      raise exception using errcode = 'CF005', message = format('role "%s" may not read "%s": %s', current_user, relation, left(v_message, 100)),
        hint = 'Ask its owner for select.';
    when syntax_error or undefined_function or grouping_error or datatype_mismatch or invalid_cursor_definition
      or undefined_object or feature_not_supported or wrong_object_type or invalid_text_representation or undefined_table then
      get stacked diagnostics v_message = message_text;
      raise exception using errcode = 'CF001', message = format('%s: "%s" can not be evaluated: %s', left(role, 100), left(expression, 100), left(v_message, 100)),
        hint = 'Give a column or one SQL expression over the columns of one row.';
  end;
  return v_type;
end;
$$;

comment on function ml._expression(text, regclass, text) is $$
The type of an expression over a relation's columns; `role` says in messages what it is for (such as `dependent variable`).
Errors: CF001 (not one expression), CF002 (unknown column; names the nearest).
$$;

create or replace function ml._numeric_expression(
  expression text,
  relation regclass,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_type regtype := ml._expression(expression, relation, role);
begin
  if v_type = 'boolean'::regtype then
    return format('((%s)::int::float8)', expression);
  end if;
  if v_type not in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then
    raise exception using errcode = 'CF001', message = format('%s: "%s" is of type %s, a number is due', left(role, 100), left(expression, 100), v_type),
      hint = 'Cast it, or encode it with ml.encode_categorical_variables.';
  end if;
  return format('((%s)::float8)', expression);
end;
$$;

comment on function ml._numeric_expression(text, regclass, text) is $$
The expression, cast to float8 (booleans become 0 and 1), ready for a generated statement. Error CF001 when it is no number.
$$;

create or replace function ml._column(
  relation regclass,
  name text,
  role text
)
returns text
language plpgsql
stable
as $$
declare
  v_columns text[] := ml._columns(relation);
  v_name text := name;
begin
  if not v_name = any (v_columns) then
    begin
      v_name := (parse_ident(name))[1];
    exception when invalid_parameter_value then
      null;
    end;
  end if;
  if v_name = any (v_columns) then
    return quote_ident(v_name);
  end if;
  raise exception using errcode = 'CF002', message = format('%s: "%s" has no column "%s"', left(role, 100), relation, coalesce(left(name, 100), 'null')),
    hint = coalesce(
      'Did you mean "' || ml._nearest(name, v_columns) || '"?',
      format('Its columns are %s.', array_to_string(v_columns, ', '))
    );
end;
$$;

comment on function ml._column(regclass, text, text) is $$
The quoted name of a relation's column, given as it is stored or as it is written in SQL. Error CF002 names the nearest.
$$;

create or replace function ml._column_list(
  relation regclass,
  names text,
  role text
)
returns text[]
language sql
stable
begin atomic
  select coalesce(array_agg(ml._column(relation, name, role) order by position), '{}')
  from unnest(ml._split(nullif(btrim(names), ''))) with ordinality as part (name, position);
end;

comment on function ml._column_list(regclass, text, text) is $$The quoted names of a comma-separated list of columns, empty when none is given.$$;

grant execute on function
  ml._nearest(text, text[]),
  ml._relation(text),
  ml._output(text, text[]),
  ml._suffixed(text, text),
  ml._split(text),
  ml._columns(regclass),
  ml._expression(text, regclass, text),
  ml._numeric_expression(text, regclass, text),
  ml._column(regclass, text, text),
  ml._column_list(regclass, text, text)
to insights_analyst, insights_admin, insights_worker;
