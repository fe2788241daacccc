create or replace function experiment.define_metric(
  metric_key text,
  type text,
  events text[] default null,
  description text default null,
  item text default null,
  property_filter jsonb default null,
  value_property text default null,
  numerator text default null,
  denominator text default null,
  quantile float8 default null,
  cap numeric default null,
  delay interval default '0',
  period interval default null,
  is_lower_better boolean default false
)
returns experiment.metric
language plpgsql
volatile
-- A definer: it writes the metrics and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The history does not depend on the settings of the session.
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_types constant text[] := '{proportion,mean,count,ratio,quantile,retention}';
  v_before experiment.metric;
  v_metric experiment.metric;
  v_user text;
begin
  perform experiment._check_key('a metric', define_metric.metric_key);
  v_metric.metric_key := define_metric.metric_key;
  v_metric.type := define_metric.type;
  if v_metric.type is null or v_metric.type <> all (v_types) then
    perform common.refuse(
      'CF001',
      format('the type of the metric is %s', coalesce('"' || left(define_metric.type, 100) || '"', 'null')),
      coalesce('Did you mean "' || common.nearest_name(define_metric.type, v_types) || '"?',
        'Use ' || array_to_string(v_types, ', ') || '.')
    );
  end if;
  v_metric.description := coalesce(
    nullif(btrim(define_metric.description), ''),
    initcap(define_metric.type) || ' of ' || left(
      coalesce(
        array_to_string(define_metric.events, ', '), define_metric.numerator || ' by ' || define_metric.denominator
      ),
      1000
    ),
    define_metric.type
  );
  perform experiment._check_description(v_metric.description);
  v_metric.property_filter := define_metric.property_filter;
  v_metric.value_property := define_metric.value_property;
  v_metric.quantile := define_metric.quantile;
  v_metric.cap := define_metric.cap;
  v_metric.delay := coalesce(define_metric.delay, '0');
  v_metric.period := define_metric.period;
  v_metric.is_lower_better := coalesce(define_metric.is_lower_better, false);
  perform experiment._check_metric(v_metric);

  perform experiment._begin_change();
  v_metric.event_type_ids := experiment._event_types(define_metric.events);
  if (v_metric.type = 'ratio') = (v_metric.event_type_ids is not null) then
    perform common.refuse(
      'CF001',
      format('a metric of the type %s has %s events', v_metric.type, coalesce(cardinality(v_metric.event_type_ids), 0)),
      case
        when v_metric.type = 'ratio' then 'Name two metrics: numerator and denominator.'
        else 'Give the names of events.'
      end
    );
  end if;
  if define_metric.item is not null then
    v_metric.item_id := (
      select coalesce(known.merged_item_id, known.item_id)
      from track.item as known
      where known.external_id = define_metric.item
    );
    if v_metric.item_id is null then
      perform experiment._refuse_unknown_name(
        'item',
        define_metric.item,
        array(
          select known.external_id
          from track.item as known
          where starts_with(known.external_id, left(define_metric.item, 2))
          order by known.external_id
          limit 1000
        ),
        'Give the external id of an item, as in track.item.'
      );
    end if;
  end if;
  if (define_metric.numerator is not null and define_metric.denominator is not null) <> (v_metric.type = 'ratio')
    or v_metric.type <> 'ratio' and num_nonnulls(define_metric.numerator, define_metric.denominator) > 0
  then
    perform common.refuse(
      'CF001',
      format(
        'numerator is %s and denominator is %s', coalesce(left(define_metric.numerator, 50), 'null'),
        coalesce(left(define_metric.denominator, 50), 'null')
      ),
      'A ratio has both, and other types have none.'
    );
  elsif v_metric.type = 'ratio' then
    v_metric.numerator_metric_id := experiment._ratio_part(define_metric.numerator);
    v_metric.denominator_metric_id := experiment._ratio_part(define_metric.denominator);
  end if;

  select * into v_before from experiment.metric as known where known.metric_key = v_metric.metric_key;
  v_metric.metric_id := v_before.metric_id;
  v_metric.created_at := v_before.created_at;
  if v_metric = v_before then
    return v_before;
  end if;
  if v_before.metric_id is not null
    and to_jsonb(v_metric) - 'description' <> to_jsonb(v_before) - 'description'
  then
    v_user := experiment._metric_user(v_before.metric_id, false);
    if v_user is not null then
      perform common.refuse(
        'CF003',
        format('the metric "%s" is measured by the experiment "%s"', v_before.metric_key, left(v_user, 100)),
        'The plan of an experiment is fixed when it starts: define another metric.'
      );
    end if;
  end if;

  insert into experiment.metric (
    metric_key, description, type, event_type_ids, item_id, property_filter, value_property, numerator_metric_id,
    denominator_metric_id, quantile, cap, delay, period, is_lower_better
  )
  select
    v_metric.metric_key, v_metric.description, v_metric.type, v_metric.event_type_ids, v_metric.item_id,
    v_metric.property_filter, v_metric.value_property, v_metric.numerator_metric_id, v_metric.denominator_metric_id,
    v_metric.quantile, v_metric.cap, v_metric.delay, v_metric.period, v_metric.is_lower_better
  on conflict on constraint metric_metric_key_key do update
  set
    description = excluded.description,
    type = excluded.type,
    event_type_ids = excluded.event_type_ids,
    item_id = excluded.item_id,
    property_filter = excluded.property_filter,
    value_property = excluded.value_property,
    numerator_metric_id = excluded.numerator_metric_id,
    denominator_metric_id = excluded.denominator_metric_id,
    quantile = excluded.quantile,
    cap = excluded.cap,
    delay = excluded.delay,
    period = excluded.period,
    is_lower_better = excluded.is_lower_better
  returning metric.* into v_metric;
  delete from experiment.metric_event where metric_event.metric_id = v_metric.metric_id;
  insert into experiment.metric_event (metric_id, event_type_id)
  select v_metric.metric_id, given.event_type_id
  from unnest(v_metric.event_type_ids) as given (event_type_id);
  perform experiment._log_change(
    'metric', v_metric.metric_key, 'defined',
    case when v_before.metric_id is not null then to_jsonb(v_before) end, to_jsonb(v_metric)
  );
  return v_metric;
end;
$$;

comment on function experiment.define_metric(
  text, text, text[], text, text, jsonb, text, text, text, float8, numeric, interval, interval, boolean
) is $$
Creates a metric, or changes one that no started experiment measures. See `experiment.metric` for the arguments.
`type`: `proportion`, `retention`, `count`, `mean`, `ratio` or `quantile`. `events`: their names; `item`: the name of
the item that contains them. `property_filter`: a condition on their properties in GrowthBook's form.
`numerator` and `denominator` of a ratio: names of metrics.
Errors: CF001 for arguments that are invalid or that the type does not use, CF002 for an unknown event, item or metric
(names the nearest), CF003 for a metric that a started experiment measures, CF008 for too long lists.
$$;

grant execute on function experiment.define_metric(
  text, text, text[], text, text, jsonb, text, text, text, float8, numeric, interval, interval, boolean
) to insights_admin;
