create or replace function monitor._check_wraparound()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'wraparound', aged.kind,
    case when aged.age >= 1500000000 then 'critical' else 'warning' end,
    format('the oldest %s is %s million old; at about 2100 million the database refuses writes', aged.kind,
      floor(aged.age / 1e6)),
    'Vacuum the oldest tables: select oid::regclass, age(relfrozenxid), mxid_age(relminmxid) from pg_class '
      || 'where relkind in (''r'', ''m'', ''t'') order by greatest(age(relfrozenxid), mxid_age(relminmxid)) desc '
      || 'limit 10. Look for old transactions, slots and prepared transactions that hold them.',
    aged.age, 1000000000
  )
  from pg_catalog.pg_database as database
  cross join lateral (
    values
      ('transaction', age(database.datfrozenxid)::float8),
      ('multixact', mxid_age(database.datminmxid)::float8)
  ) as aged (kind, age)
  where database.datname = current_database()
    and aged.age >= 1000000000
$$;

comment on function monitor._check_wraparound() is $$
Finds that the oldest transaction or multixact is 1000 million old.
$$;
