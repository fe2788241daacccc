/*
 * A definer owned by insights_reader: it reads the activity of people, for those who may read it.
 * Each cell is the bits of a cohort and those of a period, combined by `&`.
 */
create or replace function analytics._retention(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.retention_cell
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
  v_event_type_id constant int := analytics._event_type_id(_retention.event_name);
  v_return_type_id constant int := analytics._event_type_id(_retention.return_event);
  v_item_id constant bigint := analytics._item_id(_retention.item);
  v_lengths int[];
  v_ends int[];
  v_last_period int;
  -- Whether each period is one bucket.
  v_is_plain constant boolean := _retention.brackets is null;
  v_cohorts timestamptz[];
  v_cohort_count int;
  v_bounds timestamptz[];
  v_local timestamp;
  v_values text[];
begin
  if _retention.brackets is null then
    perform common.check_count('periods', _retention.periods, 1, 1000);
    v_lengths := array_fill(1, array[_retention.periods]);
  else
    perform common.check_count('the number of brackets', cardinality(_retention.brackets), 1, 100);
    perform common.check_count('a bracket', bracket.length, 1, 1000)
    from unnest(_retention.brackets) as bracket (length);
    v_lengths := array(select unnest(_retention.brackets));
  end if;
  v_ends := array(
    select sum(listed.length) over (order by listed.number)
    from unnest(v_lengths) with ordinality as listed (length, number)
    order by listed.number
  );
  v_last_period := v_ends[cardinality(v_ends)];
  if _retention.first_time is null or _retention.or_after is null then
    perform common.refuse(
      'CF001',
      format('%s is null', case when _retention.first_time is null then 'first_time' else 'or_after' end),
      'Use true or false.'
    );
  end if;
  if _retention.reference is null or _retention.reference not in ('start', 'previous') then
    perform common.refuse(
      'CF001',
      format('reference is "%s"', left(_retention.reference, 100)),
      'Use start (shares of the cohort) or previous (shares of the previous period).'
    );
  end if;
  if _retention.mean not in ('weighted', 'simple') then
    perform common.refuse(
      'CF001',
      format('mean is "%s"', left(_retention.mean, 100)),
      'Use weighted (by the size of the cohorts) or simple, or null for no means.'
    );
  end if;

  v_cohorts := analytics._bounds(_retention.bucket, _retention.since, _retention.until, _retention.zone);
  v_cohort_count := cardinality(v_cohorts) - 1;
  if v_cohort_count * (cardinality(v_lengths) + 1)
      * analytics._value_count(_retention.breakdown, _retention.top_values) > 100000
    or v_cohort_count + v_last_period > 10000
  then
    perform common.refuse(
      'CF008',
      format('there are %s cohorts with %s buckets each', v_cohort_count, v_last_period + 1),
      'There can be 100,000 cells, in 10,000 buckets. Give a shorter period, a larger bucket, fewer periods or values.'
    );
  end if;
  v_local := v_cohorts[v_cohort_count + 1] at time zone _retention.zone;
  v_bounds := analytics._bounds(
    _retention.bucket,
    v_cohorts[1],
    case
      when _retention.bucket in ('minute', 'hour')
        then v_cohorts[v_cohort_count + 1] + v_last_period * ('1 ' || _retention.bucket)::interval
      when _retention.bucket = 'quarter'
        then (v_local + v_last_period * interval '3 months') at time zone _retention.zone
      else (v_local + v_last_period * ('1 ' || _retention.bucket)::interval) at time zone _retention.zone
    end,
    _retention.zone
  );
  if _retention.breakdown like 'property.%' then
    if length(_retention.breakdown) > 200 or _retention.breakdown = 'property.' then
      perform common.refuse('CF001', format('breakdown is "%s"', left(_retention.breakdown, 100)),
        'Give a name after "property.", of 191 characters at most.');
    end if;
    v_values := analytics._property_values(
      v_event_type_id, v_cohorts[1], v_cohorts[v_cohort_count + 1], v_item_id, _retention.among,
      substr(_retention.breakdown, length('property.') + 1), _retention.top_values, _retention.smallest_group
    );
  end if;

  return query
  -- `series`: value and block in one column, because the planner underestimates a join on two.
  with returned as materialized (
    select
      present.value_key, present.bucket_number, present.block, present.people,
      (present.value_key || ' ' || present.block) collate "C" as series
    from analytics._presence_in_buckets(
      v_return_type_id, v_bounds, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
  ),

  -- In first-time retention, with all that was before.
  started as (
    select present.value_key, present.bucket_number - 1 as cohort, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, '-infinity'::timestamptz || v_cohorts, v_item_id, _retention.among, _retention.breakdown,
      _retention.top_values, v_values, _retention.smallest_group
    ) as present
    where _retention.first_time

    union all

    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_cohorts, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
    where not _retention.first_time
      and v_event_type_id <> v_return_type_id

    union all

    select returned.value_key, returned.bucket_number, returned.block, returned.people
    from returned
    where not _retention.first_time
      and v_event_type_id = v_return_type_id
      and returned.bucket_number <= v_cohort_count
  ),

  member as materialized (
    select
      started.value_key, started.cohort, started.block, started.people,
      (started.value_key || ' ' || started.block) collate "C" as series
    from started
    where not _retention.first_time

    union all

    select
      first_one.value_key, first_one.cohort, first_one.block, first_one.people,
      (first_one.value_key || ' ' || first_one.block) collate "C"
    from (
      select
        started.value_key, started.cohort, started.block,
        started.people & ~coalesce(
          bit_or(started.people) over (
            partition by started.value_key, started.block
            order by started.cohort
            rows between unbounded preceding and 1 preceding
          ),
          v_no_people
        ) as people
      from started
      where _retention.first_time
    ) as first_one
    where first_one.cohort >= 1
  ),

  target as (
    select listed.number::int as period, listed.end_bucket - listed.length + 1 as first_bucket, listed.end_bucket
    from unnest(v_lengths, v_ends) with ordinality as listed (length, end_bucket, number)
  ),

  -- Read once: one of the branches below is never executed.
  did as not materialized (
    select
      member.value_key, member.cohort, returned.bucket_number - member.cohort as period, member.block,
      member.people & returned.people as people
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    where v_is_plain

    union all

    select
      member.value_key, member.cohort, target.period, member.block, bit_or(member.people & returned.people)
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    join target on returned.bucket_number - member.cohort between target.first_bucket and target.end_bucket
    where not v_is_plain
    group by member.value_key, member.cohort, target.period, member.block
  ),

  counted as (
    select did.value_key, did.cohort, did.period, sum(bit_count(did.people)::int) as person_count
    from did
    where not _retention.or_after
    group by did.value_key, did.cohort, did.period

    union all

    -- On or after: in this period or a later one.
    select later.value_key, later.cohort, covered.period, sum(bit_count(later.people)::int)
    from (
      select
        did.value_key, did.cohort, did.period,
        bit_or(did.people) over last_first as people,
        lead(did.period, 1, 0) over last_first as previous
      from did
      where _retention.or_after
      window last_first as (partition by did.value_key, did.cohort, did.block order by did.period desc)
    ) as later
    cross join lateral generate_series(later.previous + 1, later.period) as covered (period)
    group by later.value_key, later.cohort, covered.period

    union all

    select member.value_key, member.cohort, 0, sum(bit_count(member.people)::int)
    from member
    group by member.value_key, member.cohort
  ),

  cell as (
    select
      keys.value_key,
      cohort.cohort,
      period.period,
      v_bounds[cohort.cohort + period.first_bucket] as period_start,
      v_bounds[cohort.cohort + period.end_bucket + 1] as period_end,
      coalesce(
        case
          when _retention.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _retention.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct member.value_key from member where _retention.breakdown is not null
      union all
      select 'none' where _retention.breakdown is null
    ) as keys
    cross join generate_series(1, v_cohort_count) as cohort (cohort)
    cross join (
      select 0 as period, 0 as first_bucket, 0 as end_bucket
      union all
      select target.period, target.first_bucket, target.end_bucket from target
    ) as period
    left join counted
      on counted.value_key = keys.value_key
      and counted.cohort = cohort.cohort
      and counted.period = period.period
    where v_bounds[cohort.cohort + period.first_bucket] <= now()
  ),

  compared as (
    select
      cell.*,
      first_value(cell.person_count) over by_period as cohort_size,
      cell.period_end <= now() as is_complete,
      case
        when cell.period = 0 or _retention.reference = 'start' then first_value(cell.person_count) over by_period
        else lag(cell.person_count) over by_period
      end as reference_count,
      max(cell.person_count) over (partition by cell.value_key) as largest
    from cell
    window by_period as (partition by cell.value_key, cell.cohort order by cell.period)
  ),

  shown as (
    select
      compared.*,
      case when compared.reference_count > 0 then compared.person_count::float8 / compared.reference_count end as share
    from compared
    where _retention.breakdown is null
      or compared.largest > 0
  ),

  together as (
    select
      shown.value_key, shown.cohort, shown.cohort_size, shown.period, shown.period_start, shown.period_end,
      shown.person_count, shown.share, shown.is_complete
    from shown

    union all

    select
      shown.value_key, null, sum(shown.cohort_size)::bigint, shown.period, null, null,
      sum(shown.person_count)::bigint,
      case
        when _retention.mean = 'simple'
          then avg(shown.person_count::numeric / nullif(shown.reference_count, 0))::float8
        when sum(shown.reference_count) > 0
          then (sum(shown.person_count) / sum(shown.reference_count))::float8
      end,
      true
    from shown
    where shown.is_complete
      and _retention.mean is not null
    group by shown.value_key, shown.period
  )

  select
    case when together.value_key like '=%' then substr(together.value_key, 2) end,
    together.value_key = 'other',
    v_cohorts[together.cohort],
    together.cohort_size,
    together.period,
    together.period_start,
    together.period_end,
    together.person_count,
    together.share,
    together.is_complete,
    _retention.zone
  from together
  order by
    together.value_key = 'other', together.value_key = 'none', together.value_key, together.cohort nulls last,
    together.period;
end;
$$;

alter function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
) is $$
Computes the result of `analytics.retention`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares and means are computed from the figures as shown.
$$;

