create or replace function ml.transpose(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_columns constant int := ml._matrix_columns(matrix, 'matrix');
  v_matrix constant vector[] := matrix || '{}';
begin
  perform ml._fits_vector(cardinality(matrix), 'rows');
  return (
    select array_agg(transposed.v order by transposed.column_number)
    from (
      select entry.column_number, array_agg(entry.value)::vector as v
      from (
        -- Row by row, with both set-returning functions in step.
        select generate_series(1, v_columns) as column_number, unnest(row_.v::real[]) as value
        from (select unnest(v_matrix) as v offset 0) as row_
      ) as entry
      group by entry.column_number
    ) as transposed
  );
end;
$$;

comment on function ml.transpose(vector[]) is $$
Returns the transpose of a matrix: its columns as rows.
Shapes: m × n gives n × m; m at most 16,000.
Errors: CF001 (not a matrix), CF004 (no rows), CF008 (m too large).
$$;

grant execute on function ml.transpose(vector[]) to insights_analyst, insights_admin, insights_worker;
