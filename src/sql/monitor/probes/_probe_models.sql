create or replace function monitor._probe_models()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, jsonb_build_object('project', project.name), measured.value
  from ml.project
  cross join lateral (
    select deployment.model_id, deployment.deployed_at
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as deployed
  join ml.model on model.model_id = deployed.model_id
  cross join lateral (
    values
      ('insights_model_version', model.version::float8),
      ('insights_model_age_seconds', extract(epoch from clock_timestamp() - model.trained_at)::float8),
      ('insights_model_deployment_age_seconds', extract(epoch from clock_timestamp() - deployed.deployed_at)::float8),
      ('insights_model_training_seconds', extract(epoch from model.duration)::float8),
      ('insights_model_is_marked', (model.marked_at is not null)::int::float8)
  ) as measured (metric, value)
  where length(project.name) <= 200

  union all

  -- The last measurement of each input (`ml.measure_drift`).
  select 'insights_model_input_drift', jsonb_build_object('project', project.name), max(drift.value)
  from ml.project
  cross join lateral (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as deployed
  cross join lateral (
    select distinct on (drift.feature) drift.value
    from ml.drift
    where drift.model_id = deployed.model_id
      and drift.statistic = 'population_stability_index'
      and drift.measured_at > clock_timestamp() - interval '3 days'
    order by drift.feature, drift.drift_id desc
  ) as drift
  where length(project.name) <= 200
  group by project.name
$$;

comment on function monitor._probe_models() is $$
Measures the deployed version of each project: its age, its training and the drift of its inputs.
$$;
