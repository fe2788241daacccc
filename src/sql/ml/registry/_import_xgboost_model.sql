/*
 * A saved model is made of arrays, one entry for each node of a tree. They become rows, are checked as rows, and the
 * nodes that can be reached from a root are numbered from the top, so that parents come before their children.
 */
create or replace function ml._import_xgboost_model(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_learner constant jsonb := document #> '{model,learner}';
  v_booster constant jsonb := v_learner -> 'gradient_booster';
  v_parameters constant jsonb := v_learner -> 'learner_model_param';
  v_model constant jsonb := coalesce(v_booster #> '{gbtree,model}', v_booster -> 'model');
  v_categories constant jsonb := document -> 'categories';
  v_link text;
  v_base float8;
  v_classes int;
  v_tree_classes int[];
  v_weights float8[];
  v_trees int;
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_model -> 'trees') is distinct from 'array' or jsonb_typeof(v_parameters) is distinct from 'object'
  then
    perform ml._tree_weights(v_booster ->> 'name', null, 1);
    perform common.refuse('CF009', 'the model has no list of trees',
      'Give what save_model("model.json") writes: {"learner": {"gradient_booster": …, "learner_model_param": …}}.');
  end if;
  v_link := ml._xgboost_link(v_learner #>> '{objective,name}');
  v_classes := case when v_link = 'softmax' and v_parameters ->> 'num_class' ~ '^\d{1,5}$'
    then (v_parameters ->> 'num_class')::int end;
  if v_link <> 'softmax' then
    v_base := ml._xgboost_base(v_parameters -> 'base_score', v_link);
  end if;
  v_trees := jsonb_array_length(v_model -> 'trees');
  v_weights := ml._tree_weights(v_booster ->> 'name', v_booster -> 'weight_drop', v_trees);
  v_wrong := case
    when v_link <> 'softmax' and coalesce(v_parameters ->> 'num_class', '0') not in ('0', '1')
      then format('%s classes', v_parameters ->> 'num_class')
    when coalesce(v_parameters ->> 'num_target', '1') not in ('0', '1')
      then format('%s targets', v_parameters ->> 'num_target')
    when exists (select from jsonb_array_elements(v_model -> 'trees') as tree
      where coalesce(tree #>> '{tree_param,size_leaf_vector}', '1') not in ('0', '1')) then 'leaves of several numbers'
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', format('the model has %s', left(v_wrong, 100)),
      'A model has one answer, or with multi:softprob one for each class: train one model for each target.');
  elsif v_categories is not null and jsonb_typeof(v_categories) <> 'object' then
    perform common.refuse('CF009', format('the categories are %s', left(v_categories::text, 100)),
      'Give an object of lists by the code of XGBoost: {"country": ["at", "de"]} for 0 and 1.');
  elsif jsonb_array_length(coalesce(nullif(v_booster #> '{cats,enc}', 'null'), nullif(v_model #> '{cats,enc}', 'null'),
    '[]')) > 0 and v_categories is null then
    perform common.refuse('CF009', 'the model contains its categories in a form of its own',
      'Give their values by code: {"model": …, "categories": {"country": ["at", "de"]}} for 0 and 1.');
  end if;
  v_trees := ml._xgboost_tree_count(document, v_trees);
  if v_link = 'softmax' then
    v_tree_classes := array(
      select case when info ~ '^\d{1,4}$' then info::int + 1 end
      from jsonb_array_elements_text(case when jsonb_typeof(v_model -> 'tree_info') = 'array'
        then v_model -> 'tree_info' else '[]' end) with ordinality as listed (info, position)
      where position <= v_trees
      order by position
    );
    if v_classes is null or cardinality(v_tree_classes) <> v_trees
      or exists (select from unnest(v_tree_classes) as place where (place between 1 and v_classes) is not true) then
      perform common.refuse('CF009', 'the model does not give the class of each tree',
        'Give what save_model("model.json") writes, unchanged: num_class, and tree_info with a number for each tree.');
    end if;
  end if;

  begin
    with recursive tree as materialized (
      select (position - 1)::int as tree, stored
      from jsonb_array_elements(v_model -> 'trees') with ordinality as listed (stored, position)
      where position <= v_trees
    ), categorical as materialized (
      select tree.tree, part.node::int as node, array(
        select code::int
        from jsonb_array_elements_text(tree.stored -> 'categories') with ordinality as listed (code, position)
        where position > part.segment::int and position <= part.segment::int + part.size::int
      ) as codes
      from tree
      cross join lateral rows from (
        jsonb_array_elements_text(tree.stored -> 'categories_nodes'),
        jsonb_array_elements_text(tree.stored -> 'categories_segments'),
        jsonb_array_elements_text(tree.stored -> 'categories_sizes')
      ) as part (node, segment, size)
      where jsonb_typeof(tree.stored -> 'categories_nodes') = 'array'
    ), stored as materialized (
      select
        tree.tree, (part.position - 1)::int as node, part.left_child::int as left_child,
        part.right_child::int as right_child, part.default_left in ('1', 'true') as default_left,
        part.condition::float8 as condition, coalesce(part.split_type, '0') as split_type,
        part.gain::float8 as gain, part.cover::float8 as cover,
        coalesce(v_learner -> 'feature_names' ->> part.feature::int, 'f' || part.feature) as feature,
        categorical.codes
      from tree
      cross join lateral rows from (
        jsonb_array_elements_text(tree.stored -> 'left_children'),
        jsonb_array_elements_text(tree.stored -> 'right_children'),
        jsonb_array_elements_text(tree.stored -> 'default_left'),
        jsonb_array_elements_text(tree.stored -> 'split_indices'),
        jsonb_array_elements_text(tree.stored -> 'split_conditions'),
        jsonb_array_elements_text(coalesce(tree.stored -> 'split_type', '[]')),
        jsonb_array_elements_text(tree.stored -> 'loss_changes'),
        jsonb_array_elements_text(tree.stored -> 'sum_hessian')
      ) with ordinality as part (left_child, right_child, default_left, feature, condition, split_type, gain, cover,
        position)
      left join categorical on categorical.tree = tree.tree and categorical.node = part.position - 1
    ), child as materialized (
      select stored.tree, stored.node as parent, listed.node
      from stored
      cross join lateral (values (stored.left_child), (stored.right_child)) as listed (node)
      where stored.left_child <> -1
    ), walk as (
      select tree.tree, 0 as node, null::int as parent, 0 as depth
      from tree
      -- No loop: each node is the child of one node at most, and a root of none.
      where not exists (
        select from child group by child.tree, child.node having count(*) > 1 or child.node <= 0
      )
      union all
      select child.tree, child.node, child.parent, walk.depth + 1
      from walk
      join child on child.tree = walk.tree and child.parent = walk.node
    ), numbered as (
      select
        walk.tree, walk.node, walk.parent, stored.left_child, stored.right_child, stored.default_left,
        stored.condition, stored.split_type, stored.gain, stored.cover, stored.feature, stored.codes,
        row_number() over (partition by walk.tree order by walk.depth, walk.node) - 1 as number
      from walk
      left join stored using (tree, node)
    ), named as (
      select
        numbered.*,
        case when numbered.split_type = '1' and numbered.left_child <> -1 then array(
          select case when jsonb_typeof(v_categories -> numbered.feature) = 'array'
            then v_categories -> numbered.feature ->> code else code::text end
          from unnest(numbered.codes) with ordinality as listed (code, position)
          order by position
        ) end as categories
      from numbered
    )
    select
      coalesce(
        min(format('tree %s: node %s is incomplete', named.tree, named.node)) filter (where
          num_nulls(named.left_child, named.right_child, named.default_left, named.feature) > 0
          or (named.condition is null and not (named.split_type = '1' and named.left_child <> -1))
          or (named.split_type = '1' and named.left_child <> -1 and named.codes is null)
          or named.condition in ('NaN', 'Infinity', '-Infinity')),
        min(format('tree %s: node %s splits a category of "%s" that is not listed', named.tree, named.node,
          left(named.feature, 60))) filter (where array_position(named.categories, null) is not null),
        case when count(*) filter (where named.number = 0) < v_trees or count(*) = 0
          then 'the children of the trees make no trees' end
      ),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', named.tree + 1, 'node', named.number, 'parent', parent.number,
        'feature', case when named.left_child <> -1 then named.feature end,
        'threshold', case when named.left_child <> -1 and named.categories is null
          then ml._single_precision(named.condition) end,
        -- Those that are listed go right.
        'categories', named.categories,
        'missing_left', case when named.left_child <> -1
          then named.default_left = (named.categories is null) end,
        'left_node', case when named.categories is null then left_child.number else right_child.number end,
        'right_node', case when named.categories is null then right_child.number else left_child.number end,
        'value', case when named.left_child = -1
          then ml._single_precision(named.condition) * v_weights[named.tree + 1] end,
        'gain', case when named.left_child <> -1 then named.gain end, 'cover', coalesce(named.cover, 0)
      )) order by named.tree, named.number)
    into v_wrong, v_nodes
    from named
    left join numbered as parent on parent.tree = named.tree and parent.node = named.parent
    left join numbered as left_child on left_child.tree = named.tree and left_child.node = named.left_child
    left join numbered as right_child on right_child.tree = named.tree and right_child.node = named.right_child;
  exception when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value
    or datatype_mismatch then
    v_wrong := format('the trees cannot be read: %s', left(sqlerrm, 100));
  end;
  if v_wrong is not null then
    perform common.refuse('CF009', left(v_wrong, 300),
      'Give what save_model("model.json") writes, unchanged, and all values of the categories of a feature.');
  end if;
  if v_link = 'softmax' then
    return ml._tree_document(v_nodes, v_link, 0, v_categories, true) - 'intercept'
      || ml._imported_classes(document, v_classes, ml._xgboost_bases(v_parameters -> 'base_score', v_classes),
        v_tree_classes);
  end if;
  return ml._tree_document(v_nodes, v_link, v_base, v_categories, true);
end;
$$;

comment on function ml._import_xgboost_model(jsonb) is $$
A model document of what XGBoost's save_model writes as JSON:
{"model": that, "categories", "classes", "iteration_range"}.
Thresholds, default directions, categories, weights of the trees, base score and the best iteration are taken from it.
Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_xgboost_model(jsonb) to insights_admin, insights_worker;
