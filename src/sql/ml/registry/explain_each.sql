create or replace function ml.explain_each(
  project text,
  inputs anyarray,
  version int default null,
  class text default null
)
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
  v_document constant jsonb := ml._document(v_model);
  v_input record;
  v_rows text;
  v_classes text[];
begin
  select * into v_input from ml._row_features(v_document, pg_typeof(inputs)) as input;
  v_rows := format('unnest($1) with ordinality as given (%s)', v_input.columns);
  if class is null and v_document ? 'classes' then
    -- The most probable class of each row.
    execute format(
      'select array_agg((%L::text[])[array_position(answer, (select max(share) from unnest(answer) as share))]
          order by row_no)
        from (select row_no, %s as answer from (select row_no, %s from %s offset 0) as input offset 0) as answered',
      ml._classes(v_document), ml._answer_expression(v_document, ml._score_expression(v_model)), v_input.features,
      v_rows
    ) into v_classes using inputs;
    return query execute format(
      'select id::int, feature, feature_value, contribution
        from (%s) as explained (id, feature, feature_value, contribution)
        order by id, abs(contribution) desc',
      coalesce(
        (
          select string_agg('(' || ml._explain(v_model, v_rows, 'row_no', v_input.features,
            format('(%L::text[])[row_no] = %L', v_classes, listed.class), listed.class) || ')', ' union all ')
          from (select distinct unnest(v_classes)) as listed (class)
        ),
        'select null::int, null::text, null::text, null::float8 where false'
      )
    )
    using inputs;
    return;
  end if;
  return query execute format(
    'select id::int, feature, feature_value, contribution
      from (%s) as explained (id, feature, feature_value, contribution)',
    ml._explain(v_model, v_rows, 'row_no', v_input.features, 'true', class)
  )
  using inputs;
end;
$$;

comment on function ml.explain_each(text, anyarray, int, text) is $$
@behavior -*
Explains the predictions for an array of rows, by the deployed version of a project or the given one:
`ml.explain` for each of them, with several classes of the given class or of the most probable one of each row.
The rows are those of `ml.predict_each`; `row_no` is the place of a row in the array, from 1.
Errors: CF001 (not an array of rows, no such class, the model has no explanation), CF002 (no such project or version,
a feature is missing), CF006 (none is deployed).
$$;

grant execute on function ml.explain_each(text, anyarray, int, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
