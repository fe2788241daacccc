create or replace function experiment._found_values(exposures experiment.exposure[], slots experiment.slot[])
returns table (person_id bigint, experiment_id int, place int, reading text, is_before boolean, value numeric)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
-- A day has 24 hours.
set timezone to 'UTC'
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
as $$
declare
  v_people constant bigint[] := array(
    select distinct exposed.person_id from unnest(exposures) as exposed order by exposed.person_id
  );
  v_types constant int[] := array(select distinct unnest(slot.event_type_ids) from unnest(slots) as slot);
  v_since timestamptz;
  v_until timestamptz;
begin
  if cardinality(slots) = 0 or cardinality(exposures) = 0 then
    return;
  end if;
  select min(exposed.exposed_at - slot.before_period), max(slot.ends_at) into v_since, v_until
  from unnest(exposures) as exposed
  join unnest(slots) as slot on slot.experiment_id = exposed.experiment_id;

  return query
  with slot as materialized (
    select slot.* from unnest(slots) as slot
  ),

  exposed as materialized (
    select exposed.person_id, exposed.experiment_id, exposed.exposed_at from unnest(exposures) as exposed
  ),

  -- The people in their order: the index is read once.
  event as materialized (
    select
      event.person_id, event.occurred_at, event.event_type_id, event.named_event_type_id, event.item_id,
      event.properties
    from track.event
    where event.person_id = any (v_people)
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and (event.event_type_id = any (v_types) or event.named_event_type_id = any (v_types))
  ),

  filtered as (
    select distinct
      exposed.person_id, slot.property_filter, slot.event_type_ids, exposed.exposed_at - slot.before_period as since,
      least(exposed.exposed_at + slot.delay + coalesce(slot.period, 'infinity'), slot.ends_at) as until
    from exposed
    join slot on slot.experiment_id = exposed.experiment_id
    where slot.property_filter is not null
  ),

  -- A condition takes about 0.1 ms: once for all experiments, and for all events with the same properties.
  -- Materialized, because the planner would compute it before `distinct`.
  pair as materialized (
    select distinct filtered.property_filter, coalesce(event.properties, '{}') as properties
    from filtered
    join event
      on event.person_id = filtered.person_id
      and event.occurred_at >= filtered.since
      and event.occurred_at < filtered.until
      and (
        event.event_type_id = any (filtered.event_type_ids)
        or event.named_event_type_id = any (filtered.event_type_ids)
      )
  ),

  passed as materialized (
    select pair.property_filter, pair.properties
    from pair
    where experiment.eval_condition(pair.properties, pair.property_filter)
  )

  select
    exposed.person_id, exposed.experiment_id, slot.place, slot.reading,
    event.occurred_at < exposed.exposed_at,
    case
      when slot.value_property is null then 1
      when jsonb_typeof(event.properties -> slot.value_property) = 'number'
        then (event.properties -> slot.value_property)::numeric
    end
  from exposed
  join event on event.person_id = exposed.person_id
  join slot
    on slot.experiment_id = exposed.experiment_id
    and event.occurred_at >= exposed.exposed_at - slot.before_period
    and event.occurred_at < slot.ends_at
    and (
      event.event_type_id = any (slot.event_type_ids) or event.named_event_type_id = any (slot.event_type_ids)
    )
  left join passed
    on passed.property_filter = slot.property_filter
    and passed.properties = coalesce(event.properties, '{}')
  where (
      event.occurred_at < exposed.exposed_at
      or event.occurred_at >= exposed.exposed_at + slot.delay
      and event.occurred_at < exposed.exposed_at + slot.delay + coalesce(slot.period, 'infinity')
    )
    and (
      slot.item_id is null
      or exists (
        select
        from track.item_ancestor as ancestor
        where ancestor.item_id = event.item_id
          and ancestor.ancestor_item_id = slot.item_id
      )
    )
    and (slot.property_filter is null or passed.property_filter is not null);
end;
$$;

comment on function experiment._found_values(experiment.exposure[], experiment.slot[]) is $$
Returns the events of exposed people that belong to the given outcomes, since the exposure and in the period before it.
`value` is null for an event whose property is not a number.
$$;
