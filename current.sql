-- Changes of structure since the last release: see migrations/README.md.

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

insert into monitor.metric (metric, kind, unit, labels, description)
values
  ('insights_observation_age_seconds', 'gauge', 'seconds', '{}', 'Time since the last observation.'),
  ('insights_probe_failures', 'gauge', 'count', '{probe}', 'Runs of a probe that failed since the last success.'),
  ('insights_probe_seconds', 'gauge', 'seconds', '{probe}', 'Duration of the last run of a probe.'),
  ('insights_queue_waiting_jobs', 'gauge', 'jobs', '{task}', 'Jobs that should have started.'),
  ('insights_queue_oldest_wait_seconds', 'gauge', 'seconds', '{task}', 'Longest wait of a job of the task.'),
  ('insights_queue_running_jobs', 'gauge', 'jobs', '{task}', 'Jobs that a worker is running.'),
  ('insights_queue_failed_jobs', 'gauge', 'jobs', '{task}', 'Jobs that have failed permanently.'),
  ('insights_database_bytes', 'gauge', 'bytes', '{}', 'Size of the database.');

insert into monitor.probe (probe, position, function_name, description)
values
  ('queue', 100, 'monitor._probe_queue', 'Jobs of the queue: waiting, running and failed.'),
  ('database', 200, 'monitor._probe_database', 'Size of the database.'),
  ('probes', 900, 'monitor._probe_probes', 'Duration and failures of the probes.');
