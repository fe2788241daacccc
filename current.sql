-- Changes of structure since the last release: see migrations/README.md.

/* ------------------------------------------------------------------------------------------------ annotations -- */

create table if not exists analytics.annotation (
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

create index if not exists annotation_time on analytics.annotation (starts_at);

alter table analytics.annotation enable row level security;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'annotation', 'created_by', 'identity', 'service', 'Author of the annotation.')
on conflict do nothing;

/* ---------------------------------------------------------------------------------------------- saved queries -- */

create table if not exists analytics.saved_query (
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
  )
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'Author of the query.'),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service',
    'Arguments; those of queries for administrators can name a person.'
  )
on conflict do nothing;

do $do$
begin
  if to_regtype('analytics.query_function') is null then
    create type analytics.query_function as (
      function_name text,
      argument_names text[],
      argument_types text[],
      required_count int,
      description text
    );
  end if;
end;
$do$;

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
/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);
/* ------------------------------------------------------------------------------------------------------- trend -- */

drop function if exists analytics.trend(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_exact(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_shown(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_points(text, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._trend_of_groups(int, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, date[]);
drop function if exists analytics._trend(int, timestamptz[], date[]);
drop function if exists analytics._trend_of_groups(int, timestamptz[], int);

do $$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = 'analytics.trend_point'::regclass
      and attname = 'complete_until'
      and not attisdropped
  ) then
    alter type analytics.trend_point
      add attribute breakdown_value text,
      add attribute is_other boolean,
      add attribute engaged interval,
      add attribute events_per_person float8,
      add attribute cumulative_events bigint,
      add attribute growth float8,
      add attribute season_growth float8,
      add attribute slope_lower float8,
      add attribute slope_upper float8,
      add attribute seasonally_adjusted float8,
      add attribute zone text,
      add attribute complete_until timestamptz;
  end if;
end;
$$;

do $$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = 'analytics.trend_point'::regclass
      and attname = 'annotations'
      and not attisdropped
  ) then
    alter type analytics.trend_point add attribute annotations text[];
  end if;
end;
$$;

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

/* --- retention, lifecycle, stickiness, active people --- */

do $$
begin
  if to_regtype('analytics.retention_cell') is null then
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
  end if;
  if to_regtype('analytics.lifecycle_bucket') is null then
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
  end if;
  if to_regtype('analytics.stickiness_group') is null then
    create type analytics.stickiness_group as (
      breakdown_value text,
      is_other boolean,
      bucket_count int,
      person_count bigint,
      share float8,
      is_complete boolean,
      zone text
    );
  end if;
  if to_regtype('analytics.active_people_point') is null then
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
  end if;
end;
$$;

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

/* --- history of traits --- */

alter table track.setting
  add column if not exists most_trait_times int not null default 2000 check (most_trait_times between 1 and 100000);
comment on column track.setting.most_trait_times is $$
Maximum number of times that `track.trait_history` keeps per identity, trait and year: the latest ones.
$$;

create table if not exists track.trait_history (
  person_id bigint not null,
  identity_id bigint not null references track.identity,
  name text not null check (length(name) between 1 and 100),
  since date not null,
  set_at timestamptz[] not null check (cardinality(set_at) > 0),
  value jsonb[] not null check (cardinality(value) = cardinality(set_at)),
  repeated_at timestamptz[] not null,
  primary key (person_id, identity_id, name, since)
);

comment on table track.trait_history is $$
@behavior -*
@foreignKey (identity_id) references track.identity (identity_id)
The values that traits of people had in the course of time: one row per identity, trait and year.
The times of repetitions are kept, because a message with another value may arrive late and be between two of them. The
rows are the same in any order of arrival of the messages, and follow merges of people and their reversal as
`track.trait` does. Of two values of the same time, the greater one applies. See `track.trait_changes`.
$$;
comment on column track.trait_history.person_id is $$Person that has the trait.$$;
comment on column track.trait_history.identity_id is $$Identity for which the trait was sent.$$;
comment on column track.trait_history.name is $$Name of the trait, such as `plan`.$$;
comment on column track.trait_history.since is $$First day (UTC) of the year of the times.$$;
comment on column track.trait_history.set_at is $$
Times at which a value was sent that is not the one before, in order, so that `width_bucket` finds a position.
Of `identify`, the time of the message; of the time zone in other messages, the start of the hour (UTC) of the message.
$$;
comment on column track.trait_history.value is $$
The value of each time in `set_at`; JSON null for a value of more than 1,000 bytes.
$$;
comment on column track.trait_history.repeated_at is $$
Times at which the value was sent again, in order.
Of these and `set_at` together, the latest `track.setting.most_trait_times` of the year are kept.
$$;

create index if not exists trait_history_identity on track.trait_history (identity_id);

alter table track.trait_history enable row level security;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('track', 'trait_history', 'person_id', 'track.event', 'Former values of traits of the person.')
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'trait_history', 'person_id', 'person', 'analytics', 'Person that had the trait.'),
  ('track', 'trait_history', 'value', 'traits', 'analytics', 'Former values of a trait of the person.')
on conflict do nothing;

-- The history begins with the values that are known.
insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
select
  person_id, identity_id, name, date_trunc('year', set_at at time zone 'UTC')::date, array[set_at],
  array[case when octet_length(value::text) > 1000 then 'null' else value end], '{}'
from track.trait
where not exists (
  select
  from track.trait_history as history
  where (history.person_id, history.identity_id, history.name) = (trait.person_id, trait.identity_id, trait.name)
)
on conflict do nothing;

/* popular courses, trending, features */

create materialized view if not exists analytics.course_summary as
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

create unique index if not exists course_summary_course on analytics.course_summary (course_id);

do $$
begin
  if to_regtype('analytics.summarized_course') is null then
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
  end if;
end
$$;

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

do $$
begin
  if to_regtype('analytics.popular_course') is null then
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
      rating_score float8
    );
  end if;
