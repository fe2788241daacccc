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

/* ------------------------------------------------------------------------------------------------- observation -- */

create table monitor.setting (
  only_row boolean primary key default true check (only_row),
  every_sample interval not null default '14 days' check (every_sample >= '1 day'),
  hourly_samples interval not null default '90 days' check (hourly_samples >= every_sample),
  daily_samples interval not null default '3 years' check (daily_samples between hourly_samples and '100 years'),
  most_series int not null default 5000 check (most_series between 100 and 100000),
  longest_observation interval not null default '2 seconds'
    check (longest_observation between '100 milliseconds' and '1 hour')
);

comment on table monitor.setting is $$
Settings of the observation: one row.
$$;
comment on column monitor.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column monitor.setting.every_sample is $$Time for which every sample is kept.$$;
comment on column monitor.setting.hourly_samples is $$Age up to which one sample per hour is kept.$$;
comment on column monitor.setting.daily_samples is $$
Age up to which one sample per day is kept. Older samples, and series without a value since then, are deleted.
$$;
comment on column monitor.setting.most_series is $$Most series; values of further ones are refused.$$;
comment on column monitor.setting.longest_observation is $$
Time after which an observation begins no other probe; the rest is left to the next observation.
$$;

insert into monitor.setting default values;

create table monitor.metric (
  metric text primary key check (metric ~ '^insights_[a-z][a-z0-9_]{0,100}$'),
  kind text not null check (kind in ('gauge', 'counter')),
  unit text not null check (
    unit in (
      'seconds', 'bytes', 'rows', 'jobs', 'people', 'messages', 'calls', 'connections', 'transactions', 'tables',
      'requests', 'records', 'items', 'workers', 'ratio', 'flag', 'count'
    )
  ),
  labels text[] not null default '{}' check (cardinality(labels) <= 5),
  description text not null,
  constraint metric_counter check ((kind = 'counter') = (metric like '%\_total'))
);

comment on table monitor.metric is $$
@behavior -*
Catalogue of the metrics; a probe can measure these only.
Names follow the conventions of Prometheus: base units, and `_total` at the end of counters. A metric is about the
installation, its tables and models, never about a person.
$$;
comment on column monitor.metric.metric is $$Name of the metric, such as `insights_queue_waiting_jobs`.$$;
comment on column monitor.metric.kind is $$
`gauge`: a value that rises and falls; `counter`: a sum that only rises, or begins at 0 again.
$$;
comment on column monitor.metric.unit is $$Unit of the values; `flag` for 0 or 1, `ratio` for shares.$$;
comment on column monitor.metric.labels is $$Names of the labels, all of which each measurement has.$$;
comment on column monitor.metric.description is $$Description of the metric, one sentence.$$;

create table monitor.probe (
  probe text primary key check (probe ~ '^[a-z][a-z_]{0,62}$'),
  position smallint not null unique,
  function_name text not null check (function_name ~ '^[a-z][a-z0-9_]*\.[a-z_][a-z0-9_]*$'),
  every interval not null default '5 minutes' check (every between '1 minute' and '7 days'),
  description text not null
);

comment on table monitor.probe is $$
Probes: functions that measure metrics, called by `monitor.observe`.
The function takes no argument and returns `setof monitor.measurement`. It reads only, and takes some milliseconds at
most, whatever the size of the database.
$$;
comment on column monitor.probe.probe is $$Name of the probe.$$;
comment on column monitor.probe.position is $$Position in the order of an observation.$$;
comment on column monitor.probe.function_name is $$Name of the function, with its schema.$$;
comment on column monitor.probe.every is $$Time between two measurements.$$;
comment on column monitor.probe.description is $$Description of what is measured.$$;

create table monitor.probe_state (
  probe text primary key references monitor.probe on delete cascade,
  started_at timestamptz not null,
  duration interval not null,
  measured_at timestamptz,
  measured int not null,
  failures int not null,
  error text
)
with (fillfactor = 50);

comment on table monitor.probe_state is $$
Result of the last run of each probe.
$$;
comment on column monitor.probe_state.probe is $$Probe.$$;
comment on column monitor.probe_state.started_at is $$Start of the last run.$$;
comment on column monitor.probe_state.duration is $$Duration of the last run.$$;
comment on column monitor.probe_state.measured_at is $$
Time of the sample of the last run that did not fail; null when there was none.
$$;
comment on column monitor.probe_state.measured is $$Number of values that the last run measured.$$;
comment on column monitor.probe_state.failures is $$Number of failed runs since the last one that succeeded.$$;
comment on column monitor.probe_state.error is $$
Error of the last run, or why values of it were refused; null without either.
$$;

create table monitor.series (
  series_id int generated always as identity primary key,
  metric text not null references monitor.metric on delete cascade,
  labels jsonb not null default '{}',
  first_seen_at timestamptz not null,
  probe text not null references monitor.probe on delete cascade,
  value float8 not null,
  measured_at timestamptz not null,
  unique (metric, labels)
)
with (fillfactor = 50);

create index series_probe on monitor.series (probe);

comment on table monitor.series is $$
@behavior -*
Series: a metric with the values of its labels, and its latest value.
$$;
comment on column monitor.series.series_id is $$Key of the series, and its position in `sample.measured`.$$;
comment on column monitor.series.metric is $$Metric.$$;
comment on column monitor.series.labels is $$
Values of the labels: names of tasks, tables, models and such, never of people, items or events.
$$;
comment on column monitor.series.first_seen_at is $$Time of the first value.$$;
comment on column monitor.series.probe is $$Probe that measured the latest value.$$;
comment on column monitor.series.value is $$Latest value, in the unit of the metric.$$;
comment on column monitor.series.measured_at is $$Time of the latest value: that of its sample.$$;

create table monitor.sample (
  sampled_at timestamptz primary key,
  measured float8[] not null
);

comment on table monitor.sample is $$
@behavior -*
Values of all series over time: one row per observation.
`monitor.thin_samples` keeps all rows of the last two weeks, then one per hour, then one per day (`monitor.setting`).
$$;
comment on column monitor.sample.sampled_at is $$Time of the observation.$$;
comment on column monitor.sample.measured is $$
Value of each series at the position of its `series_id`; null for those that were not measured.
$$;

create table monitor.worker (
  worker text primary key check (length(worker) between 1 and 200),
  started_at timestamptz not null,
  seen_at timestamptz not null,
  stopped_at timestamptz,
  version text not null check (length(version) <= 100)
)
with (fillfactor = 50);

comment on table monitor.worker is $$
Processes of `insights worker`, with the time of their last heartbeat.
A worker calls `monitor.beat` every 30 seconds, also while it runs a long job.
$$;
comment on column monitor.worker.worker is $$Host and process of the worker, with a random suffix.$$;
comment on column monitor.worker.started_at is $$Start of the worker.$$;
comment on column monitor.worker.seen_at is $$Time of its last heartbeat.$$;
comment on column monitor.worker.stopped_at is $$
Time at which it was stopped; null while it runs, and when it was killed.
$$;
comment on column monitor.worker.version is $$Version of the software.$$;

alter table monitor.setting enable row level security;
alter table monitor.metric enable row level security;
alter table monitor.probe enable row level security;
alter table monitor.probe_state enable row level security;
alter table monitor.series enable row level security;
alter table monitor.sample enable row level security;
alter table monitor.worker enable row level security;

create type monitor.measurement as (metric text, labels jsonb, value float8);

comment on type monitor.measurement is $$
Value that a probe measured.
$$;
comment on column monitor.measurement.metric is $$Metric of `monitor.metric`.$$;
comment on column monitor.measurement.labels is $$Values of the labels of the metric; null when it has none.$$;
comment on column monitor.measurement.value is $$Value, in the unit of the metric; a null is not stored.$$;

create type monitor.observation as (
  sampled_at timestamptz,
  probes int,
  failed int,
  measured int,
  duration interval
);

comment on type monitor.observation is $$
Result of `monitor.observe`.
$$;
comment on column monitor.observation.sampled_at is $$
Time of the sample; null when nothing was measured.
$$;
comment on column monitor.observation.probes is $$Number of probes that ran.$$;
comment on column monitor.observation.failed is $$
Number of probes that failed, or measured values that were refused.
$$;
comment on column monitor.observation.measured is $$Number of values that were stored.$$;
comment on column monitor.observation.duration is $$Duration of the observation.$$;

create type monitor.metric_value as (
  metric text,
  kind text,
  unit text,
  labels jsonb,
  value float8,
  measured_at timestamptz,
  description text
);

comment on type monitor.metric_value is $$
Latest value of a series.
$$;
comment on column monitor.metric_value.metric is $$Metric.$$;
comment on column monitor.metric_value.kind is $$`gauge` or `counter`.$$;
comment on column monitor.metric_value.unit is $$Unit of the value.$$;
comment on column monitor.metric_value.labels is $$Values of the labels.$$;
comment on column monitor.metric_value.value is $$Value, in the unit `unit`.$$;
comment on column monitor.metric_value.measured_at is $$Time of the measurement.$$;
comment on column monitor.metric_value.description is $$Description of the metric.$$;

create type monitor.metric_bucket as (
  labels jsonb,
  started_at timestamptz,
  value float8,
  least float8,
  greatest float8,
  samples int
);

comment on type monitor.metric_bucket is $$
Values of a series in a bucket of time.
$$;
comment on column monitor.metric_bucket.labels is $$Values of the labels of the series.$$;
comment on column monitor.metric_bucket.started_at is $$Start of the bucket.$$;
comment on column monitor.metric_bucket.value is $$
Mean of the samples of a gauge, or rise of a counter, in the unit of the metric.
Null in the first bucket of a counter of which no earlier sample is known.
$$;
comment on column monitor.metric_bucket.least is $$Least value of a gauge; null for counters.$$;
comment on column monitor.metric_bucket.greatest is $$Greatest value of a gauge; null for counters.$$;
comment on column monitor.metric_bucket.samples is $$Number of samples.$$;

