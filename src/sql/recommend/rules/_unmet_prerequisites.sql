create or replace function recommend._unmet_prerequisites(
  items bigint[],
  parts bigint[],
  finished bigint[],
  started bigint[],
  at timestamptz
)
returns table (item_id bigint, detail text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
begin
  return query
  with recursive holder as (
    select given.item_id, given.item_id as holder_id
    from unnest(_unmet_prerequisites.items) as given (item_id)

    union all

    -- A course that the person is in already has no more prerequisites for its parts.
    select ancestor.item_id, ancestor.ancestor_item_id
    from track.item_ancestor as ancestor
    where ancestor.item_id = any (_unmet_prerequisites.parts)
      and ancestor.depth > 0
      and ancestor.ancestor_item_id not in (
        select known.item_id from unnest(_unmet_prerequisites.started) as known (item_id)
      )
  ),

  unmet as materialized (
    select holder.item_id, holder.holder_id, prerequisite.required_item_id
    from holder
    join track.prerequisite on prerequisite.item_id = holder.holder_id
    where prerequisite.required_item_id not in (
        select known.item_id from unnest(_unmet_prerequisites.finished) as known (item_id)
      )
      -- An item that has ended cannot be finished any more.
      and not exists (
        select
        from track.item_ancestor as outer_item
        join track.item as known on known.item_id = outer_item.ancestor_item_id
        where outer_item.item_id = prerequisite.required_item_id
          and known.available_until <= _unmet_prerequisites.at
      )
  ),

  -- Items that come before the required one: its prerequisites, and those of the items that contain it.
  earlier as (
    select unmet.holder_id, unmet.required_item_id, unmet.required_item_id as item_id
    from unmet

    union

    select earlier.holder_id, earlier.required_item_id, next.item_id
    from earlier
    cross join lateral (
      select prerequisite.required_item_id as item_id
      from track.prerequisite
      where prerequisite.item_id = earlier.item_id

      union all

      select known.parent_item_id
      from track.item as known
      where known.item_id = earlier.item_id
    ) as next
    where earlier.item_id <> earlier.holder_id
      and next.item_id is not null
  ),

  missing as (
    select distinct unmet.item_id, unmet.required_item_id
    from unmet
    where not exists (
      select
      from earlier
      where earlier.holder_id = unmet.holder_id
        and earlier.required_item_id = unmet.required_item_id
        and earlier.item_id = unmet.holder_id
    )
  )

  select
    missing.item_id,
    'Requires '
      || array_to_string(
        (array_agg(left(coalesce(item.title, item.external_id), 100) order by item.item_id))[1:3], ', '
      )
      || case when count(*) > 3 then format(' and %s more', count(*) - 3) else '' end
      || case when count(*) > 1 then ', which are not finished' else ', which is not finished' end
  from missing
  join track.item on item.item_id = missing.required_item_id
  group by missing.item_id;
end;
$$;

comment on function recommend._unmet_prerequisites(
  bigint[], bigint[], bigint[], bigint[], timestamptz
) is $$
@behavior -*
Returns the items that require others which are not among the finished ones, with a sentence that names those.
The prerequisites of an item that contains it count too, unless that one is among the started ones; `parts` are items
that are part of another one. Ignored are prerequisites that are part of a circle, which no person could begin, and
those that have ended (`available_until`).
$$;
