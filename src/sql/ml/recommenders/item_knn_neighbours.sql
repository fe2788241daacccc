create or replace function ml.item_knn_neighbours(
  relation regclass,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  max_items int default 500,
  column_limit int default 200,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_unit float8;
begin
  perform ml._check_coded(relation);
  v_unit := ml._weight_unit(relation);
  return query execute ml.item_knn_lists(
    ml.item_knn_pairs(relation, v_unit, similarity, max_items),
    v_unit, similarity, shrinkage, column_limit, row_limit
  );
end;
$$;

comment on function ml.item_knn_neighbours(regclass, text, float8, int, int, int) is $$
@behavior -*
Returns the neighbour lists of similarities between items.
`relation` is as for `ml.sequence_neighbours`.
`cosine` is the sum of the products of the weights of the people who have both items, divided by the product of the
norms of the two items plus `shrinkage`; `jaccard` the number of people with both divided by the number with one of them
plus `shrinkage`, without weights.
Of each person the last `max_items` items by position count, so that the work is at most rows × `max_items` pairs.
Memory is bounded (`work_mem` of 64 MB).
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_neighbours(regclass, text, float8, int, int, int)
to insights_analyst, insights_admin, insights_worker;
