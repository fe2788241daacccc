create or replace function analytics._attempts(people bigint[], items bigint[], measure text)
returns table (person_id bigint, item_id bigint, attempt bigint, score numeric, scored_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
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
    from track.event
    join kind on kind.event_type_id = event.event_type_id
    where event.person_id = any (_attempts.people)
      and event.item_id = any (_attempts.items)
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
