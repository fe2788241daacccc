create or replace function monitor._apply_silences(at timestamptz)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_alert monitor.alert;
begin
  for v_alert in
    update monitor.alert
    set
      is_silenced = not alert.is_silenced,
      changed_at = _apply_silences.at
    where alert.resolved_at is null
      and alert.is_silenced <> monitor._is_silenced(alert.source, alert.subject, _apply_silences.at)
    returning alert.*
  loop
    perform monitor._log_transition(v_alert, case when v_alert.is_silenced then 'silenced' else 'unsilenced' end);
  end loop;
end;
$$;

comment on function monitor._apply_silences(timestamptz) is $$
Marks the unresolved alerts that are silenced at a time, and those that are no longer.
$$;

create or replace function monitor._store_finding(finding monitor.finding, at timestamptz)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_old monitor.alert;
  v_new monitor.alert;
  v_transition text;
  v_is_silenced constant boolean := monitor._is_silenced(finding.health_check, finding.subject, at);
begin
  select alert.*
  into v_old
  from monitor.alert
  where alert.source = finding.health_check
    and alert.subject = finding.subject
    and (
      alert.resolved_at is null
      or alert.resolved_at > _store_finding.at - (select reopen_within from monitor.alert_setting)
    )
  order by alert.resolved_at desc nulls first
  limit 1
  for update;

  if v_old.alert_id is null then
    insert into monitor.alert (
      source, subject, owner, severity, message, fix, value, threshold, opened_at, changed_at, seen_at, is_silenced
    )
    values (
      finding.health_check, finding.subject, monitor._source_owner(finding.health_check), finding.severity,
      finding.message, finding.fix, finding.value, finding.threshold, at, at, at, v_is_silenced
    )
    returning alert.* into v_new;
    v_transition := 'opened';
  else
    v_transition := case
      when v_old.state = 'resolved' then 'reopened'
      when v_old.severity = 'warning' and finding.severity = 'critical' then 'raised'
    end;
    update monitor.alert
    set
      severity = case when v_transition is null then v_old.severity else finding.severity end,
      -- The acknowledged problem was less severe.
      state = case when v_transition is null then v_old.state else 'open' end,
      message = finding.message,
      fix = finding.fix,
      value = finding.value,
      threshold = finding.threshold,
      changed_at = case when v_transition is null then v_old.changed_at else at end,
      seen_at = at,
      times_seen = v_old.times_seen + 1,
      healthy_since = null,
      healthy_runs = 0,
      times_reopened = v_old.times_reopened + (v_old.state = 'resolved')::int,
      is_silenced = v_is_silenced,
      acknowledged_at = case when v_transition is null then v_old.acknowledged_at end,
      acknowledged_by = case when v_transition is null then v_old.acknowledged_by end,
      resolved_at = null
    where alert.alert_id = v_old.alert_id
    returning alert.* into v_new;
  end if;

  if v_transition is not null then
    perform monitor._log_transition(v_new, v_transition);
  end if;
  return v_transition;
end;
$$;

comment on function monitor._store_finding(monitor.finding, timestamptz) is $$
Opens, raises or reopens the alert of a finding, or counts that it was found again. Returns the transition, if any.
$$;

create or replace function monitor._resolve_healthy(findings monitor.finding[], unfinished text[], at timestamptz)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_resolve_after constant interval := (select resolve_after from monitor.alert_setting);
  v_alert monitor.alert;
  v_resolved int := 0;
begin
  update monitor.alert
  set
    -- A time in the future is that of a clock that was ahead.
    healthy_since = case when alert.healthy_since <= at then alert.healthy_since else at end,
    healthy_runs = alert.healthy_runs + 1
  where alert.resolved_at is null
    -- Without a result, an alert stays as it is.
    and alert.source <> all (_resolve_healthy.unfinished)
    and not exists (
      select
      from unnest(_resolve_healthy.findings) as found
      where found.health_check = alert.source
        and found.subject = alert.subject
    );

  for v_alert in
    update monitor.alert
    set state = 'resolved', resolved_at = _resolve_healthy.at, changed_at = _resolve_healthy.at
    where alert.resolved_at is null
      -- Several runs, too: a clock that jumps ahead resolves nothing.
      and alert.healthy_runs >= 3
      and _resolve_healthy.at - alert.healthy_since
        >= least(v_resolve_after * (2 ^ least(alert.times_reopened, 12)), greatest(v_resolve_after, '1 day'))
    returning alert.*
  loop
    perform monitor._log_transition(v_alert, 'resolved');
    v_resolved := v_resolved + 1;
  end loop;
  return v_resolved;
end;
$$;

comment on function monitor._resolve_healthy(monitor.finding[], text[], timestamptz) is $$
Resolves the alerts whose problem has not been found for some time. Returns their number.
$$;

create or replace function monitor.watch()
returns monitor.watched
language plpgsql
volatile
-- A definer: checks read tables of all rooms, and alerts are written by these functions only.
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
  v_run record;
  v_at timestamptz;
  v_finding monitor.finding;
  v_transition text;
  v_watched monitor.watched := row(false, 0, 0, 0, 0, 0, 0);
begin
  -- Two workers: the first one watches, and the second does not wait.
  if not pg_try_advisory_xact_lock(hashtext('monitor.watch')) then
    v_watched.is_skipped := true;
    return v_watched;
  end if;

  begin
    perform monitor._learn_bounds();
  exception
    -- The alerts do not wait for it. The bounds remain those of an earlier hour.
    when query_canceled or others then
      raise warning 'monitor.watch: bounds were not learned: % [%]', common.without_values(sqlerrm), sqlstate;
  end;
  v_run := monitor._run_checks();
  v_at := clock_timestamp();
  perform monitor._apply_silences(v_at);
  foreach v_finding in array v_run.findings loop
    v_transition := monitor._store_finding(v_finding, v_at);
    v_watched.findings := v_watched.findings + 1;
    v_watched.opened := v_watched.opened + coalesce((v_transition = 'opened')::int, 0);
    v_watched.raised := v_watched.raised + coalesce((v_transition = 'raised')::int, 0);
    v_watched.reopened := v_watched.reopened + coalesce((v_transition = 'reopened')::int, 0);
  end loop;
  v_watched.resolved := monitor._resolve_healthy(v_run.findings, v_run.unfinished, v_at);
  v_watched.open := (select count(*) from monitor.alert where alert.resolved_at is null);
  return v_watched;
end;
$$;

comment on function monitor.watch() is $$
@behavior -*
Runs the checks and rules of `monitor.health`, and opens, raises and resolves alerts. Called every minute by the worker.
A problem has one alert as long as it lasts. It is resolved when it has not been found for
`monitor.alert_setting.resolve_after` and in three runs; found again within `reopen_within`, the same alert is opened
again, and must then be absent for twice as long, so that a problem that comes and goes does not notify each time.
The alerts of a check that fails stay as they are. While another session watches, nothing is done.
$$;

grant execute on function monitor.watch() to insights_worker;
