create or replace function track.merge_items(item text, target text, most_events int default 100000)
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
  v_target track.item;
begin
  perform common.check_count('most_events', merge_items.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_item := track._known_item(merge_items.item);
  v_target := track._known_item(
    merge_items.target, 'To give an item an id that is new, use track.rename_item.'
  );
  -- A repeated call continues with the events.
  if v_item.target_item_id = v_target.item_id then
    return track._apply_names(merge_items.most_events);
  end if;
  if v_item.item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same item', left(merge_items.item, 100), left(merge_items.target, 100)),
      'Give two different items.'
    );
  end if;
  perform track._refuse_merged_item(v_item);

  perform track._point_items(array[v_item.item_id], array[v_target.item_id]);
  perform track._log_name('item merged', merge_items.item, merge_items.target);
  return track._apply_names(merge_items.most_events);
end;
$$;

comment on function track.merge_items(text, text, int) is $$
Merges `item` into `target`.
Its events, parts, prerequisites, roles and enrolments become those of `target`, and later messages with its name too.
Columns of `target` that have no value get those of `item`, whose row stays, with the kind `merged`. `target` may be a
merged item: it then means what that one means, also after this is undone for that one.
Returns the number of stored events that this call changed, at most `most_events`. The others follow with the next calls
of `track.refresh` or of this function, which returns 0 when there are none left. Until then an event counts for one of
the two items. 0 leaves all of them to the refresh. Derived data follow with the next `track.refresh`, and models with
their next training.
Messages wait while the call runs: it reads the months of `track.event`, the latest first, until `most_events` are
changed. It fails (55P03) when it waits for others for more than 5 seconds. `track.unmerge_item` undoes it.
Errors: CF002 for an unknown item, CF001 for two names of the same item, for an item that was merged into another and
for a negative `most_events`.
$$;

grant execute on function track.merge_items(text, text, int) to insights_admin;
