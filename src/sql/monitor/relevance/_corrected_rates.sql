create or replace function monitor._corrected_rates(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int,
  cells monitor.ranked_cell[],
  corrects boolean default true
)
returns setof monitor.corrected_rate
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set enable_nestloop to off
set work_mem to '64MB'
as $$
begin
  return query
  with position as materialized (
    select estimate.rank, exp(-estimate.log_examination) as weight, estimate.influence
    from monitor._position_estimates(
      _corrected_rates.since, _corrected_rates.until, _corrected_rates.kind, _corrected_rates.smallest_group
    ) as estimate
    where _corrected_rates.corrects
      and estimate.log_examination is not null

    union all

    select place.rank, 1, array_fill(0::float8, array[64])
    from generate_series(1, 20) as place (rank)
    where not _corrected_rates.corrects
  ),

  weighed as materialized (
    select cell.name, cell.starts_at, cell.rank, cell.bucket, cell.listed, cell.clicked * position.weight as clicked
    from unnest(_corrected_rates.cells) as cell
    join position on position.rank = cell.rank
  ),

  rated as (
    select
      entry.*,
      sum(entry.listed) over own as all_listed,
      sum(entry.clicked) over own / sum(entry.listed) over own as rate,
      count(*) over own::float8 as buckets
    from (
      select
        weighed.name, weighed.starts_at, weighed.bucket, sum(weighed.listed) as listed, sum(weighed.clicked) as clicked
      from weighed
      group by weighed.name, weighed.starts_at, weighed.bucket
    ) as entry
    window own as (partition by entry.name, entry.starts_at)
  ),

  -- The error of the rate by bucket of people: by their own clicks, and by what they add to the error of each rank.
  part as (
    select
      rated.name, rated.starts_at, rated.bucket, rated.all_listed, rated.rate, rated.buckets,
      (rated.clicked - rated.rate * rated.listed) * sqrt(rated.buckets / greatest(rated.buckets - 1, 1)) as error
    from rated

    union all

    select
      ranked.name, ranked.starts_at, entry.place::int - 1, null, null, null, -ranked.clicked * entry.influence
    from (
      select weighed.name, weighed.starts_at, weighed.rank, sum(weighed.clicked) as clicked
      from weighed
      group by weighed.name, weighed.starts_at, weighed.rank
    ) as ranked
    join position on position.rank = ranked.rank
    cross join lateral unnest(position.influence) with ordinality as entry (influence, place)
  ),

  -- All 64 buckets: each rank has its influence on them.
  spread as (
    select
      bucket.name, bucket.starts_at, max(bucket.rate) as rate, max(bucket.buckets) as buckets,
      sqrt(sum(bucket.error ^ 2)) / max(bucket.all_listed) as error,
      array_agg(bucket.error order by bucket.bucket) as errors, max(bucket.all_listed) as listed
    from (
      select
        part.name, part.starts_at, part.bucket, sum(part.error) as error, max(part.all_listed) as all_listed,
        max(part.rate) as rate, max(part.buckets) as buckets
      from part
      group by part.name, part.starts_at, part.bucket
    ) as bucket
    group by bucket.name, bucket.starts_at
  )

  select
    spread.name, spread.starts_at, spread.rate, spread.error,
    case when spread.buckets >= 10 and spread.rate > 0 then
      spread.rate * exp(-ml.students_t_quantile(0.975, spread.buckets - 1) * spread.error / spread.rate)
    end,
    case when spread.buckets >= 10 and spread.rate > 0 then
      spread.rate * exp(ml.students_t_quantile(0.975, spread.buckets - 1) * spread.error / spread.rate)
    end,
    array(select error / spread.listed from unnest(spread.errors) with ordinality as e (error, place) order by place)
  from spread;
end;
$$;

comment on function monitor._corrected_rates(timestamptz, timestamptz, text, int, monitor.ranked_cell[], boolean) is $$
@behavior -*
Returns the mean relevance of the rows of each group: clicks, each divided by the examination of its rank, per row.
Inverse propensity weighting, as in Joachims, Swaminathan and Schnabel, "Unbiased Learning-to-Rank with Biased
Feedback", WSDM 2017. The standard error includes that of the examination, of the same people. Rows at ranks without an
estimate are left out. `corrects`: false for the click rate as it is.
$$;

grant execute on function monitor._corrected_rates(timestamptz, timestamptz, text, int, monitor.ranked_cell[], boolean)
to insights_reader;
