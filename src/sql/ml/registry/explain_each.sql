create or replace function ml.explain_each(project text, inputs anyarray, version int default null)
returns setof ml.row_contribution
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
  v_input record;
begin
  select * into v_input from ml._row_features(ml._document(v_model), pg_typeof(inputs)) as input;
  return query execute format(
    'select id::int, feature, feature_value, contribution
      from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(
      v_model, format('unnest($1) with ordinality as given (%s)', v_input.columns), 'row_no', v_input.features, 'true'
    )
  )
  using inputs;
end;
$$;

comment on function ml.explain_each(text, anyarray, int) is $$
@behavior -*
Explains the predictions for an array of rows, by the deployed version of a project or the given one:
`ml.explain` for each of them.
The rows are those of `ml.predict_each`; `row_no` is the place of a row in the array, from 1.
Errors: CF001 (not an array of rows, the model has no explanation), CF002 (no such project or version, a feature is
missing), CF006 (none is deployed).
$$;

grant execute on function ml.explain_each(text, anyarray, int) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
