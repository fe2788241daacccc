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
  -- P is symmetric, so that column j of B is row j of P divided by -P[j,j]: the strongest entries are found by row.
  return ml._pruned(
    format(
      $statement$
      select ($2)[strongest.n] as source_no, ($2)[target.n] as target_no,
        -strongest.entry / target.diagonal as weight
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
        limit %s
      ) as strongest
      $statement$,
      column_limit
    ),
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
