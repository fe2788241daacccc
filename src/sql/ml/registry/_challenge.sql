create or replace function ml._challenge(
  model ml.model,
  relation regclass,
  label text,
  kept text,
  profile jsonb,
  started_at timestamptz
)
returns ml.training
language plpgsql
volatile
set client_min_messages to warning
as $$
declare
  v_project ml.project;
  v_champion ml.model;
  v_predicted constant text := ml._temporary('_ml_predicted');
  v_metrics jsonb;
  v_champion_metrics jsonb;
begin
  select * into v_project from ml.project where project.project_id = model.project_id;
  execute format('drop table if exists %s', v_predicted);
  perform ml._predict_into(model, relation, v_predicted, label, 'observed', kept);
  v_metrics := case when model.coefficients ? 'classes'
    then ml._evaluate_classes(v_predicted, ml._classes(model.coefficients))
    else ml._evaluate(v_predicted, v_project.task) end;
  if v_project.task = 'classification' then
    perform ml._record_calibration((_challenge.model).model_id, 'held out',
      ml._calibration(v_predicted, ml._classes(model.coefficients)));
  end if;
  execute format('drop table %s', v_predicted);

  select * into v_champion from ml.model as version
  where version.model_id = ml._deployed_model_id(v_project.project_id)
    and version.model_id <> (_challenge.model).model_id;
  if v_champion.model_id is not null then
    begin
      perform ml._predict_into(v_champion, relation, v_predicted, label, 'observed', kept);
      v_champion_metrics := case when v_champion.coefficients ? 'classes'
        then ml._evaluate_classes(v_predicted, ml._classes(v_champion.coefficients))
        else ml._evaluate(v_predicted, v_project.task) end;
      execute format('drop table %s', v_predicted);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- It needs features that are no longer there.
      v_champion_metrics := null;
    end;
  end if;
  return ml._conclude((_challenge.model).model_id, v_metrics, v_champion.model_id, v_champion_metrics, profile,
    clock_timestamp() - started_at);
end;
$$;

comment on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz) is $$
Scores a version and the deployed one on the same rows, those that are `kept`, and deploys the better.
The label is a number, or for models of several classes the name of a class.
All texts are SQL that the caller has checked.
$$;

grant execute on function ml._challenge(ml.model, regclass, text, text, jsonb, timestamptz)
  to insights_admin, insights_worker;
