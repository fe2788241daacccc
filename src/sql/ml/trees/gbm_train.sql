create or replace function ml._check_gbm_arguments(design ml.tree_design, boosting ml.boosting)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_growth constant ml.tree_growth := design.growth;
begin
  if design.num_trees is null or design.num_trees not between 1 and 10000 then
    perform common.refuse('CF001', format('num_trees %s', coalesce(design.num_trees::text, 'null')),
      'Choose 1 to 10000 trees.');
  elsif boosting.learning_rate is null or not (boosting.learning_rate > 0 and boosting.learning_rate <= 1) then
    perform common.refuse('CF001', format('learning_rate %s', coalesce(boosting.learning_rate::text, 'null')),
      'Choose a number above 0, at most 1; 0.1 is usual.');
  elsif v_growth.max_depth is null or v_growth.max_depth not between 1 and 16 then
    perform common.refuse('CF001', format('max_depth %s', coalesce(v_growth.max_depth::text, 'null')),
      'Choose 1 to 16; boosting does well with 3 to 8.');
  elsif v_growth.min_rows is null or v_growth.min_rows < 1 then
    perform common.refuse('CF001', format('min_rows %s', coalesce(v_growth.min_rows::text, 'null')),
      'A leaf needs at least one row.');
  elsif v_growth.lambda is null or not (v_growth.lambda >= 0 and v_growth.lambda < 'Infinity') then
    perform common.refuse('CF001', format('lambda %s', coalesce(v_growth.lambda::text, 'null')),
      'The penalty is a finite number, 0 or more.');
  elsif v_growth.min_gain is null or not (v_growth.min_gain >= 0 and v_growth.min_gain < 'Infinity')
    or v_growth.min_weight is null or not (v_growth.min_weight >= 0 and v_growth.min_weight < 'Infinity') then
    perform common.refuse(
      'CF001',
      format('gamma %s, min_child_weight %s', coalesce(v_growth.min_gain::text, 'null'),
        coalesce(v_growth.min_weight::text, 'null')),
      'Both are finite and 0 or more.'
    );
  elsif boosting.row_sample is null or not (boosting.row_sample > 0 and boosting.row_sample <= 1)
    or boosting.feature_sample is null or not (boosting.feature_sample > 0 and boosting.feature_sample <= 1) then
    perform common.refuse(
      'CF001',
      format('row_sample %s, feature_sample %s', coalesce(boosting.row_sample::text, 'null'),
        coalesce(boosting.feature_sample::text, 'null')),
      'Shares are above 0 and at most 1.'
    );
  elsif boosting.early_stopping_rounds < 1 then
    perform common.refuse('CF001', format('early_stopping_rounds %s', boosting.early_stopping_rounds),
      'Choose 1 or more, or null for no early stopping.');
  elsif design.seed is null then
    perform common.refuse('CF001', 'the seed is null', 'Give a number; the same seed gives the same model.');
  elsif boosting.objective not in ('squared_error', 'logistic', 'softmax') then
    perform common.refuse('CF001', format('there is no objective "%s"', left(boosting.objective, 100)),
      'Choose squared_error, logistic (two classes) or softmax (classes).');
  end if;
  perform common.check_count('seed', design.seed, -1000000000000000000, 1000000000000000000);
end;
$$;

comment on function ml._check_gbm_arguments(ml.tree_design, ml.boosting) is $$
Raises CF001 unless the arguments of ml.gbm_train are in their ranges.
$$;

