create schema analytics;

comment on schema analytics is $$
Analysis functions over rollups that stay exact when events are late, moved to another person or deleted.
$$;

grant usage, create on schema analytics to insights_reader;
grant usage on schema analytics
to insights_learner, insights_instructor, insights_analyst, insights_admin, insights_worker;

create table analytics.setting (
  only_row boolean primary key default true check (only_row),
  smallest_group int not null default 5 check (smallest_group > 0)
);

comment on table analytics.setting is $$
Settings of the analysis functions: one row.
$$;
comment on column analytics.setting.only_row is $$Always true, so that the table has one row.$$;
comment on column analytics.setting.smallest_group is $$
Minimum number of people in a figure for analysts, and the unit of rounding (k-anonymity).
Smaller groups read as empty ones; 1: exact figures.
$$;

insert into analytics.setting default values;

create type analytics.popular_item as (
  rank int,
  item text,
  title text,
  kind text,
  event_count bigint,
  person_count bigint,
  engaged interval,
  score float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.popular_item is $$
An item with its use, including that of the items it contains.
`score` is the measure by which the items are ranked, halved with age when a half-life was given; engaged time is in
seconds.
$$;
comment on column analytics.popular_item.rank is $$Rank, 1 for the most popular item.$$;
comment on column analytics.popular_item.item is $$External id of the item.$$;
comment on column analytics.popular_item.title is $$Title of the item; null when unknown.$$;
comment on column analytics.popular_item.kind is $$Kind of the item.$$;
comment on column analytics.popular_item.event_count is $$Number of events of the item and of those it contains.$$;
comment on column analytics.popular_item.person_count is $$Number of distinct people.$$;
comment on column analytics.popular_item.engaged is $$Engaged time.$$;
comment on column analytics.popular_item.score is $$
Measure by which the items are ranked, weighted by age when a half-life was given.
$$;
comment on column analytics.popular_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_item.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.trend_point as (
  bucket_start timestamptz,
  event_count bigint,
  person_count bigint,
  running_average float8,
  slope float8,
  is_complete boolean,
  breakdown_value text,
  is_other boolean,
  engaged interval,
  events_per_person float8,
  cumulative_events bigint,
  growth float8,
  season_growth float8,
  slope_lower float8,
  slope_upper float8,
  seasonally_adjusted float8,
  zone text,
  complete_until timestamptz,
  annotations text[]
);

comment on type analytics.trend_point is $$
A time bucket with its events, people, engaged time, and what follows from the buckets before it.
For analysts, figures are rounded, and a bucket of too few people is 0.
$$;
comment on column analytics.trend_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.trend_point.event_count is $$Number of events.$$;
comment on column analytics.trend_point.person_count is $$Number of distinct people.$$;
comment on column analytics.trend_point.running_average is $$
Average number of events over the latest complete buckets of the window.
$$;
comment on column analytics.trend_point.slope is $$
Slope of the least-squares line through the latest complete buckets of the window, in events per bucket.
$$;
comment on column analytics.trend_point.is_complete is $$
Whether the bucket has ended. Others are excluded from average, slope, growth and seasonal adjustment.
$$;
comment on column analytics.trend_point.breakdown_value is $$
Value of the breakdown; null without a breakdown and for events and people without a value.
$$;
comment on column analytics.trend_point.is_other is $$
Whether the row contains all values that have no row of their own.
$$;
comment on column analytics.trend_point.engaged is $$
Engaged time of counted people in page views that began in the bucket; null for one event, and by property.
$$;
comment on column analytics.trend_point.events_per_person is $$
Number of events divided by that of people; null without people.
$$;
comment on column analytics.trend_point.cumulative_events is $$
Number of events from the first bucket to the end of this one.
$$;
comment on column analytics.trend_point.growth is $$
Relative change of the number of events from the bucket before, 0.1 for 10 % more.
Null when that is not part of the result, has no events, or when the bucket is not complete.
$$;
comment on column analytics.trend_point.season_growth is $$
Relative change of the number of events from the bucket one season earlier; null as `growth`.
The season is 1,440 minutes (a day), 168 hours (a week), 7 days, 52 weeks, 12 months or 4 quarters; years have none.
$$;
comment on column analytics.trend_point.slope_lower is $$
Lower bound of the 95 % confidence interval of the slope (Student's t); null for fewer than 3 complete buckets.
$$;
comment on column analytics.trend_point.slope_upper is $$
Upper bound of the 95 % confidence interval of the slope; null for fewer than 3 complete buckets.
$$;
comment on column analytics.trend_point.seasonally_adjusted is $$
Number of events without the seasonal component, by classical additive decomposition with medians.
The level of a bucket is the centred moving average over a season, the component the median difference from it over all
complete buckets with the same place in the season (such as the weekday), less the mean of the components. Null for
fewer than two complete seasons, for buckets that are not complete, and for years.
$$;
comment on column analytics.trend_point.zone is $$Time zone of the buckets.$$;
comment on column analytics.trend_point.complete_until is $$
Time until which the result is complete: that of the query, or the end of the last bucket if it is earlier.
$$;
comment on column analytics.trend_point.annotations is $$
Titles of the annotations that overlap the bucket (`analytics.annotations`), in the order of their starts.
$$;

create materialized view analytics.item_popularity as
with counted as materialized (
  select person_set_block.block, person_set_block.people
  from track.person_set_block
  where person_set_block.name = 'counted'
),

summed as (
  select item_month.item_id, sum(item_month.event_count) as event_count, sum(item_month.engaged) as engaged
  from track.item_month
  group by item_month.item_id
),

aged as (
  select
    item_day.item_id,
    max(item_day.day) as last_day,
    -- Halved per 30 days of age, as of the latest day with activity.
    sum(item_day.event_count * 0.5::float8 ^ least(1000, (newest.day - item_day.day) / 30::float8))
      as decayed_event_count
  from track.item_day
  cross join (select max(day) as day from track.item_day) as newest
  where not item_day.with_parts
  group by item_day.item_id
),

-- The people of courses are in their bits. Those of other items are read from the months of what they contain.
used as (
  select by_block.item_id, sum(bit_count(by_block.people & counted.people)) as person_count
  from (
    select course_presence.item_id, course_presence.block, bit_or(course_presence.people) as people
    from track.course_presence
    group by course_presence.item_id, course_presence.block
  ) as by_block
  join counted using (block)
  group by by_block.item_id

  union all

  select distinct_person.item_id, count(*)
  from (
    select distinct ancestor.ancestor_item_id as item_id, item_month.part, listed.person
    from track.item_month
    join track.item_ancestor as ancestor using (item_id)
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind <> 'course'
    cross join lateral unnest(item_month.people) as listed (person)
  ) as distinct_person
  join counted
    on counted.block = distinct_person.part * 8 + distinct_person.person / 4096
    and get_bit(counted.people, distinct_person.person % 4096) <> 0
  group by distinct_person.item_id
)

select
  used.item_id,
  sum(summed.event_count) as event_count,
  used.person_count::bigint as person_count,
  sum(summed.engaged) as engaged,
  max(aged.last_day) as last_day,
  sum(aged.decayed_event_count) as decayed_event_count
from used
join track.item_ancestor as ancestor on ancestor.ancestor_item_id = used.item_id
join summed on summed.item_id = ancestor.item_id
left join aged on aged.item_id = ancestor.item_id
where used.person_count > 0
group by used.item_id, used.person_count
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
Use of each item and the items it contains by counted people, over all time. Refreshed concurrently by a worker.
Recommendations for unknown people are ranked by it.
$$;
comment on column analytics.item_popularity.item_id is $$Item.$$;
comment on column analytics.item_popularity.event_count is $$
Number of events of counted people, of the item and of those it contains.
$$;
comment on column analytics.item_popularity.person_count is $$Number of distinct counted people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Latest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$
Number of events, each halved per 30 days of age.
$$;

create unique index item_popularity_item on analytics.item_popularity (item_id);

alter table analytics.setting enable row level security;

/* ------------------------------------------------------------------------------------------------ predictions -- */

create table analytics.prediction_target (
  target text primary key check (target in ('dropout', 'completion', 'activity')),
  project text not null unique,
  task text not null check (task in ('classification', 'regression')),
  horizon interval not null check (horizon >= '1 day' and horizon = date_trunc('day', horizon)),
  longest_idle interval not null default '28 days' check (longest_idle >= '1 day'),
  weeks int not null default 26 check (weeks between 2 and 520),
  fewest_rows int not null default 200 check (fewest_rows >= 100),
  description text not null
);

comment on table analytics.prediction_target is $$
Targets that are predicted for each learner of each course, with the settings of their training.
$$;
comment on column analytics.prediction_target.target is $$`dropout`, `completion` or `activity`.$$;
comment on column analytics.prediction_target.project is $$Project in the model registry.$$;
comment on column analytics.prediction_target.task is $$`classification` (a probability) or `regression` (a number).$$;
comment on column analytics.prediction_target.horizon is $$
Period after the time of the prediction that the target covers: whole days.
$$;
comment on column analytics.prediction_target.longest_idle is $$
Maximum time without activity in a course.
Learners who have been idle for longer are neither trained on nor predicted.
$$;
comment on column analytics.prediction_target.weeks is $$Number of weekly snapshots that a model is trained on.$$;
comment on column analytics.prediction_target.fewest_rows is $$
Minimum number of snapshots of learners, with known outcomes, that a model is trained on.
$$;
comment on column analytics.prediction_target.description is $$Definition of the target.$$;

insert into analytics.prediction_target (target, project, task, horizon, description)
values
  (
    'dropout', 'analytics.dropout', 'classification', '14 days',
    'There is no activity in the course within the horizon, or it is dropped within it, and it is not completed.'
  ),
  ('completion', 'analytics.completion', 'classification', '28 days', 'The course is completed within the horizon.'),
  ('activity', 'analytics.activity', 'regression', '7 days', 'Days of the horizon with activity in the course.');

create type analytics.learner_features as (
  person_id bigint,
  course_id bigint,
  as_of timestamptz,
  known_at timestamptz,
  days_enrolled float8,
  days_idle float8,
  active_days float8,
  active_days_week_1 float8,
  active_days_week_2 float8,
  active_days_week_3 float8,
  active_days_week_4 float8,
  events float8,
  events_week_1 float8,
  events_week_2 float8,
  engaged_minutes float8,
  engaged_minutes_week_1 float8,
  mean_gap float8,
  gap_deviation float8,
  longest_gap float8,
  share_of_items float8,
  share_of_tasks float8,
  tasks_overdue float8,
  mean_days_late float8,
  active_days_anywhere_week_1 float8,
  course_active_share float8,
  days_to_end float8
);

comment on type analytics.learner_features is $$
Features of a learner in a course as of a time, computed from earlier events only.
The features begin with `days_enrolled`. Days are in UTC. Weeks consist of complete days, so that they are comparable at
any time of the day: week 1 is the 7 days before the last midnight. The hours since then count in the other features.
$$;
comment on column analytics.learner_features.person_id is $$Person.$$;
comment on column analytics.learner_features.course_id is $$Course: key of an item.$$;
comment on column analytics.learner_features.as_of is $$Time of the features.$$;
comment on column analytics.learner_features.known_at is $$
Time at which the latest data used was known; never after `as_of`.
$$;
comment on column analytics.learner_features.days_enrolled is $$Days since the enrolment.$$;
comment on column analytics.learner_features.days_idle is $$
Recency: days since the last activity in the course, or since the enrolment when there is none.
$$;
comment on column analytics.learner_features.active_days is $$Number of days with activity in the course.$$;
comment on column analytics.learner_features.active_days_week_1 is $$
Number of days with activity in the course in the last 7 complete days.
$$;
comment on column analytics.learner_features.active_days_week_2 is $$
Number of days with activity in the course from 14 to 8 days ago.
$$;
comment on column analytics.learner_features.active_days_week_3 is $$
Number of days with activity in the course from 21 to 15 days ago.
$$;
comment on column analytics.learner_features.active_days_week_4 is $$
Number of days with activity in the course from 28 to 22 days ago.
$$;
comment on column analytics.learner_features.events is $$Number of events in the course.$$;
comment on column analytics.learner_features.events_week_1 is $$
Number of events in the course in the last 7 complete days.
$$;
comment on column analytics.learner_features.events_week_2 is $$Number of events in the course from 14 to 8 days ago.$$;
comment on column analytics.learner_features.engaged_minutes is $$Engaged time in the course, in minutes.$$;
comment on column analytics.learner_features.engaged_minutes_week_1 is $$
Engaged time in the course in the last 7 complete days, in minutes.
$$;
comment on column analytics.learner_features.mean_gap is $$
Regularity: mean number of days between active days; null for fewer than two active days.
$$;
comment on column analytics.learner_features.gap_deviation is $$
Regularity: standard deviation of the days between active days; null for fewer than two active days.
$$;
comment on column analytics.learner_features.longest_gap is $$
Regularity: maximum number of days between active days; null for fewer than two active days.
$$;
comment on column analytics.learner_features.share_of_items is $$
Breadth: share of the items of the course that were used; null for a course without items.
$$;
comment on column analytics.learner_features.share_of_tasks is $$
Breadth: share of the tasks of the course that were submitted; null for a course without tasks.
$$;
comment on column analytics.learner_features.tasks_overdue is $$
Lateness: number of tasks past their deadline that are not submitted.
$$;
comment on column analytics.learner_features.mean_days_late is $$
Lateness: mean number of days from the deadline to the submission, negative when early.
Null when no task with a deadline was submitted.
$$;
comment on column analytics.learner_features.active_days_anywhere_week_1 is $$
Number of days with activity on the platform in the last 7 complete days.
$$;
comment on column analytics.learner_features.course_active_share is $$
Share of the counted learners of the course with activity in it in the last 7 complete days.
$$;
comment on column analytics.learner_features.days_to_end is $$
Days until the end of the course; null when no end is set.
$$;

create table analytics.training (
  target text primary key references analytics.prediction_target,
  seed bigint not null,
  started_at timestamptz not null default now(),
  moments timestamptz[] not null,
  courses_left bigint[] not null,
  algorithms_left text[] not null
);

comment on table analytics.training is $$
@behavior -*
Progress of trainings that are in progress, one row per target: see `analytics.train_predictions_step`.
$$;
comment on column analytics.training.target is $$Target.$$;
comment on column analytics.training.seed is $$Seed of the training: the same seed and data give the same model.$$;
comment on column analytics.training.started_at is $$Start of the training.$$;
comment on column analytics.training.moments is $$Times of the snapshots.$$;
comment on column analytics.training.courses_left is $$Courses whose learners have no snapshots yet.$$;
comment on column analytics.training.algorithms_left is $$Algorithms that are not trained yet.$$;

create table analytics.snapshot (
  target text not null,
  person_id bigint not null,
  course_id bigint not null,
  as_of timestamptz not null,
  feature analytics.learner_features not null,
  outcome float8,
  primary key (person_id, target, course_id, as_of)
);

comment on table analytics.snapshot is $$
@behavior -*
Snapshots of learners, with features and outcomes, of trainings that are in progress. Otherwise empty.
$$;
comment on column analytics.snapshot.target is $$Target.$$;
comment on column analytics.snapshot.person_id is $$Person.$$;
comment on column analytics.snapshot.course_id is $$Course: key of an item.$$;
comment on column analytics.snapshot.as_of is $$Time of the snapshot.$$;
comment on column analytics.snapshot.feature is $$Features at this time.$$;
comment on column analytics.snapshot.outcome is $$Outcome by the end of the horizon.$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('analytics', 'snapshot', 'person_id', 'track.event', 'Derived from the events of the person.');

alter table analytics.training enable row level security;
alter table analytics.snapshot enable row level security;

create type analytics.training_step as (
  target text,
  step text,
  hint text,
  trained ml.training,
  finished boolean
);

comment on type analytics.training_step is $$
Result of a step of a training.
$$;
comment on column analytics.training_step.target is $$Target.$$;
comment on column analytics.training_step.step is $$Description of the step, or the reason why no model was trained.$$;
comment on column analytics.training_step.hint is $$Hint for the case that no model was trained; null otherwise.$$;
comment on column analytics.training_step.trained is $$Version that was trained; null when the step trained none.$$;
comment on column analytics.training_step.finished is $$Whether this was the last step.$$;

create type analytics.learner_prediction as (
  rank int,
  person_id bigint,
  person text,
  score float8,
  reasons ml.contribution[],
  model_version int,
  as_of timestamptz
);

comment on type analytics.learner_prediction is $$
A prediction for a learner, with the features that changed it most.
$$;
comment on column analytics.learner_prediction.rank is $$Rank, 1 for the learner who needs attention first.$$;
comment on column analytics.learner_prediction.person_id is $$Key of the person.$$;
comment on column analytics.learner_prediction.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;
comment on column analytics.learner_prediction.score is $$Probability, or expected number of active days.$$;
comment on column analytics.learner_prediction.reasons is $$
Features that changed the score most, the largest contribution first.
The contributions are exact shares of the distance of the score from the mean, in log odds for a probability (before
calibration).
$$;
comment on column analytics.learner_prediction.model_version is $$Version of the model.$$;
comment on column analytics.learner_prediction.as_of is $$Time of the prediction; later events are not used.$$;

create type analytics.course_learner as (
  person text,
  name text,
  status text,
  enrolled_at timestamptz,
  ended_at timestamptz,
  first_active_at timestamptz,
  last_active_at timestamptz,
  active_days int,
  event_count bigint,
  engaged interval,
  used_items int,
  submitted_tasks int,
  share_of_items float8,
  share_of_tasks float8
);

comment on type analytics.course_learner is $$
A learner of a course, with the activity in the course.
The name and the columns from `first_active_at` on are null for a person who has opted out of the purpose `analytics`.
$$;
comment on column analytics.course_learner.person is $$Name of the person in the application: the `userId`.$$;
comment on column analytics.course_learner.name is $$
Trait `name`, or else the traits `firstName` and `lastName`; null when unknown.
$$;
comment on column analytics.course_learner.status is $$
Enrolment: `active`, `completed` or `dropped`; null for a person who is active in the course without an enrolment.
$$;
comment on column analytics.course_learner.enrolled_at is $$Start of the enrolment; null without one.$$;
comment on column analytics.course_learner.ended_at is $$
Time at which the course was completed or dropped; null otherwise.
$$;
comment on column analytics.course_learner.first_active_at is $$
Time of the first event of the person in the course, within the period; null when there is none.
$$;
comment on column analytics.course_learner.last_active_at is $$
Time of the last event of the person in the course, within the period; null when there is none.
$$;
comment on column analytics.course_learner.active_days is $$Number of days (UTC) with an event in the course.$$;
comment on column analytics.course_learner.event_count is $$Number of events in the course, without automatic ones.$$;
comment on column analytics.course_learner.engaged is $$Engaged time in the course.$$;
comment on column analytics.course_learner.used_items is $$
Number of items of the course that were used, without courses and modules.
$$;
comment on column analytics.course_learner.submitted_tasks is $$
Number of tasks of the course that were submitted or completed.
$$;
comment on column analytics.course_learner.share_of_items is $$
Share of the items of the course that were used; null for a course without items.
$$;
comment on column analytics.course_learner.share_of_tasks is $$
Share of the tasks of the course that were submitted or completed; null for a course without tasks.
$$;

create type analytics.course_action as (
  occurred_at timestamptz,
  event text,
  item text,
  item_kind text,
  item_title text,
  engaged interval,
  is_automatic boolean
);

comment on type analytics.course_action is $$
An event of a learner in a course.
Without the properties and the session of the event, which may tell what the person did outside of the course.
$$;
comment on column analytics.course_action.occurred_at is $$Time of the event.$$;
comment on column analytics.course_action.event is $$Name of the event.$$;
comment on column analytics.course_action.item is $$External id of the item.$$;
comment on column analytics.course_action.item_kind is $$Kind of the item.$$;
comment on column analytics.course_action.item_title is $$Title of the item; null when unknown.$$;
comment on column analytics.course_action.engaged is $$
Engaged time of the page view that the event opened; null when it opened none, and until the next refresh.
$$;
comment on column analytics.course_action.is_automatic is $$
Whether the event happened without an action of the person, such as a grade.
$$;

create type analytics.course_outlook as (
  course text,
  title text,
  person_count bigint,
  mean_score float8,
  lower_quartile float8,
  upper_quartile float8
);

comment on type analytics.course_outlook is $$
Predictions for all learners of a course, aggregated.
$$;
comment on column analytics.course_outlook.course is $$External id of the course.$$;
comment on column analytics.course_outlook.title is $$Title of the course; null when unknown.$$;
comment on column analytics.course_outlook.person_count is $$Number of learners who take the course.$$;
comment on column analytics.course_outlook.mean_score is $$
Mean of the scores. Multiplied by `person_count`, it is the expected number of dropouts or completions.
For analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.lower_quartile is $$
Lower quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.upper_quartile is $$
Upper quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;

alter table analytics.prediction_target enable row level security;

/* ------------------------------------------------------------------------------------------------ annotations -- */

create table analytics.annotation (
  annotation_id bigint generated always as identity primary key,
  kind text not null default 'other' check (kind in ('release', 'term', 'holiday', 'other')),
  title text not null check (length(title) between 1 and 200),
  description text check (length(description) <= 2000),
  starts_at timestamptz not null check (isfinite(starts_at)),
  ends_at timestamptz check (isfinite(ends_at)),
  created_by text not null,
  created_at timestamptz not null default now(),
  check (ends_at > starts_at)
);

comment on table analytics.annotation is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Annotations of the time axis: releases, terms, holidays and other events that explain changes of figures.
Analysts and instructors can read all of them.
$$;
comment on column analytics.annotation.annotation_id is $$Key of the annotation.$$;
comment on column analytics.annotation.kind is $$`release`, `term`, `holiday` or `other`.$$;
comment on column analytics.annotation.title is $$Title, as shown in a chart.$$;
comment on column analytics.annotation.description is $$Description; null when there is none.$$;
comment on column analytics.annotation.starts_at is $$Start of the annotated period, or its time.$$;
comment on column analytics.annotation.ends_at is $$End of the period, exclusive; null for a single time.$$;
comment on column analytics.annotation.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.annotation.created_at is $$Time at which the annotation was written.$$;

create index annotation_time on analytics.annotation (starts_at);

alter table analytics.annotation enable row level security;

/* ---------------------------------------------------------------------------------------------- saved queries -- */

create table analytics.saved_query (
  name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text check (length(description) <= 2000),
  function_name text not null check (function_name ~ '^[a-z]+\.[a-z][a-z0-9_]*$'),
  arguments jsonb not null default '{}'
    check (jsonb_typeof(arguments) = 'object' and length(arguments::text) <= 8000),
  created_by text not null,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

comment on table analytics.saved_query is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Saved queries: a function of the API with named arguments, run with the privileges of the caller.
Analysts can read those whose function they may execute.
$$;
comment on column analytics.saved_query.name is $$Name of the query.$$;
comment on column analytics.saved_query.description is $$Description; null when there is none.$$;
comment on column analytics.saved_query.function_name is $$Function, with its schema.$$;
comment on column analytics.saved_query.arguments is $$
Arguments by name; the others have their defaults. A time can be relative to now, such as "-28 days".
$$;
comment on column analytics.saved_query.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.saved_query.created_at is $$Time at which the query was saved first.$$;
comment on column analytics.saved_query.changed_at is $$Time at which the query was saved last.$$;

alter table analytics.saved_query enable row level security;

insert into analytics.saved_query (name, function_name, arguments, created_by, description)
values
  (
    'popular-courses', 'analytics.popular_courses', '{"since": "-28 days", "measure": "people"}', 'insights',
    'Courses with the most people of the last 28 days.'
  ),
  (
    'feature-usage', 'analytics.feature_usage', '{"since": "-28 days", "breakdown": "kind"}', 'insights',
    'Use, adoption and return of features and actions of the last 28 days.'
  ),
  (
    'weekly-retention', 'analytics.retention', '{"bucket": "week", "since": "-84 days"}', 'insights',
    'People of each of the last 12 weeks who came back in later weeks.'
  );

/* ------------------------------------------------------------------------------------------------ saved views -- */

create table analytics.saved_view (
  view_id bigint generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  address text not null check (
    length(address) <= 4000
    and address ~ '^/[a-z-]+(\?([A-Za-z0-9_]+=[^&#]*(&|$))*)?$'
    and address !~ '[?&]person='
  ),
  is_shared boolean not null default false,
  board text check (length(board) between 1 and 100),
  board_position int not null default 0,
  created_by text not null,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

comment on table analytics.saved_view is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Saved views of the pages: the address of a page with its settings, under a name.
Analysts and administrators see their own, and those that are shared. A view contains no figures: who opens it sees
what she may see.
$$;
comment on column analytics.saved_view.view_id is $$Key of the view.$$;
comment on column analytics.saved_view.name is $$Name, as shown in lists and on the board.$$;
comment on column analytics.saved_view.address is $$Path of the page with its settings, such as /explore?view=funnel.$$;
comment on column analytics.saved_view.is_shared is $$Whether all analysts and administrators see it.$$;
comment on column analytics.saved_view.board is $$Board on which it is pinned; null when it is on none.$$;
comment on column analytics.saved_view.board_position is $$Place on the board: views of lower numbers come first.$$;
comment on column analytics.saved_view.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.saved_view.created_at is $$Time at which the view was saved first.$$;
comment on column analytics.saved_view.changed_at is $$Time at which the view was saved last.$$;

create index saved_view_author on analytics.saved_view (created_by);

alter table analytics.saved_view enable row level security;

create type analytics.query_function as (
  function_name text,
  argument_names text[],
  argument_types text[],
  required_count int,
  description text
);

comment on type analytics.query_function is $$
A function that can be queried by name.
$$;
comment on column analytics.query_function.function_name is $$Function, with its schema.$$;
comment on column analytics.query_function.argument_names is $$Names of the arguments, in their order.$$;
comment on column analytics.query_function.argument_types is $$Types of the arguments.$$;
comment on column analytics.query_function.required_count is $$
Number of arguments that have no default: the first ones.
$$;
comment on column analytics.query_function.description is $$First line of the description of the function.$$;

/* --- retention, lifecycle, stickiness, active people --- */

create type analytics.retention_cell as (
  breakdown_value text,
  is_other boolean,
  cohort_start timestamptz,
  cohort_size bigint,
  period int,
  period_start timestamptz,
  period_end timestamptz,
  person_count bigint,
  share float8,
  is_complete boolean,
  zone text
);

comment on type analytics.retention_cell is $$
A cohort in a period after its start, or the mean of the cohorts in a period.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.retention_cell.breakdown_value is $$
Value of the breakdown; null for people or events without one, for other values, and without a breakdown.
$$;
comment on column analytics.retention_cell.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.retention_cell.cohort_start is $$
Start of the bucket in which the people of the cohort did the start event; null in a mean.
$$;
comment on column analytics.retention_cell.cohort_size is $$
Number of people of the cohort; in a mean the sum over its cohorts.
$$;
comment on column analytics.retention_cell.period is $$
Number of the period: 0 is the bucket of the cohort. With `brackets`, the number of the bracket.
$$;
comment on column analytics.retention_cell.period_start is $$Start of the period; null in a mean.$$;
comment on column analytics.retention_cell.period_end is $$End of the period (exclusive); null in a mean.$$;
comment on column analytics.retention_cell.person_count is $$
Number of people of the cohort who did the return event in the period, or also in a later one.
In period 0 the whole cohort; in a mean the sum over its cohorts.
$$;
comment on column analytics.retention_cell.share is $$
Number of people in proportion to the cohort, or to the previous period; null when that is 0.
$$;
comment on column analytics.retention_cell.is_complete is $$
Whether the period has ended. The means contain complete periods only.
$$;
comment on column analytics.retention_cell.zone is $$Time zone of the buckets.$$;

create type analytics.lifecycle_bucket as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  new_people bigint,
  returning_people bigint,
  resurrecting_people bigint,
  dormant_people bigint,
  is_complete boolean,
  zone text
);

comment on type analytics.lifecycle_bucket is $$
The active people of a bucket by their activity before, and those who are no longer active.
New, returning and resurrecting people together are the active people of the bucket. For analysts, each number is
rounded, and a group of too few people is 0.
$$;
comment on column analytics.lifecycle_bucket.bucket_start is $$Start of the bucket.$$;
comment on column analytics.lifecycle_bucket.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.lifecycle_bucket.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.lifecycle_bucket.new_people is $$
Active people whose first event of any kind is in the bucket.
$$;
comment on column analytics.lifecycle_bucket.returning_people is $$
Active people who were active in the previous bucket too.
$$;
comment on column analytics.lifecycle_bucket.resurrecting_people is $$
Active people who were not active in the previous bucket, and are not new.
$$;
comment on column analytics.lifecycle_bucket.dormant_people is $$
People who were active in the previous bucket and are not in this one. Charts show them below zero.
$$;
comment on column analytics.lifecycle_bucket.is_complete is $$Whether the bucket has ended.$$;
comment on column analytics.lifecycle_bucket.zone is $$Time zone of the buckets.$$;

create type analytics.stickiness_group as (
  breakdown_value text,
  is_other boolean,
  bucket_count int,
  person_count bigint,
  share float8,
  is_complete boolean,
  zone text
);

comment on type analytics.stickiness_group is $$
The people who were active in a number of buckets of a period.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.stickiness_group.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.stickiness_group.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.stickiness_group.bucket_count is $$Number of buckets.$$;
comment on column analytics.stickiness_group.person_count is $$
Number of people who were active in exactly as many buckets of the period, or in at least as many.
$$;
comment on column analytics.stickiness_group.share is $$
Number of people in proportion to all who were active in the period; null when there are none.
$$;
comment on column analytics.stickiness_group.is_complete is $$Whether the last bucket of the period has ended.$$;
comment on column analytics.stickiness_group.zone is $$Time zone of the buckets.$$;

create type analytics.active_people_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  window_days int,
  person_count bigint,
  stickiness float8,
  is_complete boolean,
  zone text
);

comment on type analytics.active_people_point is $$
The people who were active in the days up to a day.
For analysts, numbers of people are rounded, a group of too few people is 0, and the stickiness is computed from these
numbers.
$$;
comment on column analytics.active_people_point.bucket_start is $$Start of the day.$$;
comment on column analytics.active_people_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.active_people_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.active_people_point.window_days is $$
Number of days, which end with this day: 1 for daily, 7 for weekly, 30 for monthly active people.
$$;
comment on column analytics.active_people_point.person_count is $$Number of distinct people active in these days.$$;
comment on column analytics.active_people_point.stickiness is $$
Active people of the day in proportion to those of the window: with 30 days, DAU/MAU. Null when there are none.
$$;
comment on column analytics.active_people_point.is_complete is $$Whether the day has ended.$$;
comment on column analytics.active_people_point.zone is $$Time zone of the days.$$;

/* ------------------------------------------------------------------------- popular courses, trending, features -- */

create materialized view analytics.course_summary as
-- People and sums of days on which fewer people used the course are in no figure for analysts.
with smallest as materialized (
  select setting.smallest_group from analytics.setting
),

counted as materialized (
  select person_set_block.block, person_set_block.people
  from track.person_set_block
  where person_set_block.name = 'counted'
),

used as (
  select
    item_day.item_id,
    sum(item_day.event_count) filter (where item_day.person_count >= smallest.smallest_group) as event_count,
    sum(item_day.engaged) filter (where item_day.person_count >= smallest.smallest_group) as engaged,
    max(item_day.day) filter (where item_day.person_count >= smallest.smallest_group) as last_day
  from track.item_day
  cross join smallest
  where item_day.with_parts
  group by item_day.item_id
),

small_month as (
  select
    item_day.item_id, date_trunc('month', item_day.day::timestamp)::date as month,
    bit_or(1 << (extract(day from item_day.day)::int - 1)) as days
  from track.item_day
  cross join smallest
  where item_day.with_parts
    and item_day.person_count < smallest.smallest_group
  group by 1, 2
),

present as (
  select by_block.item_id, sum(bit_count(by_block.people & counted.people)) as person_count
  from (
    select
      course_presence.item_id, course_presence.block,
      bit_or(course_presence.people & ~coalesce(only_small.people, b'0'::bit(4096))) as people
    from track.course_presence
    left join small_month using (item_id, month)
    left join lateral (
      select bit_or(b'1'::bit(4096) >> listed.member) as people
      from unnest(course_presence.members, course_presence.days) as listed (member, days)
      where listed.days & ~small_month.days = 0
    ) as only_small on small_month.days is not null
    group by course_presence.item_id, course_presence.block
  ) as by_block
  join counted using (block)
  group by by_block.item_id
),

-- A person completed a course when one of her enrolments in it is completed.
enrolled as (
  select
    by_person.item_id,
    count(*) as enrolment_count,
    count(*) filter (where by_person.is_completed) as completion_count,
    count(*) filter (where by_person.is_dropped and not by_person.is_completed) as dropped_count
  from (
    select
      enrolment.item_id, enrolment.person_id,
      bool_or(enrolment.status = 'completed') as is_completed,
      bool_and(enrolment.status <> 'active') as is_dropped
    from track.enrolment
    group by enrolment.item_id, enrolment.person_id
  ) as by_person
  join counted
    on counted.block = by_person.person_id / 4096
    and get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0
  group by by_person.item_id
)

select
  item.item_id as course_id,
  coalesce(popularity.person_count, 0) as person_count,
  coalesce(enrolled.enrolment_count, 0) as enrolment_count,
  coalesce(enrolled.completion_count, 0) as completion_count,
  coalesce(enrolled.dropped_count, 0) as dropped_count,
  coalesce(popularity.event_count, 0)::bigint as event_count,
  coalesce(popularity.engaged, '0') as engaged,
  popularity.last_day,
  coalesce(present.person_count, 0)::bigint as group_person_count,
  coalesce(used.event_count, 0)::bigint as group_event_count,
  coalesce(used.engaged, '0') as group_engaged,
  used.last_day as group_last_day,
  now() as refreshed_at
from track.item
left join analytics.item_popularity as popularity on popularity.item_id = item.item_id
left join used on used.item_id = item.item_id
left join present on present.item_id = item.item_id
left join enrolled on enrolled.item_id = item.item_id
where item.kind = 'course'
with no data;

comment on materialized view analytics.course_summary is $$
@behavior -*
Use and completion of each course, over all time, as of the last refresh: what `analytics.course_summaries` returns.
Of people in the set `counted`; with all that the course contains. Refreshed concurrently by a worker
(`analytics.refresh_views`), after `analytics.item_popularity`, which it reads. The columns `group_…` are those for
analysts: they leave out the days on which fewer than `analytics.setting.smallest_group` people used the course.
After a change of this setting, they follow with the next refresh.
$$;
comment on column analytics.course_summary.course_id is $$Course: key of an item.$$;
comment on column analytics.course_summary.person_count is $$Number of distinct people with events or page views.$$;
comment on column analytics.course_summary.enrolment_count is $$Number of people who are or were enrolled.$$;
comment on column analytics.course_summary.completion_count is $$Number of these people who completed the course.$$;
comment on column analytics.course_summary.dropped_count is $$
Number of these people who dropped the course and did not complete it.
$$;
comment on column analytics.course_summary.event_count is $$Number of events.$$;
comment on column analytics.course_summary.engaged is $$Engaged time.$$;
comment on column analytics.course_summary.last_day is $$Latest day of use, UTC; null when it was never used.$$;
comment on column analytics.course_summary.group_person_count is $$
Number of distinct people on days with at least `smallest_group` people.
$$;
comment on column analytics.course_summary.group_event_count is $$
Number of events on days with at least `smallest_group` people.
$$;
comment on column analytics.course_summary.group_engaged is $$
Engaged time on days with at least `smallest_group` people.
$$;
comment on column analytics.course_summary.group_last_day is $$
Latest day with at least `smallest_group` people, UTC; null when there is none.
$$;
comment on column analytics.course_summary.refreshed_at is $$Time of the refresh.$$;

create unique index course_summary_course on analytics.course_summary (course_id);

create type analytics.summarized_course as (
  course text,
  title text,
  person_count bigint,
  enrolment_count bigint,
  completion_count bigint,
  dropped_count bigint,
  completion_rate float8,
  event_count bigint,
  engaged interval,
  last_day date,
  refreshed_at timestamptz
);

comment on type analytics.summarized_course is $$
Use and completion of a course, over all time, as of the last refresh.
For analysts, figures are rounded, and those of too few people are 0.
$$;
comment on column analytics.summarized_course.course is $$External id of the course.$$;
comment on column analytics.summarized_course.title is $$Title of the course; null when unknown.$$;
comment on column analytics.summarized_course.person_count is $$
Number of distinct people who used the course or something in it.
$$;
comment on column analytics.summarized_course.enrolment_count is $$Number of people who are or were enrolled.$$;
comment on column analytics.summarized_course.completion_count is $$
Number of these people who completed the course.
$$;
comment on column analytics.summarized_course.dropped_count is $$
Number of these people who dropped the course and did not complete it.
$$;
comment on column analytics.summarized_course.completion_rate is $$
`completion_count` / `enrolment_count`; null without enrolments.
$$;
comment on column analytics.summarized_course.event_count is $$
Number of events of the course and of those it contains.
$$;
comment on column analytics.summarized_course.engaged is $$Engaged time.$$;
comment on column analytics.summarized_course.last_day is $$
Latest day of use, UTC; for analysts, the latest day with enough people. Null when there is none.
$$;
comment on column analytics.summarized_course.refreshed_at is $$Time of the refresh.$$;

create type analytics.popular_course as (
  rank int,
  course text,
  title text,
  event_count bigint,
  person_count bigint,
  engaged interval,
  enrolment_count bigint,
  completion_count bigint,
  completion_rate float8,
  completion_lower float8,
  completion_upper float8,
  completion_score float8,
  rating_count bigint,
  mean_rating float8,
  rating_score float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.popular_course is $$
A course with its use in a period, completion and ratings.
Rates, bounds and averages are computed from the numbers in the same row and those of all courses.
For analysts, numbers are rounded.
$$;
comment on column analytics.popular_course.rank is $$Rank, 1 for the most popular course.$$;
comment on column analytics.popular_course.course is $$External id of the course.$$;
comment on column analytics.popular_course.title is $$Title of the course; null when unknown.$$;
comment on column analytics.popular_course.event_count is $$
Number of events of the course and of those it contains.
$$;
comment on column analytics.popular_course.person_count is $$Number of distinct people.$$;
comment on column analytics.popular_course.engaged is $$Engaged time.$$;
comment on column analytics.popular_course.enrolment_count is $$
Number of people who are or were enrolled, as of now.
$$;
comment on column analytics.popular_course.completion_count is $$Number of these people who completed the course.$$;
comment on column analytics.popular_course.completion_rate is $$
`completion_count` / `enrolment_count`; null without enrolments.
$$;
comment on column analytics.popular_course.completion_lower is $$
Lower bound of the rate, by Wilson's score interval; null without enrolments.
$$;
comment on column analytics.popular_course.completion_upper is $$
Upper bound of the rate, by Wilson's score interval; null without enrolments.
$$;
comment on column analytics.popular_course.completion_score is $$
Bayesian average of the rate, drawn towards that of all courses; null without enrolments.
$$;
comment on column analytics.popular_course.rating_count is $$
Number of people who rated the course; null unless the measure is `rating`.
$$;
comment on column analytics.popular_course.mean_rating is $$
Mean of their latest ratings; null without ratings, for analysts also for few ones.
$$;
comment on column analytics.popular_course.rating_score is $$
Bayesian average of the ratings, drawn towards that of all courses; null without `mean_rating`.
$$;
comment on column analytics.popular_course.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_course.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.trending_item as (
  rank int,
  item text,
  title text,
  kind text,
  measured float8,
  expected float8,
  deviation float8,
  growth float8,
  score float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.trending_item is $$
An item that is used more than expected, with the measure that was asked for.
For analysts, the use is rounded, and everything else is computed from it.
$$;
comment on column analytics.trending_item.rank is $$Rank, 1 for the most significant item.$$;
comment on column analytics.trending_item.item is $$External id of the item.$$;
comment on column analytics.trending_item.title is $$Title of the item; null when unknown.$$;
comment on column analytics.trending_item.kind is $$Kind of the item.$$;
comment on column analytics.trending_item.measured is $$Use in the period: people by day, events or seconds.$$;
comment on column analytics.trending_item.expected is $$Expected use, from earlier periods.$$;
comment on column analytics.trending_item.deviation is $$
Standard deviation of the use, from earlier periods, and at least that of Poisson counts.
$$;
comment on column analytics.trending_item.growth is $$`measured` / `expected` - 1; null when nothing was expected.$$;
comment on column analytics.trending_item.score is $$Significance: see `analytics.trending_items`.$$;
comment on column analytics.trending_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.trending_item.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.used_feature as (
  rank int,
  event text,
  item_kind text,
  event_count bigint,
  person_count bigint,
  active_person_count bigint,
  adoption_rate float8,
  new_person_count bigint,
  events_per_person float8,
  median_events float8,
  days_per_person float8,
  observed_person_count bigint,
  returned_person_count bigint,
  return_rate float8,
  previous_event_count bigint,
  previous_person_count bigint,
  event_growth float8,
  person_growth float8,
  first_day date,
  last_day date,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.used_feature is $$
The use of a feature (event type) or action (event type and kind of item) in a period.
Rates and means are computed from the numbers in the same row. For analysts, numbers are rounded.
$$;
comment on column analytics.used_feature.rank is $$Rank by the measure, from 1.$$;
comment on column analytics.used_feature.event is $$Name of the event.$$;
comment on column analytics.used_feature.item_kind is $$
Kind of the item of the event; null without a breakdown, and for events without an item.
$$;
comment on column analytics.used_feature.event_count is $$Number of events.$$;
comment on column analytics.used_feature.person_count is $$Number of distinct people.$$;
comment on column analytics.used_feature.active_person_count is $$
Number of people with any event that is not automatic.
$$;
comment on column analytics.used_feature.adoption_rate is $$
`person_count` / `active_person_count`, at most 1; null without active people.
$$;
comment on column analytics.used_feature.new_person_count is $$
Number of people who never used the feature before the period; null with a breakdown.
$$;
comment on column analytics.used_feature.events_per_person is $$Events per person; null without people.$$;
comment on column analytics.used_feature.median_events is $$
Median of the events per person; null unless it was asked for.
$$;
comment on column analytics.used_feature.days_per_person is $$Days with use per person; null without people.$$;
comment on column analytics.used_feature.observed_person_count is $$
Number of people whose use was early enough in the period to return within it.
$$;
comment on column analytics.used_feature.returned_person_count is $$Number of these people who returned.$$;
comment on column analytics.used_feature.return_rate is $$
`returned_person_count` / `observed_person_count`; null without observed people.
$$;
comment on column analytics.used_feature.previous_event_count is $$Number of events in the period before.$$;
comment on column analytics.used_feature.previous_person_count is $$Number of distinct people in the period before.$$;
comment on column analytics.used_feature.event_growth is $$
`event_count` / `previous_event_count` - 1; null without previous events.
$$;
comment on column analytics.used_feature.person_growth is $$
`person_count` / `previous_person_count` - 1; null without previous people.
$$;
comment on column analytics.used_feature.first_day is $$
Day of the first use, UTC; null when there is none, and with a breakdown.
$$;
comment on column analytics.used_feature.last_day is $$
Day of the last use before the end of the period, UTC; null when there is none.
$$;
comment on column analytics.used_feature.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.used_feature.is_other is $$Whether the row is about all values that are not named.$$;

/* ------------------------------------------------------------------------------------- cohorts, segments, RFM -- */

create type analytics.people_block as (block int, people bit(4096));

comment on type analytics.people_block is $$
The people of a block of 4,096: one bit per person, as in `track.person_set_block`.
$$;
comment on column analytics.people_block.block is $$Number of the block: `person_id / 4096`.$$;
comment on column analytics.people_block.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`.
$$;

create table analytics.segment_setting (
  only_row boolean primary key default true check (only_row),
  window_days int not null default 28 check (window_days between 3 and 366),
  regular_days int not null default 4 check (regular_days between 2 and window_days - 1),
  power_days int not null default 12 check (power_days between regular_days + 1 and window_days)
);

comment on table analytics.segment_setting is $$
Thresholds of the segments: one row. `analytics.define_segments` changes them.
$$;
comment on column analytics.segment_setting.only_row is $$Always true, so that the table has one row.$$;
comment on column analytics.segment_setting.window_days is $$
Length of the window of activity, in days (UTC), the current day included.
$$;
comment on column analytics.segment_setting.regular_days is $$
Minimum number of active days in the window of `segment.regular`; with fewer, a person is in `segment.casual`.
$$;
comment on column analytics.segment_setting.power_days is $$
Minimum number of active days in the window of `segment.power`.
$$;

insert into analytics.segment_setting default values;

create table analytics.cohort (
  name text primary key references track.person_set on delete cascade check (name ~ '^(cohort|segment)[.]'),
  rule jsonb not null,
  is_live boolean not null,
  as_of date not null,
  names text not null,
  defined_by text not null,
  defined_at timestamptz not null default clock_timestamp(),
  evaluated_at timestamptz not null default clock_timestamp()
);

comment on table analytics.cohort is $$
@behavior -*
Rules of cohorts and segments: sets of people (`track.person_set`) for whom a rule is true.
See `analytics.define_cohort` and `analytics.define_segments`, which write the rows.
$$;
comment on column analytics.cohort.name is $$Set of people, such as `cohort.beta` or `segment.power`.$$;
comment on column analytics.cohort.rule is $$Rule: see `analytics.define_cohort`.$$;
comment on column analytics.cohort.is_live is $$
Whether the refresh keeps the people up to date. False: the people are those at the time of the definition.
$$;
comment on column analytics.cohort.as_of is $$
Day (UTC) as of which periods such as the last 28 days are computed. `analytics.refresh_cohorts` moves it on.
$$;
comment on column analytics.cohort.names is $$
Hash of what the names in the rule mean: when it changes, all people are computed again.
$$;
comment on column analytics.cohort.defined_by is $$
Administrator who defined it: the signed-in person, or else the login of the database; `insights` for the defaults.
$$;
comment on column analytics.cohort.defined_at is $$Time of the definition.$$;
comment on column analytics.cohort.evaluated_at is $$
Time at which all people were last computed. Changes since then were applied person by person.
$$;

insert into track.consumer (consumer, position, refresh, inputs, description, reads_set, incomplete_sets)
values (
  'analytics.cohort', 100, 'analytics.refresh_cohort_people', '{event,enrolment,decision,identity,trait,set}',
  'The people of live cohorts and segments, after all data that their rules read.', 'analytics.reads_set',
  'analytics.incomplete_sets'
);

insert into track.person_set (name, description, members, consumer)
select segment.name, segment.description, 'analytics.cohort_members', 'analytics.cohort'
from (
  values
    ('segment.new', 'First active in the last 28 days.'),
    ('segment.returning', 'Active in the last 28 days, not in the 28 days before them, and active earlier.'),
    ('segment.casual', 'Active in the last 28 days and in those before them, on fewer than 4 of the last days.'),
    ('segment.regular', 'Active on 4 to 11 of the last 28 days, and active in those before them.'),
    ('segment.power', 'Active on at least 12 of the last 28 days, and active in those before them.'),
    ('segment.dormant', 'Active earlier, and not in the last 28 days.')
) as segment (name, description);

-- The rules that analytics._segment_rules returns for these thresholds.
insert into analytics.cohort (name, rule, is_live, as_of, names, defined_by)
select
  segment.name,
  replace(
    replace(
      replace(
        replace(
          replace(segment.rule, 'ACTIVE', '{"event": null, "within": "28 days"}'),
          'EARLIER', '{"event": null, "older_than": "28 days"}'
        ),
        'BEFORE', '{"event": null, "within": "56 days", "older_than": "28 days"}'
      ),
      'REGULAR', '{"event": null, "within": "28 days", "counted": "days", "at_least": 4}'
    ),
    'POWER', '{"event": null, "within": "28 days", "counted": "days", "at_least": 12}'
  )::jsonb,
  true,
  (now() at time zone 'UTC')::date,
  md5(''),
  'insights'
from (
  values
    ('segment.new', '{"all": [ACTIVE, {"not": EARLIER}]}'),
    ('segment.returning', '{"all": [ACTIVE, EARLIER, {"not": BEFORE}]}'),
    ('segment.casual', '{"all": [ACTIVE, BEFORE, {"not": REGULAR}]}'),
    ('segment.regular', '{"all": [REGULAR, BEFORE, {"not": POWER}]}'),
    ('segment.power', '{"all": [POWER, BEFORE]}'),
    ('segment.dormant', '{"all": [EARLIER, {"not": ACTIVE}]}')
) as segment (name, rule);

alter table analytics.segment_setting enable row level security;
alter table analytics.cohort enable row level security;

create type analytics.cohort_size as (name text, description text, is_live boolean, person_count bigint, as_of date);

comment on type analytics.cohort_size is $$
A cohort or segment with its size.
$$;
comment on column analytics.cohort_size.name is $$Set of people, such as `cohort.beta` or `segment.power`.$$;
comment on column analytics.cohort_size.description is $$Description.$$;
comment on column analytics.cohort_size.is_live is $$Whether its people follow its rule; false: a fixed list.$$;
comment on column analytics.cohort_size.person_count is $$
Number of people; for analysts rounded, and 0 when there are too few.
$$;
comment on column analytics.cohort_size.as_of is $$
Day (UTC) as of which its rule is computed; null for a list without a rule.
$$;

create type analytics.cohort_person as (person_id bigint, person text);

comment on type analytics.cohort_person is $$
A person of a cohort or segment.
$$;
comment on column analytics.cohort_person.person_id is $$Key of the person.$$;
comment on column analytics.cohort_person.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;

create type analytics.segment_size as (
  segment text,
  description text,
  person_count bigint,
  share float8,
  former_count bigint,
  change bigint,
  as_of date,
  former_as_of date
);

comment on type analytics.segment_size is $$
A segment with its size, and that of an earlier day. For analysts, numbers are rounded.
$$;
comment on column analytics.segment_size.segment is $$
`new`, `returning`, `casual`, `regular`, `power` or `dormant`.
$$;
comment on column analytics.segment_size.description is $$Definition, with the thresholds.$$;
comment on column analytics.segment_size.person_count is $$Number of people.$$;
comment on column analytics.segment_size.share is $$
Share of the people of all segments, from 0 to 1; null when there are none.
$$;
comment on column analytics.segment_size.former_count is $$Number of people as of the earlier day.$$;
comment on column analytics.segment_size.change is $$`person_count` minus `former_count`.$$;
comment on column analytics.segment_size.as_of is $$Day (UTC) of the numbers.$$;
comment on column analytics.segment_size.former_as_of is $$The earlier day (UTC).$$;

create type analytics.rfm_cell as (
  cell text,
  person_count bigint,
  share float8,
  recency_days float8,
  active_days float8,
  engaged interval,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.rfm_cell is $$
A cell of an RFM analysis. For analysts, figures are rounded, and cells of too few people are absent.
$$;
comment on column analytics.rfm_cell.cell is $$Name of the cell, such as `champions`.$$;
comment on column analytics.rfm_cell.person_count is $$Number of people.$$;
comment on column analytics.rfm_cell.share is $$Share of the people of all cells, from 0 to 1.$$;
comment on column analytics.rfm_cell.recency_days is $$
Mean number of days from the last active day to the last day of the period.
$$;
comment on column analytics.rfm_cell.active_days is $$Mean number of active days.$$;
comment on column analytics.rfm_cell.engaged is $$Mean engaged time.$$;
comment on column analytics.rfm_cell.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.rfm_cell.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.person_rfm as (
  person_id bigint,
  person text,
  recency_days int,
  active_days int,
  engaged interval,
  recency_score int,
  frequency_score int,
  engaged_score int,
  cell text
);

comment on type analytics.person_rfm is $$
A person in an RFM analysis: see `analytics.rfm`.
$$;
comment on column analytics.person_rfm.person_id is $$Key of the person.$$;
comment on column analytics.person_rfm.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;
comment on column analytics.person_rfm.recency_days is $$
Days from the last active day to the last day of the period; 0: active on that day.
$$;
comment on column analytics.person_rfm.active_days is $$Number of active days.$$;
comment on column analytics.person_rfm.engaged is $$Engaged time, as of the last refresh of the sessions.$$;
comment on column analytics.person_rfm.recency_score is $$Score of recency, from 1 to 5 (most recent).$$;
comment on column analytics.person_rfm.frequency_score is $$Score of the active days, from 1 to 5.$$;
comment on column analytics.person_rfm.engaged_score is $$Score of the engaged time, from 1 to 5.$$;
comment on column analytics.person_rfm.cell is $$Name of the cell, such as `champions`.$$;

insert into privacy.handler (room, position, erase_function, description)
values ('analytics', 20, 'analytics.erase', 'Training data of predictions, and names of authors.');

/* ---------------------------------------------------------------------------------------------------- funnels -- */

create type analytics.step_filter as (
  event_type_id int,
  event text,
  item text,
  item_id bigint,
  items bigint[],
  property jsonb,
  is_optional boolean,
  is_exclusion boolean,
  first_step int,
  last_step int
);

comment on type analytics.step_filter is $$
@behavior -*
A step or an exclusion of a funnel.
$$;
comment on column analytics.step_filter.event_type_id is $$Event type; 0: any event that is not automatic.$$;
comment on column analytics.step_filter.event is $$Name of the event, as given.$$;
comment on column analytics.step_filter.item is $$External id of the item; null: any.$$;
comment on column analytics.step_filter.item_id is $$Key of the item.$$;
comment on column analytics.step_filter.items is $$The item and what it contains.$$;
comment on column analytics.step_filter.property is $$Name and value of a property, as `name` and `is`; null: any.$$;
comment on column analytics.step_filter.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.step_filter.is_exclusion is $$Whether this is an exclusion.$$;
comment on column analytics.step_filter.first_step is $$
Number of the step; of an exclusion that of the step before it.
$$;
comment on column analytics.step_filter.last_step is $$Number of the step; of an exclusion that of the step after it.$$;

create type analytics.funnel_step as (
  breakdown_value text,
  is_other boolean,
  step int,
  event text,
  item text,
  is_optional boolean,
  person_count bigint,
  share float8,
  step_share float8,
  dropped_count bigint,
  open_count bigint,
  mean_time interval,
  median_time interval,
  median_total_time interval
);

comment on type analytics.funnel_step is $$
A step of a funnel with the people who did it.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.funnel_step.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_step.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_step.step is $$Number of the step; of an unordered funnel the number of steps.$$;
comment on column analytics.funnel_step.event is $$Event of the step; null in an unordered funnel.$$;
comment on column analytics.funnel_step.item is $$External id of the item of the step; null: any.$$;
comment on column analytics.funnel_step.is_optional is $$Whether the step can be left out.$$;
comment on column analytics.funnel_step.person_count is $$Number of people whose attempt has reached the step.$$;
comment on column analytics.funnel_step.share is $$
Number of people in proportion to the first step; null when that is 0.
$$;
comment on column analytics.funnel_step.step_share is $$
Number of people in proportion to the step before it, optional ones apart; null when that is 0.
$$;
comment on column analytics.funnel_step.dropped_count is $$
Number of people who did not do the next step, optional ones apart; null for the last and for an optional step.
$$;
comment on column analytics.funnel_step.open_count is $$
Number of people who did not do the next step, and whose window was open at the end of the period, or is open now.
Null for the last step.
$$;
comment on column analytics.funnel_step.mean_time is $$
Mean time from the step before it, optional ones apart; null for the first step, and for analysts of too few people.
$$;
comment on column analytics.funnel_step.median_time is $$Median of the same.$$;
comment on column analytics.funnel_step.median_total_time is $$Median time from the first step.$$;

create type analytics.funnel_trend_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  entered_count bigint,
  converted_count bigint,
  share float8,
  median_time interval,
  is_complete boolean,
  zone text
);

comment on type analytics.funnel_trend_point is $$
A time bucket with the people who entered a funnel in it.
For analysts, numbers of people are rounded, a group of too few people is 0, and shares are computed from these numbers.
$$;
comment on column analytics.funnel_trend_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.funnel_trend_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_trend_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_trend_point.entered_count is $$
Number of people whose attempt began in the bucket, and reached the step from which people are counted.
$$;
comment on column analytics.funnel_trend_point.converted_count is $$
Number of those who reached the step to which people are counted.
$$;
comment on column analytics.funnel_trend_point.share is $$Share of the people who reached it; null without people.$$;
comment on column analytics.funnel_trend_point.median_time is $$Median time between the two steps.$$;
comment on column analytics.funnel_trend_point.is_complete is $$
Whether the window of all attempts of the bucket has ended.
$$;
comment on column analytics.funnel_trend_point.zone is $$Time zone of the buckets.$$;

create type analytics.funnel_time as (
  bin_start interval,
  bin_end interval,
  person_count bigint,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.funnel_time is $$
A bin of a histogram of the time between two steps of a funnel.
$$;
comment on column analytics.funnel_time.bin_start is $$Shortest time.$$;
comment on column analytics.funnel_time.bin_end is $$
Longest time, exclusive; null in the last bin, for all longer times.
$$;
comment on column analytics.funnel_time.person_count is $$
Number of people; for analysts rounded, and 0 for too few people.
$$;
comment on column analytics.funnel_time.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_time.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.funnel_person as (
  person_id bigint,
  person text,
  reached int,
  step_at timestamptz,
  times timestamptz[]
);

comment on type analytics.funnel_person is $$
A person in a funnel, with the attempt that went furthest.
$$;
comment on column analytics.funnel_person.person_id is $$Key of the person.$$;
comment on column analytics.funnel_person.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;
comment on column analytics.funnel_person.reached is $$Number of the furthest step.$$;
comment on column analytics.funnel_person.step_at is $$Time of the step.$$;
comment on column analytics.funnel_person.times is $$
Time of each step, null where it was not done; in an unordered funnel of as many steps as were done.
$$;

create type analytics.funnel_factor as (
  factor text,
  converted_with bigint,
  dropped_with bigint,
  converted_without bigint,
  dropped_without bigint,
  odds_ratio float8,
  lower_bound float8,
  upper_bound float8,
  adjusted_p_value float8,
  is_significant boolean
);

comment on type analytics.funnel_factor is $$
A factor that people who did all steps of a funnel have more or less often than those who did not.
For analysts, numbers of people are rounded, and all other figures are computed from these numbers.
$$;
comment on column analytics.funnel_factor.factor is $$Event, set of people, or value of the trait.$$;
comment on column analytics.funnel_factor.converted_with is $$Number of people with the factor who did all steps.$$;
comment on column analytics.funnel_factor.dropped_with is $$Number of people with the factor who did not.$$;
comment on column analytics.funnel_factor.converted_without is $$Number of the other people who did all steps.$$;
comment on column analytics.funnel_factor.dropped_without is $$Number of the other people who did not.$$;
comment on column analytics.funnel_factor.odds_ratio is $$
Odds of doing all steps with the factor, divided by those without it.
$$;
comment on column analytics.funnel_factor.lower_bound is $$Lower bound of its 95 % confidence interval.$$;
comment on column analytics.funnel_factor.upper_bound is $$Upper bound of its 95 % confidence interval.$$;
comment on column analytics.funnel_factor.adjusted_p_value is $$
p-value against an odds ratio of 1, adjusted for the number of factors (Benjamini and Hochberg).
$$;
comment on column analytics.funnel_factor.is_significant is $$Whether the adjusted p-value is at most 0.05.$$;

create type analytics.path_edge as (
  step int,
  source text,
  target text,
  transition_count bigint,
  person_count bigint,
  share float8,
  mean_time interval,
  compared_transition_count bigint,
  compared_person_count bigint,
  compared_share float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.path_edge is $$
A transition from one node of a path to the next one.
For analysts, figures are rounded, and transitions of too few people are left out.
$$;
comment on column analytics.path_edge.step is $$Number of the source in its path, 1 for the first node.$$;
comment on column analytics.path_edge.source is $$Node before the transition; "..." for left out nodes.$$;
comment on column analytics.path_edge.target is $$Node after the transition.$$;
comment on column analytics.path_edge.transition_count is $$Number of transitions.$$;
comment on column analytics.path_edge.person_count is $$Number of distinct people.$$;
comment on column analytics.path_edge.share is $$
Share of the transitions in the paths that are at the source at this step; the others continue elsewhere or end.
$$;
comment on column analytics.path_edge.mean_time is $$
Mean time from the start of the view of the source to that of the target; null for analysts of too few people.
$$;
comment on column analytics.path_edge.compared_transition_count is $$
Number of transitions of the people of `compared_with`; null without it.
$$;
comment on column analytics.path_edge.compared_person_count is $$Number of these people; null without it.$$;
comment on column analytics.path_edge.compared_share is $$Share of their transitions; null without it.$$;
comment on column analytics.path_edge.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_edge.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.path_sequence as (
  nodes text[],
  occurrence_count bigint,
  person_count bigint,
  compared_occurrence_count bigint,
  compared_person_count bigint,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.path_sequence is $$
A sequence of nodes in sessions.
For analysts, figures are rounded, and sequences of too few people are left out.
$$;
comment on column analytics.path_sequence.nodes is $$Nodes in their order.$$;
comment on column analytics.path_sequence.occurrence_count is $$Number of occurrences.$$;
comment on column analytics.path_sequence.person_count is $$Number of distinct people.$$;
comment on column analytics.path_sequence.compared_occurrence_count is $$
Number of occurrences in sessions of the people of `compared_with`; null without it.
$$;
comment on column analytics.path_sequence.compared_person_count is $$Number of these people; null without it.$$;
comment on column analytics.path_sequence.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_sequence.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.transition as (
  source text,
  target text,
  transition_count bigint,
  person_months bigint,
  share float8,
  mean_time interval,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.transition is $$
A transition between two nodes in the sessions of some months.
For analysts, figures are rounded, and months in which too few people did a transition are left out.
$$;
comment on column analytics.transition.source is $$Node that was viewed first.$$;
comment on column analytics.transition.target is $$Node that was viewed next.$$;
comment on column analytics.transition.transition_count is $$Number of transitions.$$;
comment on column analytics.transition.person_months is $$
Number of people in each month, added over the months and the pairs of items that the nodes stand for.
$$;
comment on column analytics.transition.share is $$Share of the transitions from the source to other nodes.$$;
comment on column analytics.transition.mean_time is $$
Mean time from the start of the view of the source to that of the target; null for analysts of too few people.
$$;
comment on column analytics.transition.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.transition.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.session_point as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  session_count bigint,
  person_count bigint,
  sessions_per_person float8,
  mean_duration interval,
  median_duration interval,
  mean_engaged interval,
  median_engaged interval,
  mean_views float8,
  bounce_count bigint,
  bounce_rate float8,
  is_complete boolean,
  zone text
);

comment on type analytics.session_point is $$
A time bucket with the sessions that started in it.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.session_point.bucket_start is $$Start of the bucket.$$;
comment on column analytics.session_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.session_point.session_count is $$Number of sessions.$$;
comment on column analytics.session_point.person_count is $$Number of distinct people.$$;
comment on column analytics.session_point.sessions_per_person is $$
Number of sessions divided by that of people; null without people.
$$;
comment on column analytics.session_point.mean_duration is $$Mean time from the first to the last event of a session.$$;
comment on column analytics.session_point.median_duration is $$Median of the same.$$;
comment on column analytics.session_point.mean_engaged is $$Mean engaged time of a session.$$;
comment on column analytics.session_point.median_engaged is $$Median of the same.$$;
comment on column analytics.session_point.mean_views is $$Depth: mean number of page views of a session.$$;
comment on column analytics.session_point.bounce_count is $$
Number of bounces: sessions of at most one page view and less than 10 seconds of engaged time.
$$;
comment on column analytics.session_point.bounce_rate is $$Share of the bounces; null without sessions.$$;
comment on column analytics.session_point.is_complete is $$Whether the bucket has ended.$$;
comment on column analytics.session_point.zone is $$Time zone of the buckets.$$;

create type analytics.session_item as (
  rank int,
  item text,
  title text,
  kind text,
  session_count bigint,
  person_count bigint,
  bounce_count bigint,
  bounce_rate float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.session_item is $$
An item with which sessions start or end.
For analysts, figures are rounded, and items of too few people are left out.
$$;
comment on column analytics.session_item.rank is $$Rank, 1 for the item of most sessions.$$;
comment on column analytics.session_item.item is $$External id of the item.$$;
comment on column analytics.session_item.title is $$Title of the item; null when unknown.$$;
comment on column analytics.session_item.kind is $$Kind of the item.$$;
comment on column analytics.session_item.session_count is $$Number of sessions.$$;
comment on column analytics.session_item.person_count is $$Number of distinct people.$$;
comment on column analytics.session_item.bounce_count is $$
Number of bounces: sessions of at most one page view and less than 10 seconds of engaged time.
$$;
comment on column analytics.session_item.bounce_rate is $$Share of the bounces.$$;
comment on column analytics.session_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_item.is_other is $$Whether the row is about all values that are not named.$$;

/* -------------------------------------------------------------------------------------------------- anomalies -- */

create type analytics.anomaly as (
  bucket_start timestamptz,
  breakdown_value text,
  is_other boolean,
  figure float8,
  expected float8,
  lower_bound float8,
  upper_bound float8,
  score float8,
  is_anomaly boolean,
  zone text
);

comment on type analytics.anomaly is $$
A time bucket of a trend with the figure that is expected from the past.
$$;
comment on column analytics.anomaly.bucket_start is $$Start of the bucket.$$;
comment on column analytics.anomaly.breakdown_value is $$Value of the breakdown, as in `analytics.trend_point`.$$;
comment on column analytics.anomaly.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.anomaly.figure is $$Number of events or people, or engaged time in seconds.$$;
comment on column analytics.anomaly.expected is $$Expected figure.$$;
comment on column analytics.anomaly.lower_bound is $$Smallest figure that is not an anomaly.$$;
comment on column analytics.anomaly.upper_bound is $$Largest figure that is not an anomaly.$$;
comment on column analytics.anomaly.score is $$
Distance from the expected figure, in deviations, negative below it; null when the deviation is 0.
$$;
comment on column analytics.anomaly.is_anomaly is $$Whether the figure is outside of the bounds.$$;
comment on column analytics.anomaly.zone is $$Time zone of the buckets.$$;

create type analytics.week_hour as (
  weekday int,
  hour int,
  event_count bigint,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.week_hour is $$
An hour of the week with its activity.
For analysts, figures are rounded, and an hour of too few people is 0.
$$;
comment on column analytics.week_hour.weekday is $$Day of the week, from 1 for Monday to 7 for Sunday.$$;
comment on column analytics.week_hour.hour is $$Hour of the day, from 0 to 23.$$;
comment on column analytics.week_hour.event_count is $$Number of events.$$;
comment on column analytics.week_hour.person_count is $$Number of distinct people.$$;
comment on column analytics.week_hour.share is $$Share of the events of all hours; null without events.$$;
comment on column analytics.week_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.week_hour.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.minute_activity as (
  minute timestamptz,
  event_count bigint,
  person_count bigint
);

comment on type analytics.minute_activity is $$
A minute with its activity.
For analysts, figures are rounded, and a minute of too few people is 0.
$$;
comment on column analytics.minute_activity.minute is $$Start of the minute.$$;
comment on column analytics.minute_activity.event_count is $$Number of events.$$;
comment on column analytics.minute_activity.person_count is $$Number of distinct people.$$;

create type analytics.engagement_level as (
  section text,
  title text,
  item_count bigint,
  level text,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.engagement_level is $$
A level of engagement with a section of a course, and the learners who are at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.engagement_level.section is $$External id of the section, or of the course.$$;
comment on column analytics.engagement_level.title is $$Title of the section; null when unknown.$$;
comment on column analytics.engagement_level.item_count is $$Number of items of the section.$$;
comment on column analytics.engagement_level.level is $$Level, in the words of Aspects.$$;
comment on column analytics.engagement_level.person_count is $$Number of learners.$$;
comment on column analytics.engagement_level.share is $$Share of the learners of the course; null without learners.$$;
comment on column analytics.engagement_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.engagement_level.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.task_deadline as (
  task text,
  title text,
  due_at timestamptz,
  learner_count bigint,
  started_count bigint,
  on_time_count bigint,
  late_count bigint,
  missing_count bigint,
  floating_count bigint,
  median_lead interval,
  median_work interval,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.task_deadline is $$
A task of a course with the submissions of its learners.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.task_deadline.task is $$External id of the task.$$;
comment on column analytics.task_deadline.title is $$Title of the task; null when unknown.$$;
comment on column analytics.task_deadline.due_at is $$Deadline; null without one.$$;
comment on column analytics.task_deadline.learner_count is $$Number of learners of the course.$$;
comment on column analytics.task_deadline.started_count is $$Number of learners who started the task.$$;
comment on column analytics.task_deadline.on_time_count is $$
Number of learners who submitted it by the deadline, or without one.
$$;
comment on column analytics.task_deadline.late_count is $$Number of learners who submitted it after the deadline.$$;
comment on column analytics.task_deadline.missing_count is $$
Number of learners who have not submitted it, after the deadline.
$$;
comment on column analytics.task_deadline.floating_count is $$
Number of learners who have not submitted it, before the deadline or without one.
$$;
comment on column analytics.task_deadline.median_lead is $$
Median time from the submission to the deadline, negative after it; null without submissions or deadline.
$$;
comment on column analytics.task_deadline.median_work is $$
Median time from the start of the task to its submission; null without such.
$$;
comment on column analytics.task_deadline.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.task_deadline.is_other is $$Whether the row is about all values that are not named.$$;

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
comment on column analytics.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last buckets.
$$;
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

create type analytics.stopping_point as (
  item text,
  kind text,
  title text,
  reached_count bigint,
  stopped_count bigint,
  share float8,
  share_of_stopped float8,
  breakdown_value text,
  is_other boolean
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
comment on column analytics.stopping_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.stopping_point.is_other is $$Whether the row is about all values that are not named.$$;

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

create type analytics.cycle_hour as (
  hour int,
  hour_count bigint,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

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
comment on column analytics.cycle_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.cycle_hour.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.chronotype as (
  chronotype text,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.chronotype is $$
A chronotype with the number of people.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.chronotype.chronotype is $$Chronotype, as in `analytics.my_chronotype`.$$;
comment on column analytics.chronotype.person_count is $$Number of people.$$;
comment on column analytics.chronotype.share is $$Share of the people of all chronotypes; null without any.$$;
comment on column analytics.chronotype.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.chronotype.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.analysed_item as (
  item text,
  kind text,
  title text,
  person_count bigint,
  attempt_count bigint,
  difficulty float8,
  discrimination float8,
  discrimination_index float8,
  breakdown_value text,
  is_other boolean
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
comment on column analytics.analysed_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.analysed_item.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.progress_level as (
  lower_bound float8,
  upper_bound float8,
  person_count bigint,
  share float8,
  completed_count bigint,
  breakdown_value text,
  is_other boolean
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
comment on column analytics.progress_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.progress_level.is_other is $$Whether the row is about all values that are not named.$$;

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
  mean_grade float8,
  breakdown_value text,
  is_other boolean
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
comment on column analytics.course_term.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.course_term.is_other is $$Whether the row is about all values that are not named.$$;

create type analytics.grade_bucket as (
  lower_bound float8,
  upper_bound float8,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

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
comment on column analytics.grade_bucket.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.grade_bucket.is_other is $$Whether the row is about all values that are not named.$$;

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

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, description
)
values (
  'interventions', 40, 'analytics.intervention', 'happened_at', null,
  'not exists (
    select
    from track.identity
    where identity.identity_id = stored.identity_id
      and identity.person_id in (select restricted from privacy.restricted() as restricted)
  )',
  'Notes of what teachers did about learners. Those of learners whose data is restricted are kept.'
);

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
  mean_risk float8,
  breakdown_value text,
  is_other boolean
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
comment on column analytics.intervention_outcome.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.intervention_outcome.is_other is $$
Whether the row is about all values that are not named.
$$;

create type analytics.session_bin as (
  bin_start float8,
  bin_end float8,
  session_count bigint,
  person_count bigint,
  share float8,
  breakdown_value text,
  is_other boolean
);

comment on type analytics.session_bin is $$
Sessions whose engaged time, duration or number of page views is in a bin.
$$;
comment on column analytics.session_bin.bin_start is $$Beginning of the bin, in seconds or page views.$$;
comment on column analytics.session_bin.bin_end is $$End of the bin, exclusive; null for the last one.$$;
comment on column analytics.session_bin.session_count is $$Number of sessions.$$;
comment on column analytics.session_bin.person_count is $$Number of people with such sessions.$$;
comment on column analytics.session_bin.share is $$Share of all sessions; null without sessions.$$;
comment on column analytics.session_bin.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_bin.is_other is $$Whether the row is about all values that are not named.$$;

/* ---------------------------------------------------------------------------------------- clusters of behaviour -- */

create table analytics.cluster_setting (
  only_row boolean primary key default true check (only_row),
  window_days int not null default 28 check (window_days between 7 and 366),
  cluster_count int check (cluster_count between 2 and 20),
  refit_days int not null default 7 check (refit_days between 1 and 366),
  is_marked boolean not null default true,
  tried_at timestamptz
);

comment on table analytics.cluster_setting is $$
Settings of the clusters of behaviour: one row. `analytics.define_clusters` changes them.
$$;
comment on column analytics.cluster_setting.only_row is $$Always true, so that the table has one row.$$;
comment on column analytics.cluster_setting.window_days is $$
Length of the period of behaviour in days (UTC): the complete days before the fit.
$$;
comment on column analytics.cluster_setting.cluster_count is $$
Number of clusters; null: the number from 3 to 8 with the best silhouette.
$$;
comment on column analytics.cluster_setting.refit_days is $$Number of days after which the clusters are fitted again.$$;
comment on column analytics.cluster_setting.is_marked is $$
Whether the next run of the task fits the clusters: after a change of the settings, and after an erasure.
$$;
comment on column analytics.cluster_setting.tried_at is $$Time of the last fit, or of the last attempt; null before.$$;

insert into analytics.cluster_setting default values;

create table analytics.cluster (
  name text primary key references track.person_set on delete cascade check (name ~ '^cluster[.][a-z0-9_]+$'),
  is_named_by_hand boolean not null default false,
  centroid float8[],
  means float8[],
  deviations float8[],
  person_count int,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  check ((retired_at is null) = (centroid is not null))
);

comment on table analytics.cluster is $$
@behavior -*
Clusters of people with similar behaviour, which are sets of people (`track.person_set`): see `analytics.fit_clusters`.
Figures are those of the last fit, in the order of `analytics._behaviour_features`.
$$;
comment on column analytics.cluster.name is $$Set of people, such as `cluster.night`.$$;
comment on column analytics.cluster.is_named_by_hand is $$Whether the name was given by `analytics.rename_cluster`.$$;
comment on column analytics.cluster.centroid is $$
Mean of each feature on its scale, which the next fit compares with its own centroids; null when retired.
$$;
comment on column analytics.cluster.means is $$Mean of each feature in its unit; null when retired.$$;
comment on column analytics.cluster.deviations is $$
Difference of the centroid from the mean of all people, in standard deviations; null when retired.
$$;
comment on column analytics.cluster.person_count is $$Number of people in the fit; null when retired.$$;
comment on column analytics.cluster.created_at is $$Time at which the cluster was first found.$$;
comment on column analytics.cluster.retired_at is $$
Time at which a fit found no such cluster; null: a cluster of the last fit. A retired cluster has no people.
$$;

create table analytics.cluster_member (
  identity_id bigint primary key references track.identity on delete cascade,
  name text not null references analytics.cluster on update cascade on delete cascade
);

comment on table analytics.cluster_member is $$
@behavior -*
The cluster of each person in the last fit. People who have opted out since are in none: `analytics.cluster_members`.
$$;
comment on column analytics.cluster_member.identity_id is $$
Identity with the key of the person at the time of the fit. Of people who were merged, that of the remaining key counts.
$$;
comment on column analytics.cluster_member.name is $$Cluster.$$;

create index cluster_member_name on analytics.cluster_member (name);

create table analytics.cluster_fit (
  fitted_at timestamptz primary key,
  since date not null,
  until date not null,
  person_count int not null,
  cluster_count int not null,
  silhouette float8 not null,
  tried int[] not null,
  silhouettes float8[] not null,
  seed bigint not null
);

comment on table analytics.cluster_fit is $$
Fits of the clusters of behaviour, without data of people.
$$;
comment on column analytics.cluster_fit.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_fit.since is $$First day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.until is $$Day after the last day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.person_count is $$Number of people who were clustered.$$;
comment on column analytics.cluster_fit.cluster_count is $$
Number of clusters, without those of too few people, which were dissolved.
$$;
comment on column analytics.cluster_fit.silhouette is $$
Simplified silhouette of the chosen number of clusters, from -1 to 1, before the small ones were dissolved.
$$;
comment on column analytics.cluster_fit.tried is $$Numbers of clusters that were compared.$$;
comment on column analytics.cluster_fit.silhouettes is $$Simplified silhouette of each of them.$$;
comment on column analytics.cluster_fit.seed is $$
Seed of the random numbers: the same data and seed give the same fit.
$$;

create table analytics.cluster_move (
  fitted_at timestamptz not null references analytics.cluster_fit on delete cascade,
  from_cluster text not null,
  to_cluster text not null,
  person_count int not null check (person_count > 0),
  primary key (fitted_at, from_cluster, to_cluster)
);

comment on table analytics.cluster_move is $$
@behavior -*
Numbers of people by their clusters in a fit and in the one before it, without data of people.
$$;
comment on column analytics.cluster_move.fitted_at is $$Fit.$$;
comment on column analytics.cluster_move.from_cluster is $$Cluster in the fit before; empty: in none.$$;
comment on column analytics.cluster_move.to_cluster is $$Cluster in this fit; empty: in none.$$;
comment on column analytics.cluster_move.person_count is $$Number of people.$$;

alter table analytics.cluster_setting enable row level security;
alter table analytics.cluster enable row level security;
alter table analytics.cluster_member enable row level security;
alter table analytics.cluster_fit enable row level security;
alter table analytics.cluster_move enable row level security;

create type analytics.behaviour_cluster as (
  cluster text,
  description text,
  person_count bigint,
  share float8,
  silhouette float8,
  fitted_at timestamptz,
  is_named_by_hand boolean
);

comment on type analytics.behaviour_cluster is $$
A cluster of behaviour with its size. For analysts, numbers are rounded.
$$;
comment on column analytics.behaviour_cluster.cluster is $$Name: the set of people is `cluster.` and this name.$$;
comment on column analytics.behaviour_cluster.description is $$Description of the behaviour.$$;
comment on column analytics.behaviour_cluster.person_count is $$Number of people, as of now.$$;
comment on column analytics.behaviour_cluster.share is $$
Share of the people of all clusters, from 0 to 1; null when there are none.
$$;
comment on column analytics.behaviour_cluster.silhouette is $$
Simplified silhouette of the fit, from -1 to 1: how well the clusters are separated.
$$;
comment on column analytics.behaviour_cluster.fitted_at is $$Time of the fit.$$;
comment on column analytics.behaviour_cluster.is_named_by_hand is $$Whether an administrator gave the name.$$;

create type analytics.cluster_feature as (
  cluster text,
  feature text,
  description text,
  mean float8,
  deviation float8
);

comment on type analytics.cluster_feature is $$
A feature of the behaviour of a cluster. For analysts, figures are rounded, and null for too few people.
$$;
comment on column analytics.cluster_feature.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_feature.feature is $$Name of the feature.$$;
comment on column analytics.cluster_feature.description is $$Definition of the feature, with its unit.$$;
comment on column analytics.cluster_feature.mean is $$Mean of the people of the cluster.$$;
comment on column analytics.cluster_feature.deviation is $$
Difference from the mean of all people on the scale of the feature, in standard deviations.
$$;

create type analytics.cluster_change as (
  fitted_at timestamptz,
  from_cluster text,
  to_cluster text,
  person_count bigint,
  share float8
);

comment on type analytics.cluster_change is $$
The people who were in one cluster in a fit, and in the same or another one in the next. For analysts rounded.
$$;
comment on column analytics.cluster_change.fitted_at is $$Time of the later fit.$$;
comment on column analytics.cluster_change.from_cluster is $$Cluster in the fit before; null: in none.$$;
comment on column analytics.cluster_change.to_cluster is $$Cluster in this fit; null: in none.$$;
comment on column analytics.cluster_change.person_count is $$Number of people.$$;
comment on column analytics.cluster_change.share is $$Share of the people of `from_cluster`, from 0 to 1.$$;

create type analytics.cluster_size as (fitted_at timestamptz, cluster text, person_count bigint, silhouette float8);

comment on type analytics.cluster_size is $$
The size of a cluster in a fit. For analysts, numbers are rounded.
$$;
comment on column analytics.cluster_size.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_size.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_size.person_count is $$Number of people.$$;
comment on column analytics.cluster_size.silhouette is $$Simplified silhouette of the fit, from -1 to 1.$$;
