/* A definer owned by insights_reader: it calls private functions, and reads the events of the signed-in person only. */
create or replace function analytics.my_chronotype(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null
)
returns analytics.own_chronotype
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_person_id constant bigint := track.current_person_id();
  v_own analytics.own_chronotype;
  v_days timestamptz[];
  v_active_hours bigint[];
begin
  v_own.zone := coalesce(
    my_chronotype.zone,
    (
      select known.name
      from track.current_trait(array[v_person_id], 'timezone') as trait
      join pg_timezone_names as known on known.name = trait.value #>> '{}'
    ),
    'UTC'
  );
  v_days := analytics._bounds('day', my_chronotype.since, my_chronotype.until, v_own.zone);

  with active as materialized (
    select distinct date_trunc('hour', event.occurred_at at time zone v_own.zone) as local_hour
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = v_person_id
      and event.occurred_at >= v_days[1]
      and event.occurred_at < v_days[cardinality(v_days)]
  ),

  by_hour as (
    select hour.number as hour, count(active.local_hour) as hour_count
    from generate_series(0, 23) as hour (number)
    left join active on extract(hour from active.local_hour) = hour.number
    group by hour.number
  )

  select
    array_agg(by_hour.hour_count order by by_hour.hour),
    (select count(distinct active.local_hour::date) from active)
  into v_active_hours, v_own.active_days
  from by_hour;

  v_own.active_hours := (select sum(entry.hour_count) from unnest(v_active_hours) as entry (hour_count));
  if v_own.active_hours > 0 then
    v_own.hour_shares := array(
      select entry.hour_count / v_own.active_hours::float8
      from unnest(v_active_hours) with ordinality as entry (hour_count, hour)
      order by entry.hour
    );
  end if;
  select found.mid_activity, found.concentration, found.p_value, found.chronotype
  into v_own.mid_activity, v_own.concentration, v_own.p_value, v_own.chronotype
  from analytics._chronotype(v_active_hours, v_own.active_days) as found;
  return v_own;
end;
$$;

alter function analytics.my_chronotype(timestamptz, timestamptz, text) owner to insights_reader;

comment on function analytics.my_chronotype(timestamptz, timestamptz, text) is $$
Returns at which hours of the day the signed-in person is active, and her chronotype.
An active hour is an hour of a day with an event of hers that is not automatic, in `zone`; null: in the zone that her
clients sent last (trait `timezone`), and UTC without one. The period is extended to whole days of the zone.
Mid-activity is the circular mean of the active hours. The chronotype is that of Horne and Ostberg (1976), by the
answers to question 18 of their questionnaire (the time of day of the best peak) applied to mid-activity:
`definitely_morning` from 5:00, `moderately_morning` from 8:00, `intermediate` from 10:00, `moderately_evening` from
17:00, and `definitely_evening` from 22:00 to 5:00; `undetermined` when Rayleigh's test does not reject that the hours
are uniform (5 %). It describes when she learns here, which also depends on her work and the timetable, and not when she
sleeps. Errors: CF001 for a period, CF002 for an unknown zone (names the nearest), CF008 for more than 10,000 days.
$$;

grant execute on function analytics.my_chronotype(timestamptz, timestamptz, text) to insights_learner;
