/*
 * Least squares from sums is computed in double precision, with an estimate of whether the result is accurate, and in
 * numeric where it is not. Both take their sums in one order: the sum of y and of each active column, then the upper
 * triangle of the sums of products over (y, active columns), row by row.
 */
create or replace function ml._cross_product(
  total_weight float8,
  sums float8[],
  products float8[],
  design ml.design
)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n constant float8 := total_weight;
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_count constant integer := cardinality(v_active);
  v_literal constant float8[] := design.literals;
  v_shift float8[] := design.shift;
  v_scale constant float8[] := design.scale;
  v_level float8[] := array_fill(0::float8, array[v_width]);
  v_gram float8[] := array_fill(0::float8, array[v_width, v_width]);
begin
  for i in 1..v_count loop
    v_level[v_active[i]] := sums[i + 1] / v_scale[v_active[i]];
  end loop;
  for i in 1..v_width loop
    v_shift[i] := coalesce(v_literal[i], v_shift[i]);
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_gram[i][j] := v_n * v_shift[i] * v_shift[j] + v_shift[i] * v_level[j] + v_shift[j] * v_level[i];
    end loop;
  end loop;
  for i in 1..v_count loop
    for j in 1..v_count loop
      v_gram[v_active[i]][v_active[j]] := v_gram[v_active[i]][v_active[j]]
        + products[i + 1][j + 1] / v_scale[v_active[i]] / v_scale[v_active[j]];
    end loop;
  end loop;
  return v_gram;
end;
$$;

comment on function ml._cross_product(float8, float8[], float8[], ml.design) is $$
Returns X'X in the caller's units, from the sums and the products of the centred and scaled columns.
$$;

