create or replace function track._erase_items(items bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_deleted bigint := 0;
begin
  -- One by one, children first: an item that something else refers to is kept, such as the parent of another one.
  for v_item_id in
    select item.item_id
    from track.item
    join track.item_source on item_source.item_id = item.item_id and item_source.attribute = 'name'
    where item.item_id = any (_erase_items.items)
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = item.item_id) desc,
      item.item_id
  loop
    begin
      delete from track.item_ancestor where item_ancestor.item_id = v_item_id;
      delete from track.stale_course where stale_course.item_id = v_item_id;
      delete from track.forgotten_item where forgotten_item.item_id = v_item_id;
      delete from track.item where item.item_id = v_item_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_items(bigint[]) is $$
Deletes items that only messages have named, unless something refers to them. Returns their number.
$$;
