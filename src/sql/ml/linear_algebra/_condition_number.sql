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
  v_off_diagonal float8[] := array_fill(0::float8, array[greatest(v_size, 1) + 1]);
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
      -- far smaller entries do not change the result, and a product of them would underflow, which is an error in SQL
      v_a[i][j] := case when abs(v_a[i][j]) > v_unit * 1e-60 then v_a[i][j] / v_unit else 0 end;
    end loop;
  end loop;

  -- Householder reduction to a tridiagonal matrix with the same eigenvalues
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
      v_off_diagonal[j + 1] := v_alpha;
    end if;
  end loop;
  if v_size > 1 then
    v_off_diagonal[v_size] := v_a[v_size][v_size - 1];
  end if;
  for i in 1..v_size loop
    v_diagonal[i] := v_a[i][i];
  end loop;

  -- bisection: an eigenvalue is above `middle` exactly when a pivot of T - middle I is positive (Sturm)
  v_low := 0;
  v_high := 0;
  for i in 1..v_size loop
    v_high := greatest(v_high, v_diagonal[i] + abs(v_off_diagonal[i]) + abs(v_off_diagonal[i + 1]));
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
        - case when abs(v_off_diagonal[i + 1]) > 1e-100 then v_off_diagonal[i + 1] * v_off_diagonal[i + 1] else 0 end
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
Returns the largest eigenvalue of a symmetric positive semi-definite k x k matrix, to about 14 digits.
Source: Golub and Van Loan, Matrix Computations, 8.3 (Householder reduction) and 8.4 (Sturm bisection). The condition
number of a design is sqrt(largest eigenvalue of X'X times that of its inverse): both are accurate, while the smallest
eigenvalue of X'X is dominated by rounding errors.
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
Returns the condition number of a design matrix X (largest singular value over smallest) from X'X and its inverse.
$$;

grant execute on function
  ml._largest_eigenvalue(float8[]),
  ml._condition_number(float8[], float8[])
to insights_analyst, insights_admin, insights_worker;
