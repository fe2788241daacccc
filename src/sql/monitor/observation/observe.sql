create or replace function monitor.observe(probes text[] default null)
returns monitor.observation
language plpgsql
volatile
-- A definer: probes read tables of all rooms, and write the samples through this function only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- A probe does not wait behind a migration.
set lock_timeout to '1s'
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_longest constant interval := (select longest_observation from monitor.setting);
  v_unknown text;
  v_probe record;
  v_state monitor.probe_state;
  v_observed monitor.observation := row(null, 0, 0, 0, '0');
begin
  select name
  into v_unknown
  from unnest(observe.probes) as name
  where not exists (select from monitor.probe where probe.probe = name)
  limit 1;
  if found then
    perform common.refuse(
      'CF002',
      format('there is no probe "%s"', coalesce(left(v_unknown, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(v_unknown, array(select probe.probe from monitor.probe)) || '"? ',
        ''
      ) || 'The table monitor.probe lists the probes.'
    );
  end if;

  -- Two workers: the probes are run by the first one, and none of them waits.
  if not pg_try_advisory_xact_lock(hashtext('monitor.observe')) then
    v_observed.duration := clock_timestamp() - v_started_at;
    return v_observed;
  end if;

  for v_probe in select probe, function_name from monitor._pending_probes(observe.probes) loop
    v_state := monitor._run_probe(v_probe.probe, v_probe.function_name, v_started_at);
    v_observed.probes := v_observed.probes + 1;
    v_observed.failed := v_observed.failed + (v_state.error is not null)::int;
    v_observed.measured := v_observed.measured + v_state.measured;
    -- The others follow in the next observation: a time limit of the statement has passed for all of them, and the
    -- embedded database has one session, for which all other clients wait.
    exit when clock_timestamp() - v_started_at > v_longest or v_state.error like '%[57014]';
  end loop;

  if v_observed.measured > 0 then
    insert into monitor.sample (sampled_at, measured)
    select v_started_at, array_agg(case when series.measured_at = v_started_at then series.value end order by position)
    from generate_series(1, (select max(series_id) from monitor.series)) as position
    left join monitor.series on series.series_id = position;
    v_observed.sampled_at := v_started_at;
  end if;
  v_observed.duration := clock_timestamp() - v_started_at;
  return v_observed;
end;
$$;

comment on function monitor.observe(text[]) is $$
@behavior -*
Runs the probes that are scheduled now, or the given ones, and stores their values as one sample.
Called every minute by the worker; most probes measure every five minutes (`monitor.probe.every`).
An error of a probe is stored in `monitor.probe_state` and does not stop the others. A probe that is cancelled, by
`statement_timeout` or an administrator, ends the observation: the remaining probes are run by the next one, before the
others. While another session observes, nothing is done.
Errors: CF002 for an unknown probe.
$$;

grant execute on function monitor.observe(text[]) to insights_worker;
