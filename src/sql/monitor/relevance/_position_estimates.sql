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
-- Arrays as relations have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
declare
  v_fewest_clicks constant int := 10;
  v_listed float8[];
  v_clicked float8[];
  v_listed_buckets int[];
  v_clicked_buckets int[];
  v_groups bigint[];
  v_ranks int[];
  v_buckets int[];
  v_cell_listed float8[];
  v_cell_clicked float8[];
  v_used int[] := null;
  v_former int[];
  v_logs float8[];
  v_compared float8[];
  v_inverse float8[];
  v_influence float8[];
  v_step record;
begin
  -- All cells once: those of ranks, and those of groups that occur at several ranks and were clicked.
  with cell as materialized (
    select *
    from monitor._position_cells(
      _position_estimates.since, _position_estimates.until, _position_estimates.kind, _position_estimates.smallest_group
    )
  ),

  useful as (
    select cell.alike
    from cell
    group by cell.alike
    having sum(cell.clicked_count) > 0
      and min(cell.rank) < max(cell.rank)
  ),

  ranked as (
    select
      place.rank,
      coalesce(sum(cell.listed_count), 0) as listed,
      coalesce(sum(cell.clicked_count), 0) as clicked,
      count(cell.bucket) as listed_buckets,
      count(cell.bucket) filter (where cell.clicked_count > 0) as clicked_buckets
    from generate_series(1, 20) as place (rank)
    left join (
      select
        cell.rank, cell.bucket, sum(cell.listed_count) as listed_count, sum(cell.clicked_count) as clicked_count
      from cell
      group by cell.rank, cell.bucket
    ) as cell using (rank)
    group by place.rank
  )

  select total.*, kept.*
  into
    v_listed, v_clicked, v_listed_buckets, v_clicked_buckets, v_groups, v_ranks, v_buckets, v_cell_listed,
    v_cell_clicked
  from (
    select
      array_agg(ranked.listed order by ranked.rank) as listed,
      array_agg(ranked.clicked order by ranked.rank) as clicked,
      array_agg(ranked.listed_buckets order by ranked.rank) as listed_buckets,
      array_agg(ranked.clicked_buckets order by ranked.rank) as clicked_buckets
    from ranked
  ) as total
  cross join (
    select
      array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.bucket), array_agg(cell.listed_count),
      array_agg(cell.clicked_count)
    from cell
    join useful using (alike)
  ) as kept;

  -- Ranks with enough clicks in groups that have two of such ranks, until no rank falls out.
  v_used := array(select generate_series(1, 20));
  loop
    v_former := v_used;
    select
      array_agg(compared.rank order by compared.rank) filter (where compared.clicked >= v_fewest_clicks),
      array_agg(compared.clicked order by compared.rank)
    into v_used, v_compared
    from (
      select place.rank, coalesce(sum(cell.clicked), 0) as clicked
      from generate_series(1, 20) as place (rank)
      left join (
        select
          cell.rank, sum(cell.clicked) as clicked, min(cell.rank) over alike < max(cell.rank) over alike as is_compared
        from unnest(v_groups, v_ranks, v_cell_clicked) as cell (alike, rank, clicked)
        where cell.rank = any (v_former)
        group by cell.alike, cell.rank
        window alike as (partition by cell.alike)
      ) as cell
        on cell.rank = place.rank
        and cell.is_compared
      group by place.rank
    ) as compared;
    exit when v_used is null or v_used = v_former;
  end loop;

  if v_used[1] = 1 and cardinality(v_used) > 1 then
    -- Groups among these ranks only, whatever their bucket.
    select array_agg(cell.alike), array_agg(cell.rank), array_agg(cell.bucket), array_agg(cell.listed),
      array_agg(cell.clicked)
    into v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked
    from unnest(v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked)
      as cell (alike, rank, bucket, listed, clicked)
    where cell.rank = any (v_used);
    v_logs := monitor._fit_positions(v_groups, v_ranks, v_cell_listed, v_cell_clicked, v_used);
    if v_logs is not null then
      select * into v_step
      from monitor._position_step(v_groups, v_ranks, v_cell_listed, v_cell_clicked, v_used, v_logs);
      v_inverse := monitor._inverse(v_step.information, cardinality(v_used) - 1);
      v_influence := monitor._position_influence(
        v_groups, v_ranks, v_buckets, v_cell_listed, v_cell_clicked, v_used, v_logs, v_inverse
      );
    end if;
  end if;

  return query
  select
    place.rank,
    v_listed[place.rank],
    v_clicked[place.rank],
    v_listed_buckets[place.rank],
    v_clicked_buckets[place.rank],
    case when v_groups is null then 0 else v_compared[place.rank] end,
    v_logs[array_position(v_used, place.rank)],
    case
      when v_logs is null or array_position(v_used, place.rank) is null then null
      when place.rank = 1 then array_fill(0::float8, array[64])
      else v_influence[
        (array_position(v_used, place.rank) - 2) * 64 + 1:(array_position(v_used, place.rank) - 1) * 64
      ]
    end
  from generate_series(1, 20) as place (rank)
  where v_listed[place.rank] > 0
  order by place.rank;
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
