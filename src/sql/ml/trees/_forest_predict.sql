create or replace function ml._forest_answers(
  model ml.tree_model,
  nodes text,
  source text,
  type text,
  name text,
  levels text[]
)
returns text
language plpgsql
stable
as $$
declare
  v_classes constant int := coalesce(cardinality(model.dependent_var_levels), 0);
  v_names constant text := ml._each(v_classes - 1, 'p#');
  v_last constant text := format('1 - (%s)', ml._each(v_classes - 1, 'p#', ' + '));
  v_sums text[] := '{}';
begin
  -- One mean a class, but the last, which is what the others leave.
  for v_class in 1..greatest(v_classes - 1, 1) loop
    v_sums := v_sums || format('(%s) / %s as p%s',
      ml._tree_sum(nodes, model, case when v_classes = 0 then 'format(''%L::float8'', value)'
        else format('format(''%%L::float8'', distribution[%s])', v_class) end),
      model.num_trees, v_class);
  end loop;
  return format(
    'select id as %s, %s from (select id, %s from %s offset 0) as scored',
    model.id_col_name,
    case
      when v_classes = 0 then format('p1 as %I', left('estimated_' || name, 63))
      when type = 'response' then format(
        '((%L::text[])[array_position(array[%2$s, %3$s], greatest(%2$s, %3$s))])::%4$s as %5$I',
        model.dependent_var_levels, v_names, v_last, model.dependent_var_type, left('estimated_' || name, 63)
      )
      else (
        select string_agg(
          format('%s as %I',
            case
              when place = v_classes then format('greatest(%s, 0)', v_last)
              else coalesce('p' || place, '0::float8')
            end,
            column_name
          ), ', ' order by position
        )
        from unnest(levels, ml._class_columns(levels)) with ordinality as level (class, column_name, position)
        cross join lateral array_position(model.dependent_var_levels, class) as place
      )
    end,
    array_to_string(v_sums, ', '),
    source
  );
end;
$$;

comment on function ml._forest_answers(ml.tree_model, text, text, text, text, text[]) is $$
The statement that predicts the rows of `source`, which has id and the features x1, x2, …, by a tree or forest.
`name` is that of the dependent variable; `levels` are the classes of all groups, those that a group lacks have
probability 0.
$$;

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
set client_min_messages to warning
as $$
declare
  v_models constant ml.tree_model[] := array(select model from ml._tree_model(model_table, array[method]) as model);
  v_model ml.tree_model := v_models[1];
  v_nodes constant text := common.relation(model_table)::text;
  v_relation regclass := common.relation(new_data_table);
  v_output text := common.output_table(output_table);
  v_id text := common.column_name(v_relation, v_model.id_col_name, 'id column');
  v_groups text[] := common.column_names(v_relation, v_model.grouping_cols, 'grouping columns');
  v_levels text[] := (
    select array_agg(distinct level)
    from unnest(v_models) as model
    cross join unnest(model.dependent_var_levels) as level
  );
  v_name text := v_model.dependent_varname;
  v_answers text;
  v_source text := format('(select %s as id, %s from %s offset 0) as input', v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation);
begin
  if type is null or type not in ('response', 'prob') or (type = 'prob' and v_levels is null) then
    perform common.refuse('CF001', format('type "%s" does not go with this model', coalesce(left(type, 100), 'null')),
      'Choose response, or prob for classes.');
  end if;
  begin
    v_name := (parse_ident(v_name))[1];
  exception when invalid_parameter_value then
    null;
  end;
  if v_model.grouping_cols is null then
    perform ml._create_table(format('create table %s as ', v_output)
      || ml._forest_answers(v_model, v_nodes, v_source, type, v_name, v_model.dependent_var_levels));
    return;
  end if;

  -- The new rows are read once, each with the number of its group, which is null when the group has no model.
  drop table if exists pg_temp._ml_tree_new;
  execute format(
    $query$
    create temp table _ml_tree_new on commit drop as
    select trained.gid, input.*
    from (select jsonb_build_array(%1$s) as place, %2$s as id, %3$s from %4$s offset 0) as input
    left join (
      select gid, jsonb_build_array(%1$s) as place
      from %5$s
      where failure is null
    ) as trained on trained.place = input.place
    $query$,
    v_model.grouping_cols, v_id,
    ml._tree_inputs(v_model.independent_varnames, v_model.independent_vartypes, v_relation), v_relation,
    ml._tree_summary(common.relation(model_table))
  );
  create index on pg_temp._ml_tree_new (gid);
  analyze pg_temp._ml_tree_new;
  v_levels := array(
    select level
    from unnest(v_levels) as level
    order by case when v_model.dependent_var_type in ('smallint', 'integer', 'bigint') then level::bigint end, level
  );
  foreach v_model in array v_models loop
    continue when v_model.failure is not null;
    v_answers := ml._forest_answers(
      v_model, format('(select * from %s as grown where gid = %s) as grown', v_nodes, v_model.gid),
      format('pg_temp._ml_tree_new where gid = %s', v_model.gid), type, v_name, v_levels
    );
    if to_regclass(v_output) is null then
      perform ml._create_table(format('create table %s as ', v_output) || v_answers);
    else
      execute format('insert into %s ', v_output) || v_answers;
    end if;
  end loop;
  execute format('insert into %s select id from pg_temp._ml_tree_new where gid is null', v_output);
  drop table pg_temp._ml_tree_new;
end;
$$;

comment on function ml._forest_predict(text, text, text, text, text) is $$
Predictions of a tree or a forest, for each group by its own model; see ml.tree_predict and ml.forest_predict.
$$;

grant execute on function
  ml._forest_answers(ml.tree_model, text, text, text, text, text[]),
  ml._forest_predict(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
