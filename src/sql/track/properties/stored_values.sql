create or replace function track.stored_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns setof track.value_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_values.people, stored_values.first_days, stored_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  missing as materialized (
    select stale_property.person_id, stale_property.property_id
    from track.stale_property
    where stale_property.person_id = any (stored_values.people)
  ),

  placed as (
    select
      step.person_id, declared.property_id, step.occurred_at, step_value.value_ids,
      width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
    join track.declared_property as declared
      on declared.event_type_id = step.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(stored_values.of_property, declared.property_id)
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = declared.property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    where not exists (
      select 1
      from missing
      where missing.person_id = step.person_id
        and missing.property_id = declared.property_id
    )
  ),

  sliced as (
    select
      placed.person_id,
      placed.property_id,
      placed.occurred_at[placed.before + 1:placed.until] as occurred_at,
      placed.value_ids[placed.before + 1:placed.until] as value_ids
    from placed
    where placed.before < placed.until
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.property_id,
    coalesce(happened.value_id, 0),
    count(*)::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.value_ids) as happened (occurred_at, value_id)
  group by 1, 2, 3, 4;
end;
$$;

comment on function track.stored_values(bigint[], date[], date[], int) is $$
@behavior -*
Returns the events of people by value of the declared properties, as of the last refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `of_property` null: all properties. It is what `track.value_presence` contains.
$$;

grant execute on function track.stored_values(bigint[], date[], date[], int) to insights_reader, insights_admin;
