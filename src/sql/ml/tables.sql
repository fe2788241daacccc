create schema ml;

comment on schema ml is $$
Linear algebra on pgvector, regression, trees and clustering in MADlib's names, and the model registry.
Has no notion of learners or courses.
$$;

grant usage on schema ml to insights_reader, insights_analyst, insights_admin, insights_worker;

create table ml.project (
  project_id int generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
  task text not null check (
    task in ('recommendation', 'regression', 'classification', 'survival', 'clustering', 'forecast')
  ),
  metric text not null,
  higher_is_better boolean not null default true,
  created_at timestamptz not null default now(),
  description text
);

comment on table ml.project is $$
A question that models answer, such as `recommend.course`: its versions compete by one metric, one of them is deployed.
$$;
comment on column ml.project.project_id is $$Key of the project.$$;
comment on column ml.project.name is $$Name by which it is asked for, lower case, dots allowed.$$;
comment on column ml.project.task is $$
Kind of question: `recommendation`, `regression`, `classification`, `survival`, `clustering` or `forecast`.
$$;
comment on column ml.project.metric is $$Key in `ml.model.metrics` by which versions are compared.$$;
comment on column ml.project.higher_is_better is $$Whether a larger metric is a better model.$$;
comment on column ml.project.created_at is $$When the project was made.$$;
comment on column ml.project.description is $$Description of the prediction; null when none was given.$$;

create table ml.model (
  model_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  version int not null check (version > 0),
  algorithm text not null,
  parameters jsonb not null default '{}',
  metrics jsonb not null default '{}',
  coefficients jsonb,
  seed bigint,
  data_watermark timestamptz,
  row_count bigint,
  trained_at timestamptz not null default clock_timestamp(),
  duration interval,
  marked_at timestamptz,
  marked_reason text check (length(marked_reason) between 1 and 1000),
  unique (project_id, version)
);

comment on table ml.model is $$
A trained version of a project: what it was trained with, on which data, and how well it did.
A version is written by the transaction that trains it, so there is no half-trained one.
$$;
comment on column ml.model.model_id is $$Key of the version among all projects.$$;
comment on column ml.model.project_id is $$Project that it is a version of.$$;
comment on column ml.model.version is $$1, 2, 3, … within the project.$$;
comment on column ml.model.algorithm is $$Method, by the name of its function or paper, such as `ease`.$$;
comment on column ml.model.parameters is $$Hyperparameters of the training.$$;
comment on column ml.model.metrics is $$Measured quality, one key a metric.$$;
comment on column ml.model.coefficients is $$
The model itself where it is small; large ones are in tables of their own, keyed by `model_id`.
$$;
comment on column ml.model.seed is $$Seed of every random choice: the same seed and data give the same model.$$;
comment on column ml.model.data_watermark is $$Time of the newest event that the training saw.$$;
comment on column ml.model.row_count is $$How many rows it was trained on.$$;
comment on column ml.model.trained_at is $$End of the training.$$;
comment on column ml.model.duration is $$Time that the training took.$$;
comment on column ml.model.marked_at is $$
Time from which the version is not used, until another one is trained (`ml.mark_for_training`); null: it is used.
$$;
comment on column ml.model.marked_reason is $$Reason of the mark; null when none was given.$$;

create table ml.deployment (
  deployment_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  model_id bigint not null references ml.model,
  strategy text not null check (strategy in ('first', 'better', 'newest', 'manual', 'rollback')),
  deployed_at timestamptz not null default clock_timestamp()
);

comment on table ml.deployment is $$
Deployments of versions; the latest row of a project is the deployed version.
$$;
comment on column ml.deployment.deployment_id is $$Key, ascending with time.$$;
comment on column ml.deployment.project_id is $$Project.$$;
comment on column ml.deployment.model_id is $$Version that was deployed.$$;
comment on column ml.deployment.strategy is $$
Why: `first` version, `better` metric, `newest` data, `manual`, or `rollback`.
$$;
comment on column ml.deployment.deployed_at is $$Since when.$$;

create index deployment_project on ml.deployment (project_id, deployment_id desc);
create index deployment_model on ml.deployment (model_id);

create type ml.kmeans_result as (
  centroids float8[],
  cluster_variance float8[],
  objective_fn float8,
  frac_reassigned float8,
  num_iterations int
);

comment on type ml.kmeans_result is $$
Clusters that k-means found.
$$;
comment on column ml.kmeans_result.centroids is $$Means of the clusters, one row per cluster (k × dimension).$$;
comment on column ml.kmeans_result.cluster_variance is $$Sum of the distances to the centroid, for each cluster.$$;
comment on column ml.kmeans_result.objective_fn is $$Sum of the distances of all points to their centroids.$$;
comment on column ml.kmeans_result.frac_reassigned is $$
Share of the points that the last iteration moved to another cluster.
$$;
comment on column ml.kmeans_result.num_iterations is $$Number of iterations.$$;

alter table ml.project enable row level security;
alter table ml.model enable row level security;
alter table ml.deployment enable row level security;

