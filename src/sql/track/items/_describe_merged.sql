create or replace function track._describe_merged(item_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_members constant bigint[] := array(
    select member.item_id
    from track.item as given
    join track.item as member
      on coalesce(given.merged_item_id, given.item_id) in (member.item_id, member.merged_item_id)
    where given.item_id = any (_describe_merged.item_ids)
    group by member.item_id
  );
  v_children bigint[];
  v_item_id bigint;
  v_parent_id bigint;
begin
  -- The first value counts: that of the item's own name, then those of its other names in the order of their keys.
  with said as (
    select
      coalesce(item.merged_item_id, item.item_id) as root_item_id,
      item.merged_item_id is not null as is_merged,
      named_item.*
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    where item.item_id = any (v_members)
  ),

  summed as (
    select
      said.root_item_id as item_id,
      coalesce(
        (array_agg(said.kind order by said.is_merged, said.item_id) filter (where said.kind <> 'unknown'))[1], 'unknown'
      ) as kind,
      (array_agg(said.title order by said.is_merged, said.item_id) filter (where said.title is not null))[1] as title,
      (array_agg(said.url order by said.is_merged, said.item_id) filter (where said.url is not null))[1] as url,
      (array_agg(said.language order by said.is_merged, said.item_id) filter (where said.language is not null))[1]
        as language,
      (
        array_agg(said.available_from order by said.is_merged, said.item_id)
        filter (where said.available_from is not null)
      )[1] as available_from,
      (
        array_agg(said.available_until order by said.is_merged, said.item_id)
        filter (where said.available_until is not null)
      )[1] as available_until,
      (array_agg(said.due_at order by said.is_merged, said.item_id) filter (where said.due_at is not null))[1] as due_at
    from said
    group by said.root_item_id
  ),

  attributed as (
    select
      said.root_item_id as item_id,
      -- Of several values of a key, the last one stays.
      jsonb_object_agg(attribute.key, attribute.value order by said.is_merged desc, said.item_id desc) as attributes
    from said
    cross join jsonb_each(said.attributes) as attribute
    group by said.root_item_id
  ),

  described as (
    select
      summed.item_id, summed.kind, summed.title, summed.url, summed.language,
      coalesce(attributed.attributes, '{}') as attributes, summed.available_from, summed.available_until, summed.due_at
    from summed
    left join attributed on attributed.item_id = summed.item_id

    union all

    select
      said.item_id, 'merged', said.title, said.url, said.language, said.attributes, said.available_from,
      said.available_until, said.due_at
    from said
    where said.is_merged
  )

  update track.item
  set
    kind = described.kind,
    title = described.title,
    url = described.url,
    language = described.language,
    attributes = described.attributes,
    available_from = described.available_from,
    available_until = described.available_until,
    due_at = described.due_at,
    parent_item_id = case described.kind when 'merged' then null else item.parent_item_id end,
    updated_at = now()
  from described
  where item.item_id = described.item_id
    and (
      item.kind, item.title, item.url, item.language, item.attributes, item.available_from, item.available_until,
      item.due_at
    ) is distinct from (
      described.kind, described.title, described.url, described.language, described.attributes,
      described.available_from, described.available_until, described.due_at
    );

  -- The tree: an item that several names give a parent is in that of its own name, if this is another item, or else in
  -- that of the next name. Items of which a container was merged into a part of theirs would form a cycle: the part
  -- is not in itself. For the same tree in any order of the merges, all of these items are placed in one order.
  v_children := array(
    select placed.item_id
    from (
      select distinct root.item_id
      from track.named_item
      join track.item on item.item_id = named_item.item_id
      join track.item as root on root.item_id = coalesce(item.merged_item_id, item.item_id)
      where root.item_id = any (v_members)
        or named_item.parent_item_id = any (v_members)
        -- Those that had no parent because of a cycle.
        or root.parent_item_id is null and named_item.parent_item_id is not null
    ) as placed
    order by exists (select from track.item as merged where merged.merged_item_id = placed.item_id), placed.item_id
  );
  if exists (
    select
    from track.item
    where item.item_id = any (v_children)
      and item.parent_item_id is distinct from (track._parents_named(item.item_id))[1]
  ) then
    update track.item
    set parent_item_id = null
    where item.item_id = any (v_children)
      and item.parent_item_id is not null;
    foreach v_item_id in array v_children loop
      select parent.item_id into v_parent_id
      from unnest(track._parents_named(v_item_id)) with ordinality as parent (item_id, place)
      where not exists (
        select
        from track.item_ancestor
        where item_ancestor.item_id = parent.item_id
          and item_ancestor.ancestor_item_id = v_item_id
      )
      order by parent.place
      limit 1;
      update track.item
      set parent_item_id = v_parent_id, updated_at = now()
      where item.item_id = v_item_id
        and v_parent_id is not null;
    end loop;
  end if;

  -- Items that are neither merged nor a target, and whose parent is not merged, are as they were named.
  delete from track.named_item
  using track.item
  where item.item_id = named_item.item_id
    and (item.item_id = any (v_members) or named_item.parent_item_id = any (v_members))
    and item.merged_item_id is null
    and item.parent_item_id is not distinct from named_item.parent_item_id
    and not exists (select from track.item as merged where merged.merged_item_id = item.item_id);
end;
$$;

comment on function track._describe_merged(bigint[]) is $$
Computes the columns and parents of merged items, of their targets and of the parts of these, for the given items.
From `track.named_item`, so that the result depends on what was said under each name and on the merges, and not on their
order. Rows of items that are as they were named are deleted from there.
$$;

create or replace function track._parents_named(item_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select coalesce(parent.merged_item_id, parent.item_id)
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    join track.item as parent on parent.item_id = named_item.parent_item_id
    where _parents_named.item_id in (item.item_id, item.merged_item_id)
      and coalesce(parent.merged_item_id, parent.item_id) <> _parents_named.item_id
    order by item.merged_item_id is not null, item.item_id
  );
end;
$$;

comment on function track._parents_named(bigint) is $$
Returns the parents of an item by its own name and by the names that were merged into it, in the order of precedence.
$$;
