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
