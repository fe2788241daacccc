create or replace function ml._least_squares_numeric(
  row_count bigint,
  sums numeric[],
  design ml.design,
  out fit ml.fit
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_digits constant integer := 90;
  v_n constant numeric := case when design.weights is not null then sums[cardinality(sums)] else row_count end;
  v_width constant integer := design.width;
  v_literal constant numeric[] := design.literals;
  v_active constant integer[] := design.active;
  -- through their shortest text, which has up to 17 digits: a direct cast keeps only 15
  v_shift constant numeric[] := design.shift::text[]::numeric[];
  v_scale constant numeric[] := design.scale::text[]::numeric[];
  v_count constant integer := cardinality(v_active);
  v_sum numeric[] := array_fill(0::numeric, array[v_count + 1]);
  v_product numeric[] := array_fill(0::numeric, array[v_count + 1, v_count + 1]);
  v_moment numeric[];
  v_used integer[] := '{}';
  v_size integer;
  v_exponent integer[];
  v_root numeric[];
  v_r numeric[];
  v_inverse numeric[];
  v_dependent integer;
  v_slope numeric[];
  v_exact numeric[] := array_fill(0::numeric, array[v_width]);
  v_covariance numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_gram numeric[] := array_fill(0::numeric, array[v_width, v_width]);
  v_one constant numeric := 1 + 0 * ('1e-' || v_digits)::numeric;
  v_constant numeric;
  v_value numeric;
  v_unit numeric;
  v_left numeric := 1;
  v_i integer;
  v_j integer;
  v_at integer;
begin
  v_at := v_count + 1;
  for i in 1..v_count + 1 loop
    v_sum[i] := sums[i];
    for j in i..v_count + 1 loop
      v_at := v_at + 1;
      v_product[i][j] := sums[v_at];
      v_product[j][i] := sums[v_at];
    end loop;
  end loop;
  for j in 1..v_width loop
    if v_literal[j] is not null then
      fit.intercept := j;
      v_constant := v_literal[j];
    end if;
  end loop;
  if fit.intercept is null then
    for i in 1..v_count loop
      -- constant exactly when the mean of the squares is the square of the mean
      if fit.intercept is null
        and v_sum[i + 1] <> 0
        and v_n * v_product[i + 1][i + 1] = v_sum[i + 1] * v_sum[i + 1]
      then
        fit.intercept := v_active[i];
        v_constant := v_sum[i + 1] / v_n;
      end if;
    end loop;
  end if;
  for i in 1..v_count loop
    if v_active[i] is distinct from fit.intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  -- y is treated as one more column, the last
  v_used := v_used || 1;

  v_moment := v_product;
  if fit.intercept is not null then
    for i in 1..v_count + 1 loop
      for j in 1..v_count + 1 loop
        v_moment[i][j] := v_n * v_product[i][j] - v_sum[i] * v_sum[j];
      end loop;
    end loop;
  end if;

  -- to correlations: scaled by the decimal exponent first, so that `digits` decimals are as many significant digits
  v_exponent := array_fill(0, array[v_size + 1]);
  v_root := array_fill(1::numeric, array[v_size + 1]);
  for i in 1..v_size + 1 loop
    v_value := v_moment[v_used[i]][v_used[i]];
    if v_value = 0 and i <= v_size then
      fit.failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      return;
    elsif v_value > 0 then
      v_exponent[i] := floor(log(v_value) / 2);
      v_root[i] := sqrt(round(v_value * ('1e' || -2 * v_exponent[i])::numeric, v_digits));
    end if;
  end loop;
  v_r := array_fill(0::numeric, array[v_size + 1, v_size + 1]);
  for i in 1..v_size + 1 loop
    for j in 1..v_size + 1 loop
      v_r[i][j] := round(
        round(v_moment[v_used[i]][v_used[j]] * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric, v_digits)
        / round(v_root[i] * v_root[j], v_digits),
        v_digits
      );
    end loop;
  end loop;

  -- Columns of exact data are collinear when the remaining variance is exactly 0; with values rounded to double
  -- precision about 1e-32 of the variance remains.
  select solved.inverse, solved.dependent into v_inverse, v_dependent
  from ml._spd_inverse_numeric(
    v_r[1:v_size][1:v_size], case when design.exact then 1e-60 else 1e-28 end, v_digits
  ) as solved;
  if v_dependent is not null then
    fit.failure := format(
      'column %s is a linear combination of the columns before it',
      ml._label(design, v_active[v_used[v_dependent] - 1])
    );
    return;
  end if;

  v_slope := array_fill(0::numeric, array[v_size + 1]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_slope[i] := v_slope[i] + round(v_inverse[i][j] * v_r[j][v_size + 1], v_digits);
    end loop;
    v_left := v_left - round(v_slope[i] * v_r[i][v_size + 1], v_digits);
  end loop;
  -- after a perfect fit only the rounding error of the decimals remains
  if abs(v_left) < 1e-40 then
    v_left := 0;
  end if;
  v_unit := case when fit.intercept is not null then v_n else 1 end;
  fit.rss := v_moment[1][1] * v_left / v_unit;
  fit.r2 := case when v_moment[1][1] > 0 then 1 - v_left end;

  for i in 1..v_size loop
    v_i := v_active[v_used[i] - 1];
    v_exact[v_i] := v_slope[i] * v_root[v_size + 1] / v_root[i]
      * ('1e' || v_exponent[v_size + 1] - v_exponent[i])::numeric;
    for j in 1..v_size loop
      v_j := v_active[v_used[j] - 1];
      v_covariance[v_i][v_j] := v_inverse[i][j] / (v_root[i] * v_root[j]) * v_unit
        * ('1e' || -(v_exponent[i] + v_exponent[j]))::numeric;
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_product[i + 1][j + 1];
    end loop;
  end loop;
  if fit.intercept is not null then
    v_left := v_sum[1];
    v_covariance[fit.intercept][fit.intercept] := v_one / (v_n * v_constant * v_constant);
    v_gram[fit.intercept][fit.intercept] := v_n * v_constant * v_constant;
    for i in 1..v_size loop
      v_i := v_active[v_used[i] - 1];
      v_left := v_left - v_exact[v_i] * v_sum[v_used[i]];
      v_unit := 0;
      for j in 1..v_size loop
        v_unit := v_unit - v_covariance[v_i][v_active[v_used[j] - 1]] * v_sum[v_used[j]];
      end loop;
      v_covariance[v_i][fit.intercept] := v_unit / (v_n * v_constant);
      v_covariance[fit.intercept][v_i] := v_covariance[v_i][fit.intercept];
      v_covariance[fit.intercept][fit.intercept] := v_covariance[fit.intercept][fit.intercept]
        - v_covariance[v_i][fit.intercept] * v_sum[v_used[i]] / (v_n * v_constant);
      v_gram[v_i][fit.intercept] := v_sum[v_used[i]] * v_constant;
      v_gram[fit.intercept][v_i] := v_gram[v_i][fit.intercept];
    end loop;
    v_exact[fit.intercept] := v_left / (v_n * v_constant);
  end if;
  fit.coef := v_exact::float8[];
  fit.inverse := v_covariance::float8[];
  fit.condition_no := ml._condition_number(v_gram::float8[], fit.inverse);

  -- the same model for the shifted and scaled columns, from which residuals are computed later
  fit.beta := fit.coef;
  v_left := 0;
  for j in 1..v_width loop
    if j <> coalesce(fit.intercept, 0) then
      fit.beta[j] := v_exact[j] / v_scale[j];
      v_left := v_left + v_exact[j] * v_shift[j];
    end if;
  end loop;
  if fit.intercept is not null then
    fit.beta[fit.intercept] := v_exact[fit.intercept] * v_constant + v_left;
  end if;
end
$$;

comment on function ml._least_squares_numeric(bigint, numeric[], ml.design) is $$
Returns the least squares fit in numeric, with ninety digits, from exact sums of the columns.
Outputs as ml._least_squares.
When the data are integers and decimals, a column is collinear when its remaining variance is exactly 0, not within a
tolerance.
$$;

grant execute on function ml._least_squares_numeric(bigint, numeric[], ml.design)
  to insights_analyst, insights_admin, insights_worker;
