create or replace function ml.item_knn_pairs(
  relation regclass,
  unit float8,
  similarity text default 'cosine',
  max_items int default 500
)
returns text
language plpgsql
stable
set search_path from current
set extra_float_digits to 1
as $$
begin
  perform ml._check_coded(relation);
  perform ml._check_pairs(unit);
  perform common.check_count('max_items', max_items, 2, 10000);
  if similarity is distinct from 'cosine' and similarity is distinct from 'jaccard' then
    perform common.refuse('CF001', format('similarity is %s', coalesce(left(similarity, 100), 'null')),
      'It is cosine or jaccard.');
  end if;
  return format(
    $statement$
    with used as materialized (
      select person_no, item_no, %2$s as weight
      from (
        select person_no, item_no, weight,
          row_number() over (partition by person_no order by position desc nulls last, item_no) as place
        from %1$s
        where weight > 0
      ) as ranked
      where place <= %3$s
    )

    select lower.item_no as source_no, upper.item_no as target_no,
      sum((lower.weight * upper.weight / %4$L::float8)::bigint) as total
    from used as lower
    join used as upper
      on upper.person_no = lower.person_no
      and upper.item_no >= lower.item_no
    group by lower.item_no, upper.item_no
    $statement$,
    relation,
    case similarity when 'jaccard' then '1::float8' else 'weight::float8' end,
    max_items,
    case similarity when 'jaccard' then 1 else unit end
  );
end;
$$;

comment on function ml.item_knn_pairs(regclass, float8, text, int) is $$
@behavior -*
Returns the statement that adds up, for each two items, the products of the weights of the people with both.
Its columns are `source_no`, `target_no`, not below the first, and `total`, a whole number of the `unit`; the total of
an item with itself is its squared norm. For the similarity `jaccard` the totals are numbers of people. Sums of whole
numbers do not depend on the order of the rows: the sums of some people are added to those of others, or subtracted,
exactly. `ml.item_knn_lists` makes neighbour lists of them. Arguments as in `ml.item_knn_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.item_knn_pairs(regclass, float8, text, int)
to insights_analyst, insights_admin, insights_worker;
