create or replace function track.unmerge_item(item text, most_events int default 100000)
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
  v_item track.item;
  v_names text;
begin
  perform common.check_count('most_events', unmerge_item.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_item := track._known_item(unmerge_item.item);
  if v_item.target_item_id is null then
    select string_agg(format('"%s"', left(known.external_id, 100)), ', ' order by known.external_id)
    into v_names
    from (
      select merged.external_id
      from track.item as merged
      where merged.target_item_id = v_item.item_id
      order by merged.external_id
      limit 10
    ) as known;
    perform common.refuse(
      'CF001',
      format('item "%s" is not merged', left(unmerge_item.item, 100)),
      coalesce(
        'Give an item that was merged into it: ' || v_names || '.',
        'No item was merged into it either. The log of changed names is track.name_log.'
      )
    );
  end if;
  perform track._log_name('item unmerged', unmerge_item.item, (
    select target.external_id
    from track.item as target
    where target.item_id = v_item.target_item_id
  ));
  perform track._point_items(array[v_item.item_id], array[null::bigint]);
  return track._apply_names(unmerge_item.most_events);
end;
$$;

comment on function track.unmerge_item(text, int) is $$
Undoes `track.merge_items` or `track.rename_item` of `item`.
Every event, part, prerequisite and enrolment that was sent or stored with its name goes back to it, also those of later
messages and tables, with the names that were merged into it; and both items have the columns again that were stated of
each. Merges can be undone in any order. Events that an earlier version merged stay: it did not keep their names.
Returns the number of stored events that this call changed, at most `most_events`; the others follow with the next calls
of `track.refresh`. Messages wait while it runs, as with `track.merge_items`.
Errors: CF002 for an unknown item, CF001 for one that is not merged and for a negative `most_events`.
$$;

grant execute on function track.unmerge_item(text, int) to insights_admin;
