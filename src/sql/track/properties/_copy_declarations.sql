create or replace function track._copy_declarations()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.declared_property (event_type_id, property, most_values)
  select event_type.merged_event_type_id, declared.property, max(declared.most_values)
  from track.declared_property as declared
  join track.event_type on event_type.event_type_id = declared.event_type_id
  where event_type.merged_event_type_id is not null
  group by event_type.merged_event_type_id, declared.property
  on conflict on constraint declared_property_event_type_id_property_key do nothing;
end;
$$;

comment on function track._copy_declarations() is $$
Declares the properties of merged event types for their targets too, after a change of names.
$$;
