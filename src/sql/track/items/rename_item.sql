create or replace function track.rename_item(item text, new_id text, most_events int default 100000)
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
  v_known track.item;
  v_new_id bigint;
begin
  perform common.check_count('most_events', rename_item.most_events, 0, 2147483647);
  if coalesce(rename_item.new_id, '') = '' then
    perform common.refuse(
      'CF001',
      format('new_id is %s', case rename_item.new_id when '' then 'empty' else 'null' end),
      'Give the new external id of the item.'
    );
  end if;
  if length(rename_item.new_id) > 512 then
    perform common.refuse('CF008', format('new_id has %s characters', length(rename_item.new_id)),
      'The external id of an item has 512 at most.');
  end if;
  perform track._begin_naming();
  v_item := track._known_item(rename_item.item);
  select known.* into v_known from track.item as known where known.external_id = rename_item.new_id;
  -- A repeated call continues with the events.
  if v_item.target_item_id = v_known.item_id then
    return track._apply_names(rename_item.most_events);
  end if;
  if v_known.item_id is not null then
    perform common.refuse(
      'CF001',
      format('there is an item "%s"', left(rename_item.new_id, 100)),
      case
        when v_known.target_item_id = v_item.item_id
          then 'It was merged into this one: to undo that, use track.unmerge_item.'
        else 'Merge the two: track.merge_items.'
      end
    );
  end if;
  perform track._refuse_merged_item(v_item);

  insert into track.item (external_id, created_at)
  values (rename_item.new_id, v_item.created_at)
  returning item_id into v_new_id;
  perform track._point_items(array[v_item.item_id], array[v_new_id]);
  perform track._log_name('item renamed', rename_item.item, rename_item.new_id);
  return track._apply_names(rename_item.most_events);
end;
$$;

comment on function track.rename_item(text, text, int) is $$
Gives an item another external id. Messages and tables with the old one and with the new one mean the same item.
A new item gets `new_id`, and `item` is merged into it: see `track.merge_items`, also for `most_events` and the result.
`track.unmerge_item(item)` undoes it: what was sent with the old id goes back, and what was sent with the new one stays.
Errors: CF002 for an unknown item, CF001 for a new id that exists or is empty, for an item that was merged into another
and for a negative `most_events`, CF008 for an id of more than 512 characters.
$$;

grant execute on function track.rename_item(text, text, int) to insights_admin;
