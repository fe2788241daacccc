create or replace function analytics._event_type_id(event_name text)
returns int
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_event_type_id int;
  v_names text[];
begin
  if _event_type_id.event_name is null then
    return 0;
  end if;
  if length(_event_type_id.event_name) > 200 then
    perform common.refuse(
      'CF008',
      format('event_name has %s characters', length(_event_type_id.event_name)),
      'The name of an event has 200 at most.'
    );
  end if;
  select coalesce(event_type.merged_event_type_id, event_type.event_type_id) into v_event_type_id
  from track.event_type
  where event_type.name = _event_type_id.event_name;
  if v_event_type_id is null then
    v_names := array(select event_type.name from track.event_type order by event_type.name);
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_event_type_id.event_name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(_event_type_id.event_name, v_names) || '"?',
        'The names are those of track.event_type, such as "' || v_names[1] || '".',
        'There are no events yet.'
      )
    );
  end if;
  return v_event_type_id;
end;
$$;

comment on function analytics._event_type_id(text) is $$
Returns the event type that a name means, after merges; 0 for null: any event that is not automatic.
Errors: CF002 for an unknown name (with the nearest one), CF008 for a name of more than 200 characters.
$$;

grant execute on function analytics._event_type_id(text) to insights_reader;
