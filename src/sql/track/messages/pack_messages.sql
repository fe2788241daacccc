create or replace function track._shrink_messages()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The index is read, not the pages that the packed rows have left.
set enable_seqscan to off
set enable_bitmapscan to off
set lock_timeout to '200ms'
as $$
declare
  v_most constant int := 100000;
  v_left int;
  v_sources smallint[];
  v_hashes uuid[];
begin
  -- With a snapshot from before the lock, hashes that were inserted in between would be lost.
  if pg_total_relation_size('track.message') < 20e6
    or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
  then
    return;
  end if;
  select count(*) into v_left
  from (
    select 1
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if v_left > v_most or pg_total_relation_size('track.message') < 20e6 + 400.0 * v_left then
    return;
  end if;

  lock table track.message in access exclusive mode;
  select array_agg(message.source_id), array_agg(message.message_hash)
  into v_sources, v_hashes
  from (
    select message.source_id, message.message_hash
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if cardinality(v_hashes) > v_most then
    return;
  end if;
  truncate track.message;
  insert into track.message (source_id, message_hash)
  select source_id, message_hash
  from unnest(v_sources, v_hashes) as kept (source_id, message_hash);
exception
  -- The next call tries again.
  when lock_not_available then
    null;
end;
$$;

comment on function track._shrink_messages() is $$
Copies `track.message` to new files when nearly all of its rows have been packed, as after an upgrade or an import.
Until then its files keep their size. Holds an exclusive lock while it copies at most 100,000 rows.
$$;

create or replace function track.pack_messages(only_scheduled boolean default true)
returns int
language plpgsql
volatile
-- A definer: no role may write these tables.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_all constant bigint := 4294967296;
  v_cycle constant interval := '7 days';
  -- A row of more than about 200 hashes has its remainders out of line.
  v_largest_node constant int := 450;
  v_packing track.message_packing;
  v_all_sources smallint[];
  v_until bigint;
  v_sources smallint[];
  v_hashes uuid[];
  v_moved int;
begin
  -- One step at a time: a second session has nothing to do.
  select packing.* into v_packing
  from track.message_packing as packing
  for update skip locked;
  if not found then
    return null;
  end if;
  if only_scheduled
    and not v_packing.is_behind
    and v_packing.cycle_started_at + v_cycle * (v_packing.position::float8 / v_all) > now()
  then
    perform track._shrink_messages();
    return null;
  end if;
  v_all_sources := array(select source.source_id from track.source);

  -- A cycle begins with the size of the rows. Hashes are evenly distributed: a part is counted.
  if v_packing.position = 0 then
    select least(
      greatest(
        v_packing.depth,
        ceil(log(2, greatest(v_packing.messages + 256.0 * count(*), 1) / v_largest_node))
      ),
      29
    )
    into v_packing.next_depth
    from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash < '01000000-0000-0000-0000-000000000000';
    if v_packing.messages = 0 then
      v_packing.depth := v_packing.next_depth;
    end if;
  end if;
  -- From 1 to 32 rows: at least 256 steps in a cycle, each of a fraction of a second.
  v_until := v_packing.position
    + (v_all >> v_packing.next_depth) * least(greatest(1 << v_packing.next_depth >> 8, 1), 32);

  with taken as (
    delete from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash between (lpad(to_hex(v_packing.position), 8, '0') || repeat('0', 24))::uuid
        and (lpad(to_hex(v_until - 1), 8, '0') || repeat('f', 24))::uuid
    returning message.source_id, message.message_hash
  )
  select array_agg(taken.source_id), array_agg(taken.message_hash), count(*)
  into v_sources, v_hashes, v_moved
  from taken;

  perform track._merge_packed(v_sources, v_hashes, v_packing, v_until);

  update track.message_packing as packing
  set
    depth = case when v_until = v_all then v_packing.next_depth else v_packing.depth end,
    next_depth = v_packing.next_depth,
    position = v_until % v_all,
    step = packing.step + 1,
    messages = packing.messages + v_moved,
    is_behind = v_until < v_all
      and (
        v_packing.is_behind
        or v_moved * 10 >= v_packing.messages * ((v_until - v_packing.position)::float8 / v_all) + 100
      ),
    cycle_started_at = case when v_until = v_all then now() else packing.cycle_started_at end;
  return v_moved;
end;
$$;

comment on function track.pack_messages(boolean) is $$
@behavior -mutationField
Moves hashes of messages from `track.message` to `track.packed_message`: one step, of some thousand.
Steps go through all hashes in their order, within a week, and at once while much is new. A worker calls it until it
returns null. Returns the number of hashes that were moved; null when no step is scheduled, or while another session
runs one. `only_scheduled`: false runs a step in any case.
$$;

grant execute on function track.pack_messages(boolean) to insights_worker;
