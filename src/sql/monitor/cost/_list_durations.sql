create or replace function monitor._list_durations(starts timestamptz[], ends timestamptz[])
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with summed as (
    select period.starts_at, counted.place, sum(counted.calls)::bigint as calls
    from unnest($1, $2) as period (starts_at, ends_at)
    join monitor.latency
      on latency.hour_at >= period.starts_at
      and latency.hour_at < period.ends_at
      and latency.operation ~ '^recommend(Serve|For|My|Next|Trending)'
    cross join lateral unnest(latency.counts) with ordinality as counted (calls, place)
    group by period.starts_at, counted.place
  ),

  period as (
    select period.starts_at, sum(latency.seconds) as seconds
    from unnest($1, $2) as period (starts_at, ends_at)
    join monitor.latency
      on latency.hour_at >= period.starts_at
      and latency.hour_at < period.ends_at
      and latency.operation ~ '^recommend(Serve|For|My|Next|Trending)'
    group by period.starts_at
  ),

  histogram as (
    select summed.starts_at, array_agg(summed.calls order by summed.place) as counts, sum(summed.calls)::float8 as calls
    from summed
    group by summed.starts_at
    having sum(summed.calls) > 0
  )

  select
    histogram.starts_at, histogram.calls, period.seconds, 1000 * monitor._latency_quantile(histogram.counts, 0.5),
    1000 * monitor._latency_quantile(histogram.counts, 0.95)
  from histogram
  join period using (starts_at)
$$;

comment on function monitor._list_durations(timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the durations of requests for lists in each period, from `monitor.latency`.
Hours belong to the period in which they begin.
$$;

grant execute on function monitor._list_durations(timestamptz[], timestamptz[])
to insights_reader, insights_admin, insights_worker;

/* A definer owned by insights_reader: analysts may not read the durations of requests by hour. */
create or replace function monitor._list_durations_shown(starts timestamptz[], ends timestamptz[])
returns setof monitor.list_duration
language sql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
as $$
  with given as (
    select
      period.starts_at, date_trunc('week', greatest(period.starts_at, '2000-01-03')) as since,
      date_trunc('week', least(period.ends_at, now()) - interval '1 microsecond') + interval '7 days' as until
    from unnest($1, $2) as period (starts_at, ends_at)
    where period.ends_at > period.starts_at
    limit 1000
  )

  select
    given.starts_at, null::float8, monitor._shown_rate(measured.seconds, 5), monitor._shown_rate(measured.p50_ms, 5),
    monitor._shown_rate(measured.p95_ms, 5)
  from given
  cross join lateral monitor._list_durations(array[given.since], array[given.until]) as measured
$$;

alter function monitor._list_durations_shown(timestamptz[], timestamptz[]) owner to insights_reader;

comment on function monitor._list_durations_shown(timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the result of `monitor._list_durations` for analysts: of whole weeks, with two significant digits.
$$;

grant execute on function monitor._list_durations_shown(timestamptz[], timestamptz[]) to insights_analyst;
