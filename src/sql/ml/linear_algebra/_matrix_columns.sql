/*
 * A dense matrix is an array of vectors, one per row. The inner loops are pgvector's inner products in C (single
 * precision, vectorized), so matrices of thousands of rows are multiplied or inverted in seconds.
 */
create or replace function ml._matrix_columns(
  matrix vector[],
  name text
)
returns int
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_shortest int;
  v_longest int;
  v_rows int;
  v_present int;
begin
  select min(vector_dims(entry.v)), max(vector_dims(entry.v)), count(*), count(entry.v)
  into v_shortest, v_longest, v_rows, v_present
  from unnest(matrix) as entry (v);

  if v_rows = 0 or matrix is null then
    perform common.refuse('CF004', format('the matrix %s has no rows', left(name, 100)),
      'Give an array of vectors, one for each row, such as array_agg(v order by row_number).');
  end if;
  if array_ndims(matrix) <> 1 or v_present < v_rows then
    perform common.refuse(
      'CF001',
      format(
        'the matrix %s is not a list of rows: %s of %s entries are null',
        left(name, 100),
        v_rows - v_present,
        v_rows
      ),
      'Give a one-dimensional array of vectors without nulls, one for each row.'
    );
  end if;
  if v_shortest <> v_longest then
    perform common.refuse(
      'CF001',
      format('the rows of matrix %s have %s to %s columns', left(name, 100), v_shortest, v_longest),
      'All rows of a matrix have the same number of columns.'
    );
  end if;
  return v_longest;
end;
$$;

comment on function ml._matrix_columns(vector[], text) is $$
Returns the number of columns of a matrix, after checking that all rows have the same; `name` is for messages.
Errors: CF001 (nulls, rows of different lengths), CF004 (no rows).
$$;

grant execute on function ml._matrix_columns(vector[], text) to insights_analyst, insights_admin, insights_worker;
