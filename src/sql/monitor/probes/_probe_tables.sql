create or replace function monitor._probe_tables()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('table', size.table_name), measured.value
  from monitor._table_sizes() as size
  cross join lateral (
    values
      ('insights_table_bytes', size.bytes::float8),
      ('insights_table_rows', size.row_count::float8),
      ('insights_table_dead_rows', size.dead_rows::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_tables() is $$
Measures the size of each table of the installation, with its partitions, and its rows, as the server estimates them.
$$;
