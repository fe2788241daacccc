create or replace function track.rename_event(name text, new_name text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_type track.event_type;
  v_known track.event_type;
  v_new_id int;
begin
  perform common.check_count('most_events', rename_event.most_events, 0, 2147483647);
  if coalesce(rename_event.new_name, '') = '' then
    perform common.refuse(
      'CF001',
      format('new_name is %s', case rename_event.new_name when '' then 'empty' else 'null' end),
      'Give the new name of the event.'
    );
  end if;
  if length(rename_event.new_name) > 200 then
    perform common.refuse('CF008', format('new_name has %s characters', length(rename_event.new_name)),
      'The name of an event has 200 at most.');
  end if;
  perform track._begin_naming();
  v_type := track._known_event_type(rename_event.name);
  select known.* into v_known from track.event_type as known where known.name = rename_event.new_name;
  -- A repeated call continues with the events.
  if v_known.former_event_type_id = v_type.event_type_id
    and v_type.target_event_type_id = v_known.event_type_id
  then
    return track._apply_names(rename_event.most_events);
  end if;
  if v_known.event_type_id is not null then
    perform common.refuse(
      'CF001',
      format('there is an event "%s"', left(rename_event.new_name, 100)),
      case
        when v_known.target_event_type_id = v_type.event_type_id
          then 'It was merged into this one: to undo that, use track.unmerge_events.'
        else 'Merge the two: track.merge_events.'
      end
    );
  end if;
  perform track._refuse_merged_event(v_type);

  insert into track.event_type (
    name, purpose, opens_view, is_heartbeat, description, is_automatic, former_event_type_id, allowed_properties
  )
  values (
    rename_event.new_name, v_type.purpose, v_type.opens_view, v_type.is_heartbeat, v_type.description,
    v_type.is_automatic, v_type.event_type_id, v_type.allowed_properties
  )
  returning event_type.event_type_id into v_new_id;
  perform track._point_event_type(v_type.event_type_id, v_new_id);
  perform track._log_name('event renamed', rename_event.name, rename_event.new_name);
  return track._apply_names(rename_event.most_events);
end;
$$;

comment on function track.rename_event(text, text, int) is $$
Renames the event `name`. Messages with the old name and with the new one belong to the same event afterwards.
A new event type gets the new name and the properties of the old one, which is merged into it: see
`track.merge_events`, also for `most_events` and the result. Settings of the old name, such as those of
`recommend.event_weight`, apply to the new one. `track.unmerge_events(name)` undoes it: events that were sent with the
old name get it back, and those that were sent with the new name keep that.
Errors: CF002 for an unknown event, CF001 for a new name that exists or is empty, for an event that was merged into
another, for names that the collection itself uses and for a negative `most_events`, CF008 for a name of more than 200
characters.
$$;

grant execute on function track.rename_event(text, text, int) to insights_admin;
