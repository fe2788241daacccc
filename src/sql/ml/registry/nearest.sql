create or replace function ml.nearest(project text, key text, top int default 10, version int default null)
returns setof ml.neighbour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_model ml.model := ml._version(project, version);
  v_document constant jsonb := ml._document(v_model);
begin
  if v_document ->> 'kind' <> 'embeddings' then
    perform common.refuse(
      'CF001',
      format(
        '"%s" is a model of kind "%s", without embeddings',
        left(project, 100),
        left(v_document ->> 'kind', 100)
      ),
      'Import embeddings with ml.import_model.'
    );
  elsif top is null or top not between 1 and 10000 then
    perform common.refuse('CF001', format('top is %s', coalesce(top::text, 'null')), 'Give a number from 1 to 10000.');
  elsif not exists (select from ml.embedding where embedding.model_id = v_model.model_id and embedding.side = 1
    and embedding.key = nearest.key) then
    perform common.refuse(
      'CF002',
      format('"%s" has no embedding of "%s"', left(project, 100), coalesce(left(key, 100), 'null')),
      format('The key is one of "%s".', v_document #>> '{features,0,name}')
    );
  end if;
  return query
  select (row_number() over (order by compared.similarity desc, compared.key))::int, compared.key, compared.similarity
  from (
    select other.key, ml._similarity(one.embedding, other.embedding, v_document ->> 'similarity') as similarity
    from ml.embedding as one
    join ml.embedding as other on other.model_id = one.model_id and other.side = (v_document ->> 'sides')::int
    where one.model_id = v_model.model_id
      and one.side = 1
      and one.key = nearest.key
      and ((v_document ->> 'sides')::int = 2 or other.key <> one.key)
  ) as compared
  where compared.similarity is not null
  order by compared.similarity desc, compared.key
  limit nearest.top;
end;
$$;

comment on function ml.nearest(text, text, int, int) is $$
Returns the keys that are most similar to a given one in a model of embeddings:
of the second key where the model has two, otherwise the other things of the same kind.
Errors: CF001 (no embeddings, top), CF002 (no such project or key), CF006 (none is deployed).
$$;

grant execute on function ml.nearest(text, text, int, int) to insights_reader, insights_admin, insights_worker;
