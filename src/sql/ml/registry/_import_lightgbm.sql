/*
 * LightGBM compares doubles by <=, treats a missing value as 0 unless the split specifies a side, and sends categories
 * that a split does not list, and missing ones, to the right.
 */
create or replace function ml._import_lightgbm(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model constant jsonb := document -> 'model';
  v_objective constant text[] := string_to_array(coalesce(v_model ->> 'objective', 'regression'), ' ');
  v_names constant jsonb := v_model -> 'feature_names';
  v_categories jsonb := document -> 'categories';
  v_categorical text[];
  v_link text;
  v_classes int := 1;
  v_scale float8 := 1;
  v_nodes jsonb;
  v_wrong text;
begin
  v_link := case
    when v_objective[1] = 'multiclass' then 'softmax'
    when v_objective[1] in ('binary', 'cross_entropy') then 'logit'
    when v_objective[1] in ('poisson', 'gamma', 'tweedie') then 'log'
    when v_objective[1] in ('regression', 'regression_l1', 'huber', 'fair', 'quantile', 'mape', 'lambdarank',
      'rank_xendcg', 'custom') and not 'sqrt' = any (v_objective) then 'identity'
  end;
  v_wrong := case
    when jsonb_typeof(v_model -> 'tree_info') is distinct from 'array'
      or jsonb_array_length(v_model -> 'tree_info') = 0 then 'no list "tree_info"'
    when jsonb_typeof(v_names) is distinct from 'array' then 'no list "feature_names"'
    when v_link is distinct from 'softmax' and v_objective[1] <> 'multiclassova'
      and (coalesce(v_model ->> 'num_class', '1') <> '1' or coalesce(v_model ->> 'num_tree_per_iteration', '1') <> '1')
      then 'several classes'
    when v_link = 'softmax' and (v_model ->> 'num_class' ~ '^\d{1,5}$') is not true then 'no num_class'
    when v_link = 'softmax' and (
      v_model ->> 'num_tree_per_iteration' is distinct from v_model ->> 'num_class'
      or jsonb_array_length(v_model -> 'tree_info') % greatest((v_model ->> 'num_class')::int, 1) <> 0
    ) then 'another number of trees than one for each class and round'
    when v_link is null then format('the objective "%s"', v_model ->> 'objective')
    when v_categories is not null and jsonb_typeof(v_categories) <> 'object' then 'categories that are not an object'
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('the model of LightGBM has %s', left(v_wrong, 100)),
      'Give what booster.dump_model() returns, with the objective regression (l1, l2, huber, fair, quantile, mape), '
        || 'binary, multiclass, cross_entropy, poisson, gamma, tweedie, lambdarank or rank_xendcg.'
    );
  end if;
  if v_link = 'softmax' then
    v_classes := (v_model ->> 'num_class')::int;
  end if;
  -- The names that pandas gave to the codes, in the order of its categorical columns.
  if v_categories is null and jsonb_typeof(v_model -> 'pandas_categorical') = 'array'
    and jsonb_array_length(v_model -> 'pandas_categorical') > 0 then
    v_categorical := array(
      select listed.name
      from jsonb_array_elements_text(v_names) with ordinality as listed (name, position)
      where jsonb_typeof(v_model -> 'feature_infos' -> listed.name -> 'values') = 'array'
        and jsonb_array_length(v_model -> 'feature_infos' -> listed.name -> 'values') > 0
      order by listed.position
    );
    if cardinality(v_categorical) <> jsonb_array_length(v_model -> 'pandas_categorical') then
      perform common.refuse(
        'CF009',
        format('the model has %s categorical features and %s lists in pandas_categorical', cardinality(v_categorical),
          jsonb_array_length(v_model -> 'pandas_categorical')),
        'Give the values by code: {"model": …, "categories": {"country": ["at", "de"]}}; {} leaves the codes.'
      );
    end if;
    v_categories := (
      select jsonb_object_agg(listed.name, v_model -> 'pandas_categorical' -> (listed.position - 1)::int)
      from unnest(v_categorical) with ordinality as listed (name, position)
    );
  end if;

  begin
    -- A random forest answers the mean of its trees; a binary objective may steepen its curve.
    v_scale := case when (v_model ->> 'average_output')::boolean
      then 1.0::float8 * v_classes / jsonb_array_length(v_model -> 'tree_info') else 1 end
      * coalesce((select substring(part from '^sigmoid:(.+)$')::float8 from unnest(v_objective) as part
        where part like 'sigmoid:%'), 1);
    with recursive dumped as (
      select position::int as tree, info -> 'tree_structure' as node, '{}'::int[] as path, null::boolean as is_left
      from jsonb_array_elements(v_model -> 'tree_info') with ordinality as listed (info, position)
      union all
      select dumped.tree, child.node, dumped.path || child.side, child.side = 0
      from dumped
      cross join lateral (values (0, dumped.node -> 'left_child'), (1, dumped.node -> 'right_child'))
        as child (side, node)
      where dumped.node ? 'split_feature' and cardinality(dumped.path) < 5000
    ), numbered as (
      select *, row_number() over (partition by tree order by cardinality(path), path) - 1 as number
      from dumped
    ), checked as (
      select
        numbered.*,
        v_names ->> (node ->> 'split_feature')::int as feature,
        node ->> 'decision_type' = '==' as categorical,
        case
          when jsonb_typeof(node) is distinct from 'object' then 'is not an object'
          when not node ? 'split_feature' and jsonb_typeof(node -> 'leaf_value') is distinct from 'number'
            then 'has neither split_feature nor a number leaf_value'
          when node ? 'leaf_coeff' and node -> 'leaf_coeff' <> '[]' then 'is a linear model, which is not known here'
          when not node ? 'split_feature' then null
          when v_names ->> (node ->> 'split_feature')::int is null then 'splits a feature without a name'
          when coalesce(node ->> 'decision_type', '') not in ('<=', '==')
            then format('decides by "%s"', node ->> 'decision_type')
          when node ->> 'decision_type' = '==' and node ->> 'threshold' !~ '^\d{1,9}(\|\|\d{1,9})*$'
            then 'has a threshold that is not a list of categories'
          when node ->> 'decision_type' = '==' then null
          when jsonb_typeof(node -> 'threshold') is distinct from 'number' then 'has a threshold that is not a number'
          when jsonb_typeof(node -> 'default_left') is distinct from 'boolean' then 'has no default_left'
          when coalesce(node ->> 'missing_type', '') not in ('None', 'NaN', 'Zero')
            then format('has the missing_type "%s"', node ->> 'missing_type')
          when node ->> 'missing_type' = 'Zero'
            and (node ->> 'default_left')::boolean <> ((node ->> 'threshold')::float8 >= 0)
            then 'sends zeros where they do not belong by their size (zero_as_missing)'
        end as wrong
      from numbered
    ), converted as (
      select
        checked.tree, checked.number, checked.path, checked.feature, checked.wrong, checked.categorical,
        case when not checked.categorical then ml._next_double((checked.node ->> 'threshold')::float8) end as threshold,
        case when checked.categorical then array(
          select case when jsonb_typeof(v_categories -> checked.feature) = 'array'
            then v_categories -> checked.feature ->> code::int else code end
          from unnest(string_to_array(checked.node ->> 'threshold', '||')) with ordinality as listed (code, position)
          order by position
        ) end as categories,
        case
          when checked.feature is null then null
          when checked.categorical then false
          when checked.node ->> 'missing_type' = 'None' then (checked.node ->> 'threshold')::float8 >= 0
          else (checked.node ->> 'default_left')::boolean
        end as missing_left,
        case when checked.feature is null then (checked.node ->> 'leaf_value')::float8 * v_scale end as value,
        checked.node -> 'split_gain' as gain,
        coalesce(checked.node -> 'internal_count', checked.node -> 'leaf_count', '1') as cover
      from checked
      where checked.wrong is null
      union all
      select checked.tree, checked.number, checked.path, null, checked.wrong, null, null, null, null, null, null, null
      from checked
      where checked.wrong is not null
    )
    select
      coalesce(
        min(format('tree %s: node %s %s', converted.tree - 1, converted.number, converted.wrong))
          filter (where converted.wrong is not null),
        min(format('tree %s: node %s splits a category of "%s" that is not listed', converted.tree - 1,
          converted.number, left(converted.feature, 60)))
          filter (where array_position(converted.categories, null) is not null)
      ),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.number, 'parent', parent.number, 'feature', converted.feature,
        'threshold', converted.threshold, 'categories', converted.categories, 'missing_left', converted.missing_left,
        'left_node', left_child.number, 'right_node', right_child.number, 'value', converted.value,
        'gain', converted.gain, 'cover', converted.cover
      )) order by converted.tree, converted.number)
    into v_wrong, v_nodes
    from converted
    left join converted as parent on parent.tree = converted.tree and cardinality(converted.path) > 0
      and parent.path = converted.path[:cardinality(converted.path) - 1]
    left join converted as left_child on left_child.tree = converted.tree and left_child.path = converted.path || 0
    left join converted as right_child on right_child.tree = converted.tree and right_child.path = converted.path || 1;
  exception when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value then
    v_wrong := format('the trees cannot be read: %s', left(sqlerrm, 100));
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'Give what booster.dump_model() returns, unchanged; linear trees and zero_as_missing have no form here.');
  end if;
  if v_link = 'softmax' then
    return ml._tree_document(v_nodes, v_link, 0, v_categories, false) - 'intercept'
      || ml._imported_classes(document, v_classes, array_fill(0::float8, array[v_classes]), array(
        select 1 + (tree - 1) % v_classes
        from generate_series(1, jsonb_array_length(v_model -> 'tree_info')) as tree
        order by tree
      ));
  end if;
  return ml._tree_document(v_nodes, v_link, 0, v_categories, false);
end;
$$;

comment on function ml._import_lightgbm(jsonb) is $$
A model document of what LightGBM's dump_model returns: {"model": that, "categories", "classes"}.
Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_lightgbm(jsonb) to insights_admin, insights_worker;
