create or replace function recommend._delete_old_weights(project text, until_version int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant int[] := ml.deployed_version(_delete_old_weights.project) || array(
    select arm.version
    from recommend._arm_versions(substr(_delete_old_weights.project, length('recommend.') + 1)) as arm
  );
begin
  perform recommend._delete_record(learning.model_id)
  from recommend.learning
  join ml.model on model.model_id = learning.model_id
  join ml.project as known on known.project_id = model.project_id
  where known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and (model.version = any (v_kept)) is not true;
  delete from recommend.model_part
  using ml.model, ml.project as known
  where model_part.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and (model.version = any (v_kept)) is not true;
end;
$$;

comment on function recommend._delete_old_weights(text, int) is $$
@behavior -*
Deletes the weights and records of the versions of a recommender up to the given one.
Those of the deployed version are kept, and of those that variations of experiments serve (`recommend._arm_versions`).
$$;
