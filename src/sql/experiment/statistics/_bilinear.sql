create or replace function experiment._bilinear(matrix float8[], x float8[], y float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sum float8 := 0;
begin
  for i in 1..cardinality(x) loop
    for j in 1..cardinality(y) loop
      if x[i] <> 0 and y[j] <> 0 then
        v_sum := v_sum + x[i] * matrix[(i - 1) * cardinality(y) + j] * y[j];
      end if;
    end loop;
  end loop;
  return v_sum;
end;
$$;

comment on function experiment._bilinear(float8[], float8[], float8[]) is $$
Returns x' M y for a matrix M given row by row.
$$;

grant execute on function experiment._bilinear(float8[], float8[], float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
