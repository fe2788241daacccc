create or replace function experiment.midexperiment_power(control jsonb, treatment jsonb, options jsonb default '{}')
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_options constant experiment.comparison := experiment._comparison(
    options, array['target_effect', 'target_power', 'goal_metrics', 'variations', 'corrected']
  );
  v_arms constant experiment.statistic[] := experiment._pair(control, treatment, 'control', 'treatment');
  v_effect constant experiment.effect := experiment._effect(
    experiment._with_theta(v_arms), v_options.difference = 'relative'
  );
  v_target constant float8 := abs(experiment._number_option(options, 'target_effect', 0.01));
  v_power constant float8 := experiment._number_option(options, 'target_power', 0.8);
  v_metrics constant float8 := experiment._number_option(options, 'goal_metrics', 1);
  v_variations constant float8 := experiment._number_option(options, 'variations', 2);
  v_tests float8 := 1;
  v_adjusted float8;
  v_low float8 := 0;
  v_high float8 := 1;
  v_factor float8 := 1;
  v_now float8;
  v_reached float8;
begin
  if v_options.side <> 'both' or v_options.difference = 'scaled' then
    perform common.refuse('CF001', format('side is %s, and difference %s', v_options.side, v_options.difference),
      'Give side both, and the difference relative or absolute.');
  elsif not v_target > 0 then
    perform common.refuse('CF001', format('target_effect is %s', v_target), 'Give a number other than 0.');
  elsif not (v_power > 0 and v_power < 1) then
    perform common.refuse('CF001', format('target_power is %s', v_power), 'Give a number between 0 and 1.');
  elsif not (v_metrics between 1 and 1000) or not (v_variations between 2 and 1000) then
    perform common.refuse('CF001', format('goal_metrics is %s, and variations %s', v_metrics, v_variations),
      'Give 1 to 1000 metrics and 2 to 1000 variations.');
  end if;
  if experiment._boolean_option(options, 'corrected', false) then
    v_tests := (v_variations - 1) * v_metrics;
  end if;
  -- all goal metrics together reach the power
  v_adjusted := v_power ^ (1 / v_metrics);
  v_now := experiment._power_after(v_effect, v_options, v_target, v_tests, 0);
  if v_now > v_adjusted then
    return jsonb_build_object('power', v_now, 'scaling_factor', 0, 'additional_users', 0);
  end if;
  v_reached := experiment._power_after(v_effect, v_options, v_target, v_tests, v_factor);
  for step in 1..27 loop
    exit when v_reached >= v_adjusted;
    v_factor := 2 * v_factor;
    v_reached := experiment._power_after(v_effect, v_options, v_target, v_tests, v_factor);
  end loop;
  if v_reached < v_adjusted then
    return jsonb_build_object('power', v_now, 'scaling_factor', null, 'additional_users', null);
  end if;
  -- gbstats' bisection and tolerance, so that its numbers come out
  v_high := v_factor;
  for step in 1..100 loop
    if v_reached > v_adjusted then
      v_high := v_factor;
    else
      v_low := v_factor;
    end if;
    v_factor := (v_low + v_high) / 2;
    v_reached := experiment._power_after(v_effect, v_options, v_target, v_tests, v_factor);
    exit when abs(v_reached - v_adjusted) < 1e-5;
  end loop;
  return jsonb_build_object(
    'power', v_now, 'scaling_factor', v_factor, 'additional_users', ceil(v_factor * v_effect.users)
  );
end;
$$;

comment on function experiment.midexperiment_power(jsonb, jsonb, jsonb) is $$
Returns the power of a running experiment to find an effect, and how many further users reach a given power.
The arguments are those of `experiment.compare`, with the options `target_effect` (0.01), `target_power` (0.8),
`goal_metrics` (1; all of them reach the power together), `variations` (2), and `corrected`: whether p-values are
adjusted for the number of tests. The answer has `power` with the users of now, `scaling_factor` (further users divided
by those of now; 0 when the power is reached, null when 2^27 does not reach it) and `additional_users`.
$$;

grant execute on function experiment.midexperiment_power(jsonb, jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._power_after(
  effect experiment.effect,
  options experiment.comparison,
  target float8,
  tests float8,
  factor float8
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_effect experiment.effect := effect;
  v_posterior experiment.effect;
  v_width float8;
  v_shift float8 := 0;
begin
  v_effect.stddev := effect.stddev / sqrt(1 + factor);
  v_effect.users := effect.users * (1 + factor);
  if options.test = 'sequential' then
    v_width := experiment._sequential_width(
      1, v_effect.users, options.alpha / tests, options.alpha / tests, options.tuning, true
    );
  else
    v_width := -ml.normal_quantile(options.alpha / tests / 2);
    if options.test = 'bayesian' and options.prior_is_proper then
      -- the observed difference at which the credible interval begins at 0
      v_effect.effect := 0;
      v_posterior := experiment._posterior(v_effect, options);
      v_shift := v_posterior.effect / v_posterior.stddev * (v_effect.stddev / v_posterior.stddev);
      v_width := v_width * (v_effect.stddev / v_posterior.stddev);
    end if;
  end if;
  return ml.normal_cdf((target / v_effect.stddev + v_shift) - v_width)
    + ml.normal_cdf(-(target / v_effect.stddev + v_shift) - v_width);
end;
$$;

comment on function experiment._power_after(
  experiment.effect, experiment.comparison, float8, float8, float8
) is $$
Returns the power to find a target effect once there are 1 + factor times the users.
$$;

grant execute on function experiment._power_after(
  experiment.effect, experiment.comparison, float8, float8, float8
) to insights_reader, insights_analyst, insights_admin, insights_worker;
