create or replace function ml._spd_inverse_numeric(
  matrix numeric[],
  tolerance numeric,
  digits integer,
  out inverse numeric[],
  out dependent integer
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_matrix numeric[] := matrix;
  v_lower numeric[] := array_fill(0::numeric, array[v_size, v_size]);
  v_pivot numeric[] := array_fill(0::numeric, array[v_size]);
  v_inverse numeric[] := array_fill(0::numeric, array[v_size, v_size]);
  v_sum numeric;
begin
  -- L D L', without a square root
  for j in 1..v_size loop
    v_sum := v_matrix[j][j];
    for m in 1..j - 1 loop
      v_sum := v_sum - round(v_lower[j][m] * v_lower[j][m] * v_pivot[m], digits);
    end loop;
    if not v_sum > tolerance * v_matrix[j][j] then
      dependent := j;
      return;
    end if;
    v_pivot[j] := v_sum;
    v_lower[j][j] := 1;
    for i in j + 1..v_size loop
      v_sum := v_matrix[i][j];
      for m in 1..j - 1 loop
        v_sum := v_sum - round(v_lower[i][m] * v_lower[j][m] * v_pivot[m], digits);
      end loop;
      v_lower[i][j] := round(round(v_sum, digits) / v_pivot[j], digits);
    end loop;
  end loop;

  -- L becomes its own inverse
  for j in 1..v_size loop
    for i in j + 1..v_size loop
      v_sum := 0;
      for m in j..i - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[m][j];
      end loop;
      v_lower[i][j] := round(v_sum, digits);
    end loop;
  end loop;

  for i in 1..v_size loop
    for j in 1..i loop
      v_sum := 0;
      for m in i..v_size loop
        v_sum := v_sum + round(round(v_lower[m][i] * v_lower[m][j], digits) / v_pivot[m], digits);
      end loop;
      v_inverse[i][j] := v_sum;
      v_inverse[j][i] := v_sum;
    end loop;
  end loop;
  inverse := v_inverse;
end
$$;

comment on function ml._spd_inverse_numeric(numeric[], numeric, integer) is $$
Returns the inverse of a symmetric positive definite k x k matrix, computed with `digits` decimals.
For systems that are too ill-conditioned for double precision.
Expects diagonal elements near 1, since `digits` counts decimals and not significant digits. `dependent` is as in
ml._spd_inverse.
$$;

grant execute on function ml._spd_inverse_numeric(numeric[], numeric, integer)
to insights_analyst, insights_admin, insights_worker;
