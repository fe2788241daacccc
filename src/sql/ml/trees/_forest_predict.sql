create or replace function ml._forest_predict(
  method text,
  model_table text,
  new_data_table text,
  output_table text,
  type text
)
returns void
language plpgsql
set jit to off
as $$
declare
  v_summary jsonb := ml._model_summary(model_table, array[method]);
  v_model regclass := common.relation(model_table);
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_summary ->> 'id_col_name', 'id column');
  v_classes text[] := array(select jsonb_array_elements_text(nullif(v_summary -> 'dependent_var_levels', 'null')));
  v_positions jsonb := (
    select jsonb_object_agg(name, position)
    from jsonb_array_elements_text(v_summary -> 'independent_varnames') with ordinality as feature (name, position)
  );
  v_dependent text := v_summary ->> 'dependent_varname';
  v_trees text[];
  v_size int;
  v_sums text[] := '{}';
  v_sum text;
  v_names text;
begin
  if type is null or type not in ('response', 'prob') or (type = 'prob' and v_classes = '{}') then
    perform common.refuse('CF001', format('type "%s" does not go with this model', coalesce(left(type, 100), 'null')),
      'Choose response, or prob for classes.');
  end if;
  begin
    v_dependent := (parse_ident(v_dependent))[1];
  exception when invalid_parameter_value then
    null;
  end;
  -- One sum a class, but the last, which is what the others leave.
  for v_class in 1..greatest(cardinality(v_classes) - 1, 1) loop
    v_trees := '{}';
    for v_tree in 1..(v_summary ->> 'num_trees')::int loop
      v_trees := v_trees || ml._tree_expression(
        v_model::text, v_tree, v_positions, v_summary -> 'categories',
        case when v_classes = '{}' then 'format(''%L::float8'', value)'
          else format('format(''%%L::float8'', distribution[%s])', v_class) end
      );
    end loop;
    v_size := greatest(1, ceil(sqrt(cardinality(v_trees)))::int);
    select '(' || string_agg('(' || part || ')', ' + ' order by place) || format(') / %s', cardinality(v_trees))
    into v_sum
    from (
      select (position - 1) / v_size as place, string_agg(tree, ' + ' order by position) as part
      from unnest(v_trees) with ordinality as grown (tree, position)
      group by (position - 1) / v_size
    ) as chunk;
    v_sums := v_sums || format('%s as p%s', v_sum, v_class);
  end loop;
  v_names := (select string_agg('p' || k, ', ' order by k) from generate_series(1, cardinality(v_classes) - 1) as k);
  execute format(
    'create table %s as
     select id as %s, %s
     from (
       select id, %s
       from (select %s as id, %s from %s offset 0) as input
       offset 0
     ) as scored',
    v_output, v_id,
    case
      when v_classes = '{}' then format('p1 as %I', left('estimated_' || v_dependent, 63))
      when type = 'response' then format(
        '((%L::text[])[array_position(array[%2$s, 1 - (%3$s)], greatest(%2$s, 1 - (%3$s)))])::%4$s as %5$I',
        v_classes, v_names, replace(v_names, ',', ' +'), v_summary ->> 'dependent_var_type',
        left('estimated_' || v_dependent, 63)
      )
      else (
        select string_agg(
          case when position = cardinality(v_classes) then format('greatest(1 - (%s), 0) as %I',
            replace(v_names, ',', ' +'), left('estimated_prob_' || class, 63))
          else format('p%s as %I', position, left('estimated_prob_' || class, 63)) end, ', ' order by position
        )
        from unnest(v_classes) with ordinality as level (class, position)
      )
    end,
    array_to_string(v_sums, ', '), v_id,
    ml._tree_inputs(
      array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')),
      array(select jsonb_array_elements_text(v_summary -> 'independent_vartypes')),
      v_relation
    ),
    v_relation
  );
end;
$$;

comment on function ml._forest_predict(text, text, text, text, text) is $$
Predictions of a tree or a forest in one statement; see ml.tree_predict and ml.forest_predict.
$$;

grant execute on function ml._forest_predict(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
