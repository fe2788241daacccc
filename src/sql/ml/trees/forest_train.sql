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
  v_design ml.tree_design;
begin
  if num_permutations is not null then
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
  v_design := ml._forest_design(
    'forest_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude, grouping_cols, null
  );
  v_design.num_bins := num_splits;
  v_design.num_trees := num_trees;
  v_design.sample_ratio := sample_ratio;
  v_design.cp := 0;
  v_design.seed := seed;
  v_design.growth.criterion := 'gini';
  v_design.growth.lambda := 0;
  v_design.growth.min_gain := 0;
  v_design.growth.max_depth := max_tree_depth;
  v_design.growth.min_rows := coalesce(min_bucket, greatest(1, min_split / 3));
  v_design.growth.min_split := min_split;
  v_design.growth.min_weight := 1e-12;
  v_design.growth.features_per_node := coalesce(
    num_random_features,
    case when v_design.classifies then greatest(1, floor(sqrt(cardinality(v_design.features)))::int)
      else greatest(1, cardinality(v_design.features) / 3) end
  );
  perform ml._forest_train(v_design);
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
`num_permutations` and `null_handling_params` must be null; `importance` and `verbose` are MADlib's
and change nothing: ml.get_var_importance gives the importance by impurity of any model.
Writes `output_table_name` and `<output_table_name>_summary` as ml.tree_train does, also by groups; there `oob_error` is
the share of rows (for numbers: the squared error) that the trees which did not see them get wrong.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes, over 10,000 trees in all groups).
Source: Breiman, Random forests, Machine Learning 45, 2001; draws after Oza and Russell, Online bagging and boosting,
2001.
$$;

grant execute on function ml.forest_train(text, text, text, text, text, text, text, int, int, boolean, int, int, int,
  int, int, text, boolean, float8, bigint) to insights_analyst, insights_admin, insights_worker;
