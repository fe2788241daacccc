create or replace function ml._eigen(
  matrix float8[],
  out eigenvalues float8[],
  out eigenvectors float8[]
)
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_size constant int := array_length(matrix, 1);
  -- One dimension, row by row: assignments to elements are made in place.
  v_a float8[];
  v_v float8[];
  v_off float8;
  v_all float8;
  v_theta float8;
  v_t float8;
  v_c float8;
  v_s float8;
  v_x float8;
  v_y float8;
begin
  v_a := array(
    select matrix[i][j]
    from generate_series(1, v_size) as i
    cross join generate_series(1, v_size) as j
    order by i, j
  );
  v_v := array(
    select (i = j)::int::float8
    from generate_series(1, v_size) as i
    cross join generate_series(1, v_size) as j
    order by i, j
  );
  for v_sweep in 1..60 loop
    select
      coalesce(sum(value * value) filter (where (place - 1) / v_size < (place - 1) % v_size), 0),
      coalesce(sum(value * value), 0)
    into v_off, v_all
    from unnest(v_a) with ordinality as entry (value, place);
    exit when v_off <= 1e-30 * v_all;
    for p in 0..v_size - 2 loop
      for q in p + 1..v_size - 1 loop
        v_x := v_a[p * v_size + q + 1];
        if v_x * v_x > 1e-32 * v_all / (v_size * v_size) then
          v_theta := (v_a[q * v_size + q + 1] - v_a[p * v_size + p + 1]) / (2 * v_x);
          v_t := case when v_theta >= 0 then 1 else -1 end / (abs(v_theta) + sqrt(v_theta * v_theta + 1));
          v_c := 1 / sqrt(v_t * v_t + 1);
          v_s := v_t * v_c;
          for k in 0..v_size - 1 loop
            v_x := v_a[k * v_size + p + 1];
            v_y := v_a[k * v_size + q + 1];
            v_a[k * v_size + p + 1] := v_c * v_x - v_s * v_y;
            v_a[k * v_size + q + 1] := v_s * v_x + v_c * v_y;
          end loop;
          for k in 0..v_size - 1 loop
            v_x := v_a[p * v_size + k + 1];
            v_y := v_a[q * v_size + k + 1];
            v_a[p * v_size + k + 1] := v_c * v_x - v_s * v_y;
            v_a[q * v_size + k + 1] := v_s * v_x + v_c * v_y;
            v_x := v_v[k * v_size + p + 1];
            v_y := v_v[k * v_size + q + 1];
            v_v[k * v_size + p + 1] := v_c * v_x - v_s * v_y;
            v_v[k * v_size + q + 1] := v_s * v_x + v_c * v_y;
          end loop;
        end if;
      end loop;
    end loop;
  end loop;
  select array_agg(value order by value desc, place), array_agg(column_values order by value desc, place)
  into eigenvalues, eigenvectors
  from (
    select
      place, v_a[place * v_size + place + 1] as value,
      -- The largest entry is positive, so that the sign does not depend on the order of rotations.
      (
        select array_agg(entry * (
          select case when v_v[k * v_size + place + 1] < 0 then -1 else 1 end
          from generate_series(0, v_size - 1) as k
          order by round(abs(v_v[k * v_size + place + 1])::numeric, 9) desc, k
          limit 1
        ) order by k)
        from (select k, v_v[k * v_size + place + 1] as entry from generate_series(0, v_size - 1) as k) as listed
      ) as column_values
    from generate_series(0, v_size - 1) as place
  ) as found;
end;
$$;

comment on function ml._eigen(float8[]) is $$
Returns the eigenvalues of a symmetric matrix, largest first, and the eigenvectors as rows.
Eigenvectors have unit length, and their largest entry is positive. By cyclic Jacobi rotations.
Source: Golub and Van Loan, Matrix Computations, 2013, section 8.5.
$$;

grant execute on function ml._eigen(float8[]) to insights_analyst, insights_admin, insights_worker;
