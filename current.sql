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
