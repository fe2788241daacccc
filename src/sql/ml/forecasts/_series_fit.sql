create or replace function ml._series_errors(
  kind text,
  series float8[],
  shape int[],
  point float8[],
  fixed float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if kind = 'ets' then
    return ml._ets_errors(series, shape, point, fixed);
  end if;
  return ml._arima_errors(series, shape, point, true);
end;
$$;

comment on function ml._series_errors(text, float8[], int[], float8[], float8[]) is $$
Returns the errors of a model (`ets` or `arima`) at a point of its free parameters; null where it has none.
$$;

create or replace function ml._squares(
  errors float8[]
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_error float8;
  v_sum float8 := case when errors is not null then 0 end;
begin
  foreach v_error in array coalesce(errors, '{}') loop
    if v_error is not null and abs(v_error) > 1e-140 then
      v_sum := v_sum + v_error * v_error;
    end if;
  end loop;
  return v_sum;
end;
$$;

comment on function ml._squares(float8[]) is $$
Returns the sum of the squares of the values that are not null; null for a null array.
$$;

create or replace function ml._damped_step(
  gram float8[],
  gradient float8[],
  damping float8,
  bounded float8[]
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(gradient);
  v_held float8[] := array_fill(null::float8, array[v_count]);
  v_move float8[];
  v_matrix float8[];
  v_inverse float8[];
  v_sides float8[];
  v_most float8;
  v_clipped boolean;
begin
  for v_round in 1..3 loop
    v_matrix := gram;
    v_sides := gradient;
    for i in 1..v_count loop
      v_matrix[i][i] := gram[i][i] * (1 + damping) + 1e-12;
    end loop;
    -- A step that was cut is no longer an unknown.
    for i in 1..v_count loop
      if v_held[i] is not null then
        for j in 1..v_count loop
          v_sides[j] := v_sides[j] + gram[j][i] * v_held[i];
          v_matrix[i][j] := 0;
          v_matrix[j][i] := 0;
        end loop;
        v_matrix[i][i] := 1;
      end if;
    end loop;
    v_inverse := (ml._spd_inverse(v_matrix, 1e-15)).inverse;
    if v_inverse is null then
      return null;
    end if;
    v_move := v_held;
    v_clipped := false;
    for i in 1..v_count loop
      if v_held[i] is null then
        v_move[i] := 0;
        for j in 1..v_count loop
          if v_held[j] is null then
            v_move[i] := v_move[i] - v_inverse[i][j] * v_sides[j];
          end if;
        end loop;
        v_most := least(2, greatest(9 - sign(v_move[i]) * bounded[i], 0));
        if bounded[i] is not null and abs(v_move[i]) > v_most then
          v_move[i] := sign(v_move[i]) * v_most;
          v_held[i] := v_move[i];
          v_clipped := true;
        end if;
      end if;
    end loop;
    exit when not v_clipped;
  end loop;
  return v_move;
end;
$$;

comment on function ml._damped_step(float8[], float8[], float8, float8[]) is $$
Returns the step of a damped least squares fit; null when the matrix is singular.
`bounded` has the values of those parameters that stay within −9 and 9 and move by at most 2, null for the others. Where
a step would be longer it is cut, and the other parameters are solved for again.
$$;

create or replace function ml._series_fit(
  kind text,
  series float8[],
  shape int[],
  start float8[],
  fixed float8[],
  moving int[],
  bounded int,
  max_iter int,
  tolerance float8,
  out point float8[],
  out squares float8,
  out iterations int,
  out converged boolean
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant int := cardinality(series);
  v_count constant int := cardinality(moving);
  v_errors float8[];
  v_try float8[];
  v_near float8[];
  v_new_squares float8;
  v_damping float8 := 0.001;
  v_slopes float8[];
  v_gram float8[];
  v_gradient float8[];
  v_move float8[];
  v_step float8;
  v_sum float8;
  v_decrease float8;
begin
  point := start;
  v_errors := ml._series_errors(kind, series, shape, point, fixed);
  squares := ml._squares(v_errors);
  iterations := 0;
  converged := v_count = 0;
  if squares is null then
    return;
  end if;
  while not converged and iterations < max_iter loop
    iterations := iterations + 1;
    -- Derivatives of the errors, one line per parameter, in one array.
    v_slopes := array_fill(0::float8, array[v_count * v_length]);
    for i in 1..v_count loop
      v_step := 1e-6 * greatest(1, abs(point[moving[i]]));
      v_try := point;
      v_try[moving[i]] := point[moving[i]] + v_step;
      v_near := ml._series_errors(kind, series, shape, v_try, fixed);
      if v_near is null then
        v_step := -v_step;
        v_try[moving[i]] := point[moving[i]] + v_step;
        v_near := ml._series_errors(kind, series, shape, v_try, fixed);
      end if;
      for t in 1..v_length loop
        v_slopes[(i - 1) * v_length + t] := coalesce((v_near[t] - v_errors[t]) / v_step, 0);
      end loop;
    end loop;
    v_gram := array_fill(0::float8, array[v_count, v_count]);
    v_gradient := array_fill(0::float8, array[v_count]);
    for i in 1..v_count loop
      for j in 1..i loop
        v_sum := 0;
        for t in 1..v_length loop
          v_sum := v_sum + v_slopes[(i - 1) * v_length + t] * v_slopes[(j - 1) * v_length + t];
        end loop;
        v_gram[i][j] := v_sum;
        v_gram[j][i] := v_sum;
      end loop;
      v_sum := 0;
      for t in 1..v_length loop
        v_sum := v_sum + v_slopes[(i - 1) * v_length + t] * coalesce(v_errors[t], 0);
      end loop;
      v_gradient[i] := v_sum;
    end loop;
    v_decrease := 0;
    for v_attempt in 1..12 loop
      v_move := ml._damped_step(v_gram, v_gradient, v_damping, array(
        select case when moving[i] <= bounded then point[moving[i]] end
        from generate_series(1, v_count) as i
        order by i
      ));
      if v_move is not null then
        v_try := point;
        for i in 1..v_count loop
          v_try[moving[i]] := point[moving[i]] + v_move[i];
        end loop;
        v_near := ml._series_errors(kind, series, shape, v_try, fixed);
        v_new_squares := ml._squares(v_near);
        if v_new_squares < squares then
          v_decrease := (squares - v_new_squares) / squares;
          point := v_try;
          v_errors := v_near;
          squares := v_new_squares;
          v_damping := greatest(v_damping / 5, 1e-8);
          exit;
        end if;
      end if;
      v_damping := least(v_damping * 10, 1e8);
    end loop;
    converged := v_decrease <= tolerance;
  end loop;
end;
$$;

comment on function ml._series_fit(text, float8[], int[], float8[], float8[], int[], int, int, float8) is $$
Returns the parameters of a model (`ets` or `arima`) with the least squares of the errors, from one start.
`moving` lists the parameters that are fitted, `bounded` is the number of the first ones whose effect levels off at both
ends. A step that lowers the sum of squares by less than the share `tolerance` is the last; `squares` is null when the
model has no errors at the start.
Source: Marquardt, An algorithm for least-squares estimation of nonlinear parameters, 1963.
$$;

grant execute on function
  ml._damped_step(float8[], float8[], float8, float8[]),
  ml._series_errors(text, float8[], int[], float8[], float8[]),
  ml._squares(float8[]),
  ml._series_fit(text, float8[], int[], float8[], float8[], int[], int, int, float8)
to insights_analyst, insights_admin, insights_worker;
