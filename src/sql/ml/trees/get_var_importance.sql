create or replace function ml.get_var_importance(
  model_table text,
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
  -- Of a model by groups, the first group.
  v_model constant ml.tree_model := (
    select trained from ml._tree_model(model_table, array['gbm', 'tree_train', 'forest_train']) as trained limit 1
  );
  v_nodes constant regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
begin
  execute format(
    $query$
    create table %1$s as
    select
      %2$s
      ml._unquoted(feature.name) as feature,
      coalesce(100 * node.gain / nullif(sum(node.gain) over (partition by model.gid), 0), 0) as impurity_var_importance,
      coalesce(node.gain, 0) as gain,
      coalesce(node.splits, 0) as splits,
      coalesce(node.cover, 0) as cover
    from %3$s as model
    cross join lateral unnest(model.independent_varnames) with ordinality as feature (name, position)
    left join (
      select %4$s as gid, feature, sum(gain order by tree, node) as gain, count(*) as splits,
        sum(cover order by tree, node) as cover
      from %5$s
      where feature is not null
      group by 1, 2
    ) as node on node.gid = model.gid and node.feature = feature.name
    where model.failure is null
    order by model.gid, node.gain desc nulls last, feature.position
    $query$,
    v_output,
    case when v_model.gid is not null then 'model.gid, ' || v_model.grouping_cols || ',' end,
    case when v_model.gid is null
      then format('(select 1 as gid, independent_varnames, null::text as failure from %s)', ml._tree_summary(v_nodes))
      else ml._tree_summary(v_nodes) end,
    case when v_model.gid is null then '1' else 'gid' end,
    v_nodes
  );
end;
$$;

comment on function ml.get_var_importance(text, text) is $$
@behavior -*
How much each feature of a tree, forest or boosted model improved its training, in MADlib's name.
Writes `output_table`, for a model by groups with `gid` and the grouping columns: `feature`, `impurity_var_importance`
(share of the total gain, sums to 100), `gain`, `splits` and `cover` (weight of the rows split).
Gain favours features with many values; ml.gbm_explain explains single predictions. Errors: CF002 (not a model),
CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.get_var_importance(text, text) to insights_analyst, insights_admin, insights_worker;
