create or replace function monitor.table_state()
returns setof monitor.table_state
language sql
stable
-- A definer: workers and administrators do not call private functions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
rows 200
as $$
  select size.table_name, size.bytes, size.index_bytes, size.row_count, size.dead_rows, size.dead_share,
    size.modified_rows, size.vacuumed_at, size.analyzed_at,
    (size.bytes - earliest.bytes) * 86400
      / nullif(extract(epoch from clock_timestamp() - earliest.sampled_at)::float8, 0)
  from monitor._table_sizes() as size
  left join monitor.series on series.metric = 'insights_table_bytes'
    and series.labels = jsonb_build_object('table', size.table_name)
  left join lateral (
    select sample.sampled_at, sample.measured[series.series_id] as bytes
    from monitor.sample
    where sample.sampled_at between clock_timestamp() - interval '7 days' and clock_timestamp() - interval '1 hour'
      and sample.measured[series.series_id] is not null
    order by sample.sampled_at
    limit 1
  ) as earliest on true
  order by size.bytes desc, size.table_name
$$;

comment on function monitor.table_state() is $$
Returns the size and the state of each table of the installation, the largest first; partitions with their table.
Numbers of rows are estimates of the server. The growth is that of the last seven days, or since the first sample.
$$;

grant execute on function monitor.table_state() to insights_admin, insights_worker;
