create or replace function analytics._item_uses(
  people bigint[], items bigint[], since timestamptz[], until timestamptz[]
)
returns table (person_id bigint, item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
-- A list of events is unnested in a nested loop, whatever the caller has set.
set enable_nestloop to on
as $$
declare
  v_queued record;
begin
  v_queued := track.queued_days('0001-01-01', 'infinity', _item_uses.people);
  return query
  with person as materialized (
    select
      entry.person_id, coalesce(entry.since, '-infinity') as since, coalesce(entry.until, 'infinity') as until
    from unnest(_item_uses.people, _item_uses.since, _item_uses.until) as entry (person_id, since, until)
  ),

  -- Each list is cut to the period of the person before it is unnested: most of its events are outside of it.
  placed as (
    select
      step.person_id, step.occurred_at, step.item_ids,
      width_bucket(person.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(person.until, step.occurred_at) as end_place
    from person
    join track.step on step.person_id = person.person_id
    where step.person_id = any (_item_uses.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic
    offset 0
  ),

  used as (
    select listed.person_id, listed.item_id::bigint as item_id, listed.at
    from (
      select
        placed.person_id,
        unnest(placed.item_ids[placed.before + 1:placed.end_place]) as item_id,
        unnest(placed.occurred_at[placed.before + 1:placed.end_place]) as at
      from placed
      where placed.before < placed.end_place
    ) as listed
    where listed.item_id = any (_item_uses.items)

    union all

    select event.person_id, event.item_id, event.occurred_at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join person on person.person_id = event.person_id and event.occurred_at between person.since and person.until
    where event.person_id = any (v_queued.people)
      and event.item_id = any (_item_uses.items)
  )

  select used.person_id, used.item_id, min(used.at), max(used.at)
  from used
  group by used.person_id, used.item_id;
end;
$$;

comment on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Returns which items people have used, with the times of the first and the last event of each.
Of these people and items, in the period of each person at the same position (both ends inclusive; null: no limit).
Automatic events are left out. People who are queued for a refresh are read from their
events, all others from their journeys, so that the result is the same before and after a refresh.
$$;

grant execute on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) to insights_reader;
