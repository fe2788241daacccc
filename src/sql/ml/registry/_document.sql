create or replace function ml._document(model ml.model)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(model.coefficients ->> 'kind', '') not in ('linear', 'trees', 'embeddings', 'scores', 'ensemble') then
    perform common.refuse(
      'CF001',
      format('version %s is a model of its own kind (%s) that answers elsewhere', model.version, model.algorithm),
      'ml.predict serves what ml.train, ml.register_model or ml.import_model made.'
    );
  end if;
  return model.coefficients;
end;
$$;

comment on function ml._document(ml.model) is $$
The document of a version that ml.predict can serve.
Error CF001 for models with functions of their own, such as recommenders.
$$;

grant execute on function ml._document(ml.model) to insights_reader, insights_analyst, insights_admin, insights_worker;
