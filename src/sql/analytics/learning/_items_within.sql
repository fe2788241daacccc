create or replace function analytics._items_within(course_id bigint, item text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id constant bigint := (
    select coalesce(known.merged_item_id, known.item_id)
    from track.item as known
    where known.external_id = _items_within.item
  );
begin
  -- The same error for an item of another course: an instructor learns nothing about it.
  if _items_within.item is not null and not exists (
    select
    from track.item_ancestor as ancestor
    where ancestor.item_id = v_item_id
      and ancestor.ancestor_item_id = _items_within.course_id
  ) then
    perform common.refuse(
      'CF002',
      format('the course contains no item "%s"', left(_items_within.item, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(_items_within.item, 100),
          array(
            select known.external_id
            from track.item_ancestor as ancestor
            join track.item as known on known.item_id = ancestor.item_id
            where ancestor.ancestor_item_id = _items_within.course_id
            order by known.external_id
            limit 1000
          )
        ) || '"?',
        'Give the external id of an item of the course.'
      )
    );
  end if;
  return array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = coalesce(v_item_id, _items_within.course_id)
  );
end;
$$;

comment on function analytics._items_within(bigint, text) is $$
Returns the items that an item of a course contains, with itself; `item` null: those of the course.
Errors: CF002 for an item that the course does not contain (names the nearest).
$$;

grant execute on function analytics._items_within(bigint, text) to insights_reader;
