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
  perform common.check_count('max_items', max_items, 2, 10000);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  if shrinkage is null or not (shrinkage >= 0 and shrinkage <= 1e9) then
    perform common.refuse('CF001', format('shrinkage is %s', coalesce(shrinkage::text, 'null')),
      'Give a number from 0 (none) to 1e9; 10 to 100 lowers the similarity of items with few people.');
  end if;
  return query execute ml._pruned(
    format(
      $statement$
      with used as materialized (
        select person_no, item_no, %2$s as weight
        from (
          select person_no, item_no, weight,
            row_number() over (partition by person_no order by position desc nulls last, item_no) as place
          from %1$s
          where weight > 0
        ) as ranked
        where place <= $3
      ),

      item as materialized (
        select item_no, sum((weight * weight / $1)::bigint)::float8 * $1 as total
        from used
        group by item_no
      ),

      pair as materialized (
        select pair.lower_no, pair.upper_no,
          (pair.total / (%3$s + $2))::real as weight
        from (
          select lower.item_no as lower_no, upper.item_no as upper_no,
            sum((lower.weight * upper.weight / $1)::bigint)::float8 * $1 as total
          from used as lower
          join used as upper
            on upper.person_no = lower.person_no
            and upper.item_no > lower.item_no
          group by lower.item_no, upper.item_no
        ) as pair
        join item as lower on lower.item_no = pair.lower_no
        join item as upper on upper.item_no = pair.upper_no
      )

      select lower_no as source_no, upper_no as target_no, weight
      from pair
      union all
      select upper_no, lower_no, weight
      from pair
      $statement$,
      relation,
      case similarity when 'jaccard' then '1::float8' else 'weight::float8' end,
      case similarity
        when 'jaccard' then 'lower.total + upper.total - pair.total'
        else 'sqrt(lower.total) * sqrt(upper.total)'
      end
    ),
    column_limit, row_limit
  )
  using case similarity when 'jaccard' then 1 else v_unit end, shrinkage, max_items;
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
