create or replace function monitor._stored_bytes(relations regclass[], out row_count float8, out bytes float8)
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A table that was never analyzed has -1 rows; the counter of live rows is 0 after a crash of the server.
  select
    sum(greatest(class.reltuples, pg_stat_get_live_tuples(class.oid), 0)), sum(pg_total_relation_size(class.oid))
  from unnest(relations) as given (relation)
  cross join lateral (
    select given.relation as relid
    where (select relkind from pg_class where oid = given.relation) <> 'p'

    union all

    select tree.relid
    from pg_partition_tree(given.relation) as tree
    where (select relkind from pg_class where oid = given.relation) = 'p'
      and tree.isleaf
  ) as stored
  join pg_class as class on class.oid = stored.relid
$$;

comment on function monitor._stored_bytes(regclass[]) is $$
@behavior -*
Returns the estimated number of rows of tables and their partitions, and their bytes with indexes.
The larger one of the number of the last analyze and of the counter of the statistics.
$$;

grant execute on function monitor._stored_bytes(regclass[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