end
$$;

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

do $$
begin
  if to_regtype('analytics.trending_item') is null then
    create type analytics.trending_item as (
      rank int,
      item text,
      title text,
      kind text,
      measured float8,
      expected float8,
      deviation float8,
      growth float8,
      score float8
    );
  end if;
end
$$;

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

do $$
begin
  if to_regtype('analytics.used_feature') is null then
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
      last_day date
    );
  end if;
end
$$;

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

-- Cohorts, segments and RFM: two further inputs of consumers, and the tables.
do $do$
declare
  v_name text;
begin
  for v_name in
    select conname
    from pg_constraint
    where conrelid = 'track.consumer'::regclass
      and pg_get_constraintdef(oid) like '%identity%'
      and pg_get_constraintdef(oid) not like '%trait%'
  loop
    execute format('alter table track.consumer drop constraint %I', v_name);
    execute format(
      'alter table track.consumer add constraint %I check (inputs <> ''{}'' and inputs <@ %L::text[])',
      v_name, '{event,enrolment,decision,identity,trait,set}'
    );
  end loop;
end;
$do$;

comment on column track.consumer.inputs is $$
Data that it is derived from: `event`, `enrolment`, `decision`, `identity`, `trait` or `set`.
`event`: also sessions and page views. `identity`: identities that are new, moved to another person, excluded or
included. `set`: lists of people (`track.set_person_set`).
$$;

drop function if exists track.define_person_set(text, text, text, text);
/* ------------------------------------------------------------------------------------- cohorts, segments, RFM -- */

do $do$
begin
  create type analytics.people_block as (block int, people bit(4096));
exception
  when duplicate_object then null;
end;
$do$;

