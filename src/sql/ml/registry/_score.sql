create or replace function ml._score(model ml.model, features jsonb)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._one_answer(model);
  v_member record;
  v_odds float8;
  v_score float8;
begin
  if v_document ->> 'kind' = 'trees' then
    return (v_document ->> 'intercept')::float8 + coalesce((
      select sum(leaf.value)
      from ml._tree_values(model.model_id, ml._tree_inputs_of(v_document, features)) as leaf
    ), 0);
  elsif v_document ->> 'kind' = 'ensemble' then
    v_score := 0;
    for v_member in select member.model, member.weight from ml._members(v_document) as member loop
      execute format('select %s', ml._log_odds_expression((v_member.model).coefficients, '$1'))
        into v_odds using ml._score(v_member.model, features);
      v_score := v_score + v_member.weight * v_odds;
    end loop;
    return v_score;
  end if;
  execute format('select %s from (select %s) as input', ml._score_expression(model),
    ml._constants(v_document, features)) into v_score;
  return v_score;
end;
$$;

comment on function ml._score(ml.model, jsonb) is $$
The raw score of a model for one object of features: log odds, the logarithm or the value itself, before calibration.
$$;

grant execute on function
  ml._score(ml.model, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
