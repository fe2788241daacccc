create or replace function analytics._trend_of_groups(
  event_type_id int, bounds timestamptz[], smallest_group int
)
returns table (bucket int, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_week constant interval := interval '7 days';
  -- Whole weeks, without those before and after all events.
  v_first_week constant timestamptz := date_trunc('week', greatest(
    bounds[1],
    (
      select least(
        (
          select min(presence.day)::timestamptz
          from track.presence
          where presence.event_type_id = _trend_of_groups.event_type_id
        ),
        (select min(stale.since) from track.stale)
      )
    )
  ));
  v_end_week constant timestamptz := v_week + date_trunc('week', least(
    bounds[cardinality(bounds)] - interval '1 microsecond',
    (
      select greatest(
        (
          select max(presence.day)::timestamptz
          from track.presence
          where presence.event_type_id = _trend_of_groups.event_type_id
        ),
        (select max(stale.until) from track.stale)
      )
    )
  ));
  v_small_days date[];
  v_days date[];
begin
  if v_first_week >= v_end_week then
    return;
  end if;

  select
    array_agg(day.day) filter (where kernel.counted_people < _trend_of_groups.smallest_group),
    coalesce(array_agg(day.day) filter (where kernel.counted_people >= _trend_of_groups.smallest_group), '{}')
  into v_small_days, v_days
  from analytics._trend(
    _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, interval '1 day'))
  ) as kernel
  cross join lateral (select v_first_week::date + kernel.bucket - 1 as day) as day;

  -- A bucket contains the weeks that are whole within it.
  v_days := v_days || array(
    select small.day
    from analytics._trend(
      _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, v_week)), v_small_days
    ) as week
    join unnest(v_small_days) as small (day) on (small.day - v_first_week::date) / 7 + 1 = week.bucket
    cross join lateral (select v_first_week + (week.bucket - 1) * v_week as week_start) as place
    where v_small_days is not null
      and week.counted_people >= _trend_of_groups.smallest_group
      and width_bucket(place.week_start, _trend_of_groups.bounds)
        = width_bucket(place.week_start + interval '6 days', _trend_of_groups.bounds)
  );

  return query
  select kernel.bucket, kernel.counted_events, kernel.counted_people, kernel.counted_engaged
  from analytics._trend(_trend_of_groups.event_type_id, _trend_of_groups.bounds, v_days) as kernel;
end;
$$;

comment on function analytics._trend_of_groups(int, timestamptz[], int) is $$
Returns the figures of counted people per bucket, so that no difference of buckets is that of a small group.
`bounds`: beginnings of days, UTC, as for `analytics._trend`.
A day with fewer than `smallest_group` people is in no figure by itself: the small days of a week (from Monday) count
together, in the buckets that contain the whole week, when they have at least `smallest_group` people together, and
otherwise nowhere.
$$;

grant execute on function analytics._trend_of_groups(int, timestamptz[], int) to insights_reader;
