create or replace function recommend._interactions_of(people bigint[])
returns setof recommend.interaction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
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
    join track.event_type using (event_type_id)
    join recommend.event_weight on event_weight.event = event_type.name
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
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

comment on function recommend._interactions_of(bigint[]) is $$
Computes the interactions of the given people from their events.
The result is the same as the rows of `recommend.interaction` after a refresh.
$$;

grant execute on function recommend._interactions_of(bigint[]) to insights_reader, insights_learner;
