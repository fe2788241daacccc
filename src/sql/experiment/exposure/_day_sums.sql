create or replace function experiment._day_sums(exposures experiment.exposure[], signs int[])
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with exposed as materialized (
    select
      entry.experiment_id,
      case when entry.variation is null then -1 when not entry.is_counted then -2 else entry.variation end::smallint
        as variation,
      entry.exposed_on, coalesce(entry.stratum, '') as stratum, entry.outcomes, entry.outcomes_before, entry.sign
    from unnest(exposures, signs) as entry (
      person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
      outcomes_before, sign
    )
  ),

  metric as materialized (
    select slot.experiment_id, slot.position, min(slot.place) as place, count(*) = 2 as is_ratio
    from experiment._slots(array(select distinct exposed.experiment_id from exposed)) as slot
    group by slot.experiment_id, slot.position
  )

  select
    exposed.experiment_id, (-1)::smallint, exposed.variation, exposed.exposed_on, exposed.stratum, sum(exposed.sign),
    '{}'::numeric[]
  from exposed
  group by exposed.experiment_id, exposed.variation, exposed.exposed_on, exposed.stratum
  having sum(exposed.sign) <> 0

  union all

  select
    outcome.experiment_id, outcome.position, outcome.variation, outcome.exposed_on, outcome.stratum,
    sum(outcome.sign),
    array[
      sum(outcome.sign * y), sum(outcome.sign * y * y), sum(outcome.sign * x), sum(outcome.sign * x * x),
      sum(outcome.sign * x * y)
    ]
  from (
    select
      exposed.experiment_id, metric.position, exposed.variation, exposed.exposed_on, exposed.stratum, exposed.sign,
      exposed.outcomes[metric.place] as y, exposed.outcomes_before[metric.place] as x
    from exposed
    join metric on metric.experiment_id = exposed.experiment_id and not metric.is_ratio
    where exposed.variation >= 0
      and metric.place <= cardinality(exposed.outcomes)
  ) as outcome
  group by outcome.experiment_id, outcome.position, outcome.variation, outcome.exposed_on, outcome.stratum

  union all

  select
    outcome.experiment_id, outcome.position, outcome.variation, outcome.exposed_on, outcome.stratum,
    sum(outcome.sign),
    array[
      sum(outcome.sign * m), sum(outcome.sign * m * m),
      sum(outcome.sign * m_before), sum(outcome.sign * m_before * m_before), sum(outcome.sign * m * m_before),
      sum(outcome.sign * d), sum(outcome.sign * d * d),
      sum(outcome.sign * d_before), sum(outcome.sign * d_before * d_before), sum(outcome.sign * d * d_before),
      sum(outcome.sign * m * d), sum(outcome.sign * m * d_before), sum(outcome.sign * m_before * d),
      sum(outcome.sign * m_before * d_before)
    ]
  from (
    select
      exposed.experiment_id, metric.position, exposed.variation, exposed.exposed_on, exposed.stratum, exposed.sign,
      exposed.outcomes[metric.place] as m, exposed.outcomes_before[metric.place] as m_before,
      exposed.outcomes[metric.place + 1] as d, exposed.outcomes_before[metric.place + 1] as d_before
    from exposed
    join metric on metric.experiment_id = exposed.experiment_id and metric.is_ratio
    where exposed.variation >= 0
      and metric.place < cardinality(exposed.outcomes)
  ) as outcome
  group by outcome.experiment_id, outcome.position, outcome.variation, outcome.exposed_on, outcome.stratum;
end;
$$;

comment on function experiment._day_sums(experiment.exposure[], int[]) is $$
@behavior -*
Returns the sums of exposures, each added (1) or subtracted (-1), as in `experiment.day_sum`.
$$;

grant execute on function experiment._day_sums(experiment.exposure[], int[]) to insights_reader;
