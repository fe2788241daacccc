create or replace function experiment._effect(
  arms experiment.statistic[],
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
  v_arms constant experiment.statistic[] := case
    when margin is null then arms
    else experiment._comparable(arms)
  end;
  v_control experiment.estimate := experiment._estimate(v_arms[1]);
  v_treatment experiment.estimate := experiment._estimate(v_arms[2]);
  v_result experiment.effect;
  v_weights float8[] := v_control.gradient;
  v_scale float8 := 1;
  v_ratio float8 := 1;
  v_control_variance float8;
  v_variance float8;
begin
  if margin is not null and not v_arms[1].is_adjusted
    and (v_arms[1].type in ('mean', 'proportion') or 0 <> all (array[v_arms[1].sums[2], v_arms[2].sums[2]]))
  then
    -- The outcomes of a few people may be equal, such as none in the control, although those of all people vary.
    v_control.variance := coalesce(nullif(v_control.variance, 0), v_treatment.variance);
    v_treatment.variance := coalesce(nullif(v_treatment.variance, 0), v_control.variance);
  end if;
  perform experiment._check_variance(v_arms[1], v_control, 'control');
  perform experiment._check_variance(v_arms[2], v_treatment, 'treatment');
  if (v_control.mean = 0 or v_control.unadjusted_mean = 0) and margin is null
    or v_control.unadjusted_mean = 0 and is_relative
  then
    perform common.refuse('CF007', 'the mean of control is 0', 'A difference is compared with the mean of control.');
  end if;
  v_result.effect := experiment._difference(v_arms);
  if is_relative or margin is not null then
    -- the control's variables of the time after the exposure are in the divisor too, or are multiplied with the margin
    v_ratio := case
      when margin is not null then 1 + margin * sign(v_control.unadjusted_mean)
      when v_arms[1].is_adjusted and v_arms[1].type <> 'ratio'
        then v_treatment.unadjusted_mean / v_control.unadjusted_mean
      else 1 + v_result.effect / v_control.unadjusted_mean
    end;
    for i in 1..cardinality(v_weights) / 2 loop
      v_weights[i] := v_weights[i] * v_ratio;
    end loop;
  end if;
  if is_relative then
    v_scale := abs(v_control.unadjusted_mean);
    v_result.effect := v_result.effect / v_scale;
  end if;
  v_control_variance := case
    when v_arms[1].is_adjusted then experiment._bilinear(v_control.covariances, v_weights, v_weights)
    else v_control.variance * v_ratio * v_ratio
  end;
  v_variance := v_treatment.variance / v_treatment.n + v_control_variance / v_control.n;
  if not v_variance > 0 then
    perform common.refuse('CF007', 'the variance of the difference is 0', 'Wait for outcomes that differ.');
  end if;
  v_result.stddev := sqrt(v_variance) / v_scale;
  if margin is not null then
    v_control.variance := v_control_variance;
  end if;
  v_result.degrees := experiment._degrees(v_control, v_treatment);
  v_result.users := v_control.n + v_treatment.n;
  v_result.control_mean := v_control.unadjusted_mean;
  v_result.is_post_stratified := false;
  return v_result;
end;
$$;

comment on function experiment._effect(experiment.statistic[], boolean, float8) is $$
Returns the difference of treatment and control, the second and first statistic, by the delta method.
With a margin, its standard error is that of treatment - (1 + margin) * control, which is linear: no control is too near
to 0 for it. Outcomes of an arm that are all equal then have the variance of the other arm.
CF004 or CF007 where there is none: no users, no variance, or a control of mean 0.
$$;

grant execute on function experiment._effect(experiment.statistic[], boolean, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._comparable(arms experiment.statistic[])
returns experiment.statistic[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if arms[1].is_adjusted
    and not (experiment._is_viable(arms[1]) and experiment._is_viable(arms[2]))
  then
    return array[experiment._unadjusted(arms[1]), experiment._unadjusted(arms[2])];
  end if;
  return arms;
end;
$$;

comment on function experiment._comparable(experiment.statistic[]) is $$
Returns arms with the time before the exposure only if the outcomes of both vary: nothing is explained otherwise.
$$;

grant execute on function experiment._comparable(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
