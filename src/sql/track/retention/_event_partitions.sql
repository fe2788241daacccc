create or replace function track._event_partitions(
  out name text,
  out since timestamptz,
  out until timestamptz
)
returns setof record
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
begin
  return query
  select
    listed.relname,
    substring(listed.bounds from 'FROM \(''([^'']*)''\)')::timestamptz,
    substring(listed.bounds from 'TO \(''([^'']*)''\)')::timestamptz
  from (
    select partition.relname::text as relname, pg_get_expr(partition.relpartbound, partition.oid) as bounds
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
  ) as listed
  order by 2;
end;
$$;

comment on function track._event_partitions() is $$
Returns the partitions of `track.event` with their bounds (`until` exclusive), in order of time.
$$;
