create or replace function track.disallow_properties(event_name text, properties text[])
returns text[]
language plpgsql
volatile
-- A definer: no role may write the list.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
begin
  return track._change_allowed(
    disallow_properties.event_name, null, track._checked_names(disallow_properties.properties, 'properties')
  );
end;
$$;

comment on function track.disallow_properties(text, text[]) is $$
Removes properties from the allow-list of an event, and returns the list. It reverses `track.allow_properties`.
Later messages are stored without them; stored events follow by `track.apply_allow_lists`, which cannot be undone.
Errors: CF002 for an unknown event, CF001 for an event without a list, null and an invalid name, CF008 for more than
1000 names.
$$;

grant execute on function track.disallow_properties(text, text[]) to insights_admin;