create type ml.ease_row as (item_no int, item text, weights vector, inverse vector);

comment on type ml.ease_row is $$
An item of an EASE model:
its place in all the vectors of the model, its name, its row of the weights B and its row of P = (XᵀX + λI)⁻¹.
$$;
comment on column ml.ease_row.item_no is $$Place of the item in all the vectors of the model, from 1.$$;
comment on column ml.ease_row.item is $$The item, as text.$$;
comment on column ml.ease_row.weights is $$Row of B: the weight of interest in the item for each item.$$;
comment on column ml.ease_row.inverse is $$Row of P, which `ml.rank_one_update` keeps current.$$;

create type ml.ease_sums as (items text[], gram vector[], person_counts int[]);

comment on type ml.ease_sums is $$
Sums that EASE is trained from, returned by `ml.ease_gram`.
$$;
comment on column ml.ease_sums.items is $$The items, as text, in the order of the rows and columns.$$;
comment on column ml.ease_sums.gram is $$Rows of XᵀX.$$;
comment on column ml.ease_sums.person_counts is $$Number of people of each item.$$;

create table ml.tree_node (
  model_id bigint not null references ml.model on delete cascade,
  tree int not null check (tree > 0),
  node int not null check (node >= 0),
  parent int check (parent < node),
  feature text,
  threshold float8,
  categories text[],
  missing_left boolean,
  left_node int,
  right_node int,
  value float8,
  gain float8,
  cover float8 not null,
  class_values float8[],
  primary key (model_id, tree, node),
  check ((parent is null) = (node = 0)),
  check (num_nonnulls(feature, value, class_values) = 1),
  check (feature is null
    or (missing_left is not null and left_node is not null and right_node is not null
      and num_nonnulls(threshold, categories) = 1))
);

comment on table ml.tree_node is $$
@behavior -*
The trees of registered models, one row per node, as `ml.gbm_train` writes them.
$$;
comment on column ml.tree_node.model_id is $$Version that it belongs to.$$;
comment on column ml.tree_node.tree is $$1, 2, 3, … in the order of training.$$;
comment on column ml.tree_node.node is $$Number within the tree; 0 is the root.$$;
comment on column ml.tree_node.parent is $$Node above; null for the root.$$;
comment on column ml.tree_node.feature is $$Feature that decides; null for a leaf.$$;
comment on column ml.tree_node.threshold is $$Values below go left; infinity: every value that is not missing does.$$;
comment on column ml.tree_node.categories is $$Categories that go left.$$;
comment on column ml.tree_node.missing_left is $$Whether missing values go left.$$;
comment on column ml.tree_node.left_node is $$Node to the left.$$;
comment on column ml.tree_node.right_node is $$Node to the right.$$;
comment on column ml.tree_node.value is $$
Contribution of a leaf to the score; null in a tree of several classes.
$$;
comment on column ml.tree_node.gain is $$Improvement of the loss by the split in training.$$;
comment on column ml.tree_node.cover is $$Weight of the training rows that came by: for explanations.$$;
comment on column ml.tree_node.class_values is $$
Contribution of a leaf to the score of each class, in a tree of several classes; null in trees of one score.
$$;

create table ml.embedding (
  model_id bigint not null references ml.model on delete cascade,
  side smallint not null check (side in (1, 2)),
  key text not null check (length(key) <= 512),
  embedding vector not null,
  primary key (model_id, side, key)
);

comment on table ml.embedding is $$
@behavior -*
Vectors of registered models that compare things by likeness. They are looked through as a whole, model by model.
$$;
comment on column ml.embedding.model_id is $$Version that it belongs to.$$;
comment on column ml.embedding.side is $$
1 or 2: which of the two keys of the model it is of; models with one kind of thing have side 1 only.
$$;
comment on column ml.embedding.key is $$Name of the thing.$$;
comment on column ml.embedding.embedding is $$Its vector; all of a model are of one length.$$;

create table ml.score (
  model_id bigint not null references ml.model on delete cascade,
  keys text[] not null,
  score float8 not null,
  primary key (model_id, keys)
);

comment on table ml.score is $$
@behavior -*
Registered models that are tables of answers.
$$;
comment on column ml.score.model_id is $$Version that it belongs to.$$;
comment on column ml.score.keys is $$Values of the model's keys, in their order.$$;
comment on column ml.score.score is $$The answer.$$;

create table ml.input_profile (
  model_id bigint not null references ml.model on delete cascade,
  feature text not null,
  edges float8[],
  categories text[],
  shares float8[] not null,
  primary key (model_id, feature),
  check (num_nonnulls(edges, categories) = 1),
  check (cardinality(shares) = 2 + coalesce(cardinality(edges), cardinality(categories)))
);

comment on table ml.input_profile is $$
How each feature of a model was distributed in training, for the watch on drift.
$$;
comment on column ml.input_profile.model_id is $$Version.$$;
comment on column ml.input_profile.feature is $$Feature.$$;
comment on column ml.input_profile.edges is $$
Edges of the bins of a number, at deciles of the training; null for a category.
$$;
comment on column ml.input_profile.categories is $$The frequent categories; null for a number.$$;
comment on column ml.input_profile.shares is $$
Share of the rows in each bin:
missing ones, then one more than there are edges; or missing ones, each category, all others.
$$;

