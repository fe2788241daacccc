create or replace function analytics._attempts(people bigint[], items bigint[], measure text)
returns table (person_id bigint, item_id bigint, attempt bigint, score numeric, scored_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
-- Events that are known from the journeys are found by their key, whatever the caller has set.
set enable_nestloop to on
as $$
declare
  v_queued constant bigint[] := coalesce(
    (track.queued_days('0001-01-01', 'infinity', _attempts.people)).people, '{}'
  );
begin
  return query
  with kind as materialized (
    select distinct
      coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
      event_type.name in ('Question Answered', 'Task Submitted') as begins
    from track.event_type
    where event_type.name = any (
      case _attempts.measure
        when 'answers' then '{Question Answered}'::text[]
        else '{Task Submitted,Task Completed,Task Failed,Task Graded,Grade Changed,Course Completed}'::text[]
      end
    )
  ),

  -- The events to read, a few of the many of these people, are in the journeys. People who are queued are read
  -- from their events.
  found as materialized (
    select distinct listed.person_id, listed.event_type_id, listed.at, listed.item_id::bigint as item_id
    from (
      select
        step.person_id, step.event_type_id, unnest(step.occurred_at) as at, unnest(step.item_ids) as item_id
      from track.step
      where step.person_id = any (_attempts.people)
        and step.person_id <> all (v_queued)
        and step.event_type_id in (select kind.event_type_id from kind)
    ) as listed
    where listed.item_id = any (_attempts.items)
  ),

  scored as (
    select
      event.person_id, event.item_id, event.occurred_at, event.event_id, event.event_type_id, event.properties
    from found
    join track.event
      on event.person_id = found.person_id
      and event.occurred_at = found.at
      and event.item_id = found.item_id
      and event.event_type_id = found.event_type_id

    union all

    select
      event.person_id, event.item_id, event.occurred_at, event.event_id, event.event_type_id, event.properties
    from track.event
    where event.person_id = any (v_queued)
      and event.item_id = any (_attempts.items)
  ),

  happened as (
    select
      event.person_id, event.item_id, event.occurred_at, event.event_id,
      count(*) filter (where kind.begins) over (
        partition by event.person_id, event.item_id order by event.occurred_at, event.event_id
      ) as attempt,
      case
        when _attempts.measure = 'answers' then
          case event.properties -> 'correct' when 'true' then 1 when 'false' then 0 end
        when jsonb_typeof(event.properties -> 'score') = 'number' then
          case
            when (event.properties -> 'score')::numeric between 0 and 1 then (event.properties -> 'score')::numeric
          end
      end as score
    from scored as event
    join kind on kind.event_type_id = event.event_type_id
  )

  -- A grade that is changed replaces the earlier one of the same attempt.
  select distinct on (happened.person_id, happened.item_id, happened.attempt)
    happened.person_id, happened.item_id, happened.attempt, happened.score, happened.occurred_at
  from happened
  where happened.score is not null
  order by
    happened.person_id, happened.item_id, happened.attempt, happened.occurred_at desc, happened.event_id desc;
end;
$$;

comment on function analytics._attempts(bigint[], bigint[], text) is $$
Returns the scores of the attempts of people at items, from 0 to 1.
`measure` = `answers`: each `Question Answered` with a boolean `correct` is an attempt, with the score 1 or 0. `scores`:
an attempt begins with `Task Submitted`; its score is the latest `score` (a number from 0 to 1) of this event and of the
`Task Completed`, `Task Failed`, `Task Graded`, `Grade Changed` and `Course Completed` until the next submission.
Other values are ignored, and attempts without a score have no row. `attempt`: their number in order of time; 0 before
the first submission.
$$;

grant execute on function analytics._attempts(bigint[], bigint[], text) to insights_reader;
