create or replace function monitor._inverse(matrix float8[], size int)
returns float8[]
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_left float8[] := matrix;
  v_right float8[] := array(
    select (i = j)::int::float8
    from generate_series(1, size) as i
    cross join generate_series(1, size) as j
    order by i, j
  );
  v_factor float8;
begin
  -- Gauss and Jordan, in place. The matrix is positive definite, so that the diagonal is a good pivot.
  for v_pivot in 1..size loop
    v_factor := v_left[(v_pivot - 1) * size + v_pivot];
    if v_factor <= 1e-9 * matrix[(v_pivot - 1) * size + v_pivot] then
      return null;
    end if;
    for v_j in 1..size loop
      v_left[(v_pivot - 1) * size + v_j] := v_left[(v_pivot - 1) * size + v_j] / v_factor;
      v_right[(v_pivot - 1) * size + v_j] := v_right[(v_pivot - 1) * size + v_j] / v_factor;
    end loop;
    for v_i in 1..size loop
      continue when v_i = v_pivot;
      v_factor := v_left[(v_i - 1) * size + v_pivot];
      continue when v_factor = 0;
      for v_j in 1..size loop
        v_left[(v_i - 1) * size + v_j] := v_left[(v_i - 1) * size + v_j]
          - v_factor * v_left[(v_pivot - 1) * size + v_j];
        v_right[(v_i - 1) * size + v_j] := v_right[(v_i - 1) * size + v_j]
          - v_factor * v_right[(v_pivot - 1) * size + v_j];
      end loop;
    end loop;
  end loop;
  return v_right;
end;
$$;

comment on function monitor._inverse(float8[], int) is $$
@behavior -*
Returns the inverse of a positive definite matrix of at most some dozens of rows, row by row; null when it is singular.
$$;

grant execute on function monitor._inverse(float8[], int) to insights_reader;
