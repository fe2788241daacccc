create or replace function monitor.record_latencies(
  writer uuid, flush bigint, age interval, latencies monitor.latency_counts[]
)
returns bigint
language plpgsql
volatile
-- A definer: no role may write monitor.latency.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
  v_hour timestamptz;
  v_wrong text;
begin
  if record_latencies.writer is null or record_latencies.flush is null or record_latencies.flush < 1 then
    perform common.refuse(
      'CF001',
      format('the writer is %s, the flush %s', coalesce(record_latencies.writer::text, 'null'),
        coalesce(record_latencies.flush::text, 'null')),
      'Give the key of the process, and the number of its flush from 1.'
    );
  end if;
  if record_latencies.age between '0' and '1 year' is not true then
    perform common.refuse(
      'CF001', format('age is %s', coalesce(record_latencies.age::text, 'null')),
      'Give the time since the first of the calls, from 0 to a year.'
    );
  end if;
  if record_latencies.latencies is null or cardinality(record_latencies.latencies) not between 1 and 5000 then
    perform common.refuse(
      'CF001', format('there are %s latencies', coalesce(cardinality(record_latencies.latencies)::text, 'null')),
      'Give 1 to 5000, one per operation.'
    );
  end if;

  select left(measured.operation, 100)
  into v_wrong
  from unnest(record_latencies.latencies) as measured
  where (
    measured.operation ~ '^[A-Za-z_/][A-Za-z0-9_/ ]{0,99}$'
    and array_ndims(measured.counts) = 1
    and array_lower(measured.counts, 1) = 1
    and cardinality(measured.counts) = v_buckets
    and array_position(measured.counts, null) is null
    and 0 <= all (measured.counts)
    and 1000000000000 >= all (measured.counts)
    and measured.failures between 0 and 1000000000000
    and measured.messages between 0 and 1000000000000
    and measured.seconds between 0 and 1e12
  ) is not true
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('the latency of operation "%s" is invalid', coalesce(v_wrong, 'null')),
      format('Give %s counts, failures, messages and seconds, all from 0.', v_buckets)
    );
  end if;

  -- A process repeats a flush that was not answered: it may have been stored.
  insert into monitor.latency_writer as stored (writer, flush)
  values (record_latencies.writer, record_latencies.flush)
  on conflict on constraint latency_writer_pkey do update
  set flush = excluded.flush, written_at = excluded.written_at
  where stored.flush < excluded.flush;
  if not found then
    return 0;
  end if;

  v_hour := date_trunc('hour', now() - record_latencies.age);
  -- In one order, so that two processes do not wait for each other's rows in a circle.
  with added as (
    insert into monitor.latency as stored (hour_at, operation, counts, failures, messages, seconds)
    select v_hour, measured.operation, measured.counts, measured.failures, measured.messages, measured.seconds
    from unnest(record_latencies.latencies) as measured
    order by measured.operation collate "C"
    on conflict on constraint latency_pkey do update
    set
      counts = array(
        select one.calls + other.calls
        from unnest(stored.counts) with ordinality as one (calls, bucket)
        join unnest(excluded.counts) with ordinality as other (calls, bucket) using (bucket)
        order by bucket
      ),
      failures = stored.failures + excluded.failures,
      messages = stored.messages + excluded.messages,
      seconds = stored.seconds + excluded.seconds
    returning stored.operation
  )
  select count(*) into record_latencies.flush from added;
  return record_latencies.flush;
end;
$$;

comment on function monitor.record_latencies(uuid, bigint, interval, monitor.latency_counts[]) is $$
@behavior -*
Adds the latencies that a process of the API has measured to those of the hour. Returns the number of operations.
A flush with the number of one that is stored, or with a lower number, changes nothing and returns 0: a process can
repeat a flush whose answer it did not receive. `age` is the time since the first of the calls, by the clock of the
process that does not jump; the hour is that of the database.
Errors: CF001 for an invalid argument.
$$;

grant execute on function monitor.record_latencies(uuid, bigint, interval, monitor.latency_counts[]) to insights_worker;
