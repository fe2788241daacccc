create or replace function ml._check_forest_arguments(design ml.tree_design)
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
  elsif v_growth.max_depth is null or v_growth.max_depth not between 1 and 30 then
    perform common.refuse('CF001', format('depth %s', coalesce(v_growth.max_depth::text, 'null')), 'Choose 1 to 30.');
  elsif v_growth.min_split is null or v_growth.min_split < 1 or v_growth.min_rows < 1 then
    perform common.refuse(
      'CF001',
      format('min_split %s, min_bucket %s', coalesce(v_growth.min_split::text, 'null'),
        coalesce(v_growth.min_rows::text, 'null')),
      'Both are 1 or more.'
    );
  elsif design.cp is null or not (design.cp >= 0 and design.cp <= 1) then
    perform common.refuse('CF001', format('cp %s', coalesce(design.cp::text, 'null')),
      'The complexity parameter is in 0..1; 0 prunes nothing.');
  elsif design.sample_ratio is not null and not (design.sample_ratio > 0 and design.sample_ratio <= 1) then
    perform common.refuse('CF001', format('sample_ratio %s', design.sample_ratio),
      'Choose a share above 0, at most 1.');
  elsif v_growth.features_per_node < 1 then
    perform common.refuse('CF001', format('num_random_features %s', v_growth.features_per_node),
      'Choose 1 or more, or null for the usual number.');
  elsif v_growth.criterion is null or v_growth.criterion not in ('gini', 'entropy', 'misclassification', 'mse') then
    perform common.refuse(
      'CF001',
      format('there is no split criterion "%s"', coalesce(left(v_growth.criterion, 100), 'null')),
      'Choose gini, entropy or misclassification for classes; numbers use mse.'
    );
  elsif design.classifies and v_growth.criterion = 'mse' then
    perform common.refuse(
      'CF001',
      format('"%s" is of type %s and so a class, which mse does not judge', left(design.dependent, 100),
        design.dependent_type),
      'Cast it to float8 for a regression, or choose gini.'
    );
  end if;
end;
$$;

comment on function ml._check_forest_arguments(ml.tree_design) is $$
Raises CF001 unless the arguments of a tree or forest are in their ranges.
$$;

create or replace function ml._copies_expression(sample_ratio float8)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cases text := '';
  v_chance float8 := exp(-sample_ratio);
  v_below float8 := v_chance;
begin
  for v_copies in 0..7 loop
    v_cases := v_cases || format(' when lot < %s then %s', (v_below * 1073741824)::bigint, v_copies);
    v_chance := v_chance * sample_ratio / (v_copies + 1);
    v_below := v_below + v_chance;
  end loop;
  return 'case' || v_cases || ' else 8 end';
end;
$$;

comment on function ml._copies_expression(float8) is $$
Returns the number of copies of a row in a bootstrap sample, as SQL over `lot`, a hash of its id in 0..1073741823.
Drawing with replacement gives each row a number of copies with a Poisson distribution; the hash selects its quantile.
$$;

create or replace function ml._forest_bag(design ml.tree_design, fit ml.tree_fit, tree int)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_votes constant text := 'votes, ' || ml._each(fit.outputs, 'v#');
  -- Centred, so that a large mean does not hide the variation.
  v_sums constant text := case
    when design.classifies then ml._each(fit.outputs, 'case when y = # then weight * bag else 0 end as s#')
    else format('weight * bag * (y - %L::float8) as s1', fit.mean)
  end;
