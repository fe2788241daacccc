create or replace function monitor._probe_size()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select 'insights_database_bytes', null::jsonb, pg_database_size(current_database())::float8
$$;

comment on function monitor._probe_size() is $$
Measures the size of the database, of which the server reads the size of each file.
$$;
