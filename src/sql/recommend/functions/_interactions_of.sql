create or replace function recommend._event_names(out event_type_ids int[], out events text[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A weight of the name that a type has now, or else of one that it had before.
  with recursive former as (
    select event_type.event_type_id, event_type.name, event_type.former_event_type_id, 0 as depth
    from track.event_type

    union all

    select former.event_type_id, event_type.name, event_type.former_event_type_id, former.depth + 1
    from former
    join track.event_type on event_type.event_type_id = former.former_event_type_id
  ),

  weighed as (
    select distinct on (former.event_type_id) former.event_type_id, event_weight.event
    from former
    join recommend.event_weight on event_weight.event = former.name
    order by former.event_type_id, former.depth
  ),

  -- Of a merged name: the weight of its target, or else its own.
  named as (
    select named.event_type_id, coalesce(target.event, own.event) as event
    from track.event_type as named
    left join weighed as target on target.event_type_id = named.merged_event_type_id
    left join weighed as own on own.event_type_id = named.event_type_id
  )

  select array_agg(named.event_type_id), array_agg(named.event)
  into _event_names.event_type_ids, _event_names.events
  from named
  where named.event is not null;
end;
$$;

comment on function recommend._event_names() is $$
@behavior -queryField
Returns the event types of messages, with the row of `recommend.event_weight` that applies to events of this name.
$$;

grant execute on function recommend._event_names() to insights_reader, insights_learner;

create or replace function recommend._interactions_of(people bigint[], until timestamptz default 'infinity')
returns setof recommend.interaction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights constant record := recommend._event_names();
begin
  return query
  with counted as (
    select
      event.person_id,
      event.item_id,
      event_weight.weight * least(count(*), event_weight.most_counted) as weight,
      count(*) as event_count,
      min(event.occurred_at) as first_at,
      max(event.occurred_at) as last_at,
      max(event.occurred_at) filter (where event_weight.completes) as completed_at,
      max(event.occurred_at) filter (where event_weight.dismisses) as dismissed_at
    from track.event
    join unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
      on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    join recommend.event_weight on event_weight.event = named.event
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
      and event.occurred_at < _interactions_of.until
      and event.item_id is not null
    group by event.person_id, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  )

  select
    counted.person_id,
    counted.item_id,
    sum(counted.weight)::real,
    sum(counted.event_count)::int,
    min(counted.first_at),
    max(counted.last_at),
    max(counted.completed_at),
    max(counted.dismissed_at)
  from counted
  group by counted.person_id, counted.item_id;
end;
$$;

comment on function recommend._interactions_of(bigint[], timestamptz) is $$
Computes the interactions of the given people from their events.
The result is the same as the rows of `recommend.interaction` after a refresh. Events from `until` on do not count.
$$;

grant execute on function recommend._interactions_of(bigint[], timestamptz) to insights_reader, insights_learner;
