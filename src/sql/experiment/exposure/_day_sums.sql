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
      array[
        sum(outcome.y), sum(outcome.y * outcome.y), sum(outcome.x), sum(outcome.x * outcome.x),
        sum(outcome.x * outcome.y)
      ] as sums
    from outcome
    where outcome.y <> 0
      or outcome.x <> 0
    group by outcome.cell, outcome.place
  ),

  ratio as (
    select
      pair.cell, pair.place,
      array[
        sum(m), sum(m * m), sum(m_before), sum(m_before * m_before), sum(m * m_before),
        sum(d), sum(d * d), sum(d_before), sum(d_before * d_before), sum(d * d_before),
        sum(m * d), sum(m * d_before), sum(m_before * d), sum(m_before * d_before)
      ] as sums
    from (
      select
        exposed.cell, metric.place,
        exposed.outcomes[metric.place] as m, exposed.outcomes_before[metric.place] as m_before,
        exposed.outcomes[metric.place + 1] as d, exposed.outcomes_before[metric.place + 1] as d_before
      from exposed
      join metric on metric.experiment_id = exposed.experiment_id and metric.is_ratio
    ) as pair
    where m <> 0 or d <> 0 or m_before <> 0 or d_before <> 0
    group by pair.cell, pair.place
  ),

  signed as materialized (
    select
      cell.experiment_id, metric.position, cell.variation, cell.exposed_on, cell.stratum, cell.sign, cell.people,
      coalesce(
        case when metric.is_ratio then ratio.sums else simple.sums end,
        array_fill(0::numeric, array[case when metric.is_ratio then 14 else 5 end])
      ) as sums
    from cell
    join metric
      on metric.experiment_id = cell.experiment_id
      and metric.place + metric.is_ratio::int <= cell.size
    left join simple on simple.cell = cell.cell and simple.place = metric.place
    left join ratio on ratio.cell = cell.cell and ratio.place = metric.place
    where cell.variation >= 0
  ),

  figure as (
    select
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum, entry.place,
      -- The zeros at the end would depend on the history.
      trim_scale(sum(signed.sign * entry.figure)) as figure
    from signed
    cross join lateral unnest(signed.sums) with ordinality as entry (figure, place)
    group by
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum, entry.place
  )

  select
    cell.experiment_id, (-1)::smallint, cell.variation, cell.exposed_on, cell.stratum,
    sum(cell.sign * cell.people)::bigint, '{}'::numeric[]
  from cell
  group by cell.experiment_id, cell.variation, cell.exposed_on, cell.stratum
  having sum(cell.sign * cell.people) <> 0

  union all

  select
    part.experiment_id, part.position, part.variation, part.exposed_on, part.stratum, part.people, summed.sums
  from (
    select
      signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum,
      sum(signed.sign * signed.people)::bigint as people
    from signed
    group by signed.experiment_id, signed.position, signed.variation, signed.exposed_on, signed.stratum
  ) as part
  join (
    select
      figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum,
      array_agg(figure.figure order by figure.place) as sums
    from figure
    group by figure.experiment_id, figure.position, figure.variation, figure.exposed_on, figure.stratum
  ) as summed using (experiment_id, position, variation, exposed_on, stratum);
end;
$$;

comment on function experiment._day_sums(experiment.exposure[], int[]) is $$
@behavior -*
Returns the sums of exposures, each added (1) or subtracted (-1), as in `experiment.day_sum`.
$$;

grant execute on function experiment._day_sums(experiment.exposure[], int[]) to insights_reader;
