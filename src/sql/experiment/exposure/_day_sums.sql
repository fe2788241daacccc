create or replace function experiment._day_sums(exposures experiment.exposure[], signs int[])
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
set work_mem to '64MB'
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
set enable_mergejoin to off
as $$
begin
  return query
  with entry as materialized (
    select
      entry.experiment_id,
      case when entry.variation is null then -1 when not entry.is_counted then -2 else entry.variation end::smallint
        as variation,
      entry.exposed_on, coalesce(entry.stratum, '') as stratum, entry.sign, cardinality(entry.outcomes) as size,
      entry.outcomes, entry.outcomes_before
    from unnest(exposures, signs) as entry (
      person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
      outcomes_before, sign
    )
  ),

  -- The rows to which people belong have a number, by which the sums are grouped.
  cell as materialized (
    select
      row_number() over () as cell, entry.experiment_id, entry.variation, entry.exposed_on, entry.stratum, entry.sign,
      entry.size, count(*) as people
    from entry
    group by entry.experiment_id, entry.variation, entry.exposed_on, entry.stratum, entry.sign, entry.size
  ),

  exposed as materialized (
    select cell.cell, cell.experiment_id, entry.outcomes, entry.outcomes_before
    from entry
    join cell using (experiment_id, variation, exposed_on, stratum, sign, size)
    where cell.variation >= 0
  ),

  metric as materialized (
    select slot.experiment_id, slot.position, min(slot.place) as place, count(*) = 2 as is_ratio
    from experiment._slots(array(select distinct cell.experiment_id from cell)) as slot
    group by slot.experiment_id, slot.position
  ),

  outcome as (
    select
      exposed.cell, exposed.experiment_id, generate_subscripts(exposed.outcomes, 1) as place,
      unnest(exposed.outcomes) as y, unnest(exposed.outcomes_before) as x
    from exposed
  ),

  -- Most outcomes are 0, and add nothing.
  simple as (
    select
      outcome.cell, outcome.place,
      sum(outcome.y) as y, sum(outcome.y * outcome.y) as yy, sum(outcome.x) as x, sum(outcome.x * outcome.x) as xx,
      sum(outcome.x * outcome.y) as xy
    from outcome
    where outcome.y <> 0
      or outcome.x <> 0
    group by outcome.cell, outcome.place
  ),

  ratio as (
    select
      pair.cell, pair.place,
      sum(m) as m, sum(m * m) as mm, sum(m_before) as mb, sum(m_before * m_before) as mb_mb, sum(m * m_before) as m_mb,
      sum(d) as d, sum(d * d) as dd, sum(d_before) as db, sum(d_before * d_before) as db_db, sum(d * d_before) as d_db,
      sum(m * d) as md, sum(m * d_before) as m_db, sum(m_before * d) as mb_d, sum(m_before * d_before) as mb_db
    from (
      select
        exposed.cell, metric.place,
        exposed.outcomes[metric.place] as m, exposed.outcomes_before[metric.place] as m_before,
        exposed.outcomes[metric.place + 1] as d, exposed.outcomes_before[metric.place + 1] as d_before
      from exposed
      join metric on metric.experiment_id = exposed.experiment_id and metric.is_ratio
      -- Each element is read once: the planner would copy the expressions into the sums.
      offset 0
    ) as pair
    where m <> 0 or d <> 0 or m_before <> 0 or d_before <> 0
    group by pair.cell, pair.place
  ),

  summed as (
    select
      cell.experiment_id, metric.position, cell.variation, cell.exposed_on, cell.stratum, metric.is_ratio,
      sum(cell.sign * cell.people)::bigint as people,
      case
        when metric.is_ratio then array[
          sum(cell.sign * ratio.m), sum(cell.sign * ratio.mm), sum(cell.sign * ratio.mb), sum(cell.sign * ratio.mb_mb),
          sum(cell.sign * ratio.m_mb), sum(cell.sign * ratio.d), sum(cell.sign * ratio.dd), sum(cell.sign * ratio.db),
          sum(cell.sign * ratio.db_db), sum(cell.sign * ratio.d_db), sum(cell.sign * ratio.md),
          sum(cell.sign * ratio.m_db), sum(cell.sign * ratio.mb_d), sum(cell.sign * ratio.mb_db)
        ]
        else array[
          sum(cell.sign * simple.y), sum(cell.sign * simple.yy), sum(cell.sign * simple.x), sum(cell.sign * simple.xx),
          sum(cell.sign * simple.xy)
        ]
      end as sums
    from cell
    join metric
      on metric.experiment_id = cell.experiment_id
      and metric.place + metric.is_ratio::int <= cell.size
    left join simple on simple.cell = cell.cell and simple.place = metric.place and not metric.is_ratio
    left join ratio on ratio.cell = cell.cell and ratio.place = metric.place and metric.is_ratio
    where cell.variation >= 0
    group by
      cell.experiment_id, metric.position, cell.variation, cell.exposed_on, cell.stratum, metric.is_ratio
  )

  select
    cell.experiment_id, (-1)::smallint, cell.variation, cell.exposed_on, cell.stratum,
    sum(cell.sign * cell.people)::bigint, '{}'::numeric[]
  from cell
  group by cell.experiment_id, cell.variation, cell.exposed_on, cell.stratum
  having sum(cell.sign * cell.people) <> 0

  union all

  select
    summed.experiment_id, summed.position, summed.variation, summed.exposed_on, summed.stratum, summed.people,
    -- The zeros at the end would depend on the history.
    array(
      select trim_scale(coalesce(entry.figure, 0))
      from unnest(summed.sums) with ordinality as entry (figure, place)
      order by entry.place
    )
  from summed;
end;
$$;

comment on function experiment._day_sums(experiment.exposure[], int[]) is $$
@behavior -*
Returns the sums of exposures, each added (1) or subtracted (-1), as in `experiment.day_sum`.
$$;

grant execute on function experiment._day_sums(experiment.exposure[], int[]) to insights_reader;
