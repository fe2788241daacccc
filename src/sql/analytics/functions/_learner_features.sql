/*
 * The one definition of what is known of a learner as of a time, for training and for asking. Whole days come from the
 * rollup, the hours since the last midnight from the events; each part is bound by the time, and `known_at` says what it used.
 * Seconds and gaps are added up as numeric and int, so that no result depends on the order of the rows.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      date_trunc('day', entry.as_of at time zone 'UTC') at time zone 'UTC' as midnight,
      (entry.as_of at time zone 'UTC')::date as today
    from unnest(_learner_features.moments) as entry (as_of)
  ),

  -- What a course contains, itself included.
  part as materialized (
    select course.item_id as course_id, item.item_id, item.kind, item.due_at, course.available_until
    from track.item as course
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
    join track.item on item.item_id = ancestor.item_id
    where course.kind = 'course'
      and (_learner_features.courses is null or course.item_id = any (_learner_features.courses))
  ),

  size as (
    select
      part.course_id,
      max(part.available_until) as available_until,
      count(*) filter (where part.kind not in ('course', 'module'))::float8 as items,
      count(*) filter (where part.kind = 'task')::float8 as tasks
    from part
    group by part.course_id
  ),

  -- Who takes a course at a time: enrolled before, neither completed nor dropped by then, and not objecting to be analysed.
  taker as materialized (
    select enrolled.person_id, enrolled.course_id, enrolled.enrolled_at, moment.as_of, moment.midnight, moment.today
    from (
      select
        enrolment.person_id,
        enrolment.item_id as course_id,
        min(enrolment.enrolled_at) as enrolled_at,
        case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
      from track.enrolment
      join size on size.course_id = enrolment.item_id
      where enrolment.person_id <> 0
        -- Allowed unless decided otherwise, or the other way round.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment on enrolled.enrolled_at < moment.as_of and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  day_of_item as materialized (
    select
      part.course_id, activity.person_id, activity.item_id, activity.day, part.kind, part.due_at,
      sum(activity.event_count)::float8 as events,
      sum(extract(epoch from activity.engaged)) as seconds,
      bool_or(event_type.name in ('Task Submitted', 'Task Completed')) as submitted
    from part
    join analytics.activity on activity.item_id = part.item_id
    join person on person.person_id = activity.person_id
    join track.event_type on event_type.event_type_id = activity.event_type_id
    group by part.course_id, activity.person_id, activity.item_id, activity.day, part.kind, part.due_at
  ),

  day_of_course as materialized (
    select day_of_item.course_id, day_of_item.person_id, day_of_item.day, sum(day_of_item.events) as events, sum(day_of_item.seconds) as seconds
    from day_of_item
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  seen as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today - day_of_course.day as age, day_of_course.day, day_of_course.events, day_of_course.seconds,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    -- Since the last midnight.
    select
      taker.person_id, taker.course_id, taker.as_of, 0, taker.today, count(*)::float8, coalesce(sum(extract(epoch from page_view.engaged)), 0),
      max(event.occurred_at)
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join (
      track.page_view
      join track.session on session.person_id = page_view.person_id and session.session_id = page_view.session_id
    )
      on page_view.person_id = event.person_id
      and page_view.event_id = event.event_id
      and session.ended_at < taker.as_of
    where taker.midnight < taker.as_of
    group by taker.person_id, taker.course_id, taker.as_of, taker.today
  ),

  -- Time in a session that goes on is known at its end: the rollup has it already, the look has not.
  going_on as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged)) as seconds
    from taker
    join track.session
      on session.person_id = taker.person_id
      and session.started_at >= taker.as_of - interval '7 days'
      and session.started_at < taker.midnight
      and session.ended_at >= taker.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  use as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age <= 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age <= 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.seconds) as seconds,
      coalesce(sum(stepped.seconds) filter (where stepped.age <= 7), 0) as seconds_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select seen.*, (seen.day - lag(seen.day) over (partition by seen.person_id, seen.course_id, seen.as_of order by seen.day)) as gap
      from seen
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  touched as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where touched.kind = 'task' and touched.submitted_day < taker.today) as tasks,
      count(*) filter (where touched.kind = 'task' and touched.submitted_day < taker.today and touched.due_at < taker.midnight) as due_tasks,
      avg(touched.submitted_day - (touched.due_at at time zone 'UTC')::date)
        filter (where touched.kind = 'task' and touched.submitted_day < taker.today) as days_late
    from taker
    join touched
      on touched.person_id = taker.person_id
      and touched.course_id = taker.course_id
      and touched.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  anywhere as (
    select looked.person_id, looked.as_of, count(distinct activity.day) as active_days
    from (select distinct taker.person_id, taker.as_of, taker.today from taker) as looked
    join analytics.activity
      on activity.person_id = looked.person_id
      and activity.day >= looked.today - 7
      and activity.day < looked.today
    group by looked.person_id, looked.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, use.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(use.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(use.active_days, 0)::float8,
    coalesce(use.active_days_week_1, 0)::float8,
    coalesce(use.active_days_week_2, 0)::float8,
    coalesce(use.active_days_week_3, 0)::float8,
    coalesce(use.active_days_week_4, 0)::float8,
    coalesce(use.events, 0),
    coalesce(use.events_week_1, 0),
    coalesce(use.events_week_2, 0),
    greatest(coalesce(use.seconds, 0) - coalesce(going_on.seconds, 0), 0)::float8 / 60,
    greatest(coalesce(use.seconds_week_1, 0) - coalesce(going_on.seconds, 0), 0)::float8 / 60,
    use.mean_gap::float8,
    use.gap_deviation::float8,
    use.longest_gap::float8,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    avg((coalesce(use.active_days_week_1, 0) > 0)::int::float8) over (partition by taker.course_id, taker.as_of),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join use on use.person_id = taker.person_id and use.course_id = taker.course_id and use.as_of = taker.as_of
  left join going_on on going_on.person_id = taker.person_id and going_on.course_id = taker.course_id and going_on.as_of = taker.as_of
  left join breadth on breadth.person_id = taker.person_id and breadth.course_id = taker.course_id and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Returns the learners who take a course at each of the given times, with their features.
One row per learner, course and time. Events after the time are not used. `courses` null: all courses. People who have
opted out of the purpose `analytics` are excluded. Rollups are as of their last refresh.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]) to insights_reader, insights_admin;
