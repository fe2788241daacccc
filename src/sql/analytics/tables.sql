create schema analytics;

comment on schema analytics is $$
The analysis queries, over rollups that are kept exact as events come late, move to another person, or go.
$$;

grant usage, create on schema analytics to insights_reader;
grant usage on schema analytics to insights_analyst, insights_admin, insights_worker;

create table analytics.setting (
  only_row boolean primary key default true check (only_row),
  smallest_group int not null default 5 check (smallest_group > 0)
);

comment on table analytics.setting is $$
How the analysis functions answer: one row.
$$;
comment on column analytics.setting.only_row is $$Always true, so that there is one row.$$;
comment on column analytics.setting.smallest_group is $$Figures about fewer people than this are withheld from analysts (k-anonymity).$$;

insert into analytics.setting default values;

create table analytics.activity (
  person_id bigint not null,
  day date not null,
  event_type_id int not null references track.event_type,
  item_id bigint references track.item,
  event_count int not null,
  engaged interval not null,
  unique nulls not distinct (person_id, day, event_type_id, item_id)
);

comment on table analytics.activity is $$
@behavior -*
@foreignKey (event_type_id) references track.event_type (event_type_id)
@foreignKey (item_id) references track.item (item_id)
What each person did on each day (UTC), by event type and item: the rollup behind popularity and trends.
One row a person makes distinct people exact over any period,
and deletions and moves as exact as additions. Kept by `analytics.refresh_activity`.
$$;
comment on column analytics.activity.person_id is $$Who; 0 for events that were kept without a person.$$;
comment on column analytics.activity.day is $$Day, UTC.$$;
comment on column analytics.activity.event_type_id is $$What.$$;
comment on column analytics.activity.item_id is $$On what; null for nothing in particular.$$;
comment on column analytics.activity.event_count is $$How often.$$;
comment on column analytics.activity.engaged is $$Engaged time of the page views that these events opened.$$;

create index activity_day on analytics.activity (day, event_type_id);
create index activity_item on analytics.activity (item_id, day);
create index activity_event_type on analytics.activity (event_type_id, day);

insert into track.consumer (consumer, position, refresh, inputs, description)
values ('analytics.activity', 1, 'analytics.refresh_activity', '{event}', 'The rollup of activity by person and day.');

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'activity', 'person_id', 'person', 'analytics', 'Who was active.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('analytics', 'activity', 'person_id', 'track.event', 'Derived from the events of the person.');

create type analytics.popular_item as (
  rank int,
  item text,
  title text,
  kind text,
  event_count bigint,
  person_count bigint,
  engaged interval,
  score float8
);

comment on type analytics.popular_item is $$
An item with what was done on it and below it. `score` is the measure that it is ranked by, halved with age where a half-life was given; engaged time counts in seconds.
$$;
comment on column analytics.popular_item.rank is $$1 for the most popular.$$;
comment on column analytics.popular_item.item is $$External id of the item.$$;
comment on column analytics.popular_item.title is $$Its title.$$;
comment on column analytics.popular_item.kind is $$Its kind.$$;
comment on column analytics.popular_item.event_count is $$Events on it or below it.$$;
comment on column analytics.popular_item.person_count is $$Distinct people.$$;
comment on column analytics.popular_item.engaged is $$Engaged time.$$;
comment on column analytics.popular_item.score is $$The measure that it is ranked by, aged by the half-life.$$;

create type analytics.trend_point as (
  bucket_start timestamptz,
  event_count bigint,
  person_count bigint,
  running_average float8,
  slope float8
);

comment on type analytics.trend_point is $$
A bucket of time: events, distinct people, the average number of events over the last buckets of the window, and the slope of a least-squares line through them (events a bucket).
Figures about too few people are null.
$$;
comment on column analytics.trend_point.bucket_start is $$Begin of the bucket.$$;
comment on column analytics.trend_point.event_count is $$Events; null when too few people are behind them.$$;
comment on column analytics.trend_point.person_count is $$Distinct people; null when they are too few.$$;
comment on column analytics.trend_point.running_average is $$Average number of events over the last buckets.$$;
comment on column analytics.trend_point.slope is $$Slope of the least-squares line through the last buckets, in events a bucket.$$;

create materialized view analytics.item_popularity as
select
  ancestor.ancestor_item_id as item_id,
  sum(activity.event_count) as event_count,
  count(distinct nullif(activity.person_id, 0)) as person_count,
  sum(activity.engaged) as engaged,
  max(activity.day) as last_day,
  -- Halved every 30 days, up to the newest day on record.
  sum(activity.event_count * 0.5::float8 ^ least(1000, (newest.day - activity.day) / 30::float8)) as decayed_event_count
