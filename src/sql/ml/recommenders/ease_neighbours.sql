create or replace function ml._dense_neighbours(
  items int[],
  inverse vector[],
  column_limit int default 500,
  row_limit int default 1000
)
returns setof ml.neighbour_row
language plpgsql
stable
set search_path from current
set jit to off
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  -- P is symmetric, so that column j of B is row j of P divided by -P[j,j]: the strongest entries are found by row.
  return query execute ml._pruned(
    format(
      $statement$
      select ($2::int[])[strongest.n] as source_no, ($2::int[])[target.n] as target_no,
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
  )
  using inverse, items;
end;
$$;

comment on function ml._dense_neighbours(int[], vector[], int, int) is $$
Neighbour lists of the weights B = I - P·diag(P)⁻¹ from P, such as `ml.ease_inverse` returns.
`items` are the numbers of the items of the rows, in ascending order.
$$;

create or replace function ml.ease_neighbours(
  relation regclass,
  lambda float8,
  exponent float8 default 0,
  dropout float8 default 0,
  column_limit int default 500,
  row_limit int default 1000,
  person_exponent float8 default 0
)
returns setof ml.neighbour_row
language plpgsql
volatile
set search_path from current
as $$
declare
  v_sums ml.ease_sums;
begin
  v_sums := ml.ease_coded_sums(relation, person_exponent);
  return query
  select *
  from ml._dense_neighbours(
    v_sums.items::int[],
    ml._ease_inverse(v_sums.gram, ml._ease_ridges(v_sums, lambda, exponent, dropout)),
    column_limit,
    row_limit
  );
end;
$$;

comment on function ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8) is $$
@behavior -*
Returns the neighbour lists of EASE, or with a `dropout` of EDLAE.
`relation` is as for `ml.sequence_neighbours`; positions are not used. At most 16,000 items.
People count with a factor that falls with their number of items n, n ^ -`person_exponent`.
The ridge of an item of d people is `lambda` · d ^ `exponent`, plus p / (1 - p) times its diagonal of XᵀX for a
`dropout` of p.
Of each item as target the `column_limit` strongest weights are kept, as source the `row_limit` strongest.
Errors: CF001 (parameters), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function
  ml._dense_neighbours(int[], vector[], int, int),
  ml.ease_neighbours(regclass, float8, float8, float8, int, int, float8)
to insights_analyst, insights_admin, insights_worker;
