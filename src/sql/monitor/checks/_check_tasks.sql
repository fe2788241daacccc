create or replace function monitor._check_tasks()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with task as (
    select
      scheduled.task, scheduled.every, scheduled.is_always_recorded, scheduled.severity,
      latest.outcome, latest.started_at, latest.run_id, latest.failures, latest.failed_run_id, latest.failed_at,
      latest.ok_at, schedule.known_since,
      -- Without a worker, all are late: that is a finding of its own.
      schedule.executed_at > clock_timestamp() - interval '10 minutes' as is_scheduled,
      2 * scheduled.every + interval '30 minutes' as tolerance
    from monitor.scheduled_task as scheduled
    cross join monitor._schedule() as schedule
    left join lateral (
      select
        (array_agg(recent.outcome order by recent.nth))[1] as outcome,
        (array_agg(recent.started_at order by recent.nth))[1] as started_at,
        (array_agg(recent.run_id order by recent.nth))[1] as run_id,
        count(*) filter (where recent.outcome = 'failed' and recent.nth < coalesce(recent.ok_nth, 21)) as failures,
        max(recent.run_id) filter (where recent.outcome = 'failed') as failed_run_id,
        max(recent.started_at) filter (where recent.outcome = 'failed') as failed_at,
        max(recent.started_at) filter (where recent.outcome = 'ok') as ok_at
      from (
        select run.*, run.number as nth, min(run.number) filter (where run.outcome = 'ok') over () as ok_nth
        from (
          select run.run_id, run.outcome, run.started_at, row_number() over (order by run.started_at desc) as number
          from monitor.run
          where run.task = scheduled.task
          order by run.started_at desc
          limit 20
        ) as run
      ) as recent
    ) as latest on true
  )

  select monitor._finding(
    'tasks', task.task || ' (failed)',
    case when task.failures >= 3 then task.severity else 'warning' end,
    format(
      'the task %s failed %s, last on %s',
      task.task,
      case
        when task.failures >= 20 then 'in each of its last 20 runs'
        when task.failures = 1 then 'in its last run'
        else format('in its last %s runs', task.failures)
      end,
      to_char(task.failed_at, 'YYYY-MM-DD HH24:MI "UTC"')
    ),
    format('Read the error: select error from monitor.run where run_id = %s. The task runs again on schedule.',
      task.failed_run_id),
    task.failures, 2
  )
  from task
  where task.failures >= 2
    -- A single failure that was not followed by another attempt.
    or task.failures = 1 and task.failed_at < clock_timestamp() - interval '15 minutes'

  union all

  select monitor._finding(
    'tasks', task.task || ' (late)',
    case when clock_timestamp() - coalesce(task.ok_at, task.known_since) > 2 * task.tolerance
      then task.severity else 'warning' end,
    format(
      'the task %s, scheduled every %s, has not succeeded %s', task.task, monitor._duration(task.every),
      coalesce('for ' || monitor._duration(clock_timestamp() - task.ok_at), 'yet')
    ),
    format('Queue it: select insights_queue.add_job(''insights:%s''). See the log of the worker.', task.task),
    extract(epoch from clock_timestamp() - coalesce(task.ok_at, task.known_since)), extract(epoch from task.tolerance)
  )
  from task
  where task.is_always_recorded
    and task.is_scheduled
    and task.failures = 0
    and greatest(task.ok_at, task.known_since) < clock_timestamp() - task.tolerance

  union all

  select monitor._finding(
    'tasks', task.task || ' (running)', 'warning',
    format('the task %s has been running for %s', task.task, monitor._duration(clock_timestamp() - task.started_at)),
    format('If no worker is busy with it, it was killed. Run it again: select insights_queue.add_job(''insights:%s''). '
      || 'Otherwise look at pg_stat_activity for a lock that it waits for.', task.task),
    extract(epoch from clock_timestamp() - task.started_at), extract(epoch from greatest(task.tolerance, '12 hours'))
  )
  from task
  where task.outcome = 'running'
    and task.started_at < clock_timestamp() - greatest(task.tolerance, '12 hours')
$$;

comment on function monitor._check_tasks() is $$
Finds tasks that fail repeatedly, that have not succeeded for two of their periods, or that do not end.
$$;
