create or replace function analytics._feature_usage_of(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  measure text,
  top int,
  blocks int[],
  people bit(4096)[],
  return_days int,
  with_median boolean,
  smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The period before, of the same length.
  v_previous_day constant date := first_day - least(end_day - first_day, first_day - '0001-01-01'::date);
  -- The last day of the period until now.
  v_last_day constant date := least(end_day, now()::date + 1) - 1;
begin
  return query
  with used as materialized (
    select kernel.*, coalesce(kernel.item_kind, '') as kind
    from analytics._feature_people(
      _feature_usage_of.of_event_type_id, _feature_usage_of.by_kind, _feature_usage_of.first_day,
      _feature_usage_of.end_day, v_previous_day, v_last_day - _feature_usage_of.return_days,
      _feature_usage_of.return_days, _feature_usage_of.blocks, _feature_usage_of.people,
      _feature_usage_of.smallest_group
    ) as kernel
  ),

  by_feature as (
    select
      used.event_type_id, used.kind,
      sum(bit_count(used.people))::bigint as people,
      sum(bit_count(used.people & ~used.earlier_people))::bigint as new_people,
      sum(bit_count(used.observed_people))::bigint as observed_people,
      sum(bit_count(used.returned_people))::bigint as returned_people,
      sum(bit_count(used.previous_people))::bigint as previous_people,
      sum(used.person_days)::float8 as person_days,
      sum(used.event_count)::float8 as event_count,
      sum(used.previous_event_count)::float8 as previous_event_count,
      min(used.oldest_day) as first_day,
      max(used.latest_day) as last_day
    from used
    group by used.event_type_id, used.kind
  ),

  middle as (
    select
      by_person.event_type_id, by_person.kind,
      percentile_cont(0.5) within group (order by by_person.event_count::float8) as median_events,
      avg(by_person.event_count)::float8 as mean_events
    from (
      select
        activity.event_type_id, described.kind, activity.person_id, sum(activity.event_count) as event_count
      from track.activity_of(
        case
          when _feature_usage_of.blocks is null
            then analytics._people_among(null, _feature_usage_of.smallest_group)
          else analytics._people_of(_feature_usage_of.blocks, _feature_usage_of.people)
        end,
        _feature_usage_of.first_day, _feature_usage_of.end_day,
        array(select distinct used.event_type_id from used)
      ) as activity
      left join track.item on item.item_id = activity.item_id
      cross join lateral (
        select case when _feature_usage_of.by_kind then coalesce(item.kind, '') else '' end as kind
      ) as described
      join (
        select distinct used.event_type_id, used.kind, day
        from used
        cross join lateral unnest(used.days) as day
      ) as kept
        on kept.event_type_id = activity.event_type_id
        and kept.kind = described.kind
        and kept.day = activity.day
      where _feature_usage_of.with_median
      group by activity.event_type_id, described.kind, activity.person_id
    ) as by_person
    group by by_person.event_type_id, by_person.kind
  ),

  shown as (
    select
      by_feature.event_type_id, by_feature.kind,
      analytics._shown(by_feature.event_count, by_feature.people, _feature_usage_of.smallest_group)::bigint
        as event_count,
      analytics._shown(by_feature.people, by_feature.people, _feature_usage_of.smallest_group)::bigint as person_count,
      analytics._shown(by_feature.person_days, by_feature.people, _feature_usage_of.smallest_group)
        as person_days,
      analytics._shown_mean(
        middle.median_events, by_feature.people, _feature_usage_of.smallest_group, middle.mean_events
      ) as median_events,
      case
        when not _feature_usage_of.by_kind
          then analytics._shown(by_feature.new_people, by_feature.new_people, _feature_usage_of.smallest_group)::bigint
      end as new_person_count,
      analytics._shown(
        by_feature.observed_people, by_feature.observed_people, _feature_usage_of.smallest_group
      )::bigint as observed_person_count,
      analytics._shown(
        by_feature.returned_people, by_feature.returned_people, _feature_usage_of.smallest_group
      )::bigint as returned_person_count,
      analytics._shown(
        by_feature.previous_event_count, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_event_count,
      analytics._shown(
        by_feature.previous_people, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_person_count,
      case when not _feature_usage_of.by_kind then by_feature.first_day end as first_day,
      by_feature.last_day
    from by_feature
    left join middle using (event_type_id, kind)
  ),

  -- Rates and means are computed from the numbers as shown, and the order from these.
  computed as (
    select
      event_type.name as event,
      nullif(shown.kind, '') as item_kind,
      shown.event_count,
      shown.person_count,
      coalesce(active.person_count, 0) as active_person_count,
      least(1, shown.person_count::float8 / nullif(active.person_count, 0)) as adoption_rate,
      shown.new_person_count,
      shown.event_count::float8 / nullif(shown.person_count, 0) as events_per_person,
      shown.median_events,
      shown.person_days / nullif(shown.person_count, 0) as days_per_person,
      shown.observed_person_count,
      shown.returned_person_count,
      shown.returned_person_count::float8 / nullif(shown.observed_person_count, 0) as return_rate,
      shown.previous_event_count,
      shown.previous_person_count,
      shown.event_count::float8 / nullif(shown.previous_event_count, 0) - 1 as event_growth,
      shown.person_count::float8 / nullif(shown.previous_person_count, 0) - 1 as person_growth,
      shown.first_day,
      shown.last_day
    from shown
    join track.event_type on event_type.event_type_id = shown.event_type_id
    left join shown as active on active.event_type_id = 0
    where shown.event_count > 0
      or shown.person_count > 0
      or shown.previous_event_count > 0
      or shown.previous_person_count > 0
  )

  select
    (row_number() over by_score)::int,
    computed.*,
    null::text,
    false
  from computed
  cross join lateral (
    select case _feature_usage_of.measure
      when 'people' then computed.person_count
      when 'events' then computed.event_count
      when 'days' then computed.days_per_person
      when 'new' then computed.new_person_count
      when 'return' then computed.return_rate
      when 'growth' then computed.person_growth
    end as score
  ) as by_measure
  window by_score as (
    order by
      by_measure.score desc nulls last, computed.person_count desc, computed.event_count desc, computed.event,
      computed.item_kind nulls first
  )
  order by 1
  limit _feature_usage_of.top;
end;
$$;

comment on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) is $$
Returns how some people use each feature, with the privileges of the caller: see `analytics.feature_usage`.
`of_event_type_id`: only this event type; null: all. `by_kind`: by kind of the item. `end_day` is exclusive.
`blocks`, `people`: people who are not excluded, one bit per person; null: all of them.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._feature_usage(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int,
  smallest_group int
)
returns setof analytics.used_feature
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
as $$
declare
  v_event_type_id constant int := nullif(analytics._event_type_id(_feature_usage.event_name), 0);
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _feature_usage.since, _feature_usage.until, 'UTC');
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _feature_usage.breakdown !~ '^(kind$|set\.|trait\.)' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_feature_usage.breakdown, 100)),
      'Use kind (of the item of the event), set.<family or name of sets of people> or trait.<name>.'
    );
  end if;
  if _feature_usage.measure is null
    or _feature_usage.measure not in ('people', 'events', 'days', 'new', 'return', 'growth')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_feature_usage.measure, 100)),
      'Use people, events, days (days per person), new (new people), return (return rate) or growth (of people).');
  end if;
  perform common.check_count('top', _feature_usage.top, 1, 10000);
  perform common.check_count('return_days', _feature_usage.return_days, 1, 366);
  if _feature_usage.with_median is null then
    perform common.refuse('CF001', 'with_median is null', 'Use true or false.');
  end if;
  if among is not null or breakdown <> 'kind' then
    select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
    from analytics._members(_feature_usage.among, _feature_usage.smallest_group) as member;
  end if;

  return query
  select
    feature.rank, feature.event, feature.item_kind, feature.event_count, feature.person_count,
    feature.active_person_count, feature.adoption_rate, feature.new_person_count, feature.events_per_person,
    feature.median_events, feature.days_per_person, feature.observed_person_count, feature.returned_person_count,
    feature.return_rate, feature.previous_event_count, feature.previous_person_count, feature.event_growth,
    feature.person_growth, feature.first_day, feature.last_day, part.value, part.is_other
  from analytics._people_groups(
    nullif(_feature_usage.breakdown, 'kind'), _feature_usage.top_values, _feature_usage.smallest_group, v_blocks,
    v_people
  ) as part
  cross join lateral analytics._feature_usage_of(
    v_event_type_id, coalesce(_feature_usage.breakdown = 'kind', false), v_bounds[1]::date,
    v_bounds[cardinality(v_bounds)]::date, _feature_usage.measure, _feature_usage.top, part.blocks, part.people,
    _feature_usage.return_days, _feature_usage.with_median, _feature_usage.smallest_group
  ) as feature
  order by part.is_other, part.value is null, part.value, feature.rank;