begin
  if design.sample_ratio is null then
    execute format(
      $query$
      create temp table _ml_tree_work on commit drop as
      select weight > 0 as used, %s, weight as h, %s
      from (select *, 1 as bag from pg_temp._ml_tree_row) as bagged
      $query$,
      v_sums, fit.codes
    );
  else
    execute format(
      $query$
      create temp table _ml_tree_work on commit drop as
      select bag > 0 and weight > 0 as used, %1$s, weight * bag as h, %3$s, key, y, weight, %2$s
      from (
        select key, y, weight, %4$s as bag, %5$s, %3$s
        from (select *, hashint8extended(key, %6$s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0) as drawn
        offset 0
      ) as bagged
      $query$,
      v_sums,
      case when tree = 1 then '0 as votes, ' || ml._each(fit.outputs, '0::float8 as v#') else v_votes end,
      fit.codes,
      ml._copies_expression(design.sample_ratio),
      case when tree = 1 then '1' else v_votes end,
      design.seed + tree
    );
  end if;
  if tree = 1 then
    analyze pg_temp._ml_tree_work;
  end if;
  drop table pg_temp._ml_tree_row;
end;
$$;

comment on function ml._forest_bag(ml.tree_design, ml.tree_fit, int) is $$
Makes the rows of one tree, `_ml_tree_work`, of the rows of its group: all of them, or for a forest copies of some.
The columns that each level scans come first, so that the others are not read.
A forest keeps with each row the number of trees that did not see it, `votes`, and the sums of their answers v1, ….
$$;

create or replace function ml._tree_risk(criterion text, squares float8)
returns float8
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if criterion = 'mse' then
    return squares;
  end if;
  return (
    select case criterion
      when 'entropy' then -sum(coalesce(part * ln(nullif(part, 0) / root.h), 0))
      when 'misclassification' then root.h - max(part)
      else root.h - sum(part * part) / root.h
    end
    from pg_temp._ml_tree_node as root
    cross join lateral unnest(root.s) as part
    where root.node = 0
    group by root.h
  );
end;
$$;

comment on function ml._tree_risk(text, float8) is $$
The impurity of the root of the tree in `_ml_tree_node` by a criterion; for numbers it is their sum of squares.
$$;

create or replace function ml._forest_leaves(classifies boolean, mean float8)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if classifies then
    update pg_temp._ml_tree_node as node
    set distribution = array(
      select listed.part / node.h
      from unnest(node.s) with ordinality as listed (part, place)
      order by listed.place
    );
  else
    update pg_temp._ml_tree_node as node set value = node.s[1] / node.h + mean;
  end if;
end;
$$;

comment on function ml._forest_leaves(boolean, float8) is $$
Sets what the nodes of the tree in `_ml_tree_node` answer: the shares of the classes, or the mean.
$$;

create or replace function ml._forest_vote(design ml.tree_design, fit ml.tree_fit)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  execute format(
    $query$
    create temp table _ml_tree_row on commit drop as
    select key, y, weight, votes + (not used)::int as votes, %1$s, %2$s
    from (select *, case when not used then %3$s end as answer from pg_temp._ml_tree_work offset 0) as answered
    $query$,
    ml._each(fit.outputs, case when design.classifies then 'v# + coalesce(answer[#], 0) as v#'
      else 'v# + coalesce(answer, 0) as v#' end),
    fit.codes,
    ml._tree_case(case when design.classifies then 'distribution' else 'value' end)
  );
end;
$$;

comment on function ml._forest_vote(ml.tree_design, ml.tree_fit) is $$
Adds the answer of the tree in `_ml_tree_node` to the rows that it did not see, as the rows of the next tree.
$$;

create or replace function ml._out_of_bag_error(design ml.tree_design, fit ml.tree_fit)
returns float8
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_error float8;
begin
  execute format(
    'select sum(weight * %s) / nullif(sum(weight), 0) from pg_temp._ml_tree_row where votes > 0',
    case when design.classifies
      then format('(array_position(array[%1$s], greatest(%1$s)) <> y)::int', ml._each(fit.outputs, 'v#'))
      else '(v1 / votes - y) ^ 2'
    end
  ) into v_error;
  return v_error;
end;
$$;

comment on function ml._out_of_bag_error(ml.tree_design, ml.tree_fit) is $$
The share of rows, or the squared error, that the trees of a forest which did not see a row get wrong.
$$;

create or replace function ml._forest_fit(design ml.tree_design, gid int)
returns ml.tree_fit
language plpgsql
set client_min_messages to warning
as $$
declare
  v_fit ml.tree_fit := ml._tree_bin(design, gid);
  v_origin constant text := case when design.groups <> '{}' then
    format('select * from pg_temp._ml_tree_group as named where named.gid = %s', gid) end;
  v_growth ml.tree_growth := design.growth;
begin
  perform ml._tree_workspace(v_fit.outputs);
  if v_growth.features_per_node >= cardinality(v_fit.usable) then
    v_growth.features_per_node := null;
  end if;
  for v_tree in 1..design.num_trees loop
    perform ml._forest_bag(design, v_fit, v_tree);
    perform ml._tree_grow(
      v_growth, v_fit.usable, string_to_array(ml._each(v_fit.outputs, 's#'), ', '), 'h', design.seed + v_tree
    );
    if design.cp > 0 then
      perform ml._tree_prune(design.cp * ml._tree_risk(v_growth.criterion, v_fit.squares));
    end if;
    perform ml._forest_leaves(design.classifies, v_fit.mean);
    perform ml._tree_write(design.output, v_origin, v_tree, 'node.value, node.distribution');
    if design.sample_ratio is not null then
      perform ml._forest_vote(design, v_fit);
    end if;
    drop table pg_temp._ml_tree_work;
  end loop;
  if design.sample_ratio is not null then
    v_fit.oob_error := ml._out_of_bag_error(design, v_fit);
    drop table pg_temp._ml_tree_row;
  end if;
  return v_fit;
end;
$$;

comment on function ml._forest_fit(ml.tree_design, int) is $$
Trains the tree or the forest of one group and writes its nodes: bag, grow, prune, measure, write.
$$;

/*
 * A decision tree is a forest of one tree that sees every row and feature. Classes are learned as one indicator each,
 * whose sums of squares are Gini's index, so classification and regression share the kernel of the boosted trees.
 */
create or replace function ml._forest_train(design ml.tree_design)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_gid int;
  v_fit ml.tree_fit;
  v_failed text;
begin
  perform ml._check_forest_arguments(design);
  if not design.classifies then
    design.growth.criterion := 'mse';
  end if;
  perform ml._tree_read(design);
  perform ml._tree_table(
    design.output,
    case when design.groups <> '{}' then 'like pg_temp._ml_tree_group' end,
    'value float8, distribution float8[]',
    case when design.groups <> '{}' then 'gid, ' else '' end || 'tree, node'
  );
  if design.groups = '{}' then
    v_fit := ml._forest_fit(design, 1);
    insert into pg_temp._ml_tree_fit select v_fit.*;
  else
    for v_gid in execute 'select gid from pg_temp._ml_tree_group order by gid' loop
      begin
        v_fit := ml._forest_fit(design, v_gid);
      exception when sqlstate 'CF001' or sqlstate 'CF004' or sqlstate 'CF008' or numeric_value_out_of_range then
        v_fit := null;
        v_fit.gid := v_gid;
        v_fit.failure := sqlerrm;
      end;
      insert into pg_temp._ml_tree_fit select v_fit.*;
    end loop;
    select min(failure) into v_failed from pg_temp._ml_tree_fit having bool_and(failure is not null);
    if v_failed is not null then
      perform common.refuse('CF004', format('no group of "%s" has a model: %s', design.relation, left(v_failed, 200)),
        'A group needs rows of two classes or varying numbers, and a feature that varies.');
    end if;
  end if;
  perform ml._tree_publish(design, format(
    $columns$
    %L::text as method, %L::boolean as is_classification, %L::text as source_table, %L::text as model_table,
    %L::text as id_col_name, %L::text as dependent_varname, %L::text as dependent_var_type,
    fit.levels as dependent_var_levels, %L::text[] as independent_varnames, fit.types as independent_vartypes,
    fit.categories, %L::int as num_trees, fit.oob_error, fit.row_count as num_rows_processed,
    fit.skipped as num_missing_rows_skipped, %L::jsonb as parameters, %L::text as grouping_cols, fit.failure
    $columns$,
    design.method, design.classifies, design.relation, design.output, design.id, design.dependent,
    design.dependent_type, design.features, design.num_trees,
    jsonb_build_object(
      'split_criterion', (design.growth).criterion, 'weights', design.weights, 'num_trees', design.num_trees,
      'num_random_features', (design.growth).features_per_node, 'sample_ratio', design.sample_ratio,
      'max_depth', (design.growth).max_depth, 'min_split', (design.growth).min_split,
      'min_bucket', (design.growth).min_rows, 'num_splits', design.num_bins, 'cp', design.cp, 'seed', design.seed
    ),
    nullif(array_to_string(design.groups, ', '), '')
  ));
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, design.relation);
end;
$$;

