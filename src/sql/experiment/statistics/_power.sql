create or replace function experiment._power(
  plan experiment.plan,
  effect float8,
  control_users float8,
  treatment_users float8
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_relative constant boolean := plan.difference = 'relative';
  v_mean constant float8 := plan.mean + effect * case when v_is_relative then abs(plan.mean) else 1 end;
  v_ratio constant float8 := case when v_is_relative then v_mean / plan.mean else 1 end;
  v_variance constant float8 := case when plan.type = 'proportion' then v_mean * (1 - v_mean) else plan.variance end;
  -- of the mean of the control: its part before the exposure is not in the divisor of a relative difference
  v_control constant float8 := plan.variance / control_users
    * (v_ratio * v_ratio - 2 * plan.explained * v_ratio + plan.explained);
  v_treatment constant float8 := v_variance / treatment_users * (1 - plan.explained);
  v_stddev constant float8 := sqrt(v_control + v_treatment) / case when v_is_relative then abs(plan.mean) else 1 end;
  v_z constant float8 := effect / nullif(v_stddev, 0);
  v_degrees float8;
  v_width float8;
begin
  if v_z is null then
    -- a proportion of 0 or 1 of the treatment, and a control that has no part in the error
    return 1;
  elsif plan.test = 'sequential' then
    v_width := experiment._sequential_width(
      1, control_users + treatment_users, plan.alpha, plan.alpha, plan.tuning, plan.side = 'both'
    );
  else
    v_degrees := experiment._degrees(
      row(control_users, 0, 0, plan.variance, null, null)::experiment.estimate,
      row(treatment_users, 0, 0, v_variance, null, null)::experiment.estimate
    );
    v_width := -experiment._t_quantile(plan.alpha / case when plan.side = 'both' then 2 else 1 end, v_degrees);
  end if;
  if plan.test = 'welch' and plan.type = 'mean' and v_degrees < 1e6 then
    return case when plan.side <> 'less' then experiment._noncentral_t_tail(v_width, v_degrees, v_z) else 0 end
      + case when plan.side <> 'greater' then experiment._noncentral_t_tail(v_width, v_degrees, -v_z) else 0 end;
  end if;
  return case when plan.side <> 'less' then ml.normal_cdf(v_z - v_width) else 0 end
    + case when plan.side <> 'greater' then ml.normal_cdf(-v_z - v_width) else 0 end;
end;
$$;

comment on function experiment._power(experiment.plan, float8, float8, float8) is $$
Returns the probability that a test of a plan finds an effect with the given users.
Of a mean, for normal outcomes, by the noncentral t distribution; otherwise by the normal distribution.
$$;

grant execute on function experiment._power(experiment.plan, float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._noncentral_t_tail(x float8, degrees float8, shift float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_spread constant float8 := sqrt(40 / degrees);
  v_low constant float8 := -v_spread - 40 / degrees;
  v_step constant float8 := (v_spread - v_low) / 200;
  v_u float8;
  v_density float8;
  v_total float8 := 0;
  v_tail float8 := 0;
begin
  -- T = (Z + shift) / S: over u = ln S, whose density is smooth and needs no normalising constant
  for k in 0..200 loop
    v_u := v_low + k * v_step;
    v_density := exp(greatest(degrees * (v_u + 0.5 - exp(2 * v_u) / 2), -100));
    v_total := v_total + v_density;
    v_tail := v_tail + v_density * greatest(ml.normal_cdf(shift - x * exp(v_u)), 1e-100);
  end loop;
  return v_tail / v_total;
end;
$$;

comment on function experiment._noncentral_t_tail(float8, float8, float8) is $$
Returns the probability that a noncentral t variable is above x, by the trapezoidal rule.
$$;

grant execute on function experiment._noncentral_t_tail(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
