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
  v_summary jsonb := ml._model_summary(model_table, array['gbm', 'tree_train', 'forest_train']);
  v_model regclass := common.relation(model_table);
  v_output text := common.output_table(output_table);
begin
  execute format(
    $query$
    create table %s as
    select
      ml._unquoted(feature.name) as feature,
      coalesce(100 * node.gain / nullif(sum(node.gain) over (), 0), 0) as impurity_var_importance,
      coalesce(node.gain, 0) as gain,
      coalesce(node.splits, 0) as splits,
      coalesce(node.cover, 0) as cover
    from unnest(%L::text[]) with ordinality as feature (name, position)
    left join (
      select feature, sum(gain) as gain, count(*) as splits, sum(cover) as cover
      from %s
      where feature is not null
      group by feature
    ) as node on node.feature = feature.name
    order by node.gain desc nulls last, feature.position
    $query$,
    v_output, array(select jsonb_array_elements_text(v_summary -> 'independent_varnames')), v_model
  );
end;
$$;

comment on function ml.get_var_importance(text, text) is $$
@behavior -*
How much each feature of a tree, forest or boosted model improved its training, in MADlib's name.
Writes `output_table`: `feature`, `impurity_var_importance` (share of the total gain, sums to 100), `gain`, `splits`
and `cover` (weight of the rows split).
Gain favours features with many values; ml.gbm_explain explains single predictions. Errors: CF002 (not a model),
CF003 (`output_table` exists), CF005.
$$;

grant execute on function ml.get_var_importance(text, text) to insights_analyst, insights_admin, insights_worker;
