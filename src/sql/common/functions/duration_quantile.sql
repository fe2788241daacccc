create or replace function common.duration_quantile(counts bigint[], quantile float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if cardinality(duration_quantile.counts) > cardinality(common.duration_bounds()) + 1
    or 0 > any (duration_quantile.counts) then
    perform common.refuse(
      'CF001',
      format(
        'there are %s counts, the lowest is %s', cardinality(duration_quantile.counts),
        (select min(calls) from unnest(duration_quantile.counts) as calls)
      ),
      format('Give at most %s counts, all from 0.', cardinality(common.duration_bounds()) + 1)
    );
  end if;
  -- NaN is greater than any number.
  if duration_quantile.quantile < 0 or duration_quantile.quantile > 1 then
    perform common.refuse(
      'CF001', format('the quantile is %s', duration_quantile.quantile), 'Give a share from 0 to 1, such as 0.95.'
    );
  end if;
  return (
    with bucket as (
      select
        counted.bucket,
        counted.calls,
        sum(counted.calls) over (order by counted.bucket) as calls_up_to,
        sum(counted.calls) over () * duration_quantile.quantile as rank
      from unnest(duration_quantile.counts) with ordinality as counted (calls, bucket)
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
    cross join (select common.duration_bounds() as bounds) as bound
  );
end;
$$;

comment on function common.duration_quantile(bigint[], float8) is $$
Returns a quantile of durations that are counted by `common.duration_bounds()`, in seconds; null without any.
Between the two bounds of a bucket they are taken to be spread evenly over the logarithm, so that the result is at most
√2 times as large or as small as the true value, from the first bound on. At or above the last bound it is that bound.
Errors: CF001 for a quantile below 0 or above 1, for more than 38 counts, and for a negative count.
$$;

grant execute on function common.duration_quantile(bigint[], float8)
to insights_reader, insights_admin, insights_worker;
