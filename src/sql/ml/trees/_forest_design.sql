create or replace function ml._forest_design(
  method text,
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text,
  grouping_cols text,
  weights text
)
returns ml.tree_design
language plpgsql
as $$
declare
  v_design ml.tree_design;
begin
  v_design.method := method;
  v_design.relation := common.relation(training_table_name);
  v_design.output := common.output_table(output_table_name, array['_summary']);
  v_design.groups := common.column_names(v_design.relation, grouping_cols, 'grouping columns');
  v_design.id := common.column_name(v_design.relation, id_col_name, 'id column');
  v_design.dependent := dependent_variable;
  v_design.dependent_type := common.expression_type(dependent_variable, v_design.relation, 'dependent variable');
  v_design.classifies := v_design.dependent_type not in
    ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  v_design.weights := weights;
  v_design.features := ml._tree_features(
    v_design.relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_design.id, weights] || v_design.groups, dependent_variable
  );
  perform ml._check_output_columns(v_design.groups, array[
    'gid', 'tree', 'node', 'parent', 'depth', 'feature', 'threshold', 'categories', 'missing_left', 'left_node',
    'right_node', 'value', 'distribution', 'gain', 'cover', 'num_rows', 'method', 'is_classification', 'source_table',
    'model_table', 'id_col_name', 'dependent_varname', 'dependent_var_type', 'dependent_var_levels',
    'independent_varnames', 'independent_vartypes', 'num_trees', 'oob_error', 'num_rows_processed',
    'num_missing_rows_skipped', 'parameters', 'grouping_cols', 'failure', 'impurity_var_importance', 'splits'
  ]);
  return v_design;
end;
$$;

comment on function ml._forest_design(text, text, text, text, text, text, text, text, text) is $$
Checks and quotes the arguments that ml.tree_train and ml.forest_train share.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no feature), CF005.
$$;

grant execute on function ml._forest_design(text, text, text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
