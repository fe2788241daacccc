/*
 * Small dense linear algebra in double precision and in exact-enough numeric, for systems of one regression (a few to a few
 * hundred unknowns). The big sums behind them are made by built-in aggregates in generated statements; what arrives here is
 * the k x k matrix.
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
  -- L, with each pivot compared to the diagonal it started from: what is left of a column after the columns before it
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
Inverse of a symmetric positive definite k x k matrix by Cholesky decomposition, double precision.
`dependent` is the first column whose pivot falls under `tolerance` times its diagonal, that is, which the columns before
it explain; `inverse` is null then. Reads the lower triangle only.
$$;

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
Inverse of a symmetric positive definite k x k matrix with `digits` decimals, for systems that double precision would spoil.
Expects a unit diagonal or nearly so, for `digits` counts decimals and not significant figures. `dependent` as in ml._spd_inverse.
$$;

create or replace function ml._largest_eigenvalue(matrix float8[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant integer := coalesce(array_length(matrix, 1), 0);
  v_a float8[] := matrix;
  v_diagonal float8[] := array_fill(0::float8, array[greatest(v_size, 1)]);
  v_beside float8[] := array_fill(0::float8, array[greatest(v_size, 1) + 1]);
  v_u float8[];
  v_p float8[];
  v_unit float8 := 0;
  v_norm float8;
  v_alpha float8;
  v_h float8;
  v_low float8;
  v_high float8;
  v_middle float8;
  v_q float8;
  v_above boolean;
begin
  for i in 1..v_size loop
    v_unit := greatest(v_unit, abs(v_a[i][i]));
  end loop;
  if v_size = 0 or v_unit = 0 then
    return v_unit;
  end if;
  for i in 1..v_size loop
    for j in 1..v_size loop
      -- far below the largest entry nothing can matter, and a product of such numbers would underflow, an error in SQL
      v_a[i][j] := case when abs(v_a[i][j]) > v_unit * 1e-60 then v_a[i][j] / v_unit else 0 end;
    end loop;
  end loop;

  -- Householder: to a tridiagonal matrix of the same eigenvalues
  for j in 1..v_size - 2 loop
    v_norm := 0;
    for i in j + 1..v_size loop
      v_norm := v_norm + v_a[i][j] * v_a[i][j];
    end loop;
    v_norm := sqrt(v_norm);
    if v_norm > 1e-30 then
      v_alpha := case when v_a[j + 1][j] > 0 then -v_norm else v_norm end;
      v_u := array_fill(0::float8, array[v_size]);
      v_p := array_fill(0::float8, array[v_size]);
      for i in j + 1..v_size loop
        v_u[i] := v_a[i][j];
      end loop;
      v_u[j + 1] := v_u[j + 1] - v_alpha;
      v_h := v_norm * (v_norm + abs(v_a[j + 1][j]));
      v_q := 0;
      for i in j + 1..v_size loop
        v_middle := 0;
        for m in j + 1..v_size loop
          v_middle := v_middle + v_a[i][m] * v_u[m];
        end loop;
        v_p[i] := v_middle / v_h;
        v_q := v_q + v_u[i] * v_p[i];
      end loop;
      v_q := v_q / (2 * v_h);
      for i in j + 1..v_size loop
        v_p[i] := v_p[i] - v_q * v_u[i];
      end loop;
      for i in j + 1..v_size loop
        for m in j + 1..v_size loop
          v_a[i][m] := v_a[i][m] - v_u[i] * v_p[m] - v_p[i] * v_u[m];
        end loop;
      end loop;
      v_beside[j + 1] := v_alpha;
    end if;
  end loop;
  if v_size > 1 then
    v_beside[v_size] := v_a[v_size][v_size - 1];
  end if;
  for i in 1..v_size loop
    v_diagonal[i] := v_a[i][i];
  end loop;

  -- bisection: an eigenvalue lies above `middle` exactly when a pivot of T - middle I is positive (Sturm)
  v_low := 0;
  v_high := 0;
  for i in 1..v_size loop
    v_high := greatest(v_high, v_diagonal[i] + abs(v_beside[i]) + abs(v_beside[i + 1]));
    v_low := greatest(v_low, v_diagonal[i]);
  end loop;
  for step in 1..60 loop
    v_middle := (v_low + v_high) / 2;
    exit when v_middle <= v_low or v_middle >= v_high;
    v_above := false;
    v_q := v_diagonal[1] - v_middle;
    for i in 1..v_size loop
      if v_q > 0 then
        v_above := true;
        exit;
      end if;
      exit when i = v_size;
      v_q := v_diagonal[i + 1] - v_middle
        - case when abs(v_beside[i + 1]) > 1e-100 then v_beside[i + 1] * v_beside[i + 1] else 0 end
          / case when abs(v_q) > 1e-100 then v_q else -1e-100 end;
    end loop;
    if v_above then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return (v_low + v_high) / 2 * v_unit;
end
$$;

comment on function ml._largest_eigenvalue(float8[]) is $$
Largest eigenvalue of a symmetric positive semi-definite k x k matrix, to about 14 digits.
Householder reduction and Sturm bisection (Golub and Van Loan, Matrix Computations, 8.3 and 8.4). The condition number of a
design is sqrt(largest eigenvalue of X'X times that of its inverse): both are well determined, while the smallest
eigenvalue of X'X itself drowns in rounding.
$$;

create or replace function ml._condition_number(gram float8[], inverse float8[])
returns float8
language sql
immutable
parallel safe
begin atomic
  select sqrt(ml._largest_eigenvalue(_condition_number.gram)) * sqrt(ml._largest_eigenvalue(_condition_number.inverse));
end;

comment on function ml._condition_number(float8[], float8[]) is $$
Condition number of a design matrix X from X'X and its inverse: largest singular value over smallest.
$$;

grant execute on function
  ml._spd_inverse(float8[], float8),
  ml._spd_inverse_numeric(numeric[], numeric, integer),
  ml._largest_eigenvalue(float8[]),
  ml._condition_number(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
