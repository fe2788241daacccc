/* A definer: it writes the registry, and is granted to those who may train. */
create or replace function ml._deploy(model_id bigint, strategy text)
returns void
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  insert into ml.deployment (project_id, model_id, strategy)
  select model.project_id, model.model_id, _deploy.strategy
  from ml.model
  where model.model_id = _deploy.model_id
    and model.model_id is distinct from ml._deployed_model_id(model.project_id);
$$;

comment on function ml._deploy(bigint, text) is $$
Deploys a version and records the reason; a version that is deployed already stays deployed, without a record.
$$;

grant execute on function ml._deploy(bigint, text) to insights_admin, insights_worker;
