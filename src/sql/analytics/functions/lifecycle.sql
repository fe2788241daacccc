/*
 * A definer owned by insights_reader: it reads the activity of people, for those who may read it.
 * The active people of a bucket, compared with those before by `&` and `& ~`.
 */
create or replace function analytics._lifecycle(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.lifecycle_bucket
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
  v_event_type_id constant int := analytics._event_type_id(_lifecycle.event_name);
  v_item_id constant bigint := analytics._item_id(_lifecycle.item);
  v_bounds timestamptz[];
  v_with_past timestamptz[];
begin
  v_bounds := analytics._bounds(_lifecycle.bucket, _lifecycle.since, _lifecycle.until, _lifecycle.zone);
  if _lifecycle.breakdown is not null
    and (cardinality(v_bounds) - 1) * analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values) > 200000
  then
    perform common.refuse(
      'CF008',
      format(
        '%s buckets of %s values are more than 200000 rows',
        cardinality(v_bounds) - 1, analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values)
      ),
      'Give a shorter period, a larger bucket, or fewer top_values.'
    );
  end if;
  -- Bucket 1 is all that was before the previous bucket, which is bucket 2.
  v_with_past := array[
    '-infinity',
    (
      analytics._bounds(_lifecycle.bucket, v_bounds[1] - interval '1 microsecond', v_bounds[1], _lifecycle.zone)
    )[1]
  ] || v_bounds;

  return query
  with active as materialized (
    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_with_past, v_item_id, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values,
      null, _lifecycle.smallest_group
    ) as present
  ),

  together as (
    select
      activity.value_key, activity.bucket_number, activity.block,
      bit_or(activity.people) filter (where activity.is_asked) as active,
      bit_or(activity.people) as seen
    from (
      select active.*, true as is_asked
      from active

      union all

      -- People are not new when they did anything before.
      select present.value_key, present.bucket_number, present.block, present.people, false
      from analytics._presence_in_buckets(
        0, v_with_past, null, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values, null,
        _lifecycle.smallest_group
      ) as present
      where v_event_type_id <> 0
        or v_item_id is not null
    ) as activity
    group by activity.value_key, activity.bucket_number, activity.block
  ),

  compared as (
    select
      together.value_key,
      together.bucket_number,
      coalesce(together.active, v_no_people) as active,
      coalesce(
        bit_or(together.seen) over (in_order rows between unbounded preceding and 1 preceding), v_no_people
      ) as seen,
      case
        when lag(together.bucket_number) over in_order = together.bucket_number - 1
          then coalesce(lag(together.active) over in_order, v_no_people)
        else v_no_people
      end as previous
    from together
    window in_order as (partition by together.value_key, together.block order by together.bucket_number)
  ),

  counted as (
    select
      compared.value_key,
      compared.bucket_number,
      sum(bit_count(compared.active)::int) as active_people,
      sum(bit_count(compared.active & ~compared.seen)::int) as new_people,
      sum(bit_count(compared.active & compared.previous)::int) as returning_people,
      -- One column, because a join on two is by the first of them where the planner expects few rows.
      (compared.value_key || ' ' || compared.bucket_number) collate "C" as place
    from compared
    group by compared.value_key, compared.bucket_number
  ),

  filled as (
    select
      keys.value_key,
      number.bucket_number,
      coalesce(counted.new_people, 0) as new_people,
      coalesce(counted.returning_people, 0) as returning_people,
      coalesce(counted.active_people - counted.new_people - counted.returning_people, 0) as resurrecting_people,
      coalesce(lag(counted.active_people) over in_order, 0) - coalesce(counted.returning_people, 0) as dormant_people
    from (
      select distinct counted.value_key from counted where _lifecycle.breakdown is not null
      union all
      select 'none' where _lifecycle.breakdown is null
    ) as keys
    cross join generate_series(2, cardinality(v_bounds) + 1) as number (bucket_number)
    left join counted on counted.place = (keys.value_key || ' ' || number.bucket_number) collate "C"
    window in_order as (partition by keys.value_key order by number.bucket_number)
  ),

  shown as (
    select
      filled.value_key,
      filled.bucket_number - 2 as bucket_number,
      analytics._shown(filled.new_people, filled.new_people::bigint, _lifecycle.smallest_group)::bigint
        as new_people,
      analytics._shown(
        filled.returning_people, filled.returning_people::bigint, _lifecycle.smallest_group
      )::bigint as returning_people,
      analytics._shown(
        filled.resurrecting_people, filled.resurrecting_people::bigint, _lifecycle.smallest_group
      )::bigint as resurrecting_people,
      analytics._shown(filled.dormant_people, filled.dormant_people::bigint, _lifecycle.smallest_group)::bigint
        as dormant_people
    from filled
    where filled.bucket_number > 2
  )

  select
    v_bounds[bucketed.bucket_number],
    case when bucketed.value_key like '=%' then substr(bucketed.value_key, 2) end,
    bucketed.value_key = 'other',
    bucketed.new_people,
    bucketed.returning_people,
    bucketed.resurrecting_people,
    bucketed.dormant_people,
    v_bounds[bucketed.bucket_number + 1] <= now(),
    _lifecycle.zone
  from (
    select
      shown.*,
      max(shown.new_people + shown.returning_people + shown.resurrecting_people + shown.dormant_people)
        over (partition by shown.value_key) as largest
    from shown
  ) as bucketed
  where _lifecycle.breakdown is null
    or bucketed.largest > 0
  order by
    bucketed.value_key = 'other', bucketed.value_key = 'none', bucketed.value_key, bucketed.bucket_number;
end;
$$;

alter function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) is $$
Computes the result of `analytics.lifecycle`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._lifecycle_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.lifecycle_bucket
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
  from analytics._lifecycle(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.lifecycle` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.lifecycle(
  event_name text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.lifecycle_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._lifecycle(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values, null
    );
  else
    return query
    select *
    from analytics._lifecycle_shown(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values
    );
  end if;
end;
$$;

comment on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the active people of each bucket by their activity before: new, returning, resurrecting, and dormant people.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. They are `new` when
their first event of any kind is in it, `returning` when they were active in the previous bucket too, and otherwise
`resurrecting`. `dormant` are people who were active in the previous bucket and are not in this one. The semantics are
those of PostHog, with the first event as the time at which a person was created.
Buckets are whole ones of the zone, and weeks start on Monday. `item`: events of the item and what it contains. `among`:
people of these sets now, such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value
without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 10,000 buckets, or 200,000 rows with a breakdown.
$$;

grant execute on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
