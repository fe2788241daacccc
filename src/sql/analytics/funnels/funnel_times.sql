/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_times(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_times.steps, _funnel_times.exclusions, _funnel_times.step_order, _funnel_times.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_times.from_step, _funnel_times.to_step);
  v_days constant timestamptz[] := analytics._bounds('day', _funnel_times.since, _funnel_times.until, 'UTC');
  v_widths constant float8[] := array[
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400,
    14 * 86400, 28 * 86400, 91 * 86400, 365 * 86400
  ];
begin
  perform common.check_count('bins', _funnel_times.bins, 1, 1000);
  return query
  with converted as materialized (
    select
      attempt.value, attempt.is_other,
      extract(epoch from attempt.times[v_to_step] - attempt.times[_funnel_times.from_step])::float8 as seconds
    from analytics._attempts_by_value(
      v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_times.step_order,
      analytics._conversion_window(_funnel_times.conversion_window), _funnel_times.among, _funnel_times.breakdown,
      _funnel_times.attribution, _funnel_times.top_values, _funnel_times.smallest_group
    ) as attempt
    where attempt.times[v_to_step] is not null
  ),

  -- The bins of a value are those that its times need.
  scaled as (
    select part.value, part.is_other, fitting.width
    from (
      select
        converted.value, converted.is_other,
        percentile_cont(0.95) within group (order by converted.seconds) as most_seconds
      from converted
      group by converted.value, converted.is_other
      having count(*) >= coalesce(4.5 * nullif(_funnel_times.smallest_group, 1), 0)
    ) as part
    cross join lateral (
      select coalesce(min(known.width), v_widths[cardinality(v_widths)]) as width
      from unnest(v_widths) as known (width)
      where known.width * _funnel_times.bins > part.most_seconds
    ) as fitting
  ),

  counted as (
    select
      scaled.value, scaled.is_other, least(floor(converted.seconds / scaled.width), _funnel_times.bins)::int as bin,
      count(*) as person_count
    from scaled
    join converted
      on converted.value is not distinct from scaled.value
      and converted.is_other = scaled.is_other
    group by 1, 2, 3
  ),

  shown as (
    select
      scaled.value, scaled.is_other, scaled.width, listed.bin,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel_times.smallest_group), 0
      )::bigint as person_count
    from scaled
    cross join generate_series(0, _funnel_times.bins) as listed (bin)
    left join counted
      on counted.value is not distinct from scaled.value
      and counted.is_other = scaled.is_other
      and counted.bin = listed.bin
  ),

  placed as (
    select
      shown.*,
      max(shown.bin) filter (where shown.person_count > 0) over (partition by shown.is_other, shown.value) as last_bin
    from shown
  )

  select
    make_interval(secs => placed.bin * placed.width),
    case when placed.bin < _funnel_times.bins then make_interval(secs => (placed.bin + 1) * placed.width) end,
    placed.person_count,
    placed.value,
    placed.is_other
  from placed
  where placed.bin <= placed.last_bin
  order by placed.is_other, placed.value is null, placed.value, placed.bin;
end;
$$;

alter function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_times`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_times_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_time
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_times` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_times(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  bins int default 20,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, '
      || 'text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_times(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_times_shown(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns how long people took from one step of a funnel to another: a histogram.
There is one row for each bin from 0 to the largest time, without empty ones at the end. All bins have the same width,
the smallest of a list (1, 2, 5, 10, 15, 30 seconds or minutes, 1, 2, 3, 6, 12 hours, 1, 2, 7, 14, 28, 91, 365 days)
with which 95 % of the people are in at most `bins` bins; the last bin has no end when there are longer times. Those of
a value of `breakdown` are the bins of its people alone.
`from_step`, `to_step` (null: the last step) are steps that are not optional. The other arguments are those of
`analytics.funnel`, and so are the rules. Analysts see numbers of people as there, from 23 people on (as a quartile).
Errors: as `analytics.funnel`, CF001 for steps in another order and for other numbers of bins than 1 to 1,000.
$$;

grant execute on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
