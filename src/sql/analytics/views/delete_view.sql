create or replace function analytics.delete_view(view_id bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.saved_view where saved_view.view_id = delete_view.view_id;
  if found then
    return true;
  end if;
  if exists (select from analytics.saved_view where saved_view.view_id = delete_view.view_id) then
    perform common.refuse('CF005', format('view %s is by another author', delete_view.view_id),
      'Its author or an administrator can delete it.');
  end if;
  return false;
end;
$$;

comment on function analytics.delete_view(bigint) is $$
Deletes a saved view. False when the caller can see none with this key.
Analysts can delete their own views, administrators also those that are shared.
Errors: CF005 for a view of another author.
$$;

grant execute on function analytics.delete_view(bigint) to insights_analyst, insights_admin;
