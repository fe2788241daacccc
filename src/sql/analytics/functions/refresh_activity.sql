create or replace function analytics.refresh_activity(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  -- Whole days, as half-open ranges.
  with widened as (
    select
      changed.person_id,
      tstzrange(
        date_trunc('day', changed.since at time zone 'UTC') at time zone 'UTC',
        (date_trunc('day', changed.until at time zone 'UTC') + interval '1 day') at time zone 'UTC'
      ) as period
    from unnest(refresh_activity.people, refresh_activity.since, refresh_activity.until)
      as changed (person_id, since, until)
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from widened
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  delete from analytics.activity
  using unnest(v_people, v_since, v_until) as period (person_id, since, until)
  where activity.person_id = period.person_id
    and activity.day >= (period.since at time zone 'UTC')::date
    and activity.day < (period.until at time zone 'UTC')::date;

  with counted as (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      event.event_type_id,
      event.item_id,
      count(*) as event_count,
      -- An index lookup per event, not a join, which might read all page views.
      coalesce(
        sum((
          select page_view.engaged
          from track.page_view
          where page_view.person_id = event.person_id
            and page_view.event_id = event.event_id
            and not page_view.is_continued
        )),
        '0'
      ) as engaged,
      count(*) filter (where event_type.is_automatic or source.is_automatic) as automatic_count
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    group by 1, 2, 3, 4

    union all

    -- The item of a continued page view is often not that of its first heartbeat.
    select
      page_view.person_id,
      (page_view.started_at at time zone 'UTC')::date,
      event.event_type_id,
      page_view.item_id,
      0,
      page_view.engaged,
      0
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    join track.page_view
      on page_view.is_continued
      and page_view.person_id = period.person_id
      and page_view.started_at >= period.since
      and page_view.started_at < period.until
    join track.event
      on event.person_id = page_view.person_id
      and event.occurred_at between page_view.started_at and page_view.ended_at
      and event.event_id = page_view.event_id
  )

  insert into analytics.activity (person_id, day, event_type_id, item_id, event_count, engaged, automatic_count)
  select person_id, day, event_type_id, item_id, sum(event_count), sum(engaged), sum(automatic_count)
  from counted
  group by person_id, day, event_type_id, item_id;
end;
$$;

comment on function analytics.refresh_activity(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes the days of `analytics.activity` in the given periods of people. Called by `track.refresh`.
The result is the same as that of a computation from scratch.
$$;
