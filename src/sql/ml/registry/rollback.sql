create or replace function ml.rollback(project text)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_project ml.project := ml._project(project);
  v_deployed bigint[] := '{}';
  v_deployment record;
begin
  -- Deployments are a pile: each is put on top, a rollback takes the top away. So a second rollback goes further back.
  for v_deployment in
    select deployment.model_id, deployment.strategy
    from ml.deployment
    where deployment.project_id = v_project.project_id
    order by deployment.deployment_id
  loop
    v_deployed := case
      when v_deployment.strategy = 'rollback' then trim_array(v_deployed, 1)
      when v_deployment.model_id = v_deployed[cardinality(v_deployed)] then v_deployed
      else v_deployed || v_deployment.model_id
    end;
  end loop;
  if cardinality(v_deployed) < 2 then
    perform common.refuse(
      'CF004',
      format('"%s" has no version to go back to', left(project, 100)),
      case
        when v_deployed = '{}' then 'No version has been deployed.'
        else 'The deployed version is the oldest; deploy another with ml.deploy.'
      end
    );
  end if;
  perform ml._deploy(v_deployed[cardinality(v_deployed) - 1], 'rollback');
  return (select model.version from ml.model where model.model_id = v_deployed[cardinality(v_deployed) - 1]);
end;
$$;

comment on function ml.rollback(text) is $$
Deploys the version that was deployed before the present one; returns its number. Repeated, it goes further back.
Errors: CF002 (no such project), CF004 (nothing to go back to).
$$;

grant execute on function ml.rollback(text) to insights_admin, insights_worker;
