/* A definer: only the owner of a materialized view may refresh it. */
create or replace function analytics.refresh_views()
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- A view that was never populated cannot be refreshed concurrently.
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    refresh materialized view concurrently analytics.item_popularity;
  else
    refresh materialized view analytics.item_popularity;
  end if;
  -- It reads the other one.
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.course_summary'::regclass) then
    refresh materialized view concurrently analytics.course_summary;
  else
    refresh materialized view analytics.course_summary;
  end if;
  return (select count(*) from analytics.item_popularity);
end;
$$;

comment on function analytics.refresh_views() is $$
Refreshes the materialized views of the room concurrently, without blocking reads.
Returns the number of items with use.
$$;

grant execute on function analytics.refresh_views() to insights_worker;
