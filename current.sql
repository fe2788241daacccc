-- Changes of structure since the last release: see migrations/README.md.

create table track.item_transition (
  month date not null,
  source_item_id bigint not null,
  target_item_id bigint not null,
  transition_count bigint not null check (transition_count > 0),
  person_count int not null check (person_count > 0),
  elapsed bigint not null,
  primary key (month, source_item_id, target_item_id)
)
with (fillfactor = 80);

comment on table track.item_transition is $$
@behavior -*
Transitions between items that were viewed in succession in a session, by month, of the people in the set `counted`.
Views that continue from an earlier session, and those without an item, are left out, as are transitions from an item to
itself. Months in `track.stale_transition_month` are out of date. Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_transition.month is $$
First day of the month (UTC) in which the session started.
$$;
comment on column track.item_transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.item_transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.item_transition.transition_count is $$Number of transitions.$$;
comment on column track.item_transition.person_count is $$Number of distinct people in the month.$$;
comment on column track.item_transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create table track.stale_transition_month (month date primary key);

comment on table track.stale_transition_month is $$
@behavior -*
Months whose transitions are recomputed by the next refresh, such as all months after an upgrade.
Consumed by `track.refresh`, one month per call.
$$;
comment on column track.stale_transition_month.month is $$First day of the month, UTC.$$;

create type track.transition as (
  person_id bigint,
  month date,
  source_item_id bigint,
  target_item_id bigint,
  transition_count int,
  elapsed bigint
);

comment on type track.transition is $$
Transitions of a person between two items in a month.
$$;
comment on column track.transition.person_id is $$Person.$$;
comment on column track.transition.month is $$First day of the month (UTC) in which the session started.$$;
comment on column track.transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.transition.transition_count is $$Number of transitions.$$;
comment on column track.transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create type analytics.transition as (
  source text,
  target text,
  transition_count bigint,
  person_months bigint,
  share float8,
  mean_time interval
);

comment on type analytics.transition is $$
A transition between two nodes in the sessions of some months.
For analysts, figures are rounded, and months in which too few people did a transition are left out.
$$;
comment on column analytics.transition.source is $$Node that was viewed first.$$;
comment on column analytics.transition.target is $$Node that was viewed next.$$;
comment on column analytics.transition.transition_count is $$Number of transitions.$$;
comment on column analytics.transition.person_months is $$
Number of people in each month, added over the months and the pairs of items that the nodes stand for.
$$;
comment on column analytics.transition.share is $$Share of the transitions from the source to other nodes.$$;
comment on column analytics.transition.mean_time is $$
Mean time from the start of the view of the source to that of the target; null for analysts of too few people.
$$;

alter table track.item_transition enable row level security;
alter table track.stale_transition_month enable row level security;

-- The transitions of all months are computed by the refresh, one month per call.
insert into track.stale_transition_month (month)
select to_date(substr(partition.relname, 7), 'YYYY_MM')
from pg_catalog.pg_inherits
join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'track.event'::regclass
  and partition.relname ~ '^event_\d{4}_\d\d$';

-- The features of a training leave out the columns of the label.
drop function ml._tree_features(regclass, text, text, text[]);

