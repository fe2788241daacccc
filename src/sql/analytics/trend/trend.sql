/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trend_exact(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_point
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
  select * from analytics._trend_points($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, null);
$$;

alter function analytics._trend_exact(text, text, timestamptz, timestamptz, int, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._trend_exact(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the result of `analytics.trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._trend_exact(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trend_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_point
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
  from analytics._trend_points(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._trend_shown(text, text, timestamptz, timestamptz, int, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._trend_shown(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the result of `analytics.trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._trend_shown(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_analyst;

create or replace function analytics.trend(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  window_size int default 7,
  zone text default 'UTC',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trend_exact(text, text, timestamptz, timestamptz, int, text, text, text, text, int)', 'execute'
  ) then
    return query
    select *
    from analytics._trend_exact(
      trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size, trend.zone, trend.item, trend.among,
      trend.breakdown, trend.top_values
    );
  else
    return query
    select *
    from analytics._trend_shown(
      trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size, trend.zone, trend.item, trend.among,
      trend.breakdown, trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.trend(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) is $$
Returns the number of events per time bucket, of the buckets from `since` until `until` (exclusive).
`event_name`: an event; null: any event that is not automatic. `item`: only events of the item and of what it contains;
with `event_name` null any use of it, as in `analytics.popular_items`, whose figures are the same. `bucket`: `minute`,
`hour`, `day`, `week` (from Monday), `month`, `quarter` or `year`, in `zone`, a name of the IANA time zone database:
days have 23 or 25 hours when its clocks change. `among`: an expression of sets of people as of now, such as
`segment.power & ~cohort.beta`.
The period is extended to whole buckets at both ends: the figures of a bucket do not depend on the arguments. Empty
buckets are zero. Each bucket has the numbers of events and distinct people, the engaged time of any page or of the item
(null for one event), the running average over the last `window_size` complete buckets, and the slope of the
least-squares line through them with its 95 % confidence interval, in events per bucket.
`breakdown`: a row for each bucket and value. `item`; `property.<name>`, a property of the event, whose values are the
text of the JSON scalar, so that 1 and "1" are the same, and are distinguished by their first 200 characters;
`trait.<name>`, a trait of the person as of now; `trait_then.<name>`, as it was at the time of the event; or
`set.<family>`, the sets whose names begin with it, as of now: a person may be in several. The value null is that of
events and people without one. The `top_values` values with most events are named, and all others are one row,
`is_other`. Values of `set` and `trait` are limited to the 100 with most people.
A bucket that has not ended yet is not complete (`is_complete`). Its numbers are those until now, and are excluded from
everything that compares buckets, because they differ by the length of the bucket. The average and slope in its own row
are those of the last complete bucket before it; null when there is none.
Of items, figures are those of counted people (set `counted`), and so is engaged time. Otherwise they include anonymous
browsers for admins and workers, who see exact figures. Analysts see figures of counted people, rounded by
`analytics._shown`; a bucket with fewer of them than `analytics.setting.smallest_group` reads as an empty one, and what
is derived from figures is computed from the figures as shown. Small days, hours and minutes, and small differences to
`among` and between values, are withheld (see `analytics._trend_by_value_of_groups`): buckets that are not days of UTC
consist of the hours that an analyst can see. The result includes every event that was stored when the function was
called; engaged times are as of the last refresh of the sessions.
Errors: CF002 for an unknown event, item, zone or set (names the nearest), CF001 for an invalid argument, CF008 for more
than 10,000 buckets or 200,000 rows.
$$;

grant execute on function analytics.trend(
  text, text, timestamptz, timestamptz, int, text, text, text, text, int
) to insights_analyst, insights_admin, insights_worker;
