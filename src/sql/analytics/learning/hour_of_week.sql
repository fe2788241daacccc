/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.week_hour
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
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_hour_of_week.breakdown, _hour_of_week.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('top_values', _hour_of_week.top_values, 1, 100);
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_hour_of_week.among, _hour_of_week.smallest_group) as member;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id, coalesce(_hour_of_week.zone, local.zone, 'UTC') as zone, unnest(journey.occurred_at) as at,
      unnest(journey.item_ids) as item_id
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
  ),

  -- Hours since a Monday, which are computed faster than the weekday and the hour of each event.
  by_person as materialized (
    select
      happened.person_id,
      case when v_by_day then width_bucket(happened.at, v_days) else 0 end as day,
      (floor(date_part('epoch', happened.at at time zone happened.zone - timestamp '0001-01-01') / 3600)::bigint % 168)
        ::int as week_hour,
      count(*) as event_count
    from happened
    where (v_item_id is null or happened.item_id = any (v_items))
      and (v_visible is null or happened.at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _hour_of_week.breakdown, _hour_of_week.top_values, _hour_of_week.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
  ),

  -- One row per value, person and hour: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.week_hour, by_person.person_id, by_person.event_count
    from by_person
    where _hour_of_week.breakdown is null

    union all

    select
      part.value, part.is_other, by_person.week_hour, by_person.person_id,
      sum(by_person.event_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _hour_of_week.breakdown is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.week_hour, sum(valued.event_count) as event_count,
      count(*) as person_count
    from valued
    group by valued.value, valued.is_other, valued.week_hour
  ),

  shown as (
    select
      every.value, every.is_other, weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _hour_of_week.breakdown is not null
      union all
      select null, false where _hour_of_week.breakdown is null
    ) as every
    cross join generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted
      on counted.value is not distinct from every.value
      and counted.is_other = every.is_other
      and counted.week_hour = 24 * (weekday.number - 1) + hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.weekday, shown.hour;
end;
$$;

alter function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
owner to insights_reader;

comment on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int) is $$
Computes the result of `analytics.hour_of_week`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
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
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values, null
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
