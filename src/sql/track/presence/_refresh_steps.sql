create or replace function track._refresh_steps(people bigint[], first_days date[], end_days date[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(_refresh_steps.people, _refresh_steps.first_days, _refresh_steps.end_days)
      as entry (person_id, first_day, end_day)
  ),

  happened as (
    select
      event.person_id,
      event.event_type_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      event.occurred_at,
      coalesce(event.item_id, 0)::int as item_id
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  fresh as (
    select
      happened.person_id, happened.event_type_id, happened.is_automatic, happened.since,
      array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id) as occurred_at,
      array_agg(happened.item_id order by happened.occurred_at, happened.item_id) as item_ids
    from happened
    group by happened.person_id, happened.event_type_id, happened.is_automatic, happened.since
  ),

  -- The stored events before and after the period are kept.
  stored as (
    select
      step.*,
      width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
  ),

  merged as (
    select
      person_id, event_type_id, is_automatic, since,
      stored.occurred_at as stored_at,
      stored.item_ids as stored_ids,
      coalesce(stored.occurred_at[:stored.before], '{}') || coalesce(fresh.occurred_at, '{}')
        || coalesce(stored.occurred_at[stored.until + 1:], '{}') as occurred_at,
      coalesce(stored.item_ids[:stored.before], '{}') || coalesce(fresh.item_ids, '{}')
        || coalesce(stored.item_ids[stored.until + 1:], '{}') as item_ids
    from stored
    full join fresh using (person_id, event_type_id, is_automatic, since)
  ),

  deleted as (
    delete from track.step
    using merged
    where merged.occurred_at = '{}'
      and step.person_id = merged.person_id
      and step.event_type_id = merged.event_type_id
      and step.is_automatic = merged.is_automatic
      and step.since = merged.since
  )

  insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
  select
    merged.person_id, merged.event_type_id, merged.is_automatic, merged.since, merged.occurred_at, merged.item_ids
  from merged
  where merged.occurred_at <> '{}'
    and (merged.occurred_at, merged.item_ids) is distinct from (merged.stored_at, merged.stored_ids)
  on conflict on constraint step_pkey do update
  set occurred_at = excluded.occurred_at, item_ids = excluded.item_ids;
end;
$$;

comment on function track._refresh_steps(bigint[], date[], date[]) is $$
Recomputes the rows of `track.step` in the given days (UTC) of people, one range per person.
Each position is a person, the first day, and the day after the last one. Reads only the events of these days.
$$;
