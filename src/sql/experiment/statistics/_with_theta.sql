create or replace function experiment._with_theta(arms experiment.statistic[])
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arms experiment.statistic[] := arms;
  v_total experiment.statistic;
  v_given float8[];
  v_theta float8;
begin
  if not arms[1].is_adjusted then
    return arms;
  end if;
  select array_agg(distinct arm.theta)
  into v_given
  from unnest(arms) as arm;
  if cardinality(v_given) > 1 and array_position(v_given, null) is null then
    perform common.refuse('CF001', format('theta is %s and %s', v_given[1], v_given[2]),
      'Give one theta for all arms, or none.');
  elsif v_given[1] is not null and array_position(v_given, null) is null then
    return arms;
  end if;
  if arms[1].type = 'ratio' then
    v_theta := experiment._ratio_theta(arms);
  else
    v_total := experiment._sum(arms);
    v_theta := case
      when v_total.n * v_total.products[1] > v_total.sums[1] * v_total.sums[1]
        and v_total.n * v_total.products[4] > v_total.sums[2] * v_total.sums[2]
      then (v_total.n * v_total.products[2] - v_total.sums[1] * v_total.sums[2])::float8
        / (v_total.n * v_total.products[4] - v_total.sums[2] * v_total.sums[2])::float8
      else 0
    end;
  end if;
  for i in 1..cardinality(arms) loop
    if v_theta = 0 then
      v_arms[i] := experiment._unadjusted(arms[i]);
    else
      v_arms[i].theta := v_theta;
    end if;
  end loop;
  return v_arms;
end;
$$;

comment on function experiment._with_theta(experiment.statistic[]) is $$
Returns the arms with the coefficient of the time before the exposure, computed over all arms unless each has it.
Without variance before the exposure, the arms without that time.
$$;

grant execute on function experiment._with_theta(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._ratio_theta(arms experiment.statistic[])
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arm experiment.statistic;
  v_estimate experiment.estimate;
  v_after float8[];
  v_before float8[];
  v_covariance float8 := 0;
  v_variance float8 := 0;
begin
  foreach v_arm in array arms loop
    v_arm.theta := -1;
    v_estimate := experiment._estimate(v_arm);
    v_after := v_estimate.gradient[1:2] || array[0::float8, 0];
    v_before := array[0::float8, 0] || v_estimate.gradient[3:4];
    v_variance := v_variance + experiment._bilinear(v_estimate.covariances, v_before, v_before);
    for i in 1..2 loop
      for j in 3..4 loop
        v_covariance := v_covariance + v_after[i] * v_estimate.covariances[(i - 1) * 4 + j] * v_before[j];
      end loop;
    end loop;
  end loop;
  return case when v_variance > 0 then v_covariance / v_variance else 0 end;
end;
$$;

comment on function experiment._ratio_theta(experiment.statistic[]) is $$
Returns the coefficient of the ratio before the exposure: its covariance with the ratio after, divided by its variance.
$$;

grant execute on function experiment._ratio_theta(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
