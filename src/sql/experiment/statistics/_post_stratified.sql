create or replace function experiment._post_stratified(
  pooled experiment.effect,
  controls experiment.statistic[],
  treatments experiment.statistic[],
  is_relative boolean,
  margin float8 default null
)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pairs experiment.statistic[];
  v_cell experiment.cell;
  v_cells experiment.cell[] := '{}';
  v_count int;
  v_means float8[];
  v_covariances float8[];
  v_share float8;
  v_variance float8;
  v_result experiment.effect := pooled;
begin
  v_pairs := experiment._viable_cells(controls, treatments);
  if cardinality(v_pairs) = 2 then
    return pooled;
  end if;
  for s in 1..cardinality(v_pairs) / 2 loop
    v_cell := experiment._cell(v_pairs[2 * s - 1 : 2 * s]);
    if v_cell is null then
      return pooled;
    end if;
    v_cells := v_cells || v_cell;
  end loop;

  -- means and covariances of (control, effect), weighted with multinomial numbers of users
  v_count := cardinality(v_cells[1].means);
  v_means := array_fill(0::float8, array[v_count]);
  v_covariances := array_fill(0::float8, array[v_count * v_count]);
  foreach v_cell in array v_cells loop
    v_share := v_cell.users / pooled.users;
    for i in 1..v_count loop
      v_means[i] := v_means[i] + v_share * v_cell.means[i];
    end loop;
  end loop;
  foreach v_cell in array v_cells loop
    v_share := v_cell.users / pooled.users;
    for i in 1..v_count loop
      for j in 1..v_count loop
        v_covariances[(i - 1) * v_count + j] := v_covariances[(i - 1) * v_count + j] + v_share / pooled.users * (
          (v_cell.means[i] - v_means[i]) * (v_cell.means[j] - v_means[j])
          + v_cell.covariances[(i - 1) * v_count + j]
        );
      end loop;
    end loop;
  end loop;
  v_result := experiment._weighted_effect(pooled, v_means, v_covariances, is_relative, margin);
  return case when v_result.stddev > 0 then v_result else pooled end;
end;
$$;

comment on function experiment._post_stratified(
  experiment.effect, experiment.statistic[], experiment.statistic[], boolean, float8
) is $$
Returns the difference weighted by the users of the strata, or the pooled one where too few strata have a variance.
$$;

grant execute on function experiment._post_stratified(
  experiment.effect, experiment.statistic[], experiment.statistic[], boolean, float8
) to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._weighted_effect(
  pooled experiment.effect,
  means float8[],
  covariances float8[],
  is_relative boolean,
  margin float8 default null
)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result experiment.effect := pooled;
  v_control float8;
  v_treatment float8;
  v_gradient float8[];
  v_share float8;
begin
  v_result.stddev := 0;
  if cardinality(means) = 2 then
    v_control := means[1];
    v_result.effect := means[2];
    v_gradient := array[0, 1];
  elsif means[3] <> 0 and means[3] + means[4] <> 0 then
    v_control := means[1] / means[3];
    v_treatment := (means[1] + means[2]) / (means[3] + means[4]);
    v_result.effect := (means[2] - v_control * means[4]) / (means[3] + means[4]);
    v_gradient := array[
      1 / (means[3] + means[4]) - 1 / means[3],
      1 / (means[3] + means[4]),
      v_control / means[3] - v_treatment / (means[3] + means[4]),
      -v_treatment / (means[3] + means[4])
    ];
  end if;
  if v_control is null or v_control = 0 then
    return v_result;
  end if;
  if is_relative or margin is not null then
    -- the difference as a share of the control: the estimated one, or that of the hypothesis
    v_share := coalesce(margin * sign(v_control), v_result.effect / v_control);
    v_gradient[1] := v_gradient[1] - v_share / case when cardinality(means) = 2 then 1 else means[3] end;
    if cardinality(means) = 4 then
      v_gradient[3] := v_gradient[3] + v_share * v_control / means[3];
    end if;
  end if;
  if margin is not null then
    v_result.control_mean := v_control;
  end if;
  if is_relative then
    v_result.effect := v_result.effect / abs(v_control);
  end if;
  v_result.stddev := sqrt(greatest(experiment._bilinear(covariances, v_gradient, v_gradient), 0))
    / case when is_relative then abs(v_control) else 1 end;
  v_result.is_post_stratified := true;
  return v_result;
end;
$$;

comment on function experiment._weighted_effect(experiment.effect, float8[], float8[], boolean, float8) is $$
Returns the difference from weighted means by the delta method; its `stddev` is 0 where there is none.
The means are those of control and difference; of a ratio, of the numerator and then of the denominator.
$$;

grant execute on function experiment._weighted_effect(experiment.effect, float8[], float8[], boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._viable_cells(controls experiment.statistic[], treatments experiment.statistic[])
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_position int;
  v_cells experiment.statistic[];
begin
  -- Strata of the same size are ordered by their sums, so that their order does not change the result.
  for v_position in
    select position
    from generate_subscripts(controls, 1) as position
    order by
      (controls[position]).n + (treatments[position]).n desc,
      (controls[position]).n desc,
      (controls[position]).sums,
      (treatments[position]).sums,
      (controls[position]).products,
      (treatments[position]).products
  loop
    if v_cells is null then
      v_cells := array[controls[v_position], treatments[v_position]];
    elsif experiment._is_viable(controls[v_position]) and experiment._is_viable(treatments[v_position])
      and (
        not (controls[v_position]).is_adjusted or (controls[v_position]).type <> 'ratio'
        or (controls[v_position]).n + (treatments[v_position]).n > 6
      ) then
      v_cells := v_cells || array[controls[v_position], treatments[v_position]];
    else
      v_cells[1] := experiment._sum(array[v_cells[1], controls[v_position]]);
      v_cells[2] := experiment._sum(array[v_cells[2], treatments[v_position]]);
    end if;
  end loop;
  return v_cells;
end;
$$;

comment on function experiment._viable_cells(experiment.statistic[], experiment.statistic[]) is $$
Returns control and treatment of each stratum in turn, the largest first, to which those without variance are added.
$$;

grant execute on function experiment._viable_cells(experiment.statistic[], experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._is_viable(statistic experiment.statistic)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (experiment._estimate(experiment._unadjusted(statistic))).variance > 0;
end;
$$;

comment on function experiment._is_viable(experiment.statistic) is $$
Returns whether an arm has a variance, without adjustment.
$$;

grant execute on function experiment._is_viable(experiment.statistic)
to insights_reader, insights_analyst, insights_admin, insights_worker;
