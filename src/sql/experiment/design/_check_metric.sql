create or replace function experiment._check_metric(metric experiment.metric)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_metric constant experiment.metric := _check_metric.metric;
  -- Arguments that the type does not use.
  v_unused text;
begin
  v_unused := case
    when v_metric.quantile is not null and v_metric.type <> 'quantile' then 'quantile'
    when v_metric.cap is not null and v_metric.type not in ('mean', 'count') then 'cap'
    when v_metric.value_property is not null and v_metric.type not in ('mean', 'quantile') then 'value_property'
    when v_metric.type = 'ratio' and v_metric.property_filter is not null then 'property_filter'
    when v_metric.type = 'ratio' and v_metric.delay <> '0' then 'delay'
    when v_metric.type = 'ratio' and v_metric.period is not null then 'period'
  end;
  if v_unused is not null then
    perform common.refuse('CF001', format('a metric of the type %s has no %s', v_metric.type, v_unused),
      case when v_metric.type = 'ratio' then 'Give it to the numerator and the denominator.' else 'Leave it out.' end);
  elsif v_metric.type = 'quantile' and (
    v_metric.quantile is null or not (v_metric.quantile >= 0.001 and v_metric.quantile <= 0.999)
  ) then
    perform common.refuse('CF001', format('quantile is %s', coalesce(v_metric.quantile::text, 'null')),
      'Give a number from 0.001 to 0.999, such as 0.9.');
  elsif v_metric.type in ('mean', 'quantile') and v_metric.value_property is null then
    perform common.refuse('CF001', format('a metric of the type %s has no value_property', v_metric.type),
      'Name the property with the value, or use the type count for numbers of events.');
  elsif not length(v_metric.value_property) between 1 and 200 then
    perform common.refuse('CF008', format('value_property has %s characters', length(v_metric.value_property)),
      'Give from 1 to 200.');
  elsif not (v_metric.cap > 0 and v_metric.cap <= 1e15) then
    perform common.refuse('CF001', format('cap is %s', left(v_metric.cap::text, 100)),
      'Give a number greater than 0, at most 1e15.');
  elsif v_metric.type = 'retention' and v_metric.delay <= '0' then
    perform common.refuse('CF001', 'a metric of the type retention has no delay',
      'Give the time after the exposure from which a return counts, such as 7 days.');
  end if;
  perform experiment._check_duration('delay', v_metric.delay, '0');
  perform experiment._check_duration('period', v_metric.period, '1 second');
  if v_metric.property_filter is not null then
    if octet_length(v_metric.property_filter::text) > 10000 then
      perform common.refuse('CF008', 'property_filter has more than 10,000 bytes', 'Make it smaller.');
    end if;
    perform experiment._check_condition(v_metric.property_filter, null);
  end if;
end;
$$;

comment on function experiment._check_metric(experiment.metric) is $$
@behavior -*
Raises CF001 or CF008 for a metric whose parts do not fit together.
$$;
