create or replace function recommend._event_types_named(name text)
returns int[]
language sql
stable
parallel safe
begin atomic
  with recursive renamed as (
    select event_type.event_type_id
    from track.event_type
    where event_type.name = _event_types_named.name

    union

    select event_type.event_type_id
    from renamed
    join track.event_type on event_type.former_event_type_id = renamed.event_type_id
  )

  select coalesce(array_agg(event_type.event_type_id), '{}')
  from track.event_type
  where event_type.event_type_id in (select renamed.event_type_id from renamed)
    or event_type.merged_event_type_id in (select renamed.event_type_id from renamed);
end;

comment on function recommend._event_types_named(text) is $$
@behavior -*
Returns the event types of messages that mean the event of a name.
The one of this name, those to which it was renamed, and those that were merged into one of them.
$$;

grant execute on function recommend._event_types_named(text) to insights_reader, insights_learner;
