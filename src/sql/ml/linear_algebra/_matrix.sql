/*
 * Dense matrices on pgvector: an array of vectors, one for each row. The inner loops are pgvector's own inner products
 * in C (single precision, vectorized), so that a catalogue's worth of rows is multiplied or inverted in seconds by any
 * PostgreSQL that has the extension. For a few unknowns in double precision, see _linear_algebra.sql.
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
Number of columns of a matrix, after having made sure that it is one; `name` is for messages. Errors: CF001 (nulls, ragged rows), CF004 (no rows).
$$;

create or replace function ml._fits_vector(
  count bigint,
  what text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if count > 16000 then
    perform common.refuse('CF008', format('%s %s are too many', count, left(what, 100)),
      'A row of a matrix is a pgvector vector, which has at most 16000 entries.');
  end if;
end;
$$;

comment on function ml._fits_vector(bigint, text) is $$Raises CF008 for more entries than a vector can have.$$;

create or replace function ml._product(
  a vector[],
  b vector[]
)
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  -- Concatenation makes copies in memory: an argument read from a table would be decompressed again for every row.
  v_a constant vector[] := a || '{}';
  v_b constant vector[] := b || '{}';
begin
  -- unnest in the select list hands the rows on one by one, where a function in from would store all of them first.
  return array(
    select array(select -(a_row.v <#> b_row.v) from (select unnest(v_b) as v offset 0) as b_row)::vector
    from (select unnest(v_a) as v offset 0) as a_row
  );
end;
$$;

comment on function ml._product(vector[], vector[]) is $$
A times the transpose of B, unchecked: the kernel under all matrix functions.
$$;

grant execute on function
  ml._matrix_columns(vector[], text),
  ml._fits_vector(bigint, text),
  ml._product(vector[], vector[])
to insights_analyst, insights_admin, insights_worker;