create type monitor.table_state as (
  table_name text,
  bytes bigint,
  index_bytes bigint,
  row_count bigint,
  dead_rows bigint,
  dead_share float8,
  modified_rows bigint,
  vacuumed_at timestamptz,
  analyzed_at timestamptz,
  bytes_per_day float8
);

comment on type monitor.table_state is $$
Size and state of a table, with its partitions.
$$;
comment on column monitor.table_state.table_name is $$Table, with its schema.$$;
comment on column monitor.table_state.bytes is $$Size with indexes and out-of-line values, in bytes.$$;
comment on column monitor.table_state.index_bytes is $$Size of the indexes, in bytes.$$;
comment on column monitor.table_state.row_count is $$Number of rows, as the server estimates it.$$;
comment on column monitor.table_state.dead_rows is $$Number of dead rows, which a vacuum removes (an estimate).$$;
comment on column monitor.table_state.dead_share is $$Share of dead rows among all rows, from 0 to 1.$$;
comment on column monitor.table_state.modified_rows is $$Number of rows that changed since the last analyze.$$;
comment on column monitor.table_state.vacuumed_at is $$Time of the last vacuum; null without one.$$;
comment on column monitor.table_state.analyzed_at is $$Time of the last analyze; null without one.$$;
comment on column monitor.table_state.bytes_per_day is $$
Growth in bytes per day, over at most seven days; null until an hour has been observed.
$$;

create type monitor.slow_statement as (
  statement text,
  calls bigint,
  total_seconds float8,
  mean_milliseconds float8,
  greatest_milliseconds float8,
  share float8,
  row_count bigint,
  blocks bigint
);

comment on type monitor.slow_statement is $$
Statement with its costs, of pg_stat_statements.
$$;
comment on column monitor.slow_statement.statement is $$
First 1,000 characters of the statement, with parameters in place of values; null when it cannot be shown.
$$;
comment on column monitor.slow_statement.calls is $$Number of calls.$$;
comment on column monitor.slow_statement.total_seconds is $$Time of all calls, in seconds.$$;
comment on column monitor.slow_statement.mean_milliseconds is $$Mean time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.greatest_milliseconds is $$Longest time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.share is $$
Share in the time of all statements of the database, from 0 to 1.
$$;
comment on column monitor.slow_statement.row_count is $$Number of rows that were returned or changed.$$;
comment on column monitor.slow_statement.blocks is $$Number of blocks that were read, from memory or disk.$$;

insert into monitor.metric (metric, kind, unit, labels, description)
values
  ('insights_observation_age_seconds', 'gauge', 'seconds', '{}', 'Time since the last observation.'),
  ('insights_probe_failures', 'gauge', 'count', '{probe}', 'Runs of a probe that failed since the last success.'),
  ('insights_probe_seconds', 'gauge', 'seconds', '{probe}', 'Duration of the last run of a probe.'),
  ('insights_queue_waiting_jobs', 'gauge', 'jobs', '{task}', 'Jobs that should have started.'),
  ('insights_queue_oldest_wait_seconds', 'gauge', 'seconds', '{task}', 'Longest wait of a job of the task.'),
  ('insights_queue_running_jobs', 'gauge', 'jobs', '{task}', 'Jobs that a worker is running.'),
  ('insights_queue_failed_jobs', 'gauge', 'jobs', '{task}', 'Jobs that have failed permanently.'),
  ('insights_workers', 'gauge', 'workers', '{}', 'Workers with a heartbeat within two minutes.'),
  ('insights_worker_silence_seconds', 'gauge', 'seconds', '{}', 'Time since the last heartbeat of a worker.'),
  ('insights_task_success_age_seconds', 'gauge', 'seconds', '{task}', 'Time since a run of the task succeeded.'),
  ('insights_task_seconds', 'gauge', 'seconds', '{task}', 'Duration of the last run that succeeded.'),
  ('insights_task_failures', 'gauge', 'count', '{task}', 'Runs that failed since the last success.'),
  ('insights_refresh_queued_periods', 'gauge', 'rows', '{step}', 'Periods of people that a step must refresh.'),
  ('insights_refresh_lag_seconds', 'gauge', 'seconds', '{}', 'Age of the derived data; 0 when it is complete.'),
  ('insights_rollup_trust', 'gauge', 'ratio', '{rollup}', 'Share of compared cells that agreed with the events.'),
  ('insights_rollup_differing_cells', 'gauge', 'count', '{rollup}', 'Cells that differed, in the last 1,000 checks.'),
  ('insights_rollup_check_age_seconds', 'gauge', 'seconds', '{rollup}', 'Time since the last check of the rollup.'),
  ('insights_model_version', 'gauge', 'count', '{project}', 'Number of the deployed version.'),
  ('insights_model_age_seconds', 'gauge', 'seconds', '{project}', 'Time since the deployed version was trained.'),
  ('insights_model_deployment_age_seconds', 'gauge', 'seconds', '{project}', 'Time since the last deployment.'),
  (
    'insights_model_training_seconds', 'gauge', 'seconds', '{project}',
    'Duration of the training of the deployed version.'
  ),
  ('insights_model_is_marked', 'gauge', 'flag', '{project}', '1 when the deployed version waits for a training.'),
  ('insights_ingested_messages_total', 'counter', 'messages', '{}', 'Messages that were accepted.'),
  ('insights_refused_messages_total', 'counter', 'messages', '{code}', 'Messages that were refused, from 0 each day.'),
  ('insights_event_partitions', 'gauge', 'tables', '{}', 'Partitions of the events.'),
  (
    'insights_event_partitions_ahead_seconds', 'gauge', 'seconds', '{}',
    'Time until the first month without a partition.'
  ),
  ('insights_table_bytes', 'gauge', 'bytes', '{table}', 'Size of the table, with indexes.'),
  ('insights_table_rows', 'gauge', 'rows', '{table}', 'Rows of the table, as the server estimates them.'),
  ('insights_table_dead_rows', 'gauge', 'rows', '{table}', 'Dead rows of the table (an estimate).'),
  ('insights_privacy_open_requests', 'gauge', 'requests', '{kind}', 'Requests of people that are not answered.'),
  ('insights_privacy_overdue_requests', 'gauge', 'requests', '{kind}', 'Requests of people that are overdue.'),
  ('insights_privacy_next_deadline_seconds', 'gauge', 'seconds', '{}', 'Time until the next deadline of a request.'),
  ('insights_ledger_records', 'gauge', 'records', '{}', 'Entries of the ledger.'),
  ('insights_ledger_needs_seal', 'gauge', 'flag', '{}', '1 when records wait to be sealed.'),
  ('insights_database_bytes', 'gauge', 'bytes', '{}', 'Size of the database.'),
  ('insights_database_connections', 'gauge', 'connections', '{}', 'Sessions of the database.'),
  ('insights_database_connections_limit', 'gauge', 'connections', '{}', 'Most sessions of the server.'),
  ('insights_database_xid_age', 'gauge', 'transactions', '{}', 'Age of the oldest transaction id.'),
  ('insights_database_multixact_age', 'gauge', 'transactions', '{}', 'Age of the oldest multixact id.'),
  ('insights_database_commits_total', 'counter', 'transactions', '{}', 'Transactions that were committed.'),
  ('insights_database_rollbacks_total', 'counter', 'transactions', '{}', 'Transactions that were rolled back.'),
  ('insights_database_deadlocks_total', 'counter', 'count', '{}', 'Deadlocks.'),
  ('insights_database_temporary_bytes_total', 'counter', 'bytes', '{}', 'Bytes of temporary files.'),
  ('insights_database_blocks_hit_total', 'counter', 'count', '{}', 'Blocks that were found in memory.'),
  ('insights_database_blocks_read_total', 'counter', 'count', '{}', 'Blocks that were read.'),
  ('insights_database_active_seconds_total', 'counter', 'seconds', '{}', 'Time in which sessions ran statements.'),
  ('insights_database_statistics', 'gauge', 'flag', '{}', '1 when pg_stat_statements is installed.'),
  ('insights_replication_standbys', 'gauge', 'count', '{}', 'Standbys that are connected.'),
  ('insights_replication_lag_bytes', 'gauge', 'bytes', '{standby}', 'Log that the standby has not applied.'),
  ('insights_replication_lag_seconds', 'gauge', 'seconds', '{standby}', 'Time by which the standby is behind.'),
  (
    'insights_replication_absence_seconds', 'gauge', 'seconds', '{standby}',
    'Time since the standby was connected; 0 while it is.'
  ),
  ('insights_replication_slot_active', 'gauge', 'flag', '{slot}', '1 when the slot is in use.'),
  ('insights_replication_slot_retained_bytes', 'gauge', 'bytes', '{slot}', 'Log that the slot keeps on disk.');

insert into monitor.probe (probe, position, function_name, every, description)
values
  ('queue', 100, 'monitor._probe_queue', '5 minutes', 'Jobs of the queue: waiting, running and failed.'),
  ('workers', 110, 'monitor._probe_workers', '5 minutes', 'Workers and their heartbeats.'),
  ('tasks', 120, 'monitor._probe_tasks', '5 minutes', 'Runs of the tasks.'),
  ('refresh', 130, 'monitor._probe_refresh', '5 minutes', 'Queues of the refresh, and the age of the derived data.'),
  ('rollups', 140, 'monitor._probe_rollups', '1 hour', 'Trust scores of the rollups.'),
  ('models', 150, 'monitor._probe_models', '5 minutes', 'Deployed versions of the models.'),
  ('ingest', 160, 'monitor._probe_ingest', '5 minutes', 'Messages that were accepted and refused.'),
  ('partitions', 170, 'monitor._probe_partitions', '1 hour', 'Partitions of the events.'),
  ('privacy', 180, 'monitor._probe_privacy', '5 minutes', 'Requests of people, and the ledger.'),
  ('database', 200, 'monitor._probe_database', '5 minutes', 'Connections, transactions, and what the server counts.'),
  ('replication', 210, 'monitor._probe_replication', '5 minutes', 'Standbys and replication slots.'),
  ('size', 220, 'monitor._probe_size', '1 hour', 'Size of the database.'),
  ('tables', 230, 'monitor._probe_tables', '1 hour', 'Size, rows and dead rows of the tables.'),
  ('probes', 900, 'monitor._probe_probes', '5 minutes', 'Duration and failures of the probes.');

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
A number counts those of at most the bound of `common.duration_bounds()` at its position, and more than the bound
before.
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
comment on column monitor.latency_summary.p90_ms is $$
Duration that 90 % of the requests do not exceed, in milliseconds.
$$;
comment on column monitor.latency_summary.p99_ms is $$
Duration that 99 % of the requests do not exceed, in milliseconds.
$$;
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

