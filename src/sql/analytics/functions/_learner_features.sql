/*
 * The single definition of the features of a learner as of a time, used by training and prediction. Whole days are read
 * from the rollup, or from the events where they are queued for a refresh, and the hours since the last midnight from
 * the events. Each part is limited to rows before the time; `known_at` is the time of the latest row used. Seconds and
 * gaps are summed as numeric and int, so that the result does not depend on the order of the rows.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
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

  -- The items of each course, including the course itself.
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

  -- Learners of a course at a time: enrolled earlier, not completed or dropped by then, and not opted out of analytics.
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
        -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
        and enrolment.person_id not in (select privacy.restricted())
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment
      on enrolled.enrolled_at < moment.as_of
      and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  activity as materialized (
    select happened.*
    from track.activity_of(
      array(select person.person_id from person),
      '-infinity',
      (select max(moment.today) from moment),
      -- Of some courses only what is in them: it is a small part of what their learners do.
      of_items => case when _learner_features.courses is not null then array(select part.item_id from part) end
    ) as happened
  ),

  day_of_item as materialized (
    select
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at,
      sum(happened.event_count - happened.automatic_count)::float8 as events,
      sum(extract(epoch from happened.engaged)) as seconds,
      bool_or(happened.event_type_id in (
        select coalesce(submission.merged_event_type_id, submission.event_type_id)
        from track.event_type as submission
        where submission.name in ('Task Submitted', 'Task Completed')
      )) as submitted,
      -- A grade by a teacher, or another automatic event, is not an activity of the learner.
      bool_or(happened.event_count > happened.automatic_count or happened.engaged > '0') as is_active
    from (
      select part.course_id, part.kind, part.due_at, activity.*
      from part
      join activity on activity.item_id = part.item_id
    ) as happened
    group by
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at
  ),

  day_of_course as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.day,
      sum(day_of_item.events) as events,
      sum(day_of_item.seconds) as seconds
    from day_of_item
    where day_of_item.is_active
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  viewed_today as materialized (
    select
      page_view.person_id, watched.as_of, page_view.event_id, page_view.item_id, page_view.ended_at,
      page_view.engaged, page_view.is_continued
    from (select distinct taker.person_id, taker.as_of, taker.midnight from taker) as watched
    join track.page_view
      on page_view.person_id = watched.person_id
      and page_view.session_ended_at >= watched.midnight
      and page_view.session_ended_at < watched.as_of
      and page_view.started_at >= watched.midnight
    where watched.midnight < watched.as_of
  ),

  -- Since the last midnight: events of the learner, and page views of earlier sessions that were continued.
  today as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      1 as events,
      extract(epoch from opened.engaged) as seconds,
      event.occurred_at as known_at
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join viewed_today as opened
      on opened.person_id = event.person_id
      and opened.as_of = taker.as_of
      and opened.event_id = event.event_id
      and not opened.is_continued
    where taker.midnight < taker.as_of

    union all

    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      0,
      extract(epoch from viewed_today.engaged),
      viewed_today.ended_at
    from taker
    join viewed_today
      on viewed_today.is_continued
      and viewed_today.person_id = taker.person_id
      and viewed_today.as_of = taker.as_of
    join part on part.item_id = viewed_today.item_id and part.course_id = taker.course_id
  ),

  active_day as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      taker.today - day_of_course.day as age,
      day_of_course.day,
      day_of_course.events,
      day_of_course.seconds,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    select
      today.person_id, today.course_id, today.as_of,
      0,
      today.today,
      sum(today.events)::float8,
      coalesce(sum(today.seconds), 0),
      max(today.known_at)
    from today
    group by today.person_id, today.course_id, today.as_of, today.today
  ),

  -- The engaged time of a session is known at its end. The rollup already contains that of sessions in progress at the
  -- time, so it is subtracted.
  unfinished as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged)) as seconds
    from taker
    join track.page_view
      on page_view.person_id = taker.person_id
      and page_view.session_started_at >= taker.as_of - interval '168 hours'
      and page_view.session_started_at < taker.midnight
      and page_view.session_ended_at >= taker.as_of
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  active as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age between 1 and 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age between 1 and 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.seconds) as seconds,
      coalesce(sum(stepped.seconds) filter (where stepped.age between 1 and 7), 0) as seconds_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select active_day.*, (active_day.day - lag(active_day.day) over by_day) as gap
      from active_day
      window by_day as (
        partition by active_day.person_id, active_day.course_id, active_day.as_of
        order by active_day.day
      )
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  used as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
      and (day_of_item.is_active or day_of_item.submitted)
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where used.kind = 'task' and used.submitted_day < taker.today) as tasks,
      count(*) filter (
        where used.kind = 'task' and used.submitted_day < taker.today and used.due_at < taker.midnight
      ) as due_tasks,
      avg(used.submitted_day - (used.due_at at time zone 'UTC')::date)
        filter (where used.kind = 'task' and used.submitted_day < taker.today) as days_late
    from taker
    join used
      on used.person_id = taker.person_id
      and used.course_id = taker.course_id
      and used.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  learner as materialized (
    select distinct taker.person_id, taker.as_of, taker.today
    from taker
  ),

  -- The days of the last week on which people were active anywhere.
  active_anywhere as (
    select activity.person_id, activity.day
    from activity
    where _learner_features.courses is null
      and (activity.event_count > activity.automatic_count or activity.engaged > '0')

    union all

    select happened.person_id, happened.day
    from track.activity_of(
      array(select person.person_id from person),
      (select min(moment.today) - 7 from moment),
      (select max(moment.today) from moment)
    ) as happened
    where _learner_features.courses is not null
      and (happened.event_count > happened.automatic_count or happened.engaged > '0')
  ),

  anywhere as (
    select learner.person_id, learner.as_of, count(distinct active_anywhere.day) as active_days
    from learner
    join active_anywhere
      on active_anywhere.person_id = learner.person_id
      and active_anywhere.day >= learner.today - 7
      and active_anywhere.day < learner.today
    group by learner.person_id, learner.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, active.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(active.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(active.active_days, 0)::float8,
    coalesce(active.active_days_week_1, 0)::float8,
    coalesce(active.active_days_week_2, 0)::float8,
    coalesce(active.active_days_week_3, 0)::float8,
    coalesce(active.active_days_week_4, 0)::float8,
    coalesce(active.events, 0),
    coalesce(active.events_week_1, 0),
    coalesce(active.events_week_2, 0),
    greatest(coalesce(active.seconds, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    greatest(coalesce(active.seconds_week_1, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    active.mean_gap::float8,
    active.gap_deviation::float8,
    active.longest_gap::float8,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    coalesce(
      avg((coalesce(active.active_days_week_1, 0) > 0)::int::float8)
        filter (where get_bit(counted.people, (taker.person_id % 4096)::int) <> 0)
        over (partition by taker.course_id, taker.as_of),
      0
    ),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join active
    on active.person_id = taker.person_id
    and active.course_id = taker.course_id
    and active.as_of = taker.as_of
  left join unfinished
    on unfinished.person_id = taker.person_id
    and unfinished.course_id = taker.course_id
    and unfinished.as_of = taker.as_of
  left join breadth
    on breadth.person_id = taker.person_id
    and breadth.course_id = taker.course_id
    and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of
  left join track.person_set_block as counted on counted.name = 'counted' and counted.block = taker.person_id / 4096;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Returns the learners who take a course at each of the given times, with their features.
One row per learner, course and time. Events after the time are not used. `courses` null: all courses. People who have
opted out of the purpose `analytics` are excluded. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]) to insights_reader, insights_admin;
