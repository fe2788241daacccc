-- Changes of structure since the last release: see migrations/README.md.

-- The learning functions and the sessions have a breakdown.
drop function if exists
  analytics._course_grades(bigint, bigint[], int),
  analytics.course_grades(text, text),
  analytics._course_terms(bigint, bigint[], int),
  analytics.course_terms(text, text),
  analytics._course_progress(bigint, bigint[], text, text, int),
  analytics.course_progress(text, text, text, text),
  analytics._item_analysis(bigint[], bigint[], text, text, int),
  analytics.item_analysis(text, text, text, text, text),
  analytics._stopping_points(bigint, bigint[], text, int, int),
  analytics.stopping_points(text, text, int, text),
  analytics._chronotypes(bigint, bigint[], timestamptz, timestamptz, text, text, int),
  analytics.chronotypes(text, timestamptz, timestamptz, text, text),
  analytics._productivity_cycle(bigint, bigint[], timestamptz, timestamptz, text, text, int),
  analytics.productivity_cycle(text, timestamptz, timestamptz, text, text),
  analytics._intervention_outcomes(bigint, bigint[], int, int),
  analytics.intervention_outcomes(text, int, text),
  analytics._engagement_levels(text, text, text, int),
  analytics._engagement_levels_exact(text, text, text),
  analytics._engagement_levels_shown(text, text, text),
  analytics.engagement_levels(text, text, text),
  analytics._task_deadlines(text, text, int),
  analytics._task_deadlines_exact(text, text),
  analytics._task_deadlines_shown(text, text),
  analytics.task_deadlines(text, text),
  analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, int),
  analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text),
  analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text),
  analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text),
  analytics._session_distribution(text, timestamptz, timestamptz, text, int),
  analytics._session_distribution_exact(text, timestamptz, timestamptz, text),
  analytics._session_distribution_shown(text, timestamptz, timestamptz, text),
  analytics.session_distribution(text, timestamptz, timestamptz, text),
  analytics._session_items(text, timestamptz, timestamptz, text, int, int),
  analytics._session_items_exact(text, timestamptz, timestamptz, text, int),
  analytics._session_items_shown(text, timestamptz, timestamptz, text, int),
  analytics.session_items(text, timestamptz, timestamptz, text, int),
  analytics._enrolled_learners(text, text, int),
  analytics._visible_learners(text, text);

do $do$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = to_regclass('analytics.session_bin')
      and attname = 'breakdown_value'
  ) then
    alter type analytics.stopping_point add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.cycle_hour add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.chronotype add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.analysed_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.progress_level add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.course_term add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.grade_bucket add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.intervention_outcome add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.session_bin add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.session_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.week_hour add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.engagement_level add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.task_deadline add attribute breakdown_value text, add attribute is_other boolean;
  end if;
end;
$do$;
comment on column analytics.stopping_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.stopping_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.cycle_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.cycle_hour.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.chronotype.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.chronotype.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.analysed_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.analysed_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.progress_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.progress_level.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.course_term.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.course_term.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.grade_bucket.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.grade_bucket.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.intervention_outcome.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.intervention_outcome.is_other is $$
Whether the row is about all values that are not named.
$$;
comment on column analytics.session_bin.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_bin.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.session_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.week_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.week_hour.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.engagement_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.engagement_level.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.task_deadline.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.task_deadline.is_other is $$Whether the row is about all values that are not named.$$;
create table if not exists track.dropped_reference (
  table_name text not null,
  constraint_name text not null,
  definition text not null,
  dropped_at timestamptz not null default now(),
  primary key (table_name, constraint_name)
);

comment on table track.dropped_reference is $$
@behavior -*
Foreign keys that were dropped when their table was distributed.
They lead from a table of `track.distribution` to one that is not; `insights distribute --undo` adds them again.
$$;
comment on column track.dropped_reference.table_name is $$Table that had it, as `schema.table`.$$;
comment on column track.dropped_reference.constraint_name is $$Name of the foreign key.$$;
comment on column track.dropped_reference.definition is $$Its definition, as `pg_get_constraintdef` returns it.$$;
comment on column track.dropped_reference.dropped_at is $$Time at which it was dropped.$$;

