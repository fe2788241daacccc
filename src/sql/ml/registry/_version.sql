create or replace function ml._version(project text, version int default null)
returns ml.model
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project := ml._project(project);
  v_model ml.model;
begin
  select *
  into v_model
  from ml.model
  where model.project_id = v_project.project_id
    and case when _version.version is null then model.model_id = ml._deployed_model_id(v_project.project_id)
      else model.version = _version.version end;
  if v_model.marked_at is not null or v_model.model_id is null and version is null and exists (
    select from ml.deployment where deployment.project_id = v_project.project_id
  ) then
    perform common.refuse(
      'CF006',
      format('%s of "%s" is marked for training', coalesce('version ' || version, 'the deployed version'),
        left(project, 100)),
      'It is not used, because it was trained on data that may not be used any more. Train a new version.'
    );
  elsif v_model.model_id is null and version is null then
    perform common.refuse('CF006', format('no version of "%s" is deployed', left(project, 100)),
      'Train or import one, or deploy one with ml.deploy.');
  elsif v_model.model_id is null then
    perform common.refuse(
      'CF002',
      format('"%s" has no version %s', left(project, 100), version),
      coalesce(
        (select format('Its versions are %s to %s.', min(model.version), max(model.version)) from ml.model
          where model.project_id = v_project.project_id having count(*) > 0),
        'It has none yet.'
      )
    );
  end if;
  return v_model;
end;
$$;

comment on function ml._version(text, int) is $$
Returns a version of a project, or the deployed one where none is given.
Errors: CF002 (no such project or version), CF006 (none is deployed, or the version is marked for training).
$$;

grant execute on function ml._version(text, int) to insights_reader, insights_analyst, insights_admin, insights_worker;
