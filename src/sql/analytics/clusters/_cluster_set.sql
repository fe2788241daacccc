create or replace function analytics._cluster_set(name text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
return case when starts_with(_cluster_set.name, 'cluster.') then _cluster_set.name
  else 'cluster.' || _cluster_set.name end;

comment on function analytics._cluster_set(text) is $$
Returns the name of the set of people of a cluster: `cluster.night` for `night`.
$$;
