create or replace function ml.item_knn_lists(
  pairs text,
  unit float8,
  similarity text default 'cosine',
  shrinkage float8 default 0,
  column_limit int default 200,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_pairs(unit, pairs);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  if shrinkage is null or not (shrinkage >= 0 and shrinkage < 'infinity') then
    perform common.refuse('CF001', format('shrinkage is %s', coalesce(shrinkage::text, 'null')),
      'Give a number from 0 (none); 10 to 100 lowers the similarity of items with few people.');
  end if;
  return ml._pruned(
    format(
      $statement$
      with counted as materialized (%1$s),

      item as materialized (
        select source_no as item_no, total::float8 * %2$L::float8 as total
        from counted
        where source_no = target_no
      ),

      pair as materialized (
        select pair.lower_no, pair.upper_no,
          (pair.total / (%4$s + %3$L::float8))::real as weight
        from (
          select source_no as lower_no, target_no as upper_no, total::float8 * %2$L::float8 as total
          from counted
          where source_no <> target_no
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
      pairs,
      case similarity when 'jaccard' then 1 else unit end,
      shrinkage,
      case similarity
        when 'jaccard' then 'lower.total + upper.total - pair.total'
        else 'sqrt(lower.total) * sqrt(upper.total)'
      end
    ),
    column_limit, row_limit
  );
end;
$$;

comment on function ml.item_knn_lists(text, float8, text, float8, int, int) is $$
@behavior -*
Returns the statement that makes the neighbour lists of similar items from the sums of `ml.item_knn_pairs`.
`pairs` is a statement with the columns `source_no`, `target_no` and `total`, in whole numbers of `unit`. The other
arguments are those of `ml.item_knn_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_lists(text, float8, text, float8, int, int)
to insights_analyst, insights_admin, insights_worker;
