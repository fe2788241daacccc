create or replace function analytics.save_query(
  name text,
  function_name text,
  arguments jsonb default '{}',
  description text default null
)
returns analytics.saved_query
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_query analytics.saved_query;
begin
  -- An invoker: the row policies of the table apply.
  if save_query.name is null or save_query.name !~ '^[a-z][a-z0-9_-]{0,62}$' then
    perform common.refuse('CF001', format('the name is "%s"', coalesce(left(save_query.name, 100), 'null')),
      'Use a letter, then at most 62 letters, digits, - and _, in lower case.');
  end if;
  if length(save_query.description) > 2000 then
    perform common.refuse('CF008', format('the description has %s characters', length(save_query.description)),
      'It can have at most 2,000.');
  end if;
  if save_query.function_name is null or strpos(save_query.function_name, '.') = 0 then
    perform common.refuse(
      'CF001',
      format('function_name is "%s"', coalesce(left(save_query.function_name, 100), 'null')),
      'Give a function with its schema, such as analytics.popular_items: analytics.query_functions() returns all.'
    );
  end if;
  perform analytics.query_statement(save_query.function_name, save_query.arguments);

  insert into analytics.saved_query (name, description, function_name, arguments, created_by)
  values (
    save_query.name, nullif(btrim(save_query.description), ''), save_query.function_name,
    coalesce(save_query.arguments, '{}'), common.author()
  )
  on conflict do nothing
  returning * into v_query;
  if not found then
    update analytics.saved_query
    set
      description = nullif(btrim(save_query.description), ''),
      function_name = save_query.function_name,
      arguments = coalesce(save_query.arguments, '{}'),
      changed_at = now()
    where saved_query.name = save_query.name
    returning * into v_query;
  end if;
  if not found then
    perform common.refuse('CF005', format('the query "%s" is by another author', save_query.name),
      'Use another name. Its author or an administrator can change it.');
  end if;
  return v_query;
end;
$$;

comment on function analytics.save_query(text, text, jsonb, text) is $$
Saves a query: a function that reads, with arguments by name. Replaces a query of the same name of the same author.
`function_name`: a function that the caller may query, with its schema (`analytics.query_functions`).
`arguments`: a JSON object with each argument that has no default, such as {"kind": "course", "since": "-28 days"}.
Times can be relative to now, so that the query stays up to date. It runs with the privileges of the caller
(`analytics.run_query`), and analysts see the queries of functions that they may execute: these take no person as an
argument. Administrators can replace and drop queries of all authors.
Errors: CF001 for an invalid name or argument, CF002 for an unknown function, CF005 for the name of a query of another
author, CF008 and CF009 for a description or arguments that are too long or malformed.
$$;

grant execute on function analytics.save_query(text, text, jsonb, text)
to insights_analyst, insights_admin, insights_worker;
