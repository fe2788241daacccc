create or replace function monitor.history(
  metric text,
  labels jsonb default '{}',
  since timestamptz default (now() at time zone 'UTC' - interval '1 day') at time zone 'UTC',
  until timestamptz default now(),
  bucket interval default '1 hour'
)
returns setof monitor.metric_bucket
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set intervalstyle to 'postgres'
rows 1000
as $$
declare
  v_most constant int := 100000;
  v_kind text;
  v_series int[];
begin
  perform common.check_period(history.since, history.until);
  if history.bucket between '1 minute' and '366 days' is not true
    or extract(month from history.bucket) <> 0
    or extract(year from history.bucket) <> 0
  then
    perform common.refuse('CF001', format('bucket is %s', coalesce(history.bucket::text, 'null')),
      'Give an interval from a minute to 366 days, not in months.');
  end if;
  if coalesce(jsonb_typeof(history.labels), 'null') <> 'object' then
    perform common.refuse('CF001', format('labels is %s', coalesce(left(history.labels::text, 100), 'null')),
      'Give an object such as {"task": "refresh"}, or {} for all series.');
  end if;
  v_kind := (select known.kind from monitor.metric as known where known.metric = history.metric);
  if v_kind is null then
    perform common.refuse(
      'CF002',
      format('there is no metric "%s"', coalesce(left(history.metric, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(history.metric, 200), array(select known.metric from monitor.metric as known)
        ) || '"? ',
        ''
      ) || 'The table monitor.metric lists the metrics.'
    );
  end if;
  v_series := array(
    select series.series_id
    from monitor.series
    where series.metric = history.metric
      and series.labels @> history.labels
  );
  if cardinality(v_series) * extract(epoch from history.until - history.since) / extract(epoch from history.bucket)
    > v_most
  then
    perform common.refuse(
      'CF008',
      format('the result would have more than %s rows', v_most),
      'Give a longer bucket, a shorter period, or labels.'
    );
  end if;

  return query
  with value as (
    select series.series_id, sample.sampled_at, element.value
    from monitor.sample
    -- The part of the array that contains the series; the others are not unpacked.
    cross join lateral unnest(
      sample.measured[(select min(id) from unnest(v_series) as id):(select max(id) from unnest(v_series) as id)]
    ) with ordinality as element (value, place)
    join unnest(v_series) as series (series_id)
      on series.series_id = element.place + (select min(id) from unnest(v_series) as id) - 1
    -- The value before the period too, from which a counter has risen.
    where sample.sampled_at >= history.since - interval '2 days'
      and sample.sampled_at < history.until
      and element.value is not null
  ),

  risen as (
    select value.series_id, value.sampled_at, value.value,
      case
        when v_kind = 'gauge' then null
        -- A counter that is less than before began at 0 again.
        when value.value < lag(value.value) over earlier then value.value
        else value.value - lag(value.value) over earlier
      end as rise
    from value
    window earlier as (partition by value.series_id order by value.sampled_at)
  )

  select series.labels, date_bin(history.bucket, risen.sampled_at, '2000-01-03 00:00Z') as started_at,
    case v_kind when 'gauge' then avg(risen.value) else sum(risen.rise) end,
    case v_kind when 'gauge' then min(risen.value) end,
    case v_kind when 'gauge' then max(risen.value) end,
    count(*)::int
  from risen
  join monitor.series using (series_id)
  where risen.sampled_at >= history.since
  group by series.series_id, 2
  order by series.labels, 2;
end;
$$;

comment on function monitor.history(text, jsonb, timestamptz, timestamptz, interval) is $$
Returns the values of a metric over time, by series and bucket.
Of a gauge: the mean of the samples, the least and the greatest; of a counter: its rise. `labels` selects the series
that have these labels. Buckets begin at midnight UTC, those of weeks on Monday. Buckets without a sample are left out.
Errors: CF001 for an invalid period, bucket or labels, CF002 for an unknown metric, CF008 for more than 100,000 rows.
$$;

grant execute on function monitor.history(text, jsonb, timestamptz, timestamptz, interval)
to insights_admin, insights_worker;