create table ml.comparison (
  comparison_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  challenger_model_id bigint not null references ml.model on delete cascade,
  champion_model_id bigint references ml.model on delete cascade,
  metric text not null,
  challenger_value float8,
  champion_value float8,
  challenger_metrics jsonb not null,
  champion_metrics jsonb,
  row_count bigint not null,
  outcome text not null check (outcome in ('first', 'better', 'equal', 'worse', 'incomparable')),
  compared_at timestamptz not null default clock_timestamp()
);

comment on table ml.comparison is $$
Each new version against the deployed one, both scored on the same rows that neither was trained on.
$$;
comment on column ml.comparison.comparison_id is $$Key, ascending with time.$$;
comment on column ml.comparison.project_id is $$Project.$$;
comment on column ml.comparison.challenger_model_id is $$The new version.$$;
comment on column ml.comparison.champion_model_id is $$The version that was deployed; null when none was.$$;
comment on column ml.comparison.metric is $$Metric of the project, by which it is decided.$$;
comment on column ml.comparison.challenger_value is $$That metric of the new version.$$;
comment on column ml.comparison.champion_value is $$That metric of the version that was deployed.$$;
comment on column ml.comparison.challenger_metrics is $$All metrics of the new version.$$;
comment on column ml.comparison.champion_metrics is $$All metrics of the version that was deployed.$$;
comment on column ml.comparison.row_count is $$On how many rows.$$;
comment on column ml.comparison.outcome is $$
`first`, `better`, `equal`, `worse`, or `incomparable` when the deployed version needs features that no longer exist.
Deployed unless equal or worse.
$$;
comment on column ml.comparison.compared_at is $$When.$$;

create index comparison_project on ml.comparison (project_id, comparison_id desc);
create index comparison_challenger on ml.comparison (challenger_model_id);
create index comparison_champion on ml.comparison (champion_model_id);

create table ml.drift (
  drift_id bigint generated always as identity primary key,
  model_id bigint not null references ml.model on delete cascade,
  statistic text not null check (statistic in ('population_stability_index', 'calibration', 'metric')),
  feature text,
  value float8 not null,
  reference float8,
  verdict text not null check (verdict in ('stable', 'shifting', 'drifted')),
  row_count bigint not null,
  measured_at timestamptz not null default clock_timestamp(),
  check ((feature is not null) = (statistic = 'population_stability_index'))
);

comment on table ml.drift is $$
How far what a version meets has moved from what it was trained on: its inputs, its calibration, its metric.
$$;
comment on column ml.drift.drift_id is $$Key, ascending with time.$$;
comment on column ml.drift.model_id is $$Version.$$;
comment on column ml.drift.statistic is $$
`population_stability_index` of an input, `calibration`, or `metric` (of the project).
Calibration is the mean distance of predicted and observed share, or of mean prediction and mean value in standard
deviations.
$$;
comment on column ml.drift.feature is $$The input, for its stability index.$$;
comment on column ml.drift.value is $$The statistic.$$;
comment on column ml.drift.reference is $$Value in training; null where it is 0 by definition.$$;
comment on column ml.drift.verdict is $$
`stable`, `shifting` or `drifted`; for the index below 0.1, below 0.25, above.
$$;
comment on column ml.drift.row_count is $$Rows that it was measured on.$$;
comment on column ml.drift.measured_at is $$When.$$;

create index drift_model on ml.drift (model_id, drift_id desc);

create table ml.calibration (
  model_id bigint not null references ml.model on delete cascade,
  part text not null check (part in ('held out', 'latest')),
  class_number int not null check (class_number >= 0),
  bin int not null check (bin > 0),
  class text,
  row_count bigint not null,
  mean_predicted float8 not null,
  fraction_positive float8 not null,
  fraction_lower float8 not null,
  fraction_upper float8 not null,
  measured_at timestamptz not null default clock_timestamp(),
  primary key (model_id, part, class_number, bin),
  check ((class is null) = (class_number = 0))
);

comment on table ml.calibration is $$
Predicted probabilities of a version against what was observed, in bins of equal numbers of rows.
A bin has 20 rows or more; with fewer than 40 rows, there is none. Versions that predict no probability have none.
$$;
comment on column ml.calibration.model_id is $$Version.$$;
comment on column ml.calibration.part is $$
Rows that it was measured on.
`held out`: in its training or last comparison; `latest`: those with a known outcome when its drift was measured.
$$;
comment on column ml.calibration.class_number is $$
Number of the class, from 1, in a model of several classes; 0: the model has two, and predicts the probability of one.
$$;
comment on column ml.calibration.bin is $$1, 2, 3, … by rising probability.$$;
comment on column ml.calibration.class is $$Name of the class; null for models of two classes.$$;
comment on column ml.calibration.row_count is $$Number of rows in the bin.$$;
comment on column ml.calibration.mean_predicted is $$Mean of the predicted probabilities.$$;
comment on column ml.calibration.fraction_positive is $$Share of the rows in which the class was observed.$$;
comment on column ml.calibration.fraction_lower is $$Lower end of the 95 % Wilson interval of that share.$$;
comment on column ml.calibration.fraction_upper is $$Upper end of it.$$;
comment on column ml.calibration.measured_at is $$When.$$;

