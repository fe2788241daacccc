create or replace function experiment._metric_user(metric_id int, counts_drafts boolean)
returns text
language sql
stable
parallel safe
begin atomic
  select min(known.experiment_key)
  from experiment.measured
  join experiment.experiment as known using (experiment_id)
  join experiment.metric as metric using (metric_id)
  where _metric_user.metric_id in (metric.metric_id, metric.numerator_metric_id, metric.denominator_metric_id)
    and (_metric_user.counts_drafts or known.state <> 'draft');
end;

comment on function experiment._metric_user(int, boolean) is $$
@behavior -*
Returns the first experiment, by key, that measures a metric or a ratio of it; null when there is none.
$$;
