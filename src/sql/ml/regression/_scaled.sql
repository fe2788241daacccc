create or replace function ml._scaled(matrix float8[], factor float8)
returns float8[]
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_matrix float8[] := matrix;
begin
  for i in 1..array_length(matrix, 1) loop
    for j in 1..array_length(matrix, 2) loop
      v_matrix[i][j] := v_matrix[i][j] * factor;
    end loop;
  end loop;
  return v_matrix;
end;
$$;

comment on function ml._scaled(float8[], float8) is $$Returns a matrix times a number.$$;

grant execute on function ml._scaled(float8[], float8) to insights_analyst, insights_admin, insights_worker;
