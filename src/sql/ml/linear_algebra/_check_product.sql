create or replace function ml._check_product(a vector[], b vector[])
returns void
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_a constant vector[] := a || '{}';
  v_b constant vector[] := b || '{}';
  v_found record;
begin
  -- |a b| <= |a| |b|: no inner product is too large where the longest rows' product is not.
  if (select max(vector_norm(v)) from unnest(v_a) as v) * (select max(vector_norm(v)) from unnest(v_b) as v)
    < 3.4e38
  then
    return;
  end if;
  select a_row.n as row_number, b_row.n as column_number
  into v_found
  from unnest(v_a) with ordinality as a_row (v, n)
  cross join unnest(v_b) with ordinality as b_row (v, n)
  where not abs(a_row.v <#> b_row.v) < 3.4e38
  limit 1;
  if found then
    perform common.refuse(
      'CF007',
      format(
        'the product in row %s, column %s is too large for single precision',
        v_found.row_number,
        v_found.column_number
      ),
      'Use other units, so that the entries of the product are below 3.4e38.'
    );
  end if;
end;
$$;

comment on function ml._check_product(vector[], vector[]) is $$
Raises CF007 when an entry of A times the transpose of B is too large for single precision.
In time linear in the matrices unless one of them has very large entries.
$$;

grant execute on function ml._check_product(vector[], vector[]) to insights_analyst, insights_admin, insights_worker;
