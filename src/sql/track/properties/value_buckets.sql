create or replace function track.value_buckets(event_type_id int, property text, bounds timestamptz[])
returns table (person_id bigint, bucket int, value text, event_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the queue.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_first_day constant date := (v_since at time zone 'UTC')::date;
  v_end_day constant date := (v_until at time zone 'UTC')::date + 1;
  v_property_id int;
  v_queued record;
begin
  if track.is_property_complete(value_buckets.event_type_id, value_buckets.property) is not true then
    return;
  end if;
  v_property_id := (
    select declared.property_id
    from track.declared_property as declared
    where declared.event_type_id = value_buckets.event_type_id
      and declared.property = value_buckets.property
  );
  v_queued := track.queued_days(v_first_day, v_end_day);

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', v_since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', v_until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  -- For a queued person: the events before and after the days that are queued.
  journey as (
    select step.person_id, step.occurred_at, step_value.value_ids, queued.since, queued.until
    from track.step
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = v_property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    left join queued on queued.person_id = step.person_id
    where step.event_type_id = value_buckets.event_type_id
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  counted as (
    select journey.person_id, placed.bucket, placed.value_id, placed.event_count
    from journey
    cross join lateral (
      select
        width_bucket(journey.since - interval '1 microsecond', journey.occurred_at) as queued_since,
        width_bucket(journey.until - interval '1 microsecond', journey.occurred_at) as queued_until,
        width_bucket(v_since - interval '1 microsecond', journey.occurred_at) as since,
        width_bucket(v_until - interval '1 microsecond', journey.occurred_at) as until
    ) as place
    cross join lateral (
      select
        width_bucket(happened.occurred_at, value_buckets.bounds) as bucket,
        coalesce(happened.value_id, 0) as value_id,
        count(*) as event_count
      from unnest(
        case
          when journey.since is null then journey.occurred_at[place.since + 1:place.until]
          else journey.occurred_at[place.since + 1:place.queued_since]
            || journey.occurred_at[place.queued_until + 1:place.until]
        end,
        case
          when journey.since is null then journey.value_ids[place.since + 1:place.until]
          else journey.value_ids[place.since + 1:place.queued_since]
            || journey.value_ids[place.queued_until + 1:place.until]
        end
      ) as happened (occurred_at, value_id)
      group by 1, 2
    ) as placed
    where place.since < place.until
  )

  select counted.person_id, counted.bucket, property_value.value, counted.event_count
  from counted
  left join track.property_value on property_value.value_id = counted.value_id

  union all

  select
    event.person_id, width_bucket(event.occurred_at, value_buckets.bounds),
    left(event.properties ->> value_buckets.property, 200), count(*)
  from queued
  join track.event
    on event.person_id = queued.person_id
    and event.occurred_at >= queued.since
    and event.occurred_at < queued.until
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and event.event_type_id = value_buckets.event_type_id
  group by 1, 2, 3;
end;
$$;

comment on function track.value_buckets(int, text, timestamptz[]) is $$
@behavior -*
Returns the numbers of events of a type per person, bucket and value of a declared property, exact as of now.
`bounds`: ascending bounds of the buckets, of any length; bucket n is from bound n to bound n + 1. A person may have
several rows of a bucket and value. Read from the journeys, also of people who are excluded. `value` null: none.
Without rows when the property is not declared or not complete: see `track.is_property_complete`. Read the events then.
$$;

grant execute on function track.value_buckets(int, text, timestamptz[]) to insights_reader, insights_admin;