comment on type analytics.people_block is $$
The people of a block of 4,096: one bit per person, as in `track.person_set_block`.
$$;
comment on column analytics.people_block.block is $$Number of the block: `person_id / 4096`.$$;
comment on column analytics.people_block.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`.
$$;

create table if not exists analytics.segment_setting (
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

insert into analytics.segment_setting default values on conflict do nothing;

create table if not exists analytics.cohort (
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

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'analytics.cohort', 100, 'analytics.refresh_cohort_people', '{event,enrolment,decision,identity,trait,set}',
  'The people of live cohorts and segments, after all data that their rules read.'
)
on conflict do nothing;

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
) as segment (name, description)
on conflict do nothing;

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
) as segment (name, rule)
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'cohort', 'defined_by', 'identity', 'service', 'Administrator who defined the cohort.')
on conflict do nothing;

alter table analytics.segment_setting enable row level security;
alter table analytics.cohort enable row level security;

do $do$
begin
  create type analytics.cohort_size as (name text, description text, is_live boolean, person_count bigint, as_of date);
exception
  when duplicate_object then null;
end;
$do$;

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

do $do$
begin
  create type analytics.cohort_person as (person_id bigint, person text);
exception
  when duplicate_object then null;
end;
$do$;

comment on type analytics.cohort_person is $$
A person of a cohort or segment.
$$;
comment on column analytics.cohort_person.person_id is $$Key of the person.$$;
comment on column analytics.cohort_person.person is $$
Name of the person in the application: the `userId`, or else an `anonymousId`.
$$;

do $do$
begin
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
exception
  when duplicate_object then null;
end;
$do$;

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

do $do$
begin
  create type analytics.rfm_cell as (
  cell text,
  person_count bigint,
  share float8,
  recency_days float8,
  active_days float8,
  engaged interval
);
exception
  when duplicate_object then null;
end;
$do$;

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

do $do$
begin
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
exception
  when duplicate_object then null;
end;
$do$;

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

-- The people of the segments, once: the refresh computes them.
insert into track.changed (person_id, consumer, since, until)
select person.person_id, 'analytics.cohort', '-infinity', 'infinity'
from track.person
where person.person_id <> 0
  and not exists (select from track.person_set_block where starts_with(person_set_block.name, 'segment.'))
  and not exists (select from track.changed where changed.consumer = 'analytics.cohort');

-- Declared properties.
create table if not exists track.declared_property (
  property_id int generated always as identity primary key,
  event_type_id int not null references track.event_type,
  property text not null check (length(property) between 1 and 200),
  most_values int not null check (most_values between 1 and 1000),
  is_queued boolean not null default false,
  declared_at timestamptz not null default now(),
  unique (event_type_id, property)
);

comment on table track.declared_property is $$
Properties of events whose values are maintained for analyses: see `track.declare_property`.
A merge of event types copies the declarations to the target.
$$;
comment on column track.declared_property.property_id is $$Key of the declared property.$$;
comment on column track.declared_property.event_type_id is $$Event type; of a merged one, no events are left.$$;
comment on column track.declared_property.property is $$Name of the property: a key of `track.event.properties`.$$;
comment on column track.declared_property.most_values is $$
Number of values that analyses show; the rest is `other`.
$$;
comment on column track.declared_property.is_queued is $$
Whether the people with such events were queued (`track.stale_property`): from then on the values are maintained.
$$;
comment on column track.declared_property.declared_at is $$Time of the declaration.$$;

create table if not exists track.stale_property (
  person_id bigint not null,
  property_id int not null references track.declared_property,
  primary key (person_id, property_id)
);

create index if not exists stale_property_property on track.stale_property (property_id);

comment on table track.stale_property is $$
@behavior -*
People whose values of a declared property are not stored yet. Emptied by `track.refresh` (step `track.property`).
The tables of values contain nothing of the person and the property until then.
$$;
comment on column track.stale_property.person_id is $$Person with events of the type; 0 for anonymized events.$$;
comment on column track.stale_property.property_id is $$Declared property.$$;

create table if not exists track.property_value (
  value_id int generated always as identity primary key,
  property_id int not null references track.declared_property,
  value text not null check (length(value) <= 200),
  unique (property_id, value)
);

comment on table track.property_value is $$
@behavior -*
The values of declared properties, each with a key that it keeps. A value is removed with the last event that has it.
$$;
comment on column track.property_value.value_id is $$Key of the value, above 0.$$;
comment on column track.property_value.property_id is $$Declared property.$$;
comment on column track.property_value.value is $$
Text of the value, its first 200 characters: a string, or anything else as in JSON. 1 and "1" are one value.
$$;

create table if not exists track.step_value (
  person_id bigint not null,
  property_id int not null,
  is_automatic boolean not null,
  since date not null,
  value_ids int[] not null,
  primary key (person_id, property_id, is_automatic, since)
)
with (fillfactor = 80);

comment on table track.step_value is $$
@behavior -*
The values of a declared property in the journeys of people: beside each row of `track.step` of the event type.
There is no row when none of the events has a value. Events of the same time and item are in the order of their values.
$$;
comment on column track.step_value.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.step_value.property_id is $$Declared property.$$;
comment on column track.step_value.is_automatic is $$As in `track.step`.$$;
comment on column track.step_value.since is $$As in `track.step`.$$;
comment on column track.step_value.value_ids is $$
Value of each event of `track.step.occurred_at`: a key of `track.property_value`, or 0 for an event without a value.
$$;

create table if not exists track.value_presence (
  property_id int not null references track.declared_property,
  value_id int not null,
  day date not null,
  part int not null check (part >= 0),
  people bit(16384) not null,
  event_count int not null check (event_count >= 0),
  counted_count int not null check (counted_count >= 0),
  primary key (property_id, value_id, day, part),
  check (bit_count(people) > 0 or event_count > 0)
);

-- Most of these bits are 0. A row above 2 kB is compressed, and stays in its page.
alter table track.value_presence alter column people set storage main;

comment on table track.value_presence is $$
@behavior -*
The people with events with a value of a declared property on a day, one bit per person, and the number of events.
Read by `track.value_days`. Maintained by `track.refresh_sessions`, as `track.presence` is.
$$;
comment on column track.value_presence.property_id is $$Declared property.$$;
comment on column track.value_presence.value_id is $$Value, or 0, as in `track.step_value`.$$;
comment on column track.value_presence.day is $$Day, UTC.$$;
comment on column track.value_presence.part is $$Number of the part of people: `person_id / 16384`, four blocks.$$;
comment on column track.value_presence.people is $$
One bit per person of the part; bit 0, the leftmost, is the person `part * 16384`. Person 0 has no bit.
$$;
comment on column track.value_presence.event_count is $$
Number of events of the people of the part who are not in the set `excluded`.
$$;
comment on column track.value_presence.counted_count is $$
Number of events of the people of the part who are in the set `counted`.
$$;

do $$
begin
  if to_regtype('track.value_activity') is null then
    create type track.value_activity as (
      person_id bigint, day date, property_id int, value_id int, event_count int
    );
  end if;
end;
$$;

comment on type track.value_activity is $$
Events of a person on a day (UTC) with a value of a declared property.
$$;
comment on column track.value_activity.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.value_activity.day is $$Day, UTC.$$;
comment on column track.value_activity.property_id is $$Declared property.$$;
comment on column track.value_activity.value_id is $$Value, as in `track.step_value`.$$;
comment on column track.value_activity.event_count is $$Number of events.$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'step_value', 'person_id', 'track.event', 'Derived from the events of the person.')
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'stale_property', 'person_id', 'person', 'analytics', 'Person whose values are not stored yet.'),
  ('track', 'step_value', 'person_id', 'person', 'analytics', 'Person of the events.'),
  ('track', 'property_value', 'value', 'behaviour', 'analytics', 'Values of properties, while an event has them.'),
  ('track', 'value_presence', 'people', 'derived', 'analytics', 'People with a value on a day, one bit per person.')
on conflict do nothing;

alter table track.declared_property enable row level security;
alter table track.stale_property enable row level security;
alter table track.property_value enable row level security;
alter table track.step_value enable row level security;
alter table track.value_presence enable row level security;
