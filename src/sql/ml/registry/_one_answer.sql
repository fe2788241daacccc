create or replace function ml._one_answer(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_document constant jsonb := ml._document(model);
begin
  if v_document ? 'classes' then
    perform common.refuse('CF001', format('version %s answers with a probability for each class', model.version),
      'Use ml.predict_classes, or ml.predict_table for the rows of a table.');
  end if;
  return v_document;
end;
$$;

comment on function ml._one_answer(ml.model) is $$
The document of a version that has one answer. Error CF001 for a model of several classes.
$$;

grant execute on function ml._one_answer(ml.model)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
