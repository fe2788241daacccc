/*
 * A hash is in track.message while it is recent, and in track.packed_message later. track.pack_messages may move it
 * between two statements of this function, and increments `step` each time. If `step` is the same before the search
 * and after the insertion, nothing moved in between. Otherwise the inserted hashes are searched again: an insertion
 * without a conflict shows that the hash was no longer in track.message, so that a later statement finds it where it
 * was moved to.
 */
create or replace function track._store_messages(messages track.parsed_message[], source smallint)
returns track.parsed_message[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_packing track.message_packing;
  v_packing_after track.message_packing;
  v_hashes uuid[];
  v_packed uuid[];
  v_new uuid[];
begin
  -- A snapshot from before a move would contain the hash in neither table: in these transactions, the lock fails.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform packing.only_row
    from track.message_packing as packing
    for share;
  end if;

  v_hashes := array(
    select message.message_hash
    from unnest(messages) as message
    where message.problem is null
  );
  select packing.* into v_packing from track.message_packing as packing;
  v_packed := track._packed_hashes(v_hashes, _store_messages.source, v_packing);
  if v_packed <> '{}' then
    v_hashes := array(select unnest(v_hashes) except select unnest(v_packed));
  end if;

  -- Each message is stored once. Sorted, so that concurrent batches do not cause a deadlock.
  with stored as (
    insert into track.message (source_id, message_hash)
    select _store_messages.source, hash
    from unnest(v_hashes) as hash
    order by hash
    on conflict (source_id, message_hash) do nothing
    returning message_hash
  )
  select array_agg(stored.message_hash) into v_new from stored;

  while v_new is not null loop
    select packing.* into v_packing_after from track.message_packing as packing;
    exit when v_packing_after.step = v_packing.step;
    v_packing := v_packing_after;
    v_packed := track._packed_hashes(v_new, _store_messages.source, v_packing);
    if v_packed <> '{}' then
      delete from track.message
      where message.source_id = _store_messages.source
        and message.message_hash = any (v_packed);
      v_new := nullif(array(select unnest(v_new) except select unnest(v_packed)), '{}');
    end if;
  end loop;

  if v_new is null then
    return '{}';
  end if;
  if cardinality(v_new) = cardinality(messages) then
    return messages;
  end if;
  return array(
    select message
    from (
      select distinct on (message.message_hash) message
      from unnest(messages) as message
      join unnest(v_new) as new (message_hash) on new.message_hash = message.message_hash
      where message.problem is null
      order by message.message_hash, message.position
    ) as new
    order by (new.message).position
  );
end;
$$;

comment on function track._store_messages(track.parsed_message[], smallint) is $$
Stores the hashes of the valid messages, and returns the messages that were never stored before, each once.
$$;
