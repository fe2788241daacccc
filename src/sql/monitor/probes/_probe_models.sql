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
$$;

comment on function monitor._probe_models() is $$
Measures the deployed version of each project: its age and its training.
$$;
