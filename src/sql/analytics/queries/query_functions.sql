create or replace function analytics.query_functions()
returns setof analytics.query_function
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- Not the functions of ml and common: they resolve names and evaluate expressions in their arguments, so that a saved
  -- query could run what its author wrote with the privileges of another caller.
  return query
  select
    format('%s.%s', namespace.nspname, procedure.proname),
    array(
      select argument.name
      from unnest(procedure.proargnames, procedure.proargmodes) with ordinality as argument (name, mode, number)
      where coalesce(argument.mode, 'i') = 'i'
      order by argument.number
    ),
    array(
      select format_type(argument.type, null)
      from unnest(procedure.proargtypes) with ordinality as argument (type, number)
      order by argument.number
    ),
    (procedure.pronargs - procedure.pronargdefaults)::int,
    split_part(btrim(regexp_replace(description.text, '(^|\n)@[^\n]*', '', 'g'), E' \n'), E'\n', 1)
  from pg_proc as procedure
  join pg_namespace as namespace on namespace.oid = procedure.pronamespace
  cross join lateral (select coalesce(obj_description(procedure.oid, 'pg_proc'), '')) as description (text)
  where namespace.nspname in ('privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
    and procedure.proname !~ '^_'
    and procedure.prokind = 'f'
    -- A read that is logged is volatile.
    and (procedure.provolatile <> 'v' or description.text ~ '@behavior [^\n]*\+queryField')
    and procedure.proname <> 'run_query'
    and description.text !~ '@behavior [^\n]*-(queryField|\*)'
    and has_function_privilege(procedure.oid, 'execute')
  order by 1;
end;
$$;

comment on function analytics.query_functions() is $$
Returns the functions that the caller can query by name (see `analytics.save_query`), with their arguments.
They are the fields of the API that only read, except those of the schema `ml`.
$$;

grant execute on function analytics.query_functions() to insights_analyst, insights_admin, insights_worker;
