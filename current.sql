-- Changes of structure since the last release: see migrations/README.md.

/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);
/* ------------------------------------------------------------------------------------------------------- trend -- */

drop function if exists analytics.trend(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_exact(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_shown(text, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend_points(text, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._trend_of_groups(int, text, timestamptz, timestamptz, int);
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, date[]);

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
Number of people of the cohort who did the return event in the period, or in it or a later one; in period 0 the whole
cohort. In a mean the sum over its cohorts.
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
