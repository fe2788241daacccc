create or replace function ml.ease_lists(
  column_limit int default 500,
  row_limit int default 1000
)
returns text
language plpgsql
stable
set search_path from current
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  perform common.check_count('row_limit', row_limit, 1, 100000);
  /*
   * P is symmetric, so that column j of B is row j of P divided by -P[j,j]: the strongest entries are found by row.
   * Then the entries of each item are collected, and only the lists that are too long are sorted by their weights: the
   * result is that of ml._pruned, without its sorts of all entries.
   */
  return format(
    $statement$
    with entry as (
      select strongest.n, target.n as target_n, -strongest.entry / target.diagonal as weight
      from (
        select row_.v::real[] as entries, (row_.v::real[])[row_.n] as diagonal, row_.n::int as n
        from unnest($1) with ordinality as row_ (v, n)
        offset 0
      ) as target
      cross join lateral (
        select element.entry, element.n
        from (
          select unnest(target.entries) as entry, generate_series(1, cardinality(target.entries)) as n
          offset 0
        ) as element
        where element.n <> target.n
        order by abs(element.entry) desc, element.n
        limit %1$s
      ) as strongest
    ),

    list as (
      select entry.n, array_agg(entry.target_n) as targets, array_agg(entry.weight) as weights
      from entry
      where entry.weight <> 0
      group by entry.n
    )

    select ($2)[list.n] as source_no, kept.neighbours, kept.weights
    from list
    cross join lateral (
      select
        array_agg(($2)[strongest.target_n] order by strongest.target_n) as neighbours,
        array_agg(strongest.weight order by strongest.target_n) as weights
      from (
        select element.target_n, element.weight
        from unnest(list.targets, list.weights) as element (target_n, weight)
        order by
          case when cardinality(list.targets) > %2$s then abs(element.weight) end desc,
          element.target_n
        limit %2$s
      ) as strongest
    ) as kept
    order by list.n
    $statement$,
    column_limit, row_limit
  );
end;
$$;

comment on function ml.ease_lists(int, int) is $$
@behavior -*
Returns the statement that makes neighbour lists of the weights B = I - P·diag(P)⁻¹.
Its parameter $1 is P, such as `ml.ease_inverse` returns (vector[]), $2 the numbers of the items of its rows, in
ascending order. The other arguments are those of `ml.ease_neighbours`.
Errors: CF001 (parameters).
$$;

grant execute on function ml.ease_lists(int, int) to insights_analyst, insights_admin, insights_worker;
