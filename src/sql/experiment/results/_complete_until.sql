create or replace function experiment._last_complete_day(delay interval, period interval, ends_at timestamptz)
returns date
language sql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- A day has 24 hours.
set timezone to 'UTC'
as $$
  select max(day.day)
  from (
    select ($3 - $1 - coalesce($2, '0'))::date + shift as day
    from generate_series(-10, 10) as shift
  ) as day
  cross join lateral (
    select (day.day + 1)::timestamptz - interval '1 microsecond' + $1 as until
  ) as delayed
  -- A month later, the evening of the 30th of January is later than the morning of the 31st: both are the 28th of
  -- February. The latest time is that of the last moment, or of the end of the day before it.
  where greatest(
    delayed.until + coalesce($2, '0'),
    date_trunc('day', delayed.until) - interval '1 microsecond' + coalesce($2, '0')
  ) <= $3;
$$;

comment on function experiment._last_complete_day(interval, interval, timestamptz) is $$
@behavior -*
Returns the last day (UTC) whose exposed people have all had a delay, and then a period, at a time.
$$;

grant execute on function experiment._last_complete_day(interval, interval, timestamptz) to insights_reader;

create or replace function experiment._complete_until(experiment experiment.experiment, metric_id int)
returns date
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select min(
      experiment._last_complete_day(leaf.delay, leaf.period, least((_complete_until.experiment).stopped_at, now()))
    )
    from experiment.metric
    join experiment.metric as leaf
      on leaf.metric_id in (metric.numerator_metric_id, metric.denominator_metric_id)
      or metric.type <> 'ratio' and leaf.metric_id = metric.metric_id
    where metric.metric_id = _complete_until.metric_id
      and (leaf.delay > '0' or leaf.period > '0')
  );
end;
$$;

comment on function experiment._complete_until(experiment.experiment, int) is $$
@behavior -*
Returns the last day (UTC) whose exposed people have had the whole delay and period of a metric.
Null for a metric without a delay and a period: all days are complete.
$$;

grant execute on function experiment._complete_until(experiment.experiment, int) to insights_reader;
