create or replace function ml.gram(matrix vector[])
returns vector[]
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_transposed constant vector[] := ml.transpose(matrix);
begin
  perform ml._check_product(v_transposed, v_transposed);
  return ml._product(v_transposed, v_transposed);
end;
$$;

comment on function ml.gram(vector[]) is $$
Returns AᵀA, the Gram matrix of a matrix's columns.
Shapes: m × n gives n × n; m and n at most 16,000. Single precision.
Errors: CF001 (not a matrix), CF004 (no rows), CF007 (an entry of the product is too large), CF008 (m too large).
$$;

grant execute on function ml.gram(vector[]) to insights_analyst, insights_admin, insights_worker;
