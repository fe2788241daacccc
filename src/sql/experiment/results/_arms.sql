create or replace function experiment._arms(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  only_complete boolean default true,
  until date default null,
  metric_position smallint default null
)
returns setof experiment.arm
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_has_before constant boolean := (experiment).before_period > '0';
  v_stored constant experiment.day_sum[] := array(
    select stored
    from experiment._arm_sums(v_id, _arms.among) as stored
    where stored.variation >= 0
      and (_arms.until is null or stored.exposed_on <= _arms.until)
  );
  -- The test of strata takes a limited number of them: those with few people are one.
  v_strata constant text[] := array(
    select stored.stratum
    from unnest(v_stored) as stored
    where stored.position = -1
    group by stored.stratum
    order by sum(stored.people) desc, stored.stratum
    limit 100
  );
begin
  return query
  with metric as materialized (
    select
      measured.position, metric.type,
      least(
        case when _arms.only_complete then experiment._complete_until(_arms.experiment, measured.metric_id) end,
        _arms.until
      ) as until
    from experiment.measured
    join experiment.metric using (metric_id)
    where measured.experiment_id = v_id
      and (_arms.metric_position is null or measured.position = _arms.metric_position)
  ),

  known as materialized (
    select
      metric.type, stored.position, stored.variation, stored.people, stored.sums,
      case when stored.stratum = any (v_strata) then stored.stratum else 'other strata' end as stratum
    from unnest(v_stored) as stored
    join metric on metric.position = stored.position
    where metric.type <> 'quantile'
      and (metric.until is null or stored.exposed_on <= metric.until)
  ),

  -- A stratum in which one variation has no people is added to the largest stratum by `experiment.compare_strata`.
  stored as (
    select known.type, known.position, known.variation, known.people, known.sums, known.stratum
    from known

    union all

    select
      arm.type, arm.position, arm.variation, 0,
      array_fill(0::numeric, array[case when arm.type = 'ratio' then 14 else 5 end]), part.stratum
    from (select distinct known.type, known.position, known.variation from known) as arm
    join (select distinct known.position, known.stratum from known) as part on part.position = arm.position
  ),

  added as (
    select stored.type, stored.position, stored.variation, stored.stratum, sum(stored.people)::bigint as people
    from stored
    group by
      grouping sets (
        (stored.type, stored.position, stored.variation, stored.stratum),
        (stored.type, stored.position, stored.variation)
      )
  ),

  figure as (
    select stored.position, stored.variation, stored.stratum, entry.place, sum(entry.figure) as figure
    from stored
    cross join lateral unnest(stored.sums) with ordinality as entry (figure, place)
    group by
      grouping sets (
        (stored.position, stored.variation, stored.stratum, entry.place),
        (stored.position, stored.variation, entry.place)
      )
  ),

  summed as (
    select
      figure.position, figure.variation, figure.stratum, array_agg(figure.figure order by figure.place) as sums
    from figure
    group by figure.position, figure.variation, figure.stratum
  )

  select
    added.position, added.variation, added.stratum, added.people,
    experiment._sums_statistic(added.type, added.people, summed.sums, false),
    experiment._sums_statistic(added.type, added.people, summed.sums, v_has_before)
  from added
  join summed
    on summed.position = added.position
    and summed.variation = added.variation
    and summed.stratum is not distinct from added.stratum;

  if _arms.among is null
    and coalesce(_arms.until >= ((experiment).stopped_at at time zone 'UTC')::date, true)
    and exists (select from experiment.kept where kept.experiment_id = v_id)
  then
    return query
    select
      (entry.value -> 'position')::smallint, (entry.value -> 'variation')::smallint, part.stratum,
      (entry.value -> 'people')::bigint, entry.value -> 'statistic', entry.value -> 'statistic'
    from experiment.kept
    cross join lateral jsonb_array_elements(kept.quantiles) as entry
    cross join (values (''), (null)) as part (stratum)
    where kept.experiment_id = v_id
      and (entry.value -> 'is_complete')::boolean = _arms.only_complete
      and (_arms.metric_position is null or (entry.value -> 'position')::smallint = _arms.metric_position);
    return;
  elsif _arms.among is null
    and exists (select from experiment.kept where kept.experiment_id = v_id)
    and not experiment._are_events_complete(_arms.experiment)
  then
    -- The values of earlier days are deleted.
    return;
  end if;
  return query
  select
    measured.position, quantile.variation, part.stratum, quantile.people, quantile.statistic, quantile.statistic
  from experiment.measured
  join experiment.metric using (metric_id)
  cross join lateral experiment._quantile_statistics(
    v_id, measured.position, metric.quantile,
    least(
      case when _arms.only_complete then experiment._complete_until(_arms.experiment, measured.metric_id) end,
      _arms.until
    ),
    _arms.among
  ) as quantile
  cross join (values (''), (null)) as part (stratum)
  where measured.experiment_id = v_id
    and metric.type = 'quantile'
    and (_arms.metric_position is null or measured.position = _arms.metric_position);
end;
$$;

comment on function experiment._arms(experiment.experiment, track.person_set_block[], boolean, date, smallint) is $$
@behavior -*
Returns the statistics of each metric and variation of an experiment, by stratum and of all people.
`among`: the exposed people that count; null: all. `only_complete`: those whose period of the metric has passed.
`until`: those who were exposed on this day (UTC) at the latest. Quantiles are not stratified.
`metric_position`: only this metric.
$$;

grant execute on function experiment._arms(experiment.experiment, track.person_set_block[], boolean, date, smallint)
to insights_reader;
