create or replace function experiment._plan(baseline jsonb, options jsonb)
returns experiment.plan
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_options constant jsonb := case when coalesce(options, 'null') = 'null' then '{}' else options end;
  v_statistic experiment.statistic;
  v_estimate experiment.estimate;
  v_correlation float8;
  v_plan experiment.plan;
begin
  perform experiment._refuse_unknown(
    v_options, 'options', array['test', 'side', 'difference', 'alpha', 'tuning', 'power', 'allocation']
  );
  v_plan.test := experiment._word_option(v_options, 'test', 'welch', array['welch', 'sequential']);
  v_plan.side := experiment._word_option(v_options, 'side', 'both', array['both', 'greater', 'less']);
  v_plan.difference := experiment._word_option(v_options, 'difference', 'relative', array['relative', 'absolute']);
  v_plan.alpha := experiment._number_option(v_options, 'alpha', 0.05);
  v_plan.tuning := experiment._number_option(v_options, 'tuning', 5000);
  v_plan.power := experiment._number_option(v_options, 'power', 0.8);
  v_plan.allocation := experiment._number_option(v_options, 'allocation', 1);
  if not (v_plan.alpha >= 1e-15 and v_plan.alpha < 0.5) then
    perform common.refuse('CF001', format('alpha is %s', v_plan.alpha), 'Give a number below 0.5, such as 0.05.');
  elsif not (v_plan.power > v_plan.alpha and v_plan.power < 1) then
    perform common.refuse('CF001', format('power is %s', v_plan.power), 'Give a number above alpha and below 1.');
  elsif not (v_plan.tuning > 0) then
    perform common.refuse('CF001', format('tuning is %s', v_plan.tuning), 'Give a number of users, such as 5000.');
  elsif not (v_plan.allocation >= 1e-6 and v_plan.allocation <= 1e6) then
    perform common.refuse('CF001', format('allocation is %s', v_plan.allocation),
      'Give the users of the treatment for each user of the control.');
  end if;

  v_plan.explained := 0;
  if baseline is not null and jsonb_typeof(baseline) = 'object' and baseline ? 'mean' then
    perform experiment._refuse_unknown(baseline, 'baseline', array['type', 'mean', 'variance', 'correlation']);
    v_plan.type := experiment._word_option(baseline, 'type', 'mean', array['proportion', 'mean', 'ratio']);
    v_plan.mean := experiment._number(baseline, 'mean', 'baseline');
    v_plan.variance := case
      when v_plan.type = 'proportion' then v_plan.mean * (1 - v_plan.mean)
      else experiment._number(baseline, 'variance', 'baseline')
    end;
    if coalesce(baseline -> 'correlation', 'null') <> 'null' then
      v_correlation := experiment._number(baseline, 'correlation', 'baseline');
      if abs(v_correlation) >= 1 then
        perform common.refuse('CF001', format('correlation of baseline is %s', v_correlation),
          'Give the correlation with the time before the exposure, between -1 and 1.');
      end if;
      v_plan.explained := v_correlation * v_correlation;
    end if;
  else
    v_statistic := experiment._statistic(baseline, 'baseline');
    if v_statistic.type = 'quantile' then
      perform common.refuse('CF001', 'the type of baseline is quantile', 'Give a proportion, mean or ratio.');
    end if;
    v_estimate := experiment._estimate(experiment._unadjusted(v_statistic));
    v_plan.type := v_statistic.type;
    v_plan.mean := v_estimate.mean;
    v_plan.variance := v_estimate.variance;
    if v_statistic.is_adjusted and v_plan.variance > 0 then
      v_statistic := (experiment._with_theta(array[v_statistic]))[1];
      v_plan.explained := greatest(
        1 - (experiment._estimate(v_statistic)).variance / v_plan.variance, 0
      );
    end if;
  end if;
  if not v_plan.variance > 0 or v_plan.explained >= 1 then
    perform common.refuse('CF007', 'the variance of baseline is 0', 'Give a metric whose outcomes differ.');
  elsif v_plan.difference = 'relative' and v_plan.mean = 0 then
    perform common.refuse('CF007', 'the mean of baseline is 0', 'A relative difference has a mean other than 0.');
  end if;
  return v_plan;
end;
$$;

comment on function experiment._plan(jsonb, jsonb) is $$
Returns the baseline and the options of the power functions, checked and with defaults.
$$;

grant execute on function experiment._plan(jsonb, jsonb)
to insights_reader, insights_analyst, insights_admin, insights_worker;