create or replace function ml._gbm_base(design ml.tree_design, boosting ml.boosting, fit ml.tree_fit)
returns float8[]
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_seen record;
begin
  if boosting.objective = 'squared_error' then
    return array[fit.mean];
  elsif boosting.objective = 'logistic' then
    select
      min(y) filter (where y not in (0, 1)) as no_class,
      min(y) filter (where not valid) as least,
      max(y) filter (where not valid) as greatest
    into v_seen
    from pg_temp._ml_tree_row;
    if v_seen.no_class is not null then
      perform common.refuse(
        'CF001',
        format('"%s" holds %s, a class is 0 or 1', left(design.dependent, 100), v_seen.no_class),
        'Give a boolean or 0 and 1, or choose squared_error or softmax.'
      );
    elsif v_seen.least = v_seen.greatest then
      perform common.refuse(
        'CF004',
        format('"%s" holds one class only, %s', left(design.dependent, 100), v_seen.least),
        'A classifier needs rows of both classes to train on.'
      );
    end if;
    return array[ln(fit.mean / (1 - fit.mean))];
  end if;
  select
    array_agg(ln(counted.weight / counted.whole) order by counted.y) as base,
    min(fit.levels[counted.y::int]) filter (where counted.weight is null) as without
  into v_seen
  from (
    select y, nullif(sum(weight) filter (where not valid), 0) as weight,
      sum(sum(weight) filter (where not valid)) over () as whole
    from pg_temp._ml_tree_row
    group by y
  ) as counted;
  if v_seen.without is not null or cardinality(v_seen.base) < fit.outputs then
    perform common.refuse(
      'CF004',
      format('"%s" has no row of class %s to train on', left(design.dependent, 100),
        coalesce(left(v_seen.without, 100), 'some value')),
      'Each class needs rows that have a weight and are not for validation.'
    );
  end if;
  return v_seen.base;
end;
$$;

comment on function ml._gbm_base(ml.tree_design, ml.boosting, ml.tree_fit) is $$
The scores before the first tree: the mean, the log odds, or the logarithms of the shares of the classes.
Errors: CF001 (not a class), CF004 (no row of a class).
$$;

create or replace function ml._gbm_rows(
  design ml.tree_design,
  boosting ml.boosting,
  fit ml.tree_fit,
  tree int,
  leaves text[]
)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scores constant text := ml._each(fit.outputs, 'score#');
  v_scored text := format(
    '(select key, y, weight, valid, %s, %s from pg_temp._ml_tree_row offset 0) as scored',
    (
      select string_agg(
        case when tree = 1 then format('%L::float8 as score%s', boosting.base[k], k)
          else format('score%1$s + %2$s as score%1$s', k, leaves[k]) end, ', ' order by k
      )
      from generate_series(1, fit.outputs) as k
    ),
    fit.codes
  );
