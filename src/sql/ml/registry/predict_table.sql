create or replace function ml.predict_table(
  project text,
  source_table text,
  output_table text,
  id_col_name text,
  version int default null
)
returns bigint
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, id_col_name, 'id column');
  v_document constant jsonb := ml._document(v_model);
  v_classes constant text[] := ml._classes(v_document);
begin
  if v_classes is not null then
    return ml._create_table(format(
      'create table %s as
       select _kept as %s, (%L::text[])[array_position(answer, (select max(share) from unnest(answer) as share))]
         as prediction, %s
       from (select _kept, %s as answer from (select %s from %s offset 0) as input offset 0) as answered',
      v_output, v_id, v_classes,
      (
        select string_agg(format('answer[%s] as %I', place, name), ', ' order by place)
        from unnest(ml._class_columns(v_classes)) with ordinality as listed (name, place)
      ),
      ml._answer_expression(v_document, ml._score_expression(v_model)),
      concat_ws(', ', v_id || ' as _kept', nullif(ml._feature_list(v_document, v_relation), '')), v_relation
    ));
  end if;
  return ml._predict_into(v_model, v_relation, v_output, v_id, v_id);
end;
$$;

comment on function ml.predict_table(text, text, text, text, int) is $$
@behavior -*
Predicts every row of a table with a version of a project, in one statement.
Without `version` it is the deployed one. Returns the number of rows.
The table has a column for each feature of the model. Writes `output_table`: the id column and `prediction`;
for a model of several classes the most probable class, and `estimated_prob_<class>` for each.
Errors: CF001 (not a number), CF002 (no such project, version, table or column), CF003 (`output_table` exists), CF005,
CF006 (none is deployed).
$$;

grant execute on function ml.predict_table(text, text, text, text, int)
  to insights_analyst, insights_admin, insights_worker;
