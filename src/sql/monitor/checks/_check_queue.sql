create or replace function monitor._check_queue()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is null then
    return;
  end if;
  return query execute $statement$
    with job as (
      select
        substr(task.identifier, 10) as task, job.attempts >= job.max_attempts as has_failed,
        clock_timestamp() - job.run_at as wait
      from insights_queue._private_jobs as job
      join insights_queue._private_tasks as task on task.id = job.task_id
      where task.identifier like 'insights:%'
        and job.locked_at is null
        and job.run_at <= clock_timestamp()
      limit 100000
    ),

    task as (
      select
        job.task, count(*) filter (where not job.has_failed) as waiting,
        max(job.wait) filter (where not job.has_failed) as longest,
        count(*) filter (where job.has_failed) as failed
      from job
      group by job.task
    )

    select found.*
    from task
    cross join lateral (
      select (monitor._finding(
        'queue', task.task,
        case when task.longest >= interval '2 hours' then 'critical' else 'warning' end,
        format('a job of the task %s has waited for %s', task.task, monitor._duration(task.longest)),
        'Start a worker: insights worker. If one is running, see what keeps it busy: '
          || 'select task, started_at from monitor.run where outcome = ''running'' order by started_at',
        extract(epoch from task.longest), 900
      )).*
      where task.longest >= interval '15 minutes'
      union all
      select (monitor._finding(
        'queue', task.task || ' (many)',
        case when task.waiting >= 50000 then 'critical' else 'warning' end,
        format('%s%s jobs of the task %s are waiting', task.waiting,
          case when task.waiting >= 100000 then ' or more' end, task.task),
        'Start another worker: insights worker. Find out who adds the jobs: select payload, count(*) '
          || 'from insights_queue._private_jobs group by 1 order by 2 desc limit 10',
        task.waiting, 1000
      )).*
      where task.waiting >= 1000
      union all
      select (monitor._finding(
        'queue', task.task || ' (failed)', 'warning',
        format('%s %s of the task %s failed in all attempts', task.failed,
          case task.failed when 1 then 'job' else 'jobs' end, task.task),
        format('Read the error: select last_error from insights_queue.jobs where task_identifier = ''insights:%s'' ',
          task.task) || 'and attempts >= max_attempts. Remove its cause, then run the job again: '
          || 'select insights_queue.reschedule_jobs(array_agg(id), attempts => 0) from insights_queue.jobs where '
          || format('task_identifier = ''insights:%s'' and attempts >= max_attempts', task.task),
        task.failed, 1
      )).*
      where task.failed > 0
    ) as found
  $statement$;
end;
$$;

comment on function monitor._check_queue() is $$
Finds jobs that wait for 15 minutes, tasks with 1,000 waiting jobs, and jobs that failed in all attempts.
$$;
