create or replace function monitor._probe_database()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select 'insights_database_bytes', null::jsonb, pg_database_size(current_database())::float8
$$;

comment on function monitor._probe_database() is $$
Measures the database as a whole.
$$;
