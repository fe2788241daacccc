create or replace function monitor.latencies(
  since timestamptz default null,
  until timestamptz default now(),
  by text default 'operation',
  operation text default null
)
returns setof monitor.latency_summary
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_since constant timestamptz := coalesce(latencies.since, latencies.until - interval '24 hours');
begin
  perform common.check_period(v_since, latencies.until);
  if latencies.by is null or latencies.by not in ('operation', 'hour', 'day') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(latencies.by, 100) || '"', 'null')),
      'Use operation, hour or day.');
  end if;
  if length(latencies.operation) > 100 then
    perform common.refuse('CF001', format('operation is "%s"', left(latencies.operation, 100)),
      'Give an operation of the API, such as trackIngest, or null for all.');
  end if;

  return query
  with stored as (
    select
      case latencies.by
        when 'hour' then latency.hour_at
        when 'day' then date_trunc('day', latency.hour_at)
      end as starts_at,
      case when latencies.by = 'operation' then latency.operation end as name,
      latency.counts, latency.failures, latency.messages, latency.seconds
    from monitor.latency
    where latency.hour_at >= v_since
      and latency.hour_at < latencies.until
      and (latencies.operation is null or latency.operation = latencies.operation)
  ),

  summed as (
    select
      stored.starts_at,
      stored.name,
      sum(stored.failures)::bigint as failures,
      sum(stored.messages)::bigint as messages,
      sum(stored.seconds) as seconds
    from stored
    group by stored.starts_at, stored.name
  ),

  bucket as (
    select stored.starts_at, stored.name, counted.bucket, sum(counted.calls)::bigint as calls
    from stored
    cross join unnest(stored.counts) with ordinality as counted (calls, bucket)
    group by stored.starts_at, stored.name, counted.bucket
  ),

  histogram as (
    select
      bucket.starts_at,
      bucket.name,
      array_agg(bucket.calls order by bucket.bucket) as counts,
      sum(bucket.calls)::bigint as calls
    from bucket
    group by bucket.starts_at, bucket.name
  )

  select
    summed.starts_at,
    summed.name,
    histogram.calls,
    summed.failures,
    summed.messages,
    1000 * summed.seconds / nullif(histogram.calls, 0),
    1000 * common.duration_quantile(histogram.counts, 0.5),
    1000 * common.duration_quantile(histogram.counts, 0.9),
    1000 * common.duration_quantile(histogram.counts, 0.99),
    1000 * summed.seconds / nullif(summed.messages, 0)
  from summed
  join histogram
    on histogram.starts_at is not distinct from summed.starts_at
      and histogram.name is not distinct from summed.name
  order by summed.starts_at, summed.seconds desc, summed.name;
end;
$$;

comment on function monitor.latencies(timestamptz, timestamptz, text, text) is $$
Returns how long the operations of the API took, in milliseconds, by operation, hour or day: those with most time first.
The hours are those that begin in the period, by default the 24 hours before `until`, in UTC.
`operation` selects one. The API adds its counts every 30 seconds.
Quantiles are computed from counts in buckets whose bounds differ by a factor of √2: they are in the bucket of the
true value, so that from 0.5 ms on they are at most 1.42 times as large or as small, and much nearer with many calls.
Above 131 s they are 131 s. A process of the API that is killed loses the counts of its last 30 seconds.
Errors: CF001 for an invalid argument.
$$;

grant execute on function monitor.latencies(timestamptz, timestamptz, text, text) to insights_admin, insights_worker;
