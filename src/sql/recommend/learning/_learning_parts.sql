create or replace function recommend._learning_parts(model_id bigint)
returns table (part smallint, algorithm text, parameters jsonb, person_mean float8, scale float8, is_blended boolean)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    known.part, known.algorithm, entry.part -> 'parameters', known.person_mean, known.scale,
    jsonb_array_length(model.parameters -> 'parts') > 1
  from ml.model
  cross join lateral jsonb_array_elements(model.parameters -> 'parts') with ordinality as entry (part, place)
  join recommend.model_part as known on known.model_id = model.model_id and known.part = entry.place
  where model.model_id = _learning_parts.model_id
  order by known.part;
end;
$$;

comment on function recommend._learning_parts(bigint) is $$
@behavior -*
Returns the parts of a version of a recommender with their parameters.
$$;