create or replace function ml._least_squares(
  row_count bigint,
  sums float8[],
  design ml.design,
  out fit ml.fit
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_n float8 := row_count;
  v_width constant integer := design.width;
  v_active integer[] := design.active;
  v_count constant integer := cardinality(v_active);
  v_candidates constant integer[] := design.candidates;
  v_literal constant float8[] := design.literals;
  v_shift constant float8[] := design.shift;
  v_scale constant float8[] := design.scale;
  v_y_shift constant float8 := design.y_shift;
  v_y_scale constant float8 := design.y_scale;
  v_sum constant float8[] := sums[1:v_count + 1];
  v_product constant float8[] := ml._symmetric_matrix(sums[v_count + 2:], v_count + 1);
  v_centred float8[];
  v_used integer[] := '{}';
  v_size integer;
  v_position integer;
  v_a float8[];
  v_root float8[];
  v_slope float8[];
  v_covariance float8[];
  v_inverse float8[];
  v_dependent integer;
  v_row float8;
  v_largest float8 := 0;
  v_largest_inverse float8 := 0;
  v_explained float8 := 0;
  v_off_centre float8 := 1;
  v_constant float8;
begin
  fit.trusted := true;
  if design.weights is not null then
    v_n := sums[cardinality(sums)];
  end if;
  -- the intercept: the first constant that is written or found
  for j in 1..v_width loop
    if v_literal[j] is not null then
      if v_literal[j] = 0 then
        fit.failure := format('column %s is always 0', ml._label(design, j));
        return;
      elsif fit.intercept is not null then
        fit.failure := format(
          'column %s is constant, and so is column %s', ml._label(design, j), ml._label(design, fit.intercept)
        );
        return;
      end if;
      fit.intercept := j;
      v_constant := v_literal[j];
    end if;
  end loop;
  if fit.intercept is null then
    for i in 1..v_count loop
      if fit.intercept is null and v_active[i] = any (v_candidates) and v_product[i + 1][i + 1] = 0 then
        fit.intercept := v_active[i];
        v_constant := v_shift[v_active[i]];
      end if;
    end loop;
  end if;
  for i in 1..v_count loop
    if v_active[i] is distinct from fit.intercept then
      v_used := v_used || (i + 1);
    end if;
  end loop;
  v_size := cardinality(v_used);
  if row_count < v_width then
    fit.failure := format('%s complete rows for %s columns', row_count, v_width);
    return;
  end if;

  -- moments about the mean with an intercept, about zero without
  v_centred := v_product;
  for i in 1..v_count + 1 loop
    for j in i..v_count + 1 loop
      if fit.intercept is not null then
        v_centred[i][j] := v_product[i][j] - v_sum[i] * (v_sum[j] / v_n);
      else
        -- the candidate for the intercept is not constant: the shift is reverted
        v_row := case
          when i = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[i - 1]] * v_scale[v_active[i - 1]]
        end;
        v_explained := case
          when j = 1 then v_y_shift * v_y_scale
          else v_shift[v_active[j - 1]] * v_scale[v_active[j - 1]]
        end;
        v_centred[i][j] := v_product[i][j] + v_row * v_sum[j] + v_explained * v_sum[i] + v_n * v_row * v_explained;
      end if;
      v_centred[j][i] := v_centred[i][j];
    end loop;
  end loop;

  v_root := array_fill(1::float8, array[v_size + 1]);
  for i in 1..v_size loop
    v_row := v_centred[v_used[i]][v_used[i]];
    if v_row <= 1e-11 * v_product[v_used[i]][v_used[i]] or v_row <= 0 then
      -- constant, or with too little variance to decide in double precision
      if v_product[v_used[i]][v_used[i]] = 0 then
        fit.failure := format('column %s is constant', ml._label(design, v_active[v_used[i] - 1]));
      end if;
      fit.trusted := false;
      return;
    end if;
    v_root[i] := sqrt(v_row);
    v_off_centre := greatest(v_off_centre, v_product[v_used[i]][v_used[i]] / v_row);
  end loop;
  v_a := array_fill(0::float8, array[v_size, v_size]);
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_a[i][j] := v_centred[v_used[i]][v_used[j]] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  select solved.inverse, solved.dependent
  into v_inverse, v_dependent
  from ml._spd_inverse(v_a, 1e-12) as solved;
  if v_dependent is not null then
    fit.trusted := false;
    return;
  end if;

  v_slope := array_fill(0::float8, array[v_size + 1]);
  v_explained := 0;
  for i in 1..v_size loop
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + v_inverse[i][j] * (v_centred[v_used[j]][1] / v_root[j]);
    end loop;
    v_slope[i] := v_row / v_root[i];
    v_explained := v_explained + v_slope[i] * v_centred[v_used[i]][1];
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_a[i][j]);
    end loop;
    v_largest := greatest(v_largest, v_row);
    v_row := 0;
    for j in 1..v_size loop
      v_row := v_row + abs(v_inverse[i][j]);
    end loop;
    v_largest_inverse := greatest(v_largest_inverse, v_row);
  end loop;
  fit.rss := greatest(v_centred[1][1] - v_explained, 0);
  fit.r2 := case when v_centred[1][1] > 0 then 1 - fit.rss / v_centred[1][1] end;

  -- Rounding errors grow with the condition of the correlations, with the digits lost by centring, and with the share
  -- of y that the fit explains. Ten digits are required where a second scan in numeric is cheap, six where it would
  -- take minutes.
  fit.trusted := v_product[1][1] = 0
    or greatest(v_largest * v_largest_inverse, 1) * greatest(v_off_centre * v_centred[1][1], v_product[1][1]) * 4e-16
      <= fit.rss * (case when row_count::float8 * v_size * v_size < 2e7 then 1e-10 else 1e-6 end);

  -- from the columns in use to all columns
  fit.beta := array_fill(0::float8, array[v_width]);
  v_covariance := array_fill(0::float8, array[v_width, v_width]);
  for i in 1..v_size loop
    v_position := v_active[v_used[i] - 1];
    fit.beta[v_position] := v_slope[i] / v_y_scale;
    for j in 1..v_size loop
      v_covariance[v_position][v_active[v_used[j] - 1]] := v_inverse[i][j] / (v_root[i] * v_root[j]);
    end loop;
  end loop;
  if fit.intercept is not null then
    v_explained := v_sum[1] / v_n;
    v_covariance[fit.intercept][fit.intercept] := 1 / v_n;
    for i in 1..v_size loop
      v_position := v_active[v_used[i] - 1];
      v_explained := v_explained - v_slope[i] * (v_sum[v_used[i]] / v_n);
      v_row := 0;
      for j in 1..v_size loop
        v_row := v_row - v_covariance[v_position][v_active[v_used[j] - 1]] * (v_sum[v_used[j]] / v_n);
      end loop;
      v_covariance[v_position][fit.intercept] := v_row;
      v_covariance[fit.intercept][v_position] := v_row;
      v_covariance[fit.intercept][fit.intercept] := v_covariance[fit.intercept][fit.intercept]
        - v_row * (v_sum[v_used[i]] / v_n);
    end loop;
    fit.beta[fit.intercept] := v_y_shift + v_explained / v_y_scale;
  end if;
  fit.rss := fit.rss / (v_y_scale * v_y_scale);

  select unscaled.coef, unscaled.vcov
  into fit.coef, fit.inverse
  from ml._unscaled(fit.beta, v_covariance, design, fit.intercept, v_constant) as unscaled;

  fit.condition_no := ml._condition_number(ml._cross_product(v_n, v_sum, v_product, design), fit.inverse);
end
$$;

comment on function ml._least_squares(bigint, float8[], ml.design) is $$
Returns the least squares fit in double precision from sums of centred and scaled columns.
`trusted` is false where too many digits were lost. `failure` is the reason why there is no fit: constant or collinear
columns, fewer rows than columns; null otherwise.
$$;

grant execute on function
  ml._cross_product(float8, float8[], float8[], ml.design),
  ml._least_squares(bigint, float8[], ml.design)
to insights_analyst, insights_admin, insights_worker;
