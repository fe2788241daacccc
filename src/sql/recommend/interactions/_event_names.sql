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