from analytics.activity
cross join (select max(day) as day from analytics.activity) as newest
join track.item_ancestor as ancestor using (item_id)
group by ancestor.ancestor_item_id
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
All-time use of each item together with all below it; what is offered to strangers. Refreshed by a worker, concurrently.
$$;
comment on column analytics.item_popularity.item_id is $$The item.$$;
comment on column analytics.item_popularity.event_count is $$Events on it or below it.$$;
comment on column analytics.item_popularity.person_count is $$Distinct people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Newest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$Events, each halved for every 30 days of age.$$;

create unique index item_popularity_item on analytics.item_popularity (item_id);

alter table analytics.setting enable row level security;
alter table analytics.activity enable row level security;

/* ------------------------------------------------------------------------------------------------ predictions -- */

create table analytics.question (
  question text primary key check (question in ('dropout', 'completion', 'activity')),
  project text not null unique,
  task text not null check (task in ('classification', 'regression')),
  horizon interval not null check (horizon >= '1 day' and horizon = date_trunc('day', horizon)),
  longest_idle interval not null default '28 days' check (longest_idle >= '1 day'),
  weeks int not null default 26 check (weeks between 2 and 520),
  fewest_rows int not null default 200 check (fewest_rows >= 100),
  description text not null
);

comment on table analytics.question is $$
What is predicted of each learner in each course, and from how much of the past it is learned.
$$;
comment on column analytics.question.question is $$`dropout`, `completion` or `activity`.$$;
comment on column analytics.question.project is $$Its project in the model registry.$$;
comment on column analytics.question.task is $$`classification`: a probability; `regression`: a number.$$;
comment on column analytics.question.horizon is $$How far ahead it looks: whole days.$$;
comment on column analytics.question.longest_idle is $$Who has done nothing in a course for longer is gone already: neither learned from nor asked about.$$;
comment on column analytics.question.weeks is $$How many weekly looks at the past are learned from.$$;
comment on column analytics.question.fewest_rows is $$Fewest looks at a learner, with the outcome known, that a model is trained on.$$;
comment on column analytics.question.description is $$What it asks.$$;

insert into analytics.question (question, project, task, horizon, description)
values
  ('dropout', 'analytics.dropout', 'classification', '14 days', 'Nothing is done in the course for the whole horizon, or it is dropped within it, and it is not completed.'),
  ('completion', 'analytics.completion', 'classification', '28 days', 'The course is completed within the horizon.'),
  ('activity', 'analytics.activity', 'regression', '7 days', 'On how many days of the horizon something is done in the course.');

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
A learner in a course as of a time: everything from `days_enrolled` on is a feature, of events before that time only.
Weeks count back from the time: week 1 is the last seven days. Whole days are UTC.
$$;
comment on column analytics.learner_features.person_id is $$Who.$$;
comment on column analytics.learner_features.course_id is $$In which course.$$;
comment on column analytics.learner_features.as_of is $$As of when.$$;
comment on column analytics.learner_features.known_at is $$When the newest fact that the features use was known: never after `as_of`.$$;
comment on column analytics.learner_features.days_enrolled is $$Days since the enrolment.$$;
comment on column analytics.learner_features.days_idle is $$Recency: days since anything was done in the course; since the enrolment where nothing was.$$;
comment on column analytics.learner_features.active_days is $$Days on which something was done in the course.$$;
comment on column analytics.learner_features.active_days_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.active_days_week_2 is $$Of them in the 7 days before.$$;
comment on column analytics.learner_features.active_days_week_3 is $$Of them in the 7 days before that.$$;
comment on column analytics.learner_features.active_days_week_4 is $$Of them in the 7 days before that.$$;
comment on column analytics.learner_features.events is $$Events in the course.$$;
comment on column analytics.learner_features.events_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.events_week_2 is $$Of them in the 7 days before.$$;
comment on column analytics.learner_features.engaged_minutes is $$Engaged minutes in the course.$$;
comment on column analytics.learner_features.engaged_minutes_week_1 is $$Of them in the last 7 days.$$;
comment on column analytics.learner_features.mean_gap is $$Regularity: mean days from one active day to the next; null for fewer than two.$$;
comment on column analytics.learner_features.gap_deviation is $$Regularity: standard deviation of these gaps.$$;
comment on column analytics.learner_features.longest_gap is $$Longest of these gaps.$$;
comment on column analytics.learner_features.share_of_items is $$Breadth: share of what the course contains that was touched.$$;
comment on column analytics.learner_features.share_of_tasks is $$Share of the course's tasks that were submitted; null for a course without any.$$;
comment on column analytics.learner_features.tasks_overdue is $$Lateness: tasks that were due and are not submitted.$$;
comment on column analytics.learner_features.mean_days_late is $$Lateness: mean days from the deadline to the submission, negative when early; null where nothing with a deadline was submitted.$$;
comment on column analytics.learner_features.active_days_anywhere_week_1 is $$Days of the last 7 on which something was done anywhere.$$;
comment on column analytics.learner_features.course_active_share is $$Share of the course's learners who did something in it in the last 7 days.$$;
comment on column analytics.learner_features.days_to_end is $$Days until the course ends; null where no end is set.$$;

