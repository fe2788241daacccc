create or replace function ml._scaled_inverse(
  matrix float8[],
  tolerance float8,
  out inverse float8[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := array_length(matrix, 1);
  v_root float8[] := array_fill(0::float8, array[v_size]);
  v_matrix float8[] := matrix;
begin
  for i in 1..v_size loop
    if not matrix[i][i] > 0 then
      dependent := i;
      return;
    end if;
    v_root[i] := sqrt(matrix[i][i]);
  end loop;
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_matrix[i][j] := matrix[i][j] / v_root[i] / v_root[j];
    end loop;
  end loop;
  select solved.inverse, solved.dependent
  into v_matrix, dependent
  from ml._spd_inverse(v_matrix, tolerance) as solved;
  if dependent is null then
    for i in 1..v_size loop
      for j in 1..v_size loop
        v_matrix[i][j] := v_matrix[i][j] / v_root[i] / v_root[j];
      end loop;
    end loop;
    inverse := v_matrix;
  end if;
end;
$$;

comment on function ml._scaled_inverse(float8[], float8) is $$
Returns the inverse of a symmetric positive definite matrix that is scaled to a unit diagonal first.
For rows of different magnitudes. Outputs as ml._spd_inverse.
$$;

grant execute on function ml._scaled_inverse(float8[], float8) to insights_analyst, insights_admin, insights_worker;
