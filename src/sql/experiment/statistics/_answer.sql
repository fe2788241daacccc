create or replace function experiment._answer(effect experiment.effect, options experiment.comparison, type text)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set extra_float_digits to 1
as $$
declare
  v_scale float8 := 1;
  v_effect experiment.effect := effect;
  v_tested experiment.effect;
  v_width float8;
  v_answer jsonb;
begin
  if options.difference = 'scaled' then
    if type not in ('proportion', 'mean') then
      perform common.refuse('CF001', format('difference is scaled, and the type %s', type),
        'The sum over all users is scaled: of a proportion or a mean.');
    end if;
    v_scale := options.users / options.traffic / options.days;
  end if;
  if options.test = 'bayesian' then
    v_effect := experiment._posterior(effect, options);
  end if;
  v_tested := v_effect;
  v_tested.effect := v_effect.effect - coalesce(options.margin, 0) * case
    when options.difference = 'relative' then 1
    else abs(effect.control_mean)
  end;
  if options.test = 'bayesian' then
    v_width := case
      when options.side = 'both' then -ml.normal_quantile(options.alpha / 2)
      else -ml.normal_quantile(options.alpha)
    end * v_effect.stddev;
    v_answer := jsonb_build_object(
      'chance_to_win',
      ml.normal_cdf(v_tested.effect / v_tested.stddev * case when options.is_inverse then -1 else 1 end),
      'risk', experiment._risk(v_effect.effect, v_effect.stddev, options.is_inverse)
    );
  elsif options.test = 'sequential' then
    v_width := experiment._sequential_width(
      effect.stddev, effect.users, options.alpha, options.alpha, options.tuning, options.side = 'both'
    );
    v_answer := jsonb_build_object('p', experiment._sequential_p(v_tested, options));
  else
    v_width := -experiment._t_quantile(
      case when options.side = 'both' then options.alpha / 2 else options.alpha end, effect.degrees
    ) * effect.stddev;
    v_answer := jsonb_build_object('p', case options.side
      when 'both' then 2 * ml.students_t_cdf(-abs(v_tested.effect / v_tested.stddev), effect.degrees)
      when 'greater' then ml.students_t_cdf(-v_tested.effect / v_tested.stddev, effect.degrees)
      else ml.students_t_cdf(v_tested.effect / v_tested.stddev, effect.degrees)
    end);
  end if;
  return jsonb_build_object(
    'effect', v_effect.effect * v_scale,
    'stddev', v_effect.stddev * v_scale,
    'low', case when options.side <> 'less' then (v_effect.effect - v_width) * v_scale end,
    'high', case when options.side <> 'greater' then (v_effect.effect + v_width) * v_scale end
  ) || v_answer;
end;
$$;

comment on function experiment._answer(experiment.effect, experiment.comparison, text) is $$
Returns the interval and the p-value, or the chance to win and the risk, of a difference.
$$;

grant execute on function experiment._answer(experiment.effect, experiment.comparison, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
