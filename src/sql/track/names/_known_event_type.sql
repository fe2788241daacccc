create or replace function track._known_event_type(
  name text,
  hint text default 'Give the name of an event, as in track.event_type.'
)
returns track.event_type
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type track.event_type;
begin
  select event_type.* into v_type from track.event_type where event_type.name = _known_event_type.name;
  if v_type.event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', coalesce(left(_known_event_type.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _known_event_type.name, (select array_agg(event_type.name) from track.event_type)
        ) || '"? ',
        ''
      ) || _known_event_type.hint
    );
  end if;
  return v_type;
end;
$$;

comment on function track._known_event_type(text, text) is $$
Returns the event type of a name, also of a merged one. Raises CF002 with the nearest name for an unknown one.
$$;
