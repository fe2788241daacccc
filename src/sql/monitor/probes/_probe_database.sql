create or replace function monitor._probe_database()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, null::jsonb, measured.value
  from pg_database as database
  join pg_stat_database as activity on activity.datid = database.oid
  cross join lateral (
    values
      ('insights_database_connections', activity.numbackends::float8),
      ('insights_database_connections_limit', current_setting('max_connections')::float8),
      ('insights_database_xid_age', age(database.datfrozenxid)::float8),
      ('insights_database_multixact_age', mxid_age(database.datminmxid)::float8),
      ('insights_database_commits_total', activity.xact_commit::float8),
      ('insights_database_rollbacks_total', activity.xact_rollback::float8),
      ('insights_database_deadlocks_total', activity.deadlocks::float8),
      ('insights_database_temporary_bytes_total', activity.temp_bytes::float8),
      ('insights_database_blocks_hit_total', activity.blks_hit::float8),
      ('insights_database_blocks_read_total', activity.blks_read::float8),
      ('insights_database_active_seconds_total', activity.active_time / 1000),
      ('insights_database_statistics', exists (
        select from pg_extension where extname = 'pg_stat_statements'
      )::int::float8)
  ) as measured (metric, value)
  where database.datname = current_database()
$$;

comment on function monitor._probe_database() is $$
Measures the database as a whole: connections, transactions, and what the server counts.
$$;