begin
  if boosting.objective = 'softmax' then
    -- Less the greatest score, so that none of the powers is too large.
    v_scored := format(
      '(select *, %s as total from (select *, %s from %s offset 0) as risen offset 0) as shared',
      ml._each(fit.outputs, 'e#', ' + '),
      replace(ml._each(fit.outputs, 'exp(greatest(score# - {top}, -700)) as e#'), '{top}',
        format('greatest(%s)', v_scores)),
      v_scored
    );
  end if;
  execute format(
    $query$
    create temp table _ml_tree_work on commit drop as
    select not valid %s as used, %s, %s, key, y, weight, valid, %s
    from %s
    $query$,
    case when boosting.row_sample < 1 then format('and hashint8extended(key, %s) & 1048575 < %s',
      design.seed + tree, (boosting.row_sample * 1048576)::bigint) else '' end,
    case boosting.objective
      when 'squared_error' then 'weight * (score1 - y) as s1, weight as h1'
      when 'logistic' then 'weight * (1 / (1 + exp(-score1)) - y) as s1,
        weight * greatest(exp(-abs(score1)) / (1 + exp(-abs(score1))) ^ 2, 1e-16) as h1'
      else ml._each(fit.outputs, 'weight * (e# / total - (y = #)::int) as s#,
        weight * greatest(2 * (e# / total) * (1 - e# / total), 1e-16) as h#')
    end,
    fit.codes,
    v_scores,
    v_scored
  );
  drop table pg_temp._ml_tree_row;
end;
$$;

comment on function ml._gbm_rows(ml.tree_design, ml.boosting, ml.tree_fit, int, text[]) is $$
Makes the rows of a round, `_ml_tree_work`: the scores with the last trees added, gradients and second derivatives.
`leaves` are the trees of the last round as SQL. Rewriting the rows is cheaper than an update.
$$;

create or replace function ml._gbm_loss(boosting ml.boosting, outputs int, out training float8, out validation float8)
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scores constant text := ml._each(outputs, 'score#');
begin
  execute format(
    $query$
    select
      sum(loss) filter (where not valid) / sum(weight) filter (where not valid),
      sum(loss) filter (where valid) / nullif(sum(weight) filter (where valid), 0)
    from (select valid, weight, %s as loss from pg_temp._ml_tree_work) as measured
    $query$,
    case boosting.objective
      when 'squared_error' then 'weight * (score1 - y) ^ 2'
      when 'logistic' then 'weight * (greatest(score1, 0) - score1 * y + ln(1 + exp(-abs(score1))))'
      else replace(
        format('weight * (ln(%s) + {top} - (array[%s])[y::int])',
          ml._each(outputs, 'exp(greatest(score# - {top}, -700))', ' + '), v_scores),
        '{top}', format('greatest(%s)', v_scores)
      )
    end
  ) into training, validation;
end;
$$;

comment on function ml._gbm_loss(ml.boosting, int) is $$
The mean loss of the scores in `_ml_tree_work`, of the rows trained on and of those for validation.
$$;

create or replace function ml._gbm_features(boosting ml.boosting, usable int[], seed bigint)
returns int[]
language sql
immutable
parallel safe
begin atomic
  select array_agg(feature order by feature)
  from (
    select feature
    from unnest(usable) as feature
    order by case when boosting.feature_sample < 1 then hashint8extended(feature, seed) end, feature
    limit greatest(1, round(boosting.feature_sample * cardinality(usable))::int)
  ) as drawn;
end;

comment on function ml._gbm_features(ml.boosting, int[], bigint) is $$
The features of a round: a share of them, drawn by the seed.
$$;

create or replace function ml._gbm_leaves(learning_rate float8, lambda float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  update pg_temp._ml_tree_node as node
  set value = coalesce(-learning_rate * node.s[1] / nullif(node.h + lambda, 0), 0)
  where node.feature is null;
end;
$$;

comment on function ml._gbm_leaves(float8, float8) is $$
Sets what the leaves of the tree in `_ml_tree_node` add to the score.
$$;

grant execute on function
  ml._check_gbm_arguments(ml.tree_design, ml.boosting),
  ml._gbm_base(ml.tree_design, ml.boosting, ml.tree_fit),
  ml._gbm_rows(ml.tree_design, ml.boosting, ml.tree_fit, int, text[]),
  ml._gbm_loss(ml.boosting, int),
  ml._gbm_features(ml.boosting, int[], bigint),
  ml._gbm_leaves(float8, float8)
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
  v_design ml.tree_design;
  v_boosting ml.boosting;
  v_fit ml.tree_fit;
  v_leaves text[];
  v_splits bigint;
  v_loss record;
  v_trees int := 0;
  v_training float8[] := '{}';
  v_validation float8[] := '{}';
  v_best int := 0;
  v_best_loss float8 := 'Infinity';
begin
  v_design.method := 'gbm';
  v_design.relation := common.relation(source_table);
  v_design.output := common.output_table(output_table, array['_summary']);
  v_design.groups := '{}';
  v_design.id := common.column_name(v_design.relation, id_col_name, 'id column');
  v_design.dependent := dependent_variable;
  v_design.dependent_type := common.expression_type(dependent_variable, v_design.relation, 'dependent variable');
  v_design.weights := weights;
  v_design.validation := validation;
  v_design.num_bins := max_bins;
  v_design.num_trees := num_trees;
  v_design.seed := seed;
  v_design.growth := row('newton', lambda, gamma, max_depth, min_rows, 0, min_child_weight, null);
  v_boosting.objective := coalesce(objective, case
    when v_design.dependent_type = 'boolean'::regtype then 'logistic'
    when ml._is_category(v_design.dependent_type) then 'softmax'
    else 'squared_error'
  end);
  v_boosting.learning_rate := learning_rate;
  v_boosting.row_sample := row_sample;
  v_boosting.feature_sample := feature_sample;
  v_boosting.early_stopping_rounds := early_stopping_rounds;
  v_design.classifies := v_boosting.objective = 'softmax';
  perform ml._check_gbm_arguments(v_design, v_boosting);
  if validation is not null
    and common.expression_type(validation, v_design.relation, 'validation') <> 'boolean'::regtype then
    perform common.refuse('CF001', format('validation "%s" is not boolean', left(validation, 100)),
      'Give a condition that is true for the rows to validate on, such as ''course_id in (4, 7)''.');
  end if;
  v_design.features := ml._tree_features(v_design.relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_design.id, weights, validation], dependent_variable);

  perform ml._tree_read(v_design);
  v_fit := ml._tree_bin(v_design, 1);
  v_boosting.base := ml._gbm_base(v_design, v_boosting, v_fit);
  if validation is not null and v_fit.validation_count = 0 then
    perform common.refuse('CF004', format('no row is for validation: "%s"', left(validation, 100)),
      'Give a condition that is true for some rows.');
  end if;
  perform ml._tree_table(
    v_design.output,
    case when v_design.classifies then 'class text not null' end,
    'value float8',
    case when v_design.classifies then 'class, tree, node' else 'tree, node' end
  );
  perform ml._tree_workspace(1);

  -- Once more than there are rounds: the last turn only measures the last trees.
  for v_tree in 1..num_trees + 1 loop
    perform ml._gbm_rows(v_design, v_boosting, v_fit, v_tree, v_leaves);
    if v_tree > 1 then
      v_loss := ml._gbm_loss(v_boosting, v_fit.outputs);
      v_training := v_training || v_loss.training;
      v_trees := v_tree - 1;
      if validation is not null then
        v_validation := v_validation || v_loss.validation;
        if v_loss.validation < v_best_loss then
          v_best_loss := v_loss.validation;
          v_best := v_trees;
        end if;
        exit when early_stopping_rounds is not null and v_trees - v_best >= early_stopping_rounds;
      end if;
    end if;
    exit when v_tree > num_trees;

    v_splits := 0;
    for v_output in 1..v_fit.outputs loop
      perform ml._tree_grow(
        v_design.growth, ml._gbm_features(v_boosting, v_fit.usable, seed + v_tree),
        array['s' || v_output], 'h' || v_output, seed
      );
      perform ml._gbm_leaves(learning_rate, lambda);
      perform ml._tree_write(
        v_design.output,
        case when v_design.classifies then format('select %L::text as class', v_fit.levels[v_output]) end,
        v_tree, 'node.value'
      );
      v_leaves[v_output] := ml._tree_case('value');
      v_splits := v_splits + (select count(*) from pg_temp._ml_tree_node where feature is not null);
    end loop;
    if v_splits = 0 and v_tree = 1 then
      perform common.refuse(
        'CF004',
        format('no feature splits the %s rows into better halves', v_fit.row_count),
        format('A leaf needs %s rows (min_rows), weight %s (min_child_weight) and a gain over %s (gamma).', min_rows,
          min_child_weight, gamma)
      );
    end if;
    -- Trees that find nothing to split will not find it the next time either, unless they look at other rows or
    -- features.
    exit when v_splits = 0 and row_sample = 1 and feature_sample = 1;
    alter table pg_temp._ml_tree_work rename to _ml_tree_row;
  end loop;
  if validation is not null then
    v_trees := v_best;
  end if;
  execute format('delete from %s where tree > %s', v_design.output, v_trees);

  insert into pg_temp._ml_tree_fit select v_fit.*;
  perform ml._tree_publish(v_design, format(
    $columns$
    'gbm'::text as method, %L::text as objective, %L::text as source_table, %L::text as model_table,
    %L::text as id_col_name, %L::text as dependent_varname, %L::text as dependent_var_type,
    fit.levels as dependent_var_levels, %L::text[] as independent_varnames, fit.types as independent_vartypes,
    fit.categories, %L::float8 as base_score, %L::float8[] as base_scores, %s::int as num_trees,
    %s::int as num_trees_grown, fit.row_count as num_rows_processed, fit.validation_count as num_validation_rows,
    fit.skipped as num_missing_rows_skipped, %L::float8[] as training_loss, %L::float8[] as validation_loss,
    %L::jsonb as parameters
    $columns$,
    v_boosting.objective, v_design.relation, v_design.output, v_design.id, dependent_variable, v_design.dependent_type,
    v_design.features,
    case when not v_design.classifies then v_boosting.base[1] end,
    case when v_design.classifies then v_boosting.base end,
    v_trees, cardinality(v_training), v_training, nullif(v_validation, '{}'),
    jsonb_build_object(
      'num_trees', num_trees, 'learning_rate', learning_rate, 'max_depth', max_depth, 'min_rows', min_rows,
      'min_child_weight', min_child_weight, 'lambda', lambda, 'gamma', gamma, 'row_sample', row_sample,
      'feature_sample', feature_sample, 'max_bins', max_bins, 'weights', weights, 'validation', validation,
      'early_stopping_rounds', early_stopping_rounds, 'seed', seed
    )
  ));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, common.relation(source_table));
end;
$$;

comment on function ml.gbm_train(
  text, text, text, text, text, text, text, int, float8, int, int, float8, float8, float8, float8, float8, int, text,
  text, int, bigint
) is $$
@behavior -*
Gradient-boosted trees, by histogram sums in plain SQL.
`objective` is `squared_error`, `logistic` (dependent variable boolean or 0 and 1) or `softmax` (up to 100 classes
of any type, one tree for each class in a round, as XGBoost's multi:softprob); by default logistic for a boolean,
softmax for text.
Features are columns or expressions (`*`: all other columns): numbers and booleans are cut into `max_bins` bins at
quantiles, text is categorical, missing values and categories never seen go the way that each split learned.
`validation` is a condition on a row: such rows are not trained on, their loss ends the training
`early_stopping_rounds` trees after its best, and the model keeps the trees up to the best; name whole courses or the
latest weeks there. `row_sample` and `feature_sample` are shares drawn for each tree, by a hash of the id and the
seed.
Writes `output_table`, one row per node: `tree`, `node` (0 = root), `parent`, `depth`, `feature` with `threshold` (left:
value < threshold) or `categories` (left: one of them), `missing_left`, `left_node`, `right_node`, `value` (leaves:
what is added to the score), `gain`, `cover` (sum of second derivatives), `num_rows`, and for softmax first `class`; and
`<output_table>_summary`, one row: method, objective, names and kinds of features, `base_score` (for softmax
`base_scores`, the logarithms of the shares of the classes), `num_trees`, numbers of rows, the loss after each round
(mean log loss or mean squared error), parameters.
Errors: CF001 (a parameter, a type, non-finite values), CF002, CF003 (a table exists), CF004 (no rows, a class without
rows, nothing varies or splits), CF005, CF008 (over 100 classes, too many features).
Source: Friedman, Greedy function approximation, Annals of Statistics 29, 2001; Chen and Guestrin, XGBoost, KDD 2016;
Huang and others, JoinBoost, SIGMOD 2023.
$$;

grant execute on function ml.gbm_train(text, text, text, text, text, text, text, int, float8, int, int, float8, float8,
  float8, float8, float8, int, text, text, int, bigint)
  to insights_analyst, insights_admin, insights_worker;
