create or replace function track._enqueue(
  input text,
  people bigint[],
  since timestamptz[] default '{}',
  until timestamptz[] default '{}'
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.changed (person_id, consumer, since, until)
  select
    period.person_id,
    consumer.consumer,
    coalesce(period.since, '-infinity'),
    coalesce(period.until, 'infinity')
  from unnest(_enqueue.people, _enqueue.since, _enqueue.until) as period (person_id, since, until)
  cross join track.consumer
  where _enqueue.input = any (consumer.inputs);
end;
$$;

comment on function track._enqueue(text, bigint[], timestamptz[], timestamptz[]) is $$
Queues people for the consumers that are derived from an input (see `track.consumer`).
Without times, all data of each person is queued.
$$;
