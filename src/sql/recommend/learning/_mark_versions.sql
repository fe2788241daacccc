create or replace function recommend._mark_versions(model_ids bigint[], reason text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(ml.mark_for_training(known.name, _mark_versions.reason, known.versions)), 0)
    from (
      select project.name, array_agg(model.version) as versions
      from ml.model
      join ml.project using (project_id)
      where model.model_id = any (_mark_versions.model_ids)
      group by project.name
    ) as known
  );
end;
$$;

comment on function recommend._mark_versions(bigint[], text) is $$
@behavior -*
Marks versions of recommenders for training. Returns the number of versions that were not marked before.
$$;
