/*
 * Values are joined to the stored journeys by time, item and rank among equal events, so that both lists have the same
 * positions, also when events were stored since the journeys were refreshed: their people are queued again.
 * Rows are grouped and not joined, so that the cost is linear regardless of the statistics.
 */
create or replace function track._refresh_step_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int
)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_has_new boolean;
  v_entered int[] := '{}';
begin
  -- Nothing is written if there are new values. They are rare, so that the events are read for them only then.
  for v_attempt in 1 .. 2 loop
    with period as materialized (
      select
        entry.person_id,
        entry.first_day,
        entry.end_day,
        entry.first_day::timestamp at time zone 'UTC' as since,
        entry.end_day::timestamp at time zone 'UTC' as until
      from unnest(_refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days)
        as entry (person_id, first_day, end_day)
    ),

    declared as materialized (
      select known.property_id, known.event_type_id, known.property
      from track.declared_property as known
      where known.is_queued
        and known.property_id = coalesce(_refresh_step_values.of_property, known.property_id)
    ),

    missing as materialized (
      select stale_property.person_id, stale_property.property_id
      from track.stale_property
      where stale_property.person_id = any (_refresh_step_values.people)
    ),

    placed as (
      select
        step.person_id, declared.property_id, step.is_automatic, step.since, step.occurred_at, step.item_ids,
        stored.value_ids as stored_ids,
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
      join declared on declared.event_type_id = step.event_type_id
      left join track.step_value as stored
        on stored.person_id = step.person_id
        and stored.property_id = declared.property_id
        and stored.is_automatic = step.is_automatic
        and stored.since = step.since
      where not exists (
        select 1
        from missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
    ),

    journey as materialized (
      select
        placed.person_id, placed.property_id, placed.is_automatic, placed.since, placed.stored_ids, placed.before,
        cardinality(placed.occurred_at) - placed.until as after,
        placed.occurred_at[placed.before + 1:placed.until] as occurred_at,
        placed.item_ids[placed.before + 1:placed.until] as item_ids
      from placed
    ),

    listed as (
      select
        journey.person_id, journey.property_id, journey.is_automatic, journey.since,
        entry.occurred_at, entry.item_id, entry.place, null as value
      from journey
      cross join lateral unnest(journey.occurred_at, journey.item_ids)
        with ordinality as entry (occurred_at, item_id, place)

      union all

      select
        event.person_id, declared.property_id, event_type.is_automatic or source.is_automatic,
        case
          when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
          else date_trunc('year', event.occurred_at at time zone 'UTC')::date
        end,
        event.occurred_at, coalesce(event.item_id, 0)::int, null,
        left(event.properties ->> declared.property, 200)
      from period
      join track.event
        on event.person_id = period.person_id
        and event.occurred_at >= period.since
        and event.occurred_at < period.until
      join declared on declared.event_type_id = event.event_type_id
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
    ),

    ranked as (
      select
        listed.*,
        row_number() over (
          partition by person_id, property_id, is_automatic, since, occurred_at, item_id, place is null
          order by place, value collate "C"
        ) as rank
      from listed
    ),

    matched as (
      select
        person_id, property_id, is_automatic, since, occurred_at, item_id, rank,
        max(place) as place, max(value collate "C") as value
      from ranked
      group by person_id, property_id, is_automatic, since, occurred_at, item_id, rank
      having max(place) is not null
    ),

    fresh as (
      select
        matched.person_id, matched.property_id, matched.is_automatic, matched.since,
        array_agg(coalesce(known.value_id, 0) order by matched.place) as value_ids,
        bool_or(matched.value is not null and known.value_id is null) as has_new
      from matched
      left join track.property_value as known
        on known.property_id = matched.property_id and known.value = matched.value
      group by matched.person_id, matched.property_id, matched.is_automatic, matched.since
    ),

    found as materialized (
      select coalesce(bool_or(fresh.has_new), false) as has_new from fresh
    ),

    -- The stored values before and after the period are kept.
    merged as (
      select
        person_id, property_id, is_automatic, since, journey.stored_ids,
        coalesce(journey.stored_ids[:journey.before], array_fill(0, array[journey.before]))
          || coalesce(fresh.value_ids, '{}')
          || coalesce(
            journey.stored_ids[cardinality(journey.stored_ids) - journey.after + 1:],
            array_fill(0, array[journey.after])
          ) as value_ids
      from journey
      full join fresh using (person_id, property_id, is_automatic, since)
    ),

    deleted as (
      delete from track.step_value
      using merged, found
      where (v_attempt = 2 or not found.has_new)
        and merged.stored_ids is not null
        and 0 = all (merged.value_ids)
        and step_value.person_id = merged.person_id
        and step_value.property_id = merged.property_id
        and step_value.is_automatic = merged.is_automatic
        and step_value.since = merged.since
    ),

    written as (
      insert into track.step_value (person_id, property_id, is_automatic, since, value_ids)
      select merged.person_id, merged.property_id, merged.is_automatic, merged.since, merged.value_ids
      from merged
      cross join found
      where (v_attempt = 2 or not found.has_new)
        and not 0 = all (merged.value_ids)
        and merged.value_ids is distinct from merged.stored_ids
      on conflict on constraint step_value_pkey do update
      set value_ids = excluded.value_ids
    )

    select found.has_new into v_has_new from found;

    exit when v_attempt = 2 or not v_has_new;
    v_entered := track._enter_values(people, first_days, end_days, of_property);
  end loop;

  -- Those of journeys that are no longer there.
  delete from track.step_value
  using
    unnest(
      _refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days
    ) as period (person_id, first_day, end_day),
    track.declared_property as declared
  where step_value.person_id = period.person_id
    and step_value.since > period.first_day - 366
    and step_value.since < period.end_day
    and declared.property_id = step_value.property_id
    and declared.property_id = coalesce(_refresh_step_values.of_property, declared.property_id)
    and not exists (
      select 1
      from track.step
      where step.person_id = step_value.person_id
        and step.event_type_id = declared.event_type_id
        and step.is_automatic = step_value.is_automatic
        and step.since = step_value.since
    );
  return v_entered;
end;
$$;

comment on function track._refresh_step_values(bigint[], date[], date[], int) is $$
Recomputes the rows of `track.step_value` in the given days (UTC) of people, after their rows of `track.step`.
Each position is a person, the first day, and the day after the last one. `of_property` null: all declared properties.
Adds new values to `track.property_value`, and returns their keys.
$$;