alter table ml.tree_node enable row level security;
alter table ml.embedding enable row level security;
alter table ml.score enable row level security;
alter table ml.input_profile enable row level security;
alter table ml.comparison enable row level security;
alter table ml.drift enable row level security;
alter table ml.calibration enable row level security;

create type ml.training as (
  project text,
  version int,
  algorithm text,
  deployed boolean,
  outcome text,
  metric text,
  value float8,
  champion_version int,
  champion_value float8,
  metrics jsonb,
  row_count bigint,
  holdout_row_count bigint,
  duration interval
);

comment on type ml.training is $$
Outcome of a training or a comparison:
the version, its metrics on the held-out rows, those of the deployed version, and whether it was deployed.
$$;
comment on column ml.training.project is $$Project.$$;
comment on column ml.training.version is $$The new version.$$;
comment on column ml.training.algorithm is $$Its method.$$;
comment on column ml.training.deployed is $$Whether it is deployed now.$$;
comment on column ml.training.outcome is $$
`first`, `better`, `equal`, `worse` than the deployed version, or `incomparable`.
$$;
comment on column ml.training.metric is $$Metric of the project.$$;
comment on column ml.training.value is $$That metric of the version on the held-out rows.$$;
comment on column ml.training.champion_version is $$The version that was deployed.$$;
comment on column ml.training.champion_value is $$The metric of that version on the same rows.$$;
comment on column ml.training.metrics is $$All metrics of the version.$$;
comment on column ml.training.row_count is $$Rows that it was trained on.$$;
comment on column ml.training.holdout_row_count is $$Rows that were held out.$$;
comment on column ml.training.duration is $$Elapsed time.$$;

create type ml.importance as (
  feature text,
  importance float8,
  share float8
);

comment on type ml.importance is $$
How much a feature matters to a model: see `ml.importances`.
$$;
comment on column ml.importance.feature is $$Feature.$$;
comment on column ml.importance.importance is $$
Total gain of the splits of trees, or standard deviation of what the feature adds to the score of a linear model.
$$;
comment on column ml.importance.share is $$Part of the sum of all importances.$$;

create type ml.contribution as (feature text, feature_value text, contribution float8);

comment on type ml.contribution is $$
Contribution of a feature to a raw score, compared with the mean of the training rows.
The contributions of a prediction, `(base)` included, sum to its raw score.
$$;
comment on column ml.contribution.feature is $$Feature; `(base)` is the mean score of the training rows.$$;
comment on column ml.contribution.feature_value is $$
Its value as text; null when missing. With several classes, that of `(base)` is the class whose score is explained.
$$;
comment on column ml.contribution.contribution is $$In the unit of the raw score: log odds for a probability.$$;

create type ml.row_contribution as (row_no int, feature text, feature_value text, contribution float8);

comment on type ml.row_contribution is $$
Contribution of a feature to the raw score of one of several rows, as in `ml.contribution`.
$$;
comment on column ml.row_contribution.row_no is $$Place of the row, from 1.$$;
comment on column ml.row_contribution.feature is $$Feature; `(base)` is the mean score of the training rows.$$;
comment on column ml.row_contribution.feature_value is $$Its value as text; null when missing.$$;
comment on column ml.row_contribution.contribution is $$In the unit of the raw score: log odds for a probability.$$;

create type ml.neighbour as (rank int, key text, similarity float8);

comment on type ml.neighbour is $$
A thing that is like another one in a model of embeddings.
$$;
comment on column ml.neighbour.rank is $$1 for the nearest.$$;
comment on column ml.neighbour.key is $$Name of the thing.$$;
comment on column ml.neighbour.similarity is $$Inner product or cosine, according to the model.$$;

create type ml.neighbour_row as (item_no int, neighbours int[], weights real[]);

comment on type ml.neighbour_row is $$
@behavior -*
An item of a recommender whose weights are sparse, and the items whose scores it changes.
The score of an item for a person is the sum of the weights from the items of the person.
$$;
comment on column ml.neighbour_row.item_no is $$Number of the item, from 1.$$;
comment on column ml.neighbour_row.neighbours is $$
Numbers of the items whose score it changes, in ascending order, without the item itself.
$$;
comment on column ml.neighbour_row.weights is $$Weight of each of them.$$;

create type ml.item_neighbours as (item text, neighbours text[], weights real[]);

comment on type ml.item_neighbours is $$
An item of a recommender whose weights are sparse, and the items whose scores it changes, by name.
$$;
comment on column ml.item_neighbours.item is $$The item, as text.$$;
comment on column ml.item_neighbours.neighbours is $$
Items whose score it changes, as text, the strongest weight first, without the item itself.
$$;
comment on column ml.item_neighbours.weights is $$Weight of each of them.$$;

