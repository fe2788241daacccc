create or replace function ml._check_gbm_arguments(
  num_trees int,
  learning_rate float8,
  max_depth int,
  min_rows int,
  min_child_weight float8,
  lambda float8,
  gamma float8,
  row_sample float8,
  feature_sample float8,
  early_stopping_rounds int,
  seed bigint
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if num_trees is null or num_trees not between 1 and 10000 then
    perform common.refuse('CF001', format('num_trees %s', coalesce(num_trees::text, 'null')),
      'Choose 1 to 10000 trees.');
  elsif learning_rate is null or not (learning_rate > 0 and learning_rate <= 1) then
    perform common.refuse('CF001', format('learning_rate %s', coalesce(learning_rate::text, 'null')),
      'Choose a number above 0, at most 1; 0.1 is usual.');
  elsif max_depth is null or max_depth not between 1 and 16 then
    perform common.refuse('CF001', format('max_depth %s', coalesce(max_depth::text, 'null')),
      'Choose 1 to 16; boosting does well with 3 to 8.');
  elsif min_rows is null or min_rows < 1 then
    perform common.refuse('CF001', format('min_rows %s', coalesce(min_rows::text, 'null')),
      'A leaf needs at least one row.');
  elsif lambda is null or lambda < 0 or lambda = 'Infinity' or lambda = 'NaN' then
    perform common.refuse('CF001', format('lambda %s', coalesce(lambda::text, 'null')),
      'The penalty is a finite number, 0 or more.');
  elsif gamma is null or not (gamma >= 0 and gamma < 'Infinity') or min_child_weight is null
    or not (min_child_weight >= 0 and min_child_weight < 'Infinity') then
    perform common.refuse(
      'CF001',
      format(
        'gamma %s, min_child_weight %s',
        coalesce(gamma::text, 'null'),
        coalesce(min_child_weight::text, 'null')
      ),
      'Both are finite and 0 or more.'
    );
  elsif row_sample is null or not (row_sample > 0 and row_sample <= 1) or feature_sample is null
    or not (feature_sample > 0 and feature_sample <= 1) then
    perform common.refuse(
      'CF001',
      format(
        'row_sample %s, feature_sample %s',
        coalesce(row_sample::text, 'null'),
        coalesce(feature_sample::text, 'null')
      ),
      'Shares are above 0 and at most 1.'
    );
  elsif early_stopping_rounds is not null and early_stopping_rounds < 1 then
    perform common.refuse('CF001', format('early_stopping_rounds %s', early_stopping_rounds),
      'Choose 1 or more, or null for no early stopping.');
  elsif seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  end if;
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
end;
$$;

comment on function ml._check_gbm_arguments(
  int, float8, int, int, float8, float8, float8, float8, float8, int, bigint
) is $$
Raises CF001 unless the arguments of ml.gbm_train are in their ranges.
$$;

grant execute on function ml._check_gbm_arguments(int, float8, int, int, float8, float8, float8, float8, float8, int,
  bigint)
  to insights_analyst, insights_admin, insights_worker;

create or replace function ml.gbm_train(
  source_table text,
  output_table text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text default null,
  objective text default null,
  num_trees int default 200,
  learning_rate float8 default 0.1,
  max_depth int default 6,
  min_rows int default 20,
  min_child_weight float8 default 0.001,
  lambda float8 default 1,
  gamma float8 default 0,
  row_sample float8 default 1,
  feature_sample float8 default 1,
  max_bins int default 64,
  weights text default null,
  validation text default null,
  early_stopping_rounds int default 20,
  seed bigint default 0
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(source_table);
  v_output text := common.output_table(output_table, array['_summary']);
  v_summary text;
  v_id text;
  v_dependent text;
  v_weight text := case when weights is not null then common.numeric_expression(weights, v_relation, 'weights') end;
  v_objective text := objective;
  v_features text[];
  v_skipped bigint;
  v_seen record;
  v_base float8;
  v_codes text;
  v_gradient text;
  v_usable int[];
  v_chosen int[];
  v_leaf text;
  v_trees int := 0;
  v_loss text;
  v_training float8[] := '{}';
  v_validation float8[] := '{}';
  v_loss_training float8;
  v_loss_validation float8;
  v_best int := 0;
  v_best_loss float8 := 'Infinity';
  v_nodes bigint;
begin
  v_summary := common.companion_table(v_output, '_summary');
  perform ml._check_gbm_arguments(
    num_trees, learning_rate, max_depth, min_rows, min_child_weight, lambda, gamma, row_sample, feature_sample,
    early_stopping_rounds, seed
  );
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  v_dependent := common.numeric_expression(dependent_variable, v_relation, 'dependent variable');
  if v_objective is null then
    v_objective := case
      when common.expression_type(dependent_variable, v_relation, 'dependent variable') = 'boolean'::regtype
        then 'logistic' else 'squared_error' end;
  elsif v_objective not in ('squared_error', 'logistic') then
    perform common.refuse('CF001', format('there is no objective "%s"', left(objective, 100)),
      'Choose squared_error or logistic.');
  end if;
  if validation is not null and common.expression_type(validation, v_relation, 'validation') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('validation "%s" is not boolean', left(validation, 100)),
      'Give a condition that is true for the rows to validate on, such as ''course_id in (4, 7)''.');
  end if;
  v_features := ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_id, weights, validation], dependent_variable);
  v_skipped := ml._tree_prepare(v_relation, v_id, v_dependent, v_weight, validation, v_features, max_bins, seed);

  execute
    'select count(*) as row_count, count(*) filter (where valid) as validation_count, min(y) as least,
      max(y) as greatest,
       count(*) filter (where y = ''NaN'' or abs(y) = ''Infinity'') as non_finite,
         min(y) filter (where y not in (0, 1)) as no_class,
       min(y) filter (where not valid) as least_trained, max(y) filter (where not valid) as greatest_trained,
       sum(weight) filter (where not valid) as weight, avg(y) filter (where not valid) as middle,
       sum(weight * y) filter (where not valid) / nullif(sum(weight) filter (where not valid), 0) as mean
     from pg_temp._ml_tree_row'
  into v_seen;
  if v_seen.non_finite > 0 then
    perform common.refuse(
      'CF001',
      format('%s rows have NaN or infinity in "%s"', v_seen.non_finite, left(dependent_variable, 100)),
      'Make them null to leave them out.'
    );
  elsif coalesce(v_seen.weight, 0) <= 0 then
    perform common.refuse('CF004', format('the weights "%s" sum to 0', left(weights, 100)),
      'At least one row must count.');
  elsif v_objective = 'logistic' and v_seen.no_class is not null then
    perform common.refuse(
      'CF001',
      format('"%s" holds %s, a class is 0 or 1', left(dependent_variable, 100), v_seen.no_class),
      'Give a boolean or 0 and 1, or choose squared_error.'
    );
  elsif v_objective = 'logistic' and v_seen.least_trained = v_seen.greatest_trained then
    perform common.refuse(
      'CF004',
      format('"%s" holds one class only, %s', left(dependent_variable, 100), v_seen.least_trained),
      'A classifier needs rows of both classes to train on.'
    );
  elsif validation is not null and v_seen.validation_count = 0 then
    perform common.refuse('CF004', format('no row is for validation: "%s"', left(validation, 100)),
      'Give a condition that is true for some rows.');
  end if;
  execute 'select array_agg(feature order by feature) from pg_temp._ml_tree_feature
    where cardinality(edges) > 0 or cardinality(categories) > 0' into v_usable;
  if v_usable is null then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(v_features, ', ')));
  end if;

  if v_objective = 'logistic' then
    v_base := ln(v_seen.mean / (1 - v_seen.mean));
    v_gradient := 'weight * (1 / (1 + exp(-score)) - y) as s1,
      weight * greatest(exp(-abs(score)) / (1 + exp(-abs(score))) ^ 2, 1e-16) as h';
    v_loss := 'weight * (greatest(score, 0) - score * y + ln(1 + exp(-abs(score))))';
  else
    v_base := v_seen.mean;
    v_gradient := 'weight * (score - y) as s1, weight as h';
    v_loss := 'weight * (score - y) ^ 2';
  end if;

  execute format(
    'create table %s (tree int not null, node int not null, parent int, depth int not null, feature text,
        threshold float8, categories text[],
       missing_left boolean, left_node int, right_node int, value float8, gain float8, cover float8 not null,
         num_rows bigint not null,
       primary key (tree, node))',
    v_output
  );
  v_codes := (select string_agg('f' || feature, ', ') from unnest(v_usable) as feature);
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored;
  -- Once more than there are trees: the last turn only measures the last tree.
  for v_tree in 1..num_trees + 1 loop
    -- Score, gradient and second derivative of every row, once per tree: rewriting the rows is cheaper than an update.
    execute format(
      'create temp table _ml_tree_work on commit drop as
       select key, y, weight, valid, score, not valid %s as used, %s, %s
       from (select key, y, weight, valid, %s as score, %s from pg_temp.%I offset 0) as scored',
      case when row_sample < 1 then format('and hashint8extended(key, %s) & 1048575 < %s',
        seed + v_tree, (row_sample * 1048576)::bigint) else '' end,
      v_gradient, v_codes,
      case when v_tree = 1 then format('%L::float8', v_base) else format('score + %s', v_leaf) end,
      v_codes,
      case when v_tree = 1 then '_ml_tree_row' else '_ml_tree_scored' end
    );
    if v_tree = 1 then
      drop table pg_temp._ml_tree_row;
    else
      drop table pg_temp._ml_tree_scored;
      execute format(
        'select sum(%1$s) filter (where not valid) / sum(weight) filter (where not valid),
          sum(%1$s) filter (where valid) / nullif(sum(weight) filter (where valid), 0)
         from pg_temp._ml_tree_work',
        v_loss
      ) into v_loss_training, v_loss_validation;
      v_training := v_training || v_loss_training;
      v_trees := v_tree - 1;
      if validation is not null then
        v_validation := v_validation || v_loss_validation;
        if v_loss_validation < v_best_loss then
          v_best_loss := v_loss_validation;
          v_best := v_trees;
        end if;
        exit when early_stopping_rounds is not null and v_trees - v_best >= early_stopping_rounds;
      end if;
    end if;
    exit when v_tree > num_trees;

    v_chosen := v_usable;
    if feature_sample < 1 then
      select array_agg(feature order by feature)
      into v_chosen
      from (
        select feature
        from unnest(v_usable) as feature
        order by hashint8extended(feature, seed + v_tree)
        limit greatest(1, round(feature_sample * cardinality(v_usable))::int)
      ) as drawn;
    end if;
    perform ml._tree_grow(v_chosen, 1, 'newton', lambda, gamma, max_depth, min_rows, 0, min_child_weight, null, seed);
    execute 'select count(*) from pg_temp._ml_tree_node' into v_nodes;
    if v_nodes = 1 and v_tree = 1 then
      perform common.refuse(
        'CF004',
        format('no feature splits the %s rows into better halves', v_seen.row_count - v_seen.validation_count),
        format(
          'A leaf needs %s rows (min_rows), weight %s (min_child_weight) and a gain over %s (gamma).',
          min_rows,
          min_child_weight,
          gamma
        )
      );
    end if;
    -- A tree that finds nothing to split will not find it the next time either, unless it looks at other rows or
    -- features.
    exit when v_nodes = 1 and row_sample = 1 and feature_sample = 1;
    execute format(
      $query$
      insert into %s
      select
        %s, node.node, node.parent, node.depth, feature.name,
        case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
        (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
        case when node.feature is not null then node.missing_left end,
        node.left_node, node.right_node,
        case when node.feature is null then coalesce(-%L::float8 * node.s1 / nullif(node.h + %L::float8, 0), 0) end,
        node.gain, node.h, node.n
      from pg_temp._ml_tree_node as node
      left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
      $query$,
      v_output, v_tree, learning_rate, lambda
    );
    v_leaf := ml._tree_case(
      format('format(''%%L::float8'', coalesce(-%L::float8 * s1 / nullif(h + %L::float8, 0), 0))', learning_rate,
        lambda));
    alter table pg_temp._ml_tree_work rename to _ml_tree_scored;
  end loop;
  if validation is not null then
    v_trees := v_best;
    execute format('delete from %s where tree > %s', v_output, v_trees);
  end if;

  execute format(
    'create table %s as
     select ''gbm''::text as method, %L::text as objective, %L::text as source_table, %L::text as model_table,
       %L::text as id_col_name,
       %L::text as dependent_varname, %L::text[] as independent_varnames,
       (select array_agg(case when category then ''category'' else ''number'' end order by feature)
         from pg_temp._ml_tree_feature) as independent_vartypes,
       (select coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), ''{}'')
         from pg_temp._ml_tree_feature) as categories,
       %L::float8 as base_score, %s::int as num_trees, %s::int as num_trees_grown,
       %s::bigint as num_rows_processed, %s::bigint as num_validation_rows, %s::bigint as num_missing_rows_skipped,
       %L::float8[] as training_loss, %L::float8[] as validation_loss, %L::jsonb as parameters',
    v_summary, v_objective, v_relation, v_output, v_id, dependent_variable, v_features,
    v_base, v_trees, cardinality(v_training), v_seen.row_count - v_seen.validation_count, v_seen.validation_count,
    v_skipped,
    v_training, nullif(v_validation, '{}'),
    jsonb_build_object(
      'num_trees', num_trees, 'learning_rate', learning_rate, 'max_depth', max_depth, 'min_rows',
      min_rows, 'min_child_weight', min_child_weight,
      'lambda', lambda, 'gamma', gamma, 'row_sample', row_sample, 'feature_sample', feature_sample, 'max_bins',
      max_bins,
      'weights', weights, 'validation', validation, 'early_stopping_rounds', early_stopping_rounds, 'seed', seed
    )
  );
  execute format('comment on table %s is %L', v_output,
    format('Nodes of a gradient-boosted model of %s on %s, by ml.gbm_train.', dependent_variable, v_relation));
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_scored, pg_temp._ml_tree_node,
    pg_temp._ml_tree_histogram, pg_temp._ml_tree_split, pg_temp._ml_tree_feature, pg_temp._ml_tree_row;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml.gbm_train(
  text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text,
  text, int, bigint
) is $$
@behavior -*
Gradient-boosted trees, by histogram sums in plain SQL.
`objective` is `squared_error` or `logistic` (dependent variable boolean or 0 and 1); by default logistic for a boolean.
Features are columns or expressions (`*`: all other columns): numbers and booleans are cut into `max_bins` bins at
quantiles, text is categorical, missing values and categories never seen go the way that each split learned.
`validation` is a condition on a row: such rows are not trained on, their loss ends the training
`early_stopping_rounds` trees after its best, and the model keeps the trees up to the best; name whole courses or the
latest weeks there. `row_sample` and `feature_sample` are shares drawn for each tree, by a hash of the id and the
seed.
Writes `output_table`, one row per node: `tree`, `node` (0 = root), `parent`, `depth`, `feature` with `threshold` (left:
value < threshold) or `categories` (left: one of them), `missing_left`, `left_node`, `right_node`, `value` (leaves:
what is added to the score), `gain`, `cover` (sum of second derivatives), `num_rows`; and `<output_table>_summary`,
one row: method, objective, names and kinds of features, `base_score`, `num_trees`, numbers of rows, the loss after
each tree (mean log loss or mean squared error), parameters.
Errors: CF001 (a parameter, a type, non-finite values), CF002, CF003 (a table exists), CF004 (no rows, one class,
nothing varies or splits), CF005, CF008.
Source: Friedman, Greedy function approximation, Annals of Statistics 29, 2001; Chen and Guestrin, XGBoost, KDD 2016;
Huang and others, JoinBoost, SIGMOD 2023.
$$;

grant execute on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8,
  float8, float8, float8, int, text, text, int, bigint)
  to insights_analyst, insights_admin, insights_worker;
