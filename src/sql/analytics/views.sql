/*
 * Views for BI tools, over the public functions: the privileges of the reader decide, as in a call of the function. The
 * functions do not see the filters of a query, so that each view has a fixed period.
 */
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
