create or replace function ml.forest_train(
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  grouping_cols text default null,
  num_trees int default 100,
  num_random_features int default null,
  importance boolean default true,
  num_permutations int default null,
  max_tree_depth int default 7,
  min_split int default 20,
  min_bucket int default null,
  num_splits int default 20,
  null_handling_params text default null,
  verbose boolean default false,
  sample_ratio float8 default 1.0,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_relation regclass := common.relation(training_table_name);
  v_count int;
  v_classifies boolean;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    perform common.refuse('CF001', 'forests are not trained by group',
      'Train one model on a view of each group, or give the groups as a feature.');
  elsif num_permutations is not null then
    perform common.refuse('CF001', 'features are not permuted',
      'ml.get_var_importance gives the importance by impurity; leave num_permutations null.');
  elsif null_handling_params is not null then
    perform common.refuse('CF001', format('null_handling_params "%s"', left(null_handling_params, 100)),
      'Missing values go the way that each split learned; leave it null.');
  elsif sample_ratio is null or seed is null then
    perform common.refuse('CF001', 'sample_ratio or seed is null',
      'Give a share above 0, at most 1, and a number as seed.');
  end if;
  perform common.check_count('seed', forest_train.seed, -1000000000000000000, 1000000000000000000);
  v_count := cardinality(ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude,
      array[id_col_name, quote_ident(id_col_name)], dependent_variable));
  v_classifies := common.expression_type(dependent_variable, v_relation, 'dependent variable') not
    in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  perform ml._forest_train(
    'forest_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude,
    'gini', null, num_trees,
    coalesce(num_random_features, case when v_classifies then greatest(1, floor(sqrt(v_count))::int)
      else greatest(1, v_count / 3) end),
    sample_ratio, max_tree_depth, min_split, min_bucket, num_splits, 0, seed
  );
end;
$$;

comment on function ml.forest_train(
  text, text, text, text, text, text, text, int, int, boolean, int, int, int, int, int, text, boolean, float8, bigint
) is $$
@behavior -*
A random forest, in MADlib's arguments:
trees on rows drawn with replacement, each split choosing among features drawn at random.
`num_random_features` is by default the root of the number of features for classes, a third of it for numbers.
`sample_ratio` is the expected number of times that a row is drawn for a tree. The seed and the ids decide all draws.
`grouping_cols`, `num_permutations` and `null_handling_params` must be null; `importance` and `verbose` are MADlib's
and change nothing: ml.get_var_importance gives the importance by impurity of any model.
Writes `output_table_name` and `<output_table_name>_summary` as ml.tree_train does; there `oob_error` is the share of
rows (for numbers: the squared error) that the trees which did not see them get wrong.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes).
Source: Breiman, Random forests, Machine Learning 45, 2001; draws after Oza and Russell, Online bagging and boosting,
2001.
$$;

grant execute on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int,
  int, int, text, boolean, float8, bigint) to insights_analyst, insights_admin, insights_worker;
