create or replace function ml.content_train(
  source_table text,
  item_column text default 'item_id',
  text_column text default 'title',
  vector_column text default null,
  dimensions int default 512,
  neighbour_count int default 50
)
returns setof ml.item_neighbours
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  perform common.check_count('neighbour_count', neighbour_count, 1, 1000);
  if vector_column is null then
    perform ml._check_dimensions(dimensions);
    perform ml._code_documents(source_table, item_column, text_column, 'text column');
    perform ml._document_vectors(dimensions);
  else
    perform ml._code_documents(source_table, item_column, vector_column, 'vector column');
    perform ml._given_vectors();
  end if;
  return query
  select *
  from ml._named_neighbours(format('ml.content_neighbours(%L, %L)', 'pg_temp._ml_vector', neighbour_count));
end;
$$;

comment on function ml.content_train(text, text, text, text, int, int) is $$
Trains a recommender on what items are about: their texts, or vectors that were made elsewhere.
Returns one row per item that has neighbours, in the order of `item_column`: the item, its neighbours, most similar
first, and the cosines. The score of an item for a person is the sum of the weights from the items of the person. New
items need no people.
`text_column` is a column or an expression, as for `ml.content_vectors`, which makes the vectors. `vector_column` takes
embeddings in place of the text: a column or an expression of type vector, halfvec, real[] or double precision[].
Each item as target keeps its `neighbour_count` nearest, as source at most 1,000. At most 50,000 items.
Errors: CF001 (parameters, the expression, vectors), CF002 (no such table or column), CF004 (no rows), CF005 (not
readable), CF008 (too many items).
$$;

grant execute on function ml.content_train(text, text, text, text, int, int)
to insights_analyst, insights_admin, insights_worker;
