create or replace function analytics._valued_journeys(
  event_types int[],
  properties int[],
  with_any boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[], value_ids int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_valued_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_valued_journeys.until at time zone 'UTC')::date + 1;
begin
  return query
  with declared as materialized (
    select entry.event_type_id, entry.property_id
    from unnest(_valued_journeys.event_types, _valued_journeys.properties) as entry (event_type_id, property_id)
    where entry.property_id is not null
  )

  select
    step.person_id, step.event_type_id, step.is_automatic,
    case when slice.is_whole then step.occurred_at else step.occurred_at[slice.before + 1:slice.until] end,
    case when slice.is_whole then step.item_ids else step.item_ids[slice.before + 1:slice.until] end,
    case
      when declared.property_id is null then null
      when step_value.value_ids is null then array_fill(0, array[slice.until - slice.before])
      when slice.is_whole then step_value.value_ids
      else step_value.value_ids[slice.before + 1:slice.until]
    end
  from track.step
  left join declared on declared.event_type_id = step.event_type_id
  left join track.step_value
    on step_value.person_id = step.person_id
    and step_value.property_id = declared.property_id
    and step_value.is_automatic = step.is_automatic
    and step_value.since = step.since
  cross join lateral (
    select
      place.before, place.until, place.before = 0 and place.until = cardinality(step.occurred_at) as is_whole
    from (
      select
        width_bucket(_valued_journeys.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(_valued_journeys.until - interval '1 microsecond', step.occurred_at) as until
      offset 0
    ) as place
  ) as slice
  where (step.event_type_id = any (_valued_journeys.event_types) or _valued_journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and (_valued_journeys.people is null or step.person_id = any (_valued_journeys.people))
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and slice.before < slice.until;
end;
$$;

comment on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times, items and values of events of people in a period as of the last refresh, with the caller's rights.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `properties`: the declared
property of each of the types, null for none. `value_ids`: for these, as in `track.step_value`; else null.
A person and event type can have several rows, in each of which the times ascend.
$$;

grant execute on function analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
