create or replace function recommend._choose_model(selection recommend.evaluation)
returns recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_best recommend.evaluation_model;
  v_blend recommend.evaluation_model;
begin
  select model.* into v_best
  from recommend.evaluation_model as model
  left join recommend.evaluation_result as result
    on result.evaluation_id = model.evaluation_id
    and result.model = model.model
    and result.segment = ''
    and result.metric = 'ndcg'
  where model.evaluation_id = (selection).evaluation_id
    and jsonb_array_length(model.parts) < 2
  order by result.value desc nulls last, jsonb_array_length(model.parts), model.model_no
  limit 1;

  -- A blend is chosen only when it gains more than chance against the best single model.
  select model.* into v_blend
  from recommend.evaluation_model as model
  join recommend.evaluation_result as result
    on result.evaluation_id = model.evaluation_id
    and result.model = model.model
    and result.segment = ''
    and result.metric = 'ndcg'
  join recommend.evaluation_comparison as comparison
    on comparison.evaluation_id = model.evaluation_id
    and comparison.metric = 'ndcg'
    and (
      comparison.model = model.model and comparison.other_model = v_best.model and comparison.verdict = 'better'
      or comparison.model = v_best.model and comparison.other_model = model.model and comparison.verdict = 'worse'
    )
  where model.evaluation_id = (selection).evaluation_id
    and jsonb_array_length(model.parts) > 1
  order by result.value desc, model.model_no
  limit 1;
  return case when v_blend.model is not null then v_blend else v_best end;
end;
$$;

comment on function recommend._choose_model(recommend.evaluation) is $$
@behavior -*
Returns the model with the highest NDCG@10 of a selection.
A blend is chosen only when it is significantly better than the best single model. Without results: popularity.
$$;
