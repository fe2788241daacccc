create or replace function ml._row_features(document jsonb, of_type regtype, out features text, out columns text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[] := array(
    select attribute.attname::text
    from pg_catalog.pg_type as type
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = type.typrelid
    where type.oid = (select element.typelem from pg_catalog.pg_type as element where element.oid = of_type)
      and attribute.attnum > 0
      and not attribute.attisdropped
    order by attribute.attnum
  );
  v_missing text;
begin
  if v_columns = '{}' then
    perform common.refuse('CF001', format('the rows are of type %s', of_type),
      'Give an array of rows of a table or of a composite type.');
  end if;
  select feature ->> 'name'
  into v_missing
  from jsonb_array_elements(document -> 'features') as feature
  where feature ->> 'name' <> all (v_columns)
  limit 1;
  if v_missing is not null then
    perform common.refuse(
      'CF002',
      format('%s has no column "%s"', left(of_type::text, 100), left(v_missing, 100)),
      coalesce(
        'Is it "' || common.nearest_name(v_missing, v_columns) || '"?',
        format('The model needs the features %s.', left(document ->> 'features', 100))
      )
    );
  end if;
  -- Places instead of names: no name of a column can clash with another one of the statement.
  columns := (
    select string_agg('c' || place, ', ' order by place) || ', row_no'
    from generate_subscripts(v_columns, 1) as place
  );
  features := coalesce(
    (
      select string_agg(
        format(
          case
            when feature ->> 'type' = 'category' then 'c%s::text as x%s'
            when (document -> 'single_precision')::boolean then 'nullif(ml._single_precision(c%s::float8), ''NaN'') as x%s'
            else 'nullif(c%s::float8, ''NaN'') as x%s'
          end,
          array_position(v_columns, feature ->> 'name'), position
        ),
        ', ' order by position
      )
      from jsonb_array_elements(document -> 'features') with ordinality as listed (feature, position)
    ),
    '1 as one'
  );
end;
$$;

comment on function ml._row_features(jsonb, regtype) is $$
For a statement over an array of rows: the select list of a model's features as x1, x2, …, and the list of the names of its columns.
Errors: CF001 (not an array of rows), CF002 (a feature is missing; names the nearest).
$$;

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
  v_document constant jsonb := ml._document(v_model);
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
Errors: CF001 (not an array of rows), CF002 (no such project or version, a feature is missing), CF006 (none is deployed).
$$;

grant execute on function ml._row_features(jsonb, regtype), ml.predict_each(text, anyarray, int)
to insights_reader, insights_analyst, insights_admin, insights_worker;
