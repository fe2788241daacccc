create or replace function monitor._list_durations(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with queued as (
    select
      serving_call.hour_at, serving_call.kind, serving_call.model_id,
      width_bucket(serving_call.seconds, common.duration_bounds()) + 1 as place, count(*) as calls,
      sum(serving_call.seconds) as seconds
    from recommend.serving_call
    group by 1, 2, 3, 4
  ),

  entry as (
    select
      serving_time.hour_at, serving_time.kind, nullif(serving_time.model_id, 0) as model_id, serving_time.counts,
      serving_time.seconds
    from recommend.serving_time
    where serving_time.hour_at >= (select min(starts_at) from unnest($1) as starts_at)
      and serving_time.hour_at < (select max(ends_at) from unnest($2) as ends_at)

    union all

    select
      queued.hour_at, queued.kind, queued.model_id,
      array_fill(0::bigint, array[queued.place - 1]) || queued.calls
        || array_fill(0::bigint, array[cardinality(common.duration_bounds()) + 1 - queued.place]),
      queued.seconds
    from queued
  ),

  named as (
    select
      period.starts_at, case when $4 then model.version::text end as name, counted.place, counted.calls,
      -- Once per entry.
      case counted.place when 1 then entry.seconds else 0 end as seconds
    from unnest($1, $2) as period (starts_at, ends_at)
    join entry
      on entry.hour_at >= period.starts_at
      and entry.hour_at < period.ends_at
    left join ml.model on model.model_id = entry.model_id
    cross join lateral unnest(entry.counts) with ordinality as counted (calls, place)
    where $3 is null
      or entry.kind = $3
  ),

  summed as (
    select
      named.starts_at, named.name, named.place, sum(named.calls)::bigint as calls, sum(named.seconds) as seconds
    from named
    group by named.starts_at, named.name, named.place
  ),

  histogram as (
    select
      summed.starts_at, summed.name, array_agg(summed.calls order by summed.place) as counts,
      sum(summed.calls)::float8 as calls, sum(summed.seconds) as seconds
    from summed
    group by summed.starts_at, summed.name
    having sum(summed.calls) > 0
  )

  select
    histogram.starts_at, histogram.name, histogram.calls, histogram.seconds,
    1000 * common.duration_quantile(histogram.counts, 0.5), 1000 * common.duration_quantile(histogram.counts, 0.95)
  from histogram
$$;

comment on function monitor._list_durations(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns how long recorded lists of a kind (null: of all kinds) took in each period, as in `recommend.serving_times`.
Hours belong to the period in which they begin. `by_model`: one row per version that ranked rows of the lists.
$$;

grant execute on function monitor._list_durations(timestamptz[], timestamptz[], text, boolean)
to insights_reader, insights_admin, insights_worker;

/* A definer owned by insights_reader: analysts may not read the durations of lists by hour. */
create or replace function monitor._list_durations_shown(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
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
    given.starts_at, measured.name, null::float8, monitor._shown_rate(measured.seconds, 5),
    monitor._shown_rate(measured.p50_ms, 5), monitor._shown_rate(measured.p95_ms, 5)
  from given
  cross join lateral monitor._list_durations(array[given.since], array[given.until], $3, $4) as measured
  where measured.call_count >= 20
$$;

alter function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) owner to insights_reader;

comment on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns the result of `monitor._list_durations` for analysts: of whole weeks, with two significant digits.
Periods with fewer than 20 lists are left out.
$$;

grant execute on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean)
to insights_analyst;