create type ml.content_row as (item text, embedding vector);

comment on type ml.content_row is $$
@behavior -*
An item and the vector of its text.
$$;
comment on column ml.content_row.item is $$The item, as text.$$;
comment on column ml.content_row.embedding is $$Vector of length 1; null when the text has no word.$$;

create type ml.forecast_point as (
  step_ahead int,
  forecast_value float8,
  lower float8,
  upper float8,
  naive_value float8,
  naive_lower float8,
  naive_upper float8,
  method text,
  mase float8,
  holdout_mae float8,
  holdout_naive_mae float8
);

comment on type ml.forecast_point is $$
Expected value of a series at one of the next steps.
$$;
comment on column ml.forecast_point.step_ahead is $$Number of steps after the last value, from 1.$$;
comment on column ml.forecast_point.forecast_value is $$Expected value.$$;
comment on column ml.forecast_point.lower is $$Lower bound of the prediction interval.$$;
comment on column ml.forecast_point.upper is $$Upper bound of the prediction interval.$$;
comment on column ml.forecast_point.naive_value is $$
Seasonal-naive forecast: the last known value of this position in the cycle.
$$;
comment on column ml.forecast_point.naive_lower is $$Lower bound of its prediction interval.$$;
comment on column ml.forecast_point.naive_upper is $$Upper bound of its prediction interval.$$;
comment on column ml.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last values.
$$;
comment on column ml.forecast_point.mase is $$
Mean absolute one-step error over that of the naive forecast; below 1 the model is better. Null if the latter is 0.
$$;
comment on column ml.forecast_point.holdout_mae is $$
Mean absolute error on the last values, of a model trained on those before; null with too few values.
$$;
comment on column ml.forecast_point.holdout_naive_mae is $$
Mean absolute error of the naive forecast on the same values.
$$;

create type ml.t_test_result as (
  statistic float8,
  df float8,
  p_value_one_sided float8,
  p_value_two_sided float8
);

comment on type ml.t_test_result is $$Result of a t-test.$$;
comment on column ml.t_test_result.statistic is $$Difference in units of its standard error; null without variation.$$;
comment on column ml.t_test_result.df is $$Degrees of freedom.$$;
comment on column ml.t_test_result.p_value_one_sided is $$Probability of a statistic that is at least as high.$$;
comment on column ml.t_test_result.p_value_two_sided is $$Probability of a statistic that is at least as far from 0.$$;

create type ml.f_test_result as (
  statistic float8,
  df1 float8,
  df2 float8,
  p_value_one_sided float8,
  p_value_two_sided float8
);

comment on type ml.f_test_result is $$Result of an F-test.$$;
comment on column ml.f_test_result.statistic is $$Variance of the first sample divided by that of the second.$$;
comment on column ml.f_test_result.df1 is $$Degrees of freedom of the first sample.$$;
comment on column ml.f_test_result.df2 is $$Degrees of freedom of the second sample.$$;
comment on column ml.f_test_result.p_value_one_sided is $$Probability of a statistic that is at least as high.$$;
comment on column ml.f_test_result.p_value_two_sided is $$Twice the smaller probability of both sides.$$;

create type ml.chi2_test_result as (
  statistic float8,
  p_value float8,
  df bigint,
  phi float8,
  contingency_coef float8
);

comment on type ml.chi2_test_result is $$Result of a chi-squared test.$$;
comment on column ml.chi2_test_result.statistic is $$Chi-squared.$$;
comment on column ml.chi2_test_result.p_value is $$Probability of a statistic that is at least as high.$$;
comment on column ml.chi2_test_result.df is $$Degrees of freedom.$$;
comment on column ml.chi2_test_result.phi is $$√(χ²/n), where n is the number of observations.$$;
comment on column ml.chi2_test_result.contingency_coef is $$√(χ²/(n+χ²)), where n is the number of observations.$$;

create type ml.ks_test_result as (
  statistic float8,
  k_statistic float8,
  p_value float8
);

comment on type ml.ks_test_result is $$Result of a Kolmogorov-Smirnov test.$$;
comment on column ml.ks_test_result.statistic is $$Largest distance of the two distribution functions.$$;
comment on column ml.ks_test_result.k_statistic is $$The distance, scaled to Kolmogorov's distribution.$$;
comment on column ml.ks_test_result.p_value is $$Probability of a distance that is at least as large.$$;

create type ml.mw_test_result as (
  statistic float8,
  u_statistic float8,
  p_value_one_sided float8,
  p_value_two_sided float8
);

comment on type ml.mw_test_result is $$Result of a Mann-Whitney test.$$;
comment on column ml.mw_test_result.statistic is $$Normal approximation of `u_statistic`, at most 0.$$;
comment on column ml.mw_test_result.u_statistic is $$The smaller U of both samples.$$;
comment on column ml.mw_test_result.p_value_one_sided is $$Probability of a `statistic` that is at least as high.$$;
comment on column ml.mw_test_result.p_value_two_sided is $$Probability of a `statistic` at least as far from 0.$$;

