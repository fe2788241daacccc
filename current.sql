-- Changes of structure since the last release: see migrations/README.md.

create type ml.tree_growth as (
  criterion text,
  lambda float8,
  min_gain float8,
  max_depth int,
  min_rows int,
  min_split int,
  min_weight float8,
  features_per_node int
);

comment on type ml.tree_growth is $$
How a tree is grown.
$$;
comment on column ml.tree_growth.criterion is $$
Measure of a split: `entropy`, `misclassification`, or the squares of sums (`gini`, `mse`, `newton`).
$$;
comment on column ml.tree_growth.lambda is $$Penalty that is added to the weight of a node.$$;
comment on column ml.tree_growth.min_gain is $$Least gain of a split.$$;
comment on column ml.tree_growth.max_depth is $$Largest depth; the root has depth 0.$$;
comment on column ml.tree_growth.min_rows is $$Least number of rows of a leaf.$$;
comment on column ml.tree_growth.min_split is $$Least number of rows of a node that is split.$$;
comment on column ml.tree_growth.min_weight is $$Least weight of a leaf.$$;
comment on column ml.tree_growth.features_per_node is $$Number of features drawn for each split; null: all.$$;

create type ml.tree_design as (
  method text,
  relation regclass,
  output text,
  groups text[],
  id text,
  dependent text,
  dependent_type regtype,
  classifies boolean,
  weights text,
  validation text,
  features text[],
  num_bins int,
  num_trees int,
  sample_ratio float8,
  cp float8,
  seed bigint,
  growth ml.tree_growth
);

comment on type ml.tree_design is $$
Checked arguments of a training of trees.
$$;
comment on column ml.tree_design.method is $$`gbm`, `tree_train` or `forest_train`.$$;
comment on column ml.tree_design.relation is $$Table or view with the rows.$$;
comment on column ml.tree_design.output is $$Qualified name of the table of nodes.$$;
comment on column ml.tree_design.groups is $$Quoted names of the grouping columns; empty without groups.$$;
comment on column ml.tree_design.id is $$Quoted name of the id column.$$;
comment on column ml.tree_design.dependent is $$Dependent variable, as the caller wrote it.$$;
comment on column ml.tree_design.dependent_type is $$Its type.$$;
comment on column ml.tree_design.classifies is $$Whether its values are classes, each with an output of its own.$$;
comment on column ml.tree_design.weights is $$Weight of a row, as the caller wrote it; null: 1.$$;
comment on column ml.tree_design.validation is $$Condition of the rows that are not trained on; null: none.$$;
comment on column ml.tree_design.features is $$Features, as quoted names or expressions.$$;
comment on column ml.tree_design.num_bins is $$Largest number of bins of a feature.$$;
comment on column ml.tree_design.num_trees is $$Number of trees, for boosted classes of each class.$$;
comment on column ml.tree_design.sample_ratio is $$
Expected number of copies of a row for each tree of a forest; null for one tree.
$$;
comment on column ml.tree_design.cp is $$Complexity parameter of the pruning; 0 prunes nothing.$$;
comment on column ml.tree_design.seed is $$Seed of all draws.$$;
comment on column ml.tree_design.growth is $$How each tree is grown.$$;

create type ml.tree_fit as (
  gid int,
  levels text[],
  outputs int,
  types text[],
  categories jsonb,
  usable int[],
  codes text,
  mean float8,
  squares float8,
  row_count bigint,
  validation_count bigint,
  skipped bigint,
  oob_error float8,
  failure text
);

comment on type ml.tree_fit is $$
Figures of one group in a training of trees, or of all rows without groups.
$$;
comment on column ml.tree_fit.gid is $$Number of the group, from 1.$$;
comment on column ml.tree_fit.levels is $$Classes, in the order of the outputs; null for numbers.$$;
comment on column ml.tree_fit.outputs is $$Number of outputs: classes, or 1.$$;
comment on column ml.tree_fit.types is $$`number` or `category`, for each feature.$$;
comment on column ml.tree_fit.categories is $$Known categories of the features that are text, by name.$$;
comment on column ml.tree_fit.usable is $$Numbers of the features that vary.$$;
comment on column ml.tree_fit.codes is $$Columns of their codes, as a select list.$$;
comment on column ml.tree_fit.mean is $$Weighted mean of the dependent variable.$$;
comment on column ml.tree_fit.squares is $$Weighted sum of its squared deviations.$$;
comment on column ml.tree_fit.row_count is $$Number of rows trained on.$$;
comment on column ml.tree_fit.validation_count is $$Number of rows for validation.$$;
comment on column ml.tree_fit.skipped is $$Number of rows without a dependent variable or weight.$$;
comment on column ml.tree_fit.oob_error is $$
Error of a forest on rows that its trees did not see; null for other models.
$$;
comment on column ml.tree_fit.failure is $$Reason why the group has no model; null when it has one.$$;

create type ml.boosting as (
  objective text,
  learning_rate float8,
  row_sample float8,
  feature_sample float8,
  early_stopping_rounds int,
  base float8[]
);

comment on type ml.boosting is $$
How trees are boosted.
$$;
comment on column ml.boosting.objective is $$`squared_error`, `logistic` or `softmax`.$$;
comment on column ml.boosting.learning_rate is $$Factor of what each tree adds.$$;
comment on column ml.boosting.row_sample is $$Share of the rows drawn for each round.$$;
comment on column ml.boosting.feature_sample is $$Share of the features drawn for each round.$$;
comment on column ml.boosting.early_stopping_rounds is $$
Number of rounds without a lower loss of the rows for validation that ends the training; null: none.
$$;
comment on column ml.boosting.base is $$Scores before the first tree, one per output.$$;

