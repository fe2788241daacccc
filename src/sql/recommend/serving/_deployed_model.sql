create or replace function recommend._deployed_model(kind text)
returns setof ml.model
language sql
stable
parallel safe
begin atomic
  select model.*
  from ml.project
  cross join lateral (
    select deployment.model_id
    from ml.deployment
    where deployment.project_id = project.project_id
    order by deployment.deployment_id desc
    limit 1
  ) as latest
  join ml.model on model.model_id = latest.model_id
  where project.name = 'recommend.' || _deployed_model.kind
    and model.marked_at is null;
end;

comment on function recommend._deployed_model(text) is $$
Returns the deployed version of the recommender of a kind; no row when there is none, or it is marked.
$$;

grant execute on function recommend._deployed_model(text) to insights_reader;
