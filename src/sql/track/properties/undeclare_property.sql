create or replace function track.undeclare_property(event_name text, property text)
returns boolean
language plpgsql
volatile
-- A definer: it deletes from tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_type constant track.event_type := track._known_event_type(undeclare_property.event_name);
  v_type_id constant int := coalesce(v_type.merged_event_type_id, v_type.event_type_id);
  v_properties int[];
begin
  -- A refresh would write further values.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- Those of the names that were merged into it too, because the next merge would copy them.
  v_properties := array(
    select declared.property_id
    from track.declared_property as declared
    join track.event_type as known on known.event_type_id = declared.event_type_id
    where declared.property = undeclare_property.property
      and v_type_id in (known.event_type_id, known.merged_event_type_id)
  );
  if v_properties = '{}' then
    return false;
  end if;
  delete from track.stale_property where stale_property.property_id = any (v_properties);
  delete from track.step_value where step_value.property_id = any (v_properties);
  delete from track.value_presence where value_presence.property_id = any (v_properties);
  delete from track.property_value where property_value.property_id = any (v_properties);
  delete from track.declared_property where declared_property.property_id = any (v_properties);
  return true;
end;
$$;

comment on function track.undeclare_property(text, text) is $$
Reverses `track.declare_property` and removes what is stored of the values. False when the property was not declared.
Analyses by it read the events from then on. It waits for a running refresh.
Errors: CF002 for an unknown event.
$$;

grant execute on function track.undeclare_property(text, text) to insights_admin;
