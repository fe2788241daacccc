create or replace function ml._deployed_model_id(project_id int)
returns bigint
language sql
stable
parallel safe
begin atomic
  select deployment.model_id
  from ml.deployment
  where deployment.project_id = _deployed_model_id.project_id
  order by deployment.deployment_id desc
  limit 1;
end;

comment on function ml._deployed_model_id(int) is $$
The version of a project that is in force, null when there is none.
$$;

grant execute on function ml._deployed_model_id(int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
