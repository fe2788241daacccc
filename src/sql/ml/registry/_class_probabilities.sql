create or replace function ml._class_probabilities(model ml.model, features jsonb)
returns float8[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
  v_scores float8[];
  v_answer float8[];
begin
  if v_document ->> 'kind' = 'trees' then
    v_scores := array(
      select output.intercept::float8 + coalesce(sum(coalesce(leaf.value, leaf.class_values[output.place])), 0)
      from jsonb_array_elements_text(v_document -> 'intercepts') with ordinality as output (intercept, place)
      left join ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
        on leaf.value is null or (v_document -> 'tree_classes' ->> leaf.tree - 1)::int = output.place
      group by output.place, output.intercept
      order by output.place
    );
  else
    execute format('select %s from (select %s) as input', ml._score_expression(model),
      ml._constants(v_document, features)) into v_scores;
  end if;
  execute format('select %s', ml._answer_expression(v_document, '$1')) into v_answer using v_scores;
  return v_answer;
end;
$$;

comment on function ml._class_probabilities(ml.model, jsonb) is $$
The probabilities of the classes of a model for one object of features, in the order of ml._classes.
$$;

grant execute on function ml._class_probabilities(ml.model, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
