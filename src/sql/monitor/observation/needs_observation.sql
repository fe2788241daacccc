create or replace function monitor.needs_observation()
returns boolean
language sql
stable
-- A definer: workers do not call private functions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select exists (select from monitor._pending_probes(null))
$$;

comment on function monitor.needs_observation() is $$
@behavior -*
Returns whether a probe is scheduled now.
$$;

grant execute on function monitor.needs_observation() to insights_worker;
