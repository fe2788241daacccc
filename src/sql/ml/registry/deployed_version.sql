create or replace function ml.deployed_version(project text)
returns int
language sql
stable
parallel safe
begin atomic
  select model.version
  from ml.project as known
  join ml.model on model.model_id = ml._deployed_model_id(known.project_id)
  where known.name = deployed_version.project;
end;

comment on function ml.deployed_version(text) is $$
Number of the deployed version of a project; null when none is deployed, it is marked, or no such project exists.
$$;

grant execute on function ml.deployed_version(text) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