-- k-means from several starts.
drop function ml._kmeans_points(regclass, text, bigint, boolean);
drop function ml._kmeans_run(int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp(text, text, int, text, text, int, float8, float8, bigint);
drop function ml.kmeanspp_auto(text, text, text, int[], text, text, int, float8, float8, text, bigint);

-- Corrections for small samples of robust standard errors.
drop function ml._sandwich_statement(jsonb, text, text, text[], float8[], integer[]);
drop function ml._sandwich(text, text, text, text, text, text, text, integer, float8);
drop function ml.robust_variance_linregr(text, text, text, text, text);
drop function ml.robust_variance_logregr(text, text, text, text, text, integer, text, float8, boolean);
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

-- MADlib's last argument.
drop function if exists ml.correlation(text, text, text, boolean, text);
drop function if exists ml.covariance(text, text, text, boolean, text);

-- ARIMA with a method; exponential smoothing with relative errors, and a reason for each series without a model.
drop function if exists ml.arima_train(text, text, text, text, text, boolean, int[], text);
drop function if exists ml._arima_filter(float8[], int[], float8[]);
drop function if exists ml._bounded(float8[], float8[]);
drop function if exists ml._series_fit(text, float8[], int[], float8[], float8[], int);
drop function if exists ml._series_residuals(text, float8[], int[], float8[], float8[]);
drop function if exists ml._ets_best(float8[], int, text, text, float8[]);
drop function if exists ml._ets_mean_error(jsonb, int, float8[], float8[], boolean);
drop function if exists ml._ets_filter(float8[], int[], float8[]);
drop function if exists ml._ets_holdout(float8[], float8[], int, text, text, float8[], int);
drop function if exists ml._ets_model(float8[], int, text, text, float8[], int);
comment on column ml.forecast_point.forecast_value is $$Expected value.$$;
comment on column ml.forecast_point.naive_value is $$
Seasonal-naive forecast: the last known value of this position in the cycle.
$$;
comment on column ml.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last values.
$$;
comment on column analytics.forecast_point.method is $$
Shape of the model, such as `ETS(A,Ad,A)`: error, trend, season.
It is `naive` or `seasonal naive` where that is better on the last buckets.
$$;

-- Paths of events.
drop function analytics._path_nodes(text, text[], text[]);
drop function analytics._numbered_nodes(text, text[], text[]);
drop function analytics._session_paths(timestamptz, timestamptz, int[], int, int, int, text, text, int);

/* ---------------------------------------------------------------------------------------- clusters of behaviour -- */

create table analytics.cluster_setting (
  only_row boolean primary key default true check (only_row),
  window_days int not null default 28 check (window_days between 7 and 366),
  cluster_count int check (cluster_count between 2 and 20),
  refit_days int not null default 7 check (refit_days between 1 and 366),
  is_marked boolean not null default true,
  tried_at timestamptz
);

comment on table analytics.cluster_setting is $$
Settings of the clusters of behaviour: one row. `analytics.define_clusters` changes them.
$$;
comment on column analytics.cluster_setting.only_row is $$Always true, so that the table has one row.$$;
comment on column analytics.cluster_setting.window_days is $$
Length of the period of behaviour in days (UTC): the complete days before the fit.
$$;
comment on column analytics.cluster_setting.cluster_count is $$
Number of clusters; null: the number from 3 to 8 with the best silhouette.
$$;
comment on column analytics.cluster_setting.refit_days is $$Number of days after which the clusters are fitted again.$$;
comment on column analytics.cluster_setting.is_marked is $$
Whether the next run of the task fits the clusters: after a change of the settings, and after an erasure.
$$;
comment on column analytics.cluster_setting.tried_at is $$Time of the last fit, or of the last attempt; null before.$$;

insert into analytics.cluster_setting default values;

create table analytics.cluster (
  name text primary key references track.person_set on delete cascade check (name ~ '^cluster[.][a-z0-9_]+$'),
  is_named_by_hand boolean not null default false,
  centroid float8[],
  means float8[],
  deviations float8[],
  person_count int,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  check ((retired_at is null) = (centroid is not null))
);

comment on table analytics.cluster is $$
@behavior -*
Clusters of people with similar behaviour, which are sets of people (`track.person_set`): see `analytics.fit_clusters`.
Figures are those of the last fit, in the order of `analytics._behaviour_features`.
$$;
comment on column analytics.cluster.name is $$Set of people, such as `cluster.night`.$$;
comment on column analytics.cluster.is_named_by_hand is $$Whether the name was given by `analytics.rename_cluster`.$$;
comment on column analytics.cluster.centroid is $$
Mean of each feature on its scale, which the next fit compares with its own centroids; null when retired.
$$;
comment on column analytics.cluster.means is $$Mean of each feature in its unit; null when retired.$$;
comment on column analytics.cluster.deviations is $$
Difference of the centroid from the mean of all people, in standard deviations; null when retired.
$$;
comment on column analytics.cluster.person_count is $$Number of people in the fit; null when retired.$$;
comment on column analytics.cluster.created_at is $$Time at which the cluster was first found.$$;
comment on column analytics.cluster.retired_at is $$
Time at which a fit found no such cluster; null: a cluster of the last fit. A retired cluster has no people.
$$;

create table analytics.cluster_member (
  identity_id bigint primary key references track.identity on delete cascade,
  name text not null references analytics.cluster on update cascade on delete cascade
);

comment on table analytics.cluster_member is $$
@behavior -*
The cluster of each person in the last fit. People who have opted out since are in none: `analytics.cluster_members`.
$$;
comment on column analytics.cluster_member.identity_id is $$
Identity with the key of the person at the time of the fit. Of people who were merged, that of the remaining key counts.
$$;
comment on column analytics.cluster_member.name is $$Cluster.$$;

create index cluster_member_name on analytics.cluster_member (name);

create table analytics.cluster_fit (
  fitted_at timestamptz primary key,
  since date not null,
  until date not null,
  person_count int not null,
  cluster_count int not null,
  silhouette float8 not null,
  tried int[] not null,
  silhouettes float8[] not null,
  seed bigint not null
);

comment on table analytics.cluster_fit is $$
Fits of the clusters of behaviour, without data of people.
$$;
comment on column analytics.cluster_fit.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_fit.since is $$First day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.until is $$Day after the last day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.person_count is $$Number of people who were clustered.$$;
comment on column analytics.cluster_fit.cluster_count is $$
Number of clusters, without those of too few people, which were dissolved.
$$;
comment on column analytics.cluster_fit.silhouette is $$
Simplified silhouette of the chosen number of clusters, from -1 to 1, before the small ones were dissolved.
$$;
comment on column analytics.cluster_fit.tried is $$Numbers of clusters that were compared.$$;
comment on column analytics.cluster_fit.silhouettes is $$Simplified silhouette of each of them.$$;
comment on column analytics.cluster_fit.seed is $$
Seed of the random numbers: the same data and seed give the same fit.
$$;

create table analytics.cluster_move (
  fitted_at timestamptz not null references analytics.cluster_fit on delete cascade,
  from_cluster text not null,
  to_cluster text not null,
  person_count int not null check (person_count > 0),
  primary key (fitted_at, from_cluster, to_cluster)
);

comment on table analytics.cluster_move is $$
@behavior -*
Numbers of people by their clusters in a fit and in the one before it, without data of people.
$$;
comment on column analytics.cluster_move.fitted_at is $$Fit.$$;
comment on column analytics.cluster_move.from_cluster is $$Cluster in the fit before; empty: in none.$$;
comment on column analytics.cluster_move.to_cluster is $$Cluster in this fit; empty: in none.$$;
comment on column analytics.cluster_move.person_count is $$Number of people.$$;

alter table analytics.cluster_setting enable row level security;
alter table analytics.cluster enable row level security;
alter table analytics.cluster_member enable row level security;
alter table analytics.cluster_fit enable row level security;
alter table analytics.cluster_move enable row level security;

create type analytics.behaviour_cluster as (
  cluster text,
  description text,
  person_count bigint,
  share float8,
  silhouette float8,
  fitted_at timestamptz,
  is_named_by_hand boolean
);

comment on type analytics.behaviour_cluster is $$
A cluster of behaviour with its size. For analysts, numbers are rounded.
$$;
comment on column analytics.behaviour_cluster.cluster is $$Name: the set of people is `cluster.` and this name.$$;
comment on column analytics.behaviour_cluster.description is $$Description of the behaviour.$$;
comment on column analytics.behaviour_cluster.person_count is $$Number of people, as of now.$$;
comment on column analytics.behaviour_cluster.share is $$
Share of the people of all clusters, from 0 to 1; null when there are none.
$$;
comment on column analytics.behaviour_cluster.silhouette is $$
Simplified silhouette of the fit, from -1 to 1: how well the clusters are separated.
$$;
comment on column analytics.behaviour_cluster.fitted_at is $$Time of the fit.$$;
comment on column analytics.behaviour_cluster.is_named_by_hand is $$Whether an administrator gave the name.$$;

create type analytics.cluster_feature as (
  cluster text,
  feature text,
  description text,
  mean float8,
  deviation float8
);

comment on type analytics.cluster_feature is $$
A feature of the behaviour of a cluster. For analysts, figures are rounded, and null for too few people.
$$;
comment on column analytics.cluster_feature.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_feature.feature is $$Name of the feature.$$;
comment on column analytics.cluster_feature.description is $$Definition of the feature, with its unit.$$;
comment on column analytics.cluster_feature.mean is $$Mean of the people of the cluster.$$;
comment on column analytics.cluster_feature.deviation is $$
Difference from the mean of all people on the scale of the feature, in standard deviations.
$$;

create type analytics.cluster_change as (
  fitted_at timestamptz,
  from_cluster text,
  to_cluster text,
  person_count bigint,
  share float8
);

comment on type analytics.cluster_change is $$
The people who were in one cluster in a fit, and in the same or another one in the next. For analysts rounded.
$$;
comment on column analytics.cluster_change.fitted_at is $$Time of the later fit.$$;
comment on column analytics.cluster_change.from_cluster is $$Cluster in the fit before; null: in none.$$;
comment on column analytics.cluster_change.to_cluster is $$Cluster in this fit; null: in none.$$;
comment on column analytics.cluster_change.person_count is $$Number of people.$$;
comment on column analytics.cluster_change.share is $$Share of the people of `from_cluster`, from 0 to 1.$$;

create type analytics.cluster_size as (fitted_at timestamptz, cluster text, person_count bigint, silhouette float8);

comment on type analytics.cluster_size is $$
The size of a cluster in a fit. For analysts, numbers are rounded.
$$;
comment on column analytics.cluster_size.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_size.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_size.person_count is $$Number of people.$$;
comment on column analytics.cluster_size.silhouette is $$Simplified silhouette of the fit, from -1 to 1.$$;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, description
)
values (
  'interventions', 40, 'analytics.intervention', 'happened_at', null,
  'not exists (
    select
    from track.identity
    where identity.identity_id = stored.identity_id
      and identity.person_id in (select restricted from privacy.restricted() as restricted)
  )',
  'Notes of what teachers did about learners. Those of learners whose data is restricted are kept.'
);

insert into monitor.scheduled_task (task, every, is_always_recorded, severity)
values ('fit_clusters', '1 day', false, 'warning');
