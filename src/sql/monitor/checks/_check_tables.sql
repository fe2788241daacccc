create or replace function monitor._check_tables()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'tables', format('%s.%s', stored.schemaname, stored.relname), 'warning',
    format('%s of %s rows of %s.%s are dead', stored.n_dead_tup, stored.n_dead_tup + stored.n_live_tup,
      stored.schemaname, stored.relname),
    format('vacuum (analyze) %I.%I. If they remain, an old transaction, a replication slot or a prepared transaction '
      || 'holds them: select pid, xact_start from pg_stat_activity order by xact_start',
      stored.schemaname, stored.relname),
    stored.n_dead_tup::float8 / (stored.n_dead_tup + stored.n_live_tup), 0.4
  )
  from pg_catalog.pg_stat_user_tables as stored
  where stored.schemaname in (
      'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor', 'insights_queue'
    )
    and stored.n_dead_tup > 100000
    and stored.n_dead_tup > 0.4 * (stored.n_dead_tup + stored.n_live_tup)
    -- Autovacuum is about to come, or has just been there.
    and greatest(stored.last_vacuum, stored.last_autovacuum, '-infinity') < clock_timestamp() - interval '1 hour'

  union all

  select monitor._finding(
    'tables', format('%s.%s', namespace.nspname, class.relname), 'warning',
    format('the index %s.%s is not valid, and is not used', namespace.nspname, class.relname),
    format('reindex index concurrently %I.%I', namespace.nspname, class.relname)
  )
  from pg_catalog.pg_index as index
  join pg_catalog.pg_class as class on class.oid = index.indexrelid
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where not index.indisvalid
    and class.relkind = 'i'
    and namespace.nspname in ('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
    and not exists (
      select
      from pg_catalog.pg_stat_progress_create_index as progress
      where progress.relid = index.indrelid
    )
$$;

comment on function monitor._check_tables() is $$
Finds tables of which 40 percent and 100,000 rows are dead, and indexes that are not valid.
$$;
