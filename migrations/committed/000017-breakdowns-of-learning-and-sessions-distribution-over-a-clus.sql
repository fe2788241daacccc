--! Previous: sha1:fd67d432bee406688e311cdfe3132a25017ec667
--! Hash: sha1:ec64d6438d0f52376a180c1084ac9ef2b1645f48
--! Message: breakdowns of learning and sessions distribution over a cluster

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

-- The learning functions and the sessions have a breakdown.
drop function if exists
  analytics._course_grades(bigint, bigint[], int),
  analytics.course_grades(text, text),
  analytics._course_terms(bigint, bigint[], int),
  analytics.course_terms(text, text),
  analytics._course_progress(bigint, bigint[], text, text, int),
  analytics.course_progress(text, text, text, text),
  analytics._item_analysis(bigint[], bigint[], text, text, int),
  analytics.item_analysis(text, text, text, text, text),
  analytics._stopping_points(bigint, bigint[], text, int, int),
  analytics.stopping_points(text, text, int, text),
  analytics._chronotypes(bigint, bigint[], timestamptz, timestamptz, text, text, int),
  analytics.chronotypes(text, timestamptz, timestamptz, text, text),
  analytics._productivity_cycle(bigint, bigint[], timestamptz, timestamptz, text, text, int),
  analytics.productivity_cycle(text, timestamptz, timestamptz, text, text),
  analytics._intervention_outcomes(bigint, bigint[], int, int),
  analytics.intervention_outcomes(text, int, text),
  analytics._engagement_levels(text, text, text, int),
  analytics._engagement_levels_exact(text, text, text),
  analytics._engagement_levels_shown(text, text, text),
  analytics.engagement_levels(text, text, text),
  analytics._task_deadlines(text, text, int),
  analytics._task_deadlines_exact(text, text),
  analytics._task_deadlines_shown(text, text),
  analytics.task_deadlines(text, text),
  analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, int),
  analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text),
  analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text),
  analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text),
  analytics._session_distribution(text, timestamptz, timestamptz, text, int),
  analytics._session_distribution_exact(text, timestamptz, timestamptz, text),
  analytics._session_distribution_shown(text, timestamptz, timestamptz, text),
  analytics.session_distribution(text, timestamptz, timestamptz, text),
  analytics._session_items(text, timestamptz, timestamptz, text, int, int),
  analytics._session_items_exact(text, timestamptz, timestamptz, text, int),
  analytics._session_items_shown(text, timestamptz, timestamptz, text, int),
  analytics.session_items(text, timestamptz, timestamptz, text, int),
  analytics._enrolled_learners(text, text, int),
  analytics._visible_learners(text, text);

do $do$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = to_regclass('analytics.session_bin')
      and attname = 'breakdown_value'
  ) then
    alter type analytics.stopping_point add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.cycle_hour add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.chronotype add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.analysed_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.progress_level add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.course_term add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.grade_bucket add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.intervention_outcome add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.session_bin add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.session_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.week_hour add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.engagement_level add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.task_deadline add attribute breakdown_value text, add attribute is_other boolean;
  end if;
end;
$do$;
comment on column analytics.stopping_point.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.stopping_point.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.cycle_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.cycle_hour.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.chronotype.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.chronotype.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.analysed_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.analysed_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.progress_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.progress_level.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.course_term.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.course_term.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.grade_bucket.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.grade_bucket.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.intervention_outcome.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.intervention_outcome.is_other is $$
Whether the row is about all values that are not named.
$$;
comment on column analytics.session_bin.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_bin.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.session_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.session_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.week_hour.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.week_hour.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.engagement_level.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.engagement_level.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.task_deadline.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.task_deadline.is_other is $$Whether the row is about all values that are not named.$$;
create table if not exists track.dropped_reference (
  table_name text not null,
  constraint_name text not null,
  definition text not null,
  dropped_at timestamptz not null default now(),
  primary key (table_name, constraint_name)
);

comment on table track.dropped_reference is $$
@behavior -*
Foreign keys that were dropped when their table was distributed.
They lead from a table of `track.distribution` to one that is not; `insights distribute --undo` adds them again.
$$;
comment on column track.dropped_reference.table_name is $$Table that had it, as `schema.table`.$$;
comment on column track.dropped_reference.constraint_name is $$Name of the foreign key.$$;
comment on column track.dropped_reference.definition is $$Its definition, as `pg_get_constraintdef` returns it.$$;
comment on column track.dropped_reference.dropped_at is $$Time at which it was dropped.$$;

drop type if exists track.distribution_step cascade;
create type track.distribution_step as (
  action text,
  relation text,
  detail text,
  statement text
);

comment on type track.distribution_step is $$
A step of the distribution of a table over the nodes of a cluster, or back.
$$;
comment on column track.distribution_step.action is $$
`drop foreign key`, `distribute` or `truncate the local rows`; back, `undistribute` or `restore foreign key`.
$$;
comment on column track.distribution_step.relation is $$Table, as `schema.table`.$$;
comment on column track.distribution_step.detail is $$
Name of the foreign key, or the distribution column; null for a step without one.
$$;
comment on column track.distribution_step.statement is $$Statements of the step, for one transaction.$$;

alter table track.dropped_reference enable row level security;

-- Attributes of merged items that messages have told are recorded under the items' own names.
drop function if exists track._store_item_sources(track.parsed_message[], bigint[], track.item[]);

-- Importances of features.
do $$
begin
  if to_regtype('ml.importance') is null then
    create type ml.importance as (feature text, importance float8, share float8);
  end if;
end;
$$;

comment on type ml.importance is $$
How much a feature matters to a model: see `ml.importances`.
$$;
comment on column ml.importance.feature is $$Feature.$$;
comment on column ml.importance.importance is $$
Total gain of the splits of trees, or standard deviation of what the feature adds to the score of a linear model.
$$;
comment on column ml.importance.share is $$Part of the sum of all importances.$$;

-- The activity of the last minutes.
do $$
begin
  if to_regtype('analytics.minute_activity') is null then
    create type analytics.minute_activity as (minute timestamptz, event_count bigint, person_count bigint);
  end if;
end;
$$;

comment on type analytics.minute_activity is $$
A minute with its activity.
For analysts, figures are rounded, and a minute of too few people is 0.
$$;
comment on column analytics.minute_activity.minute is $$Start of the minute.$$;
comment on column analytics.minute_activity.event_count is $$Number of events.$$;
comment on column analytics.minute_activity.person_count is $$Number of distinct people.$$;

-- Units of values of the monitoring.
comment on column monitor.series.value is $$Latest value, in the unit of the metric.$$;
comment on column monitor.measurement.value is $$Value, in the unit of the metric; a null is not stored.$$;
comment on column monitor.metric_value.value is $$Value, in the unit `unit`.$$;
comment on column monitor.metric_bucket.value is $$
Mean of the samples of a gauge, or rise of a counter, in the unit of the metric.
Null in the first bucket of a counter of which no earlier sample is known.
$$;
comment on column monitor.table_state.bytes is $$Size with indexes and out-of-line values, in bytes.$$;
comment on column monitor.table_state.index_bytes is $$Size of the indexes, in bytes.$$;
comment on column monitor.table_state.dead_share is $$Share of dead rows among all rows, from 0 to 1.$$;
comment on column monitor.slow_statement.total_seconds is $$Time of all calls, in seconds.$$;
comment on column monitor.slow_statement.mean_milliseconds is $$Mean time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.greatest_milliseconds is $$Longest time of a call, in milliseconds.$$;
comment on column monitor.slow_statement.share is $$
Share in the time of all statements of the database, from 0 to 1.
$$;
comment on column monitor.alert_setting.database_limit_bytes is $$
Size that the database can grow to, in bytes, for the forecast of the check `growth`; null when unknown.
$$;
comment on column monitor.position_cell.alike is $$Hash of item, version and basis of the rows.$$;
comment on column monitor.rule.threshold is $$
Bound in the unit of the metric, for a counter per second; null when it is learned.
$$;
comment on column monitor.finding.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.finding.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;
comment on column monitor.alert.value is $$
Measured value: a time in seconds, a size in bytes, a share from 0 to 1, or a number; null when nothing is measured.
$$;
comment on column monitor.alert.threshold is $$
Value from which it is a problem, in the unit of `value`; null without a threshold.
$$;

-- The people by value of a breakdown are chosen from given people.
drop function if exists analytics._people_by_value(text, int, int);
drop function if exists analytics._active_hours(bigint, bigint[], timestamptz, timestamptz, text, text, int);
drop function if exists analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, text, int, text, boolean
);
drop function if exists analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, text, int, text, boolean
);

--! Included ml/registry/_is_double.sql
create or replace function ml._is_double(value jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(jsonb_typeof(value) = 'number'
    and (value::numeric = 0 or abs(value::numeric) between 1e-300 and 1e300), false);
end;

comment on function ml._is_double(jsonb) is $$Whether a JSON value is a number that a double can hold.$$;

grant execute on function ml._is_double(jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/_is_double.sql

--! Included ml/registry/importances.sql
create or replace function ml.importances(project text, version int default null)
returns setof ml.importance
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
begin
  return query
  with measured as (
    select node.feature, sum(node.gain order by node.tree, node.node) as importance
    from ml.tree_node as node
    where node.model_id = v_model.model_id
      and node.feature is not null
    group by node.feature

    union all

    -- With several classes, the root of the mean square over their scores.
    select
      entry.feature ->> 'name',
      sqrt(avg(
        case when ml._is_double(entry.feature -> 'deviation') then (entry.feature ->> 'deviation')::float8 ^ 2 end
        order by output.place
      ))
    from jsonb_array_elements(
      case
        when v_model.coefficients ? 'outputs' then v_model.coefficients -> 'outputs'
        else jsonb_build_array(v_model.coefficients)
      end
    ) with ordinality as output (document, place)
    cross join lateral jsonb_array_elements(output.document -> 'features') as entry (feature)
    where v_model.coefficients ->> 'kind' = 'linear'
    group by entry.feature ->> 'name'
  )

  select measured.feature, measured.importance, measured.importance / nullif(sum(measured.importance) over (), 0)
  from measured
  where measured.importance is not null
  order by measured.importance desc, measured.feature collate "C";
end;
$$;

comment on function ml.importances(text, int) is $$
Returns how much each feature matters to a version of a project, the deployed one where none is given, largest first.
For trees the importance is the total gain of the splits by the feature (`total_gain` of XGBoost; `share` is the
`impurity_var_importance` of MADlib divided by 100), without features that no split uses; for linear models that
`ml.train` made, the standard deviation of what the feature adds to the score of the rows of the training, in units of
the score. `share` is the part of the sum of all. No rows for recommenders, embeddings, scores, ensembles, and
models from outside that do not state the gain. Importances of correlated features are divided between them, and gain
favours features with many values: `ml.explain` explains single predictions.
Errors: CF002, CF006 (none is deployed, or the version is marked for training).
$$;

grant execute on function ml.importances(text, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
--! EndIncluded ml/registry/importances.sql

--! Included ml/registry/train.sql
create or replace function ml._named_arguments(parameters jsonb, allowed text[])
returns text
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  if parameters is null or jsonb_typeof(parameters) <> 'object' then
    perform common.refuse('CF001', 'the parameters are not a JSON object', 'Give {"num_trees": 300} or {}.');
  end if;
  select option.name into v_unknown from jsonb_object_keys(parameters) as option (name)
  where not option.name = any (allowed) order by 1 limit 1;
  if v_unknown is not null then
    perform common.refuse(
      'CF001',
      format('there is no parameter "%s"', left(v_unknown, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_unknown, allowed) || '"?',
        (select format('There are %s.', string_agg(left(option.name, 100), ', '))
          from unnest(allowed[:100]) as option (name))
      )
    );
  end if;
  return (select coalesce(string_agg(format(', %I => %L', option.name, option.value), '' order by option.name), '')
    from jsonb_each_text(parameters) as option (name, value));
end;
$$;

comment on function ml._named_arguments(jsonb, text[]) is $$
Parameters of a training as named arguments of a call. Error CF001 names the nearest to one that is unknown.
$$;

create or replace function ml._tree_features_document(model ml.tree_model, names text[])
returns jsonb
language sql
stable
begin atomic
  select jsonb_agg(
    jsonb_build_object('name', feature.name, 'type', feature.type)
    || case when feature.type = 'category' then jsonb_build_object('categories',
      (model).categories -> feature.quoted) else '{}' end
    order by feature.position
  )
  from rows from (
    unnest(names),
    unnest((model).independent_varnames),
    unnest((model).independent_vartypes)
  ) with ordinality as feature (name, quoted, type, position);
end;

comment on function ml._tree_features_document(ml.tree_model, text[]) is $$
The features of a model of trees as a document for the registry has them; `names` are the names without quotes.
$$;

create or replace function ml._gbm_document(model_table text, names text[], link text, classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['gbm']);
  v_nodes jsonb;
begin
  -- The trees of a round follow each other in the order of the classes.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'class'
      || jsonb_build_object('tree', %s, 'feature', (select feature.name
          from unnest(%L::text[], %L::text[]) as feature (name, quoted) where feature.quoted = grown.feature))
    ))
    from %s as grown
    $query$,
    case when classes is null then 'grown.tree'
      else format('(grown.tree - 1) * %s + array_position(%L::text[], grown.class)', cardinality(classes), classes) end,
    names, v_model.independent_varnames, model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', link, 'nodes', coalesce(v_nodes, '[]'),
    'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then jsonb_build_object('intercept', v_model.base_score)
    else jsonb_build_object(
      'classes', classes,
      'intercepts', (
        select jsonb_agg(v_model.base_scores[array_position(v_model.dependent_var_levels, class)] order by place)
        from unnest(classes) with ordinality as listed (class, place)
      ),
      'tree_classes', (
        select coalesce(jsonb_agg(1 + (tree - 1) % cardinality(classes) order by tree), '[]')
        from generate_series(1, (select max((node ->> 'tree')::int) from jsonb_array_elements(v_nodes) as node)) as tree
      )
    )
  end;
end;
$$;

comment on function ml._gbm_document(text, text[], text, text[]) is $$
A model of ml.gbm_train as a document for the registry; `names` are its features without quotes, in order.
`classes` are those of a model of several, null for one answer.
$$;

create or replace function ml._forest_document(model_table text, names text[], classes text[])
returns jsonb
language plpgsql
stable
set extra_float_digits to 1
as $$
declare
  v_model constant ml.tree_model := ml._tree_model(model_table, array['tree_train', 'forest_train']);
  v_nodes jsonb;
begin
  -- The answer is the mean of the trees; with several classes a leaf has the share of each.
  execute format(
    $query$
    select jsonb_agg(jsonb_strip_nulls(
      to_jsonb(grown) - 'depth' - 'num_rows' - 'feature' - 'distribution' - 'value'
      || jsonb_build_object(
        'feature', (select feature.name
          from unnest(%1$L::text[], %2$L::text[]) as feature (name, quoted) where feature.quoted = grown.feature),
        %3$L, case when grown.feature is null then %4$s end
      )
    ))
    from %5$s as grown
    $query$,
    names, v_model.independent_varnames, case when classes is null then 'value' else 'class_values' end,
    case
      when v_model.dependent_var_levels is null then format('grown.value / %s::float8', v_model.num_trees)
      when classes is null then format('grown.distribution[%s] / %s::float8',
        array_position(v_model.dependent_var_levels, '1'), v_model.num_trees)
      else (
        select format('array[%s]', string_agg(format('grown.distribution[%s] / %s::float8',
          array_position(v_model.dependent_var_levels, class), v_model.num_trees), ', ' order by position))
        from unnest(classes) with ordinality as listed (class, position)
      )
    end,
    model_table
  ) into v_nodes;
  return jsonb_build_object(
    'kind', 'trees', 'link', 'identity', 'nodes', v_nodes, 'features', ml._tree_features_document(v_model, names)
  ) || case
    when classes is null then '{"intercept": 0}'
    else jsonb_build_object('classes', classes, 'intercepts', array_fill(0, array[cardinality(classes)]))
  end;
end;
$$;

comment on function ml._forest_document(text, text[], text[]) is $$
A model of ml.tree_train or ml.forest_train as a document for the registry, whose score is its answer.
`names` are its features without quotes, in order; `classes` are those of a model of several, null for one answer: a
number, or the probability of class 1.
$$;

create or replace function ml._linear_document(
  source_table text,
  names text[],
  task text,
  algorithm text,
  parameters jsonb,
  classes text[]
)
returns jsonb
language plpgsql
volatile
set client_min_messages to warning
set extra_float_digits to 1
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_output constant text := ml._temporary('_ml_linear');
  v_dependent constant text := case task when 'classification' then '_ml_label = 1' else '_ml_label' end;
  v_options text;
  -- A feature that is text is one input for each category, which is compared with the rows where it is missing (or
  -- rare), and where none is missing with the most frequent category.
  v_inputs text[] := '{}';
  v_of int[] := '{}';
  v_category text[] := '{}';
  v_categories text[];
  v_categorical boolean[] := '{}';
  v_means float8[];
  v_deviations float8[];
  v_used int[];
  v_design text;
  -- A row for each output: the intercept and the coefficients of the inputs used.
  v_fitted float8[];
  v_coefficients float8[];
  v_outputs jsonb := '[]';
begin
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  for v_place in 1..cardinality(names) loop
    v_categorical := v_categorical || ml._is_category(common.expression_type(quote_ident(names[v_place]), v_relation,
      'feature'));
    if v_categorical[v_place] then
      execute format(
        'select array(select category from (select (%1$I)::text as category, count(*) as times from %2$s
           where %1$I is not null group by 1 order by times desc, category
           offset (select bool_and(%1$I is not null)::int from %2$s) limit 49) as listed
         order by category)',
        names[v_place], v_relation
      ) into v_categories;
      v_inputs := v_inputs || array(
        select format('(coalesce((%I)::text = %L, false)::int::float8)', names[v_place], category)
        from unnest(v_categories) with ordinality as listed (category, position)
        order by position
      );
    else
      v_categories := array[null::text];
      v_inputs := v_inputs || common.numeric_expression(quote_ident(names[v_place]), v_relation, 'feature');
    end if;
    v_category := v_category || v_categories;
    v_of := v_of || array_fill(v_place, array[cardinality(v_categories)]);
  end loop;
  execute format(
    'select array[%s]::float8[], array[%s]::float8[] from %s',
    (select string_agg(format('coalesce(avg(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    (select string_agg(format('coalesce(stddev_pop(nullif(%s, ''NaN'')), 0)', input), ', ' order by position)
      from unnest(v_inputs) with ordinality as feature (input, position)),
    v_relation
  ) into v_means, v_deviations;
  -- A missing value counts as the mean; a constant feature has no coefficient.
  v_used := array(select place from generate_series(1, cardinality(v_inputs)) as place
    where v_deviations[place] > 1e-12 * abs(v_means[place]) order by place);
  if v_used = '{}' then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(names, ', ')));
  end if;
  select string_agg(format('(coalesce(nullif(%s, ''NaN''), %L::float8) - %L::float8) / %L::float8', v_inputs[place],
      v_means[place], v_means[place], v_deviations[place]), ', ' order by place)
  into v_design
  from unnest(v_used) as place;
  if algorithm = 'elastic_net' then
    v_options := ml._named_arguments(parameters, array['alpha', 'lambda_value', 'max_iter', 'tolerance']);
    v_options := case when parameters ? 'alpha' then '' else ', alpha => 0' end || case
      when parameters ? 'lambda_value' then '' else ', lambda_value => 0.01' end || v_options;
    execute format(
      'select ml.elastic_net_train(%L, %L, %L, %L, %L %s)',
      source_table, v_output, v_dependent, format('array[%s]', v_design), case task
        when 'classification' then 'binomial' else 'gaussian' end, v_options
    );
    execute format('select array[array[intercept] || coef_all] from %s', v_output) into v_fitted;
  elsif algorithm = 'mlogregr' then
    -- The first class is the reference: its coefficients are 0. Only differences between classes matter, so the mean
    -- over the classes is subtracted: the score of each class is explained, also that of the first.
    v_options := ml._named_arguments(parameters, array['max_iter', 'tolerance']);
    execute format(
      'select ml.mlogregr_train(%L, %L, %L, %L, 0, %L)', source_table, v_output,
      format('array_position(%L::text[], _ml_label) - 1', classes), format('array[1, %s]', v_design),
      format('max_iter=%s, tolerance=%s', coalesce(parameters ->> 'max_iter', '20'),
        coalesce(parameters ->> 'tolerance', '1e-6'))
    );
    execute format(
      'select array[array_fill(0::float8, array[%s])] || array_agg(coef order by category) from %s',
      cardinality(v_used) + 1, v_output
    ) into v_fitted;
    v_fitted := array(
      select array(
        select v_fitted[class][place]
          - (select avg(v_fitted[other][place]) from generate_subscripts(v_fitted, 1) as other)
        from generate_subscripts(v_fitted, 2) as place
        order by place
      )
      from generate_subscripts(v_fitted, 1) as class
      order by class
    );
  else
    v_options := ml._named_arguments(parameters, case algorithm when 'logregr' then array['max_iter', 'tolerance']
      else '{}' end);
    execute format('select ml.%I(%L, %L, %L, %L %s)', algorithm || '_train', source_table, v_output, v_dependent,
      format('array[1, %s]', v_design), v_options);
    execute format('select array[coef] from %s', v_output) into v_fitted;
  end if;
  execute format('drop table if exists %s, %s', v_output, v_output || '_summary');
  foreach v_coefficients slice 1 in array v_fitted loop
    v_outputs := v_outputs || jsonb_build_object(
      'kind', 'linear',
      'link', case when classes is null and task = 'classification' then 'logit' else 'identity' end,
      'intercept', v_coefficients[1] - (select sum(v_coefficients[position + 1] * v_means[place] / v_deviations[place])
        from unnest(v_used) with ordinality as used (place, position)),
      'features', (
        select jsonb_agg(
          case when v_categorical[feature.place] then (
            select jsonb_build_object('name', names[feature.place], 'type', 'category',
              'categories', coalesce(jsonb_agg(v_category[input] order by input), '[]'),
              'coefficients', coalesce(jsonb_agg(fitted.coefficient order by input), '[]'),
              -- A row is of one category at most: the inputs are 0 or 1, and their means are the shares.
              'deviation', coalesce(sqrt(greatest(
                sum(v_means[input] * fitted.coefficient ^ 2) - sum(v_means[input] * fitted.coefficient) ^ 2, 0
              )), 0))
            from generate_subscripts(v_of, 1) as input
            cross join lateral (
              select coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0)
            ) as fitted (coefficient)
            where v_of[input] = feature.place
          )
          else (
            select jsonb_build_object('name', names[feature.place], 'type', 'number', 'mean', v_means[input],
              'coefficient',
              coalesce(v_coefficients[array_position(v_used, input) + 1] / nullif(v_deviations[input], 0), 0),
              'deviation', coalesce(abs(v_coefficients[array_position(v_used, input) + 1]), 0))
            from array_position(v_of, feature.place) as input
          ) end
          order by feature.place
        )
        from generate_series(1, cardinality(names)) as feature (place)
      )
    );
  end loop;
  if classes is null then
    return v_outputs -> 0;
  end if;
  return jsonb_build_object(
    'kind', 'linear', 'link', 'softmax', 'classes', classes, 'outputs', v_outputs,
    'features', (
      select jsonb_agg(jsonb_build_object('name', feature -> 'name', 'type', feature -> 'type') order by position)
      from jsonb_array_elements(v_outputs -> 0 -> 'features') with ordinality as listed (feature, position)
    )
  );
end;
$$;

comment on function ml._linear_document(text, text[], text, text, jsonb, text[]) is $$
A linear or logistic model of the column `_ml_label` of a table, as a document for the registry.
For several `classes` it is multinomial, null otherwise.
It is trained on standardised features, those that are missing being the mean, and its coefficients are in the
features' own units; `deviation` is the standard deviation of what a feature adds to the score of the rows, which
`ml.importances` returns. Text has a coefficient for each of up to 49 categories, compared with
missing values, or without any with the most frequent category.
$$;

create or replace function ml._label_classes(rows_table text, label text)
returns text[]
language plpgsql
volatile
as $$
declare
  v_wrong float8;
  v_several boolean := true;
  v_classes text[];
begin
  if common.expression_type('_ml_label', rows_table::regclass, 'label') <> 'text'::regtype then
    execute format(
      'select min(_ml_label) filter (where _ml_label <> round(_ml_label) or abs(_ml_label) >= 1e15),
         coalesce(bool_or(_ml_label not in (0, 1)), false)
       from %s',
      rows_table
    ) into v_wrong, v_several;
    if v_wrong is not null then
      perform common.refuse('CF001', format('"%s" holds %s, a class is 0 or 1, or an integer', label, v_wrong),
        'Give a boolean or 0 and 1, text or integers for several classes, or choose regression.');
    elsif not v_several then
      return null;
    end if;
    execute format('alter table %s alter column _ml_label type text using _ml_label::bigint::text', rows_table);
  end if;
  execute format(
    $query$
    select array(
      select _ml_label from %s where _ml_part < 2 and _ml_label is not null
      group by 1
      -- Numbers in the order of numbers, names in that of names.
      order by case when _ml_label ~ '^-?[0-9]{1,18}$' then _ml_label::bigint end, _ml_label collate "C"
      limit 101
    )
    $query$,
    rows_table
  ) into v_classes;
  if cardinality(v_classes) > 100 then
    perform common.refuse('CF008', format('"%s" has more than 100 classes', label),
      'Group the rare ones, or choose regression for a number.');
  elsif cardinality(v_classes) = 1 then
    perform common.refuse('CF004', format('"%s" holds one class only, %s', label, left(v_classes[1], 100)),
      'A model needs at least two classes.');
  end if;
  return v_classes;
end;
$$;

comment on function ml._label_classes(text, text) is $$
The classes of `_ml_label` in the rows to train on, after it became text; null where it is 0 and 1.
`rows_table` is written by ml._divide. Errors: CF001 (not integers), CF004 (one class), CF008 (over 100).
$$;

create or replace function ml.train(
  project text,
  task text,
  source_table text,
  id_col_name text,
  label text,
  features text default '*',
  features_to_exclude text default null,
  algorithm text default 'gbm',
  parameters jsonb default '{}',
  predicted_at text default null,
  label_known_at text default null,
  feature_known_at text default null,
  group_column text default null,
  holdout text default null,
  holdout_share float8 default 0.25,
  calibration text default null,
  metric text default null,
  seed bigint default 0,
  description text default null
)
returns ml.training
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_rows constant text := ml._temporary('_ml_train_row');
  v_seen constant text := ml._temporary('_ml_train_seen');
  v_model_table constant text := ml._temporary('_ml_train_model');
  v_scored constant text := ml._temporary('_ml_train_scored');
  v_listed text[];
  v_names text[];
  v_calibration text := coalesce(calibration, case when task = 'classification' and algorithm = 'gbm' then 'platt'
    else 'none' end);
  v_classes text[];
  v_link constant text := case task when 'classification' then 'logit' else 'identity' end;
  v_document jsonb;
  v_version int;
  v_model ml.model;
  v_result ml.training;
  v_counts record;
begin
  if task is null or task not in ('regression', 'classification') then
    perform common.refuse('CF001', format('there is no task "%s"', coalesce(left(task, 100), 'null')),
      'Choose regression or classification.');
  elsif algorithm is null or algorithm not in ('gbm', 'tree', 'forest', 'elastic_net', 'linregr', 'logregr', 'mlogregr')
    or (algorithm = 'linregr' and task <> 'regression')
    or (algorithm in ('logregr', 'mlogregr') and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no algorithm "%s" for a %s', coalesce(left(algorithm, 100), 'null'), left(task, 100)),
      format(
        'Choose gbm (boosted trees), forest, tree, elastic_net or %s.',
        case task when 'regression' then 'linregr' else 'logregr; for several classes mlogregr' end
      )
    );
  elsif v_calibration not in ('none', 'platt', 'isotonic')
    or (v_calibration <> 'none' and task <> 'classification') then
    perform common.refuse(
      'CF001',
      format('there is no calibration "%s" for a %s', left(v_calibration, 100), left(task, 100)),
      'Choose none, platt or isotonic; the last two make probabilities.'
    );
  end if;
  execute format('drop table if exists %s, %s, %s cascade', v_model_table, v_model_table || '_summary', v_scored);
  v_listed := ml._divide(
    source_table, id_col_name, label, features, features_to_exclude, predicted_at, label_known_at, feature_known_at,
    group_column, holdout, holdout_share, seed
  );
  v_names := array(select (parse_ident(name))[1] from unnest(v_listed) with ordinality as feature (name, position)
    order by position);
  if task = 'classification' then
    v_classes := ml._label_classes(v_rows, left(label, 100));
  elsif common.expression_type('_ml_label', v_rows::regclass, 'label') = 'text'::regtype then
    perform common.refuse('CF001', format('label: "%s" is text', left(label, 100)),
      'Give a column or an expression of numbers, or choose classification.');
  end if;
  execute format(
    'select count(*) filter (where _ml_part < 2) as seen, count(*) filter (where _ml_part = 1) as validating,
      count(*) filter (where _ml_part = 2) as held, max(_ml_known_at) filter (where _ml_part < 2) as watermark
     from %s where _ml_label is not null',
    v_rows
  ) into v_counts;
  if v_counts.seen = 0 or v_counts.held = 0 then
    perform common.refuse('CF004', format('%s rows to train on and %s held out', v_counts.seen, v_counts.held),
      'Both parts need rows with a label.');
  end if;
  if v_classes is not null then
    if algorithm not in ('gbm', 'tree', 'forest', 'mlogregr') then
      perform common.refuse(
        'CF001',
        format('"%s" has %s classes, and %s answers for two', left(label, 100), cardinality(v_classes), algorithm),
        'Choose gbm, forest, tree or mlogregr, or give a boolean or 0 and 1.'
      );
    end if;
    v_calibration := coalesce(calibration, 'none');
  elsif algorithm = 'mlogregr' then
    perform common.refuse('CF001', format('"%s" has two classes, 0 and 1', left(label, 100)), 'Choose logregr.');
  end if;

  if algorithm = 'gbm' then
    -- A fifth of the rows stops the boosting and fits the calibration, where there are enough rows.
    execute format('create temporary view _ml_train_seen as select * from %s where _ml_part < 2', v_rows);
    execute format(
      'select ml.gbm_train(%L, %L, %L, ''_ml_label'', %L, objective => %L, validation => %L, seed => %L %s)',
      v_seen, v_model_table, id_col_name, array_to_string(v_listed, ', '),
      case when v_classes is not null then 'softmax' when task = 'classification' then 'logistic'
        else 'squared_error' end,
      case when v_counts.validating >= 50 then '_ml_part = 1' end, seed,
      ml._named_arguments(parameters, array[
        'num_trees', 'learning_rate', 'max_depth', 'min_rows', 'min_child_weight', 'lambda', 'gamma', 'row_sample',
        'feature_sample', 'max_bins', 'early_stopping_rounds'
      ])
    );
    v_document := ml._gbm_document(v_model_table, v_names, case when v_classes is null then v_link else 'softmax' end,
      v_classes);
  else
    execute format(
      'create temporary view _ml_train_seen as select * from %s where _ml_label is not null and _ml_part < %s',
      v_rows, case when v_calibration = 'none' then 2 else 1 end
    );
    if algorithm in ('tree', 'forest') then
      execute format(
        'select ml.%I(%L, %L, %L, %L, %L %s %s)',
        algorithm || '_train', v_seen, v_model_table, id_col_name,
        case when v_classes is null and task = 'classification' then '_ml_label::int' else '_ml_label' end,
        array_to_string(v_listed, ', '), case when algorithm = 'forest' then format(', seed => %L', seed) end,
        ml._named_arguments(parameters, case algorithm
          when 'tree' then array['split_criterion', 'max_depth', 'min_split', 'min_bucket', 'num_splits',
            'pruning_params']
          else array['num_trees', 'num_random_features', 'max_tree_depth', 'min_split', 'min_bucket', 'num_splits',
            'sample_ratio']
        end)
      );
      v_document := ml._forest_document(v_model_table, v_names, v_classes);
    else
      v_document := ml._linear_document(v_seen, v_names, task, algorithm, parameters, v_classes);
    end if;
  end if;
  execute format('drop view %s', v_seen);

  v_version := ml.register_model(
    project, task, algorithm, v_document, '{}',
    parameters || jsonb_strip_nulls(jsonb_build_object(
      -- With its schema, so that it means the same to any role that watches the model.
      'source_table', (
        select format('%I.%I', namespace.nspname, class.relname)
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = common.relation(train.source_table)
      ),
      'id_col_name', id_col_name, 'label', label, 'features', v_names, 'predicted_at', predicted_at,
      'label_known_at', label_known_at, 'feature_known_at', feature_known_at, 'group_column', group_column, 'holdout',
      holdout,
      'holdout_share', case when holdout is null then holdout_share end, 'calibration', v_calibration
    )),
    metric, seed, v_counts.watermark, v_counts.seen, null, description
  );
  v_model := ml._version(project, v_version);

  if v_calibration <> 'none' and v_counts.validating >= 50 then
    -- The raw score, or with several classes their probabilities.
    execute format(
      'create temporary table _ml_train_scored on commit drop as select observed, %s as %s
        from (select _ml_label as observed, %s from %s where _ml_part = 1 and _ml_label is not null offset 0) as input',
      case when v_classes is null then ml._score_expression(v_model)
        else ml._answer_expression(v_model.coefficients, ml._score_expression(v_model)) end,
      case when v_classes is null then 'score' else 'prediction' end,
      ml._feature_list(v_model.coefficients, v_rows::regclass), v_rows
    );
    v_model := ml._calibrate(v_model.model_id, case when v_classes is null
      then ml._fit_calibration(v_scored, v_calibration)
      else ml._fit_class_calibration(v_scored, v_calibration, v_classes) end);
  end if;
  v_result := ml._challenge(
    v_model, v_rows::regclass, '_ml_label', '_ml_part = 2',
    ml._profile(
      format('(select %s from %s where _ml_part < 2)', ml._feature_list(v_model.coefficients, v_rows::regclass),
        v_rows), v_model.coefficients),
    v_started_at
  );
  execute format('drop table if exists %s, %s, %s, %s cascade', v_rows, v_model_table, v_model_table || '_summary',
    v_scored);
  return v_result;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, common.relation(source_table));
end;
$$;

comment on function ml.train(
  text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text, bigint,
  text
) is $$
@behavior -*
Trains a version of a project on a table or view and deploys it if it is better.
It is measured on rows held out, and compared with the deployed version on the same rows.
`task` is classification (label boolean, or 0 and 1; text or integers for 2 to 100 classes) or regression; `algorithm`
is gbm, forest or tree (with missing values and categories), elastic_net, linregr, logregr or, for several classes,
mlogregr (text has a coefficient for each category); `parameters` are those of ml.gbm_train and so on, by name.
`features` are columns, `*` all others; columns of the label are not features.
What is held out: with `predicted_at` the latest rows, by ml.time_split, which refuses features that use anything
later (`feature_known_at`) and leaves out rows whose label was not known by then (`label_known_at`); or the rows for
which `holdout` is true; or a share by a hash of the id, or of `group_column`, so that no group is in two parts.
A fifth of the rest, where that is 50 rows or more, stops the boosting and fits the calibration (`platt`, `isotonic`
or `none`; by default Platt's for boosted classifiers of two classes; with several, each against the others).
Metrics: area_under_roc, average_precision, log_loss, brier_score, calibration_error; for several classes log_loss,
accuracy, macro_f1, calibration_error; root_mean_squared_error, mean_abs_error, r2_score. `metric` judges the versions
of a new project.
The same seed and data give the same model. Errors: CF001 (an argument, a leak), CF002, CF004 (no rows, one class),
CF005, CF007 (collinear, separated), CF010 (the project has another task).
$$;

grant execute on function
  ml._named_arguments(jsonb, text[]), ml._tree_features_document(ml.tree_model, text[]),
  ml._gbm_document(text, text[], text, text[]), ml._forest_document(text, text[], text[]),
  ml._linear_document(text, text[], text, text, jsonb, text[]), ml._label_classes(text, text),
  ml.train(text, text, text, text, text, text, text, text, jsonb, text, text, text, text, text, float8, text, text,
    bigint, text)
to insights_admin, insights_worker;
--! EndIncluded ml/registry/train.sql

--! Included ml/registry/train_regression.sql
/*
 * A definer: analysts may not write the registry. It trains on values alone, which its caller has read with the
 * caller's own rights, and in projects that nothing else uses.
 */
create or replace function ml._train_rows(
  project text,
  task text,
  algorithm text,
  source text,
  id_column text,
  label text,
  names text[],
  types text[],
  source_rows jsonb,
  seed bigint
)
returns ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_training ml.training;
  v_metric text;
begin
  if coalesce(_train_rows.project, '') !~ '^own\.[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' or length(project) > 100 then
    perform common.refuse(
      'CF001',
      format('project is "%s"', coalesce(left(_train_rows.project, 100), 'null')),
      'Begin the name with own., such as own.grade, in lower case and with at most 100 characters. '
        || 'Administrators train other projects by ml.train.'
    );
  elsif coalesce(_train_rows.algorithm, '') not in ('elastic_net', 'linregr', 'logregr', 'mlogregr') then
    perform common.refuse(
      'CF001',
      format('algorithm is "%s"', coalesce(left(_train_rows.algorithm, 100), 'null')),
      'Choose elastic_net, linregr, logregr or mlogregr.'
    );
  end if;
  -- The caller is ml.train_regression, or else one who may do the same with any values.
  if cardinality(names) is distinct from cardinality(types)
    or array_position(types, null) is not null
    or not types <@ array['float8', 'boolean', 'text']
    or jsonb_typeof(source_rows) is distinct from 'array'
  then
    perform common.refuse('CF001', 'the rows are not those of a relation', 'Call ml.train_regression.');
  elsif jsonb_array_length(source_rows) > 20000 or cardinality(names) > 102 then
    perform common.refuse(
      'CF008',
      format('%s rows with %s columns', jsonb_array_length(source_rows), cardinality(names)),
      'There are at most 20000 rows, with 100 features.'
    );
  end if;

  execute format(
    'create temporary table _ml_source_row on commit drop as select * from jsonb_to_recordset($1) as source (%s)',
    (
      select string_agg(format('%I %s', entry.name, entry.type), ', ' order by entry.place)
      from unnest(names, types) with ordinality as entry (name, type, place)
    )
  )
  using source_rows;
  v_training := ml.train(
    _train_rows.project, _train_rows.task, 'pg_temp._ml_source_row', id_column, label,
    algorithm => _train_rows.algorithm, seed => _train_rows.seed
  );
  -- The relation is not watched: it may be readable for its readers alone.
  update ml.model
  set parameters = model.parameters - 'source_table' || jsonb_build_object('source', left(_train_rows.source, 200))
  from ml.project as trained
  where trained.name = _train_rows.project
    and model.project_id = trained.project_id
    and model.version = v_training.version;
  drop table pg_temp._ml_source_row;
  return v_training;
end;
$$;

comment on function ml._train_rows(text, text, text, text, text, text, text[], text[], jsonb, bigint) is $$
@behavior -*
Trains a regression on rows: see `ml.train_regression`, which reads them.
`source_rows` is an array of at most 20,000 objects with the keys `names`, whose types are float8, boolean or text.
$$;

grant execute on function ml._train_rows(text, text, text, text, text, text, text[], text[], jsonb, bigint)
to insights_analyst, insights_admin;

create or replace function ml.train_regression(
  project text,
  source_table text,
  id_column text,
  label text,
  features text[] default null,
  task text default 'regression',
  algorithm text default 'elastic_net',
  seed bigint default 0
)
returns ml.training
language plpgsql
volatile
as $$
declare
  v_relation constant regclass := common.relation(source_table);
  v_known constant text[] := common.columns(v_relation);
  v_asked constant text[] := array[id_column, label] || coalesce(features, '{}');
  v_names text[];
  v_types text[];
  v_wrong text;
  v_rows jsonb;
begin
  select coalesce(asked.name, 'null') into v_wrong
  from unnest(v_asked) with ordinality as asked (name, place)
  where asked.name is null or asked.name <> all (v_known)
  order by asked.place
  limit 1;
  if v_wrong is not null then
    perform common.refuse(
      'CF002',
      format('%s has no column "%s"', left(v_relation::text, 100), left(v_wrong, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(v_wrong, v_known) || '"?',
        format('It has %s.', left(array_to_string(v_known, ', '), 300))
      )
    );
  elsif id_column = label or features && array[id_column, label] then
    perform common.refuse('CF001', format('a column is named twice: %s', left(array_to_string(v_asked, ', '), 200)),
      'The id, the label and the features are different columns.');
  elsif cardinality(v_known) > 1600 or cardinality(features) > 100 then
    perform common.refuse('CF008', format('%s features', cardinality(features)), 'There are at most 100.');
  end if;

  -- Numbers, booleans and texts; other columns are features only where they are named, and then refused.
  select array_agg(listed.name order by listed.place), array_agg(listed.type order by listed.place)
  into v_names, v_types
  from (
    select
      known.name,
      known.place,
      case
        when known.name = id_column then 'text'
        when base.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'numeric') then 'float8'
        when base.typname = 'bool' then 'boolean'
        when base.typname in ('text', 'varchar', 'bpchar') or base.typtype = 'e' then 'text'
      end as type
    from unnest(v_known) with ordinality as known (name, place)
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = v_relation and attribute.attname = known.name and attribute.attnum > 0
    join pg_catalog.pg_type as base on base.oid = common.base_type(attribute.atttypid)
  ) as listed
  where listed.name = any (v_asked)
    or features is null and listed.type is not null;
  select entry.name into v_wrong
  from unnest(v_names, v_types) as entry (name, type)
  where entry.type is null
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', format('"%s" is not a number, boolean or text', left(v_wrong, 100)),
      'Give a view that has it as one of these.');
  end if;

  -- With the caller's rights, in a statement of the caller's own time limit.
  execute format(
    'select coalesce(jsonb_agg(to_jsonb(listed)), ''[]'') from (select %s from %s limit 20001) as listed',
    (
      select string_agg(format('source.%1$I::%2$s as %1$I', entry.name, entry.type), ', ' order by entry.place)
      from unnest(v_names, v_types) with ordinality as entry (name, type, place)
    ),
    v_relation::text || ' as source'
  )
  into v_rows;
  if jsonb_array_length(v_rows) > 20000 then
    perform common.refuse(
      'CF008',
      format('%s has more than 20000 rows', left(v_relation::text, 100)),
      'Give a view with fewer, such as a sample by a hash of the id. Administrators train on more by ml.train.'
    );
  end if;
  return ml._train_rows(
    project, task, algorithm, v_relation::text, id_column, label, v_names, v_types, v_rows, seed
  );
end;
$$;

comment on function ml.train_regression(text, text, text, text, text[], text, text, bigint) is $$
Trains a regression on a table or view that the caller may read, as a version of a project of the caller's own.
For analysts; `ml.train` trains on more rows and other models. `project` begins with `own.`; `source_table` is read with
the rights of the caller, and its rows are not stored. `id_column` names the rows, whose hash divides them in those to
train on and those held out; `label` is what is predicted; `features`: columns of numbers, booleans and texts (at most
100), null: all others. `task`: `regression`, or `classification` (label boolean, 0 and 1, text or integers);
`algorithm`: `elastic_net`, `linregr`, `logregr` or, for several classes, `mlogregr`. At most 20,000 rows; the version
is deployed in the project if it is better than the deployed one on the rows that are held out.
Returns the metrics, and how the version compares. `ml.predict` answers with it, and `ml.importances` explains it.
Errors: CF001, CF002 (no such relation or column; names the nearest), CF004 (too few rows), CF005 (not readable), CF007
(collinear, separated), CF008 (more rows or features), CF010 (the project has another task).
$$;

grant execute on function ml.train_regression(text, text, text, text, text[], text, text, bigint)
to insights_analyst, insights_admin;
--! EndIncluded ml/registry/train_regression.sql

--! Included privacy/consent/effective_decisions.sql
create or replace function privacy.effective_decisions(
  purposes text[],
  people bigint[] default null,
  born_people bigint[] default null,
  birth_dates date[] default null
)
returns table (
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz,
  signalled_at timestamptz
)
language plpgsql
stable
parallel safe
rows 100
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A list, so that the plan for a few people does not read the decisions of all people.
  v_people constant bigint[] := coalesce(
    effective_decisions.people,
    array(
      select consent.person_id
      from privacy.consent
      where consent.purpose = any (effective_decisions.purposes)

      union

      select person_age.person_id
      from privacy.person_age
    )
  );
begin
  if effective_decisions.born_people is null
    and not exists (select 1 from privacy.person_age where person_age.person_id = any (v_people))
  then
    return query
    select decision.*
    from (
      select distinct on (consent.person_id, consent.purpose)
        consent.person_id, consent.purpose,
        -- An expired grant counts as if there were none.
        case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
        consent.decided_at,
        max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
          over (partition by consent.person_id, consent.purpose) as signalled_at
      from privacy.consent
      where consent.person_id = any (v_people)
        and consent.purpose = any (effective_decisions.purposes)
      order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
    ) as decision
    where decision.granted is not null;
    return;
  end if;

  return query
  with born as materialized (
    select
      given.person_id,
      coalesce(max(given.birth_date) filter (where given.is_verified), max(given.birth_date)) as birth_date
    from (
      select person_age.person_id, person_age.birth_date, person_age.is_verified
      from privacy.person_age
      where person_age.person_id = any (v_people)

      union all

      select stated.person_id, stated.birth_date, false
      from unnest(effective_decisions.born_people, effective_decisions.birth_dates) as stated (person_id, birth_date)
      where stated.birth_date is not null
    ) as given
    group by given.person_id
  ),

  gate as materialized (
    select
      born.person_id, aged.purpose,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where not aged.is_own) as of_age_at,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where aged.is_own) as opt_in_until
    from born
    cross join privacy._ages(effective_decisions.purposes) as aged
    group by born.person_id, aged.purpose
  ),

  -- A grant that a person gave before she was of age stays void afterwards.
  latest as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose,
      case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
      consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from privacy.consent
    left join gate on gate.person_id = consent.person_id and gate.purpose = consent.purpose
    where consent.person_id = any (v_people)
      and consent.purpose = any (effective_decisions.purposes)
      and (
        not consent.granted
        or consent.decided_by = 'guardian'
        or gate.of_age_at is null
        or consent.decided_at >= gate.of_age_at
      )
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  )

  select latest.person_id, latest.purpose, latest.granted, latest.decided_at, latest.signalled_at
  from latest
  left join gate on gate.person_id = latest.person_id and gate.purpose = latest.purpose
  where latest.granted
    or not latest.granted and coalesce(gate.of_age_at, '-infinity') <= now()

  union all

  -- A minor without the consent of a guardian: no later decision of her own changes it.
  select gate.person_id, gate.purpose, false, 'infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.of_age_at > now()
    and latest.granted is not true

  union all

  -- Any grant is later.
  select gate.person_id, gate.purpose, false, '-infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.opt_in_until > now()
    and coalesce(gate.of_age_at, '-infinity') <= now()
    and latest.granted is null;
end;
$$;

comment on function privacy.effective_decisions(text[], bigint[], bigint[], date[]) is $$
@behavior -*
Returns the decision that applies now for each person and purpose; where there is none, the lawful basis applies.
It is the latest decision, except that
- an expired grant (`valid_until`) counts as if the person had not decided,
- a grant that a person gave before she was of age is void, unless a guardian gave it,
- for a minor without the consent of a guardian, the answer is false (`decided_at` is then `infinity`),
- below the `opt_in_age` of a purpose, it is false until a grant (`decided_at` is then `-infinity`).
The one place that decides: `privacy.allowed`, `privacy.latest_decisions` and `track.ingest` read it.
`people` null: all people. `born_people` and `birth_dates`: dates of birth that are not stored yet. `signalled_at`: time
of the latest opt-out signal of a browser.
$$;

grant execute on function privacy.effective_decisions(text[], bigint[], bigint[], date[])
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/consent/effective_decisions.sql

--! Included privacy/functions/allowed.sql
create or replace function privacy.allowed(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Most people have decided nothing and stated no age: the lawful basis applies. Each list calls this function.
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = allowed.purpose
      and not exists (select 1 from privacy.consent where consent.person_id = allowed.person_id)
      and not exists (select 1 from privacy.restriction where restriction.person_id = allowed.person_id)
      and not exists (select 1 from privacy.person_age where person_age.person_id = allowed.person_id)
  );
begin
  if v_by_default is not null then
    return v_by_default;
  end if;
  return (
    select not exists (select from privacy.restricted(array[allowed.person_id])) and coalesce(
      (
        select decision.granted
        from privacy.effective_decisions(array[allowed.purpose], array[allowed.person_id]) as decision
      ),
      purpose.basis <> 'consent'
    )
    from privacy.purpose
    where purpose.purpose = allowed.purpose
  );
end;
$$;

comment on function privacy.allowed(bigint, text) is $$
@behavior -queryField
Returns whether the data of a person may be processed for a purpose.
The decision that applies is that of `privacy.effective_decisions`: the latest one of the person, unless it expired or
she was not of age. Without a decision, processing is allowed unless the lawful basis is `consent`. Null for an unknown
purpose.
False for all purposes while the data of the person is restricted (`privacy.restrict_person`).
$$;

grant execute on function privacy.allowed(bigint, text)
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/functions/allowed.sql

--! Included privacy/ledger/verify_ledger.sql
create or replace function privacy.verify_ledger(
  expected_position bigint default null,
  expected_hash text default null,
  tolerance interval default '1 hour'
)
returns privacy.ledger_report
language plpgsql
stable
-- A definer: it reads the salts of all records.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_report privacy.ledger_report;
  v_head privacy.ledger_head := privacy.ledger_head();
  v_names_function constant text := (select setting.names_function from privacy.setting);
  v_sealed privacy.sealed_table;
  v_records bigint;
  v_unsealed bigint;
  v_problems privacy.ledger_problem[] := '{}';
  v_found privacy.ledger_problem[];
begin
  if (verify_ledger.expected_position is null) <> (verify_ledger.expected_hash is null) then
    perform common.refuse('CF001',
      format('expected_position is %s, expected_hash is %s', coalesce(verify_ledger.expected_position::text, 'null'),
        coalesce('"' || left(verify_ledger.expected_hash, 100) || '"', 'null')),
      'Give both, as privacy.ledger_head answered them, or none.');
  end if;
  if verify_ledger.tolerance is null or verify_ledger.tolerance < '0' then
    perform common.refuse('CF001', format('tolerance is %s', coalesce(verify_ledger.tolerance::text, 'null')),
      'Give an interval of zero or more.');
  end if;

  select count(*) into v_report.entries from privacy.ledger;
  v_report.head_position := v_head.position;
  v_report.head_hash := v_head.hash;

  -- Each entry is compared with the one before it: if all of them are right, the whole chain is.
  select min(linked.position) into v_report.broken_position
  from (
    select
      ledger.*,
      lag(ledger.hash) over (order by ledger.position) as previous_hash,
      lag(ledger.sealed_at) over (order by ledger.position) as previous_at,
      row_number() over (order by ledger.position) as number
    from privacy.ledger
  ) as linked
  where linked.position <> linked.number
    or linked.sealed_at < linked.previous_at
    or linked.hash is distinct from privacy._ledger_hash(
      linked.previous_hash, linked.commitment, linked.position, linked.sealed_at, linked.kind
    );
  if v_report.broken_position is not null then
    v_problems := v_problems || row(
      'broken', null, v_report.broken_position, null,
      'The entry does not follow from the one before it: an entry was changed, deleted or inserted.'
    )::privacy.ledger_problem;
  end if;
  if verify_ledger.expected_position is not null and not exists (
    select
    from privacy.ledger
    where ledger.position = verify_ledger.expected_position
      and encode(ledger.hash, 'hex') = lower(verify_ledger.expected_hash)
  ) then
    v_problems := v_problems || row(
      'rewritten', null, verify_ledger.expected_position, null,
      'The ledger has no entry with the expected position and hash: it was rewritten or cut.'
    )::privacy.ledger_problem;
  end if;
  v_found := array(
    select row('unknown_kind', ledger.kind, min(ledger.position), null,
      format('%s entries have a kind that is not registered.', count(*)))::privacy.ledger_problem
    from privacy.ledger
    where ledger.kind <> 'checkpoint'
      and not exists (select from privacy.sealed_table where sealed_table.kind = ledger.kind)
    group by ledger.kind
    order by ledger.kind
  );
  v_problems := v_problems || v_found;

  v_report.records := 0;
  v_report.unsealed := 0;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    execute format(
      $statement$
        select
          count(*) filter (where record.%2$I is not null),
          count(*) filter (where record.%2$I is null and (%3$s))
        from %1$s as record
      $statement$,
      v_sealed.table_name,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed)
    )
    into v_records, v_unsealed;
    v_report.records := v_report.records + v_records;
    v_report.unsealed := v_report.unsealed + v_unsealed;
    v_found := array(
      select entry
      from privacy._check_records(v_sealed.kind, verify_ledger.tolerance) as entry
      order by entry.position, entry.record_id
    );
    v_problems := v_problems || v_found;
  end loop;

  -- The person is not sealed, since a merge changes it, but the name is, under which she decided.
  if v_names_function is not null then
    execute format(
      $statement$
        with decision as materialized (
          select
            consent.consent_id, consent.ledger_position, consent.identity_id, consent.person_id, consent.subject_name
          from privacy.consent
          where consent.subject_name is not null
        )

        select array_agg(
          row(
            'moved', 'consent', decision.ledger_position, decision.consent_id,
            'The decision is stored for another person or identity than that of its name.'
          )::privacy.ledger_problem
          order by decision.ledger_position, decision.consent_id
        )
        from decision
        left join %I.%I(array(select distinct decision.identity_id from decision)) as named
          on named.identity_id = decision.identity_id
        where (decision.person_id, decision.subject_name) is distinct from (named.person_id, named.name)
      $statement$,
      split_part(v_names_function, '.', 1), split_part(v_names_function, '.', 2)
    )
    into v_found;
    v_problems := v_problems || coalesce(v_found, '{}');
  end if;

  v_report.removed := (
    select count(distinct removed.position)
    from privacy.removal
    cross join lateral unnest(removal.positions) as removed (position)
  );
  v_report.problem_count := cardinality(v_problems);
  v_report.problems := v_problems[1:100];
  v_report.is_intact := v_report.problem_count = 0;
  return v_report;
end;
$$;

comment on function privacy.verify_ledger(bigint, text, interval) is $$
@behavior -mutationField +queryField
Compares the ledger with itself and with the records, and returns the differences.
`broken`: an entry that does not follow from the one before it. `changed`: a record whose contents are not those that
were sealed. `missing`: an entry without its record that no removal accounts for. `restored`: a record that was deleted
by right and is there again. `copied`, `unknown_position`: a record that refers to the entry of another one, or to none.
`backdated`: a record that claims to have been stored more than `tolerance` before an entry, at whose time it was not
there. `moved`: a decision that is stored for a person other than that of its name. `unknown_kind`: entries that no
registered table has. `rewritten`: there is no entry with `expected_position` and `expected_hash`, which
`privacy.ledger_head` answered earlier. Without these two, a ledger that was recomputed as a whole, or cut at its
end together with the records, is not found.
The time is proportional to the ledger. Errors: CF001 when only one of the two is given, or for an invalid tolerance.
$$;

grant execute on function privacy.verify_ledger(bigint, text, interval) to insights_admin, insights_worker;
--! EndIncluded privacy/ledger/verify_ledger.sql

--! Included track/functions/sign_in.sql
create or replace function track.sign_in()
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := track.current_person_id();
begin
  perform set_config('insights.person_id', coalesce(v_person_id::text, ''), true);
  -- The row policies of distributed tables read the setting on the workers. Citus sends them what `set local` sets
  -- while its own setting allows it, and not later, such as the role, which they refuse to set.
  if current_setting('citus.propagate_set_commands', true) is not null then
    set local citus.propagate_set_commands to 'local';
    execute format('set local insights.person_id to %L', coalesce(v_person_id::text, ''));
    set local citus.propagate_set_commands to 'none';
  end if;
  return v_person_id;
end;
$$;

comment on function track.sign_in() is $$
@behavior -queryField -mutationField
Sets `insights.person_id`, which the row policies use, to the person of `insights.person`. Returns its key.
The setting applies until the end of the transaction. Null, and no rows of people, for an unknown person. Links that
are added or removed during the transaction apply from the next one.
$$;

grant execute on function track.sign_in()
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/functions/sign_in.sql

--! Included track/distribution/distribution_steps.sql
/* A definer: it reads the list of tables and the dropped foreign keys, and returns names and statements only. */
create or replace function track.distribution_steps(undo boolean default false)
returns setof track.distribution_step
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_distributed oid[] := '{}';
  v_known oid[] := '{}';
  -- These relations exist only where the extension does.
  v_partition constant regclass := to_regclass('pg_catalog.pg_dist_partition');
  v_object constant regclass := to_regclass('pg_catalog.pg_dist_object');
begin
  if distribution_steps.undo is null then
    perform common.refuse('CF001', 'undo is null', 'Give true or false.');
  end if;
  if v_partition is not null then
    execute format(
      $query$
        select
          array(select logicalrelid::oid from %1$s where partmethod = 'h'),
          array(select objid from %2$s where classid = 'pg_catalog.pg_proc'::regclass)
      $query$,
      v_partition, v_object
    )
    into v_distributed, v_known;
  end if;

  return query
  with listed as (
    select
      to_regclass(format('%I.%I', distribution.schema_name, distribution.table_name)) as relation,
      format('%I.%I', distribution.schema_name, distribution.table_name) as name,
      distribution.column_name, distribution.colocated_with
    from track.distribution
  ),

  reference as (
    select reference.conrelid::regclass as relation, listed.name, reference.conname, reference.oid
    from pg_constraint as reference
    join listed on listed.relation = reference.conrelid
    where reference.contype = 'f'
      and reference.conparentid = 0
      and reference.confrelid not in (select listed.relation from listed)
  ),

  -- Functions that compute from their arguments only: what filters and sums rows runs where the rows are. The type of a
  -- row is not known there.
  computing as (
    select function.oid, namespace.nspname::text as room
    from pg_proc as function
    join pg_namespace as namespace on namespace.oid = function.pronamespace
    where namespace.nspname in (select distribution.schema_name from track.distribution union all values ('common'))
      and function.provolatile = 'i'
      and function.prokind in ('f', 'a')
      and function.oid <> all (v_known)
      and not exists (
        select
        from unnest(function.proargtypes || function.prorettype) as named (oid)
        join pg_type as type on type.oid = named.oid
        join pg_type as element on element.oid = coalesce(nullif(type.typelem, 0), type.oid)
        join pg_class as class on class.oid = element.typrelid
        where class.relkind <> 'c'
      )
  ),

  -- Citus determines the shards from the values of the parameters, so that a plan for all values fails.
  planned as (
    select function.oid::regprocedure::text as signature, setting.value
    from pg_proc as function
    join pg_namespace as namespace on namespace.oid = function.pronamespace
    cross join lateral unnest(function.proconfig) as setting (value)
    where namespace.nspname in (select distribution.schema_name from track.distribution)
      and setting.value in ('plan_cache_mode=force_generic_plan', 'plan_cache_mode=auto')
      and exists (
        select
        from listed
        where function.prosrc ~ ('\m' || replace(listed.name, '.', '\.') || '\M')
      )
  ),

  step (position, action, name, detail, statement) as (
    select
      0, 'plan for each execution', planned.signature, null,
      format('alter function %s set plan_cache_mode to auto', planned.signature)
    from planned
    where not distribution_steps.undo
      and planned.value = 'plan_cache_mode=force_generic_plan'

    union all

    select
      3, 'plan once', planned.signature, null,
      format('alter function %s set plan_cache_mode to force_generic_plan', planned.signature)
    from planned
    where distribution_steps.undo
      and planned.value = 'plan_cache_mode=auto'

    union all

    select
      0, 'copy functions', computing.room, format('%s functions', count(*)),
      format(
        'select count(create_distributed_function(function)) '
          'from unnest(%L::regprocedure[]) as function',
        array_agg(computing.oid::regprocedure order by computing.oid)
      )
    from computing
    where not distribution_steps.undo
    group by computing.room

    union all

    select
      1, 'drop foreign key', reference.name, reference.conname::text,
      format(
        'insert into track.dropped_reference (table_name, constraint_name, definition) values (%L, %L, %L) '
          'on conflict (table_name, constraint_name) do update set definition = excluded.definition; '
          'alter table %s drop constraint %I',
        reference.name, reference.conname, pg_get_constraintdef(reference.oid), reference.name, reference.conname
      )
    from reference
    where not distribution_steps.undo

    union all

    -- The table that others are colocated with comes before them.
    select
      case when listed.colocated_with is null then 2 else 3 end, 'distribute', listed.name, listed.column_name,
      format(
        'select create_distributed_table(%L, %L, colocate_with => %L)',
        listed.name, listed.column_name, coalesce(listed.colocated_with, 'none')
      )
    from listed
    where not distribution_steps.undo
      and listed.relation <> all (v_distributed)

    union all

    -- The rows from before, which no query reads any more.
    select
      4, 'truncate the local rows', listed.name, null,
      format('select truncate_local_data_after_distributing_table(%L)', listed.name)
    from listed
    where not distribution_steps.undo
      and listed.relation = any (v_distributed)
      and (
        pg_relation_size(listed.relation) > 0
        or exists (
          select
          from pg_partition_tree(listed.relation) as part
          where part.isleaf
            and pg_relation_size(part.relid) > 0
        )
      )

    union all

    -- Not by `undistribute_table`, which makes another table, without the privileges and comments of this one.
    select
      1, 'undistribute', listed.name, listed.column_name,
      format(
        $statement$
          lock table %1$s in access exclusive mode;
          create temporary table moved_rows on commit drop as select * from %1$s;
          create temporary table moved_part on commit drop as
            select part.relid, part.level, namespace.nspname, class.relname
            from (
              select relid, level from pg_catalog.pg_partition_tree(%2$L)
              -- A table without partitions has no tree of partitions.
              union
              select %2$L::regclass, 0
            ) as part
            join pg_catalog.pg_class as class on class.oid = part.relid
            join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace;
          select master_remove_distributed_table_metadata_from_workers(relid, nspname, relname)
          from moved_part order by level;
          select citus_drop_all_shards(relid, nspname, relname, level > 0) from moved_part order by level desc;
          select master_remove_partition_metadata(relid, nspname, relname) from moved_part order by level desc;
          delete from pg_catalog.pg_dist_object
          where classid = 'pg_catalog.pg_class'::regclass and objid in (select relid from moved_part);
          delete from %1$s;
          insert into %1$s select * from moved_rows
        $statement$,
        listed.name, listed.name
      )
    from listed
    where distribution_steps.undo
      and listed.relation = any (v_distributed)

    union all

    select
      2, 'restore foreign key', dropped.table_name, dropped.constraint_name,
      case
        when exists (
          select
          from pg_constraint as present
          where present.conrelid = to_regclass(dropped.table_name)
            and present.conname = dropped.constraint_name
        ) or to_regclass(dropped.table_name) is null then ''
        else format(
          'alter table %s add constraint %I %s; ', dropped.table_name, dropped.constraint_name, dropped.definition
        )
      end || format(
        'delete from track.dropped_reference where table_name = %L and constraint_name = %L',
        dropped.table_name, dropped.constraint_name
      )
    from track.dropped_reference as dropped
    where distribution_steps.undo
  )

  select step.action, step.name, step.detail, step.statement
  from step
  order by step.position, step.name, step.detail;
end;
$$;

comment on function track.distribution_steps(boolean) is $$
@behavior -queryField
Returns what is left to do to distribute the tables of `track.distribution` over the nodes of a cluster of Citus.
One row per step, in order; each statement is a transaction of its own, by a member of the owner of the tables:
`insights distribute` executes them, and `insights doctor` reports them. With `undo`, the steps back: the rows return to
the coordinator, and the foreign keys are added again. No row: nothing is left. Citus must be 13 or later.
A table that is distributed is locked against writes while its rows are moved.
Errors: CF001 if `undo` is null.
Source: Citus 14, `create_distributed_table` and `citus_drop_trigger`.
$$;

grant execute on function track.distribution_steps(boolean) to insights_admin, insights_worker;
--! EndIncluded track/distribution/distribution_steps.sql

--! Included track/messages/pack_messages.sql
create or replace function track._shrink_messages()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The index is read, not the pages that the packed rows have left.
set enable_seqscan to off
set enable_bitmapscan to off
set lock_timeout to '200ms'
as $$
declare
  v_most constant int := 100000;
  v_left int;
  v_sources smallint[];
  v_hashes uuid[];
begin
  -- With a snapshot from before the lock, hashes that were inserted in between would be lost.
  if pg_total_relation_size('track.message') < 20e6
    or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
  then
    return;
  end if;
  select count(*) into v_left
  from (
    select 1
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if v_left > v_most or pg_total_relation_size('track.message') < 20e6 + 400.0 * v_left then
    return;
  end if;

  lock table track.message in access exclusive mode;
  select array_agg(message.source_id), array_agg(message.message_hash)
  into v_sources, v_hashes
  from (
    select message.source_id, message.message_hash
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if cardinality(v_hashes) > v_most then
    return;
  end if;
  truncate track.message;
  insert into track.message (source_id, message_hash)
  select source_id, message_hash
  from unnest(v_sources, v_hashes) as kept (source_id, message_hash);
exception
  -- The next call tries again.
  when lock_not_available then
    null;
end;
$$;

comment on function track._shrink_messages() is $$
Copies `track.message` to new files when nearly all of its rows have been packed, as after an upgrade or an import.
Until then its files keep their size. Holds an exclusive lock while it copies at most 100,000 rows.
$$;

create or replace function track.pack_messages(only_scheduled boolean default true)
returns int
language plpgsql
volatile
-- A definer: no role may write these tables.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_all constant bigint := 4294967296;
  v_cycle constant interval := '7 days';
  -- A row of more than about 200 hashes has its remainders out of line.
  v_largest_node constant int := 450;
  v_packing track.message_packing;
  v_all_sources smallint[];
  v_until bigint;
  v_sources smallint[];
  v_hashes uuid[];
  v_moved int;
begin
  -- One step at a time: a second session has nothing to do.
  select packing.* into v_packing
  from track.message_packing as packing
  for update skip locked;
  if not found then
    return null;
  end if;
  if only_scheduled
    and not v_packing.is_behind
    and v_packing.cycle_started_at + v_cycle * (v_packing.position::float8 / v_all) > now()
  then
    perform track._shrink_messages();
    return null;
  end if;
  v_all_sources := array(select source.source_id from track.source);

  -- A cycle begins with the size of the rows. Hashes are evenly distributed: a part is counted.
  if v_packing.position = 0 then
    select least(
      greatest(
        v_packing.depth,
        ceil(log(2, greatest(v_packing.messages + 256.0 * count(*), 1) / v_largest_node))
      ),
      29
    )
    into v_packing.next_depth
    from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash < '01000000-0000-0000-0000-000000000000';
    if v_packing.messages = 0 then
      v_packing.depth := v_packing.next_depth;
    end if;
  end if;
  -- From 1 to 32 rows: at least 256 steps in a cycle, each of a fraction of a second.
  v_until := v_packing.position
    + (v_all >> v_packing.next_depth) * least(greatest(1 << v_packing.next_depth >> 8, 1), 32);

  with taken as (
    delete from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash between (lpad(to_hex(v_packing.position), 8, '0') || repeat('0', 24))::uuid
        and (lpad(to_hex(v_until - 1), 8, '0') || repeat('f', 24))::uuid
    returning message.source_id, message.message_hash
  )
  select array_agg(taken.source_id), array_agg(taken.message_hash), count(*)
  into v_sources, v_hashes, v_moved
  from taken;

  perform track._merge_packed(v_sources, v_hashes, v_packing, v_until);

  update track.message_packing as packing
  set
    depth = case when v_until = v_all then v_packing.next_depth else v_packing.depth end,
    next_depth = v_packing.next_depth,
    position = v_until % v_all,
    step = packing.step + 1,
    messages = packing.messages + v_moved,
    is_behind = v_until < v_all
      and (
        v_packing.is_behind
        or v_moved * 10 >= v_packing.messages * ((v_until - v_packing.position)::float8 / v_all) + 100
      ),
    cycle_started_at = case when v_until = v_all then now() else packing.cycle_started_at end;
  return v_moved;
end;
$$;

comment on function track.pack_messages(boolean) is $$
@behavior -mutationField
Moves hashes of messages from `track.message` to `track.packed_message`: one step, of some thousand.
Steps go through all hashes in their order, within a week, and at once while much is new. A worker calls it until it
returns null. Returns the number of hashes that were moved; null when no step is scheduled, or while another session
runs one. `only_scheduled`: false runs a step in any case.
$$;

grant execute on function track.pack_messages(boolean) to insights_worker;
--! EndIncluded track/messages/pack_messages.sql

--! Included track/ingest/enter_items.sql
create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new bigint[];
  v_before track.named_item[];
begin
  if not exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    left join track.named_item as named on named.item_id = item.item_id
    where message.item is not null
      and (
        item.item_id is null
        -- An item that an earlier version merged has no description of its own.
        or (item.merged_item_id is null or named.item_id is not null)
        and (
          case when named.item_id is null then item.kind else named.kind end = 'unknown'
          and message.item_kind is not null
          or case when named.item_id is null then item.title else named.title end is null
          and message.item_title is not null
          or case when named.item_id is null then item.url else named.url end is null
          and message.item_url is not null
          or case when named.item_id is null then item.parent_item_id else named.parent_item_id end is null
          and message.item_parent is not null
        )
      )
  ) then
    return;
  end if;

  with entered as (
    insert into track.item (external_id)
    select external_id
    from (
      select message.item from unnest(messages) as message
      union
      select message.item_parent from unnest(messages) as message
    ) as named (external_id)
    where external_id is not null
      and not exists (select from track.item where item.external_id = named.external_id)
    order by external_id
    on conflict (external_id) do nothing
    returning item.item_id
  )
  select array_agg(entered.item_id) into v_new
  from entered;

  -- Sorted, so that concurrent batches do not cause a deadlock.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from unnest(messages) as message
    join track.item as known on known.external_id = message.item
  ))
  order by item.item_id
  for no key update;

  v_before := array(
    select track._descriptions(array(
      select item.item_id
      from track.item
      where item.external_id in (select message.item from unnest(messages) as message)
    ))
  );
  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
  perform track._store_item_sources(messages, coalesce(v_new, '{}'), v_before);
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;

create or replace function track._store_item_sources(
  messages track.parsed_message[],
  new_items bigint[],
  before track.named_item[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for any number of messages would compare each message with each item.
set plan_cache_mode to force_custom_plan
as $$
begin
  insert into track.item_source (item_id, attribute, identity_id)
  select
    first.item_id, first.attribute,
    coalesce(
      case first.identity_kind when 'anonymous' then track._browser_identity(first.external_id, first.occurred_at) end,
      first.identity_id
    )
  from (
    select distinct on (told.item_id, told.attribute)
      told.item_id, told.attribute, told.identity_kind, told.external_id, told.occurred_at, identity.identity_id
    from (
      select
        item.item_id, 'name' as attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(messages) as message
      cross join lateral unnest(array[message.item, message.item_parent]) as named (external_id)
      join track.item on item.external_id = named.external_id
      join unnest(_store_item_sources.new_items) as new (item_id) on new.item_id = item.item_id

      union all

      select
        item.item_id, given.attribute,
        message.identity_kind, message.external_id, message.occurred_at, message.position
      from unnest(_store_item_sources.before) as former
      join track.item on item.item_id = former.item_id
      join track._descriptions(array(select entry.item_id from unnest(_store_item_sources.before) as entry))
        as described on described.item_id = former.item_id
      join unnest(messages) as message on message.item = item.external_id
      left join track.item as parent on parent.external_id = message.item_parent
      cross join lateral (
        values
          ('kind', nullif(former.kind, 'unknown'), described.kind, message.item_kind),
          ('title', former.title, described.title, message.item_title),
          ('url', former.url, described.url, message.item_url),
          ('parent', former.parent_item_id::text, described.parent_item_id::text, parent.item_id::text)
      ) as given (attribute, former, stored, said)
      where given.former is null
        and given.stored = given.said
    ) as told
    join track.identity
      on identity.external_id = told.external_id
      and identity.kind = told.identity_kind
      and (told.identity_kind <> 'anonymous' or identity.branch = 0)
    order by told.item_id, told.attribute, told.position
  ) as first
  on conflict (item_id, attribute) do update
  set identity_id = excluded.identity_id;
end;
$$;

comment on function track._store_item_sources(track.parsed_message[], bigint[], track.named_item[]) is $$
Stores which identities named the new items, and gave the attributes that had no value before the messages.
`before`: the descriptions of the items of the messages, as they were before these were applied.
$$;
--! EndIncluded track/ingest/enter_items.sql

--! Included track/items/_descriptions.sql
create or replace function track._descriptions(item_ids bigint[])
returns setof track.named_item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    item.item_id, item.kind, item.title, item.parent_item_id, item.url, item.language, item.attributes,
    item.available_from, item.available_until, item.due_at
  from track.item
  where item.item_id = any (_descriptions.item_ids)
    and not exists (select 1 from track.named_item where named_item.item_id = item.item_id)
  union all
  select named_item.*
  from track.named_item
  where named_item.item_id = any (_descriptions.item_ids);
end;
$$;

comment on function track._descriptions(bigint[]) is $$
Returns what is stated of items under their own names: from `track.named_item`, or else from `track.item`.
$$;
--! EndIncluded track/items/_descriptions.sql

--! Included track/items/_describe_merged.sql
create or replace function track._describe_merged(item_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_members constant bigint[] := array(
    select member.item_id
    from track.item as given
    join track.item as member
      on coalesce(given.merged_item_id, given.item_id) in (member.item_id, member.merged_item_id)
    where given.item_id = any (_describe_merged.item_ids)
    group by member.item_id
  );
  v_children bigint[];
  v_item_id bigint;
  v_parent_id bigint;
begin
  -- The first value counts: that of the item's own name, then those of its other names in the order of their keys.
  with said as (
    select
      coalesce(item.merged_item_id, item.item_id) as root_item_id,
      item.merged_item_id is not null as is_merged,
      named_item.*
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    where item.item_id = any (v_members)
  ),

  summed as (
    select
      said.root_item_id as item_id,
      coalesce(
        (array_agg(said.kind order by said.is_merged, said.item_id) filter (where said.kind <> 'unknown'))[1], 'unknown'
      ) as kind,
      (array_agg(said.title order by said.is_merged, said.item_id) filter (where said.title is not null))[1] as title,
      (array_agg(said.url order by said.is_merged, said.item_id) filter (where said.url is not null))[1] as url,
      (array_agg(said.language order by said.is_merged, said.item_id) filter (where said.language is not null))[1]
        as language,
      (
        array_agg(said.available_from order by said.is_merged, said.item_id)
        filter (where said.available_from is not null)
      )[1] as available_from,
      (
        array_agg(said.available_until order by said.is_merged, said.item_id)
        filter (where said.available_until is not null)
      )[1] as available_until,
      (array_agg(said.due_at order by said.is_merged, said.item_id) filter (where said.due_at is not null))[1] as due_at
    from said
    group by said.root_item_id
  ),

  attributed as (
    select
      said.root_item_id as item_id,
      -- Of several values of a key, the last one stays.
      jsonb_object_agg(attribute.key, attribute.value order by said.is_merged desc, said.item_id desc) as attributes
    from said
    cross join jsonb_each(said.attributes) as attribute
    group by said.root_item_id
  ),

  described as (
    select
      summed.item_id, summed.kind, summed.title, summed.url, summed.language,
      coalesce(attributed.attributes, '{}') as attributes, summed.available_from, summed.available_until, summed.due_at
    from summed
    left join attributed on attributed.item_id = summed.item_id

    union all

    select
      said.item_id, 'merged', said.title, said.url, said.language, said.attributes, said.available_from,
      said.available_until, said.due_at
    from said
    where said.is_merged
  )

  update track.item
  set
    kind = described.kind,
    title = described.title,
    url = described.url,
    language = described.language,
    attributes = described.attributes,
    available_from = described.available_from,
    available_until = described.available_until,
    due_at = described.due_at,
    parent_item_id = case described.kind when 'merged' then null else item.parent_item_id end,
    updated_at = now()
  from described
  where item.item_id = described.item_id
    and (
      item.kind, item.title, item.url, item.language, item.attributes, item.available_from, item.available_until,
      item.due_at
    ) is distinct from (
      described.kind, described.title, described.url, described.language, described.attributes,
      described.available_from, described.available_until, described.due_at
    );

  -- The tree: an item that several names give a parent is in that of its own name, if this is another item, or else in
  -- that of the next name. Items of which a container was merged into a part of theirs would form a cycle: the part
  -- is not in itself. For the same tree in any order of the merges, all of these items are placed in one order.
  v_children := array(
    select placed.item_id
    from (
      select distinct root.item_id
      from track.named_item
      join track.item on item.item_id = named_item.item_id
      join track.item as root on root.item_id = coalesce(item.merged_item_id, item.item_id)
      where root.item_id = any (v_members)
        or named_item.parent_item_id = any (v_members)
        -- Those that had no parent because of a cycle.
        or root.parent_item_id is null and named_item.parent_item_id is not null
    ) as placed
    order by exists (select from track.item as merged where merged.merged_item_id = placed.item_id), placed.item_id
  );
  if exists (
    select
    from track.item
    where item.item_id = any (v_children)
      and item.parent_item_id is distinct from (track._parents_named(item.item_id))[1]
  ) then
    update track.item
    set parent_item_id = null
    where item.item_id = any (v_children)
      and item.parent_item_id is not null;
    foreach v_item_id in array v_children loop
      select parent.item_id into v_parent_id
      from unnest(track._parents_named(v_item_id)) with ordinality as parent (item_id, place)
      where not exists (
        select
        from track.item_ancestor
        where item_ancestor.item_id = parent.item_id
          and item_ancestor.ancestor_item_id = v_item_id
      )
      order by parent.place
      limit 1;
      update track.item
      set parent_item_id = v_parent_id, updated_at = now()
      where item.item_id = v_item_id
        and v_parent_id is not null;
    end loop;
  end if;

  -- Items that are neither merged nor a target, and whose parent is not merged, are as they were named.
  delete from track.named_item
  using track.item
  where item.item_id = named_item.item_id
    and (item.item_id = any (v_members) or named_item.parent_item_id = any (v_members))
    and item.merged_item_id is null
    and item.parent_item_id is not distinct from named_item.parent_item_id
    and not exists (select from track.item as merged where merged.merged_item_id = item.item_id);
end;
$$;

comment on function track._describe_merged(bigint[]) is $$
Computes the columns and parents of merged items, of their targets and of the parts of these, for the given items.
From `track.named_item`, so that the result depends on what was said under each name and on the merges, and not on their
order. Rows of items that are as they were named are deleted from there.
$$;

create or replace function track._parents_named(item_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select coalesce(parent.merged_item_id, parent.item_id)
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    join track.item as parent on parent.item_id = named_item.parent_item_id
    where _parents_named.item_id in (item.item_id, item.merged_item_id)
      and coalesce(parent.merged_item_id, parent.item_id) <> _parents_named.item_id
    order by item.merged_item_id is not null, item.item_id
  );
end;
$$;

comment on function track._parents_named(bigint) is $$
Returns the parents of an item by its own name and by the names that were merged into it, in the order of precedence.
$$;
--! EndIncluded track/items/_describe_merged.sql

--! Included track/items/_merge_enrolments.sql
create or replace function track._merge_enrolments(item_ids bigint[], identity_ids bigint[] default null)
returns setof bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with named as (
    select distinct on (enrolment.person_id, enrolment.identity_id, item.merged_item_id)
      enrolment.person_id, enrolment.identity_id, enrolment.item_id, item.merged_item_id
    from track.enrolment
    join track.item on item.item_id = enrolment.item_id
    where enrolment.item_id = any (_merge_enrolments.item_ids)
      and (_merge_enrolments.identity_ids is null or enrolment.identity_id = any (_merge_enrolments.identity_ids))
      and item.merged_item_id is not null
    order by
      enrolment.person_id, enrolment.identity_id, item.merged_item_id, enrolment.enrolled_at desc, enrolment.item_id
  ),

  merged as (
    update track.enrolment
    set item_id = named.merged_item_id, named_item_id = named.item_id
    from named
    where enrolment.person_id = named.person_id
      and enrolment.identity_id = named.identity_id
      and enrolment.item_id = named.item_id
      and not exists (
        select 1
        from track.enrolment as own
        where own.person_id = named.person_id
          and own.identity_id = named.identity_id
          and own.item_id = named.merged_item_id
      )
    returning enrolment.person_id
  )
  select merged.person_id from merged;
end;
$$;

comment on function track._merge_enrolments(bigint[], bigint[]) is $$
Gives the enrolments of merged items the items of which these are names, after `track._name_enrolments`.
Of several of an identity, the one of the item's own name counts, or else the latest one. Returns their people.
$$;
--! EndIncluded track/items/_merge_enrolments.sql

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
        select 1
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

--! Included track/items/_point_items.sql
create or replace function track._point_items(item_ids bigint[], target_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- All names of the items and of their targets, before and after.
  v_members constant bigint[] := array(
    select distinct member.item_id
    from unnest(_point_items.item_ids || _point_items.target_ids) as given (item_id)
    join track.item on item.item_id = given.item_id
    join track.item as member
      on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
  );
begin
  -- The descriptions by name.
  insert into track.named_item
  select
    item.item_id, case item.kind when 'merged' then 'unknown' else item.kind end, item.title, item.parent_item_id,
    item.url, item.language, item.attributes, item.available_from, item.available_until, item.due_at
  from track.item
  where item.item_id = any (v_members)
    or item.parent_item_id = any (v_members)
  on conflict (item_id) do nothing;
  insert into track.named_prerequisite (item_id, required_item_id)
  select prerequisite.item_id, prerequisite.required_item_id
  from track.prerequisite
  where (prerequisite.item_id = any (v_members) or prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.named_prerequisite as named
      join track.item on item.item_id = named.item_id
      join track.item as required on required.item_id = named.required_item_id
      where coalesce(item.merged_item_id, item.item_id) = prerequisite.item_id
        and coalesce(required.merged_item_id, required.item_id) = prerequisite.required_item_id
    );

  update track.item
  set target_item_id = pair.target_id
  from unnest(_point_items.item_ids, _point_items.target_ids) as pair (item_id, target_id)
  where item.item_id = pair.item_id;
  with recursive member as (
    select item.item_id, item.item_id as root_item_id
    from track.item
    where item.item_id = any (v_members)
      and item.target_item_id is null

    union all

    select item.item_id, member.root_item_id
    from member
    join track.item on item.target_item_id = member.item_id
  )

  update track.item
  set merged_item_id = nullif(member.root_item_id, item.item_id), updated_at = now()
  from member
  where item.item_id = member.item_id
    and item.merged_item_id is distinct from nullif(member.root_item_id, item.item_id);

  perform track._queue_months();
  perform track._describe_merged(v_members);

  delete from track.prerequisite
  where prerequisite.item_id = any (v_members)
    or prerequisite.required_item_id = any (v_members);
  insert into track.prerequisite (item_id, required_item_id)
  select distinct
    coalesce(item.merged_item_id, item.item_id), coalesce(required.merged_item_id, required.item_id)
  from track.named_prerequisite as named
  join track.item on item.item_id = named.item_id
  join track.item as required on required.item_id = named.required_item_id
  where (named.item_id = any (v_members) or named.required_item_id = any (v_members))
    and coalesce(item.merged_item_id, item.item_id) <> coalesce(required.merged_item_id, required.item_id)
  on conflict (item_id, required_item_id) do nothing;

  perform track._enqueue('enrolment', array(
    select track._name_enrolments(v_members)
    union
    select track._merge_enrolments(v_members)
  ));

  delete from track.named_prerequisite
  where (named_prerequisite.item_id = any (v_members) or named_prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.item
      where named_prerequisite.item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    )
    and not exists (
      select
      from track.item
      where named_prerequisite.required_item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    );
end;
$$;

comment on function track._point_items(bigint[], bigint[]) is $$
Makes items, with the names that were merged into them, names of their targets; null: of themselves again.
Moves their parts, prerequisites and enrolments, and fills the columns of the targets that have no value. The caller has
called `track._begin_naming`, and refused cycles; `track._apply_names` moves the events.
$$;
--! EndIncluded track/items/_point_items.sql

--! Included track/items/apply_path_rule.sql
create or replace function track.apply_path_rule(most_items int default 1000)
returns int
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_setting track.setting;
  v_candidates bigint[];
  v_renamed int;
  v_items bigint[];
  v_targets bigint[];
begin
  perform common.check_count('most_items', apply_path_rule.most_items, 1, 100000);
  perform track._begin_naming();
  select setting.* into v_setting from track.setting;

  -- Items with the name of a page that is not normal by the rule of at least one source. A name of 512 characters may
  -- have been cut.
  v_candidates := array(
    select item.item_id
    from track.item
    where item.kind in ('page', 'unknown')
      and item.external_id ~* '^([/?#]|https?://)'
      and length(item.external_id) < 512
      and exists (
        select
        from track.source
        where item.external_id <> track._path_item(
          item.external_id,
          coalesce(source.path_rule, v_setting.path_rule),
          coalesce(source.kept_parameters, v_setting.kept_parameters)
        )
      )
  );
  if v_candidates = '{}' then
    return 0;
  end if;

  -- Their sources. Items that an event names by "properties.item" were not named by a path.
  with used as materialized (
    select event.item_id, event.source_id, bool_or(event.properties ? 'item') as is_named
    from track.event
    where event.item_id = any (v_candidates)
    group by event.item_id, event.source_id
  ),

  normal as (
    select
      item.item_id,
      track._path_item(
        item.external_id,
        coalesce(source.path_rule, v_setting.path_rule),
        coalesce(source.kept_parameters, v_setting.kept_parameters)
      ) as name,
      coalesce(used.is_named, false) as is_named
    from track.item
    left join used on used.item_id = item.item_id
    left join track.source on source.source_id = used.source_id
    where item.item_id = any (v_candidates)
  ),

  agreed as (
    select normal.item_id, min(normal.name) as name
    from normal
    group by normal.item_id
    having min(normal.name) = max(normal.name) and not bool_or(normal.is_named)
  ),

  planned as (
    select agreed.item_id, agreed.name
    from agreed
    join track.item on item.item_id = agreed.item_id
    where item.external_id <> agreed.name
    order by agreed.item_id
    limit apply_path_rule.most_items
  ),

  -- The oldest of the items of a name that no item has gets it, which moves no event.
  renamed as (
    update track.item
    set external_id = chosen.name, updated_at = now()
    from (
      select distinct on (planned.name) planned.name, planned.item_id
      from planned
      where not exists (select 1 from track.item as known where known.external_id = planned.name)
      order by planned.name, planned.item_id
    ) as chosen
    where item.item_id = chosen.item_id
    returning item.item_id, item.external_id
  ),

  paired as (
    select
      planned.item_id, coalesce(target.item_id, renamed.item_id) as target_id,
      coalesce(target.merged_item_id, target.item_id, renamed.item_id) as root_id
    from planned
    left join track.item as target on target.external_id = planned.name
    left join renamed on renamed.external_id = planned.name
  ),

  -- Items of a cycle of such pairs wait for the next call, except the first ones.
  merged as (
    select paired.item_id, paired.target_id
    from paired
    where paired.item_id < paired.root_id
      or paired.item_id > paired.root_id
      and not exists (
        select 1
        from paired as other
        where other.item_id = paired.root_id
          and other.item_id <> other.root_id
      )
  )

  select (select count(*) from renamed), array_agg(merged.item_id), array_agg(merged.target_id)
  into v_renamed, v_items, v_targets
  from merged;

  if v_items is not null then
    perform track._point_items(v_items, v_targets);
    perform track._log_name('item merged', item.external_id, target.external_id)
    from unnest(v_items, v_targets) as merged (item_id, target_id)
    join track.item on item.item_id = merged.item_id
    join track.item as target on target.item_id = merged.target_id
    order by item.external_id;
    perform track._apply_names(100000);
  end if;
  return v_renamed + coalesce(cardinality(v_items), 0);
end;
$$;

comment on function track.apply_path_rule(int) is $$
Applies the path rules of `track.setting` and `track.source` to the pages that are stored.
Items are renamed, and those that get the same name are merged, as by `track.merge_items`. Returns the number of items;
0: all are done.
At most `most_items` items are changed by a call. All events are read, and messages wait meanwhile. Items that an event
names explicitly (`properties.item`), described ones (of another kind than `page` and `unknown`), and those on which the
rules of their sources disagree are not changed. A merge can be undone by `track.unmerge_item`, a new name cannot.
Errors: CF001 unless `most_items` is from 1 to 100,000.
$$;

grant execute on function track.apply_path_rule(int) to insights_admin;
--! EndIncluded track/items/apply_path_rule.sql

--! Included track/presence/stored_activity.sql
create or replace function track.stored_activity(people bigint[], first_days date[], end_days date[])
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_activity.people, stored_activity.first_days, stored_activity.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      part.person_id,
      part.event_type_id,
      part.is_automatic,
      part.occurred_at[part.before + 1:part.until] as occurred_at,
      part.item_ids[part.before + 1:part.until] as item_ids
    from (
      select
        step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
    ) as part
    where part.before < part.until
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.event_type_id,
    nullif(happened.item_id, 0)::bigint,
    count(*)::int,
    interval '0',
    (count(*) filter (where sliced.is_automatic))::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.item_ids) as happened (occurred_at, item_id)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.session
    on session.person_id = period.person_id
    and session.ended_at >= period.since
    and session.started_at < period.until
  join track.page_view
    on page_view.person_id = session.person_id
    and page_view.session_id = session.session_id
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  -- Until the first refresh after an upgrade, the page views of a person are in no table of presence and sums.
  where exists (select 1 from track.step where step.person_id = period.person_id)
  group by 1, 2, 4;
end;
$$;

comment on function track.stored_activity(bigint[], date[], date[]) is $$
@behavior -*
Returns the activity of people as of the last refresh, which is what the tables of presence and sums contain.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. Reads `track.step` and the page views.
$$;

grant execute on function track.stored_activity(bigint[], date[], date[]) to insights_reader, insights_admin;
--! EndIncluded track/presence/stored_activity.sql

--! Included track/presence/event_activity.sql
create or replace function track.event_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(event_activity.people, event_activity.first_days, event_activity.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (event_activity.event_type_id is null or event.event_type_id = event_activity.event_type_id)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.session
    on session.person_id = period.person_id
    and session.ended_at >= period.since
    and session.started_at < period.until
  join track.page_view
    on page_view.person_id = session.person_id
    and page_view.session_id = session.session_id
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  where event_activity.event_type_id is null
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    and exists (
      select 1
      from track.event
      where event.person_id = page_view.person_id
        and event.occurred_at between page_view.started_at and page_view.ended_at
        and event.event_id = page_view.event_id
    )
  group by 1, 2, 4;
end;
$$;

comment on function track.event_activity(bigint[], date[], date[], int) is $$
@behavior -*
Returns the activity of people, computed from their events: what `track.stored_activity` returns after a refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `event_type_id`: only the events of this type, without page views; null: everything.
The page views, with their engaged time, are those of the last refresh of the sessions.
$$;

grant execute on function track.event_activity(bigint[], date[], date[], int) to insights_reader, insights_admin;
--! EndIncluded track/presence/event_activity.sql

--! Included track/properties/stored_values.sql
create or replace function track.stored_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns setof track.value_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_values.people, stored_values.first_days, stored_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      step.person_id,
      declared.property_id,
      step.occurred_at[slice.before + 1:slice.until] as occurred_at,
      step_value.value_ids[slice.before + 1:slice.until] as value_ids
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
    join track.declared_property as declared
      on declared.event_type_id = step.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(stored_values.of_property, declared.property_id)
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = declared.property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    cross join lateral (
      select
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    ) as slice
    where slice.before < slice.until
      and not exists (
        select 1
        from track.stale_property
        where stale_property.person_id = step.person_id
          and stale_property.property_id = declared.property_id
      )
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.property_id,
    coalesce(happened.value_id, 0),
    count(*)::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.value_ids) as happened (occurred_at, value_id)
  group by 1, 2, 3, 4;
end;
$$;

comment on function track.stored_values(bigint[], date[], date[], int) is $$
@behavior -*
Returns the events of people by value of the declared properties, as of the last refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `of_property` null: all properties. It is what `track.value_presence` contains.
$$;

grant execute on function track.stored_values(bigint[], date[], date[], int) to insights_reader, insights_admin;
--! EndIncluded track/properties/stored_values.sql

--! Included track/properties/_enter_values.sql
create or replace function track._enter_values(people bigint[], first_days date[], end_days date[], of_property int)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_entered int[];
begin
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(_enter_values.people, _enter_values.first_days, _enter_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  found as (
    select distinct
      declared.property_id,
      left(event.properties ->> declared.property, 200) as value
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.declared_property as declared
      on declared.event_type_id = event.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(_enter_values.of_property, declared.property_id)
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  entered as (
    insert into track.property_value (property_id, value)
    select found.property_id, found.value
    from found
    where found.value is not null
      and not exists (
        select 1
        from track.property_value as known
        where known.property_id = found.property_id
          and known.value = found.value
      )
    order by found.property_id, found.value collate "C"
    returning property_value.value_id
  )

  select coalesce(array_agg(entered.value_id), '{}') into v_entered from entered;
  return v_entered;
end;
$$;

comment on function track._enter_values(bigint[], date[], date[], int) is $$
Adds the values of events of people that are not in `track.property_value` yet. Returns the keys of these values.
$$;
--! EndIncluded track/properties/_enter_values.sql

--! Included track/properties/_refresh_step_values.sql
/*
 * Values are joined to the stored journeys by time, item and rank among equal events, so that both lists have the same
 * positions, also when events were stored since the journeys were refreshed: their people are queued again.
 * Rows are grouped and not joined, so that the cost is linear regardless of the statistics.
 */
create or replace function track._refresh_step_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int
)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_has_new boolean;
  v_entered int[] := '{}';
begin
  -- Nothing is written if there are new values. They are rare, so that the events are read for them only then.
  for v_attempt in 1 .. 2 loop
    with period as materialized (
      select
        entry.person_id,
        entry.first_day,
        entry.end_day,
        entry.first_day::timestamp at time zone 'UTC' as since,
        entry.end_day::timestamp at time zone 'UTC' as until
      from unnest(_refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days)
        as entry (person_id, first_day, end_day)
    ),

    declared as materialized (
      select known.property_id, known.event_type_id, known.property
      from track.declared_property as known
      where known.is_queued
        and known.property_id = coalesce(_refresh_step_values.of_property, known.property_id)
    ),

    journey as materialized (
      select
        step.person_id, declared.property_id, step.is_automatic, step.since, slice.before,
        cardinality(step.occurred_at) - slice.until as after,
        step.occurred_at[slice.before + 1:slice.until] as occurred_at,
        step.item_ids[slice.before + 1:slice.until] as item_ids
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
      join declared on declared.event_type_id = step.event_type_id
      cross join lateral (
        select
          width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      ) as slice
      where not exists (
        select 1
        from track.stale_property
        where stale_property.person_id = step.person_id
          and stale_property.property_id = declared.property_id
      )
    ),

    listed as (
      select
        journey.person_id, journey.property_id, journey.is_automatic, journey.since,
        entry.occurred_at, entry.item_id, entry.place, null as value
      from journey
      cross join lateral unnest(journey.occurred_at, journey.item_ids)
        with ordinality as entry (occurred_at, item_id, place)

      union all

      select
        event.person_id, declared.property_id, event_type.is_automatic or source.is_automatic,
        case
          when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
          else date_trunc('year', event.occurred_at at time zone 'UTC')::date
        end,
        event.occurred_at, coalesce(event.item_id, 0)::int, null,
        left(event.properties ->> declared.property, 200)
      from period
      join track.event
        on event.person_id = period.person_id
        and event.occurred_at >= period.since
        and event.occurred_at < period.until
      join declared on declared.event_type_id = event.event_type_id
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
    ),

    ranked as (
      select
        listed.*,
        row_number() over (
          partition by person_id, property_id, is_automatic, since, occurred_at, item_id, place is null
          order by place, value collate "C"
        ) as rank
      from listed
    ),

    matched as (
      select
        person_id, property_id, is_automatic, since, occurred_at, item_id, rank,
        max(place) as place, max(value collate "C") as value
      from ranked
      group by person_id, property_id, is_automatic, since, occurred_at, item_id, rank
      having max(place) is not null
    ),

    fresh as (
      select
        matched.person_id, matched.property_id, matched.is_automatic, matched.since,
        array_agg(coalesce(known.value_id, 0) order by matched.place) as value_ids,
        bool_or(matched.value is not null and known.value_id is null) as has_new
      from matched
      left join track.property_value as known
        on known.property_id = matched.property_id and known.value = matched.value
      group by matched.person_id, matched.property_id, matched.is_automatic, matched.since
    ),

    found as materialized (
      select coalesce(bool_or(fresh.has_new), false) as has_new from fresh
    ),

    -- The stored values before and after the period are kept.
    merged as (
      select
        person_id, property_id, is_automatic, since, stored.value_ids as stored_ids,
        coalesce(stored.value_ids[:journey.before], array_fill(0, array[journey.before]))
          || coalesce(fresh.value_ids, '{}')
          || coalesce(
            stored.value_ids[cardinality(stored.value_ids) - journey.after + 1:], array_fill(0, array[journey.after])
          ) as value_ids
      from journey
      full join fresh using (person_id, property_id, is_automatic, since)
      left join track.step_value as stored using (person_id, property_id, is_automatic, since)
    ),

    deleted as (
      delete from track.step_value
      using merged, found
      where (v_attempt = 2 or not found.has_new)
        and merged.stored_ids is not null
        and 0 = all (merged.value_ids)
        and step_value.person_id = merged.person_id
        and step_value.property_id = merged.property_id
        and step_value.is_automatic = merged.is_automatic
        and step_value.since = merged.since
    ),

    written as (
      insert into track.step_value (person_id, property_id, is_automatic, since, value_ids)
      select merged.person_id, merged.property_id, merged.is_automatic, merged.since, merged.value_ids
      from merged
      cross join found
      where (v_attempt = 2 or not found.has_new)
        and not 0 = all (merged.value_ids)
        and merged.value_ids is distinct from merged.stored_ids
      on conflict on constraint step_value_pkey do update
      set value_ids = excluded.value_ids
    )

    select found.has_new into v_has_new from found;

    exit when v_attempt = 2 or not v_has_new;
    v_entered := track._enter_values(people, first_days, end_days, of_property);
  end loop;

  -- Those of journeys that are no longer there.
  delete from track.step_value
  using
    unnest(
      _refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days
    ) as period (person_id, first_day, end_day),
    track.declared_property as declared
  where step_value.person_id = period.person_id
    and step_value.since > period.first_day - 366
    and step_value.since < period.end_day
    and declared.property_id = step_value.property_id
    and declared.property_id = coalesce(_refresh_step_values.of_property, declared.property_id)
    and not exists (
      select 1
      from track.step
      where step.person_id = step_value.person_id
        and step.event_type_id = declared.event_type_id
        and step.is_automatic = step_value.is_automatic
        and step.since = step_value.since
    );
  return v_entered;
end;
$$;

comment on function track._refresh_step_values(bigint[], date[], date[], int) is $$
Recomputes the rows of `track.step_value` in the given days (UTC) of people, after their rows of `track.step`.
Each position is a person, the first day, and the day after the last one. `of_property` null: all declared properties.
Adds new values to `track.property_value`, and returns their keys.
$$;
--! EndIncluded track/properties/_refresh_step_values.sql

--! Included track/functions/_refresh_sessions_of.sql
/*
 * The time of a session is divided among its page views so that each moment counts once. A heartbeat confirms the time
 * before it, back to the previous heartbeat of the session or the opening of its page view, at most one interval. An
 * event is followed by a gap, up to the next event or the time that the next heartbeat confirms. Page views of clients
 * with heartbeats have the time that their heartbeats confirm, those of other clients their gaps.
 */
create or replace function track._compute_sessions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  setting track.setting
)
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
  v_result track.refresh_result;
begin
  delete from track.session
  using unnest(people, since, until) as period (person_id, since, until)
  where session.person_id = period.person_id
    and session.ended_at between period.since and period.until;

  delete from track.automatic_period
  using unnest(people, _compute_sessions.since, _compute_sessions.until) as period (person_id, since, until)
  where automatic_period.person_id = period.person_id
    and automatic_period.since >= period.since
    and automatic_period.until <= period.until;
  -- Those of people that were merged into others. A merge deletes none, so that it never waits for a refresh.
  delete from track.automatic_period
  where automatic_period.person_id = any (array(
    select merged.person_id
    from unnest(people) as merged (person_id)
    where not exists (select 1 from track.person where person.person_id = merged.person_id)
  ));

  -- Events of automatic types and sources pass through the steps as sessions of their own, with negative numbers, so
  -- that the events are read once.
  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event.source_id,
      event.identity_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event_type.opens_view or event_type.is_heartbeat
          then hashtextextended(event.properties ->> 'viewId', 0)
      end as view_key,
      case
        when not event_type.is_heartbeat then null
        when jsonb_typeof(event.properties -> 'interval') = 'number'
          and (event.properties ->> 'interval')::numeric > 0
          then least((event.properties ->> 'interval')::numeric, 86400)::float8 * interval '1 second'
        else coalesce(source.heartbeat, v_setting.heartbeat)
      end as heartbeat
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
  ),

  followed as (
    select
      happened.*,
      lag(occurred_at) over earlier as previous_at,
      max(occurred_at) filter (where is_heartbeat) over earlier as previous_heartbeat_at
    from happened
    window earlier as (
      partition by person_id, is_automatic
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  numbered as (
    select
      followed.*,
      case when is_automatic then -1 else 1 end
        * count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id, is_automatic order by occurred_at, event_id) as session_number
    from followed
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      first_value(occurred_at) over session_in_order
        - case
          when first_value(is_heartbeat) over session_in_order
            then least(v_setting.minimum_visit, v_setting.session_timeout)
          else interval '0'
        end as session_started_at,
      count(*) filter (where opens_view) over session_in_order as view_number,
      max(occurred_at) filter (where opens_view) over session_in_order as view_opened_at,
      max(occurred_at) filter (where not is_heartbeat) over session_in_order as last_action_at,
      count(item_id) over session_in_order as item_number
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  -- A heartbeat belongs to the view of its name that was opened before it. One without a name belongs to the last view.
  -- Others continue a view that was not opened in the session: that of their name, or else that of their item.
  keyed as (
    select
      placed.*,
      case when is_heartbeat and view_key is null and view_number = 0 then item_id end as continued_item_id
    from placed
  ),

  named as (
    select
      keyed.*,
      max(view_number) filter (where opens_view) over earlier_of_key as named_number,
      max(occurred_at) filter (where opens_view) over earlier_of_key as named_opened_at,
      max(occurred_at) filter (where is_heartbeat) over earlier_of_key as named_heartbeat_at
    from keyed
    window earlier_of_key as (
      partition by person_id, session_number, view_key, continued_item_id
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  targeted as (
    select
      named.*,
      case when is_heartbeat and view_key is not null then coalesce(named_number, 0) else view_number end
        as target_number,
      case when view_key is null then view_opened_at else named_opened_at end as opened_at
    from named
  ),

  confirmed as (
    select
      targeted.*,
      is_heartbeat and target_number = 0 as is_continued,
      is_heartbeat and (named_heartbeat_at is null or named_heartbeat_at < opened_at) as is_first_heartbeat,
      case
        when is_heartbeat
          then greatest(
            occurred_at - case
              when named_heartbeat_at is null or named_heartbeat_at < opened_at then v_setting.minimum_visit
              else heartbeat
            end,
            previous_heartbeat_at,
            opened_at,
            session_started_at
          )
      end as confirmed_since
    from targeted
  ),

  spent as (
    select
      confirmed.*,
      opens_view or is_continued and is_first_heartbeat as is_first_of_view,
      case when is_continued then coalesce(view_key, continued_item_id, 0) end as continued_key,
      -- Null for the last event of a session. The next heartbeat is the later one that confirms the earliest time.
      case
        when lag(occurred_at) over later_in_session is not null
          then greatest(
            least(
              lag(occurred_at) over later_in_session,
              min(confirmed_since) over later_in_session,
              last_action_at + v_setting.longest_gap
            ) - occurred_at,
            interval '0'
          )
      end as gap
    from confirmed
    window later_in_session as (
      partition by person_id, session_number
      order by occurred_at desc, event_id desc
      rows between unbounded preceding and 1 preceding
    )
  ),

  -- The time after a heartbeat of another view than the last one is a gap of the last one: a row for each of the two.
  spread as (
    select
      spent.*,
      unnest(
        case when is_heartbeat and target_number <> view_number then '{t,f}'::boolean[] else '{t}' end
      ) as is_event
    from spent
  ),

  attributed as (
    select
      spread.*,
      case when is_event then target_number else view_number end as attributed_number,
      case when is_event then continued_key end as attributed_key,
      case when not is_event or target_number = view_number then gap end as view_gap
    from spread
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  viewed as (
    select
      person_id,
      session_number,
      attributed_number,
      attributed_key,
      session_id,
      session_started_at,
      (array_agg(event_id) filter (where is_event and is_first_of_view))[1] as event_id,
      min(item_id) filter (where is_event and is_first_of_view) as item_id,
      min(source_id) filter (where is_event and is_first_of_view) as source_id,
      min(identity_id) filter (where is_event and is_first_of_view) as identity_id,
      min(view_key) filter (where is_event and is_first_of_view) as view_key,
      min(coalesce(confirmed_since, occurred_at)) filter (where is_event and is_first_of_view) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(view_gap, '0')) as last_sign_at,
      count(*) filter (where is_event) as event_count,
      sum(view_gap) as gaps,
      count(*) filter (where is_event and is_heartbeat) as heartbeat_count,
      max(occurred_at) filter (where is_event and is_heartbeat) as last_heartbeat_at,
      sum(occurred_at - confirmed_since) filter (where is_event) as confirmed,
      min(item_id) filter (where item_number = 1) as entry_item_id,
      max(array[item_number, item_id]) filter (where item_id is not null) as exit_item
    from attributed
    group by person_id, session_number, attributed_number, attributed_key, session_id, session_started_at
  ),

  judged as (
    select
      viewed.*,
      event_id is not null as is_view,
      row_number() over views_in_order as view_number,
      lead(started_at) over views_in_order as next_started_at,
      max(last_event_at) over (partition by person_id, session_number) as session_ended_at,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
    window views_in_order as (
      partition by person_id, session_number
      order by event_id is null, started_at, event_id
    )
  ),

  measured as materialized (
    select
      judged.*,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)) as view_ended_at,
      case
        when is_view then coalesce(case when has_heartbeats then confirmed else gaps end, '0')
      end as engaged,
      case
        when not is_view then null
        when has_heartbeats then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from judged
  ),

  -- As in the columns `view_…` of the session: null where the value is the usual one.
  encoded as (
    select
      measured.*,
      (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
      case
        when is_view and view_ended_at <> coalesce(next_started_at, session_ended_at)
          then (extract(epoch from view_ended_at - session_started_at) * 1000000)::bigint
      end as view_end,
      case
        when engaged <> view_ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
      end as view_engaged,
      case engaged_by when 'heartbeats' then heartbeat_count::int when 'nothing' then -1 end as view_heartbeats,
      case when attributed_key is not null then true end as view_continued
    from measured
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id, view_event_ids, view_item_ids, view_starts, view_ends, view_engaged, view_heartbeats,
      view_continued, view_keys
    )
    select
      person_id,
      session_id,
      min(session_started_at),
      max(last_event_at),
      sum(event_count),
      count(*) filter (where is_view and attributed_key is null),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      min(entry_item_id),
      (max(exit_item))[2],
      array_agg(event_id order by view_number) filter (where is_view),
      case
        when count(item_id) filter (where is_view) > 0
          then array_agg(item_id order by view_number) filter (where is_view)
      end,
      array_agg(view_start order by view_number) filter (where is_view),
      case when count(view_end) > 0 then array_agg(view_end order by view_number) filter (where is_view) end,
      case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) filter (where is_view) end,
      case
        when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) filter (where is_view)
      end,
      case
        when count(view_continued) > 0 then array_agg(view_continued order by view_number) filter (where is_view)
      end,
      case when count(view_key) > 0 then array_agg(view_key order by view_number) filter (where is_view) end
    from encoded
    where session_number > 0
    group by person_id, session_number, session_id
    returning 1
  ),

  stored_period as (
    insert into track.automatic_period as stored (person_id, since, until)
    select person_id, min(session_started_at), max(last_event_at)
    from measured
    where session_number < 0
    group by person_id
    on conflict (person_id) do update
    set since = least(stored.since, excluded.since), until = greatest(stored.until, excluded.until)
  )

  select
    (select count(*) from stored_session),
    (select count(*) from measured where is_view and session_number > 0)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows. Continued page
views have the item of their first heartbeat: see `track._continue_views`.
$$;

/* A late event, a merge or a deletion can change the view that later sessions continue: the earlier one of its name. */
create or replace function track._continue_views(
  inout people bigint[],
  inout since timestamptz[],
  inout until timestamptz[],
  setting track.setting
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
begin
  if not exists (
    select 1
    from track.session
    where session.person_id = any (people)
      and session.view_continued is not null
  ) then
    return;
  end if;

  with continued as materialized (
    select distinct
      page_view.person_id, page_view.session_id, page_view.view_number, page_view.event_id, page_view.item_id,
      page_view.view_key, page_view.started_at, page_view.ended_at, session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.session
      on session.person_id = period.person_id
      and session.view_continued is not null
      and session.ended_at >= period.since
      and session.started_at <= period.until + v_setting.longest_view
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.is_continued
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    where page_view.view_key is not null
  ),

  searched as (
    select
      person_id,
      unnest(range_agg(tstzrange(started_at - v_setting.longest_view, session_ended_at, '[]'))) as period
    from continued
    group by person_id
  ),

  -- The view that each one continues is the last opened one before it, in an order by the times at which an opened
  -- view counts for it.
  ordered as (
    select
      person_id, view_key, session_id, view_number, event_id, item_id, started_at, ended_at, session_ended_at as at,
      true as is_continued
    from continued

    union all

    select
      opened.person_id, opened.view_key, opened.session_id, opened.view_number, opened.event_id, opened.item_id,
      opened.started_at, opened.ended_at, opened.started_at, false
    from searched
    join track.session
      on session.person_id = searched.person_id
      and session.view_keys is not null
      and session.ended_at >= lower(searched.period)
      and session.started_at <= upper(searched.period)
    join track.page_view as opened
      on opened.person_id = session.person_id
      and opened.session_id = session.session_id
      and not opened.is_continued
    where opened.view_key is not null
  ),

  numbered as (
    select
      ordered.*,
      count(*) filter (where not is_continued) over (
        partition by person_id, view_key
        order by at, is_continued, event_id
        rows unbounded preceding
      ) as opened_number
    from ordered
  ),

  found as (
    select
      numbered.*,
      first_value(started_at) over opened as opened_at,
      first_value(item_id) over opened as opened_item_id,
      opened_number > 0 as is_opened
    from numbered
    window opened as (partition by person_id, view_key, opened_number order by is_continued)
  ),

  resolved as (
    select
      found.*,
      coalesce(
        case when is_opened and opened_at >= started_at - v_setting.longest_view then opened_item_id end,
        (
          select event.item_id
          from track.event
          where event.person_id = found.person_id
            and event.occurred_at between found.started_at and found.ended_at
            and event.event_id = found.event_id
        )
      ) as new_item_id
    from found
    where found.is_continued
  ),

  changed as materialized (
    select person_id, session_id, view_number, started_at, ended_at, new_item_id
    from resolved
    where item_id is distinct from new_item_id
  ),

  rewritten as (
    select
      page_view.person_id,
      page_view.session_id,
      array_agg(
        case when changed.view_number is null then page_view.item_id else changed.new_item_id end
        order by page_view.view_number
      ) as item_ids
    from (select distinct person_id, session_id from changed) as affected
    join track.page_view
      on page_view.person_id = affected.person_id
      and page_view.session_id = affected.session_id
    left join changed
      on changed.person_id = page_view.person_id
      and changed.session_id = page_view.session_id
      and changed.view_number = page_view.view_number
    group by page_view.person_id, page_view.session_id
  ),

  stored as (
    update track.session
    set view_item_ids = case when array_remove(rewritten.item_ids, null) <> '{}' then rewritten.item_ids end
    from rewritten
    where session.person_id = rewritten.person_id
      and session.session_id = rewritten.session_id
  )

  select
    _continue_views.people || array_agg(changed.person_id),
    _continue_views.since || array_agg(changed.started_at),
    _continue_views.until || array_agg(changed.ended_at)
  into people, since, until
  from changed;
end;
$$;

comment on function track._continue_views(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Sets the items of continued page views after a change of the sessions in the given periods of people.
Each has the item of the last page view of the same `viewId` that was opened before it, at most
`track.setting.longest_view`, or later in the same session (the clocks of messages may differ), or else of its first
heartbeat. Reads only the sessions within this time after a period, and before the continued page views in them.
Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track._refresh_sessions_of(people bigint[])
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting track.setting;
  v_picked constant bigint[] := people;
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_day_people bigint[];
  v_first_days date[];
  v_end_days date[];
  v_activity track.activity[];
  v_values track.value_activity[];
  v_has_values boolean;
  v_counted bigint[];
  v_first_months date[];
  v_end_months date[];
  v_transitions track.transition[];
  v_result track.refresh_result;
begin
  v_has_values := exists (select from track.declared_property as declared where declared.is_queued);
  select * into v_setting from track.setting;
  with taken as (
    delete from track.stale
    where stale.person_id = any (v_picked)
    returning stale.person_id, stale.since, stale.until
  ),

  widened as (
    select
      taken.person_id,
      taken.since - v_setting.session_timeout as since,
      taken.until + v_setting.session_timeout as until
    from taken
  ),

  touched as (
    select widened.person_id, tstzrange(widened.since, widened.until, '[]') as period
    from widened

    union all

    -- The index is by the end of the session, and most changes are recent: earlier sessions are not read.
    select widened.person_id, tstzrange(session.started_at, session.ended_at, '[]')
    from widened
    join track.session
      on session.person_id = widened.person_id
      and session.ended_at >= widened.since
      and session.started_at <= widened.until
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from touched
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return row(0, 0, 0)::track.refresh_result;
  end if;

  perform track._convert_page_views(v_picked);

  -- The whole days that may change, also those of continued page views.
  select array_agg(changed.person_id), array_agg(changed.first_day), array_agg(changed.end_day)
  into v_day_people, v_first_days, v_end_days
  from (
    select
      period.person_id,
      min((period.since at time zone 'UTC')::date) as first_day,
      max((
        period.until + case when continued.person_id is null then interval '0' else v_setting.longest_view end
      ) at time zone 'UTC')::date + 1 as end_day
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    left join (
      select session.person_id, session.started_at, session.ended_at
      from track.session
      where session.person_id = any (v_people)
        and session.view_continued is not null
    ) as continued
      on continued.person_id = period.person_id
      and continued.ended_at >= period.since
      and continued.started_at <= period.until + v_setting.longest_view
    group by period.person_id
  ) as changed;
  v_activity := array(select track.stored_activity(v_day_people, v_first_days, v_end_days));
  if v_has_values then
    v_values := array(select track.stored_values(v_day_people, v_first_days, v_end_days));
  end if;
  -- Whole months, since a transition of a person in a month counts her once.
  -- Computed once: in a condition, it would be computed for each person.
  v_counted := track._counted_among(v_day_people);
  select
    array_agg(changed.person_id),
    array_agg(date_trunc('month', changed.first_day::timestamp)::date),
    array_agg((date_trunc('month', (changed.end_day - 1)::timestamp) + interval '1 month')::date)
  into v_counted, v_first_months, v_end_months
  from unnest(v_day_people, v_first_days, v_end_days) as changed (person_id, first_day, end_day)
  where changed.person_id = any (v_counted);
  v_transitions := array(select track._transitions(v_counted, v_first_months, v_end_months));

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  perform track._change_transitions(
    v_transitions, array(select track._transitions(v_counted, v_first_months, v_end_months))
  );
  if v_has_values then
    perform track._refresh_values(v_values, v_day_people, v_first_days, v_end_days);
  end if;
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track._refresh_sessions_of(bigint[]) is $$
Refreshes the data that is derived from the events of people, in the periods that are queued for them in `track.stale`.
The caller has locked the refresh.
$$;
--! EndIncluded track/functions/_refresh_sessions_of.sql

--! Included track/functions/refresh.sql
create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select 1 from track.changed where changed.consumer = v_name) then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], common.without_values(v_outcome.error);
  end if;
  return row(
    v_name,
    cardinality(v_picked) - cardinality(v_outcome.failed),
    cardinality(v_outcome.failed),
    common.without_values(v_outcome.error)
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer. Those that fail are queued again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        common.without_values(v_error);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then common.without_values(v_error) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session', 'track.transition', 'track.property'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select 1 from track.stale) or exists (select 1 from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.transition') = 'track.transition'
    and exists (select from track.stale_transition_month)
  then
    v_changed := track._refresh_transitions();
    if v_changed > 0 then
      return next row('track.transition', v_changed, 0, null)::track.refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.property') = 'track.property'
    and (
      exists (select from track.stale_property)
      or exists (select from track.declared_property as declared where not declared.is_queued)
    )
  then
    v_refreshed := track._refresh_all_properties(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), the transitions of a
month that is queued (`track.transition`: `people` is the number of their rows), the values of new declared properties
(`track.property`), and the consumers of `track.consumer` in their order; `step` restricts it to one of these steps.
Returns one row per step that processed people. Call it until no row has `people` above 0, each call in its own
transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
--! EndIncluded track/functions/refresh.sql

--! Included track/trust/_check_step_values.sql
create or replace function track._check_step_values(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_result track.rollup_comparison;
  v_people bigint[];
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  fresh as (
    select
      event.person_id,
      declared.property_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(valued.value order by event.occurred_at, coalesce(event.item_id, 0), valued.value collate "C") as found
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    cross join lateral (select substr(event.properties ->> declared.property, 1, 200) as value) as valued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
      and not exists (
        select 1
        from track.stale_property as missing
        where missing.person_id = event.person_id
          and missing.property_id = declared.property_id
      )
    group by 1, 2, 3, 4
  ),

  journey as (
    select
      step.person_id, declared.property_id, step.is_automatic, step.since,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until,
      cardinality(step.occurred_at) as length
    from track.step
    join track.declared_property as declared on declared.event_type_id = step.event_type_id and declared.is_queued
    where step.person_id between v_first and v_last
      and step.since > _check_step_values.month - 366
      and step.since < v_end
      and not exists (
        select 1
        from track.stale_property as missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
  ),

  stored as (
    select
      person_id, property_id, is_automatic, since,
      -- A row without a journey, or of another length, never agrees.
      coalesce(cardinality(step_value.value_ids) <> journey.length, journey.person_id is null) as is_wrong,
      case
        when step_value.value_ids is null then array_fill(null::text, array[journey.until - journey.before])
        else (
          select array_agg(
            case place.value_id
              when 0 then null
              else coalesce(property_value.value, format('unknown value %s', place.value_id))
            end
            order by place.number
          )
          from unnest(step_value.value_ids[journey.before + 1:journey.until])
            with ordinality as place (value_id, number)
          left join track.property_value on property_value.value_id = place.value_id
        )
      end as found
    from journey
    full join (
      select step_value.*
      from track.step_value
      where step_value.person_id between v_first and v_last
        and step_value.since > _check_step_values.month - 366
        and step_value.since < v_end
        and not exists (
          select 1
          from track.stale_property as missing
          where missing.person_id = step_value.person_id
            and missing.property_id = step_value.property_id
        )
    ) as step_value using (person_id, property_id, is_automatic, since)
    where person_id <> all ((select queued.people from queued)::bigint[])
      and (
        journey.person_id is null
        or journey.before < journey.until
        or cardinality(step_value.value_ids) <> journey.length
      )
  ),

  compared as (
    select
      person_id, property_id, is_automatic, since,
      stored.is_wrong is true
        or coalesce(stored.found, '{}') is distinct from coalesce(fresh.found, '{}') as is_different
    from stored
    full join fresh using (person_id, property_id, is_automatic, since)
  )

  select
    count(*),
    count(*) filter (where compared.is_different),
    min(format('person %s, declared property %s, %s', compared.person_id, compared.property_id, compared.since))
      filter (where compared.is_different),
    array_agg(distinct compared.person_id) filter (where compared.is_different)
  into v_result.checked, v_result.differing, v_result.example, v_people
  from compared;

  if is_repair and v_people is not null then
    perform track._rewrite_step_values(v_people);
  end if;
  return v_result;
end;
$$;

comment on function track._check_step_values(date, int, boolean) is $$
Compares `track.step_value` with the events of a month and a block of people.
`is_repair`: writes the rows of the people that differ again.
$$;

create or replace function track._rewrite_step_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_days constant date[] := array_fill('-infinity'::date, array[cardinality(people)]);
  v_end_days constant date[] := array_fill('infinity'::date, array[cardinality(people)]);
begin
  perform track._refresh_step_values(people, v_first_days, v_end_days, null);
end;
$$;

comment on function track._rewrite_step_values(bigint[]) is $$
Recomputes all rows of `track.step_value` of people.
$$;
--! EndIncluded track/trust/_check_step_values.sql

--! Included track/trust/_check_value_presence.sql
create or replace function track._check_value_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_part constant int := block / 4;
  v_first constant bigint := v_part::bigint * 16384;
  v_last constant bigint := v_first + 16383;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_nobody constant bit(16384) := b'0'::bit(16384);
  v_one constant bit(16384) := b'1'::bit(16384);
  v_result track.rollup_comparison;
begin
  -- A row has the people of four blocks: it is compared with the first of these.
  if exists (
    select from track.person where person.person_id >= v_first and person.person_id < block::bigint * 4096
  ) then
    return row(0, 0, null, null)::track.rollup_comparison;
  end if;

  if is_repair then
    perform track._enter_values(
      listed.people,
      array_fill(_check_value_presence.month, array[cardinality(listed.people)]),
      array_fill(v_end, array[cardinality(listed.people)]),
      null
    )
    from (
      select array_agg(person.person_id) as people
      from track.person
      where person.person_id between v_first and v_last
    ) as listed
    where listed.people is not null;
  end if;

  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  raw as materialized (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      declared.property_id,
      substr(event.properties ->> declared.property, 1, 200) as value,
      event.person_id = any ((select queued.people from queued)::bigint[])
        or exists (
          select 1
          from track.stale_property as missing
          where missing.person_id = event.person_id
            and missing.property_id = declared.property_id
        ) as is_queued
    from track.event
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  fresh as (
    select
      raw.property_id,
      coalesce('=' || raw.value, '') as key,
      raw.day,
      coalesce(
        bit_or(v_one >> (raw.person_id % 16384)::int) filter (where raw.person_id <> 0 and not raw.is_queued), v_nobody
      ) as people,
      (count(*) filter (where person.is_excluded is not true and not raw.is_queued))::int as event_count,
      (count(*) filter (where person.is_counted and not raw.is_queued))::int as counted_count
    from raw
    left join track._rollup_people(v_first, v_last) as person on person.person_id = raw.person_id
    group by 1, 2, 3
  ),

  -- Queued people are compared with nothing: their bits stay, and numbers that contain their events too.
  left_out as (
    select
      activity.property_id,
      case activity.value_id when 0 then '' else '=' || property_value.value end as key,
      activity.day,
      bit_or(v_one >> (activity.person_id % 16384)::int) as people
    from queued
    cross join track._unrefreshed_values(queued.people, _check_value_presence.month, v_end) as activity
    left join track.property_value on property_value.value_id = activity.value_id
    group by 1, 2, 3
  ),

  stored as (
    select
      value_presence.*,
      case value_presence.value_id
        when 0 then ''
        else coalesce('=' || property_value.value, format('unknown value %s', value_presence.value_id))
      end as key
    from track.value_presence
    left join track.property_value on property_value.value_id = value_presence.value_id
    where value_presence.day >= _check_value_presence.month
      and value_presence.day < v_end
      and value_presence.part = v_part
  ),

  compared as (
    select
      property_id, key, day, stored.value_id,
      coalesce(stored.people, v_nobody) as stored_people,
      coalesce(stored.event_count, 0) as stored_count,
      coalesce(stored.counted_count, 0) as stored_counted,
      coalesce(stored.people, v_nobody) & coalesce(left_out.people, v_nobody) | coalesce(fresh.people, v_nobody)
        as people,
      case when left_out.day is null then coalesce(fresh.event_count, 0) else coalesce(stored.event_count, 0) end
        as event_count,
      case when left_out.day is null then coalesce(fresh.counted_count, 0) else coalesce(stored.counted_count, 0) end
        as counted_count
    from stored
    full join fresh using (property_id, key, day)
    left join left_out using (property_id, key, day)
    where stored.day is not null
      or fresh.event_count > 0
      or bit_count(fresh.people) > 0
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (compared.stored_people, compared.stored_count, compared.stored_counted)
  ),

  deleted as (
    delete from track.value_presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and value_presence.property_id = differing.property_id
      and value_presence.value_id = differing.value_id
      and value_presence.day = differing.day
      and value_presence.part = v_part
  ),

  written as (
    insert into track.value_presence (property_id, value_id, day, part, people, event_count, counted_count)
    select
      differing.property_id, coalesce(differing.value_id, named.value_id), differing.day, v_part, differing.people,
      differing.event_count, differing.counted_count
    from differing
    left join (
      select property_value.property_id, property_value.value_id, '=' || property_value.value as key
      from track.property_value
      union all
      select declared.property_id, 0, ''
      from track.declared_property as declared
    ) as named using (property_id, key)
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
      and coalesce(differing.value_id, named.value_id) is not null
    on conflict on constraint value_presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('declared property %s, %s, part %s', differing.property_id, differing.day, v_part)
      from differing
      order by differing.property_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_value_presence(date, int, boolean) is $$
Compares `track.value_presence` with the events of a month, and of the part of 16,384 people that begins with a block.
Other blocks are not compared. `is_repair`: writes what the events give.
$$;

create or replace function track._unrefreshed_values(people bigint[], first_day date, end_day date)
returns setof track.value_activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_values(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_values(bigint[], date, date) is $$
Returns the values of queued people that the rollups still contain, whose cells are not compared.
$$;
--! EndIncluded track/trust/_check_value_presence.sql

--! Included track/trust/_check_transitions.sql
create or replace function track._check_transitions(month date, items bigint[], is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := (month + interval '1 month') at time zone 'UTC';
  v_result track.rollup_comparison;
begin
  with viewed as (
    select
      session.person_id, session.session_id, page_view.item_id, page_view.started_at,
      lead(page_view.item_id) over in_session as next_item_id,
      lead(page_view.started_at) over in_session as next_at
    from track.session
    join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
    where session.started_at >= v_since
      and session.started_at < v_until
      and session.view_item_ids && items
      and not page_view.is_continued
      and page_view.item_id is not null
      and exists (
        select 1
        from track.person_set_block as counted
        where counted.name = 'counted'
          and counted.block = session.person_id / 4096
          and get_bit(counted.people, (session.person_id % 4096)::int) = 1
      )
    window in_session as (partition by session.person_id, session.session_id order by page_view.view_number)
  ),

  fresh as (
    select
      viewed.item_id as source_item_id,
      viewed.next_item_id as target_item_id,
      count(*) as transition_count,
      (count(distinct viewed.person_id))::int as person_count,
      (extract(epoch from sum(viewed.next_at - viewed.started_at)) * 1000000)::bigint as elapsed
    from viewed
    where viewed.item_id = any (items)
      and viewed.next_item_id <> viewed.item_id
    group by viewed.item_id, viewed.next_item_id
  ),

  compared as (
    select
      source_item_id, target_item_id, fresh.transition_count, fresh.person_count, fresh.elapsed,
      row(fresh.transition_count, fresh.person_count, fresh.elapsed)
        is distinct from row(stored.transition_count, stored.person_count, stored.elapsed) as is_different
    from (
      select item_transition.*
      from track.item_transition
      where item_transition.month = _check_transitions.month
        and item_transition.source_item_id = any (items)
    ) as stored
    full join fresh using (source_item_id, target_item_id)
    -- Queued months are recomputed by the next refresh.
    where not exists (
      select 1
      from track.stale_transition_month as stale_month
      where stale_month.month = _check_transitions.month
    )
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.is_different
  ),

  deleted as (
    delete from track.item_transition
    using differing
    where is_repair
      and differing.person_count is null
      and item_transition.month = _check_transitions.month
      and item_transition.source_item_id = differing.source_item_id
      and item_transition.target_item_id = differing.target_item_id
  ),

  written as (
    insert into track.item_transition (
      month, source_item_id, target_item_id, transition_count, person_count, elapsed
    )
    select
      _check_transitions.month, differing.source_item_id, differing.target_item_id, differing.transition_count,
      differing.person_count, differing.elapsed
    from differing
    where is_repair
      and differing.person_count is not null
    on conflict on constraint item_transition_pkey do update
    set
      transition_count = excluded.transition_count,
      person_count = excluded.person_count,
      elapsed = excluded.elapsed
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.source_item_id), _check_transitions.month)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_transitions(date, bigint[], boolean) is $$
Compares `track.item_transition` with the page views of a month, of the transitions from some items.
`is_repair`: writes what the page views give.
$$;
--! EndIncluded track/trust/_check_transitions.sql

--! Included track/trust/_checked_blocks.sql
create or replace function track._checked_blocks()
returns int
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    -- One block after the other by the index: keys of people may have large gaps.
    with recursive block (number) as (
      -- The first block of a month is compared also when it has no people.
      select 0::bigint
      where exists (select from track.person)
      union all
      select (
        select min(person.person_id) / 4096
        from track.person
        where person.person_id >= (block.number + 1) * 4096
      )
      from block
      where block.number is not null
    )
    select count(block.number) from block
  );
end;
$$;

comment on function track._checked_blocks() is $$
@behavior -*
Returns the number of blocks of 4,096 people that the checks of a month compare: the first, and those that have people.
$$;
--! EndIncluded track/trust/_checked_blocks.sql

--! Included track/trust/_turn_checks.sql
create or replace function track._turn_checks()
returns bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return cardinality(track._checked_months())::bigint * track._checked_blocks();
end;
$$;

comment on function track._turn_checks() is $$
@behavior -*
Returns the number of months times that of blocks of people: the checks in which all rollups are compared.
$$;
--! EndIncluded track/trust/_turn_checks.sql

--! Included track/trust/check_rollups.sql
/*
 * A check compares the rows of a month and a block of 4,096 people. The next check takes the next block, and after the
 * last one the next month, so that all rows are compared in turn. Sums of all people are compared for days of the month
 * and for some of its items. The days are shared among the blocks, so that all are compared in a turn: each check takes
 * those whose last check is the oldest.
 */
create or replace function track._next_check(out month date, out block int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last track.rollup_check;
  v_months constant date[] := track._checked_months();
  v_newest bigint;
begin
  select * into v_last from track.rollup_check order by rollup_check.check_id desc limit 1;
  v_newest := coalesce((select max(person.person_id) from track.person), 0) / 4096;
  if v_last.month = any (v_months) and v_last.block < v_newest then
    month := v_last.month;
    block := (
      select min(person.person_id) / 4096
      from track.person
      where person.person_id >= (v_last.block + 1)::bigint * 4096
    );
  else
    -- From the latest month back, and then again from the latest.
    month := coalesce(
      (select max(listed) from unnest(v_months) as listed where listed < v_last.month),
      v_months[cardinality(v_months)]
    );
    block := 0;
  end if;
end;
$$;

comment on function track._next_check() is $$
Returns the month and the block of people of the next check, from the last one. Null without any month of events.
$$;

create or replace function track._check_block(month date, block int)
returns setof track.rollup_check
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_check_id constant bigint := coalesce((select max(rollup_check.check_id) from track.rollup_check), 0) + 1;
  v_blocks constant int := greatest(track._checked_blocks(), 1);
  v_days date[];
  v_day date;
  v_number int := 0;
  v_items bigint[];
  v_rollup text;
  v_rollups text[] := array[
    'track.step', 'track.presence', 'track.item_month', 'track.item_month sums', 'track.course_presence',
    'track.item_transition'
  ];
  v_started timestamptz;
  v_found track.rollup_comparison;
  v_row track.rollup_check;
begin
  v_days := array(
    select listed::date
    from generate_series(_check_block.month, _check_block.month + interval '1 month - 1 day', '1 day') as listed
    left join track.rollup_check as earlier on earlier.rollup = 'track.item_day' and earlier.day = listed::date
    group by listed
    order by max(earlier.check_id) nulls first, listed
    limit ceil(31.0 / v_blocks)
  );
  v_items := array(
    select used.item_id
    from (
      select item_month.item_id
      from track.item_month
      where item_month.month = _check_block.month
      union
      select item_transition.source_item_id
      from track.item_transition
      where item_transition.month = _check_block.month
    ) as used
    order by random()
    limit case when v_blocks > 1 then 100 end
  );

  if exists (select 1 from track.declared_property as declared where declared.is_queued) then
    v_rollups := v_rollups || array['track.step_value', 'track.value_presence'];
  end if;
  v_rollups := v_rollups || array_fill('track.item_day'::text, array[cardinality(v_days)]);
  foreach v_rollup in array v_rollups loop
    v_started := clock_timestamp();
    if v_rollup = 'track.item_day' then
      v_day := v_days[v_number + 1];
      v_number := v_number + 1;
    end if;
    -- First without the lock of the refresh. Under it, the differences are those that no refresh is about to change.
    for v_attempt in 1 .. 2 loop
      v_found := case v_rollup
        when 'track.step' then track._check_steps(month, block, v_attempt = 2)
        when 'track.presence' then track._check_presence(month, block, v_attempt = 2)
        when 'track.item_month' then track._check_item_months(month, block, v_attempt = 2)
        when 'track.item_month sums' then track._check_item_sums(month, v_items, v_attempt = 2)
        when 'track.step_value' then track._check_step_values(month, block, v_attempt = 2)
        when 'track.value_presence' then track._check_value_presence(month, block, v_attempt = 2)
        when 'track.item_transition' then track._check_transitions(month, v_items, v_attempt = 2)
        when 'track.course_presence' then track._check_course_presence(month, block, v_attempt = 2)
        else track._check_item_days(v_day, v_attempt = 2)
      end;
      exit when v_found.differing = 0;
      perform pg_advisory_xact_lock(hashtext('track.refresh'));
    end loop;
    v_items := v_items || coalesce(v_found.items, '{}');

    insert into track.rollup_check (
      check_id, rollup, checked_at, month, block, day, checked, differing, example, duration
    )
    values (
      -- A further day has a number of its own.
      v_check_id + greatest(v_number - 1, 0), v_rollup, v_started, month, block, v_day,
      v_found.checked, v_found.differing, v_found.example, clock_timestamp() - v_started
    )
    returning * into v_row;
    return next v_row;
  end loop;
end;
$$;

comment on function track._check_block(date, int) is $$
Compares the rollups of a month and a block of people with the events, repairs what differs, and records the result.
$$;

create or replace function track.check_rollups(checks int default 1)
returns setof track.rollup_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set jit to off
as $$
declare
  v_next record;
  -- After these, everything has been compared: a further check would repeat one.
  v_turn constant bigint := track._turn_checks();
begin
  perform common.check_count('checks', check_rollups.checks, 1, 100);
  -- One at a time: two would check the same block.
  perform pg_advisory_xact_lock(hashtext('track.check_rollups'));
  for v_check in 1 .. least(check_rollups.checks, v_turn) loop
    -- With a long queue most cells could not be compared, and the work would not be bounded.
    if (select count(*) from (select 1 from track.stale limit 10001) as queued) > 10000
      or (select count(*) from (select 1 from track.changed limit 10001) as queued) > 10000
    then
      exit;
    end if;
    v_next := track._next_check();
    exit when v_next.month is null;
    return query select checked.* from track._check_block(v_next.month, v_next.block) as checked;
  end loop;
  delete from track.rollup_check
  where rollup_check.check_id <= (select max(latest.check_id) from track.rollup_check as latest) - 10000;
end;
$$;

comment on function track.check_rollups(int) is $$
@behavior -*
Compares a sample of the rollups with the events, repairs what differs, and records the result.
One row per rollup, and for `item_day` per day.
The rollups are `track.step`, `presence`, `item_month`, `course_presence`, `item_transition` and `item_day`, and with
declared properties `step_value` and `value_presence`. One check is a month and 4,096 people; each takes the next ones,
so that all are compared in turn (`track.rollup_turn`); a call ends when all have been. With at most 4,096 people all
items of the month are compared, otherwise 100 of them, picked at random. What is queued for a refresh is not
compared, and nothing is checked while more than 10,000 changes are queued. `differing` is the number of cells that
were wrong: they are written again from the events.
`track.rollup_trust` summarizes the results.
From the first difference on, refreshes wait for the end of the transaction: prefer many calls to many checks.
Errors: CF001 for fewer than one check, or more than 100.
$$;

grant execute on function track.check_rollups(int) to insights_admin, insights_worker;
--! EndIncluded track/trust/check_rollups.sql

--! Included track/trust/rollup_turn.sql
create or replace function track.rollup_turn()
returns track.rollup_turn
language plpgsql
stable
-- A definer: workers may not call private functions, and the months are those of the partitions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_turn track.rollup_turn;
begin
  v_turn.checks := track._turn_checks();
  v_turn.duration := v_turn.checks * (
    select avg(latest.duration)
    from (
      select sum(checked.duration) as duration
      from track.rollup_check as checked
      where checked.check_id > (select max(last.check_id) from track.rollup_check as last) - 2000
      group by checked.month, checked.block
      order by max(checked.check_id) desc
      limit 100
    ) as latest
  );
  return v_turn;
end;
$$;

comment on function track.rollup_turn() is $$
@behavior -*
Returns the number of checks (`track.check_rollups`) after which all rollups have been compared with the events.
Also how long these take, as estimated from the latest ones.
$$;

grant execute on function track.rollup_turn() to insights_admin, insights_worker;
--! EndIncluded track/trust/rollup_turn.sql

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
  v_items bigint[];
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
  v_items := array(
    select item.item_id
    from track.item
    where item.external_id in (select enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
  );

  perform track._describe_names(
    array(
      select row(given.item_id, 'course', null, null, null, null, null, null, null, null)::track.named_item
      from unnest(v_items) as given (item_id)
    ),
    false
  );
  update track.item
  set kind = 'course', updated_at = now()
  where item.item_id = any (v_items)
    and item.kind = 'unknown'
    and num_nulls(item.merged_item_id) > 0
    and not exists (select from track.named_item where named_item.item_id = item.item_id);
  -- The application takes the place of the messages that named the item or called it a course, as in track.sync_items.
  -- Another kind that they told is kept.
  delete from track.item_source
  using track._descriptions(v_items) as described
  where item_source.item_id = described.item_id
    and (item_source.attribute = 'name' or item_source.attribute = 'kind' and described.kind = 'course');

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
Unknown people and items are added, and an item without a kind is a course; rows of people who
were erased (`privacy.suppression`) are left out. Of several rows for one person and item, the latest `enrolled_at`
applies. They replace what imports have stated. The call can be
repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/erasure/_other_use.sql
create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_other_use.items)
    union
    select imported_item.parent_item_id
    from track.imported_item
    where imported_item.parent_item_id = any (_other_use.items)
  );
  used_types := array(
    select entry.event_type_id
    from unnest(_other_use.event_types) as entry (event_type_id)
    where exists (select 1 from track.step where step.event_type_id = entry.event_type_id)
      or exists (
        select 1
        from track.stale
        join track.event
          on event.person_id = stale.person_id
          and event.occurred_at between stale.since and stale.until
        where entry.event_type_id in (event.event_type_id, event.named_event_type_id)
      )
  );
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments, or are in the structure of an import.
$$;
--! EndIncluded track/erasure/_other_use.sql

--! Included track/erasure/_erase_descriptions.sql
create or replace function track._replace_descriptions(identities bigint[], items bigint[], with_parents boolean)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
  v_named bigint[];
begin
  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute <> 'name'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
      and (_replace_descriptions.with_parents or entry.attribute <> 'parent')
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select 1 from track.item where item.external_id = told.said)
    returning item.item_id, item.external_id
  ),

  named as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', min(told.identity_id)
    from entered
    join told on told.attribute = 'parent' and told.said = entered.external_id
    group by entered.item_id
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(coalesce(entered.item_id, parent.item_id)) filter (where told.attribute = 'parent') as named_parent_id,
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id,
      bool_or(num_nonnulls(parent.merged_item_id) > 0) as has_merged_parent,
      -- As track.sync_enrolments adds an item.
      case
        when exists (
          select 1
          from track.enrolment
          where told.item_id in (enrolment.item_id, enrolment.named_item_id)
            and coalesce(enrolment.named_item_id, enrolment.item_id) = told.item_id
            and num_nulls(enrolment.source_id) > 0
        ) then 'course'
        else 'unknown'
      end as other_kind
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select 1 from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  -- Items of a merge, and items whose parent is merged.
  changed_names as (
    insert into track.named_item
    select
      described.item_id,
      case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else described.kind end,
      case when by_item.has_title then by_item.title else described.title end,
      case
        when by_item.has_parent then nullif(by_item.named_parent_id, by_item.item_id) else described.parent_item_id
      end,
      case when by_item.has_url then by_item.url else described.url end,
      described.language, described.attributes, described.available_from, described.available_until, described.due_at
    from by_item
    cross join lateral track._descriptions(array[by_item.item_id]) as described
    where by_item.has_merged_parent
      or exists (select 1 from track.named_item where named_item.item_id = by_item.item_id)
    on conflict (item_id) do update
    set
      kind = excluded.kind,
      title = excluded.title,
      parent_item_id = excluded.parent_item_id,
      url = excluded.url
    returning named_item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and (told.identity_id is null or told.attribute = 'kind' and told.said = by_item.other_kind)
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and told.identity_id is not null
      and (told.attribute <> 'kind' or told.said <> by_item.other_kind)
  )

  select
    array(select changed_names.item_id from changed_names),
    (select count(*) from (select changed.item_id from changed union select item_id from changed_names) as entry)
  into v_named, v_cleared;
  perform track._describe_merged(v_named);

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_replace_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._replace_descriptions(bigint[], bigint[], boolean) is $$
Does the work of `track._erase_descriptions`; without parents, the items have none afterwards. Raises CF010 for a cycle.
$$;

create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_cleared bigint := 0;
begin
  return track._replace_descriptions(_erase_descriptions.identities, _erase_descriptions.items, true);
exception
  -- The parent that others told first is meanwhile a part of the item. No erasure may fail for it.
  when sqlstate 'CF010' then
    for v_item_id in
      select distinct source.item_id
      from track.item_source as source
      where source.identity_id = any (_erase_descriptions.identities)
        and source.attribute <> 'name'
        and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
      order by source.item_id
    loop
      begin
        v_cleared := v_cleared
          + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
      exception
        when sqlstate 'CF010' then
          v_cleared := v_cleared
            + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], false);
      end;
    end loop;
    return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all.
Returns the number of items. A parent that would form a cycle is left out. The derived data of courses follows with the
next refresh, as with each change of an item.
$$;
--! EndIncluded track/erasure/_erase_descriptions.sql

--! Included track/erasure/_erase_names.sql
/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. Items and types
 * that messages have named are deleted with the last person who used them. A batch that is being stored may name one of
 * them: therefore an erasure with such candidates waits for the running batches before it locks the people, and later
 * batches wait for it.
 */
create or replace function track._has_names_of_its_own(subject privacy.subject)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1
    from track.item_source
    join (
      select unnest(step.item_ids)::bigint as item_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.item_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
      union
      select named.item_id
      from track.item_source as named
      where named.identity_id = any (subject.identity_ids)
    ) as used on used.item_id = item_source.item_id
    where item_source.attribute = 'name'
      and not exists (
        select 1
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select 1
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) or exists (
    select 1
    from (
      select step.event_type_id
      from track.step
      where step.person_id = any (subject.identity_ids)
      union
      select event.event_type_id
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where stale.person_id = any (subject.identity_ids)
    ) as used
    where not exists (
      select 1
      from track.step
      where step.event_type_id = used.event_type_id
        and step.person_id <> all (subject.identity_ids)
    )
  );
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
  v_stated track.imported_item;
  v_open text[] := attributes;
  v_root constant bigint := (
    select item.merged_item_id from track.item where item.item_id = _told_by_others.item_id
  );
begin
  -- The structure that imports state has precedence: of several, the last one.
  if exists (select from track.imported_item where imported_item.item_id = _told_by_others.item_id) then
    select stated.* into v_stated from track._imported_attributes(array[_told_by_others.item_id]) as stated;
    return query
    select given.attribute, given.said, 0::bigint
    from (
      values
        ('kind', v_stated.kind), ('title', v_stated.title), ('url', v_stated.url),
        (
          'parent',
          (
            select item.external_id
            from track.item
            where item.item_id = v_stated.parent_item_id
              and v_stated.parent_item_id <> v_stated.item_id
          )
        )
    ) as given (attribute, said)
    where given.attribute = any (_told_by_others.attributes)
      and given.said is not null;
    v_open := array(
      select entry.attribute
      from unnest(_told_by_others.attributes) as entry (attribute)
      where case entry.attribute
        when 'kind' then v_stated.kind is null
        when 'title' then v_stated.title is null
        when 'url' then v_stated.url is null
        when 'parent' then v_stated.parent_item_id is null
        else true
      end
    );
    if v_open = '{}' then
      return;
    end if;
  end if;
  -- As a rule, the first few people tell the same.
  foreach v_most in array array[20, 1000] loop
    return query
    select distinct on (told.attribute) told.attribute, told.said, event.identity_id
    from (
      select used.person_id, used.since, used.until
      from (
        select
          item_month.part * 32768::bigint + entry.person as person_id,
          item_month.month::timestamp at time zone 'UTC' as since,
          (item_month.month + interval '1 month')::timestamp at time zone 'UTC' as until
        from track.item_month
        cross join lateral unnest(item_month.people) as entry (person)
        where item_month.item_id in (_told_by_others.item_id, v_root)
        order by item_month.month, item_month.part, entry.person
        limit v_most
      ) as used
      union all
      (
        select stale.person_id, stale.since, stale.until
        from track.stale
        limit v_most
      )
    ) as period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
      and event.item_id in (_told_by_others.item_id, v_root)
      and coalesce(event.named_item_id, event.item_id) = _told_by_others.item_id
    join track.source on source.source_id = event.source_id
    join track.event_type on event_type.event_type_id = event.event_type_id
    cross join lateral (
      values (
        case event_type.name when 'Page Viewed' then 'page' when 'Screen Viewed' then 'screen' else 'track' end,
        source.level = 'server'
      )
    ) as message (type, is_trusted)
    cross join lateral (
      values
        ('kind', track._item_kind(message.type, event.properties, event.properties ->> 'path', message.is_trusted)),
        (
          'title',
          case
            when message.is_trusted
              then coalesce(
                event.properties ->> 'itemTitle', case message.type when 'page' then event.properties ->> 'title' end
              )
          end
        ),
        ('url', case when message.is_trusted and message.type = 'page' then event.properties ->> 'url' end),
        (
          'parent',
          case
            when message.is_trusted
              then (
                select nullif(event.properties ->> 'parent', '')
                from track.item
                where item.item_id = _told_by_others.item_id
                  and item.external_id <> event.properties ->> 'parent'
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (v_open)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as imports or others tell them.
The structure that the last import states has precedence (identity 0); then the earliest stored events of others tell
them, with the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;
--! EndIncluded track/erasure/_erase_names.sql

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
        select 1 from track.trait where trait.person_id = subject.person_id and trait.name = new.key
      )
      and not exists (
        select 1 from track.trait_history as history
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
    select 1
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

--! Included track/erasure/erase.sql
create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities constant bigint[] := subject.identity_ids;
  -- Messages without proof under the names of her browsers are people of their own, with the keys of their identities.
  v_people constant bigint[] := subject.identity_ids;
  -- A later link of a browser moves messages to the identity of another user, but not what they have told of items.
  v_tellers constant bigint[] := track._with_siblings(subject.identity_ids);
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  if subject.person_id is null then
    return;
  end if;
  v_items := array(
    select event.item_id from track.event where event.person_id = any (v_people)
    union
    select event.named_item_id from track.event where event.person_id = any (v_people)
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_tellers)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = any (v_people));

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);
  return query select counted.* from track._count_derived(v_people) as counted;
  insert into track.stale (person_id, since, until)
  select entry.person_id, '-infinity', 'infinity'
  from unnest(v_people) as entry (person_id);
  perform track._refresh_sessions_of(v_people);

  return query select erased.* from track._erase_statements(subject) as erased;
  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.clear_values('track.exclusion', 'excluded_by', privacy.user_names(subject));
  return next privacy.clear_values('track.write_key_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.name_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.forgotten_import', 'actor', privacy.user_names(subject));
  return next track._clear_examples(v_people);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);
  perform track._give_back_traits(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_people,
      array_fill('-infinity'::timestamptz, array[cardinality(v_people)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_people)]);
  end loop;
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  v_rows := track._erase_descriptions(v_tellers);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._count_derived(people bigint[])
returns setof privacy.erased
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_activity constant track.activity[] := array(select track._whole_activity(_count_derived.people));
begin
  return query
  select
    'track.session', count(*), 'deleted'
  from track.session
  where session.person_id = any (_count_derived.people)
  union all
  select 'track.step', count(*), 'deleted'
  from track.step
  where step.person_id = any (_count_derived.people)
  union all
  select 'track.step_value', count(*), 'deleted'
  from track.step_value
  where step_value.person_id = any (_count_derived.people)
  union all
  select 'track.presence', count(distinct (entry.event_type_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.event_count > 0
  union all
  select 'track.item_month', count(distinct (entry.item_id, date_trunc('month', entry.day::timestamp))), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.item_day', count(distinct (entry.item_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select
    'track.item_transition', count(distinct (entry.month, entry.source_item_id, entry.target_item_id)), 'recomputed'
  from track._whole_transitions(track._counted_among(_count_derived.people)) as entry
  union all
  select 'track.person_set_block', count(*), 'recomputed'
  from track.person_set_block as stored
  join unnest(_count_derived.people) as entry (person_id)
    on entry.person_id / 4096 = stored.block
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track._count_derived(bigint[]) is $$
Counts the derived rows of people, before a refresh deletes or recomputes them.
$$;

create or replace function track._clear_examples(people bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update track.rollup_check
  set example = 'erased'
  where exists (
    select
    from unnest(_clear_examples.people) as entry (person_id)
    where starts_with(rollup_check.example, format('person %s,', entry.person_id))
  );
  get diagnostics v_rows = row_count;
  return row('track.rollup_check', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track._clear_examples(bigint[]) is $$
Replaces the keys of people in the results of checks of the rollups.
$$;

create or replace function track._give_back_traits(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
begin
  with given_back as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (identity.external_id, history.name)
      history.person_id, history.identity_id, history.name, point.value, point.set_at
    from track.identity
    join track.trait_history as history
      on history.person_id = identity.person_id and history.identity_id = identity.identity_id
    cross join lateral track._trait_points(history.set_at, history.value, history.repeated_at) as point
    where identity.external_id = any (_give_back_traits.names)
      and identity.kind = 'anonymous'
      and not exists (
        select 1
        from track.identity as sibling
        join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
        where sibling.external_id = identity.external_id
          and sibling.kind = 'anonymous'
          and trait.name = history.name
      )
    order by identity.external_id, history.name, point.set_at desc, point.value desc, history.identity_id
    returning trait.person_id
  )
  select array_agg(distinct given_back.person_id) into v_people
  from given_back;
  perform track._enqueue('trait', v_people);
end;
$$;

comment on function track._give_back_traits(text[]) is $$
After the erasure of a user of browsers: traits of the other users that hers had replaced apply again.
$$;

create or replace function track._number_browsers(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first identity of each name has the branch 0.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (_number_browsers.names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
    having min(sibling.branch) > 0
  );
end;
$$;

comment on function track._number_browsers(text[]) is $$
Makes the oldest identity of each browser the first one, after others of the same browser were deleted.
$$;
--! EndIncluded track/erasure/erase.sql

--! Included track/retention/apply_event_retention.sql
/*
 * Whole months are removed as partitions. The people of the month are queued for the refresh, which recomputes what is
 * derived from their events: afterwards each table is what it would be without these events. The partition is locked
 * first, and then read while others store events of later months; the lock on the whole table is held for the removal
 * alone.
 */
create or replace function track._remove_month(
  name text,
  horizon timestamptz,
  by_arrival boolean,
  held bigint[]
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_step privacy.retention_step;
  v_stays boolean;
begin
  execute format('lock table track.%I in exclusive mode', _remove_month.name);
  execute format(
    'select exists (
      select
      from track.%I as event
      where event.person_id = any ($1)
        or $2 and event.received_at >= $3
    )',
    _remove_month.name
  )
  into v_stays
  using _remove_month.held, _remove_month.by_arrival, _remove_month.horizon;
  if v_stays then
    return null;
  end if;
  execute format(
    'with queued as (
      insert into track.stale (person_id, since, until)
      select event.person_id, min(event.occurred_at), max(event.occurred_at)
      from track.%1$I as event
      group by event.person_id
    )
    select count(*), min(event.%2$I)
    from track.%1$I as event',
    _remove_month.name, case when _remove_month.by_arrival then 'received_at' else 'occurred_at' end
  )
  into v_step.row_count, v_step.oldest_at;
  -- A batch that has found its months must not find them gone. Later batches create the month again, if they need it.
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  lock table track.event in access exclusive mode;
  execute format('drop table track.%I', _remove_month.name);
  v_step.partitions := array['track.' || _remove_month.name];
  return v_step;
exception
  -- Others use the table: the rows are deleted instead, which waits for no reader.
  when lock_not_available or deadlock_detected then
    return null;
end;
$$;

comment on function track._remove_month(text, timestamptz, boolean, bigint[]) is $$
Removes a partition of `track.event` and queues its people for the refresh.
Null when it holds events that stay, or when another transaction uses the table.
$$;

/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. They stay with
 * an anonymized event when the application or another person uses them; person 0 counts as another one, so that events
 * that were anonymized before decide as the people did.
 */
create or replace function track._shared_names(
  items bigint[],
  event_types int[],
  out shared_items bigint[],
  out shared_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  shared_items := array(
    select item.item_id
    from track.item
    where item.item_id = any (_shared_names.items)
      and not exists (
        select 1 from track.item_source where item_source.item_id = item.item_id and item_source.attribute = 'name'
      )
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_shared_names.items)
    union
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_shared_names.items)
    group by item_month.item_id
    having count(distinct (item_month.part, item_month.people[1])) > 1 or max(cardinality(item_month.people)) > 1
    union
    select used.item_id
    from track.step
    cross join lateral unnest(step.item_ids) as used (item_id)
    where step.person_id = 0
      and step.item_ids && _shared_names.items::int[]
  );
  shared_types := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_shared_names.event_types)
      and (
        event_type.description is not null
        or event_type.purpose <> 'analytics'
        or event_type.opens_view
        or event_type.is_heartbeat
        or event_type.is_automatic
        or exists (
          select 1
          from track.step
          join track.step as other on other.event_type_id = step.event_type_id and other.person_id <> step.person_id
          where step.event_type_id = event_type.event_type_id
        )
      )
  );
end;
$$;

comment on function track._shared_names(bigint[], int[]) is $$
Returns which of the given items and event types are known to the application, or used by more than one person.
$$;

create or replace function track._delete_expired(
  name text,
  rule privacy.retention,
  horizon timestamptz,
  event_types int[],
  held bigint[],
  most_rows int
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_time constant text := case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end;
  v_shared record;
  v_step privacy.retention_step;
  v_picked text;
begin
  v_picked := format(
    'select event.*
    from track.%I as event
    where event.%I < $1
      and ($2 is null or event.event_type_id = any ($2))
      and event.person_id <> all ($3)
      and ($4 or event.person_id <> 0)
    order by event.person_id, event.occurred_at, event.event_id
    limit $5',
    _delete_expired.name, v_time
  );
  if rule.method = 'anonymize' then
    execute format(
      'select shared.*
      from (
        select
          array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
          array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as event_types
        from (%s) as picked
      ) as used
      cross join lateral track._shared_names(used.items, used.event_types) as shared',
      v_picked
    )
    into v_shared
    using horizon, event_types, held, false, most_rows;
  else
    select '{}'::bigint[] as shared_items, '{}'::int[] as shared_types into v_shared;
  end if;

  execute format(
    'with picked as (%1$s),

    deleted as (
      delete from track.%2$I as event
      using picked
      where event.person_id = picked.person_id
        and event.occurred_at = picked.occurred_at
        and event.event_id = picked.event_id
      returning event.*
    ),

    placed as (
      insert into track.event (
        person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id,
        named_event_type_id, named_item_id
      )
      select
        0, deleted.occurred_at, deleted.event_id, 0,
        case when shared.type_id then deleted.event_type_id else other.event_type_id end,
        case when shared.item_id then deleted.item_id end,
        deleted.received_at, deleted.source_id,
        case when shared.type_id and deleted.named_event_type_id = any ($7) then deleted.named_event_type_id end,
        case when shared.item_id and deleted.named_item_id = any ($6) then deleted.named_item_id end
      from deleted
      cross join lateral (
        select
          coalesce(deleted.event_type_id = any ($7), false) as type_id,
          coalesce(deleted.item_id = any ($6), false) as item_id
      ) as shared
      cross join (select event_type_id from track.event_type where name = ''Other Event'') as other
      where not $4
      on conflict do nothing
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      group by deleted.person_id
      union all
      select 0, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      where not $4
      having count(*) > 0
    )

    select count(*), min(deleted.%3$I) from deleted',
    v_picked, _delete_expired.name, v_time
  )
  into v_step.row_count, v_step.oldest_at
  using
    horizon, event_types, held, rule.method = 'delete', most_rows, v_shared.shared_items, v_shared.shared_types;
  v_step.partitions := '{}';
  return v_step;
end;
$$;

comment on function track._delete_expired(text, privacy.retention, timestamptz, int[], bigint[], int) is $$
Deletes or anonymizes at most `most_rows` events of a partition, and queues their people for the refresh.
$$;

create or replace function track._follow_horizon(rule privacy.retention, horizon timestamptz)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_step privacy.retention_step;
begin
  -- Otherwise a message that arrives late would bring back a month that was deleted.
  update track.setting
  set oldest_event = _follow_horizon.horizon
  where setting.oldest_event < _follow_horizon.horizon;

  if rule.keeps_rollups and v_kept < (_follow_horizon.horizon at time zone 'UTC')::date then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    -- The sums are to contain all events that were stored. People whose refresh fails are not waited for.
    if exists (select 1 from track.stale where stale.since < _follow_horizon.horizon) then
      select 'refresh', coalesce(max(refreshed.people), 0)
      into v_step.method, v_step.row_count
      from track.refresh(2000, 'track.session') as refreshed;
      if v_step.row_count > 0 then
        return v_step;
      end if;
    end if;
    v_step.method := 'sum';
    v_step.row_count := track._keep_sums(_follow_horizon.horizon);
    return v_step;
  end if;

  -- Sums that an earlier rule has kept go, so that all rollups are again those of the events that are left.
  if not rule.keeps_rollups and v_kept > '-infinity' then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    delete from track.presence where presence.day < v_kept;
    get diagnostics v_step.row_count = row_count;
    delete from track.item_day where item_day.day < v_kept;
    delete from track.item_transition where item_transition.month < v_kept;
    update track.setting set sums_kept_before = '-infinity';
    v_step.method := 'sum';
    return v_step;
  end if;
  return null;
end;
$$;

comment on function track._follow_horizon(privacy.retention, timestamptz) is $$
Prepares the deletion of all events before a time.
Later messages of that time are rejected, and the sums stay or go as the rule specifies. Returns a step; null when
nothing is left to prepare.
$$;

create or replace function track.apply_event_retention(
  rule privacy.retention,
  horizon timestamptz,
  most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_held constant bigint[] := array(select privacy.restricted());
  v_types constant int[] := case when rule.purpose is not null then track._types_of_purpose(rule.purpose) end;
  v_month record;
  v_step privacy.retention_step;
begin
  if rule.purpose is null and rule.method = 'delete' and rule.counted_from = 'event' then
    v_step := track._follow_horizon(rule, apply_event_retention.horizon);
  end if;
  if v_step.method is null then
    for v_month in
      select month.*
      from track._event_partitions() as month
      where month.since < apply_event_retention.horizon
    loop
      if rule.purpose is null and rule.method = 'delete' and v_month.until <= apply_event_retention.horizon then
        v_step := track._remove_month(
          v_month.name, apply_event_retention.horizon, rule.counted_from = 'arrival', v_held
        );
      end if;
      if v_step.partitions is null then
        v_step := track._delete_expired(
          v_month.name, rule, apply_event_retention.horizon, v_types, v_held, apply_event_retention.most_rows
        );
      end if;
      exit when v_step.row_count > 0 or v_step.partitions <> '{}';
      v_step := null;
    end loop;
    v_step.method := case when v_step.partitions is not null then rule.method end;
  end if;
  if v_step.method is not null then
    v_step.rule := rule.rule;
    v_step.table_name := case
      when v_step.method in ('delete', 'anonymize') then 'track.event'
      else 'track.presence'
    end;
    v_step.partitions := coalesce(v_step.partitions, '{}');
    v_step.horizon := apply_event_retention.horizon;
    return next v_step;
  end if;
end;
$$;

comment on function track.apply_event_retention(privacy.retention, timestamptz, int) is $$
@behavior -*
Does one step of a rule of retention for events: a month as a partition, or at most `most_rows` events of a month.
Called by `privacy.apply_retention`. The people are queued for the refresh in the same transaction.
$$;
--! EndIncluded track/retention/apply_event_retention.sql

--! Included track/imports/source_contents.sql
create or replace function track.source_contents(source text)
returns track.source_contents
language plpgsql
stable
-- A definer: it counts the events of all people.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_source constant track.source := track._import_source(source_contents.source);
  v_contents track.source_contents;
begin
  if v_source.source_id is null then
    perform track._refuse_unknown_import(source_contents.source);
  end if;
  -- Each event is read once, and the others of its people and items with it.
  select
    v_source.name, coalesce(sum(used.imported), 0), min(used.first_at), max(used.last_at),
    count(*) filter (where used.person_id is not null and used.imported > 0),
    count(*) filter (where used.person_id is not null and used.imported = used.events),
    null, null
  into v_contents
  from (
    select
      event.person_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported,
      min(event.occurred_at) filter (where event.source_id = v_source.source_id) as first_at,
      max(event.occurred_at) filter (where event.source_id = v_source.source_id) as last_at
    from track.event
    group by event.person_id
  ) as used;
  select count(*) filter (where used.imported > 0), count(*) filter (where used.imported = used.events)
  into v_contents.items, v_contents.items_alone
  from (
    select
      event.item_id, count(*) as events, count(*) filter (where event.source_id = v_source.source_id) as imported
    from track.event
    where num_nonnulls(event.item_id) > 0
    group by event.item_id
  ) as used;
  -- Items of its structure that no event is about.
  select v_contents.items + count(*), v_contents.items_alone + count(*) filter (where not used.is_used)
  into v_contents.items, v_contents.items_alone
  from (
    select
      exists (select 1 from track.item_month where item_month.item_id = entry.item_id)
        or exists (
          select 1
          from track.imported_item as other
          where other.item_id = entry.item_id
            and other.source_id <> entry.source_id
        ) as is_used
    from track.imported_item as entry
    where entry.source_id = v_source.source_id
      and not exists (
        select 1
        from track.event
        where event.item_id = entry.item_id
          and event.source_id = entry.source_id
      )
  ) as used;
  return v_contents;
end;
$$;

comment on function track.source_contents(text) is $$
@behavior -*
Counts what the events of an import are about, and the items of its structure, before `track.forget_import` removes it.
`source`: its name, as in `track.source`. Reads all events. Errors: CF002 for an unknown name, with the nearest one;
CF001 and CF005 for the sources of applications.
$$;

grant execute on function track.source_contents(text) to insights_admin;
--! EndIncluded track/imports/source_contents.sql

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
  v_linked bigint[];
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
  -- Data of people who were merged or split may still be with others: `forget_function` would not find it there.
  -- That of all others is computed once, without the events.
  v_linked := array(
    select entry.identity_id
    from unnest(v_picked.identities) as entry (identity_id)
    join track.identity on identity.identity_id = entry.identity_id
    where identity.kind <> 'user'
      or identity.person_id <> identity.identity_id
      or exists (select from track.identity_link as link where link.identity_id = entry.identity_id)
      or exists (select from track.identity_link as link where link.linked_identity_id = entry.identity_id)
  );
  if v_linked <> '{}' then
    perform track._settle(v_linked);
  end if;
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
      select 1
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

create or replace function track._forget_structure(import track.forgotten_import, most_items int)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_parents bigint[];
begin
  with picked as (
    select imported_item.item_id
    from track.imported_item
    where imported_item.source_id = _forget_structure.import.source_id
    limit _forget_structure.most_items
  ),

  deleted as (
    delete from track.imported_item
    using picked
    where imported_item.source_id = _forget_structure.import.source_id
      and imported_item.item_id = picked.item_id
    returning imported_item.item_id, imported_item.parent_item_id
  )

  select array_agg(deleted.item_id), array_agg(distinct deleted.parent_item_id) into v_items, v_parents
  from deleted;
  if v_items is null then
    return false;
  end if;
  insert into track.forgotten_item (source_id, item_id)
  select _forget_structure.import.source_id, ancestor.ancestor_item_id
  from track.item_ancestor as ancestor
  where ancestor.item_id = any (v_items)
  union
  select _forget_structure.import.source_id, entry.item_id
  from unnest(v_parents) as entry (item_id)
  where entry.item_id is not null
  on conflict do nothing;
  return true;
end;
$$;

comment on function track._forget_structure(track.forgotten_import, int) is $$
Deletes what an import states about items, and queues these for the steps that follow. False when there is none.
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
  -- Their former parents, to which nothing refers any more.
  perform track._refresh_course_presence();
  v_import.item_count := v_import.item_count + track._erase_items(track._unused_items(v_items));
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
  elsif v_import.event_count = v_before.event_count
    and not track._forget_structure(v_import, forget_import.most_events)
  then
    v_import := track._forget_items(v_import, 1000);
    if not exists (select 1 from track.forgotten_item where forgotten_item.source_id = v_import.source_id) then
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
administrator uses. A parent is left out that the messages that are left tell, and that would form a cycle; an item that
they name as the parent of an item with another parent is deleted, too. The kind of an item in which the application
enrols people is the one that is still stated, or else course.
Events of people whose data is restricted stay (`kept_event_count`); a call after the restriction deletes them.
Models follow with their next training. Messages wait while a step runs.
Errors: CF002 for an unknown name, with the nearest one; CF001 for `default` and unless `most_events` is from 1 to
100,000; CF005 for the source of an application; 25001 in a transaction of another level than read committed.
$$;

grant execute on function track.forget_import(text, int) to insights_admin;
--! EndIncluded track/imports/forget_import.sql

-- from track/data_map.sql
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, erasure, description)
select entry.schema_name, entry.table_name, column_name, 'none', 'service', 'kept', entry.reason
from (
  values
    (
      'track', 'setting',
      '{path_rule,kept_parameters,allowed_properties,allowed_traits,personal_data,contact_traits}',
      'Settings of the installation.'
    ),
    ('track', 'setting', '{agent_properties,bots}', 'Settings of the installation.'),
    (
      'track', 'source', '{name,description,path_rule,kept_parameters}',
      'Applications, importers and write keys, named by administrators.'
    ),
    ('track', 'write_key', '{key_hash,preview,scopes,origins}', 'Keys of applications, not of people.'),
    ('track', 'write_key_log', '{log_id}', 'Random keys.'),
    ('track', 'write_key_log', '{details}', 'New settings of a key: scopes, origins, rate and times.'),
    ('track', 'found_data', '{kind}', 'Words of a fixed list.'),
    ('track', 'refusal', '{code}', 'Codes of errors; the messages are only counted.'),
    ('track', 'refusal_sample', '{sample_id}', 'Random keys.'),
    ('track', 'refusal_sample', '{code,hint}', 'Code of the error, and its rule.'),
    (
      'track', 'refusal_sample', '{fields}',
      'Types and lengths of the known fields of a message, without values.'
    ),
    ('track', 'placeholder_id', '{external_id,description}', 'Ids that name nobody.'),
    (
      'track', 'event_type', '{purpose,description,allowed_properties}',
      'Settings of an event type, by administrators.'
    ),
    ('track', 'declared_property', '{property}', 'Name of a property, declared by an administrator.'),
    ('track', 'rollup_check', '{rollup}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'rollup_check', '{example}',
      'Surrogate keys of a sum that was written again, kept for 10,000 checks.'
    ),
    ('track', 'name_log', '{log_id}', 'Random keys.'),
    (
      'track', 'imported_item', '{kind,title,url}',
      'Structure of courses, as the file of an import states it without a person.'
    ),
    ('track', 'forgotten_import', '{name,event_types}', 'Name of an importer, and keys of types of events.'),
    ('track', 'stale', '{stale_id}', 'Random keys.'),
    ('track', 'stale_course', '{stale_id}', 'Random keys.'),
    ('track', 'changed', '{changed_id}', 'Random keys.'),
    ('track', 'changed', '{consumer}', 'Names of functions, tables or tasks of the installation.'),
    (
      'track', 'consumer', '{consumer,refresh,inputs,description,reads_set,incomplete_sets,forget_function}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'person_set', '{name,description,members,consumer}',
      'Name and definition of a set; its members are in other tables.'
    ),
    ('track', 'client_document', '{kind,content_type}', 'Kind and media type.'),
    ('track', 'person_set_member', '{name}', 'Name of the set.'),
    ('track', 'person_set_block', '{name}', 'Name of the set.'),
    (
      'track', 'distribution', '{schema_name,table_name,column_name,colocated_with,description}',
      'Names of functions, tables or tasks of the installation.'
    ),
    (
      'track', 'dropped_reference', '{table_name,constraint_name,definition}',
      'Names and definitions of foreign keys of the installation.'
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

--! Included experiment/design/_check_strata.sql
create or replace function experiment._check_strata(strata text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := substr(_check_strata.strata, 1 + strpos(_check_strata.strata, '.'));
begin
  if _check_strata.strata !~ '^(trait|set)\.[A-Za-z0-9_.]{1,100}$' then
    perform experiment._refuse_field('strata', to_jsonb(_check_strata.strata),
      'Give "trait." or "set." with the name of a trait or of a set of people.');
  elsif starts_with(_check_strata.strata, 'set.') then
    perform track.is_in_person_set(v_name, 0);
  elsif not exists (select 1 from track.trait where trait.name = v_name) then
    perform experiment._refuse_unknown_name(
      'trait', v_name, array(select distinct trait.name from track.trait order by trait.name limit 1000),
      'Give the name of a trait that people have.'
    );
  end if;
end;
$$;

comment on function experiment._check_strata(text) is $$
@behavior -*
Raises CF001 or CF002 for a trait or set that cannot be the strata of an experiment.
$$;
--! EndIncluded experiment/design/_check_strata.sql

--! Included experiment/exposure/_store_event_values.sql
create or replace function experiment._store_event_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new experiment.event_value[];
begin
  if not exists (
    select
    from experiment.measured
    join experiment.metric using (metric_id)
    where metric.type = 'quantile'
  ) then
    return;
  end if;
  v_new := array(
    select computed
    from experiment._event_values(
      array(select exposure from experiment.exposure where exposure.person_id = any (_store_event_values.people))
    ) as computed
  );

  delete from experiment.event_value
  where event_value.person_id = any (_store_event_values.people)
    and not exists (
      select 1
      from unnest(v_new) as new
      where new.person_id = event_value.person_id
        and new.experiment_id = event_value.experiment_id
        and new.position = event_value.position
    );
  insert into experiment.event_value (person_id, experiment_id, position, event_values)
  select new.person_id, new.experiment_id, new.position, new.event_values
  from unnest(v_new) as new
  on conflict (person_id, experiment_id, position) do update
  set event_values = excluded.event_values
  where event_value.event_values is distinct from excluded.event_values;
end;
$$;

comment on function experiment._store_event_values(bigint[]) is $$
Recomputes `experiment.event_value` for people, whose exposures are stored.
$$;
--! EndIncluded experiment/exposure/_store_event_values.sql

--! Included experiment/results/_quantile_statistics.sql
create or replace function experiment._quantile_statistics(
  experiment_id int,
  "position" smallint,
  level float8,
  until date default null,
  among track.person_set_block[] default null
)
returns table (variation smallint, people bigint, statistic jsonb)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with person as materialized (
    select exposure.variation, event_value.event_values
    from experiment.event_value
    join experiment.exposure using (person_id, experiment_id)
    where event_value.experiment_id = _quantile_statistics.experiment_id
      and event_value.position = _quantile_statistics.position
      and exposure.is_counted
      and exposure.variation is not null
      and (_quantile_statistics.until is null or exposure.exposed_on <= _quantile_statistics.until)
      and (
        _quantile_statistics.among is null
        or exists (
          select 1
          from unnest(_quantile_statistics.among) as member
          where member.block = exposure.person_id / 4096
            and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
        )
      )
  ),

  size as (
    select person.variation, sum(cardinality(person.event_values)) as events, count(*) as people
    from person
    group by person.variation
  ),

  ranked as (
    select
      person.variation, entry.value,
      row_number() over (partition by person.variation order by entry.value) as rank
    from person
    cross join lateral unnest(person.event_values) as entry (value)
  ),

  -- The order statistics at the level, and at the bounds of its interval for independent events. As numeric, because
  -- 0.55 of 20 events would be more than 11 in floating point.
  bound as (
    select
      size.variation, size.events, size.people,
      least(greatest(ceil(size.events * level::numeric), 1), size.events) as at_level,
      least(greatest(ceil(size.events * (level - width.half)), 1), size.events) as at_lower,
      least(greatest(ceil(size.events * (level + width.half)), 1), size.events) as at_upper
    from size
    cross join lateral (
      select 1.959963984540054 * sqrt(level * (1 - level) / size.events::float8) as half
    ) as width
  ),

  found as (
    select
      bound.variation, bound.events, bound.people,
      max(ranked.value) filter (where ranked.rank = bound.at_level) as hat,
      max(ranked.value) filter (where ranked.rank = bound.at_lower) as lower,
      max(ranked.value) filter (where ranked.rank = bound.at_upper) as upper
    from bound
    join ranked
      on ranked.variation = bound.variation
      and ranked.rank in (bound.at_level, bound.at_lower, bound.at_upper)
    group by bound.variation, bound.events, bound.people
  ),

  clustered as (
    select
      found.variation,
      sum(cluster.main) as main, sum(cluster.main * cluster.main) as main_squares,
      sum(cluster.size * cluster.size) as size_squares, sum(cluster.main * cluster.size) as products
    from found
    join person on person.variation = found.variation
    cross join lateral (
      select
        width_bucket(found.hat, person.event_values)::numeric as main,
        cardinality(person.event_values)::numeric as size
    ) as cluster
    group by found.variation
  )

  select
    found.variation, found.people,
    jsonb_build_object(
      'type', 'quantile', 'n', found.events, 'n_star', found.events, 'nu', level,
      'quantile_hat', found.hat, 'quantile_lower', found.lower, 'quantile_upper', found.upper,
      'n_clusters', found.people, 'main_sum', clustered.main, 'main_sum_squares', clustered.main_squares,
      'denominator_sum', found.events, 'denominator_sum_squares', clustered.size_squares,
      'main_denominator_sum_product', clustered.products
    )
  from found
  join clustered using (variation);
end;
$$;

comment on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[]) is $$
@behavior -*
Returns the quantile of the values of all events of counted people by variation, with people as clusters.
Reads the values of all exposed people: a quantile is not a function of sums.
$$;

grant execute on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[])
to insights_reader;
--! EndIncluded experiment/results/_quantile_statistics.sql

--! Included experiment/results/_keep_ended.sql
create or replace function experiment._keep_ended(is_cut boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_ended constant experiment.experiment[] := array(
    select known
    from experiment.experiment as known
    where known.stopped_at < clock_timestamp() - (select setting.settle_period from experiment.setting)
      and not exists (select from experiment.kept where kept.experiment_id = known.experiment_id)
      and (not is_cut or not experiment._are_events_complete(known))
    order by known.experiment_id
  );
  v_experiment experiment.experiment;
begin
  if v_ended = '{}' then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  foreach v_experiment in array v_ended loop
    -- People whose events until the end are not refreshed are waited for.
    continue when not is_cut and (
      exists (
        select 1
        from track.changed
        where changed.consumer = 'experiment.exposure'
          and changed.since < v_experiment.stopped_at
      )
      or exists (select 1 from track.stale where stale.since < v_experiment.stopped_at)
      or exists (select 1 from experiment.kept where kept.experiment_id = v_experiment.experiment_id)
    );
    perform experiment._take_results(v_experiment);
  end loop;
end;
$$;

comment on function experiment._keep_ended(boolean) is $$
@behavior -*
Keeps the results of experiments whose end is longer ago than `experiment.setting.settle_period`.
`is_cut`: only of those whose events a rule of retention deletes already; false: of all whose people are refreshed.
$$;
--! EndIncluded experiment/results/_keep_ended.sql

--! Included analytics/functions/_bits_of.sql
create or replace function analytics._bits_of(people_ids bigint[])
returns table (block int, people bit(4096))
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select (entry.person_id / 4096)::int, bit_or(track.person_bit(entry.person_id))
  from unnest($1) as entry (person_id)
  group by 1;
$$;

comment on function analytics._bits_of(bigint[]) is $$
Returns people as blocks of bits, as `track.person_set_block` stores them.
$$;

grant execute on function analytics._bits_of(bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_bits_of.sql

--! Included analytics/functions/_merge_near.sql
create or replace function analytics._merge_near(
  set_numbers int[], set_blocks int[], set_people bit(4096)[], smallest_group int
)
returns table (number int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_numbers int[] := _merge_near.set_numbers;
  v_blocks int[] := _merge_near.set_blocks;
  v_people bit(4096)[] := _merge_near.set_people;
  -- The set that each one is part of.
  v_targets int[] := array(
    select generate_series(1, (select max(entry.number) from unnest(set_numbers) as entry (number)))
  );
  v_merged int[];
  v_into int[];
begin
  -- Each turn leaves fewer sets.
  loop
    with part as materialized (
      select * from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
    ),

    sized as materialized (
      select part.number, sum(bit_count(part.people)) as person_count
      from part
      group by part.number
      having sum(bit_count(part.people)) >= _merge_near.smallest_group
    ),

    near as (
      select one.number as into_number, other.number as merged_number
      from sized as one
      join sized as other
        on other.number > one.number
        and abs(other.person_count - one.person_count) < _merge_near.smallest_group
      cross join lateral (
        select coalesce(sum(bit_count(part_of_one.people & part_of_other.people)), 0) as person_count
        from part as part_of_one
        join part as part_of_other
          on part_of_other.number = other.number
          and part_of_other.block = part_of_one.block
        where part_of_one.number = one.number
      ) as common
      where greatest(one.person_count, other.person_count) - common.person_count
        between 1 and _merge_near.smallest_group - 1
    )

    select array_agg(first_near.merged_number), array_agg(first_near.into_number) into v_merged, v_into
    from (
      select near.merged_number, min(near.into_number) as into_number from near group by near.merged_number
    ) as first_near;
    exit when v_merged is null;

    v_targets := array(
      select coalesce(change.into_number, target.number)
      from unnest(v_targets) with ordinality as target (number, place)
      left join unnest(v_merged, v_into) as change (merged_number, into_number)
        on change.merged_number = target.number
      order by target.place
    );
    select array_agg(united.number), array_agg(united.block), array_agg(united.people)
    into v_numbers, v_blocks, v_people
    from (
      select coalesce(change.into_number, part.number) as number, part.block, bit_or(part.people) as people
      from unnest(v_numbers, v_blocks, v_people) as part (number, block, people)
      left join unnest(v_merged, v_into) as change (merged_number, into_number)
        on change.merged_number = part.number
      group by 1, 2
    ) as united;
  end loop;

  return query
  select target.place::int, part.block, part.people
  from unnest(v_targets) with ordinality as target (number, place)
  join unnest(v_numbers, v_blocks, v_people) as part (number, block, people) on part.number = target.number;
end;
$$;

comment on function analytics._merge_near(int[], int[], bit[], int) is $$
Returns sets of people, of which those that differ by fewer than `smallest_group` people are united.
Two sets are near when both have people, at least one of them has people that the other has not, and either has fewer
of these than `smallest_group`. Near sets are each the union of both, until no two different sets are near. So the
difference of two results is never that of a few people. Sets of fewer people than `smallest_group` stay as they are.
`set_numbers` (1, 2, …), `set_blocks`, `set_people`: the sets, one bit per person.
$$;

grant execute on function analytics._merge_near(int[], int[], bit[], int) to insights_reader;
--! EndIncluded analytics/functions/_merge_near.sql

--! Included analytics/functions/_read_sets.sql
create or replace function analytics._read_sets(
  names text[], smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (name text, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all_count constant bigint := (select sum(bit_count(entry.people)) from unnest(all_people) as entry (people));
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  select array_agg(named.number), array_agg(named.block), array_agg(named.people)
  into v_numbers, v_blocks, v_people
  from (
    select entry.number::int as number, everyone.block, set_block.people & everyone.people as people
    from unnest(_read_sets.names) with ordinality as entry (name, number)
    cross join lateral track.person_set_blocks(entry.name) as set_block
    join unnest(_read_sets.all_blocks, _read_sets.all_people) as everyone (block, people)
      on everyone.block = set_block.block
  ) as named
  where bit_count(named.people) > 0;

  return query
  with united as materialized (
    select near.number, near.block, near.people
    from analytics._merge_near(v_numbers, v_blocks, v_people, _read_sets.smallest_group) as near
  ),

  sized as (
    select united.number, sum(bit_count(united.people)) as person_count from united group by united.number
  )

  select _read_sets.names[united.number], united.block, united.people
  from united
  join sized on sized.number = united.number
  where sized.person_count between _read_sets.smallest_group and v_all_count - _read_sets.smallest_group
    or sized.person_count = v_all_count

  union all

  select _read_sets.names[sized.number], everyone.block, everyone.people
  from sized
  cross join unnest(_read_sets.all_blocks, _read_sets.all_people) as everyone (block, people)
  where sized.person_count >= _read_sets.smallest_group
    and sized.person_count > v_all_count - _read_sets.smallest_group
    and sized.person_count < v_all_count;
end;
$$;

comment on function analytics._read_sets(text[], int, int[], bit[]) is $$
Returns the sets of people (`track.person_set`) as analysts see them, one bit per person.
`all_blocks`, `all_people`: the people they are chosen from, others are left out. A set of fewer of them than
`smallest_group` has no rows, and one that leaves out fewer is all of them. Sets of `names` that differ by fewer people
are one (`analytics._merge_near`): give all sets of a family. Errors: CF002 for an unknown set.
$$;

grant execute on function analytics._read_sets(text[], int, int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_read_sets.sql

--! Included analytics/functions/_family_of_set.sql
create or replace function analytics._family_of_set(set_name text)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_family constant text := substring(_family_of_set.set_name from '^(.*\.)[^.]*$');
begin
  return array(
    select person_set.name
    from track.person_set
    where person_set.name = _family_of_set.set_name
      or starts_with(person_set.name, v_family)
        and strpos(substr(person_set.name, length(v_family) + 1), '.') = 0
    order by person_set.name collate "C"
  );
end;
$$;

comment on function analytics._family_of_set(text) is $$
Returns the names of the sets of people of the same family.
These have the same name up to its last dot. A name without a dot is a family of its own.
$$;

grant execute on function analytics._family_of_set(text) to insights_reader;
--! EndIncluded analytics/functions/_family_of_set.sql

--! Included analytics/functions/_among_of.sql
create or replace function analytics._among_of(
  among text, smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
  -- The sets of terms that people are not in, as bits, and their numbers of people.
  v_missed int[];
  v_counts bigint[];
  v_ignored int := 0;
  v_more int;
begin
  select array_agg(chosen.number), array_agg(chosen.block), array_agg(chosen.people)
  into v_numbers, v_blocks, v_people
  from (
    select
      term.number, everyone.block,
      case
        when term.is_left_out then everyone.people & ~coalesce(read.people, v_no_people)
        else coalesce(read.people, v_no_people)
      end as people
    from (
      select (row_number() over ())::int as number, stated.is_left_out, stated.name
      from (
        select distinct entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
        from unnest(regexp_split_to_array(btrim(_among_of.among), '\s*&\s*')) as entry (term)
      ) as stated
    ) as term
    cross join unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    left join lateral (
      select named.block, named.people
      from analytics._read_sets(
        analytics._family_of_set(term.name), _among_of.smallest_group, _among_of.all_blocks, _among_of.all_people
      ) as named
      where named.name = term.name
    ) as read on read.block = everyone.block
  ) as chosen;

  with recursive chosen as materialized (
    select entry.number, entry.block, entry.people
    from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
  ),

  divided as (
    select 0 as number, 0 as missed, everyone.block, everyone.people
    from unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    union all
    select chosen.number, side.missed, divided.block, side.people
    from divided
    join chosen on chosen.number = divided.number + 1 and chosen.block = divided.block
    cross join lateral (
      values
        (divided.missed, divided.people & chosen.people),
        (divided.missed | (1 << divided.number), divided.people & ~chosen.people)
    ) as side (missed, people)
    where bit_count(side.people) > 0
  )

  select array_agg(sized.missed), array_agg(sized.person_count) into v_missed, v_counts
  from (
    select divided.missed, sum(bit_count(divided.people))::bigint as person_count
    from divided
    where divided.number = (select max(entry.number) from unnest(v_numbers) as entry (number))
    group by divided.missed
  ) as sized;

  -- Terms that leave out too few of the people of all others are ignored, until there are none.
  loop
    with missed as materialized (
      select entry.missed & ~v_ignored as missed, sum(entry.person_count) as person_count
      from unnest(v_missed, v_counts) as entry (missed, person_count)
      where entry.missed & ~v_ignored <> 0
      group by 1
    )

    select bit_or(missed.missed) into v_more
    from missed
    where missed.person_count < _among_of.smallest_group
      and not exists (
        select
        from missed as fewer
        where fewer.missed <> missed.missed
          and fewer.missed & missed.missed = fewer.missed
      );
    exit when v_more is null;
    v_ignored := v_ignored | v_more;
  end loop;

  return query
  with found as (
    select
      everyone.block,
      everyone.people & coalesce(
        bit_and(chosen.people) filter (where v_ignored & (1 << (chosen.number - 1)) = 0), ~v_no_people
      ) as people
    from unnest(_among_of.all_blocks, _among_of.all_people) as everyone (block, people)
    left join unnest(v_numbers, v_blocks, v_people) as chosen (number, block, people) on chosen.block = everyone.block
    group by everyone.block, everyone.people
  )

  select
    found.block,
    case
      when sum(bit_count(found.people)) over () >= _among_of.smallest_group then found.people
      else v_no_people
    end
  from found;
end;
$$;

comment on function analytics._among_of(text, int, int[], bit[]) is $$
Returns the people of an expression of sets (`analytics._among`) as analysts see them, one bit per person.
`all_blocks`, `all_people`: the people they are chosen from. Sets are those of `analytics._read_sets`, each with its
family. Terms that leave out fewer people of all others than `smallest_group` are ignored, and where all terms together
have fewer people than this, the result is empty. So the people of an expression are a group, as are those that any of
its terms leaves out.
The expression has been checked by the caller (`analytics._among`).
$$;

grant execute on function analytics._among_of(text, int, int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_among_of.sql

--! Included analytics/functions/_among.sql
create or replace function analytics._among(among text, smallest_group int default null)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_terms constant text[] := regexp_split_to_array(btrim(left(_among.among, 1001)), '\s*&\s*');
  v_invalid text;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if length(_among.among) > 1000 or cardinality(v_terms) > 20 then
    perform common.refuse(
      'CF008',
      format('among has %s characters and %s sets', length(_among.among), cardinality(v_terms)),
      'It can have 1,000 characters and 20 sets at most.'
    );
  end if;
  select term.term into v_invalid
  from unnest(v_terms) as term (term)
  where term.term !~ '^~?\s*[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('among has "%s" in place of a set of people', left(v_invalid, 100)),
      'Give names of sets with & between them and ~ before those to leave out: "segment.power & ~cohort.beta".'
    );
  end if;

  perform analytics._check_sets(array(select btrim(ltrim(entry.term, '~')) from unnest(v_terms) as entry (term)));
  if _among.smallest_group is not null then
    select array_agg(counted.block), array_agg(counted.people) into v_blocks, v_people
    from track.person_set_blocks('counted') as counted;
    return query
    select chosen.block, chosen.people
    from analytics._among_of(_among.among, _among.smallest_group, v_blocks, v_people) as chosen;
    return;
  end if;

  return query
  with everyone as materialized (
    select blocks.block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
  ),

  term as (
    select entry.position, entry.term like '~%' as is_left_out, btrim(ltrim(entry.term, '~')) as name
    from unnest(v_terms) with ordinality as entry (term, position)
  ),

  named as materialized (
    select term.position, set_block.block, set_block.people
    from term
    cross join lateral track.person_set_blocks(term.name) as set_block
  ),

  read as (
    select
      term.position, everyone.block,
      case when term.is_left_out then ~coalesce(named.people, v_no_people) else coalesce(named.people, v_no_people) end
        as people
    from term
    cross join everyone
    left join named on named.position = term.position and named.block = everyone.block
  )

  select everyone.block, coalesce(bit_and(read.people), ~v_no_people)
  from everyone
  left join read on read.block = everyone.block
  group by everyone.block;
end;
$$;

comment on function analytics._among(text, int) is $$
Returns the people of an expression of sets, one bit per person, as of now.
`among`: names of sets (`track.person_set`), with `&` between them and `~` before those to leave out, such as
`segment.power & ~cohort.beta`; null: all people. `smallest_group`: counted people only (set `counted`), and sets as
analysts see them (`analytics._among_of`); null: all people, and the sets as they are. Bits that belong to no person may
be set: use the result as a filter.
Errors: CF001 for another expression, CF002 for an unknown set (names the nearest), CF008 for more than 20 sets,
CF010 for variations of an experiment whose people were deleted by retention, and for live cohorts that read them.
$$;

grant execute on function analytics._among(text, int) to insights_reader;
--! EndIncluded analytics/functions/_among.sql

--! Included analytics/functions/_people_by_value.sql
create or replace function analytics._people_by_value(
  breakdown text,
  top_values int default 10,
  smallest_group int default null,
  all_blocks int[] default null,
  all_people bit(4096)[] default null
)
returns table (value text, is_other boolean, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the sets.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_kind constant text := split_part(_people_by_value.breakdown, '.', 1);
  v_name constant text := substr(_people_by_value.breakdown, length(v_kind) + 2);
  v_sets text[];
  v_blocks int[] := all_blocks;
  v_people bit(4096)[] := all_people;
begin
  perform common.check_count('top_values', _people_by_value.top_values, 1, 100);
  if v_kind not in ('set', 'trait') or v_name = '' or length(v_name) > 100 then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_people_by_value.breakdown, 100)),
      'Use "set.<family or name of sets of people>" or "trait.<name>".'
    );
  end if;

  if all_blocks is null then
    select array_agg(among.block), array_agg(among.people) into v_blocks, v_people
    from analytics._among(null, _people_by_value.smallest_group) as among;
  end if;

  if v_kind = 'set' then
    v_sets := array(
      select person_set.name
      from track.person_set
      where starts_with(person_set.name, v_name || '.')
      order by person_set.name
      limit 101
    );
    if cardinality(v_sets) > 100 then
      perform common.refuse(
        'CF008', format('there are more than 100 sets "%s.…"', v_name), 'Give a longer beginning of their names.'
      );
    end if;
    if v_sets = '{}' then
      perform track.person_set_size(v_name);
    end if;
    perform analytics._check_sets(case when v_sets = '{}' then array[v_name] else v_sets end);

    return query
    with everyone as materialized (
      select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
    ),

    named as materialized (
      select
        case when v_sets = '{}' then 'true' else substr(members.name, length(v_name) + 2) end as value,
        members.block, members.people & everyone.people as people
      from everyone
      join (
        select family.name, set_block.block, set_block.people
        from unnest(case when v_sets = '{}' then array[v_name] else v_sets end) as family (name)
        cross join lateral track.person_set_blocks(family.name) as set_block
        where _people_by_value.smallest_group is null

        union all

        select visible.name, visible.block, visible.people
        from (
          select case when v_sets = '{}' then analytics._family_of_set(v_name) else v_sets end as names
          where _people_by_value.smallest_group is not null
        ) as family
        cross join lateral analytics._read_sets(
          family.names, _people_by_value.smallest_group, v_blocks, v_people
        ) as visible
        where v_sets <> '{}' or visible.name = v_name
      ) as members on members.block = everyone.block
    )

    select named.value, false, named.block, named.people
    from named
    where bit_count(named.people) > 0

    union all

    select case when v_sets = '{}' then 'false' end, false, everyone.block, rest.people
    from everyone
    cross join lateral (
      select
        everyone.people & ~coalesce(
          (select bit_or(named.people) from named where named.block = everyone.block), v_no_people
        ) as people
    ) as rest
    where bit_count(rest.people) > 0;
    return;
  end if;

  return query
  with everyone as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  stated as (
    select trait.person_id, left(trait.value #>> '{}', 200) as value
    from track.current_trait(null, v_name) as trait
  ),

  by_value as materialized (
    select
      stated.value, (stated.person_id / 4096)::int as block,
      bit_or(track.person_bit(stated.person_id)) & everyone.people as people
    from stated
    join everyone on everyone.block = stated.person_id / 4096
    where stated.value is not null
    group by stated.value, everyone.block, everyone.people, (stated.person_id / 4096)::int
  ),

  ranked as (
    select
      by_value.value,
      row_number() over (order by sum(bit_count(by_value.people)) desc, by_value.value)
        <= _people_by_value.top_values
        and sum(bit_count(by_value.people)) >= coalesce(_people_by_value.smallest_group, 1) as is_named
    from by_value
    group by by_value.value
  )

  select case when ranked.is_named then by_value.value end, not ranked.is_named, by_value.block, bit_or(by_value.people)
  from by_value
  join ranked on ranked.value = by_value.value
  where bit_count(by_value.people) > 0
  group by 1, 2, 3

  union all

  select null, false, everyone.block, rest.people
  from everyone
  cross join lateral (
    select
      everyone.people & ~coalesce(
        (select bit_or(by_value.people) from by_value where by_value.block = everyone.block), v_no_people
      ) as people
  ) as rest
  where bit_count(rest.people) > 0;
end;
$$;

comment on function analytics._people_by_value(text, int, int, int[], bit[]) is $$
Returns the people by value of what a breakdown names, one bit per person, as of now.
`breakdown`: `set.<family>` for the sets whose names begin with `<family>.` (the value is the rest of the name, and null
for people in none of them; a person may be in several), `set.<name>` for one set (`true` and `false`), or
`trait.<name>` for a trait (the text of a JSON scalar, at most 200 characters; null: people without it).
Of a trait, the `top_values` values with most people are named; people with other values have `is_other` and a null
value. `smallest_group`: counted people only, sets as analysts see them (`analytics._read_sets`), and a value of fewer
people is not named; null: all people. `all_blocks`, `all_people`: the people to choose from, null: all of these.
Errors: CF001 for another breakdown, CF002 for an unknown set, CF008 for more than 100 sets.
$$;

grant execute on function analytics._people_by_value(text, int, int, int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_people_by_value.sql

--! Included analytics/functions/_place_values.sql
create or replace function analytics._place_values(
  value_names text[], value_others boolean[], value_blocks int[], value_people bit(4096)[], smallest_group int
)
returns table (value text, is_other boolean, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_is_rest boolean[];
  v_numbers int[];
  v_blocks int[];
  v_people bit(4096)[];
  v_moved int;
begin
  select array_agg(given.number), array_agg(given.block), array_agg(given.people)
  into v_numbers, v_blocks, v_people
  from (
    select
      dense_rank() over (order by entry.is_other, entry.value is null, entry.value collate "C")::int as number,
      entry.block, entry.people
    from unnest(value_names, value_others, value_blocks, value_people) as entry (value, is_other, block, people)
    where bit_count(entry.people) > 0
    order by number
  ) as given;
  select
    array_agg(given.value order by given.is_other, given.value is null, given.value collate "C"),
    array_agg(given.is_other order by given.is_other, given.value is null, given.value collate "C")
  into v_names, v_is_rest
  from (
    select distinct entry.value, entry.is_other
    from unnest(value_names, value_others, value_people) as entry (value, is_other, people)
    where bit_count(entry.people) > 0
  ) as given;

  if _place_values.smallest_group > 1 and v_numbers is not null then
    select array_agg(near.number), array_agg(near.block), array_agg(near.people)
    into v_numbers, v_blocks, v_people
    from analytics._merge_near(v_numbers, v_blocks, v_people, _place_values.smallest_group) as near;

    -- Each turn moves values to the rest, until no difference is that of too few people.
    loop
      with part as materialized (
        select entry.number, entry.block, entry.people, v_is_rest[entry.number] as is_rest
        from unnest(v_numbers, v_blocks, v_people) as entry (number, block, people)
      ),

      united as materialized (
        select
          part.block, bit_or(part.people) as of_all,
          coalesce(bit_or(part.people) filter (where part.is_rest), b'0'::bit(4096)) as of_rest,
          coalesce(bit_or(part.people) filter (where not part.is_rest), b'0'::bit(4096)) as named
        from part
        group by part.block
      ),

      whole as (
        select
          sum(bit_count(united.of_all)) as all_count, sum(bit_count(united.of_rest)) as rest_count,
          sum(bit_count(united.of_all & ~united.named)) as unnamed_count
        from united
      ),

      sized as (
        select
          part.number, sum(bit_count(part.people)) as person_count,
          sum(bit_count(part.people & united.of_rest)) as common_count
        from part
        join united on united.block = part.block
        where not part.is_rest
        group by part.number
      ),

      ranked as (
        select
          sized.*, whole.*,
          row_number() over (order by sized.person_count, v_names[sized.number] collate "C", sized.number) as place
        from sized
        cross join whole
      )

      select ranked.number into v_moved
      from ranked
      where ranked.person_count < _place_values.smallest_group
        or ranked.all_count - ranked.person_count between 1 and _place_values.smallest_group - 1
        or ranked.unnamed_count between 1 and _place_values.smallest_group - 1 and ranked.place = 1
        or ranked.rest_count > 0
          and greatest(ranked.rest_count, ranked.person_count) - ranked.common_count
            between 1 and _place_values.smallest_group - 1
      order by ranked.place
      limit 1;
      exit when not found;
      v_is_rest[v_moved] := true;
    end loop;
  end if;

  return query
  select
    case when not v_is_rest[part.number] then v_names[part.number] end, v_is_rest[part.number], part.block,
    bit_or(part.people)
  from unnest(v_numbers, v_blocks, v_people) as part (number, block, people)
  group by 1, 2, 3;
end;
$$;

comment on function analytics._place_values(text[], boolean[], int[], bit[], int) is $$
Returns the values of a breakdown as the reader sees them, with their people, one bit per person.
The arguments are rows of `analytics._people_by_value`. `smallest_group`: values that differ by fewer people are one
(`analytics._merge_near`). No value has fewer people and none leaves out fewer: others are in the rest (`is_other`), and
so are the smallest values until neither the people without a named value, nor the difference of the rest to a value,
are too few. Null: values are as they are.
$$;

grant execute on function analytics._place_values(text[], boolean[], int[], bit[], int) to insights_reader;
--! EndIncluded analytics/functions/_place_values.sql

--! Included analytics/functions/_people_groups.sql
create or replace function analytics._people_groups(
  breakdown text, top_values int, smallest_group int, all_blocks int[], all_people bit(4096)[]
)
returns table (value text, is_other boolean, blocks int[], people bit(4096)[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_values text[];
  v_others boolean[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('top_values', _people_groups.top_values, 1, 100);
  if breakdown is null then
    return query
    select null::text, false, _people_groups.all_blocks, _people_groups.all_people;
    return;
  end if;

  -- Read first, so that an invalid argument is an error also when there are no people.
  select
    array_agg(by_value.value), array_agg(by_value.is_other), array_agg(by_value.block), array_agg(by_value.people)
  into v_values, v_others, v_blocks, v_people
  from analytics._people_by_value(
    _people_groups.breakdown, _people_groups.top_values, _people_groups.smallest_group,
    coalesce(_people_groups.all_blocks, '{}'), coalesce(_people_groups.all_people, '{}')
  ) as by_value;

  return query
  select placed.value, placed.is_other, array_agg(placed.block), array_agg(placed.people)
  from analytics._place_values(v_values, v_others, v_blocks, v_people, _people_groups.smallest_group) as placed
  group by placed.value, placed.is_other
  order by placed.is_other, placed.value is null, placed.value collate "C";
end;
$$;

comment on function analytics._people_groups(text, int, int, int[], bit[]) is $$
Divides people by the value of what a breakdown names, as of now (`analytics._people_by_value`).
`all_blocks`, `all_people`: the people, one bit per person. `breakdown` null: one group with all of them, without a
value.
`smallest_group`: the groups are those of `analytics._place_values`; null: values are as they are. A person who is in
several sets of a family is in several groups.
Errors: as `analytics._people_by_value`; CF001 for `top_values` that are not from 1 to 100.
$$;

grant execute on function analytics._people_groups(text, int, int, int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_people_groups.sql

--! Included analytics/functions/_groups_by_day.sql
create or replace function analytics._groups_by_day(
  breakdown text, top_values int, smallest_group int, day_numbers int[], day_blocks int[], day_people bit(4096)[]
)
returns table (value text, is_other boolean, day int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
  v_values text[];
  v_others boolean[];
begin
  select coalesce(array_agg(active.block), '{}'), coalesce(array_agg(active.people), '{}') into v_blocks, v_people
  from (
    select entry.block, bit_or(entry.people) as people
    from unnest(day_blocks, day_people) as entry (block, people)
    group by entry.block
  ) as active;
  select
    array_agg(by_value.value), array_agg(by_value.is_other), array_agg(by_value.block), array_agg(by_value.people)
  into v_values, v_others, v_blocks, v_people
  from analytics._people_by_value(
    _groups_by_day.breakdown, _groups_by_day.top_values, _groups_by_day.smallest_group, v_blocks, v_people
  ) as by_value;

  return query
  with of_day as materialized (
    select
      entry.day, array_agg(by_value.value) as value_names, array_agg(by_value.is_other) as value_others,
      array_agg(by_value.block) as value_blocks, array_agg(by_value.people & entry.people) as value_people
    from unnest(day_numbers, day_blocks, day_people) as entry (day, block, people)
    join unnest(v_values, v_others, v_blocks, v_people) as by_value (value, is_other, block, people)
      on by_value.block = entry.block
    group by entry.day
  )

  select placed.value, placed.is_other, of_day.day, placed.block, placed.people
  from of_day
  cross join lateral analytics._place_values(
    of_day.value_names, of_day.value_others, of_day.value_blocks, of_day.value_people, _groups_by_day.smallest_group
  ) as placed;
end;
$$;

comment on function analytics._groups_by_day(text, int, int, int[], int[], bit[]) is $$
Divides the people of each day by the value of what a breakdown names, as of now, for analysts.
`day_numbers`, `day_blocks`, `day_people`: the people of each day, one bit per person. On each day, the groups are those
of `analytics._place_values`: so neither two values, nor a value and all people, differ by too few people, and nor do
two periods. Arguments and errors are those of `analytics._people_by_value`.
$$;

grant execute on function analytics._groups_by_day(text, int, int, int[], int[], bit[]) to insights_reader;
--! EndIncluded analytics/functions/_groups_by_day.sql

--! Included analytics/trend/_trend_uses.sql
create or replace function analytics._trend_uses(
  event_type_id int, bounds timestamptz[], of_item_id bigint, breakdown text
)
returns table (person_id bigint, bucket int, value text, event_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_kind constant text := split_part(breakdown, '.', 1);
  v_name constant text := substr(breakdown, length(v_kind) + 2);
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_uses.of_item_id
  );
begin
  if v_kind = 'property'
    and _trend_uses.of_item_id is null
    and track.is_property_complete(_trend_uses.event_type_id, v_name)
  then
    return query
    select declared.person_id, declared.bucket, declared.value, declared.event_count, null::interval
    from track.value_buckets(_trend_uses.event_type_id, v_name, _trend_uses.bounds) as declared
    left join track.person_set_blocks('excluded') as excluded on excluded.block = declared.person_id / 4096
    where coalesce(get_bit(excluded.people, (declared.person_id % 4096)::int), 0) = 0;
  elsif v_kind in ('item', 'property', 'trait_then') then
    return query
    with history as materialized (
      select changes.person_id, changes.set_at, changes.value
      from track.trait_changes(null, v_name) as changes
      where v_kind = 'trait_then'
    ),

    excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    happened as (
      select
        event.person_id,
        width_bucket(event.occurred_at, _trend_uses.bounds) as bucket,
        case when v_kind = 'item' then event.item_id end as item_id,
        left(
          case v_kind
            when 'property' then event.properties ->> v_name
            when 'trait_then' then history.value[width_bucket(event.occurred_at, history.set_at)] #>> '{}'
          end,
          200
        ) as value,
        count(*) as event_count
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      left join history on history.person_id = event.person_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
        and case
          when _trend_uses.event_type_id <> 0 then event.event_type_id = _trend_uses.event_type_id
          else _trend_uses.of_item_id is not null or not (event_type.is_automatic or source.is_automatic)
        end
        and (_trend_uses.of_item_id is null or event.item_id = any (v_items))
      group by 1, 2, 3, 4
    )

    select
      happened.person_id, happened.bucket,
      case when v_kind = 'item' then item.external_id else happened.value end,
      happened.event_count, null::interval
    from happened
    left join track.item on item.item_id = happened.item_id
    left join excluded on excluded.block = happened.person_id / 4096
    where coalesce(get_bit(excluded.people, (happened.person_id % 4096)::int), 0) = 0;
  else
    return query
    select person_bucket.person_id, person_bucket.bucket, null::text, person_bucket.event_count, null::interval
    from analytics._person_buckets(
      _trend_uses.event_type_id, _trend_uses.bounds, _trend_uses.of_item_id
    ) as person_bucket;
  end if;

  -- Time is spent in items, not in events of one type, and a page view has no property.
  if _trend_uses.event_type_id <> 0 or v_kind = 'property' then
    return;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  history as materialized (
    select changes.person_id, changes.set_at, changes.value
    from track.trait_changes(null, v_name) as changes
    where v_kind = 'trait_then'
  ),

  queued as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1) as queued_days
    cross join lateral unnest(queued_days.people, queued_days.first_days, queued_days.end_days)
      as entry (person_id, first_day, end_day)
  ),

  viewed as (
    select page_view.*
    from track.session
    join counted
      on counted.block = session.person_id / 4096
      and get_bit(counted.people, (session.person_id % 4096)::int) <> 0
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
    where session.ended_at >= v_since
      and session.started_at < v_until
      and page_view.item_id is not null
      and (_trend_uses.of_item_id is null or page_view.item_id = any (v_items))
  )

  select
    spent.person_id, spent.bucket, coalesce(item.external_id, spent.value), 0::bigint, spent.engaged
  from (
    select
      viewed.person_id, width_bucket(viewed.started_at, _trend_uses.bounds) as bucket,
      case when v_kind = 'item' then viewed.item_id end as item_id,
      left(history.value[width_bucket(viewed.started_at, history.set_at)] #>> '{}', 200) as value,
      sum(viewed.engaged) as engaged
    from viewed
    left join history on history.person_id = viewed.person_id
    left join queued
      on queued.person_id = viewed.person_id
      and viewed.started_at >= queued.since
      and viewed.started_at < queued.until
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    where queued.person_id is null
      or exists (
        select 1
        from track.event
        where event.person_id = viewed.person_id
          and event.occurred_at between viewed.started_at and viewed.ended_at
          and event.event_id = viewed.event_id
      )
    group by 1, 2, 3, 4
  ) as spent
  left join track.item on item.item_id = spent.item_id;
end;
$$;

comment on function analytics._trend_uses(int, timestamptz[], bigint, text) is $$
Returns the numbers of events per person, bucket and value of a breakdown, with the privileges of the caller.
`event_type_id`, `bounds` and `of_item_id` are those of `analytics._person_buckets`. `breakdown`: `item`,
`property.<name>` or `trait_then.<name>`, read from the events: the external id of the item of an event, the text of its
property, or that of the trait of the person at this time, of which the first 200 characters distinguish values; other
breakdowns are not values of events, and leave `value` null. Declared properties (`track.declare_property`) are read
from the journeys.
Engaged times are rows of their own, without events: those of page views of counted people; none for one event type, and
none by property.
$$;

grant execute on function analytics._trend_uses(int, timestamptz[], bigint, text) to insights_reader;
--! EndIncluded analytics/trend/_trend_uses.sql

--! Included analytics/trend/_trend_by_value_of_groups.sql
create or replace function analytics._trend_by_value_of_groups(
  event_type_id int,
  bounds timestamptz[],
  of_item_id bigint,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_monday constant timestamptz := '1970-01-05Z';
  v_week constant interval := interval '7 days';
  v_buckets constant int := cardinality(bounds) - 1;
  -- Levels of units, each of which is part of one of the level before it; those of the last level are the atoms.
  v_units constant interval[] := array(
    select level.unit
    from unnest('{1 day,1 hour,15 minutes,1 minute}'::interval[], '{null,1 day,1 hour,15 minutes}'::interval[])
      with ordinality as level (unit, parent_unit, position)
    where level.parent_unit is null
      or exists (
        select
        from unnest(_trend_by_value_of_groups.bounds) as bound
        where bound <> date_bin(level.parent_unit, bound, v_monday)
      )
    order by level.position
  );
  v_unit constant interval := v_units[cardinality(v_units)];
  v_of_days constant boolean := cardinality(v_units) = 1;
  -- Whole days, or weeks where these are counted together.
  v_extent constant interval := case when v_of_days then v_week else interval '1 day' end;
  v_event_days constant timestamptz[] := array(
    select unnest(array[least(min(first_day), min(last_day)), greatest(max(first_day), max(last_day))])
    from (
      select stored.first_day, stored.last_day
      from track.event_type
      cross join lateral (
        select min(presence.day)::timestamptz as first_day, max(presence.day)::timestamptz as last_day
        from track.presence
        where presence.event_type_id = event_type.event_type_id
      ) as stored
      union all
      select stale.since, stale.until from track.stale
    ) as known
  );
  v_first constant timestamptz := date_bin(v_extent, greatest(bounds[1], v_event_days[1]), v_monday);
  v_last constant timestamptz := date_bin(
    v_extent, least(bounds[v_buckets + 1] - interval '1 microsecond', v_event_days[2]), v_monday
  );
  v_atoms timestamptz[];
begin
  if _trend_by_value_of_groups.breakdown is not null and not v_of_days then
    perform common.refuse(
      'CF001',
      'the buckets of a breakdown are not whole days of the zone UTC',
      'Figures of groups are broken down by day: use day or a longer bucket, and the zone UTC, or leave out breakdown.'
    );
  end if;
  if v_first > v_last or v_event_days[1] is null then
    return;
  end if;
  if extract(epoch from v_last + v_extent - v_first) > 200000 * extract(epoch from v_unit) then
    perform common.refuse(
      'CF008',
      format('the period consists of more than 200000 parts of %s', v_unit),
      'Give a shorter period, or use days of the zone UTC.'
    );
  end if;
  v_atoms := array(select generate_series(v_first, v_last + v_extent, v_unit));

  return query
  with used as materialized (
    select
      entry.person_id, v_atoms[entry.bucket] as atom, entry.is_member, entry.value, entry.event_count, entry.engaged,
      entry.event_count > 0 or _trend_by_value_of_groups.of_item_id is not null as is_use,
      -- Null: a value that is not named. Keys are comparable where values are null.
      case when not entry.is_other then coalesce('=' || entry.value, '') end as key
    from analytics._trend_values(
      _trend_by_value_of_groups.event_type_id, v_atoms, _trend_by_value_of_groups.of_item_id,
      _trend_by_value_of_groups.among, _trend_by_value_of_groups.breakdown, _trend_by_value_of_groups.smallest_group
    ) as entry
  ),

  level as (
    select given.unit, given.level::int as level, v_units[given.level - 1] as parent_unit
    from unnest(v_units) with ordinality as given (unit, level)
  ),

  -- Units of all people: without small ones, and without the smallest other one of the same parent.
  unit_size as (
    select
      unit_person.level, unit_person.unit_start, unit_person.parent_start,
      count(*) as people, count(*) filter (where unit_person.is_member) as members
    from (
      select
        level.level, date_bin(level.unit, used.atom, v_monday) as unit_start,
        date_bin(coalesce(level.parent_unit, level.unit), used.atom, v_monday) as parent_start,
        used.person_id, bool_or(used.is_member) as is_member
      from used
      cross join level
      where used.is_use
      group by 1, 2, 3, 4
    ) as unit_person
    group by 1, 2, 3
  ),

  open_unit as (
    select
      ranked.*,
      ranked.is_group and (ranked.level = 1 or not ranked.has_small or ranked.position > 1) as is_open
    from (
      select
        unit_size.*,
        unit_size.people >= _trend_by_value_of_groups.smallest_group as is_group,
        bool_or(unit_size.people < _trend_by_value_of_groups.smallest_group) over of_parent as has_small,
        row_number() over (
          partition by
            unit_size.level, unit_size.parent_start,
            unit_size.people >= _trend_by_value_of_groups.smallest_group
          order by unit_size.people, unit_size.unit_start
        ) as position
      from unit_size
      window of_parent as (partition by unit_size.level, unit_size.parent_start)
    ) as ranked
  ),

  -- Of these the units of the members, whose difference to all people must not be a small group either.
  shown_unit as materialized (
    select
      ranked.level, ranked.unit_start, ranked.is_open, ranked.members,
      case
        when _trend_by_value_of_groups.among is null then ranked.is_open
        else ranked.is_of_groups and (ranked.level = 1 or not ranked.has_hidden or ranked.member_position > 1)
      end as is_shown
    from (
      select
        grouped.*,
        bool_or(grouped.members > 0 and not grouped.is_of_groups) over (
          partition by grouped.level, grouped.parent_start
        ) as has_hidden,
        row_number() over (
          partition by grouped.level, grouped.parent_start, grouped.is_of_groups
          order by grouped.members, grouped.unit_start
        ) as member_position
      from (
        select
          open_unit.level, open_unit.unit_start, open_unit.parent_start, open_unit.members, open_unit.is_open,
          open_unit.is_open
            and open_unit.members >= _trend_by_value_of_groups.smallest_group
            and open_unit.people - open_unit.members not between 1 and _trend_by_value_of_groups.smallest_group - 1
            as is_of_groups
        from open_unit
      ) as grouped
    ) as ranked
  ),

  atom as (
    select distinct used.atom from used where used.is_use
  ),

  shown_atom as materialized (
    select atom.atom
    from atom
    cross join level
    left join shown_unit
      on shown_unit.level = level.level
      and shown_unit.unit_start = date_bin(level.unit, atom.atom, v_monday)
    group by atom.atom
    having bool_and(coalesce(shown_unit.is_shown, false))
  ),

  -- The other days of a week count together, in buckets that contain the week.
  small_day as materialized (
    select shown_unit.unit_start as atom, date_bin(v_week, shown_unit.unit_start, v_monday) as week_start
    from shown_unit
    where v_of_days
      and not shown_unit.is_shown
      -- A day without members adds nothing, and must not make a group of the others.
      and (_trend_by_value_of_groups.among is null or shown_unit.is_open and shown_unit.members > 0)
  ),

  shown_week as (
    select week_person.week_start
    from (
      select small_day.week_start, used.person_id, bool_or(used.is_member) as is_member
      from small_day
      join used on used.atom = small_day.atom and used.is_use
      group by 1, 2
    ) as week_person
    where width_bucket(week_person.week_start, _trend_by_value_of_groups.bounds)
      = width_bucket(week_person.week_start + interval '6 days', _trend_by_value_of_groups.bounds)
    group by week_person.week_start
    having count(*) filter (where week_person.is_member) >= _trend_by_value_of_groups.smallest_group
      and count(*) filter (where not week_person.is_member)
        not between 1 and _trend_by_value_of_groups.smallest_group - 1
  ),

  -- Values of a day: small ones are part of the rest, and the smallest other one if the rest was small.
  value_person as materialized (
    select used.atom, used.key, used.person_id, bool_or(used.is_member) as is_member
    from used
    where _trend_by_value_of_groups.breakdown is not null
      and used.is_use
    group by 1, 2, 3
  ),

  value_size as (
    select
      value_person.atom, value_person.key,
      count(*) as people, count(*) filter (where value_person.is_member) as members,
      count(*) >= _trend_by_value_of_groups.smallest_group and value_person.key is not null as is_group
    from value_person
    group by 1, 2
  ),

  value_group as materialized (
    select
      value_size.*,
      row_number() over (
        partition by value_size.atom, value_size.is_group order by value_size.people, value_size.key collate "C"
      ) as position
    from value_size
  ),

  small_rest as (
    select value_person.atom
    from value_person
    join value_group
      on value_group.atom = value_person.atom
      -- Equal, because "is not distinct from" cannot be hashed. No key is that of the values that are not named.
      and coalesce(value_group.key, 'other') = coalesce(value_person.key, 'other')
    where not value_group.is_group
    group by 1
    having count(distinct value_person.person_id) < _trend_by_value_of_groups.smallest_group
  ),

  kept_value as materialized (
    select value_group.atom, value_group.key, value_group.people, value_group.members
    from value_group
    left join small_rest on small_rest.atom = value_group.atom
    where value_group.is_group
      and (value_group.position > 1 or small_rest.atom is null)
  ),

  -- Of members, the values of a day only if none of them, nor the rest, has a small group of members or of others.
  mixed_day as (
    select mixed.atom
    from (
      select kept_value.atom, kept_value.people, kept_value.members from kept_value
      union all
      select
        value_person.atom, count(distinct value_person.person_id),
        count(distinct value_person.person_id) filter (where value_person.is_member)
      from value_person
      left join kept_value on kept_value.atom = value_person.atom and kept_value.key = value_person.key
      where kept_value.key is null
      group by 1
    ) as mixed
    where _trend_by_value_of_groups.among is not null
      and (
        mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
        or mixed.people - mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
      )
  ),

  -- Where values overlap, the smallest other one need not have other people than those that stay.
  overlapping_day as (
    select value_person.atom
    from value_person
    join small_rest on small_rest.atom = value_person.atom
    group by value_person.atom
    having count(*) > count(distinct value_person.person_id)
  ),

  shown_value as materialized (
    select kept_value.atom, kept_value.key
    from kept_value
    where kept_value.atom not in (select mixed_day.atom from mixed_day)
      and kept_value.atom not in (select overlapping_day.atom from overlapping_day)
  ),

  counted as materialized (
    select
      used.*,
      width_bucket(used.atom, _trend_by_value_of_groups.bounds) as bucket,
      case
        when _trend_by_value_of_groups.breakdown is null then ''
        when shown_value.key is not null then used.key
      end as shown_key
    from used
    left join shown_atom on shown_atom.atom = used.atom
    left join small_day on small_day.atom = used.atom
    left join shown_week on shown_week.week_start = small_day.week_start
    left join shown_value
      on shown_value.key = used.key
      and shown_value.atom = used.atom
      and shown_atom.atom is not null
    where used.is_member
      and (shown_atom.atom is not null or shown_week.week_start is not null)
      and width_bucket(used.atom, _trend_by_value_of_groups.bounds) between 1 and v_buckets
  ),

  -- The order shows nothing that the figures do not.
  top as materialized (
    select by_person.shown_key as key, by_person.value
    from (
      select counted.shown_key, counted.value, counted.person_id, sum(counted.event_count) as event_count
      from counted
      where counted.shown_key is not null
      group by 1, 2, 3
    ) as by_person
    group by 1, 2
    order by
      analytics._shown(sum(by_person.event_count)::float8, count(*), _trend_by_value_of_groups.smallest_group) desc,
      by_person.shown_key collate "C"
    limit _trend_by_value_of_groups.top_values
  ),

  by_person as (
    select
      top.value, top.key is null as is_other, counted.bucket, counted.person_id,
      bool_or(counted.is_use) as is_use,
      sum(counted.event_count) as event_count,
      sum(counted.engaged) as engaged
    from counted
    left join top on top.key = counted.shown_key
    group by 1, 2, 3, 4
  )

  select
    by_person.value, by_person.is_other, by_person.bucket, sum(by_person.event_count)::bigint,
    count(*) filter (where by_person.is_use), sum(by_person.engaged)
  from by_person
  group by by_person.value, by_person.is_other, by_person.bucket;
end;
$$;

comment on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int) is $$
Returns the figures of counted people per bucket and value of a breakdown.
No difference of figures is that of a small group. With the privileges of the caller; the other arguments are those of
`analytics._trend_by_value`.
Of buckets that consist of days (UTC), the rules for days are those of `analytics._trend_of_groups`. All other buckets
consist of hours (UTC), or where a bound is not that of an hour, of quarters of an hour or of minutes. Small hours are
left out, and in each day that has one the smallest other hour as well (secondary suppression); so are small quarters of
the hours, and small minutes of the quarters. What is missing of a day therefore has at least `smallest_group` people.
A part is in a figure of members of `among` if members and others are groups, or there are no others.
Values are those of days (UTC). Within a day, values of small groups are in the rest (`is_other`), and the smallest
other value too if the rest would be small (all values where people have several of them); with `among` all values
are, unless members and others are groups in each.
The sum over all values is the figure without a breakdown. Days of a week that count together are in the rest.
The named values are those with most events in the figures as shown.
Errors: CF001 for a breakdown of other buckets than days, CF008 for a period of more than 200,000 parts.
$$;

grant execute on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int)
to insights_reader;
--! EndIncluded analytics/trend/_trend_by_value_of_groups.sql

--! Included analytics/functions/activity_by_minute.sql
create or replace function analytics._activity_by_minute(minutes int, smallest_group int)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_until constant timestamptz := date_trunc('minute', now()) + interval '1 minute';
  v_since timestamptz;
begin
  perform common.check_count('minutes', _activity_by_minute.minutes, 1, 1440);
  v_since := v_until - make_interval(mins => _activity_by_minute.minutes);

  return query
  with by_person as (
    select date_trunc('minute', event.occurred_at) as minute, event.person_id, count(*) as event_count
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> 0
      and not (event_type.is_automatic or source.is_automatic)
    group by 1, 2
  ),

  counted as (
    select by_person.minute, sum(by_person.event_count) as event_count, count(*) as person_count
    from by_person
    join analytics._members(null, _activity_by_minute.smallest_group) as member
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    group by by_person.minute
  )

  select
    entry.minute,
    coalesce(
      analytics._shown(counted.event_count::float8, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint,
    coalesce(
      analytics._shown(counted.person_count, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint
  from generate_series(v_since, v_until - interval '1 minute', interval '1 minute') as entry (minute)
  left join counted on counted.minute = entry.minute
  order by entry.minute;
end;
$$;

comment on function analytics._activity_by_minute(int, int) is $$
Computes the result of `analytics.activity_by_minute`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._activity_by_minute(int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._activity_by_minute_exact(minutes int)
returns setof analytics.minute_activity
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from analytics._activity_by_minute($1, null);
$$;

alter function analytics._activity_by_minute_exact(int) owner to insights_reader;

comment on function analytics._activity_by_minute_exact(int) is $$
Returns the result of `analytics.activity_by_minute` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._activity_by_minute_exact(int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._activity_by_minute_shown(minutes int)
returns setof analytics.minute_activity
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from analytics._activity_by_minute($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._activity_by_minute_shown(int) owner to insights_reader;

comment on function analytics._activity_by_minute_shown(int) is $$
Returns the result of `analytics.activity_by_minute` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._activity_by_minute_shown(int) to insights_analyst;

create or replace function analytics.activity_by_minute(minutes int default 30)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._activity_by_minute_exact(int)', 'execute') then
    return query select * from analytics._activity_by_minute_exact(activity_by_minute.minutes);
  else
    return query select * from analytics._activity_by_minute_shown(activity_by_minute.minutes);
  end if;
end;
$$;

comment on function analytics.activity_by_minute(int) is $$
Returns the events and people of each of the last `minutes` (1 to 1440), the present one last.
By the time at which the events happened; events of automatic types and sources do not count. The result includes every
event that was stored when the function was called, also before a refresh.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people: a
minute of fewer than `analytics.setting.smallest_group` of them reads as 0, others are rounded by `analytics._shown`.
Errors: CF001 or CF008 for a number of minutes out of range.
$$;

grant execute on function analytics.activity_by_minute(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/activity_by_minute.sql

--! Included analytics/train_predictions/train_predictions_step.sql
/* A definer: see analytics.train_predictions. */
create or replace function analytics.train_predictions_step(seed bigint default 0)
returns analytics.training_step
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_most_people constant int := 50;
  v_sessions bigint;
  v_sets bigint;
  v_target analytics.prediction_target;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select 1
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.started_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Refresh until a step finds fewer people than it may refresh. The queue need not be empty, because events may
    -- arrive all the time.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_sets := (select sum(people) from track.refresh(v_most_people, 'track.person_set'));
    if greatest(v_sessions, v_sets) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_sets));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.target) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed)
    from analytics.prediction_target as entry
    order by entry.target;
  end if;
  select * into v_target
  from analytics.prediction_target as entry
  where entry.target = (select min(training.target) from analytics.training);
  v_step := analytics._train_step(
    v_target,
    (select training from analytics.training where training.target = v_target.target)
  );
  v_step.finished := not exists (select from analytics.training);
  return v_step;
end;
$$;

comment on function analytics.train_predictions_step(bigint) is $$
@behavior -*
Does the next step of `analytics.train_predictions` for all targets. Call it until `finished` is true.
Each call is bounded (some courses, or one algorithm) and continues after the last committed step, for clients that
share one session, as in the embedded database. The resulting models are the same.
Errors: CF001, CF010 (already running).
$$;

grant execute on function analytics.train_predictions_step(bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/train_predictions/train_predictions_step.sql

--! Included analytics/functions/_course_people.sql
create or replace function analytics._course_people(course_id bigint, people bigint[])
returns table (person_id bigint, is_enrolled boolean, is_shown boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  decided as (
    select
      candidate.person_id,
      candidate.person_id in (
        select enrolment.person_id
        from track.enrolment
        where enrolment.person_id = any (_course_people.people)
          and enrolment.item_id = _course_people.course_id
      ) as is_enrolled,
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      v_by_default <> (
        candidate.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics', _course_people.people) as decision
          where decision.granted <> v_by_default
        )
      )
      and candidate.person_id not in (select privacy.restricted(_course_people.people)) as is_shown
    from (select distinct listed.person_id from unnest(_course_people.people) as listed (person_id)) as candidate
    where candidate.person_id <> 0
  )

  select decided.person_id, decided.is_enrolled, decided.is_shown
  from decided
  where decided.is_enrolled
    or (
      decided.is_shown
      and exists (
        select
        from counted
        where counted.block = decided.person_id / 4096
          and get_bit(counted.people, (decided.person_id % 4096)::int) <> 0
      )
      and not exists (
        select
        from track.item_ancestor as ancestor
        join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = _course_people.course_id
          and item_role.person_id = decided.person_id
      )
    );
end;
$$;

comment on function analytics._course_people(bigint, bigint[]) is $$
Returns which of the given people are learners of a course, for its instructors; the caller has found them active in it.
These are the enrolled people, and of the others those who are counted, have no role in the course and have not opted
out of `analytics`. `is_shown`: whether name and activity may be shown; false for people who have
opted out, and for those whose data is restricted.
$$;

grant execute on function analytics._course_people(bigint, bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_course_people.sql

--! Included analytics/cohorts/_rule_events.sql
/* The plans are the same for all periods, so that they are made once in a session. */
create or replace function analytics._people_on_days(
  given analytics.people_block[], without bigint[], event_type_id int, low int, high int, first_day date, end_day date
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_present analytics.people_block[];
begin
  -- Two statements, because an aggregate is computed even where its result is not used.
  if coalesce(high, 1) = 0 or low = 1 and high is null then
    v_present := array(
      select row(presence.block, bit_or(presence.people))::analytics.people_block
      from track.presence
      where presence.event_type_id = _people_on_days.event_type_id
        and presence.day >= _people_on_days.first_day
        and presence.day < _people_on_days.end_day
        and presence.block = any (array(select part.block from unnest(given) as part))
      group by presence.block
    );
  elsif low > 0 or high is not null then
    v_present := array(
      select
        row(
          counted.block,
          case
            when low <= 0 then analytics._bits_from(counted.counts, high + 1)
            when high is null then analytics._bits_from(counted.counts, low)
            else analytics._bits_from(counted.counts, low) & ~analytics._bits_from(counted.counts, high + 1)
          end
        )::analytics.people_block
      from (
        select presence.block, analytics._bit_counts(presence.people) as counts
        from track.presence
        where presence.event_type_id = _people_on_days.event_type_id
          and presence.day >= _people_on_days.first_day
          and presence.day < _people_on_days.end_day
          and presence.block = any (array(select part.block from unnest(given) as part))
        group by presence.block
      ) as counted
    );
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      part.block,
      part.people
        & ~coalesce(without.people, v_no_people)
        -- With a minimum of 0, those who have more than the maximum are left out.
        & case
          when low <= 0 then ~coalesce(present.people, v_no_people)
          else coalesce(present.people, v_no_people)
        end as members
    from unnest(given) as part
    left join unnest(v_present) as present on present.block = part.block
    left join (
      select (entry.person_id / 4096)::int as block, bit_or(track.person_bit(entry.person_id)) as people
      from unnest(_people_on_days.without) as entry (person_id)
      group by 1
    ) as without on without.block = part.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date) is $$
Returns those of the given people who have events on a number of days in a period.
On `low` to `high` days (UTC; `high` null: no limit) from `first_day` until `end_day`, as of the last refresh of the
sessions. People in `without` are left out.
$$;

grant execute on function analytics._people_on_days(analytics.people_block[], bigint[], int, int, int, date, date)
to insights_reader;

create or replace function analytics._people_with_events(
  given analytics.people_block[],
  people bigint[],
  event_type_id int,
  items bigint[],
  property jsonb,
  by_day boolean,
  low int,
  high int,
  since timestamptz,
  until timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the number of people, the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := _people_with_events.since::date;
  v_end_day constant date := _people_with_events.until::date;
  -- Of whole days, without a filter of events: from the bits of days.
  v_by_bits constant boolean := _people_with_events.items is null
    and _people_with_events.property is null
    and v_first_day::timestamptz = _people_with_events.since
    and v_end_day::timestamptz = _people_with_events.until
    and (by_day or low <= 1 and high is null or coalesce(high, 1) = 0);
  v_stale bigint[] := '{}';
  v_listed bigint[];
  v_from_events bigint[];
begin
  if exists (select 1 from track.stale) then
    v_stale := array(
      select distinct stale.person_id
      from track.stale
      where stale.person_id = any (_people_with_events.people)
    );
  end if;
  if v_by_bits then
    return query
    select *
    from analytics._people_on_days(
      given, v_stale, _people_with_events.event_type_id, low, high, v_first_day, v_end_day
    );
    if v_stale = '{}' then
      return;
    end if;
  end if;

  v_listed := array(
    select entry.person_id
    from unnest(case when v_by_bits then v_stale else _people_with_events.people end) as entry (person_id)
    join unnest(given) as part
      on part.block = entry.person_id / 4096
      and get_bit(part.people, (entry.person_id % 4096)::int) <> 0
  );
  -- The journeys of people whose events have changed are out of date, and journeys have no properties.
  v_from_events := case
    when _people_with_events.property is null then v_stale
    when _people_with_events.event_type_id = 0 then v_listed
    else v_stale || array(
      select step.person_id
      from track.step
      where step.person_id = any (v_listed)
        and step.event_type_id = _people_with_events.event_type_id
    )
  end;

  return query
  with happened as (
    select step.person_id, entry.occurred_at
    from track.step
    cross join lateral unnest(
      step.occurred_at[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ],
      step.item_ids[
        width_bucket(_people_with_events.since - interval '1 microsecond', step.occurred_at) + 1
        :width_bucket(_people_with_events.until - interval '1 microsecond', step.occurred_at)
      ]
    ) as entry (occurred_at, item_id)
    where not v_by_bits
      and _people_with_events.property is null
      and step.person_id = any (v_listed)
      and step.person_id <> all (v_stale)
      and case
        when _people_with_events.event_type_id <> 0 then step.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not step.is_automatic
      end
      and step.since > v_first_day - 366
      and step.since <= v_end_day
      and (_people_with_events.items is null or entry.item_id = any (_people_with_events.items))

    union all

    select event.person_id, event.occurred_at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id = any (v_from_events)
      and event.occurred_at >= _people_with_events.since
      and event.occurred_at < _people_with_events.until
      and case
        when _people_with_events.event_type_id <> 0 then event.event_type_id = _people_with_events.event_type_id
        else _people_with_events.items is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_people_with_events.items is null or event.item_id = any (_people_with_events.items))
      and (
        _people_with_events.property is null
        or event.properties -> (_people_with_events.property ->> 'name') = _people_with_events.property -> 'is'
      )
  ),

  counted as (
    select
      happened.person_id,
      case when by_day then count(distinct happened.occurred_at::date) else count(*) end as times
    from happened
    group by happened.person_id
  )

  select (listed.person_id / 4096)::int, bit_or(track.person_bit(listed.person_id))::bit(4096)
  from (select distinct entry.person_id from unnest(v_listed) as entry (person_id)) as listed
  left join counted on counted.person_id = listed.person_id
  where coalesce(counted.times, 0) >= low
    and (high is null or coalesce(counted.times, 0) <= high)
  group by 1;
end;
$$;

comment on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) is $$
Returns those of the given people who have a number of events in a period.
`low` to `high` times (`high` null: no limit) from `since` until `until`. `given`: their bits; `people`: a
list that contains them. `by_day`: the number of days (UTC) with such events.
`items`: events of these items, automatic ones too; `property`: events with the property `name` of the value `is`.
Exact as of now: the events of people who are queued for a refresh of their journeys are read from `track.event`.
A block may be returned twice, with different people.
$$;

grant execute on function analytics._people_with_events(
  analytics.people_block[], bigint[], int, bigint[], jsonb, boolean, int, int, timestamptz, timestamptz
) to insights_reader;

create or replace function analytics._rule_events(
  rule jsonb, given analytics.people_block[], people bigint[], as_of date, ignored_from timestamptz
)
returns setof analytics.people_block
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := coalesce(
    (
      select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
      from track.event_type
      where event_type.name = rule ->> 'event'
    ),
    case when jsonb_typeof(rule -> 'event') = 'null' then 0 else -1 end
  );
  v_items constant bigint[] := case
    when rule ? 'item' then array(
      select ancestor.item_id
      from track.item as known
      join track.item_ancestor as ancestor
        on ancestor.ancestor_item_id = coalesce(known.merged_item_id, known.item_id)
      where known.external_id = rule ->> 'item'
    )
  end;
  v_by_day constant boolean := coalesce(rule ->> 'counted' = 'days', false);
  v_low constant int := coalesce(
    (rule ->> 'exactly')::int, (rule ->> 'at_least')::int, case when rule ? 'at_most' then 0 else 1 end
  );
  v_high constant int := coalesce((rule ->> 'exactly')::int, (rule ->> 'at_most')::int);
  v_window record;
begin
  v_window := analytics._rule_window(_rule_events.rule, _rule_events.as_of, _rule_events.ignored_from);
  if not coalesce((rule ->> 'first')::boolean, false) then
    return query
    select *
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', v_by_day, v_low, v_high,
      v_window.since, v_window.until
    );
    return;
  end if;

  return query
  select entry.block, entry.members::bit(4096)
  from (
    select
      recent.block, bit_or(recent.people) & ~coalesce((array_agg(former.people))[1], v_no_people) as members
    from analytics._people_with_events(
      given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
      v_window.since, v_window.until
    ) as recent
    left join (
      select earlier.block, bit_or(earlier.people) as people
      from analytics._people_with_events(
        given, _rule_events.people, v_event_type_id, v_items, rule -> 'property', false, 1, null,
        '-infinity', v_window.since
      ) as earlier
      group by earlier.block
    ) as former on former.block = recent.block
    group by recent.block
  ) as entry
  where bit_count(entry.members) > 0;
end;
$$;

comment on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz) is $$
Returns those of the given people for whom a condition on events is true. See `analytics.define_cohort`.
$$;

grant execute on function analytics._rule_events(jsonb, analytics.people_block[], bigint[], date, timestamptz)
to insights_reader;
--! EndIncluded analytics/cohorts/_rule_events.sql

--! Included analytics/funnels/_journeys.sql
create or replace function analytics._journeys(
  event_types int[],
  with_any boolean,
  with_items boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_journeys.until at time zone 'UTC')::date + 1;
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day, _journeys.people);
  if v_queued.people is null then
    -- The whole list where it is within the period. Places are computed once: each function that reads a list copies
    -- it.
    return query
    select
      placed.person_id, placed.event_type_id, placed.is_automatic,
      case
        when placed.before = 0 and placed.end_place = cardinality(placed.occurred_at) then placed.occurred_at
        else placed.occurred_at[placed.before + 1:placed.end_place]
      end,
      case
        when not _journeys.with_items then null
        when placed.before = 0 and placed.end_place = cardinality(placed.item_ids) then placed.item_ids
        else placed.item_ids[placed.before + 1:placed.end_place]
      end
    from (
      select
        step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
        width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as end_place
      from track.step
      where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
        and step.person_id <> 0
        and (_journeys.people is null or step.person_id = any (_journeys.people))
        and step.since > v_first_day - 366
        and step.since < v_end_day
      offset 0
    ) as placed
    where placed.before < placed.end_place;
    return;
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', _journeys.since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', _journeys.until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  )

  select
    kept.person_id, kept.event_type_id, kept.is_automatic,
    step.occurred_at[kept.first_place + 1:kept.end_place], step.item_ids[kept.first_place + 1:kept.end_place]
  from track.step
  left join queued on queued.person_id = step.person_id
  cross join lateral (
    select
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as since,
      width_bucket(queued.since - interval '1 microsecond', step.occurred_at) as queued_since,
      width_bucket(queued.until - interval '1 microsecond', step.occurred_at) as queued_until,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as until
  ) as place
  -- In two parts where those between them are queued.
  cross join lateral (
    values
      (
        step.person_id, step.event_type_id, step.is_automatic, place.since, coalesce(place.queued_since, place.until)
      ),
      (step.person_id, step.event_type_id, step.is_automatic, coalesce(place.queued_until, place.until), place.until)
  ) as kept (person_id, event_type_id, is_automatic, first_place, end_place)
  where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
    and step.person_id <> 0
    and (_journeys.people is null or step.person_id = any (_journeys.people))
    and step.since > v_first_day - 366
    and step.since < v_end_day
    and kept.first_place < kept.end_place

  union all

  select
    happened.person_id, happened.event_type_id, happened.is_automatic,
    array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id),
    array_agg(happened.item_id order by happened.occurred_at, happened.item_id)
  from (
    select
      event.person_id, event.event_type_id, event.occurred_at, coalesce(event.item_id, 0)::int as item_id,
      event_type.is_automatic or source.is_automatic as is_automatic
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id <> 0
  ) as happened
  where happened.event_type_id = any (_journeys.event_types)
    or _journeys.with_any and not happened.is_automatic
  group by happened.person_id, happened.event_type_id, happened.is_automatic;
end;
$$;

comment on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times and items of events of people in a period, with the privileges of the caller.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `people`: of these only;
null: of all. A person and event type
can have several rows, in each of which the times ascend, and which can be empty. `item_ids`: 0 for events that name
none; null unless `with_items`. The events of people who are queued for a refresh are included.
$$;

grant execute on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
--! EndIncluded analytics/funnels/_journeys.sql

--! Included analytics/funnels/_visible_periods.sql
create or replace function analytics._visible_periods(
  event_type_id int, item_id bigint, among text, bounds timestamptz[], smallest_group int
)
returns tstzmultirange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with member as (
      select period.start_at, period.end_at, sum(bit_count(period.people)) as person_count
      from analytics._presence_of_groups(
        _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
        _visible_periods.among, null, 10, null, _visible_periods.smallest_group
      ) as period
      group by period.start_at, period.end_at
    ),

    everyone as (
      select period.start_at, period.end_at, sum(bit_count(period.people)) as person_count
      from analytics._presence_of_groups(
        _visible_periods.event_type_id, array[bounds[1], bounds[cardinality(bounds)]], _visible_periods.item_id,
        null, null, 10, null, _visible_periods.smallest_group
      ) as period
      where _visible_periods.among is not null
      group by period.start_at, period.end_at
    )

    select coalesce(range_agg(tstzrange(member.start_at, member.end_at)), '{}')
    from member
    left join everyone on everyone.start_at = member.start_at and everyone.end_at = member.end_at
    where member.start_at >= bounds[1]
      and member.end_at <= bounds[width_bucket(member.start_at, bounds) + 1]
      -- The others are a group too, or there are none.
      and (
        _visible_periods.among is null
        or everyone.person_count = member.person_count
        or everyone.person_count - member.person_count >= _visible_periods.smallest_group
      )
  );
end;
$$;

comment on function analytics._visible_periods(int, bigint, text, timestamptz[], int) is $$
Returns the parts of a period whose events of a type count for analysts.
They are those of `analytics._presence_of_groups` that are whole within a bucket. `bounds`: ascending times. Of members
of `among`, those in which the others are a group as well, or there are no others.
$$;

grant execute on function analytics._visible_periods(int, bigint, text, timestamptz[], int) to insights_reader;
--! EndIncluded analytics/funnels/_visible_periods.sql

--! Included analytics/funnels/_people_of_items.sql
create or replace function analytics._people_of_items(items int[], since timestamptz, until timestamptz)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_day constant date := (_people_of_items.since at time zone 'UTC')::date;
  v_end_day constant date := (_people_of_items.until at time zone 'UTC')::date + 1;
begin
  return query
  select (used.person_id / 4096)::int, bit_or(track.person_bit(used.person_id))
  from (
    select item_month.part::bigint * 32768 + listed.person as person_id
    from track.item_month
    cross join lateral unnest(item_month.people) as listed (person)
    where item_month.item_id = any (_people_of_items.items)
      and item_month.month >= date_trunc('month', v_first_day::timestamp)::date
      and item_month.month < v_end_day

    union

    select queued.person_id
    from unnest((track.queued_days(v_first_day, v_end_day)).people) as queued (person_id)
  ) as used
  group by 1;
end;
$$;

comment on function analytics._people_of_items(int[], timestamptz, timestamptz) is $$
Returns the people who may have events of these items in a period, one bit per person.
Those who used one of them in a month of the period, and all who are queued for a refresh: a first filter, which leaves
out no person with such events.
$$;

grant execute on function analytics._people_of_items(int[], timestamptz, timestamptz) to insights_reader;
--! EndIncluded analytics/funnels/_people_of_items.sql

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
      select journey.person_id, known.at, used.value_id
      from analytics._valued_journeys($7, $11, false, ($2)[1], ($2)[cardinality($2)]) as journey
      join unnest($4, $5) as entry (block, people)
        on entry.block = journey.person_id / 4096
        and get_bit(entry.people, (journey.person_id %% 4096)::int) <> 0
      -- Usually it is the event at the end of the list. There can be several events of its time.
      cross join lateral (
        select
          case
            when %1$s and journey.value_ids[%2$s] > 0 then journey.occurred_at[%2$s]
            else (
              select %3$s
              from (
                select
                  unnest(journey.occurred_at) as at, unnest(journey.item_ids) as item_id,
                  unnest(journey.value_ids) as value_id
              ) as used
              where used.value_id > 0
                and case journey.event_type_id %4$s else false end
              limit 1
            )
          end as at
        offset 0
      ) as known
      cross join lateral (
        select
          width_bucket(known.at - interval '1 microsecond', journey.occurred_at) + 1 as first,
          width_bucket(known.at, journey.occurred_at) as last
        offset 0
      ) as place
      cross join lateral (
        select
          known.at, unnest(journey.item_ids[place.first:place.last]) as item_id,
          unnest(journey.value_ids[place.first:place.last]) as value_id
      ) as used
      where used.value_id > 0
        and case journey.event_type_id %4$s else false end
    ) as touched
    join track.property_value on property_value.value_id = touched.value_id
    order by touched.person_id, touched.at %5$s, property_value.value
    $query$,
    case when bool_and(filter.condition is null) then 'true' else 'false' end,
    case when attribution = 'last_touch' then 'cardinality(journey.occurred_at)' else '1' end,
    case when attribution = 'last_touch' then 'max(used.at)' else 'used.at' end,
    string_agg(
      format('when %s then %s', filter.event_type_id, coalesce(filter.condition, 'true')), ' ' order by filter.number
    ),
    case when attribution = 'last_touch' then 'desc' else '' end
  )
  from (
    select
      entry.event_type_id, entry.ordinality as number,
      analytics._step_condition(filters, entry.ordinality::int, only_visible, false) as condition
    from unnest(filters) with ordinality as entry
    where not entry.is_exclusion
  ) as filter
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
  people text,
  by_bucket boolean,
  only_visible boolean
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
      from analytics._journeys($7, $8, true, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$) as journey
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
      from analytics._valued_journeys($7, $11, $8, ($2)[1], ($2)[cardinality($2)], $query$ || people || $query$)
        as journey
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
    with member as materialized (
      select entry.block, entry.people from unnest($4, $5) as entry (block, people)
    ),

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
    end
  );
end;
$$;

comment on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
) is $$
Returns the statement that finds the attempts of people in any funnel, by walking through their events.
See `analytics._funnel_attempts`. `source`: `journeys`, `values` (journeys with properties), `events` (properties of
the events themselves), or `listed` (these, of the people $13). `by_bucket`: one attempt per person and bucket of its
start. `people`: the expression of a list of people, of whom only the journeys are read; `null`: of all.
$$;

grant execute on function analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, text, boolean, boolean
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
  -- The items of the steps that begin an attempt; null where one of these steps is of any item.
  v_entry_items constant int[] := (
    select case when bool_and(filter.items is not null) then array_agg(item.item_id) end
    from unnest(filters) as filter
    left join lateral unnest(filter.items) as item (item_id) on true
    where not filter.is_exclusion
      and (filter.first_step = 1 or step_order = 'unordered')
  );
  v_visible tstzmultirange[];
  v_blocks int[];
  v_people bit(4096)[];
  v_queued bigint[];
  v_statement text;
begin
  select array_agg(member.block order by member.block), array_agg(member.people order by member.block)
  into v_blocks, v_people
  from analytics._members(_funnel_attempts.among, _funnel_attempts.smallest_group) as member;
  if v_entry_items is not null then
    v_people := array(
      select entry.people & coalesce(used.people, v_no_people)
      from unnest(v_blocks, v_people) as entry (block, people)
      left join analytics._people_of_items(v_entry_items, v_since, v_until) as used on used.block = entry.block
      order by entry.block
    );
  end if;
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
        case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket,
        v_visible is not null
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
        filters, v_step_count, step_order = 'strict', v_by_bucket, v_visible is not null,
        -- The values of a breakdown are read on their own.
        exists (select from unnest(filters) as filter where filter.property is not null)
      )
      || case
        when step_order = 'strict' then format(
          ' union all select walked.* from (%s) as walked',
          analytics._walk_statement(
            filters, v_step_count, step_order, v_source, null,
            'array(select listed.person_id from listed where listed.is_walked)', v_by_bucket, v_visible is not null
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
      case when _funnel_attempts.property is not null then attribution end, 'null', v_by_bucket, v_visible is not null
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

--! Included analytics/funnels/_attempts_by_value.sql
create or replace function analytics._attempts_by_value(
  filters analytics.step_filter[],
  bounds timestamptz[],
  step_order text,
  conversion_window interval,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns table (value text, is_other boolean, bucket int, person_id bigint, reached int, times timestamptz[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_step_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_property constant text := case when breakdown like 'property.%' then substr(breakdown, length('property.') + 1) end;
begin
  perform common.check_count('top_values', _attempts_by_value.top_values, 1, 100);
  if attribution is null
    or attribution not in ('first_touch', 'last_touch', 'all_events')
      and (
        step_order = 'unordered'
        or attribution !~ '^step_[1-9][0-9]?$'
        or substr(attribution, 6)::int > v_step_count
      )
  then
    perform common.refuse(
      'CF001',
      format('attribution is "%s"', left(attribution, 100)),
      'Use first_touch, last_touch, all_events, or in an ordered funnel step_1, step_2, …: the value at this step.'
    );
  end if;
  if length(breakdown) > 200 or breakdown = 'property.' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(breakdown, 100)),
      'Give a name after "property.", of 191 characters at most.'
    );
  end if;

  if breakdown is null then
    return query
    select null::text, false, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from analytics._funnel_attempts(
      filters, bounds, step_order, conversion_window, among, null, null, smallest_group
    ) as attempt;
  elsif v_property is null then
    return query
    with attempt as materialized (
      select *
      from analytics._funnel_attempts(
        filters, bounds, step_order, conversion_window, among, null, null, smallest_group
      )
    ),

    by_value as (
      select stated.value, stated.is_other, stated.block, stated.people
      from analytics._people_by_value(breakdown, top_values, smallest_group) as stated
      where smallest_group is null

      union all

      -- The values of the people in the funnel.
      select part.value, part.is_other, entry.block, entry.people
      from (
        select array_agg(listed.block) as blocks, array_agg(listed.people) as people
        from analytics._bits_of(array(select distinct attempt.person_id from attempt where smallest_group is not null))
          as listed
      ) as active
      cross join lateral analytics._people_groups(
        breakdown, top_values, smallest_group, active.blocks, active.people
      ) as part
      cross join lateral unnest(part.blocks, part.people) as entry (block, people)
      where smallest_group is not null
    )

    select by_value.value, by_value.is_other, attempt.bucket, attempt.person_id, attempt.reached, attempt.times
    from by_value
    join attempt
      on attempt.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (attempt.person_id % 4096)::int) <> 0;
  else
    return query
    with attempt as materialized (
      select *
      from analytics._funnel_attempts(
        filters, bounds, step_order, conversion_window, among, v_property, attribution, smallest_group
      )
    ),

    ranked as materialized (
      select sized.value, row_number() over (order by sized.person_count desc, sized.value collate "C") as position
      from (
        select attempt.value, count(distinct attempt.person_id) as person_count
        from attempt
        where attempt.value is not null
        group by attempt.value
      ) as sized
      where sized.person_count >= coalesce(smallest_group, 1)
    ),

    named as (
      select ranked.value, attempt.value is not null and ranked.value is null as is_other, attempt.bucket,
        attempt.person_id, attempt.reached, attempt.times
      from attempt
      left join ranked on ranked.value = attempt.value and ranked.position <= top_values
    )

    -- Of several other values, the attempt that went furthest.
    select distinct on (named.value, named.is_other, named.bucket, named.person_id)
      named.value, named.is_other, named.bucket, named.person_id, named.reached, named.times
    from named
    order by named.value, named.is_other, named.bucket, named.person_id, named.reached desc, named.times;
  end if;
end;
$$;

comment on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) is $$
Returns the furthest attempt of each person, and value of a breakdown, in a funnel.
The arguments are those of `analytics.funnel` and `analytics._funnel_attempts`.
Errors: CF001 for an attribution or a breakdown that does not exist.
$$;

grant execute on function analytics._attempts_by_value(
  analytics.step_filter[], timestamptz[], text, interval, text, text, text, int, int
) to insights_reader;
--! EndIncluded analytics/funnels/_attempts_by_value.sql

--! Included analytics/paths/_session_paths.sql
create or replace function analytics._session_paths(
  since timestamptz,
  until timestamptz,
  node_of int[],
  node_of_type int[],
  start_node int,
  end_node int,
  steps int,
  with_starts boolean,
  among text,
  compared_with text,
  smallest_group int
)
returns table (person_id bigint, is_member boolean, is_compared boolean, nodes int[], starts bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_visible constant tstzmultirange := case
    when smallest_group is not null
      then analytics._visible_periods(0, null, null, array[since, until], _session_paths.smallest_group)
  end;
  v_half constant int := _session_paths.steps / 2;
  v_blocks int[];
  v_people bit(4096)[];
  v_compared bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people), array_agg(compared.people)
  into v_blocks, v_people, v_compared
  from analytics._members(_session_paths.among, _session_paths.smallest_group) as member
  join analytics._members(_session_paths.compared_with, _session_paths.smallest_group) as compared
    on compared.block = member.block;

  return query
  with member as materialized (
    select
      entry.block, entry.people,
      case when _session_paths.compared_with is not null then entry.compared end as compared
    from unnest(v_blocks, v_people, v_compared) as entry (block, people, compared)
  ),

  -- Views of nodes.
  viewed as (
    select
      session.person_id,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0 as is_member,
      coalesce(get_bit(member.compared, (session.person_id % 4096)::int) <> 0, false) as is_compared,
      view.nodes, view.starts
    from track.session
    join member on member.block = session.person_id / 4096
    cross join lateral (
      select array_agg(viewed.node) as nodes, array_agg(viewed.start) filter (where with_starts) as starts
      from (
        select
          node_of[unnest(session.view_item_ids)] as node,
          unnest(case when with_starts then session.view_starts end) as start,
          unnest(session.view_continued) as is_continued
      ) as viewed
      where viewed.node > 0
        and viewed.is_continued is not true
    ) as view
    where node_of_type is null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.view_item_ids is not null
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
  ),

  -- Events of nodes, from the journeys. Those of the same instant are in the order of their types.
  happened as (
    select
      session.person_id,
      get_bit(member.people, (session.person_id % 4096)::int) <> 0 as is_member,
      coalesce(get_bit(member.compared, (session.person_id % 4096)::int) <> 0, false) as is_compared,
      place.nodes, place.starts
    from track.session
    cross join lateral (
      select
        array_agg(event.node order by event.at, event.event_type_id, event.node) as nodes,
        array_agg(
          (extract(epoch from event.at - session.started_at) * 1000000)::bigint
          order by event.at, event.event_type_id, event.node
        ) as starts
      from (
        select
          sliced.event_type_id, sliced.at,
          case when node_of_type[sliced.event_type_id] = -1 then node_of[sliced.item_id]
            else node_of_type[sliced.event_type_id]
          end as node
        from (
          select
            part.event_type_id,
            unnest(part.occurred_at[part.before + 1:part.until]) as at,
            unnest(part.item_ids[part.before + 1:part.until]) as item_id
          from (
            select
              step.event_type_id, step.occurred_at, step.item_ids,
              width_bucket(session.started_at - interval '1 microsecond', step.occurred_at) as before,
              width_bucket(session.ended_at, step.occurred_at) as until
            from track.step
            where step.person_id = session.person_id
              and not step.is_automatic
              and node_of_type[step.event_type_id] <> 0
          ) as part
        ) as sliced
      ) as event
      where event.node > 0
    ) as place
    join member on member.block = session.person_id / 4096
    where node_of_type is not null
      and session.started_at >= _session_paths.since
      and session.started_at < _session_paths.until
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
  ),

  view as (
    select * from viewed
    union all
    select * from happened
  )

  select view.person_id, view.is_member, view.is_compared, cut.nodes, cut.starts
  from view
  -- The last of several equal ones in succession.
  cross join lateral (
    select array_agg(run.node) as nodes, array_agg(run.start) filter (where with_starts) as starts
    from (
      select unnest(view.nodes) as node, unnest(view.nodes[2:] || 0) as next, unnest(view.starts) as start
    ) as run
    where run.node <> run.next
  ) as path
  cross join lateral (
    select
      case when start_node is null then 1 else array_position(path.nodes, start_node) end as first_place
  ) as start
  cross join lateral (
    select
      case
        when start.first_place is null then null
        when end_node is null then cardinality(path.nodes)
        else array_position(path.nodes, end_node, start.first_place)
      end as last_place
  ) as stop
  cross join lateral (
    select
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.nodes[start.first_place:stop.last_place]
        when end_node is null
          then path.nodes[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.nodes[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.nodes[start.first_place:start.first_place + v_half - 1] || -1
          || path.nodes[stop.last_place - v_half + 1:stop.last_place]
      end as nodes,
      case
        when stop.last_place - start.first_place < _session_paths.steps
          then path.starts[start.first_place:stop.last_place]
        when end_node is null
          then path.starts[start.first_place:start.first_place + _session_paths.steps - 1]
        when start_node is null then path.starts[stop.last_place - _session_paths.steps + 1:stop.last_place]
        else path.starts[start.first_place:start.first_place + v_half]
          || path.starts[stop.last_place - v_half + 1:stop.last_place]
      end as starts
  ) as cut
  where stop.last_place is not null
    and (view.is_member or view.is_compared);
end;
$$;

comment on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
) is $$
Returns the paths through the sessions that started in a period, with the privileges of the caller.
`node_of`: the number of the node of each item, by its key; 0: none. `node_of_type`: that of each event type, -1 for the
node of the item; null: nodes are page views. `start_node`: the path starts with the first such
node; `end_node`: it ends with the first one (after the start). At most `steps` nodes: the first ones, with an end the
last ones, and with both the first and the last half with -1 in place of those between. Equal nodes in succession are
one, that of the last view. `starts`: start of each view, in microseconds after that of the session; null unless
`with_starts`.
`is_member`, `is_compared`: whether the person is one of `among` and of `compared_with`. As of the last refresh of the
sessions. `smallest_group`: counted people, in periods with enough of them (`analytics._visible_periods`); null: all.
$$;

grant execute on function analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int
)
to insights_reader;
--! EndIncluded analytics/paths/_session_paths.sql

--! Included analytics/paths/paths.sql
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Of "..." in the order of the names.
  v_place_of_others float8;
  v_size bigint;
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;
  v_size := cardinality(v_names) + 2;
  v_place_of_others := 0.5 + (select count(*) from unnest(v_names) as name where name collate "C" < '...');

  return query
  -- A transition is one number, which is grouped faster: its step, source and target, which is 0 at the end of a path.
  with view as materialized (
    select
      path.person_id, path.is_member, path.is_compared,
      (path.step * v_size + path.source + 1) * v_size + coalesce(path.target + 1, 1) as edge,
      (path.ended - path.started)::float8 as took
    from (
      select
        path.person_id, path.is_member, path.is_compared, generate_series(1::bigint, cardinality(path.nodes)) as step,
        unnest(path.nodes) as source, unnest(path.nodes[2:]) as target, unnest(path.starts) as started,
        unnest(path.starts[2:]) as ended
      from analytics._session_paths(
        v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type,
        analytics._node_number(v_names, _paths.start_at, 'start_at'),
        analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, true, _paths.among,
        _paths.compared_with, _paths.smallest_group
      ) as path
    ) as path
  ),

  edge as materialized (
    select
      view.edge,
      (view.edge / (v_size * v_size))::int as step,
      (view.edge / v_size % v_size - 1)::int as source,
      nullif(view.edge % v_size - 1, 0)::int as target,
      (count(*) filter (where view.is_member))::float8 as transition_count,
      (count(*) filter (where view.is_compared))::float8 as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.edge
  ),

  -- The people of exact figures are counted for these only.
  candidate as materialized (
    select edge.*
    from edge
    where edge.target is not null
    order by
      greatest(edge.transition_count, edge.compared_count) desc, edge.step,
      case edge.source when -1 then v_place_of_others else edge.source end,
      case edge.target when -1 then v_place_of_others else edge.target end
    limit case when _paths.smallest_group is null then _paths.top end
  ),

  counted as (
    select
      by_person.edge,
      count(*) filter (where by_person.is_member) as person_count,
      count(*) filter (where by_person.is_compared) as compared_people
    from (
      select view.edge, view.person_id, bool_or(view.is_member) as is_member, bool_or(view.is_compared) as is_compared
      from view
      join candidate on candidate.edge = view.edge
      group by view.edge, view.person_id
    ) as by_person
    group by by_person.edge
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.step, edge.source, sum(edge.transition_count) as path_count, sum(edge.compared_count) as compared_count
    from edge
    group by edge.step, edge.source
  ),

  shown as materialized (
    select
      candidate.step, candidate.source, candidate.target,
      candidate.took / nullif(candidate.transition_count, 0) as mean_microseconds, counted.person_count,
      counted.compared_people,
      analytics._shown(
        candidate.transition_count, counted.person_count, _paths.smallest_group
      )::bigint as transition_count,
      analytics._shown(
        candidate.compared_count, counted.compared_people, _paths.smallest_group
      )::bigint as compared_count
    from candidate
    join counted on counted.edge = candidate.edge
    where counted.person_count >= coalesce(_paths.smallest_group, 1)
      or counted.compared_people >= coalesce(_paths.smallest_group, 1)
  ),

  -- All other figures are those of these only. The nodes are numbered in the order of their names.
  largest as materialized (
    select shown.*
    from shown
    order by
      greatest(shown.transition_count, shown.compared_count) desc, shown.step,
      case shown.source when -1 then v_place_of_others else shown.source end,
      case shown.target when -1 then v_place_of_others else shown.target end
    limit _paths.top
  ),

  related as (
    select
      largest.*,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as compared_path_count
    from largest
    join node on node.step = largest.step and node.source = largest.source
  )

  select
    related.step,
    coalesce(v_names[related.source], '...'),
    coalesce(v_names[related.target], '...'),
    related.transition_count,
    analytics._shown(related.person_count, related.person_count, _paths.smallest_group)::bigint,
    -- least() ignores a null.
    case when related.path_count > 0 then least(related.transition_count / related.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (related.mean_microseconds / 1000000)::float8), related.person_count,
      _paths.smallest_group
    ),
    case when _paths.compared_with is not null then related.compared_count end,
    case
      when _paths.compared_with is not null
        then analytics._shown(related.compared_people, related.compared_people, _paths.smallest_group)::bigint
    end,
    case
      when _paths.compared_with is not null and related.compared_path_count > 0
        then least(related.compared_count / related.compared_path_count, 1)
    end
  from related
  order by
    greatest(related.transition_count, related.compared_count) desc, related.step,
    case related.source when -1 then v_place_of_others else related.source end,
    case related.target when -1 then v_place_of_others else related.target end;
end;
$$;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
) is $$
Computes the result of `analytics.paths`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths_exact(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
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
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null
  );
$$;

alter function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int
)
returns setof analytics.path_edge
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
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths_exact(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`:
the names of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other
events. `wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of
the first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of
the last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/paths.sql

--! Included analytics/sessions/session_trend.sql
create or replace function analytics._session_trend(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds(
    _session_trend.bucket, _session_trend.since, _session_trend.until, _session_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  -- Analysts see the values of each day.
  v_by_day constant boolean := breakdown is not null and coalesce(smallest_group > 1, false);
begin
  if v_count * analytics._value_count(_session_trend.breakdown, _session_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;

  return query
  with started as materialized (
    select
      session.person_id, width_bucket(session.started_at, v_bounds) as bucket, session.views, session.duration,
      session.engaged,
      case
        when not v_by_day then 0
        when _session_trend.bucket in ('minute', 'hour', 'day') then width_bucket(session.started_at, v_bounds)
        else session.started_at::date - date '0001-01-01'
      end as day
    from analytics._sessions(v_bounds, _session_trend.among, _session_trend.smallest_group) as session
  ),

  -- Of analysts, the values of each day or shorter bucket; otherwise the day is 0.
  part as materialized (
    select by_value.value, by_value.is_other, 0 as day, by_value.block, by_value.people
    from analytics._people_by_value(
      coalesce(_session_trend.breakdown, 'set.counted'), _session_trend.top_values, _session_trend.smallest_group
    ) as by_value
    where not v_by_day

    union all

    select part.value, part.is_other, part.day, part.block, part.people
    from (
      select array_agg(listed.day) as days, array_agg(listed.block) as blocks, array_agg(listed.people) as people
      from (
        select used.day, used.person_id / 4096 as block, bit_or(track.person_bit(used.person_id)) as people
        from (select distinct started.day, started.person_id from started where v_by_day) as used
        group by 1, 2
      ) as listed
    ) as active
    cross join lateral analytics._groups_by_day(
      _session_trend.breakdown, _session_trend.top_values, _session_trend.smallest_group, active.days,
      active.blocks::int[], active.people
    ) as part
    where v_by_day
  ),

  valued as (
    select null::text as value, false as is_other, started.*
    from started
    where _session_trend.breakdown is null

    union all

    select part.value, part.is_other, started.*
    from part
    join started
      on started.person_id / 4096 = part.block
      and started.day = part.day
      and get_bit(part.people, (started.person_id % 4096)::int) <> 0
    where _session_trend.breakdown is not null
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bucket,
      count(*) as session_count,
      count(distinct valued.person_id) as person_count,
      avg(valued.duration) as mean_duration,
      percentile_cont(0.5) within group (order by valued.duration) as median_duration,
      avg(valued.engaged) as mean_engaged,
      percentile_cont(0.5) within group (order by valued.engaged) as median_engaged,
      avg(valued.views)::float8 as mean_views,
      count(*) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds') as bounce_count,
      count(distinct valued.person_id) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds')
        as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(
          counted.bounce_count, counted.bounced_people, _session_trend.smallest_group, counted.session_count
        ),
        0
      )::bigint as bounce_count,
      counted.person_count as exact_people, counted.mean_duration, counted.median_duration, counted.mean_engaged,
      counted.median_engaged, counted.mean_views
    from (
      select distinct counted.value, counted.is_other from counted where _session_trend.breakdown is not null
      union all
      select null, false where _session_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.session_count,
    shown.person_count,
    shown.session_count::float8 / nullif(shown.person_count, 0),
    analytics._shown_time(shown.mean_duration, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(
      shown.median_duration, shown.exact_people, _session_trend.smallest_group, shown.mean_duration
    ),
    analytics._shown_time(shown.mean_engaged, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(shown.median_engaged, shown.exact_people, _session_trend.smallest_group, shown.mean_engaged),
    analytics._shown_mean(shown.mean_views, shown.exact_people, _session_trend.smallest_group),
    shown.bounce_count,
    -- least() ignores a null.
    case when shown.session_count > 0 then least(shown.bounce_count::float8 / shown.session_count, 1) end,
    v_bounds[shown.bucket + 1] <= now(),
    _session_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

comment on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
) is $$
Computes the result of `analytics.session_trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_trend_exact(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
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
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, null
  );
$$;

alter function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_trend_exact(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_trend_shown(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
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
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst;

create or replace function analytics.session_trend(
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_trend_exact(text, timestamptz, timestamptz, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_trend_exact(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  else
    return query
    select *
    from analytics._session_trend_shown(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns sessions by time bucket, with their duration, engaged time, depth and bounces.
A session counts in the bucket in which it started, from `since` until `until` (extended to whole buckets of the zone;
weeks start on Monday). A bounce is a session of at most one page view and less than 10 seconds of engaged time.
`among`: people of these sets now; `breakdown`: `set.<family>` or `trait.<name>`, of which the `top_values` values of
most people are named; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set or zone (names the nearest), CF008 for more than
100,000 buckets and values.
$$;

grant execute on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_trend.sql

--! Included analytics/sessions/session_items.sql
create or replace function analytics._session_items(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
  -- Analysts see the values of each day.
  v_by_day constant boolean := breakdown is not null and coalesce(smallest_group > 1, false);
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_items.among, _session_items.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_items.among, array[v_days[1], v_days[cardinality(v_days)]], _session_items.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.view_count <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  -- Of analysts, the values of each day; otherwise the day is 0.
  part as materialized (
    select part.value, part.is_other, 0 as day, entry.block, entry.people
    from analytics._people_groups(
      _session_items.breakdown, _session_items.top_values, _session_items.smallest_group, v_blocks, v_people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people)
    where not v_by_day

    union all

    select part.value, part.is_other, part.day, part.block, part.people
    from (
      select array_agg(listed.day) as days, array_agg(listed.block) as blocks, array_agg(listed.people) as people
      from (
        select used.day, member.block, bit_or(track.person_bit(used.person_id)) & member.people as people
        from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as used
        join unnest(v_blocks, v_people) as member (block, people) on member.block = used.person_id / 4096
        group by used.day, member.block, member.people
      ) as listed
    ) as active
    cross join lateral analytics._groups_by_day(
      _session_items.breakdown, _session_items.top_values, _session_items.smallest_group, active.days,
      active.blocks, active.people
    ) as part
    where v_by_day
  ),

  by_value as (
    select
      part.value, part.is_other, by_person.item_id, by_person.person_id, by_person.session_count,
      by_person.bounce_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where not v_by_day
      and by_person.item_id is not null

    union all

    select
      part.value, part.is_other, by_person.item_id, by_person.person_id, sum(by_person.session_count)::bigint,
      sum(by_person.bounce_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where v_by_day
      and by_person.item_id is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.item_id, sum(by_value.session_count) as session_count,
      count(*) as person_count,
      sum(by_value.bounce_count) as bounce_count,
      count(*) filter (where by_value.bounce_count > 0) as bounced_people
    from by_value
    group by by_value.value, by_value.is_other, by_value.item_id
  ),

  shown as (
    select
      counted.value, counted.is_other, counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
  )

  select *
  from (
    select
      (
        row_number() over (
          partition by shown.is_other, shown.value order by shown.session_count desc, item.external_id collate "C"
        )
      )::int as rank,
      item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
      least(shown.bounce_count::float8 / shown.session_count, 1) as bounce_rate,
      shown.value, shown.is_other
    from shown
    join track.item on item.item_id = shown.item_id
    where shown.session_count > 0
  ) as ranked
  where _session_items.top is null
    or ranked.rank <= _session_items.top
  order by ranked.is_other, ranked.value is null, ranked.value, ranked.rank;
end;
$$;

comment on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int) is $$
Computes the result of `analytics.session_items`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items_exact(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
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
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, null
  );
$$;

alter function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
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
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items_exact(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_items.sql

--! Included analytics/sessions/session_distribution.sql
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
  v_times constant interval[] := array(
    select make_interval(secs => entry.seconds)
    from unnest(v_starts) with ordinality as entry (seconds, number)
    order by entry.number
  );
  -- Analysts see the values of each day.
  v_by_day constant boolean := breakdown is not null and coalesce(smallest_group > 1, false);
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_distribution.among, _session_distribution.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_distribution.among, array[v_days[1], v_days[cardinality(v_days)]],
      _session_distribution.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.ended_at - session.started_at, v_times)
        else width_bucket(session.view_count::float8, v_starts)
      end as bin,
      count(*) as session_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  -- Of analysts, the values of each day; otherwise the day is 0.
  part as materialized (
    select part.value, part.is_other, 0 as day, entry.block, entry.people
    from analytics._people_groups(
      _session_distribution.breakdown, _session_distribution.top_values, _session_distribution.smallest_group,
      v_blocks, v_people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people)
    where not v_by_day

    union all

    select part.value, part.is_other, part.day, part.block, part.people
    from (
      select array_agg(listed.day) as days, array_agg(listed.block) as blocks, array_agg(listed.people) as people
      from (
        select used.day, member.block, bit_or(track.person_bit(used.person_id)) & member.people as people
        from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as used
        join unnest(v_blocks, v_people) as member (block, people) on member.block = used.person_id / 4096
        group by used.day, member.block, member.people
      ) as listed
    ) as active
    cross join lateral analytics._groups_by_day(
      _session_distribution.breakdown, _session_distribution.top_values, _session_distribution.smallest_group,
      active.days, active.blocks, active.people
    ) as part
    where v_by_day
  ),

  by_value as (
    select part.value, part.is_other, by_person.bin, by_person.person_id, by_person.session_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where not v_by_day

    union all

    select part.value, part.is_other, by_person.bin, by_person.person_id, sum(by_person.session_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where v_by_day
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.bin, sum(by_value.session_count) as session_count,
      count(*) as person_count
    from by_value
    group by by_value.value, by_value.is_other, by_value.bin
  ),

  shown as (
    select
      part.value, part.is_other, listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _session_distribution.breakdown is not null
      union all
      select null, false where _session_distribution.breakdown is null
    ) as part
    cross join generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted
      on counted.value is not distinct from part.value
      and counted.is_other = part.is_other
      and counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count
      / nullif(sum(shown.session_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bin;
end;
$$;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.session_distribution`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution_exact(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
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
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, null
  );
$$;

alter function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
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
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution_exact(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_distribution.sql

--! Included analytics/learning/hour_of_week.sql
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  -- Analysts see the values of each day.
  v_by_day constant boolean := breakdown is not null and coalesce(smallest_group > 1, false);
  v_blocks int[];
  v_people bit(4096)[];
begin
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_hour_of_week.among, _hour_of_week.smallest_group) as member;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id, coalesce(_hour_of_week.zone, local.zone, 'UTC') as zone, unnest(journey.occurred_at) as at,
      unnest(journey.item_ids) as item_id
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
  ),

  -- Hours since a Monday, which are computed faster than the weekday and the hour of each event.
  by_person as materialized (
    select
      happened.person_id,
      case when v_by_day then width_bucket(happened.at, v_days) else 0 end as day,
      (floor(date_part('epoch', happened.at at time zone happened.zone - timestamp '0001-01-01') / 3600)::bigint % 168)
        ::int as week_hour,
      count(*) as event_count
    from happened
    where (v_item_id is null or happened.item_id = any (v_items))
      and (v_visible is null or happened.at <@ v_visible)
    group by 1, 2, 3
  ),

  -- Of analysts, the values of each day; otherwise the day is 0.
  part as materialized (
    select part.value, part.is_other, 0 as day, entry.block, entry.people
    from analytics._people_groups(
      _hour_of_week.breakdown, _hour_of_week.top_values, _hour_of_week.smallest_group, v_blocks, v_people
    ) as part
    cross join lateral unnest(part.blocks, part.people) as entry (block, people)
    where not v_by_day

    union all

    select part.value, part.is_other, part.day, part.block, part.people
    from (
      select array_agg(listed.day) as days, array_agg(listed.block) as blocks, array_agg(listed.people) as people
      from (
        select used.day, used.person_id / 4096 as block, bit_or(track.person_bit(used.person_id)) as people
        from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as used
        group by 1, 2
      ) as listed
    ) as active
    cross join lateral analytics._groups_by_day(
      _hour_of_week.breakdown, _hour_of_week.top_values, _hour_of_week.smallest_group, active.days,
      active.blocks::int[], active.people
    ) as part
    where v_by_day
  ),

  by_value as (
    select part.value, part.is_other, by_person.week_hour, by_person.person_id, by_person.event_count
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where not v_by_day

    union all

    select part.value, part.is_other, by_person.week_hour, by_person.person_id, sum(by_person.event_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where v_by_day
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      by_value.value, by_value.is_other, by_value.week_hour, sum(by_value.event_count) as event_count,
      count(*) as person_count
    from by_value
    group by by_value.value, by_value.is_other, by_value.week_hour
  ),

  shown as (
    select
      every.value, every.is_other, weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _hour_of_week.breakdown is not null
      union all
      select null, false where _hour_of_week.breakdown is null
    ) as every
    cross join generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted
      on counted.value is not distinct from every.value
      and counted.is_other = every.is_other
      and counted.week_hour = 24 * (weekday.number - 1) + hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.weekday, shown.hour;
end;
$$;

comment on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int) is $$
Computes the result of `analytics.hour_of_week`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week_exact(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
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
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, null
  );
$$;

alter function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
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
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week_exact(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/hour_of_week.sql

--! Included analytics/learning/_enrolled_learners.sql
create or replace function analytics._enrolled_learners(
  course_id bigint, among text, smallest_group int, with_dropped boolean
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
  v_learners bigint[];
begin
  -- Read first, so that an invalid argument is an error also when there are no enrolments.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_enrolled_learners.among, _enrolled_learners.smallest_group) as member;
  if _enrolled_learners.smallest_group is not null then
    select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
    from analytics._members(null, _enrolled_learners.smallest_group) as member;
  end if;

  v_learners := array(
    select distinct enrolment.person_id
    from track.enrolment
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = enrolment.person_id / 4096
      and get_bit(member.people, (enrolment.person_id % 4096)::int) <> 0
    where enrolment.item_id = _enrolled_learners.course_id
      and enrolment.person_id <> 0
      and (_enrolled_learners.with_dropped or enrolment.status <> 'dropped')
  );
  if _enrolled_learners.smallest_group is null or _enrolled_learners.among is null then
    return v_learners;
  end if;

  -- Sets of the learners of this course, so that no difference of two results is that of few of them.
  select array_agg(listed.block), array_agg(listed.people) into v_blocks, v_people
  from analytics._bits_of(v_learners) as listed;
  return array(
    select entry.person_id
    from unnest(v_learners) as entry (person_id)
    join analytics._among_of(
      _enrolled_learners.among, _enrolled_learners.smallest_group, v_blocks, v_people
    ) as chosen
      on chosen.block = entry.person_id / 4096
      and get_bit(chosen.people, (entry.person_id % 4096)::int) <> 0
  );
end;
$$;

comment on function analytics._enrolled_learners(bigint, text, int, boolean) is $$
Returns the people who are enrolled in a course, without excluded ones; `with_dropped`: also those who have dropped it.
`among`: people of these sets now. `smallest_group`: counted people only, and sets of the learners as analysts see them
(`analytics._among_of`); null: as they are. Errors: CF001 and CF002 as `analytics._among`.
$$;

grant execute on function analytics._enrolled_learners(bigint, text, int, boolean) to insights_reader;
--! EndIncluded analytics/learning/_enrolled_learners.sql

--! Included analytics/learning/engagement_levels.sql
create or replace function analytics._engagement_levels(
  course text, kind text, among text, breakdown text, top_values int, smallest_group int
)
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
  v_part record;
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
    v_course_id, _engagement_levels.among, _engagement_levels.smallest_group, false
  );
  for v_part in
    select *
    from analytics._learner_groups(
      _engagement_levels.breakdown, _engagement_levels.top_values, _engagement_levels.smallest_group, v_learners
    )
  loop
    return query
    with learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
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
      shown.person_count / nullif(sum(shown.person_count) over (partition by shown.section_id), 0)::float8,
      v_part.value, v_part.is_other
    from shown
    join track.item on item.item_id = shown.section_id
    order by item.external_id collate "C", shown.level;
  end loop;
end;
$$;

comment on function analytics._engagement_levels(text, text, text, text, int, int) is $$
Computes the result of `analytics.engagement_levels`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._engagement_levels(text, text, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._engagement_levels_exact(
  course text,
  kind text,
  among text,
  breakdown text,
  top_values int
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
    $1, $2, $3, $4, $5, null
  );
$$;

alter function analytics._engagement_levels_exact(text, text, text, text, int)
owner to insights_reader;

comment on function analytics._engagement_levels_exact(text, text, text, text, int) is $$
Returns the result of `analytics.engagement_levels` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._engagement_levels_exact(text, text, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._engagement_levels_shown(
  course text,
  kind text,
  among text,
  breakdown text,
  top_values int
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
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._engagement_levels_shown(text, text, text, text, int)
owner to insights_reader;

comment on function analytics._engagement_levels_shown(text, text, text, text, int) is $$
Returns the result of `analytics.engagement_levels` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._engagement_levels_shown(text, text, text, text, int)
to insights_analyst;

create or replace function analytics.engagement_levels(
  course text,
  kind text default 'page',
  among text default null,
  breakdown text default null,
  top_values int default 10
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
    'analytics._engagement_levels_exact(text, text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._engagement_levels_exact(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values
    );
  else
    return query
    select *
    from analytics._engagement_levels_shown(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values
    );
  end if;
end;
$$;

comment on function analytics.engagement_levels(text, text, text, text, int) is $$
Returns how many learners of a course have viewed none, some or all pages of each of its sections.
The levels are those of Open edX Aspects: "No pages viewed yet", "At least one page viewed" (not all), "All pages
viewed"; with `kind` = `video` or `task` the same of videos, and of problems attempted. A section is a part of the
course that contains such items; items that are in no section are in the course itself. Learners are those who are
enrolled and have not dropped the course. An item counts as viewed or attempted with any event or page view of it.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed from
these numbers. As of the last refresh of the sessions.
Errors: CF001 for another kind, CF002 for an unknown course or set (names the nearest), and a course without such
items.
$$;

grant execute on function analytics.engagement_levels(text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/engagement_levels.sql

--! Included analytics/learning/task_deadlines.sql
create or replace function analytics._task_deadlines(
  course text, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_task_deadlines.course, ''));
  v_learners constant bigint[] := analytics._enrolled_learners(
    v_course_id, _task_deadlines.among, _task_deadlines.smallest_group, false
  );
  v_started constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Task Started'
  );
  v_submitted constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name in ('Task Submitted', 'Task Completed')
  );
  v_part record;
begin
  for v_part in
    select *
    from analytics._learner_groups(
      _task_deadlines.breakdown, _task_deadlines.top_values, _task_deadlines.smallest_group, v_learners
    )
  loop
    return query
    with task as materialized (
      select item.item_id, item.external_id, item.title, item.due_at
      from track.item_ancestor as ancestor
      join track.item on item.item_id = ancestor.item_id and item.kind = 'task'
      where ancestor.ancestor_item_id = v_course_id
    ),

    learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
    ),

    happened as (
      select learner.person_id, task.item_id, journey.event_type_id = v_started as is_start, used.at
      from analytics._journeys(
        v_started || v_submitted, false, true, '0001-01-01', 'infinity', v_part.people
      ) as journey
      join learner on learner.person_id = journey.person_id
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      join task on task.item_id = used.item_id
    ),

    done as (
      select
        happened.person_id, happened.item_id,
        min(happened.at) filter (where happened.is_start) as started_at,
        min(happened.at) filter (where not happened.is_start) as submitted_at
      from happened
      group by happened.person_id, happened.item_id
    ),

    counted as (
      select
        task.external_id, task.title, task.due_at,
        count(learner.person_id) as learner_count,
        count(done.started_at) as started_count,
        count(done.submitted_at) as submitted_count,
        count(*) filter (where done.submitted_at <= coalesce(task.due_at, 'infinity')) as on_time_count,
        count(*) filter (where done.submitted_at > task.due_at) as late_count,
        count(learner.person_id) filter (where done.submitted_at is null and task.due_at <= now()) as missing_count,
        count(learner.person_id) filter (where done.submitted_at is null and coalesce(task.due_at, 'infinity') > now())
          as floating_count,
        percentile_cont(0.5) within group (order by task.due_at - done.submitted_at) as median_lead,
        count(*) filter (where done.started_at <= done.submitted_at) as worked_count,
        percentile_cont(0.5) within group (order by done.submitted_at - done.started_at)
          filter (where done.started_at <= done.submitted_at) as median_work
      from task
      left join learner on true
      left join done on done.item_id = task.item_id and done.person_id = learner.person_id
      group by task.item_id, task.external_id, task.title, task.due_at
    )

    select
      counted.external_id,
      counted.title,
      counted.due_at,
      analytics._shown(counted.learner_count, counted.learner_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.started_count, counted.started_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.on_time_count, counted.on_time_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.late_count, counted.late_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.missing_count, counted.missing_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.floating_count, counted.floating_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown_time(
        counted.median_lead, counted.submitted_count, _task_deadlines.smallest_group, counted.median_lead
      ),
      analytics._shown_time(
        counted.median_work, counted.worked_count, _task_deadlines.smallest_group, counted.median_work
      ),
      v_part.value,
      v_part.is_other
    from counted
    order by counted.due_at, counted.external_id collate "C";
  end loop;
end;
$$;

comment on function analytics._task_deadlines(text, text, text, int, int) is $$
Computes the result of `analytics.task_deadlines`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._task_deadlines(text, text, text, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._task_deadlines_exact(
  course text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.task_deadline
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
  from analytics._task_deadlines(
    $1, $2, $3, $4, null
  );
$$;

alter function analytics._task_deadlines_exact(text, text, text, int)
owner to insights_reader;

comment on function analytics._task_deadlines_exact(text, text, text, int) is $$
Returns the result of `analytics.task_deadlines` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._task_deadlines_exact(text, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._task_deadlines_shown(
  course text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.task_deadline
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
  from analytics._task_deadlines(
    $1, $2, $3, $4, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._task_deadlines_shown(text, text, text, int)
owner to insights_reader;

comment on function analytics._task_deadlines_shown(text, text, text, int) is $$
Returns the result of `analytics.task_deadlines` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._task_deadlines_shown(text, text, text, int)
to insights_analyst;

create or replace function analytics.task_deadlines(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._task_deadlines_exact(text, text, text, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._task_deadlines_exact(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values
    );
  else
    return query
    select *
    from analytics._task_deadlines_shown(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values
    );
  end if;
end;
$$;

comment on function analytics.task_deadlines(text, text, text, int) is $$
Returns how many learners of a course submitted each of its tasks, in time or late, and how long before the deadline.
The words are those of Canvas: `on_time`, `late`, `missing` (not submitted by a deadline that has passed) and
`floating` (not submitted, without a deadline or before it). A task is submitted with the first `Task Submitted` or
`Task Completed` of the learner; a task without a deadline is submitted on time. Learners are those who are enrolled
and have not dropped the course. `median_lead`: time from the submission to the deadline, negative for late ones;
`median_work`: time from the first `Task Started` to the submission, of those who started before it.
The deadlines and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF002 for an unknown course or set (names the nearest).
$$;

grant execute on function analytics.task_deadlines(text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/task_deadlines.sql

--! Included analytics/learning/_visible_learners.sql
create or replace function analytics._visible_learners(
  course text,
  among text,
  breakdown text,
  out course_id bigint,
  out learners bigint[],
  out smallest_group int
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_teaches constant boolean := not v_reads_all and not pg_has_role(v_caller, 'insights_analyst', 'usage');
begin
  -- For an instructor, only a course that she teaches now.
  course_id := case
    when v_teaches then analytics._course_id(_visible_learners.course)
    else analytics._item_id(_visible_learners.course)
  end;
  if v_teaches and (_visible_learners.among is not null or _visible_learners.breakdown is not null) then
    perform common.refuse(
      'CF005', 'instructors cannot filter by sets of people, or break down by them',
      'Leave among and breakdown out: the learners of the course are meant.'
    );
  end if;
  if not v_reads_all and not v_teaches then
    smallest_group := (select setting.smallest_group from analytics.setting);
  end if;

  if course_id is null then
    learners := analytics._people_among(_visible_learners.among, _visible_learners.smallest_group, false);
    return;
  end if;
  learners := analytics._enrolled_learners(
    _visible_learners.course_id, _visible_learners.among, _visible_learners.smallest_group, true
  );
  if v_teaches then
    learners := array(
      select learner.person_id
      from analytics._course_people(_visible_learners.course_id, _visible_learners.learners) as learner
      where learner.is_shown
    );
  end if;
end;
$$;

comment on function analytics._visible_learners(text, text, text) is $$
Returns a course, the people enrolled in it whose figures the caller may see, and the floor that applies to them.
`course` null: all people, for administrators, workers and analysts.
Called by definers: it reads the role of the caller. Administrators and workers: all but excluded people, of these sets
now (`among`), and no floor (null). Analysts: the counted ones of them, and `analytics.setting.smallest_group`.
Instructors: those of a course that they teach now, without people who have opted out of `analytics` and those whose
data is restricted, and no floor. People who have dropped the course are included.
Errors: CF001 and CF002 as `analytics._among`; CF002 for an unknown course, or one that the instructor does not teach;
CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics._visible_learners(text, text, text) to insights_reader;
--! EndIncluded analytics/learning/_visible_learners.sql

--! Included analytics/learning/_learner_groups.sql
create or replace function analytics._learner_groups(
  breakdown text, top_values int, smallest_group int, learners bigint[]
)
returns table (value text, is_other boolean, people bigint[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_blocks int[];
  v_people bit(4096)[];
begin
  if breakdown is null then
    perform common.check_count('top_values', _learner_groups.top_values, 1, 100);
    return query
    select null::text, false, _learner_groups.learners;
    return;
  end if;

  select array_agg(listed.block), array_agg(listed.people) into v_blocks, v_people
  from analytics._bits_of(_learner_groups.learners) as listed;

  return query
  select part.value, part.is_other, chosen.people
  from analytics._people_groups(
    _learner_groups.breakdown, _learner_groups.top_values, _learner_groups.smallest_group, v_blocks, v_people
  ) as part
  cross join lateral (
    select array_agg(entry.person_id) as people
    from unnest(_learner_groups.learners) as entry (person_id)
    join unnest(part.blocks, part.people) as member (block, people)
      on member.block = entry.person_id / 4096
      and get_bit(member.people, (entry.person_id % 4096)::int) <> 0
  ) as chosen
  order by part.is_other, part.value is null, part.value collate "C";
end;
$$;

comment on function analytics._learner_groups(text, int, int, bigint[]) is $$
Divides learners by the value of what a breakdown names, as of now (`analytics._people_groups`).
`breakdown` null: one group with all of them, without a value.
$$;

grant execute on function analytics._learner_groups(text, int, int, bigint[]) to insights_reader;
--! EndIncluded analytics/learning/_learner_groups.sql

--! Included analytics/learning/_active_learners.sql
create or replace function analytics._active_learners(
  course_id bigint, learners bigint[], since timestamptz, until timestamptz, zone text, smallest_group int
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _active_learners.since, _active_learners.until, coalesce(_active_learners.zone, 'UTC')
  );
begin
  if _active_learners.smallest_group is null then
    return _active_learners.learners;
  end if;
  return array(
    select entry.person_id
    from unnest(_active_learners.learners) as entry (person_id)
    join (
      select present.block, bit_or(present.people) as people
      from analytics._presence(
        0, array[v_days[1], v_days[cardinality(v_days)]], _active_learners.course_id
      ) as present
      group by present.block
    ) as active
      on active.block = entry.person_id / 4096
      and get_bit(active.people, (entry.person_id % 4096)::int) <> 0
  );
end;
$$;

comment on function analytics._active_learners(bigint, bigint[], timestamptz, timestamptz, text, int) is $$
Returns those of the people who are active in a period, or in a course in this period.
Of figures about the period, each value of a breakdown is a group of these. `smallest_group` null: all of the people.
$$;

grant execute on function analytics._active_learners(bigint, bigint[], timestamptz, timestamptz, text, int)
to insights_reader;
--! EndIncluded analytics/learning/_active_learners.sql

--! Included analytics/learning/stopping_points.sql
create or replace function analytics._stopping_points(
  course_id bigint,
  learners bigint[],
  kind text,
  inactive_days int,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.stopping_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the number of learners.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_active_since constant timestamptz :=
    date_trunc('day', now(), 'UTC') - make_interval(days => _stopping_points.inactive_days);
  v_queued constant bigint[] := coalesce(
    (track.queued_days('0001-01-01', 'infinity', _stopping_points.learners)).people, '{}'
  );
  -- By the key of the item: its item of the kind, 0 without one, -1 outside of the course.
  v_kind_item_of int[];
begin
  v_kind_item_of := array(
    select case when within.item_id is null then -1 else coalesce(part.kind_item_id, 0) end
    from generate_series(1, (select max(item.item_id) from track.item)) as every_item (item_id)
    left join track.item_ancestor as within
      on within.item_id = every_item.item_id
      and within.ancestor_item_id = _stopping_points.course_id
    left join analytics._kind_items(_stopping_points.course_id, _stopping_points.kind) as part
      on part.item_id = every_item.item_id
    order by every_item.item_id
  );
  return query
  -- Activity in the whole course decides who has stopped, also where it is not in an item of the kind. The uses of a
  -- person are combined while her journeys are read: those of all people are far more than the result.
  with learner as materialized (
    select
      enrolled.person_id, enrolled.has_completed, enrolled.has_dropped, enrolled.enrolled_at, used.ended_at,
      used.kind_items, used.last_kind_item
    from (
      select
        enrolment.person_id,
        bool_or(enrolment.status = 'completed') as has_completed,
        bool_and(enrolment.status = 'dropped') as has_dropped,
        min(enrolment.enrolled_at) as enrolled_at
      from track.enrolment
      where enrolment.item_id = _stopping_points.course_id
        and enrolment.person_id = any (_stopping_points.learners)
      group by enrolment.person_id
    ) as enrolled
    cross join lateral (
      select
        max(item_use.ended_at) as ended_at,
        array_agg(item_use.kind_item) filter (where item_use.kind_item > 0) as kind_items,
        (
          array_agg(item_use.kind_item order by item_use.ended_at desc, item_use.kind_item desc)
          filter (where item_use.kind_item > 0)
        )[1] as last_kind_item
      from (
        select v_kind_item_of[place.item_id] as kind_item, max(place.at) as ended_at
        from (
          select unnest(step.occurred_at) as at, unnest(step.item_ids) as item_id
          from track.step
          where step.person_id = enrolled.person_id
            and not step.is_automatic
            and enrolled.person_id <> all (v_queued)

          union all

          select event.occurred_at, event.item_id::int
          from track.event
          join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
          join track.source on source.source_id = event.source_id and not source.is_automatic
          where event.person_id = enrolled.person_id
            and enrolled.person_id = any (v_queued)
        ) as place
        group by 1
      ) as item_use
      where item_use.kind_item >= 0
    ) as used
  ),

  stopped as (
    select learner.person_id, learner.last_kind_item
    from learner
    where not learner.has_completed
      and (learner.has_dropped or coalesce(learner.ended_at, learner.enrolled_at) < v_active_since)
  ),

  reached as (
    select place.kind_item, count(*) as person_count
    from learner
    cross join lateral unnest(learner.kind_items) as place (kind_item)
    group by place.kind_item

    union all

    -- Before the first item (0) are all learners.
    select 0, count(*)
    from learner
  ),

  stopped_at as (
    select coalesce(stopped.last_kind_item, 0) as kind_item, count(*) as person_count
    from stopped
    group by 1
  ),

  place as (
    select distinct entry.kind_item from unnest(v_kind_item_of) as entry (kind_item) where entry.kind_item > 0

    union all

    select 0
  ),

  shown as (
    select
      place.kind_item,
      coalesce(
        analytics._shown(reached.person_count, reached.person_count, _stopping_points.smallest_group), 0
      )::bigint as reached_count,
      coalesce(
        analytics._shown(stopped_at.person_count, stopped_at.person_count, _stopping_points.smallest_group), 0
      )::bigint as stopped_count
    from place
    left join reached on reached.kind_item = place.kind_item
    left join stopped_at on stopped_at.kind_item = place.kind_item
  )

  select
    item.external_id, item.kind, item.title, shown.reached_count, shown.stopped_count,
    shown.stopped_count / nullif(shown.reached_count, 0)::float8,
    shown.stopped_count / nullif(sum(shown.stopped_count) over (), 0)::float8,
    _stopping_points.breakdown_value, _stopping_points.is_other
  from shown
  left join track.item on item.item_id = shown.kind_item
  order by shown.stopped_count desc, shown.reached_count desc, item.external_id collate "C" nulls first;
end;
$$;

comment on function analytics._stopping_points(bigint, bigint[], text, int, int, text, boolean) is $$
Computes the result of `analytics.stopping_points` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._stopping_points(
  bigint, bigint[], text, int, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.stopping_points(
  course text,
  kind text default null,
  inactive_days int default 14,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.stopping_point
language plpgsql
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
declare
  v_visible record;
  v_part record;
begin
  perform common.check_count('inactive_days', stopping_points.inactive_days, 1, 3650);
  v_visible := analytics._visible_learners(
    coalesce(stopping_points.course, ''), stopping_points.among, stopping_points.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      stopping_points.breakdown, stopping_points.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._stopping_points(
      v_visible.course_id, v_part.people, stopping_points.kind, stopping_points.inactive_days,
      v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.stopping_points(text, text, int, text, text, int) owner to insights_reader;

comment on function analytics.stopping_points(text, text, int, text, text, int) is $$
Returns where the learners of a course stopped: the items after which they did nothing more in it.
A learner has stopped when none of her enrolments is completed and she has dropped the course, or has not been active in
it today and on the `inactive_days` days (UTC) before; a learner who was never active counts from her enrolment on. She
stopped at the item of her last event in the course, and reached each item of which she has an event; automatic events,
such as grades, are left out. With `kind` (`page`, `video`, `task`, `module`), it is the last item of this kind: each
event counts for the nearest item of the kind that contains its item. The row without item holds the learners who
stopped before any such item. All items of the course have a row, in the order of the learners who stopped there.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers. People count as soon as their events are stored.
Errors: CF001 for `inactive_days` that are not from 1 to 3650; CF002 for an unknown course or set (names the nearest), a
course that the instructor does not teach, and a kind of which it contains no items; CF005 for `among` or `breakdown`
given by an instructor.
$$;

grant execute on function analytics.stopping_points(text, text, int, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/stopping_points.sql

--! Included analytics/learning/_active_hours.sql
create or replace function analytics._active_hours(
  course_id bigint,
  people bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  all_people bigint[],
  smallest_group int
)
returns table (person_id bigint, active_hours bigint[], active_days bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = course_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _active_hours.since, _active_hours.until, coalesce(_active_hours.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible tstzmultirange;
  v_queued record;
begin
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, _active_hours.course_id, null, v_bounds, _active_hours.smallest_group
    );
  end if;
  -- Of a part of the people, the days on which these and the others are groups, or there are no others.
  if cardinality(_active_hours.people) < cardinality(_active_hours.all_people) then
    v_visible := v_visible * (
      select coalesce(range_agg(tstzrange(v_days[active.day], v_days[active.day + 1])), '{}')
      from (
        select
          present.bucket as day, sum(bit_count(present.people & everyone.people)) as all_count,
          sum(bit_count(present.people & coalesce(chosen.people, b'0'::bit(4096)))) as person_count
        from analytics._presence(0, v_days, _active_hours.course_id) as present
        join analytics._bits_of(_active_hours.all_people) as everyone on everyone.block = present.block
        left join analytics._bits_of(_active_hours.people) as chosen on chosen.block = present.block
        group by present.bucket
      ) as active
      where active.person_count = active.all_count
        or least(active.person_count, active.all_count - active.person_count) >= _active_hours.smallest_group
    );
  end if;
  v_queued := track.queued_days('0001-01-01', 'infinity', _active_hours.people);
  return query
  -- Zones that PostgreSQL does not know are ignored.
  with local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(_active_hours.people, 'timezone') as trait
      where _active_hours.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  -- Of the given people and the period only: most journeys are those of others, or longer.
  used as (
    select sliced.person_id, unnest(sliced.occurred_at) as at, unnest(sliced.item_ids)::bigint as item_id
    from (
      select
        step.person_id,
        step.occurred_at[slice.before + 1:slice.until] as occurred_at,
        step.item_ids[slice.before + 1:slice.until] as item_ids
      from track.step
      cross join lateral (
        select
          width_bucket(v_bounds[1] - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(v_bounds[2] - interval '1 microsecond', step.occurred_at) as until
      ) as slice
      where step.person_id = any (_active_hours.people)
        and step.person_id <> all (coalesce(v_queued.people, '{}'))
        and not step.is_automatic
        and slice.before < slice.until
    ) as sliced

    union all

    select event.person_id, event.occurred_at, event.item_id
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
      and event.occurred_at >= v_bounds[1]
      and event.occurred_at < v_bounds[2]
  ),

  -- Local hours consist of quarters of an hour (in each zone, since 1972), of which there are far fewer than events.
  quarter as (
    select distinct
      used.person_id, date_bin('15 minutes', used.at, '2000-01-01 00:00Z') as quarter_start
    from used
    where (_active_hours.course_id is null or used.item_id = any (v_items))
      and (v_visible is null or used.at <@ v_visible)
  ),

  active as (
    select distinct
      quarter.person_id,
      date_trunc(
        'hour', quarter.quarter_start at time zone coalesce(_active_hours.zone, local.zone, 'UTC')
      ) as local_hour
    from quarter
    left join local on local.person_id = quarter.person_id
  ),

  by_hour as (
    select active.person_id, extract(hour from active.local_hour)::int as hour, count(*) as hour_count
    from active
    group by 1, 2
  ),

  day as (
    select active.person_id, count(distinct active.local_hour::date) as day_count
    from active
    group by active.person_id
  )

  select
    day.person_id, array_agg(coalesce(by_hour.hour_count, 0) order by hour.number), day.day_count
  from day
  cross join generate_series(0, 23) as hour (number)
  left join by_hour on by_hour.person_id = day.person_id and by_hour.hour = hour.number
  group by day.person_id, day.day_count;
end;
$$;

comment on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int
) is $$
Returns the active hours of people by hour of the day, from 0 to 23, and the number of their active days.
An active hour is an hour of a day with an event that is not automatic, of any item or of a course, in `zone`; null: in
the zone of each person, as in `analytics.hour_of_week`. People without such events have no row. `smallest_group`:
events of the periods that analysts see only (`analytics._visible_periods`); null: all. Where the people are not
`all_people`, these are days on which both they and the others are groups.
Errors: CF001 for a period, CF002 for an unknown zone, CF008 for more than 10,000 days.
$$;

grant execute on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int
)
to insights_reader;
--! EndIncluded analytics/learning/_active_hours.sql

--! Included analytics/learning/productivity_cycle.sql
create or replace function analytics._productivity_cycle(
  course_id bigint,
  learners bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  all_learners bigint[],
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.cycle_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select place.hour, sum(place.hour_count)::bigint as hour_count, count(*) as person_count
    from analytics._active_hours(
      _productivity_cycle.course_id, _productivity_cycle.learners, _productivity_cycle.since, _productivity_cycle.until,
      _productivity_cycle.zone, _productivity_cycle.all_learners, _productivity_cycle.smallest_group
    ) as person
    cross join lateral unnest(person.active_hours) with ordinality as place (hour_count, hour)
    where place.hour_count > 0
    group by place.hour
  ),

  shown as (
    select
      hour.number as hour,
      coalesce(
        analytics._shown(counted.hour_count::float8, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as hour_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as person_count
    from generate_series(0, 23) as hour (number)
    left join counted on counted.hour = hour.number + 1
  )

  select
    shown.hour, shown.hour_count, shown.person_count,
    shown.hour_count / nullif(sum(shown.hour_count) over (), 0)::float8,
    _productivity_cycle.breakdown_value, _productivity_cycle.is_other
  from shown
  order by shown.hour;
end;
$$;

comment on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
) is $$
Computes the result of `analytics.productivity_cycle` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.productivity_cycle(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.cycle_hour
language plpgsql
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
declare
  v_visible record;
  v_part record;
  v_everyone bigint[];
begin
  v_visible := analytics._visible_learners(
    productivity_cycle.course, productivity_cycle.among, productivity_cycle.breakdown
  );
  if v_visible.smallest_group is not null then
    v_everyone := (
      select everyone.learners from analytics._visible_learners(productivity_cycle.course, null, null) as everyone
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      productivity_cycle.breakdown, productivity_cycle.top_values, v_visible.smallest_group,
      case
        when productivity_cycle.breakdown is null then v_visible.learners
        else analytics._active_learners(
          v_visible.course_id, v_visible.learners, productivity_cycle.since, productivity_cycle.until,
          productivity_cycle.zone, v_visible.smallest_group
        )
      end
    )
  loop
    return query
    select *
    from analytics._productivity_cycle(
      v_visible.course_id, v_part.people, productivity_cycle.since, productivity_cycle.until,
      productivity_cycle.zone, v_everyone, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.productivity_cycle(
  text, timestamptz, timestamptz, text, text, text, int
) owner to insights_reader;

comment on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text, text, int) is $$
Returns at which hours of the day people are active: how often, and how many of them.
An active hour is an hour of a day with an event of the person that is not automatic: of any item, or in `course` by the
people who are enrolled in it. It counts once, whatever the number of events. Hours are those of `zone`; null: of the
zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`: people of
these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` or `breakdown` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/productivity_cycle.sql

--! Included analytics/learning/chronotypes.sql
create or replace function analytics._chronotypes(
  course_id bigint,
  learners bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  all_learners bigint[],
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.chronotype
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select found.chronotype, count(*) as person_count
    from analytics._active_hours(
      _chronotypes.course_id, _chronotypes.learners, _chronotypes.since, _chronotypes.until,
      _chronotypes.zone, _chronotypes.all_learners, _chronotypes.smallest_group
    ) as person
    cross join lateral analytics._chronotype(person.active_hours, person.active_days) as found
    group by found.chronotype
  ),

  shown as (
    select
      entry.chronotype, entry.place,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _chronotypes.smallest_group), 0
      )::bigint as person_count
    from unnest(
      '{definitely_morning,moderately_morning,intermediate,moderately_evening,definitely_evening,undetermined}'::text[]
    ) with ordinality as entry (chronotype, place)
    left join counted on counted.chronotype = entry.chronotype
  )

  select
    shown.chronotype, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    _chronotypes.breakdown_value, _chronotypes.is_other
  from shown
  order by shown.place;
end;
$$;

comment on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
) is $$
Computes the result of `analytics.chronotypes` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.chronotypes(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.chronotype
language plpgsql
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
declare
  v_visible record;
  v_part record;
  v_everyone bigint[];
begin
  v_visible := analytics._visible_learners(chronotypes.course, chronotypes.among, chronotypes.breakdown);
  if v_visible.smallest_group is not null then
    v_everyone := (
      select everyone.learners from analytics._visible_learners(chronotypes.course, null, null) as everyone
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      chronotypes.breakdown, chronotypes.top_values, v_visible.smallest_group,
      case
        when chronotypes.breakdown is null then v_visible.learners
        else analytics._active_learners(
          v_visible.course_id, v_visible.learners, chronotypes.since, chronotypes.until, chronotypes.zone,
          v_visible.smallest_group
        )
      end
    )
  loop
    return query
    select *
    from analytics._chronotypes(
      v_visible.course_id, v_part.people, chronotypes.since, chronotypes.until, chronotypes.zone,
      v_everyone, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int) owner to insights_reader;

comment on function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int) is $$
Returns the chronotypes of people: how many learn in the morning, in the evening, or at no particular time.
The types are those of `analytics.my_chronotype`, from the active hours of each person: of any item, or in `course` for
the people who are enrolled in it. People without activity in the period are left out. Hours are those of `zone`; null:
of the zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`:
people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` or `breakdown` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/chronotypes.sql

--! Included analytics/learning/item_analysis.sql
create or replace function analytics._item_analysis(
  learners bigint[],
  items bigint[],
  measure text,
  attempt text,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.analysed_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
begin
  return query
  with response as materialized (
    select
      taken.person_id, taken.item_id, count(*) as attempt_count,
      case _item_analysis.attempt
        when 'first' then (array_agg(taken.score order by taken.attempt))[1]
        when 'last' then (array_agg(taken.score order by taken.attempt desc))[1]
        else max(taken.score)
      end as score
    from analytics._attempts(_item_analysis.learners, _item_analysis.items, _item_analysis.measure) as taken
    group by taken.person_id, taken.item_id
  ),

  person as materialized (
    select
      totalled.person_id, totalled.score, totalled.item_count,
      rank() over (order by totalled.mean desc) - 1 as above,
      rank() over (order by totalled.mean) - 1 as below,
      count(*) over (partition by totalled.mean) as tied,
      0.27 * count(*) over () as group_size
    from (
      select
        response.person_id, sum(response.score) as score, count(*) as item_count, avg(response.score) as mean
      from response
      group by response.person_id
    ) as totalled
  ),

  -- Of people with the same total at the edge of a group, each counts in part: the order of equals is not a result.
  placed as (
    select
      person.person_id, person.score, person.item_count,
      least(greatest((person.group_size - person.above) / person.tied, 0), 1) as upper_weight,
      least(greatest((person.group_size - person.below) / person.tied, 0), 1) as lower_weight
    from person
  ),

  analysed as (
    select
      response.item_id,
      count(*) as person_count,
      sum(response.attempt_count)::float8 as attempt_count,
      avg(response.score)::float8 as difficulty,
      corr(
        response.score::float8, ((placed.score - response.score) / nullif(placed.item_count - 1, 0))::float8
      ) as discrimination,
      (
        sum(placed.upper_weight * response.score) / nullif(sum(placed.upper_weight), 0)
        - sum(placed.lower_weight * response.score) / nullif(sum(placed.lower_weight), 0)
      )::float8 as discrimination_index
    from response
    join placed on placed.person_id = response.person_id
    group by response.item_id
  ),

  shown as (
    select
      item.external_id, item.kind, item.title,
      analytics._shown(analysed.person_count, analysed.person_count, _item_analysis.smallest_group)::bigint
        as person_count,
      analytics._shown(
        analysed.attempt_count, analysed.person_count, _item_analysis.smallest_group
      )::bigint as attempt_count,
      -- As precise as the mean of a figure of 1 per person.
      analytics._shown_mean(analysed.difficulty, analysed.person_count, _item_analysis.smallest_group, 1)
        as difficulty,
      analytics._shown_mean(analysed.discrimination, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination,
      analytics._shown_mean(analysed.discrimination_index, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination_index
    from analysed
    join track.item on item.item_id = analysed.item_id
  )

  select shown.*, _item_analysis.breakdown_value, _item_analysis.is_other
  from shown
  where shown.person_count > 0
  order by shown.discrimination nulls last, shown.difficulty nulls last, shown.external_id collate "C";
end;
$$;

comment on function analytics._item_analysis(bigint[], bigint[], text, text, int, text, boolean) is $$
Computes the result of `analytics.item_analysis` for people and items, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._item_analysis(
  bigint[], bigint[], text, text, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.item_analysis(
  course text,
  item text default null,
  measure text default 'answers',
  attempt text default 'first',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.analysed_item
language plpgsql
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
declare
  v_visible record;
  v_part record;
  v_items bigint[];
begin
  if item_analysis.measure is null or item_analysis.measure not in ('answers', 'scores') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(item_analysis.measure, 100)), 'Use answers or scores.'
    );
  end if;
  if item_analysis.attempt is null or item_analysis.attempt not in ('first', 'last', 'best') then
    perform common.refuse(
      'CF001', format('attempt is "%s"', left(item_analysis.attempt, 100)), 'Use first, last or best.'
    );
  end if;
  v_visible := analytics._visible_learners(
    coalesce(item_analysis.course, ''), item_analysis.among, item_analysis.breakdown
  );
  v_items := analytics._items_within(v_visible.course_id, item_analysis.item);
  for v_part in
    select *
    from analytics._learner_groups(
      item_analysis.breakdown, item_analysis.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._item_analysis(
      v_part.people, v_items, item_analysis.measure, item_analysis.attempt, v_visible.smallest_group,
      v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.item_analysis(text, text, text, text, text, text, int) owner to insights_reader;

comment on function analytics.item_analysis(text, text, text, text, text, text, int) is $$
Returns how difficult the questions or tasks of a course are, and how well they separate good from weak learners.
This is classical item analysis (R. L. Ebel and D. A. Frisbie, Essentials of Educational Measurement, 1991). `measure`:
`answers` analyses `Question Answered` (`correct`), `scores` tasks: the score of a `Task Submitted`, or the latest one
that `Task Completed`, `Task Failed`, `Task Graded` or `Grade Changed` gave until the next submission. `item`: those
within an item of the course, such as one quiz, of which the total is meant then. `attempt`: the `first`, `last` or
`best` score of each learner. `difficulty` is the mean score, for answers the proportion correct. `discrimination` is
the correlation with the mean score on the other items (corrected item-total correlation, for answers the point-biserial
one); `discrimination_index` is the mean score of the 27 % of learners with the highest mean over all items, less that
of the lowest 27 % (T. L. Kelley 1939), in which learners with equal means at the edge of a group count in part. Items
that a learner has not answered are left out of her mean. Learners are people who are enrolled in the course, also those
who have dropped it; `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: items with fewer people
than `analytics.setting.smallest_group` are left out, means are rounded to that number per person, and null for fewer
than 4.5 times as many people.
Errors: CF001 for another measure or attempt; CF002 for an unknown course, item or set (names the nearest), an item
that is not in the course, and a course that the instructor does not teach; CF005 for `among` or `breakdown`
given by an instructor.
$$;

grant execute on function analytics.item_analysis(text, text, text, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/item_analysis.sql

--! Included analytics/learning/course_progress.sql
create or replace function analytics._course_progress(
  course_id bigint,
  learners bigint[],
  structure text,
  kind text,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.progress_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- Results of functions have no statistics.
set enable_nestloop to off
as $$
declare
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_times timestamptz[];
begin
  -- The latest run of each learner: what she did before it does not count, nor after its end for the structure of then.
  select
    array_agg(run.person_id), array_agg(run.enrolled_at),
    array_agg(case _course_progress.structure when 'then' then coalesce(run.ended_at, now()) else now() end)
  into v_people, v_since, v_times
  from (
    select distinct on (enrolment.person_id) enrolment.person_id, enrolment.enrolled_at, enrolment.ended_at
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (_course_progress.learners)
    order by enrolment.person_id, enrolment.enrolled_at desc, enrolment.ended_at desc nulls first
  ) as run;
  v_until := case _course_progress.structure when 'then' then v_times end;

  return query
  with learner as materialized (
    select entry.person_id, entry.counted_at
    from unnest(v_people, v_times) as entry (person_id, counted_at)
  ),

  part as materialized (
    select
      within.part_item_id as item_id, item.available_from, item.available_until,
      -- Unless the application states it, an item exists from when it was first seen or used.
      case
        when item.available_from is null then least(
          item.created_at,
          (select min(item_month.month) from track.item_month where item_month.item_id = item.item_id)::timestamp
            at time zone 'UTC'
        )
      end as created_at,
      within.started_at, within.ended_at
    from track.item_periods(_course_progress.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when _course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = _course_progress.kind
    end
  ),

  -- Learners of one time have one structure.
  moment as materialized (
    select distinct learner.counted_at from learner
  ),

  standing as materialized (
    select distinct moment.counted_at, part.item_id
    from moment
    join part
      on part.started_at <= moment.counted_at
      and part.ended_at > moment.counted_at
      and coalesce(part.available_from, part.created_at) <= moment.counted_at
      and coalesce(part.available_until, 'infinity') > moment.counted_at
  ),

  size as (
    select standing.counted_at, count(*) as item_count
    from standing
    group by standing.counted_at
  ),

  -- First with the time of the learner: an item alone has a row per time in `standing`.
  timed as materialized (
    select learner.person_id, learner.counted_at, used.item_id
    from analytics._item_uses(
      v_people, array(select distinct part.item_id from part), v_since, v_until
    ) as used
    join learner on learner.person_id = used.person_id
  ),

  used as (
    select timed.person_id, count(*) as item_count
    from timed
    join standing on standing.counted_at = timed.counted_at and standing.item_id = timed.item_id
    group by timed.person_id
  ),

  completed as (
    select distinct enrolment.person_id
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (v_people)
      and enrolment.status = 'completed'
  ),

  counted as (
    select
      case
        when coalesce(used.item_count, 0) = 0 then 1
        when used.item_count = size.item_count then 6
        else 1 + ceil(4.0 * used.item_count / size.item_count)::int
      end as level,
      count(*) as person_count,
      count(completed.person_id) as completed_count
    from learner
    join size on size.counted_at = learner.counted_at
    left join used on used.person_id = learner.person_id
    left join completed on completed.person_id = learner.person_id
    group by 1
  ),

  shown as (
    select
      level.number, level.lower_bound, level.upper_bound,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_progress.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.completed_count, counted.completed_count, _course_progress.smallest_group), 0
      )::bigint as completed_count
    from (
      values (1, 0, 0), (2, 0, 0.25), (3, 0.25, 0.5), (4, 0.5, 0.75), (5, 0.75, 1), (6, 1, 1)
    ) as level (number, lower_bound, upper_bound)
    left join counted on counted.level = level.number
  )

  select
    shown.lower_bound::float8, shown.upper_bound::float8, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    shown.completed_count,
    _course_progress.breakdown_value, _course_progress.is_other
  from shown
  order by shown.number;
end;
$$;

comment on function analytics._course_progress(bigint, bigint[], text, text, int, text, boolean) is $$
Computes the result of `analytics.course_progress` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_progress(
  bigint, bigint[], text, text, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_progress(
  course text,
  structure text default 'then',
  kind text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.progress_level
language plpgsql
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
declare
  v_visible record;
  v_part record;
begin
  if course_progress.structure is null or course_progress.structure not in ('then', 'now') then
    perform common.refuse(
      'CF001', format('structure is "%s"', left(course_progress.structure, 100)), 'Use then or now.'
    );
  end if;
  v_visible := analytics._visible_learners(
    coalesce(course_progress.course, ''), course_progress.among, course_progress.breakdown
  );
  if not exists (
    select
    from track.item_periods(v_visible.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = course_progress.kind
    end
  ) then
    perform common.refuse(
      'CF002',
      format(
        'course "%s" contains no %s',
        left(course_progress.course, 100), coalesce(left(course_progress.kind, 100), 'items')
      ),
      'Give a kind that the course contains; send its items, or call track.sync_items, when it has no structure yet.'
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      course_progress.breakdown, course_progress.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_progress(
      v_visible.course_id, v_part.people, course_progress.structure, course_progress.kind,
      v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_progress(text, text, text, text, text, int) owner to insights_reader;

comment on function analytics.course_progress(text, text, text, text, text, int) is $$
Returns how far the learners of a course have come: how many have used none, some or all of its items.
Progress is the share of the items that the learner has used since the beginning of her latest enrolment, so that a new
run, or a reset with a new `enrolled_at`, begins at 0; automatic events are left out. `structure` = `then`: of the items
that the course had when her enrolment ended, now for an active one, and uses until then: a page that was moved or added
afterwards takes nothing from her. `now`: of the items that it has now, and all uses since the enrolment. `kind`: items
of this kind, such as `page`; null: all but courses and modules. An item is in the course from its `available_from`, or
else from when it was first seen or used (from the beginning of that month), until its `available_until`, and while the
course contained it (`track.item_periods`). Learners of a course without items at that time are left out.
`completed_count` is the number of them with a completed enrolment. Learners are all who are or were enrolled; `among`:
people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 for another structure; CF002 for an unknown course or set (names the nearest), a course that the
instructor does not teach, and one without such items; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_progress(text, text, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_progress.sql

--! Included analytics/learning/course_terms.sql
create or replace function analytics._course_terms(
  course_id bigint, learners bigint[], smallest_group int, breakdown_value text, is_other boolean
)
returns setof analytics.course_term
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with run as materialized (
    select run.*, term.annotation_id, term.title, term.starts_at, term.ends_at
    from analytics._course_runs(_course_terms.course_id, _course_terms.learners) as run
    left join lateral (
      select annotation.annotation_id, annotation.title, annotation.starts_at, annotation.ends_at
      from analytics.annotation
      where annotation.kind = 'term'
        and run.enrolled_at >= annotation.starts_at
        and run.enrolled_at < coalesce(annotation.ends_at, 'infinity')
      order by annotation.starts_at desc, annotation.annotation_id desc
      limit 1
    ) as term on true
  ),

  counted as (
    select
      run.title, run.starts_at, run.ends_at,
      count(*) as learner_count,
      count(*) filter (where run.status = 'completed') as completed_count,
      count(*) filter (where run.status = 'dropped') as dropped_count,
      percentile_cont(0.5) within group (order by run.ended_at - run.enrolled_at)
        filter (where run.status = 'completed') as median_time,
      count(run.ended_at) filter (where run.status = 'completed') as timed_count,
      count(run.grade) as graded_count,
      avg(run.grade) as mean_grade
    from run
    group by run.annotation_id, run.title, run.starts_at, run.ends_at
  ),

  shown as (
    select
      counted.title, counted.starts_at, counted.ends_at,
      analytics._shown(counted.learner_count, counted.learner_count, _course_terms.smallest_group)::bigint
        as learner_count,
      analytics._shown(counted.completed_count, counted.completed_count, _course_terms.smallest_group)::bigint
        as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, _course_terms.smallest_group)::bigint
        as dropped_count,
      analytics._shown_time(
        counted.median_time, counted.timed_count, _course_terms.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown(counted.graded_count, counted.graded_count, _course_terms.smallest_group)::bigint
        as graded_count,
      analytics._shown_mean(counted.mean_grade, counted.graded_count, _course_terms.smallest_group) as mean_grade
    from counted
  )

  select
    shown.title, shown.starts_at, shown.ends_at, shown.learner_count, shown.completed_count, shown.dropped_count,
    shown.completed_count / nullif(shown.learner_count, 0)::float8, shown.median_time, shown.graded_count,
    shown.mean_grade,
    _course_terms.breakdown_value, _course_terms.is_other
  from shown
  where shown.learner_count > 0
  order by shown.starts_at nulls last, shown.ends_at, shown.title collate "C";
end;
$$;

comment on function analytics._course_terms(bigint, bigint[], int, text, boolean) is $$
Computes the result of `analytics.course_terms` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_terms(bigint, bigint[], int, text, boolean) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_terms(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.course_term
language plpgsql
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
declare
  v_visible record;
  v_part record;
begin
  v_visible := analytics._visible_learners(
    coalesce(course_terms.course, ''), course_terms.among, course_terms.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      course_terms.breakdown, course_terms.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_terms(
      v_visible.course_id, v_part.people, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_terms(text, text, text, int) owner to insights_reader;

comment on function analytics.course_terms(text, text, text, int) is $$
Returns the learners of a course by the term in which they enrolled, with completions, times and grades.
Terms are the annotations of the kind `term` (`analytics.annotate`). A learner is in the one in which her latest
enrolment began, of several in that which began last; those of no term have a row without title. A term without learners
has no row. The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task
Graded` and `Grade Changed` whose item is the course. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers; the mean grade is null for fewer than 1.5
times as many graded learners, and the median time for fewer than 4.5 times as many.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_terms(text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_terms.sql

--! Included analytics/learning/course_grades.sql
create or replace function analytics._course_grades(
  course_id bigint, learners bigint[], smallest_group int, breakdown_value text, is_other boolean
)
returns setof analytics.grade_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    -- A grade of 1 is in the highest bucket. Null stays null, which "least" would ignore.
    select
      case when run.grade is not null then least(floor(run.grade * 10 + 1e-9)::int, 9) end as bucket,
      count(*) as person_count
    from analytics._course_runs(_course_grades.course_id, _course_grades.learners) as run
    group by 1
  ),

  shown as (
    select
      bucket.number,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_grades.smallest_group), 0
      )::bigint as person_count
    from (select nullif(entry.number, -1) as number from generate_series(-1, 9) as entry (number)) as bucket
    left join counted on counted.bucket is not distinct from bucket.number
  )

  select
    shown.number / 10.0::float8, case shown.number when 9 then 1 else (shown.number + 1) / 10.0::float8 end,
    shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    _course_grades.breakdown_value, _course_grades.is_other
  from shown
  order by shown.number desc nulls last;
end;
$$;

comment on function analytics._course_grades(bigint, bigint[], int, text, boolean) is $$
Computes the result of `analytics.course_grades` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_grades(bigint, bigint[], int, text, boolean) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_grades(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.grade_bucket
language plpgsql
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
declare
  v_visible record;
  v_part record;
begin
  v_visible := analytics._visible_learners(
    coalesce(course_grades.course, ''), course_grades.among, course_grades.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      course_grades.breakdown, course_grades.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_grades(
      v_visible.course_id, v_part.people, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_grades(text, text, text, int) owner to insights_reader;

comment on function analytics.course_grades(text, text, text, int) is $$
Returns the distribution of the grades of a course, by tenths as in Open edX Aspects, with the learners without a grade.
The grade is the latest score of the course itself since the enrolment: of `Course Completed`, or of `Task Graded` and
`Grade Changed` whose item is the course. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 and CF002 for an invalid or unknown set; CF002 for an unknown course (names the nearest), and one that the
instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_grades(text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/course_grades.sql

--! Included analytics/interventions/record_intervention.sql
/* A definer: it writes analytics.intervention, which no role may write, for instructors in their own courses only. */
create or replace function analytics.record_intervention(
  course text,
  person text,
  action text,
  note text default null,
  happened_at timestamptz default now()
)
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_course_id constant bigint := analytics._course_id(record_intervention.course);
  v_person_id constant bigint := analytics._course_learner(v_course_id, record_intervention.person);
  v_identity_id bigint;
  v_risk float8;
  v_intervention_id bigint;
begin
  if v_person_id is null
    or not exists (
      select 1
      from track.enrolment
      where enrolment.person_id = v_person_id
        and enrolment.item_id = v_course_id
    )
    and not exists (
      select 1
      from track.event
      join track.item_ancestor as ancestor
        on ancestor.item_id = event.item_id
        and ancestor.ancestor_item_id = v_course_id
      where event.person_id = v_person_id
    )
  then
    -- The same error for an unknown person, and for one whose activity the course does not show.
    perform common.refuse(
      'CF002',
      format('the course has no learner "%s"', coalesce(left(record_intervention.person, 100), 'null')),
      'Give the userId of a learner whom analytics.course_learners returns with activity.'
    );
  end if;
  if record_intervention.action is null
    or record_intervention.action not in ('message', 'call', 'meeting', 'extension', 'tutoring', 'other')
  then
    perform common.refuse(
      'CF001',
      format('action is "%s"', coalesce(left(record_intervention.action, 100), 'null')),
      'Use message, call, meeting, extension, tutoring or other.'
    );
  end if;
  if length(record_intervention.note) > 2000 then
    perform common.refuse(
      'CF008', format('the note has %s characters', length(record_intervention.note)), 'It can have at most 2,000.'
    );
  end if;
  if record_intervention.happened_at is null
    or record_intervention.happened_at > now() + interval '1 minute'
    or record_intervention.happened_at < '1990-01-01'
  then
    perform common.refuse(
      'CF001',
      format('happened_at is %s', coalesce(record_intervention.happened_at::text, 'null')),
      'Give a time that has passed.'
    );
  end if;
  -- Held until the end of the transaction: an erasure that runs at the same time waits, and deletes the row, too.
  select identity.identity_id into v_identity_id
  from track.identity
  where identity.external_id = record_intervention.person
    and identity.kind = 'user';
  perform track.lock_identities(array[v_identity_id]);

  if exists (
    select
    from analytics.prediction_target as entry
    where entry.target = 'dropout'
      and ml.deployed_version(entry.project) is not null
  ) then
    v_risk := (
      select scored.score
      from analytics._learner_scores('dropout', now(), v_course_id) as scored
      where scored.person_id = v_person_id
    );
  end if;
  insert into analytics.intervention (identity_id, course_id, action, note, happened_at, risk, created_by)
  values (
    v_identity_id, v_course_id, record_intervention.action, nullif(btrim(record_intervention.note), ''),
    record_intervention.happened_at, v_risk, common.author()
  )
  returning intervention.intervention_id into v_intervention_id;
  return v_intervention_id;
end;
$$;

comment on function analytics.record_intervention(text, text, text, text, timestamptz) is $$
Stores a note of what a teacher did about a learner at risk, and returns its key.
`action`: `message`, `call`, `meeting`, `extension`, `tutoring` or `other`; `note`: a text of up to 2,000 characters;
`happened_at`: the time of the action. The predicted probability of dropping out of now is stored with it, when there is
one. Instructors write notes about learners of courses that they teach now, administrators and workers about all. The
learner can read them (`privacy.export_me`): write what she may read. They are deleted when she is erased.
`analytics.interventions` returns them, `analytics.intervention_outcomes` the outcome.
Errors: CF001 for an invalid action or time; CF002 for an unknown course, one that the instructor does not teach, and a
person who does not learn in the course or has opted out of the purpose `analytics`; CF008 for a note that is too long.
$$;

grant execute on function analytics.record_intervention(text, text, text, text, timestamptz)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/record_intervention.sql

--! Included analytics/interventions/intervention_outcomes.sql
create or replace function analytics._intervention_outcomes(
  course_id bigint, learners bigint[], days int, smallest_group int, breakdown_value text, is_other boolean
)
returns setof analytics.intervention_outcome
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _intervention_outcomes.course_id
  );
begin
  return query
  -- The first action of each kind about a learner: what she did after a second one may be due to the first.
  with noted as materialized (
    select distinct on (entry.person_id, entry.action)
      entry.person_id, entry.action, entry.happened_at, entry.risk
    from analytics._interventions(_intervention_outcomes.course_id) as entry
    where entry.person_id = any (_intervention_outcomes.learners)
    order by entry.person_id, entry.action, entry.happened_at, entry.intervention_id
  ),

  run as (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped
    from track.enrolment
    where enrolment.item_id = _intervention_outcomes.course_id
      and enrolment.person_id = any (_intervention_outcomes.learners)
    group by enrolment.person_id
  ),

  resumed as (
    select distinct noted.person_id, noted.action
    from noted
    join track.event
      on event.person_id = noted.person_id
      and event.occurred_at > noted.happened_at
      and event.occurred_at <= noted.happened_at + make_interval(days => _intervention_outcomes.days)
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.item_id = any (v_items)
  ),

  followed as (
    select
      noted.action, noted.risk, run.has_completed, run.has_dropped,
      resumed.person_id is not null as has_resumed,
      noted.happened_at + make_interval(days => _intervention_outcomes.days) > now() as is_open
    from noted
    join run on run.person_id = noted.person_id
    left join resumed on resumed.person_id = noted.person_id and resumed.action = noted.action
  ),

  counted as (
    select
      followed.action,
      count(*) as person_count,
      count(*) filter (where followed.has_resumed) as resumed_count,
      count(*) filter (where not followed.has_resumed and not followed.is_open) as idle_count,
      count(*) filter (where not followed.has_resumed and followed.is_open) as open_count,
      count(*) filter (where followed.has_completed) as completed_count,
      count(*) filter (where followed.has_dropped) as dropped_count,
      count(followed.risk) as risk_count,
      avg(followed.risk) as mean_risk
    from followed
    group by followed.action
  ),

  shown as (
    select
      counted.action,
      analytics._shown(counted.person_count, counted.person_count, smallest_group)::bigint as person_count,
      analytics._shown(counted.resumed_count, counted.resumed_count, smallest_group)::bigint as resumed_count,
      analytics._shown(counted.idle_count, counted.idle_count, smallest_group)::bigint as idle_count,
      analytics._shown(counted.open_count, counted.open_count, smallest_group)::bigint as open_count,
      analytics._shown(counted.completed_count, counted.completed_count, smallest_group)::bigint as completed_count,
      analytics._shown(counted.dropped_count, counted.dropped_count, smallest_group)::bigint as dropped_count,
      analytics._shown_mean(counted.mean_risk, counted.risk_count, smallest_group) as mean_risk
    from counted
  )

  select
    shown.action, shown.person_count, shown.resumed_count, shown.idle_count, shown.open_count, shown.completed_count,
    shown.dropped_count, shown.resumed_count / nullif(shown.resumed_count + shown.idle_count, 0)::float8,
    shown.mean_risk,
    _intervention_outcomes.breakdown_value, _intervention_outcomes.is_other
  from shown
  where shown.person_count > 0
  order by shown.person_count desc, shown.action collate "C";
end;
$$;

comment on function analytics._intervention_outcomes(bigint, bigint[], int, int, text, boolean) is $$
Computes the result of `analytics.intervention_outcomes` for learners, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._intervention_outcomes(
  bigint, bigint[], int, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.intervention_outcomes(
  course text,
  days int default 14,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.intervention_outcome
language plpgsql
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
declare
  v_visible record;
  v_part record;
begin
  perform common.check_count('days', intervention_outcomes.days, 1, 365);
  v_visible := analytics._visible_learners(
    coalesce(intervention_outcomes.course, ''), intervention_outcomes.among, intervention_outcomes.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      intervention_outcomes.breakdown, intervention_outcomes.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._intervention_outcomes(
      v_visible.course_id, v_part.people, intervention_outcomes.days, v_visible.smallest_group, v_part.value,
      v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.intervention_outcomes(text, int, text, text, int) owner to insights_reader;

comment on function analytics.intervention_outcomes(text, int, text, text, int) is $$
Returns the outcome of what teachers did about the learners of a course, by kind of action.
A learner has resumed when she was active in the course within `days` after the first action of the kind. This does not
show what the action caused: teachers choose whom they help, and many learners resume by themselves. An experiment does
(`experiment.assign`). Learners are people who are or were enrolled, without those who have opted out of the
purpose `analytics`; `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now. Analysts see
figures of counted people: actions about fewer people than `analytics.setting.smallest_group` are left out, a number of
fewer people reads as 0, others are rounded by `analytics._shown`, and the mean is null for fewer than 1.5 times as
many. Errors: CF001 for `days` that are not from 1 to 365; CF002 for an unknown course or set (names the nearest), and a
course that the instructor does not teach; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.intervention_outcomes(text, int, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/interventions/intervention_outcomes.sql

--! Included recommend/interactions/_store_topics.sql
create or replace function recommend._store_topics(
  people bigint[],
  allowed bigint[],
  fresh recommend.dismissed_topic[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rows whose first event is not among those of the person any more: it was moved, or is deleted.
  with suspect as (
    select
      array_agg(stored) as topics,
      track.people_of_identities(array_agg(stored.identity_id), array_agg(stored.first_at)) as owners
    from recommend.dismissed_topic as stored
    where stored.person_id = any (_store_topics.allowed)
      and not exists (
        select 1
        from unnest(_store_topics.fresh) as fresh
        where fresh.person_id = stored.person_id
          and fresh.topic = stored.topic
          and fresh.first_at = stored.first_at
      )
  ),

  said as (
    select fresh.*
    from unnest(_store_topics.fresh) as fresh

    union all

    select entry.owner_id, entry.topic, entry.dismissed_at, entry.withdrawn_at, entry.identity_id, entry.first_at
    from suspect
    cross join lateral unnest(suspect.topics, suspect.owners) as entry (
      person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at, owner_id
    )
    where entry.owner_id is not null
      and (
        select true
        from track.event
        where event.person_id = entry.owner_id
          and event.occurred_at = entry.first_at
        limit 1
      ) is null
      and privacy.may_store(entry.owner_id, 'personalization')
  ),

  -- A row that moves to a person who is not refreshed now is added to hers.
  moved_to as (
    select distinct said.person_id, said.topic
    from said
    where said.person_id <> all (_store_topics.people)
  ),

  known as (
    select said.* from said

    union all

    select
      stored.person_id, stored.topic, stored.dismissed_at, stored.withdrawn_at, stored.identity_id, stored.first_at
    from moved_to
    join recommend.dismissed_topic as stored
      on stored.person_id = moved_to.person_id
      and stored.topic = moved_to.topic
  ),

  merged as materialized (
    select
      known.person_id,
      known.topic,
      max(known.dismissed_at) as dismissed_at,
      max(known.withdrawn_at) as withdrawn_at,
      (array_agg(known.identity_id order by known.first_at, known.identity_id))[1] as identity_id,
      min(known.first_at) as first_at
    from known
    group by known.person_id, known.topic
  ),

  deleted as (
    delete from recommend.dismissed_topic
    where dismissed_topic.person_id = any (_store_topics.people)
      and not exists (
        select 1
        from merged
        where merged.person_id = dismissed_topic.person_id
          and merged.topic = dismissed_topic.topic
      )
  )

  insert into recommend.dismissed_topic (person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at)
  select merged.person_id, merged.topic, merged.dismissed_at, merged.withdrawn_at, merged.identity_id, merged.first_at
  from merged
  on conflict (person_id, topic) do update
  set
    dismissed_at = excluded.dismissed_at,
    withdrawn_at = excluded.withdrawn_at,
    identity_id = excluded.identity_id,
    first_at = excluded.first_at
  where (
    dismissed_topic.dismissed_at, dismissed_topic.withdrawn_at, dismissed_topic.identity_id, dismissed_topic.first_at
  ) is distinct from (excluded.dismissed_at, excluded.withdrawn_at, excluded.identity_id, excluded.first_at);
end;
$$;

comment on function recommend._store_topics(bigint[], bigint[], recommend.dismissed_topic[]) is $$
@behavior -*
Replaces the topics that people are not interested in by those computed from their events.
A row whose first event is deleted stays, and follows its identity. `people` are refreshed, `allowed` are those of them
whose data may be used, `fresh` is the result of the computation.
$$;
--! EndIncluded recommend/interactions/_store_topics.sql

--! Included recommend/interactions/refresh_interactions.sql
/*
 * An event can add to, complete or dismiss an interaction, and a merge or an erasure can remove events. Therefore the
 * interactions of the changed people are recomputed from all of their events. Only rows that differ are written.
 */
create or replace function recommend.refresh_interactions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_allowed constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_interactions.people) as changed (person_id)
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_interactions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_topics recommend.dismissed_topic[];
begin
  if exists (select 1 from recommend.taken where taken.person_id = any (refresh_interactions.people)) then
    perform recommend._move_taken(refresh_interactions.people);
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  -- Stored interactions whose first event is not among those of the person any more: it was moved, or is deleted.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(coalesce(interaction.identity_id, interaction.person_id)) as identity_ids
    from recommend.interaction
    where interaction.person_id = any (v_allowed)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select
      array_agg(taken) as interactions,
      track.people_of_identities(array_agg(taken.identity_id), array_agg(taken.first_at)) as owners
    from suspect
    cross join lateral recommend._kept_of(
      suspect.people, suspect.items, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as taken
  ),

  stored_taken as (
    insert into recommend.taken (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at
    )
    select distinct on (entry.owner_id, entry.item_id, entry.identity_id)
      entry.owner_id, entry.identity_id, entry.item_id, entry.first_at, entry.last_at, entry.taken_at,
      entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liking, entry.liked_at, entry.known_at,
      entry.topic_dismissed_at
    from kept
    cross join lateral unnest(kept.interactions, kept.owners) as entry (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at, owner_id
    )
    where entry.owner_id is not null
      and num_nonnulls(
        entry.taken_at, entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liked_at, entry.known_at,
        entry.topic_dismissed_at
      ) > 0
      and privacy.may_store(entry.owner_id, 'personalization')
    order by entry.owner_id, entry.item_id, entry.identity_id, entry.last_at desc
    on conflict (person_id, item_id, identity_id) do update
    set
      first_at = least(taken.first_at, excluded.first_at),
      last_at = greatest(taken.last_at, excluded.last_at),
      taken_at = greatest(taken.taken_at, excluded.taken_at),
      completed_at = greatest(taken.completed_at, excluded.completed_at),
      dropped_at = greatest(taken.dropped_at, excluded.dropped_at),
      dismissed_at = greatest(taken.dismissed_at, excluded.dismissed_at),
      liking = case when excluded.liked_at >= taken.liked_at or taken.liked_at is null then excluded.liking
        else taken.liking end,
      liked_at = greatest(taken.liked_at, excluded.liked_at),
      known_at = greatest(taken.known_at, excluded.known_at),
      topic_dismissed_at = greatest(taken.topic_dismissed_at, excluded.topic_dismissed_at)
  ),

  deleted as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  ),

  stored as (
    insert into recommend.interaction (
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    )
    select
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    from fresh
    where topic is null
    on conflict (person_id, item_id) do update
    set
      weight = excluded.weight,
      event_count = excluded.event_count,
      first_at = excluded.first_at,
      last_at = excluded.last_at,
      completed_at = excluded.completed_at,
      dismissed_at = excluded.dismissed_at,
      identity_id = excluded.identity_id,
      dropped_at = excluded.dropped_at,
      resumed_at = excluded.resumed_at,
      liking = excluded.liking,
      liked_at = excluded.liked_at,
      known_at = excluded.known_at,
      topic_dismissed_at = excluded.topic_dismissed_at,
      withdrawn_at = excluded.withdrawn_at
    where interaction is distinct from excluded
  )

  select array_agg(
    row(
      fresh.person_id, fresh.topic, fresh.topic_dismissed_at, fresh.withdrawn_at, fresh.identity_id, fresh.first_at
    )::recommend.dismissed_topic
  )
  into v_topics
  from fresh
  where fresh.topic is not null;

  if v_topics is not null
    or exists (
      select 1 from recommend.dismissed_topic where dismissed_topic.person_id = any (refresh_interactions.people)
    )
  then
    perform recommend._store_topics(refresh_interactions.people, v_allowed, v_topics);
  end if;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for the given people, whose events or decisions changed. Called by `track.refresh`.
All events of these people are read; `since` and `until` are not used. Idempotent, also after late events, merges of
people and deletions. People who have opted out of `personalization` have no interactions. Interactions whose events are
deleted are kept in `recommend.taken` as far as they leave items out of lists.
$$;
--! EndIncluded recommend/interactions/refresh_interactions.sql

--! Included recommend/interactions/_recomputed_of.sql
create or replace function recommend._recomputed_of(person_id bigint, items bigint[], since timestamptz)
returns table (
  item_id bigint,
  weight real,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text,
  taken_at timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(
      array[_recomputed_of.person_id], _recomputed_of.items, _recomputed_of.since
    ) as interaction
  ),

  -- Stored interactions whose first event is not there any more, which the next refresh may keep.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(identity.person_id) as owners
    from recommend.interaction
    join track.identity
      on identity.identity_id = coalesce(interaction.identity_id, interaction.person_id)
      and identity.person_id = interaction.person_id
    where interaction.person_id = _recomputed_of.person_id
      and (_recomputed_of.items is null or interaction.item_id = any (_recomputed_of.items))
      and not exists (
        select 1
        from fresh
        where fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  )

  select
    fresh.item_id, fresh.weight, fresh.last_at, fresh.completed_at, fresh.dismissed_at, fresh.dropped_at,
    fresh.resumed_at, fresh.liking, fresh.liked_at, fresh.known_at, fresh.topic_dismissed_at, fresh.withdrawn_at,
    fresh.topic, null::timestamptz
  from fresh

  union all

  select
    coalesce(item.merged_item_id, item.item_id), 0, kept.last_at, kept.completed_at, kept.dismissed_at,
    kept.dropped_at, null, kept.liking, kept.liked_at, kept.known_at, kept.topic_dismissed_at, null, null,
    kept.taken_at
  from suspect
  cross join lateral recommend._kept_of(suspect.people, suspect.items, suspect.first_at, suspect.owners) as kept
  join track.item using (item_id)

  union all

  -- Topics whose events are deleted, which the next refresh keeps, too. Of a topic, only the last times are stored.
  select
    null, null, null, null, null, null, null, null, null, null, dismissed_topic.dismissed_at,
    dismissed_topic.withdrawn_at, dismissed_topic.topic, null
  from recommend.dismissed_topic
  where dismissed_topic.person_id = _recomputed_of.person_id
    and _recomputed_of.since = '-infinity'
    and (
      select true
      from track.event
      where event.person_id = _recomputed_of.person_id
        and event.occurred_at = dismissed_topic.first_at
      limit 1
    ) is null
    and exists (
      select 1
      from track.identity
      where identity.identity_id = dismissed_topic.identity_id
        and identity.person_id = _recomputed_of.person_id
    );
end;
$$;

comment on function recommend._recomputed_of(bigint, bigint[], timestamptz) is $$
@behavior -*
Returns what a person did with the given items, from her events since a time, for which stored rows are incomplete.
`items` null: all items. `since` is the time of the first event of these items. The rows with a topic and no item are
those of topics that were dismissed by name; from `-infinity`, all of them. What the next refresh keeps of deleted
events is included.
$$;

grant execute on function recommend._recomputed_of(bigint, bigint[], timestamptz)
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_recomputed_of.sql

--! Included recommend/feedback/_named_servings.sql
create or replace function recommend._named_servings(people bigint[], since timestamptz[], until timestamptz[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_serving_period constant interval := (select serving_period from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_people bigint[];
  v_servings recommend.serving[];
  v_owners bigint[];
begin
  with sent as materialized (
    select event.person_id, event.occurred_at, event.properties ->> 'servingId' as serving_id
    from unnest(_named_servings.people, _named_servings.since, _named_servings.until)
      as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.properties ? 'servingId'
      and event.person_id <> 0
  ),

  named as materialized (
    select sent.person_id, sent.occurred_at, recommend._read_serving_id(sent.serving_id) as serving
    from sent
  ),

  valid as (
    select distinct on (named.person_id, (named.serving).serving_key) named.person_id, named.serving
    from named
    where (named.serving).problem is null
      and named.occurred_at >= (named.serving).listed_at - v_tolerance
      and named.occurred_at <= (named.serving).listed_at + v_serving_period
    order by named.person_id, (named.serving).serving_key
  )

  select array_agg(valid.person_id), array_agg(valid.serving)
  into v_people, v_servings
  from valid;
  if v_people is null then
    return;
  end if;

  v_owners := track.people_of_identities(
    array(select serving.identity_id from unnest(v_servings) with ordinality as serving order by serving.ordinality),
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  return query
  select
    entry.person_id, entry.serving_key, entry.identity_id, entry.model_id, entry.item_id, entry.rank, entry.basis,
    entry.propensity, entry.pool, entry.listed_at, false, null::timestamptz, null::timestamptz, null::timestamptz,
    null::timestamptz, null::real, null::timestamptz, null::timestamptz, entry.experiment_id, entry.variation,
    null::float8, null::text
  from (
    select named.*, serving.*
    from unnest(v_people, v_owners) with ordinality as named (person_id, owner_id, position)
    join unnest(v_servings) with ordinality as serving on serving.ordinality = named.position
  ) as entry
  where entry.identity_id is null
    or entry.owner_id = entry.person_id;
end;
$$;

comment on function recommend._named_servings(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the rows of lists that events of the given periods of people name by their `servingId`, without the answers.
An id counts when its signature is valid, when the identity for which the list was made belongs to the person, and when
the event is at most `recommend.setting.serving_period` later than the list.
$$;
--! EndIncluded recommend/feedback/_named_servings.sql

--! Included recommend/feedback/refresh_impressions.sql
create or replace function recommend._move_impressions(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The lists of the people: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_moved recommend.impression[];
begin
  select array_agg(list.identity_id), array_agg(list.listed_at)
  into v_identity_ids, v_times
  from (
    select distinct impression.identity_id, impression.listed_at
    from recommend.impression
    where impression.person_id = any (_move_impressions.people)
      and impression.identity_id is not null
  ) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);

  select array_agg(impression) into v_moved
  from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
  join recommend.impression
    on impression.person_id = any (_move_impressions.people)
    and impression.identity_id = list.identity_id
    and impression.listed_at = list.listed_at
  where list.person_id is distinct from impression.person_id;
  if v_moved is null then
    return;
  end if;

  delete from recommend.impression
  using unnest(v_moved) as moved
  where impression.person_id = moved.person_id
    and impression.serving_key = moved.serving_key;

  -- An identity that is gone leaves no person to whom the row was served.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select
    list.person_id, moved.serving_key, moved.identity_id, moved.model_id, moved.item_id, moved.rank, moved.basis,
    moved.propensity, moved.pool, moved.listed_at, true, moved.experiment_id, moved.variation, moved.score,
    moved.function_name
  from unnest(v_moved) as moved
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = moved.identity_id
    and list.listed_at = moved.listed_at
  where list.person_id is not null
    and moved.is_served
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name;

  -- The other person may have been refreshed before.
  perform track.queue_people(
    'recommend.impression',
    array(
      select distinct list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where list.person_id is not null
    )
  );
  perform experiment.queue_exposures(
    array(
      select moved.person_id
      from unnest(v_moved) as moved
      where moved.experiment_id is not null

      union

      select list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where moved.experiment_id is not null
        and list.person_id is not null
    )
  );
end;
$$;

comment on function recommend._move_impressions(bigint[]) is $$
Moves the impressions of the given people whose identity belongs to another person now, and queues these people.
$$;

create or replace function recommend._touched_impressions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  named recommend.impression[]
)
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_horizon constant interval := greatest(v_setting.serving_period, v_setting.attribution_period);
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  -- For all other people, only events that name a list matter.
  v_known constant bigint[] := array(
    select distinct impression.person_id
    from recommend.impression
    where impression.person_id = any (_touched_impressions.people)
  );
  v_weights constant record := recommend._event_names();
begin
  return query
  select entry.*
  from unnest(_touched_impressions.named) as entry
  where (entry.person_id, entry.serving_key) not in (
    select impression.person_id, impression.serving_key
    from recommend.impression
    where impression.person_id = any (v_known)
  );
  if v_known = '{}' then
    return;
  end if;

  return query
  with period as materialized (
    select changed.person_id, changed.since, changed.until
    from unnest(_touched_impressions.people, _touched_impressions.since, _touched_impressions.until)
      as changed (person_id, since, until)
    where changed.person_id = any (v_known)
  ),

  -- Events that matter for the rows of their item, whether they name a list or not.
  about as materialized (
    select event.person_id, event.item_id, event.named_item_id, event.occurred_at
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.item_id is not null
      and coalesce(event.named_event_type_id, event.event_type_id) in (
        select weighed.event_type_id
        from unnest(v_weights.event_type_ids, v_weights.events) as weighed (event_type_id, event)
        join recommend.event_weight on event_weight.event = weighed.event
        where event_weight.completes
          or event_weight.withdraws
      )
  )

  select distinct on (touched.person_id, touched.serving_key) touched.*
  from (
    select impression.*
    from unnest(_touched_impressions.named) as entry
    join recommend.impression
      on impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key

    union all

    select impression.*
    from period
    join recommend.impression
      on impression.person_id = period.person_id
      and impression.listed_at >= period.since - v_horizon
      and impression.listed_at <= period.until + v_tolerance
    where period.since = '-infinity'
      or impression.seen_at between period.since and period.until
      or impression.clicked_at between period.since and period.until
      or impression.dismissed_at between period.since and period.until
      or impression.liked_at between period.since and period.until
      or impression.withdrawn_at between period.since and period.until
      or impression.completed_at between period.since and period.until

    union all

    select impression.*
    from about
    join recommend.impression
      on impression.person_id = about.person_id
      and impression.item_id in (about.item_id, about.named_item_id)
      and impression.listed_at >= about.occurred_at - v_horizon
      and impression.listed_at <= about.occurred_at
  ) as touched;
end;
$$;

comment on function recommend._touched_impressions(bigint[], timestamptz[], timestamptz[], recommend.impression[]) is $$
@behavior -*
Returns the rows whose answers may differ after a change of events in the given periods of people.
Those that events of the periods name (`named`), those with an answer in a period, and those whose item was finished or
withdrawn in one.
$$;

/*
 * An event can be added, deleted, moved by a merge of people or withdrawn by a later one. Therefore the answers to a
 * row are computed from all events of the person since the list was made, whenever one of them may have changed.
 */
create or replace function recommend.refresh_impressions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_refused constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people) as changed (person_id)
    where v_by_default = (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_impressions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_exposed bigint[];
  v_named recommend.impression[];
  v_touched recommend.impression[];
begin
  if v_refused <> '{}' then
    with deleted as (
      delete from recommend.impression
      where impression.person_id = any (v_refused)
      returning impression.person_id, impression.experiment_id
    )

    select array_agg(distinct deleted.person_id) into v_exposed
    from deleted
    where deleted.experiment_id is not null;
    perform experiment.queue_exposures(v_exposed);
  end if;
  perform recommend._move_impressions(array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people, refresh_impressions.since) as changed (person_id, since)
    where changed.since = '-infinity'
  ));

  v_named := array(
    select named
    from recommend._named_servings(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until
    ) as named
    where named.person_id <> all (v_refused)
  );
  v_touched := array(
    select touched
    from recommend._touched_impressions(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until, v_named
    ) as touched
  );
  if v_touched = '{}' then
    return;
  end if;

  with fresh as materialized (
    select answered.*
    from recommend._answers(v_touched) as answered
  ),

  -- A row that was not served is there only because of an event.
  deleted as (
    delete from recommend.impression
    using fresh
    where impression.person_id = fresh.person_id
      and impression.serving_key = fresh.serving_key
      and fresh.seen_at is null
      and not impression.is_served
  )

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    seen_at, clicked_at, dismissed_at, liked_at, liking, withdrawn_at, completed_at, experiment_id, variation,
    score, function_name
  )
  select
    fresh.person_id, fresh.serving_key, fresh.identity_id, fresh.model_id, fresh.item_id, fresh.rank, fresh.basis,
    fresh.propensity, fresh.pool, fresh.listed_at, fresh.is_served,
    fresh.seen_at, fresh.clicked_at, fresh.dismissed_at, fresh.liked_at, fresh.liking, fresh.withdrawn_at,
    fresh.completed_at, fresh.experiment_id, fresh.variation, fresh.score, fresh.function_name
  from fresh
  where fresh.seen_at is not null
    or fresh.is_served
  on conflict (person_id, serving_key) do update
  set
    seen_at = excluded.seen_at,
    clicked_at = excluded.clicked_at,
    dismissed_at = excluded.dismissed_at,
    liked_at = excluded.liked_at,
    liking = excluded.liking,
    withdrawn_at = excluded.withdrawn_at,
    completed_at = excluded.completed_at
  where (
    impression.seen_at, impression.clicked_at, impression.dismissed_at, impression.liked_at, impression.liking,
    impression.withdrawn_at, impression.completed_at
  ) is distinct from (
    excluded.seen_at, excluded.clicked_at, excluded.dismissed_at, excluded.liked_at, excluded.liking,
    excluded.withdrawn_at, excluded.completed_at
  );
end;
$$;

comment on function recommend.refresh_impressions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.impression` for the given people and periods. Called by `track.refresh`.
Their events, enrolments, identities or decisions have changed.
The answers are the same in any order of arrival, also after late events, merges of people and deletions. People who
have opted out of `personalization` have no rows.
$$;
--! EndIncluded recommend/feedback/refresh_impressions.sql

--! Included recommend/feedback/_record_list.sql
create or replace function recommend._record_list(
  list recommend.recommendation[],
  function_name text,
  kind text,
  started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
as $$
declare
  -- Identity and experiment are those of all rows, and read from the first one: see `recommend._serving_id`.
  v_fields constant text[] := string_to_array((_record_list.list[1]).serving_id, '.');
  v_identity_id bigint := nullif(v_fields[6], '0');
  v_serving recommend.serving;
  v_person_id bigint;
begin
  -- One condition for what is rare, because each list that is served is recorded here.
  if v_identity_id is null or cardinality(v_fields) > 8 or current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
    -- A list for no person is shown to the learner who is signed in.
    if v_identity_id is null and _record_list.list <> '{}' and track.current_person_id() is not null
      and not track.reads_all_people()
    then
      v_identity_id := track.find_identity(current_setting('insights.person', true));
    end if;
    -- The ninth field is that of a pool or of an experiment.
    v_serving := recommend._serving_content((_record_list.list[1]).serving_id);
  end if;
  v_person_id := track.lock_person(v_identity_id, now());

  begin
    insert into recommend.impression
    select served.*
    from recommend._served_rows(
      _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
      _record_list.function_name
    ) as served
    where v_person_id <> 0
      -- Most people have decided nothing: what `privacy.allowed` returns then takes less time here than in a function.
      and coalesce(
        (
          select purpose.basis <> 'consent'
          from privacy.purpose
          where purpose.purpose = 'personalization'
            and not exists (select 1 from privacy.consent where consent.person_id = v_person_id)
            and not exists (select 1 from privacy.restriction where restriction.person_id = v_person_id)
            and not exists (select 1 from privacy.person_age where person_age.person_id = v_person_id)
        ),
        (select recommend._may_record(v_person_id))
      );
  exception
    when unique_violation then
      -- Rows that are recorded already: the same list in one transaction, or a row of `for_me` that an event named.
      -- They are rare, and to look for each of them first would take a quarter of the time of the record.
      insert into recommend.impression
      select served.*
      from recommend._served_rows(
        _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
        _record_list.function_name
      ) as served
      where recommend._may_record(v_person_id)
      on conflict (person_id, serving_key) do update
      set is_served = true, score = excluded.score, function_name = excluded.function_name
      where not impression.is_served;
  end;

  -- The first exposure counts: a person who is known in this variation need not be computed again.
  if (v_serving).experiment_id is not null and recommend._may_record(v_person_id) and not exists (
    select 1
    from experiment.exposure
    where exposure.person_id = v_person_id
      and exposure.experiment_id = (v_serving).experiment_id
      and exposure.variation = (v_serving).variation
      and exposure.exposed_at <= (v_serving).listed_at
  ) then
    perform experiment.queue_exposures(array[v_person_id]);
  end if;

  insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
  values (
    date_bin('1 hour', now(), 'epoch'), _record_list.function_name, _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      nullif(v_fields[1], '0')::bigint,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.list) as listed
      )
    ),
    cardinality(_record_list.list),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0)
  );
end;
$$;

comment on function recommend._record_list(recommend.recommendation[], text, text, timestamptz) is $$
@behavior -*
Records the rows of a list as served, each once, and how long the call of `function_name` took since `started_at`.
The list is one that the caller has just made: nothing is checked. One that is for no person is recorded for the learner
who is signed in, and otherwise not. Those of people who have opted out of `personalization` are not recorded.
Errors: 25006 in a read-only transaction.
$$;
--! EndIncluded recommend/feedback/_record_list.sql

--! Included recommend/feedback/_recently_shown.sql
create or replace function recommend._recently_shown(
  person_id bigint,
  period interval,
  out shown bigint[],
  out shown_at timestamptz[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_since constant timestamptz := now() - _recently_shown.period;
  -- Whether events are queued for the refresh. Then the stored rows are incomplete.
  v_is_behind constant boolean := exists (
    select 1 from track.stale where stale.person_id = _recently_shown.person_id
  ) or exists (
    select 1
    from track.changed
    where changed.person_id = _recently_shown.person_id
      and changed.consumer = 'recommend.impression'
  );
  v_shown constant int[] := case
    when v_is_behind then recommend._event_types_named('Recommendation Shown')
  end;
begin
  select
    coalesce(array_agg(latest.item_id order by latest.item_id), '{}'),
    coalesce(array_agg(latest.shown_at order by latest.item_id), '{}')
  into _recently_shown.shown, _recently_shown.shown_at
  from (
    select coalesce(item.merged_item_id, item.item_id) as item_id, max(entry.shown_at) as shown_at
    from (
      select impression.item_id, greatest(impression.seen_at, impression.listed_at) as shown_at
      from recommend.impression
      where impression.person_id = _recently_shown.person_id

      union all

      select event.item_id, event.occurred_at
      from track.event
      where event.person_id = _recently_shown.person_id
        and event.occurred_at >= v_since
        and coalesce(event.named_event_type_id, event.event_type_id) = any (v_shown)
    ) as entry
    join track.item on item.item_id = entry.item_id
    where entry.shown_at >= v_since
    group by coalesce(item.merged_item_id, item.item_id)
  ) as latest;
end;
$$;

comment on function recommend._recently_shown(bigint, interval) is $$
@behavior -*
Returns the items that were served to a person or seen by her within a period before now, with the last time of each.
As far as the caller may read them. Events `Recommendation Shown` that the refresh has not processed yet are included.
$$;

grant execute on function recommend._recently_shown(bigint, interval) to insights_reader, insights_learner;
--! EndIncluded recommend/feedback/_recently_shown.sql

--! Included recommend/serving/_next_items.sql
create or replace function recommend._next_items(context recommend.person_context)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 5000;
  v_last bigint;
  v_course bigint;
begin
  -- Without consent no data is read.
  if (_next_items.context).person_id is null
    or not privacy.allowed((_next_items.context).person_id, 'personalization')
  then
    return '{}';
  end if;

  -- The item that was used last, of those in a course.
  select event.item_id, container.item_id into v_last, v_course
  from (
    select recent.item_id, recent.occurred_at, recent.event_id
    from track.event as recent
    where recent.person_id = (_next_items.context).person_id
      and recent.item_id is not null
    order by recent.occurred_at desc, recent.event_id desc
    limit 100
  ) as event
  cross join lateral (
    select ancestor.ancestor_item_id as item_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind = 'course'
    where ancestor.item_id = event.item_id
    order by ancestor.depth
    limit 1
  ) as container
  where not exists (
    select 1
    from unnest((_next_items.context).left_out, (_next_items.context).left_out_reasons) as over (item_id, reason)
    where over.item_id = container.item_id
      and over.reason in ('completed', 'known', 'dropped', 'dismissed', 'disliked', 'own')
  )
  order by event.occurred_at desc, event.event_id desc
  limit 1;
  if not found then
    return '{}';
  end if;

  return array(
    with recursive part as (
      select v_course as item_id, '{}'::numeric[] as place, 0 as depth

      union all

      -- In the order of the attribute `position`, or else in which the items were first seen.
      select
        item.item_id,
        part.place || case
          when item.attributes ->> 'position' ~ '^-?[0-9]{1,9}([.][0-9]{1,9})?$'
            then (item.attributes ->> 'position')::numeric
          else 1000000000
        end || item.item_id::numeric,
        part.depth + 1
      from part
      join track.item on item.parent_item_id = part.item_id
      where part.depth < 20
        and item.merged_item_id is null
    ),

    ordered as (
      select part.item_id, row_number() over (order by part.place) as n
      from part
      limit v_most
    ),

    leaf as (
      select
        ordered.item_id,
        ordered.n,
        ordered.n > last_used.n as is_after,
        exists (
          select 1
          from track.event
          where event.person_id = (_next_items.context).person_id
            and event.item_id = ordered.item_id
        ) as is_used
      from ordered
      cross join (
        select coalesce(max(used.n), 0) as n from ordered as used where used.item_id = v_last
      ) as last_used
      where ordered.item_id <> v_course
        and not exists (select 1 from track.item as child where child.parent_item_id = ordered.item_id)
        and ordered.item_id <> all ((_next_items.context).finished)
    )

    -- First those that follow, then those that were left out before.
    select leaf.item_id
    from leaf
    where leaf.is_after
      or not leaf.is_used
    order by leaf.is_after desc, leaf.n
    limit 200
  );
end;
$$;

comment on function recommend._next_items(recommend.person_context) is $$
@behavior -*
Returns what follows in the course that a person used last: parts without parts of their own that she has not finished.
First those after the item that was used last, in the order of the tree; then those before it that she has not used.
Empty when she has used no course among the last 100 events, or only courses that are over for her.
$$;

grant execute on function recommend._next_items(recommend.person_context) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_next_items.sql

--! Included recommend/evaluation/_finish_evaluation.sql
create or replace function recommend._finish_evaluation(evaluation recommend.evaluation)
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_id constant bigint := (evaluation).evaluation_id;
  v_metrics constant text[] := '{precision,recall,recall_min,ndcg,ndcg_uncut,map,mrr,hit_rate,novelty,diversity,'
    'popularity,profile}';
  v_width constant int := cardinality(v_metrics);
  v_block constant int := v_width * cardinality((evaluation).k);
  v_most constant int := (select max(k) from unnest((evaluation).k) as k);
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_segment text;
  v_people bigint[];
begin
  foreach v_segment in array array[''] || (evaluation).segments loop
    v_people := array(
      select person.person_id
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.relevant <> '{}'
        and (v_segment = '' or v_segment = any (person.segments))
      order by person.person_id
    );
    continue when cardinality(v_people) < case when v_segment = '' then 1 else v_smallest_group end;

    create temporary table resampled on commit drop as
    select sample.resample, mean.place::int, mean.value::float8
    from recommend._resampled_means(
      array(
        select person.gains::vector
        from recommend.evaluation_person as person
        where person.evaluation_id = v_id
          and person.person_id = any (v_people)
        order by person.person_id
      ),
      (evaluation).resamples,
      (evaluation).seed
    ) as sample
    cross join unnest(sample.means) with ordinality as mean (value, place);

    create temporary table gain on commit drop as
    select person.person_id, gain.place::int, gain.value
    from recommend.evaluation_person as person
    cross join lateral unnest(person.gains) with ordinality as gain (value, place)
    where person.evaluation_id = v_id
      and person.person_id = any (v_people);
    create index on pg_temp.gain (place);
    create index on pg_temp.resampled (place);
    analyze pg_temp.gain;
    analyze pg_temp.resampled;

    create temporary table cell on commit drop as
    select
      model.model,
      model.model_no,
      size.k,
      size.place::int as k_no,
      metric.metric,
      ((model.model_no - 1) * v_block + (size.place - 1) * v_width + metric.place)::int as place
    from recommend.evaluation_model as model
    cross join unnest((evaluation).k) with ordinality as size (k, place)
    cross join unnest(v_metrics) with ordinality as metric (metric, place)
    where model.evaluation_id = v_id;

    insert into recommend.evaluation_result (
      evaluation_id, model, segment, metric, k, value, standard_error, lower, upper, people
    )
    select
      v_id, cell.model, v_segment, cell.metric, cell.k, mean.value, spread.standard_error, spread.lower, spread.upper,
      cardinality(v_people)
    from pg_temp.cell
    join (
      select place, avg(value order by person_id) as value
      from pg_temp.gain
      group by place
    ) as mean using (place)
    join (
      select
        place,
        stddev_samp(value order by resample) as standard_error,
        percentile_cont(0.025) within group (order by value) as lower,
        percentile_cont(0.975) within group (order by value) as upper
      from pg_temp.resampled
      group by place
    ) as spread using (place)
    where cell.metric <> 'profile'
      and (cell.metric <> 'diversity' or cell.k > 1 and (evaluation).purpose = 'evaluation')

    union all

    -- The change of the mean popularity from what people used to what is recommended to them.
    select
      v_id, cell.model, v_segment, 'popularity_bias', cell.k,
      (select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place)
        / nullif((select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place + 1), 0) - 1,
      spread.standard_error, spread.lower, spread.upper, cardinality(v_people)
    from pg_temp.cell
    cross join lateral (
      select
        stddev_samp(ratio.value order by ratio.resample) as standard_error,
        percentile_cont(0.025) within group (order by ratio.value) as lower,
        percentile_cont(0.975) within group (order by ratio.value) as upper
      from (
        select list.resample, list.value / nullif(profile.value, 0) - 1 as value
        from pg_temp.resampled as list
        join pg_temp.resampled as profile on profile.resample = list.resample and profile.place = cell.place + 1
        where list.place = cell.place
      ) as ratio
    ) as spread
    where cell.metric = 'popularity'

    union all

    select
      v_id, covered.model, v_segment, 'coverage', covered.k, covered.items / nullif(available.items, 0)::float8,
      null, null, null, cardinality(v_people)
    from (
      select cell.model, cell.k, count(distinct entry.item_no) filter (where entry.item_no > 0) as items
      from pg_temp.cell
      join recommend.evaluation_person as person
        on person.evaluation_id = v_id and person.person_id = any (v_people)
      cross join lateral unnest(
        person.lists[(cell.model_no - 1) * v_most + 1:(cell.model_no - 1) * v_most + cell.k]
      ) as entry (item_no)
      where cell.metric = 'precision'
      group by cell.model, cell.k
    ) as covered
    cross join (
      select count(*) as items
      from recommend.evaluation_item as item
      where item.evaluation_id = v_id
        and exists (
          select 1
          from recommend.evaluation_person as person
          where person.evaluation_id = v_id
            and person.person_id = any (v_people)
            and (
              person.asked_at is null
              or item.available_from <= person.asked_at and item.available_until > person.asked_at
            )
            and (person.candidates is null or item.item_no = any (person.candidates))
        )
    ) as available;

    if v_segment = '' then
      insert into recommend.evaluation_comparison (
        evaluation_id, model, other_model, metric, k, difference, standard_error, lower, upper, t, p_value, verdict,
        people
      )
      select
        v_id, cell.model, other.model, cell.metric, cell.k, test.difference, test.standard_error, test.lower,
        test.upper, test.t, test.p_value, test.verdict, test.people
      from pg_temp.cell
      join pg_temp.cell as other
        on other.k = cell.k and other.metric = cell.metric and other.model_no > cell.model_no
      cross join lateral recommend._compare(
        array(
          select one.value - two.value
          from pg_temp.gain as one
          join pg_temp.gain as two on two.person_id = one.person_id and two.place = other.place
          where one.place = cell.place
          order by one.person_id
        ),
        array(
          select one.value - two.value
          from pg_temp.resampled as one
          join pg_temp.resampled as two on two.resample = one.resample and two.place = other.place
          where one.place = cell.place
          order by one.resample
        )
      ) as test
      where cell.metric <> 'profile'
        and (cell.metric <> 'diversity' or cell.k > 1)
        and ((evaluation).purpose = 'evaluation' or cell.metric = 'ndcg')
        and (evaluation).purpose <> 'search';
    end if;
    drop table pg_temp.cell, pg_temp.gain, pg_temp.resampled;
  end loop;

  if (evaluation).purpose = 'search' then
    insert into recommend.best_parameters (
      kind, algorithm, history_decay, parameters, ndcg_at_10, evaluation_id, found_at
    )
    select distinct on (part.algorithm)
      (evaluation).kind, part.algorithm, part.history_decay, part.parameters, result.value, v_id, clock_timestamp()
    from recommend.evaluation_model as model
    join recommend.evaluation_result as result
      on result.evaluation_id = v_id and result.model = model.model and result.segment = '' and result.metric = 'ndcg'
    cross join lateral jsonb_populate_recordset(null::recommend.part, model.parts) as part
    where model.evaluation_id = v_id
    order by part.algorithm, result.value desc, model.model_no
    on conflict (kind, algorithm) do update
    set
      history_decay = excluded.history_decay,
      parameters = excluded.parameters,
      ndcg_at_10 = excluded.ndcg_at_10,
      evaluation_id = excluded.evaluation_id,
      found_at = excluded.found_at;
  end if;

  -- Rows about people are not kept.
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  delete from recommend.evaluation_weight as weight
  where weight.evaluation_id = v_id;
  delete from recommend.evaluation_item as item
  where item.evaluation_id = v_id;
  update recommend.evaluation as stored
  set state = 'finished', progress = 1, finished_at = clock_timestamp(), progressed_at = clock_timestamp()
  where stored.evaluation_id = v_id;
end;
$$;

comment on function recommend._finish_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the results and the paired comparisons of an evaluation, and deletes its rows about people.
Called when all people are tested. Segments with fewer people than `analytics.setting.smallest_group` have no results.
$$;
--! EndIncluded recommend/evaluation/_finish_evaluation.sql

--! Included recommend/learning/_delete_record.sql
create or replace function recommend._delete_record(model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from recommend.learned_item where learned_item.model_id = _delete_record.model_id;
  -- A distributed table has no foreign key that would do it.
  delete from recommend.learned where learned.model_id = _delete_record.model_id;
  delete from recommend.learning where learning.model_id = _delete_record.model_id;
end;
$$;

comment on function recommend._delete_record(bigint) is $$
@behavior -*
Deletes the record of what a version learned from each person, without which it is not changed any more.
Its weights are kept.
$$;
--! EndIncluded recommend/learning/_delete_record.sql

--! Included recommend/train/_delete_old_weights.sql
create or replace function recommend._delete_old_weights(project text, until_version int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant int[] := ml.deployed_version(_delete_old_weights.project) || array(
    select arm.version
    from recommend._arm_versions(substr(_delete_old_weights.project, length('recommend.') + 1)) as arm
  );
begin
  perform recommend._delete_record(learning.model_id)
  from recommend.learning
  join ml.model on model.model_id = learning.model_id
  join ml.project as known on known.project_id = model.project_id
  where known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and (model.version = any (v_kept)) is not true;
  delete from recommend.model_part
  using ml.model, ml.project as known
  where model_part.model_id = model.model_id
    and model.project_id = known.project_id
    and known.name = _delete_old_weights.project
    and model.version <= _delete_old_weights.until_version
    and (model.version = any (v_kept)) is not true;
end;
$$;

comment on function recommend._delete_old_weights(text, int) is $$
@behavior -*
Deletes the weights and records of the versions of a recommender up to the given one.
Those of the deployed version are kept, and of those that variations of experiments serve (`recommend._arm_versions`).
$$;
--! EndIncluded recommend/train/_delete_old_weights.sql

--! Included recommend/learning/_keeps_record.sql
create or replace function recommend._keeps_record(model_id bigint, item_count bigint)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if _keeps_record.item_count <= (select most_learned_items from recommend.setting) then
    return true;
  end if;
  perform recommend._delete_record(_keeps_record.model_id);
  return false;
end;
$$;

comment on function recommend._keeps_record(bigint, bigint) is $$
@behavior -*
Whether a version with this number of items keeps its record; otherwise the record is deleted.
The version is then one that follows people with its next training only.
$$;
--! EndIncluded recommend/learning/_keeps_record.sql

--! Included recommend/learning/_update_model.sql
create or replace function recommend._update_model(model_id bigint, people bigint[], rows_ recommend.learned[])
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  -- Updates in single precision add up: then the statistics are computed from the record again.
  v_most_updates constant int := 200;
  v_part record;
  v_people bigint[];
  v_changed boolean;
begin
  create temporary table _learn_before on commit drop as
  select learned.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from recommend.learned
  cross join lateral unnest(learned.item_ids, learned.strengths) with ordinality as entry (item_id, strength, place)
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (_update_model.people);
  create temporary table _learn_after on commit drop as
  select fresh.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from unnest(_update_model.rows_) as fresh
  cross join lateral unnest(fresh.item_ids, fresh.strengths) with ordinality as entry (item_id, strength, place);
  v_people := array(
    select distinct coalesce(fresh.person_no, stale.person_no)
    from pg_temp._learn_after as fresh
    full join pg_temp._learn_before as stale
      on stale.person_no = fresh.person_no
      and stale.position = fresh.position
    where (fresh.item_no, fresh.weight) is distinct from (stale.item_no, stale.weight)
    order by 1
  );
  if v_people = '{}' then
    drop table pg_temp._learn_before, pg_temp._learn_after;
    return 0;
  end if;
  delete from pg_temp._learn_before as stale where stale.person_no <> all (v_people);
  delete from pg_temp._learn_after as fresh where fresh.person_no <> all (v_people);
  analyze pg_temp._learn_before, pg_temp._learn_after;

  delete from recommend.learned
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (v_people);
  insert into recommend.learned (person_id, model_id, item_ids, strengths)
  select fresh.person_id, _update_model.model_id, fresh.item_ids, fresh.strengths
  from unnest(_update_model.rows_) as fresh
  where fresh.person_id = any (v_people);
  update recommend.learning
  set
    update_count = learning.update_count + 1,
    updated_at = clock_timestamp(),
    person_count = learning.person_count
      + (select count(distinct fresh.person_no) from pg_temp._learn_after as fresh)::int
      - (select count(distinct stale.person_no) from pg_temp._learn_before as stale)::int
  where learning.model_id = _update_model.model_id;

  create temporary table _learn_item on commit drop as
  select change.item_no as item_id, sum(change.people)::int as people
  from (
    select item_no, 1 as people from pg_temp._learn_after
    union all
    select item_no, -1 from pg_temp._learn_before
  ) as change
  group by change.item_no;
  -- One person can bring thousands of items, and the time of an update grows with the third power of their number.
  if not recommend._keeps_record(
    _update_model.model_id,
    (
      select count(*)
      from (
        select known.item_id from recommend.learned_item as known where known.model_id = _update_model.model_id
        union
        select item.item_id from pg_temp._learn_item as item where item.people > 0
      ) as item
    )
  )
  then
    drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;
    return 0;
  end if;
  for v_part in select * from recommend._learning_parts(_update_model.model_id) loop
    v_changed := case
      when v_part.algorithm in ('ease', 'edlae') then
        recommend._update_inverse(_update_model.model_id, v_part.part)
      else recommend._update_pairs(_update_model.model_id, v_part.part)
    end;
    if v_changed then
      perform recommend._list_part(_update_model.model_id, v_part.part);
    end if;
  end loop;
  drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;

  if (select update_count from recommend.learning where learning.model_id = _update_model.model_id) >= v_most_updates
  then
    perform recommend._relearn(_update_model.model_id);
  end if;
  -- The items of few people could be inferred from the lists.
  if (
    select count(*)
    from (
      select 1
      from recommend.learned
      where learned.model_id = _update_model.model_id
        and cardinality(learned.item_ids) > 1
      limit v_fewest_people
    ) as known
  ) < v_fewest_people then
    perform recommend._mark_versions(array[_update_model.model_id], 'too few people are left');
  end if;
  return cardinality(v_people);
end;
$$;

comment on function recommend._update_model(bigint, bigint[], recommend.learned[]) is $$
@behavior -*
Changes a version so that it is as if it had been trained on `rows_` for these people; those without a row leave it.
The record, the statistics and the lists change in one transaction. Returns the number of people whose rows differ from
the record. The version is marked for training when fewer than `recommend.setting.fewest_people` people with two items
are left.
$$;
--! EndIncluded recommend/learning/_update_model.sql

--! Included recommend/learning/unlearn.sql
create or replace function recommend.unlearn(person_id bigint)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known record;
  v_stale bigint[];
  v_records bigint := 0;
  v_unlearned bigint := 0;
  v_marked bigint;
begin
  -- Not while a refresh learns, or a training reads its rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_known in
    select learning.model_id, learning.is_live, substr(project.name, length('recommend.') + 1) as kind
    from recommend.learning
    join ml.model using (model_id)
    join ml.project using (project_id)
    order by learning.model_id
  loop
    v_stale := '{}';
    if not v_known.is_live then
      -- Items of hers may be in the row of another person, from before a merge or a split.
      v_stale := array(
        select learned.person_id
        from recommend.learned
        where learned.model_id = v_known.model_id
          and learned.is_stale
      );
    end if;
    if v_stale <> '{}' or exists (
      select 1
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id
    ) then
      select count(*) + v_records into v_records
      from recommend.learned
      where learned.model_id = v_known.model_id
        and learned.person_id = unlearn.person_id;
      begin
        if recommend._update_model(
          v_known.model_id,
          v_stale || unlearn.person_id,
          array(
            select rows_
            from recommend._rows_to_learn(v_known.kind, v_known.model_id, v_stale) as rows_
            where rows_.person_id <> unlearn.person_id
          )
        ) > 0 then
          v_unlearned := v_unlearned + 1;
        end if;
      exception
        -- The weights without her cannot be computed, such as those of a matrix that is nearly singular. A person can
        -- be erased all the same: without its record, the version is marked below.
        when data_exception or sqlstate 'CF007' then
          perform recommend._delete_record(v_known.model_id);
      end;
    end if;
  end loop;
  v_marked := recommend._mark_versions(
    array(
      select distinct part.model_id
      from recommend.model_part as part
      where not exists (select from recommend.learning where learning.model_id = part.model_id)
      order by part.model_id
    ),
    'a person was erased'
  );
  if v_records > 0 then
    return next row('recommend.learned', v_records, 'deleted')::privacy.erased;
  end if;
  if v_unlearned > 0 then
    return next row('ml.model', v_unlearned, 'unlearned')::privacy.erased;
  end if;
  if v_marked > 0 then
    return next row('ml.model', v_marked, 'marked')::privacy.erased;
  end if;
end;
$$;

comment on function recommend.unlearn(bigint) is $$
@behavior -*
Removes what the recommenders learned from a person, in all versions whose weights are kept.
Returns the changes by table.
Versions with a record (`recommend.learned`) become those that were trained, with the same parameters, without the
person. Versions without a record, because they have too many items or are older, are marked for training.
$$;
--! EndIncluded recommend/learning/unlearn.sql

--! Included recommend/functions/due_trainings.sql
/* A definer: it counts the interactions of all people, and returns only kinds of items. */
create or replace function recommend.due_trainings(share float8 default 0.1)
returns setof text
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  v_known record;
  v_interactions bigint;
  v_people bigint;
begin
  if share is null or not share between 0 and 1e6 then
    perform common.refuse('CF001', format('share is %s', coalesce(share::text, 'null')),
      'Give a part of the rows of the last training, from 0: 0.1 is a tenth.');
  end if;
  for v_known in
    select
      known.kind,
      -- A deployed version that is marked for training is replaced at once, as if there were none.
      case when latest.is_served then latest.data_watermark end as data_watermark,
      case when latest.is_served then latest.row_count end as row_count
    from (
      select 'course' as kind

      union

      select substr(project.name, length('recommend.') + 1)
      from ml.project
      where starts_with(project.name, 'recommend.')
    ) as known
    left join lateral (
      select
        model.data_watermark, model.row_count,
        ml.deployed_version(project.name) is not null
          or not exists (select 1 from ml.deployment where deployment.project_id = project.project_id) as is_served
      from ml.project
      join ml.model on model.project_id = project.project_id
      where project.name = 'recommend.' || known.kind
      order by model.version desc
      limit 1
    ) as latest on true
    order by known.kind
  loop
    -- First an upper limit, from the new interactions. A training counts fewer, and reads all interactions for it.
    with leaf as materialized (
      select interaction.person_id, interaction.item_id
      from recommend.interaction
      where interaction.last_at > coalesce(v_known.data_watermark, '-infinity')
        and (interaction.weight > 0 or interaction.liking > 0)

      union all

      select enrolment.person_id, enrolment.item_id
      from track.enrolment
      where enrolment.enrolled_at > coalesce(v_known.data_watermark, '-infinity')
    )

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select leaf.person_id, count(distinct ancestor.ancestor_item_id) as item_count
      from leaf
      join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where item.kind = v_known.kind
      group by leaf.person_id
    ) as owned;
    if v_known.data_watermark is null and v_people < v_fewest_people
      or v_interactions < due_trainings.share * v_known.row_count
    then
      continue;
    end if;

    select coalesce(sum(owned.item_count), 0), count(*) filter (where owned.item_count > 1)
    into v_interactions, v_people
    from (
      select liked.person_id, count(*) as item_count
      from recommend._training_rows(v_known.kind) as liked
      where liked.last_at > coalesce(v_known.data_watermark, '-infinity')
      group by liked.person_id
    ) as owned;

    if v_known.data_watermark is null and v_people >= v_fewest_people
      or v_known.data_watermark is not null
        and v_interactions > 0
        and v_interactions >= due_trainings.share * v_known.row_count
    then
      return next v_known.kind;
    end if;
  end loop;
end;
$$;

comment on function recommend.due_trainings(float8) is $$
@behavior -*
Returns the kinds of items whose recommender should be trained.
A kind is returned when it has no version, or the deployed one is marked for training, and at least
`recommend.setting.fewest_people` people like two or more items,
or when the items of people that are newer than the latest version are at least the given share of those it was trained
on. They are counted as a training counts them (`recommend._training_rows`).
Error CF001 for a share that is null, negative or above 1e6.
$$;

grant execute on function recommend.due_trainings(float8) to insights_worker;
--! EndIncluded recommend/functions/due_trainings.sql

--! Included recommend/feedback/_send_feedback.sql
create or replace function recommend._send_feedback(
  person text,
  name_field text,
  feedback text,
  item text,
  value float8,
  topic text,
  serving_id text
)
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_kinds constant text[] := '{show,click,like,dislike,rate,dismiss,know,dismiss_topic,withdraw}';
  v_event text := (
    '{
      "show": "Recommendation Shown", "click": "Recommendation Clicked", "like": "Item Liked",
      "dislike": "Item Disliked", "rate": "Item Rated", "dismiss": "Item Dismissed", "know": "Item Known",
      "dismiss_topic": "Topic Dismissed", "withdraw": "Feedback Withdrawn"
    }'::jsonb
  ) ->> _send_feedback.feedback;
  v_topic constant text := nullif(btrim(_send_feedback.topic), '');
  v_item_id bigint;
  v_serving recommend.serving;
  v_weight recommend.event_weight;
  v_result track.ingest_result;
  v_error jsonb;
  v_person_id bigint;
begin
  perform recommend._check_session('send feedback', '{}');
  if v_event is null then
    perform common.refuse(
      'CF002',
      format('there is no feedback "%s"', coalesce(left(_send_feedback.feedback, 100), 'null')),
      coalesce('Did you mean "' || common.nearest_name(_send_feedback.feedback, v_kinds) || '"? ', '')
        || format('There are %s.', array_to_string(v_kinds, ', '))
    );
  end if;

  if _send_feedback.item is not null then
    v_item_id := (recommend._find_items(array[_send_feedback.item]))[1];
  end if;
  if _send_feedback.serving_id is not null then
    v_serving := recommend._own_serving(_send_feedback.serving_id, track.find_person(_send_feedback.person));
    select coalesce(known.merged_item_id, known.item_id) into v_serving.item_id
    from track.item as known
    where known.item_id = v_serving.item_id;
    if v_item_id <> v_serving.item_id then
      perform common.refuse(
        'CF001',
        format('item is "%s"', left(_send_feedback.item, 100)),
        format(
          'The serving_id is that of "%s": give no item, or this one.',
          (select left(known.external_id, 100) from track.item as known where known.item_id = v_serving.item_id)
        )
      );
    end if;
    v_item_id := v_serving.item_id;
    if v_event = 'Item Dismissed' then
      v_event := 'Recommendation Dismissed';
    end if;
  elsif _send_feedback.feedback in ('show', 'click') then
    perform common.refuse('CF001', 'serving_id is null', 'Give the serving_id of the row of the list.');
  end if;

  if v_topic is not null and _send_feedback.feedback not in ('dismiss_topic', 'withdraw') then
    perform common.refuse('CF001', format('topic is "%s"', left(v_topic, 100)),
      'A topic belongs to dismiss_topic and withdraw.');
  end if;
  if length(v_topic) > 500 then
    perform common.refuse('CF008', format('topic has %s characters', length(v_topic)), 'A topic has at most 500.');
  end if;
  if v_item_id is null and v_topic is null then
    perform common.refuse(
      'CF001',
      'item is null',
      case
        when _send_feedback.feedback in ('dismiss_topic', 'withdraw') then 'Give an item, a serving_id or a topic.'
        else 'Give an item or a serving_id.'
      end
    );
  end if;

  if _send_feedback.feedback = 'dismiss_topic' and v_topic is null
    and not exists (select from recommend._topics(array[v_item_id]))
  then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" has no topic',
        (select left(known.external_id, 100) from track.item as known where known.item_id = v_item_id)
      ),
      format(
        'Dismiss the item, or state the topics of items in the attribute "%s".',
        (select left(setting.topic_attribute, 100) from recommend.setting)
      )
    );
  end if;

  if _send_feedback.feedback <> 'rate' then
    if _send_feedback.value is not null then
      perform common.refuse('CF001', format('value is %s', _send_feedback.value), 'A value belongs to rate.');
    end if;
  else
    select * into v_weight
    from recommend.event_weight
    where event_weight.event = v_event;
    if v_weight.value_property is null then
      perform common.refuse('CF006', format('there is no scale of "%s"', v_event),
        'Administrators set value_property, value_from and value_to in recommend.event_weight.');
    end if;
    if _send_feedback.value is null
      or _send_feedback.value not between least(v_weight.value_from, v_weight.value_to)
        and greatest(v_weight.value_from, v_weight.value_to)
    then
      perform common.refuse(
        'CF001',
        format('value is %s', coalesce(_send_feedback.value::text, 'null')),
        format('Give a number from %s to %s.', v_weight.value_from, v_weight.value_to)
      );
    end if;
  end if;

  v_result := track.ingest(jsonb_build_array(jsonb_build_object(
    'type', 'track',
    'messageId', 'feedback-' || gen_random_uuid(),
    _send_feedback.name_field, _send_feedback.person,
    'event', v_event,
    'properties', jsonb_strip_nulls(jsonb_build_object(
      'item', (select known.external_id from track.item as known where known.item_id = v_item_id),
      'topic', v_topic,
      'servingId', _send_feedback.serving_id
    )) || case when v_weight.value_property is null then '{}' else
      jsonb_build_object(v_weight.value_property, _send_feedback.value)
    end
  )));
  if v_result.rejected > 0 then
    v_error := v_result.errors -> 0;
    perform common.refuse(v_error ->> 'code', v_error ->> 'message', v_error ->> 'hint');
  end if;

  -- Without the consent that the event needs, it was stored for no person; without that to personalization, it is not
  -- used.
  v_person_id := track.find_person(_send_feedback.person);
  return privacy.allowed(v_person_id, 'personalization')
    and privacy.allowed(
      v_person_id,
      (select event_type.purpose from track.event_type where event_type.name = v_event)
    );
end;
$$;

comment on function recommend._send_feedback(text, text, text, text, float8, text, text) is $$
@behavior -*
Checks an answer of a person and sends it as an event through `track.ingest`: see `recommend.feedback`.
`name_field`: `userId` or `anonymousId`.
$$;
--! EndIncluded recommend/feedback/_send_feedback.sql

--! Included recommend/feedback/feedback.sql
/* A definer: it checks the signature and the person of a serving_id. The caller's rights decide what is sent. */
create or replace function recommend.feedback(
  feedback text,
  item text default null,
  value float8 default null,
  topic text default null,
  serving_id text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_person constant text := nullif(current_setting('insights.person', true), '');
begin
  if v_person is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: an answer belongs to a person.');
  end if;
  return recommend._send_feedback(
    v_person, 'userId', feedback.feedback, feedback.item, feedback.value, feedback.topic, feedback.serving_id
  );
end;
$$;

comment on function recommend.feedback(text, text, float8, text, text) is $$
Stores an answer of the signed-in person to a recommendation, or about an item or a topic. It acts at once.
`feedback` is `show` (the row was seen), `click`, `like`, `dislike`, `rate` (with `value`, on the scale of the event
`Item Rated` in `recommend.event_weight`), `dismiss`, `know` (the content is known already), `dismiss_topic` (she is not
interested in `topic`, or in the topic of the item) or `withdraw` (revokes the earlier answers about the item or
topic). `serving_id` connects the answer with the row of the list; the item may then be left out.
The answer is an event (see `docs/events.md`) that `track.ingest` stores. Returns whether it is used: false when the
person has opted out of personalization or of what the event is stored for.
Errors: CF002 for an unknown `feedback` or item (names the nearest), CF001 for missing or contradictory arguments and
for the topic of an item without one,
CF005 for a `serving_id` that is too old or of another person and when no person is signed in, CF009 for one that is
not a valid one, CF008 for a topic of more than 500 characters, and those of the event.
$$;

grant execute on function recommend.feedback(text, text, float8, text, text) to insights_learner;
--! EndIncluded recommend/feedback/feedback.sql

--! Included monitor/checks/_has_worker.sql
create or replace function monitor._has_worker()
returns boolean
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select exists (
    select
    from monitor.worker
    where worker.stopped_at is null
      and worker.seen_at > clock_timestamp() - interval '3 minutes'
      -- Not one of a clock that was ahead.
      and worker.seen_at <= clock_timestamp() + interval '1 minute'
  )
$$;

comment on function monitor._has_worker() is $$
Returns whether a worker has sent a heartbeat within three minutes.
$$;
--! EndIncluded monitor/checks/_has_worker.sql

--! Included monitor/checks/_check_worker.sql
create or replace function monitor._check_worker()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_fix constant text := 'Start a worker: insights worker (or insights start). If it ends again, see its log.';
  v_latest monitor.worker;
  v_ran_at timestamptz;
  v_has_work boolean;
  v_last_seen text;
begin
  v_ran_at := (
    select max(latest.started_at)
    from monitor.scheduled_task as scheduled
    cross join lateral (
      select run.started_at
      from monitor.run
      where run.task = scheduled.task
        -- Not those of a clock that was ahead.
        and run.started_at <= v_now + interval '1 minute'
      order by run.started_at desc
      limit 1
    ) as latest
  );

  if monitor._has_worker() then
    -- The watch runs every minute, unless a long task keeps a worker with one job at a time busy.
    if (select min(worker.started_at) from monitor.worker where worker.stopped_at is null
        and worker.seen_at between v_now - interval '3 minutes' and v_now + interval '1 minute')
        < v_now - interval '15 minutes'
      and coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
      and not exists (
        select
        from monitor.scheduled_task as scheduled
        cross join lateral (
          select run.outcome, run.started_at
          from monitor.run
          where run.task = scheduled.task
          order by run.started_at desc
          limit 1
        ) as latest
        where latest.outcome = 'running'
          and latest.started_at > v_now - interval '12 hours'
      )
    then
      return next monitor._finding(
        'worker', 'tasks', 'critical',
        format('a worker sends heartbeats, but no task has run for %s',
          monitor._duration(v_now - coalesce(v_ran_at, (select min(worker.started_at) from monitor.worker)))),
        'Restart the worker: insights worker. See its log. Jobs that a killed worker had locked are freed after four '
          || 'hours: select locked_by, locked_at, task_identifier from insights_queue.jobs where locked_at is not null',
        extract(epoch from v_now - v_ran_at), 900
      );
    end if;
    return;
  end if;

  select worker.* into v_latest from monitor.worker order by worker.seen_at desc limit 1;
  v_has_work := exists (select 1 from track.stale) or exists (select 1 from track.changed);
  v_last_seen := monitor._duration(v_now - v_latest.seen_at);
  if v_latest.seen_at > v_now + interval '1 minute' then
    -- The clock was ahead. A worker that is running sends its next heartbeat within a minute, and runs tasks.
    if v_latest.stopped_at is null and coalesce(v_ran_at, '-infinity') < v_now - interval '3 minutes' then
      return next monitor._finding(
        'worker', '', 'critical',
        format('no worker is running: the last heartbeat of %s has a time in the future, and it was not stopped',
          v_latest.worker),
        v_fix, extract(epoch from v_now - v_ran_at), 180
      );
    end if;
  elsif v_latest.stopped_at is null and v_latest.worker is not null then
    return next monitor._finding(
      'worker', '', 'critical',
      format('no worker is running: %s sent its last heartbeat %s ago, and was not stopped', v_latest.worker,
        v_last_seen),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 180
    );
  elsif coalesce(v_ran_at, '-infinity') < v_now - interval '15 minutes'
    and (
      v_latest.worker is null and v_has_work
      or v_latest.seen_at < v_now - interval '15 minutes' and v_has_work
      or v_latest.seen_at < v_now - interval '1 day'
    )
    -- A worker that is started each day for one round sends no heartbeat.
    and (v_latest.worker is not null or coalesce(v_ran_at, '-infinity') < v_now - interval '1 day')
  then
    return next monitor._finding(
      'worker', '', 'warning',
      format(
        'no worker is running%s%s',
        case when v_latest.worker is null then ', and none has run'
          else format(': the last one was stopped %s ago', v_last_seen) end,
        case when v_has_work then '; changes of people wait to be refreshed' end
      ),
      v_fix, extract(epoch from v_now - v_latest.seen_at), 900
    );
  end if;
end;
$$;

comment on function monitor._check_worker() is $$
Finds that no worker is running: it was killed, or stopped while there is work; and a worker that runs no task.
$$;
--! EndIncluded monitor/checks/_check_worker.sql

--! Included monitor/checks/_check_queue.sql
create or replace function monitor._check_queue()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is null then
    return;
  end if;
  return query execute $statement$
    with job as (
      select
        substr(task.identifier, 10) as task, job.attempts >= job.max_attempts as has_failed,
        clock_timestamp() - job.run_at as wait
      from insights_queue._private_jobs as job
      join insights_queue._private_tasks as task on task.id = job.task_id
      where task.identifier like 'insights:%'
        and job.locked_at is null
        and job.run_at <= clock_timestamp()
      limit 100000
    ),

    task as (
      select
        job.task, count(*) filter (where not job.has_failed) as waiting,
        max(job.wait) filter (where not job.has_failed) as longest,
        count(*) filter (where job.has_failed) as failed
      from job
      group by job.task
    )

    select found.*
    from task
    cross join lateral (
      select (monitor._finding(
        'queue', task.task,
        case when task.longest >= interval '2 hours' then 'critical' else 'warning' end,
        format('a job of the task %s has waited for %s', task.task, monitor._duration(task.longest)),
        'Start a worker: insights worker. If one is running, see what keeps it busy: '
          || 'select task, started_at from monitor.run where outcome = ''running'' order by started_at',
        extract(epoch from task.longest), 900
      )).*
      where task.longest >= interval '15 minutes'
      union all
      select (monitor._finding(
        'queue', task.task || ' (many)',
        case when task.waiting >= 50000 then 'critical' else 'warning' end,
        format('%s%s jobs of the task %s are waiting', task.waiting,
          case when task.waiting >= 100000 then ' or more' end, task.task),
        'Start another worker: insights worker. Find out who adds the jobs: select payload, count(*) '
          || 'from insights_queue._private_jobs group by 1 order by 2 desc limit 10',
        task.waiting, 1000
      )).*
      where task.waiting >= 1000
      union all
      select (monitor._finding(
        'queue', task.task || ' (failed)', 'warning',
        format('%s %s of the task %s failed in all attempts', task.failed,
          case task.failed when 1 then 'job' else 'jobs' end, task.task),
        format('Read the error: select last_error from insights_queue.jobs where task_identifier = ''insights:%s'' ',
          task.task) || 'and attempts >= max_attempts. Remove its cause, then run the job again: '
          || 'select insights_queue.reschedule_jobs(array_agg(id), attempts => 0) from insights_queue.jobs where '
          || format('task_identifier = ''insights:%s'' and attempts >= max_attempts', task.task),
        task.failed, 1
      )).*
      where task.failed > 0
    ) as found
  $statement$;
end;
$$;

comment on function monitor._check_queue() is $$
Finds jobs that wait for 15 minutes, tasks with 1,000 waiting jobs, and jobs that failed in all attempts.
$$;
--! EndIncluded monitor/checks/_check_queue.sql

--! Included monitor/checks/_check_refresh.sql
create or replace function monitor._check_refresh()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 100000;
  v_queued bigint;
  v_refreshed_at timestamptz;
  v_lag interval;
begin
  v_queued := (select count(*) from (select 1 from track.stale limit v_most) as queued)
    + (select count(*) from (select 1 from track.changed limit v_most) as queued);
  if v_queued = 0 then
    return;
  end if;
  v_refreshed_at := (select max(run.started_at) from monitor.run where run.task = 'refresh' and run.outcome = 'ok');
  v_lag := clock_timestamp()
    - coalesce(v_refreshed_at, (select min(run.started_at) from monitor.run where run.task = 'refresh'));

  if v_lag >= interval '15 minutes' then
    return next monitor._finding(
      'refresh', 'lag', case when v_lag >= interval '2 hours' then 'critical' else 'warning' end,
      format(
        '%s%s changes of people wait to be refreshed, %s', v_queued,
        case when v_queued >= v_most then ' or more' end,
        format(
          case
            when v_refreshed_at is null then 'no refresh has succeeded since the first attempt %s ago'
            else 'the last refresh was %s ago'
          end,
          monitor._duration(v_lag)
        )
      ),
      'Start a worker: insights worker. If one is running, read the error: select error from monitor.run '
        || 'where task = ''refresh'' order by started_at desc limit 5. To refresh now: '
        || 'select * from track.refresh(100000)',
      extract(epoch from v_lag), 900
    );
  end if;
  if v_queued >= v_most then
    return next monitor._finding(
      'refresh', 'queue', 'warning',
      format('%s or more changes of people wait to be refreshed', v_queued),
      'After a large import, wait until they are refreshed. Otherwise more arrives than is refreshed: see row_count '
        || 'and duration of select * from monitor.run where task = ''refresh'' order by started_at desc limit 20',
      v_queued, v_most
    );
  end if;
end;
$$;

comment on function monitor._check_refresh() is $$
Finds changes that have not been refreshed for 15 minutes, and more than 100,000 of them.
$$;
--! EndIncluded monitor/checks/_check_refresh.sql

--! Included monitor/checks/_check_partitions.sql
create or replace function monitor._check_partitions()
returns setof monitor.finding
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_this_month constant timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_month timestamp;
  v_rows bigint;
  v_default regclass;
begin
  -- They are made by the first run of the task; before, by the first event of a month.
  if exists (select 1 from monitor.run where run.task = 'make_partitions' and run.outcome = 'ok')
    or exists (select 1 from monitor.run where run.started_at < clock_timestamp() - interval '26 hours')
  then
    foreach v_month in array array[v_this_month, v_this_month + interval '1 month'] loop
      if not exists (
        select 1
        from pg_catalog.pg_inherits as part
        join pg_catalog.pg_class as partition on partition.oid = part.inhrelid
        where part.inhparent = 'track.event'::regclass
          and partition.relname = 'event_' || to_char(v_month, 'YYYY_MM')
          and not part.inhdetachpending
      ) then
        return next monitor._finding(
          'partitions', 'track.event_' || to_char(v_month, 'YYYY_MM'),
          case when v_month = v_this_month then 'critical' else 'warning' end,
          format('track.event has no partition for %s', to_char(v_month, 'YYYY-MM')),
          case
            when to_regclass('track.event_' || to_char(v_month, 'YYYY_MM')) is null
              then 'Create it: select track.make_partitions(). A worker does so each day: see the task make_partitions '
                || 'in monitor.run'
            when exists (
              select
              from pg_catalog.pg_inherits as part
              where part.inhparent = 'track.event'::regclass
                and part.inhrelid = to_regclass('track.event_' || to_char(v_month, 'YYYY_MM'))
            )
              then format('To detach it concurrently was interrupted. Complete that: alter table track.event detach '
                || 'partition track.event_%1$s finalize. Attach it again: alter table track.event attach partition '
                || 'track.event_%1$s for values from (''%2$s 00:00+00'') to (''%3$s 00:00+00'')',
                to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date)
            else format(
              'A table of this name is detached. Attach it: alter table track.event attach partition track.event_%s '
                || 'for values from (''%s 00:00+00'') to (''%s 00:00+00'')',
              to_char(v_month, 'YYYY_MM'), v_month::date, (v_month + interval '1 month')::date
            )
          end
        );
      end if;
    end loop;
  end if;

  v_default := (
    select nullif(partitioned.partdefid, 0)::regclass
    from pg_catalog.pg_partitioned_table as partitioned
    where partitioned.partrelid = 'track.event'::regclass
  );
  if v_default is not null then
    execute format('select count(*) from (select from %s limit 1000) as stray', v_default) into v_rows;
    if v_rows > 0 then
      return next monitor._finding(
        'partitions', v_default::text, 'warning',
        format('the default partition %s has %s%s events', v_default, v_rows,
          case v_rows when 1000 then ' or more' end),
        format(
          'Detach it: alter table track.event detach partition %1$s. Create the partitions of its months: '
            || 'select track.make_partitions(min(occurred_at), max(occurred_at)) from %1$s. Move its rows: '
            || 'insert into %2$s select * from %1$s. Drop it: drop table %1$s', v_default, 'track.event'
        ),
        v_rows, 1
      );
    end if;
  end if;
end;
$$;

comment on function monitor._check_partitions() is $$
Finds a missing partition of events for this month or the next one, and rows in a default partition.
$$;
--! EndIncluded monitor/checks/_check_partitions.sql

--! Included monitor/checks/_check_relevance.sql
create or replace function monitor._check_relevance()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select (monitor._finding(
    'relevance', 'recommend.' || reading.kind, case reading.verdict when 'worse' then 'critical' else 'warning' end,
    format('version %s of recommend.%s %s fewer clicks than version %s%s', reading.version, reading.kind,
      case
        when reading.difference < 0
          then format('gets %s %%', round((-100 * reading.difference / reading.former_click_rate)::numeric))
        -- The verdict remains, with the evidence of that time, when later readings differ, or have no lists any more.
        else format('got on %s', to_char(reading.worse_at at time zone 'UTC', 'YYYY-MM-DD'))
      end,
      reading.former_version, case reading.verdict when 'rolled_back' then ', which was deployed again' else '' end),
    case reading.verdict
      when 'worse' then format('Deploy the version before: select ml.rollback(''recommend.%s'').%s', reading.kind,
        ' ' || reading.note)
      else 'Compare the versions before another training is deployed: select * from monitor.relevance(by => ''model'').'
    end,
    reading.difference, 0
  )).*
  from ml.project
  cross join lateral (
    select max(deployment.deployment_id) as deployment_id
    from ml.deployment
    where deployment.project_id = project.project_id
  ) as latest
  join monitor.deployment_relevance as reading
    on 'recommend.' || reading.kind = project.name
  where reading.verdict = 'worse' and reading.deployment_id = latest.deployment_id
    or reading.verdict = 'rolled_back' and reading.worse_at > clock_timestamp() - interval '7 days'
$$;

comment on function monitor._check_relevance() is $$
Finds deployed recommenders that are worse than the version before, and those that were rolled back in the last 7 days.
$$;
--! EndIncluded monitor/checks/_check_relevance.sql

--! Included monitor/rules/rule_state.sql
create or replace function monitor._state_of_rule(rule monitor.rule, at timestamptz)
returns setof monitor.rule_state
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Without the samples of a clock that was ahead, after which no series would have a recent value.
  v_latest constant timestamptz := (
    select max(sample.sampled_at) from monitor.sample where sample.sampled_at <= _state_of_rule.at
  );
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

--! Included monitor/rules/_check_rules.sql
create or replace function monitor._figure(value float8)
returns numeric
language sql
immutable
strict
parallel safe
begin atomic
  -- Small ones would be 0.000, as would their bound.
  select round(
    value::numeric,
    case when abs(value) between 1e-300 and 0.1 then 2 - floor(log(abs(value)))::int else 3 end
  );
end;

comment on function monitor._figure(float8) is $$
Returns a number with three decimal places, a small one with three significant digits.
$$;

create or replace function monitor._check_rules()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with state as (
    select known.severity, known.expects_data, known.set_at, state.*
    from monitor.rule as known
    cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
    where known.is_active
  )

  select monitor._finding(
    state.rule,
    case when state.labels = '{}' then '' else state.labels::text end,
    state.severity,
    format(
      '%s%s is %s, %s the %s bound %s', state.metric, case when state.labels <> '{}' then ' ' || state.labels::text end,
      monitor._figure(state.value),
      case when state.value > state.upper_bound then 'above' else 'below' end,
      case state.basis when 'set' then 'set' else 'learned' end,
      monitor._figure(case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end)
    ),
    format('See its past: select * from monitor.history(%L, %L). If this is expected, change the rule with '
      || 'monitor.set_rule, or silence it: select monitor.silence(%L, now() + interval ''1 day'', ''expected'')',
      state.metric, state.labels, state.rule),
    state.value,
    case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end
  )
  from state
  where state.state = 'firing'

  union all

  select monitor._finding(
    state.rule, 'no data', 'warning',
    format('%s has no recent value, so the rule %s cannot be evaluated', min(state.metric), state.rule),
    format('See the probe that measures it: select probe, started_at, error from monitor.probe_state. If the metric no '
      || 'longer exists: select monitor.drop_rule(%L)', state.rule)
  )
  from state
  where state.expects_data
    and state.set_at < clock_timestamp() - interval '1 hour'
    -- While nothing is measured at all, that is the finding (check "probes").
    and exists (
      select
      from monitor.sample
      where sample.sampled_at between clock_timestamp() - interval '30 minutes' and clock_timestamp()
    )
    and (select min(sample.sampled_at) from monitor.sample) < clock_timestamp() - interval '30 minutes'
  group by state.rule
  having bool_and(state.state = 'no data')
$$;

comment on function monitor._check_rules() is $$
Finds series that are outside of the bounds of a rule for its time, and rules whose metric has no recent value.
The findings have the name of the rule as their source.
$$;
--! EndIncluded monitor/rules/_check_rules.sql

--! Included monitor/probes/_probe_workers.sql
create or replace function monitor._probe_workers()
returns setof monitor.measurement
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select measured.metric, null::jsonb, measured.value
  from (
    select
      count(*) filter (
        where worker.stopped_at is null and worker.seen_at > clock_timestamp() - interval '2 minutes'
      ) as running,
      extract(epoch from clock_timestamp() - max(worker.seen_at)) as silence
    from monitor.worker
    -- Not those of a clock that was ahead.
    where worker.seen_at <= clock_timestamp() + interval '1 minute'
  ) as state
  cross join lateral (
    values
      ('insights_workers', state.running::float8),
      ('insights_worker_silence_seconds', state.silence::float8)
  ) as measured (metric, value)
$$;

comment on function monitor._probe_workers() is $$
Measures the workers: how many sent a heartbeat within two minutes, and the time since the last one.
$$;
--! EndIncluded monitor/probes/_probe_workers.sql

--! Included monitor/probes/_probe_refresh.sql
create or replace function monitor._probe_refresh()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A rebuild queues all people: counting them all would take longer the later they are refreshed.
  v_most constant int := 100000;
begin
  return query
  with queued (step, periods) as (
    select 'track.session', count(*)
    from (select 1 from track.stale limit v_most) as stale
    union all
    select consumer.consumer, changed.periods
    from track.consumer
    cross join lateral (
      select count(*) as periods
      from (select 1 from track.changed where changed.consumer = consumer.consumer limit v_most) as queue
    ) as changed
  )

  select 'insights_refresh_queued_periods', jsonb_build_object('step', queued.step), queued.periods::float8
  from queued
  union all
  -- The time of the last refresh is that until which the derived data is complete, if anything has changed since then.
  -- Before the first one that succeeded, that of the first attempt.
  select 'insights_refresh_lag_seconds', null,
    case
      when exists (select 1 from queued where queued.periods > 0)
        then extract(
          epoch from clock_timestamp() - coalesce(
            (select max(run.started_at) from monitor.run where run.task = 'refresh' and run.outcome = 'ok'),
            (select min(run.started_at) from monitor.run where run.task = 'refresh')
          )
        )::float8
      else 0
    end;
end;
$$;

comment on function monitor._probe_refresh() is $$
Measures the queues of the refresh, of each step up to 100,000 periods, and how old the derived data is.
$$;
--! EndIncluded monitor/probes/_probe_refresh.sql

--! Included monitor/probes/_probe_partitions.sql
create or replace function monitor._probe_partitions()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with attached as (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  )

  select 'insights_event_partitions', null::jsonb, count(*)::float8
  from attached
  union all
  select 'insights_event_partitions_ahead_seconds', null,
    greatest(
      extract(
        epoch from coalesce(min(missing.month), date_trunc('month', clock_timestamp()) + interval '25 months')
          - clock_timestamp()
      ), 0
    )::float8
  from generate_series(
    date_trunc('month', clock_timestamp()), date_trunc('month', clock_timestamp()) + interval '2 years',
    interval '1 month'
  ) as missing (month)
  where missing.month::date not in (select attached.month from attached);
end;
$$;

comment on function monitor._probe_partitions() is $$
Measures the partitions of `track.event`: their number, and the time until the first month that has none.
That is at most about two years.
$$;
--! EndIncluded monitor/probes/_probe_partitions.sql

--! Included monitor/observation/metrics.sql
create or replace function monitor.metrics()
returns setof monitor.metric_value
language sql
stable
-- No definer: administrators and workers may read the tables.
set search_path to pg_catalog, pg_temp
rows 500
as $$
  select series.metric, metric.kind, metric.unit, series.labels, series.value, series.measured_at, metric.description
  from monitor.series
  join monitor.metric using (metric)
  join monitor.probe using (probe)
  join monitor.probe_state as state using (probe)
  -- Only what the last run has measured: the table, task or model of another series does not exist any more.
  where series.measured_at = state.measured_at
    -- Values that a failing probe or a stopped worker left behind are not those of the present.
    and series.measured_at > clock_timestamp() - probe.every * 2 - interval '5 minutes'
  union all
  select metric.metric, metric.kind, metric.unit, '{}', extract(epoch from clock_timestamp() - sample.sampled_at),
    clock_timestamp(), metric.description
  from monitor.metric
  cross join (
    select max(sampled_at) as sampled_at
    from monitor.sample
    -- Without those of a clock that was ahead.
    where sampled_at <= clock_timestamp()
  ) as sample
  where metric.metric = 'insights_observation_age_seconds'
    and sample.sampled_at is not null
  order by 1, 4
$$;

comment on function monitor.metrics() is $$
Returns the latest value of each series.
A series is left out when the last run of its probe did not measure it, and when its latest value is older than two
intervals of its probe and five minutes.
`insights_observation_age_seconds` is measured by this function: it rises while no worker runs.
$$;

grant execute on function monitor.metrics() to insights_admin, insights_worker;
--! EndIncluded monitor/observation/metrics.sql

--! Included monitor/observation/beat.sql
create or replace function monitor.beat(worker text, version text)
returns void
language plpgsql
volatile
-- A definer: workers write monitor.worker through these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
begin
  if length(beat.worker) between 1 and 200 is not true or length(beat.version) <= 100 is not true then
    perform common.refuse(
      'CF001',
      format(
        'the worker is "%s", its version "%s"',
        coalesce(left(beat.worker, 100), 'null'),
        coalesce(left(beat.version, 100), 'null')
      ),
      'Give names of 1 to 200 and of at most 100 characters.'
    );
  end if;
  insert into monitor.worker as known (worker, started_at, seen_at, version)
  values (beat.worker, v_now, v_now, beat.version)
  on conflict on constraint worker_pkey do update
  set seen_at = excluded.seen_at, stopped_at = null, version = excluded.version;
end;
$$;

comment on function monitor.beat(text, text) is $$
@behavior -*
Records a heartbeat of a worker. Errors: CF001 for names that are null or too long.
$$;

grant execute on function monitor.beat(text, text) to insights_worker;
--! EndIncluded monitor/observation/beat.sql

--! Included monitor/relevance/_reported_period.sql
create or replace function monitor._reported_period(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns tstzrange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform common.check_period(_reported_period.since, _reported_period.until);
  if not exists (select from track.item where item.kind = _reported_period.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(_reported_period.kind, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(known.kind, ', ' order by known.kind) || '.'
          from (select distinct item.kind from track.item order by item.kind limit 20) as known
        ),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
  return case
    when _reported_period.smallest_group is null
      then tstzrange(_reported_period.since, _reported_period.until)
    else monitor._whole_weeks(_reported_period.since, _reported_period.until)
  end;
end;
$$;

comment on function monitor._reported_period(timestamptz, timestamptz, text, int) is $$
@behavior -*
Checks the period and the kind of a report, and returns the period; for analysts, the whole weeks that it touches.
$$;

grant execute on function monitor._reported_period(timestamptz, timestamptz, text, int) to insights_reader;
--! EndIncluded monitor/relevance/_reported_period.sql

--! Included monitor/erase.sql
create or replace function monitor._names_person(content text, names text[])
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One name at a time: a person can have thousands, too many for one regular expression.
  return exists (
    select
    from unnest(_names_person.names) as named (name)
    where strpos(_names_person.content, named.name) > 0
      and _names_person.content ~ privacy.names_pattern(array[named.name])
  );
end;
$$;

comment on function monitor._names_person(text, text[]) is $$
Returns whether one of the names occurs in a text as a word.
$$;

create or replace function monitor.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Also as they are written in JSON.
  v_names constant text[] := array(
    select named.name
    from unnest(subject.names) as named (name)
    union
    select substr(written.name, 2, length(written.name) - 2)
    from (select to_jsonb(named.name)::text as name from unnest(subject.names) as named (name)) as written
  );
  v_key_pattern constant text := format('\yperson (%s)\y', array_to_string(subject.identity_ids, '|'));
  v_rows bigint;
begin
  -- Messages of errors contain the key of a person, or a value that she sent.
  update monitor.run
  set error = case when error is not null then 'erased' end, detail = null
  where monitor._names_person(run.error, v_names)
    or run.error ~ v_key_pattern
    or monitor._names_person(run.detail::text, v_names)
    or run.detail::text ~ v_key_pattern;
  get diagnostics v_rows = row_count;
  return next row('monitor.run', v_rows, 'cleared')::privacy.erased;
  update monitor.probe_state
  set error = 'erased'
  where monitor._names_person(probe_state.error, v_names)
    or probe_state.error ~ v_key_pattern;
  get diagnostics v_rows = row_count;
  return next row('monitor.probe_state', v_rows, 'cleared')::privacy.erased;

  return next privacy.clear_values('monitor.alert', 'acknowledged_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_event', 'author', privacy.user_names(subject));
  return next privacy.clear_values('monitor.rule', 'set_by', privacy.user_names(subject));
  return next privacy.clear_values('monitor.alert_silence', 'author', privacy.user_names(subject));

  -- The queue of graphile-worker exists once a worker has run.
  if to_regclass('insights_queue._private_jobs') is not null then
    execute $statement$
      delete from insights_queue._private_jobs as job
      where exists (
        select
        from unnest($1) as named (name)
        where jsonb_path_exists(job.payload::jsonb, '$.** ? (@ == $name)', jsonb_build_object('name', named.name))
      )
    $statement$
    using privacy.user_names(subject);
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'deleted')::privacy.erased;
    execute $statement$
      update insights_queue._private_jobs as job
      set last_error = 'erased'
      where monitor._names_person(job.last_error, $1)
        -- A failed run has its error here too. Errors of other tasks contain keys of an application.
        or job.last_error ~ $2
        and job.task_id in (
          select task.id from insights_queue._private_tasks as task where task.identifier like 'insights:%'
        )
    $statement$
    using v_names, v_key_pattern;
    get diagnostics v_rows = row_count;
    return next row('insights_queue.jobs', v_rows, 'cleared')::privacy.erased;
  end if;
end;
$$;

comment on function monitor.erase(privacy.subject) is $$
@behavior -*
Replaces the error messages of task runs and queued jobs that contain a name of the person.
Also her name where she acknowledged or silenced alerts. Deletes jobs about her.
Called by `privacy.erase_person`.
$$;
--! EndIncluded monitor/erase.sql
