-- Changes of structure since the last release: see migrations/README.md.

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
Version of the model (null: none), basis, rank, `explored` and `ranked` for slots, experiment and variation, or function.
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
comment on column recommend.serving_duration.p95_ms is $$Duration that 95 % of the calls do not exceed, in milliseconds.$$;
comment on column recommend.serving_duration.p99_ms is $$Duration that 99 % of the calls do not exceed, in milliseconds.$$;
comment on column recommend.serving_duration.ms_per_item is $$
Duration of all calls divided by the number of items, in milliseconds; null without items.
$$;
