create or replace function ml._predict_into(
  model ml.model,
  relation regclass,
  output text,
  expression text,
  name text,
  kept text default 'true'
)
returns bigint
language plpgsql
set jit to off
as $$
declare
  v_document constant jsonb := ml._document(model);
begin
  return ml._create_table(format(
    'create table %s as select _kept as %s, %s as prediction from (select %s from %s where %s offset 0) as input',
    output, name, ml._answer_expression(v_document, ml._score_expression(model)),
    concat_ws(', ', expression || ' as _kept', nullif(ml._feature_list(v_document, relation), '')), relation, kept
  ));
end;
$$;

comment on function ml._predict_into(ml.model, regclass, text, text, text, text) is $$
Writes the predictions for the rows that are `kept` into a table, in one statement.
The table has an expression over the relation, under a name, and `prediction`. Returns the number of rows.
All texts are SQL that the caller has checked.
$$;


grant execute on function ml._predict_into(ml.model, regclass, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
