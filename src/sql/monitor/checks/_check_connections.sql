create or replace function monitor._check_connections()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'connections', '',
    case when used.share >= 0.95 then 'critical' else 'warning' end,
    format('%s of %s connections are in use', used.connections, used.most),
    'See whose they are: select usename, application_name, state, count(*) from pg_stat_activity group by 1, 2, 3 '
      || 'order by 4 desc. Lower the pools (INSIGHTS_POOL_SIZE), use a pooler, or raise max_connections.',
    used.share, 0.8
  )
  from (
    select
      count(*) as connections, limits.most, count(*)::float8 / limits.most as share
    from pg_catalog.pg_stat_activity as activity
    cross join (
      select
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most
    ) as limits
    where activity.backend_type = 'client backend'
    group by limits.most
  ) as used
  where used.share >= 0.8
    -- The embedded database has one session.
    and used.most > 10

  union all

  select monitor._finding(
    'connections', 'open transaction', 'warning',
    format('a transaction has been open for %s (process %s, %s)', monitor._duration(oldest.age), oldest.pid,
      coalesce(oldest.state, 'unknown state')),
    format('While it is open, no dead rows are removed. End it: select pg_terminate_backend(%s). '
      || 'Set idle_in_transaction_session_timeout for its login.', oldest.pid),
    extract(epoch from oldest.age), 3600
  )
  from (
    -- Those of other logins are visible to members of pg_read_all_stats only.
    select activity.pid, activity.state, clock_timestamp() - activity.xact_start as age
    from pg_catalog.pg_stat_activity as activity
    where activity.backend_type = 'client backend'
      and activity.datname = current_database()
      and activity.pid <> pg_backend_pid()
      and activity.xact_start < clock_timestamp() - interval '1 hour'
    order by activity.xact_start
    limit 1
  ) as oldest

  union all

  select monitor._finding(
    'connections', 'prepared transaction', 'warning',
    format('%s prepared transactions are older than an hour', count(*)),
    'Commit or roll them back: select gid, prepared, owner from pg_prepared_xacts order by prepared',
    count(*), 1
  )
  from pg_catalog.pg_prepared_xacts as prepared
  where prepared.database = current_database()
    and prepared.prepared < clock_timestamp() - interval '1 hour'
  having count(*) > 0
$$;

comment on function monitor._check_connections() is $$
Finds that 80 percent of the connections are in use, and transactions that have been open for an hour.
$$;
