create or replace function track._store_messages(messages track.parsed_message[], source smallint)
returns track.parsed_message[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new uuid[];
begin
  -- Each message is stored once. Sorted, so that concurrent batches do not cause a deadlock.
  with stored as (
    insert into track.message (source_id, message_hash)
    select _store_messages.source, message.message_hash
    from unnest(messages) as message
    where message.problem is null
    order by message.message_hash
    on conflict (source_id, message_hash) do nothing
    returning message_hash
  )
  select array_agg(stored.message_hash) into v_new from stored;

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
