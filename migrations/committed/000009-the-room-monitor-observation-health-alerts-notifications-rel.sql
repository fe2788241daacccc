--! Previous: sha1:1af2a142f565f3db886090246ba82c55d8edf031
--! Hash: sha1:7aac8eccc3daf658655a4f2b066eaffe081b990a
--! Message: the room monitor: observation, health, alerts, notifications, relevance and cost

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

create index rollup_check_differing on track.rollup_check (checked_at) where differing > 0;

create type track.rollup_turn as (checks bigint, duration interval);

comment on type track.rollup_turn is $$
Work of comparing all rollups with the events once.
$$;
comment on column track.rollup_turn.checks is $$Number of checks: months times blocks of 4,096 people.$$;
comment on column track.rollup_turn.duration is $$
Time that they take, estimated from the latest checks; null before the first one.
$$;
drop function recommend._record_impressions(text[]);
drop function track._lock_identities(bigint[]);

alter table recommend.impression
  add column score float8,
  add column function_name text;

comment on column recommend.impression.score is $$
Score of the row when it was served; null when it is known only from an event, and for rows of earlier releases.
$$;
comment on column recommend.impression.function_name is $$
Function that served the row, such as `serve_me`.
Null when it is known only from an event, and for rows of earlier releases.
$$;

comment on type recommend.serving_figures is $$
Figures about the recommendations of one model version, basis, rank, kind of slot, variation or function.
Rates are shares of the rows that were seen, with the bounds of Wilson's score interval (95 %).
$$;
comment on column recommend.serving_figures.name is $$
Version of the model (null: none), basis, rank, variation of an experiment, function, or `explored` and `ranked`.
$$;

/* ---------------------------------------------------------------------------------------- durations of lists -- */

create table recommend.serving_call (
  call_id uuid primary key default gen_random_uuid(),
  hour_at timestamptz not null,
  function_name text not null,
  kind text not null,
  model_id bigint,
  item_count int not null check (item_count >= 0),
  seconds float8 not null check (seconds >= 0)
);

comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants that `recommend.refresh_serving_times` has not counted yet.
Append-only, so that no call waits for another one. Without the person and the time of the list.
$$;
comment on column recommend.serving_call.call_id is $$Key of the call.$$;
comment on column recommend.serving_call.hour_at is $$Start of the hour of the call, in UTC.$$;
comment on column recommend.serving_call.function_name is $$Function that was called, such as `serve_me`.$$;
comment on column recommend.serving_call.kind is $$Kind of the items.$$;
comment on column recommend.serving_call.model_id is $$
Version of the model that ranked rows of the list; null when none did.
$$;
comment on column recommend.serving_call.item_count is $$Number of rows of the list.$$;
comment on column recommend.serving_call.seconds is $$
Duration of the call with its record, in seconds, until this row was stored.
$$;

create table recommend.serving_time (
  hour_at timestamptz not null,
  function_name text not null,
  kind text not null,
  model_id bigint not null,
  counts bigint[] not null,
  items bigint not null,
  seconds float8 not null,
  primary key (hour_at, function_name, kind, model_id)
);

comment on table recommend.serving_time is $$
@behavior -*
How long calls of `recommend.serve_me` and its variants took, one row per hour, function, kind and version.
See `recommend.serving_times`.
$$;
comment on column recommend.serving_time.hour_at is $$Start of the hour, in UTC.$$;
comment on column recommend.serving_time.function_name is $$Function that was called, such as `serve_me`.$$;
comment on column recommend.serving_time.kind is $$Kind of the items.$$;
comment on column recommend.serving_time.model_id is $$
Version of the model that ranked rows of the lists; 0 when none did.
$$;
comment on column recommend.serving_time.counts is $$
Numbers of calls by their duration.
A number counts those of at least the bound of `common.duration_bounds()` before its position, and less than the bound
at it. The last one counts those of at least the last bound.
$$;
comment on column recommend.serving_time.items is $$Number of rows of the lists.$$;
comment on column recommend.serving_time.seconds is $$Sum of the durations, in seconds.$$;

alter table recommend.serving_call enable row level security;
alter table recommend.serving_time enable row level security;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, condition, default_keep, description
)
values (
  'serving_times', 34, 'recommend.serving_time', 'hour_at', null, '400 days',
  'Durations of lists by hour, function and version of the model.'
);

create type recommend.serving_duration as (
  name text,
  call_count bigint,
  item_count bigint,
  mean_ms float8,
  p50_ms float8,
  p95_ms float8,
  p99_ms float8,
  ms_per_item float8
);

comment on type recommend.serving_duration is $$
Durations of the calls of one function, model version, hour or day: see `recommend.serving_times`.
$$;
comment on column recommend.serving_duration.name is $$
Function, version of the model (null: none), or start of the hour or day in UTC.
$$;
comment on column recommend.serving_duration.call_count is $$Number of calls.$$;
comment on column recommend.serving_duration.item_count is $$Number of recommended items that they returned.$$;
comment on column recommend.serving_duration.mean_ms is $$Mean duration of a call, in milliseconds.$$;
comment on column recommend.serving_duration.p50_ms is $$Median duration of a call, in milliseconds.$$;
comment on column recommend.serving_duration.p95_ms is $$
Duration that 95 % of the calls do not exceed, in milliseconds.
$$;
comment on column recommend.serving_duration.p99_ms is $$
Duration that 99 % of the calls do not exceed, in milliseconds.
$$;
comment on column recommend.serving_duration.ms_per_item is $$
Duration of all calls divided by the number of items, in milliseconds; null without items.
$$;
create table experiment.kept (
  experiment_id int primary key references experiment.experiment on delete cascade,
  kept_at timestamptz not null default clock_timestamp(),
  quantiles jsonb not null default '[]'
);

comment on table experiment.kept is $$
Ended experiments whose results are kept: they no longer follow events. See `experiment.keep_results`.
$$;
comment on column experiment.kept.experiment_id is $$Experiment.$$;
comment on column experiment.kept.kept_at is $$Time as of which the results are.$$;
comment on column experiment.kept.quantiles is $$
Statistics of quantile metrics of at least 5 people: `position`, `variation`, `is_complete`, `people`, `statistic`.
$$;

create table experiment.kept_sum (
  experiment_id int not null references experiment.kept on delete cascade,
  position smallint not null,
  variation smallint not null,
  exposed_on date not null,
  stratum text not null,
  people bigint not null check (people >= 5),
  sums numeric[] not null,
  primary key (experiment_id, position, variation, exposed_on, stratum)
);

comment on table experiment.kept_sum is $$
@behavior -*
Sums of `experiment.day_sum` that are kept, each of at least 5 people: days and strata with fewer are added up.
$$;
comment on column experiment.kept_sum.experiment_id is $$Experiment.$$;
comment on column experiment.kept_sum.position is $$Position of the metric; -1 for the numbers of exposed people.$$;
comment on column experiment.kept_sum.variation is $$
Position of the variation; -1 for people with several, -2 for people who are not counted.
$$;
comment on column experiment.kept_sum.exposed_on is $$Day (UTC) of the exposure: the last one of those added up.$$;
comment on column experiment.kept_sum.stratum is $$Stratum; empty without stratification.$$;
comment on column experiment.kept_sum.people is $$Number of people.$$;
comment on column experiment.kept_sum.sums is $$As in `experiment.day_sum.sums`.$$;

alter table experiment.kept enable row level security;
alter table experiment.kept_sum enable row level security;

alter type experiment.health add attribute as_of timestamptz;
comment on column experiment.health.as_of is $$
Time as of which the results of an ended experiment are kept (`experiment.keep_results`); null: they follow the events.
$$;

alter table experiment.setting
add column settle_period interval not null default '2 days' check (settle_period >= '0');
comment on column experiment.setting.settle_period is $$
Time after the end of an experiment in which late events still count; afterwards its results are kept.
$$;

create type experiment.assignment as (
  person text,
  result jsonb
);

comment on type experiment.assignment is $$
A person of `experiment.assign_all` with her variation.
$$;
comment on column experiment.assignment.person is $$Name of the person, as it was given.$$;
comment on column experiment.assignment.result is $$Result, as of `experiment.assign`.$$;

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
comment on column monitor.series.value is $$Latest value.$$;
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
comment on column monitor.measurement.value is $$Value; a null is not stored.$$;

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
comment on column monitor.metric_value.value is $$Value.$$;
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
Mean of the samples of a gauge; rise of a counter, null in the first bucket if no earlier sample is known.
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
comment on column monitor.table_state.bytes is $$Size with indexes and out-of-line values.$$;
comment on column monitor.table_state.index_bytes is $$Size of the indexes.$$;
comment on column monitor.table_state.row_count is $$Number of rows, as the server estimates it.$$;
comment on column monitor.table_state.dead_rows is $$Number of dead rows, which a vacuum removes (an estimate).$$;
comment on column monitor.table_state.dead_share is $$Share of dead rows among all rows.$$;
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
comment on column monitor.slow_statement.total_seconds is $$Time of all calls.$$;
comment on column monitor.slow_statement.mean_milliseconds is $$Mean time of a call.$$;
comment on column monitor.slow_statement.greatest_milliseconds is $$Longest time of a call.$$;
comment on column monitor.slow_statement.share is $$Share in the time of all statements of the database.$$;
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
comment on column monitor.finding.value is $$Measured value; null when nothing is measured.$$;
comment on column monitor.finding.threshold is $$Value from which it is a problem; null without a threshold.$$;

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
  database_limit_bytes bigint check (database_limit_bytes > 0)
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
Size that the database can grow to, for the forecast of the check `growth`; null when unknown.
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
comment on column monitor.alert.value is $$Measured value; null when nothing is measured.$$;
comment on column monitor.alert.threshold is $$Value from which it is a problem; null without a threshold.$$;
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
  ('replication', 1400, 'monitor._check_replication', 'operator', 'Replication slots and standbys that lag.'),
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
comment on column monitor.position_cell.alike is $$Hash of item, version, basis and score of the rows.$$;
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
  top_tenth_share float8
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

create type monitor.listed as (
  name text,
  starts_at timestamptz,
  week timestamptz,
  person_id bigint,
  item_id bigint,
  rank int,
  listed_at timestamptz,
  is_seen boolean,
  is_clicked boolean,
  is_completed boolean,
  is_dismissed boolean,
  liking real
);

comment on type monitor.listed is $$
@behavior -*
Row of a recorded list, with the group in which it is reported.
$$;
comment on column monitor.listed.name is $$Name of the group.$$;
comment on column monitor.listed.starts_at is $$Beginning of the week or of the deployment that is reported.$$;
comment on column monitor.listed.week is $$Week of the list; null for exact figures.$$;
comment on column monitor.listed.person_id is $$Person.$$;
comment on column monitor.listed.item_id is $$Item, after merges.$$;
comment on column monitor.listed.rank is $$Rank in the list.$$;
comment on column monitor.listed.listed_at is $$Time of the list.$$;
comment on column monitor.listed.is_seen is $$Whether an event names the row.$$;
comment on column monitor.listed.is_clicked is $$Whether it was clicked.$$;
comment on column monitor.listed.is_completed is $$Whether its item was finished.$$;
comment on column monitor.listed.is_dismissed is $$Whether it was dismissed.$$;
comment on column monitor.listed.liking is $$Liking that was expressed; null without any.$$;

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
  p95_ms float8
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
comment on column monitor.rule.threshold is $$Bound; null when it is learned.$$;
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
`hour of the week`: those of the same hour of earlier weeks, when there are four weeks of them; `all hours`: all;
`learning`: there are less than 100 values, or less than a day.
$$;
comment on column monitor.rule_bound.samples is $$Number of values.$$;
comment on column monitor.rule_bound.median is $$Their median; null while learning.$$;
comment on column monitor.rule_bound.spread is $$
Their standard deviation, from the median absolute deviation; null while learning.
At least 5 percent of the median, and a least amount by the unit, so that a constant series does not alert on noise.
$$;
comment on column monitor.rule_bound.learned_at is $$Time at which it was learned.$$;

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

insert into monitor.health_check (health_check, position, function_name, owner, description)
values
  ('rules', 1800, 'monitor._check_rules', 'operator', 'Metrics outside the bounds of monitor.rule, or without data.');

--! Included common/functions/duration_bounds.sql
create or replace function common.duration_bounds()
returns float8[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array_agg(0.0005 * power(2, step / 2.0) order by step)
  from generate_series(0, 36) as step
$$;

comment on function common.duration_bounds() is $$
Returns the bounds of the buckets in which durations are counted, in seconds: 37 from half a millisecond to 131 s.
Each is √2 times the one before. A histogram has 38 counts: those below the first bound, between two bounds, and of at
least the last one.
$$;

grant execute on function common.duration_bounds() to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_bounds.sql

--! Included common/functions/duration_quantile.sql
create or replace function common.duration_quantile(counts bigint[], quantile float8)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  with bucket as (
    select
      counted.bucket,
      counted.calls,
      sum(counted.calls) over (order by counted.bucket) as calls_up_to,
      sum(counted.calls) over () * duration_quantile.quantile as rank
    from unnest(duration_quantile.counts) with ordinality as counted (calls, bucket)
  ),

  holding as (
    select
      bucket.bucket,
      -- The part of the bucket's calls that are below the rank.
      ((bucket.rank - bucket.calls_up_to + bucket.calls) / bucket.calls)::float8 as part
    from bucket
    where bucket.calls > 0
      and bucket.calls_up_to >= bucket.rank
    order by bucket.bucket
    limit 1
  )

  select
    case
      when holding.bucket = 1 then bound.bounds[1] * holding.part
      when holding.bucket > cardinality(bound.bounds) then bound.bounds[cardinality(bound.bounds)]
      else bound.bounds[holding.bucket - 1]
        * power(bound.bounds[holding.bucket] / bound.bounds[holding.bucket - 1], holding.part)
    end
  from holding
  cross join (select common.duration_bounds() as bounds) as bound
$$;

comment on function common.duration_quantile(bigint[], float8) is $$
Returns a quantile of durations that are counted by `common.duration_bounds()`, in seconds; null without any.
Between the two bounds of a bucket they are taken to be spread evenly over the logarithm, so that the result is at most
√2 times as large or as small as the true value. At or above the last bound it is that bound.
$$;

grant execute on function common.duration_quantile(bigint[], float8)
to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_quantile.sql

--! Included ml/linear_algebra/inverse.sql
create or replace function ml._inverse_factor_leaf(
  matrix vector[],
  first_row int,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant float8[] := array(select unnest(row_.v::real[]) from (select unnest(matrix) as v offset 0) as row_);
  v_lower float8[] := array_fill(0::float8, array[v_size * v_size]);
  v_factor float8[] := v_lower;
  v_sum float8;
begin
  -- L by Cholesky's method, and its inverse, row by row: entry (i, j) is at (i - 1) n + j.
  for v_i in 1..v_size loop
    for v_j in 1..v_i loop
      v_sum := v_matrix[(v_i - 1) * v_size + v_j];
      for v_k in 1..v_j - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_lower[(v_j - 1) * v_size + v_k];
      end loop;
      if v_j < v_i then
        v_lower[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_j - 1) * v_size + v_j];
      elsif v_sum < 1e-6 then
        perform common.refuse(
          'CF007',
          format(
            'the matrix is %s: pivot %s of row %s',
            case
              when v_sum < -1e-6 then 'not positive definite'
              else 'singular, or nearly singular in single precision'
            end,
            v_sum::real,
            first_row + v_i - 1
          ),
          'The row depends on the rows before it. Remove it, or add a positive number to the diagonal (a ridge).'
        );
      else
        v_lower[(v_i - 1) * v_size + v_i] := sqrt(v_sum);
      end if;
    end loop;

    v_factor[(v_i - 1) * v_size + v_i] := 1 / v_lower[(v_i - 1) * v_size + v_i];
    for v_j in 1..v_i - 1 loop
      v_sum := 0;
      for v_k in v_j..v_i - 1 loop
        v_sum := v_sum - v_lower[(v_i - 1) * v_size + v_k] * v_factor[(v_k - 1) * v_size + v_j];
      end loop;
      v_factor[(v_i - 1) * v_size + v_j] := v_sum / v_lower[(v_i - 1) * v_size + v_i];
    end loop;
  end loop;

  factor := array(
    select v_factor[(i - 1) * v_size + 1:i * v_size]::vector
    from generate_series(1, v_size) as i
  );
  transposed := array(
    select array(select v_factor[(i - 1) * v_size + j] from generate_series(1, v_size) as i)::vector
    from generate_series(1, v_size) as j
  );
end;
$$;

comment on function ml._inverse_factor_leaf(vector[], int) is $$
Returns the inverse K of the Cholesky factor of a small block, and its transpose, in double precision.
Error CF007 names the row, counted from `first_row`.
$$;

create or replace function ml._part_of_rows(
  matrix vector[],
  first_column int,
  columns int
)
returns vector[]
language sql
immutable
parallel safe
begin atomic
  select array(
    select subvector(row_.v, _part_of_rows.first_column, _part_of_rows.columns)
    from (select unnest(_part_of_rows.matrix) as v offset 0) as row_
  );
end;

comment on function ml._part_of_rows(vector[], int, int) is $$
Returns some neighbouring columns of a matrix.
$$;

create or replace function ml._product_by_lower(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(
          ml._part_of_rows(a, 1, v_half), ml._part_of_rows(triangle[:v_half], 1, v_half)
        )) as x,
        unnest(ml._product(a, triangle[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_lower(vector[], vector[]) is $$
Returns A times the transpose of a lower triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._product_by_upper(a vector[], triangle vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(a, triangle);
  end if;
  return array(
    select part.x || part.y
    from (
      select
        unnest(ml._product(a, triangle[:v_half])) as x,
        unnest(ml._product(
          ml._part_of_rows(a, v_half + 1, v_size - v_half),
          ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half)
        )) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._product_by_upper(vector[], vector[]) is $$
Returns A times the transpose of an upper triangular matrix, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(ml._part_of_rows(triangle[:v_half], 1, v_half), ml._part_of_rows(b, 1, v_half))
    || ml._product(triangle[v_half + 1:], b);
end;
$$;

comment on function ml._lower_by_product(vector[], vector[]) is $$
Returns a lower triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._upper_by_product(triangle vector[], b vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(triangle);
  v_half constant int := v_size / 2;
begin
  if v_size <= 96 then
    return ml._product(triangle, b);
  end if;
  return ml._product(triangle[:v_half], b)
    || ml._product(
      ml._part_of_rows(triangle[v_half + 1:], v_half + 1, v_size - v_half),
      ml._part_of_rows(b, v_half + 1, v_size - v_half)
    );
end;
$$;

comment on function ml._upper_by_product(vector[], vector[]) is $$
Returns an upper triangular matrix times the transpose of B, without multiplying a quarter that is zero.
$$;

create or replace function ml._lower_gram(a vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(a);
  v_half constant int := v_size / 2;
  v_zero constant vector := array_fill(0, array[greatest(v_size - v_half, 1)])::vector;
begin
  if v_size <= 96 then
    return ml._product(a, a);
  end if;
  return array(
    select part.x || v_zero from (select unnest(ml._lower_gram(a[:v_half])) as x offset 0) as part
  ) || array(
    select part.x || part.y
    from (
      select unnest(ml._product(a[v_half + 1:], a[:v_half])) as x, unnest(ml._lower_gram(a[v_half + 1:])) as y
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._lower_gram(vector[]) is $$
Returns the lower triangle of A times its transpose; entries above the diagonal are undefined.
$$;

create or replace function ml._inverse_factor(
  matrix vector[],
  first_row int,
  needs_factor boolean,
  out factor vector[],
  out transposed vector[]
)
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_half constant int := v_size / 2;
  v_upper_zero constant vector := array_fill(0, array[greatest(v_half, 1)])::vector;
  v_lower_zero constant vector := array_fill(0, array[v_size - v_half])::vector;
  v_upper record;
  v_lower record;
  v_link vector[];
  v_scaled vector[];
begin
  if v_size <= 48 then
    select leaf.factor, leaf.transposed into factor, transposed
    from ml._inverse_factor_leaf(matrix, first_row) as leaf;
    return;
  end if;

  /*
   * M = [[A, Cᵀ], [C, D]], K = [[K₁, 0], [E, K₂]] with K₁ of A, K₂ of the Schur complement S = D - W Wᵀ, W = C K₁ᵀ, and
   * E = -K₂ W K₁. S is the difference of D and a matrix that is not larger, so rounding errors do not grow; with
   * C A⁻¹ Cᵀ they would. Only the lower triangles of M and S are read.
   */
  select * into v_upper
  from ml._inverse_factor(ml._part_of_rows(matrix[:v_half], 1, v_half), first_row, true);
  v_link := array(
    select v_upper_zero - subvector(row_.v, 1, v_half)
    from (select unnest(matrix[v_half + 1:]) as v offset 0) as row_
  );
  v_scaled := ml._product_by_lower(v_link, v_upper.factor); -- -W
  select * into v_lower
  from ml._inverse_factor(
    array(
      select subvector(pair.v, v_half + 1, v_size - v_half) - pair.w
      from (select unnest(matrix[v_half + 1:]) as v, unnest(ml._lower_gram(v_scaled)) as w offset 0) as pair
    ),
    first_row + v_half,
    true
  );
  v_scaled := ml._upper_by_product(v_upper.transposed, v_scaled); -- -(W K₁)ᵀ

  if needs_factor then
    factor := array(
      select row_.v || v_lower_zero from (select unnest(v_upper.factor) as v offset 0) as row_
    ) || array(
      select pair.e || pair.k
      from (
        select unnest(ml._lower_by_product(v_lower.factor, v_scaled)) as e, unnest(v_lower.factor) as k
        offset 0
      ) as pair
    );
  end if;
  transposed := array(
    select pair.k || pair.e
    from (
      select unnest(v_upper.transposed) as k, unnest(ml._product_by_lower(v_scaled, v_lower.factor)) as e
      offset 0
    ) as pair
  ) || array(
    select v_upper_zero || row_.v from (select unnest(v_lower.transposed) as v offset 0) as row_
  );
end;
$$;

comment on function ml._inverse_factor(vector[], int, boolean) is $$
Returns the inverse K of the Cholesky factor of a symmetric positive definite matrix, and its transpose.
The diagonal of the matrix M must be ones; only its lower triangle is read. By recursive halves; M⁻¹ = KᵀK.
K itself is null unless `needs_factor`.
$$;

create or replace function ml._triangular_gram(transposed vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(transposed);
  v_half constant int := v_size / 2;
  v_link vector[];
  v_lower vector[];
begin
  if v_size <= 96 then
    return ml._product(transposed, transposed);
  end if;
  v_link := ml._part_of_rows(transposed[:v_half], v_half + 1, v_size - v_half);
  v_lower := ml._part_of_rows(transposed[v_half + 1:], v_half + 1, v_size - v_half);
  return array(
    select (part.k + part.e) || part.c
    from (
      select
        unnest(ml._triangular_gram(ml._part_of_rows(transposed[:v_half], 1, v_half))) as k,
        unnest(ml._product(v_link, v_link)) as e,
        unnest(ml._product_by_upper(v_link, v_lower)) as c
      offset 0
    ) as part
  ) || array(
    select part.c || part.k
    from (
      select unnest(ml._upper_by_product(v_lower, v_link)) as c, unnest(ml._triangular_gram(v_lower)) as k
      offset 0
    ) as part
  );
end;
$$;

comment on function ml._triangular_gram(vector[]) is $$
Returns KᵀK of a lower triangular matrix K, given as Kᵀ, without multiplying most of the half that is zero.
$$;

create or replace function ml.inverse(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_size constant int := cardinality(matrix);
  v_matrix constant vector[] := matrix || '{}';
  v_diagonal float8[];
  v_scale vector;
  v_probe vector;
  -- 2^-40. The diagonal of the inverse of the scaled matrix is at least 1.
  v_trace constant vector := array_fill(9.094947e-13::real, array[least(greatest(v_size, 1), 16000)])::vector;
  v_by_rows vector;
  v_by_columns vector;
  v_inverse vector[];
  v_error float8;
begin
  if ml._matrix_columns(matrix, 'matrix') <> v_size then
    perform common.refuse('CF001', format('the matrix has %s rows and %s columns', v_size, vector_dims(matrix[1])),
      'Only a square matrix has an inverse.');
  end if;

  v_diagonal := array(
    select (row_.v::real[])[row_.n]
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );
  if exists (select from unnest(v_diagonal) as entry where entry <= 0) then
    perform common.refuse(
      'CF007',
      format(
        'the matrix is not positive definite: %s on the diagonal of row %s',
        (select entry::real from unnest(v_diagonal) as entry where entry <= 0 limit 1),
        (select n from unnest(v_diagonal) with ordinality as entry (value, n) where value <= 0 order by n limit 1)
      ),
      'Covariance, Gram and kernel matrices have a positive diagonal; a ridge on it makes them invertible.'
    );
  end if;

  -- Scaled to ones on the diagonal, so that the size of a pivot does not depend on the units of the rows.
  v_scale := array(select 1 / sqrt(entry) from unnest(v_diagonal) as entry)::vector;
  v_inverse := array(
    select row_.v * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_matrix) with ordinality as row_ (v, n)
    order by row_.n
  );

  -- The algorithm reads one triangle only. M x = Mᵀ x for an irregular vector x shows that the matrix is symmetric.
  v_probe := array(select 0.5 + (n * 0.6180339887498949) % 1 from generate_series(1, v_size) as n)::vector;
  v_by_rows := (ml.transpose(ml._product(v_inverse, array[v_probe])))[1];
  v_by_columns := (
    select sum(row_.v * array_fill((v_probe::real[])[row_.n], array[v_size])::vector)
    from unnest(v_inverse) with ordinality as row_ (v, n)
  );
  if v_by_rows <-> v_by_columns > 1e-4 * vector_norm(v_by_rows) then
    perform common.refuse('CF001', 'the matrix is not symmetric',
      'Only symmetric positive definite matrices, such as AᵀA plus a ridge, are inverted here.');
  end if;

  select ml._triangular_gram(factored.transposed) into v_inverse
  from ml._inverse_factor(v_inverse, 1, false) as factored;

  v_error := l2_distance(
    (ml.transpose(ml._product(v_inverse, array[v_by_rows])))[1], v_probe
  ) / vector_norm(v_probe);
  if v_error > 1e-2 then
    perform common.refuse(
      'CF007',
      format('the matrix is nearly singular in single precision: M⁻¹ M x is off x by %s', v_error::real),
      'Add a positive number to the diagonal (a ridge), or use double precision.'
    );
  end if;

  -- Traces of links over many rows are removed: their products could be too small for single precision, which fails.
  return array(
    select ((row_.v + v_trace) - v_trace) * v_scale * array_fill((v_scale::real[])[row_.n], array[v_size])::vector
    from unnest(v_inverse) with ordinality as row_ (v, n)
    order by row_.n
  );
end;
$$;

comment on function ml.inverse(vector[]) is $$
Returns the inverse of a symmetric positive definite matrix, such as AᵀA plus a ridge.
Cholesky's method by recursive halves: blocks of up to 48 rows in double precision, all other products as inner products
in single precision. With a condition number of 50, `A·A⁻¹` differs from the identity by about 1e-6; the error grows in
proportion.
Shapes: n × n, n at most 16,000; time grows with the third power, 1.5 s for n = 1,700, 9 s for n = 3,300.
Errors: CF001 (not square, not symmetric), CF004 (no rows), CF007 (not positive definite, singular or nearly so; names
the row).
Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, chapters 10, 13 and 14.
$$;

grant execute on function
  ml._inverse_factor_leaf(vector[], int),
  ml._part_of_rows(vector[], int, int),
  ml._product_by_lower(vector[], vector[]),
  ml._product_by_upper(vector[], vector[]),
  ml._lower_by_product(vector[], vector[]),
  ml._upper_by_product(vector[], vector[]),
  ml._lower_gram(vector[]),
  ml._inverse_factor(vector[], int, boolean),
  ml._triangular_gram(vector[]),
  ml.inverse(vector[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/linear_algebra/inverse.sql

--! Included privacy/functions/allowed.sql
create or replace function privacy.allowed(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Most people have decided nothing and stated no age: the lawful basis applies. Each list calls this function.
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = allowed.purpose
      and not exists (select from privacy.consent where consent.person_id = allowed.person_id)
      and not exists (select from privacy.restriction where restriction.person_id = allowed.person_id)
      and not exists (select from privacy.person_age where person_age.person_id = allowed.person_id)
  );
begin
  if v_by_default is not null then
    return v_by_default;
  end if;
  return (
    select not exists (select from privacy.restricted(array[allowed.person_id])) and coalesce(
      (
        select decision.granted
        from privacy.effective_decisions(array[allowed.purpose], array[allowed.person_id]) as decision
      ),
      purpose.basis <> 'consent'
    )
    from privacy.purpose
    where purpose.purpose = allowed.purpose
  );
end;
$$;

comment on function privacy.allowed(bigint, text) is $$
@behavior -queryField
Returns whether the data of a person may be processed for a purpose.
The decision that applies is that of `privacy.effective_decisions`: the latest one of the person, unless it expired or
she was not of age. Without a decision, processing is allowed unless the lawful basis is `consent`. Null for an unknown
purpose.
False for all purposes while the data of the person is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.allowed(bigint, text)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/functions/allowed.sql

--! Included track/identities/people_of_identities.sql
create or replace function track.people_of_identities(identity_ids bigint[], occurred_at timestamptz[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id bigint;
begin
  -- Each list that is recorded calls this function for one identity, in most cases that of a user.
  if cardinality(people_of_identities.identity_ids) = 1 then
    select identity.person_id into v_person_id
    from track.identity
    where identity.identity_id = people_of_identities.identity_ids[1]
      and identity.kind <> 'anonymous';
    if found then
      return array[v_person_id];
    end if;
  end if;
  return (
    select array_agg(
      case
        when identity.kind = 'anonymous'
          and exists (
            select
            from track.identity as sibling
            where sibling.external_id = identity.external_id
              and sibling.kind = 'anonymous'
              and sibling.identity_id <> identity.identity_id
          )
          then (
            select owner.person_id
            from track.identity as owner
            where owner.identity_id = track._browser_identity(identity.external_id, given.occurred_at)
          )
        else identity.person_id
      end
      order by given.position
    )
    from unnest(people_of_identities.identity_ids, people_of_identities.occurred_at) with ordinality
      as given (identity_id, occurred_at, position)
    left join track.identity on identity.identity_id = given.identity_id
  );
end;
$$;

comment on function track.people_of_identities(bigint[], timestamptz[]) is $$
@behavior -*
Returns for each identity the person to whom an event that it sent at a time belongs now; null for an unknown identity.
For the browser of several people, it is the one who had identified on it last before the time. The lists have the same
length. For rooms whose data names an identity, so that it follows merges of people and their reversal.
$$;
--! EndIncluded track/identities/people_of_identities.sql

--! Included track/identities/held_names.sql
create or replace function track.held_names(people bigint[])
returns setof privacy.identity_name
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.person_id = any (held_names.people)
      and (identity.kind = 'user' or identity.identity_id = identity.person_id)
  ));
  return query
  select identity.identity_id, identity.person_id, identity.external_id
  from track.identity
  where identity.person_id = any (held_names.people)
    and (identity.kind = 'user' or identity.identity_id = identity.person_id)
  order by identity.identity_id;
end;
$$;

comment on function track.held_names(bigint[]) is $$
@behavior -*
Returns the names under which people are known, and holds them: until the transaction ends, none is deleted.
They are the user identities, of which a person has several after a merge; of a person without one, it is the key.
Registered in `privacy.setting.held_names_function`.
$$;
--! EndIncluded track/identities/held_names.sql

--! Included track/ingest/lock_identities.sql
create or replace function track.lock_identities(identity_ids bigint[])
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked int;
begin
  -- Moves to other people update the rows, but not their keys: a key share lock would not notice a move that this
  -- snapshot does not contain. The stronger one fails (40001).
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (lock_identities.identity_ids)
    order by identity.identity_id
    for share;
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (lock_identities.identity_ids)
    order by identity.identity_id
    for key share;
  end if;
  get diagnostics v_locked = row_count;
  return v_locked = cardinality(identity_ids);
end;
$$;

comment on function track.lock_identities(bigint[]) is $$
@behavior -*
Locks identities for which a transaction stores data: until it ends, they stay with their people.
False when one of them does not exist any more. Raises 40001 in a transaction whose snapshot is from before a move.
For the rooms that store data of people by their identities; `track.people_of_identities` is called after it.
$$;
--! EndIncluded track/ingest/lock_identities.sql

--! Included track/ingest/link_people.sql
create or replace function track._said_links(messages track.parsed_message[])
returns table (
  "position" int, identity_id bigint, linked_identity_id bigint, kind text, linked_at timestamptz, is_known boolean
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with said as materialized (
    select
      message.position, message.type, message.occurred_at, message.is_claim,
      case message.type when 'identify' then message.anonymous_id else message.previous_id end as name,
      person.identity_id as linked_identity_id
    from unnest(messages) as message
    join track.identity as person on person.external_id = message.external_id and person.kind = message.identity_kind
    where message.type in ('identify', 'alias')
      and message.identity_kind = 'user'
  ),

  browser as materialized (
    select
      said.position, said.name, said.linked_identity_id, said.occurred_at,
      case when said.is_claim then 'claim' else said.type end as kind,
      (
        select identity.identity_id
        from track.identity
        where identity.external_id = said.name
          and identity.kind = 'anonymous'
          and identity.user_identity_id = said.linked_identity_id
          and (
            identity.identity_id = track._browser_identity(said.name, said.occurred_at)
            or exists (
              select
              from track.identity_link as link
              where link.identity_id = identity.identity_id
                and link.linked_identity_id = said.linked_identity_id
                and link.linked_at = said.occurred_at
                and link.kind <> 'claim'
                and link.unlinked_at is null
            )
          )
      ) as own_id,
      first.identity_id as any_id
    from said
    join track.identity as first on first.external_id = said.name and first.kind = 'anonymous' and first.branch = 0
    where not exists (
      select
      from track.identity as sibling
      join track.identity_link as link on link.identity_id = sibling.identity_id
      where sibling.external_id = said.name
        and sibling.kind = 'anonymous'
        and link.linked_identity_id = said.linked_identity_id
        and link.unlinked_at >= said.occurred_at
    )
  )

  select
    browser.position, coalesce(browser.own_id, browser.any_id), browser.linked_identity_id, browser.kind,
    browser.occurred_at,
    browser.kind = 'claim' or browser.own_id is not null
  from browser

  union all

  select said.position, other.identity_id, said.linked_identity_id, said.type, said.occurred_at, false
  from said
  join track.identity as other on other.external_id = said.name and other.kind = 'user'
  where said.type = 'alias'
    and other.identity_id <> said.linked_identity_id
    and not track._is_linked(other.identity_id, said.linked_identity_id, said.occurred_at);
end;
$$;

comment on function track._said_links(track.parsed_message[]) is $$
Returns the links of `identify` and `alias` messages that are not stored.
`is_known`: the browser belongs to the user at that time already, or the link is a claim, so that storing it moves
nothing.
$$;

create or replace function track._link_people_of(messages track.parsed_message[], also_locked bigint[])
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_identities bigint[];
  v_linked_identities bigint[];
  v_kinds text[];
  v_linked_at timestamptz[];
  v_is_complete boolean;
begin
  -- Most links are known, such as those of a client that identifies with each page. Storing them locks no person.
  if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
    begin
      v_is_complete := track.lock_identities(also_locked);
      if (select coalesce(bool_and(said.is_known), true) from track._said_links(messages) as said) then
        perform track._store_known_links(messages);
        return v_is_complete;
      end if;
      perform common.refuse('CF099', 'a browser was linked to another user concurrently');
    exception
      -- The error releases the locks. They must not be in a sub-transaction of this one: those that wait for a lock of
      -- a finished sub-transaction wait for the end of the whole transaction.
      when sqlstate 'CF099' then null;
    end;
  end if;

  select
    array_agg(said.identity_id order by said.position, said.identity_id),
    array_agg(said.linked_identity_id order by said.position, said.identity_id),
    array_agg(said.kind order by said.position, said.identity_id),
    array_agg(said.linked_at order by said.position, said.identity_id)
  into v_identities, v_linked_identities, v_kinds, v_linked_at
  from track._said_links(messages) as said
  where said.kind <> 'claim';
  if v_identities is not null then
    perform track._link_people(v_identities, v_linked_identities, v_kinds, v_linked_at, also_locked);
  end if;

  -- The persons of the identities must not change from here to the end of the transaction.
  v_is_complete := track.lock_identities(also_locked);
  perform track._store_known_links(messages);
  return v_is_complete;
end;
$$;

comment on function track._link_people_of(track.parsed_message[], bigint[]) is $$
Creates the links of `identify` and `alias` messages, then locks the identities `also_locked`.
False when one of these does not exist any more.
$$;

create or replace function track._store_known_links(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select distinct on (said.identity_id, said.linked_identity_id, said.linked_at)
    said.identity_id, said.linked_identity_id, said.kind, said.linked_at
  from track._said_links(messages) as said
  where said.is_known
  order by said.identity_id, said.linked_identity_id, said.linked_at, said.position
  on conflict on constraint identity_link_pkey do nothing;
end;
$$;

comment on function track._store_known_links(track.parsed_message[]) is $$
Stores the links of messages that move nothing.
$$;
--! EndIncluded track/ingest/link_people.sql

--! Included track/ingest/settle_messages.sql
create or replace function track._settle_messages(
  inout messages track.parsed_message[],
  inout signalled track.parsed_message[],
  inout born track.parsed_message[],
  sender track.message_sender,
  links boolean,
  browsers boolean,
  out identities bigint[],
  out people bigint[],
  out erased track.parsed_message[]
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked bigint[];
  v_is_complete boolean;
  v_placed record;
  v_erased track.parsed_message[];
begin
  erased := '{}';
  for v_attempt in 1 .. 100 loop
    v_locked := track._named_identities(messages || signalled || born);
    -- The persons of the identities must not change from here to the end of the transaction, or what is stored next
    -- would be stored for a former person.
    if links then
      v_is_complete := track._link_people_of(messages, v_locked);
    else
      v_is_complete := track.lock_identities(v_locked);
    end if;
    v_placed := track._place_messages(messages, browsers);
    identities := v_placed.identities;
    people := v_placed.people;
    -- An identity of a browser that was unlinked meanwhile has a sibling, which is locked as well.
    if coalesce(cardinality(identities), 0) = cardinality(messages)
      and (v_is_complete or num_nonnulls(signalled, nullif(born, '{}')) = 0)
    then
      return;
    end if;

    -- A person was erased while this transaction waited for her identities.
    messages := track._refuse_suppressed(messages, sender);
    signalled := track._refuse_suppressed(signalled, sender);
    born := track._refuse_suppressed(born, sender);
    v_erased := array(select message from unnest(messages) as message where message.problem is not null);
    erased := erased || v_erased;
    messages := array(select message from unnest(messages) as message where message.problem is null);
    perform track._enter_people_of(messages, sender.browser);
  end loop;

  perform common.refuse(
    'serialization_failure', 'people of the batch were erased concurrently', 'Send the batch again.'
  );
end;
$$;

comment on function track._settle_messages(
  track.parsed_message[], track.parsed_message[], track.parsed_message[], track.message_sender, boolean, boolean
) is $$
Links and locks the identities of a batch, and returns for each message its identity and person, which stay as they are.
`signalled` and `born`: the messages with an opt-out signal and with a date of birth, whose people are locked as well.
`links`: whether a message links identities; `browsers`: whether one is of a browser. Messages of people who were erased
meanwhile are returned in `erased`, with the problem, and no longer among the others.
Errors: 40001 when people of the batch are erased again and again.
$$;
--! EndIncluded track/ingest/settle_messages.sql

--! Included track/ingest/ingest.sql
/*
 * A definer: callers may write events only through this function, which checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_batch constant track.message_batch := track._read_batch(ingest.batch);
  v_received_at constant timestamptz := clock_timestamp();
  v_sender constant track.message_sender := track._sender(v_received_at);
  v_messages track.parsed_message[];
  -- The messages with their people, of which the request or the message has an opt-out signal.
  v_signalled track.parsed_message[];
  -- Messages that state a date of birth. It is stored without consent, since it decides who can give it.
  v_born track.parsed_message[];
  v_settled record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_births boolean;
  v_opts_out boolean;
  v_refused int[];
  v_findings track.finding[];
  v_bots text[];
  v_result track.ingest_result;
begin
  -- An erasure waits for it before it deletes names of items and event types that nobody uses.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  if exists (select from privacy.suppression) then
    v_messages := track._refuse_suppressed(v_messages, v_sender);
  end if;
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous'),
    bool_or(message.birth_date is not null),
    bool_or(message.opts_out)
  into v_links, v_traits, v_decisions, v_browsers, v_births, v_opts_out
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_sender.opt_out <> '{}' then
    v_signalled := v_messages;
  elsif v_opts_out then
    v_signalled := array(select message from unnest(v_messages) as message where message.opts_out);
  end if;
  if v_births then
    v_born := array(
      select message
      from unnest(v_messages) as message
      where message.birth_date is not null
        and message.problem is null
    );
  end if;
  v_messages := track._ask_consent(v_messages, v_sender.opt_out);
  if v_sender.personal_data = 'refuse' or v_sender.bots = 'refuse' then
    v_messages := track._refuse_contents(v_messages, v_sender);
  end if;
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  if v_births then
    v_refused := array(select message.position from unnest(v_messages) as message where message.problem is not null);
  end if;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  if v_births then
    -- Without duplicates.
    v_born := array(
      select born
      from unnest(v_born) as born
      where born.position = any (v_refused)
        or born.position in (select message.position from unnest(v_messages) as message)
    );
    v_births := v_born <> '{}';
  end if;
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null and v_births is not true then
    return v_result;
  end if;

  select reduced.minimised, reduced.findings, reduced.bots
  into v_messages, v_findings, v_bots
  from track._minimise(v_messages, v_sender) as reduced;
  v_bots := case when v_sender.bots = 'exclude' and v_bots <> '{}' then track._new_browsers(v_bots) end;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages, v_sender.browser);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  if v_births then
    perform track._enter_people(array_agg('user'::text), array_agg(born.external_id))
    from unnest(v_born) as born;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  select settled.* into v_settled
  from track._settle_messages(
    v_messages, v_signalled, v_born, v_sender, coalesce(v_links, false), v_browsers
  ) as settled;
  v_messages := v_settled.messages;
  v_signalled := v_settled.signalled;
  v_born := v_settled.born;
  if v_settled.erased <> '{}' then
    perform track._count_refused(v_settled.erased, v_batch.messages, v_sender.source_id, v_received_at);
    v_result.errors := v_result.errors || track._problems(v_settled.erased);
    v_result.rejected := v_result.rejected + cardinality(v_settled.erased);
    v_result.accepted := v_result.accepted - cardinality(v_settled.erased);
  end if;

  perform track._store_events(v_messages, v_settled.identities, v_settled.people, v_sender.source_id);
  if v_traits then
    perform track._store_traits(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_births then
    perform privacy.record_birth_dates(
      array_agg(identity.person_id), array_agg(identity.identity_id), array_agg(born.birth_date)
    )
    from unnest(v_born) as born
    join track.identity on identity.external_id = born.external_id and identity.kind = 'user';
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_sender.opt_out, v_received_at);
  end if;
  if v_findings <> '{}' then
    perform track._count_found(v_findings, v_received_at);
  end if;
  if v_bots <> '{}' then
    perform track._exclude_bots(v_bots);
  end if;
  return v_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Stores messages in Segment's format (`track`, `page`, `screen`, `identify`, `alias`, `group`).
A batch is a list, one message, or `{batch, sentAt, context}`; a JSON string with any of these is parsed.
Each `messageId` of a source is stored once, also by concurrent calls and at any later time. An invalid message is
rejected with an error of its own; the others are stored.
Items are created when first named. `properties` of trusted senders (`itemKind`, `itemTitle`, `parent`, `url`) are
stored where the item has no value yet; a parent that would form a cycle is ignored.
An event is never later than its arrival. The time of the client applies, unless its clock is behind by more than
`track.setting.clock_tolerance` or ahead: then the event is at `receivedAt - (sentAt - timestamp)`.
Learners may send their own events only, visitors only with an `anonymousId`, which is checked: see
`track.identity.browser`. A browser belongs to the user who identified on it last before the event, and before the
first `identify` to the first user. A write key (setting `insights.write_key`: its SHA-256 hash) decides the source and
its level. Refused messages are counted: see
`track.refused_messages`.
Errors of the whole batch: CF005 when the write key may not be used, CF009 when it is not a list of messages, CF008
when it has more than `track.setting.largest_batch` messages or its `context` is too long, CF001 when its `context`
contains a number beyond double precision.
$$;

grant execute on function track.ingest(jsonb)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/ingest/ingest.sql

--! Included track/trust/_checked_months.sql
create or replace function track._checked_months()
returns date[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The months of the partitions, and those of rows without events.
  return array(
    select to_date(substr(partition.relname, 7), 'YYYY_MM')
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and partition.relname ~ '^event_\d{4}_\d\d$'
      and to_date(substr(partition.relname, 7), 'YYYY_MM') <= (now() at time zone 'UTC')::date + 31
      -- The sums of earlier months are kept without their events.
      and to_date(substr(partition.relname, 7), 'YYYY_MM') >= (select setting.sums_kept_before from track.setting)
    union
    select item_month.month
    from track.item_month
    order by 1
  );
end;
$$;

comment on function track._checked_months() is $$
Returns the months whose rollups are compared with the events, in order.
$$;
--! EndIncluded track/trust/_checked_months.sql

--! Included track/trust/check_rollups.sql
/*
 * A check compares the rows of a month and a block of 4,096 people. The next check takes the next block, and after the
 * last one the next month, so that all rows are compared in turn. Sums of all people are compared for days of the month
 * and for some of its items. The days are shared among the blocks, so that all are compared in a turn: each check takes
 * those whose last check is the oldest.
 */
create or replace function track._next_check(out month date, out block int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last track.rollup_check;
  v_months constant date[] := track._checked_months();
  v_newest bigint;
begin
  select * into v_last from track.rollup_check order by rollup_check.check_id desc limit 1;
  v_newest := coalesce((select max(person.person_id) from track.person), 0) / 4096;
  if v_last.month = any (v_months) and v_last.block < v_newest then
    month := v_last.month;
    block := (
      select min(person.person_id) / 4096
      from track.person
      where person.person_id >= (v_last.block + 1)::bigint * 4096
    );
  else
    -- From the latest month back, and then again from the latest.
    month := coalesce(
      (select max(listed) from unnest(v_months) as listed where listed < v_last.month),
      v_months[cardinality(v_months)]
    );
    block := 0;
  end if;
end;
$$;

comment on function track._next_check() is $$
Returns the month and the block of people of the next check, from the last one. Null without any month of events.
$$;

create or replace function track._check_block(month date, block int)
returns setof track.rollup_check
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_check_id constant bigint := coalesce((select max(rollup_check.check_id) from track.rollup_check), 0) + 1;
  v_blocks constant int := coalesce((select max(person.person_id) from track.person), 0) / 4096 + 1;
  v_days date[];
  v_day date;
  v_number int := 0;
  v_items bigint[];
  v_rollup text;
  v_rollups text[] := array[
    'track.step', 'track.presence', 'track.item_month', 'track.item_month sums', 'track.course_presence'
  ];
  v_started timestamptz;
  v_found track.rollup_comparison;
  v_row track.rollup_check;
begin
  v_days := array(
    select listed::date
    from generate_series(_check_block.month, _check_block.month + interval '1 month - 1 day', '1 day') as listed
    left join track.rollup_check as earlier on earlier.rollup = 'track.item_day' and earlier.day = listed::date
    group by listed
    order by max(earlier.check_id) nulls first, listed
    limit ceil(31.0 / v_blocks)
  );
  v_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.month = _check_block.month
    group by item_month.item_id
    order by random()
    limit case when v_blocks > 1 then 100 end
  );

  if exists (select from track.declared_property as declared where declared.is_queued) then
    v_rollups := v_rollups || array['track.step_value', 'track.value_presence'];
  end if;
  v_rollups := v_rollups || array_fill('track.item_day'::text, array[cardinality(v_days)]);
  foreach v_rollup in array v_rollups loop
    v_started := clock_timestamp();
    if v_rollup = 'track.item_day' then
      v_day := v_days[v_number + 1];
      v_number := v_number + 1;
    end if;
    -- First without the lock of the refresh. Under it, the differences are those that no refresh is about to change.
    for v_attempt in 1 .. 2 loop
      v_found := case v_rollup
        when 'track.step' then track._check_steps(month, block, v_attempt = 2)
        when 'track.presence' then track._check_presence(month, block, v_attempt = 2)
        when 'track.item_month' then track._check_item_months(month, block, v_attempt = 2)
        when 'track.item_month sums' then track._check_item_sums(month, v_items, v_attempt = 2)
        when 'track.step_value' then track._check_step_values(month, block, v_attempt = 2)
        when 'track.value_presence' then track._check_value_presence(month, block, v_attempt = 2)
        when 'track.course_presence' then track._check_course_presence(month, block, v_attempt = 2)
        else track._check_item_days(v_day, v_attempt = 2)
      end;
      exit when v_found.differing = 0;
      perform pg_advisory_xact_lock(hashtext('track.refresh'));
    end loop;
    v_items := v_items || coalesce(v_found.items, '{}');

    insert into track.rollup_check (
      check_id, rollup, checked_at, month, block, day, checked, differing, example, duration
    )
    values (
      -- A further day has a number of its own.
      v_check_id + greatest(v_number - 1, 0), v_rollup, v_started, month, block, v_day,
      v_found.checked, v_found.differing, v_found.example, clock_timestamp() - v_started
    )
    returning * into v_row;
    return next v_row;
  end loop;
end;
$$;

comment on function track._check_block(date, int) is $$
Compares the rollups of a month and a block of people with the events, repairs what differs, and records the result.
$$;

create or replace function track.check_rollups(checks int default 1)
returns setof track.rollup_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set jit to off
as $$
declare
  v_next record;
begin
  perform common.check_count('checks', check_rollups.checks, 1, 100);
  -- One at a time: two would check the same block.
  perform pg_advisory_xact_lock(hashtext('track.check_rollups'));
  for v_check in 1 .. check_rollups.checks loop
    -- With a long queue most cells could not be compared, and the work would not be bounded.
    if (select count(*) from (select from track.stale limit 10001) as queued) > 10000
      or (select count(*) from (select from track.changed limit 10001) as queued) > 10000
    then
      exit;
    end if;
    v_next := track._next_check();
    exit when v_next.month is null;
    return query select checked.* from track._check_block(v_next.month, v_next.block) as checked;
  end loop;
  delete from track.rollup_check
  where rollup_check.check_id <= (select max(latest.check_id) from track.rollup_check as latest) - 10000;
end;
$$;

comment on function track.check_rollups(int) is $$
@behavior -*
Compares a sample of the rollups with the events, repairs what differs, and records the result.
One row per rollup, and for `item_day` per day.
The rollups are `track.step`, `presence`, `item_month`, `course_presence` and `item_day`, and with declared properties
`step_value` and `value_presence`. One check is a month and 4,096 people; each takes the next ones, so that all are
compared in turn (`track.rollup_turn`). With at most 4,096 people all items of the month are compared, otherwise 100 of
them, picked at random. What is queued for a refresh is not compared, and nothing is checked while more than 10,000
changes are queued. `differing` is the number of cells that were wrong: they
are written again from the events. `track.rollup_trust` summarizes the results.
From the first difference on, refreshes wait for the end of the transaction: prefer many calls to many checks.
Errors: CF001 for fewer than one check, or more than 100.
$$;

grant execute on function track.check_rollups(int) to insights_admin, insights_worker;
--! EndIncluded track/trust/check_rollups.sql

--! Included track/trust/rollup_turn.sql
create or replace function track.rollup_turn()
returns track.rollup_turn
language plpgsql
stable
-- A definer: workers may not call private functions, and the months are those of the partitions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_turn track.rollup_turn;
begin
  v_turn.checks := cardinality(track._checked_months())
    * coalesce((select max(person.person_id) from track.person) / 4096 + 1, 0);
  v_turn.duration := v_turn.checks * (
    select avg(latest.duration)
    from (
      select sum(checked.duration) as duration
      from track.rollup_check as checked
      where checked.check_id > (select max(last.check_id) from track.rollup_check as last) - 2000
      group by checked.month, checked.block
      order by max(checked.check_id) desc
      limit 100
    ) as latest
  );
  return v_turn;
end;
$$;

comment on function track.rollup_turn() is $$
@behavior -*
Returns the number of checks (`track.check_rollups`) after which all rollups have been compared with the events.
Also how long these take, as estimated from the latest ones.
$$;

grant execute on function track.rollup_turn() to insights_admin, insights_worker;
--! EndIncluded track/trust/rollup_turn.sql

--! Included track/person_sets/_identity_to_exclude.sql
create or replace function track._identity_to_exclude(person text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track._named_identity(_identity_to_exclude.person, clock_timestamp());
begin
  if v_identity_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(_identity_to_exclude.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  -- Blocks merges of this person until the end of the transaction, so that the current person is queued.
  perform track.lock_identities(array[v_identity_id]);
  return v_identity_id;
end;
$$;

comment on function track._identity_to_exclude(text) is $$
Returns the identity with a `userId`, or else the present one of a browser.
It is locked against moves to another person.
Errors: CF002 for an unknown name.
$$;
--! EndIncluded track/person_sets/_identity_to_exclude.sql

--! Included track/functions/sync_enrolments.sql
create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_touched bigint[];
  v_merged bigint[];
  v_identities bigint[];
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the enrolment of "%s" in "%s" at %s with status "%s" is invalid',
        left(v_bad.person, 100),
        left(v_bad.item, 100),
        coalesce(v_bad.enrolled_at::text, 'null'),
        coalesce(left(v_bad.status, 100), 'active')
      ),
      'An enrolment needs a person, an item and a time; its status is active, completed or dropped.'
    );
  end if;

  select enrolment.person into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text)
  where track._names_nobody(enrolment.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('the enrolment of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  enrolments := track._without_suppressed(enrolments);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and identity.external_id = any (
        array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
      )
  ));

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item as member
    join track.item on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where (item.merged_item_id is not null or member.merged_item_id is not null)
      and item.external_id = any (
        array(select distinct enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
      )
  );
  if v_merged <> '{}' then
    v_identities := array(
      select identity.identity_id
      from track.identity
      where identity.kind = 'user'
        and identity.external_id = any (
          array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
        )
    );
    perform track._name_enrolments(v_merged, v_identities);
  end if;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select
      identity.person_id, item.item_id, identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at
    where (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
      is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, v_identities);
  end if;
  perform track._enqueue('enrolment', v_touched);

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.enrolment, and texts for person and item.');
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}`, as described for `track.sync_enrolments`.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_enrolments(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_enrolments jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['person', 'item', 'enrolled_at'], array['status', 'ended_at']);

  -- The latest enrolment of a person in an item applies. The query runs as the caller, and passes its rows to a definer
  -- that takes values only. Each call passes at most 50,000 rows, because the size of a jsonb value is limited.
  for v_enrolments in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select *, (row_number() over (order by person, item) - 1) / 50000 as part
        from (
          select distinct on (person, item) %s
          from %s
          order by person, item, enrolled_at desc
        ) as newest
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_enrolments(v_enrolments);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_enrolments(regclass) is $$
Reads enrolments from a table or view of the application, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `enrolled_at`; optional: `status`
(`active`, `completed`, `dropped`) and `ended_at`.
Unknown people and items are added; rows of people who were erased (`privacy.suppression`) are left out. Of several rows
for one person and item, the latest `enrolled_at` applies. The call can be repeated: unchanged enrolments are not
written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/instructors/sync_item_roles.sql
create or replace function track._store_item_roles(roles jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item_role, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_ended int;
begin
  select given.* into v_bad
  from jsonb_to_recordset(roles) as given (person text, item text, role text)
  where coalesce(length(given.person), 0) not between 1 and 256
    or coalesce(length(given.item), 0) not between 1 and 512
    or coalesce(given.role, '') not in ('instructor', 'assistant', 'author')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the role "%s" of "%s" in "%s" is invalid',
        coalesce(left(v_bad.role, 100), 'null'),
        left(v_bad.person, 100),
        left(v_bad.item, 100)
      ),
      'A role needs a person and an item; it is instructor, assistant or author.'
    );
  end if;

  select given.person into v_bad
  from jsonb_to_recordset(roles) as given (person text)
  where track._names_nobody(given.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('a role of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  -- One call at a time: each ends the roles that its list does not contain.
  perform pg_advisory_xact_lock(hashtext('track.item_role'));

  roles := track._without_suppressed(roles);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct given.person from jsonb_to_recordset(roles) as given (person text)) as named
  having count(*) > 0;

  insert into track.item (external_id)
  select distinct given.item
  from jsonb_to_recordset(roles) as given (item text)
  where not exists (select from track.item where item.external_id = given.item)
  order by given.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and (
        identity.external_id = any (
          array(select distinct given.person from jsonb_to_recordset(roles) as given (person text))
        )
        or identity.identity_id = any (array(select distinct item_role.identity_id from track.item_role))
      )
  ));

  with given as materialized (
    select
      identity.person_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity') as started_at, max(coalesce(given.ended_at, 'infinity')) as ended_at,
      identity.identity_id
    from jsonb_to_recordset(roles) as given (
      person text, item text, role text, started_at timestamptz, ended_at timestamptz
    )
    join track.identity on identity.external_id = given.person and identity.kind = 'user'
    join track.item on item.external_id = given.item
    group by
      identity.person_id, identity.identity_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity')
  ),

  stored as (
    insert into track.item_role (person_id, item_id, role, started_at, ended_at, identity_id)
    select given.person_id, given.item_id, given.role, given.started_at, given.ended_at, given.identity_id
    from given
    on conflict (person_id, item_id, role, identity_id, started_at) do update
    set ended_at = excluded.ended_at
    where item_role.ended_at <> excluded.ended_at
    returning xmax = 0 as is_new
  ),

  ended as (
    update track.item_role
    set ended_at = now()
    where item_role.ended_at > now()
      and not exists (
        select
        from given
        where given.identity_id = item_role.identity_id
          and given.item_id = item_role.item_id
          and given.role = item_role.role
          and given.started_at = item_role.started_at
      )
    returning item_role.item_id
  )

  select
    (select count(*) from stored where is_new),
    (select count(*) from stored where not is_new),
    (select count(*) from ended)
  into v_inserted, v_updated, v_ended;

  return row(
    v_inserted,
    v_updated + v_ended,
    jsonb_array_length(roles) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of a role is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item_role, and texts for person and item.');
end;
$$;

comment on function track._store_item_roles(jsonb) is $$
@behavior -queryField -mutationField
Stores the complete list of `{person, item, role, …}`, as described for `track.sync_item_roles`.
$$;

grant execute on function track._store_item_roles(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_item_roles(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_roles jsonb;
begin
  v_columns := track._columns(source, array['person', 'item', 'role'], array['started_at', 'ended_at']);

  -- The query runs as the caller, and passes its rows to a definer that takes values only.
  execute format(
    $query$
    select coalesce(jsonb_agg(jsonb_build_object(%s)), '[]')
    from (select distinct %s from %s) as role
    $query$,
    (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
    (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
    source
  )
  into v_roles;
  return track._store_item_roles(v_roles);
end;
$$;

comment on function track.sync_item_roles(regclass) is $$
Reads who teaches, assists in or wrote an item from a table or view, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `role` (`instructor`, `assistant`
or `author`); optional: `started_at` and `ended_at`.
The relation is the complete list, one row per period: a period that it does not contain ends now, so that a person who
was removed in the application no longer sees the learners; it is counted as updated. Of several rows with one start,
the latest `ended_at` applies; null: no limit. Unknown people and items are added; rows of people who were erased
(`privacy.suppression`) are left out. The call can be repeated: unchanged roles are not written.
Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_item_roles(regclass) to insights_admin, insights_worker;
--! EndIncluded track/instructors/sync_item_roles.sql

--! Included track/erasure/hold_subject.sql
create or replace function track.hold_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := track.subject(hold_subject.person);
  v_held bigint[];
begin
  for v_attempt in 1 .. 100 loop
    perform track.lock_identities(v_subject.identity_ids);
    v_held := v_subject.identity_ids;
    v_subject := track.subject(hold_subject.person);
    -- Otherwise the person was merged or split before the lock.
    if v_subject.identity_ids <@ v_held then
      return v_subject;
    end if;
  end loop;
  perform common.refuse(
    'serialization_failure', 'the identities were moved to other people concurrently', 'Try again.'
  );
end;
$$;

comment on function track.hold_subject(text) is $$
@behavior -*
Returns the same as `track.subject`, and holds the person.
Until the transaction ends, no other one merges, splits or erases her. Her messages are stored meanwhile. Errors:
CF002 for an unknown name.
$$;
--! EndIncluded track/erasure/hold_subject.sql

--! Included experiment/assignment/_matches.sql
/* PostgreSQL holds no surrogates in text, so the 2,048 last characters of Unicode, for private use, stand for them. */
create or replace function experiment._units(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _units.value !~ '[\U00010000-\U0010ffff]' collate "C" then
    return _units.value;
  end if;
  return (
    select string_agg(experiment._unit(unit.unit), '' order by unit.number)
    from unnest(experiment._code_units(_units.value)) with ordinality as unit (unit, number)
  );
end;
$$;

comment on function experiment._units(text) is $$
Returns a text with a character for each UTF-16 code unit, as a regular expression of JavaScript reads it.
$$;

grant execute on function experiment._units(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit(unit int)
returns text
language sql
immutable
parallel safe
begin atomic
  select chr(case when _unit.unit between 55296 and 57343 then 1056768 + _unit.unit else _unit.unit end);
end;

comment on function experiment._unit(integer) is $$
Returns the character that stands for a UTF-16 code unit.
$$;

grant execute on function experiment._unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * A regular expression of JavaScript compares the code units of the upper case, of those that have one and are not
 * mapped to ASCII. The characters are those of Unicode 17.
 */
create or replace function experiment._cased()
returns text
language sql
immutable
parallel safe
begin atomic
  select 'abcdefghijklmnopqrstuvwxyz'
    'µàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżžƀƃƅƈƌƒƕ'
    'ƙƚƛƞơƣƥƨƭưƴƶƹƽƿǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟȣȥȧȩȫȭȯȱȳȼȿɀɂɇɉɋɍɏɐɑɒɓɔɖɗəɛɜɠɡɣɤɥɦɨɩɪɫ'
    'ɬɯɱɲɵɽʀʂʃʇʈʉʊʋʌʒʝʞͅͱͳͷͻͼͽάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϲϳϵϸϻабвгдежзийклмнопр'
    'стуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱ'
    'ӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხ'
    'ჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿᏸᏹᏺᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲈᲊᵹᵽᶎḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃ'
    'ẅẇẉẋẍẏẑẓẕẛạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡ'
    'ὢὣὤὥὦὧὰάὲέὴήὶίὸόὺύὼώᾰᾱιῐῑῠῡῥⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋ'
    'ⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱥⱦⱨⱪⱬⱳⱶⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒ'
    'ⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼꝿꞁ'
    'ꞃꞅꞇꞌꞑꞓꞔꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞵꞷꞹꞻꞽꞿꟁꟃꟈꟊꟍ꟏ꟑꟓꟕꟗꟙꟛꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮ'
    'ꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ';
end;

comment on function experiment._cased() is $$
Returns the characters that a case-insensitive regular expression of JavaScript maps to others.
$$;

grant execute on function experiment._cased()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_upper constant text :=
    'ΜÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŸĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŹŻŽɃƂƄƇƋƑǶ'
    'ƘȽꟜȠƠƢƤƧƬƯƳƵƸƼǷǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȢȤȦȨȪȬȮȰȲȻⱾⱿɁɆɈɊɌɎⱯⱭⱰƁƆƉƊƏƐꞫƓꞬƔꟋꞍꞪƗƖꞮⱢ'
    'ꞭƜⱮƝƟⱤƦꟅƩꞱƮɄƱƲɅƷꞲꞰΙͰͲͶϽϾϿΆΈΉΊΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡϹͿΕϷϺАБВГДЕЖЗИЙКЛМНОПР'
    'СТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰ'
    'ӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮ'
    'ᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿᏰᏱᏲᏳᏴᏵВДОСТТЪѢꙊᲉꝽⱣꟆḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂ'
    'ẄẆẈẊẌẎẐẒẔṠẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩ'
    'ὪὫὬὭὮὯᾺΆῈΈῊΉῚΊῸΌῪΎῺΏᾸᾹΙῘῙῨῩῬℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛ'
    'ⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠȺȾⱧⱩⱫⱲⱵⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲ'
    'ႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝾꞀ'
    'ꞂꞄꞆꞋꞐꞒꟄꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞴꞶꞸꞺꞼꞾꟀꟂꟇꟉꟌ꟎Ꟑ꟒꟔ꟖꟘꟚꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞ'
    'ᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ';
begin
  if octet_length(_canonical.value) = length(_canonical.value) then
    return upper(_canonical.value collate "C");
  end if;
  return translate(upper(_canonical.value collate "C"), substr(experiment._cased(), 27), v_upper);
end;
$$;

comment on function experiment._canonical(text) is $$
Returns a text as a case-insensitive regular expression of JavaScript compares it.
$$;

grant execute on function experiment._canonical(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._one_unit(unit int)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select int4multirange(int4range(_one_unit.unit, _one_unit.unit, '[]'));
end;

comment on function experiment._one_unit(integer) is $$
Returns a set of one code unit.
$$;

grant execute on function experiment._one_unit(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_number(letter text)
returns int
language sql
immutable
parallel safe
begin atomic
  select case when ascii(_unit_number.letter) < 65536 then 0 else -1056768 end + ascii(_unit_number.letter);
end;

comment on function experiment._unit_number(text) is $$
Returns the UTF-16 code unit for which a character stands.
$$;

grant execute on function experiment._unit_number(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._unit_class(letter text)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select case
    when _unit_class.letter in ('D', 'W', 'S', '.') then '{[0,65536)}'::int4multirange
    else '{}'::int4multirange
  end + case when _unit_class.letter in ('d', 'w', 's') then class.units else '{}' end
  - case when _unit_class.letter in ('D', 'W', 'S', '.') then class.units else '{}' end
  from (
    values
      ('d', '{[48,58)}'::int4multirange),
      ('w', '{[48,58),[65,91),[95,96),[97,123)}'),
      (
        's',
        '{[9,14),[32,33),[160,161),[5760,5761),[8192,8203),[8232,8234),[8239,8240),[8287,8288),[12288,12289),'
          '[65279,65280)}'
      ),
      ('.', '{[10,11),[13,14),[8232,8234)}')
  ) as class (letter, units)
  where class.letter = lower(_unit_class.letter);
end;

comment on function experiment._unit_class(text) is $$
Returns the code units of a class escape of JavaScript, such as `\d`, or of the full stop; null for another letter.
$$;

grant execute on function experiment._unit_class(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._canonical_units(units int4multirange)
returns int4multirange
language sql
immutable
parallel safe
begin atomic
  select _canonical_units.units + coalesce(
    case
      when upper(_canonical_units.units) <= 128 then (
        select range_agg(int4range(letter - 32, letter - 32, '[]'))
        from generate_series(97, 122) as letter
        where letter <@ _canonical_units.units
      )
      else (
        select range_agg(int4range(ascii(mapped.value), ascii(mapped.value), '[]'))
        from unnest(
          string_to_array(experiment._cased(), null),
          string_to_array(experiment._canonical(experiment._cased()), null)
        ) as mapped (letter, value)
        where ascii(mapped.letter) <@ _canonical_units.units
      )
    end,
    '{}'
  );
end;

comment on function experiment._canonical_units(int4multirange) is $$
Returns code units and those to which a case-insensitive regular expression of JavaScript maps them.
$$;

grant execute on function experiment._canonical_units(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._bracket(units int4multirange)
returns text
language sql
immutable
parallel safe
begin atomic
  -- U+0000 is in no text; the surrogates are the characters that stand for them.
  select case
    when bracket.members is null then '[^\u0001-\U0010ffff]'
    else '[' || bracket.members || ']'
  end
  from (
    select string_agg(
      '\U' || lpad(to_hex(part.low), 8, '0') || '-\U' || lpad(to_hex(part.high), 8, '0'), '' order by part.low
    ) as members
    from (
      select lower(range.range) as low, upper(range.range) - 1 as high
      from unnest(_bracket.units * '{[1,55296),[57344,65536)}'::int4multirange) as range (range)
      union all
      select lower(range.range) + 1056768, upper(range.range) - 1 + 1056768
      from unnest(_bracket.units * '{[55296,57344)}'::int4multirange) as range (range)
    ) as part
  ) as bracket;
end;

comment on function experiment._bracket(int4multirange) is $$
Returns the bracket expression of PostgreSQL for a set of code units.
$$;

grant execute on function experiment._bracket(int4multirange)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_escape(rest text, in_class boolean, out unit int, out length int)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_letter text := substr(_regex_escape.rest, 2, 1);
  v_hex text := coalesce(
    (regexp_match(_regex_escape.rest, '^\\x([0-9a-fA-F]{2})'))[1],
    (regexp_match(_regex_escape.rest, '^\\u([0-9a-fA-F]{4})'))[1]
  );
begin
  if v_hex is not null then
    _regex_escape.unit := experiment._js_number(to_jsonb('0x' || v_hex));
    _regex_escape.length := 2 + length(v_hex);
  elsif _regex_escape.rest ~ '^\\c[A-Za-z]' or _regex_escape.in_class and _regex_escape.rest ~ '^\\c[0-9_]' then
    _regex_escape.unit := ascii(substr(_regex_escape.rest, 3, 1)) % 32;
    _regex_escape.length := 3;
  elsif v_letter = 'c' then
    _regex_escape.unit := 92;
    _regex_escape.length := 1;
  else
    _regex_escape.unit := case v_letter
      when '0' then 0
      when 't' then 9
      when 'n' then 10
      when 'v' then 11
      when 'f' then 12
      when 'r' then 13
      else case when v_letter = 'b' and _regex_escape.in_class then 8 else experiment._unit_number(v_letter) end
    end;
    _regex_escape.length := 2;
  end if;
end;
$$;

comment on function experiment._regex_escape(text, boolean) is $$
Returns the code unit of an escape of JavaScript at the start of a text, and the length of the escape.
$$;

grant execute on function experiment._regex_escape(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._refuse_regex(pattern text, problem text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case
      when _refuse_regex.problem like 'has more%' or _refuse_regex.problem like 'is too%' then 'CF008'
      else 'CF009'
    end,
    format('the regular expression "%s" %s', left(_refuse_regex.pattern, 100), left(_refuse_regex.problem, 100)),
    'Write it without, such as with several conditions.'
  );
end;
$$;

comment on function experiment._refuse_regex(text, text) is $$
Raises CF008 or CF009 for a regular expression that the database does not evaluate.
$$;

grant execute on function experiment._refuse_regex(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regex_class(
  pattern text,
  class text,
  insensitive boolean,
  out units int4multirange,
  out length int
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_negated boolean := starts_with(_regex_class.class, '[^');
  v_at int := case when v_is_negated then 3 else 2 end;
  v_rest text;
  v_low int;
  v_pending boolean := false;
  v_member int4multirange;
  v_unit int;
  v_step int;
begin
  if length(_regex_class.class) > 1000 then
    perform experiment._refuse_regex(_regex_class.pattern, 'is too long');
  end if;
  _regex_class.units := '{}';
  loop
    v_rest := substr(_regex_class.class, v_at, 8);
    if v_rest = '' then
      -- The class does not end.
      _regex_class.units := null;
      return;
    end if;
    exit when starts_with(v_rest, ']');
    if v_rest ~ '^\\[0-9]' and v_rest !~ '^\\0([^0-9]|$)' then
      perform experiment._refuse_regex(_regex_class.pattern, 'refers back to a group or has an octal number');
    end if;
    v_member := null;
    if starts_with(v_rest, '\') then
      if v_rest = '\' then
        _regex_class.units := null;
        return;
      end if;
      v_member := case when v_rest !~ '^\\\.' then experiment._unit_class(substr(v_rest, 2, 1)) end;
      if v_member is null then
        select escape.unit, escape.length into v_unit, v_step from experiment._regex_escape(v_rest, true) as escape;
      else
        v_step := 2;
      end if;
    else
      v_unit := experiment._unit_number(left(v_rest, 1));
      v_step := 1;
    end if;
    v_at := v_at + v_step;
    -- A range follows unless the hyphen is the last of the class.
    if v_pending then
      if v_low is null or v_member is not null then
        _regex_class.units := _regex_class.units + experiment._one_unit(45);
        _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      elsif v_unit < v_low then
        _regex_class.units := null;
        return;
      else
        _regex_class.units := _regex_class.units + int4multirange(int4range(v_low, v_unit, '[]'));
      end if;
      v_pending := false;
      v_low := null;
    else
      v_low := case when v_member is null then v_unit end;
      _regex_class.units := _regex_class.units + coalesce(v_member, experiment._one_unit(v_unit));
      if substr(_regex_class.class, v_at, 1) = '-' and substr(_regex_class.class, v_at + 1, 1) not in ('', ']') then
        v_pending := true;
        v_at := v_at + 1;
      end if;
    end if;
  end loop;
  _regex_class.length := v_at;
  if _regex_class.insensitive then
    _regex_class.units := experiment._canonical_units(_regex_class.units);
  end if;
  if v_is_negated then
    _regex_class.units := int4multirange(int4range(0, 65536)) - _regex_class.units;
  end if;
end;
$$;

comment on function experiment._regex_class(text, text, boolean) is $$
Returns the code units of a class such as `[a-z]` at the start of a text, and its length; no units if it is not valid.
$$;

grant execute on function experiment._regex_class(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

/*
 * One pass over the characters of the pattern. The stack holds the kinds of the open groups and where they start in the
 * result. A quantifier does not repeat an assertion: it removes it or leaves it.
 */
create or replace function experiment._regex(pattern text, insensitive boolean)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pattern text := experiment._units(_regex.pattern);
  v_length int := length(v_pattern);
  v_at int := 1;
  v_result text := '';
  v_stack text[] := '{}';
  v_names text[] := '{}';
  v_starts int[] := '{}';
  v_sizes int[] := '{}';
  v_size int := 0;
  v_part int;
  v_start int;
  v_kind text := 'none';
  v_letter text;
  v_rest text;
  v_parts text[];
  v_unit int;
  v_units int4multirange;
begin
  if v_length > 1000 then
    perform experiment._refuse_regex(_regex.pattern, 'has more than 1000 characters');
  end if;
  while v_at <= v_length loop
    v_letter := substr(v_pattern, v_at, 1);
    v_rest := substr(v_pattern, v_at, 300);
    v_parts := null;
    v_units := null;
    if v_letter ~ '[A-Za-z0-9_ ]' then
      v_start := length(v_result);
      v_result := v_result || case when _regex.insensitive then upper(v_letter collate "C") else v_letter end;
      v_kind := 'atom';
      v_part := 1;
      v_size := v_size + 1;
      v_at := v_at + 1;
    elsif v_letter in ('^', '$', '|') then
      v_result := v_result || v_letter;
      v_kind := 'none';
      v_at := v_at + 1;
    elsif v_letter = '(' then
      v_parts := regexp_match(v_rest, '^\((\?(?:[:=!]|<[=!]|<[A-Za-z_$][A-Za-z0-9_$]*>))?');
      if v_parts[1] is null and v_rest ~ '^\(\?[ims-]*:' then
        perform experiment._refuse_regex(_regex.pattern, 'changes its flags within');
      elsif v_parts[1] is null and starts_with(v_rest, '(?<') and v_rest ~ '^\(\?<[^>]*[^[:ascii:]]' then
        perform experiment._refuse_regex(_regex.pattern, 'names a group in other than ASCII letters');
      elsif v_parts[1] is null and starts_with(v_rest, '(?') then
        return null;
      end if;
      if v_parts[1] = any (v_names) and v_parts[1] like '?<%>' then
        perform experiment._refuse_regex(_regex.pattern, 'names two groups alike');
      end if;
      v_names := v_names || v_parts[1];
      v_stack := v_stack || coalesce(v_parts[1], '');
      v_starts := v_starts || length(v_result);
      v_sizes := v_sizes || v_size;
      v_size := 0;
      v_result := v_result || case
        when v_parts[1] in ('?=', '?!', '?<=', '?<!') then '(' || v_parts[1]
        else '(?:'
      end;
      v_kind := 'none';
      v_at := v_at + 1 + coalesce(length(v_parts[1]), 0);
    elsif v_letter = ')' then
      if cardinality(v_stack) = 0 then
        return null;
      end if;
      v_result := v_result || ')';
      v_start := v_starts[cardinality(v_starts)];
      v_kind := case
        when v_stack[cardinality(v_stack)] in ('?=', '?!') then 'assertion'
        when v_stack[cardinality(v_stack)] in ('?<=', '?<!') then 'none'
        else 'atom'
      end;
      v_part := v_size;
      v_size := v_size + v_sizes[cardinality(v_sizes)];
      v_sizes := trim_array(v_sizes, 1);
      v_stack := trim_array(v_stack, 1);
      v_starts := trim_array(v_starts, 1);
      v_at := v_at + 1;
    elsif v_letter in ('*', '+', '?') or v_letter = '{' and v_rest ~ '^\{[0-9]+(,[0-9]*)?\}' then
      if v_kind = 'none' then
        return null;
      end if;
      v_parts := regexp_match(v_rest, '^([*+?]|\{([0-9]+)(,?)([0-9]*)\})(\??)');
      if v_letter = '{' then
        v_parts[2] := coalesce(nullif(ltrim(v_parts[2], '0'), ''), '0');
        v_parts[4] := case when v_parts[4] <> '' then coalesce(nullif(ltrim(v_parts[4], '0'), ''), '0') end;
        if v_parts[2]::numeric > v_parts[4]::numeric then
          return null;
        elsif greatest(v_parts[2]::numeric, v_parts[4]::numeric) > 255 then
          perform experiment._refuse_regex(_regex.pattern, 'repeats more than 255 times');
        end if;
        -- Each repetition is a copy in the automaton.
        v_size := v_size + v_part * (greatest(v_parts[2]::int, v_parts[4]::int, 1) - 1);
        if v_size > 2000 then
          perform experiment._refuse_regex(_regex.pattern, 'is too complex with its repetitions');
        end if;
      end if;
      if v_kind = 'atom' then
        v_result := v_result || case
          when v_letter <> '{' then v_letter
          else '{' || v_parts[2] || v_parts[3] || coalesce(v_parts[4], '') || '}'
        end;
      elsif v_letter in ('*', '?') or v_letter = '{' and v_parts[2] = '0' then
        v_result := left(v_result, v_start);
      end if;
      v_kind := 'none';
      v_at := v_at + length(v_parts[1]) + length(v_parts[5]);
    elsif v_letter = '\' and v_rest ~ '^\\[bB]' then
      -- The same assertion twice is one; PostgreSQL's automaton would double with each.
      v_letter := case when substr(v_rest, 2, 1) = 'b' then '\y' else '\Y' end;
      if right(v_result, 2) <> v_letter then
        v_result := v_result || v_letter;
      end if;
      v_kind := 'none';
      v_at := v_at + 2;
    elsif v_letter = '\' and v_rest ~ '^\\(?:[1-9]|0[0-9])' or v_rest ~ '^\\k' and v_pattern ~ '\(\?<[A-Za-z_$]' then
      perform experiment._refuse_regex(_regex.pattern, 'refers back to a group or has an octal number');
    else
      if v_letter = '[' then
        select class.units, v_at + class.length into v_units, v_at
        from experiment._regex_class(_regex.pattern, substr(v_pattern, v_at), _regex.insensitive) as class;
        if v_units is null then
          return null;
        end if;
      elsif v_letter = '.' then
        v_units := experiment._unit_class('.');
        v_at := v_at + 1;
      elsif v_letter = '\' then
        if v_length = v_at then
          return null;
        end if;
        v_units := experiment._unit_class(substr(v_rest, 2, 1));
        if v_units is null or v_rest ~ '^\\\.' then
          select escape.unit, v_at + escape.length into v_unit, v_at
          from experiment._regex_escape(v_rest, false) as escape;
          v_units := experiment._one_unit(case
            when _regex.insensitive and v_unit > 0
              then experiment._unit_number(experiment._canonical(experiment._unit(v_unit)))
            else v_unit
          end);
        else
          v_at := v_at + 2;
        end if;
      else
        v_units := experiment._one_unit(experiment._unit_number(
          case when _regex.insensitive then experiment._canonical(v_letter) else v_letter end
        ));
        v_at := v_at + 1;
      end if;
      v_result := v_result || experiment._bracket(v_units);
      v_kind := 'atom';
      v_part := 1;
      v_size := v_size + 1;
    end if;
  end loop;
  return case when cardinality(v_stack) = 0 then v_result end;
end;
$$;

comment on function experiment._regex(text, boolean) is $$
Returns a regular expression of PostgreSQL that matches as one of JavaScript, null if JavaScript does not accept it.
Both are without captures, and the subject has a character for each code unit (`experiment._units`), in upper case if
the match is insensitive (`experiment._canonical`). Raises CF009 for references back to a group, octal numbers, more
than 255 repetitions, changes of flags and two groups of one name, CF008 for more than 1,000 characters and for
repetitions of repetitions that come to more than 2,000 parts.
$$;

grant execute on function experiment._regex(text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._matches(value text, pattern text, insensitive boolean)
returns boolean
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_regex text;
  v_value text;
begin
  if length(_matches.pattern) > 1000 then
    perform experiment._refuse_regex(_matches.pattern, 'has more than 1000 characters');
  end if;
  -- A pattern of plain characters needs no translation.
  if not _matches.insensitive and _matches.pattern ~ '^\^?[A-Za-z0-9 _/@:;,&=%#-]*\$?$' then
    return _matches.value ~ _matches.pattern collate "C";
  end if;
  v_regex := experiment._regex(_matches.pattern, _matches.insensitive);
  if v_regex is null then
    return false;
  end if;
  -- An assertion is evaluated at each position, up to the end of the text.
  if length(_matches.value) > 10000 and v_regex ~ '\(\?<?[=!]' then
    perform experiment._refuse_regex(
      _matches.pattern, 'is too complex with its assertions for a text of more than 10000 characters'
    );
  end if;
  v_value := experiment._units(_matches.value);
  if _matches.insensitive then
    v_value := experiment._canonical(v_value);
  end if;
  return v_value ~ v_regex collate "C";
end;
$$;

comment on function experiment._matches(text, text, boolean) is $$
Returns whether a text matches a regular expression of JavaScript; one that JavaScript does not accept matches nothing.
PostgreSQL's automata need no backtracking: the work grows with the length of the text, and with its square if the
expression has an assertion such as `(?=…)`, so that such a text may have 10,000 characters (CF008).
$$;

grant execute on function experiment._matches(text, text, boolean)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/assignment/_matches.sql

--! Included experiment/design/_definition_fields.sql
create or replace function experiment._definition_fields()
returns table (
  name text, type text, lowest numeric, highest numeric, choices text[], default_value jsonb
)
language sql
immutable
parallel safe
begin atomic
  select field.name, field.type, field.lowest, field.highest, field.choices, field.default_value::jsonb
  from (
    values
      ('key', 'string', null::numeric, null::numeric, null::text[], null),
      ('name', 'string', 1, 200, null, null),
      ('hypothesis', 'string', 1, 10000, null, null),
      ('feature', 'string', 1, 100, null, null),
      ('placement', 'string', 1, 100, null, null),
      ('variations', 'array', 2, 50, null, null),
      ('weights', 'array', 2, 50, null, null),
      ('coverage', 'number', 0.0001, 1, null, '1'),
      ('hash_attribute', 'string', 1, 100, null, '"id"'),
      ('fallback_attribute', 'string', 1, 100, null, null),
      ('hash_version', 'integer', 1, 2, null, '2'),
      ('seed', 'string', 1, 200, null, null),
      ('layer', 'string', 1, 63, null, null),
      ('layer_from', 'number', 0, 1, null, null),
      ('layer_until', 'number', 0, 1, null, null),
      ('holdout', 'string', 1, 63, null, null),
      ('condition', 'object', null, null, null, null),
      ('parent_conditions', 'array', 0, 20, null, null),
      ('is_sticky', 'boolean', null, null, null, 'false'),
      ('bucket_version', 'integer', 0, 1000000, null, '0'),
      ('min_bucket_version', 'integer', 0, 1000000, null, '0'),
      ('population', 'string', 1, 100, null, '"counted"'),
      ('strata', 'string', 1, 110, null, null),
      ('test', 'string', null, null, array['welch', 'sequential', 'bayesian'], '"sequential"'),
      ('alpha', 'number', 0.000001, 0.4999, null, '0.05'),
      ('tuning', 'number', 1, 1000000000, null, '5000'),
      ('correction', 'string', null, null, array['none', 'holm', 'benjamini_hochberg'], '"none"'),
      ('before_period', 'interval', 0, null, null, '"14 days"'),
      ('planned_people', 'integer', 1, 2000000000, null, null),
      ('minimum_duration', 'interval', 0, null, null, '"7 days"'),
      ('maximum_duration', 'interval', 1, null, null, null),
      ('is_decided_automatically', 'boolean', null, null, null, 'false'),
      ('bandit', 'string', null, null, array['thompson', 'top_two'], null),
      ('minimum_weight', 'number', 0, 0.5, null, '0.01'),
      ('update_interval', 'interval', 60, null, null, '"1 day"'),
      ('goals', 'array', 0, 20, null, null),
      ('secondary', 'array', 0, 50, null, null),
      ('guardrails', 'array', 0, 20, null, null)
  ) as field (name, type, lowest, highest, choices, default_value);
end;

comment on function experiment._definition_fields() is $$
@behavior -*
Returns the fields of the definition of an experiment.
Each with its type, the range of its number, length or seconds, its choices and its default.
$$;
--! EndIncluded experiment/design/_definition_fields.sql

--! Included experiment/design/_read_fields.sql
create or replace function experiment._read_fields(definition jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_names constant text[] := array(select field.name from experiment._definition_fields() as field);
  v_result jsonb := '{}';
  v_field record;
  v_value jsonb;
  v_size numeric;
  v_interval interval;
  v_unknown text;
begin
  if jsonb_typeof(_read_fields.definition) is distinct from 'object' then
    perform common.refuse('CF001', 'the definition of an experiment is not a JSON object',
      'Give an object with key, name, variations and goals.');
  elsif octet_length(_read_fields.definition::text) > 200000 then
    perform common.refuse('CF008', 'the definition of an experiment has more than 200,000 bytes', 'Make it smaller.');
  end if;
  select entry.key into v_unknown
  from jsonb_object_keys(_read_fields.definition) as entry (key)
  where entry.key <> all (v_names)
  order by entry.key
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('an experiment has no field "%s"', left(v_unknown, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_unknown, v_names) || '"?',
        'The fields are those of experiment.definition.')
    );
  end if;

  for v_field in select field.* from experiment._definition_fields() as field loop
    v_value := coalesce(nullif(_read_fields.definition -> v_field.name, 'null'), v_field.default_value);
    -- An empty list is the same as none.
    continue when v_value is null or v_field.type = 'array' and v_field.lowest = 0 and v_value = '[]';
    if jsonb_typeof(v_value) <> (
      case v_field.type when 'integer' then 'number' when 'interval' then 'string' else v_field.type end
    ) then
      perform experiment._refuse_field(v_field.name, v_value, format('Give %s %s.',
        case when v_field.type in ('array', 'object', 'integer', 'interval') then 'an' else 'a' end, v_field.type));
    end if;

    if v_field.type = 'interval' then
      begin
        v_interval := (v_value #>> '{}')::interval;
        if not (v_interval >= make_interval(secs => v_field.lowest::float8) and v_interval <= '10 years') then
          v_interval := null;
        end if;
      exception when data_exception or program_limit_exceeded then
        v_interval := null;
      end;
      if v_interval is null then
        perform experiment._refuse_field(v_field.name, v_value, format(
          'Give a duration from %s to 10 years, such as "14 days".',
          make_interval(secs => v_field.lowest::float8)
        ));
      end if;
      v_value := to_jsonb(v_interval::text);
    elsif v_field.choices is not null then
      if v_value #>> '{}' <> all (v_field.choices) then
        perform experiment._refuse_field(v_field.name, v_value, coalesce(
          'Did you mean "' || common.nearest_name(v_value #>> '{}', v_field.choices) || '"?',
          'Use ' || array_to_string(v_field.choices, ', ') || '.'
        ));
      end if;
    elsif v_field.lowest is not null then
      v_size := case v_field.type
        when 'string' then length(btrim(v_value #>> '{}'))
        when 'array' then jsonb_array_length(v_value)
        else (v_value #>> '{}')::numeric
      end;
      if not v_size between v_field.lowest and v_field.highest
        or v_field.type = 'integer' and v_size <> trunc(v_size)
      then
        perform experiment._refuse_field(v_field.name, v_value, format(
          case v_field.type
            when 'string' then 'Give from %s to %s characters.'
            when 'array' then 'Give a list of %s to %s elements.'
            when 'integer' then 'Give a whole number from %s to %s.'
            else 'Give a number from %s to %s.'
          end,
          v_field.lowest, v_field.highest
        ));
      end if;
      v_value := case v_field.type
        when 'integer' then to_jsonb(v_size::int)
        when 'number' then to_jsonb(experiment._double_of(v_size))
        else v_value
      end;
    end if;
    v_result := v_result || jsonb_build_object(v_field.name, v_value);
  end loop;
  return v_result;
end;
$$;

comment on function experiment._read_fields(jsonb) is $$
@behavior -*
Returns the fields of the definition of an experiment with their defaults, each checked by itself.
Errors: CF001 for an unknown field (names the nearest) and for a value of another type or outside its range, CF008.
$$;
--! EndIncluded experiment/design/_read_fields.sql

--! Included experiment/design/_assign.sql
create or replace function experiment._assign_by(
  experiment experiment.experiment,
  rule jsonb,
  payload jsonb
)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result constant jsonb := experiment.run(_assign_by.payload, _assign_by.rule) - 'stickyBucketAssignmentDocs';
begin
  if (_assign_by.experiment).state <> 'shipped' then
    return v_result;
  end if;
  return (
    select
      v_result || jsonb_build_object(
        'variationId', known.variation, 'key', known.variation_key, 'name', known.name, 'value', known.value
      )
    from experiment.variation as known
    where known.experiment_id = (_assign_by.experiment).experiment_id
      and known.variation = (_assign_by.experiment).shipped_variation
  );
end;
$$;

comment on function experiment._assign_by(experiment.experiment, jsonb, jsonb) is $$
@behavior -*
Returns the assignment by a rule (`experiment._active_rule`) of the person of a payload.
$$;

grant execute on function experiment._assign_by(experiment.experiment, jsonb, jsonb) to insights_reader;

create or replace function experiment._active_rule(experiment experiment.experiment)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment._rule(_active_rule.experiment)
    || case when (_active_rule.experiment).state = 'running' then '{}' else '{"active": false}'::jsonb end;
end;
$$;

comment on function experiment._active_rule(experiment.experiment) is $$
@behavior -*
Returns an experiment in GrowthBook's form; no person is in one that is not running.
$$;

grant execute on function experiment._active_rule(experiment.experiment) to insights_reader;

create or replace function experiment._assign(
  experiment experiment.experiment,
  person_id bigint,
  attributes jsonb
)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment._assign_by(
    _assign.experiment,
    experiment._active_rule(_assign.experiment),
    experiment._payload(
      case when (_assign.experiment).is_sticky then _assign.person_id end,
      _assign.attributes,
      (_assign.experiment).parent_conditions is not null
    )
  );
end;
$$;

comment on function experiment._assign(experiment.experiment, bigint, jsonb) is $$
@behavior -*
Returns the assignment of a person to an experiment: the result of GrowthBook's clients.
No person is in an experiment that is not running; of a shipped one, all people have its variation.
$$;

grant execute on function experiment._assign(experiment.experiment, bigint, jsonb) to insights_reader;
--! EndIncluded experiment/design/_assign.sql

--! Included experiment/design/assign_all.sql
/* A definer owned by insights_reader: servers query any person without privileges on the tables. It logs the reads. */
create or replace function experiment.assign_all(experiment text, people text[], attributes jsonb default null)
returns setof experiment.assignment
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(assign_all.experiment);
  v_rule constant jsonb := experiment._active_rule(v_experiment);
  -- The parts that are equal for all people are computed once.
  v_payload constant jsonb := experiment._payload(null, '{}', v_experiment.parent_conditions is not null);
  v_person_ids bigint[];
  v_attributes jsonb[];
begin
  if assign_all.people is null or array_ndims(assign_all.people) > 1 then
    perform common.refuse(
      'CF001', 'people is ' || case when assign_all.people is null then 'null' else 'an array of arrays' end,
      'Give an array of at most 10,000 names.'
    );
  elsif cardinality(assign_all.people) > 10000 then
    perform common.refuse(
      'CF008', format('there are %s people', cardinality(assign_all.people)), 'Give at most 10,000 at a time.'
    );
  end if;
  select
    coalesce(array_agg(known.person_id order by entry.place), '{}'),
    coalesce(array_agg(known.attributes order by entry.place), '{}')
  into v_person_ids, v_attributes
  from unnest(assign_all.people) with ordinality as entry (person, place)
  cross join lateral experiment._named_attributes(entry.person, assign_all.attributes) as known;
  perform privacy.record_disclosure(v_person_ids, 'experiment.assign_all');

  return query
  select
    entry.person,
    experiment._assign_by(
      v_experiment,
      v_rule,
      v_payload || jsonb_build_object('attributes', entry.attributes) || case
        when v_experiment.is_sticky then jsonb_build_object(
          'stickyBucketAssignmentDocs',
          experiment._payload(entry.person_id, entry.attributes, false) -> 'stickyBucketAssignmentDocs'
        )
        else '{}'
      end
    )
  from unnest(assign_all.people, v_person_ids, v_attributes) with ordinality
    as entry (person, person_id, attributes, place)
  order by entry.place;
end;
$$;

alter function experiment.assign_all(text, text[], jsonb) owner to insights_reader;

comment on function experiment.assign_all(text, text[], jsonb) is $$
@behavior -mutationField +queryField
Returns the variations of several people in an experiment, in the order of their names.
Each is that of `experiment.assign`, with the same `attributes` of the request. It writes nothing. At most 10,000
people.
The reads of an administrator are logged: see `privacy.disclosure`.
Errors: CF001 for people that are null and for an empty name, CF002 for an unknown experiment (names the nearest), CF008
for too many people and too long attributes, CF005 in a read-only transaction.
$$;

grant execute on function experiment.assign_all(text, text[], jsonb) to insights_admin, insights_worker;
--! EndIncluded experiment/design/assign_all.sql

--! Included experiment/exposure/_outcomes.sql
/*
 * Counts of events come from the journeys (`track.step`), whose times are sorted arrays; values, filters and items from
 * the events themselves. The statement of an experiment has one sum per outcome and period: a join with the outcomes,
 * and arrays that are put together from its rows, would take several times as long.
 */
create or replace function experiment._outcomes(exposures experiment.exposure[], slots experiment.slot[])
returns setof experiment.exposure
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set work_mem to '64MB'
set max_parallel_workers_per_gather to 0
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_experiment_id int;
  v_exposures experiment.exposure[];
  v_slots experiment.slot[];
  v_stepped text;
  v_found text;
  v_outcomes text;
  v_outcomes_before text;
begin
  for v_experiment_id, v_exposures in
    select exposed.experiment_id, array_agg(exposed)
    from unnest(exposures) as exposed
    group by exposed.experiment_id
  loop
    v_slots := array(
      select slot from unnest(slots) as slot where slot.experiment_id = v_experiment_id order by slot.place
    );

    -- The times of an array that are earlier than t are those up to t - 1 microsecond.
    select string_agg(
      format(
        'sum('
        'width_bucket(greatest(%3$s, least(%4$s, $5)) - interval ''1 microsecond'', step.occurred_at)'
        ' - width_bucket(%3$s - interval ''1 microsecond'', step.occurred_at)'
        ') filter (where step.event_type_id in (%2$s)) as y%1$s, '
        'sum('
        'width_bucket(exposed.exposed_at - interval ''1 microsecond'', step.occurred_at)'
        ' - width_bucket(exposed.exposed_at - %5$L::interval - interval ''1 microsecond'', step.occurred_at)'
        ') filter (where step.event_type_id in (%2$s)) as x%1$s',
        slot.place,
        array_to_string(slot.event_type_ids, ', '),
        format('exposed.exposed_at + %L::interval', slot.delay),
        format('exposed.exposed_at + %L::interval + %L::interval', slot.delay, slot.period),
        slot.before_period
      ),
      ', '
    )
    into v_stepped
    from unnest(v_slots) as slot
    where slot.is_stepped;

    select string_agg(
      format(
        '%2$s(%3$s) filter (where %4$s) as y%1$s, %2$s(%3$s) filter (where %5$s) as x%1$s',
        slot.place, case when slot.reading = 'sum' then 'sum' else 'count' end, experiment._event_figure(slot),
        experiment._event_filter(slot, false), experiment._event_filter(slot, true)
      ),
      ', '
    )
    into v_found
    from unnest(v_slots) as slot
    where not slot.is_stepped;

    select
      coalesce(string_agg(format(outcome.text, 'y'), ', ' order by outcome.place), ''),
      coalesce(string_agg(format(outcome.text, 'x'), ', ' order by outcome.place), '')
    into v_outcomes, v_outcomes_before
    from (
      select
        slot.place,
        format(
          'least(coalesce(%s.%%s%s, 0)::numeric, %L::numeric)',
          case when slot.is_stepped then 'stepped' else 'found' end, slot.place,
          case when slot.reading = 'any' then 1 else slot.cap end
        ) as text
      from unnest(v_slots) as slot
    ) as outcome;

    return query execute
      'with exposed as materialized (select exposed.* from unnest($1) as exposed)'
      || experiment._filter_relations(v_slots)
      || coalesce(
        ', stepped as ('
        'select step.person_id, ' || v_stepped || ' from track.step join exposed using (person_id)'
        ' where step.person_id = any ($2) and step.event_type_id = any ($3) group by step.person_id'
        ')',
        ''
      )
      || coalesce(
        ', found as ('
        'select event.person_id, ' || v_found || ' from track.event join exposed using (person_id)'
        ' where event.person_id = any ($2) and event.occurred_at >= $6 and event.occurred_at < $5'
        ' and (event.event_type_id = any ($4) or event.named_event_type_id = any ($4)) group by event.person_id'
        ')',
        ''
      )
      || ' select exposed.person_id, exposed.experiment_id, exposed.variation, exposed.exposed_at,'
      ' exposed.exposed_on, exposed.is_counted, exposed.stratum, exposed.probability,'
      ' array[' || v_outcomes || ']::numeric[], array[' || v_outcomes_before || ']::numeric[]'
      ' from exposed'
      || case when v_stepped is null then '' else ' left join stepped using (person_id)' end
      || case when v_found is null then '' else ' left join found using (person_id)' end
    using
      v_exposures,
      array(select exposed.person_id from unnest(v_exposures) as exposed order by exposed.person_id),
      array(select distinct unnest(slot.event_type_ids) from unnest(v_slots) as slot where slot.is_stepped),
      array(select distinct unnest(slot.event_type_ids) from unnest(v_slots) as slot where not slot.is_stepped),
      v_slots[1].ends_at,
      (select min(exposed.exposed_at) from unnest(v_exposures) as exposed) - v_slots[1].before_period;
  end loop;
end;
$$;

comment on function experiment._outcomes(experiment.exposure[], experiment.slot[]) is $$
Returns exposures with the outcomes of the slots, computed from the events of the people.
$$;
--! EndIncluded experiment/exposure/_outcomes.sql

--! Included experiment/results/_complete_until.sql
create or replace function experiment._last_complete_day(delay interval, period interval, ends_at timestamptz)
returns date
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- A day has 24 hours.
set timezone to 'UTC'
as $$
  select max(day.day)
  from (
    select ($3 - $1 - coalesce($2, '0'))::date + shift as day
    from generate_series(-10, 10) as shift
  ) as day
  cross join lateral (
    select (day.day + 1)::timestamptz - interval '1 microsecond' + $1 as until
  ) as delayed
  -- A month later, the evening of the 30th of January is later than the morning of the 31st: both are the 28th of
  -- February. The latest time is that of the last moment, or of the end of the day before it.
  where greatest(
    delayed.until + coalesce($2, '0'),
    date_trunc('day', delayed.until) - interval '1 microsecond' + coalesce($2, '0')
  ) <= $3;
$$;

comment on function experiment._last_complete_day(interval, interval, timestamptz) is $$
@behavior -*
Returns the last day (UTC) whose exposed people have all had a delay, and then a period, at a time.
$$;

grant execute on function experiment._last_complete_day(interval, interval, timestamptz) to insights_reader;

create or replace function experiment._complete_until(experiment experiment.experiment, metric_id int)
returns date
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select min(
      experiment._last_complete_day(leaf.delay, leaf.period, least((_complete_until.experiment).stopped_at, now()))
    )
    from experiment.metric
    join experiment.metric as leaf
      on leaf.metric_id in (metric.numerator_metric_id, metric.denominator_metric_id)
      or metric.type <> 'ratio' and leaf.metric_id = metric.metric_id
    where metric.metric_id = _complete_until.metric_id
      and (leaf.delay > '0' or leaf.period > '0')
  );
end;
$$;

comment on function experiment._complete_until(experiment.experiment, int) is $$
@behavior -*
Returns the last day (UTC) whose exposed people have had the whole delay and period of a metric.
Null for a metric without a delay and a period: all days are complete.
$$;

grant execute on function experiment._complete_until(experiment.experiment, int) to insights_reader;
--! EndIncluded experiment/results/_complete_until.sql

--! Included experiment/results/_kept_days.sql
create or replace function experiment._kept_days(days date[], people bigint[], segments bigint[], smallest int)
returns date[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept date[] := array_fill(null::date, array[cardinality(days)]);
  v_open int := 1;
  v_people bigint := 0;
  v_last int := 0;
begin
  for v_place in 1 .. cardinality(days) loop
    v_people := v_people + people[v_place];
    if v_people >= smallest then
      for v_day in v_open .. v_place loop
        v_kept[v_day] := days[v_place];
      end loop;
      v_open := v_place + 1;
      v_last := v_place;
      v_people := 0;
    end if;
  end loop;
  -- The rest belongs to the last group, unless that would move it into an earlier segment.
  for v_place in v_open .. cardinality(days) loop
    if segments[v_place] = segments[v_last] then
      v_kept[v_open:v_place] := array_fill(days[v_last], array[v_place - v_open + 1]);
    end if;
  end loop;
  return v_kept;
end;
$$;

comment on function experiment._kept_days(date[], bigint[], bigint[], int) is $$
Adds up days, in their order, until each sum has at least `smallest` people; returns the last day of the sum of each.
A sum may reach into a later segment of days, not into an earlier one. Null: for days that are left over.
$$;
--! EndIncluded experiment/results/_kept_days.sql

--! Included experiment/results/_take_results.sql
/*
 * The people of a variation, day and stratum are the same in each metric, so that one grouping serves all of them, and
 * no difference of two sums is of fewer people than a sum.
 */
create or replace function experiment._take_results(experiment experiment.experiment)
returns experiment.kept
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_smallest constant int := 5;
  -- Days until which metrics are complete, and days on which weights changed, separate segments of days.
  v_limits constant date[] := array(
    select experiment._complete_until(_take_results.experiment, measured.metric_id)
    from experiment.measured
    where measured.experiment_id = v_id
    union
    select weighting.since::date + shift
    from experiment.weighting
    cross join generate_series(-1, 0) as shift
    where weighting.experiment_id = v_id
      and weighting.since > (experiment).started_at
  );
  v_kept experiment.kept;
begin
  delete from experiment.kept where kept.experiment_id = v_id;
  insert into experiment.kept (experiment_id, quantiles)
  select
    v_id,
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'position', measured.position, 'variation', quantile.variation, 'is_complete', part.is_complete,
          'people', quantile.people, 'statistic', quantile.statistic
        )
      ),
      '[]'
    )
  from experiment.measured
  join experiment.metric using (metric_id)
  cross join (values (true), (false)) as part (is_complete)
  cross join lateral experiment._quantile_statistics(
    v_id, measured.position, metric.quantile,
    case when part.is_complete then experiment._complete_until(_take_results.experiment, measured.metric_id) end
  ) as quantile
  where measured.experiment_id = v_id
    and metric.type = 'quantile'
    and quantile.people >= v_smallest
  returning kept.* into v_kept;

  insert into experiment.kept_sum (experiment_id, position, variation, exposed_on, stratum, people, sums)
  with day as materialized (
    select
      stored.variation, stored.stratum, stored.exposed_on, stored.people,
      (select count(*) from unnest(v_limits) as day_limit where day_limit < stored.exposed_on) as segment
    from experiment.day_sum as stored
    where stored.experiment_id = v_id
      and stored.position = -1
  ),

  grouped as (
    select entry.variation, entry.stratum, known.exposed_on, known.people, known.segment, known.kept_on
    from (
      select
        day.variation, day.stratum,
        array_agg(day.exposed_on order by day.exposed_on) as days,
        array_agg(day.people order by day.exposed_on) as people,
        array_agg(day.segment order by day.exposed_on) as segments
      from day
      group by day.variation, day.stratum
    ) as entry
    cross join lateral unnest(
      entry.days, entry.people, entry.segments,
      experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, people, segment, kept_on)
  ),

  -- The rest of small strata is added up over the strata.
  left_over as (
    select entry.variation, known.exposed_on, known.kept_on
    from (
      select
        rest.variation,
        array_agg(rest.exposed_on order by rest.exposed_on) as days,
        array_agg(rest.people order by rest.exposed_on) as people,
        array_agg(rest.segment order by rest.exposed_on) as segments
      from (
        select grouped.variation, grouped.exposed_on, grouped.segment, sum(grouped.people)::bigint as people
        from grouped
        where grouped.kept_on is null
        group by grouped.variation, grouped.exposed_on, grouped.segment
      ) as rest
      group by rest.variation
    ) as entry
    cross join lateral unnest(
      entry.days, experiment._kept_days(entry.days, entry.people, entry.segments, v_smallest)
    ) as known (exposed_on, kept_on)
    where known.kept_on is not null
  )

  select added.*
  from experiment._added_sums(
    array(
      select
        row(
          v_id, stored.position, stored.variation, coalesce(grouped.kept_on, left_over.kept_on),
          case
            when grouped.kept_on is not null or stored.stratum = '' then stored.stratum
            else 'other strata'
          end,
          stored.people, stored.sums
        )::experiment.day_sum
      from experiment.day_sum as stored
      join grouped using (variation, stratum, exposed_on)
      left join left_over using (variation, exposed_on)
      where stored.experiment_id = v_id
        and coalesce(grouped.kept_on, left_over.kept_on) is not null
    )
  ) as added;
  return v_kept;
end;
$$;

comment on function experiment._take_results(experiment.experiment) is $$
@behavior -*
Stores the results of an ended experiment as they are now, in sums of at least 5 people each.
Of a variation at most 4 people are left out: those that belong to no such sum. The caller holds the lock of the
refresh.
$$;
--! EndIncluded experiment/results/_take_results.sql

--! Included experiment/results/_are_events_complete.sql
/*
 * Rules by purpose or arrival do not move `oldest_event`. What they deleted on a day was older than the shortest time
 * that the rule ever had; two days more stand for the end of the day in any time zone.
 */
create or replace function experiment._are_events_complete(experiment experiment.experiment)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_since constant timestamptz :=
    (_are_events_complete.experiment).started_at - (_are_events_complete.experiment).before_period;
begin
  return (select setting.oldest_event from track.setting) <= v_since
    and not exists (
      select
      from privacy.retention_total as deleted
      where (deleted.rule = 'events' or deleted.rule like 'events/%')
        and deleted.row_count > 0
        and deleted.day + 2 - (
          select min((entry.details ->> 'keep')::interval)
          from privacy.retention_log as entry
          where entry.rule = deleted.rule
            and entry.action = 'set'
        ) > v_since
    );
end;
$$;

comment on function experiment._are_events_complete(experiment.experiment) is $$
@behavior -*
Returns whether no rule of retention has deleted events of the time of an experiment, of any purpose.
False in doubt: a rule may have deleted only events that the experiment does not measure.
$$;
--! EndIncluded experiment/results/_are_events_complete.sql

--! Included experiment/results/_retake_results.sql
create or replace function experiment._retake_results(experiments int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The difference to the sums without the people would be theirs. Once events were deleted, nothing can be compared.
  perform experiment._take_results(known)
  from experiment.experiment as known
  join experiment.kept using (experiment_id)
  where known.experiment_id = any (_retake_results.experiments)
    and experiment._are_events_complete(known);
end;
$$;

comment on function experiment._retake_results(int[]) is $$
@behavior -*
Recomputes kept results without people who were erased or have opted out, unless events of their time were deleted.
$$;
--! EndIncluded experiment/results/_retake_results.sql

--! Included experiment/results/_keep_ended.sql
create or replace function experiment._keep_ended(is_cut boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ended constant experiment.experiment[] := array(
    select known
    from experiment.experiment as known
    where known.stopped_at < clock_timestamp() - (select setting.settle_period from experiment.setting)
      and not exists (select from experiment.kept where kept.experiment_id = known.experiment_id)
      and (not is_cut or not experiment._are_events_complete(known))
    order by known.experiment_id
  );
  v_experiment experiment.experiment;
begin
  if v_ended = '{}' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  foreach v_experiment in array v_ended loop
    -- People whose events until the end are not refreshed are waited for.
    continue when not is_cut and (
      exists (
        select
        from track.changed
        where changed.consumer = 'experiment.exposure'
          and changed.since < v_experiment.stopped_at
      )
      or exists (select from track.stale where stale.since < v_experiment.stopped_at)
      or exists (select from experiment.kept where kept.experiment_id = v_experiment.experiment_id)
    );
    perform experiment._take_results(v_experiment);
  end loop;
end;
$$;

comment on function experiment._keep_ended(boolean) is $$
@behavior -*
Keeps the results of experiments whose end is longer ago than `experiment.setting.settle_period`.
`is_cut`: only of those whose events a rule of retention deletes already; false: of all whose people are refreshed.
$$;
--! EndIncluded experiment/results/_keep_ended.sql

--! Included experiment/exposure/refresh_exposures.sql
/*
 * An exposure follows from all events of the person, and they may arrive in any order: the rows of a person are
 * computed from scratch whenever a change touches them. The sums change by the difference between the old and the new
 * rows.
 */
create or replace function experiment.refresh_exposures(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
set enable_mergejoin to off
as $$
declare
  v_people bigint[];
  v_refused bigint[];
  v_old experiment.exposure[];
  v_new experiment.exposure[];
begin
  if not exists (select from experiment.experiment where experiment.started_at is not null) then
    return;
  end if;
  -- Deletions by retention come as changes of people, so that results are kept before they reach the sums.
  perform experiment._keep_ended(true);
  v_people := experiment._touched_people(
    refresh_exposures.people, refresh_exposures.since, refresh_exposures.until
  );
  if v_people = '{}' then
    return;
  end if;

  v_old := array(
    select exposure from experiment.exposure where exposure.person_id = any (v_people)
  );
  v_refused := experiment._refused_people(v_people);
  v_new := array(
    select computed
    from experiment._exposures_of(array(select unnest(v_people) except select unnest(v_refused))) as computed
  );

  -- Rows that differ: those of before, and those of now.
  if v_old <> '{}' then
    select
      coalesce(array_agg(old) filter (where old.person_id is not null), '{}'),
      coalesce(array_agg(new) filter (where new.person_id is not null), '{}')
    into v_old, v_new
    from unnest(v_old) as old
    full join unnest(v_new) as new
      on new.person_id = old.person_id
      and new.experiment_id = old.experiment_id
    where old is distinct from new;
  end if;

  delete from experiment.exposure
  using (
    select old.person_id, old.experiment_id from unnest(v_old) as old
    except
    select new.person_id, new.experiment_id from unnest(v_new) as new
  ) as gone
  where exposure.person_id = gone.person_id
    and exposure.experiment_id = gone.experiment_id;
  insert into experiment.exposure (
    person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
    outcomes_before
  )
  select
    new.person_id, new.experiment_id, new.variation, new.exposed_at, new.exposed_on, new.is_counted, new.stratum,
    new.probability, new.outcomes, new.outcomes_before
  from unnest(v_new) as new
  on conflict (person_id, experiment_id) do update
  set
    variation = excluded.variation,
    exposed_at = excluded.exposed_at,
    exposed_on = excluded.exposed_on,
    is_counted = excluded.is_counted,
    stratum = excluded.stratum,
    probability = excluded.probability,
    outcomes = excluded.outcomes,
    outcomes_before = excluded.outcomes_before;
  perform experiment._change_day_sums(
    v_old || v_new,
    array_fill(-1, array[cardinality(v_old)]) || array_fill(1, array[cardinality(v_new)])
  );
  perform experiment._store_event_values(v_people);
  perform experiment._retake_results(
    array(select distinct old.experiment_id from unnest(v_old) as old where old.person_id = any (v_refused))
  );

  perform experiment._refresh_arms(v_old, v_new);
end;
$$;

comment on function experiment.refresh_exposures(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes `experiment.exposure` for the given people and periods, and the sums that follow. Called by `track.refresh`.
Their events, identities, decisions, traits or sets have changed. The rows and sums are those of a computation from
scratch, also after late events, merges of people and deletions. People who have opted out of `analytics`, or whose data
is restricted, have no rows.
$$;
--! EndIncluded experiment/exposure/refresh_exposures.sql

--! Included experiment/results/_arm_sums.sql
create or replace function experiment._arm_sums(experiment_id int, among track.person_set_block[] default null)
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_exposures experiment.exposure[];
begin
  if _arm_sums.among is null then
    return query
    select
      kept_sum.experiment_id, kept_sum.position, kept_sum.variation, kept_sum.exposed_on, kept_sum.stratum,
      kept_sum.people, kept_sum.sums
    from experiment.kept_sum
    where kept_sum.experiment_id = _arm_sums.experiment_id;
    if exists (select from experiment.kept where kept.experiment_id = _arm_sums.experiment_id) then
      return;
    end if;
    return query
    select day_sum.*
    from experiment.day_sum
    where day_sum.experiment_id = _arm_sums.experiment_id;
    return;
  end if;

  -- An array has a limit of 1 GB, so that people are added some at a time.
  for v_exposures in
    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      join unnest(_arm_sums.among) as among
        on among.block = exposure.person_id / 4096
        and get_bit(among.people, (exposure.person_id % 4096)::int) <> 0
      where exposure.experiment_id = _arm_sums.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    return query
    select added.*
    from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added;
  end loop;
end;
$$;

comment on function experiment._arm_sums(int, track.person_set_block[]) is $$
@behavior -*
Returns the sums of an experiment, in any number of rows per day.
Those that are kept of an ended experiment, or of `experiment.day_sum`; for some people (`among`) those of their
exposures.
$$;

grant execute on function experiment._arm_sums(int, track.person_set_block[]) to insights_reader;
--! EndIncluded experiment/results/_arm_sums.sql

--! Included experiment/results/_arms.sql
create or replace function experiment._arms(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  only_complete boolean default true,
  until date default null,
  metric_position smallint default null
)
returns setof experiment.arm
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_has_before constant boolean := (experiment).before_period > '0';
  v_stored constant experiment.day_sum[] := array(
    select stored
    from experiment._arm_sums(v_id, _arms.among) as stored
    where stored.variation >= 0
      and (_arms.until is null or stored.exposed_on <= _arms.until)
  );
  -- The test of strata takes a limited number of them: those with few people are one.
  v_strata constant text[] := array(
    select stored.stratum
    from unnest(v_stored) as stored
    where stored.position = -1
    group by stored.stratum
    order by sum(stored.people) desc, stored.stratum
    limit 100
  );
begin
  return query
  with metric as materialized (
    select
      measured.position, metric.type,
      least(
        case when _arms.only_complete then experiment._complete_until(_arms.experiment, measured.metric_id) end,
        _arms.until
      ) as until
    from experiment.measured
    join experiment.metric using (metric_id)
    where measured.experiment_id = v_id
      and (_arms.metric_position is null or measured.position = _arms.metric_position)
  ),

  known as materialized (
    select
      metric.type, stored.position, stored.variation, stored.people, stored.sums,
      case when stored.stratum = any (v_strata) then stored.stratum else 'other strata' end as stratum
    from unnest(v_stored) as stored
    join metric on metric.position = stored.position
    where metric.type <> 'quantile'
      and (metric.until is null or stored.exposed_on <= metric.until)
  ),

  -- A stratum in which one variation has no people is added to the largest stratum by `experiment.compare_strata`.
  stored as (
    select known.type, known.position, known.variation, known.people, known.sums, known.stratum
    from known

    union all

    select
      arm.type, arm.position, arm.variation, 0,
      array_fill(0::numeric, array[case when arm.type = 'ratio' then 14 else 5 end]), part.stratum
    from (select distinct known.type, known.position, known.variation from known) as arm
    join (select distinct known.position, known.stratum from known) as part on part.position = arm.position
  ),

  added as (
    select stored.type, stored.position, stored.variation, stored.stratum, sum(stored.people)::bigint as people
    from stored
    group by
      grouping sets (
        (stored.type, stored.position, stored.variation, stored.stratum),
        (stored.type, stored.position, stored.variation)
      )
  ),

  figure as (
    select stored.position, stored.variation, stored.stratum, entry.place, sum(entry.figure) as figure
    from stored
    cross join lateral unnest(stored.sums) with ordinality as entry (figure, place)
    group by
      grouping sets (
        (stored.position, stored.variation, stored.stratum, entry.place),
        (stored.position, stored.variation, entry.place)
      )
  ),

  summed as (
    select
      figure.position, figure.variation, figure.stratum, array_agg(figure.figure order by figure.place) as sums
    from figure
    group by figure.position, figure.variation, figure.stratum
  )

  select
    added.position, added.variation, added.stratum, added.people,
    experiment._sums_statistic(added.type, added.people, summed.sums, false),
    experiment._sums_statistic(added.type, added.people, summed.sums, v_has_before)
  from added
  join summed
    on summed.position = added.position
    and summed.variation = added.variation
    and summed.stratum is not distinct from added.stratum;

  if _arms.among is null
    and coalesce(_arms.until >= ((experiment).stopped_at at time zone 'UTC')::date, true)
    and exists (select from experiment.kept where kept.experiment_id = v_id)
  then
    return query
    select
      (entry.value -> 'position')::smallint, (entry.value -> 'variation')::smallint, part.stratum,
      (entry.value -> 'people')::bigint, entry.value -> 'statistic', entry.value -> 'statistic'
    from experiment.kept
    cross join lateral jsonb_array_elements(kept.quantiles) as entry
    cross join (values (''), (null)) as part (stratum)
    where kept.experiment_id = v_id
      and (entry.value -> 'is_complete')::boolean = _arms.only_complete
      and (_arms.metric_position is null or (entry.value -> 'position')::smallint = _arms.metric_position);
    return;
  end if;
  return query
  select
    measured.position, quantile.variation, part.stratum, quantile.people, quantile.statistic, quantile.statistic
  from experiment.measured
  join experiment.metric using (metric_id)
  cross join lateral experiment._quantile_statistics(
    v_id, measured.position, metric.quantile,
    least(
      case when _arms.only_complete then experiment._complete_until(_arms.experiment, measured.metric_id) end,
      _arms.until
    ),
    _arms.among
  ) as quantile
  cross join (values (''), (null)) as part (stratum)
  where measured.experiment_id = v_id
    and metric.type = 'quantile'
    and (_arms.metric_position is null or measured.position = _arms.metric_position);
end;
$$;

comment on function experiment._arms(experiment.experiment, track.person_set_block[], boolean, date, smallint) is $$
@behavior -*
Returns the statistics of each metric and variation of an experiment, by stratum and of all people.
`among`: the exposed people that count; null: all. `only_complete`: those whose period of the metric has passed.
`until`: those who were exposed on this day (UTC) at the latest. Quantiles are not stratified.
`metric_position`: only this metric.
$$;

grant execute on function experiment._arms(experiment.experiment, track.person_set_block[], boolean, date, smallint)
to insights_reader;
--! EndIncluded experiment/results/_arms.sql

--! Included experiment/results/_health.sql
create or replace function experiment._health(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  smallest_group int default 1
)
returns experiment.health
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_result experiment.health;
  v_id constant int := (experiment).experiment_id;
  v_variations constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_sums constant experiment.day_sum[] := array(
    select stored
    from experiment._arm_sums(v_id, _health.among) as stored
    where stored.position = -1
  );
  v_tested float8[];
  v_oldest constant timestamptz := (select setting.oldest_event from track.setting);
begin
  v_result.experiment := (experiment).experiment_key;
  v_result.state := (experiment).state;
  v_result.population := (experiment).population;
  if _health.among is null then
    v_result.as_of := (select kept.kept_at from experiment.kept where kept.experiment_id = v_id);
  end if;
  v_result.variations := array(
    select variation.variation_key
    from experiment.variation
    where variation.experiment_id = v_id
    order by variation.variation
  );
  v_result.people := array(
    select coalesce(sum(stored.people), 0)::bigint
    from generate_series(0, v_variations - 1) as place
    left join unnest(v_sums) as stored on stored.variation = place
    group by place
    order by place
  );
  select
    min(stored.exposed_on), max(stored.exposed_on),
    coalesce(sum(stored.people) filter (where stored.variation = -1), 0),
    coalesce(sum(stored.people) filter (where stored.variation = -2), 0)
  into v_result.first_day, v_result.last_day, v_result.multiple, v_result.not_counted
  from unnest(v_sums) as stored;

  -- The weights of a whole day: the exposures of a day on which they changed are not separated.
  with day as (
    select
      stored.exposed_on, sum(stored.people) as people,
      (
        select weighting.weights
        from experiment.weighting
        where weighting.experiment_id = v_id
          and (
            weighting.since <= stored.exposed_on::timestamp at time zone 'UTC'
            or weighting.since <= (experiment).started_at
          )
        order by weighting.since desc
        limit 1
      ) as weights
    from unnest(v_sums) as stored
    where stored.variation >= 0
      and not exists (
        select
        from experiment.weighting
        where weighting.experiment_id = v_id
          and weighting.since > (experiment).started_at
          and weighting.since > stored.exposed_on::timestamp at time zone 'UTC'
          and weighting.since < (stored.exposed_on + 1)::timestamp at time zone 'UTC'
      )
    group by stored.exposed_on
  ),

  arm as (
    select
      place,
      sum(day.people::float8 * day.weights[place + 1]) as expected,
      sum((
        select sum(stored.people)
        from unnest(v_sums) as stored
        where stored.variation = place
          and stored.exposed_on = day.exposed_on
      ))::float8 as people
    from day
    cross join generate_series(0, v_variations - 1) as place
    group by place
  )

  select
    array_agg(arm.expected order by arm.place), array_agg(coalesce(arm.people, 0) order by arm.place)
  into v_result.expected, v_tested
  from arm;
  -- A p-value of exact numbers of few people would show them.
  v_tested := array(
    select trunc(figure / smallest_group) * smallest_group
    from unnest(v_tested) with ordinality as entry (figure, place)
    order by entry.place
  );
  if (select sum(figure) from unnest(v_tested) as entry (figure)) > 0 then
    v_result.srm_p := experiment.srm(v_tested, v_result.expected);
  end if;
  if smallest_group > 1 then
    v_result.srm_p := experiment._rounded(v_result.srm_p, v_result.srm_p / 10);
    v_result.people := array(
      select figure / smallest_group * smallest_group
      from unnest(v_result.people) with ordinality as entry (figure, place)
      order by entry.place
    );
    v_result.expected := array(
      select experiment._rounded(figure, 10) from unnest(v_result.expected) with ordinality as entry (figure, place)
      order by entry.place
    );
    -- The day of an exposure among few people is that of a person.
    if _health.among is not null or (select max(figure) from unnest(v_result.people) as entry (figure)) = 0 then
      v_result.first_day := null;
      v_result.last_day := null;
      v_result.expected := null;
    end if;
    v_result.multiple := v_result.multiple / smallest_group * smallest_group;
    v_result.not_counted := v_result.not_counted / smallest_group * smallest_group;
  end if;
  v_result.is_mismatched := coalesce(v_result.srm_p < 0.001, false);
  v_result.warnings := array_remove(
    array[
      case
        when v_result.is_mismatched then format(
          'Sample ratio mismatch (p = %s): people are not distributed by the weights. Do not use the results.',
          case when v_result.srm_p < 1e-10 then 'less than 1e-10' else round(v_result.srm_p::numeric, 10)::text end
        )
        when v_result.srm_p < 0.01 then format(
          'A sample ratio mismatch is likely (p = %s): look for its cause before you use the results.',
          round(v_result.srm_p::numeric, 4)
        )
      end,
      case
        when v_result.multiple > 0 then format(
          '%s people saw several variations, and are not counted.', v_result.multiple
        )
      end,
      case
        when (experiment).population <> 'counted' then format(
          'The people of the set "%s" are counted, not those of "counted".', (experiment).population
        )
      end,
      case
        when v_oldest > (experiment).started_at and v_result.as_of is null then format(
          'Events before %s were deleted by a rule of retention: exposures and outcomes since the start are missing.',
          to_char(v_oldest at time zone 'UTC', 'YYYY-MM-DD')
        )
      end
    ],
    null
  );
  return v_result;
end;
$$;

comment on function experiment._health(experiment.experiment, track.person_set_block[], int) is $$
@behavior -*
Computes the result of `experiment.health`, with the privileges of the caller.
Numbers are rounded down to multiples of `smallest_group`.
$$;

grant execute on function experiment._health(experiment.experiment, track.person_set_block[], int)
to insights_reader;
--! EndIncluded experiment/results/_health.sql

--! Included experiment/results/keep_results.sql
create or replace function experiment.keep_results(experiment text)
returns experiment.kept
language plpgsql
volatile
-- A definer: it reads the sums of all people, and writes those that are kept, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
begin
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  v_experiment := experiment._find_experiment(keep_results.experiment);
  if v_experiment.state not in ('stopped', 'shipped') then
    perform common.refuse(
      'CF003', format('the experiment "%s" is %s', v_experiment.experiment_key, v_experiment.state),
      'Only the results of an experiment that has ended are kept.'
    );
  elsif exists (select from experiment.kept where kept.experiment_id = v_experiment.experiment_id)
    and not experiment._are_events_complete(v_experiment)
  then
    perform common.refuse(
      'CF010',
      format('events of the experiment "%s" were deleted by a rule of retention', v_experiment.experiment_key),
      'The results that are kept are of the time before. They cannot be recomputed.'
    );
  end if;
  return experiment._take_results(v_experiment);
end;
$$;

comment on function experiment.keep_results(text) is $$
Keeps the results of an ended experiment as they are now, or recomputes those that are kept.
`experiment.results`, `result_days`, `health`, `decision` and `report` then read them, and follow events no longer: not
late ones, merges of people, or deletions by retention. `experiment.decide_experiments` does it for each experiment,
`experiment.setting.settle_period` after its end. The sums are of at least 5 people each: days and strata with fewer are
added up. After an erasure or an opt-out they are recomputed without the person as long as the events are there;
otherwise they stay. Results of some people (`among`) and estimates of policies read the exposures.
Errors: CF002 for an unknown experiment (names the nearest), CF003 for one that has not ended, CF010 when kept results
could not be recomputed, because events were deleted.
$$;

grant execute on function experiment.keep_results(text) to insights_admin, insights_worker;
--! EndIncluded experiment/results/keep_results.sql

--! Included experiment/access/erase.sql
create or replace function experiment.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  v_exposures experiment.exposure[];
  v_sums bigint;
begin
  v_exposures := array(select exposure from experiment.exposure where exposure.person_id = any (v_people));
  v_sums := (
    select count(*)
    from experiment._day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]))
  );
  perform experiment._change_day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]));
  return next privacy.erase_rows('experiment.event_value', 'person_id', v_people);
  return next privacy.erase_rows('experiment.exposure', 'person_id', v_people);
  return next row('experiment.day_sum', v_sums, 'recomputed')::privacy.erased;
  perform experiment._retake_results(array(select exposed.experiment_id from unnest(v_exposures) as exposed));
  -- The refresh after the erasure finds no exposure any more.
  perform experiment._refresh_arms(v_exposures, '{}');
  return next privacy.clear_values('experiment.change', 'actor', privacy.user_names(subject));
end;
$$;

comment on function experiment.erase(privacy.subject) is $$
@behavior -*
Erases the exposures and outcomes of a person, and takes them out of the sums of the experiments.
Called by `privacy.erase_person`. Results that are kept are recomputed, unless events of their time were deleted. The
weights of a bandit that had learned from her stay as they are until the next update, which is computed from the sums
without her.
$$;
--! EndIncluded experiment/access/erase.sql

--! Included experiment/decisions/decision.sql
create or replace function experiment._is_complete(experiment experiment.experiment, people bigint)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (_is_complete.experiment).state in ('stopped', 'shipped')
    or coalesce(_is_complete.people >= (_is_complete.experiment).planned_people, false)
    or coalesce(
      now() >= (_is_complete.experiment).started_at + (_is_complete.experiment).maximum_duration, false
    );
end;
$$;

comment on function experiment._is_complete(experiment.experiment, bigint) is $$
@behavior -*
Returns whether an experiment has reached the end of its plan, or was ended. `people`: those whose outcome is known.
$$;

grant execute on function experiment._is_complete(experiment.experiment, bigint)
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._effect_text(result experiment.result)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_relative constant boolean := result.difference is distinct from 'absolute';
  v_is_share constant boolean := v_is_relative or result.type in ('proportion', 'retention');
  v_unit constant text := case when v_is_relative then ' %' when v_is_share then ' percentage points' else '' end;
  v_scale constant float8 := case when v_is_share then 100 else 1 end;
  v_digits constant text := case when v_is_share then 'FMS999999990.0' else 'FMS999999990.0000' end;
begin
  return to_char(result.effect * v_scale, v_digits) || v_unit || ' (' || case
    when result.low is not null and result.high is not null
      then to_char(result.low * v_scale, v_digits) || ' to ' || to_char(result.high * v_scale, v_digits)
    when result.low is not null then 'at least ' || to_char(result.low * v_scale, v_digits)
    when result.high is not null then 'at most ' || to_char(result.high * v_scale, v_digits)
    else 'without bounds'
  end || v_unit || case
    -- The p-value is that of no difference, and a guardrail is compared with its margin.
    when result.role = 'guardrail' then ''
    when coalesce(result.adjusted_p, result.p) is not null
      then ', p = ' || case
        when coalesce(result.adjusted_p, result.p) < 0.0001 then 'below 0.0001'
        else to_char(coalesce(result.adjusted_p, result.p), 'FM0.0000')
      end
    when result.chance_to_win is not null
      then ', chance to win ' || to_char(result.chance_to_win * 100, 'FM990.0') || ' %'
    else ''
  end || ')';
end;
$$;

comment on function experiment._effect_text(experiment.result) is $$
@behavior -*
Returns an effect with its interval and p-value as text, such as `+12.3 % (+1.1 to +23.5 %, p = 0.0310)`.
$$;

grant execute on function experiment._effect_text(experiment.result)
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._decide(
  experiment experiment.experiment,
  goal text,
  safety text[],
  results experiment.result[],
  harms experiment.result[],
  out verdict text,
  out variation text,
  out reason text
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_experiment constant experiment.experiment := _decide.experiment;
  v_goal experiment.result[];
  v_found experiment.result;
  v_people bigint;
  v_is_complete boolean;
  v_unsafe text;
  v_p_values float8[];
begin
  select array_agg(result order by result.variation_number) into v_goal
  from unnest(_decide.results) as result
  where result.metric = _decide.goal;
  select result.* into v_found
  from unnest(_decide.harms) as result
  order by result.variation_number, result.metric
  limit 1;
  if found then
    verdict := 'harm';
    variation := v_found.variation;
    reason := format(
      'The guardrail "%s" is worse than accepted in "%s": %s.', v_found.metric, v_found.variation,
      experiment._effect_text(v_found)
    );
    return;
  end if;

  v_people := (select sum(result.people) from unnest(v_goal) as result);
  v_is_complete := experiment._is_complete(v_experiment, v_people);
  if v_experiment.state = 'running' and now() < v_experiment.started_at + v_experiment.minimum_duration then
    verdict := 'running';
    reason := format(
      'The minimum duration ends on %s.',
      to_char(v_experiment.started_at + v_experiment.minimum_duration, 'YYYY-MM-DD')
    );
    return;
  elsif v_experiment.test <> 'sequential' and not v_is_complete then
    verdict := 'running';
    reason := format(
      'The test "%s" is made once, at the planned end: planned_people or maximum_duration.', v_experiment.test
    );
    return;
  end if;

  -- The best of the variations that are better than the control. Any of them ends the experiment: they share the level.
  v_p_values := experiment.holm(array(select result.p from unnest(v_goal) as result order by result.variation_number));
  select result.* into v_found
  from generate_subscripts(v_goal, 1) as place
  cross join lateral (select (v_goal[place]).*) as result
  where result.verdict = 'better'
    and coalesce(v_p_values[place] < result.alpha, true)
  order by abs(result.effect) desc, result.variation_number
  limit 1;
  if found then
    v_unsafe := (
      select string_agg(format('"%s"', result.metric), ', ' order by result.metric)
      from unnest(_decide.results) as result
      where result.metric = any (_decide.safety)
        and result.variation = v_found.variation
        and result.verdict is distinct from 'safe'
    );
    variation := v_found.variation;
    reason := format(
      'The goal "%s" is better in "%s": %s.', _decide.goal, v_found.variation, experiment._effect_text(v_found)
    );
    if v_unsafe is null then
      verdict := 'ship';
    else
      reason := reason || format(' But it is not shown that it keeps within the margin of %s.', v_unsafe);
      verdict := case when v_is_complete then 'no_decision' else 'running' end;
    end if;
    return;
  end if;

  if (select count(*) from unnest(v_goal) as result where result.verdict is not null) > 0
    and 'worse' = all (array(select result.verdict from unnest(v_goal) as result where result.verdict is not null))
  then
    verdict := 'harm';
    reason := format(
      'The goal "%s" is worse than in the control: %s.', _decide.goal,
      (
        select string_agg(
          format('"%s" %s', result.variation, experiment._effect_text(result)), ', ' order by result.variation_number
        )
        from unnest(v_goal) as result
        where result.verdict = 'worse'
      )
    );
  elsif v_is_complete then
    verdict := 'no_decision';
    reason := format('At the end, no difference of the goal "%s" to the control was shown.', _decide.goal);
  else
    verdict := 'running';
    reason := format('No difference of the goal "%s" to the control has been shown yet.', _decide.goal);
  end if;
  if verdict <> 'harm' then
    reason := reason || coalesce(
      ' ' || (
        select string_agg(
          format('%s: %s', result.variation, experiment._effect_text(result)), '; ' order by result.variation_number
        )
        from unnest(v_goal) as result
        where result.effect is not null
      ) || '.',
      ''
    );
  end if;
end;
$$;

comment on function experiment._decide(
  experiment.experiment, text, text[], experiment.result[], experiment.result[]
) is $$
@behavior -*
Applies the rule of `experiment.decision` to results.
`goal` decides; `safety` are the guardrails with a margin, `harms` the results of guardrails that show harm.
$$;

grant execute on function experiment._decide(
  experiment.experiment, text, text[], experiment.result[], experiment.result[]
)
to insights_analyst, insights_admin, insights_worker;

/* A definer owned by insights_reader: analysts may not read the handlers. */
create or replace function experiment._value_problems(experiment_id int)
returns text[]
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_variation record;
  v_problems text[] := '{}';
begin
  for v_variation in
    select known.variation_key, known.value, known.placement, handler.check_function
    from (
      select variation.variation, variation.variation_key, variation.value, experiment.placement
      from experiment.experiment
      join experiment.variation using (experiment_id)
      where experiment.experiment_id = _value_problems.experiment_id
        and experiment.state = 'running'
    ) as known
    join experiment.handler on handler.room = split_part(known.placement, '.', 1)
    where handler.check_function is not null
    order by known.variation
  loop
    begin
      execute format(
        'select %I.%I($1, $2)',
        split_part(v_variation.check_function, '.', 1), split_part(v_variation.check_function, '.', 2)
      )
      using v_variation.placement, v_variation.value;
    exception when others then
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_problems := v_problems || format(
        'Variation "%s" cannot be served as planned: %s.', v_variation.variation_key, sqlerrm
      );
    end;
  end loop;
  return v_problems;
end;
$$;

alter function experiment._value_problems(int) owner to insights_reader;

comment on function experiment._value_problems(int) is $$
@behavior -*
Returns what the schema of the placement finds wrong with the variations of a running experiment now.
Such as a version of a model that was marked since.
$$;

grant execute on function experiment._value_problems(int) to insights_analyst, insights_admin, insights_worker;

create or replace function experiment.decision(experiment text)
returns experiment.decision
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(decision.experiment);
  v_health experiment.health;
  v_results experiment.result[];
  v_harms experiment.result[];
  v_found record;
  v_decision experiment.decision;
begin
  v_decision.experiment := v_experiment.experiment_key;
  v_decision.state := v_experiment.state;
  v_decision.warnings := '{}';
  if v_experiment.state = 'draft' then
    v_decision.verdict := 'draft';
    v_decision.reason := 'The experiment has not started.';
    return v_decision;
  end if;

  v_health := experiment.health(v_experiment.experiment_key);
  v_results := array(select result from experiment.results(v_experiment.experiment_key) as result);
  -- Harm is looked for on every day, which only the sequential test allows. Without a margin, the difference itself is
  -- tested: a relative one is very uncertain where the control has few outcomes. Results are read again only for the
  -- guardrails that they are needed for, and not if those of the plan are the same.
  v_harms := array(
    select reading.result
    from (
      select
        case when coalesce(measured.margin, 0) > 0 then 'relative' else 'absolute' end as difference,
        array_agg(metric.metric_key) as metrics
      from experiment.measured
      join experiment.metric using (metric_id)
      where measured.experiment_id = v_experiment.experiment_id
        and measured.role = 'guardrail'
      group by 1
    ) as tested
    cross join lateral (
      select planned as result
      from unnest(v_results) as planned
      where v_experiment.test = 'sequential'
        and tested.difference = 'relative'
      union all
      select repeated
      from experiment.results(
        v_experiment.experiment_key, test => 'sequential', difference => tested.difference
      ) as repeated
      where v_experiment.test <> 'sequential'
        or tested.difference <> 'relative'
    ) as reading
    where (reading.result).verdict = 'harm'
      and (reading.result).metric = any (tested.metrics)
  );
  v_decision.days := extract(
    epoch from coalesce(v_experiment.stopped_at, now()) - v_experiment.started_at
  )::float8 / 86400;
  v_decision.people := (select sum(arm.people) from unnest(v_health.people) as arm (people));
  v_decision.warnings := v_health.warnings || experiment._value_problems(v_experiment.experiment_id);
  if v_health.is_mismatched then
    v_decision.verdict := 'invalid';
    v_decision.reason := format(
      'People are not distributed by the weights (p = %s): assignment or logging is broken.',
      btrim(to_char(v_health.srm_p, '9.9EEEE'))
    );
    return v_decision;
  end if;

  v_found := experiment._decide(
    v_experiment,
    (
      select metric.metric_key
      from experiment.measured
      join experiment.metric using (metric_id)
      where measured.experiment_id = v_experiment.experiment_id
        and measured.role = 'goal'
      order by measured.position
      limit 1
    ),
    array(
      select metric.metric_key
      from experiment.measured
      join experiment.metric using (metric_id)
      where measured.experiment_id = v_experiment.experiment_id
        and measured.role = 'guardrail'
        and measured.margin is not null
    ),
    v_results,
    v_harms
  );
  v_decision.verdict := v_found.verdict;
  v_decision.variation := v_found.variation;
  v_decision.reason := v_found.reason;
  return v_decision;
end;
$$;

comment on function experiment.decision(text) is $$
Returns what the rule of decision states about an experiment now, with the reason.
The first that applies: `invalid` (sample ratio mismatch, p < 0.001); `harm` (a guardrail is worse than its margin, by a
test that is valid on every day); `running` before `minimum_duration`, and with the tests `welch` and `bayesian` before
the planned end; `ship` (the first goal is better in `variation`, and its guardrails with a margin are safe); `harm`
(the goal is worse in all variations); `no_decision` at the planned end (`planned_people`, `maximum_duration`, or
stopped); otherwise `running`. Of several variations that are better, the one with the largest effect is shipped.
Several variations share the level of the goal (S. Holm), and several guardrails and variations that of harm.
The results are those that the caller may see (`experiment.results`).
Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.decision(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/decisions/decision.sql

--! Included experiment/decisions/report.sql
create or replace function experiment._markdown(value text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Characters that begin a heading or a list do so at the start of a line alone.
  return regexp_replace(
    regexp_replace(btrim(regexp_replace(coalesce(value, ''), '\s+', ' ', 'g')), '([\\`*_{}\[\]<>|~&$])', '\\\1', 'g'),
    '^([-+#=])', '\\\1'
  );
end;
$$;

comment on function experiment._markdown(text) is $$
@behavior -*
Returns a text of a person as one line of Markdown, without a meaning of its characters.
$$;

grant execute on function experiment._markdown(text)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._figure_text(type text, figure float8)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when figure is null then '–'
    when type in ('proportion', 'retention') then to_char(figure * 100, 'FM990.0') || ' %'
    when abs(figure) >= 1e6 or abs(figure) < 1e-3 and figure <> 0 then btrim(to_char(figure, '9.99EEEE'))
    else to_char(figure, 'FM999990.099')
  end;
end;
$$;

comment on function experiment._figure_text(text, float8) is $$
@behavior -*
Returns the figure of a metric as text.
$$;

grant execute on function experiment._figure_text(text, float8) to insights_analyst, insights_admin, insights_worker;

/* A definer owned by insights_reader: the times of changes, without who made them. */
create or replace function experiment._course(experiment text)
returns text
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
  select string_agg(
    format(
      '- %s: %s%s', to_char(course.changed_at, 'YYYY-MM-DD HH24:MI'), course.action,
      case when course.detail is not null then '. ' || experiment._markdown(course.detail) else '' end
    ),
    e'\n' order by course.changed_at, course.change_id
  )
  from (
    select
      change.changed_at, change.change_id, change.action,
      case change.action
        when 'stopped' then change.after ->> 'reason'
        when 'shipped' then change.after ->> 'variation'
        when 'decided' then change.after ->> 'reason'
        when 'weights changed' then change.after ->> 'weights'
      end as detail
    from experiment.change
    where change.subject = 'experiment'
      and change.key = $1
    order by change.changed_at desc, change.change_id desc
    limit 50
  ) as course;
$$;

alter function experiment._course(text) owner to insights_reader;

comment on function experiment._course(text) is $$
@behavior -*
Returns the last 50 changes of an experiment as lines of Markdown, without who made them.
$$;

grant execute on function experiment._course(text) to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._results_table(results experiment.result[])
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return e'| Metric | Role | Variation | People | Figure | Difference to the control | Verdict |\n'
    || e'|---|---|---|---:|---:|---|---|\n'
    || coalesce(
      (
        select string_agg(
          format(
            '| %s | %s | %s | %s | %s | %s | %s |',
            experiment._markdown(result.metric), result.role, experiment._markdown(result.variation),
            to_char(result.people, 'FM999,999,999,990'), experiment._figure_text(result.type, result.figure),
            case
              when result.effect is not null then experiment._effect_text(results[place.place])
              when result.variation_number = 0 then 'control'
              else '–'
            end,
            coalesce(result.verdict, '')
          ),
          e'\n' order by place.place
        )
        from generate_subscripts(results, 1) as place (place)
        cross join lateral (select (results[place.place]).*) as result
      ),
      ''
    );
end;
$$;

comment on function experiment._results_table(experiment.result[]) is $$
@behavior -*
Returns results as a table of Markdown.
$$;

grant execute on function experiment._results_table(experiment.result[])
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment.report(experiment text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(report.experiment);
  v_decision constant experiment.decision := experiment.decision(v_experiment.experiment_key);
  v_health experiment.health;
  v_results experiment.result[] := '{}';
  v_notes text[] := '{}';
begin
  if v_experiment.state <> 'draft' then
    v_health := experiment.health(v_experiment.experiment_key);
    v_results := array(select result from experiment.results(v_experiment.experiment_key) as result);
    v_notes := array(
      select distinct format('%s, %s: %s', result.metric, result.variation, result.note)
      from unnest(v_results) as result
      where result.note is not null
        and result.effect is null
        and result.variation_number > 0
    );
  end if;

  return concat_ws(
    e'\n\n',
    format('# %s', experiment._markdown(v_experiment.name)),
    format(
      '**%s** %s',
      case
        when v_experiment.state = 'shipped' then format(
          '"%s" is shipped.',
          (
            select known.variation_key
            from experiment.variation as known
            where known.experiment_id = v_experiment.experiment_id
              and known.variation = v_experiment.shipped_variation
          )
        )
        when v_decision.verdict = 'ship' then format('Ship "%s".', v_decision.variation)
        when v_decision.verdict = 'harm' then 'Harm: keep the control.'
        when v_decision.verdict = 'no_decision' then 'No decision: keep the control, or test something else.'
        when v_decision.verdict = 'running' then 'Keep it running.'
        when v_decision.verdict = 'invalid' then 'Invalid: do not use the results.'
        else 'Not started.'
      end,
      experiment._markdown(v_decision.reason)
    ),
    case
      when v_experiment.hypothesis is not null then 'Hypothesis: ' || experiment._markdown(v_experiment.hypothesis)
    end,
    format(
      e'| | |\n|---|---|\n| Experiment | %s |\n| State | %s |\n| Where | %s |\n| Who | %s |\n| Variations | %s |\n'
        '| Plan | test "%s" at %s %%%s%s%s%s |\n| Decided | %s |%s',
      experiment._markdown(v_experiment.experiment_key),
      case v_experiment.state
        when 'draft' then 'draft'
        when 'running' then format(
          'running since %s, %s days', to_char(v_experiment.started_at, 'YYYY-MM-DD'),
          to_char(v_decision.days, 'FM999990.0')
        )
        else format(
          '%s, %s to %s, %s days', v_experiment.state, to_char(v_experiment.started_at, 'YYYY-MM-DD'),
          to_char(v_experiment.stopped_at, 'YYYY-MM-DD'), to_char(v_decision.days, 'FM999990.0')
        )
      end,
      case
        when v_experiment.feature_key is not null then 'feature ' || experiment._markdown(v_experiment.feature_key)
        when v_experiment.placement is not null then 'placement ' || experiment._markdown(v_experiment.placement)
        else 'in the application'
      end,
      case
        when v_health.experiment is not null then format(
          '%s people of the set "%s"; %s who saw several variations and %s outside of the set are not counted',
          to_char(v_decision.people, 'FM999,999,999,990'), experiment._markdown(v_experiment.population),
          v_health.multiple, v_health.not_counted
        )
        else format('people of the set "%s"', experiment._markdown(v_experiment.population))
      end,
      (
        select string_agg(
          format(
            '%s (%s)%s', experiment._markdown(known.variation_key), experiment._markdown(known.name),
            coalesce(': ' || to_char(v_health.people[known.variation + 1], 'FM999,999,999,990') || ' people', '')
          ),
          ', ' order by known.variation
        )
        from experiment.variation as known
        where known.experiment_id = v_experiment.experiment_id
      ),
      v_experiment.test,
      to_char(v_experiment.alpha * 100, 'FM990.099'),
      case when v_experiment.minimum_duration > '0' then ', at least ' || v_experiment.minimum_duration else '' end,
      coalesce(', at most ' || v_experiment.maximum_duration, ''),
      coalesce(', ' || to_char(v_experiment.planned_people, 'FM999,999,999,990') || ' people', ''),
      case when v_experiment.bandit is not null then format(', bandit "%s"', v_experiment.bandit) else '' end,
      case
        when v_experiment.is_decided_automatically then 'automatically, by the rule of experiment.decision'
        else 'by a person; harm stops it automatically'
      end,
      coalesce(
        e'\n| Results | as of ' || to_char(v_health.as_of, 'YYYY-MM-DD HH24:MI') || ' UTC; later events do not count |',
        ''
      )
    ),
    case
      when v_results <> '{}' then e'## Results\n\n' || experiment._results_table(v_results)
        || e'\n\nA difference is relative to the control: +10 % of 20 % is 22 %. In brackets is the range of the true '
        || format('difference, with %s %% confidence', to_char((1 - v_experiment.alpha) * 100, 'FM990.099'))
        || case
          when exists (select from unnest(v_results) as result where result.role = 'guardrail')
            then '; of a guardrail, each end by itself'
          else ''
        end || '.'
    end,
    case
      when v_decision.warnings || v_notes <> '{}' then e'## Warnings\n\n' || (
        select string_agg('- ' || experiment._markdown(warning.line), e'\n' order by warning.place)
        from unnest(v_decision.warnings || v_notes) with ordinality as warning (line, place)
      )
    end,
    e'## History\n\n' || experiment._course(v_experiment.experiment_key)
  ) || e'\n';
end;
$$;

comment on function experiment.report(text) is $$
Returns a report of an experiment for people who do not know statistics, as Markdown.
It has the decision with its reason, what was tested on whom and for how long, the results with their intervals,
warnings, and the history. The figures are those that the caller may see (`experiment.results`).
Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.report(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/decisions/report.sql

--! Included experiment/decisions/decide_experiments.sql
/* A definer: it stops and ships experiments, which the worker may not do by itself. */
create or replace function experiment.decide_experiments()
returns setof experiment.decision
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_experiment experiment.experiment;
  v_decision experiment.decision;
begin
  perform experiment._keep_ended(false);
  for v_experiment in
    select known.*
    from experiment.experiment as known
    where known.state = 'running'
    order by known.experiment_id
  loop
    begin
      v_decision := experiment.decision(v_experiment.experiment_key);
    exception when others then
      -- One whose data cannot be computed does not keep the others from being decided.
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_decision := row(v_experiment.experiment_key, v_experiment.state, 'error', null, sqlerrm, null, null, '{}');
      return next v_decision;
      continue;
    end;
    continue when v_decision.verdict not in ('ship', 'harm', 'no_decision')
      or v_decision.verdict <> 'harm' and not v_experiment.is_decided_automatically;
    -- One that a person has stopped meanwhile is left as it is.
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    perform experiment._begin_change();
    continue when not exists (
      select
      from experiment.experiment as known
      where known.experiment_id = v_experiment.experiment_id
        and known.state = 'running'
    );
    begin
      perform experiment._log_change(
        'experiment', v_experiment.experiment_key, 'decided', null, to_jsonb(v_decision) - 'experiment'
      );
      if v_decision.verdict = 'ship' then
        perform experiment.ship(v_experiment.experiment_key, v_decision.variation);
      else
        perform experiment.stop(v_experiment.experiment_key, left(v_decision.reason, 2000));
      end if;
    exception when others then
      -- Such as a version that was marked since: a person has to ship something else.
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_decision.verdict := 'error';
      v_decision.reason := format('%s But it could not be shipped: %s.', v_decision.reason, sqlerrm);
    end;
    v_decision.state := (
      select known.state from experiment.experiment as known where known.experiment_id = v_experiment.experiment_id
    );
    return next v_decision;
  end loop;
end;
$$;

comment on function experiment.decide_experiments() is $$
Applies the rule of decision to all running experiments, and returns those that it ended. The worker runs it hourly.
Harm always stops an experiment. One with `is_decided_automatically` is shipped when the rule states `ship`, and stopped
at the planned end without a decision. The history has the decision with its reason. An invalid experiment is left as it
is: a person has to find the error. So is one whose decision is an error, or whose variation cannot be shipped, such as
a version that an erasure has marked; its row has the verdict `error`.
Keeps the results of those that ended `experiment.setting.settle_period` ago (`experiment.keep_results`).
$$;

grant execute on function experiment.decide_experiments() to insights_admin, insights_worker;
--! EndIncluded experiment/decisions/decide_experiments.sql

-- from experiment/policies.sql
grant select on experiment.kept_sum to insights_reader, insights_admin, insights_worker;
grant select on experiment.kept to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on experiment.kept_sum;
create policy all_rows on experiment.kept_sum for select
to insights_reader, insights_admin, insights_worker using (true);
drop policy if exists all_rows on experiment.kept;
create policy all_rows on experiment.kept for select
to insights_reader, insights_admin, insights_worker using (true);

-- from experiment/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('experiment', 'layer', '{layer,description}', 'Settings by administrators.'),
    ('experiment', 'holdout', '{holdout,description}', 'Settings by administrators.'),
    (
      'experiment', 'feature', '{feature_key,description,default_value,rules}',
      'Features, by administrators; their rules cannot name people.'
    ),
    (
      'experiment', 'experiment',
      '{experiment_key,name,hypothesis,feature_key,placement,hash_attribute,fallback_attribute,seed,layer,holdout,'
        'condition,parent_conditions,population,strata}',
      'Plans of experiments, by administrators; their conditions cannot name people.'
    ),
    ('experiment', 'variation', '{variation_key,name,value}', 'Variations of experiments, by administrators.'),
    ('experiment', 'weighting', '{weights,details}', 'Weights of variations, and sums by variation.'),
    (
      'experiment', 'metric', '{metric_key,description,event_type_ids,property_filter,value_property}',
      'Definitions of metrics, by administrators.'
    ),
    (
      'experiment', 'handler', '{room,check_function,ship_function,exposure_function,description}',
      'Names of schemas and functions.'
    ),
    ('experiment', 'day_sum', '{sums}', 'Sums over people, by day.'),
    ('experiment', 'kept', '{quantiles}', 'Quantiles of the values of at least 5 people, without the people.'),
    ('experiment', 'kept_sum', '{stratum,sums}', 'Sums over at least 5 people, of a trait that all of them had.'),
    ('experiment', 'change', '{change_id}', 'Random keys.'),
    (
      'experiment', 'change', '{key,action,before,after}',
      'Changes of experiments, features, metrics, layers and holdouts, by administrators.'
    )
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

--! Included recommend/feedback/_serving_content.sql
create or replace function recommend._serving_content(serving_id text)
returns recommend.serving
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fields text[] := string_to_array(left(_serving_content.serving_id, -33), '.');
  v_last constant text := v_fields[cardinality(v_fields)];
  v_arm text[];
begin
  -- An experiment is the last field. It alone begins with a letter, but for the basis, which is the seventh.
  if cardinality(v_fields) > 7 and starts_with(v_last, 'e') then
    v_arm := string_to_array(substr(v_last, 2), '-');
    v_fields := trim_array(v_fields, 1);
  end if;
  if cardinality(v_fields) not between 7 and 8 or v_fields[1] !~ '^[0-9]' then
    return row(
      null, null, null, null, null, null, null, null, null, 'was made by an earlier release', null, null
    )::recommend.serving;
  end if;
  -- In one expression, because each row of a list that is served is read.
  return row(
    right(_serving_content.serving_id, 32)::uuid,
    nullif(v_fields[1]::bigint, 0),
    v_fields[2]::bigint,
    v_fields[3]::int,
    nullif(v_fields[4]::bigint, 0) / 1e9::float8,
    to_timestamp(v_fields[5]::bigint / 1000.0),
    nullif(v_fields[6]::bigint, 0),
    v_fields[7],
    string_to_array(v_fields[8], '-')::bigint[],
    null,
    v_arm[1]::int,
    v_arm[2]::smallint
  )::recommend.serving;
end;
$$;

comment on function recommend._serving_content(text) is $$
@behavior -*
Returns the content of a `serving_id` that this installation has signed: see `recommend._serving_id`.
The signature is not checked here: `recommend._read_serving_id` does, for the ids that clients send back.
$$;
--! EndIncluded recommend/feedback/_serving_content.sql

--! Included recommend/feedback/_read_serving_id.sql
/* A definer: no role may read the keys. It returns what the id itself contains. */
create or replace function recommend._read_serving_id(serving_id text)
returns recommend.serving
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_payload text;
  v_serving recommend.serving;
begin
  -- The longest id is that of a slot with a pool of 1,000 items.
  if _read_serving_id.serving_id is null or length(_read_serving_id.serving_id) not between 33 and 20000 then
    v_serving.problem := 'is not the serving_id of a list';
    return v_serving;
  end if;

  v_payload := left(_read_serving_id.serving_id, -33);
  if not exists (
    select
    from recommend.secret
    where recommend._sign(v_payload, secret.inner_key, secret.outer_key) = _read_serving_id.serving_id
  ) then
    v_serving.problem := case
      when _read_serving_id.serving_id ~ '^[0-9]+\..*\.[0-9a-f]{32}$' then 'has an invalid signature'
      else 'is not the serving_id of a list'
    end;
    return v_serving;
  end if;

  -- From here on, the content is what this installation has signed.
  -- Pages are signed by the same keys.
  if starts_with(v_payload, 'page.') then
    v_serving.problem := 'is the next_page of a list, not a serving_id';
    return v_serving;
  end if;
  return recommend._serving_content(_read_serving_id.serving_id);
end;
$$;

comment on function recommend._read_serving_id(text) is $$
@behavior -*
Returns the content of a `serving_id`, after the check of its signature: see `recommend._serving_id`.
Of an invalid id, only `problem` is returned. The age and the person are checked by the caller.
$$;

grant execute on function recommend._read_serving_id(text) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_read_serving_id.sql

--! Included recommend/feedback/_named_servings.sql
create or replace function recommend._named_servings(people bigint[], since timestamptz[], until timestamptz[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_serving_period constant interval := (select serving_period from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_people bigint[];
  v_servings recommend.serving[];
  v_owners bigint[];
begin
  with named as materialized (
    select
      event.person_id, event.occurred_at,
      recommend._read_serving_id(event.properties ->> 'servingId') as serving
    from unnest(_named_servings.people, _named_servings.since, _named_servings.until)
      as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.properties ? 'servingId'
      and event.person_id <> 0
  ),

  valid as (
    select distinct on (named.person_id, (named.serving).serving_key) named.person_id, named.serving
    from named
    where (named.serving).problem is null
      and named.occurred_at >= (named.serving).listed_at - v_tolerance
      and named.occurred_at <= (named.serving).listed_at + v_serving_period
    order by named.person_id, (named.serving).serving_key
  )

  select array_agg(valid.person_id), array_agg(valid.serving)
  into v_people, v_servings
  from valid;
  if v_people is null then
    return;
  end if;

  v_owners := track.people_of_identities(
    array(select serving.identity_id from unnest(v_servings) with ordinality as serving order by serving.ordinality),
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  return query
  select
    entry.person_id, entry.serving_key, entry.identity_id, entry.model_id, entry.item_id, entry.rank, entry.basis,
    entry.propensity, entry.pool, entry.listed_at, false, null::timestamptz, null::timestamptz, null::timestamptz,
    null::timestamptz, null::real, null::timestamptz, null::timestamptz, entry.experiment_id, entry.variation,
    null::float8, null::text
  from (
    select named.*, serving.*
    from unnest(v_people, v_owners) with ordinality as named (person_id, owner_id, position)
    join unnest(v_servings) with ordinality as serving on serving.ordinality = named.position
  ) as entry
  where entry.identity_id is null
    or entry.owner_id = entry.person_id;
end;
$$;

comment on function recommend._named_servings(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the rows of lists that events of the given periods of people name by their `servingId`, without the answers.
An id counts when its signature is valid, when the identity for which the list was made belongs to the person, and when
the event is at most `recommend.setting.serving_period` later than the list.
$$;
--! EndIncluded recommend/feedback/_named_servings.sql

--! Included recommend/feedback/_answers.sql
create or replace function recommend._answers(servings recommend.impression[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_clicked constant int[] := recommend._event_types_named('Recommendation Clicked');
  v_named constant record := recommend._event_names();
begin
  return query
  with serving as materialized (
    select given.*
    from unnest(_answers.servings) as given
  ),

  span as materialized (
    select
      serving.person_id,
      min(serving.listed_at) - v_tolerance as since,
      max(serving.listed_at) + greatest(v_setting.serving_period, v_setting.attribution_period) as until
    from serving
    group by serving.person_id
  ),

  weighed as materialized (
    select named.event_type_id, event_weight.*
    from unnest(v_named.event_type_ids, v_named.events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  said as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.named_item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      case
        when event.properties ? 'servingId' then recommend._read_serving_id(event.properties ->> 'servingId')
      end as serving,
      weighed.completes, weighed.dismisses,
      -- With a topic, it is the dismissal of the topic that is withdrawn.
      weighed.withdraws and nullif(event.properties ->> 'topic', '') is null as withdraws,
      coalesce(
        weighed.liking,
        case
          when jsonb_typeof(event.properties -> weighed.value_property) = 'number'
            then recommend._rating_to_liking(
              (event.properties ->> weighed.value_property)::float8, weighed.value_from, weighed.value_to
            )
        end
      ) as liking
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
      or weighed.withdraws
  ),

  -- An answer acts on the item of its event. It is one to the row when this is the item of the row, under any name.
  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (
        where said.event_type_id = any (v_clicked) and (said.item_id is null or about_row.is_true)
      ) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses and about_row.is_true) as dismissed_at,
      max(said.occurred_at) filter (where said.liking is not null and about_row.is_true) as liked_at,
      (
        array_agg(said.liking order by said.occurred_at desc, said.event_id desc)
        filter (where said.liking is not null and about_row.is_true)
      )[1] as liking
    from serving
    join track.item as recommended on recommended.item_id = serving.item_id
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    cross join lateral (
      select coalesce(
        serving.item_id in (said.item_id, said.named_item_id) or recommended.merged_item_id = said.item_id, false
      ) as is_true
    ) as about_row
    group by serving.person_id, serving.serving_key
  ),

  -- Of an item as it was named, or as it is called since a merge: both change only with the event.
  about as (
    select said.person_id, said.item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.completes
      or said.withdraws

    union all

    select said.person_id, said.named_item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.named_item_id is not null
      and (said.completes or said.withdraws)

    union all

    select enrolment.person_id, enrolled.item_id, enrolment.ended_at, true, false
    from span
    join track.enrolment on enrolment.person_id = span.person_id
    cross join lateral (values (enrolment.item_id), (enrolment.named_item_id)) as enrolled (item_id)
    where enrolment.status = 'completed'
  ),

  withdrawn as (
    select by_row.person_id, by_row.serving_key, max(by_row.occurred_at) as withdrawn_at
    from (
      select serving.person_id, serving.serving_key, serving.listed_at, about.occurred_at
      from serving
      join about
        on about.person_id = serving.person_id
        and about.item_id = serving.item_id
      where about.withdraws

      union all

      -- Of a row under an earlier name of the item.
      select serving.person_id, serving.serving_key, serving.listed_at, said.occurred_at
      from serving
      join track.item as recommended on recommended.item_id = serving.item_id
      join said
        on said.person_id = serving.person_id
        and (said.serving).serving_key = serving.serving_key
        and said.item_id = recommended.merged_item_id
      where said.withdraws
    ) as by_row
    where by_row.occurred_at >= by_row.listed_at
      and by_row.occurred_at <= by_row.listed_at + v_setting.serving_period
    group by by_row.person_id, by_row.serving_key
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(about.occurred_at) as completed_at
    from serving
    join about
      on about.person_id = serving.person_id
      and about.item_id = serving.item_id
      and about.occurred_at >= serving.listed_at
      and about.occurred_at <= serving.listed_at + v_setting.attribution_period
    where about.completes
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at,
    answered.clicked_at,
    case when answered.dismissed_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.dismissed_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liked_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liking end,
    withdrawn.withdrawn_at,
    completed.completed_at,
    serving.experiment_id,
    serving.variation,
    serving.score,
    serving.function_name
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join withdrawn
    on withdrawn.person_id = serving.person_id
    and withdrawn.serving_key = serving.serving_key
  left join completed
    on completed.person_id = serving.person_id
    and completed.serving_key = serving.serving_key;
end;
$$;

comment on function recommend._answers(recommend.impression[]) is $$
@behavior -*
Computes the answers of people to rows of lists from all of their events, as `recommend.impression` describes them.
The people are those of the rows; the answers in the rows themselves are ignored.
$$;
--! EndIncluded recommend/feedback/_answers.sql

--! Included recommend/feedback/refresh_impressions.sql
create or replace function recommend._move_impressions(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The lists of the people: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_moved recommend.impression[];
begin
  select array_agg(list.identity_id), array_agg(list.listed_at)
  into v_identity_ids, v_times
  from (
    select distinct impression.identity_id, impression.listed_at
    from recommend.impression
    where impression.person_id = any (_move_impressions.people)
      and impression.identity_id is not null
  ) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);

  select array_agg(impression) into v_moved
  from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
  join recommend.impression
    on impression.person_id = any (_move_impressions.people)
    and impression.identity_id = list.identity_id
    and impression.listed_at = list.listed_at
  where list.person_id is distinct from impression.person_id;
  if v_moved is null then
    return;
  end if;

  delete from recommend.impression
  using unnest(v_moved) as moved
  where impression.person_id = moved.person_id
    and impression.serving_key = moved.serving_key;

  -- An identity that is gone leaves no person to whom the row was served.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select
    list.person_id, moved.serving_key, moved.identity_id, moved.model_id, moved.item_id, moved.rank, moved.basis,
    moved.propensity, moved.pool, moved.listed_at, true, moved.experiment_id, moved.variation, moved.score,
    moved.function_name
  from unnest(v_moved) as moved
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = moved.identity_id
    and list.listed_at = moved.listed_at
  where list.person_id is not null
    and moved.is_served
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name;

  -- The other person may have been refreshed before.
  perform track.queue_people(
    'recommend.impression',
    array(
      select distinct list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where list.person_id is not null
    )
  );
  perform experiment.queue_exposures(
    array(
      select moved.person_id
      from unnest(v_moved) as moved
      where moved.experiment_id is not null

      union

      select list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where moved.experiment_id is not null
        and list.person_id is not null
    )
  );
end;
$$;

comment on function recommend._move_impressions(bigint[]) is $$
Moves the impressions of the given people whose identity belongs to another person now, and queues these people.
$$;

create or replace function recommend._touched_impressions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  named recommend.impression[]
)
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_horizon constant interval := greatest(v_setting.serving_period, v_setting.attribution_period);
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  -- For all other people, only events that name a list matter.
  v_known constant bigint[] := array(
    select distinct impression.person_id
    from recommend.impression
    where impression.person_id = any (_touched_impressions.people)
  );
  v_weights constant record := recommend._event_names();
begin
  return query
  select entry.*
  from unnest(_touched_impressions.named) as entry
  where not exists (
    select
    from recommend.impression
    where impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key
  );
  if v_known = '{}' then
    return;
  end if;

  return query
  with period as materialized (
    select changed.person_id, changed.since, changed.until
    from unnest(_touched_impressions.people, _touched_impressions.since, _touched_impressions.until)
      as changed (person_id, since, until)
    where changed.person_id = any (v_known)
  ),

  -- Events that matter for the rows of their item, whether they name a list or not.
  about as materialized (
    select event.person_id, event.item_id, event.named_item_id, event.occurred_at
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.item_id is not null
      and coalesce(event.named_event_type_id, event.event_type_id) in (
        select weighed.event_type_id
        from unnest(v_weights.event_type_ids, v_weights.events) as weighed (event_type_id, event)
        join recommend.event_weight on event_weight.event = weighed.event
        where event_weight.completes
          or event_weight.withdraws
      )
  )

  select distinct on (touched.person_id, touched.serving_key) touched.*
  from (
    select impression.*
    from unnest(_touched_impressions.named) as entry
    join recommend.impression
      on impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key

    union all

    select impression.*
    from period
    join recommend.impression
      on impression.person_id = period.person_id
      and impression.listed_at >= period.since - v_horizon
      and impression.listed_at <= period.until + v_tolerance
    where period.since = '-infinity'
      or impression.seen_at between period.since and period.until
      or impression.clicked_at between period.since and period.until
      or impression.dismissed_at between period.since and period.until
      or impression.liked_at between period.since and period.until
      or impression.withdrawn_at between period.since and period.until
      or impression.completed_at between period.since and period.until

    union all

    select impression.*
    from about
    join recommend.impression
      on impression.person_id = about.person_id
      and impression.item_id in (about.item_id, about.named_item_id)
      and impression.listed_at >= about.occurred_at - v_horizon
      and impression.listed_at <= about.occurred_at
  ) as touched;
end;
$$;

comment on function recommend._touched_impressions(bigint[], timestamptz[], timestamptz[], recommend.impression[]) is $$
@behavior -*
Returns the rows whose answers may differ after a change of events in the given periods of people.
Those that events of the periods name (`named`), those with an answer in a period, and those whose item was finished or
withdrawn in one.
$$;

/*
 * An event can be added, deleted, moved by a merge of people or withdrawn by a later one. Therefore the answers to a
 * row are computed from all events of the person since the list was made, whenever one of them may have changed.
 */
create or replace function recommend.refresh_impressions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_refused constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people) as changed (person_id)
    where v_by_default = (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_impressions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_exposed bigint[];
  v_named recommend.impression[];
  v_touched recommend.impression[];
begin
  if v_refused <> '{}' then
    with deleted as (
      delete from recommend.impression
      where impression.person_id = any (v_refused)
      returning impression.person_id, impression.experiment_id
    )

    select array_agg(distinct deleted.person_id) into v_exposed
    from deleted
    where deleted.experiment_id is not null;
    perform experiment.queue_exposures(v_exposed);
  end if;
  perform recommend._move_impressions(array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people, refresh_impressions.since) as changed (person_id, since)
    where changed.since = '-infinity'
  ));

  v_named := array(
    select named
    from recommend._named_servings(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until
    ) as named
    where named.person_id <> all (v_refused)
  );
  v_touched := array(
    select touched
    from recommend._touched_impressions(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until, v_named
    ) as touched
  );
  if v_touched = '{}' then
    return;
  end if;

  with fresh as materialized (
    select answered.*
    from recommend._answers(v_touched) as answered
  ),

  -- A row that was not served is there only because of an event.
  deleted as (
    delete from recommend.impression
    using fresh
    where impression.person_id = fresh.person_id
      and impression.serving_key = fresh.serving_key
      and fresh.seen_at is null
      and not impression.is_served
  )

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    seen_at, clicked_at, dismissed_at, liked_at, liking, withdrawn_at, completed_at, experiment_id, variation,
    score, function_name
  )
  select
    fresh.person_id, fresh.serving_key, fresh.identity_id, fresh.model_id, fresh.item_id, fresh.rank, fresh.basis,
    fresh.propensity, fresh.pool, fresh.listed_at, fresh.is_served,
    fresh.seen_at, fresh.clicked_at, fresh.dismissed_at, fresh.liked_at, fresh.liking, fresh.withdrawn_at,
    fresh.completed_at, fresh.experiment_id, fresh.variation, fresh.score, fresh.function_name
  from fresh
  where fresh.seen_at is not null
    or fresh.is_served
  on conflict (person_id, serving_key) do update
  set
    seen_at = excluded.seen_at,
    clicked_at = excluded.clicked_at,
    dismissed_at = excluded.dismissed_at,
    liked_at = excluded.liked_at,
    liking = excluded.liking,
    withdrawn_at = excluded.withdrawn_at,
    completed_at = excluded.completed_at
  where (
    impression.seen_at, impression.clicked_at, impression.dismissed_at, impression.liked_at, impression.liking,
    impression.withdrawn_at, impression.completed_at
  ) is distinct from (
    excluded.seen_at, excluded.clicked_at, excluded.dismissed_at, excluded.liked_at, excluded.liking,
    excluded.withdrawn_at, excluded.completed_at
  );
end;
$$;

comment on function recommend.refresh_impressions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.impression` for the given people and periods. Called by `track.refresh`.
Their events, enrolments, identities or decisions have changed.
The answers are the same in any order of arrival, also after late events, merges of people and deletions. People who
have opted out of `personalization` have no rows.
$$;
--! EndIncluded recommend/feedback/refresh_impressions.sql

--! Included recommend/feedback/_may_record.sql
/*
 * A definer owned by insights_reader, as the functions that make lists: a cached plan over tables with row security is
 * made again for each role that uses it in turn, which takes longer than the rest of the record.
 */
create or replace function recommend._may_record(person_id bigint)
returns boolean
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set plan_cache_mode to force_generic_plan
as $$
begin
  return _may_record.person_id <> 0 and privacy.allowed(_may_record.person_id, 'personalization');
end;
$$;

alter function recommend._may_record(bigint) owner to insights_reader;

comment on function recommend._may_record(bigint) is $$
@behavior -*
Returns whether lists of a person may be recorded: not of person 0, and not without consent to `personalization`.
Null for an unknown person.
$$;
--! EndIncluded recommend/feedback/_may_record.sql

--! Included recommend/feedback/_record_list.sql
create or replace function recommend._record_list(
  list recommend.recommendation[],
  function_name text,
  kind text,
  started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  -- Person, time and experiment are those of all rows. To read all of the ids would take a third of the time.
  v_serving constant recommend.serving := recommend._serving_content((_record_list.list[1]).serving_id);
  v_identity_id bigint := (v_serving).identity_id;
  v_person_id bigint;
begin
  if current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
  end if;

  -- A list for no person is shown to the learner who is signed in.
  if v_identity_id is null and _record_list.list <> '{}' and track.current_person_id() is not null
    and not track.reads_all_people()
  then
    v_identity_id := track.find_identity(current_setting('insights.person', true));
  end if;
  if v_identity_id is not null then
    perform track.lock_identities(array[v_identity_id]);
    v_person_id := (track.people_of_identities(array[v_identity_id], array[(v_serving).listed_at]))[1];
  end if;

  if recommend._may_record(v_person_id) then
    insert into recommend.impression (
      person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
      experiment_id, variation, score, function_name
    )
    select
      v_person_id, right(listed.serving_id, 32)::uuid, v_identity_id,
      nullif(split_part(listed.serving_id, '.', 1), '0')::bigint,
      listed.item_id, listed.rank, listed.basis, listed.propensity,
      case when listed.propensity is not null then (recommend._serving_content(listed.serving_id)).pool end,
      (v_serving).listed_at, true, (v_serving).experiment_id, (v_serving).variation, listed.score,
      _record_list.function_name
    from unnest(_record_list.list) as listed
    on conflict (person_id, serving_key) do update
    set is_served = true, score = excluded.score, function_name = excluded.function_name
    where not impression.is_served;

    -- The first exposure counts: a person who is known in this variation need not be computed again.
    if (v_serving).experiment_id is not null and not exists (
      select
      from experiment.exposure
      where exposure.person_id = v_person_id
        and exposure.experiment_id = (v_serving).experiment_id
        and exposure.variation = (v_serving).variation
        and exposure.exposed_at <= (v_serving).listed_at
    ) then
      perform experiment.queue_exposures(array[v_person_id]);
    end if;
  end if;

  insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
  select
    date_trunc('hour', now(), 'UTC'), _record_list.function_name, _record_list.kind,
    max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint), count(*),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0)
  from unnest(_record_list.list) as listed;
end;
$$;

comment on function recommend._record_list(recommend.recommendation[], text, text, timestamptz) is $$
@behavior -*
Records the rows of a list as served, each once, and how long the call of `function_name` took since `started_at`.
The list is one that the caller has just made: nothing is checked. One that is for no person is recorded for the learner
who is signed in, and otherwise not. Those of people who have opted out of `personalization` are not recorded.
$$;
--! EndIncluded recommend/feedback/_record_list.sql

--! Included recommend/feedback/serve_me.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_me(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_me(
      serve_me.top, serve_me.kind, serve_me.exclude_items, serve_me.only_items, serve_me.diversity, serve_me.page
    ) as listed
  );
begin
  perform recommend._record_list(v_list, 'serve_me', serve_me.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_me(int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_me` returns, and records each row as served to the signed-in person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For a person who has opted
out of `personalization`, nothing is recorded. The arguments and errors are those of `recommend.for_me`.
$$;

grant execute on function recommend.serve_me(int, text, text[], text[], float8, text) to insights_learner;
--! EndIncluded recommend/feedback/serve_me.sql

--! Included recommend/feedback/serve_person.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_person(
      serve_person.person, serve_person.top, serve_person.kind, serve_person.exclude_items, serve_person.only_items,
      serve_person.diversity, serve_person.page
    ) as listed
  );
begin
  perform recommend._record_list(v_list, 'serve_person', serve_person.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_person(text, int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_person` returns, and records each row as served to the person.
For a list that will be shown; `recommend.impression` has the rows and the answers to them. For an unknown person, and
one who has opted out of `personalization`, nothing is recorded. The arguments and errors are those of
`recommend.for_person`.
$$;

grant execute on function recommend.serve_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_person.sql

--! Included recommend/feedback/serve_items.sql
/*
 * A definer: no role may write impressions. It records the list that it makes here, so that a caller can record nothing
 * else.
 */
create or replace function recommend.serve_items(
  items text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_list constant recommend.recommendation[] := array(
    select listed
    from recommend.for_items(
      serve_items.items, serve_items.top, serve_items.kind, serve_items.exclude_items, serve_items.only_items,
      serve_items.diversity, serve_items.page
    ) as listed
  );
begin
  perform recommend._record_list(v_list, 'serve_items', serve_items.kind, v_started_at);
  return query
  select listed.*
  from unnest(v_list) as listed;
end;
$$;

comment on function recommend.serve_items(text[], int, text, text[], text[], float8, text) is $$
Returns what `recommend.for_items` returns, and records each row as served to the learner who is signed in.
For visitors, and for calls of servers, nothing is recorded: a row enters `recommend.impression` when a person sends an
event with its `serving_id`. The arguments and errors are those of `recommend.for_items`.
$$;

grant execute on function recommend.serve_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serve_items.sql

--! Included recommend/feedback/serving_report.sql
create or replace function recommend._serving_report(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  smallest_group int
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_since timestamptz := _serving_report.since;
  v_until timestamptz := _serving_report.until;
begin
  perform common.check_period(_serving_report.since, _serving_report.until);
  if _serving_report.by is null or _serving_report.by not in (
    'model', 'basis', 'rank', 'slot', 'variation', 'function'
  ) then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_serving_report.by, 100) || '"', 'null')),
      'Use model (version), basis, rank, slot (explored or ranked), variation (of an experiment) or function.');
  end if;
  perform recommend._check(1, _serving_report.kind);
  -- Whole weeks, so that two periods differ by a week at least.
  if _serving_report.smallest_group is not null then
    v_since := date_trunc('week', greatest(v_since, '2000-01-03'));
    v_until := date_trunc('week', least(v_until, now()) - interval '1 microsecond') + interval '7 days';
  end if;

  return query
  with listed as (
    select
      impression.*,
      case _serving_report.by
        when 'model' then model.version::text
        when 'basis' then impression.basis
        when 'rank' then impression.rank::text
        when 'variation' then experiment.experiment_key || '.' || variation.variation_key
        when 'function' then impression.function_name
        else case when impression.propensity is null then 'ranked' else 'explored' end
      end as name,
      case when _serving_report.smallest_group is not null then date_trunc('week', impression.listed_at) end as week
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join ml.model on model.model_id = impression.model_id
    left join experiment.experiment on experiment.experiment_id = impression.experiment_id
    left join experiment.variation
      on variation.experiment_id = impression.experiment_id
      and variation.variation = impression.variation
    left join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
    where impression.listed_at >= v_since
      and impression.listed_at < v_until
      and item.kind = _serving_report.kind
      -- For analysts, only people whom no client can invent.
      and (
        _serving_report.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- Of a group, a week of few people is left out. For admins there is one group of all weeks.
  kept as (
    select cell.name, cell.week
    from (
      select listed.name, listed.week, count(distinct listed.person_id) as people
      from listed
      group by listed.name, listed.week
    ) as cell
    where cell.people >= coalesce(_serving_report.smallest_group, 1)
  ),

  counted as (
    select
      listed.name,
      count(distinct listed.person_id) as people,
      count(*) filter (where listed.is_served) as served,
      count(distinct listed.person_id) filter (where listed.is_served) as served_people,
      count(listed.seen_at) as seen,
      count(distinct listed.person_id) filter (where listed.seen_at is not null) as seen_people,
      count(listed.clicked_at) as clicked,
      count(distinct listed.person_id) filter (where listed.clicked_at is not null) as clicked_people,
      count(listed.dismissed_at) as dismissed,
      count(distinct listed.person_id) filter (where listed.dismissed_at is not null) as dismissed_people,
      count(*) filter (where listed.liking > 0) as liked,
      count(distinct listed.person_id) filter (where listed.liking > 0) as liked_people,
      count(*) filter (where listed.liking < 0) as disliked,
      count(distinct listed.person_id) filter (where listed.liking < 0) as disliked_people,
      count(listed.completed_at) filter (where listed.seen_at is not null) as completed,
      count(distinct listed.person_id) filter (where listed.seen_at is not null and listed.completed_at is not null)
        as completed_people
    from listed
    join kept
      on kept.name is not distinct from listed.name
      and kept.week is not distinct from listed.week
    group by listed.name
  ),

  shown as (
    select
      counted.name,
      figure.people,
      figure.served,
      figure.seen,
      least(figure.clicked, figure.seen) as clicked,
      least(figure.dismissed, figure.seen) as dismissed,
      figure.liked,
      figure.disliked,
      least(figure.completed, figure.seen) as completed
    from counted
    cross join lateral (
      select
        analytics.shown(counted.people, counted.people, _serving_report.smallest_group)::bigint as people,
        analytics.shown(counted.served, counted.served_people, _serving_report.smallest_group)::bigint as served,
        analytics.shown(counted.seen, counted.seen_people, _serving_report.smallest_group)::bigint as seen,
        analytics.shown(counted.clicked, counted.clicked_people, _serving_report.smallest_group)::bigint as clicked,
        analytics.shown(counted.dismissed, counted.dismissed_people, _serving_report.smallest_group)::bigint
          as dismissed,
        analytics.shown(counted.liked, counted.liked_people, _serving_report.smallest_group)::bigint as liked,
        analytics.shown(counted.disliked, counted.disliked_people, _serving_report.smallest_group)::bigint
          as disliked,
        analytics.shown(counted.completed, counted.completed_people, _serving_report.smallest_group)::bigint
          as completed
    ) as figure
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.people, shown.served, shown.seen, shown.clicked, shown.dismissed, shown.liked, shown.disliked,
    shown.completed,
    shown.clicked::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[2],
    shown.dismissed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[2],
    shown.completed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[2]
  from shown
  order by
    case when _serving_report.by in ('model', 'rank') then shown.name::int end nulls last,
    shown.name;
end;
$$;

comment on function recommend._serving_report(timestamptz, timestamptz, text, text, int) is $$
@behavior -*
Computes the result of `recommend.serving_report`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function recommend._serving_report(timestamptz, timestamptz, text, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function recommend._serving_report_exact(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from recommend._serving_report($1, $2, $3, $4, null);
$$;

alter function recommend._serving_report_exact(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_exact(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` with exact figures of all people, for admins and workers.
$$;

grant execute on function recommend._serving_report_exact(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function recommend._serving_report_shown(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from recommend._serving_report($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function recommend._serving_report_shown(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` for analysts: figures of groups, rounded.
$$;

grant execute on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) to insights_analyst;

create or replace function recommend.serving_report(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course'
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'recommend._serving_report_exact(timestamptz, timestamptz, text, text)', 'execute'
  ) then
    return query
    select *
    from recommend._serving_report_exact(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  else
    return query
    select *
    from recommend._serving_report_shown(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  end if;
end;
$$;

comment on function recommend.serving_report(timestamptz, timestamptz, text, text) is $$
Returns how recommended items of a kind were received: served, seen, clicked, dismissed, liked, completed.
The lists are those that were made in the period. `by`: `model` (version), `basis`, `rank`, `slot` (`explored` or
`ranked`), `variation` (such as `new_order.control`: experiment and variation; null for lists in none) or `function`
(such as `serve_me`; null for rows that are known only from an event). Rows are seen when an event names them; clients
send `Recommendation Shown`. An answer that was withdrawn does not count.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a group has fewer than `analytics.setting.smallest_group` people is left out,
and numbers are rounded by `analytics.shown`.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serving_report.sql

--! Included recommend/times/serving_times.sql
/* A definer owned by insights_reader: it reads the names of items and models, which workers may not read. */
create or replace function recommend.serving_times(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'function',
  kind text default 'course'
)
returns setof recommend.serving_duration
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  perform common.check_period(serving_times.since, serving_times.until);
  if serving_times.by is null or serving_times.by not in ('function', 'model', 'hour', 'day') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(serving_times.by, 100) || '"', 'null')),
      'Use function, model (version), hour or day.');
  end if;
  perform recommend._check(1, serving_times.kind);

  return query
  with entry as (
    select
      stored.function_name, nullif(stored.model_id, 0) as model_id, stored.hour_at, bucket.place, bucket.calls,
      -- Once per row.
      case bucket.place when 1 then stored.items else 0 end as items,
      case bucket.place when 1 then stored.seconds else 0 end as seconds
    from recommend.serving_time as stored
    cross join unnest(stored.counts) with ordinality as bucket (calls, place)
    where stored.hour_at >= serving_times.since
      and stored.hour_at < serving_times.until
      and stored.kind = serving_times.kind

    union all

    select
      queued.function_name, queued.model_id, queued.hour_at,
      width_bucket(queued.seconds, common.duration_bounds()) + 1, 1, queued.item_count, queued.seconds
    from recommend.serving_call as queued
    where queued.hour_at >= serving_times.since
      and queued.hour_at < serving_times.until
      and queued.kind = serving_times.kind
  ),

  named as (
    select
      case serving_times.by
        when 'function' then entry.function_name
        when 'model' then model.version::text
        else to_char(
          date_trunc(serving_times.by, entry.hour_at),
          case serving_times.by when 'hour' then 'YYYY-MM-DD HH24:00' else 'YYYY-MM-DD' end
        )
      end as name,
      entry.place, sum(entry.calls) as calls, sum(entry.items) as items, sum(entry.seconds) as seconds
    from entry
    left join ml.model on model.model_id = entry.model_id
    group by 1, entry.place
  ),

  summed as (
    select
      named.name, sum(named.calls)::bigint as calls, sum(named.items)::bigint as items, sum(named.seconds) as seconds,
      array_agg(named.calls::bigint order by named.place) as sparse,
      array_agg(named.place::int order by named.place) as places
    from named
    group by named.name
  ),

  complete as (
    select
      summed.name, summed.calls, summed.items, summed.seconds,
      array(
        select coalesce(max(counted.calls), 0)
        from generate_series(1, cardinality(common.duration_bounds()) + 1) as place
        left join unnest(summed.places, summed.sparse) as counted (place, calls) using (place)
        group by place
        order by place
      ) as counts
    from summed
  )

  select
    complete.name, complete.calls, complete.items,
    1000 * complete.seconds / complete.calls,
    1000 * common.duration_quantile(complete.counts, 0.5),
    1000 * common.duration_quantile(complete.counts, 0.95),
    1000 * common.duration_quantile(complete.counts, 0.99),
    1000 * complete.seconds / nullif(complete.items, 0)
  from complete
  order by case when serving_times.by = 'model' then complete.name::int end nulls last, complete.name;
end;
$$;

alter function recommend.serving_times(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend.serving_times(timestamptz, timestamptz, text, text) is $$
Returns how long calls of `recommend.serve_me` and its variants took for items of a kind, with the record of the list.
The hours are those that begin in the period. `by`: `function`, `model` (version; null for lists without a model),
`hour` or `day`. Quantiles are computed from counts in buckets whose bounds differ by a factor of √2: they are at most
1.42 times as large or as small as the true value, and much nearer with many calls. Above 131 s they are 131 s.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_times(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
--! EndIncluded recommend/times/serving_times.sql

--! Included recommend/times/refresh_serving_times.sql
create or replace function recommend.refresh_serving_times(most_calls int default 20000)
returns bigint
language plpgsql
volatile
-- A definer: no role may write recommend.serving_time.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_bounds constant float8[] := common.duration_bounds();
  v_counted bigint;
begin
  perform common.check_count('most_calls', refresh_serving_times.most_calls, 1, 10000000);

  -- In one order, so that two refreshes at once do not wait for each other's rows in a circle.
  with taken as (
    delete from recommend.serving_call
    where serving_call.call_id = any (
      array(
        select queued.call_id
        from recommend.serving_call as queued
        limit refresh_serving_times.most_calls
        for update skip locked
      )
    )
    returning serving_call.*
  ),

  counted as (
    select
      taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0) as model_id,
      width_bucket(taken.seconds, v_bounds) + 1 as bucket,
      count(*) as calls, sum(taken.item_count) as items, sum(taken.seconds) as seconds
    from taken
    group by taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0), bucket
  ),

  summed as (
    select
      counted.hour_at, counted.function_name, counted.kind, counted.model_id,
      sum(counted.calls) as calls, sum(counted.items)::bigint as items, sum(counted.seconds) as seconds,
      array(
        select coalesce(max(entry.calls), 0)
        from generate_series(1, cardinality(v_bounds) + 1) as place
        left join unnest(array_agg(counted.bucket), array_agg(counted.calls)) as entry (bucket, calls)
          on entry.bucket = place
        group by place
        order by place
      ) as counts
    from counted
    group by counted.hour_at, counted.function_name, counted.kind, counted.model_id
  ),

  stored as (
    insert into recommend.serving_time as known (hour_at, function_name, kind, model_id, counts, items, seconds)
    select
      summed.hour_at, summed.function_name, summed.kind, summed.model_id, summed.counts, summed.items, summed.seconds
    from summed
    order by summed.hour_at, summed.function_name collate "C", summed.kind collate "C", summed.model_id
    on conflict (hour_at, function_name, kind, model_id) do update
    set
      counts = array(
        select former.calls + added.calls
        from unnest(known.counts) with ordinality as former (calls, place)
        join unnest(excluded.counts) with ordinality as added (calls, place) using (place)
        order by place
      ),
      items = known.items + excluded.items,
      seconds = known.seconds + excluded.seconds
  )

  select coalesce(sum(summed.calls), 0) into v_counted
  from summed;

  delete from recommend.serving_time
  where serving_time.hour_at < now() - privacy.kept_for('serving_times');
  return v_counted;
end;
$$;

comment on function recommend.refresh_serving_times(int) is $$
@behavior -mutationField
Counts the durations of calls that are stored in `recommend.serving_call`, and deletes these rows.
At most `most_calls` in a transaction; the worker repeats it until it returns 0. Counts older than
`privacy.kept_for('serving_times')` are deleted. Returns the number of calls.
Errors: CF001 for `most_calls`.
$$;

grant execute on function recommend.refresh_serving_times(int) to insights_worker;
--! EndIncluded recommend/times/refresh_serving_times.sql

-- from recommend/policies.sql
grant select on recommend.serving_call, recommend.serving_time to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on recommend.serving_call;
create policy all_rows on recommend.serving_call for select to insights_reader, insights_admin, insights_worker
using (true);
drop policy if exists all_rows on recommend.serving_time;
create policy all_rows on recommend.serving_time for select to insights_reader, insights_admin, insights_worker
using (true);

-- from recommend/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  ('recommend', 'interaction', 'person_id', 'person', 'personalization', 'deleted', 'Person that used the item.', null),
  (
    'recommend', 'interaction', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'person_id', 'person', 'personalization', 'deleted',
    'Person who dismissed the topic.', null
  ),
  (
    'recommend', 'dismissed_topic', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that named it first.', null
  ),
  (
    'recommend', 'dismissed_topic', 'topic', 'behaviour', 'personalization', 'deleted',
    'Topic, as the event of the person names it.', null
  ),
  ('recommend', 'taken', 'person_id', 'person', 'personalization', 'deleted', 'Person that took the item.', null),
  (
    'recommend', 'taken', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity that used the item first.', null
  ),
  (
    'recommend', 'impression', 'person_id', 'person', 'personalization', 'deleted',
    'Person to whom the item was recommended.', null
  ),
  (
    'recommend', 'impression', 'identity_id', 'identity', 'personalization', 'deleted',
    'Identity for which the list was made.', null
  ),
  (
    'recommend', 'impression', 'serving_key', 'behaviour', 'personalization', 'deleted',
    'Signature of the list, which the client sends back.', null
  ),
  (
    'recommend', 'impression', 'basis', 'behaviour', 'personalization', 'deleted',
    'Reason for the recommendation.', null
  ),
  (
    'recommend', 'impression', 'score', 'behaviour', 'personalization', 'deleted',
    'Score of the recommendation for the person.', null
  ),
  (
    'recommend', 'impression', 'pool', 'behaviour', 'personalization', 'deleted',
    'Items from which the recommended one was drawn.', null
  ),
  (
    'recommend', 'evaluation_person', 'person_id', 'person', 'personalization', 'deleted',
    'Person that an evaluation of recommenders is running on.', null
  ),
  (
    'recommend', 'evaluation_person', 'items', 'behaviour', 'personalization', 'deleted',
    'Items of the person before the split.', null
  ),
  (
    'recommend', 'evaluation_person', 'strengths', 'behaviour', 'personalization', 'deleted',
    'Strengths of these items.', null
  ),
  (
    'recommend', 'evaluation_person', 'left_out', 'behaviour', 'personalization', 'deleted',
    'Items that are not recommended to the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'relevant', 'behaviour', 'personalization', 'deleted',
    'Items that the person took afterwards.', null
  ),
  (
    'recommend', 'evaluation_person', 'candidates', 'derived', 'personalization', 'deleted',
    'Items that are ranked for the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'segments', 'derived', 'personalization', 'deleted',
    'Sets that contain the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'gains', 'derived', 'personalization', 'deleted',
    'Metrics of the lists of the person.', null
  ),
  (
    'recommend', 'evaluation_person', 'lists', 'derived', 'personalization', 'deleted',
    'Lists of the person by the evaluated models.', null
  ),
  (
    'recommend', 'evaluation_item', 'people', 'derived', 'personalization', 'deleted',
    'People of a sample who used the item, one bit each, while an evaluation is running.', null
  ),
  (
    'recommend', 'evaluation_weight', 'weights', 'derived', 'personalization', 'deleted',
    'What an evaluated model learned, while the evaluation is running.', null
  ),
  (
    'recommend', 'neighbours', 'neighbour_ids', 'derived', 'personalization', 'unlearned',
    'Items that go with an item, learned from the items of people.', null
  ),
  ('recommend', 'neighbours', 'weights', 'derived', 'personalization', 'unlearned', 'Weights of these items.', null),
  (
    'recommend', 'item_vector', 'content', 'behaviour', 'personalization', 'recomputed',
    'Vector of the text of an item.', null
  ),
  (
    'recommend', 'best_parameters', 'parameters', 'derived', 'personalization', 'kept',
    'Parameters that a search found best.',
    'As ml.model.parameters.'
  ),
  ('recommend', 'rule_log', 'actor', 'identity', 'service', 'cleared', 'Administrator who changed the rule.', null),
  ('recommend', 'learned', 'person_id', 'person', 'personalization', 'deleted', 'Person of a learned row.', null),
  ('recommend', 'learned', 'item_ids', 'derived', 'personalization', 'deleted', 'Items of the person.', null),
  (
    'recommend', 'learned', 'strengths', 'derived', 'personalization', 'deleted',
    'Strength of each of these items.', null
  ),
  (
    'recommend', 'learned_item', 'target_ids', 'derived', 'personalization', 'unlearned',
    'Items that were used with an item.', null
  ),
  (
    'recommend', 'learned_item', 'totals', 'derived', 'personalization', 'unlearned',
    'Sums over the people who used both.', null
  ),
  (
    'recommend', 'learned_item', 'inverse', 'derived', 'personalization', 'unlearned',
    'Row of the inverse of the sums of all people.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'recommend', 'setting', '{lambdas,kept_kinds,topic_attribute,explored_slots}',
      'Settings of the installation.'
    ),
    ('recommend', 'list_parameters', '{kind,parameters}', 'Parameters of lists, by administrators.'),
    ('recommend', 'event_weight', '{event,value_property}', 'Settings of an event type, by administrators.'),
    ('recommend', 'secret', '{inner_key,outer_key}', 'Random keys of signatures.'),
    (
      'recommend', 'rule', '{name,kind,attribute,attribute_value,language,person_set}',
      'Rules for lists, by administrators: conditions on items, and sets of people by name.'
    ),
    ('recommend', 'rule_item', '{name}', 'Name of a rule.'),
    ('recommend', 'rule_log', '{log_id}', 'Random keys.'),
    ('recommend', 'serving_call', '{call_id}', 'Random keys.'),
    ('recommend', 'serving_call', '{function_name,kind}', 'Names of functions, and kinds of items.'),
    ('recommend', 'serving_time', '{function_name,kind,counts}', 'Numbers of calls by function and kind of items.'),
    ('recommend', 'impression', '{function_name}', 'Name of a function.'),
    ('recommend', 'rule_log', '{name,settings}', 'Rules for lists, by administrators.'),
    ('recommend', 'model_part', '{algorithm}', 'Name of a method.'),
    ('recommend', 'ranked_list', '{kind,list}', 'Kinds of items, and names of lists.'),
    ('recommend', 'best_parameters', '{kind,algorithm}', 'Kinds of items, and names of methods.'),
    ('recommend', 'evaluation', '{kind,k,segments}', 'What was asked of an evaluation.'),
    ('recommend', 'evaluation_model', '{model,parts}', 'Models of an evaluation, by name and parameters.'),
    ('recommend', 'evaluation_result', '{model,segment,metric}', 'Names of models, sets and metrics.'),
    ('recommend', 'evaluation_comparison', '{model,other_model,metric}', 'Names of models and metrics.')
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

--! Included monitor/checks/_finding.sql
create or replace function monitor._finding(
  health_check text,
  subject text,
  severity text,
  message text,
  fix text,
  value float8 default null,
  threshold float8 default null
)
returns monitor.finding
language sql
immutable
parallel safe
begin atomic
  select row(health_check, subject, severity, message, fix, value, threshold)::monitor.finding;
end;

comment on function monitor._finding(text, text, text, text, text, float8, float8) is $$
Returns a finding with these fields.
$$;

create or replace function monitor._duration(given interval)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when given is null then 'an unknown time'
    when given >= interval '2 days' then format('%s days', floor(extract(epoch from given) / 86400))
    when given >= interval '2 hours' then format('%s hours', floor(extract(epoch from given) / 3600))
    when given >= interval '2 minutes' then format('%s minutes', floor(extract(epoch from given) / 60))
    else format('%s seconds', floor(extract(epoch from given)))
  end;
end;

comment on function monitor._duration(interval) is $$
Returns a duration in words, such as `3 hours`, in the largest unit of which it has at least two.
$$;
--! EndIncluded monitor/checks/_finding.sql

--! Included monitor/checks/_schedule.sql
create or replace function monitor._schedule(out known_since timestamptz, out executed_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_known_crontabs') is not null then
    execute $statement$
      select min(known.known_since), max(known.last_execution)
      from insights_queue._private_known_crontabs as known
      where known.identifier like 'insights-%'
    $statement$
    into known_since, executed_at;
  end if;
end;
$$;

comment on function monitor._schedule() is $$
Returns since when a worker has had the schedule, and when it queued a task last. Nulls without a worker so far.
$$;
--! EndIncluded monitor/checks/_schedule.sql

--! Included monitor/checks/_has_worker.sql
create or replace function monitor._has_worker()
returns boolean
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select exists (
    select
    from monitor.worker
    where worker.stopped_at is null
      and worker.seen_at > clock_timestamp() - interval '3 minutes'
  )
$$;

comment on function monitor._has_worker() is $$
Returns whether a worker has sent a heartbeat within three minutes.
$$;
--! EndIncluded monitor/checks/_has_worker.sql

--! Included monitor/checks/_check_worker.sql
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
      order by run.started_at desc
      limit 1
    ) as latest
  );

  if monitor._has_worker() then
    -- The watch runs every minute, unless a long task keeps a worker with one job at a time busy.
    if (select min(worker.started_at) from monitor.worker where worker.stopped_at is null
        and worker.seen_at > v_now - interval '3 minutes') < v_now - interval '15 minutes'
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
        'Restart the worker, and see its log. Jobs that a killed worker had locked are freed after four hours: '
          || 'select locked_by, locked_at, task_identifier from insights_queue.jobs where locked_at is not null',
        extract(epoch from v_now - v_ran_at), 900
      );
    end if;
    return;
  end if;

  select worker.* into v_latest from monitor.worker order by worker.seen_at desc limit 1;
  v_has_work := exists (select from track.stale) or exists (select from track.changed);
  v_last_seen := monitor._duration(v_now - v_latest.seen_at);
  if v_latest.stopped_at is null and v_latest.worker is not null then
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
--! EndIncluded monitor/checks/_check_worker.sql

--! Included monitor/checks/_check_probes.sql
create or replace function monitor._check_probes()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'probes', state.probe, 'warning',
    case
      when state.failures > 0 then format('the probe %s failed %s times in a row: %s', state.probe, state.failures,
        common.without_values(state.error))
      else format('values of the probe %s are refused: %s', state.probe, common.without_values(state.error))
    end,
    format('Call it to see the error: select * from %s()', probe.function_name),
    state.failures, 3
  )
  from monitor.probe_state as state
  join monitor.probe using (probe)
  where state.failures >= 3
    or state.failures = 0 and state.error is not null

  union all

  select monitor._finding(
    'probes', '', 'warning',
    format('nothing has been measured for %s', monitor._duration(clock_timestamp() - latest.measured_at)),
    'See the runs of the task: select * from monitor.run where task = ''observe'' order by started_at desc limit 5',
    extract(epoch from clock_timestamp() - latest.measured_at), 1800
  )
  from (select max(state.measured_at) as measured_at from monitor.probe_state as state) as latest
  where latest.measured_at < clock_timestamp() - interval '30 minutes'
    -- Without a worker, nothing is measured: that is a finding of its own.
    and monitor._has_worker()
    and exists (select from monitor.worker where worker.started_at < clock_timestamp() - interval '30 minutes')
$$;

comment on function monitor._check_probes() is $$
Finds probes that failed three times in a row, or whose values are refused.
Also that nothing was measured for half an hour.
$$;
--! EndIncluded monitor/checks/_check_probes.sql

--! Included monitor/checks/_check_growth.sql
create or replace function monitor._check_growth()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with size as (
    select
      series.value as bytes, setting.database_limit_bytes::float8 as most,
      (
        -- One sample of each of the last 14 days.
        select regr_slope(daily.bytes, extract(epoch from daily.sampled_at)::float8)
        from generate_series(0, 14) as day
        cross join lateral (
          select sample.sampled_at, sample.measured[series.series_id] as bytes
          from monitor.sample
          where sample.sampled_at > clock_timestamp() - make_interval(days => day + 1)
            and sample.sampled_at <= clock_timestamp() - make_interval(days => day)
          order by sample.sampled_at desc
          limit 1
        ) as daily
      ) as per_second
    from monitor.alert_setting as setting
    join monitor.series on series.metric = 'insights_database_bytes'
    where setting.database_limit_bytes is not null
  ),

  forecast as (
    select size.*,
      case when size.per_second > 0 then (size.most - size.bytes) / size.per_second / 86400 end as days
    from size
  )

  select monitor._finding(
    'growth', '',
    case when forecast.bytes >= 0.95 * forecast.most or forecast.days < 3 then 'critical' else 'warning' end,
    format('the database has %s of %s%s', pg_size_pretty(forecast.bytes::numeric),
      pg_size_pretty(forecast.most::numeric),
      case when forecast.days between 0 and 1000
        then format(', and reaches it in %s days', floor(forecast.days)) end),
    'Extend the disk and monitor.alert_setting.database_limit_bytes, or keep less: insights retention. See the largest '
      || 'tables: select relid::regclass, pg_size_pretty(pg_total_relation_size(relid)) from pg_stat_user_tables '
      || 'order by pg_total_relation_size(relid) desc limit 10',
    forecast.bytes, forecast.most
  )
  from forecast
  where forecast.bytes >= 0.85 * forecast.most
    or forecast.days < 30
$$;

comment on function monitor._check_growth() is $$
Finds that the database has almost reached its limit (`monitor.alert_setting.database_limit_bytes`).
That is 85 percent of it, or less than 30 days at the growth of the last two weeks. Nothing without this setting.
$$;
--! EndIncluded monitor/checks/_check_growth.sql

--! Included monitor/checks/_check_queue.sql
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
        format('%s jobs of the task %s are waiting', task.waiting, task.task),
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
--! EndIncluded monitor/checks/_check_queue.sql

--! Included monitor/checks/_check_tasks.sql
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
    format('Queue it: select insights_queue.add_job(''insights:%s''), and see the log of the worker.', task.task),
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
    'If no worker is busy with it, it was killed: start a worker, which runs it again. Otherwise look at '
      || 'pg_stat_activity for a lock that it waits for.',
    extract(epoch from clock_timestamp() - task.started_at), extract(epoch from greatest(task.tolerance, '12 hours'))
  )
  from task
  where task.outcome = 'running'
    and task.started_at < clock_timestamp() - greatest(task.tolerance, '12 hours')
$$;

comment on function monitor._check_tasks() is $$
Finds tasks that fail repeatedly, that have not succeeded for two of their periods, or that do not end.
$$;
--! EndIncluded monitor/checks/_check_tasks.sql

--! Included monitor/checks/_check_refresh.sql
create or replace function monitor._check_refresh()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100000;
  v_queued bigint;
  v_refreshed_at timestamptz;
  v_ran_at timestamptz;
  v_lag interval;
begin
  v_queued := (select count(*) from (select from track.stale limit v_most) as queued)
    + (select count(*) from (select from track.changed limit v_most) as queued);
  if v_queued = 0 then
    return;
  end if;
  select max(run.started_at) filter (where run.outcome = 'ok'), min(run.started_at)
  into v_refreshed_at, v_ran_at
  from (
    select run.outcome, run.started_at
    from monitor.run
    where run.task = 'refresh'
    order by run.started_at desc
    limit 20
  ) as run;
  v_lag := clock_timestamp() - coalesce(v_refreshed_at, v_ran_at);

  if v_lag >= interval '15 minutes' then
    return next monitor._finding(
      'refresh', 'lag', case when v_lag >= interval '2 hours' then 'critical' else 'warning' end,
      format(
        '%s%s changes of people wait to be refreshed, the last refresh was %s ago', v_queued,
        case when v_queued >= v_most then ' or more' end, monitor._duration(v_lag)
      ),
      'Start a worker: insights worker. If one is running, read the error: select error from monitor.run '
        || 'where task = ''refresh'' order by started_at desc limit 5. To refresh now: insights refresh',
      extract(epoch from v_lag), 900
    );
  end if;
  if v_queued >= v_most then
    return next monitor._finding(
      'refresh', 'queue', 'warning',
      format('%s or more changes of people wait to be refreshed', v_queued),
      'After a large import, wait until they are refreshed. Otherwise more arrives than is refreshed: see row_count '
        || 'and duration of select * from monitor.run where task = ''refresh'' order by started_at desc limit 20',
      v_queued, v_most
    );
  end if;
end;
$$;

comment on function monitor._check_refresh() is $$
Finds changes that have not been refreshed for 15 minutes, and more than 100,000 of them.
$$;
--! EndIncluded monitor/checks/_check_refresh.sql

--! Included monitor/checks/_check_partitions.sql
create or replace function monitor._check_partitions()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_this_month constant timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_month timestamp;
  v_rows bigint;
  v_default regclass;
begin
  -- They are made by the first run of the task; before, by the first event of a month.
  if exists (select from monitor.run where run.task = 'make_partitions' and run.outcome = 'ok')
    or exists (select from monitor.run where run.started_at < clock_timestamp() - interval '26 hours')
  then
    foreach v_month in array array[v_this_month, v_this_month + interval '1 month'] loop
      if not exists (
        select
        from pg_catalog.pg_inherits as part
        join pg_catalog.pg_class as partition on partition.oid = part.inhrelid
        where part.inhparent = 'track.event'::regclass
          and partition.relname = 'event_' || to_char(v_month, 'YYYY_MM')
          and not part.inhdetachpending
      ) then
        return next monitor._finding(
          'partitions', 'track.event_' || to_char(v_month, 'YYYY_MM'),
          case when v_month = v_this_month then 'critical' else 'warning' end,
          format('track.event has no partition for %s', to_char(v_month, 'YYYY-MM')),
          case
            when to_regclass('track.event_' || to_char(v_month, 'YYYY_MM')) is null
              then 'Create it: select track.make_partitions(). A worker does so each day: see the task make_partitions '
                || 'in monitor.run'
            else format(
              'A table of this name is detached. Attach it: alter table track.event attach partition track.event_%s '
                || 'for values from (''%s 00:00+00'') to (''%s 00:00+00'')',
              to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date
            )
          end
        );
      end if;
    end loop;
  end if;

  v_default := (
    select nullif(partitioned.partdefid, 0)::regclass
    from pg_catalog.pg_partitioned_table as partitioned
    where partitioned.partrelid = 'track.event'::regclass
  );
  if v_default is not null then
    execute format('select count(*) from (select from %s limit 1000) as stray', v_default) into v_rows;
    if v_rows > 0 then
      return next monitor._finding(
        'partitions', v_default::text, 'warning',
        format('the default partition %s has %s%s events', v_default, v_rows,
          case v_rows when 1000 then ' or more' end),
        format(
          'Detach it (alter table track.event detach partition %1$s), create the partitions of its months '
            || '(track.make_partitions), and insert its rows into track.event.', v_default
        ),
        v_rows, 1
      );
    end if;
  end if;
end;
$$;

comment on function monitor._check_partitions() is $$
Finds a missing partition of events for this month or the next one, and rows in a default partition.
$$;
--! EndIncluded monitor/checks/_check_partitions.sql

--! Included monitor/checks/_check_rollups.sql
create or replace function monitor._check_rollups()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'rollups', differed.rollup,
    -- Again and again: the cause is still there.
    case when differed.hours >= 3 then 'critical' else 'warning' end,
    format(
      '%s differed from the events in %s of %s compared cells, last on %s; they were written again',
      differed.rollup, differed.differing, differed.checked, to_char(differed.checked_at, 'YYYY-MM-DD HH24:MI "UTC"')
    ),
    format(
      'The data is repaired; find the cause, such as a manual change: select month, block, example from '
        || 'track.rollup_check where rollup = ''%s'' and differing > 0. Compare all now: '
        || 'select insights_queue.add_job(''insights:check_rollups'', ''{"seconds": 3600}'')', differed.rollup
    ),
    differed.differing, 1
  )
  from (
    select
      found.rollup, sum(found.differing)::float8 as differing, sum(found.checked)::float8 as checked,
      max(found.checked_at) as checked_at, count(distinct date_trunc('hour', found.checked_at)) as hours
    from track.rollup_check as found
    where found.differing > 0
      and found.checked_at > clock_timestamp() - interval '1 day'
    group by found.rollup
  ) as differed

  union all

  select monitor._finding(
    'rollups', '', 'warning',
    format('the rollups have not been compared with the events for %s',
      monitor._duration(clock_timestamp() - latest.checked_at)),
    'See the runs of the task: select * from monitor.run where task = ''check_rollups'' order by started_at desc '
      || 'limit 5. Nothing is compared while more than 10,000 changes wait to be refreshed.',
    extract(epoch from clock_timestamp() - latest.checked_at), 86400
  )
  from (select checked.checked_at from track.rollup_check as checked order by checked.check_id desc limit 1) as latest
  cross join monitor._schedule() as schedule
  where latest.checked_at < clock_timestamp() - interval '1 day'
    and schedule.executed_at > clock_timestamp() - interval '10 minutes'
    and schedule.known_since < clock_timestamp() - interval '1 day'
$$;

comment on function monitor._check_rollups() is $$
Finds rollups that differed from the events within a day, and that no comparison took place for a day.
$$;
--! EndIncluded monitor/checks/_check_rollups.sql

--! Included monitor/checks/_check_models.sql
create or replace function monitor._check_models()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with deployed as (
    select project.name, model.*,
      starts_with(project.name, 'recommend.') as is_recommender,
      starts_with(project.name, 'recommend.')
        or exists (select from analytics.prediction_target as target where target.project = project.name) as is_ours
    from ml.project
    cross join lateral (
      select deployment.model_id
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    join ml.model on model.model_id = latest.model_id
  ),

  newest as (
    select max(presence.day)::timestamp at time zone 'UTC' as active_at
    from track.presence
    where presence.event_type_id = 0
  )

  select monitor._finding(
    'models', deployed.name || ' (marked)', 'warning',
    format('version %s of %s was marked for training %s ago: %s', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.marked_at),
      coalesce(common.without_values(deployed.marked_reason), 'without a reason')),
    case when deployed.is_recommender
      then 'Train it: insights train. See the error of the task: select error from monitor.run where task = ''train'' '
        || 'order by started_at desc limit 1'
      else 'Train it again, with ml.train or, for predictions about learners, analytics.train_predictions.'
    end,
    extract(epoch from clock_timestamp() - deployed.marked_at), 86400
  )
  from deployed
  where deployed.marked_at < clock_timestamp() - interval '1 day'

  union all

  select monitor._finding(
    'models', deployed.name || ' (old)', 'warning',
    format('version %s of %s was trained %s ago, and there is newer activity', deployed.version, deployed.name,
      monitor._duration(clock_timestamp() - deployed.trained_at)),
    case when deployed.is_recommender
      then 'Train it: insights train. It is trained each night when there are new interactions: see the task train in '
        || 'monitor.run.'
      else 'It is trained each night: see the task train_predictions in monitor.run.'
    end,
    extract(epoch from clock_timestamp() - deployed.trained_at), extract(epoch from interval '14 days')
  )
  from deployed
  cross join newest
  where deployed.is_ours
    and deployed.marked_at is null
    and deployed.trained_at < clock_timestamp() - interval '14 days'
    and newest.active_at > deployed.trained_at + interval '14 days'

  union all

  select monitor._finding(
    'models', deployed.name || ' (drifted)', 'warning',
    format('version %s of %s has drifted from its training data: %s, by up to %s', deployed.version, deployed.name,
      case
        when drift.features = 1 then '1 input'
        when drift.features > 1 then format('%s inputs', drift.features)
        else drift.statistic
      end,
      round(drift.value::numeric, 3)),
    format('See which: select * from ml.drift where model_id = %s order by measured_at desc. Train it again, or check '
      || 'whether the data is still collected as before.', deployed.model_id),
    drift.value, null
  )
  from deployed
  cross join lateral (
    select
      count(*) filter (where latest.statistic = 'population_stability_index') as features,
      max(latest.statistic) as statistic, max(latest.value) as value
    from (
      select distinct on (drift.statistic, drift.feature) drift.statistic, drift.value, drift.verdict
      from ml.drift
      where drift.model_id = deployed.model_id
        and drift.measured_at > clock_timestamp() - interval '3 days'
      order by drift.statistic, drift.feature, drift.drift_id desc
    ) as latest
    where latest.verdict = 'drifted'
    having count(*) > 0
  ) as drift
$$;

comment on function monitor._check_models() is $$
Finds deployed models that are marked for training, old, or drifted.
Marked for a day; trained two weeks before the newest activity; drift of inputs, calibration or metric (`ml.drift`).
$$;
--! EndIncluded monitor/checks/_check_models.sql

--! Included monitor/checks/_check_relevance.sql
create or replace function monitor._check_relevance()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'relevance', 'recommend.' || reading.kind, case reading.verdict when 'worse' then 'critical' else 'warning' end,
    format('version %s of recommend.%s gets %s %% fewer clicks than version %s%s', reading.version, reading.kind,
      round((-100 * reading.difference / reading.former_click_rate)::numeric), reading.former_version,
      case reading.verdict when 'rolled_back' then ', which was deployed again' else '' end),
    case reading.verdict
      when 'worse' then format('Deploy the version before: select ml.rollback(''recommend.%s''). %s', reading.kind,
        coalesce(reading.note, ''))
      else 'Compare the versions before another training is deployed: select * from monitor.relevance(by => ''model'').'
    end,
    reading.difference, 0
  )).*
  from ml.project
  cross join lateral (
    select max(deployment.deployment_id) as deployment_id
    from ml.deployment
    where deployment.project_id = project.project_id
  ) as latest
  join monitor.deployment_relevance as reading
    on 'recommend.' || reading.kind = project.name
  where reading.verdict = 'worse' and reading.deployment_id = latest.deployment_id
    or reading.verdict = 'rolled_back' and reading.worse_at > clock_timestamp() - interval '7 days'
$$;

comment on function monitor._check_relevance() is $$
Finds deployed recommenders that are worse than the version before, and those that were rolled back in the last 7 days.
$$;
--! EndIncluded monitor/checks/_check_relevance.sql

--! Included monitor/checks/_check_ledger.sql
create or replace function monitor._check_ledger()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with verified as (
    select
      (array_agg(run.outcome order by run.started_at desc))[1] as outcome,
      (array_agg(run.run_id order by run.started_at desc))[1] as run_id,
      max(run.started_at) filter (where run.outcome = 'ok') as ok_at,
      max(run.started_at) as started_at,
      min(run.started_at) as began_at
    from (
      select run.*
      from monitor.run
      where run.task = 'verify_ledger'
        and run.outcome <> 'running'
      order by run.started_at desc
      limit 20
    ) as run
  )

  select monitor._finding(
    'ledger', 'verification', 'critical',
    format('the ledger could not be verified on %s', to_char(verified.started_at, 'YYYY-MM-DD HH24:MI "UTC"')),
    format('Read the error: select error from monitor.run where run_id = %s. If the ledger and the records differ, '
      || 'records were changed outside of this system: keep a copy of the database, and list the differences: '
      || 'select problem.* from privacy.verify_ledger() as report cross join unnest(report.problems) as problem',
      verified.run_id)
  )
  from verified
  where verified.outcome = 'failed'

  union all

  select monitor._finding(
    'ledger', 'age of the verification', 'warning',
    format('the ledger has not been verified for %s',
      monitor._duration(clock_timestamp() - coalesce(verified.ok_at, verified.began_at))),
    'Verify it: select * from privacy.verify_ledger(). A worker does so each day: see the task verify_ledger in '
      || 'monitor.run.',
    extract(epoch from clock_timestamp() - coalesce(verified.ok_at, verified.began_at)),
    extract(epoch from interval '3 days')
  )
  from verified
  where coalesce(verified.ok_at, verified.began_at) < clock_timestamp() - interval '3 days'
    and verified.outcome <> 'failed'

  union all

  select monitor._finding(
    'ledger', 'seal', 'warning',
    format('nothing has been sealed for %s, not even the daily checkpoint',
      monitor._duration(clock_timestamp() - latest.sealed_at)),
    'Start a worker: insights worker. If one is running, see the task seal in monitor.run.',
    extract(epoch from clock_timestamp() - latest.sealed_at), extract(epoch from interval '2 days')
  )
  from (select ledger.sealed_at from privacy.ledger order by ledger.position desc limit 1) as latest
  where latest.sealed_at < clock_timestamp() - interval '2 days'
$$;

comment on function monitor._check_ledger() is $$
Finds a ledger that differs from the records, that was not verified for three days, or not sealed for two.
$$;
--! EndIncluded monitor/checks/_check_ledger.sql

--! Included monitor/checks/_check_requests.sql
create or replace function monitor._check_requests()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'requests', pending.kind || ' (overdue)', 'critical',
    format('%s %s of people for %s, the oldest of which had to be answered %s ago', pending.overdue,
      case pending.overdue when 1 then 'request' else 'requests' end, pending.kind,
      monitor._duration(clock_timestamp() - pending.due_at)),
    format('Answer them, and record it with privacy.complete_request: select request_id, due_at from '
      || 'privacy.open_requests where kind = ''%s'' order by due_at', pending.kind),
    pending.overdue, 1
  )
  from (
    select
      request.kind, count(*) as overdue, min(request.due_at) as due_at
    from privacy.open_requests as request
    where request.is_overdue
    group by request.kind
  ) as pending

  union all

  select monitor._finding(
    'requests', pending.kind || ' (soon)', 'warning',
    format('%s %s of people for %s must be answered within 3 days', pending.soon,
      case pending.soon when 1 then 'request' else 'requests' end, pending.kind),
    format('select request_id, due_at from privacy.open_requests where kind = ''%s'' order by due_at', pending.kind),
    pending.soon, 1
  )
  from (
    select request.kind, count(*) as soon
    from privacy.open_requests as request
    where not request.is_overdue
      and request.due_at < clock_timestamp() + interval '3 days'
    group by request.kind
  ) as pending

  union all

  select monitor._finding(
    'requests', 'erasures', 'warning',
    format('%s erasures are not completed: views and lists still contain their sums', pending.open),
    'Start a worker: insights worker. If one is running, see the task erase in monitor.run.',
    pending.open, 1
  )
  from (
    select count(*) as open
    from privacy.erasure
    where erasure.completed_at is null
      and erasure.erased_at < clock_timestamp() - interval '1 day'
  ) as pending
  where pending.open > 0
$$;

comment on function monitor._check_requests() is $$
Finds requests of people that are overdue or must be answered within three days, and erasures that are not completed.
$$;
--! EndIncluded monitor/checks/_check_requests.sql

--! Included monitor/checks/_check_retention.sql
create or replace function monitor._check_retention()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'retention', '',
    case when late.since < clock_timestamp() - interval '7 days' then 'critical' else 'warning' end,
    format('the rules of retention (%s) have not been applied for %s', late.rules,
      monitor._duration(clock_timestamp() - late.since)),
    'Start a worker, or see the task apply_retention in monitor.run. To apply them now: insights retention apply --yes',
    extract(epoch from clock_timestamp() - late.since), extract(epoch from interval '2 days')
  )
  from (
    select
      left(string_agg(retention.rule, ', ' order by retention.rule), 200) as rules,
      greatest(
        min(retention.set_at),
        (
          select max(run.started_at)
          from monitor.run
          where run.task = 'apply_retention'
            and run.outcome = 'ok'
        )
      ) as since
    from privacy.retention
    having count(*) > 0
  ) as late
  where late.since < clock_timestamp() - interval '2 days'
$$;

comment on function monitor._check_retention() is $$
Finds that rules of retention were not applied for two days.
$$;
--! EndIncluded monitor/checks/_check_retention.sql

--! Included monitor/checks/_check_tables.sql
create or replace function monitor._check_tables()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'tables', format('%s.%s', stored.schemaname, stored.relname), 'warning',
    format('%s of %s rows of %s.%s are dead', stored.n_dead_tup, stored.n_dead_tup + stored.n_live_tup,
      stored.schemaname, stored.relname),
    format('vacuum (analyze) %I.%I. If they remain, an old transaction, a replication slot or a prepared transaction '
      || 'holds them: select pid, xact_start from pg_stat_activity order by xact_start',
      stored.schemaname, stored.relname),
    stored.n_dead_tup::float8 / (stored.n_dead_tup + stored.n_live_tup), 0.4
  )
  from pg_catalog.pg_stat_user_tables as stored
  where stored.schemaname in (
      'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor', 'insights_queue'
    )
    and stored.n_dead_tup > 100000
    and stored.n_dead_tup > 0.4 * (stored.n_dead_tup + stored.n_live_tup)
    -- Autovacuum is about to come, or has just been there.
    and greatest(stored.last_vacuum, stored.last_autovacuum, '-infinity') < clock_timestamp() - interval '1 hour'

  union all

  select monitor._finding(
    'tables', format('%s.%s', namespace.nspname, class.relname), 'warning',
    format('the index %s.%s is not valid, and is not used', namespace.nspname, class.relname),
    format('reindex index concurrently %I.%I', namespace.nspname, class.relname)
  )
  from pg_catalog.pg_index as index
  join pg_catalog.pg_class as class on class.oid = index.indexrelid
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where not index.indisvalid
    and class.relkind = 'i'
    and namespace.nspname in ('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
    and not exists (
      select
      from pg_catalog.pg_stat_progress_create_index as progress
      where progress.relid = index.indrelid
    )
$$;

comment on function monitor._check_tables() is $$
Finds tables of which 40 percent and 100,000 rows are dead, and indexes that are not valid.
$$;
--! EndIncluded monitor/checks/_check_tables.sql

--! Included monitor/checks/_check_wraparound.sql
create or replace function monitor._check_wraparound()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'wraparound', aged.kind,
    case when aged.age >= 1500000000 then 'critical' else 'warning' end,
    format('the oldest %s is %s million old; at about 2100 million the database refuses writes', aged.kind,
      floor(aged.age / 1e6)),
    'Vacuum the oldest tables: select oid::regclass, age(relfrozenxid), mxid_age(relminmxid) from pg_class '
      || 'where relkind in (''r'', ''m'', ''t'') order by greatest(age(relfrozenxid), mxid_age(relminmxid)) desc '
      || 'limit 10. Look for old transactions, slots and prepared transactions that hold them.',
    aged.age, 1000000000
  )
  from pg_catalog.pg_database as database
  cross join lateral (
    values
      ('transaction', age(database.datfrozenxid)::float8),
      ('multixact', mxid_age(database.datminmxid)::float8)
  ) as aged (kind, age)
  where database.datname = current_database()
    and aged.age >= 1000000000
$$;

comment on function monitor._check_wraparound() is $$
Finds that the oldest transaction or multixact is 1000 million old.
$$;
--! EndIncluded monitor/checks/_check_wraparound.sql

--! Included monitor/checks/_check_connections.sql
create or replace function monitor._check_connections()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'connections', '',
    case when used.share >= 0.95 then 'critical' else 'warning' end,
    format('%s of %s connections are in use', used.connections, used.most),
    'See whose they are: select usename, application_name, state, count(*) from pg_stat_activity group by 1, 2, 3 '
      || 'order by 4 desc. Lower the pools (INSIGHTS_POOL_SIZE), use a pooler, or raise max_connections.',
    used.share, 0.8
  )
  from (
    select
      count(*) as connections, limits.most, count(*)::float8 / limits.most as share
    from pg_catalog.pg_stat_activity as activity
    cross join (
      select
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most
    ) as limits
    where activity.backend_type = 'client backend'
    group by limits.most
  ) as used
  where used.share >= 0.8
    -- The embedded database has one session.
    and used.most > 10

  union all

  select monitor._finding(
    'connections', 'open transaction', 'warning',
    format('a transaction has been open for %s (process %s, %s)', monitor._duration(oldest.age), oldest.pid,
      coalesce(oldest.state, 'unknown state')),
    format('While it is open, no dead rows are removed. End it: select pg_terminate_backend(%s). '
      || 'Set idle_in_transaction_session_timeout for its login.', oldest.pid),
    extract(epoch from oldest.age), 3600
  )
  from (
    -- Those of other logins are visible to members of pg_read_all_stats only.
    select activity.pid, activity.state, clock_timestamp() - activity.xact_start as age
    from pg_catalog.pg_stat_activity as activity
    where activity.backend_type = 'client backend'
      and activity.datname = current_database()
      and activity.pid <> pg_backend_pid()
      and activity.xact_start < clock_timestamp() - interval '1 hour'
    order by activity.xact_start
    limit 1
  ) as oldest

  union all

  select monitor._finding(
    'connections', 'prepared transaction', 'warning',
    format('%s prepared transactions are older than an hour', count(*)),
    'Commit or roll them back: select gid, prepared, owner from pg_prepared_xacts order by prepared',
    count(*), 1
  )
  from pg_catalog.pg_prepared_xacts as prepared
  where prepared.database = current_database()
    and prepared.prepared < clock_timestamp() - interval '1 hour'
  having count(*) > 0
$$;

comment on function monitor._check_connections() is $$
Finds that 80 percent of the connections are in use, and transactions that have been open for an hour.
$$;
--! EndIncluded monitor/checks/_check_connections.sql

--! Included monitor/checks/_check_replication.sql
create or replace function monitor._check_replication()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A standby has no position of its own, and the embedded database no replication.
  if pg_is_in_recovery() or version() like '%wasm%' then
    return;
  end if;

  return query
  select (monitor._finding(
    'replication', 'slot ' || slot.slot_name,
    case when slot.wal_status in ('unreserved', 'lost') or slot.bytes >= 50e9 then 'critical' else 'warning' end,
    case slot.wal_status
      when 'lost' then format('the replication slot %s has lost data that its standby needs', slot.slot_name)
      else format(
        'the replication slot %s is %s and holds %s of WAL', slot.slot_name,
        case when slot.active then 'behind' else 'not in use' end, pg_size_pretty(slot.bytes)
      )
    end,
    case slot.wal_status
      when 'lost' then format('Build its standby again, and drop the slot: select pg_drop_replication_slot(%L)',
        slot.slot_name)
      else format('Start what reads it. If nothing does any more, drop it before the disk is full: '
        || 'select pg_drop_replication_slot(%L)', slot.slot_name)
    end,
    slot.bytes::float8, 1e9
  )).*
  from (
    select slots.slot_name, slots.active, slots.wal_status,
      pg_wal_lsn_diff(pg_current_wal_lsn(), slots.restart_lsn) as bytes
    from pg_catalog.pg_replication_slots as slots
  ) as slot
  where slot.wal_status in ('unreserved', 'lost')
    or not slot.active and slot.bytes >= 1e9
    or slot.bytes >= 10e9;

  return query
  -- Visible to members of pg_monitor only.
  select (monitor._finding(
    'replication', 'standby ' || coalesce(nullif(standby.application_name, ''), standby.pid::text),
    case when standby.replay_lag >= interval '1 hour' then 'critical' else 'warning' end,
    format('the standby %s is %s behind', coalesce(nullif(standby.application_name, ''), standby.pid::text),
      monitor._duration(standby.replay_lag)),
    'Look at the load and the network of the standby, and for a long query there: select * from pg_stat_replication',
    extract(epoch from standby.replay_lag), 300
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.replay_lag >= interval '5 minutes';
end;
$$;

comment on function monitor._check_replication() is $$
Finds replication slots that hold much WAL or have lost it, and standbys that are five minutes behind.
$$;
--! EndIncluded monitor/checks/_check_replication.sql

--! Included monitor/checks/_check_clock.sql
create or replace function monitor._check_clock()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'clock', '', 'warning',
    format('there are records of the future, %s from now (%s): the clock of the server moved back, or was ahead',
      monitor._duration(latest.at - clock_timestamp()), latest.name),
    'Check the clock of the server (timedatectl, chronyc tracking). Until that time, tasks that look at the time of '
      || 'their last run may wait.',
    extract(epoch from latest.at - clock_timestamp()), 60
  )
  from (
    select found.name, found.at
    from (
      select 'monitor.run' as name, latest.started_at as at
      from monitor.scheduled_task as scheduled
      cross join lateral (
        select run.started_at
        from monitor.run
        where run.task = scheduled.task
        order by run.started_at desc
        limit 1
      ) as latest
      union all
      (select 'monitor.worker', worker.seen_at from monitor.worker order by worker.seen_at desc limit 1)
      union all
      (select 'monitor.sample', sample.sampled_at from monitor.sample order by sample.sampled_at desc limit 1)
      union all
      (select 'privacy.ledger', ledger.sealed_at from privacy.ledger order by ledger.position desc limit 1)
      union all
      (
        select 'track.rollup_check', checked.checked_at
        from track.rollup_check as checked
        order by checked.check_id desc
        limit 1
      )
    ) as found
    order by found.at desc
    limit 1
  ) as latest
  where latest.at > clock_timestamp() + interval '1 minute'
$$;

comment on function monitor._check_clock() is $$
Finds records whose time is in the future.
$$;
--! EndIncluded monitor/checks/_check_clock.sql

--! Included monitor/checks/_check_notifications.sql
create or replace function monitor._check_notifications()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'notifications', channel.channel, 'warning',
    format('the channel %s has not taken a notification for %s: %s', channel.channel,
      monitor._duration(clock_timestamp() - channel.failing_since), coalesce(channel.last_error, 'no error')),
    format('Repair the receiver, or set its URL: select monitor.set_channel(%L, …). '
      || 'Then test it: select monitor.test_channel(%L)', channel.channel, channel.channel),
    extract(epoch from clock_timestamp() - channel.failing_since), 900
  )).*
  from monitor.channel
  where channel.is_active
    and channel.failures >= 3
    and channel.failing_since <= clock_timestamp() - interval '15 minutes'

  union all

  select (monitor._finding(
    'notifications', failed.channel || ': undelivered', 'warning',
    format('%s notifications to the channel %s were not delivered in the last day', failed.notifications,
      failed.channel),
    format('Read them: select * from monitor.notification where channel = %L and state = ''failed''', failed.channel),
    failed.notifications, 1
  )).*
  from (
    select notification.channel, count(*) as notifications
    from monitor.notification
    where notification.state = 'failed'
      and notification.finished_at > clock_timestamp() - interval '1 day'
    group by notification.channel
  ) as failed

  union all

  select (monitor._finding(
    'notifications', waiting.channel || ': waiting', 'warning',
    format('a notification to the channel %s has waited for %s', waiting.channel,
      monitor._duration(clock_timestamp() - waiting.since)),
    'Start a worker: insights worker. Its task notify sends them.',
    extract(epoch from clock_timestamp() - waiting.since), 900
  )).*
  from (
    select notification.channel, min(notification.created_at) as since
    from monitor.notification
    join monitor.channel using (channel)
    where notification.finished_at is null
      and channel.is_active
      and channel.failures = 0
    group by notification.channel
  ) as waiting
  where waiting.since <= clock_timestamp() - interval '15 minutes'
$$;

comment on function monitor._check_notifications() is $$
Finds channels that fail, and notifications that were not delivered.
A channel must have failed for a quarter of an hour. Notifications are those that failed permanently within a day, and
those that wait although the channel works.
$$;
--! EndIncluded monitor/checks/_check_notifications.sql

--! Included monitor/rules/_series_values.sql
create or replace function monitor._series_values(series_id int, kind text, since timestamptz, until timestamptz)
returns table (sampled_at timestamptz, value float8)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with measured as (
    select
      sample.sampled_at, sample.measured[_series_values.series_id] as value
    from monitor.sample
    where sample.sampled_at >= _series_values.since
      and sample.sampled_at <= _series_values.until
  ),

  stepped as (
    select measured.*,
      measured.value - lag(measured.value) over step as increase,
      extract(epoch from measured.sampled_at - lag(measured.sampled_at) over step)::float8 as seconds
    from measured
    where measured.value is not null
    window step as (order by measured.sampled_at)
  )

  select stepped.sampled_at,
    case when _series_values.kind = 'counter' then stepped.increase / nullif(stepped.seconds, 0) else stepped.value end
  from stepped
  -- A counter that begins at 0 again has no increase.
  where _series_values.kind <> 'counter'
    or stepped.increase >= 0
  order by stepped.sampled_at
$$;

comment on function monitor._series_values(int, text, timestamptz, timestamptz) is $$
Returns the values of a series in a period, in order; of a counter, its increase per second since the value before.
$$;
--! EndIncluded monitor/rules/_series_values.sql

--! Included monitor/rules/_learn_bounds.sql
create or replace function monitor._learn_bound(series_id int, kind text, unit text, at timestamptz)
returns monitor.rule_bound
language sql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
  with past as materialized (
    select
      measured.value, measured.sampled_at,
      extract(isodow from measured.sampled_at) = extract(isodow from _learn_bound.at)
        and extract(hour from measured.sampled_at) = extract(hour from _learn_bound.at) as is_same_hour
    -- Without the last hour, which may be the problem itself, and with the same hour of four weeks.
    from monitor._series_values(
      _learn_bound.series_id, _learn_bound.kind,
      _learn_bound.at - interval '29 days', _learn_bound.at - interval '1 hour'
    ) as measured
  ),

  chosen as (
    select
      case
        when count(*) < 100 or max(past.sampled_at) - min(past.sampled_at) < interval '1 day' then 'learning'
        when count(distinct past.sampled_at::date) filter (where past.is_same_hour) >= 4 then 'hour of the week'
        else 'all hours'
      end as basis
    from past
  ),

  used as materialized (
    select past.value, chosen.basis
    from chosen
    join past on past.is_same_hour or chosen.basis <> 'hour of the week'
  ),

  middle as (
    select percentile_cont(0.5) within group (order by used.value) as median
    from used
  )

  select null::text, _learn_bound.series_id, chosen.basis, count(used.value)::int,
    case when chosen.basis <> 'learning' then min(middle.median) end,
    case when chosen.basis <> 'learning' then greatest(
      1.4826 * percentile_cont(0.5) within group (order by abs(used.value - middle.median)),
      0.05 * abs(min(middle.median)),
      case
        when _learn_bound.unit in ('ratio', 'flag') then 0.01
        when _learn_bound.unit = 'bytes' then 1e6
        when _learn_bound.unit = 'seconds' then 0.1
        when _learn_bound.kind = 'counter' then 0.01
        else 1
      end
    ) end,
    _learn_bound.at
  from chosen
  cross join middle
  left join used on true
  group by chosen.basis
$$;

comment on function monitor._learn_bound(int, text, text, timestamptz) is $$
Returns the median and the spread of a series in the last four weeks, for the present hour of the week if possible.
$$;

create or replace function monitor._learn_bounds(most interval default '300 ms')
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at constant timestamptz := clock_timestamp();
  v_learned int := 0;
  v_series record;
begin
  for v_series in
    select rule.rule, series.series_id, metric.kind, metric.unit
    from monitor.rule
    join monitor.metric using (metric)
    join monitor.series on series.metric = rule.metric and series.labels @> rule.labels
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where rule.is_active
      and rule.threshold is null
      and (
        bound.learned_at is null
        or date_trunc('hour', bound.learned_at) <> date_trunc('hour', v_at)
      )
    order by bound.learned_at nulls first, rule.rule, series.series_id
  loop
    insert into monitor.rule_bound (rule, series_id, basis, samples, median, spread, learned_at)
    select v_series.rule, v_series.series_id, bound.basis, bound.samples, bound.median, bound.spread, v_at
    from monitor._learn_bound(v_series.series_id, v_series.kind, v_series.unit, v_at) as bound
    on conflict on constraint rule_bound_pkey do update
    set
      basis = excluded.basis,
      samples = excluded.samples,
      median = excluded.median,
      spread = excluded.spread,
      learned_at = excluded.learned_at;
    v_learned := v_learned + 1;
    -- The others follow in the next run.
    exit when clock_timestamp() - v_at > _learn_bounds.most;
  end loop;
  return v_learned;
end;
$$;

comment on function monitor._learn_bounds(interval) is $$
Renews the learned bounds of rules that are not of this hour, as many as there is time for. Returns their number.
$$;
--! EndIncluded monitor/rules/_learn_bounds.sql

--! Included monitor/rules/_find_rule.sql
create or replace function monitor._find_rule(rule text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not exists (select from monitor.rule as known where known.rule = _find_rule.rule) then
    perform common.refuse(
      'CF002',
      format('there is no rule "%s"', coalesce(left(_find_rule.rule, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _find_rule.rule, array(select known.rule from monitor.rule as known order by 1 limit 1000)
        ) || '"?',
        'The rules are the rows of monitor.rule.'
      )
    );
  end if;
end;
$$;

comment on function monitor._find_rule(text) is $$
Raises CF002 unless there is a rule of this name.
$$;
--! EndIncluded monitor/rules/_find_rule.sql

--! Included monitor/rules/rule_state.sql
create or replace function monitor._state_of_rule(rule monitor.rule, at timestamptz)
returns setof monitor.rule_state
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_latest constant timestamptz := (select max(sample.sampled_at) from monitor.sample);
  v_series record;
  v_state monitor.rule_state;
begin
  for v_series in
    select
      series.series_id, coalesce(series.labels, rule.labels) as labels, metric.kind,
      coalesce(probe.every, interval '5 minutes') as every, bound.basis, bound.samples, bound.median, bound.spread
    from monitor.metric
    left join monitor.series on series.metric = metric.metric and series.labels @> rule.labels
    left join monitor.probe using (probe)
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where metric.metric = rule.metric
    order by series.series_id
    limit 1000
  loop
    v_state := null;
    v_state.rule := rule.rule;
    v_state.metric := rule.metric;
    v_state.labels := v_series.labels;
    if rule.threshold is not null then
      v_state.basis := 'set';
      v_state.lower_bound := case when rule.direction = 'below' then rule.threshold end;
      v_state.upper_bound := case when rule.direction = 'above' then rule.threshold end;
    else
      v_state.basis := coalesce(v_series.basis, 'learning');
      v_state.samples := coalesce(v_series.samples, 0);
      v_state.lower_bound := case when rule.direction <> 'above'
        then v_series.median - rule.deviations * v_series.spread end;
      v_state.upper_bound := case when rule.direction <> 'below'
        then v_series.median + rule.deviations * v_series.spread end;
    end if;

    select
      (array_agg(measured.value order by measured.sampled_at desc))[1],
      max(measured.sampled_at),
      min(measured.sampled_at) filter (where measured.sampled_at > coalesce(measured.inside_at, '-infinity'))
    into v_state.value, v_state.measured_at, v_state.outside_since
    from (
      select recent.*,
        max(recent.sampled_at) filter (
          where not coalesce(recent.value < v_state.lower_bound or recent.value > v_state.upper_bound, false)
        ) over () as inside_at
      from monitor._series_values(
        v_series.series_id, v_series.kind, at - rule.hold - 3 * v_series.every - interval '5 minutes', at
      ) as recent
    ) as measured;

    v_state.state := case
      when not rule.is_active then 'inactive'
      when v_state.measured_at is null or v_state.measured_at < v_latest - 3 * v_series.every then 'no data'
      when v_state.basis = 'learning' then 'learning'
      when v_state.outside_since is null then 'ok'
      -- Samples are some seconds apart from their schedule.
      when v_state.outside_since <= at - rule.hold + interval '30 seconds' then 'firing'
      else 'pending'
    end;
    return next v_state;
  end loop;
end;
$$;

comment on function monitor._state_of_rule(monitor.rule, timestamptz) is $$
Returns the state of a rule for each of its series, at most 1,000; one row without a series when no series exists.
$$;

create or replace function monitor.rule_state(rule text default null)
returns setof monitor.rule_state
language plpgsql
stable
-- A definer: analysts may not read the samples.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
begin
  if rule_state.rule is not null then
    perform monitor._find_rule(rule_state.rule);
  end if;
  return query
  select state.*
  from monitor.rule as known
  cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
  where known.rule = rule_state.rule
    or rule_state.rule is null
  order by known.rule, state.labels;
end;
$$;

comment on function monitor.rule_state(text) is $$
Returns the state of a rule, or of all, for each of their series: value, bounds, and whether it is outside.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function monitor.rule_state(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/rules/rule_state.sql

--! Included monitor/rules/_check_rules.sql
create or replace function monitor._check_rules()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with state as (
    select known.severity, known.expects_data, known.set_at, state.*
    from monitor.rule as known
    cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
    where known.is_active
  )

  select monitor._finding(
    state.rule,
    case when state.labels = '{}' then '' else state.labels::text end,
    state.severity,
    format(
      '%s%s is %s, %s the %s bound %s', state.metric, case when state.labels <> '{}' then ' ' || state.labels::text end,
      round(state.value::numeric, 3),
      case when state.value > state.upper_bound then 'above' else 'below' end,
      case state.basis when 'set' then 'set' else 'learned' end,
      round((case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end)::numeric, 3)
    ),
    format('See its past: select * from monitor.history(%L, %L). If this is expected, change the rule with '
      || 'monitor.set_rule, or silence it: select monitor.silence(%L, now() + interval ''1 day'', ''expected'')',
      state.metric, state.labels, state.rule),
    state.value,
    case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end
  )
  from state
  where state.state = 'firing'

  union all

  select monitor._finding(
    state.rule, 'no data', 'warning',
    format('%s has no recent value, so the rule %s cannot be evaluated', min(state.metric), state.rule),
    format('See the probe that measures it: select probe, started_at, error from monitor.probe_state. If the metric no '
      || 'longer exists: select monitor.drop_rule(%L)', state.rule)
  )
  from state
  where state.expects_data
    and state.set_at < clock_timestamp() - interval '1 hour'
    -- While nothing is measured at all, that is the finding (check "probes").
    and (select max(sample.sampled_at) from monitor.sample) > clock_timestamp() - interval '30 minutes'
    and (select min(sample.sampled_at) from monitor.sample) < clock_timestamp() - interval '30 minutes'
  group by state.rule
  having bool_and(state.state = 'no data')
$$;

comment on function monitor._check_rules() is $$
Finds series that are outside of the bounds of a rule for its time, and rules whose metric has no recent value.
The findings have the name of the rule as their source.
$$;
--! EndIncluded monitor/rules/_check_rules.sql

--! Included monitor/checks/_run_checks.sql
create or replace function monitor._run_checks(
  out findings monitor.finding[],
  out unfinished text[],
  out checks int
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100;
  v_started_at constant timestamptz := clock_timestamp();
  -- The embedded database has one session, for which all other clients wait.
  v_longest constant interval := case when version() like '%wasm%' then '5 seconds' else '10 seconds' end;
  v_check monitor.health_check;
  v_found monitor.finding[];
  v_problem text;
  v_has_time boolean := true;
begin
  findings := '{}';
  unfinished := '{}';
  checks := 0;
  for v_check in select health_check.* from monitor.health_check order by health_check.position loop
    checks := checks + 1;
    if not v_has_time then
      unfinished := unfinished || v_check.health_check;
      continue;
    end if;

    v_problem := null;
    begin
      execute format(
        'select array(select finding from %s() as finding limit %s)', v_check.function_name, v_most + 1
      )
      into v_found;
      if cardinality(v_found) > v_most then
        v_problem := format('found more than %s problems', v_most);
        v_found := v_found[:v_most];
        findings := findings || v_found;
      end if;
    exception
      -- Also a cancelled statement, which "others" leaves out: the time limit of the caller, or an administrator. The
      -- limit has then passed for all checks.
      when query_canceled then
        v_problem := 'was cancelled [57014]';
        v_has_time := false;
      when assert_failure or others then
        v_problem := format('failed: %s [%s]', common.without_values(sqlerrm), sqlstate);
    end;

    if v_problem is null then
      findings := findings || v_found;
    else
      unfinished := unfinished || v_check.health_check;
      findings := findings || row(
        v_check.health_check,
        'the check itself',
        'warning',
        format('the check %s %s', v_check.health_check, v_problem),
        format('Call it to see the error: select * from %s()', v_check.function_name),
        null,
        null
      )::monitor.finding;
    end if;
    v_has_time := v_has_time and clock_timestamp() - v_started_at <= v_longest;
  end loop;

  if exists (
    select from unnest(unfinished) as name
    where name not in (
      select found.health_check from unnest(findings) as found where found.subject = 'the check itself'
    )
  ) then
    findings := findings || row(
      'health',
      'time',
      'warning',
      format(
        'the checks took longer than %s s, and these were not run: %s',
        round(extract(epoch from clock_timestamp() - v_started_at)::numeric, 1),
        (
          select string_agg(name, ', ')
          from unnest(unfinished) as name
          where name not in (
            select found.health_check from unnest(findings) as found where found.subject = 'the check itself'
          )
        )
      ),
      'Look for locks and for a load that slows the catalogue: select * from pg_stat_activity',
      extract(epoch from clock_timestamp() - v_started_at),
      extract(epoch from v_longest)
    )::monitor.finding;
  end if;

  -- The findings of this check have the names of rules.
  if 'rules' = any (unfinished) then
    unfinished := unfinished || array(select rule.rule from monitor.rule);
  end if;

  -- A subject has one finding: the worst one.
  findings := array(
    select row(
      worst.health_check, worst.subject, worst.severity, left(worst.message, 2000), left(worst.fix, 2000), worst.value,
      worst.threshold
    )::monitor.finding
    from (
      select distinct on (found.health_check, left(coalesce(found.subject, ''), 300))
        found.health_check, left(coalesce(found.subject, ''), 300) as subject,
        case when found.severity = 'critical' then 'critical' else 'warning' end as severity,
        coalesce(found.message, 'no message') as message, coalesce(found.fix, 'See docs/operations.md.') as fix,
        found.value, found.threshold, found.number
      from unnest(findings)
        with ordinality as found (health_check, subject, severity, message, fix, value, threshold, number)
      order by found.health_check, left(coalesce(found.subject, ''), 300), found.severity <> 'critical', found.number
    ) as worst
    order by worst.severity <> 'critical', worst.number
  );
end;
$$;

comment on function monitor._run_checks() is $$
Runs all checks and rules.
Returns their findings, the worst first, the checks that were not completed, and the number of checks.
A check that fails is a finding itself and does not stop the others.
$$;
--! EndIncluded monitor/checks/_run_checks.sql

--! Included monitor/checks/health.sql
create or replace function monitor.health()
returns monitor.health
language plpgsql
stable
-- A definer: checks read tables of all rooms, and return names of tasks, tables and models, and numbers.
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
  v_checked_at constant timestamptz := clock_timestamp();
  v_run record := monitor._run_checks();
  v_worst constant monitor.finding := v_run.findings[1];
  v_problems constant int := cardinality(v_run.findings);
begin
  return row(
    coalesce(v_worst.severity, 'ok'),
    case v_problems
      when 0 then format('%s checks found no problem', v_run.checks)
      when 1 then v_worst.message
      else format('%s (and %s more)', v_worst.message, v_problems - 1)
    end,
    v_worst.fix,
    v_problems,
    v_run.findings,
    v_checked_at,
    v_run.checks
  )::monitor.health;
end;
$$;

comment on function monitor.health() is $$
Returns in one row whether the installation is well, what is wrong, and what to do.
It runs the checks of `monitor.health_check` and the active rules of `monitor.rule` on the present state, and changes
nothing. A check that fails, or is cancelled, is a finding itself. After 10 seconds (5 on the embedded database), or a
cancelled check, the remaining checks are not run, and named in a finding; set `statement_timeout` to bound each call.
The checks and their fixes are described in `docs/operations.md`.
$$;

grant execute on function monitor.health() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/checks/health.sql

--! Included monitor/alerts/_source_owner.sql
create or replace function monitor._source_owner(source text)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select coalesce(
    (select health_check.owner from monitor.health_check where health_check.health_check = _source_owner.source),
    (select rule.owner from monitor.rule where rule.rule = _source_owner.source),
    'operator'
  )
$$;

comment on function monitor._source_owner(text) is $$
Returns the owner of a check or rule.
$$;
--! EndIncluded monitor/alerts/_source_owner.sql

--! Included monitor/alerts/_is_silenced.sql
create or replace function monitor._is_silenced(source text, subject text, at timestamptz)
returns boolean
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select exists (
    select
    from monitor.alert_silence as silence
    where silence.source = _is_silenced.source
      and (silence.subject is null or silence.subject = _is_silenced.subject)
      and silence.since <= _is_silenced.at
      and silence.until > _is_silenced.at
  )
$$;

comment on function monitor._is_silenced(text, text, timestamptz) is $$
Returns whether alerts of a source and subject are silenced at a time.
$$;
--! EndIncluded monitor/alerts/_is_silenced.sql

--! Included monitor/notifications/_enqueue.sql
create or replace function monitor._enqueue(event monitor.alert_event, alert monitor.alert)
returns void
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  insert into monitor.notification (channel, alert_event_id, alert_id, message_id, body)
  select
    channel.channel, event.alert_event_id, event.alert_id,
    'msg_' || replace(gen_random_uuid()::text, '-', ''),
    json_build_object(
      'type', 'alert.' || event.transition,
      'timestamp', to_char(event.happened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', json_build_object(
        'alert_id', event.alert_id,
        'alert_event_id', event.alert_event_id,
        'source', alert.source,
        'subject', alert.subject,
        'owner', event.owner,
        'severity', event.severity,
        'state', alert.state,
        'message', alert.message,
        'fix', alert.fix,
        'value', alert.value,
        'threshold', alert.threshold,
        'opened_at', to_char(alert.opened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      )
    )::text
  from monitor.channel
  where event.is_notified
    and channel.is_active
    and (
      (
        (channel.owners is null or event.owner = any (channel.owners))
        and (channel.least_severity = 'warning' or event.severity = 'critical')
      )
      -- The end of an alert is for each channel that was notified of it.
      or (
        event.transition = 'resolved'
        and exists (
          select
          from monitor.notification as earlier
          where earlier.alert_id = event.alert_id
            and earlier.channel = channel.channel
        )
      )
    )
$$;

comment on function monitor._enqueue(monitor.alert_event, monitor.alert) is $$
Enqueues the notifications of a transition, in its transaction.
$$;
--! EndIncluded monitor/notifications/_enqueue.sql

--! Included monitor/alerts/_log_transition.sql
create or replace function monitor._log_transition(
  alert monitor.alert,
  transition text,
  author text default null,
  note text default null
)
returns void
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  with logged as (
    insert into monitor.alert_event (alert_id, transition, severity, owner, is_notified, author, note)
    select
      alert.alert_id, _log_transition.transition, alert.severity, alert.owner,
      case
        when _log_transition.transition in ('opened', 'raised', 'reopened') then not alert.is_silenced
        -- Channels that know of the alert, and of its severity, are not notified again.
        when _log_transition.transition = 'unsilenced'
          then alert.state = 'open' and known.severity is distinct from alert.severity
        when _log_transition.transition = 'resolved' then known.severity is not null
        else false
      end,
      _log_transition.author, _log_transition.note
    from (select) as one
    left join (
      select
        case when event.transition <> 'resolved' then event.severity end as severity,
        row_number() over (order by event.alert_event_id desc) as nth
      from monitor.alert_event as event
      where event.alert_id = alert.alert_id
        and event.is_notified
    ) as known on known.nth = 1
    returning alert_event.*
  )
  select monitor._enqueue(logged, _log_transition.alert)
  from logged
$$;

comment on function monitor._log_transition(monitor.alert, text, text, text) is $$
Adds a transition to the history of an alert, and decides whether channels are notified of it.
Their notifications are enqueued in the same transaction.
$$;
--! EndIncluded monitor/alerts/_log_transition.sql

--! Included monitor/alerts/watch.sql
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
--! EndIncluded monitor/alerts/watch.sql

--! Included monitor/alerts/_check_source.sql
create or replace function monitor._check_source(source text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sources constant text[] := array(
    select health_check.health_check
    from monitor.health_check
    union all
    select rule.rule
    from monitor.rule
    union all
    select 'health'
    order by 1
  );
begin
  if _check_source.source = any (v_sources) is not true then
    perform common.refuse(
      'CF002',
      format('there is no check or rule "%s"', coalesce(left(_check_source.source, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(_check_source.source, v_sources) || '"?',
        'They are the rows of monitor.health_check and monitor.rule.'
      )
    );
  end if;
end;
$$;

comment on function monitor._check_source(text) is $$
Raises CF002 unless the argument is the name of a check or rule.
$$;
--! EndIncluded monitor/alerts/_check_source.sql

--! Included monitor/alerts/_check_owner.sql
create or replace function monitor._check_owner(owner text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_owner.owner ~ '^[a-z][a-z0-9_-]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('owner is %s', coalesce('"' || left(_check_owner.owner, 100) || '"', 'null')),
      'Give a name of a role or team, such as operator: lower-case letters, digits, "_" and "-".'
    );
  end if;
end;
$$;

comment on function monitor._check_owner(text) is $$
Raises CF001 unless the argument is the name of an owner.
$$;
--! EndIncluded monitor/alerts/_check_owner.sql

--! Included monitor/alerts/_lock_alert.sql
create or replace function monitor._lock_alert(alert_id bigint)
returns monitor.alert
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_alert monitor.alert;
begin
  select alert.* into v_alert from monitor.alert where alert.alert_id = _lock_alert.alert_id for update;
  if v_alert.alert_id is null then
    perform common.refuse(
      'CF002',
      format('there is no alert %s', coalesce(_lock_alert.alert_id::text, 'null')),
      'The table monitor.alert lists the alerts.'
    );
  end if;
  if v_alert.state = 'resolved' then
    perform common.refuse(
      'CF010',
      format('alert %s is resolved', v_alert.alert_id),
      'If its problem is found again, it is opened again or has a new alert.'
    );
  end if;
  return v_alert;
end;
$$;

comment on function monitor._lock_alert(bigint) is $$
Returns an alert that is not resolved, locked for a change.
Errors: CF002 for an unknown alert, CF010 for a resolved one.
$$;

create or replace function monitor._check_note(name text, note text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if length(_check_note.note) > 2000 then
    perform common.refuse(
      'CF008',
      format('%s has %s characters', _check_note.name, length(_check_note.note)),
      'Give at most 2000 characters.'
    );
  end if;
end;
$$;

comment on function monitor._check_note(text, text) is $$
Raises CF008 for a note of more than 2,000 characters.
$$;
--! EndIncluded monitor/alerts/_lock_alert.sql

--! Included monitor/alerts/acknowledge.sql
create or replace function monitor.acknowledge(alert_id bigint, note text default null)
returns monitor.alert
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_alert monitor.alert;
begin
  perform monitor._check_note('note', acknowledge.note);
  v_alert := monitor._lock_alert(acknowledge.alert_id);
  update monitor.alert
  set
    state = 'acknowledged',
    acknowledged_at = clock_timestamp(),
    acknowledged_by = common.author(),
    changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'acknowledged', common.author(), acknowledge.note);
  return v_alert;
end;
$$;

comment on function monitor.acknowledge(bigint, text) is $$
Marks an alert as acknowledged, with a note: a person takes care of it.
If its severity rises afterwards, it is open again.
Errors: CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than 2,000 characters.
$$;

grant execute on function monitor.acknowledge(bigint, text) to insights_admin;
--! EndIncluded monitor/alerts/acknowledge.sql

--! Included monitor/alerts/assign.sql
create or replace function monitor.assign(alert_id bigint, owner text, note text default null)
returns monitor.alert
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_alert monitor.alert;
begin
  perform monitor._check_note('note', assign.note);
  perform monitor._check_owner(assign.owner);
  v_alert := monitor._lock_alert(assign.alert_id);
  update monitor.alert
  set owner = assign.owner, changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'assigned', common.author(), assign.note);
  return v_alert;
end;
$$;

comment on function monitor.assign(bigint, text, text) is $$
Gives an alert to another owner, with a note. Channels of an owner get the alerts of this owner.
Errors: CF001 for an invalid name, CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than
2,000 characters.
$$;

grant execute on function monitor.assign(bigint, text, text) to insights_admin;
--! EndIncluded monitor/alerts/assign.sql

--! Included monitor/alerts/resolve.sql
create or replace function monitor.resolve(alert_id bigint, note text default null)
returns monitor.alert
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_alert monitor.alert;
begin
  perform monitor._check_note('note', resolve.note);
  v_alert := monitor._lock_alert(resolve.alert_id);
  update monitor.alert
  set state = 'resolved', resolved_at = clock_timestamp(), changed_at = clock_timestamp()
  where alert.alert_id = v_alert.alert_id
  returning alert.* into v_alert;
  perform monitor._log_transition(v_alert, 'resolved', common.author(), resolve.note);
  return v_alert;
end;
$$;

comment on function monitor.resolve(bigint, text) is $$
Resolves an alert at once, with a note.
If its problem is found again, the next `monitor.watch` opens it again: to keep a known problem from notifying, use
`monitor.silence`.
Errors: CF002 for an unknown alert, CF010 for a resolved one, CF008 for a note of more than 2,000 characters.
$$;

grant execute on function monitor.resolve(bigint, text) to insights_admin;
--! EndIncluded monitor/alerts/resolve.sql

--! Included monitor/alerts/silence.sql
create or replace function monitor.silence(source text, until timestamptz, reason text, subject text default null)
returns monitor.alert_silence
language plpgsql
volatile
-- A definer: silences are written by this function only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_silence monitor.alert_silence;
begin
  if (silence.until > v_now and silence.until <= v_now + interval '90 days') is not true then
    perform common.refuse(
      'CF001',
      format('until is %s', coalesce(silence.until::text, 'null')),
      'Give a time within the next 90 days.'
    );
  end if;
  if btrim(silence.reason) <> '' is not true then
    perform common.refuse('CF001', 'reason is null or empty', 'Give the reason, for later readers of the alert.');
  end if;
  perform monitor._check_note('reason', silence.reason);
  perform monitor._check_source(silence.source);
  if length(silence.subject) > 300 then
    perform common.refuse(
      'CF008', format('subject has %s characters', length(silence.subject)), 'Give the subject of an alert, or null.'
    );
  end if;
  insert into monitor.alert_silence (source, subject, since, until, reason, author)
  values (silence.source, silence.subject, v_now, silence.until, silence.reason, common.author())
  returning alert_silence.* into v_silence;
  return v_silence;
end;
$$;

comment on function monitor.silence(text, timestamptz, text, text) is $$
Records the alerts of a check or rule until a time without sending them, such as during maintenance.
With `subject`, only those about it. Alerts that are open when the silence ends, and of which channels do not know, are
sent then. `monitor.unsilence` ends a silence.
Errors: CF001 for a time that is not within the next 90 days, or without a reason, CF002 for an unknown check or rule
(names the nearest), CF008 for too long texts.
$$;

grant execute on function monitor.silence(text, timestamptz, text, text) to insights_admin;
--! EndIncluded monitor/alerts/silence.sql

--! Included monitor/alerts/unsilence.sql
create or replace function monitor.unsilence(source text, subject text default null)
returns int
language plpgsql
volatile
-- A definer: silences are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_ended int;
begin
  perform monitor._check_source(unsilence.source);
  -- One of this very moment has no period that could remain in the history.
  update monitor.alert_silence as known
  set until = greatest(v_now, known.since + interval '1 microsecond')
  where known.source = unsilence.source
    and (unsilence.subject is null or known.subject = unsilence.subject)
    and known.until > v_now;
  get diagnostics v_ended = row_count;
  return v_ended;
end;
$$;

comment on function monitor.unsilence(text, text) is $$
Ends the silences of a check or rule now, with `subject` those about it only. Returns their number.
Errors: CF002 for an unknown check or rule (names the nearest).
$$;

grant execute on function monitor.unsilence(text, text) to insights_admin;
--! EndIncluded monitor/alerts/unsilence.sql

--! Included monitor/alerts/delete_old_alerts.sql
create or replace function monitor.delete_old_alerts(older_than interval default '1 year')
returns bigint
language plpgsql
volatile
-- A definer: alerts are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_alerts.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_alerts.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;
  delete from monitor.alert_silence as silence where silence.until < now() - delete_old_alerts.older_than;
  delete from monitor.alert where alert.resolved_at < now() - delete_old_alerts.older_than;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_alerts(interval) is $$
@behavior -*
Deletes alerts that were resolved, and silences that ended, more than `older_than` ago. Returns the number of alerts.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_alerts(interval) to insights_worker;
--! EndIncluded monitor/alerts/delete_old_alerts.sql

--! Included monitor/rules/set_rule.sql
create or replace function monitor.set_rule(
  rule text,
  metric text,
  labels jsonb default '{}',
  direction text default 'above',
  threshold float8 default null,
  deviations float8 default 6,
  hold interval default '10 minutes',
  severity text default 'warning',
  owner text default 'operator',
  expects_data boolean default true,
  is_active boolean default true
)
returns monitor.rule
language plpgsql
volatile
-- A definer: rules are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_metric monitor.metric;
  v_rule monitor.rule;
begin
  if set_rule.rule ~ '^[a-z][a-z0-9_]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('rule is %s', coalesce('"' || left(set_rule.rule, 100) || '"', 'null')),
      'Give a name of lower-case letters, digits and "_", at most 63, such as slow_refresh.'
    );
  end if;
  if exists (select from monitor.health_check where health_check.health_check = set_rule.rule)
    or set_rule.rule = 'health'
  then
    perform common.refuse('CF003', format('"%s" is a check', set_rule.rule), 'Give the rule another name.');
  end if;
  select known.* into v_metric from monitor.metric as known where known.metric = set_rule.metric;
  if v_metric.metric is null then
    perform common.refuse(
      'CF002',
      format('there is no metric "%s"', coalesce(left(set_rule.metric, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          set_rule.metric, array(select known.metric from monitor.metric as known order by 1 limit 1000)
        ) || '"?',
        'The table monitor.metric lists the metrics.'
      )
    );
  end if;
  if jsonb_typeof(set_rule.labels) = 'object' is not true
    or length(set_rule.labels::text) > 2000
    or exists (
      select
      from jsonb_each(case jsonb_typeof(set_rule.labels) when 'object' then set_rule.labels else '{}' end)
        as label (name, value)
      where label.name <> all (v_metric.labels)
        or jsonb_typeof(label.value) <> 'string'
    )
  then
    perform common.refuse(
      'CF001',
      format('labels is %s', coalesce(left(set_rule.labels::text, 100), 'null')),
      format('Give an object of texts with labels of the metric: %s.',
        coalesce(nullif(array_to_string(v_metric.labels, ', '), ''), 'it has none'))
    );
  end if;
  if set_rule.direction in ('above', 'below', 'both') is not true
    or set_rule.direction = 'both' and set_rule.threshold is not null
  then
    perform common.refuse(
      'CF001',
      format('direction is %s', coalesce('"' || left(set_rule.direction, 100) || '"', 'null')),
      'Give "above" or "below", or, without a threshold, "both".'
    );
  end if;
  if set_rule.threshold in ('NaN', 'Infinity', '-Infinity') then
    perform common.refuse('CF001', format('threshold is %s', set_rule.threshold),
      'Give a number, or null to learn it.');
  end if;
  if set_rule.deviations between 2 and 100 is not true then
    perform common.refuse(
      'CF001', format('deviations is %s', coalesce(set_rule.deviations::text, 'null')), 'Give a number from 2 to 100.'
    );
  end if;
  if set_rule.hold between '0' and '1 day' is not true then
    perform common.refuse(
      'CF001', format('hold is %s', coalesce(set_rule.hold::text, 'null')), 'Give an interval of at most a day.'
    );
  end if;
  if set_rule.severity in ('warning', 'critical') is not true then
    perform common.refuse(
      'CF001', format('severity is %s', coalesce('"' || left(set_rule.severity, 100) || '"', 'null')),
      'Give "warning" or "critical".'
    );
  end if;
  perform monitor._check_owner(set_rule.owner);
  if (select count(*) from monitor.rule as known where known.rule <> set_rule.rule) >= 200 then
    perform common.refuse('CF008', 'there are 200 rules', 'Drop one first: monitor.drop_rule.');
  end if;

  insert into monitor.rule (
    rule, metric, labels, direction, threshold, deviations, hold, severity, owner, expects_data, is_active, set_by,
    set_at
  )
  values (
    set_rule.rule, set_rule.metric, set_rule.labels, set_rule.direction, set_rule.threshold, set_rule.deviations,
    set_rule.hold, set_rule.severity, set_rule.owner, coalesce(set_rule.expects_data, true),
    coalesce(set_rule.is_active, true), common.author(), clock_timestamp()
  )
  on conflict on constraint rule_pkey do update
  set
    metric = excluded.metric,
    labels = excluded.labels,
    direction = excluded.direction,
    threshold = excluded.threshold,
    deviations = excluded.deviations,
    hold = excluded.hold,
    severity = excluded.severity,
    owner = excluded.owner,
    expects_data = excluded.expects_data,
    is_active = excluded.is_active,
    set_by = excluded.set_by,
    set_at = excluded.set_at
  returning rule.* into v_rule;
  return v_rule;
end;
$$;

comment on function monitor.set_rule(
  text, text, jsonb, text, float8, float8, interval, text, text, boolean, boolean
) is $$
Stores a rule about a metric, in place of the one with this name if there is one.
It is a problem when the metric is `above`, `below` or on `both` sides of its bounds for the time `hold`, for each
series that has the given labels. The bound is `threshold`, or learned from the last four weeks (`monitor.rule`). Of a
counter, the increase per second is compared.
Errors: CF001 for an invalid argument, CF002 for an unknown metric (names the nearest), CF003 for the name of a check,
CF008 for more than 200 rules.
$$;

grant execute on function monitor.set_rule(
  text, text, jsonb, text, float8, float8, interval, text, text, boolean, boolean
) to insights_admin;
--! EndIncluded monitor/rules/set_rule.sql

--! Included monitor/rules/drop_rule.sql
create or replace function monitor.drop_rule(rule text)
returns void
language plpgsql
volatile
-- A definer: rules are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform monitor._find_rule(drop_rule.rule);
  delete from monitor.rule as known where known.rule = drop_rule.rule;
end;
$$;

comment on function monitor.drop_rule(text) is $$
Removes a rule with its learned bounds; its alerts are resolved by the next runs of `monitor.watch`.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function monitor.drop_rule(text) to insights_admin;
--! EndIncluded monitor/rules/drop_rule.sql

--! Included monitor/runs/start_run.sql
create or replace function monitor.start_run(task text)
returns bigint
language plpgsql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_run_id bigint;
begin
  if start_run.task is null then
    perform common.refuse('CF001', 'task is null', 'Give the name of the task.');
  end if;
  insert into monitor.run (task) values (start_run.task) returning run.run_id into v_run_id;
  return v_run_id;
end;
$$;

comment on function monitor.start_run(text) is $$
@behavior -mutationField
Records the start of a task and returns the key of the run.
Commit before the task does its work, so that a terminated run leaves a record.
Errors: CF001 for null.
$$;

grant execute on function monitor.start_run(text) to insights_worker;
--! EndIncluded monitor/runs/start_run.sql

--! Included monitor/runs/finish_run.sql
create or replace function monitor.finish_run(run_id bigint, row_count bigint default null, detail jsonb default null)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'ok', finished_at = clock_timestamp(), row_count = finish_run.row_count, detail = finish_run.detail
  where run.run_id = finish_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.finish_run(bigint, bigint, jsonb) is $$
@behavior -mutationField
Marks a run as finished and stores the number of rows that it wrote or removed.
A run that has already ended is not changed.
$$;

grant execute on function monitor.finish_run(bigint, bigint, jsonb) to insights_worker;
--! EndIncluded monitor/runs/finish_run.sql

--! Included monitor/runs/fail_run.sql
create or replace function monitor.fail_run(run_id bigint, error text)
returns void
language sql
volatile
-- A definer: workers write monitor.run through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.run
  set outcome = 'failed', finished_at = clock_timestamp(), error = left(fail_run.error, 10000)
  where run.run_id = fail_run.run_id
    and outcome = 'running';
$$;

comment on function monitor.fail_run(bigint, text) is $$
@behavior -mutationField
Marks a run as failed and stores its error message, at most 10,000 characters of it.
A run that has already ended is not changed.
$$;

grant execute on function monitor.fail_run(bigint, text) to insights_worker;
--! EndIncluded monitor/runs/fail_run.sql

--! Included monitor/runs/delete_old_runs.sql
create or replace function monitor.delete_old_runs(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.run.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_runs.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_runs.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;

  -- The latest run of each task is kept at any age: it shows when the task last ran.
  delete from monitor.run
  where run.started_at < now() - delete_old_runs.older_than
    and exists (
      select
      from monitor.run as later
      where later.task = run.task
        and later.started_at > run.started_at
    );
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_runs(interval) is $$
@behavior -mutationField
Deletes runs older than `older_than`, except the latest run of each task. Returns the number of deleted rows.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_runs(interval) to insights_worker;
--! EndIncluded monitor/runs/delete_old_runs.sql

--! Included monitor/observation/_table_sizes.sql
create or replace function monitor._table_sizes()
returns setof monitor.table_state
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with relation as (
    select coalesce(pg_partition_root(class.oid), class.oid) as root, class.oid, class.reltuples, class.relkind
    from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname in (
        'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor', 'insights_queue'
      )
      and class.relkind in ('r', 'm', 'p')
  ),

  measured as (
    select relation.root,
      sum(pg_total_relation_size(relation.oid)) as bytes,
      sum(pg_indexes_size(relation.oid)) as index_bytes,
      -- The counter of rows is lost with the server's statistics, until the next vacuum or analyze.
      sum(
        case
          when pg_stat_get_live_tuples(relation.oid) > 0 then pg_stat_get_live_tuples(relation.oid)
          when relation.relkind = 'p' then 0
          else greatest(relation.reltuples, 0)
        end
      )::bigint as row_count,
      sum(pg_stat_get_dead_tuples(relation.oid))::bigint as dead_rows,
      sum(pg_stat_get_mod_since_analyze(relation.oid))::bigint as modified_rows,
      greatest(
        max(pg_stat_get_last_vacuum_time(relation.oid)), max(pg_stat_get_last_autovacuum_time(relation.oid))
      ) as vacuumed_at,
      greatest(
        max(pg_stat_get_last_analyze_time(relation.oid)), max(pg_stat_get_last_autoanalyze_time(relation.oid))
      ) as analyzed_at
    from relation
    group by relation.root
  )

  select format('%s.%s', namespace.nspname, class.relname), measured.bytes::bigint, measured.index_bytes::bigint,
    measured.row_count, measured.dead_rows,
    coalesce(measured.dead_rows / nullif(measured.dead_rows + measured.row_count, 0)::float8, 0),
    measured.modified_rows, measured.vacuumed_at, measured.analyzed_at, null::float8
  from measured
  join pg_class as class on class.oid = measured.root
  join pg_namespace as namespace on namespace.oid = class.relnamespace
  -- A table that was dropped in the meantime has no size.
  where measured.bytes is not null
$$;

comment on function monitor._table_sizes() is $$
Returns the size and the state of each table of the installation, partitions with their table, without the growth.
$$;
--! EndIncluded monitor/observation/_table_sizes.sql

--! Included monitor/probes/_probe_queue.sql
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
--! EndIncluded monitor/probes/_probe_queue.sql

--! Included monitor/probes/_probe_workers.sql
create or replace function monitor._probe_workers()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, null::jsonb, measured.value
  from (
    select
      count(*) filter (
        where worker.stopped_at is null and worker.seen_at > clock_timestamp() - interval '2 minutes'
      ) as running,
      extract(epoch from clock_timestamp() - max(worker.seen_at)) as silence
    from monitor.worker
  ) as state
  cross join lateral (
    values
      ('insights_workers', state.running::float8),
      ('insights_worker_silence_seconds', state.silence::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_workers() is $$
Measures the workers: how many sent a heartbeat within two minutes, and the time since the last one.
$$;
--! EndIncluded monitor/probes/_probe_workers.sql

--! Included monitor/probes/_probe_tasks.sql
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
--! EndIncluded monitor/probes/_probe_tasks.sql

--! Included monitor/probes/_probe_refresh.sql
create or replace function monitor._probe_refresh()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A rebuild queues all people: counting them all would take longer the later they are refreshed.
  v_most constant int := 100000;
begin
  return query
  with queued (step, periods) as (
    select 'track.session', count(*)
    from (select from track.stale limit v_most) as stale
    union all
    select consumer.consumer, changed.periods
    from track.consumer
    cross join lateral (
      select count(*) as periods
      from (select from track.changed where changed.consumer = consumer.consumer limit v_most) as queue
    ) as changed
  )

  select 'insights_refresh_queued_periods', jsonb_build_object('step', queued.step), queued.periods::float8
  from queued
  union all
  -- The time of the last refresh is that until which the derived data is complete, if anything has changed since then.
  select 'insights_refresh_lag_seconds', null,
    case
      when exists (select from queued where queued.periods > 0)
        then extract(epoch from clock_timestamp() - max(run.started_at))::float8
      else 0
    end
  from monitor.run
  where run.task = 'refresh'
    and run.outcome = 'ok';
end;
$$;

comment on function monitor._probe_refresh() is $$
Measures the queues of the refresh, of each step up to 100,000 periods, and how old the derived data is.
$$;
--! EndIncluded monitor/probes/_probe_refresh.sql

--! Included monitor/probes/_probe_rollups.sql
create or replace function monitor._probe_rollups()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('rollup', trust.rollup), measured.value
  from track.rollup_trust() as trust
  cross join lateral (
    values
      ('insights_rollup_trust', trust.score),
      ('insights_rollup_differing_cells', trust.differing::float8),
      ('insights_rollup_check_age_seconds', extract(epoch from clock_timestamp() - trust.checked_at)::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_rollups() is $$
Measures the trust scores of the rollups, over the last 1,000 checks.
$$;
--! EndIncluded monitor/probes/_probe_rollups.sql

--! Included monitor/probes/_probe_models.sql
create or replace function monitor._probe_models()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('project', project.name), measured.value
  from ml.project
  cross join lateral (
    select deployment.model_id, deployment.deployed_at
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as deployed
  join ml.model on model.model_id = deployed.model_id
  cross join lateral (
    values
      ('insights_model_version', model.version::float8),
      ('insights_model_age_seconds', extract(epoch from clock_timestamp() - model.trained_at)::float8),
      ('insights_model_deployment_age_seconds', extract(epoch from clock_timestamp() - deployed.deployed_at)::float8),
      ('insights_model_training_seconds', extract(epoch from model.duration)::float8),
      ('insights_model_is_marked', (model.marked_at is not null)::int::float8)
  ) as measured (metric, value)
  where length(project.name) <= 200
$$;

comment on function monitor._probe_models() is $$
Measures the deployed version of each project: its age and its training.
$$;
--! EndIncluded monitor/probes/_probe_models.sql

--! Included monitor/probes/_probe_ingest.sql
create or replace function monitor._probe_ingest()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  -- The counter of the statistics system: one row per accepted message, whatever its type.
  return query
  select 'insights_ingested_messages_total', null::jsonb,
    pg_stat_get_tuples_inserted('track.message'::regclass)::float8
  union all
  -- From 0 each day: the numbers of earlier days are deleted after a while, and a counter must not fall by that.
  select 'insights_refused_messages_total', jsonb_build_object('code', refused.code), sum(refused.messages)::float8
  from track.refusal as refused
  where refused.day = current_date
  group by refused.code;
end;
$$;

comment on function monitor._probe_ingest() is $$
Measures the messages that were accepted and refused. The numbers of refused messages begin at 0 each day (UTC).
$$;
--! EndIncluded monitor/probes/_probe_ingest.sql

--! Included monitor/probes/_probe_partitions.sql
create or replace function monitor._probe_partitions()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with attached as (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  )

  select 'insights_event_partitions', null::jsonb, count(*)::float8
  from attached
  union all
  select 'insights_event_partitions_ahead_seconds', null,
    greatest(extract(epoch from min(missing.month) - clock_timestamp()), 0)::float8
  from generate_series(
    date_trunc('month', clock_timestamp()), date_trunc('month', clock_timestamp()) + interval '2 years',
    interval '1 month'
  ) as missing (month)
  where missing.month::date not in (select attached.month from attached);
end;
$$;

comment on function monitor._probe_partitions() is $$
Measures the partitions of `track.event`: their number, and the time until the first month that has none.
$$;
--! EndIncluded monitor/probes/_probe_partitions.sql

--! Included monitor/probes/_probe_privacy.sql
create or replace function monitor._probe_privacy()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with open as (
    select request.kind, coalesce(request.extended_until, request.due_at) as due_at
    from privacy.request
    -- As the index of open requests.
    where request.completed_at is null
  ),

  kind as (
    select unnest(
      '{access,portability,erasure,rectification,restriction,objection,opt_out,limit_use}'::text[]
    ) as name
  )

  select measured.metric, jsonb_build_object('kind', kind.name), measured.value
  from (
    select kind.name, count(open.kind) as requests,
      count(*) filter (where open.due_at < clock_timestamp()) as overdue
    from kind
    left join open on open.kind = kind.name
    group by kind.name
  ) as kind
  cross join lateral (
    values
      ('insights_privacy_open_requests', kind.requests::float8),
      ('insights_privacy_overdue_requests', kind.overdue::float8)
  ) as measured (metric, value)
  union all
  select 'insights_privacy_next_deadline_seconds', null,
    extract(epoch from min(open.due_at) - clock_timestamp())::float8
  from open
  union all
  select 'insights_ledger_records', null, ledger.position::float8
  from privacy.ledger_head() as ledger
  union all
  select 'insights_ledger_needs_seal', null, privacy.needs_seal()::int::float8
$$;

comment on function monitor._probe_privacy() is $$
Measures the open requests of people by kind, their deadlines, and the ledger.
$$;
--! EndIncluded monitor/probes/_probe_privacy.sql

--! Included monitor/probes/_probe_database.sql
create or replace function monitor._probe_database()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, null::jsonb, measured.value
  from pg_database as database
  join pg_stat_database as activity on activity.datid = database.oid
  cross join lateral (
    values
      ('insights_database_connections', activity.numbackends::float8),
      ('insights_database_connections_limit', current_setting('max_connections')::float8),
      ('insights_database_xid_age', age(database.datfrozenxid)::float8),
      ('insights_database_multixact_age', mxid_age(database.datminmxid)::float8),
      ('insights_database_commits_total', activity.xact_commit::float8),
      ('insights_database_rollbacks_total', activity.xact_rollback::float8),
      ('insights_database_deadlocks_total', activity.deadlocks::float8),
      ('insights_database_temporary_bytes_total', activity.temp_bytes::float8),
      ('insights_database_blocks_hit_total', activity.blks_hit::float8),
      ('insights_database_blocks_read_total', activity.blks_read::float8),
      ('insights_database_active_seconds_total', activity.active_time / 1000),
      ('insights_database_statistics', exists (
        select from pg_extension where extname = 'pg_stat_statements'
      )::int::float8)
  ) as measured (metric, value)
  where database.datname = current_database()
$$;

comment on function monitor._probe_database() is $$
Measures the database as a whole: connections, transactions, and what the server counts.
$$;
--! EndIncluded monitor/probes/_probe_database.sql

--! Included monitor/probes/_probe_replication.sql
create or replace function monitor._probe_replication()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_position constant pg_lsn :=
    case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end;
begin
  return query
  -- Positions are visible to members of pg_read_all_stats only; the number of standbys is to all.
  select 'insights_replication_standbys', null::jsonb, count(*)::float8
  from pg_stat_replication
  union all
  select measured.metric, jsonb_build_object('standby', left(coalesce(nullif(standby.name, ''), 'unnamed'), 200)),
    measured.value
  from (
    select replication.application_name as name,
      max(pg_wal_lsn_diff(v_position, replication.replay_lsn)) as bytes,
      max(extract(epoch from replication.replay_lag)) as seconds
    from pg_stat_replication as replication
    where replication.state is not null
    group by replication.application_name
  ) as standby
  cross join lateral (
    values
      ('insights_replication_lag_bytes', standby.bytes::float8),
      ('insights_replication_lag_seconds', coalesce(standby.seconds, 0)::float8)
  ) as measured (metric, value)
  union all
  select measured.metric, jsonb_build_object('slot', slot.slot_name::text), measured.value
  from pg_replication_slots as slot
  cross join lateral (
    values
      ('insights_replication_slot_active', slot.active::int::float8),
      ('insights_replication_slot_retained_bytes', pg_wal_lsn_diff(v_position, slot.restart_lsn)::float8)
  ) as measured (metric, value);
end;
$$;

comment on function monitor._probe_replication() is $$
Measures the standbys of the server and its replication slots, where there are any.
The lag of a standby requires that `insights_owner` is a member of `pg_read_all_stats`.
$$;
--! EndIncluded monitor/probes/_probe_replication.sql

--! Included monitor/probes/_probe_size.sql
create or replace function monitor._probe_size()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select 'insights_database_bytes', null::jsonb, pg_database_size(current_database())::float8
$$;

comment on function monitor._probe_size() is $$
Measures the size of the database, of which the server reads the size of each file.
$$;
--! EndIncluded monitor/probes/_probe_size.sql

--! Included monitor/probes/_probe_tables.sql
create or replace function monitor._probe_tables()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('table', size.table_name), measured.value
  from monitor._table_sizes() as size
  cross join lateral (
    values
      ('insights_table_bytes', size.bytes::float8),
      ('insights_table_rows', size.row_count::float8),
      ('insights_table_dead_rows', size.dead_rows::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_tables() is $$
Measures the size of each table of the installation, with its partitions, and its rows, as the server estimates them.
$$;
--! EndIncluded monitor/probes/_probe_tables.sql

--! Included monitor/probes/_probe_probes.sql
create or replace function monitor._probe_probes()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('probe', state.probe), measured.value
  from monitor.probe_state as state
  cross join lateral (
    values
      ('insights_probe_failures', state.failures::float8),
      ('insights_probe_seconds', extract(epoch from state.duration)::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_probes() is $$
Measures the last run of each probe.
$$;
--! EndIncluded monitor/probes/_probe_probes.sql

--! Included monitor/observation/_store_measurements.sql
create or replace function monitor._label_problem(labels jsonb, allowed text[])
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when jsonb_typeof(_label_problem.labels) <> 'object' then 'labels that are not an object'
    when array(select jsonb_object_keys(_label_problem.labels) as name order by name)
      <> array(select unnest(_label_problem.allowed) as name order by name)
      then format('labels other than {%s}', array_to_string(_label_problem.allowed, ','))
    when exists (
      select
      from jsonb_each(_label_problem.labels) as label (name, value)
      where jsonb_typeof(label.value) <> 'string'
        or length(label.value #>> '{}') not between 1 and 200
    )
      then 'a label that is not a text of 1 to 200 characters'
  end
$$;

comment on function monitor._label_problem(jsonb, text[]) is $$
Returns why the labels are not those of a metric; null if they are.
$$;

create or replace function monitor._store_measurements(
  probe text,
  measurements monitor.measurement[],
  sampled_at timestamptz,
  out measured int,
  out problem text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_room constant int := (select most_series from monitor.setting) - (select count(*) from monitor.series);
begin
  with given as (
    select measurement.metric, coalesce(measurement.labels, '{}') as labels, measurement.value,
      row_number() over (
        partition by measurement.metric, coalesce(measurement.labels, '{}') order by measurement.number
      ) as nth
    from unnest(_store_measurements.measurements)
      with ordinality as measurement (metric, labels, value, number)
    where measurement.value is not null
  ),

  found as (
    select given.*, series.series_id, metric.labels as allowed,
      -- Positions among the series that are new.
      row_number() over (partition by series.series_id is null order by given.metric, given.labels) as place
    from given
    left join monitor.metric using (metric)
    left join monitor.series on series.metric = given.metric and series.labels = given.labels
  ),

  judged as (
    select found.*,
      case
        when found.allowed is null then 'a metric that is not in monitor.metric'
        when found.value in ('NaN', 'Infinity', '-Infinity') then format('the value %s', found.value)
        when found.nth > 1 then 'two values'
        when found.series_id is null and found.place > v_room then 'no room: see monitor.setting.most_series'
        else monitor._label_problem(found.labels, found.allowed)
      end as problem
    from found
  ),

  updated as (
    update monitor.series
    set value = judged.value, measured_at = _store_measurements.sampled_at, probe = _store_measurements.probe
    from judged
    where series.series_id = judged.series_id
      and judged.problem is null
  ),

  inserted as (
    insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at)
    select judged.metric, judged.labels, _store_measurements.sampled_at, _store_measurements.probe, judged.value,
      _store_measurements.sampled_at
    from judged
    where judged.series_id is null
      and judged.problem is null
    order by judged.metric, judged.labels
  )

  select
    count(*) filter (where judged.problem is null),
    case when count(judged.problem) > 0 then format(
      '%s values were refused, such as %s: %s',
      count(judged.problem),
      left(coalesce(min(judged.metric) filter (where judged.problem is not null), 'null'), 100),
      (array_agg(judged.problem order by judged.metric, judged.labels) filter (where judged.problem is not null))[1]
    ) end
  into measured, problem
  from judged;
end;
$$;

comment on function monitor._store_measurements(text, monitor.measurement[], timestamptz) is $$
Stores the values that a probe measured as the latest values of their series.
Returns their number, and a description of the values that were refused.
$$;
--! EndIncluded monitor/observation/_store_measurements.sql

--! Included monitor/observation/_run_probe.sql
create or replace function monitor._run_probe(probe text, function_name text, sampled_at timestamptz)
returns monitor.probe_state
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 10000;
  v_started_at constant timestamptz := clock_timestamp();
  v_measurements monitor.measurement[] := '{}';
  v_problem text;
  v_has_failed boolean := false;
  v_measured int;
  v_state monitor.probe_state;
begin
  begin
    execute format(
      'select array(select measurement from %s() as measurement limit %s)',
      _run_probe.function_name,
      v_most + 1
    )
    into v_measurements;
  exception
    -- Also a cancelled statement, which "others" leaves out: the time limit of the observation, or an administrator.
    when query_canceled or assert_failure or others then
      v_has_failed := true;
      v_problem := format('%s [%s]', left(sqlerrm, 900), sqlstate);
  end;
  if cardinality(v_measurements) > v_most then
    v_has_failed := true;
    v_problem := format('more than %s values', v_most);
    v_measurements := '{}';
  end if;

  if not v_has_failed then
    select stored.measured, stored.problem
    into v_measured, v_problem
    from monitor._store_measurements(_run_probe.probe, v_measurements, _run_probe.sampled_at) as stored;
  end if;

  insert into monitor.probe_state as state (probe, started_at, duration, measured_at, measured, failures, error)
  values (
    _run_probe.probe,
    v_started_at,
    clock_timestamp() - v_started_at,
    case when not v_has_failed then _run_probe.sampled_at end,
    coalesce(v_measured, 0),
    v_has_failed::int,
    v_problem
  )
  on conflict on constraint probe_state_pkey do update
  set
    started_at = excluded.started_at,
    duration = excluded.duration,
    measured_at = coalesce(excluded.measured_at, state.measured_at),
    measured = excluded.measured,
    failures = case excluded.failures when 0 then 0 else state.failures + 1 end,
    error = excluded.error
  returning state.* into v_state;
  return v_state;
end;
$$;

comment on function monitor._run_probe(text, text, timestamptz) is $$
Runs a probe, stores its values and returns its new state. An error of the probe is part of the state.
$$;
--! EndIncluded monitor/observation/_run_probe.sql

--! Included monitor/observation/_pending_probes.sql
create or replace function monitor._pending_probes(probes text[])
returns setof monitor.probe
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select probe.*
  from monitor.probe
  left join monitor.probe_state as state using (probe)
  where probe.probe = any (_pending_probes.probes)
    or _pending_probes.probes is null and (
      state.probe is null
      -- Minutes of the schedule begin some seconds late.
      or state.started_at <= clock_timestamp() - probe.every + least(probe.every / 4, interval '30 seconds')
      -- The clock was ahead.
      or state.started_at > clock_timestamp() + interval '1 minute'
    )
  -- Those first that an earlier observation had no time for.
  order by state.started_at nulls first, probe.position
$$;

comment on function monitor._pending_probes(text[]) is $$
Returns the given probes, or those that are scheduled now when `probes` is null, in their order.
$$;
--! EndIncluded monitor/observation/_pending_probes.sql

--! Included monitor/observation/needs_observation.sql
create or replace function monitor.needs_observation()
returns boolean
language sql
stable
-- A definer: workers do not call private functions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select exists (select from monitor._pending_probes(null))
$$;

comment on function monitor.needs_observation() is $$
@behavior -*
Returns whether a probe is scheduled now.
$$;

grant execute on function monitor.needs_observation() to insights_worker;
--! EndIncluded monitor/observation/needs_observation.sql

--! Included monitor/observation/observe.sql
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
--! EndIncluded monitor/observation/observe.sql

--! Included monitor/observation/metrics.sql
create or replace function monitor.metrics()
returns setof monitor.metric_value
language sql
stable
-- No definer: administrators and workers may read the tables.
set search_path to pg_catalog, pg_temp
rows 500
as $$
  select series.metric, metric.kind, metric.unit, series.labels, series.value, series.measured_at, metric.description
  from monitor.series
  join monitor.metric using (metric)
  join monitor.probe using (probe)
  join monitor.probe_state as state using (probe)
  -- Only what the last run has measured: the table, task or model of another series does not exist any more.
  where series.measured_at = state.measured_at
    -- Values that a failing probe or a stopped worker left behind are not those of the present.
    and series.measured_at > clock_timestamp() - probe.every * 2 - interval '5 minutes'
  union all
  select metric.metric, metric.kind, metric.unit, '{}', extract(epoch from clock_timestamp() - sample.sampled_at),
    clock_timestamp(), metric.description
  from monitor.metric
  cross join (select max(sampled_at) as sampled_at from monitor.sample) as sample
  where metric.metric = 'insights_observation_age_seconds'
    and sample.sampled_at is not null
  order by 1, 4
$$;

comment on function monitor.metrics() is $$
Returns the latest value of each series.
A series is left out when the last run of its probe did not measure it, and when its latest value is older than two
intervals of its probe and five minutes.
`insights_observation_age_seconds` is measured by this function: it rises while no worker runs.
$$;

grant execute on function monitor.metrics() to insights_admin, insights_worker;
--! EndIncluded monitor/observation/metrics.sql

--! Included monitor/observation/history.sql
create or replace function monitor.history(
  metric text,
  labels jsonb default '{}',
  since timestamptz default (now() at time zone 'UTC' - interval '1 day') at time zone 'UTC',
  until timestamptz default now(),
  bucket interval default '1 hour'
)
returns setof monitor.metric_bucket
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set intervalstyle to 'postgres'
rows 1000
as $$
declare
  v_most constant int := 100000;
  v_kind text;
  v_series int[];
begin
  perform common.check_period(history.since, history.until);
  if history.bucket between '1 minute' and '366 days' is not true
    or extract(month from history.bucket) <> 0
    or extract(year from history.bucket) <> 0
  then
    perform common.refuse('CF001', format('bucket is %s', coalesce(history.bucket::text, 'null')),
      'Give an interval from a minute to 366 days, not in months.');
  end if;
  if coalesce(jsonb_typeof(history.labels), 'null') <> 'object' then
    perform common.refuse('CF001', format('labels is %s', coalesce(left(history.labels::text, 100), 'null')),
      'Give an object such as {"task": "refresh"}, or {} for all series.');
  end if;
  v_kind := (select known.kind from monitor.metric as known where known.metric = history.metric);
  if v_kind is null then
    perform common.refuse(
      'CF002',
      format('there is no metric "%s"', coalesce(left(history.metric, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(history.metric, 200), array(select known.metric from monitor.metric as known)
        ) || '"? ',
        ''
      ) || 'The table monitor.metric lists the metrics.'
    );
  end if;
  v_series := array(
    select series.series_id
    from monitor.series
    where series.metric = history.metric
      and series.labels @> history.labels
  );
  if cardinality(v_series) * extract(epoch from history.until - history.since) / extract(epoch from history.bucket)
    > v_most
  then
    perform common.refuse(
      'CF008',
      format('the result would have more than %s rows', v_most),
      'Give a longer bucket, a shorter period, or labels.'
    );
  end if;

  return query
  with value as (
    select series.series_id, sample.sampled_at, element.value
    from monitor.sample
    -- The part of the array that contains the series; the others are not unpacked.
    cross join lateral unnest(
      sample.measured[(select min(id) from unnest(v_series) as id):(select max(id) from unnest(v_series) as id)]
    ) with ordinality as element (value, place)
    join unnest(v_series) as series (series_id)
      on series.series_id = element.place + (select min(id) from unnest(v_series) as id) - 1
    -- The value before the period too, from which a counter has risen.
    where sample.sampled_at >= history.since - interval '2 days'
      and sample.sampled_at < history.until
      and element.value is not null
  ),

  risen as (
    select value.series_id, value.sampled_at, value.value,
      case
        when v_kind = 'gauge' then null
        -- A counter that is less than before began at 0 again.
        when value.value < lag(value.value) over earlier then value.value
        else value.value - lag(value.value) over earlier
      end as rise
    from value
    window earlier as (partition by value.series_id order by value.sampled_at)
  )

  select series.labels, date_bin(history.bucket, risen.sampled_at, '2000-01-03 00:00Z') as started_at,
    case v_kind when 'gauge' then avg(risen.value) else sum(risen.rise) end,
    case v_kind when 'gauge' then min(risen.value) end,
    case v_kind when 'gauge' then max(risen.value) end,
    count(*)::int
  from risen
  join monitor.series using (series_id)
  where risen.sampled_at >= history.since
  group by series.series_id, 2
  order by series.labels, 2;
end;
$$;

comment on function monitor.history(text, jsonb, timestamptz, timestamptz, interval) is $$
Returns the values of a metric over time, by series and bucket.
Of a gauge: the mean of the samples, the least and the greatest; of a counter: its rise. `labels` selects the series
that have these labels. Buckets begin at midnight UTC, those of weeks on Monday. Buckets without a sample are left out.
Errors: CF001 for an invalid period, bucket or labels, CF002 for an unknown metric, CF008 for more than 100,000 rows.
$$;

grant execute on function monitor.history(text, jsonb, timestamptz, timestamptz, interval)
to insights_admin, insights_worker;
--! EndIncluded monitor/observation/history.sql

--! Included monitor/observation/thin_samples.sql
create or replace function monitor._thin(unit text, since timestamptz, until timestamptz, most int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_deleted int;
begin
  with crowded as (
    select date_trunc(_thin.unit, sample.sampled_at, 'UTC') as started_at, min(sample.sampled_at) as kept_at
    from monitor.sample
    where sample.sampled_at >= _thin.since
      and sample.sampled_at < _thin.until
    group by 1
    having count(*) > 1
    order by 1
    limit _thin.most
  ),

  member as (
    select crowded.kept_at, sample.sampled_at, sample.measured
    from crowded
    join monitor.sample on sample.sampled_at >= crowded.started_at
      and sample.sampled_at < crowded.started_at + ('1 ' || _thin.unit)::interval
      and sample.sampled_at < _thin.until
  ),

  -- Of each series its first value: probes have different intervals, so that no single sample has all of them.
  merged as (
    select first_value.kept_at, array_agg(first_value.value order by first_value.place) as measured
    from (
      select member.kept_at, element.place,
        (array_agg(element.value order by member.sampled_at) filter (where element.value is not null))[1] as value
      from member
      cross join lateral unnest(member.measured) with ordinality as element (value, place)
      group by member.kept_at, element.place
    ) as first_value
    group by first_value.kept_at
  ),

  updated as (
    update monitor.sample
    set measured = merged.measured
    from merged
    where sample.sampled_at = merged.kept_at
  )

  delete from monitor.sample
  using member
  where sample.sampled_at = member.sampled_at
    and member.sampled_at > member.kept_at;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor._thin(text, timestamptz, timestamptz, int) is $$
Merges the samples of each hour or day of a period into the first one, in at most `most` hours or days.
$$;

create or replace function monitor.thin_samples(most int default 500)
returns int
language plpgsql
volatile
-- A definer: workers have no privilege to change the samples.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_setting constant monitor.setting := (select setting from monitor.setting);
  v_deleted int;
  v_oldest int;
begin
  perform common.check_count('most', thin_samples.most, 1, 10000);
  v_deleted :=
    monitor._thin(
      'day', date_trunc('day', now() - v_setting.daily_samples, 'UTC'),
      date_trunc('day', now() - v_setting.hourly_samples, 'UTC'), thin_samples.most
    )
    + monitor._thin(
      'hour', date_trunc('day', now() - v_setting.hourly_samples, 'UTC'),
      date_trunc('hour', now() - v_setting.every_sample, 'UTC'), thin_samples.most
    );
  delete from monitor.sample where sample.sampled_at < now() - v_setting.daily_samples;
  get diagnostics v_oldest = row_count;
  delete from monitor.series where series.measured_at < now() - v_setting.daily_samples;
  -- Workers that were started again have another name.
  delete from monitor.worker where worker.seen_at < now() - interval '30 days';
  return v_deleted + v_oldest;
end;
$$;

comment on function monitor.thin_samples(int) is $$
@behavior -*
Thins the samples by `monitor.setting`: after two weeks one per hour is kept, after 90 days one per day, for 3 years.
The first value of each series remains. Deletes workers that were not seen for 30 days. At most `most` hours and days
per call. Returns the number of deleted samples.
Errors: CF001 for `most` outside of 1 to 10,000.
$$;

grant execute on function monitor.thin_samples(int) to insights_worker;
--! EndIncluded monitor/observation/thin_samples.sql

--! Included monitor/observation/table_state.sql
create or replace function monitor.table_state()
returns setof monitor.table_state
language sql
stable
-- A definer: workers and administrators do not call private functions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
rows 200
as $$
  select size.table_name, size.bytes, size.index_bytes, size.row_count, size.dead_rows, size.dead_share,
    size.modified_rows, size.vacuumed_at, size.analyzed_at,
    (size.bytes - earliest.bytes) * 86400
      / nullif(extract(epoch from clock_timestamp() - earliest.sampled_at)::float8, 0)
  from monitor._table_sizes() as size
  left join monitor.series on series.metric = 'insights_table_bytes'
    and series.labels = jsonb_build_object('table', size.table_name)
  left join lateral (
    select sample.sampled_at, sample.measured[series.series_id] as bytes
    from monitor.sample
    where sample.sampled_at between clock_timestamp() - interval '7 days' and clock_timestamp() - interval '1 hour'
      and sample.measured[series.series_id] is not null
    order by sample.sampled_at
    limit 1
  ) as earliest on true
  order by size.bytes desc, size.table_name
$$;

comment on function monitor.table_state() is $$
Returns the size and the state of each table of the installation, the largest first; partitions with their table.
Numbers of rows are estimates of the server. The growth is that of the last seven days, or since the first sample.
$$;

grant execute on function monitor.table_state() to insights_admin, insights_worker;
--! EndIncluded monitor/observation/table_state.sql

--! Included monitor/observation/slow_statements.sql
create or replace function monitor.slow_statements(top int default 20)
returns setof monitor.slow_statement
language plpgsql
stable
-- A definer: the statements of other roles are visible to members of pg_read_all_stats only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_schema constant text := (
    select namespace.nspname
    from pg_extension as extension
    join pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'pg_stat_statements'
  );
begin
  perform common.check_count('top', slow_statements.top, 1, 1000);
  if v_schema is null then
    perform common.refuse(
      'CF002',
      'the extension "pg_stat_statements" is not installed in this database',
      'As an administrator, add pg_stat_statements to shared_preload_libraries, restart the server, and run: '
        'create extension pg_stat_statements'
    );
  end if;
  begin
    return query execute format(
      $statement$
        with counted as (
          select query, calls, total_exec_time, mean_exec_time, max_exec_time, rows,
            shared_blks_hit + shared_blks_read as blocks, sum(total_exec_time) over () as total
          from %I.pg_stat_statements
          where dbid = (select oid from pg_database where datname = current_database())
          order by total_exec_time desc
          limit $1
        )

        select
          -- Of other statements the server keeps the text as it was sent, with the values in it.
          case when plain.text ~* '^\s*(select|with|insert|update|delete|merge)\s' then left(plain.text, 1000) end,
          counted.calls, counted.total_exec_time / 1000, counted.mean_exec_time, counted.max_exec_time,
          counted.total_exec_time / nullif(counted.total, 0), counted.rows, counted.blocks
        from counted
        cross join lateral (
          select regexp_replace(regexp_replace(counted.query, '/\*.*?\*/', '', 'g'), '--[^\n]*', '', 'g') as text
        ) as plain
        order by counted.total_exec_time desc
      $statement$,
      v_schema
    )
    using slow_statements.top;
  exception
    when object_not_in_prerequisite_state then
      perform common.refuse(
        'CF002',
        'the extension "pg_stat_statements" is installed, but not loaded by the server',
        'As an administrator, add pg_stat_statements to shared_preload_libraries and restart the server.'
      );
  end;
end;
$$;

comment on function monitor.slow_statements(int) is $$
Returns the statements of this database that took most time in total, where pg_stat_statements is installed.
The text has parameters in place of values. It is null for statements that are not a query, and for all statements of
other roles unless `insights_owner` is a member of `pg_read_all_stats`.
Errors: CF001 for `top` outside of 1 to 1000, CF002 when the extension is not installed or not loaded.
$$;

grant execute on function monitor.slow_statements(int) to insights_admin;
--! EndIncluded monitor/observation/slow_statements.sql

--! Included monitor/observation/beat.sql
create or replace function monitor.beat(worker text, version text)
returns void
language plpgsql
volatile
-- A definer: workers write monitor.worker through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if length(beat.worker) between 1 and 200 is not true or length(beat.version) <= 100 is not true then
    perform common.refuse(
      'CF001',
      format(
        'the worker is "%s", its version "%s"',
        coalesce(left(beat.worker, 100), 'null'),
        coalesce(left(beat.version, 100), 'null')
      ),
      'Give names of 1 to 200 and of at most 100 characters.'
    );
  end if;
  insert into monitor.worker as known (worker, started_at, seen_at, version)
  values (beat.worker, clock_timestamp(), clock_timestamp(), beat.version)
  on conflict on constraint worker_pkey do update
  set seen_at = excluded.seen_at, stopped_at = null, version = excluded.version;
end;
$$;

comment on function monitor.beat(text, text) is $$
@behavior -*
Records a heartbeat of a worker. Errors: CF001 for names that are null or too long.
$$;

grant execute on function monitor.beat(text, text) to insights_worker;
--! EndIncluded monitor/observation/beat.sql

--! Included monitor/observation/stop_worker.sql
create or replace function monitor.stop_worker(worker text)
returns void
language sql
volatile
-- A definer: workers write monitor.worker through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update monitor.worker
  set seen_at = clock.time, stopped_at = clock.time
  from (select clock_timestamp() as time offset 0) as clock
  where worker.worker = stop_worker.worker
$$;

comment on function monitor.stop_worker(text) is $$
@behavior -*
Records that a worker was stopped as intended; one without this record was killed.
$$;

grant execute on function monitor.stop_worker(text) to insights_worker;
--! EndIncluded monitor/observation/stop_worker.sql

--! Included monitor/latencies/record_latencies.sql
create or replace function monitor.record_latencies(
  writer uuid, flush bigint, age interval, latencies monitor.latency_counts[]
)
returns bigint
language plpgsql
volatile
-- A definer: no role may write monitor.latency.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
  v_hour timestamptz;
  v_wrong text;
begin
  if record_latencies.writer is null or record_latencies.flush is null or record_latencies.flush < 1 then
    perform common.refuse(
      'CF001',
      format('the writer is %s, the flush %s', coalesce(record_latencies.writer::text, 'null'),
        coalesce(record_latencies.flush::text, 'null')),
      'Give the key of the process, and the number of its flush from 1.'
    );
  end if;
  if record_latencies.age between '0' and '1 year' is not true then
    perform common.refuse(
      'CF001', format('age is %s', coalesce(record_latencies.age::text, 'null')),
      'Give the time since the first of the calls, from 0 to a year.'
    );
  end if;
  if record_latencies.latencies is null or cardinality(record_latencies.latencies) not between 1 and 5000 then
    perform common.refuse(
      'CF001', format('there are %s latencies', coalesce(cardinality(record_latencies.latencies)::text, 'null')),
      'Give 1 to 5000, one per operation.'
    );
  end if;

  select left(measured.operation, 100)
  into v_wrong
  from unnest(record_latencies.latencies) as measured
  where (
    measured.operation ~ '^[A-Za-z_/][A-Za-z0-9_/ ]{0,99}$'
    and array_ndims(measured.counts) = 1
    and array_lower(measured.counts, 1) = 1
    and cardinality(measured.counts) = v_buckets
    and array_position(measured.counts, null) is null
    and 0 <= all (measured.counts)
    and 1000000000000 >= all (measured.counts)
    and measured.failures between 0 and 1000000000000
    and measured.messages between 0 and 1000000000000
    and measured.seconds between 0 and 1e12
  ) is not true
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('the latency of operation "%s" is invalid', coalesce(v_wrong, 'null')),
      format('Give %s counts, failures, messages and seconds, all from 0.', v_buckets)
    );
  end if;

  -- A process repeats a flush that was not answered: it may have been stored.
  insert into monitor.latency_writer as stored (writer, flush)
  values (record_latencies.writer, record_latencies.flush)
  on conflict on constraint latency_writer_pkey do update
  set flush = excluded.flush, written_at = excluded.written_at
  where stored.flush < excluded.flush;
  if not found then
    return 0;
  end if;

  v_hour := date_trunc('hour', now() - record_latencies.age);
  -- In one order, so that two processes do not wait for each other's rows in a circle.
  with added as (
    insert into monitor.latency as stored (hour_at, operation, counts, failures, messages, seconds)
    select v_hour, measured.operation, measured.counts, measured.failures, measured.messages, measured.seconds
    from unnest(record_latencies.latencies) as measured
    order by measured.operation collate "C"
    on conflict on constraint latency_pkey do update
    set
      counts = array(
        select one.calls + other.calls
        from unnest(stored.counts) with ordinality as one (calls, bucket)
        join unnest(excluded.counts) with ordinality as other (calls, bucket) using (bucket)
        order by bucket
      ),
      failures = stored.failures + excluded.failures,
      messages = stored.messages + excluded.messages,
      seconds = stored.seconds + excluded.seconds
    returning stored.operation
  )
  select count(*) into record_latencies.flush from added;
  return record_latencies.flush;
end;
$$;

comment on function monitor.record_latencies(uuid, bigint, interval, monitor.latency_counts[]) is $$
@behavior -*
Adds the latencies that a process of the API has measured to those of the hour. Returns the number of operations.
A flush with the number of one that is stored, or with a lower number, changes nothing and returns 0: a process can
repeat a flush whose answer it did not receive. `age` is the time since the first of the calls, by the clock of the
process that does not jump; the hour is that of the database.
Errors: CF001 for an invalid argument.
$$;

grant execute on function monitor.record_latencies(uuid, bigint, interval, monitor.latency_counts[]) to insights_worker;
--! EndIncluded monitor/latencies/record_latencies.sql

--! Included monitor/latencies/latencies.sql
create or replace function monitor.latencies(
  since timestamptz default null,
  until timestamptz default now(),
  by text default 'operation',
  operation text default null
)
returns setof monitor.latency_summary
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_since constant timestamptz := coalesce(latencies.since, latencies.until - interval '24 hours');
begin
  perform common.check_period(v_since, latencies.until);
  if latencies.by is null or latencies.by not in ('operation', 'hour', 'day') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(latencies.by, 100) || '"', 'null')),
      'Use operation, hour or day.');
  end if;
  if length(latencies.operation) > 100 then
    perform common.refuse('CF001', format('operation is "%s"', left(latencies.operation, 100)),
      'Give an operation of the API, such as trackIngest, or null for all.');
  end if;

  return query
  with stored as (
    select
      case latencies.by
        when 'hour' then latency.hour_at
        when 'day' then date_trunc('day', latency.hour_at)
      end as starts_at,
      case when latencies.by = 'operation' then latency.operation end as name,
      latency.counts, latency.failures, latency.messages, latency.seconds
    from monitor.latency
    where latency.hour_at >= v_since
      and latency.hour_at < latencies.until
      and (latencies.operation is null or latency.operation = latencies.operation)
  ),

  summed as (
    select
      stored.starts_at,
      stored.name,
      sum(stored.failures)::bigint as failures,
      sum(stored.messages)::bigint as messages,
      sum(stored.seconds) as seconds
    from stored
    group by stored.starts_at, stored.name
  ),

  bucket as (
    select stored.starts_at, stored.name, counted.bucket, sum(counted.calls)::bigint as calls
    from stored
    cross join unnest(stored.counts) with ordinality as counted (calls, bucket)
    group by stored.starts_at, stored.name, counted.bucket
  ),

  histogram as (
    select
      bucket.starts_at,
      bucket.name,
      array_agg(bucket.calls order by bucket.bucket) as counts,
      sum(bucket.calls)::bigint as calls
    from bucket
    group by bucket.starts_at, bucket.name
  )

  select
    summed.starts_at,
    summed.name,
    histogram.calls,
    summed.failures,
    summed.messages,
    1000 * summed.seconds / nullif(histogram.calls, 0),
    1000 * common.duration_quantile(histogram.counts, 0.5),
    1000 * common.duration_quantile(histogram.counts, 0.9),
    1000 * common.duration_quantile(histogram.counts, 0.99),
    1000 * summed.seconds / nullif(summed.messages, 0)
  from summed
  join histogram
    on histogram.starts_at is not distinct from summed.starts_at
      and histogram.name is not distinct from summed.name
  order by summed.starts_at, summed.seconds desc, summed.name;
end;
$$;

comment on function monitor.latencies(timestamptz, timestamptz, text, text) is $$
Returns how long the operations of the API took, in milliseconds, by operation, hour or day: those with most time first.
The hours are those that begin in the period, by default the 24 hours before `until`, in UTC.
`operation` selects one. The API adds its counts every 30 seconds.
Quantiles are computed from counts in buckets whose bounds differ by a factor of √2: they are in the bucket of the
true value, so that they are at most 1.42 times as large or as small, and much nearer with many calls. Above 131 s they
are 131 s. A process of the API that is killed loses the counts of its last 30 seconds.
Errors: CF001 for an invalid argument.
$$;

grant execute on function monitor.latencies(timestamptz, timestamptz, text, text) to insights_admin, insights_worker;
--! EndIncluded monitor/latencies/latencies.sql

--! Included monitor/latencies/delete_old_latencies.sql
create or replace function monitor.delete_old_latencies(older_than interval default '400 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.latency.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_latencies.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse('CF001', format('older_than is %s', coalesce(delete_old_latencies.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.');
  end if;
  delete from monitor.latency where latency.hour_at < now() - delete_old_latencies.older_than;
  get diagnostics v_deleted = row_count;
  -- A process that has not written for a day has ended.
  delete from monitor.latency_writer where latency_writer.written_at < now() - interval '1 day';
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_latencies(interval) is $$
@behavior -mutationField
Deletes latencies of hours older than `older_than`. Returns the number of deleted rows.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_latencies(interval) to insights_worker;
--! EndIncluded monitor/latencies/delete_old_latencies.sql

--! Included monitor/notifications/_hmac_sha256.sql
create or replace function monitor._hmac_sha256(content bytea, key bytea)
returns bytea
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A block of SHA-256 has 64 bytes.
  v_key constant bytea := case when length(key) > 64 then sha256(key) else key end;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  for i in 0..length(v_key) - 1 loop
    v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
    v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
  end loop;
  return sha256(v_outer || sha256(v_inner || content));
end;
$$;

comment on function monitor._hmac_sha256(bytea, bytea) is $$
Returns the HMAC of a content with SHA-256. Source: RFC 2104.
$$;
--! EndIncluded monitor/notifications/_hmac_sha256.sql

--! Included monitor/notifications/_sign.sql
create or replace function monitor._sign(message_id text, sent_at text, body text, secrets bytea[])
returns text
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(
    'v1,' || encode(
      monitor._hmac_sha256(convert_to(concat_ws('.', message_id, sent_at, body), 'UTF8'), given.secret), 'base64'
    ),
    ' ' order by given.number
  )
  from unnest(secrets) with ordinality as given (secret, number)
$$;

comment on function monitor._sign(text, text, text, bytea[]) is $$
Returns the header `webhook-signature` of a message, one signature per secret.
Source: Standard Webhooks 1.0.0.
$$;
--! EndIncluded monitor/notifications/_sign.sql

--! Included monitor/notifications/_backoff.sql
create or replace function monitor._backoff(failures int, longest interval)
returns interval
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  select least(interval '30 seconds' * 2 ^ least(failures - 1, 20), longest) * (0.75 + random() / 2)
$$;

comment on function monitor._backoff(int, interval) is $$
Returns the time to wait after a number of failures: it doubles with each, and is less or more by a quarter at random.
$$;
--! EndIncluded monitor/notifications/_backoff.sql

--! Included monitor/notifications/_new_secret.sql
create or replace function monitor._new_secret(channel text)
returns text
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Version 4 UUIDs are from the strong random source of the server, 122 bits each.
  v_secret constant bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
begin
  insert into monitor.channel_secret (channel, secret) values (_new_secret.channel, v_secret);
  return 'whsec_' || encode(v_secret, 'base64');
end;
$$;

comment on function monitor._new_secret(text) is $$
Stores a random secret of a channel and returns it as Standard Webhooks writes it.
$$;
--! EndIncluded monitor/notifications/_new_secret.sql

--! Included monitor/notifications/_check_channel.sql
create or replace function monitor._check_channel(channel text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_channels constant text[] := array(select channel.channel from monitor.channel order by 1);
begin
  if _check_channel.channel = any (v_channels) is not true then
    perform common.refuse(
      'CF002',
      format('there is no channel "%s"', coalesce(left(_check_channel.channel, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(_check_channel.channel, v_channels) || '"?',
        'The table monitor.channel lists the channels.'
      )
    );
  end if;
end;
$$;

comment on function monitor._check_channel(text) is $$
Raises CF002 unless there is a channel of this name.
$$;
--! EndIncluded monitor/notifications/_check_channel.sql

--! Included monitor/notifications/set_channel.sql
create or replace function monitor.set_channel(
  channel text,
  url text,
  owners text[] default null,
  least_severity text default 'warning',
  is_active boolean default true
)
returns text
language plpgsql
volatile
-- A definer: no role may write or read URLs and secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_owner text;
  v_is_new boolean;
begin
  if set_channel.channel ~ '^[a-z][a-z0-9_-]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('channel is %s', coalesce('"' || left(set_channel.channel, 100) || '"', 'null')),
      'Use lower-case letters, digits, "_" and "-", at most 63, a letter at the beginning.'
    );
  end if;
  if length(set_channel.url) > 2000 then
    perform common.refuse(
      'CF008', format('url has %s characters', length(set_channel.url)), 'Give at most 2000 characters.'
    );
  end if;
  -- The URL is not quoted: it often contains a key.
  if set_channel.url ~ '^https?://(\[[0-9A-Fa-f:.]{2,50}\]|[^][\s/?#@:\\]{1,253})(:\d{1,5})?([/?][!-~]*)?$' is not true
    or set_channel.url ~ '#'
  then
    perform common.refuse(
      'CF001',
      'url is not the URL of a webhook',
      'Give a URL such as https://alerts.example/hook, without user, password, fragment and spaces.'
    );
  end if;
  if set_channel.least_severity in ('warning', 'critical') is not true then
    perform common.refuse(
      'CF001',
      format('least_severity is %s', coalesce('"' || left(set_channel.least_severity, 100) || '"', 'null')),
      'Give warning or critical.'
    );
  end if;
  if set_channel.is_active is null then
    perform common.refuse('CF001', 'is_active is null', 'Give true or false.');
  end if;
  if coalesce(array_ndims(set_channel.owners), 1) > 1 or cardinality(set_channel.owners) not between 1 and 20 then
    perform common.refuse(
      'CF001',
      format('owners has %s elements', cardinality(set_channel.owners)),
      'Give a list of 1 to 20 owners, or null for the alerts of all owners.'
    );
  end if;
  foreach v_owner in array coalesce(set_channel.owners, '{}') loop
    perform monitor._check_owner(v_owner);
  end loop;

  insert into monitor.channel (channel, address, owners, least_severity, is_active)
  values (
    set_channel.channel, substring(set_channel.url from '^https?://[^/?]+'), set_channel.owners,
    set_channel.least_severity, set_channel.is_active
  )
  on conflict on constraint channel_pkey do update
  set
    address = excluded.address,
    owners = excluded.owners,
    least_severity = excluded.least_severity,
    is_active = excluded.is_active,
    -- The changed channel is tried at once.
    failures = 0,
    failing_since = null,
    retry_at = null
  returning xmax = 0 into v_is_new;

  insert into monitor.channel_url (channel, url) values (set_channel.channel, set_channel.url)
  on conflict on constraint channel_url_pkey do update set url = excluded.url;
  return case when v_is_new then monitor._new_secret(set_channel.channel) end;
end;
$$;

comment on function monitor.set_channel(text, text, text[], text, boolean) is $$
@behavior -*
Creates a channel, or replaces its settings.
These are the URL that notifications are posted to, the owners whose alerts are sent (null for all) and the least
severity. Returns the secret of a new channel, which is not shown again, and null for a
channel that exists: its secret stays valid. `monitor.rotate_channel_secret` replaces it.
Notifications that wait are sent to the new URL. Those of an inactive channel wait, for three days at most.
The worker posts to public addresses by https; others must be listed in `INSIGHTS_WEBHOOK_HOSTS`.
Errors: CF001 for an invalid name, URL, owner or severity, CF008 for a URL of more than 2,000 characters.
$$;

grant execute on function monitor.set_channel(text, text, text[], text, boolean) to insights_admin;
--! EndIncluded monitor/notifications/set_channel.sql

--! Included monitor/notifications/drop_channel.sql
create or replace function monitor.drop_channel(channel text)
returns void
language plpgsql
volatile
-- A definer: channels are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform monitor._check_channel(drop_channel.channel);
  delete from monitor.channel where channel.channel = drop_channel.channel;
end;
$$;

comment on function monitor.drop_channel(text) is $$
@behavior -*
Removes a channel with its secrets and its notifications, also those that wait.
Errors: CF002 for an unknown channel (names the nearest).
$$;

grant execute on function monitor.drop_channel(text) to insights_admin;
--! EndIncluded monitor/notifications/drop_channel.sql

--! Included monitor/notifications/rotate_channel_secret.sql
create or replace function monitor.rotate_channel_secret(channel text, keep interval default '1 day')
returns text
language plpgsql
volatile
-- A definer: no role may read or write secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_now constant timestamptz := clock_timestamp();
begin
  perform monitor._check_channel(rotate_channel_secret.channel);
  if rotate_channel_secret.keep between '0' and '30 days' is not true then
    perform common.refuse(
      'CF001',
      format('keep is %s', coalesce(rotate_channel_secret.keep::text, 'null')),
      'Give the time for which the present secret stays valid, from 0 to 30 days.'
    );
  end if;
  -- Two rotations of a channel, one after the other.
  perform from monitor.channel where channel.channel = rotate_channel_secret.channel for update;
  -- Two secrets at most.
  delete from monitor.channel_secret as old
  where old.channel = rotate_channel_secret.channel
    and (old.expires_at is not null or rotate_channel_secret.keep = '0');
  update monitor.channel_secret as old
  set expires_at = v_now + rotate_channel_secret.keep
  where old.channel = rotate_channel_secret.channel;
  return monitor._new_secret(rotate_channel_secret.channel);
end;
$$;

comment on function monitor.rotate_channel_secret(text, interval) is $$
@behavior -*
Gives a channel a new secret and returns it; it is not shown again. For the time `keep` the previous secret stays valid:
each notification has a signature by both, so that the receiver can change to the new one in between. A secret before
these two is no longer used. With `keep` of 0, the previous secret is deleted at once.
Errors: CF001 for a time that is not from 0 to 30 days, CF002 for an unknown channel (names the nearest).
$$;

grant execute on function monitor.rotate_channel_secret(text, interval) to insights_admin;
--! EndIncluded monitor/notifications/rotate_channel_secret.sql

--! Included monitor/notifications/test_channel.sql
create or replace function monitor.test_channel(channel text)
returns bigint
language plpgsql
volatile
-- A definer: notifications are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_notification_id bigint;
begin
  perform monitor._check_channel(test_channel.channel);
  -- Two tests of a channel, one after the other.
  perform from monitor.channel where channel.channel = test_channel.channel for update;
  if exists (
    select
    from monitor.notification
    where notification.channel = test_channel.channel
      and notification.alert_event_id is null
      and notification.finished_at is null
  ) then
    perform common.refuse(
      'CF010',
      format('a test of the channel "%s" is waiting', test_channel.channel),
      'The worker sends it within a minute: select state, last_error from monitor.notification'
    );
  end if;
  update monitor.channel set retry_at = null where channel.channel = test_channel.channel;
  insert into monitor.notification (channel, message_id, body)
  values (
    test_channel.channel,
    'msg_' || replace(gen_random_uuid()::text, '-', ''),
    json_build_object(
      'type', 'channel.test',
      'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', json_build_object('channel', test_channel.channel)
    )::text
  )
  returning notification.notification_id into v_notification_id;
  return v_notification_id;
end;
$$;

comment on function monitor.test_channel(text) is $$
Enqueues a test of a channel and returns its key in `monitor.notification`, which shows the result within a minute.
A channel that waits after a failure is tried at once.
Errors: CF002 for an unknown channel (names the nearest), CF010 while another test is waiting.
$$;

grant execute on function monitor.test_channel(text) to insights_admin;
--! EndIncluded monitor/notifications/test_channel.sql

--! Included monitor/notifications/_ready_notifications.sql
create or replace function monitor._ready_notifications(at timestamptz)
returns setof bigint
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select ready.notification_id
  from monitor.channel
  cross join lateral (
    select waiting.notification_id
    from monitor.notification as waiting
    where waiting.channel = channel.channel
      and waiting.finished_at is null
      and case waiting.state
        -- Limits beyond the longest ones are those of a clock that was ahead.
        when 'waiting' then waiting.next_attempt_at <= at or waiting.next_attempt_at > at + interval '1 day'
        else waiting.leased_until <= at or waiting.leased_until > at + interval '10 minutes'
      end
      -- The notifications of an alert arrive in their order.
      and (
        waiting.alert_id is null
        or waiting.notification_id = (
          select min(earlier.notification_id)
          from monitor.notification as earlier
          where earlier.channel = waiting.channel
            and earlier.alert_id = waiting.alert_id
            and earlier.finished_at is null
        )
      )
    order by waiting.next_attempt_at, waiting.notification_id
    -- After a failure, one notification tries whether the channel works again.
    limit case when channel.failures > 0 then 1 else 50 end
  ) as ready
  where channel.is_active
    and (channel.retry_at is null or channel.retry_at <= at or channel.retry_at > at + interval '1 day')
$$;

comment on function monitor._ready_notifications(timestamptz) is $$
Returns the notifications that can be sent at a time, at most 50 of a channel.
$$;
--! EndIncluded monitor/notifications/_ready_notifications.sql

--! Included monitor/notifications/has_notifications.sql
create or replace function monitor.has_notifications()
returns boolean
language sql
stable
-- A definer: workers have no privilege on the functions that it calls.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select exists (select from monitor._ready_notifications(clock_timestamp()))
    or exists (
      select
      from monitor.notification
      where notification.finished_at is null
        and notification.created_at < clock_timestamp() - interval '3 days'
    )
$$;

comment on function monitor.has_notifications() is $$
@behavior -*
Returns whether there is a notification to send.
$$;

grant execute on function monitor.has_notifications() to insights_worker;
--! EndIncluded monitor/notifications/has_notifications.sql

--! Included monitor/notifications/take_notifications.sql
create or replace function monitor.take_notifications(top int default 20)
returns setof monitor.sendable
language plpgsql
volatile
-- A definer: no role may read URLs and secrets.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  -- At most 50 of a channel.
  v_ready bigint[];
  v_sent_at constant text := floor(extract(epoch from v_now))::bigint::text;
begin
  perform common.check_count('top', take_notifications.top, 1, 100);

  -- Also those that were never attempted, because the channel failed or was inactive all the time.
  update monitor.notification
  set
    state = 'failed',
    leased_until = null,
    finished_at = v_now,
    last_error = coalesce(notification.last_error, 'not sent within 3 days')
  where notification.notification_id in (
    select late.notification_id
    from monitor.notification as late
    where late.finished_at is null
      and late.created_at < v_now - interval '3 days'
      and (late.state = 'waiting' or late.leased_until <= v_now)
    order by late.notification_id
    limit 1000
    for update skip locked
  );

  v_ready := array(select ready from monitor._ready_notifications(v_now) as ready);
  return query
  with taken as materialized (
    select candidate.notification_id
    from monitor.notification as candidate
    where candidate.notification_id = any (v_ready)
      -- Checked on the locked row, too: another worker may have taken it in between.
      and candidate.finished_at is null
      and (
        candidate.state = 'waiting'
        or candidate.leased_until <= v_now
        or candidate.leased_until > v_now + interval '10 minutes'
      )
    order by candidate.next_attempt_at, candidate.notification_id
    limit take_notifications.top
    for update skip locked
  ),
  leased as (
    update monitor.notification
    set
      state = 'sending',
      attempts = notification.attempts + 1,
      attempted_at = v_now,
      leased_until = v_now + interval '2 minutes'
    where notification.notification_id in (select taken.notification_id from taken)
    returning notification.*
  )
  select
    leased.notification_id, leased.attempts, leased.channel, target.url, leased.message_id, v_sent_at,
    monitor._sign(
      leased.message_id, v_sent_at, leased.body,
      array(
        select secret.secret
        from monitor.channel_secret as secret
        where secret.channel = leased.channel
          and (secret.expires_at is null or secret.expires_at > v_now)
        order by secret.created_at desc
      )
    ),
    leased.body
  from leased
  join monitor.channel_url as target on target.channel = leased.channel
  order by leased.notification_id;
end;
$$;

comment on function monitor.take_notifications(int) is $$
@behavior -*
Takes notifications for sending, at most `top`, with their URL, headers and body.
Commit before sending: the caller has two minutes to send each once and to call `monitor.finish_notification`. No other
caller gets it in this time; afterwards the attempt counts as interrupted, and the notification is taken again with the
same `webhook-id`. So each attempt is sent at most once, and a repetition, of which the receiver may have got the first
message, is recognised by its `webhook-id`. Of an alert, a channel gets one notification at a time, in their order.
The signature is made here, so that the secret does not leave the database. Notifications that are older than three days
fail permanently.
Errors: CF001 for `top` outside of 1 to 100.
$$;

grant execute on function monitor.take_notifications(int) to insights_worker;
--! EndIncluded monitor/notifications/take_notifications.sql

--! Included monitor/notifications/finish_notification.sql
create or replace function monitor.finish_notification(
  notification_id bigint,
  attempt int,
  error text default null,
  status_code int default null,
  retry_after int default null
)
returns text
language plpgsql
volatile
-- A definer: notifications are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_least constant interval := make_interval(secs => least(greatest(finish_notification.retry_after, 0), 21600));
  v_error constant text := left(finish_notification.error, 300);
  -- Between 100 and 599, or it is not a status.
  v_status constant smallint := case
    when finish_notification.status_code between 100 and 599 then finish_notification.status_code
  end;
  v_row monitor.notification;
begin
  select notification.* into v_row
  from monitor.notification
  where notification.notification_id = finish_notification.notification_id
  for update;
  -- The channel was removed, or it was delivered already.
  if v_row.notification_id is null or v_row.state = 'delivered' then
    return v_row.state;
  end if;

  if v_error is null then
    -- A delivery counts, even if a later attempt has started.
    update monitor.notification
    set
      state = 'delivered', leased_until = null, finished_at = v_now, status_code = v_status, last_error = null
    where notification.notification_id = v_row.notification_id;
    update monitor.channel
    set failures = 0, failing_since = null, retry_at = null, delivered_at = v_now, last_error = null
    where channel.channel = v_row.channel;
    return 'delivered';
  end if;

  -- The failure of an attempt whose time had passed is not that of the present one.
  if v_row.state <> 'sending' or v_row.attempts is distinct from finish_notification.attempt then
    return v_row.state;
  end if;
  update monitor.notification
  set
    -- 410 Gone: the receiver does not want it, now or later.
    state = case when v_status = 410 or v_row.created_at < v_now - interval '3 days' then 'failed' else 'waiting' end,
    finished_at = case when v_status = 410 or v_row.created_at < v_now - interval '3 days' then v_now end,
    leased_until = null,
    next_attempt_at = v_now + greatest(v_least, monitor._backoff(v_row.attempts, '6 hours')),
    status_code = v_status,
    last_error = v_error
  where notification.notification_id = v_row.notification_id
  returning notification.* into v_row;
  update monitor.channel
  set
    failures = channel.failures + 1,
    failing_since = coalesce(channel.failing_since, v_now),
    retry_at = v_now + greatest(v_least, monitor._backoff(channel.failures + 1, '10 minutes')),
    last_error = v_error
  where channel.channel = v_row.channel;
  return v_row.state;
end;
$$;

comment on function monitor.finish_notification(bigint, int, text, int, int) is $$
@behavior -*
Records the result of an attempt to send a notification.
It was delivered if there is no error. Returns the state of the notification; null if its channel was removed in the
meantime.
After a failure it is tried again, after half a minute, then twice as long each time up to six hours, less or more by a
quarter at random, and not before `retry_after` seconds (at most six hours). It fails permanently after three days, or
by the status 410. The failure of an attempt whose time had passed is ignored; its success counts. After a failure, the
others of the channel wait too, up to ten minutes, and then one of them is tried.
$$;

grant execute on function monitor.finish_notification(bigint, int, text, int, int) to insights_worker;
--! EndIncluded monitor/notifications/finish_notification.sql

--! Included monitor/notifications/delete_old_notifications.sql
create or replace function monitor.delete_old_notifications(older_than interval default '90 days')
returns bigint
language plpgsql
volatile
-- A definer: workers have no privilege to delete from monitor.notification.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_deleted bigint;
begin
  if delete_old_notifications.older_than between '1 day' and '1000 years' is not true then
    perform common.refuse(
      'CF001',
      format('older_than is %s', coalesce(delete_old_notifications.older_than::text, 'null')),
      'Give an interval from a day to 1000 years.'
    );
  end if;
  delete from monitor.notification
  where notification.finished_at < now() - delete_old_notifications.older_than
    -- By the others, the end of the alert is sent to the same channels.
    and not exists (
      select from monitor.alert where alert.alert_id = notification.alert_id and alert.resolved_at is null
    );
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor.delete_old_notifications(interval) is $$
@behavior -*
Deletes notifications that were delivered, or failed, more than `older_than` ago, unless their alert is not resolved.
Returns their number.
Errors: CF001 for less than a day.
$$;

grant execute on function monitor.delete_old_notifications(interval) to insights_worker;
--! EndIncluded monitor/notifications/delete_old_notifications.sql

--! Included monitor/relevance/_shown_rate.sql
create or replace function monitor._shown_rate(rate float8, smallest_group int)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when _shown_rate.smallest_group is null or _shown_rate.rate = 0 or abs(_shown_rate.rate) = 'infinity'
      then _shown_rate.rate
    else round(_shown_rate.rate::numeric, 1 - floor(log(abs(_shown_rate.rate)))::int)
  end;
end;
$$;

comment on function monitor._shown_rate(float8, int) is $$
@behavior -*
Returns an estimate as analysts see it: with two significant digits. Without `smallest_group`, as it is.
$$;

grant execute on function monitor._shown_rate(float8, int) to insights_reader;
--! EndIncluded monitor/relevance/_shown_rate.sql

--! Included monitor/relevance/_reported_period.sql
create or replace function monitor._reported_period(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns tstzrange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform common.check_period(_reported_period.since, _reported_period.until);
  if not exists (select from track.item where item.kind = _reported_period.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(_reported_period.kind, 100), 'null')),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ' order by item.kind) || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
  return case
    when _reported_period.smallest_group is null
      then tstzrange(_reported_period.since, _reported_period.until)
    -- Whole weeks, so that two periods differ by a week at least.
    else tstzrange(
      date_trunc('week', greatest(_reported_period.since, '2000-01-03')),
      greatest(
        date_trunc('week', least(_reported_period.until, now()) - interval '1 microsecond') + interval '7 days',
        date_trunc('week', greatest(_reported_period.since, '2000-01-03'))
      )
    )
  end;
end;
$$;

comment on function monitor._reported_period(timestamptz, timestamptz, text, int) is $$
@behavior -*
Checks the period and the kind of a report, and returns the period; for analysts, the whole weeks that it touches.
$$;

grant execute on function monitor._reported_period(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded monitor/relevance/_reported_period.sql

--! Included monitor/relevance/_position_cells.sql
create or replace function monitor._position_cells(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with listed as (
    select
      impression.rank,
      (impression.person_id % 64)::int as bucket,
      impression.clicked_at,
      case when _position_cells.smallest_group is not null then date_trunc('week', impression.listed_at) end as week,
      hash_record_extended(row(item.item_id, impression.model_id, impression.basis), 0) as alike
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join track.person_set_blocks('counted') as counted
      on _position_cells.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _position_cells.since
      and impression.listed_at < _position_cells.until
      and impression.is_served
      and impression.rank between 1 and 20
      and item.kind = _position_cells.kind
      and (
        _position_cells.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  cell as (
    select
      listed.alike, listed.rank, listed.bucket, listed.week, count(*) as listed_count,
      count(listed.clicked_at) as clicked_count
    from listed
    group by listed.alike, listed.rank, listed.bucket, listed.week
  ),

  -- For analysts, a week in which few people were served a rank is left out. Buckets are at most as many as people.
  kept as (
    select present.rank, present.week
    from (select distinct cell.rank, cell.week, cell.bucket from cell) as present
    group by present.rank, present.week
    having count(*) >= coalesce(_position_cells.smallest_group, 1)
  )

  select
    cell.alike, cell.rank, cell.bucket, sum(cell.listed_count)::float8, sum(cell.clicked_count)::float8
  from cell
  join kept
    on kept.rank = cell.rank
    and kept.week is not distinct from cell.week
  group by cell.alike, cell.rank, cell.bucket;
end;
$$;

comment on function monitor._position_cells(timestamptz, timestamptz, text, int) is $$
@behavior -*
Counts rows of recorded lists and clicks by rank, by what decides their relevance, and by bucket of people.
Of the first 20 ranks. Rows are alike when item, version and basis are the same. `smallest_group`: of counted people
only, without the weeks in which a rank was served to few; null: all.
$$;

grant execute on function monitor._position_cells(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded monitor/relevance/_position_cells.sql

--! Included monitor/relevance/_inverse.sql
create or replace function monitor._inverse(matrix float8[], size int)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_left float8[] := matrix;
  v_right float8[] := array(
    select (i = j)::int::float8
    from generate_series(1, size) as i
    cross join generate_series(1, size) as j
    order by i, j
  );
  v_factor float8;
begin
  -- Gauss and Jordan, in place. The matrix is positive definite, so that the diagonal is a good pivot.
  for v_pivot in 1..size loop
    v_factor := v_left[(v_pivot - 1) * size + v_pivot];
    if v_factor <= 1e-9 * matrix[(v_pivot - 1) * size + v_pivot] then
      return null;
    end if;
    for v_j in 1..size loop
      v_left[(v_pivot - 1) * size + v_j] := v_left[(v_pivot - 1) * size + v_j] / v_factor;
      v_right[(v_pivot - 1) * size + v_j] := v_right[(v_pivot - 1) * size + v_j] / v_factor;
    end loop;
    for v_i in 1..size loop
      continue when v_i = v_pivot;
      v_factor := v_left[(v_i - 1) * size + v_pivot];
      continue when v_factor = 0;
      for v_j in 1..size loop
        v_left[(v_i - 1) * size + v_j] := v_left[(v_i - 1) * size + v_j]
          - v_factor * v_left[(v_pivot - 1) * size + v_j];
        v_right[(v_i - 1) * size + v_j] := v_right[(v_i - 1) * size + v_j]
          - v_factor * v_right[(v_pivot - 1) * size + v_j];
      end loop;
    end loop;
  end loop;
  return v_right;
end;
$$;

comment on function monitor._inverse(float8[], int) is $$
@behavior -*
Returns the inverse of a positive definite matrix of at most some dozens of rows, row by row; null when it is singular.
$$;

grant execute on function monitor._inverse(float8[], int) to insights_reader;
--! EndIncluded monitor/relevance/_inverse.sql

--! Included monitor/relevance/_position_step.sql
create or replace function monitor._position_step(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  used int[],
  logs float8[],
  out likelihood float8,
  out gradient float8[],
  out information float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- Arrays as relations have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  -- Within a group, a click is at rank k with the probability p = rows at k × examination of k / the sum of these.
  with cell as (
    select cell.alike, cell.place, sum(cell.listed) * exp(logs[cell.place]) as weight, sum(cell.clicked) as clicked
    from (
      select given.alike, array_position(used, given.rank) as place, given.listed, given.clicked
      from unnest(_position_step.alike, _position_step.rank, _position_step.listed, _position_step.clicked)
        as given (alike, rank, listed, clicked)
    ) as cell
    group by cell.alike, cell.place
  ),

  share as materialized (
    select
      cell.alike, cell.place, cell.clicked, cell.weight / sum(cell.weight) over alike as p,
      sum(cell.clicked) over alike as clicks
    from cell
    window alike as (partition by cell.alike)
  ),

  pair as (
    select one.place as one, other.place as other, sum(one.clicks * one.p * other.p) as product
    from share as one
    join share as other using (alike)
    where one.place > 1
      and other.place > 1
      and one.clicks > 0
    group by one.place, other.place
  ),

  single as (
    select
      share.place,
      sum(share.clicked - share.clicks * share.p) as gradient,
      sum(share.clicks * share.p) as expected,
      sum(share.clicked * ln(share.p)) as likelihood
    from share
    where share.clicks > 0
    group by share.place
  )

  select
    (select sum(single.likelihood) from single),
    (select array_agg(single.gradient order by single.place) from single where single.place > 1),
    array(
      select case when one.place = other.place then one.expected else 0 end - coalesce(pair.product, 0)
      from single as one
      cross join single as other
      left join pair on pair.one = one.place and pair.other = other.place
      where one.place > 1
        and other.place > 1
      order by one.place, other.place
    )
  into likelihood, gradient, information;
end;
$$;

comment on function monitor._position_step(bigint[], int[], float8[], float8[], int[], float8[]) is $$
@behavior -*
Returns the conditional log-likelihood of the examination of ranks, its gradient, and the information matrix.
One element per cell; `logs` of the ranks in `used`, of which the first is fixed at 0.
$$;

grant execute on function monitor._position_step(bigint[], int[], float8[], float8[], int[], float8[])
to insights_reader;
--! EndIncluded monitor/relevance/_position_step.sql

--! Included monitor/relevance/_fit_positions.sql
create or replace function monitor._fit_positions(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  used int[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := cardinality(used) - 1;
  v_alike bigint[];
  v_rank int[];
  v_listed float8[];
  v_clicked float8[];
  v_logs float8[] := array_fill(0::float8, array[cardinality(used)]);
  v_next float8[];
  v_now record;
  v_then record;
  v_inverse float8[];
  v_direction float8[];
  v_length float8;
begin
  -- The buckets of people do not matter here.
  select array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.listed), array_agg(cell.clicked)
  into v_alike, v_rank, v_listed, v_clicked
  from (
    select given.alike, given.rank, sum(given.listed) as listed, sum(given.clicked) as clicked
    from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.listed, _fit_positions.clicked)
      as given (alike, rank, listed, clicked)
    group by given.alike, given.rank
  ) as cell;

  -- Newton's method. The likelihood is concave; a step that does not improve it is halved.
  select * into v_now from monitor._position_step(v_alike, v_rank, v_listed, v_clicked, used, v_logs);
  for v_iteration in 1..50 loop
    v_inverse := monitor._inverse(v_now.information, v_size);
    if v_inverse is null then
      return null;
    end if;
    v_direction := array(
      select sum(v_inverse[(i - 1) * v_size + j] * v_now.gradient[j])
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      group by i
      order by i
    );
    v_length := 1;
    loop
      v_next := array(
        select v_logs[place] + case when place = 1 then 0 else v_length * v_direction[place - 1] end
        from generate_series(1, v_size + 1) as place
        order by place
      );
      select * into v_then from monitor._position_step(v_alike, v_rank, v_listed, v_clicked, used, v_next);
      exit when v_then.likelihood >= v_now.likelihood - 1e-9 * abs(v_now.likelihood);
      v_length := v_length / 2;
      if v_length < 1e-6 then
        return null;
      end if;
    end loop;
    v_logs := v_next;
    v_now := v_then;
    -- A rank of which the clicks are separated from those of the others has no finite estimate.
    if (select max(abs(log)) > 15 from unnest(v_logs) as log) then
      return null;
    end if;
    if (select max(abs(step)) < 1e-8 from unnest(v_direction) as step) then
      return v_logs;
    end if;
  end loop;
  return null;
end;
$$;

comment on function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]) is $$
@behavior -*
Returns the logarithms of the examination of the given ranks, the first of which is 0; null without a finite estimate.
$$;

grant execute on function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]) to insights_reader;
--! EndIncluded monitor/relevance/_fit_positions.sql

--! Included monitor/relevance/_position_influence.sql
create or replace function monitor._position_influence(
  alike bigint[],
  rank int[],
  bucket int[],
  listed float8[],
  clicked float8[],
  used int[],
  logs float8[],
  inverse float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- Arrays as relations have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  return (
    with cell as materialized (
      select
        given.alike, array_position(used, given.rank) as place, given.bucket,
        given.listed * exp(logs[array_position(used, given.rank)]) as weight, given.clicked
      from unnest(
        _position_influence.alike, _position_influence.rank, _position_influence.bucket, _position_influence.listed,
        _position_influence.clicked
      ) as given (alike, rank, bucket, listed, clicked)
    ),

    share as (
      select cell.alike, cell.place, sum(cell.weight) / sum(sum(cell.weight)) over (partition by cell.alike) as p
      from cell
      group by cell.alike, cell.place
    ),

    relevance as (
      select cell.alike, sum(cell.clicked) / sum(cell.weight) as relevance
      from cell
      group by cell.alike
      having sum(cell.clicked) > 0
    ),

    -- Clicks beyond the expected ones. Their sum is 0 over the people of a group, not over those of a bucket.
    residual as materialized (
      select cell.alike, cell.place, cell.bucket, cell.clicked - relevance.relevance * cell.weight as beyond
      from cell
      join relevance using (alike)
    ),

    score as (
      select part.bucket, part.place, sum(part.beyond) as score
      from (
        select residual.bucket, residual.place, sum(residual.beyond) as beyond
        from residual
        group by residual.bucket, residual.place

        union all

        select whole.bucket, share.place, -sum(whole.beyond * share.p)
        from (
          select residual.alike, residual.bucket, sum(residual.beyond) as beyond
          from residual
          group by residual.alike, residual.bucket
        ) as whole
        join share using (alike)
        group by whole.bucket, share.place
      ) as part
      where part.place > 1
      group by part.bucket, part.place
    ),

    buckets as (
      select count(distinct cell.bucket) as number from cell
    )

    select array_agg(influence.value order by influence.place, influence.bucket)
    from (
      select
        one.place,
        each.bucket,
        coalesce(sum(inverse[(one.place - 2) * (cardinality(used) - 1) + score.place - 1] * score.score), 0)
          * sqrt(buckets.number / greatest(buckets.number - 1, 1)::float8) as value
      from generate_series(2, cardinality(used)) as one (place)
      cross join generate_series(0, 63) as each (bucket)
      cross join buckets
      left join score on score.bucket = each.bucket
      group by one.place, each.bucket, buckets.number
    ) as influence
  );
end;
$$;

comment on function monitor._position_influence(
  bigint[], int[], int[], float8[], float8[], int[], float8[], float8[]
) is $$
@behavior -*
Returns what each of 64 buckets of people adds to the error of each rank's logarithm.
64 numbers per rank, from the second of `used` on.
$$;

grant execute on function
monitor._position_influence(bigint[], int[], int[], float8[], float8[], int[], float8[], float8[])
to insights_reader;
--! EndIncluded monitor/relevance/_position_influence.sql

--! Included monitor/relevance/_position_estimates.sql
create or replace function monitor._position_estimates(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_estimate
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Arrays as relations have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
declare
  v_fewest_clicks constant int := 10;
  v_listed float8[];
  v_clicked float8[];
  v_listed_buckets int[];
  v_clicked_buckets int[];
  v_groups bigint[];
  v_ranks int[];
  v_buckets int[];
  v_cell_listed float8[];
  v_cell_clicked float8[];
  v_used int[] := null;
  v_former int[];
  v_logs float8[];
  v_compared float8[];
  v_inverse float8[];
  v_influence float8[];
  v_step record;
begin
  -- All cells once: those of ranks, and those of groups that occur at several ranks and were clicked.
  with cell as materialized (
    select *
    from monitor._position_cells(
      _position_estimates.since, _position_estimates.until, _position_estimates.kind, _position_estimates.smallest_group
    )
  ),

  useful as (
    select cell.alike
    from cell
    group by cell.alike
    having sum(cell.clicked_count) > 0
      and min(cell.rank) < max(cell.rank)
  ),

  ranked as (
    select
      place.rank,
      coalesce(sum(cell.listed_count), 0) as listed,
      coalesce(sum(cell.clicked_count), 0) as clicked,
      count(cell.bucket) as listed_buckets,
      count(cell.bucket) filter (where cell.clicked_count > 0) as clicked_buckets
    from generate_series(1, 20) as place (rank)
    left join (
      select
        cell.rank, cell.bucket, sum(cell.listed_count) as listed_count, sum(cell.clicked_count) as clicked_count
      from cell
      group by cell.rank, cell.bucket
    ) as cell using (rank)
    group by place.rank
  )

  select total.*, kept.*
  into
    v_listed, v_clicked, v_listed_buckets, v_clicked_buckets, v_groups, v_ranks, v_buckets, v_cell_listed,
    v_cell_clicked
  from (
    select
      array_agg(ranked.listed order by ranked.rank) as listed,
      array_agg(ranked.clicked order by ranked.rank) as clicked,
      array_agg(ranked.listed_buckets order by ranked.rank) as listed_buckets,
      array_agg(ranked.clicked_buckets order by ranked.rank) as clicked_buckets
    from ranked
  ) as total
  cross join (
    select
      array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.bucket), array_agg(cell.listed_count),
      array_agg(cell.clicked_count)
    from cell
    join useful using (alike)
  ) as kept;

  -- Ranks with enough clicks in groups that have two of such ranks, until no rank falls out.
  v_used := array(select generate_series(1, 20));
  loop
    v_former := v_used;
    select
      array_agg(compared.rank order by compared.rank) filter (where compared.clicked >= v_fewest_clicks),
      array_agg(compared.clicked order by compared.rank)
    into v_used, v_compared
    from (
      select place.rank, coalesce(sum(cell.clicked), 0) as clicked
      from generate_series(1, 20) as place (rank)
      left join (
        select
          cell.rank, sum(cell.clicked) as clicked, min(cell.rank) over alike < max(cell.rank) over alike as is_compared
        from unnest(v_groups, v_ranks, v_cell_clicked) as cell (alike, rank, clicked)
        where cell.rank = any (v_former)
        group by cell.alike, cell.rank
        window alike as (partition by cell.alike)
      ) as cell
        on cell.rank = place.rank
        and cell.is_compared
      group by place.rank
    ) as compared;
    exit when v_used is null or v_used = v_former;
  end loop;

  if v_used[1] = 1 and cardinality(v_used) > 1 then
    -- Groups among these ranks only, whatever their bucket.
    select array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.bucket), array_agg(cell.listed),
      array_agg(cell.clicked)
    into v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked
    from unnest(v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked)
      as cell (alike, rank, bucket, listed, clicked)
    where cell.rank = any (v_used);
    v_logs := monitor._fit_positions(v_groups, v_ranks, v_cell_listed, v_cell_clicked, v_used);
    if v_logs is not null then
      select * into v_step
      from monitor._position_step(v_groups, v_ranks, v_cell_listed, v_cell_clicked, v_used, v_logs);
      v_inverse := monitor._inverse(v_step.information, cardinality(v_used) - 1);
      v_influence := monitor._position_influence(
        v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked, v_used, v_logs, v_inverse
      );
    end if;
  end if;

  return query
  select
    place.rank,
    v_listed[place.rank],
    v_clicked[place.rank],
    v_listed_buckets[place.rank],
    v_clicked_buckets[place.rank],
    case when v_groups is null then 0 else v_compared[place.rank] end,
    v_logs[array_position(v_used, place.rank)],
    case
      when v_logs is null or array_position(v_used, place.rank) is null then null
      when place.rank = 1 then array_fill(0::float8, array[64])
      else v_influence[
        (array_position(v_used, place.rank) - 2) * 64 + 1:(array_position(v_used, place.rank) - 1) * 64
      ]
    end
  from generate_series(1, 20) as place (rank)
  where v_listed[place.rank] > 0
  order by place.rank;
end;
$$;

comment on function monitor._position_estimates(timestamptz, timestamptz, text, int) is $$
@behavior -*
Estimates how often each rank is examined, from rows that are alike and were served at different ranks.
The model is that of positions: a row is clicked with the probability (examination of its rank) × (relevance of the
row), as in Craswell and others, "An Experimental Comparison of Click Position-Bias Models", 2008. Equal rows that were
served at different ranks are the interventions of Agarwal and others, "Estimating Position Bias without Intrusive
Interventions", WSDM 2019. Instead of their pairs of ranks, all ranks are compared at once by the conditional likelihood
of a Poisson model with an effect per group (Hausman, Hall and Griliches, Econometrica 1984), in which the relevance
cancels out, so that many small groups cause no bias. It needs the mean to be right only (Wooldridge, Journal of
Econometrics 1999); the variance is that of sums over 64 buckets of people, so that it allows for people who click more.
A rank with fewer than 10 clicks to compare has no estimate.
$$;

grant execute on function monitor._position_estimates(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded monitor/relevance/_position_estimates.sql

--! Included monitor/relevance/position_bias.sql
create or replace function monitor._position_bias(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_period tstzrange := monitor._reported_period(
    _position_bias.since, _position_bias.until, _position_bias.kind, _position_bias.smallest_group
  );
begin
  return query
  with estimated as (
    select
      estimate.*,
      sqrt((select sum(part ^ 2) from unnest(estimate.influence) as part)) as log_error,
      (select count(*) filter (where part <> 0) from unnest(estimate.influence) as part)::float8 as buckets
    from monitor._position_estimates(
      lower(v_period), upper(v_period), _position_bias.kind, _position_bias.smallest_group
    ) as estimate
  ),

  -- A rank that few people clicked at has no estimate for analysts.
  shown as (
    select
      estimated.rank,
      analytics.shown(
        estimated.listed_count, estimated.listed_buckets, _position_bias.smallest_group
      )::bigint as listed,
      analytics.shown(
        estimated.clicked_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as clicked,
      analytics.shown(
        estimated.compared_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as compared,
      case
        when estimated.clicked_buckets >= coalesce(_position_bias.smallest_group, 0)
          then exp(estimated.log_examination)
      end as examination,
      case when estimated.rank = 1 then 0 when estimated.buckets >= 10 then estimated.log_error end as log_error,
      case
        when estimated.rank = 1 then 0
        when estimated.buckets >= 10 then ml.students_t_quantile(0.975, estimated.buckets - 1)
      end as t
    from estimated
  )

  select
    shown.rank, shown.listed, shown.clicked, 
    least(shown.clicked::float8 / nullif(shown.listed, 0), 1), shown.compared,
    monitor._shown_rate(shown.examination, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * shown.log_error, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(-shown.t * shown.log_error), _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(shown.t * shown.log_error), _position_bias.smallest_group)
  from shown
  order by shown.rank;
end;
$$;

comment on function monitor._position_bias(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.position_bias`, with the privileges of the caller.
`smallest_group`: about counted people, rounded; null: exact.
$$;

grant execute on function monitor._position_bias(timestamptz, timestamptz, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._position_bias_exact(since timestamptz, until timestamptz, kind text)
returns setof monitor.position_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._position_bias($1, $2, $3, null);
$$;

alter function monitor._position_bias_exact(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._position_bias_exact(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.position_bias` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._position_bias_exact(timestamptz, timestamptz, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._position_bias_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.position_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._position_bias($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._position_bias_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._position_bias_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.position_bias` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._position_bias_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.position_bias(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._position_bias_exact(timestamptz, timestamptz, text)', 'execute') then
    return query
    select * from monitor._position_bias_exact(position_bias.since, position_bias.until, position_bias.kind);
  else
    return query
    select * from monitor._position_bias_shown(position_bias.since, position_bias.until, position_bias.kind);
  end if;
end;
$$;

comment on function monitor.position_bias(timestamptz, timestamptz, text) is $$
Returns how often people examine each of the first 20 ranks of lists, relative to rank 1, from recorded lists.
A click needs a row that is relevant and that was examined; lower ranks are examined less often. The examination of
ranks is estimated from clicks on equal rows (item, version, basis) that were served at different ranks: see
`monitor._position_estimates`. It holds as far as people who are served an item at rank 1 find it as relevant as those
who are served it at another rank. Intervals are of Student's t, with people as clusters, and null where fewer than
10 of 64 groups of people were served such rows.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a rank was served to few people is left out, numbers are rounded by
`analytics.shown`, and estimates to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.position_bias(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/position_bias.sql

--! Included monitor/relevance/_rate_bounds.sql
create or replace function monitor._rate_bounds(successes float8, trials float8, effect float8)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_trials constant float8 := trials / greatest(effect, 1);
  v_rate constant float8 := successes / nullif(trials, 0);
  v_half float8;
begin
  if trials = 0 then
    return null;
  end if;
  v_half := v_z * sqrt(v_rate * (1 - v_rate) / v_trials + v_z ^ 2 / (4 * v_trials ^ 2)) / (1 + v_z ^ 2 / v_trials);
  return array[
    greatest(0, (v_rate + v_z ^ 2 / (2 * v_trials)) / (1 + v_z ^ 2 / v_trials) - v_half),
    least(1, (v_rate + v_z ^ 2 / (2 * v_trials)) / (1 + v_z ^ 2 / v_trials) + v_half)
  ];
end;
$$;

comment on function monitor._rate_bounds(float8, float8, float8) is $$
@behavior -*
Returns the bounds of a 95 % interval of a rate of clustered trials: Wilson's for the effective number of trials.
That is their number divided by `effect`, the variance of the rate as a multiple of that of independent trials.
Franco and others, "Comparative study of confidence intervals for proportions in complex sample surveys", Journal of
Survey Statistics and Methodology 2019.
$$;

grant execute on function monitor._rate_bounds(float8, float8, float8) to insights_reader;
--! EndIncluded monitor/relevance/_rate_bounds.sql

--! Included monitor/relevance/_design_effect.sql
create or replace function monitor._design_effect(
  people float8,
  successes float8,
  trials float8,
  squares float8,
  products float8,
  trial_squares float8
)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rate constant float8 := successes / nullif(trials, 0);
begin
  return case
    -- Without a success, or with nothing else, people are the trials.
    when v_rate in (0, 1) or people < 2 then trials / people
    else greatest(
      1,
      people / (people - 1) * (squares - 2 * v_rate * products + v_rate ^ 2 * trial_squares)
        / (v_rate * (1 - v_rate) * trials)
    )
  end;
end;
$$;

comment on function monitor._design_effect(float8, float8, float8, float8, float8, float8) is $$
@behavior -*
Returns the variance of a rate over people, who have many trials each, as a multiple of that of independent trials.
By the delta method for a quotient of sums. `squares`, `products`, `trial_squares`: sums over people of successes ²,
successes × trials and trials ². At least 1.
$$;

grant execute on function monitor._design_effect(float8, float8, float8, float8, float8, float8) to insights_reader;
--! EndIncluded monitor/relevance/_design_effect.sql

--! Included monitor/relevance/_corrected_rates.sql
create or replace function monitor._corrected_rates(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int,
  cells monitor.ranked_cell[],
  corrects boolean default true
)
returns setof monitor.corrected_rate
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set enable_nestloop to off
set work_mem to '64MB'
as $$
begin
  return query
  with position as materialized (
    select estimate.rank, exp(-estimate.log_examination) as weight, estimate.influence
    from monitor._position_estimates(
      _corrected_rates.since, _corrected_rates.until, _corrected_rates.kind, _corrected_rates.smallest_group
    ) as estimate
    where _corrected_rates.corrects
      and estimate.log_examination is not null

    union all

    select place.rank, 1, array_fill(0::float8, array[64])
    from generate_series(1, 20) as place (rank)
    where not _corrected_rates.corrects
  ),

  weighed as materialized (
    select cell.name, cell.starts_at, cell.rank, cell.bucket, cell.listed, cell.clicked * position.weight as clicked
    from unnest(_corrected_rates.cells) as cell
    join position on position.rank = cell.rank
  ),

  rated as materialized (
    select
      weighed.name, weighed.starts_at, sum(weighed.listed) as listed,
      sum(weighed.clicked) / sum(weighed.listed) as rate,
      count(distinct weighed.bucket)::float8 as buckets
    from weighed
    group by weighed.name, weighed.starts_at
  ),

  -- The error of the rate by bucket of people: by their own clicks, and by what they add to the error of each rank.
  part as (
    select weighed.name, weighed.starts_at, weighed.bucket,
      (weighed.clicked - rated.rate * weighed.listed) * sqrt(rated.buckets / greatest(rated.buckets - 1, 1)) as error
    from weighed
    join rated
      on rated.name is not distinct from weighed.name
      and rated.starts_at is not distinct from weighed.starts_at

    union all

    select ranked.name, ranked.starts_at, entry.place::int - 1, -ranked.clicked * entry.influence
    from (
      select weighed.name, weighed.starts_at, weighed.rank, sum(weighed.clicked) as clicked
      from weighed
      group by weighed.name, weighed.starts_at, weighed.rank
    ) as ranked
    join position on position.rank = ranked.rank
    cross join lateral unnest(position.influence) with ordinality as entry (influence, place)
  ),

  spread as (
    select
      bucket.name, bucket.starts_at, sqrt(sum(bucket.error ^ 2)) as error,
      array_agg(bucket.error order by bucket.bucket) as errors
    from (
      select part.name, part.starts_at, part.bucket, sum(part.error) as error
      from (
        select * from part

        union all

        select rated.name, rated.starts_at, every.bucket, 0
        from rated
        cross join generate_series(0, 63) as every (bucket)
      ) as part
      group by part.name, part.starts_at, part.bucket
    ) as bucket
    group by bucket.name, bucket.starts_at
  )

  select
    rated.name, rated.starts_at, rated.rate, spread.error / rated.listed,
    case when rated.buckets >= 10 and rated.rate > 0 then
      rated.rate * exp(-ml.students_t_quantile(0.975, rated.buckets - 1) * spread.error / rated.listed / rated.rate)
    end,
    case when rated.buckets >= 10 and rated.rate > 0 then
      rated.rate * exp(ml.students_t_quantile(0.975, rated.buckets - 1) * spread.error / rated.listed / rated.rate)
    end,
    array(select error / rated.listed from unnest(spread.errors) with ordinality as e (error, place) order by place)
  from rated
  join spread
    on spread.name is not distinct from rated.name
    and spread.starts_at is not distinct from rated.starts_at;
end;
$$;

comment on function monitor._corrected_rates(timestamptz, timestamptz, text, int, monitor.ranked_cell[], boolean) is $$
@behavior -*
Returns the mean relevance of the rows of each group: clicks, each divided by the examination of its rank, per row.
Inverse propensity weighting, as in Joachims, Swaminathan and Schnabel, "Unbiased Learning-to-Rank with Biased
Feedback", WSDM 2017. The standard error includes that of the examination, of the same people. Rows at ranks without an
estimate are left out. `corrects`: false for the click rate as it is.
$$;

grant execute on function monitor._corrected_rates(timestamptz, timestamptz, text, int, monitor.ranked_cell[], boolean)
to insights_reader;
--! EndIncluded monitor/relevance/_corrected_rates.sql

--! Included monitor/relevance/_listed.sql
create or replace function monitor._listed(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with deployed as (
    select
      deployment.deployment_id, deployment.deployed_at as since,
      lead(deployment.deployed_at, 1, 'infinity') over (order by deployment.deployment_id) as until
    from ml.deployment
    join ml.project using (project_id)
    where _listed.by = 'deployment'
      and project.name = 'recommend.' || _listed.kind
  ),

  segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed.by = 'segment'
      and person_set.name like 'segment.%'
  ),

  counted as materialized (
    select stored.block, stored.people
    from track.person_set_blocks('counted') as stored
    where _listed.smallest_group is not null
  )

  select
    case _listed.by
      when 'model' then model.version::text
      when 'basis' then impression.basis
      when 'rank' then impression.rank::text
      when 'segment' then segment.name
      when 'deployment' then deployed.deployment_id::text
    end,
    case
      when _listed.by_week then date_trunc('week', impression.listed_at)
      when _listed.by = 'deployment' then deployed.since
    end,
    case when _listed.smallest_group is not null then date_trunc('week', impression.listed_at) end,
    impression.person_id, item.item_id, impression.rank, impression.listed_at,
    impression.seen_at is not null,
    impression.clicked_at is not null,
    impression.completed_at is not null,
    impression.dismissed_at is not null,
    impression.liking
  from recommend.impression
  join track.item as named on named.item_id = impression.item_id
  join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
  left join ml.model on model.model_id = impression.model_id
  left join deployed
    on impression.listed_at >= deployed.since
    and impression.listed_at < deployed.until
  left join segment
    on segment.block = impression.person_id / 4096
    and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
  left join counted on counted.block = impression.person_id / 4096
  where impression.listed_at >= _listed.since
    and impression.listed_at < _listed.until
    and impression.is_served
    and item.kind = _listed.kind
    and (_listed.by <> 'segment' or segment.name is not null)
    and (_listed.smallest_group is null or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0);
end;
$$;

comment on function monitor._listed(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Returns the rows of recorded lists of a kind with their group: one per segment of the person with `by` segment.
$$;

grant execute on function monitor._listed(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
--! EndIncluded monitor/relevance/_listed.sql

--! Included monitor/relevance/relevance.sql
create or replace function monitor._relevance(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _relevance.since, _relevance.until, _relevance.kind, _relevance.smallest_group
  );
  v_available bigint;
begin
  if _relevance.by is null or _relevance.by not in ('all', 'model', 'basis', 'rank', 'segment', 'deployment') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_relevance.by, 100) || '"', 'null')),
      'Use all, model (version), basis, rank, segment or deployment.');
  end if;
  v_available := (
    select count(*)
    from track.item
    where item.kind = _relevance.kind
      and item.merged_item_id is null
      and coalesce(item.available_from < upper(v_period), true)
      and coalesce(item.available_until > lower(v_period), true)
  );

  return query
  with listed as materialized (
    select entry.*
    from monitor._listed(
      lower(v_period), upper(v_period), _relevance.by, _relevance.kind, coalesce(_relevance.by_week, false),
      _relevance.smallest_group
    ) as entry
  ),

  -- Rows are few per list: counted by list first, lists need no sort.
  list as (
    select
      listed.name, listed.starts_at, listed.week, listed.person_id,
      count(*)::float8 as served,
      count(*) filter (where listed.is_seen)::float8 as seen,
      count(*) filter (where listed.is_clicked)::float8 as clicked,
      count(*) filter (where listed.is_completed)::float8 as completed,
      count(*) filter (where listed.is_dismissed)::float8 as dismissed,
      count(*) filter (where listed.liking > 0)::float8 as liked,
      count(*) filter (where listed.liking < 0)::float8 as disliked
    from listed
    group by listed.name, listed.starts_at, listed.week, listed.person_id, listed.listed_at
  ),

  person as materialized (
    select
      list.name, list.starts_at, list.week, list.person_id, count(*) as lists, sum(list.served) as served,
      sum(list.seen) as seen,
      sum(list.clicked) as clicked,
      sum(list.completed) as completed,
      sum(list.dismissed) as dismissed,
      sum(list.liked) as liked,
      sum(list.disliked) as disliked
    from list
    group by list.name, list.starts_at, list.week, list.person_id
  ),

  -- For analysts, a week in which a group has few people is left out.
  kept as materialized (
    select person.name, person.starts_at, person.week
    from person
    group by person.name, person.starts_at, person.week
    having count(*) >= coalesce(_relevance.smallest_group, 1)
  ),

  whole as (
    select
      person.name, person.starts_at, person.person_id, sum(person.served) as served, sum(person.lists) as lists,
      sum(person.seen) as seen,
      sum(person.clicked) as clicked,
      sum(person.completed) as completed,
      sum(person.dismissed) as dismissed,
      sum(person.liked) as liked,
      sum(person.disliked) as disliked
    from person
    join kept
      on kept.name is not distinct from person.name
      and kept.starts_at is not distinct from person.starts_at
      and kept.week is not distinct from person.week
    group by person.name, person.starts_at, person.person_id
  ),

  -- Sums, and those of squares and products, from which the variance of a quotient of sums over people follows.
  grouped as (
    select
      whole.name, whole.starts_at, count(*) as people, sum(whole.lists)::float8 as lists, sum(whole.served) as served,
      sum(whole.served ^ 2) as served_served,
      sum(whole.seen) as seen, count(*) filter (where whole.seen > 0) as seen_people,
      sum(whole.clicked) as clicked, count(*) filter (where whole.clicked > 0) as clicked_people,
      sum(whole.completed) as completed, count(*) filter (where whole.completed > 0) as completed_people,
      sum(whole.dismissed) as dismissed, count(*) filter (where whole.dismissed > 0) as dismissed_people,
      sum(whole.liked) as liked, count(*) filter (where whole.liked > 0) as liked_people,
      sum(whole.disliked) as disliked, count(*) filter (where whole.disliked > 0) as disliked_people,
      sum(whole.clicked ^ 2) as clicked_clicked, sum(whole.clicked * whole.served) as clicked_served,
      sum(whole.completed ^ 2) as completed_completed, sum(whole.completed * whole.served) as completed_served,
      sum(whole.dismissed ^ 2) as dismissed_dismissed, sum(whole.dismissed * whole.served) as dismissed_served
    from whole
    group by whole.name, whole.starts_at
  ),

  shown as (
    select
      grouped.name, grouped.starts_at,
      analytics.shown(grouped.people, grouped.people, _relevance.smallest_group)::bigint as people,
      analytics.shown(grouped.lists, grouped.people, _relevance.smallest_group)::bigint as lists,
      analytics.shown(grouped.served, grouped.people, _relevance.smallest_group)::bigint as served,
      analytics.shown(grouped.seen, grouped.seen_people, _relevance.smallest_group)::bigint as seen,
      analytics.shown(grouped.clicked, grouped.clicked_people, _relevance.smallest_group)::bigint as clicked,
      analytics.shown(grouped.completed, grouped.completed_people, _relevance.smallest_group)::bigint as completed,
      analytics.shown(grouped.dismissed, grouped.dismissed_people, _relevance.smallest_group)::bigint as dismissed,
      analytics.shown(grouped.liked, grouped.liked_people, _relevance.smallest_group)::bigint as liked,
      analytics.shown(grouped.disliked, grouped.disliked_people, _relevance.smallest_group)::bigint as disliked,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.clicked, grouped.served, grouped.clicked_clicked, grouped.clicked_served,
          grouped.served_served
        ), _relevance.smallest_group
      ) as clicked_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.completed, grouped.served, grouped.completed_completed,
          grouped.completed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as completed_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.dismissed, grouped.served, grouped.dismissed_dismissed,
          grouped.dismissed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as dismissed_effect
    from grouped
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _relevance.kind, _relevance.smallest_group,
      (
        select array_agg(row(cell.name, cell.starts_at, cell.rank, cell.bucket, cell.listed, cell.clicked)
          ::monitor.ranked_cell)
        from (
          select
            listed.name, listed.starts_at, listed.rank, (listed.person_id % 64)::int as bucket,
            count(*)::float8 as listed, count(*) filter (where listed.is_clicked)::float8 as clicked
          from listed
          join kept
            on kept.name is not distinct from listed.name
            and kept.starts_at is not distinct from listed.starts_at
            and kept.week is not distinct from listed.week
          where listed.rank between 1 and 20
          group by listed.name, listed.starts_at, listed.rank, listed.person_id % 64
        ) as cell
      )
    )
  ),

  -- For analysts, items that few people were served do not count.
  item as (
    select served.name, served.starts_at, served.item_id, sum(served.served) as served
    from (
      select
        listed.name, listed.starts_at, listed.item_id,
        case when _relevance.smallest_group is not null then listed.person_id end as person_id,
        count(*)::float8 as served
      from listed
      join kept
        on kept.name is not distinct from listed.name
        and kept.starts_at is not distinct from listed.starts_at
        and kept.week is not distinct from listed.week
      group by 1, 2, 3, 4
    ) as served
    group by served.name, served.starts_at, served.item_id
    having count(*) >= coalesce(_relevance.smallest_group, 1)
  ),

  ordered as (
    select
      item.name, item.starts_at, item.served,
      row_number() over (partition by item.name, item.starts_at order by item.served desc) as place
    from item
  ),

  -- Items that were not served are the last ones; they add to the number of items only.
  spread as (
    select
      ordered.name, ordered.starts_at, count(*) as items,
      greatest(v_available, count(*)) as available,
      sum(ordered.served) as served,
      sum(ordered.place * ordered.served) as placed,
      sum(ordered.served) filter (where ordered.place <= ceil(greatest(v_available, 1) / 10.0)) as top_tenth
    from ordered
    group by ordered.name, ordered.starts_at
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.starts_at, shown.people, shown.lists, figure.served, shown.seen, figure.clicked,
    figure.completed, figure.dismissed, shown.liked, shown.disliked,
    figure.clicked::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[1],
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[2],
    case when shown.clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.lower, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.upper, _relevance.smallest_group) end,
    figure.completed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[1],
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[2],
    figure.dismissed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[1],
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[2],
    coalesce(spread.items, 0),
    monitor._shown_rate(coalesce(spread.items::float8 / spread.available, 0), _relevance.smallest_group),
    monitor._shown_rate(
      1 + 1.0 / spread.available - 2 * spread.placed / (spread.available * spread.served), _relevance.smallest_group
    ),
    monitor._shown_rate(spread.top_tenth / spread.served, _relevance.smallest_group)
  from shown
  cross join lateral (
    select
      shown.served,
      least(shown.clicked, shown.served) as clicked,
      least(shown.completed, shown.served) as completed,
      least(shown.dismissed, shown.served) as dismissed
  ) as figure
  left join corrected
    on corrected.name is not distinct from shown.name
    and corrected.starts_at is not distinct from shown.starts_at
  left join spread
    on spread.name is not distinct from shown.name
    and spread.starts_at is not distinct from shown.starts_at
  order by
    case when _relevance.by in ('model', 'rank', 'deployment') then shown.name::bigint end nulls last,
    shown.name, shown.starts_at;
end;
$$;

comment on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Computes the result of `monitor.relevance`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._relevance_exact(
  since timestamptz, until timestamptz, by text, kind text, by_week boolean
)
returns setof monitor.relevance_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._relevance($1, $2, $3, $4, $5, null);
$$;

alter function monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean) owner to insights_reader;

comment on function monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean) is $$
@behavior -*
Returns the result of `monitor.relevance` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._relevance_shown(
  since timestamptz, until timestamptz, by text, kind text, by_week boolean
)
returns setof monitor.relevance_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._relevance($1, $2, $3, $4, $5, (select smallest_group from analytics.setting));
$$;

alter function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) owner to insights_reader;

comment on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) is $$
@behavior -*
Returns the result of `monitor.relevance` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) to insights_analyst;

create or replace function monitor.relevance(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course',
  by_week boolean default false
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean)', 'execute'
  ) then
    return query
    select *
    from monitor._relevance_exact(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week
    );
  else
    return query
    select *
    from monitor._relevance_shown(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week
    );
  end if;
end;
$$;

comment on function monitor.relevance(timestamptz, timestamptz, text, text, boolean) is $$
Returns how relevant the recommended items of a kind were: clicks, completions, dismissals, coverage, concentration.
About the rows of lists that `recommend.serve_me` and its variants recorded: rows that are known from an answer alone
would be more frequent in better lists. Rates are shares of the rows that were served. `by`: `all`, `model` (version),
`basis`, `rank`, `segment` (a person counts in each of hers) or `deployment`, of which each lasts until the next;
`by_week`: for each week from Monday, UTC. `corrected_rate` does not depend on the ranks at which rows were: see
`monitor.position_bias`. Intervals are 95 %, with people as clusters.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a group has fewer than `analytics.setting.smallest_group` people is left out, numbers are
rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.relevance(timestamptz, timestamptz, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/relevance.sql

--! Included monitor/cost/_stored_bytes.sql
create or replace function monitor._stored_bytes(relations regclass[], out row_count float8, out bytes float8)
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select sum(greatest(class.reltuples, 0)), sum(pg_total_relation_size(class.oid))
  from unnest(relations) as given (relation)
  cross join lateral (
    select given.relation as relid
    where (select relkind from pg_class where oid = given.relation) <> 'p'

    union all

    select tree.relid
    from pg_partition_tree(given.relation) as tree
    where (select relkind from pg_class where oid = given.relation) = 'p'
      and tree.isleaf
  ) as stored
  join pg_class as class on class.oid = stored.relid
$$;

comment on function monitor._stored_bytes(regclass[]) is $$
@behavior -*
Returns the rows of tables and their partitions, as of the last analyze, and their bytes with indexes.
$$;

grant execute on function monitor._stored_bytes(regclass[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/_stored_bytes.sql

--! Included monitor/cost/_list_durations.sql
create or replace function monitor._list_durations(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with queued as (
    select
      serving_call.hour_at, serving_call.kind, serving_call.model_id,
      width_bucket(serving_call.seconds, common.duration_bounds()) + 1 as place, count(*) as calls,
      sum(serving_call.seconds) as seconds
    from recommend.serving_call
    group by 1, 2, 3, 4
  ),

  entry as (
    select
      serving_time.hour_at, serving_time.kind, nullif(serving_time.model_id, 0) as model_id, serving_time.counts,
      serving_time.seconds
    from recommend.serving_time
    where serving_time.hour_at >= (select min(starts_at) from unnest($1) as starts_at)
      and serving_time.hour_at < (select max(ends_at) from unnest($2) as ends_at)

    union all

    select
      queued.hour_at, queued.kind, queued.model_id,
      array_fill(0::bigint, array[queued.place - 1]) || queued.calls
        || array_fill(0::bigint, array[cardinality(common.duration_bounds()) + 1 - queued.place]),
      queued.seconds
    from queued
  ),

  named as (
    select
      period.starts_at, case when $4 then model.version::text end as name, counted.place, counted.calls,
      -- Once per entry.
      case counted.place when 1 then entry.seconds else 0 end as seconds
    from unnest($1, $2) as period (starts_at, ends_at)
    join entry
      on entry.hour_at >= period.starts_at
      and entry.hour_at < period.ends_at
    left join ml.model on model.model_id = entry.model_id
    cross join lateral unnest(entry.counts) with ordinality as counted (calls, place)
    where $3 is null
      or entry.kind = $3
  ),

  summed as (
    select
      named.starts_at, named.name, named.place, sum(named.calls)::bigint as calls, sum(named.seconds) as seconds
    from named
    group by named.starts_at, named.name, named.place
  ),

  histogram as (
    select
      summed.starts_at, summed.name, array_agg(summed.calls order by summed.place) as counts,
      sum(summed.calls)::float8 as calls, sum(summed.seconds) as seconds
    from summed
    group by summed.starts_at, summed.name
    having sum(summed.calls) > 0
  )

  select
    histogram.starts_at, histogram.name, histogram.calls, histogram.seconds,
    1000 * common.duration_quantile(histogram.counts, 0.5), 1000 * common.duration_quantile(histogram.counts, 0.95)
  from histogram
$$;

comment on function monitor._list_durations(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns how long recorded lists of a kind (null: of all kinds) took in each period, as in `recommend.serving_times`.
Hours belong to the period in which they begin. `by_model`: one row per version that ranked rows of the lists.
$$;

grant execute on function monitor._list_durations(timestamptz[], timestamptz[], text, boolean)
to insights_reader, insights_admin, insights_worker;

/* A definer owned by insights_reader: analysts may not read the durations of lists by hour. */
create or replace function monitor._list_durations_shown(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
returns setof monitor.list_duration
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
  with given as (
    select
      period.starts_at, date_trunc('week', greatest(period.starts_at, '2000-01-03')) as since,
      date_trunc('week', least(period.ends_at, now()) - interval '1 microsecond') + interval '7 days' as until
    from unnest($1, $2) as period (starts_at, ends_at)
    where period.ends_at > period.starts_at
    limit 1000
  )

  select
    given.starts_at, measured.name, null::float8, monitor._shown_rate(measured.seconds, 5),
    monitor._shown_rate(measured.p50_ms, 5), monitor._shown_rate(measured.p95_ms, 5)
  from given
  cross join lateral monitor._list_durations(array[given.since], array[given.until], $3, $4) as measured
  where measured.call_count >= 20
$$;

alter function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) owner to insights_reader;

comment on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns the result of `monitor._list_durations` for analysts: of whole weeks, with two significant digits.
Periods with fewer than 20 lists are left out.
$$;

grant execute on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean)
to insights_analyst;
--! EndIncluded monitor/cost/_list_durations.sql

--! Included monitor/cost/cost.sql
create or replace function monitor.cost(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof monitor.cost_figures
language plpgsql
stable
-- A definer: it reads durations, and sizes of tables that no role may read; it takes no names.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
declare
  v_lists monitor.list_duration;
begin
  perform common.check_period(cost.since, cost.until);
  v_lists := (select lists from monitor._list_durations(array[cost.since], array[cost.until], null, false) as lists);

  return query
  with received as (
    select sum(latency.messages)::float8 as units, sum(latency.seconds) as seconds
    from monitor.latency
    where latency.hour_at >= cost.since
      and latency.hour_at < cost.until
      and latency.operation = 'trackIngest'
  ),

  refreshed as (
    select
      sum(run.row_count)::float8 as units, sum(extract(epoch from run.duration))::float8 as seconds
    from monitor.run
    where run.task = 'refresh'
      and run.outcome = 'ok'
      and run.started_at >= cost.since
      and run.started_at < cost.until
  ),

  served as (
    select count(*)::float8 as units
    from recommend.impression
    where impression.listed_at >= cost.since
      and impression.listed_at < cost.until
      and impression.is_served
  ),

  trained as (
    select
      count(*)::float8 as units, sum(extract(epoch from model.duration))::float8 as seconds,
      percentile_cont(0.5) within group (order by extract(epoch from model.duration)::float8) as p50,
      percentile_cont(0.95) within group (order by extract(epoch from model.duration)::float8) as p95
    from ml.model
    join ml.project using (project_id)
    where starts_with(project.name, 'recommend.')
      and model.trained_at >= cost.since
      and model.trained_at < cost.until
      and model.duration is not null
  ),

  kept as (
    select count(distinct model_part.model_id)::float8 as versions from recommend.model_part
  ),

  figure as (
    select 1 as place, 'event' as subject, received.units, received.seconds, null::float8 as p50, null::float8 as p95,
      stored.row_count as stored, stored.bytes
    from received
    cross join monitor._stored_bytes('{track.event}') as stored

    union all

    select 2, 'refresh', refreshed.units, refreshed.seconds, null, null, null, null
    from refreshed

    union all

    select 3, 'list', v_lists.call_count, v_lists.seconds, v_lists.p50_ms / 1000, v_lists.p95_ms / 1000, null, null

    union all

    select 4, 'recommendation', served.units, v_lists.seconds, null, null, stored.row_count, stored.bytes
    from served
    cross join monitor._stored_bytes('{recommend.impression}') as stored

    union all

    select 5, 'training', trained.units, trained.seconds, trained.p50, trained.p95, kept.versions, stored.bytes
    from trained
    cross join kept
    cross join monitor._stored_bytes(
      '{recommend.neighbours,recommend.learning,recommend.learned,recommend.learned_item}'
    ) as stored
  )

  select
    figure.subject, coalesce(figure.units, 0)::bigint, figure.seconds, 1000 * figure.seconds / nullif(figure.units, 0),
    1000 * figure.p50, 1000 * figure.p95, figure.stored::bigint, figure.bytes::bigint,
    figure.bytes / nullif(figure.stored, 0)
  from figure
  order by figure.place;
end;
$$;

comment on function monitor.cost(timestamptz, timestamptz) is $$
Returns what an event, its refresh, a list, a recommendation and a training cost, in milliseconds and bytes.
- `event`: a message given to `trackIngest`; bytes of `track.event`.
- `refresh`: a person whose derived data was brought up to date by the task `refresh`.
- `list`: a call of `recommend.serve_me` or a variant (`recommend.serving_times`); `recommendation`: a row that was
  recorded, with the time of these calls divided by the number of rows; bytes of `recommend.impression`.
- `training`: a version of a recommender; bytes of its weights and record, per version whose weights are kept.
Times are those of the period, sizes those of the present; numbers of stored rows are as of the last analyze.
Errors: CF001 for an invalid period.
$$;

grant execute on function monitor.cost(timestamptz, timestamptz) to insights_admin, insights_worker;
--! EndIncluded monitor/cost/cost.sql

--! Included monitor/cost/recommendation_report.sql
create or replace function monitor.recommendation_report(
  since timestamptz default (now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'week',
  kind text default 'course'
)
returns setof monitor.recommendation_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_figures monitor.relevance_figures[];
  v_starts timestamptz[];
  v_ends timestamptz[];
  v_lists monitor.list_duration[];
  v_bytes constant float8 := (
    select stored.bytes / nullif(stored.row_count, 0) from monitor._stored_bytes('{recommend.impression}') as stored
  );
begin
  if recommendation_report.by is null
    or recommendation_report.by not in ('all', 'week', 'model', 'segment', 'deployment') then
    perform common.refuse(
      'CF001', format('by is %s', coalesce('"' || left(recommendation_report.by, 100) || '"', 'null')),
      'Use all, week, model (version), segment or deployment.'
    );
  end if;
  -- An invoker: `relevance` decides what the caller sees.
  v_figures := array(
    select figures
    from monitor.relevance(
      recommendation_report.since, recommendation_report.until,
      case recommendation_report.by when 'week' then 'all' else recommendation_report.by end,
      recommendation_report.kind, recommendation_report.by = 'week'
    ) as figures
  );
  -- The period of each group, where groups follow each other.
  select
    array_agg(group_.starts_at order by group_.starts_at), array_agg(group_.ends_at order by group_.starts_at)
  into v_starts, v_ends
  from (
    select distinct
      coalesce(figure.starts_at, recommendation_report.since) as starts_at,
      case recommendation_report.by
        when 'week' then figure.starts_at + interval '7 days'
        when 'deployment' then lead(figure.starts_at, 1, recommendation_report.until) over (order by figure.starts_at)
        else recommendation_report.until
      end as ends_at
    from unnest(v_figures) as figure
    where recommendation_report.by <> 'segment'
      and (recommendation_report.by in ('all', 'model') or figure.starts_at is not null)
  ) as group_;

  if has_function_privilege('monitor._list_durations(timestamptz[], timestamptz[], text, boolean)', 'execute') then
    v_lists := array(
      select lists
      from monitor._list_durations(
        v_starts, v_ends, recommendation_report.kind, recommendation_report.by = 'model'
      ) as lists
    );
  else
    v_lists := array(
      select lists
      from monitor._list_durations_shown(
        v_starts, v_ends, recommendation_report.kind, recommendation_report.by = 'model'
      ) as lists
    );
  end if;

  return query
  with figure as (
    select
      figure.*,
      case when recommendation_report.by in ('all', 'model') then recommendation_report.since else figure.starts_at end
        as period_at
    from unnest(v_figures) as figure
  ),

  former as (
    select
      figure.*,
      lag(figure.click_rate) over following as former_rate,
      lag(figure.click_rate_lower) over following as former_lower,
      lag(figure.click_rate_upper) over following as former_upper
    from figure
    window following as (
      order by figure.starts_at, case when recommendation_report.by = 'model' then figure.name::int end
    )
  ),

  trained as (
    select
      case recommendation_report.by when 'model' then model.version::text else period.starts_at::text end as key,
      count(*) as trainings,
      sum(extract(epoch from model.duration))::float8 as seconds
    from ml.model
    join ml.project using (project_id)
    left join unnest(v_starts, v_ends) as period (starts_at, ends_at)
      on model.trained_at >= period.starts_at
      and model.trained_at < period.ends_at
    where project.name = 'recommend.' || recommendation_report.kind
    group by 1
  )

  select
    former.name, former.starts_at, former.person_count, former.list_count, former.served_count,
    lists.p50_ms, lists.p95_ms, 1000 * lists.seconds / nullif(former.served_count, 0), v_bytes,
    case when recommendation_report.by <> 'segment' then coalesce(trained.trainings, 0) end, trained.seconds,
    former.click_rate, former.click_rate_lower, former.click_rate_upper,
    former.corrected_rate, former.corrected_rate_lower, former.corrected_rate_upper,
    former.completion_rate, former.completion_rate_lower, former.completion_rate_upper,
    former.coverage, former.gini,
    compared.change,
    -- From the intervals of both.
    compared.change
      - sqrt((former.click_rate - former.click_rate_lower) ^ 2 + (former.former_upper - former.former_rate) ^ 2),
    compared.change
      + sqrt((former.click_rate_upper - former.click_rate) ^ 2 + (former.former_rate - former.former_lower) ^ 2)
  from former
  cross join lateral (
    select
      case
        when recommendation_report.by in ('week', 'model', 'deployment') then former.click_rate - former.former_rate
      end as change
  ) as compared
  left join unnest(v_lists) as lists
    on lists.starts_at = former.period_at
    and (recommendation_report.by <> 'model' or lists.name is not distinct from former.name)
  left join trained
    on trained.key = case recommendation_report.by when 'model' then former.name else former.period_at::text end
  order by
    former.starts_at, case when recommendation_report.by = 'model' then former.name::int end nulls last, former.name;
end;
$$;

comment on function monitor.recommendation_report(timestamptz, timestamptz, text, text) is $$
Returns the computational efficiency and the relevance of the recommendations of a kind, side by side.
Per `week`, `deployment`, `model` (version), `segment`, or in `all`: milliseconds and bytes of a recommendation, seconds
of training, clicks (as they are, and corrected by the examination of ranks), completions, coverage and concentration,
with the change against the group before: the trend by week, before and after by deployment. Intervals are 95 %; that of
the change is made of those of both groups (MOVER: Zou and Donner, Statistics in Medicine 2008), wider than needed
where the same people are in both. Durations are those of `recommend.serving_times`, of the same kind, by version too.
For analysts, figures are about groups of people, as in `monitor.relevance`, and durations are those of whole weeks
with 20 lists at least.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.recommendation_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/recommendation_report.sql

--! Included monitor/relevance/evidence_of_loss.sql
create or replace function monitor.evidence_of_loss(
  difference float8,
  standard_error float8,
  former_standard_error float8,
  alpha float8 default 0.05
)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log constant float8 := -2 * ln(alpha);
  v_information float8;
  v_mixture float8;
  v_z float8;
begin
  if standard_error <= 0 or former_standard_error <= 0 then
    return 0;
  end if;
  v_information := 1 / standard_error ^ 2;
  -- The mixture is narrowest at half of the information that there can be: the former version has no more lists.
  v_mixture := (v_log + ln(v_log + 1)) * v_information * former_standard_error ^ 2 * 2;
  v_z := -difference / standard_error;
  return 2 / sqrt(1 + v_mixture)
    * exp(least(v_z ^ 2 * v_mixture / (2 * (1 + v_mixture)), 600))
    * ml.normal_cdf(v_z * sqrt(v_mixture / (1 + v_mixture)));
end;
$$;

comment on function monitor.evidence_of_loss(float8, float8, float8, float8) is $$
Returns the evidence that a difference is below 0, valid at any number of readings: an e-value.
If the difference is 0 or more, the probability that it ever reaches 1 / alpha, at whatever times it is read, is at most
alpha. It is the supermartingale of half-normal mixtures (Robbins, Annals of Mathematical Statistics 1970; Howard and
others, Annals of Statistics 2021, proposition 6) of the score of a growing sample against a fixed one, in the time of
its information, 1 / variance (Jennison and Turnbull, Journal of the American Statistical Association 1997).
`former_standard_error`: that of the fixed sample. 0 where a standard error is 0.
$$;

grant execute on function monitor.evidence_of_loss(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/evidence_of_loss.sql

--! Included monitor/relevance/_compare_deployment.sql
create or replace function monitor._compare_deployment(
  kind text,
  former_since timestamptz,
  deployed_at timestamptz,
  until timestamptz,
  answer_period interval,
  out people bigint,
  out former_people bigint,
  out rate float8,
  out former_rate float8,
  out standard_error float8,
  out former_standard_error float8,
  out is_corrected boolean
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_cells monitor.ranked_cell[];
  v_rates monitor.corrected_rate[];
begin
  with listed as materialized (
    select
      case when impression.listed_at >= _compare_deployment.deployed_at then 'now' else 'former' end as name,
      impression.person_id, impression.rank,
      coalesce(impression.clicked_at < impression.listed_at + _compare_deployment.answer_period, false) as is_clicked
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where impression.listed_at >= _compare_deployment.former_since
      and impression.listed_at < _compare_deployment.until
      and impression.is_served
      and impression.rank between 1 and 20
      -- Experiments have results of their own.
      and impression.experiment_id is null
      and item.kind = _compare_deployment.kind
  )

  select
    (select count(distinct listed.person_id) from listed where listed.name = 'now'),
    (select count(distinct listed.person_id) from listed where listed.name = 'former'),
    array(
      select row(listed.name, null, listed.rank, (listed.person_id % 64)::int, count(*)::float8,
        count(*) filter (where listed.is_clicked)::float8)::monitor.ranked_cell
      from listed
      group by listed.name, listed.rank, listed.person_id % 64
    )
  into people, former_people, v_cells;

  is_corrected := true;
  v_rates := array(
    select compared
    from monitor._corrected_rates(
      _compare_deployment.former_since, _compare_deployment.until, _compare_deployment.kind, null, v_cells
    ) as compared
    order by compared.name
  );
  if cardinality(v_rates) < 2 then
    is_corrected := false;
    v_rates := array(
      select compared
      from monitor._corrected_rates(
        _compare_deployment.former_since, _compare_deployment.until, _compare_deployment.kind, null, v_cells, false
      ) as compared
      order by compared.name
    );
  end if;
  if cardinality(v_rates) < 2 then
    return;
  end if;

  former_rate := v_rates[1].rate;
  rate := v_rates[2].rate;
  former_standard_error := v_rates[1].standard_error;
  standard_error := (
    select sqrt(sum((pair.now - pair.former) ^ 2))
    from unnest(v_rates[2].influence, v_rates[1].influence) as pair (now, former)
  );
end;
$$;

comment on function monitor._compare_deployment(text, timestamptz, timestamptz, timestamptz, interval) is $$
@behavior -*
Compares the clicks per row before and since a deployment, corrected by the examination of ranks where it is known.
The standard error of the difference allows for people who are in both periods, and for the error of the examination.
$$;
--! EndIncluded monitor/relevance/_compare_deployment.sql

--! Included monitor/relevance/watch_relevance.sql
create or replace function monitor.watch_relevance()
returns setof monitor.deployment_relevance
language plpgsql
volatile
/*
 * A definer: it reads the impressions of all people, writes its readings, and deploys the version before. It takes no
 * argument.
 */
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_now constant timestamptz := now();
  v_watched record;
  v_setting monitor.relevance_setting;
  v_measured record;
  v_evidence float8;
  v_reading monitor.deployment_relevance;
  v_is_worse boolean;
begin
  -- Two watches at once would roll back twice.
  perform pg_advisory_xact_lock(hashtextextended('monitor.watch_relevance', 0));

  for v_watched in
    select
      latest.deployment_id, latest.deployed_at, project.name as project, project.project_id,
      substr(project.name, length('recommend.') + 1) as kind, model.version, former.model_id as former_model_id,
      former.version as former_version, greatest(former.deployed_at, latest.deployed_at - interval '28 days') as since,
      former.marked_at
    from ml.project
    cross join lateral (
      select deployment.*
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    cross join lateral (
      select deployment.model_id, deployment.deployed_at, model.version, model.marked_at
      from ml.deployment
      join ml.model using (model_id)
      where deployment.project_id = project.project_id
        and deployment.deployment_id < latest.deployment_id
      order by deployment.deployment_id desc
      limit 1
    ) as former
    join ml.model on model.model_id = latest.model_id
    where starts_with(project.name, 'recommend.')
      -- After a rollback there is nothing to go back to.
      and latest.strategy <> 'rollback'
      and latest.model_id <> former.model_id
      and exists (select from track.item where item.kind = substr(project.name, length('recommend.') + 1))
    order by project.name
  loop
    select setting.* into v_setting from monitor.relevance_setting as setting where setting.kind = v_watched.kind;
    if not found then
      v_setting := row(v_watched.kind, false, 0.05, 100, interval '1 day');
    end if;
    continue when v_now - v_setting.answer_period <= v_watched.deployed_at;

    v_measured := monitor._compare_deployment(
      v_watched.kind, v_watched.since, v_watched.deployed_at, v_now - v_setting.answer_period, v_setting.answer_period
    );
    v_evidence := case
      when least(v_measured.people, v_measured.former_people) >= v_setting.fewest_people then coalesce(
        monitor.evidence_of_loss(
          v_measured.rate - v_measured.former_rate, v_measured.standard_error, v_measured.former_standard_error,
          v_setting.alpha
        ), 0
      )
      else 0
    end;

    insert into monitor.deployment_relevance as stored (
      deployment_id, kind, version, former_version, deployed_at, measured_at, person_count, former_person_count,
      click_rate, former_click_rate, difference, standard_error, is_corrected, evidence, verdict
    )
    values (
      v_watched.deployment_id, v_watched.kind, v_watched.version, v_watched.former_version,
      v_watched.deployed_at, v_now,
      v_measured.people, v_measured.former_people, v_measured.rate, v_measured.former_rate,
      v_measured.rate - v_measured.former_rate, v_measured.standard_error, v_measured.is_corrected, v_evidence,
      'watching'
    )
    on conflict (deployment_id) do update
    set
      measured_at = excluded.measured_at,
      person_count = excluded.person_count,
      former_person_count = excluded.former_person_count,
      click_rate = excluded.click_rate,
      former_click_rate = excluded.former_click_rate,
      difference = excluded.difference,
      standard_error = excluded.standard_error,
      is_corrected = excluded.is_corrected,
      evidence = greatest(stored.evidence, excluded.evidence)
    returning * into v_reading;

    if v_reading.verdict <> 'rolled_back' and v_reading.evidence >= 1 / v_setting.alpha then
      v_reading.verdict := 'worse';
      v_reading.worse_at := coalesce(v_reading.worse_at, v_now);
      v_reading.note := case
        when not v_setting.rolls_back then 'Versions of this kind are not rolled back: see monitor.relevance_setting.'
        when v_watched.marked_at is not null then 'The version before is marked for training.'
        -- A version that was deployed immediately before a rollback was rolled back.
        when exists (
          select
          from (
            select
              deployment.strategy,
              lag(deployment.model_id) over (order by deployment.deployment_id) as model_id
            from ml.deployment
            where deployment.project_id = v_watched.project_id
          ) as followed
          where followed.strategy = 'rollback'
            and followed.model_id = v_watched.former_model_id
        ) then 'The version before was rolled back itself.'
      end;
      if v_reading.note is null then
        perform ml.rollback(v_watched.project);
        v_reading.verdict := 'rolled_back';
      end if;
      update monitor.deployment_relevance
      set verdict = v_reading.verdict, worse_at = v_reading.worse_at, note = v_reading.note
      where deployment_relevance.deployment_id = v_reading.deployment_id;
    end if;
    return next v_reading;
  end loop;
end;
$$;

comment on function monitor.watch_relevance() is $$
Compares each deployed recommender with the version before, and rolls it back when it is worse and the kind allows it.
Compared are the clicks per row of recorded lists since the deployment and in the 28 days before it, of people without
an experiment, corrected by `monitor.position_bias`. It can be read every day: see `monitor.evidence_of_loss`. A season
that lowers clicks for all versions looks like a worse version; an experiment distinguishes them. With
`monitor.relevance_setting.rolls_back`, a worse version is rolled back once (`ml.rollback`), never to a version that was
rolled back itself. Returns the readings; called by the task `watch_relevance`.
$$;

grant execute on function monitor.watch_relevance() to insights_admin, insights_worker;
--! EndIncluded monitor/relevance/watch_relevance.sql

--! Included monitor/relevance/set_relevance_watch.sql
create or replace function monitor.set_relevance_watch(
  kind text,
  rolls_back boolean default false,
  alpha float8 default 0.05,
  fewest_people int default 100,
  answer_period interval default '1 day'
)
returns monitor.relevance_setting
language plpgsql
volatile
-- A definer: no role may write the settings. Its arguments are checked, and contain no expression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_stored monitor.relevance_setting;
begin
  perform common.check_count('fewest_people', set_relevance_watch.fewest_people, 10, 1000000000);
  if set_relevance_watch.rolls_back is null then
    perform common.refuse('CF001', 'rolls_back is null', 'Use true or false.');
  end if;
  if coalesce(set_relevance_watch.alpha between 0.0001 and 0.2, false) is false then
    perform common.refuse('CF001', format('alpha is %s', coalesce(set_relevance_watch.alpha::text, 'null')),
      'Use a probability from 0.0001 to 0.2.');
  end if;
  if coalesce(set_relevance_watch.answer_period between '1 minute' and '30 days', false) is false then
    perform common.refuse(
      'CF001', format('answer_period is %s', coalesce(set_relevance_watch.answer_period::text, 'null')),
      'Use 1 minute to 30 days.'
    );
  end if;
  if not exists (select from track.item where item.kind = set_relevance_watch.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(set_relevance_watch.kind, 100), 'null')),
      'Use a kind of track.item, such as course.'
    );
  end if;

  insert into monitor.relevance_setting (kind, rolls_back, alpha, fewest_people, answer_period)
  values (
    set_relevance_watch.kind, set_relevance_watch.rolls_back, set_relevance_watch.alpha,
    set_relevance_watch.fewest_people, set_relevance_watch.answer_period
  )
  on conflict on constraint relevance_setting_pkey do update
  set
    rolls_back = excluded.rolls_back,
    alpha = excluded.alpha,
    fewest_people = excluded.fewest_people,
    answer_period = excluded.answer_period
  returning * into v_stored;
  return v_stored;
end;
$$;

comment on function monitor.set_relevance_watch(text, boolean, float8, int, interval) is $$
Sets how `monitor.watch_relevance` treats a kind of item: see `monitor.relevance_setting`.
Errors: CF001 for a value out of bounds, CF002 for a kind that no item has.
$$;

grant execute on function monitor.set_relevance_watch(text, boolean, float8, int, interval) to insights_admin;
--! EndIncluded monitor/relevance/set_relevance_watch.sql

--! Included monitor/erase.sql
create or replace function monitor._names_person(content text, names text[])
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One name at a time: a person can have thousands, too many for one regular expression.
  return exists (
    select
    from unnest(_names_person.names) as named (name)
    where strpos(_names_person.content, named.name) > 0
      and _names_person.content ~ privacy.names_pattern(array[named.name])
  );
end;
$$;

comment on function monitor._names_person(text, text[]) is $$
Returns whether one of the names occurs in a text as a word.
$$;

create or replace function monitor.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Also as they are written in JSON.
  v_names constant text[] := array(
    select named.name
    from unnest(subject.names) as named (name)
    union
    select substr(written.name, 2, length(written.name) - 2)
    from (select to_jsonb(named.name)::text as name from unnest(subject.names) as named (name)) as written
  );
  v_key_pattern constant text := format('\yperson (%s)\y', array_to_string(subject.identity_ids, '|'));
  v_rows bigint;
begin
  -- Messages of errors contain the key of a person, or a value that she sent.
  update monitor.run
  set error = case when error is not null then 'erased' end, detail = null
  where monitor._names_person(run.error, v_names)
    or run.error ~ v_key_pattern
    or monitor._names_person(run.detail::text, v_names);
  get diagnostics v_rows = row_count;
  return next row('monitor.run', v_rows, 'cleared')::privacy.erased;
  update monitor.probe_state
  set error = 'erased'
  where monitor._names_person(probe_state.error, v_names)
    or probe_state.error ~ v_key_pattern;
  get diagnostics v_rows = row_count;
  return next row('monitor.probe_state', v_rows, 'cleared')::privacy.erased;

  return next privacy.clear_values('monitor.alert', 'acknowledged_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_event', 'author', privacy.user_names(subject));
  return next privacy.clear_values('monitor.rule', 'set_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_silence', 'author', privacy.user_names(subject));

  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is not null then
    execute $statement$
      delete from insights_queue._private_jobs as job
      where exists (
        select
        from unnest($1) as named (name)
        where jsonb_path_exists(job.payload::jsonb, '$.** ? (@ == $name)', jsonb_build_object('name', named.name))
      )
    $statement$
    using privacy.user_names(subject);
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'deleted')::privacy.erased;
    execute $statement$
      update insights_queue._private_jobs as job
      set last_error = 'erased'
      where monitor._names_person(job.last_error, $1)
    $statement$
    using v_names;
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'cleared')::privacy.erased;
  end if;
end;
$$;

comment on function monitor.erase(privacy.subject) is $$
@behavior -*
Replaces the error messages of task runs and queued jobs that contain a name of the person.
Also her name where she acknowledged or silenced alerts. Deletes jobs about her.
Called by `privacy.erase_person`.
$$;
--! EndIncluded monitor/erase.sql

--! Included monitor/export.sql
create or replace function monitor.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := privacy.user_names(subject);
begin
  return next privacy.exported_rows(
    'monitor.alert',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', alert.source, 'subject', alert.subject, 'opened_at', alert.opened_at,
          'acknowledged_at', alert.acknowledged_at, 'acknowledged_by', alert.acknowledged_by
        )
        order by alert.alert_id
      )
      from monitor.alert
      where alert.acknowledged_by = any (v_names)
    ),
    'Alerts that the person acknowledged.'
  );
  return next privacy.exported_rows(
    'monitor.alert_event',
    (
      select jsonb_agg(
        jsonb_build_object(
          'happened_at', alert_event.happened_at, 'transition', alert_event.transition, 'owner', alert_event.owner,
          'author', alert_event.author, 'note', alert_event.note
        )
        order by alert_event.alert_event_id
      )
      from monitor.alert_event
      where alert_event.author = any (v_names)
    ),
    'Changes of alerts that the person made.'
  );
  return next privacy.exported_rows(
    'monitor.alert_silence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'source', alert_silence.source, 'subject', alert_silence.subject, 'since', alert_silence.since,
          'until', alert_silence.until, 'reason', alert_silence.reason, 'author', alert_silence.author
        )
        order by alert_silence.silence_id
      )
      from monitor.alert_silence
      where alert_silence.author = any (v_names)
    ),
    'Silences of alerts that the person set.'
  );
  return next privacy.exported_rows(
    'monitor.rule',
    (
      select jsonb_agg(
        jsonb_build_object('rule', rule.rule, 'metric', rule.metric, 'set_at', rule.set_at, 'set_by', rule.set_by)
        order by rule.rule
      )
      from monitor.rule
      where rule.set_by = any (v_names)
    ),
    'Rules about metrics that the person set.'
  );
end;
$$;

comment on function monitor.export(privacy.subject) is $$
@behavior -*
Returns the acts of a person as an administrator: alerts that she acknowledged, changed or silenced, rules that she set.
For `privacy.export_person`.
$$;
--! EndIncluded monitor/export.sql

-- from monitor/policies.sql
grant select on monitor.setting, monitor.metric, monitor.probe, monitor.probe_state, monitor.series, monitor.sample,
  monitor.worker to insights_admin, insights_worker;
grant update (every_sample, hourly_samples, daily_samples, most_series, longest_observation)
on monitor.setting to insights_admin;
drop policy if exists all_rows on monitor.setting;
create policy all_rows on monitor.setting for select using (true);
drop policy if exists admins_change on monitor.setting;
create policy admins_change on monitor.setting for update to insights_admin using (true);
drop policy if exists all_rows on monitor.metric;
create policy all_rows on monitor.metric for select using (true);
drop policy if exists all_rows on monitor.probe;
create policy all_rows on monitor.probe for select using (true);
drop policy if exists all_rows on monitor.probe_state;
create policy all_rows on monitor.probe_state for select using (true);
drop policy if exists all_rows on monitor.series;
create policy all_rows on monitor.series for select using (true);
drop policy if exists all_rows on monitor.sample;
create policy all_rows on monitor.sample for select using (true);
drop policy if exists all_rows on monitor.worker;
create policy all_rows on monitor.worker for select using (true);
grant select on monitor.health_check, monitor.scheduled_task, monitor.alert_setting, monitor.alert, monitor.alert_event,
  monitor.alert_silence to insights_admin, insights_worker;
grant update (resolve_after, reopen_within, database_limit_bytes) on monitor.alert_setting to insights_admin;
grant select on monitor.rule, monitor.rule_bound to insights_admin, insights_worker;
drop policy if exists all_rows on monitor.rule;
create policy all_rows on monitor.rule for select using (true);
drop policy if exists all_rows on monitor.rule_bound;
create policy all_rows on monitor.rule_bound for select using (true);
drop policy if exists all_rows on monitor.health_check;
create policy all_rows on monitor.health_check for select using (true);
drop policy if exists all_rows on monitor.scheduled_task;
create policy all_rows on monitor.scheduled_task for select using (true);
drop policy if exists all_rows on monitor.alert_setting;
create policy all_rows on monitor.alert_setting for select using (true);
drop policy if exists admins_change on monitor.alert_setting;
create policy admins_change on monitor.alert_setting for update to insights_admin using (true);
drop policy if exists all_rows on monitor.alert;
create policy all_rows on monitor.alert for select using (true);
drop policy if exists all_rows on monitor.alert_event;
create policy all_rows on monitor.alert_event for select using (true);
drop policy if exists all_rows on monitor.alert_silence;
create policy all_rows on monitor.alert_silence for select using (true);
grant select on monitor.latency to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on monitor.latency;
create policy all_rows on monitor.latency for select using (true);
grant select on monitor.channel, monitor.notification to insights_admin, insights_worker;
drop policy if exists all_rows on monitor.channel;
create policy all_rows on monitor.channel for select using (true);
drop policy if exists all_rows on monitor.notification;
create policy all_rows on monitor.notification for select using (true);
grant select on monitor.relevance_setting, monitor.deployment_relevance to insights_admin, insights_worker;
drop policy if exists all_rows on monitor.relevance_setting;
create policy all_rows on monitor.relevance_setting for select using (true);
drop policy if exists all_rows on monitor.deployment_relevance;
create policy all_rows on monitor.deployment_relevance for select using (true);

-- from monitor/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'monitor', 'run', 'detail', 'behaviour', 'service', 'cleared',
    'Results of a run. It can quote the error of the refresh of a person.', null
  ),
  ('monitor', 'run', 'error', 'behaviour', 'service', 'cleared', 'Error of a run, which can quote a value.', null),
  (
    'monitor', 'probe_state', 'error', 'behaviour', 'service', 'cleared',
    'Error of a probe, which can quote a value.', null
  ),
  (
    'monitor', 'alert', 'acknowledged_by', 'identity', 'service', 'cleared', 'Administrator who acknowledged an alert.',
    null
  ),
  (
    'monitor', 'alert_event', 'author', 'identity', 'service', 'cleared', 'Administrator who changed an alert.', null
  ),
  ('monitor', 'rule', 'set_by', 'identity', 'service', 'cleared', 'Administrator who set a rule.', null),
  (
    'monitor', 'alert_silence', 'author', 'identity', 'service', 'cleared', 'Administrator who silenced alerts.', null
  ),
  ('insights_queue', '_private_jobs', 'payload', 'behaviour', 'service', 'deleted', 'Arguments of a job.', null),
  (
    'insights_queue', '_private_jobs', 'last_error', 'behaviour', 'service', 'cleared',
    'Error of the last attempt of a job, which can quote a value.', null
  ),
  (
    'insights_queue', '_private_jobs', 'key', 'behaviour', 'service', 'deleted',
    'Key by which an equal job replaces the job.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    ('monitor', 'run', '{task}', 'Names of functions, tables or tasks of the installation.'),
    (
      'monitor', 'latency', '{operation,counts}',
      'Names of fields of the schema and routes of the server, with numbers.'
    ),
    ('monitor', 'latency_writer', '{writer}', 'Random keys of processes of the API.'),
    ('monitor', 'relevance_setting', '{kind}', 'Kinds of items.'),
    ('monitor', 'deployment_relevance', '{kind,note}', 'Kinds of items, and figures of versions of models.'),
    ('monitor', 'health_check', '{health_check,function_name,owner,description}', 'Checks of the installation.'),
    ('monitor', 'scheduled_task', '{task,severity}', 'Tasks of the installation.'),
    (
      'monitor', 'alert', '{source,subject,owner,severity,state,message,fix}',
      'Problems of tasks, tables and models of the installation.'
    ),
    (
      'monitor', 'alert_event', '{transition,severity,owner,note}',
      'Transitions of alerts, with notes of administrators.'
    ),
    ('monitor', 'rule', '{rule,metric,labels,direction,severity,owner}', 'Rules about metrics of the installation.'),
    ('monitor', 'rule_bound', '{rule,basis}', 'Bounds of metrics of the installation.'),
    ('monitor', 'alert_silence', '{source,subject,reason}', 'Silences of checks, with their reasons.'),
    ('monitor', 'metric', '{metric,unit,labels,description}', 'Metrics of the installation.'),
    ('monitor', 'probe', '{probe,function_name,description}', 'Functions of the installation.'),
    ('monitor', 'probe_state', '{probe}', 'Functions of the installation.'),
    ('monitor', 'series', '{metric,labels,probe}', 'Names of tasks, tables, models and metrics of the installation.'),
    ('monitor', 'sample', '{measured}', 'Numbers of the installation, of no person.'),
    ('monitor', 'worker', '{worker,version}', 'Hosts and processes of workers.'),
    (
      'monitor', 'channel', '{channel,kind,address,owners,least_severity,last_error}', 'Receivers of notifications.'
    ),
    ('monitor', 'channel_url', '{channel,url}', 'URLs of receivers of notifications.'),
    ('monitor', 'channel_secret', '{channel,secret}', 'Keys with which notifications are signed.'),
    (
      'monitor', 'notification', '{channel,message_id,body,state,last_error}',
      'Notifications about tasks, tables and models of the installation.'
    ),
    ('insights_queue', '_private_jobs', '{locked_by,flags}', 'Workers, and flags of the queue.'),
    ('insights_queue', '_private_job_queues', '{queue_name,locked_by}', 'Names of queues and workers.'),
    (
      'insights_queue', '_private_known_crontabs', '{identifier}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'insights_queue', '_private_tasks', '{identifier}',
      'Names of functions, tables or tasks of the installation.'
    ),
    ('graphile_migrate', 'current', '{filename,content}', 'Releases of the installation.'),
    ('graphile_migrate', 'migrations', '{hash,previous_hash,filename}', 'Releases of the installation.')
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.handler (room, position, export_function, description)
values ('monitor', 50, 'monitor.export', 'Messages of errors that contain a name of the person.')
on conflict (room) do update set export_function = excluded.export_function;