grant execute on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._retention_shown(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.retention_cell
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
  from analytics._retention(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
owner to insights_reader;

comment on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns the result of `analytics.retention` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst;

create or replace function analytics.retention(
  event_name text default null,
  return_event text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  periods int default 12,
  first_time boolean default false,
  or_after boolean default false,
  brackets int[] default null,
  reference text default 'start',
  mean text default 'weighted',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.retention_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._retention(text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], '
      || 'text, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._retention(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values, null
    );
  else
    return query
    select *
    from analytics._retention_shown(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values
    );
  end if;
end;
$$;

comment on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns how many people of each cohort come back in each later period, with the means of the cohorts.
A cohort is the people who did the event `event_name` in a bucket from `since` until `until` (extended to whole buckets
of the zone; weeks start on Monday). A person belongs to the cohort of each bucket in which she did it; with
`first_time`, to that of her first event of this type ever, also before `since`. Period 0 is the bucket of the cohort,
and contains the whole cohort; period n is the nth bucket after it, and contains the people of the cohort who did
`return_event` in it. Null for either event: any event that is not automatic.
There is one row for each cohort and period that has started, from 0 to `periods`, and one for the mean of each period
(`cohort_start` is null). A period that has not ended is not complete (`is_complete`), and is left out of the means.
`or_after`: people who did it in the period or in a later one, up to the last period. `brackets`: lengths of the periods
in buckets, instead of `periods`: {1,2,4} are the periods of bucket 1, of 2 and 3, and of 4 to 7. `reference`: shares
of the cohort (`start`) or of the `previous` period. `mean`: `weighted` by the size of the cohorts, `simple`, or null.
The semantics are those of PostHog, whose weeks start on Sunday.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>`, with which both events must have the same value (read
from the events; `first_time` is then the first event with the value). Of a trait or property, the `top_values` values
of most people are named, others are one value (`is_other`). A value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares and means are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 100,000 cells (cohorts, periods and values), or 10,000 buckets.
$$;

grant execute on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst, insights_admin, insights_worker;
