create or replace function analytics.refresh_activity(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  with widened as (
    select
      changed.person_id,
      daterange((changed.since at time zone 'UTC')::date, (changed.until at time zone 'UTC')::date + 1) as days
    from unnest(refresh_activity.people, refresh_activity.since, refresh_activity.until)
      as changed (person_id, since, until)
  ),

  merged as (
    select person_id, unnest(range_agg(days)) as days
    from widened
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(days)), array_agg(upper(days))
  into v_people, v_first_days, v_end_days
  from merged;

  delete from analytics.activity
  using unnest(v_people, v_first_days, v_end_days) as period (person_id, first_day, end_day)
  where activity.person_id = period.person_id
    and activity.day >= period.first_day
    and activity.day < period.end_day;

  insert into analytics.activity (person_id, day, event_type_id, item_id, event_count, engaged, automatic_count)
  select
    computed.person_id, computed.day, computed.event_type_id, computed.item_id, computed.event_count, computed.engaged,
    computed.automatic_count
  from analytics._days_of_people(v_people, v_first_days, v_end_days) as computed;
end;
$$;

comment on function analytics.refresh_activity(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes the days of `analytics.activity` in the given periods of people. Called by `track.refresh`.
The result is the same as that of a computation from scratch.
$$;
