create or replace function analytics._people_by_times(counts bit(4096)[], most int)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_digit int;
  v_people bit(4096);
  v_result bigint[] := '{}';
begin
  for v_times in 1..most loop
    v_people := case when v_times >> cardinality(counts) = 0 then ~v_no_people else v_no_people end;
    v_digit := 1;
    while v_digit <= cardinality(counts) and v_people <> v_no_people loop
      v_people := v_people & case
        when v_times & (1 << (v_digit - 1)) <> 0 then counts[v_digit]
        else ~counts[v_digit]
      end;
      v_digit := v_digit + 1;
    end loop;
    v_result := v_result || bit_count(v_people);
  end loop;
  return v_result;
end;
$$;

comment on function analytics._people_by_times(bit[], int) is $$
Returns how many people of a block have the number 1, 2, … up to `most`, given their numbers (`analytics._bit_counts`).
$$;

grant execute on function analytics._people_by_times(bit[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._stickiness(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.stickiness_group
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
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_stickiness.event_name);
  v_item_id constant bigint := analytics._item_id(_stickiness.item);
  v_bounds constant timestamptz[] := analytics._bounds(
    _stickiness.bucket, _stickiness.since, _stickiness.until, _stickiness.zone
  );
  v_buckets constant int := cardinality(v_bounds) - 1;
begin
  if v_buckets > 1000 then
    perform common.refuse('CF008', format('there are %s buckets', v_buckets),
      'There can be 1,000. Give a shorter period, or a larger bucket.');
  end if;
  if _stickiness.or_more is null then
    perform common.refuse('CF001', 'or_more is null', 'Use true or false.');
  end if;

  return query
  with exact as (
    select by_block.value_key, counted.times::int as times, sum(counted.people) as person_count
    from (
      select
        present.value_key, present.block,
        analytics._people_by_times(analytics._bit_counts(present.people), v_buckets) as people
      from analytics._presence_in_buckets(
        v_event_type_id, v_bounds, v_item_id, _stickiness.among, _stickiness.breakdown, _stickiness.top_values,
        null, _stickiness.smallest_group
      ) as present
      group by present.value_key, present.block
    ) as by_block
    cross join lateral unnest(by_block.people) with ordinality as counted (people, times)
    group by by_block.value_key, counted.times
  ),

  summed as (
    select
      keys.value_key,
      number.times,
      case
        when _stickiness.or_more
          then sum(exact.person_count) over (partition by keys.value_key order by number.times desc)
        else exact.person_count
      end as person_count,
      sum(exact.person_count) over (partition by keys.value_key) as active_people
    from (
      select distinct exact.value_key from exact where _stickiness.breakdown is not null
      union all
      select 'none' where _stickiness.breakdown is null
    ) as keys
    cross join generate_series(1, v_buckets) as number (times)
    left join exact on exact.value_key = keys.value_key and exact.times = number.times
  ),

  shown as (
    select
      summed.value_key,
      summed.times,
      coalesce(
        analytics._shown(summed.person_count, summed.person_count::bigint, _stickiness.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(summed.active_people, summed.active_people::bigint, _stickiness.smallest_group), 0
      ) as active_people
    from summed
  )

  select
    case when shown.value_key like '=%' then substr(shown.value_key, 2) end,
    shown.value_key = 'other',
    shown.times,
    shown.person_count,
    shown.person_count / nullif(shown.active_people, 0),
    v_bounds[v_buckets + 1] <= now(),
    _stickiness.zone
  from shown
  where _stickiness.breakdown is null
    or shown.active_people > 0
  order by shown.value_key = 'other', shown.value_key = 'none', shown.value_key, shown.times;
end;
$$;

alter function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) is $$
Computes the result of `analytics.stickiness`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares are computed from the figures as shown.
$$;

grant execute on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._stickiness_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.stickiness_group
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
  from analytics._stickiness(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._stickiness_shown(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int)
owner to insights_reader;

comment on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns the result of `analytics.stickiness` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst;

create or replace function analytics.stickiness(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  or_more boolean default false,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.stickiness_group
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._stickiness(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._stickiness(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values, null
    );
  else
    return query
    select *
    from analytics._stickiness_shown(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values
    );
  end if;
end;
$$;

comment on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns how many people were active in exactly 1, 2, … buckets of a period.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. `or_more`: people
who were active in at least as many buckets. Buckets are whole ones of the zone, and weeks start on Monday. The
semantics are those of PostHog. `item`: events of the item and what it contains. `among`: people of these sets now,
such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 1,000 buckets.
$$;

grant execute on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
