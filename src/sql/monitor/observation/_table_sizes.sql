create or replace function monitor._table_sizes()
returns setof monitor.table_state
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with relation as (
    select coalesce(pg_partition_root(class.oid), class.oid) as root, class.oid, class.reltuples, class.relkind
    from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname in (
        'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor', 'insights_queue'
      )
      and class.relkind in ('r', 'm', 'p')
  ),

  measured as (
    select relation.root,
      sum(pg_total_relation_size(relation.oid)) as bytes,
      sum(pg_indexes_size(relation.oid)) as index_bytes,
      -- The counter of rows is lost with the server's statistics, until the next vacuum or analyze.
      sum(
        case
          when pg_stat_get_live_tuples(relation.oid) > 0 then pg_stat_get_live_tuples(relation.oid)
          when relation.relkind = 'p' then 0
          else greatest(relation.reltuples, 0)
        end
      )::bigint as row_count,
      sum(pg_stat_get_dead_tuples(relation.oid))::bigint as dead_rows,
      sum(pg_stat_get_mod_since_analyze(relation.oid))::bigint as modified_rows,
      greatest(
        max(pg_stat_get_last_vacuum_time(relation.oid)), max(pg_stat_get_last_autovacuum_time(relation.oid))
      ) as vacuumed_at,
      greatest(
        max(pg_stat_get_last_analyze_time(relation.oid)), max(pg_stat_get_last_autoanalyze_time(relation.oid))
      ) as analyzed_at
    from relation
    group by relation.root
  )

  select format('%s.%s', namespace.nspname, class.relname), measured.bytes::bigint, measured.index_bytes::bigint,
    measured.row_count, measured.dead_rows,
    coalesce(measured.dead_rows / nullif(measured.dead_rows + measured.row_count, 0)::float8, 0),
    measured.modified_rows, measured.vacuumed_at, measured.analyzed_at, null::float8
  from measured
  join pg_class as class on class.oid = measured.root
  join pg_namespace as namespace on namespace.oid = class.relnamespace
  -- A table that was dropped in the meantime has no size.
  where measured.bytes is not null
$$;

comment on function monitor._table_sizes() is $$
Returns the size and the state of each table of the installation, partitions with their table, without the growth.
$$;
