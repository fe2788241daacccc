create or replace function ml._pruned(
  entries text,
  column_limit int,
  row_limit int
)
returns text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_count('column_limit', column_limit, 1, 1000);
  perform common.check_count('row_limit', row_limit, 1, 100000);
  return format(
    $statement$
    with entry as (%1$s),

    strongest_of_column as (
      select ranked.source_no, ranked.target_no, ranked.weight
      from (
        select *, row_number() over (partition by target_no order by abs(weight) desc, source_no) as place
        from entry
        where weight <> 0
      ) as ranked
      where ranked.place <= %2$s
    ),

    strongest_of_row as (
      select ranked.source_no, ranked.target_no, ranked.weight
      from (
        select *, row_number() over (partition by source_no order by abs(weight) desc, target_no) as place
        from strongest_of_column
      ) as ranked
      where ranked.place <= %3$s
    )

    select
      source_no,
      array_agg(target_no order by target_no),
      array_agg(weight order by target_no)
    from strongest_of_row
    group by source_no
    order by source_no
    $statement$,
    entries, column_limit, row_limit
  );
end;
$$;

comment on function ml._pruned(text, int, int) is $$
Returns the statement that makes neighbour lists (`ml.neighbour_row`) of the entries of a sparse matrix of weights.
`entries` is a statement with the columns `source_no`, `target_no` (int) and `weight` (real).
Of each column the `column_limit` entries of greatest absolute value are kept, then of each row the `row_limit`
greatest; of equal ones those of the items with lower numbers.
$$;

grant execute on function ml._pruned(text, int, int) to insights_analyst, insights_admin, insights_worker;
