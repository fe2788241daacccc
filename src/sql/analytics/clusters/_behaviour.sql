create or replace function analytics._behaviour(since date, until date)
returns table (person_id bigint, features float8[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := _behaviour.since::timestamptz;
  v_until constant timestamptz := _behaviour.until::timestamptz;
  -- Counted people who are not excluded, and may be profiled.
  v_people constant analytics.people_block[] := analytics._profiled(
    array(select row(member.block, member.people)::analytics.people_block from analytics._members(null, 1) as member)
  );
begin
  return query
  -- Zones that PostgreSQL does not know are ignored.
  with local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  member as materialized (
    select listed.block, listed.people
    from unnest(v_people) as listed
  ),

  bound as (
    select
      step.person_id, step.occurred_at, step.item_ids, event_type.name ~ '(Submitted|Completed)$' as is_completion,
      coalesce(local.zone, 'UTC') as zone,
      -- Positions in the ascending times by binary search.
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) + 1 as low,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as high
    from track.step
    join track.event_type on event_type.event_type_id = step.event_type_id and not event_type.is_heartbeat
    join member
      on member.block = step.person_id / 4096
      and get_bit(member.people, (step.person_id % 4096)::int) <> 0
    left join local on local.person_id = step.person_id
    where not step.is_automatic
      and step.since >= date_trunc('year', _behaviour.since)::date
      and step.since < _behaviour.until
  ),

  used as materialized (
    select
      bound.person_id, place.item_id, bound.is_completion,
      place.at::date - _behaviour.since as day,
      date_trunc('hour', place.at at time zone bound.zone) as local_hour
    from bound
    cross join lateral unnest(
      bound.occurred_at[bound.low:bound.high], bound.item_ids[bound.low:bound.high]
    ) as place (at, item_id)
  ),

  gap as (
    select
      day.person_id, count(*) as active_days,
      max(greatest(day.day - day.previous - 1, case when day.is_last then period.days - 1 - day.day end)) as longest_gap
    from (
      select
        distinct_day.person_id, distinct_day.day,
        lag(distinct_day.day, 1, -1) over of_person as previous,
        lead(distinct_day.day) over of_person is null as is_last
      from (select distinct used.person_id, used.day from used) as distinct_day
      window of_person as (partition by distinct_day.person_id order by distinct_day.day)
    ) as day
    cross join (select _behaviour.until - _behaviour.since as days) as period
    group by day.person_id
  ),

  hour as (
    select
      active.person_id,
      count(*) as hours,
      avg((extract(isodow from active.local_hour) >= 6)::int) as weekend_share,
      avg((extract(hour from active.local_hour) >= 22 or extract(hour from active.local_hour) < 6)::int) as night_share,
      sum(cosd(15 * extract(hour from active.local_hour)::float8)) ^ 2
        + sum(sind(15 * extract(hour from active.local_hour)::float8)) ^ 2 as resultant
    from (select distinct used.person_id, used.local_hour from used) as active
    group by active.person_id
  ),

  item as (
    select
      used.person_id,
      count(distinct used.item_id) as items,
      count(distinct used.item_id) filter (where used.is_completion) as completions
    from used
    where used.item_id <> 0
    group by used.person_id
  ),

  session as (
    select
      session.person_id, count(*) as sessions, sum(extract(epoch from session.engaged)) / 60 as engaged_minutes
    from track.session
    where session.started_at >= v_since
      and session.started_at < v_until
    group by session.person_id
  )

  select
    gap.person_id,
    array[
      gap.active_days,
      gap.longest_gap,
      coalesce(session.sessions, 0) / gap.active_days::float8,
      coalesce(session.engaged_minutes, 0) / gap.active_days,
      coalesce(item.items, 0),
      coalesce(item.completions, 0),
      hour.weekend_share,
      hour.night_share,
      -- Over pairs of different hours: of n directions with the resultant R, (R² - n) / (n (n - 1)).
      coalesce((hour.resultant - hour.hours) / nullif(hour.hours * (hour.hours - 1), 0), 0)
    ]::float8[]
  from gap
  join hour on hour.person_id = gap.person_id
  left join item on item.person_id = gap.person_id
  left join session on session.person_id = gap.person_id
  where gap.person_id <> 0;
end;
$$;

comment on function analytics._behaviour(date, date) is $$
Returns the features of behaviour of the people who are active in a period, as of the last refresh of their journeys.
Of counted people, without those who have opted out of `analytics`. See `analytics._behaviour_features`.
$$;
