create or replace function experiment._effect(arms experiment.statistic[], is_relative boolean)
returns experiment.effect
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_control constant experiment.estimate := experiment._estimate(arms[1]);
  v_treatment constant experiment.estimate := experiment._estimate(arms[2]);
  v_result experiment.effect;
  v_weights float8[] := v_control.gradient;
  v_scale float8 := 1;
  v_ratio float8 := 1;
  v_variance float8;
begin
  perform experiment._check_variance(arms[1], v_control, 'control');
  perform experiment._check_variance(arms[2], v_treatment, 'treatment');
  if v_control.mean = 0 or v_control.unadjusted_mean = 0 then
    perform common.refuse('CF007', 'the mean of control is 0', 'A difference is compared with the mean of control.');
  end if;
  v_result.effect := experiment._difference(arms);
  if is_relative then
    v_scale := abs(v_control.unadjusted_mean);
    -- the control's variables of the time after the exposure are in the divisor too
    v_ratio := case
      when arms[1].is_adjusted and arms[1].type <> 'ratio'
        then v_treatment.unadjusted_mean / v_control.unadjusted_mean
      else 1 + v_result.effect / v_control.unadjusted_mean
    end;
    for i in 1..cardinality(v_weights) / 2 loop
      v_weights[i] := v_weights[i] * v_ratio;
    end loop;
    v_result.effect := v_result.effect / v_scale;
  end if;
  v_variance := v_treatment.variance / v_treatment.n + case
    when arms[1].is_adjusted then experiment._bilinear(v_control.covariances, v_weights, v_weights)
    else v_control.variance * v_ratio * v_ratio
  end / v_control.n;
  if not v_variance > 0 then
    perform common.refuse('CF007', 'the variance of the difference is 0', 'Wait for outcomes that differ.');
  end if;
  v_result.stddev := sqrt(v_variance) / v_scale;
  v_result.degrees := experiment._degrees(v_control, v_treatment);
  v_result.users := v_control.n + v_treatment.n;
  v_result.control_mean := v_control.unadjusted_mean;
  v_result.is_post_stratified := false;
  return v_result;
end;
$$;

comment on function experiment._effect(experiment.statistic[], boolean) is $$
Returns the difference of treatment and control, the second and first statistic, by the delta method.
CF004 or CF007 where there is none: no users, no variance, or a control of mean 0.
$$;

grant execute on function experiment._effect(experiment.statistic[], boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
