create or replace function analytics._trend_of_groups(
  event_type_id int, bounds timestamptz[], smallest_group int, of_item_id bigint default null
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
  v_known record;
  v_first_week timestamptz;
  v_end_week timestamptz;
  v_small_days date[];
  v_days date[];
begin
  -- Whole weeks, without those before and after all events.
  select min(known.first_day) as first_day, max(known.last_day) as last_day
  into v_known
  from (
    select min(presence.day)::timestamptz as first_day, max(presence.day)::timestamptz as last_day
    from track.presence
    where presence.event_type_id = _trend_of_groups.event_type_id
      and _trend_of_groups.of_item_id is null
    union all
    select min(item_month.month)::timestamptz, max(item_month.month)::timestamptz + interval '31 days'
    from track.item_ancestor as ancestor
    join track.item_month on item_month.item_id = ancestor.item_id
    where ancestor.ancestor_item_id = _trend_of_groups.of_item_id
    union all
    select min(stale.since), max(stale.until) from track.stale
  ) as known;
  v_first_week := date_trunc('week', greatest(bounds[1], v_known.first_day));
  v_end_week := v_week
    + date_trunc('week', least(bounds[cardinality(bounds)] - interval '1 microsecond', v_known.last_day));
  if v_known.first_day is null or v_first_week >= v_end_week then
    return;
  end if;

  select
    array_agg(day.day) filter (where kernel.counted_people < _trend_of_groups.smallest_group),
    coalesce(array_agg(day.day) filter (where kernel.counted_people >= _trend_of_groups.smallest_group), '{}')
  into v_small_days, v_days
  from analytics._trend(
    _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, interval '1 day')),
    of_item_id => _trend_of_groups.of_item_id
  ) as kernel
  cross join lateral (select v_first_week::date + kernel.bucket - 1 as day) as day;

  -- A bucket contains the weeks that are whole within it.
  v_days := v_days || array(
    select small.day
    from analytics._trend(
      _trend_of_groups.event_type_id, array(select generate_series(v_first_week, v_end_week, v_week)), v_small_days,
      _trend_of_groups.of_item_id
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
  from analytics._trend(
    _trend_of_groups.event_type_id, _trend_of_groups.bounds, v_days, _trend_of_groups.of_item_id
  ) as kernel;
end;
$$;

comment on function analytics._trend_of_groups(int, timestamptz[], int, bigint) is $$
Returns the figures of counted people per bucket, so that no difference of buckets is that of a small group.
`bounds`: beginnings of days, UTC, as for `analytics._trend`, and so is `of_item_id`.
A day with fewer than `smallest_group` people is in no figure by itself: the small days of a week (from Monday) count
together, in the buckets that contain the whole week, when they have at least `smallest_group` people together, and
otherwise nowhere.
$$;

grant execute on function analytics._trend_of_groups(int, timestamptz[], int, bigint) to insights_reader;
