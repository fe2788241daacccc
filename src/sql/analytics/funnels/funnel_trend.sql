/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_trend(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_trend_point
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
    _funnel_trend.steps, _funnel_trend.exclusions, _funnel_trend.step_order, _funnel_trend.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_trend.from_step, _funnel_trend.to_step);
  v_bounds constant timestamptz[] := analytics._bounds(
    _funnel_trend.bucket, _funnel_trend.since, _funnel_trend.until, _funnel_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  v_window constant interval := analytics._conversion_window(_funnel_trend.conversion_window);
begin
  if v_count * analytics._value_count(_funnel_trend.breakdown, _funnel_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;

  return query
  with attempt as materialized (
    select found.value, found.is_other, found.bucket, found.times
    -- The last part is for the later steps.
    from analytics._attempts_by_value(
      v_filters,
      v_bounds || date_trunc('day', v_bounds[v_count + 1] + v_window + interval '1 day'),
      _funnel_trend.step_order, v_window, _funnel_trend.among, _funnel_trend.breakdown, _funnel_trend.attribution,
      _funnel_trend.top_values, _funnel_trend.smallest_group
    ) as found
    where found.bucket <= v_count
  ),

  counted as (
    select
      attempt.value, attempt.is_other, attempt.bucket,
      count(*) filter (where attempt.times[_funnel_trend.from_step] is not null) as entered_count,
      count(*) filter (where attempt.times[v_to_step] is not null) as converted_count,
      percentile_cont(0.5) within group (
        order by attempt.times[v_to_step] - attempt.times[_funnel_trend.from_step]
      ) as median_time
    from attempt
    group by attempt.value, attempt.is_other, attempt.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.entered_count, counted.entered_count, _funnel_trend.smallest_group), 0
      )::bigint as entered_count,
      coalesce(
        analytics._shown(counted.converted_count, counted.converted_count, _funnel_trend.smallest_group), 0
      )::bigint as converted_count,
      analytics._shown_time(
        counted.median_time, counted.converted_count, _funnel_trend.smallest_group, counted.median_time
      ) as median_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel_trend.breakdown is not null
      union all
      select null, false where _funnel_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.entered_count,
    shown.converted_count,
    shown.converted_count::float8 / nullif(shown.entered_count, 0),
    shown.median_time,
    v_bounds[shown.bucket + 1] + v_window <= now(),
    _funnel_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

alter function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_trend`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_trend_shown(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_trend_point
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
  from analytics._funnel_trend(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_trend(
  steps jsonb,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_trend(jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, '
      || 'text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_trend(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_trend_shown(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the conversion of the people who entered a funnel in each bucket.
A person counts in each bucket of `since` until `until` (extended to whole buckets of the zone; weeks start on Monday)
in which she did the first step, with the attempt that began in it and went furthest. The later steps count within the
window, also after the bucket and after `until`, so that the figures of a bucket do not depend on the period; the
window of a bucket that is not complete (`is_complete`) is still open. In an unordered funnel, an attempt begins with
the first of its steps.
`from_step`, `to_step`: the rate is that of the people who did the one among those who did the other; `to_step` null:
the last step. The other arguments are those of `analytics.funnel`, and so are the rules and what analysts see:
figures of counted people, and in a bucket of small days, of whole weeks only.
Errors: as `analytics.funnel`, CF001 for steps in another order, CF008 for more than 100,000 buckets and values.
$$;

grant execute on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
