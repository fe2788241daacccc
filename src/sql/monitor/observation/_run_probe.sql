create or replace function monitor._run_probe(probe text, function_name text, sampled_at timestamptz)
returns monitor.probe_state
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 10000;
  v_started_at constant timestamptz := clock_timestamp();
  v_measurements monitor.measurement[] := '{}';
  v_problem text;
  v_has_failed boolean := false;
  v_measured int;
  v_state monitor.probe_state;
begin
  begin
    execute format(
      'select array(select measurement from %s() as measurement limit %s)',
      _run_probe.function_name,
      v_most + 1
    )
    into v_measurements;
  exception
    -- Also a cancelled statement, which "others" leaves out: the time limit of the observation, or an administrator.
    when query_canceled or assert_failure or others then
      v_has_failed := true;
      v_problem := format('%s [%s]', left(sqlerrm, 900), sqlstate);
  end;
  if cardinality(v_measurements) > v_most then
    v_has_failed := true;
    v_problem := format('more than %s values', v_most);
    v_measurements := '{}';
  end if;

  if not v_has_failed then
    select stored.measured, stored.problem
    into v_measured, v_problem
    from monitor._store_measurements(_run_probe.probe, v_measurements, _run_probe.sampled_at) as stored;
  end if;

  insert into monitor.probe_state as state (probe, started_at, duration, measured_at, measured, failures, error)
  values (
    _run_probe.probe,
    v_started_at,
    clock_timestamp() - v_started_at,
    case when not v_has_failed then _run_probe.sampled_at end,
    coalesce(v_measured, 0),
    v_has_failed::int,
    v_problem
  )
  on conflict on constraint probe_state_pkey do update
  set
    started_at = excluded.started_at,
    duration = excluded.duration,
    measured_at = coalesce(excluded.measured_at, state.measured_at),
    measured = excluded.measured,
    failures = case excluded.failures when 0 then 0 else state.failures + 1 end,
    error = excluded.error
  returning state.* into v_state;
  return v_state;
end;
$$;

comment on function monitor._run_probe(text, text, timestamptz) is $$
Runs a probe, stores its values and returns its new state. An error of the probe is part of the state.
$$;
