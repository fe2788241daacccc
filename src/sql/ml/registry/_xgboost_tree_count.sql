create or replace function ml._xgboost_tree_count(document jsonb, tree_count int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_booster constant jsonb := document #> '{model,learner,gradient_booster}';
  v_model constant jsonb := coalesce(v_booster #> '{gbtree,model}', v_booster -> 'model');
  v_range constant jsonb := document -> 'iteration_range';
  v_best constant text := document #>> '{model,learner,attributes,best_iteration}';
  v_parallel constant text := coalesce(v_model #>> '{gbtree_model_param,num_parallel_tree}', '1');
  v_classes constant text := coalesce(document #>> '{model,learner,learner_model_param,num_class}', '1');
  v_iterations numeric;
  v_count numeric;
begin
  if v_range is not null and not coalesce(jsonb_typeof(v_range) = 'array' and jsonb_array_length(v_range) = 2
    and v_range ->> 0 = '0' and v_range ->> 1 ~ '^\d{1,9}$', false) then
    perform common.refuse('CF009', format('the iteration_range is %s', left(v_range::text, 100)),
      'Give [0, 50] for the first 50 iterations, or [0, 0] for all.');
  end if;
  v_iterations := case
    when v_range is not null then nullif((v_range ->> 1)::numeric, 0)
    when v_best ~ '^\d{1,9}$' then v_best::numeric + 1
  end;
  v_count := coalesce(
    case when jsonb_typeof(v_model -> 'iteration_indptr') = 'array'
      then (v_model -> 'iteration_indptr' ->> trunc(least(v_iterations, 1000000000))::int)::numeric end,
    v_iterations * case when v_parallel ~ '^\d{1,6}$' then greatest(v_parallel::int, 1) else 1 end
      * case when v_classes ~ '^\d{1,5}$' then greatest(v_classes::int, 1) else 1 end,
    tree_count
  );
  return least(v_count, tree_count);
exception when invalid_text_representation then
  perform common.refuse('CF009', 'the iterations of the model cannot be read',
    'Give what save_model("model.json") writes, unchanged.');
end;
$$;

comment on function ml._xgboost_tree_count(jsonb, int) is $$
The number of trees that answer: those up to the best iteration, as in scikit-learn's interface of XGBoost.
`iteration_range` of the document takes precedence. Error CF009.
$$;

grant execute on function ml._xgboost_tree_count(jsonb, int) to insights_admin, insights_worker;
