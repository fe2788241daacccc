create or replace function experiment._slots(experiments int[] default null)
returns setof experiment.slot
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- Planned once: a plan takes longer than the statement, and the values change nothing in it.
set plan_cache_mode to force_generic_plan
set jit to off
as $$
begin
  return query
  with part as (
    select
      experiment.experiment_id, measured.position, leaf.part, leaf.metric_id,
      coalesce(experiment.stopped_at, 'infinity') as ends_at, experiment.before_period,
      row_number() over (partition by experiment.experiment_id order by measured.position, leaf.part)::int as place
    from experiment.experiment
    join experiment.measured using (experiment_id)
    join experiment.metric using (metric_id)
    cross join lateral (
      values
        (1, coalesce(metric.numerator_metric_id, metric.metric_id)),
        (2, metric.denominator_metric_id)
    ) as leaf (part, metric_id)
    where leaf.metric_id is not null
      and (_slots.experiments is null or experiment.experiment_id = any (_slots.experiments))
      and experiment.started_at is not null
  )

  select
    part.experiment_id,
    part.place,
    part.position,
    case
      when metric.type in ('proportion', 'retention') then 'any'
      when metric.type = 'quantile' then 'values'
      when metric.type = 'mean' and metric.value_property is not null then 'sum'
      else 'count'
    end,
    metric.event_type_ids,
    coalesce(item.merged_item_id, item.item_id),
    metric.property_filter,
    metric.value_property,
    metric.cap,
    experiment._in_hours(metric.delay),
    experiment._in_hours(metric.period),
    part.ends_at,
    experiment._in_hours(part.before_period),
    metric.type in ('proportion', 'retention', 'count', 'mean')
      and metric.value_property is null
      and metric.property_filter is null
      and metric.item_id is null
      -- Events of a merged type are in the journeys under the type that it was merged into.
      and not exists (
        select
        from track.event_type
        where event_type.event_type_id = any (metric.event_type_ids)
          and event_type.merged_event_type_id is not null
      )
  from part
  join experiment.metric on metric.metric_id = part.metric_id
  left join track.item on item.item_id = metric.item_id;
end;
$$;

comment on function experiment._slots(int[]) is $$
@behavior -*
Returns the outcomes of experiments that have started, one per metric and two per ratio; null: of all of them.
$$;

grant execute on function experiment._slots(int[]) to insights_reader;
