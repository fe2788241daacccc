create or replace function analytics._days_of_people(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int default null,
  with_engaged boolean default true
)
returns setof analytics.activity
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
  with viewed as materialized (
    select
      page_view.person_id, page_view.event_id, page_view.item_id, page_view.started_at, page_view.ended_at,
      page_view.engaged, page_view.is_continued
    from unnest(_days_of_people.people, _days_of_people.first_days, _days_of_people.end_days)
      as period (person_id, first_day, end_day)
    join track.session
      on session.person_id = period.person_id
      and session.ended_at >= period.first_day::timestamp at time zone 'UTC'
      and session.started_at < period.end_day::timestamp at time zone 'UTC'
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= period.first_day::timestamp at time zone 'UTC'
      and page_view.started_at < period.end_day::timestamp at time zone 'UTC'
    where _days_of_people.with_engaged
  ),

  counted as (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      event.event_type_id,
      event.item_id,
      count(*) as event_count,
      coalesce(sum(opened.engaged), '0') as engaged,
      count(*) filter (where event_type.is_automatic or source.is_automatic) as automatic_count
    from unnest(_days_of_people.people, _days_of_people.first_days, _days_of_people.end_days)
      as period (person_id, first_day, end_day)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.first_day::timestamp at time zone 'UTC'
      and event.occurred_at < period.end_day::timestamp at time zone 'UTC'
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    left join viewed as opened
      on opened.person_id = event.person_id
      and opened.event_id = event.event_id
      and not opened.is_continued
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and (_days_of_people.event_type_id is null or event.event_type_id = _days_of_people.event_type_id)
    group by 1, 2, 3, 4

    union all

    -- The item of a continued page view is often not that of its first heartbeat.
    select
      viewed.person_id,
      (viewed.started_at at time zone 'UTC')::date,
      event.event_type_id,
      viewed.item_id,
      0,
      viewed.engaged,
      0
    from viewed
    join track.event
      on event.person_id = viewed.person_id
      and event.occurred_at between viewed.started_at and viewed.ended_at
      and event.event_id = viewed.event_id
    where viewed.is_continued
      and (_days_of_people.event_type_id is null or event.event_type_id = _days_of_people.event_type_id)
  )

  select
    counted.person_id, counted.day, counted.event_type_id, counted.item_id, sum(counted.event_count)::int,
    sum(counted.engaged), sum(counted.automatic_count)::int
  from counted
  group by counted.person_id, counted.day, counted.event_type_id, counted.item_id;
end;
$$;

comment on function analytics._days_of_people(bigint[], date[], date[], int, boolean) is $$
Computes rows of `analytics.activity` from the events, for ranges of days of people.
Each position is a person, the first day, and the day after the last one. The ranges of a person must not overlap.
`event_type_id`: only this type; null: all. Without `with_engaged`, the engaged time is 0 and page views are not read.
The engaged time is that of the page views as of the last refresh of the sessions.
$$;

grant execute on function analytics._days_of_people(bigint[], date[], date[], int, boolean)
to insights_reader, insights_admin;
