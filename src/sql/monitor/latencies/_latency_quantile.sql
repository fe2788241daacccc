create or replace function monitor._latency_quantile(counts bigint[], quantile float8)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  with bucket as (
    select
      counted.bucket,
      counted.calls,
      sum(counted.calls) over (order by counted.bucket) as calls_up_to,
      sum(counted.calls) over () * _latency_quantile.quantile as rank
    from unnest(_latency_quantile.counts) with ordinality as counted (calls, bucket)
  ),

  holding as (
    select
      bucket.bucket,
      -- The part of the bucket's calls that are below the rank.
      ((bucket.rank - bucket.calls_up_to + bucket.calls) / bucket.calls)::float8 as part
    from bucket
    where bucket.calls > 0
      and bucket.calls_up_to >= bucket.rank
    order by bucket.bucket
    limit 1
  )

  select
    case
      when holding.bucket = 1 then bound.bounds[1] * holding.part
      when holding.bucket > cardinality(bound.bounds) then bound.bounds[cardinality(bound.bounds)]
      else bound.bounds[holding.bucket - 1]
        * power(bound.bounds[holding.bucket] / bound.bounds[holding.bucket - 1], holding.part)
    end
  from holding
  cross join (select monitor.latency_bounds() as bounds) as bound
$$;

comment on function monitor._latency_quantile(bigint[], float8) is $$
Returns a quantile of calls that are counted by `monitor.latency_bounds()`, in seconds; null without calls.
Between the two bounds of a bucket the calls are taken to be spread evenly over the logarithm of the time.
$$;

grant execute on function monitor._latency_quantile(bigint[], float8)
to insights_reader, insights_admin, insights_worker;
