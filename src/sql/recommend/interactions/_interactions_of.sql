create or replace function recommend._interactions_of(
  people bigint[],
  items bigint[] default null,
  since timestamptz default '-infinity',
  until timestamptz default 'infinity'
)
returns table (
  person_id bigint,
  item_id bigint,
  weight real,
  event_count int,
  first_at timestamptz,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  identity_id bigint,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
set plan_cache_mode to force_generic_plan
as $$
declare
  v_weights constant record := recommend._event_names();
  v_full_weight constant real := (select full_weight from recommend.setting);
begin
  return query
  with named as materialized (
    select
      named.event_type_id,
      event_weight.*,
      event_weight.dismisses_topic or event_weight.withdraws as is_topical
    from unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
    join recommend.event_weight using (event)
  ),

  -- By identity, so that the identity of the first event is known without comparing all events again.
  counted as (
    select
      event.person_id,
      case when topical.topic is null then event.item_id end as item_id,
      topical.topic,
      event.identity_id,
      named.event,
      count(*) as event_count,
      min(event.occurred_at) as first_at,
      max(event.occurred_at) as last_at,
      -- The latest preference: by time, then by the order of events of the same time.
      max(
        (
          to_char(event.occurred_at at time zone 'UTC', 'YYYYMMDDHH24MISSUS') || event.event_id
            || coalesce(named.liking, recommend._rating_to_liking(
              (event.properties ->> named.value_property)::float8, named.value_from, named.value_to
            ))
        ) collate "C"
      ) filter (where named.liking is not null or jsonb_typeof(event.properties -> named.value_property) = 'number')
        as liked,
      max(event.occurred_at) filter (
        where named.liking is not null or jsonb_typeof(event.properties -> named.value_property) = 'number'
      ) as liked_at
    from track.event
    join named on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    cross join lateral (
      select case when named.is_topical then left(nullif(event.properties ->> 'topic', ''), 500) end
    ) as topical (topic)
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
      and event.occurred_at >= _interactions_of.since
      and event.occurred_at < _interactions_of.until
      and (
        topical.topic is not null
        or event.item_id = any (_interactions_of.items)
        or _interactions_of.items is null and event.item_id is not null
      )
    group by event.person_id, 2, topical.topic, event.identity_id, named.event
  ),

  limited as (
    select
      counted.person_id,
      counted.item_id,
      counted.topic,
      counted.event,
      sum(counted.event_count) as event_count,
      min(counted.first_at) as first_at,
      max(counted.last_at) as last_at,
      max(counted.liked) as liked,
      max(counted.liked_at) as liked_at,
      (array_agg(counted.identity_id order by counted.first_at, counted.identity_id))[1] as identity_id
    from counted
    group by counted.person_id, counted.item_id, counted.topic, counted.event
  ),

  total as (
    select
      limited.person_id,
      limited.item_id,
      sum(event_weight.weight * least(limited.event_count, event_weight.most_counted))::real as weight,
      sum(limited.event_count)::int as event_count,
      min(limited.first_at) as first_at,
      max(limited.last_at) as last_at,
      max(limited.last_at) filter (where event_weight.completes) as completed_at,
      max(limited.last_at) filter (where event_weight.dismisses) as dismissed_at,
      (array_agg(limited.identity_id order by limited.first_at, limited.identity_id))[1] as identity_id,
      max(limited.last_at) filter (where event_weight.drops) as dropped_at,
      max(limited.last_at) filter (where event_weight.weight >= v_full_weight) as resumed_at,
      max(limited.liked) as liked,
      max(limited.liked_at) as liked_at,
      max(limited.last_at) filter (where event_weight.marks_known) as known_at,
      max(limited.last_at) filter (where event_weight.dismisses_topic) as topic_dismissed_at,
      max(limited.last_at) filter (where event_weight.withdraws) as withdrawn_at,
      limited.topic
    from limited
    join recommend.event_weight using (event)
    group by limited.person_id, limited.item_id, limited.topic
  )

  select
    total.person_id, total.item_id, total.weight, total.event_count, total.first_at, total.last_at,
    total.completed_at, total.dismissed_at, total.identity_id, total.dropped_at, total.resumed_at,
    substr(total.liked, 57)::real, total.liked_at,
    total.known_at, total.topic_dismissed_at, total.withdrawn_at, total.topic
  from total;
end;
$$;

comment on function recommend._interactions_of(bigint[], bigint[], timestamptz, timestamptz) is $$
@behavior -*
Computes the interactions of the given people from their events.
The rows with an item are the same as those of `recommend.interaction` after a refresh. Those with a topic and no item
are from events that dismiss a topic by its name, or withdraw the dismissal. `items` restricts the result to these items
and all topics; null: all items. Only the events from `since` until before `until` count.
$$;

grant execute on function recommend._interactions_of(bigint[], bigint[], timestamptz, timestamptz)
to insights_reader, insights_learner;
