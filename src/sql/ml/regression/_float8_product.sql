create or replace function ml._float8_product(a float8[], b float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := array_length(a, 1);
  v_product float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_value float8;
begin
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_value := 0;
      for m in 1..v_size loop
        v_value := v_value + a[i][m] * b[m][j];
      end loop;
      v_product[i][j] := v_value;
    end loop;
  end loop;
  return v_product;
end;
$$;

comment on function ml._float8_product(float8[], float8[]) is $$
Returns the product of two square matrices in double precision.
$$;

grant execute on function ml._float8_product(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
