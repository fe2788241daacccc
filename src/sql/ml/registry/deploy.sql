create or replace function ml.deploy(project text, version int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model ml.model;
begin
  if version is null then
    perform common.refuse('CF001', 'the version is null', 'Give the number of a version, as in ml.model.');
  end if;
  v_model := ml._version(project, version);
  if v_model.model_id is distinct from ml._deployed_model_id(v_model.project_id) then
    perform ml._deploy(v_model.model_id, 'manual');
  end if;
  return v_model.version;
end;
$$;

comment on function ml.deploy(text, int) is $$
Puts a version of a project in force, whatever its metrics; returns its number. ml.rollback undoes it.
Errors: CF001 (null), CF002 (no such project or version).
$$;

grant execute on function ml.deploy(text, int) to insights_admin, insights_worker;