drop type if exists track.distribution_step cascade;
create type track.distribution_step as (
  action text,
  relation text,
  detail text,
  statement text
);

comment on type track.distribution_step is $$
A step of the distribution of a table over the nodes of a cluster, or back.
$$;
comment on column track.distribution_step.action is $$
`drop foreign key`, `distribute` or `truncate the local rows`; back, `undistribute` or `restore foreign key`.
$$;
comment on column track.distribution_step.relation is $$Table, as `schema.table`.$$;
comment on column track.distribution_step.detail is $$
Name of the foreign key, or the distribution column; null for a step without one.
$$;
comment on column track.distribution_step.statement is $$Statements of the step, for one transaction.$$;

alter table track.dropped_reference enable row level security;

-- Attributes of merged items that messages have told are recorded under the items' own names.
drop function if exists track._store_item_sources(track.parsed_message[], bigint[], track.item[]);

-- Importances of features.
do $$
begin
  if to_regtype('ml.importance') is null then
    create type ml.importance as (feature text, importance float8, share float8);
  end if;
end;
$$;

comment on type ml.importance is $$
How much a feature matters to a model: see `ml.importances`.
$$;
comment on column ml.importance.feature is $$Feature.$$;
comment on column ml.importance.importance is $$
Total gain of the splits of trees, or standard deviation of what the feature adds to the score of a linear model.
$$;
comment on column ml.importance.share is $$Part of the sum of all importances.$$;

-- The activity of the last minutes.
do $$
begin
  if to_regtype('analytics.minute_activity') is null then
    create type analytics.minute_activity as (minute timestamptz, event_count bigint, person_count bigint);
  end if;
end;
$$;

comment on type analytics.minute_activity is $$
A minute with its activity.
For analysts, figures are rounded, and a minute of too few people is 0.
$$;
comment on column analytics.minute_activity.minute is $$Start of the minute.$$;
comment on column analytics.minute_activity.event_count is $$Number of events.$$;
comment on column analytics.minute_activity.person_count is $$Number of distinct people.$$;

-- Units of values of the monitoring.
comment on column monitor.series.value is $$Latest value, in the unit of the metric.$$;
comment on column monitor.measurement.value is $$Value, in the unit of the metric; a null is not stored.$$;
comment on column monitor.metric_value.value is $$Value, in the unit `unit`.$$;
comment on column monitor.metric_bucket.value is $$
Mean of the samples of a gauge, or rise of a counter, in the unit of the metric.
Null in the first bucket of a counter of which no earlier sample is known.
$$;
comment on column monitor.table_state.bytes is $$Size with indexes and out-of-line values, in bytes.$$;
comment on column monitor.table_state.index_bytes is $$Size of the indexes, in bytes.$$;
comment on column monitor.table_state.dead_share is $$Share of dead rows among all rows, from 0 to 1.$$;
comment on column monitor.slow_statement.total_seconds is $$Time of all calls, in seconds.$$;
comment on column monitor.slow_statement.mean_milliseconds is $$Mean time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.greatest_milliseconds is $$Longest time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.share is $$
Share in the time of all statements of the database, from 0 to 1.
$$;
comment on column monitor.alert_setting.database_limit_bytes is $$
Size that the database can grow to, in bytes, for the forecast of the check `growth`; null when unknown.
$$;
comment on column monitor.position_cell.alike is $$Hash of item, version and basis of the rows.$$;
comment on column monitor.rule.threshold is $$
Bound in the unit of the metric, for a counter per second; null when it is learned.
$$;
comment on column monitor.finding.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.finding.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;
comment on column monitor.alert.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.alert.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;

-- The people by value of a breakdown are chosen from given people.
drop function if exists analytics._people_by_value(text, int, int);
drop function if exists analytics._active_hours(bigint, bigint[], timestamptz, timestamptz, text, text, int);
drop function if exists analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, text, int, text, boolean
);
drop function if exists analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, text, int, text, boolean
);
