create or replace function common.expression_type(
  expression text,
  relation regclass,
  role text
)
returns regtype
language plpgsql
stable
as $$
declare
  v_expression constant text := common.expression(expression, relation);
  v_words text;
  v_type regtype;
  v_cursor refcursor;
  v_name text;
  v_message text;
begin
  v_type := (
    select attribute.atttypid
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = expression_type.relation
      and attribute.attname = v_expression
      and attribute.attnum > 0
      and not attribute.attisdropped
      and v_expression ~ '^[a-z_][a-z_0-9]*$'
      and has_table_privilege(expression_type.relation, 'select')
  );
  if v_type is not null then
    -- a readable column needs no statement
    return common.base_type(v_type);
  end if;
  if expression is null or btrim(expression) = '' then
    perform common.refuse('CF001', format('the %s is null or empty', left(role, 100)),
      format('Name a column of %s or an expression over its columns.', relation));
  end if;
  perform common.split_expressions(v_expression);
  begin
    -- A cursor accepts exactly one statement. No row is read: all columns are null, since only the type is needed. What
    -- returns several rows is not accepted within case, and an aggregate not beside a column.
    open v_cursor no scroll for execute format(
      $statement$
      select typed.type
      from (
        select pg_catalog.pg_typeof((%1$s)) as type, case when false then (%1$s) is null end, each.row
        from (values (1)) as each (row)
        left join (select * from %2$s where false) as source on true
      ) as typed
      $statement$,
      v_expression, relation
    );
    fetch v_cursor into v_type;
    close v_cursor;
  exception
    when undefined_column then
      get stacked diagnostics v_message = message_text;
      v_name := coalesce(
        substring(v_message from '"([^"]*)"'),
        substring(v_message from 'column ([^ ]+) '),
        expression
      );
      perform common.refuse(
        'CF002',
        format('%s: "%s" has no column "%s"', left(role, 100), relation, left(v_name, 100)),
        coalesce(
          'Did you mean "' || common.nearest_name(v_name, common.columns(relation)) || '"?',
          format('Its columns are %s.', array_to_string(common.columns(relation), ', '))
        )
      );
    when insufficient_privilege then
      get stacked diagnostics v_message = message_text;
      perform common.refuse(
        'CF005',
        format('role "%s" may not read "%s": %s', current_user, relation, left(v_message, 100)),
        'Ask its owner to grant select.'
      );
    when syntax_error_or_access_rule_violation or feature_not_supported or data_exception or program_limit_exceeded
    then
      get stacked diagnostics v_message = message_text;
      v_words := (
        select string_agg('"' || name || '"', ', ' order by name)
        from unnest(common.expression_columns(expression, relation)) as name
        join pg_catalog.pg_get_keywords() as keyword on keyword.word = name and keyword.catcode in ('R', 'T')
      );
      perform common.refuse(
        'CF001',
        format('%s: "%s" cannot be evaluated: %s', left(role, 100), left(expression, 100), left(v_message, 100)),
        'Give a column or one SQL expression over the columns of one row.'
          || coalesce(' Put a column that is named after a word of SQL in double quotes: ' || v_words || '.', '')
      );
  end;
  return common.base_type(v_type);
end;
$$;

comment on function common.expression_type(text, regclass, text) is $$
Returns the type of an expression over a relation's columns; for a domain the type that it is over.
A name of a column is taken before an expression, as by common.expression.
`role` names its purpose in messages, such as `dependent variable`.
Errors: CF001 (not one expression), CF002 (unknown column; names the nearest).
$$;

grant execute on function common.expression_type(text, regclass, text)
to insights_analyst, insights_admin, insights_worker;