/* ------------------------------------------------------------------------------------------------------ checks -- */

create table monitor.health_check (
  health_check text primary key check (health_check ~ '^[a-z][a-z_]{0,62}$'),
  position smallint not null unique,
  function_name text not null check (function_name ~ '^[a-z][a-z0-9_]*\.[a-z_][a-z0-9_]*$'),
  owner text not null default 'operator' check (owner ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text not null
);

comment on table monitor.health_check is $$
Checks of `monitor.health`: functions that find problems of the running installation.
The function takes no argument and returns `setof monitor.finding`; no row means healthy. It reads the present state
only, and takes some milliseconds, whatever the size of the database.
$$;
comment on column monitor.health_check.health_check is $$Name of the check.$$;
comment on column monitor.health_check.position is $$Position in the order of the checks.$$;
comment on column monitor.health_check.function_name is $$Name of the function, with its schema.$$;
comment on column monitor.health_check.owner is $$
Owner of its alerts, who is to act: `operator`, `analyst` (models and rollups) or `privacy`, or another name.
$$;
comment on column monitor.health_check.description is $$Description of what is checked.$$;

create type monitor.finding as (
  health_check text,
  subject text,
  severity text,
  message text,
  fix text,
  value float8,
  threshold float8
);

comment on type monitor.finding is $$
Problem that a check found.
$$;
comment on column monitor.finding.health_check is $$Check or rule that found it.$$;
comment on column monitor.finding.subject is $$
Subject of the problem: a task, a table, a model; empty when it is about the whole.
A check finds at most one problem of a subject.
$$;
comment on column monitor.finding.severity is $$
`critical`: data is or will be wrong or lost, or the installation stands still; `warning`: needs attention within days.
$$;
comment on column monitor.finding.message is $$Description of the problem, without data of people.$$;
comment on column monitor.finding.fix is $$Action that removes the problem.$$;
comment on column monitor.finding.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.finding.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;

create type monitor.health as (
  status text,
  summary text,
  fix text,
  problems int,
  findings monitor.finding[],
  checked_at timestamptz,
  checks int
);

comment on type monitor.health is $$
Result of `monitor.health`.
$$;
comment on column monitor.health.status is $$`ok`, `warning` or `critical`: the worst of the findings.$$;
comment on column monitor.health.summary is $$One line for an operator: the most urgent problem, and how many more.$$;
comment on column monitor.health.fix is $$Fix of the most urgent problem; null without problems.$$;
comment on column monitor.health.problems is $$Number of findings.$$;
comment on column monitor.health.findings is $$Findings, critical ones first, then by the order of the checks.$$;
comment on column monitor.health.checked_at is $$Time of the checks.$$;
comment on column monitor.health.checks is $$Number of checks and rules.$$;

/* ------------------------------------------------------------------------------------------------------ alerts -- */

create table monitor.alert_setting (
  only_row boolean primary key default true check (only_row),
  resolve_after interval not null default '5 minutes' check (resolve_after between '1 minute' and '1 day'),
  reopen_within interval not null default '1 day' check (reopen_within between '0' and '30 days'),
  database_limit_bytes bigint check (database_limit_bytes > 0),
  standby_lag_limit interval not null default '5 minutes' check (standby_lag_limit between '1 second' and '1 day')
);

comment on table monitor.alert_setting is $$
Settings of checks and alerts: one row.
$$;
comment on column monitor.alert_setting.only_row is $$Always true, so that the table has one row.$$;
comment on column monitor.alert_setting.resolve_after is $$
Time for which the cause of an alert must be absent before it is resolved.
It doubles with each reopening of the alert, up to a day.
$$;
comment on column monitor.alert_setting.reopen_within is $$
Time after which a problem that is found again is a new alert. Before, the resolved alert is opened again.
$$;
comment on column monitor.alert_setting.database_limit_bytes is $$
Size that the database can grow to, in bytes, for the forecast of the check `growth`; null when unknown.
$$;
comment on column monitor.alert_setting.standby_lag_limit is $$
Time by which a standby may be behind, or not connected, before it is a problem. Twelve times as long is critical.
$$;

insert into monitor.alert_setting default values;

create table monitor.alert (
  alert_id bigint generated always as identity primary key,
  source text not null check (source ~ '^[a-z][a-z0-9_]{0,62}$'),
  subject text not null check (length(subject) <= 300),
  owner text not null check (owner ~ '^[a-z][a-z0-9_-]{0,62}$'),
  severity text not null check (severity in ('warning', 'critical')),
  state text not null default 'open' check (state in ('open', 'acknowledged', 'resolved')),
  message text not null check (length(message) <= 2000),
  fix text not null check (length(fix) <= 2000),
  value float8,
  threshold float8,
  opened_at timestamptz not null,
  changed_at timestamptz not null,
  seen_at timestamptz not null,
  times_seen bigint not null default 1,
  healthy_since timestamptz,
  healthy_runs int not null default 0,
  times_reopened int not null default 0,
  is_silenced boolean not null default false,
  acknowledged_at timestamptz,
  acknowledged_by text,
  resolved_at timestamptz,
  check ((state = 'resolved') = (resolved_at is not null)),
  check (state <> 'acknowledged' or acknowledged_at is not null)
);

create unique index alert_unresolved on monitor.alert (source, subject) where resolved_at is null;
create index alert_resolved on monitor.alert (source, subject, resolved_at desc) where resolved_at is not null;

comment on table monitor.alert is $$
Alerts: problems that were found, at most one unresolved alert per source and subject.
`monitor.watch` opens and resolves them.
$$;
comment on column monitor.alert.alert_id is $$Key of the alert.$$;
comment on column monitor.alert.source is $$Check (`monitor.health_check`) or rule (`monitor.rule`) that found it.$$;
comment on column monitor.alert.subject is $$Task, table or model that it is about; empty for the whole.$$;
comment on column monitor.alert.owner is $$Owner, who is to act.$$;
comment on column monitor.alert.severity is $$
`warning` or `critical`: the highest since it was opened. It rises, and does not fall before the alert is resolved.
$$;
comment on column monitor.alert.state is $$`open`, `acknowledged` or `resolved`.$$;
comment on column monitor.alert.message is $$Description of the problem, as of its last finding.$$;
comment on column monitor.alert.fix is $$Action that removes the problem.$$;
comment on column monitor.alert.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.alert.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;
comment on column monitor.alert.opened_at is $$Time at which it was opened first.$$;
comment on column monitor.alert.changed_at is $$Time of the last transition.$$;
comment on column monitor.alert.seen_at is $$Time at which the problem was found last.$$;
comment on column monitor.alert.times_seen is $$Number of times that the problem was found.$$;
comment on column monitor.alert.healthy_since is $$
Time since which the problem is no longer found; null while it is.
$$;
comment on column monitor.alert.healthy_runs is $$Number of runs since then that did not find it.$$;
comment on column monitor.alert.times_reopened is $$Number of times that it was opened again after it was resolved.$$;
comment on column monitor.alert.is_silenced is $$Whether it is silenced (`monitor.silence`): nothing is sent.$$;
comment on column monitor.alert.acknowledged_at is $$Time of the last acknowledgement; null without one.$$;
comment on column monitor.alert.acknowledged_by is $$
Author of the acknowledgement: `userId` of the administrator, or the database login; null without one.
$$;
comment on column monitor.alert.resolved_at is $$Time at which it was resolved; null before.$$;

create table monitor.alert_event (
  alert_event_id bigint generated always as identity primary key,
  alert_id bigint not null references monitor.alert on delete cascade,
  transition text not null check (transition in (
    'opened', 'raised', 'acknowledged', 'assigned', 'silenced', 'unsilenced', 'resolved', 'reopened'
  )),
  happened_at timestamptz not null default clock_timestamp(),
  severity text not null check (severity in ('warning', 'critical')),
  owner text not null,
  is_notified boolean not null,
  author text,
  note text check (length(note) <= 2000)
);

create index alert_event_alert on monitor.alert_event (alert_id);

comment on table monitor.alert_event is $$
History of the alerts: each transition, append-only.
$$;
comment on column monitor.alert_event.alert_event_id is $$Key, ascending with time.$$;
comment on column monitor.alert_event.alert_id is $$Alert.$$;
comment on column monitor.alert_event.transition is $$
Change of the alert.
`opened`, `raised` (to a higher severity), `acknowledged`, `assigned` (to another owner), `silenced`, `unsilenced` (the
silence ended while the problem lasts), `resolved` or `reopened`.
$$;
comment on column monitor.alert_event.happened_at is $$Time of the transition.$$;
comment on column monitor.alert_event.severity is $$Severity of the alert after it.$$;
comment on column monitor.alert_event.owner is $$Owner of the alert after it.$$;
comment on column monitor.alert_event.is_notified is $$
Whether channels are notified.
That is of `opened`, `raised`, `unsilenced` and `reopened` unless the alert is silenced, and of
`resolved` when they were notified before.
$$;
comment on column monitor.alert_event.author is $$
Author: `userId` of the administrator, or the database login; null for `monitor.watch`.
$$;
comment on column monitor.alert_event.note is $$Note of the author; null without one.$$;

create table monitor.alert_silence (
  silence_id bigint generated always as identity primary key,
  source text not null check (source ~ '^[a-z][a-z0-9_]{0,62}$'),
  subject text check (length(subject) <= 300),
  since timestamptz not null,
  until timestamptz not null check (until > since),
  reason text not null check (length(reason) between 1 and 2000),
  author text not null
);

create index alert_silence_source on monitor.alert_silence (source, until);

comment on table monitor.alert_silence is $$
Silences: periods in which alerts of a source are recorded and not sent.
$$;
comment on column monitor.alert_silence.silence_id is $$Key of the silence.$$;
comment on column monitor.alert_silence.source is $$Check or rule.$$;
comment on column monitor.alert_silence.subject is $$Subject of the alerts; null for all of the source.$$;
comment on column monitor.alert_silence.since is $$Start of the period.$$;
comment on column monitor.alert_silence.until is $$End of the period.$$;
comment on column monitor.alert_silence.reason is $$Reason that the author gave.$$;
comment on column monitor.alert_silence.author is $$
Author: `userId` of the administrator, or the database login.
$$;

create type monitor.watched as (
  is_skipped boolean,
  findings int,
  opened int,
  raised int,
  reopened int,
  resolved int,
  open int
);

comment on type monitor.watched is $$
Result of `monitor.watch`.
$$;
comment on column monitor.watched.is_skipped is $$True when another session was watching, and nothing was done.$$;
comment on column monitor.watched.findings is $$Number of findings.$$;
comment on column monitor.watched.opened is $$Number of alerts that were opened.$$;
comment on column monitor.watched.raised is $$Number of alerts whose severity rose.$$;
comment on column monitor.watched.reopened is $$Number of alerts that were opened again.$$;
comment on column monitor.watched.resolved is $$Number of alerts that were resolved.$$;
comment on column monitor.watched.open is $$Number of alerts that are not resolved.$$;

alter table monitor.health_check enable row level security;
alter table monitor.alert_setting enable row level security;
alter table monitor.alert enable row level security;
alter table monitor.alert_event enable row level security;
alter table monitor.alert_silence enable row level security;

create table monitor.scheduled_task (
  task text primary key check (task ~ '^[a-z][a-z_]{0,62}$'),
  every interval not null check (every between '1 minute' and '7 days'),
  is_always_recorded boolean not null,
  severity text not null default 'warning' check (severity in ('warning', 'critical'))
);

comment on table monitor.scheduled_task is $$
Tasks of the schedule (`crontab`), for the check of their runs.
$$;
comment on column monitor.scheduled_task.task is $$Name of the task, as in `monitor.run`.$$;
comment on column monitor.scheduled_task.every is $$Time between two runs, the shortest of its lines in the schedule.$$;
comment on column monitor.scheduled_task.is_always_recorded is $$
Whether each run is recorded; a run without work is not, for other tasks.
$$;
comment on column monitor.scheduled_task.severity is $$Severity of its repeated failure.$$;

alter table monitor.scheduled_task enable row level security;

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values
  ('apply_retention', '1 day', false, 'critical'),
  ('check_rollups', '1 hour', true, 'warning'),
  ('decide_experiments', '1 hour', false, 'warning'),
  ('delete_old_refusals', '1 day', true, 'warning'),
  ('delete_old_runs', '1 day', true, 'warning'),
  ('erase', '1 minute', false, 'critical'),
  ('evaluate', '1 hour', false, 'warning'),
  ('make_partitions', '1 day', true, 'critical'),
  ('observe', '1 minute', false, 'warning'),
  ('pack_messages', '1 hour', true, 'warning'),
  ('refresh', '1 minute', false, 'critical'),
  ('refresh_cohorts', '1 hour', true, 'warning'),
  ('refresh_decisions', '1 hour', true, 'critical'),
  ('refresh_views', '1 hour', true, 'warning'),
  ('seal', '5 minutes', false, 'critical'),
  ('train', '10 minutes', false, 'warning'),
  ('train_predictions', '10 minutes', false, 'warning'),
  ('thin_samples', '1 day', true, 'warning'),
  ('update_bandits', '1 hour', false, 'warning'),
  ('vacuum', '1 hour', false, 'warning'),
  ('verify_ledger', '1 day', true, 'critical'),
  ('watch', '1 minute', true, 'critical'),
  ('watch_models', '1 day', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values
  ('worker', 100, 'monitor._check_worker', 'operator', 'A worker that sends heartbeats and runs tasks.'),
  ('queue', 200, 'monitor._check_queue', 'operator', 'Jobs that wait for long, that are many, or that failed.'),
  ('tasks', 300, 'monitor._check_tasks', 'operator', 'Scheduled tasks that fail, are late, or do not end.'),
  ('refresh', 400, 'monitor._check_refresh', 'operator', 'Changes that wait to be refreshed.'),
  ('partitions', 500, 'monitor._check_partitions', 'operator', 'Partitions of events for this month and the next one.'),
  ('rollups', 600, 'monitor._check_rollups', 'analyst', 'Rollups that differed from the events, or are not compared.'),
  ('models', 700, 'monitor._check_models', 'analyst', 'Deployed models that are old, marked for training, or drifted.'),
  ('ledger', 800, 'monitor._check_ledger', 'privacy', 'The ledger of decisions: verified, and sealed each day.'),
  ('requests', 900, 'monitor._check_requests', 'privacy', 'Requests of people that must be answered.'),
  ('retention', 1000, 'monitor._check_retention', 'privacy', 'Rules of retention that are not applied.'),
  ('tables', 1100, 'monitor._check_tables', 'operator', 'Tables with many dead rows, and indexes that are not valid.'),
  ('wraparound', 1200, 'monitor._check_wraparound', 'operator', 'Age of the oldest transaction.'),
  ('connections', 1300, 'monitor._check_connections', 'operator', 'Connections in use, and transactions left open.'),
  ('replication', 1400, 'monitor._check_replication', 'operator', 'Replication slots, and standbys that lag.'),
  ('clock', 1500, 'monitor._check_clock', 'operator', 'Records of the future: the clock moved back.'),
  ('probes', 1600, 'monitor._check_probes', 'operator', 'Probes that fail, or that are not run.'),
  ('growth', 1700, 'monitor._check_growth', 'operator', 'Size of the database, and when it reaches its limit.');

/* ---------------------------------------------------------------------------------------------------- relevance -- */

grant create on schema monitor to insights_reader;

create type monitor.position_cell as (
  alike bigint,
  rank int,
  bucket int,
  listed_count float8,
  clicked_count float8
);

comment on type monitor.position_cell is $$
@behavior -*
Rows of lists that are alike but for their rank, of the people of a bucket, as `monitor._position_cells` counts them.
$$;
comment on column monitor.position_cell.alike is $$Hash of item, version and basis of the rows.$$;
comment on column monitor.position_cell.rank is $$Rank in the list.$$;
comment on column monitor.position_cell.bucket is $$Bucket of the person, from 0 to 63.$$;
comment on column monitor.position_cell.listed_count is $$Number of rows.$$;
comment on column monitor.position_cell.clicked_count is $$Number of these rows that were clicked.$$;

create type monitor.position_figures as (
  rank int,
  listed_count bigint,
  clicked_count bigint,
  click_rate float8,
  compared_count bigint,
  examination float8,
  standard_error float8,
  lower float8,
  upper float8
);

comment on type monitor.position_figures is $$
How often people examine a rank of recommendations, relative to the first rank.
$$;
comment on column monitor.position_figures.rank is $$Rank in the list.$$;
comment on column monitor.position_figures.listed_count is $$Number of rows that were served at the rank.$$;
comment on column monitor.position_figures.clicked_count is $$Number of these rows that were clicked.$$;
comment on column monitor.position_figures.click_rate is $$
Share of the rows that were clicked: the product of examination and relevance. Null without rows.
$$;
comment on column monitor.position_figures.compared_count is $$
Number of clicks on rows of which equal ones were also served at other ranks: what the estimate is made from.
$$;
comment on column monitor.position_figures.examination is $$
Probability that a row at the rank is examined, divided by that of rank 1; null where it cannot be estimated.
$$;
comment on column monitor.position_figures.standard_error is $$
Standard error of `examination`, with people as clusters; null where it cannot be estimated, and 0 for rank 1.
$$;
comment on column monitor.position_figures.lower is $$Lower bound of the 95 % confidence interval.$$;
comment on column monitor.position_figures.upper is $$Upper bound of the 95 % confidence interval.$$;

create type monitor.position_estimate as (
  rank int,
  listed_count float8,
  clicked_count float8,
  listed_buckets int,
  clicked_buckets int,
  compared_count float8,
  log_examination float8,
  influence float8[]
);

comment on type monitor.position_estimate is $$
@behavior -*
Result of `monitor._position_estimates` for a rank.
$$;
comment on column monitor.position_estimate.rank is $$Rank in the list.$$;
comment on column monitor.position_estimate.listed_count is $$Number of rows.$$;
comment on column monitor.position_estimate.clicked_count is $$Number of clicked rows.$$;
comment on column monitor.position_estimate.listed_buckets is $$Number of buckets of the people who were served.$$;
comment on column monitor.position_estimate.clicked_buckets is $$Number of buckets of the people who clicked.$$;
comment on column monitor.position_estimate.compared_count is $$Number of clicks that the estimate is made from.$$;
comment on column monitor.position_estimate.log_examination is $$
Logarithm of the examination, 0 for rank 1; null where it cannot be estimated.
$$;
comment on column monitor.position_estimate.influence is $$
Amounts that the people of each bucket add to the error of `log_examination`; the variance is the sum of the squares.
$$;

create type monitor.relevance_figures as (
  name text,
  starts_at timestamptz,
  person_count bigint,
  list_count bigint,
  served_count bigint,
  seen_count bigint,
  clicked_count bigint,
  completed_count bigint,
  dismissed_count bigint,
  liked_count bigint,
  disliked_count bigint,
  click_rate float8,
  click_rate_lower float8,
  click_rate_upper float8,
  corrected_rate float8,
  corrected_rate_lower float8,
  corrected_rate_upper float8,
  completion_rate float8,
  completion_rate_lower float8,
  completion_rate_upper float8,
  dismissal_rate float8,
  dismissal_rate_lower float8,
  dismissal_rate_upper float8,
  item_count bigint,
  coverage float8,
  gini float8,
  top_tenth_share float8,
  viewed_count bigint,
  dwell_seconds float8,
  dwell_seconds_lower float8,
  dwell_seconds_upper float8,
  novelty float8
);

comment on type monitor.relevance_figures is $$
How recommended items of a group were received, from recorded lists.
$$;
comment on column monitor.relevance_figures.name is $$
Version, basis, rank, segment or key of the deployment, as given by `by`.
Null for rows without a version, and for `all`.
$$;
comment on column monitor.relevance_figures.starts_at is $$
Monday on which the week begins, with `by_week`; with `deployment`, its time; otherwise null.
$$;
comment on column monitor.relevance_figures.person_count is $$Number of people who were served.$$;
comment on column monitor.relevance_figures.list_count is $$Number of lists with rows of the group.$$;
comment on column monitor.relevance_figures.served_count is $$Number of rows.$$;
comment on column monitor.relevance_figures.seen_count is $$Number of rows that an event of any kind names.$$;
comment on column monitor.relevance_figures.clicked_count is $$Number of rows that were clicked.$$;
comment on column monitor.relevance_figures.completed_count is $$
Number of rows whose item was finished afterwards: see `recommend.impression.completed_at`.
$$;
comment on column monitor.relevance_figures.dismissed_count is $$Number of rows that were dismissed.$$;
comment on column monitor.relevance_figures.liked_count is $$Number of rows that were liked.$$;
comment on column monitor.relevance_figures.disliked_count is $$Number of rows that were disliked.$$;
comment on column monitor.relevance_figures.click_rate is $$Share of the rows that were clicked.$$;
comment on column monitor.relevance_figures.click_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.click_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.corrected_rate is $$
Share that would be clicked if all rows were examined like those of rank 1.
Null where `position_bias` has no estimate.
$$;
comment on column monitor.relevance_figures.corrected_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.corrected_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.completion_rate is $$Share of the rows whose item was finished.$$;
comment on column monitor.relevance_figures.completion_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.completion_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.dismissal_rate is $$Share of the rows that were dismissed.$$;
comment on column monitor.relevance_figures.dismissal_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.dismissal_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.item_count is $$Number of different items.$$;
comment on column monitor.relevance_figures.coverage is $$Share of the available items of the kind that were served.$$;
comment on column monitor.relevance_figures.gini is $$
Gini coefficient of the rows per available item: 0 when all are served equally often, near 1 when one is.
$$;
comment on column monitor.relevance_figures.top_tenth_share is $$
Share of the rows that the tenth of the available items takes that is served most.
$$;
comment on column monitor.relevance_figures.viewed_count is $$
Number of clicked rows of which a page view followed: of the item, or of what it contains, in the session of the click.
$$;
comment on column monitor.relevance_figures.dwell_seconds is $$
Mean engaged time of these page views per clicked row, in seconds; null when no click was followed by one.
$$;
comment on column monitor.relevance_figures.dwell_seconds_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.dwell_seconds_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.relevance_figures.novelty is $$
Mean self-information of the rows in bits: 1 for items that half of the people have used, 2 for a quarter of them.
Of the people who have used an item of the kind until now; null when there are none.
$$;

create type monitor.listed_sum as (
  name text,
  starts_at timestamptz,
  person_id bigint,
  rank int,
  bucket int,
  item_id bigint,
  list_count float8,
  served_count float8,
  seen_count float8,
  clicked_count float8,
  completed_count float8,
  dismissed_count float8,
  liked_count float8,
  disliked_count float8,
  viewed_count float8,
  dwell_seconds float8
);

comment on type monitor.listed_sum is $$
@behavior -*
Numbers of rows of recorded lists of a reported group: of a person, of a rank and a bucket of people, or of an item.
$$;
comment on column monitor.listed_sum.name is $$Name of the group.$$;
comment on column monitor.listed_sum.starts_at is $$Beginning of the week or of the deployment that is reported.$$;
comment on column monitor.listed_sum.person_id is $$Person; null for a rank or an item.$$;
comment on column monitor.listed_sum.rank is $$Rank in the list; null for a person or an item.$$;
comment on column monitor.listed_sum.bucket is $$Bucket of people, from 0 to 63; null for a person or an item.$$;
comment on column monitor.listed_sum.item_id is $$Item, after merges; null for a person or a rank.$$;
comment on column monitor.listed_sum.list_count is $$Number of lists; null for a rank or an item.$$;
comment on column monitor.listed_sum.served_count is $$Number of rows.$$;
comment on column monitor.listed_sum.seen_count is $$Rows that an event names; null for a rank or an item.$$;
comment on column monitor.listed_sum.clicked_count is $$Rows that were clicked; null for an item.$$;
comment on column monitor.listed_sum.completed_count is $$
Rows whose item was finished afterwards; null for a rank or an item.
$$;
comment on column monitor.listed_sum.dismissed_count is $$Rows that were dismissed; null for a rank or an item.$$;
comment on column monitor.listed_sum.liked_count is $$Rows that were liked; null for a rank or an item.$$;
comment on column monitor.listed_sum.disliked_count is $$Rows that were disliked; null for a rank or an item.$$;
comment on column monitor.listed_sum.viewed_count is $$
Clicked rows of which a page view followed; null for a rank or an item.
$$;
comment on column monitor.listed_sum.dwell_seconds is $$
Engaged time of these page views, in seconds; null without one, and for a rank or an item.
$$;

create type monitor.ranked_cell as (
  name text,
  starts_at timestamptz,
  rank int,
  bucket int,
  listed float8,
  clicked float8
);

comment on type monitor.ranked_cell is $$
@behavior -*
Numbers of rows and clicks of a reported group by rank and bucket of people.
$$;
comment on column monitor.ranked_cell.name is $$Name of the group.$$;
comment on column monitor.ranked_cell.starts_at is $$Beginning of the group.$$;
comment on column monitor.ranked_cell.rank is $$Rank in the list.$$;
comment on column monitor.ranked_cell.bucket is $$Bucket of the person, from 0 to 63.$$;
comment on column monitor.ranked_cell.listed is $$Number of rows.$$;
comment on column monitor.ranked_cell.clicked is $$Number of these rows that were clicked.$$;

create type monitor.corrected_rate as (
  name text,
  starts_at timestamptz,
  rate float8,
  standard_error float8,
  lower float8,
  upper float8,
  influence float8[]
);

comment on type monitor.corrected_rate is $$
@behavior -*
Share of the rows of a group that would be clicked if all were examined like those of rank 1.
$$;
comment on column monitor.corrected_rate.name is $$Name of the group.$$;
comment on column monitor.corrected_rate.starts_at is $$Beginning of the group.$$;
comment on column monitor.corrected_rate.rate is $$The rate.$$;
comment on column monitor.corrected_rate.standard_error is $$Its standard error, with people as clusters.$$;
comment on column monitor.corrected_rate.lower is $$Lower bound of the 95 % interval; null with few people.$$;
comment on column monitor.corrected_rate.upper is $$Upper bound of the 95 % interval; null with few people.$$;
comment on column monitor.corrected_rate.influence is $$
Amounts that the people of each bucket add to the error of the rate; the variance is the sum of the squares.
$$;

create table monitor.relevance_setting (
  kind text primary key check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  rolls_back boolean not null default false,
  alpha float8 not null default 0.05 check (alpha between 0.0001 and 0.2),
  fewest_people int not null default 100 check (fewest_people between 10 and 1000000000),
  answer_period interval not null default '1 day' check (answer_period between '1 minute' and '30 days')
);

comment on table monitor.relevance_setting is $$
Settings of `monitor.watch_relevance` by kind of item; a kind without a row has the default values.
$$;
comment on column monitor.relevance_setting.kind is $$Kind of item, such as `course`.$$;
comment on column monitor.relevance_setting.rolls_back is $$
Whether a version that is worse than the one before is replaced by it.
$$;
comment on column monitor.relevance_setting.alpha is $$
Most probability, over all readings of a deployment, with which a version that is as good is called worse.
$$;
comment on column monitor.relevance_setting.fewest_people is $$
Fewest people who were served by each version before a decision.
$$;
comment on column monitor.relevance_setting.answer_period is $$
Time after a list within which clicks count; lists that are not so old are not counted yet.
$$;

create table monitor.deployment_relevance (
  deployment_id bigint primary key references ml.deployment on delete cascade,
  kind text not null,
  version int not null,
  former_version int not null,
  deployed_at timestamptz not null,
  measured_at timestamptz not null,
  person_count bigint not null,
  former_person_count bigint not null,
  click_rate float8,
  former_click_rate float8,
  difference float8,
  standard_error float8,
  is_corrected boolean not null,
  evidence float8 not null,
  verdict text not null check (verdict in ('watching', 'worse', 'rolled_back')),
  worse_at timestamptz,
  note text
);

comment on table monitor.deployment_relevance is $$
How lists were received since a deployment, compared with the version before: the latest reading of `watch_relevance`.
$$;
comment on column monitor.deployment_relevance.deployment_id is $$Deployment.$$;
comment on column monitor.deployment_relevance.kind is $$Kind of item.$$;
comment on column monitor.deployment_relevance.version is $$Version that was deployed.$$;
comment on column monitor.deployment_relevance.former_version is $$Version that was deployed before.$$;
comment on column monitor.deployment_relevance.deployed_at is $$Time of the deployment.$$;
comment on column monitor.deployment_relevance.measured_at is $$Time of the latest reading.$$;
comment on column monitor.deployment_relevance.person_count is $$People who were served since the deployment.$$;
comment on column monitor.deployment_relevance.former_person_count is $$
People who were served in the 28 days before, by the version before.
$$;
comment on column monitor.deployment_relevance.click_rate is $$
Clicks per row since the deployment, corrected by the examination of ranks where `is_corrected`; null without rows.
$$;
comment on column monitor.deployment_relevance.former_click_rate is $$The same of the version before.$$;
comment on column monitor.deployment_relevance.difference is $$`click_rate` less `former_click_rate`.$$;
comment on column monitor.deployment_relevance.standard_error is $$
Standard error of `difference`, with people as clusters.
$$;
comment on column monitor.deployment_relevance.is_corrected is $$
Whether rates are corrected; false when there are too few clicks to estimate the examination of ranks.
$$;
comment on column monitor.deployment_relevance.evidence is $$
Evidence that the version is worse: the greatest value of `monitor.evidence_of_loss` of all readings.
$$;
comment on column monitor.deployment_relevance.verdict is $$
`watching`; `worse` once `evidence` has reached 1 / alpha; `rolled_back` when the version before was deployed then.
$$;
comment on column monitor.deployment_relevance.worse_at is $$Time of that reading; null before.$$;
comment on column monitor.deployment_relevance.note is $$Why a worse version was not rolled back; null otherwise.$$;

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values ('watch_relevance', '1 day', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values (
  'relevance', 710, 'monitor._check_relevance', 'analyst',
  'Deployed recommenders that are worse than the version before.'
);

alter table monitor.relevance_setting enable row level security;
alter table monitor.deployment_relevance enable row level security;

create type monitor.cost_figures as (
  subject text,
  unit_count bigint,
  seconds float8,
  mean_ms float8,
  p50_ms float8,
  p95_ms float8,
  stored_count bigint,
  stored_bytes bigint,
  unit_bytes float8
);

comment on type monitor.cost_figures is $$
Cost of a unit of work, in milliseconds and bytes.
$$;
comment on column monitor.cost_figures.subject is $$`event`, `refresh`, `list`, `recommendation` or `training`.$$;
comment on column monitor.cost_figures.unit_count is $$Number of units in the period.$$;
comment on column monitor.cost_figures.seconds is $$Time that they took in all, in seconds.$$;
comment on column monitor.cost_figures.mean_ms is $$Mean time of a unit, in milliseconds; null without units.$$;
comment on column monitor.cost_figures.p50_ms is $$
Median time, in milliseconds; null where single times are not stored.
$$;
comment on column monitor.cost_figures.p95_ms is $$
Time that 95 % of the units do not exceed, in milliseconds; null where single times are not stored.
$$;
comment on column monitor.cost_figures.stored_count is $$
Number of units that the bytes are of, whenever they were stored; an estimate.
$$;
comment on column monitor.cost_figures.stored_bytes is $$
Size of the tables of these units with their indexes, in bytes.
$$;
comment on column monitor.cost_figures.unit_bytes is $$Bytes per unit; null without units.$$;

create type monitor.recommendation_figures as (
  name text,
  starts_at timestamptz,
  person_count bigint,
  list_count bigint,
  served_count bigint,
  list_p50_ms float8,
  list_p95_ms float8,
  recommendation_ms float8,
  recommendation_bytes float8,
  training_count bigint,
  training_seconds float8,
  click_rate float8,
  click_rate_lower float8,
  click_rate_upper float8,
  corrected_rate float8,
  corrected_rate_lower float8,
  corrected_rate_upper float8,
  completion_rate float8,
  completion_rate_lower float8,
  completion_rate_upper float8,
  coverage float8,
  gini float8,
  change float8,
  change_lower float8,
  change_upper float8
);

comment on type monitor.recommendation_figures is $$
Cost and relevance of the recommendations of a group.
$$;
comment on column monitor.recommendation_figures.name is $$
Version, segment or key of the deployment; null with `all` and `week`, and for rows without a version.
$$;
comment on column monitor.recommendation_figures.starts_at is $$
Beginning of the week or deployment; null for other groups.
$$;
comment on column monitor.recommendation_figures.person_count is $$Number of people who were served.$$;
comment on column monitor.recommendation_figures.list_count is $$Number of lists.$$;
comment on column monitor.recommendation_figures.served_count is $$Number of recommended items.$$;
comment on column monitor.recommendation_figures.list_p50_ms is $$
Median time of a recorded list, in milliseconds; null by segment, and when not measured.
$$;
comment on column monitor.recommendation_figures.list_p95_ms is $$
Time that 95 % of these lists do not exceed, in milliseconds.
$$;
comment on column monitor.recommendation_figures.recommendation_ms is $$
Time of these lists per recommended item, in milliseconds.
$$;
comment on column monitor.recommendation_figures.recommendation_bytes is $$
Size of a stored recommendation with its answers and indexes, in bytes, at present.
$$;
comment on column monitor.recommendation_figures.training_count is $$
Number of versions that were trained; by version, 1.
$$;
comment on column monitor.recommendation_figures.training_seconds is $$
Time that these trainings took, in seconds; null without one.
$$;
comment on column monitor.recommendation_figures.click_rate is $$Share of the rows that were clicked.$$;
comment on column monitor.recommendation_figures.click_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.click_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.corrected_rate is $$
Share that would be clicked if all rows were examined like those of rank 1; null where it cannot be estimated.
$$;
comment on column monitor.recommendation_figures.corrected_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.corrected_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.completion_rate is $$Share of the rows whose item was finished.$$;
comment on column monitor.recommendation_figures.completion_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.completion_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.coverage is $$
Share of the available items of the kind that were served.
$$;
comment on column monitor.recommendation_figures.gini is $$Gini coefficient of the rows per available item.$$;
comment on column monitor.recommendation_figures.change is $$
Click rate less that of the group before (week, deployment or version); null without one.
$$;
comment on column monitor.recommendation_figures.change_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.recommendation_figures.change_upper is $$Upper bound of its 95 % interval.$$;

create type monitor.list_duration as (
  starts_at timestamptz,
  name text,
  call_count float8,
  seconds float8,
  p50_ms float8,
  p95_ms float8,
  item_count float8
);

comment on type monitor.list_duration is $$
@behavior -*
Durations of recorded lists in a period.
$$;
comment on column monitor.list_duration.starts_at is $$Beginning of the period.$$;
comment on column monitor.list_duration.name is $$
Version that ranked rows of the lists; null: none, or all versions together.
$$;
comment on column monitor.list_duration.call_count is $$Number of lists.$$;
comment on column monitor.list_duration.seconds is $$Sum of the durations, in seconds.$$;
comment on column monitor.list_duration.p50_ms is $$Median, in milliseconds.$$;
comment on column monitor.list_duration.p95_ms is $$Time that 95 % do not exceed, in milliseconds.$$;
comment on column monitor.list_duration.item_count is $$Number of rows of the lists.$$;

/* ------------------------------------------------------------------------------------------------------ scores -- */

create type monitor.score_shift as (
  name text,
  basis text,
  reference_since timestamptz,
  reference_until timestamptz,
  reference_people bigint,
  reference_count bigint,
  person_count bigint,
  served_count bigint,
  reference_mean float8,
  score_mean float8,
  bin_count int,
  stability_index float8,
  p_value float8,
  verdict text
);

comment on type monitor.score_shift is $$
How far the scores of recommended items have moved from those of the first days of the version.
$$;
comment on column monitor.score_shift.name is $$Version.$$;
comment on column monitor.score_shift.basis is $$Basis of the rows; scores of different bases are not comparable.$$;
comment on column monitor.score_shift.reference_since is $$Beginning of the first days of the version.$$;
comment on column monitor.score_shift.reference_until is $$End of the first days of the version.$$;
comment on column monitor.score_shift.reference_people is $$Number of people who were served in the first days.$$;
comment on column monitor.score_shift.reference_count is $$Number of rows in the first days.$$;
comment on column monitor.score_shift.person_count is $$Number of people who were served in the period.$$;
comment on column monitor.score_shift.served_count is $$
Number of rows in the period, without those of the first days.
$$;
comment on column monitor.score_shift.reference_mean is $$Mean score in the first days.$$;
comment on column monitor.score_shift.score_mean is $$Mean score in the period.$$;
comment on column monitor.score_shift.bin_count is $$
Number of bins; less than 10 when many rows of the first days have the same score.
$$;
comment on column monitor.score_shift.stability_index is $$
Population stability index of the bins: `ml.population_stability_index`; null without rows in both periods.
$$;
comment on column monitor.score_shift.p_value is $$
Probability of an index of this size when nothing has moved.
$$;
comment on column monitor.score_shift.verdict is $$
`stable` (below 0.1), `shifting`, `drifted` (from 0.25 on) or `unknown`.
Unknown: the rows are so few that the index would be 0.1 by chance alone, with a probability of more than 5 %. Of so few
rows, the part of the index that chance does not explain on average decides, with at least 50 people in both periods and
a p-value of at most 0.001.
$$;

create type monitor.score_figures as (
  name text,
  basis text,
  tenth int,
  score_least float8,
  score_mean float8,
  score_greatest float8,
  person_count bigint,
  served_count bigint,
  clicked_count bigint,
  click_rate float8,
  click_rate_lower float8,
  click_rate_upper float8,
  corrected_rate float8,
  corrected_rate_lower float8,
  corrected_rate_upper float8,
  concordance float8,
  concordance_lower float8,
  concordance_upper float8
);

comment on type monitor.score_figures is $$
Clicks on recommended items by their score.
$$;
comment on column monitor.score_figures.name is $$Version; null for rows without one.$$;
comment on column monitor.score_figures.basis is $$Basis of the rows; scores of different bases are not comparable.$$;
comment on column monitor.score_figures.tenth is $$
Tenth of the rows in the order of their scores, 10 for the highest; null for all rows together.
Rows with the same score are in the same tenth, so that there may be less than ten.
$$;
comment on column monitor.score_figures.score_least is $$Least score; null for analysts.$$;
comment on column monitor.score_figures.score_mean is $$Mean score.$$;
comment on column monitor.score_figures.score_greatest is $$Greatest score; null for analysts.$$;
comment on column monitor.score_figures.person_count is $$Number of people who were served.$$;
comment on column monitor.score_figures.served_count is $$Number of rows.$$;
comment on column monitor.score_figures.clicked_count is $$Number of rows that were clicked.$$;
comment on column monitor.score_figures.click_rate is $$Share of the rows that were clicked.$$;
comment on column monitor.score_figures.click_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.score_figures.click_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.score_figures.corrected_rate is $$
Share that would be clicked if all rows were examined like those of rank 1; null where it cannot be estimated.
$$;
comment on column monitor.score_figures.corrected_rate_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.score_figures.corrected_rate_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.score_figures.concordance is $$
Share of the pairs of a clicked row and another one, of the same rank, in which the clicked one has the higher score.
0.5 when scores say nothing about clicks. Null for tenths, and when all or none were clicked.
$$;
comment on column monitor.score_figures.concordance_lower is $$Lower bound of its 95 % interval.$$;
comment on column monitor.score_figures.concordance_upper is $$Upper bound of its 95 % interval.$$;

create type monitor.scored as (
  model_id bigint,
  basis text,
  week timestamptz,
  person_id bigint,
  rank int,
  score float8,
  is_clicked boolean
);

comment on type monitor.scored is $$
@behavior -*
Row of a recorded list with its score.
$$;
comment on column monitor.scored.model_id is $$Version; null for rows without one.$$;
comment on column monitor.scored.basis is $$Basis of the row.$$;
comment on column monitor.scored.week is $$Week of the list; null for exact figures.$$;
comment on column monitor.scored.person_id is $$Person.$$;
comment on column monitor.scored.rank is $$Rank in the list.$$;
comment on column monitor.scored.score is $$Score.$$;
comment on column monitor.scored.is_clicked is $$Whether it was clicked.$$;

/* ------------------------------------------------------------------------------------------------------- trend -- */

create type monitor.recommendation_slope as (
  figure text,
  week_count int,
  middle float8,
  slope float8,
  slope_lower float8,
  slope_upper float8,
  verdict text
);

comment on type monitor.recommendation_slope is $$
Trend of a figure of `monitor.recommendation_report` over weeks.
$$;
comment on column monitor.recommendation_slope.figure is $$
Column of `monitor.recommendation_report`, such as `click_rate`.
$$;
comment on column monitor.recommendation_slope.week_count is $$Number of whole weeks that have a value.$$;
comment on column monitor.recommendation_slope.middle is $$Median of these values.$$;
comment on column monitor.recommendation_slope.slope is $$Change per week; null with fewer than two weeks.$$;
comment on column monitor.recommendation_slope.slope_lower is $$
Lower bound of its 95 % interval; null with fewer than six weeks.
$$;
comment on column monitor.recommendation_slope.slope_upper is $$Upper bound of its 95 % interval.$$;
comment on column monitor.recommendation_slope.verdict is $$
`rising` or `falling` when the interval is on one side of 0, otherwise `steady`; `unknown` without an interval.
$$;

create type monitor.offline_figures as (
  evaluated_at timestamptz,
  version int,
  deployed_at timestamptz,
  metric text,
  k int,
  person_count int,
  value float8,
  value_lower float8,
  value_upper float8,
  deployed_value float8,
  popularity_value float8
);

comment on type monitor.offline_figures is $$
Result of the evaluation of a version before its deployment.
$$;
comment on column monitor.offline_figures.evaluated_at is $$End of the evaluation.$$;
comment on column monitor.offline_figures.version is $$Version that was trained.$$;
comment on column monitor.offline_figures.deployed_at is $$Time of its first deployment; null without one.$$;
comment on column monitor.offline_figures.metric is $$Metric, as in `recommend.evaluation_result`.$$;
comment on column monitor.offline_figures.k is $$Length of the lists.$$;
comment on column monitor.offline_figures.person_count is $$Number of test people.$$;
comment on column monitor.offline_figures.value is $$Value of the metric for the version.$$;
comment on column monitor.offline_figures.value_lower is $$Lower bound of its 95 % interval; null for `coverage`.$$;
comment on column monitor.offline_figures.value_upper is $$Upper bound of its 95 % interval; null for `coverage`.$$;
comment on column monitor.offline_figures.deployed_value is $$
Value for the version that was deployed then, on the same data; null without one.
$$;
comment on column monitor.offline_figures.popularity_value is $$Value for a list of the most popular items.$$;

/* ----------------------------------------------------------------------------------------------- notifications -- */

create table monitor.channel (
  channel text primary key check (channel ~ '^[a-z][a-z0-9_-]{0,62}$'),
  kind text not null default 'webhook' check (kind = 'webhook'),
  address text not null check (length(address) <= 300),
  owners text[] check (cardinality(owners) between 1 and 20),
  least_severity text not null default 'warning' check (least_severity in ('warning', 'critical')),
  is_active boolean not null default true,
  created_at timestamptz not null default clock_timestamp(),
  failures int not null default 0 check (failures >= 0),
  failing_since timestamptz,
  retry_at timestamptz,
  delivered_at timestamptz,
  last_error text check (length(last_error) <= 300)
);

comment on table monitor.channel is $$
Channels: receivers of notifications about alerts. `monitor.set_channel` writes it.
Its URL and secrets are in tables that no role may read.
$$;
comment on column monitor.channel.channel is $$Name of the channel.$$;
comment on column monitor.channel.kind is $$Kind of the channel: `webhook`.$$;
comment on column monitor.channel.address is $$Scheme, host and port of its URL. The path often contains a key.$$;
comment on column monitor.channel.owners is $$Owners whose alerts are sent; null for all.$$;
comment on column monitor.channel.least_severity is $$
Least severity of alerts that are sent: `warning` or `critical`.
$$;
comment on column monitor.channel.is_active is $$Whether notifications are sent.$$;
comment on column monitor.channel.created_at is $$Time at which the channel was created.$$;
comment on column monitor.channel.failures is $$Number of attempts that failed since the last delivery.$$;
comment on column monitor.channel.failing_since is $$
Time of the first of these; null when the last attempt succeeded.
$$;
comment on column monitor.channel.retry_at is $$Time before which nothing is sent, after a failure; null otherwise.$$;
comment on column monitor.channel.delivered_at is $$Time of the last delivery; null before the first.$$;
comment on column monitor.channel.last_error is $$Error of the last attempt that failed; null after a delivery.$$;

create table monitor.channel_url (
  channel text primary key references monitor.channel on delete cascade,
  url text not null check (length(url) <= 2000)
);

comment on table monitor.channel_url is $$
@behavior -*
URLs of channels. No role may read this table.
$$;
comment on column monitor.channel_url.channel is $$Channel.$$;
comment on column monitor.channel_url.url is $$URL that notifications are posted to.$$;

create table monitor.channel_secret (
  channel text not null references monitor.channel on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  secret bytea not null check (length(secret) between 24 and 64),
  expires_at timestamptz,
  primary key (channel, created_at)
);

create unique index channel_secret_present on monitor.channel_secret (channel) where expires_at is null;

comment on table monitor.channel_secret is $$
@behavior -*
Keys with which notifications are signed. No role may read this table.
$$;
comment on column monitor.channel_secret.channel is $$Channel.$$;
comment on column monitor.channel_secret.created_at is $$Time at which the key was created.$$;
comment on column monitor.channel_secret.secret is $$Key of HMAC-SHA256.$$;
comment on column monitor.channel_secret.expires_at is $$
Time until which a replaced key signs too; null for the present one.
$$;

create table monitor.notification (
  notification_id bigint generated always as identity primary key,
  channel text not null references monitor.channel on delete cascade,
  alert_event_id bigint references monitor.alert_event on delete cascade,
  alert_id bigint references monitor.alert on delete cascade,
  message_id text not null unique check (message_id ~ '^msg_[0-9a-f]{32}$'),
  body text not null check (length(body) <= 20000),
  state text not null default 'waiting' check (state in ('waiting', 'sending', 'delivered', 'failed')),
  created_at timestamptz not null default clock_timestamp(),
  next_attempt_at timestamptz not null default clock_timestamp(),
  attempts int not null default 0,
  leased_until timestamptz,
  attempted_at timestamptz,
  finished_at timestamptz,
  status_code smallint,
  last_error text check (length(last_error) <= 300),
  unique (channel, alert_event_id),
  check ((state = 'sending') = (leased_until is not null)),
  check ((state in ('delivered', 'failed')) = (finished_at is not null))
);

create index notification_pending on monitor.notification (channel, alert_id, notification_id)
where finished_at is null;
create index notification_next on monitor.notification (channel, next_attempt_at, notification_id)
where finished_at is null;
create index notification_age on monitor.notification (created_at) where finished_at is null;
create index notification_alert_event on monitor.notification (alert_event_id);
create index notification_alert on monitor.notification (alert_id);
create index notification_finished on monitor.notification (finished_at) where finished_at is not null;

comment on table monitor.notification is $$
Notifications: the transitions of alerts that are sent to channels, one row per transition and channel.
Written in the transaction of the transition, so that none is lost.
$$;
comment on column monitor.notification.notification_id is $$Key, ascending with time.$$;
comment on column monitor.notification.channel is $$Channel.$$;
comment on column monitor.notification.alert_event_id is $$Transition; null for a test of the channel.$$;
comment on column monitor.notification.alert_id is $$Alert; null for a test of the channel.$$;
comment on column monitor.notification.message_id is $$
Header `webhook-id`, the same in each attempt, by which a receiver recognises a repetition.
$$;
comment on column monitor.notification.body is $$JSON text that is sent, the same in each attempt.$$;
comment on column monitor.notification.state is $$`waiting`, `sending`, `delivered` or `failed` (permanently).$$;
comment on column monitor.notification.created_at is $$Time at which it was enqueued.$$;
comment on column monitor.notification.next_attempt_at is $$Time before which it is not attempted.$$;
comment on column monitor.notification.attempts is $$Number of attempts, with the present one.$$;
comment on column monitor.notification.leased_until is $$
Time after which an attempt without a result counts as interrupted; null when it is not being sent.
$$;
comment on column monitor.notification.attempted_at is $$Time of the last attempt; null before the first.$$;
comment on column monitor.notification.finished_at is $$Time at which it was delivered, or failed permanently.$$;
comment on column monitor.notification.status_code is $$HTTP status of the last answer; null without one.$$;
comment on column monitor.notification.last_error is $$Error of the last attempt; null after a delivery.$$;

create type monitor.sendable as (
  notification_id bigint,
  attempt int,
  channel text,
  url text,
  message_id text,
  sent_at text,
  signature text,
  body text
);

comment on type monitor.sendable is $$
Notification that the caller of `monitor.take_notifications` is to send.
$$;
comment on column monitor.sendable.notification_id is $$Notification.$$;
comment on column monitor.sendable.attempt is $$Number of the attempt.$$;
comment on column monitor.sendable.channel is $$Channel.$$;
comment on column monitor.sendable.url is $$URL to post to.$$;
comment on column monitor.sendable.message_id is $$Header `webhook-id`.$$;
comment on column monitor.sendable.sent_at is $$Header `webhook-timestamp`: seconds since 1970.$$;
comment on column monitor.sendable.signature is $$Header `webhook-signature`: one signature per valid secret.$$;
comment on column monitor.sendable.body is $$Body of the request.$$;

alter table monitor.channel enable row level security;
alter table monitor.channel_url enable row level security;
alter table monitor.channel_secret enable row level security;
alter table monitor.notification enable row level security;

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values ('notify', '1 minute', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values (
  'notifications', 1450, 'monitor._check_notifications', 'operator',
  'Channels that do not take notifications, and notifications that were not delivered.'
);

/* ------------------------------------------------------------------------------------------------------- rules -- */

create table monitor.rule (
  rule text primary key check (rule ~ '^[a-z][a-z0-9_]{0,62}$'),
  metric text not null references monitor.metric,
  labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object' and length(labels::text) <= 2000),
  direction text not null default 'above' check (direction in ('above', 'below', 'both')),
  threshold float8 check (threshold > '-infinity' and threshold < 'infinity'),
  deviations float8 not null default 6 check (deviations between 2 and 100),
  hold interval not null default '10 minutes' check (hold between '0' and '1 day'),
  severity text not null default 'warning' check (severity in ('warning', 'critical')),
  owner text not null default 'operator' check (owner ~ '^[a-z][a-z0-9_-]{0,62}$'),
  expects_data boolean not null default true,
  is_active boolean not null default true,
  set_by text not null,
  set_at timestamptz not null default clock_timestamp(),
  check (threshold is null or direction <> 'both')
);

create index rule_metric on monitor.rule (metric);

comment on table monitor.rule is $$
Rules: bounds of metrics, each set or learned from the past of the series.
A learned bound is the median of the last 28 days, plus or minus `deviations` times the standard deviation, which is
estimated as 1.4826 times the median absolute deviation (Hampel 1974; Leys et al. 2013).
$$;
comment on column monitor.rule.rule is $$Name of the rule; the source of its alerts.$$;
comment on column monitor.rule.metric is $$Metric. Of a counter, the rule is about its increase per second.$$;
comment on column monitor.rule.labels is $$
Labels that the series have; `{}` for all series of the metric.
Each series has a state and an alert of its own.
$$;
comment on column monitor.rule.direction is $$Values that are a problem: `above`, `below`, or `both`.$$;
comment on column monitor.rule.threshold is $$
Bound in the unit of the metric, for a counter per second; null when it is learned.
$$;
comment on column monitor.rule.deviations is $$Number of standard deviations of a learned bound.$$;
comment on column monitor.rule.hold is $$Time for which all values must be outside.$$;
comment on column monitor.rule.severity is $$Severity of its findings.$$;
comment on column monitor.rule.owner is $$Owner of its alerts.$$;
comment on column monitor.rule.expects_data is $$
Whether it is a problem that no series has a value; false for what is measured only when it occurs.
$$;
comment on column monitor.rule.is_active is $$Whether the rule is evaluated.$$;
comment on column monitor.rule.set_by is $$Author: `userId` of the administrator, or the database login.$$;
comment on column monitor.rule.set_at is $$Time at which the rule was set last.$$;

create table monitor.rule_bound (
  rule text not null references monitor.rule on delete cascade,
  series_id int not null references monitor.series on delete cascade,
  basis text not null check (basis in ('hour of the week', 'all hours', 'learning')),
  samples int not null,
  median float8,
  spread float8,
  learned_at timestamptz not null,
  lowest float8,
  highest float8,
  primary key (rule, series_id),
  check ((basis = 'learning') = (median is null))
)
with (fillfactor = 50);

create index rule_bound_series on monitor.rule_bound (series_id);

comment on table monitor.rule_bound is $$
Learned bounds of rules, one row per series, renewed each hour by `monitor.watch`.
$$;
comment on column monitor.rule_bound.rule is $$Rule.$$;
comment on column monitor.rule_bound.series_id is $$Series.$$;
comment on column monitor.rule_bound.basis is $$
Values that it is learned from.
`hour of the week`: those of the same hour of earlier weeks, when there are four weeks of them, and 20, and the hours of
the week explain half of the deviations; `all hours`: all; `learning`: there are less than 100 values, of a daily metric
less than 14, or less than a day.
$$;
comment on column monitor.rule_bound.samples is $$Number of values.$$;
comment on column monitor.rule_bound.median is $$Their median; null while learning.$$;
comment on column monitor.rule_bound.spread is $$
Their standard deviation, from the median absolute deviation; null while learning.
At least 5 percent of the median, and a least amount by the unit, so that a constant series does not alert on noise; of
an hour of the week, at least the share of the median by which values of all hours deviate from theirs.
$$;
comment on column monitor.rule_bound.learned_at is $$Time at which it was learned.$$;
comment on column monitor.rule_bound.lowest is $$
Value below which the series was for the time `rule.hold` on at most a tenth of the days: no lower bound is above it.
Null unless the basis is `all hours`.
$$;
comment on column monitor.rule_bound.highest is $$
Value above which the series was for the time `rule.hold` on at most a tenth of the days: no upper bound is below it.
Null unless the basis is `all hours`.
$$;

create type monitor.rule_state as (
  rule text,
  metric text,
  labels jsonb,
  state text,
  value float8,
  lower_bound float8,
  upper_bound float8,
  samples int,
  basis text,
  measured_at timestamptz,
  outside_since timestamptz
);

comment on type monitor.rule_state is $$
State of a rule for one series.
$$;
comment on column monitor.rule_state.rule is $$Rule.$$;
comment on column monitor.rule_state.metric is $$Metric.$$;
comment on column monitor.rule_state.labels is $$Labels of the series; those of the rule when there is no series.$$;
comment on column monitor.rule_state.state is $$
State of the rule for the series.
`ok`; `pending`: outside of the bounds, not yet for long; `firing`: outside for `rule.hold`; `learning`: too few values
for a learned bound; `no data`: the series has no recent value, or no series exists; `inactive`.
$$;
comment on column monitor.rule_state.value is $$
Latest value, of a counter its increase per second; null without data.
$$;
comment on column monitor.rule_state.lower_bound is $$Values below it are a problem; null without a lower bound.$$;
comment on column monitor.rule_state.upper_bound is $$Values above it are a problem; null without an upper bound.$$;
comment on column monitor.rule_state.samples is $$
Number of values that the bound is learned from; null for a set one.
$$;
comment on column monitor.rule_state.basis is $$`set`, or as in `rule_bound`.$$;
comment on column monitor.rule_state.measured_at is $$Time of the latest value.$$;
comment on column monitor.rule_state.outside_since is $$
Time since which all values are outside, at most `rule.hold` and some minutes ago; null when the latest one is not.
$$;

alter table monitor.rule enable row level security;
alter table monitor.rule_bound enable row level security;

insert into monitor.rule (rule, metric, direction, hold, expects_data, set_by)
values
  ('ingest_rate', 'insights_ingested_messages_total', 'both', '30 minutes', true, 'insights'),
  ('refused_messages', 'insights_refused_messages_total', 'above', '15 minutes', false, 'insights');

insert into monitor.metric (metric, kind, unit, labels, description)
values
  (
    'insights_model_input_drift', 'gauge', 'ratio', '{project}',
    'Largest population stability index of the inputs of the deployed version.'
  ),
  ('insights_recommendation_rows', 'gauge', 'rows', '{project}', 'Recommended items of a week, up to 100,000.'),
  (
    'insights_recommendation_click_ratio', 'gauge', 'ratio', '{project}',
    'Share of the recommended items of a week that were clicked.'
  ),
  (
    'insights_recommendation_completion_ratio', 'gauge', 'ratio', '{project}',
    'Share of the recommended items of a week that were finished.'
  ),
  (
    'insights_recommendation_dismissal_ratio', 'gauge', 'ratio', '{project}',
    'Share of the recommended items of a week that were dismissed.'
  ),
  (
    'insights_recommendation_coverage_ratio', 'gauge', 'ratio', '{project}',
    'Share of the available items that were recommended in a week.'
  ),
  (
    'insights_recommendation_gini_ratio', 'gauge', 'ratio', '{project}',
    'Gini coefficient of the recommendations per available item.'
  ),
  (
    'insights_recommendation_score_drift', 'gauge', 'ratio', '{project}',
    'Population stability index of the scores of the deployed version.'
  );

insert into monitor.probe (probe, position, function_name, every, description)
values (
  'recommendations', 155, 'monitor._probe_recommendations', '1 day',
  'Clicks on recommendations, their coverage, and the drift of their scores.'
);

insert into monitor.rule (rule, metric, direction, threshold, hold, owner, expects_data, set_by)
values
  ('recommendation_clicks', 'insights_recommendation_click_ratio', 'below', null, '0', 'analyst', false, 'insights'),
  (
    'recommendation_coverage', 'insights_recommendation_coverage_ratio', 'below', null, '0', 'analyst', false,
    'insights'
  ),
  ('score_drift', 'insights_recommendation_score_drift', 'above', 0.25, '0', 'analyst', false, 'insights');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values
  ('rules', 1800, 'monitor._check_rules', 'operator', 'Metrics outside the bounds of monitor.rule, or without data.');

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values ('find_anomalies', '1 hour', false, 'warning'), ('fit_clusters', '1 day', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values (
  'anomalies', 720, 'monitor._check_anomalies', 'analyst',
  'Watched trends whose latest bucket differs from what their past predicts.'
);
