create or replace function experiment.definition(experiment text)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(definition.experiment);
  v_weighting record;
begin
  select known.weights, known.coverage into v_weighting
  from experiment.weighting as known
  where known.experiment_id = v_experiment.experiment_id
  order by known.since desc
  limit 1;
  return (
    select jsonb_object_agg(field.key, field.value)
    from jsonb_each(
      -- Columns by their names, without those of the course of the experiment.
      to_jsonb(v_experiment)
        - '{experiment_id,experiment_key,feature_key,state,created_at,started_at,stopped_at,shipped_variation}'::text[]
        || jsonb_build_object(
          'key', v_experiment.experiment_key,
          'feature', v_experiment.feature_key,
          'weights', v_weighting.weights,
          'coverage', v_weighting.coverage,
          'variations', (
            select jsonb_agg(
              jsonb_build_object('key', known.variation_key, 'name', known.name, 'value', known.value)
              order by known.variation
            )
            from experiment.variation as known
            where known.experiment_id = v_experiment.experiment_id
          )
        )
        || (
          select coalesce(jsonb_object_agg(part.role, part.metrics), '{}')
          from (
            select
              case measured.role when 'goal' then 'goals' when 'guardrail' then 'guardrails' else measured.role end
                as role,
              jsonb_agg(
                case
                  when measured.margin is null then to_jsonb(metric.metric_key)
                  else jsonb_build_object('metric', metric.metric_key, 'margin', measured.margin)
                end
                order by measured.position
              ) as metrics
            from experiment.measured
            join experiment.metric using (metric_id)
            where measured.experiment_id = v_experiment.experiment_id
            group by measured.role
          ) as part
        )
    ) as field
    where field.value <> 'null'
  );
end;
$$;

comment on function experiment.definition(text) is $$
Returns the definition of an experiment, complete, as `experiment.define_experiment` accepts it.
The weights are the present ones. Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.definition(text) to insights_analyst, insights_admin, insights_worker;