create type ml.tree_model as (
  gid int,
  method text,
  objective text,
  id_col_name text,
  dependent_varname text,
  dependent_var_type text,
  dependent_var_levels text[],
  independent_varnames text[],
  independent_vartypes text[],
  categories jsonb,
  base_score float8,
  base_scores float8[],
  num_trees int,
  grouping_cols text,
  failure text
);

comment on type ml.tree_model is $$
A row of the summary of a tree, forest or boosted model, as predictions read it.
$$;
comment on column ml.tree_model.gid is $$Number of the group; null without grouping columns.$$;
comment on column ml.tree_model.method is $$`gbm`, `tree_train` or `forest_train`.$$;
comment on column ml.tree_model.objective is $$Objective of a boosted model; null for others.$$;
comment on column ml.tree_model.id_col_name is $$Quoted name of the id column.$$;
comment on column ml.tree_model.dependent_varname is $$Dependent variable.$$;
comment on column ml.tree_model.dependent_var_type is $$Its type.$$;
comment on column ml.tree_model.dependent_var_levels is $$Classes, in the order of the outputs; null for numbers.$$;
comment on column ml.tree_model.independent_varnames is $$Features.$$;
comment on column ml.tree_model.independent_vartypes is $$`number` or `category`, for each feature.$$;
comment on column ml.tree_model.categories is $$Known categories of the features that are text, by name.$$;
comment on column ml.tree_model.base_score is $$
Score before the first tree of a boosted model; null for others and for classes.
$$;
comment on column ml.tree_model.base_scores is $$Scores of the classes before the first trees; null for others.$$;
comment on column ml.tree_model.num_trees is $$Number of trees, for boosted classes of each class.$$;
comment on column ml.tree_model.grouping_cols is $$Quoted names of the grouping columns; null without groups.$$;
comment on column ml.tree_model.failure is $$Reason why the group has no model; null when it has one.$$;

drop function ml._tree_prepare(regclass, text, text, text, text, text[], int, bigint);
drop function ml._tree_grow(int[], int, text, float8, float8, int, int, int, float8, int, bigint);
drop function ml._forest_train(text, text, text, text, text, text, text, text, text, int, int, float8, int, int, int,
  int, float8, bigint);
drop function ml._check_forest_arguments(int, int, float8, int, int, int, float8);
drop function ml._prune_tree(float8);
drop function ml._check_gbm_arguments(int, float8, int, int, float8, float8, float8, float8, float8, int, bigint);
drop function ml._model_summary(text, text[]);
drop function ml._gbm_expression(regclass, jsonb, text);
-- Funnels by declared properties are read from the journeys.
drop function analytics._search_statement(analytics.step_filter[], int, boolean, boolean, boolean);
drop function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean, text
);

create table experiment.period_sum (
  experiment_id int not null references experiment.experiment on delete cascade,
  since timestamptz not null,
  variation smallint not null,
  people bigint not null check (people > 0),
  primary key (experiment_id, since, variation)
);

comment on table experiment.period_sum is $$
@behavior -*
Numbers of counted people of each variation, by the weights at their exposure.
So that `experiment.health` costs the number of changes of the weights, not of people.
$$;
comment on column experiment.period_sum.experiment_id is $$Experiment.$$;
comment on column experiment.period_sum.since is $$Time from which the weights applied: `experiment.weighting.since`.$$;
comment on column experiment.period_sum.variation is $$Position of the variation.$$;
comment on column experiment.period_sum.people is $$Number of people.$$;

alter table experiment.period_sum enable row level security;

-- From now on no refresh stores exposures, so that all of them are counted.
lock table experiment.exposure in share row exclusive mode;
insert into experiment.period_sum (experiment_id, since, variation, people)
select
  exposure.experiment_id, coalesce(period.since[width_bucket(exposure.exposed_at, period.since)], period.since[1]),
  exposure.variation, count(*)
from experiment.exposure
join (
  select weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since
  from experiment.weighting
  group by weighting.experiment_id
) as period on period.experiment_id = exposure.experiment_id
where exposure.is_counted
  and exposure.variation is not null
group by 1, 2, 3;

comment on type experiment.drawn is $$
@behavior -*
Numbers of people of the variations of an experiment, and what its weights make expect of them.
Of a part of the time, added up over the periods between two changes of the weights.
$$;

alter table experiment.kept
  alter column drawn type experiment.drawn[] using case when drawn is not null then array[drawn] end;
comment on column experiment.kept.drawn is $$
@behavior -*
Numbers by which `experiment.health` tests the assignment, by part of the time.
Of at least 5 people per variation; null with fewer.
$$;

drop function experiment._assigned(experiment.experiment, experiment.day_sum[], track.person_set_block[]);
drop function experiment._mismatch_p(experiment.drawn);
drop function experiment._drawn(float8[], float8[]);

-- Weights and offsets in regressions.
drop function ml._design(text, text, text, text);
drop function ml._settled(jsonb);
drop function ml._cross_product(bigint, float8[], float8[], jsonb);
drop function ml._glm_fits(jsonb, text, text, integer, float8);
drop function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text);
drop function ml.linregr_train(text, text, text, text, text, boolean);
drop function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean);
drop function ml.glm(text, text, text, text, text, text, text, boolean);
drop function ml.robust_variance_linregr(text, text, text, text, text, boolean, text);
drop function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean, text);
drop function ml.clustered_variance_linregr(text, text, text, text, text, text);
drop function ml.clustered_variance_logregr(text, text, text, text, text, text, integer, text, float8, boolean);
