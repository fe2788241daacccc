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
