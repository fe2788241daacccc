create or replace function monitor._probe_tasks()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  -- The tasks one after the other by the index, without reading all runs.
  with recursive task (name) as (
    select min(run.task) from monitor.run
    union all
    select (select min(run.task) from monitor.run where run.task > task.name)
    from task
    where task.name is not null
  ),

  latest as (
    select task.name, succeeded.finished_at, succeeded.duration, failed.failures
    from task
    left join lateral (
      select run.started_at, run.finished_at, run.duration
      from monitor.run
      where run.task = task.name
        and run.outcome = 'ok'
      order by run.started_at desc
      limit 1
    ) as succeeded on true
    cross join lateral (
      select count(*) as failures
      from monitor.run
      where run.task = task.name
        and run.outcome = 'failed'
        and run.started_at > coalesce(succeeded.started_at, '-infinity')
    ) as failed
    where task.name ~ '^[a-z_]{1,100}$'
  )

  select measured.metric, jsonb_build_object('task', latest.name), measured.value
  from latest
  cross join lateral (
    values
      (
        'insights_task_success_age_seconds',
        extract(epoch from clock_timestamp() - latest.finished_at)::float8
      ),
      ('insights_task_seconds', extract(epoch from latest.duration)::float8),
      ('insights_task_failures', latest.failures::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_tasks() is $$
Measures the runs of each task: time since the last success, its duration, and the failures since then.
$$;
