create or replace function recommend._explore(
  context recommend.person_context,
  items bigint[],
  top int,
  pinned bigint[] default '{}',
  arm recommend.arm default null
)
returns table (item_id bigint, place int, propensity float8, pool bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_rows constant int := least(_explore.top, cardinality(_explore.items));
  v_slots int[];
  v_person constant bigint := (_explore.context).person_id;
begin
  if v_person is not null then
    v_slots := array(
      select distinct slot.place
      from recommend.setting
      cross join lateral unnest(coalesce((_explore.arm).explored_slots, setting.explored_slots)) as slot (place)
      where slot.place <= v_rows
        and _explore.items[slot.place] <> all (_explore.pinned)
    );
  end if;
  if coalesce(cardinality(v_slots), 0) = 0 then
    return query
    select listed.item_id, listed.place::int, null::float8, null::bigint[]
    from unnest(_explore.items[:v_rows]) with ordinality as listed (item_id, place);
    return;
  end if;

  return query
  with listed as materialized (
    select
      entry.item_id,
      entry.place::int as place,
      entry.place <= v_rows and entry.item_id = any (_explore.pinned) as is_pinned
    from unnest(_explore.items) with ordinality as entry (item_id, place)
  ),

  -- The ranks that are neither pinned nor drawn, and the items that they get in their order.
  open_rank as (
    select rank.place, row_number() over (order by rank.place) as n
    from generate_series(1, v_rows) as rank (place)
    where rank.place <> all (v_slots)
      and rank.place not in (select listed.place from listed where listed.is_pinned)
  ),

  queued as (
    select listed.item_id, row_number() over (order by listed.place) as n
    from listed
    where not listed.is_pinned
  ),

  -- The best items that have no rank. One more draw of the day does not depend on the others: the order is by item.
  pool as (
    select
      queued.item_id,
      row_number() over (
        order by
          sha256(
            (select secret.inner_key from recommend.secret)
              || int8send(v_person) || int8send(extract(julian from now() at time zone 'UTC')::bigint)
              || int8send(queued.item_id)
          )
      ) as n,
      count(*) over () as size
    from queued
    where queued.n > (select count(*) from open_rank)
      and queued.n <= (select count(*) from open_rank)
        + greatest(
          coalesce(
            (_explore.arm).explored_pool_size, (select setting.explored_pool_size from recommend.setting)
          ),
          cardinality(v_slots)
        )
  )

  select queued.item_id, open_rank.place, null::float8, null::bigint[]
  from open_rank
  join queued using (n)

  union all

  select listed.item_id, listed.place, null, null
  from listed
  where listed.is_pinned

  union all

  select
    pool.item_id,
    slot.place,
    1.0::float8 / pool.size,
    array(select member.item_id from pool as member order by member.item_id)
  from (
    select entry.place, row_number() over (order by entry.place) as n
    from unnest(v_slots) as entry (place)
  ) as slot
  join pool using (n)
  order by 2;
end;
$$;

comment on function recommend._explore(recommend.person_context, bigint[], int, bigint[], recommend.arm) is $$
@behavior -*
Returns the first `top` of the items in their order, with items that are drawn at random in the marked ranks.
Those of `recommend.setting.explored_slots`, or of `arm`, are drawn from the best `explored_pool_size` items that have
no other rank, with equal probability, which is `propensity`; `pool` are these items.
`items` are those that may be recommended, best first; `pinned` those that keep their ranks. A draw is repeated within
a day (UTC): the order of the pool is that of a hash with a secret key, the person, the day and the item. There is no
draw for unknown people.
$$;
