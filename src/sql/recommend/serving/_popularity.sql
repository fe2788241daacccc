/* A definer: it reads the interactions of all people, and returns only shares of the most popular item. */
create or replace function recommend._popularity(kind text)
returns table (item_id bigint, popularity float8)
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if (select relispopulated from pg_catalog.pg_class where oid = 'analytics.item_popularity'::regclass) then
    return query
    with counted as (
      select
        item_popularity.item_id,
        item_popularity.person_count * item_popularity.decayed_event_count / nullif(item_popularity.event_count, 0)
          as people
      from analytics.item_popularity
      join track.item using (item_id)
      where item.kind = _popularity.kind
    )
    select counted.item_id, (counted.people / nullif(max(counted.people) over (), 0))::float8
    from counted
    where counted.people > 0;
    if found then
      return;
    end if;
  end if;

  -- A new installation, before the first refresh of the view, or after one that found no use.
  return query
  with counted as (
    select ancestor.ancestor_item_id as item_id, count(distinct interaction.person_id) as people
    from recommend.interaction
    join track.person_set_block as block
      on block.name = 'counted'
      and block.block = interaction.person_id / 4096
      and get_bit(block.people, (interaction.person_id % 4096)::int) <> 0
    join track.item_ancestor as ancestor using (item_id)
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.kind = _popularity.kind
    group by ancestor.ancestor_item_id
  )
  select counted.item_id, counted.people / (max(counted.people) over ())::float8
  from counted;
end;
$$;

comment on function recommend._popularity(text) is $$
@behavior -*
Returns the popularity of the items of a kind, from 0 to 1 for the most popular item.
Popularity is the number of distinct people in the set `counted`, multiplied by the share of recent events of the item
(weights are halved every 30 days).
$$;
