create or replace function ml._import_xgboost(document jsonb)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := case when jsonb_typeof(document) = 'array' then jsonb_build_object('trees', document)
    else document end;
  v_booster constant text := coalesce(v_given ->> 'booster', case when v_given ? 'weight_drop' then 'dart' end);
  v_link text;
  v_base float8;
  v_classes int;
  v_weights float8[];
  v_trees jsonb[];
  v_nodes jsonb;
  v_wrong text;
begin
  if jsonb_typeof(v_given -> 'trees') is distinct from 'array' or jsonb_array_length(v_given -> 'trees') = 0 then
    perform common.refuse(
      'CF009',
      'the document has no list of trees',
      'Give what get_dump(dump_format="json") gives, or {"trees": that, "objective": "binary:logistic", '
        || '"base_score": 0.5}.'
    );
  end if;
  v_link := ml._xgboost_link(coalesce(v_given ->> 'objective', 'reg:squarederror'));
  if v_link = 'softmax' then
    v_classes := case when v_given ->> 'num_class' ~ '^\d{1,5}$' then (v_given ->> 'num_class')::int
      when jsonb_typeof(v_given -> 'classes') = 'array' then jsonb_array_length(v_given -> 'classes') end;
    if v_classes is null then
      perform common.refuse('CF009', 'the number of classes is not given, and a dump does not contain it',
        'Give "num_class": 3, or prefer what save_model("model.json") writes.');
    end if;
  else
    v_base := ml._xgboost_base(v_given -> 'base_score', v_link);
  end if;
  v_weights := ml._tree_weights(v_booster, v_given -> 'weight_drop', jsonb_array_length(v_given -> 'trees'));
  begin
    -- get_dump gives a list of strings.
    v_trees := array(
      select case when jsonb_typeof(element) = 'string' then (element #>> '{}')::jsonb else element end
      from jsonb_array_elements(v_given -> 'trees') with ordinality as listed (element, position)
      order by position
    );
  exception when invalid_text_representation or untranslatable_character then
    perform common.refuse('CF009', format('the trees cannot be read: %s', left(sqlerrm, 100)),
      'A tree is a JSON object or its text.');
  end;

  begin
    with recursive dumped as (
      select position::int as tree, element as node, null::int as parent, 0 as depth
      from unnest(v_trees) with ordinality as listed (element, position)

      union all

      select dumped.tree, child.node, case
        when dumped.node ->> 'nodeid' ~ '^\d{1,9}$' then (dumped.node ->> 'nodeid')::int end, dumped.depth + 1
      from dumped
      cross join lateral jsonb_array_elements(case
        when jsonb_typeof(dumped.node -> 'children') = 'array' then dumped.node -> 'children' else '[]' end)
          as child (node)
    ), checked as (
      select
        *,
        case
          when jsonb_typeof(node) <> 'object' or coalesce(node ->> 'nodeid', '') !~ '^\d{1,9}$' then 'has no nodeid'
          when count(*) over (partition by tree, node ->> 'nodeid') > 1 then 'occurs twice'
          when node ? 'leaf' and jsonb_typeof(node -> 'leaf') <> 'number' then 'has a leaf that is not a number'
          when node ? 'leaf' then null
          when coalesce(jsonb_typeof(node -> 'split'), '') <> 'string' then 'has neither leaf nor split'
          when not node ? 'split_condition'
            then 'splits a yes-or-no column, and a dump does not say which of its children is which'
          when jsonb_typeof(node -> 'children') is distinct from 'array' or jsonb_array_length(node -> 'children') <> 2
            or not (node -> 'children' -> 0 -> 'nodeid' in (node -> 'yes', node -> 'no')
              and node -> 'children' -> 1 -> 'nodeid' in (node -> 'yes', node -> 'no')
                and node -> 'yes' <> node -> 'no')
            then 'does not have yes and no as its two children'
          when node ? 'missing'
            and node -> 'missing' not in (node -> 'yes', node -> 'no')
              then 'sends missing values neither to yes nor to no'
          when jsonb_typeof(node -> 'split_condition') not in ('number', 'array')
              then 'has a split_condition that is neither a number nor a list of categories'
          when jsonb_typeof(node -> 'split_condition') = 'array'
            and jsonb_typeof(v_given -> 'categories' -> (node ->> 'split')) is distinct from 'array'
            then format('splits the category "%s", whose values are not listed', node ->> 'split')
        end as wrong
      from dumped
    ), numbered as (
      select *, row_number() over (partition by tree order by depth, lpad(node ->> 'nodeid', 9, '0')) - 1 as number
      from checked
    ), converted as (
      select
        one.tree, one.number as node, parent.number as parent, one.node ->> 'split' as feature,
        -- As XGBoost holds it: in four bytes.
        case when not one.node ? 'leaf' and jsonb_typeof(one.node -> 'split_condition') = 'number'
          then ml._single_precision((one.node ->> 'split_condition')::float8) end as threshold,
        case when jsonb_typeof(one.node -> 'split_condition') = 'array' then one.node -> 'split_condition'
          end as categories,
        case when not one.node ? 'leaf' then coalesce(one.node -> 'missing' = one.node -> 'yes', true)
          end as missing_left,
        one.node -> 'yes' as left_id, one.node -> 'no' as right_id,
        case when jsonb_typeof(one.node -> 'leaf') = 'number' then (one.node ->> 'leaf')::float8 * v_weights[one.tree]
          end as value, one.node -> 'gain' as gain, one.node -> 'cover' as cover, one.wrong,
          one.node ->> 'nodeid' as nodeid
      from numbered as one
      left join numbered as parent on parent.tree = one.tree and parent.node ->> 'nodeid' = one.parent::text
    )
    select
      min(format('tree %s: node %s %s', converted.tree, coalesce(converted.nodeid, '?'), converted.wrong))
        filter (where converted.wrong is not null),
      jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tree', converted.tree, 'node', converted.node, 'parent', converted.parent, 'feature',
        converted.feature, 'threshold', converted.threshold,
        'categories', converted.categories, 'missing_left', converted.missing_left, 'left_node',
        left_child.node, 'right_node', right_child.node,
        'value', converted.value, 'gain', converted.gain, 'cover', coalesce(converted.cover, '0')
      )) order by converted.tree, converted.node)
    into v_wrong, v_nodes
    from converted
    left join converted as left_child on left_child.tree = converted.tree
      and left_child.nodeid = converted.left_id #>> '{}'
    left join converted as right_child on right_child.tree = converted.tree
      and right_child.nodeid = converted.right_id #>> '{}';
  exception when numeric_value_out_of_range then
    perform common.refuse('CF009', format('a number of the trees cannot be stored: %s', left(sqlerrm, 100)),
      'Numbers lie between 1e-307 and 1e308.');
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      left(v_wrong, 300),
      'Give what save_model("model.json") writes, which contains everything, or get_dump(with_stats=True, '
        || 'dump_format="json") with the values of categories: "categories": {"country": ["at", "de"]}.'
    );
  elsif v_booster is null and v_link = 'logit' and not ml._plain_boosting(v_nodes, v_base) then
    perform common.refuse(
      'CF009',
      'a dump does not say whether the trees are weighted, and one of these trees did not follow those before it',
      'Add "booster": "gbtree" if rows were sampled (subsample) or trees grown side by side; for "dart" add its '
        || '"weight_drop", or give what save_model("model.json") writes.'
    );
  end if;
  if v_link = 'softmax' then
    -- A dump lists the trees of a round in the order of the classes.
    return ml._tree_document(v_nodes, v_link, 0, v_given -> 'categories', true) - 'intercept'
      || ml._imported_classes(v_given, v_classes, ml._xgboost_bases(v_given -> 'base_score', v_classes), array(
        select 1 + (tree - 1) % v_classes from generate_series(1, cardinality(v_trees)) as tree order by tree
      ));
  end if;
  return ml._tree_document(v_nodes, v_link, v_base, v_given -> 'categories', true);
end;
$$;

comment on function ml._import_xgboost(jsonb) is $$
A model document of trees in XGBoost's JSON dump.
Numbers are compared in single precision, as XGBoost does. Error CF009 names the tree and the node.
$$;

grant execute on function ml._import_xgboost(jsonb) to insights_admin, insights_worker;
