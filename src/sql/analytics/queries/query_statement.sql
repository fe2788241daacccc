create or replace function analytics.query_statement(query text, arguments jsonb default '{}')
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_function_name text := query_statement.query;
  v_arguments jsonb := coalesce(query_statement.arguments, '{}');
  v_function analytics.query_function;
  v_nearest text;
  v_argument record;
  v_expression text;
  v_expressions text[] := '{}';
begin
  if jsonb_typeof(v_arguments) <> 'object' then
    perform common.refuse('CF009', format('the arguments are a JSON %s', jsonb_typeof(v_arguments)),
      'Give a JSON object with the arguments by name, such as {"since": "-28 days"}.');
  end if;
  if length(v_arguments::text) > 8000 then
    perform common.refuse('CF008', format('the arguments have %s characters', length(v_arguments::text)),
      'They can have at most 8,000.');
  end if;

  -- The row policy hides queries of functions that the caller may not execute.
  if query_statement.query is null or strpos(query_statement.query, '.') = 0 then
    select saved_query.function_name, saved_query.arguments || v_arguments into v_function_name, v_arguments
    from analytics.saved_query
    where saved_query.name = query_statement.query;
    if not found then
      select common.nearest_name(query_statement.query, array_agg(saved_query.name order by saved_query.name))
      into v_nearest
      from analytics.saved_query;
      perform common.refuse(
        'CF002',
        format('there is no saved query "%s"', coalesce(left(query_statement.query, 100), 'null')),
        coalesce('The nearest name is "' || v_nearest || '".', 'analytics.saved_queries() returns all.')
      );
    end if;
  end if;

  select * into v_function
  from analytics.query_functions() as known
  where known.function_name = v_function_name;
  if not found then
    select common.nearest_name(v_function_name, array_agg(known.function_name)) into v_nearest
    from analytics.query_functions() as known;
    perform common.refuse(
      'CF002',
      format('there is no function "%s" for %s to query', left(v_function_name, 100), current_user),
      coalesce('The nearest name is "' || v_nearest || '".', 'analytics.query_functions() returns all.')
    );
  end if;

  for v_argument in
    select given.key as name, given.value, v_function.argument_types[known.number] as type, known.number
    from jsonb_each(v_arguments) as given
    left join unnest(v_function.argument_names) with ordinality as known (name, number) on known.name = given.key
    order by known.number
  loop
    if v_argument.number is null then
      perform common.refuse(
        'CF001',
        format('%s has no argument "%s"', v_function_name, left(v_argument.name, 100)),
        case
          when v_function.argument_names = '{}' then 'It has no arguments.'
          else format('It has %s.', array_to_string(v_function.argument_names, ', '))
        end
      );
    end if;
    v_expression := common.literal(v_argument.value, v_argument.type);
    if v_expression is null then
      perform common.refuse(
        'CF001',
        format('%s of %s is %s', v_argument.name, v_function_name, left(v_argument.value::text, 100)),
        format(
          'Give a value of the type %s%s.',
          v_argument.type,
          case when v_argument.type ~ '^(timestamp|date)' then ', or a time relative to now, such as "-28 days"' end
        )
      );
    end if;
    v_expressions := v_expressions || format('%I => %s', v_argument.name, v_expression);
  end loop;

  if exists (
    select from unnest(v_function.argument_names[:v_function.required_count]) as required (name)
    where not v_arguments ? required.name
  ) then
    perform common.refuse(
      'CF001',
      format(
        'the query of %s has no %s',
        v_function_name,
        (
          select string_agg(required.name, ', ' order by required.number)
          from unnest(v_function.argument_names[:v_function.required_count]) with ordinality
            as required (name, number)
          where not v_arguments ? required.name
        )
      ),
      'Give each argument that has no default.'
    );
  end if;
  return format('select * from %s(%s)', v_function_name, array_to_string(v_expressions, ', '));
end;
$$;

comment on function analytics.query_statement(text, jsonb) is $$
@behavior -queryField
Returns the SQL statement of a query: of a saved one, or of a function with its schema.
`arguments` replace arguments of the saved query. Times that are relative to now stay so in the statement: "-28 days"
and "P28D" are before now, "+7 days" after it.
The function and its arguments are checked: the statement calls a function that the caller may execute
(`analytics.query_functions`), with literals of the types of its arguments, to be read with the time zone UTC.
Errors: CF002 for an unknown query or function (with the nearest name), CF001 for an argument that is unknown, missing
or not of its type, CF008 and CF009 for arguments that are too long or not an object.
$$;

grant execute on function analytics.query_statement(text, jsonb) to insights_analyst, insights_admin, insights_worker;
