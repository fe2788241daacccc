create or replace function experiment._is_complete(experiment experiment.experiment, people bigint)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (_is_complete.experiment).state in ('stopped', 'shipped')
    or coalesce(_is_complete.people >= (_is_complete.experiment).planned_people, false)
    or coalesce(
      now() >= (_is_complete.experiment).started_at + (_is_complete.experiment).maximum_duration, false
    );
end;
$$;

comment on function experiment._is_complete(experiment.experiment, bigint) is $$
@behavior -*
Returns whether an experiment has reached the end of its plan, or was ended. `people`: those whose outcome is known.
$$;

grant execute on function experiment._is_complete(experiment.experiment, bigint)
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._effect_text(result experiment.result)
returns text
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_is_relative constant boolean := result.difference is distinct from 'absolute';
  v_is_share constant boolean := v_is_relative or result.type in ('proportion', 'retention');
  v_unit constant text := case when v_is_relative then ' %' when v_is_share then ' percentage points' else '' end;
  v_scale constant float8 := case when v_is_share then 100 else 1 end;
  v_digits constant text := case when v_is_share then 'FMS999999990.0' else 'FMS999999990.0000' end;
begin
  if result.effect is null then
    -- A guardrail whose control has no outcomes, so that there is no relative difference.
    return format('%s, and 0 in the control', to_char(result.figure, 'FM999999990.0000'));
  end if;
  return to_char(result.effect * v_scale, v_digits) || v_unit || ' (' || case
    when result.low is not null and result.high is not null
      then to_char(result.low * v_scale, v_digits) || ' to ' || to_char(result.high * v_scale, v_digits)
    when result.low is not null then 'at least ' || to_char(result.low * v_scale, v_digits)
    when result.high is not null then 'at most ' || to_char(result.high * v_scale, v_digits)
    else 'without bounds'
  end || v_unit || case
    -- The p-value is that of no difference, and a guardrail is compared with its margin.
    when result.role = 'guardrail' then ''
    when coalesce(result.adjusted_p, result.p) is not null
      then ', p = ' || case
        when coalesce(result.adjusted_p, result.p) < 0.0001 then 'below 0.0001'
        else to_char(coalesce(result.adjusted_p, result.p), 'FM0.0000')
      end
    when result.chance_to_win is not null
      then ', chance to win ' || to_char(result.chance_to_win * 100, 'FM990.0') || ' %'
    else ''
  end || ')';
end;
$$;

comment on function experiment._effect_text(experiment.result) is $$
@behavior -*
Returns an effect with its interval and p-value as text, such as `+12.3 % (+1.1 to +23.5 %, p = 0.0310)`.
$$;

grant execute on function experiment._effect_text(experiment.result)
to insights_analyst, insights_admin, insights_worker;

