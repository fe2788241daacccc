create or replace function ml._symmetric_matrix(triangle float8[], size integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_matrix float8[] := array_fill(0::float8, array[size, size]);
  v_at integer := 0;
begin
  for i in 1..size loop
    for j in i..size loop
      v_at := v_at + 1;
      v_matrix[i][j] := triangle[v_at];
      v_matrix[j][i] := triangle[v_at];
    end loop;
  end loop;
  return v_matrix;
end;
$$;

comment on function ml._symmetric_matrix(float8[], integer) is $$
Returns the symmetric matrix of `size` rows with an upper triangle that is given row by row.
Further elements of `triangle` are ignored.
$$;

grant execute on function ml._symmetric_matrix(float8[], integer) to insights_analyst, insights_admin, insights_worker;
