create or replace function ml.explain(project text, features jsonb, version int default null)
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
  v_list text;
begin
  select string_agg(format('%L::%s as x%s', input.value, case when input.type = 'category' then 'text' else 'float8'
      end, input.place), ', ' order by input.place)
  into v_list
  from ml._feature_values(ml._document(v_model), features) as input;
  return query execute format(
    'select feature, feature_value, contribution from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, '(values (1)) as one (id)', '1', coalesce(v_list, ''), 'true')
  );
end;
$$;

comment on function ml.explain(text, jsonb, int) is $$
What moved a prediction, by the version of a project that is in force: how much each feature added to the raw score.
For trees these are exact Shapley values (TreeSHAP, path-dependent), for linear models coefficient · (value − mean).
With `(base)`, the mean, they sum to the raw score: log odds for a probability before calibration, largest first.
Errors: CF001 (a feature is not given or not a number; embeddings, scores and trees without cover have no
explanation), CF002, CF006 (none in force).
Source: Lundberg and others, From local explanations to global understanding with explainable AI for trees, Nature
Machine Intelligence 2, 2020.
$$;

grant execute on function ml.explain(text, jsonb, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
