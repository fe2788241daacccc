create or replace function ml.multiply_transposed(
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
  v_b_columns constant int := ml._matrix_columns(b, 'b');
begin
  if v_a_columns <> v_b_columns then
    perform common.refuse('CF001', format('the rows of a have %s columns, those of b %s', v_a_columns, v_b_columns),
      'A·Bᵀ consists of the inner products of the rows of a and the rows of b, which must be equally long.');
  end if;
  perform ml._fits_vector(cardinality(b), 'rows of b');
  perform ml._check_product(a, b);
  return ml._product(a, b);
end;
$$;

comment on function ml.multiply_transposed(vector[], vector[]) is $$
Returns A·Bᵀ: row i, column j is the inner product of row i of `a` and row j of `b`.
The fastest product of matrices that are stored by rows.
Shapes: m × k and n × k give m × n; n at most 16,000. Single precision.
Errors: CF001 (not matrices, different numbers of columns), CF004 (no rows), CF007 (an entry of the product is
too large), CF008 (n too large).
$$;

grant execute on function ml.multiply_transposed(vector[], vector[])
to insights_analyst, insights_admin, insights_worker;
