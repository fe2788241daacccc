--! Previous: sha1:2329fa6d0aa7d1afdd16e64edc04e96a2e8b8f04
--! Hash: sha1:aa28d63e08bb57982bb35b96e5837bedb35b8205
--! Message: Enrolments of imports, saved views, learned bounds, designs of regressions

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

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

--! Included ml/regression/_cast.sql
create or replace function ml._cast(expression text, from_type regtype, to_type text)
returns text
language sql
stable
parallel safe
begin atomic
  -- real and double precision are cast to numeric through their shortest text, which has up to 17 digits; a direct cast
  -- keeps only 15
  select format(
    case
      when from_type = 'boolean'::regtype then '(%s)::int::%s'
      when to_type = 'numeric' and from_type in ('real'::regtype, 'double precision'::regtype) then '(%s)::text::%s'
      else '(%s)::%s'
    end,
    expression, to_type
  );
end;

comment on function ml._cast(text, regtype, text) is $$
Returns the text of an expression of a known type, cast to float8 or numeric.
$$;

grant execute on function ml._cast(text, regtype, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_cast.sql

--! Included ml/regression/_values.sql
create or replace function ml._values(design ml.design, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from unnest(design.groups) with ordinality as part (name, position)
    ), ''),
    'row(' || (
      select string_agg(name, ', ' order by nth)
      from unnest(design.clusters) with ordinality as part (name, nth)
    ) || ')::text as cluster, ',
    '(' || design.status || ')::int::float8 as status, ',
    concat(
      -- a weight that is not allowed becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
      case when design.weights is not null then format(
        'case when %1$s between 1e-100 and 1e100 or %1$s = 0 then %1$s else ''NaN'' end as prior, ',
        ml._cast(design.weights, design.weights_type, type)
      ) end,
      case when design.offsets is not null then
        ml._cast(design.offsets, design.offsets_type, type) || ' as baseline, '
      end
    ),
    ml._cast(design.y, design.y_type, type),
    (
      select string_agg(
        case
          when not design.packed then
            format(
              ', %s as x%s',
              ml._cast(design.x[position], design.x_types[position], type),
              position
            )
          -- a row of another length becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
          when position = 1 then
            format(
              ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
              design.x[1],
              design.width,
              ml._cast(format('%s[1]', design.x[1]), design.x_types[1], type)
            )
          else
            format(
              ', %s as x%s',
              ml._cast(format('%s[%s]', design.x[1], position), design.x_types[1], type),
              position
            )
        end,
        '' order by position
      )
      from generate_series(1, design.width) as position
      where design.literals[position] is null
    ),
    design.source,
    design.alias,
    ' where ' || design.fold
  );
end;

comment on function ml._values(ml.design, text) is $$
Returns the text of the select that evaluates a design's expressions row by row.
Its columns: g1 …, prior, baseline, y, x1 … (without the literals), as float8 or numeric.
$$;

grant execute on function
  ml._values(ml.design, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_values.sql

--! Included ml/regression/_columns_of.sql
create or replace function ml._columns_of(
  design ml.design,
  prefix text,
  template text default '%s',
  separator text default ', '
)
returns text
language sql
stable
begin atomic
  select coalesce(string_agg(format(template, prefix || place), separator order by place), '')
  from unnest(design.active) as place;
end;

comment on function ml._columns_of(ml.design, text, text, text) is $$
Returns a text that lists the active columns of a design by a template, such as `, d2, d3`.
$$;

grant execute on function ml._columns_of(ml.design, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_columns_of.sql

--! Included ml/regression/_complete.sql
create or replace function ml._complete(design ml.design)
returns text
language sql
stable
begin atomic
  select format(
    'row(y%s%s%s) is not null%s',
    ml._columns_of(design, 'x', ', %s', ''),
    case when design.status is not null then ', status' else '' end,
    case when design.offsets is not null then ', baseline' else '' end,
    -- NaN, which stands for a weight that is not allowed, is larger than all numbers
    case when design.weights is not null then ' and prior > 0' else '' end
  );
end;

comment on function ml._complete(ml.design) is $$
Returns the text of the condition on ml._values that a row is fitted: none of its values is null, its weight is not 0.
$$;

grant execute on function ml._complete(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_complete.sql

--! Included ml/regression/_rows.sql
create or replace function ml._centred(name text, shift float8, scale float8)
returns text
language sql
stable
parallel safe
begin atomic
  select case when shift = 0 then name else format('(%s - %L::float8)', name, shift) end
    || case when scale = 1 then '' else format(' * %L::float8', scale) end;
end;

comment on function ml._centred(text, float8, float8) is $$
Returns the text of (name - shift) * scale, without a shift of 0 and a scale of 1.
$$;

create or replace function ml._rows(design ml.design)
returns text
language sql
stable
begin atomic
  select case
    when columns.plain then 'select ' || columns.list || ' from ' || columns.source
    else ml._layer(columns.list, columns.source)
  end
  from (
    select
      format('%s%s%s as key, %s as y%s, %s as complete',
        coalesce(grouped.columns || ', ', ''),
        case when design.clusters is not null then 'cluster, ' else '' end
          || case when design.status is not null then 'status, ' else '' end
          || case when design.weights is not null then 'prior, ' else '' end
          || case when design.offsets is not null then 'baseline, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', design.y_shift, design.y_scale),
        coalesce(active.columns, ''),
        ml._complete(design)
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- Plain columns may be inlined: then nothing is computed twice, or only by the one layer above (when the design
      -- is settled, see ml._settled).
      not design.packed
        and coalesce(active.named, true)
        and (
          design.spread is not null
          or design.weights is null
            and (design.y_shift, design.y_scale, design.y_type) = (0, 1, 'double precision'::regtype)
            and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from unnest(design.groups) with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(
            ', %s as d%s',
            ml._centred('x' || place, design.shift[place], design.scale[place]),
            place
          ),
          '' order by nth
        ) as columns,
        bool_and(
          (design.shift[place], design.scale[place], design.x_types[place]) = (0, 1, 'double precision'::regtype)
        ) as plain,
        bool_and(design.x[place] ~ '^[a-zA-Z_0-9.]+$') as named
      from unnest(design.active) with ordinality as list (place, nth)
    ) as active
  ) as columns;
end;

comment on function ml._rows(ml.design) is $$
Returns the text of the select that centres and scales a design's rows.
Its columns: g1 …, prior, baseline, key (the group, as text), y, d1 …, complete (see ml._complete).
$$;

grant execute on function
  ml._centred(text, float8, float8),
  ml._rows(ml.design)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_rows.sql

--! Included ml/regression/_design.sql
/*
 * Columns far from zero are centred near their medians, and very large or small ones are scaled by powers of two,
 * before they are multiplied: so the sums of squares lose no digits of x, cannot overflow or underflow (errors in SQL),
 * and integers stay integers, whose sums are exact. Without a constant column nothing is shifted, since the model would
 * change.
 */
create or replace function ml._design(
  source_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text,
  weights text default null,
  offsets text default null
)
returns ml.design
language plpgsql
as $$
declare
  v_numbers constant regtype[] := '{boolean, smallint, integer, bigint, real, double precision, numeric}';
  v_relation constant regclass := common.relation(source_table);
  v_alias constant text := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  v_groups constant text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_y constant text := common.expression(dependent_varname, v_relation);
  v_x constant text := common.expression(independent_varname, v_relation);
  v_y_type constant regtype := common.expression_type(dependent_varname, v_relation, 'dependent variable');
  v_inside constant text := substring(
    btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
  );
  v_elements text[];
  v_element text;
  v_types regtype[] := '{}';
  v_x_type regtype;
  v_element_type regtype;
  v_array text;
  v_design ml.design;
begin
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  -- array[a, b + c] is split into its elements, so that the sums are over plain expressions and no array is built per
  -- row. array[a] || array[b] matches the pattern, too, but its unbalanced brackets make split_expressions fail.
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    v_elements := null;
  end;
  if v_elements is not null then
    foreach v_element in array v_elements loop
      v_element_type := common.expression_type(v_element, v_relation, 'independent variable');
      if v_element_type <> all (v_numbers) then
        perform common.numeric_expression(v_element, v_relation, 'independent variable');
      end if;
      v_types := v_types || v_element_type;
    end loop;
    v_design.width := cardinality(v_elements);
  else
    if cardinality(common.split_expressions(v_x)) > 1 then
      perform common.refuse(
        'CF001',
        format('the independent variable "%s" is a list, not an array', left(independent_varname, 100)),
        format('Write array[%s].', left(independent_varname, 100))
      );
    end if;
    v_x_type := common.expression_type(independent_varname, v_relation, 'independent variable');
    if v_x_type = any (v_numbers) then
      return ml._design(source_table, dependent_varname, format('array[%s]', v_x), grouping_cols, weights, offsets);
    end if;
    select
      case
        when element.oid is not null then element.oid::regtype
        when type.typname in ('vector', 'halfvec') then 'real'::regtype
      end
    into v_element_type
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
    where type.oid = v_x_type;
    if v_element_type is null or v_element_type <> all (v_numbers) or v_element_type = 'boolean'::regtype then
      perform common.refuse(
        'CF001',
        format(
          'independent variable: "%s" is of type %s, not an array of numbers',
          left(independent_varname, 100),
          v_x_type
        ),
        'Write array[1, x1, x2], or name a column of type float8[].'
      );
    end if;
    v_array := format('((%s)::%s[])', v_x, v_element_type);
    v_types := array[v_element_type];
    v_design.width := (
      select probe.row_count
      from ml._sums(
        format(
          $statement$
          select null::text, true, cardinality(%1$s)::bigint, null::float8[]
          from %2$s as %3$s
          where %1$s is not null
          limit 1
          $statement$,
          v_array, v_relation, v_alias
        ),
        v_relation
      ) as probe
    );
    if v_design.width is null then
      perform common.refuse('CF004', format('"%s" has no row with an independent variable', v_relation),
        'Train on a table with rows.');
    end if;
  end if;
  if v_design.width > 250 or v_design.width = 0 then
    perform common.refuse('CF008', format('%s independent variables; 1 to 250 can be fitted', v_design.width),
      'Select fewer variables, or reduce them with ml.pca_train.');
  end if;

  v_design.weights := ml._scalar_expression(weights, v_relation, 'weights');
  if weights is not null then
    v_design.weights_type := common.expression_type(weights, v_relation, 'weights');
  end if;
  v_design.offsets := ml._scalar_expression(offsets, v_relation, 'offsets');
  if offsets is not null then
    v_design.offsets_type := common.expression_type(offsets, v_relation, 'offsets');
  end if;
  v_design.relation := v_relation;
  v_design.source := v_relation::text;
  v_design.alias := v_alias;
  v_design.y := v_y;
  v_design.y_type := v_y_type;
  v_design.x := coalesce(v_elements, array[v_array]);
  v_design.x_types := v_types;
  v_design.packed := v_array is not null;
  v_design.exact := not (v_types || v_y_type) && '{real, double precision}'::regtype[];
  v_design.groups := v_groups;
  v_design.literals := array(
    select case when v_elements[position] ~ '^[-+]?[0-9]+(\.[0-9]*)?$' then v_elements[position]::numeric end
    from generate_series(1, v_design.width) as position
    order by position
  );
  return ml._standardized(v_design);
end;
$$;

comment on function ml._design(text, text, text, text, text, text) is $$
Returns the design of a regression, after checking names, types and expressions.
Reads the first thousand rows to centre the columns.
Errors: CF001 (expression, type), CF002 (unknown; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too
many columns).
$$;

create or replace function ml._standardized(design ml.design)
returns ml.design
language plpgsql
as $$
declare
  v_design ml.design := design;
  v_active constant integer[] := array(
    select position
    from generate_series(1, design.width) as position
    where design.literals[position] is null
    order by position
  );
  v_count constant integer := cardinality(v_active);
  v_sample float8[];
  v_constant boolean := v_count < design.width;
  v_middle float8;
  v_spread float8;
begin
  v_design.active := v_active;
  v_design.candidates := '{}';
  v_design.shift := array_fill(0::float8, array[design.width]);
  v_design.scale := array_fill(1::float8, array[design.width]);
  select sample.sums, not sample.complete
  into v_sample, v_design.nulls
  from ml._sums(
    format(
      $statement$
      select null::text, not exists (select from (%2$s limit 1000) as head where not (%3$s)), count(*), array[%1$s]
      from (select * from (%2$s) as source where %3$s limit 1000) as head
      $statement$,
      (
        select string_agg(
          format(
            'percentile_disc(0.5) within group (order by %1$s), coalesce(stddev_pop(%1$s), 0), '
              || '(min(%1$s) = max(%1$s))::int',
            name
          ),
          ', ' order by nth
        )
        from unnest(
          '{y}'::text[] || (select array_agg('x' || position order by position) from unnest(v_active) as position)
        ) with ordinality as part (name, nth)
      ),
      ml._values(v_design, 'float8'),
      ml._complete(v_design)
    ),
    design.relation
  ) as sample;

  for i in 1..v_count loop
    if v_sample[3 * i + 3] = 1 and v_sample[3 * i + 1] not in (0, 'NaN', 'Infinity', '-Infinity') then
      v_design.candidates := v_design.candidates || v_active[i];
    end if;
  end loop;
  v_constant := v_constant or v_design.candidates <> '{}';
  for i in 0..v_count loop
    v_middle := v_sample[3 * i + 1];
    v_spread := v_sample[3 * i + 2];
    if v_middle is null or v_middle in ('NaN', 'Infinity', '-Infinity') or not v_constant then
      v_spread := greatest(v_spread, abs(v_middle));
      v_middle := 0;
    elsif abs(v_middle) <= 2 * v_spread then
      -- close to zero: centring would gain half a digit at the cost of two operations per row
      v_middle := 0;
    end if;
    v_spread := case
      when v_spread > 0 and v_spread < 'Infinity' and v_spread not between 1e-9 and 1e9
        then power(2::float8, -round(ln(v_spread) / ln(2::float8)))
      else 1
    end;
    if i = 0 then
      v_design.y_shift := v_middle;
      v_design.y_scale := v_spread;
    else
      v_design.shift[v_active[i]] := v_middle;
      v_design.scale[v_active[i]] := v_spread;
    end if;
  end loop;
  return v_design;
end;
$$;

comment on function ml._standardized(ml.design) is $$
Returns a design with shifts and scales, from the medians and standard deviations of the first thousand rows.
An approximation is enough, since the coefficients are transformed back exactly.
$$;

grant execute on function
  ml._design(text, text, text, text, text, text),
  ml._standardized(ml.design)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_design.sql

--! Included ml/regression/_less_offsets.sql
create or replace function ml._less_offsets(dependent_varname text, offsets text, source_table text)
returns text
language plpgsql
as $$
declare
  v_relation regclass;
  v_types regtype[];
  v_type text;
begin
  if offsets is null then
    return dependent_varname;
  end if;
  v_relation := common.relation(source_table);
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  perform ml._scalar_expression(offsets, v_relation, 'offsets');
  v_types := array[
    common.expression_type(dependent_varname, v_relation, 'dependent variable'),
    common.expression_type(offsets, v_relation, 'offsets')
  ];
  -- integers and decimals are subtracted exactly
  v_type := case when v_types && '{real, double precision}'::regtype[] then 'double precision' else 'numeric' end;
  return format(
    '%s - %s',
    ml._cast(common.expression(dependent_varname, v_relation), v_types[1], v_type),
    ml._cast(common.expression(offsets, v_relation), v_types[2], v_type)
  );
end;
$$;

comment on function ml._less_offsets(text, text, text) is $$
Returns the expression of a linear regression's dependent variable minus the offsets; the former without offsets.
$$;

grant execute on function ml._less_offsets(text, text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_less_offsets.sql

--! Included ml/regression/_no_rows.sql
create or replace function ml._no_rows(design ml.design)
returns text
language sql
stable
begin atomic
  select case
    when design.weights is not null then 'no row without a null has a weight above 0'
    else 'no row without a null'
  end;
end;

comment on function ml._no_rows(ml.design) is $$
Returns the failure of a group that has no complete row.
$$;

grant execute on function ml._no_rows(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_no_rows.sql

--! Included ml/regression/_refuse_non_finite.sql
create or replace function ml._refuse_non_finite(design ml.design)
returns void
language plpgsql
as $$
declare
  v_relation constant regclass := design.relation;
  v_bare ml.design := design;
  v_key text;
  v_row text;
begin
  v_bare.fold := null;
  v_bare.groups := '{}';
  v_key := (
    select string_agg(
      format('%L || %I::text', attribute.attname || ' = ', attribute.attname),
      ' || '', '' || ' order by part.position
    )
    from pg_catalog.pg_index as index
    cross join lateral unnest(index.indkey::int2[]) with ordinality as part (attnum, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = index.indrelid and attribute.attnum = part.attnum
    where index.indrelid = v_relation
      and index.indisprimary
  );
  v_row := (
    select found.key
    from ml._sums(
      format(
        $statement$
        select
          key || case
            when width <> %s then format(' with %%s independent variables instead of %s', width)
            %s
            else ''
          end,
          true,
          1::bigint,
          null::float8[]
        from (select %s as key, %s as width, %ssource.* from %s as %s cross join lateral (%s) as source) as source
        where %s and (%s)
        limit 1
        $statement$,
        design.width,
        design.width,
        case
          when design.weights is not null then
            'when prior = ''NaN'' then format('') has the weight %s'', coalesce(weight, ''null''))'
          else ''
        end,
        coalesce(v_key, format('left(%s::text, 200)', design.alias)),
        case
          when design.packed then format('cardinality(%s)', design.x[1])
          else design.width::text
        end,
        case when design.weights is not null then format('(%s)::text as weight, ', design.weights) else '' end,
        design.source,
        design.alias,
        -- the same expressions, over the current row
        left(
          ml._values(v_bare, 'float8'),
          -length(format(' from %s as %s', design.source, design.alias))
        ),
        ml._complete(design),
        'y in (''NaN'', ''Infinity'', ''-Infinity'')'
          || ml._columns_of(design, 'x', ' or %s in (''NaN'', ''Infinity'', ''-Infinity'')', '')
          || case
            when design.offsets is not null then ' or baseline in (''NaN'', ''Infinity'', ''-Infinity'')'
            else ''
          end
          || case when design.weights is not null then ' or prior = ''NaN''' else '' end
      ),
      v_relation
    ) as found
  );
  perform common.refuse(
    'CF001',
    case
      when v_row is null then format('a sum over "%s" is not finite', v_relation)
      when v_row ~ 'instead of' then format('row (%s) of "%s"', v_row, v_relation)
      when v_row ~ '\) has the weight ' then format(
        'row (%s) of "%s" has the weight %s',
        substring(v_row from '^(.*)\) has the weight '),
        v_relation,
        left(substring(v_row from '^.*\) has the weight (.*)$'), 100)
      )
      else format('row (%s) of "%s" contains NaN or infinity', v_row, v_relation)
    end,
    case
      when v_row ~ '\) has the weight ' then 'Weights are 0, which skips the row, or from 1e-100 to 1e100.'
      else 'Only finite numbers can be fitted; use null instead to have the row skipped.'
    end
  );
end;
$$;

comment on function ml._refuse_non_finite(ml.design) is $$
Raises CF001 and names the row that contains NaN, infinity, an array of another length or a weight that is not allowed.
The row is named by its primary key if it has one.
Called when a sum is not finite, so that the check costs nothing otherwise.
$$;

grant execute on function ml._refuse_non_finite(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_refuse_non_finite.sql

--! Included ml/regression/_unscaled.sql
create or replace function ml._unscaled(
  beta float8[],
  covariance float8[],
  design ml.design,
  intercept integer,
  intercept_value float8,
  out coef float8[],
  out vcov float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := design.width;
  v_scale constant float8[] := design.scale;
  v_shift constant float8[] := design.shift;
  v_weight float8[] := array_fill(0::float8, array[v_width]);
  v_row float8[] := array_fill(0::float8, array[v_width]);
  v_sum float8;
begin
  -- x = shift + d / scale for a column, and the constant column counts as 1: coef = T beta, and its covariance T C T'
  coef := beta;
  for j in 1..v_width loop
    coef[j] := beta[j] * v_scale[j];
    v_weight[j] := v_scale[j] * v_shift[j];
  end loop;
  if intercept is not null then
    v_weight[intercept] := 0;
    v_sum := beta[intercept];
    for j in 1..v_width loop
      v_sum := v_sum - beta[j] * v_weight[j];
    end loop;
    coef[intercept] := v_sum / intercept_value;
  end if;
  if covariance is null then
    return;
  end if;
  vcov := covariance;
  if intercept is not null then
    for j in 1..v_width loop
      v_sum := covariance[intercept][j];
      for m in 1..v_width loop
        v_sum := v_sum - v_weight[m] * covariance[m][j];
      end loop;
      v_row[j] := v_sum / intercept_value;
    end loop;
    v_sum := v_row[intercept];
    for m in 1..v_width loop
      v_sum := v_sum - v_weight[m] * v_row[m];
    end loop;
  end if;
  for i in 1..v_width loop
    for j in 1..v_width loop
      if i = intercept and j = intercept then
        vcov[i][j] := v_sum / intercept_value;
      elsif i = intercept then
        vcov[i][j] := v_row[j] * v_scale[j];
      elsif j = intercept then
        vcov[i][j] := v_row[i] * v_scale[i];
      else
        vcov[i][j] := covariance[i][j] * v_scale[i] * v_scale[j];
      end if;
    end loop;
  end loop;
end
$$;

comment on function ml._unscaled(float8[], float8[], ml.design, integer, float8) is $$
Returns coefficients and their covariance in the caller's units, from those of the centred and scaled columns.
In these, the constant column of value `intercept_value` at position `intercept` (null without one) counts as 1.
$$;

grant execute on function ml._unscaled(float8[], float8[], ml.design, integer, float8)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_unscaled.sql

--! Included ml/regression/_label.sql
create or replace function ml._label(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select case
    when design.packed then format('%s (element %s)', design.x[1], place)
    else format('"%s"', design.x[place])
  end;
end;

comment on function ml._label(ml.design, integer) is $$
Returns the name of the independent variable at a position, for messages.
$$;

grant execute on function ml._label(ml.design, integer) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_label.sql

--! Included ml/regression/_check_fits.sql
create or replace function ml._check_fits(fits ml.fit[], design ml.design)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if fits = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design.source, 100)), 'Train on a table with rows.');
  elsif not exists (select from unnest(fits) as fit where fit.failure is null) then
    perform ml._fit_failed(fits[1].failure, design.source);
  end if;
end;
$$;

comment on function ml._check_fits(ml.fit[], ml.design) is $$
Raises an error when none of the groups could be fitted: the failure of the first one, or CF004 without groups.
$$;

grant execute on function ml._check_fits(ml.fit[], ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_check_fits.sql

--! Included ml/regression/_publish.sql
create or replace function ml._publish(out_table text, design ml.design, fits ml.fit[], columns text, summary text)
returns void
language plpgsql
as $$
declare
  v_list text;
begin
  perform ml._check_fits(fits, design);
  if design.groups = '{}' then
    execute format('create table %s as select %s from unnest($1) as fit', out_table, columns) using fits;
  else
    -- The grouping columns are renamed below, so that none is confused with a field of a fit.
    v_list := array_to_string(design.groups, ', ');
    execute format(
      $statement$
      create table %s as
      select %s, %s
      from (select %s, row(%s)::text as key from %s as %s group by %s) as source
      join unnest($1) as fit on fit.group_key = source.key
      $statement$,
      out_table,
      (
        select string_agg(format('g%s as %s', nth, name), ', ' order by nth)
        from unnest(design.groups) with ordinality as part (name, nth)
      ),
      columns,
      (
        select string_agg(format('%s as g%s', name, nth), ', ' order by nth)
        from unnest(design.groups) with ordinality as part (name, nth)
      ),
      v_list,
      design.source,
      design.alias,
      v_list
    ) using fits;
  end if;
  execute format(
    $statement$
    create table %s as
    select %s
    from (
      select
        sum(part.row_count)::bigint as row_count,
        sum(part.skipped)::bigint as skipped,
        count(*) as group_count,
        count(part.failure) as failed_count
      from (select distinct on (fit.group_key) fit.* from unnest($1) as fit) as part
    ) as total
    $statement$,
    common.companion_table(out_table, '_summary'),
    summary
  ) using fits;
exception when duplicate_column then
  execute format(
    $statement$
    select string_agg(name, ', ')
    from (select to_json(result) as fields from (select %s from unnest($1) as fit limit 1) as result) as one
    cross join json_object_keys(one.fields) as name
    $statement$,
    columns
  ) into v_list using fits;
  perform common.refuse(
    'CF001',
    format('a grouping column of "%s" has the name of an output column', left(design.source, 100)),
    format('Rename it in a view; the output columns are %s.', left(v_list, 500))
  );
end;
$$;

comment on function ml._publish(text, ml.design, ml.fit[], text, text) is $$
Creates the output table of a trainer, one row per fit with the grouping columns in their own types, and its `_summary`.
`columns` is a select list over the fields of ml.fit, such as `coef, stats as t_stats`. `summary` is one over the
totals: row_count, skipped, group_count and failed_count.
Errors: CF001 (a grouping column has the name of an output column), CF004 and CF007 when no group could be fitted.
$$;

grant execute on function ml._publish(text, ml.design, ml.fit[], text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_publish.sql

--! Included ml/regression/_tested.sql
create or replace function ml._tested(fit ml.fit, df float8)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit := fit;
begin
  select wald.std_err, wald.stats, wald.p_values
  into v_fit.std_err, v_fit.stats, v_fit.p_values
  from ml._wald(fit.coef, fit.covariance, df) as wald;
  return v_fit;
end;
$$;

comment on function ml._tested(ml.fit, float8) is $$
Returns a fit with the standard errors and tests of its coefficients, from its covariance: see ml._wald.
$$;

grant execute on function ml._tested(ml.fit, float8) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_tested.sql

--! Included ml/regression/_warn_unconverged.sql
create or replace function ml._warn_unconverged(fits ml.fit[], trainer text, max_iter integer, argument text)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit;
begin
  foreach v_fit in array fits loop
    if v_fit.failure is null and not v_fit.converged then
      raise warning 'ml.%: no convergence after % iterations%',
        trainer,
        max_iter,
        case when v_fit.group_key <> '' then format(' in group %s', left(v_fit.group_key, 100)) else '' end
        using hint = format('Give a larger %s.', left(argument, 100));
    end if;
  end loop;
end;
$$;

comment on function ml._warn_unconverged(ml.fit[], text, integer, text) is $$
Warns of each group whose iteration ended without convergence. `argument` names what limits the iterations.
$$;

grant execute on function ml._warn_unconverged(ml.fit[], text, integer, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_warn_unconverged.sql

--! Included ml/regression/_odds_ratios.sql
create or replace function ml._odds_ratios(coef float8[])
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(exp(least(greatest(value, -700), 700)) order by nth)
  from unnest(coef) with ordinality as list (value, nth);
end;

comment on function ml._odds_ratios(float8[]) is $$
Returns the exponentials of coefficients, bounded so that none overflows; null for null.
$$;

grant execute on function ml._odds_ratios(float8[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_odds_ratios.sql

--! Included ml/regression/_spread.sql
create or replace function ml._spread(matrix float8[], places integer[], width integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_spread float8[] := array_fill(0::float8, array[width, width]);
begin
  for i in 1..cardinality(places) loop
    for j in 1..cardinality(places) loop
      v_spread[places[i]][places[j]] := matrix[i][j];
    end loop;
  end loop;
  return v_spread;
end;
$$;

comment on function ml._spread(float8[], integer[], integer) is $$
Returns a matrix of `width` rows that has the rows and columns of `matrix` at the given places, and 0 elsewhere.
$$;

grant execute on function ml._spread(float8[], integer[], integer) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_spread.sql

--! Included ml/regression/_product_sums.sql
create or replace function ml._product_sums(design ml.design, prefix text)
returns text[]
language sql
stable
begin atomic
  with weight as (
    select case when design.weights is not null then 'prior * ' else '' end as factor
  ),
  variable as (
    select 0 as nth, 'y' as name
    union all
    select nth, prefix || value
    from unnest(design.active) with ordinality as active (value, nth)
  ),
  product as (
    select
      row_variable.nth as row_nth,
      column_variable.nth as column_nth,
      format('sum(%s%s * %s)', weight.factor, row_variable.name, column_variable.name) as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
    cross join weight
  )
  select
    (select array_agg(format('sum(%s%s)', factor, name) order by nth) from variable cross join weight)
    || (select array_agg(term order by row_nth, column_nth) from product)
    || case when design.weights is not null then '{sum(prior)}'::text[] end;
end;

comment on function ml._product_sums(ml.design, text) is $$
Returns the aggregates that compute the sums and the Gram matrix of a design's columns and y.
The last is the sum of the weights if there are weights.
$$;

grant execute on function ml._product_sums(ml.design, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_product_sums.sql

--! Included ml/regression/_least_squares.sql
/*
 * Least squares from sums is computed in double precision, with an estimate of whether the result is accurate, and in
 * numeric where it is not. Both take their sums in one order: the sum of y and of each active column, then the upper
 * triangle of the sums of products over (y, active columns), row by row.
 */
create or replace function ml._cross_product(
  total_weight float8,
  sums float8[],
  products float8[],
  design ml.design
)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := total_weight;
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_count constant integer := cardinality(v_active);
  v_literal constant float8[] := design.literals;
  v_shift float8[] := design.shift;
  v_scale constant float8[] := design.scale;
  v_level float8[] := array_fill(0::float8, array[v_width]);
  v_gram float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  for i in 1..v_count loop
    v_level[v_active[i]] := sums[i + 1] / v_scale[v_active[i]];
  end loop;
  for i in 1..v_width loop
    v_shift[i] := coalesce(v_literal[i], v_shift[i]);
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_gram[i][j] := v_n * v_shift[i] * v_shift[j] + v_shift[i] * v_level[j] + v_shift[j] * v_level[i];
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_gram[v_active[i]][v_active[j]]
        + products[i + 1][j + 1] / v_scale[v_active[i]] / v_scale[v_active[j]];
    end loop;
  end loop;
  return v_gram;
end;
$$;

comment on function ml._cross_product(float8, float8[], float8[], ml.design) is $$
Returns X'X in the caller's units, from the sums and the products of the centred and scaled columns.
$$;

create or replace function ml._least_squares(
  row_count bigint,
  sums float8[],
  design ml.design,
  out fit ml.fit
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n float8 := row_count;
  v_width constant integer := design.width;
  v_active integer[] := design.active;
  v_count constant integer := cardinality(v_active);
  v_candidates constant integer[] := design.candidates;
  v_literal constant float8[] := design.literals;
  v_shift constant float8[] := design.shift;
  v_scale constant float8[] := design.scale;
  v_y_shift constant float8 := design.y_shift;
  v_y_scale constant float8 := design.y_scale;
  v_sum constant float8[] := sums[1:v_count + 1];
  v_product constant float8[] := ml._symmetric_matrix(sums[v_count + 2:], v_count + 1);
  v_centred float8[];
  v_used integer[] := '{}';
  v_size integer;
  v_position integer;
  v_a float8[];
  v_root float8[];
  v_slope float8[];
  v_covariance float8[];
  v_inverse float8[];
  v_dependent integer;
  v_row float8;
  v_largest float8 := 0;
  v_largest_inverse float8 := 0;
  v_explained float8 := 0;
  v_off_centre float8 := 1;
  v_constant float8;
begin
  fit.trusted := true;
  if design.weights is not null then
    v_n := sums[cardinality(sums)];
  end if;
  -- the intercept: the first constant that is written or found
  for j in 1..v_width loop
    if v_literal[j] is not null then
      if v_literal[j] = 0 then
        fit.failure := format('column %s is always 0', ml._label(design, j));
        return;
      elsif fit.intercept is not null then
        fit.failure := format(
          'column %s is constant, and so is column %s', ml._label(design, j), ml._label(design, fit.intercept)
        );
        return;
      end if;
      fit.intercept := j;
      v_constant := v_literal[j];
    end if;
  end loop;
  if fit.intercept is null then
    for i in 1..v_count loop
      if fit.intercept is null and v_active[i] = any (v_candidates) and v_product[i + 1][i + 1] = 0 then
        fit.intercept := v_active[i];
        v_constant := v_shift[v_active[i]];
      end if;
    end loop;
  end if;
  for i in 1..v_count loop
    if v_active[i] is distinct from fit.intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  if row_count < v_width then
    fit.failure := format('%s complete rows for %s columns', row_count, v_width);
    return;
  end if;

  -- moments about the mean with an intercept, about zero without
  v_centred := v_product;
  for i in 1..v_count + 1 loop
    for j in i..v_count + 1 loop
      if fit.intercept is not null then
        v_centred[i][j] := v_product[i][j] - v_sum[i] * (v_sum[j] / v_n);
      else
        -- the candidate for the intercept is not constant: the shift is reverted
        v_row := case
          when i = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[i - 1]] * v_scale[v_active[i - 1]]
        end;
        v_explained := case
          when j = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[j - 1]] * v_scale[v_active[j - 1]]
        end;
        v_centred[i][j] := v_product[i][j] + v_row * v_sum[j] + v_explained * v_sum[i] + v_n * v_row * v_explained;
      end if;
      v_centred[j][i] := v_centred[i][j];
    end loop;
  end loop;

  v_root := array_fill(1::float8, array[v_size + 1]);
  for i in 1..v_size loop
    v_row := v_centred[v_used[i]][v_used[i]];
    if v_row <= 1e-11 * v_product[v_used[i]][v_used[i]] or v_row <= 0 then
      -- constant, or with too little variance to decide in double precision
      if v_product[v_used[i]][v_used[i]] = 0 then
        fit.failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      end if;
      fit.trusted := false;
      return;
    end if;
    v_root[i] := sqrt(v_row);
    v_off_centre := greatest(v_off_centre, v_product[v_used[i]][v_used[i]] / v_row);
  end loop;
  v_a := array_fill(0::float8, array[v_size, v_size]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_a[i][j] := v_centred[v_used[i]][v_used[j]] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  select solved.inverse, solved.dependent
  into v_inverse, v_dependent
  from ml._spd_inverse(v_a, 1e-12) as solved;
  if v_dependent is not null then
    fit.trusted := false;
    return;
  end if;

  v_slope := array_fill(0::float8, array[v_size + 1]);
  v_explained := 0;
  for i in 1..v_size loop
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + v_inverse[i][j] * (v_centred[v_used[j]][1] / v_root[j]);
    end loop;
    v_slope[i] := v_row / v_root[i];
    v_explained := v_explained + v_slope[i] * v_centred[v_used[i]][1];
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_a[i][j]);
    end loop;
    v_largest := greatest(v_largest, v_row);
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_inverse[i][j]);
    end loop;
    v_largest_inverse := greatest(v_largest_inverse, v_row);
  end loop;
  fit.rss := greatest(v_centred[1][1] - v_explained, 0);
  fit.r2 := case when v_centred[1][1] > 0 then 1 - fit.rss / v_centred[1][1] end;

  -- Rounding errors grow with the condition of the correlations, with the digits lost by centring, and with the share
  -- of y that the fit explains. Ten digits are required where a second scan in numeric is cheap, six where it would
  -- take minutes.
  fit.trusted := v_product[1][1] = 0
    or greatest(v_largest * v_largest_inverse, 1) * greatest(v_off_centre * v_centred[1][1], v_product[1][1]) * 4e-16
      <= fit.rss * (case when row_count::float8 * v_size * v_size < 2e7 then 1e-10 else 1e-6 end);

  -- from the columns in use to all columns
  fit.beta := array_fill(0::float8, array[v_width]);
  v_covariance := array_fill(0::float8, array[v_width, v_width]);
  for i in 1..v_size loop
    v_position := v_active[v_used[i] - 1];
    fit.beta[v_position] := v_slope[i] / v_y_scale;
    for j in 1..v_size loop
      v_covariance[v_position][v_active[v_used[j] - 1]] := v_inverse[i][j] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  if fit.intercept is not null then
    v_explained := v_sum[1] / v_n;
    v_covariance[fit.intercept][fit.intercept] := 1 / v_n;
    for i in 1..v_size loop
      v_position := v_active[v_used[i] - 1];
      v_explained := v_explained - v_slope[i] * (v_sum[v_used[i]] / v_n);
      v_row := 0;
      for j in 1..v_size loop
        v_row := v_row - v_covariance[v_position][v_active[v_used[j] - 1]] * (v_sum[v_used[j]] / v_n);
      end loop;
      v_covariance[v_position][fit.intercept] := v_row;
      v_covariance[fit.intercept][v_position] := v_row;
      v_covariance[fit.intercept][fit.intercept] := v_covariance[fit.intercept][fit.intercept]
        - v_row * (v_sum[v_used[i]] / v_n);
    end loop;
    fit.beta[fit.intercept] := v_y_shift + v_explained / v_y_scale;
  end if;
  fit.rss := fit.rss / (v_y_scale * v_y_scale);

  select unscaled.coef, unscaled.vcov
  into fit.coef, fit.inverse
  from ml._unscaled(fit.beta, v_covariance, design, fit.intercept, v_constant) as unscaled;

  fit.condition_no := ml._condition_number(ml._cross_product(v_n, v_sum, v_product, design), fit.inverse);
end
$$;

comment on function ml._least_squares(bigint, float8[], ml.design) is $$
Returns the least squares fit in double precision from sums of centred and scaled columns.
`trusted` is false where too many digits were lost. `failure` is the reason why there is no fit: constant or collinear
columns, fewer rows than columns; null otherwise.
$$;

grant execute on function
  ml._cross_product(float8, float8[], float8[], ml.design),
  ml._least_squares(bigint, float8[], ml.design)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_least_squares.sql

--! Included ml/regression/_least_squares_numeric.sql
create or replace function ml._least_squares_numeric(
  row_count bigint,
  sums numeric[],
  design ml.design,
  out fit ml.fit
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_digits constant integer := 90;
  v_n constant numeric := case when design.weights is not null then sums[cardinality(sums)] else row_count end;
  v_width constant integer := design.width;
  v_literal constant numeric[] := design.literals;
  v_active constant integer[] := design.active;
  -- through their shortest text, which has up to 17 digits: a direct cast keeps only 15
  v_shift constant numeric[] := design.shift::text[]::numeric[];
  v_scale constant numeric[] := design.scale::text[]::numeric[];
  v_count constant integer := cardinality(v_active);
  v_sum numeric[] := array_fill(0::numeric, array[v_count + 1]);
  v_product numeric[] := array_fill(0::numeric, array[v_count + 1, v_count + 1]);
  v_moment numeric[];
  v_used integer[] := '{}';
  v_size integer;
  v_exponent integer[];
  v_root numeric[];
  v_r numeric[];
  v_inverse numeric[];
  v_dependent integer;
  v_slope numeric[];
  v_exact numeric[] := array_fill(0::numeric, array[v_width]);
  v_covariance numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_gram numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_one constant numeric := 1 + 0 * ('1e-' || v_digits)::numeric;
  v_constant numeric;
  v_value numeric;
  v_unit numeric;
  v_left numeric := 1;
  v_i integer;
  v_j integer;
  v_at integer;
begin
  v_at := v_count + 1;
  for i in 1..v_count + 1 loop
    v_sum[i] := sums[i];
    for j in i..v_count + 1 loop
      v_at := v_at + 1;
      v_product[i][j] := sums[v_at];
      v_product[j][i] := sums[v_at];
    end loop;
  end loop;
  for j in 1..v_width loop
    if v_literal[j] is not null then
      fit.intercept := j;
      v_constant := v_literal[j];
    end if;
  end loop;
  if fit.intercept is null then
    for i in 1..v_count loop
      -- constant exactly when the mean of the squares is the square of the mean
      if fit.intercept is null
        and v_sum[i + 1] <> 0
        and v_n * v_product[i + 1][i + 1] = v_sum[i + 1] * v_sum[i + 1]
      then
        fit.intercept := v_active[i];
        v_constant := v_sum[i + 1] / v_n;
      end if;
    end loop;
  end if;
  for i in 1..v_count loop
    if v_active[i] is distinct from fit.intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  -- y is treated as one more column, the last
  v_used := v_used || 1;

  v_moment := v_product;
  if fit.intercept is not null then
    for i in 1..v_count + 1 loop
      for j in 1..v_count + 1 loop
        v_moment[i][j] := v_n * v_product[i][j] - v_sum[i] * v_sum[j];
      end loop;
    end loop;
  end if;

  -- to correlations: scaled by the decimal exponent first, so that `digits` decimals are as many significant digits
  v_exponent := array_fill(0, array[v_size + 1]);
  v_root := array_fill(1::numeric, array[v_size + 1]);
  for i in 1..v_size + 1 loop
    v_value := v_moment[v_used[i]][v_used[i]];
    if v_value = 0 and i <= v_size then
      fit.failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      return;
    elsif v_value > 0 then
      v_exponent[i] := floor(log(v_value) / 2);
      v_root[i] := sqrt(round(v_value * ('1e' || -2 * v_exponent[i])::numeric, v_digits));
    end if;
  end loop;
  v_r := array_fill(0::numeric, array[v_size + 1, v_size + 1]);
  for i in 1..v_size + 1 loop
    for j in 1..v_size + 1 loop
      v_r[i][j] := round(
        round(v_moment[v_used[i]][v_used[j]] * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric, v_digits)
        / round(v_root[i] * v_root[j], v_digits),
        v_digits
      );
    end loop;
  end loop;

  -- Columns of exact data are collinear when the remaining variance is exactly 0; with values rounded to double
  -- precision about 1e-32 of the variance remains.
  select solved.inverse, solved.dependent into v_inverse, v_dependent
  from ml._spd_inverse_numeric(
    v_r[1:v_size][1:v_size], case when design.exact then 1e-60 else 1e-28 end, v_digits
  ) as solved;
  if v_dependent is not null then
    fit.failure := format(
      'column %s is a linear combination of the columns before it',
      ml._label(design, v_active[v_used[v_dependent] - 1])
    );
    return;
  end if;

  v_slope := array_fill(0::numeric, array[v_size + 1]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] + round(v_inverse[i][j] * v_r[j][v_size + 1], v_digits);
    end loop;
    v_left := v_left - round(v_slope[i] * v_r[i][v_size + 1], v_digits);
  end loop;
  -- after a perfect fit only the rounding error of the decimals remains
  if abs(v_left) < 1e-40 then
    v_left := 0;
  end if;
  v_unit := case when fit.intercept is not null then v_n else 1 end;
  fit.rss := v_moment[1][1] * v_left / v_unit;
  fit.r2 := case when v_moment[1][1] > 0 then 1 - v_left end;

  for i in 1..v_size loop
    v_i := v_active[v_used[i] - 1];
    v_exact[v_i] := v_slope[i] * v_root[v_size + 1] / v_root[i]
      * ('1e' || v_exponent[v_size + 1] - v_exponent[i])::numeric;
    for j in 1..v_size loop
      v_j := v_active[v_used[j] - 1];
      v_covariance[v_i][v_j] := v_inverse[i][j] / (v_root[i] * v_root[j]) * v_unit
        * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric;
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_product[i + 1][j + 1];
    end loop;
  end loop;
  if fit.intercept is not null then
    v_left := v_sum[1];
    v_covariance[fit.intercept][fit.intercept] := v_one / (v_n * v_constant * v_constant);
    v_gram[fit.intercept][fit.intercept] := v_n * v_constant * v_constant;
    for i in 1..v_size loop
      v_i := v_active[v_used[i] - 1];
      v_left := v_left - v_exact[v_i] * v_sum[v_used[i]];
      v_unit := 0;
      for j in 1..v_size loop
        v_unit := v_unit - v_covariance[v_i][v_active[v_used[j] - 1]] * v_sum[v_used[j]];
      end loop;
      v_covariance[v_i][fit.intercept] := v_unit / (v_n * v_constant);
      v_covariance[fit.intercept][v_i] := v_covariance[v_i][fit.intercept];
      v_covariance[fit.intercept][fit.intercept] := v_covariance[fit.intercept][fit.intercept]
        - v_covariance[v_i][fit.intercept] * v_sum[v_used[i]] / (v_n * v_constant);
      v_gram[v_i][fit.intercept] := v_sum[v_used[i]] * v_constant;
      v_gram[fit.intercept][v_i] := v_gram[v_i][fit.intercept];
    end loop;
    v_exact[fit.intercept] := v_left / (v_n * v_constant);
  end if;
  fit.coef := v_exact::float8[];
  fit.inverse := v_covariance::float8[];
  fit.condition_no := ml._condition_number(v_gram::float8[], fit.inverse);

  -- the same model for the shifted and scaled columns, from which residuals are computed later
  fit.beta := fit.coef;
  v_left := 0;
  for j in 1..v_width loop
    if j <> coalesce(fit.intercept, 0) then
      fit.beta[j] := v_exact[j] / v_scale[j];
      v_left := v_left + v_exact[j] * v_shift[j];
    end if;
  end loop;
  if fit.intercept is not null then
    fit.beta[fit.intercept] := v_exact[fit.intercept] * v_constant + v_left;
  end if;
end
$$;

comment on function ml._least_squares_numeric(bigint, numeric[], ml.design) is $$
Returns the least squares fit in numeric, with ninety digits, from exact sums of the columns.
Outputs as ml._least_squares.
When the data are integers and decimals, a column is collinear when its remaining variance is exactly 0, not within a
tolerance.
$$;

grant execute on function ml._least_squares_numeric(bigint, numeric[], ml.design)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_least_squares_numeric.sql

--! Included ml/regression/linregr_train.sql
/*
 * One scan computes all sums that ordinary least squares needs; the rest is k x k algebra. Where strong correlations or
 * a nearly perfect fit would leave fewer than ten digits of double precision, the sums are computed once more in
 * numeric, exactly: this reproduces the certified digits of NIST's most difficult data sets, and costs nothing for
 * other data.
 */
create or replace function ml._numeric_sums(design ml.design, keys text[])
returns table (key text, complete_count bigint, skipped_count bigint, sums numeric[])
language plpgsql
as $$
declare
  v_columns constant text := ml._columns_of(design, 'x', ', %s', '');
  v_prior constant text := case when design.weights is not null then ', prior' else '' end;
  v_state text;
  v_message text;
begin
  return query execute ml._sums_statement(
    'key, count(*) filter (where complete) as complete, count(*) filter (where not complete) as row_count',
    array(
      select term || ' filter (where complete)'
      from unnest(ml._product_sums(design, 'x')) with ordinality as list (term, nth)
      order by nth
    ),
    format('from (%s) as row where key = any (%L) group by key', ml._layer(
      format('y%s%s, %s as complete, %s as key', v_columns, v_prior, ml._complete(design), coalesce(
        (
          select format('row(%s)::text', string_agg('g' || nth, ', ' order by nth))
          from unnest(design.groups) with ordinality as part (name, nth)
          having count(*) > 0
        ),
        '''''::text'
      )),
      format('(%s) as source', ml._values(design, 'numeric'))
    ), keys)
  );
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, design.relation);
end;
$$;

comment on function ml._numeric_sums(ml.design, text[]) is $$
Returns the sums of a design in numeric, exactly, for the groups with the given keys (one empty key without groups).
$$;

create or replace function ml._float8_sums(design ml.design)
returns table (key text, complete_count bigint, skipped_count bigint, sums float8[])
language plpgsql
as $$
declare
  v_relation constant regclass := design.relation;
begin
  -- Without groups and nulls, a plain aggregate takes a fifth less time than one that is grouped by completeness.
  if design.groups = '{}' and not design.nulls then
    return query
    select null::text, part.row_count, 0::bigint, part.sums
    from ml._sums(
      ml._sums_statement(
        'null::text as key, count(*) = count(*) filter (where complete) as complete, count(*) as row_count',
        ml._product_sums(design, 'd'),
        format('from (%s) as row', ml._rows(design))
      ),
      v_relation,
      true
    ) as part
    where part.complete
      and part.row_count > 0;
    if found then
      return;
    end if;
  end if;
  return query
  select
    part.key,
    coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint,
    coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint,
    max(part.sums) filter (where part.complete)
  from ml._sums(
    ml._sums_statement(
      'key, complete, count(*) as row_count',
      ml._product_sums(design, 'd'),
      format('from (%s) as row group by key, complete', ml._rows(design))
    ),
    v_relation,
    true
  ) as part
  group by part.key;
end;
$$;

comment on function ml._float8_sums(ml.design) is $$
Returns the sums of a design in double precision, with the numbers of complete and of skipped rows, by group key.
$$;

create or replace function ml._linregr_fits(design ml.design)
returns setof ml.fit
language plpgsql
as $$
declare
  v_doubtful text[] := '{}';
  v_group record;
  v_fit ml.fit;
begin
  for v_group in select * from ml._float8_sums(design) loop
    v_fit := null;
    if v_group.complete_count = 0 then
      v_fit.failure := ml._no_rows(design);
    else
      if v_group.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
        perform ml._refuse_non_finite(design);
      end if;
      v_fit := ml._least_squares(v_group.complete_count, v_group.sums, design);
      if not v_fit.trusted and v_fit.failure is null then
        v_doubtful := v_doubtful || coalesce(v_group.key, '');
        continue;
      end if;
    end if;
    v_fit.group_key := coalesce(v_group.key, '');
    v_fit.row_count := v_group.complete_count;
    v_fit.skipped := v_group.skipped_count;
    v_fit.arithmetic := case when v_fit.failure is null then 'float8' end;
    return next v_fit;
  end loop;

  if v_doubtful <> '{}' then
    for v_group in select * from ml._numeric_sums(design, v_doubtful) loop
      v_fit := ml._least_squares_numeric(v_group.complete_count, v_group.sums, design);
      v_fit.group_key := v_group.key;
      v_fit.row_count := v_group.complete_count;
      v_fit.skipped := v_group.skipped_count;
      v_fit.arithmetic := case when v_fit.failure is null then 'numeric' end;
      return next v_fit;
    end loop;
  end if;
end;
$$;

comment on function ml._linregr_fits(ml.design) is $$
Returns ordinary least squares fits, one row per group.
In double precision where that is accurate, else in numeric (`arithmetic` states which).
$$;

create or replace function ml._residuals(design ml.design, fits ml.fit[])
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The rows, joined with the model of their group: residual e = y - b0 - sum b d, in the unit of y.
  return ml._layer(
    format(
      'row.key%s, row.y / %L::float8 + %L::float8 - fit.b0%s as e, fit.mean_square',
      ml._columns_of(design, 'd', ', row.%s', ''),
      design.y_scale,
      design.y_shift,
      (
        select coalesce(string_agg(format(' - fit.b%s * row.d%s', place, place), '' order by place), '')
        from unnest(design.active) as place
      )
    ),
    format('(select * from (%s) as row where complete) as row ', ml._rows(design)) || format(
      case when design.groups <> '{}' then 'join (%s) as fit on fit.key = row.key' else 'cross join (%s) as fit' end,
      (
        select format(
          'select * from unnest(%L::text[], %L::float8[], %L::float8[]%s) as fit (key, mean_square, b0%s)',
          array_agg(fit.group_key order by fit.group_key),
          array_agg(fit.rss / fit.row_count order by fit.group_key),
          array_agg(coalesce(fit.beta[fit.intercept], (
            -- without an intercept: the sum of the shifts times the coefficients
            select sum(fit.beta[place] * design.scale[place] * design.shift[place]) from unnest(design.active) as place
          )) order by fit.group_key),
          (
            select coalesce(string_agg(
              format(', %L::float8[]', (
                select array_agg(
                  case when place = one.intercept then 0 else one.beta[place] end
                  order by one.group_key
                )
                from unnest(fits) as one
              )),
              '' order by place
            ), '')
            from unnest(design.active) as place
          ),
          ml._columns_of(design, 'b', ', %s', '')
        )
        from unnest(fits) as fit
      )
    )
  );
end;
$$;

comment on function ml._residuals(ml.design, ml.fit[]) is $$
Returns the text of the select that adds the residual `e` under its group's linear model to each complete row.
$$;

create or replace function ml._breusch_pagan(design ml.design, fits ml.fit[])
returns ml.fit[]
language plpgsql
as $$
declare
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_fits ml.fit[] := fits;
  v_fit ml.fit;
  v_group record;
  v_weight float8[];
  v_explained float8;
begin
  for v_group in
    select fit.nth, part.row_count, part.sums
    from ml._sums(
      format(
        'select key, true, count(*), array[sum(u), sum(u * u)%s] from (%s) as row group by key',
        ml._columns_of(design, 'd', ', sum(u * %s)', ''),
        ml._layer(
          'key, e * e / nullif(mean_square, 0) - 1 as u' || ml._columns_of(design, 'd', ', %s', ''),
          format('(%s) as residual', ml._residuals(
            design, array(select fit from unnest(fits) as fit where fit.failure is null)
          ))
        )
      ),
      design.relation
    ) as part
    join (
      select fit.ordinality as nth, fit.group_key from unnest(fits) with ordinality as fit
    ) as fit on fit.group_key = coalesce(part.key, '')
  loop
    -- the squared residuals, as multiples of their mean, regressed on the same columns: n R^2 (Koenker 1981)
    v_fit := fits[v_group.nth];
    v_weight := array_fill(0::float8, array[v_width]);
    for i in 1..cardinality(v_active) loop
      v_weight[v_active[i]] := v_group.sums[i + 2] / design.scale[v_active[i]]
        + case when v_fit.intercept is null then v_group.sums[1] * design.shift[v_active[i]] else 0 end;
    end loop;
    if v_fit.intercept is not null then
      v_weight[v_fit.intercept] := 0;
    end if;
    v_explained := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_explained := v_explained + v_weight[i] * v_weight[j] * v_fit.inverse[i][j];
      end loop;
    end loop;
    v_fit.bp_stats := v_group.row_count * v_explained
      / nullif(v_group.sums[2] - v_group.sums[1] * v_group.sums[1] / v_group.row_count, 0);
    v_fit.bp_p_value := ml._incomplete_gamma(greatest(v_width - 1, 1) / 2.0, v_fit.bp_stats / 2, true);
    v_fits[v_group.nth] := v_fit;
  end loop;
  return v_fits;
end;
$$;

comment on function ml._breusch_pagan(ml.design, ml.fit[]) is $$
Returns fits with Breusch and Pagan's test for heteroskedasticity, in Koenker's form n R^2.
$$;

create or replace function ml.linregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  heteroskedasticity_option boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design := ml._design(
    source_table,
    ml._less_offsets(dependent_varname, offsets, source_table),
    independent_varname,
    grouping_cols,
    weights
  );
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_degrees float8;
begin
  if heteroskedasticity_option and weights is not null then
    perform common.refuse('CF001', 'heteroskedasticity_option is true and there are weights',
      'Weights assume known variances; to allow for others, use ml.robust_variance_linregr with the weights.');
  end if;
  for v_fit in select * from ml._linregr_fits(v_design) loop
    v_degrees := v_fit.row_count - v_design.width;
    if v_fit.failure is null and v_degrees > 0 then
      v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.rss / v_degrees);
      v_fit := ml._tested(v_fit, v_degrees);
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._check_fits(v_fits, v_design);
  if heteroskedasticity_option then
    v_fits := ml._breusch_pagan(v_design, v_fits);
  end if;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, r2, std_err, stats as t_stats, p_values, condition_no, %srow_count as num_rows_processed, '
        || 'skipped as num_missing_rows_skipped, covariance as variance_covariance, arithmetic, failure',
      case when heteroskedasticity_option then 'bp_stats, bp_p_value, ' else '' end
    ),
    format(
      $list$
      'linregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, group_count as num_all_groups, failed_count as num_failed_groups,
      %L::text as weights, %L::text as offsets
      $list$,
      source_table, out_table, dependent_varname, independent_varname, grouping_cols, weights, offsets
    )
  );
end;
$$;

comment on function ml.linregr_train(text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a linear regression by ordinary least squares, as MADlib.
One model, or one for each value of the grouping columns.
`dependent_varname` is a column or expression; `independent_varname` an array: `array[1, tax, bath]` or a column of type
float8[]. No intercept is added: include the 1. Rows with a null are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, r2, std_err, t_stats, p_values (Student's t), condition_no (of X),
bp_stats and bp_p_value (Breusch-Pagan in Koenker's form, with `heteroskedasticity_option`), num_rows_processed,
num_missing_rows_skipped, variance_covariance, and, not in MADlib, `arithmetic` (`float8`, or `numeric` where double
precision would keep fewer than ten digits) and `failure` (why a group could not be fitted, else null); and
`<out_table>_summary`. r2 is about the mean when a constant is among the columns, else about zero (as in R and NIST).
`weights` is an expression: the variance of a row is assumed to be the reciprocal of its weight (R's `lm`); a row of
weight 0 is skipped. `offsets` is an expression whose coefficient is 1 (r2 is of the rest); add it to predictions.
One parallel scan; a second one in numeric only where needed. At most 250 columns.
Errors: CF001 (not a number, not finite, a weight that is negative or null: names the row), CF002 (unknown table or
column: names the nearest), CF003 (output exists), CF004 (no rows, fewer than columns), CF005 (not readable), CF007
(constant or collinear column: names it), CF008.
Source: Golub and Van Loan, Matrix Computations; MADlib's linregr_train; certified against NIST StRD.
$$;

grant execute on function
  ml._numeric_sums(ml.design, text[]),
  ml._float8_sums(ml.design),
  ml._linregr_fits(ml.design),
  ml._residuals(ml.design, ml.fit[]),
  ml._breusch_pagan(ml.design, ml.fit[]),
  ml.linregr_train(text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/linregr_train.sql

--! Included ml/regression/linregr.sql
/*
 * State: the number of rows, the number of columns k, y and the columns of the first row (the origin), the sums of y
 * and of each column minus the origin, and the upper triangle of the sums of products of these, row by row.
 */

create or replace function ml._linregr_add(state float8[], y float8, x float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := cardinality(x);
  v_at int;
  v_deviation float8[];
begin
  if state[1] = 0 then
    if v_width not between 1 and 100 then
      perform common.refuse('CF008', format('%s independent variables; 1 to 100 can be fitted', v_width),
        'Use ml.linregr_train, which fits up to 250.');
    end if;
    state := array[0, v_width] || y || x
      || array_fill(0::float8, array[(v_width + 1) * (v_width + 4) / 2]);
  elsif v_width <> state[2] then
    perform common.refuse('CF001', format('rows have %s and %s independent variables', state[2], v_width),
      'Give an array of the same length in each row.');
  end if;
  if array_position(x, null) is not null then
    return state;
  end if;
  v_deviation := y || x;
  for i in 1..v_width + 1 loop
    if not abs(v_deviation[i]) <= 1e100 then
      perform common.refuse('CF001', format('a value is %s', v_deviation[i]),
        'Give finite numbers of at most 1e100 in absolute value.');
    end if;
    v_deviation[i] := v_deviation[i] - state[2 + i];
    if abs(v_deviation[i]) < 1e-100 then
      v_deviation[i] := 0;
    end if;
  end loop;
  state[1] := state[1] + 1;
  v_at := 2 * v_width + 4;
  for i in 1..v_width + 1 loop
    state[v_width + 3 + i] := state[v_width + 3 + i] + v_deviation[i];
    for j in i..v_width + 1 loop
      v_at := v_at + 1;
      state[v_at] := state[v_at] + v_deviation[i] * v_deviation[j];
    end loop;
  end loop;
  return state;
end;
$$;

comment on function ml._linregr_add(float8[], float8, float8[]) is $$Adds a row to the state of `ml.linregr`.$$;

create or replace function ml._linregr_combine(state float8[], other float8[])
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := other[2];
  v_at int := 2 * other[2] + 4;
  v_shift float8[];
begin
  if other[1] = 0 then
    return state;
  elsif state[1] = 0 then
    return other;
  elsif state[2] <> other[2] then
    perform common.refuse('CF001', format('rows have %s and %s independent variables', state[2], other[2]),
      'Give an array of the same length in each row.');
  end if;
  for i in 1..v_width + 1 loop
    v_shift[i] := other[2 + i] - state[2 + i];
  end loop;
  for i in 1..v_width + 1 loop
    for j in i..v_width + 1 loop
      v_at := v_at + 1;
      state[v_at] := state[v_at] + other[v_at] + v_shift[i] * other[v_width + 3 + j]
        + v_shift[j] * other[v_width + 3 + i] + other[1] * v_shift[i] * v_shift[j];
    end loop;
  end loop;
  for i in 1..v_width + 1 loop
    state[v_width + 3 + i] := state[v_width + 3 + i] + other[v_width + 3 + i] + other[1] * v_shift[i];
  end loop;
  state[1] := state[1] + other[1];
  return state;
end;
$$;

comment on function ml._linregr_combine(float8[], float8[]) is $$
Returns the state of `ml.linregr` over the rows of both states.
$$;

create or replace function ml._linregr(state float8[])
returns ml.linregr_result
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant int := state[2];
  v_design ml.design;
  v_fit ml.fit;
  v_df float8;
begin
  if state[1] = 0 then
    return null;
  end if;
  v_design.width := v_width;
  v_design.packed := true;
  v_design.x := '{x}';
  v_design.active := array(select i from generate_series(1, v_width) as i order by i);
  v_design.candidates := array(select i from generate_series(1, v_width) as i where state[3 + i] <> 0 order by i);
  v_design.literals := array_fill(null::numeric, array[v_width]);
  v_design.shift := state[4:v_width + 3];
  v_design.scale := array_fill(1::float8, array[v_width]);
  v_design.y_shift := state[3];
  v_design.y_scale := 1;
  v_fit := ml._least_squares(state[1]::bigint, state[v_width + 4:], v_design);
  v_df := nullif(state[1] - v_width, 0);
  if v_df > 0 and v_fit.coef is not null then
    v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.rss / v_df);
    v_fit := ml._tested(v_fit, v_df);
  end if;
  return (
    v_fit.coef,
    v_fit.r2,
    v_fit.std_err,
    v_fit.stats,
    v_fit.p_values,
    v_fit.condition_no,
    state[1]::bigint,
    v_fit.covariance
  )::ml.linregr_result;
end;
$$;

comment on function ml._linregr(float8[]) is $$Returns the result of `ml.linregr`.$$;

create or replace aggregate ml.linregr(y float8, x float8[]) (
  sfunc = ml._linregr_add,
  stype = float8[],
  initcond = '{0,0}',
  finalfunc = ml._linregr,
  combinefunc = ml._linregr_combine,
  parallel = safe
);

comment on aggregate ml.linregr(float8, float8[]) is $$
@behavior -*
Ordinary least squares as an aggregate, as MADlib's `linregr(y, x)`.
`select (ml.linregr(price, array[1, tax, bath, size])).* from houses group by …`. There is no implicit intercept: put
1 into the array. Rows with a null are left out; null without rows. All columns but `num_processed` are null where
there are fewer rows than columns, or a column depends on others; standard errors and p-values are null without
degrees of freedom. Sums are in double precision from the first row: ml.linregr_train, which reads a table, is faster,
and exact where that loses digits. Error CF001 for NaN, infinity, values above 1e100 and arrays of different lengths,
CF008 for more than 100 columns.
$$;

grant execute on function ml.linregr(float8, float8[]) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/linregr.sql

--! Included ml/regression/_unknowns.sql
create or replace function ml._unknowns(settled ml.design)
returns integer[]
language sql
stable
parallel safe
begin atomic
  select array_remove(array[settled.intercept], null) || settled.active;
end;

comment on function ml._unknowns(ml.design) is $$
Returns the positions of the coefficients of a settled design, the intercept first.
$$;

grant execute on function ml._unknowns(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_unknowns.sql

--! Included ml/regression/_settled.sql
create or replace function ml._settled(
  design ml.design,
  out settled ml.design,
  out groups ml.design_group[],
  out failure text
)
language plpgsql
as $$
declare
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_spreads float8[] := array_fill(0::float8, array[v_width]);
  v_group ml.design_group;
  v_part record;
  v_value float8;
  v_total float8 := 0;
begin
  -- the first scan: groups, counts, range of y, whether the candidates are constant, whether all values are finite
  settled := design;
  settled.y_shift := 0;
  settled.y_scale := 1;
  settled.intercept := null;
  groups := '{}';
  for v_part in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        $statement$
        select
          key,
          complete,
          count(*),
          case when complete then array[%s, min(y), max(y), sum(abs(y * (y - 1)))%s%s] end
        from (%s) as row
        group by key, complete
        $statement$,
        case when design.weights is not null then 'sum(prior * y) / sum(prior) * count(*)' else 'sum(y)' end,
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''),
        case when design.weights is not null then ', sum(prior) / count(*)' else ', 1' end
          || case when design.offsets is not null then ', sum(baseline)' else '' end,
        ml._rows(settled)
      ),
      design.relation,
      true
    ) as part
    group by part.key
    order by part.key
  loop
    if v_part.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(settled);
    end if;
    v_group := (
      coalesce(v_part.key, ''),
      v_part.complete_count,
      v_part.skipped_count,
      v_part.sums[5 + cardinality(v_active)],
      coalesce(v_part.sums[1], 0),
      coalesce(v_part.sums[2], 0),
      coalesce(v_part.sums[3], 0),
      coalesce(v_part.sums[4], 0)
    );
    groups := groups || v_group;
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if groups = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design.source, 100)),
      'Train on a table with rows.');
  end if;

  for place in 1..v_width loop
    v_value := design.literals[place];
    if v_value is null and place = any (design.candidates) and v_spreads[place] = 0 then
      v_value := design.shift[place];
    end if;
    if v_value = 0 then
      failure := format('column %s is always 0', ml._label(design, place));
    elsif v_value is not null and settled.intercept is not null then
      failure := format(
        'column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, settled.intercept)
      );
    elsif v_value is not null then
      settled.intercept := place;
      settled.intercept_value := v_value;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled.spread := array(
    select case when v_total > 0 then sqrt(spread / v_total) end
    from unnest(v_spreads) with ordinality as list (spread, place)
    order by place
  );
  settled.active := array_remove(v_active, settled.intercept);
  settled.candidates := '{}';
  if settled.intercept is null then
    -- without an intercept a shift could not be transformed back: the columns are fitted without shifts
    settled.shift := array_fill(0::float8, array[v_width]);
  end if;
end;
$$;

comment on function ml._settled(ml.design) is $$
Returns a design after the first scan of an iterative fit, with the groups of its rows.
The intercept and the spread of the columns are known then, y is not centred, and all values are finite. `failure` names
a constant column; null otherwise.
$$;

grant execute on function ml._settled(ml.design) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_settled.sql

--! Included ml/regression/_model_of_group.sql
create or replace function ml._model_of_group(
  design ml.design,
  fits ml.fit[],
  unknowns integer[],
  categories integer default null,
  prepared boolean default false
)
returns text
language sql
stable
begin atomic
  -- The coefficients are literals in the statement, since a join with a temporary table could not run in parallel.
  select case
    when design.groups = '{}' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format(
      'join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key',
      numbered.keys, numbered.places, listed.arrays, listed.names
    )
  end
  from (
    select
      array_agg(fit.group_key order by fit.ordinality) as keys,
      array_agg(fit.ordinality order by fit.ordinality) as places
    from unnest(fits) with ordinality as fit
  ) as numbered
  cross join (
    select
      coalesce(string_agg(
        case
          when prepared then format(', $%s as b%s', term.nth, term.name)
          else format(', %L::float8 as b%s', term.coefficients[1], term.name)
        end,
        '' order by term.nth
      ), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', term.coefficients), '' order by term.nth), '') as arrays,
      coalesce(string_agg(format(', b%s', term.name), '' order by term.nth), '') as names
    from (
      select
        row_number() over (order by c, nth) as nth,
        case when categories is null then place::text else format('%s_%s', c, place) end as name,
        array(
          select case when categories is null then fit.beta[place] else fit.beta[c][place] end
          from unnest(fits) with ordinality as fit
          order by fit.ordinality
        ) as coefficients
      from generate_series(1, coalesce(categories, 1)) as c
      cross join unnest(unknowns) with ordinality as list (place, nth)
      where fits[1].beta is not null
    ) as term
  ) as listed;
end;

comment on function ml._model_of_group(ml.design, ml.fit[], integer[], integer, boolean) is $$
Returns the text of the join that adds to each row (`row`) the number of its group among the fits, and its coefficients.
The coefficients are `fit.b1` …, by position, or `fit.b1_1` …, by category and position, when there are categories; none
when the fits have no `beta`. With `prepared` and without groups, they are the parameters of a prepared statement, in
that order.
$$;

grant execute on function ml._model_of_group(ml.design, ml.fit[], integer[], integer, boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_model_of_group.sql

--! Included ml/regression/_linear_predictor.sql
create or replace function ml._linear_predictor(settled ml.design, model text, row_name text)
returns text
language sql
stable
parallel safe
begin atomic
  select string_agg(
    case
      when place = settled.intercept then format('%s%s', model, place)
      else format('%s%s * %s.d%s', model, place, row_name, place)
    end,
    ' + ' order by nth
  )
  from unnest(ml._unknowns(settled)) with ordinality as list (place, nth);
end;

comment on function ml._linear_predictor(ml.design, text, text) is $$
Returns the text of the sum of coefficients times columns, such as `fit.b1 + fit.b2 * row.d2` for the model `fit.b`.
$$;

grant execute on function ml._linear_predictor(ml.design, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_linear_predictor.sql

--! Included ml/regression/_glm_source.sql
create or replace function ml._glm_terms(
  family text,
  link text,
  mean float8,
  out mu text,
  out rest text,
  out slope text,
  out variance text,
  out deviance text,
  out start_mu text,
  out start_eta text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- mu and the rest 1 - mu (binomial only), null outside the range of the link; slope d mu / d eta; bounds prevent
  -- an overflow of exp
  mu := case link
    when 'identity' then case when family = 'gaussian' then 'eta' else 'case when eta > 0 then eta end' end
    when 'log' then 'exp(least(greatest(eta, -200), 200))'
    when 'logit' then '1 / (1 + exp(least(greatest(-eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(least(greatest(eta, -30), 30))'
    when 'inverse' then case
      when family = 'gaussian' then 'case when abs(eta) > 1e-30 then 1 / eta end'
      else 'case when eta > 1e-30 then 1 / eta end'
    end
    when 'sqr_inverse' then 'case when eta > 1e-60 then 1 / sqrt(eta) end'
    when 'sqrt' then 'case when eta > 0 and eta < 1e100 then eta * eta end'
  end;
  rest := case link
    when 'logit' then '1 / (1 + exp(least(greatest(eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(-least(greatest(eta, -30), 30))'
    else 'null::float8'
  end;
  slope := case link
    when 'identity' then '1'
    when 'log' then 'mu'
    when 'logit' then 'mu * rest'
    when 'probit' then '0.39894228040143267794 * exp(-least(eta * eta, 900) / 2)'
    when 'inverse' then '-mu * mu'
    when 'sqr_inverse' then '-mu * mu * mu / 2'
    when 'sqrt' then '2 * eta'
  end;
  variance := case family
    when 'gaussian' then '1'
    when 'binomial' then 'mu * rest'
    when 'poisson' then 'mu'
    when 'gamma' then 'mu * mu'
    when 'inverse_gaussian' then 'mu * mu * mu'
  end;
  deviance := case family
    when 'gaussian' then '(y - mu) * (y - mu)'
    when 'binomial' then '-2 * ln(case when y = 1 then mu else rest end)'
    when 'poisson' then '2 * (case when y > 0 then y * ln(y / mu) else 0 end - (y - mu))'
    when 'gamma' then '2 * ((y - mu) / mu - ln(y / mu))'
    when 'inverse_gaussian' then '(y - mu) * (y - mu) / (y * mu * mu)'
  end;
  -- starting values: near each row's own value (McCullagh and Nelder, 2.5)
  start_mu := case family
    when 'gaussian' then case link
      when 'identity' then 'y'
      when 'log' then format('greatest(y, %L::float8)', mean / 10)
      else format('case when abs(y) < %1$L::float8 then %2$L::float8 else y end', abs(mean) / 10, mean)
    end
    when 'binomial' then '(y + 0.5) / 2'
    when 'poisson' then 'y + 0.1'
    else 'y'
  end;
  start_eta := case link
    when 'identity' then 'mu'
    when 'log' then 'ln(mu)'
    when 'logit' then 'ln(mu / rest)'
    when 'probit' then '(y * 2 - 1) * 0.67448975019608174320'
    when 'inverse' then '1 / mu'
    when 'sqr_inverse' then '1 / (mu * mu)'
    when 'sqrt' then 'sqrt(mu)'
  end;
end;
$$;

comment on function ml._glm_terms(text, text, float8) is $$
Returns the SQL expressions of a family and link in terms of eta, mu, rest and y.
Source: McCullagh and Nelder, Generalized Linear Models, table 2.1.
$$;

create or replace function ml._glm_source(
  design ml.design,
  family text,
  link text,
  mean float8,
  fits ml.fit[],
  prepared boolean default false
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms record := ml._glm_terms(family, link, mean);
  v_carried text := ml._columns_of(design, 'd', ', %s', '')
    || case when design.clusters is not null then ', cluster' else '' end
    || case when design.weights is not null then ', prior' else '' end
    || case when design.offsets is not null then ', baseline' else '' end;
  v_prior constant text := case when design.weights is not null then 'prior * ' else '' end;
  v_source text;
begin
  -- row: the columns; first: eta; second: mu; third: weight, score and deviance
  v_source := format(
    '(select * from (%s) as row where complete) as row %s',
    ml._rows(design),
    ml._model_of_group(design, fits, ml._unknowns(design), prepared => prepared)
  );
  if fits[1].beta is null then
    v_source := format('(%s) as first', ml._layer(
      format('fit.nth, row.y%s', replace(v_carried, ', ', ', row.')),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, %s as mu, %s as rest',
        v_carried,
        v_terms.start_mu,
        case when family = 'binomial' then '(1.5 - y) / 2' else 'null::float8' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, mu, rest, %s as eta', v_carried, v_terms.start_eta),
      v_source
    ));
  else
    v_source := format('(%s) as first', ml._layer(
      format(
        'fit.nth, row.y%s, %s as eta',
        replace(v_carried, ', ', ', row.'),
        ml._linear_predictor(design, 'fit.b', 'row')
          || case when design.offsets is not null then ' + row.baseline' else '' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, eta, %s as mu, %s as rest', v_carried, v_terms.mu, v_terms.rest),
      v_source
    ));
  end if;
  if family = 'binomial' and link = 'logit' then
    v_source := format('(%s) as third', ml._layer(
      format(
        'nth, y%1$s, eta, mu, %2$smu * rest as weight, %2$scase when y = 1 then rest else -mu end as score, '
          || '%2$s(%3$s) as deviance',
        v_carried,
        v_prior,
        v_terms.deviance
      ),
      v_source
    ));
  else
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, eta, mu, (%s) as slope, %s(%s) / (%s) as ratio, %s(%s) as deviance',
        v_carried, v_terms.slope, v_prior, v_terms.slope, v_terms.variance, v_prior, v_terms.deviance
      ),
      v_source
    ));
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, ratio * slope as weight, (y - mu) * ratio as score, deviance', v_carried),
      v_source
    ));
  end if;
  return v_source;
end;
$$;

comment on function ml._glm_source(ml.design, text, text, float8, ml.fit[], boolean) is $$
Returns the text of the subquery with the rows that one step of Fisher scoring sums.
It is named `third` and has the group's number, y, the columns, eta, mu, and each row's weight, score and deviance,
which are multiplied by its weight in the design. Without `beta` in the fits, eta starts from each row's own value.
$$;

grant execute on function
  ml._glm_terms(text, text, float8),
  ml._glm_source(ml.design, text, text, float8, ml.fit[], boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_source.sql

--! Included ml/regression/_glm_statement.sql
create or replace function ml._glm_statement(
  design ml.design,
  family text,
  link text,
  mean float8,
  fits ml.fit[],
  prepared boolean default false
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_started constant boolean := fits[1].beta is not null;
  v_unknowns constant integer[] := ml._unknowns(design);
  v_source text := ml._glm_source(design, family, link, mean, fits, prepared);
begin
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y, mu, weight, %s as score, deviance%s%s',
      case
        when v_started then 'score'
        when design.offsets is not null then 'weight * (eta - baseline) + score'
        else 'weight * eta + score'
      end,
      ml._columns_of(design, 'd', ', %s', ''),
      ml._columns_of(design, 'd', ', weight * %1$s as w%1$s', '')
    ),
    v_source
  ));
  return ml._sums_statement(
    format(
      '%s as key, true as complete, count(*) as row_count',
      case when design.groups = '{}' then '''1''' else 'nth::text' end
    ),
    '{sum(deviance), (count(*) - count(mu))::float8}'::text[] || (
      select array_agg(term order by kind, row_nth, column_nth)
      from (
        select 1 as kind, nth as row_nth, 0::bigint as column_nth,
          case when place = design.intercept then 'sum(score)' else format('sum(score * d%s)', place) end as term
        from unnest(v_unknowns) with ordinality as list (place, nth)
        union all
        select 2, row_list.nth, column_list.nth,
          case
            when row_list.place = design.intercept and column_list.place = design.intercept then 'sum(weight)'
            when row_list.place = design.intercept then format('sum(wd%s)', column_list.place)
            else format('sum(wd%s * d%s)', row_list.place, column_list.place)
          end
        from unnest(v_unknowns) with ordinality as row_list (place, nth)
        join unnest(v_unknowns) with ordinality as column_list (place, nth) on column_list.nth >= row_list.nth
      ) as every_term
    ) || case
      when v_started and family not in ('binomial', 'poisson') then '{sum(score * score / weight)}'::text[]
    end,
    format('from %s%s', v_source, case when design.groups = '{}' then '' else ' group by nth' end)
  );
end;
$$;

comment on function ml._glm_statement(ml.design, text, text, float8, ml.fit[], boolean) is $$
Returns the text of the statement for one step of Fisher scoring, for the groups of the fits.
By group number: the deviance, the number of rows outside the range of the link, the score vector, the upper triangle of
the information and, where the dispersion is estimated, Pearson's statistic. Without `beta` in the fits, the step starts
from each row's own value. With `prepared`, the coefficients are parameters.
$$;

grant execute on function ml._glm_statement(ml.design, text, text, float8, ml.fit[], boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_statement.sql

--! Included ml/regression/_separation.sql
create or replace function ml._separation(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select format(
    'column %s separates the classes, at least for some rows, so its coefficient has no finite value',
    ml._label(design, place)
  );
end;

comment on function ml._separation(ml.design, integer) is $$
Returns the message for complete and quasi-complete separation (Albert and Anderson, Biometrika 71, 1984).
$$;

grant execute on function ml._separation(ml.design, integer) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_separation.sql

--! Included ml/regression/_glm_linked.sql
create or replace function ml._glm_linked(family text, link text, value float8, mean float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case link
    when 'identity' then value
    when 'log' then ln(greatest(value, 1e-10 * abs(mean)))
    when 'logit' then ln(value / (1 - value))
    when 'probit' then ml.normal_quantile(case when family = 'binomial' then value else 0.5 end)
    when 'inverse' then 1 / value
    when 'sqr_inverse' then 1 / (value * value)
    when 'sqrt' then sqrt(value)
  end;
end;
$$;

comment on function ml._glm_linked(text, text, float8, float8) is $$
Returns the link function at the mean `value` of a group; `mean` is that of all groups.
$$;

grant execute on function ml._glm_linked(text, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_linked.sql

--! Included ml/regression/_glm_fits.sql
/*
 * Fisher scoring (iteratively reweighted least squares) for generalized linear models. Each iteration is one generated
 * statement of built-in sums, in parallel where the table is large, for all groups that have not converged. In the
 * statement eta, mu and the weights are computed layer by layer, so that each is computed once per row.
 */
create or replace function ml._glm_failures(
  design ml.design,
  family text,
  link text,
  groups ml.design_group[],
  failure text
)
returns text[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_y constant text := left(design.y, 100);
  v_group ml.design_group;
  v_failures text[] := '{}';
  v_mean float8;
begin
  foreach v_group in array groups loop
    if v_group.row_count = 0 then
      v_failures := v_failures || ml._no_rows(design);
    elsif family = 'binomial' and v_group.between_classes > 0 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, a class is 0 or 1',
          v_y,
          case when v_group.least <> 0 then v_group.least else v_group.largest end
        ),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_group.least = v_group.largest then
      v_failures := v_failures || format('it holds one class only, %s', v_group.largest);
    elsif family = 'poisson' and v_group.least < 0
      or family in ('gamma', 'inverse_gaussian') and v_group.least <= 0
    then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which family %s cannot have', v_y, v_group.least, left(family, 100)
        ),
        case family when 'poisson' then 'Counts are 0 or more.' else 'Values must be positive.' end
      );
    elsif family = 'poisson' and v_group.largest = 0 then
      v_failures := v_failures || 'every count is 0, so it holds one class only'::text;
    elsif v_group.row_count < design.width then
      v_failures := v_failures || format('%s complete rows for %s columns', v_group.row_count, design.width);
    else
      v_failures := v_failures || failure;
    end if;
  end loop;
  v_mean := (select sum(part.total) / nullif(sum(part.row_count), 0) from unnest(groups) as part);
  if family = 'gaussian' and link = 'log' and not v_mean > 0 then
    perform common.refuse(
      'CF001',
      format('the mean of "%s" is %s, which is outside the range of the log link', v_y, v_mean),
      'Use link=identity.'
    );
  end if;
  return v_failures;
end;
$$;

comment on function ml._glm_failures(ml.design, text, text, ml.design_group[], text) is $$
Returns for each group the reason why it cannot be fitted, null for groups that can.
`groups` and `failure` are those of ml._settled. Error CF001 for values of y that the family cannot have.
$$;

create or replace function ml._prepare_step(statement text, size integer)
returns void
language plpgsql
as $$
begin
  if statement !~ '^\s*(select|with) ' then
    perform common.refuse('CF001', 'the statement is not a query', 'Give the text of a select.');
  end if;
  -- One that an interrupted fit left, since prepared statements outlive a transaction.
  if exists (select from pg_catalog.pg_prepared_statements where name = '_ml_glm_step') then
    deallocate _ml_glm_step;
  end if;
  execute format(
    'prepare _ml_glm_step (%s) as %s',
    (select string_agg('float8', ', ') from generate_series(1, size)),
    statement
  );
end;
$$;

comment on function ml._prepare_step(text, integer) is $$
Prepares the statement of a step of Fisher scoring, whose parameters are the coefficients.
$$;

create or replace function ml._glm_step(
  settled ml.design,
  family text,
  link text,
  iteration integer,
  max_iter integer,
  tolerance float8,
  sums float8[],
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  -- gains and deviances are compared as if the weights had the mean 1
  v_unit constant float8 := fit.total_weight / fit.row_count;
  v_matrix float8[];
  v_solved record;
  v_value float8;
  v_gain float8 := 0;
  v_length float8 := 0;
  v_farthest float8 := 0;
  v_column integer;
begin
  if iteration > 0 then
    fit.iterations := iteration;
    -- outside the range of the link, or a larger deviance: the step is halved
    if sums[2] > 0 or sums[1] > fit.deviance * (1 + 1e-8) + 1e-12 * v_unit then
      state.halvings := state.halvings + 1;
      if state.halvings > 30 then
        state.done := true;
        fit.failure := case
          when fit.deviance = 'Infinity' then 'no starting point is inside the range of the link'
        end;
        return;
      end if;
      foreach v_column in array v_unknowns loop
        state.step[v_column] := state.step[v_column] / 2;
        fit.beta[v_column] := state.previous[v_column] + state.step[v_column];
      end loop;
      return;
    end if;
    fit.deviance := sums[1];
    fit.pearson := sums[3 + v_size + v_size * (v_size + 1) / 2];
    state.halvings := 0;
  end if;

  v_matrix := ml._symmetric_matrix(sums[3 + v_size:], v_size);
  v_solved := ml._scaled_inverse(v_matrix, case when fit.iterations <= 1 then 1e-11 else 1e-14 end);
  if v_solved.dependent is not null then
    state.done := true;
    v_column := v_unknowns[v_solved.dependent];
    fit.failure := case
      when fit.iterations <= 1
        then format('column %s is a linear combination of the columns before it', ml._label(settled, v_column))
      else ml._separation(
        settled, case when v_column = settled.intercept then v_unknowns[least(2, v_size)] else v_column end
      )
    end;
    return;
  end if;

  state.previous := coalesce(fit.beta, array_fill(0::float8, array[settled.width]));
  state.step := array_fill(0::float8, array[settled.width]);
  fit.beta := state.previous;
  v_column := null;
  for i in 1..v_size loop
    v_value := 0;
    for j in 1..v_size loop
      v_value := v_value + v_solved.inverse[i][j] * sums[2 + j];
      v_length := v_length + v_matrix[i][j] * fit.beta[v_unknowns[i]] * state.previous[v_unknowns[j]];
    end loop;
    state.step[v_unknowns[i]] := v_value;
    fit.beta[v_unknowns[i]] := state.previous[v_unknowns[i]] + v_value;
    v_gain := v_gain + v_value / v_unit * sums[2 + i];
    if v_unknowns[i] is distinct from settled.intercept
      and abs(v_value) * settled.spread[v_unknowns[i]] > v_farthest
    then
      v_farthest := abs(v_value) * settled.spread[v_unknowns[i]];
      v_column := v_unknowns[i];
    end if;
  end loop;
  if iteration = 0 then
    return;
  end if;

  fit.inverse := v_solved.inverse;
  -- Towards a finite optimum the steps shrink faster and faster. Where the classes are separated they stay as long as
  -- they are while the likelihood hardly increases: the coefficient would grow without bound.
  state.steady := case when v_gain < 0.1 and v_farthest > 0.5 * state.farthest then state.steady + 1 else 0 end;
  state.farthest := v_farthest;
  if family in ('binomial', 'poisson')
    and state.steady >= 3
    and v_farthest > 1e-3
    and (
      v_gain <= (tolerance / 100) ^ 2
      -- With probit the steps shrink as 1 / eta.
      or state.steady >= 8 and v_gain < 1e-6 and v_farthest > 0.01
      or v_farthest > 0.3 and (v_gain < 1e-5 or iteration = max_iter and iteration >= 15)
    )
  then
    state.done := true;
    fit.failure := ml._separation(settled, v_column);
  -- The root of the gain is the distance to the optimum in standard errors. With a canonical link the step just made
  -- squares the distance, and changes the information by the distance over the root of n: with many rows the iteration
  -- ends one step earlier.
  elsif v_gain <= (case
      when (family, link) in (('binomial', 'logit'), ('poisson', 'log')) then
        least(fit.row_count * (tolerance / 100) ^ 2, tolerance / 100)
      when family = 'binomial' then (tolerance / 100) ^ 2
      else (tolerance / 100) ^ 2 * sums[1] / v_unit / fit.row_count
    end)
    or v_gain <= 1e-24 * v_length / v_unit
  then
    state.done := true;
    fit.converged := true;
  end if;
end;
$$;

comment on function ml._glm_step(
  ml.design, text, text, integer, integer, float8, float8[], ml.fit, ml.fit_step
) is $$
Returns the fit of one group after a step of Fisher scoring from the sums of ml._glm_statement.
`beta` is improved, and the quality and `inverse`, that of the information over the unknowns, are those of the model
before the step. Iteration 0 starts from each row's own value.
$$;

create or replace function ml._glm_estimate(settled ml.design, fit ml.fit)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fit ml.fit := fit;
begin
  v_fit.deviance := nullif(fit.deviance, 'Infinity');
  if fit.failure is null and fit.inverse is null then
    v_fit.failure := 'it did not converge';
  end if;
  if v_fit.failure is not null then
    v_fit.beta := null;
    v_fit.inverse := null;
    return v_fit;
  end if;
  select unscaled.coef, unscaled.vcov
  into v_fit.coef, v_fit.inverse
  from ml._unscaled(
    fit.beta,
    ml._spread(fit.inverse, ml._unknowns(settled), settled.width),
    settled,
    settled.intercept,
    settled.intercept_value
  ) as unscaled;
  v_fit.information := (ml._scaled_inverse(v_fit.inverse, 1e-15)).inverse;
  return v_fit;
end;
$$;

comment on function ml._glm_estimate(ml.design, ml.fit) is $$
Returns a fit after its last step, with coefficients and the inverse of the information in the units of the caller.
$$;

create or replace function ml._glm_fits(
  design ml.design,
  family text,
  link text,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out fits ml.fit[]
)
language plpgsql
set plan_cache_mode to force_generic_plan
as $$
declare
  v_first record := ml._settled(design);
  v_own boolean;
  v_mean float8;
  v_failures text[];
  v_group ml.design_group;
  v_fit ml.fit;
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_living integer[];
  v_statement text;
  v_prepared boolean := false;
  v_part record;
  v_stepped record;
begin
  settled := v_first.settled;
  fits := '{}';
  v_mean := (select sum(part.total) / nullif(sum(part.row_count), 0) from unnest(v_first.groups) as part);
  v_failures := ml._glm_failures(settled, family, link, v_first.groups, v_first.failure);
  -- With an intercept, step 1 evaluates the model of the mean. Without one, or with offsets, step 0 starts from each
  -- row's own value.
  -- Each further step evaluates the model of the step before and improves it.
  v_own := settled.intercept is null or design.offsets is not null;
  foreach v_group in array v_first.groups loop
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.total_weight := v_group.mean_weight * v_group.row_count;
    v_fit.deviance := 'Infinity';
    v_fit.iterations := 0;
    v_fit.converged := false;
    v_fit.failure := v_failures[cardinality(fits) + 1];
    if not v_own then
      v_fit.beta := array_fill(0::float8, array[design.width]);
      if v_fit.failure is null then
        v_fit.beta[settled.intercept] := ml._glm_linked(
          family, link, v_group.total / nullif(v_group.row_count, 0), v_mean
        );
      end if;
    end if;
    v_state := null;
    v_state.done := v_fit.failure is not null;
    v_state.farthest := 'Infinity';
    v_state.steady := 0;
    v_state.halvings := 0;
    fits := fits || v_fit;
    v_states := v_states || v_state;
  end loop;

  for iteration in case when v_own then 0 else 1 end..max_iter loop
    v_living := array(
      select state.ordinality
      from unnest(v_states) with ordinality as state
      where not state.done
      order by state.ordinality
    );
    exit when v_living = '{}';
    if iteration = 0 or design.groups <> '{}' then
      v_statement := ml._glm_statement(settled, family, link, v_mean, array(
        select fits[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
      ));
    else
      -- Planning a thousand sums takes as long as summing a thousand rows: it is done once.
      if not v_prepared then
        perform ml._prepare_step(
          ml._glm_statement(settled, family, link, v_mean, fits, prepared => true),
          cardinality(ml._unknowns(settled))
        );
        v_prepared := true;
      end if;
      v_statement := (
        select format('execute _ml_glm_step (%s)', string_agg(format('%L', fits[1].beta[place]), ', ' order by nth))
        from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
      );
    end if;
    for v_part in
      select v_living[part.key::int] as place, part.sums from ml._sums(v_statement, design.relation, true) as part
    loop
      v_stepped := ml._glm_step(
        settled, family, link, iteration, max_iter, tolerance, v_part.sums, fits[v_part.place], v_states[v_part.place]
      );
      fits[v_part.place] := v_stepped.fit;
      v_states[v_part.place] := v_stepped.state;
    end loop;
  end loop;
  if v_prepared then
    deallocate _ml_glm_step;
  end if;
  fits := array(
    select ml._glm_estimate(settled, fits[place]) from generate_subscripts(fits, 1) as place order by place
  );
end;
$$;

comment on function ml._glm_fits(ml.design, text, text, integer, float8) is $$
Fits a generalized linear model to each group and returns the settled design, and one fit per group.
`inverse` (of the information, with dispersion 1) and `information` are in the units of the caller. The iteration ends
when the distance to the optimum is below tolerance / 100 standard errors.
`failure` names a collinear or separating column; null otherwise.
$$;

grant execute on function
  ml._glm_failures(ml.design, text, text, ml.design_group[], text),
  ml._prepare_step(text, integer),
  ml._glm_step(ml.design, text, text, integer, integer, float8, float8[], ml.fit, ml.fit_step),
  ml._glm_estimate(ml.design, ml.fit),
  ml._glm_fits(ml.design, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_glm_fits.sql

--! Included ml/regression/logregr_train.sql
create or replace function ml.logregr_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text default null,
  max_iter integer default 20,
  optimizer text default 'irls',
  tolerance float8 default 0.0001,
  verbose boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
begin
  perform ml._check_iteration(max_iter, tolerance);
  if optimizer is null or lower(optimizer) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Use irls (the same as newton), which converges in a few scans.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols, weights, offsets);
  v_fitted := ml._glm_fits(v_design, 'binomial', 'logit', max_iter, tolerance);
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_fit.covariance := v_fit.inverse;
      v_fit.log_likelihood := -v_fit.deviance / 2;
      v_fit.condition_no := ml._condition_number(v_fit.information, v_fit.inverse);
      v_fit := ml._tested(v_fit, null);
    end if;
    if logregr_train.verbose then
      raise info 'group %: % rows, % iterations, deviance %',
        v_fit.group_key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._warn_unconverged(v_fits, 'logregr_train', max_iter, 'max_iter');

  perform ml._publish(
    v_output, v_design, v_fits,
    'coef, log_likelihood, std_err, stats as z_stats, p_values, ml._odds_ratios(coef) as odds_ratios, condition_no, '
      || 'row_count as num_rows_processed, skipped as num_missing_rows_skipped, iterations as num_iterations, '
      || 'covariance as variance_covariance, converged, failure',
    format(
      $list$
      'logregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as optimizer_params, group_count as num_all_groups,
      failed_count as num_failed_groups, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, %L::text as weights, %L::text as offsets
      $list$,
      source_table, out_table, dependent_varname, independent_varname,
      format('optimizer=%s, max_iter=%s, tolerance=%s', optimizer, max_iter, tolerance), grouping_cols, weights, offsets
    )
  );
end;
$$;

comment on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text) is $$
@behavior -*
Trains a logistic regression, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares; one scan per iteration for all groups. `dependent_varname` is a boolean, 0 and 1,
or an expression such as `score >= 50`; `independent_varname` an array, with the 1 of the intercept. Rows with a null
are skipped and counted; NaN and infinity are an error.
Writes `out_table`: the grouping columns, coef, log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no
(of the weighted design), num_rows_processed, num_missing_rows_skipped, num_iterations, variance_covariance, and, not in
MADlib, `converged` and `failure`; and `<out_table>_summary`.
`weights` is an expression: each row counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression
that is added to the log odds; add it to predictions.
`tolerance`: the iteration ends when the distance of the coefficients to the optimum is below a hundredth of it, in
standard errors.
Errors: CF001 (not two classes, not a number, a weight that is negative or null), CF002, CF003 (output exists), CF004
(no rows, one class only), CF005, CF007 (collinear; separated: names the column), CF008.
Source: McCullagh and Nelder, Generalized Linear Models; separation by Albert and Anderson, Biometrika 71, 1984.
$$;

grant execute on function ml.logregr_train(text, text, text, text, text, integer, text, float8, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/logregr_train.sql

--! Included ml/regression/glm.sql
create or replace function ml._digamma(x float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_x float8 := x;
  v_sum float8 := 0;
  v_z float8;
begin
  while v_x < 12 loop
    v_sum := v_sum - 1 / v_x;
    v_x := v_x + 1;
  end loop;
  v_z := 1 / (v_x * v_x);
  return v_sum + ln(v_x) - 0.5 / v_x
    - v_z * (
      1.0 / 12 - v_z * (1.0 / 120 - v_z * (1.0 / 252 - v_z * (1.0 / 240 - v_z * (1.0 / 132 - v_z * 691.0 / 32760))))
    );
end;
$$;

comment on function ml._digamma(float8) is $$
Returns the derivative of ln gamma(x), for x > 0. Source: Abramowitz and Stegun 6.3.18.
$$;

create or replace function ml._gamma_shape(mean_deviance float8)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_target constant float8 := mean_deviance / 2;
  v_low float8 := 1e-8;
  v_high float8 := 1e12;
  v_middle float8;
begin
  -- ln a - digamma(a) decreases from infinity to 0, so bisection of the exponent finds the only root
  for step in 1..120 loop
    v_middle := sqrt(v_low * v_high);
    if ln(v_middle) - ml._digamma(v_middle) > v_target then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_middle;
end;
$$;

comment on function ml._gamma_shape(float8) is $$
Returns the maximum likelihood estimate of a gamma distribution's shape from the mean deviance.
The root of ln a - digamma(a) = D / 2n.
$$;

create or replace function ml._glm_constants(design ml.design, family text)
returns table (group_key text, value float8)
language plpgsql
as $$
begin
  return query
  select coalesce(part.key, ''), part.sums[1]
  from ml._sums(
    case when family = 'poisson' then format(
      -- ln y! is computed once for each distinct count
      $statement$
      select
        key,
        true,
        count(*),
        array[sum(times * (case when y > 0 then y * ln(y) else 0 end - y - ml._log_gamma(y + 1)))]
      from (select key, y, %s as times from (%s) as row where complete group by key, y) as tally
      group by key
      $statement$,
      case when design.weights is not null then 'sum(prior)' else 'count(*)' end,
      ml._rows(design)
    )
    else format(
      'select key, true, count(*), array[sum(%s)] from (%s) as row where complete group by key',
      case
        when family = 'gaussian' then 'ln(prior)'
        when design.weights is not null then 'prior * ln(y)'
        else 'ln(y)'
      end,
      ml._rows(design)
    ) end,
    design.relation
  ) as part;
end;
$$;

comment on function ml._glm_constants(ml.design, text) is $$
Returns the term of the log likelihood that depends on y only, by group key.
The log likelihood of the saturated model for counts, the sum of ln y for positive values, the sum of the logarithms of
the weights for gaussian.
$$;

create or replace function ml._glm_likelihood(fit ml.fit, family text, term float8)
returns float8
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := fit.total_weight;
  v_shape float8;
begin
  if family in ('gaussian', 'inverse_gaussian') and not fit.deviance > 0 then
    -- The likelihood of a fit without residuals is not bounded.
    return null;
  elsif family = 'gamma' then
    v_shape := ml._gamma_shape(fit.deviance / v_n);
  end if;
  return case family
    when 'binomial' then -fit.deviance / 2
    when 'gaussian' then
      -fit.row_count / 2.0 * (ln(2 * pi() * fit.deviance / fit.row_count) + 1) + coalesce(term / 2, 0)
    -- the log likelihood of the saturated model minus half the deviance
    when 'poisson' then term - fit.deviance / 2
    when 'gamma' then
      v_n * (v_shape * ln(v_shape) - v_shape - ml._log_gamma(v_shape)) - term - v_shape * fit.deviance / 2
    else -v_n / 2.0 * (ln(2 * pi() * fit.deviance / v_n) + 1) - 1.5 * term
  end;
end;
$$;

comment on function ml._glm_likelihood(ml.fit, text, float8) is $$
Returns the log likelihood of a fit at the maximum likelihood dispersion; null where no residual remains.
`term` is that of ml._glm_constants.
$$;

create or replace function ml.glm(
  source_table text,
  model_table text,
  dependent_varname text,
  independent_varname text,
  family_params text,
  grouping_col text default null,
  optim_params text default 'max_iter=100, optimizer=irls, tolerance=1e-6',
  verbose boolean default false,
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_links constant jsonb := '{
    "gaussian": ["identity", "log", "inverse"], "binomial": ["logit", "probit"], "poisson": ["log", "identity", "sqrt"],
    "gamma": ["inverse", "identity", "log"], "inverse_gaussian": ["sqr_inverse", "log", "identity", "inverse"]
  }';
  v_output text := common.output_table(model_table, array['_summary']);
  v_family_params constant jsonb := ml._options(family_params, '{family, link}', 'family_params');
  v_options constant jsonb := ml._options(optim_params, '{max_iter, optimizer, tolerance}', 'optim_params');
  v_family constant text := lower(v_family_params ->> 'family');
  v_link constant text := coalesce(lower(v_family_params ->> 'link'), v_links -> v_family ->> 0);
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-6, 0, 1);
  v_normal constant boolean := v_family in ('binomial', 'poisson');
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_terms jsonb := '{}';
  v_degrees float8;
begin
  if v_family is null or not v_links ? v_family then
    perform common.refuse('CF001', format('there is no family "%s"', coalesce(left(v_family, 100), '')),
      'Give family=gaussian, binomial, poisson, gamma or inverse_gaussian, such as ''family=poisson, link=log''.');
  elsif not v_links -> v_family ? v_link then
    perform common.refuse(
      'CF001',
      format('family %s has no link "%s"', left(v_family, 100), left(v_link, 100)),
      format(
        'Its links are %s.',
        (select string_agg(name, ', ') from jsonb_array_elements_text(v_links -> v_family) as name)
      )
    );
  elsif coalesce(lower(v_options ->> 'optimizer'), 'irls') <> 'irls' then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_col, weights, offsets);
  v_fitted := ml._glm_fits(v_design, v_family, v_link, v_max_iter, v_tolerance);
  if v_family in ('poisson', 'gamma', 'inverse_gaussian') or v_family = 'gaussian' and weights is not null then
    perform ml._check_fits(v_fitted.fits, v_design);
    v_terms := (
      select jsonb_object_agg(term.group_key, term.value) from ml._glm_constants(v_fitted.settled, v_family) as term
    );
  end if;
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_degrees := nullif(v_fit.row_count - v_design.width, 0);
      v_fit.dispersion := case when v_normal then 1 else v_fit.pearson / v_degrees end;
      if v_fit.dispersion is not null then
        v_fit.covariance := ml._scaled(v_fit.inverse, v_fit.dispersion);
        v_fit := ml._tested(v_fit, case when not v_normal then v_degrees end);
      end if;
      v_fit.log_likelihood := ml._glm_likelihood(v_fit, v_family, (v_terms ->> v_fit.group_key)::float8);
      if glm.verbose then
        raise info 'group %: % rows, % iterations, deviance %',
          v_fit.group_key, v_fit.row_count, v_fit.iterations, v_fit.deviance;
      end if;
    else
      v_fit.iterations := null;
      v_fit.deviance := null;
      v_fit.converged := null;
    end if;
    v_fits := v_fits || v_fit;
  end loop;
  perform ml._warn_unconverged(v_fits, 'glm', v_max_iter, 'max_iter');

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, log_likelihood, std_err, stats as %s, p_values, dispersion, row_count as num_rows_processed, '
        || 'skipped as num_rows_skipped, iterations as num_iterations, deviance, converged, failure',
      case when v_normal then 'z_stats' else 't_stats' end
    ),
    format(
      $list$
      'glm'::text as method, %L::text as source_table, %L::text as model_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as family_params, %L::text as grouping_col,
      %L::text as optimizer_params, group_count as num_all_groups, failed_count as num_failed_groups,
      row_count as total_rows_processed, skipped as total_rows_skipped, %L::text as weights, %L::text as offsets
      $list$,
      source_table, model_table, dependent_varname, independent_varname,
      format('family=%s, link=%s', v_family, v_link), grouping_col,
      format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance), weights, offsets
    )
  );
end;
$$;

comment on function ml.glm(text, text, text, text, text, text, text, boolean, text, text) is $$
@behavior -*
Trains a generalized linear model, as MADlib: one model, or one for each value of the grouping columns.
Iteratively reweighted least squares. `family_params` is, for example, `family=poisson, link=log`. Families and links,
the first link being the default: gaussian (identity, log, inverse), binomial (logit, probit), poisson (log, identity,
sqrt), gamma (inverse, identity, log), inverse_gaussian (sqr_inverse, log, identity, inverse). `optim_params`: max_iter,
tolerance (in hundredths of a standard error).
`weights` is an expression: the dispersion of a row is divided by its weight (R's `glm`), so with binomial and poisson
it counts as that many rows; a row of weight 0 is skipped. `offsets` is an expression that is added to the linear
predictor, such as `ln(days)` for counts over different numbers of days; add it to predictions.
Writes `model_table`: the grouping columns, coef, log_likelihood (at the maximum likelihood dispersion; null when no
residual of a gaussian or inverse gaussian model remains), std_err,
z_stats (binomial, poisson) or t_stats (others), p_values, dispersion (Pearson's estimate; 1 for binomial and poisson),
num_rows_processed, num_rows_skipped, num_iterations, and, not in MADlib, `deviance`, `converged`, `failure`; and
`<model_table>_summary`.
Errors: CF001 (family, link, a value the family cannot have, a weight that is negative or null), CF002, CF003, CF004 (no
rows, one class), CF005, CF007 (collinear; separated), CF008.
Source: McCullagh and Nelder, Generalized Linear Models, 2nd edition, 1989.
$$;

grant execute on function
  ml._digamma(float8),
  ml._gamma_shape(float8),
  ml._glm_constants(ml.design, text),
  ml._glm_likelihood(ml.fit, text, float8),
  ml.glm(text, text, text, text, text, text, text, boolean, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/glm.sql

--! Included ml/regression/_elastic_net_design.sql
create or replace function ml._elastic_net_design(
  tbl_source text,
  col_dep_var text,
  col_ind_var text,
  grouping_col text,
  excluded text,
  out design ml.design,
  out features text[]
)
language plpgsql
as $$
declare
  v_relation constant regclass := common.relation(tbl_source);
  v_excluded constant text[] := common.column_names(v_relation, excluded, 'excluded columns');
  v_groups constant text[] := common.column_names(v_relation, grouping_col, 'grouping columns');
  v_x text := common.expression(col_ind_var, v_relation);
  v_type regtype;
  v_inside text;
begin
  if btrim(col_ind_var) = '*' then
    features := array(
      select quote_ident(name)
      from unnest(common.columns(v_relation)) with ordinality as list (name, nth)
      where quote_ident(name) <> all (v_excluded || v_groups)
        and name <> all (common.expression_columns(col_dep_var, v_relation))
      order by nth
    );
    if features = '{}' then
      perform common.refuse('CF001', format('"%s" has no other column', left(tbl_source, 100)),
        'Name the independent variables.');
    end if;
  else
    v_type := common.base_type(common.expression_type(col_ind_var, v_relation, 'independent variable'));
    if v_type = any ('{boolean, smallint, integer, bigint, real, double precision, numeric}'::regtype[]) then
      v_x := format('array[%s]', v_x);
    elsif not exists (
      select from pg_catalog.pg_type as type
      where type.oid = v_type and (type.typcategory = 'A' or type.typname in ('vector', 'halfvec'))
    ) then
      perform common.refuse('CF001',
        format('the independent variable "%s" is of type %s', left(col_ind_var, 100), v_type),
        'Give an array of numbers, such as array[tax, bath, size].');
    end if;
    v_inside := substring(
      btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
    );
    begin
      features := common.split_expressions(v_inside);
    exception when sqlstate 'CF001' then
      features := null;
    end;
  end if;
  design := ml._design(
    tbl_source,
    col_dep_var,
    case
      when features is null then format('array[1::float8] || (%s)::float8[]', v_x)
      else format('array[1, %s]', array_to_string(features, ', '))
    end,
    grouping_col
  );
  features := coalesce(features, array(
    select format('(%s)[%s]', v_x, place)
    from generate_series(1, design.width - 1) as place
    order by place
  ));
end;
$$;

comment on function ml._elastic_net_design(text, text, text, text, text) is $$
Returns a design with an intercept as its first column; `*` stands for all other columns of the table.
$$;

grant execute on function ml._elastic_net_design(text, text, text, text, text)
  to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_elastic_net_design.sql

--! Included ml/regression/elastic_net_train.sql
/*
 * Penalised regression from sums: the Gram matrix of the columns is computed in one scan (gaussian) or one scan per
 * Newton step (binomial), and coordinate descent runs on the k x k matrix only, so that a path of lambdas needs no
 * further scans.
 */
create or replace function ml._coordinate_descent(
  gram float8[],
  target float8[],
  start float8[],
  l1 float8,
  l2 float8,
  max_iter integer,
  tolerance float8,
  out solution float8[],
  out sweeps integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(target, 1), 0);
  v_gram float8[] := gram;
  v_slope float8[] := target;
  v_value float8;
  v_change float8;
  v_largest float8;
begin
  solution := start;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] - v_gram[i][j] * start[j];
    end loop;
  end loop;
  for sweep in 1..max_iter loop
    sweeps := sweep;
    v_largest := 0;
    for j in 1..v_size loop
      -- the coefficient of a constant column stays 0
      if v_gram[j][j] + l2 > 1e-14 and v_gram[j][j] > 1e-14 then
        v_value := v_slope[j] + v_gram[j][j] * solution[j];
        v_value := case
          when abs(v_value) > l1 then sign(v_value) * (abs(v_value) - l1) / (v_gram[j][j] + l2)
          else 0
        end;
        v_change := v_value - solution[j];
        if v_change <> 0 then
          solution[j] := v_value;
          v_largest := greatest(v_largest, abs(v_change) * sqrt(v_gram[j][j]));
          for i in 1..v_size loop
            v_slope[i] := v_slope[i] - v_gram[i][j] * v_change;
          end loop;
        end if;
      end if;
    end loop;
    exit when v_largest <= tolerance;
  end loop;
end;
$$;

comment on function ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8) is $$
Returns the minimum of b'Gb / 2 - t'b + l1 |b| + l2 b'b / 2, by coordinate descent.
Source: Friedman, Hastie and Tibshirani, J. Stat. Softw. 33, 2010.
$$;

create or replace function ml._elastic_net_step(
  settled ml.design,
  family text,
  alpha float8,
  lambda float8,
  standardize boolean,
  max_iter integer,
  tolerance float8,
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_active constant integer[] := settled.active;
  v_all constant integer := cardinality(v_unknowns);
  v_size constant integer := v_all - 1;
  v_n constant float8 := fit.row_count;
  v_sums constant float8[] := state.sums;
  v_h constant float8[] := ml._symmetric_matrix(v_sums[3 + v_all:], v_all);
  v_gram float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_target float8[] := array_fill(0::float8, array[v_size]);
  v_start float8[] := array_fill(0::float8, array[v_size]);
  v_change float8[] := array_fill(0::float8, array[v_all]);
  v_unit float8[];
  v_solved record;
  v_value float8;
  v_largest float8 := 0;
  v_objective float8 := v_sums[1] / (2 * v_n);
begin
  -- the unit in which coefficients are penalised: the standard deviation of the column, or the column's own unit
  if state.unit is null then
    state.unit := array_fill(1::float8, array[settled.width]);
    for j in 1..v_size loop
      v_value := case
        when not standardize then settled.scale[v_active[j]]
        when family = 'gaussian' then sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_n, 0) / v_n)
        -- at the mean all weights are equal
        else sqrt(greatest(v_h[j + 1][j + 1] - v_h[1][j + 1] * v_h[1][j + 1] / v_h[1][1], 0) / v_h[1][1])
      end;
      if v_value >= 1e-12 then
        state.unit[v_active[j]] := v_value;
      end if;
    end loop;
  end if;
  v_unit := array(select state.unit[place] from unnest(v_active) with ordinality as list (place, nth) order by nth);

  if family = 'binomial' then
    for j in 1..v_size loop
      v_value := fit.beta[v_active[j]] * v_unit[j];
      v_objective := v_objective + lambda * (alpha * abs(v_value) + (1 - alpha) / 2 * v_value * v_value);
    end loop;
    if v_objective > state.objective + 1e-12 then
      -- the step increases the objective: it is halved
      for j in 1..settled.width loop
        fit.beta[j] := (fit.beta[j] + state.previous[j]) / 2;
      end loop;
      return;
    end if;
    state.objective := v_objective;
    state.previous := fit.beta;
  end if;

  -- the intercept is not penalised: it is eliminated here and computed after the other coefficients
  for i in 1..v_size loop
    v_target[i] := (v_sums[3 + i] - v_h[1][i + 1] * v_sums[3] / v_h[1][1]) / (v_n * v_unit[i]);
    v_start[i] := fit.beta[v_active[i]] * v_unit[i];
    for j in 1..v_size loop
      v_gram[i][j] := (v_h[i + 1][j + 1] - v_h[1][i + 1] * v_h[1][j + 1] / v_h[1][1]) / (v_n * v_unit[i] * v_unit[j]);
    end loop;
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_target[i] := v_target[i] + v_gram[i][j] * state.previous[v_active[j]] * v_unit[j];
    end loop;
  end loop;
  v_solved := ml._coordinate_descent(
    v_gram, v_target, v_start, lambda * alpha, lambda * (1 - alpha), max_iter, tolerance / 10
  );
  fit.iterations := fit.iterations + v_solved.sweeps;
  v_value := v_sums[3];
  for j in 1..v_size loop
    v_largest := greatest(v_largest, abs(v_solved.solution[j] - v_start[j]));
    fit.beta[v_active[j]] := v_solved.solution[j] / v_unit[j];
    v_change[j + 1] := fit.beta[v_active[j]] - state.previous[v_active[j]];
    v_value := v_value - v_h[1][j + 1] * v_change[j + 1];
  end loop;
  v_change[1] := v_value / v_h[1][1];
  fit.beta[settled.intercept] := state.previous[settled.intercept] + v_change[1];
  -- the deviance after this step, exact for gaussian
  fit.deviance := v_sums[1];
  for i in 1..v_all loop
    fit.deviance := fit.deviance - 2 * v_change[i] * v_sums[2 + i];
    for j in 1..v_all loop
      fit.deviance := fit.deviance + v_change[i] * v_h[i][j] * v_change[j];
    end loop;
  end loop;
  state.done := family = 'gaussian' or v_largest <= tolerance;
end;
$$;

comment on function ml._elastic_net_step(
  ml.design, text, float8, float8, boolean, integer, float8, ml.fit, ml.fit_step
) is $$
Returns the fit of one group after coordinate descent on the quadratic approximation of the loss at `previous`.
The sums of the state are those of ml._glm_statement. The penalty is in the unit of the first step; a step that
increases the objective is halved.
$$;

create or replace function ml._elastic_net_fits(
  design ml.design,
  family text,
  alpha float8,
  lambdas float8[],
  standardize boolean,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out fits ml.fit[]
)
language plpgsql
as $$
declare
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_first record := ml._settled(design);
  v_group ml.design_group;
  v_fit ml.fit;
  v_models ml.fit[] := '{}';
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_scanned boolean := false;
  v_living integer[];
  v_lambda float8;
  v_part record;
  v_stepped record;
  v_place integer;
begin
  settled := v_first.settled;
  fits := '{}';
  foreach v_group in array v_first.groups loop
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.iterations := 0;
    v_fit.deviance := 0;
    v_fit.beta := array_fill(0::float8, array[design.width]);
    if v_group.row_count = 0 then
      v_fit.failure := 'no row without a null';
    elsif family = 'binomial' and v_group.between_classes > 0 then
      perform common.refuse(
        'CF001',
        format('the dependent variable "%s" holds other values than 0 and 1', left(design.y, 100)),
        'Give a boolean, 0 and 1, or an expression such as score >= 50.'
      );
    elsif family = 'binomial' and v_group.least = v_group.largest then
      v_fit.failure := format('it holds one class only, %s', v_group.largest);
    else
      v_fit.beta[settled.intercept] := v_group.total / v_group.row_count;
      if family = 'binomial' then
        v_fit.beta[settled.intercept] := ml._glm_linked(family, v_link, v_fit.beta[settled.intercept], null);
      end if;
    end if;
    v_state := null;
    v_state.previous := v_fit.beta;
    v_models := v_models || v_fit;
    v_states := v_states || v_state;
  end loop;

  foreach v_lambda in array lambdas loop
    v_living := array(
      select fit.ordinality
      from unnest(v_models) with ordinality as fit
      where fit.failure is null
      order by fit.ordinality
    );
    foreach v_place in array v_living loop
      v_states[v_place].done := false;
      v_states[v_place].objective := 'Infinity';
    end loop;
    for step in 1..50 loop
      exit when v_living = '{}';
      if family = 'binomial' or not v_scanned then
        for v_part in
          select v_living[part.key::int] as place, part.sums
          from ml._sums(
            ml._glm_statement(settled, family, v_link, null, array(
              select v_models[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
            )),
            design.relation
          ) as part
        loop
          v_states[v_part.place].sums := v_part.sums;
        end loop;
        v_scanned := true;
      end if;
      foreach v_place in array v_living loop
        v_stepped := ml._elastic_net_step(
          settled, family, alpha, v_lambda, standardize, max_iter, tolerance, v_models[v_place], v_states[v_place]
        );
        v_models[v_place] := v_stepped.fit;
        v_states[v_place] := v_stepped.state;
      end loop;
      v_living := array(
        select place
        from unnest(v_living) with ordinality as living (place, nth)
        where not v_states[place].done
        order by nth
      );
    end loop;

    foreach v_fit in array v_models loop
      v_fit.lambda := v_lambda;
      if v_fit.failure is null then
        v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
      end if;
      fits := fits || v_fit;
    end loop;
  end loop;
end;
$$;

comment on function ml._elastic_net_fits(ml.design, text, float8, float8[], boolean, integer, float8) is $$
Fits a path of lambdas to each group, each starting from the fit before.
Returns the settled design, and one fit per lambda and group, in this order. The first column of the design is the
intercept.
$$;

create or replace function ml.elastic_net_train(
  tbl_source text,
  tbl_result text,
  col_dep_var text,
  col_ind_var text,
  regress_family text,
  alpha float8,
  lambda_value float8,
  standardize boolean default true,
  grouping_col text default null,
  optimizer text default 'fista',
  optimizer_params text default null,
  excluded text default null,
  max_iter integer default 1000,
  tolerance float8 default 1e-6
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(tbl_result, array['_summary']);
  v_options jsonb := ml._options(
    optimizer_params,
    '{n_folds, n_lambdas, lambda_value, alpha, validation_result, warmup, max_iter, tolerance}',
    'optimizer_params'
  );
  v_folds constant integer := ml._number(v_options, 'n_folds', 0, 0, 100);
  v_family constant text := case
    when lower(regress_family) in ('gaussian', 'linear') then 'gaussian'
    when lower(regress_family) in ('binomial', 'logistic') then 'binomial'
  end;
  v_validation text;
  v_made record;
  v_chosen record;
  v_alpha float8 := alpha;
  v_lambda float8 := lambda_value;
  v_fitted record;
  v_plain ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_family is null then
    perform common.refuse('CF001', format('there is no family "%s"', left(regress_family, 100)),
      'Give gaussian (or linear), or binomial (or logistic).');
  elsif optimizer is null or lower(optimizer) not in ('fista', 'igd', 'cd') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(optimizer, 100)),
      'Give fista, igd or cd; all return the same optimum, which is found by coordinate descent.');
  elsif v_folds = 0 and (alpha is null or not alpha between 0 and 1) then
    perform common.refuse('CF001', format('alpha is %s', coalesce(alpha::text, 'null')),
      'Give 0 (ridge) to 1 (lasso).');
  elsif v_folds = 0 and (lambda_value is null or not lambda_value >= 0 or lambda_value = 'Infinity') then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda_value::text, 'null')), 'Give 0 or more.');
  elsif v_folds = 1 then
    perform common.refuse('CF001', 'n_folds is 1', 'Give 2 or more folds, or omit n_folds to use lambda_value.');
  end if;
  v_made := ml._elastic_net_design(tbl_source, col_dep_var, col_ind_var, grouping_col, excluded);

  if v_folds > 1 then
    if grouping_col is not null then
      perform common.refuse('CF001', 'cross-validation cannot be grouped', 'Train each group on a view of its own.');
    end if;
    if v_options ->> 'validation_result' is not null then
      v_validation := common.output_table(v_options ->> 'validation_result');
    end if;
    v_chosen := ml._elastic_net_cross_validation(
      v_made.design,
      v_family,
      coalesce(ml._list(v_options ->> 'alpha', 'alpha', 0, 1), array[coalesce(alpha, 1)]),
      ml._list(v_options ->> 'lambda_value', 'lambda_value', 0, 1e300),
      ml._number(v_options, 'n_lambdas', 15, 1, 1000)::int,
      v_folds,
      standardize,
      max_iter,
      tolerance,
      v_validation
    );
    v_alpha := v_chosen.alpha;
    v_lambda := v_chosen.lambda;
  end if;

  -- Without a penalty nothing keeps the coefficients of separated classes finite.
  if v_family = 'binomial' and v_lambda = 0 then
    v_plain := (ml._glm_fits(v_made.design, 'binomial', 'logit', 50, 0.0001)).fits;
  end if;

  v_fitted := ml._elastic_net_fits(v_made.design, v_family, v_alpha, array[v_lambda], standardize, max_iter, tolerance);
  foreach v_fit in array v_fitted.fits loop
    if v_plain[cardinality(v_fits) + 1].failure ~ 'separates' then
      v_fit.failure := v_plain[cardinality(v_fits) + 1].failure;
      v_fit.coef := null;
    end if;
    v_fit.log_likelihood := case
      when v_fit.failure is not null then null
      when v_family = 'binomial' then -v_fit.deviance / 2
      when v_fit.deviance > 0 then -v_fit.row_count / 2.0 * (ln(2 * pi() * v_fit.deviance / v_fit.row_count) + 1)
    end;
    v_fits := v_fits || v_fit;
  end loop;

  perform ml._publish(
    v_output, v_made.design, v_fits,
    format(
      $list$
      %1$L::text as regress_family, %2$L::text[] as features,
      array(
        select name from unnest(%2$L::text[], coef[2:]) with ordinality as list (name, value, nth)
        where value <> 0
        order by nth
      ) as features_selected,
      array(select value from unnest(coef[2:]) with ordinality as list (value, nth) where value <> 0 order by nth)
        as coef_nonzero,
      coef[2:] as coef_all, coef[1] as intercept, log_likelihood, %3$L::boolean as standardize,
      iterations as iteration_run, %4$L::float8 as alpha, lambda as lambda_value, row_count as num_rows_processed,
      skipped as num_missing_rows_skipped, failure
      $list$,
      v_family, v_made.features, standardize, v_alpha
    ),
    format(
      $list$
      'elastic_net'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as regress_family, %L::float8 as alpha, %L::float8 as lambda_value,
      %L::text as grouping_col, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      group_count as num_all_groups, failed_count as num_failed_groups
      $list$,
      tbl_source, tbl_result, col_dep_var, col_ind_var, v_family, v_alpha, v_lambda, grouping_col
    )
  );
end;
$$;

comment on function ml.elastic_net_train(
  text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8
) is $$
@behavior -*
Trains a linear (gaussian) or logistic (binomial) regression with the elastic net penalty, as MADlib.
Minimises loss / n + lambda ((1 - alpha) / 2 b'b + alpha |b|), where loss is half the squared residuals or minus the log
likelihood. An intercept is added and never penalised. `col_ind_var` is an array, or `*` for all other columns except
those in `excluded`. With `standardize` the penalty is on the coefficients of columns divided by their standard
deviation; the coefficients in the output are in the columns' own units. `optimizer_params` with `n_folds=5` chooses
lambda by cross-validation, among `lambda_value={…}` or `n_lambdas` values, and alpha among `alpha={…}`;
`validation_result=table` writes the loss of each to a table.
Writes `tbl_result`: the grouping columns, regress_family, features, features_selected, coef_nonzero, coef_all,
intercept, log_likelihood, standardize, iteration_run, and, not in MADlib, alpha, lambda_value, num_rows_processed,
num_missing_rows_skipped, failure; and `<tbl_result>_summary`.
Errors: CF001 (lambda < 0, alpha outside 0..1, not a number), CF002, CF003, CF004, CF005, CF007 (separated, with a
lambda of 0), CF008.
Source: Friedman, Hastie and Tibshirani, Regularization paths for generalized linear models via coordinate descent, J.
Stat. Softw. 33, 2010.
$$;

create or replace function ml._list(list text, name text, smallest float8, largest float8)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_values float8[];
begin
  if list is null then
    return null;
  end if;
  begin
    v_values := (case when list like '{%' then list else '{' || list || '}' end)::float8[];
  exception when invalid_text_representation or numeric_value_out_of_range then
    null;
  end;
  if v_values is null or v_values = '{}' or exists (
    select
    from unnest(v_values) as value
    where value is null
      or not value between smallest and largest
  ) then
    perform common.refuse('CF001', format('%s is "%s"', left(name, 100), left(list, 100)),
      format('Give numbers from %s to %s, such as {0.1, 0.5}.', smallest, largest));
  end if;
  return v_values;
end;
$$;

comment on function ml._list(text, text, float8, float8) is $$
Returns a list of numbers from an option, null for null. Error CF001 unless all are from `smallest` to `largest`.
$$;

create or replace function ml._elastic_net_cross_validation(
  design ml.design,
  family text,
  alphas float8[],
  lambdas float8[],
  n_lambdas integer,
  n_folds integer,
  standardize boolean,
  max_iter integer,
  tolerance float8,
  validation_result text,
  out alpha float8,
  out lambda float8
)
language plpgsql
as $$
declare
  -- the fold of a row depends on its values only, so that a repeated run has the same folds
  v_fold constant text := format(
    '(hashtextextended(%s::text, 20240607) & 1073741823) %% %s', design.alias, n_folds
  );
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_path float8[] := lambdas;
  v_top float8;
  v_alpha float8;
  v_part ml.design := design;
  v_fitted record;
  v_fit ml.fit;
  v_alphas float8[] := '{}';
  v_lambdas float8[] := '{}';
  v_losses float8[] := '{}';
begin
  foreach v_alpha in array alphas loop
    if lambdas is null then
      -- from the lambda at which all coefficients are 0 down to a thousandth of it
      v_top := ml._elastic_net_top(design, family, greatest(v_alpha, 0.001), standardize);
      v_path := array(
        select v_top * power(0.001::float8, (i - 1.0) / greatest(n_lambdas - 1, 1))
        from generate_series(1, n_lambdas) as i
        order by i
      );
    else
      v_path := array(select value from unnest(lambdas) as value order by value desc);
    end if;
    for fold in 0..n_folds - 1 loop
      v_part := design;
      v_part.fold := format('%s <> %s', v_fold, fold);
      v_fitted := ml._elastic_net_fits(v_part, family, v_alpha, v_path, standardize, max_iter, tolerance);
      v_part := v_fitted.settled;
      v_part.fold := format('%s = %s', v_fold, fold);
      foreach v_fit in array v_fitted.fits loop
        if v_fit.failure is not null then
          perform ml._fit_failed(format('fold %s of %s: %s', fold + 1, n_folds, v_fit.failure), design.source);
        end if;
        v_alphas := v_alphas || v_alpha;
        v_lambdas := v_lambdas || v_fit.lambda;
        v_losses := v_losses || (
          select sum(part.sums[1]) / nullif(sum(part.row_count), 0)
          from ml._sums(ml._glm_statement(v_part, family, v_link, null, array[v_fit]), design.relation) as part
        );
      end loop;
    end loop;
  end loop;
  select score.alpha, score.lambda
  into alpha, lambda
  from unnest(v_alphas, v_lambdas, v_losses) as score (alpha, lambda, loss)
  group by score.alpha, score.lambda
  order by avg(score.loss), score.lambda desc
  limit 1;
  if validation_result is not null then
    execute format(
      $statement$
      create table %s as
      select alpha, lambda as lambda_value, avg(loss) as average_loss, coalesce(stddev_samp(loss), 0) as std_loss
      from unnest($1, $2, $3) as score (alpha, lambda, loss)
      group by alpha, lambda
      order by alpha, lambda desc
      $statement$,
      validation_result
    ) using v_alphas, v_lambdas, v_losses;
  end if;
end;
$$;

comment on function ml._elastic_net_cross_validation(
  ml.design, text, float8[], float8[], integer, integer, boolean, integer, float8, text
) is $$
Returns the alpha and lambda with the least mean deviance on the held-out rows of all folds.
The larger lambda among equal ones.
$$;

create or replace function ml._elastic_net_top(design ml.design, family text, alpha float8, standardize boolean)
returns float8
language plpgsql
as $$
declare
  v_first record := ml._settled(design);
  v_settled ml.design := v_first.settled;
  v_group ml.design_group := v_first.groups[1];
  v_mean constant float8 := v_group.total / nullif(v_group.row_count, 0);
  v_link constant text := case family when 'binomial' then 'logit' else 'identity' end;
  v_all constant integer := cardinality(ml._unknowns(v_settled));
  v_fit ml.fit;
  v_sums float8[];
  v_h float8[];
  v_spread float8;
  v_top float8 := 0;
begin
  if v_mean is null or family = 'binomial' and (v_mean <= 0 or v_mean >= 1) then
    perform ml._fit_failed(
      case when v_mean is null then 'no row without a null' else format('it holds one class only, %s', v_mean) end,
      design.source
    );
  end if;
  v_fit.group_key := '';
  v_fit.beta := array_fill(0::float8, array[design.width]);
  v_fit.beta[v_settled.intercept] := ml._glm_linked(family, v_link, v_mean, null);
  v_sums := (
    select part.sums
    from ml._sums(ml._glm_statement(v_settled, family, v_link, null, array[v_fit]), design.relation) as part
  );
  v_h := ml._symmetric_matrix(v_sums[3 + v_all:], v_all);
  for j in 2..v_all loop
    -- the slope at zero, in the unit of the penalty
    v_spread := v_h[j][j] / v_h[1][1] - (v_h[1][j] / v_h[1][1]) ^ 2;
    if v_spread > 1e-24 then
      v_top := greatest(
        v_top,
        abs(v_sums[2 + j]) / v_group.row_count / case
          when standardize then sqrt(v_spread)
          else design.scale[v_settled.active[j - 1]]
        end
      );
    end if;
  end loop;
  return greatest(v_top, 1e-9) / alpha;
end;
$$;

comment on function ml._elastic_net_top(ml.design, text, float8, boolean) is $$
Returns the least lambda at which all coefficients are 0, from which a path starts.
$$;

grant execute on function
  ml._coordinate_descent(float8[], float8[], float8[], float8, float8, integer, float8),
  ml._elastic_net_step(ml.design, text, float8, float8, boolean, integer, float8, ml.fit, ml.fit_step),
  ml._elastic_net_fits(ml.design, text, float8, float8[], boolean, integer, float8),
  ml._list(text, text, float8, float8),
  ml._elastic_net_cross_validation(
    ml.design, text, float8[], float8[], integer, integer, boolean, integer, float8, text
  ),
  ml._elastic_net_top(ml.design, text, float8, boolean),
  ml.elastic_net_train(text, text, text, text, text, float8, float8, boolean, text, text, text, text, integer, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/elastic_net_train.sql

--! Included ml/regression/ridge_train.sql
create or replace function ml._ridge_fit(settled ml.design, fit ml.fit, lambda float8, sums float8[])
returns ml.fit
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_matrix constant float8[] := ml._symmetric_matrix(sums[3 + v_size:], v_size);
  v_penalized float8[] := v_matrix;
  v_inverse float8[];
  v_fit ml.fit := fit;
  v_step float8[] := array_fill(0::float8, array[v_size]);
  v_unit float8;
  v_rss float8 := sums[1];
begin
  for i in 1..v_size loop
    if v_unknowns[i] is distinct from settled.intercept then
      v_unit := settled.scale[v_unknowns[i]];
      if lambda > 0 and 2 * ln(v_unit) + ln(lambda) > ln(1e140::float8) then
        perform common.refuse(
          'CF007',
          format('column %s is too small beside the penalty lambda %s', v_unknowns[i], lambda),
          'Use other units, so that the values are near 1.'
        );
      end if;
      v_penalized[i][i] := v_penalized[i][i] + ml._times(ml._times(lambda, v_unit), v_unit);
    end if;
  end loop;
  v_inverse := (ml._scaled_inverse(v_penalized, 1e-13)).inverse;
  if v_inverse is null then
    v_fit.failure := 'the columns are collinear, and lambda is too small for a unique solution';
    return v_fit;
  end if;
  v_fit.effective_df := 0;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_step[i] := v_step[i] + v_inverse[i][j] * sums[2 + j];
      v_fit.effective_df := v_fit.effective_df + v_inverse[i][j] * v_matrix[j][i];
    end loop;
  end loop;
  for i in 1..v_size loop
    v_fit.beta[v_unknowns[i]] := fit.beta[v_unknowns[i]] + v_step[i];
    v_rss := v_rss - 2 * v_step[i] * sums[2 + i];
    for j in 1..v_size loop
      v_rss := v_rss + v_step[i] * v_matrix[i][j] * v_step[j];
    end loop;
  end loop;
  v_fit.lambda := lambda;
  v_fit.r2 := case when sums[1] > 0 then 1 - v_rss / sums[1] end;
  v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
  return v_fit;
end;
$$;

comment on function ml._ridge_fit(ml.design, ml.fit, float8, float8[]) is $$
Returns the fit of one group with the least penalised sum of squares, from the sums of ml._glm_statement at its `beta`.
$$;

create or replace function ml.ridge_train(
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  lambda float8,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_first record;
  v_settled ml.design;
  v_group ml.design_group;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
begin
  if lambda is null or not lambda >= 0 or lambda = 'Infinity' then
    perform common.refuse('CF001', format('lambda is %s', coalesce(lambda::text, 'null')), 'Give 0 or more.');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_first := ml._settled(v_design);
  v_settled := v_first.settled;
  if v_first.failure ~ 'constant, and so' then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;

  foreach v_group in array v_first.groups loop
    if v_group.row_count > 0 then
      v_fit := null;
      v_fit.group_key := v_group.group_key;
      v_fit.row_count := v_group.row_count;
      v_fit.skipped := v_group.skipped;
      -- starting from the mean of y, so that a large mean does not cost digits
      v_fit.beta := array_fill(0::float8, array[v_design.width]);
      if v_settled.intercept is not null then
        v_fit.beta[v_settled.intercept] := v_group.total / v_group.row_count;
      end if;
      v_fits := v_fits || v_fit;
    end if;
  end loop;
  if v_fits = '{}' then
    perform ml._fit_failed('no row without a null', v_design.source);
  end if;
  v_fits := array(
    select ml._ridge_fit(v_settled, v_fits[part.key::int], lambda, part.sums)
    from ml._sums(
      ml._glm_statement(v_settled, 'gaussian', 'identity', null, v_fits), v_design.relation
    ) as part
  );
  perform ml._publish(
    v_output, v_design, v_fits,
    'coef, lambda, r2, effective_df, row_count as num_rows_processed, skipped as num_missing_rows_skipped, failure',
    format(
      $list$
      'ridge'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::float8 as lambda, %L::text as grouping_cols,
      %L::bigint as num_rows_processed, %L::bigint as num_missing_rows_skipped, %L::bigint as num_all_groups,
      failed_count as num_failed_groups
      $list$,
      source_table, out_table, dependent_varname, independent_varname, lambda, grouping_cols,
      (select sum(part.row_count) from unnest(v_first.groups) as part),
      (select sum(part.skipped) from unnest(v_first.groups) as part),
      cardinality(v_first.groups)
    )
  );
end;
$$;

comment on function ml.ridge_train(text, text, text, text, float8, text) is $$
@behavior -*
Trains a ridge regression: minimises the squared residuals plus lambda times the squared coefficients.
In closed form, with two scans. A constant column among the independent variables is the intercept and is not penalised;
none is added. Columns may be collinear, and more than the rows. Predict with ml.linregr_predict.
Writes `out_table`: the grouping columns, coef, lambda, r2, effective_df (trace of the hat matrix), num_rows_processed,
num_missing_rows_skipped, failure; and `<out_table>_summary`.
Errors: CF001 (lambda < 0, not a number), CF002, CF003, CF004, CF005, CF007 (collinear with lambda 0), CF008.
Source: Hoerl and Kennard, Technometrics 12, 1970.
$$;

grant execute on function
  ml._ridge_fit(ml.design, ml.fit, float8, float8[]),
  ml.ridge_train(text, text, text, text, float8, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/ridge_train.sql

--! Included ml/regression/_sandwich.sql
/*
 * Standard errors that are valid when the variance differs between rows (Huber and White) or the rows of a cluster are
 * correlated: the product bread, meat, bread. Both matrices are computed in one more scan at the fitted coefficients.
 */
create or replace function ml._sandwich_statement(
  settled ml.design,
  family text,
  link text,
  fits ml.fit[],
  hc text,
  breads float8[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source text := ml._glm_source(settled, family, link, null, fits);
  v_clustered constant boolean := settled.clusters is not null;
  v_terms constant text[] := array(
    select case when place = settled.intercept then '' else ' * d' || place end
    from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by nth
  );
  v_size constant integer := cardinality(v_terms);
  v_head constant text := 'nth::text as key, true as complete, count(*) as row_count';
  v_squared text := 'score * score';
  v_bread text[];
  v_meat text[];
begin
  if breads is not null then
    -- The leverage of a row is its entry of the hat matrix: w d' B d.
    v_source := format(
      $statement$
      (
        select *, score * score / power(greatest(1 - leverage, 1e-12), %s) as squared
        from (select *, weight * (%s) as leverage from %s offset 0) as measured
      ) as weighed
      $statement$,
      case hc when 'HC2' then 1 else 2 end,
      (
        select string_agg(format('%s(%L::float8[])[nth][%s][%s]%s%s', case when i < j then '2 * ' else '' end,
          breads, i, j, v_terms[i], v_terms[j]), ' + ' order by i, j)
        from generate_series(1, v_size) as i
        cross join generate_series(1, v_size) as j
        where j >= i
      ),
      v_source
    );
    v_squared := 'squared';
  end if;
  select
    array_agg(format('sum(weight%s%s)', v_terms[i], v_terms[j]) order by i, j),
    array_agg(
      case
        when v_clustered then format('sum(s%s * s%s)', i, j)
        else format('sum(%s%s%s)', v_squared, v_terms[i], v_terms[j])
      end
      order by i, j
    )
  into v_bread, v_meat
  from generate_series(1, v_size) as i
  cross join generate_series(1, v_size) as j
  where j >= i;
  if not v_clustered then
    return ml._sums_statement(v_head, v_bread || v_meat, format('from %s group by nth', v_source));
  end if;
  return format(
    $statement$
    select meat.key, true, meat.row_count, bread.sums || meat.sums
    from (%s) as bread (key, complete, row_count, sums)
    join (%s) as meat (key, complete, row_count, sums) using (key)
    $statement$,
    ml._sums_statement(v_head, v_bread, format('from %s group by nth', v_source)),
    ml._sums_statement(
      v_head,
      v_meat,
      format(
        'from (select nth, %s from %s group by nth, cluster) as clustered group by nth',
        (
          select string_agg(format('sum(score%s) as s%s', term, nth), ', ' order by nth)
          from unnest(v_terms) with ordinality as list (term, nth)
        ),
        v_source
      )
    )
  );
end;
$$;

comment on function ml._sandwich_statement(ml.design, text, text, ml.fit[], text, float8[]) is $$
Returns the text of the statement that computes bread and meat by group at the fitted coefficients.
Its sums are the upper triangles of the information and of the squared scores, or of the squared cluster totals when the
design has clusters; its count is the number of rows or of clusters. With `breads`, the inverse of the information of
each group, each squared score is divided by 1 - leverage (HC2) or its square (HC3).
$$;

create or replace function ml._sandwich_covariance(sums float8[], size integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_bread float8[] := (ml._scaled_inverse(ml._symmetric_matrix(sums, size), 1e-14)).inverse;
  v_meat float8[] := ml._symmetric_matrix(sums[size * (size + 1) / 2 + 1:], size);
  v_half float8[] := array_fill(0::float8, array[size, size]);
  v_covariance float8[] := v_half;
  v_value float8;
begin
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_bread[i][m] * v_meat[m][j];
      end loop;
      v_half[i][j] := v_value;
    end loop;
  end loop;
  for i in 1..size loop
    for j in 1..size loop
      v_value := 0;
      for m in 1..size loop
        v_value := v_value + v_half[i][m] * v_bread[m][j];
      end loop;
      v_covariance[i][j] := v_value;
    end loop;
  end loop;
  return v_covariance;
end;
$$;

comment on function ml._sandwich_covariance(float8[], integer) is $$
Returns the product B M B, where B is the inverse of the information and M the meat, from the sums of one group.
$$;

create or replace function ml._sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  grouping_cols text,
  max_iter integer,
  tolerance float8,
  hc text default 'HC0',
  weights text default null,
  offsets text default null
)
returns void
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_linear constant boolean := method like '%linregr';
  v_family constant text := case when v_linear then 'gaussian' else 'binomial' end;
  v_link constant text := case when v_linear then 'identity' else 'logit' end;
  v_clustered constant boolean := method like 'clustered%';
  v_output text := common.output_table(out_table, array['_summary']);
  v_design ml.design;
  v_settled ml.design;
  v_clusters text[];
  v_unknowns integer[];
  v_size integer;
  v_fitted record;
  v_good ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[];
  v_part record;
  v_degrees float8;
  v_statement text;
  v_hc constant text := upper(hc);
  v_breads float8[];
begin
  perform ml._check_iteration(max_iter, tolerance);
  if v_hc is null or v_hc not in ('HC0', 'HC1', 'HC2', 'HC3') then
    perform common.refuse('CF001', format('there is no correction "%s"', coalesce(left(hc, 100), 'null')),
      'Choose HC0, HC1, HC2 or HC3.');
  end if;
  v_design := ml._design(
    source_table,
    case when v_linear then ml._less_offsets(dependent_varname, offsets, source_table) else dependent_varname end,
    independent_varname,
    grouping_cols,
    weights,
    case when not v_linear then offsets end
  );
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_fitted := ml._glm_fits(v_design, v_family, v_link, max_iter, tolerance);
  perform ml._check_fits(v_fitted.fits, v_design);
  v_settled := v_fitted.settled;
  v_settled.clusters := v_clusters;
  v_unknowns := ml._unknowns(v_settled);
  v_size := cardinality(v_unknowns);
  v_good := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is null);
  v_fits := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is not null);

  v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_good, v_hc, null);
  if v_hc in ('HC2', 'HC3') then
    v_breads := array(
      select (ml._scaled_inverse(ml._symmetric_matrix(part.sums, v_size), 1e-14)).inverse
      from ml._sums(v_statement, v_design.relation) as part
      order by part.key::int
    );
    v_statement := ml._sandwich_statement(v_settled, v_family, v_link, v_good, v_hc, v_breads);
  end if;
  for v_part in
    select part.key::int as nth, part.row_count as cluster_count, part.sums
    from ml._sums(v_statement, v_design.relation) as part
  loop
    v_fit := v_good[v_part.nth];
    v_degrees := nullif(v_fit.row_count - v_design.width, 0);
    v_fit.covariance := (
      ml._unscaled(
        v_fit.beta,
        ml._spread(ml._sandwich_covariance(v_part.sums, v_size), v_unknowns, v_design.width),
        v_settled,
        v_settled.intercept,
        v_settled.intercept_value
      )
    ).vcov;
    if v_hc = 'HC1' then
      v_fit.covariance := ml._scaled(v_fit.covariance, v_fit.row_count / v_degrees);
    end if;
    if v_clustered then
      if v_part.cluster_count < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.cluster_count), v_design.source);
      end if;
      v_fit.cluster_count := v_part.cluster_count;
      v_fit.covariance := ml._scaled(v_fit.covariance,
        v_part.cluster_count / (v_part.cluster_count - 1.0) * (v_fit.row_count - 1) / v_degrees);
    end if;
    v_fits := v_fits || ml._tested(v_fit, case when v_linear then v_degrees end);
  end loop;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'coef, std_err, stats as %s, p_values, covariance as variance_covariance, %srow_count as num_rows_processed, '
        || 'skipped as num_missing_rows_skipped, failure',
      case when v_linear then 't_stats' else 'z_stats' end,
      case when v_clustered then 'cluster_count as num_clusters, ' else '' end
    ),
    format(
      $list$
      %L::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as clustervar, %L::text as grouping_cols,
      row_count as num_rows_processed, skipped as num_missing_rows_skipped, group_count as num_all_groups,
      failed_count as num_failed_groups, %L::text as weights, %L::text as offsets
      $list$,
      method, source_table, out_table, dependent_varname, independent_varname, clustervar, grouping_cols, weights,
      offsets
    )
  );
end;
$$;

comment on function ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text) is $$
Fits a model and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0; HC1 times
n / (n - k); HC2 and HC3 divide each by 1 - leverage or its square) or the sum of squared cluster
totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._sandwich_statement(ml.design, text, text, ml.fit[], text, float8[]),
  ml._sandwich_covariance(float8[], integer),
  ml._sandwich(text, text, text, text, text, text, text, integer, float8, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_sandwich.sql

--! Included ml/regression/_multinomial_source.sql
create or replace function ml._multinomial_source(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_carried constant text := ml._columns_of(settled, 'd', ', %s', '')
    || case when settled.clusters is not null then ', cluster' else '' end;
  v_source text;
begin
  v_source := format('(%s) as first', ml._layer(
    format('fit.nth, row.y%s, %s', replace(v_carried, ', ', ', row.'), (
      select string_agg(format('%s as eta%s', ml._linear_predictor(settled, format('fit.b%s_', c), 'row'), c), ', '
        order by c)
      from generate_series(1, v_count) as c
    )),
    format(
      '(select * from (%s) as row where complete) as row %s',
      ml._rows(settled),
      ml._model_of_group(settled, fits, ml._unknowns(settled), v_count)
    )
  ));
  -- the largest is subtracted before exp, so that nothing overflows
  v_source := format('(%s) as second', ml._layer(
    format('*, greatest(0, %s) as top', (
      select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c
    )),
    v_source
  ));
  v_source := format('(%s) as third', ml._layer(
    format(
      'nth, y%s, %s, top, exp(greatest(-top, -200)) as e0, %s',
      v_carried,
      (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c),
      (
        select string_agg(format('exp(greatest(eta%s - top, -200)) as e%s', c, c), ', ' order by c)
        from generate_series(1, v_count) as c
      )
    ),
    v_source
  ));
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y%s, %s, top, e0 + %s as total, %s',
      v_carried,
      (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ' + ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
  v_source := format('(%s) as fifth', ml._layer(
    format(
      'nth, y%s, case %s else 0 end - top - ln(total) as likelihood, %s',
      v_carried,
      (
        select string_agg(format('when y = %s then eta%s', category, c), ' ' order by c)
        from unnest(categories) with ordinality as list (category, c)
      ),
      (select string_agg(format('e%s / total as p%s', c, c), ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
  return format('(%s) as sixth', ml._layer(
    format(
      'nth, likelihood%s, %s, %s',
      v_carried,
      (
        select string_agg(
          format('case when y = %s then 1 - p%s else -p%s end as s%s', category, c, c, c),
          ', ' order by c
        )
        from unnest(categories) with ordinality as list (category, c)
      ),
      (select string_agg('p' || c, ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
end;
$$;

comment on function ml._multinomial_source(ml.design, integer[], ml.fit[]) is $$
Returns the text of the subquery with the rows that a multinomial logistic regression sums, named `sixth`.
It has the group's number, the log likelihood, the columns and, for each of the `categories` except the reference, the
probability (p1 …) and the score (s1 …) at the `beta` of the fits.
$$;

grant execute on function ml._multinomial_source(ml.design, integer[], ml.fit[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_multinomial_source.sql

--! Included ml/regression/_multinomial_fits.sql
create or replace function ml._multinomial_statement(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_factors constant text[] := array(
    select case when place = settled.intercept then '' else ' * d' || place end
    from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by nth
  );
  v_source text;
begin
  v_source := format('(%s) as seventh', ml._layer(
    format(
      'nth, likelihood%s, %s, %s',
      ml._columns_of(settled, 'd', ', %s', ''),
      (select string_agg('s' || c, ', ' order by c) from generate_series(1, v_count) as c),
      (
        select string_agg(
          format(
            case
              when a = b then 'p%1$s * (1 - p%1$s) as w%1$s_%2$s'
              else '-p%1$s * p%2$s as w%1$s_%2$s'
            end,
            a,
            b
          ),
          ', ' order by a, b
        )
        from generate_series(1, v_count) as a
        cross join generate_series(1, v_count) as b
        where b >= a
      )
    ),
    ml._multinomial_source(settled, categories, fits)
  ));
  return format(
    'select %s, true, count(*), array[sum(likelihood), %s, %s] from %s%s',
    case when settled.groups = '{}' then '''1''' else 'nth::text' end,
    (
      select string_agg(format('sum(s%s%s)', c, factor), ', ' order by c, nth)
      from generate_series(1, v_count) as c
      cross join unnest(v_factors) with ordinality as list (factor, nth)
    ),
    (
      select string_agg(format('sum(w%s_%s%s%s)', a, b, i.factor, j.factor), ', ' order by a, b, i.nth, j.nth)
      from generate_series(1, v_count) as a
      cross join generate_series(1, v_count) as b
      cross join unnest(v_factors) with ordinality as i (factor, nth)
      cross join unnest(v_factors) with ordinality as j (factor, nth)
      where b >= a
        and j.nth >= i.nth
    ),
    v_source,
    case when settled.groups = '{}' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._multinomial_statement(ml.design, integer[], ml.fit[]) is $$
Returns the text of the statement for one Newton step of multinomial logistic regression.
By group: the log likelihood, the score, and the upper triangles of the information by pairs of categories. `categories`
are all except the reference.
$$;

create or replace function ml._multinomial_information(sums float8[], size integer, categories integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant integer := size * categories;
  v_matrix float8[] := array_fill(0::float8, array[v_all, v_all]);
  v_at integer := 1 + v_all;
  v_row integer;
  v_column integer;
begin
  for a in 1..categories loop
    for b in a..categories loop
      v_row := (a - 1) * size;
      v_column := (b - 1) * size;
      for i in 1..size loop
        for j in i..size loop
          v_at := v_at + 1;
          v_matrix[v_row + i][v_column + j] := sums[v_at];
          v_matrix[v_row + j][v_column + i] := sums[v_at];
          v_matrix[v_column + j][v_row + i] := sums[v_at];
          v_matrix[v_column + i][v_row + j] := sums[v_at];
        end loop;
      end loop;
    end loop;
  end loop;
  return v_matrix;
end;
$$;

comment on function ml._multinomial_information(float8[], integer, integer) is $$
Returns the information of a multinomial model by category, then by unknown, from the sums of its statement.
$$;

create or replace function ml._multinomial_categories(
  settled ml.design,
  ref_category integer,
  out categories integer[],
  out group_keys text[],
  out counts integer[]
)
language plpgsql
as $$
declare
  v_part record;
  v_place integer;
begin
  categories := '{}';
  group_keys := '{}';
  counts := '{}';
  for v_part in
    select coalesce(part.key, '') as key, part.sums[1] as category
    from ml._sums(
      format(
        'select key, true, count(*), array[y] from (%s) as row where complete group by key, y',
        ml._rows(settled)
      ),
      settled.relation
    ) as part
    order by part.sums[1]
  loop
    if v_part.category <> round(v_part.category) or abs(v_part.category) > 2147483647 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which is not an integer',
          left(settled.y, 100),
          v_part.category
        ),
        'Number the categories 0, 1, 2, …'
      );
    end if;
    if not v_part.category::integer = any (categories) then
      categories := categories || v_part.category::integer;
      if cardinality(categories) > 100 then
        perform common.refuse(
          'CF008',
          format('the dependent variable "%s" has more than 100 categories', left(settled.y, 100)),
          'Combine rare categories, or use a regression for numbers.'
        );
      end if;
    end if;
    v_place := array_position(group_keys, v_part.key);
    if v_place is null then
      group_keys := group_keys || v_part.key;
      counts := counts || 1;
    else
      counts[v_place] := counts[v_place] + 1;
    end if;
  end loop;
  if categories <> '{}' and cardinality(categories) > 1 and not ref_category = any (categories) then
    perform common.refuse(
      'CF002',
      format('"%s" never holds the reference category %s', left(settled.y, 100), ref_category),
      format('Its categories are %s.', array_to_string(categories, ', '))
    );
  end if;
end;
$$;

comment on function ml._multinomial_categories(ml.design, integer) is $$
Returns the categories of a settled design in ascending order, and by group key the number of its categories.
Errors: CF001 (not an integer), CF002 (the reference category does not occur), CF008 (more than 100 categories).
$$;

create or replace function ml._multinomial_step(
  settled ml.design,
  iteration integer,
  max_iter integer,
  tolerance float8,
  sums float8[],
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_count constant integer := array_length(fit.beta, 1);
  v_all constant integer := v_size * v_count;
  v_solved record;
  v_at integer := 0;
  v_place integer;
  v_value float8;
  v_gain float8 := 0;
  v_farthest float8 := 0;
  v_column integer;
begin
  fit.iterations := iteration;
  if sums[1] < fit.log_likelihood - 1e-10 * abs(fit.log_likelihood) then
    state.halvings := state.halvings + 1;
    state.done := state.halvings > 30;
    for c in 1..v_count loop
      foreach v_place in array v_unknowns loop
        fit.beta[c][v_place] := (fit.beta[c][v_place] + state.previous[c][v_place]) / 2;
      end loop;
    end loop;
    return;
  end if;
  fit.log_likelihood := sums[1];
  state.halvings := 0;
  v_solved := ml._scaled_inverse(
    ml._multinomial_information(sums, v_size, v_count), case when iteration = 1 then 1e-11 else 1e-14 end
  );
  if v_solved.dependent is not null then
    v_column := v_unknowns[(v_solved.dependent - 1) % v_size + 1];
    state.done := true;
    fit.failure := case
      when iteration = 1 then
        format('column %s is a linear combination of the columns before it', ml._label(settled, v_column))
      else ml._separation(settled, v_column)
    end;
    return;
  end if;
  fit.inverse := v_solved.inverse;
  state.previous := fit.beta;
  for c in 1..v_count loop
    foreach v_place in array v_unknowns loop
      v_at := v_at + 1;
      v_value := 0;
      for j in 1..v_all loop
        v_value := v_value + fit.inverse[v_at][j] * sums[1 + j];
      end loop;
      fit.beta[c][v_place] := fit.beta[c][v_place] + v_value;
      v_gain := v_gain + v_value * sums[1 + v_at];
      if v_place is distinct from settled.intercept and abs(v_value) * settled.spread[v_place] > v_farthest then
        v_farthest := abs(v_value) * settled.spread[v_place];
        v_column := v_place;
      end if;
    end loop;
  end loop;
  if v_farthest > 0.3
    and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15)
  then
    state.done := true;
    fit.failure := ml._separation(settled, v_column);
  elsif v_gain <= (tolerance / 100) ^ 2 then
    state.done := true;
    fit.converged := true;
  end if;
end;
$$;

comment on function ml._multinomial_step(
  ml.design, integer, integer, float8, float8[], ml.fit, ml.fit_step
) is $$
Returns the fit of one group after a Newton step from the sums of ml._multinomial_statement.
$$;

create or replace function ml._multinomial_fits(
  design ml.design,
  ref_category integer,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out categories integer[],
  out fits ml.fit[]
)
language plpgsql
as $$
declare
  v_first constant record := ml._settled(design);
  v_found record;
  v_count integer;
  v_all integer;
  v_group ml.design_group;
  v_fit ml.fit;
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_present integer;
  v_living integer[];
  v_part record;
  v_stepped record;
begin
  settled := v_first.settled;
  fits := '{}';
  v_found := ml._multinomial_categories(settled, ref_category);
  categories := array_remove(v_found.categories, ref_category);
  v_count := cardinality(categories);
  v_all := cardinality(ml._unknowns(settled)) * v_count;
  if v_all > 120 then
    perform common.refuse(
      'CF008',
      format('%s coefficients: %s categories of %s columns', v_all, v_count, cardinality(ml._unknowns(settled))),
      'At most 120 can be fitted; combine rare categories.'
    );
  end if;
  foreach v_group in array v_first.groups loop
    v_present := v_found.counts[array_position(v_found.group_keys, v_group.group_key)];
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.beta := array_fill(0::float8, array[v_count, design.width]);
    v_fit.log_likelihood := '-Infinity';
    v_fit.iterations := 0;
    v_fit.converged := false;
    v_fit.failure := coalesce(v_first.failure, case
      when v_group.row_count = 0 then 'no row without a null'
      when cardinality(v_found.categories) < 2 then 'it holds one class only, ' || v_found.categories[1]
      when v_present < cardinality(v_found.categories) then
        format('it holds %s of the %s categories', v_present, cardinality(v_found.categories))
      when v_group.row_count < v_all then
        format('%s complete rows for %s coefficients', v_group.row_count, v_all)
    end);
    v_state := null;
    v_state.done := v_fit.failure is not null;
    v_state.previous := v_fit.beta;
    v_state.halvings := 0;
    fits := fits || v_fit;
    v_states := v_states || v_state;
  end loop;

  for iteration in 1..max_iter loop
    v_living := array(
      select state.ordinality
      from unnest(v_states) with ordinality as state
      where not state.done
      order by state.ordinality
    );
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as place, part.sums
      from ml._sums(
        ml._multinomial_statement(settled, categories, array(
          select fits[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
        )),
        design.relation
      ) as part
    loop
      v_stepped := ml._multinomial_step(
        settled, iteration, max_iter, tolerance, v_part.sums, fits[v_part.place], v_states[v_part.place]
      );
      fits[v_part.place] := v_stepped.fit;
      v_states[v_part.place] := v_stepped.state;
    end loop;
  end loop;
end;
$$;

comment on function ml._multinomial_fits(ml.design, integer, integer, float8) is $$
Fits a multinomial logistic model to each group by Newton's method.
Returns the settled design, the categories without the reference, and one fit per group, whose `beta` has one row per
category. One scan per iteration for all groups.
$$;

grant execute on function
  ml._multinomial_statement(ml.design, integer[], ml.fit[]),
  ml._multinomial_information(float8[], integer, integer),
  ml._multinomial_categories(ml.design, integer),
  ml._multinomial_step(ml.design, integer, integer, float8, float8[], ml.fit, ml.fit_step),
  ml._multinomial_fits(ml.design, integer, integer, float8)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_multinomial_fits.sql

--! Included ml/regression/_multinomial_estimates.sql
create or replace function ml._multinomial_estimates(
  settled ml.design,
  categories integer[],
  fit ml.fit,
  covariance float8[]
)
returns setof ml.fit
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_fit ml.fit := fit;
begin
  for a in 1..v_count loop
    v_fit.category := categories[a];
    v_fit.beta := array(
      select fit.beta[a][place] from generate_series(1, settled.width) as place order by place
    );
    v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
    v_fit.covariance := array_fill(0::float8, array[settled.width, settled.width]);
    for i in 1..settled.width loop
      v_fit.covariance[i][i] := covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
    end loop;
    return next ml._tested(v_fit, null);
  end loop;
end;
$$;

comment on function ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[]) is $$
Returns one fit per category from the fit of a group, with coefficients in the units of the caller, and their tests.
`covariance` is that of ml._multinomial_covariance; only the variances of a category are in `ml.fit.covariance`.
$$;

grant execute on function ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_multinomial_estimates.sql

--! Included ml/regression/_multinomial_covariance.sql
create or replace function ml._transformed(covariance float8[], design ml.design)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := design.width;
  v_intercept constant integer := design.intercept;
  v_value constant float8 := design.intercept_value;
  v_scale constant float8[] := design.scale;
  v_shift constant float8[] := design.shift;
  v_half float8[] := covariance;
  v_result float8[] := covariance;
  v_sum float8;
begin
  for j in 1..v_width loop
    for i in 1..v_width loop
      v_half[i][j] := covariance[i][j] * v_scale[i];
    end loop;
    if v_intercept is not null then
      v_sum := covariance[v_intercept][j];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * covariance[m][j];
        end if;
      end loop;
      v_half[v_intercept][j] := v_sum / v_value;
    end if;
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_result[i][j] := v_half[i][j] * v_scale[j];
    end loop;
    if v_intercept is not null then
      v_sum := v_half[i][v_intercept];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * v_half[i][m];
        end if;
      end loop;
      v_result[i][v_intercept] := v_sum / v_value;
    end if;
  end loop;
  return v_result;
end;
$$;

comment on function ml._transformed(float8[], ml.design) is $$
Returns a block of covariances in the caller's units, from those of the centred and scaled columns.
The block is not necessarily symmetric.
$$;

create or replace function ml._multinomial_covariance(inverse float8[], settled ml.design, categories integer)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := settled.width;
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_block float8[];
  v_covariance float8[] := array_fill(0::float8, array[categories * v_width, categories * v_width]);
begin
  -- T V T' for every pair of categories, with the same T for all
  for a in 1..categories loop
    for b in 1..categories loop
      v_block := ml._transformed(
        ml._spread(
          inverse[(a - 1) * v_size + 1:a * v_size][(b - 1) * v_size + 1:b * v_size], v_unknowns, v_width
        ),
        settled
      );
      for i in 1..v_width loop
        for j in 1..v_width loop
          -- MADlib's order: by column, then by category
          v_covariance[(i - 1) * categories + a][(j - 1) * categories + b] := v_block[i][j];
        end loop;
      end loop;
    end loop;
  end loop;
  return v_covariance;
end;
$$;

comment on function ml._multinomial_covariance(float8[], ml.design, integer) is $$
Returns the covariance of a multinomial model in the caller's units, by column, then by category.
`inverse` is that of the information for the columns as they are summed, by category; `categories` is their number
without the reference.
$$;

grant execute on function
  ml._transformed(float8[], ml.design),
  ml._multinomial_covariance(float8[], ml.design, integer)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_multinomial_covariance.sql

--! Included ml/regression/mlogregr_train.sql
create or replace function ml.mlogregr_train(
  source_table text,
  output_table text,
  dependent_varname text,
  independent_varname text,
  ref_category integer default 0,
  optimizer_params text default null,
  grouping_cols text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(output_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, max_num_iterations, optimizer, precision, tolerance}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(
    v_options, case when v_options ? 'max_iter' then 'max_iter' else 'max_num_iterations' end, 20, 1, 100000
  );
  v_tolerance constant float8 := ml._number(
    v_options, case when v_options ? 'precision' then 'precision' else 'tolerance' end, 1e-4, 0, 1
  );
  v_design ml.design;
  v_fitted record;
  v_fit ml.fit;
  v_fits ml.fit[] := '{}';
  v_count integer;
  v_covariance float8[];
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_fitted := ml._multinomial_fits(v_design, ref_category, v_max_iter, v_tolerance);
  v_count := cardinality(v_fitted.categories);
  foreach v_fit in array v_fitted.fits loop
    if v_fit.failure is null then
      v_covariance := ml._multinomial_covariance(v_fit.inverse, v_fitted.settled, v_count);
      v_fit.condition_no := ml._condition_number((ml._scaled_inverse(v_covariance, 1e-15)).inverse, v_covariance) ^ 2;
      v_fits := v_fits || array(
        select fit from ml._multinomial_estimates(v_fitted.settled, v_fitted.categories, v_fit, v_covariance) as fit
      );
    else
      v_fit.log_likelihood := null;
      v_fit.iterations := null;
      v_fit.converged := null;
      v_fits := v_fits || v_fit;
    end if;
  end loop;
  perform ml._warn_unconverged(v_fitted.fits, 'mlogregr_train', v_max_iter, 'max_iter in optimizer_params');
  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'category, %L::integer as ref_category, coef, log_likelihood, std_err, stats as z_stats, p_values, '
        || 'ml._odds_ratios(coef) as odds_ratios, condition_no, iterations as num_iterations, '
        || 'row_count as num_rows_processed, skipped as num_missing_rows_skipped, converged, failure',
      ref_category
    ),
    format(
      $list$
      'mlogregr'::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as optimizer_params, %L::integer as ref_category,
      %L::integer as num_categories, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      %L::text as grouping_cols, group_count as num_all_groups, failed_count as num_failed_groups,
      %L::float8[] as variance_covariance, %L::float8[] as coef
      $list$,
      source_table, output_table, dependent_varname, independent_varname,
      format('optimizer=irls, max_iter=%s, tolerance=%s', v_max_iter, v_tolerance), ref_category, v_count + 1,
      grouping_cols,
      case when grouping_cols is null then v_covariance end,
      case when grouping_cols is null then
        array(select fit.coef from unnest(v_fits) with ordinality as fit where fit.coef is not null order by ordinality)
      end
    )
  );
end;
$$;

comment on function ml.mlogregr_train(text, text, text, text, integer, text, text) is $$
@behavior -*
Trains a multinomial logistic regression, as MADlib: the log odds of each category against `ref_category`.
`dependent_varname` is an integer; `independent_varname` an array, with the 1 of the intercept. `optimizer_params`:
max_iter (20), tolerance or precision (1e-4, in hundredths of a standard error). `grouping_cols`, which MADlib does not
have, trains one model per group.
Writes `output_table`, one row per category except the reference: the grouping columns, category, ref_category, coef,
log_likelihood, std_err, z_stats, p_values, odds_ratios, condition_no, num_iterations, num_rows_processed,
num_missing_rows_skipped, converged, failure; and `<output_table>_summary` with variance_covariance (by column, then
category; without groups).
Errors: CF001 (not integers), CF002 (unknown table, column or reference), CF003, CF004 (no rows, one class), CF005,
CF007 (collinear; separated), CF008 (more than 120 coefficients).
Source: Agresti, Categorical Data Analysis, 3rd edition, chapter 8.
$$;

grant execute on function ml.mlogregr_train(text, text, text, text, integer, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/mlogregr_train.sql

--! Included ml/regression/_multinomial_sandwich.sql
create or replace function ml._multinomial_meat(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_clustered constant boolean := settled.clusters is not null;
  -- the products of scores and columns, by category, then by column
  v_terms constant text[] := array(
    select format('s%s%s', c, case when place = settled.intercept then '' else ' * d' || place end)
    from generate_subscripts(categories, 1) as c
    cross join unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by c, nth
  );
  v_source text;
begin
  v_source := format('(%s) as seventh', ml._layer(
    format('nth%s, %s', case when v_clustered then ', cluster' else '' end, (
      select string_agg(format('%s as t%s', term, nth), ', ' order by nth)
      from unnest(v_terms) with ordinality as list (term, nth)
    )),
    ml._multinomial_source(settled, categories, fits)
  ));
  if v_clustered then
    v_source := format('(select nth, %s from %s group by nth, cluster) as clustered', (
      select string_agg(format('sum(t%s) as t%s', nth, nth), ', ' order by nth)
      from generate_subscripts(v_terms, 1) as nth
    ), v_source);
  end if;
  return format(
    'select nth::text, true, count(*), array[%s] from %s group by nth',
    (
      select string_agg(format('sum(t%s * t%s)', i, j), ', ' order by i, j)
      from generate_subscripts(v_terms, 1) as i
      cross join generate_subscripts(v_terms, 1) as j
      where j >= i
    ),
    v_source
  );
end;
$$;

comment on function ml._multinomial_meat(ml.design, integer[], ml.fit[]) is $$
Returns the text of the statement that sums the products of the scores of a multinomial model by group.
Its sums are the upper triangle, by category, then by column; its count is the number of rows, or of clusters when the
design has them.
$$;

create or replace function ml._multinomial_sandwich(
  method text,
  source_table text,
  out_table text,
  dependent_varname text,
  independent_varname text,
  clustervar text,
  ref_category integer,
  grouping_cols text,
  optimizer_params text
)
returns void
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_output constant text := common.output_table(out_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, max_num_iterations, optimizer, precision, tolerance}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(
    v_options, case when v_options ? 'max_iter' then 'max_iter' else 'max_num_iterations' end, 20, 1, 100000
  );
  v_tolerance constant float8 := ml._number(
    v_options, case when v_options ? 'precision' then 'precision' else 'tolerance' end, 1e-4, 0, 1
  );
  v_ref_category constant integer := coalesce(ref_category, 0);
  v_clustered constant boolean := method like 'clustered%';
  v_design ml.design;
  v_settled ml.design;
  v_fitted record;
  v_categories integer[];
  v_count integer;
  v_good ml.fit[];
  v_fit ml.fit;
  v_fits ml.fit[];
  v_part record;
  v_covariance float8[];
begin
  if lower(coalesce(v_options ->> 'optimizer', 'irls')) not in ('irls', 'newton') then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use irls (the same as newton).');
  end if;
  v_design := ml._design(source_table, dependent_varname, independent_varname, grouping_cols);
  v_fitted := ml._multinomial_fits(v_design, v_ref_category, v_max_iter, v_tolerance);
  perform ml._check_fits(v_fitted.fits, v_design);
  v_settled := v_fitted.settled;
  v_categories := v_fitted.categories;
  v_count := cardinality(v_categories);
  if v_clustered then
    if nullif(btrim(clustervar), '') is null then
      perform common.refuse('CF001', 'no cluster column is named',
        'Name the columns whose values identify a cluster, such as ''course_id''.');
    end if;
    v_settled.clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_good := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is null);
  v_fits := array(select fit from unnest(v_fitted.fits) as fit where fit.failure is not null);

  for v_part in
    select part.key::int as nth, part.row_count as cluster_count, part.sums
    from ml._sums(ml._multinomial_meat(v_settled, v_categories, v_good), v_design.relation) as part
  loop
    v_fit := v_good[v_part.nth];
    v_covariance := ml._multinomial_covariance(
      ml._float8_product(
        ml._float8_product(v_fit.inverse, ml._symmetric_matrix(v_part.sums, array_length(v_fit.inverse, 1))),
        v_fit.inverse
      ),
      v_settled,
      v_count
    );
    if v_clustered then
      if v_part.cluster_count < 2 then
        perform ml._fit_failed(format('%s rows for at least 2 clusters', v_part.cluster_count), v_design.source);
      end if;
      v_fit.cluster_count := v_part.cluster_count;
      v_covariance := ml._scaled(v_covariance, v_part.cluster_count / (v_part.cluster_count - 1.0)
        * (v_fit.row_count - 1)::float8 / nullif(v_fit.row_count - v_design.width * v_count, 0));
    end if;
    v_fits := v_fits || array(
      select fit from ml._multinomial_estimates(v_settled, v_categories, v_fit, v_covariance) as fit
    );
  end loop;

  perform ml._publish(
    v_output, v_design, v_fits,
    format(
      'category, %L::integer as ref_category, coef, std_err, stats as z_stats, p_values, %srow_count as '
        || 'num_rows_processed, skipped as num_missing_rows_skipped, failure',
      v_ref_category,
      case when v_clustered then 'cluster_count as num_clusters, ' else '' end
    ),
    format(
      $list$
      %L::text as method, %L::text as source_table, %L::text as out_table, %L::text as dependent_varname,
      %L::text as independent_varname, %L::text as clustervar, %L::integer as ref_category,
      %L::text as grouping_cols, row_count as num_rows_processed, skipped as num_missing_rows_skipped,
      group_count as num_all_groups, failed_count as num_failed_groups
      $list$,
      method, source_table, out_table, dependent_varname, independent_varname, clustervar, v_ref_category,
      grouping_cols
    )
  );
end;
$$;

comment on function ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text) is $$
Fits a multinomial logistic regression and writes its coefficients with sandwich standard errors.
The covariance is B M B, where B is the inverse of the information and M the sum of squared scores (HC0), or that of
squared cluster totals times m / (m - 1) (n - 1) / (n - k).
$$;

grant execute on function
  ml._multinomial_meat(ml.design, integer[], ml.fit[]),
  ml._multinomial_sandwich(text, text, text, text, text, text, integer, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_multinomial_sandwich.sql

--! Included ml/regression/coxph_train.sql
/*
 * The partial likelihood needs, at each time of an event, sums over all rows still at risk, which are running sums
 * backwards in time. An iteration is one statement: sums by time (in parallel), window sums over the times, sums over
 * those.
 */
create or replace function ml._cox_statement(design ml.design, beta float8[], efron boolean)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := design.active;
  v_size constant integer := cardinality(v_active);
  v_columns text := (
    select string_agg(', d' || place, '' order by nth)
    from unnest(v_active) with ordinality as list (place, nth)
  );
  v_moments text[];
  v_source text;
  v_names text[];
begin
  v_source := format('(%s) as first', ml._layer(
    format('key, y, status%s, %s as eta', v_columns, (
      select string_agg(format('%L::float8 * d%s', beta[place], place), ' + ' order by nth)
      from unnest(v_active) with ordinality as list (place, nth)
    )),
    format('(select * from (%s) as row where complete) as row', ml._rows(design))
  ));
  v_source := format('(%s) as second', ml._layer(
    format('key, y, status%s, eta, exp(least(greatest(eta, -200), 200)) as risk', v_columns),
    v_source
  ));
  v_names := array['r0']
    || array(select 'r' || i from generate_series(1, v_size) as i order by i)
    || array(
      select format('r%s_%s', i, j)
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
      order by i, j
    );
  v_moments := array['risk']
    || array(
      select 'risk * d' || place
      from unnest(v_active) with ordinality as list (place, nth)
      order by nth
    )
    || array(
      select format('risk * d%s * d%s', a.place, b.place)
      from unnest(v_active) with ordinality as a (place, nth)
      cross join unnest(v_active) with ordinality as b (place, nth)
      where b.nth >= a.nth
      order by a.nth, b.nth
    );
  v_source := format(
    'select key, y, sum(status) as events, sum(status * eta) as eta, %s, %s%s from %s group by key, y',
    (
      select string_agg(format('sum(status * d%s) as x%s', place, nth), ', ' order by nth)
      from unnest(v_active) with ordinality as list (place, nth)
    ),
    (
      select string_agg(format('sum(%s) as %s', moment, name), ', ' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)
    ),
    case when efron then (
      select string_agg(format(', sum(status * %s) as e%s', moment, name), '' order by nth)
      from unnest(v_moments, v_names) with ordinality as list (moment, name, nth)
    ) else '' end,
    v_source
  );
  v_source := format(
    $statement$
    select key, y, events, eta, %s, %s%s
    from (%s) as by_time
    window later as (partition by key order by y desc rows unbounded preceding)
    $statement$,
    (select string_agg('x' || i, ', ' order by i) from generate_series(1, v_size) as i),
    (
      select string_agg(format('sum(%s) over later as %s', name, name), ', ' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)
    ),
    case when efron then (
      select string_agg(', e' || name, '' order by nth)
      from unnest(v_names) with ordinality as list (name, nth)
    ) else '' end,
    v_source
  );
  if efron then
    -- of d events at the same time, the i-th has i / d of their own risk removed (Efron 1977)
    v_source := format(
      $statement$
      select
        key,
        y,
        case when nth = 0 then events else 0 end as seen,
        case when nth = 0 then eta else 0 end as eta,
        1::float8 as events, %s, %s
      from (%s) as at_risk
      cross join lateral generate_series(0, events::int - 1) as nth
      where events > 0
      $statement$,
      (
        select string_agg(format('case when nth = 0 then x%s else 0 end as x%s', i, i), ', ' order by i)
        from generate_series(1, v_size) as i
      ),
      (
        select string_agg(format('%s - nth / events * e%s as %s', name, name, name), ', ' order by nth)
        from unnest(v_names) with ordinality as list (name, nth)
      ),
      v_source
    );
  else
    v_source := format('select *, events as seen from (%s) as at_risk where events > 0', v_source);
  end if;
  return format(
    'select null::text, true, sum(seen)::bigint, array[sum(eta - events * ln(r0)), %s, %s] from (%s) as event_time',
    (
      select string_agg(format('sum(x%s - events * r%s / r0)', i, i), ', ' order by i)
      from generate_series(1, v_size) as i
    ),
    (
      select string_agg(
        format('sum(events * (r%s_%s / r0 - (r%s / r0) * (r%s / r0)))', i, j, i, j),
        ', ' order by i, j
      )
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
    ),
    v_source
  );
end;
$$;

comment on function ml._cox_statement(ml.design, float8[], boolean) is $$
Returns the text of the statement for one Newton step of Cox's partial likelihood.
Its result: number of events, log likelihood, score, and the upper triangle of the information, over all strata (the
design's groups). Ties by Breslow's or Efron's method.
$$;

create or replace function ml._cox_fit(
  settled ml.design,
  efron boolean,
  max_iter integer,
  tolerance float8,
  out fit ml.fit
)
language plpgsql
as $$
declare
  v_monotone constant text := 'column %s orders the events perfectly, so its coefficient has no finite value';
  v_active constant integer[] := settled.active;
  v_size constant integer := cardinality(v_active);
  v_before float8[];
  v_part record;
  v_halvings integer := 0;
  v_solved record;
  v_gain float8;
  v_value float8;
  v_farthest float8;
  v_column integer;
begin
  fit.beta := array_fill(0::float8, array[settled.width]);
  fit.log_likelihood := '-Infinity';
  fit.iterations := 0;
  fit.converged := false;
  v_before := fit.beta;
  for iteration in 1..max_iter loop
    select part.row_count, part.sums
    into v_part
    from ml._sums(
      ml._cox_statement(settled, fit.beta, efron),
      settled.relation
    ) as part;
    if coalesce(v_part.row_count, 0) = 0 then
      perform ml._fit_failed(
        'no row without a null has an event: it holds one class only, censored',
        settled.source
      );
    end if;
    fit.iterations := iteration;
    fit.event_count := v_part.row_count;
    if v_part.sums[1] < fit.log_likelihood - 1e-10 * abs(fit.log_likelihood) then
      v_halvings := v_halvings + 1;
      exit when v_halvings > 30;
      for j in 1..settled.width loop
        fit.beta[j] := (fit.beta[j] + v_before[j]) / 2;
      end loop;
      continue;
    end if;
    fit.log_likelihood := v_part.sums[1];
    v_halvings := 0;
    fit.information := ml._symmetric_matrix(v_part.sums[2 + v_size:], v_size);
    v_solved := ml._scaled_inverse(fit.information, case when iteration = 1 then 1e-11 else 1e-14 end);
    if v_solved.dependent is not null then
      perform ml._fit_failed(
        format(
          case when iteration = 1 then 'column %s is a linear combination of the columns before it' else v_monotone end,
          ml._label(settled, v_active[v_solved.dependent])
        ),
        settled.source
      );
    end if;
    fit.inverse := v_solved.inverse;
    v_gain := 0;
    v_farthest := 0;
    v_before := fit.beta;
    for i in 1..v_size loop
      v_value := 0;
      for j in 1..v_size loop
        v_value := v_value + fit.inverse[i][j] * v_part.sums[1 + j];
      end loop;
      fit.beta[v_active[i]] := fit.beta[v_active[i]] + v_value;
      v_gain := v_gain + v_value * v_part.sums[1 + i];
      if abs(v_value) * settled.spread[v_active[i]] > v_farthest then
        v_farthest := abs(v_value) * settled.spread[v_active[i]];
        v_column := v_active[i];
      end if;
    end loop;
    -- the likelihood does not increase while a coefficient still changes: it would grow without bound
    if v_farthest > 0.3 and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain)) then
      perform ml._fit_failed(format(v_monotone, ml._label(settled, v_column)), settled.source);
    elsif v_gain <= greatest(tolerance * tolerance, 1e-20) or v_gain <= 1e-24 * abs(fit.log_likelihood) then
      fit.converged := true;
      exit;
    end if;
  end loop;
  if not fit.converged and v_farthest > 0.3 and fit.iterations >= 15 then
    perform ml._fit_failed(format(v_monotone, ml._label(settled, v_column)), settled.source);
  elsif not fit.converged then
    raise warning 'ml.coxph_train: no convergence after % iterations', max_iter
      using hint = 'Give a larger max_iter in optimizer_params.';
  end if;
end;
$$;

comment on function ml._cox_fit(ml.design, boolean, integer, float8) is $$
Returns the maximum of Cox's partial likelihood for a settled design, by Newton's method.
`beta`, `information` and `inverse` are for the columns as they are summed; the last two for the active ones.
Errors: CF004 (no events), CF007 (collinear columns, a column that orders the events perfectly).
$$;

create or replace function ml._cox_unscaled(fit ml.fit, settled ml.design)
returns ml.fit
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := settled.active;
  v_fit ml.fit := fit;
  v_product float8;
begin
  v_fit.coef := array_fill(0::float8, array[cardinality(v_active)]);
  v_fit.covariance := fit.inverse;
  for i in 1..cardinality(v_active) loop
    v_fit.coef[i] := fit.beta[v_active[i]] * settled.scale[v_active[i]];
    for j in 1..cardinality(v_active) loop
      v_product := settled.scale[v_active[i]] * settled.scale[v_active[j]];
      v_fit.information[i][j] := fit.information[i][j] / v_product;
      v_fit.covariance[i][j] := fit.inverse[i][j] * v_product;
    end loop;
  end loop;
  return ml._tested(v_fit, null);
end;
$$;

comment on function ml._cox_unscaled(ml.fit, ml.design) is $$
Returns a fit of ml._cox_fit with coefficients, information and covariance in the units of the caller, and their tests.
$$;

create or replace function ml.coxph_train(
  source_table text,
  output_table text,
  dependent_variable text,
  independent_variable text,
  right_censoring_status text default 'true',
  strata text default null,
  optimizer_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output text := common.output_table(output_table, array['_summary']);
  v_options constant jsonb := ml._options(
    optimizer_params,
    '{max_iter, optimizer, tolerance, ties, array_agg_size, sample_size}',
    'optimizer_params'
  );
  v_max_iter constant integer := ml._number(v_options, 'max_iter', 100, 1, 100000);
  v_tolerance constant float8 := ml._number(v_options, 'tolerance', 1e-8, 0, 1);
  v_ties constant text := lower(coalesce(v_options ->> 'ties', 'breslow'));
  v_status text := coalesce(nullif(btrim(right_censoring_status), ''), 'true');
  v_design ml.design;
  v_first record;
  v_settled ml.design;
  v_fit ml.fit;
  v_means float8[];
begin
  if v_ties not in ('breslow', 'efron') then
    perform common.refuse('CF001', format('there is no method "%s" for ties', left(v_options ->> 'ties', 100)),
      'Give ties=breslow or ties=efron.');
  elsif lower(coalesce(v_options ->> 'optimizer', 'newton')) <> 'newton' then
    perform common.refuse('CF001', format('there is no optimizer "%s"', left(v_options ->> 'optimizer', 100)),
      'Use newton.');
  end if;
  -- an intercept cancels in the partial likelihood: it is added so that the columns are centred, and has no coefficient
  v_design := (ml._elastic_net_design(source_table, dependent_variable, independent_variable, strata, null)).design;
  if common.expression_type(v_status, v_design.relation, 'right censoring status')
    not in ('boolean'::regtype, 'integer'::regtype, 'smallint'::regtype, 'bigint'::regtype)
  then
    perform common.refuse('CF001', format('the right censoring status "%s" is not a boolean', left(v_status, 100)),
      'Give a boolean or 0 and 1: true where the event was observed, false where the row is censored.');
  end if;
  v_design.status := format('(%s)::boolean', common.expression(v_status, v_design.relation));
  v_first := ml._settled(v_design);
  if v_first.failure is not null then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;
  v_settled := v_first.settled;
  v_fit := ml._cox_unscaled(ml._cox_fit(v_settled, v_ties = 'efron', v_max_iter, v_tolerance), v_settled);
  -- the means on which predictions are centred
  v_means := (
    select array_agg(
      v_settled.shift[v_settled.active[nth]] + mean / v_settled.scale[v_settled.active[nth]] order by nth
    )
    from ml._sums(
      format(
        'select null::text, true, count(*), array[%s] from (%s) as row where complete',
        ml._columns_of(v_settled, 'd', 'avg(%s)'),
        ml._rows(v_settled)
      ),
      v_design.relation
    ) as part
    cross join lateral unnest(part.sums) with ordinality as list (mean, nth)
  );
  -- the groups of the design are the strata of one model
  v_design.groups := '{}';
  perform ml._publish(
    v_output, v_design, array[v_fit],
    'coef, log_likelihood as loglikelihood, std_err, stats as z_stats, p_values, information as hessian, '
      || 'iterations as num_iterations, event_count as num_events, converged',
    format(
      $list$
      %L::text as source_table, %L::text as dependent_variable, %L::text as independent_variable,
      %L::text as right_censoring_status, %L::text as strata, %L::text as ties, %L::float8[] as means,
      %L::bigint as num_processed, %L::bigint as num_missing_rows_skipped
      $list$,
      source_table, dependent_variable, independent_variable, right_censoring_status, strata, v_ties, v_means,
      (select sum(part.row_count) from unnest(v_first.groups) as part),
      (select sum(part.skipped) from unnest(v_first.groups) as part)
    )
  );
end;
$$;

comment on function ml.coxph_train(text, text, text, text, text, text, text) is $$
@behavior -*
Trains Cox's proportional hazards model, as MADlib: the effect of columns on the hazard of an event.
`dependent_variable` is the time of the event or of censoring; `independent_variable` an array without a constant, which
would cancel; `right_censoring_status` is true where the event was observed; each combination of the `strata` columns
has its own baseline hazard. `optimizer_params`: max_iter (100), tolerance (1e-8, in standard errors), ties (breslow, as
MADlib, or efron, as R).
Writes `output_table`: coef, loglikelihood (partial), std_err, z_stats, p_values, hessian, num_iterations, num_events,
converged;
and `<output_table>_summary`. Predict with ml.coxph_predict.
Rows with a null are skipped and counted. Errors: CF001, CF002, CF003, CF004 (no rows, no events), CF005, CF007
(constant, collinear, monotone: names the column), CF008.
Source: Cox, J. R. Stat. Soc. B 34, 1972; ties by Breslow 1974 and Efron, J. Am. Stat. Assoc. 72, 1977.
$$;

grant execute on function
  ml._cox_statement(ml.design, float8[], boolean),
  ml._cox_fit(ml.design, boolean, integer, float8),
  ml._cox_unscaled(ml.fit, ml.design),
  ml.coxph_train(text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/coxph_train.sql

--! Included ml/regression/_cox_model.sql
create or replace function ml._cox_model(
  model_table text,
  clustervar text,
  out settled ml.design,
  out beta float8[],
  out scale float8[],
  out coef float8[],
  out loglikelihood float8,
  out std_err float8[],
  out hessian float8[],
  out source_table text,
  out dependent_variable text,
  out independent_variable text
)
language plpgsql
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_strata text;
  v_status text;
  v_ties text;
  v_design ml.design;
  v_first record;
begin
  begin
    execute format(
      'select model.coef, model.loglikelihood, model.std_err, model.hessian, summary.source_table,
         summary.dependent_variable, summary.independent_variable,
         coalesce(nullif(btrim(summary.right_censoring_status), ''''), ''true''), summary.strata, summary.ties
       from %s as summary, %s as model',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into coef, loglikelihood, std_err, hessian, source_table, dependent_variable, independent_variable,
      v_status, v_strata, v_ties;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.coxph_train', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  end;
  if coef is null then
    perform common.refuse('CF004', format('"%s" has no row', left(model_table, 100)),
      'Give the output table of ml.coxph_train.');
  elsif v_ties <> 'breslow' then
    perform common.refuse('CF001', format('the model was trained with ties=%s', left(v_ties, 100)),
      'Train with ties=breslow, whose residuals are defined for each row.');
  end if;
  v_design := (
    ml._elastic_net_design(source_table, dependent_variable, independent_variable, v_strata, null)
  ).design;
  perform common.expression_type(v_status, v_design.relation, 'right censoring status');
  v_design.status := format('(%s)::boolean', v_status);
  if clustervar is not null then
    v_design.clusters := common.column_names(v_design.relation, clustervar, 'cluster columns');
  end if;
  v_first := ml._settled(v_design);
  if v_first.failure is not null then
    perform ml._fit_failed(v_first.failure, v_design.source);
  end if;
  settled := v_first.settled;
  scale := array(
    select settled.scale[place] from unnest(settled.active) with ordinality as list (place, nth) order by nth
  );
  if cardinality(scale) <> cardinality(coef) then
    perform common.refuse('CF010', format('the model has %s coefficients, "%s" now %s columns', cardinality(coef),
      v_design.source, cardinality(scale)), 'Train it again.');
  end if;
  beta := array_fill(0::float8, array[settled.width]);
  for i in 1..cardinality(coef) loop
    beta[settled.active[i]] := coef[i] / scale[i];
  end loop;
end;
$$;

comment on function ml._cox_model(text, text) is $$
Returns a model of `ml.coxph_train` with the design of its rows, for statistics of its residuals.
`beta` is by position, for the columns as they are summed, which are those of the caller times `scale`. `clustervar`
adds the clusters to the design.
Errors: CF001 (not such a model, another method for ties), CF002, CF004, CF005, CF010 (other columns).
$$;

grant execute on function ml._cox_model(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_cox_model.sql

--! Included ml/regression/_cox_residuals.sql
create or replace function ml._cox_residuals(settled ml.design, beta float8[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := settled.active;
  v_columns constant text := (
    select string_agg(format(', d%s as x%s', place, nth), '' order by nth)
    from unnest(v_active) with ordinality as list (place, nth)
  );
  v_places constant integer[] := array(select nth from generate_subscripts(v_active, 1) as nth order by nth);
  v_rows text;
begin
  v_rows := format('(%s) as scored', ml._layer(
    format('coalesce(key, '''') as key, y, status%s%s, exp(least(greatest(%s, -200), 200)) as risk',
      case when settled.clusters is not null then ', cluster' else '' end, v_columns,
      (
        select string_agg(format('%L::float8 * d%s', beta[place], place), ' + ' order by nth)
        from unnest(v_active) with ordinality as list (place, nth)
      )),
    format('(select * from (%s) as row where complete) as row', ml._rows(settled))
  ));
  return format(
    $statement$
    select scored.key, scored.y, scored.status%1$s, scored.risk, passed.hazard, %2$s, %3$s, %4$s
    from %5$s
    join (
      select key, y, s0, %6$s,
        sum(events / s0) over passed as hazard, %7$s
      from (
        select key, y, events, sum(s0) over later as s0, %8$s
        from (
          select key, y, sum(status) as events, sum(risk) as s0, %9$s
          from %5$s
          group by key, y
        ) as by_time
        window later as (partition by key order by y desc rows unbounded preceding)
      ) as at_risk
      window passed as (partition by key order by y rows unbounded preceding)
    ) as passed using (key, y)
    $statement$,
    case when settled.clusters is not null then ', scored.cluster' else '' end,
    (select string_agg('scored.x' || i, ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('passed.m%s', i), ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('passed.h%s', i), ', ' order by i) from unnest(v_places) as i),
    v_rows,
    (select string_agg(format('r%s / s0 as m%s', i, i), ', ' order by i) from unnest(v_places) as i),
    (
      select string_agg(format('sum(events / s0 * (r%s / s0)) over passed as h%s', i, i), ', ' order by i)
      from unnest(v_places) as i
    ),
    (select string_agg(format('sum(r%s) over later as r%s', i, i), ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('sum(risk * x%s) as r%s', i, i), ', ' order by i) from unnest(v_places) as i)
  );
end;
$$;

comment on function ml._cox_residuals(ml.design, float8[]) is $$
Returns the text of a select of the rows of a proportional hazards model, with what their residuals consist of.
Its columns: key (the stratum), y, status, cluster, risk, x1 … (the columns as they are summed), m1 … (their mean over
the rows at risk, by risk), hazard (the cumulative baseline hazard), h1 … (the integral of the means over it). The
Schoenfeld residual is x - m; the score residual status (x - m) - risk (x hazard - h).
$$;

grant execute on function ml._cox_residuals(ml.design, float8[])
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_cox_residuals.sql

--! Included ml/regression/_cox_sandwich.sql
create or replace function ml._cox_sandwich(
  model_table text,
  clustervar text
)
returns ml.cox_sandwich
language plpgsql
set extra_float_digits to 1
as $$
declare
  v_model constant record := ml._cox_model(model_table, clustervar);
  v_size constant integer := cardinality(v_model.coef);
  v_scores text;
  v_statement text;
  v_sums float8[];
  v_clusters bigint;
  v_bread float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_covariance float8[];
  v_wald record;
begin
  v_scores := (
    select string_agg(format('status * (x%1$s - m%1$s) - risk * (x%1$s * hazard - h%1$s) as u%1$s', i), ', ' order by i)
    from generate_series(1, v_size) as i
  );
  v_statement := format('select %s%s from (%s) as residual', case when clustervar is null then '' else 'cluster, ' end,
    v_scores, ml._cox_residuals(v_model.settled, v_model.beta));
  if clustervar is not null then
    v_statement := format('select %s from (%s) as score group by cluster', (
      select string_agg(format('sum(u%s) as u%s', i, i), ', ' order by i) from generate_series(1, v_size) as i
    ), v_statement);
  end if;
  select part.row_count, part.sums
  into v_clusters, v_sums
  from ml._sums(
    format('select null::text, true, count(*), array[%s] from (%s) as score', (
      select string_agg(format('sum(u%s * u%s)', i, j), ', ' order by i, j)
      from generate_series(1, v_size) as i
      cross join generate_series(1, v_size) as j
      where j >= i
    ), v_statement),
    (v_model.settled).relation
  ) as part;
  if clustervar is not null and v_clusters < 2 then
    perform ml._fit_failed(format('%s rows for at least 2 clusters', v_clusters), (v_model.settled).source);
  end if;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_bread[i][j] := v_model.hessian[i][j] * v_model.scale[i] * v_model.scale[j];
    end loop;
  end loop;
  v_bread := (ml._scaled_inverse(v_bread, 1e-14)).inverse;
  v_covariance := ml._float8_product(
    ml._float8_product(v_bread, ml._symmetric_matrix(v_sums, v_size)), v_bread
  );
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_covariance[i][j] := v_covariance[i][j] * v_model.scale[i] * v_model.scale[j];
    end loop;
  end loop;
  v_wald := ml._wald(v_model.coef, v_covariance, null);
  return (
    v_model.coef, v_model.loglikelihood, v_model.std_err, v_wald.std_err, v_wald.stats, v_wald.p_values, v_model.hessian
  )::ml.cox_sandwich;
end;
$$;

comment on function ml._cox_sandwich(text, text) is $$
Returns a proportional hazards model with sandwich standard errors from its score residuals, by row or by cluster.
$$;

grant execute on function ml._cox_sandwich(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/_cox_sandwich.sql

--! Included ml/regression/cox_zph.sql
create or replace function ml.cox_zph(
  cox_model_table text,
  output_table text
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_output constant text := common.output_table(output_table, array['_residual']);
  v_model constant record := ml._cox_model(cox_model_table, null);
  v_size constant integer := cardinality(v_model.coef);
  v_residual constant text := common.companion_table(v_output, '_residual');
  v_inverse record;
  v_label text;
begin
  v_inverse := ml._scaled_inverse(v_model.hessian, 1e-14);
  if v_inverse.inverse is null then
    perform common.refuse('CF007', format('the hessian of "%s" has no inverse', left(cox_model_table, 100)),
      'Train the model again.');
  end if;
  -- the time in the caller's own expression, since a row of the residuals is an event
  v_label := coalesce(
    (select name from unnest(common.columns((v_model.settled).relation)) as name
      where name = btrim(v_model.dependent_variable, ' "') and name not in ('residual', 'scaled_residual')),
    'event_time'
  );
  execute format(
    $statement$
    create table %1$s as
    select y as %2$I, residual, array(
      select number * sum((%3$L::float8[])[i][j] * residual[j]) + (%4$L::float8[])[i]
      from generate_series(1, %5$s) as i
      cross join generate_series(1, %5$s) as j
      group by i
      order by i
    ) as scaled_residual
    from (
      select y, count(*) over () as number, array[%6$s]::float8[] as residual
      from (%7$s) as rows
      where status = 1
    ) as event
    $statement$,
    v_residual,
    v_label,
    v_inverse.inverse,
    v_model.coef,
    v_size,
    (
      select string_agg(format('(x%1$s - m%1$s) / %2$L::float8', i, v_model.scale[i]), ', ' order by i)
      from generate_series(1, v_size) as i
    ),
    ml._cox_residuals(v_model.settled, v_model.beta)
  );
  execute format(
    $statement$
    create table %1$s as
    select %2$L::text as covariate, array_agg(rho order by i) as rho, array_agg(chi_square order by i) as chi_square,
      array_agg(
        case when chi_square is not null then ml._incomplete_gamma(0.5, ml._finite_range(chi_square) / 2, true) end
        order by i
      ) as p_value
    from (
      select i, corr(%3$I, scaled_residual[i]) as rho,
        -- n cov² / (var V): the test of a slope over time (Grambsch and Therneau, 1994)
        regr_sxy(scaled_residual[i], %3$I) ^ 2
          / nullif((%4$L::float8[])[i][i] * count(*) * regr_sxx(scaled_residual[i], %3$I), 0) as chi_square
      from %5$s
      cross join generate_series(1, %6$s) as i
      group by i
    ) as tested
    $statement$,
    v_output, v_model.independent_variable, v_label, v_inverse.inverse, v_residual, v_size
  );
end;
$$;

comment on function ml.cox_zph(text, text) is $$
@behavior -*
Tests whether hazards are proportional in a model of ml.coxph_train, as MADlib.
The correlation of the scaled Schoenfeld residuals of each column with the time: where it is not 0, the effect of the
column changes with time. Reads the source table of the model once more, which must be unchanged; ties=breslow (the
default).
Writes `output_table`: covariate (the independent variables, as given), rho, chi_square and p_value, arrays with one
value per column, null where all events have the same time; and `<output_table>_residual`, one row per event: the time
under the name of its column (`event_time` for an expression), residual, and scaled_residual around the coefficient.
Errors: as ml.robust_variance_coxph.
Source: Grambsch and Therneau, Biometrika 81, 1994, as R's `cox.zph(transform = "identity", global = FALSE)` up to
survival 2.44; later versions compute a score test instead.
$$;

grant execute on function ml.cox_zph(text, text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/regression/cox_zph.sql

--! Included track/identities/_move_identities.sql
create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  perform track._move_events(
    _move_identities.identity_ids, _move_identities.identity_ids, _move_identities.old_people,
    _move_identities.new_people,
    array_fill('-infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)]),
    array_fill('infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)])
  );

  with deleted as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from deleted;

  with deleted as (
    delete from track.trait_history
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait_history.person_id = moved.old_person_id
      and trait_history.identity_id = moved.identity_id
    returning moved.new_person_id, trait_history.*
  )
  insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
  select new_person_id, identity_id, name, since, set_at, value, repeated_at
  from deleted;

  with deleted as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (
      person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id, source_id
    )
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id, source_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  update track.item_role
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
    as moved (identity_id, old_person_id, new_person_id)
  where item_role.person_id = moved.old_person_id
    and item_role.identity_id = moved.identity_id;

  perform privacy.move_subjects(_move_identities.identity_ids, _move_identities.new_people);
  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  perform track._enqueue('identity', array(
    select distinct moved.person_id
    from unnest(_move_identities.old_people || _move_identities.new_people) as moved (person_id)
  ));

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and their data, each from its old person to its new one; the three lists have the same length.
The cost is proportional to the data of the old people. Months without events of them are neither read nor locked.
The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_identities.sql

--! Included track/ingest/store_enrolments.sql
create or replace function track._store_stated_enrolments(
  messages track.parsed_message[],
  identities bigint[],
  source smallint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities bigint[];
  v_items bigint[];
begin
  select array_agg(_store_stated_enrolments.identities[message.ordinality]), array_agg(item.item_id)
  into v_identities, v_items
  from unnest(messages) with ordinality as message
  join track.event_type on event_type.name = message.event_name
  join track.event_type as meaning
    on coalesce(meaning.merged_event_type_id, meaning.event_type_id)
      = coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    and meaning.name in ('Course Enrolled', 'Course Dropped', 'Course Completed')
  join track.item on item.external_id = message.item;
  if v_items is null then
    return;
  end if;
  update track.source
  set states_enrolments = true
  where source.source_id = _store_stated_enrolments.source
    and not source.states_enrolments;
  perform track._derive_enrolments(v_identities, v_items);
end;
$$;

comment on function track._store_stated_enrolments(track.parsed_message[], bigint[], smallint) is $$
Stores the enrolments that the messages of an import state by their events.
$$;
--! EndIncluded track/ingest/store_enrolments.sql

--! Included track/ingest/ingest.sql
/*
 * A definer: callers may write events only through this function, which checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_batch constant track.message_batch := track._read_batch(ingest.batch);
  v_received_at constant timestamptz := clock_timestamp();
  v_sender constant track.message_sender := track._sender(v_received_at);
  v_messages track.parsed_message[];
  -- The messages with their people, of which the request or the message has an opt-out signal.
  v_signalled track.parsed_message[];
  -- Messages that state a date of birth. It is stored without consent, since it decides who can give it.
  v_born track.parsed_message[];
  v_settled record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_births boolean;
  v_opts_out boolean;
  v_refused int[];
  v_findings track.finding[];
  v_bots text[];
  v_result track.ingest_result;
begin
  -- An erasure waits for it before it deletes names of items and event types that nobody uses.
  perform pg_advisory_xact_lock_shared(hashtext('track.ingest'));
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  if exists (select from privacy.suppression) then
    v_messages := track._refuse_suppressed(v_messages, v_sender);
  end if;
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous'),
    bool_or(message.birth_date is not null),
    bool_or(message.opts_out)
  into v_links, v_traits, v_decisions, v_browsers, v_births, v_opts_out
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_sender.opt_out <> '{}' then
    v_signalled := v_messages;
  elsif v_opts_out then
    v_signalled := array(select message from unnest(v_messages) as message where message.opts_out);
  end if;
  if v_births then
    v_born := array(
      select message
      from unnest(v_messages) as message
      where message.birth_date is not null
        and message.problem is null
    );
  end if;
  v_messages := track._ask_consent(v_messages, v_sender.opt_out);
  if v_sender.personal_data = 'refuse' or v_sender.bots = 'refuse' then
    v_messages := track._refuse_contents(v_messages, v_sender);
  end if;
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  if v_births then
    v_refused := array(select message.position from unnest(v_messages) as message where message.problem is not null);
  end if;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  if v_births then
    -- Without duplicates.
    v_born := array(
      select born
      from unnest(v_born) as born
      where born.position = any (v_refused)
        or born.position in (select message.position from unnest(v_messages) as message)
    );
    v_births := v_born <> '{}';
  end if;
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null and v_births is not true then
    return v_result;
  end if;

  select reduced.minimised, reduced.findings, reduced.bots
  into v_messages, v_findings, v_bots
  from track._minimise(v_messages, v_sender) as reduced;
  v_bots := case when v_sender.bots = 'exclude' and v_bots <> '{}' then track._new_browsers(v_bots) end;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages, v_sender.browser);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  if v_births then
    perform track._enter_people(array_agg('user'::text), array_agg(born.external_id))
    from unnest(v_born) as born;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  select settled.* into v_settled
  from track._settle_messages(
    v_messages, v_signalled, v_born, v_sender, coalesce(v_links, false), v_browsers
  ) as settled;
  v_messages := v_settled.messages;
  v_signalled := v_settled.signalled;
  v_born := v_settled.born;
  if v_settled.erased <> '{}' then
    perform track._count_refused(v_settled.erased, v_batch.messages, v_sender.source_id, v_received_at);
    v_result.errors := v_result.errors || track._problems(v_settled.erased);
    v_result.rejected := v_result.rejected + cardinality(v_settled.erased);
    v_result.accepted := v_result.accepted - cardinality(v_settled.erased);
  end if;

  perform track._store_events(v_messages, v_settled.identities, v_settled.people, v_sender.source_id);
  if v_sender.level = 'server' and current_setting('insights.states_enrolments', true) = 'on' then
    perform track._store_stated_enrolments(v_messages, v_settled.identities, v_sender.source_id);
  end if;
  if v_traits then
    perform track._store_traits(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_settled.identities, v_settled.people);
  end if;
  if v_births then
    perform privacy.record_birth_dates(
      array_agg(identity.person_id), array_agg(identity.identity_id), array_agg(born.birth_date)
    )
    from unnest(v_born) as born
    join track.identity on identity.external_id = born.external_id and identity.kind = 'user';
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_sender.opt_out, v_received_at);
  end if;
  if v_findings <> '{}' then
    perform track._count_found(v_findings, v_received_at);
  end if;
  if v_bots <> '{}' then
    perform track._exclude_bots(v_bots);
  end if;
  return v_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Stores messages in Segment's format (`track`, `page`, `screen`, `identify`, `alias`, `group`).
A batch is a list, one message, or `{batch, sentAt, context}`; a JSON string with any of these is parsed.
Each `messageId` of a source is stored once, also by concurrent calls and at any later time. An invalid message is
rejected with an error of its own; the others are stored.
Items are created when first named. `properties` of trusted senders (`itemKind`, `itemTitle`, `parent`, `url`) are
stored where the item has no value yet; a parent that would form a cycle is ignored.
An event is never later than its arrival. The time of the client applies, unless its clock is behind by more than
`track.setting.clock_tolerance` or ahead: then the event is at `receivedAt - (sentAt - timestamp)`.
Learners may send their own events only, visitors only with an `anonymousId`, which is checked: see
`track.identity.browser`. A browser belongs to the user who identified on it last before the event, and before the
first `identify` to the first user. A write key (setting `insights.write_key`: its SHA-256 hash) decides the source and
its level. Refused messages are counted: see
`track.refused_messages`.
Errors of the whole batch: CF005 when the write key may not be used, CF009 when it is not a list of messages, CF008
when it has more than `track.setting.largest_batch` messages or its `context` is too long, CF001 when its `context`
contains a number beyond double precision.
$$;

grant execute on function track.ingest(jsonb)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/ingest/ingest.sql

--! Included track/enrolments/_derive_enrolments.sql
create or replace function track._derive_enrolments(identities bigint[], items bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of people would read each event of each of them by itself, or all events.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_people bigint[];
  v_types int[];
  v_enrolled int[];
  v_dropped int[];
  v_sources smallint[];
  v_merged bigint[];
  v_touched bigint[];
begin
  -- Two transactions with different events of an enrolment would each derive it from their own.
  perform pg_advisory_xact_lock(hashtext('track.enrolment'));
  select
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id)),
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id))
      filter (where event_type.name = 'Course Enrolled'),
    array_agg(coalesce(event_type.merged_event_type_id, event_type.event_type_id))
      filter (where event_type.name = 'Course Dropped')
  into v_types, v_enrolled, v_dropped
  from track.event_type
  where event_type.name in ('Course Enrolled', 'Course Dropped', 'Course Completed');
  v_sources := array(select source.source_id from track.source where source.states_enrolments);
  v_people := array(
    select distinct identity.person_id
    from track.identity
    where identity.identity_id = any (_derive_enrolments.identities)
      and identity.kind = 'user'
      and identity.person_id <> 0
  );

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item
    join track.item as member on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where item.item_id = any (_derive_enrolments.items)
      and (item.merged_item_id is not null or member.merged_item_id is not null)
  );
  if v_merged <> '{}' then
    perform track._name_enrolments(v_merged, _derive_enrolments.identities);
  end if;

  with named as materialized (
    select distinct identity.person_id, entry.identity_id, entry.item_id
    from unnest(_derive_enrolments.identities, _derive_enrolments.items) as entry (identity_id, item_id)
    join track.identity on identity.identity_id = entry.identity_id
    where identity.kind = 'user'
      and identity.person_id <> 0
      and entry.item_id is not null
  ),

  told as materialized (
    select
      named.person_id, named.identity_id, named.item_id,
      event.event_type_id, event.occurred_at, event.event_id, event.source_id
    from track.event
    join named
      on named.person_id = event.person_id
      and named.identity_id = event.identity_id
      and named.item_id = coalesce(event.named_item_id, event.item_id)
    where event.person_id = any (v_people)
      and event.event_type_id = any (v_types)
      and event.source_id = any (v_sources)
  ),

  -- Of events of the same time, that of the enrolment is the first.
  latest as (
    select
      told.person_id, told.identity_id, told.item_id, max(told.occurred_at) as enrolled_at
    from told
    where told.event_type_id = any (v_enrolled)
    group by told.person_id, told.identity_id, told.item_id
  ),

  bounded as (
    select
      latest.person_id, latest.identity_id, latest.item_id,
      max(told.occurred_at) filter (where told.occurred_at < latest.enrolled_at) as former_end,
      max(told.occurred_at) filter (where told.occurred_at >= latest.enrolled_at) as dropped_at
    from latest
    left join told
      on told.person_id = latest.person_id
      and told.identity_id = latest.identity_id
      and told.item_id = latest.item_id
      and told.event_type_id = any (v_dropped)
    group by latest.person_id, latest.identity_id, latest.item_id
  ),

  started as (
    select
      bounded.person_id, bounded.identity_id, bounded.item_id, bounded.dropped_at,
      min(told.occurred_at) as enrolled_at,
      (array_agg(told.source_id order by told.occurred_at, told.event_id))[1] as source_id
    from bounded
    join told
      on told.person_id = bounded.person_id
      and told.identity_id = bounded.identity_id
      and told.item_id = bounded.item_id
      and told.event_type_id = any (v_enrolled)
      and (bounded.former_end is null or told.occurred_at > bounded.former_end)
    group by bounded.person_id, bounded.identity_id, bounded.item_id, bounded.dropped_at
  ),

  derived as (
    select
      started.person_id, started.item_id, started.identity_id, started.enrolled_at, started.source_id,
      case
        when min(told.occurred_at) is not null then 'completed'
        when started.dropped_at is not null then 'dropped'
        else 'active'
      end as status,
      coalesce(min(told.occurred_at), started.dropped_at) as ended_at
    from started
    left join told
      on told.person_id = started.person_id
      and told.identity_id = started.identity_id
      and told.item_id = started.item_id
      and told.event_type_id <> all (v_enrolled || v_dropped)
      and told.occurred_at >= started.enrolled_at
    group by
      started.person_id, started.item_id, started.identity_id, started.enrolled_at, started.source_id,
      started.dropped_at
  ),

  stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at, source_id)
    select
      derived.person_id, derived.item_id, derived.identity_id, derived.status, derived.enrolled_at, derived.ended_at,
      derived.source_id
    from derived
    on conflict (person_id, item_id, identity_id) do update
    set
      status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at,
      source_id = excluded.source_id
    -- Rows of the application stay.
    where enrolment.source_id is not null
      and (enrolment.status, enrolment.enrolled_at, enrolment.ended_at, enrolment.source_id)
        is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at, excluded.source_id)
    returning enrolment.person_id
  ),

  deleted as (
    delete from track.enrolment
    using named
    where enrolment.person_id = named.person_id
      and enrolment.identity_id = named.identity_id
      and enrolment.item_id = named.item_id
      and enrolment.source_id is not null
      and not exists (
        select
        from derived
        where derived.person_id = named.person_id
          and derived.identity_id = named.identity_id
          and derived.item_id = named.item_id
      )
    returning enrolment.person_id
  )

  select array_agg(distinct touched.person_id) into v_touched
  from (
    select stored.person_id from stored
    union all
    select deleted.person_id from deleted
  ) as touched;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, _derive_enrolments.identities);
  end if;
  perform track._enqueue('enrolment', v_touched);
end;
$$;

comment on function track._derive_enrolments(bigint[], bigint[]) is $$
Derives the enrolments of identities in items, given as pairs, from the events of imports that state enrolments.
`Course Enrolled` begins an enrolment, `Course Dropped` and `Course Completed` end it; of several, the latest one
counts. An end without a beginning gives none. Enrolments that the application states stay as they are; those that no
event of an import gives any more are deleted. The caller has locked the identities, or all batches.
$$;
--! EndIncluded track/enrolments/_derive_enrolments.sql

--! Included track/functions/sync_enrolments.sql
create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_touched bigint[];
  v_merged bigint[];
  v_identities bigint[];
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the enrolment of "%s" in "%s" at %s with status "%s" is invalid',
        left(v_bad.person, 100),
        left(v_bad.item, 100),
        coalesce(v_bad.enrolled_at::text, 'null'),
        coalesce(left(v_bad.status, 100), 'active')
      ),
      'An enrolment needs a person, an item and a time; its status is active, completed or dropped.'
    );
  end if;

  select enrolment.person into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text)
  where track._names_nobody(enrolment.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('the enrolment of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  enrolments := track._without_suppressed(enrolments);
  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform track.lock_identities(array(
    select identity.identity_id
    from track.identity
    where identity.kind = 'user'
      and identity.external_id = any (
        array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
      )
  ));

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item as member
    join track.item on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where (item.merged_item_id is not null or member.merged_item_id is not null)
      and item.external_id = any (
        array(select distinct enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
      )
  );
  if v_merged <> '{}' then
    v_identities := array(
      select identity.identity_id
      from track.identity
      where identity.kind = 'user'
        and identity.external_id = any (
          array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
        )
    );
    perform track._name_enrolments(v_merged, v_identities);
  end if;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select
      identity.person_id, item.item_id, identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at, source_id = null
    where enrolment.source_id is not null
      or (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
        is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, v_identities);
  end if;
  perform track._enqueue('enrolment', v_touched);

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.enrolment, and texts for person and item.');
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}`, as described for `track.sync_enrolments`.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_enrolments(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_enrolments jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['person', 'item', 'enrolled_at'], array['status', 'ended_at']);

  -- The latest enrolment of a person in an item applies. The query runs as the caller, and passes its rows to a definer
  -- that takes values only. Each call passes at most 50,000 rows, because the size of a jsonb value is limited.
  for v_enrolments in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select *, (row_number() over (order by person, item) - 1) / 50000 as part
        from (
          select distinct on (person, item) %s
          from %s
          order by person, item, enrolled_at desc
        ) as newest
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_enrolments(v_enrolments);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_enrolments(regclass) is $$
Reads enrolments from a table or view of the application, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `enrolled_at`; optional: `status`
(`active`, `completed`, `dropped`) and `ended_at`.
Unknown people and items are added; rows of people who were erased (`privacy.suppression`) are left out. Of several rows
for one person and item, the latest `enrolled_at` applies. They replace what imports have stated. The call can be
repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/functions/rectify.sql
create or replace function track._rectify_traits(subject privacy.subject, traits jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
  v_owner constant bigint := (
    select entry.identity_id
    from unnest(subject.identity_ids, subject.kinds) as entry (identity_id, kind)
    order by entry.kind = 'user' desc, entry.identity_id
    limit 1
  );
  v_identities bigint[];
  v_names text[];
  v_times timestamptz[];
  v_values jsonb[];
  v_rows bigint;
  v_added bigint;
begin
  if jsonb_typeof(traits) <> 'object' then
    perform common.refuse('CF001', format('"traits" is a JSON %s', jsonb_typeof(traits)),
      'Give an object, such as {"plan": "pro", "city": null}; null deletes a trait.');
  end if;
  select entry.key into v_wrong
  from jsonb_each(traits) as entry
  where length(entry.key) not between 1 and 100
    or octet_length(entry.value::text) > 32768
  limit 1;
  if found then
    perform common.refuse('CF008', format('the trait "%s" is too long', left(v_wrong, 100)),
      'A name has 1 to 100 characters, a value at most 32768 bytes.');
  end if;

  -- The correct value applies from the first time on at which the trait was sent.
  select
    array_agg(said.identity_id), array_agg(said.name), array_agg(said.set_at), array_agg(said.value)
  into v_identities, v_names, v_times, v_values
  from (
    select known.identity_id, known.name, min(known.set_at) as set_at, traits -> known.name as value
    from (
      select trait.identity_id, trait.name, trait.set_at
      from track.trait
      where trait.person_id = subject.person_id
        and traits ? trait.name
      union all
      select history.identity_id, history.name, history.set_at[1]
      from track.trait_history as history
      where history.person_id = subject.person_id
        and traits ? history.name
    ) as known
    group by known.identity_id, known.name

    union all

    select v_owner, new.key, clock_timestamp(), new.value
    from jsonb_each(traits) as new
    where not exists (
        select from track.trait where trait.person_id = subject.person_id and trait.name = new.key
      )
      and not exists (
        select from track.trait_history as history
        where history.person_id = subject.person_id
          and history.name = new.key
      )
  ) as said
  where said.value <> 'null'
  having count(*) > 0;

  delete from track.trait_history as history
  where history.person_id = subject.person_id
    and traits ? history.name;
  get diagnostics v_rows = row_count;
  return next row('track.trait_history', v_rows, 'cleared')::privacy.erased;
  perform track._store_trait_history(
    array_fill(subject.person_id, array[cardinality(v_identities)]), v_identities, v_names, v_times, v_values
  )
  where v_identities is not null;

  delete from track.trait
  where trait.person_id = subject.person_id
    and traits -> trait.name = 'null';
  get diagnostics v_rows = row_count;
  return next row('track.trait', v_rows, 'deleted')::privacy.erased;
  update track.trait
  set value = traits -> trait.name
  where trait.person_id = subject.person_id
    and traits ? trait.name;
  get diagnostics v_rows = row_count;
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select subject.person_id, said.identity_id, said.name, said.value, said.set_at
  from unnest(v_identities, v_names, v_times, v_values) as said (identity_id, name, set_at, value)
  where not exists (
    select
    from track.trait
    where trait.person_id = subject.person_id
      and trait.name = said.name
  );
  get diagnostics v_added = row_count;
  return next row('track.trait', v_rows + v_added, 'cleared')::privacy.erased;
  perform track._enqueue('trait', array[subject.person_id]);
end;
$$;

comment on function track._rectify_traits(privacy.subject, jsonb) is $$
Corrects the traits of a person, also in the past: see `privacy.rectify`.
$$;

create or replace function track._rectify_enrolments(subject privacy.subject, enrolments jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry jsonb;
  v_given record;
  v_item_id bigint;
  v_rows bigint := 0;
  v_part bigint;
begin
  if jsonb_typeof(enrolments) <> 'array' or jsonb_array_length(enrolments) > 1000 then
    perform common.refuse('CF001', 'the enrolments are not a list of at most 1000',
      'Give a list such as [{"item": "course-1", "status": "completed", "ended_at": "2026-03-01T00:00:00Z"}].');
  end if;
  for v_entry in select entry.value from jsonb_array_elements(enrolments) as entry loop
    if jsonb_typeof(v_entry) <> 'object'
      or exists (
        select
        from jsonb_object_keys(v_entry) as key
        where key not in ('item', 'status', 'enrolled_at', 'ended_at', 'removed')
      )
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The keys are item, status, enrolled_at, ended_at and removed.');
    end if;
    select given.* into v_given
    from jsonb_to_record(v_entry) as given (
      item text, status text, enrolled_at timestamptz, ended_at timestamptz, removed boolean
    );
    if v_given.status not in ('active', 'completed', 'dropped')
      or not isfinite(v_given.enrolled_at)
      or v_entry ->> 'enrolled_at' is null and v_entry ? 'enrolled_at'
      or v_entry ->> 'status' is null and v_entry ? 'status'
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The status is active, completed or dropped; enrolled_at is a time.');
    end if;
    v_item_id := (
      select coalesce(item.merged_item_id, item.item_id) from track.item where item.external_id = v_given.item
    );

    if v_given.removed then
      delete from track.enrolment
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    else
      update track.enrolment
      set
        status = coalesce(v_given.status, enrolment.status),
        enrolled_at = coalesce(v_given.enrolled_at, enrolment.enrolled_at),
        ended_at = case when v_entry ? 'ended_at' then v_given.ended_at else enrolment.ended_at end,
        -- No event of an import changes it any more.
        source_id = null
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    end if;
    get diagnostics v_part = row_count;
    if v_part = 0 then
      perform common.refuse(
        'CF002', format('the person is not enrolled in "%s"', coalesce(left(v_given.item, 100), 'null')),
        'Enrolments are added by track.sync_enrolments.'
      );
    end if;
    v_rows := v_rows + v_part;
  end loop;
  perform track._enqueue('enrolment', array[subject.person_id]);
  return next row('track.enrolment', v_rows, 'cleared')::privacy.erased;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Times are ISO 8601, and removed is true or false.');
end;
$$;

comment on function track._rectify_enrolments(privacy.subject, jsonb) is $$
Corrects enrolments of a person: see `privacy.rectify`.
$$;

create or replace function track.rectify(subject privacy.subject, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if changes ? 'traits' then
    return query select changed.* from track._rectify_traits(subject, changes -> 'traits') as changed;
  end if;
  if changes ? 'enrolments' then
    return query select changed.* from track._rectify_enrolments(subject, changes -> 'enrolments') as changed;
  end if;
end;
$$;

comment on function track.rectify(privacy.subject, jsonb) is $$
@behavior -*
Corrects the traits and enrolments of a person, and queues what is derived from them. Called by `privacy.rectify`.
$$;
--! EndIncluded track/functions/rectify.sql

--! Included track/imports/forget_import.sql
/*
 * The ids of messages are unique within a source, and most of their hashes are packed, without their source. Therefore
 * the source of an import that is removed keeps its key and gets another name: an import under the same name has a
 * new key from then on, and none of its messages is a duplicate.
 *
 * No batch of messages is stored during a step, so that none can name a person or an item that the step deletes.
 */
create or replace function track._begin_forgetting(source text)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_source track.source;
  v_import track.forgotten_import;
begin
  -- The one that is not completed. The last one is resumed when events that it had to keep may have become free.
  select former.* into v_import
  from track.forgotten_import as former
  where former.name = _begin_forgetting.source
  order by former.completed_at is null desc, former.started_at desc
  limit 1;
  if v_import.source_id is not null and v_import.completed_at is null then
    return v_import;
  end if;

  v_source := track._import_source(_begin_forgetting.source);
  if v_source.source_id is null then
    if v_import.source_id is null then
      perform track._refuse_unknown_import(_begin_forgetting.source);
    end if;
    if v_import.kept_event_count > 0 then
      update track.forgotten_import
      set completed_at = null, done_people = 0, kept_event_count = 0
      where forgotten_import.source_id = v_import.source_id
      returning * into v_import;
    end if;
    return v_import;
  end if;

  update track.source
  set name = format('%s (removed %s)', left(v_source.name, 80), v_source.source_id)
  where source.source_id = v_source.source_id;
  -- Settings by administrators apply to the next import, too.
  if num_nonnulls(v_source.description, v_source.heartbeat, v_source.path_rule, v_source.kept_parameters) > 0
    or v_source.is_automatic
  then
    insert into track.source (name, description, level, heartbeat, is_automatic, path_rule, kept_parameters)
    values (
      v_source.name, v_source.description, v_source.level, v_source.heartbeat, v_source.is_automatic,
      v_source.path_rule, v_source.kept_parameters
    );
  end if;
  insert into track.forgotten_import (source_id, name, actor)
  values (v_source.source_id, v_source.name, common.author())
  returning * into v_import;
  return v_import;
end;
$$;

comment on function track._begin_forgetting(text) is $$
Returns the import of a name that is being removed; begins with it, or returns the last one that is completed.
Errors: CF002 for an unknown name, CF001 and CF005 for the sources of applications.
$$;

create or replace function track._forget_people(people bigint[])
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_gone bigint[] := array(
    select identity.person_id
    from track.identity
    where identity.person_id = any (_forget_people.people)
      and identity.person_id <> 0
    group by identity.person_id
    having count(*) = 1
  );
  v_column record;
  v_used bigint[];
  v_consumer track.consumer;
begin
  -- Every column that refers to people, of any room, in the data map.
  for v_column in
    select entry.schema_name, entry.table_name, entry.column_name
    from privacy.data_map as entry
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name))
      and attribute.attname = entry.column_name
      and attribute.atttypid = 'bigint'::regtype
    where entry.holds in ('person', 'identity')
      and (entry.schema_name, entry.table_name) not in (
        values
          ('track', 'person'), ('track', 'identity'), ('track', 'item_source'),
          ('track', 'stale'), ('track', 'changed'), ('track', 'stale_property'), ('track', 'automatic_period')
      )
    order by entry.schema_name, entry.table_name, entry.column_name
  loop
    exit when v_gone = '{}';
    execute format(
      'select array(select distinct %1$I from %2$I.%3$I where %1$I = any ($1))',
      v_column.column_name, v_column.schema_name, v_column.table_name
    )
    into v_used
    using v_gone;
    if v_used <> '{}' then
      v_gone := array(select unnest(v_gone) except select unnest(v_used));
    end if;
  end loop;
  if v_gone = '{}' then
    return v_gone;
  end if;

  update track.item_source set identity_id = 0 where item_source.identity_id = any (v_gone);
  delete from track.stale where stale.person_id = any (v_gone);
  delete from track.stale_property where stale_property.person_id = any (v_gone);
  delete from track.automatic_period where automatic_period.person_id = any (v_gone);
  delete from track.identity where identity.identity_id = any (v_gone);
  delete from track.person where person.person_id = any (v_gone);
  -- Sets of people, and what else is derived from a name alone.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_gone,
      array_fill('-infinity'::timestamptz, array[cardinality(v_gone)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_gone)]);
  end loop;
  delete from track.changed where changed.person_id = any (v_gone);
  return v_gone;
end;
$$;

comment on function track._forget_people(bigint[]) is $$
Deletes the people who have no stored data except one name. Returns their keys.
The caller has locked them. A column of any room that `privacy.data_map` lists as a person or an identity counts.
$$;

create or replace function track._forget_events(import track.forgotten_import, most_events int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_month record;
  v_picked record;
  v_deleted record;
  v_found bigint := 0;
  v_function text;
  v_gone bigint[];
  v_items bigint[];
  -- Those that give enrolments, where the import states any.
  v_types constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    join track.source on source.source_id = v_import.source_id and source.states_enrolments
    where event_type.name in ('Course Enrolled', 'Course Dropped', 'Course Completed')
  );
  v_enrolled bigint[];
  v_courses bigint[];
begin
  if v_import.done_people is null then
    return v_import;
  end if;
  -- Person by person, so that what is derived from the events of a person is computed again once. An event that was
  -- moved meanwhile to a person who is done is found when the people begin again.
  loop
    select
      count(*) as events, max(picked.person_id) as last_person,
      array_agg(picked.person_id) as people, array_agg(picked.occurred_at) as times,
      array_agg(picked.event_id) as ids, array_agg(distinct picked.identity_id) as identities,
      array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
      array_agg(distinct picked.properties ->> 'parent') as parents,
      array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as types
    into v_picked
    from (
      select event.*
      from track.event
      where event.source_id = v_import.source_id
        and event.person_id >= v_import.done_people
        and event.person_id <> all (v_held)
      order by event.person_id, event.occurred_at
      limit _forget_events.most_events
    ) as picked;
    exit when v_picked.events > 0 or v_import.done_people = 0;
    v_import.done_people := 0;
  end loop;
  v_import.done_people := v_picked.last_person;
  if v_picked.events = 0 then
    return v_import;
  end if;

  -- In the order of an erasure: the people, their identities, and what is queued for them.
  v_picked.identities := array_remove(v_picked.identities, 0);
  perform track._lock_people(v_picked.identities);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (track._with_siblings(v_picked.identities))
  order by identity.identity_id
  for update;
  perform track._settle(v_picked.identities);
  for v_function in
    select consumer.forget_function
    from track.consumer
    where num_nonnulls(consumer.forget_function) > 0
    order by consumer.position
  loop
    execute format('select %I.%I($1, $2)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
    using v_picked.people, v_picked.times;
  end loop;

  -- An event that was moved to another person before the lock is found by a later step.
  for v_month in
    select month.*
    from track._event_partitions() as month
    where exists (
      select
      from unnest(v_picked.times) as picked (occurred_at)
      where picked.occurred_at >= month.since
        and picked.occurred_at < month.until
    )
  loop
    execute format(
      'with deleted as (
        delete from track.%I as event
        using unnest($1, $2, $3) as picked (person_id, occurred_at, event_id)
        where event.person_id = picked.person_id
          and event.occurred_at = picked.occurred_at
          and event.event_id = picked.event_id
          and picked.occurred_at >= $5
          and picked.occurred_at < $6
        returning
          event.person_id, event.occurred_at, event.identity_id, event.event_type_id,
          coalesce(event.named_item_id, event.item_id) as item_id
      ),

      queued as (
        insert into track.stale (person_id, since, until)
        select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
        from deleted
        group by deleted.person_id
      )

      select
        count(*) as events,
        array_agg(deleted.identity_id) filter (where deleted.event_type_id = any ($4)) as enrolled,
        array_agg(deleted.item_id) filter (where deleted.event_type_id = any ($4)) as courses
      from deleted',
      v_month.name
    )
    into v_deleted
    using v_picked.people, v_picked.times, v_picked.ids, v_types, v_month.since, v_month.until;
    v_found := v_found + v_deleted.events;
    v_enrolled := v_enrolled || v_deleted.enrolled;
    v_courses := v_courses || v_deleted.courses;
  end loop;
  if v_enrolled is not null then
    perform track._derive_enrolments(v_enrolled, v_courses);
  end if;
  perform track._settle(v_picked.identities);

  v_items := array_remove(v_picked.items, null);
  v_gone := track._forget_people(array(select distinct unnest(v_picked.people)));
  insert into track.forgotten_item (source_id, item_id)
  select v_import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  -- As they were named: an item has the parent that was named first.
  select v_import.source_id, item.item_id
  from track.item
  where item.external_id = any (v_picked.parents)
  on conflict do nothing;
  -- The attributes that these people gave to items are read again from the events that are left, after the last step.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (v_picked.identities)
    and item_source.item_id = any (v_items)
    and item_source.attribute <> 'name';
  v_import.event_types := array(
    select unnest(v_import.event_types)
    union
    select unnest(array_remove(v_picked.types, null))
  );
  v_import.event_count := v_import.event_count + v_found;
  v_import.person_count := v_import.person_count + cardinality(v_gone);
  return v_import;
end;
$$;

comment on function track._forget_events(track.forgotten_import, int) is $$
Deletes at most `most_events` events of an import, refreshes what is derived from them, and deletes people without data.
The people are done in order. Events of people whose data is restricted stay. The caller has the locks of the refresh
and of all batches.
$$;

create or replace function track._forget_enrolments(import track.forgotten_import, most_enrolments int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  v_held constant bigint[] := array(select privacy.restricted());
  v_identities bigint[];
  v_items bigint[];
begin
  select array_agg(picked.identity_id), array_agg(picked.item_id) into v_identities, v_items
  from (
    select enrolment.identity_id, coalesce(enrolment.named_item_id, enrolment.item_id) as item_id
    from track.enrolment
    where enrolment.source_id = v_import.source_id
      and enrolment.person_id <> all (v_held)
    limit _forget_enrolments.most_enrolments
  ) as picked;
  if v_items is null then
    return null;
  end if;
  perform track._lock_people(v_identities);
  perform track._derive_enrolments(v_identities, v_items);
  perform track._settle(v_identities);
  v_import.person_count := v_import.person_count + cardinality(track._forget_people(array(
    select distinct identity.person_id from track.identity where identity.identity_id = any (v_identities)
  )));
  insert into track.forgotten_item (source_id, item_id)
  select distinct v_import.source_id, entry.item_id
  from unnest(v_items) as entry (item_id)
  on conflict do nothing;
  return v_import;
end;
$$;

comment on function track._forget_enrolments(track.forgotten_import, int) is $$
Derives enrolments again that an import began, and whose events retention has deleted. Null when there are none.
The caller has the locks of the refresh and of all batches.
$$;

create or replace function track._unused_items(items bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_used constant bigint[] := (
    select array_remove(other.used_items, null) from track._other_use(_unused_items.items, '{}') as other
  );
begin
  return array(
    select named.item_id
    from track.item_source as named
    where named.item_id = any (_unused_items.items)
      and named.item_id <> all (v_used)
      and named.attribute = 'name'
  );
end;
$$;

comment on function track._unused_items(bigint[]) is $$
Returns those of the items that only messages have named, and that have neither events nor enrolments.
$$;

create or replace function track._forget_items(import track.forgotten_import, most_items int)
returns track.forgotten_import
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_import track.forgotten_import := import;
  -- Children first: an item that contains another one stays.
  v_items constant bigint[] := array(
    select named.item_id
    from track.forgotten_item as named
    where named.source_id = v_import.source_id
    order by
      (select max(ancestor.depth) from track.item_ancestor as ancestor where ancestor.item_id = named.item_id) desc,
      named.item_id
    limit _forget_items.most_items
  );
  v_unused bigint[];
begin
  if v_items = '{}' then
    return v_import;
  end if;
  -- The items that stay first: one of the others may be their parent, and then has the sums of its parts.
  v_unused := track._unused_items(v_items);
  perform track._erase_descriptions('{0}', array(select unnest(v_items) except select unnest(v_unused)));
  perform track._refresh_course_presence();
  v_unused := track._unused_items(v_items);
  v_import.item_count := v_import.item_count + track._erase_items(v_unused);
  -- Those that something else refers to.
  perform track._erase_descriptions('{0}', array(
    select item.item_id from track.item where item.item_id = any (v_items)
  ));
  delete from track.forgotten_item
  where forgotten_item.source_id = v_import.source_id
    and forgotten_item.item_id = any (v_items);
  return v_import;
end;
$$;

comment on function track._forget_items(track.forgotten_import, int) is $$
Deletes items that only messages have named and that nothing uses any more.
Of the others, the events that are left give the attributes that the import gave.
$$;

create or replace function track.forget_import(source text, most_events int default 10000)
returns track.forgotten_import
language plpgsql
volatile
-- A definer: it deletes events and people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_import track.forgotten_import;
  v_before track.forgotten_import;
  v_rest track.forgotten_import;
  v_types int[];
  v_messages bigint;
begin
  perform common.check_count('most_events', forget_import.most_events, 1, 100000);
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('no import can be removed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  -- In the order of an erasure: a refresh can take minutes, and while this waits for batches, none begins.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  v_before := track._begin_forgetting(forget_import.source);
  if v_before.completed_at is not null then
    return v_before;
  end if;
  v_import := track._forget_events(v_before, forget_import.most_events);

  if v_import.event_count = v_before.event_count then
    v_rest := track._forget_enrolments(v_import, forget_import.most_events);
  end if;
  if v_rest.source_id is not null then
    v_import := v_rest;
  elsif v_import.event_count = v_before.event_count then
    v_import := track._forget_items(v_import, 1000);
    if not exists (select from track.forgotten_item where forgotten_item.source_id = v_import.source_id) then
      with taken as (
        select message.source_id, message.message_hash
        from track.message
        where message.source_id = v_import.source_id
        limit 100000
      ),

      deleted as (
        delete from track.message
        using taken
        where message.source_id = taken.source_id
          and message.message_hash = taken.message_hash
        returning message.source_id
      )

      select count(*) into v_messages from deleted;
      if v_messages = 0 then
        v_types := (select other.used_types from track._other_use('{}', v_import.event_types) as other);
        v_import.event_type_count := v_import.event_type_count
          + track._erase_event_types(array(select unnest(v_import.event_types) except select unnest(v_types)));
        v_import.event_types := '{}';
        v_import.completed_at := clock_timestamp();
        v_import.kept_event_count := (
          select count(*)
          from track.event
          where event.source_id = v_import.source_id
            and event.person_id = any (array(select privacy.restricted()))
        );
        delete from track.refusal where refusal.source_id = v_import.source_id;
        delete from track.refusal_sample where refusal_sample.source_id = v_import.source_id;
        if v_import.kept_event_count = 0 then
          delete from track.source where source.source_id = v_import.source_id;
        end if;
      end if;
    end if;
  end if;

  update track.forgotten_import
  set
    completed_at = v_import.completed_at,
    done_people = v_import.done_people,
    event_count = v_import.event_count,
    person_count = v_import.person_count,
    item_count = v_import.item_count,
    event_type_count = v_import.event_type_count,
    kept_event_count = v_import.kept_event_count,
    event_types = v_import.event_types
  where forgotten_import.source_id = v_import.source_id;
  return v_import;
end;
$$;

comment on function track.forget_import(text, int) is $$
@behavior -*
Removes an import, in steps.
Each call is a transaction that deletes at most `most_events` events, with all that is derived from them. Repeat it
until `completed_at` of the result is not null; a call that is interrupted has done nothing. Returns the row of
`track.forgotten_import`, which stays as the history; a further call returns it again.
`source`: the name of the import, as in `track.source`. From the first call on, an import under this name is a new one.
Afterwards every table is as if the import had never been: sessions, journeys, sums, sets, interactions and enrolments
follow in the same transaction, and people, items and types of events that nothing else names are deleted. What stays
is what is not recorded by source: traits, links between names and decisions of Segment's messages; hashes of ids of
messages that are packed already, without a person; and names that a model, a table of the application or an
administrator uses. An item that the import named first, and the application only in an enrolment, stays without kind.
Events of people whose data is restricted stay (`kept_event_count`); a call after the restriction deletes them.
Models follow with their next training. Messages wait while a step runs.
Errors: CF002 for an unknown name, with the nearest one; CF001 for `default` and unless `most_events` is from 1 to
100,000; CF005 for the source of an application; 25001 in a transaction of another level than read committed.
$$;

grant execute on function track.forget_import(text, int) to insights_admin;
--! EndIncluded track/imports/forget_import.sql

--! Included experiment/results/incomplete_sets.sql
create or replace function experiment.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
rows 10
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select experiment._arm_name(ended.experiment_key, variation.variation_key, variation.variation)
  from experiment.kept
  join experiment.experiment as ended using (experiment_id)
  join experiment.variation using (experiment_id)
  where not experiment._are_events_complete(ended)
  order by 1;
end;
$$;

comment on function experiment.incomplete_sets() is $$
@behavior -*
Returns the sets `arm.…` that `experiment.check_sets` refuses: a rule of retention has deleted exposures of the people.
For functions that read all sets, which leave them out.
$$;

grant execute on function experiment.incomplete_sets() to insights_reader;
--! EndIncluded experiment/results/incomplete_sets.sql

--! Included analytics/functions/_event_type_id.sql
create or replace function analytics._event_type_id(event_name text)
returns int
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_event_type_id int;
  v_names text[];
begin
  if _event_type_id.event_name is null then
    return 0;
  end if;
  if length(_event_type_id.event_name) > 200 then
    perform common.refuse(
      'CF008',
      format('event_name has %s characters', length(_event_type_id.event_name)),
      'The name of an event has 200 at most.'
    );
  end if;
  select coalesce(event_type.merged_event_type_id, event_type.event_type_id) into v_event_type_id
  from track.event_type
  where event_type.name = _event_type_id.event_name;
  if v_event_type_id is null then
    v_names := array(select event_type.name from track.event_type order by event_type.name);
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_event_type_id.event_name, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(_event_type_id.event_name, v_names) || '"?',
        'The names are those of track.event_type, such as "' || v_names[1] || '".',
        'There are no events yet.'
      )
    );
  end if;
  return v_event_type_id;
end;
$$;

comment on function analytics._event_type_id(text) is $$
Returns the event type that a name means, after merges; 0 for null: any event that is not automatic.
Errors: CF002 for an unknown name (with the nearest one), CF008 for a name of more than 200 characters.
$$;

grant execute on function analytics._event_type_id(text) to insights_reader;
--! EndIncluded analytics/functions/_event_type_id.sql

--! Included analytics/cohorts/_rule_sets.sql
create or replace function analytics._rule_sets(rule jsonb)
returns setof text
language sql
immutable
parallel safe
rows 5
set search_path to pg_catalog, pg_temp
as $$
  select found.value #>> '{}'
  from jsonb_path_query(rule, 'strict $.** ? (exists (@.set)).set') as found (value);
$$;

comment on function analytics._rule_sets(jsonb) is $$Returns the sets of people that a rule names, with repetitions.$$;

grant execute on function analytics._rule_sets(jsonb) to insights_reader;
--! EndIncluded analytics/cohorts/_rule_sets.sql

--! Included analytics/cohorts/_incomplete_sets.sql
create or replace function analytics._incomplete_sets()
returns table (name text, reason text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Usually there are none; the recursion allocates memory for the millions of rows that the planner expects.
  if not exists (select from experiment.incomplete_sets()) then
    return;
  end if;
  return query
  with recursive incomplete as (
    select arm.name, format('the set "%s"', arm.name) as reason
    from experiment.incomplete_sets() as arm (name)

    union

    -- A cohort that is not live is a list: its people stay.
    select cohort.name, incomplete.reason
    from incomplete
    join analytics.cohort
      on cohort.is_live
      and incomplete.name in (select analytics._rule_sets(cohort.rule))
  )

  select incomplete.name, min(incomplete.reason)
  from incomplete
  group by incomplete.name;
end;
$$;

comment on function analytics._incomplete_sets() is $$
Returns the sets of people whose members a rule of retention has deleted, with what they read.
These are the variations of `experiment.incomplete_sets`, and the live cohorts and segments whose rules name one, or
another such cohort.
$$;

grant execute on function analytics._incomplete_sets() to insights_reader;
--! EndIncluded analytics/cohorts/_incomplete_sets.sql

--! Included analytics/functions/feature_usage.sql
create or replace function analytics._feature_usage(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean, smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_event_type_id constant int := nullif(analytics._event_type_id(_feature_usage.event_name), 0);
  v_bounds timestamptz[];
  v_first_day date;
  v_end_day date;
  -- The period before, of the same length.
  v_previous_day date;
  -- The last day of the period until now.
  v_last_day date;
begin
  -- Whole days, so that two periods differ by a day at least.
  v_bounds := analytics._bounds('day', _feature_usage.since, _feature_usage.until, 'UTC');
  if _feature_usage.breakdown <> 'kind' then
    perform common.refuse('CF001', format('breakdown is "%s"', left(_feature_usage.breakdown, 100)),
      'Use kind (kind of the item of the event), or null for event types as a whole.');
  end if;
  if _feature_usage.measure is null
    or _feature_usage.measure not in ('people', 'events', 'days', 'new', 'return', 'growth')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_feature_usage.measure, 100)),
      'Use people, events, days (days per person), new (new people), return (return rate) or growth (of people).');
  end if;
  perform common.check_count('top', _feature_usage.top, 1, 10000);
  perform common.check_count('return_days', _feature_usage.return_days, 1, 366);
  if _feature_usage.with_median is null then
    perform common.refuse('CF001', 'with_median is null', 'Use true or false.');
  end if;
  v_first_day := v_bounds[1]::date;
  v_end_day := v_bounds[cardinality(v_bounds)]::date;
  v_previous_day := v_first_day - least(v_end_day - v_first_day, v_first_day - '0001-01-01'::date);
  v_last_day := least(v_end_day, now()::date + 1) - 1;

  return query
  with used as materialized (
    select kernel.*, coalesce(kernel.item_kind, '') as kind
    from analytics._feature_people(
      v_event_type_id, _feature_usage.breakdown, v_first_day, v_end_day, v_previous_day,
      v_last_day - _feature_usage.return_days, _feature_usage.return_days, _feature_usage.among,
      _feature_usage.smallest_group
    ) as kernel
  ),

  by_feature as (
    select
      used.event_type_id, used.kind,
      sum(bit_count(used.people))::bigint as people,
      sum(bit_count(used.people & ~used.earlier_people))::bigint as new_people,
      sum(bit_count(used.observed_people))::bigint as observed_people,
      sum(bit_count(used.returned_people))::bigint as returned_people,
      sum(bit_count(used.previous_people))::bigint as previous_people,
      sum(used.person_days)::float8 as person_days,
      sum(used.event_count)::float8 as event_count,
      sum(used.previous_event_count)::float8 as previous_event_count,
      min(used.oldest_day) as first_day,
      max(used.latest_day) as last_day
    from used
    group by used.event_type_id, used.kind
  ),

  middle as (
    select
      by_person.event_type_id, by_person.kind,
      percentile_cont(0.5) within group (order by by_person.event_count::float8) as median_events,
      avg(by_person.event_count)::float8 as mean_events
    from (
      select
        activity.event_type_id, described.kind, activity.person_id, sum(activity.event_count) as event_count
      from track.activity_of(
        analytics._people_among(_feature_usage.among, _feature_usage.smallest_group, false), v_first_day, v_end_day
      ) as activity
      left join track.item on item.item_id = activity.item_id
      cross join lateral (
        select case when _feature_usage.breakdown is not null then coalesce(item.kind, '') else '' end as kind
      ) as described
      join (
        select distinct used.event_type_id, used.kind, day
        from used
        cross join lateral unnest(used.days) as day
      ) as kept
        on kept.event_type_id = activity.event_type_id
        and kept.kind = described.kind
        and kept.day = activity.day
      where _feature_usage.with_median
        and activity.event_count > 0
      group by activity.event_type_id, described.kind, activity.person_id
    ) as by_person
    group by by_person.event_type_id, by_person.kind
  ),

  shown as (
    select
      by_feature.event_type_id, by_feature.kind,
      analytics._shown(by_feature.event_count, by_feature.people, _feature_usage.smallest_group)::bigint
        as event_count,
      analytics._shown(by_feature.people, by_feature.people, _feature_usage.smallest_group)::bigint as person_count,
      analytics._shown(by_feature.person_days, by_feature.people, _feature_usage.smallest_group)
        as person_days,
      analytics._shown_mean(
        middle.median_events, by_feature.people, _feature_usage.smallest_group, middle.mean_events
      ) as median_events,
      case
        when _feature_usage.breakdown is null
          then analytics._shown(by_feature.new_people, by_feature.new_people, _feature_usage.smallest_group)::bigint
      end as new_person_count,
      analytics._shown(
        by_feature.observed_people, by_feature.observed_people, _feature_usage.smallest_group
      )::bigint as observed_person_count,
      analytics._shown(
        by_feature.returned_people, by_feature.returned_people, _feature_usage.smallest_group
      )::bigint as returned_person_count,
      analytics._shown(
        by_feature.previous_event_count, by_feature.previous_people, _feature_usage.smallest_group
      )::bigint as previous_event_count,
      analytics._shown(
        by_feature.previous_people, by_feature.previous_people, _feature_usage.smallest_group
      )::bigint as previous_person_count,
      case when _feature_usage.breakdown is null then by_feature.first_day end as first_day,
      by_feature.last_day
    from by_feature
    left join middle using (event_type_id, kind)
  ),

  -- Rates and means are computed from the numbers as shown, and the order from these.
  computed as (
    select
      event_type.name as event,
      nullif(shown.kind, '') as item_kind,
      shown.event_count,
      shown.person_count,
      coalesce(active.person_count, 0) as active_person_count,
      least(1, shown.person_count::float8 / nullif(active.person_count, 0)) as adoption_rate,
      shown.new_person_count,
      shown.event_count::float8 / nullif(shown.person_count, 0) as events_per_person,
      shown.median_events,
      shown.person_days / nullif(shown.person_count, 0) as days_per_person,
      shown.observed_person_count,
      shown.returned_person_count,
      shown.returned_person_count::float8 / nullif(shown.observed_person_count, 0) as return_rate,
      shown.previous_event_count,
      shown.previous_person_count,
      shown.event_count::float8 / nullif(shown.previous_event_count, 0) - 1 as event_growth,
      shown.person_count::float8 / nullif(shown.previous_person_count, 0) - 1 as person_growth,
      shown.first_day,
      shown.last_day
    from shown
    join track.event_type on event_type.event_type_id = shown.event_type_id
    left join shown as active on active.event_type_id = 0
    where shown.event_count > 0
      or shown.person_count > 0
      or shown.previous_event_count > 0
      or shown.previous_person_count > 0
  )

  select
    (row_number() over by_score)::int,
    computed.*
  from computed
  cross join lateral (
    select case _feature_usage.measure
      when 'people' then computed.person_count
      when 'events' then computed.event_count
      when 'days' then computed.days_per_person
      when 'new' then computed.new_person_count
      when 'return' then computed.return_rate
      when 'growth' then computed.person_growth
    end as score
  ) as by_measure
  window by_score as (
    order by
      by_measure.score desc nulls last, computed.person_count desc, computed.event_count desc, computed.event,
      computed.item_kind nulls first
  )
  order by 1
  limit _feature_usage.top;
end;
$$;

comment on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Computes the result of `analytics.feature_usage`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._feature_usage_exact(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean
)
returns setof analytics.used_feature
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._feature_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, null);
$$;

alter function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) owner to insights_reader;

comment on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns the result of `analytics.feature_usage` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._feature_usage_shown(
  event_name text, breakdown text, since timestamptz, until timestamptz, measure text, top int, among text,
  return_days int, with_median boolean
)
returns setof analytics.used_feature
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._feature_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting));
$$;

alter function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) owner to insights_reader;

comment on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns the result of `analytics.feature_usage` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_analyst;

create or replace function analytics.feature_usage(
  event_name text default null,
  breakdown text default null,
  since timestamptz default (now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 50,
  among text default null,
  return_days int default 7,
  with_median boolean default false
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._feature_usage_exact(text, text, timestamptz, timestamptz, text, int, text, int, boolean)', 'execute'
  ) then
    return query
    select *
    from analytics._feature_usage_exact(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median
    );
  else
    return query
    select *
    from analytics._feature_usage_shown(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median
    );
  end if;
end;
$$;

comment on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) is $$
Returns how each feature is used between two times (`until` exclusive): how often, by whom, how deeply, its adoption.
Features are event types, without heartbeats, automatic events and those of the purpose `service`; with `event_name`,
this event type, whatever it is. `breakdown` = `kind`: actions, which are event types by kind of the item (a page that
is viewed and a course that is viewed); null as a kind: events without an item. Features that were used neither in the
period nor in the one before it are not listed.
- How often and by whom: events, distinct people, and the share of the active people (those with any event that is not
  automatic) who used the feature: `adoption_rate`.
- How deeply: events per person, days per person, and with `with_median` the median of the events per person.
- Adoption: `new_person_count` are the people who never used the feature before the period.
- Return: of the people who used it at least `return_days` days before the end of the period (or now), those who used it
  again `return_days` days or more after their first use in the period: `return_rate`. Later users are left out, because
  they could not return yet.
- Trend: the period before, of the same length, and the growth since then (0.5: half as much again).
- `first_day` and `last_day`: days of the first and the last use before `until`.
`measure` decides the order: `people`, `events`, `days` (per person), `new`, `return` (rate) or `growth` (of people).
The period is extended to whole days, UTC. `among`: only people in an expression of sets of people.
People are read from the bits of `track.presence`, those of all earlier days too, and include every event that was
stored when the function was called. `among`, `breakdown` and `with_median` read the journeys of the period and of the
one before it, which takes longer; with `breakdown`, new people and the first day are null, and the last day is one of
these periods.
For admins and workers, figures are exact and include anonymous browsers, as those of `analytics.trend`. Analysts see
figures of counted people: the days on which fewer than `analytics.setting.smallest_group` of them used a feature count
with the other small days of their week (from Monday), where a period contains the whole week and they have at least as
many people together, and otherwise not, as use before the period neither; numbers are rounded by `analytics._shown`,
each by itself; rates, means and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown event or set (with the nearest name), CF008 for more
than 10,000 days.
$$;

grant execute on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/feature_usage.sql

--! Included analytics/views/save_view.sql
create or replace function analytics.save_view(
  name text,
  address text,
  is_shared boolean default false,
  board text default null,
  board_position int default 0,
  view_id bigint default null
)
returns analytics.saved_view
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_view analytics.saved_view;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(btrim(save_view.name), '') = '' then
    perform common.refuse('CF001', 'the view has no name', 'Give a name, such as "Completion of the spring term".');
  end if;
  if length(save_view.name) > 200 or length(save_view.board) > 100 or length(save_view.address) > 4000 then
    perform common.refuse(
      'CF008',
      format(
        'the name, the board and the address have %s, %s and %s characters',
        length(save_view.name), coalesce(length(save_view.board), 0), coalesce(length(save_view.address), 0)
      ),
      'They can have at most 200, 100 and 4,000.'
    );
  end if;
  if save_view.address is null or save_view.address !~ '^/[a-z-]+(\?([A-Za-z0-9_]+=[^&#]*(&|$))*)?$' then
    perform common.refuse(
      'CF001',
      format('the address is "%s"', coalesce(left(save_view.address, 100), 'null')),
      'Give the path of a page with its settings, such as /explore?view=funnel.'
    );
  end if;
  if save_view.address ~ '[?&]person=' then
    perform common.refuse('CF005', 'the view is about one person', 'Save a view of many people.');
  end if;

  if save_view.view_id is not null then
    update analytics.saved_view
    set
      name = btrim(save_view.name),
      address = save_view.address,
      is_shared = coalesce(save_view.is_shared, false),
      board = nullif(btrim(save_view.board), ''),
      board_position = coalesce(save_view.board_position, 0),
      changed_at = now()
    where saved_view.view_id = save_view.view_id
    returning * into v_view;
    if found then
      return v_view;
    end if;
    if exists (select from analytics.saved_view where saved_view.view_id = save_view.view_id) then
      perform common.refuse('CF005', format('view %s is by another author', save_view.view_id),
        'Leave out view_id to save your own. Its author or an administrator can change it.');
    end if;
    perform common.refuse('CF002', format('there is no view %s, or it is private', save_view.view_id),
      'Leave out view_id to save your own.');
  end if;

  if (select count(*) from analytics.saved_view where saved_view.created_by = common.author()) >= 1000 then
    perform common.refuse('CF008', 'you have 1,000 saved views', 'Delete those that you do not use.');
  end if;
  insert into analytics.saved_view (name, address, is_shared, board, board_position, created_by)
  values (
    btrim(save_view.name), save_view.address, coalesce(save_view.is_shared, false),
    nullif(btrim(save_view.board), ''), coalesce(save_view.board_position, 0), common.author()
  )
  returning * into v_view;
  return v_view;
end;
$$;

comment on function analytics.save_view(text, text, boolean, text, int, bigint) is $$
Saves a view of the pages, and returns it.
`address`: the path of a page with its settings. `is_shared`: all analysts and administrators see it, and only the
author and administrators change it. `board`: pins it on the board of this name, where `board_position` orders.
`view_id`: replaces this view; null saves another one. A view contains no figures, and cannot be about one person.
Errors: CF001 for an invalid argument, CF002 for an unknown view, CF005 for a view of another author or of one person,
CF008 for values that are too long, and more than 1,000 views.
$$;

grant execute on function analytics.save_view(text, text, boolean, text, int, bigint)
to insights_analyst, insights_admin;
--! EndIncluded analytics/views/save_view.sql

--! Included analytics/views/saved_views.sql
create or replace function analytics.saved_views(board text default null)
returns setof analytics.saved_view
language sql
stable
begin atomic
  -- An invoker: the row policies of the table apply.
  select saved_view.*
  from analytics.saved_view
  where saved_views.board is null
    or saved_view.board = saved_views.board
  order by saved_view.board, saved_view.board_position, saved_view.name, saved_view.view_id;
end;

comment on function analytics.saved_views(text) is $$
Returns the saved views that the caller sees: her own, and those that are shared.
`board`: those on this board; null: all. In the order of their boards and of their places there.
$$;

grant execute on function analytics.saved_views(text) to insights_analyst, insights_admin;
--! EndIncluded analytics/views/saved_views.sql

--! Included analytics/views/delete_view.sql
create or replace function analytics.delete_view(view_id bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the row policies of the table decide which rows the caller may delete.
  delete from analytics.saved_view where saved_view.view_id = delete_view.view_id;
  if found then
    return true;
  end if;
  if exists (select from analytics.saved_view where saved_view.view_id = delete_view.view_id) then
    perform common.refuse('CF005', format('view %s is by another author', delete_view.view_id),
      'Its author or an administrator can delete it.');
  end if;
  return false;
end;
$$;

comment on function analytics.delete_view(bigint) is $$
Deletes a saved view. False when the caller can see none with this key.
Analysts can delete their own views, administrators also those that are shared.
Errors: CF005 for a view of another author.
$$;

grant execute on function analytics.delete_view(bigint) to insights_analyst, insights_admin;
--! EndIncluded analytics/views/delete_view.sql

--! Included analytics/funnels/_step_condition.sql
create or replace function analytics._step_condition(
  filters analytics.step_filter[], number int, only_visible boolean, reads_events boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select nullif(
    concat_ws(
      ' and ',
      case when filters[number].items is not null then format('used.item_id = any (($1)[%s].items)', number) end,
      case
        when filters[number].property is null then null
        when reads_events then format(
          $query$used.properties -> (($1)[%1$s].property ->> 'name') = ($1)[%1$s].property -> 'is'$query$, number
        )
        else format('used.value_id = ($12)[%s]', number)
      end,
      case when only_visible then format('used.at <@ ($3)[%s]', number) end
    ),
    ''
  )
$$;

comment on function analytics._step_condition(analytics.step_filter[], int, boolean, boolean) is $$
Returns the condition that an event `used` of the type of a step, or an exclusion, is one; null: each event is.
For the statements of `analytics._funnel_attempts`, whose parameters it names. `reads_events`: the value of a property
is that of the event itself, and not of the journey.
$$;

grant execute on function analytics._step_condition(analytics.step_filter[], int, boolean, boolean) to insights_reader;
--! EndIncluded analytics/funnels/_step_condition.sql

--! Included analytics/funnels/_search_statement.sql
create or replace function analytics._has_ties(every timestamptz[], hits timestamptz[], step_count int)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select exists (
    select
    from unnest(_has_ties.hits) as hit (at)
    cross join lateral (select width_bucket(hit.at, _has_ties.every) as number offset 0) as place
    cross join generate_series(-_has_ties.step_count, 0) as distance
    where _has_ties.every[place.number + distance] = _has_ties.every[place.number + distance + 1]
  );
end;

comment on function analytics._has_ties(timestamptz[], timestamptz[], int) is $$
Returns whether one of the events `hits`, or of the `step_count` events before it, has the time of another event.
`every`: the times of all events of a person, ascending.
$$;

grant execute on function analytics._has_ties(timestamptz[], timestamptz[], int) to insights_reader;

create or replace function analytics._search_times(
  filters analytics.step_filter[], number int, only_visible boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_list constant text := format(
    $query$analytics._concatenated(journey.%%s order by journey.person_id, journey.first_at)
      filter (where journey.event_type_id = %s)$query$,
    filters[number].event_type_id
  );
  v_times constant text := format(v_list, 'occurred_at');
  v_condition constant text := analytics._step_condition(filters, number, only_visible, false);
begin
  if v_condition is null then
    -- The times are in order already, unless some events of the type are automatic and others are not.
    return format(
      $query$
      case
        when bool_and(journey.is_automatic) filter (where journey.event_type_id = %1$s)
          = bool_or(journey.is_automatic) filter (where journey.event_type_id = %1$s)
          then %2$s
        else array(select unnest(%2$s) order by 1)
      end$query$,
      filters[number].event_type_id, v_times
    );
  end if;
  return format(
    $query$
    array(
      select used.at
      from unnest(%s, %s, %s) as used (at, item_id, value_id)
      where %s
      order by 1
    )$query$,
    v_times,
    case when filters[number].items is null then $query$'{}'::int[]$query$ else format(v_list, 'item_ids') end,
    case when filters[number].property is null then $query$'{}'::int[]$query$ else format(v_list, 'value_ids') end,
    v_condition
  );
end;
$$;

comment on function analytics._search_times(analytics.step_filter[], int, boolean) is $$
Returns the expression of the times at which a person did a step, or an exclusion, for `analytics._search_statement`.
$$;

grant execute on function analytics._search_times(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_exclusions(filters analytics.step_filter[], step int)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select string_agg(
    format(
      'select used.at from unnest(attempt.at%s) as used (at) where %s',
      excluded.number,
      (
        select string_agg(
          format('used.at is distinct from attempt.at%1$s[width_bucket(used.at, attempt.at%1$s)]', other.number),
          ' and ' order by other.number
        )
        from generate_series(1, cardinality(filters)) as other (number)
        where not filters[other.number].is_exclusion
          or filters[other.number].first_step <> filters[excluded.number].first_step
          or filters[other.number].last_step <> filters[excluded.number].last_step
      )
    ),
    ' union all ' order by excluded.number
  )
  from generate_series(1, cardinality(filters)) as excluded (number)
  where filters[excluded.number].is_exclusion
    and filters[excluded.number].first_step < step
    and filters[excluded.number].last_step >= step
$$;

comment on function analytics._search_exclusions(analytics.step_filter[], int) is $$
Returns the query of the events that keep an attempt from a step, for `analytics._search_statement`; null: none.
An excluded event at the time of another event, which is not of the same exclusion, does not count.
$$;

grant execute on function analytics._search_exclusions(analytics.step_filter[], int) to insights_reader;

create or replace function analytics._search_list(step int)
returns text
language sql
immutable
parallel safe
return case when step = 1 then 'entered' else 'at' || step::text end;

comment on function analytics._search_list(int) is $$
Returns the name of the list of the times of a step; of the first step those that begin an attempt of the bucket.
$$;

grant execute on function analytics._search_list(int) to insights_reader;

create or replace function analytics._search_first(step int, start text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when step = 1 then start
    else format(
      $query$level_%1$s.at[width_bucket(%2$s - interval '1 microsecond', level_%1$s.start) + 1]$query$, step, start
    )
  end
$$;

comment on function analytics._search_first(int, text) is $$
Returns the expression of the time at which the attempt that began at `start` reached a step.
$$;

grant execute on function analytics._search_first(int, text) to insights_reader;

create or replace function analytics._search_only(times text, earlier text, later text)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    'width_bucket(%3$s, attempt.every) - width_bucket(%2$s, attempt.every)'
      || ' = width_bucket(%3$s, attempt.%1$s) - width_bucket(%2$s, attempt.%1$s)',
    times, earlier, later
  )
$$;

comment on function analytics._search_only(text, text, text) is $$
Returns the condition that all events after `earlier`, until `later`, are in a list of times.
With ` + 1` after it: all but one.
$$;

grant execute on function analytics._search_only(text, text, text) to insights_reader;

create or replace function analytics._search_best(filters analytics.step_filter[], step int, is_strict boolean)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when analytics._search_exclusions(filters, step + 1) is null then format('level_%s.start[1]', step)
    else format(
      $query$(
        select min(former.start)
        from unnest(level_%1$s.start) as former (start)
        cross join lateral (select %2$s as at offset 0) as done
        cross join lateral (
          select excluded_%3$s.at[width_bucket(done.at, excluded_%3$s.at) + 1] as at offset 0
        ) as excluded
        where (excluded.at <= former.start + $6%4$s) is not true
      )$query$,
      step, analytics._search_first(step, 'former.start'), step + 1,
      case
        when is_strict
          then format(' and %s + 1', analytics._search_only(analytics._search_list(step), 'done.at', 'excluded.at'))
        else ''
      end
    )
  end
$$;

comment on function analytics._search_best(analytics.step_filter[], int, boolean) is $$
Returns the expression of the start of the earliest attempt that has reached a step without meeting an exclusion.
It meets none after this step either.
$$;

grant execute on function analytics._search_best(analytics.step_filter[], int, boolean) to insights_reader;

create or replace function analytics._search_level(
  filters analytics.step_filter[], step int, is_strict boolean, is_plain boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_previous constant int := step - 1;
  v_excluded constant text := analytics._search_exclusions(filters, step);
  v_is_excluded constant text := case
    when v_excluded is null then 'false'
    else format(
      'coalesce(excluded_%1$s.at[width_bucket(next.at, excluded_%1$s.at)] > %2$s, false)',
      step, analytics._search_first(v_previous, 'former.start')
    )
  end;
  v_later text := 'next.at';
  v_earlier text;
  v_only text := '';
  v_source text;
begin
  if filters[v_previous].is_optional then
    -- The closest step before it that an attempt has reached, in whose window the event is.
    v_source := format(
      $query$
      select next.at, former.start, false as is_excluded
      from (select unnest(attempt.at%s) as at) as next
      cross join lateral (select case%s end as start offset 0) as former
      where former.start is not null$query$,
      step,
      (
        select string_agg(
          format(
            $query$ when next.at <= level_%1$s.start[width_bucket(next.at, level_%1$s.at)] + $6
              then level_%1$s.start[width_bucket(next.at, level_%1$s.at)]$query$,
            earlier.number
          ),
          '' order by earlier.number desc
        )
        from generate_series(1, v_previous) as earlier (number)
        where not exists (
          select
          from generate_series(earlier.number + 1, v_previous) as later (number)
          where not filters[later.number].is_optional
        )
      )
    );
  elsif is_plain then
    -- From an event to the latest one of the step before it, and so on: the latest possible start. The first is enough.
    for v_number in reverse v_previous .. 1 loop
      v_earlier := format(
        'attempt.%2$s[width_bucket(%1$s, attempt.%2$s)]', v_later, analytics._search_list(v_number)
      );
      if is_strict then
        v_only := v_only || ' and ' || analytics._search_only('at' || v_number + 1, v_earlier, v_later);
      end if;
      v_later := v_earlier;
    end loop;
    v_source := format(
      $query$
      select next.at, %2$s as start, false as is_excluded
      from (select unnest(attempt.at%1$s%4$s) as at) as next
      where next.at <= %2$s + $6%3$s
      limit 1$query$,
      step, v_later, v_only,
      case
        when step > 2 then format(
          $query$[width_bucket(level_%1$s.at[1] - interval '1 microsecond', attempt.at%2$s) + 1:]$query$,
          v_previous, step
        )
      end
    );
  else
    v_source := format(
      $query$
      select next.at, former.start, %3$s as is_excluded
      from (select unnest(attempt.at%2$s) as at) as next
      cross join lateral (
        select
          level_%1$s.at[width_bucket(next.at, level_%1$s.at)] as at,
          level_%1$s.start[width_bucket(next.at, level_%1$s.at)] as start
      ) as former
      where next.at <= former.start + $6%4$s$query$,
      v_previous, step, v_is_excluded,
      case
        when is_strict
          then format(' and %s + 1', analytics._search_only(analytics._search_list(v_previous), 'former.at', 'next.at'))
        else ''
      end
    );
  end if;

  if is_plain then
    return format(
      $query$
      left join lateral (
        select array[done.at] as at, array[done.start] as start, true as is_reached
        from (%2$s) as done
      ) as level_%1$s on true$query$,
      step, v_source
    );
  end if;
  return case
    when v_excluded is not null then format(
      ' cross join lateral (select array(select used.at from (%s) as used order by 1) as at) as excluded_%s',
      v_excluded, step
    )
    else ''
  end || format(
    $query$
    cross join lateral (
      select
        array_agg(done.at order by done.at)%2$s as at, array_agg(done.start order by done.at)%2$s as start,
        count(*) > 0 as is_reached
      from (%3$s) as done
    ) as level_%1$s$query$,
    step,
    case when v_excluded is not null then ' filter (where not done.is_excluded)' else '' end,
    v_source
  );
end;
$$;

comment on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) is $$
Returns the part of `analytics._search_statement` that finds the attempts of a person that have reached a step.
`is_plain`: without optional steps and exclusions, where the first one is enough.
$$;

grant execute on function analytics._search_level(analytics.step_filter[], int, boolean, boolean) to insights_reader;

create or replace function analytics._search_listed(
  filters analytics.step_filter[], step_count int, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    -- Read twice: events of one time count in the order of the steps, and automatic ones are not in the list of all
    -- events. People with such steps are walked.
    listed as materialized (
      select seen.*, seen.has_automatic or analytics._has_ties(seen.every, %1$s, %2$s) as is_walked
      from (
        select journey.person_id, journey.has_automatic, %3$s as every%4$s
        from journey
        where cardinality(journey.at1) > 0
        offset 0
      ) as seen
    ),$query$,
    string_agg(format('seen.at%s', number), ' || ' order by number) filter (where number > 1),
    step_count,
    case
      when only_visible then format(
        $query$array(
          select used.at
          from unnest(journey.every) as used (at)
          where used.at <@ ($3)[cardinality($1) + 1]%s
          order by 1
        )$query$,
        string_agg(
          format(' or journey.at%1$s[width_bucket(used.at, journey.at%1$s)] = used.at', number), '' order by number
        )
      )
      else 'journey.every'
    end,
    string_agg(format(', journey.at%s', number), '' order by number)
  )
  from generate_series(1, cardinality(filters)) as number
$$;

comment on function analytics._search_listed(analytics.step_filter[], int, boolean) is $$
Returns the CTE `listed` of `analytics._search_statement`: people with the times of all their events (`every`).
$$;

grant execute on function analytics._search_listed(analytics.step_filter[], int, boolean) to insights_reader;

/*
 * `at1`, `at2`, …: the times of each step, and after them of each exclusion. `entered`: those of the first step that
 * begin an attempt. `level_1`, `level_2`, …: the events by which attempts have reached a step, with their times (`at`)
 * and the times of the first step of the attempt (`start`). Both ascend: an event of a level that is later has no
 * earlier start. Each level is found from those before it by binary search; without optional steps and exclusions,
 * only its first event, from the lists alone. `excluded_2`, …: the times of events that keep an attempt from this step.
 */
create or replace function analytics._search_statement(
  filters analytics.step_filter[],
  step_count int,
  is_strict boolean,
  by_bucket boolean,
  only_visible boolean,
  by_values boolean
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_types constant text := format(
    '%L::int[]', array(select filter.event_type_id from unnest(filters) as filter)
  );
  v_with_optional constant boolean := exists (select from unnest(filters) as filter where filter.is_optional);
  v_is_plain constant boolean := not v_with_optional and step_count = cardinality(filters);
  v_lists text := '';
  v_levels text := '';
  v_reached text := '';
  v_start text := '';
  v_times text := '';
  v_time text;
begin
  for v_number in 1 .. cardinality(filters) loop
    v_lists := v_lists || format(
      ', %s as at%s', analytics._search_times(filters, v_number, only_visible), v_number
    );
  end loop;
  for v_number in 1 .. step_count loop
    if v_number > 1 then
      v_levels := v_levels || analytics._search_level(filters, v_number, is_strict, v_is_plain);
    end if;
    v_reached := format(' when level_%1$s.is_reached then %1$s', v_number) || v_reached;
    v_start := format(
      ' when level_%s.is_reached then %s', v_number, analytics._search_best(filters, v_number, is_strict)
    ) || v_start;
    v_time := analytics._search_first(v_number, 'furthest.start');
    if v_is_plain and v_number > 1 then
      v_time := format(
        $query$
        case
          when furthest.reached >= %1$s
            then attempt.at%1$s[width_bucket(time_%2$s.at - interval '1 microsecond', attempt.at%1$s) + 1]
        end$query$,
        v_number, v_number - 1
      );
    elsif v_with_optional and v_number > 1 then
      -- A step that the attempt did after the next one is not one of its steps.
      v_time := format(
        $query$
        case
          when level_%1$s.start[width_bucket(furthest.start, level_%1$s.start)] = furthest.start
            and (%2$s <= coalesce(null::timestamptz%3$s)) is not false
            then %2$s
        end$query$,
        v_number, v_time,
        (
          select string_agg(format(', time_%s.at', later), '' order by later)
          from generate_series(v_number + 1, step_count) as later
        )
      );
    end if;
    v_time := format(' cross join lateral (select %s as at offset 0) as time_%s', v_time, v_number);
    v_times := case when v_is_plain then v_times || v_time else v_time || v_times end;
  end loop;

  return format(
    $query$
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

    -- Sorted once, for all lists of times.
    journey as (
      select journey.person_id%1$s
      from (
        select
          journey.person_id, journey.event_type_id, journey.is_automatic, journey.occurred_at, journey.item_ids%2$s,
          journey.occurred_at[1] as first_at
        from %3$s as journey
        join member
          on member.block = journey.person_id / 4096
          and get_bit(member.people, (journey.person_id %% 4096)::int) <> 0
      ) as journey
      group by journey.person_id
      having bool_or(journey.event_type_id = ($1)[1].event_type_id)
    ),

    %4$s

    attempt as (
      %5$s
    )

    select attempt.person_id, attempt.bucket, null::text, furthest.reached, array[%6$s]
    from attempt
    cross join lateral (select attempt.entered as at, attempt.entered as start, true as is_reached) as level_1%7$s
    cross join lateral (select case%8$s end as reached, case%9$s end as start) as furthest%10$s
    where furthest.start is not null
    $query$,
    v_lists || case
      when is_strict then format(
        $query$,
        array(
          select unnest(
            analytics._concatenated(journey.occurred_at order by journey.person_id, journey.first_at)
              filter (where not journey.is_automatic)
          )
          order by 1
        ) as every,
        coalesce(
          bool_or(journey.is_automatic) filter (where journey.event_type_id = any (%s)), false
        ) as has_automatic$query$,
        v_types
      )
      else ''
    end,
    case when by_values then ', journey.value_ids' else '' end,
    case
      when by_values
        then format('analytics._valued_journeys($7, $11, %L, ($2)[1], ($2)[cardinality($2)])', is_strict)
      else format(
        'analytics._journeys(%s, %L, %L, ($2)[1], ($2)[cardinality($2)])',
        v_types, is_strict, exists (select from unnest(filters) as filter where filter.items is not null)
      )
    end,
    case when is_strict then analytics._search_listed(filters, step_count, only_visible) else '' end,
    format(
      case
        when by_bucket then $query$
          select journey.*, part.bucket, part.entered
          from %1$s as journey
          cross join lateral (
            select entered.bucket, array_agg(entered.at order by entered.at) as entered
            from (
              select width_bucket(used.at, $2) as bucket, used.at
              from unnest(journey.at1) as used (at)
            ) as entered
            group by entered.bucket
          ) as part
          where %2$s
          offset 0$query$
        else 'select journey.*, 1 as bucket, journey.at1 as entered from %1$s as journey where %2$s offset 0'
      end,
      case when is_strict then 'listed' else 'journey' end,
      case when is_strict then 'not journey.is_walked' else 'cardinality(journey.at1) > 0' end
    ),
    array_to_string(array(select format('time_%s.at', number) from generate_series(1, step_count) as number), ', '),
    v_levels, v_reached, v_start, v_times
  );
end;
$$;

comment on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in an ordered or strict funnel of different events.
By binary search; see `analytics._funnel_attempts`. `by_bucket`: one attempt per person and bucket of its start.
`by_values`: properties are read, from the journeys. In a strict funnel it leaves out the people of its CTE `listed`
that are `is_walked`.
$$;

grant execute on function analytics._search_statement(
  analytics.step_filter[], int, boolean, boolean, boolean, boolean
)
to insights_reader;
--! EndIncluded analytics/funnels/_search_statement.sql

--! Included analytics/funnels/_funnel_attempts.sql
/* Times of one event by person: a row per person, with the times in order. */
create or replace aggregate analytics._concatenated(anycompatiblearray) (
  sfunc = array_cat,
  stype = anycompatiblearray,
  parallel = safe
);

comment on aggregate analytics._concatenated(anycompatiblearray) is $$Returns the arrays of a group as one.$$;

grant execute on function analytics._concatenated(anycompatiblearray) to insights_reader;

create or replace function analytics._read_properties(filters analytics.step_filter[], types int[], property text)
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with wanted as (
      select distinct
        filter.event_type_id,
        unnest(array_remove(array[filter.property ->> 'name', _read_properties.property], null)) as name
      from unnest(filters) as filter
    )

    select array_agg(declared.property_id order by entry.number)
    from unnest(types) with ordinality as entry (event_type_id, number)
    left join wanted on wanted.event_type_id = entry.event_type_id
    left join track.declared_property as declared
      on declared.event_type_id = entry.event_type_id
      and declared.property = wanted.name
    having count(distinct entry.number) = count(*)
      and bool_and(wanted.name is null or track.is_property_complete(entry.event_type_id, wanted.name) is true)
      and not exists (
        select
        from unnest(filters) as filter
        -- 1 and "1" are one value in the journeys, of which only the first 200 characters are stored.
        where jsonb_typeof(filter.property -> 'is') <> 'string'
          or filter.property ->> 'is' ~ '^(.{200,}|-?[0-9].*|true|false|[[{].*)$'
          or filter.event_type_id = 0 and coalesce(filter.property ->> 'name', _read_properties.property) is not null
      )
  );
end;
$$;

comment on function analytics._read_properties(analytics.step_filter[], int[], text) is $$
Returns the declared property that a funnel reads of each of its event types, null for a type of which it reads none.
Null when the values have to be read from the events: a property is not declared or not complete, two of a type are
read, or a value is not a text. `property`: that of the breakdown, which is read of all types.
$$;

grant execute on function analytics._read_properties(analytics.step_filter[], int[], text) to insights_reader;

/*
 * The statements have these parameters: $1 the filters, $2 the bounds, $3 the visible periods of each filter and, at
 * the end, of any event, $4 and $5 the people as blocks and bits, $6 the conversion window, $7 the event types, $8
 * whether all events are read, $9 the optional steps, one bit each, $10 the property, $11 the declared property of each
 * event type, $12 the value of each filter, and $13 the people as a list.
 */

create or replace function analytics._touch_statement(
  filters analytics.step_filter[], attribution text, only_visible boolean
)
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select format(
    $query$
    select distinct on (touched.person_id) touched.person_id, property_value.value
    from (
      select journey.person_id, place.at, place.value_id
      from analytics._valued_journeys($7, $11, false, ($2)[1], ($2)[cardinality($2)]) as journey
      join unnest($4, $5) as entry (block, people)
        on entry.block = journey.person_id / 4096
        and get_bit(entry.people, (journey.person_id %% 4096)::int) <> 0
      cross join lateral (
        select used.at, used.value_id
        from unnest(journey.occurred_at, journey.item_ids, journey.value_ids) as used (at, item_id, value_id)
        where used.value_id > 0
          and case journey.event_type_id %1$s else false end
        order by used.at %2$s
        fetch first 1 row with ties
      ) as place
    ) as touched
    join track.property_value on property_value.value_id = touched.value_id
    order by touched.person_id, touched.at %2$s, property_value.value
    $query$,
    string_agg(
      format(
        'when %s then %s',
        filter.event_type_id,
        coalesce(analytics._step_condition(filters, filter.ordinality::int, only_visible, false), 'true')
      ),
      ' ' order by filter.ordinality
    ),
    case when attribution = 'last_touch' then 'desc' else '' end
  )
  from unnest(filters) with ordinality as filter
  where not filter.is_exclusion
$$;

comment on function analytics._touch_statement(analytics.step_filter[], text, boolean) is $$
Returns the statement that finds the value of people: that of their first or last step with a value (`attribution`).
For a funnel of different events whose properties are read from the journeys; see `analytics._funnel_attempts`.
$$;

grant execute on function analytics._touch_statement(analytics.step_filter[], text, boolean) to insights_reader;

create or replace function analytics._walk_statement(
  filters analytics.step_filter[],
  step_count int,
  step_order text,
  source text,
  attribution text,
  by_bucket boolean,
  only_visible boolean,
  members text
)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_filter analytics.step_filter;
  v_steps text := '0';
  v_exclusions text := '0';
  v_bit int;
  v_expression text;
  v_source text;
  -- The steps that begin an attempt.
  v_entry constant int := case when step_order = 'unordered' then (1 << step_count) - 1 else 1 end;
  -- The first step of an attempt is in its bucket, and the step that gives the value has this value.
  v_masked constant text := concat(
    'hit.steps',
    case
      when by_bucket and step_order <> 'unordered'
        then ' & case when hit.at >= ($2)[entered.bucket + 1] then ~1 else ~0 end'
    end,
    case
      when attribution like 'step\_%' then format(
        ' & case when hit.steps & %1$s <> 0 and hit.value is distinct from given.value then ~%1$s else ~0 end',
        1 << (substr(attribution, 6)::int - 1)
      )
    end
  );
begin
  for v_number in 1 .. cardinality(filters) loop
    v_filter := filters[v_number];
    v_bit := case
      when v_filter.is_exclusion then (1 << v_filter.last_step) - (1 << v_filter.first_step)
      else 1 << (v_number - 1)
    end;
    v_expression := format(
      ' | case when %s then %s else 0 end',
      concat_ws(
        ' and ',
        case
          when v_filter.event_type_id = 0 then 'not used.is_automatic'
          else format('used.event_type_id = %s', v_filter.event_type_id)
        end,
        analytics._step_condition(filters, v_number, only_visible, source in ('events', 'listed'))
      ),
      v_bit
    );
    if v_filter.is_exclusion then
      v_exclusions := v_exclusions || v_expression;
    else
      v_steps := v_steps || v_expression;
    end if;
  end loop;

  v_source := case source
    when 'journeys' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, null::jsonb as properties,
        journey.is_automatic, null::text as value
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      $query$
    when 'values' then
      $query$
      select
        journey.person_id, journey.event_type_id, used.at, used.item_id, used.value_id, journey.is_automatic,
        property_value.value
      from analytics._valued_journeys($7, $11, $8, ($2)[1], ($2)[cardinality($2)]) as journey
      join member
        on member.block = journey.person_id / 4096
        and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
      cross join lateral unnest(journey.occurred_at, journey.item_ids, journey.value_ids)
        as used (at, item_id, value_id)
      left join track.property_value on property_value.value_id = used.value_id and $10 is not null
      $query$
    else
      format(
        $query$
        select
          event.person_id, event.event_type_id, event.occurred_at as at, event.item_id, event.properties,
          event_type.is_automatic or source.is_automatic as is_automatic,
          left(event.properties ->> $10, 200) as value
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id
        join track.source on source.source_id = event.source_id
        %s
        where event.occurred_at >= ($2)[1]
          and event.occurred_at < ($2)[cardinality($2)]
          and (event.event_type_id = any ($7) or $8)
          and event.person_id <> 0
        $query$,
        case source
          when 'events' then
            $query$
            join member
              on member.block = event.person_id / 4096
              and get_bit(member.people, (event.person_id % 4096)::int) <> 0
            $query$
          else 'join unnest($13) as listed (person_id) on listed.person_id = event.person_id'
        end
      )
  end;

  return format(
    $query$
    with member as materialized (%7$s),

    hit as (
      select used.person_id, used.at, used.steps, used.exclusions, used.value
      from (
        select used.person_id, used.at, used.value, used.is_automatic, %1$s as steps, %2$s as exclusions
        from (%3$s) as used
      ) as used
      where used.steps <> 0
        or used.exclusions <> 0
        or %4$s
    ),

    journey as (%5$s)

    select journey.person_id, journey.bucket, journey.value, attempt.reached, attempt.times
    from journey
    cross join lateral %6$s as attempt
    where attempt.reached > 0
    $query$,
    v_steps,
    v_exclusions,
    v_source,
    case
      when step_order <> 'strict' then 'false'
      when only_visible then 'not used.is_automatic and used.at <@ ($3)[cardinality($1) + 1]'
      else 'not used.is_automatic'
    end,
    format(
      $query$
      select
        %1$s as person_id, %2$s as bucket, %3$s as value,
        array_agg(hit.at order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as at,
        array_agg(%4$s order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as steps,
        array_agg(hit.exclusions order by hit.at, hit.steps <> 0, hit.steps, hit.exclusions) as exclusions
      from hit%5$s
      group by %6$s
      having bool_or(%4$s & %7$s <> 0)
      $query$,
      'hit.person_id',
      case when by_bucket then 'entered.bucket' else '1' end,
      case
        when attribution is null then 'null::text'
        when attribution in ('first_touch', 'last_touch') then format(
          $query$(
            array_agg(hit.value order by hit.at%s, hit.value) filter (where hit.steps <> 0 and hit.value is not null)
          )[1]$query$,
          case when attribution = 'last_touch' then ' desc' end
        )
        when attribution = 'all_events' then 'hit.value'
        else 'given.value'
      end,
      v_masked,
      concat(
        case
          when by_bucket then format(
            $query$
            join (
              select distinct hit.person_id, width_bucket(hit.at, $2) as bucket
              from hit
              where hit.steps & %s <> 0
            ) as entered
              on entered.person_id = hit.person_id
              and hit.at >= ($2)[entered.bucket]
              and hit.at <= ($2)[entered.bucket + 1] + $6
            $query$,
            v_entry
          )
        end,
        case
          when attribution like 'step\_%' then format(
            $query$
            left join (
              select distinct hit.person_id, hit.value
              from hit
              where hit.steps & %s <> 0
            ) as given on given.person_id = hit.person_id
            $query$,
            1 << (substr(attribution, 6)::int - 1)
          )
        end
      ),
      concat_ws(
        ', ',
        'hit.person_id',
        case when by_bucket then 'entered.bucket' end,
        case when attribution = 'all_events' then 'hit.value' when attribution like 'step\_%' then 'given.value' end
      ),
      v_entry
    ),
    case
      when step_order = 'unordered' then format(
        'analytics._walk_unordered(journey.at, journey.steps, journey.exclusions, %s, $6, %s)',
        step_count,
        case when by_bucket then '($2)[journey.bucket + 1]' else $query$'infinity'$query$ end
      )
      else format(
        $query$(
          select walked.reached, walked.times
          from analytics._walk_steps(
            journey.at, journey.steps, journey.exclusions, %s, $6, $9, %s
          ) as walked
          where not walked.is_excluded
        )$query$,
        step_count, case when step_order = 'strict' then 'true' else 'false' end
      )
    end,
    members
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `source`: `journeys`, `values` (journeys with properties), `events` (properties of
the events themselves), or `listed` (these, of the people $13). `by_bucket`: one attempt per person and bucket of its
start. `members`: the query of the people, as blocks and bits.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
)
to insights_reader;

create or replace function analytics._funnel_attempts(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  property text,
  attribution text,
  smallest_group int
)
returns table (person_id bigint, bucket int, value text, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- A row has the journey of a person.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_by_bucket constant boolean := cardinality(bounds) > 2;
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_types constant int[] := array(
    select distinct filter.event_type_id from unnest(filters) as filter where filter.event_type_id <> 0
  );
  v_with_any constant boolean := step_order = 'strict'
    or exists (select from unnest(filters) as filter where filter.event_type_id = 0);
  v_with_values constant boolean := _funnel_attempts.property is not null
    or exists (select from unnest(filters) as filter where filter.property is not null);
  -- Null: the values are read from the events.
  v_properties constant int[] := case
    when v_with_values then analytics._read_properties(filters, v_types, _funnel_attempts.property)
  end;
  v_source constant text := case
    when not v_with_values then 'journeys'
    when v_properties is not null then 'values'
    else 'events'
  end;
  -- A value without a key is -1, so that it is equal to none.
  v_values constant int[] := array(
    select
      coalesce(
        (
          select property_value.value_id
          from track.property_value
          where property_value.property_id = v_properties[array_position(v_types, filter.event_type_id)]
            and property_value.value = filter.property ->> 'is'
        ),
        -1
      )
    from unnest(filters) with ordinality as filter
    order by filter.ordinality
  );
  v_optional constant int := (
    select coalesce(sum(1 << (filter.first_step - 1)), 0)
    from unnest(filters) as filter
    where filter.is_optional
  );
  -- Where no event is two steps or exclusions.
  v_by_search constant boolean := step_order in ('ordered', 'strict')
    and v_source <> 'events'
    and (
      _funnel_attempts.property is null
      or not v_by_bucket and _funnel_attempts.attribution in ('first_touch', 'last_touch')
    )
    -- Without any event (0), and without both optional steps and exclusions.
    and cardinality(v_types) = cardinality(filters)
    and (v_optional = 0 or v_step_count = cardinality(filters));
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_queued bigint[];
  v_statement text;
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from analytics._members(_funnel_attempts.among, _funnel_attempts.smallest_group) as member;
  if smallest_group is not null then
    v_visible := array(
      select
        analytics._visible_periods(
          entry.event_type_id, entry.item_id, _funnel_attempts.among, bounds, _funnel_attempts.smallest_group
        )
      from (
        select filter.event_type_id, filter.item_id, filter.ordinality
        from unnest(filters) with ordinality as filter
        union all
        select 0, null, cardinality(filters) + 1 where step_order = 'strict'
      ) as entry
      order by entry.ordinality
    );
  end if;

  -- The journeys of people who are queued for a refresh do not have the values of now: their events are read.
  if v_source = 'values' then
    v_queued := array(
      select queued.person_id
      from unnest(
        (track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1)).people
      ) as queued (person_id)
      join unnest(v_blocks, v_people) as entry (block, people) on entry.block = queued.person_id / 4096
      where get_bit(entry.people, (queued.person_id % 4096)::int) <> 0
    );
    if v_queued <> '{}' then
      return query execute analytics._walk_statement(
        filters, v_step_count, step_order, 'listed',
        case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null,
        'select 0 as block, null::bit(4096) as people where false'
      )
      using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
        _funnel_attempts.property, v_properties, v_values, v_queued;
      v_people := array(
        select entry.people & ~coalesce(queued.people, v_no_people)
        from unnest(v_blocks, v_people) as entry (block, people)
        left join (
          select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
          from unnest(v_queued) as listed (person_id)
          group by 1
        ) as queued on queued.block = entry.block
        order by entry.block
      );
    end if;
  end if;

  if v_by_search then
    v_statement :=
      analytics._search_statement(
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null, v_source = 'values'
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, v_source, null, v_by_bucket, v_visible is not null,
            $query$
            select listed.person_id / 4096 as block, bit_or(track.person_bit(listed.person_id)) as people
            from listed
            where listed.is_walked
            group by listed.person_id / 4096
            $query$
          )
        )
        else ''
      end;
    if _funnel_attempts.property is not null then
      v_statement := format(
        $query$
        select attempt.person_id, attempt.bucket, touched.value, attempt.reached, attempt.times
        from (%s) as attempt (person_id, bucket, value, reached, times)
        left join (%s) as touched on touched.person_id = attempt.person_id
        $query$,
        v_statement, analytics._touch_statement(filters, attribution, v_visible is not null)
      );
    end if;
  else
    v_statement := analytics._walk_statement(
      filters, v_step_count, step_order, v_source,
      case when _funnel_attempts.property is not null then attribution end, v_by_bucket, v_visible is not null,
      'select entry.block, entry.people from unnest($4, $5) as entry (block, people)'
    );
  end if;
  return query execute v_statement
  using filters, bounds, v_visible, v_blocks, v_people, conversion_window, v_types, v_with_any, v_optional,
    _funnel_attempts.property, v_properties, v_values, v_queued;
end;
$$;

comment on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) is $$
Returns the furthest attempt of each person in a funnel, with the privileges of the caller.
`filters`: the steps and exclusions (`analytics._funnel_steps`). `bounds`: ascending times; the events are those
between the first and the last one. With more than two, there is one attempt per person and bucket in which the person
did the first step. `property`: the attempts have the value of this property of the events that `attribution` names;
null: null. `reached`: the number of the furthest step; `times`: the time of each step, null where it was not done (in
an unordered funnel the times of that many steps). People whose furthest attempt met an exclusion are left out, except
in an unordered funnel. `smallest_group`: events of counted people in `analytics._visible_periods`; null: of all
people.
$$;

grant execute on function analytics._funnel_attempts(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int
) to insights_reader;
--! EndIncluded analytics/funnels/_funnel_attempts.sql

--! Included analytics/learning/engagement_levels.sql
create or replace function analytics._engagement_levels(course text, kind text, among text, smallest_group int)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_engagement_levels.course, ''));
  -- As in Aspects.
  v_labels constant text[] := case _engagement_levels.kind
    when 'task' then '{No problems attempted yet,At least one problem attempted,All problems attempted}'
    else format('{No %1$ss viewed yet,At least one %1$s viewed,All %1$ss viewed}', _engagement_levels.kind)
  end::text[];
  v_learners bigint[];
begin
  if _engagement_levels.kind is null or _engagement_levels.kind not in ('page', 'video', 'task') then
    perform common.refuse(
      'CF001', format('kind is "%s"', left(_engagement_levels.kind, 100)), 'Use page, video or task.'
    );
  end if;
  if not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ) then
    perform common.refuse(
      'CF002',
      format('course "%s" contains no %s', left(_engagement_levels.course, 100), _engagement_levels.kind),
      coalesce(
        (
          select 'It contains items of the kinds ' || string_agg(distinct item.kind, ', ') || '.'
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = v_course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;
  v_learners := analytics._enrolled_learners(
    _engagement_levels.course, _engagement_levels.among, _engagement_levels.smallest_group
  );

  return query
  with learner as materialized (
    select entry.person_id from unnest(v_learners) as entry (person_id)
  ),

  -- The section of an item is the part of the course that contains it, or the course.
  part as materialized (
    select
      item.item_id,
      coalesce(
        (
          select section.ancestor_item_id
          from track.item_ancestor as section
          where section.item_id = item.item_id
            and section.depth = ancestor.depth - 1
            and section.depth > 0
          limit 1
        ),
        v_course_id
      ) as section_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ),

  size as (
    select part.section_id, count(*) as item_count from part group by part.section_id
  ),

  used as (
    select entry.section_id, entry.person_id, count(*) as item_count
    from (
      select distinct part.section_id, part.item_id, item_month.part::bigint * 32768 + listed.person as person_id
      from part
      join track.item_month on item_month.item_id = part.item_id
      cross join lateral unnest(item_month.people) as listed (person)
    ) as entry
    group by entry.section_id, entry.person_id
  ),

  counted as (
    select
      size.section_id,
      case
        when coalesce(used.item_count, 0) = 0 then 1
        when used.item_count < size.item_count then 2
        else 3
      end as level,
      count(*) as person_count
    from size
    cross join learner
    left join used on used.section_id = size.section_id and used.person_id = learner.person_id
    group by 1, 2
  ),

  shown as (
    select
      size.section_id, size.item_count, listed.level,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _engagement_levels.smallest_group), 0
      )::bigint as person_count
    from size
    cross join generate_series(1, 3) as listed (level)
    left join counted on counted.section_id = size.section_id and counted.level = listed.level
  )

  select
    item.external_id, item.title, shown.item_count, v_labels[shown.level], shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (partition by shown.section_id), 0)::float8
  from shown
  join track.item on item.item_id = shown.section_id
  order by item.external_id collate "C", shown.level;
end;
$$;

comment on function analytics._engagement_levels(text, text, text, int) is $$
Computes the result of `analytics.engagement_levels`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._engagement_levels(text, text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._engagement_levels_exact(
  course text,
  kind text,
  among text
)
returns setof analytics.engagement_level
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._engagement_levels(
    $1, $2, $3, null
  );
$$;

alter function analytics._engagement_levels_exact(text, text, text)
owner to insights_reader;

comment on function analytics._engagement_levels_exact(text, text, text) is $$
Returns the result of `analytics.engagement_levels` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._engagement_levels_exact(text, text, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._engagement_levels_shown(
  course text,
  kind text,
  among text
)
returns setof analytics.engagement_level
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._engagement_levels(
    $1, $2, $3, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._engagement_levels_shown(text, text, text)
owner to insights_reader;

comment on function analytics._engagement_levels_shown(text, text, text) is $$
Returns the result of `analytics.engagement_levels` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._engagement_levels_shown(text, text, text)
to insights_analyst;

create or replace function analytics.engagement_levels(
  course text,
  kind text default 'page',
  among text default null
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._engagement_levels_exact(text, text, text)',
    'execute'
  ) then
    return query
    select *
    from analytics._engagement_levels_exact(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among
    );
  else
    return query
    select *
    from analytics._engagement_levels_shown(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among
    );
  end if;
end;
$$;

comment on function analytics.engagement_levels(text, text, text) is $$
Returns how many learners of a course have viewed none, some or all pages of each of its sections.
The levels are those of Open edX Aspects: "No pages viewed yet", "At least one page viewed" (not all), "All pages
viewed"; with `kind` = `video` or `task` the same of videos, and of problems attempted. A section is a part of the
course that contains such items; items that are in no section are in the course itself. Learners are those who are
enrolled and have not dropped the course. An item counts as viewed or attempted with any event or page view of it.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed from
these numbers. As of the last refresh of the sessions.
Errors: CF001 for another kind, CF002 for an unknown course or set (names the nearest), and a course without such
items.
$$;

grant execute on function analytics.engagement_levels(text, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/engagement_levels.sql

--! Included analytics/learning/_kind_items.sql
create or replace function analytics._kind_items(course_id bigint, kind text)
returns table (item_id bigint, kind_item_id bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _kind_items.kind is not null and not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _kind_items.kind
    where ancestor.ancestor_item_id = _kind_items.course_id
  ) then
    perform common.refuse(
      'CF002',
      format('the course contains no items of kind "%s"', left(_kind_items.kind, 100)),
      coalesce(
        (
          select 'It contains items of the kinds ' || string_agg(distinct item.kind, ', ') || '.'
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = _kind_items.course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;

  return query
  select distinct on (within.item_id) within.item_id, holder.ancestor_item_id
  from track.item_ancestor as within
  join track.item_ancestor as holder on holder.item_id = within.item_id
  join track.item on item.item_id = holder.ancestor_item_id
  -- An item that contains the course is not a part of it.
  join track.item_ancestor as part
    on part.item_id = holder.ancestor_item_id
    and part.ancestor_item_id = _kind_items.course_id
  where within.ancestor_item_id = _kind_items.course_id
    and (item.kind = _kind_items.kind or _kind_items.kind is null and holder.depth = 0)
  order by within.item_id, holder.depth;
end;
$$;

comment on function analytics._kind_items(bigint, text) is $$
Returns the items of a course, each with the nearest item of a kind that it is or that contains it.
Items outside of such an item have no row. `kind` null: each item with itself; the course is one of them.
Errors: CF002 for a kind of which the course contains no items (lists its kinds).
$$;

grant execute on function analytics._kind_items(bigint, text) to insights_reader;
--! EndIncluded analytics/learning/_kind_items.sql

--! Included analytics/functions/erase.sql
create or replace function analytics.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Not her enrolments alone: a later one takes the place of the first, and a correction removes it.
  v_first_at constant timestamptz := least(
    (select min(enrolment.enrolled_at) from track.enrolment where enrolment.person_id = any (subject.identity_ids)),
    (
      select min(identity.created_at)
      from track.identity
      where identity.identity_id = any (subject.identity_ids)
        and identity.kind = 'user'
    )
  );
  v_project text;
  v_versions int[];
  v_rows bigint := 0;
begin
  -- The people of a training are not recorded: each version that was trained since her name is known may contain her.
  for v_project, v_versions in
    select project.name, array_agg(model.version)
    from analytics.prediction_target as entry
    join ml.project on project.name = entry.project
    join ml.model using (project_id)
    where model.trained_at >= v_first_at
    group by project.name
    order by project.name
  loop
    v_rows := v_rows + ml.mark_for_training(v_project, 'a person was erased', v_versions);
  end loop;
  return next row('ml.model', v_rows, 'marked')::privacy.erased;

  -- The centroids are means over people, which may include her. Nothing of them is in a later fit.
  if exists (select from analytics.cluster where cluster.retired_at is null) then
    update analytics.cluster_setting set is_marked = true;
    return next row('analytics.cluster_setting', 1, 'marked')::privacy.erased;
  end if;
  return next privacy.erase_rows('analytics.cluster_member', 'identity_id', subject.identity_ids);

  -- A query about her cannot be run any more. Her name as another argument is the name of something else.
  delete from analytics.saved_query
  where exists (
    select
    from unnest(privacy.user_names(subject)) as named (name)
    where jsonb_path_exists(
        saved_query.arguments, '$.person ? (@ == $name)', jsonb_build_object('name', named.name)
      )
      or jsonb_path_exists(
        saved_query.arguments, '$.people ? (@ == $name)', jsonb_build_object('name', named.name)
      )
  );
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_query', v_rows, 'deleted')::privacy.erased;
  -- A view that is not shared is seen by its author only.
  delete from analytics.saved_view
  where not saved_view.is_shared
    and saved_view.created_by = any (privacy.user_names(subject));
  get diagnostics v_rows = row_count;
  return next row('analytics.saved_view', v_rows, 'deleted')::privacy.erased;
  return next privacy.erase_rows('analytics.snapshot', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('analytics.intervention', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('analytics.intervention', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.annotation', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_query', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.saved_view', 'created_by', privacy.user_names(subject));
  return next privacy.clear_values('analytics.cohort', 'defined_by', privacy.user_names(subject));
end;
$$;

comment on function analytics.erase(privacy.subject) is $$
@behavior -*
Erases a person from the training data of predictions, the notes about her, and her name where she is the author.
Marks the versions that may have been trained on her data, so that they are not used until the next training, and the
clusters of behaviour, which are fitted again in the following night.
Called by `privacy.erase_person`. Cohorts and segments are sets of people: see `track.erase`.
$$;
--! EndIncluded analytics/functions/erase.sql

--! Included analytics/access/export.sql
create or replace function analytics.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return next privacy.exported_rows(
    'analytics.snapshot',
    (
      select jsonb_agg(
        jsonb_build_object(
          'target', snapshot.target,
          'course', item.external_id,
          'as_of', snapshot.as_of,
          'feature', to_jsonb(snapshot.feature) - '{person_id,course_id}'::text[],
          'outcome', snapshot.outcome
        )
        order by snapshot.target, snapshot.as_of, snapshot.course_id
      )
      from analytics.snapshot
      left join track.item on item.item_id = snapshot.course_id
      where snapshot.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'analytics.prediction_target',
    (
      select jsonb_agg(prediction order by prediction ->> 'target', prediction ->> 'course')
      from analytics._export_predictions(subject) as prediction
    ),
    'Predictions about the person as of now, with the features that changed them.'
  );
  return next privacy.exported_rows(
    'analytics.cluster_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'identity', identity.external_id, 'cluster', cluster_member.name, 'description', person_set.description
        )
        order by cluster_member.identity_id
      )
      from analytics.cluster_member
      join track.identity on identity.identity_id = cluster_member.identity_id
      join track.person_set on person_set.name = cluster_member.name
      where cluster_member.identity_id = any (subject.identity_ids)
    ),
    'The cluster of people with similar behaviour.'
  );
  return next privacy.exported_rows(
    'analytics.intervention',
    (
      -- Of the author, the learner gets no name; of the learner, the author gets what she herself did.
      select jsonb_agg(
        jsonb_build_object(
          'course', item.external_id, 'action', intervention.action, 'happened_at', intervention.happened_at,
          'created_at', intervention.created_at
        )
        || case
          when intervention.identity_id = any (subject.identity_ids) then jsonb_build_object(
            'identity', identity.external_id, 'note', intervention.note, 'risk', intervention.risk
          )
          else '{}'
        end
        || case
          when intervention.created_by = any (privacy.user_names(subject))
            then jsonb_build_object('created_by', intervention.created_by)
          else '{}'
        end
        order by intervention.intervention_id
      )
      from analytics.intervention
      join track.item on item.item_id = intervention.course_id
      join track.identity on identity.identity_id = intervention.identity_id
      where intervention.identity_id = any (subject.identity_ids)
        or intervention.created_by = any (privacy.user_names(subject))
    ),
    'What teachers did about the person, with their notes, and what she did about learners as a teacher.'
  );
  return next privacy.exported_rows(
    'analytics.annotation',
    (
      select jsonb_agg(to_jsonb(annotation) - 'annotation_id' order by annotation.annotation_id)
      from analytics.annotation
      where annotation.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_query',
    (
      select jsonb_agg(
        to_jsonb(saved) || jsonb_build_object(
          'created_by', case
            when saved.created_by = any (privacy.user_names(subject)) then saved.created_by
            else 'an administrator'
          end
        )
        order by saved.name
      )
      from analytics.saved_query as saved
      where saved.created_by = any (privacy.user_names(subject))
        or exists (
          select
          from jsonb_path_query(saved.arguments, '$.** ? (@.type() == "string")') as argument
          where argument #>> '{}' = any (privacy.user_names(subject))
        )
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_view',
    (
      select jsonb_agg(to_jsonb(saved_view) - 'view_id' order by saved_view.view_id)
      from analytics.saved_view
      where saved_view.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.cohort',
    (
      select jsonb_agg(to_jsonb(cohort) order by cohort.name)
      from analytics.cohort
      where cohort.defined_by = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function analytics.export(privacy.subject) is $$
@behavior -*
Returns the predictions about a person, their training data, the notes of teachers about her, and what she has written.
For `privacy.export_person`.
$$;
--! EndIncluded analytics/access/export.sql

-- from analytics/policies.sql
grant select, delete on analytics.saved_view to insights_analyst, insights_admin;
grant insert (name, address, is_shared, board, board_position, created_by),
  update (name, address, is_shared, board, board_position, changed_at)
on analytics.saved_view to insights_analyst, insights_admin;
drop policy if exists own_and_shared on analytics.saved_view;
create policy own_and_shared on analytics.saved_view for select
to insights_analyst, insights_admin using (is_shared or created_by = common.author());
drop policy if exists authors_write on analytics.saved_view;
create policy authors_write on analytics.saved_view for insert
to insights_analyst, insights_admin with check (created_by = common.author());
drop policy if exists authors_change on analytics.saved_view;
create policy authors_change on analytics.saved_view for update
to insights_analyst using (created_by = common.author());
drop policy if exists admins_change on analytics.saved_view;
create policy admins_change on analytics.saved_view for update
to insights_admin using (is_shared or created_by = common.author())
with check (is_shared or created_by = common.author());
drop policy if exists authors_delete on analytics.saved_view;
create policy authors_delete on analytics.saved_view for delete
to insights_analyst using (created_by = common.author());
drop policy if exists admins_delete on analytics.saved_view;
create policy admins_delete on analytics.saved_view for delete
to insights_admin using (is_shared or created_by = common.author());

-- from analytics/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description, basis)
values
  (
    'analytics', 'snapshot', 'person_id', 'person', 'analytics', 'deleted',
    'Learner in the data of a training in progress.', null
  ),
  ('analytics', 'snapshot', 'feature', 'derived', 'analytics', 'deleted', 'Features of the learner.', null),
  (
    'analytics', 'intervention', 'identity_id', 'identity', 'analytics', 'deleted',
    'Learner about whom a teacher did something.', null
  ),
  ('analytics', 'intervention', 'action', 'behaviour', 'analytics', 'deleted', 'Kind of what the teacher did.', null),
  ('analytics', 'intervention', 'note', 'behaviour', 'analytics', 'deleted', 'Note about the learner.', null),
  ('analytics', 'intervention', 'risk', 'derived', 'analytics', 'deleted', 'Prediction about the learner.', null),
  ('analytics', 'intervention', 'created_by', 'identity', 'service', 'cleared', 'Author of the note.', null),
  (
    'analytics', 'cluster_member', 'identity_id', 'identity', 'analytics', 'deleted',
    'Person whose behaviour was clustered.', null
  ),
  ('analytics', 'cluster_member', 'name', 'derived', 'analytics', 'deleted', 'Cluster of the person.', null),
  (
    'analytics', 'cluster', 'centroid', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'Means over five people or more. They are computed again, without the person, in the night after an erasure.'
  ),
  (
    'analytics', 'cluster', 'means', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'As analytics.cluster.centroid.'
  ),
  (
    'analytics', 'cluster', 'deviations', 'derived', 'analytics', 'kept', 'Means of the behaviour of people.',
    'As analytics.cluster.centroid.'
  ),
  ('analytics', 'annotation', 'created_by', 'identity', 'service', 'cleared', 'Author of the annotation.', null),
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'cleared', 'Author of the query.', null),
  (
    'analytics', 'saved_view', 'created_by', 'identity', 'service', 'cleared',
    'Author of the view. Views that are not shared are deleted with the author.', null
  ),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service', 'deleted',
    'Arguments; those of queries for administrators can name a person. A query that names one is deleted.', null
  ),
  (
    'analytics', 'cohort', 'rule', 'traits', 'analytics', 'kept',
    'Rule of a cohort, which can contain a value of a trait or property.',
    'An administrator wrote it about all people who have the value.'
  ),
  (
    'analytics', 'cohort', 'names', 'derived', 'analytics', 'kept',
    'Names in the rule.',
    'As analytics.cohort.rule.'
  ),
  (
    'analytics', 'cohort', 'defined_by', 'identity', 'service', 'cleared',
    'Administrator who defined the cohort.', null
  )
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'analytics', 'annotation', '{title,description}',
      'Releases, terms and holidays; there is no field for a person.'
    ),
    ('analytics', 'saved_query', '{name,description,function_name}', 'Name and function of a query.'),
    ('analytics', 'saved_view', '{name,address,board}', 'Name and settings of a page; those of a person are refused.'),
    ('analytics', 'cohort', '{name}', 'Name of a cohort.'),
    (
      'analytics', 'trend_watch', '{name,event_name,zone,item,among}', 'Definition of a watched trend.'
    ),
    ('analytics', 'trend_anomaly', '{name}', 'Name of a watched trend.'),
    ('analytics', 'cluster', '{name}', 'Name of a cluster of people.'),
    ('analytics', 'cluster_move', '{from_cluster,to_cluster}', 'Names of clusters, with a number of people.'),
    ('analytics', 'cluster_fit', '{tried,silhouettes}', 'Figures of a fit.'),
    ('analytics', 'prediction_target', '{project,description}', 'Targets of predictions.'),
    ('analytics', 'snapshot', '{target}', 'Name of a target.'),
    (
      'analytics', 'training', '{target,moments,courses_left,algorithms_left}',
      'Work that a training has left.'
    )
) as entry (schema_name, table_name, column_names, reason)
cross join unnest(entry.column_names::text[]) as column_name
on conflict (schema_name, table_name, column_name) do update
set
  holds = excluded.holds,
  purpose = excluded.purpose,
  description = excluded.description,
  erasure = excluded.erasure,
  basis = excluded.basis;

--! Included monitor/probes/_connected_standbys.sql
create or replace function monitor._connected_standbys()
returns table (name text)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select distinct left(coalesce(nullif(replication.application_name, ''), 'unnamed'), 200)
  from pg_stat_replication as replication
  -- Backups, pg_receivewal and the first copy of a subscription come and go.
  where replication.application_name not like 'pg\_%'
$$;

comment on function monitor._connected_standbys() is $$
Returns the names of the standbys and subscribers that are connected. Names are visible to all roles.
$$;
--! EndIncluded monitor/probes/_connected_standbys.sql

--! Included monitor/probes/_absent_standbys.sql
create or replace function monitor._absent_standbys()
returns table (name text, absence interval)
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select known.name, known.absence
  from (
    select
      series.labels ->> 'standby' as name,
      make_interval(secs => series.value) + (clock_timestamp() - series.measured_at) as absence
    from monitor.series
    where series.metric = 'insights_replication_absence_seconds'
  ) as known
  where known.absence < interval '7 days'
    -- A standby that was promoted has its own past.
    and known.name <> current_setting('cluster_name')
    and not pg_is_in_recovery()
    and known.name not in (select connected.name from monitor._connected_standbys() as connected)
$$;

comment on function monitor._absent_standbys() is $$
Returns the standbys that were connected in the last seven days and are not, with the time since they were seen.
The metric `insights_replication_absence_seconds` is the memory: 0 while a standby is connected, then its absence.
$$;
--! EndIncluded monitor/probes/_absent_standbys.sql

--! Included monitor/checks/_check_this_standby.sql
create or replace function monitor._check_this_standby(lag_limit interval)
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_connected constant boolean := exists (select from pg_stat_wal_receiver);
  -- Nothing received is left to replay: the time of the last transaction is then no lag.
  v_is_complete constant boolean := v_is_connected and pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn();
  v_lag constant interval := clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time());
begin
  if v_is_complete or v_lag < _check_this_standby.lag_limit then
    return;
  end if;
  return query
  select (monitor._finding(
    'replication', 'this standby',
    case when v_lag >= 12 * _check_this_standby.lag_limit then 'critical' else 'warning' end,
    case
      when pg_is_wal_replay_paused() then
        format('this standby has paused its replay, and is %s behind', monitor._duration(v_lag))
      when not v_is_connected then
        format('this standby is not connected to a primary, and has replayed nothing for %s', monitor._duration(v_lag))
      else format('this standby is %s behind', monitor._duration(v_lag))
    end,
    case
      when pg_is_wal_replay_paused() then 'Continue it: select pg_wal_replay_resume()'
      when not v_is_connected then 'Its log has the reason. See primary_conninfo, primary_slot_name, and the slot '
        || 'on the primary: select slot_name, active, wal_status from pg_replication_slots'
      else 'Look at its load, and for a long query, which stops the replay for max_standby_streaming_delay: '
        || 'select pid, query_start, state from pg_stat_activity order by query_start'
    end,
    extract(epoch from v_lag), extract(epoch from _check_this_standby.lag_limit)
  )).*;
end;
$$;

comment on function monitor._check_this_standby(interval) is $$
Finds that the replay of this server, a standby, is behind by the given time: paused, disconnected, or slow.
$$;
--! EndIncluded monitor/checks/_check_this_standby.sql

--! Included monitor/checks/_check_replication.sql
create or replace function monitor._check_replication()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_limit constant interval := (select setting.standby_lag_limit from monitor.alert_setting as setting);
begin
  if version() like '%wasm%' then
    return;
  end if;
  if pg_is_in_recovery() then
    return query select found.* from monitor._check_this_standby(v_limit) as found;
    return;
  end if;

  return query
  select (monitor._finding(
    'replication', 'slot ' || slot.slot_name,
    case when slot.wal_status in ('unreserved', 'lost') or slot.bytes >= 50e9 then 'critical' else 'warning' end,
    case slot.wal_status
      when 'lost' then format('the replication slot %s has lost data that its standby needs', slot.slot_name)
      else format(
        'the replication slot %s is %s and holds %s of WAL', slot.slot_name,
        case when slot.active then 'behind' else 'not in use' end, pg_size_pretty(slot.bytes)
      )
    end,
    case slot.wal_status
      when 'lost' then format('Build its standby again, and drop the slot: select pg_drop_replication_slot(%L)',
        slot.slot_name)
      else format('Start what reads it. If nothing does any more, drop it before the disk is full: '
        || 'select pg_drop_replication_slot(%L)', slot.slot_name)
    end,
    slot.bytes::float8, 1e9
  )).*
  from (
    select slots.slot_name, slots.active, slots.wal_status,
      pg_wal_lsn_diff(pg_current_wal_lsn(), slots.restart_lsn) as bytes
    from pg_catalog.pg_replication_slots as slots
  ) as slot
  where slot.wal_status in ('unreserved', 'lost')
    or not slot.active and slot.bytes >= 1e9
    or slot.bytes >= 10e9;

  return query
  -- Visible to members of pg_read_all_stats only.
  select (monitor._finding(
    'replication', 'standby ' || coalesce(nullif(standby.application_name, ''), standby.pid::text),
    case when standby.replay_lag >= 12 * v_limit then 'critical' else 'warning' end,
    format('the standby %s is %s behind', coalesce(nullif(standby.application_name, ''), standby.pid::text),
      monitor._duration(standby.replay_lag)),
    'On the standby, continue the replay if it is paused: select pg_wal_replay_resume(). Otherwise look at its load '
      || 'and network, and for a long query there, which stops it for max_standby_streaming_delay: '
      || 'select pid, query_start, state from pg_stat_activity order by query_start',
    extract(epoch from standby.replay_lag), extract(epoch from v_limit)
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.replay_lag >= v_limit;

  return query
  select (monitor._finding(
    'replication', 'standby ' || standby.name,
    case when standby.absence >= 12 * v_limit then 'critical' else 'warning' end,
    format('the standby %s has not been connected for %s', standby.name, monitor._duration(standby.absence)),
    format('Start it; its log has the reason why it cannot connect. If it was removed: '
      || 'select monitor.silence(''replication'', now() + interval ''7 days'', ''removed'', %L)',
      'standby ' || standby.name),
    extract(epoch from standby.absence), extract(epoch from v_limit)
  )).*
  from monitor._absent_standbys() as standby
  where standby.absence >= v_limit;

  return query
  select (monitor._finding(
    'replication', 'visibility', 'warning',
    format('standbys are connected (%s), and how far they are behind is not visible', count(*)),
    'As an administrator: grant pg_read_all_stats to insights_owner'
  )).*
  from pg_catalog.pg_stat_replication as standby
  where standby.state is null
  having count(*) > 0;
end;
$$;

comment on function monitor._check_replication() is $$
Finds replication slots that hold much WAL or have lost it, and standbys that are behind or no longer connected.
The limit of both is `monitor.alert_setting.standby_lag_limit`. On a standby, its own replay is checked.
$$;
--! EndIncluded monitor/checks/_check_replication.sql

--! Included monitor/rules/_learn_bounds.sql
create or replace function monitor._learn_bound(
  series_id int,
  kind text,
  unit text,
  hold interval,
  at timestamptz
)
returns monitor.rule_bound
language sql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
  with known as (
    select
      -- Values of each day are enough after two weeks.
      least(100, extract(epoch from interval '14 days') / extract(epoch from probe.every)) as fewest,
      round(extract(epoch from _learn_bound.hold) / extract(epoch from probe.every))::int as steps,
      case
        when _learn_bound.unit = 'ratio' then 0.001
        when _learn_bound.unit = 'flag' then 0.01
        when _learn_bound.unit = 'bytes' then 1e6
        when _learn_bound.unit = 'seconds' then 0.1
        when _learn_bound.kind = 'counter' then 0.01
        else 1
      end::float8 as least_spread
    from monitor.series
    join monitor.probe using (probe)
    where series.series_id = _learn_bound.series_id
  ),

  past as materialized (
    select
      measured.value, measured.sampled_at,
      (24 * extract(isodow from measured.sampled_at) + extract(hour from measured.sampled_at))::int as hour_of_week
    -- Without the last hour, which may be the problem itself, and with the same hour of four weeks.
    from monitor._series_values(
      _learn_bound.series_id, _learn_bound.kind,
      _learn_bound.at - interval '29 days', _learn_bound.at - interval '1 hour'
    ) as measured
  ),

  total as (
    select
      count(*) as values, max(past.sampled_at) - min(past.sampled_at) as period,
      percentile_cont(0.5) within group (order by past.value) as median
    from past
  ),

  hour as (
    select
      past.hour_of_week, count(*) as values, count(distinct past.sampled_at::date) as weeks,
      percentile_cont(0.5) within group (order by past.value) as median
    from past
    group by past.hour_of_week
  ),

  -- Whether the hours of the week explain the series, and how far values are from the median of their hour, as a share
  -- of it: the few values of one hour, of four days, underestimate that.
  weekly as (
    select
      sum(abs(past.value - hour.median)) < 0.5 * sum(abs(past.value - total.median)) as is_weekly,
      percentile_cont(0.5) within group (
        order by abs(past.value - hour.median) / greatest(abs(hour.median), known.least_spread)
      ) as relative_deviation
    from past
    join hour using (hour_of_week)
    cross join total
    cross join known
  ),

  chosen as (
    select
      case
        when total.values < known.fewest or total.period < interval '1 day' then 'learning'
        when weekly.is_weekly and hour.weeks >= 4 and hour.values >= 20 then 'hour of the week'
        else 'all hours'
      end as basis,
      hour.hour_of_week
    from known
    cross join total
    cross join weekly
    left join hour on hour.hour_of_week
      = 24 * extract(isodow from _learn_bound.at) + extract(hour from _learn_bound.at)
  ),

  used as materialized (
    select past.value, chosen.basis
    from chosen
    join past on past.hour_of_week = chosen.hour_of_week or chosen.basis <> 'hour of the week'
  ),

  middle as (
    select percentile_cont(0.5) within group (order by used.value) as median
    from used
  ),

  -- The bounds within which all values of the time `hold` were, on each day.
  day as (
    select max(lasting.least) as highest, min(lasting.greatest) as lowest
    from (
      select
        past.sampled_at, min(past.value) over step as least, max(past.value) over step as greatest,
        count(*) over step as values
      from past
      cross join known
      window step as (order by past.sampled_at rows between (select known.steps from known) preceding and current row)
    ) as lasting
    cross join known
    where lasting.values > known.steps
      -- Not the last day, which may be a problem that has started.
      and lasting.sampled_at <= _learn_bound.at - interval '1 day'
    group by floor(extract(epoch from _learn_bound.at - lasting.sampled_at) / 86400)
  ),

  usual as (
    select
      percentile_disc(0.1) within group (order by day.lowest) as lowest,
      percentile_disc(0.9) within group (order by day.highest) as highest
    from day
  )

  select null::text, _learn_bound.series_id, chosen.basis, count(used.value)::int,
    case when chosen.basis <> 'learning' then min(middle.median) end,
    case when chosen.basis <> 'learning' then greatest(
      1.4826 * percentile_cont(0.5) within group (order by abs(used.value - middle.median)),
      case when chosen.basis = 'hour of the week' then
        1.4826 * min(weekly.relative_deviation) * greatest(abs(min(middle.median)), min(known.least_spread))
      end,
      0.05 * abs(min(middle.median)),
      min(known.least_spread)
    ) end,
    _learn_bound.at,
    case when chosen.basis = 'all hours' then min(usual.lowest) end,
    case when chosen.basis = 'all hours' then min(usual.highest) end
  from chosen
  cross join middle
  cross join known
  cross join weekly
  cross join usual
  left join used on true
  group by chosen.basis
$$;

comment on function monitor._learn_bound(int, text, text, interval, timestamptz) is $$
Returns what is usual for a series, from its last four weeks: median and spread.
They are those of the present hour of the week if the hours explain at least half of the deviations; otherwise those of
all hours, with the lowest and highest values of the days.
$$;

create or replace function monitor._learn_bounds(most interval default '300 ms')
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at constant timestamptz := clock_timestamp();
  v_learned int := 0;
  v_series record;
begin
  for v_series in
    select rule.rule, rule.hold, series.series_id, metric.kind, metric.unit
    from monitor.rule
    join monitor.metric using (metric)
    join monitor.series on series.metric = rule.metric and series.labels @> rule.labels
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where rule.is_active
      and rule.threshold is null
      and (
        bound.learned_at is null
        or date_trunc('hour', bound.learned_at) <> date_trunc('hour', v_at)
      )
    order by bound.learned_at nulls first, rule.rule, series.series_id
  loop
    insert into monitor.rule_bound (
      rule, series_id, basis, samples, median, spread, learned_at, lowest, highest
    )
    select v_series.rule, v_series.series_id, bound.basis, bound.samples, bound.median, bound.spread, v_at,
      bound.lowest, bound.highest
    from monitor._learn_bound(v_series.series_id, v_series.kind, v_series.unit, v_series.hold, v_at) as bound
    on conflict on constraint rule_bound_pkey do update
    set
      basis = excluded.basis,
      samples = excluded.samples,
      median = excluded.median,
      spread = excluded.spread,
      learned_at = excluded.learned_at,
      lowest = excluded.lowest,
      highest = excluded.highest;
    v_learned := v_learned + 1;
    -- The others follow in the next run.
    exit when clock_timestamp() - v_at > _learn_bounds.most;
  end loop;
  return v_learned;
end;
$$;

comment on function monitor._learn_bounds(interval) is $$
Renews the learned bounds of rules that are not of this hour, as many as there is time for. Returns their number.
$$;
--! EndIncluded monitor/rules/_learn_bounds.sql

--! Included monitor/rules/rule_state.sql
create or replace function monitor._state_of_rule(rule monitor.rule, at timestamptz)
returns setof monitor.rule_state
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_latest constant timestamptz := (select max(sample.sampled_at) from monitor.sample);
  v_series record;
  v_state monitor.rule_state;
begin
  for v_series in
    select
      series.series_id, coalesce(series.labels, rule.labels) as labels, metric.kind,
      coalesce(probe.every, interval '5 minutes') as every, bound.basis, bound.samples, bound.median, bound.spread,
      bound.lowest, bound.highest
    from monitor.metric
    left join monitor.series on series.metric = metric.metric and series.labels @> rule.labels
    left join monitor.probe using (probe)
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where metric.metric = rule.metric
    order by series.series_id
    limit 1000
  loop
    v_state := null;
    v_state.rule := rule.rule;
    v_state.metric := rule.metric;
    v_state.labels := v_series.labels;
    if rule.threshold is not null then
      v_state.basis := 'set';
      v_state.lower_bound := case when rule.direction = 'below' then rule.threshold end;
      v_state.upper_bound := case when rule.direction = 'above' then rule.threshold end;
    else
      v_state.basis := coalesce(v_series.basis, 'learning');
      v_state.samples := coalesce(v_series.samples, 0);
      v_state.lower_bound := case
        when rule.direction <> 'above'
          then least(v_series.median - rule.deviations * v_series.spread, v_series.lowest)
      end;
      v_state.upper_bound := case
        when rule.direction <> 'below'
          then greatest(v_series.median + rule.deviations * v_series.spread, v_series.highest)
      end;
    end if;

    select
      (array_agg(measured.value order by measured.sampled_at desc))[1],
      max(measured.sampled_at),
      min(measured.sampled_at) filter (where measured.sampled_at > coalesce(measured.inside_at, '-infinity'))
    into v_state.value, v_state.measured_at, v_state.outside_since
    from (
      select recent.*,
        max(recent.sampled_at) filter (
          where not coalesce(recent.value < v_state.lower_bound or recent.value > v_state.upper_bound, false)
        ) over () as inside_at
      from monitor._series_values(
        v_series.series_id, v_series.kind, at - rule.hold - 3 * v_series.every - interval '5 minutes', at
      ) as recent
    ) as measured;

    v_state.state := case
      when not rule.is_active then 'inactive'
      when v_state.measured_at is null or v_state.measured_at < v_latest - 3 * v_series.every then 'no data'
      when v_state.basis = 'learning' then 'learning'
      when v_state.outside_since is null then 'ok'
      -- Samples are some seconds apart from their schedule.
      when v_state.outside_since <= at - rule.hold + interval '30 seconds' then 'firing'
      else 'pending'
    end;
    return next v_state;
  end loop;
end;
$$;

comment on function monitor._state_of_rule(monitor.rule, timestamptz) is $$
Returns the state of a rule for each of its series, at most 1,000; one row without a series when no series exists.
$$;

create or replace function monitor.rule_state(rule text default null)
returns setof monitor.rule_state
language plpgsql
stable
-- A definer: analysts may not read the samples.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
begin
  if rule_state.rule is not null then
    perform monitor._find_rule(rule_state.rule);
  end if;
  return query
  select state.*
  from monitor.rule as known
  cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
  where known.rule = rule_state.rule
    or rule_state.rule is null
  order by known.rule, state.labels;
end;
$$;

comment on function monitor.rule_state(text) is $$
Returns the state of a rule, or of all, for each of their series: value, bounds, and whether it is outside.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function monitor.rule_state(text) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/rules/rule_state.sql

--! Included monitor/probes/_probe_replication.sql
create or replace function monitor._probe_replication()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_position constant pg_lsn :=
    case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end;
begin
  return query
  -- Positions are visible to members of pg_read_all_stats only; the number of standbys is to all.
  select 'insights_replication_standbys', null::jsonb, count(*)::float8
  from pg_stat_replication
  union all
  select measured.metric, jsonb_build_object('standby', left(coalesce(nullif(standby.name, ''), 'unnamed'), 200)),
    measured.value
  from (
    select replication.application_name as name,
      max(pg_wal_lsn_diff(v_position, replication.replay_lsn)) as bytes,
      max(extract(epoch from replication.replay_lag)) as seconds
    from pg_stat_replication as replication
    where replication.state is not null
    group by replication.application_name
  ) as standby
  cross join lateral (
    values
      ('insights_replication_lag_bytes', standby.bytes::float8),
      ('insights_replication_lag_seconds', coalesce(standby.seconds, 0)::float8)
  ) as measured (metric, value)
  union all
  select 'insights_replication_absence_seconds', jsonb_build_object('standby', known.name),
    extract(epoch from known.absence)::float8
  from (
    select connected.name, interval '0' as absence from monitor._connected_standbys() as connected
    union all
    select absent.name, absent.absence from monitor._absent_standbys() as absent
  ) as known
  union all
  select measured.metric, jsonb_build_object('slot', slot.slot_name::text), measured.value
  from pg_replication_slots as slot
  cross join lateral (
    values
      ('insights_replication_slot_active', slot.active::int::float8),
      ('insights_replication_slot_retained_bytes', pg_wal_lsn_diff(v_position, slot.restart_lsn)::float8)
  ) as measured (metric, value);
end;
$$;

comment on function monitor._probe_replication() is $$
Measures the standbys of the server and its replication slots, where there are any.
The lag of a standby requires that `insights_owner` is a member of `pg_read_all_stats`.
$$;
--! EndIncluded monitor/probes/_probe_replication.sql

-- from monitor/policies.sql
grant update (resolve_after, reopen_within, database_limit_bytes, standby_lag_limit) on monitor.alert_setting
to insights_admin;
