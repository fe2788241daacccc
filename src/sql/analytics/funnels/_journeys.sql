create or replace function analytics._journeys(
  event_types int[],
  with_any boolean,
  with_items boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[]
)
language plpgsql
stable
parallel safe
rows 100000
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_journeys.until at time zone 'UTC')::date + 1;
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day, _journeys.people);
  -- The whole list where it is within the period. Places are computed once: each function that reads a list copies it.
  return query
  select
    placed.person_id, placed.event_type_id, placed.is_automatic,
    case
      when placed.before = 0 and placed.end_place = cardinality(placed.occurred_at) then placed.occurred_at
      else placed.occurred_at[placed.before + 1:placed.end_place]
    end,
    case
      when not _journeys.with_items then null
      when placed.before = 0 and placed.end_place = cardinality(placed.item_ids) then placed.item_ids
      else placed.item_ids[placed.before + 1:placed.end_place]
    end
  from (
    select
      step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as end_place
    from track.step
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id <> 0
      and (_journeys.people is null or step.person_id = any (_journeys.people))
      and (v_queued.people is null or step.person_id <> all (v_queued.people))
      and step.since > v_first_day - 366
      and step.since < v_end_day
    offset 0
  ) as placed
  where placed.before < placed.end_place;
  if v_queued.people is null then
    return;
  end if;

  -- Of people who are queued for a refresh, the days that are queued come from the events.
  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', _journeys.since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', _journeys.until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  placed as (
    select
      step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as since,
      width_bucket(queued.since - interval '1 microsecond', step.occurred_at) as queued_since,
      width_bucket(queued.until - interval '1 microsecond', step.occurred_at) as queued_until,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as until
    from track.step
    join queued on queued.person_id = step.person_id
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id = any (v_queued.people)
      and step.person_id <> 0
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  -- In two parts where those between them are queued.
  kept as (
    select
      placed.person_id, placed.event_type_id, placed.is_automatic, placed.occurred_at, placed.item_ids,
      case when half.is_first then placed.since else placed.queued_until end as first_place,
      case when half.is_first then placed.queued_since else placed.until end as end_place
    from placed
    cross join (values (true), (false)) as half (is_first)
  )

  select
    kept.person_id, kept.event_type_id, kept.is_automatic,
    kept.occurred_at[kept.first_place + 1:kept.end_place],
    case when _journeys.with_items then kept.item_ids[kept.first_place + 1:kept.end_place] end
  from kept
  where kept.first_place < kept.end_place

  union all

  select
    happened.person_id, happened.event_type_id, happened.is_automatic,
    array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id),
    case when _journeys.with_items then array_agg(happened.item_id order by happened.occurred_at, happened.item_id) end
  from (
    select
      event.person_id, event.event_type_id, event.occurred_at, coalesce(event.item_id, 0)::int as item_id,
      event_type.is_automatic or source.is_automatic as is_automatic
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id <> 0
  ) as happened
  where happened.event_type_id = any (_journeys.event_types)
    or _journeys.with_any and not happened.is_automatic
  group by happened.person_id, happened.event_type_id, happened.is_automatic;
end;
$$;

comment on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times and items of events of people in a period, with the privileges of the caller.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `people`: of these only;
null: of all. A person and event type
can have several rows, in each of which the times ascend, and which can be empty. `item_ids`: 0 for events that name
none; null unless `with_items`. The events of people who are queued for a refresh are included.
$$;

grant execute on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
