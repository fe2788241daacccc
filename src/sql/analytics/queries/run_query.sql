create or replace function analytics.run_query(query text, arguments jsonb default '{}')
returns setof jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'iso_8601'
set extra_float_digits to 1
as $$
begin
  -- The statement contains the names of a function and its arguments from the catalogue, and literals.
  return query execute format(
    'select to_jsonb(answer) from (%s) as answer',
    analytics.query_statement(run_query.query, run_query.arguments)
  );
end;
$$;

comment on function analytics.run_query(text, jsonb) is $$
Runs a query with the privileges of the caller, and returns its rows as JSON objects, in the order of its function.
`query`: the name of a saved query, or a function with its schema. `arguments` replace those of the saved query: see
`analytics.save_query`. Times are in UTC, durations in the format of ISO 8601.
Errors: those of `analytics.query_statement`, and of the function.
$$;

grant execute on function analytics.run_query(text, jsonb) to insights_analyst, insights_admin, insights_worker;
