create or replace function monitor._source_owner(source text)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select coalesce(
    (select health_check.owner from monitor.health_check where health_check.health_check = _source_owner.source),
    (select rule.owner from monitor.rule where rule.rule = _source_owner.source),
    'operator'
  )
$$;

comment on function monitor._source_owner(text) is $$
Returns the owner of a check or rule.
$$;
