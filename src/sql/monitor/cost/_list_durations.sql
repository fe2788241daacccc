create or replace function monitor._list_histograms(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean, kept_names text[], kept_weeks timestamptz[]
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
  with entry as (
    select
      serving_time.hour_at, serving_time.kind, nullif(serving_time.model_id, 0) as model_id, counted.place,
      counted.calls,
      -- Once per row.
      case counted.place when 1 then serving_time.items else 0 end as items,
      case counted.place when 1 then serving_time.seconds else 0 end as seconds
    from recommend.serving_time
    cross join lateral unnest(serving_time.counts) with ordinality as counted (calls, place)
    where serving_time.hour_at >= (select min(starts_at) from unnest($1) as starts_at)
      and serving_time.hour_at < (select max(ends_at) from unnest($2) as ends_at)

    union all

    select
      serving_call.hour_at, serving_call.kind, serving_call.model_id, common.duration_bucket(serving_call.seconds), 1,
      serving_call.item_count, serving_call.seconds
    from recommend.serving_call
  ),

  named as (
    select
      period.starts_at, case when $4 then model.version::text end as name, entry.place, entry.calls, entry.items,
      entry.seconds, date_bin('7 days', entry.hour_at, '2000-01-03 00:00Z') as week
    from unnest($1, $2) as period (starts_at, ends_at)
    join entry
      on entry.hour_at >= period.starts_at
      and entry.hour_at < period.ends_at
    left join ml.model on model.model_id = entry.model_id
    where $3 is null
      or entry.kind = $3
  ),

  summed as (
    select
      named.starts_at, named.name, named.place, sum(named.calls)::bigint as calls, sum(named.items)::float8 as items,
      sum(named.seconds) as seconds
    from named
    where $5 is null
      or (coalesce(named.name, ''), named.week) in (select * from unnest($5, $6))
    group by named.starts_at, named.name, named.place
  ),

  histogram as (
    select
      summed.starts_at, summed.name,
      array(
        select coalesce(max(counted.calls), 0)
        from generate_series(1, cardinality(common.duration_bounds()) + 1) as place
        left join unnest(array_agg(summed.place), array_agg(summed.calls)) as counted (place, calls) using (place)
        group by place
        order by place
      ) as counts,
      sum(summed.calls)::float8 as calls, sum(summed.items) as items, sum(summed.seconds) as seconds
    from summed
    group by summed.starts_at, summed.name
    having sum(summed.calls) > 0
  )

  select
    histogram.starts_at, histogram.name, histogram.calls, histogram.seconds,
    1000 * common.duration_quantile(histogram.counts, 0.5), 1000 * common.duration_quantile(histogram.counts, 0.95),
    histogram.items
  from histogram
$$;

comment on function monitor._list_histograms(timestamptz[], timestamptz[], text, boolean, text[], timestamptz[]) is $$
@behavior -*
Computes the result of `monitor._list_durations`, of all weeks, or of pairs of a version ('' without one) and a week.
$$;

grant execute on function
monitor._list_histograms(timestamptz[], timestamptz[], text, boolean, text[], timestamptz[])
to insights_reader, insights_admin, insights_worker;

create or replace function monitor._list_durations(
  starts timestamptz[], ends timestamptz[], kind text, by_model boolean
)
returns setof monitor.list_duration
language sql
stable
set search_path to pg_catalog, pg_temp
as $$
  select * from monitor._list_histograms($1, $2, $3, $4, null, null)
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
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_mergejoin to off
as $$
declare
  v_smallest_group constant int := (select setting.smallest_group from analytics.setting);
  v_starts timestamptz[];
  v_sinces timestamptz[];
  v_untils timestamptz[];
  v_names text[];
  v_weeks timestamptz[];
begin
  -- Whole weeks, so that two periods differ by a week at least.
  select
    array_agg(given.starts_at), array_agg(given.since),
    array_agg(date_trunc('week', least(given.ends_at, now()) - interval '1 microsecond') + interval '7 days')
  into v_starts, v_sinces, v_untils
  from (
    select
      period.starts_at, period.ends_at, date_trunc('week', greatest(period.starts_at, '2000-01-03')) as since
    from unnest(_list_durations_shown.starts, _list_durations_shown.ends) as period (starts_at, ends_at)
    where period.ends_at > period.starts_at
    limit 1000
  ) as given;

  -- A week in which few counted people were served lists is left out, however many lists there are.
  select coalesce(array_agg(kept.name), '{}'), coalesce(array_agg(kept.week), '{}')
  into v_names, v_weeks
  from (
    select person.name, person.week
    from (
      select
        case when _list_durations_shown.by_model then coalesce(model.version::text, '') else '' end as name,
        date_bin('7 days', impression.listed_at, '2000-01-03 00:00Z') as week,
        impression.person_id
      from recommend.impression
      join track.item as named on named.item_id = impression.item_id
      join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
      join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
      left join ml.model on model.model_id = impression.model_id
      where impression.listed_at >= (select min(since) from unnest(v_sinces) as since)
        and impression.listed_at < (select max(until) from unnest(v_untils) as until)
        and impression.is_served
        and get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
        and item.kind = _list_durations_shown.kind
      group by 1, 2, 3
    ) as person
    group by person.name, person.week
    having count(*) >= v_smallest_group
  ) as kept;

  return query
  select
    given.starts_at, measured.name, null::float8,
    monitor._shown_rate(measured.seconds, v_smallest_group),
    monitor._shown_rate(measured.p50_ms, v_smallest_group),
    monitor._shown_rate(measured.p95_ms, v_smallest_group), null::float8
  from unnest(v_starts, v_sinces, v_untils) as given (starts_at, since, until)
  cross join lateral monitor._list_histograms(
    array[given.since], array[given.until], _list_durations_shown.kind, _list_durations_shown.by_model, v_names,
    v_weeks
  ) as measured;
end;
$$;

alter function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) owner to insights_reader;

comment on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean) is $$
@behavior -*
Returns the result of `monitor._list_durations` of a kind for analysts: of whole weeks, with two significant digits.
Weeks in which fewer than `analytics.setting.smallest_group` counted people were served lists are left out.
$$;

grant execute on function monitor._list_durations_shown(timestamptz[], timestamptz[], text, boolean)
to insights_analyst;
