create or replace function ml.tree_train(
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  split_criterion text default 'gini',
  grouping_cols text default null,
  weights text default null,
  max_depth int default 7,
  min_split int default 20,
  min_bucket int default null,
  num_splits int default 20,
  pruning_params text default null,
  null_handling_params text default null,
  verbose_mode boolean default false
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_design ml.tree_design := ml._forest_design(
    'tree_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude, grouping_cols, weights
  );
begin
  if null_handling_params is not null then
    perform common.refuse('CF001', format('null_handling_params "%s"', left(null_handling_params, 100)),
      'Missing values go the way that each split learned; leave it null.');
  end if;
  v_design.num_bins := num_splits;
  v_design.num_trees := 1;
  v_design.cp := 0;
  v_design.seed := 0;
  if nullif(btrim(pruning_params), '') is not null then
    v_design.cp := substring(pruning_params from '^\s*cp\s*=\s*([0-9]*\.?[0-9]+(?:e-?[0-9]{1,2})?)\s*$')::float8;
    if v_design.cp is null then
      perform common.refuse('CF001', format('pruning_params "%s"', left(pruning_params, 100)),
        'Give the complexity parameter, such as cp=0.01.');
    end if;
  end if;
  v_design.growth.criterion := lower(split_criterion);
  v_design.growth.lambda := 0;
  v_design.growth.min_gain := 0;
  v_design.growth.max_depth := max_depth;
  v_design.growth.min_rows := coalesce(min_bucket, greatest(1, min_split / 3));
  v_design.growth.min_split := min_split;
  v_design.growth.min_weight := 1e-12;
  perform ml._forest_train(v_design);
end;
$$;

comment on function ml.tree_train(
  text, text, text, text, text, text, text, text, text, int, int, int, int, text, text, boolean
) is $$
@behavior -*
A decision tree:
classes for a boolean, integer or text dependent variable, numbers for the others, in MADlib's arguments.
`split_criterion`: `gini`, `entropy` or `misclassification` (numbers: least squares). `min_bucket` is a third of
`min_split` by default, `num_splits` the number of bins of a numeric feature (2 to 500). `pruning_params` is `cp=…`:
branches that lower the root's impurity by less than this share a split are cut, weakest first. Features: see
ml.gbm_train; missing values go the way that each split learned, there are no surrogate splits, so that
`null_handling_params` must be null. `verbose_mode` is MADlib's and changes nothing.
Writes `output_table_name`, one row per node (as ml.gbm_train; leaves have `value` or, for classes, `distribution` in
the order of `dependent_var_levels`), and `<output_table_name>_summary`.
With `grouping_cols` each group has the tree that it would have alone: the tables begin with `gid`, the number of the
group, and the grouping columns, the summary has a row per group, and the reason in `failure` for one without a tree.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes, over 10,000 trees in all groups).
Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984.
$$;

grant execute on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int,
  text, text, boolean) to insights_analyst, insights_admin, insights_worker;
