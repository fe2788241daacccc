create or replace function ml._without_traces(v vector)
returns vector
language plpgsql
immutable
parallel safe
set search_path from current
as $$
declare
  v_largest constant float8 := vector_norm(v);
  v_unit vector;
begin
  if v_largest < 1e-20 then
    return array_fill(0, array[vector_dims(v)])::vector;
  end if;
  v_unit := array_fill((v_largest * 2::float8 ^ -20)::real, array[vector_dims(v)])::vector;
  return (v + v_unit) - v_unit;
end;
$$;

comment on function ml._without_traces(vector) is $$
Returns a vector whose entries below about 1e-13 of its length are zero, rounded to this precision.
The product of two vectors fails when a product of entries is too small for single precision; that of the results does
not.
$$;

grant execute on function ml._without_traces(vector) to insights_analyst, insights_admin, insights_worker;
