create or replace function ml.predict_each(project text, inputs anyarray, version int default null)
returns float8[]
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
  v_model constant ml.model := ml._version(project, version);
  v_document constant jsonb := ml._one_answer(v_model);
  v_input record;
  v_answers float8[];
begin
  select * into v_input from ml._row_features(v_document, pg_typeof(inputs)) as input;
  execute format(
    'select array_agg(%s order by row_no)
     from (select row_no, %s from unnest($1) with ordinality as input (%s) offset 0) as input',
    ml._answer_expression(v_document, ml._score_expression(v_model)), v_input.features, v_input.columns
  )
  into v_answers
  using inputs;
  return coalesce(v_answers, '{}');
end;
$$;

comment on function ml.predict_each(text, anyarray, int) is $$
@behavior -*
What the deployed version of a project, or the given one, answers for each of an array of rows, in their order.
The rows are of a table or a composite type with a column for each feature of the model, for instance
`ml.predict_each('demo.dropped', array(select learner from learner))`. As one statement that writes nothing.
Errors: CF001 (not an array of rows), CF002 (no such project or version, a feature is missing), CF006 (none is
deployed).
$$;

grant execute on function ml.predict_each(text, anyarray, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
