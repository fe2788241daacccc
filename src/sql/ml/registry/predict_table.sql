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
begin
  return ml._predict_into(v_model, v_relation, v_output, v_id, v_id);
end;
$$;

comment on function ml.predict_table(text, text, text, text, int) is $$
@behavior -*
Predicts every row of a table with a version of a project, in one statement.
Without `version` it is the deployed one. Returns the number of rows.
The table has a column for each feature of the model. Writes `output_table`: the id column and `prediction`.
Errors: CF001 (not a number), CF002 (no such project, version, table or column), CF003 (`output_table` exists), CF005,
CF006 (none is deployed).
$$;

grant execute on function ml.predict_table(text, text, text, text, int)
  to insights_analyst, insights_admin, insights_worker;
