create or replace function experiment._complete_until(experiment experiment.experiment, metric_id int)
returns date
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- A day has 24 hours.
set timezone to 'UTC'
as $$
declare
  v_period constant interval := (
    select max(leaf.delay + coalesce(leaf.period, '0'))
    from experiment.metric
    join experiment.metric as leaf
      on leaf.metric_id in (metric.numerator_metric_id, metric.denominator_metric_id)
      or metric.type <> 'ratio' and leaf.metric_id = metric.metric_id
    where metric.metric_id = _complete_until.metric_id
  );
begin
  return case
    when v_period > '0'
      then ((least((experiment).stopped_at, now()) - v_period) at time zone 'UTC')::date - 1
  end;
end;
$$;

comment on function experiment._complete_until(experiment.experiment, int) is $$
@behavior -*
Returns the last day (UTC) whose exposed people have had the whole delay and period of a metric.
Null for a metric without a delay and a period: all days are complete.
$$;

grant execute on function experiment._complete_until(experiment.experiment, int) to insights_reader;
