create or replace function track._enqueue_set(set_name text, people bigint[], except_consumer text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_consumer track.consumer;
  v_reads_set boolean;
begin
  if coalesce(cardinality(_enqueue_set.people), 0) = 0 then
    return;
  end if;
  for v_consumer in
    select consumer.*
    from track.consumer
    where 'set' = any (consumer.inputs)
      and consumer.consumer is distinct from _enqueue_set.except_consumer
    order by consumer.position
  loop
    v_reads_set := true;
    if v_consumer.reads_set is not null then
      execute format(
        'select %I.%I($1)', split_part(v_consumer.reads_set, '.', 1), split_part(v_consumer.reads_set, '.', 2)
      )
      into v_reads_set
      using _enqueue_set.set_name;
    end if;
    if coalesce(v_reads_set, true) then
      perform track.queue_people(v_consumer.consumer, _enqueue_set.people);
    end if;
  end loop;
end;
$$;

comment on function track._enqueue_set(text, bigint[], text) is $$
Queues people who joined or left a set for the consumers that read it, but for `except_consumer`.
The caller holds the lock of `track.refresh`, under which a rule that begins to read the set computes all people: one of
the two sees the other.
$$;
