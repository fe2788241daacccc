create or replace function monitor._learn_bound(series_id int, kind text, unit text, at timestamptz)
returns monitor.rule_bound
language sql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
  with past as materialized (
    select
      measured.value, measured.sampled_at,
      extract(isodow from measured.sampled_at) = extract(isodow from _learn_bound.at)
        and extract(hour from measured.sampled_at) = extract(hour from _learn_bound.at) as is_same_hour
    -- Without the last hour, which may be the problem itself, and with the same hour of four weeks.
    from monitor._series_values(
      _learn_bound.series_id, _learn_bound.kind,
      _learn_bound.at - interval '29 days', _learn_bound.at - interval '1 hour'
    ) as measured
  ),

  chosen as (
    select
      case
        when count(past.sampled_at) < fewest.values or max(past.sampled_at) - min(past.sampled_at) < interval '1 day'
          then 'learning'
        when count(distinct past.sampled_at::date) filter (where past.is_same_hour) >= 4
          and count(*) filter (where past.is_same_hour) >= 20 then 'hour of the week'
        else 'all hours'
      end as basis
    from (
      -- Values of each day are enough after two weeks.
      select least(100, extract(epoch from interval '14 days') / extract(epoch from probe.every)) as values
      from monitor.series
      join monitor.probe using (probe)
      where series.series_id = _learn_bound.series_id
    ) as fewest
    left join past on true
    group by fewest.values
  ),

  used as materialized (
    select past.value, chosen.basis
    from chosen
    join past on past.is_same_hour or chosen.basis <> 'hour of the week'
  ),

  middle as (
    select percentile_cont(0.5) within group (order by used.value) as median
    from used
  )

  select null::text, _learn_bound.series_id, chosen.basis, count(used.value)::int,
    case when chosen.basis <> 'learning' then min(middle.median) end,
    case when chosen.basis <> 'learning' then greatest(
      1.4826 * percentile_cont(0.5) within group (order by abs(used.value - middle.median)),
      0.05 * abs(min(middle.median)),
      case
        when _learn_bound.unit = 'ratio' then 0.001
        when _learn_bound.unit = 'flag' then 0.01
        when _learn_bound.unit = 'bytes' then 1e6
        when _learn_bound.unit = 'seconds' then 0.1
        when _learn_bound.kind = 'counter' then 0.01
        else 1
      end
    ) end,
    _learn_bound.at
  from chosen
  cross join middle
  left join used on true
  group by chosen.basis
$$;

comment on function monitor._learn_bound(int, text, text, timestamptz) is $$
Returns the median and the spread of a series in the last four weeks, for the present hour of the week if possible.
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
    select rule.rule, series.series_id, metric.kind, metric.unit
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
    insert into monitor.rule_bound (rule, series_id, basis, samples, median, spread, learned_at)
    select v_series.rule, v_series.series_id, bound.basis, bound.samples, bound.median, bound.spread, v_at
    from monitor._learn_bound(v_series.series_id, v_series.kind, v_series.unit, v_at) as bound
    on conflict on constraint rule_bound_pkey do update
    set
      basis = excluded.basis,
      samples = excluded.samples,
      median = excluded.median,
      spread = excluded.spread,
      learned_at = excluded.learned_at;
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
