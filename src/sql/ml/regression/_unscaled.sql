create or replace function ml._unscaled(
  beta float8[],
  covariance float8[],
  design ml.design,
  intercept integer,
  intercept_value float8,
  out coef float8[],
  out vcov float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := design.width;
  v_scale constant float8[] := design.scale;
  v_shift constant float8[] := design.shift;
  v_weight float8[] := array_fill(0::float8, array[v_width]);
  v_row float8[] := array_fill(0::float8, array[v_width]);
  v_sum float8;
begin
  -- x = shift + d / scale for a column, and the constant column counts as 1: coef = T beta, and its covariance T C T'
  coef := beta;
  for j in 1..v_width loop
    coef[j] := beta[j] * v_scale[j];
    v_weight[j] := v_scale[j] * v_shift[j];
  end loop;
  if intercept is not null then
    v_weight[intercept] := 0;
    v_sum := beta[intercept];
    for j in 1..v_width loop
      v_sum := v_sum - beta[j] * v_weight[j];
    end loop;
    coef[intercept] := v_sum / intercept_value;
  end if;
  if covariance is null then
    return;
  end if;
  vcov := covariance;
  if intercept is not null then
    for j in 1..v_width loop
      v_sum := covariance[intercept][j];
      for m in 1..v_width loop
        v_sum := v_sum - v_weight[m] * covariance[m][j];
      end loop;
      v_row[j] := v_sum / intercept_value;
    end loop;
    v_sum := v_row[intercept];
    for m in 1..v_width loop
      v_sum := v_sum - v_weight[m] * v_row[m];
    end loop;
  end if;
  for i in 1..v_width loop
    for j in 1..v_width loop
      if i = intercept and j = intercept then
        vcov[i][j] := v_sum / intercept_value;
      elsif i = intercept then
        vcov[i][j] := v_row[j] * v_scale[j];
      elsif j = intercept then
        vcov[i][j] := v_row[i] * v_scale[i];
      else
        vcov[i][j] := covariance[i][j] * v_scale[i] * v_scale[j];
      end if;
    end loop;
  end loop;
end
$$;

comment on function ml._unscaled(float8[], float8[], ml.design, integer, float8) is $$
Returns coefficients and their covariance in the caller's units, from those of the centred and scaled columns.
In these, the constant column of value `intercept_value` at position `intercept` (null without one) counts as 1.
$$;

grant execute on function ml._unscaled(float8[], float8[], ml.design, integer, float8)
  to insights_analyst, insights_admin, insights_worker;
