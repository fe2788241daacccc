create or replace function track.event_values(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int,
  property text
)
returns table (person_id bigint, day date, value text, event_count int)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(listed) from unnest(first_days) as listed)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(listed) from unnest(end_days) as listed)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(event_values.people, event_values.first_days, event_values.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    left(event.properties ->> event_values.property, 200),
    count(*)::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and event.event_type_id = event_values.event_type_id
  group by 1, 2, 3;
end;
$$;

comment on function track.event_values(bigint[], date[], date[], int, text) is $$
@behavior -*
Returns the events of a type of people by value of a property, computed from the events.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. A value is a text of at most 200 characters, or null, as in `track.property_value`.
$$;

grant execute on function track.event_values(bigint[], date[], date[], int, text) to insights_reader, insights_admin;
