create or replace function analytics._active_hours(
  course_id bigint,
  people bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  all_people bigint[],
  smallest_group int
)
returns table (person_id bigint, active_hours bigint[], active_days bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = course_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _active_hours.since, _active_hours.until, coalesce(_active_hours.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible tstzmultirange;
  v_queued record;
begin
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, _active_hours.course_id, null, v_bounds, _active_hours.smallest_group
    );
  end if;
  -- Of a part of the people, the days on which these and the others are groups, or there are no others.
  if cardinality(_active_hours.people) < cardinality(_active_hours.all_people) then
    v_visible := v_visible * (
      select coalesce(range_agg(tstzrange(v_days[active.day], v_days[active.day + 1])), '{}')
      from (
        select
          present.bucket as day, sum(bit_count(present.people & everyone.people)) as all_count,
          sum(bit_count(present.people & coalesce(chosen.people, b'0'::bit(4096)))) as person_count
        from analytics._presence(0, v_days, _active_hours.course_id) as present
        join analytics._bits_of(_active_hours.all_people) as everyone on everyone.block = present.block
        left join analytics._bits_of(_active_hours.people) as chosen on chosen.block = present.block
        group by present.bucket
      ) as active
      where active.person_count = active.all_count
        or least(active.person_count, active.all_count - active.person_count) >= _active_hours.smallest_group
    );
  end if;
  v_queued := track.queued_days('0001-01-01', 'infinity', _active_hours.people);
  return query
  -- Zones that PostgreSQL does not know are ignored.
  with local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(_active_hours.people, 'timezone') as trait
      where _active_hours.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  -- Of the given people and the period only: most journeys are those of others, or longer.
  used as (
    select sliced.person_id, unnest(sliced.occurred_at) as at, unnest(sliced.item_ids)::bigint as item_id
    from (
      select
        step.person_id,
        step.occurred_at[slice.before + 1:slice.until] as occurred_at,
        step.item_ids[slice.before + 1:slice.until] as item_ids
      from track.step
      cross join lateral (
        select
          width_bucket(v_bounds[1] - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(v_bounds[2] - interval '1 microsecond', step.occurred_at) as until
      ) as slice
      where step.person_id = any (_active_hours.people)
        and step.person_id <> all (coalesce(v_queued.people, '{}'))
        and not step.is_automatic
        and slice.before < slice.until
    ) as sliced

    union all

    select event.person_id, event.occurred_at, event.item_id
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_queued.people)
      and event.occurred_at >= v_bounds[1]
      and event.occurred_at < v_bounds[2]
  ),

  -- Local hours consist of quarters of an hour (in each zone, since 1972), of which there are far fewer than events.
  quarter as (
    select distinct
      used.person_id, date_bin('15 minutes', used.at, '2000-01-01 00:00Z') as quarter_start
    from used
    where (_active_hours.course_id is null or used.item_id = any (v_items))
      and (v_visible is null or used.at <@ v_visible)
  ),

  active as (
    select distinct
      quarter.person_id,
      date_trunc(
        'hour', quarter.quarter_start at time zone coalesce(_active_hours.zone, local.zone, 'UTC')
      ) as local_hour
    from quarter
    left join local on local.person_id = quarter.person_id
  ),

  by_hour as (
    select active.person_id, extract(hour from active.local_hour)::int as hour, count(*) as hour_count
    from active
    group by 1, 2
  ),

  day as (
    select active.person_id, count(distinct active.local_hour::date) as day_count
    from active
    group by active.person_id
  )

  select
    day.person_id, array_agg(coalesce(by_hour.hour_count, 0) order by hour.number), day.day_count
  from day
  cross join generate_series(0, 23) as hour (number)
  left join by_hour on by_hour.person_id = day.person_id and by_hour.hour = hour.number
  group by day.person_id, day.day_count;
end;
$$;

comment on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int
) is $$
Returns the active hours of people by hour of the day, from 0 to 23, and the number of their active days.
An active hour is an hour of a day with an event that is not automatic, of any item or of a course, in `zone`; null: in
the zone of each person, as in `analytics.hour_of_week`. People without such events have no row. `smallest_group`:
events of the periods that analysts see only (`analytics._visible_periods`); null: all. Where the people are not
`all_people`, these are days on which both they and the others are groups.
Errors: CF001 for a period, CF002 for an unknown zone, CF008 for more than 10,000 days.
$$;

grant execute on function analytics._active_hours(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int
)
to insights_reader;
