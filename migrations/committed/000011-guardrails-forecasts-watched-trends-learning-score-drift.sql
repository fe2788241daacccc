--! Previous: sha1:aa778fb7845dd204bf2e5fd2ea842867021442fd
--! Hash: sha1:99977eadaf0c8dc348051aa69bf7a75a678c17f2
--! Message: guardrails, forecasts, watched trends, learning, score drift

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

drop function monitor._position_influence(bigint[], int[], int[], float8[], float8[], int[], float8[], float8[]);
drop function monitor._position_step(bigint[], int[], float8[], float8[], int[], float8[]);
drop function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]);
drop function monitor._listed(timestamptz, timestamptz, text, text, boolean, int);
drop type monitor.listed;

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

comment on column recommend.serving_time.counts is $$
Numbers of calls by their duration.
A number counts those of at most the bound of `common.duration_bounds()` at its position, and more than the bound
before. The last one counts those above all bounds.
$$;

alter type monitor.list_duration add attribute item_count float8;
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
Unknown: the rows are so few that the index would be 0.1 by chance alone, with a probability of more than 5 %.
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

comment on column monitor.rule_bound.basis is $$
Values that it is learned from.
`hour of the week`: those of the same hour of earlier weeks, when there are four weeks of them, and 20; `all hours`:
all; `learning`: there are less than 100 values, of a daily metric less than 14, or less than a day.
$$;

alter type monitor.relevance_figures
add attribute viewed_count bigint,
add attribute dwell_seconds float8,
add attribute dwell_seconds_lower float8,
add attribute dwell_seconds_upper float8,
add attribute novelty float8;
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

alter table track.consumer add column if not exists reads_set text check (reads_set ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.reads_set is $$
Name of a function of `set_name text` that returns whether the derived data depends on this set; null: on all sets.
A consumer with the input `set` is queued when people join or leave a set that it reads.
$$;
update track.consumer
set reads_set = split_part(consumer.consumer, '.', 1) || '.reads_set'
where consumer.consumer in ('analytics.cohort', 'experiment.exposure');

drop function if exists track._recompute_person_set(track.person_set, bigint[]);

/* ---------------------------------------------------------------------------------------------------- forecasts -- */

create type ml.forecast_point as (
  step_ahead int,
  forecast_value float8,
  lower float8,
  upper float8,
  naive_value float8,
  naive_lower float8,
  naive_upper float8,
  method text,
  mase float8,
  holdout_mae float8,
  holdout_naive_mae float8
);

comment on type ml.forecast_point is $$
Expected value of a series at one of the next steps.
$$;
comment on column ml.forecast_point.step_ahead is $$Number of steps after the last value, from 1.$$;
comment on column ml.forecast_point.forecast_value is $$
Expected value; for a multiplicative season the median.
$$;
comment on column ml.forecast_point.lower is $$Lower bound of the prediction interval.$$;
comment on column ml.forecast_point.upper is $$Upper bound of the prediction interval.$$;
comment on column ml.forecast_point.naive_value is $$Value one cycle ago: the seasonal-naive forecast.$$;
comment on column ml.forecast_point.naive_lower is $$Lower bound of its prediction interval.$$;
comment on column ml.forecast_point.naive_upper is $$Upper bound of its prediction interval.$$;
comment on column ml.forecast_point.method is $$Shape of the model, such as `ETS(A,Ad,A)`.$$;
comment on column ml.forecast_point.mase is $$
Mean absolute one-step error over that of the naive forecast; below 1 the model is better. Null if the latter is 0.
$$;
comment on column ml.forecast_point.holdout_mae is $$
Mean absolute error on the last values, of a model trained on those before; null with too few values.
$$;
comment on column ml.forecast_point.holdout_naive_mae is $$
Mean absolute error of the naive forecast on the same values.
$$;

create type analytics.trend_figure as (
  breakdown_value text,
  is_other boolean,
  bucket_start timestamptz,
  bucket_end timestamptz,
  figure float8
);

comment on type analytics.trend_figure is $$
@behavior -*
Figure of a complete time bucket of a trend.
$$;
comment on column analytics.trend_figure.breakdown_value is $$Value of the breakdown, as in `analytics.trend_point`.$$;
comment on column analytics.trend_figure.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.trend_figure.bucket_start is $$Start of the bucket.$$;
comment on column analytics.trend_figure.bucket_end is $$End of the bucket.$$;
comment on column analytics.trend_figure.figure is $$Number of events or people, or engaged time in seconds.$$;

create type analytics.figure_list as (
  breakdown_value text,
  is_other boolean,
  ends_at timestamptz,
  figures float8[]
);

comment on type analytics.figure_list is $$
@behavior -*
Figures of successive buckets of a trend, up to a time.
$$;
comment on column analytics.figure_list.breakdown_value is $$Value of the breakdown.$$;
comment on column analytics.figure_list.is_other is $$Whether the figures are about all values that are not named.$$;
comment on column analytics.figure_list.ends_at is $$End of the last bucket.$$;
comment on column analytics.figure_list.figures is $$Figures in the order of time.$$;

create type analytics.forecast_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  step_ahead int,
  forecast_value float8,
  lower_bound float8,
  upper_bound float8,
  naive_value float8,
  naive_lower_bound float8,
  naive_upper_bound float8,
  method text,
  mase float8,
  holdout_mae float8,
  holdout_naive_mae float8,
  bucket_count int,
  zone text
);

comment on type analytics.forecast_point is $$
A time bucket to come with the figure that is expected of a trend.
$$;
comment on column analytics.forecast_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.forecast_point.breakdown_value is $$
Value of the breakdown, as in `analytics.trend_point`.
$$;
comment on column analytics.forecast_point.is_other is $$
Whether the row is about all values that are not named.
$$;
comment on column analytics.forecast_point.step_ahead is $$Number of buckets after the last complete one, from 1.$$;
comment on column analytics.forecast_point.forecast_value is $$
Expected number of events or people, or engaged time in seconds.
$$;
comment on column analytics.forecast_point.lower_bound is $$Lower bound of the prediction interval.$$;
comment on column analytics.forecast_point.upper_bound is $$Upper bound of the prediction interval.$$;
comment on column analytics.forecast_point.naive_value is $$Figure one season ago: the naive forecast.$$;
comment on column analytics.forecast_point.naive_lower_bound is $$Lower bound of its prediction interval.$$;
comment on column analytics.forecast_point.naive_upper_bound is $$Upper bound of its prediction interval.$$;
comment on column analytics.forecast_point.method is $$Shape of the model, such as `ETS(A,Ad,A)`.$$;
comment on column analytics.forecast_point.mase is $$
Mean absolute one-step error over that of the naive forecast; below 1 the model is better. Null if the latter is 0.
$$;
comment on column analytics.forecast_point.holdout_mae is $$
Mean absolute error on the last buckets, of a model trained on those before; null with too few buckets.
$$;
comment on column analytics.forecast_point.holdout_naive_mae is $$
Mean absolute error of the naive forecast on the same buckets.
$$;
comment on column analytics.forecast_point.bucket_count is $$Number of buckets that the model was trained on.$$;
comment on column analytics.forecast_point.zone is $$Time zone of the buckets.$$;

/* ---------------------------------------------------------------------------------------------- watched trends -- */

create table analytics.trend_watch (
  name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
  event_name text,
  bucket text not null check (bucket in ('hour', 'day', 'week')),
  zone text not null,
  measure text not null check (measure in ('events', 'people', 'engaged')),
  item text,
  among text,
  direction text not null check (direction in ('both', 'above', 'below')),
  season int,
  history int not null,
  threshold float8 not null,
  created_at timestamptz not null default now(),
  checked_at timestamptz
);

comment on table analytics.trend_watch is $$
Trends that are compared with what their past predicts: `analytics.watch_trend`.
$$;
comment on column analytics.trend_watch.name is $$Name of the watch.$$;
comment on column analytics.trend_watch.event_name is $$Event, as in `analytics.trend`; null for all activity.$$;
comment on column analytics.trend_watch.bucket is $$`hour`, `day` or `week`.$$;
comment on column analytics.trend_watch.zone is $$Time zone of the buckets.$$;
comment on column analytics.trend_watch.measure is $$`events`, `people` or `engaged` time.$$;
comment on column analytics.trend_watch.item is $$Item, as in `analytics.trend`; null for all.$$;
comment on column analytics.trend_watch.among is $$Set of people, as in `analytics.trend`; null for all.$$;
comment on column analytics.trend_watch.direction is $$Anomalies that are found: `both`, `above` or `below`.$$;
comment on column analytics.trend_watch.season is $$Number of buckets of a season; null: a week of hours or days.$$;
comment on column analytics.trend_watch.history is $$Number of buckets that a bucket is compared with.$$;
comment on column analytics.trend_watch.threshold is $$Deviations from which on a bucket is an anomaly.$$;
comment on column analytics.trend_watch.created_at is $$When it was defined.$$;
comment on column analytics.trend_watch.checked_at is $$When it was last compared; null before the first time.$$;

create table analytics.trend_anomaly (
  name text not null references analytics.trend_watch on delete cascade,
  bucket_start timestamptz not null,
  figure float8 not null,
  expected float8 not null,
  lower_bound float8 not null,
  upper_bound float8 not null,
  score float8,
  found_at timestamptz not null default now(),
  primary key (name, bucket_start)
);

comment on table analytics.trend_anomaly is $$
Buckets of watched trends that differ from what their past predicts, of the last 400 days: `analytics.find_anomalies`.
$$;
comment on column analytics.trend_anomaly.name is $$Name of the watch.$$;
comment on column analytics.trend_anomaly.bucket_start is $$Start of the bucket.$$;
comment on column analytics.trend_anomaly.figure is $$Number of events or people, or engaged time in seconds.$$;
comment on column analytics.trend_anomaly.expected is $$Expected figure.$$;
comment on column analytics.trend_anomaly.lower_bound is $$Smallest figure that is not an anomaly.$$;
comment on column analytics.trend_anomaly.upper_bound is $$Largest figure that is not an anomaly.$$;
comment on column analytics.trend_anomaly.score is $$
Distance from the expected figure, in deviations, negative below it; null when the deviation is 0.
$$;
comment on column analytics.trend_anomaly.found_at is $$When it was found last.$$;

alter table analytics.trend_watch enable row level security;
alter table analytics.trend_anomaly enable row level security;

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values ('find_anomalies', '1 hour', false, 'warning');

insert into monitor.health_check (health_check, position, function_name, owner, description)
values (
  'anomalies', 720, 'monitor._check_anomalies', 'analyst',
  'Watched trends whose latest bucket differs from what their past predicts.'
);

drop function experiment._exposures_of(bigint[]);
drop function experiment._outcomes(experiment.exposure[], experiment.slot[]);
drop function experiment._filter_relations(experiment.slot[]);

alter table track.changed drop constraint changed_consumer_fkey;

/* -------------------------------------------------------------------------------------------------- experiments -- */

alter type experiment.comparison add attribute margin float8;
comment on column experiment.comparison.margin is $$
Difference, as a share of the control, with which the difference is compared; null: 0.
$$;
drop function experiment._effect(experiment.statistic[], boolean);
drop function experiment._post_stratified(
  experiment.effect, experiment.statistic[], experiment.statistic[], boolean
);
drop function experiment._weighted_effect(experiment.effect, float8[], float8[], boolean);

create type experiment.drawn as (
  users float8[],
  expected float8[],
  covariances float8[]
);

comment on type experiment.drawn is $$
@behavior -*
Numbers of people of the variations of an experiment, and what its weights make expect of them.
Added up over the periods between two changes of the weights.
$$;
comment on column experiment.drawn.users is $$People of each variation whose weight was above 0.$$;
comment on column experiment.drawn.expected is $$Expected number of each.$$;
comment on column experiment.drawn.covariances is $$
Covariances of the numbers, row by row: the sum of n (diag(w) - w w') over the periods.
$$;

alter table experiment.kept add column drawn experiment.drawn;
comment on column experiment.kept.drawn is $$
@behavior -*
Numbers by which `experiment.health` tests the assignment; null with fewer than 5 people in a variation.
$$;

/* ---------------------------------------------------------------------------------------------------- learning -- */

create type analytics.stopping_point as (
  item text,
  kind text,
  title text,
  reached_count bigint,
  stopped_count bigint,
  share float8,
  share_of_stopped float8
);

comment on type analytics.stopping_point is $$
An item of a course, and the learners who reached it and who stopped at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.stopping_point.item is $$
External id of the item; null for learners who stopped before the first item.
$$;
comment on column analytics.stopping_point.kind is $$Kind of the item; null before the first item.$$;
comment on column analytics.stopping_point.title is $$Title of the item; null when unknown.$$;
comment on column analytics.stopping_point.reached_count is $$
Number of learners who used the item; before the first item, of all learners.
$$;
comment on column analytics.stopping_point.stopped_count is $$Number of learners who stopped at the item.$$;
comment on column analytics.stopping_point.share is $$
Share of the learners who reached the item that stopped at it; null when it was not reached.
$$;
comment on column analytics.stopping_point.share_of_stopped is $$
Share of the learners who stopped in the course that did so at the item; null when no learner stopped.
$$;

grant usage on schema analytics to insights_learner;

create type analytics.own_chronotype as (
  zone text,
  active_days bigint,
  active_hours bigint,
  hour_shares float8[],
  mid_activity float8,
  concentration float8,
  p_value float8,
  chronotype text
);

comment on type analytics.own_chronotype is $$
The hours of the day at which a person is active, and her chronotype.
$$;
comment on column analytics.own_chronotype.zone is $$Time zone of the hours.$$;
comment on column analytics.own_chronotype.active_days is $$Number of days with activity.$$;
comment on column analytics.own_chronotype.active_hours is $$Number of hours with activity.$$;
comment on column analytics.own_chronotype.hour_shares is $$
Share of the active hours in each hour of the day: 24 numbers from 0:00 on; null without activity.
$$;
comment on column analytics.own_chronotype.mid_activity is $$
Circular mean of the active hours, in hours from 0 to 24; null when they have none.
$$;
comment on column analytics.own_chronotype.concentration is $$
Mean resultant length, from 0 (no direction) to 1 (always the same hour); null without activity.
$$;
comment on column analytics.own_chronotype.p_value is $$
P-value of Rayleigh's test that the hours are uniform; null without activity.
$$;
comment on column analytics.own_chronotype.chronotype is $$
Chronotype of the person; null without activity.
`definitely_morning`, `moderately_morning`, `intermediate`, `moderately_evening`, `definitely_evening` or
`undetermined`.
$$;

create type analytics.cycle_hour as (hour int, hour_count bigint, person_count bigint, share float8);

comment on type analytics.cycle_hour is $$
An hour of the day with its activity.
For analysts, figures are rounded, and an hour of too few people is 0.
$$;
comment on column analytics.cycle_hour.hour is $$Hour of the day, from 0 to 23.$$;
comment on column analytics.cycle_hour.hour_count is $$
Number of active hours: days of people on which they were active in this hour.
$$;
comment on column analytics.cycle_hour.person_count is $$Number of distinct people.$$;
comment on column analytics.cycle_hour.share is $$
Share of the active hours of all hours of the day; null without any.
$$;

create type analytics.chronotype as (chronotype text, person_count bigint, share float8);

comment on type analytics.chronotype is $$
A chronotype with the number of people.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.chronotype.chronotype is $$Chronotype, as in `analytics.my_chronotype`.$$;
comment on column analytics.chronotype.person_count is $$Number of people.$$;
comment on column analytics.chronotype.share is $$Share of the people of all chronotypes; null without any.$$;

create type analytics.analysed_item as (
  item text,
  kind text,
  title text,
  person_count bigint,
  attempt_count bigint,
  difficulty float8,
  discrimination float8,
  discrimination_index float8
);

comment on type analytics.analysed_item is $$
A question or task with its difficulty and discrimination.
For analysts, figures are rounded, and those of too few people are null.
$$;
comment on column analytics.analysed_item.item is $$External id of the item.$$;
comment on column analytics.analysed_item.kind is $$Kind of the item.$$;
comment on column analytics.analysed_item.title is $$Title of the item; null when unknown.$$;
comment on column analytics.analysed_item.person_count is $$Number of learners with a score.$$;
comment on column analytics.analysed_item.attempt_count is $$Number of their attempts with a score.$$;
comment on column analytics.analysed_item.difficulty is $$
Mean score, from 0 to 1: the proportion of correct answers. The lower, the more difficult is the item.
$$;
comment on column analytics.analysed_item.discrimination is $$
Correlation of the score with the mean score on the other items, from -1 to 1.
Null when one of them is the same for all, and for learners with one item.
$$;
comment on column analytics.analysed_item.discrimination_index is $$
Mean score of the upper 27 % of the learners less that of the lower 27 %, from -1 to 1.
Null when one of these groups has not answered the item.
$$;

create table track.former_parent (
  item_id bigint not null references track.item,
  parent_item_id bigint not null references track.item,
  ended_at timestamptz not null,
  primary key (item_id, ended_at)
);

comment on table track.former_parent is $$
@behavior -*
Former places of items: what contained an item until the application moved it.
`track.sync_items` writes them. The parents that messages stated are not kept.
$$;
comment on column track.former_parent.item_id is $$Item that was moved.$$;
comment on column track.former_parent.parent_item_id is $$Item that contained it before.$$;
comment on column track.former_parent.ended_at is $$Time until which it did, exclusive.$$;

create index former_parent_parent on track.former_parent (parent_item_id);

alter table track.former_parent enable row level security;

create type analytics.progress_level as (
  lower_bound float8,
  upper_bound float8,
  person_count bigint,
  share float8,
  completed_count bigint
);

comment on type analytics.progress_level is $$
A level of progress in a course, and the learners who are at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.progress_level.lower_bound is $$
Progress above which the level begins; 0 for no progress, and 1 for all items, belong to levels of their own.
$$;
comment on column analytics.progress_level.upper_bound is $$
Greatest progress of the level; of the level below 1, the progress is less than this.
$$;
comment on column analytics.progress_level.person_count is $$Number of learners.$$;
comment on column analytics.progress_level.share is $$Share of the learners of all levels; null without learners.$$;
comment on column analytics.progress_level.completed_count is $$
Number of them who have completed the course according to their enrolment.
$$;

create type analytics.course_term as (
  term text,
  starts_at timestamptz,
  ends_at timestamptz,
  learner_count bigint,
  completed_count bigint,
  dropped_count bigint,
  completion_rate float8,
  median_time interval,
  graded_count bigint,
  mean_grade float8
);

comment on type analytics.course_term is $$
The learners of a course who enrolled in a term.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.course_term.term is $$Title of the term; null for learners who enrolled in none.$$;
comment on column analytics.course_term.starts_at is $$Beginning of the term; null without a term.$$;
comment on column analytics.course_term.ends_at is $$End of the term, exclusive; null without a term.$$;
comment on column analytics.course_term.learner_count is $$Number of learners.$$;
comment on column analytics.course_term.completed_count is $$Number of learners who completed the course.$$;
comment on column analytics.course_term.dropped_count is $$Number of learners who dropped the course.$$;
comment on column analytics.course_term.completion_rate is $$Share of the learners who completed the course.$$;
comment on column analytics.course_term.median_time is $$
Median time from the enrolment to the completion; null without completions.
$$;
comment on column analytics.course_term.graded_count is $$Number of learners with a grade.$$;
comment on column analytics.course_term.mean_grade is $$Mean grade, from 0 to 1; null without grades.$$;

create type analytics.grade_bucket as (lower_bound float8, upper_bound float8, person_count bigint, share float8);

comment on type analytics.grade_bucket is $$
A range of grades with the learners who have such a grade.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.grade_bucket.lower_bound is $$
Lowest grade, from 0 to 1; null for learners without a grade.
$$;
comment on column analytics.grade_bucket.upper_bound is $$
Grade below which the range ends, inclusive for 1; null for learners without a grade.
$$;
comment on column analytics.grade_bucket.person_count is $$Number of learners.$$;
comment on column analytics.grade_bucket.share is $$Share of the learners of the course; null without learners.$$;

create table analytics.intervention (
  intervention_id bigint generated always as identity primary key,
  identity_id bigint not null references track.identity,
  course_id bigint not null references track.item,
  action text not null check (action in ('message', 'call', 'meeting', 'extension', 'tutoring', 'other')),
  note text check (length(note) between 1 and 2000),
  happened_at timestamptz not null,
  risk float8 check (risk between 0 and 1),
  created_by text not null,
  created_at timestamptz not null default now()
);

comment on table analytics.intervention is $$
@behavior -*
Notes of what a teacher did about a learner at risk: see `analytics.record_intervention`.
$$;
comment on column analytics.intervention.intervention_id is $$Key of the note.$$;
comment on column analytics.intervention.identity_id is $$Identity of the learner that the note names.$$;
comment on column analytics.intervention.course_id is $$Course that the note is about.$$;
comment on column analytics.intervention.action is $$
Kind of action: `message`, `call`, `meeting`, `extension`, `tutoring` or `other`.
$$;
comment on column analytics.intervention.note is $$Text of the note; null without one.$$;
comment on column analytics.intervention.happened_at is $$Time of the action.$$;
comment on column analytics.intervention.risk is $$
Predicted probability of dropping out when the note was written; null when the learner had no prediction.
$$;
comment on column analytics.intervention.created_by is $$
Author: the person of the token, or the database login.
$$;
comment on column analytics.intervention.created_at is $$Time at which the note was written.$$;

create index intervention_identity on analytics.intervention (identity_id);
create index intervention_course on analytics.intervention (course_id);

alter table analytics.intervention enable row level security;

create type analytics.course_intervention as (
  intervention_id bigint,
  person text,
  action text,
  note text,
  happened_at timestamptz,
  created_by text,
  risk float8,
  status text,
  active_days int,
  last_active_at timestamptz
);

comment on type analytics.course_intervention is $$
A note of what a teacher did about a learner, and the outcome of it.
$$;
comment on column analytics.course_intervention.intervention_id is $$Key of the note.$$;
comment on column analytics.course_intervention.person is $$`userId` of the learner.$$;
comment on column analytics.course_intervention.action is $$
Kind of action: `message`, `call`, `meeting`, `extension`, `tutoring` or `other`.
$$;
comment on column analytics.course_intervention.note is $$Text of the note; null without one.$$;
comment on column analytics.course_intervention.happened_at is $$Time of the action.$$;
comment on column analytics.course_intervention.created_by is $$Author; `erased` after her erasure.$$;
comment on column analytics.course_intervention.risk is $$
Predicted probability of dropping out when the note was written; null without a prediction.
$$;
comment on column analytics.course_intervention.status is $$
Status of the learner now: `active`, `completed` or `dropped`; null without an enrolment.
$$;
comment on column analytics.course_intervention.active_days is $$
Days (UTC) with activity in the course in the 14 days after the action.
$$;
comment on column analytics.course_intervention.last_active_at is $$
Time of the last activity in the course; null without any.
$$;

create type analytics.intervention_outcome as (
  action text,
  person_count bigint,
  resumed_count bigint,
  idle_count bigint,
  open_count bigint,
  completed_count bigint,
  dropped_count bigint,
  share_resumed float8,
  mean_risk float8
);

comment on type analytics.intervention_outcome is $$
A kind of action about learners at risk, with the outcome.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.intervention_outcome.action is $$Kind of action.$$;
comment on column analytics.intervention_outcome.person_count is $$Number of learners.$$;
comment on column analytics.intervention_outcome.resumed_count is $$
Number of learners who were active in the course within the days after the action.
$$;
comment on column analytics.intervention_outcome.idle_count is $$
Number of learners who were not, where these days are over.
$$;
comment on column analytics.intervention_outcome.open_count is $$
Number of learners who have not been yet, where these days are not over.
$$;
comment on column analytics.intervention_outcome.completed_count is $$
Number of learners who have completed the course by now.
$$;
comment on column analytics.intervention_outcome.dropped_count is $$
Number of learners who have dropped the course by now, and not completed it.
$$;
comment on column analytics.intervention_outcome.share_resumed is $$
Share of those who resumed among them and the idle ones; null without such.
$$;
comment on column analytics.intervention_outcome.mean_risk is $$
Mean predicted probability of dropping out when the notes were written; null without predictions.
$$;

drop function analytics._search_statement(analytics.step_filter[], int, boolean, boolean);
drop function analytics._walk_statement(analytics.step_filter[], int, text, boolean, text, boolean, boolean);

create type analytics.session_bin as (
  bin_start float8,
  bin_end float8,
  session_count bigint,
  person_count bigint,
  share float8
);

comment on type analytics.session_bin is $$
Sessions whose engaged time, duration or number of page views is in a bin.
$$;
comment on column analytics.session_bin.bin_start is $$Beginning of the bin, in seconds or page views.$$;
comment on column analytics.session_bin.bin_end is $$End of the bin, exclusive; null for the last one.$$;
comment on column analytics.session_bin.session_count is $$Number of sessions.$$;
comment on column analytics.session_bin.person_count is $$Number of people with such sessions.$$;
comment on column analytics.session_bin.share is $$Share of all sessions; null without sessions.$$;

--! Included common/functions/check_zone.sql
create or replace function common.check_zone(zone text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if check_zone.zone is null or length(check_zone.zone) > 100
    or lower(check_zone.zone) <> 'utc'
      and not exists (select from pg_timezone_names as known where lower(known.name) = lower(check_zone.zone))
  then
    perform common.refuse(
      'CF002',
      format('there is no time zone "%s"', coalesce(left(check_zone.zone, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(check_zone.zone, 100),
          array(
            select known.name
            from pg_timezone_names as known
            where known.name !~ '^(posix|right)/'
            order by known.name
          )
        ) || '"?',
        'Give a name of the IANA time zone database, such as Europe/Berlin, or UTC.'
      )
    );
  end if;
end;
$$;

comment on function common.check_zone(text) is $$
Raises CF002 unless the argument is the name of a time zone of the IANA database, or UTC, in any case of letters.
$$;

grant execute on function common.check_zone(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/check_zone.sql

--! Included common/functions/add_buckets.sql
create or replace function common.add_buckets(at timestamptz, bucket text, buckets int, zone text)
returns timestamptz
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant interval := case
    when add_buckets.bucket in ('minute', 'hour', 'day', 'week', 'month', 'year')
      then ('1 ' || add_buckets.bucket)::interval
    when add_buckets.bucket = 'quarter' then interval '3 months'
  end;
begin
  if v_length is null then
    perform common.refuse(
      'CF001',
      format('bucket is "%s"', left(add_buckets.bucket, 100)),
      'Use minute, hour, day, week, month, quarter or year.'
    );
  end if;
  if add_buckets.bucket in ('minute', 'hour') then
    return add_buckets.at + add_buckets.buckets * v_length;
  end if;
  -- Longer ones begin at a local midnight.
  return (
    add_buckets.at at time zone left(add_buckets.zone, 100) + add_buckets.buckets * v_length
  ) at time zone left(add_buckets.zone, 100);
end;
$$;

comment on function common.add_buckets(timestamptz, text, int, text) is $$
Returns a time plus a number of time buckets, which can be negative, from a day on in the time of a zone.
The start of a bucket gives the start of another one.
Errors: CF001 for a bucket that does not exist, 22023 for a zone
(see `common.check_zone`).
$$;

grant execute on function common.add_buckets(timestamptz, text, int, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/add_buckets.sql

--! Included common/functions/duration_bounds.sql
create or replace function common.duration_bounds()
returns float8[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- A product with a power of two is exact: the bounds of the API are the same numbers.
  select
    array_agg(0.0005::float8 * case step % 2 when 0 then 1 else sqrt(2::float8) end * (1 << step / 2) order by step)
  from generate_series(0, 36) as step
$$;

comment on function common.duration_bounds() is $$
Returns the bounds of the buckets in which durations are counted, in seconds: 37 from half a millisecond to 131 s.
Each is √2 times the one before. A histogram has 38 counts: a duration is counted at the first bound that is not below
it, as in Prometheus; the last count is of those above all bounds. See `common.duration_bucket`.
$$;

grant execute on function common.duration_bounds() to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_bounds.sql

--! Included common/functions/duration_bucket.sql
create or replace function common.duration_bucket(seconds float8)
returns int
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return width_bucket(seconds, common.duration_bounds()) + 1 - (seconds = any (common.duration_bounds()))::int;
end;
$$;

comment on function common.duration_bucket(float8) is $$
Returns the number of the bucket in which a duration is counted, from 1 to 38: of the first bound that is not below it.
See `common.duration_bounds`.
$$;

grant execute on function common.duration_bucket(float8) to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_bucket.sql

--! Included common/functions/duration_quantile.sql
create or replace function common.duration_quantile(counts bigint[], quantile float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if cardinality(duration_quantile.counts) > cardinality(common.duration_bounds()) + 1
    or 0 > any (duration_quantile.counts) then
    perform common.refuse(
      'CF001',
      format(
        'there are %s counts, the lowest is %s', cardinality(duration_quantile.counts),
        (select min(calls) from unnest(duration_quantile.counts) as calls)
      ),
      format('Give at most %s counts, all from 0.', cardinality(common.duration_bounds()) + 1)
    );
  end if;
  -- NaN is greater than any number.
  if duration_quantile.quantile < 0 or duration_quantile.quantile > 1 then
    perform common.refuse(
      'CF001', format('the quantile is %s', duration_quantile.quantile), 'Give a share from 0 to 1, such as 0.95.'
    );
  end if;
  return (
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
  );
end;
$$;

comment on function common.duration_quantile(bigint[], float8) is $$
Returns a quantile of durations that are counted by `common.duration_bounds()`, in seconds; null without any.
Between the two bounds of a bucket they are taken to be spread evenly over the logarithm, so that the result is at most
√2 times as large or as small as the true value, from the first bound on. At or above the last bound it is that bound.
Errors: CF001 for a quantile below 0 or above 1, for more than 38 counts, and for a negative count.
$$;

grant execute on function common.duration_quantile(bigint[], float8)
to insights_reader, insights_admin, insights_worker;
--! EndIncluded common/functions/duration_quantile.sql

--! Included ml/trees/gbm_train.sql
create or replace function ml._check_gbm_arguments(
  num_trees int,
  learning_rate float8,
  max_depth int,
  min_rows int,
  min_child_weight float8,
  lambda float8,
  gamma float8,
  row_sample float8,
  feature_sample float8,
  early_stopping_rounds int,
  seed bigint
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if num_trees is null or num_trees not between 1 and 10000 then
    perform common.refuse('CF001', format('num_trees %s', coalesce(num_trees::text, 'null')),
      'Choose 1 to 10000 trees.');
  elsif learning_rate is null or not (learning_rate > 0 and learning_rate <= 1) then
    perform common.refuse('CF001', format('learning_rate %s', coalesce(learning_rate::text, 'null')),
      'Choose a number above 0, at most 1; 0.1 is usual.');
  elsif max_depth is null or max_depth not between 1 and 16 then
    perform common.refuse('CF001', format('max_depth %s', coalesce(max_depth::text, 'null')),
      'Choose 1 to 16; boosting does well with 3 to 8.');
  elsif min_rows is null or min_rows < 1 then
    perform common.refuse('CF001', format('min_rows %s', coalesce(min_rows::text, 'null')),
      'A leaf needs at least one row.');
  elsif lambda is null or lambda < 0 or lambda = 'Infinity' or lambda = 'NaN' then
    perform common.refuse('CF001', format('lambda %s', coalesce(lambda::text, 'null')),
      'The penalty is a finite number, 0 or more.');
  elsif gamma is null or not (gamma >= 0 and gamma < 'Infinity') or min_child_weight is null
    or not (min_child_weight >= 0 and min_child_weight < 'Infinity') then
    perform common.refuse(
      'CF001',
      format(
        'gamma %s, min_child_weight %s',
        coalesce(gamma::text, 'null'),
        coalesce(min_child_weight::text, 'null')
      ),
      'Both are finite and 0 or more.'
    );
  elsif row_sample is null or not (row_sample > 0 and row_sample <= 1) or feature_sample is null
    or not (feature_sample > 0 and feature_sample <= 1) then
    perform common.refuse(
      'CF001',
      format(
        'row_sample %s, feature_sample %s',
        coalesce(row_sample::text, 'null'),
        coalesce(feature_sample::text, 'null')
      ),
      'Shares are above 0 and at most 1.'
    );
  elsif early_stopping_rounds is not null and early_stopping_rounds < 1 then
    perform common.refuse('CF001', format('early_stopping_rounds %s', early_stopping_rounds),
      'Choose 1 or more, or null for no early stopping.');
  elsif seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  end if;
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
end;
$$;

comment on function ml._check_gbm_arguments(
  int, float8, int, int, float8, float8, float8, float8, float8, int, bigint
) is $$
Raises CF001 unless the arguments of ml.gbm_train are in their ranges.
$$;

grant execute on function ml._check_gbm_arguments(int, float8, int, int, float8, float8, float8, float8, float8, int,
  bigint)
  to insights_admin, insights_worker;

create or replace function ml.gbm_train(
  source_table text,
  output_table text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  objective text default null,
  num_trees int default 200,
  learning_rate float8 default 0.1,
  max_depth int default 6,
  min_rows int default 20,
  min_child_weight float8 default 0.001,
  lambda float8 default 1,
  gamma float8 default 0,
  row_sample float8 default 1,
  feature_sample float8 default 1,
  max_bins int default 64,
  weights text default null,
  validation text default null,
  early_stopping_rounds int default 20,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_summary']);
  v_summary text;
  v_id text;
  v_dependent text;
  v_weight text := case when weights is not null then common.numeric_expression(weights, v_relation, 'weights') end;
  v_objective text := objective;
  v_features text[];
  v_skipped bigint;
  v_seen record;
  v_base float8;
  v_codes text;
  v_gradient text;
  v_usable int[];
  v_chosen int[];
  v_leaf text;
  v_trees int := 0;
  v_loss text;
  v_training float8[] := '{}';
  v_validation float8[] := '{}';
  v_loss_training float8;
  v_loss_validation float8;
  v_best int := 0;
  v_best_loss float8 := 'Infinity';
  v_nodes bigint;
begin
  v_summary := common.companion_table(v_output, '_summary');
  perform ml._check_gbm_arguments(
    num_trees, learning_rate, max_depth, min_rows, min_child_weight, lambda, gamma, row_sample, feature_sample,
    early_stopping_rounds, seed
  );
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  v_dependent := common.numeric_expression(dependent_variable, v_relation, 'dependent variable');
  if v_objective is null then
    v_objective := case
      when common.expression_type(dependent_variable, v_relation, 'dependent variable') = 'boolean'::regtype
        then 'logistic' else 'squared_error' end;
  elsif v_objective not in ('squared_error', 'logistic') then
    perform common.refuse('CF001', format('there is no objective "%s"', left(objective, 100)),
      'Choose squared_error or logistic.');
  end if;
  if validation is not null and common.expression_type(validation, v_relation, 'validation') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('validation "%s" is not boolean', left(validation, 100)),
      'Give a condition that is true for the rows to validate on, such as ''course_id in (4, 7)''.');
  end if;
  v_features := ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_id, dependent_variable, weights, validation]);
  v_skipped := ml._tree_prepare(v_relation, v_id, v_dependent, v_weight, validation, v_features, max_bins, seed);

  execute
    'select count(*) as row_count, count(*) filter (where valid) as validation_count, min(y) as least,
      max(y) as greatest,
       count(*) filter (where y = ''NaN'' or abs(y) = ''Infinity'') as non_finite,
         min(y) filter (where y not in (0, 1)) as no_class,
       min(y) filter (where not valid) as least_trained, max(y) filter (where not valid) as greatest_trained,
       sum(weight) filter (where not valid) as weight, avg(y) filter (where not valid) as middle,
       sum(weight * y) filter (where not valid) / nullif(sum(weight) filter (where not valid), 0) as mean
     from pg_temp._ml_tree_row'
  into v_seen;
  if v_seen.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows have NaN or infinity in "%s"', v_seen.non_finite, left(dependent_variable, 100)),
      'Make them null to leave them out.'
    );
  elsif coalesce(v_seen.weight, 0) <= 0 then
    perform common.refuse('CF004', format('the weights "%s" sum to 0', left(weights, 100)),
      'At least one row must count.');
  elsif v_objective = 'logistic' and v_seen.no_class is not null then
    perform common.refuse(
      'CF001',
      format('"%s" holds %s, a class is 0 or 1', left(dependent_variable, 100), v_seen.no_class),
      'Give a boolean or 0 and 1, or choose squared_error.'
    );
  elsif v_objective = 'logistic' and v_seen.least_trained = v_seen.greatest_trained then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(dependent_variable, 100), v_seen.least_trained),
      'A classifier needs rows of both classes to train on.'
    );
  elsif validation is not null and v_seen.validation_count = 0 then
    perform common.refuse('CF004', format('no row is for validation: "%s"', left(validation, 100)),
      'Give a condition that is true for some rows.');
  end if;
  execute 'select array_agg(feature order by feature) from pg_temp._ml_tree_feature
    where cardinality(edges) > 0 or cardinality(categories) > 0' into v_usable;
  if v_usable is null then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(v_features, ', ')));
  end if;

  if v_objective = 'logistic' then
    v_base := ln(v_seen.mean / (1 - v_seen.mean));
    v_gradient := 'weight * (1 / (1 + exp(-score)) - y) as s1,
      weight * greatest(exp(-abs(score)) / (1 + exp(-abs(score))) ^ 2, 1e-16) as h';
    v_loss := 'weight * (greatest(score, 0) - score * y + ln(1 + exp(-abs(score))))';
  else
    v_base := v_seen.mean;
    v_gradient := 'weight * (score - y) as s1, weight as h';
    v_loss := 'weight * (score - y) ^ 2';
  end if;

  execute format(
    'create table %s (tree int not null, node int not null, parent int, depth int not null, feature text,
        threshold float8, categories text[],
       missing_left boolean, left_node int, right_node int, value float8, gain float8, cover float8 not null,
         num_rows bigint not null,
       primary key (tree, node))',
    v_output
  );
  v_codes := (select string_agg('f' || feature, ', ') from unnest(v_usable) as feature);
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored;
  -- Once more than there are trees: the last turn only measures the last tree.
  for v_tree in 1..num_trees + 1 loop
    -- Score, gradient and second derivative of every row, once per tree: rewriting the rows is cheaper than an update.
    execute format(
      'create temp table _ml_tree_work on commit drop as
       select key, y, weight, valid, score, not valid %s as used, %s, %s
       from (select key, y, weight, valid, %s as score, %s from pg_temp.%I offset 0) as scored',
      case when row_sample < 1 then format('and hashint8extended(key, %s) & 1048575 < %s',
        seed + v_tree, (row_sample * 1048576)::bigint) else '' end,
      v_gradient, v_codes,
      case when v_tree = 1 then format('%L::float8', v_base) else format('score + %s', v_leaf) end,
      v_codes,
      case when v_tree = 1 then '_ml_tree_row' else '_ml_tree_scored' end
    );
    if v_tree = 1 then
      drop table pg_temp._ml_tree_row;
    else
      drop table pg_temp._ml_tree_scored;
      execute format(
        'select sum(%1$s) filter (where not valid) / sum(weight) filter (where not valid),
          sum(%1$s) filter (where valid) / nullif(sum(weight) filter (where valid), 0)
         from pg_temp._ml_tree_work',
        v_loss
      ) into v_loss_training, v_loss_validation;
      v_training := v_training || v_loss_training;
      v_trees := v_tree - 1;
      if validation is not null then
        v_validation := v_validation || v_loss_validation;
        if v_loss_validation < v_best_loss then
          v_best_loss := v_loss_validation;
          v_best := v_trees;
        end if;
        exit when early_stopping_rounds is not null and v_trees - v_best >= early_stopping_rounds;
      end if;
    end if;
    exit when v_tree > num_trees;

    v_chosen := v_usable;
    if feature_sample < 1 then
      select array_agg(feature order by feature)
      into v_chosen
      from (
        select feature
        from unnest(v_usable) as feature
        order by hashint8extended(feature, seed + v_tree)
        limit greatest(1, round(feature_sample * cardinality(v_usable))::int)
      ) as drawn;
    end if;
    perform ml._tree_grow(v_chosen, 1, 'newton', lambda, gamma, max_depth, min_rows, 0, min_child_weight, null, seed);
    execute 'select count(*) from pg_temp._ml_tree_node' into v_nodes;
    if v_nodes = 1 and v_tree = 1 then
      perform common.refuse(
        'CF004',
        format('no feature splits the %s rows into better halves', v_seen.row_count - v_seen.validation_count),
        format(
          'A leaf needs %s rows (min_rows), weight %s (min_child_weight) and a gain over %s (gamma).',
          min_rows,
          min_child_weight,
          gamma
        )
      );
    end if;
    -- A tree that finds nothing to split will not find it the next time either, unless it looks at other rows or
    -- features.
    exit when v_nodes = 1 and row_sample = 1 and feature_sample = 1;
    execute format(
      $query$
      insert into %s
      select
        %s, node.node, node.parent, node.depth, feature.name,
        case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
        (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
        case when node.feature is not null then node.missing_left end,
        node.left_node, node.right_node,
        case when node.feature is null then coalesce(-%L::float8 * node.s1 / nullif(node.h + %L::float8, 0), 0) end,
        node.gain, node.h, node.n
      from pg_temp._ml_tree_node as node
      left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
      $query$,
      v_output, v_tree, learning_rate, lambda
    );
    v_leaf := ml._tree_case(
      format('format(''%%L::float8'', coalesce(-%L::float8 * s1 / nullif(h + %L::float8, 0), 0))', learning_rate,
        lambda));
    alter table pg_temp._ml_tree_work rename to _ml_tree_scored;
  end loop;
  if validation is not null then
    v_trees := v_best;
    execute format('delete from %s where tree > %s', v_output, v_trees);
  end if;

  execute format(
    'create table %s as
     select ''gbm''::text as method, %L::text as objective, %L::text as source_table, %L::text as model_table,
       %L::text as id_col_name,
       %L::text as dependent_varname, %L::text[] as independent_varnames,
       (select array_agg(case when category then ''category'' else ''number'' end order by feature)
         from pg_temp._ml_tree_feature) as independent_vartypes,
       (select coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), ''{}'')
         from pg_temp._ml_tree_feature) as categories,
       %L::float8 as base_score, %s::int as num_trees, %s::int as num_trees_grown,
       %s::bigint as num_rows_processed, %s::bigint as num_validation_rows, %s::bigint as num_missing_rows_skipped,
       %L::float8[] as training_loss, %L::float8[] as validation_loss, %L::jsonb as parameters',
    v_summary, v_objective, v_relation, v_output, v_id, dependent_variable, v_features,
    v_base, v_trees, cardinality(v_training), v_seen.row_count - v_seen.validation_count, v_seen.validation_count,
    v_skipped,
    v_training, nullif(v_validation, '{}'),
    jsonb_build_object(
      'num_trees', num_trees, 'learning_rate', learning_rate, 'max_depth', max_depth, 'min_rows',
      min_rows, 'min_child_weight', min_child_weight,
      'lambda', lambda, 'gamma', gamma, 'row_sample', row_sample, 'feature_sample', feature_sample, 'max_bins',
      max_bins,
      'weights', weights, 'validation', validation, 'early_stopping_rounds', early_stopping_rounds, 'seed', seed
    )
  );
  execute format('comment on table %s is %L', v_output,
    format('Nodes of a gradient-boosted model of %s on %s, by ml.gbm_train.', dependent_variable, v_relation));
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored, pg_temp._ml_tree_node,
    pg_temp._ml_tree_histogram, pg_temp._ml_tree_split, pg_temp._ml_tree_feature, pg_temp._ml_tree_row;
end;
$$;

comment on function ml.gbm_train(
  text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text,
  text, int, bigint
) is $$
@behavior -*
Gradient-boosted trees, by histogram sums in plain SQL.
`objective` is `squared_error` or `logistic` (dependent variable boolean or 0 and 1); by default logistic for a boolean.
Features are columns or expressions (`*`: all other columns): numbers and booleans are cut into `max_bins` bins at
quantiles, text is categorical, missing values and categories never seen go the way that each split learned.
`validation` is a condition on a row: such rows are not trained on, their loss ends the training
`early_stopping_rounds` trees after its best, and the model keeps the trees up to the best; name whole courses or the
latest weeks there. `row_sample` and `feature_sample` are shares drawn for each tree, by a hash of the id and the
seed.
Writes `output_table`, one row per node: `tree`, `node` (0 = root), `parent`, `depth`, `feature` with `threshold` (left:
value < threshold) or `categories` (left: one of them), `missing_left`, `left_node`, `right_node`, `value` (leaves:
what is added to the score), `gain`, `cover` (sum of second derivatives), `num_rows`; and `<output_table>_summary`,
one row: method, objective, names and kinds of features, `base_score`, `num_trees`, numbers of rows, the loss after
each tree (mean log loss or mean squared error), parameters.
Errors: CF001 (a parameter, a type, non-finite values), CF002, CF003 (a table exists), CF004 (no rows, one class,
nothing varies or splits), CF005, CF008.
Source: Friedman, Greedy function approximation, Annals of Statistics 29, 2001; Chen and Guestrin, XGBoost, KDD 2016;
Huang and others, JoinBoost, SIGMOD 2023.
$$;

grant execute on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8,
  float8, float8, float8, int, text, text, int, bigint)
  to insights_admin, insights_worker;
--! EndIncluded ml/trees/gbm_train.sql

--! Included ml/trees/forest_train.sql
create or replace function ml.forest_train(
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  grouping_cols text default null,
  num_trees int default 100,
  num_random_features int default null,
  importance boolean default true,
  num_permutations int default null,
  max_tree_depth int default 7,
  min_split int default 20,
  min_bucket int default null,
  num_splits int default 20,
  null_handling_params text default null,
  verbose boolean default false,
  sample_ratio float8 default 1.0,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(training_table_name);
  v_count int;
  v_classifies boolean;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    perform common.refuse('CF001', 'forests are not trained by group',
      'Train one model on a view of each group, or give the groups as a feature.');
  elsif num_permutations is not null then
    perform common.refuse('CF001', 'features are not permuted',
      'ml.get_var_importance gives the importance by impurity; leave num_permutations null.');
  elsif null_handling_params is not null then
    perform common.refuse('CF001', format('null_handling_params "%s"', left(null_handling_params, 100)),
      'Missing values go the way that each split learned; leave it null.');
  elsif sample_ratio is null or seed is null then
    perform common.refuse('CF001', 'sample_ratio or seed is null',
      'Give a share above 0, at most 1, and a number as seed.');
  end if;
  perform common.check_count('seed', forest_train.seed, -1000000000000000000, 1000000000000000000);
  v_count := cardinality(ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude,
      array[id_col_name, quote_ident(id_col_name), dependent_variable]));
  v_classifies := common.expression_type(dependent_variable, v_relation, 'dependent variable') not
    in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  perform ml._forest_train(
    'forest_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude,
    'gini', null, num_trees,
    coalesce(num_random_features, case when v_classifies then greatest(1, floor(sqrt(v_count))::int)
      else greatest(1, v_count / 3) end),
    sample_ratio, max_tree_depth, min_split, min_bucket, num_splits, 0, seed
  );
end;
$$;

comment on function ml.forest_train(
  text, text, text, text, text, text, text, int, int, boolean, int, int, int, int, int, text, boolean, float8, bigint
) is $$
@behavior -*
A random forest, in MADlib's arguments:
trees on rows drawn with replacement, each split choosing among features drawn at random.
`num_random_features` is by default the root of the number of features for classes, a third of it for numbers.
`sample_ratio` is the expected number of times that a row is drawn for a tree. The seed and the ids decide all draws.
`grouping_cols`, `num_permutations` and `null_handling_params` must be null; `importance` and `verbose` are MADlib's
and change nothing: ml.get_var_importance gives the importance by impurity of any model.
Writes `output_table_name` and `<output_table_name>_summary` as ml.tree_train does; there `oob_error` is the share of
rows (for numbers: the squared error) that the trees which did not see them get wrong.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes).
Source: Breiman, Random forests, Machine Learning 45, 2001; draws after Oza and Russell, Online bagging and boosting,
2001.
$$;

grant execute on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int,
  int, int, text, boolean, float8, bigint) to insights_admin, insights_worker;
--! EndIncluded ml/trees/forest_train.sql

--! Included ml/forecasts/_ets_fixed.sql
create or replace function ml._ets_fixed(
  seasonal_period int,
  trend text,
  seasonal text,
  optimizer_params text,
  holdout int
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array['alpha', 'beta', 'gamma', 'phi'];
  v_fixed float8[] := array[null, null, null, null]::float8[];
  v_item text;
begin
  if seasonal_period is null or seasonal_period not between 1 and 1000 then
    perform common.refuse(
      'CF001',
      format('seasonal_period is %s', coalesce(seasonal_period::text, 'null')),
      'Give the number of rows in a cycle from 1 to 1000, such as 7 for days with a weekly cycle; 1 for no season.'
    );
  elsif trend is null or trend not in ('auto', 'none', 'additive', 'damped') then
    perform common.refuse('CF001', format('there is no trend "%s"', coalesce(left(trend, 100), 'null')),
      'Choose auto, none, additive or damped.');
  elsif seasonal is null or seasonal not in ('auto', 'none', 'additive', 'multiplicative') then
    perform common.refuse('CF001', format('there is no seasonal "%s"', coalesce(left(seasonal, 100), 'null')),
      'Choose auto, none, additive or multiplicative.');
  elsif seasonal in ('additive', 'multiplicative') and seasonal_period = 1 then
    perform common.refuse('CF001', format('seasonal is %s, but seasonal_period is 1', seasonal),
      'Give a seasonal_period above 1, such as 7.');
  elsif holdout < 0 then
    perform common.refuse('CF001', format('holdout is %s', holdout),
      'Give the number of last rows to compare on, 0 for no comparison.');
  end if;
  foreach v_item in array coalesce(common.split_expressions(nullif(btrim(optimizer_params), '')), '{}') loop
    if v_item !~ '^(alpha|beta|gamma|phi)\s*=\s*[0-9.]+$' or substring(v_item from '=\s*(.*)$')::float8 > 1 then
      perform common.refuse('CF001', format('optimizer_params contains "%s"', left(v_item, 100)),
        'Fix alpha, beta, gamma or phi at a number from 0 to 1, such as alpha=0.3; the others are fitted.');
    end if;
    v_fixed[array_position(v_names, substring(v_item from '^[a-z]+'))] := substring(v_item from '=\s*(.*)$')::float8;
  end loop;
  return v_fixed;
end;
$$;

comment on function ml._ets_fixed(int, text, text, text, int) is $$
Checks the arguments of ml.ets_train and returns the fixed parameters.
These are alpha, beta, gamma and phi, null for those to be fitted. Errors: CF001.
$$;

grant execute on function ml._ets_fixed(int, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_ets_fixed.sql

--! Included ml/forecasts/_ets_model.sql
create or replace function ml._ets_best(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[]
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := (select count(value) from unnest(series) as value);
  v_candidate record;
  v_fit record;
  v_state record;
  v_shape int[];
  v_unknowns int;
  v_criterion float8;
  v_best jsonb;
  v_best_criterion float8;
begin
  for v_candidate in
    select trend_shape, season_shape
    from unnest(
      case trend
        when 'none' then array[0]
        when 'additive' then array[1]
        when 'damped' then array[2]
        else array[0, 1, 2]
      end
    ) as trend_shape
    cross join unnest(
      case seasonal when 'none' then array[0] when 'auto' then array[0, 1] else array[1] end
    ) as season_shape
    where season_shape = 0 or (period > 1 and cardinality(series) >= 2 * period)
    order by season_shape, trend_shape
  loop
    v_shape := array[period, v_candidate.trend_shape, v_candidate.season_shape];
    v_fit := ml._series_fit('ets', series, v_shape, array[-1, -2, -2, 1], fixed, 60);
    -- Parameters, initial state and the variance.
    v_unknowns := 2 + 1
      + case v_candidate.trend_shape when 0 then 0 when 1 then 2 else 3 end
      + v_candidate.season_shape * period;
    v_criterion := v_size * ln(greatest(v_fit.squares / v_size, 1e-300)) + case
      when v_size > v_unknowns + 1 then 2.0 * v_unknowns * v_size / (v_size - v_unknowns - 1)
      else 1e6 * v_unknowns
    end;
    if v_best is null or v_criterion < v_best_criterion then
      v_state := ml._ets_filter(series, v_shape, v_fit.parameters);
      v_best_criterion := v_criterion;
      v_best := jsonb_build_object(
        'trend', (array['none', 'additive', 'damped'])[v_candidate.trend_shape + 1],
        'seasonal', v_candidate.season_shape,
        'alpha', v_fit.parameters[1],
        'beta', case when v_candidate.trend_shape > 0 then v_fit.parameters[2] end,
        'gamma', case when v_candidate.season_shape = 1 then v_fit.parameters[3] end,
        'phi', case when v_candidate.trend_shape = 2 then v_fit.parameters[4] end,
        'level', v_state.level,
        'slope', case when v_candidate.trend_shape > 0 then v_state.slope end,
        'seasons', case when v_candidate.season_shape = 1 then to_jsonb(v_state.seasons) end,
        'squares', v_fit.squares,
        'aicc', v_criterion,
        'residual_variance',
          v_fit.squares / greatest(v_size - (v_unknowns - 2 - v_candidate.season_shape * period), 1),
        'num_iterations', v_fit.iterations
      );
    end if;
  end loop;
  return v_best;
end;
$$;

comment on function ml._ets_best(float8[], int, text, text, float8[]) is $$
Returns the smoothing model of a series with the least corrected Akaike criterion among the requested shapes, as JSON.
$$;

create or replace function ml._ets_mean_error(
  model jsonb,
  period int,
  fitted float8[],
  actual float8[],
  logarithmic boolean
)
returns float8
language sql
immutable
parallel safe
begin atomic
  select avg(abs(
    case
      when _ets_mean_error.logarithmic then entry.actual - exp(entry.fitted - entry.residual)
      else entry.residual
    end
  ))
  from unnest(
    (
      ml._ets_filter(
        _ets_mean_error.fitted,
        array[
          period,
          array_position(array['none', 'additive', 'damped'], model ->> 'trend') - 1,
          (model ->> 'seasonal')::int
        ],
        array[
          (model ->> 'alpha')::float8,
          (model ->> 'beta')::float8,
          (model ->> 'gamma')::float8,
          (model ->> 'phi')::float8
        ]
      )
    ).residuals,
    _ets_mean_error.fitted,
    _ets_mean_error.actual
  ) as entry (residual, fitted, actual);
end;

comment on function ml._ets_mean_error(jsonb, int, float8[], float8[], boolean) is $$
Returns the mean absolute one-step error of a smoothing model, in the unit of `actual`.
`fitted` is the series that was smoothed: the logarithm of `actual` when `logarithmic`.
$$;

create or replace function ml._ets_holdout(
  fitted float8[],
  actual float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out mae float8,
  out naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant int := cardinality(fitted) - holdout;
  v_model constant jsonb := ml._ets_best(fitted[1:v_known], period, trend, seasonal, fixed);
begin
  select
    avg(abs(unseen.value - case when seasonal = 'multiplicative' then exp(ahead.forecast) else ahead.forecast end)),
    avg(abs(unseen.value - actual[v_known - period + 1 + (unseen.place - 1)::int % period]))
  into mae, naive_mae
  from unnest(actual[v_known + 1:]) with ordinality as unseen (value, place)
  join ml._ets_ahead(v_model, holdout) as ahead on ahead.step = unseen.place;
end;
$$;

comment on function ml._ets_holdout(float8[], float8[], int, text, text, float8[], int) is $$
Returns the mean absolute errors of a smoothing model and of the seasonal-naive forecast on held-out rows.
These are the last `holdout` rows; the model is trained on the rows before.
$$;

create or replace function ml._ets_model(
  series float8[],
  period int,
  trend text,
  seasonal text,
  fixed float8[],
  holdout int,
  out model jsonb,
  out method text,
  out size int,
  out mae float8,
  out mase float8,
  out holdout_rows int,
  out holdout_mae float8,
  out holdout_naive_mae float8
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log constant boolean := seasonal = 'multiplicative';
  v_fitted float8[] := series;
begin
  size := cardinality(series) - (select count(*) from unnest(series) as value where value is null);
  if v_log then
    if exists (select from unnest(series) as value where value <= 0) then
      perform common.refuse('CF001', 'a multiplicative season needs values above 0', 'Choose additive.');
    end if;
    v_fitted := array(
      select ln(entry.value)
      from unnest(series) with ordinality as entry (value, place)
      order by entry.place
    );
  end if;
  model := ml._ets_best(v_fitted, period, trend, seasonal, fixed) || jsonb_build_object('log', v_log);
  method := format(
    'ETS(A,%s,%s)%s',
    case model ->> 'trend' when 'none' then 'N' when 'additive' then 'A' else 'Ad' end,
    case (model ->> 'seasonal')::int when 0 then 'N' else 'A' end,
    case when v_log then ' of the logarithm' else '' end
  );
  mae := ml._ets_mean_error(model, period, v_fitted, series, v_log);
  -- The mean absolute error of the seasonal-naive forecast on the same rows: the scale of MASE.
  mase := mae / nullif((
    select avg(abs(pair.value - pair.before))
    from (
      select entry.value, lag(entry.value, period) over (order by entry.place) as before
      from unnest(series) with ordinality as entry (value, place)
    ) as pair
  ), 0);

  holdout_rows := coalesce(holdout, case
    when size >= greatest(3 * period, 10) + period then greatest(period, size / 10)
    else 0
  end);
  holdout_rows := case when size - holdout_rows >= greatest(4, 2 * period) then nullif(holdout_rows, 0) end;
  if holdout_rows > 0 then
    select compared.mae, compared.naive_mae
    into holdout_mae, holdout_naive_mae
    from ml._ets_holdout(v_fitted, series, period, trend, seasonal, fixed, holdout_rows) as compared;
  end if;
end;
$$;

comment on function ml._ets_model(float8[], int, text, text, float8[], int) is $$
Returns the smoothing model of a series, with its errors and those of the seasonal-naive forecast.
The arguments and results are those of `ml.ets_train`, `fixed` the result of `ml._ets_fixed`; `size`: number of values.
$$;

grant execute on function
  ml._ets_best(float8[], int, text, text, float8[]),
  ml._ets_mean_error(jsonb, int, float8[], float8[], boolean),
  ml._ets_holdout(float8[], float8[], int, text, text, float8[], int),
  ml._ets_model(float8[], int, text, text, float8[], int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/_ets_model.sql

--! Included ml/forecasts/ets_train.sql
create or replace function ml.ets_train(
  input_table text,
  output_table text,
  timestamp_column text,
  timeseries_column text,
  grouping_columns text default null,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  optimizer_params text default null,
  holdout int default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(input_table);
  v_output text := common.output_table(output_table);
  v_groups text[] := common.column_names(v_relation, grouping_columns, 'grouping columns');
  v_group_list text := array_to_string(v_groups, ', ') || case when v_groups = '{}' then '' else ',' end;
  v_fixed float8[] := ml._ets_fixed(seasonal_period, trend, seasonal, optimizer_params, holdout);
  v_row record;
  v_fit record;
  v_size int;
begin
  perform ml._read_series(v_relation, timestamp_column, timeseries_column, v_groups);
  execute format(
    $query$
    create table %s as
    select
      %s null::jsonb as model, null::text as method, null::int as seasonal_period,
      null::float8 as alpha, null::float8 as beta, null::float8 as gamma, null::float8 as phi,
      null::float8 as residual_variance, null::float8 as aicc,
      null::bigint as num_rows_processed, null::bigint as num_missing_rows_skipped, null::text as last_time,
      null::float8 as mae, null::float8 as mase,
      null::int as holdout_rows, null::float8 as holdout_mae, null::float8 as holdout_naive_mae,
      null::float8[] as last_cycle
    from pg_temp._ml_series
    where false
    $query$,
    v_output, v_group_list
  );
  for v_row in select place, series, times from pg_temp._ml_series order by place loop
    v_size := cardinality(v_row.series) - (select count(*) from unnest(v_row.series) as value where value is null);
    if v_size < greatest(4, case when seasonal in ('additive', 'multiplicative') then 2 * seasonal_period end) then
      perform common.refuse(
        'CF004',
        format(
          '%s rows are too few for a forecast%s',
          v_size,
          case when v_groups = '{}' then '' else ' of ' || left(v_row.place::text, 100) end
        ),
        'Give at least four rows, and at least two cycles of a season.'
      );
    end if;
    v_fit := ml._ets_model(v_row.series, seasonal_period, trend, seasonal, v_fixed, holdout);
    execute format(
      $query$
      insert into %s
      select
        %s $1, $2, $3,
        ($1 ->> 'alpha')::float8, ($1 ->> 'beta')::float8, ($1 ->> 'gamma')::float8, ($1 ->> 'phi')::float8,
        ($1 ->> 'residual_variance')::float8, ($1 ->> 'aicc')::float8,
        $4, $5, times[cardinality(times)],
        $6, $7,
        $8, $9, $10,
        $11
      from pg_temp._ml_series
      where place = $12
      $query$,
      v_output, v_group_list
    ) using
      v_fit.model,
      v_fit.method,
      seasonal_period,
      v_fit.size,
      cardinality(v_row.series) - v_fit.size,
      v_fit.mae,
      v_fit.mase,
      v_fit.holdout_rows,
      v_fit.holdout_mae,
      v_fit.holdout_naive_mae,
      v_row.series[cardinality(v_row.series) - seasonal_period + 1:],
      v_row.place;
  end loop;
  drop table pg_temp._ml_series;
end;
$$;

comment on function ml.ets_train(text, text, text, text, text, int, text, text, text, int) is $$
@behavior -*
Trains exponential smoothing with level, trend and season (Holt and Winters), one model per group.
The parameters have the least squares of the one-step errors. `seasonal_period` is the number of rows in a cycle (7 for
days with a weekly cycle). `trend`: `none`, `additive`, `damped`; `seasonal`: `none`, `additive`, `multiplicative` (the
logarithm of the series is smoothed); `auto` chooses the shape with the least corrected Akaike criterion.
`optimizer_params` fixes parameters: `alpha=0.3, beta=0.1`. Rows are in the order of time, one per step; a null is a
gap.
Every model is compared with the seasonal-naive forecast, the value one cycle ago. `mase` is the mean absolute one-step
error over that of the naive forecast (below 1 is better). `holdout_mae` and `holdout_naive_mae` are the mean absolute
errors of both on the last `holdout` rows (by default a cycle or a tenth of the rows), with a model trained on the rows
before; null without a holdout.
Writes `output_table`: the grouping columns, `model` (parameters and state), `method` such as `ETS(A,Ad,A)`,
`seasonal_period`, `alpha`, `beta`, `gamma`, `phi`, `residual_variance`, `aicc`, `num_rows_processed`,
`num_missing_rows_skipped`, `last_time`, `mae`, `mase`, `holdout_rows`, `holdout_mae`, `holdout_naive_mae`,
`last_cycle`.
Errors: CF001, CF002, CF003 (`output_table` exists), CF004 (too few rows), CF005.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008; Hyndman and Koehler, Another
look at measures of forecast accuracy, 2006.
$$;

grant execute on function ml.ets_train(text, text, text, text, text, int, text, text, text, int)
to insights_admin, insights_worker;
--! EndIncluded ml/forecasts/ets_train.sql

--! Included ml/forecasts/forecast_series.sql
create or replace function ml.forecast_series(
  series float8[],
  steps_ahead int,
  seasonal_period int default 1,
  trend text default 'auto',
  seasonal text default 'auto',
  confidence float8 default 0.95
)
returns setof ml.forecast_point
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- The model is JSON, with all digits of its numbers.
set extra_float_digits to 1
as $$
declare
  v_size constant int := (
    select count(*) from unnest(forecast_series.series) as value where value is not null
  );
  v_fixed constant float8[] := ml._ets_fixed(
    forecast_series.seasonal_period, forecast_series.trend, forecast_series.seasonal, null, null
  );
  v_fit record;
begin
  perform common.check_count('steps_ahead', forecast_series.steps_ahead, 1, 10000);
  if coalesce(forecast_series.confidence > 0 and forecast_series.confidence < 1, false) is false then
    perform common.refuse(
      'CF001', format('confidence is %s', coalesce(forecast_series.confidence::text, 'null')),
      'Give a number between 0 and 1, such as 0.95.'
    );
  end if;
  if cardinality(forecast_series.series) > 10000 then
    perform common.refuse(
      'CF008', format('the series has %s values', cardinality(forecast_series.series)), 'Give at most 10000.'
    );
  end if;
  if array_ndims(forecast_series.series) > 1
    or exists (
      select
      from unnest(forecast_series.series) as value
      where value = 'nan' or abs(value) > 1e100
    )
  then
    perform common.refuse(
      'CF001', 'the series has values that are not numbers up to 1e100, or several dimensions',
      'Give one list of numbers. Null is a gap.'
    );
  end if;
  if v_size < greatest(
    4,
    seasonal_period + 1,
    case when forecast_series.seasonal in ('additive', 'multiplicative') then 2 * seasonal_period end
  ) then
    perform common.refuse(
      'CF004', format('%s values are too few for a forecast', v_size),
      'Give at least four values, more than one cycle of a season, and two cycles where a season is requested.'
    );
  end if;

  v_fit := ml._ets_model(series, seasonal_period, trend, seasonal, v_fixed, null);
  return query
  select
    ahead.step,
    case when v_fit.model -> 'log' = 'true' then exp(ahead.forecast) else ahead.forecast end,
    case when v_fit.model -> 'log' = 'true' then exp(bounds.lower) else bounds.lower end,
    case when v_fit.model -> 'log' = 'true' then exp(bounds.upper) else bounds.upper end,
    naive.value,
    naive.value - quantile.z * naive.deviation,
    naive.value + quantile.z * naive.deviation,
    v_fit.method, v_fit.mase, v_fit.holdout_mae, v_fit.holdout_naive_mae
  from ml._ets_ahead(v_fit.model, forecast_series.steps_ahead) as ahead
  cross join (select ml.normal_quantile((1 + forecast_series.confidence) / 2) as z) as quantile
  cross join lateral (
    select
      ahead.forecast - quantile.z * ahead.deviation as lower, ahead.forecast + quantile.z * ahead.deviation as upper
  ) as bounds
  cross join (
    select sqrt(avg((pair.value - pair.before) ^ 2)) as deviation
    from (
      select entry.value, lag(entry.value, forecast_series.seasonal_period) over (order by entry.place) as before
      from unnest(forecast_series.series) with ordinality as entry (value, place)
    ) as pair
  ) as changes
  cross join lateral (
    select
      series[cardinality(series) - seasonal_period + 1 + (ahead.step - 1) % seasonal_period] as value,
      changes.deviation * sqrt((ahead.step - 1) / seasonal_period + 1) as deviation
  ) as naive
  order by ahead.step;
end;
$$;

comment on function ml.forecast_series(float8[], int, int, text, text, float8) is $$
Returns the next values of a series by exponential smoothing, with prediction intervals, beside the seasonal-naive ones.
The model is that of `ml.ets_train`, the intervals are those of `ml.ets_forecast` and `ml.seasonal_naive_forecast`.
`series`: values in the order of time, one per step; null is a gap. `seasonal_period`: steps in a cycle, such as 7 for
days with a weekly cycle. `confidence`: probability that an interval contains the value.
Errors: CF001 for an invalid argument, CF004 for too few values, CF008 for more than 10,000.
Source: Hyndman, Koehler, Ord and Snyder, Forecasting with Exponential Smoothing, 2008.
$$;

grant execute on function ml.forecast_series(float8[], int, int, text, text, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/forecasts/forecast_series.sql

--! Included ml/unsupervised/_kmeans_run.sql
create or replace function ml._kmeans_run(
  k int,
  fn_dist text,
  agg_centroid text,
  max_num_iterations int,
  min_frac_reassigned float8,
  seeding_sample_ratio float8,
  seed bigint
)
returns ml.kmeans_result
language plpgsql
set search_path to pg_catalog, pg_temp
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_centroids text[];
  v_before text[];
  v_next text;
  v_distances text;
  v_assigned text;
  v_row record;
  v_moved bigint;
  v_total bigint;
  v_result ml.kmeans_result;
begin
  if k is null or k not between 1 and 1000 then
    perform common.refuse('CF001', format('k %s', coalesce(k::text, 'null')), 'Choose 1 to 1000 clusters.');
  elsif max_num_iterations is null or max_num_iterations < 1 then
    perform common.refuse('CF001', format('max_num_iterations %s', coalesce(max_num_iterations::text, 'null')),
      'Choose 1 or more.');
  elsif min_frac_reassigned is null or not (min_frac_reassigned >= 0 and min_frac_reassigned <= 1) then
    perform common.refuse('CF001', format('min_frac_reassigned %s', coalesce(min_frac_reassigned::text, 'null')),
      'Choose a share in 0..1.');
  elsif seeding_sample_ratio is null or not (seeding_sample_ratio > 0 and seeding_sample_ratio <= 1) then
    perform common.refuse('CF001', format('seeding_sample_ratio %s', coalesce(seeding_sample_ratio::text, 'null')),
      'Choose a share above 0, at most 1.');
  elsif agg_centroid is null or regexp_replace(agg_centroid, '^(madlib|ml)\.', '') not in ('avg', 'normalized_avg') then
    perform common.refuse('CF001', format('there is no centroid "%s"', coalesce(left(agg_centroid, 100), 'null')),
      'Choose avg or normalized_avg.');
  end if;
  if seed is not null then
    perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  end if;
  -- k-means++: the next seed is drawn with a chance in proportion to the distance from the nearest one, as the winner
  -- of a race of exponentials.
  execute 'select array[v::text] from pg_temp._ml_point order by key, point limit 1' into v_centroids;
  while cardinality(v_centroids) < k loop
    execute format(
      'select v::text from (
         select v, key, point,
           least(%s) as distance, ((hashint8extended(key, %s) >> 11) + 4503599627370496.5) / 9007199254740992.0 as lot
         from pg_temp._ml_point
         where %s offset 0
       ) as race
       where distance > 1e-12
       order by -ln(lot) / distance, point limit 1',
      ml._kmeans_distances(fn_dist, v_centroids), seed + cardinality(v_centroids),
      case when seeding_sample_ratio < 1 then format('hashint8extended(key, %s) & 1048575 < %s',
        seed - 1, (1048576 * seeding_sample_ratio)::bigint) else 'true' end
    ) into v_next;
    if v_next is null then
      perform common.refuse('CF004', format('%s distinct points do not make %s clusters', cardinality(v_centroids), k),
        'Choose fewer clusters.');
    end if;
    v_centroids := v_centroids || v_next;
  end loop;

  v_result.num_iterations := 0;
  loop
    v_distances := ml._kmeans_distances(fn_dist, v_centroids);
    v_assigned := format('array_position(array[%1$s], least(%1$s))', v_distances);
    exit when v_result.num_iterations >= max_num_iterations or v_result.frac_reassigned < min_frac_reassigned
      or v_result.frac_reassigned = 0;
    v_before := v_centroids;
    v_moved := 0;
    v_total := 0;
    for v_row in execute format(
      'select cluster, %s as centroid, count(*) as row_count, %s as moved
       from (select v, %s as cluster, %s as before from pg_temp._ml_point offset 0) as assigned
       group by cluster',
      case when agg_centroid ~ 'normalized_avg$' then format('%1$s.l2_normalize(%1$s.avg(v))::text', v_schema)
        else format('%s.avg(v)::text', v_schema) end,
      case when v_result.num_iterations = 0 then 'count(*)'
        else 'count(*) filter (where cluster is distinct from before)' end,
      v_assigned, case when v_result.num_iterations = 0 then 'null::int' else v_next end
    ) loop
      v_centroids[v_row.cluster] := v_row.centroid;
      v_moved := v_moved + v_row.moved;
      v_total := v_total + v_row.row_count;
    end loop;
    v_next := v_assigned;
    v_result.num_iterations := v_result.num_iterations + 1;
    v_result.frac_reassigned := v_moved::float8 / v_total;
  end loop;

  drop table if exists pg_temp._ml_assigned;
  execute format(
    'create temp table _ml_assigned on commit drop as select point, array_position(distances, nearest) as cluster,
      nearest,
       (select min(distance) from unnest(distances) with ordinality as other (distance, place)
         where place <> array_position(distances, nearest)) as second
     from (select point, array[%1$s] as distances, least(%1$s) as nearest from pg_temp._ml_point offset 0) as measured',
    v_distances
  );
  select
    array_agg(centre.centroid order by cluster.place),
    array_agg(coalesce(spread.total, 0) order by cluster.place)
  into v_result.centroids, v_result.cluster_variance
  from generate_series(1, k) as cluster (place)
  left join (
    select cluster, array_agg(mean order by place) as centroid
    from (
      select cluster, place, avg(value) as mean
      from pg_temp._ml_assigned
      cross join lateral unnest(point) with ordinality as entry (value, place)
      group by cluster, place
    ) as averaged
    group by cluster
  ) as centre on centre.cluster = cluster.place
  join (
    select cluster, sum(nearest) as total
    from pg_temp._ml_assigned
    group by cluster
  ) as spread on spread.cluster = cluster.place;
  v_result.objective_fn := (select sum(nearest) from pg_temp._ml_assigned);
  return v_result;
end;
$$;

comment on function ml._kmeans_run(int, text, text, int, float8, float8, bigint) is $$
Runs k-means on the points in `_ml_point`.
The assignment of the points is left in `_ml_assigned` (point, cluster, distance to the nearest and second nearest
centroid).
$$;

grant execute on function ml._kmeans_run(int, text, text, int, float8, float8, bigint)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/unsupervised/_kmeans_run.sql

--! Included ml/registry/_divide.sql
/* The rows that are held out are determined in one place for ml.train and ml.export_training_set. */
create or replace function ml._divide(
  source_table text,
  id_col_name text,
  label text,
  features text,
  features_to_exclude text,
  predicted_at text,
  label_known_at text,
  feature_known_at text,
  group_column text,
  holdout text,
  holdout_share float8,
  seed bigint
)
returns text[]
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_split constant text := ml._temporary('_ml_train_split');
  v_id text;
  v_label text;
  v_group text;
  v_source text;
  v_part text;
  v_listed text[];
begin
  if holdout_share is null or not (holdout_share > 0 and holdout_share < 1) then
    perform common.refuse('CF001', format('holdout_share %s', coalesce(holdout_share::text, 'null')),
      'Hold out a share between 0 and 1, such as 0.25.');
  elsif seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  elsif num_nonnulls(predicted_at, holdout) = 2 then
    perform common.refuse('CF001', 'both predicted_at and holdout say what is held out', 'Give one of them.');
  elsif predicted_at is null and num_nonnulls(label_known_at, feature_known_at) > 0 then
    perform common.refuse('CF001', 'label_known_at and feature_known_at need predicted_at',
      'Give the time of each row''s prediction.');
  end if;
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  v_label := common.numeric_expression(label, v_relation, 'label');
  v_group := case when group_column is null then v_id else common.column_name(v_relation, group_column, 'group column')
    end;
  if holdout is not null and common.expression_type(holdout, v_relation, 'holdout') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('holdout "%s" is not boolean', left(holdout, 100)),
      'Give a condition that is true for the rows to hold out, such as ''course_id in (4, 7)''.');
  end if;
  v_listed := ml._tree_features(v_relation, features, features_to_exclude,
    array[id_col_name, v_id, label, group_column, predicted_at, label_known_at, feature_known_at]);
  -- Features are columns, so that a model can be asked by their names.
  v_listed := array(select common.column_name(v_relation, name, 'feature')
    from unnest(v_listed) with ordinality as feature (name, position) order by position);

  execute format('drop table if exists %s, %s cascade', ml._temporary('_ml_train_row'), v_split);
  v_source := v_relation::text;
  if predicted_at is not null then
    perform ml.time_split(source_table, v_split, predicted_at, coalesce(label_known_at, predicted_at),
      feature_known_at, null, holdout_share);
    v_source := v_split;
    v_part := 'split = ''test''';
  elsif holdout is not null then
    v_part := format('coalesce((%s), false)', holdout);
  else
    v_part := format('ml.in_holdout((%s)::text, %L::float8)', v_group, holdout_share);
  end if;
  execute format(
    'create temporary table _ml_train_row on commit drop as
     select source.*, %s as _ml_label, %s as _ml_known_at,
       case when %s then 2 when hashtextextended((%s)::text, %s) & 1048575 < 209715 then 1 else 0 end as _ml_part
     from %s as source',
    v_label, case when predicted_at is null then 'now()'
      else format('(%s)::timestamptz', coalesce(label_known_at, predicted_at)) end,
    v_part, v_group, seed + 21, v_source
  );
  execute format('drop table if exists %s', v_split);
  return v_listed;
end;
$$;

comment on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8, bigint) is $$
Writes the temporary table `_ml_train_row`:
the columns of the source, `_ml_label`, `_ml_known_at` (when the label was known) and `_ml_part` (0 to train on, 1 to
validate on, 2 held out).
Returns the quoted names of the features. Errors: see ml.train.
$$;

grant execute on function ml._divide(text, text, text, text, text, text, text, text, text, text, float8,
  bigint) to insights_admin, insights_worker;
--! EndIncluded ml/registry/_divide.sql

--! Included track/functions/make_partitions.sql
create or replace function track.make_partitions(
  since timestamptz default now(),
  until timestamptz default (now() at time zone 'UTC' + interval '3 months') at time zone 'UTC'
)
returns int
language plpgsql
volatile
-- A definer: only the owner of a table may add partitions to it.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_month timestamp;
  v_name text;
  v_made int := 0;
begin
  if make_partitions.since is null or make_partitions.until is null
    or not isfinite(make_partitions.since) or not isfinite(make_partitions.until)
    or make_partitions.since > make_partitions.until
    -- The names of partitions have four digits of the year.
    or make_partitions.since < '0001-01-01' or make_partitions.until >= '10000-01-01'
  then
    perform common.refuse(
      'CF001',
      format(
        'the period is from %s until %s',
        coalesce(make_partitions.since::text, 'null'),
        coalesce(make_partitions.until::text, 'null')
      ),
      'Give a time for since, and the same or a later one for until, in the years 1 to 9999.'
    );
  end if;
  if make_partitions.until > make_partitions.since + interval '100 years' then
    perform common.refuse(
      'CF008',
      format('from %s until %s there are more than 1200 months', make_partitions.since, make_partitions.until),
      'Give a shorter period.'
    );
  end if;

  for v_month in
    select month
    from generate_series(
      date_trunc('month', make_partitions.since at time zone 'UTC'),
      date_trunc('month', make_partitions.until at time zone 'UTC'),
      interval '1 month'
    ) as month
    where to_regclass(format('track.event_%s', to_char(month, 'YYYY_MM'))) is null
  loop
    -- A concurrent call waits here, and then finds the partition created.
    perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
    v_name := format('event_%s', to_char(v_month, 'YYYY_MM'));
    -- A query, because to_regclass reads a cache that is not updated while waiting for an advisory lock.
    if not exists (select from pg_catalog.pg_class where relnamespace = 'track'::regnamespace and relname = v_name) then
      begin
        -- Unlike "create table … partition of", attaching does not block writers of other partitions.
        execute format('create table track.%I (like track.event including defaults including constraints)', v_name);
        execute format('alter table track.%I enable row level security', v_name);
        execute format(
          'comment on table track.%I is %L',
          v_name, 'Events of ' || to_char(v_month, 'YYYY-MM') || ' (UTC).'
        );
        execute format(
          'alter table track.event attach partition track.%I for values from (%L) to (%L)',
          v_name, v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC'
        );
        v_made := v_made + 1;
      exception
        -- The snapshot of a transaction above read committed is older than the partition. Rows are stored in it all the
        -- same.
        when duplicate_table then null;
      end;
    end if;
  end loop;
  return v_made;
end;
$$;

comment on function track.make_partitions(timestamptz, timestamptz) is $$
@behavior -mutationField
Creates the missing monthly partitions of `track.event` between two times. Returns their number.
By default these are the partitions of the next three months. A worker calls it in advance; `track.ingest` calls it
for events of other months.
Errors: CF001 for an invalid period, CF008 for more than 100 years.
$$;

grant execute on function track.make_partitions(timestamptz, timestamptz) to insights_worker;
--! EndIncluded track/functions/make_partitions.sql

--! Included track/identities/lock_person.sql
create or replace function track.lock_person(identity_id bigint, occurred_at timestamptz)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id bigint;
  v_kind text;
begin
  -- One statement, because each list that is recorded calls this function. The locks are those of `lock_identities`.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    select identity.person_id, identity.kind into v_person_id, v_kind
    from track.identity
    where identity.identity_id = lock_person.identity_id
    for share;
  else
    select identity.person_id, identity.kind into v_person_id, v_kind
    from track.identity
    where identity.identity_id = lock_person.identity_id
    for key share;
  end if;
  if v_kind = 'anonymous' then
    return (track.people_of_identities(array[lock_person.identity_id], array[lock_person.occurred_at]))[1];
  end if;
  return v_person_id;
end;
$$;

comment on function track.lock_person(bigint, timestamptz) is $$
@behavior -*
Locks an identity as `track.lock_identities` does, and returns its person as `track.people_of_identities` does.
Null for an unknown identity. Raises 40001 in a transaction whose snapshot is from before a move.
$$;
--! EndIncluded track/identities/lock_person.sql

--! Included track/identities/_link_people.sql
create or replace function track._enter_browsers(browsers text[], users bigint[], linked_at timestamptz[])
returns table (browser text, user_identity_id bigint, identity_id bigint)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with pair as (
    select said.external_id, said.user_id, min(said.linked_at) as linked_at
    from unnest(_enter_browsers.browsers, _enter_browsers.users, _enter_browsers.linked_at)
      as said (external_id, user_id, linked_at)
    group by said.external_id, said.user_id
  ),

  found as materialized (
    select
      pair.external_id, pair.user_id, own.identity_id as own_id,
      row_number() over (partition by pair.external_id, own.identity_id is null order by pair.linked_at, pair.user_id)
        as place
    from pair
    left join track.identity as own
      on own.external_id = pair.external_id
      and own.kind = 'anonymous'
      and own.user_identity_id = pair.user_id
  ),

  placed as materialized (
    select
      free.external_id, free.user_id, free.identity_id is null as is_new,
      coalesce(free.identity_id, nextval('track.identity_identity_id_seq')) as identity_id
    from (
      select
        found.external_id, found.user_id,
        case
          when found.own_id is not null then found.own_id
          -- The identity of a browser without a user becomes that of its first one, unless it belongs to another person
          -- by a link to another browser.
          when found.place = 1 then (
            select browser.identity_id
            from track.identity as browser
            where browser.external_id = found.external_id
              and browser.kind = 'anonymous'
              and browser.user_identity_id is null
              and (
                (select key.kind from track.identity as key where key.identity_id = browser.person_id) <> 'user'
                or browser.person_id = (
                  select person.person_id from track.identity as person where person.identity_id = found.user_id
                )
              )
          )
        end as identity_id
      from found
    ) as free
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, user_identity_id, branch, browser)
    overriding system value
    select
      placed.identity_id, 'anonymous', placed.external_id, placed.identity_id, placed.user_id, placed.identity_id,
      (
        select other.browser
        from track.identity as other
        where other.external_id = placed.external_id and other.kind = 'anonymous'
        limit 1
      )
    from placed
    where placed.is_new
    returning track.identity.person_id
  ),

  people as (
    insert into track.person (person_id)
    select entered.person_id
    from entered
  )

  select placed.external_id, placed.user_id, placed.identity_id
  from placed;
end;
$$;

comment on function track._enter_browsers(text[], bigint[], timestamptz[]) is $$
Returns the identity of each browser and user; new ones are inserted. The caller has locked the people.
$$;

create or replace function track._move_to_users(identity_ids bigint[], linked_at timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- Browsers that several people have used.
  v_shared text[];
  v_froms bigint[];
  v_tos bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  v_shared := array(
    select distinct sibling.external_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_move_to_users.identity_ids)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  if v_shared = '{}' then
    return;
  end if;

  -- A new link changes the user from its time to the next link; the first one also before.
  with span as materialized (
    select shared.external_id, browser.*
    from unnest(v_shared) as shared (external_id)
    cross join lateral track._browser_spans(shared.external_id) as browser
  ),

  changed as materialized (
    select distinct span.external_id, span.identity_id, span.since, span.until
    from unnest(_move_to_users.identity_ids, _move_to_users.linked_at) as link (identity_id, linked_at)
    join span on span.identity_id = link.identity_id and span.linked_at = link.linked_at
  )

  select
    array_agg(other.identity_id), array_agg(changed.identity_id), array_agg(changed.since), array_agg(changed.until)
  into v_froms, v_tos, v_since, v_until
  from changed
  join track.identity as other
    on other.external_id = changed.external_id
    and other.kind = 'anonymous'
    and other.identity_id <> changed.identity_id;

  if v_froms is not null then
    perform track._move_spans(v_froms, v_tos, v_since, v_until);
  end if;
end;
$$;

comment on function track._move_to_users(bigint[], timestamptz[]) is $$
After new links of browsers to users: moves what the browsers sent to the identities of the users.
$$;

create or replace function track._link_people(
  identity_ids bigint[],
  linked_identity_ids bigint[],
  kinds text[],
  linked_at timestamptz[],
  also_locked bigint[] default '{}'
)
returns int
language plpgsql
volatile
-- A definer: it writes track.identity_link, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- For each new link, in order: its ends, kind and time. For a browser, the first end is its identity for the user.
  v_froms bigint[];
  v_tos bigint[];
  v_kinds text[];
  v_times timestamptz[];
  v_browsers text[];
  v_all bigint[];
  -- The people of the ends: first those with a user identity, each group by age. The variables below refer to a person
  -- by its position in this array.
  v_people bigint[];
  v_from_places int[];
  v_to_places int[];
  -- A disjoint-set forest: for each person another one that it is joined to, or itself. The root gives the key.
  v_joined int[];
  v_from int;
  v_to int;
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  perform track._lock_people(_link_people.identity_ids || _link_people.linked_identity_ids);

  -- Materialized, because a join could otherwise call the function again for each row of the other side.
  with given as materialized (
    select link.*
    from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
      with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
    where not track._is_linked(link.identity_id, link.linked_identity_id, link.linked_at)
  ),

  said as materialized (
    -- A browser keeps each link to a user, because another user may have identified between two of them.
    select distinct on (
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end
    )
      link.position, link.identity_id, link.linked_identity_id, link.kind, link.linked_at,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then browser.external_id end as browser
    from given as link
    join track.identity as browser on browser.identity_id = link.identity_id
    join track.identity as linked on linked.identity_id = link.linked_identity_id
    order by
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end,
      link.position
  ),

  entered as (
    select entered.*
    from (
      select array_agg(browser) as browsers, array_agg(linked_identity_id) as users, array_agg(said.linked_at) as times
      from said
      where browser is not null
    ) as pair
    cross join lateral track._enter_browsers(pair.browsers, pair.users, pair.times) as entered
  )

  select
    array_agg(coalesce(entered.identity_id, said.identity_id) order by said.position),
    array_agg(said.linked_identity_id order by said.position),
    array_agg(said.kind order by said.position),
    array_agg(said.linked_at order by said.position),
    array_agg(said.browser order by said.position)
  into v_froms, v_tos, v_kinds, v_times, v_browsers
  from said
  left join entered on entered.browser = said.browser and entered.user_identity_id = said.linked_identity_id;

  if v_froms is null then
    return 0;
  end if;

  with person as materialized (
    select
      person.person_id,
      row_number() over (order by person.is_user desc, person.person_id)::int as place
    from (
      select distinct identity.person_id, name.kind = 'user' as is_user
      from track.identity
      join track.identity as name on name.identity_id = identity.person_id
      where identity.identity_id = any (v_froms || v_tos)
    ) as person
  )

  select
    array(select person.person_id from person order by person.place),
    array_agg(from_person.place order by link.position),
    array_agg(to_person.place order by link.position)
  into v_people, v_from_places, v_to_places
  from unnest(v_froms, v_tos) with ordinality as link (from_id, to_id, position)
  join track.identity as from_identity on from_identity.identity_id = link.from_id
  join track.identity as to_identity on to_identity.identity_id = link.to_id
  join person as from_person on from_person.person_id = from_identity.person_id
  join person as to_person on to_person.person_id = to_identity.person_id;

  v_joined := array(select generate_series(1, cardinality(v_people)));
  for i in 1 .. cardinality(v_froms) loop
    v_from := v_from_places[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_to_places[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
  end loop;

  -- A person is never joined to a later one, so that one pass in order leads from each person to its root.
  for i in 1 .. cardinality(v_people) loop
    v_joined[i] := v_joined[v_joined[i]];
  end loop;

  select
    array_agg(identity.identity_id),
    array_agg(identity.person_id),
    array_agg(joined.person_id)
  into v_moved, v_old, v_new
  from unnest(v_people, v_joined) with ordinality as person (person_id, joined, place)
  join unnest(v_people) with ordinality as joined (person_id, place) on joined.place = person.joined
  join track.identity on identity.person_id = person.person_id
  where person.joined <> person.place;

  -- Blocks transactions that store data for these identities.
  v_all := track._with_siblings(v_froms || v_tos || v_moved || _link_people.also_locked);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  update track.identity
  set user_identity_id = link.to_id
  from unnest(v_froms, v_tos, v_browsers) as link (from_id, to_id, browser)
  where identity.identity_id = link.from_id
    and identity.user_identity_id is null
    and link.browser is not null;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select link.from_id, link.to_id, link.kind, link.linked_at
  from unnest(v_froms, v_tos, v_kinds, v_times) as link (from_id, to_id, kind, linked_at)
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, unlinked_at = null;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
  perform track._move_to_users(v_froms, v_times);
  return cardinality(v_froms);
end;
$$;

comment on function track._link_people(bigint[], bigint[], text[], timestamptz[], bigint[]) is $$
Links identities in the order of the lists, then moves their data once. Returns the number of new links.
A link of a browser to a user applies from its time to the next link of the browser; the first one also before. A link
is skipped when it exists, or when it was removed at a later time. The lists have the same length.
`also_locked`: further identities for which the caller stores data, and which are locked together with these.
$$;
--! EndIncluded track/identities/_link_people.sql

--! Included track/functions/_enqueue_set.sql
create or replace function track._enqueue_set(set_name text, people bigint[], except_consumer text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_consumer track.consumer;
  v_reads_set boolean;
begin
  if coalesce(cardinality(_enqueue_set.people), 0) = 0 then
    return;
  end if;
  for v_consumer in
    select consumer.*
    from track.consumer
    where 'set' = any (consumer.inputs)
      and consumer.consumer is distinct from _enqueue_set.except_consumer
    order by consumer.position
  loop
    v_reads_set := true;
    if v_consumer.reads_set is not null then
      execute format(
        'select %I.%I($1)', split_part(v_consumer.reads_set, '.', 1), split_part(v_consumer.reads_set, '.', 2)
      )
      into v_reads_set
      using _enqueue_set.set_name;
    end if;
    if coalesce(v_reads_set, true) then
      perform track.queue_people(v_consumer.consumer, _enqueue_set.people);
    end if;
  end loop;
end;
$$;

comment on function track._enqueue_set(text, bigint[], text) is $$
Queues people who joined or left a set for the consumers that read it, but for `except_consumer`.
The caller holds the lock of `track.refresh`, under which a rule that begins to read the set computes all people: one of
the two sees the other.
$$;
--! EndIncluded track/functions/_enqueue_set.sql

--! Included track/items/item_periods.sql
create or replace function track.item_periods(item_id bigint)
returns table (part_item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  -- A merged item is a further name: what it contained, the other one contained.
  with recursive placed as materialized (
    select
      former.item_id, former.parent_item_id,
      coalesce(
        lag(former.ended_at) over (partition by former.item_id order by former.ended_at), '-infinity'
      ) as started_at,
      former.ended_at
    from track.former_parent as former

    union all

    select
      item.item_id, item.parent_item_id,
      coalesce(
        (select max(former.ended_at) from track.former_parent as former where former.item_id = item.item_id),
        '-infinity'
      ),
      'infinity'
    from track.item
    where item.parent_item_id is not null
  ),

  place as materialized (
    select placed.item_id, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id,
      placed.started_at, placed.ended_at
    from placed
    join track.item as part on part.item_id = placed.item_id and part.merged_item_id is null
    join track.item as parent on parent.item_id = placed.parent_item_id
  ),

  -- Distinct, so that it ends also where former places and merges form a circle.
  within (item_id, started_at, ended_at) as (
    select item_periods.item_id, '-infinity'::timestamptz, 'infinity'::timestamptz

    union

    select place.item_id, greatest(place.started_at, within.started_at), least(place.ended_at, within.ended_at)
    from within
    join place
      on place.parent_item_id = within.item_id
      and place.started_at < within.ended_at
      and place.ended_at > within.started_at
  )

  select within.item_id, within.started_at, within.ended_at
  from within;
end;
$$;

comment on function track.item_periods(bigint) is $$
@behavior -*
Returns the items that an item contains or contained, with the periods (`ended_at` exclusive) in which it did.
An item can have several periods; the item itself has one without limits. They follow the moves that `track.sync_items`
recorded (`track.former_parent`), of the items and of what contains them; the first place of an item counts from
`-infinity`, because it is not known when the application created it. Further names of merged items have no rows.
$$;

grant execute on function track.item_periods(bigint) to insights_reader, insights_admin;
--! EndIncluded track/items/item_periods.sql

--! Included track/person_sets/counted_people.sql
create or replace function track.counted_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select signed_in.person_id
  from track.signed_in_people(counted_people.set_name, counted_people.people) as signed_in (person_id)
  -- Hashed once, where an anti-join would read the exclusions again for each person.
  where signed_in.person_id not in (
    select identity.person_id
    from track.exclusion
    join track.identity using (identity_id)
    where identity.person_id = any (counted_people.people)
  )
  and signed_in.person_id not in (
    select restricted.person_id
    from privacy.restricted(counted_people.people) as restricted (person_id)
  );
end;

comment on function track.counted_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people count.
Those who have signed in, none of whose identities is excluded, and whose data is not restricted. The members of the
set `counted`; see `track.person_set` and `track.exclusion`.
$$;
--! EndIncluded track/person_sets/counted_people.sql

--! Included track/person_sets/_members_of_set.sql
create or replace function track._members_of_set(person_set track.person_set, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function constant text := coalesce((person_set).members, 'track.listed_people');
  v_members bigint[];
begin
  execute format(
    'select array(select %I.%I($1, $2))', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
  )
  into v_members
  using (person_set).name, people;

  -- Person 0 (anonymized events) is in no set.
  return query
  select person.person_id
  from track.person
  where person.person_id = any (v_members)
    and person.person_id <> 0;
end;
$$;

comment on function track._members_of_set(track.person_set, bigint[]) is $$
Returns which of the given people belong to a set as of now.
$$;
--! EndIncluded track/person_sets/_members_of_set.sql

--! Included track/person_sets/_move_people.sql
create or replace function track._move_people(person_set track.person_set, members bigint[], others bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_name constant text := (person_set).name;
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_joined bigint[];
  v_departed bigint[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  with entry as (
    select entry.person_id, true as is_member from unnest(_move_people.members) as entry (person_id)
    union all
    select entry.person_id, false from unnest(_move_people.others) as entry (person_id)
  ),

  stored as materialized (
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_name
      and stored.block = any (array(select distinct (entry.person_id / 4096)::int from entry))
  ),

  moved as materialized (
    select distinct entry.person_id, (entry.person_id / 4096)::int as block, entry.is_member
    from entry
    left join stored on stored.block = entry.person_id / 4096
    -- Person 0 (anonymized events) is in no set.
    where entry.person_id <> 0
      and (coalesce(get_bit(stored.people, (entry.person_id % 4096)::int), 0) <> 0) <> entry.is_member
  ),

  fresh as (
    select
      part.block,
      coalesce(stored.people, v_no_people) & ~coalesce(part.departed, v_no_people) | coalesce(part.joined, v_no_people)
        as people
    from (
      select
        moved.block,
        bit_or(track.person_bit(moved.person_id)) filter (where moved.is_member) as joined,
        bit_or(track.person_bit(moved.person_id)) filter (where not moved.is_member) as departed
      from moved
      group by moved.block
    ) as part
    left join stored using (block)
  )

  select
    (select array_agg(fresh.block order by fresh.block) from fresh),
    (select array_agg(fresh.people order by fresh.block) from fresh),
    array(select moved.person_id from moved where moved.is_member),
    array(select moved.person_id from moved where not moved.is_member)
  into v_blocks, v_people, v_joined, v_departed;

  if v_blocks is null then
    return;
  end if;
  perform track._move_sums(v_name, v_joined, v_departed);
  -- Sets that are computed from identities change with another input.
  if (person_set).members is null then
    perform track._enqueue_set(v_name, v_joined || v_departed);
  elsif (person_set).consumer <> 'track.person_set' then
    perform track._enqueue_set(v_name, v_joined || v_departed, (person_set).consumer);
  end if;

  delete from track.person_set_block
  using unnest(v_blocks, v_people) as fresh (block, people)
  where person_set_block.name = v_name
    and person_set_block.block = fresh.block
    and bit_count(fresh.people) = 0;
  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from unnest(v_blocks, v_people) as fresh (block, people)
  where bit_count(fresh.people) > 0
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._move_people(track.person_set, bigint[], bigint[]) is $$
Stores that the `members` belong to a set, and that the `others` do not. The bits of all other people stay as they are.
The sums that contain the people of the set follow (`track._move_sums`), as do the consumers that read the set.
$$;
--! EndIncluded track/person_sets/_move_people.sql

--! Included track/person_sets/move_people.sql
create or replace function track.move_people(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._move_people(
    track._find_person_set(move_people.set_name), move_people.joined, move_people.departed
  );
end;
$$;

comment on function track.move_people(text, bigint[], bigint[]) is $$
@behavior -*
Stores which people joined and left a computed set, for a room whose own refresh has found them.
It gives what `track.recompute_person_sets` would compute with the function of the set, which it does not call. For the
owner. Errors: CF002 for an unknown set (names the nearest).
$$;
--! EndIncluded track/person_sets/move_people.sql

--! Included track/person_sets/recompute_person_sets.sql
create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set track.person_set;
  v_members bigint[];
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_set in
    select person_set.*
    from track.person_set
    where person_set.consumer = recompute_person_sets.consumer
      and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name)
    order by person_set.name
  loop
    v_members := array(select track._members_of_set(v_set, recompute_person_sets.people));
    perform track._move_people(
      v_set, v_members, array(select unnest(recompute_person_sets.people) except select unnest(v_members))
    );
  end loop;
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
--! EndIncluded track/person_sets/recompute_person_sets.sql

--! Included track/person_sets/undefine_person_set.sql
create or replace function track.undefine_person_set(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(undefine_person_set.name);
begin
  -- The locks of track._list_people and of track.refresh, in their order.
  perform pg_advisory_xact_lock(hashtext(v_set.consumer));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._enqueue_set(v_set.name, array(select track.person_set_members(v_set.name)));
  delete from track.person_set where person_set.name = v_set.name;
end;
$$;

comment on function track.undefine_person_set(text) is $$
@behavior -*
Removes a set of people, whether its members are computed or listed: the reverse of `track.define_person_set`.
For the owner. Errors: CF002 for an unknown set.
$$;
--! EndIncluded track/person_sets/undefine_person_set.sql

--! Included track/functions/sync_items.sql
create or replace function track._store_items(items jsonb, newest_known bigint)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item, which no role may write.
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
  v_renamed bigint[];
  v_placed bigint[];
  v_parents bigint[];
  v_result track.sync_result;
begin
  select item.external_id, item.kind, item.parent into v_bad
  from jsonb_to_recordset(items) as item (external_id text, kind text, parent text, attributes jsonb)
  where coalesce(length(item.external_id), 0) not between 1 and 512
    or coalesce(item.kind, '') !~ '^[a-z][a-z0-9_]{0,62}$'
    or item.parent = item.external_id
    or length(item.parent) not between 1 and 512
    or jsonb_typeof(item.attributes) <> 'object'
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.external_id, 100),
        left(v_bad.kind, 100),
        left(v_bad.parent, 100)
      ),
      'An item needs an external_id of 1 to 512 characters and a kind in lower case, such as course. The parent is '
        || 'null or another item; attributes are null or a JSON object.'
    );
  end if;

  with given as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  )
  insert into track.item (external_id)
  select external_id
  from given
  where external_id is not null
    and not exists (select from track.item where item.external_id = given.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(items) as given (external_id text)
    join track.item as known on known.external_id = given.external_id
  ))
  order by item.item_id
  for no key update;

  -- A parent that a message stated was not a place in the structure of the application.
  select array_agg(placed.item_id), array_agg(placed.parent_item_id) into v_placed, v_parents
  from (
    select distinct item.item_id, item.parent_item_id
    from jsonb_to_recordset(items) as given (external_id text, parent text)
    join track.item as known on known.external_id = given.external_id
    join track.item on item.item_id = coalesce(known.merged_item_id, known.item_id)
    where given.parent is not null
      and item.parent_item_id is not null
      and not exists (
        select
        from track.item_source
        where item_source.item_id in (known.item_id, item.item_id)
          and item_source.attribute = 'parent'
      )
  ) as placed;

  -- The application takes the place of the messages that named or described the items.
  delete from track.item_source
  using jsonb_to_recordset(items) as given (external_id text, title text, parent text, url text), track.item
  where item_source.item_id = item.item_id
    and (
      item.external_id = given.external_id
      and (
        item_source.attribute in ('name', 'kind')
        or item_source.attribute = 'title' and given.title is not null
        or item_source.attribute = 'url' and given.url is not null
        or item_source.attribute = 'parent' and given.parent is not null
      )
      or item.external_id = given.parent and item_source.attribute = 'name'
    );

  v_renamed := track._describe_names(
    array(
      select row(
        item.item_id, given.kind, given.title, parent.item_id, given.url, given.language, given.attributes,
        given.available_from, given.available_until, given.due_at
      )::track.named_item
      from jsonb_to_recordset(items) as given (
        external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
        available_from timestamptz, available_until timestamptz, due_at timestamptz
      )
      join track.item on item.external_id = given.external_id
      left join track.item as parent on parent.external_id = given.parent
    ),
    true
  );

  with given as materialized (
    select item.*, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
  ),
  changed as (
    update track.item
    set
      kind = given.kind,
      title = coalesce(given.title, item.title),
      parent_item_id = coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id),
      url = coalesce(given.url, item.url),
      language = coalesce(given.language, item.language),
      attributes = coalesce(given.attributes, item.attributes),
      available_from = coalesce(given.available_from, item.available_from),
      available_until = coalesce(given.available_until, item.available_until),
      due_at = coalesce(given.due_at, item.due_at),
      updated_at = now()
    from given
    where item.external_id = given.external_id
      -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
      and num_nulls(item.merged_item_id) > 0
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
      and (
        item.kind <> given.kind
        or item.title is distinct from coalesce(given.title, item.title)
        or item.parent_item_id is distinct from
          coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id)
        or item.url is distinct from coalesce(given.url, item.url)
        or item.language is distinct from coalesce(given.language, item.language)
        or item.attributes is distinct from coalesce(given.attributes, item.attributes)
        or item.available_from is distinct from coalesce(given.available_from, item.available_from)
        or item.available_until is distinct from coalesce(given.available_until, item.available_until)
        or item.due_at is distinct from coalesce(given.due_at, item.due_at)
      )
    returning item.item_id
  ),
  written as (
    select changed.item_id from changed
    union
    select renamed.item_id from unnest(v_renamed) as renamed (item_id)
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is null)
  into v_result
  from given
  join track.item on item.external_id = given.external_id
  left join written on written.item_id = item.item_id;
  -- Of two moves in a transaction, the first place is that of before.
  insert into track.former_parent (item_id, parent_item_id, ended_at)
  select placed.item_id, placed.parent_item_id, now()
  from unnest(v_placed, v_parents) as placed (item_id, parent_item_id)
  join track.item on item.item_id = placed.item_id
  where item.parent_item_id is distinct from placed.parent_item_id
  on conflict (item_id, ended_at) do nothing;
  return v_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an item is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item.');
end;
$$;

comment on function track._store_items(jsonb, bigint) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}`, as described for `track.sync_items`.
Items with keys up to `newest_known` are counted as existing before the call.
$$;

grant execute on function track._store_items(jsonb, bigint) to insights_admin, insights_worker;

create or replace function track.sync_items(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_former bigint;
  v_twice text;
  v_items jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['external_id', 'kind'], array[
    'title', 'parent', 'url', 'language', 'attributes', 'available_from', 'available_until', 'due_at'
  ]);

  execute format('select external_id from %s group by external_id having count(*) > 1 order by 1 limit 1', source)
  into v_twice;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s names item "%s" more than once', source, left(v_twice, 100)),
      'Give a view with one row for each external_id.');
  end if;

  v_former := (select coalesce(max(item_id), 0) from track.item);

  -- The query runs as the caller, and passes its rows to a definer that takes values only. Each call passes at most
  -- 10,000 rows, because the size of a jsonb value is limited.
  for v_items in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select %s, (row_number() over () - 1) / 10000 as part
        from %s
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_items(v_items, v_former);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_items(regclass) is $$
Reads items from a table or view of the application, with the privileges of the caller.
Required columns: `external_id` and `kind`; optional: `title`, `parent` (external id), `url`, `language`, `attributes`
(jsonb), `available_from`, `available_until` and `due_at`.
Values of the application replace those of events; a missing column or a null keeps the stored value. The call can be
repeated: unchanged items are not written.
Errors: CF002 for a missing column, CF001 for an invalid value or a duplicate item, CF010 for a cycle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_items.sql

-- from track/policies.sql
grant select on track.former_parent to insights_reader, insights_admin;
drop policy if exists all_rows on track.former_parent;
create policy all_rows on track.former_parent for select using (true);

-- from track/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'track', 'setting',
      '{path_rule,kept_parameters,allowed_properties,allowed_traits,personal_data,contact_traits}',
      'Settings of the installation.'
    ),
    ('track', 'setting', '{agent_properties,bots}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'found_data', '{kind}', 'Words of a fixed list.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    (
      'track', 'event_type', '{purpose,description,allowed_properties}',
      'Settings of an event type, by administrators.'
    ),
    ('track', 'declared_property', '{property}', 'Name of a property, declared by an administrator.'),
    ('track', 'rollup_check', '{rollup}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'rollup_check', '{example}',
      'Surrogate keys of a sum that was written again, kept for 10,000 checks.'
    ),
    ('track', 'name_log', '{log_id}', 'Random keys.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer', '{consumer,refresh,inputs,description,reads_set}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'person_set_member', '{name}', 'Name of the set.'),
    ('track', 'person_set_block', '{name}', 'Name of the set.'),
    (
      'track', 'distribution', '{schema_name,table_name,column_name,colocated_with,description}',
      'Names of functions, tables or tasks of the installation.'
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

--! Included experiment/statistics/_answer.sql
create or replace function experiment._answer(effect experiment.effect, options experiment.comparison, type text)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_scale float8 := 1;
  v_effect experiment.effect := effect;
  v_tested experiment.effect;
  v_width float8;
  v_answer jsonb;
begin
  if options.difference = 'scaled' then
    if type not in ('proportion', 'mean') then
      perform common.refuse('CF001', format('difference is scaled, and the type %s', type),
        'The sum over all users is scaled: of a proportion or a mean.');
    end if;
    v_scale := options.users / options.traffic / options.days;
  end if;
  if options.test = 'bayesian' then
    v_effect := experiment._posterior(effect, options);
  end if;
  v_tested := v_effect;
  v_tested.effect := v_effect.effect - coalesce(options.margin, 0) * case
    when options.difference = 'relative' then 1
    else abs(effect.control_mean)
  end;
  if options.test = 'bayesian' then
    v_width := case
      when options.side = 'both' then -ml.normal_quantile(options.alpha / 2)
      else -ml.normal_quantile(options.alpha)
    end * v_effect.stddev;
    v_answer := jsonb_build_object(
      'chance_to_win',
      ml.normal_cdf(v_tested.effect / v_tested.stddev * case when options.is_inverse then -1 else 1 end),
      'risk', experiment._risk(v_effect.effect, v_effect.stddev, options.is_inverse)
    );
  elsif options.test = 'sequential' then
    v_width := experiment._sequential_width(
      effect.stddev, effect.users, options.alpha, options.alpha, options.tuning, options.side = 'both'
    );
    v_answer := jsonb_build_object('p', experiment._sequential_p(v_tested, options));
  else
    v_width := -experiment._t_quantile(
      case when options.side = 'both' then options.alpha / 2 else options.alpha end, effect.degrees
    ) * effect.stddev;
    v_answer := jsonb_build_object('p', case options.side
      when 'both' then 2 * ml.students_t_cdf(-abs(v_tested.effect / v_tested.stddev), effect.degrees)
      when 'greater' then ml.students_t_cdf(-v_tested.effect / v_tested.stddev, effect.degrees)
      else ml.students_t_cdf(v_tested.effect / v_tested.stddev, effect.degrees)
    end);
  end if;
  return jsonb_build_object(
    'effect', v_effect.effect * v_scale,
    'stddev', v_effect.stddev * v_scale,
    'low', case when options.side <> 'less' then (v_effect.effect - v_width) * v_scale end,
    'high', case when options.side <> 'greater' then (v_effect.effect + v_width) * v_scale end
  ) || v_answer;
end;
$$;

comment on function experiment._answer(experiment.effect, experiment.comparison, text) is $$
Returns the interval and the p-value, or the chance to win and the risk, of a difference.
$$;

grant execute on function experiment._answer(experiment.effect, experiment.comparison, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_answer.sql

--! Included experiment/statistics/_comparison.sql
create or replace function experiment._comparison(options jsonb, further text[] default '{}')
returns experiment.comparison
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options constant jsonb := case when coalesce(options, 'null') = 'null' then '{}' else options end;
  v_prior jsonb;
  v_result experiment.comparison;
begin
  perform experiment._refuse_unknown(
    v_options, 'options',
    array['test', 'side', 'difference', 'alpha', 'tuning', 'prior', 'prior_type', 'inverse', 'traffic', 'days', 'users']
    || further
  );
  v_result.test := experiment._word_option(v_options, 'test', 'welch', array['welch', 'sequential', 'bayesian']);
  v_result.side := experiment._word_option(v_options, 'side', 'both', array['both', 'greater', 'less']);
  v_result.difference := experiment._word_option(
    v_options, 'difference', 'relative', array['relative', 'absolute', 'scaled']
  );
  v_result.alpha := experiment._number_option(v_options, 'alpha', 0.05);
  v_result.tuning := experiment._number_option(v_options, 'tuning', 5000);
  v_result.prior_type := experiment._word_option(v_options, 'prior_type', 'relative', array['relative', 'absolute']);
  v_result.is_inverse := experiment._boolean_option(v_options, 'inverse', false);
  v_result.traffic := experiment._number_option(v_options, 'traffic', 1);
  v_result.days := experiment._number_option(v_options, 'days', 1);
  v_result.users := experiment._number_option(v_options, 'users', null::float8);
  v_result.margin := experiment._number_option(v_options, 'margin', null::float8);
  v_result.is_pooled := experiment._boolean_option(v_options, 'pool', false);
  v_prior := case when coalesce(v_options -> 'prior', 'null') = 'null' then '{}' else v_options -> 'prior' end;
  perform experiment._refuse_unknown(v_prior, 'prior', array['mean', 'variance', 'proper']);
  v_result.prior_mean := experiment._number_option(v_prior, 'mean', 0);
  v_result.prior_variance := experiment._number_option(v_prior, 'variance', 1);
  v_result.prior_is_proper := experiment._boolean_option(v_prior, 'proper', false);

  if not (v_result.alpha >= 1e-15 and v_result.alpha < 1) then
    perform common.refuse('CF001', format('alpha is %s', v_result.alpha), 'Give a number below 1, such as 0.05.');
  elsif v_result.test = 'sequential' and v_result.side <> 'both' and v_result.alpha >= 0.5 then
    perform common.refuse('CF001', format('alpha is %s', v_result.alpha),
      'A sequential test of one side has an alpha below 0.5.');
  elsif not v_result.tuning > 0 then
    perform common.refuse('CF001', format('tuning is %s', v_result.tuning), 'Give a number of users, such as 5000.');
  elsif v_result.prior_is_proper and not v_result.prior_variance > 0 then
    perform common.refuse('CF001', format('variance of prior is %s', v_result.prior_variance),
      'Give a number above 0.');
  elsif v_result.margin not between -1 and 1 then
    perform common.refuse('CF001', format('margin is %s', v_result.margin),
      'Give the difference that is accepted, as a share of the control from -1 to 1, such as -0.02.');
  elsif v_result.difference = 'scaled' then
    if not (v_result.traffic > 0 and v_result.traffic <= 1) then
      perform common.refuse('CF001', format('traffic is %s', v_result.traffic),
        'Give the share of the traffic in the experiment, above 0 and at most 1.');
    elsif not v_result.days > 0 then
      perform common.refuse('CF001', format('days is %s', v_result.days),
        'Give the length of the experiment in days, above 0.');
    elsif not coalesce(v_result.users > 0, false) then
      perform common.refuse('CF001', format('users is %s', coalesce(v_result.users::text, 'missing')),
        'A scaled difference needs the number of users of all arms.');
    end if;
  end if;
  return v_result;
end;
$$;

comment on function experiment._comparison(jsonb, text[]) is $$
Returns the options of a comparison, checked and with defaults. `further` names options that only the caller reads.
$$;

grant execute on function experiment._comparison(jsonb, text[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_comparison.sql

--! Included experiment/statistics/_drawn.sql
create or replace function experiment._drawn(users float8[], weights float8[])
returns experiment.drawn
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := array_length(weights, 2);
  v_people float8;
  v_total float8;
  v_share float8[];
  -- Variables of their own: each assignment to an array in a composite would copy it.
  v_users float8[] := array_fill(0::float8, array[v_count]);
  v_expected float8[] := v_users;
  v_covariances float8[] := array_fill(0::float8, array[v_count * v_count]);
begin
  for p in 1..array_length(weights, 1) loop
    v_people := 0;
    v_total := 0;
    for i in 1..v_count loop
      -- A variation without weight, or whose users are not known, is not tested.
      v_share[i] := case when users[p][i] is null then 0 else weights[p][i] end;
      if v_share[i] > 0 then
        v_people := v_people + users[p][i];
        v_total := v_total + v_share[i];
        v_users[i] := v_users[i] + users[p][i];
      end if;
    end loop;
    continue when v_people = 0;
    for i in 1..v_count loop
      v_share[i] := v_share[i] / v_total;
      v_expected[i] := v_expected[i] + v_people * v_share[i];
    end loop;
    for i in 1..v_count loop
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j]
          + v_people * v_share[i] * (case when i = j then 1 else 0 end - v_share[j]);
      end loop;
    end loop;
  end loop;
  return row(v_users, v_expected, v_covariances)::experiment.drawn;
end;
$$;

comment on function experiment._drawn(float8[], float8[]) is $$
@behavior -*
Returns users and their expectation, added up over periods: a row of users and weights each.
In each period the users are drawn from a multinomial distribution with its weights. Weights that follow from outcomes
of earlier users, as those of a bandit, change nothing: the differences to the expectation are a martingale.
$$;

grant execute on function experiment._drawn(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_drawn.sql

--! Included experiment/statistics/_effect.sql
create or replace function experiment._effect(
  arms experiment.statistic[],
  is_relative boolean,
  margin float8 default null
)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arms constant experiment.statistic[] := case
    when margin is null then arms
    else experiment._comparable(arms)
  end;
  v_control experiment.estimate := experiment._estimate(v_arms[1]);
  v_treatment experiment.estimate := experiment._estimate(v_arms[2]);
  v_result experiment.effect;
  v_weights float8[] := v_control.gradient;
  v_scale float8 := 1;
  v_ratio float8 := 1;
  v_control_variance float8;
  v_variance float8;
begin
  if margin is not null and not v_arms[1].is_adjusted
    and (v_arms[1].type in ('mean', 'proportion') or 0 <> all (array[v_arms[1].sums[2], v_arms[2].sums[2]]))
  then
    -- The outcomes of a few people may be equal, such as none in the control, although those of all people vary.
    v_control.variance := coalesce(nullif(v_control.variance, 0), v_treatment.variance);
    v_treatment.variance := coalesce(nullif(v_treatment.variance, 0), v_control.variance);
  end if;
  perform experiment._check_variance(v_arms[1], v_control, 'control');
  perform experiment._check_variance(v_arms[2], v_treatment, 'treatment');
  if (v_control.mean = 0 or v_control.unadjusted_mean = 0) and margin is null
    or v_control.unadjusted_mean = 0 and is_relative
  then
    perform common.refuse('CF007', 'the mean of control is 0', 'A difference is compared with the mean of control.');
  end if;
  v_result.effect := experiment._difference(v_arms);
  if is_relative or margin is not null then
    -- the control's variables of the time after the exposure are in the divisor too, or are multiplied with the margin
    v_ratio := case
      when margin is not null then 1 + margin * sign(v_control.unadjusted_mean)
      when v_arms[1].is_adjusted and v_arms[1].type <> 'ratio'
        then v_treatment.unadjusted_mean / v_control.unadjusted_mean
      else 1 + v_result.effect / v_control.unadjusted_mean
    end;
    for i in 1..cardinality(v_weights) / 2 loop
      v_weights[i] := v_weights[i] * v_ratio;
    end loop;
  end if;
  if is_relative then
    v_scale := abs(v_control.unadjusted_mean);
    v_result.effect := v_result.effect / v_scale;
  end if;
  v_control_variance := case
    when v_arms[1].is_adjusted then experiment._bilinear(v_control.covariances, v_weights, v_weights)
    else v_control.variance * v_ratio * v_ratio
  end;
  v_variance := v_treatment.variance / v_treatment.n + v_control_variance / v_control.n;
  if not v_variance > 0 then
    perform common.refuse('CF007', 'the variance of the difference is 0', 'Wait for outcomes that differ.');
  end if;
  v_result.stddev := sqrt(v_variance) / v_scale;
  if margin is not null then
    v_control.variance := v_control_variance;
  end if;
  v_result.degrees := experiment._degrees(v_control, v_treatment);
  v_result.users := v_control.n + v_treatment.n;
  v_result.control_mean := v_control.unadjusted_mean;
  v_result.is_post_stratified := false;
  return v_result;
end;
$$;

comment on function experiment._effect(experiment.statistic[], boolean, float8) is $$
Returns the difference of treatment and control, the second and first statistic, by the delta method.
With a margin, its standard error is that of treatment - (1 + margin) * control, which is linear: no control is too near
to 0 for it. Outcomes of an arm that are all equal then have the variance of the other arm.
CF004 or CF007 where there is none: no users, no variance, or a control of mean 0.
$$;

grant execute on function experiment._effect(experiment.statistic[], boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._comparable(arms experiment.statistic[])
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if arms[1].is_adjusted
    and not (experiment._is_viable(arms[1]) and experiment._is_viable(arms[2]))
  then
    return array[experiment._unadjusted(arms[1]), experiment._unadjusted(arms[2])];
  end if;
  return arms;
end;
$$;

comment on function experiment._comparable(experiment.statistic[]) is $$
Returns arms with the time before the exposure only if the outcomes of both vary: nothing is explained otherwise.
$$;

grant execute on function experiment._comparable(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_effect.sql

--! Included experiment/statistics/_mismatch_p.sql
create or replace function experiment._mismatch_p(drawn experiment.drawn)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality((drawn).users);
  v_matrix float8[] := (drawn).covariances;
  v_rest float8[];
  v_open int[] := array(select generate_series(1, v_count));
  v_least float8;
  v_pivot int;
  v_variance float8;
  v_share float8;
  i int;
  j int;
  v_rank int := 0;
  v_statistic float8 := 0;
begin
  for i in 1..v_count loop
    v_rest[i] := (drawn).users[i] - (drawn).expected[i];
    v_least := greatest(v_least, 1e-9 * v_matrix[(i - 1) * v_count + i]);
  end loop;
  -- d' C⁻ d by elimination, the largest variance first. The numbers of a period add up, so that the last one is 0.
  loop
    select place into v_pivot
    from unnest(v_open) as place
    order by v_matrix[(place - 1) * v_count + place] desc, place
    limit 1;
    v_variance := v_matrix[(v_pivot - 1) * v_count + v_pivot];
    exit when not coalesce(v_variance > v_least, false);
    v_rank := v_rank + 1;
    v_statistic := v_statistic + v_rest[v_pivot] / v_variance * v_rest[v_pivot];
    v_open := array_remove(v_open, v_pivot);
    foreach i in array v_open loop
      v_share := v_matrix[(i - 1) * v_count + v_pivot] / v_variance;
      v_rest[i] := v_rest[i] - v_share * v_rest[v_pivot];
      foreach j in array v_open loop
        v_matrix[(i - 1) * v_count + j] := v_matrix[(i - 1) * v_count + j]
          - v_share * v_matrix[(v_pivot - 1) * v_count + j];
      end loop;
    end loop;
  end loop;
  if v_rank = 0 then
    return 1;
  end if;
  return experiment._chi_squared_tail(v_statistic, v_rank);
end;
$$;

comment on function experiment._mismatch_p(experiment.drawn) is $$
@behavior -*
Returns the p-value of numbers of people that differ from the expected ones by chance; 1 if nothing could differ.
Chi-squared with the covariances of the numbers and their rank as degrees of freedom: one less than the variations.
$$;

grant execute on function experiment._mismatch_p(experiment.drawn)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_mismatch_p.sql

--! Included experiment/statistics/_post_stratified.sql
create or replace function experiment._post_stratified(
  pooled experiment.effect,
  controls experiment.statistic[],
  treatments experiment.statistic[],
  is_relative boolean,
  margin float8 default null
)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pairs experiment.statistic[];
  v_cell experiment.cell;
  v_cells experiment.cell[] := '{}';
  v_count int;
  v_means float8[];
  v_covariances float8[];
  v_share float8;
  v_variance float8;
  v_result experiment.effect := pooled;
begin
  v_pairs := experiment._viable_cells(controls, treatments);
  if cardinality(v_pairs) = 2 then
    return pooled;
  end if;
  for s in 1..cardinality(v_pairs) / 2 loop
    v_cell := experiment._cell(v_pairs[2 * s - 1 : 2 * s]);
    if v_cell is null then
      return pooled;
    end if;
    v_cells := v_cells || v_cell;
  end loop;

  -- means and covariances of (control, effect), weighted with multinomial numbers of users
  v_count := cardinality(v_cells[1].means);
  v_means := array_fill(0::float8, array[v_count]);
  v_covariances := array_fill(0::float8, array[v_count * v_count]);
  foreach v_cell in array v_cells loop
    v_share := v_cell.users / pooled.users;
    for i in 1..v_count loop
      v_means[i] := v_means[i] + v_share * v_cell.means[i];
    end loop;
  end loop;
  foreach v_cell in array v_cells loop
    v_share := v_cell.users / pooled.users;
    for i in 1..v_count loop
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j] + v_share / pooled.users * (
          (v_cell.means[i] - v_means[i]) * (v_cell.means[j] - v_means[j])
          + v_cell.covariances[(i - 1) * v_count + j]
        );
      end loop;
    end loop;
  end loop;
  v_result := experiment._weighted_effect(pooled, v_means, v_covariances, is_relative, margin);
  return case when v_result.stddev > 0 then v_result else pooled end;
end;
$$;

comment on function experiment._post_stratified(
  experiment.effect, experiment.statistic[], experiment.statistic[], boolean, float8
) is $$
Returns the difference weighted by the users of the strata, or the pooled one where too few strata have a variance.
$$;

grant execute on function experiment._post_stratified(
  experiment.effect, experiment.statistic[], experiment.statistic[], boolean, float8
) to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._weighted_effect(
  pooled experiment.effect,
  means float8[],
  covariances float8[],
  is_relative boolean,
  margin float8 default null
)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.effect := pooled;
  v_control float8;
  v_treatment float8;
  v_gradient float8[];
  v_share float8;
begin
  v_result.stddev := 0;
  if cardinality(means) = 2 then
    v_control := means[1];
    v_result.effect := means[2];
    v_gradient := array[0, 1];
  elsif means[3] <> 0 and means[3] + means[4] <> 0 then
    v_control := means[1] / means[3];
    v_treatment := (means[1] + means[2]) / (means[3] + means[4]);
    v_result.effect := (means[2] - v_control * means[4]) / (means[3] + means[4]);
    v_gradient := array[
      1 / (means[3] + means[4]) - 1 / means[3],
      1 / (means[3] + means[4]),
      v_control / means[3] - v_treatment / (means[3] + means[4]),
      -v_treatment / (means[3] + means[4])
    ];
  end if;
  if v_control is null or v_control = 0 then
    return v_result;
  end if;
  if is_relative or margin is not null then
    -- the difference as a share of the control: the estimated one, or that of the hypothesis
    v_share := coalesce(margin * sign(v_control), v_result.effect / v_control);
    v_gradient[1] := v_gradient[1] - v_share / case when cardinality(means) = 2 then 1 else means[3] end;
    if cardinality(means) = 4 then
      v_gradient[3] := v_gradient[3] + v_share * v_control / means[3];
    end if;
  end if;
  if margin is not null then
    v_result.control_mean := v_control;
  end if;
  if is_relative then
    v_result.effect := v_result.effect / abs(v_control);
  end if;
  v_result.stddev := sqrt(greatest(experiment._bilinear(covariances, v_gradient, v_gradient), 0))
    / case when is_relative then abs(v_control) else 1 end;
  v_result.is_post_stratified := true;
  return v_result;
end;
$$;

comment on function experiment._weighted_effect(experiment.effect, float8[], float8[], boolean, float8) is $$
Returns the difference from weighted means by the delta method; its `stddev` is 0 where there is none.
The means are those of control and difference; of a ratio, of the numerator and then of the denominator.
$$;

grant execute on function experiment._weighted_effect(experiment.effect, float8[], float8[], boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._viable_cells(controls experiment.statistic[], treatments experiment.statistic[])
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_position int;
  v_cells experiment.statistic[];
begin
  -- Strata of the same size are ordered by their sums, so that their order does not change the result.
  for v_position in
    select position
    from generate_subscripts(controls, 1) as position
    order by
      (controls[position]).n + (treatments[position]).n desc,
      (controls[position]).n desc,
      (controls[position]).sums,
      (treatments[position]).sums,
      (controls[position]).products,
      (treatments[position]).products
  loop
    if v_cells is null then
      v_cells := array[controls[v_position], treatments[v_position]];
    elsif experiment._is_viable(controls[v_position]) and experiment._is_viable(treatments[v_position])
      and (
        not (controls[v_position]).is_adjusted or (controls[v_position]).type <> 'ratio'
        or (controls[v_position]).n + (treatments[v_position]).n > 6
      ) then
      v_cells := v_cells || array[controls[v_position], treatments[v_position]];
    else
      v_cells[1] := experiment._sum(array[v_cells[1], controls[v_position]]);
      v_cells[2] := experiment._sum(array[v_cells[2], treatments[v_position]]);
    end if;
  end loop;
  return v_cells;
end;
$$;

comment on function experiment._viable_cells(experiment.statistic[], experiment.statistic[]) is $$
Returns control and treatment of each stratum in turn, the largest first, to which those without variance are added.
$$;

grant execute on function experiment._viable_cells(experiment.statistic[], experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._is_viable(statistic experiment.statistic)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (experiment._estimate(experiment._unadjusted(statistic))).variance > 0;
end;
$$;

comment on function experiment._is_viable(experiment.statistic) is $$
Returns whether an arm has a variance, without adjustment.
$$;

grant execute on function experiment._is_viable(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/_post_stratified.sql

--! Included experiment/statistics/compare.sql
create or replace function experiment.compare(control jsonb, treatment jsonb, options jsonb default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_options constant experiment.comparison := experiment._comparison(options, array['margin']);
  v_arms constant experiment.statistic[] := experiment._pair(control, treatment, 'control', 'treatment');
begin
  return experiment._answer(
    experiment._effect(experiment._with_theta(v_arms), v_options.difference = 'relative', v_options.margin), v_options,
    v_arms[1].type
  );
end;
$$;

comment on function experiment.compare(jsonb, jsonb, jsonb) is $$
Returns the difference of a treatment to its control with an interval and a p-value, from sufficient statistics.
A statistic is `{"type": "proportion", "n", "sum"}`, `{"type": "mean", "n", "sum", "sum_squares"}`, `{"type": "ratio",
"n", "numerator": {"sum", "sum_squares"}, "denominator": {…}, "sum_products"}` or `{"type": "quantile", "n", "n_star",
"nu", "quantile_hat", "quantile_lower", "quantile_upper"}`, clustered with `n_clusters`, `main_sum`, `main_sum_squares`,
`denominator_sum`, `denominator_sum_squares` and `main_denominator_sum_product`. With the time before the exposure
(CUPED): `before` and `sum_products_before`, or of a ratio `numerator_before`, `denominator_before` and `products`.
Options: `test` (`welch`, `sequential`, `bayesian`), `side` (`both`, `greater`, `less`), `difference` (`relative`,
`absolute`, `scaled` with `traffic`, `days`, `users`), `alpha`, `tuning`, `prior` (`mean`, `variance`, `proper`: flat
unless true), `prior_type`, `inverse`, `margin`.
With a `margin` (non-inferiority), `p` is that of the hypothesis that the difference is `margin` * |control|, such as
-0.02 for 2 % less, and `chance_to_win` the probability that it is above (`inverse`: below). It is tested on treatment
- (1 + margin) * control, which is linear, so that a control near 0 makes it no less certain; the interval has the
standard error of this test, and excludes the margin exactly when `p` is below `alpha`. An arm whose outcomes are all
equal then has the variance of the other arm.
The answer has `effect`, `stddev`, `low`, `high` (null: no bound) and `p`, or `chance_to_win` and `risk` (expected loss
of keeping the control, of choosing the treatment). The numbers are those of gbstats 0.8.0; see the README.
CF004 for too few users, CF007 without variance or for a control of mean 0.
$$;

grant execute on function experiment.compare(jsonb, jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/compare.sql

--! Included experiment/statistics/compare_strata.sql
create or replace function experiment.compare_strata(strata jsonb, options jsonb default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_options constant experiment.comparison := experiment._comparison(options, array['pool', 'margin']);
  v_is_relative constant boolean := v_options.difference = 'relative';
  v_controls experiment.statistic[] := '{}';
  v_treatments experiment.statistic[] := '{}';
  v_arms experiment.statistic[];
  v_effect experiment.effect;
begin
  if strata is null or jsonb_typeof(strata) <> 'array' or jsonb_array_length(strata) not between 1 and 1000 then
    perform common.refuse('CF001', format('strata is %s', coalesce(left(strata::text, 100), 'null')),
      'Give an array of 1 to 1000 pairs: [[control, treatment], …].');
  end if;
  for s in 1..jsonb_array_length(strata) loop
    if jsonb_typeof(strata -> s - 1) <> 'array' or jsonb_array_length(strata -> s - 1) <> 2 then
      perform common.refuse('CF001', format('stratum %s is %s', s, left((strata -> s - 1)::text, 100)),
        'Give a pair: [control, treatment].');
    end if;
    v_arms := experiment._pair(
      strata -> s - 1 -> 0,
      strata -> s - 1 -> 1,
      format('control of stratum %s', s),
      format('treatment of stratum %s', s)
    );
    if v_arms[1].type = 'quantile' and jsonb_array_length(strata) > 1 then
      perform common.refuse('CF001', format('stratum %s has a quantile', s), 'Quantiles cannot be added up.');
    elsif s > 1 and (
      v_arms[1].type <> v_controls[1].type or v_arms[1].is_adjusted <> v_controls[1].is_adjusted
      or v_arms[1].is_binary <> v_controls[1].is_binary
    ) then
      perform common.refuse('CF001', format('stratum %s is of another metric than stratum 1', s),
        'Give the same metric in all strata.');
    end if;
    v_controls := v_controls || v_arms[1];
    v_treatments := v_treatments || v_arms[2];
  end loop;

  -- A single stratum keeps its theta; otherwise it is computed from the sums.
  if cardinality(v_controls) > 1 then
    v_arms := array[experiment._sum(v_controls), experiment._sum(v_treatments)];
  end if;
  v_effect := experiment._effect(experiment._with_theta(v_arms), v_is_relative, v_options.margin);
  if not v_options.is_pooled and cardinality(v_controls) > 1 then
    if experiment._has_constant_before(v_arms) then
      for s in 1..cardinality(v_controls) loop
        v_controls[s] := experiment._unadjusted(v_controls[s]);
        v_treatments[s] := experiment._unadjusted(v_treatments[s]);
      end loop;
    end if;
    v_effect := experiment._post_stratified(
      v_effect, v_controls, v_treatments, v_is_relative, v_options.margin
    );
  end if;
  return experiment._answer(v_effect, v_options, v_arms[1].type)
    || jsonb_build_object('post_stratified', v_effect.is_post_stratified);
end;
$$;

comment on function experiment.compare_strata(jsonb, jsonb) is $$
Returns the difference of treatment and control over strata of users, such as countries: [[control, treatment], …].
Post-stratified: the differences of the strata are weighted by their users, so that a stratum that is more frequent in
one arm by chance does not bias the difference. A stratum without variance in an arm is added to the largest one. With
the option `pool`, all strata are added up instead. The other options and the answer are those of
`experiment.compare`; `post_stratified` is false where the strata were added up.
$$;

grant execute on function experiment.compare_strata(jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/compare_strata.sql

--! Included experiment/statistics/srm.sql
create or replace function experiment.srm(users float8[], weights float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_number float8;
  v_total_users float8 := 0;
  v_total_weight float8 := 0;
  v_arms int := 0;
  v_has_null boolean;
  v_expected float8;
  v_statistic float8 := 0;
begin
  if users is null or weights is null or cardinality(users) > cardinality(weights)
    or array_lower(users, 1) <> 1 or array_lower(weights, 1) <> 1
    or array_ndims(weights) = 2 and (
      array_length(users, 1) <> array_length(weights, 1) or array_length(users, 2) <> array_length(weights, 2)
      or array_lower(users, 2) <> 1 or array_lower(weights, 2) <> 1
      or array_length(weights, 2) > 100 or cardinality(weights)::bigint * array_length(weights, 2) > 1000000
    ) is not false
    or coalesce(array_ndims(weights), 1) = 1 and (coalesce(array_ndims(users), 1) > 1 or cardinality(weights) > 1000)
    or array_ndims(weights) > 2
  then
    perform common.refuse('CF001',
      format('there are %s numbers of users and %s weights', coalesce(cardinality(users)::text, 'no'),
        coalesce(cardinality(weights)::text, 'no')),
      'Give the users and the weight of each variation, of at most 1000; over several periods with other weights, a '
      'row of each period, of at most 100 variations, and 1000000 / the square of their number periods.');
  end if;
  v_has_null := exists (select from unnest(weights) as entry (weight) where entry.weight is null);
  foreach v_number in array users || weights loop
    if v_number < 0 or v_number = 'NaN' or v_number > 1e30 or v_number > 0 and v_number < 1e-30
      or v_number is null and v_has_null then
      perform common.refuse('CF001', format('a number of users or a weight is %s', coalesce(v_number::text, 'null')),
        'Give 0, or numbers from 1e-30 to 1e30.');
    end if;
  end loop;
  if array_ndims(weights) = 2 then
    return experiment._mismatch_p(experiment._drawn(users, weights));
  end if;
  -- a variation without weight, or whose users are not known, is not tested
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_arms := v_arms + 1;
      v_total_users := v_total_users + users[i];
      v_total_weight := v_total_weight + weights[i];
    end if;
  end loop;
  if v_arms < 2 or v_total_users = 0 then
    return 1;
  end if;
  for i in 1..cardinality(users) loop
    if weights[i] > 0 and users[i] is not null then
      v_expected := weights[i] / v_total_weight * v_total_users;
      v_statistic := v_statistic + (users[i] - v_expected) / v_expected * (users[i] - v_expected);
    end if;
  end loop;
  return experiment._chi_squared_tail(v_statistic, v_arms - 1);
end;
$$;

comment on function experiment.srm(float8[], float8[]) is $$
Returns the p-value of a sample ratio mismatch: of users whose numbers differ from the weights by chance.
A chi-squared test over the variations with a weight above 0; 1 with fewer than two of them, or without users. A value
below 0.001 means that assignment or logging is broken: the results should not be used.
When the weights changed, as those of a bandit do, give an array of two dimensions: a row of users and of weights of
each period. The differences are added up over the periods, and compared with the sum of their covariances.
$$;

grant execute on function experiment.srm(float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._chi_squared_tail(x float8, degrees int)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_half constant float8 := x / 2;
  v_term float8;
  v_sum float8;
begin
  if x <= 0 then
    return 1;
  elsif v_half > 700 then
    return case when v_half > degrees + 700 then 0 else 1 - ml.chi_squared_cdf(x, degrees) end;
  elsif degrees > 100 then
    return 1 - ml.chi_squared_cdf(x, degrees);
  end if;
  -- positive terms, so that a small tail keeps its digits (Abramowitz and Stegun 26.4.4 and 26.4.5)
  if degrees % 2 = 0 then
    v_term := exp(-v_half);
    v_sum := v_term;
    for k in 1..degrees / 2 - 1 loop
      v_term := v_term * v_half / k;
      v_sum := v_sum + v_term;
    end loop;
  else
    v_sum := 2 * ml.normal_cdf(-sqrt(x));
    v_term := exp(-v_half) * sqrt(v_half) * 2 / sqrt(pi());
    for k in 1..degrees / 2 loop
      v_sum := v_sum + v_term;
      v_term := v_term * v_half / (k + 0.5);
    end loop;
  end if;
  return least(v_sum, 1);
end;
$$;

comment on function experiment._chi_squared_tail(float8, int) is $$
Returns the probability that a chi-squared variable is above x.
$$;

grant execute on function experiment._chi_squared_tail(float8, int)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/statistics/srm.sql

--! Included experiment/exposure/_first_exposures.sql
create or replace function experiment._first_exposures(people bigint[])
returns setof experiment.exposed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_viewed constant record := experiment._viewed_types();
  v_since constant timestamptz := (select min(experiment.started_at) from experiment.experiment);
  -- By the key of the experiment, and by the key of the variation, or else its position.
  v_arms constant jsonb := (
    select jsonb_object_agg(arm.experiment_key, arm.variations)
    from (
      select
        experiment.experiment_key,
        jsonb_object_agg(
          name.name, jsonb_build_array(variation.experiment_id, variation.variation) order by name.is_key
        ) as variations
      from experiment.experiment
      join experiment.variation using (experiment_id)
      cross join lateral (
        values (variation.variation::text, false), (variation.variation_key, true)
      ) as name (name, is_key)
      where experiment.started_at is not null
      group by experiment.experiment_key
    ) as arm
  );
  v_function text;
  v_some experiment.exposed[];
  v_served experiment.exposed[] := '{}';
begin
  for v_function in
    select handler.exposure_function
    from experiment.handler
    where handler.exposure_function is not null
      and exists (
        select
        from experiment.experiment
        where experiment.placement like handler.room || '.%'
          and experiment.started_at is not null
      )
    order by handler.room
  loop
    execute format(
      'select array(select exposed from %I.%I($1) as exposed)',
      split_part(v_function, '.', 1), split_part(v_function, '.', 2)
    )
    into v_some
    using _first_exposures.people;
    v_served := v_served || v_some;
  end loop;

  return query
  with mentioned as materialized (
    select distinct step.person_id, viewed.occurred_at
    from track.step
    cross join lateral unnest(step.occurred_at) as viewed (occurred_at)
    where step.person_id = any (_first_exposures.people)
      and step.event_type_id = any (v_viewed.stored)
      and viewed.occurred_at >= v_since
  ),

  named as materialized (
    select
      event.person_id, event.identity_id, event.occurred_at,
      v_arms -> coalesce(event.properties ->> 'experiment_id', event.properties ->> 'experimentId')
      -> coalesce(event.properties ->> 'variation_id', event.properties ->> 'variationId') as arm
    from mentioned
    join track.event
      on event.person_id = mentioned.person_id
      and event.occurred_at = mentioned.occurred_at
    where coalesce(event.named_event_type_id, event.event_type_id) = v_viewed.named
      or event.event_type_id = v_viewed.named
  ),

  shown as (
    select
      named.person_id, named.identity_id, (named.arm ->> 0)::int as experiment_id,
      (named.arm ->> 1)::smallint as variation, named.occurred_at as exposed_at
    from named
    where named.arm is not null

    union all

    select served.person_id, served.identity_id, served.experiment_id, served.variation, served.exposed_at
    from unnest(v_served) as served
    where served.variation is not null
  )

  select
    shown.person_id,
    min(shown.identity_id),
    shown.experiment_id,
    case when min(shown.variation) = max(shown.variation) then min(shown.variation) end,
    min(shown.exposed_at)
  from shown
  join experiment.experiment
    on experiment.experiment_id = shown.experiment_id
    and shown.exposed_at >= experiment.started_at
    and shown.exposed_at < coalesce(experiment.stopped_at, 'infinity')
  where shown.person_id <> 0
  group by shown.person_id, shown.experiment_id;
end;
$$;

comment on function experiment._first_exposures(bigint[]) is $$
Returns the first exposure of people to each experiment; `variation` is null for those with two or more variations.
From the events "Experiment Viewed" while the experiment runs, and from the rooms of `experiment.handler`. Events that
name another experiment or variation are ignored.
$$;
--! EndIncluded experiment/exposure/_first_exposures.sql

--! Included experiment/exposure/_day_sums.sql
create or replace function experiment._day_sums(exposures experiment.exposure[], signs int[])
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set work_mem to '64MB'
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
set enable_mergejoin to off
as $$
begin
  return query
  with entry as materialized (
    select
      entry.experiment_id,
      case when entry.variation is null then -1 when not entry.is_counted then -2 else entry.variation end::smallint
        as variation,
      entry.exposed_on, coalesce(entry.stratum, '') as stratum, entry.sign, cardinality(entry.outcomes) as size,
      entry.outcomes, entry.outcomes_before
    from unnest(exposures, signs) as entry (
      person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
      outcomes_before, sign
    )
  ),

  -- The rows to which people belong have a number, by which the sums are grouped.
  cell as materialized (
    select
      row_number() over () as cell, entry.experiment_id, entry.variation, entry.exposed_on, entry.stratum, entry.sign,
      entry.size, count(*) as people
    from entry
    group by entry.experiment_id, entry.variation, entry.exposed_on, entry.stratum, entry.sign, entry.size
  ),

  exposed as materialized (
    select cell.cell, cell.experiment_id, entry.outcomes, entry.outcomes_before
    from entry
    join cell using (experiment_id, variation, exposed_on, stratum, sign, size)
    where cell.variation >= 0
  ),

  metric as materialized (
    select slot.experiment_id, slot.position, min(slot.place) as place, count(*) = 2 as is_ratio
    from experiment._slots(array(select distinct cell.experiment_id from cell)) as slot
    group by slot.experiment_id, slot.position
  ),

  outcome as (
    select
      exposed.cell, exposed.experiment_id, generate_subscripts(exposed.outcomes, 1) as place,
      unnest(exposed.outcomes) as y, unnest(exposed.outcomes_before) as x
    from exposed
  ),

  -- Most outcomes are 0, and add nothing.
  simple as (
    select
      outcome.cell, outcome.place,
      array[
        sum(outcome.y), sum(outcome.y * outcome.y), sum(outcome.x), sum(outcome.x * outcome.x),
        sum(outcome.x * outcome.y)
      ] as sums
    from outcome
    where outcome.y <> 0
      or outcome.x <> 0
    group by outcome.cell, outcome.place
  ),

  ratio as (
    select
      pair.cell, pair.place,
      array[
        sum(m), sum(m * m), sum(m_before), sum(m_before * m_before), sum(m * m_before),
        sum(d), sum(d * d), sum(d_before), sum(d_before * d_before), sum(d * d_before),
        sum(m * d), sum(m * d_before), sum(m_before * d), sum(m_before * d_before)
      ] as sums
    from (
      select
        exposed.cell, metric.place,
        exposed.outcomes[metric.place] as m, exposed.outcomes_before[metric.place] as m_before,
        exposed.outcomes[metric.place + 1] as d, exposed.outcomes_before[metric.place + 1] as d_before
      from exposed
      join metric on metric.experiment_id = exposed.experiment_id and metric.is_ratio
    ) as pair
    where m <> 0 or d <> 0 or m_before <> 0 or d_before <> 0
    group by pair.cell, pair.place
  ),

  signed as materialized (
    select
      cell.experiment_id, metric.position, cell.variation, cell.exposed_on, cell.stratum, cell.sign, cell.people,
      coalesce(
        case when metric.is_ratio then ratio.sums else simple.sums end,
        array_fill(0::numeric, array[case when metric.is_ratio then 14 else 5 end])
      ) as sums
    from cell
    join metric
      on metric.experiment_id = cell.experiment_id
      and metric.place + metric.is_ratio::int <= cell.size
    left join simple on simple.cell = cell.cell and simple.place = metric.place
    left join ratio on ratio.cell = cell.cell and ratio.place = metric.place
    where cell.variation >= 0
  ),

  figure as (
    select
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum, entry.place,
      -- The zeros at the end would depend on the history.
      trim_scale(sum(signed.sign * entry.figure)) as figure
    from signed
    cross join lateral unnest(signed.sums) with ordinality as entry (figure, place)
    group by
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum, entry.place
  )

  select
    cell.experiment_id, (-1)::smallint, cell.variation, cell.exposed_on, cell.stratum,
    sum(cell.sign * cell.people)::bigint, '{}'::numeric[]
  from cell
  group by cell.experiment_id, cell.variation, cell.exposed_on, cell.stratum
  having sum(cell.sign * cell.people) <> 0

  union all

  select
    part.experiment_id, part.position, part.variation, part.exposed_on, part.stratum, part.people, summed.sums
  from (
    select
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum,
      sum(signed.sign * signed.people)::bigint as people
    from signed
    group by signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum
  ) as part
  join (
    select
      figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum,
      array_agg(figure.figure order by figure.place) as sums
    from figure
    group by figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum
  ) as summed using (experiment_id, position, variation, exposed_on, stratum);
end;
$$;

comment on function experiment._day_sums(experiment.exposure[], int[]) is $$
@behavior -*
Returns the sums of exposures, each added (1) or subtracted (-1), as in `experiment.day_sum`.
$$;

grant execute on function experiment._day_sums(experiment.exposure[], int[]) to insights_reader;
--! EndIncluded experiment/exposure/_day_sums.sql

--! Included experiment/exposure/_event_filter.sql
create or replace function experiment._event_filter(slot experiment.slot, is_before boolean)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
begin atomic
  select
    format(
      '(event.event_type_id in (%1$s) or event.named_event_type_id in (%1$s))',
      array_to_string((slot).event_type_ids, ', ')
    )
    || case
      when is_before then format(
        ' and event.occurred_at < exposed.exposed_at'
        ' and event.occurred_at >= exposed.exposed_at - %L::interval',
        (slot).before_period
      )
      else format(
        ' and event.occurred_at >= exposed.exposed_at + %1$L::interval'
        ' and event.occurred_at < exposed.exposed_at + %1$L::interval + %2$L::interval'
        ' and event.occurred_at < %3$L::timestamptz',
        (slot).delay, coalesce((slot).period, 'infinity'), (slot).ends_at
      )
    end
    || case when (slot).item_id is null then '' else format(
      ' and exists ('
      'select from track.item_ancestor as ancestor'
      ' where ancestor.item_id = event.item_id and ancestor.ancestor_item_id = %s'
      ')',
      (slot).item_id
    ) end
    || case when (slot).property_filter is null then '' else format(
      ' and coalesce(event.properties, ''{}'') in ('
      'select passed.properties from passed where passed.property_filter = %L::jsonb'
      ')',
      (slot).property_filter
    ) end;
end;

comment on function experiment._event_filter(experiment.slot, boolean) is $$
Returns the condition, as text of SQL, on an event that belongs to an outcome of an exposed person.
After the exposure, or in the period before it. The statement has the relations `event` and `exposed`,
and those of `experiment._event_relations`.
$$;
--! EndIncluded experiment/exposure/_event_filter.sql

--! Included experiment/exposure/_events_of.sql
create or replace function experiment._events_of(
  people bigint[],
  since timestamptz,
  until timestamptz,
  event_type_ids int[]
)
returns setof track.event
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
-- A loop over the times of the journeys: the planner has no statistics of the arrays.
set enable_nestloop to on
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
set jit to off
as $$
declare
  -- Events of a merged type are in the journeys under the type that it was merged into.
  v_stored constant int[] := array(
    select unnest(_events_of.event_type_ids)
    union
    select event_type.merged_event_type_id
    from track.event_type
    where event_type.event_type_id = any (_events_of.event_type_ids)
      and event_type.merged_event_type_id is not null
  );
begin
  return query
  with mentioned as materialized (
    select distinct step.person_id, step_time.occurred_at
    from track.step
    cross join lateral unnest(step.occurred_at) as step_time (occurred_at)
    where step.person_id = any (_events_of.people)
      and step.event_type_id = any (v_stored)
      and step_time.occurred_at >= _events_of.since
      and step_time.occurred_at < _events_of.until
  )

  select event.*
  from mentioned
  join track.event
    on event.person_id = mentioned.person_id
    and event.occurred_at = mentioned.occurred_at
  where event.event_type_id = any (_events_of.event_type_ids)
    or event.named_event_type_id = any (_events_of.event_type_ids);
end;
$$;

comment on function experiment._events_of(bigint[], timestamptz, timestamptz, int[]) is $$
Returns the events of people that are of the given types, from `since` until before `until`.
Their times come from the journeys (`track.step`), so that the cost does not depend on the other events of the people.
$$;
--! EndIncluded experiment/exposure/_events_of.sql

--! Included experiment/exposure/_event_relations.sql
create or replace function experiment._event_relations(slots experiment.slot[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slot experiment.slot;
  v_filter jsonb;
  v_kinds text[] := '{}';
  v_events text;
begin
  select format(
    'event as ('
    'select event.* from experiment._events_of('
    'array(select exposed.person_id from exposed),'
    ' (select min(exposed.exposed_at) - %L::interval from exposed), %L::timestamptz, %L::int[]'
    ') as event'
    ')',
    max(slot.before_period), max(slot.ends_at),
    array(
      select distinct unnest(slot.event_type_ids) from unnest(_event_relations.slots) as slot where not slot.is_stepped
    )
  )
  into v_events
  from unnest(_event_relations.slots) as slot
  where not slot.is_stepped
  having count(*) > 0;

  foreach v_slot in array slots loop
    v_filter := v_slot.property_filter;
    if v_filter is not null then
      v_slot.property_filter := null;
      v_kinds := v_kinds || format(
        'select %L::jsonb as property_filter, coalesce(event.properties, ''{}'') as properties'
        ' from event join exposed using (person_id)'
        ' where (%s or %s)',
        v_filter, experiment._event_filter(v_slot, false), experiment._event_filter(v_slot, true)
      );
    end if;
  end loop;
  if v_kinds = '{}' then
    return v_events;
  end if;
  -- Materialized, because the planner would compute the condition before the union.
  return v_events
    || ', kind as materialized (' || array_to_string(v_kinds, ' union ') || '), passed as materialized ('
    'select kind.* from kind where experiment.eval_condition(kind.properties, kind.property_filter)'
    ')';
end;
$$;

comment on function experiment._event_relations(experiment.slot[]) is $$
Returns the relations, as text of SQL, from which the outcomes of an experiment that are not in the journeys follow.
`event`: the events of the types of the outcomes since the period before the exposure. `passed`: the properties of
events that pass the filters of outcomes; a condition takes about 0.1 ms, and is evaluated once for all events with the
same properties. Null without such outcomes. The statement has the relation `exposed`.
$$;
--! EndIncluded experiment/exposure/_event_relations.sql

--! Included experiment/exposure/_step_figures.sql
create or replace function experiment._step_figures(slots experiment.slot[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bounds text;
  v_positions text;
  v_sums text;
begin
  -- Outcomes with the same delay and period share the positions of their bounds in the journeys.
  with stepped as (
    select
      slot.place, slot.delay, slot.period, slot.ends_at, slot.before_period,
      array_to_string(slot.event_type_ids, ', ') as types,
      dense_rank() over (order by slot.delay, slot.period) as span,
      slot.delay = interval '0' as is_immediate,
      slot.period is null and slot.ends_at = 'infinity' as is_open
    from unnest(_step_figures.slots) as slot
    where slot.is_stepped
  ),

  span as (
    select
      stepped.span, stepped.is_immediate, stepped.is_open, string_agg(distinct stepped.types, ', ') as types,
      format('exposed.exposed_at + %L::interval', stepped.delay) as since,
      case
        when stepped.period is null then format('%L::timestamptz', stepped.ends_at)
        else format(
          'least(exposed.exposed_at + %L::interval + %L::interval, %L::timestamptz)', stepped.delay, stepped.period,
          stepped.ends_at
        )
      end as until
    from stepped
    group by
      stepped.span, stepped.is_immediate, stepped.is_open, stepped.delay, stepped.period, stepped.ends_at
  )

  select
    (
      select format(
        'exposed.exposed_at - interval ''1 microsecond'' as exposed, '
        'exposed.exposed_at - %L::interval - interval ''1 microsecond'' as earliest',
        min(stepped.before_period)
      )
      from stepped
    )
    || coalesce(
      (
        select string_agg(
          case when span.is_immediate then '' else format(
            ', %s - interval ''1 microsecond'' as since_%s', span.since, span.span
          ) end
          || case when span.is_open then '' else format(
            ', greatest(%s, %s) - interval ''1 microsecond'' as until_%s', span.since, span.until, span.span
          ) end,
          ''
        )
        from span
      ),
      ''
    ),
    (
      select string_agg(
        case when span.is_immediate then '' else format(
          ', case when step.event_type_id in (%2$s) then width_bucket(bound.since_%1$s, step.occurred_at) end'
          ' as since_%1$s',
          span.span, span.types
        ) end
        || case when span.is_open then '' else format(
          ', case when step.event_type_id in (%2$s) then width_bucket(bound.until_%1$s, step.occurred_at) end'
          ' as until_%1$s',
          span.span, span.types
        ) end,
        ''
      )
      from span
    ),
    (
      select string_agg(
        format(
          'sum(%3$s - %4$s) filter (where placed.event_type_id in (%2$s)) as y%1$s, '
          'sum(placed.exposed - placed.earliest) filter (where placed.event_type_id in (%2$s)) as x%1$s',
          stepped.place, stepped.types,
          case when stepped.is_open then 'placed.size' else 'placed.until_' || stepped.span end,
          case when stepped.is_immediate then 'placed.exposed' else 'placed.since_' || stepped.span end
        ),
        ', ' order by stepped.place
      )
      from stepped
    )
  into v_bounds, v_positions, v_sums;

  if v_sums is null then
    return null;
  end if;
  -- The times of an array that are earlier than t are those up to t - 1 microsecond.
  return format(
    'bound as materialized (select exposed.person_id, %1$s from exposed), '
    'placed as materialized ('
    'select step.person_id, step.event_type_id, cardinality(step.occurred_at) as size,'
    ' width_bucket(bound.exposed, step.occurred_at) as exposed,'
    ' width_bucket(bound.earliest, step.occurred_at) as earliest%2$s'
    ' from track.step join bound using (person_id)'
    -- An array of a sub-query: the planner would estimate each element of a constant.
    ' where step.person_id = any (array(select bound.person_id from bound order by bound.person_id))'
    ' and step.event_type_id = any (%4$L::int[])'
    '), '
    'stepped as (select placed.person_id, %3$s from placed group by placed.person_id)',
    v_bounds, v_positions, v_sums,
    array(
      select distinct unnest(slot.event_type_ids) from unnest(_step_figures.slots) as slot where slot.is_stepped
    )
  );
end;
$$;

comment on function experiment._step_figures(experiment.slot[]) is $$
Returns the relation `stepped`, as text of SQL: the outcomes of an experiment that are numbers of times of the journeys.
Null without such outcomes. The statement has the relation `exposed`.
$$;
--! EndIncluded experiment/exposure/_step_figures.sql

--! Included experiment/exposure/_outcomes.sql
/*
 * Counts of events come from the journeys (`track.step`), whose times are sorted arrays; values, filters and items from
 * the events themselves. The statement of an experiment has one sum per outcome and period: a join with the outcomes,
 * and arrays that are put together from its rows, would take several times as long.
 */
create or replace function experiment._outcomes(exposures experiment.exposure[], slots experiment.slot[])
returns experiment.exposure[]
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
  v_computed experiment.exposure[];
  v_outcomes experiment.exposure[] := '{}';
  v_slots experiment.slot[];
  v_stepped text;
  v_found text;
  v_figures text;
  v_figures_before text;
begin
  for v_experiment_id, v_exposures in
    select exposed.experiment_id, array_agg(exposed)
    from unnest(exposures) as exposed
    group by exposed.experiment_id
  loop
    v_slots := array(
      select slot from unnest(slots) as slot where slot.experiment_id = v_experiment_id order by slot.place
    );
    v_stepped := experiment._step_figures(v_slots);

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
    into v_figures, v_figures_before
    from (
      select
        slot.place,
        -- Most are 0 or null: the constants are made without a conversion.
        format(
          case
            when slot.reading = 'any' then 'case when %1$s.%%1$s%2$s > 0 then 1::numeric else 0::numeric end'
            when slot.cap is null then 'coalesce(nullif(%1$s.%%1$s%2$s, 0)::numeric, 0::numeric)'
            else 'least(coalesce(nullif(%1$s.%%1$s%2$s, 0)::numeric, 0::numeric), %3$L::numeric)'
          end,
          case when slot.is_stepped then 'stepped' else 'found' end, slot.place, slot.cap
        ) as text
      from unnest(v_slots) as slot
    ) as outcome;

    execute
      'with exposed as materialized (select exposed.* from unnest($1) as exposed)'
      || coalesce(', ' || v_stepped, '')
      || coalesce(', ' || experiment._event_relations(v_slots), '')
      || coalesce(
        ', found as ('
        'select event.person_id, ' || v_found || ' from event join exposed using (person_id) group by event.person_id'
        ')',
        ''
      )
      || ' select array_agg(row('
      'exposed.person_id, exposed.experiment_id, exposed.variation, exposed.exposed_at,'
      ' exposed.exposed_on, exposed.is_counted, exposed.stratum, exposed.probability,'
      ' array[' || v_figures || ']::numeric[], array[' || v_figures_before || ']::numeric[]'
      ')::experiment.exposure)'
      ' from exposed'
      || case when v_stepped is null then '' else ' left join stepped using (person_id)' end
      || case when v_found is null then '' else ' left join found using (person_id)' end
    into v_computed
    using v_exposures;
    v_outcomes := v_outcomes || v_computed;
  end loop;
  return v_outcomes;
end;
$$;

comment on function experiment._outcomes(experiment.exposure[], experiment.slot[]) is $$
Returns exposures with the outcomes of the slots, computed from the events of the people.
$$;
--! EndIncluded experiment/exposure/_outcomes.sql

--! Included experiment/exposure/_exposures_of.sql
create or replace function experiment._exposures_of(people bigint[])
returns experiment.exposure[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_exposed constant experiment.exposed[] := array(
    select exposed from experiment._first_exposures(_exposures_of.people) as exposed
  );
  v_people bigint[];
  v_set text;
  v_member_sets text[] := '{}';
  v_members bigint[] := '{}';
  v_trait text;
  v_trait_names text[] := '{}';
  v_trait_people bigint[] := '{}';
  v_trait_times timestamptz[] := '{}';
  v_trait_values text[] := '{}';
  v_some_people bigint[];
  v_some_times timestamptz[];
  v_exposures experiment.exposure[];
begin
  if v_exposed = '{}' then
    return '{}';
  end if;
  v_people := array(select distinct exposed.person_id from unnest(v_exposed) as exposed);

  for v_set in
    select experiment.population
    from experiment.experiment
    where experiment.experiment_id = any (array(select exposed.experiment_id from unnest(v_exposed) as exposed))
    union
    select substr(experiment.strata, 5)
    from experiment.experiment
    where experiment.experiment_id = any (array(select exposed.experiment_id from unnest(v_exposed) as exposed))
      and starts_with(experiment.strata, 'set.')
  loop
    v_some_people := array(select distinct experiment._members_of(v_set, v_people));
    v_members := v_members || v_some_people;
    v_member_sets := v_member_sets || array_fill(v_set, array[cardinality(v_some_people)]);
  end loop;

  for v_trait, v_some_people, v_some_times in
    select substr(experiment.strata, 7), array_agg(exposed.person_id), array_agg(exposed.exposed_at)
    from unnest(v_exposed) as exposed
    join experiment.experiment using (experiment_id)
    where starts_with(experiment.strata, 'trait.')
    group by experiment.strata
  loop
    select
      v_trait_names || array_agg(v_trait), v_trait_people || array_agg(known.person_id),
      v_trait_times || array_agg(known.at), v_trait_values || array_agg(left(known.value #>> '{}', 100))
    into v_trait_names, v_trait_people, v_trait_times, v_trait_values
    from track.traits_at(v_some_people, v_trait, v_some_times) as known;
  end loop;

  v_exposures := array(
    select row(
      exposed.person_id,
      exposed.experiment_id,
      exposed.variation,
      exposed.exposed_at,
      (exposed.exposed_at at time zone 'UTC')::date,
      counted.person_id is not null,
      case
        when starts_with(experiment.strata, 'set.') then (stratum.person_id is not null)::text
        when starts_with(experiment.strata, 'trait.') then trait.value
      end,
      weighting.weights[width_bucket(exposed.exposed_at, weighting.since)][exposed.variation + 1],
      '{}',
      '{}'
    )::experiment.exposure
    from unnest(v_exposed) as exposed
    join experiment.experiment using (experiment_id)
    left join (
      select
        weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since,
        array_agg(weighting.weights order by weighting.since) as weights
      from experiment.weighting
      group by weighting.experiment_id
    ) as weighting on weighting.experiment_id = exposed.experiment_id
    left join unnest(v_member_sets, v_members) as counted (set_name, person_id)
      on counted.set_name = experiment.population
      and counted.person_id = exposed.person_id
    left join unnest(v_member_sets, v_members) as stratum (set_name, person_id)
      on stratum.set_name = substr(experiment.strata, 5)
      and starts_with(experiment.strata, 'set.')
      and stratum.person_id = exposed.person_id
    left join (
      select distinct known.name, known.person_id, known.at, known.value
      from unnest(v_trait_names, v_trait_people, v_trait_times, v_trait_values) as known (name, person_id, at, value)
    ) as trait
      on trait.name = substr(experiment.strata, 7)
      and starts_with(experiment.strata, 'trait.')
      and trait.person_id = exposed.person_id
      and trait.at = exposed.exposed_at
  );
  return experiment._outcomes(
    v_exposures,
    array(
      select slot
      from experiment._slots(array(select distinct exposed.experiment_id from unnest(v_exposed) as exposed)) as slot
    )
  );
end;
$$;

comment on function experiment._exposures_of(bigint[]) is $$
Computes the exposures of people from their events: what `experiment.exposure` contains after a refresh.
$$;
--! EndIncluded experiment/exposure/_exposures_of.sql

--! Included experiment/exposure/_event_values.sql
create or replace function experiment._event_values(exposures experiment.exposure[])
returns setof experiment.event_value
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set max_parallel_workers_per_gather to 0
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_slot experiment.slot;
  v_exposures experiment.exposure[];
begin
  for v_slot in
    select slot.*
    from experiment._slots(array(select distinct exposed.experiment_id from unnest(exposures) as exposed)) as slot
    where slot.reading = 'values'
  loop
    v_exposures := array(
      select exposed from unnest(exposures) as exposed where exposed.experiment_id = v_slot.experiment_id
    );
    return query execute format(
      'with exposed as materialized (select exposed.* from unnest($1) as exposed), %3$s '
      'select event.person_id, $2, $3, array_agg(%1$s order by %1$s)'
      ' from event join exposed using (person_id)'
      ' where %2$s and %1$s is not null'
      ' group by event.person_id',
      experiment._event_figure(v_slot), experiment._event_filter(v_slot, false),
      experiment._event_relations(array[v_slot])
    )
    using v_exposures, v_slot.experiment_id, v_slot.position;
  end loop;
end;
$$;

comment on function experiment._event_values(experiment.exposure[]) is $$
Computes the values of the quantile metrics of exposures: what `experiment.event_value` contains after a refresh.
$$;
--! EndIncluded experiment/exposure/_event_values.sql

--! Included experiment/exposure/_arm_name.sql
create or replace function experiment._arm_name(experiment_key text, variation_key text, variation smallint)
returns text
language sql
immutable
parallel safe
begin atomic
  select 'arm.' || replace(experiment_key, '-', '_') || '.' || case
    when length(experiment_key) + length(variation_key) <= 95 then replace(variation_key, '-', '_')
    else variation::text
  end;
end;

comment on function experiment._arm_name(text, text, smallint) is $$
Returns the name of the set of the people of a variation: its position takes the place of a name that is too long.
$$;

grant execute on function experiment._arm_name(text, text, smallint) to insights_reader;
--! EndIncluded experiment/exposure/_arm_name.sql

--! Included experiment/exposure/_refresh_arms.sql
create or replace function experiment._refresh_arms(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_name text;
  v_joined bigint[];
  v_departed bigint[];
begin
  for v_name, v_joined, v_departed in
    select
      experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation),
      array_agg(moved.person_id) filter (where moved.change > 0),
      array_agg(moved.person_id) filter (where moved.change < 0)
    from (
      select entry.experiment_id, entry.variation, entry.person_id, sum(entry.change) as change
      from (
        select former.experiment_id, former.variation, former.person_id, -1 as change
        from unnest(_refresh_arms.former) as former
        where former.is_counted and former.variation is not null
        union all
        select present.experiment_id, present.variation, present.person_id, 1
        from unnest(_refresh_arms.present) as present
        where present.is_counted and present.variation is not null
      ) as entry
      group by entry.experiment_id, entry.variation, entry.person_id
    ) as moved
    join experiment.experiment on experiment.experiment_id = moved.experiment_id
    join experiment.variation
      on variation.experiment_id = moved.experiment_id
      and variation.variation = moved.variation
    -- Those that are defined: without one, the people of the others are still moved.
    join track.person_set
      on person_set.name
        = experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
    where moved.change <> 0
    group by experiment.experiment_key, variation.variation_key, variation.variation
    order by experiment.experiment_key, variation.variation
  loop
    perform track.move_people(v_name, v_joined, v_departed);
  end loop;
end;
$$;

comment on function experiment._refresh_arms(experiment.exposure[], experiment.exposure[]) is $$
Changes the sets of the variations by the people who are in another one than before.
The cost is that of the changes, whatever the number of experiments.
$$;
--! EndIncluded experiment/exposure/_refresh_arms.sql

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
  v_drawn experiment.drawn;
  v_kept experiment.kept;
begin
  delete from experiment.kept where kept.experiment_id = v_id;
  v_drawn := experiment._assigned(
    _take_results.experiment,
    array(select stored from experiment.day_sum as stored where stored.experiment_id = v_id and stored.position = -1)
  );
  insert into experiment.kept (experiment_id, quantiles, drawn)
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
    ),
    case when v_smallest <= all ((v_drawn).users) then v_drawn end
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

grant execute on function experiment._are_events_complete(experiment.experiment) to insights_reader;
--! EndIncluded experiment/results/_are_events_complete.sql

--! Included experiment/results/_check_people.sql
create or replace function experiment._check_people(experiment_id int)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment experiment.experiment;
  v_kept_at timestamptz;
begin
  select kept.kept_at into v_kept_at
  from experiment.kept
  where kept.experiment_id = _check_people.experiment_id;
  if not found then
    return;
  end if;
  select known.* into v_experiment
  from experiment.experiment as known
  where known.experiment_id = _check_people.experiment_id;
  if not experiment._are_events_complete(v_experiment) then
    perform common.refuse(
      'CF010',
      format('people of the experiment "%s" were deleted by a rule of retention', v_experiment.experiment_key),
      format(
        'The results as of %s are kept: read experiment.results and health without among.',
        to_char(v_kept_at at time zone 'UTC', 'YYYY-MM-DD')
      )
    );
  end if;
end;
$$;

comment on function experiment._check_people(int) is $$
@behavior -*
Raises CF010 for an ended experiment whose results are kept and whose exposures and outcomes are not complete any more.
A figure of the people who are left would be that of another time.
$$;

grant execute on function experiment._check_people(int) to insights_reader;
--! EndIncluded experiment/results/_check_people.sql

--! Included experiment/results/check_sets.sql
create or replace function experiment.check_sets(set_names text[])
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment_id int;
begin
  if not exists (select from unnest(check_sets.set_names) as entry (name) where entry.name like 'arm.%') then
    return;
  end if;
  for v_experiment_id in
    select distinct variation.experiment_id
    from experiment.kept
    join experiment.experiment using (experiment_id)
    join experiment.variation using (experiment_id)
    where experiment._arm_name(experiment.experiment_key, variation.variation_key, variation.variation)
      = any (check_sets.set_names)
    order by variation.experiment_id
  loop
    perform experiment._check_people(v_experiment_id);
  end loop;
end;
$$;

comment on function experiment.check_sets(text[]) is $$
@behavior -*
Raises CF010 if one of the sets is the people of a variation (`arm.…`) whose exposures a rule of retention has deleted.
For functions that take names of sets, before they read them.
$$;

grant execute on function experiment.check_sets(text[]) to insights_reader;
--! EndIncluded experiment/results/check_sets.sql

--! Included experiment/exposure/_store_exposures.sql
create or replace function experiment._store_exposures(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
begin
  -- A check of conflicts would look up each key once more.
  if _store_exposures.former = '{}' then
    insert into experiment.exposure
    select new.*
    from unnest(_store_exposures.present) as new;
    return;
  end if;

  delete from experiment.exposure
  using (
    select old.person_id, old.experiment_id from unnest(_store_exposures.former) as old
    except
    select new.person_id, new.experiment_id from unnest(_store_exposures.present) as new
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
  from unnest(_store_exposures.present) as new
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
end;
$$;

comment on function experiment._store_exposures(experiment.exposure[], experiment.exposure[]) is $$
Stores the `present` rows of `experiment.exposure` in place of the `former` ones. No other row has one of their keys.
$$;
--! EndIncluded experiment/exposure/_store_exposures.sql

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
-- The exposures of a batch of people are passed as an array, and read by several statements.
set work_mem to '64MB'
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
  v_new := experiment._exposures_of(
    case
      when v_refused = '{}' then v_people
      else array(select unnest(v_people) except select unnest(v_refused))
    end
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

  perform experiment._store_exposures(v_old, v_new);
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

--! Included experiment/exposure/reads_set.sql
create or replace function experiment.reads_set(set_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from experiment.experiment
    where experiment.started_at is not null
      and (experiment.population = reads_set.set_name or experiment.strata = 'set.' || reads_set.set_name)
  );
end;
$$;

comment on function experiment.reads_set(text) is $$
@behavior -*
Returns whether an experiment that has started counts the people of a set, or is stratified by it.
See `track.consumer.reads_set`.
$$;
--! EndIncluded experiment/exposure/reads_set.sql

--! Included experiment/exposure/check_exposures.sql
create or replace function experiment._wrong_exposures(people bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  -- People who are queued are about to change.
  return array(
    with computed as materialized (
      select computed
      from unnest(
        experiment._exposures_of(
          array(
            select unnest(_wrong_exposures.people)
            except
            select unnest(experiment._refused_people(_wrong_exposures.people))
          )
        )
      ) as computed
    ),

    stored as materialized (
      select exposure from experiment.exposure where exposure.person_id = any (_wrong_exposures.people)
    )

    select (differing.entry).person_id
    from (
      (select computed as entry from computed except select exposure from stored)
      union all
      (select exposure from stored except select computed from computed)
    ) as differing
    where (differing.entry).person_id not in (
      select changed.person_id from track.changed where changed.person_id = any (_wrong_exposures.people)
      union all
      select stale.person_id from track.stale where stale.person_id = any (_wrong_exposures.people)
    )
    group by (differing.entry).person_id
  );
end;
$$;

comment on function experiment._wrong_exposures(bigint[]) is $$
Returns the people whose stored exposures are not those that their events show. Those who are queued are left out.
$$;

create or replace function experiment.check_exposures(experiment text, most_people int default 10000)
returns experiment.exposure_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(check_exposures.experiment);
  v_check experiment.exposure_check;
  v_people bigint[];
  v_wrong bigint[];
  v_exposures experiment.exposure[];
  v_sums experiment.day_sum[] := '{}';
begin
  perform common.check_count('most_people', check_exposures.most_people, 1, 100000);
  v_check.experiment := v_experiment.experiment_key;

  v_people := array(
    select exposure.person_id
    from experiment.exposure
    where exposure.experiment_id = v_experiment.experiment_id
    order by random()
    limit check_exposures.most_people
  );
  v_wrong := experiment._wrong_exposures(v_people);
  if v_wrong <> '{}' then
    -- Under the lock of the refresh, the differences are those that no refresh is about to change.
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    v_wrong := experiment._wrong_exposures(v_people);
    perform experiment.queue_exposures(v_wrong);
  end if;
  v_check.people := cardinality(v_people);
  v_check.wrong_people := cardinality(v_wrong);

  -- The sums are those of the stored exposures at each moment: no queue matters.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_exposures in
    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      where exposure.experiment_id = v_experiment.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    v_sums := v_sums || array(
      select added
      from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added
    );
  end loop;
  v_sums := array(select summed from experiment._added_sums(v_sums) as summed);
  v_check.sums := cardinality(v_sums);
  select count(*) into v_check.wrong_sums
  from (
    select day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
    from (
      (
        select summed.* from unnest(v_sums) as summed
        except
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
      )
      union all
      (
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
        except
        select summed.* from unnest(v_sums) as summed
      )
    ) as day_sum
    group by day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
  ) as differing;
  if v_check.wrong_sums > 0 then
    delete from experiment.day_sum
    where day_sum.experiment_id = v_experiment.experiment_id;
    insert into experiment.day_sum
    select summed.* from unnest(v_sums) as summed;
  end if;
  return v_check;
end;
$$;

comment on function experiment.check_exposures(text, int) is $$
Compares the exposures of an experiment with the events, and its sums with the exposures, and repairs what differs.
At most `most_people` people, drawn at random, are recomputed; those that differ are queued for the next refresh. The
sums are compared as a whole, and replaced when they differ. Nothing differs unless events were changed by other means
than the functions of this system, or an item of a metric has other contents.
Errors: CF002 for an unknown experiment (names the nearest), CF001 for an invalid `most_people`.
$$;

grant execute on function experiment.check_exposures(text, int) to insights_admin, insights_worker;
--! EndIncluded experiment/exposure/check_exposures.sql

--! Included experiment/results/_among.sql
create or replace function experiment._among(among text)
returns setof track.person_set_block
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_invalid text;
begin
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found or length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF001',
      format('among is "%s"', left(_among.among, 100)),
      'Give names of at most 20 sets of people, with & between them and ~ before those to leave out.'
    );
  end if;

  perform experiment.check_sets(array(select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term)));
  return query
  with term as materialized (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  )

  select
    'among',
    blocks.block,
    bit_and(
      case
        when term.is_left_out then ~coalesce(named.people, b'0'::bit(4096))
        else coalesce(named.people, b'0'::bit(4096))
      end
    )::bit(4096)
  from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  cross join term
  left join named on named.position = term.position and named.block = blocks.block
  group by blocks.block;
end;
$$;

comment on function experiment._among(text) is $$
@behavior -*
Returns the people of an expression of sets: names with `&` between them, and `~` before those to leave out.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF010 for variations whose
people were deleted by retention.
$$;

grant execute on function experiment._among(text) to insights_reader;
--! EndIncluded experiment/results/_among.sql

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

  perform experiment._check_people(_arm_sums.experiment_id);
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
  elsif _arms.among is null
    and exists (select from experiment.kept where kept.experiment_id = v_id)
    and not experiment._are_events_complete(_arms.experiment)
  then
    -- The values of earlier days are deleted.
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

--! Included experiment/results/_assigned.sql
create or replace function experiment._assigned(
  experiment experiment.experiment,
  sums experiment.day_sum[],
  among track.person_set_block[] default null
)
returns experiment.drawn
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_started_at constant timestamptz := (experiment).started_at;
  v_count constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_since timestamptz[];
  v_weights float8[];
  v_changed date[];
  v_numbers bigint[];
  v_users float8[];
begin
  -- The weights of the start are those of the whole first day.
  select
    array_agg(weighting.since order by weighting.since),
    array_agg(weighting.weights order by weighting.since)
  into v_since, v_weights
  from (
    select
      case when row_number() over (order by known.since) = 1 then '-infinity' else known.since end as since,
      known.weights
    from experiment.weighting as known
    where known.experiment_id = v_id
      and known.since >= coalesce(
        (
          select max(former.since)
          from experiment.weighting as former
          where former.experiment_id = v_id
            and former.since <= v_started_at
        ),
        '-infinity'
      )
  ) as weighting;
  v_changed := array(
    select distinct changed.day::date
    from unnest(v_since) as entry (since)
    cross join lateral (select entry.since at time zone 'UTC' as day) as changed
    where entry.since <> '-infinity'
      and changed.day <> date_trunc('day', changed.day)
  );
  if array_length(v_weights, 1) is null then
    return null;
  end if;

  -- The people of a day on which weights changed are counted by the time of their exposure, the others by their day.
  v_numbers := array(
    select coalesce(number.people, 0)
    from generate_series(1, cardinality(v_since)) as part (period)
    cross join generate_series(0, v_count - 1) as arm (place)
    left join (
      select entry.period, entry.variation, sum(entry.people) as people
      from (
        select
          width_bucket(stored.exposed_on::timestamp at time zone 'UTC', v_since) as period,
          stored.variation, stored.people
        from unnest(_assigned.sums) as stored
        where stored.position = -1
          and stored.variation >= 0
          and stored.exposed_on <> all (v_changed)

        union all

        select width_bucket(exposure.exposed_at, v_since), exposure.variation, 1
        from experiment.exposure
        where exposure.experiment_id = v_id
          and exposure.exposed_on = any (v_changed)
          and exposure.is_counted
          and exposure.variation is not null
          and (
            _assigned.among is null
            or exists (
              select
              from unnest(_assigned.among) as member
              where member.block = exposure.person_id / 4096
                and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
            )
          )
      ) as entry
      group by entry.period, entry.variation
    ) as number on number.period = part.period and number.variation = arm.place
    order by part.period, arm.place
  );
  v_users := (
    select array_agg(v_numbers[(period - 1) * v_count + 1 : period * v_count]::float8[] order by period)
    from generate_subscripts(v_since, 1) as period
  );
  return experiment._drawn(v_users, v_weights);
end;
$$;

comment on function experiment._assigned(experiment.experiment, experiment.day_sum[], track.person_set_block[]) is $$
@behavior -*
Returns how many people each variation has, and what the weights at the time of their exposure make expect.
`sums`: rows of `experiment.day_sum`, read on days on which the weights did not change; the exposures of the other days
are counted. `among`: people of the sums, null for all.
$$;

grant execute on function experiment._assigned(
  experiment.experiment, experiment.day_sum[], track.person_set_block[]
)
to insights_reader;
--! EndIncluded experiment/results/_assigned.sql

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
  v_drawn experiment.drawn;
  v_tested float8[];
  v_share float8;
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

  v_drawn := coalesce(
    (select kept.drawn from experiment.kept where kept.experiment_id = v_id and v_result.as_of is not null),
    experiment._assigned(
      _health.experiment, v_sums,
      -- Kept sums are of days on which the weights did not change: no exposures of others are counted.
      case when v_result.as_of is null then _health.among else '{}' end
    )
  );
  -- A p-value of exact numbers of few people would show them.
  v_tested := array(
    select trunc(figure / smallest_group) * smallest_group
    from unnest((v_drawn).users) with ordinality as entry (figure, place)
    order by entry.place
  );
  if (select sum(figure) from unnest(v_tested) as entry (figure)) > 0 then
    v_result.expected := (v_drawn).expected;
    v_share := (
      select sum(tested.figure) from unnest(v_tested) as tested (figure)
    ) / (
      select sum(exact.figure) from unnest((v_drawn).users) as exact (figure)
    );
    v_result.srm_p := experiment._mismatch_p(
      row(
        v_tested,
        array(select v_share * figure from unnest((v_drawn).expected) with ordinality as e (figure, n) order by n),
        array(select v_share * figure from unnest((v_drawn).covariances) with ordinality as e (figure, n) order by n)
      )::experiment.drawn
    );
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

--! Included experiment/results/_guard.sql
create or replace function experiment._guard(
  arms experiment.arm[],
  variation smallint,
  options jsonb,
  is_adjusted boolean,
  is_lower_better boolean,
  margin float8,
  harm_alpha float8,
  out verdict text,
  out effect float8,
  out stddev float8,
  out low float8,
  out high float8
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options jsonb := options || jsonb_build_object(
    'margin', case when is_lower_better then 1 else -1 end * coalesce(_guard.margin, 0)
  );
  v_better constant text := case when is_lower_better then 'less' else 'greater' end;
  v_worse constant text := case when is_lower_better then 'greater' else 'less' end;
  v_safe jsonb;
  v_bound jsonb;
  v_harm jsonb;
begin
  v_safe := (
    experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_better), is_adjusted)
  ).answer;
  if v_safe is null then
    -- A control of 0 has no relative difference, but a variation may be worse than it all the same.
    v_options := v_options || '{"difference": "absolute"}';
    v_safe := (
      experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_better), is_adjusted)
    ).answer;
  else
    v_bound := (
      experiment._compare_arms(arms, variation, v_options || jsonb_build_object('side', v_worse), is_adjusted)
    ).answer;
    effect := v_safe ->> 'effect';
    stddev := v_safe ->> 'stddev';
    low := case when is_lower_better then v_bound else v_safe end ->> 'low';
    high := case when is_lower_better then v_safe else v_bound end ->> 'high';
  end if;
  -- Any of several guardrails in any variation stops the experiment, so that they share the level.
  v_harm := (
    experiment._compare_arms(
      arms, variation, v_options || jsonb_build_object('side', v_worse, 'alpha', harm_alpha), is_adjusted
    )
  ).answer;
  verdict := case
    when coalesce((v_harm ->> 'p')::float8 < harm_alpha, (v_harm ->> 'chance_to_win')::float8 < harm_alpha)
      then 'harm'
    when coalesce(
      (v_safe ->> 'p')::float8 < (options ->> 'alpha')::float8,
      (v_safe ->> 'chance_to_win')::float8 > 1 - (options ->> 'alpha')::float8
    )
      then 'safe'
    else 'unclear'
  end;
end;
$$;

comment on function experiment._guard(
  experiment.arm[], smallint, jsonb, boolean, boolean, float8, float8
) is $$
@behavior -*
Tests whether a variation is worse than the control by more than the margin of a guardrail, and whether it is not.
Two tests of one side at the same margin (`margin` of `experiment.compare`), the first at the level `harm_alpha`.
`low` and `high` are the bounds of these tests at the level of the options, each by itself; null with `effect` and
`stddev` where the difference is relative and the control is 0.
$$;

grant execute on function experiment._guard(
  experiment.arm[], smallint, jsonb, boolean, boolean, float8, float8
)
to insights_reader;
--! EndIncluded experiment/results/_guard.sql

--! Included experiment/results/_result_of.sql
create or replace function experiment._moments(statistic jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return experiment.moments(statistic);
exception
  when sqlstate 'CF001' or sqlstate 'CF004' or sqlstate 'CF007' or numeric_value_out_of_range then
    return null;
end;
$$;

comment on function experiment._moments(jsonb) is $$
@behavior -*
Returns `experiment.moments`, or null for a statistic that has none, such as a ratio to 0 or a sum of 1e300.
$$;

grant execute on function experiment._moments(jsonb) to insights_reader;

create or replace function experiment._result_of(
  result experiment.result,
  arms experiment.arm[],
  options jsonb,
  is_adjusted boolean,
  is_lower_better boolean,
  margin float8,
  harm_alpha float8
)
returns experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.result := result;
  v_arm experiment.arm;
  v_moments jsonb;
  v_found record;
  v_other record;
  v_guard record;
begin
  v_result.people := 0;
  select * into v_arm
  from unnest(arms) as arm
  where arm.variation = v_result.variation_number
    and arm.stratum is null;
  if found then
    v_result.people := v_arm.people;
    v_moments := experiment._moments(v_arm.statistic);
    v_result.figure := v_moments ->> 'mean';
    if v_result.type not in ('ratio', 'quantile') then
      v_result.figure_stddev := sqrt((v_moments ->> 'variance')::float8);
    end if;
  end if;
  if v_result.variation_number = 0 then
    return v_result;
  end if;

  v_result.verdict := 'unclear';
  v_found := experiment._compare_arms(arms, v_result.variation_number, options, is_adjusted);
  if v_result.role = 'guardrail' then
    v_guard := experiment._guard(
      arms, v_result.variation_number, options, is_adjusted, is_lower_better, margin, harm_alpha
    );
    v_result.verdict := v_guard.verdict;
    v_result.effect := v_guard.effect;
    v_result.stddev := v_guard.stddev;
    v_result.low := v_guard.low;
    v_result.high := v_guard.high;
  end if;
  if v_found.answer is null then
    v_result.note := concat_ws(' ', v_result.note, v_found.note);
    return v_result;
  end if;
  if v_result.role <> 'guardrail' then
    v_result.effect := v_found.answer ->> 'effect';
    v_result.stddev := v_found.answer ->> 'stddev';
    v_result.low := v_found.answer ->> 'low';
    v_result.high := v_found.answer ->> 'high';
  end if;
  v_result.p := v_found.answer ->> 'p';
  v_result.chance_to_win := v_found.answer ->> 'chance_to_win';
  v_result.risk := v_found.answer -> 'risk' ->> 1;
  if is_adjusted and v_result.type <> 'quantile' then
    v_other := experiment._compare_arms(arms, v_result.variation_number, options, false);
    v_result.variance_reduction := 1 - (
      (v_found.answer ->> 'stddev')::float8 / nullif((v_other.answer ->> 'stddev')::float8, 0)
    ) ^ 2;
  end if;

  if v_result.role <> 'guardrail' and v_result.chance_to_win is not null then
    v_result.verdict := case
      -- Both sides together have alpha, as the interval.
      when v_result.chance_to_win > 1 - v_result.alpha / 2 then 'better'
      when v_result.chance_to_win < v_result.alpha / 2 then 'worse'
      else 'unclear'
    end;
  end if;
  return v_result;
end;
$$;

comment on function experiment._result_of(
  experiment.result, experiment.arm[], jsonb, boolean, boolean, float8, float8
) is $$
@behavior -*
Completes the result of a metric in a variation from the statistics of its arms.
The verdict of goals and secondary metrics follows from the p-value, after the correction for several of them.
`harm_alpha`: level of the test that a guardrail does harm.
$$;

grant execute on function experiment._result_of(
  experiment.result, experiment.arm[], jsonb, boolean, boolean, float8, float8
)
to insights_reader;
--! EndIncluded experiment/results/_result_of.sql

--! Included experiment/results/_results.sql
create or replace function experiment._results(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  test text default null,
  difference text default 'relative',
  is_adjusted boolean default true,
  only_complete boolean default true,
  until date default null,
  metric_position smallint default null,
  smallest_group int default 1
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_test constant text := coalesce(_results.test, (experiment).test);
  v_is_adjusted constant boolean := coalesce(_results.is_adjusted, true) and (experiment).before_period > '0';
  v_options constant jsonb := jsonb_build_object(
    'test', v_test, 'difference', _results.difference, 'alpha', (experiment).alpha, 'tuning', (experiment).tuning
  );
  v_warning constant text := nullif(array_to_string(
    (experiment._health(_results.experiment, _results.among, _results.smallest_group)).warnings, ' '
  ), '');
  v_is_cut constant boolean := exists (select from experiment.kept where kept.experiment_id = v_id)
    and _results.until < ((experiment).stopped_at at time zone 'UTC')::date
    and not experiment._are_events_complete(_results.experiment);
  -- Guardrails times variations other than the control.
  v_guards constant int := greatest(1, (
    select count(*)
    from experiment.measured
    join experiment.variation using (experiment_id)
    where measured.experiment_id = v_id
      and measured.role = 'guardrail'
      and variation.variation > 0
  ));
  v_arms constant experiment.arm[] := array(
    select arm
    from experiment._arms(
      _results.experiment, _results.among, coalesce(_results.only_complete, true), _results.until,
      _results.metric_position
    ) as arm
  );
begin
  return query
  with computed as materialized (
    select
      measured.position, metric.is_lower_better,
      experiment._result_of(
        row(
          metric.metric_key, measured.role, metric.type, variation.variation_key, null, null, null, null, null, null,
          null, null, null, null, null, null, null, _results.difference, v_test, (_results.experiment).alpha,
          (_results.experiment).population,
          case
            when coalesce(_results.only_complete, true)
              then experiment._complete_until(_results.experiment, metric.metric_id)
          end,
          nullif(concat_ws(
            ' ', v_warning,
            case
              when v_is_cut and metric.type = 'quantile'
                then 'A rule of retention has deleted the values: quantiles are known of the whole time only.'
            end
          ), ''),
          variation.variation
        )::experiment.result,
        array(select arm from unnest(v_arms) as arm where arm.position = measured.position),
        case
          when v_test = 'bayesian' then v_options || jsonb_build_object('inverse', metric.is_lower_better)
          else v_options
        end,
        v_is_adjusted,
        metric.is_lower_better,
        coalesce(measured.margin, 0),
        (experiment).alpha / v_guards
      ) as result
    from experiment.measured
    join experiment.metric using (metric_id)
    join experiment.variation on variation.experiment_id = measured.experiment_id
    where measured.experiment_id = v_id
      and (_results.metric_position is null or measured.position = _results.metric_position)
  ),

  goal as (
    select
      array_agg((computed.result).p order by computed.position, (computed.result).variation_number) as p_values,
      array_agg(computed.position order by computed.position, (computed.result).variation_number) as positions,
      array_agg((computed.result).variation_number order by computed.position, (computed.result).variation_number)
        as variations
    from computed
    where (computed.result).role = 'goal'
      and (computed.result).variation_number > 0
  ),

  corrected as (
    select entry.position, entry.variation, entry.p
    from goal
    cross join lateral unnest(
      goal.positions, goal.variations,
      case (_results.experiment).correction
        when 'holm' then experiment.holm(goal.p_values)
        when 'benjamini_hochberg' then experiment.benjamini_hochberg(goal.p_values)
        else goal.p_values
      end
    ) as entry (position, variation, p)
  )

  select
    (computed.result).metric, (computed.result).role, (computed.result).type, (computed.result).variation,
    (computed.result).people, (computed.result).figure, (computed.result).figure_stddev, (computed.result).effect,
    (computed.result).stddev, (computed.result).low, (computed.result).high, (computed.result).p,
    corrected.p,
    (computed.result).chance_to_win, (computed.result).risk,
    case
      when (computed.result).p is null or (computed.result).role = 'guardrail' then (computed.result).verdict
      when coalesce(corrected.p, (computed.result).p) >= (computed.result).alpha then 'unclear'
      when ((computed.result).effect > 0) <> computed.is_lower_better then 'better'
      else 'worse'
    end,
    (computed.result).variance_reduction, (computed.result).difference, (computed.result).test,
    (computed.result).alpha, (computed.result).population, (computed.result).complete_until,
    case
      when _results.smallest_group > 1 and (computed.result).variation_number > 0 and (computed.result).effect is null
        then concat_ws(' ', v_warning, experiment._no_result_note())
      else (computed.result).note
    end,
    (computed.result).variation_number
  from computed
  left join corrected
    on corrected.position = computed.position
    and corrected.variation = (computed.result).variation_number
  order by computed.position, (computed.result).variation_number;
end;
$$;

comment on function experiment._results(
  experiment.experiment, track.person_set_block[], text, text, boolean, boolean, date, smallint, int
) is $$
@behavior -*
Computes the result of `experiment.results`, with the privileges of the caller.
The numbers of its notes are multiples of `smallest_group`.
$$;

grant execute on function experiment._results(
  experiment.experiment, track.person_set_block[], text, text, boolean, boolean, date, smallint, int
)
to insights_reader;
--! EndIncluded experiment/results/_results.sql

--! Included experiment/results/results.sql
/* A definer owned by insights_reader: it reads the exposures of people, for those who may read them. */
create or replace function experiment._results_exact(
  experiment text, among text, test text, difference text, is_adjusted boolean, only_complete boolean, until date
)
returns setof experiment.result
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from experiment._results(
    experiment._find_experiment($1),
    case when $2 is not null then array(select member from experiment._among($2) as member) end,
    $3, $4, $5, $6, $7
  );
$$;

alter function experiment._results_exact(text, text, text, text, boolean, boolean, date) owner to insights_reader;

comment on function experiment._results_exact(text, text, text, text, boolean, boolean, date) is $$
@behavior -*
Returns the result of `experiment.results` with exact figures, for admins and workers.
$$;

grant execute on function experiment._results_exact(text, text, text, text, boolean, boolean, date)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the exposures of people, and returns figures about groups only. */
create or replace function experiment._results_shown(
  experiment text, among text, test text, difference text, is_adjusted boolean, only_complete boolean, until date
)
returns setof experiment.result
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select shown.*
  from experiment._shown_results(
    array(
      select result
      from experiment._results(
        experiment._find_experiment($1),
        case when $2 is not null then array(select member from experiment._among($2) as member) end,
        $3, $4, $5, $6, least($7, (now() at time zone 'UTC')::date - 1), null,
        (select smallest_group from experiment.setting)
      ) as result
    ),
    (select smallest_group from experiment.setting)
  ) as shown;
$$;

alter function experiment._results_shown(text, text, text, text, boolean, boolean, date) owner to insights_reader;

comment on function experiment._results_shown(text, text, text, text, boolean, boolean, date) is $$
@behavior -*
Returns the result of `experiment.results` for analysts: figures of groups, rounded.
$$;

grant execute on function experiment._results_shown(text, text, text, text, boolean, boolean, date)
to insights_analyst;

create or replace function experiment.results(
  experiment text,
  among text default null,
  test text default null,
  difference text default 'relative',
  is_adjusted boolean default true,
  only_complete boolean default true,
  until date default null
)
returns setof experiment.result
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform experiment._check_results(results.test, results.difference);
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'experiment._results_exact(text, text, text, text, boolean, boolean, date)', 'execute'
  ) then
    return query
    select *
    from experiment._results_exact(
      results.experiment, results.among, results.test, results.difference, results.is_adjusted,
      results.only_complete, results.until
    );
  else
    return query
    select *
    from experiment._results_shown(
      results.experiment, results.among, results.test, results.difference, results.is_adjusted,
      results.only_complete, results.until
    );
  end if;
end;
$$;

comment on function experiment.results(text, text, text, text, boolean, boolean, date) is $$
Returns the result of each metric of an experiment in each variation: figure, effect, interval, p-value and verdict.
As of the last refresh. The variations are compared with the control by the test of the plan, adjusted by the behaviour
before the exposure (CUPED, unless `is_adjusted` is false) and post-stratified when the experiment has strata. The sums
of `experiment.day_sum` are added up; only quantiles, and results of some people, read the people.
`among`: names of sets of people with `&` between them and `~` before those to leave out; null: all counted people.
`test`: another test than that of the plan. `difference`: `relative` or `absolute`. `only_complete`: of a metric with a
period or delay, only people for whom it has passed count; false: all. `until`: only people who were exposed on this day
(UTC) at the latest.
For analysts, the exposures of today do not count, variations with fewer people than `experiment.setting.smallest_group`
have no result, and figures are rounded, so that they do not show the outcome of a person.
Errors: CF002 for an unknown experiment or set, CF001 for another invalid argument, CF010 for `among` when
the exposures of an ended experiment were deleted by retention.
$$;

grant execute on function experiment.results(text, text, text, text, boolean, boolean, date)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/results/results.sql

--! Included experiment/results/health.sql
/* A definer owned by insights_reader: it reads sums of exposures, for those who may read them. */
create or replace function experiment._health_exact(experiment text, among text)
returns experiment.health
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select experiment._health(
    experiment._find_experiment($1),
    case when $2 is not null then array(select member from experiment._among($2) as member) end
  );
$$;

alter function experiment._health_exact(text, text) owner to insights_reader;

comment on function experiment._health_exact(text, text) is $$
@behavior -*
Returns the result of `experiment.health` with exact numbers, for admins and workers.
$$;

grant execute on function experiment._health_exact(text, text) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads sums of exposures, and returns numbers of groups only. */
create or replace function experiment._health_shown(experiment text, among text)
returns experiment.health
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from experiment.setting);
  v_health experiment.health := experiment._health(
    experiment._find_experiment(_health_shown.experiment),
    case
      when _health_shown.among is not null
        then array(select member from experiment._among(_health_shown.among) as member)
    end,
    v_smallest_group
  );
begin
  return v_health;
end;
$$;

alter function experiment._health_shown(text, text) owner to insights_reader;

comment on function experiment._health_shown(text, text) is $$
@behavior -*
Returns the result of `experiment.health` for analysts: rounded numbers.
$$;

grant execute on function experiment._health_shown(text, text) to insights_analyst;

create or replace function experiment.health(experiment text, among text default null)
returns experiment.health
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('experiment._health_exact(text, text)', 'execute') then
    return experiment._health_exact(health.experiment, health.among);
  end if;
  return experiment._health_shown(health.experiment, health.among);
end;
$$;

comment on function experiment.health(text, text) is $$
Returns how many people an experiment has exposed, whether they are distributed by its weights, and warnings.
The test of the distribution (sample ratio mismatch) warns below 0.001: a cause must be found before the results are
used. People who saw several variations are counted apart, and are in no result. As of the last refresh. `among`: names
of sets of people, as in `experiment.results`.
For analysts, numbers are multiples of `experiment.setting.smallest_group`, and the days are null with `among`.
Errors: CF002 for an unknown experiment or set, CF001 for another invalid `among`, CF010 for one when the
exposures of an ended experiment were deleted by retention.
$$;

grant execute on function experiment.health(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded experiment/results/health.sql

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
  if result.effect is null then
    -- A guardrail whose control has no outcomes, so that there is no relative difference.
    return format('%s, and 0 in the control', to_char(result.figure, 'FM999999990.0000'));
  end if;
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
  -- Harm is looked for on every day, which only the sequential test allows. Results are not read again if those of the
  -- plan are the same.
  v_harms := array(
    select planned
    from unnest(v_results) as planned
    where v_experiment.test = 'sequential'
      and planned.verdict = 'harm'
    union all
    select repeated
    from experiment.results(v_experiment.experiment_key, test => 'sequential') as repeated
    where v_experiment.test <> 'sequential'
      and repeated.verdict = 'harm'
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

--! Included experiment/decisions/off_policy_estimate.sql
create or replace function experiment._policy_value(
  variations smallint[],
  probabilities float8[],
  outcomes float8[],
  weights float8[]
)
returns experiment.policy_value
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_total record;
  v_value experiment.policy_value;
begin
  v_value.weights := _policy_value.weights;
  select
    count(*) as people,
    coalesce(sum(person.weight), 0) as weight,
    sum(person.weight * person.weight) as squares,
    sum(person.weight * person.outcome) as outcome
  into v_total
  from (
    select coalesce(_policy_value.weights[entry.variation + 1], 0) / entry.probability as weight, entry.outcome
    from unnest(_policy_value.variations, _policy_value.probabilities, _policy_value.outcomes)
      as entry (variation, probability, outcome)
  ) as person;
  v_value.people := v_total.people;
  v_value.mean_weight := v_total.weight / nullif(v_total.people, 0);
  v_value.effective_sample_size := coalesce(v_total.weight ^ 2 / nullif(v_total.squares, 0), 0);
  v_value.ips := v_total.outcome / nullif(v_total.people, 0);
  v_value.snips := v_total.outcome / nullif(v_total.weight, 0);
  if v_total.people >= 2 then
    select
      nullif(sqrt(sum((person.weight * person.outcome - v_value.ips) ^ 2) / (v_total.people - 1) / v_total.people), 0),
      nullif(
        sqrt(
          sum((person.weight * (person.outcome - v_value.snips)) ^ 2) * v_total.people / (v_total.people - 1)
        ) / nullif(v_total.weight, 0),
        0
      )
    into v_value.ips_standard_error, v_value.snips_standard_error
    from (
      select coalesce(_policy_value.weights[entry.variation + 1], 0) / entry.probability as weight, entry.outcome
      from unnest(_policy_value.variations, _policy_value.probabilities, _policy_value.outcomes)
        as entry (variation, probability, outcome)
    ) as person;
  end if;
  return v_value;
end;
$$;

comment on function experiment._policy_value(smallint[], float8[], float8[], float8[]) is $$
@behavior -*
Returns the estimates of the value of a policy of fixed weights.
They follow from the variation, the probability and the outcome of each person.
Sources: D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47 (1952), 663-685;
A. Swaminathan and T. Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015.
$$;

/* A definer: it reads the outcomes of people, and returns figures about all of them. */
create or replace function experiment.off_policy_estimate(experiment text, weights float8[] default null)
returns setof experiment.policy_value
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(off_policy_estimate.experiment);
  v_keys constant text[] := array(
    select known.variation_key
    from experiment.variation as known
    where known.experiment_id = v_experiment.experiment_id
    order by known.variation
  );
  v_count constant int := cardinality(v_keys);
  v_given constant float8[] := off_policy_estimate.weights;
  v_goal record;
  v_variations smallint[];
  v_probabilities float8[];
  v_outcomes float8[];
  v_policy record;
  v_value experiment.policy_value;
begin
  if v_given is not null and (
    cardinality(v_given) <> v_count or array_ndims(v_given) <> 1 or array_lower(v_given, 1) <> 1
    or array_position(v_given, null) is not null
    or not 0 <= all (v_given) or abs((select sum(given.weight) from unnest(v_given) as given (weight)) - 1) > 1e-9
  ) then
    perform common.refuse(
      'CF001', format('weights is %s', left(v_given::text, 100)),
      format('Give %s numbers from 0, one for each variation, whose sum is 1.', v_count)
    );
  end if;
  select metric.metric_key, metric.type, slot.* into v_goal
  from experiment.measured
  join experiment.metric using (metric_id)
  join experiment._slots(array[v_experiment.experiment_id]) as slot
    on slot.experiment_id = measured.experiment_id
    and slot.position = measured.position
  where measured.experiment_id = v_experiment.experiment_id
    and measured.role = 'goal'
  order by measured.position
  limit 1;
  if not found then
    perform common.refuse('CF003', format('the experiment "%s" has not started', v_experiment.experiment_key),
      'Start it first: estimates need outcomes of people.');
  elsif v_goal.type in ('ratio', 'quantile') then
    perform common.refuse(
      'CF007', format('the goal "%s" is a %s', v_goal.metric_key, v_goal.type),
      'The value of a policy is a mean per person: it is estimated for goals that are proportions, means or counts.'
    );
  end if;

  perform experiment._check_people(v_experiment.experiment_id);
  select
    array_agg(exposure.variation order by exposure.person_id),
    array_agg(exposure.probability order by exposure.person_id),
    array_agg(exposure.outcomes[v_goal.place]::float8 order by exposure.person_id)
  into v_variations, v_probabilities, v_outcomes
  from experiment.exposure
  where exposure.experiment_id = v_experiment.experiment_id
    and exposure.is_counted
    and exposure.variation is not null
    and exposure.probability > 0
    and (
      v_goal.period is null
      or exposure.exposed_at + v_goal.delay + v_goal.period <= least(now(), coalesce(v_experiment.stopped_at, now()))
    );

  for v_policy in
    select
      arm.variation_key as name,
      array(
        select case when n = arm.place then 1 else 0 end::float8
        from generate_series(1, v_count) as n
        order by n
      ) as weights,
      arm.place
    from unnest(v_keys) with ordinality as arm (variation_key, place)
    where v_given is null

    union all

    select
      case when v_given is null then 'equal' else 'given' end,
      coalesce(v_given, array_fill(1::float8 / v_count, array[v_count])),
      v_count + 1
    order by place
  loop
    v_value := experiment._policy_value(v_variations, v_probabilities, v_outcomes, v_policy.weights);
    v_value.policy := v_policy.name;
    return next v_value;
  end loop;
end;
$$;

comment on function experiment.off_policy_estimate(text, float8[]) is $$
Returns the mean outcome per person that other weights would have given, from the exposures of an experiment.
For the first goal; a row for each variation (all people in it) and for equal weights, or one for the given `weights`.
A person counts with the weight of the policy / the weight at the time of her exposure (`probability`), which corrects
for the changing weights of a bandit: `ips` is the mean of weight · outcome, `snips` divides by the sum of the weights.
Only people whose period is complete count. A `mean_weight` far from 1 means that the logged weights are not those by
which people were assigned.
Errors: CF001 for `weights`, CF002 for an unknown experiment (names the nearest), CF003 for a draft, CF007 for a goal
that is a ratio or a quantile, CF010 for an ended experiment whose exposures were deleted by retention.
$$;

grant execute on function experiment.off_policy_estimate(text, float8[]) to insights_admin, insights_worker;
--! EndIncluded experiment/decisions/off_policy_estimate.sql

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
    ('experiment', 'kept', '{drawn}', 'Numbers of people of variations, of at least 5 each.'),
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

--! Included analytics/functions/_bounds.sql
create or replace function analytics._bounds(bucket text, since timestamptz, until timestamptz, zone text)
returns timestamptz[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_seconds constant float8 := case _bounds.bucket
    when 'minute' then 60
    when 'hour' then 3600
    when 'day' then 86400
    when 'week' then 604800
    when 'month' then 30 * 86400
    when 'quarter' then 91 * 86400
    when 'year' then 365 * 86400
  end;
  v_length interval;
  v_first timestamp;
begin
  perform common.check_period(_bounds.since, _bounds.until);
  if v_seconds is null then
    perform common.refuse(
      'CF001',
      format('bucket is "%s"', left(_bounds.bucket, 100)),
      'Use minute, hour, day, week (from Monday), month, quarter or year.'
    );
  end if;
  perform common.check_zone(_bounds.zone);
  if _bounds.since < '0001-01-01' or _bounds.until > '9999-12-31' then
    perform common.refuse(
      'CF008',
      format('the period is from %s until %s', _bounds.since, _bounds.until),
      'Give times between the years 1 and 9999.'
    );
  end if;
  if extract(epoch from _bounds.until - _bounds.since) > 10000 * v_seconds then
    perform common.refuse(
      'CF008',
      format(
        'from %s until %s there are more than 10000 buckets of one %s', _bounds.since, _bounds.until, _bounds.bucket
      ),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  -- Hours and minutes have the offset of their own time: the hour that is repeated at the end of summer is two buckets.
  if _bounds.bucket in ('minute', 'hour') then
    v_length := case _bounds.bucket when 'minute' then interval '1 minute' else interval '30 minutes' end;
    return array(
      select distinct date_trunc(_bounds.bucket, moment, _bounds.zone) as bound
      from generate_series(
        date_trunc(_bounds.bucket, _bounds.since, _bounds.zone),
        date_trunc(_bounds.bucket, _bounds.until - interval '1 microsecond', _bounds.zone)
          + make_interval(secs => v_seconds),
        v_length
      ) as moment
      order by bound
    );
  end if;

  v_length := case _bounds.bucket when 'quarter' then interval '3 months' else ('1 ' || _bounds.bucket)::interval end;
  v_first := date_trunc(_bounds.bucket, _bounds.since at time zone _bounds.zone);
  -- A day that a zone skipped, as at the date line, is left out.
  return array(
    select distinct moment at time zone _bounds.zone as bound
    from generate_series(
      v_first,
      date_trunc(_bounds.bucket, (_bounds.until - interval '1 microsecond') at time zone _bounds.zone) + v_length,
      v_length
    ) as moment
    order by bound
  );
end;
$$;

comment on function analytics._bounds(text, timestamptz, timestamptz, text) is $$
Returns the bounds of the buckets of a period: n + 1 ascending times for n buckets.
Whole buckets of the zone: the period is extended at both ends, so that what a bucket contains does not depend on it.
`bucket`: `minute`, `hour`, `day`, `week` (from Monday), `month`, `quarter` or `year`. `zone`: a name of the IANA time
zone database; days have 23 or 25 hours when the clocks change.
Errors: CF001 for an invalid period or bucket, CF002 for an unknown zone (names the nearest), CF008 for more than 10,000
buckets, and for years before 1 or after 9999.
$$;

grant execute on function analytics._bounds(text, timestamptz, timestamptz, text) to insights_reader;
--! EndIncluded analytics/functions/_bounds.sql

--! Included analytics/functions/_among.sql
create or replace function analytics._among(among text, smallest_group int default null)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_invalid text;
begin
  if length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF008',
      format('among has %s characters and %s sets', length(_among.among), cardinality(v_terms)),
      'It can have 1,000 characters and 20 sets at most.'
    );
  end if;
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('among has "%s" in place of a set of people', left(v_invalid, 100)),
      'Give names of sets with & between them and ~ before those to leave out: "segment.power & ~cohort.beta".'
    );
  end if;

  perform experiment.check_sets(array(select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term)));
  return query
  with everyone as materialized (
    select everyone.block, coalesce(set_block.people, everyone.people) as people
    from (
      select blocks.block, ~v_no_people as people
      from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    ) as everyone
    left join track.person_set_blocks('counted') as set_block
      on set_block.block = everyone.block and _among.smallest_group is not null
    where set_block.block is not null
      or _among.smallest_group is null
  ),

  term as (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  ),

  -- A set of too few people reads as an empty one, and one that leaves out too few people as that of all people.
  read as (
    select
      whole.position, whole.is_left_out, whole.block,
      case
        when _among.smallest_group is null then whole.people
        when sum(bit_count(whole.of_all & whole.people)) over of_term < _among.smallest_group then v_no_people
        when sum(bit_count(whole.of_all & ~whole.people)) over of_term < _among.smallest_group then ~v_no_people
        else whole.people
      end as people
    from (
      select
        term.position, term.is_left_out, everyone.block, everyone.people as of_all,
        coalesce(named.people, v_no_people) as people
      from term
      cross join everyone
      left join named on named.position = term.position and named.block = everyone.block
    ) as whole
    window of_term as (partition by whole.position)
  )

  select
    everyone.block,
    everyone.people & coalesce(
      bit_and(case when read.is_left_out then ~read.people else read.people end), ~v_no_people
    )
  from everyone
  left join read on read.block = everyone.block
  group by everyone.block, everyone.people;
end;
$$;

comment on function analytics._among(text, int) is $$
Returns the people of an expression of sets, one bit per person, as of now.
`among`: names of sets (`track.person_set`), with `&` between them and `~` before those to leave out, such as
`segment.power & ~cohort.beta`; null: all people. `smallest_group`: counted people only (set `counted`), a set of fewer
counted people than this reads as an empty one, and one without fewer counted people than this as that of all people;
null: all people, and the sets as they are. Bits that belong to no person may be set: use the result as a filter.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF008 for more than 20 sets,
CF010 for variations of an experiment whose people were deleted by retention.
$$;

grant execute on function analytics._among(text, int) to insights_reader;
--! EndIncluded analytics/functions/_among.sql

--! Included analytics/trend/trend_figures.sql
create or replace function analytics.trend_figures(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  measure text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_figure
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if measure is null or measure not in ('events', 'people', 'engaged') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(measure, 100)), 'Use events, people or engaged (time, in seconds).'
    );
  end if;
  return query
  select
    trend.breakdown_value, trend.is_other, trend.bucket_start,
    common.add_buckets(trend.bucket_start, trend_figures.bucket, 1, trend_figures.zone),
    case trend_figures.measure
      when 'events' then trend.event_count::float8
      when 'people' then trend.person_count::float8
      else extract(epoch from trend.engaged)::float8
    end
  from analytics.trend(
    event_name => trend_figures.event_name,
    bucket => trend_figures.bucket,
    since => trend_figures.since,
    until => trend_figures.until,
    zone => trend_figures.zone,
    item => trend_figures.item,
    among => trend_figures.among,
    breakdown => trend_figures.breakdown,
    top_values => trend_figures.top_values
  ) as trend
  where trend.is_complete;
end;
$$;

comment on function analytics.trend_figures(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int
) is $$
@behavior -*
Returns one figure per complete bucket of a trend: `events`, `people`, or `engaged` time in seconds.
The other arguments are those of `analytics.trend`, with whose rules for analysts it is computed.
Errors: as that, CF001 for another measure.
$$;

grant execute on function analytics.trend_figures(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/trend/trend_figures.sql

--! Included analytics/trend/anomalies.sql
create or replace function analytics.anomalies(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10,
  season int default null,
  history int default 28,
  threshold float8 default 3.5
)
returns setof analytics.anomaly
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  -- 1.4826 median absolute deviations are one standard deviation of a normal distribution.
  v_scale constant float8 := 1.482602218505602;
  v_season constant int := coalesce(
    anomalies.season, case anomalies.bucket when 'hour' then 168 when 'day' then 7 else 1 end
  );
begin
  perform common.check_count('season', v_season, 1, 1000);
  perform common.check_count('history', anomalies.history, 10, 1000);
  if threshold is null or not threshold > 0 or threshold > 1000 then
    perform common.refuse(
      'CF001',
      format('threshold is %s', coalesce(threshold::text, 'null')),
      'Give a number of standard deviations, above 0 and up to 1000. The usual one is 3.5.'
    );
  end if;
  -- Before times are computed with it.
  perform common.check_zone(anomalies.zone);
  return query
  with point as (
    select
      listed.breakdown_value, listed.is_other, listed.bucket_start, listed.figure,
      listed.bucket_end > anomalies.since as is_in_period
    from analytics.trend_figures(
      event_name => anomalies.event_name,
      bucket => anomalies.bucket,
      -- The buckets before, which the first ones are compared with.
      since => common.add_buckets(
        anomalies.since, anomalies.bucket, -(anomalies.history + 3 * v_season), anomalies.zone
      ),
      until => anomalies.until,
      zone => anomalies.zone,
      measure => anomalies.measure,
      item => anomalies.item,
      among => anomalies.among,
      breakdown => anomalies.breakdown,
      top_values => anomalies.top_values
    ) as listed
  ),

  based as (
    select
      seasonal.*,
      (
        select percentile_cont(0.5) within group (order by earlier.figure)
        from unnest(array[seasonal.one_ago, seasonal.two_ago, seasonal.three_ago]) as earlier (figure)
      ) as base
    from (
      select
        point.*,
        lag(point.figure, v_season) over by_value as one_ago,
        lag(point.figure, 2 * v_season) over by_value as two_ago,
        lag(point.figure, 3 * v_season) over by_value as three_ago
      from point
      window by_value as (partition by point.breakdown_value, point.is_other order by point.bucket_start)
    ) as seasonal
    where seasonal.three_ago is not null
  ),

  residual as (
    select
      based.*,
      array_agg(based.figure - based.base) over (
        partition by based.breakdown_value, based.is_other
        order by based.bucket_start
        rows between anomalies.history preceding and 1 preceding
      ) as earlier
    from based
  ),

  scored as (
    select
      residual.bucket_start, residual.breakdown_value, residual.is_other, residual.figure,
      residual.base + middle.residual as expected,
      greatest(
        v_scale * spread.deviation,
        -- Counts vary at least as those of a Poisson distribution. The median of three has 0.4487 of their variance.
        case when anomalies.measure <> 'engaged' then sqrt(1.4487 * greatest(residual.base + middle.residual, 1)) end
      ) as deviation
    from residual
    cross join lateral (
      select percentile_cont(0.5) within group (order by listed.residual) as residual
      from unnest(residual.earlier) as listed (residual)
    ) as middle
    cross join lateral (
      select percentile_cont(0.5) within group (order by abs(listed.residual - middle.residual)) as deviation
      from unnest(residual.earlier) as listed (residual)
    ) as spread
    where residual.is_in_period
      and cardinality(residual.earlier) >= 10
  )

  select
    scored.bucket_start,
    scored.breakdown_value,
    scored.is_other,
    scored.figure,
    scored.expected,
    greatest(scored.expected - anomalies.threshold * scored.deviation, 0),
    scored.expected + anomalies.threshold * scored.deviation,
    (scored.figure - scored.expected) / nullif(scored.deviation, 0),
    coalesce(abs(scored.figure - scored.expected) > anomalies.threshold * scored.deviation, false),
    anomalies.zone
  from scored
  order by scored.is_other, scored.breakdown_value is null, scored.breakdown_value, scored.bucket_start;
end;
$$;

comment on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
) is $$
Returns a trend with the figures that are expected from its past, and the buckets that differ significantly from them.
A bucket is expected to have the median of the figures at the same place of the three seasons before it, plus the
median of the differences from such medians over the `history` buckets before it. It is an anomaly (`is_anomaly`) if
it differs from that by more than `threshold` deviations: 1.4826 times the median absolute deviation of these
differences, and for events and people at least that of the difference of Poisson counts from such a median. The score
is the modified z-score of B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle Outliers" (1993), whose threshold
is 3.5. Medians are not moved by one unusual bucket. There is one row per complete bucket that has 10 such differences
before it. `season`: number of buckets; null: 168 hours or 7 days, and 1 for other buckets. `measure`: `events`,
`people`, or `engaged` time in seconds. The other arguments are those of `analytics.trend`, with whose figures, and
whose rules for analysts, it is computed. Errors: as `analytics.trend`, CF001 for another measure, season, history or
threshold.
$$;

grant execute on function analytics.anomalies(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int, int, int, float8
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/trend/anomalies.sql

--! Included analytics/trend/forecast.sql
create or replace function analytics.forecast(
  event_name text default null,
  bucket text default 'day',
  steps_ahead int default 14,
  since timestamptz default null,
  until timestamptz default now(),
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 5,
  season int default null,
  confidence float8 default 0.95
)
returns setof analytics.forecast_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_season constant int := coalesce(
    forecast.season, case forecast.bucket when 'hour' then 168 when 'day' then 7 else 1 end
  );
  v_since timestamptz;
  v_points int;
  v_rows analytics.figure_list[];
begin
  perform common.check_count('steps_ahead', forecast.steps_ahead, 1, 366);
  perform common.check_count('season', v_season, 1, 1000);
  -- Before times are computed with it.
  perform common.check_zone(forecast.zone);
  v_since := coalesce(
    forecast.since,
    common.add_buckets(
      forecast.until, forecast.bucket, case forecast.bucket when 'hour' then -504 when 'day' then -182 else -60 end,
      forecast.zone
    )
  );

  -- From the first event on.
  with point as (
    select
      listed.*,
      sum(listed.figure) over (
        partition by listed.breakdown_value, listed.is_other
        order by listed.bucket_start
      ) > 0 as has_begun
    from analytics.trend_figures(
      forecast.event_name, forecast.bucket, v_since, forecast.until, forecast.zone, forecast.measure, forecast.item,
      forecast.among, forecast.breakdown, forecast.top_values
    ) as listed
  ),

  series as (
    select
      point.breakdown_value, point.is_other, max(point.bucket_end) as ends_at,
      array_agg(point.figure order by point.bucket_start) as figures
    from point
    where point.has_begun
    group by point.breakdown_value, point.is_other
    having count(*) >= 4
  )

  select
    sum(cardinality(series.figures)),
    array_agg(
      row(series.breakdown_value, series.is_other, series.ends_at, series.figures)::analytics.figure_list
      order by series.is_other, series.breakdown_value is null, series.breakdown_value
    )
  into v_points, v_rows
  from series;

  if v_points > 5000 then
    perform common.refuse(
      'CF008', format('%s series have %s buckets', cardinality(v_rows), v_points),
      'Forecasts are computed from 5000 buckets at most. Give a later since, fewer top_values or longer buckets.'
    );
  end if;

  return query
  select
    common.add_buckets(listed.ends_at, forecast.bucket, ahead.step_ahead - 1, forecast.zone),
    listed.breakdown_value, listed.is_other, ahead.step_ahead,
    greatest(ahead.forecast_value, 0), greatest(ahead.lower, 0), greatest(ahead.upper, 0),
    ahead.naive_value, greatest(ahead.naive_lower, 0), ahead.naive_upper,
    ahead.method, ahead.mase, ahead.holdout_mae, ahead.holdout_naive_mae, cardinality(listed.figures), forecast.zone
  from unnest(v_rows) with ordinality as listed (breakdown_value, is_other, ends_at, figures, position)
  cross join lateral ml.forecast_series(
    series => listed.figures,
    steps_ahead => forecast.steps_ahead,
    -- A cycle that the figures do not cover is not known.
    seasonal_period => case when cardinality(listed.figures) > v_season then v_season else 1 end,
    confidence => forecast.confidence
  ) as ahead
  order by listed.position, ahead.step_ahead;
end;
$$;

comment on function analytics.forecast(
  text, text, int, timestamptz, timestamptz, text, text, text, text, text, int, int, float8
) is $$
Returns the expected figures of the next buckets of a trend, with prediction intervals, beside the naive forecast.
The model is exponential smoothing with trend and season (`ml.forecast_series`), from the complete buckets of the period
since the first event; a series of fewer than four has no rows. The naive forecast is the figure one season ago.
`holdout_mae` and `holdout_naive_mae` are the mean absolute errors of both on the last buckets, with models that did not
know them: where the naive one is not larger, use the naive forecast. `since`: null for the last 504 hours, 182 days, or
60 other buckets. `season`: number of buckets; null: 168 hours or 7 days, and 1 for other buckets. `measure`: `events`,
`people`, or `engaged` time in seconds. The other arguments are those of `analytics.trend`, with whose figures, and
whose rules for analysts, it is computed. A fit of 182 days takes about 0.5 s, of 504 hours about 2 s.
Errors: as `analytics.trend`, CF001 for another invalid argument, CF008 for more than 5,000 buckets of all series.
$$;

grant execute on function analytics.forecast(
  text, text, int, timestamptz, timestamptz, text, text, text, text, text, int, int, float8
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/trend/forecast.sql

--! Included analytics/watches/watch_trend.sql
create or replace function analytics.watch_trend(
  name text,
  event_name text default null,
  bucket text default 'day',
  zone text default 'UTC',
  measure text default 'events',
  item text default null,
  among text default null,
  direction text default 'both',
  season int default null,
  history int default 28,
  threshold float8 default 3.5
)
returns analytics.trend_watch
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_most constant int := 100;
  v_watch analytics.trend_watch;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(watch_trend.name ~ '^[a-z][a-z0-9_-]{0,62}$', false) is false then
    perform common.refuse(
      'CF001', format('name is "%s"', coalesce(left(watch_trend.name, 100), 'null')),
      'Use 1 to 63 lower-case letters, digits, "_" and "-", with a letter at the beginning, such as "daily-views".'
    );
  end if;
  if watch_trend.bucket is null or watch_trend.bucket not in ('hour', 'day', 'week') then
    perform common.refuse(
      'CF001', format('bucket is "%s"', coalesce(left(watch_trend.bucket, 100), 'null')), 'Use hour, day or week.'
    );
  end if;
  if watch_trend.direction is null or watch_trend.direction not in ('both', 'above', 'below') then
    perform common.refuse(
      'CF001', format('direction is "%s"', coalesce(left(watch_trend.direction, 100), 'null')),
      'Use both, above or below.'
    );
  end if;
  if not exists (select from analytics.trend_watch where trend_watch.name = watch_trend.name)
    and (select count(*) from analytics.trend_watch) >= v_most
  then
    perform common.refuse(
      'CF008', format('%s trends are watched', v_most),
      'Remove one: select analytics.unwatch_trend(name) from analytics.trend_watch.'
    );
  end if;

  -- Checks the other arguments.
  perform
  from analytics.anomalies(
    event_name => watch_trend.event_name,
    bucket => watch_trend.bucket,
    since => now() - interval '1 hour',
    zone => watch_trend.zone,
    measure => watch_trend.measure,
    item => watch_trend.item,
    among => watch_trend.among,
    season => watch_trend.season,
    history => watch_trend.history,
    threshold => watch_trend.threshold
  );

  delete from analytics.trend_watch
  where trend_watch.name = watch_trend.name;
  insert into analytics.trend_watch (
    name, event_name, bucket, zone, measure, item, among, direction, season, history, threshold
  )
  values (
    watch_trend.name, watch_trend.event_name, watch_trend.bucket, watch_trend.zone, watch_trend.measure,
    watch_trend.item, watch_trend.among, watch_trend.direction, watch_trend.season, watch_trend.history,
    watch_trend.threshold
  )
  returning * into v_watch;
  return v_watch;
end;
$$;

comment on function analytics.watch_trend(
  text, text, text, text, text, text, text, text, int, int, float8
) is $$
Watches a trend: each hour its latest complete buckets are compared with what its past predicts, and an anomaly alerts.
The task `find_anomalies` stores what `analytics.anomalies` finds in `analytics.trend_anomaly`, and `monitor.health`
reports the latest bucket, so that `monitor.alert` and its channels have it. A watch of the same name is replaced.
`bucket`: `hour`, `day` or `week`; `direction`: `both`, `above` or `below` the expected figure. The other arguments are
those of `analytics.anomalies`. Figures are exact, about all people: only admins watch trends, and the alerts, which
others read, have the score and no figure. At most 100 trends are watched.
Errors: CF001 for an invalid argument, CF008 for too many, and those of `analytics.trend`.
$$;

grant execute on function analytics.watch_trend(text, text, text, text, text, text, text, text, int, int, float8)
to insights_admin;
--! EndIncluded analytics/watches/watch_trend.sql

--! Included analytics/watches/unwatch_trend.sql
create or replace function analytics.unwatch_trend(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table apply.
  delete from analytics.trend_watch
  where trend_watch.name = unwatch_trend.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('no trend "%s" is watched', coalesce(left(unwatch_trend.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(unwatch_trend.name, 100), array(select trend_watch.name from analytics.trend_watch order by 1)
        ) || '"?',
        'The names are in analytics.trend_watch.'
      )
    );
  end if;
end;
$$;

comment on function analytics.unwatch_trend(text) is $$
Ends the watch of a trend, and deletes the anomalies that were found. Errors: CF002 for a name that does not exist.
$$;

grant execute on function analytics.unwatch_trend(text) to insights_admin;
--! EndIncluded analytics/watches/unwatch_trend.sql

--! Included analytics/watches/find_anomalies.sql
create or replace function analytics.find_anomalies(name text)
returns setof analytics.trend_anomaly
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_watch analytics.trend_watch;
  v_since timestamptz;
begin
  -- An invoker: the figures are those of the caller, and the row policies of the tables apply.
  select trend_watch.*
  into v_watch
  from analytics.trend_watch
  where trend_watch.name = find_anomalies.name
  -- Two workers at once would insert the same rows.
  for update;
  if not found then
    perform common.refuse(
      'CF002', format('no trend "%s" is watched', coalesce(left(find_anomalies.name, 100), 'null')),
      'The names are in analytics.trend_watch.'
    );
  end if;

  -- Events that arrive late change the buckets of the last days.
  v_since := common.add_buckets(now(), v_watch.bucket, -7, v_watch.zone);
  delete from analytics.trend_anomaly
  where trend_anomaly.name = v_watch.name
    and (trend_anomaly.bucket_start > v_since or trend_anomaly.bucket_start < now() - interval '400 days');
  insert into analytics.trend_anomaly (name, bucket_start, figure, expected, lower_bound, upper_bound, score)
  select
    v_watch.name, compared.bucket_start, compared.figure, compared.expected, compared.lower_bound,
    compared.upper_bound, compared.score
  from analytics.anomalies(
    event_name => v_watch.event_name,
    bucket => v_watch.bucket,
    since => v_since,
    zone => v_watch.zone,
    measure => v_watch.measure,
    item => v_watch.item,
    among => v_watch.among,
    season => v_watch.season,
    history => v_watch.history,
    threshold => v_watch.threshold
  ) as compared
  where compared.is_anomaly
    and compared.bucket_start > v_since
    and (v_watch.direction = 'both' or (v_watch.direction = 'above') = (compared.figure > compared.expected));

  update analytics.trend_watch
  set checked_at = now()
  where trend_watch.name = v_watch.name;
  return query
  select trend_anomaly.*
  from analytics.trend_anomaly
  where trend_anomaly.name = v_watch.name
    and trend_anomaly.bucket_start > v_since
  order by trend_anomaly.bucket_start;
end;
$$;

comment on function analytics.find_anomalies(text) is $$
@behavior -*
Compares the last seven complete buckets of a watched trend with what its past predicts, and stores the anomalies.
Returns them. Those that earlier calls stored for these buckets are replaced, because events can arrive late; those
older than 400 days are deleted. Called by the task `find_anomalies`.
Errors: CF002 for a trend that is not watched, and those of `analytics.anomalies`, such as for an item or a set that
does not exist any more.
$$;

grant execute on function analytics.find_anomalies(text) to insights_admin, insights_worker;
--! EndIncluded analytics/watches/find_anomalies.sql

--! Included analytics/train_predictions/_lock_training.sql
/*
 * A training consists of steps, each of which may be a transaction of its own: snapshots of the learners of some
 * courses, or the training of one algorithm. A training in one call (analytics.train_predictions) takes the same steps.
 */
create or replace function analytics._lock_training(seed bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  perform common.check_count('seed', _lock_training.seed, -1000000000000000000, 1000000000000000000);
  if not pg_try_advisory_xact_lock(hashtext('analytics.train_predictions')) then
    perform common.refuse('CF010', 'another training of predictions is running', 'Try again when it has finished.');
  end if;
end;
$$;

comment on function analytics._lock_training(bigint) is $$
Locks the training of predictions until the transaction ends. Errors: CF001 (no seed), CF010 (already running).
$$;
--! EndIncluded analytics/train_predictions/_lock_training.sql

--! Included analytics/functions/_course_learner.sql
create or replace function analytics._course_learner(course_id bigint, person text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select learner.person_id
    from track.identity
    cross join lateral analytics._course_people(_course_learner.course_id, array[identity.person_id]) as learner
    where identity.external_id = _course_learner.person
      and identity.kind = 'user'
      and learner.is_shown
  );
end;
$$;

comment on function analytics._course_learner(bigint, text) is $$
Returns the key of the learner with a `userId` whose activity in a course is shown; null without one.
$$;

grant execute on function analytics._course_learner(bigint, text) to insights_reader;
--! EndIncluded analytics/functions/_course_learner.sql

--! Included analytics/cohorts/reads_set.sql
create or replace function analytics.reads_set(set_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from analytics.cohort
    where cohort.is_live
      and (
        reads_set.set_name in (select analytics._rule_sets(cohort.rule))
        or reads_set.set_name in (
          select analytics._prediction_set(found.value)
          from jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
        )
      )
  );
end;
$$;

comment on function analytics.reads_set(text) is $$
@behavior -*
Returns whether the rule of a live cohort names a set of people, or has its members by a prediction.
See `track.consumer.reads_set`.
$$;
--! EndIncluded analytics/cohorts/reads_set.sql

--! Included analytics/funnels/_funnel_attempts.sql
/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

create or replace function analytics._has_ties(every timestamptz[], hits timestamptz[], step_count int)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select exists (
    select
    from unnest(_has_ties.hits) as hit (at)
    cross join lateral (select width_bucket(hit.at, _has_ties.every) as number offset 0) as place
    cross join generate_series(-_has_ties.step_count, 0) as distance
    where _has_ties.every[place.number + distance] = _has_ties.every[place.number + distance + 1]
  );
end;

comment on function analytics._has_ties(timestamptz[], timestamptz[], int) is $$
Returns whether one of the events `hits`, or of the `step_count` events before it, has the time of another event.
`every`: the times of all events of a person, ascending.
$$;

grant execute on function analytics._has_ties(timestamptz[], timestamptz[], int) to insights_reader;

/*
 * Both statements have these parameters: $1 the filters, $2 the bounds, $3 the visible periods of each filter and, at
 * the end, of any event, $4 and $5 the people as blocks and bits, $6 the conversion window, $7 the event types, $8
 * whether all events are read, $9 the optional steps, one bit each, and $10 the property.
 */

/*
 * `at1`, `at2`, …: the times of the steps. From each time of a step, the latest time of the step before it is found
 * by binary search, and from there the latest one of the step before that: the latest possible start, with the latest
 * end of the window. When the first time whose start is late enough is found, the search ends. In a strict funnel, the
 * steps before a time are the events before it in `every`, the list of all events.
 */
create or replace function analytics._search_statement(
  filters analytics.step_filter[], step_count int, is_strict boolean, by_bucket boolean, only_visible boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_lists text := '';
  v_columns text := 'journey.at1';
  v_found text := '';
  v_start text := '%s';
  v_starts text[] := '{"start.found_1"}';
  v_forward text := '';
  -- In a strict funnel: the conditions of an attempt, from the place of its last step in the list of all events.
  v_chain text := '';
  v_every text := '';
  v_with_items constant boolean := exists (
    select from unnest(filters) as filter where not filter.is_exclusion and filter.items is not null
  );
  v_types constant text := quote_literal((
    select array_agg(filter.event_type_id) from unnest(filters) as filter where not filter.is_exclusion
  )) || '::int[]';
begin
  for v_number in 1 .. step_count loop
    v_lists := v_lists || format(
      ', %2$s as at%1$s',
      v_number,
      case
        when (filters[v_number]).items is null and not only_visible then format(
          $query$
          case
            when bool_and(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              = bool_or(journey.is_automatic) filter (where journey.event_type_id = %1$s)
              then analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s)
            else array(
              select unnest(
                analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                  filter (where journey.event_type_id = %1$s)
              )
              order by 1
            )
          end$query$,
          (filters[v_number]).event_type_id
        )
        else format(
          $query$
          array(
            select used.at
            from unnest(
              analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %1$s),
              %2$s
            ) as used (at, item_id)
            where %3$s
            order by 1
          )$query$,
          (filters[v_number]).event_type_id,
          case
            when v_with_items then format(
              $query$analytics._concatenated(journey.item_ids order by journey.person_id, journey.first_at)
                filter (where journey.event_type_id = %s)$query$,
              (filters[v_number]).event_type_id
            )
            else $query$'{}'::int[]$query$
          end,
          concat_ws(
            ' and ',
            case
              when (filters[v_number]).items is not null
                then format('used.item_id = any (($1)[%s].items)', v_number)
            end,
            case when only_visible then format('used.at <@ ($3)[%s]', v_number) end
          )
        )
      end
    );
    continue when v_number = 1;

    v_columns := v_columns || format(', journey.at%s', v_number);
    if is_strict then
      v_chain := (
        select string_agg(
          format(
            ' and attempt.at%1$s[width_bucket(attempt.every[ended.place - %2$s], attempt.at%1$s)]'
              || ' = attempt.every[ended.place - %2$s]',
            number, v_number - number
          ),
          '' order by number desc
        )
        from generate_series(1, v_number - 1) as number
      );
    end if;
    -- The start of the attempt that a time of this step belongs to.
    v_start := format(v_start, format('attempt.at%1$s[width_bucket(%%s, attempt.at%1$s)]', v_number - 1));
    v_found := v_found || format(
      $query$
      left join lateral (
        select later.at
        from (
          select unnest(attempt.at%1$s%2$s) as at
        ) as later%4$s
        where later.at <= %3$s + $6%5$s
        limit 1
      ) as reach_%1$s on true$query$,
      v_number,
      case
        when v_number > 2 then format(
          $query$[width_bucket(reach_%1$s.at - interval '1 microsecond', attempt.at%2$s) + 1:]$query$,
          v_number - 1, v_number
        )
        else ''
      end,
      case
        when is_strict then format('attempt.every[ended.place - %s]', v_number - 1)
        else format(v_start, 'later.at')
      end,
      case
        when is_strict
          then ' cross join lateral (select width_bucket(later.at, attempt.every) as place) as ended'
        else ''
      end,
      v_chain
    );
    v_starts := v_starts || case
      when is_strict
        then format('attempt.every[width_bucket(reach_%1$s.at, attempt.every) - %2$s]', v_number, v_number - 1)
      else format(v_start, format('reach_%s.at', v_number))
    end;
    v_forward := v_forward || format(
      $query$
      cross join lateral (
        select
          case
            when start.reached >= %1$s
              then attempt.at%1$s[
                width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1
              ]
          end as at
      ) as time_%1$s$query$,
      v_number, v_number - 1
    );
  end loop;

  if is_strict then
    v_every := format(
      $query$
      select
        seen.*,
        seen.has_automatic or analytics._has_ties(seen.every, %1$s, %2$s) as is_walked
      from (
        select journey.person_id, journey.has_automatic, %3$s as every%4$s
        from journey
        where cardinality(journey.at1) > 0
        offset 0
      ) as seen$query$,
      coalesce(
        (
          select string_agg(format('seen.at%s', number), ' || ' order by number)
          from generate_series(2, step_count) as number
        ),
        $query$'{}'::timestamptz[]$query$
      ),
      step_count,
      case
        when only_visible then format(
          $query$array(
            select happened.at
            from (
              select unnest(journey.every) as at
            ) as happened
            where happened.at <@ ($3)[cardinality($1) + 1]%s
            order by 1
          )$query$,
          (
            select string_agg(
              format(' or journey.at%1$s[width_bucket(happened.at, journey.at%1$s)] = happened.at', number),
              '' order by number
            )
            from generate_series(1, step_count) as number
          )
        )
        else 'journey.every'
      end,
      (
        select string_agg(format(', journey.at%s', number), '' order by number)
        from generate_series(1, step_count) as number
      )
    );
  end if;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s%13$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids,
          journey.occurred_at[1] as first_at
        from analytics._journeys(%2$s, %14$L, %3$s, ($2)[1], ($2)[cardinality($2)]) as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bool_or(journey.event_type_id = ($1)[1].event_type_id)
    ),

%12$s    attempt as (
      select journey.person_id, %4$s, %5$s%15$s
      from %16$s as journey%6$s
      where cardinality(journey.at1) > 0%17$s
      offset 0
    )

    select attempt.person_id, attempt.bucket, null::text, start.reached, array[time_1.at%7$s]
    from attempt%8$s
    cross join lateral (
      select
        %9$s as reached,
        case %10$s else attempt.at1[1] end as at
    ) as start
    cross join lateral (select start.at) as time_1%11$s
    $query$,
    v_lists,
    v_types,
    case when v_with_items then 'true' else 'false' end,
    case when by_bucket then 'part.bucket' else '1 as bucket' end,
    case when by_bucket then replace(v_columns, 'journey.at1', 'part.at as at1') else v_columns end,
    case
      when by_bucket then $query$
      cross join lateral (
        select entered.bucket, array_agg(entered.at order by entered.at) as at
        from (
          select width_bucket(listed.at, $2) as bucket, listed.at
          from unnest(journey.at1) as listed (at)
        ) as entered
        group by entered.bucket
      ) as part$query$
      else ''
    end,
    (
      select string_agg(format(', time_%s.at', number), '' order by number)
      from generate_series(2, step_count) as number
    ),
    v_found,
    (
      select 'case ' || string_agg(format('when reach_%1$s.at is not null then %1$s', number), ' ' order by number desc)
        || ' else 1 end'
      from generate_series(2, step_count) as number
    ),
    (
      select
        string_agg(format('when reach_%s.at is not null then %s', number, v_starts[number]), ' ' order by number desc)
      from generate_series(2, step_count) as number
    ),
    v_forward,
    -- Read twice: those with ties are walked.
    case when is_strict then format('    listed as materialized (%s),%s', v_every, E'\n\n') else '' end,
    case
      when is_strict then format(
        $query$, array(
          select unnest(
            analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
              filter (where not journey.is_automatic)
          )
          order by 1
        ) as every,
        coalesce(bool_or(journey.is_automatic) filter (where journey.event_type_id = any (%s)), false) as has_automatic
        $query$,
        v_types
      )
      else ''
    end,
    is_strict,
    case when is_strict then ', journey.every' else '' end,
    case when is_strict then 'listed' else 'journey' end,
    case when is_strict then ' and not journey.is_walked' else '' end
  );
end;
$$;

comment on function analytics._search_statement(analytics.step_filter[], int, boolean, boolean, boolean) is $$
Returns the statement that finds the attempts of people in an ordered or strict funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start. In a
strict funnel it leaves out the people of its CTE `listed` that are `is_walked`, because events of one time count in
the order of the steps, and automatic events, which are in no list of all events, are steps.
$$;

grant execute on function analytics._search_statement(analytics.step_filter[], int, boolean, boolean, boolean)
to insights_reader;

create or replace function analytics._walk_statement(
  filters analytics.step_filter[],
  step_count int,
  step_order text,
  by_events boolean,
  attribution text,
  by_bucket boolean,
  only_visible boolean,
  members text
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter analytics.step_filter;
  v_steps text := '0';
  v_exclusions text := '0';
  v_bit int;
  v_expression text;
  v_source text;
  -- The steps that begin an attempt.
  v_entry constant int := case when step_order = 'unordered' then (1 << step_count) - 1 else 1 end;
  -- The first step of an attempt is in its bucket, and the step that gives the value has this value.
  v_masked constant text := concat(
    'hit.steps',
    case
      when by_bucket and step_order <> 'unordered'
        then ' & case when hit.at >= ($2)[entered.bucket + 1] then ~1 else ~0 end'
    end,
    case
      when attribution like 'step\_%' then format(
        ' & case when hit.steps & %1$s <> 0 and hit.value is distinct from given.value then ~%1$s else ~0 end',
        1 << (substr(attribution, 6)::int - 1)
      )
    end
  );
begin
  for v_number in 1 .. cardinality(filters) loop
    v_filter := filters[v_number];
    v_bit := case
      when v_filter.is_exclusion then (1 << v_filter.last_step) - (1 << v_filter.first_step)
      else 1 << (v_number - 1)
    end;
    v_expression := format(
      ' | case when %s then %s else 0 end',
      concat_ws(
        ' and ',
        case
          when v_filter.event_type_id = 0 then 'not happened.is_automatic'
          else format('happened.event_type_id = %s', v_filter.event_type_id)
        end,
        case when v_filter.items is not null then format('happened.item_id = any (($1)[%s].items)', v_number) end,
        case
          when v_filter.property is not null then format(
            $query$happened.properties -> (($1)[%1$s].property ->> 'name') = ($1)[%1$s].property -> 'is'$query$,
            v_number
          )
        end,
        case when only_visible then format('happened.at <@ ($3)[%s]', v_number) end
      ),
      v_bit
    );
    if v_filter.is_exclusion then
      v_exclusions := v_exclusions || v_expression;
    else
      v_steps := v_steps || v_expression;
    end if;
  end loop;

  v_source := case
    when by_events then
      $query$
      select
        event.person_id, event.event_type_id, event.occurred_at as at, event.item_id, event.properties,
        event_type.is_automatic or source.is_automatic as is_automatic,
        left(event.properties ->> $10, 200) as value
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      join member
        on member.block = event.person_id / 4096
        and get_bit(member.people, (event.person_id % 4096)::int) <> 0
      where event.occurred_at >= ($2)[1]
        and event.occurred_at < ($2)[cardinality($2)]
        and (event.event_type_id = any ($7) or $8)
        and event.person_id <> 0
      $query$
    else
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, null::jsonb as properties,
        journey.is_automatic, null::text as value
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      $query$
  end;

  return format(
    $query$
    with member as materialized (%7$s),

    hit as (
      select happened.person_id, happened.at, happened.steps, happened.exclusions, happened.value
      from (
        select
          happened.person_id, happened.at, happened.value, happened.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as happened
      ) as happened
      where happened.steps <> 0
        or happened.exclusions <> 0
        or %4$s
    ),

    journey as (%5$s)

    select journey.person_id, journey.bucket, journey.value, attempt.reached, attempt.times
    from journey
    cross join lateral %6$s as attempt
    where attempt.reached > 0
    $query$,
    v_steps,
    v_exclusions,
    v_source,
    case
      when step_order <> 'strict' then 'false'
      when only_visible then 'not happened.is_automatic and happened.at <@ ($3)[cardinality($1) + 1]'
      else 'not happened.is_automatic'
    end,
    format(
      $query$
      select
        %1$s as person_id, %2$s as bucket, %3$s as value,
        array_agg(hit.at order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as at,
        array_agg(%4$s order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as steps,
        array_agg(hit.exclusions order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as exclusions
      from hit%5$s
      group by %6$s
      having bool_or(%4$s & %7$s <> 0)
      $query$,
      'hit.person_id',
      case when by_bucket then 'entered.bucket' else '1' end,
      case
        when attribution is null then 'null::text'
        when attribution in ('first_touch', 'last_touch') then format(
          $query$(
            array_agg(hit.value order by hit.at%s, hit.value) filter (where hit.steps <> 0 and hit.value is not null)
          )[1]$query$,
          case when attribution = 'last_touch' then ' desc' end
        )
        when attribution = 'all_events' then 'hit.value'
        else 'given.value'
      end,
      v_masked,
      concat(
        case
          when by_bucket then format(
            $query$
            join (
              select distinct hit.person_id, width_bucket(hit.at, $2) as bucket
              from hit
              where hit.steps & %s <> 0
            ) as entered
              on entered.person_id = hit.person_id
              and hit.at >= ($2)[entered.bucket]
              and hit.at <= ($2)[entered.bucket + 1] + $6
            $query$,
            v_entry
          )
        end,
        case
          when attribution like 'step\_%' then format(
            $query$
            left join (
              select distinct hit.person_id, hit.value
              from hit
              where hit.steps & %s <> 0
            ) as given on given.person_id = hit.person_id
            $query$,
            1 << (substr(attribution, 6)::int - 1)
          )
        end
      ),
      concat_ws(
        ', ',
        'hit.person_id',
        case when by_bucket then 'entered.bucket' end,
        case when attribution = 'all_events' then 'hit.value' when attribution like 'step\_%' then 'given.value' end
      ),
      v_entry
    ),
    case
      when step_order = 'unordered' then format(
        'analytics._walk_unordered(journey.at, journey.steps, journey.exclusions, %s, $6, %s)',
        step_count,
        case when by_bucket then '($2)[journey.bucket + 1]' else $query$'infinity'$query$ end
      )
      else format(
        $query$(
          select walked.reached, walked.times
          from analytics._walk_steps(
            journey.at, journey.steps, journey.exclusions, %s, $6, $9, %s
          ) as walked
          where not walked.is_excluded
        )$query$,
        step_count, case when step_order = 'strict' then 'true' else 'false' end
      )
    end,
    members
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean, text
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `by_events`: properties are read, from the events. `by_bucket`: one attempt per
person and bucket of its start. `members`: the query of the people, as blocks and bits.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean, text
)
to insights_reader;

create or replace function analytics._funnel_attempts(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  property text,
  attribution text,
  smallest_group int
)
returns table (person_id bigint, bucket int, value text, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- A row has the journey of a person.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_by_bucket constant boolean := cardinality(bounds) > 2;
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_types constant int[] := array(
    select distinct filter.event_type_id from unnest(filters) as filter where filter.event_type_id <> 0
  );
  v_with_any constant boolean := step_order = 'strict'
    or exists (select from unnest(filters) as filter where filter.event_type_id = 0);
  v_by_events constant boolean := _funnel_attempts.property is not null
    or exists (select from unnest(filters) as filter where filter.property is not null);
  v_optional constant int := (
    select coalesce(sum(1 << (filter.first_step - 1)), 0)
    from unnest(filters) as filter
    where filter.is_optional
  );
  -- Where no event is two steps, and none is optional.
  v_by_search constant boolean := step_order in ('ordered', 'strict')
    and not v_by_events
    and v_optional = 0
    and not exists (select from unnest(filters) as filter where filter.event_type_id = 0)
    and (
      select count(distinct filter.event_type_id) = v_step_count
      from unnest(filters) as filter
      where not filter.is_exclusion
    );
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_walkers bit(4096)[];
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from analytics._members(_funnel_attempts.among, _funnel_attempts.smallest_group) as member;
  if smallest_group is not null then
    v_visible := array(
      select
        analytics._visible_periods(
          entry.event_type_id, entry.item_id, _funnel_attempts.among, bounds, _funnel_attempts.smallest_group
        )
      from (
        select filter.event_type_id, filter.item_id, filter.ordinality
        from unnest(filters) with ordinality as filter
        union all
        select 0, null, cardinality(filters) + 1 where step_order = 'strict'
      ) as entry
      order by entry.ordinality
    );
  end if;

  if not v_by_search then
    v_walkers := v_people;
  elsif cardinality(filters) > v_step_count then
    -- Exclusions are of no concern to people without one.
    v_walkers := array(
      select coalesce(bit_or(track.person_bit(journey.person_id)) & entry.people, v_no_people)
      from unnest(v_blocks, v_people) as entry (block, people)
      left join analytics._journeys(
        array(select filter.event_type_id from unnest(filters) as filter where filter.is_exclusion),
        exists (select from unnest(filters) as filter where filter.is_exclusion and filter.event_type_id = 0),
        false, v_since, v_until
      ) as journey on journey.person_id / 4096 = entry.block
      group by entry.block, entry.people
      order by entry.block
    );
    v_people := array(
      select entry.people & ~entry.walkers
      from unnest(v_blocks, v_people, v_walkers) as entry (block, people, walkers)
      order by entry.block
    );
  end if;

  if v_by_search then
    return query execute
      analytics._search_statement(
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, false, null, v_by_bucket, v_visible is not null,
            $query$
            select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
            from listed
            where listed.is_walked
            group by listed.person_id / 4096
            $query$
          )
        )
        else ''
      end
    using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
      _funnel_attempts.property;
  end if;
  if v_walkers is not null then
    return query execute analytics._walk_statement(
      filters, v_step_count, step_order, v_by_events,
      case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null,
      'select entry.block, entry.people from unnest($4, $5) as entry (block, people)'
    )
    using filters, bounds, v_visible, v_blocks, v_walkers, conversion_window, v_types, v_with_any, v_optional,
      _funnel_attempts.property;
  end if;
end;
$$;

comment on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) is $$
Returns the furthest attempt of each person in a funnel, with the privileges of the caller.
`filters`: the steps and exclusions (`analytics._funnel_steps`). `bounds`: ascending times; the events are those
between the first and the last one. With more than two, there is one attempt per person and bucket in which the person
did the first step. `property`: the attempts have the value of this property of the events that `attribution` names;
null: null. `reached`: the number of the furthest step; `times`: the time of each step, null where it was not done (in
an unordered funnel the times of that many steps). People whose furthest attempt met an exclusion are left out, except
in an unordered funnel. `smallest_group`: events of counted people in `analytics._visible_periods`; null: of all
people.
$$;

grant execute on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) to insights_reader;
--! EndIncluded analytics/funnels/_funnel_attempts.sql

--! Included analytics/sessions/session_distribution.sql
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, smallest_group int
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;

  return query
  with counted as (
    select
      width_bucket(
        case _session_distribution.measure
          when 'engaged' then extract(epoch from session.engaged)::float8
          when 'duration' then extract(epoch from session.duration)::float8
          else session.views::float8
        end,
        v_starts
      ) as bin,
      count(*) as session_count,
      count(distinct session.person_id) as person_count
    from analytics._sessions(
      array[v_days[1], v_days[cardinality(v_days)]], _session_distribution.among, _session_distribution.smallest_group
    ) as session
    group by 1
  ),

  shown as (
    select
      listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted on counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count / nullif(sum(shown.session_count) over (), 0)::float8
  from shown
  order by shown.bin;
end;
$$;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, int) is $$
Computes the result of `analytics.session_distribution`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution_exact(
  measure text,
  since timestamptz,
  until timestamptz,
  among text
)
returns setof analytics.session_bin
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, null
  );
$$;

alter function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
)
owner to insights_reader;

comment on function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
) is $$
Returns the result of `analytics.session_distribution` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_distribution_exact(
  text, timestamptz, timestamptz, text
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text
)
returns setof analytics.session_bin
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
)
owner to insights_reader;

comment on function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(
  text, timestamptz, timestamptz, text
)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution_exact(text, timestamptz, timestamptz, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution_exact(
      session_distribution.measure, session_distribution.since, session_distribution.until, session_distribution.among
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until, session_distribution.among
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_distribution.sql

--! Included analytics/learning/_visible_learners.sql
create or replace function analytics._visible_learners(
  course text,
  among text,
  out course_id bigint,
  out learners bigint[],
  out smallest_group int
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_teaches constant boolean := not v_reads_all and not pg_has_role(v_caller, 'insights_analyst', 'usage');
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- For an instructor, only a course that she teaches now.
  course_id := case
    when v_teaches then analytics._course_id(_visible_learners.course)
    else analytics._item_id(_visible_learners.course)
  end;
  if v_teaches and _visible_learners.among is not null then
    perform common.refuse(
      'CF005', 'instructors cannot filter by sets of people', 'Leave among out: the learners of the course are meant.'
    );
  end if;
  if not v_reads_all and not v_teaches then
    smallest_group := (select setting.smallest_group from analytics.setting);
  end if;

  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_visible_learners.among, _visible_learners.smallest_group) as member;
  if course_id is null then
    learners := array(
      select person.person_id
      from track.person
      join unnest(v_blocks, v_people) as member (block, people)
        on member.block = person.person_id / 4096
        and get_bit(member.people, (person.person_id % 4096)::int) <> 0
      where person.person_id <> 0
    );
    return;
  end if;
  learners := array(
    select distinct enrolment.person_id
    from track.enrolment
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = _visible_learners.course_id
      and enrolment.person_id <> 0
  );
  if v_teaches then
    learners := array(
      select learner.person_id
      from analytics._course_people(_visible_learners.course_id, _visible_learners.learners) as learner
      where learner.is_shown
    );
  end if;
end;
$$;

comment on function analytics._visible_learners(text, text) is $$
Returns a course, the people enrolled in it whose figures the caller may see, and the floor that applies to them.
`course` null: all people, for administrators, workers and analysts.
Called by definers: it reads the role of the caller. Administrators and workers: all but excluded people, of these sets
now (`among`), and no floor (null). Analysts: the counted ones of them, and `analytics.setting.smallest_group`.
Instructors: those of a course that they teach now, without people who have opted out of `analytics` and those whose
data is restricted, and no floor. People who have dropped the course are included.
Errors: CF001 and CF002 as `analytics._among`; CF002 for an unknown course, or one that the instructor does not teach;
CF005 for `among` given by an instructor.
$$;

grant execute on function analytics._visible_learners(text, text) to insights_reader;
--! EndIncluded analytics/learning/_visible_learners.sql

--! Included analytics/learning/_item_uses.sql
create or replace function analytics._item_uses(
  people bigint[], items bigint[], since timestamptz[], until timestamptz[]
)
returns table (person_id bigint, item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_queued record;
begin
  v_queued := track.queued_days('0001-01-01', 'infinity', _item_uses.people);
  return query
  with person as materialized (
    select
      entry.person_id, coalesce(entry.since, '-infinity') as since, coalesce(entry.until, 'infinity') as until
    from unnest(_item_uses.people, _item_uses.since, _item_uses.until) as entry (person_id, since, until)
  ),

  part as materialized (
    select entry.item_id from unnest(_item_uses.items) as entry (item_id)
  ),

  used as (
    select step.person_id, place.item_id::bigint as item_id, place.at
    from track.step
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    where step.person_id = any (_item_uses.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic

    union all

    select event.person_id, event.item_id, event.occurred_at as at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
  )

  select used.person_id, used.item_id, min(used.at), max(used.at)
  from used
  join part on part.item_id = used.item_id
  join person on person.person_id = used.person_id and used.at between person.since and person.until
  group by used.person_id, used.item_id;
end;
$$;

comment on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Returns which items people have used, with the times of the first and the last event of each.
Of these people and items, in the period of each person at the same position (both ends inclusive; null: no limit).
Automatic events are left out. People who are queued for a refresh are read from their
events, all others from their journeys, so that the result is the same before and after a refresh.
$$;

grant execute on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) to insights_reader;
--! EndIncluded analytics/learning/_item_uses.sql

--! Included analytics/learning/_kind_items.sql
create or replace function analytics._kind_items(course_id bigint, kind text)
returns table (item_id bigint, kind_item_id bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _kind_items.kind is not null and not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _kind_items.kind
    where ancestor.ancestor_item_id = _kind_items.course_id
  ) then
    perform common.refuse(
      'CF002',
      format('the course contains no items of kind "%s"', left(_kind_items.kind, 100)),
      coalesce(
        (
          select format('It contains items of the kinds %s.', string_agg(distinct item.kind, ', '))
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = _kind_items.course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;

  return query
  select distinct on (within.item_id) within.item_id, holder.ancestor_item_id
  from track.item_ancestor as within
  join track.item_ancestor as holder on holder.item_id = within.item_id
  join track.item on item.item_id = holder.ancestor_item_id
  -- An item that contains the course is not a part of it.
  join track.item_ancestor as part
    on part.item_id = holder.ancestor_item_id
    and part.ancestor_item_id = _kind_items.course_id
  where within.ancestor_item_id = _kind_items.course_id
    and (item.kind = _kind_items.kind or _kind_items.kind is null and holder.depth = 0)
  order by within.item_id, holder.depth;
end;
$$;

comment on function analytics._kind_items(bigint, text) is $$
Returns the items of a course, each with the nearest item of a kind that it is or that contains it.
Items outside of such an item have no row. `kind` null: each item with itself; the course is one of them.
Errors: CF002 for a kind of which the course contains no items (lists its kinds).
$$;

grant execute on function analytics._kind_items(bigint, text) to insights_reader;
--! EndIncluded analytics/learning/_kind_items.sql

--! Included analytics/learning/stopping_points.sql
create or replace function analytics._stopping_points(
  course_id bigint, learners bigint[], kind text, inactive_days int, smallest_group int
)
returns setof analytics.stopping_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_active_since constant timestamptz :=
    date_trunc('day', now(), 'UTC') - make_interval(days => _stopping_points.inactive_days);
begin
  return query
  with part as materialized (
    select entry.item_id, entry.kind_item_id
    from analytics._kind_items(_stopping_points.course_id, _stopping_points.kind) as entry
  ),

  learner as materialized (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped,
      min(enrolment.enrolled_at) as enrolled_at
    from track.enrolment
    where enrolment.item_id = _stopping_points.course_id
      and enrolment.person_id = any (_stopping_points.learners)
    group by enrolment.person_id
  ),

  -- Activity in the whole course decides who has stopped, also where it is not in an item of the kind.
  used as materialized (
    select used.person_id, part.kind_item_id, used.ended_at, used.item_id
    from analytics._item_uses(
      _stopping_points.learners,
      array(
        select ancestor.item_id
        from track.item_ancestor as ancestor
        where ancestor.ancestor_item_id = _stopping_points.course_id
      ),
      null,
      null
    ) as used
    left join part on part.item_id = used.item_id
  ),

  active as (
    select used.person_id, max(used.ended_at) as ended_at
    from used
    group by used.person_id
  ),

  stopped as (
    select learner.person_id
    from learner
    left join active on active.person_id = learner.person_id
    where not learner.has_completed
      and (learner.has_dropped or coalesce(active.ended_at, learner.enrolled_at) < v_active_since)
  ),

  last_used as (
    select distinct on (used.person_id) used.person_id, used.kind_item_id
    from used
    where used.kind_item_id is not null
    order by used.person_id, used.ended_at desc, used.item_id desc
  ),

  reached as (
    select used.kind_item_id, count(distinct used.person_id) as person_count
    from used
    where used.kind_item_id is not null
    group by used.kind_item_id

    union all

    -- Before the first item are all learners.
    select null, count(*)
    from learner
  ),

  stopped_at as (
    select last_used.kind_item_id, count(*) as person_count
    from stopped
    left join last_used on last_used.person_id = stopped.person_id
    group by last_used.kind_item_id
  ),

  place as (
    select distinct part.kind_item_id from part

    union all

    select null
  ),

  shown as (
    select
      place.kind_item_id,
      coalesce(
        analytics._shown(reached.person_count, reached.person_count, _stopping_points.smallest_group), 0
      )::bigint as reached_count,
      coalesce(
        analytics._shown(stopped_at.person_count, stopped_at.person_count, _stopping_points.smallest_group), 0
      )::bigint as stopped_count
    from place
    left join reached on reached.kind_item_id is not distinct from place.kind_item_id
    left join stopped_at on stopped_at.kind_item_id is not distinct from place.kind_item_id
  )

  select
    item.external_id, item.kind, item.title, shown.reached_count, shown.stopped_count,
    shown.stopped_count / nullif(shown.reached_count, 0)::float8,
    shown.stopped_count / nullif(sum(shown.stopped_count) over (), 0)::float8
  from shown
  left join track.item on item.item_id = shown.kind_item_id
  order by shown.stopped_count desc, shown.reached_count desc, item.external_id collate "C" nulls first;
end;
$$;

comment on function analytics._stopping_points(bigint, bigint[], text, int, int) is $$
Computes the result of `analytics.stopping_points` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._stopping_points(bigint, bigint[], text, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.stopping_points(
  course text,
  kind text default null,
  inactive_days int default 14,
  among text default null
)
returns setof analytics.stopping_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  perform common.check_count('inactive_days', stopping_points.inactive_days, 1, 3650);
  v_visible := analytics._visible_learners(coalesce(stopping_points.course, ''), stopping_points.among);
  return query
  select *
  from analytics._stopping_points(
    v_visible.course_id, v_visible.learners, stopping_points.kind, stopping_points.inactive_days,
    v_visible.smallest_group
  );
end;
$$;

alter function analytics.stopping_points(text, text, int, text) owner to insights_reader;

comment on function analytics.stopping_points(text, text, int, text) is $$
Returns where the learners of a course stopped: the items after which they did nothing more in it.
A learner has stopped when none of her enrolments is completed and she has dropped the course, or has not been active in
it today and on the `inactive_days` days (UTC) before; a learner who was never active counts from her enrolment on. She
stopped at the item of her last event in the course, and reached each item of which she has an event; automatic events,
such as grades, are left out. With `kind` (`page`, `video`, `task`, `module`), it is the last item of this kind: each
event counts for the nearest item of the kind that contains its item. The row without item holds the learners who
stopped before any such item. All items of the course have a row, in the order of the learners who stopped there.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers. People count as soon as their events are stored.
Errors: CF001 for `inactive_days` that are not from 1 to 3650; CF002 for an unknown course or set (names the nearest), a
course that the instructor does not teach, and a kind of which it contains no items; CF005 for `among` given by an
instructor.
$$;

grant execute on function analytics.stopping_points(text, text, int, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/stopping_points.sql

--! Included analytics/learning/_chronotype.sql
create or replace function analytics._chronotype(
  active_hours bigint[],
  active_days bigint,
  out mid_activity float8,
  out concentration float8,
  out p_value float8,
  out chronotype text
)
-- An SQL function with settings is not inlined, and is started again for each row.
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count float8 := 0;
  v_cosine float8 := 0;
  v_sine float8 := 0;
  v_resultant float8;
begin
  for v_hour in 0 .. 23 loop
    v_count := v_count + active_hours[v_hour + 1];
    v_cosine := v_cosine + active_hours[v_hour + 1] * cosd(15 * v_hour + 7.5);
    v_sine := v_sine + active_hours[v_hour + 1] * sind(15 * v_hour + 7.5);
  end loop;
  if v_count = 0 then
    return;
  end if;
  concentration := least(sqrt(v_cosine ^ 2 + v_sine ^ 2) / v_count, 1);
  v_resultant := active_days * concentration;
  p_value := least(
    exp(sqrt(1 + 4 * active_days + 4 * (active_days ^ 2 - v_resultant ^ 2)) - (1 + 2 * active_days)), 1
  );
  -- Without a concentration, the mean of the hours is arbitrary.
  if concentration > 1e-9 then
    mid_activity := mod((atan2d(v_sine, v_cosine) / 15 + 24)::numeric, 24);
  end if;
  chronotype := case
    when mid_activity is null or p_value >= 0.05 then 'undetermined'
    when mid_activity >= 22 or mid_activity < 5 then 'definitely_evening'
    when mid_activity < 8 then 'definitely_morning'
    when mid_activity < 10 then 'moderately_morning'
    when mid_activity < 17 then 'intermediate'
    else 'moderately_evening'
  end;
end;
$$;

comment on function analytics._chronotype(bigint[], bigint) is $$
Returns mid-activity and chronotype from the numbers of active hours of a person by hour of the day.
`active_hours`: 24 numbers; `active_days`: days on which she was active. `mid_activity`: circular mean of the hours,
from 0 to 24; null when they have none. `concentration`: mean resultant length, from 0 (no direction) to 1 (always the
same hour). `p_value`: of Rayleigh's test of uniformity, in the approximation of Zar (Biostatistical Analysis, 1999,
27.4), with the days as independent observations, since hours of a day are not. See `analytics.my_chronotype` for the
types. All are null without active hours.
$$;

grant execute on function analytics._chronotype(bigint[], bigint) to insights_reader;
--! EndIncluded analytics/learning/_chronotype.sql

--! Included analytics/learning/my_chronotype.sql
/* A definer owned by insights_reader: it calls private functions, and reads the events of the signed-in person only. */
create or replace function analytics.my_chronotype(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null
)
returns analytics.own_chronotype
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_person_id constant bigint := track.current_person_id();
  v_own analytics.own_chronotype;
  v_days timestamptz[];
  v_active_hours bigint[];
begin
  v_own.zone := coalesce(
    my_chronotype.zone,
    (
      select known.name
      from track.current_trait(array[v_person_id], 'timezone') as trait
      join pg_timezone_names as known on known.name = trait.value #>> '{}'
    ),
    'UTC'
  );
  v_days := analytics._bounds('day', my_chronotype.since, my_chronotype.until, v_own.zone);

  with active as materialized (
    select distinct date_trunc('hour', event.occurred_at at time zone v_own.zone) as local_hour
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = v_person_id
      and event.occurred_at >= v_days[1]
      and event.occurred_at < v_days[cardinality(v_days)]
  ),

  by_hour as (
    select hour.number as hour, count(active.local_hour) as hour_count
    from generate_series(0, 23) as hour (number)
    left join active on extract(hour from active.local_hour) = hour.number
    group by hour.number
  )

  select
    array_agg(by_hour.hour_count order by by_hour.hour),
    (select count(distinct active.local_hour::date) from active)
  into v_active_hours, v_own.active_days
  from by_hour;

  v_own.active_hours := (select sum(entry.hour_count) from unnest(v_active_hours) as entry (hour_count));
  if v_own.active_hours > 0 then
    v_own.hour_shares := array(
      select entry.hour_count / v_own.active_hours::float8
      from unnest(v_active_hours) with ordinality as entry (hour_count, hour)
      order by entry.hour
    );
  end if;
  select found.mid_activity, found.concentration, found.p_value, found.chronotype
  into v_own.mid_activity, v_own.concentration, v_own.p_value, v_own.chronotype
  from analytics._chronotype(v_active_hours, v_own.active_days) as found;
  return v_own;
end;
$$;

alter function analytics.my_chronotype(timestamptz, timestamptz, text) owner to insights_reader;

comment on function analytics.my_chronotype(timestamptz, timestamptz, text) is $$
Returns at which hours of the day the signed-in person is active, and her chronotype.
An active hour is an hour of a day with an event of hers that is not automatic, in `zone`; null: in the zone that her
clients sent last (trait `timezone`), and UTC without one. The period is extended to whole days of the zone.
Mid-activity is the circular mean of the active hours. The chronotype is that of Horne and Ostberg (1976), by the
answers to question 18 of their questionnaire (the time of day of the best peak) applied to mid-activity:
`definitely_morning` from 5:00, `moderately_morning` from 8:00, `intermediate` from 10:00, `moderately_evening` from
17:00, and `definitely_evening` from 22:00 to 5:00; `undetermined` when Rayleigh's test does not reject that the hours
are uniform (5 %). It describes when she learns here, which also depends on her work and the timetable, and not when she
sleeps. Errors: CF001 for a period, CF002 for an unknown zone (names the nearest), CF008 for more than 10,000 days.
$$;

grant execute on function analytics.my_chronotype(timestamptz, timestamptz, text) to insights_learner;
--! EndIncluded analytics/learning/my_chronotype.sql

--! Included analytics/learning/_active_hours.sql
create or replace function analytics._active_hours(
  course_id bigint,
  people bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  smallest_group int
)
returns table (person_id bigint, active_hours bigint[], active_days bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = course_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _active_hours.since, _active_hours.until, coalesce(_active_hours.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      0, _active_hours.course_id, _active_hours.among, v_bounds, _active_hours.smallest_group
    )
  end;
  v_queued record;
begin
  v_queued := track.queued_days('0001-01-01', 'infinity', _active_hours.people);
  return query
  -- Zones that PostgreSQL does not know are ignored.
  with local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(_active_hours.people, 'timezone') as trait
      where _active_hours.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  -- Of the given people only: most journeys are those of others.
  used as (
    select step.person_id, place.at, place.item_id::bigint as item_id
    from track.step
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    where step.person_id = any (_active_hours.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic
      and step.occurred_at[1] < v_bounds[2]
      and step.occurred_at[cardinality(step.occurred_at)] >= v_bounds[1]

    union all

    select event.person_id, event.occurred_at, event.item_id
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
  ),

  active as (
    select distinct
      used.person_id,
      date_trunc('hour', used.at at time zone coalesce(_active_hours.zone, local.zone, 'UTC')) as local_hour
    from used
    left join local on local.person_id = used.person_id
    where used.at >= v_bounds[1]
      and used.at < v_bounds[2]
      and (_active_hours.course_id is null or used.item_id = any (v_items))
      and (v_visible is null or used.at <@ v_visible)
  ),

  by_hour as (
    select active.person_id, extract(hour from active.local_hour)::int as hour, count(*) as hour_count
    from active
    group by 1, 2
  ),

  day as (
    select active.person_id, count(distinct active.local_hour::date) as day_count
    from active
    group by active.person_id
  )

  select
    day.person_id, array_agg(coalesce(by_hour.hour_count, 0) order by hour.number), day.day_count
  from day
  cross join generate_series(0, 23) as hour (number)
  left join by_hour on by_hour.person_id = day.person_id and by_hour.hour = hour.number
  group by day.person_id, day.day_count;
end;
$$;

comment on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
) is $$
Returns the active hours of people by hour of the day, from 0 to 23, and the number of their active days.
An active hour is an hour of a day with an event that is not automatic, of any item or of a course, in `zone`; null: in
the zone of each person, as in `analytics.hour_of_week`. People without such events have no row. `among`,
`smallest_group`: events of the periods that analysts see only (`analytics._visible_periods`); null: all.
Errors: CF001 for a period, CF002 for an unknown zone, CF008 for more than 10,000 days.
$$;

grant execute on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
)
to insights_reader;
--! EndIncluded analytics/learning/_active_hours.sql

--! Included analytics/learning/productivity_cycle.sql
create or replace function analytics._productivity_cycle(
  course_id bigint,
  learners bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  smallest_group int
)
returns setof analytics.cycle_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select place.hour, sum(place.hour_count)::bigint as hour_count, count(*) as person_count
    from analytics._active_hours(
      _productivity_cycle.course_id, _productivity_cycle.learners, _productivity_cycle.since, _productivity_cycle.until,
      _productivity_cycle.zone, _productivity_cycle.among, _productivity_cycle.smallest_group
    ) as person
    cross join lateral unnest(person.active_hours) with ordinality as place (hour_count, hour)
    where place.hour_count > 0
    group by place.hour
  ),

  shown as (
    select
      hour.number as hour,
      coalesce(
        analytics._shown(counted.hour_count::float8, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as hour_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as person_count
    from generate_series(0, 23) as hour (number)
    left join counted on counted.hour = hour.number + 1
  )

  select
    shown.hour, shown.hour_count, shown.person_count,
    shown.hour_count / nullif(sum(shown.hour_count) over (), 0)::float8
  from shown
  order by shown.hour;
end;
$$;

comment on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
) is $$
Computes the result of `analytics.productivity_cycle` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.productivity_cycle(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null
)
returns setof analytics.cycle_hour
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(productivity_cycle.course, productivity_cycle.among);
  return query
  select *
  from analytics._productivity_cycle(
    v_visible.course_id, v_visible.learners, productivity_cycle.since, productivity_cycle.until,
    productivity_cycle.zone, productivity_cycle.among, v_visible.smallest_group
  );
end;
$$;

alter function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text) is $$
Returns at which hours of the day people are active: how often, and how many of them.
An active hour is an hour of a day with an event of the person that is not automatic: of any item, or in `course` by the
people who are enrolled in it. It counts once, whatever the number of events. Hours are those of `zone`; null: of the
zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`: people of
these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/productivity_cycle.sql

--! Included analytics/learning/chronotypes.sql
create or replace function analytics._chronotypes(
  course_id bigint,
  learners bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  smallest_group int
)
returns setof analytics.chronotype
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select found.chronotype, count(*) as person_count
    from analytics._active_hours(
      _chronotypes.course_id, _chronotypes.learners, _chronotypes.since, _chronotypes.until,
      _chronotypes.zone, _chronotypes.among, _chronotypes.smallest_group
    ) as person
    cross join lateral analytics._chronotype(person.active_hours, person.active_days) as found
    group by found.chronotype
  ),

  shown as (
    select
      entry.chronotype, entry.place,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _chronotypes.smallest_group), 0
      )::bigint as person_count
    from unnest(
      '{definitely_morning,moderately_morning,intermediate,moderately_evening,definitely_evening,undetermined}'::text[]
    ) with ordinality as entry (chronotype, place)
    left join counted on counted.chronotype = entry.chronotype
  )

  select
    shown.chronotype, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8
  from shown
  order by shown.place;
end;
$$;

comment on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
) is $$
Computes the result of `analytics.chronotypes` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, text, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.chronotypes(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null
)
returns setof analytics.chronotype
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(chronotypes.course, chronotypes.among);
  return query
  select *
  from analytics._chronotypes(
    v_visible.course_id, v_visible.learners, chronotypes.since, chronotypes.until, chronotypes.zone,
    chronotypes.among, v_visible.smallest_group
  );
end;
$$;

alter function analytics.chronotypes(text, timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.chronotypes(text, timestamptz, timestamptz, text, text) is $$
Returns the chronotypes of people: how many learn in the morning, in the evening, or at no particular time.
The types are those of `analytics.my_chronotype`, from the active hours of each person: of any item, or in `course` for
the people who are enrolled in it. People without activity in the period are left out. Hours are those of `zone`; null:
of the zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`:
people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.chronotypes(text, timestamptz, timestamptz, text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/chronotypes.sql

--! Included analytics/learning/_items_within.sql
create or replace function analytics._items_within(course_id bigint, item text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id constant bigint := (
    select coalesce(known.merged_item_id, known.item_id)
    from track.item as known
    where known.external_id = _items_within.item
  );
begin
  -- The same error for an item of another course: an instructor learns nothing about it.
  if _items_within.item is not null and not exists (
    select
    from track.item_ancestor as ancestor
    where ancestor.item_id = v_item_id
      and ancestor.ancestor_item_id = _items_within.course_id
  ) then
    perform common.refuse(
      'CF002',
      format('the course contains no item "%s"', left(_items_within.item, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(_items_within.item, 100),
          array(
            select known.external_id
            from track.item_ancestor as ancestor
            join track.item as known on known.item_id = ancestor.item_id
            where ancestor.ancestor_item_id = _items_within.course_id
            order by known.external_id
            limit 1000
          )
        ) || '"?',
        'Give the external id of an item of the course.'
      )
    );
  end if;
  return array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = coalesce(v_item_id, _items_within.course_id)
  );
end;
$$;

comment on function analytics._items_within(bigint, text) is $$
Returns the items that an item of a course contains, with itself; `item` null: those of the course.
Errors: CF002 for an item that the course does not contain (names the nearest).
$$;

grant execute on function analytics._items_within(bigint, text) to insights_reader;
--! EndIncluded analytics/learning/_items_within.sql

--! Included analytics/learning/_attempts.sql
create or replace function analytics._attempts(people bigint[], items bigint[], measure text)
returns table (person_id bigint, item_id bigint, attempt bigint, score numeric, scored_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with kind as materialized (
    select distinct
      coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
      event_type.name in ('Question Answered', 'Task Submitted') as begins
    from track.event_type
    where event_type.name = any (
      case _attempts.measure
        when 'answers' then '{Question Answered}'::text[]
        else '{Task Submitted,Task Completed,Task Failed,Task Graded,Grade Changed,Course Completed}'::text[]
      end
    )
  ),

  happened as (
    select
      event.person_id, event.item_id, event.occurred_at, event.event_id,
      count(*) filter (where kind.begins) over (
        partition by event.person_id, event.item_id order by event.occurred_at, event.event_id
      ) as attempt,
      case
        when _attempts.measure = 'answers' then
          case event.properties -> 'correct' when 'true' then 1 when 'false' then 0 end
        when jsonb_typeof(event.properties -> 'score') = 'number' then
          case
            when (event.properties -> 'score')::numeric between 0 and 1 then (event.properties -> 'score')::numeric
          end
      end as score
    from track.event
    join kind on kind.event_type_id = event.event_type_id
    where event.person_id = any (_attempts.people)
      and event.item_id = any (_attempts.items)
  )

  -- A grade that is changed replaces the earlier one of the same attempt.
  select distinct on (happened.person_id, happened.item_id, happened.attempt)
    happened.person_id, happened.item_id, happened.attempt, happened.score, happened.occurred_at
  from happened
  where happened.score is not null
  order by
    happened.person_id, happened.item_id, happened.attempt, happened.occurred_at desc, happened.event_id desc;
end;
$$;

comment on function analytics._attempts(bigint[], bigint[], text) is $$
Returns the scores of the attempts of people at items, from 0 to 1.
`measure` = `answers`: each `Question Answered` with a boolean `correct` is an attempt, with the score 1 or 0. `scores`:
an attempt begins with `Task Submitted`; its score is the latest `score` (a number from 0 to 1) of this event and of the
`Task Completed`, `Task Failed`, `Task Graded`, `Grade Changed` and `Course Completed` until the next submission.
Other values are ignored, and attempts without a score have no row. `attempt`: their number in order of time; 0 before
the first submission.
$$;

grant execute on function analytics._attempts(bigint[], bigint[], text) to insights_reader;
--! EndIncluded analytics/learning/_attempts.sql

--! Included analytics/learning/item_analysis.sql
create or replace function analytics._item_analysis(
  learners bigint[], items bigint[], measure text, attempt text, smallest_group int
)
returns setof analytics.analysed_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
begin
  return query
  with response as materialized (
    select
      taken.person_id, taken.item_id, count(*) as attempt_count,
      case _item_analysis.attempt
        when 'first' then (array_agg(taken.score order by taken.attempt))[1]
        when 'last' then (array_agg(taken.score order by taken.attempt desc))[1]
        else max(taken.score)
      end as score
    from analytics._attempts(_item_analysis.learners, _item_analysis.items, _item_analysis.measure) as taken
    group by taken.person_id, taken.item_id
  ),

  person as materialized (
    select
      totalled.person_id, totalled.score, totalled.item_count,
      rank() over (order by totalled.mean desc) - 1 as above,
      rank() over (order by totalled.mean) - 1 as below,
      count(*) over (partition by totalled.mean) as tied,
      0.27 * count(*) over () as group_size
    from (
      select
        response.person_id, sum(response.score) as score, count(*) as item_count, avg(response.score) as mean
      from response
      group by response.person_id
    ) as totalled
  ),

  -- Of people with the same total at the edge of a group, each counts in part: the order of equals is not a result.
  placed as (
    select
      person.person_id, person.score, person.item_count,
      least(greatest((person.group_size - person.above) / person.tied, 0), 1) as upper_weight,
      least(greatest((person.group_size - person.below) / person.tied, 0), 1) as lower_weight
    from person
  ),

  analysed as (
    select
      response.item_id,
      count(*) as person_count,
      sum(response.attempt_count)::float8 as attempt_count,
      avg(response.score)::float8 as difficulty,
      corr(
        response.score::float8, ((placed.score - response.score) / nullif(placed.item_count - 1, 0))::float8
      ) as discrimination,
      (
        sum(placed.upper_weight * response.score) / nullif(sum(placed.upper_weight), 0)
        - sum(placed.lower_weight * response.score) / nullif(sum(placed.lower_weight), 0)
      )::float8 as discrimination_index
    from response
    join placed on placed.person_id = response.person_id
    group by response.item_id
  ),

  shown as (
    select
      item.external_id, item.kind, item.title,
      analytics._shown(analysed.person_count, analysed.person_count, _item_analysis.smallest_group)::bigint
        as person_count,
      analytics._shown(
        analysed.attempt_count, analysed.person_count, _item_analysis.smallest_group
      )::bigint as attempt_count,
      -- As precise as the mean of a figure of 1 per person.
      analytics._shown_mean(analysed.difficulty, analysed.person_count, _item_analysis.smallest_group, 1)
        as difficulty,
      case when analysed.discrimination is not null then
        analytics._shown_mean(analysed.discrimination, analysed.person_count, _item_analysis.smallest_group, 1)
      end as discrimination,
      case when analysed.discrimination_index is not null then
        analytics._shown_mean(analysed.discrimination_index, analysed.person_count, _item_analysis.smallest_group, 1)
      end as discrimination_index
    from analysed
    join track.item on item.item_id = analysed.item_id
  )

  select *
  from shown
  where shown.person_count > 0
  order by shown.discrimination nulls last, shown.difficulty nulls last, shown.external_id collate "C";
end;
$$;

comment on function analytics._item_analysis(bigint[], bigint[], text, text, int) is $$
Computes the result of `analytics.item_analysis` for people and items, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._item_analysis(bigint[], bigint[], text, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.item_analysis(
  course text,
  item text default null,
  measure text default 'answers',
  attempt text default 'first',
  among text default null
)
returns setof analytics.analysed_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
  v_items bigint[];
begin
  if item_analysis.measure is null or item_analysis.measure not in ('answers', 'scores') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(item_analysis.measure, 100)), 'Use answers or scores.'
    );
  end if;
  if item_analysis.attempt is null or item_analysis.attempt not in ('first', 'last', 'best') then
    perform common.refuse(
      'CF001', format('attempt is "%s"', left(item_analysis.attempt, 100)), 'Use first, last or best.'
    );
  end if;
  v_visible := analytics._visible_learners(coalesce(item_analysis.course, ''), item_analysis.among);
  v_items := analytics._items_within(v_visible.course_id, item_analysis.item);
  return query
  select *
  from analytics._item_analysis(
    v_visible.learners, v_items, item_analysis.measure, item_analysis.attempt, v_visible.smallest_group
  );
end;
$$;

alter function analytics.item_analysis(text, text, text, text, text) owner to insights_reader;

comment on function analytics.item_analysis(text, text, text, text, text) is $$
Returns how difficult the questions or tasks of a course are, and how well they separate good from weak learners.
This is classical item analysis (R. L. Ebel and D. A. Frisbie, Essentials of Educational Measurement, 1991). `measure`:
`answers` analyses `Question Answered` (`correct`), `scores` tasks: the score of a `Task Submitted`, or the latest one
that `Task Completed`, `Task Failed`, `Task Graded` or `Grade Changed` gave until the next submission. `item`: those
within an item of the course, such as one quiz, of which the total is meant then. `attempt`: the `first`, `last` or
`best` score of each learner. `difficulty` is the mean score, for answers the proportion correct. `discrimination` is
the correlation with the mean score on the other items (corrected item-total correlation, for answers the point-biserial
one); `discrimination_index` is the mean score of the 27 % of learners with the highest mean over all items, less that
of the lowest 27 % (T. L. Kelley 1939), in which learners with equal means at the edge of a group count in part. Items
that a learner has not answered are left out of her mean. Learners are people who are enrolled in the course, also those
who have dropped it; `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: items with fewer people
than `analytics.setting.smallest_group` are left out, means are rounded to that number per person, and null for fewer
than 4.5 times as many people.
Errors: CF001 for another measure or attempt; CF002 for an unknown course, item or set (names the nearest), an item
that is not in the course, and a course that the instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.item_analysis(text, text, text, text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/item_analysis.sql

--! Included analytics/learning/course_progress.sql
create or replace function analytics._course_progress(
  course_id bigint, learners bigint[], structure text, kind text, smallest_group int
)
returns setof analytics.progress_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_times timestamptz[];
begin
  -- The latest run of each learner: what she did before it does not count, nor after its end for the structure of then.
  select
    array_agg(run.person_id), array_agg(run.enrolled_at),
    array_agg(case _course_progress.structure when 'then' then coalesce(run.ended_at, now()) else now() end)
  into v_people, v_since, v_times
  from (
    select distinct on (enrolment.person_id) enrolment.person_id, enrolment.enrolled_at, enrolment.ended_at
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (_course_progress.learners)
    order by enrolment.person_id, enrolment.enrolled_at desc, enrolment.ended_at desc nulls first
  ) as run;
  v_until := case _course_progress.structure when 'then' then v_times end;

  return query
  with learner as materialized (
    select entry.person_id, entry.counted_at
    from unnest(v_people, v_times) as entry (person_id, counted_at)
  ),

  part as materialized (
    select
      within.part_item_id as item_id, item.available_from, item.available_until,
      -- Unless the application states it, an item exists from when it was first seen or used.
      case
        when item.available_from is null then least(
          item.created_at,
          (select min(item_month.month) from track.item_month where item_month.item_id = item.item_id)::timestamp
            at time zone 'UTC'
        )
      end as created_at,
      within.started_at, within.ended_at
    from track.item_periods(_course_progress.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when _course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = _course_progress.kind
    end
  ),

  -- Learners of one time have one structure.
  moment as materialized (
    select distinct learner.counted_at from learner
  ),

  standing as materialized (
    select distinct moment.counted_at, part.item_id
    from moment
    join part
      on part.started_at <= moment.counted_at
      and part.ended_at > moment.counted_at
      and coalesce(part.available_from, part.created_at) <= moment.counted_at
      and coalesce(part.available_until, 'infinity') > moment.counted_at
  ),

  size as (
    select standing.counted_at, count(*) as item_count
    from standing
    group by standing.counted_at
  ),

  used as (
    select learner.person_id, count(*) as item_count
    from analytics._item_uses(
      v_people, array(select distinct part.item_id from part), v_since, v_until
    ) as used
    join learner on learner.person_id = used.person_id
    join standing on standing.counted_at = learner.counted_at and standing.item_id = used.item_id
    group by learner.person_id
  ),

  completed as (
    select distinct enrolment.person_id
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (v_people)
      and enrolment.status = 'completed'
  ),

  counted as (
    select
      case
        when coalesce(used.item_count, 0) = 0 then 1
        when used.item_count = size.item_count then 6
        else 1 + ceil(4.0 * used.item_count / size.item_count)::int
      end as level,
      count(*) as person_count,
      count(completed.person_id) as completed_count
    from learner
    join size on size.counted_at = learner.counted_at
    left join used on used.person_id = learner.person_id
    left join completed on completed.person_id = learner.person_id
    group by 1
  ),

  shown as (
    select
      level.number, level.lower_bound, level.upper_bound,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_progress.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.completed_count, counted.completed_count, _course_progress.smallest_group), 0
      )::bigint as completed_count
    from (
      values (1, 0, 0), (2, 0, 0.25), (3, 0.25, 0.5), (4, 0.5, 0.75), (5, 0.75, 1), (6, 1, 1)
    ) as level (number, lower_bound, upper_bound)
    left join counted on counted.level = level.number
  )

  select
    shown.lower_bound::float8, shown.upper_bound::float8, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    shown.completed_count
  from shown
  order by shown.number;
end;
$$;

comment on function analytics._course_progress(bigint, bigint[], text, text, int) is $$
Computes the result of `analytics.course_progress` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_progress(bigint, bigint[], text, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_progress(
  course text,
  structure text default 'then',
  kind text default null,
  among text default null
)
returns setof analytics.progress_level
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  if course_progress.structure is null or course_progress.structure not in ('then', 'now') then
    perform common.refuse(
      'CF001', format('structure is "%s"', left(course_progress.structure, 100)), 'Use then or now.'
    );
  end if;
  v_visible := analytics._visible_learners(coalesce(course_progress.course, ''), course_progress.among);
  if not exists (
    select
    from track.item_periods(v_visible.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = course_progress.kind
    end
  ) then
    perform common.refuse(
      'CF002',
      format(
        'course "%s" contains no %s',
        left(course_progress.course, 100), coalesce(left(course_progress.kind, 100), 'items')
      ),
      'Give a kind that the course contains; send its items, or call track.sync_items, when it has no structure yet.'
    );
  end if;
  return query
  select *
  from analytics._course_progress(
    v_visible.course_id, v_visible.learners, course_progress.structure, course_progress.kind, v_visible.smallest_group
  );
end;
$$;

alter function analytics.course_progress(text, text, text, text) owner to insights_reader;

comment on function analytics.course_progress(text, text, text, text) is $$
Returns how far the learners of a course have come: how many have used none, some or all of its items.
Progress is the share of the items that the learner has used since the beginning of her latest enrolment, so that a new
run, or a reset with a new `enrolled_at`, begins at 0; automatic events are left out. `structure` = `then`: of the items
that the course had when her enrolment ended, now for an active one, and uses until then: a page that was moved or added
afterwards takes nothing from her. `now`: of the items that it has now, and all uses since the enrolment. `kind`: items
of this kind, such as `page`; null: all but courses and modules. An item is in the course from its `available_from`, or
else from when it was first seen or used (from the beginning of that month), until its `available_until`, and while the
course contained it (`track.item_periods`). Learners of a course without items at that time are left out.
`completed_count` is the number of them with a completed enrolment. Learners are all who are or were enrolled; `among`:
people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 for another structure; CF002 for an unknown course or set (names the nearest), a course that the
instructor does not teach, and one without such items; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.course_progress(text, text, text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_progress.sql

--! Included analytics/learning/_course_runs.sql
create or replace function analytics._course_runs(course_id bigint, learners bigint[])
returns table (person_id bigint, status text, enrolled_at timestamptz, ended_at timestamptz, grade float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select distinct on (enrolment.person_id)
      enrolment.person_id, enrolment.status, enrolment.enrolled_at, enrolment.ended_at
    from track.enrolment
    where enrolment.item_id = _course_runs.course_id
      and enrolment.person_id = any (_course_runs.learners)
    order by
      enrolment.person_id, enrolment.enrolled_at desc, enrolment.status = 'completed' desc,
      enrolment.ended_at desc nulls first
  ),

  graded as (
    select distinct on (scored.person_id) scored.person_id, scored.score
    from analytics._attempts(_course_runs.learners, array[_course_runs.course_id], 'scores') as scored
    join run on run.person_id = scored.person_id and scored.scored_at >= run.enrolled_at
    order by scored.person_id, scored.attempt desc
  )

  select run.person_id, run.status, run.enrolled_at, run.ended_at, graded.score::float8
  from run
  left join graded on graded.person_id = run.person_id;
end;
$$;

comment on function analytics._course_runs(bigint, bigint[]) is $$
Returns the latest enrolment of each of these learners in a course, with the grade.
The grade is the latest score of the course itself since the enrolment (`Course Completed`, or `Task Graded` and `Grade
Changed` of the course), from 0 to 1; null without one.
$$;

grant execute on function analytics._course_runs(bigint, bigint[]) to insights_reader;
--! EndIncluded analytics/learning/_course_runs.sql

--! Included analytics/learning/course_terms.sql
create or replace function analytics._course_terms(course_id bigint, learners bigint[], smallest_group int)
returns setof analytics.course_term
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select run.*, term.annotation_id, term.title, term.starts_at, term.ends_at
    from analytics._course_runs(_course_terms.course_id, _course_terms.learners) as run
    left join lateral (
      select annotation.annotation_id, annotation.title, annotation.starts_at, annotation.ends_at
      from analytics.annotation
      where annotation.kind = 'term'
        and run.enrolled_at >= annotation.starts_at
        and run.enrolled_at < coalesce(annotation.ends_at, 'infinity')
      order by annotation.starts_at desc, annotation.annotation_id desc
      limit 1
    ) as term on true
  ),

  counted as (
    select
      run.title, run.starts_at, run.ends_at,
      count(*) as learner_count,
      count(*) filter (where run.status = 'completed') as completed_count,
      count(*) filter (where run.status = 'dropped') as dropped_count,
      percentile_cont(0.5) within group (order by run.ended_at - run.enrolled_at)
        filter (where run.status = 'completed') as median_time,
      count(run.ended_at) filter (where run.status = 'completed') as timed_count,
      count(run.grade) as graded_count,
      avg(run.grade) as mean_grade
    from run
    group by run.annotation_id, run.title, run.starts_at, run.ends_at
  ),

  shown as (
    select
      counted.title, counted.starts_at, counted.ends_at,
      analytics._shown(counted.learner_count, counted.learner_count, _course_terms.smallest_group)::bigint
        as learner_count,
      analytics._shown(counted.completed_count, counted.completed_count, _course_terms.smallest_group)::bigint
        as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, _course_terms.smallest_group)::bigint
        as dropped_count,
      analytics._shown_time(
        counted.median_time, counted.timed_count, _course_terms.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown(counted.graded_count, counted.graded_count, _course_terms.smallest_group)::bigint
        as graded_count,
      case when counted.graded_count > 0 then
        analytics._shown_mean(counted.mean_grade, counted.graded_count, _course_terms.smallest_group)
      end as mean_grade
    from counted
  )

  select
    shown.title, shown.starts_at, shown.ends_at, shown.learner_count, shown.completed_count, shown.dropped_count,
    shown.completed_count / nullif(shown.learner_count, 0)::float8, shown.median_time, shown.graded_count,
    shown.mean_grade
  from shown
  where shown.learner_count > 0
  order by shown.starts_at nulls last, shown.ends_at, shown.title collate "C";
end;
$$;

comment on function analytics._course_terms(bigint, bigint[], int) is $$
Computes the result of `analytics.course_terms` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_terms(bigint, bigint[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_terms(course text, among text default null)
returns setof analytics.course_term
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(coalesce(course_terms.course, ''), course_terms.among);
  return query
  select *
  from analytics._course_terms(v_visible.course_id, v_visible.learners, v_visible.smallest_group);
end;
$$;

alter function analytics.course_terms(text, text) owner to insights_reader;

comment on function analytics.course_terms(text, text) is $$
Returns the learners of a course by the term in which they enrolled, with completions, times and grades.
Terms are the annotations of the kind `term` (`analytics.annotate`). A learner is in the one in which her latest
enrolment began, of several in that which began last; those of no term have a row without title. A term without learners
has no row. The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task
Graded` and `Grade Changed` whose item is the course. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers; the mean grade is null for fewer than 1.5
times as many graded learners, and the median time for fewer than 4.5 times as many.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.course_terms(text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_terms.sql

--! Included analytics/learning/course_grades.sql
create or replace function analytics._course_grades(course_id bigint, learners bigint[], smallest_group int)
returns setof analytics.grade_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    -- A grade of 1 is in the highest bucket. Null stays null, which "least" would ignore.
    select
      case when run.grade is not null then least(floor(run.grade * 10 + 1e-9)::int, 9) end as bucket,
      count(*) as person_count
    from analytics._course_runs(_course_grades.course_id, _course_grades.learners) as run
    group by 1
  ),

  shown as (
    select
      bucket.number,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_grades.smallest_group), 0
      )::bigint as person_count
    from (select nullif(entry.number, -1) as number from generate_series(-1, 9) as entry (number)) as bucket
    left join counted on counted.bucket is not distinct from bucket.number
  )

  select
    shown.number / 10.0::float8, case shown.number when 9 then 1 else (shown.number + 1) / 10.0::float8 end,
    shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8
  from shown
  order by shown.number desc nulls last;
end;
$$;

comment on function analytics._course_grades(bigint, bigint[], int) is $$
Computes the result of `analytics.course_grades` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_grades(bigint, bigint[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_grades(course text, among text default null)
returns setof analytics.grade_bucket
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  v_visible := analytics._visible_learners(coalesce(course_grades.course, ''), course_grades.among);
  return query
  select *
  from analytics._course_grades(v_visible.course_id, v_visible.learners, v_visible.smallest_group);
end;
$$;

alter function analytics.course_grades(text, text) owner to insights_reader;

comment on function analytics.course_grades(text, text) is $$
Returns the distribution of the grades of a course, by tenths as in Open edX Aspects, with the learners without a grade.
The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task Graded` and
`Grade Changed` whose item is the course. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.course_grades(text, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_grades.sql

--! Included analytics/interventions/record_intervention.sql
/* A definer: it writes analytics.intervention, which no role may write, for instructors in their own courses only. */
create or replace function analytics.record_intervention(
  course text,
  person text,
  action text,
  note text default null,
  happened_at timestamptz default now()
)
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_course_id constant bigint := analytics._course_id(record_intervention.course);
  v_person_id constant bigint := analytics._course_learner(v_course_id, record_intervention.person);
  v_identity_id bigint;
  v_risk float8;
  v_intervention_id bigint;
begin
  if v_person_id is null
    or not exists (
      select
      from track.enrolment
      where enrolment.person_id = v_person_id
        and enrolment.item_id = v_course_id
    )
    and not exists (
      select
      from track.event
      join track.item_ancestor as ancestor
        on ancestor.item_id = event.item_id
        and ancestor.ancestor_item_id = v_course_id
      where event.person_id = v_person_id
    )
  then
    -- The same error for an unknown person, and for one whose activity the course does not show.
    perform common.refuse(
      'CF002',
      format('the course has no learner "%s"', coalesce(left(record_intervention.person, 100), 'null')),
      'Give the userId of a learner whom analytics.course_learners returns with activity.'
    );
  end if;
  if record_intervention.action is null
    or record_intervention.action not in ('message', 'call', 'meeting', 'extension', 'tutoring', 'other')
  then
    perform common.refuse(
      'CF001',
      format('action is "%s"', coalesce(left(record_intervention.action, 100), 'null')),
      'Use message, call, meeting, extension, tutoring or other.'
    );
  end if;
  if length(record_intervention.note) > 2000 then
    perform common.refuse(
      'CF008', format('the note has %s characters', length(record_intervention.note)), 'It can have at most 2,000.'
    );
  end if;
  if record_intervention.happened_at is null
    or record_intervention.happened_at > now() + interval '1 minute'
    or record_intervention.happened_at < '1990-01-01'
  then
    perform common.refuse(
      'CF001',
      format('happened_at is %s', coalesce(record_intervention.happened_at::text, 'null')),
      'Give a time that has passed.'
    );
  end if;
  -- Held until the end of the transaction: an erasure that runs at the same time waits, and deletes the row, too.
  select identity.identity_id into v_identity_id
  from track.identity
  where identity.external_id = record_intervention.person
    and identity.kind = 'user';
  perform track.lock_identities(array[v_identity_id]);

  if exists (
    select
    from analytics.prediction_target as entry
    where entry.target = 'dropout'
      and ml.deployed_version(entry.project) is not null
  ) then
    v_risk := (
      select scored.score
      from analytics._learner_scores('dropout', now(), v_course_id) as scored
      where scored.person_id = v_person_id
    );
  end if;
  insert into analytics.intervention (identity_id, course_id, action, note, happened_at, risk, created_by)
  values (
    v_identity_id, v_course_id, record_intervention.action, nullif(btrim(record_intervention.note), ''),
    record_intervention.happened_at, v_risk, common.author()
  )
  returning intervention.intervention_id into v_intervention_id;
  return v_intervention_id;
end;
$$;

comment on function analytics.record_intervention(text, text, text, text, timestamptz) is $$
Stores a note of what a teacher did about a learner at risk, and returns its key.
`action`: `message`, `call`, `meeting`, `extension`, `tutoring` or `other`; `note`: a text of up to 2,000 characters;
`happened_at`: the time of the action. The predicted probability of dropping out of now is stored with it, when there is
one. Instructors write notes about learners of courses that they teach now, administrators and workers about all. The
learner can read them (`privacy.export_me`): write what she may read. They are deleted when she is erased.
`analytics.interventions` returns them, `analytics.intervention_outcomes` the outcome.
Errors: CF001 for an invalid action or time; CF002 for an unknown course, one that the instructor does not teach, and a
person who does not learn in the course or has opted out of the purpose `analytics`; CF008 for a note that is too long.
$$;

grant execute on function analytics.record_intervention(text, text, text, text, timestamptz)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/record_intervention.sql

--! Included analytics/interventions/remove_intervention.sql
/* A definer: it deletes from analytics.intervention, which no role may write: notes of the caller, or any as admin. */
create or replace function analytics.remove_intervention(intervention_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  delete from analytics.intervention
  where intervention.intervention_id = remove_intervention.intervention_id
    and (track.reads_all_people() or intervention.created_by = common.author());
  return found;
end;
$$;

comment on function analytics.remove_intervention(bigint) is $$
Removes a note about a learner. False when there is no such note that the caller may remove.
Instructors remove their own notes, administrators and workers all.
$$;

grant execute on function analytics.remove_intervention(bigint)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/remove_intervention.sql

--! Included analytics/interventions/_interventions.sql
create or replace function analytics._interventions(course_id bigint)
returns table (
  intervention_id bigint, person_id bigint, person text, action text, note text, happened_at timestamptz,
  created_by text, risk float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with noted as materialized (
    select intervention.*, identity.person_id, identity.external_id
    from analytics.intervention
    join track.item on item.item_id = intervention.course_id
    join track.identity on identity.identity_id = intervention.identity_id
    where coalesce(item.merged_item_id, item.item_id) = _interventions.course_id
  ),

  learner as materialized (
    select listed.person_id
    from analytics._course_people(
      _interventions.course_id, array(select distinct noted.person_id from noted)
    ) as listed
    where listed.is_shown
  )

  select
    noted.intervention_id, noted.person_id, noted.external_id, noted.action, noted.note, noted.happened_at,
    noted.created_by, noted.risk
  from noted
  join learner on learner.person_id = noted.person_id;
end;
$$;

comment on function analytics._interventions(bigint) is $$
Returns the notes about the learners of a course whose activity may be shown, with the privileges of the caller.
$$;

grant execute on function analytics._interventions(bigint) to insights_reader;
--! EndIncluded analytics/interventions/_interventions.sql

--! Included analytics/interventions/interventions.sql
/* A definer owned by insights_reader: it reads notes about people, for instructors in their own courses only. */
create or replace function analytics.interventions(course text, person text default null)
returns setof analytics.course_intervention
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(interventions.course);
  v_person_id constant bigint := (
    select identity.person_id
    from track.identity
    where identity.external_id = interventions.person
      and identity.kind = 'user'
  );
  v_people bigint[];
begin
  v_people := array(
    select distinct noted.person_id
    from analytics._interventions(v_course_id) as noted
    where interventions.person is null or noted.person_id = v_person_id
  );
  perform privacy.record_disclosure(v_people, 'analytics.interventions');

  return query
  with noted as materialized (
    select * from analytics._interventions(v_course_id) as entry where entry.person_id = any (v_people)
  ),

  -- A grade, or another automatic event, is not an activity of the learner.
  active as materialized (
    select event.person_id, event.occurred_at
    from track.event
    join track.item_ancestor as ancestor
      on ancestor.item_id = event.item_id
      and ancestor.ancestor_item_id = v_course_id
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_people)
  ),

  enrolled as (
    -- Completed, or else active, or else dropped.
    select
      enrolment.person_id,
      (array_agg(enrolment.status order by array_position('{completed,active,dropped}', enrolment.status)))[1] as status
    from track.enrolment
    where enrolment.person_id = any (v_people)
      and enrolment.item_id = v_course_id
    group by enrolment.person_id
  )

  select
    noted.intervention_id, noted.person, noted.action, noted.note, noted.happened_at, noted.created_by, noted.risk,
    enrolled.status,
    (
      select count(distinct (active.occurred_at at time zone 'UTC')::date)::int
      from active
      where active.person_id = noted.person_id
        and active.occurred_at > noted.happened_at
        and active.occurred_at <= noted.happened_at + interval '14 days'
    ),
    (select max(active.occurred_at) from active where active.person_id = noted.person_id)
  from noted
  left join enrolled on enrolled.person_id = noted.person_id
  order by noted.happened_at desc, noted.intervention_id desc;
end;
$$;

alter function analytics.interventions(text, text) owner to insights_reader;

comment on function analytics.interventions(text, text) is $$
@behavior -mutationField +queryField
Returns the notes of what teachers did about the learners of a course, the latest first, and the outcome of each.
`person`: a `userId`; null: all learners. Instructors call it for courses that they teach now, and read the notes of all
their teachers. Learners who have opted out of the purpose `analytics` have no rows.
Errors: CF002 for an unknown course, or one that the instructor does not teach.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.interventions(text, text)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/interventions.sql

--! Included analytics/interventions/intervention_outcomes.sql
create or replace function analytics._intervention_outcomes(
  course_id bigint, learners bigint[], days int, smallest_group int
)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _intervention_outcomes.course_id
  );
begin
  return query
  -- The first action of each kind about a learner: what she did after a second one may be due to the first.
  with noted as materialized (
    select distinct on (entry.person_id, entry.action)
      entry.person_id, entry.action, entry.happened_at, entry.risk
    from analytics._interventions(_intervention_outcomes.course_id) as entry
    where entry.person_id = any (_intervention_outcomes.learners)
    order by entry.person_id, entry.action, entry.happened_at, entry.intervention_id
  ),

  run as (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped
    from track.enrolment
    where enrolment.item_id = _intervention_outcomes.course_id
      and enrolment.person_id = any (_intervention_outcomes.learners)
    group by enrolment.person_id
  ),

  followed as (
    select
      noted.action, noted.risk, run.has_completed, run.has_dropped,
      exists (
        select
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
        join track.source on source.source_id = event.source_id and not source.is_automatic
        where event.person_id = noted.person_id
          and event.occurred_at > noted.happened_at
          and event.occurred_at <= noted.happened_at + make_interval(days => _intervention_outcomes.days)
          and event.item_id = any (v_items)
      ) as has_resumed,
      noted.happened_at + make_interval(days => _intervention_outcomes.days) > now() as is_open
    from noted
    join run on run.person_id = noted.person_id
  ),

  counted as (
    select
      followed.action,
      count(*) as person_count,
      count(*) filter (where followed.has_resumed) as resumed_count,
      count(*) filter (where not followed.has_resumed and not followed.is_open) as idle_count,
      count(*) filter (where not followed.has_resumed and followed.is_open) as open_count,
      count(*) filter (where followed.has_completed) as completed_count,
      count(*) filter (where followed.has_dropped) as dropped_count,
      count(followed.risk) as risk_count,
      avg(followed.risk) as mean_risk
    from followed
    group by followed.action
  ),

  shown as (
    select
      counted.action,
      analytics._shown(counted.person_count, counted.person_count, smallest_group)::bigint as person_count,
      analytics._shown(counted.resumed_count, counted.resumed_count, smallest_group)::bigint as resumed_count,
      analytics._shown(counted.idle_count, counted.idle_count, smallest_group)::bigint as idle_count,
      analytics._shown(counted.open_count, counted.open_count, smallest_group)::bigint as open_count,
      analytics._shown(counted.completed_count, counted.completed_count, smallest_group)::bigint as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, smallest_group)::bigint as dropped_count,
      case when counted.risk_count > 0 then
        analytics._shown_mean(counted.mean_risk, counted.risk_count, smallest_group)
      end as mean_risk
    from counted
  )

  select
    shown.action, shown.person_count, shown.resumed_count, shown.idle_count, shown.open_count, shown.completed_count,
    shown.dropped_count, shown.resumed_count / nullif(shown.resumed_count + shown.idle_count, 0)::float8,
    shown.mean_risk
  from shown
  where shown.person_count > 0
  order by shown.person_count desc, shown.action collate "C";
end;
$$;

comment on function analytics._intervention_outcomes(bigint, bigint[], int, int) is $$
Computes the result of `analytics.intervention_outcomes` for learners, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._intervention_outcomes(bigint, bigint[], int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.intervention_outcomes(course text, days int default 14, among text default null)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_visible record;
begin
  perform common.check_count('days', intervention_outcomes.days, 1, 365);
  v_visible := analytics._visible_learners(coalesce(intervention_outcomes.course, ''), intervention_outcomes.among);
  return query
  select *
  from analytics._intervention_outcomes(
    v_visible.course_id, v_visible.learners, intervention_outcomes.days, v_visible.smallest_group
  );
end;
$$;

alter function analytics.intervention_outcomes(text, int, text) owner to insights_reader;

comment on function analytics.intervention_outcomes(text, int, text) is $$
Returns the outcome of what teachers did about the learners of a course, by kind of action.
A learner has resumed when she was active in the course within `days` after the first action of the kind. This does not
show what the action caused: teachers choose whom they help, and many learners resume by themselves. An experiment does
(`experiment.assign`). Learners are people who are or were enrolled, without those who have opted out of the
purpose `analytics`; `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now. Analysts see
figures of counted people: actions about fewer people than `analytics.setting.smallest_group` are left out, a number of
fewer people reads as 0, others are rounded by `analytics._shown`, and the mean is null for fewer than 1.5 times as
many. Errors: CF001 for `days` that are not from 1 to 365; CF002 for an unknown course or set (names the nearest), and a
course that the instructor does not teach; CF005 for `among` given by an instructor.
$$;

grant execute on function analytics.intervention_outcomes(text, int, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/intervention_outcomes.sql

--! Included analytics/functions/erase.sql
create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Not her enrolments alone: a later one takes the place of the first, and a correction removes it.
  v_first_at constant timestamptz := least(
    (select min(enrolment.enrolled_at) from track.enrolment where enrolment.person_id = any (subject.identity_ids)),
    (
      select min(identity.created_at)
      from track.identity
      where identity.identity_id = any (subject.identity_ids)
        and identity.kind = 'user'
    )
  );
  v_project text;
  v_versions int[];
  v_rows bigint := 0;
begin
  -- The people of a training are not recorded: each version that was trained since her name is known may contain her.
  for v_project, v_versions in
    select project.name, array_agg(model.version)
    from analytics.prediction_target as entry
    join ml.project on project.name = entry.project
    join ml.model using (project_id)
    where model.trained_at >= v_first_at
    group by project.name
    order by project.name
  loop
    v_rows := v_rows + ml.mark_for_training(v_project, 'a person was erased', v_versions);
  end loop;
  return next row('ml.model', v_rows, 'marked')::privacy.erased;

  -- A query about her cannot be run any more. Her name as another argument is the name of something else.
  delete from analytics.saved_query
  where exists (
    select
    from unnest(privacy.user_names(subject)) as named (name)
    where jsonb_path_exists(
        saved_query.arguments, '$.person ? (@ == $name)', jsonb_build_object('name', named.name)
      )
      or jsonb_path_exists(
        saved_query.arguments, '$.people ? (@ == $name)', jsonb_build_object('name', named.name)
      )
  );
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_query', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('analytics.intervention', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('analytics.intervention', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.annotation', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_query', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.cohort', 'defined_by', privacy.user_names(subject));
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, the notes about her, and her name where she is the author.
Marks the versions that may have been trained on her data, so that they are not used until the next training.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;
--! EndIncluded analytics/functions/erase.sql

--! Included analytics/access/export.sql
create or replace function analytics.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'analytics.snapshot',
    (
      select jsonb_agg(
        jsonb_build_object(
          'target', snapshot.target,
          'course', item.external_id,
          'as_of', snapshot.as_of,
          'feature', to_jsonb(snapshot.feature) - '{person_id,course_id}'::text[],
          'outcome', snapshot.outcome
        )
        order by snapshot.target, snapshot.as_of, snapshot.course_id
      )
      from analytics.snapshot
      left join track.item on item.item_id = snapshot.course_id
      where snapshot.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'analytics.prediction_target',
    (
      select jsonb_agg(prediction order by prediction ->> 'target', prediction ->> 'course')
      from analytics._export_predictions(subject) as prediction
    ),
    'Predictions about the person as of now, with the features that changed them.'
  );
  return next privacy.exported_rows(
    'analytics.intervention',
    (
      -- Of the author, the learner gets no name; of the learner, the author gets what she herself did.
      select jsonb_agg(
        jsonb_build_object(
          'course', item.external_id, 'action', intervention.action, 'happened_at', intervention.happened_at,
          'created_at', intervention.created_at
        )
        || case
          when intervention.identity_id = any (subject.identity_ids) then jsonb_build_object(
            'identity', identity.external_id, 'note', intervention.note, 'risk', intervention.risk
          )
          else '{}'
        end
        || case
          when intervention.created_by = any (privacy.user_names(subject))
            then jsonb_build_object('created_by', intervention.created_by)
          else '{}'
        end
        order by intervention.intervention_id
      )
      from analytics.intervention
      join track.item on item.item_id = intervention.course_id
      join track.identity on identity.identity_id = intervention.identity_id
      where intervention.identity_id = any (subject.identity_ids)
        or intervention.created_by = any (privacy.user_names(subject))
    ),
    'What teachers did about the person, with their notes, and what she did about learners as a teacher.'
  );
  return next privacy.exported_rows(
    'analytics.annotation',
    (
      select jsonb_agg(to_jsonb(annotation) - 'annotation_id' order by annotation.annotation_id)
      from analytics.annotation
      where annotation.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_query',
    (
      select jsonb_agg(
        to_jsonb(saved) || jsonb_build_object(
          'created_by', case
            when saved.created_by = any (privacy.user_names(subject)) then saved.created_by
            else 'an administrator'
          end
        )
        order by saved.name
      )
      from analytics.saved_query as saved
      where saved.created_by = any (privacy.user_names(subject))
        or exists (
          select
          from jsonb_path_query(saved.arguments, '$.** ? (@.type() == "string")') as argument
          where argument #>> '{}' = any (privacy.user_names(subject))
        )
    )
  );
  return next privacy.exported_rows(
    'analytics.cohort',
    (
      select jsonb_agg(to_jsonb(cohort) order by cohort.name)
      from analytics.cohort
      where cohort.defined_by = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function analytics.export(privacy.subject) is $$
@behavior -*
Returns the predictions about a person, their training data, the notes of teachers about her, and what she has written.
For `privacy.export_person`.
$$;
--! EndIncluded analytics/access/export.sql

-- from analytics/policies.sql
grant select on analytics.intervention to insights_reader, insights_admin;
drop policy if exists all_rows on analytics.intervention;
create policy all_rows on analytics.intervention for select to insights_reader, insights_admin using (true);
grant select on analytics.trend_watch to insights_analyst, insights_admin, insights_worker;
grant insert (name, event_name, bucket, zone, measure, item, among, direction, season, history, threshold), delete
on analytics.trend_watch to insights_admin;
grant update (checked_at) on analytics.trend_watch to insights_admin, insights_worker;
drop policy if exists all_rows on analytics.trend_watch;
create policy all_rows on analytics.trend_watch for select using (true);
drop policy if exists admins_write on analytics.trend_watch;
create policy admins_write on analytics.trend_watch for insert to insights_admin with check (true);
drop policy if exists admins_delete on analytics.trend_watch;
create policy admins_delete on analytics.trend_watch for delete to insights_admin using (true);
drop policy if exists workers_update on analytics.trend_watch;
create policy workers_update on analytics.trend_watch for update to insights_admin, insights_worker using (true);
grant select, insert (name, bucket_start, figure, expected, lower_bound, upper_bound, score), delete
on analytics.trend_anomaly to insights_admin, insights_worker;
drop policy if exists admins_and_workers on analytics.trend_anomaly;
create policy admins_and_workers on analytics.trend_anomaly for all
to insights_admin, insights_worker using (true) with check (true);

-- from analytics/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'analytics', 'snapshot', 'person_id', 'person', 'analytics', 'deleted',
    'Learner in the data of a training in progress.', null
  ),
  ('analytics', 'snapshot', 'feature', 'derived', 'analytics', 'deleted', 'Features of the learner.', null),
  (
    'analytics', 'intervention', 'identity_id', 'identity', 'analytics', 'deleted',
    'Learner about whom a teacher did something.', null
  ),
  ('analytics', 'intervention', 'action', 'behaviour', 'analytics', 'deleted', 'Kind of what the teacher did.', null),
  ('analytics', 'intervention', 'note', 'behaviour', 'analytics', 'deleted', 'Note about the learner.', null),
  ('analytics', 'intervention', 'risk', 'derived', 'analytics', 'deleted', 'Prediction about the learner.', null),
  ('analytics', 'intervention', 'created_by', 'identity', 'service', 'cleared', 'Author of the note.', null),
  ('analytics', 'annotation', 'created_by', 'identity', 'service', 'cleared', 'Author of the annotation.', null),
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'cleared', 'Author of the query.', null),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service', 'deleted',
    'Arguments; those of queries for administrators can name a person. A query that names one is deleted.', null
  ),
  (
    'analytics', 'cohort', 'rule', 'traits', 'analytics', 'kept',
    'Rule of a cohort, which can contain a value of a trait or property.',
    'An administrator wrote it about all people who have the value.'
  ),
  (
    'analytics', 'cohort', 'names', 'derived', 'analytics', 'kept',
    'Names in the rule.',
    'As analytics.cohort.rule.'
  ),
  (
    'analytics', 'cohort', 'defined_by', 'identity', 'service', 'cleared',
    'Administrator who defined the cohort.', null
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
      'analytics', 'annotation', '{title,description}',
      'Releases, terms and holidays; there is no field for a person.'
    ),
    ('analytics', 'saved_query', '{name,description,function_name}', 'Name and function of a query.'),
    ('analytics', 'cohort', '{name}', 'Name of a cohort.'),
    (
      'analytics', 'trend_watch', '{name,event_name,zone,item,among}', 'Definition of a watched trend.'
    ),
    ('analytics', 'trend_anomaly', '{name}', 'Name of a watched trend.'),
    ('analytics', 'prediction_target', '{project,description}', 'Targets of predictions.'),
    ('analytics', 'snapshot', '{target}', 'Name of a target.'),
    (
      'analytics', 'training', '{target,moments,courses_left,algorithms_left}',
      'Work that a training has left.'
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
    v_person_id := track.lock_person(v_identity_id, (v_serving).listed_at);
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
  values (
    date_trunc('hour', now(), 'UTC'), _record_list.function_name, _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      (v_serving).model_id,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.list) as listed
      )
    ),
    cardinality(_record_list.list),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0)
  );
end;
$$;

comment on function recommend._record_list(recommend.recommendation[], text, text, timestamptz) is $$
@behavior -*
Records the rows of a list as served, each once, and how long the call of `function_name` took since `started_at`.
The list is one that the caller has just made: nothing is checked. One that is for no person is recorded for the learner
who is signed in, and otherwise not. Those of people who have opted out of `personalization` are not recorded.
$$;
--! EndIncluded recommend/feedback/_record_list.sql

--! Included recommend/evaluation/start_evaluation.sql
/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_evaluation(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_protocols constant text[] := '{time,leave_last_out,random,one_vs_100}';
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_names text[] := start_evaluation.models;
  v_models recommend.evaluation_model[];
  v_name text;
  v_evaluation recommend.evaluation;
begin
  perform recommend._check_session('evaluate models');
  perform recommend._check(1, start_evaluation.kind);
  if start_evaluation.protocol is null or start_evaluation.protocol <> all (v_protocols) then
    perform common.refuse(
      'CF002',
      format('there is no protocol "%s"', coalesce(left(start_evaluation.protocol, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(start_evaluation.protocol, v_protocols) || '"? ', '')
        || format('The protocols are %s.', array_to_string(v_protocols, ', '))
    );
  elsif start_evaluation.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same results.');
  elsif start_evaluation.split_at is not null
    and (start_evaluation.protocol <> 'time' or not isfinite(start_evaluation.split_at)) then
    perform common.refuse('CF001', format('split_at is %s', start_evaluation.split_at),
      'Give a time with the protocol "time" only.');
  end if;
  perform common.check_count('seed', start_evaluation.seed, -1000000000000000000, 1000000000000000000);
  if start_evaluation.k is null or not cardinality(start_evaluation.k) between 1 and 10
    or array_position(start_evaluation.k, null) is not null
    or (select count(distinct size) from unnest(start_evaluation.k) as size) < cardinality(start_evaluation.k) then
    perform common.refuse('CF001', format('k is %s', coalesce(left(start_evaluation.k::text, 100), 'null')),
      'Give 1 to 10 different lengths of lists, such as {5,10}.');
  end if;
  perform common.check_count('k', size, 1, 1000) from unnest(start_evaluation.k) as size;
  perform common.check_count('people', start_evaluation.people, 1, 100000);
  perform common.check_count('resamples', start_evaluation.resamples, 20, 10000);

  if cardinality(start_evaluation.segments) > 20 then
    perform common.refuse('CF008', format('%s segments', cardinality(start_evaluation.segments)), 'Give at most 20.');
  end if;
  foreach v_name in array coalesce(start_evaluation.segments, '{}') loop
    if not exists (select from track.person_set where person_set.name = v_name) then
      perform common.refuse(
        'CF002',
        format('there is no set of people "%s"', coalesce(left(v_name, 100), 'null')),
        coalesce(
          'Did you mean "'
            || common.nearest_name(v_name, (select array_agg(name order by name) from track.person_set))
            || '"?',
          'track.person_set lists the sets.'
        )
      );
    end if;
  end loop;

  v_names := coalesce(
    v_names,
    array(
      select known.model
      from recommend._candidates() as known
    )
    || 'latest'::text
    || array(select 'deployed' from recommend._deployed_model(start_evaluation.kind))
  );
  perform common.check_count('the number of models', cardinality(v_names), 1, 50);
  if (select count(distinct coalesce(entry, '')) from unnest(v_names) as entry) < cardinality(v_names) then
    perform common.refuse('CF001', format('models is %s', left(v_names::text, 100)), 'Name each model once.');
  end if;
  foreach v_name in array v_names loop
    v_models := v_models || recommend._model_parts(start_evaluation.kind, v_name);
  end loop;

  v_evaluation.kind := start_evaluation.kind;
  v_evaluation.purpose := 'evaluation';
  v_evaluation.protocol := start_evaluation.protocol;
  v_evaluation.k := start_evaluation.k;
  v_evaluation.segments := array(select distinct name from unnest(start_evaluation.segments) as name order by name);
  v_evaluation.seed := start_evaluation.seed;
  v_evaluation.most_people := start_evaluation.people;
  v_evaluation.resamples := start_evaluation.resamples;
  v_evaluation.split_at := start_evaluation.split_at;
  v_evaluation := recommend._start_evaluation(v_evaluation, v_models);
  if v_evaluation.test_people < v_fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough people to evaluate on: %s by protocol "%s"',
        v_evaluation.test_people, v_evaluation.protocol
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people) who used an item and took another one %s.',
        v_fewest_people,
        case
          when v_evaluation.split_at is null then 'that was available then'
          else format('from %s on that was available then', v_evaluation.split_at)
        end
      )
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) is $$
Starts an evaluation of recommenders, with the arguments of `recommend.evaluate`, which does all at once.
`recommend.continue_evaluation` does the work in steps, each in a transaction of its own.
The rows that models are trained and tested on are stored now, so that an evaluation that is interrupted continues with
the same results. They are deleted at its end, or when it has not been continued for a week.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_evaluation(
  text[], text, int[], text, bigint, text[], int, int, timestamptz
) to insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/start_evaluation.sql

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
      common.duration_bucket(queued.seconds), 1, queued.item_count, queued.seconds
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
1.42 times as large or as small as the true value from 0.5 ms on, and much nearer with many calls. Above 131 s they are
131 s.
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
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
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
      common.duration_bucket(taken.seconds) as bucket,
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
        from generate_series(1, v_buckets) as place
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

--! Included monitor/checks/_check_anomalies.sql
create or replace function monitor._check_anomalies()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select monitor._finding(
    'anomalies', watch.name, 'warning',
    -- Owners of alerts may not see exact figures: the score, without them.
    format(
      '%s of %s%s%s in the %s from %s (%s) %s far %s what the past predicts: score %s',
      case watch.measure when 'engaged' then 'engaged time' else watch.measure end,
      coalesce('"' || watch.event_name || '"', 'all activity'),
      coalesce(' in ' || watch.item, ''), coalesce(' among ' || watch.among, ''),
      watch.bucket, to_char(latest.bucket_start at time zone watch.zone, 'YYYY-MM-DD HH24:MI'), watch.zone,
      case watch.measure when 'engaged' then 'is' else 'are' end,
      case when latest.figure > latest.expected then 'above' else 'below' end, round(latest.score::numeric)
    ),
    format(
      'See the course of it: select * from analytics.anomalies(%s). If it is right, there is nothing to do: the alert '
        || 'ends with the next %s. Or: select analytics.unwatch_trend(%L)',
      concat_ws(
        ', ',
        'event_name => ' || quote_literal(watch.event_name),
        'bucket => ' || quote_literal(watch.bucket),
        'zone => ' || quote_literal(watch.zone),
        'measure => ' || quote_literal(watch.measure),
        'item => ' || quote_literal(watch.item),
        'among => ' || quote_literal(watch.among)
      ),
      watch.bucket, watch.name
    ),
    round(latest.score::numeric)::float8, watch.threshold
  )
  from analytics.trend_watch as watch
  cross join lateral (
    select found.bucket_start, found.figure, found.expected, found.score
    from analytics.trend_anomaly as found
    where found.name = watch.name
    order by found.bucket_start desc
    limit 1
  ) as latest
  -- The latest complete bucket, until the next one was compared.
  where latest.bucket_start >= common.add_buckets(watch.checked_at, watch.bucket, -2, watch.zone)
$$;

comment on function monitor._check_anomalies() is $$
Finds watched trends (`analytics.watch_trend`) whose latest complete bucket is an anomaly.
$$;
--! EndIncluded monitor/checks/_check_anomalies.sql

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
        when count(past.sampled_at) < fewest.values or max(past.sampled_at) - min(past.sampled_at) < interval '1 day'
          then 'learning'
        when count(distinct past.sampled_at::date) filter (where past.is_same_hour) >= 4
          and count(*) filter (where past.is_same_hour) >= 20 then 'hour of the week'
        else 'all hours'
      end as basis
    from (
      -- Values of each day are enough after two weeks.
      select least(100, extract(epoch from interval '14 days') / extract(epoch from probe.every)) as values
      from monitor.series
      join monitor.probe using (probe)
      where series.series_id = _learn_bound.series_id
    ) as fewest
    left join past on true
    group by fewest.values
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
        when _learn_bound.unit = 'ratio' then 0.001
        when _learn_bound.unit = 'flag' then 0.01
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

  union all

  -- The last measurement of each input (`ml.measure_drift`).
  select 'insights_model_input_drift', jsonb_build_object('project', project.name), max(drift.value)
  from ml.project
  cross join lateral (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as deployed
  cross join lateral (
    select distinct on (drift.feature) drift.value
    from ml.drift
    where drift.model_id = deployed.model_id
      and drift.statistic = 'population_stability_index'
      and drift.measured_at > clock_timestamp() - interval '3 days'
    order by drift.feature, drift.drift_id desc
  ) as drift
  where length(project.name) <= 200
  group by project.name
$$;

comment on function monitor._probe_models() is $$
Measures the deployed version of each project: its age, its training and the drift of its inputs.
$$;
--! EndIncluded monitor/probes/_probe_models.sql

--! Included monitor/probes/_probe_recommendations.sql
create or replace function monitor._probe_recommendations()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 100000;
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_version record;
begin
  return query
  with listed as materialized (
    select
      impression.person_id, impression.item_id, impression.clicked_at is not null as is_clicked,
      impression.completed_at is not null as is_completed, impression.dismissed_at is not null as is_dismissed
    from recommend.impression
    -- Lists that people had a day to answer. The first rows of the week, where there are more than fit.
    where impression.listed_at >= now() - interval '8 days'
      and impression.listed_at < now() - interval '1 day'
      and impression.is_served
    limit v_most
  ),

  cell as materialized (
    select
      item.kind, item.item_id, listed.person_id, count(*)::float8 as served,
      count(*) filter (where listed.is_clicked)::float8 as clicked,
      count(*) filter (where listed.is_completed)::float8 as completed,
      count(*) filter (where listed.is_dismissed)::float8 as dismissed
    from listed
    join track.item as named on named.item_id = listed.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    group by item.kind, item.item_id, listed.person_id
  ),

  total as (
    select
      cell.kind, count(distinct cell.person_id) as people, sum(cell.served) as served, sum(cell.clicked) as clicked,
      sum(cell.completed) as completed, sum(cell.dismissed) as dismissed
    from cell
    group by cell.kind
  ),

  spread as (
    select
      ordered.kind, count(*) as items, sum(ordered.served) as served, sum(ordered.place * ordered.served) as placed
    from (
      select served.*, row_number() over (partition by served.kind order by served.served desc) as place
      from (
        select cell.kind, cell.item_id, sum(cell.served) as served
        from cell
        group by cell.kind, cell.item_id
      ) as served
    ) as ordered
    group by ordered.kind
  ),

  available as (
    select item.kind, count(*) as items
    from track.item
    where item.merged_item_id is null
      and coalesce(item.available_from < now(), true)
      and coalesce(item.available_until > now() - interval '8 days', true)
    group by item.kind
  )

  select measured.metric, jsonb_build_object('project', project.name), measured.value
  from total
  join spread using (kind)
  left join available using (kind)
  join ml.project on project.name = 'recommend.' || total.kind
  cross join lateral (
    select greatest(coalesce(available.items, 0), spread.items)::float8 as items
  ) as catalogue
  cross join lateral (
    values
      ('insights_recommendation_rows', total.served),
      ('insights_recommendation_click_ratio', total.clicked / total.served),
      ('insights_recommendation_completion_ratio', total.completed / total.served),
      ('insights_recommendation_dismissal_ratio', total.dismissed / total.served),
      ('insights_recommendation_coverage_ratio', spread.items / catalogue.items),
      (
        'insights_recommendation_gini_ratio',
        1 + 1 / catalogue.items - 2 * spread.placed / (catalogue.items * spread.served)
      )
  ) as measured (metric, value)
  -- Figures of so few people would be about persons.
  where total.people >= v_smallest_group;

  for v_version in
    select project.name, latest.model_id, min(deployment.deployed_at) as since
    from ml.project
    cross join lateral (
      select deployment.model_id
      from ml.deployment
      where deployment.project_id = project.project_id
      order by deployment.deployment_id desc
      limit 1
    ) as latest
    join ml.deployment on deployment.model_id = latest.model_id
    where starts_with(project.name, 'recommend.')
    group by project.name, latest.model_id
    order by project.name
  loop
    return query
    select
      'insights_recommendation_score_drift', jsonb_build_object('project', v_version.name), shift.stability_index
    from monitor._score_shift(
      v_version.model_id, substr(v_version.name, length('recommend.') + 1),
      tstzrange(v_version.since, v_version.since + interval '7 days'), tstzrange(now() - interval '7 days', now()),
      null, v_most / 2
    ) as shift
    where shift.basis = 'model'
      and shift.verdict <> 'unknown'
      and least(shift.person_count, shift.reference_people) >= v_smallest_group;
  end loop;
end;
$$;

comment on function monitor._probe_recommendations() is $$
Measures how the recommendations of a week were received, their coverage, and the drift of the scores.
Of lists that are one to eight days old, in at most 100,000 rows.
$$;
--! EndIncluded monitor/probes/_probe_recommendations.sql

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
true value, so that from 0.5 ms on they are at most 1.42 times as large or as small, and much nearer with many calls.
Above 131 s they are 131 s. A process of the API that is killed loses the counts of its last 30 seconds.
Errors: CF001 for an invalid argument.
$$;

grant execute on function monitor.latencies(timestamptz, timestamptz, text, text) to insights_admin, insights_worker;
--! EndIncluded monitor/latencies/latencies.sql

--! Included monitor/relevance/_whole_weeks.sql
create or replace function monitor._whole_weeks(since timestamptz, until timestamptz)
returns tstzrange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform common.check_period(_whole_weeks.since, _whole_weeks.until);
  return tstzrange(
    date_trunc('week', greatest(_whole_weeks.since, '2000-01-03')),
    greatest(
      date_trunc('week', least(_whole_weeks.until, now()) - interval '1 microsecond') + interval '7 days',
      date_trunc('week', greatest(_whole_weeks.since, '2000-01-03'))
    )
  );
end;
$$;

comment on function monitor._whole_weeks(timestamptz, timestamptz) is $$
@behavior -*
Checks a period, and returns the whole weeks that it touches, so that two periods differ by a week at least.
$$;

grant execute on function monitor._whole_weeks(timestamptz, timestamptz) to insights_reader;
--! EndIncluded monitor/relevance/_whole_weeks.sql

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
    else monitor._whole_weeks(_reported_period.since, _reported_period.until)
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
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with item as materialized (
    select named.item_id, item.item_id as merged_item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _position_cells.kind
  ),

  listed as not materialized (
    select
      impression.rank,
      (impression.person_id % 64)::int as bucket,
      impression.clicked_at,
      date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week,
      hashtextextended(
        impression.basis, hashint8extended(coalesce(impression.model_id, 0), hashint8extended(item.merged_item_id, 0))
      ) as alike
    from recommend.impression
    join item using (item_id)
    left join track.person_set_blocks('counted') as counted
      on _position_cells.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _position_cells.since
      and impression.listed_at < _position_cells.until
      and impression.is_served
      and impression.rank between 1 and 20
      and (
        _position_cells.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- For analysts, a week in which few people were served a rank is left out. Buckets are at most as many as people.
  kept as (
    select present.rank, present.week
    from (select listed.rank, listed.week from listed group by listed.rank, listed.week, listed.bucket) as present
    group by present.rank, present.week
    having count(*) >= _position_cells.smallest_group
  )

  select
    listed.alike, listed.rank, listed.bucket, count(*)::float8, count(listed.clicked_at)::float8
  from listed
  where _position_cells.smallest_group is null
    or (listed.rank, listed.week) in (select kept.rank, kept.week from kept)
  group by listed.alike, listed.rank, listed.bucket;
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

--! Included monitor/relevance/_position_step.sql
create or replace function monitor._position_step(
  alike bigint[],
  place int[],
  listed float8[],
  clicked float8[],
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
set enable_mergejoin to off
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  -- Within a group, a click is at place k with the probability p = rows at k × examination of k / the sum of these.
  with cell as (
    select given.alike, given.place, given.clicked, given.listed * exp(logs[given.place]) as weight
    from unnest(_position_step.alike, _position_step.place, _position_step.listed, _position_step.clicked)
      as given (alike, place, listed, clicked)
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
      and other.place >= one.place
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
      left join pair
        on pair.one = least(one.place, other.place)
        and pair.other = greatest(one.place, other.place)
      where one.place > 1
        and other.place > 1
      order by one.place, other.place
    )
  into likelihood, gradient, information;
end;
$$;

comment on function monitor._position_step(bigint[], int[], float8[], float8[], float8[]) is $$
@behavior -*
Returns the conditional log-likelihood of the examination of ranks, its gradient, and the information matrix.
One element per group of equal rows and place, which is the number of a rank in `logs`, of which the first is 0.
$$;

grant execute on function monitor._position_step(bigint[], int[], float8[], float8[], float8[]) to insights_reader;
--! EndIncluded monitor/relevance/_position_step.sql

--! Included monitor/relevance/_fit_positions.sql
create or replace function monitor._fit_positions(
  alike bigint[],
  rank int[],
  listed float8[],
  clicked float8[],
  out used int[],
  out compared float8[],
  out logs float8[],
  out inverse float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fewest_clicks constant int := 10;
  v_former int[];
  v_size int;
  v_alike bigint[];
  v_place int[];
  v_listed float8[];
  v_clicked float8[];
  v_logs float8[];
  v_next float8[];
  v_now record;
  v_then record;
  v_inverse float8[];
  v_direction float8[];
  v_length float8;
begin
  -- Ranks with enough clicks in groups that have two of such ranks, until no rank falls out.
  used := array(select generate_series(1, 20));
  loop
    v_former := used;
    select
      array_agg(compared.rank order by compared.rank) filter (where compared.clicked >= v_fewest_clicks),
      array_agg(compared.clicked order by compared.rank)
    into used, compared
    from (
      select each.rank, coalesce(sum(cell.clicked), 0) as clicked
      from generate_series(1, 20) as each (rank)
      left join (
        select given.rank, given.clicked, min(given.rank) over alike < max(given.rank) over alike as is_compared
        from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.clicked) as given (alike, rank, clicked)
        where given.rank = any (v_former)
        window alike as (partition by given.alike)
      ) as cell
        on cell.rank = each.rank
        and cell.is_compared
      group by each.rank
    ) as compared;
    exit when used is null or used = v_former;
  end loop;
  v_size := cardinality(used) - 1;
  if used[1] is distinct from 1 or v_size < 1 then
    return;
  end if;

  select
    array_agg(given.alike order by given.alike), array_agg(array_position(used, given.rank) order by given.alike),
    array_agg(given.listed order by given.alike), array_agg(given.clicked order by given.alike)
  into v_alike, v_place, v_listed, v_clicked
  from unnest(_fit_positions.alike, _fit_positions.rank, _fit_positions.listed, _fit_positions.clicked)
    as given (alike, rank, listed, clicked)
  where given.rank = any (used);

  -- Newton's method. The likelihood is concave; a step that does not improve it is halved.
  v_logs := array_fill(0::float8, array[cardinality(used)]);
  select * into v_now from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_logs);
  for v_iteration in 1..50 loop
    v_inverse := monitor._inverse(v_now.information, v_size);
    if v_inverse is null then
      return;
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
      select * into v_then from monitor._position_step(v_alike, v_place, v_listed, v_clicked, v_next);
      exit when v_then.likelihood >= v_now.likelihood - 1e-9 * abs(v_now.likelihood);
      v_length := v_length / 2;
      if v_length < 1e-6 then
        return;
      end if;
    end loop;
    v_logs := v_next;
    v_now := v_then;
    -- A rank of which the clicks are separated from those of the others has no finite estimate.
    if (select max(abs(log)) > 15 from unnest(v_logs) as log) then
      return;
    end if;
    -- The error that remains is about the square of the last step.
    if (select max(abs(step)) < 1e-7 from unnest(v_direction) as step) then
      logs := v_logs;
      inverse := monitor._inverse(v_now.information, v_size);
      return;
    end if;
  end loop;
end;
$$;

comment on function monitor._fit_positions(bigint[], int[], float8[], float8[]) is $$
@behavior -*
Estimates the examination of ranks from rows and clicks of groups of equal rows by rank.
`used`: the ranks that can be compared; `compared`: the clicks by rank, from 1 to 20, of which the estimate is made;
`logs`: the logarithms of the examination of the ranks in `used`, the first of which is 0; `inverse`: the inverse of
their information matrix, without the first. The last two are null without a finite estimate.
$$;

grant execute on function monitor._fit_positions(bigint[], int[], float8[], float8[]) to insights_reader;
--! EndIncluded monitor/relevance/_fit_positions.sql

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
-- Results of functions have no statistics.
set enable_mergejoin to off
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  return query
  with cell as materialized (
    select *
    from monitor._position_cells(
      _position_estimates.since, _position_estimates.until, _position_estimates.kind, _position_estimates.smallest_group
    )
  ),

  ranked as (
    select
      bucket.rank, sum(bucket.listed_count) as listed, sum(bucket.clicked_count) as clicked,
      count(*)::int as listed_buckets, (count(*) filter (where bucket.clicked_count > 0))::int as clicked_buckets
    from (
      select
        cell.rank, cell.bucket, sum(cell.listed_count) as listed_count, sum(cell.clicked_count) as clicked_count
      from cell
      group by cell.rank, cell.bucket
    ) as bucket
    group by bucket.rank
  ),

  grouped as (
    select cell.alike, cell.rank, sum(cell.listed_count) as listed, sum(cell.clicked_count) as clicked
    from cell
    group by cell.alike, cell.rank
  ),

  -- Groups that were served at several ranks and clicked.
  useful as materialized (
    select told.alike, told.rank, told.listed, told.clicked
    from (
      select
        grouped.*, sum(grouped.clicked) over alike > 0 and min(grouped.rank) over alike < max(grouped.rank) over alike
          as is_useful
      from grouped
      window alike as (partition by grouped.alike)
    ) as told
    where told.is_useful
  ),

  fitted as materialized (
    select fit.*
    from (
      select
        array_agg(useful.alike) as alike, array_agg(useful.rank) as rank, array_agg(useful.listed) as listed,
        array_agg(useful.clicked) as clicked
      from useful
    ) as given
    cross join lateral monitor._fit_positions(given.alike, given.rank, given.listed, given.clicked) as fit
  ),

  -- The share of each rank in the clicks of its group, and clicks per row, as they are expected.
  expected as materialized (
    select
      weighed.alike, weighed.place, weighed.rank, weighed.weight / sum(weighed.weight) over alike as share,
      weighed.examination * sum(weighed.clicked) over alike / sum(weighed.weight) over alike as rate
    from (
      select
        useful.*, examined.place, exp(examined.log) as examination, useful.listed * exp(examined.log) as weight
      from fitted
      cross join lateral unnest(fitted.used, fitted.logs) with ordinality as examined (rank, log, place)
      join useful on useful.rank = examined.rank
      where fitted.inverse is not null
    ) as weighed
    window alike as (partition by weighed.alike)
  ),

  -- Clicks beyond the expected ones. Their sum is 0 over the people of a group, not over those of a bucket.
  beyond as materialized (
    select
      cell.alike, expected.place, cell.bucket, sum(cell.clicked_count - cell.listed_count * expected.rate) as clicks
    from cell
    join expected
      on expected.alike = cell.alike
      and expected.rank = cell.rank
    group by grouping sets ((cell.alike, cell.bucket), (expected.place, cell.bucket))
  ),

  served as (
    select beyond.bucket
    from beyond
    where beyond.place is not null
    group by beyond.bucket
  ),

  score as (
    select part.place, part.bucket, sum(part.score) as score
    from (
      select beyond.place, beyond.bucket, beyond.clicks as score
      from beyond
      where beyond.place is not null

      union all

      select expected.place, beyond.bucket, -sum(beyond.clicks * expected.share)
      from beyond
      join expected on expected.alike = beyond.alike
      where beyond.alike is not null
      group by expected.place, beyond.bucket
    ) as part
    where part.place > 1
    group by part.place, part.bucket
  ),

  influence as (
    select place.rank, array_agg(place.influence order by place.bucket) as influence
    from (
      select
        examined.rank, each.bucket,
        coalesce(sum(examined.inverse[score.place - 1] * score.score), 0)
          * (select sqrt(count(*) / greatest(count(*) - 1, 1)::float8) from served) as influence
      from (
        select
          used.rank,
          case used.place
            when 1 then array_fill(0::float8, array[cardinality(fitted.used) - 1])
            else fitted.inverse[
              (used.place - 2) * (cardinality(fitted.used) - 1) + 1:(used.place - 1) * (cardinality(fitted.used) - 1)
            ]
          end as inverse
        from fitted
        cross join lateral unnest(fitted.used) with ordinality as used (rank, place)
        where fitted.inverse is not null
      ) as examined
      cross join generate_series(0, 63) as each (bucket)
      left join score on score.bucket = each.bucket
      group by examined.rank, each.bucket
    ) as place
    group by place.rank
  )

  select
    ranked.rank, ranked.listed, ranked.clicked, ranked.listed_buckets, ranked.clicked_buckets,
    fitted.compared[ranked.rank],
    fitted.logs[array_position(fitted.used, ranked.rank)],
    influence.influence
  from ranked
  cross join fitted
  left join influence on influence.rank = ranked.rank
  order by ranked.rank;
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

  rated as (
    select
      entry.*,
      sum(entry.listed) over own as all_listed,
      sum(entry.clicked) over own / sum(entry.listed) over own as rate,
      count(*) over own::float8 as buckets
    from (
      select
        weighed.name, weighed.starts_at, weighed.bucket, sum(weighed.listed) as listed, sum(weighed.clicked) as clicked
      from weighed
      group by weighed.name, weighed.starts_at, weighed.bucket
    ) as entry
    window own as (partition by entry.name, entry.starts_at)
  ),

  -- The error of the rate by bucket of people: by their own clicks, and by what they add to the error of each rank.
  part as (
    select
      rated.name, rated.starts_at, rated.bucket, rated.all_listed, rated.rate, rated.buckets,
      (rated.clicked - rated.rate * rated.listed) * sqrt(rated.buckets / greatest(rated.buckets - 1, 1)) as error
    from rated

    union all

    select
      ranked.name, ranked.starts_at, entry.place::int - 1, null, null, null, -ranked.clicked * entry.influence
    from (
      select weighed.name, weighed.starts_at, weighed.rank, sum(weighed.clicked) as clicked
      from weighed
      group by weighed.name, weighed.starts_at, weighed.rank
    ) as ranked
    join position on position.rank = ranked.rank
    cross join lateral unnest(position.influence) with ordinality as entry (influence, place)
  ),

  -- All 64 buckets: each rank has its influence on them.
  spread as (
    select
      bucket.name, bucket.starts_at, max(bucket.rate) as rate, max(bucket.buckets) as buckets,
      sqrt(sum(bucket.error ^ 2)) / max(bucket.all_listed) as error,
      array_agg(bucket.error order by bucket.bucket) as errors, max(bucket.all_listed) as listed
    from (
      select
        part.name, part.starts_at, part.bucket, sum(part.error) as error, max(part.all_listed) as all_listed,
        max(part.rate) as rate, max(part.buckets) as buckets
      from part
      group by part.name, part.starts_at, part.bucket
    ) as bucket
    group by bucket.name, bucket.starts_at
  )

  select
    spread.name, spread.starts_at, spread.rate, spread.error,
    case when spread.buckets >= 10 and spread.rate > 0 then
      spread.rate * exp(-ml.students_t_quantile(0.975, spread.buckets - 1) * spread.error / spread.rate)
    end,
    case when spread.buckets >= 10 and spread.rate > 0 then
      spread.rate * exp(ml.students_t_quantile(0.975, spread.buckets - 1) * spread.error / spread.rate)
    end,
    array(select error / spread.listed from unnest(spread.errors) with ordinality as e (error, place) order by place)
  from spread;
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

--! Included monitor/relevance/_dwell.sql
create or replace function monitor._dwell(since timestamptz, until timestamptz, kind text)
returns table (person_id bigint, serving_key uuid, seconds float8)
language plpgsql
stable
parallel safe
-- The estimate of the planner, for the joins of reports.
rows 100000
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with clicked as (
    select impression.person_id, impression.serving_key, item.item_id, impression.clicked_at, session.session_id
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    -- Sessions of a person do not overlap.
    join track.session
      on session.person_id = impression.person_id
      and session.started_at <= impression.clicked_at
      and session.ended_at >= impression.clicked_at
    where impression.listed_at >= _dwell.since
      and impression.listed_at < _dwell.until
      and impression.is_served
      and impression.clicked_at is not null
      and impression.person_id <> 0
      and item.kind = _dwell.kind
  ),

  -- A page view belongs to the latest click on a row that it is part of.
  viewed as (
    select distinct on (page_view.person_id, page_view.session_id, page_view.view_number)
      clicked.person_id, clicked.serving_key, extract(epoch from page_view.engaged)::float8 as seconds
    from clicked
    join track.page_view
      on page_view.person_id = clicked.person_id
      and page_view.session_id = clicked.session_id
      and page_view.started_at >= clicked.clicked_at
    join track.item_ancestor
      on item_ancestor.item_id = page_view.item_id
      and item_ancestor.ancestor_item_id = clicked.item_id
    order by
      page_view.person_id, page_view.session_id, page_view.view_number, clicked.clicked_at desc, clicked.serving_key
  )

  select viewed.person_id, viewed.serving_key, sum(viewed.seconds)
  from viewed
  group by viewed.person_id, viewed.serving_key;
end;
$$;

comment on function monitor._dwell(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the dwell time of clicks on rows of recorded lists of a kind, for clicks that were followed by a page view.
It is the engaged time of the page views of the item, or of what it contains, in the session of the click, from the
click on. A page view counts for the latest click before it.
$$;

grant execute on function monitor._dwell(timestamptz, timestamptz, text) to insights_reader;
--! EndIncluded monitor/relevance/_dwell.sql

--! Included monitor/relevance/_self_information.sql
create or replace function monitor._self_information(kind text, smallest_group int)
returns table (item_id bigint, bits float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with counted as materialized (
    select interaction.item_id, interaction.person_id, count(*) as number
    from recommend.interaction
    join track.item using (item_id)
    left join track.person_set_blocks('counted') as person
      on _self_information.smallest_group is not null
      and person.block = interaction.person_id / 4096
    where item.kind = _self_information.kind
      and interaction.weight > 0
      and interaction.person_id <> 0
      and (
        _self_information.smallest_group is null
        or get_bit(person.people, (interaction.person_id % 4096)::int) <> 0
      )
    group by grouping sets ((interaction.item_id), (interaction.person_id))
  ),

  everyone as (
    select analytics.shown(count(*), count(*), _self_information.smallest_group) as people
    from counted
    where counted.person_id is not null
  )

  select
    item.item_id,
    greatest(
      0,
      ln(
        everyone.people / greatest(
          analytics.shown(counted.number, counted.number, _self_information.smallest_group),
          coalesce(_self_information.smallest_group, 1)
        )
      ) / ln(2::float8)
    )
  from track.item
  cross join everyone
  left join counted on counted.item_id = item.item_id
  where item.kind = _self_information.kind
    and everyone.people > 0;
end;
$$;

comment on function monitor._self_information(text, int) is $$
@behavior -*
Returns the self-information of each item of a kind in bits: -log2 of the share of people who used it.
Of the people who used an item of the kind, as `recommend.interaction` has them at present. An item that no person used
counts as one that one person used, with `smallest_group` as one that this number of counted people used. Zhou and
others, "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
$$;

grant execute on function monitor._self_information(text, int) to insights_reader;
--! EndIncluded monitor/relevance/_self_information.sql

--! Included monitor/relevance/_listed_sums.sql
create or replace function monitor._listed_sums(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.listed_sum
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
set jit to off
-- Parts that the grouping and the caller do not need are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_deployments int[];
  v_deployed timestamptz[];
begin
  select
    coalesce(array_agg(deployment.deployment_id order by deployment.deployed_at, deployment.deployment_id), '{}'),
    coalesce(array_agg(deployment.deployed_at order by deployment.deployed_at, deployment.deployment_id), '{}')
  into v_deployments, v_deployed
  from ml.deployment
  join ml.project using (project_id)
  where _listed_sums.by = 'deployment'
    and project.name = 'recommend.' || _listed_sums.kind;

  return query
  with segment as materialized (
    select person_set.name, stored.block, stored.people
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as stored
    where _listed_sums.by = 'segment'
      and person_set.name like 'segment.%'
  ),

  -- The group of each row, without nulls: rows are joined and grouped by it.
  listed as not materialized (
    select
      case _listed_sums.by
        when 'model' then coalesce(model.version, 0)
        when 'rank' then impression.rank
        when 'deployment' then width_bucket(impression.listed_at, v_deployed)
        else 0
      end as number,
      case _listed_sums.by when 'basis' then impression.basis when 'segment' then segment.name else '' end as label,
      case
        when _listed_sums.by_week then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
        else '-infinity'
      end as starts_at,
      case
        when _listed_sums.smallest_group is null then '-infinity'
        else date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      item.item_id, impression.person_id, impression.rank, impression.listed_at, impression.seen_at,
      impression.clicked_at, impression.completed_at, impression.dismissed_at, impression.liking,
      impression.serving_key
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join ml.model on model.model_id = impression.model_id
    left join segment
      on segment.block = impression.person_id / 4096
      and get_bit(segment.people, (impression.person_id % 4096)::int) = 1
    left join track.person_set_blocks('counted') as counted
      on _listed_sums.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _listed_sums.since
      and impression.listed_at < _listed_sums.until
      and impression.is_served
      and item.kind = _listed_sums.kind
      and (_listed_sums.by <> 'segment' or segment.name is not null)
      and (
        _listed_sums.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  list as (
    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id,
      1 as lists,
      count(*)::float8 as served,
      count(listed.seen_at)::float8 as seen,
      count(listed.clicked_at)::float8 as clicked,
      count(listed.completed_at)::float8 as completed,
      count(listed.dismissed_at)::float8 as dismissed,
      count(*) filter (where listed.liking > 0)::float8 as liked,
      count(*) filter (where listed.liking < 0)::float8 as disliked,
      0 as viewed,
      null::float8 as seconds
    from listed
    group by listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, listed.listed_at

    union all

    select
      listed.number, listed.label, listed.starts_at, listed.week, listed.person_id, 0, 0, 0, 0, 0, 0, 0, 0, 1,
      dwell.seconds
    from listed
    join monitor._dwell(_listed_sums.since, _listed_sums.until, _listed_sums.kind) as dwell
      on dwell.person_id = listed.person_id
      and dwell.serving_key = listed.serving_key
    where listed.clicked_at is not null
  ),

  person as materialized (
    select
      list.number, list.label, list.starts_at, list.week, list.person_id, sum(list.lists)::float8 as lists,
      sum(list.served) as served, sum(list.seen) as seen, sum(list.clicked) as clicked,
      sum(list.completed) as completed, sum(list.dismissed) as dismissed, sum(list.liked) as liked,
      sum(list.disliked) as disliked, sum(list.viewed)::float8 as viewed, sum(list.seconds) as seconds
    from list
    group by list.number, list.label, list.starts_at, list.week, list.person_id
  ),

  -- For analysts, a week in which a group has few people is left out.
  kept as materialized (
    select person.number, person.label, person.starts_at, person.week
    from person
    group by person.number, person.label, person.starts_at, person.week
    having count(*) >= _listed_sums.smallest_group
  ),

  told as not materialized (
    select listed.*
    from listed
    where _listed_sums.smallest_group is null
      or (listed.number, listed.label, listed.starts_at, listed.week) in (select * from kept)
  ),

  item as materialized (
    select
      told.number, told.label, told.starts_at, told.item_id, count(*)::float8 as served,
      -- At most as many as people.
      bit_count(bit_or(1::bigint << (told.person_id % 64)::int)::bit(64)) as buckets
    from told
    group by told.number, told.label, told.starts_at, told.item_id
  ),

  -- For analysts, items that few people were served do not count.
  rare as (
    select person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    from (
      select distinct told.number, told.label, told.starts_at, told.item_id, told.person_id
      from told
      where (told.number, told.label, told.starts_at, told.item_id) in (
        select item.number, item.label, item.starts_at, item.item_id
        from item
        where item.buckets < _listed_sums.smallest_group
      )
    ) as person_item
    group by person_item.number, person_item.label, person_item.starts_at, person_item.item_id
    having count(*) < _listed_sums.smallest_group
  ),

  summed as (
    select
      person.number, person.label, person.starts_at, person.person_id, null::int as rank, null::int as bucket,
      null::bigint as item_id, sum(person.lists) as lists, sum(person.served) as served, sum(person.seen) as seen,
      sum(person.clicked) as clicked, sum(person.completed) as completed, sum(person.dismissed) as dismissed,
      sum(person.liked) as liked, sum(person.disliked) as disliked, sum(person.viewed) as viewed,
      sum(person.seconds) as seconds
    from person
    where _listed_sums.smallest_group is null
      or (person.number, person.label, person.starts_at, person.week) in (select * from kept)
    group by person.number, person.label, person.starts_at, person.person_id

    union all

    select
      told.number, told.label, told.starts_at, null, told.rank, (told.person_id % 64)::int, null, null,
      count(*)::float8, null, count(told.clicked_at)::float8, null, null, null, null, null, null
    from told
    where told.rank between 1 and 20
    group by told.number, told.label, told.starts_at, told.rank, (told.person_id % 64)::int

    union all

    select
      item.number, item.label, item.starts_at, null, null, null, item.item_id, null, item.served, null, null, null,
      null, null, null, null, null
    from item
    where _listed_sums.smallest_group is null
      or (item.number, item.label, item.starts_at, item.item_id) not in (select * from rare)
  )

  select
    case
      when _listed_sums.by in ('basis', 'segment') then summed.label
      when _listed_sums.by = 'deployment' then v_deployments[summed.number]::text
      when _listed_sums.by <> 'all' then nullif(summed.number, 0)::text
    end,
    case
      when _listed_sums.by_week then summed.starts_at
      when _listed_sums.by = 'deployment' then v_deployed[summed.number]
    end,
    summed.person_id, summed.rank, summed.bucket, summed.item_id, summed.lists, summed.served, summed.seen,
    summed.clicked, summed.completed, summed.dismissed, summed.liked, summed.disliked, summed.viewed, summed.seconds
  from summed;
end;
$$;

comment on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Counts the rows of recorded lists of a kind: by group and person, by group, rank and bucket of people, and by item.
The group is that of `monitor.relevance`: one per segment of the person with `by` segment. Of the first 20 ranks.
`smallest_group`: of counted people, without weeks of a group and without items of a group that have fewer; null: all.
$$;

grant execute on function monitor._listed_sums(timestamptz, timestamptz, text, text, boolean, int) to insights_reader;
--! EndIncluded monitor/relevance/_listed_sums.sql

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
  v_z constant float8 := ml.normal_quantile(0.975);
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
  with summed as materialized (
    select *
    from monitor._listed_sums(
      lower(v_period), upper(v_period), _relevance.by, _relevance.kind, coalesce(_relevance.by_week, false),
      _relevance.smallest_group
    )
  ),

  whole as (
    select *
    from summed
    where summed.person_id is not null
  ),

  -- Sums, and those of squares and products, from which the variance of a quotient of sums over people follows.
  grouped as (
    select
      whole.name, whole.starts_at, count(*) as people, sum(whole.list_count) as lists,
      sum(whole.served_count) as served, sum(whole.served_count ^ 2) as served_served,
      sum(whole.seen_count) as seen, count(*) filter (where whole.seen_count > 0) as seen_people,
      sum(whole.clicked_count) as clicked, count(*) filter (where whole.clicked_count > 0) as clicked_people,
      sum(whole.completed_count) as completed, count(*) filter (where whole.completed_count > 0) as completed_people,
      sum(whole.dismissed_count) as dismissed, count(*) filter (where whole.dismissed_count > 0) as dismissed_people,
      sum(whole.liked_count) as liked, count(*) filter (where whole.liked_count > 0) as liked_people,
      sum(whole.disliked_count) as disliked, count(*) filter (where whole.disliked_count > 0) as disliked_people,
      sum(whole.viewed_count) as viewed, count(*) filter (where whole.viewed_count > 0) as viewed_people,
      sum(whole.dwell_seconds) as seconds, sum(whole.dwell_seconds ^ 2) as seconds_seconds,
      sum(whole.dwell_seconds * whole.clicked_count) as seconds_clicked,
      sum(whole.clicked_count ^ 2) as clicked_clicked,
      sum(whole.clicked_count * whole.served_count) as clicked_served,
      sum(whole.completed_count ^ 2) as completed_completed,
      sum(whole.completed_count * whole.served_count) as completed_served,
      sum(whole.dismissed_count ^ 2) as dismissed_dismissed,
      sum(whole.dismissed_count * whole.served_count) as dismissed_served
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
      analytics.shown(grouped.viewed, grouped.viewed_people, _relevance.smallest_group)::bigint as viewed,
      grouped.seconds / nullif(grouped.clicked, 0) as dwell,
      -- Of a quotient of sums over people, by the delta method.
      sqrt(greatest(
        0,
        grouped.clicked_people / nullif(grouped.clicked_people - 1, 0)::float8 * (
          grouped.seconds_seconds - 2 * grouped.seconds / nullif(grouped.clicked, 0) * grouped.seconds_clicked
            + (grouped.seconds / nullif(grouped.clicked, 0)) ^ 2 * grouped.clicked_clicked
        )
      )) / nullif(grouped.clicked, 0) as dwell_error,
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
        select
          array_agg(
            row(cell.name, cell.starts_at, cell.rank, cell.bucket, cell.served_count, cell.clicked_count)
              ::monitor.ranked_cell
          )
        from summed as cell
        where cell.rank is not null
      )
    )
  ),

  ordered as (
    select
      item.name, item.starts_at, item.served_count as served, information.bits,
      row_number() over (partition by item.name, item.starts_at order by item.served_count desc) as place
    from summed as item
    left join monitor._self_information(_relevance.kind, _relevance.smallest_group) as information using (item_id)
    where item.item_id is not null
  ),

  -- Items that were not served are the last ones; they add to the number of items only.
  spread as (
    select
      ordered.name, ordered.starts_at, count(*) as items,
      greatest(v_available, count(*)) as available,
      sum(ordered.served) as served,
      sum(ordered.place * ordered.served) as placed,
      sum(ordered.bits * ordered.served) / sum(ordered.served) as novelty,
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
    monitor._shown_rate(spread.top_tenth / spread.served, _relevance.smallest_group),
    least(shown.viewed, shown.clicked),
    monitor._shown_rate(viewed.dwell, _relevance.smallest_group),
    case when viewed.error is not null then
      monitor._shown_rate(greatest(0, viewed.dwell - v_z * viewed.error), _relevance.smallest_group)
    end,
    monitor._shown_rate(viewed.dwell + v_z * viewed.error, _relevance.smallest_group),
    monitor._shown_rate(spread.novelty, _relevance.smallest_group)
  from shown
  cross join lateral (
    select
      shown.served,
      least(shown.clicked, shown.served) as clicked,
      least(shown.completed, shown.served) as completed,
      least(shown.dismissed, shown.served) as dismissed
  ) as figure
  -- Without page views, for lack of them or of people, there is no dwell time.
  left join lateral (
    select shown.dwell, shown.dwell_error as error where shown.viewed > 0 and shown.clicked > 0
  ) as viewed on true
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
Returns how relevant the recommended items of a kind were.
Clicks, dwell time, completions, dismissals, coverage, concentration and novelty, of the rows of lists that
`recommend.serve_me` and its variants recorded: rows that are known from an answer alone would be more frequent in
better lists. Rates are shares of the rows that were served. `by`: `all`, `model` (version), `basis`, `rank`, `segment`
(a person counts in each of hers) or `deployment`, of which each lasts until the next; `by_week`: for each week from
Monday, UTC. `corrected_rate` does not depend on the ranks at which rows were: see `monitor.position_bias`. Intervals
are 95 %, with people as clusters.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a group has fewer than `analytics.setting.smallest_group` people is left out, numbers are
rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.relevance(timestamptz, timestamptz, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/relevance.sql

--! Included monitor/relevance/_scored.sql
create or replace function monitor._scored(
  since timestamptz,
  until timestamptz,
  kind text,
  model_id bigint,
  smallest_group int,
  most int
)
returns setof monitor.scored
language plpgsql
stable
parallel safe
-- The estimate of the planner, for the joins of reports.
rows 1000000
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics. Callers that exclude nested loops have plans of their own.
set enable_mergejoin to off
set enable_nestloop to on
set work_mem to '64MB'
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with item as materialized (
    select named.item_id
    from track.item as named
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where item.kind = _scored.kind
  ),

  listed as not materialized (
    select
      impression.model_id, impression.basis,
      case
        when _scored.smallest_group is not null then date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z')
      end as week,
      impression.person_id, impression.rank, impression.score, impression.clicked_at is not null as is_clicked
    from recommend.impression
    join item using (item_id)
    left join track.person_set_blocks('counted') as counted
      on _scored.smallest_group is not null
      and counted.block = impression.person_id / 4096
    where impression.listed_at >= _scored.since
      and impression.listed_at < _scored.until
      and impression.is_served
      and impression.score > '-infinity'
      and impression.score < 'infinity'
      and (impression.model_id = _scored.model_id or _scored.model_id is null)
      and (_scored.smallest_group is null or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0)
  ),

  -- For analysts, a week in which a version has few people is left out.
  kept as (
    select person.version, person.basis, person.week
    from (
      select coalesce(listed.model_id, 0) as version, listed.basis, listed.week, listed.person_id
      from listed
      group by coalesce(listed.model_id, 0), listed.basis, listed.week, listed.person_id
    ) as person
    group by person.version, person.basis, person.week
    having count(*) >= _scored.smallest_group
  )

  select listed.*
  from listed
  where _scored.smallest_group is null
    or (coalesce(listed.model_id, 0), listed.basis, listed.week) in (select * from kept)
  limit _scored.most;
end;
$$;

comment on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int) is $$
@behavior -*
Returns the rows of recorded lists of a kind that have a score, of one version or of all, `most` rows at most.
$$;

grant execute on function monitor._scored(timestamptz, timestamptz, text, bigint, int, int)
to insights_reader, insights_worker;
--! EndIncluded monitor/relevance/_scored.sql

--! Included monitor/relevance/_score_shift.sql
create or replace function monitor._score_shift(
  model_id bigint,
  kind text,
  reference tstzrange,
  period tstzrange,
  smallest_group int,
  most int
)
returns setof monitor.score_shift
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
begin
  return query
  with scored as materialized (
    select false as is_new, entry.*
    from monitor._scored(
      lower(_score_shift.reference), upper(_score_shift.reference), _score_shift.kind, _score_shift.model_id,
      _score_shift.smallest_group, _score_shift.most
    ) as entry

    union all

    select true, entry.*
    from monitor._scored(
      greatest(lower(_score_shift.period), upper(_score_shift.reference)), upper(_score_shift.period),
      _score_shift.kind, _score_shift.model_id, _score_shift.smallest_group, _score_shift.most
    ) as entry
  ),

  -- Tenths of the first days; equal scores are in one bin.
  edged as materialized (
    select cut.basis, array(select distinct edge from unnest(cut.edges) as edge order by edge) as edges
    from (
      select
        scored.basis,
        percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
      from scored
      where not scored.is_new
      group by scored.basis
    ) as cut
  ),

  tally as materialized (
    select
      scored.basis, scored.is_new, scored.person_id, width_bucket(scored.score, edged.edges) as bin,
      count(*)::float8 as count, sum(scored.score) as score
    from scored
    join edged using (basis)
    group by 1, 2, 3, 4
  ),

  side as materialized (
    select
      person.basis, person.is_new, count(*) as people, sum(person.count) as count,
      sum(person.count ^ 2) as count_count, sum(person.score) / sum(person.count) as mean
    from (
      select tally.basis, tally.is_new, tally.person_id, sum(tally.count) as count, sum(tally.score) as score
      from tally
      group by tally.basis, tally.is_new, tally.person_id
    ) as person
    group by person.basis, person.is_new
  ),

  filled as materialized (
    select
      part.basis, part.is_new, part.bin, sum(part.count) as count, sum(part.count ^ 2) as squares,
      sum(part.count * part.person_count) as products
    from (
      select
        tally.*, sum(tally.count) over (partition by tally.basis, tally.is_new, tally.person_id) as person_count
      from tally
    ) as part
    group by part.basis, part.is_new, part.bin
  ),

  -- Bins without a row of one of the periods count.
  cell as (
    select
      side.basis, side.is_new, bin.bin, coalesce(filled.count, 0) as count, coalesce(filled.squares, 0) as squares,
      coalesce(filled.products, 0) as products
    from side
    join (select distinct filled.basis, filled.bin from filled) as bin using (basis)
    left join filled using (basis, is_new, bin)
  ),

  -- The mean effect of people having many rows on the variance of the shares (Rao and Scott), of bins with rows.
  whole as (
    select
      side.basis, side.is_new, side.people, side.count, side.mean, count(*)::int as bins,
      array_agg(cell.count order by cell.bin) as counts,
      case when count(*) > 1 then coalesce(
        sum((1 - cell.count / side.count) * monitor._design_effect(
          side.people, cell.count, side.count, cell.squares, cell.products, side.count_count
        )) filter (where cell.count between 1 and side.count - 1)
          / sum(1 - cell.count / side.count) filter (where cell.count between 1 and side.count - 1),
        side.count / side.people
      ) end / side.count as scale
    from side
    join cell using (basis, is_new)
    group by side.basis, side.is_new, side.people, side.count, side.mean
  ),

  compared as (
    select
      former.basis, former.bins, former.people as former_people, former.count as former_count,
      former.mean as former_mean, latter.people, latter.count, latter.mean,
      case when latter.counts is not null then ml.population_stability_index(former.counts, latter.counts) end as index,
      former.scale + latter.scale as scale
    from whole as former
    left join whole as latter
      on latter.basis = former.basis
      and latter.is_new
    where not former.is_new
  )

  select
    model.version::text, compared.basis, lower(_score_shift.reference), upper(_score_shift.reference),
    analytics.shown(compared.former_people, compared.former_people, _score_shift.smallest_group)::bigint,
    analytics.shown(compared.former_count, compared.former_people, _score_shift.smallest_group)::bigint,
    coalesce(analytics.shown(compared.people, compared.people, _score_shift.smallest_group), 0)::bigint,
    coalesce(analytics.shown(compared.count, compared.people, _score_shift.smallest_group), 0)::bigint,
    monitor._shown_rate(compared.former_mean, _score_shift.smallest_group),
    monitor._shown_rate(compared.mean, _score_shift.smallest_group),
    compared.bins,
    monitor._shown_rate(compared.index, _score_shift.smallest_group),
    monitor._shown_rate(1 - ml.chi_squared_cdf(compared.index / compared.scale, compared.bins - 1),
      _score_shift.smallest_group),
    case
      when 1 - ml.chi_squared_cdf(0.1 / compared.scale, compared.bins - 1) <= 0.05 is not true then 'unknown'
      when compared.index < 0.1 then 'stable'
      when compared.index < 0.25 then 'shifting'
      else 'drifted'
    end
  from compared
  join ml.model on model.model_id = _score_shift.model_id
  order by compared.basis;
end;
$$;

comment on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int) is $$
@behavior -*
Compares the scores of a version in two periods, by basis: see `monitor.score_drift`. `most`: most rows of each period.
$$;

grant execute on function monitor._score_shift(bigint, text, tstzrange, tstzrange, int, int)
to insights_reader, insights_worker;
--! EndIncluded monitor/relevance/_score_shift.sql

--! Included monitor/relevance/score_drift.sql
create or replace function monitor._score_drift(
  since timestamptz,
  until timestamptz,
  kind text,
  reference interval,
  smallest_group int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _score_drift.since, _score_drift.until, _score_drift.kind, _score_drift.smallest_group
  );
  v_reference interval := _score_drift.reference;
  v_version record;
begin
  if v_reference between '1 hour' and '90 days' is not true then
    perform common.refuse(
      'CF001', format('reference is %s', coalesce(v_reference::text, 'null')), 'Use 1 hour to 90 days.'
    );
  end if;
  for v_version in
    select model.model_id, coalesce(deployed.since, model.trained_at) as since
    from (
      select distinct impression.model_id
      from recommend.impression
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
    ) as served
    join ml.model using (model_id)
    join ml.project using (project_id)
    left join (
      select deployment.model_id, min(deployment.deployed_at) as since
      from ml.deployment
      group by deployment.model_id
    ) as deployed using (model_id)
    where project.name = 'recommend.' || _score_drift.kind
    order by model.version
  loop
    -- For analysts, whole weeks.
    if _score_drift.smallest_group is not null then
      v_version.since := date_trunc('week', v_version.since);
      v_reference := ceil(extract(epoch from _score_drift.reference) / 604800) * interval '7 days';
    end if;
    return query
    select shift.*
    from monitor._score_shift(
      v_version.model_id, _score_drift.kind, tstzrange(v_version.since, v_version.since + v_reference), v_period,
      _score_drift.smallest_group, null
    ) as shift;
  end loop;
end;
$$;

comment on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) is $$
@behavior -*
Computes the result of `monitor.score_drift`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._score_drift_exact(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, null);
$$;

alter function monitor._score_drift_exact(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_exact(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._score_drift_exact(timestamptz, timestamptz, text, interval)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._score_drift_shown(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) to insights_analyst;

create or replace function monitor.score_drift(
  since timestamptz default (now() at time zone 'UTC' - interval '7 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  reference interval default '7 days'
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._score_drift_exact(timestamptz, timestamptz, text, interval)', 'execute') then
    return query
    select *
    from monitor._score_drift_exact(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  else
    return query
    select *
    from monitor._score_drift_shown(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  end if;
end;
$$;

comment on function monitor.score_drift(timestamptz, timestamptz, text, interval) is $$
Compares the scores of recommended items in a period with those of the first days of the version, by version and basis.
The first days begin with the first deployment of the version, or with its training when it was never deployed (an arm
of an experiment), and last as long as `reference`; the period begins after them. The bins are the tenths of the scores
of the first days, the distance is the population stability index: by a rule of thumb, below 0.1 is stable, and from
0.25 on the scores are other ones (Siddiqi, Credit Risk Scorecards, 2006). By chance alone the index is about (bins -
1) * (1 / n + 1 / m) for n and m rows, and times that a variable with a chi-squared distribution (Yurdakul and Naranjo,
Statistical properties of the population stability index, Journal of Risk Model Validation 2020), from which `p_value`
follows; since a person has many rows, n and m are those of independent rows with the same variance (Rao and Scott, The
analysis of categorical data from complex sample surveys, JASA 1981). Longer lists have lower scores: a change of their
length is a shift.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people, the period
and the first days are whole weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people
is left out, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `reference`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.score_drift(timestamptz, timestamptz, text, interval)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/score_drift.sql

--! Included monitor/relevance/calibration.sql
create or replace function monitor._calibration(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set enable_mergejoin to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _calibration.since, _calibration.until, _calibration.kind, _calibration.smallest_group
  );
  v_z constant float8 := ml.normal_quantile(0.975);
begin
  return query
  with scored as materialized (
    select
      -- Of the version and the basis.
      hashtextextended(entry.basis, coalesce(entry.model_id, 0)) as key,
      entry.model_id, entry.basis, entry.person_id, entry.rank, entry.score, entry.is_clicked
    from monitor._scored(
      lower(v_period), upper(v_period), _calibration.kind, null, _calibration.smallest_group, null
    ) as entry
  ),

  named as (
    select distinct scored.key, scored.model_id, scored.basis
    from scored
  ),

  edged as (
    select
      scored.key,
      percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
    from scored
    group by scored.key
  ),

  -- For each row, how many of the same rank have a lower or the same score, and how many of these were clicked.
  ordered as (
    select
      scored.key, scored.person_id, scored.rank, scored.score, scored.is_clicked,
      count(*) over lower as lower, count(*) filter (where scored.is_clicked) over lower as lower_clicked,
      count(*) over same as same, count(*) filter (where scored.is_clicked) over same as same_clicked
    from scored
    window
      lower as (partition by scored.key, scored.rank order by scored.score),
      same as (partition by scored.key, scored.rank order by scored.score range current row)
  ),

  -- Rows of the other class with a lower score, equal scores as halves.
  placed as materialized (
    select
      ordered.key, ordered.person_id, ordered.rank, ordered.score, ordered.is_clicked,
      width_bucket(ordered.score, edged.edges) + 1 as tenth,
      case
        when ordered.is_clicked
          then ordered.lower - ordered.lower_clicked - 0.5::float8 * (ordered.same - ordered.same_clicked)
        else ordered.lower_clicked - 0.5::float8 * ordered.same_clicked
      end as below
    from ordered
    join edged using (key)
  ),

  -- The share of pairs in which the clicked row has the higher score.
  strata as materialized (
    select
      stratum.*, stratum.clicked * stratum.other / sum(stratum.clicked * stratum.other) over own as weight,
      stratum.below / (stratum.clicked * stratum.other) as share
    from (
      select
        placed.key, placed.rank, count(*) filter (where placed.is_clicked)::float8 as clicked,
        count(*) filter (where not placed.is_clicked)::float8 as other,
        sum(placed.below) filter (where placed.is_clicked) as below
      from placed
      group by placed.key, placed.rank
    ) as stratum
    where stratum.clicked > 0
      and stratum.other > 0
    window own as (partition by stratum.key)
  ),

  -- With what each person adds to the error of the concordance.
  portion as materialized (
    select
      placed.key, placed.person_id, placed.tenth, count(*)::float8 as served,
      count(*) filter (where placed.is_clicked)::float8 as clicked,
      min(placed.score) as least, max(placed.score) as greatest, sum(placed.score) as score,
      sum(
        strata.weight * case
          when placed.is_clicked then (placed.below / strata.other - strata.share) / strata.clicked
          else (1 - placed.below / strata.clicked - strata.share) / strata.other
        end
      ) as error
    from placed
    left join strata using (key, rank)
    group by placed.key, placed.person_id, placed.tenth
  ),

  -- 0: all tenths.
  person as (
    select
      portion.key, portion.tenth, portion.served, portion.clicked, portion.least, portion.greatest, portion.score,
      null::float8 as error
    from portion

    union all

    select
      portion.key, 0, sum(portion.served), sum(portion.clicked), min(portion.least), max(portion.greatest),
      sum(portion.score), sum(portion.error)
    from portion
    group by portion.key, portion.person_id
  ),

  grouped as (
    select
      person.key, person.tenth, count(*) as people,
      count(*) filter (where person.clicked > 0) as clicked_people,
      sum(person.served) as served, sum(person.clicked) as clicked,
      min(person.least) as least, max(person.greatest) as greatest, sum(person.score) / sum(person.served) as mean,
      monitor._design_effect(
        count(*), sum(person.clicked), sum(person.served), sum(person.clicked ^ 2),
        sum(person.clicked * person.served), sum(person.served ^ 2)
      ) as effect
    from person
    group by person.key, person.tenth
    having count(*) >= coalesce(_calibration.smallest_group, 1)
  ),

  shown as (
    select
      grouped.*,
      analytics.shown(grouped.people, grouped.people, _calibration.smallest_group)::bigint as shown_people,
      figure.served as shown_served,
      least(figure.clicked, figure.served) as shown_clicked,
      monitor._rate_bounds(
        least(figure.clicked, figure.served), figure.served,
        monitor._shown_rate(grouped.effect, _calibration.smallest_group)
      ) as bounds
    from grouped
    cross join lateral (
      select
        analytics.shown(grouped.served, grouped.people, _calibration.smallest_group)::bigint as served,
        analytics.shown(grouped.clicked, grouped.clicked_people, _calibration.smallest_group)::bigint as clicked
    ) as figure
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _calibration.kind, _calibration.smallest_group,
      (
        select array_agg(
          row(cell.name, null, cell.rank, cell.bucket, cell.listed, cell.clicked)::monitor.ranked_cell
        )
        from (
          select
            format('%s %s', placed.key, coalesce(placed.tenth, 0)) as name, placed.rank,
            (placed.person_id % 64)::int as bucket, count(*)::float8 as listed,
            count(*) filter (where placed.is_clicked)::float8 as clicked
          from placed
          where placed.rank between 1 and 20
          group by grouping sets (
            (placed.key, placed.rank, (placed.person_id % 64)::int, placed.tenth),
            (placed.key, placed.rank, (placed.person_id % 64)::int)
          )
        ) as cell
      )
    )
  ),

  -- The variance with people as clusters (Obuchowski).
  concordance as (
    select
      mean.key, mean.value, greatest(0, mean.value - v_z * spread.error) as lower,
      least(1, mean.value + v_z * spread.error) as upper
    from (
      select strata.key, sum(strata.weight * strata.share) as value
      from strata
      group by strata.key
    ) as mean
    join (
      select person.key, sqrt(sum(person.error ^ 2) * count(*) / nullif(count(*) - 1, 0)) as error
      from person
      where person.error is not null
      group by person.key
    ) as spread using (key)
  )

  select
    model.version::text, named.basis, nullif(shown.tenth, 0),
    case when _calibration.smallest_group is null then shown.least end,
    monitor._shown_rate(shown.mean, _calibration.smallest_group),
    case when _calibration.smallest_group is null then shown.greatest end,
    shown.shown_people, shown.shown_served, shown.shown_clicked,
    shown.shown_clicked::float8 / nullif(shown.shown_served, 0), shown.bounds[1], shown.bounds[2],
    case when shown.shown_clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.lower, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.upper, _calibration.smallest_group) end,
    monitor._shown_rate(concordance.value, _calibration.smallest_group),
    monitor._shown_rate(concordance.lower, _calibration.smallest_group),
    monitor._shown_rate(concordance.upper, _calibration.smallest_group)
  from shown
  join named using (key)
  left join ml.model using (model_id)
  left join corrected on corrected.name = format('%s %s', shown.key, shown.tenth)
  left join concordance
    on shown.tenth = 0
    and shown.shown_clicked > 0
    and concordance.key = shown.key
  order by model.version nulls last, named.basis, shown.tenth;
end;
$$;

comment on function monitor._calibration(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.calibration`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._calibration(timestamptz, timestamptz, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._calibration_exact(since timestamptz, until timestamptz, kind text)
returns setof monitor.score_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._calibration($1, $2, $3, null);
$$;

alter function monitor._calibration_exact(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._calibration_exact(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.calibration` with exact figures of all people, for admins and workers.
$$;

grant execute on function monitor._calibration_exact(timestamptz, timestamptz, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._calibration_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.score_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._calibration($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._calibration_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._calibration_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.calibration` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._calibration_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.calibration(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._calibration_exact(timestamptz, timestamptz, text)', 'execute') then
    return query
    select * from monitor._calibration_exact(calibration.since, calibration.until, calibration.kind);
  else
    return query
    select * from monitor._calibration_shown(calibration.since, calibration.until, calibration.kind);
  end if;
end;
$$;

comment on function monitor.calibration(timestamptz, timestamptz, text) is $$
Returns the clicks on recommended items by the tenths of their scores, by version and basis: whether the scores order.
Scores of recommenders are sums of weights and no probabilities, so that they are compared by their order: in a good
model, `corrected_rate` rises with the tenth. Rows with high scores are at the first ranks, which people examine most,
so that `click_rate` rises in any model: see `monitor.position_bias`. `concordance` compares rows of the same rank, of
different lists: the share of pairs of a clicked and another row in which the clicked one has the higher score, the area
under the ROC curve of each rank, weighted by its pairs. Intervals are 95 %, with people as clusters (Obuchowski,
Nonparametric analysis of clustered ROC curve data, Biometrics 1997).
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people is left out, as are tenths
with fewer people, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.calibration(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/calibration.sql

--! Included monitor/cost/_list_durations.sql
create or replace function monitor._list_histograms(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean, kept_names text[], kept_weeks timestamptz[]
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with entry as (
    select
      serving_time.hour_at, serving_time.kind, nullif(serving_time.model_id, 0) as model_id, counted.place,
      counted.calls,
      -- Once per row.
      case counted.place when 1 then serving_time.items else 0 end as items,
      case counted.place when 1 then serving_time.seconds else 0 end as seconds
    from recommend.serving_time
    cross join lateral unnest(serving_time.counts) with ordinality as counted (calls, place)
    where serving_time.hour_at >= (select min(starts_at) from unnest($1) as starts_at)
      and serving_time.hour_at < (select max(ends_at) from unnest($2) as ends_at)

    union all

    select
      serving_call.hour_at, serving_call.kind, serving_call.model_id, common.duration_bucket(serving_call.seconds), 1,
      serving_call.item_count, serving_call.seconds
    from recommend.serving_call
  ),

  named as (
    select
      period.starts_at, case when $4 then model.version::text end as name, entry.place, entry.calls, entry.items,
      entry.seconds, date_bin('7 days', entry.hour_at, '2000-01-03 00:00Z') as week
    from unnest($1, $2) as period (starts_at, ends_at)
    join entry
      on entry.hour_at >= period.starts_at
      and entry.hour_at < period.ends_at
    left join ml.model on model.model_id = entry.model_id
    where $3 is null
      or entry.kind = $3
  ),

  summed as (
    select
      named.starts_at, named.name, named.place, sum(named.calls)::bigint as calls, sum(named.items)::float8 as items,
      sum(named.seconds) as seconds
    from named
    where $5 is null
      or (coalesce(named.name, ''), named.week) in (select * from unnest($5, $6))
    group by named.starts_at, named.name, named.place
  ),

  histogram as (
    select
      summed.starts_at, summed.name,
      array(
        select coalesce(max(counted.calls), 0)
        from generate_series(1, cardinality(common.duration_bounds()) + 1) as place
        left join unnest(array_agg(summed.place), array_agg(summed.calls)) as counted (place, calls) using (place)
        group by place
        order by place
      ) as counts,
      sum(summed.calls)::float8 as calls, sum(summed.items) as items, sum(summed.seconds) as seconds
    from summed
    group by summed.starts_at, summed.name
    having sum(summed.calls) > 0
  )

  select
    histogram.starts_at, histogram.name, histogram.calls, histogram.seconds,
    1000 * common.duration_quantile(histogram.counts, 0.5), 1000 * common.duration_quantile(histogram.counts, 0.95),
    histogram.items
  from histogram
$$;

comment on function monitor._list_histograms(timestamptz[], timestamptz[], text, boolean, text[], timestamptz[]) is $$
@behavior -*
Computes the result of `monitor._list_durations`, of all weeks, or of pairs of a version ('' without one) and a week.
$$;

grant execute on function
monitor._list_histograms(timestamptz[], timestamptz[], text, boolean, text[], timestamptz[])
to insights_reader, insights_admin, insights_worker;

create or replace function monitor._list_durations(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select * from monitor._list_histograms($1, $2, $3, $4, null, null)
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
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_mergejoin to off
as $$
declare
  v_smallest_group constant int := (select setting.smallest_group from analytics.setting);
  v_starts timestamptz[];
  v_sinces timestamptz[];
  v_untils timestamptz[];
  v_names text[];
  v_weeks timestamptz[];
begin
  -- Whole weeks, so that two periods differ by a week at least.
  select
    array_agg(given.starts_at), array_agg(given.since),
    array_agg(date_trunc('week', least(given.ends_at, now()) - interval '1 microsecond') + interval '7 days')
  into v_starts, v_sinces, v_untils
  from (
    select
      period.starts_at, period.ends_at, date_trunc('week', greatest(period.starts_at, '2000-01-03')) as since
    from unnest(_list_durations_shown.starts, _list_durations_shown.ends) as period (starts_at, ends_at)
    where period.ends_at > period.starts_at
    limit 1000
  ) as given;

  -- A week in which few counted people were served lists is left out, however many lists there are.
  select coalesce(array_agg(kept.name), '{}'), coalesce(array_agg(kept.week), '{}')
  into v_names, v_weeks
  from (
    select person.name, person.week
    from (
      select
        case when _list_durations_shown.by_model then coalesce(model.version::text, '') else '' end as name,
        date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week,
        impression.person_id
      from recommend.impression
      join track.item as named on named.item_id = impression.item_id
      join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
      join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
      left join ml.model on model.model_id = impression.model_id
      where impression.listed_at >= (select min(since) from unnest(v_sinces) as since)
        and impression.listed_at < (select max(until) from unnest(v_untils) as until)
        and impression.is_served
        and get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
        and item.kind = _list_durations_shown.kind
      group by 1, 2, 3
    ) as person
    group by person.name, person.week
    having count(*) >= v_smallest_group
  ) as kept;

  return query
  select
    given.starts_at, measured.name, null::float8,
    monitor._shown_rate(measured.seconds, v_smallest_group),
    monitor._shown_rate(measured.p50_ms, v_smallest_group),
    monitor._shown_rate(measured.p95_ms, v_smallest_group), null::float8
  from unnest(v_starts, v_sinces, v_untils) as given (starts_at, since, until)
  cross join lateral monitor._list_histograms(
    array[given.since], array[given.until], _list_durations_shown.kind, _list_durations_shown.by_model, v_names,
    v_weeks
  ) as measured;
end;
$$;

alter function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) owner to insights_reader;

comment on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns the result of `monitor._list_durations` of a kind for analysts: of whole weeks, with two significant digits.
Weeks in which fewer than `analytics.setting.smallest_group` counted people were served lists are left out.
$$;

grant execute on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean)
to insights_analyst;
--! EndIncluded monitor/cost/_list_durations.sql

--! Included monitor/cost/cost.sql
create or replace function monitor._cost(period tstzrange, weeks timestamptz[], list_weeks timestamptz[])
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set jit to off
as $$
declare
  v_lists constant monitor.list_duration := (
    select lists
    from monitor._list_histograms(
      array[lower(_cost.period)], array[upper(_cost.period)], null, false,
      case when _cost.list_weeks is not null then array_fill(''::text, array[cardinality(_cost.list_weeks)]) end,
      _cost.list_weeks
    ) as lists
  );
begin
  return query
  with received as (
    select sum(latency.messages)::float8 as units, sum(latency.seconds) as seconds
    from monitor.latency
    where latency.hour_at >= lower(_cost.period)
      and latency.hour_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', latency.hour_at, '2000-01-03 00:00Z') = any (_cost.weeks))
      and latency.operation = 'trackIngest'
  ),

  refreshed as (
    select
      sum(run.row_count)::float8 as units, sum(extract(epoch from run.duration))::float8 as seconds
    from monitor.run
    where run.task = 'refresh'
      and run.outcome = 'ok'
      and run.started_at >= lower(_cost.period)
      and run.started_at < upper(_cost.period)
      and (_cost.weeks is null or date_bin('7 days', run.started_at, '2000-01-03 00:00Z') = any (_cost.weeks))
  ),

  trained as (
    select
      count(*)::float8 as units, sum(extract(epoch from model.duration))::float8 as seconds,
      percentile_cont(0.5) within group (order by extract(epoch from model.duration)::float8) as p50,
      percentile_cont(0.95) within group (order by extract(epoch from model.duration)::float8) as p95
    from ml.model
    join ml.project using (project_id)
    where starts_with(project.name, 'recommend.')
      and model.trained_at >= lower(_cost.period)
      and model.trained_at < upper(_cost.period)
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

    select 4, 'recommendation', v_lists.item_count, v_lists.seconds, null, null, stored.row_count, stored.bytes
    from monitor._stored_bytes('{recommend.impression}') as stored

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

comment on function monitor._cost(tstzrange, timestamptz[], timestamptz[]) is $$
@behavior -*
Computes the result of `monitor.cost`, with exact figures.
`weeks`: the weeks of messages and refreshes that count, `list_weeks`: those of lists; null: the whole period.
$$;

/* A definer: it reads durations, and sizes of tables that no role may read; it takes no names. */
create or replace function monitor._cost_exact(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(_cost_exact.since, _cost_exact.until);
  return query
  select * from monitor._cost(tstzrange(_cost_exact.since, _cost_exact.until), null, null);
end;
$$;

comment on function monitor._cost_exact(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` with exact figures, for admins and workers.
$$;

grant execute on function monitor._cost_exact(timestamptz, timestamptz) to insights_admin, insights_worker;

/* A definer: as `_cost_exact`; it also finds the weeks in which enough people were active. */
create or replace function monitor._cost_shown(since timestamptz, until timestamptz)
returns setof monitor.cost_figures
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_mergejoin to off
as $$
declare
  v_smallest_group constant int := (select setting.smallest_group from analytics.setting);
  v_period constant tstzrange := monitor._whole_weeks(_cost_shown.since, _cost_shown.until);
  v_weeks timestamptz[];
  v_list_weeks timestamptz[];
begin
  -- A week in which few counted people were active, or were served lists, is left out.
  v_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', session.started_at, '2000-01-03 00:00Z') as week, session.person_id
      from track.session
      join track.person_set_blocks('counted') as counted on counted.block = session.person_id / 4096
      where session.started_at >= lower(v_period)
        and session.started_at < upper(v_period)
        and get_bit(counted.people, (session.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );
  v_list_weeks := array(
    select person.week
    from (
      select distinct date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week, impression.person_id
      from recommend.impression
      join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
        and get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
    ) as person
    group by person.week
    having count(*) >= v_smallest_group
  );

  return query
  select
    figure.subject, null::bigint, null::float8, monitor._shown_rate(figure.mean_ms, v_smallest_group),
    monitor._shown_rate(figure.p50_ms, v_smallest_group), monitor._shown_rate(figure.p95_ms, v_smallest_group),
    null::bigint, null::bigint, monitor._shown_rate(figure.unit_bytes, v_smallest_group)
  from monitor._cost(v_period, v_weeks, v_list_weeks) as figure;
end;
$$;

comment on function monitor._cost_shown(timestamptz, timestamptz) is $$
@behavior -*
Returns the result of `monitor.cost` for analysts: milliseconds and bytes of a unit, rounded.
$$;

grant execute on function monitor._cost_shown(timestamptz, timestamptz) to insights_analyst;

create or replace function monitor.cost(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now()
)
returns setof monitor.cost_figures
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._cost_exact(timestamptz, timestamptz)', 'execute') then
    return query select * from monitor._cost_exact(cost.since, cost.until);
  else
    return query select * from monitor._cost_shown(cost.since, cost.until);
  end if;
end;
$$;

comment on function monitor.cost(timestamptz, timestamptz) is $$
Returns what an event, its refresh, a list, a recommendation and a training cost, in milliseconds and bytes.
- `event`: a message given to `trackIngest`; bytes of `track.event`.
- `refresh`: a person whose derived data was brought up to date by the task `refresh`.
- `list`: a call of `recommend.serve_me` or a variant (`recommend.serving_times`); `recommendation`: a row of these
  lists, with the time of the calls divided by their number; bytes of `recommend.impression`.
- `training`: a version of a recommender; bytes of its weights and record, per version whose weights are kept.
Messages, lists and recommendations are those of the hours that begin in the period, in UTC; refreshes those
that began in it, trainings those that ended in it; sizes are those of the present, numbers of stored rows as of the
last analyze.
For admins and workers, figures are exact. Analysts read the milliseconds and bytes of a unit, with two significant
digits, without numbers of units: of whole weeks, without those in which fewer than `analytics.setting.smallest_group`
counted people were active (`event`, `refresh`), or were served lists (`list`, `recommendation`).
Errors: CF001 for an invalid period.
$$;

grant execute on function monitor.cost(timestamptz, timestamptz)
to insights_analyst, insights_admin, insights_worker;
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
where the same people are in both. Durations are those of `recommend.serving_times`, of the same kind, by version too:
of the hours that begin in the period. `recommendation_ms` is their sum, divided by the rows of the period.
For analysts, figures are about groups of people, as in `monitor.relevance`, and durations are those of whole weeks
with two significant digits, without weeks in which fewer than `analytics.setting.smallest_group` counted people were
served lists.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.recommendation_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/recommendation_report.sql

--! Included monitor/cost/_theil_sen.sql
create or replace function monitor._theil_sen(
  x float8[],
  y float8[],
  out slope float8,
  out slope_lower float8,
  out slope_upper float8
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_slopes constant float8[] := array(
    select (b.y - a.y) / (b.x - a.x)
    from unnest(_theil_sen.x, _theil_sen.y) as a (x, y)
    join unnest(_theil_sen.x, _theil_sen.y) as b (x, y) on b.x > a.x
    order by 1
  );
  v_pairs constant int := cardinality(v_slopes);
  v_half float8;
begin
  slope := (select percentile_cont(0.5) within group (order by each) from unnest(v_slopes) as each);
  -- Half of the number of slopes in the interval, from the variance of Kendall's S with ties.
  v_half := ml.normal_quantile(0.975) / 2 * sqrt((
    select sum(tied.variance)
    from (
      select cardinality(_theil_sen.x)::float8 * (cardinality(_theil_sen.x) - 1) * (2 * cardinality(_theil_sen.x) + 5)
        as variance

      union all

      select -(count(*)::float8 * (count(*) - 1) * (2 * count(*) + 5))
      from unnest(_theil_sen.y) as value
      group by value
    ) as tied
  ) / 18);
  if v_pairs / 2.0 - v_half >= 1 and v_half > 0 then
    slope_lower := v_slopes[floor(v_pairs / 2.0 - v_half)::int];
    slope_upper := v_slopes[ceil(v_pairs / 2.0 + v_half)::int + 1];
  end if;
end;
$$;

comment on function monitor._theil_sen(float8[], float8[]) is $$
@behavior -*
Returns the median of the slopes between all pairs of points, with a 95 % interval; `x` are different numbers.
One point in four may be wrong without a large effect. The interval is null with fewer than six points, and when all
`y` are equal. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 1968.
$$;

grant execute on function monitor._theil_sen(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/_theil_sen.sql

--! Included monitor/cost/recommendation_trend.sql
create or replace function monitor.recommendation_trend(
  since timestamptz default (now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.recommendation_slope
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
begin
  -- An invoker: `recommendation_report` decides what the caller sees.
  return query
  with measured as (
    select value.place, value.figure, extract(epoch from week.starts_at)::float8 / 604800 as week, value.value
    from monitor.recommendation_report(
      recommendation_trend.since, recommendation_trend.until, 'week', recommendation_trend.kind
    ) as week
    cross join lateral (
      values
        (1, 'click_rate', week.click_rate),
        (2, 'corrected_rate', week.corrected_rate),
        (3, 'completion_rate', week.completion_rate),
        (4, 'coverage', week.coverage),
        (5, 'gini', week.gini),
        (6, 'list_p50_ms', week.list_p50_ms),
        (7, 'list_p95_ms', week.list_p95_ms),
        (8, 'recommendation_ms', week.recommendation_ms)
    ) as value (place, figure, value)
    -- Whole weeks only.
    where week.starts_at >= recommendation_trend.since
      and week.starts_at + interval '7 days' <= recommendation_trend.until
  ),

  gathered as (
    select
      measured.place, measured.figure, count(measured.value)::int as weeks,
      percentile_cont(0.5) within group (order by measured.value) as middle,
      coalesce(array_agg(measured.week order by measured.week) filter (where measured.value is not null), '{}') as x,
      coalesce(array_agg(measured.value order by measured.week) filter (where measured.value is not null), '{}') as y
    from measured
    group by measured.place, measured.figure
  )

  select
    gathered.figure, gathered.weeks, gathered.middle, fitted.slope, fitted.slope_lower, fitted.slope_upper,
    case
      when fitted.slope_lower is null then 'unknown'
      when fitted.slope_lower > 0 then 'rising'
      when fitted.slope_upper < 0 then 'falling'
      else 'steady'
    end
  from gathered
  cross join lateral monitor._theil_sen(gathered.x, gathered.y) as fitted
  order by gathered.place;
end;
$$;

comment on function monitor.recommendation_trend(timestamptz, timestamptz, text) is $$
Returns how the cost and the relevance of recommendations of a kind change per week, with 95 % intervals.
For each figure of `monitor.recommendation_report`, the median of the slopes between all pairs of whole weeks (Theil and
Sen), which single weeks, such as holidays, change little. Completions follow their lists by weeks, so that the latest
weeks have fewer of them. For analysts, figures of weeks are rounded as in the report, and so are their slopes.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.recommendation_trend(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/cost/recommendation_trend.sql

--! Included monitor/relevance/offline_relevance.sql
create or replace function monitor.offline_relevance(
  since timestamptz default (now() at time zone 'UTC' - interval '365 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  metric text default 'ndcg',
  k int default 10
)
returns setof monitor.offline_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(offline_relevance.since, offline_relevance.until);
  perform common.check_count('k', offline_relevance.k, 1, 1000);
  if not exists (select from track.item where item.kind = offline_relevance.kind) then
    perform common.refuse(
      'CF002', format('there is no item of kind "%s"', coalesce(left(offline_relevance.kind, 100), 'null')),
      'Use a kind of track.item, such as course.'
    );
  end if;
  if offline_relevance.metric is null or not exists (
    select from recommend.evaluation_result as result where result.metric = offline_relevance.metric
  ) then
    perform common.refuse(
      'CF002', format('metric is "%s", which no evaluation has', coalesce(left(offline_relevance.metric, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(distinct result.metric, ', ' order by result.metric) || '.'
          from recommend.evaluation_result as result
        ),
        'There are no results of evaluations yet: train a version.'
      )
    );
  end if;

  return query
  select
    evaluation.finished_at, model.version,
    (select min(deployment.deployed_at) from ml.deployment where deployment.model_id = model.model_id),
    result.metric, result.k, result.people, result.value, result.lower, result.upper, deployed.value, popular.value
  from recommend.evaluation
  join ml.model on model.model_id = evaluation.model_id
  join recommend.evaluation_result as result
    on result.evaluation_id = evaluation.evaluation_id
    and result.segment = ''
    and result.metric = offline_relevance.metric
    and result.k = offline_relevance.k
    -- A version without parts is popularity itself.
    and result.model = case
      when exists (
        select
        from recommend.evaluation_model as member
        where member.evaluation_id = evaluation.evaluation_id
          and member.model = 'challenger'
      ) then 'challenger'
      else 'popularity'
    end
  left join recommend.evaluation_result as deployed
    on deployed.evaluation_id = evaluation.evaluation_id
    and deployed.segment = ''
    and deployed.metric = result.metric
    and deployed.k = result.k
    and deployed.model = 'deployed'
  left join recommend.evaluation_result as popular
    on popular.evaluation_id = evaluation.evaluation_id
    and popular.segment = ''
    and popular.metric = result.metric
    and popular.k = result.k
    and popular.model = 'popularity'
  where evaluation.purpose = 'deployment'
    and evaluation.kind = offline_relevance.kind
    and evaluation.finished_at >= offline_relevance.since
    and evaluation.finished_at < offline_relevance.until
  order by evaluation.finished_at, model.version;
end;
$$;

comment on function monitor.offline_relevance(timestamptz, timestamptz, text, text, int) is $$
Returns the evaluations of the trained versions of a kind over time: one row per version, by one metric.
Each is compared, on the same people and items, with the version that was deployed then and with popularity. The test
people differ from one evaluation to the next, so that a value that falls while that of popularity falls too is a change
of the data, not of the model.
Errors: CF001 for an invalid period or `k`, CF002 for a kind that no item has, or a metric that no evaluation has.
$$;

grant execute on function monitor.offline_relevance(timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/offline_relevance.sql

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
  v_log float8;
  v_mixture float8;
  v_share float8;
  v_z float8;
begin
  -- NaN is greater than any number.
  if alpha < 1e-300 or alpha >= 1 then
    perform common.refuse('CF001', format('alpha is %s', alpha), 'Give a probability between 0 and 1, such as 0.05.');
  end if;
  if abs(difference) > 1e50 or standard_error > 1e50 or former_standard_error > 1e50 then
    perform common.refuse(
      'CF001',
      format(
        'the difference is %s, the standard errors are %s and %s', difference, standard_error, former_standard_error
      ),
      'Give numbers of at most 1e50.'
    );
  end if;
  if standard_error < 1e-50 or former_standard_error < 1e-50 then
    return 0;
  end if;
  -- The mixture is narrowest at half of the information that there can be: the former version has no more lists.
  v_log := -2 * ln(alpha);
  v_mixture := (v_log + ln(v_log + 1)) * (former_standard_error / standard_error) ^ 2 * 2;
  v_share := v_mixture / (1 + v_mixture);
  -- The square of a smaller one is not a number of this type.
  v_z := case when abs(difference) < 1e-50 * standard_error then 0 else -difference / standard_error end;
  return 2 / sqrt(1 + v_mixture) * exp(least(v_z ^ 2 * v_share / 2, 600)) * ml.normal_cdf(v_z * sqrt(v_share));
end;
$$;

comment on function monitor.evidence_of_loss(float8, float8, float8, float8) is $$
Returns the evidence that a difference is below 0, valid at any number of readings: an e-value.
If the difference is 0 or more, the probability that it ever reaches 1 / alpha, at whatever times it is read, is at most
alpha. It is the supermartingale of half-normal mixtures (Robbins, Annals of Mathematical Statistics 1970; Howard and
others, Annals of Statistics 2021, proposition 6) of the score of a growing sample against a fixed one, in the time of
its information, 1 / variance (Jennison and Turnbull, Journal of the American Statistical Association 1997).
`former_standard_error`: that of the fixed sample. 0 where a standard error is 0.
Errors: CF001 for an alpha that is not between 0 and 1, and for numbers above 1e50.
$$;

grant execute on function monitor.evidence_of_loss(float8, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/evidence_of_loss.sql
