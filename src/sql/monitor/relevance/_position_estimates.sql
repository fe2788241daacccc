create or replace function monitor._position_estimates(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_estimate
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- Results of functions have no statistics.
set enable_mergejoin to off
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  return query
  with cell as materialized (
    select *
    from monitor._position_cells(
      _position_estimates.since, _position_estimates.until, _position_estimates.kind, _position_estimates.smallest_group
    )
  ),

  ranked as (
    select
      bucket.rank, sum(bucket.listed_count) as listed, sum(bucket.clicked_count) as clicked,
      count(*)::int as listed_buckets, (count(*) filter (where bucket.clicked_count > 0))::int as clicked_buckets
    from (
      select
        cell.rank, cell.bucket, sum(cell.listed_count) as listed_count, sum(cell.clicked_count) as clicked_count
      from cell
      group by cell.rank, cell.bucket
    ) as bucket
    group by bucket.rank
  ),

  grouped as (
    select cell.alike, cell.rank, sum(cell.listed_count) as listed, sum(cell.clicked_count) as clicked
    from cell
    group by cell.alike, cell.rank
  ),

  -- Groups that were served at several ranks and clicked.
  useful as materialized (
    select told.alike, told.rank, told.listed, told.clicked
    from (
      select
        grouped.*, sum(grouped.clicked) over alike > 0 and min(grouped.rank) over alike < max(grouped.rank) over alike
          as is_useful
      from grouped
      window alike as (partition by grouped.alike)
    ) as told
    where told.is_useful
  ),

  fitted as materialized (
    select fit.*
    from (
      select
        array_agg(useful.alike) as alike, array_agg(useful.rank) as rank, array_agg(useful.listed) as listed,
        array_agg(useful.clicked) as clicked
      from useful
    ) as given
    cross join lateral monitor._fit_positions(given.alike, given.rank, given.listed, given.clicked) as fit
  ),

  -- The share of each rank in the clicks of its group, and clicks per row, as they are expected.
  expected as materialized (
    select
      weighed.alike, weighed.place, weighed.rank, weighed.weight / sum(weighed.weight) over alike as share,
      weighed.examination * sum(weighed.clicked) over alike / sum(weighed.weight) over alike as rate
    from (
      select
        useful.*, examined.place, exp(examined.log) as examination, useful.listed * exp(examined.log) as weight
      from fitted
      cross join lateral unnest(fitted.used, fitted.logs) with ordinality as examined (rank, log, place)
      join useful on useful.rank = examined.rank
      where fitted.inverse is not null
    ) as weighed
    window alike as (partition by weighed.alike)
  ),

  -- Clicks beyond the expected ones. Their sum is 0 over the people of a group, not over those of a bucket.
  beyond as materialized (
    select
      cell.alike, expected.place, cell.bucket, sum(cell.clicked_count - cell.listed_count * expected.rate) as clicks
    from cell
    join expected
      on expected.alike = cell.alike
      and expected.rank = cell.rank
    group by grouping sets ((cell.alike, cell.bucket), (expected.place, cell.bucket))
  ),

  served as (
    select beyond.bucket
    from beyond
    where beyond.place is not null
    group by beyond.bucket
  ),

  score as (
    select part.place, part.bucket, sum(part.score) as score
    from (
      select beyond.place, beyond.bucket, beyond.clicks as score
      from beyond
      where beyond.place is not null

      union all

      select expected.place, beyond.bucket, -sum(beyond.clicks * expected.share)
      from beyond
      join expected on expected.alike = beyond.alike
      where beyond.alike is not null
      group by expected.place, beyond.bucket
    ) as part
    where part.place > 1
    group by part.place, part.bucket
  ),

  influence as (
    select place.rank, array_agg(place.influence order by place.bucket) as influence
    from (
      select
        examined.rank, each.bucket,
        coalesce(sum(examined.inverse[score.place - 1] * score.score), 0)
          * (select sqrt(count(*) / greatest(count(*) - 1, 1)::float8) from served) as influence
      from (
        select
          used.rank,
          case used.place
            when 1 then array_fill(0::float8, array[cardinality(fitted.used) - 1])
            else fitted.inverse[
              (used.place - 2) * (cardinality(fitted.used) - 1) + 1:(used.place - 1) * (cardinality(fitted.used) - 1)
            ]
          end as inverse
        from fitted
        cross join lateral unnest(fitted.used) with ordinality as used (rank, place)
        where fitted.inverse is not null
      ) as examined
      cross join generate_series(0, 63) as each (bucket)
      left join score on score.bucket = each.bucket
      group by examined.rank, each.bucket
    ) as place
    group by place.rank
  )

  select
    ranked.rank, ranked.listed, ranked.clicked, ranked.listed_buckets, ranked.clicked_buckets,
    fitted.compared[ranked.rank],
    fitted.logs[array_position(fitted.used, ranked.rank)],
    influence.influence
  from ranked
  cross join fitted
  left join influence on influence.rank = ranked.rank
  order by ranked.rank;
end;
$$;

comment on function monitor._position_estimates(timestamptz, timestamptz, text, int) is $$
@behavior -*
Estimates how often each rank is examined, from rows that are alike and were served at different ranks.
The model is that of positions: a row is clicked with the probability (examination of its rank) × (relevance of the
row), as in Craswell and others, "An Experimental Comparison of Click Position-Bias Models", 2008. Equal rows that were
served at different ranks are the interventions of Agarwal and others, "Estimating Position Bias without Intrusive
Interventions", WSDM 2019. Instead of their pairs of ranks, all ranks are compared at once by the conditional likelihood
of a Poisson model with an effect per group (Hausman, Hall and Griliches, Econometrica 1984), in which the relevance
cancels out, so that many small groups cause no bias. It needs the mean to be right only (Wooldridge, Journal of
Econometrics 1999); the variance is that of sums over 64 buckets of people, so that it allows for people who click more.
A rank with fewer than 10 clicks to compare has no estimate.
$$;

grant execute on function monitor._position_estimates(timestamptz, timestamptz, text, int) to insights_reader;