end;
$$;

alter function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
)
owner to insights_reader;

comment on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) is $$
Computes the result of `analytics.feature_usage`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._feature_usage_shown(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int
)
returns setof analytics.used_feature
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
  from analytics._feature_usage(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) owner to insights_reader;

comment on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns the result of `analytics.feature_usage` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst;

create or replace function analytics.feature_usage(
  event_name text default null,
  breakdown text default null,
  since timestamptz default (now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 50,
  among text default null,
  return_days int default 7,
  with_median boolean default false,
  top_values int default 10
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._feature_usage(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values, null
    );
  else
    return query
    select *
    from analytics._feature_usage_shown(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values
    );
  end if;
end;
$$;

comment on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns how each feature is used between two times (`until` exclusive): how often, by whom, how deeply, its adoption.
Features are event types, without heartbeats, automatic events and those of the purpose `service`; with `event_name`,
this event type, whatever it is. `breakdown` = `kind`: actions, which are event types by kind of the item (a page that
is viewed and a course that is viewed); null as a kind: events without an item. `breakdown` = `set.<family>` or
`trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the others have `is_other`,
and ranks and active people are those within the value. Features that were used neither in the
period nor in the one before it are not listed.
- How often and by whom: events, distinct people, and the share of the active people (those with any event that is not
  automatic) who used the feature: `adoption_rate`.
- How deeply: events per person, days per person, and with `with_median` the median of the events per person.
- Adoption: `new_person_count` are the people who never used the feature before the period.
- Return: of the people who used it at least `return_days` days before the end of the period (or now), those who used it
  again `return_days` days or more after their first use in the period: `return_rate`. Later users are left out, because
  they could not return yet.
- Trend: the period before, of the same length, and the growth since then (0.5: half as much again).
- `first_day` and `last_day`: days of the first and the last use before `until`.
`measure` decides the order: `people`, `events`, `days` (per person), `new`, `return` (rate) or `growth` (of people).
The period is extended to whole days, UTC. `among`: only people in an expression of sets of people.
People are read from the bits of `track.presence`, those of all earlier days too, and include every event that was
stored when the function was called. `among`, `breakdown` and `with_median` read the journeys of the period and of the
one before it, which takes longer; with `breakdown` = `kind`, new people and the first day are null, and the last day is
one of these periods.
For admins and workers, figures are exact and include anonymous browsers, as those of `analytics.trend`. Analysts see
figures of counted people: the days on which fewer than `analytics.setting.smallest_group` of them used a feature count
with the other small days of their week (from Monday), where a period contains the whole week and they have at least as
many people together, and otherwise not, as use before the period neither; with `among` or a breakdown by people, days
on which the others are few do not count; numbers are rounded by `analytics._shown`, each by itself; rates, means and
the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown event or set (with the nearest name), CF008 for more
than 10,000 days.
$$;

grant execute on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst, insights_admin, insights_worker;
