create or replace function track._merge_packed(
  sources smallint[],
  hashes uuid[],
  packing track.message_packing,
  until bigint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_splits constant boolean := packing.depth <> packing.next_depth;
begin
  if hashes is null and not v_splits then
    return;
  end if;

  with added as materialized (
    select
      track._hash_start(keyed.bytes) as start,
      track._packed_tag(keyed.bytes) as tag,
      track._packed_remainder(keyed.bytes, keyed.source_id) as remainder
    from (
      select uuid_send(hash) as bytes, source_id
      from unnest(sources, hashes) as taken (source_id, hash)
    ) as keyed
  ),

  stored as (
    select
      -- The first 8 bits are in the key of the row, the next 24 in the remainder.
      (((packed.node - (1 << packing.depth)) >> (packing.depth - 8))::bigint << 24)
        | (entry.remainder >> 40 & 16777215) as start,
      entry.tag,
      entry.remainder
    from track.packed_message as packed
    cross join unnest(packed.tags, packed.remainders) as entry (tag, remainder)
    where packed.node between track._packed_node(packing.position, packing.depth)
        and track._packed_node(until - 1, packing.depth)
      and (
        v_splits
        or packed.node in (select track._packed_node(added.start, packing.depth) from added)
      )
  ),

  merged as (
    select added.start, added.tag, added.remainder
    from added

    union

    select stored.start, stored.tag, stored.remainder
    from stored
    where stored.start >= packing.position
      and stored.start < until
  )

  insert into track.packed_message as packed (node, tags, remainders)
  select
    track._packed_node(merged.start, packing.next_depth),
    array_agg(merged.tag order by merged.tag, merged.remainder),
    array_agg(merged.remainder order by merged.tag, merged.remainder)
  from merged
  group by track._packed_node(merged.start, packing.next_depth)
  on conflict (node) do update
  set tags = excluded.tags, remainders = excluded.remainders;

  -- Rows of the former depth, all of whose hashes have moved.
  if v_splits then
    delete from track.packed_message as packed
    where packed.node between track._packed_node(packing.position, packing.depth)
      and track._packed_node(until, packing.depth) - 1;
  end if;
end;
$$;

comment on function track._merge_packed(smallint[], uuid[], track.message_packing, bigint) is $$
Adds hashes to rows of `track.packed_message`, and splits these rows when the depth grows.
The first 32 bits of the hashes are from `packing.position` up to, not including, `until`.
$$;