create type ml.wsr_test_result as (
  statistic float8,
  rank_sum_pos float8,
  rank_sum_neg float8,
  num bigint,
  z_statistic float8,
  p_value_one_sided float8,
  p_value_two_sided float8
);

comment on type ml.wsr_test_result is $$Result of a Wilcoxon signed-rank test.$$;
comment on column ml.wsr_test_result.statistic is $$The smaller rank sum.$$;
comment on column ml.wsr_test_result.rank_sum_pos is $$Sum of the ranks of the positive values.$$;
comment on column ml.wsr_test_result.rank_sum_neg is $$Sum of the ranks of the negative values.$$;
comment on column ml.wsr_test_result.num is $$Number of values other than 0.$$;
comment on column ml.wsr_test_result.z_statistic is $$Normal approximation of `rank_sum_pos`.$$;
comment on column ml.wsr_test_result.p_value_one_sided is $$Probability of a `z_statistic` that is at least as high.$$;
comment on column ml.wsr_test_result.p_value_two_sided is $$Probability of a `z_statistic` at least as far from 0.$$;

create type ml.one_way_anova_result as (
  sum_squares_between float8,
  sum_squares_within float8,
  df_between bigint,
  df_within bigint,
  mean_squares_between float8,
  mean_squares_within float8,
  statistic float8,
  p_value float8
);

comment on type ml.one_way_anova_result is $$Result of a one-way analysis of variance.$$;
comment on column ml.one_way_anova_result.sum_squares_between is $$
Sum of the squared deviations of the means of the groups from the mean of all values, each times the size of the group.
$$;
comment on column ml.one_way_anova_result.sum_squares_within is $$
Sum of the squared deviations of the values from the means of their groups.
$$;
comment on column ml.one_way_anova_result.df_between is $$Number of groups minus 1.$$;
comment on column ml.one_way_anova_result.df_within is $$Number of values minus the number of groups.$$;
comment on column ml.one_way_anova_result.mean_squares_between is $$`sum_squares_between` by its degrees of freedom.$$;
comment on column ml.one_way_anova_result.mean_squares_within is $$`sum_squares_within` by its degrees of freedom.$$;
comment on column ml.one_way_anova_result.statistic is $$Fisher's F, the ratio of the mean squares.$$;
comment on column ml.one_way_anova_result.p_value is $$Probability of a statistic that is at least as high.$$;

create type ml.linregr_result as (
  coef float8[],
  r2 float8,
  std_err float8[],
  t_stats float8[],
  p_values float8[],
  condition_no float8,
  num_processed bigint,
  vcov float8[]
);

comment on type ml.linregr_result is $$Result of a linear regression by the aggregate `ml.linregr`.$$;
comment on column ml.linregr_result.coef is $$Coefficients, one per column.$$;
comment on column ml.linregr_result.r2 is $$Share of the variance of y that the model explains.$$;
comment on column ml.linregr_result.std_err is $$Standard errors of the coefficients.$$;
comment on column ml.linregr_result.t_stats is $$Coefficients divided by their standard errors.$$;
comment on column ml.linregr_result.p_values is $$Two-sided p-values by Student's t.$$;
comment on column ml.linregr_result.condition_no is $$Condition number of the columns.$$;
comment on column ml.linregr_result.num_processed is $$Number of rows.$$;
comment on column ml.linregr_result.vcov is $$Covariances of the coefficients (k × k).$$;

create type ml.cox_sandwich as (
  coef float8[],
  loglikelihood float8,
  std_err float8[],
  sandwich_se float8[],
  sandwich_z float8[],
  sandwich_p float8[],
  hessian float8[]
);

comment on type ml.cox_sandwich is $$A proportional hazards model with sandwich standard errors.$$;
comment on column ml.cox_sandwich.coef is $$Coefficients.$$;
comment on column ml.cox_sandwich.loglikelihood is $$Partial log likelihood.$$;
comment on column ml.cox_sandwich.std_err is $$Standard errors of the model.$$;
comment on column ml.cox_sandwich.sandwich_se is $$Sandwich standard errors.$$;
comment on column ml.cox_sandwich.sandwich_z is $$Coefficients divided by their sandwich standard errors.$$;
comment on column ml.cox_sandwich.sandwich_p is $$Two-sided p-values of these.$$;
comment on column ml.cox_sandwich.hessian is $$Information of the model (k × k).$$;

create type ml.margin_term as (
  place int,
  factor text,
  power int,
  variable text,
  kind text,
  category text
);

comment on type ml.margin_term is $$A factor of a term in the design of `ml.margins`.$$;
comment on column ml.margin_term.place is $$Place of the term, from 1.$$;
comment on column ml.margin_term.factor is $$Name of a variable, or a number.$$;
comment on column ml.margin_term.power is $$Power of the factor, from 1.$$;
comment on column ml.margin_term.variable is $$Variable that the term defines; null for products and powers.$$;
comment on column ml.margin_term.kind is $$
Kind of the variable: `c` (continuous), `i` (indicator) or `ir` (reference indicator); null without a variable.
$$;
comment on column ml.margin_term.category is $$Category of an indicator; null without one.$$;

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

