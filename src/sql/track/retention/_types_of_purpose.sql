create or replace function track._types_of_purpose(purpose text)
returns int[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select event_type.event_type_id
    from track.event_type
    left join track.event_type as merged on merged.event_type_id = event_type.merged_event_type_id
    where coalesce(merged.purpose, event_type.purpose) = _types_of_purpose.purpose
    order by event_type.event_type_id
  );
end;
$$;

comment on function track._types_of_purpose(text) is $$
Returns the event types of a purpose; those that are merged have the purpose of their target.
$$;
