create or replace function ml.content_neighbours(
  relation regclass,
  column_limit int default 50,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set jit to off
as $$
declare
  v_count bigint;
  v_items int[];
  v_vectors vector[];
begin
  perform ml._check_coded(relation, array['item_no', 'embedding']);
  perform common.check_count('column_limit', column_limit, 1, 1000);
  execute format('select count(*) from %s', relation) into v_count;
  if v_count > 50000 then
    perform common.refuse('CF008', format('%s vectors are too many', v_count),
      'Each pair is compared. For more, let an HNSW index find the nearest vectors.');
  end if;
  execute format(
    $statement$
    select array_agg(item_no order by item_no), array_agg(l2_normalize(embedding::vector) order by item_no)
    from %s
    where vector_norm(embedding::vector) > 0
    $statement$,
    relation
  )
  into v_items, v_vectors;
  return query execute ml._pruned(
    format(
      $statement$
      select ($1::int[])[nearest.n] as source_no, ($1::int[])[target.n] as target_no, nearest.cosine::real as weight
      from (select unnest($2) as v, generate_series(1, cardinality($2)) as n offset 0) as target
      cross join lateral (
        select entry.cosine, entry.n
        from (
          select other.n, -(target.v <#> other.v) as cosine
          from (select unnest($2) as v, generate_series(1, cardinality($2)) as n offset 0) as other
          offset 0
        ) as entry
        where entry.cosine > 0
          and entry.n <> target.n
        order by entry.cosine desc, entry.n
        limit %s
      ) as nearest
      $statement$,
      column_limit
    ),
    column_limit, row_limit
  )
  using v_items, v_vectors;
end;
$$;

comment on function ml.content_neighbours(regclass, int, int) is $$
@behavior -*
Returns the neighbour lists of the content model: the cosines of the vectors of items, where they are positive.
`relation` has the columns `item_no` (from 1) and `embedding` (vectors of the same number of dimensions), one row per
item. Vectors that are null or 0 have no neighbours. Each pair is compared: time grows with the square of the number of
items, which is at most 50,000.
Errors: CF001 (parameters), CF002 (a column is absent), CF008 (too many items).
$$;

grant execute on function ml.content_neighbours(regclass, int, int)
to insights_analyst, insights_admin, insights_worker;
