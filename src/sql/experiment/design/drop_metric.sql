create or replace function experiment.drop_metric(metric text)
returns void
language plpgsql
volatile
-- A definer: it writes the metrics and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_metric experiment.metric;
  v_user text;
begin
  perform experiment._begin_change();
  v_metric := experiment._find_metric(drop_metric.metric);
  v_user := experiment._metric_user(v_metric.metric_id, true);
  if v_user is not null then
    perform common.refuse('CF003', format('the experiment "%s" measures "%s"', left(v_user, 100), v_metric.metric_key),
      'A metric can be dropped when no experiment measures it.');
  end if;
  v_user := (
    select min(known.metric_key) from experiment.metric as known
    where v_metric.metric_id in (known.numerator_metric_id, known.denominator_metric_id)
  );
  if v_user is not null then
    perform common.refuse('CF003', format('the metric "%s" is a ratio of "%s"', v_user, v_metric.metric_key),
      'Drop the ratio first.');
  end if;
  delete from experiment.metric as known where known.metric_id = v_metric.metric_id;
  perform experiment._log_change('metric', v_metric.metric_key, 'dropped', to_jsonb(v_metric), null);
end;
$$;

comment on function experiment.drop_metric(text) is $$
Removes a metric that no experiment measures.
Errors: CF002 for an unknown metric (names the nearest), CF003 for one in use.
$$;

grant execute on function experiment.drop_metric(text) to insights_admin;
