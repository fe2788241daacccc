create or replace function monitor._pending_probes(probes text[])
returns setof monitor.probe
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select probe.*
  from monitor.probe
  left join monitor.probe_state as state using (probe)
  where probe.probe = any (_pending_probes.probes)
    or _pending_probes.probes is null and (
      state.probe is null
      -- Minutes of the schedule begin some seconds late.
      or state.started_at <= clock_timestamp() - probe.every + least(probe.every / 4, interval '30 seconds')
      -- The clock was ahead.
      or state.started_at > clock_timestamp() + interval '1 minute'
    )
  -- Those first that an earlier observation had no time for.
  order by state.started_at nulls first, probe.position
$$;

comment on function monitor._pending_probes(text[]) is $$
Returns the given probes, or those that are scheduled now when `probes` is null, in their order.
$$;
