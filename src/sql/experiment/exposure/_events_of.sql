create or replace function experiment._events_of(
  people bigint[],
  since timestamptz,
  until timestamptz,
  event_type_ids int[]
)
returns setof track.event
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
-- A loop over the times of the journeys: the planner has no statistics of the arrays.
set enable_nestloop to on
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
set jit to off
as $$
declare
  -- Events of a merged type are in the journeys under the type that it was merged into.
  v_stored constant int[] := array(
    select unnest(_events_of.event_type_ids)
    union
    select event_type.merged_event_type_id
    from track.event_type
    where event_type.event_type_id = any (_events_of.event_type_ids)
      and event_type.merged_event_type_id is not null
  );
begin
  return query
  with mentioned as materialized (
    select distinct step.person_id, step_time.occurred_at
    from track.step
    cross join lateral unnest(step.occurred_at) as step_time (occurred_at)
    where step.person_id = any (_events_of.people)
      and step.event_type_id = any (v_stored)
      and step_time.occurred_at >= _events_of.since
      and step_time.occurred_at < _events_of.until
  )

  select event.*
  from mentioned
  join track.event
    on event.person_id = mentioned.person_id
    and event.occurred_at = mentioned.occurred_at
  where event.event_type_id = any (_events_of.event_type_ids)
    or event.named_event_type_id = any (_events_of.event_type_ids);
end;
$$;

comment on function experiment._events_of(bigint[], timestamptz, timestamptz, int[]) is $$
Returns the events of people that are of the given types, from `since` until before `until`.
Their times come from the journeys (`track.step`), so that the cost does not depend on the other events of the people.
$$;
