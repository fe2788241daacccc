create or replace function ml.predict_classes(project text, features jsonb, version int default null)
returns setof ml.class_probability
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant ml.model := ml._version(project, version);
  v_classes constant text[] := ml._classes(ml._document(v_model));
begin
  if v_classes is null then
    perform common.refuse('CF001', format('version %s answers with one number', v_model.version), 'Use ml.predict.');
  end if;
  return query
  select answer.class, answer.probability
  from unnest(v_classes, ml._class_probabilities(v_model, features)) with ordinality
    as answer (class, probability, place)
  order by answer.probability desc, answer.place;
end;
$$;

comment on function ml.predict_classes(text, jsonb, int) is $$
Returns the probability of each class by the deployed version of a project, the most probable class first.
For models of several classes (`ml.train` with a label of more than two, `multi:softprob` of XGBoost, `multiclass` of
LightGBM); ml.predict answers for the others. `features` is as in ml.predict. The probabilities sum to 1.
Errors: CF001 (a feature is not given or not a number; a model with one answer), CF002 (no such project or version),
CF006 (none is deployed).
$$;

grant execute on function ml.predict_classes(text, jsonb, int) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
