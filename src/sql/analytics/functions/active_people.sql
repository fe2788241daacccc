/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._active_people(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_active_people.event_name);
  v_item_id constant bigint := analytics._item_id(_active_people.item);
  v_windows int[];
  v_asked timestamptz[];
  v_bounds timestamptz[];
  v_earlier_days int;
begin
  perform common.check_count('the number of windows', cardinality(_active_people.windows), 1, 10);
  perform common.check_count('a window', size.days, 1, 366)
  from unnest(_active_people.windows) as size (days);
  v_windows := array(select distinct size.days from unnest(_active_people.windows) as size (days));
  v_asked := analytics._bounds('day', _active_people.since, _active_people.until, _active_people.zone);
  if (cardinality(v_asked) - 1) * cardinality(v_windows)
    * analytics._value_count(_active_people.breakdown, _active_people.top_values) > 20000
  then
    perform common.refuse(
      'CF008',
      format('there are %s days with %s windows each', cardinality(v_asked) - 1, cardinality(v_windows)),
      'There can be 20,000 points. Give a shorter period, fewer windows or fewer values.'
    );
  end if;
  v_bounds := analytics._bounds(
    'day',
    (
      v_asked[1] at time zone _active_people.zone
        - ((select max(size.days) from unnest(v_windows) as size (days)) - 1) * interval '1 day'
    ) at time zone _active_people.zone,
    v_asked[cardinality(v_asked)],
    _active_people.zone
  );
  v_earlier_days := cardinality(v_bounds) - cardinality(v_asked);

  return query
  -- For analysts, the people of the small days of a week are at its last day.
  with present as (
    select by_value.value_key, 1 as days, by_value.bucket_number as day_number, by_value.block, by_value.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
      _active_people.top_values, null, null
    ) as by_value
    where _active_people.smallest_group is null

    union all

    select
      placed.value_key, placed.last_day - placed.first_day + 1, placed.last_day, placed.block, bit_or(placed.people)
    from (
      select
        of_group.value_key, of_group.block, of_group.people,
        width_bucket(of_group.start_at, v_bounds) as first_day,
        width_bucket(of_group.end_at - interval '1 microsecond', v_bounds) as last_day
      from analytics._presence_of_groups(
        v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
        _active_people.top_values, null, _active_people.smallest_group
      ) as of_group
      where _active_people.smallest_group is not null
        and of_group.start_at >= v_bounds[1]
        and of_group.end_at <= v_bounds[cardinality(v_bounds)]
    ) as placed
    group by 1, 2, 3, 4
  ),

  -- `series_key`: in one column, because the planner underestimates a join on three.
  named as materialized (
    select present.*, (present.value_key || ' ' || present.days || ' ' || present.block) collate "C" as series_key
    from present
  ),

  series as materialized (
    select
      listed.*,
      row_number() over () as series_number,
      dense_rank() over (order by listed.value_key)::int as value_number
    from (select distinct named.series_key, named.value_key, named.days, named.block from named) as listed
  ),

  keyed as materialized (
    select
      series.series_number * 100000 + named.day_number as day_key, series.value_number, named.days, named.day_number,
      named.people
    from named
    join series on series.series_key = named.series_key
  ),

  -- Each day of each block, also without people, for each window. `length`: the number of last days of the rows that
  -- the window contains.
  filled as (
    select
      series.series_number * 1000 + size.days as run,
      series.value_number,
      series.block,
      size.days as window_days,
      size.days - series.days + 1 as length,
      day.number as day_number,
      coalesce(keyed.people, v_no_people) as people
    from series
    join unnest(v_windows) as size (days)
      on size.days >= series.days
      and size.days > 1
    cross join generate_series(1, cardinality(v_bounds) - 1) as day (number)
    left join keyed on keyed.day_key = series.series_number * 100000 + day.number
  ),

  -- Days are divided into parts of the length of the window. A window is the end of a part and the beginning of the
  -- next one: the number of operations does not depend on the length (van Herk, Gil and Werman).
  part as (
    select
      parted.*,
      bit_or(parted.people) over (partition by parted.run, parted.part order by parted.day_number desc) as from_day
    from (select filled.*, (filled.day_number - 1) / filled.length as part from filled) as parted
  ),

  rolled as not materialized (
    select
      part.value_number, part.window_days, part.block, part.day_number,
      bit_or(part.people) over (partition by part.run, part.part order by part.day_number) | coalesce(
        -- In the order of the other window: one sort for both.
        lag(part.from_day, part.length - 1) over (partition by part.run order by part.part, part.day_number),
        v_no_people
      ) as people
    from part
  ),

  counted as (
    select keyed.value_number, 1 as window_days, keyed.day_number, sum(bit_count(keyed.people)::int) as person_count
    from keyed
    where keyed.days = 1
    group by keyed.value_number, keyed.day_number

    union all

    select rolled.value_number, rolled.window_days, rolled.day_number, sum(bit_count(rolled.people)::int)
    from rolled
    where rolled.day_number > v_earlier_days
      and _active_people.smallest_group is null
    group by rolled.value_number, rolled.window_days, rolled.day_number

    union all

    select combined.value_number, combined.window_days, combined.day_number, sum(bit_count(combined.people)::int)
    from (
      select rolled.value_number, rolled.window_days, rolled.day_number, rolled.block, bit_or(rolled.people) as people
      from rolled
      where rolled.day_number > v_earlier_days
        and _active_people.smallest_group is not null
      group by rolled.value_number, rolled.window_days, rolled.day_number, rolled.block
    ) as combined
    group by combined.value_number, combined.window_days, combined.day_number
  ),

  shown as (
    select
      keys.value_key,
      size.days as window_days,
      day.number as day_number,
      coalesce(
        case
          when _active_people.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _active_people.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct series.value_key, series.value_number from series where _active_people.breakdown is not null
      union all
      select 'none', 1 where _active_people.breakdown is null
    ) as keys
    cross join (select distinct listed.days from unnest(v_windows || 1) as listed (days)) as size
    cross join generate_series(v_earlier_days + 1, cardinality(v_bounds) - 1) as day (number)
    left join counted
      on counted.value_number = keys.value_number
      and counted.window_days = size.days
      and counted.day_number = day.number
  )

  select
    v_bounds[point.day_number],
    case when point.value_key like '=%' then substr(point.value_key, 2) end,
    point.value_key = 'other',
    point.window_days,
    point.person_count,
    point.person_of_day::float8 / nullif(point.person_count, 0),
    v_bounds[point.day_number + 1] <= now(),
    _active_people.zone
  from (
    select
      shown.*,
      first_value(shown.person_count)
        over (partition by shown.value_key, shown.day_number order by shown.window_days) as person_of_day,
      max(shown.person_count) over (partition by shown.value_key) as largest
    from shown
  ) as point
  where point.window_days = any (v_windows)
    and (_active_people.breakdown is null or point.largest > 0)
  order by
    point.value_key = 'other', point.value_key = 'none', point.value_key, point.window_days, point.day_number;
end;
$$;

alter function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) is $$
Computes the result of `analytics.active_people`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. The stickiness is computed from the figures as shown.
$$;

grant execute on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._active_people_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.active_people_point
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
  from analytics._active_people(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._active_people_shown(text, timestamptz, timestamptz, text, int[], text, text, text, int)
owner to insights_reader;

comment on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
) is $$
Returns the result of `analytics.active_people` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
)
to insights_analyst;

create or replace function analytics.active_people(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  windows int[] default '{1,7,30}',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._active_people(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values, null
    );
  else
    return query
    select *
    from analytics._active_people_shown(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values
    );
  end if;
end;
$$;

comment on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int) is $$
Returns the daily, weekly and monthly active people of each day: distinct people of the last 1, 7 and 30 days.
There is one row for each day from `since` until `until` and each of the `windows`, a number of days that end with this
day. `stickiness` is the number of active people of the day in proportion to those of the window: DAU/MAU with 30 days.
Active are people with the event `event_name` (null: any event that is not automatic). Days are whole ones of the zone.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`. The small
days of a week count in windows that contain the whole week.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 20,000 days of windows and values.
$$;

grant execute on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
