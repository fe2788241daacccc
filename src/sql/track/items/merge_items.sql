create or replace function track.merge_items(item text, target text)
returns bigint
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_missing text;
  v_item track.item;
  v_target track.item;
begin
  -- In the order of track.ingest, which waits here until the events are moved. Afterwards it finds the merged item.
  lock table track.item in share row exclusive mode;
  lock table track.event in share mode;

  select known.* into v_item from track.item as known where known.external_id = merge_items.item;
  select known.* into v_target from track.item as known where known.external_id = merge_items.target;
  if v_item.item_id is null or v_target.item_id is null then
    v_missing := case when v_item.item_id is null then merge_items.item else merge_items.target end;
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(v_missing, 100), 'null')),
      'Give the external ids of two items, as in track.item.'
    );
  end if;
  if v_item.merged_item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    return 0;
  end if;
  if v_item.merged_item_id is not null then
    perform common.refuse(
      'CF001',
      format('item "%s" was merged into another one', left(merge_items.item, 100)),
      format(
        'Merge that one: "%s".',
        (select left(known.external_id, 100) from track.item as known where known.item_id = v_item.merged_item_id)
      )
    );
  end if;
  if v_item.item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same item', left(merge_items.item, 100), left(merge_items.target, 100)),
      'Give two different items.'
    );
  end if;
  return track._merge_items(
    array[v_item.item_id], array[coalesce(v_target.merged_item_id, v_target.item_id)]
  );
end;
$$;

comment on function track.merge_items(text, text) is $$
Merges `item` into `target`.
Its events, parts, prerequisites, roles and enrolments become those of `target`, and later messages with its name too.
Returns the number of events.
Derived data follow with the next `track.refresh`, and models with their next training. The row of the item stays, with
the kind `merged`. All events are read, and messages wait meanwhile; the transaction fails (55P03) when it waits for
others for more than 5 seconds. It cannot be undone.
Errors: CF002 for an unknown item, CF001 for two names of the same item and for an item that was merged into another.
$$;

grant execute on function track.merge_items(text, text) to insights_admin;
