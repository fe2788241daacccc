create or replace function ml._check_forest_arguments(
  num_trees int,
  num_random_features int,
  sample_ratio float8,
  max_depth int,
  min_split int,
  min_bucket int,
  cp float8
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
  elsif max_depth is null or max_depth not between 1 and 30 then
    perform common.refuse('CF001', format('depth %s', coalesce(max_depth::text, 'null')), 'Choose 1 to 30.');
  elsif min_split is null or min_split < 1 or min_bucket < 1 then
    perform common.refuse(
      'CF001',
      format('min_split %s, min_bucket %s', coalesce(min_split::text, 'null'), coalesce(min_bucket::text, 'null')),
      'Both are 1 or more.'
    );
  elsif cp is null or not (cp >= 0 and cp <= 1) then
    perform common.refuse('CF001', format('cp %s', coalesce(cp::text, 'null')),
      'The complexity parameter is in 0..1; 0 prunes nothing.');
  elsif sample_ratio is not null and not (sample_ratio > 0 and sample_ratio <= 1) then
    perform common.refuse('CF001', format('sample_ratio %s', sample_ratio), 'Choose a share above 0, at most 1.');
  elsif num_random_features < 1 then
    perform common.refuse('CF001', format('num_random_features %s', num_random_features),
      'Choose 1 or more, or null for the usual number.');
  end if;
end;
$$;

comment on function ml._check_forest_arguments(int, int, float8, int, int, int, float8) is $$
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

create or replace function ml._prune_tree(least_gain float8)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pruned int;
begin
  -- The weakest link goes first: the branch whose splits gain least a leaf.
  loop
    execute format(
      $query$
      with recursive below as (
        select node as top, node, feature, gain, left_node, right_node
        from pg_temp._ml_tree_node
        where feature is not null
        union all
        select below.top, child.node, child.feature, child.gain, child.left_node, child.right_node
        from below
        join pg_temp._ml_tree_node as child on child.node in (below.left_node, below.right_node)
      )
      select top
      from below
      group by top
      having sum(gain) filter (where feature is not null) / count(*) filter (where feature is not null) < %L::float8
      order by sum(gain) filter (where feature is not null) / count(*) filter (where feature is not null), top desc
      limit 1
      $query$,
      least_gain
    ) into v_pruned;
    exit when v_pruned is null;
    execute format(
      $query$
      with recursive below as (
        select left_node, right_node from pg_temp._ml_tree_node where node = %1$s
        union all
        select child.left_node, child.right_node
        from below
        join pg_temp._ml_tree_node as child on child.node in (below.left_node, below.right_node)
      )
      delete from pg_temp._ml_tree_node as node
      using below
      where node.node in (below.left_node, below.right_node)
      $query$,
      v_pruned
    );
    execute format('update pg_temp._ml_tree_node set feature = null, cut = null, codes = null, missing_left = null,
        left_node = null, right_node = null, gain = null where node = %s', v_pruned);
  end loop;
end;
$$;

comment on function ml._prune_tree(float8) is $$
Prunes the tree in `_ml_tree_node` by minimal cost complexity: branches with less gain per split than `least_gain` go.
The weakest branch is removed first. Source: Breiman and others, Classification and Regression Trees, 1984, chapter 3.
$$;

grant execute on function
  ml._check_forest_arguments(int, int, float8, int, int, int, float8),
  ml._copies_expression(float8),
  ml._prune_tree(float8)
to insights_analyst, insights_admin, insights_worker;

/*
 * A decision tree is a forest of one tree that sees every row and feature. Classes are learned as one indicator each,
 * whose sums of squares are Gini's index, so classification and regression share the kernel of the boosted trees.
 */
create or replace function ml._forest_train(
  method text,
  training_table_name text,
  output_table_name text,
  id_col_name text,
  dependent_variable text,
  list_of_features text,
  list_of_features_to_exclude text,
  split_criterion text,
  weights text,
  num_trees int,
  num_random_features int,
  sample_ratio float8,
  max_depth int,
  min_split int,
  min_bucket int,
  num_splits int,
  cp float8,
  seed bigint
)
returns void
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_relation regclass := common.relation(training_table_name);
  v_output text := common.output_table(output_table_name, array['_summary']);
  v_summary text := common.companion_table(v_output, '_summary');
  v_id text;
  v_type regtype;
  v_classifies boolean;
  v_classes text[];
  v_dependent text;
  v_weight text := case when weights is not null then common.numeric_expression(weights, v_relation, 'weights') end;
  v_features text[];
  v_usable int[];
  v_outputs int;
  v_skipped bigint;
  v_seen record;
  v_criterion text;
  v_codes text;
  v_sums text;
  v_bag text := '1';
  v_risk float8;
  v_leaf text;
  v_out_of_bag float8;
  v_ks int[];
begin
  perform ml._check_forest_arguments(
    num_trees, num_random_features, sample_ratio, max_depth, min_split, min_bucket, cp
  );
  v_id := common.column_name(v_relation, id_col_name, 'id column');
  v_type := common.expression_type(dependent_variable, v_relation, 'dependent variable');
  v_classifies := v_type not in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype);
  v_criterion := lower(split_criterion);
  if v_criterion is null or v_criterion not in ('gini', 'entropy', 'misclassification', 'mse') then
    perform common.refuse(
      'CF001',
      format('there is no split criterion "%s"', coalesce(left(split_criterion, 100), 'null')),
      'Choose gini, entropy or misclassification for classes; numbers use mse.'
    );
  elsif v_classifies and v_criterion = 'mse' then
    perform common.refuse(
      'CF001',
      format('"%s" is of type %s and so a class, which mse does not judge', left(dependent_variable, 100), v_type),
      'Cast it to float8 for a regression, or choose gini.'
    );
  end if;
  v_features := ml._tree_features(v_relation, list_of_features, list_of_features_to_exclude,
    array[id_col_name, v_id, weights], dependent_variable);

  if v_classifies then
    begin
      execute format('select array_agg(class order by class)
          from (select (%1$s)::text as class from %2$s where (%1$s) is not null group by 1 limit 101) as seen',
            common.expression(dependent_variable, v_relation), v_relation) into v_classes;
    exception when others then
      perform common.refuse(
        'CF001',
        format('dependent variable "%s": %s', left(dependent_variable, 100), left(sqlerrm, 100)),
        'Give a column of classes or numbers.'
      );
    end;
    if v_type in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
      v_classes := array(select class from unnest(v_classes) as class order by class::bigint);
    end if;
    if cardinality(v_classes) > 100 then
      perform common.refuse('CF008', format('"%s" has more than 100 classes', left(dependent_variable, 100)),
        'Cast it to float8 when it is a number to predict.');
    elsif cardinality(v_classes) = 1 then
      perform common.refuse(
        'CF004',
        format('"%s" holds one class only, %s', left(dependent_variable, 100), v_classes[1]),
        'A classifier needs rows of two classes or more.'
      );
    end if;
    v_dependent := format('array_position(%L::text[], (%s)::text)::float8', coalesce(v_classes, '{}'),
      common.expression(dependent_variable, v_relation));
    v_outputs := cardinality(v_classes);
  else
    v_criterion := 'mse';
    v_dependent := common.numeric_expression(dependent_variable, v_relation, 'dependent variable');
    v_outputs := 1;
  end if;
  v_skipped := ml._tree_prepare(v_relation, v_id, v_dependent, v_weight, null, v_features, num_splits, seed);
  execute
    'select count(*) as row_count, count(*) filter (where y = ''NaN'' or abs(y) = ''Infinity'') as non_finite,
      sum(weight) as weight,
       sum(weight * y) / nullif(sum(weight), 0) as mean,
         sum(weight * y * y) - sum(weight * y) ^ 2 / nullif(sum(weight), 0) as squares
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
  end if;
  execute 'select array_agg(feature order by feature) from pg_temp._ml_tree_feature
    where cardinality(edges) > 0 or cardinality(categories) > 0' into v_usable;
  if v_usable is null then
    perform common.refuse('CF004', 'no feature varies',
      format('All of %s are constant or null.', array_to_string(v_features, ', ')));
  end if;

  execute format(
    'create table %s (tree int not null, node int not null, parent int, depth int not null, feature text,
        threshold float8, categories text[],
       missing_left boolean, left_node int, right_node int, value float8, distribution float8[], gain float8,
         cover float8 not null, num_rows bigint not null,
       primary key (tree, node))',
    v_output
  );
  v_ks := array(select k from generate_series(1, v_outputs) as k order by k);
  v_codes := (select string_agg('f' || feature, ', ') from unnest(v_usable) as feature);
  -- Centred, so that a large mean does not hide the variation.
  v_sums := case
    when v_classifies
      then (select string_agg(format('case when y = %1$s then weight * bag else 0 end as s%1$s', k), ', ' order by k)
        from unnest(v_ks) as k)
    else format('weight * bag * (y - %L::float8) as s1', v_seen.mean) end;
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_forest_vote;
  if sample_ratio is not null then
    execute format('create temp table _ml_forest_vote on commit drop as select key, y, weight, valid, %s, 0 as votes,
        %s from pg_temp._ml_tree_row',
      v_codes, (select string_agg(format('0::float8 as v%s', k), ', ' order by k) from unnest(v_ks) as k));
    drop table pg_temp._ml_tree_row;
    alter table pg_temp._ml_forest_vote rename to _ml_tree_row;
  end if;
  for v_tree in 1..num_trees loop
    if sample_ratio is not null then
      v_bag := ml._copies_expression(sample_ratio);
    end if;
    execute format(
      'create temp table _ml_tree_work on commit drop as
       select key, bag > 0 and weight > 0 as used, %s, weight * bag as h, %s
       from (select key, y, weight, %s as bag, %s
         from (select *, hashint8extended(key, %s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0)
           as drawn offset 0) as bagged',
      v_sums, v_codes, v_bag, v_codes, seed + v_tree
    );
    if v_tree = 1 then
      analyze pg_temp._ml_tree_work;
    end if;
    perform ml._tree_grow(
      v_usable, v_outputs, v_criterion, 0, 0, max_depth, coalesce(min_bucket, greatest(1, min_split / 3)), min_split,
      1e-12,
      case when num_random_features < cardinality(v_usable) then num_random_features end, seed + v_tree
    );
    if cp > 0 then
      v_risk := case when v_classifies then null else v_seen.squares end;
      if v_classifies then
        execute format('select %s from pg_temp._ml_tree_node where node = 0',
          case v_criterion
            when 'entropy' then '-('
              || (select string_agg(format('coalesce(s%1$s * ln(nullif(s%1$s, 0) / h), 0)', k), ' + ')
                from unnest(v_ks) as k) || ')'
            when 'misclassification' then 'h - greatest('
              || (select string_agg(format('s%s', k), ', ') from unnest(v_ks) as k) || ')'
            else 'h - (' || (select string_agg(format('s%1$s * s%1$s', k), ' + ') from unnest(v_ks) as k) || ') / h' end
        ) into v_risk;
      end if;
      perform ml._prune_tree(cp * v_risk);
    end if;
    execute format(
      $query$
      insert into %s
      select
        %s, node.node, node.parent, node.depth, feature.name,
        case when not feature.category then coalesce(feature.edges[(node.cut & 1023) - 1], 'Infinity') end,
        (select array_agg(feature.categories[code & 1023] order by code) from unnest(node.codes) as code),
        case when node.feature is not null then node.missing_left end,
        node.left_node, node.right_node, %s, %s, node.gain, node.h, node.n
      from pg_temp._ml_tree_node as node
      left join pg_temp._ml_tree_feature as feature on feature.feature = node.feature
      $query$,
      v_output, v_tree,
      case when v_classifies then 'null::float8' else format('node.s1 / node.h + %L::float8', v_seen.mean) end,
      case when v_classifies then 'array[' || (select string_agg(format('node.s%s / node.h', k), ', ' order by k)
        from unnest(v_ks) as k) || ']' else 'null::float8[]' end
    );
    if sample_ratio is not null then
      -- Rows that a tree did not see say how good the forest is.
      execute format(
        'create temp table _ml_forest_vote on commit drop as
         select row.key, row.y, row.weight, row.valid, %1$s, row.votes + (not work.used)::int as votes, %2$s
         from (
           select *, case when bag = 0 then %3$s end as leaf
           from (select *, %4$s as bag
             from (select *, hashint8extended(key, %5$s) & 1073741823 as lot from pg_temp._ml_tree_row offset 0)
               as drawn offset 0) as bagged
           offset 0
         ) as row
         cross join lateral (select row.bag > 0 and row.weight > 0 as used) as work
         left join pg_temp._ml_tree_node as node on node.node = row.leaf',
        (select string_agg('row.f' || feature, ', ') from unnest(v_usable) as feature),
        (select string_agg(
          case when v_classifies then format('row.v%1$s + coalesce(node.s%1$s / node.h, 0) as v%1$s', k)
          else format('row.v%1$s + coalesce(node.s%1$s / node.h + %2$L::float8, 0) as v%1$s', k, v_seen.mean) end, ', '
            order by k) from unnest(v_ks) as k),
        ml._tree_case('node::text'), v_bag, seed + v_tree
      );
      drop table pg_temp._ml_tree_row;
      alter table pg_temp._ml_forest_vote rename to _ml_tree_row;
    end if;
    drop table pg_temp._ml_tree_work;
  end loop;
  if sample_ratio is not null then
    execute format(
      'select sum(weight * %s) / nullif(sum(weight), 0) from pg_temp._ml_tree_row where votes > 0',
      case when v_classifies
        then format('(array_position(array[%1$s], greatest(%1$s)) <> y)::int',
            (select string_agg('v' || k, ', ' order by k) from unnest(v_ks) as k))
      else '(v1 / votes - y) ^ 2' end
    ) into v_out_of_bag;
  end if;

  execute format(
    'create table %s as
     select %L::text as method, %L::boolean as is_classification, %L::text as source_table, %L::text as model_table,
       %L::text as id_col_name,
       %L::text as dependent_varname, %L::text as dependent_var_type, %L::text[] as dependent_var_levels,
       %L::text[] as independent_varnames,
       (select array_agg(case when category then ''category'' else ''number'' end order by feature)
         from pg_temp._ml_tree_feature) as independent_vartypes,
       (select coalesce(jsonb_object_agg(name, to_jsonb(categories)) filter (where category), ''{}'')
         from pg_temp._ml_tree_feature) as categories,
       %s::int as num_trees, %L::float8 as oob_error, %s::bigint as num_rows_processed,
         %s::bigint as num_missing_rows_skipped, %L::jsonb as parameters',
    v_summary, method, v_classifies, v_relation, v_output, v_id,
    dependent_variable, v_type, v_classes, v_features,
    num_trees, v_out_of_bag, v_seen.row_count, v_skipped,
    jsonb_build_object(
      'split_criterion', v_criterion, 'weights', weights, 'num_trees', num_trees, 'num_random_features',
      num_random_features, 'sample_ratio', sample_ratio,
      'max_depth', max_depth, 'min_split', min_split, 'min_bucket',
        coalesce(min_bucket, greatest(1, min_split / 3)), 'num_splits', num_splits, 'cp', cp, 'seed', seed
    )
  );
  execute format('comment on table %s is %L', v_output,
    format('Nodes of a model of %s on %s, by ml.%s.', dependent_variable, v_relation, method));
  drop table if exists pg_temp._ml_tree_work, pg_temp._ml_tree_row, pg_temp._ml_tree_node, pg_temp._ml_tree_histogram,
    pg_temp._ml_tree_split, pg_temp._ml_tree_feature;
exception when numeric_value_out_of_range then
  perform ml._caller_error(sqlstate, sqlerrm, v_relation);
end;
$$;

comment on function ml._forest_train(
  text, text, text, text, text, text, text, text, text, int, int, float8, int, int, int, int, float8, bigint
) is $$
Trains one tree, or a forest of bagged trees, into a model table.
`sample_ratio` is null for one tree. See ml.tree_train and ml.forest_train.
$$;

grant execute on function ml._forest_train(text, text, text, text, text, text, text, text, text, int, int, float8, int,
  int, int, int, float8, bigint)
  to insights_analyst, insights_admin, insights_worker;
