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
  pruning_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_cp float8 := 0;
begin
  if nullif(btrim(grouping_cols), '') is not null then
    perform common.refuse('CF001', 'trees are not trained by group',
      'Train one model on a view of each group, or give the groups as a feature.');
  end if;
  if nullif(btrim(pruning_params), '') is not null then
    v_cp := substring(pruning_params from '^\s*cp\s*=\s*([0-9.]+(?:e-?[0-9]+)?)\s*$')::float8;
    if v_cp is null then
      perform common.refuse('CF001', format('pruning_params "%s"', left(pruning_params, 100)),
        'Give the complexity parameter, such as cp=0.01.');
    end if;
  end if;
  perform ml._forest_train(
    'tree_train', training_table_name, output_table_name, id_col_name, dependent_variable, list_of_features,
    list_of_features_to_exclude,
    split_criterion, weights, 1, null, null, max_depth, min_split, min_bucket, num_splits, v_cp, 0
  );
end;
$$;

comment on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int, text) is $$
@behavior -*
A decision tree:
classes for a boolean, integer or text dependent variable, numbers for the others, in MADlib's arguments.
`split_criterion`: `gini`, `entropy` or `misclassification` (numbers: least squares). `min_bucket` is a third of
`min_split` by default, `num_splits` the number of bins of a numeric feature (2 to 500). `pruning_params` is `cp=…`:
branches that lower the root's impurity by less than this share a split are cut, weakest first. Features: see
ml.gbm_train; missing values go the way that each split learned, there are no surrogate splits. `grouping_cols` must
be null.
Writes `output_table_name`, one row per node (as ml.gbm_train; leaves have `value` or, for classes, `distribution` in
the order of `dependent_var_levels`), and `<output_table_name>_summary`.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no rows, one class, nothing varies), CF005, CF008 (over 100
classes).
Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984.
$$;

grant execute on function ml.tree_train(text, text, text, text, text, text, text, text, text, int, int, int, int,
  text) to insights_analyst, insights_admin, insights_worker;