create or replace function experiment._decide(
  experiment experiment.experiment,
  goal text,
  safety text[],
  results experiment.result[],
  harms experiment.result[],
  out verdict text,
  out variation text,
  out reason text
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_experiment constant experiment.experiment := _decide.experiment;
  v_goal experiment.result[];
  v_found experiment.result;
  v_people bigint;
  v_is_complete boolean;
  v_unsafe text;
  v_p_values float8[];
begin
  select array_agg(result order by result.variation_number) into v_goal
  from unnest(_decide.results) as result
  where result.metric = _decide.goal;
  select result.* into v_found
  from unnest(_decide.harms) as result
  order by result.variation_number, result.metric
  limit 1;
  if found then
    verdict := 'harm';
    variation := v_found.variation;
    reason := format(
      'The guardrail "%s" is worse than accepted in "%s": %s.', v_found.metric, v_found.variation,
      experiment._effect_text(v_found)
    );
    return;
  end if;

  v_people := (select sum(result.people) from unnest(v_goal) as result);
  v_is_complete := experiment._is_complete(v_experiment, v_people);
  if v_experiment.state = 'running' and now() < v_experiment.started_at + v_experiment.minimum_duration then
    verdict := 'running';
    reason := format(
      'The minimum duration ends on %s.',
      to_char(v_experiment.started_at + v_experiment.minimum_duration, 'YYYY-MM-DD')
    );
    return;
  elsif v_experiment.test <> 'sequential' and not v_is_complete then
    verdict := 'running';
    reason := format(
      'The test "%s" is made once, at the planned end: planned_people or maximum_duration.', v_experiment.test
    );
    return;
  end if;

  -- The best of the variations that are better than the control. Any of them ends the experiment: they share the level.
  v_p_values := experiment.holm(array(select result.p from unnest(v_goal) as result order by result.variation_number));
  select result.* into v_found
  from generate_subscripts(v_goal, 1) as place
  cross join lateral (select (v_goal[place]).*) as result
  where result.verdict = 'better'
    and coalesce(v_p_values[place] < result.alpha, true)
  order by abs(result.effect) desc, result.variation_number
  limit 1;
  if found then
    v_unsafe := (
      select string_agg(format('"%s"', result.metric), ', ' order by result.metric)
      from unnest(_decide.results) as result
      where result.metric = any (_decide.safety)
        and result.variation = v_found.variation
        and result.verdict is distinct from 'safe'
    );
    variation := v_found.variation;
    reason := format(
      'The goal "%s" is better in "%s": %s.', _decide.goal, v_found.variation, experiment._effect_text(v_found)
    );
    if v_unsafe is null then
      verdict := 'ship';
    else
      reason := reason || format(' But it is not shown that it keeps within the margin of %s.', v_unsafe);
      verdict := case when v_is_complete then 'no_decision' else 'running' end;
    end if;
    return;
  end if;

  if (select count(*) from unnest(v_goal) as result where result.verdict is not null) > 0
    and 'worse' = all (array(select result.verdict from unnest(v_goal) as result where result.verdict is not null))
  then
    verdict := 'harm';
    reason := format(
      'The goal "%s" is worse than in the control: %s.', _decide.goal,
      (
        select string_agg(
          format('"%s" %s', result.variation, experiment._effect_text(result)), ', ' order by result.variation_number
        )
        from unnest(v_goal) as result
        where result.verdict = 'worse'
      )
    );
  elsif v_is_complete then
    verdict := 'no_decision';
    reason := format('At the end, no difference of the goal "%s" to the control was shown.', _decide.goal);
  else
    verdict := 'running';
    reason := format('No difference of the goal "%s" to the control has been shown yet.', _decide.goal);
  end if;
  if verdict <> 'harm' then
    reason := reason || coalesce(
      ' ' || (
        select string_agg(
          format('%s: %s', result.variation, experiment._effect_text(result)), '; ' order by result.variation_number
        )
        from unnest(v_goal) as result
        where result.effect is not null
      ) || '.',
      ''
    );
  end if;
end;
$$;

comment on function experiment._decide(
  experiment.experiment, text, text[], experiment.result[], experiment.result[]
) is $$
@behavior -*
Applies the rule of `experiment.decision` to results.
`goal` decides; `safety` are the guardrails with a margin, `harms` the results of guardrails that show harm.
$$;

grant execute on function experiment._decide(
  experiment.experiment, text, text[], experiment.result[], experiment.result[]
)
to insights_analyst, insights_admin, insights_worker;

/* A definer owned by insights_reader: analysts may not read the handlers. */
create or replace function experiment._value_problems(experiment_id int)
returns text[]
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_variation record;
  v_problems text[] := '{}';
begin
  for v_variation in
    select known.variation_key, known.value, known.placement, handler.check_function
    from (
      select variation.variation, variation.variation_key, variation.value, experiment.placement
      from experiment.experiment
      join experiment.variation using (experiment_id)
      where experiment.experiment_id = _value_problems.experiment_id
        and experiment.state = 'running'
    ) as known
    join experiment.handler on handler.room = split_part(known.placement, '.', 1)
    where handler.check_function is not null
    order by known.variation
  loop
    begin
      execute format(
        'select %I.%I($1, $2)',
        split_part(v_variation.check_function, '.', 1), split_part(v_variation.check_function, '.', 2)
      )
      using v_variation.placement, v_variation.value;
    exception when others then
      if sqlstate not like 'CF0%' then
        raise;
      end if;
      v_problems := v_problems || format(
        'Variation "%s" cannot be served as planned: %s.', v_variation.variation_key, sqlerrm
      );
    end;
  end loop;
  return v_problems;
end;
$$;

alter function experiment._value_problems(int) owner to insights_reader;

comment on function experiment._value_problems(int) is $$
@behavior -*
Returns what the schema of the placement finds wrong with the variations of a running experiment now.
Such as a version of a model that was marked since.
$$;

grant execute on function experiment._value_problems(int) to insights_analyst, insights_admin, insights_worker;

create or replace function experiment.decision(experiment text)
returns experiment.decision
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(decision.experiment);
  v_health experiment.health;
  v_results experiment.result[];
  v_harms experiment.result[];
  v_found record;
  v_decision experiment.decision;
begin
  v_decision.experiment := v_experiment.experiment_key;
  v_decision.state := v_experiment.state;
  v_decision.warnings := '{}';
  if v_experiment.state = 'draft' then
    v_decision.verdict := 'draft';
    v_decision.reason := 'The experiment has not started.';
    return v_decision;
  end if;

  v_health := experiment.health(v_experiment.experiment_key);
  v_results := array(select result from experiment.results(v_experiment.experiment_key) as result);
  -- Harm is looked for on every day, which only the sequential test allows. Results are not read again if those of the
  -- plan are the same.
  v_harms := array(
    select planned
    from unnest(v_results) as planned
    where v_experiment.test = 'sequential'
      and planned.verdict = 'harm'
    union all
    select repeated
    from experiment.results(v_experiment.experiment_key, test => 'sequential') as repeated
    where v_experiment.test <> 'sequential'
      and repeated.verdict = 'harm'
  );
  v_decision.days := extract(
    epoch from coalesce(v_experiment.stopped_at, now()) - v_experiment.started_at
  )::float8 / 86400;
  v_decision.people := (select sum(arm.people) from unnest(v_health.people) as arm (people));
  v_decision.warnings := v_health.warnings || experiment._value_problems(v_experiment.experiment_id);
  if v_health.is_mismatched then
    v_decision.verdict := 'invalid';
    v_decision.reason := format(
      'People are not distributed by the weights (p = %s): assignment or logging is broken.',
      btrim(to_char(v_health.srm_p, '9.9EEEE'))
    );
    return v_decision;
  end if;

  v_found := experiment._decide(
    v_experiment,
    (
      select metric.metric_key
      from experiment.measured
      join experiment.metric using (metric_id)
      where measured.experiment_id = v_experiment.experiment_id
        and measured.role = 'goal'
      order by measured.position
      limit 1
    ),
    array(
      select metric.metric_key
      from experiment.measured
      join experiment.metric using (metric_id)
      where measured.experiment_id = v_experiment.experiment_id
        and measured.role = 'guardrail'
        and measured.margin is not null
    ),
    v_results,
    v_harms
  );
  v_decision.verdict := v_found.verdict;
  v_decision.variation := v_found.variation;
  v_decision.reason := v_found.reason;
  return v_decision;
end;
$$;

comment on function experiment.decision(text) is $$
Returns what the rule of decision states about an experiment now, with the reason.
The first that applies: `invalid` (sample ratio mismatch, p < 0.001); `harm` (a guardrail is worse than its margin, by a
test that is valid on every day); `running` before `minimum_duration`, and with the tests `welch` and `bayesian` before
the planned end; `ship` (the first goal is better in `variation`, and its guardrails with a margin are safe); `harm`
(the goal is worse in all variations); `no_decision` at the planned end (`planned_people`, `maximum_duration`, or
stopped); otherwise `running`. Of several variations that are better, the one with the largest effect is shipped.
Several variations share the level of the goal (S. Holm), and several guardrails and variations that of harm.
The results are those that the caller may see (`experiment.results`).
Errors: CF002 for an unknown experiment (names the nearest).
$$;

grant execute on function experiment.decision(text) to insights_analyst, insights_admin, insights_worker;
