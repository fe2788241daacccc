create or replace function experiment._viewed_types(out named int, out stored int[])
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select
    min(event_type.event_type_id),
    array_agg(event_type.event_type_id) || array_remove(array_agg(event_type.merged_event_type_id), null)
  from track.event_type
  where event_type.name = 'Experiment Viewed';
$$;

comment on function experiment._viewed_types() is $$
Returns the event type "Experiment Viewed", and the types under which its events are stored.
$$;
