create or replace function track.item_periods(item_id bigint)
returns table (part_item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  -- A merged item is a further name: what it contained, the other one contained.
  with recursive placed as materialized (
    select
      former.item_id, former.parent_item_id,
      coalesce(
        lag(former.ended_at) over (partition by former.item_id order by former.ended_at), '-infinity'
      ) as started_at,
      former.ended_at
    from track.former_parent as former

    union all

    select
      item.item_id, item.parent_item_id,
      coalesce(
        (select max(former.ended_at) from track.former_parent as former where former.item_id = item.item_id),
        '-infinity'
      ),
      'infinity'
    from track.item
    where item.parent_item_id is not null
  ),

  place as materialized (
    select placed.item_id, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id,
      placed.started_at, placed.ended_at
    from placed
    join track.item as part on part.item_id = placed.item_id and part.merged_item_id is null
    join track.item as parent on parent.item_id = placed.parent_item_id
  ),

  -- Distinct, so that it ends also where former places and merges form a circle.
  within (item_id, started_at, ended_at) as (
    select item_periods.item_id, '-infinity'::timestamptz, 'infinity'::timestamptz

    union

    select place.item_id, greatest(place.started_at, within.started_at), least(place.ended_at, within.ended_at)
    from within
    join place
      on place.parent_item_id = within.item_id
      and place.started_at < within.ended_at
      and place.ended_at > within.started_at
  )

  select within.item_id, within.started_at, within.ended_at
  from within;
end;
$$;

comment on function track.item_periods(bigint) is $$
@behavior -*
Returns the items that an item contains or contained, with the periods (`ended_at` exclusive) in which it did.
An item can have several periods; the item itself has one without limits. They follow the moves that `track.sync_items`
recorded (`track.former_parent`), of the items and of what contains them; the first place of an item counts from
`-infinity`, because it is not known when the application created it. Further names of merged items have no rows.
$$;

grant execute on function track.item_periods(bigint) to insights_reader, insights_admin;
