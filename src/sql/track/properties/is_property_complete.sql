create or replace function track.is_property_complete(event_type_id int, property text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select
      declared.is_queued
        and not exists (
          select from track.stale_property where stale_property.property_id = declared.property_id
        )
    from track.declared_property as declared
    where declared.event_type_id = is_property_complete.event_type_id
      and declared.property = is_property_complete.property
  );
end;
$$;

comment on function track.is_property_complete(int, text) is $$
@behavior -*
Returns whether the values of a declared property are stored for all people, so that `track.value_days` has rows.
Null when the property is not declared for the event type. `event_type_id`: not that of a merged event.
$$;

grant execute on function track.is_property_complete(int, text) to insights_reader, insights_admin, insights_worker;
