create or replace function ml._temporary(name text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('CF005', 'no table can be written: this server or transaction only reads',
      'Connect to the primary server, or begin a transaction that may write.');
  end if;
  -- The schema of temporary tables exists from the first one on.
  if pg_catalog.pg_my_temp_schema() = 0 then
    create temporary table _ml_first ();
    drop table pg_temp._ml_first;
  end if;
  return format('%I.%I', (select nspname from pg_catalog.pg_namespace where oid = pg_catalog.pg_my_temp_schema()),
    name);
end;
$$;

comment on function ml._temporary(text) is $$
The qualified name of a temporary table of the session, made or to be made.
Error CF005: the server or transaction only reads.
$$;

grant execute on function ml._temporary(text) to insights_admin, insights_worker;
