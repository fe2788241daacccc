create schema monitor;

comment on schema monitor is $$
Runs of scheduled tasks: durations, rows and outcomes.
$$;

grant usage on schema monitor to insights_reader, insights_analyst, insights_admin, insights_worker;

create table monitor.run (
  run_id bigint generated always as identity primary key,
  task text not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  duration interval generated always as (finished_at - started_at) stored,
  outcome text not null default 'running' check (outcome in ('running', 'ok', 'failed')),
  row_count bigint,
  detail jsonb,
  error text
);

comment on table monitor.run is $$
Runs of scheduled tasks, one row per run, with start, duration, number of rows and outcome.
A row that stays `running` long after its start belongs to a worker that was terminated.
$$;
comment on column monitor.run.run_id is $$Key of the run, ascending with time.$$;
comment on column monitor.run.task is $$Name of the task, as in `tasks/`.$$;
comment on column monitor.run.started_at is $$Start of the run.$$;
comment on column monitor.run.finished_at is $$End of the run; null while it is running.$$;
comment on column monitor.run.duration is $$Duration of the run; null while it is running.$$;
comment on column monitor.run.outcome is $$`running`, `ok` or `failed`.$$;
comment on column monitor.run.row_count is $$
Number of rows that the run wrote or removed; null when the task does not report it.
$$;
comment on column monitor.run.detail is $$Additional results that the task reports; null when there are none.$$;
comment on column monitor.run.error is $$Message of the error that ended the run; null when the run did not fail.$$;

create index run_task_started on monitor.run (task, started_at desc);

alter table monitor.run enable row level security;

insert into privacy.handler (room, position, erase_function, description)
values ('monitor', 50, 'monitor.erase', 'Messages of errors that contain a name of the person.');

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'runs', 50, 'monitor.run', 'started_at',
  'exists (select from monitor.run as later where later.task = stored.task and later.started_at > stored.started_at)',
  '90 days', 'Runs of tasks, except the latest of each task.'
);
