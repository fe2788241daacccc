create or replace function ml.item_knn_train(
  source_table text,
  person_column text default 'person_id',
  item_column text default 'item_id',
  weight_column text default null,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  neighbour_count int default 200,
  order_column text default null,
  max_items int default 500
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
  perform ml._code_interactions(source_table, person_column, item_column, order_column, weight_column, true);
  return query
  select *
  from ml._named_neighbours(format(
    'ml.item_knn_neighbours(%L, %L, %L, %L, %L)',
    'pg_temp._ml_interaction', similarity, shrinkage, max_items, neighbour_count
  ));
end;
$$;

comment on function ml.item_knn_train(text, text, text, text, text, float8, int, text, int) is $$
Trains a recommender of item neighbours: the similarity of two items is that of the people who used them.
Returns one row per item, in the order of `item_column`: the item, its neighbours, most similar first, and the
similarities. The score of an item for a person is the sum of the weights from the items of the person.
`cosine` is the sum of the products of the weights of the people who have both items, divided by the product of the
norms of the two items plus `shrinkage`; `jaccard` the number of people with both divided by the number with one of them
plus `shrinkage`. Shrinkage lowers the similarity of items with few people.
Each item as target keeps its `neighbour_count` nearest, as source at most 1,000.
`weight_column` is a column or an expression; without one each pair of person and item counts 1, however often it comes;
with one the weights of a pair are added.
Any number of items: of each person the last `max_items` items by `order_column` count, so that the work is at most rows
× `max_items` pairs.
Errors: CF001 (parameters, weights), CF002 (no such table or column), CF004 (no rows), CF005 (not readable).
$$;

grant execute on function ml.item_knn_train(text, text, text, text, text, float8, int, text, int)
to insights_analyst, insights_admin, insights_worker;
