create or replace function track.unmerge_events(name text, most_events int default 100000)
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
  v_names text;
begin
  perform common.check_count('most_events', unmerge_events.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_type := track._known_event_type(unmerge_events.name);
  if v_type.target_event_type_id is null then
    select string_agg(format('"%s"', left(known.name, 100)), ', ' order by known.name)
    into v_names
    from (
      select merged.name
      from track.event_type as merged
      where merged.target_event_type_id = v_type.event_type_id
      order by merged.name
      limit 10
    ) as known;
    perform common.refuse(
      'CF001',
      format('event "%s" is not merged', left(unmerge_events.name, 100)),
      coalesce(
        'Give a name that was merged into it: ' || v_names || '.',
        'No event was merged into it either. The log of changed names is track.name_log.'
      )
    );
  end if;
  perform track._log_name('event unmerged', unmerge_events.name, (
    select target.name
    from track.event_type as target
    where target.event_type_id = v_type.target_event_type_id
  ));
  perform track._point_event_type(v_type.event_type_id, null);
  return track._apply_names(unmerge_events.most_events);
end;
$$;

comment on function track.unmerge_events(text, int) is $$
Undoes `track.merge_events` or `track.rename_event` of the event `name`.
Every event that was sent with this name gets it back, also those that were sent after the merge, with the names that
were merged into it. Merges can be undone in any order. The type has the purpose and the other properties that it had.
Returns the number of stored events that this call changed, at most `most_events`; the others follow with the next calls
of `track.refresh`. Messages wait while it runs, as with `track.merge_events`.
Errors: CF002 for an unknown event, CF001 for one that is not merged and for a negative `most_events`.
$$;

grant execute on function track.unmerge_events(text, int) to insights_admin;