create type ml.class_probability as (
  class text,
  probability float8
);

comment on type ml.class_probability is $$A class and its probability, as `ml.predict_classes` returns them.$$;
comment on column ml.class_probability.class is $$Name of the class.$$;
comment on column ml.class_probability.probability is $$Probability of the class, between 0 and 1.$$;

create type ml.design as (
  relation regclass,
  source text,
  alias text,
  y text,
  y_type regtype,
  x text[],
  x_types regtype[],
  packed boolean,
  exact boolean,
  groups text[],
  weights text,
  weights_type regtype,
  offsets text,
  offsets_type regtype,
  clusters text[],
  status text,
  fold text,
  width int,
  literals numeric[],
  active int[],
  candidates int[],
  nulls boolean,
  y_shift float8,
  y_scale float8,
  shift float8[],
  scale float8[],
  intercept int,
  intercept_value float8,
  spread float8[]
);

comment on type ml.design is $$
@behavior -*
How a regression reads its rows: the checked arguments of a trainer, and how its columns are centred and scaled.
Coefficients are numbered by the position of their column among the independent variables, from 1.
$$;
comment on column ml.design.relation is $$Source table.$$;
comment on column ml.design.source is $$Name of the source table in statements, by the search_path of the caller.$$;
comment on column ml.design.alias is $$Name that may qualify its columns in expressions, quoted.$$;
comment on column ml.design.y is $$Expression of the dependent variable.$$;
comment on column ml.design.y_type is $$Type of that expression.$$;
comment on column ml.design.x is $$Expressions of the independent variables; one expression when `packed`.$$;
comment on column ml.design.x_types is $$Types of these expressions; the type of the elements when `packed`.$$;
comment on column ml.design.packed is $$Whether the independent variables are the elements of one array.$$;
comment on column ml.design.exact is $$
Whether every value is an integer or a decimal, so that sums in numeric are exact sums of the data.
$$;
comment on column ml.design.groups is $$Grouping columns, quoted; empty without groups.$$;
comment on column ml.design.weights is $$Expression of the weights of the rows; null without weights.$$;
comment on column ml.design.weights_type is $$Type of that expression.$$;
comment on column ml.design.offsets is $$
Expression that is added to the linear predictor; null without offsets.
$$;
comment on column ml.design.offsets_type is $$Type of that expression.$$;
comment on column ml.design.clusters is $$
Columns whose values identify the clusters of a sandwich, quoted; null without clusters.
$$;
comment on column ml.design.status is $$
Expression that is true where the event was observed (survival); null for other models.
$$;
comment on column ml.design.fold is $$
Condition on the rows in a cross-validation, generated by this schema and never given by the caller; null: all rows.
$$;
comment on column ml.design.width is $$Number of coefficients.$$;
comment on column ml.design.literals is $$
Number that is written at a position, as the 1 of `array[1, tax]`; null at other positions.
$$;
comment on column ml.design.active is $$
Positions of the columns that are read: all but the literals and, after the first scan, the intercept.
$$;
comment on column ml.design.candidates is $$
Positions of columns that are constant in the first thousand rows and may be the intercept.
$$;
comment on column ml.design.nulls is $$Whether the first thousand rows contain one that is skipped.$$;
comment on column ml.design.y_shift is $$Number that is subtracted from y before it is summed.$$;
comment on column ml.design.y_scale is $$Power of two that y is multiplied by after that.$$;
comment on column ml.design.shift is $$Number that is subtracted from a column before it is multiplied and summed.$$;
comment on column ml.design.scale is $$Power of two that a column is multiplied by after that.$$;
comment on column ml.design.intercept is $$
Position of the constant column, known after the first scan of an iterative fit; null without one.
$$;
comment on column ml.design.intercept_value is $$Value of the constant column.$$;
comment on column ml.design.spread is $$
Root of the mean square of a column as it is summed; null before the first scan.
$$;

create type ml.design_group as (
  group_key text,
  row_count bigint,
  skipped bigint,
  mean_weight float8,
  total float8,
  least float8,
  largest float8,
  between_classes float8
);

comment on type ml.design_group is $$
@behavior -*
A group of the rows of a design, as the first scan of an iterative fit finds it.
$$;
comment on column ml.design_group.group_key is $$Grouping columns as the text of a row; empty without groups.$$;
comment on column ml.design_group.row_count is $$Number of rows that are fitted.$$;
comment on column ml.design_group.skipped is $$Number of rows that are skipped: with a null, or the weight 0.$$;
comment on column ml.design_group.mean_weight is $$Mean of the weights; 1 without weights.$$;
comment on column ml.design_group.total is $$Sum of y; with weights the weighted mean of y times the number of rows.$$;
comment on column ml.design_group.least is $$Least y.$$;
comment on column ml.design_group.largest is $$Largest y.$$;
comment on column ml.design_group.between_classes is $$Sum of |y (y - 1)|, which is 0 when all y are 0 or 1.$$;

