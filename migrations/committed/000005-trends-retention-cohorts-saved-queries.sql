--! Previous: sha1:b9f16e6e820208a91abccac72929e590007d483b
--! Hash: sha1:449a4e249e44d6de8d48eb2ab764cd88592283fb
--! Message: trends, retention, cohorts, saved queries

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

--! Included common/functions/author.sql
create or replace function common.author()
returns text
language sql
stable
begin atomic
  select coalesce(
    case when pg_has_role(session_user, 'insights_api', 'member') then
      nullif(current_setting('insights.person', true), '')
    end,
    session_user::text
  );
end;

comment on function common.author() is $$
Returns the name of the caller: the person of the token, or the login.
A login that is not one of the API cannot claim the name of another person.
$$;

grant execute on function common.author() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/author.sql

--! Included common/functions/literal.sql
create or replace function common.literal(value jsonb, type text)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_element constant text := regexp_replace(literal.type, '\[\]$', '');
  v_text constant text := literal.value #>> '{}';
  v_relative text[];
  v_expression text;
begin
  if v_element is null or v_element not in (
    'text', 'boolean', 'smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric',
    'timestamp with time zone', 'timestamp without time zone', 'date', 'interval', 'uuid', 'jsonb'
  ) then
    return null;
  end if;

  if literal.type in ('timestamp with time zone', 'timestamp without time zone', 'date') then
    v_relative := coalesce(
      regexp_match(v_text, '^([+-]) ?(\d[0-9a-z .:]*)$', 'i'),
      regexp_match(v_text, '^([+-]?)(P[0-9.YMWDTHS]+)$')
    );
  end if;
  v_expression := case
    when v_text is null then format('null::%s', literal.type)
    when literal.type = 'jsonb' then format('%L::jsonb', literal.value::text)
    when literal.type ~ '\[\]$' and jsonb_typeof(literal.value) = 'array' then format(
      'array[%s]::%s',
      (
        select string_agg(coalesce(quote_literal(element.value), 'null'), ', ' order by element.number)
        from jsonb_array_elements_text(literal.value) with ordinality as element (value, number)
      ),
      literal.type
    )
    when v_relative is not null then format(
      case literal.type
        when 'timestamp with time zone' then '(now() %s %L::interval)'
        else '(now() at time zone ''UTC'' %s %L::interval)::' || literal.type
      end,
      case v_relative[1] when '+' then '+' else '-' end,
      v_relative[2]
    )
    else format('%L::%s', v_text, literal.type)
  end;

  begin
    execute format('select %s', v_expression);
    return v_expression;
  exception
    -- The second one for an array with bounds that are too large.
    when data_exception or program_limit_exceeded then
      return null;
  end;
end;
$$;

comment on function common.literal(jsonb, text) is $$
Returns the SQL expression of a JSON value as a type; null when it is not a value of the type.
`type`: text, boolean, a number, time, interval, uuid or jsonb, in the form of `format_type`, or an array of them.
A time can be relative to now: "-28 days" and the ISO 8601 duration "P28D" are before now, "+7 days" is after it; the
sign applies to the whole duration. The text of other times is read with the time zone UTC.
$$;

grant execute on function common.literal(jsonb, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded common/functions/literal.sql

--! Included track/identities/_trait_points.sql
create or replace function track._trait_points(set_at timestamptz[], value jsonb[], repeated_at timestamptz[])
returns table (set_at timestamptz, value jsonb)
language sql
immutable
parallel safe
begin atomic
  select change.set_at, change.value
  from unnest(_trait_points.set_at, _trait_points.value) as change (set_at, value)

  union all

  select repetition.set_at, _trait_points.value[width_bucket(repetition.set_at, _trait_points.set_at)]
  from unnest(_trait_points.repeated_at) as repetition (set_at);
end;

comment on function track._trait_points(timestamptz[], jsonb[], timestamptz[]) is $$
Returns all times of a row of `track.trait_history`, each with its value.
$$;

grant execute on function track._trait_points(timestamptz[], jsonb[], timestamptz[])
to insights_reader, insights_learner, insights_admin;
--! EndIncluded track/identities/_trait_points.sql

--! Included track/identities/_store_trait_history.sql
create or replace function track._merge_trait_times(
  set_at timestamptz[],
  value jsonb[],
  repeated_at timestamptz[],
  new_set_at timestamptz[],
  new_value jsonb[],
  new_repeated_at timestamptz[],
  most int,
  out merged_at timestamptz[],
  out merged_value jsonb[],
  out merged_repeated_at timestamptz[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Messages mostly arrive in their order, so that the new times are later than all others.
  if new_set_at[1] > greatest(set_at[cardinality(set_at)], repeated_at[cardinality(repeated_at)])
    and cardinality(set_at) + cardinality(repeated_at) + cardinality(new_set_at) + cardinality(new_repeated_at) <= most
  then
    if value[cardinality(value)]::text = new_value[1]::text then
      merged_at := set_at || new_set_at[2:];
      merged_value := value || new_value[2:];
      merged_repeated_at := repeated_at || new_set_at[1] || new_repeated_at;
    else
      merged_at := set_at || new_set_at;
      merged_value := value || new_value;
      merged_repeated_at := repeated_at || new_repeated_at;
    end if;
    return;
  end if;

  select
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  into merged_at, merged_value, merged_repeated_at
  from (
    select
      latest.set_at, latest.value,
      latest.value::text is distinct from lag(latest.value::text) over (order by latest.set_at) as is_other
    from (
      select distinct on (point.set_at) point.set_at, point.value
      from (
        select *
        from track._trait_points(
          _merge_trait_times.set_at, _merge_trait_times.value, _merge_trait_times.repeated_at
        )
        union all
        select * from track._trait_points(new_set_at, new_value, new_repeated_at)
      ) as point
      order by point.set_at desc, point.value desc, point.value::text desc
      limit most
    ) as latest
  ) as changed;
end;
$$;

comment on function track._merge_trait_times(
  timestamptz[], jsonb[], timestamptz[], timestamptz[], jsonb[], timestamptz[], int
) is $$
Returns the times and values of two rows of `track.trait_history` as one row, of which the latest times are kept.
The result does not depend on the order in which rows are merged. Values are compared as text: 1 is not 1.0.
$$;

create or replace function track._store_trait_history(
  people bigint[],
  identities bigint[],
  names text[],
  times timestamptz[],
  trait_values jsonb[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := (select setting.most_trait_times from track.setting);
begin
  insert into track.trait_history as history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select
    changed.person_id, changed.identity_id, changed.name, changed.since,
    array_agg(changed.set_at order by changed.set_at) filter (where changed.is_other),
    array_agg(changed.value order by changed.set_at) filter (where changed.is_other),
    coalesce(array_agg(changed.set_at order by changed.set_at) filter (where not changed.is_other), '{}')
  from (
    select
      kept.person_id, kept.identity_id, kept.name, kept.since, kept.set_at, kept.value,
      kept.value::text is distinct from lag(kept.value::text) over (
        partition by kept.identity_id, kept.name, kept.since order by kept.set_at
      ) as is_other
    from (
      select
        said.*,
        count(*) over (partition by said.identity_id, said.name, said.since)
          - row_number() over (partition by said.identity_id, said.name, said.since order by said.set_at) as later
      from (
        select distinct on (point.identity_id, point.name, year.since, point.set_at)
          point.person_id, point.identity_id, point.name, year.since, point.set_at, shown.value
        from unnest(
          _store_trait_history.people, _store_trait_history.identities, _store_trait_history.names,
          _store_trait_history.times, _store_trait_history.trait_values
        ) as point (person_id, identity_id, name, set_at, value)
        cross join lateral (
          select date_trunc('year', point.set_at at time zone 'UTC')::date as since
        ) as year
        cross join lateral (
          select case when octet_length(point.value::text) > 1000 then 'null' else point.value end as value
        ) as shown
        order by
          point.identity_id, point.name, year.since, point.set_at, shown.value desc, shown.value::text desc
      ) as said
    ) as kept
    where kept.later < v_most
  ) as changed
  group by changed.identity_id, changed.name, changed.since, changed.person_id
  order by changed.identity_id, changed.name, changed.since
  on conflict (person_id, identity_id, name, since) do update
  set (set_at, value, repeated_at) = (
    select merged.merged_at, merged.merged_value, merged.merged_repeated_at
    from track._merge_trait_times(
      history.set_at, history.value, history.repeated_at, excluded.set_at, excluded.value, excluded.repeated_at, v_most
    ) as merged
  )
  -- A repetition of the latest time, such as the time zone of the next event of an hour, writes nothing.
  where cardinality(excluded.set_at) > 1
    or cardinality(excluded.repeated_at) > 0
    or excluded.set_at[1] is distinct from greatest(
      history.set_at[cardinality(history.set_at)], history.repeated_at[cardinality(history.repeated_at)]
    )
    or excluded.value[1]::text is distinct from history.value[cardinality(history.value)]::text;
end;
$$;

comment on function track._store_trait_history(bigint[], bigint[], text[], timestamptz[], jsonb[]) is $$
Adds times with values to `track.trait_history`, a value of more than 1,000 bytes as JSON null.
The lists have the same length.
$$;
--! EndIncluded track/identities/_store_trait_history.sql

--! Included track/identities/_move_trait_history.sql
create or replace function track._move_trait_history(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows track.trait_history[];
begin
  -- Two statements, because a part of a row may stay.
  with deleted as (
    delete from track.trait_history as history
    using unnest(
      _move_trait_history.identity_ids, _move_trait_history.old_people, _move_trait_history.since,
      _move_trait_history.until
    ) as span (identity_id, person_id, since, until)
    where history.person_id = span.person_id
      and history.identity_id = span.identity_id
      and greatest(
        history.set_at[cardinality(history.set_at)], history.repeated_at[cardinality(history.repeated_at)]
      ) >= span.since
      and history.set_at[1] < span.until
    returning history.*
  )
  select array_agg(row(deleted.*)::track.trait_history) into v_rows
  from deleted;

  perform track._store_trait_history(
    array_agg(coalesce(span.new_person_id, history.person_id)),
    array_agg(coalesce(span.new_identity_id, history.identity_id)),
    array_agg(history.name), array_agg(point.set_at), array_agg(point.value)
  )
  from unnest(v_rows) as history
  cross join lateral track._trait_points(history.set_at, history.value, history.repeated_at) as point
  left join unnest(
    _move_trait_history.identity_ids, _move_trait_history.new_identity_ids, _move_trait_history.new_people,
    _move_trait_history.since, _move_trait_history.until
  ) as span (identity_id, new_identity_id, new_person_id, since, until)
    on span.identity_id = history.identity_id
    and point.set_at >= span.since
    and point.set_at < span.until
  having count(*) > 0;
end;
$$;

comment on function track._move_trait_history(
  bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]
) is $$
Moves the times of traits of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length.
$$;
--! EndIncluded track/identities/_move_trait_history.sql

--! Included track/identities/_move_identities.sql
create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  perform track._move_events(
    _move_identities.identity_ids, _move_identities.identity_ids, _move_identities.old_people,
    _move_identities.new_people,
    array_fill('-infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)]),
    array_fill('infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)])
  );

  with deleted as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from deleted;

  with deleted as (
    delete from track.trait_history
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait_history.person_id = moved.old_person_id
      and trait_history.identity_id = moved.identity_id
    returning moved.new_person_id, trait_history.*
  )
  insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select new_person_id, identity_id, name, since, set_at, value, repeated_at
  from deleted;

  with deleted as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  update track.item_role
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
    as moved (identity_id, old_person_id, new_person_id)
  where item_role.person_id = moved.old_person_id
    and item_role.identity_id = moved.identity_id;

  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  perform track._enqueue('identity', array(
    select distinct moved.person_id
    from unnest(_move_identities.old_people || _move_identities.new_people) as moved (person_id)
  ));

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and their data, each from its old person to its new one; the three lists have the same length.
The cost is proportional to the data of the old people. Months without events of them are neither read nor locked.
The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_identities.sql

--! Included track/identities/_keep_latest_traits.sql
create or replace function track._keep_latest_traits(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_identities bigint[];
  v_names text[];
begin
  -- Two statements, because the identities of a browser may be on several servers.
  with sibling as materialized (
    select distinct sibling.external_id, sibling.person_id, sibling.identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_keep_latest_traits.identity_ids)
      and identity.kind = 'anonymous'
  ),

  ranked as (
    select
      trait.person_id, trait.identity_id, trait.name,
      row_number() over (
        partition by sibling.external_id, trait.name
        order by trait.set_at desc, trait.value desc, trait.identity_id
      ) as place
    from sibling
    join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
  )

  select array_agg(person_id), array_agg(identity_id), array_agg(name)
  into v_people, v_identities, v_names
  from ranked
  where place > 1;

  delete from track.trait
  using unnest(v_people, v_identities, v_names) as older (person_id, identity_id, name)
  where trait.person_id = older.person_id
    and trait.identity_id = older.identity_id
    and trait.name = older.name;
  perform track._enqueue('trait', array(select distinct entry.person_id from unnest(v_people) as entry (person_id)));
end;
$$;

comment on function track._keep_latest_traits(bigint[]) is $$
Deletes traits of browsers that a later message of the same browser replaced, also when another user had it by then.
The result therefore does not depend on whether the traits or the links arrived first.
$$;
--! EndIncluded track/identities/_keep_latest_traits.sql

--! Included track/identities/_move_spans.sql
create or replace function track._move_spans(
  identity_ids bigint[],
  new_identity_ids bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_old bigint[];
  v_new bigint[];
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  perform track._move_events(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  with deleted as (
    delete from track.trait
    using unnest(
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
    ) as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
    where trait.person_id = span.old_person_id
      and trait.identity_id = span.identity_id
      and trait.set_at >= span.since
      and trait.set_at < span.until
    returning span.new_person_id, span.new_identity_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (new_identity_id, name) new_person_id, new_identity_id, name, value, set_at
  from deleted
  order by new_identity_id, name, set_at desc, value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
  perform track._keep_latest_traits(_move_spans.new_identity_ids);
  perform track._enqueue(
    'trait', array(select distinct entry.person_id from unnest(v_old || v_new) as entry (person_id))
  );
  perform track._move_trait_history(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_spans.sql

--! Included track/write_keys/_log_write_key.sql
create or replace function track._log_write_key(key_id int, action text, details jsonb default '{}')
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.write_key_log (key_id, action, actor, details)
  values (
    _log_write_key.key_id,
    _log_write_key.action,
    common.author(),
    _log_write_key.details
  );
end;
$$;

comment on function track._log_write_key(int, text, jsonb) is $$
Adds an entry to the log of the write keys, with the caller.
$$;
--! EndIncluded track/write_keys/_log_write_key.sql

--! Included track/ingest/store_traits.sql
create or replace function track._store_traits(messages track.parsed_message[], identities bigint[], people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_shared constant boolean := exists (
    select
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (identities)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  -- The identities and people of what is stored with the start of its hour.
  v_identities bigint[] := identities;
  v_people bigint[] := people;
  v_said record;
begin
  if v_is_shared then
    select
      array_agg(coalesce(browser.identity_id, identities[message.ordinality]) order by message.ordinality),
      array_agg(coalesce(browser.person_id, people[message.ordinality]) order by message.ordinality)
    into v_identities, v_people
    from unnest(messages) with ordinality as message
    left join track.identity as browser
      on message.type <> 'identify'
      and message.identity_kind = 'anonymous'
      and message.traits is not null
      and browser.identity_id = (
        select track._browser_identity(message.external_id, date_trunc('hour', message.occurred_at, 'UTC'))
      );
  end if;

  with said as materialized (
    select
      message.ordinality as place, message.type = 'identify' as is_stated, message.occurred_at,
      trait.key as name, trait.value
    from unnest(messages) with ordinality as message
    cross join lateral jsonb_each(message.traits) as trait
    where message.traits is not null
      and length(trait.key) between 1 and 100
  ),

  stored as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (identities[said.place], said.name)
      people[said.place], identities[said.place], said.name, said.value, said.occurred_at
    from said
    order by identities[said.place], said.name, said.occurred_at desc, said.value desc
    on conflict (person_id, identity_id, name) do update
    set value = excluded.value, set_at = excluded.set_at
    where (trait.set_at, trait.value) < (excluded.set_at, excluded.value)
  )

  -- Only `identify` states traits; each event of a client has its time zone, of which one time per hour is enough.
  select
    array_agg(point.person_id) as people, array_agg(point.identity_id) as identities, array_agg(point.name) as names,
    array_agg(point.set_at) as times, array_agg(point.value) as trait_values
  into v_said
  from (
    select
      people[said.place] as person_id, identities[said.place] as identity_id, said.name,
      said.occurred_at as set_at, said.value
    from said
    where said.is_stated

    union all

    select distinct
      v_people[said.place], v_identities[said.place], said.name,
      date_bin('1 hour', said.occurred_at, '2000-01-01 00:00:00Z'), said.value
    from said
    where not said.is_stated
  ) as point;

  if v_is_shared then
    perform track._keep_latest_traits(identities);
  end if;
  -- People with another message than `identify` are queued for its event.
  perform track._enqueue('trait', array(
    select distinct people[message.ordinality]
    from unnest(messages) with ordinality as message
    where message.traits is not null
      and message.type = 'identify'
  ));
  if v_said.people is not null then
    perform track._store_trait_history(
      v_said.people, v_said.identities, v_said.names, v_said.times, v_said.trait_values
    );
  end if;
end;
$$;

comment on function track._store_traits(track.parsed_message[], bigint[], bigint[]) is $$
Stores the traits of messages: the latest value by the time of the message, and the history of all values.
$$;
--! EndIncluded track/ingest/store_traits.sql

--! Included track/functions/queue_people.sql
create or replace function track.queue_people(consumer text, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.changed (person_id, consumer, since, until)
  select entry.person_id, queue_people.consumer, '-infinity', 'infinity'
  from unnest(queue_people.people) as entry (person_id)
  where entry.person_id <> 0;
end;
$$;

comment on function track.queue_people(text, bigint[]) is $$
@behavior -*
Queues people for the refresh of one consumer, with all of their data.
For a room whose derived data also changes with something that is not an input of `track.consumer`, such as the time.
$$;
--! EndIncluded track/functions/queue_people.sql

--! Included track/names/_log_name.sql
create or replace function track._log_name(action text, name text, target text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.name_log (action, name, target, actor)
  values (
    _log_name.action,
    _log_name.name,
    _log_name.target,
    common.author()
  );
end;
$$;

comment on function track._log_name(text, text, text) is $$
Adds an entry to the log of names, with the caller.
$$;
--! EndIncluded track/names/_log_name.sql

--! Included track/properties/_copy_declarations.sql
create or replace function track._copy_declarations()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.declared_property (event_type_id, property, most_values)
  select event_type.merged_event_type_id, declared.property, max(declared.most_values)
  from track.declared_property as declared
  join track.event_type on event_type.event_type_id = declared.event_type_id
  where event_type.merged_event_type_id is not null
  group by event_type.merged_event_type_id, declared.property
  on conflict on constraint declared_property_event_type_id_property_key do nothing;
end;
$$;

comment on function track._copy_declarations() is $$
Declares the properties of merged event types for their targets too, after a change of names.
$$;
--! EndIncluded track/properties/_copy_declarations.sql

--! Included track/names/_known_event_type.sql
create or replace function track._known_event_type(
  name text,
  hint text default 'Give the name of an event, as in track.event_type.'
)
returns track.event_type
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type track.event_type;
begin
  select event_type.* into v_type from track.event_type where event_type.name = _known_event_type.name;
  if v_type.event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', coalesce(left(_known_event_type.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _known_event_type.name, (select array_agg(event_type.name) from track.event_type)
        ) || '"? ',
        ''
      ) || _known_event_type.hint
    );
  end if;
  return v_type;
end;
$$;

comment on function track._known_event_type(text, text) is $$
Returns the event type of a name, also of a merged one. Raises CF002 with the nearest name for an unknown one.
$$;
--! EndIncluded track/names/_known_event_type.sql

--! Included track/names/_point_event_type.sql
create or replace function track._refuse_merged_event(event_type track.event_type)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if (event_type).name in (
    'Page Viewed', 'Screen Viewed', 'Heartbeat', 'Segment Consent Preference Updated', 'Other Event'
  ) then
    perform common.refuse(
      'CF001',
      format('the event "%s" cannot get another name', (event_type).name),
      'The collection itself uses this name. Other events can be merged into Page Viewed, Screen Viewed and Heartbeat.'
    );
  end if;
  if (event_type).merged_event_type_id is not null then
    perform common.refuse(
      'CF001',
      format('event "%s" was merged into another one', left((event_type).name, 100)),
      format(
        'Merge that one: "%s". Or undo the merge first, by track.unmerge_events.',
        (
          select left(known.name, 100)
          from track.event_type as known
          where known.event_type_id = (event_type).merged_event_type_id
        )
      )
    );
  end if;
end;
$$;

comment on function track._refuse_merged_event(track.event_type) is $$
Raises CF001 for an event that cannot be merged: its name is used by the collection, or it is merged already.
$$;

create or replace function track._point_event_type(event_type_id int, target_id int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update track.event_type
  set target_event_type_id = _point_event_type.target_id
  where event_type.event_type_id = _point_event_type.event_type_id;

  with recursive
  target as (
    select coalesce(
      (
        select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
        from track.event_type
        where event_type.event_type_id = _point_event_type.target_id
      ),
      _point_event_type.event_type_id
    ) as event_type_id
  ),

  member as (
    select _point_event_type.event_type_id

    union

    select event_type.event_type_id
    from member
    join track.event_type on event_type.target_event_type_id = member.event_type_id
  )

  update track.event_type
  set merged_event_type_id = nullif(target.event_type_id, event_type.event_type_id)
  from member
  cross join target
  where event_type.event_type_id = member.event_type_id;
  perform track._copy_declarations();
  perform track._queue_months();
end;
$$;

comment on function track._point_event_type(int, int) is $$
Makes an event type, with the names that were merged into it, a name of a target; null: of itself again.
The caller has called `track._begin_naming`, and refused cycles.
$$;
--! EndIncluded track/names/_point_event_type.sql

--! Included track/properties/stored_values.sql
create or replace function track.stored_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns setof track.value_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_values.people, stored_values.first_days, stored_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      step.person_id,
      declared.property_id,
      step.occurred_at[slice.before + 1:slice.until] as occurred_at,
      step_value.value_ids[slice.before + 1:slice.until] as value_ids
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
    join track.declared_property as declared
      on declared.event_type_id = step.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(stored_values.of_property, declared.property_id)
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = declared.property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    cross join lateral (
      select
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    ) as slice
    where slice.before < slice.until
      and not exists (
        select
        from track.stale_property
        where stale_property.person_id = step.person_id
          and stale_property.property_id = declared.property_id
      )
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.property_id,
    coalesce(happened.value_id, 0),
    count(*)::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.value_ids) as happened (occurred_at, value_id)
  group by 1, 2, 3, 4;
end;
$$;

comment on function track.stored_values(bigint[], date[], date[], int) is $$
@behavior -*
Returns the events of people by value of the declared properties, as of the last refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `of_property` null: all properties. It is what `track.value_presence` contains.
$$;

grant execute on function track.stored_values(bigint[], date[], date[], int) to insights_reader, insights_admin;
--! EndIncluded track/properties/stored_values.sql

--! Included track/properties/event_values.sql
create or replace function track.event_values(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int,
  property text
)
returns table (person_id bigint, day date, value text, event_count int)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(listed) from unnest(first_days) as listed)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(listed) from unnest(end_days) as listed)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(event_values.people, event_values.first_days, event_values.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    left(event.properties ->> event_values.property, 200),
    count(*)::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and event.event_type_id = event_values.event_type_id
  group by 1, 2, 3;
end;
$$;

comment on function track.event_values(bigint[], date[], date[], int, text) is $$
@behavior -*
Returns the events of a type of people by value of a property, computed from the events.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. A value is a text of at most 200 characters, or null, as in `track.property_value`.
$$;

grant execute on function track.event_values(bigint[], date[], date[], int, text) to insights_reader, insights_admin;
--! EndIncluded track/properties/event_values.sql

--! Included track/properties/_enter_values.sql
create or replace function track._enter_values(people bigint[], first_days date[], end_days date[], of_property int)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_entered int[];
begin
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(_enter_values.people, _enter_values.first_days, _enter_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  found as (
    select distinct
      declared.property_id,
      left(event.properties ->> declared.property, 200) as value
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.declared_property as declared
      on declared.event_type_id = event.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(_enter_values.of_property, declared.property_id)
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  entered as (
    insert into track.property_value (property_id, value)
    select found.property_id, found.value
    from found
    where found.value is not null
      and not exists (
        select
        from track.property_value as known
        where known.property_id = found.property_id
          and known.value = found.value
      )
    order by found.property_id, found.value collate "C"
    returning property_value.value_id
  )

  select coalesce(array_agg(entered.value_id), '{}') into v_entered from entered;
  return v_entered;
end;
$$;

comment on function track._enter_values(bigint[], date[], date[], int) is $$
Adds the values of events of people that are not in `track.property_value` yet. Returns the keys of these values.
$$;
--! EndIncluded track/properties/_enter_values.sql

--! Included track/properties/_refresh_step_values.sql
/*
 * Values are joined to the stored journeys by time, item and rank among equal events, so that both lists have the same
 * positions, also when events were stored since the journeys were refreshed: their people are queued again.
 * Rows are grouped and not joined, so that the cost is linear regardless of the statistics.
 */
create or replace function track._refresh_step_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int
)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_has_new boolean;
  v_entered int[] := '{}';
begin
  -- Nothing is written if there are new values. They are rare, so that the events are read for them only then.
  for v_attempt in 1 .. 2 loop
    with period as materialized (
      select
        entry.person_id,
        entry.first_day,
        entry.end_day,
        entry.first_day::timestamp at time zone 'UTC' as since,
        entry.end_day::timestamp at time zone 'UTC' as until
      from unnest(_refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days)
        as entry (person_id, first_day, end_day)
    ),

    declared as materialized (
      select known.property_id, known.event_type_id, known.property
      from track.declared_property as known
      where known.is_queued
        and known.property_id = coalesce(_refresh_step_values.of_property, known.property_id)
    ),

    journey as materialized (
      select
        step.person_id, declared.property_id, step.is_automatic, step.since, slice.before,
        cardinality(step.occurred_at) - slice.until as after,
        step.occurred_at[slice.before + 1:slice.until] as occurred_at,
        step.item_ids[slice.before + 1:slice.until] as item_ids
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
      join declared on declared.event_type_id = step.event_type_id
      cross join lateral (
        select
          width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      ) as slice
      where not exists (
        select
        from track.stale_property
        where stale_property.person_id = step.person_id
          and stale_property.property_id = declared.property_id
      )
    ),

    listed as (
      select
        journey.person_id, journey.property_id, journey.is_automatic, journey.since,
        entry.occurred_at, entry.item_id, entry.place, null as value
      from journey
      cross join lateral unnest(journey.occurred_at, journey.item_ids)
        with ordinality as entry (occurred_at, item_id, place)

      union all

      select
        event.person_id, declared.property_id, event_type.is_automatic or source.is_automatic,
        case
          when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
          else date_trunc('year', event.occurred_at at time zone 'UTC')::date
        end,
        event.occurred_at, coalesce(event.item_id, 0)::int, null,
        left(event.properties ->> declared.property, 200)
      from period
      join track.event
        on event.person_id = period.person_id
        and event.occurred_at >= period.since
        and event.occurred_at < period.until
      join declared on declared.event_type_id = event.event_type_id
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
    ),

    ranked as (
      select
        listed.*,
        row_number() over (
          partition by person_id, property_id, is_automatic, since, occurred_at, item_id, place is null
          order by place, value collate "C"
        ) as rank
      from listed
    ),

    matched as (
      select
        person_id, property_id, is_automatic, since, occurred_at, item_id, rank,
        max(place) as place, max(value collate "C") as value
      from ranked
      group by person_id, property_id, is_automatic, since, occurred_at, item_id, rank
      having max(place) is not null
    ),

    fresh as (
      select
        matched.person_id, matched.property_id, matched.is_automatic, matched.since,
        array_agg(coalesce(known.value_id, 0) order by matched.place) as value_ids,
        bool_or(matched.value is not null and known.value_id is null) as has_new
      from matched
      left join track.property_value as known
        on known.property_id = matched.property_id and known.value = matched.value
      group by matched.person_id, matched.property_id, matched.is_automatic, matched.since
    ),

    found as materialized (
      select coalesce(bool_or(fresh.has_new), false) as has_new from fresh
    ),

    -- The stored values before and after the period are kept.
    merged as (
      select
        person_id, property_id, is_automatic, since, stored.value_ids as stored_ids,
        coalesce(stored.value_ids[:journey.before], array_fill(0, array[journey.before]))
          || coalesce(fresh.value_ids, '{}')
          || coalesce(
            stored.value_ids[cardinality(stored.value_ids) - journey.after + 1:], array_fill(0, array[journey.after])
          ) as value_ids
      from journey
      full join fresh using (person_id, property_id, is_automatic, since)
      left join track.step_value as stored using (person_id, property_id, is_automatic, since)
    ),

    deleted as (
      delete from track.step_value
      using merged, found
      where (v_attempt = 2 or not found.has_new)
        and merged.stored_ids is not null
        and 0 = all (merged.value_ids)
        and step_value.person_id = merged.person_id
        and step_value.property_id = merged.property_id
        and step_value.is_automatic = merged.is_automatic
        and step_value.since = merged.since
    ),

    written as (
      insert into track.step_value (person_id, property_id, is_automatic, since, value_ids)
      select merged.person_id, merged.property_id, merged.is_automatic, merged.since, merged.value_ids
      from merged
      cross join found
      where (v_attempt = 2 or not found.has_new)
        and not 0 = all (merged.value_ids)
        and merged.value_ids is distinct from merged.stored_ids
      on conflict on constraint step_value_pkey do update
      set value_ids = excluded.value_ids
    )

    select found.has_new into v_has_new from found;

    exit when v_attempt = 2 or not v_has_new;
    v_entered := track._enter_values(people, first_days, end_days, of_property);
  end loop;

  -- Those of journeys that are no longer there.
  delete from track.step_value
  using
    unnest(
      _refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days
    ) as period (person_id, first_day, end_day),
    track.declared_property as declared
  where step_value.person_id = period.person_id
    and step_value.since > period.first_day - 366
    and step_value.since < period.end_day
    and declared.property_id = step_value.property_id
    and declared.property_id = coalesce(_refresh_step_values.of_property, declared.property_id)
    and not exists (
      select
      from track.step
      where step.person_id = step_value.person_id
        and step.event_type_id = declared.event_type_id
        and step.is_automatic = step_value.is_automatic
        and step.since = step_value.since
    );
  return v_entered;
end;
$$;

comment on function track._refresh_step_values(bigint[], date[], date[], int) is $$
Recomputes the rows of `track.step_value` in the given days (UTC) of people, after their rows of `track.step`.
Each position is a person, the first day, and the day after the last one. `of_property` null: all declared properties.
Adds new values to `track.property_value`, and returns their keys.
$$;
--! EndIncluded track/properties/_refresh_step_values.sql

--! Included track/properties/_change_value_presence.sql
create or replace function track._change_value_presence(removed track.value_activity[], added track.value_activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  with by_person as (
    select
      entry.property_id, entry.value_id, entry.day, entry.person_id,
      bool_or(entry.was) as was,
      bool_or(not entry.was) as is_present,
      sum(case when entry.was then -entry.event_count else entry.event_count end)::int as event_count
    from (
      select *, true as was from unnest(_change_value_presence.removed)
      union all
      select *, false from unnest(_change_value_presence.added)
    ) as entry
    group by 1, 2, 3, 4
    having bool_or(entry.was) <> bool_or(not entry.was)
      or sum(case when entry.was then -entry.event_count else entry.event_count end) <> 0
  ),

  by_block as (
    select
      by_person.property_id, by_person.value_id, by_person.day, (by_person.person_id / 4096)::int as block,
      bit_or(track.person_bit(by_person.person_id))
        filter (where by_person.person_id <> 0 and by_person.is_present and not by_person.was)
        as set_bits,
      bit_or(track.person_bit(by_person.person_id))
        filter (where by_person.was and not by_person.is_present) as cleared_bits,
      sum(by_person.event_count) filter (
        where coalesce(get_bit(excluded.people, (by_person.person_id % 4096)::int), 0) = 0
      ) as event_count,
      sum(by_person.event_count) filter (
        where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0
      ) as counted_count
    from by_person
    left join track.person_set_block as excluded
      on excluded.name = 'excluded' and excluded.block = by_person.person_id / 4096
    left join track.person_set_block as counted
      on counted.name = 'counted' and counted.block = by_person.person_id / 4096
    group by 1, 2, 3, 4
  ),

  -- The four blocks of a part are put together last, because an operation on bits costs their length.
  change as materialized (
    select
      by_block.property_id, by_block.value_id, by_block.day, by_block.block / 4 as part,
      (
        coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 0), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 1), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 2), v_no_people)
        || coalesce(bit_or(by_block.set_bits) filter (where by_block.block % 4 = 3), v_no_people)
      )::bit(16384) as set_bits,
      (
        coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 0), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 1), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 2), v_no_people)
        || coalesce(bit_or(by_block.cleared_bits) filter (where by_block.block % 4 = 3), v_no_people)
      )::bit(16384) as cleared_bits,
      coalesce(sum(by_block.event_count), 0)::int as event_count,
      coalesce(sum(by_block.counted_count), 0)::int as counted_count
    from by_block
    group by 1, 2, 3, 4
  )

  merge into track.value_presence as stored
  using change
  on stored.property_id = change.property_id
    and stored.value_id = change.value_id
    and stored.day = change.day
    and stored.part = change.part
  when matched
    and stored.event_count + change.event_count = 0
    and bit_count(stored.people & ~change.cleared_bits | change.set_bits) = 0
  then delete
  when matched then
    update set
      people = stored.people & ~change.cleared_bits | change.set_bits,
      event_count = stored.event_count + change.event_count,
      counted_count = stored.counted_count + change.counted_count
  when not matched and (change.event_count > 0 or bit_count(change.set_bits) > 0) then
    insert (property_id, value_id, day, part, people, event_count, counted_count)
    values (
      change.property_id, change.value_id, change.day, change.part, change.set_bits, change.event_count,
      change.counted_count
    );
end;
$$;

comment on function track._change_value_presence(track.value_activity[], track.value_activity[]) is $$
Changes `track.value_presence` after a change of the values of events, given before and after the change.
Both contain all events with declared properties of these people on the days of the change.
$$;
--! EndIncluded track/properties/_change_value_presence.sql

--! Included track/properties/_refresh_values.sql
create or replace function track._refresh_values(
  removed track.value_activity[],
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entered int[];
  v_added track.value_activity[];
begin
  v_entered := track._refresh_step_values(people, first_days, end_days, of_property);
  v_added := array(select track.stored_values(people, first_days, end_days, of_property));
  if removed is distinct from v_added then
    perform track._change_value_presence(removed, v_added);
  end if;

  -- Values may be personal: they go with the last event that has them.
  delete from track.property_value
  where property_value.value_id in (
      select entry.value_id from unnest(removed) as entry
      union
      select unnest(v_entered)
    )
    and not exists (
      select
      from track.value_presence
      where value_presence.property_id = property_value.property_id
        and value_presence.value_id = property_value.value_id
    );
end;
$$;

comment on function track._refresh_values(track.value_activity[], bigint[], date[], date[], int) is $$
Recomputes the values of declared properties in the given days of people, after their journeys.
`removed`: their `track.stored_values` before the journeys were refreshed. `of_property` null: all properties.
$$;
--! EndIncluded track/properties/_refresh_values.sql

--! Included track/properties/_refresh_all_properties.sql
create or replace function track._refresh_properties(most_people int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_declared track.declared_property;
  v_picked bigint[];
  v_property record;
begin
  -- One refresh at a time. Under the lock, each refresh before this one has not stored values of a new declaration, and
  -- each later one does, so that the people of the journeys are all who are missing.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- A declaration may have been made at the same time as a merge of its event.
  if exists (select from track.declared_property as declared where not declared.is_queued) then
    perform track._copy_declarations();
  end if;
  for v_declared in select declared.* from track.declared_property as declared where not declared.is_queued loop
    update track.declared_property set is_queued = true where declared_property.property_id = v_declared.property_id;
    insert into track.stale_property (person_id, property_id)
    select distinct step.person_id, v_declared.property_id
    from track.step
    where step.event_type_id = v_declared.event_type_id;
  end loop;

  v_picked := array(
    select distinct stale_property.person_id
    from track.stale_property
    order by stale_property.person_id
    limit most_people
  );
  for v_property in
    with taken as (
      delete from track.stale_property
      where stale_property.person_id = any (v_picked)
      returning stale_property.property_id, stale_property.person_id
    )
    select taken.property_id, array_agg(taken.person_id) as people
    from taken
    group by taken.property_id
    order by taken.property_id
  loop
    perform track._refresh_values(
      '{}',
      v_property.people,
      array_fill('-infinity'::date, array[cardinality(v_property.people)]),
      array_fill('infinity'::date, array[cardinality(v_property.people)]),
      v_property.property_id
    );
  end loop;
  return cardinality(v_picked);
end;
$$;

comment on function track._refresh_properties(int) is $$
Stores the values of new declarations (`track.declare_property`) for at most `most_people` people.
Returns their number; 0 when nothing is left. Queues the people of declarations that are not queued yet.
$$;

create or replace function track._refresh_all_properties(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_people int;
  v_error text;
begin
  while v_most > 0 loop
    begin
      v_people := track._refresh_properties(v_most);
      return row('track.property', v_people, 0, null)::track.refreshed;
    exception
      -- An array of the values of many people may be too long.
      when data_exception or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := v_most / 2;
  end loop;
  raise warning 'the values of declared properties cannot be stored: %', left(v_error, 100);
  return row('track.property', 0, 1, left(v_error, 100))::track.refreshed;
end;
$$;

comment on function track._refresh_all_properties(int) is $$
Stores the values of new declarations for at most `most_people` people; for fewer when their values are too many.
$$;
--! EndIncluded track/properties/_refresh_all_properties.sql

--! Included track/properties/_move_value_sums.sql
create or replace function track._move_value_sums(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := joined || departed;
begin
  if not exists (select from track.declared_property as declared where declared.is_queued) then
    return;
  end if;

  merge into track.value_presence as stored
  using (
    select
      entry.property_id, entry.value_id, entry.day, (entry.person_id / 16384)::int as part,
      sum(case when moved.has_joined then entry.event_count else -entry.event_count end)::int as event_count
    from track.stored_values(
      v_people,
      array_fill('-infinity'::date, array[cardinality(v_people)]),
      array_fill('infinity'::date, array[cardinality(v_people)])
    ) as entry
    join (
      select unnest(joined) as person_id, true as has_joined
      union all
      select unnest(departed), false
    ) as moved on moved.person_id = entry.person_id
    group by 1, 2, 3, 4
  ) as change
  on stored.property_id = change.property_id
    and stored.value_id = change.value_id
    and stored.day = change.day
    and stored.part = change.part
  when matched and change.event_count <> 0 then
    update set
      event_count = stored.event_count - case set_name when 'excluded' then change.event_count else 0 end,
      counted_count = stored.counted_count + case set_name when 'counted' then change.event_count else 0 end;
end;
$$;

comment on function track._move_value_sums(text, bigint[], bigint[]) is $$
Changes the sums of `track.value_presence` for people who joined or left the set `counted` or `excluded`.
Their bits stay, so that there is a row for each of their events.
$$;
--! EndIncluded track/properties/_move_value_sums.sql

--! Included track/presence/_move_sums.sql
create or replace function track._move_sums(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- An array of activity has a limit of 1 GB, so that people are moved some at a time.
  v_at_once constant int := 100;
  v_joined track.activity[];
  v_departed track.activity[];
begin
  for v_first in 1..greatest(cardinality(joined), cardinality(departed)) by v_at_once loop
    v_joined := array(select track._whole_activity(joined[v_first:v_first + v_at_once - 1]));
    v_departed := array(select track._whole_activity(departed[v_first:v_first + v_at_once - 1]));
    if set_name = 'counted' then
      perform track._change_item_sums(v_departed, v_joined);
      perform track._change_type_sums(set_name, v_departed, v_joined);
    elsif set_name = 'excluded' then
      perform track._change_type_sums(set_name, v_joined, v_departed);
    end if;
  end loop;
  if set_name in ('counted', 'excluded') then
    perform track._move_value_sums(set_name, joined, departed);
  end if;
end;
$$;

comment on function track._move_sums(text, bigint[], bigint[]) is $$
Changes the sums of items and event types for people who joined or left the set `counted` or `excluded`.
$$;

create or replace function track._whole_activity(people bigint[])
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._whole_activity(bigint[]) is $$
Returns all stored activity of people.
$$;
--! EndIncluded track/presence/_move_sums.sql

--! Included track/functions/_refresh_sessions.sql
/*
 * The time of a session is divided among its page views so that each moment counts once. A heartbeat confirms the time
 * before it, back to the previous heartbeat of the session or the opening of its page view, at most one interval. An
 * event is followed by a gap, up to the next event or the time that the next heartbeat confirms. Page views of clients
 * with heartbeats have the time that their heartbeats confirm, those of other clients their gaps.
 */
create or replace function track._compute_sessions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  setting track.setting
)
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
  v_result track.refresh_result;
begin
  delete from track.session
  using unnest(people, since, until) as period (person_id, since, until)
  where session.person_id = period.person_id
    and session.ended_at between period.since and period.until;

  delete from track.automatic_period
  using unnest(people, _compute_sessions.since, _compute_sessions.until) as period (person_id, since, until)
  where automatic_period.person_id = period.person_id
    and automatic_period.since >= period.since
    and automatic_period.until <= period.until;
  -- Those of people that were merged into others. A merge deletes none, so that it never waits for a refresh.
  delete from track.automatic_period
  where automatic_period.person_id = any (array(
    select merged.person_id
    from unnest(people) as merged (person_id)
    where not exists (select from track.person where person.person_id = merged.person_id)
  ));

  -- Events of automatic types and sources pass through the steps as sessions of their own, with negative numbers, so
  -- that the events are read once.
  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event.source_id,
      event.identity_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event_type.opens_view or event_type.is_heartbeat
          then hashtextextended(event.properties ->> 'viewId', 0)
      end as view_key,
      case
        when not event_type.is_heartbeat then null
        when jsonb_typeof(event.properties -> 'interval') = 'number'
          and (event.properties ->> 'interval')::numeric > 0
          then least((event.properties ->> 'interval')::numeric, 86400)::float8 * interval '1 second'
        else coalesce(source.heartbeat, v_setting.heartbeat)
      end as heartbeat
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
  ),

  followed as (
    select
      happened.*,
      lag(occurred_at) over earlier as previous_at,
      max(occurred_at) filter (where is_heartbeat) over earlier as previous_heartbeat_at
    from happened
    window earlier as (
      partition by person_id, is_automatic
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  numbered as (
    select
      followed.*,
      case when is_automatic then -1 else 1 end
        * count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id, is_automatic order by occurred_at, event_id) as session_number
    from followed
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      first_value(occurred_at) over session_in_order
        - case
          when first_value(is_heartbeat) over session_in_order
            then least(v_setting.minimum_visit, v_setting.session_timeout)
          else interval '0'
        end as session_started_at,
      count(*) filter (where opens_view) over session_in_order as view_number,
      max(occurred_at) filter (where opens_view) over session_in_order as view_opened_at,
      max(occurred_at) filter (where not is_heartbeat) over session_in_order as last_action_at,
      count(item_id) over session_in_order as item_number
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  -- A heartbeat belongs to the view of its name that was opened before it. One without a name belongs to the last view.
  -- Others continue a view that was not opened in the session: that of their name, or else that of their item.
  keyed as (
    select
      placed.*,
      case when is_heartbeat and view_key is null and view_number = 0 then item_id end as continued_item_id
    from placed
  ),

  named as (
    select
      keyed.*,
      max(view_number) filter (where opens_view) over earlier_of_key as named_number,
      max(occurred_at) filter (where opens_view) over earlier_of_key as named_opened_at,
      max(occurred_at) filter (where is_heartbeat) over earlier_of_key as named_heartbeat_at
    from keyed
    window earlier_of_key as (
      partition by person_id, session_number, view_key, continued_item_id
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  targeted as (
    select
      named.*,
      case when is_heartbeat and view_key is not null then coalesce(named_number, 0) else view_number end
        as target_number,
      case when view_key is null then view_opened_at else named_opened_at end as opened_at
    from named
  ),

  confirmed as (
    select
      targeted.*,
      is_heartbeat and target_number = 0 as is_continued,
      is_heartbeat and (named_heartbeat_at is null or named_heartbeat_at < opened_at) as is_first_heartbeat,
      case
        when is_heartbeat
          then greatest(
            occurred_at - case
              when named_heartbeat_at is null or named_heartbeat_at < opened_at then v_setting.minimum_visit
              else heartbeat
            end,
            previous_heartbeat_at,
            opened_at,
            session_started_at
          )
      end as confirmed_since
    from targeted
  ),

  spent as (
    select
      confirmed.*,
      opens_view or is_continued and is_first_heartbeat as is_first_of_view,
      case when is_continued then coalesce(view_key, continued_item_id, 0) end as continued_key,
      -- Null for the last event of a session. The next heartbeat is the later one that confirms the earliest time.
      case
        when lag(occurred_at) over later_in_session is not null
          then greatest(
            least(
              lag(occurred_at) over later_in_session,
              min(confirmed_since) over later_in_session,
              last_action_at + v_setting.longest_gap
            ) - occurred_at,
            interval '0'
          )
      end as gap
    from confirmed
    window later_in_session as (
      partition by person_id, session_number
      order by occurred_at desc, event_id desc
      rows between unbounded preceding and 1 preceding
    )
  ),

  -- The time after a heartbeat of another view than the last one is a gap of the last one: a row for each of the two.
  spread as (
    select
      spent.*,
      unnest(
        case when is_heartbeat and target_number <> view_number then '{t,f}'::boolean[] else '{t}' end
      ) as is_event
    from spent
  ),

  attributed as (
    select
      spread.*,
      case when is_event then target_number else view_number end as attributed_number,
      case when is_event then continued_key end as attributed_key,
      case when not is_event or target_number = view_number then gap end as view_gap
    from spread
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  viewed as (
    select
      person_id,
      session_number,
      attributed_number,
      attributed_key,
      session_id,
      session_started_at,
      (array_agg(event_id) filter (where is_event and is_first_of_view))[1] as event_id,
      min(item_id) filter (where is_event and is_first_of_view) as item_id,
      min(source_id) filter (where is_event and is_first_of_view) as source_id,
      min(identity_id) filter (where is_event and is_first_of_view) as identity_id,
      min(view_key) filter (where is_event and is_first_of_view) as view_key,
      min(coalesce(confirmed_since, occurred_at)) filter (where is_event and is_first_of_view) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(view_gap, '0')) as last_sign_at,
      count(*) filter (where is_event) as event_count,
      sum(view_gap) as gaps,
      count(*) filter (where is_event and is_heartbeat) as heartbeat_count,
      max(occurred_at) filter (where is_event and is_heartbeat) as last_heartbeat_at,
      sum(occurred_at - confirmed_since) filter (where is_event) as confirmed,
      min(item_id) filter (where item_number = 1) as entry_item_id,
      max(array[item_number, item_id]) filter (where item_id is not null) as exit_item
    from attributed
    group by person_id, session_number, attributed_number, attributed_key, session_id, session_started_at
  ),

  judged as (
    select
      viewed.*,
      event_id is not null as is_view,
      row_number() over views_in_order as view_number,
      lead(started_at) over views_in_order as next_started_at,
      max(last_event_at) over (partition by person_id, session_number) as session_ended_at,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
    window views_in_order as (
      partition by person_id, session_number
      order by event_id is null, started_at, event_id
    )
  ),

  measured as materialized (
    select
      judged.*,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)) as view_ended_at,
      case
        when is_view then coalesce(case when has_heartbeats then confirmed else gaps end, '0')
      end as engaged,
      case
        when not is_view then null
        when has_heartbeats then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from judged
  ),

  -- As in the columns `view_…` of the session: null where the value is the usual one.
  encoded as (
    select
      measured.*,
      (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
      case
        when is_view and view_ended_at <> coalesce(next_started_at, session_ended_at)
          then (extract(epoch from view_ended_at - session_started_at) * 1000000)::bigint
      end as view_end,
      case
        when engaged <> view_ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
      end as view_engaged,
      case engaged_by when 'heartbeats' then heartbeat_count::int when 'nothing' then -1 end as view_heartbeats,
      case when attributed_key is not null then true end as view_continued
    from measured
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id, view_event_ids, view_item_ids, view_starts, view_ends, view_engaged, view_heartbeats,
      view_continued, view_keys
    )
    select
      person_id,
      session_id,
      min(session_started_at),
      max(last_event_at),
      sum(event_count),
      count(*) filter (where is_view and attributed_key is null),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      min(entry_item_id),
      (max(exit_item))[2],
      array_agg(event_id order by view_number) filter (where is_view),
      case
        when count(item_id) filter (where is_view) > 0
          then array_agg(item_id order by view_number) filter (where is_view)
      end,
      array_agg(view_start order by view_number) filter (where is_view),
      case when count(view_end) > 0 then array_agg(view_end order by view_number) filter (where is_view) end,
      case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) filter (where is_view) end,
      case
        when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) filter (where is_view)
      end,
      case
        when count(view_continued) > 0 then array_agg(view_continued order by view_number) filter (where is_view)
      end,
      case when count(view_key) > 0 then array_agg(view_key order by view_number) filter (where is_view) end
    from encoded
    where session_number > 0
    group by person_id, session_number, session_id
    returning 1
  ),

  stored_period as (
    insert into track.automatic_period as stored (person_id, since, until)
    select person_id, min(session_started_at), max(last_event_at)
    from measured
    where session_number < 0
    group by person_id
    on conflict (person_id) do update
    set since = least(stored.since, excluded.since), until = greatest(stored.until, excluded.until)
  )

  select
    (select count(*) from stored_session),
    (select count(*) from measured where is_view and session_number > 0)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows. Continued page
views have the item of their first heartbeat: see `track._continue_views`.
$$;

/* A late event, a merge or a deletion can change the view that later sessions continue: the earlier one of its name. */
create or replace function track._continue_views(
  inout people bigint[],
  inout since timestamptz[],
  inout until timestamptz[],
  setting track.setting
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
begin
  if not exists (
    select
    from track.session
    where session.person_id = any (people)
      and session.view_continued is not null
  ) then
    return;
  end if;

  with continued as materialized (
    select distinct
      page_view.person_id, page_view.session_id, page_view.view_number, page_view.event_id, page_view.item_id,
      page_view.view_key, page_view.started_at, page_view.ended_at, session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.session
      on session.person_id = period.person_id
      and session.view_continued is not null
      and session.ended_at >= period.since
      and session.started_at <= period.until + v_setting.longest_view
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.is_continued
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    where page_view.view_key is not null
  ),

  searched as (
    select
      person_id,
      unnest(range_agg(tstzrange(started_at - v_setting.longest_view, session_ended_at, '[]'))) as period
    from continued
    group by person_id
  ),

  -- The view that each one continues is the last opened one before it, in an order by the times at which an opened
  -- view counts for it.
  ordered as (
    select
      person_id, view_key, session_id, view_number, event_id, item_id, started_at, ended_at, session_ended_at as at,
      true as is_continued
    from continued

    union all

    select
      opened.person_id, opened.view_key, opened.session_id, opened.view_number, opened.event_id, opened.item_id,
      opened.started_at, opened.ended_at, opened.started_at, false
    from searched
    join track.session
      on session.person_id = searched.person_id
      and session.view_keys is not null
      and session.ended_at >= lower(searched.period)
      and session.started_at <= upper(searched.period)
    join track.page_view as opened
      on opened.person_id = session.person_id
      and opened.session_id = session.session_id
      and not opened.is_continued
    where opened.view_key is not null
  ),

  numbered as (
    select
      ordered.*,
      count(*) filter (where not is_continued) over (
        partition by person_id, view_key
        order by at, is_continued, event_id
        rows unbounded preceding
      ) as opened_number
    from ordered
  ),

  found as (
    select
      numbered.*,
      first_value(started_at) over opened as opened_at,
      first_value(item_id) over opened as opened_item_id,
      opened_number > 0 as is_opened
    from numbered
    window opened as (partition by person_id, view_key, opened_number order by is_continued)
  ),

  resolved as (
    select
      found.*,
      coalesce(
        case when is_opened and opened_at >= started_at - v_setting.longest_view then opened_item_id end,
        (
          select event.item_id
          from track.event
          where event.person_id = found.person_id
            and event.occurred_at between found.started_at and found.ended_at
            and event.event_id = found.event_id
        )
      ) as new_item_id
    from found
    where found.is_continued
  ),

  changed as materialized (
    select person_id, session_id, view_number, started_at, ended_at, new_item_id
    from resolved
    where item_id is distinct from new_item_id
  ),

  rewritten as (
    select
      page_view.person_id,
      page_view.session_id,
      array_agg(
        case when changed.view_number is null then page_view.item_id else changed.new_item_id end
        order by page_view.view_number
      ) as item_ids
    from (select distinct person_id, session_id from changed) as affected
    join track.page_view
      on page_view.person_id = affected.person_id
      and page_view.session_id = affected.session_id
    left join changed
      on changed.person_id = page_view.person_id
      and changed.session_id = page_view.session_id
      and changed.view_number = page_view.view_number
    group by page_view.person_id, page_view.session_id
  ),

  stored as (
    update track.session
    set view_item_ids = case when array_remove(rewritten.item_ids, null) <> '{}' then rewritten.item_ids end
    from rewritten
    where session.person_id = rewritten.person_id
      and session.session_id = rewritten.session_id
  )

  select
    _continue_views.people || array_agg(changed.person_id),
    _continue_views.since || array_agg(changed.started_at),
    _continue_views.until || array_agg(changed.ended_at)
  into people, since, until
  from changed;
end;
$$;

comment on function track._continue_views(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Sets the items of continued page views after a change of the sessions in the given periods of people.
Each has the item of the last page view of the same `viewId` that was opened before it, at most
`track.setting.longest_view`, or later in the same session (the clocks of messages may differ), or else of its first
heartbeat. Reads only the sessions within this time after a period, and before the continued page views in them.
Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track._refresh_sessions(most_people int, without bigint[] default '{}')
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting track.setting;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_day_people bigint[];
  v_first_days date[];
  v_end_days date[];
  v_activity track.activity[];
  v_values track.value_activity[];
  v_has_values boolean;
  v_result track.refresh_result;
begin
  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  v_has_values := exists (select from track.declared_property as declared where declared.is_queued);
  select * into v_setting from track.setting;
  perform track._refresh_course_presence();

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct person_id
    from track.stale
    where person_id <> all (_refresh_sessions.without)
    order by person_id
    limit _refresh_sessions.most_people
  );

  with taken as (
    delete from track.stale
    where stale.person_id = any (v_picked)
    returning stale.person_id, stale.since, stale.until
  ),

  widened as (
    select
      taken.person_id,
      taken.since - v_setting.session_timeout as since,
      taken.until + v_setting.session_timeout as until
    from taken
  ),

  touched as (
    select widened.person_id, tstzrange(widened.since, widened.until, '[]') as period
    from widened

    union all

    -- The index is by the end of the session, and most changes are recent: earlier sessions are not read.
    select widened.person_id, tstzrange(session.started_at, session.ended_at, '[]')
    from widened
    join track.session
      on session.person_id = widened.person_id
      and session.ended_at >= widened.since
      and session.started_at <= widened.until
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from touched
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return row(0, 0, 0)::track.refresh_result;
  end if;

  perform track._convert_page_views(v_picked);

  -- The whole days that may change, also those of continued page views.
  select array_agg(changed.person_id), array_agg(changed.first_day), array_agg(changed.end_day)
  into v_day_people, v_first_days, v_end_days
  from (
    select
      period.person_id,
      min((period.since at time zone 'UTC')::date) as first_day,
      max((
        period.until + case
          when exists (
            select
            from track.session
            where session.person_id = period.person_id
              and session.view_continued is not null
              and session.ended_at >= period.since
              and session.started_at <= period.until + v_setting.longest_view
          ) then v_setting.longest_view
          else interval '0'
        end
      ) at time zone 'UTC')::date + 1 as end_day
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    group by period.person_id
  ) as changed;
  v_activity := array(select track.stored_activity(v_day_people, v_first_days, v_end_days));
  if v_has_values then
    v_values := array(select track.stored_values(v_day_people, v_first_days, v_end_days));
  end if;

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  if v_has_values then
    perform track._refresh_values(v_values, v_day_people, v_first_days, v_end_days);
  end if;
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track._refresh_sessions(int, bigint[]) is $$
Refreshes the data that is derived from the events of at most `most_people` people, in the order of their keys.
`without`: people who stay queued.
$$;
--! EndIncluded track/functions/_refresh_sessions.sql

--! Included track/functions/refresh.sql
create or replace function track._refresh_people(
  refresh text,
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  out failed bigint[],
  out error text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant bigint[] := array(select distinct person_id from unnest(people) as person_id order by person_id);
  v_middle constant bigint := v_all[cardinality(v_all) / 2];
  v_half record;
  v_rest record;
begin
  failed := '{}';
  begin
    execute format('select %I.%I($1, $2, $3)', split_part(refresh, '.', 1), split_part(refresh, '.', 2))
    using people, since, until;
    return;
  exception
    -- Errors that the data of one person may cause. Any other error ends the step; the next call tries again.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then
      get stacked diagnostics error = message_text;
  end;
  if cardinality(v_all) = 1 then
    failed := v_all;
    return;
  end if;

  for v_half in
    select
      array_agg(period.person_id) as people,
      array_agg(period.since) as since,
      array_agg(period.until) as until
    from unnest(people, since, until) as period (person_id, since, until)
    group by period.person_id <= v_middle
  loop
    v_rest := track._refresh_people(refresh, v_half.people, v_half.since, v_half.until);
    failed := failed || v_rest.failed;
  end loop;
end;
$$;

comment on function track._refresh_people(text, bigint[], timestamptz[], timestamptz[]) is $$
Calls the refresh function of a consumer for the given periods of people.
When it fails because of the data, the people are halved repeatedly, until those that fail are isolated and the others
are refreshed.
$$;

create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select from track.changed where changed.consumer = v_name) then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], left(v_outcome.error, 100);
  end if;
  return row(
    v_name,
    cardinality(v_picked) - cardinality(v_outcome.failed),
    cardinality(v_outcome.failed),
    left(v_outcome.error, 100)
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer. Those that fail are queued again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        left(v_error, 100);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then left(v_error, 100) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session', 'track.property'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select from track.stale) or exists (select from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.property') = 'track.property'
    and (
      exists (select from track.stale_property)
      or exists (select from track.declared_property as declared where not declared.is_queued)
    )
  then
    v_refreshed := track._refresh_all_properties(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), the values of new
declared properties (`track.property`), and the consumers of `track.consumer` in their order; `step` restricts it to
one of these steps. Returns one row per step that processed people. Call it until no row has `people` above 0, each call
in its own transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
--! EndIncluded track/functions/refresh.sql

--! Included track/person_sets/recompute_person_sets.sql
create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
  v_joined bigint[];
  v_departed bigint[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  with fresh as materialized (
    select
      changed.block,
      coalesce(stored.people, b'0'::bit(4096)) as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from track._person_set_bits(person_set, _recompute_person_set.people) as changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  moved as (
    select entry.person_id, get_bit(fresh.people, (entry.person_id % 4096)::int) <> 0 as is_member
    from fresh
    join unnest(_recompute_person_set.people) as entry (person_id)
      on entry.person_id / 4096 = fresh.block
      and get_bit(fresh.people # fresh.stored, (entry.person_id % 4096)::int) <> 0
    where fresh.people <> fresh.stored
  )

  select
    (select array_agg(fresh.block) from fresh where fresh.people <> fresh.stored),
    (select array_agg(fresh.people) from fresh where fresh.people <> fresh.stored),
    array(select distinct moved.person_id from moved where moved.is_member),
    array(select distinct moved.person_id from moved where not moved.is_member)
  into v_blocks, v_people, v_joined, v_departed;

  if v_blocks is null then
    return;
  end if;
  perform track._move_sums(v_name, v_joined, v_departed);
  -- Those whose members are computed change with another input.
  if (person_set).members is null then
    perform track._enqueue('set', v_joined || v_departed);
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

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
The sums that contain the people of the set follow (`track._move_sums`).
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._recompute_person_set(person_set, recompute_person_sets.people)
  from track.person_set
  where person_set.consumer = recompute_person_sets.consumer
    and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name);
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
--! EndIncluded track/person_sets/recompute_person_sets.sql

--! Included track/person_sets/define_person_set.sql
create or replace function track.define_person_set(
  name text,
  description text,
  members text,
  consumer text default 'track.person_set',
  queue_people boolean default true
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_marked bigint;
begin
  perform track._check_set_name(define_person_set.name);
  if define_person_set.members is null
    or define_person_set.members !~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'
    or to_regprocedure(define_person_set.members || '(text, bigint[])') is null
  then
    perform common.refuse(
      'CF002',
      format('there is no function %s(text, bigint[])', coalesce(left(define_person_set.members, 100), 'null')),
      'Give the name of a function room.function(set_name text, people bigint[]) that returns those who belong.'
    );
  end if;

  insert into track.person_set (name, description, members, consumer)
  values (
    define_person_set.name, define_person_set.description, define_person_set.members, define_person_set.consumer
  )
  on conflict on constraint person_set_pkey do update
  set description = excluded.description, members = excluded.members, consumer = excluded.consumer;
  delete from track.person_set_member where person_set_member.name = define_person_set.name;

  if not coalesce(define_person_set.queue_people, true) then
    return 0;
  end if;

  -- The refresh fills the set, a number of people in each call.
  insert into track.changed (person_id, consumer, since, until)
  select person.person_id, define_person_set.consumer, '-infinity', 'infinity'
  from track.person
  where person.person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.define_person_set(text, text, text, text, boolean) is $$
@behavior -*
Registers a set whose members a function returns, or replaces it. Returns the number of people that are queued.
`members`: the name of a function `room.function(set_name text, people bigint[]) returns setof bigint`, which returns
those of the given people who belong. `consumer`: the consumer of the refresh that recomputes changed people. The set
is complete when the queue of that consumer has been processed; a set that is replaced keeps its former members until
then. For the owner, because `track.refresh` calls the function with the owner's rights.
Errors: CF001 for an invalid name, CF002 for a function that does not exist.
$$;
--! EndIncluded track/person_sets/define_person_set.sql

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
  perform track._enqueue('set', array(select track.person_set_members(v_set.name)));
  delete from track.person_set where person_set.name = v_set.name;
end;
$$;

comment on function track.undefine_person_set(text) is $$
@behavior -*
Removes a set of people, whether its members are computed or listed: the reverse of `track.define_person_set`.
For the owner. Errors: CF002 for an unknown set.
$$;
--! EndIncluded track/person_sets/undefine_person_set.sql

--! Included track/person_sets/drop_person_set.sql
create or replace function track.drop_person_set(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the tables of sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(drop_person_set.name);
begin
  if v_set.members is not null then
    perform common.refuse(
      'CF001',
      format('"%s" is computed by %s', v_set.name, v_set.members),
      'Only sets whose members are listed can be dropped.'
    );
  end if;
  perform track.undefine_person_set(v_set.name);
end;
$$;

comment on function track.drop_person_set(text) is $$
Drops a set whose members are listed.
Errors: CF001 for a set with computed members, CF002 for an unknown set.
$$;

grant execute on function track.drop_person_set(text) to insights_admin;
--! EndIncluded track/person_sets/drop_person_set.sql

--! Included track/person_sets/members_among.sql
create or replace function track.members_among(name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return query
  select bits.block::bigint * 4096 + entry.person_id % 4096
  from track.person_set
  cross join lateral track._person_set_bits(person_set, members_among.people) as bits
  join (select distinct given.person_id from unnest(members_among.people) as given (person_id)) as entry
    on entry.person_id / 4096 = bits.block
    and get_bit(bits.members, (entry.person_id % 4096)::int) <> 0
  where person_set.name = members_among.name;
end;
$$;

comment on function track.members_among(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a set, computed from its definition.
That is as of now, also for people who are queued for a refresh. A set that does not exist has no people.
$$;

grant execute on function track.members_among(text, bigint[]) to insights_reader;
--! EndIncluded track/person_sets/members_among.sql

--! Included track/person_sets/person_set_blocks.sql
create or replace function track.person_set_blocks(set_name text)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_set constant track.person_set := track._find_person_set(person_set_blocks.set_name);
  v_queued constant bigint[] := array(
    select changed.person_id
    from track.changed
    where changed.consumer = v_set.consumer
      and changed.person_id <> 0

    union

    -- Queued for the consumer after the refresh of their sessions. The sets of track.person_set read no events.
    select stale.person_id
    from track.stale
    join track.consumer on consumer.consumer = v_set.consumer and 'event' = any (consumer.inputs)
    where v_set.consumer <> 'track.person_set'
      and stale.person_id <> 0
  );
begin
  if v_queued = '{}' then
    return query
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = v_set.name;
    return;
  end if;

  return query
  select
    coalesce(stored.block, queued.block),
    coalesce(stored.people & ~queued.given | queued.members, stored.people, queued.members)
  from (
    select person_set_block.block, person_set_block.people
    from track.person_set_block
    where person_set_block.name = v_set.name
  ) as stored
  full join track._person_set_bits(v_set, v_queued) as queued on queued.block = stored.block;
end;
$$;

comment on function track.person_set_blocks(text) is $$
@behavior -*
Returns the people of a set as `track.person_set_block` stores them, with the people that are queued for a refresh.
It is therefore exact at any moment. Errors: CF002 for an unknown set.
$$;

grant execute on function track.person_set_blocks(text) to insights_reader;
--! EndIncluded track/person_sets/person_set_blocks.sql

--! Included track/properties/declare_property.sql
create or replace function track.declare_property(event_name text, property text, most_values int default 50)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.declared_property, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_type constant track.event_type := track._known_event_type(declare_property.event_name);
  v_type_id constant int := coalesce(v_type.merged_event_type_id, v_type.event_type_id);
  v_is_new boolean;
begin
  perform common.check_count('most_values', declare_property.most_values, 1, 1000);
  if coalesce(declare_property.property, '') = '' then
    perform common.refuse(
      'CF001',
      format('property is %s', case declare_property.property when '' then 'empty' else 'null' end),
      'Give the name of a property of the event, such as "plan".'
    );
  end if;
  if length(declare_property.property) > 200 then
    perform common.refuse(
      'CF008',
      format('property has %s characters', length(declare_property.property)),
      'The name of a declared property has 200 at most.'
    );
  end if;
  if (select count(*) from track.declared_property) >= 100
    and not exists (
      select
      from track.declared_property as known
      where known.event_type_id = v_type_id
        and known.property = declare_property.property
    )
  then
    perform common.refuse(
      'CF008',
      format('100 properties are declared, "%s" would be one more', left(declare_property.property, 100)),
      'Each one takes space for each event. Remove one by track.undeclare_property.'
    );
  end if;

  insert into track.declared_property (event_type_id, property, most_values)
  values (v_type_id, declare_property.property, declare_property.most_values)
  on conflict on constraint declared_property_event_type_id_property_key do update
  set most_values = excluded.most_values
  returning xmax = 0 into v_is_new;
  return v_is_new;
end;
$$;

comment on function track.declare_property(text, text, int) is $$
Declares a property of an event: its values are then maintained by the refresh, and breakdowns by it are fast.
Without, they are read from the events. `most_values`: how many values analyses show, those with the most events in the
period; the rest is `other`. A further call changes this number. True when the property was not declared before.
The stored events follow with the next calls of `track.refresh` (step `track.property`); until it has read all people,
analyses read the events as before. `track.undeclare_property` reverses it.
Errors: CF001 for an empty property or an invalid `most_values` (1 to 1000), CF002 for an unknown event, CF008 for a
property of more than 200 characters and for more than 100 properties.
$$;

grant execute on function track.declare_property(text, text, int) to insights_admin;
--! EndIncluded track/properties/declare_property.sql

--! Included track/properties/undeclare_property.sql
create or replace function track.undeclare_property(event_name text, property text)
returns boolean
language plpgsql
volatile
-- A definer: it deletes from tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_type constant track.event_type := track._known_event_type(undeclare_property.event_name);
  v_type_id constant int := coalesce(v_type.merged_event_type_id, v_type.event_type_id);
  v_properties int[];
begin
  -- A refresh would write further values.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- Those of the names that were merged into it too, because the next merge would copy them.
  v_properties := array(
    select declared.property_id
    from track.declared_property as declared
    join track.event_type as known on known.event_type_id = declared.event_type_id
    where declared.property = undeclare_property.property
      and v_type_id in (known.event_type_id, known.merged_event_type_id)
  );
  if v_properties = '{}' then
    return false;
  end if;
  delete from track.stale_property where stale_property.property_id = any (v_properties);
  delete from track.step_value where step_value.property_id = any (v_properties);
  delete from track.value_presence where value_presence.property_id = any (v_properties);
  delete from track.property_value where property_value.property_id = any (v_properties);
  delete from track.declared_property where declared_property.property_id = any (v_properties);
  return true;
end;
$$;

comment on function track.undeclare_property(text, text) is $$
Reverses `track.declare_property` and removes what is stored of the values. False when the property was not declared.
Analyses by it read the events from then on. It waits for a running refresh.
Errors: CF002 for an unknown event.
$$;

grant execute on function track.undeclare_property(text, text) to insights_admin;
--! EndIncluded track/properties/undeclare_property.sql

--! Included track/properties/is_property_complete.sql
create or replace function track.is_property_complete(event_type_id int, property text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select
      declared.is_queued
        and not exists (
          select from track.stale_property where stale_property.property_id = declared.property_id
        )
    from track.declared_property as declared
    where declared.event_type_id = is_property_complete.event_type_id
      and declared.property = is_property_complete.property
  );
end;
$$;

comment on function track.is_property_complete(int, text) is $$
@behavior -*
Returns whether the values of a declared property are stored for all people, so that `track.value_days` has rows.
Null when the property is not declared for the event type. `event_type_id`: not that of a merged event.
$$;

grant execute on function track.is_property_complete(int, text) to insights_reader, insights_admin, insights_worker;
--! EndIncluded track/properties/is_property_complete.sql

--! Included track/properties/value_days.sql
create or replace function track.value_days(
  event_type_id int,
  property text,
  first_day date,
  end_day date,
  bounds date[] default null
)
returns table (
  value text,
  day date,
  block int,
  people bit(4096),
  event_count bigint,
  counted_count bigint,
  is_other boolean
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the queue.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(16384) := b'0'::bit(16384);
  v_no_block constant bit(4096) := b'0'::bit(4096);
  v_declared track.declared_property;
  v_queued record;
begin
  if track.is_property_complete(value_days.event_type_id, value_days.property) is not true then
    return;
  end if;
  select declared.* into v_declared
  from track.declared_property as declared
  where declared.event_type_id = value_days.event_type_id
    and declared.property = value_days.property;
  v_queued := track.queued_days(value_days.first_day, value_days.end_day);

  return query
  with known as materialized (
    select property_value.value_id, '=' || property_value.value as key
    from track.property_value
    where property_value.property_id = v_declared.property_id
    union all
    values (0, '')
  ),

  -- The changes of the next refresh.
  queued as (
    select activity.person_id, activity.day, known.key, -activity.event_count as event_count, true as was
    from track.stored_values(v_queued.people, v_queued.first_days, v_queued.end_days, v_declared.property_id)
      as activity
    join known on known.value_id = activity.value_id
    union all
    select activity.person_id, activity.day, coalesce('=' || activity.value, ''), activity.event_count, false
    from track.event_values(
      v_queued.people, v_queued.first_days, v_queued.end_days, value_days.event_type_id, value_days.property
    ) as activity
  ),

  excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  judged as (
    select
      queued.*,
      coalesce(
        get_bit(
          case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_excluded,
      coalesce(
        get_bit(
          case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_counted
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join counted on counted.block = queued.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
  ),

  change_block as (
    select
      judged.key, judged.day, (judged.person_id / 4096)::int as block,
      bit_or(track.person_bit(judged.person_id)) filter (where judged.was) as cleared,
      bit_or(track.person_bit(judged.person_id)) filter (where not judged.was and judged.person_id <> 0) as added,
      sum(judged.event_count) filter (where not judged.is_excluded) as event_count,
      sum(judged.event_count) filter (where judged.is_counted) as counted_count
    from judged
    group by 1, 2, 3
  ),

  change as (
    select
      change_block.key, change_block.day, change_block.block / 4 as part,
      (
        coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 0), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 1), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 2), v_no_block)
        || coalesce(bit_or(change_block.cleared) filter (where change_block.block % 4 = 3), v_no_block)
      )::bit(16384) as cleared,
      (
        coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 0), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 1), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 2), v_no_block)
        || coalesce(bit_or(change_block.added) filter (where change_block.block % 4 = 3), v_no_block)
      )::bit(16384) as added,
      sum(change_block.event_count) as event_count,
      sum(change_block.counted_count) as counted_count
    from change_block
    group by 1, 2, 3
  ),

  stored as (
    select
      known.key, value_presence.day, value_presence.part, value_presence.people, value_presence.event_count,
      value_presence.counted_count
    from track.value_presence
    join known on known.value_id = value_presence.value_id
    where value_presence.property_id = v_declared.property_id
      and value_presence.day >= value_days.first_day
      and value_presence.day < value_days.end_day
  ),

  -- Each row as of now. A stored row that does not change stays compressed.
  current as materialized (
    select
      coalesce(stored.key, change.key) as key,
      coalesce(stored.day, change.day) as day,
      coalesce(stored.part, change.part) as part,
      case
        when change.cleared is null then stored.people
        else coalesce(stored.people & ~change.cleared, v_no_people) | change.added
      end as people,
      coalesce(stored.event_count, 0) + coalesce(change.event_count, 0) as event_count,
      coalesce(stored.counted_count, 0) + coalesce(change.counted_count, 0) as counted_count
    from stored
    full join change on change.key = stored.key and change.day = stored.day and change.part = stored.part
  ),

  ranked as (
    select
      current.key,
      row_number() over (order by sum(current.event_count) desc, current.key collate "C") > v_declared.most_values
        and row_number() over (order by sum(current.counted_count) desc, current.key collate "C")
          > v_declared.most_values as is_other
    from current
    where current.key <> ''
    group by current.key
  ),

  summed as (
    select
      coalesce(ranked.is_other, false) as is_other,
      case when not ranked.is_other then substr(current.key, 2) end as value,
      case
        when value_days.bounds is null then current.day
        else value_days.bounds[width_bucket(current.day, value_days.bounds)]
      end as day,
      current.part,
      bit_or(current.people) as people,
      sum(current.event_count) as event_count,
      sum(current.counted_count) as counted_count
    from current
    left join ranked on ranked.key = current.key
    group by 1, 2, 3, 4
  ),

  divided as (
    select
      summed.value, summed.is_other, summed.day, summed.part * 4 + piece as block,
      substring(summed.people from piece * 4096 + 1 for 4096)::bit(4096) as people,
      case piece when 0 then summed.event_count else 0 end as event_count,
      case piece when 0 then summed.counted_count else 0 end as counted_count
    from summed
    cross join generate_series(0, 3) as piece
  )

  select
    divided.value, divided.day, divided.block, divided.people, divided.event_count::bigint,
    divided.counted_count::bigint, divided.is_other
  from divided
  where bit_count(divided.people) > 0
    or divided.event_count > 0;
end;
$$;

comment on function track.value_days(int, text, date, date, date[]) is $$
@behavior -*
Returns who did an event, by value of a declared property and day (UTC), exact as of now, with queued people.
`end_day` exclusive. `bounds`: rows are by the days from one of these to the next one, of which `day` is the first;
null: by day. `day` is null before the first bound.
`people` as in `track.presence`, with people who are excluded. `event_count`: events of people who are not excluded,
`counted_count`: of the set `counted`; they are those of four blocks and are in the row of the first of these, so that
only their sum over all blocks of a value and day has a meaning.
`value` is null for events without the property, and for the rest (`is_other`). Named are the values with the most
events in the period, as many as declared, and those with the most events of counted people; of equal ones the first in
byte order. This depends on the events alone, and not on the order of their arrival.
Without rows when the property is not declared or not complete: see `track.is_property_complete`. Read the events then.
$$;

grant execute on function track.value_days(int, text, date, date, date[]) to insights_reader, insights_admin;
--! EndIncluded track/properties/value_days.sql

--! Included track/properties/value_buckets.sql
create or replace function track.value_buckets(event_type_id int, property text, bounds timestamptz[])
returns table (person_id bigint, bucket int, value text, event_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the queue.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_first_day constant date := (v_since at time zone 'UTC')::date;
  v_end_day constant date := (v_until at time zone 'UTC')::date + 1;
  v_property_id int;
  v_queued record;
begin
  if track.is_property_complete(value_buckets.event_type_id, value_buckets.property) is not true then
    return;
  end if;
  v_property_id := (
    select declared.property_id
    from track.declared_property as declared
    where declared.event_type_id = value_buckets.event_type_id
      and declared.property = value_buckets.property
  );
  v_queued := track.queued_days(v_first_day, v_end_day);

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', v_since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', v_until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  -- For a queued person: the events before and after the days that are queued.
  journey as (
    select step.person_id, step.occurred_at, step_value.value_ids, queued.since, queued.until
    from track.step
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = v_property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    left join queued on queued.person_id = step.person_id
    where step.event_type_id = value_buckets.event_type_id
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  counted as (
    select journey.person_id, placed.bucket, placed.value_id, placed.event_count
    from journey
    cross join lateral (
      select
        width_bucket(journey.since - interval '1 microsecond', journey.occurred_at) as queued_since,
        width_bucket(journey.until - interval '1 microsecond', journey.occurred_at) as queued_until,
        width_bucket(v_since - interval '1 microsecond', journey.occurred_at) as since,
        width_bucket(v_until - interval '1 microsecond', journey.occurred_at) as until
    ) as place
    cross join lateral (
      select
        width_bucket(happened.occurred_at, value_buckets.bounds) as bucket,
        coalesce(happened.value_id, 0) as value_id,
        count(*) as event_count
      from unnest(
        case
          when journey.since is null then journey.occurred_at[place.since + 1:place.until]
          else journey.occurred_at[place.since + 1:place.queued_since]
            || journey.occurred_at[place.queued_until + 1:place.until]
        end,
        case
          when journey.since is null then journey.value_ids[place.since + 1:place.until]
          else journey.value_ids[place.since + 1:place.queued_since]
            || journey.value_ids[place.queued_until + 1:place.until]
        end
      ) as happened (occurred_at, value_id)
      group by 1, 2
    ) as placed
    where place.since < place.until
  )

  select counted.person_id, counted.bucket, property_value.value, counted.event_count
  from counted
  left join track.property_value on property_value.value_id = counted.value_id

  union all

  select
    event.person_id, width_bucket(event.occurred_at, value_buckets.bounds),
    left(event.properties ->> value_buckets.property, 200), count(*)
  from queued
  join track.event
    on event.person_id = queued.person_id
    and event.occurred_at >= queued.since
    and event.occurred_at < queued.until
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and event.event_type_id = value_buckets.event_type_id
  group by 1, 2, 3;
end;
$$;

comment on function track.value_buckets(int, text, timestamptz[]) is $$
@behavior -*
Returns the numbers of events of a type per person, bucket and value of a declared property, exact as of now.
`bounds`: ascending bounds of the buckets, of any length; bucket n is from bound n to bound n + 1. A person may have
several rows of a bucket and value. Read from the journeys, also of people who are excluded. `value` null: none.
Without rows when the property is not declared or not complete: see `track.is_property_complete`. Read the events then.
$$;

grant execute on function track.value_buckets(int, text, timestamptz[]) to insights_reader, insights_admin;
--! EndIncluded track/properties/value_buckets.sql

--! Included track/trust/_check_step_values.sql
create or replace function track._check_step_values(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_result track.rollup_comparison;
  v_people bigint[];
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  fresh as (
    select
      event.person_id,
      declared.property_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(valued.value order by event.occurred_at, coalesce(event.item_id, 0), valued.value collate "C") as found
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    cross join lateral (select substr(event.properties ->> declared.property, 1, 200) as value) as valued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
      and not exists (
        select
        from track.stale_property as missing
        where missing.person_id = event.person_id
          and missing.property_id = declared.property_id
      )
    group by 1, 2, 3, 4
  ),

  journey as (
    select
      step.person_id, declared.property_id, step.is_automatic, step.since,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until,
      cardinality(step.occurred_at) as length
    from track.step
    join track.declared_property as declared on declared.event_type_id = step.event_type_id and declared.is_queued
    where step.person_id between v_first and v_last
      and step.since > _check_step_values.month - 366
      and step.since < v_end
      and not exists (
        select
        from track.stale_property as missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
  ),

  stored as (
    select
      person_id, property_id, is_automatic, since,
      -- A row without a journey, or of another length, never agrees.
      coalesce(cardinality(step_value.value_ids) <> journey.length, journey.person_id is null) as is_wrong,
      case
        when step_value.value_ids is null then array_fill(null::text, array[journey.until - journey.before])
        else (
          select array_agg(
            case place.value_id
              when 0 then null
              else coalesce(property_value.value, format('unknown value %s', place.value_id))
            end
            order by place.number
          )
          from unnest(step_value.value_ids[journey.before + 1:journey.until])
            with ordinality as place (value_id, number)
          left join track.property_value on property_value.value_id = place.value_id
        )
      end as found
    from journey
    full join (
      select step_value.*
      from track.step_value
      where step_value.person_id between v_first and v_last
        and step_value.since > _check_step_values.month - 366
        and step_value.since < v_end
        and not exists (
          select
          from track.stale_property as missing
          where missing.person_id = step_value.person_id
            and missing.property_id = step_value.property_id
        )
    ) as step_value using (person_id, property_id, is_automatic, since)
    where person_id <> all ((select queued.people from queued)::bigint[])
      and (
        journey.person_id is null
        or journey.before < journey.until
        or cardinality(step_value.value_ids) <> journey.length
      )
  ),

  compared as (
    select
      person_id, property_id, is_automatic, since,
      stored.is_wrong is true
        or coalesce(stored.found, '{}') is distinct from coalesce(fresh.found, '{}') as is_different
    from stored
    full join fresh using (person_id, property_id, is_automatic, since)
  )

  select
    count(*),
    count(*) filter (where compared.is_different),
    min(format('person %s, declared property %s, %s', compared.person_id, compared.property_id, compared.since))
      filter (where compared.is_different),
    array_agg(distinct compared.person_id) filter (where compared.is_different)
  into v_result.checked, v_result.differing, v_result.example, v_people
  from compared;

  if is_repair and v_people is not null then
    perform track._rewrite_step_values(v_people);
  end if;
  return v_result;
end;
$$;

comment on function track._check_step_values(date, int, boolean) is $$
Compares `track.step_value` with the events of a month and a block of people.
`is_repair`: writes the rows of the people that differ again.
$$;

create or replace function track._rewrite_step_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_days constant date[] := array_fill('-infinity'::date, array[cardinality(people)]);
  v_end_days constant date[] := array_fill('infinity'::date, array[cardinality(people)]);
begin
  perform track._refresh_step_values(people, v_first_days, v_end_days, null);
end;
$$;

comment on function track._rewrite_step_values(bigint[]) is $$
Recomputes all rows of `track.step_value` of people.
$$;
--! EndIncluded track/trust/_check_step_values.sql

--! Included track/trust/_check_value_presence.sql
create or replace function track._check_value_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_part constant int := block / 4;
  v_first constant bigint := v_part::bigint * 16384;
  v_last constant bigint := v_first + 16383;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_nobody constant bit(16384) := b'0'::bit(16384);
  v_one constant bit(16384) := b'1'::bit(16384);
  v_result track.rollup_comparison;
begin
  -- A row has the people of four blocks: it is compared with the first of these.
  if exists (
    select from track.person where person.person_id >= v_first and person.person_id < block::bigint * 4096
  ) then
    return row(0, 0, null, null)::track.rollup_comparison;
  end if;

  if is_repair then
    perform track._enter_values(
      listed.people,
      array_fill(_check_value_presence.month, array[cardinality(listed.people)]),
      array_fill(v_end, array[cardinality(listed.people)]),
      null
    )
    from (
      select array_agg(person.person_id) as people
      from track.person
      where person.person_id between v_first and v_last
    ) as listed
    where listed.people is not null;
  end if;

  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  raw as materialized (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      declared.property_id,
      substr(event.properties ->> declared.property, 1, 200) as value,
      event.person_id = any ((select queued.people from queued)::bigint[])
        or exists (
          select
          from track.stale_property as missing
          where missing.person_id = event.person_id
            and missing.property_id = declared.property_id
        ) as is_queued
    from track.event
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  fresh as (
    select
      raw.property_id,
      coalesce('=' || raw.value, '') as key,
      raw.day,
      coalesce(
        bit_or(v_one >> (raw.person_id % 16384)::int) filter (where raw.person_id <> 0 and not raw.is_queued), v_nobody
      ) as people,
      (count(*) filter (where person.is_excluded is not true and not raw.is_queued))::int as event_count,
      (count(*) filter (where person.is_counted and not raw.is_queued))::int as counted_count
    from raw
    left join track._rollup_people(v_first, v_last) as person on person.person_id = raw.person_id
    group by 1, 2, 3
  ),

  -- Queued people are compared with nothing: their bits stay, and numbers that contain their events too.
  left_out as (
    select
      activity.property_id,
      case activity.value_id when 0 then '' else '=' || property_value.value end as key,
      activity.day,
      bit_or(v_one >> (activity.person_id % 16384)::int) as people
    from queued
    cross join track._unrefreshed_values(queued.people, _check_value_presence.month, v_end) as activity
    left join track.property_value on property_value.value_id = activity.value_id
    group by 1, 2, 3
  ),

  stored as (
    select
      value_presence.*,
      case value_presence.value_id
        when 0 then ''
        else coalesce('=' || property_value.value, format('unknown value %s', value_presence.value_id))
      end as key
    from track.value_presence
    left join track.property_value on property_value.value_id = value_presence.value_id
    where value_presence.day >= _check_value_presence.month
      and value_presence.day < v_end
      and value_presence.part = v_part
  ),

  compared as (
    select
      property_id, key, day, stored.value_id,
      coalesce(stored.people, v_nobody) as stored_people,
      coalesce(stored.event_count, 0) as stored_count,
      coalesce(stored.counted_count, 0) as stored_counted,
      coalesce(stored.people, v_nobody) & coalesce(left_out.people, v_nobody) | coalesce(fresh.people, v_nobody)
        as people,
      case when left_out.day is null then coalesce(fresh.event_count, 0) else coalesce(stored.event_count, 0) end
        as event_count,
      case when left_out.day is null then coalesce(fresh.counted_count, 0) else coalesce(stored.counted_count, 0) end
        as counted_count
    from stored
    full join fresh using (property_id, key, day)
    left join left_out using (property_id, key, day)
    where stored.day is not null
      or fresh.event_count > 0
      or bit_count(fresh.people) > 0
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (compared.stored_people, compared.stored_count, compared.stored_counted)
  ),

  deleted as (
    delete from track.value_presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and value_presence.property_id = differing.property_id
      and value_presence.value_id = differing.value_id
      and value_presence.day = differing.day
      and value_presence.part = v_part
  ),

  written as (
    insert into track.value_presence (property_id, value_id, day, part, people, event_count, counted_count)
    select
      differing.property_id, coalesce(differing.value_id, named.value_id), differing.day, v_part, differing.people,
      differing.event_count, differing.counted_count
    from differing
    left join (
      select property_value.property_id, property_value.value_id, '=' || property_value.value as key
      from track.property_value
      union all
      select declared.property_id, 0, ''
      from track.declared_property as declared
    ) as named using (property_id, key)
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
      and coalesce(differing.value_id, named.value_id) is not null
    on conflict on constraint value_presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('declared property %s, %s, part %s', differing.property_id, differing.day, v_part)
      from differing
      order by differing.property_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_value_presence(date, int, boolean) is $$
Compares `track.value_presence` with the events of a month, and of the part of 16,384 people that begins with a block.
Other blocks are not compared. `is_repair`: writes what the events give.
$$;

create or replace function track._unrefreshed_values(people bigint[], first_day date, end_day date)
returns setof track.value_activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_values(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_values(bigint[], date, date) is $$
Returns the values of queued people that the rollups still contain, whose cells are not compared.
$$;
--! EndIncluded track/trust/_check_value_presence.sql

--! Included track/trust/check_rollups.sql
/*
 * A check compares the rows of a month and a block of 4,096 people. The next check takes the next block, and after the
 * last one the next month, so that all rows are compared in turn. Sums of all people are compared for the day of the
 * month whose last check is the oldest, and for some items of the month.
 */
create or replace function track._next_check(out month date, out block int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last track.rollup_check;
  v_months date[];
  v_newest bigint;
begin
  select * into v_last from track.rollup_check order by rollup_check.check_id desc limit 1;
  v_newest := coalesce((select max(person.person_id) from track.person), 0) / 4096;
  -- The months of the partitions, and those of rows without events.
  v_months := array(
    select to_date(substr(partition.relname, 7), 'YYYY_MM')
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and partition.relname ~ '^event_\d{4}_\d\d$'
      and to_date(substr(partition.relname, 7), 'YYYY_MM') <= (now() at time zone 'UTC')::date + 31
    union
    select item_month.month
    from track.item_month
    order by 1
  );
  if v_last.month = any (v_months) and v_last.block < v_newest then
    month := v_last.month;
    block := (
      select min(person.person_id) / 4096
      from track.person
      where person.person_id >= (v_last.block + 1)::bigint * 4096
    );
  else
    -- From the latest month back, and then again from the latest.
    month := coalesce(
      (select max(listed) from unnest(v_months) as listed where listed < v_last.month),
      v_months[cardinality(v_months)]
    );
    block := 0;
  end if;
end;
$$;

comment on function track._next_check() is $$
Returns the month and the block of people of the next check, from the last one. Null without any month of events.
$$;

create or replace function track._check_block(month date, block int)
returns setof track.rollup_check
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_check_id constant bigint := coalesce((select max(rollup_check.check_id) from track.rollup_check), 0) + 1;
  v_day date;
  v_items bigint[];
  v_rollup text;
  v_rollups text[] := array[
    'track.step', 'track.presence', 'track.item_month', 'track.item_month sums', 'track.course_presence',
    'track.item_day'
  ];
  v_started timestamptz;
  v_found track.rollup_comparison;
  v_row track.rollup_check;
begin
  v_day := (
    select listed::date
    from generate_series(_check_block.month, _check_block.month + interval '1 month - 1 day', '1 day') as listed
    left join track.rollup_check as earlier on earlier.rollup = 'track.item_day' and earlier.day = listed::date
    group by listed
    order by max(earlier.check_id) nulls first, listed
    limit 1
  );
  v_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.month = _check_block.month
    group by item_month.item_id
    order by random()
    limit 100
  );

  if exists (select from track.declared_property as declared where declared.is_queued) then
    v_rollups := v_rollups || array['track.step_value', 'track.value_presence'];
  end if;
  foreach v_rollup in array v_rollups loop
    v_started := clock_timestamp();
    -- First without the lock of the refresh. Under it, the differences are those that no refresh is about to change.
    for v_attempt in 1 .. 2 loop
      v_found := case v_rollup
        when 'track.step' then track._check_steps(month, block, v_attempt = 2)
        when 'track.presence' then track._check_presence(month, block, v_attempt = 2)
        when 'track.item_month' then track._check_item_months(month, block, v_attempt = 2)
        when 'track.item_month sums' then track._check_item_sums(month, v_items, v_attempt = 2)
        when 'track.step_value' then track._check_step_values(month, block, v_attempt = 2)
        when 'track.value_presence' then track._check_value_presence(month, block, v_attempt = 2)
        when 'track.course_presence' then track._check_course_presence(month, block, v_attempt = 2)
        else track._check_item_days(v_day, v_attempt = 2)
      end;
      exit when v_found.differing = 0;
      perform pg_advisory_xact_lock(hashtext('track.refresh'));
    end loop;
    v_items := v_items || coalesce(v_found.items, '{}');

    insert into track.rollup_check (
      check_id, rollup, checked_at, month, block, day, checked, differing, example, duration
    )
    values (
      v_check_id, v_rollup, v_started, month, block, case when v_rollup = 'track.item_day' then v_day end,
      v_found.checked, v_found.differing, v_found.example, clock_timestamp() - v_started
    )
    returning * into v_row;
    return next v_row;
  end loop;
end;
$$;

comment on function track._check_block(date, int) is $$
Compares the rollups of a month and a block of people with the events, repairs what differs, and records the result.
$$;

create or replace function track.check_rollups(checks int default 1)
returns setof track.rollup_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set jit to off
as $$
declare
  v_next record;
begin
  perform common.check_count('checks', check_rollups.checks, 1, 100);
  -- One at a time: two would check the same block.
  perform pg_advisory_xact_lock(hashtext('track.check_rollups'));
  for v_check in 1 .. check_rollups.checks loop
    -- With a long queue most cells could not be compared, and the work would not be bounded.
    if (select count(*) from (select from track.stale limit 10001) as queued) > 10000
      or (select count(*) from (select from track.changed limit 10001) as queued) > 10000
    then
      exit;
    end if;
    v_next := track._next_check();
    exit when v_next.month is null;
    return query select checked.* from track._check_block(v_next.month, v_next.block) as checked;
  end loop;
  delete from track.rollup_check
  where rollup_check.check_id <= (select max(latest.check_id) from track.rollup_check as latest) - 10000;
end;
$$;

comment on function track.check_rollups(int) is $$
@behavior -*
Compares a sample of the rollups with the events, repairs what differs, and records the result; one row per rollup.
These are `track.step`, `presence`, `item_month`, `course_presence` and `item_day`, and with declared properties
`step_value` and `value_presence`. One check is a month and 4,096
people; each takes the next ones, so that all are compared in turn. What is queued for a refresh is not compared, and
nothing is checked while more than 10,000 changes are queued. `differing` is the number of cells that were wrong: they
are written again from the events. `track.rollup_trust` summarizes the results.
From the first difference on, refreshes wait for the end of the transaction: prefer many calls to many checks.
Errors: CF001 for fewer than one check, or more than 100.
$$;

grant execute on function track.check_rollups(int) to insights_admin, insights_worker;
--! EndIncluded track/trust/check_rollups.sql

--! Included track/person_sets/list_person_set.sql
create or replace function track.list_person_set(name text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set constant track.person_set := track._find_person_set(list_person_set.name);
begin
  -- The locks of track._list_people and of track.refresh, in their order.
  perform pg_advisory_xact_lock(hashtext('track.person_set'));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- A person has the key of one of its identities.
  insert into track.person_set_member (name, identity_id)
  select v_set.name, member.person_id
  from track.person_set_members(v_set.name) as member (person_id)
  on conflict do nothing;
  update track.person_set
  set members = null, consumer = 'track.person_set'
  where person_set.name = v_set.name;
  return track._person_set_size(v_set.name);
end;
$$;

comment on function track.list_person_set(text) is $$
@behavior -*
Makes a computed set a list of its present members, as of the last refresh. Returns the number of people.
From then on it follows merges of people and their reversal only. For the owner. Errors: CF002 for an unknown set.
$$;
--! EndIncluded track/person_sets/list_person_set.sql

--! Included track/person_sets/exclude_person.sql
create or replace function track.exclude_person(person text, reason text, note text default null)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.exclusion, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id bigint;
  v_is_new boolean;
begin
  if exclude_person.reason is null
    or exclude_person.reason not in ('staff', 'test', 'bot', 'service_account')
  then
    perform common.refuse(
      'CF001',
      format('reason is "%s"', coalesce(left(exclude_person.reason, 100), 'null')),
      'Use staff, test, bot or service_account.'
    );
  end if;
  if length(exclude_person.note) > 1000 then
    perform common.refuse('CF008', format('the note has %s characters', length(exclude_person.note)),
      'It can have at most 1,000.');
  end if;
  v_identity_id := track._identity_to_exclude(exclude_person.person);

  insert into track.exclusion (identity_id, reason, note, excluded_by)
  values (
    v_identity_id, exclude_person.reason, exclude_person.note,
    common.author()
  )
  on conflict on constraint exclusion_pkey do update
  set reason = excluded.reason, note = excluded.note
  returning xmax = 0 into v_is_new;
  perform track._enqueue('identity', array(
    select identity.person_id from track.identity where identity.identity_id = v_identity_id
  ));
  return v_is_new;
end;
$$;

comment on function track.exclude_person(text, text, text) is $$
Excludes a person from popularity, from training and from the smallest group of figures. False when already excluded.
`reason`: `staff`, `test`, `bot` or `service_account`; a further call replaces reason and note. The person can still
use everything, recommendations included. Her identity is excluded: after a link the whole person, after an unlink the
one with this name. It takes effect at the next refresh (`track.refresh`, every minute); the list of popular items for
new people follows at the next `analytics.refresh_views` (hourly), models at their next training.
`track.include_person` reverses it.
Errors: CF001 for another reason, CF002 for an unknown name, CF008 for a note that is too long.
$$;

grant execute on function track.exclude_person(text, text, text) to insights_admin;
--! EndIncluded track/person_sets/exclude_person.sql

--! Included track/functions/trait_changes.sql
create or replace function track.trait_changes(people bigint[], name text)
returns table (person_id bigint, set_at timestamptz[], value jsonb[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Null and a list of people need different plans.
set plan_cache_mode to force_custom_plan
-- The planner has no statistics of `stored`, and compares each row of it with each person.
set enable_nestloop to off
-- Compilation would take longer than most calls.
set jit to off
as $$
begin
  return query
  with stored as materialized (
    select history.person_id, history.identity_id, history.set_at, history.value, history.repeated_at
    from track.trait_history as history
    where (trait_changes.people is null or history.person_id = any (trait_changes.people))
      and history.name = trait_changes.name
  ),

  -- Most people have one row, or one value.
  person as materialized (
    select
      stored.person_id, min(stored.identity_id) = max(stored.identity_id) as is_identity,
      max(cardinality(stored.value)) = 1 and min(stored.value[1]::text) = max(stored.value[1]::text) as is_value
    from stored
    where stored.person_id in (select one.person_id from stored as one group by one.person_id having count(*) > 1)
    group by stored.person_id
  ),

  point as (
    select stored.person_id, entry.set_at, entry.value
    from stored
    join person on person.person_id = stored.person_id
    cross join lateral unnest(stored.set_at, stored.value) as entry (set_at, value)
    where person.is_identity
      and not person.is_value

    union all

    -- Repetitions decide between the identities of a person.
    select stored.person_id, entry.set_at, entry.value
    from stored
    join person on person.person_id = stored.person_id
    cross join lateral track._trait_points(stored.set_at, stored.value, stored.repeated_at) as entry
    where not person.is_identity
      and not person.is_value
  ),

  said as (
    select distinct on (point.person_id, point.set_at) point.person_id, point.set_at, point.value
    from point
    order by point.person_id, point.set_at, point.value desc, point.value::text desc
  ),

  changed as (
    select
      said.person_id, said.set_at, said.value,
      said.value::text is distinct from lag(said.value::text) over (
        partition by said.person_id order by said.set_at
      ) as is_other
    from said
  )

  select stored.person_id, stored.set_at, stored.value
  from stored
  where stored.person_id not in (select person.person_id from person)

  union all

  select stored.person_id, array[min(stored.set_at[1])], array[(array_agg(stored.value[1]))[1]]
  from stored
  join person on person.person_id = stored.person_id
  where person.is_value
  group by stored.person_id

  union all

  select
    changed.person_id,
    array_agg(changed.set_at order by changed.set_at),
    array_agg(changed.value order by changed.set_at)
  from changed
  where changed.is_other
  group by changed.person_id;
end;
$$;

comment on function track.trait_changes(bigint[], text) is $$
@behavior -*
Returns the values that a trait of people had in the course of time: one row per person who has had it.
The value at a time is `value[width_bucket(time, set_at)]`: null before the first known one. Each of the values differs
from the one before; JSON null is a value of more than 1,000 bytes, or one that was sent as null. Of several
identities of a person, the one that sent the trait last applies, and the greater value of two of the same time.
`people` null: all people.
$$;

grant execute on function track.trait_changes(bigint[], text)
to insights_reader, insights_learner, insights_admin;
--! EndIncluded track/functions/trait_changes.sql

--! Included track/functions/traits_at.sql
create or replace function track.traits_at(people bigint[], name text, times timestamptz[])
returns table (person_id bigint, at timestamptz, value jsonb)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select asked.person_id, asked.at, history.value[width_bucket(asked.at, history.set_at)]
  from unnest(traits_at.people, traits_at.times) as asked (person_id, at)
  left join track.trait_changes(coalesce(traits_at.people, '{}'), traits_at.name) as history
    on history.person_id = asked.person_id;
end;
$$;

comment on function track.traits_at(bigint[], text, timestamptz[]) is $$
@behavior -*
Returns the value that a trait of each person had at a time: one row for each element of the two lists.
Null before the first known value. See `track.trait_changes`.
$$;

grant execute on function track.traits_at(bigint[], text, timestamptz[])
to insights_reader, insights_learner, insights_admin;
--! EndIncluded track/functions/traits_at.sql

--! Included track/functions/current_trait.sql
create or replace function track.current_trait(people bigint[], name text)
returns table (person_id bigint, value jsonb, set_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Null and a list of people need different plans.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select distinct on (trait.person_id) trait.person_id, trait.value, trait.set_at
  from track.trait
  where (current_trait.people is null or trait.person_id = any (current_trait.people))
    and trait.name = current_trait.name
  order by trait.person_id, trait.set_at desc, trait.value desc, trait.value::text desc;
end;
$$;

comment on function track.current_trait(bigint[], text) is $$
@behavior -*
Returns the value of a trait of people: one row per person who has it.
Of several identities of a person, the one that sent the trait last applies, and the greater value of two of the same
time. `people` null: all people.
$$;

grant execute on function track.current_trait(bigint[], text)
to insights_reader, insights_learner, insights_admin;
--! EndIncluded track/functions/current_trait.sql

-- from track/policies.sql
grant update (
  session_timeout, heartbeat, minimum_visit, longest_gap, oldest_event, oldest_client_event, newest_event,
  longest_properties, largest_batch, longest_view, clock_tolerance, path_rule, kept_parameters,
  most_identities, most_trait_times
)
on track.setting to insights_admin;
grant select on
  track.person, track.identity, track.identity_link, track.trait, track.trait_history, track.enrolment,
  track.item_role, track.event, track.session, track.page_view
to insights_reader, insights_learner, insights_admin;
grant select on track.declared_property to insights_reader, insights_analyst, insights_admin, insights_worker;
grant select on track.stale_property, track.property_value, track.step_value, track.value_presence
to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on track.declared_property;
create policy all_rows on track.declared_property for select using (true);
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'person', 'identity', 'trait', 'trait_history', 'enrolment', 'item_role', 'event', 'session', 'automatic_period',
    'step', 'stale', 'changed', 'step_value', 'stale_property'
  ]
  loop
    execute format('drop policy if exists own on track.%I', v_table);
    execute format(
      $policy$
      create policy own on track.%I for select to insights_learner
      using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint)
      $policy$,
      v_table
    );
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'presence', 'item_month', 'item_day', 'course_presence', 'stale_course', 'property_value', 'value_presence'
  ]
  loop
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;

--! Included analytics/functions/refresh_views.sql
/* A definer: only the owner of a materialized view may refresh it. */
create or replace function analytics.refresh_views()
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- A view that was never populated cannot be refreshed concurrently.
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    refresh materialized view concurrently analytics.item_popularity;
  else
    refresh materialized view analytics.item_popularity;
  end if;
  -- It reads the other one.
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.course_summary'::regclass) then
    refresh materialized view concurrently analytics.course_summary;
  else
    refresh materialized view analytics.course_summary;
  end if;
  return (select count(*) from analytics.item_popularity);
end;
$$;

comment on function analytics.refresh_views() is $$
Refreshes the materialized views of the room concurrently, without blocking reads.
Returns the number of items with use.
$$;

grant execute on function analytics.refresh_views() to insights_worker;
--! EndIncluded analytics/functions/refresh_views.sql

--! Included analytics/functions/_power_of_two.sql
create or replace function analytics._power_of_two(number float8)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rounded, because the last digits of a logarithm depend on the platform.
  return case
    when number > 0 then power(2::float8, ceil(round((ln(number) / ln(2::float8))::numeric, 9))::float8)
  end;
end;
$$;

comment on function analytics._power_of_two(float8) is $$
Returns the smallest power of two that is not below a number; null for 0 and less. For the units of rounding.
$$;

grant execute on function analytics._power_of_two(float8) to insights_reader;
--! EndIncluded analytics/functions/_power_of_two.sql

--! Included analytics/functions/_shown.sql
create or replace function analytics._shown(
  figure float8, people bigint, smallest_group int, whole float8 default null
)
returns float8
-- An SQL function with settings is not inlined, and is started again for each row.
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unit float8;
begin
  if coalesce(smallest_group, 1) = 1 then
    return figure;
  elsif people < smallest_group or figure <= 0 then
    return 0;
  end if;
  v_unit := smallest_group * analytics._power_of_two(coalesce(whole, figure) / nullif(people, 0));
  return case
    when whole is not null and figure < v_unit then 0
    else floor(figure / v_unit + 0.5) * v_unit
  end;
end;
$$;

comment on function analytics._shown(float8, bigint, int, float8) is $$
Returns a figure about a group of people as analysts see it.
A group of fewer than `smallest_group` people reads as an empty one: 0. Numbers of people are rounded to the nearest
multiple of `smallest_group`, halves upwards; with 5 that is the rounding methodology of HESA (the Higher Education
Statistics Agency of the UK), but for groups of 3 and 4, which HESA shows as 5. Other sums, such as events, are rounded
to the nearest multiple of `smallest_group` times the average per person, rounded up to a power of two: a sum is never
more precise than `smallest_group` average people. `whole`: the figure that `figure` is a part of, such as a sum
weighted by age; it is then rounded like the whole one, and less than one unit reads as 0. A `smallest_group` of 1 or
null shows exact figures.
$$;

grant execute on function analytics._shown(float8, bigint, int, float8) to insights_reader;
--! EndIncluded analytics/functions/_shown.sql

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
  if _bounds.zone is null or length(_bounds.zone) > 100
    or lower(_bounds.zone) <> 'utc'
      and not exists (select from pg_timezone_names as known where lower(known.name) = lower(_bounds.zone))
  then
    perform common.refuse(
      'CF002',
      format('there is no time zone "%s"', coalesce(left(_bounds.zone, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(_bounds.zone, 100),
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

--! Included analytics/functions/_event_type_id.sql
create or replace function analytics._event_type_id(event_name text)
returns int
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_event_type_id int;
begin
  if _event_type_id.event_name is null then
    return 0;
  end if;
  if length(_event_type_id.event_name) > 200 then
    perform common.refuse(
      'CF008',
      format('event_name has %s characters', length(_event_type_id.event_name)),
      'The name of an event has 200 at most.'
    );
  end if;
  select coalesce(event_type.merged_event_type_id, event_type.event_type_id) into v_event_type_id
  from track.event_type
  where event_type.name = _event_type_id.event_name;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_event_type_id.event_name, 100)),
      coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(_event_type_id.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(_event_type_id.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  return v_event_type_id;
end;
$$;

comment on function analytics._event_type_id(text) is $$
Returns the event type that a name means, after merges; 0 for null: any event that is not automatic.
Errors: CF002 for an unknown name (with the most similar ones), CF008 for a name of more than 200 characters.
$$;

grant execute on function analytics._event_type_id(text) to insights_reader;
--! EndIncluded analytics/functions/_event_type_id.sql

--! Included analytics/functions/_item_id.sql
create or replace function analytics._item_id(item text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
begin
  if _item_id.item is null then
    return null;
  end if;
  select coalesce(known.merged_item_id, known.item_id) into v_item_id
  from track.item as known
  where known.external_id = _item_id.item;
  if v_item_id is null then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', left(_item_id.item, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(_item_id.item, 100),
          array(
            select known.external_id
            from track.item as known
            where left(known.external_id, 2) = left(_item_id.item, 2)
            order by known.external_id
            limit 1000
          )
        ) || '"? ',
        ''
      ) || 'Give the external id of an item, as in track.item.'
    );
  end if;
  return v_item_id;
end;
$$;

comment on function analytics._item_id(text) is $$
Returns the item that an external id means, after merges; null for null.
Errors: CF002 for an unknown item (names the nearest).
$$;

grant execute on function analytics._item_id(text) to insights_reader;
--! EndIncluded analytics/functions/_item_id.sql

--! Included analytics/functions/_person_buckets.sql
create or replace function analytics._person_buckets(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (person_id bigint, bucket int, event_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
set work_mem to '64MB'
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_first_day constant date := (v_since at time zone 'UTC')::date;
  v_end_day constant date := (v_until at time zone 'UTC')::date + 1;
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _person_buckets.item_id
  );
  v_people bigint[];
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day);
  -- Without other events and items there is less to plan, which takes as long as the journeys of some thousand people.
  if v_queued.people is null and _person_buckets.item_id is null then
    return query
    select happened.person_id, happened.bucket, count(*)
    from (
      select
        step.person_id,
        width_bucket(unnest(step.occurred_at[slice.before + 1:slice.until]), _person_buckets.bounds) as bucket
      from track.step
      cross join lateral (
        select
          width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until
      ) as slice
      left join track.person_set_blocks('excluded') as excluded on excluded.block = step.person_id / 4096
      where (
          step.event_type_id = _person_buckets.event_type_id
          or _person_buckets.event_type_id = 0 and not step.is_automatic
        )
        and step.since > v_first_day - 366
        and step.since < v_end_day
        and slice.before < slice.until
        and coalesce(get_bit(excluded.people, (step.person_id % 4096)::int), 0) = 0
    ) as happened
    group by 1, 2;
    return;
  end if;

  if _person_buckets.item_id is not null then
    -- The journeys of the people of the item only.
    v_people := array(
      select distinct item_month.part::bigint * 32768 + listed.person
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
    );
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', v_since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', v_until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  journey as (
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where step.event_type_id = _person_buckets.event_type_id
      and v_people is null
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any event that is not automatic.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id = 0
      and v_people is null
      and not step.is_automatic
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any use of an item.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from unnest(v_people) as person (person_id)
    join track.step on step.person_id = person.person_id
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id in (0, step.event_type_id)
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  -- The events of the period, in two parts where those between them are queued.
  kept as (
    select
      journey.person_id,
      case
        when journey.since is null then journey.occurred_at[place.since + 1:place.until]
        else journey.occurred_at[place.since + 1:place.queued_since]
          || journey.occurred_at[place.queued_until + 1:place.until]
      end as occurred_at,
      case
        when v_people is null then null
        when journey.since is null then journey.item_ids[place.since + 1:place.until]
        else journey.item_ids[place.since + 1:place.queued_since]
          || journey.item_ids[place.queued_until + 1:place.until]
      end as item_ids
    from journey
    cross join lateral (
      select
        width_bucket(journey.since - interval '1 microsecond', journey.occurred_at) as queued_since,
        width_bucket(journey.until - interval '1 microsecond', journey.occurred_at) as queued_until,
        width_bucket(v_since - interval '1 microsecond', journey.occurred_at) as since,
        width_bucket(v_until - interval '1 microsecond', journey.occurred_at) as until
    ) as place
    left join track.person_set_blocks('excluded') as excluded on excluded.block = journey.person_id / 4096
    where place.since < place.until
      and coalesce(get_bit(excluded.people, (journey.person_id % 4096)::int), 0) = 0
  ),

  happened as (
    select
      kept.person_id, width_bucket(unnest(kept.occurred_at), _person_buckets.bounds) as bucket, 1 as event_count
    from kept
    where v_people is null

    union all

    select kept.person_id, width_bucket(used.occurred_at, _person_buckets.bounds), 1
    from kept
    cross join lateral unnest(kept.occurred_at, kept.item_ids) as used (occurred_at, item_id)
    where used.item_id = any (v_items)

    union all

    select event.person_id, width_bucket(event.occurred_at, _person_buckets.bounds), 1
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    left join track.person_set_blocks('excluded') as excluded on excluded.block = event.person_id / 4096
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and case
        when _person_buckets.event_type_id <> 0 then event.event_type_id = _person_buckets.event_type_id
        else _person_buckets.item_id is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_person_buckets.item_id is null or event.item_id = any (v_items) and event.person_id <> 0)
      and coalesce(get_bit(excluded.people, (event.person_id % 4096)::int), 0) = 0

    union all

    -- Page views of the item, also those that continue in a later session, without an event.
    select page_view.person_id, width_bucket(page_view.started_at, _person_buckets.bounds), 0
    from track.session
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
    left join track.person_set_blocks('excluded') as excluded on excluded.block = session.person_id / 4096
    where _person_buckets.event_type_id = 0
      and session.person_id = any (v_people)
      and session.ended_at >= v_since
      and session.started_at < v_until
      and session.view_continued is not null
      and page_view.item_id = any (v_items)
      and coalesce(get_bit(excluded.people, (session.person_id % 4096)::int), 0) = 0
  )

  select happened.person_id, happened.bucket, sum(happened.event_count)
  from happened
  group by 1, 2;
end;
$$;

comment on function analytics._person_buckets(int, timestamptz[], bigint) is $$
Returns the number of events per person and bucket, of people who are not excluded, with the privileges of the caller.
`bounds`: n + 1 ascending times, for the buckets 1 to n; the first one may be `-infinity`. `event_type_id` 0: any event
that is not automatic. `item_id`: events of the item and of what it contains; with `event_type_id` 0 any use, as in
`analytics.popular_items`: automatic events too, and a person who only continued to read a page has 0 events.
Read from the journeys, with the events of people who are queued for a refresh. Person 0 (anonymised events) is included
unless an item is given.
$$;

grant execute on function analytics._person_buckets(int, timestamptz[], bigint) to insights_reader;
--! EndIncluded analytics/functions/_person_buckets.sql

--! Included analytics/functions/_presence.sql
create or replace function analytics._presence(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (bucket int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_by_day constant boolean := not exists (
    select from unnest(bounds) as bound where isfinite(bound) and bound <> date_trunc('day', bound)
  );
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _presence.item_id
  );
  v_queued record;
  v_is_queued boolean;
begin
  if not v_by_day or _presence.item_id is not null and _presence.event_type_id <> 0 then
    return query
    select
      person_bucket.bucket, (person_bucket.person_id / 4096)::int,
      bit_or(track.person_bit(person_bucket.person_id))
    from analytics._person_buckets(_presence.event_type_id, _presence.bounds, _presence.item_id) as person_bucket
    where person_bucket.person_id <> 0
    group by 1, 2;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  v_is_queued := v_queued.people is not null;
  if _presence.item_id is not null then
    return query
    with excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    used as (
      select
        width_bucket((item_month.month + place)::timestamptz, _presence.bounds) as bucket,
        item_month.part::bigint * 32768 + listed.person as person_id
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
      left join unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
        as queued (person_id, first_day, end_day)
        on queued.person_id = item_month.part::bigint * 32768 + listed.person
        and item_month.month + place >= queued.first_day
        and item_month.month + place < queued.end_day
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
        and queued.person_id is null

      union all

      select width_bucket(activity.day::timestamptz, _presence.bounds), activity.person_id
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      where activity.item_id = any (v_items)
        and activity.person_id <> 0
    ),

    by_block as (
      select
        distinct_use.bucket, (distinct_use.person_id / 4096)::int as block,
        bit_or(track.person_bit(distinct_use.person_id)) as people
      from (
        select used.bucket, used.person_id
        from used
        where used.bucket between 1 and cardinality(_presence.bounds) - 1
        group by 1, 2
      ) as distinct_use
      group by 1, 2
    )

    select by_block.bucket, by_block.block, by_block.people & ~coalesce(excluded.people, v_no_people)
    from by_block
    left join excluded on excluded.block = by_block.block
    where bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)) > 0;
    return;
  end if;

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  change as materialized (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where not queued.was), v_no_people) as added
    from (
      select activity.person_id, activity.day, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      where v_is_queued
        and case
          when _presence.event_type_id = 0 then activity.event_count > activity.automatic_count
          else activity.event_type_id = _presence.event_type_id
        end
      union all
      select activity.person_id, activity.day, false
      from track.event_activity(
        v_queued.people, v_queued.first_days, v_queued.end_days, nullif(_presence.event_type_id, 0)
      ) as activity
      where v_is_queued
        and (_presence.event_type_id <> 0 or activity.event_count > activity.automatic_count)
    ) as queued
    where queued.person_id <> 0
    group by 1, 2
  ),

  by_block as (
    select
      width_bucket(presence.day::timestamptz, _presence.bounds) as bucket,
      presence.block,
      bit_or(
        case when change.cleared is null then presence.people else presence.people & ~change.cleared end
      ) as people
    from track.presence
    left join change on v_is_queued and change.day = presence.day and change.block = presence.block
    where presence.event_type_id = _presence.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
    group by 1, 2

    union all

    select width_bucket(change.day::timestamptz, _presence.bounds), change.block, bit_or(change.added)
    from change
    where change.day >= v_first_day
      and change.day < v_end_day
    group by 1, 2
  )

  select present.bucket, present.block, present.people
  from (
    select
      by_block.bucket, by_block.block, bit_or(by_block.people) & ~coalesce(excluded.people, v_no_people) as people
    from by_block
    left join excluded on excluded.block = by_block.block
    group by by_block.bucket, by_block.block, excluded.people
  ) as present
  where bit_count(present.people) > 0;
end;
$$;

comment on function analytics._presence(int, timestamptz[], bigint) is $$
Returns the people with an event in each bucket, one bit per person, with the privileges of the caller.
Of people who are not excluded; a bucket and block without people has no row. The arguments are those of
`analytics._person_buckets`. Buckets of whole days (UTC) are read from `track.presence`, and the use of an item from
`track.item_month`; all others from the journeys. The changes of people who are queued for a refresh are included.
$$;

grant execute on function analytics._presence(int, timestamptz[], bigint) to insights_reader;
--! EndIncluded analytics/functions/_presence.sql

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
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF008 for more than 20 sets.
$$;

grant execute on function analytics._among(text, int) to insights_reader;
--! EndIncluded analytics/functions/_among.sql

--! Included analytics/functions/_people_by_value.sql
create or replace function analytics._people_by_value(
  breakdown text, top_values int default 10, smallest_group int default null
)
returns table (value text, is_other boolean, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the sets.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_kind constant text := split_part(_people_by_value.breakdown, '.', 1);
  v_name constant text := substr(_people_by_value.breakdown, length(v_kind) + 2);
  v_sets text[];
begin
  perform common.check_count('top_values', _people_by_value.top_values, 1, 100);
  if v_kind not in ('set', 'trait') or v_name = '' or length(v_name) > 100 then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_people_by_value.breakdown, 100)),
      'Use "set.<family or name of sets of people>" or "trait.<name>".'
    );
  end if;

  if v_kind = 'set' then
    v_sets := array(
      select person_set.name
      from track.person_set
      where starts_with(person_set.name, v_name || '.')
      order by person_set.name
      limit 101
    );
    if cardinality(v_sets) > 100 then
      perform common.refuse(
        'CF008', format('there are more than 100 sets "%s.…"', v_name), 'Give a longer beginning of their names.'
      );
    end if;
    if v_sets = '{}' then
      perform track.person_set_size(v_name);
    end if;

    return query
    with everyone as materialized (
      select among.block, among.people from analytics._among(null, _people_by_value.smallest_group) as among
    ),

    named as materialized (
      select
        substr(family.name, length(v_name) + 2) as value, members.block, members.people & everyone.people as people
      from unnest(v_sets) as family (name)
      cross join lateral analytics._among(family.name, _people_by_value.smallest_group) as members
      join everyone on everyone.block = members.block

      union all

      select 'true', members.block, members.people & everyone.people
      from analytics._among(v_name, _people_by_value.smallest_group) as members
      join everyone on everyone.block = members.block
      where v_sets = '{}'
    )

    select named.value, false, named.block, named.people
    from named
    where bit_count(named.people) > 0

    union all

    select case when v_sets = '{}' then 'false' end, false, everyone.block, rest.people
    from everyone
    cross join lateral (
      select
        everyone.people & ~coalesce(
          (select bit_or(named.people) from named where named.block = everyone.block), v_no_people
        ) as people
    ) as rest
    where bit_count(rest.people) > 0;
    return;
  end if;

  return query
  with everyone as materialized (
    select among.block, among.people from analytics._among(null, _people_by_value.smallest_group) as among
  ),

  stated as (
    select trait.person_id, left(trait.value #>> '{}', 200) as value
    from track.current_trait(null, v_name) as trait
  ),

  by_value as materialized (
    select
      stated.value, (stated.person_id / 4096)::int as block,
      bit_or(track.person_bit(stated.person_id)) & everyone.people as people
    from stated
    join everyone on everyone.block = stated.person_id / 4096
    where stated.value is not null
    group by stated.value, everyone.block, everyone.people, (stated.person_id / 4096)::int
  ),

  ranked as (
    select
      by_value.value,
      row_number() over (order by sum(bit_count(by_value.people)) desc, by_value.value)
        <= _people_by_value.top_values
        and sum(bit_count(by_value.people)) >= coalesce(_people_by_value.smallest_group, 1) as is_named
    from by_value
    group by by_value.value
  )

  select case when ranked.is_named then by_value.value end, not ranked.is_named, by_value.block, bit_or(by_value.people)
  from by_value
  join ranked on ranked.value = by_value.value
  where bit_count(by_value.people) > 0
  group by 1, 2, 3

  union all

  select null, false, everyone.block, rest.people
  from everyone
  cross join lateral (
    select
      everyone.people & ~coalesce(
        (select bit_or(by_value.people) from by_value where by_value.block = everyone.block), v_no_people
      ) as people
  ) as rest
  where bit_count(rest.people) > 0;
end;
$$;

comment on function analytics._people_by_value(text, int, int) is $$
Returns the people by value of what a breakdown names, one bit per person, as of now.
`breakdown`: `set.<family>` for the sets whose names begin with `<family>.` (the value is the rest of the name, and null
for people in none of them; a person may be in several), `set.<name>` for one set (`true` and `false`), or
`trait.<name>` for a trait (the text of a JSON scalar, at most 200 characters; null: people without it).
Of a trait, the `top_values` values with most people are named; people with other values have `is_other` and a null
value. `smallest_group`: counted people only, and a value or set of fewer people is not named; null: all people.
Errors: CF001 for another breakdown, CF002 for an unknown set, CF008 for more than 100 sets.
$$;

grant execute on function analytics._people_by_value(text, int, int) to insights_reader;
--! EndIncluded analytics/functions/_people_by_value.sql

--! Included analytics/functions/_days_of_month.sql
create or replace function analytics._days_of_month(month date, first_day date, end_day date)
returns int
language sql
immutable
parallel safe
return (
  ((1::bigint << least(greatest(end_day - month, 0), 31)) - 1)
    & ~((1::bigint << least(greatest(first_day - month, 0), 31)) - 1)
)::int;

comment on function analytics._days_of_month(date, date, date) is $$
Returns the days of a month that are between two (`end_day` exclusive), as bits: `1 << (day - 1)` for each.
$$;

grant execute on function analytics._days_of_month(date, date, date) to insights_reader;
--! EndIncluded analytics/functions/_days_of_month.sql

--! Included analytics/functions/_left_out_days.sql
create or replace function analytics._left_out_days(
  kind text, first_day date, end_day date, smallest_group int
)
returns table (item_id bigint, day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the people of items by themselves, and of whole courses.
  v_is_stored constant boolean := _left_out_days.kind is null
    or _left_out_days.kind = 'course' and not exists (select from track.stale_course);
  v_queued record;
begin
  if _left_out_days.smallest_group <= 1 then
    return;
  end if;
  v_queued := track.queued_days(_left_out_days.first_day, _left_out_days.end_day);

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _left_out_days.kind is null then ancestor.depth = 0
        else item.kind = _left_out_days.kind
      end
  ),

  queued as materialized (
    select distinct target.target_id, queued.person_id, queued.day, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  day_size as (
    select people.target_id, people.day, sum(people.person_count) as person_count
    from (
      select item_day.item_id as target_id, item_day.day, item_day.person_count
      from track.item_day
      join track.item on item.item_id = item_day.item_id
      where v_is_stored
        and item_day.with_parts = (_left_out_days.kind is not null)
        and item_day.day >= _left_out_days.first_day
        and item_day.day < _left_out_days.end_day

      union all

      select used.target_id, used.day, count(*)
      from (
        select distinct target.target_id, item_month.month + place as day, item_month.part, listed.person
        from track.item_month
        join target on target.item_id = item_month.item_id
        cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
        join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
        join track.person_set_block as stored
          on stored.name = 'counted'
          and stored.block = item_month.part * 8 + listed.person / 4096
          and get_bit(stored.people, listed.person % 4096) <> 0
        where not v_is_stored
          and item_month.month > _left_out_days.first_day - 31
          and item_month.month < _left_out_days.end_day
      ) as used
      where used.day >= _left_out_days.first_day
        and used.day < _left_out_days.end_day
      group by used.target_id, used.day

      union all

      select queued.target_id, queued.day, case when queued.was then -1 else 1 end
      from queued
    ) as people
    group by people.target_id, people.day
  ),

  small as materialized (
    select day_size.target_id, day_size.day, date_trunc('week', day_size.day::timestamp)::date as week
    from day_size
    where day_size.person_count between 1 and _left_out_days.smallest_group - 1
  ),

  -- The small days of weeks (from Monday) that are whole in the period, as bits of a month.
  small_week as materialized (
    select
      small.target_id, small.week, date_trunc('month', small.day::timestamp)::date as month,
      bit_or(1 << (extract(day from small.day)::int - 1)) as days
    from small
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
    group by 1, 2, 3
  ),

  queued_period as materialized (
    select queued_day.person_id, queued_day.first_day, queued_day.end_day
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
      as queued_day (person_id, first_day, end_day)
  ),

  -- Their people: those of courses as a whole, and others by the items that are contained.
  used_in_week as (
    select used.target_id, used.week, used.person_id
    from (
      select
        small_week.target_id, small_week.week, small_week.month, listed.days & small_week.days as days,
        course_presence.block::bigint * 4096 + listed.member as person_id
      from small_week
      join track.course_presence
        on course_presence.item_id = small_week.target_id
        and course_presence.month = small_week.month
      join counted on counted.block = course_presence.block
      cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
      where v_is_stored
        and _left_out_days.kind is not null
        and listed.days & small_week.days <> 0
        and get_bit(counted.people, listed.member) <> 0

      union all

      select
        small_week.target_id, small_week.week, small_week.month, listed.days & small_week.days,
        item_month.part::bigint * 32768 + listed.person
      from small_week
      join target on target.target_id = small_week.target_id
      join track.item_month on item_month.item_id = target.item_id and item_month.month = small_week.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join counted
        on counted.block = item_month.part * 8 + listed.person / 4096
        and get_bit(counted.people, listed.person % 4096) <> 0
      where (not v_is_stored or _left_out_days.kind is null)
        and listed.days & small_week.days <> 0
    ) as used
    left join queued_period on queued_period.person_id = used.person_id
    where queued_period.person_id is null
      or used.days & ~analytics._days_of_month(used.month, queued_period.first_day, queued_period.end_day) <> 0

    union all

    select small.target_id, small.week, queued.person_id
    from small
    join queued on queued.target_id = small.target_id and queued.day = small.day and not queued.was
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
  ),

  week_of_group as (
    select used_in_week.target_id, used_in_week.week
    from used_in_week
    group by used_in_week.target_id, used_in_week.week
    having count(distinct used_in_week.person_id) >= _left_out_days.smallest_group
  )

  select small.target_id, small.day
  from small
  where not exists (
    select
    from week_of_group
    where week_of_group.target_id = small.target_id
      and week_of_group.week = small.week
  );
end;
$$;

comment on function analytics._left_out_days(text, date, date, int) is $$
Returns the days on which an item of a kind was used by fewer than `smallest_group` counted people.
Without the small days of a week (from Monday) that is whole in the period, if they have at least `smallest_group`
people together. Arguments and items are those of `analytics._item_use`. Days without use have no row.
$$;

grant execute on function analytics._left_out_days(text, date, date, int) to insights_reader;
--! EndIncluded analytics/functions/_left_out_days.sql

--! Included analytics/functions/_item_use.sql
create or replace function analytics._item_use(
  kind text, first_day date, end_day date, half_life interval, newest_day date, smallest_group int
)
returns table (
  item_id bigint,
  event_count bigint,
  person_count bigint,
  engaged interval,
  decayed_event_count float8,
  decayed_person_count float8,
  decayed_engaged float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_decays constant boolean := _item_use.half_life is not null;
  v_of_courses constant boolean := _item_use.kind is not distinct from 'course'
    and not exists (select from track.stale_course);
  -- People of whole months are the bits of courses. All other people are read from the days of people.
  v_by_bits constant boolean := v_of_courses and not v_decays;
  v_first_month date := date_trunc('month', _item_use.first_day + interval '1 month' - interval '1 day')::date;
  v_end_month date := date_trunc('month', _item_use.end_day::timestamp)::date;
  -- Bits of a day of a month, so that `width_bucket` finds the last day.
  v_powers constant int[] := array(select 1 << place from generate_series(0, 30) as place);
  v_queued record;
  -- One bit per person, counted or queued, of all blocks, and the months that queued days touch.
  v_counted varbit;
  v_queued_bits varbit;
  v_first_queued date;
  v_last_queued date;
begin
  if v_first_month >= v_end_month then
    v_first_month := _item_use.end_day;
    v_end_month := _item_use.end_day;
  end if;
  v_queued := track.queued_days(_item_use.first_day, _item_use.end_day);
  if not v_of_courses then
    select string_agg(coalesce(counted.people, v_no_people)::text, '' order by blocks.block)::varbit
    into v_counted
    from generate_series(
      0, (select max(set_block.block) from track.person_set_blocks('counted') as set_block)
    ) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block;
    if v_queued.people is not null then
      select string_agg(coalesce(queued.people, v_no_people)::text, '' order by blocks.block)::varbit
      into v_queued_bits
      from generate_series(
        0, (select max(person_id) / 4096 from unnest(v_queued.people) as person_id)
      ) as blocks (block)
      left join (
        select person_id / 4096 as block, bit_or(track.person_bit(person_id)) as people
        from unnest(v_queued.people) as person_id
        group by 1
      ) as queued on queued.block = blocks.block;
      select date_trunc('month', min(day)::timestamp), date_trunc('month', max(day)::timestamp)
      into v_first_queued, v_last_queued
      from unnest(v_queued.first_days || v_queued.end_days) as day;
    end if;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _item_use.kind is null then ancestor.depth = 0
        else item.kind = _item_use.kind
      end
  ),

  left_out as materialized (
    select small.item_id as target_id, small.day
    from analytics._left_out_days(
      _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.smallest_group
    ) as small
    where _item_use.smallest_group > 1
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select target.target_id, queued.person_id, queued.day, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  -- Sums. Those of the days that are left out are subtracted.
  summed as (
    select item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    where v_of_courses
      and item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
    union all
    select target.target_id, null, item_month.event_count, item_month.engaged
    from track.item_month
    join target on target.item_id = item_month.item_id
    where not v_of_courses
      and not v_decays
      and item_month.month >= v_first_month
      and item_month.month < v_end_month
    union all
    select target.target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    join target on target.item_id = item_day.item_id
    where not v_of_courses
      and not item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
      and (v_decays or item_day.day < v_first_month or item_day.day >= v_end_month)
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then -queued.event_count else queued.event_count end,
      case when queued.was then -queued.engaged else queued.engaged end
    from queued
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join track.item_day on item_day.item_id = left_out.target_id and item_day.day = left_out.day and item_day.with_parts
    where v_of_courses
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join target on target.target_id = left_out.target_id
    join track.item_day on item_day.item_id = target.item_id and item_day.day = left_out.day and not item_day.with_parts
    where not v_of_courses
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then queued.event_count else -queued.event_count end,
      case when queued.was then queued.engaged else -queued.engaged end
    from queued
    join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
  ),

  target_sum as (
    select
      summed.target_id,
      sum(summed.event_count)::bigint as event_count,
      sum(summed.engaged) as engaged,
      sum(summed.event_count * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life))
        as decayed_event_count,
      sum(
        extract(epoch from summed.engaged)
          * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life)
      ) as decayed_engaged
    from summed
    group by summed.target_id
  ),

  -- The months of the rollup that queued days touch, with these days as bits.
  queued_month as materialized (
    select
      entry.person_id, months.first_day as month,
      (
        ((1::bigint << least(entry.end_day - months.first_day, 31)) - 1)
          & ~((1::bigint << greatest(entry.first_day - months.first_day, 0)) - 1)
      )::int as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    cross join (
      select min(item_day.day) as first_day, max(item_day.day) as last_day
      from track.item_day
      where not item_day.with_parts
      having min(item_day.day) is not null
    ) as stored
    cross join lateral (
      select month::date as first_day
      from generate_series(
        date_trunc('month', greatest(entry.first_day, stored.first_day)::timestamp),
        least(entry.end_day - 1, stored.last_day)::timestamp,
        interval '1 month'
      ) as month
    ) as months
  ),

  queued_block as materialized (
    select
      queued_month.month, (queued_month.person_id / 4096)::int as block,
      bit_or(track.person_bit(queued_month.person_id)) as people
    from queued_month
    group by 1, 2
  ),

  left_out_month as materialized (
    select
      left_out.target_id, date_trunc('month', left_out.day::timestamp)::date as month,
      bit_or(1 << (extract(day from left_out.day)::int - 1)) as mask
    from left_out
    group by 1, 2
  ),

  -- People with queued days in a month are not read from its bits, but from their days.
  used_in_months as (
    select by_block.target_id, by_block.block, by_block.people & counted.people as people
    from (
      select
        course_presence.item_id as target_id, course_presence.block,
        bit_or(course_presence.people & ~coalesce(queued_block.people, v_no_people)) as people
      from track.course_presence
      left join queued_block
        on queued_block.month = course_presence.month
        and queued_block.block = course_presence.block
      where v_by_bits
        and course_presence.month >= v_first_month
        and course_presence.month < v_end_month
        and course_presence.item_id not in (select left_out_month.target_id from left_out_month)
      group by course_presence.item_id, course_presence.block
    ) as by_block
    join counted on counted.block = by_block.block
  ),

  -- The days of the people of courses in the period.
  listed_days as not materialized (
    select
      course_presence.item_id as target_id, course_presence.month,
      course_presence.block::bigint * 4096 + listed.member as person_id,
      listed.days & limits.mask as days
    from track.course_presence
    left join left_out_month
      on left_out_month.target_id = course_presence.item_id
      and left_out_month.month = course_presence.month
    cross join lateral (
      select
        analytics._days_of_month(course_presence.month, _item_use.first_day, _item_use.end_day)
          & ~coalesce(left_out_month.mask, 0) as mask
    ) as limits
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_of_courses
      and course_presence.month > _item_use.first_day - 31
      and course_presence.month < _item_use.end_day
      and listed.days & limits.mask <> 0
  ),

  used_on_days as (
    select used.target_id, used.person_id, max(used.last_day) as last_day
    from (
      select
        listed_days.target_id, listed_days.person_id,
        case when v_decays then listed_days.month - 1 + width_bucket(listed_days.days, v_powers) end as last_day
      from listed_days
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      left join queued_block
        on queued_block.month = listed_days.month
        and queued_block.block = listed_days.person_id / 4096
      where coalesce(get_bit(queued_block.people, (listed_days.person_id % 4096)::int), 0) = 0
        and (
          not v_by_bits
          or listed_days.month < v_first_month
          or listed_days.month >= v_end_month
          or listed_days.target_id in (select of_target.target_id from left_out_month as of_target)
        )

      union all

      -- Other days of queued people, in the months with queued days.
      select
        listed_days.target_id, listed_days.person_id,
        case
          when v_decays
            then listed_days.month - 1 + width_bucket(listed_days.days & ~queued_month.days, v_powers)
        end
      from listed_days
      join queued_month
        on queued_month.month = listed_days.month
        and queued_month.person_id = listed_days.person_id
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      where v_queued.people is not null
        and listed_days.days & ~queued_month.days <> 0

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where v_of_courses
        and not queued.was
        and left_out.day is null
    ) as used
    group by used.target_id, used.person_id
  ),

  -- People with queued days who used other items: on these days, and on other days of the months that they touch.
  queued_people as (
    select used.target_id, array_agg(used.person_id) as people, array_agg(used.last_day) as last_days
    from (
      select
        target.target_id, entry.person_id,
        item_month.month - 1 + width_bucket(unqueued.days, v_powers) as last_day
      from track.item_month
      join target on target.item_id = item_month.item_id
      left join left_out_month
        on left_out_month.target_id = target.target_id
        and left_out_month.month = item_month.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
        on entry.person_id = item_month.part::bigint * 32768 + listed.person
      cross join lateral (
        select
          listed.days & ~coalesce(left_out_month.mask, 0)
            & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day)
            & ~analytics._days_of_month(item_month.month, entry.first_day, entry.end_day) as days
      ) as unqueued
      where item_month.month between v_first_queued and v_last_queued
        and unqueued.days <> 0
        and case when entry.person_id < length(v_counted) then get_bit(v_counted, entry.person_id::int) <> 0 end

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where not queued.was
        and left_out.day is null
    ) as used
    where not v_of_courses
      and v_queued.people is not null
    group by used.target_id
  ),

  -- Item by item: one hash table of all items and people would be several times slower.
  used_items as (
    select of_target.target_id, used.person_count, used.weight
    from (
      select target.target_id, array_agg(target.item_id) as item_ids
      from target
      where not v_of_courses
      group by target.target_id
    ) as of_target
    left join queued_people on queued_people.target_id = of_target.target_id
    cross join lateral (
      select
        count(*) as person_count,
        sum(analytics._weight(_item_use.newest_day - by_person.last_day, _item_use.half_life)) as weight
      from (
        select on_days.person_id, max(on_days.last_day) as last_day
        from (
          select
            listed_people.person_id,
            case when v_decays then listed_people.month - 1 + width_bucket(listed_people.days, v_powers) end as last_day
          from (
            select
              item_month.month, item_month.part * 32768 + listed.person as person_id,
              listed.days & ~coalesce(left_out_month.mask, 0)
                & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day) as days
            from track.item_month
            left join left_out_month
              on left_out_month.target_id = of_target.target_id
              and left_out_month.month = item_month.month
            cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
            where item_month.item_id = any (of_target.item_ids)
              and item_month.month > _item_use.first_day - 31
              and item_month.month < _item_use.end_day
          ) as listed_people
          where listed_people.days <> 0
            and case
              when listed_people.person_id < length(v_counted) then get_bit(v_counted, listed_people.person_id) <> 0
            end
            and case
              when v_queued.people is not null
                and listed_people.month between v_first_queued and v_last_queued
                and listed_people.person_id < length(v_queued_bits)
                then get_bit(v_queued_bits, listed_people.person_id) = 0
              else true
            end

          union all

          select entry.person_id, entry.last_day
          from unnest(queued_people.people, queued_people.last_days) as entry (person_id, last_day)
        ) as on_days
        group by on_days.person_id
      ) as by_person
    ) as used
    where used.person_count > 0
  ),

  target_people as (
    select
      person_row.target_id, sum(person_row.person_count) as person_count, sum(person_row.weight) as weight
    from (
      select used_in_months.target_id, bit_count(used_in_months.people) as person_count, null as weight
      from used_in_months
      union all
      select
        used_on_days.target_id, count(*),
        sum(analytics._weight(_item_use.newest_day - used_on_days.last_day, _item_use.half_life))
      from used_on_days
      left join used_in_months
        on used_in_months.target_id = used_on_days.target_id
        and used_in_months.block = used_on_days.person_id / 4096
      where coalesce(get_bit(used_in_months.people, (used_on_days.person_id % 4096)::int), 0) = 0
      group by used_on_days.target_id
      union all
      select used_items.target_id, used_items.person_count, used_items.weight
      from used_items
    ) as person_row
    group by person_row.target_id
  )

  select
    target_people.target_id,
    coalesce(target_sum.event_count, 0),
    target_people.person_count::bigint,
    coalesce(target_sum.engaged, '0'),
    coalesce(case when v_decays then target_sum.decayed_event_count else target_sum.event_count end, 0)::float8,
    (case when v_decays then target_people.weight else target_people.person_count end)::float8,
    coalesce(
      case when v_decays then target_sum.decayed_engaged else extract(epoch from target_sum.engaged) end, 0
    )::float8
  from target_people
  left join target_sum on target_sum.target_id = target_people.target_id
  where target_people.person_count > 0;
end;
$$;

comment on function analytics._item_use(text, date, date, interval, date, int) is $$
Returns the use of the items of a kind, including that of the items they contain, on the days between two.
`end_day` is exclusive. `kind` null: the items themselves, without what they contain. People and sums are those of the
set `counted`; items that none of them used have no row. `half_life`: the decayed columns halve the events per
`half_life` of age at `newest_day`, and a person has the weight of the latest day; null: equal weights.
`smallest_group`: the days of an item that `analytics._left_out_days` returns are left out; 1: all days count.
$$;

grant execute on function analytics._item_use(text, date, date, interval, date, int) to insights_reader;
--! EndIncluded analytics/functions/_item_use.sql

--! Included analytics/functions/course_summaries.sql
/* A definer owned by insights_reader: nobody else reads the materialized view. */
create or replace function analytics._course_summaries_exact()
returns setof analytics.summarized_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select
    item.external_id,
    item.title,
    summary.person_count,
    summary.enrolment_count,
    summary.completion_count,
    summary.dropped_count,
    summary.completion_count::float8 / nullif(summary.enrolment_count, 0),
    summary.event_count,
    summary.engaged,
    summary.last_day,
    summary.refreshed_at
  from analytics.course_summary as summary
  join track.item on item.item_id = summary.course_id
  order by summary.person_count desc, item.external_id;
$$;

alter function analytics._course_summaries_exact() owner to insights_reader;

comment on function analytics._course_summaries_exact() is $$
Returns the result of `analytics.course_summaries` with exact figures, for admins and workers.
$$;

grant execute on function analytics._course_summaries_exact() to insights_admin, insights_worker;

/* A definer owned by insights_reader: nobody else reads the materialized view. */
create or replace function analytics._course_summaries_shown()
returns setof analytics.summarized_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select
    item.external_id,
    item.title,
    shown.person_count,
    shown.enrolment_count,
    shown.completion_count,
    shown.dropped_count,
    shown.completion_count::float8 / nullif(shown.enrolment_count, 0),
    shown.event_count,
    shown.engaged,
    case when shown.person_count > 0 then summary.group_last_day end,
    summary.refreshed_at
  from analytics.course_summary as summary
  cross join analytics.setting
  join track.item on item.item_id = summary.course_id
  cross join lateral (
    select
      analytics._shown(
        summary.group_person_count, summary.group_person_count, setting.smallest_group
      )::bigint as person_count,
      analytics._shown(
        summary.enrolment_count, summary.enrolment_count, setting.smallest_group
      )::bigint as enrolment_count,
      analytics._shown(
        summary.completion_count, summary.completion_count, setting.smallest_group
      )::bigint as completion_count,
      analytics._shown(summary.dropped_count, summary.dropped_count, setting.smallest_group)::bigint as dropped_count,
      analytics._shown(
        summary.group_event_count, summary.group_person_count, setting.smallest_group
      )::bigint as event_count,
      make_interval(secs => analytics._shown(
        extract(epoch from summary.group_engaged)::float8, summary.group_person_count, setting.smallest_group
      )) as engaged
  ) as shown
  order by shown.person_count desc, item.external_id;
$$;

alter function analytics._course_summaries_shown() owner to insights_reader;

comment on function analytics._course_summaries_shown() is $$
Returns the result of `analytics.course_summaries` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._course_summaries_shown() to insights_analyst;

create or replace function analytics.course_summaries()
returns setof analytics.summarized_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- A view that was never refreshed cannot be read.
  if not (select relispopulated from pg_catalog.pg_class where oid = 'analytics.course_summary'::regclass) then
    return;
  end if;
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._course_summaries_exact()', 'execute') then
    return query
    select * from analytics._course_summaries_exact();
  else
    return query
    select * from analytics._course_summaries_shown();
  end if;
end;
$$;

comment on function analytics.course_summaries() is $$
Returns the use and the completion of each course, over all time, as of the last refresh of the materialized views.
A snapshot for lists and dashboards that reads one row per course; `analytics.popular_courses` is exact at any moment
and takes a period. All courses are returned, also those that nobody used. Only people in the set `counted` count.
For admins and workers, figures are exact. For analysts, the days on which fewer than `analytics.setting.smallest_group`
people used a course are left out, numbers are rounded by `analytics._shown` (completions like enrolments, each by
itself), the rate is computed from what is shown, and courses are in the order of what is shown.
Before the first refresh there is no row.
$$;

grant execute on function analytics.course_summaries() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_summaries.sql

--! Included analytics/trend/_trend_of_item.sql
create or replace function analytics._trend_of_item(
  of_item_id bigint, bounds timestamptz[], of_days date[] default null
)
returns table (bucket int, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the item.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_of_item.of_item_id
  );
  -- The rollups have the sums and people of courses with all that they contain.
  v_is_course constant boolean := exists (
      select from track.item where item.item_id = _trend_of_item.of_item_id and item.kind = 'course'
    )
    and not exists (select from track.stale_course);
  v_bounds constant date[] := array(
    select (given.bound at time zone 'UTC')::date
    from unnest(bounds) with ordinality as given (bound, position)
    order by given.position
  );
  v_first_day date;
  v_end_day date;
  v_queued record;
begin
  -- Without the time before and after all use.
  select
    greatest(v_bounds[1], min(known.first_day)),
    least(v_bounds[cardinality(v_bounds)], max(known.end_day))
  into v_first_day, v_end_day
  from (
    select min(item_month.month) as first_day, (max(item_month.month) + interval '1 month')::date as end_day
    from track.item_month
    where item_month.item_id = any (v_items)
    union all
    select (min(stale.since) at time zone 'UTC')::date, (max(stale.until) at time zone 'UTC')::date + 1
    from track.stale
  ) as known;
  if v_first_day is null or v_first_day >= v_end_day then
    return;
  end if;
  v_queued := track.queued_days(v_first_day, v_end_day);

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  day as materialized (
    select entry.day::date as day, width_bucket(entry.day::date, v_bounds) as bucket
    from generate_series(v_first_day, v_end_day - 1, interval '1 day') as entry (day)
    where _trend_of_item.of_days is null
      or entry.day::date = any (_trend_of_item.of_days)
  ),

  month_bucket as materialized (
    select
      date_trunc('month', day.day::timestamp)::date as month, day.bucket,
      bit_or(1 << (extract(day from day.day)::int - 1)) as days
    from day
    group by 1, 2
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select day.bucket, queued.person_id, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join day on day.day = queued.day
    where queued.item_id = any (v_items)
  ),

  queued_month as materialized (
    select
      entry.person_id, month.month,
      analytics._days_of_month(month.month, entry.first_day, entry.end_day) as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    join (select distinct month_bucket.month from month_bucket) as month
      on month.month < entry.end_day
      and month.month > entry.first_day - 31
  ),

  stored as (
    select month_bucket.bucket, month_bucket.month, item_month.part::bigint * 32768 + listed.person as person_id,
      listed.days & month_bucket.days as days
    from track.item_month
    join month_bucket on month_bucket.month = item_month.month
    cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
    where not v_is_course
      and item_month.item_id = any (v_items)
      and listed.days & month_bucket.days <> 0

    union all

    select month_bucket.bucket, month_bucket.month, course_presence.block::bigint * 4096 + listed.member,
      listed.days & month_bucket.days
    from track.course_presence
    join month_bucket on month_bucket.month = course_presence.month
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_is_course
      and course_presence.item_id = _trend_of_item.of_item_id
      and listed.days & month_bucket.days <> 0
  ),

  people as (
    select used.bucket, count(*) as person_count
    from (
      select stored.bucket, stored.person_id
      from stored
      join counted
        on counted.block = stored.person_id / 4096
        and get_bit(counted.people, (stored.person_id % 4096)::int) <> 0
      left join queued_month on queued_month.person_id = stored.person_id and queued_month.month = stored.month
      where stored.days & ~coalesce(queued_month.days, 0) <> 0
      union
      select queued.bucket, queued.person_id
      from queued
      where not queued.was
    ) as used
    group by used.bucket
  ),

  summed as (
    select spent.bucket, sum(spent.event_count)::bigint as event_count, sum(spent.engaged) as engaged
    from (
      select day.bucket, item_day.event_count, item_day.engaged
      from day
      cross join unnest(case when v_is_course then array[_trend_of_item.of_item_id] else v_items end) as part (item_id)
      join track.item_day
        on item_day.with_parts = v_is_course
        and item_day.day = day.day
        and item_day.item_id = part.item_id
      union all
      select
        queued.bucket,
        case when queued.was then -queued.event_count else queued.event_count end,
        case when queued.was then -queued.engaged else queued.engaged end
      from queued
    ) as spent
    group by spent.bucket
  )

  select people.bucket, coalesce(summed.event_count, 0), people.person_count, coalesce(summed.engaged, '0')
  from people
  left join summed on summed.bucket = people.bucket;
end;
$$;

comment on function analytics._trend_of_item(bigint, timestamptz[], date[]) is $$
Returns the exact use of an item and what it contains by counted people, per bucket with use.
`bounds` and `of_days` are those of `analytics._trend`. Read from `track.item_day`, `track.item_month` and
`track.course_presence`, as `analytics.popular_items` does, with the privileges of the caller.
$$;

grant execute on function analytics._trend_of_item(bigint, timestamptz[], date[]) to insights_reader;
--! EndIncluded analytics/trend/_trend_of_item.sql

--! Included analytics/trend/_trend.sql
create or replace function analytics._trend(
  event_type_id int, bounds timestamptz[], of_days date[] default null, of_item_id bigint default null
)
returns table (
  bucket int,
  event_count bigint,
  person_count bigint,
  counted_events bigint,
  counted_people bigint,
  counted_engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_bounds constant date[] := array(
    select (given.bound at time zone 'UTC')::date
    from unnest(bounds) with ordinality as given (bound, position)
    order by given.position
  );
  v_queued record;
begin
  if _trend.of_item_id is not null then
    return query
    select
      of_item.bucket, of_item.event_count, of_item.person_count, of_item.event_count, of_item.person_count,
      of_item.engaged
    from analytics._trend_of_item(_trend.of_item_id, _trend.bounds, _trend.of_days) as of_item;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select
      activity.person_id, activity.day, activity.was,
      case
        when _trend.event_type_id = 0 then activity.event_count - activity.automatic_count
        else activity.event_count
      end as event_count,
      case when activity.item_id is not null then activity.engaged end as engaged,
      coalesce(
        get_bit(
          case when activity.was then stored_excluded.people else excluded.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_excluded,
      coalesce(
        get_bit(
          case when activity.was then stored_counted.people else counted.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_counted
    from (
      select stored.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as stored
      where _trend.event_type_id in (0, stored.event_type_id)
      union all
      select computed.*, false
      from track.event_activity(
        v_queued.people, v_queued.first_days, v_queued.end_days, nullif(_trend.event_type_id, 0)
      ) as computed
    ) as activity
    left join excluded on excluded.block = activity.person_id / 4096
    left join counted on counted.block = activity.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = activity.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = activity.person_id / 4096
    where _trend.of_days is null
      or activity.day = any (_trend.of_days)
  ),

  change as (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end)
          filter (where not queued.is_excluded),
        0
      ) as event_count,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end) filter (where queued.is_counted),
        0
      ) as counted_count
    from queued
    where queued.event_count > 0
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count, presence.counted_count
    from track.presence
    where presence.event_type_id = _trend.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
      and (_trend.of_days is null or presence.day = any (_trend.of_days))
  ),

  by_block as (
    select
      width_bucket(coalesce(present.day, change.day), v_bounds) as bucket,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count,
      sum(coalesce(present.counted_count, 0) + coalesce(change.counted_count, 0)) as counted_count
    from present
    full join change on change.day = present.day and change.block = present.block
    group by 1, 2
  ),

  -- Time is spent in items, not in events of one type.
  engaged as (
    select width_bucket(spent.day, v_bounds) as bucket, sum(spent.engaged) as engaged
    from (
      select item_day.day, item_day.engaged
      from track.item_day
      where _trend.event_type_id = 0
        and not item_day.with_parts
        and item_day.day >= v_first_day
        and item_day.day < v_end_day
        and (_trend.of_days is null or item_day.day = any (_trend.of_days))
      union all
      select queued.day, case when queued.was then -queued.engaged else queued.engaged end
      from queued
      where _trend.event_type_id = 0
        and queued.is_counted
    ) as spent
    group by 1
  ),

  by_bucket as (
    select
      by_block.bucket,
      sum(by_block.event_count)::bigint as event_count,
      coalesce(sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people))), 0)::bigint as person_count,
      sum(by_block.counted_count)::bigint as counted_events,
      coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint as counted_people
    from by_block
    left join excluded on excluded.block = by_block.block
    left join counted on counted.block = by_block.block
    group by by_block.bucket
    having sum(by_block.event_count) > 0
  )

  select
    by_bucket.bucket, by_bucket.event_count, by_bucket.person_count, by_bucket.counted_events,
    by_bucket.counted_people,
    case when _trend.event_type_id = 0 then coalesce(engaged.engaged, '0') end
  from by_bucket
  left join engaged on engaged.bucket = by_bucket.bucket;
end;
$$;

comment on function analytics._trend(int, timestamptz[], date[], bigint) is $$
Returns the exact numbers of events and people per bucket that has events, with the privileges of the caller.
`event_type_id` 0: any event that is not automatic. `bounds`: n + 1 ascending beginnings of days, UTC, for the buckets
1 to n. `of_days`: only these days; null: all. Events and people are those of all people who are not excluded, and those
of the set `counted`, whose engaged time is that of any page; null for one event type. Read from the bits of
`track.presence` and the sums of `track.item_day`. `of_item_id`: use of the item, by `analytics._trend_of_item`, instead
of events.
$$;

grant execute on function analytics._trend(int, timestamptz[], date[], bigint) to insights_reader;
--! EndIncluded analytics/trend/_trend.sql

--! Included analytics/trend/_trend_of_groups.sql
create or replace function analytics._trend_of_groups(
  event_type_id int, bounds timestamptz[], smallest_group int, of_item_id bigint default null
)
returns table (bucket int, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_week constant interval := interval '7 days';
  v_known record;
  v_first_week timestamptz;
  v_end_week timestamptz;
  v_small_days date[];
  v_days date[];
begin
  -- Whole weeks, without those before and after all events.
  select min(known.first_day) as first_day, max(known.last_day) as last_day
  into v_known
  from (
    select min(presence.day)::timestamptz as first_day, max(presence.day)::timestamptz as last_day
    from track.presence
    where presence.event_type_id = _trend_of_groups.event_type_id
      and _trend_of_groups.of_item_id is null
    union all
    select min(item_month.month)::timestamptz, max(item_month.month)::timestamptz + interval '31 days'
    from track.item_ancestor as ancestor
    join track.item_month on item_month.item_id = ancestor.item_id
    where ancestor.ancestor_item_id = _trend_of_groups.of_item_id
    union all
    select min(stale.since), max(stale.until) from track.stale
  ) as known;
  v_first_week := date_trunc('week', greatest(bounds[1], v_known.first_day));
  v_end_week := v_week
    + date_trunc('week', least(bounds[cardinality(bounds)] - interval '1 microsecond', v_known.last_day));
  if v_known.first_day is null or v_first_week >= v_end_week then
    return;
  end if;

  select
    array_agg(day.day) filter (where kernel.counted_people < _trend_of_groups.smallest_group),
    coalesce(array_agg(day.day) filter (where kernel.counted_people >= _trend_of_groups.smallest_group), '{}')
  into v_small_days, v_days
  from analytics._trend(
    _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, interval '1 day')),
    of_item_id => _trend_of_groups.of_item_id
  ) as kernel
  cross join lateral (select v_first_week::date + kernel.bucket - 1 as day) as day;

  -- A bucket contains the weeks that are whole within it.
  v_days := v_days || array(
    select small.day
    from analytics._trend(
      _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, v_week)), v_small_days,
      _trend_of_groups.of_item_id
    ) as week
    join unnest(v_small_days) as small (day) on (small.day - v_first_week::date) / 7 + 1 = week.bucket
    cross join lateral (select v_first_week + (week.bucket - 1) * v_week as week_start) as place
    where v_small_days is not null
      and week.counted_people >= _trend_of_groups.smallest_group
      and width_bucket(place.week_start, _trend_of_groups.bounds)
        = width_bucket(place.week_start + interval '6 days', _trend_of_groups.bounds)
  );

  return query
  select kernel.bucket, kernel.counted_events, kernel.counted_people, kernel.counted_engaged
  from analytics._trend(
    _trend_of_groups.event_type_id, _trend_of_groups.bounds, v_days, _trend_of_groups.of_item_id
  ) as kernel;
end;
$$;

comment on function analytics._trend_of_groups(int, timestamptz[], int, bigint) is $$
Returns the figures of counted people per bucket, so that no difference of buckets is that of a small group.
`bounds`: beginnings of days, UTC, as for `analytics._trend`, and so is `of_item_id`.
A day with fewer than `smallest_group` people is in no figure by itself: the small days of a week (from Monday) count
together, in the buckets that contain the whole week, when they have at least `smallest_group` people together, and
otherwise nowhere.
$$;

grant execute on function analytics._trend_of_groups(int, timestamptz[], int, bigint) to insights_reader;
--! EndIncluded analytics/trend/_trend_of_groups.sql

--! Included analytics/trend/_trend_uses.sql
create or replace function analytics._trend_uses(
  event_type_id int, bounds timestamptz[], of_item_id bigint, breakdown text
)
returns table (person_id bigint, bucket int, value text, event_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_kind constant text := split_part(breakdown, '.', 1);
  v_name constant text := substr(breakdown, length(v_kind) + 2);
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_uses.of_item_id
  );
begin
  if v_kind = 'property'
    and _trend_uses.of_item_id is null
    and track.is_property_complete(_trend_uses.event_type_id, v_name)
  then
    return query
    select declared.person_id, declared.bucket, declared.value, declared.event_count, null::interval
    from track.value_buckets(_trend_uses.event_type_id, v_name, _trend_uses.bounds) as declared
    left join track.person_set_blocks('excluded') as excluded on excluded.block = declared.person_id / 4096
    where coalesce(get_bit(excluded.people, (declared.person_id % 4096)::int), 0) = 0;
  elsif v_kind in ('item', 'property', 'trait_then') then
    return query
    with history as materialized (
      select changes.person_id, changes.set_at, changes.value
      from track.trait_changes(null, v_name) as changes
      where v_kind = 'trait_then'
    ),

    excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    happened as (
      select
        event.person_id,
        width_bucket(event.occurred_at, _trend_uses.bounds) as bucket,
        case when v_kind = 'item' then event.item_id end as item_id,
        left(
          case v_kind
            when 'property' then event.properties ->> v_name
            when 'trait_then' then history.value[width_bucket(event.occurred_at, history.set_at)] #>> '{}'
          end,
          200
        ) as value,
        count(*) as event_count
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      left join history on history.person_id = event.person_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
        and case
          when _trend_uses.event_type_id <> 0 then event.event_type_id = _trend_uses.event_type_id
          else _trend_uses.of_item_id is not null or not (event_type.is_automatic or source.is_automatic)
        end
        and (_trend_uses.of_item_id is null or event.item_id = any (v_items))
      group by 1, 2, 3, 4
    )

    select
      happened.person_id, happened.bucket,
      case when v_kind = 'item' then item.external_id else happened.value end,
      happened.event_count, null::interval
    from happened
    left join track.item on item.item_id = happened.item_id
    left join excluded on excluded.block = happened.person_id / 4096
    where coalesce(get_bit(excluded.people, (happened.person_id % 4096)::int), 0) = 0;
  else
    return query
    select person_bucket.person_id, person_bucket.bucket, null::text, person_bucket.event_count, null::interval
    from analytics._person_buckets(
      _trend_uses.event_type_id, _trend_uses.bounds, _trend_uses.of_item_id
    ) as person_bucket;
  end if;

  -- Time is spent in items, not in events of one type, and a page view has no property.
  if _trend_uses.event_type_id <> 0 or v_kind = 'property' then
    return;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  history as materialized (
    select changes.person_id, changes.set_at, changes.value
    from track.trait_changes(null, v_name) as changes
    where v_kind = 'trait_then'
  ),

  queued as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1) as queued_days
    cross join lateral unnest(queued_days.people, queued_days.first_days, queued_days.end_days)
      as entry (person_id, first_day, end_day)
  ),

  viewed as (
    select page_view.*
    from track.session
    join counted
      on counted.block = session.person_id / 4096
      and get_bit(counted.people, (session.person_id % 4096)::int) <> 0
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
    where session.ended_at >= v_since
      and session.started_at < v_until
      and page_view.item_id is not null
      and (_trend_uses.of_item_id is null or page_view.item_id = any (v_items))
  )

  select
    spent.person_id, spent.bucket, coalesce(item.external_id, spent.value), 0::bigint, spent.engaged
  from (
    select
      viewed.person_id, width_bucket(viewed.started_at, _trend_uses.bounds) as bucket,
      case when v_kind = 'item' then viewed.item_id end as item_id,
      left(history.value[width_bucket(viewed.started_at, history.set_at)] #>> '{}', 200) as value,
      sum(viewed.engaged) as engaged
    from viewed
    left join history on history.person_id = viewed.person_id
    left join queued
      on queued.person_id = viewed.person_id
      and viewed.started_at >= queued.since
      and viewed.started_at < queued.until
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    where queued.person_id is null
      or exists (
        select
        from track.event
        where event.person_id = viewed.person_id
          and event.occurred_at between viewed.started_at and viewed.ended_at
          and event.event_id = viewed.event_id
      )
    group by 1, 2, 3, 4
  ) as spent
  left join track.item on item.item_id = spent.item_id;
end;
$$;

comment on function analytics._trend_uses(int, timestamptz[], bigint, text) is $$
Returns the numbers of events per person, bucket and value of a breakdown, with the privileges of the caller.
`event_type_id`, `bounds` and `of_item_id` are those of `analytics._person_buckets`. `breakdown`: `item`,
`property.<name>` or `trait_then.<name>`, read from the events: the external id of the item of an event, the text of its
property, or that of the trait of the person at this time, of which the first 200 characters distinguish values; other
breakdowns are not values of events, and leave `value` null. Declared properties (`track.declare_property`) are read
from the journeys.
Engaged times are rows of their own, without events: those of page views of counted people; none for one event type, and
none by property.
$$;

grant execute on function analytics._trend_uses(int, timestamptz[], bigint, text) to insights_reader;
--! EndIncluded analytics/trend/_trend_uses.sql

--! Included analytics/trend/_trend_values.sql
create or replace function analytics._trend_values(
  event_type_id int, bounds timestamptz[], of_item_id bigint, among text, breakdown text, smallest_group int
)
returns table (
  person_id bigint,
  bucket int,
  is_member boolean,
  value text,
  is_other boolean,
  event_count bigint,
  engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_by_person constant boolean := coalesce(breakdown ~ '^(set|trait)\.', false);
  v_counted_only constant boolean := of_item_id is not null or smallest_group is not null;
begin
  return query
  with member as materialized (
    select filter.block, filter.people
    from analytics._among(_trend_values.among, _trend_values.smallest_group) as filter
    where _trend_values.among is not null
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  person_value as materialized (
    select stated.value, stated.is_other, stated.block, stated.people
    from analytics._people_by_value(_trend_values.breakdown, 100, _trend_values.smallest_group) as stated
    where v_by_person
  ),

  used as (
    select
      uses.*,
      _trend_values.among is null
        or uses.person_id <> 0 and coalesce(get_bit(member.people, (uses.person_id % 4096)::int), 0) <> 0 as is_member
    from analytics._trend_uses(
      _trend_values.event_type_id, _trend_values.bounds, _trend_values.of_item_id, _trend_values.breakdown
    ) as uses
    left join member on member.block = uses.person_id / 4096
    left join counted on counted.block = uses.person_id / 4096
    where not v_counted_only
      or get_bit(counted.people, (uses.person_id % 4096)::int) <> 0
  ),

  kept as materialized (
    select used.*
    from used
    -- The rest is needed to see that it is not that of a small group.
    where used.is_member
      or _trend_values.smallest_group is not null
  )

  select
    kept.person_id, kept.bucket, kept.is_member, person_value.value, person_value.is_other, kept.event_count,
    kept.engaged
  from kept
  join person_value
    on person_value.block = kept.person_id / 4096
    and get_bit(person_value.people, (kept.person_id % 4096)::int) <> 0
  union all
  select kept.person_id, kept.bucket, kept.is_member, kept.value, false, kept.event_count, kept.engaged
  from kept
  where not v_by_person;
end;
$$;

comment on function analytics._trend_values(int, timestamptz[], bigint, text, text, int) is $$
Returns the rows of `analytics._trend_uses` with the values of any breakdown, with the privileges of the caller.
`breakdown` null: one null value. Of the use of an item, counted people only. `smallest_group` null: only members of
`among`, which reads all sets as they are; otherwise all counted people, and small sets and values of people are not
named (see `analytics._among` and `analytics._people_by_value`). `is_other`: a value that is not named.
A person who belongs to several sets of a breakdown has a row for each.
$$;

grant execute on function analytics._trend_values(int, timestamptz[], bigint, text, text, int) to insights_reader;
--! EndIncluded analytics/trend/_trend_values.sql

--! Included analytics/trend/_trend_by_declared_value.sql
create or replace function analytics._trend_by_declared_value(
  event_type_id int, bounds timestamptz[], property text, top_values int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant date[] := array(
    select (bound at time zone 'UTC')::date
    from unnest(_trend_by_declared_value.bounds) with ordinality as listed (bound, position)
    order by listed.position
  );
begin
  return query
  with stored as materialized (
    select
      days.value, days.day, days.block, days.people, days.event_count,
      case when not days.is_other then coalesce('=' || days.value, '') end as key
    from track.value_days(
      _trend_by_declared_value.event_type_id, _trend_by_declared_value.property, v_days[1], v_days[cardinality(v_days)],
      v_days
    ) as days
  ),

  top as materialized (
    select stored.key, stored.value
    from stored
    where stored.key is not null
    group by stored.key, stored.value
    having sum(stored.event_count) > 0
    order by sum(stored.event_count) desc, stored.key collate "C"
    limit _trend_by_declared_value.top_values
  ),

  by_block as (
    select
      top.value, top.key is null as is_other, stored.day, stored.block,
      bit_or(stored.people) as people, sum(stored.event_count) as event_count
    from stored
    left join top on top.key = stored.key
    group by 1, 2, 3, 4
  )

  select
    by_block.value, by_block.is_other, array_position(v_days, by_block.day), sum(by_block.event_count)::bigint,
    sum(bit_count(by_block.people & ~coalesce(excluded.people, b'0'::bit(4096))))::bigint,
    null::interval
  from by_block
  left join track.person_set_blocks('excluded') as excluded on excluded.block = by_block.block
  group by by_block.value, by_block.is_other, by_block.day
  having sum(by_block.event_count) > 0;
end;
$$;

comment on function analytics._trend_by_declared_value(int, timestamptz[], text, int) is $$
Returns what `analytics._trend_by_value` returns, of a declared property that is complete, with the caller's privileges.
From the bits of `track.value_days`: of all people and items, in buckets of whole days (UTC), and of at most as many
`top_values` as declared.
$$;

grant execute on function analytics._trend_by_declared_value(int, timestamptz[], text, int) to insights_reader;
--! EndIncluded analytics/trend/_trend_by_declared_value.sql

--! Included analytics/trend/_trend_by_value.sql
create or replace function analytics._trend_by_value(
  event_type_id int, bounds timestamptz[], of_item_id bigint, among text, breakdown text, top_values int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_property constant text := substr(breakdown, 10);
begin
  if _trend_by_value.breakdown is null and _trend_by_value.of_item_id is null and _trend_by_value.event_type_id <> 0
  then
    return query
    select
      null::text, false, entry.bucket, sum(entry.event_count)::bigint, count(nullif(entry.person_id, 0)), null::interval
    from analytics._person_buckets(_trend_by_value.event_type_id, _trend_by_value.bounds) as entry
    left join analytics._among(_trend_by_value.among) as member on member.block = entry.person_id / 4096
    where _trend_by_value.among is null
      or entry.person_id <> 0 and get_bit(member.people, (entry.person_id % 4096)::int) <> 0
    group by entry.bucket;
    return;
  end if;

  if _trend_by_value.breakdown is null and _trend_by_value.of_item_id is null then
    -- One row per person and bucket, beside those of engaged time.
    return query
    select
      null::text, false, entry.bucket, sum(entry.event_count)::bigint,
      count(*) filter (where entry.person_id <> 0 and entry.event_count > 0), sum(entry.engaged)
    from analytics._trend_values(
      _trend_by_value.event_type_id, _trend_by_value.bounds, null, _trend_by_value.among, null, null
    ) as entry
    group by entry.bucket;
    return;
  end if;

  if _trend_by_value.breakdown like 'property.%'
    and _trend_by_value.among is null
    and _trend_by_value.of_item_id is null
    and track.is_property_complete(_trend_by_value.event_type_id, v_property)
    and _trend_by_value.top_values <= (
      select declared.most_values
      from track.declared_property as declared
      where declared.event_type_id = _trend_by_value.event_type_id
        and declared.property = v_property
    )
    and not exists (
      select from unnest(_trend_by_value.bounds) as bound where bound <> date_trunc('day', bound, 'UTC')
    )
  then
    return query
    select declared.*
    from analytics._trend_by_declared_value(
      _trend_by_value.event_type_id, _trend_by_value.bounds, v_property, _trend_by_value.top_values
    ) as declared;
    return;
  end if;

  return query
  with used as materialized (
    select
      entry.person_id, entry.bucket, entry.value, entry.event_count, entry.engaged,
      -- Null: a value that is not named. Keys are comparable where values are null.
      case when not entry.is_other then coalesce('=' || entry.value, '') end as key
    from analytics._trend_values(
      _trend_by_value.event_type_id, _trend_by_value.bounds, _trend_by_value.of_item_id, _trend_by_value.among,
      _trend_by_value.breakdown, null
    ) as entry
  ),

  top as materialized (
    select used.key, used.value
    from used
    where used.key is not null
    group by used.key, used.value
    order by sum(used.event_count) desc, used.key collate "C"
    limit _trend_by_value.top_values
  ),

  by_person as (
    select
      top.value, top.key is null as is_other, used.bucket, used.person_id,
      sum(used.event_count) as event_count, sum(used.engaged) as engaged
    from used
    left join top on top.key = used.key
    group by 1, 2, 3, 4
  )

  select
    by_person.value, by_person.is_other, by_person.bucket, sum(by_person.event_count)::bigint,
    count(*) filter (
      where by_person.person_id <> 0 and (by_person.event_count > 0 or _trend_by_value.of_item_id is not null)
    ),
    sum(by_person.engaged)
  from by_person
  group by by_person.value, by_person.is_other, by_person.bucket;
end;
$$;

comment on function analytics._trend_by_value(int, timestamptz[], bigint, text, text, int) is $$
Returns the exact figures per bucket and value of a breakdown that has events, with the privileges of the caller.
The arguments are those of `analytics._trend_values`. The `top_values` values with most events in the period are named;
the others are one group, `is_other`. Engaged time is that of counted people, and null where there is none.
$$;

grant execute on function analytics._trend_by_value(int, timestamptz[], bigint, text, text, int) to insights_reader;
--! EndIncluded analytics/trend/_trend_by_value.sql

--! Included analytics/trend/_trend_by_value_of_groups.sql
create or replace function analytics._trend_by_value_of_groups(
  event_type_id int,
  bounds timestamptz[],
  of_item_id bigint,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_monday constant timestamptz := '1970-01-05Z';
  v_week constant interval := interval '7 days';
  v_buckets constant int := cardinality(bounds) - 1;
  -- Levels of units, each of which is part of one of the level before it; those of the last level are the atoms.
  v_units constant interval[] := array(
    select level.unit
    from unnest('{1 day,1 hour,15 minutes,1 minute}'::interval[], '{null,1 day,1 hour,15 minutes}'::interval[])
      with ordinality as level (unit, parent_unit, position)
    where level.parent_unit is null
      or exists (
        select
        from unnest(_trend_by_value_of_groups.bounds) as bound
        where bound <> date_bin(level.parent_unit, bound, v_monday)
      )
    order by level.position
  );
  v_unit constant interval := v_units[cardinality(v_units)];
  v_of_days constant boolean := cardinality(v_units) = 1;
  -- Whole days, or weeks where these are counted together.
  v_extent constant interval := case when v_of_days then v_week else interval '1 day' end;
  v_event_days constant timestamptz[] := array(
    select unnest(array[least(min(first_day), min(last_day)), greatest(max(first_day), max(last_day))])
    from (
      select stored.first_day, stored.last_day
      from track.event_type
      cross join lateral (
        select min(presence.day)::timestamptz as first_day, max(presence.day)::timestamptz as last_day
        from track.presence
        where presence.event_type_id = event_type.event_type_id
      ) as stored
      union all
      select stale.since, stale.until from track.stale
    ) as known
  );
  v_first constant timestamptz := date_bin(v_extent, greatest(bounds[1], v_event_days[1]), v_monday);
  v_last constant timestamptz := date_bin(
    v_extent, least(bounds[v_buckets + 1] - interval '1 microsecond', v_event_days[2]), v_monday
  );
  v_atoms timestamptz[];
begin
  if _trend_by_value_of_groups.breakdown is not null and not v_of_days then
    perform common.refuse(
      'CF001',
      'the buckets of a breakdown are not whole days of the zone UTC',
      'Figures of groups are broken down by day: use day or a longer bucket, and the zone UTC, or leave out breakdown.'
    );
  end if;
  if v_first > v_last or v_event_days[1] is null then
    return;
  end if;
  if extract(epoch from v_last + v_extent - v_first) > 200000 * extract(epoch from v_unit) then
    perform common.refuse(
      'CF008',
      format('the period consists of more than 200000 parts of %s', v_unit),
      'Give a shorter period, or use days of the zone UTC.'
    );
  end if;
  v_atoms := array(select generate_series(v_first, v_last + v_extent, v_unit));

  return query
  with used as materialized (
    select
      entry.person_id, v_atoms[entry.bucket] as atom, entry.is_member, entry.value, entry.event_count, entry.engaged,
      entry.event_count > 0 or _trend_by_value_of_groups.of_item_id is not null as is_use,
      -- Null: a value that is not named. Keys are comparable where values are null.
      case when not entry.is_other then coalesce('=' || entry.value, '') end as key
    from analytics._trend_values(
      _trend_by_value_of_groups.event_type_id, v_atoms, _trend_by_value_of_groups.of_item_id,
      _trend_by_value_of_groups.among, _trend_by_value_of_groups.breakdown, _trend_by_value_of_groups.smallest_group
    ) as entry
  ),

  level as (
    select given.unit, given.level::int as level, v_units[given.level - 1] as parent_unit
    from unnest(v_units) with ordinality as given (unit, level)
  ),

  -- Units of all people: without small ones, and without the smallest other one of the same parent.
  unit_size as (
    select
      unit_person.level, unit_person.unit_start, unit_person.parent_start,
      count(*) as people, count(*) filter (where unit_person.is_member) as members
    from (
      select
        level.level, date_bin(level.unit, used.atom, v_monday) as unit_start,
        date_bin(coalesce(level.parent_unit, level.unit), used.atom, v_monday) as parent_start,
        used.person_id, bool_or(used.is_member) as is_member
      from used
      cross join level
      where used.is_use
      group by 1, 2, 3, 4
    ) as unit_person
    group by 1, 2, 3
  ),

  open_unit as (
    select
      ranked.*,
      ranked.is_group and (ranked.level = 1 or not ranked.has_small or ranked.position > 1) as is_open
    from (
      select
        unit_size.*,
        unit_size.people >= _trend_by_value_of_groups.smallest_group as is_group,
        bool_or(unit_size.people < _trend_by_value_of_groups.smallest_group) over of_parent as has_small,
        row_number() over (
          partition by
            unit_size.level, unit_size.parent_start,
            unit_size.people >= _trend_by_value_of_groups.smallest_group
          order by unit_size.people, unit_size.unit_start
        ) as position
      from unit_size
      window of_parent as (partition by unit_size.level, unit_size.parent_start)
    ) as ranked
  ),

  -- Of these the units of the members, whose difference to all people must not be a small group either.
  shown_unit as materialized (
    select
      ranked.level, ranked.unit_start, ranked.is_open, ranked.members,
      case
        when _trend_by_value_of_groups.among is null then ranked.is_open
        else ranked.is_of_groups and (ranked.level = 1 or not ranked.has_hidden or ranked.member_position > 1)
      end as is_shown
    from (
      select
        grouped.*,
        bool_or(grouped.members > 0 and not grouped.is_of_groups) over (
          partition by grouped.level, grouped.parent_start
        ) as has_hidden,
        row_number() over (
          partition by grouped.level, grouped.parent_start, grouped.is_of_groups
          order by grouped.members, grouped.unit_start
        ) as member_position
      from (
        select
          open_unit.level, open_unit.unit_start, open_unit.parent_start, open_unit.members, open_unit.is_open,
          open_unit.is_open
            and open_unit.members >= _trend_by_value_of_groups.smallest_group
            and open_unit.people - open_unit.members not between 1 and _trend_by_value_of_groups.smallest_group - 1
            as is_of_groups
        from open_unit
      ) as grouped
    ) as ranked
  ),

  atom as (
    select distinct used.atom from used where used.is_use
  ),

  shown_atom as materialized (
    select atom.atom
    from atom
    cross join level
    left join shown_unit
      on shown_unit.level = level.level
      and shown_unit.unit_start = date_bin(level.unit, atom.atom, v_monday)
    group by atom.atom
    having bool_and(coalesce(shown_unit.is_shown, false))
  ),

  -- The other days of a week count together, in buckets that contain the week.
  small_day as materialized (
    select shown_unit.unit_start as atom, date_bin(v_week, shown_unit.unit_start, v_monday) as week_start
    from shown_unit
    where v_of_days
      and not shown_unit.is_shown
      -- A day without members adds nothing, and must not make a group of the others.
      and (_trend_by_value_of_groups.among is null or shown_unit.is_open and shown_unit.members > 0)
  ),

  shown_week as (
    select week_person.week_start
    from (
      select small_day.week_start, used.person_id, bool_or(used.is_member) as is_member
      from small_day
      join used on used.atom = small_day.atom and used.is_use
      group by 1, 2
    ) as week_person
    where width_bucket(week_person.week_start, _trend_by_value_of_groups.bounds)
      = width_bucket(week_person.week_start + interval '6 days', _trend_by_value_of_groups.bounds)
    group by week_person.week_start
    having count(*) filter (where week_person.is_member) >= _trend_by_value_of_groups.smallest_group
      and count(*) filter (where not week_person.is_member)
        not between 1 and _trend_by_value_of_groups.smallest_group - 1
  ),

  -- Values of a day: small ones are part of the rest, and the smallest other one if the rest was small.
  value_person as materialized (
    select used.atom, used.key, used.person_id, bool_or(used.is_member) as is_member
    from used
    where _trend_by_value_of_groups.breakdown is not null
      and used.is_use
    group by 1, 2, 3
  ),

  value_size as (
    select
      value_person.atom, value_person.key,
      count(*) as people, count(*) filter (where value_person.is_member) as members,
      count(*) >= _trend_by_value_of_groups.smallest_group and value_person.key is not null as is_group
    from value_person
    group by 1, 2
  ),

  value_group as materialized (
    select
      value_size.*,
      row_number() over (
        partition by value_size.atom, value_size.is_group order by value_size.people, value_size.key collate "C"
      ) as position
    from value_size
  ),

  small_rest as (
    select value_person.atom
    from value_person
    join value_group
      on value_group.atom = value_person.atom
      -- Equal, because "is not distinct from" cannot be hashed. No key is that of the values that are not named.
      and coalesce(value_group.key, 'other') = coalesce(value_person.key, 'other')
    where not value_group.is_group
    group by 1
    having count(distinct value_person.person_id) < _trend_by_value_of_groups.smallest_group
  ),

  kept_value as materialized (
    select value_group.atom, value_group.key, value_group.people, value_group.members
    from value_group
    left join small_rest on small_rest.atom = value_group.atom
    where value_group.is_group
      and (value_group.position > 1 or small_rest.atom is null)
  ),

  -- Of members, the values of a day only if none of them, nor the rest, has a small group of members or of others.
  mixed_day as (
    select mixed.atom
    from (
      select kept_value.atom, kept_value.people, kept_value.members from kept_value
      union all
      select
        value_person.atom, count(distinct value_person.person_id),
        count(distinct value_person.person_id) filter (where value_person.is_member)
      from value_person
      left join kept_value on kept_value.atom = value_person.atom and kept_value.key = value_person.key
      where kept_value.key is null
      group by 1
    ) as mixed
    where _trend_by_value_of_groups.among is not null
      and (
        mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
        or mixed.people - mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
      )
  ),

  shown_value as materialized (
    select kept_value.atom, kept_value.key
    from kept_value
    where kept_value.atom not in (select mixed_day.atom from mixed_day)
  ),

  counted as materialized (
    select
      used.*,
      width_bucket(used.atom, _trend_by_value_of_groups.bounds) as bucket,
      case
        when _trend_by_value_of_groups.breakdown is null then ''
        when shown_value.key is not null then used.key
      end as shown_key
    from used
    left join shown_atom on shown_atom.atom = used.atom
    left join small_day on small_day.atom = used.atom
    left join shown_week on shown_week.week_start = small_day.week_start
    left join shown_value
      on shown_value.key = used.key
      and shown_value.atom = used.atom
      and shown_atom.atom is not null
    where used.is_member
      and (shown_atom.atom is not null or shown_week.week_start is not null)
      and width_bucket(used.atom, _trend_by_value_of_groups.bounds) between 1 and v_buckets
  ),

  -- The order shows nothing that the figures do not.
  top as materialized (
    select by_person.shown_key as key, by_person.value
    from (
      select counted.shown_key, counted.value, counted.person_id, sum(counted.event_count) as event_count
      from counted
      where counted.shown_key is not null
      group by 1, 2, 3
    ) as by_person
    group by 1, 2
    order by
      analytics._shown(sum(by_person.event_count)::float8, count(*), _trend_by_value_of_groups.smallest_group) desc,
      by_person.shown_key collate "C"
    limit _trend_by_value_of_groups.top_values
  ),

  by_person as (
    select
      top.value, top.key is null as is_other, counted.bucket, counted.person_id,
      bool_or(counted.is_use) as is_use,
      sum(counted.event_count) as event_count,
      sum(counted.engaged) as engaged
    from counted
    left join top on top.key = counted.shown_key
    group by 1, 2, 3, 4
  )

  select
    by_person.value, by_person.is_other, by_person.bucket, sum(by_person.event_count)::bigint,
    count(*) filter (where by_person.is_use), sum(by_person.engaged)
  from by_person
  group by by_person.value, by_person.is_other, by_person.bucket;
end;
$$;

comment on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int) is $$
Returns the figures of counted people per bucket and value of a breakdown.
No difference of figures is that of a small group. With the privileges of the caller; the other arguments are those of
`analytics._trend_by_value`.
Of buckets that consist of days (UTC), the rules for days are those of `analytics._trend_of_groups`. All other buckets
consist of hours (UTC), or where a bound is not that of an hour, of quarters of an hour or of minutes. Small hours are
left out, and in each day that has one the smallest other hour as well (secondary suppression); so are small quarters of
the hours, and small minutes of the quarters. What is missing of a day therefore has at least `smallest_group` people.
A part is in a figure of members of `among` if members and others are groups, or there are no others.
Values are those of days (UTC). Within a day, values of small groups are in the rest (`is_other`), and the smallest
other value too if the rest would be small; with `among` all values are, unless members and others are groups in each.
The sum over all values is the figure without a breakdown. Days of a week that count together are in the rest.
The named values are those with most events in the figures as shown.
Errors: CF001 for a breakdown of other buckets than days, CF008 for a period of more than 200,000 parts.
$$;

grant execute on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int)
to insights_reader;
--! EndIncluded analytics/trend/_trend_by_value_of_groups.sql

--! Included analytics/trend/_confidence_quantile.sql
create or replace function analytics._confidence_quantile(nu int)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    -- To compute a quantile takes a millisecond, and a trend needs one per number of buckets.
    when _confidence_quantile.nu between 1 and 30
      then ('{
        12.706204736174733, 4.302652729749459, 3.1824463052837104, 2.776445105197791, 2.5705818356363146,
        2.446911851144968, 2.3646242515927844, 2.3060041352041654, 2.2621571627982053, 2.228138851986271,
        2.2009851600916415, 2.1788128296672262, 2.1603686564627926, 2.144786687917801, 2.131449545559777,
        2.119905299221252, 2.1098155778333183, 2.1009220402410373, 2.0930240544083105, 2.085963447265863,
        2.0796138447276795, 2.073873067904025, 2.0686576104190473, 2.0638985616280245, 2.0595385527532977,
        2.055529438642872, 2.051830516480284, 2.0484071417952454, 2.0452296421327048, 2.0422724563012373
      }'::float8[])[_confidence_quantile.nu]
    when _confidence_quantile.nu between 31 and 200 then ml.students_t_quantile(0.975, _confidence_quantile.nu)
    -- Abramowitz and Stegun, 26.7.5.
    when _confidence_quantile.nu > 200
      then z + (z ^ 3 + z) / (4 * n) + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * n ^ 2)
        + (3 * z ^ 7 + 19 * z ^ 5 + 17 * z ^ 3 - 15 * z) / (384 * n ^ 3)
        + (79 * z ^ 9 + 776 * z ^ 7 + 1482 * z ^ 5 - 1920 * z ^ 3 - 945 * z) / (92160 * n ^ 4)
  end
  from (select 1.9599639845400547::float8 as z, _confidence_quantile.nu::float8 as n) as given;
$$;

comment on function analytics._confidence_quantile(int) is $$
Returns the quantile 0.975 of Student's t with `nu` degrees of freedom, to 11 digits.
It is half the width of a 95 % confidence interval in standard errors, and the same as
`ml.students_t_quantile(0.975, nu)`, which takes longer. Null below 1.
$$;

grant execute on function analytics._confidence_quantile(int) to insights_reader;
--! EndIncluded analytics/trend/_confidence_quantile.sql

--! Included analytics/trend/_trend_points.sql
create or replace function analytics._trend_points(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_trend_points.event_name);
  v_bounds constant timestamptz[] := analytics._bounds(
    _trend_points.bucket, _trend_points.since, _trend_points.until, _trend_points.zone
  );
  v_item_id constant bigint := analytics._item_id(_trend_points.item);
  v_buckets constant int := cardinality(v_bounds) - 1;
  v_complete constant int := width_bucket(now(), v_bounds) - 1;
  v_is_fast constant boolean := (_trend_points.item is null or v_event_type_id = 0)
    and _trend_points.among is null
    and _trend_points.breakdown is null
    and not exists (select from unnest(v_bounds) as bound where bound <> date_trunc('day', bound));
  v_has_engaged constant boolean := v_event_type_id = 0
    and coalesce(_trend_points.breakdown, '') not like 'property.%';
  -- The number of buckets in a season, and the format of the place of a bucket in it.
  v_season int;
  v_season_part text;
begin
  perform common.check_count('window_size', _trend_points.window_size, 1, 10000);
  perform common.check_count('top_values', _trend_points.top_values, 1, 100);
  if length(_trend_points.breakdown) > 200 then
    perform common.refuse('CF008', format('breakdown has %s characters', length(_trend_points.breakdown)),
      'It can have 200 at most.');
  end if;
  if _trend_points.breakdown !~ '^(item|(property|set|trait|trait_then)\..+)$' then
    perform common.refuse('CF001', format('breakdown is "%s"', left(_trend_points.breakdown, 100)),
      'Use item, property.<name>, trait.<name>, trait_then.<name> or set.<family or name of sets of people>.');
  end if;
  -- Also where no event is read.
  if _trend_points.among is not null then
    perform from analytics._among(_trend_points.among);
  end if;
  if _trend_points.breakdown like 'set.%' then
    perform from analytics._people_by_value(_trend_points.breakdown, 1);
  end if;
  if _trend_points.breakdown is not null and v_buckets * (_trend_points.top_values + 2) > 200000 then
    perform common.refuse(
      'CF008',
      format('%s buckets of %s values are more than 200000 rows', v_buckets, _trend_points.top_values + 2),
      'Give a shorter period, a larger bucket, or fewer top_values.'
    );
  end if;
  select season.buckets, season.part
  into v_season, v_season_part
  from (
    values
      ('minute', 1440, 'HH24:MI'), ('hour', 168, 'ID HH24'), ('day', 7, 'ID'), ('week', 52, 'IW'), ('month', 12, 'MM'),
      ('quarter', 4, 'Q')
  ) as season (bucket, buckets, part)
  where season.bucket = _trend_points.bucket;

  return query
  with kernel as (
    select null::text as value, false as is_other, exact.bucket, exact.event_count, exact.person_count,
      exact.counted_engaged as engaged
    from analytics._trend(v_event_type_id, v_bounds, null, v_item_id) as exact
    where v_is_fast
      and _trend_points.smallest_group is null
    union all
    select null, false, of_groups.bucket, of_groups.event_count, of_groups.person_count, of_groups.engaged
    from analytics._trend_of_groups(v_event_type_id, v_bounds, _trend_points.smallest_group, v_item_id) as of_groups
    where v_is_fast
      and _trend_points.smallest_group is not null
    union all
    select by_value.*
    from analytics._trend_by_value(
      v_event_type_id, v_bounds, v_item_id, _trend_points.among, _trend_points.breakdown, _trend_points.top_values
    ) as by_value
    where not v_is_fast
      and _trend_points.smallest_group is null
    union all
    select by_value.*
    from analytics._trend_by_value_of_groups(
      v_event_type_id, v_bounds, v_item_id, _trend_points.among, _trend_points.breakdown, _trend_points.top_values,
      _trend_points.smallest_group
    ) as by_value
    where not v_is_fast
      and _trend_points.smallest_group is not null
  ),

  figures as materialized (
    select
      kernel.value, kernel.is_other, kernel.bucket,
      analytics._shown(kernel.event_count, kernel.person_count, _trend_points.smallest_group)::bigint as event_count,
      analytics._shown(kernel.person_count, kernel.person_count, _trend_points.smallest_group)::bigint as person_count,
      case
        when coalesce(_trend_points.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _trend_points.smallest_group
        ))
      end as engaged
    from kernel
    where coalesce(_trend_points.smallest_group, 1) <= greatest(kernel.person_count, 1)
  ),

  series as (
    select
      listed.value, listed.is_other,
      row_number() over (order by listed.is_other, listed.event_count desc, listed.value collate "C" nulls first)
        as series_number
    from (
      select figures.value, figures.is_other, sum(figures.event_count) as event_count
      from figures
      where _trend_points.breakdown is not null
      group by 1, 2
      union all
      select null, false, 0
      where _trend_points.breakdown is null
    ) as listed
  ),

  filled as (
    select
      series.series_number,
      case when series.is_other then 'other' else series.value end as value,
      series.is_other,
      placed.bucket_number,
      v_bounds[placed.bucket_number] as bucket_start,
      placed.bucket_number <= v_complete as is_complete,
      coalesce(figures.event_count, 0) as event_count,
      coalesce(figures.person_count, 0) as person_count,
      case when v_has_engaged then coalesce(figures.engaged, '0') end as engaged
    from series
    cross join generate_series(1, v_buckets) as placed (bucket_number)
    left join figures
      on figures.bucket = placed.bucket_number
      and figures.is_other = series.is_other
      and coalesce('=' || figures.value, '') = coalesce('=' || series.value, '')
  ),

  -- Sums of whole numbers, which are exact in any order. The rows after the last complete bucket have its number.
  summed as (
    select
      filled.*,
      count(*) filter (where filled.is_complete) over last_buckets as n,
      sum(filled.bucket_number::numeric) filter (where filled.is_complete) over last_buckets as sum_x,
      sum(filled.event_count) filter (where filled.is_complete) over last_buckets as sum_y,
      sum(filled.bucket_number::numeric * filled.bucket_number) filter (where filled.is_complete) over last_buckets
        as sum_xx,
      sum(filled.bucket_number::numeric * filled.event_count) filter (where filled.is_complete) over last_buckets
        as sum_xy,
      sum(filled.event_count::numeric * filled.event_count) filter (where filled.is_complete) over last_buckets
        as sum_yy,
      sum(filled.event_count) over by_time as cumulative_events,
      lag(filled.event_count) over by_time as previous_events,
      lag(filled.event_count, coalesce(v_season, v_buckets)) over by_time as season_events,
      case
        when count(*) filter (where filled.is_complete) over season = v_season / 2 * 2 + 1
          then (
            sum(filled.event_count) over season
              - case
                when v_season % 2 = 0
                  then (
                    lag(filled.event_count, v_season / 2) over by_time
                      + lead(filled.event_count, v_season / 2) over by_time
                  ) / 2.0
                else 0
              end
          ) / v_season
      end as level
    from filled
    window
      last_buckets as (
        partition by filled.series_number
        order by case when v_complete > 0 then least(filled.bucket_number, v_complete) else filled.bucket_number end
        range between (_trend_points.window_size - 1) preceding and current row
      ),
      by_time as (partition by filled.series_number order by filled.bucket_number),
      season as (
        partition by filled.series_number
        order by filled.bucket_number
        rows between coalesce(v_season / 2, 0) preceding and coalesce(v_season / 2, 0) following
      )
  ),

  line as (
    select
      summed.*,
      (summed.n * summed.sum_xy - summed.sum_x * summed.sum_y) / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)
        as slope,
      -- Standard error: the squares of the residuals by the squares of the distances in time.
      sqrt(greatest(
        0,
        (
          (summed.n * summed.sum_yy - summed.sum_y ^ 2) / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)
            - ((summed.n * summed.sum_xy - summed.sum_x * summed.sum_y)
              / nullif(summed.n * summed.sum_xx - summed.sum_x ^ 2, 0)) ^ 2
        ) / nullif(summed.n - 2, 0)
      )) as std_err
    from summed
  ),

  quantile as materialized (
    select distinct_n.n, analytics._confidence_quantile((distinct_n.n - 2)::int) as quantile
    from (select distinct line.n from line where line.n >= 3) as distinct_n
  ),

  noted as (
    select
      placed.bucket_number,
      array_agg(annotation.title order by annotation.starts_at, annotation.annotation_id) as titles
    from generate_series(1, v_buckets) as placed (bucket_number)
    join analytics.annotation
      on annotation.starts_at < v_bounds[placed.bucket_number + 1]
      and coalesce(annotation.ends_at, annotation.starts_at + interval '1 microsecond') > v_bounds[placed.bucket_number]
    where annotation.starts_at < v_bounds[v_buckets + 1]
    group by placed.bucket_number
  ),

  component as (
    select
      detrended.series_number, detrended.season_part,
      detrended.median - avg(detrended.median) over (partition by detrended.series_number) as component
    from (
      select
        line.series_number, to_char(line.bucket_start at time zone _trend_points.zone, v_season_part) as season_part,
        (percentile_cont(0.5) within group (order by (line.event_count - line.level)::float8))::numeric as median
      from line
      where line.level is not null
        and v_complete >= 2 * v_season
      group by 1, 2
    ) as detrended
  )

  select
    line.bucket_start,
    line.event_count,
    line.person_count,
    (line.sum_y / nullif(line.n, 0))::float8,
    line.slope::float8,
    line.is_complete,
    line.value,
    line.is_other,
    line.engaged,
    line.event_count::float8 / nullif(line.person_count, 0),
    line.cumulative_events::bigint,
    case when line.is_complete then line.event_count::float8 / nullif(line.previous_events, 0) - 1 end,
    case when line.is_complete then line.event_count::float8 / nullif(line.season_events, 0) - 1 end,
    line.slope::float8 - quantile.quantile * line.std_err::float8,
    line.slope::float8 + quantile.quantile * line.std_err::float8,
    case when line.is_complete then (line.event_count - component.component)::float8 end,
    _trend_points.zone,
    least(now(), v_bounds[v_buckets + 1]),
    coalesce(noted.titles, '{}')
  from line
  left join quantile on quantile.n = line.n
  left join noted on noted.bucket_number = line.bucket_number
  left join component
    on component.series_number = line.series_number
    and component.season_part = to_char(line.bucket_start at time zone _trend_points.zone, v_season_part)
  order by line.series_number, line.bucket_number;
end;
$$;

comment on function analytics._trend_points(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._trend_of_groups` and `analytics._shown`); null:
exact figures of all people. What is derived from figures is computed from the figures as shown.
$$;

grant execute on function analytics._trend_points(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int, int
) to insights_reader;
--! EndIncluded analytics/trend/_trend_points.sql

--! Included analytics/trend/trend.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trend_exact(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_point
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
  select * from analytics._trend_points($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null);
$$;

alter function analytics._trend_exact(text, text, timestamptz, timestamptz, int, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._trend_exact(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the result of `analytics.trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._trend_exact(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trend_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_point
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
  from analytics._trend_points(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._trend_shown(text, text, timestamptz, timestamptz, int, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._trend_shown(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the result of `analytics.trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._trend_shown(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_analyst;

create or replace function analytics.trend(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  window_size int default 7,
  zone text default 'UTC',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trend_exact(text, text, timestamptz, timestamptz, int, text, text, text, text, int)', 'execute'
  ) then
    return query
    select *
    from analytics._trend_exact(
      trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size, trend.zone, trend.item, trend.among,
      trend.breakdown, trend.top_values
    );
  else
    return query
    select *
    from analytics._trend_shown(
      trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size, trend.zone, trend.item, trend.among,
      trend.breakdown, trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.trend(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the number of events per time bucket, of the buckets from `since` until `until` (exclusive).
`event_name`: an event; null: any event that is not automatic. `item`: only events of the item and of what it contains;
with `event_name` null any use of it, as in `analytics.popular_items`, whose figures are the same. `bucket`: `minute`,
`hour`, `day`, `week` (from Monday), `month`, `quarter` or `year`, in `zone`, a name of the IANA time zone database:
days have 23 or 25 hours when its clocks change. `among`: an expression of sets of people as of now, such as
`segment.power & ~cohort.beta`.
The period is extended to whole buckets at both ends: the figures of a bucket do not depend on the arguments. Empty
buckets are zero. Each bucket has the numbers of events and distinct people, the engaged time of any page or of the item
(null for one event), the running average over the last `window_size` complete buckets, and the slope of the
least-squares line through them with its 95 % confidence interval, in events per bucket.
`breakdown`: a row for each bucket and value. `item`; `property.<name>`, a property of the event, whose values are the
text of the JSON scalar, so that 1 and "1" are the same, and are distinguished by their first 200 characters;
`trait.<name>`, a trait of the person as of now; `trait_then.<name>`, as it was at the time of the event; or
`set.<family>`, the sets whose names begin with it, as of now: a person may be in several. The value null is that of
events and people without one. The `top_values` values with most events are named, and all others are one row,
`is_other`. Values of `set` and `trait` are limited to the 100 with most people.
A bucket that has not ended yet is not complete (`is_complete`). Its numbers are those until now, and are excluded from
everything that compares buckets, because they differ by the length of the bucket. The average and slope in its own row
are those of the last complete bucket before it; null when there is none.
Of items, figures are those of counted people (set `counted`), and so is engaged time. Otherwise they include anonymous
browsers for admins and workers, who see exact figures. Analysts see figures of counted people, rounded by
`analytics._shown`; a bucket with fewer of them than `analytics.setting.smallest_group` reads as an empty one, and what
is derived from figures is computed from the figures as shown. Small days, hours and minutes, and small differences to
`among` and between values, are withheld (see `analytics._trend_by_value_of_groups`): buckets that are not days of UTC
consist of the hours that an analyst can see. The result includes every event that was stored when the function was
called; engaged times are as of the last refresh of the sessions.
Errors: CF002 for an unknown event, item, zone or set (names the nearest), CF001 for an invalid argument, CF008 for more
than 10,000 buckets or 200,000 rows.
$$;

grant execute on function analytics.trend(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/trend/trend.sql

--! Included analytics/functions/_property_values.sql
create or replace function analytics._property_values(
  event_type_id int,
  since timestamptz,
  until timestamptz,
  item_id bigint,
  among text,
  property text,
  top_values int,
  smallest_group int
)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _property_values.item_id
  );
begin
  perform common.check_count('top_values', _property_values.top_values, 1, 100);

  return array(
    select by_value.value
    from (
      select counted.value, count(*) as person_count
      from (
        select distinct left(event.properties ->> _property_values.property, 200) as value, event.person_id
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id
        join track.source on source.source_id = event.source_id
        where event.occurred_at >= _property_values.since
          and event.occurred_at < _property_values.until
          and case
            when _property_values.event_type_id <> 0 then event.event_type_id = _property_values.event_type_id
            else not (event_type.is_automatic or source.is_automatic)
          end
          and (_property_values.item_id is null or event.item_id = any (v_items))
          and event.properties ? _property_values.property
      ) as counted
      join analytics._among(_property_values.among, _property_values.smallest_group) as among
        on among.block = counted.person_id / 4096
        and get_bit(among.people, (counted.person_id % 4096)::int) <> 0
      left join track.person_set_blocks('excluded') as excluded on excluded.block = counted.person_id / 4096
      where counted.value is not null
        and counted.person_id <> 0
        and coalesce(get_bit(excluded.people, (counted.person_id % 4096)::int), 0) = 0
      group by counted.value
      having count(*) >= coalesce(_property_values.smallest_group, 1)
    ) as by_value
    order by
      analytics._shown(by_value.person_count, by_value.person_count, _property_values.smallest_group) desc,
      by_value.value
    limit _property_values.top_values
  );
end;
$$;

comment on function analytics._property_values(int, timestamptz, timestamptz, bigint, text, text, int, int) is $$
Returns the values of a property of events that most people had, the first one of most people.
Values are the text of the JSON value, at most 200 characters. `smallest_group`: of counted people, and only values that
at least as many had; null: of all people who are not excluded. Read from the events.
Errors: CF001 for an invalid number of values.
$$;

grant execute on function analytics._property_values(int, timestamptz, timestamptz, bigint, text, text, int, int)
to insights_reader;
--! EndIncluded analytics/functions/_property_values.sql

--! Included analytics/functions/_presence_by_value.sql
create or replace function analytics._presence_by_value(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, bucket int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_property constant text := substr(_presence_by_value.breakdown, length('property.') + 1);
  v_items bigint[];
  v_keys text[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _presence_by_value.breakdown is null and _presence_by_value.among is null
    and _presence_by_value.smallest_group is null
  then
    return query
    select 'none', present.bucket, present.block, present.people
    from analytics._presence(
      _presence_by_value.event_type_id, _presence_by_value.bounds, _presence_by_value.item_id
    ) as present;
    return;
  end if;

  if _presence_by_value.breakdown like 'property.%' and _presence_by_value.known_values is null then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_presence_by_value.breakdown, 100)),
      'Use "set.<family or name of sets of people>" or "trait.<name>".'
    );
  end if;
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(everyone.block), array_agg(everyone.people) into v_blocks, v_people
  from analytics._among(_presence_by_value.among, _presence_by_value.smallest_group) as everyone;

  if _presence_by_value.breakdown like 'property.%' then
    v_items := array(
      select ancestor.item_id
      from track.item_ancestor as ancestor
      where ancestor.ancestor_item_id = _presence_by_value.item_id
    );
    return query
    select by_block.value_key, by_block.bucket, by_block.block, by_block.people & by_block.included
    from (
      select
        by_person.value_key,
        by_person.bucket,
        among.block,
        bit_or(track.person_bit(by_person.person_id)) as people,
        among.people & ~coalesce(excluded.people, v_no_people) as included
      from (
        select
          case
            when stated.value is null then 'none'
            when stated.value = any (_presence_by_value.known_values) then '=' || stated.value
            else 'other'
          end as value_key,
          stated.bucket,
          stated.person_id
        from (
          select
            left(event.properties ->> v_property, 200) as value,
            width_bucket(event.occurred_at, _presence_by_value.bounds) as bucket,
            event.person_id
          from track.event
          join track.event_type on event_type.event_type_id = event.event_type_id
          join track.source on source.source_id = event.source_id
          where event.occurred_at >= _presence_by_value.bounds[1]
            and event.occurred_at < _presence_by_value.bounds[cardinality(_presence_by_value.bounds)]
            and case
              when _presence_by_value.event_type_id <> 0 then event.event_type_id = _presence_by_value.event_type_id
              else not (event_type.is_automatic or source.is_automatic)
            end
            and (_presence_by_value.item_id is null or event.item_id = any (v_items))
            and event.person_id <> 0
        ) as stated
        group by 1, 2, 3
      ) as by_person
      join unnest(v_blocks, v_people) as among (block, people) on among.block = by_person.person_id / 4096
      left join track.person_set_blocks('excluded') as excluded on excluded.block = among.block
      group by by_person.value_key, by_person.bucket, among.block, among.people, excluded.people
    ) as by_block
    where bit_count(by_block.people & by_block.included) > 0;
    return;
  end if;

  if _presence_by_value.breakdown is null then
    v_keys := array_fill('none'::text, array[coalesce(cardinality(v_blocks), 0)]);
  else
    select array_agg(named.value_key), array_agg(named.block), array_agg(named.people)
    into v_keys, v_blocks, v_people
    from (
      select
        case
          when of_value.is_other then 'other'
          when of_value.value is null then 'none'
          else '=' || of_value.value
        end as value_key,
        of_value.block,
        of_value.people & among.people as people
      from analytics._people_by_value(
        _presence_by_value.breakdown, _presence_by_value.top_values, _presence_by_value.smallest_group
      ) as of_value
      join unnest(v_blocks, v_people) as among (block, people) on among.block = of_value.block
    ) as named;
  end if;

  return query
  select named.value_key, present.bucket, present.block, present.people & named.people
  from analytics._presence(
    _presence_by_value.event_type_id, _presence_by_value.bounds, _presence_by_value.item_id
  ) as present
  join unnest(v_keys, v_blocks, v_people) as named (value_key, block, people) on named.block = present.block
  where bit_count(present.people & named.people) > 0;
end;
$$;

comment on function analytics._presence_by_value(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the people of `among` with an event in each bucket, as `analytics._presence`, by value.
`value_key`: `=` and the value, `other` for other values, `none` for people or events without one, and without a
breakdown. `breakdown`: that of `analytics._people_by_value`, or `property.<name>` for a property of the events, read
from the events, of which `known_values` are named (null: refused). `smallest_group`: counted people only; null: all
people who are not excluded.
$$;

grant execute on function analytics._presence_by_value(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;
--! EndIncluded analytics/functions/_presence_by_value.sql

--! Included analytics/functions/_presence_of_groups.sql
create or replace function analytics._presence_of_groups(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, start_at timestamptz, end_at timestamptz, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_monday constant timestamptz := '1970-01-05Z';
  v_week constant interval := interval '7 days';
  -- Each is part of the one before it. The last ones are the parts that buckets consist of.
  v_units constant interval[] := array(
    select level.unit
    from unnest('{1 day,1 hour,15 minutes,1 minute}'::interval[], '{null,1 day,1 hour,15 minutes}'::interval[])
      with ordinality as level (unit, parent_unit, position)
    where level.parent_unit is null
      or exists (
        select
        from unnest(_presence_of_groups.bounds) as bound
        where isfinite(bound)
          and bound <> date_bin(level.parent_unit, bound, v_monday)
      )
    order by level.position
  );
  v_unit constant interval := v_units[cardinality(v_units)];
  v_of_days constant boolean := cardinality(v_units) = 1;
  v_extent constant interval := case when v_of_days then v_week else interval '1 day' end;
  v_since timestamptz := bounds[1];
  -- No event is later than its arrival.
  v_until constant timestamptz := least(bounds[cardinality(bounds)], now() + interval '2 days');
  v_parts timestamptz[];
begin
  if not isfinite(v_since) and v_of_days then
    v_since := least(
      (
        select min(presence.day)
        from track.presence
        where presence.event_type_id = _presence_of_groups.event_type_id
      )::timestamptz,
      (select setting.oldest_event from track.setting),
      v_until
    ) - v_week;
  elsif not isfinite(v_since) then
    -- The past of parts of days is read by day.
    v_since := date_trunc('day', bounds[2]);
    return query
    select past.*
    from analytics._presence_of_groups(
      _presence_of_groups.event_type_id, array['-infinity', v_since], _presence_of_groups.item_id,
      _presence_of_groups.among, _presence_of_groups.breakdown, _presence_of_groups.top_values,
      _presence_of_groups.known_values, _presence_of_groups.smallest_group
    ) as past
    where past.end_at <= v_since;
  end if;
  if v_since >= v_until then
    return;
  end if;

  -- Whole weeks or days, so that what is left out does not depend on the period.
  v_since := date_bin(v_extent, v_since, v_monday);
  if extract(epoch from v_until - v_since) > 200000 * extract(epoch from v_unit) then
    perform common.refuse(
      'CF008',
      format('the period consists of more than 200000 parts of %s', v_unit),
      'Give a shorter period, or use days of the zone UTC.'
    );
  end if;
  v_parts := array(
    select generate_series(
      v_since, date_bin(v_extent, v_until - interval '1 microsecond', v_monday) + v_extent, v_unit
    )
  );

  return query
  with present as materialized (
    select by_value.value_key, v_parts[by_value.bucket] as start_at, by_value.block, by_value.people
    from analytics._presence_by_value(
      _presence_of_groups.event_type_id, v_parts, _presence_of_groups.item_id, _presence_of_groups.among,
      _presence_of_groups.breakdown, _presence_of_groups.top_values, _presence_of_groups.known_values,
      _presence_of_groups.smallest_group
    ) as by_value
  ),

  level as (
    select given.unit, given.level, v_units[given.level - 1] as parent_unit
    from unnest(v_units) with ordinality as given (unit, level)
  ),

  sized as (
    select
      by_block.value_key, by_block.level, by_block.unit_start, by_block.parent_start,
      sum(bit_count(by_block.people)) as person_count
    from (
      select
        present.value_key, level.level, date_bin(level.unit, present.start_at, v_monday) as unit_start,
        date_bin(coalesce(level.parent_unit, level.unit), present.start_at, v_monday) as parent_start,
        present.block, bit_or(present.people) as people
      from present
      cross join level
      group by 1, 2, 3, 4, 5
    ) as by_block
    group by by_block.value_key, by_block.level, by_block.unit_start, by_block.parent_start
  ),

  ranked as (
    select
      sized.*,
      -- One column, because a join on three is by the first of them where the planner expects few rows.
      (sized.value_key || ' ' || sized.level || ' ' || extract(epoch from sized.unit_start)::bigint) collate "C"
        as place,
      sized.person_count >= _presence_of_groups.smallest_group as is_group,
      bool_or(sized.person_count < _presence_of_groups.smallest_group)
        over (partition by sized.value_key, sized.level, sized.parent_start) as has_small,
      row_number() over (
        partition by
          sized.value_key, sized.level, sized.parent_start,
          sized.person_count >= _presence_of_groups.smallest_group
        order by sized.person_count, sized.unit_start
      ) as position
    from sized
  ),

  shown_part as materialized (
    select part.value_key, part.start_at
    from (select distinct present.value_key, present.start_at from present) as part
    cross join level
    join ranked
      on ranked.place = (
        part.value_key || ' ' || level.level || ' '
          || extract(epoch from date_bin(level.unit, part.start_at, v_monday))::bigint
      ) collate "C"
    group by part.value_key, part.start_at
    having bool_and(ranked.is_group and (ranked.level = 1 or not ranked.has_small or ranked.position > 1))
  ),

  small_week as materialized (
    select
      by_week.value_key, by_week.week, by_week.block, by_week.people,
      sum(bit_count(by_week.people)) over (partition by by_week.value_key, by_week.week) as person_count
    from (
      select
        present.value_key, date_bin(v_week, present.start_at, v_monday) as week, present.block,
        bit_or(present.people) as people
      from present
      left join shown_part on shown_part.value_key = present.value_key and shown_part.start_at = present.start_at
      where v_of_days
        and shown_part.start_at is null
      group by 1, 2, 3
    ) as by_week
  )

  select present.value_key, present.start_at, present.start_at + v_unit, present.block, present.people
  from present
  join shown_part on shown_part.value_key = present.value_key and shown_part.start_at = present.start_at

  union all

  select small_week.value_key, small_week.week, small_week.week + v_week, small_week.block, small_week.people
  from small_week
  where small_week.person_count >= _presence_of_groups.smallest_group;
end;
$$;

comment on function analytics._presence_of_groups(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the counted people with an event by period, of periods with at least `smallest_group` of them.
Where all bounds are those of days (UTC), a period is a day, or a whole week (from Monday): of the people of its small
days together, when they are at least as many. Otherwise it is an hour (UTC), or where a bound is not that of an hour, a
quarter of an hour or a minute; in each day (hour, quarter) that has a small one, the smallest other one is left out as
well (secondary suppression). So no figure contains the use of fewer people, and no two differ by it, whatever the
buckets and zones. The periods cover those between the bounds, and the whole weeks or days at both ends. The first bound
may be `-infinity`: the past is read by day. The other arguments are those of `analytics._presence_by_value`.
Errors: CF008 for more than 200,000 hours, quarters or minutes.
$$;

grant execute on function analytics._presence_of_groups(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;
--! EndIncluded analytics/functions/_presence_of_groups.sql

--! Included analytics/functions/_presence_in_buckets.sql
create or replace function analytics._presence_in_buckets(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, bucket_number int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _presence_in_buckets.smallest_group is null then
    return query
    select by_value.value_key, by_value.bucket, by_value.block, by_value.people
    from analytics._presence_by_value(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bounds, _presence_in_buckets.item_id,
      _presence_in_buckets.among, _presence_in_buckets.breakdown, _presence_in_buckets.top_values,
      _presence_in_buckets.known_values, null
    ) as by_value;
    return;
  end if;

  return query
  select placed.value_key, placed.bucket_number, placed.block, bit_or(placed.people)
  from (
    select of_group.*, width_bucket(of_group.start_at, _presence_in_buckets.bounds) as bucket_number
    from analytics._presence_of_groups(
      _presence_in_buckets.event_type_id, _presence_in_buckets.bounds, _presence_in_buckets.item_id,
      _presence_in_buckets.among, _presence_in_buckets.breakdown, _presence_in_buckets.top_values,
      _presence_in_buckets.known_values, _presence_in_buckets.smallest_group
    ) as of_group
  ) as placed
  where placed.bucket_number between 1 and cardinality(_presence_in_buckets.bounds) - 1
    and placed.end_at <= _presence_in_buckets.bounds[placed.bucket_number + 1]
  group by placed.value_key, placed.bucket_number, placed.block;
end;
$$;

comment on function analytics._presence_in_buckets(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the people with an event in each bucket, by value of a breakdown.
`smallest_group` null: those of `analytics._presence_by_value`. Otherwise those of `analytics._presence_of_groups` whose
periods are whole within the bucket. The arguments are those of these functions.
$$;

grant execute on function analytics._presence_in_buckets(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;
--! EndIncluded analytics/functions/_presence_in_buckets.sql

--! Included analytics/functions/_value_count.sql
create or replace function analytics._value_count(breakdown text, top_values int)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when _value_count.breakdown is null then 1
    when _value_count.breakdown like 'set.%' then (
      select greatest(count(*), 1) + 1
      from track.person_set
      where starts_with(person_set.name, substr(_value_count.breakdown, length('set.') + 1) || '.')
    )
    -- Other values, and none.
    else _value_count.top_values + 2
  end;
end;
$$;

comment on function analytics._value_count(text, int) is $$
Returns the largest number of values that a breakdown can have, by which the size of a result is bounded.
$$;

grant execute on function analytics._value_count(text, int) to insights_reader;
--! EndIncluded analytics/functions/_value_count.sql

--! Included analytics/functions/retention.sql
/* Each cell is the bits of a cohort and those of a period, combined by `&`. */
create or replace function analytics._retention(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.retention_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_retention.event_name);
  v_return_type_id constant int := analytics._event_type_id(_retention.return_event);
  v_item_id constant bigint := analytics._item_id(_retention.item);
  v_lengths int[];
  v_ends int[];
  v_last_period int;
  -- Whether each period is one bucket.
  v_is_plain constant boolean := _retention.brackets is null;
  v_cohorts timestamptz[];
  v_cohort_count int;
  v_bounds timestamptz[];
  v_local timestamp;
  v_values text[];
begin
  if _retention.brackets is null then
    perform common.check_count('periods', _retention.periods, 1, 1000);
    v_lengths := array_fill(1, array[_retention.periods]);
  else
    perform common.check_count('the number of brackets', cardinality(_retention.brackets), 1, 100);
    perform common.check_count('a bracket', bracket.length, 1, 1000)
    from unnest(_retention.brackets) as bracket (length);
    v_lengths := array(select unnest(_retention.brackets));
  end if;
  v_ends := array(
    select sum(listed.length) over (order by listed.number)
    from unnest(v_lengths) with ordinality as listed (length, number)
    order by listed.number
  );
  v_last_period := v_ends[cardinality(v_ends)];
  if _retention.first_time is null or _retention.or_after is null then
    perform common.refuse(
      'CF001',
      format('%s is null', case when _retention.first_time is null then 'first_time' else 'or_after' end),
      'Use true or false.'
    );
  end if;
  if _retention.reference is null or _retention.reference not in ('start', 'previous') then
    perform common.refuse(
      'CF001',
      format('reference is "%s"', left(_retention.reference, 100)),
      'Use start (shares of the cohort) or previous (shares of the previous period).'
    );
  end if;
  if _retention.mean not in ('weighted', 'simple') then
    perform common.refuse(
      'CF001',
      format('mean is "%s"', left(_retention.mean, 100)),
      'Use weighted (by the size of the cohorts) or simple, or null for no means.'
    );
  end if;

  v_cohorts := analytics._bounds(_retention.bucket, _retention.since, _retention.until, _retention.zone);
  v_cohort_count := cardinality(v_cohorts) - 1;
  if v_cohort_count * (cardinality(v_lengths) + 1)
      * analytics._value_count(_retention.breakdown, _retention.top_values) > 100000
    or v_cohort_count + v_last_period > 10000
  then
    perform common.refuse(
      'CF008',
      format('there are %s cohorts with %s buckets each', v_cohort_count, v_last_period + 1),
      'There can be 100,000 cells, in 10,000 buckets. Give a shorter period, a larger bucket, fewer periods or values.'
    );
  end if;
  v_local := v_cohorts[v_cohort_count + 1] at time zone _retention.zone;
  v_bounds := analytics._bounds(
    _retention.bucket,
    v_cohorts[1],
    case
      when _retention.bucket in ('minute', 'hour')
        then v_cohorts[v_cohort_count + 1] + v_last_period * ('1 ' || _retention.bucket)::interval
      when _retention.bucket = 'quarter'
        then (v_local + v_last_period * interval '3 months') at time zone _retention.zone
      else (v_local + v_last_period * ('1 ' || _retention.bucket)::interval) at time zone _retention.zone
    end,
    _retention.zone
  );
  if _retention.breakdown like 'property.%' then
    if length(_retention.breakdown) > 200 or _retention.breakdown = 'property.' then
      perform common.refuse('CF001', format('breakdown is "%s"', left(_retention.breakdown, 100)),
        'Give a name after "property.", of 191 characters at most.');
    end if;
    v_values := analytics._property_values(
      v_event_type_id, v_cohorts[1], v_cohorts[v_cohort_count + 1], v_item_id, _retention.among,
      substr(_retention.breakdown, length('property.') + 1), _retention.top_values, _retention.smallest_group
    );
  end if;

  return query
  -- `series`: value and block in one column, because the planner underestimates a join on two.
  with returned as materialized (
    select
      present.value_key, present.bucket_number, present.block, present.people,
      (present.value_key || ' ' || present.block) collate "C" as series
    from analytics._presence_in_buckets(
      v_return_type_id, v_bounds, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
  ),

  -- In first-time retention, with all that was before.
  started as (
    select present.value_key, present.bucket_number - 1 as cohort, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, '-infinity'::timestamptz || v_cohorts, v_item_id, _retention.among, _retention.breakdown,
      _retention.top_values, v_values, _retention.smallest_group
    ) as present
    where _retention.first_time

    union all

    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_cohorts, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
    where not _retention.first_time
      and v_event_type_id <> v_return_type_id

    union all

    select returned.value_key, returned.bucket_number, returned.block, returned.people
    from returned
    where not _retention.first_time
      and v_event_type_id = v_return_type_id
      and returned.bucket_number <= v_cohort_count
  ),

  member as materialized (
    select
      started.value_key, started.cohort, started.block, started.people,
      (started.value_key || ' ' || started.block) collate "C" as series
    from started
    where not _retention.first_time

    union all

    select
      first_one.value_key, first_one.cohort, first_one.block, first_one.people,
      (first_one.value_key || ' ' || first_one.block) collate "C"
    from (
      select
        started.value_key, started.cohort, started.block,
        started.people & ~coalesce(
          bit_or(started.people) over (
            partition by started.value_key, started.block
            order by started.cohort
            rows between unbounded preceding and 1 preceding
          ),
          v_no_people
        ) as people
      from started
      where _retention.first_time
    ) as first_one
    where first_one.cohort >= 1
  ),

  target as (
    select listed.number::int as period, listed.end_bucket - listed.length + 1 as first_bucket, listed.end_bucket
    from unnest(v_lengths, v_ends) with ordinality as listed (length, end_bucket, number)
  ),

  -- Read once: one of the branches below is never executed.
  did as not materialized (
    select
      member.value_key, member.cohort, returned.bucket_number - member.cohort as period, member.block,
      member.people & returned.people as people
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    where v_is_plain

    union all

    select
      member.value_key, member.cohort, target.period, member.block, bit_or(member.people & returned.people)
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    join target on returned.bucket_number - member.cohort between target.first_bucket and target.end_bucket
    where not v_is_plain
    group by member.value_key, member.cohort, target.period, member.block
  ),

  counted as (
    select did.value_key, did.cohort, did.period, sum(bit_count(did.people)::int) as person_count
    from did
    where not _retention.or_after
    group by did.value_key, did.cohort, did.period

    union all

    -- On or after: in this period or a later one.
    select later.value_key, later.cohort, covered.period, sum(bit_count(later.people)::int)
    from (
      select
        did.value_key, did.cohort, did.period,
        bit_or(did.people) over last_first as people,
        lead(did.period, 1, 0) over last_first as previous
      from did
      where _retention.or_after
      window last_first as (partition by did.value_key, did.cohort, did.block order by did.period desc)
    ) as later
    cross join lateral generate_series(later.previous + 1, later.period) as covered (period)
    group by later.value_key, later.cohort, covered.period

    union all

    select member.value_key, member.cohort, 0, sum(bit_count(member.people)::int)
    from member
    group by member.value_key, member.cohort
  ),

  cell as (
    select
      keys.value_key,
      cohort.cohort,
      period.period,
      v_bounds[cohort.cohort + period.first_bucket] as period_start,
      v_bounds[cohort.cohort + period.end_bucket + 1] as period_end,
      coalesce(
        case
          when _retention.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _retention.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct member.value_key from member where _retention.breakdown is not null
      union all
      select 'none' where _retention.breakdown is null
    ) as keys
    cross join generate_series(1, v_cohort_count) as cohort (cohort)
    cross join (
      select 0 as period, 0 as first_bucket, 0 as end_bucket
      union all
      select target.period, target.first_bucket, target.end_bucket from target
    ) as period
    left join counted
      on counted.value_key = keys.value_key
      and counted.cohort = cohort.cohort
      and counted.period = period.period
    where v_bounds[cohort.cohort + period.first_bucket] <= now()
  ),

  compared as (
    select
      cell.*,
      first_value(cell.person_count) over by_period as cohort_size,
      cell.period_end <= now() as is_complete,
      case
        when cell.period = 0 or _retention.reference = 'start' then first_value(cell.person_count) over by_period
        else lag(cell.person_count) over by_period
      end as reference_count,
      max(cell.person_count) over (partition by cell.value_key) as largest
    from cell
    window by_period as (partition by cell.value_key, cell.cohort order by cell.period)
  ),

  shown as (
    select
      compared.*,
      case when compared.reference_count > 0 then compared.person_count::float8 / compared.reference_count end as share
    from compared
    where _retention.breakdown is null
      or compared.largest > 0
  ),

  together as (
    select
      shown.value_key, shown.cohort, shown.cohort_size, shown.period, shown.period_start, shown.period_end,
      shown.person_count, shown.share, shown.is_complete
    from shown

    union all

    select
      shown.value_key, null, sum(shown.cohort_size)::bigint, shown.period, null, null,
      sum(shown.person_count)::bigint,
      case
        when _retention.mean = 'simple'
          then avg(shown.person_count::numeric / nullif(shown.reference_count, 0))::float8
        when sum(shown.reference_count) > 0
          then (sum(shown.person_count) / sum(shown.reference_count))::float8
      end,
      true
    from shown
    where shown.is_complete
      and _retention.mean is not null
    group by shown.value_key, shown.period
  )

  select
    case when together.value_key like '=%' then substr(together.value_key, 2) end,
    together.value_key = 'other',
    v_cohorts[together.cohort],
    together.cohort_size,
    together.period,
    together.period_start,
    together.period_end,
    together.person_count,
    together.share,
    together.is_complete,
    _retention.zone
  from together
  order by
    together.value_key = 'other', together.value_key = 'none', together.value_key, together.cohort nulls last,
    together.period;
end;
$$;

comment on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
) is $$
Computes the result of `analytics.retention`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares and means are computed from the figures as shown.
$$;

grant execute on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._retention_exact(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.retention_cell
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
  select * from analytics._retention($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, null);
$$;

alter function analytics._retention_exact(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
owner to insights_reader;

comment on function analytics._retention_exact(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns the result of `analytics.retention` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._retention_exact(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._retention_shown(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.retention_cell
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
  from analytics._retention(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
owner to insights_reader;

comment on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns the result of `analytics.retention` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst;

create or replace function analytics.retention(
  event_name text default null,
  return_event text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  periods int default 12,
  first_time boolean default false,
  or_after boolean default false,
  brackets int[] default null,
  reference text default 'start',
  mean text default 'weighted',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.retention_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._retention_exact('
      || 'text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, '
      || 'text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._retention_exact(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values
    );
  else
    return query
    select *
    from analytics._retention_shown(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values
    );
  end if;
end;
$$;

comment on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns how many people of each cohort come back in each later period, with the means of the cohorts.
A cohort is the people who did the event `event_name` in a bucket from `since` until `until` (extended to whole buckets
of the zone; weeks start on Monday). A person belongs to the cohort of each bucket in which she did it; with
`first_time`, to that of her first event of this type ever, also before `since`. Period 0 is the bucket of the cohort,
and contains the whole cohort; period n is the nth bucket after it, and contains the people of the cohort who did
`return_event` in it. Null for either event: any event that is not automatic.
There is one row for each cohort and period that has started, from 0 to `periods`, and one for the mean of each period
(`cohort_start` is null). A period that has not ended is not complete (`is_complete`), and is left out of the means.
`or_after`: people who did it in the period or in a later one, up to the last period. `brackets`: lengths of the periods
in buckets, instead of `periods`: {1,2,4} are the periods of bucket 1, of 2 and 3, and of 4 to 7. `reference`: shares
of the cohort (`start`) or of the `previous` period. `mean`: `weighted` by the size of the cohorts, `simple`, or null.
The semantics are those of PostHog, whose weeks start on Sunday.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>`, with which both events must have the same value (read
from the events; `first_time` is then the first event with the value). Of a trait or property, the `top_values` values
of most people are named, others are one value (`is_other`). A value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares and means are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 100,000 cells (cohorts, periods and values), or 10,000 buckets.
$$;

grant execute on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/retention.sql

--! Included analytics/functions/lifecycle.sql
/* The active people of a bucket, compared with those before by `&` and `& ~`. */
create or replace function analytics._lifecycle(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.lifecycle_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_lifecycle.event_name);
  v_item_id constant bigint := analytics._item_id(_lifecycle.item);
  v_bounds timestamptz[];
  v_with_past timestamptz[];
begin
  v_bounds := analytics._bounds(_lifecycle.bucket, _lifecycle.since, _lifecycle.until, _lifecycle.zone);
  if _lifecycle.breakdown is not null
    and (cardinality(v_bounds) - 1) * analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values) > 200000
  then
    perform common.refuse(
      'CF008',
      format(
        '%s buckets of %s values are more than 200000 rows',
        cardinality(v_bounds) - 1, analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values)
      ),
      'Give a shorter period, a larger bucket, or fewer top_values.'
    );
  end if;
  -- Bucket 1 is all that was before the previous bucket, which is bucket 2.
  v_with_past := array[
    '-infinity',
    (
      analytics._bounds(_lifecycle.bucket, v_bounds[1] - interval '1 microsecond', v_bounds[1], _lifecycle.zone)
    )[1]
  ] || v_bounds;

  return query
  with active as materialized (
    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_with_past, v_item_id, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values,
      null, _lifecycle.smallest_group
    ) as present
  ),

  together as (
    select
      activity.value_key, activity.bucket_number, activity.block,
      bit_or(activity.people) filter (where activity.is_asked) as active,
      bit_or(activity.people) as seen
    from (
      select active.*, true as is_asked
      from active

      union all

      -- People are not new when they did anything before.
      select present.value_key, present.bucket_number, present.block, present.people, false
      from analytics._presence_in_buckets(
        0, v_with_past, null, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values, null,
        _lifecycle.smallest_group
      ) as present
      where v_event_type_id <> 0
        or v_item_id is not null
    ) as activity
    group by activity.value_key, activity.bucket_number, activity.block
  ),

  compared as (
    select
      together.value_key,
      together.bucket_number,
      coalesce(together.active, v_no_people) as active,
      coalesce(
        bit_or(together.seen) over (in_order rows between unbounded preceding and 1 preceding), v_no_people
      ) as seen,
      case
        when lag(together.bucket_number) over in_order = together.bucket_number - 1
          then coalesce(lag(together.active) over in_order, v_no_people)
        else v_no_people
      end as previous
    from together
    window in_order as (partition by together.value_key, together.block order by together.bucket_number)
  ),

  counted as (
    select
      compared.value_key,
      compared.bucket_number,
      sum(bit_count(compared.active)::int) as active_people,
      sum(bit_count(compared.active & ~compared.seen)::int) as new_people,
      sum(bit_count(compared.active & compared.previous)::int) as returning_people,
      -- One column, because a join on two is by the first of them where the planner expects few rows.
      (compared.value_key || ' ' || compared.bucket_number) collate "C" as place
    from compared
    group by compared.value_key, compared.bucket_number
  ),

  filled as (
    select
      keys.value_key,
      number.bucket_number,
      coalesce(counted.new_people, 0) as new_people,
      coalesce(counted.returning_people, 0) as returning_people,
      coalesce(counted.active_people - counted.new_people - counted.returning_people, 0) as resurrecting_people,
      coalesce(lag(counted.active_people) over in_order, 0) - coalesce(counted.returning_people, 0) as dormant_people
    from (
      select distinct counted.value_key from counted where _lifecycle.breakdown is not null
      union all
      select 'none' where _lifecycle.breakdown is null
    ) as keys
    cross join generate_series(2, cardinality(v_bounds) + 1) as number (bucket_number)
    left join counted on counted.place = (keys.value_key || ' ' || number.bucket_number) collate "C"
    window in_order as (partition by keys.value_key order by number.bucket_number)
  ),

  shown as (
    select
      filled.value_key,
      filled.bucket_number - 2 as bucket_number,
      analytics._shown(filled.new_people, filled.new_people::bigint, _lifecycle.smallest_group)::bigint
        as new_people,
      analytics._shown(
        filled.returning_people, filled.returning_people::bigint, _lifecycle.smallest_group
      )::bigint as returning_people,
      analytics._shown(
        filled.resurrecting_people, filled.resurrecting_people::bigint, _lifecycle.smallest_group
      )::bigint as resurrecting_people,
      analytics._shown(filled.dormant_people, filled.dormant_people::bigint, _lifecycle.smallest_group)::bigint
        as dormant_people
    from filled
    where filled.bucket_number > 2
  )

  select
    v_bounds[bucketed.bucket_number],
    case when bucketed.value_key like '=%' then substr(bucketed.value_key, 2) end,
    bucketed.value_key = 'other',
    bucketed.new_people,
    bucketed.returning_people,
    bucketed.resurrecting_people,
    bucketed.dormant_people,
    v_bounds[bucketed.bucket_number + 1] <= now(),
    _lifecycle.zone
  from (
    select
      shown.*,
      max(shown.new_people + shown.returning_people + shown.resurrecting_people + shown.dormant_people)
        over (partition by shown.value_key) as largest
    from shown
  ) as bucketed
  where _lifecycle.breakdown is null
    or bucketed.largest > 0
  order by
    bucketed.value_key = 'other', bucketed.value_key = 'none', bucketed.value_key, bucketed.bucket_number;
end;
$$;

comment on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) is $$
Computes the result of `analytics.lifecycle`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._lifecycle_exact(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.lifecycle_bucket
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
  select * from analytics._lifecycle($1, $2, $3, $4, $5, $6, $7, $8, $9, null);
$$;

alter function analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.lifecycle` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._lifecycle_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.lifecycle_bucket
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
  from analytics._lifecycle(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.lifecycle` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.lifecycle(
  event_name text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.lifecycle_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._lifecycle_exact(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values
    );
  else
    return query
    select *
    from analytics._lifecycle_shown(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values
    );
  end if;
end;
$$;

comment on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the active people of each bucket by their activity before: new, returning, resurrecting, and dormant people.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. They are `new` when
their first event of any kind is in it, `returning` when they were active in the previous bucket too, and otherwise
`resurrecting`. `dormant` are people who were active in the previous bucket and are not in this one. The semantics are
those of PostHog, with the first event as the time at which a person was created.
Buckets are whole ones of the zone, and weeks start on Monday. `item`: events of the item and what it contains. `among`:
people of these sets now, such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value
without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 10,000 buckets, or 200,000 rows with a breakdown.
$$;

grant execute on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/lifecycle.sql

--! Included analytics/functions/stickiness.sql
create or replace function analytics._people_by_times(counts bit(4096)[], most int)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_digit int;
  v_people bit(4096);
  v_result bigint[] := '{}';
begin
  for v_times in 1..most loop
    v_people := case when v_times >> cardinality(counts) = 0 then ~v_no_people else v_no_people end;
    v_digit := 1;
    while v_digit <= cardinality(counts) and v_people <> v_no_people loop
      v_people := v_people & case
        when v_times & (1 << (v_digit - 1)) <> 0 then counts[v_digit]
        else ~counts[v_digit]
      end;
      v_digit := v_digit + 1;
    end loop;
    v_result := v_result || bit_count(v_people);
  end loop;
  return v_result;
end;
$$;

comment on function analytics._people_by_times(bit[], int) is $$
Returns how many people of a block have the number 1, 2, … up to `most`, given their numbers (`analytics._bit_counts`).
$$;

grant execute on function analytics._people_by_times(bit[], int) to insights_reader;

create or replace function analytics._stickiness(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.stickiness_group
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_stickiness.event_name);
  v_item_id constant bigint := analytics._item_id(_stickiness.item);
  v_bounds constant timestamptz[] := analytics._bounds(
    _stickiness.bucket, _stickiness.since, _stickiness.until, _stickiness.zone
  );
  v_buckets constant int := cardinality(v_bounds) - 1;
begin
  if v_buckets > 1000 then
    perform common.refuse('CF008', format('there are %s buckets', v_buckets),
      'There can be 1,000. Give a shorter period, or a larger bucket.');
  end if;
  if _stickiness.or_more is null then
    perform common.refuse('CF001', 'or_more is null', 'Use true or false.');
  end if;

  return query
  with exact as (
    select by_block.value_key, counted.times::int as times, sum(counted.people) as person_count
    from (
      select
        present.value_key, present.block,
        analytics._people_by_times(analytics._bit_counts(present.people), v_buckets) as people
      from analytics._presence_in_buckets(
        v_event_type_id, v_bounds, v_item_id, _stickiness.among, _stickiness.breakdown, _stickiness.top_values,
        null, _stickiness.smallest_group
      ) as present
      group by present.value_key, present.block
    ) as by_block
    cross join lateral unnest(by_block.people) with ordinality as counted (people, times)
    group by by_block.value_key, counted.times
  ),

  summed as (
    select
      keys.value_key,
      number.times,
      case
        when _stickiness.or_more
          then sum(exact.person_count) over (partition by keys.value_key order by number.times desc)
        else exact.person_count
      end as person_count,
      sum(exact.person_count) over (partition by keys.value_key) as active_people
    from (
      select distinct exact.value_key from exact where _stickiness.breakdown is not null
      union all
      select 'none' where _stickiness.breakdown is null
    ) as keys
    cross join generate_series(1, v_buckets) as number (times)
    left join exact on exact.value_key = keys.value_key and exact.times = number.times
  ),

  shown as (
    select
      summed.value_key,
      summed.times,
      coalesce(
        analytics._shown(summed.person_count, summed.person_count::bigint, _stickiness.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(summed.active_people, summed.active_people::bigint, _stickiness.smallest_group), 0
      ) as active_people
    from summed
  )

  select
    case when shown.value_key like '=%' then substr(shown.value_key, 2) end,
    shown.value_key = 'other',
    shown.times,
    shown.person_count,
    shown.person_count / nullif(shown.active_people, 0),
    v_bounds[v_buckets + 1] <= now(),
    _stickiness.zone
  from shown
  where _stickiness.breakdown is null
    or shown.active_people > 0
  order by shown.value_key = 'other', shown.value_key = 'none', shown.value_key, shown.times;
end;
$$;

comment on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) is $$
Computes the result of `analytics.stickiness`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares are computed from the figures as shown.
$$;

grant execute on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._stickiness_exact(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.stickiness_group
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
  select * from analytics._stickiness($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null);
$$;

alter function analytics._stickiness_exact(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int)
owner to insights_reader;

comment on function analytics._stickiness_exact(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns the result of `analytics.stickiness` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._stickiness_exact(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._stickiness_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.stickiness_group
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
  from analytics._stickiness(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._stickiness_shown(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int)
owner to insights_reader;

comment on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns the result of `analytics.stickiness` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst;

create or replace function analytics.stickiness(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  or_more boolean default false,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.stickiness_group
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._stickiness_exact(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._stickiness_exact(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values
    );
  else
    return query
    select *
    from analytics._stickiness_shown(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values
    );
  end if;
end;
$$;

comment on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns how many people were active in exactly 1, 2, … buckets of a period.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. `or_more`: people
who were active in at least as many buckets. Buckets are whole ones of the zone, and weeks start on Monday. The
semantics are those of PostHog. `item`: events of the item and what it contains. `among`: people of these sets now,
such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 1,000 buckets.
$$;

grant execute on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/stickiness.sql

--! Included analytics/functions/active_people.sql
create or replace function analytics._active_people(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_active_people.event_name);
  v_item_id constant bigint := analytics._item_id(_active_people.item);
  v_windows int[];
  v_asked timestamptz[];
  v_bounds timestamptz[];
  v_earlier_days int;
begin
  perform common.check_count('the number of windows', cardinality(_active_people.windows), 1, 10);
  perform common.check_count('a window', size.days, 1, 366)
  from unnest(_active_people.windows) as size (days);
  v_windows := array(select distinct size.days from unnest(_active_people.windows) as size (days));
  v_asked := analytics._bounds('day', _active_people.since, _active_people.until, _active_people.zone);
  if (cardinality(v_asked) - 1) * cardinality(v_windows)
    * analytics._value_count(_active_people.breakdown, _active_people.top_values) > 20000
  then
    perform common.refuse(
      'CF008',
      format('there are %s days with %s windows each', cardinality(v_asked) - 1, cardinality(v_windows)),
      'There can be 20,000 points. Give a shorter period, fewer windows or fewer values.'
    );
  end if;
  v_bounds := analytics._bounds(
    'day',
    (
      v_asked[1] at time zone _active_people.zone
        - ((select max(size.days) from unnest(v_windows) as size (days)) - 1) * interval '1 day'
    ) at time zone _active_people.zone,
    v_asked[cardinality(v_asked)],
    _active_people.zone
  );
  v_earlier_days := cardinality(v_bounds) - cardinality(v_asked);

  return query
  -- For analysts, the people of the small days of a week are at its last day.
  with present as (
    select by_value.value_key, 1 as days, by_value.bucket_number as day_number, by_value.block, by_value.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
      _active_people.top_values, null, null
    ) as by_value
    where _active_people.smallest_group is null

    union all

    select
      placed.value_key, placed.last_day - placed.first_day + 1, placed.last_day, placed.block, bit_or(placed.people)
    from (
      select
        of_group.value_key, of_group.block, of_group.people,
        width_bucket(of_group.start_at, v_bounds) as first_day,
        width_bucket(of_group.end_at - interval '1 microsecond', v_bounds) as last_day
      from analytics._presence_of_groups(
        v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
        _active_people.top_values, null, _active_people.smallest_group
      ) as of_group
      where _active_people.smallest_group is not null
        and of_group.start_at >= v_bounds[1]
        and of_group.end_at <= v_bounds[cardinality(v_bounds)]
    ) as placed
    group by 1, 2, 3, 4
  ),

  -- `series_key`: in one column, because the planner underestimates a join on three.
  named as materialized (
    select present.*, (present.value_key || ' ' || present.days || ' ' || present.block) collate "C" as series_key
    from present
  ),

  series as materialized (
    select
      listed.*,
      row_number() over () as series_number,
      dense_rank() over (order by listed.value_key)::int as value_number
    from (select distinct named.series_key, named.value_key, named.days, named.block from named) as listed
  ),

  keyed as materialized (
    select
      series.series_number * 100000 + named.day_number as day_key, series.value_number, named.days, named.day_number,
      named.people
    from named
    join series on series.series_key = named.series_key
  ),

  -- Each day of each block, also without people, for each window. `length`: the number of last days of the rows that
  -- the window contains.
  filled as (
    select
      series.series_number * 1000 + size.days as run,
      series.value_number,
      series.block,
      size.days as window_days,
      size.days - series.days + 1 as length,
      day.number as day_number,
      coalesce(keyed.people, v_no_people) as people
    from series
    join unnest(v_windows) as size (days)
      on size.days >= series.days
      and size.days > 1
    cross join generate_series(1, cardinality(v_bounds) - 1) as day (number)
    left join keyed on keyed.day_key = series.series_number * 100000 + day.number
  ),

  -- Days are divided into parts of the length of the window. A window is the end of a part and the beginning of the
  -- next one: the number of operations does not depend on the length (van Herk, Gil and Werman).
  part as (
    select
      parted.*,
      bit_or(parted.people) over (partition by parted.run, parted.part order by parted.day_number desc) as from_day
    from (select filled.*, (filled.day_number - 1) / filled.length as part from filled) as parted
  ),

  rolled as not materialized (
    select
      part.value_number, part.window_days, part.block, part.day_number,
      bit_or(part.people) over (partition by part.run, part.part order by part.day_number) | coalesce(
        -- In the order of the other window: one sort for both.
        lag(part.from_day, part.length - 1) over (partition by part.run order by part.part, part.day_number),
        v_no_people
      ) as people
    from part
  ),

  counted as (
    select keyed.value_number, 1 as window_days, keyed.day_number, sum(bit_count(keyed.people)::int) as person_count
    from keyed
    where keyed.days = 1
    group by keyed.value_number, keyed.day_number

    union all

    select rolled.value_number, rolled.window_days, rolled.day_number, sum(bit_count(rolled.people)::int)
    from rolled
    where rolled.day_number > v_earlier_days
      and _active_people.smallest_group is null
    group by rolled.value_number, rolled.window_days, rolled.day_number

    union all

    select combined.value_number, combined.window_days, combined.day_number, sum(bit_count(combined.people)::int)
    from (
      select rolled.value_number, rolled.window_days, rolled.day_number, rolled.block, bit_or(rolled.people) as people
      from rolled
      where rolled.day_number > v_earlier_days
        and _active_people.smallest_group is not null
      group by rolled.value_number, rolled.window_days, rolled.day_number, rolled.block
    ) as combined
    group by combined.value_number, combined.window_days, combined.day_number
  ),

  shown as (
    select
      keys.value_key,
      size.days as window_days,
      day.number as day_number,
      coalesce(
        case
          when _active_people.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _active_people.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct series.value_key, series.value_number from series where _active_people.breakdown is not null
      union all
      select 'none', 1 where _active_people.breakdown is null
    ) as keys
    cross join (select distinct listed.days from unnest(v_windows || 1) as listed (days)) as size
    cross join generate_series(v_earlier_days + 1, cardinality(v_bounds) - 1) as day (number)
    left join counted
      on counted.value_number = keys.value_number
      and counted.window_days = size.days
      and counted.day_number = day.number
  )

  select
    v_bounds[point.day_number],
    case when point.value_key like '=%' then substr(point.value_key, 2) end,
    point.value_key = 'other',
    point.window_days,
    point.person_count,
    point.person_of_day::float8 / nullif(point.person_count, 0),
    v_bounds[point.day_number + 1] <= now(),
    _active_people.zone
  from (
    select
      shown.*,
      first_value(shown.person_count)
        over (partition by shown.value_key, shown.day_number order by shown.window_days) as person_of_day,
      max(shown.person_count) over (partition by shown.value_key) as largest
    from shown
  ) as point
  where point.window_days = any (v_windows)
    and (_active_people.breakdown is null or point.largest > 0)
  order by
    point.value_key = 'other', point.value_key = 'none', point.value_key, point.window_days, point.day_number;
end;
$$;

comment on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) is $$
Computes the result of `analytics.active_people`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. The stickiness is computed from the figures as shown.
$$;

grant execute on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._active_people_exact(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.active_people_point
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
  select * from analytics._active_people($1, $2, $3, $4, $5, $6, $7, $8, $9, null);
$$;

alter function analytics._active_people_exact(text, timestamptz, timestamptz, text, int[], text, text, text, int)
owner to insights_reader;

comment on function analytics._active_people_exact(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
) is $$
Returns the result of `analytics.active_people` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._active_people_exact(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._active_people_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.active_people_point
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
  from analytics._active_people(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._active_people_shown(text, timestamptz, timestamptz, text, int[], text, text, text, int)
owner to insights_reader;

comment on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
) is $$
Returns the result of `analytics.active_people` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
)
to insights_analyst;

create or replace function analytics.active_people(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  windows int[] default '{1,7,30}',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._active_people_exact(text, timestamptz, timestamptz, text, int[], text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._active_people_exact(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values
    );
  else
    return query
    select *
    from analytics._active_people_shown(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values
    );
  end if;
end;
$$;

comment on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int) is $$
Returns the daily, weekly and monthly active people of each day: distinct people of the last 1, 7 and 30 days.
There is one row for each day from `since` until `until` and each of the `windows`, a number of days that end with this
day. `stickiness` is the number of active people of the day in proportion to those of the window: DAU/MAU with 30 days.
Active are people with the event `event_name` (null: any event that is not automatic). Days are whole ones of the zone.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`. The small
days of a week count in windows that contain the whole week.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 20,000 days of windows and values.
$$;

grant execute on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/active_people.sql

--! Included analytics/functions/_people_among.sql
create or replace function analytics._people_among(among text, smallest_group int, only_counted boolean)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select person.person_id
    from track.person
    join analytics._among(_people_among.among, _people_among.smallest_group) as member
      on member.block = person.person_id / 4096
      and get_bit(member.people, (person.person_id % 4096)::int) <> 0
    left join track.person_set_blocks('counted') as counted on counted.block = member.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = member.block
    where person.person_id <> 0
      and coalesce(get_bit(excluded.people, (person.person_id % 4096)::int), 0) = 0
      and (
        not _people_among.only_counted
        or coalesce(get_bit(counted.people, (person.person_id % 4096)::int), 0) <> 0
      )
  );
end;
$$;

comment on function analytics._people_among(text, int, boolean) is $$
Returns the people of an expression of sets (`analytics._among`) who are not excluded; `only_counted`: and are counted.
Person 0 (anonymised events) is not contained.
$$;

grant execute on function analytics._people_among(text, int, boolean) to insights_reader;
--! EndIncluded analytics/functions/_people_among.sql

--! Included analytics/functions/_wilson_bounds.sql
create or replace function analytics._wilson_bounds(successes bigint, trials bigint, z float8)
returns float8[]
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array[greatest(0, score.centre - score.half_width), least(1, score.centre + score.half_width)]
  from (select successes::float8 / nullif(trials, 0) as rate) as given
  cross join lateral (
    select
      (given.rate + z ^ 2 / (2 * trials)) / (1 + z ^ 2 / trials) as centre,
      z * sqrt(given.rate * (1 - given.rate) / trials + z ^ 2 / (4 * trials::float8 ^ 2))
        / (1 + z ^ 2 / trials) as half_width
  ) as score
  where trials > 0;
$$;

comment on function analytics._wilson_bounds(bigint, bigint, float8) is $$
Returns the lower and the upper bound of a rate by Wilson's score interval; null without trials.
`z`: quantile of the normal distribution, 1.96 for a confidence of 95 %.
Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
Statistical Association 22 (1927), without continuity correction: method 3 of R. G. Newcombe, Statistics in Medicine 17
(1998), 857-872.
$$;

grant execute on function analytics._wilson_bounds(bigint, bigint, float8) to insights_reader;
--! EndIncluded analytics/functions/_wilson_bounds.sql

--! Included analytics/functions/_bayesian_average.sql
create or replace function analytics._bayesian_average(
  mean float8, number_of bigint, prior_mean float8, prior_weight float8
)
returns float8
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (number_of * mean + prior_weight * prior_mean) / nullif(number_of + prior_weight, 0);
$$;

comment on function analytics._bayesian_average(float8, bigint, float8, float8) is $$
Returns a mean of few values drawn towards the mean of all: (v R + m C) / (v + m).
IMDb's weighted rating: R is the mean of v values, C the mean of all values, and m the number of values for which C
counts.
$$;

grant execute on function analytics._bayesian_average(float8, bigint, float8, float8) to insights_reader;
--! EndIncluded analytics/functions/_bayesian_average.sql

--! Included analytics/functions/_course_completion.sql
create or replace function analytics._course_completion(among text, smallest_group int)
returns table (course_id bigint, enrolment_count bigint, completion_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  -- One bit per person, of all blocks, also of those between them without counted people.
  v_people constant varbit := (
    with among as materialized (
      select filter.block, filter.people
      from analytics._among(_course_completion.among, _course_completion.smallest_group) as filter
    )

    select string_agg(coalesce(counted.people & among.people, v_no_people)::text, '' order by blocks.block)::varbit
    from generate_series(0, (select max(among.block) from among)) as blocks (block)
    left join among on among.block = blocks.block
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
  );
begin
  -- People with one enrolment in a course, under the identity that gave them their key, are nearly all.
  return query
  with further as materialized (
    select distinct enrolment.person_id, enrolment.item_id
    from track.enrolment
    where enrolment.identity_id <> enrolment.person_id
  ),

  counted as (
    select
      enrolment.item_id,
      count(*) as enrolment_count,
      count(*) filter (where enrolment.status = 'completed') as completion_count
    from track.enrolment
    where enrolment.identity_id = enrolment.person_id
      and enrolment.person_id < length(v_people)
      and get_bit(v_people, enrolment.person_id::int) <> 0
    group by enrolment.item_id

    union all

    -- A person completed a course when one of her enrolments in it is completed.
    select
      by_person.item_id,
      sum(1 - by_person.is_counted::int),
      sum(by_person.is_completed::int - by_person.is_counted_completed::int)
    from (
      select
        enrolment.item_id, enrolment.person_id,
        bool_or(enrolment.identity_id = enrolment.person_id) as is_counted,
        bool_or(enrolment.status = 'completed') as is_completed,
        bool_or(enrolment.status = 'completed' and enrolment.identity_id = enrolment.person_id) as is_counted_completed
      from further
      join track.enrolment
        on enrolment.person_id = further.person_id
        and enrolment.item_id = further.item_id
      where enrolment.person_id < length(v_people)
        and get_bit(v_people, enrolment.person_id::int) <> 0
      group by enrolment.item_id, enrolment.person_id
    ) as by_person
    group by by_person.item_id
  )

  select counted.item_id, sum(counted.enrolment_count)::bigint, sum(counted.completion_count)::bigint
  from counted
  join track.item on item.item_id = counted.item_id and item.kind = 'course'
  group by counted.item_id;
end;
$$;

comment on function analytics._course_completion(text, int) is $$
Returns the numbers of counted people who are or were enrolled in each course, and of those who completed it, as of now.
Courses without enrolments have no row. The arguments are those of `analytics._among`.
$$;

grant execute on function analytics._course_completion(text, int) to insights_reader;
--! EndIncluded analytics/functions/_course_completion.sql

--! Included analytics/functions/_course_use.sql
create or replace function analytics._course_use(
  first_day date, end_day date, among text, smallest_group int
)
returns table (course_id bigint, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _course_use.among is null then
    return query
    select used.item_id, used.event_count, used.person_count, used.engaged
    from analytics._item_use(
      'course', _course_use.first_day, _course_use.end_day, null, _course_use.end_day,
      coalesce(_course_use.smallest_group, 1)
    ) as used;
    return;
  end if;

  -- The sums of the rollups are those of all counted people: the use of some of them is read from their journeys.
  return query
  with used as materialized (
    select
      course.item_id, activity.person_id, activity.day,
      sum(activity.event_count)::bigint as event_count, sum(activity.engaged) as engaged
    from track.activity_of(
      analytics._people_among(_course_use.among, _course_use.smallest_group, true),
      _course_use.first_day,
      _course_use.end_day
    ) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    group by course.item_id, activity.person_id, activity.day
  ),

  small as materialized (
    select used.item_id, used.day, date_trunc('week', used.day::timestamp)::date as week
    from used
    group by used.item_id, used.day
    having count(*) < _course_use.smallest_group
  ),

  -- The rule of `analytics._left_out_days`.
  week_of_group as (
    select small.item_id, small.week
    from small
    join used on used.item_id = small.item_id and used.day = small.day
    where small.week >= _course_use.first_day
      and small.week + 7 <= _course_use.end_day
    group by small.item_id, small.week
    having count(distinct used.person_id) >= _course_use.smallest_group
  )

  select used.item_id, sum(used.event_count)::bigint, count(distinct used.person_id), sum(used.engaged)
  from used
  left join small on small.item_id = used.item_id and small.day = used.day
  left join week_of_group on week_of_group.item_id = small.item_id and week_of_group.week = small.week
  where small.day is null
    or week_of_group.week is not null
  group by used.item_id;
end;
$$;

comment on function analytics._course_use(date, date, text, int) is $$
Returns the use of each course by counted people on the days between two (`end_day` exclusive).
With all that it contains: what `analytics._item_use` returns for courses, of the people in an expression of sets
(`analytics._among`); null: all counted people. `smallest_group`: the days that `analytics._left_out_days` describes,
here of these people, are left out; null: all days count.
$$;

grant execute on function analytics._course_use(date, date, text, int) to insights_reader;
--! EndIncluded analytics/functions/_course_use.sql

--! Included analytics/functions/_course_ratings.sql
create or replace function analytics._course_ratings(among text, smallest_group int)
returns table (course_id bigint, rating_count bigint, mean_rating float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of queued people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_event_type_id constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Course Rated'
  );
  v_queued constant bigint[] := coalesce((track.queued_days('-infinity', 'infinity')).people, '{}');
begin
  return query
  with member as materialized (
    select among.block, among.people & counted.people as people
    from analytics._among(_course_ratings.among, _course_ratings.smallest_group) as among
    join track.person_set_blocks('counted') as counted on counted.block = among.block
  ),

  -- The properties are in the events only: the journeys say which ones to read.
  rated as (
    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.step
    cross join lateral (select distinct listed.occurred_at from unnest(step.occurred_at) as listed (occurred_at)) as at
    join track.event
      on event.person_id = step.person_id
      and event.occurred_at = at.occurred_at
      and event.event_type_id = step.event_type_id
    where step.event_type_id = v_event_type_id
      and step.person_id <> all (v_queued)

    union

    select event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties
    from track.event
    where event.person_id = any (v_queued)
      and event.event_type_id = v_event_type_id
  ),

  latest as (
    select distinct on (rated.person_id, rated.item_id)
      rated.person_id, rated.item_id, (rated.properties ->> 'rating')::float8 as rating
    from rated
    where jsonb_typeof(rated.properties -> 'rating') = 'number'
      and (rated.properties ->> 'rating')::numeric between 0 and 100
    order by rated.person_id, rated.item_id, rated.occurred_at desc, rated.event_id desc
  )

  select latest.item_id, count(*), avg(latest.rating::numeric)::float8
  from latest
  join member
    on member.block = latest.person_id / 4096
    and get_bit(member.people, (latest.person_id % 4096)::int) <> 0
  join track.item on item.item_id = latest.item_id and item.kind = 'course'
  group by latest.item_id;
end;
$$;

comment on function analytics._course_ratings(text, int) is $$
Returns the ratings of courses by counted people, as of now: the latest `Course Rated` of each person and course.
Ratings that are not numbers from 0 to 100 are not counted. The arguments are those of `analytics._among`. The ratings
are read from the events: the cost grows with the number of ratings.
$$;

grant execute on function analytics._course_ratings(text, int) to insights_reader;
--! EndIncluded analytics/functions/_course_ratings.sql

--! Included analytics/functions/popular_courses.sql
create or replace function analytics._popular_courses(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8,
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_first_day constant date := greatest(_popular_courses.since::date, '0001-01-01');
  v_end_day constant date := least(
    (greatest(_popular_courses.until, '0001-01-01') - interval '1 microsecond')::date, '9999-12-30'
  ) + 1;
  v_z float8;
begin
  perform common.check_period(_popular_courses.since, _popular_courses.until);
  perform common.check_count('top', _popular_courses.top, 1, 10000);
  if _popular_courses.measure is null
    or _popular_courses.measure not in ('events', 'people', 'engaged', 'completion', 'completion_bound', 'rating')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_courses.measure, 100)),
      'Use events, people, engaged, completion (Bayesian average), completion_bound (Wilson) or rating.');
  end if;
  if _popular_courses.confidence is null or not (_popular_courses.confidence between 0.5 and 0.9999) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(_popular_courses.confidence::text, 'null')),
      'Give a probability from 0.5 to 0.9999, such as 0.95.');
  end if;
  if _popular_courses.prior_weight is null or not (_popular_courses.prior_weight between 0 and 1000000) then
    perform common.refuse(
      'CF001',
      format('prior_weight is %s', coalesce(_popular_courses.prior_weight::text, 'null')),
      'Give a number of learners from 0 to 1000000: the mean of all courses counts for as many.'
    );
  end if;

  v_z := ml.normal_quantile((1 + _popular_courses.confidence) / 2);

  return query
  with used as (
    select
      kernel.course_id,
      analytics._shown(kernel.event_count, kernel.person_count, _popular_courses.smallest_group)::bigint as event_count,
      analytics._shown(
        kernel.person_count, kernel.person_count, _popular_courses.smallest_group
      )::bigint as person_count,
      case
        when coalesce(_popular_courses.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _popular_courses.smallest_group
        ))
      end as engaged
    from analytics._course_use(
      v_first_day, v_end_day, _popular_courses.among, _popular_courses.smallest_group
    ) as kernel
    where kernel.person_count >= coalesce(_popular_courses.smallest_group, 1)
  ),

  -- Rates, bounds and averages are computed from the numbers as shown.
  completed as (
    select
      shown.course_id, shown.enrolment_count, shown.completion_count,
      sum(shown.completion_count) over () / nullif(sum(shown.enrolment_count) over (), 0) as rate_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.enrolment_count, kernel.enrolment_count, _popular_courses.smallest_group
        )::bigint as enrolment_count,
        analytics._shown(
          kernel.completion_count, kernel.completion_count, _popular_courses.smallest_group
        )::bigint as completion_count
      from analytics._course_completion(_popular_courses.among, _popular_courses.smallest_group) as kernel
    ) as shown
  ),

  rated as (
    select
      shown.course_id, shown.rating_count, shown.mean_rating,
      sum(shown.rating_count * shown.mean_rating) over ()
        / nullif(sum(shown.rating_count) filter (where shown.mean_rating is not null) over (), 0) as mean_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.rating_count, kernel.rating_count, _popular_courses.smallest_group
        )::bigint as rating_count,
        analytics._shown_mean(kernel.mean_rating, kernel.rating_count, _popular_courses.smallest_group) as mean_rating
      from analytics._course_ratings(_popular_courses.among, _popular_courses.smallest_group) as kernel
      where _popular_courses.measure = 'rating'
    ) as shown
  ),

  scored as (
    select
      item.external_id as course,
      item.title,
      used.event_count,
      used.person_count,
      used.engaged,
      coalesce(completed.enrolment_count, 0) as enrolment_count,
      coalesce(completed.completion_count, 0) as completion_count,
      completed.completion_count::float8 / nullif(completed.enrolment_count, 0) as completion_rate,
      bounds.bound[1] as completion_lower,
      bounds.bound[2] as completion_upper,
      case
        when completed.enrolment_count > 0
          then analytics._bayesian_average(
            completed.completion_count::float8 / completed.enrolment_count, completed.enrolment_count,
            completed.rate_of_all::float8, _popular_courses.prior_weight
          )
      end as completion_score,
      case when _popular_courses.measure = 'rating' then coalesce(rated.rating_count, 0) end as rating_count,
      rated.mean_rating,
      analytics._bayesian_average(
        rated.mean_rating, rated.rating_count, rated.mean_of_all, _popular_courses.prior_weight
      ) as rating_score
    from used
    join track.item on item.item_id = used.course_id
    left join completed on completed.course_id = used.course_id
    left join rated on rated.course_id = used.course_id
    cross join lateral (
      select analytics._wilson_bounds(
        completed.completion_count, completed.enrolment_count, v_z
      ) as bound
    ) as bounds
  )

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal courses.
  select
    (row_number() over by_score)::int,
    scored.course,
    scored.title,
    scored.event_count,
    scored.person_count,
    scored.engaged,
    scored.enrolment_count,
    scored.completion_count,
    scored.completion_rate,
    scored.completion_lower,
    scored.completion_upper,
    scored.completion_score,
    scored.rating_count,
    scored.mean_rating,
    scored.rating_score
  from scored
  cross join lateral (
    select round(
      case _popular_courses.measure
        when 'events' then scored.event_count
        when 'people' then scored.person_count
        when 'engaged' then extract(epoch from scored.engaged)
        when 'completion' then scored.completion_score
        when 'completion_bound' then scored.completion_lower
        when 'rating' then scored.rating_score
      end::numeric,
      9
    ) as score
  ) as by_measure
  window by_score as (
    order by by_measure.score desc nulls last, scored.person_count desc, scored.event_count desc, scored.course
  )
  order by 1
  limit _popular_courses.top;
end;
$$;

comment on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, int
) is $$
Computes the result of `analytics.popular_courses`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_courses_exact(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8
)
returns setof analytics.popular_course
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
  select * from analytics._popular_courses($1, $2, $3, $4, $5, $6, $7, null);
$$;

alter function analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)
owner to insights_reader;

comment on function analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8
) is $$
Returns the result of `analytics.popular_courses` with exact figures, for admins and workers.
$$;

grant execute on function analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_courses_shown(
  since timestamptz, until timestamptz, measure text, top int, among text, confidence float8, prior_weight float8
)
returns setof analytics.popular_course
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
  from analytics._popular_courses($1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting));
$$;

alter function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8)
owner to insights_reader;

comment on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8
) is $$
Returns the result of `analytics.popular_courses` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_analyst;

create or replace function analytics.popular_courses(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 10,
  among text default null,
  confidence float8 default 0.95,
  prior_weight float8 default 25
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8)', 'execute'
  ) then
    return query
    select *
    from analytics._popular_courses_exact(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight
    );
  else
    return query
    select *
    from analytics._popular_courses_shown(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight
    );
  end if;
end;
$$;

comment on function analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8) is $$
Returns the most popular courses: their use between two times (`until` exclusive), completion and ratings.
`measure` decides the order: `events` (frequency), `people` (distinct people), `engaged` (engaged time), `completion`
(Bayesian average of the completion rate), `completion_bound` (lower bound of the rate) or `rating` (Bayesian average of
the ratings). Courses that nobody used in the period are not listed; those without a value of the measure come last.
Use is that of `analytics.popular_items('course', …)`, to the unit: the period is extended to whole days, UTC.
Completion is that of all enrolments (`track.enrolment`), as of now, whatever the period: most enrolments of the last
weeks cannot be completed yet. A person counts once per course, and as completed when one of her enrolments is. The
bounds are those of Wilson's score interval (1927) with `confidence`. The Bayesian average is IMDb's weighted rating:
(enrolments * rate + `prior_weight` * rate of all courses) / (enrolments + `prior_weight`), so that a course with few
learners is near the average, and one with as many as `prior_weight` halfway between it and its own rate.
Ratings (`measure` = `rating`; otherwise null) are the latest `Course Rated` of each person and course, as of now,
numbers from 0 to 100; they are read from these events.
Only people in the set `counted` count. `among`: those of them in an expression of sets of people, such as
`segment.power & ~cohort.beta`; their use is then read from their journeys, and takes longer.
For admins and workers, figures are exact. For analysts, days of small groups are left out as in
`analytics.popular_items`; numbers are rounded by `analytics._shown`, completions and enrolments each by themselves;
rates, bounds, averages and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown set.
$$;

grant execute on function analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_courses.sql

--! Included analytics/functions/_item_days.sql
create or replace function analytics._item_days(kind text, first_day date, end_day date, among text, smallest_group int)
returns table (item_id bigint, day date, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the use of items by themselves, and that of courses with all that they contain.
  v_of_courses constant boolean := _item_days.kind is not distinct from 'course';
  v_is_stored constant boolean := _item_days.among is null and case
    when v_of_courses then not exists (select from track.stale_course)
    else _item_days.kind is null
      or not exists (
        select
        from track.item
        join track.item as part on part.parent_item_id = item.item_id
        where item.kind = _item_days.kind
      )
  end;
  v_queued record;
begin
  if not v_is_stored then
    return query
    select
      by_person.target_id, by_person.day, sum(by_person.event_count)::bigint, count(*), sum(by_person.engaged)
    from (
      select
        ancestor.ancestor_item_id as target_id, activity.day, activity.person_id,
        sum(activity.event_count) as event_count, sum(activity.engaged) as engaged
      from track.activity_of(
        analytics._people_among(_item_days.among, _item_days.smallest_group, true),
        _item_days.first_day,
        _item_days.end_day
      ) as activity
      join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where case
          when _item_days.kind is null then ancestor.depth = 0
          else item.kind = _item_days.kind
        end
      group by 1, 2, 3
    ) as by_person
    group by by_person.target_id, by_person.day;
    return;
  end if;

  v_queued := track.queued_days(_item_days.first_day, _item_days.end_day);
  return query
  with queued as (
    select
      ancestor.ancestor_item_id as target_id, queued.day, queued.was, queued.person_id,
      sum(queued.event_count) as event_count, sum(queued.engaged) as engaged
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join track.item_ancestor as ancestor on ancestor.item_id = queued.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when v_of_courses then item.kind = 'course'
        else ancestor.depth = 0 and (_item_days.kind is null or item.kind = _item_days.kind)
      end
    group by 1, 2, 3, 4
  )

  select
    used.target_id, used.day, sum(used.event_count)::bigint, sum(used.person_count)::bigint, sum(used.engaged)
  from (
    select
      item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.person_count, item_day.engaged
    from track.item_day
    join track.item on item.item_id = item_day.item_id
    where item_day.with_parts = v_of_courses
      and item_day.day >= _item_days.first_day
      and item_day.day < _item_days.end_day
      and (_item_days.kind is null or item.kind = _item_days.kind)

    union all

    select
      queued.target_id, queued.day, sign.sign * queued.event_count, sign.sign, sign.sign * queued.engaged
    from queued
    cross join lateral (select case when queued.was then -1 else 1 end as sign) as sign
  ) as used
  group by used.target_id, used.day
  having sum(used.person_count) > 0;
end;
$$;

comment on function analytics._item_days(text, date, date, text, int) is $$
Returns the use of each item of a kind by counted people, by day (UTC), on the days between two (`end_day` exclusive).
With what the items contain; `kind` null: the items themselves, without what they contain. Days without use have no row.
`among` and `smallest_group` are the arguments of `analytics._among`; nothing else is left out. Read from the sums of
the rollup, with the people that are queued for a refresh; kinds of items with parts other than courses, and the use of
some people, from the journeys.
$$;

grant execute on function analytics._item_days(text, date, date, text, int) to insights_reader;
--! EndIncluded analytics/functions/_item_days.sql

--! Included analytics/functions/trending_items.sql
create or replace function analytics._trending_items(
  kind text, since timestamptz, until timestamptz, measure text, half_life interval, top int, among text, bias float8,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_is_exact constant boolean := coalesce(_trending_items.smallest_group, 1) = 1;
  v_bounds timestamptz[];
  v_first_day date;
  v_end_day date;
  v_days int;
  v_half_life float8;
  v_periods int;
begin
  -- Whole days, so that two periods differ by a day at least.
  v_bounds := analytics._bounds('day', _trending_items.since, _trending_items.until, 'UTC');
  v_first_day := v_bounds[1]::date;
  v_end_day := v_bounds[cardinality(v_bounds)]::date;
  v_days := v_end_day - v_first_day;
  if v_days > 366 then
    perform common.refuse('CF008', format('the period has %s days', v_days),
      'Give at most 366: it is compared with earlier periods of the same length.');
  end if;
  if _trending_items.measure is null or _trending_items.measure not in ('people', 'events', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_trending_items.measure, 100)),
      'Use people (people by day), events or engaged (engaged time).');
  end if;
  if _trending_items.half_life is null
    or not (_trending_items.half_life >= '1 day' and _trending_items.half_life <= '3660 days')
  then
    perform common.refuse('CF001', format('half_life is %s', coalesce(_trending_items.half_life::text, 'null')),
      'Give an interval from 1 to 3660 days, such as 28 days.');
  end if;
  if _trending_items.bias is null or not (_trending_items.bias between 1 and 1000000) then
    perform common.refuse('CF001', format('bias is %s', coalesce(_trending_items.bias::text, 'null')),
      'Give a number from 1 to 1000000: use below it is not significant.');
  end if;
  perform common.check_count('top', _trending_items.top, 1, 10000);
  if _trending_items.kind is not null
    and not exists (select from track.item where item.kind = _trending_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_trending_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
  v_half_life := extract(epoch from _trending_items.half_life) / 86400;
  -- Periods of more than four half-lives ago would weigh less than a sixteenth.
  v_periods := greatest(1, least(100, floor(4 * v_half_life / v_days)));
  v_periods := least(v_periods, (v_first_day - '0001-01-01'::date) / v_days);

  return query
  with used as (
    -- Period 0 is the one of the question.
    select
      item_days.item_id,
      (v_end_day - 1 - item_days.day) / v_days as period,
      case _trending_items.measure
        when 'people' then item_days.person_count
        when 'events' then item_days.event_count
        else extract(epoch from item_days.engaged)
      end::float8 as measured,
      item_days.person_count
    from analytics._item_days(
      _trending_items.kind, v_end_day - v_days * (v_periods + 1), v_end_day, _trending_items.among,
      _trending_items.smallest_group
    ) as item_days
    where item_days.person_count >= coalesce(_trending_items.smallest_group, 1)
  ),

  -- The people of the largest day are not more than those of the period: figures are rounded at least as much.
  measured as materialized (
    select
      by_period.item_id, by_period.period,
      case
        when v_is_exact then by_period.measured
        else analytics._shown(by_period.measured, by_period.person_count, _trending_items.smallest_group)
      end as measured,
      case
        when not v_is_exact
          then _trending_items.smallest_group
            * analytics._power_of_two(by_period.measured / by_period.person_count)
      end as unit
    from (
      select
        used.item_id, used.period,
        case
          when _trending_items.measure = 'engaged' then round(sum(used.measured)::numeric, 6)::float8
          else sum(used.measured)
        end as measured,
        max(used.person_count) as person_count
      from used
      group by used.item_id, used.period
    ) as by_period
  ),

  -- An earlier period weighs by its age and by the use of all items in it: the expected share of an item is the ratio
  -- of two decayed sums. Periods without any use, such as those before the first event, do not count.
  earlier as (
    select
      total.period,
      total.measured,
      0.5::float8 ^ (total.period * v_days / v_half_life) * total.measured as weight,
      recent.measured as recent_total
    from (
      select measured.period, sum(measured.measured) as measured from measured group by measured.period
    ) as total
    cross join (
      select sum(of_period.measured) as measured from measured as of_period where of_period.period = 0
    ) as recent
    where total.period > 0
      and total.measured > 0
  ),

  scaled as (
    select
      recent.item_id,
      recent.measured,
      recent.unit,
      earlier.weight,
      coalesce(own.measured, 0) / earlier.measured * earlier.recent_total as scaled
    from measured as recent
    cross join earlier
    left join measured as own on own.item_id = recent.item_id and own.period = earlier.period
    where recent.period = 0
      and recent.measured > 0
  ),

  estimated as (
    select
      scaled.*,
      sum(scaled.weight * scaled.scaled) over of_item / sum(scaled.weight) over of_item as expected
    from scaled
    window of_item as (partition by scaled.item_id)
  ),

  compared as (
    select
      estimated.item_id,
      estimated.measured,
      estimated.unit,
      estimated.expected,
      sum(estimated.weight * (estimated.scaled - estimated.expected) ^ 2) / sum(estimated.weight) as variance
    from estimated
    group by estimated.item_id, estimated.measured, estimated.unit, estimated.expected
  ),

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
  scored as (
    select
      compared.item_id, compared.measured,
      round(compared.expected::numeric, 9)::float8 as expected,
      round(noise.deviation::numeric, 9)::float8 as deviation,
      round(
        ((compared.measured - greatest(compared.expected, noise.bias)) / (noise.deviation + noise.bias))::numeric, 9
      )::float8 as score
    from compared
    cross join lateral (
      select
        -- That of Poisson counts at least.
        sqrt(greatest(compared.variance, compared.expected)) as deviation,
        greatest(_trending_items.bias, compared.unit) as bias
    ) as noise
  )

  select
    (row_number() over by_score)::int,
    item.external_id,
    item.title,
    item.kind,
    scored.measured,
    scored.expected,
    scored.deviation,
    scored.measured / nullif(scored.expected, 0) - 1,
    scored.score
  from scored
  join track.item on item.item_id = scored.item_id
  where scored.score > 0
  window by_score as (order by scored.score desc, scored.measured desc, item.external_id)
  order by 1
  limit _trending_items.top;
end;
$$;

comment on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, int
) is $$
Computes the result of `analytics.trending_items`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trending_items_exact(
  kind text, since timestamptz, until timestamptz, measure text, half_life interval, top int, among text, bias float8
)
returns setof analytics.trending_item
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
  select * from analytics._trending_items($1, $2, $3, $4, $5, $6, $7, $8, null);
$$;

alter function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) owner to insights_reader;

comment on function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) is $$
Returns the result of `analytics.trending_items` with exact figures, for admins and workers.
$$;

grant execute on function analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trending_items_shown(
  kind text, since timestamptz, until timestamptz, measure text, half_life interval, top int, among text, bias float8
)
returns setof analytics.trending_item
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
  from analytics._trending_items($1, $2, $3, $4, $5, $6, $7, $8, (select smallest_group from analytics.setting));
$$;

alter function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) owner to insights_reader;

comment on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) is $$
Returns the result of `analytics.trending_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) to insights_analyst;

create or replace function analytics.trending_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '6 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  half_life interval default '28 days',
  top int default 10,
  among text default null,
  bias float8 default 5
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trending_items_exact(text, timestamptz, timestamptz, text, interval, int, text, float8)', 'execute'
  ) then
    return query
    select *
    from analytics._trending_items_exact(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias
    );
  else
    return query
    select *
    from analytics._trending_items_shown(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias
    );
  end if;
end;
$$;

comment on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) is $$
Returns the items that are used more than expected between two times (`until` exclusive), most significant first.
The expectation is a mean of earlier periods of the same length, up to four half-lives back: the weight of a period is
halved per `half_life` of age. The method is SigniTrend (E. Schubert, M. Weiler, H.-P. Kriegel, KDD 2014): the score is
(measured - max(expected, `bias`)) / (deviation + `bias`), a number of standard deviations from an exponentially
weighted mean, in which `bias` keeps items of little use from being significant. What is compared is the share of an
item in the use of all items of its kind: in a holiday, at the start of a term, and on a day that has not ended, all
items have more or less use, and no item trends for that reason. The deviation is that of the earlier periods, and at
least that of Poisson counts.
`measure`: `people` (the distinct people of each day, added up: a person who is active on three days counts three
times, one who sends a thousand events does not), `events` or `engaged` (seconds). Use includes that of what an item
contains; `kind` null: the items themselves. The period is extended to whole days, UTC; use periods of whole weeks,
because items have other shares on weekends. Items with a score of 0 or less are not returned, and no item is when
there is no earlier period with use.
Only people in the set `counted` count; `among`: those of them in an expression of sets of people. The result includes
every event that was stored when the function was called, and engaged times as of the last refresh. It is read from the
sums by item and day; with `among`, and for kinds of items with parts other than courses, from the journeys.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item is left out, figures are rounded by `analytics._shown` (for the people of the largest day), and
everything else is computed from them, with a `bias` of at least one step of rounding.
Errors: CF001 for an invalid argument, CF002 for an unknown kind or set, CF008 for more than 366 days.
$$;

grant execute on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trending_items.sql

--! Included analytics/functions/_feature_people.sql
create or replace function analytics._feature_people(
  of_event_type_id int, breakdown text, first_day date, end_day date, previous_day date, observed_day date,
  return_days int, among text, smallest_group int
)
returns table (
  event_type_id int,
  item_kind text,
  block int,
  people bit(4096),
  earlier_people bit(4096),
  observed_people bit(4096),
  returned_people bit(4096),
  previous_people bit(4096),
  person_days bigint,
  event_count bigint,
  previous_event_count bigint,
  days date[],
  oldest_day date,
  latest_day date
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
-- The bits of a year are sorted in memory.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_by_kind constant boolean := _feature_people.breakdown is not null;
  v_reads_journeys constant boolean := v_by_kind or _feature_people.among is not null;
  v_event_types constant int[] := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.merged_event_type_id is null
      and case
        when _feature_people.of_event_type_id is null
          then not event_type.is_automatic and not event_type.is_heartbeat and event_type.purpose <> 'service'
        else event_type.event_type_id = _feature_people.of_event_type_id
      end
  );
  -- Type 0 is any event that is not automatic. By kind of item, the other types are read from the journeys.
  v_present_types constant int[] := 0 || case when v_by_kind then '{}' else v_event_types end;
  -- The people who count, by block: an array, because the planner cannot estimate a join.
  v_members constant bit(4096)[] := (
    select array_agg(
      coalesce(member.people & ~coalesce(excluded.people, v_no_people), v_no_people) order by blocks.block
    )
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)) as blocks (block)
    left join analytics._among(_feature_people.among, _feature_people.smallest_group) as member
      on member.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  );
  v_queued record;
  v_is_queued boolean;
  -- Whether the days before the two periods are read as they are stored, which is several times faster.
  v_reads_history_at_once boolean;
begin
  v_queued := track.queued_days('-infinity', _feature_people.end_day);
  v_is_queued := v_queued.people is not null;
  v_reads_history_at_once := _feature_people.smallest_group is null
    and not exists (
      select from unnest(v_queued.first_days) as queued_day where queued_day < _feature_people.previous_day
    );

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select
      typed.event_type_id, entry.person_id, entry.day, entry.was,
      case when entry.was then -typed.event_count else typed.event_count end as event_count
    from (
      select activity.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      union all
      select activity.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where typed.event_count > 0
      and typed.event_type_id = any (v_present_types)
  ),

  change as materialized (
    select
      queued.event_type_id, queued.day, (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not membership.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where membership.is_counted), 0) as counted_count
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join counted on counted.block = queued.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    cross join lateral (
      select
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
    ) as membership
    group by 1, 2, 3
  ),

  -- Numbers of events of some people, and events by kind of item, are in the journeys.
  journey as materialized (
    select
      activity.event_type_id,
      case when v_by_kind then coalesce(item.kind, '') else '' end as item_kind,
      activity.day, (activity.person_id / 4096)::int as block,
      case
        when v_by_kind
          then coalesce(
            bit_or(track.person_bit(activity.person_id)) filter (where activity.person_id <> 0), v_no_people
          )
        else v_no_people
      end as people,
      sum(activity.event_count) as event_count
    from track.activity_of(
      analytics._people_among(_feature_people.among, _feature_people.smallest_group, false)
        -- Anonymised events.
        || case
          when _feature_people.among is null and _feature_people.smallest_group is null then '{0}'::bigint[]
        end,
      _feature_people.previous_day,
      _feature_people.end_day
    ) as activity
    left join track.item on item.item_id = activity.item_id
    where v_reads_journeys
      and activity.event_type_id = any (v_event_types)
      and activity.event_count > 0
    group by 1, 2, 3, 4
  ),

  -- Rows of the same feature, day and block add up. Not materialized: the bits of all days are large.
  cell as not materialized (
    select
      presence.event_type_id, '' as item_kind, presence.day, presence.block,
      presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_members[presence.block + 1], v_no_people)
        as people,
      case
        when _feature_people.among is not null then 0
        when _feature_people.smallest_group is not null then presence.counted_count
        else presence.event_count
      end as event_count
    from track.presence
    left join change
      on v_is_queued
      and change.event_type_id = presence.event_type_id
      and change.day = presence.day
      and change.block = presence.block
    where presence.event_type_id = any (v_present_types)
      and presence.day < _feature_people.end_day
      and (presence.event_type_id <> 0 or presence.day >= _feature_people.first_day)
      and (not v_reads_history_at_once or presence.day >= _feature_people.previous_day)

    union all

    select
      change.event_type_id, '', change.day, change.block,
      change.added & coalesce(v_members[change.block + 1], v_no_people),
      case
        when _feature_people.among is not null then 0
        when _feature_people.smallest_group is not null then change.counted_count
        else change.event_count
      end
    from change

    union all

    select journey.event_type_id, journey.item_kind, journey.day, journey.block, journey.people, journey.event_count
    from journey
  ),

  history as (
    select presence.event_type_id, presence.block, bit_or(presence.people) as people
    from track.presence
    where v_reads_history_at_once
      and presence.event_type_id = any (v_present_types)
      and presence.event_type_id <> 0
      and presence.day < _feature_people.previous_day
    group by presence.event_type_id, presence.block
  ),

  history_days as (
    select
      feature.event_type_id,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day
        limit 1
      ) as oldest_day,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day desc
        limit 1
      ) as latest_day
    from unnest(v_event_types) as feature (event_type_id)
    where v_reads_history_at_once
      and not v_by_kind
  ),

  small_day as materialized (
    select cell.event_type_id, cell.item_kind, cell.day, date_trunc('week', cell.day::timestamp)::date as week
    from cell
    where _feature_people.smallest_group is not null
    group by cell.event_type_id, cell.item_kind, cell.day
    having sum(bit_count(cell.people)) < _feature_people.smallest_group
  ),

  -- Weeks (from Monday) whose small days have enough people together. They count in periods that contain them.
  week_of_group as materialized (
    select by_block.event_type_id, by_block.item_kind, by_block.week
    from (
      select cell.event_type_id, cell.item_kind, small_day.week, cell.block, bit_or(cell.people) as people
      from small_day
      join cell using (event_type_id, item_kind, day)
      group by cell.event_type_id, cell.item_kind, small_day.week, cell.block
    ) as by_block
    group by by_block.event_type_id, by_block.item_kind, by_block.week
    having sum(bit_count(by_block.people)) >= _feature_people.smallest_group
  ),

  placed as not materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, cell.block, cell.people, cell.event_count,
      small_day.day is null as is_large,
      cell.day >= _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.first_day
            and week_of_group.week + 7 <= _feature_people.end_day
        ) as in_period,
      cell.day >= _feature_people.previous_day
        and cell.day < _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.previous_day
            and week_of_group.week + 7 <= _feature_people.first_day
        ) as in_previous,
      cell.day < _feature_people.first_day
        and (small_day.day is null or week_of_group.week + 7 <= _feature_people.first_day) as is_before
    from cell
    left join small_day
      on small_day.event_type_id = cell.event_type_id
      and small_day.item_kind = cell.item_kind
      and small_day.day = cell.day
    left join week_of_group
      on week_of_group.event_type_id = small_day.event_type_id
      and week_of_group.item_kind = small_day.item_kind
      and week_of_group.week = small_day.week
  ),

  returned as (
    select
      in_order.event_type_id, in_order.item_kind, in_order.block, bit_or(in_order.people & in_order.earlier) as people
    from (
      select
        placed.event_type_id, placed.item_kind, placed.block, placed.people,
        bit_or(placed.people) over (
          partition by placed.event_type_id, placed.item_kind, placed.block
          order by placed.day
          range between unbounded preceding and make_interval(days => _feature_people.return_days) preceding
        ) as earlier
      from placed
      where placed.day >= _feature_people.first_day
        and placed.in_period
        and placed.event_type_id <> 0
    ) as in_order
    group by in_order.event_type_id, in_order.item_kind, in_order.block
  ),

  by_block as (
    select
      placed.event_type_id, placed.item_kind, placed.block,
      coalesce(bit_or(placed.people) filter (where placed.in_period), v_no_people) as people,
      coalesce(bit_or(placed.people) filter (where placed.is_before), v_no_people) as earlier_people,
      coalesce(
        bit_or(placed.people) filter (where placed.in_period and placed.day <= _feature_people.observed_day),
        v_no_people
      ) as observed_people,
      coalesce(bit_or(placed.people) filter (where placed.in_previous), v_no_people) as previous_people,
      coalesce(sum(bit_count(placed.people)) filter (where placed.in_period), 0)::bigint as person_days,
      coalesce(sum(placed.event_count) filter (where placed.in_period), 0)::bigint as event_count,
      coalesce(sum(placed.event_count) filter (where placed.in_previous), 0)::bigint as previous_event_count,
      array_agg(placed.day) filter (where placed.in_period) as days,
      min(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as oldest_day,
      max(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as latest_day
    from placed
    group by placed.event_type_id, placed.item_kind, placed.block
  )

  select
    by_block.event_type_id,
    nullif(by_block.item_kind, ''),
    by_block.block,
    by_block.people,
    by_block.earlier_people | coalesce(history.people, v_no_people),
    by_block.observed_people,
    coalesce(returned.people, v_no_people),
    by_block.previous_people,
    by_block.person_days,
    by_block.event_count,
    by_block.previous_event_count,
    by_block.days,
    least(by_block.oldest_day, history_days.oldest_day),
    greatest(by_block.latest_day, history_days.latest_day)
  from by_block
  left join returned using (event_type_id, item_kind, block)
  left join history on history.event_type_id = by_block.event_type_id and history.block = by_block.block
  left join history_days on history_days.event_type_id = by_block.event_type_id;
end;
$$;

comment on function analytics._feature_people(
  int, text, date, date, date, date, int, text, int
) is $$
Returns the people and events of event types in a period, one row per block of 4,096 people, as of now.
Event types are those that people cause by an action, or the one of `of_event_type_id`, and type 0: any event that is
not automatic. Days are UTC; the period is from `first_day` until `end_day` (exclusive), the one before it begins with
`previous_day`. `people`: in the period; `earlier_people`: on any day before it; `observed_people`: in the period
until `observed_day`; `returned_people`: in the period, and again at least `return_days` days later;
`previous_people`: in the period before. `earlier_people` may have bits of people who do not count. `days`: the days
of the period that count. `oldest_day` and `latest_day`: of all days before `end_day`.
With `breakdown`, by kind of item, type 0 without kinds, and nothing before `previous_day`.
`among` and `smallest_group` are the arguments of `analytics._among`; excluded people are left out. With a
`smallest_group`, small days are left out as in `analytics._trend_of_groups`, in each of the periods by itself.
$$;

grant execute on function analytics._feature_people(
  int, text, date, date, date, date, int, text, int
) to insights_reader;
--! EndIncluded analytics/functions/_feature_people.sql

--! Included analytics/functions/feature_usage.sql
create or replace function analytics._feature_usage(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean, smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_event_type_id constant int := nullif(analytics._event_type_id(_feature_usage.event_name), 0);
  v_bounds timestamptz[];
  v_first_day date;
  v_end_day date;
  -- The period before, of the same length.
  v_previous_day date;
  -- The last day of the period until now.
  v_last_day date;
begin
  -- Whole days, so that two periods differ by a day at least.
  v_bounds := analytics._bounds('day', _feature_usage.since, _feature_usage.until, 'UTC');
  if _feature_usage.breakdown <> 'kind' then
    perform common.refuse('CF001', format('breakdown is "%s"', left(_feature_usage.breakdown, 100)),
      'Use kind (kind of the item of the event), or null for event types as a whole.');
  end if;
  if _feature_usage.measure is null
    or _feature_usage.measure not in ('people', 'events', 'days', 'new', 'return', 'growth')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_feature_usage.measure, 100)),
      'Use people, events, days (days per person), new (new people), return (return rate) or growth (of people).');
  end if;
  perform common.check_count('top', _feature_usage.top, 1, 10000);
  perform common.check_count('return_days', _feature_usage.return_days, 1, 366);
  if _feature_usage.with_median is null then
    perform common.refuse('CF001', 'with_median is null', 'Use true or false.');
  end if;
  v_first_day := v_bounds[1]::date;
  v_end_day := v_bounds[cardinality(v_bounds)]::date;
  v_previous_day := v_first_day - least(v_end_day - v_first_day, v_first_day - '0001-01-01'::date);
  v_last_day := least(v_end_day, now()::date + 1) - 1;

  return query
  with used as materialized (
    select kernel.*, coalesce(kernel.item_kind, '') as kind
    from analytics._feature_people(
      v_event_type_id, _feature_usage.breakdown, v_first_day, v_end_day, v_previous_day,
      v_last_day - _feature_usage.return_days, _feature_usage.return_days, _feature_usage.among,
      _feature_usage.smallest_group
    ) as kernel
  ),

  by_feature as (
    select
      used.event_type_id, used.kind,
      sum(bit_count(used.people))::bigint as people,
      sum(bit_count(used.people & ~used.earlier_people))::bigint as new_people,
      sum(bit_count(used.observed_people))::bigint as observed_people,
      sum(bit_count(used.returned_people))::bigint as returned_people,
      sum(bit_count(used.previous_people))::bigint as previous_people,
      sum(used.person_days)::float8 as person_days,
      sum(used.event_count)::float8 as event_count,
      sum(used.previous_event_count)::float8 as previous_event_count,
      min(used.oldest_day) as first_day,
      max(used.latest_day) as last_day
    from used
    group by used.event_type_id, used.kind
  ),

  middle as (
    select
      by_person.event_type_id, by_person.kind,
      percentile_cont(0.5) within group (order by by_person.event_count::float8) as median_events,
      avg(by_person.event_count)::float8 as mean_events
    from (
      select
        activity.event_type_id, described.kind, activity.person_id, sum(activity.event_count) as event_count
      from track.activity_of(
        analytics._people_among(_feature_usage.among, _feature_usage.smallest_group, false), v_first_day, v_end_day
      ) as activity
      left join track.item on item.item_id = activity.item_id
      cross join lateral (
        select case when _feature_usage.breakdown is not null then coalesce(item.kind, '') else '' end as kind
      ) as described
      join (
        select distinct used.event_type_id, used.kind, day
        from used
        cross join lateral unnest(used.days) as day
      ) as kept
        on kept.event_type_id = activity.event_type_id
        and kept.kind = described.kind
        and kept.day = activity.day
      where _feature_usage.with_median
        and activity.event_count > 0
      group by activity.event_type_id, described.kind, activity.person_id
    ) as by_person
    group by by_person.event_type_id, by_person.kind
  ),

  shown as (
    select
      by_feature.event_type_id, by_feature.kind,
      analytics._shown(by_feature.event_count, by_feature.people, _feature_usage.smallest_group)::bigint
        as event_count,
      analytics._shown(by_feature.people, by_feature.people, _feature_usage.smallest_group)::bigint as person_count,
      analytics._shown(by_feature.person_days, by_feature.people, _feature_usage.smallest_group)
        as person_days,
      analytics._shown_mean(
        middle.median_events, by_feature.people, _feature_usage.smallest_group, middle.mean_events
      ) as median_events,
      case
        when _feature_usage.breakdown is null
          then analytics._shown(by_feature.new_people, by_feature.new_people, _feature_usage.smallest_group)::bigint
      end as new_person_count,
      analytics._shown(
        by_feature.observed_people, by_feature.observed_people, _feature_usage.smallest_group
      )::bigint as observed_person_count,
      analytics._shown(
        by_feature.returned_people, by_feature.returned_people, _feature_usage.smallest_group
      )::bigint as returned_person_count,
      analytics._shown(
        by_feature.previous_event_count, by_feature.previous_people, _feature_usage.smallest_group
      )::bigint as previous_event_count,
      analytics._shown(
        by_feature.previous_people, by_feature.previous_people, _feature_usage.smallest_group
      )::bigint as previous_person_count,
      case when _feature_usage.breakdown is null then by_feature.first_day end as first_day,
      by_feature.last_day
    from by_feature
    left join middle using (event_type_id, kind)
  ),

  -- Rates and means are computed from the numbers as shown, and the order from these.
  computed as (
    select
      event_type.name as event,
      nullif(shown.kind, '') as item_kind,
      shown.event_count,
      shown.person_count,
      coalesce(active.person_count, 0) as active_person_count,
      least(1, shown.person_count::float8 / nullif(active.person_count, 0)) as adoption_rate,
      shown.new_person_count,
      shown.event_count::float8 / nullif(shown.person_count, 0) as events_per_person,
      shown.median_events,
      shown.person_days / nullif(shown.person_count, 0) as days_per_person,
      shown.observed_person_count,
      shown.returned_person_count,
      shown.returned_person_count::float8 / nullif(shown.observed_person_count, 0) as return_rate,
      shown.previous_event_count,
      shown.previous_person_count,
      shown.event_count::float8 / nullif(shown.previous_event_count, 0) - 1 as event_growth,
      shown.person_count::float8 / nullif(shown.previous_person_count, 0) - 1 as person_growth,
      shown.first_day,
      shown.last_day
    from shown
    join track.event_type on event_type.event_type_id = shown.event_type_id
    left join shown as active on active.event_type_id = 0
    where shown.event_count > 0
      or shown.person_count > 0
      or shown.previous_event_count > 0
      or shown.previous_person_count > 0
  )

  select
    (row_number() over by_score)::int,
    computed.*
  from computed
  cross join lateral (
    select case _feature_usage.measure
      when 'people' then computed.person_count
      when 'events' then computed.event_count
      when 'days' then computed.days_per_person
      when 'new' then computed.new_person_count
      when 'return' then computed.return_rate
      when 'growth' then computed.person_growth
    end as score
  ) as by_measure
  window by_score as (
    order by
      by_measure.score desc nulls last, computed.person_count desc, computed.event_count desc, computed.event,
      computed.item_kind nulls first
  )
  order by 1
  limit _feature_usage.top;
end;
$$;

comment on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Computes the result of `analytics.feature_usage`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._feature_usage_exact(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean
)
returns setof analytics.used_feature
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
  from analytics._feature_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, null);
$$;

alter function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) owner to insights_reader;

comment on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns the result of `analytics.feature_usage` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._feature_usage_shown(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean
)
returns setof analytics.used_feature
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
  from analytics._feature_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting));
$$;

alter function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) owner to insights_reader;

comment on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns the result of `analytics.feature_usage` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_analyst;

create or replace function analytics.feature_usage(
  event_name text default null,
  breakdown text default null,
  since timestamptz default (now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 50,
  among text default null,
  return_days int default 7,
  with_median boolean default false
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._feature_usage_exact(text, text, timestamptz, timestamptz, text, int, text, int, boolean)', 'execute'
  ) then
    return query
    select *
    from analytics._feature_usage_exact(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median
    );
  else
    return query
    select *
    from analytics._feature_usage_shown(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median
    );
  end if;
end;
$$;

comment on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns how each feature is used between two times (`until` exclusive): how often, by whom, how deeply, its adoption.
Features are event types, without heartbeats, automatic events and those of the purpose `service`; with `event_name`,
this event type, whatever it is. `breakdown` = `kind`: actions, which are event types by kind of the item (a page that
is viewed and a course that is viewed); null as a kind: events without an item. Features that were used neither in the
period nor in the one before it are not listed.
- How often and by whom: events, distinct people, and the share of the active people (those with any event that is not
  automatic) who used the feature: `adoption_rate`.
- How deeply: events per person, days per person, and with `with_median` the median of the events per person.
- Adoption: `new_person_count` are the people who never used the feature before the period.
- Return: of the people who used it at least `return_days` days before the end of the period (or now), those who used it
  again `return_days` days or more after their first use in the period: `return_rate`. Later users are left out, because
  they could not return yet.
- Trend: the period before, of the same length, and the growth since then (0.5: half as much again).
- `first_day` and `last_day`: days of the first and the last use before `until`.
`measure` decides the order: `people`, `events`, `days` (per person), `new`, `return` (rate) or `growth` (of people).
The period is extended to whole days, UTC. `among`: only people in an expression of sets of people.
People are read from the bits of `track.presence`, those of all earlier days too, and include every event that was
stored when the function was called. `among`, `breakdown` and `with_median` read the journeys of the period and of the
one before it, which takes longer; with `breakdown`, new people and the first day are null, and the last day is one of
these periods.
For admins and workers, figures are exact and include anonymous browsers, as those of `analytics.trend`. Analysts see
figures of counted people: the days on which fewer than `analytics.setting.smallest_group` of them used a feature count
with the other small days of their week (from Monday), where a period contains the whole week and they have at least as
many people together, and otherwise not, as use before the period neither; numbers are rounded by `analytics._shown`,
each by itself; rates, means and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown event or set (with the most similar names), CF008 for more
than 10,000 days.
$$;

grant execute on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/feature_usage.sql

--! Included analytics/annotations/annotate.sql
create or replace function analytics.annotate(
  title text,
  starts_at timestamptz,
  ends_at timestamptz default null,
  kind text default 'other',
  description text default null
)
returns analytics.annotation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_annotation analytics.annotation;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(btrim(annotate.title), '') = '' then
    perform common.refuse('CF001', 'the annotation has no title', 'Give a title, such as "Release 4.2".');
  end if;
  if length(annotate.title) > 200 then
    perform common.refuse('CF008', format('the title has %s characters', length(annotate.title)),
      'It can have at most 200. Write more into the description.');
  end if;
  if length(annotate.description) > 2000 then
    perform common.refuse('CF008', format('the description has %s characters', length(annotate.description)),
      'It can have at most 2,000.');
  end if;
  if annotate.kind is null or annotate.kind not in ('release', 'term', 'holiday', 'other') then
    perform common.refuse('CF001', format('kind is "%s"', coalesce(left(annotate.kind, 100), 'null')),
      'Use release, term, holiday or other.');
  end if;
  if annotate.starts_at is null or not isfinite(annotate.starts_at) or not isfinite(annotate.ends_at)
    or annotate.ends_at <= annotate.starts_at
  then
    perform common.refuse(
      'CF001',
      format(
        'the annotation is from %s until %s',
        coalesce(annotate.starts_at::text, 'null'), coalesce(annotate.ends_at::text, 'null')
      ),
      'Give a time for starts_at, and a later one for ends_at; null annotates a single time.'
    );
  end if;

  insert into analytics.annotation (kind, title, description, starts_at, ends_at, created_by)
  values (
    annotate.kind,
    btrim(annotate.title),
    nullif(btrim(annotate.description), ''),
    annotate.starts_at,
    annotate.ends_at,
    common.author()
  )
  returning * into v_annotation;
  return v_annotation;
end;
$$;

comment on function analytics.annotate(text, timestamptz, timestamptz, text, text) is $$
Annotates a time, or the period from `starts_at` until `ends_at` (exclusive), and returns the annotation.
`kind`: `release`, `term`, `holiday` or `other`. Analysts and instructors can read all annotations: do not write about
people. `analytics.remove_annotation` removes it.
Errors: CF001 for an invalid argument, CF008 for a title or description that is too long.
$$;

grant execute on function analytics.annotate(text, timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/annotations/annotate.sql

--! Included analytics/annotations/remove_annotation.sql
create or replace function analytics.remove_annotation(annotation_id bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_author text;
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.annotation
  where annotation.annotation_id = remove_annotation.annotation_id
  returning annotation.created_by into v_author;
  if v_author is not null then
    return true;
  end if;

  select annotation.created_by into v_author
  from analytics.annotation
  where annotation.annotation_id = remove_annotation.annotation_id;
  if v_author is not null then
    perform common.refuse(
      'CF005',
      format('annotation %s is by %s', remove_annotation.annotation_id, left(v_author, 100)),
      'Its author or an administrator can remove it.'
    );
  end if;
  return false;
end;
$$;

comment on function analytics.remove_annotation(bigint) is $$
Removes an annotation. False when there is none with this key.
Analysts can remove their own annotations, administrators and workers all.
Errors: CF005 for an annotation of another author.
$$;

grant execute on function analytics.remove_annotation(bigint) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/annotations/remove_annotation.sql

--! Included analytics/annotations/annotations.sql
create or replace function analytics.annotations(
  since timestamptz default '-infinity',
  until timestamptz default 'infinity'
)
returns setof analytics.annotation
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_period(annotations.since, annotations.until);
  return query
  select annotation.*
  from analytics.annotation
  where annotation.starts_at < annotations.until
    and (annotation.starts_at >= annotations.since or annotation.ends_at > annotations.since)
  order by annotation.starts_at, annotation.annotation_id;
end;
$$;

comment on function analytics.annotations(timestamptz, timestamptz) is $$
Returns the annotations that overlap the period from `since` until `until` (exclusive), in the order of their starts.
Errors: CF001 for a `since` that is not before `until`.
$$;

grant execute on function analytics.annotations(timestamptz, timestamptz)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/annotations/annotations.sql

--! Included analytics/queries/query_functions.sql
create or replace function analytics.query_functions()
returns setof analytics.query_function
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- Not the functions of ml and common: they resolve names and evaluate expressions in their arguments, so that a saved
  -- query could run what its author wrote with the privileges of another caller.
  return query
  select
    format('%s.%s', namespace.nspname, procedure.proname),
    array(
      select argument.name
      from unnest(procedure.proargnames, procedure.proargmodes) with ordinality as argument (name, mode, number)
      where coalesce(argument.mode, 'i') = 'i'
      order by argument.number
    ),
    array(
      select format_type(argument.type, null)
      from unnest(procedure.proargtypes) with ordinality as argument (type, number)
      order by argument.number
    ),
    (procedure.pronargs - procedure.pronargdefaults)::int,
    split_part(btrim(regexp_replace(description.text, '(^|\n)@[^\n]*', '', 'g'), E' \n'), E'\n', 1)
  from pg_proc as procedure
  join pg_namespace as namespace on namespace.oid = procedure.pronamespace
  cross join lateral (select coalesce(obj_description(procedure.oid, 'pg_proc'), '')) as description (text)
  where namespace.nspname in ('privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
    and procedure.proname !~ '^_'
    and procedure.prokind = 'f'
    and procedure.provolatile <> 'v'
    and procedure.proname <> 'run_query'
    and description.text !~ '@behavior [^\n]*-(queryField|\*)'
    and has_function_privilege(procedure.oid, 'execute')
  order by 1;
end;
$$;

comment on function analytics.query_functions() is $$
Returns the functions that the caller can query by name (see `analytics.save_query`), with their arguments.
They are the fields of the API that only read, except those of the schema `ml`.
$$;

grant execute on function analytics.query_functions() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/query_functions.sql

--! Included analytics/queries/query_statement.sql
create or replace function analytics.query_statement(query text, arguments jsonb default '{}')
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_function_name text := query_statement.query;
  v_arguments jsonb := coalesce(query_statement.arguments, '{}');
  v_function analytics.query_function;
  v_nearest text;
  v_argument record;
  v_expression text;
  v_expressions text[] := '{}';
begin
  if jsonb_typeof(v_arguments) <> 'object' then
    perform common.refuse('CF009', format('the arguments are a JSON %s', jsonb_typeof(v_arguments)),
      'Give a JSON object with the arguments by name, such as {"since": "-28 days"}.');
  end if;
  if length(v_arguments::text) > 8000 then
    perform common.refuse('CF008', format('the arguments have %s characters', length(v_arguments::text)),
      'They can have at most 8,000.');
  end if;

  -- The row policy hides queries of functions that the caller may not execute.
  if query_statement.query is null or strpos(query_statement.query, '.') = 0 then
    select saved_query.function_name, saved_query.arguments || v_arguments into v_function_name, v_arguments
    from analytics.saved_query
    where saved_query.name = query_statement.query;
    if not found then
      select common.nearest_name(query_statement.query, array_agg(saved_query.name order by saved_query.name))
      into v_nearest
      from analytics.saved_query;
      perform common.refuse(
        'CF002',
        format('there is no saved query "%s"', coalesce(left(query_statement.query, 100), 'null')),
        coalesce('The nearest name is "' || v_nearest || '".', 'analytics.saved_queries() returns all.')
      );
    end if;
  end if;

  select * into v_function
  from analytics.query_functions() as known
  where known.function_name = v_function_name;
  if not found then
    select common.nearest_name(v_function_name, array_agg(known.function_name)) into v_nearest
    from analytics.query_functions() as known;
    perform common.refuse(
      'CF002',
      format('there is no function "%s" for %s to query', left(v_function_name, 100), current_user),
      coalesce('The nearest name is "' || v_nearest || '".', 'analytics.query_functions() returns all.')
    );
  end if;

  for v_argument in
    select given.key as name, given.value, v_function.argument_types[known.number] as type, known.number
    from jsonb_each(v_arguments) as given
    left join unnest(v_function.argument_names) with ordinality as known (name, number) on known.name = given.key
    order by known.number
  loop
    if v_argument.number is null then
      perform common.refuse(
        'CF001',
        format('%s has no argument "%s"', v_function_name, left(v_argument.name, 100)),
        case
          when v_function.argument_names = '{}' then 'It has no arguments.'
          else format('It has %s.', array_to_string(v_function.argument_names, ', '))
        end
      );
    end if;
    v_expression := common.literal(v_argument.value, v_argument.type);
    if v_expression is null then
      perform common.refuse(
        'CF001',
        format('%s of %s is %s', v_argument.name, v_function_name, left(v_argument.value::text, 100)),
        format(
          'Give a value of the type %s%s.',
          v_argument.type,
          case when v_argument.type ~ '^(timestamp|date)' then ', or a time relative to now, such as "-28 days"' end
        )
      );
    end if;
    v_expressions := v_expressions || format('%I => %s', v_argument.name, v_expression);
  end loop;

  if exists (
    select from unnest(v_function.argument_names[:v_function.required_count]) as required (name)
    where not v_arguments ? required.name
  ) then
    perform common.refuse(
      'CF001',
      format(
        'the query of %s has no %s',
        v_function_name,
        (
          select string_agg(required.name, ', ' order by required.number)
          from unnest(v_function.argument_names[:v_function.required_count]) with ordinality
            as required (name, number)
          where not v_arguments ? required.name
        )
      ),
      'Give each argument that has no default.'
    );
  end if;
  return format('select * from %s(%s)', v_function_name, array_to_string(v_expressions, ', '));
end;
$$;

comment on function analytics.query_statement(text, jsonb) is $$
@behavior -queryField
Returns the SQL statement of a query: of a saved one, or of a function with its schema.
`arguments` replace arguments of the saved query. Times that are relative to now stay so in the statement: "-28 days"
and "P28D" are before now, "+7 days" after it.
The function and its arguments are checked: the statement calls a function that the caller may execute
(`analytics.query_functions`), with literals of the types of its arguments, to be read with the time zone UTC.
Errors: CF002 for an unknown query or function (with the nearest name), CF001 for an argument that is unknown, missing
or not of its type, CF008 and CF009 for arguments that are too long or not an object.
$$;

grant execute on function analytics.query_statement(text, jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/query_statement.sql

--! Included analytics/queries/save_query.sql
create or replace function analytics.save_query(
  name text,
  function_name text,
  arguments jsonb default '{}',
  description text default null
)
returns analytics.saved_query
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_query analytics.saved_query;
begin
  -- An invoker: the row policies of the table apply.
  if save_query.name is null or save_query.name !~ '^[a-z][a-z0-9_-]{0,62}$' then
    perform common.refuse('CF001', format('the name is "%s"', coalesce(left(save_query.name, 100), 'null')),
      'Use a letter, then at most 62 letters, digits, - and _, in lower case.');
  end if;
  if length(save_query.description) > 2000 then
    perform common.refuse('CF008', format('the description has %s characters', length(save_query.description)),
      'It can have at most 2,000.');
  end if;
  if save_query.function_name is null or strpos(save_query.function_name, '.') = 0 then
    perform common.refuse(
      'CF001',
      format('function_name is "%s"', coalesce(left(save_query.function_name, 100), 'null')),
      'Give a function with its schema, such as analytics.popular_items: analytics.query_functions() returns all.'
    );
  end if;
  perform analytics.query_statement(save_query.function_name, save_query.arguments);

  insert into analytics.saved_query (name, description, function_name, arguments, created_by)
  values (
    save_query.name, nullif(btrim(save_query.description), ''), save_query.function_name,
    coalesce(save_query.arguments, '{}'), common.author()
  )
  on conflict do nothing
  returning * into v_query;
  if not found then
    update analytics.saved_query
    set
      description = nullif(btrim(save_query.description), ''),
      function_name = save_query.function_name,
      arguments = coalesce(save_query.arguments, '{}'),
      changed_at = now()
    where saved_query.name = save_query.name
    returning * into v_query;
  end if;
  if not found then
    perform common.refuse('CF005', format('the query "%s" is by another author', save_query.name),
      'Use another name. Its author or an administrator can change it.');
  end if;
  return v_query;
end;
$$;

comment on function analytics.save_query(text, text, jsonb, text) is $$
Saves a query: a function that reads, with arguments by name. Replaces a query of the same name of the same author.
`function_name`: a function that the caller may query, with its schema (`analytics.query_functions`).
`arguments`: a JSON object with each argument that has no default, such as {"kind": "course", "since": "-28 days"}.
Times can be relative to now, so that the query stays up to date. It runs with the privileges of the caller
(`analytics.run_query`), and analysts see the queries of functions that they may execute: these take no person as an
argument. Administrators can replace and drop queries of all authors.
Errors: CF001 for an invalid name or argument, CF002 for an unknown function, CF005 for the name of a query of another
author, CF008 and CF009 for a description or arguments that are too long or malformed.
$$;

grant execute on function analytics.save_query(text, text, jsonb, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/save_query.sql

--! Included analytics/queries/drop_query.sql
create or replace function analytics.drop_query(name text)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.saved_query where saved_query.name = drop_query.name;
  if found then
    return true;
  end if;
  if exists (select from analytics.saved_query where saved_query.name = drop_query.name) then
    perform common.refuse('CF005', format('the query "%s" is by another author', drop_query.name),
      'Its author or an administrator can drop it.');
  end if;
  return false;
end;
$$;

comment on function analytics.drop_query(text) is $$
Drops a saved query. False when the caller can see none with this name.
Analysts can drop their own queries, administrators and workers all.
Errors: CF005 for a query of another author.
$$;

grant execute on function analytics.drop_query(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/drop_query.sql

--! Included analytics/queries/saved_queries.sql
create or replace function analytics.saved_queries()
returns setof analytics.saved_query
language sql
stable
begin atomic
  select saved_query.*
  from analytics.saved_query
  order by saved_query.name;
end;

comment on function analytics.saved_queries() is $$
Returns the saved queries that the caller can run.
$$;

grant execute on function analytics.saved_queries() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/saved_queries.sql

--! Included analytics/queries/run_query.sql
create or replace function analytics.run_query(query text, arguments jsonb default '{}')
returns setof jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'iso_8601'
set extra_float_digits to 1
as $$
begin
  -- The statement contains the names of a function and its arguments from the catalogue, and literals.
  return query execute format(
    'select to_jsonb(answer) from (%s) as answer',
    analytics.query_statement(run_query.query, run_query.arguments)
  );
end;
$$;

comment on function analytics.run_query(text, jsonb) is $$
Runs a query with the privileges of the caller, and returns its rows as JSON objects, in the order of its function.
`query`: the name of a saved query, or a function with its schema. `arguments` replace those of the saved query: see
`analytics.save_query`. Times are in UTC, durations in the format of ISO 8601.
Errors: those of `analytics.query_statement`, and of the function.
$$;

grant execute on function analytics.run_query(text, jsonb) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/queries/run_query.sql

--! Included analytics/cohorts/_cohort_set.sql
create or replace function analytics._cohort_set(name text)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when starts_with(_cohort_set.name, 'cohort.') or starts_with(_cohort_set.name, 'segment.') then _cohort_set.name
    else 'cohort.' || _cohort_set.name
  end;
end;
$$;

comment on function analytics._cohort_set(text) is $$
Returns the name of the set of people of a cohort or segment: `cohort.beta` for `beta`.
$$;

grant execute on function analytics._cohort_set(text) to insights_reader;
--! EndIncluded analytics/cohorts/_cohort_set.sql

--! Included analytics/cohorts/_bit_counts.sql
/*
 * Numbers of all people of a block at once: position k of the list has bit k - 1 of each number (bit slices). A bit
 * string is added as in a ripple-carry adder, with an `&` and a `#` per position.
 */
create or replace function analytics._add_bits(counts bit(4096)[], people bit(4096))
returns bit(4096)[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_counts bit(4096)[] := counts;
  v_carry bit(4096) := people;
  v_both bit(4096);
  v_place int := 1;
begin
  while bit_count(v_carry) > 0 loop
    if v_place > cardinality(v_counts) then
      return v_counts || v_carry;
    end if;
    v_both := v_counts[v_place] & v_carry;
    v_counts[v_place] := v_counts[v_place] # v_carry;
    v_carry := v_both;
    v_place := v_place + 1;
  end loop;
  return v_counts;
end;
$$;

comment on function analytics._add_bits(bit(4096)[], bit(4096)) is $$
Adds one to the number of each person of a bit string.
$$;

grant execute on function analytics._add_bits(bit(4096)[], bit(4096)) to insights_reader;

create or replace function analytics._add_bit_counts(counts bit(4096)[], other bit(4096)[])
returns bit(4096)[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_counts bit(4096)[] := counts;
begin
  for v_place in 1..cardinality(other) loop
    v_counts := coalesce(v_counts[:v_place - 1], '{}')
      || array_fill(b'0'::bit(4096), array[greatest(v_place - 1 - cardinality(v_counts), 0)])
      || analytics._add_bits(coalesce(v_counts[v_place:], '{}'), other[v_place]);
  end loop;
  return v_counts;
end;
$$;

comment on function analytics._add_bit_counts(bit(4096)[], bit(4096)[]) is $$
Adds the numbers of people of two lists.
$$;

grant execute on function analytics._add_bit_counts(bit(4096)[], bit(4096)[]) to insights_reader;

create or replace aggregate analytics._bit_counts(bit(4096)) (
  sfunc = analytics._add_bits,
  stype = bit(4096)[],
  initcond = '{}',
  combinefunc = analytics._add_bit_counts,
  parallel = safe
);

comment on aggregate analytics._bit_counts(bit(4096)) is $$
Returns for all people of a block how many of the bit strings contain each.
Position k of the result has bit k - 1 of the numbers.
$$;

grant execute on function analytics._bit_counts(bit(4096)) to insights_reader;
--! EndIncluded analytics/cohorts/_bit_counts.sql

--! Included analytics/cohorts/_bits_from.sql
create or replace function analytics._bits_from(counts bit(4096)[], low int)
returns bit(4096)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_greater bit(4096) := b'0'::bit(4096);
  v_equal bit(4096) := ~b'0'::bit(4096);
begin
  if low <= 0 then
    return v_equal;
  elsif low >= 2::float8 ^ coalesce(cardinality(counts), 0) then
    return v_greater;
  end if;
  for v_place in reverse cardinality(counts)..1 loop
    if low & (1 << (v_place - 1)) <> 0 then
      v_equal := v_equal & counts[v_place];
    else
      v_greater := v_greater | (v_equal & counts[v_place]);
      v_equal := v_equal & ~counts[v_place];
    end if;
  end loop;
  return v_greater | v_equal;
end;
$$;

comment on function analytics._bits_from(bit(4096)[], int) is $$
Returns the people whose number in `counts` (`analytics._bit_counts`) is at least `low`.
$$;

grant execute on function analytics._bits_from(bit(4096)[], int) to insights_reader;
--! EndIncluded analytics/cohorts/_bits_from.sql

--! Included analytics/cohorts/_bit_number.sql
create or replace function analytics._bit_number(counts bit(4096)[], place int)
returns int
language sql
immutable
parallel safe
return coalesce(get_bit(counts[1], place), 0)
    + coalesce(get_bit(counts[2], place), 0) * 2
    + coalesce(get_bit(counts[3], place), 0) * 4
    + coalesce(get_bit(counts[4], place), 0) * 8
    + coalesce(get_bit(counts[5], place), 0) * 16
    + coalesce(get_bit(counts[6], place), 0) * 32
    + coalesce(get_bit(counts[7], place), 0) * 64
    + coalesce(get_bit(counts[8], place), 0) * 128
    + coalesce(get_bit(counts[9], place), 0) * 256
    + coalesce(get_bit(counts[10], place), 0) * 512
    + coalesce(get_bit(counts[11], place), 0) * 1024;

comment on function analytics._bit_number(bit(4096)[], int) is $$
Returns the number of one person, below 2,048, from those of all people of a block (`analytics._bit_counts`).
`place`: `person_id % 4096`. An expression without a loop, which is inlined.
$$;

grant execute on function analytics._bit_number(bit(4096)[], int) to insights_reader;
--! EndIncluded analytics/cohorts/_bit_number.sql

--! Included analytics/cohorts/_days_of.sql
create or replace function analytics._days_of(period text)
returns int
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select substring(period from '^[0-9]+')::int * case when period like '%week%' then 7 else 1 end;
$$;

comment on function analytics._days_of(text) is $$
Returns the number of days of a period such as `28 days` or `4 weeks`.
$$;

grant execute on function analytics._days_of(text) to insights_reader;
--! EndIncluded analytics/cohorts/_days_of.sql

--! Included analytics/cohorts/_rule_window.sql
create or replace function analytics._rule_window(
  rule jsonb, as_of date, ignored_from timestamptz, out since timestamptz, out until timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
begin
  since := greatest(
    case when rule ? 'within' then (as_of - analytics._days_of(rule ->> 'within') + 1)::timestamptz end,
    (rule ->> 'since')::timestamptz,
    '-infinity'
  );
  until := least(
    case when rule ? 'older_than' then (as_of - analytics._days_of(rule ->> 'older_than') + 1)::timestamptz end,
    (rule ->> 'until')::timestamptz,
    ignored_from,
    'infinity'
  );
end;
$$;

comment on function analytics._rule_window(jsonb, date, timestamptz) is $$
Returns the period of a condition on events, as of a day (UTC). `until` is exclusive.
`within` are the last days up to `as_of` and all later events; `older_than` leaves out the last days.
$$;

grant execute on function analytics._rule_window(jsonb, date, timestamptz) to insights_reader;
--! EndIncluded analytics/cohorts/_rule_window.sql

--! Included analytics/cohorts/_rule_events.sql
/* The plans are the same for all periods, so that they are made once in a session. */
create or replace function analytics._people_on_days(
  given analytics.people_block[], without bigint[], event_type_id int, low int, high int, first_day date, end_day date
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_present analytics.people_block[];
begin
  -- Two statements, because an aggregate is computed even where its result is not used.
  if coalesce(high, 1) = 0 or low = 1 and high is null then
    v_present := array(
      select row(presence.block, bit_or(presence.people))::analytics.people_block
      from track.presence
      where presence.event_type_id = _people_on_days.event_type_id
        and presence.day >= _people_on_days.first_day
        and presence.day < _people_on_days.end_day
        and presence.block = any (array(select part.block from unnest(given) as part))
      group by presence.block
    );
  elsif low > 0 or high is not null then
    v_present := array(
      select
        row(
          counted.block,
          case
            when low <= 0 then analytics._bits_from(counted.counts, high + 1)
            when high is null then analytics._bits_from(counted.counts, low)
            else analytics._bits_from(counted.counts, low) & ~analytics._bits_from(counted.counts, high + 1)
          end
        )::analytics.people_block
      from (
        select presence.block, analytics._bit_counts(presence.people) as counts
        from track.presence
        where presence.event_type_id = _people_on_days.event_type_id
          and presence.day >= _people_on_days.first_day
          and presence.day < _people_on_days.end_day
          and presence.block = any (array(select part.block from unnest(given) as part))
        group by presence.block
      ) as counted
    );
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      part.block,
      part.people
        & ~coalesce(without.people, v_no_people)
        -- With a minimum of 0, those who have more than the maximum are left out.
        & case
          when low <= 0 then ~coalesce(present.people, v_no_people)
          else coalesce(present.people, v_no_people)
        end as members
    from unnest(given) as part
    left join unnest(v_present) as present on present.block = part.block
    left join (
      select (entry.person_id / 4096)::int as block, bit_or(track.person_bit(entry.person_id)) as people
      from unnest(_people_on_days.without) as entry (person_id)
      group by 1
    ) as without on without.block = part.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date) is $$
Returns those of the given people who have events on a number of days in a period.
On `low` to `high` days (UTC; `high` null: no limit) from `first_day` until `end_day`, as of the last refresh of the
sessions. People in `without` are left out.
$$;

grant execute on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date)
to insights_reader;

create or replace function analytics._people_with_events(
  given analytics.people_block[],
  people bigint[],
  event_type_id int,
  items bigint[],
  property jsonb,
  by_day boolean,
  low int,
  high int,
  since timestamptz,
  until timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the number of people, the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := _people_with_events.since::date;
  v_end_day constant date := _people_with_events.until::date;
  -- Of whole days, without a filter of events: from the bits of days.
  v_by_bits constant boolean := _people_with_events.items is null
    and _people_with_events.property is null
    and v_first_day::timestamptz = _people_with_events.since
    and v_end_day::timestamptz = _people_with_events.until
    and (by_day or low <= 1 and high is null or coalesce(high, 1) = 0);
  v_stale bigint[] := '{}';
  v_listed bigint[];
  v_from_events bigint[];
begin
  if exists (select from track.stale) then
    v_stale := array(
      select distinct stale.person_id
      from track.stale
      where stale.person_id = any (_people_with_events.people)
    );
  end if;
  if v_by_bits then
    return query
    select *
    from analytics._people_on_days(
      given, v_stale, _people_with_events.event_type_id, low, high, v_first_day, v_end_day
    );
    if v_stale = '{}' then
      return;
    end if;
  end if;

  v_listed := array(
    select entry.person_id
    from unnest(case when v_by_bits then v_stale else _people_with_events.people end) as entry (person_id)
    join unnest(given) as part
      on part.block = entry.person_id / 4096
      and get_bit(part.people, (entry.person_id % 4096)::int) <> 0
  );
  -- The journeys of people whose events have changed are out of date, and journeys have no properties.
  v_from_events := case
    when _people_with_events.property is null then v_stale
    when _people_with_events.event_type_id = 0 then v_listed
    else v_stale || array(
      select step.person_id
      from track.step
      where step.person_id = any (v_listed)
        and step.event_type_id = _people_with_events.event_type_id
    )
  end;

  return query
  with happened as (
    select step.person_id, entry.occurred_at
    from track.step
    cross join lateral unnest(
      step.occurred_at[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ],
      step.item_ids[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ]
    ) as entry (occurred_at, item_id)
    where not v_by_bits
      and _people_with_events.property is null
      and step.person_id = any (v_listed)
      and step.person_id <> all (v_stale)
      and case
        when _people_with_events.event_type_id <> 0 then step.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not step.is_automatic
      end
      and step.since > v_first_day - 366
      and step.since <= v_end_day
      and (_people_with_events.items is null or entry.item_id = any (_people_with_events.items))

    union all

    select event.person_id, event.occurred_at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id = any (v_from_events)
      and event.occurred_at >= _people_with_events.since
      and event.occurred_at < _people_with_events.until
      and case
        when _people_with_events.event_type_id <> 0 then event.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_people_with_events.items is null or event.item_id = any (_people_with_events.items))
      and (
        _people_with_events.property is null
        or event.properties -> (_people_with_events.property ->> 'name') = _people_with_events.property -> 'is'
      )
  ),

  counted as (
    select
      happened.person_id,
      case when by_day then count(distinct happened.occurred_at::date) else count(*) end as times
    from happened
    group by happened.person_id
  )

  select (listed.person_id / 4096)::int, bit_or(track.person_bit(listed.person_id))::bit(4096)
  from (select distinct entry.person_id from unnest(v_listed) as entry (person_id)) as listed
  left join counted on counted.person_id = listed.person_id
  where coalesce(counted.times, 0) >= low
    and (high is null or coalesce(counted.times, 0) <= high)
  group by 1;
end;
$$;

comment on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) is $$
Returns those of the given people who have a number of events in a period.
`low` to `high` times (`high` null: no limit) from `since` until `until`. `given`: their bits; `people`: a
list that contains them. `by_day`: the number of days (UTC) with such events.
`items`: events of these items, automatic ones too; `property`: events with the property `name` of the value `is`.
Exact as of now: the events of people who are queued for a refresh of their journeys are read from `track.event`.
A block may be returned twice, with different people.
$$;

grant execute on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) to insights_reader;

create or replace function analytics._rule_events(
  rule jsonb, given analytics.people_block[], people bigint[], as_of date, ignored_from timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := coalesce(
    (
      select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
      from track.event_type
      where event_type.name = rule ->> 'event'
    ),
    case when jsonb_typeof(rule -> 'event') = 'null' then 0 else -1 end
  );
  v_items constant bigint[] := case
    when rule ? 'item' then array(
      select ancestor.item_id
      from track.item as known
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      where known.external_id = rule ->> 'item'
    )
  end;
  v_by_day constant boolean := coalesce(rule ->> 'counted' = 'days', false);
  v_low constant int := coalesce(
    (rule ->> 'exactly')::int, (rule ->> 'at_least')::int, case when rule ? 'at_most' then 0 else 1 end
  );
  v_high constant int := coalesce((rule ->> 'exactly')::int, (rule ->> 'at_most')::int);
  v_window record;
begin
  v_window := analytics._rule_window(_rule_events.rule, _rule_events.as_of, _rule_events.ignored_from);
  if not coalesce((rule ->> 'first')::boolean, false) then
    return query
    select *
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', v_by_day, v_low, v_high,
      v_window.since, v_window.until
    );
    return;
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      recent.block, bit_or(recent.people) & ~coalesce((array_agg(former.people))[1], v_no_people) as members
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
      v_window.since, v_window.until
    ) as recent
    left join (
      select earlier.block, bit_or(earlier.people) as people
      from analytics._people_with_events(
        given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
        '-infinity', v_window.since
      ) as earlier
      group by earlier.block
    ) as former on former.block = recent.block
    group by recent.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz) is $$
Returns those of the given people for whom a condition on events is true. See `analytics.define_cohort`.
$$;

grant execute on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz)
to insights_reader;
--! EndIncluded analytics/cohorts/_rule_events.sql

--! Included analytics/cohorts/_rule_people.sql
/* One statement per condition. Sets of people are bit strings, so that all, any and not are &, | and ~. */
create or replace function analytics._rule_traits(rule jsonb, people bigint[])
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with stated as materialized (
    select current_value.person_id, current_value.value
    from track.current_trait(_rule_traits.people, rule ->> 'trait') as current_value
  )

  select (entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id))::bit(4096)
  from unnest(_rule_traits.people) as entry (person_id)
  left join stated on stated.person_id = entry.person_id and jsonb_typeof(stated.value) <> 'null'
  where case
      when rule ? 'is' then coalesce(stated.value = rule -> 'is', false)
      when rule ? 'is_not' then coalesce(stated.value <> rule -> 'is_not', true)
      when rule ? 'in' then coalesce(rule -> 'in' @> jsonb_build_array(stated.value), false)
        and jsonb_typeof(stated.value) not in ('array', 'object')
      when rule ? 'contains' and jsonb_typeof(stated.value) = 'array' then stated.value ? (rule ->> 'contains')
      when rule ? 'contains' then coalesce(
        jsonb_typeof(stated.value) = 'string'
          and strpos(lower(stated.value #>> '{}'), lower(rule ->> 'contains')) > 0,
        false
      )
      when rule ? 'is_set' then (stated.value is not null) = (rule ->> 'is_set')::boolean
      else coalesce(
        jsonb_typeof(stated.value) = 'number'
          and (not rule ? 'greater' or stated.value > rule -> 'greater')
          and (not rule ? 'less' or stated.value < rule -> 'less'),
        false
      )
    end
  group by 1;
end;
$$;

comment on function analytics._rule_traits(jsonb, bigint[]) is $$
Returns those of the given people for whom a condition on a trait is true. See `analytics.define_cohort`.
Of several identities of a person, the latest value counts.
$$;

grant execute on function analytics._rule_traits(jsonb, bigint[]) to insights_reader;

create or replace function analytics._rule_enrolments(rule jsonb, people bigint[])
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  select (enrolment.person_id / 4096)::int, bit_or(track.person_bit(enrolment.person_id))::bit(4096)
  from track.enrolment
  where enrolment.person_id = any (_rule_enrolments.people)
    and enrolment.item_id = (
      select coalesce(known.merged_item_id, known.item_id)
      from track.item as known
      where known.external_id = rule ->> 'enrolment'
    )
    and (not rule ? 'status' or enrolment.status = rule ->> 'status')
  group by 1;
end;
$$;

comment on function analytics._rule_enrolments(jsonb, bigint[]) is $$
Returns those of the given people for whom a condition on an enrolment is true. See `analytics.define_cohort`.
$$;

grant execute on function analytics._rule_enrolments(jsonb, bigint[]) to insights_reader;

create or replace function analytics._rule_people(
  rule jsonb,
  given analytics.people_block[],
  people bigint[],
  as_of date,
  ignored_from timestamptz default 'infinity'
)
returns analytics.people_block[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_left analytics.people_block[] := given;
  v_found analytics.people_block[] := '{}';
  v_people bigint[];
  v_rule jsonb;
begin
  if cardinality(given) = 0 then
    return given;
  end if;

  if rule ? 'all' then
    for v_rule in select entry.value from jsonb_array_elements(rule -> 'all') as entry loop
      v_left := analytics._rule_people(v_rule, v_left, _rule_people.people, as_of, ignored_from);
    end loop;
    return v_left;
  end if;

  if rule ? 'any' or rule ? 'not' then
    for v_rule in
      select entry.value
      from jsonb_array_elements(coalesce(rule -> 'any', jsonb_build_array(rule -> 'not'))) as entry
    loop
      v_found := v_found || analytics._rule_people(v_rule, v_left, _rule_people.people, as_of, ignored_from);
      v_left := array(
        select row(entry.block, entry.people)::analytics.people_block
        from (
          select part.block, part.people & ~coalesce(bit_or(found.people), v_no_people) as people
          from unnest(given) as part
          left join unnest(v_found) as found on found.block = part.block
          group by part.block, part.people
        ) as entry
        where bit_count(entry.people) > 0
      );
    end loop;
    if rule ? 'not' then
      return v_left;
    end if;
  elsif rule ? 'event' then
    v_found := array(
      select row(found.block, found.people)::analytics.people_block
      from analytics._rule_events(rule, given, _rule_people.people, as_of, ignored_from) as found
    );
  else
    v_people := array(
      select entry.person_id
      from unnest(_rule_people.people) as entry (person_id)
      join unnest(given) as part
        on part.block = entry.person_id / 4096
        and get_bit(part.people, (entry.person_id % 4096)::int) <> 0
    );
    if rule ? 'trait' then
      v_found := array(
        select row(found.block, found.people)::analytics.people_block
        from analytics._rule_traits(rule, v_people) as found
      );
    elsif rule ? 'enrolment' then
      v_found := array(
        select row(found.block, found.people)::analytics.people_block
        from analytics._rule_enrolments(rule, v_people) as found
      );
    else
      v_found := array(
        select row((member.person_id / 4096)::int, bit_or(track.person_bit(member.person_id)))::analytics.people_block
        from track.members_among(
          case when rule ? 'set' then rule ->> 'set' else analytics._prediction_set(rule) end, v_people
        ) as member (person_id)
        group by member.person_id / 4096
      );
    end if;
  end if;

  return array(
    select row(found.block, bit_or(found.people))::analytics.people_block
    from unnest(v_found) as found
    group by found.block
    order by found.block
  );
end;
$$;

comment on function analytics._rule_people(jsonb, analytics.people_block[], bigint[], date, timestamptz) is $$
Returns those of the given people for whom a rule is true, as of a day: see `analytics.define_cohort`.
`given`: their bits; `people`: a list that contains them. `ignored_from`: events from this time on are ignored. The rule
is one that `analytics._check_rule` accepted; a set that it names and that no longer exists has no people.
$$;

grant execute on function analytics._rule_people(jsonb, analytics.people_block[], bigint[], date, timestamptz)
to insights_reader;
--! EndIncluded analytics/cohorts/_rule_people.sql

--! Included analytics/cohorts/_prediction_set.sql
create or replace function analytics._prediction_set(rule jsonb)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format('prediction.%s_%s', rule ->> 'prediction', left(md5(rule::text), 12));
$$;

comment on function analytics._prediction_set(jsonb) is $$
Returns the name of the set that contains the people for whom a condition on a prediction is true.
The set is a list, which `analytics.refresh_cohorts` replaces once a day.
$$;

grant execute on function analytics._prediction_set(jsonb) to insights_reader;
--! EndIncluded analytics/cohorts/_prediction_set.sql

--! Included analytics/cohorts/cohort_members.sql
create or replace function analytics.cohort_members(set_name text, people bigint[])
returns setof bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule jsonb;
  v_as_of date;
  v_given analytics.people_block[];
begin
  select cohort.rule, cohort.as_of into v_rule, v_as_of
  from analytics.cohort
  where cohort.name = cohort_members.set_name;
  if not found then
    return;
  end if;
  v_given := array(
    select row((entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id)))::analytics.people_block
    from unnest(cohort_members.people) as entry (person_id)
    where entry.person_id > 0
    group by entry.person_id / 4096
  );

  return query
  select distinct entry.person_id
  from unnest(cohort_members.people) as entry (person_id)
  join unnest(analytics._rule_people(v_rule, v_given, cohort_members.people, v_as_of)) as found
    on found.block = entry.person_id / 4096
    and get_bit(found.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function analytics.cohort_members(text, bigint[]) is $$
@behavior -*
Returns which of the given people belong to a live cohort or segment, as of now and the day `analytics.cohort.as_of`.
The members of the sets of live cohorts; see `track.person_set`.
$$;

grant execute on function analytics.cohort_members(text, bigint[]) to insights_reader;
--! EndIncluded analytics/cohorts/cohort_members.sql

--! Included analytics/cohorts/_check_rule.sql
create or replace function analytics._is_time(value text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
begin
  return isfinite(value::timestamptz);
exception
  when data_exception then
    return false;
end;
$$;

comment on function analytics._is_time(text) is $$Returns whether a text is a time that exists.$$;

/* Checks the value of one key of a condition. */
create or replace function analytics._check_rule_value(kind text, name text, value jsonb, path text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_type constant text := jsonb_typeof(value);
  v_text constant text := case when v_type = 'string' then value #>> '{}' end;
  v_expected text;
begin
  v_expected := case
    when name in ('is', 'is_not') then
      case when v_type not in ('string', 'number', 'boolean') then 'a string, a number, true or false' end
    when name = 'in' then
      case
        when v_type <> 'array' then 'a list of strings, numbers, true or false'
        when jsonb_array_length(value) not between 1 and 1000 then 'a list of 1 to 1000 values'
        when exists (
          select
          from jsonb_array_elements(value) as entry
          where jsonb_typeof(entry) not in ('string', 'number', 'boolean')
        ) then 'a list of strings, numbers, true or false'
      end
    when name in ('greater', 'less', 'above', 'below') then case when v_type <> 'number' then 'a number' end
    when name in ('is_set', 'first') then case when v_type <> 'boolean' then 'true or false' end
    when name = 'counted' then case when coalesce(v_text, '') not in ('times', 'days') then '"times" or "days"' end
    when name = 'status' then
      case
        when coalesce(v_text, '') not in ('active', 'completed', 'dropped') then '"active", "completed" or "dropped"'
      end
    when name in ('at_least', 'at_most', 'exactly') then
      case
        when v_type <> 'number' or value::text !~ '^[0-9]{1,7}$' then 'a whole number from 0 to 9999999'
        when name = 'at_least' and value::text = '0' then 'a whole number from 1, because 0 is true of all people'
      end
    when name in ('within', 'older_than') then
      case
        when coalesce(v_text, '') !~ '^[1-9][0-9]{0,3} (days?|weeks?)$' then 'a number of days or weeks: "28 days"'
      end
    when name in ('since', 'until') then
      case
        when coalesce(v_text, '') !~ '^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?$'
          or not analytics._is_time(v_text)
          then 'a time with its zone, or a day (UTC): "2026-02-28T09:30:00Z", "2026-02-28"'
      end
    when name = 'property' then
      case
        when v_type <> 'object'
          or array(select key from jsonb_object_keys(value) as key order by key) <> '{is,name}'
          or jsonb_typeof(value -> 'name') <> 'string'
          or length(value ->> 'name') not between 1 and 200
          or jsonb_typeof(value -> 'is') not in ('string', 'number', 'boolean')
          then '{"name": a string, "is": a string, a number, true or false}'
      end
    when name = 'event' then
      case when v_type not in ('string', 'null') then 'the name of an event, or null for any that is not automatic' end
    when v_type <> 'string' or length(v_text) not between 1 and 512 then 'a string of 1 to 512 characters'
  end;
  if v_expected is not null then
    perform common.refuse(
      'CF001', format('%s.%s is %s', path, name, left(value::text, 100)), format('Give %s.', v_expected)
    );
  end if;

  -- Names must exist. Each of these functions names the nearest one in its error.
  case
    when name = 'event' then perform analytics._event_type_id(v_text);
    when name in ('item', 'enrolment') or kind = 'prediction' and name = 'course' then
      perform analytics._item_id(v_text);
    when name = 'prediction' then perform analytics._prediction_target(v_text);
    when name = 'set' then perform track.person_set_size(v_text);
    when name = 'trait' and length(v_text) > 100 then
      perform common.refuse(
        'CF008', format('the name of a trait has %s characters', length(v_text)), 'It has 100 at most.'
      );
    else null;
  end case;
end;
$$;

comment on function analytics._check_rule_value(text, text, jsonb, text) is $$
Raises an error for an invalid value of a key of a condition, or a name that does not exist (names the nearest).
$$;

create or replace function analytics._check_rule(rule jsonb, path text default 'rule', depth int default 1)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := '{all,any,not,trait,event,enrolment,prediction,set}';
  v_kind text;
  v_known text[];
  v_unknown text;
  v_entry record;
begin
  if depth > 10 then
    perform common.refuse('CF008', format('%s has more than 10 levels', left(path, 100)), 'Use fewer levels.');
  end if;
  if rule is null or jsonb_typeof(rule) <> 'object' then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(path, 100), coalesce(left(rule::text, 100), 'null')),
      'Give a JSON object with one of the keys all, any, not, trait, event, enrolment, prediction and set.'
    );
  end if;

  select min(entry.key) into v_kind from jsonb_object_keys(rule) as entry (key) where entry.key = any (v_kinds);
  if v_kind is null or (select count(*) from jsonb_object_keys(rule) as key where key = any (v_kinds)) > 1 then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(path, 100), left(rule::text, 100)),
      coalesce(
        'Did you mean "' || (
          select min(common.nearest_name(entry.key, v_kinds))
          from (select key from jsonb_object_keys(rule) as key order by key limit 20) as entry
          where v_kind is null
        ) || '"? ',
        ''
      ) || 'A condition has exactly one of the keys all, any, not, trait, event, enrolment, prediction and set.'
    );
  end if;

  v_known := v_kind || case v_kind
    when 'trait' then '{is,is_not,in,contains,greater,less,is_set}'::text[]
    when 'event' then
      '{item,property,counted,at_least,at_most,exactly,within,older_than,since,until,first}'::text[]
    when 'enrolment' then '{status}'::text[]
    when 'prediction' then '{course,above,below}'::text[]
    else '{}'
  end;
  select entry.key into v_unknown
  from jsonb_object_keys(rule) as entry (key)
  where entry.key <> all (v_known)
  order by entry.key
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('%s has the unknown key "%s"', left(path, 100), left(v_unknown, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_unknown, v_known) || '"?',
        format(
          'Beside "%s" it can have %s.', v_kind, coalesce(nullif(array_to_string(v_known[2:], ', '), ''), 'no key')
        )
      )
    );
  end if;

  if v_kind in ('all', 'any') then
    if jsonb_typeof(rule -> v_kind) <> 'array' or jsonb_array_length(rule -> v_kind) = 0 then
      perform common.refuse(
        'CF001', format('%s.%s is %s', left(path, 100), v_kind, left((rule -> v_kind)::text, 100)),
        'Give a list of one or more conditions.'
      );
    end if;
    for v_entry in select * from jsonb_array_elements(rule -> v_kind) with ordinality as entry (value, position) loop
      perform analytics._check_rule(
        v_entry.value, format('%s.%s[%s]', path, v_kind, v_entry.position - 1), depth + 1
      );
    end loop;
    return;
  elsif v_kind = 'not' then
    perform analytics._check_rule(rule -> 'not', path || '.not', depth + 1);
    return;
  end if;

  for v_entry in select * from jsonb_each(rule) as entry (key, value) order by entry.key loop
    perform analytics._check_rule_value(v_kind, v_entry.key, v_entry.value, left(path, 100));
  end loop;
  perform analytics._check_rule_keys(v_kind, rule, left(path, 100));
end;
$$;

comment on function analytics._check_rule(jsonb, text, int) is $$
Raises an error for a rule that is invalid: see `analytics.define_cohort`. `path`: its place in the whole rule.
$$;

/* Checks which keys of a condition go together. */
create or replace function analytics._check_rule_keys(kind text, rule jsonb, path text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_keys constant text[] := array(select key from jsonb_object_keys(rule) as key);
  v_tests constant text[] := array(
    select key from unnest(v_keys) as key where key = any ('{is,is_not,in,contains,greater,less,is_set}')
  );
  v_window record;
  v_problem text;
begin
  if kind = 'trait' then
    v_problem := case
      when cardinality(v_tests) = 0 or cardinality(v_tests) > 1 and not v_tests <@ '{greater,less}'
        then 'Give one of is, is_not, in, contains, greater, less and is_set, or greater and less.'
    end;
  elsif kind = 'prediction' then
    v_problem := case when not v_keys && '{above,below}' then 'Give above, below or both.' end;
  elsif kind = 'event' then
    v_window := analytics._rule_window(rule, '2020-01-01', 'infinity');
    v_problem := case
      when v_keys && '{exactly}' and v_keys && '{at_least,at_most}'
        then 'Give exactly, or at_least and at_most.'
      when (rule ->> 'at_least')::int > (rule ->> 'at_most')::int then 'Give an at_most that is not below at_least.'
      when v_keys && '{within,older_than}' and v_keys && '{since,until}'
        then 'Give days (within, older_than) or times (since, until), not both.'
      when v_window.since >= v_window.until then 'Give a period that ends after it begins.'
      when coalesce((rule ->> 'first')::boolean, false) and v_keys && '{at_least,at_most,exactly,counted}'
        then 'The first event has no number: leave out at_least, at_most, exactly and counted.'
      when coalesce((rule ->> 'first')::boolean, false) and not v_keys && '{within,older_than,since,until}'
        then 'Give the period of the first event: within, older_than, since or until.'
    end;
  end if;
  if v_problem is not null then
    perform common.refuse('CF001', format('%s is %s', path, left(rule::text, 100)), v_problem);
  end if;
end;
$$;

comment on function analytics._check_rule_keys(text, jsonb, text) is $$
Raises CF001 for keys of a condition that exclude each other, or that are missing.
$$;
--! EndIncluded analytics/cohorts/_check_rule.sql

--! Included analytics/cohorts/_rule_sets.sql
create or replace function analytics._rule_sets(rule jsonb)
returns setof text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select found.value #>> '{}'
  from jsonb_path_query(rule, 'strict $.** ? (exists (@.set)).set') as found (value);
$$;

comment on function analytics._rule_sets(jsonb) is $$Returns the sets of people that a rule names, with repetitions.$$;
--! EndIncluded analytics/cohorts/_rule_sets.sql

--! Included analytics/cohorts/_check_circle.sql
create or replace function analytics._check_circle(name text, rule jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_circle text;
begin
  -- From each set that the rule names to those that it names itself, each set once.
  with recursive named as (
    select distinct entry.set_name, array[_check_circle.name, entry.set_name] as path
    from analytics._rule_sets(_check_circle.rule) as entry (set_name)
    union all
    select entry.set_name, named.path || entry.set_name
    from named
    join analytics.cohort on cohort.name = named.set_name
    cross join lateral analytics._rule_sets(cohort.rule) as entry (set_name)
    where named.set_name <> _check_circle.name
      and cardinality(named.path) <= 10
  )
  select array_to_string(named.path, ' → ') into v_circle
  from named
  where named.set_name = _check_circle.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('"%s" names itself: %s', _check_circle.name, left(v_circle, 300)),
      'A cohort can be defined by others, but not by itself.'
    );
  end if;
end;
$$;

comment on function analytics._check_circle(text, jsonb) is $$
Raises CF001 for a rule that names its own cohort, also through others.
$$;
--! EndIncluded analytics/cohorts/_check_circle.sql

--! Included analytics/cohorts/_check_size.sql
create or replace function analytics._check_size(name text, rule jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 200;
  v_largest record;
begin
  -- The conditions of each cohort with those of the sets that it names. The list ends with the first that is too long.
  for v_largest in
    with recursive rules as materialized (
      select cohort.name, cohort.rule
      from analytics.cohort
      where cohort.name <> _check_size.name
        and cohort.is_live
      union all
      select _check_size.name, _check_size.rule
    )
    select root.name, counted.conditions, counted.levels
    from rules as root
    cross join lateral (
      select count(*) as conditions, max(taken.level) as levels
      from (
        with recursive part (rule, level) as (
          select root.rule, 1
          union all
          select child.rule, child.level
          from part
          cross join lateral (
            select entry.value as rule, part.level
            from jsonb_array_elements(
              coalesce(part.rule -> 'all', part.rule -> 'any', jsonb_build_array(part.rule -> 'not'))
            ) as entry
            where part.rule ?| '{all,any,not}'
            union all
            select rules.rule, part.level + 1
            from rules
            where rules.name = part.rule ->> 'set'
          ) as child
          where part.level <= 10
        )
        select part.level from part limit v_most + 1
      ) as taken
    ) as counted
  loop
    if v_largest.conditions > v_most or v_largest.levels > 10 then
      perform common.refuse(
        'CF008',
        format('"%s" has more than %s conditions or 10 levels, with those of the cohorts that it names',
          v_largest.name, v_most),
        'Use fewer conditions, or a cohort that is not live (is_live false), whose people are fixed.'
      );
    end if;
  end loop;
end;
$$;

comment on function analytics._check_size(text, jsonb) is $$
Raises CF008 for a rule that makes its cohort, or one that names it, too large.
$$;
--! EndIncluded analytics/cohorts/_check_size.sql

--! Included analytics/cohorts/_rule_names.sql
create or replace function analytics._rule_names(rule jsonb)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select md5(coalesce(string_agg(named.meaning, ',' order by named.meaning), ''))
    from (
      select format('event %s', coalesce(event_type.merged_event_type_id, event_type.event_type_id)) as meaning
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.event)).event') as found (value)
      join track.event_type on event_type.name = found.value #>> '{}'

      union all

      select format('enrolment %s', coalesce(known.merged_item_id, known.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.enrolment)).enrolment') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'

      union all

      select format('item %s', string_agg(ancestor.item_id::text, ' ' order by ancestor.item_id))
      from jsonb_path_query(_rule_names.rule, 'strict $.** ? (exists (@.item)).item') as found (value)
      join track.item as known on known.external_id = found.value #>> '{}'
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      group by found.value
    ) as named
  );
end;
$$;

comment on function analytics._rule_names(jsonb) is $$
Returns a hash of what the names in a rule mean now: event types, items with what they contain.
$$;
--! EndIncluded analytics/cohorts/_rule_names.sql

--! Included analytics/cohorts/_list_predicted.sql
create or replace function analytics._list_predicted(rule jsonb, as_of date)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_condition jsonb;
begin
  for v_condition in
    select distinct found.value
    from jsonb_path_query(_list_predicted.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
  loop
    perform track.set_person_set(
      analytics._prediction_set(v_condition),
      array(
        select distinct scored.person_id
        from analytics._learner_scores(
          v_condition ->> 'prediction',
          _list_predicted.as_of::timestamptz,
          case when v_condition ? 'course' then analytics._item_id(v_condition ->> 'course') end
        ) as scored
        where (not v_condition ? 'above' or scored.score > (v_condition ->> 'above')::float8)
          and (not v_condition ? 'below' or scored.score < (v_condition ->> 'below')::float8)
      ),
      format('People for whom this is true, as of the beginning of a day: %s', left(v_condition::text, 500))
    );
  end loop;
end;
$$;

comment on function analytics._list_predicted(jsonb, date) is $$
Replaces the sets of people of the conditions of a rule on predictions, as of the beginning of a day (UTC).
Errors: CF006 for a prediction that is not trained.
$$;
--! EndIncluded analytics/cohorts/_list_predicted.sql

--! Included analytics/cohorts/_drop_unused_predictions.sql
create or replace function analytics._drop_unused_predictions()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.undefine_person_set(person_set.name)
  from track.person_set
  where starts_with(person_set.name, 'prediction.')
    and not exists (
      select
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
      where cohort.is_live
        and person_set.name = analytics._prediction_set(found.value)
    );
end;
$$;

comment on function analytics._drop_unused_predictions() is $$
Removes the sets of people of predictions that no live cohort names.
$$;
--! EndIncluded analytics/cohorts/_drop_unused_predictions.sql

--! Included analytics/cohorts/_evaluate_cohort.sql
create or replace function analytics._evaluate_cohort(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_last bigint := 0;
begin
  -- In parts, so that the memory that is used is bounded. The lock is that of the refresh.
  loop
    v_people := array(
      select person.person_id
      from track.person
      where person.person_id > v_last
      order by person.person_id
      limit 50000
    );
    exit when v_people = '{}';
    perform track.recompute_person_sets('analytics.cohort', v_people, _evaluate_cohort.name);
    v_last := v_people[cardinality(v_people)];
  end loop;
  update analytics.cohort set evaluated_at = clock_timestamp() where cohort.name = _evaluate_cohort.name;
end;
$$;

comment on function analytics._evaluate_cohort(text) is $$
Recomputes for all people whether they belong to a live cohort.
$$;
--! EndIncluded analytics/cohorts/_evaluate_cohort.sql

--! Included analytics/cohorts/_place_cohort.sql
create or replace function analytics._place_cohort(
  name text, rule jsonb, description text, is_live boolean, defined_by text
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_description constant text := coalesce(
    _place_cohort.description,
    (select person_set.description from track.person_set where person_set.name = _place_cohort.name),
    'A cohort.'
  );
  v_is_named constant boolean := exists (
    select from analytics.cohort where _place_cohort.name in (select analytics._rule_sets(cohort.rule))
  );
begin
  perform analytics._list_predicted(_place_cohort.rule, v_today);
  perform track.define_person_set(
    _place_cohort.name, v_description, 'analytics.cohort_members', 'analytics.cohort', queue_people => false
  );
  insert into analytics.cohort (name, rule, is_live, as_of, names, defined_by)
  values (
    _place_cohort.name, _place_cohort.rule, _place_cohort.is_live, v_today,
    analytics._rule_names(_place_cohort.rule), _place_cohort.defined_by
  )
  on conflict on constraint cohort_pkey do update
  set
    rule = excluded.rule, is_live = excluded.is_live, as_of = excluded.as_of, names = excluded.names,
    defined_by = excluded.defined_by, defined_at = clock_timestamp();
  perform analytics._evaluate_cohort(_place_cohort.name);

  if not _place_cohort.is_live then
    perform track.list_person_set(_place_cohort.name);
  end if;
  perform analytics._drop_unused_predictions();
  -- The refresh recomputes the cohorts that name this one. Until then, they are computed at each reading.
  if v_is_named then
    perform track.rebuild('analytics.cohort');
  end if;
  return track.person_set_size(_place_cohort.name);
end;
$$;

comment on function analytics._place_cohort(text, jsonb, text, boolean, text) is $$
Stores a cohort whose rule was checked, and computes its people. Returns their number.
$$;
--! EndIncluded analytics/cohorts/_place_cohort.sql

--! Included analytics/cohorts/define_cohort.sql
create or replace function analytics.define_cohort(
  name text, rule jsonb, description text default null, is_live boolean default true
)
returns bigint
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_name constant text := analytics._cohort_set(define_cohort.name);
  v_members text;
begin
  if starts_with(v_name, 'segment.') then
    perform common.refuse(
      'CF001', format('"%s" is a segment', v_name), 'Segments are defined by analytics.define_segments.'
    );
  end if;
  if define_cohort.is_live is null then
    perform common.refuse('CF001', 'is_live is null', 'Give true or false.');
  end if;
  if length(define_cohort.description) > 1000 then
    perform common.refuse(
      'CF008', format('the description has %s characters', length(define_cohort.description)), 'It has 1,000 at most.'
    );
  end if;
  if length(define_cohort.rule::text) > 20000 then
    perform common.refuse(
      'CF008', format('the rule has %s characters', length(define_cohort.rule::text)),
      'A rule has 20,000 characters at most.'
    );
  end if;

  -- One definition at a time, so that two cohorts cannot name each other.
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  select person_set.members into v_members from track.person_set where person_set.name = v_name;
  if v_members <> 'analytics.cohort_members' then
    perform common.refuse(
      'CF001', format('the members of "%s" are computed by %s', v_name, v_members), 'Use another name.'
    );
  end if;
  perform analytics._check_circle(v_name, define_cohort.rule);
  perform analytics._check_rule(define_cohort.rule);
  perform analytics._check_size(v_name, define_cohort.rule);
  return analytics._place_cohort(
    v_name, define_cohort.rule, define_cohort.description, define_cohort.is_live,
    common.author()
  );
end;
$$;

comment on function analytics.define_cohort(text, jsonb, text, boolean) is $$
Defines a cohort: people for whom a rule is true. Returns the number of people. A cohort of this name is replaced.
The cohort `beta` is the set of people `cohort.beta`, which all functions accept as a filter and as a breakdown. It is
complete when the function returns. `is_live` true: the refresh keeps it up to date; false: its people are fixed, and
follow merges of people only. `description` null: unchanged.
A rule is a JSON object, and one of:
`{"all": [rule, …]}`, `{"any": [rule, …]}`, `{"not": rule}`.
`{"trait": name, …}` with `is`, `is_not` (also people without the trait), `in` (a list), `contains` (a part of a string
in any case, or an element of a list), `greater` and `less` (numbers only), or `is_set`. Values are compared as JSON:
the string "5" is not the number 5.
`{"event": name, …}`: people who have done it; null: any event that is not automatic. With `item`: events of the item
and of what it contains, automatic ones too. With `property` `{"name": …, "is": …}`: events with this value. With
`at_least` (1), `at_most` or `exactly`: the number of times, or of days (UTC) with `counted` `days`. With `within`
`28 days`: today and the 27 days before it (UTC); with `older_than` `7 days`: without today and the 6 days before it.
With `since` and `until` (exclusive): between two times. With `first` true: the first such event ever is in the period.
`{"enrolment": course, …}`, with `status` `active`, `completed` or `dropped`.
`{"prediction": target, …}` of `analytics.prediction_target`, with `above`, `below`, `course`: as of the last midnight.
`{"set": name}`: people of another set (`track.person_set`), such as `segment.power`.
A rule has at most 20,000 characters and 10 levels, and with the rules of cohorts that it names 200 conditions. The
cost of a refresh is that of the people whose data changed; days that pass change `within` and `older_than` when
`analytics.refresh_cohorts` runs.
Errors: CF001 for an invalid rule, and one that names its own cohort, CF002 for an unknown event, item, set or target
(names the nearest), CF006 for a prediction that is not trained, CF008 for a rule that is too large.
$$;

grant execute on function analytics.define_cohort(text, jsonb, text, boolean) to insights_admin;
--! EndIncluded analytics/cohorts/define_cohort.sql

--! Included analytics/cohorts/drop_cohort.sql
create or replace function analytics.drop_cohort(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := analytics._cohort_set(drop_cohort.name);
  v_user text;
begin
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  perform track.person_set_size(v_name);
  if starts_with(v_name, 'segment.') then
    perform common.refuse(
      'CF001', format('"%s" is a segment', left(v_name, 100)), 'Segments are defined by analytics.define_segments.'
    );
  end if;
  select cohort.name into v_user
  from analytics.cohort
  where cohort.is_live
    and cohort.name <> v_name
    and v_name in (select analytics._rule_sets(cohort.rule))
  order by cohort.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('"%s" is named by the rule of "%s"', v_name, v_user), 'Drop or replace that cohort first.'
    );
  end if;
  perform track.undefine_person_set(v_name);
  perform analytics._drop_unused_predictions();
end;
$$;

comment on function analytics.drop_cohort(text) is $$
Drops a cohort with its set of people.
Errors: CF002 for an unknown cohort (names the nearest), CF001 for a segment and for a cohort that another one names.
$$;

grant execute on function analytics.drop_cohort(text) to insights_admin;
--! EndIncluded analytics/cohorts/drop_cohort.sql

--! Included analytics/cohorts/refresh_cohort_people.sql
create or replace function analytics.refresh_cohort_people(
  people bigint[], since timestamptz[], until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.recompute_person_sets(
    'analytics.cohort', array(select distinct entry.person_id from unnest(people) as entry (person_id))
  );
end;
$$;

comment on function analytics.refresh_cohort_people(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes which of the given people belong to the live cohorts and segments. Called by `track.refresh`.
$$;
--! EndIncluded analytics/cohorts/refresh_cohort_people.sql

--! Included analytics/cohorts/refresh_cohorts.sql
create or replace function analytics.refresh_cohorts()
returns int
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_cohort analytics.cohort;
  v_people bigint[];
begin
  -- One definition at a time, as in analytics.define_cohort.
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));

  -- A name that means something else now, or an item that contains other items: all people are computed.
  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.names <> analytics._rule_names(cohort.rule)
    order by cohort.name
  loop
    update analytics.cohort
    set names = analytics._rule_names(v_cohort.rule)
    where cohort.name = v_cohort.name;
    perform analytics._evaluate_cohort(v_cohort.name);
  end loop;

  for v_cohort in
    select cohort.*
    from analytics.cohort
    where cohort.is_live
      and cohort.as_of < v_today
      and jsonb_path_exists(cohort.rule, 'strict $.** ? (exists (@.prediction))')
    order by cohort.name
  loop
    begin
      perform analytics._list_predicted(v_cohort.rule, v_today);
    exception
      -- Not trained any more: the people stay as they are.
      when sqlstate 'CF006' then
        raise warning 'the predictions of % are not refreshed: %', v_cohort.name, left(sqlerrm, 100);
    end;
  end loop;

  -- The people with activity on the days that entered or left a period since the last call.
  v_people := array(
    with edge as (
      select distinct
        case
          when found.value -> 'event' <> 'null' then (
            select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
            from track.event_type
            where event_type.name = found.value ->> 'event'
          )
          -- Of an item, automatic events count too.
          when not found.value ? 'item' then 0
        end as event_type_id,
        cohort.as_of - period.days as after_day,
        v_today - period.days as last_day
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.event))') as found (value)
      cross join lateral (
        values
          (analytics._days_of(found.value ->> 'within')),
          (analytics._days_of(found.value ->> 'older_than'))
      ) as period (days)
      where cohort.is_live
        and cohort.as_of < v_today
        and period.days is not null
    ),

    moved as (
      select presence.block, bit_or(presence.people) as people
      from edge
      join track.presence
        on presence.event_type_id = coalesce(edge.event_type_id, presence.event_type_id)
        and presence.day > edge.after_day
        and presence.day <= edge.last_day
      group by presence.block
    )

    select moved.block::bigint * 4096 + place
    from moved
    cross join generate_series(0, 4095) as place
    where get_bit(moved.people, place) = 1
  );
  update analytics.cohort set as_of = v_today where cohort.is_live and cohort.as_of < v_today;
  perform track.queue_people('analytics.cohort', v_people);
  return cardinality(v_people);
end;
$$;

comment on function analytics.refresh_cohorts() is $$
Moves the days of live cohorts and segments on to the current day (UTC). Returns the number of people who are queued.
Queued are people with events on the days that entered or left the period of a condition (`within`, `older_than`); the
next `track.refresh` recomputes them, and readers do until then. Predictions are listed again as of the new day. A
cohort whose names have come to mean other events or items (`track.merge_events`, `track.merge_items`, items that were
moved) is computed for all people. Called by the worker every hour; a call on the same day does nothing else.
$$;

grant execute on function analytics.refresh_cohorts() to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/refresh_cohorts.sql

--! Included analytics/cohorts/_segment_rules.sql
create or replace function analytics._segment_rules(segment_setting analytics.segment_setting)
returns table (name text, description text, rule jsonb)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_window constant text := (segment_setting).window_days || ' days';
  v_active constant jsonb := jsonb_build_object('event', null, 'within', v_window);
  v_earlier constant jsonb := jsonb_build_object('event', null, 'older_than', v_window);
  v_before constant jsonb := v_earlier || jsonb_build_object('within', 2 * (segment_setting).window_days || ' days');
  v_regular constant jsonb :=
    v_active || jsonb_build_object('counted', 'days', 'at_least', (segment_setting).regular_days);
  v_power constant jsonb :=
    v_active || jsonb_build_object('counted', 'days', 'at_least', (segment_setting).power_days);
begin
  return query
  values
    (
      'segment.new',
      format('First active in the last %s.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_active, jsonb_build_object('not', v_earlier)))
    ),
    (
      'segment.returning',
      format('Active in the last %s, not in the %1$s before them, and active earlier.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_active, v_earlier, jsonb_build_object('not', v_before)))
    ),
    (
      'segment.casual',
      format('Active in the last %s and in those before them, on fewer than %s of the last days.', v_window,
        (segment_setting).regular_days),
      jsonb_build_object('all', jsonb_build_array(v_active, v_before, jsonb_build_object('not', v_regular)))
    ),
    (
      'segment.regular',
      format('Active on %s to %s of the last %s, and active in those before them.', (segment_setting).regular_days,
        (segment_setting).power_days - 1, v_window),
      jsonb_build_object('all', jsonb_build_array(v_regular, v_before, jsonb_build_object('not', v_power)))
    ),
    (
      'segment.power',
      format('Active on at least %s of the last %s, and active in those before them.', (segment_setting).power_days,
        v_window),
      jsonb_build_object('all', jsonb_build_array(v_power, v_before))
    ),
    (
      'segment.dormant',
      format('Active earlier, and not in the last %s.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_earlier, jsonb_build_object('not', v_active)))
    );
end;
$$;

comment on function analytics._segment_rules(analytics.segment_setting) is $$
Returns the rules of the segments. Each person who was ever active is in exactly one of them.
$$;

grant execute on function analytics._segment_rules(analytics.segment_setting) to insights_reader;
--! EndIncluded analytics/cohorts/_segment_rules.sql

--! Included analytics/cohorts/define_segments.sql
create or replace function analytics.define_segments(
  window_days int default 28, regular_days int default 4, power_days int default 12
)
returns setof analytics.segment_setting
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_actor constant text := common.author();
  v_segment record;
begin
  perform common.check_count('window_days', define_segments.window_days, 3, 366);
  perform common.check_count('regular_days', define_segments.regular_days, 2, define_segments.window_days - 1);
  perform common.check_count(
    'power_days', define_segments.power_days, define_segments.regular_days + 1, define_segments.window_days
  );
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  update analytics.segment_setting
  set
    window_days = define_segments.window_days,
    regular_days = define_segments.regular_days,
    power_days = define_segments.power_days;

  for v_segment in
    select segment.*
    from analytics.segment_setting
    cross join lateral analytics._segment_rules(segment_setting) as segment
  loop
    perform analytics._place_cohort(v_segment.name, v_segment.rule, v_segment.description, true, v_actor);
  end loop;
  return query select * from analytics.segment_setting;
end;
$$;

comment on function analytics.define_segments(int, int, int) is $$
Changes the thresholds of the segments, and computes the people of each. Returns the thresholds.
Active days are days (UTC) with an event that is not automatic; the window are the last `window_days`, today included.
`segment.new`: first active in the window. `segment.dormant`: active once, but not in the window. `segment.returning`:
active in the window, not in the window before it, and active earlier. All others are active in both windows:
`segment.power` on at least `power_days` days of this one, `segment.regular` on at least `regular_days`, and
`segment.casual` on fewer. Each person who was ever active is in exactly one segment.
Errors: CF001 for thresholds that leave a segment without people.
$$;

grant execute on function analytics.define_segments(int, int, int) to insights_admin;
--! EndIncluded analytics/cohorts/define_segments.sql

--! Included analytics/cohorts/cohort_people.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.cohort_people(name text)
returns setof analytics.cohort_person
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  return query
  select member.person_id, named.external_id
  from (
    select members.block::bigint * 4096 + place as person_id
    from track.person_set_blocks(analytics._cohort_set(cohort_people.name)) as members
    left join track.person_set_blocks('excluded') as excluded on excluded.block = members.block
    cross join generate_series(0, 4095) as place
    where get_bit(members.people, place) = 1
      and coalesce(get_bit(excluded.people, place), 0) = 0
  ) as member
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = member.person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as named on true
  order by member.person_id;
end;
$$;

alter function analytics.cohort_people(text) owner to insights_reader;

comment on function analytics.cohort_people(text) is $$
Returns the people of a cohort or segment (`beta`, `segment.power`), as of now, without excluded ones.
Errors: CF002 for an unknown cohort (names the nearest).
$$;

grant execute on function analytics.cohort_people(text) to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/cohort_people.sql

--! Included analytics/cohorts/cohorts.sql
create or replace function analytics._cohorts(smallest_group int)
returns setof analytics.cohort_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  return query
  with counted as materialized (
    select
      blocks.block,
      case when _cohorts.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people) as people
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  )

  select
    person_set.name,
    person_set.description,
    coalesce(cohort.is_live, false),
    analytics._shown(size.person_count, size.person_count, _cohorts.smallest_group)::bigint,
    cohort.as_of
  from track.person_set
  left join analytics.cohort on cohort.name = person_set.name
  cross join lateral (
    select coalesce(sum(bit_count(members.people & counted.people)), 0)::bigint as person_count
    from track.person_set_blocks(person_set.name) as members
    join counted on counted.block = members.block
  ) as size
  where starts_with(person_set.name, 'cohort.')
    or starts_with(person_set.name, 'segment.')
  order by person_set.name;
end;
$$;

comment on function analytics._cohorts(int) is $$
Computes the result of `analytics.cohorts`, with the privileges of the caller.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._cohorts(int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._cohorts_exact()
returns setof analytics.cohort_size
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
  select * from analytics._cohorts(null);
$$;

alter function analytics._cohorts_exact() owner to insights_reader;

comment on function analytics._cohorts_exact() is $$
Returns the result of `analytics.cohorts` with exact numbers, for admins and workers.
$$;

grant execute on function analytics._cohorts_exact() to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._cohorts_shown()
returns setof analytics.cohort_size
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
  select * from analytics._cohorts((select smallest_group from analytics.setting));
$$;

alter function analytics._cohorts_shown() owner to insights_reader;

comment on function analytics._cohorts_shown() is $$
Returns the result of `analytics.cohorts` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._cohorts_shown() to insights_analyst;

create or replace function analytics.cohorts()
returns setof analytics.cohort_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._cohorts_exact()', 'execute') then
    return query select * from analytics._cohorts_exact();
  else
    return query select * from analytics._cohorts_shown();
  end if;
end;
$$;

comment on function analytics.cohorts() is $$
Returns the cohorts and segments with their sizes, as of now.
Each is a set of people, whose name is accepted as `among` (`cohort.beta`) and as `breakdown` (`set.cohort.beta`, or
`set.segment` for all segments). For admins and workers, sizes are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`: cohorts of too few people read as empty ones. The rules are
in `analytics.cohort`, for admins.
$$;

grant execute on function analytics.cohorts() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/cohorts.sql

--! Included analytics/cohorts/segments.sql
create or replace function analytics._segments(compared_days int, smallest_group int)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_counted analytics.people_block[];
  v_stale bigint[];
begin
  perform common.check_count('compared_days', _segments.compared_days, 1, 3660);
  v_counted := array(
    select row(
      blocks.block,
      case when _segments.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people)
    )::analytics.people_block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  );
  -- The conditions are those of whole days, for which only people whose events have changed are read one by one.
  v_stale := array(select distinct stale.person_id from track.stale where stale.person_id <> 0);

  return query
  with counted as (
    select
      cohort.name, cohort.as_of, person_set.description,
      (
        select coalesce(sum(bit_count(members.people & part.people)), 0)::bigint
        from track.person_set_blocks(cohort.name) as members
        join unnest(v_counted) as part on part.block = members.block
      ) as person_count,
      (
        select coalesce(sum(bit_count(former.people)), 0)::bigint
        from unnest(
          analytics._rule_people(
            cohort.rule, v_counted, v_stale, cohort.as_of - _segments.compared_days,
            (cohort.as_of - _segments.compared_days + 1)::timestamptz
          )
        ) as former
      ) as former_count
    from analytics.cohort
    join track.person_set using (name)
    where starts_with(cohort.name, 'segment.')
  ),

  shown as (
    select
      counted.*,
      analytics._shown(counted.person_count, counted.person_count, _segments.smallest_group)::bigint as shown_count,
      analytics._shown(counted.former_count, counted.former_count, _segments.smallest_group)::bigint as shown_former
    from counted
  )

  select
    split_part(shown.name, '.', 2),
    shown.description,
    shown.shown_count,
    shown.shown_count / nullif(sum(shown.shown_count) over (), 0)::float8,
    shown.shown_former,
    shown.shown_count - shown.shown_former,
    shown.as_of,
    shown.as_of - _segments.compared_days
  from shown
  order by array_position('{segment.new,segment.returning,segment.casual,segment.regular,segment.power}', shown.name);
end;
$$;

comment on function analytics._segments(int, int) is $$
Computes the result of `analytics.segments`, with the privileges of the caller.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._segments(int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._segments_exact(compared_days int)
returns setof analytics.segment_size
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
  select * from analytics._segments($1, null);
$$;

alter function analytics._segments_exact(int) owner to insights_reader;

comment on function analytics._segments_exact(int) is $$
Returns the result of `analytics.segments` with exact numbers, for admins and workers.
$$;

grant execute on function analytics._segments_exact(int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._segments_shown(compared_days int)
returns setof analytics.segment_size
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
  select * from analytics._segments($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._segments_shown(int) owner to insights_reader;

comment on function analytics._segments_shown(int) is $$
Returns the result of `analytics.segments` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._segments_shown(int) to insights_analyst;

create or replace function analytics.segments(compared_days int default 28)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._segments_exact(int)', 'execute') then
    return query select * from analytics._segments_exact(segments.compared_days);
  else
    return query select * from analytics._segments_shown(segments.compared_days);
  end if;
end;
$$;

comment on function analytics.segments(int) is $$
Returns the sizes of the segments, and those of `compared_days` earlier.
The earlier sizes are computed from the events before that day, as they are stored now. Definitions and thresholds:
`analytics.define_segments`. For admins and workers, numbers are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`; shares and changes are computed from the numbers as shown.
Errors: CF001 for an invalid `compared_days`.
$$;

grant execute on function analytics.segments(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/segments.sql

--! Included analytics/cohorts/_rfm_cell.sql
create or replace function analytics._rfm_cell(recency_score int, value_score int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (
    '{{hibernating,hibernating,at_risk,at_risk,cannot_lose},
      {hibernating,hibernating,at_risk,at_risk,cannot_lose},
      {about_to_sleep,about_to_sleep,need_attention,loyal,loyal},
      {promising,potential_loyal,potential_loyal,loyal,loyal},
      {new,potential_loyal,potential_loyal,champions,champions}}'::text[]
  )[recency_score][value_score];
$$;

comment on function analytics._rfm_cell(int, int) is $$
Returns the name of a cell of the grid of recency (1 to 5) by frequency and engaged time (1 to 5).
The ten names and their cells are those of the guide of CleverTap to RFM analysis.
$$;

grant execute on function analytics._rfm_cell(int, int) to insights_reader;
--! EndIncluded analytics/cohorts/_rfm_cell.sql

--! Included analytics/cohorts/_rfm.sql
/*
 * Numbers of days as bit slices (`analytics._bit_counts`). The position of the last active day of a person is the
 * number of days on which, or after which, she is active.
 */
create or replace function analytics._rfm(
  since timestamptz, until timestamptz, among text, smallest_group int
)
returns setof analytics.person_rfm
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_bounds timestamptz[];
  v_since timestamptz;
  v_until timestamptz;
  v_days int;
begin
  v_bounds := analytics._bounds('day', _rfm.since, _rfm.until, 'UTC');
  v_days := cardinality(v_bounds) - 1;
  if v_days > 1100 then
    perform common.refuse('CF008', format('the period has %s days', v_days), 'It can have 1,100 days at most.');
  end if;
  v_since := v_bounds[1];
  v_until := v_bounds[v_days + 1];

  return query
  with among as materialized (
    select members.block, members.people
    from analytics._among(_rfm.among, _rfm.smallest_group) as members
  ),

  present as materialized (
    select present.bucket, present.block, present.people & among.people as people
    from analytics._presence(0, v_bounds) as present
    join among on among.block = present.block
  ),

  counted as materialized (
    select
      day.block,
      bit_or(day.people) as people,
      analytics._bit_counts(day.people) as active,
      analytics._bit_counts(day.until_last) as last
    from (
      select
        grid.block, grid.bucket, coalesce(present.people, v_no_people) as people,
        bit_or(coalesce(present.people, v_no_people)) over (partition by grid.block order by grid.bucket desc)
          as until_last
      from (
        select distinct_block.block, bucket
        from (select distinct present.block from present) as distinct_block
        cross join generate_series(1, v_days) as bucket
      ) as grid
      left join present on present.block = grid.block and present.bucket = grid.bucket
    ) as day
    group by day.block
  ),

  active as materialized (
    select
      counted.block::bigint * 4096 + place as person_id,
      analytics._bit_number(counted.active, place) as active_days,
      analytics._bit_number(counted.last, place) as last_day
    from counted
    cross join generate_series(0, 4095) as place
    where get_bit(counted.people, place) = 1
  ),

  used as (
    select session.person_id, sum(session.engaged) as engaged
    from track.session
    where session.started_at >= v_since
      and session.started_at < v_until
    group by session.person_id
  ),

  ranked as (
    select
      active.person_id,
      v_days - active.last_day as recency_days,
      active.active_days,
      coalesce(used.engaged, '0') as engaged,
      (5 * (rank() over (order by active.last_day) - 1) / count(*) over ())::int + 1 as recency_score,
      (5 * (rank() over (order by active.active_days) - 1) / count(*) over ())::int + 1 as frequency_score,
      (5 * (rank() over (order by coalesce(used.engaged, '0')) - 1) / count(*) over ())::int + 1 as engaged_score
    from active
    left join used on used.person_id = active.person_id
  )

  select
    ranked.person_id, null::text, ranked.recency_days, ranked.active_days, ranked.engaged,
    ranked.recency_score, ranked.frequency_score, ranked.engaged_score,
    analytics._rfm_cell(ranked.recency_score, (ranked.frequency_score + ranked.engaged_score + 1) / 2)
  from ranked;
end;
$$;

comment on function analytics._rfm(timestamptz, timestamptz, text, int) is $$
Returns the people who are active in a period with recency, frequency and engaged time: see `analytics.rfm`.
Without their names. `smallest_group`: counted people, and sets as analysts see them; null: all who are not excluded.
$$;

grant execute on function analytics._rfm(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded analytics/cohorts/_rfm.sql

--! Included analytics/cohorts/rfm.sql
create or replace function analytics._rfm_cells(
  since timestamptz, until timestamptz, among text, smallest_group int
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with cell as (
    select
      scored.cell,
      count(*) as person_count,
      avg(scored.recency_days)::float8 as recency_days,
      avg(scored.active_days)::float8 as active_days,
      avg(extract(epoch from scored.engaged))::float8 as engaged
    from analytics._rfm(_rfm_cells.since, _rfm_cells.until, _rfm_cells.among, _rfm_cells.smallest_group) as scored
    group by scored.cell
    having count(*) >= coalesce(_rfm_cells.smallest_group, 1)
  ),

  shown as (
    select
      cell.cell,
      analytics._shown(cell.person_count, cell.person_count, _rfm_cells.smallest_group)::bigint as person_count,
      analytics._shown_mean(cell.recency_days, cell.person_count, _rfm_cells.smallest_group) as recency_days,
      analytics._shown_mean(cell.active_days, cell.person_count, _rfm_cells.smallest_group) as active_days,
      analytics._shown_mean(cell.engaged, cell.person_count, _rfm_cells.smallest_group) as engaged
    from cell
  )

  select
    shown.cell,
    shown.person_count,
    shown.person_count / sum(shown.person_count) over ()::float8,
    shown.recency_days,
    shown.active_days,
    shown.engaged * interval '1 second'
  from shown
  order by shown.person_count desc, shown.cell;
end;
$$;

comment on function analytics._rfm_cells(timestamptz, timestamptz, text, int) is $$
Computes the result of `analytics.rfm`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures.
$$;

grant execute on function analytics._rfm_cells(timestamptz, timestamptz, text, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._rfm_exact(since timestamptz, until timestamptz, among text)
returns setof analytics.rfm_cell
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
  select * from analytics._rfm_cells($1, $2, $3, null);
$$;

alter function analytics._rfm_exact(timestamptz, timestamptz, text) owner to insights_reader;

comment on function analytics._rfm_exact(timestamptz, timestamptz, text) is $$
Returns the result of `analytics.rfm` with exact figures, for admins and workers.
$$;

grant execute on function analytics._rfm_exact(timestamptz, timestamptz, text) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._rfm_shown(since timestamptz, until timestamptz, among text)
returns setof analytics.rfm_cell
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
  select * from analytics._rfm_cells($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function analytics._rfm_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function analytics._rfm_shown(timestamptz, timestamptz, text) is $$
Returns the result of `analytics.rfm` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._rfm_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function analytics.rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null
)
returns setof analytics.rfm_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._rfm_exact(timestamptz, timestamptz, text)', 'execute') then
    return query select * from analytics._rfm_exact(rfm.since, rfm.until, rfm.among);
  else
    return query select * from analytics._rfm_shown(rfm.since, rfm.until, rfm.among);
  end if;
end;
$$;

comment on function analytics.rfm(timestamptz, timestamptz, text) is $$
Returns the cells of an RFM analysis: the people who are active in a period by recency, frequency and engaged time.
Recency: days from the last active day to the last day of the period. Frequency: active days (UTC, with an event that is
not automatic). Monetary value: engaged time of the sessions that began in the period, as of their last refresh.
Each is scored by quintiles: 1 + floor(5 × share of people with a lower value), so that people with equal values have
equal scores (a score can therefore have more or fewer people than a fifth). `cell`: by the score of recency and the
mean of the other two scores, rounded up, in the ten cells of the guide of CleverTap to RFM analysis: `champions`,
`loyal`, `potential_loyal`, `new`, `promising`, `need_attention`, `about_to_sleep`, `at_risk`, `cannot_lose` and
`hibernating`. Scores by quintiles are those of A. M. Hughes, Strategic Database Marketing (1994).
The period is extended to whole days (UTC). `among`: an expression of sets, such as `segment.power & ~cohort.beta`.
For admins and workers, figures are exact, of people who are not excluded. Analysts see figures of counted people,
rounded by `analytics._shown` and `analytics._shown_mean`; cells of too few people are absent.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set, CF008 for more than 1,100 days.
$$;

grant execute on function analytics.rfm(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/rfm.sql

--! Included analytics/cohorts/person_rfm.sql
/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.person_rfm(
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  cell text default null
)
returns setof analytics.person_rfm
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if person_rfm.cell not in (
    select analytics._rfm_cell(recency, value)
    from generate_series(1, 5) as recency
    cross join generate_series(1, 5) as value
  ) then
    perform common.refuse(
      'CF002',
      format('there is no cell "%s"', left(person_rfm.cell, 100)),
      'The cells are those that analytics.rfm returns, such as champions.'
    );
  end if;
  return query
  select
    scored.person_id, named.external_id, scored.recency_days, scored.active_days, scored.engaged,
    scored.recency_score, scored.frequency_score, scored.engaged_score, scored.cell
  from analytics._rfm(person_rfm.since, person_rfm.until, person_rfm.among, null) as scored
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = scored.person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as named on true
  where scored.cell = coalesce(person_rfm.cell, scored.cell)
  order by scored.person_id;
end;
$$;

alter function analytics.person_rfm(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function analytics.person_rfm(timestamptz, timestamptz, text, text) is $$
Returns the people of an RFM analysis with their values and scores: see `analytics.rfm`.
`cell`: only this cell; the scores are those among all people of the analysis. Of people who are not excluded.
Errors: CF001 for an invalid period or `among`, CF002 for an unknown set or cell, CF008 for more than 1,100 days.
$$;

grant execute on function analytics.person_rfm(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/person_rfm.sql

-- from analytics/views.sql
create or replace view analytics.daily_events with (security_invoker = true) as
select
  point.bucket_start as day_start,
  event_type.name as event,
  point.event_count,
  point.person_count,
  point.is_complete
from track.event_type
cross join lateral analytics.trend(
  event_name => event_type.name, bucket => 'day', since => now() - interval '400 days', until => now()
) as point
where event_type.merged_event_type_id is null;
comment on view analytics.daily_events is $$
@behavior -*
Number of events and people by day (UTC) and event type, of the last 400 days, for BI tools.
The figures are those of `analytics.trend`. Select one event to read its days only.
$$;
comment on column analytics.daily_events.day_start is $$Start of the day.$$;
comment on column analytics.daily_events.event is $$Name of the event.$$;
comment on column analytics.daily_events.event_count is $$Number of events.$$;
comment on column analytics.daily_events.person_count is $$Number of distinct people.$$;
comment on column analytics.daily_events.is_complete is $$Whether the day has ended.$$;
create or replace view analytics.weekly_events with (security_invoker = true) as
select
  point.bucket_start as week_start,
  event_type.name as event,
  point.event_count,
  point.person_count,
  point.is_complete
from track.event_type
cross join lateral analytics.trend(
  event_name => event_type.name, bucket => 'week', since => now() - interval '400 days', until => now()
) as point
where event_type.merged_event_type_id is null;
comment on view analytics.weekly_events is $$
@behavior -*
Number of events and people by week (from Monday, UTC) and event type, of the last 400 days, for BI tools.
The figures are those of `analytics.trend`. Distinct people of a week are not the sum of those of its days.
$$;
comment on column analytics.weekly_events.week_start is $$Start of the week.$$;
comment on column analytics.weekly_events.event is $$Name of the event.$$;
comment on column analytics.weekly_events.event_count is $$Number of events.$$;
comment on column analytics.weekly_events.person_count is $$Number of distinct people.$$;
comment on column analytics.weekly_events.is_complete is $$Whether the week has ended.$$;
create or replace view analytics.daily_active_people with (security_invoker = true) as
select
  point.bucket_start as day_start,
  max(point.person_count) filter (where point.window_days = 1) as daily_people,
  max(point.person_count) filter (where point.window_days = 7) as weekly_people,
  max(point.person_count) filter (where point.window_days = 30) as monthly_people,
  bool_and(point.is_complete) as is_complete
from analytics.active_people(since => now() - interval '400 days', until => now(), windows => '{1,7,30}') as point
group by point.bucket_start;
comment on view analytics.daily_active_people is $$
@behavior -*
Daily, weekly and monthly active people (DAU, WAU, MAU) by day (UTC), of the last 400 days, for BI tools.
The figures are those of `analytics.active_people`.
$$;
comment on column analytics.daily_active_people.day_start is $$Start of the day.$$;
comment on column analytics.daily_active_people.daily_people is $$Number of distinct people active on the day.$$;
comment on column analytics.daily_active_people.weekly_people is $$
Number of distinct people active in the 7 days that end with the day.
$$;
comment on column analytics.daily_active_people.monthly_people is $$
Number of distinct people active in the 30 days that end with the day.
$$;
comment on column analytics.daily_active_people.is_complete is $$Whether the day has ended.$$;
create or replace view analytics.weekly_lifecycle with (security_invoker = true) as
select
  point.bucket_start as week_start,
  point.new_people,
  point.returning_people,
  point.resurrecting_people,
  point.dormant_people,
  point.is_complete
from analytics.lifecycle(bucket => 'week', since => now() - interval '400 days', until => now()) as point;
comment on view analytics.weekly_lifecycle is $$
@behavior -*
New, returning, resurrecting and dormant people by week (from Monday, UTC), of the last 400 days, for BI tools.
The figures are those of `analytics.lifecycle`.
$$;
comment on column analytics.weekly_lifecycle.week_start is $$Start of the week.$$;
comment on column analytics.weekly_lifecycle.new_people is $$Active people whose first event is in the week.$$;
comment on column analytics.weekly_lifecycle.returning_people is $$People active in the week and in the one before.$$;
comment on column analytics.weekly_lifecycle.resurrecting_people is $$
People active in the week and in an earlier one, but not in the one before.
$$;
comment on column analytics.weekly_lifecycle.dormant_people is $$
People active in the week before, but not in the week.
$$;
comment on column analytics.weekly_lifecycle.is_complete is $$Whether the week has ended.$$;
create or replace view analytics.weekly_retention with (security_invoker = true) as
select
  cell.cohort_start as cohort_week_start,
  cell.cohort_size,
  cell.period as weeks_later,
  cell.period_start as week_start,
  cell.person_count,
  cell.share,
  cell.is_complete
from analytics.retention(bucket => 'week', since => now() - interval '182 days', until => now(), periods => 26) as cell
where cell.cohort_start is not null;
comment on view analytics.weekly_retention is $$
@behavior -*
People of each week (from Monday, UTC) of the last 26 who were active in later weeks, for BI tools.
The figures are those of `analytics.retention`.
$$;
comment on column analytics.weekly_retention.cohort_week_start is $$
Start of the week in which the people of the cohort were active.
$$;
comment on column analytics.weekly_retention.cohort_size is $$Number of people of the cohort.$$;
comment on column analytics.weekly_retention.weeks_later is $$Number of weeks after that of the cohort, from 0.$$;
comment on column analytics.weekly_retention.week_start is $$Start of the later week.$$;
comment on column analytics.weekly_retention.person_count is $$
Number of people of the cohort who were active in the later week.
$$;
comment on column analytics.weekly_retention.share is $$Share of the cohort; null for a cohort without people.$$;
comment on column analytics.weekly_retention.is_complete is $$Whether the later week has ended.$$;
create or replace view analytics.course_overview with (security_invoker = true) as
select
  summary.course,
  summary.title,
  summary.person_count,
  summary.enrolment_count,
  summary.completion_count,
  summary.dropped_count,
  summary.completion_rate,
  summary.event_count,
  extract(epoch from summary.engaged)::float8 / 3600 as engaged_hours,
  summary.last_day,
  summary.refreshed_at
from analytics.course_summaries() as summary;
comment on view analytics.course_overview is $$
@behavior -*
Use and completion of each course, over all time, for BI tools.
The figures are those of `analytics.course_summaries`, as of the last refresh.
$$;
comment on column analytics.course_overview.course is $$External id of the course.$$;
comment on column analytics.course_overview.title is $$Title of the course; null when unknown.$$;
comment on column analytics.course_overview.person_count is $$Number of distinct people.$$;
comment on column analytics.course_overview.enrolment_count is $$Number of people who were ever enrolled.$$;
comment on column analytics.course_overview.completion_count is $$Number of them who completed the course.$$;
comment on column analytics.course_overview.dropped_count is $$Number of them who dropped the course.$$;
comment on column analytics.course_overview.completion_rate is $$
Share of the enrolled people who completed the course; null without them.
$$;
comment on column analytics.course_overview.event_count is $$Number of events.$$;
comment on column analytics.course_overview.engaged_hours is $$Engaged time, in hours.$$;
comment on column analytics.course_overview.last_day is $$Last day of use, UTC; null when there is none.$$;
comment on column analytics.course_overview.refreshed_at is $$Time of the refresh.$$;
create or replace view analytics.course_popularity with (security_invoker = true) as
select
  popular.rank,
  popular.course,
  popular.title,
  popular.person_count,
  popular.event_count,
  extract(epoch from popular.engaged)::float8 / 3600 as engaged_hours,
  popular.enrolment_count,
  popular.completion_count,
  popular.completion_rate,
  popular.rating_count,
  popular.mean_rating
from analytics.popular_courses(since => now() - interval '28 days', until => now(), top => 1000) as popular;
comment on view analytics.course_popularity is $$
@behavior -*
The 1,000 courses with the most people of the last 28 days, with completion and ratings, for BI tools.
The figures are those of `analytics.popular_courses`.
$$;
comment on column analytics.course_popularity.rank is $$Rank, 1 for the course with the most people.$$;
comment on column analytics.course_popularity.course is $$External id of the course.$$;
comment on column analytics.course_popularity.title is $$Title of the course; null when unknown.$$;
comment on column analytics.course_popularity.person_count is $$Number of distinct people.$$;
comment on column analytics.course_popularity.event_count is $$Number of events.$$;
comment on column analytics.course_popularity.engaged_hours is $$Engaged time, in hours.$$;
comment on column analytics.course_popularity.enrolment_count is $$
Number of people who enrolled: see `analytics.popular_courses`.
$$;
comment on column analytics.course_popularity.completion_count is $$Number of these people who completed the course.$$;
comment on column analytics.course_popularity.completion_rate is $$Share of these people who completed the course.$$;
comment on column analytics.course_popularity.rating_count is $$Number of ratings.$$;
comment on column analytics.course_popularity.mean_rating is $$Mean of the ratings; null without them.$$;
create or replace view analytics.feature_overview with (security_invoker = true) as
select
  used.rank,
  used.event,
  used.person_count,
  used.event_count,
  used.adoption_rate,
  used.events_per_person,
  used.days_per_person,
  used.new_person_count,
  used.return_rate,
  used.person_growth,
  used.first_day,
  used.last_day
from analytics.feature_usage(since => now() - interval '28 days', until => now(), top => 1000) as used;
comment on view analytics.feature_overview is $$
@behavior -*
Use, adoption and return of each feature of the last 28 days, for BI tools.
The figures are those of `analytics.feature_usage`.
$$;
comment on column analytics.feature_overview.rank is $$Rank, 1 for the feature with the most people.$$;
comment on column analytics.feature_overview.event is $$Name of the event.$$;
comment on column analytics.feature_overview.person_count is $$Number of distinct people.$$;
comment on column analytics.feature_overview.event_count is $$Number of events.$$;
comment on column analytics.feature_overview.adoption_rate is $$
Share of the active people who used the feature; null without active people.
$$;
comment on column analytics.feature_overview.events_per_person is $$Events per person; null without people.$$;
comment on column analytics.feature_overview.days_per_person is $$Days with use per person; null without people.$$;
comment on column analytics.feature_overview.new_person_count is $$
Number of people who never used the feature before the period.
$$;
comment on column analytics.feature_overview.return_rate is $$
Share of the people who used it 7 days or more before the end who used it again 7 days or more later.
Null without such people.
$$;
comment on column analytics.feature_overview.person_growth is $$
Relative change of the number of people from the 28 days before; null without people then.
$$;
comment on column analytics.feature_overview.first_day is $$Day of the first use, UTC; null when there is none.$$;
comment on column analytics.feature_overview.last_day is $$Day of the last use, UTC; null when there is none.$$;
create or replace view analytics.segment_overview with (security_invoker = true) as
select
  size.segment,
  size.description,
  size.person_count,
  size.share,
  size.former_count,
  size.as_of,
  size.former_as_of
from analytics.segments() as size;
comment on view analytics.segment_overview is $$
@behavior -*
Number of people of each segment, now and 28 days earlier, for BI tools.
The figures are those of `analytics.segments`.
$$;
comment on column analytics.segment_overview.segment is $$Name of the segment.$$;
comment on column analytics.segment_overview.description is $$Description.$$;
comment on column analytics.segment_overview.person_count is $$Number of people.$$;
comment on column analytics.segment_overview.share is $$Share of the people of all segments, from 0 to 1.$$;
comment on column analytics.segment_overview.former_count is $$Number of people 28 days earlier.$$;
comment on column analytics.segment_overview.as_of is $$Day (UTC) as of which the segment is computed.$$;
comment on column analytics.segment_overview.former_as_of is $$Day (UTC) of the earlier number.$$;
create or replace view analytics.cohort_overview with (security_invoker = true) as
select size.name, size.description, size.is_live, size.person_count, size.as_of
from analytics.cohorts() as size;
comment on view analytics.cohort_overview is $$
@behavior -*
Number of people of each cohort and segment, for BI tools.
The figures are those of `analytics.cohorts`.
$$;
comment on column analytics.cohort_overview.name is $$Set of people, such as `cohort.beta` or `segment.power`.$$;
comment on column analytics.cohort_overview.description is $$Description.$$;
comment on column analytics.cohort_overview.is_live is $$Whether its people follow its rule; false: a fixed list.$$;
comment on column analytics.cohort_overview.person_count is $$Number of people.$$;
comment on column analytics.cohort_overview.as_of is $$
Day (UTC) as of which its rule is computed; null for a list without a rule.
$$;

-- from analytics/policies.sql
grant select on analytics.course_summary to insights_reader;
grant select on analytics.annotation
to insights_reader, insights_instructor, insights_analyst, insights_admin, insights_worker;
grant insert (kind, title, description, starts_at, ends_at, created_by), delete on analytics.annotation
to insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.annotation;
create policy all_rows on analytics.annotation for select using (true);
drop policy if exists roles_write on analytics.annotation;
create policy roles_write on analytics.annotation for insert
to insights_analyst, insights_admin, insights_worker with check (created_by = common.author());
drop policy if exists authors_delete on analytics.annotation;
create policy authors_delete on analytics.annotation for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.annotation;
create policy admins_delete on analytics.annotation for delete
to insights_admin, insights_worker using (true);
grant select, delete on analytics.saved_query to insights_analyst, insights_admin, insights_worker;
grant insert (name, description, function_name, arguments, created_by),
  update (description, function_name, arguments, changed_at)
on analytics.saved_query to insights_analyst, insights_admin, insights_worker;
drop policy if exists queries_of_functions on analytics.saved_query;
create policy queries_of_functions on analytics.saved_query as restrictive for all
to insights_analyst using (
  exists (
    select
    from pg_catalog.pg_proc as procedure
    join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
    where namespace.nspname = split_part(saved_query.function_name, '.', 1)
      and procedure.proname = split_part(saved_query.function_name, '.', 2)
      and has_function_privilege(procedure.oid, 'execute')
  )
);
drop policy if exists all_rows on analytics.saved_query;
create policy all_rows on analytics.saved_query for select
to insights_analyst, insights_admin, insights_worker using (true);
drop policy if exists roles_write on analytics.saved_query;
create policy roles_write on analytics.saved_query for insert
to insights_analyst, insights_admin, insights_worker with check (created_by = common.author());
drop policy if exists authors_change on analytics.saved_query;
create policy authors_change on analytics.saved_query for update
to insights_analyst using (created_by = common.author());
drop policy if exists admins_change on analytics.saved_query;
create policy admins_change on analytics.saved_query for update
to insights_admin, insights_worker using (true);
drop policy if exists authors_delete on analytics.saved_query;
create policy authors_delete on analytics.saved_query for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.saved_query;
create policy admins_delete on analytics.saved_query for delete
to insights_admin, insights_worker using (true);
grant select on
  analytics.daily_events, analytics.weekly_events, analytics.daily_active_people, analytics.weekly_lifecycle,
  analytics.weekly_retention, analytics.course_overview, analytics.course_popularity, analytics.feature_overview,
  analytics.segment_overview, analytics.cohort_overview
to insights_analyst, insights_admin, insights_worker;
grant select on analytics.segment_setting to insights_reader, insights_analyst, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.segment_setting;
create policy all_rows on analytics.segment_setting for select using (true);
grant select on analytics.cohort to insights_reader, insights_admin, insights_worker;
drop policy if exists all_rows on analytics.cohort;
create policy all_rows on analytics.cohort for select to insights_reader, insights_admin, insights_worker
using (true);
