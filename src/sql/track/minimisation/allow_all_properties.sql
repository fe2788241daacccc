create or replace function track.allow_all_properties(event_name text)
returns boolean
language plpgsql
volatile
-- A definer: no role may write the list.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_type constant track.event_type := track._known_event_type(allow_all_properties.event_name);
begin
  perform track._begin_allowing();
  update track.event_type
  set allowed_properties = null
  where event_type.event_type_id = coalesce(v_type.merged_event_type_id, v_type.event_type_id)
    and event_type.allowed_properties is not null;
  return found;
end;
$$;

comment on function track.allow_all_properties(text) is $$
Removes the allow-list of an event: all properties of later messages are stored. False when it had none.
What was dropped before is lost. Errors: CF002 for an unknown event.
$$;

grant execute on function track.allow_all_properties(text) to insights_admin;
