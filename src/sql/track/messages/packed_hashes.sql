create or replace function track._packed_hashes(hashes uuid[], source smallint, packing track.message_packing)
returns uuid[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- Planned once, and whatever the statistics say: one look-up by the key of the row per hash.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
as $$
begin
  if packing.messages = 0 then
    return '{}';
  end if;
  return array(
    with sought as materialized (
      select
        keyed.hash,
        keyed.start,
        track._packed_tag(keyed.bytes) as tag,
        keyed.bytes
      from (
        select sent.hash, uuid_send(sent.hash) as bytes, track._hash_start(uuid_send(sent.hash)) as start
        from unnest(_packed_hashes.hashes) as sent (hash)
        -- In the order of the rows, so that neighbours are read together.
        order by sent.hash
      ) as keyed
    )

    select sought.hash
    from sought
    join track.packed_message as packed
      on packed.node = track._packed_node(
        sought.start, case when sought.start < packing.position then packing.next_depth else packing.depth end
      )
    -- The tags are in the row. The remainders, which are out of line, are read only for a hash whose tag is there.
    where case
      when packed.tags[width_bucket(sought.tag, packed.tags)] = sought.tag
        then track._packed_remainder(sought.bytes, _packed_hashes.source) = any (
          packed.remainders[
            width_bucket((sought.tag - 1::smallint)::smallint, packed.tags) + 1
            :width_bucket(sought.tag, packed.tags)
          ]
        )
    end
  );
end;
$$;

comment on function track._packed_hashes(uuid[], smallint, track.message_packing) is $$
Returns those of the hashes of a source that are in `track.packed_message`.
Of any hash that is not, in one of 200 cases, the remainders are read too.
$$;
