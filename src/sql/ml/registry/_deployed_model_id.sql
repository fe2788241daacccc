create or replace function ml._deployed_model_id(project_id int)
returns bigint
language sql
stable
parallel safe
begin atomic
  select latest.model_id
  from (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = _deployed_model_id.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as latest
  join ml.model on model.model_id = latest.model_id
  where model.marked_at is null;
end;

comment on function ml._deployed_model_id(int) is $$
Returns the key of the deployed version of a project; null when none is deployed, or it is marked.
$$;

grant execute on function ml._deployed_model_id(int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
