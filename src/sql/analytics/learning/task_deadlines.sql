/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._task_deadlines(
  course text, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.task_deadline
language plpgsql
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
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_task_deadlines.course, ''));
  v_learners constant bigint[] := analytics._enrolled_learners(
    v_course_id, _task_deadlines.among, _task_deadlines.smallest_group, false
  );
  v_started constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Task Started'
  );
  v_submitted constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name in ('Task Submitted', 'Task Completed')
  );
  v_part record;
begin
  for v_part in
    select *
    from analytics._learner_groups(
      _task_deadlines.breakdown, _task_deadlines.top_values, _task_deadlines.smallest_group, v_learners
    )
  loop
    return query
    with task as materialized (
      select item.item_id, item.external_id, item.title, item.due_at
      from track.item_ancestor as ancestor
      join track.item on item.item_id = ancestor.item_id and item.kind = 'task'
      where ancestor.ancestor_item_id = v_course_id
    ),

    learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
    ),

    happened as (
      select learner.person_id, task.item_id, journey.event_type_id = v_started as is_start, used.at
      from analytics._journeys(
        v_started || v_submitted, false, true, '0001-01-01', 'infinity', v_part.people
      ) as journey
      join learner on learner.person_id = journey.person_id
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      join task on task.item_id = used.item_id
    ),

    done as (
      select
        happened.person_id, happened.item_id,
        min(happened.at) filter (where happened.is_start) as started_at,
        min(happened.at) filter (where not happened.is_start) as submitted_at
      from happened
      group by happened.person_id, happened.item_id
    ),

    counted as (
      select
        task.external_id, task.title, task.due_at,
        count(learner.person_id) as learner_count,
        count(done.started_at) as started_count,
        count(done.submitted_at) as submitted_count,
        count(*) filter (where done.submitted_at <= coalesce(task.due_at, 'infinity')) as on_time_count,
        count(*) filter (where done.submitted_at > task.due_at) as late_count,
        count(learner.person_id) filter (where done.submitted_at is null and task.due_at <= now()) as missing_count,
        count(learner.person_id) filter (where done.submitted_at is null and coalesce(task.due_at, 'infinity') > now())
          as floating_count,
        percentile_cont(0.5) within group (order by task.due_at - done.submitted_at) as median_lead,
        count(*) filter (where done.started_at <= done.submitted_at) as worked_count,
        percentile_cont(0.5) within group (order by done.submitted_at - done.started_at)
          filter (where done.started_at <= done.submitted_at) as median_work
      from task
      left join learner on true
      left join done on done.item_id = task.item_id and done.person_id = learner.person_id
      group by task.item_id, task.external_id, task.title, task.due_at
    )

    select
      counted.external_id,
      counted.title,
      counted.due_at,
      analytics._shown(counted.learner_count, counted.learner_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.started_count, counted.started_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.on_time_count, counted.on_time_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.late_count, counted.late_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.missing_count, counted.missing_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.floating_count, counted.floating_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown_time(
        counted.median_lead, counted.submitted_count, _task_deadlines.smallest_group, counted.median_lead
      ),
      analytics._shown_time(
        counted.median_work, counted.worked_count, _task_deadlines.smallest_group, counted.median_work
      ),
      v_part.value,
      v_part.is_other
    from counted
    order by counted.due_at, counted.external_id collate "C";
  end loop;
end;
$$;

alter function analytics._task_deadlines(text, text, text, int, int) owner to insights_reader;

comment on function analytics._task_deadlines(text, text, text, int, int) is $$
Computes the result of `analytics.task_deadlines`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._task_deadlines(text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._task_deadlines_shown(
  course text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.task_deadline
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
  from analytics._task_deadlines(
    $1, $2, $3, $4, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._task_deadlines_shown(text, text, text, int)
owner to insights_reader;

comment on function analytics._task_deadlines_shown(text, text, text, int) is $$
Returns the result of `analytics.task_deadlines` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._task_deadlines_shown(text, text, text, int)
to insights_analyst;

create or replace function analytics.task_deadlines(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._task_deadlines(text, text, text, int, int)', 'execute') then
    return query
    select *
    from analytics._task_deadlines(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values, null
    );
  else
    return query
    select *
    from analytics._task_deadlines_shown(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values
    );
  end if;
end;
$$;

comment on function analytics.task_deadlines(text, text, text, int) is $$
Returns how many learners of a course submitted each of its tasks, in time or late, and how long before the deadline.
The words are those of Canvas: `on_time`, `late`, `missing` (not submitted by a deadline that has passed) and
`floating` (not submitted, without a deadline or before it). A task is submitted with the first `Task Submitted` or
`Task Completed` of the learner; a task without a deadline is submitted on time. Learners are those who are enrolled
and have not dropped the course. `median_lead`: time from the submission to the deadline, negative for late ones;
`median_work`: time from the first `Task Started` to the submission, of those who started before it.
The deadlines and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF002 for an unknown course or set (names the nearest).
$$;

grant execute on function analytics.task_deadlines(text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