create table analytics.training (
  question text primary key references analytics.question,
  seed bigint not null,
  begun_at timestamptz not null default now(),
  moments timestamptz[] not null,
  courses_left bigint[] not null,
  algorithms_left text[] not null
);

comment on table analytics.training is $$
@behavior -*
How far the training of each question has come that is under way: see `analytics.train_predictions_step`.
$$;
comment on column analytics.training.question is $$What is learned.$$;
comment on column analytics.training.seed is $$The same seed and data give the same model.$$;
comment on column analytics.training.begun_at is $$When it began.$$;
comment on column analytics.training.moments is $$At which times learners are looked at.$$;
comment on column analytics.training.courses_left is $$Courses whose learners are not looked at yet.$$;
comment on column analytics.training.algorithms_left is $$Methods that have not been tried yet.$$;

create table analytics.look (
  question text not null,
  person_id bigint not null,
  course_id bigint not null,
  as_of timestamptz not null,
  feature analytics.learner_features not null,
  outcome float8,
  primary key (person_id, question, course_id, as_of)
);

comment on table analytics.look is $$
@behavior -*
What a training that is under way learns from: learners at some times, with what became of them. Empty when none is.
$$;
comment on column analytics.look.question is $$What is learned.$$;
comment on column analytics.look.person_id is $$Who.$$;
comment on column analytics.look.course_id is $$In which course.$$;
comment on column analytics.look.as_of is $$At which time.$$;
comment on column analytics.look.feature is $$What was known then.$$;
comment on column analytics.look.outcome is $$What became of it.$$;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'look', 'person_id', 'person', 'analytics', 'What a training that is under way learns from.');

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('analytics', 'look', 'person_id', 'track.event', 'Derived from the events of the person, for the time of a training.');

alter table analytics.training enable row level security;
alter table analytics.look enable row level security;

create type analytics.training_step as (
  question text,
  step text,
  hint text,
  trained ml.training,
  finished boolean
);

comment on type analytics.training_step is $$
What a step of a training has done.
$$;
comment on column analytics.training_step.question is $$About which question.$$;
comment on column analytics.training_step.step is $$What was done, or why nothing could be learned.$$;
comment on column analytics.training_step.hint is $$What can be done about that.$$;
comment on column analytics.training_step.trained is $$The version that was trained, if any.$$;
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
What is predicted of a learner, with the features that moved it most.
$$;
comment on column analytics.learner_prediction.rank is $$1 for the learner to look at first.$$;
comment on column analytics.learner_prediction.person_id is $$Who.$$;
comment on column analytics.learner_prediction.person is $$The name by which the application knows the person.$$;
comment on column analytics.learner_prediction.score is $$A probability, or expected active days.$$;
comment on column analytics.learner_prediction.reasons is $$The features that moved the score most, largest first: exact shares of its distance from the mean, in log odds for a probability (before calibration).$$;
comment on column analytics.learner_prediction.model_version is $$Version of the model that said so.$$;
comment on column analytics.learner_prediction.as_of is $$As of when: nothing later was looked at.$$;

create type analytics.course_outlook as (
  course text,
  title text,
  person_count bigint,
  mean_score float8,
  lower_quartile float8,
  upper_quartile float8
);

comment on type analytics.course_outlook is $$
What is predicted of the learners of a course together.
$$;
comment on column analytics.course_outlook.course is $$External id of the course.$$;
comment on column analytics.course_outlook.title is $$Its title.$$;
comment on column analytics.course_outlook.person_count is $$Learners who take it now.$$;
comment on column analytics.course_outlook.mean_score is $$Mean of the scores; times the learners it is the expected number of dropouts or completions.$$;
comment on column analytics.course_outlook.lower_quartile is $$A quarter of the learners score below; null where these are too few.$$;
comment on column analytics.course_outlook.upper_quartile is $$A quarter of the learners score above; null where these are too few.$$;

alter table analytics.question enable row level security;
