create or replace function experiment._cell(arms experiment.statistic[])
returns experiment.cell
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arms experiment.statistic[] := arms;
  v_control experiment.estimate;
  v_treatment experiment.estimate;
  v_users constant float8 := (arms[1].n + arms[2].n)::float8;
  v_count int;
  v_a float8;
  v_b float8;
  v_result experiment.cell;
begin
  if experiment._has_constant_before(arms) then
    v_arms := array[experiment._unadjusted(arms[1]), experiment._unadjusted(arms[2])];
  end if;
  if not experiment._is_viable(v_arms[1]) or not experiment._is_viable(v_arms[2]) then
    return null;
  elsif v_arms[1].is_adjusted then
    return experiment._regression_cell(v_arms);
  end if;
  v_control := experiment._estimate(v_arms[1]);
  v_treatment := experiment._estimate(v_arms[2]);
  v_count := cardinality(v_arms[1].sums);
  v_result.users := v_users;
  v_result.means := '{}';
  v_result.covariances := array_fill(0::float8, array[4 * v_count * v_count]);
  for i in 1..v_count loop
    v_result.means := v_result.means || array[
      v_arms[1].sums[i]::float8 / v_control.n,
      experiment._quotient_difference(v_arms[2].sums[i], v_arms[2].n, v_arms[1].sums[i], v_arms[1].n)
    ];
    for j in 1..v_count loop
      v_a := v_control.covariances[(i - 1) * v_count + j] * v_users / v_control.n;
      v_b := v_treatment.covariances[(i - 1) * v_count + j] * v_users / v_treatment.n;
      v_result.covariances := experiment._with_block(v_result.covariances, v_count, i, j, v_a, -v_a, v_a + v_b);
    end loop;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._cell(experiment.statistic[]) is $$
Returns control mean and difference of a stratum, the control first; null without variance.
With the time before the exposure, as a linear regression on it.
$$;

grant execute on function experiment._cell(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._with_block(
  matrix float8[],
  variables int,
  i int,
  j int,
  control float8,
  mixed float8,
  effect float8
)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_matrix float8[] := matrix;
  v_row constant int := (2 * i - 2) * 2 * variables;
begin
  v_matrix[v_row + 2 * j - 1] := control;
  v_matrix[v_row + 2 * j] := mixed;
  v_matrix[v_row + 2 * variables + 2 * j - 1] := mixed;
  v_matrix[v_row + 2 * variables + 2 * j] := effect;
  return v_matrix;
end;
$$;

comment on function experiment._with_block(float8[], int, int, int, float8, float8, float8) is $$
Returns the covariance matrix of a cell with the covariances of two variables i and j set.
They are of the control means, of the control mean of one with the difference of the other, and of the differences.
$$;

grant execute on function experiment._with_block(float8[], int, int, int, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._regression_cell(arms experiment.statistic[])
returns experiment.cell
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := cardinality(arms[1].sums) / 2;
  v_size constant int := cardinality(arms[1].sums);
  v_a constant float8 := arms[1].n;
  v_b constant float8 := arms[2].n;
  v_users constant float8 := arms[1].n + arms[2].n;
  v_total experiment.statistic := experiment._sum(arms);
  v_within float8[] := '{}';
  v_baseline float8[];
  v_inverse float8[];
  v_determinant float8;
  v_slopes float8[] := '{}';
  v_u float8[] := '{}';
  v_w float8[] := '{}';
  v_sum float8;
  v_trace float8 := 0;
  v_residual float8;
  v_explained float8;
  v_result experiment.cell;
begin
  -- sums of squares within the arms: what a regression on intercept, arm and the time before is made of
  for i in 1..v_size loop
    for j in 1..v_size loop
      v_within := v_within || (
        (arms[1].n * arms[1].products[(i - 1) * v_size + j] - arms[1].sums[i] * arms[1].sums[j])::float8 / v_a
        + (arms[2].n * arms[2].products[(i - 1) * v_size + j] - arms[2].sums[i] * arms[2].sums[j])::float8 / v_b
      );
    end loop;
  end loop;
  v_total.is_binary := array_fill(false, array[v_size]);
  v_baseline := experiment._covariances(v_total);
  if v_count = 1 then
    v_inverse := array[1 / v_within[4]];
  else
    v_determinant := v_within[11] * v_within[16] - v_within[12] * v_within[12];
    if v_determinant <= 1e-12 * v_within[11] * v_within[16] then
      return null;
    end if;
    v_inverse := array[
      v_within[16] / v_determinant, -v_within[12] / v_determinant,
      -v_within[12] / v_determinant, v_within[11] / v_determinant
    ];
  end if;
  for i in 1..v_count loop
    v_w := v_w || experiment._quotient_difference(
      arms[2].sums[v_count + i], arms[2].n, arms[1].sums[v_count + i], arms[1].n
    );
    -- from the mean of the control to that of both arms
    v_u := v_u || v_w[i] * v_b / v_users;
    for j in 1..v_count loop
      v_trace := v_trace + v_inverse[(i - 1) * v_count + j]
        * v_baseline[(v_count + i - 1) * v_size + v_count + j] / v_users;
      -- slope of variable i on the time before of variable j
      v_sum := 0;
      for k in 1..v_count loop
        v_sum := v_sum + v_inverse[(j - 1) * v_count + k] * v_within[(v_count + k - 1) * v_size + i];
      end loop;
      v_slopes := v_slopes || v_sum;
    end loop;
  end loop;

  v_result.users := v_users;
  v_result.means := '{}';
  v_result.covariances := array_fill(0::float8, array[4 * v_count * v_count]);
  for i in 1..v_count loop
    v_result.means := v_result.means || array[
      arms[1].sums[i]::float8 / v_a,
      experiment._quotient_difference(arms[2].sums[i], arms[2].n, arms[1].sums[i], arms[1].n)
    ];
    for k in 1..v_count loop
      v_result.means[2 * i - 1] := v_result.means[2 * i - 1] + v_slopes[(i - 1) * v_count + k] * v_u[k];
      v_result.means[2 * i] := v_result.means[2 * i] - v_slopes[(i - 1) * v_count + k] * v_w[k];
    end loop;
    for j in 1..v_count loop
      v_residual := v_within[(i - 1) * v_size + j];
      v_explained := 0;
      for k in 1..v_count loop
        v_residual := v_residual - v_slopes[(i - 1) * v_count + k] * v_within[(v_count + k - 1) * v_size + j];
        for l in 1..v_count loop
          v_explained := v_explained + v_slopes[(i - 1) * v_count + k]
            * v_baseline[(v_count + k - 1) * v_size + v_count + l] * v_slopes[(j - 1) * v_count + l];
        end loop;
      end loop;
      v_residual := v_residual / (v_users - 3 * v_count);
      v_result.covariances := experiment._with_block(
        v_result.covariances, v_count, i, j,
        v_residual * v_users * (1 / v_a + experiment._bilinear(v_inverse, v_u, v_u) + v_trace) + v_explained,
        -v_residual * v_users * (1 / v_a + experiment._bilinear(v_inverse, v_u, v_w)),
        v_residual * v_users * (1 / v_a + 1 / v_b + experiment._bilinear(v_inverse, v_w, v_w))
      );
    end loop;
  end loop;
  return v_result;
end;
$$;

comment on function experiment._regression_cell(experiment.statistic[]) is $$
Returns control mean and difference of a stratum, at the mean of the time before the exposure, by linear regression.
Both arms have one residual variance. Null where numerator and denominator before are collinear.
$$;

grant execute on function experiment._regression_cell(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
