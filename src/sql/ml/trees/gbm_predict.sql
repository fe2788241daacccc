create or replace function ml._gbm_expression(
  model regclass,
  summary jsonb,
  type text
)
returns text
language plpgsql
stable
as $$
declare
  v_positions jsonb := (
    select jsonb_object_agg(name, position)
    from jsonb_array_elements_text(summary -> 'independent_varnames') with ordinality as feature (name, position)
  );
  v_trees text[] := '{}';
  v_score text;
  v_size int;
begin
  for v_tree in 1..(summary ->> 'num_trees')::int loop
    v_trees := v_trees
      || ml._tree_expression(model::text, v_tree, v_positions,
        summary -> 'categories', 'format(''%L::float8'', value)');
  end loop;
  -- A sum of sums, so that thousands of trees do not nest too deep for the parser.
  v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
  select format('%L::float8', (summary ->> 'base_score')::float8)
    || coalesce(string_agg(' + (' || part || ')', '' order by place), '')
  into v_score
  from (
    select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
    from unnest(v_trees) with ordinality as grown (tree, position)
    group by (position - 1) / v_size
  ) as chunk;
  return case
    when type = 'prob' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', v_score)
    when type = 'response' and summary ->> 'objective' = 'logistic' then format('(%s > 0)::int', v_score)
    else v_score
  end;
end;
$$;

comment on function ml._gbm_expression(regclass, jsonb, text) is $$
Returns the prediction of a boosted model as one SQL expression over x1, x2, … (see ml._tree_inputs).
`type` is `response`, `prob` or `raw`.
$$;

create or replace function ml.gbm_predict(
  model_table text,
  new_data_table text,
  output_table text,
  type text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array['gbm']);
  v_model regclass := common.relation(model_table);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_type text := coalesce(type, case when v_summary ->> 'objective' = 'logistic' then 'prob' else 'response' end);
  v_id text := common.column_name(v_relation, v_summary ->> 'id_col_name', 'id column');
begin
  if v_type not in ('response', 'prob', 'raw') or (v_type = 'prob' and v_summary ->> 'objective' <> 'logistic') then
    perform common.refuse(
      'CF001',
      format('type "%s" does not go with objective %s', left(v_type, 100), left(v_summary ->> 'objective', 100)),
      'Choose response, raw, or for a logistic model prob.'
    );
  end if;
  execute format(
    'create table %s as select id as %s, %s as prediction from (select %s as id, %s from %s offset 0) as input',
    v_output, v_id, ml._gbm_expression(v_model, v_summary, v_type), v_id,
    ml._tree_inputs(
      array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')),
      array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes')),
      v_relation
    ),
    v_relation
  );
end;
$$;

comment on function ml.gbm_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.gbm_train for every row of a table, in one statement.
`type` is `prob` (probability of class 1; the default for a logistic model), `response` (the value, or the class 0 or
1) or `raw` (the sum of the trees: log odds for a logistic model). The new table needs the id column and the columns
of the features; a dependent variable is not looked at.
Writes `output_table`: the id column and `prediction`.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml._gbm_expression(regclass, jsonb, text)
  to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
