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

  used as (
    select step.person_id, place.item_id::bigint as item_id, place.at
    from track.step
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    where step.person_id = any (_item_uses.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic
      -- Here, so that few rows leave the scan, which may be parallel.
      and place.item_id = any (_item_uses.items)

    union all

    select event.person_id, event.item_id, event.occurred_at as at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
      and event.item_id = any (_item_uses.items)
  )

  select used.person_id, used.item_id, min(used.at), max(used.at)
  from used
  join person on person.person_id = used.person_id and used.at between person.since and person.until
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
