create or replace function monitor._connected_standbys()
returns table (name text)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select distinct left(coalesce(nullif(replication.application_name, ''), 'unnamed'), 200)
  from pg_stat_replication as replication
  -- Backups, pg_receivewal and the first copy of a subscription come and go.
  where replication.application_name not like 'pg\_%'
$$;

comment on function monitor._connected_standbys() is $$
Returns the names of the standbys and subscribers that are connected. Names are visible to all roles.
$$;
