/*
 * For the normal equations of a regression, of a few to a few hundred unknowns. The sums over rows are computed by
 * built-in aggregates in generated statements; this function receives the k x k matrix.
 */

create or replace function ml._spd_inverse(
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
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_lower float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_inverse float8[] := array_fill(0::float8, array[v_size, v_size]);
  v_matrix float8[] := matrix;
  v_sum float8;
begin
  -- L. Each pivot, the part of a column that the columns before do not explain, is compared with its diagonal element.
  for j in 1..v_size loop
    v_sum := v_matrix[j][j];
    for m in 1..j - 1 loop
      v_sum := v_sum - v_lower[j][m] * v_lower[j][m];
    end loop;
    if not v_sum > tolerance * v_matrix[j][j] then
      dependent := j;
      return;
    end if;
    v_lower[j][j] := sqrt(v_sum);
    for i in j + 1..v_size loop
      v_sum := v_matrix[i][j];
      for m in 1..j - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[j][m];
      end loop;
      v_lower[i][j] := v_sum / v_lower[j][j];
    end loop;
  end loop;

  -- L becomes its own inverse
  for j in 1..v_size loop
    v_lower[j][j] := 1 / v_lower[j][j];
    for i in j + 1..v_size loop
      v_sum := 0;
      for m in j..i - 1 loop
        v_sum := v_sum - v_lower[i][m] * v_lower[m][j];
      end loop;
      v_lower[i][j] := v_sum / v_lower[i][i];
    end loop;
  end loop;

  for i in 1..v_size loop
    for j in 1..i loop
      v_sum := 0;
      for m in i..v_size loop
        v_sum := v_sum + v_lower[m][i] * v_lower[m][j];
      end loop;
      v_inverse[i][j] := v_sum;
      v_inverse[j][i] := v_sum;
    end loop;
  end loop;
  inverse := v_inverse;
end
$$;

comment on function ml._spd_inverse(float8[], float8) is $$
Returns the inverse of a symmetric positive definite k x k matrix by Cholesky decomposition, in double precision.
`dependent` is the first column whose pivot is below `tolerance` times its diagonal, that is, a linear combination of
the
columns before it; `inverse` is null then. Reads the lower triangle only.
$$;

grant execute on function ml._spd_inverse(float8[], float8) to insights_analyst, insights_admin, insights_worker;
