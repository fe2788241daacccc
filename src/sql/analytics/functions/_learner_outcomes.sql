create or replace function analytics._learner_outcomes(
  target text, moments timestamptz[], horizon interval, courses bigint[] default null
)
returns table (person_id bigint, course_id bigint, as_of timestamptz, outcome float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      (entry.as_of at time zone 'UTC')::date as since,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon)::date as until,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon) at time zone 'UTC' as ends_at
    from unnest(_learner_outcomes.moments) as entry (as_of)
  ),

  happened as (
    select activity.person_id, activity.item_id, activity.day, moment.as_of
    from moment
    join track.activity_of(
      null,
      (select min(earliest.since) from moment as earliest),
      (select max(latest.until) from moment as latest)
    ) as activity
      on activity.day >= moment.since
      and activity.day < moment.until
    -- A grade by a teacher, or another automatic event, is not an activity of the learner.
    where activity.event_count > activity.automatic_count
      or activity.engaged > '0'
  ),

  active as (
    select
      happened.person_id, ancestor.ancestor_item_id as course_id, happened.as_of,
      count(distinct happened.day)::float8 as days
    from happened
    join track.item_ancestor as ancestor on ancestor.item_id = happened.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where happened.person_id <> 0
      and (_learner_outcomes.courses is null or ancestor.ancestor_item_id = any (_learner_outcomes.courses))
    group by happened.person_id, ancestor.ancestor_item_id, happened.as_of
  ),

  taken as (
    select
      enrolment.person_id, enrolment.item_id as course_id, moment.as_of,
      bool_or(enrolment.status = 'completed' and ending.is_within) as completed,
      bool_or(enrolment.status = 'dropped' and ending.is_within) as dropped
    from moment
    join track.enrolment on enrolment.enrolled_at < moment.as_of
    cross join lateral (
      select enrolment.ended_at >= moment.as_of and enrolment.ended_at < moment.ends_at
    ) as ending (is_within)
    where _learner_outcomes.courses is null
      or enrolment.item_id = any (_learner_outcomes.courses)
    group by enrolment.person_id, enrolment.item_id, moment.as_of
  )

  select
    taken.person_id, taken.course_id, taken.as_of,
    case _learner_outcomes.target
      when 'dropout' then (
        (coalesce(active.days, 0) = 0 or coalesce(taken.dropped, false)) and not coalesce(taken.completed, false)
      )::int::float8
      when 'completion' then coalesce(taken.completed, false)::int::float8
      when 'activity' then coalesce(active.days, 0)
    end
  from taken
  left join active
    on active.person_id = taken.person_id
    and active.course_id = taken.course_id
    and active.as_of = taken.as_of;
end;
$$;

comment on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[]) is $$
Returns the outcomes of the learners who were enrolled at the given times (UTC midnights), within the horizon.
1 or 0 for `dropout` and `completion`, the number of active days for `activity`.
$$;

grant execute on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[])
to insights_reader, insights_admin;
