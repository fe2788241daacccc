-- Changes of structure since the last release: see migrations/README.md.

/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);

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