comment on function ml._forest_train(ml.tree_design) is $$
Trains one tree, or a forest of bagged trees, for each group, into a model table: check, read, fit, publish.
`sample_ratio` is null for one tree. See ml.tree_train and ml.forest_train.
$$;

create or replace function ml._forest_design(
  method text,
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text,
  grouping_cols text,
  weights text
)
returns ml.tree_design
language plpgsql
as $$
declare
  v_design ml.tree_design;
begin
  v_design.method := method;
  v_design.relation := common.relation(training_table_name);
  v_design.output := common.output_table(output_table_name, array['_summary']);
  v_design.groups := common.column_names(v_design.relation, grouping_cols, 'grouping columns');
  v_design.id := common.column_name(v_design.relation, id_col_name, 'id column');
  v_design.dependent := dependent_variable;
  v_design.dependent_type := common.expression_type(dependent_variable, v_design.relation, 'dependent variable');
  v_design.classifies := v_design.dependent_type not in
    ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  v_design.weights := weights;
  v_design.features := ml._tree_features(
    v_design.relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_design.id, weights] || v_design.groups, dependent_variable
  );
  perform ml._check_output_columns(v_design.groups, array[
    'gid', 'tree', 'node', 'parent', 'depth', 'feature', 'threshold', 'categories', 'missing_left', 'left_node',
    'right_node', 'value', 'distribution', 'gain', 'cover', 'num_rows', 'method', 'is_classification', 'source_table',
    'model_table', 'id_col_name', 'dependent_varname', 'dependent_var_type', 'dependent_var_levels',
    'independent_varnames', 'independent_vartypes', 'num_trees', 'oob_error', 'num_rows_processed',
    'num_missing_rows_skipped', 'parameters', 'grouping_cols', 'failure', 'impurity_var_importance', 'splits'
  ]);
  return v_design;
end;
$$;

comment on function ml._forest_design(text, text, text, text, text, text, text, text, text) is $$
Checks and quotes the arguments that ml.tree_train and ml.forest_train share.
Errors: CF001, CF002, CF003 (a table exists), CF004 (no feature), CF005.
$$;

grant execute on function
  ml._check_forest_arguments(ml.tree_design),
  ml._copies_expression(float8),
  ml._forest_bag(ml.tree_design, ml.tree_fit, int),
  ml._tree_risk(text, float8),
  ml._forest_leaves(boolean, float8),
  ml._forest_vote(ml.tree_design, ml.tree_fit),
  ml._out_of_bag_error(ml.tree_design, ml.tree_fit),
  ml._forest_fit(ml.tree_design, int),
  ml._forest_train(ml.tree_design),
  ml._forest_design(text, text, text, text, text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
