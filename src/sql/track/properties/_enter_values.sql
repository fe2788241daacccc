create or replace function track._enter_values(people bigint[], first_days date[], end_days date[], of_property int)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_entered int[];
begin
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(_enter_values.people, _enter_values.first_days, _enter_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  found as (
    select distinct
      declared.property_id,
      left(event.properties ->> declared.property, 200) as value
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.declared_property as declared
      on declared.event_type_id = event.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(_enter_values.of_property, declared.property_id)
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  entered as (
    insert into track.property_value (property_id, value)
    select found.property_id, found.value
    from found
    where found.value is not null
      and not exists (
        select 1
        from track.property_value as known
        where known.property_id = found.property_id
          and known.value = found.value
      )
    order by found.property_id, found.value collate "C"
    returning property_value.value_id
  )

  select coalesce(array_agg(entered.value_id), '{}') into v_entered from entered;
  return v_entered;
end;
$$;

comment on function track._enter_values(bigint[], date[], date[], int) is $$
Adds the values of events of people that are not in `track.property_value` yet. Returns the keys of these values.
$$;
