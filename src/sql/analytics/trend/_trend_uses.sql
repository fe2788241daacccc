create or replace function analytics._trend_uses(
  event_type_id int, bounds timestamptz[], of_item_id bigint, breakdown text
)
returns table (person_id bigint, bucket int, value text, event_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_kind constant text := split_part(breakdown, '.', 1);
  v_name constant text := substr(breakdown, length(v_kind) + 2);
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_uses.of_item_id
  );
begin
  if v_kind = 'property'
    and _trend_uses.of_item_id is null
    and track.is_property_complete(_trend_uses.event_type_id, v_name)
  then
    return query
    select declared.person_id, declared.bucket, declared.value, declared.event_count, null::interval
    from track.value_buckets(_trend_uses.event_type_id, v_name, _trend_uses.bounds) as declared
    left join track.person_set_blocks('excluded') as excluded on excluded.block = declared.person_id / 4096
    where coalesce(get_bit(excluded.people, (declared.person_id % 4096)::int), 0) = 0;
  elsif v_kind in ('item', 'property', 'trait_then') then
    return query
    with history as materialized (
      select changes.person_id, changes.set_at, changes.value
      from track.trait_changes(null, v_name) as changes
      where v_kind = 'trait_then'
    ),

    excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    happened as (
      select
        event.person_id,
        width_bucket(event.occurred_at, _trend_uses.bounds) as bucket,
        case when v_kind = 'item' then event.item_id end as item_id,
        left(
          case v_kind
            when 'property' then event.properties ->> v_name
            when 'trait_then' then history.value[width_bucket(event.occurred_at, history.set_at)] #>> '{}'
          end,
          200
        ) as value,
        count(*) as event_count
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      left join history on history.person_id = event.person_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
        and case
          when _trend_uses.event_type_id <> 0 then event.event_type_id = _trend_uses.event_type_id
          else _trend_uses.of_item_id is not null or not (event_type.is_automatic or source.is_automatic)
        end
        and (_trend_uses.of_item_id is null or event.item_id = any (v_items))
      group by 1, 2, 3, 4
    )

    select
      happened.person_id, happened.bucket,
      case when v_kind = 'item' then item.external_id else happened.value end,
      happened.event_count, null::interval
    from happened
    left join track.item on item.item_id = happened.item_id
    left join excluded on excluded.block = happened.person_id / 4096
    where coalesce(get_bit(excluded.people, (happened.person_id % 4096)::int), 0) = 0;
  else
    return query
    select person_bucket.person_id, person_bucket.bucket, null::text, person_bucket.event_count, null::interval
    from analytics._person_buckets(
      _trend_uses.event_type_id, _trend_uses.bounds, _trend_uses.of_item_id
    ) as person_bucket;
  end if;

  -- Time is spent in items, not in events of one type, and a page view has no property.
  if _trend_uses.event_type_id <> 0 or v_kind = 'property' then
    return;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  history as materialized (
    select changes.person_id, changes.set_at, changes.value
    from track.trait_changes(null, v_name) as changes
    where v_kind = 'trait_then'
  ),

  queued as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1) as queued_days
    cross join lateral unnest(queued_days.people, queued_days.first_days, queued_days.end_days)
      as entry (person_id, first_day, end_day)
  ),

  viewed as (
    select page_view.*
    from track.page_view
    join counted
      on counted.block = page_view.person_id / 4096
      and get_bit(counted.people, (page_view.person_id % 4096)::int) <> 0
    where page_view.session_ended_at >= v_since
      and page_view.session_started_at < v_until
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
      and page_view.item_id is not null
      and (_trend_uses.of_item_id is null or page_view.item_id = any (v_items))
  )

  select
    spent.person_id, spent.bucket, coalesce(item.external_id, spent.value), 0::bigint, spent.engaged
  from (
    select
      viewed.person_id, width_bucket(viewed.started_at, _trend_uses.bounds) as bucket,
      case when v_kind = 'item' then viewed.item_id end as item_id,
      left(history.value[width_bucket(viewed.started_at, history.set_at)] #>> '{}', 200) as value,
      sum(viewed.engaged) as engaged
    from viewed
    left join history on history.person_id = viewed.person_id
    left join queued
      on queued.person_id = viewed.person_id
      and viewed.started_at >= queued.since
      and viewed.started_at < queued.until
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    where queued.person_id is null
      or exists (
        select 1
        from track.event
        where event.person_id = viewed.person_id
          and event.occurred_at between viewed.started_at and viewed.ended_at
          and event.event_id = viewed.event_id
      )
    group by 1, 2, 3, 4
  ) as spent
  left join track.item on item.item_id = spent.item_id;
end;
$$;

comment on function analytics._trend_uses(int, timestamptz[], bigint, text) is $$
Returns the numbers of events per person, bucket and value of a breakdown, with the privileges of the caller.
`event_type_id`, `bounds` and `of_item_id` are those of `analytics._person_buckets`. `breakdown`: `item`,
`property.<name>` or `trait_then.<name>`, read from the events: the external id of the item of an event, the text of its
property, or that of the trait of the person at this time, of which the first 200 characters distinguish values; other
breakdowns are not values of events, and leave `value` null. Declared properties (`track.declare_property`) are read
from the journeys.
Engaged times are rows of their own, without events: those of page views of counted people; none for one event type, and
none by property.
$$;

grant execute on function analytics._trend_uses(int, timestamptz[], bigint, text) to insights_reader;
