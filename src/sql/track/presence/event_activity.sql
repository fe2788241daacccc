create or replace function track.event_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_types int[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
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
    from unnest(event_activity.people, event_activity.first_days, event_activity.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (event_activity.event_types is null or event.event_type_id = any (event_activity.event_types))
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.page_view
    on page_view.person_id = period.person_id
    and page_view.session_ended_at >= period.since
    and page_view.session_started_at < period.until
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  where event_activity.event_types is null
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    and exists (
      select 1
      from track.event
      where event.person_id = page_view.person_id
        and event.occurred_at between page_view.started_at and page_view.ended_at
        and event.event_id = page_view.event_id
    )
  group by 1, 2, 4;
end;
$$;

comment on function track.event_activity(bigint[], date[], date[], int[]) is $$
@behavior -*
Returns the activity of people, computed from their events: what `track.stored_activity` returns after a refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `event_types`: only events of these types, without page views; null: everything.
The page views, with their engaged time, are those of the last refresh of the sessions.
$$;

grant execute on function track.event_activity(bigint[], date[], date[], int[]) to insights_reader, insights_admin;
