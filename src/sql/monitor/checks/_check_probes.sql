create or replace function monitor._check_probes()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'probes', state.probe, 'warning',
    case
      when state.failures > 0 then format('the probe %s failed %s times in a row: %s', state.probe, state.failures,
        common.without_values(state.error))
      else format('values of the probe %s are refused: %s', state.probe, common.without_values(state.error))
    end,
    format('Call it to see the error: select * from %s()', probe.function_name),
    state.failures, 3
  )
  from monitor.probe_state as state
  join monitor.probe using (probe)
  where state.failures >= 3
    or state.failures = 0 and state.error is not null

  union all

  select monitor._finding(
    'probes', '', 'warning',
    format('nothing has been measured for %s', monitor._duration(clock_timestamp() - latest.measured_at)),
    'Measure: select insights_queue.add_job(''insights:observe''). See the runs of the task: '
      || 'select * from monitor.run where task = ''observe'' order by started_at desc limit 5',
    extract(epoch from clock_timestamp() - latest.measured_at), 1800
  )
  from (select max(state.measured_at) as measured_at from monitor.probe_state as state) as latest
  where latest.measured_at < clock_timestamp() - interval '30 minutes'
    -- Without a worker, nothing is measured: that is a finding of its own.
    and monitor._has_worker()
    and exists (select from monitor.worker where worker.started_at < clock_timestamp() - interval '30 minutes')
$$;

comment on function monitor._check_probes() is $$
Finds probes that failed three times in a row, or whose values are refused.
Also that nothing was measured for half an hour.
$$;
