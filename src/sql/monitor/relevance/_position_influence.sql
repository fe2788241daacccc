create or replace function monitor._position_influence(
  alike bigint[],
  rank int[],
  bucket int[],
  listed float8[],
  clicked float8[],
  used int[],
  logs float8[],
  inverse float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- Arrays as relations have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  return (
    with cell as materialized (
      select
        given.alike, array_position(used, given.rank) as place, given.bucket,
        given.listed * exp(logs[array_position(used, given.rank)]) as weight, given.clicked
      from unnest(
        _position_influence.alike, _position_influence.rank, _position_influence.bucket, _position_influence.listed,
        _position_influence.clicked
      ) as given (alike, rank, bucket, listed, clicked)
    ),

    share as (
      select cell.alike, cell.place, sum(cell.weight) / sum(sum(cell.weight)) over (partition by cell.alike) as p
      from cell
      group by cell.alike, cell.place
    ),

    relevance as (
      select cell.alike, sum(cell.clicked) / sum(cell.weight) as relevance
      from cell
      group by cell.alike
      having sum(cell.clicked) > 0
    ),

    -- Clicks beyond the expected ones. Their sum is 0 over the people of a group, not over those of a bucket.
    residual as materialized (
      select cell.alike, cell.place, cell.bucket, cell.clicked - relevance.relevance * cell.weight as beyond
      from cell
      join relevance using (alike)
    ),

    score as (
      select part.bucket, part.place, sum(part.beyond) as score
      from (
        select residual.bucket, residual.place, sum(residual.beyond) as beyond
        from residual
        group by residual.bucket, residual.place

        union all

        select whole.bucket, share.place, -sum(whole.beyond * share.p)
        from (
          select residual.alike, residual.bucket, sum(residual.beyond) as beyond
          from residual
          group by residual.alike, residual.bucket
        ) as whole
        join share using (alike)
        group by whole.bucket, share.place
      ) as part
      where part.place > 1
      group by part.bucket, part.place
    ),

    buckets as (
      select count(distinct cell.bucket) as number from cell
    )

    select array_agg(influence.value order by influence.place, influence.bucket)
    from (
      select
        one.place,
        each.bucket,
        coalesce(sum(inverse[(one.place - 2) * (cardinality(used) - 1) + score.place - 1] * score.score), 0)
          * sqrt(buckets.number / greatest(buckets.number - 1, 1)::float8) as value
      from generate_series(2, cardinality(used)) as one (place)
      cross join generate_series(0, 63) as each (bucket)
      cross join buckets
      left join score on score.bucket = each.bucket
      group by one.place, each.bucket, buckets.number
    ) as influence
  );
end;
$$;

comment on function monitor._position_influence(
  bigint[], int[], int[], float8[], float8[], int[], float8[], float8[]
) is $$
@behavior -*
Returns what each of 64 buckets of people adds to the error of each rank's logarithm.
64 numbers per rank, from the second of `used` on.
$$;

grant execute on function
monitor._position_influence(bigint[], int[], int[], float8[], float8[], int[], float8[], float8[])
to insights_reader;
