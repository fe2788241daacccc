create or replace function monitor._check_worker()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_fix constant text := 'Start a worker: insights worker (or insights start). If it ends again, see its log.';
  v_latest monitor.worker;
  v_ran_at timestamptz;
  v_has_work boolean;
  v_last_seen text;
begin
  v_ran_at := (
    select max(latest.started_at)
    from monitor.scheduled_task as scheduled
    cross join lateral (
      select run.started_at
      from monitor.run
      where run.task = scheduled.task
        -- Not those of a clock that was ahead.
        and run.started_at <= v_now + interval '1 minute'
      order by run.started_at desc
      limit 1
    ) as latest
  );

  if monitor._has_worker() then
    -- The watch runs every minute, unless a long task keeps a worker with one job at a time busy.
    if (select min(worker.started_at) from monitor.worker where worker.stopped_at is null
        and worker.seen_at between v_now - interval '3 minutes' and v_now + interval '1 minute')
        < v_now - interval '15 minutes'
      and coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
      and not exists (
        select
        from monitor.scheduled_task as scheduled
        cross join lateral (
          select run.outcome, run.started_at
          from monitor.run
          where run.task = scheduled.task
          order by run.started_at desc
          limit 1
        ) as latest
        where latest.outcome = 'running'
          and latest.started_at > v_now - interval '12 hours'
      )
    then
      return next monitor._finding(
        'worker', 'tasks', 'critical',
        format('a worker sends heartbeats, but no task has run for %s',
          monitor._duration(v_now - coalesce(v_ran_at, (select min(worker.started_at) from monitor.worker)))),
        'Restart the worker: insights worker. See its log. Jobs that a killed worker had locked are freed after four '
          || 'hours: select locked_by, locked_at, task_identifier from insights_queue.jobs where locked_at is not null',
        extract(epoch from v_now - v_ran_at), 900
      );
    end if;
    return;
  end if;

  select worker.* into v_latest from monitor.worker order by worker.seen_at desc limit 1;
  v_has_work := exists (select 1 from track.stale) or exists (select 1 from track.changed);
  v_last_seen := monitor._duration(v_now - v_latest.seen_at);
  if v_latest.seen_at > v_now + interval '1 minute' then
    -- The clock was ahead. A worker that is running sends its next heartbeat within a minute, and runs tasks.
    if v_latest.stopped_at is null and coalesce(v_ran_at, '-infinity') < v_now - interval '3 minutes' then
      return next monitor._finding(
        'worker', '', 'critical',
        format('no worker is running: the last heartbeat of %s has a time in the future, and it was not stopped',
          v_latest.worker),
        v_fix, extract(epoch from v_now - v_ran_at), 180
      );
    end if;
  elsif v_latest.stopped_at is null and v_latest.worker is not null then
    return next monitor._finding(
      'worker', '', 'critical',
      format('no worker is running: %s sent its last heartbeat %s ago, and was not stopped', v_latest.worker,
        v_last_seen),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 180
    );
  elsif coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
    and (
      v_latest.worker is null and v_has_work
      or v_latest.seen_at < v_now - interval '15 minutes' and v_has_work
      or v_latest.seen_at < v_now - interval '1 day'
    )
    -- A worker that is started each day for one round sends no heartbeat.
    and (v_latest.worker is not null or coalesce(v_ran_at, '-infinity') < v_now - interval '1 day')
  then
    return next monitor._finding(
      'worker', '', 'warning',
      format(
        'no worker is running%s%s',
        case when v_latest.worker is null then ', and none has run'
          else format(': the last one was stopped %s ago', v_last_seen) end,
        case when v_has_work then '; changes of people wait to be refreshed' end
      ),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 900
    );
  end if;
end;
$$;

comment on function monitor._check_worker() is $$
Finds that no worker is running: it was killed, or stopped while there is work; and a worker that runs no task.
$$;
