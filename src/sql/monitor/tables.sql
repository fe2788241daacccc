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

/* -------------------------------------------------------------------------------------------------- latencies -- */

create table monitor.latency (
  hour_at timestamptz not null,
  operation text not null,
  counts bigint[] not null,
  failures bigint not null,
  messages bigint not null,
  seconds float8 not null,
  primary key (hour_at, operation)
);

comment on table monitor.latency is $$
@behavior -*
How long the requests of the API took, one row per hour and operation: see `monitor.latencies`.
$$;
comment on column monitor.latency.hour_at is $$Start of the hour, in UTC.$$;
comment on column monitor.latency.operation is $$
Root field of the GraphQL schema, or route of the server. Never a text of a client.
$$;
comment on column monitor.latency.counts is $$
Numbers of requests by their duration.
A number counts those of at most the bound of `monitor.latency_bounds()` at its position, and more than the bound before.
The last one counts those above all bounds.
$$;
comment on column monitor.latency.failures is $$Number of requests that ended with an error of the server.$$;
comment on column monitor.latency.messages is $$Number of messages in the requests, for `trackIngest`; otherwise 0.$$;
comment on column monitor.latency.seconds is $$Sum of the durations, in seconds.$$;

create table monitor.latency_writer (
  writer uuid primary key,
  flush bigint not null,
  written_at timestamptz not null default now()
);

comment on table monitor.latency_writer is $$
@behavior -*
Processes of the API that have recorded latencies, so that a repeated flush is not counted twice.
$$;
comment on column monitor.latency_writer.writer is $$Random key of the process.$$;
comment on column monitor.latency_writer.flush is $$Number of its latest flush that is stored.$$;
comment on column monitor.latency_writer.written_at is $$Time of that flush.$$;

create type monitor.latency_counts as (
  operation text,
  counts bigint[],
  failures bigint,
  messages bigint,
  seconds float8
);

comment on type monitor.latency_counts is $$
@behavior -*
Latencies of one operation that a process of the API has measured since its last flush.
$$;
comment on column monitor.latency_counts.operation is $$As `monitor.latency.operation`.$$;
comment on column monitor.latency_counts.counts is $$As `monitor.latency.counts`.$$;
comment on column monitor.latency_counts.failures is $$As `monitor.latency.failures`.$$;
comment on column monitor.latency_counts.messages is $$As `monitor.latency.messages`.$$;
comment on column monitor.latency_counts.seconds is $$As `monitor.latency.seconds`.$$;

create type monitor.latency_summary as (
  starts_at timestamptz,
  operation text,
  calls bigint,
  failures bigint,
  messages bigint,
  mean_ms float8,
  p50_ms float8,
  p90_ms float8,
  p99_ms float8,
  ms_per_message float8
);

comment on type monitor.latency_summary is $$
Latencies of an operation, an hour or a day: see `monitor.latencies`.
$$;
comment on column monitor.latency_summary.starts_at is $$Start of the hour or day, in UTC; null by operation.$$;
comment on column monitor.latency_summary.operation is $$
Root field of the GraphQL schema, or route of the server; null by hour or day.
$$;
comment on column monitor.latency_summary.calls is $$Number of requests.$$;
comment on column monitor.latency_summary.failures is $$Number of requests that ended with an error of the server.$$;
comment on column monitor.latency_summary.messages is $$Number of messages sent to `trackIngest`.$$;
comment on column monitor.latency_summary.mean_ms is $$Mean duration, in milliseconds.$$;
comment on column monitor.latency_summary.p50_ms is $$Median of the duration, in milliseconds.$$;
comment on column monitor.latency_summary.p90_ms is $$Duration that 90 % of the requests do not exceed, in milliseconds.$$;
comment on column monitor.latency_summary.p99_ms is $$Duration that 99 % of the requests do not exceed, in milliseconds.$$;
comment on column monitor.latency_summary.ms_per_message is $$
Milliseconds per message of `trackIngest`; null without messages.
$$;

alter table monitor.latency enable row level security;
alter table monitor.latency_writer enable row level security;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'latencies', 51, 'monitor.latency', 'hour_at', null, '400 days', 'Durations of requests by hour and operation.'
);
