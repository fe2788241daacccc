create or replace function recommend._items_of_kind(items bigint[], kind text, most int)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return array(
    select latest.item_id
    from (
      select container.item_id, max(given.place) as place
      from unnest(_items_of_kind.items) with ordinality as given (item_id, place)
      cross join lateral (
        select ancestor.ancestor_item_id as item_id
        from track.item_ancestor as ancestor
        join track.item on item.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = given.item_id
          and item.kind = _items_of_kind.kind
        order by ancestor.depth
        limit 1
      ) as container
      group by container.item_id
      order by max(given.place) desc
      limit _items_of_kind.most
    ) as latest
    order by latest.place
  );
end;
$$;

comment on function recommend._items_of_kind(bigint[], text, int) is $$
@behavior -*
Returns the items of a kind that are, or contain, the given items: each once, in the order of their last place.
The last `most` of them are returned.
$$;

grant execute on function recommend._items_of_kind(bigint[], text, int) to insights_reader, insights_learner;
