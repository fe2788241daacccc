create or replace function ml.explain(
  project text,
  features jsonb,
  version int default null,
  class text default null
)
returns setof ml.contribution
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_class text := class;
  v_list text;
begin
  if v_class is null and ml._document(v_model) ? 'classes' then
    v_class := (
      select answer.class
      from unnest(ml._classes(v_model.coefficients), ml._class_probabilities(v_model, features)) with ordinality
        as answer (class, probability, place)
      order by answer.probability desc, answer.place
      limit 1
    );
  end if;
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8'
      end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(ml._document(v_model), features) as input;
  return query execute format(
    'select feature, feature_value, contribution from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, '(values (1)) as one (id)', '1', coalesce(v_list, ''), 'true', v_class)
  );
end;
$$;

comment on function ml.explain(text, jsonb, int, text) is $$
Explains a prediction of the deployed version of a project: how much each feature added to the raw score.
For trees these are exact Shapley values (TreeSHAP, path-dependent), for linear models coefficient · (value − mean).
With `(base)`, the mean, they sum to the raw score: log odds for a probability before calibration, largest first.
With several classes they explain the score of `class`, without it that of the most probable one; `feature_value` of
`(base)` names it. Differences between the scores of two classes are log odds, where the classes have a softmax; the
score of a forest is the probability.
Errors: CF001 (a feature is not given or not a number; no such class; embeddings, scores and trees without cover have
no explanation), CF002, CF006 (none is deployed).
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.explain(text, jsonb, int, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
