create or replace function track.merge_events(name text, target text, most_events int default 100000)
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
  v_target track.event_type;
begin
  perform common.check_count('most_events', merge_events.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_type := track._known_event_type(merge_events.name);
  v_target := track._known_event_type(
    merge_events.target, 'To give an event a name that is new, use track.rename_event.'
  );
  -- A repeated call continues with the events.
  if v_type.target_event_type_id = v_target.event_type_id then
    return track._apply_names(merge_events.most_events);
  end if;
  if v_type.event_type_id = coalesce(v_target.merged_event_type_id, v_target.event_type_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same event', left(merge_events.name, 100), left(merge_events.target, 100)),
      'Give two different events.'
    );
  end if;
  perform track._refuse_merged_event(v_type);
  if v_target.name in ('Segment Consent Preference Updated', 'Other Event') then
    perform common.refuse(
      'CF001',
      format('no event can be merged into "%s"', v_target.name),
      'The collection itself uses this name, for messages that it recognizes by their name.'
    );
  end if;
  select known.* into v_target
  from track.event_type as known
  where known.event_type_id = coalesce(v_target.merged_event_type_id, v_target.event_type_id);
  if v_type.purpose <> v_target.purpose then
    perform common.refuse(
      'CF001',
      format(
        'event "%s" has the purpose "%s", and "%s" the purpose "%s"',
        left(v_type.name, 100), v_type.purpose, left(v_target.name, 100), v_target.purpose
      ),
      'Give both the same purpose first (track.event_type.purpose): people have agreed to the purpose of each event.'
    );
  end if;

  perform track._point_event_type(
    v_type.event_type_id,
    (select known.event_type_id from track.event_type as known where known.name = merge_events.target)
  );
  perform track._log_name('event merged', merge_events.name, merge_events.target);
  return track._apply_names(merge_events.most_events);
end;
$$;

comment on function track.merge_events(text, text, int) is $$
Makes the event `name` a further name of the event `target`: its stored events and later messages become events of it.
Returns the number of stored events that this call changed, at most `most_events`. The others follow with the next calls
of `track.refresh` or of this function, which returns 0 when there are none left. Until then an event counts under one
of the two names. 0 leaves all of them to the refresh.
The properties of the target apply to all of these events: whether they open a page view, are heartbeats or automatic.
Both must have the same purpose. `target` may be a merged event: it then means what that one means, also after this is
undone for that one. Derived data follow with the next `track.refresh`.
Messages wait while the call runs: it reads the months of `track.event`, the latest first, until `most_events` are
changed. It fails (55P03) when it waits for others for more than 5 seconds. `track.unmerge_events` undoes it.
Errors: CF002 for an unknown event, CF001 for two names of the same event, for an event that was merged into another,
for names that the collection itself uses, for different purposes and for a negative `most_events`.
$$;

grant execute on function track.merge_events(text, text, int) to insights_admin;
