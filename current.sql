-- Changes of structure since the last release: see migrations/README.md.

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
create index rollup_check_differing on track.rollup_check (checked_at) where differing > 0;

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
Subject of the problem: a task, a table, a model; empty when it is about the whole. A check finds at most one problem of
a subject.
$$;
comment on column monitor.finding.severity is $$
`critical`: data is or will be wrong or lost, or the installation stands still; `warning`: needs attention within days.
$$;
comment on column monitor.finding.message is $$Description of the problem, without data of people.$$;
comment on column monitor.finding.fix is $$Action that removes the problem.$$;
comment on column monitor.finding.value is $$Measured value; null when there is none.$$;
comment on column monitor.finding.threshold is $$Value from which it is a problem; null when there is none.$$;

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
comment on column monitor.health.fix is $$Fix of the most urgent problem; null when there is none.$$;
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
Time for which the cause of an alert must be absent before it is resolved. It doubles with each reopening of the alert,
up to a day.
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
comment on column monitor.alert.value is $$Measured value; null when there is none.$$;
comment on column monitor.alert.threshold is $$Value from which it is a problem; null when there is none.$$;
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
  ('observe', '1 minute', false, 'critical'),
  ('pack_messages', '1 hour', true, 'warning'),
  ('refresh', '1 minute', false, 'critical'),
  ('refresh_cohorts', '1 hour', true, 'warning'),
  ('refresh_decisions', '1 hour', true, 'critical'),
  ('refresh_views', '1 hour', true, 'warning'),
  ('seal', '5 minutes', false, 'critical'),
  ('thin_samples', '1 day', true, 'warning'),
  ('train', '10 minutes', false, 'warning'),
  ('train_predictions', '10 minutes', false, 'warning'),
  ('update_bandits', '1 hour', false, 'warning'),
  ('vacuum', '1 hour', false, 'warning'),
  ('verify_ledger', '1 day', true, 'critical'),
  ('watch_models', '1 day', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values
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
  ('clock', 1500, 'monitor._check_clock', 'operator', 'Records of the future: the clock moved back.');
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
Processes of `insights worker`, with the time of their last sign of life.
A worker calls `monitor.beat` every 30 seconds, also while it runs a long job.
$$;
comment on column monitor.worker.worker is $$Host and process of the worker, with a random suffix.$$;
comment on column monitor.worker.started_at is $$Start of the worker.$$;
comment on column monitor.worker.seen_at is $$Time of its last sign of life.$$;
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
  ('insights_workers', 'gauge', 'workers', '{}', 'Workers with a sign of life within two minutes.'),
  ('insights_worker_silence_seconds', 'gauge', 'seconds', '{}', 'Time since the last sign of life of a worker.'),
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
  ('workers', 110, 'monitor._probe_workers', '5 minutes', 'Workers and their signs of life.'),
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
