create or replace function analytics.find_anomalies(name text)
returns setof analytics.trend_anomaly
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
as $$
declare
  v_watch analytics.trend_watch;
  v_since timestamptz;
begin
  -- An invoker: the figures are those of the caller, and the row policies of the tables apply.
  select trend_watch.*
  into v_watch
  from analytics.trend_watch
  where trend_watch.name = find_anomalies.name
  -- Two workers at once would insert the same rows.
  for update;
  if not found then
    perform common.refuse(
      'CF002', format('no trend "%s" is watched', coalesce(left(find_anomalies.name, 100), 'null')),
      'The names are in analytics.trend_watch.'
    );
  end if;

  -- Events that arrive late change the buckets of the last days.
  v_since := common.add_buckets(now(), v_watch.bucket, -7, v_watch.zone);
  delete from analytics.trend_anomaly
  where trend_anomaly.name = v_watch.name
    and (trend_anomaly.bucket_start > v_since or trend_anomaly.bucket_start < now() - interval '400 days');
  insert into analytics.trend_anomaly (name, bucket_start, figure, expected, lower_bound, upper_bound, score)
  select
    v_watch.name, compared.bucket_start, compared.figure, compared.expected, compared.lower_bound,
    compared.upper_bound, compared.score
  from analytics.anomalies(
    event_name => v_watch.event_name,
    bucket => v_watch.bucket,
    since => v_since,
    zone => v_watch.zone,
    measure => v_watch.measure,
    item => v_watch.item,
    among => v_watch.among,
    season => v_watch.season,
    history => v_watch.history,
    threshold => v_watch.threshold
  ) as compared
  where compared.is_anomaly
    and compared.bucket_start > v_since
    and (v_watch.direction = 'both' or (v_watch.direction = 'above') = (compared.figure > compared.expected));

  update analytics.trend_watch
  set checked_at = now()
  where trend_watch.name = v_watch.name;
  return query
  select trend_anomaly.*
  from analytics.trend_anomaly
  where trend_anomaly.name = v_watch.name
    and trend_anomaly.bucket_start > v_since
  order by trend_anomaly.bucket_start;
end;
$$;

comment on function analytics.find_anomalies(text) is $$
@behavior -*
Compares the last seven complete buckets of a watched trend with what its past predicts, and stores the anomalies.
Returns them. Those that earlier calls stored for these buckets are replaced, because events can arrive late; those
older than 400 days are deleted. Called by the task `find_anomalies`.
Errors: CF002 for a trend that is not watched, and those of `analytics.anomalies`, such as for an item or a set that
does not exist any more.
$$;

grant execute on function analytics.find_anomalies(text) to insights_admin, insights_worker;
