create or replace function ml._gbm_answers(model ml.tree_model, nodes text, type text, source text)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant text[] := model.dependent_var_levels;
  v_scores text[] := '{}';
  v_names constant text := ml._each(cardinality(v_classes), 'score#');
  v_shares constant text := ml._each(
    cardinality(v_classes), format('exp(greatest(score# - greatest(%s), -700))', v_names), ' + '
  );
begin
  if model.objective <> 'softmax' then
    return format(
      'select id as %s, %s as prediction from (select id, %s as score from %s offset 0) as scored',
      model.id_col_name,
      case
        when type = 'prob' then '1 / (1 + exp(-least(greatest(score, -700), 700)))'
        when type = 'response' and model.objective = 'logistic' then '(score > 0)::int'
        else 'score'
      end,
      format('%L::float8', model.base_score)
        || coalesce(' + ' || ml._tree_sum(nodes, model, 'format(''%L::float8'', value)'), ''),
      source
    );
  end if;
  for v_class in 1..cardinality(v_classes) loop
    v_scores := v_scores || format(
      '%L::float8 %s as score%s',
      model.base_scores[v_class],
      coalesce(' + ' || ml._tree_sum(
        format('(select * from %s as grown where class = %L) as grown', nodes, v_classes[v_class]), model,
        'format(''%L::float8'', value)'
      ), ''),
      v_class
    );
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case type
      when 'raw' then format('array[%s] as prediction', v_names)
      when 'response' then format(
        '((%L::text[])[array_position(array[%2$s], greatest(%2$s))])::%3$s as prediction',
        v_classes, v_names, model.dependent_var_type
      )
      else (
        select string_agg(
          format('exp(greatest(score%s - greatest(%s), -700)) / (%s) as %I', place, v_names, v_shares, name), ', '
            order by place
        )
        from unnest(ml._class_columns(v_classes)) with ordinality as level (name, place)
      )
    end,
    array_to_string(v_scores, ', '),
    source
  );
end;
$$;

comment on function ml._gbm_answers(ml.tree_model, text, text, text) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a boosted model.
`type` is `response`, `prob` or `raw`; `nodes` is the table of the model.
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
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_type text := coalesce(type, case v_model.objective when 'logistic' then 'prob' else 'response' end);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
begin
  if v_type not in ('response', 'prob', 'raw') or (v_type = 'prob' and v_model.objective = 'squared_error') then
    perform common.refuse(
      'CF001',
      format('type "%s" does not go with objective %s', left(v_type, 100), left(v_model.objective, 100)),
      'Choose response, raw, or for classes prob.'
    );
  end if;
  perform ml._create_table(format('create table %s as ', v_output) || ml._gbm_answers(
    v_model, common.relation(model_table)::text, v_type,
    format('(select %s as id, %s from %s offset 0) as input', v_id,
      ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation)
  ));
end;
$$;

comment on function ml.gbm_predict(text, text, text, text) is $$
@behavior -*
Predictions of a model of ml.gbm_train for every row of a table, in one statement.
`type` is `prob` (the probability of class 1, the default for a logistic model; for softmax the columns
`estimated_prob_<class>`), `response` (the value, or the class) or `raw` (the sum of the trees: log odds for a
logistic model, for softmax an array in the order of `dependent_var_levels`). The new table needs the id column and
the columns of the features; a dependent variable is not read.
Writes `output_table`: the id column and `prediction`, or a column for each class.
Errors: CF001 (type), CF002 (not a model, a missing column), CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml._gbm_answers(ml.tree_model, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
grant execute on function ml.gbm_predict(text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
