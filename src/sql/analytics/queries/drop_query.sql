create or replace function analytics.drop_query(name text)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.saved_query where saved_query.name = drop_query.name;
  if found then
    return true;
  end if;
  if exists (select from analytics.saved_query where saved_query.name = drop_query.name) then
    perform common.refuse('CF005', format('the query "%s" is by another author', drop_query.name),
      'Its author or an administrator can drop it.');
  end if;
  return false;
end;
$$;

comment on function analytics.drop_query(text) is $$
Drops a saved query. False when the caller can see none with this name.
Analysts can drop their own queries, administrators and workers all.
Errors: CF005 for a query of another author.
$$;

grant execute on function analytics.drop_query(text) to insights_analyst, insights_admin, insights_worker;
