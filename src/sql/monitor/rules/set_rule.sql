create or replace function monitor.set_rule(
  rule text,
  metric text,
  labels jsonb default '{}',
  direction text default 'above',
  threshold float8 default null,
  deviations float8 default 6,
  hold interval default '10 minutes',
  severity text default 'warning',
  owner text default 'operator',
  expects_data boolean default true,
  is_active boolean default true
)
returns monitor.rule
language plpgsql
volatile
-- A definer: rules are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_metric monitor.metric;
  v_rule monitor.rule;
begin
  if set_rule.rule ~ '^[a-z][a-z0-9_]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('rule is %s', coalesce('"' || left(set_rule.rule, 100) || '"', 'null')),
      'Give a name of lower-case letters, digits and "_", at most 63, such as slow_refresh.'
    );
  end if;
  if exists (select from monitor.health_check where health_check.health_check = set_rule.rule)
    or set_rule.rule = 'health'
  then
    perform common.refuse('CF003', format('"%s" is a check', set_rule.rule), 'Give the rule another name.');
  end if;
  select known.* into v_metric from monitor.metric as known where known.metric = set_rule.metric;
  if v_metric.metric is null then
    perform common.refuse(
      'CF002',
      format('there is no metric "%s"', coalesce(left(set_rule.metric, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          set_rule.metric, array(select known.metric from monitor.metric as known order by 1 limit 1000)
        ) || '"?',
        'The table monitor.metric lists the metrics.'
      )
    );
  end if;
  if jsonb_typeof(set_rule.labels) = 'object' is not true
    or length(set_rule.labels::text) > 2000
    or exists (
      select
      from jsonb_each(case jsonb_typeof(set_rule.labels) when 'object' then set_rule.labels else '{}' end)
        as label (name, value)
      where label.name <> all (v_metric.labels)
        or jsonb_typeof(label.value) <> 'string'
    )
  then
    perform common.refuse(
      'CF001',
      format('labels is %s', coalesce(left(set_rule.labels::text, 100), 'null')),
      format('Give an object of texts with labels of the metric: %s.',
        coalesce(nullif(array_to_string(v_metric.labels, ', '), ''), 'it has none'))
    );
  end if;
  if set_rule.direction in ('above', 'below', 'both') is not true
    or set_rule.direction = 'both' and set_rule.threshold is not null
  then
    perform common.refuse(
      'CF001',
      format('direction is %s', coalesce('"' || left(set_rule.direction, 100) || '"', 'null')),
      'Give "above" or "below", or, without a threshold, "both".'
    );
  end if;
  if set_rule.threshold in ('NaN', 'Infinity', '-Infinity') then
    perform common.refuse('CF001', format('threshold is %s', set_rule.threshold),
      'Give a number, or null to learn it.');
  end if;
  if set_rule.deviations between 2 and 100 is not true then
    perform common.refuse(
      'CF001', format('deviations is %s', coalesce(set_rule.deviations::text, 'null')), 'Give a number from 2 to 100.'
    );
  end if;
  if set_rule.hold between '0' and '1 day' is not true then
    perform common.refuse(
      'CF001', format('hold is %s', coalesce(set_rule.hold::text, 'null')), 'Give an interval of at most a day.'
    );
  end if;
  if set_rule.severity in ('warning', 'critical') is not true then
    perform common.refuse(
      'CF001', format('severity is %s', coalesce('"' || left(set_rule.severity, 100) || '"', 'null')),
      'Give "warning" or "critical".'
    );
  end if;
  perform monitor._check_owner(set_rule.owner);
  if (select count(*) from monitor.rule as known where known.rule <> set_rule.rule) >= 200 then
    perform common.refuse('CF008', 'there are 200 rules', 'Drop one first: monitor.drop_rule.');
  end if;

  insert into monitor.rule (
    rule, metric, labels, direction, threshold, deviations, hold, severity, owner, expects_data, is_active, set_by,
    set_at
  )
  values (
    set_rule.rule, set_rule.metric, set_rule.labels, set_rule.direction, set_rule.threshold, set_rule.deviations,
    set_rule.hold, set_rule.severity, set_rule.owner, coalesce(set_rule.expects_data, true),
    coalesce(set_rule.is_active, true), common.author(), clock_timestamp()
  )
  on conflict on constraint rule_pkey do update
  set
    metric = excluded.metric,
    labels = excluded.labels,
    direction = excluded.direction,
    threshold = excluded.threshold,
    deviations = excluded.deviations,
    hold = excluded.hold,
    severity = excluded.severity,
    owner = excluded.owner,
    expects_data = excluded.expects_data,
    is_active = excluded.is_active,
    set_by = excluded.set_by,
    set_at = excluded.set_at
  returning rule.* into v_rule;
  return v_rule;
end;
$$;

comment on function monitor.set_rule(
  text, text, jsonb, text, float8, float8, interval, text, text, boolean, boolean
) is $$
Stores a rule about a metric, in place of the one with this name if there is one.
It is a problem when the metric is `above`, `below` or on `both` sides of its bounds for the time `hold`, for each
series that has the given labels. The bound is `threshold`, or learned from the last four weeks (`monitor.rule`). Of a
counter, the increase per second is compared.
Errors: CF001 for an invalid argument, CF002 for an unknown metric (names the nearest), CF003 for the name of a check,
CF008 for more than 200 rules.
$$;

grant execute on function monitor.set_rule(
  text, text, jsonb, text, float8, float8, interval, text, text, boolean, boolean
) to insights_admin;
