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

grant select on
  analytics.daily_events, analytics.weekly_events, analytics.daily_active_people, analytics.weekly_lifecycle,
  analytics.weekly_retention, analytics.course_overview, analytics.course_popularity, analytics.feature_overview,
  analytics.segment_overview, analytics.cohort_overview
to insights_analyst, insights_admin, insights_worker;
