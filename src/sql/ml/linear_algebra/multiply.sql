create or replace function ml.multiply(
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
  v_a_columns constant int := ml._matrix_columns(a, 'a');
  v_b_rows constant int := cardinality(b);
  v_transposed vector[];
begin
  perform ml._matrix_columns(b, 'b');
  if v_a_columns <> v_b_rows then
    perform common.refuse('CF001', format('a has %s columns, b has %s rows', v_a_columns, v_b_rows),
      'A·B needs as many rows of b as a has columns; for A·Bᵀ use ml.multiply_transposed.');
  end if;
  v_transposed := ml.transpose(b);
  perform ml._check_product(a, v_transposed);
  return ml._product(a, v_transposed);
end;
$$;

comment on function ml.multiply(vector[], vector[]) is $$
Returns the matrix product A·B. Where Bᵀ is available, `ml.multiply_transposed` saves the transposition.
Shapes: m × k and k × n give m × n; k and n at most 16,000. Single precision.
Errors: CF001 (not matrices, shapes that do not fit), CF004 (no rows), CF007 (an entry of the product is too
large), CF008 (too large).
$$;

grant execute on function ml.multiply(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
