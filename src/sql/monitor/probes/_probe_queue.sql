create or replace function monitor._probe_queue()
returns setof monitor.measurement
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
    with task as (
      select task.identifier as name,
        count(*) filter (where job.is_waiting) as waiting,
        coalesce(
          extract(epoch from clock_timestamp() - min(job.run_at) filter (where job.is_waiting)), 0
        )::float8 as oldest_wait,
        count(*) filter (where job.locked_at is not null) as running,
        count(*) filter (where job.attempts >= job.max_attempts and job.locked_at is null) as failed
      from insights_queue._private_tasks as task
      left join (
        select job.*,
          job.run_at <= clock_timestamp() and job.attempts < job.max_attempts and job.locked_at is null as is_waiting
        from insights_queue._private_jobs as job
      ) as job on job.task_id = task.id
      where task.identifier ~ '^insights:[a-z_]{1,100}$'
      group by task.identifier
    )
    select measured.metric, jsonb_build_object('task', substr(task.name, 10)), measured.value::float8
    from task
    cross join lateral (
      values
        ('insights_queue_waiting_jobs', task.waiting),
        ('insights_queue_oldest_wait_seconds', task.oldest_wait),
        ('insights_queue_running_jobs', task.running),
        ('insights_queue_failed_jobs', task.failed)
    ) as measured (metric, value)
  $statement$;
end;
$$;

comment on function monitor._probe_queue() is $$
Measures the jobs of each task of the installation: waiting, running and failed, and the longest wait.
$$;
