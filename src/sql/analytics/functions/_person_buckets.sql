create or replace function analytics._person_buckets(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (person_id bigint, bucket int, event_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
set work_mem to '64MB'
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_first_day constant date := (v_since at time zone 'UTC')::date;
  v_end_day constant date := (v_until at time zone 'UTC')::date + 1;
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _person_buckets.item_id
  );
  v_people bigint[];
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day);
  -- Without other events and items there is less to plan, which takes as long as the journeys of some thousand people.
  if v_queued.people is null and _person_buckets.item_id is null then
    return query
    select happened.person_id, happened.bucket, count(*)
    from (
      select
        slice.person_id,
        width_bucket(unnest(slice.occurred_at[slice.before + 1:slice.until]), _person_buckets.bounds) as bucket
      from (
        select
          step.person_id, step.occurred_at,
          width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until
        from track.step
        where (
            step.event_type_id = _person_buckets.event_type_id
            or _person_buckets.event_type_id = 0 and not step.is_automatic
          )
          and step.since > v_first_day - 366
          and step.since < v_end_day
      ) as slice
      left join track.person_set_blocks('excluded') as excluded on excluded.block = slice.person_id / 4096
      where slice.before < slice.until
        and coalesce(get_bit(excluded.people, (slice.person_id % 4096)::int), 0) = 0
    ) as happened
    group by 1, 2;
    return;
  end if;

  if _person_buckets.item_id is not null then
    -- The journeys of the people of the item only.
    v_people := array(
      select distinct item_month.part::bigint * 32768 + listed.person
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
    );
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', v_since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', v_until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  journey as (
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where step.event_type_id = _person_buckets.event_type_id
      and v_people is null
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any event that is not automatic.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id = 0
      and v_people is null
      and not step.is_automatic
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any use of an item.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from unnest(v_people) as person (person_id)
    join track.step on step.person_id = person.person_id
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id in (0, step.event_type_id)
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  -- The events of the period, in two parts where those between them are queued.
  kept as (
    select
      journey.person_id,
      case
        when journey.since is null then journey.occurred_at[place.since + 1:place.until]
        else journey.occurred_at[place.since + 1:place.queued_since]
          || journey.occurred_at[place.queued_until + 1:place.until]
      end as occurred_at,
      case
        when v_people is null then null
        when journey.since is null then journey.item_ids[place.since + 1:place.until]
        else journey.item_ids[place.since + 1:place.queued_since]
          || journey.item_ids[place.queued_until + 1:place.until]
      end as item_ids
    from journey
    cross join lateral (
      select
        width_bucket(journey.since - interval '1 microsecond', journey.occurred_at) as queued_since,
        width_bucket(journey.until - interval '1 microsecond', journey.occurred_at) as queued_until,
        width_bucket(v_since - interval '1 microsecond', journey.occurred_at) as since,
        width_bucket(v_until - interval '1 microsecond', journey.occurred_at) as until
    ) as place
    left join track.person_set_blocks('excluded') as excluded on excluded.block = journey.person_id / 4096
    where place.since < place.until
      and coalesce(get_bit(excluded.people, (journey.person_id % 4096)::int), 0) = 0
  ),

  happened as (
    select
      kept.person_id, width_bucket(unnest(kept.occurred_at), _person_buckets.bounds) as bucket, 1 as event_count
    from kept
    where v_people is null

    union all

    select kept.person_id, width_bucket(used.occurred_at, _person_buckets.bounds), 1
    from kept
    cross join lateral unnest(kept.occurred_at, kept.item_ids) as used (occurred_at, item_id)
    where used.item_id = any (v_items)

    union all

    select event.person_id, width_bucket(event.occurred_at, _person_buckets.bounds), 1
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    left join track.person_set_blocks('excluded') as excluded on excluded.block = event.person_id / 4096
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and case
        when _person_buckets.event_type_id <> 0 then event.event_type_id = _person_buckets.event_type_id
        else _person_buckets.item_id is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_person_buckets.item_id is null or event.item_id = any (v_items) and event.person_id <> 0)
      and coalesce(get_bit(excluded.people, (event.person_id % 4096)::int), 0) = 0

    union all

    -- Page views of the item, also those that continue in a later session, without an event.
    select page_view.person_id, width_bucket(page_view.started_at, _person_buckets.bounds), 0
    from track.session
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
    left join track.person_set_blocks('excluded') as excluded on excluded.block = session.person_id / 4096
    where _person_buckets.event_type_id = 0
      and session.person_id = any (v_people)
      and session.ended_at >= v_since
      and session.started_at < v_until
      and session.view_continued is not null
      and page_view.item_id = any (v_items)
      and coalesce(get_bit(excluded.people, (session.person_id % 4096)::int), 0) = 0
  )

  select happened.person_id, happened.bucket, sum(happened.event_count)
  from happened
  group by 1, 2;
end;
$$;

comment on function analytics._person_buckets(int, timestamptz[], bigint) is $$
Returns the number of events per person and bucket, of people who are not excluded, with the privileges of the caller.
`bounds`: n + 1 ascending times, for the buckets 1 to n; the first one may be `-infinity`. `event_type_id` 0: any event
that is not automatic. `item_id`: events of the item and of what it contains; with `event_type_id` 0 any use, as in
`analytics.popular_items`: automatic events too, and a person who only continued to read a page has 0 events.
Read from the journeys, with the events of people who are queued for a refresh. Person 0 (anonymised events) is included
unless an item is given.
$$;

grant execute on function analytics._person_buckets(int, timestamptz[], bigint) to insights_reader;
