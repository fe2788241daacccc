create or replace function monitor._figure(value float8)
returns numeric
language sql
immutable
strict
parallel safe
begin atomic
  -- Small ones would be 0.000, as would their bound.
  select round(
    value::numeric,
    case when abs(value) between 1e-300 and 0.1 then 2 - floor(log(abs(value)))::int else 3 end
  );
end;

comment on function monitor._figure(float8) is $$
Returns a number with three decimal places, a small one with three significant digits.
$$;

create or replace function monitor._check_rules()
returns setof monitor.finding
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  with state as (
    select known.severity, known.expects_data, known.set_at, state.*
    from monitor.rule as known
    cross join lateral monitor._state_of_rule(known, clock_timestamp()) as state
    where known.is_active
  )

  select monitor._finding(
    state.rule,
    case when state.labels = '{}' then '' else state.labels::text end,
    state.severity,
    format(
      '%s%s is %s, %s the %s bound %s', state.metric, case when state.labels <> '{}' then ' ' || state.labels::text end,
      monitor._figure(state.value),
      case when state.value > state.upper_bound then 'above' else 'below' end,
      case state.basis when 'set' then 'set' else 'learned' end,
      monitor._figure(case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end)
    ),
    format('See its past: select * from monitor.history(%L, %L). If this is expected, change the rule with '
      || 'monitor.set_rule, or silence it: select monitor.silence(%L, now() + interval ''1 day'', ''expected'')',
      state.metric, state.labels, state.rule),
    state.value,
    case when state.value > state.upper_bound then state.upper_bound else state.lower_bound end
  )
  from state
  where state.state = 'firing'

  union all

  select monitor._finding(
    state.rule, 'no data', 'warning',
    format('%s has no recent value, so the rule %s cannot be evaluated', min(state.metric), state.rule),
    format('See the probe that measures it: select probe, started_at, error from monitor.probe_state. If the metric no '
      || 'longer exists: select monitor.drop_rule(%L)', state.rule)
  )
  from state
  where state.expects_data
    and state.set_at < clock_timestamp() - interval '1 hour'
    -- While nothing is measured at all, that is the finding (check "probes").
    and exists (
      select
      from monitor.sample
      where sample.sampled_at between clock_timestamp() - interval '30 minutes' and clock_timestamp()
    )
    and (select min(sample.sampled_at) from monitor.sample) < clock_timestamp() - interval '30 minutes'
  group by state.rule
  having bool_and(state.state = 'no data')
$$;

comment on function monitor._check_rules() is $$
Finds series that are outside of the bounds of a rule for its time, and rules whose metric has no recent value.
The findings have the name of the rule as their source.
$$;
