-- Changes of structure since the last release: see migrations/README.md.

alter table monitor.alert_setting
  add column if not exists standby_lag_limit interval not null default '5 minutes'
    check (standby_lag_limit between '1 second' and '1 day');

comment on column monitor.alert_setting.standby_lag_limit is $$
Time by which a standby may be behind, or not connected, before it is a problem. Twelve times as long is critical.
$$;

insert into monitor.metric (metric, kind, unit, labels, description)
values
  (
    'insights_replication_absence_seconds', 'gauge', 'seconds', '{standby}',
    'Time since the standby was connected; 0 while it is.'
  )
on conflict (metric) do nothing;

update monitor.health_check
set description = 'Replication slots, and standbys that lag.'
where health_check = 'replication';

alter table monitor.rule_bound
  add column if not exists lowest float8,
  add column if not exists highest float8;

comment on column monitor.rule_bound.basis is $$
Values that it is learned from.
`hour of the week`: those of the same hour of earlier weeks, when there are four weeks of them, and 20, and the hours of
the week explain half of the deviations; `all hours`: all; `learning`: there are less than 100 values, of a daily metric
less than 14, or less than a day.
$$;
comment on column monitor.rule_bound.spread is $$
Their standard deviation, from the median absolute deviation; null while learning.
At least 5 percent of the median, and a least amount by the unit, so that a constant series does not alert on noise; of
an hour of the week, at least the share of the median by which values of all hours deviate from theirs.
$$;
comment on column monitor.rule_bound.lowest is $$
Value below which the series was for the time `rule.hold` on at most a tenth of the days: no lower bound is above it.
Null unless the basis is `all hours`.
$$;
comment on column monitor.rule_bound.highest is $$
Value above which the series was for the time `rule.hold` on at most a tenth of the days: no upper bound is below it.
Null unless the basis is `all hours`.
$$;

drop function if exists monitor._learn_bound(int, text, text, timestamptz);
set local lock_timeout to '5s';

alter table track.source add column states_enrolments boolean not null default false;
comment on column track.source.states_enrolments is $$
Whether its events `Course Enrolled`, `Course Dropped` and `Course Completed` give rows of `track.enrolment`.
So do those of imports (setting `insights.states_enrolments`), but not those of applications.
$$;

alter table track.enrolment add column source_id smallint;
comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Enrolments of people in items, as stored by the application, or as the events of an import state them.
Of the enrolments of an identity under several names of a merged item, the one of the item's own name counts, or else
the latest one. The others keep the merged item, whose kind is `merged`.
$$;
comment on column track.enrolment.source_id is $$
Import whose event began the enrolment; null: the application or an administrator stated it.
$$;
create index enrolment_source on track.enrolment (source_id) where source_id is not null;

-- Regressions keep what they read and what they fitted in composite types instead of jsonb objects.
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

drop function
  ml._breusch_pagan(jsonb, jsonb),
  ml._cast(text, text, text),
  ml._columns_of(jsonb, text, text, text),
  ml._complete(jsonb),
  ml._cox_fit(jsonb, boolean, integer, float8),
  ml._cox_model(text, text),
  ml._cox_residuals(jsonb, float8[]),
  ml._cox_statement(jsonb, float8[], boolean),
  ml._cross_product(float8, float8[], float8[], jsonb),
  ml._design(text, text, text, text, text, text),
  ml._elastic_net_cross_validation(jsonb, text, float8[], float8[], integer, integer, boolean, integer, float8, text),
  ml._elastic_net_design(text, text, text, text, text),
  ml._elastic_net_fits(jsonb, text, float8, float8[], boolean, integer, float8),
  ml._elastic_net_step(float8[], float8[], float8, float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_top(jsonb, text, float8, boolean),
  ml._float8_sums(jsonb),
  ml._glm_constants(jsonb, text),
  ml._glm_estimate(jsonb, float8[], float8[]),
  ml._glm_failures(jsonb, text, text, bigint[], float8[], text),
  ml._glm_fits(jsonb, text, text, integer, float8),
  ml._glm_source(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]),
  ml._label(jsonb, integer),
  ml._least_squares(bigint, float8[], jsonb),
  ml._least_squares_numeric(bigint, numeric[], jsonb),
  ml._linear_predictor(integer[], text),
  ml._linregr_fits(jsonb),
  ml._model_of_group(jsonb, text[], float8[], integer[]),
  ml._multinomial_categories(jsonb, integer),
  ml._multinomial_covariance(float8[], jsonb, integer),
  ml._multinomial_fits(jsonb, integer, integer, float8),
  ml._multinomial_meat(jsonb, integer[], text[], float8[], integer[]),
  ml._multinomial_statement(jsonb, integer[], text[], float8[], integer[]),
  ml._no_rows(jsonb),
  ml._numeric_sums(jsonb, text[]),
  ml._product_sums(jsonb, text),
  ml._publish(text, jsonb, text, jsonb, jsonb, text),
  ml._refuse_non_finite(jsonb),
  ml._residuals(jsonb, jsonb, text),
  ml._rows(jsonb),
  ml._sandwich_statement(jsonb, text, text, text[], float8[], integer[], text, float8[]),
  ml._separation(jsonb, integer),
  ml._settled(jsonb),
  ml._standardized(jsonb),
  ml._transformed(float8[], jsonb),
  ml._unscaled(float8[], float8[], jsonb, integer, float8),
  ml._values(jsonb, text),
  ml._variables(jsonb);

/* ------------------------------------------------------------------------------------------------ saved views -- */

create table analytics.saved_view (
  view_id bigint generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  address text not null check (
    length(address) <= 4000
    and address ~ '^/[a-z-]+(\?([A-Za-z0-9_]+=[^&#]*(&|$))*)?$'
    and address !~ '[?&]person='
  ),
  is_shared boolean not null default false,
  board text check (length(board) between 1 and 100),
  board_position int not null default 0,
  created_by text not null,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

comment on table analytics.saved_view is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Saved views of the pages: the address of a page with its settings, under a name.
Analysts and administrators see their own, and those that are shared. A view contains no figures: who opens it sees
what she may see.
$$;
comment on column analytics.saved_view.view_id is $$Key of the view.$$;
comment on column analytics.saved_view.name is $$Name, as shown in lists and on the board.$$;
comment on column analytics.saved_view.address is $$Path of the page with its settings, such as /explore?view=funnel.$$;
comment on column analytics.saved_view.is_shared is $$Whether all analysts and administrators see it.$$;
comment on column analytics.saved_view.board is $$Board on which it is pinned; null when it is on none.$$;
comment on column analytics.saved_view.board_position is $$Place on the board: views of lower numbers come first.$$;
comment on column analytics.saved_view.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.saved_view.created_at is $$Time at which the view was saved first.$$;
comment on column analytics.saved_view.changed_at is $$Time at which the view was saved last.$$;

create index saved_view_author on analytics.saved_view (created_by);

alter table analytics.saved_view enable row level security;

-- A removal that is not completed begins again with the first person.
alter table track.forgotten_import
  -- squawk-ignore ban-drop-column
  drop column done_until,
  add column done_people bigint default 0;
comment on column track.forgotten_import.done_people is $$
Events of the import are deleted up to this person, who may have more; null when all are deleted.
$$;
