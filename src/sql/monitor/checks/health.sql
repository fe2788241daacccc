create or replace function monitor.health()
returns monitor.health
language plpgsql
stable
-- A definer: checks read tables of all rooms, and return names of tasks, tables and models, and numbers.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- A check does not wait behind a migration.
set lock_timeout to '500ms'
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set jit to off
as $$
declare
  v_checked_at constant timestamptz := clock_timestamp();
  v_run record := monitor._run_checks();
  v_worst constant monitor.finding := v_run.findings[1];
  v_problems constant int := cardinality(v_run.findings);
begin
  return row(
    coalesce(v_worst.severity, 'ok'),
    case v_problems
      when 0 then format('%s checks found no problem', v_run.checks)
      when 1 then v_worst.message
      else format('%s (and %s more)', v_worst.message, v_problems - 1)
    end,
    v_worst.fix,
    v_problems,
    v_run.findings,
    v_checked_at,
    v_run.checks
  )::monitor.health;
end;
$$;

comment on function monitor.health() is $$
Returns in one row whether the installation is well, what is wrong, and what to do.
It runs the checks of `monitor.health_check` and the active rules of `monitor.rule` on the present state, and changes
nothing. A check that fails, or is cancelled, is a finding itself. After 10 seconds (5 on the embedded database), or a
cancelled check, the remaining checks are not run, and named in a finding; set `statement_timeout` to bound each call.
The checks and their fixes are described in `docs/operations.md`.
$$;

grant execute on function monitor.health() to insights_analyst, insights_admin, insights_worker;
