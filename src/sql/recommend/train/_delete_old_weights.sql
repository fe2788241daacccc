create or replace function recommend._delete_old_weights(project text, until_version int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learning
  using ml.model, ml.project as known
  where learning.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and model.version is distinct from ml.deployed_version(_delete_old_weights.project);
  delete from recommend.model_part
  using ml.model, ml.project as known
  where model_part.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and model.version is distinct from ml.deployed_version(_delete_old_weights.project);
end;
$$;

comment on function recommend._delete_old_weights(text, int) is $$
@behavior -*
Deletes the weights and records of the versions of a recommender up to the given one, except those of the deployed
version.
$$;
