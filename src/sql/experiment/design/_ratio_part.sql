create or replace function experiment._ratio_part(metric text)
returns int
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_metric constant experiment.metric := experiment._find_metric(_ratio_part.metric);
begin
  if v_metric.type in ('ratio', 'quantile') then
    perform common.refuse('CF001', format('the metric "%s" is of the type %s', v_metric.metric_key, v_metric.type),
      'A ratio is one of proportions, counts or means.');
  end if;
  return v_metric.metric_id;
end;
$$;

comment on function experiment._ratio_part(text) is $$
@behavior -*
Returns the key of a metric that can be the numerator or denominator of a ratio. Errors: CF001, CF002.
$$;
