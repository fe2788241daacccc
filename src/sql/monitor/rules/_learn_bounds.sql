create or replace function monitor._learn_bound(
  series_id int,
  kind text,
  unit text,
  hold interval,
  at timestamptz
)
returns monitor.rule_bound
language sql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
  with known as (
    select
      -- Values of each day are enough after two weeks.
      least(100, extract(epoch from interval '14 days') / extract(epoch from probe.every)) as fewest,
      round(extract(epoch from _learn_bound.hold) / extract(epoch from probe.every))::int as steps,
      case
        when _learn_bound.unit = 'ratio' then 0.001
        when _learn_bound.unit = 'flag' then 0.01
        when _learn_bound.unit = 'bytes' then 1e6
        when _learn_bound.unit = 'seconds' then 0.1
        when _learn_bound.kind = 'counter' then 0.01
        else 1
      end::float8 as least_spread
    from monitor.series
    join monitor.probe using (probe)
    where series.series_id = _learn_bound.series_id
  ),

  past as materialized (
    select
      measured.value, measured.sampled_at,
      (24 * extract(isodow from measured.sampled_at) + extract(hour from measured.sampled_at))::int as hour_of_week
    -- Without the last hour, which may be the problem itself, and with the same hour of four weeks.
    from monitor._series_values(
      _learn_bound.series_id, _learn_bound.kind,
      _learn_bound.at - interval '29 days', _learn_bound.at - interval '1 hour'
    ) as measured
  ),

  total as (
    select
      count(*) as values, max(past.sampled_at) - min(past.sampled_at) as period,
      percentile_cont(0.5) within group (order by past.value) as median
    from past
  ),

  hour as (
    select
      past.hour_of_week, count(*) as values, count(distinct past.sampled_at::date) as weeks,
      percentile_cont(0.5) within group (order by past.value) as median
    from past
    group by past.hour_of_week
  ),

  -- Whether the hours of the week explain the series, and how far values are from the median of their hour, as a share
  -- of it: the few values of one hour, of four days, underestimate that.
  weekly as (
    select
      sum(abs(past.value - hour.median)) < 0.5 * sum(abs(past.value - total.median)) as is_weekly,
      percentile_cont(0.5) within group (
        order by abs(past.value - hour.median) / greatest(abs(hour.median), known.least_spread)
      ) as relative_deviation
    from past
    join hour using (hour_of_week)
    cross join total
    cross join known
  ),

  chosen as (
    select
      case
        when total.values < known.fewest or total.period < interval '1 day' then 'learning'
        when weekly.is_weekly and hour.weeks >= 4 and hour.values >= 20 then 'hour of the week'
        else 'all hours'
      end as basis,
      hour.hour_of_week
    from known
    cross join total
    cross join weekly
    left join hour on hour.hour_of_week
      = 24 * extract(isodow from _learn_bound.at) + extract(hour from _learn_bound.at)
  ),

  used as materialized (
    select past.value, chosen.basis
    from chosen
    join past on past.hour_of_week = chosen.hour_of_week or chosen.basis <> 'hour of the week'
  ),

  middle as (
    select percentile_cont(0.5) within group (order by used.value) as median
    from used
  ),

  -- The bounds within which all values of the time `hold` were, on each day.
  day as (
    select max(lasting.least) as highest, min(lasting.greatest) as lowest
    from (
      select
        past.sampled_at, min(past.value) over step as least, max(past.value) over step as greatest,
        count(*) over step as values
      from past
      cross join known
      window step as (order by past.sampled_at rows between (select known.steps from known) preceding and current row)
    ) as lasting
    cross join known
    where lasting.values > known.steps
      -- Not the last day, which may be a problem that has started.
      and lasting.sampled_at <= _learn_bound.at - interval '1 day'
    group by floor(extract(epoch from _learn_bound.at - lasting.sampled_at) / 86400)
  ),

  usual as (
    select
      percentile_disc(0.1) within group (order by day.lowest) as lowest,
      percentile_disc(0.9) within group (order by day.highest) as highest
    from day
  )

  select null::text, _learn_bound.series_id, chosen.basis, count(used.value)::int,
    case when chosen.basis <> 'learning' then min(middle.median) end,
    case when chosen.basis <> 'learning' then greatest(
      1.4826 * percentile_cont(0.5) within group (order by abs(used.value - middle.median)),
      case when chosen.basis = 'hour of the week' then
        1.4826 * min(weekly.relative_deviation) * greatest(abs(min(middle.median)), min(known.least_spread))
      end,
      0.05 * abs(min(middle.median)),
      min(known.least_spread)
    ) end,
    _learn_bound.at,
    case when chosen.basis = 'all hours' then min(usual.lowest) end,
    case when chosen.basis = 'all hours' then min(usual.highest) end
  from chosen
  cross join middle
  cross join known
  cross join weekly
  cross join usual
  left join used on true
  group by chosen.basis
$$;

comment on function monitor._learn_bound(int, text, text, interval, timestamptz) is $$
Returns what is usual for a series, from its last four weeks: median and spread.
They are those of the present hour of the week if the hours explain at least half of the deviations; otherwise those of
all hours, with the lowest and highest values of the days.
$$;

create or replace function monitor._learn_bounds(most interval default '300 ms')
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_at constant timestamptz := clock_timestamp();
  v_learned int := 0;
  v_series record;
begin
  for v_series in
    select rule.rule, rule.hold, series.series_id, metric.kind, metric.unit
    from monitor.rule
    join monitor.metric using (metric)
    join monitor.series on series.metric = rule.metric and series.labels @> rule.labels
    left join monitor.rule_bound as bound on bound.rule = rule.rule and bound.series_id = series.series_id
    where rule.is_active
      and rule.threshold is null
      and (
        bound.learned_at is null
        or date_trunc('hour', bound.learned_at) <> date_trunc('hour', v_at)
      )
    order by bound.learned_at nulls first, rule.rule, series.series_id
  loop
    insert into monitor.rule_bound (
      rule, series_id, basis, samples, median, spread, learned_at, lowest, highest
    )
    select v_series.rule, v_series.series_id, bound.basis, bound.samples, bound.median, bound.spread, v_at,
      bound.lowest, bound.highest
    from monitor._learn_bound(v_series.series_id, v_series.kind, v_series.unit, v_series.hold, v_at) as bound
    on conflict on constraint rule_bound_pkey do update
    set
      basis = excluded.basis,
      samples = excluded.samples,
      median = excluded.median,
      spread = excluded.spread,
      learned_at = excluded.learned_at,
      lowest = excluded.lowest,
      highest = excluded.highest;
    v_learned := v_learned + 1;
    -- The others follow in the next run.
    exit when clock_timestamp() - v_at > _learn_bounds.most;
  end loop;
  return v_learned;
end;
$$;

comment on function monitor._learn_bounds(interval) is $$
Renews the learned bounds of rules that are not of this hour, as many as there is time for. Returns their number.
$$;