create type ml.fit as (
  group_key text,
  category int,
  row_count bigint,
  skipped bigint,
  event_count bigint,
  cluster_count bigint,
  total_weight float8,
  intercept int,
  beta float8[],
  coef float8[],
  inverse float8[],
  information float8[],
  covariance float8[],
  std_err float8[],
  stats float8[],
  p_values float8[],
  log_likelihood float8,
  deviance float8,
  pearson float8,
  dispersion float8,
  rss float8,
  r2 float8,
  effective_df float8,
  condition_no float8,
  lambda float8,
  bp_stats float8,
  bp_p_value float8,
  arithmetic text,
  iterations int,
  converged boolean,
  trusted boolean,
  failure text
);

comment on type ml.fit is $$
@behavior -*
A regression of one group: one record per row of the output table of a trainer, whose columns are selected from it.
A field is null where a method does not compute it, and where the group could not be fitted.
$$;
comment on column ml.fit.group_key is $$Grouping columns as the text of a row; empty without groups.$$;
comment on column ml.fit.category is $$Category whose coefficients these are (multinomial).$$;
comment on column ml.fit.row_count is $$Number of rows that were fitted.$$;
comment on column ml.fit.skipped is $$Number of rows that were skipped.$$;
comment on column ml.fit.event_count is $$Number of events (survival).$$;
comment on column ml.fit.cluster_count is $$Number of clusters.$$;
comment on column ml.fit.total_weight is $$Sum of the weights; number of rows without weights.$$;
comment on column ml.fit.intercept is $$Position of the constant column of this group (linear).$$;
comment on column ml.fit.beta is $$
Coefficients of the columns as they are summed, by position; the constant column counts as 1.
Multinomial: one row per category.
$$;
comment on column ml.fit.coef is $$
Coefficients in the units of the caller, by position; survival: without the intercept, which cancels.
$$;
comment on column ml.fit.inverse is $$
Inverse of X'X or of the information, in the units of the caller.
During an iteration and in multinomial models, for the columns as they are summed.
$$;
comment on column ml.fit.information is $$Inverse of that.$$;
comment on column ml.fit.covariance is $$Covariance of the coefficients, in the units of the caller.$$;
comment on column ml.fit.std_err is $$Standard errors of the coefficients.$$;
comment on column ml.fit.stats is $$Coefficients over their standard errors.$$;
comment on column ml.fit.p_values is $$Two-sided p-values of the coefficients.$$;
comment on column ml.fit.log_likelihood is $$Logarithm of the likelihood.$$;
comment on column ml.fit.deviance is $$Deviance; without a distribution the sum of the squared residuals.$$;
comment on column ml.fit.pearson is $$Pearson's statistic.$$;
comment on column ml.fit.dispersion is $$Estimated dispersion; 1 where the family has none.$$;
comment on column ml.fit.rss is $$Sum of the squared residuals.$$;
comment on column ml.fit.r2 is $$Share of the variance that is explained.$$;
comment on column ml.fit.effective_df is $$Trace of the hat matrix.$$;
comment on column ml.fit.condition_no is $$Condition number of the columns.$$;
comment on column ml.fit.lambda is $$Penalty.$$;
comment on column ml.fit.bp_stats is $$Breusch and Pagan's statistic for heteroskedasticity.$$;
comment on column ml.fit.bp_p_value is $$Its p-value.$$;
comment on column ml.fit.arithmetic is $$`float8`, or `numeric` where double precision would lose digits.$$;
comment on column ml.fit.iterations is $$Number of iterations.$$;
comment on column ml.fit.converged is $$Whether the iteration reached the optimum.$$;
comment on column ml.fit.trusted is $$Whether enough digits are left after a fit in double precision.$$;
comment on column ml.fit.failure is $$Reason why the group could not be fitted; null when it was.$$;

create type ml.fit_step as (
  done boolean,
  previous float8[],
  step float8[],
  farthest float8,
  steady int,
  halvings int,
  objective float8,
  unit float8[],
  sums float8[]
);

comment on type ml.fit_step is $$
@behavior -*
Where the iteration of one group stands.
$$;
comment on column ml.fit_step.done is $$Whether the group needs no further step.$$;
comment on column ml.fit_step.previous is $$Coefficients before the last step, as `ml.fit.beta`.$$;
comment on column ml.fit_step.step is $$The last step, as `ml.fit.beta`.$$;
comment on column ml.fit_step.farthest is $$Largest change of a linear predictor by one column in that step.$$;
comment on column ml.fit_step.steady is $$Number of steps that were as long as the step before.$$;
comment on column ml.fit_step.halvings is $$How often the last step was halved.$$;
comment on column ml.fit_step.objective is $$Value that the steps decrease.$$;
comment on column ml.fit_step.unit is $$Unit in which a coefficient is penalised, by position.$$;
comment on column ml.fit_step.sums is $$Sums of the last scan.$$;
