create or replace function ml._predict(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_answer float8;
begin
  execute format('select %s', ml._answer_expression(ml._one_answer(model), '$1'))
    into v_answer using ml._score(model, features);
  return v_answer;
end;
$$;

comment on function ml._predict(ml.model, jsonb) is $$The answer of a model for one object of features.$$;

grant execute on function ml._predict(ml.model, jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
