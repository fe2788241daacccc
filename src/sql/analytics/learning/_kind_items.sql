create or replace function analytics._kind_items(course_id bigint, kind text)
returns table (item_id bigint, kind_item_id bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _kind_items.kind is not null and not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _kind_items.kind
    where ancestor.ancestor_item_id = _kind_items.course_id
  ) then
    perform common.refuse(
      'CF002',
      format('the course contains no items of kind "%s"', left(_kind_items.kind, 100)),
      coalesce(
        (
          select 'It contains items of the kinds ' || string_agg(distinct item.kind, ', ') || '.'
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = _kind_items.course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;

  return query
  select distinct on (within.item_id) within.item_id, holder.ancestor_item_id
  from track.item_ancestor as within
  join track.item_ancestor as holder on holder.item_id = within.item_id
  join track.item on item.item_id = holder.ancestor_item_id
  -- An item that contains the course is not a part of it.
  join track.item_ancestor as part
    on part.item_id = holder.ancestor_item_id
    and part.ancestor_item_id = _kind_items.course_id
  where within.ancestor_item_id = _kind_items.course_id
    and (item.kind = _kind_items.kind or _kind_items.kind is null and holder.depth = 0)
  order by within.item_id, holder.depth;
end;
$$;

comment on function analytics._kind_items(bigint, text) is $$
Returns the items of a course, each with the nearest item of a kind that it is or that contains it.
Items outside of such an item have no row. `kind` null: each item with itself; the course is one of them.
Errors: CF002 for a kind of which the course contains no items (lists its kinds).
$$;

grant execute on function analytics._kind_items(bigint, text) to insights_reader;
