create or replace function monitor._state_of_rule(rule monitor.rule, at timestamptz)
returns setof monitor.rule_state
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Without the samples of a clock that was ahead, after which no series would have a recent value.
  v_latest constant timestamptz := (
    select max(sample.sampled_at) from monitor.sample where sample.sampled_at <= _state_of_rule.at
  );
  v_series record;
  v_state monitor.rule_state;
begin
  for v_series in
    select
      series.series_id, coalesce(series.labels, rule.labels) as labels, metric.kind,
      coalesce(probe.every, interval '5 minutes') as every, bound.basis, bound.samples, bound.median, bound.spread,
      bound.lowest, bound.highest
    from monitor.metric
    left join monitor.series on series.metric = metric.metric and series.labels @> rule.labels
    left join monitor.probe using (probe)
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where metric.metric = rule.metric
    order by series.series_id
    limit 1000
  loop
    v_state := null;
    v_state.rule := rule.rule;
    v_state.metric := rule.metric;
    v_state.labels := v_series.labels;
    if rule.threshold is not null then
      v_state.basis := 'set';
      v_state.lower_bound := case when rule.direction = 'below' then rule.threshold end;
      v_state.upper_bound := case when rule.direction = 'above' then rule.threshold end;
    else
      v_state.basis := coalesce(v_series.basis, 'learning');
      v_state.samples := coalesce(v_series.samples, 0);
      v_state.lower_bound := case
        when rule.direction <> 'above'
          then least(v_series.median - rule.deviations * v_series.spread, v_series.lowest)
      end;
      v_state.upper_bound := case
        when rule.direction <> 'below'
          then greatest(v_series.median + rule.deviations * v_series.spread, v_series.highest)
      end;
    end if;

    select
      (array_agg(measured.value order by measured.sampled_at desc))[1],
      max(measured.sampled_at),
      min(measured.sampled_at) filter (where measured.sampled_at > coalesce(measured.inside_at, '-infinity'))
    into v_state.value, v_state.measured_at, v_state.outside_since
    from (
      select recent.*,
        max(recent.sampled_at) filter (
          where not coalesce(recent.value < v_state.lower_bound or recent.value > v_state.upper_bound, false)
        ) over () as inside_at
      from monitor._series_values(
        v_series.series_id, v_series.kind, at - rule.hold - 3 * v_series.every - interval '5 minutes', at
      ) as recent
    ) as measured;

    v_state.state := case
      when not rule.is_active then 'inactive'
      when v_state.measured_at is null or v_state.measured_at < v_latest - 3 * v_series.every then 'no data'
      when v_state.basis = 'learning' then 'learning'
      when v_state.outside_since is null then 'ok'
      -- Samples are some seconds apart from their schedule.
      when v_state.outside_since <= at - rule.hold + interval '30 seconds' then 'firing'
      else 'pending'
    end;
    return next v_state;
  end loop;
end;
$$;

comment on function monitor._state_of_rule(monitor.rule, timestamptz) is $$
Returns the state of a rule for each of its series, at most 1,000; one row without a series when no series exists.
$$;

create or replace function monitor.rule_state(rule text default null)
returns setof monitor.rule_state
language plpgsql
stable
-- A definer: analysts may not read the samples.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
begin
  if rule_state.rule is not null then
    perform monitor._find_rule(rule_state.rule);
  end if;
  return query
  select state.*
  from monitor.rule as known
  cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
  where known.rule = rule_state.rule
    or rule_state.rule is null
  order by known.rule, state.labels;
end;
$$;

comment on function monitor.rule_state(text) is $$
Returns the state of a rule, or of all, for each of their series: value, bounds, and whether it is outside.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function monitor.rule_state(text) to insights_analyst, insights_admin, insights_worker;
