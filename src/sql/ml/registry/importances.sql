create or replace function ml.importances(project text, version int default null)
returns setof ml.importance
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_model ml.model := ml._version(project, version);
begin
  return query
  with measured as (
    select node.feature, sum(node.gain order by node.tree, node.node) as importance
    from ml.tree_node as node
    where node.model_id = v_model.model_id
      and node.feature is not null
    group by node.feature

    union all

    -- With several classes, the root of the mean square over their scores.
    select
      entry.feature ->> 'name',
      sqrt(avg(
        case when ml._is_double(entry.feature -> 'deviation') then (entry.feature ->> 'deviation')::float8 ^ 2 end
        order by output.place
      ))
    from jsonb_array_elements(
      case
        when v_model.coefficients ? 'outputs' then v_model.coefficients -> 'outputs'
        else jsonb_build_array(v_model.coefficients)
      end
    ) with ordinality as output (document, place)
    cross join lateral jsonb_array_elements(output.document -> 'features') as entry (feature)
    where v_model.coefficients ->> 'kind' = 'linear'
    group by entry.feature ->> 'name'
  )

  select measured.feature, measured.importance, measured.importance / nullif(sum(measured.importance) over (), 0)
  from measured
  where measured.importance is not null
  order by measured.importance desc, measured.feature collate "C";
end;
$$;

comment on function ml.importances(text, int) is $$
Returns how much each feature matters to a version of a project, the deployed one where none is given, largest first.
For trees the importance is the total gain of the splits by the feature (`total_gain` of XGBoost; `share` is the
`impurity_var_importance` of MADlib divided by 100), without features that no split uses; for linear models that
`ml.train` made, the standard deviation of what the feature adds to the score of the rows of the training, in units of
the score. `share` is the part of the sum of all. No rows for recommenders, embeddings, scores, ensembles, and
models from outside that do not state the gain. Importances of correlated features are divided between them, and gain
favours features with many values: `ml.explain` explains single predictions.
Errors: CF002, CF006 (none is deployed, or the version is marked for training).
$$;

grant execute on function ml.importances(text, int)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
