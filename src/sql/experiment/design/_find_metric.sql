create or replace function experiment._find_metric(metric text)
returns experiment.metric
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_metric experiment.metric;
begin
  select * into v_metric from experiment.metric as known where known.metric_key = _find_metric.metric;
  if not found then
    perform experiment._refuse_unknown_name(
      'metric',
      _find_metric.metric,
      array(select known.metric_key from experiment.metric as known order by known.metric_key limit 1000),
      'Create it with experiment.define_metric.'
    );
  end if;
  return v_metric;
end;
$$;

comment on function experiment._find_metric(text) is $$
@behavior -*
Returns a metric by its key. Errors: CF002 (names the nearest).
$$;
