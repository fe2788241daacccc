/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_step
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
  v_days constant timestamptz[] := analytics._bounds('day', _funnel.since, _funnel.until, 'UTC');
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel.steps, _funnel.exclusions, _funnel.step_order, _funnel.item
  );
  v_window constant interval := analytics._conversion_window(_funnel.conversion_window);
begin
  return query
  with attempt as materialized (
    select * from analytics._attempts_by_value(
      v_filters, v_bounds, _funnel.step_order, v_window, _funnel.among, _funnel.breakdown, _funnel.attribution,
      _funnel.top_values, _funnel.smallest_group
    )
  ),

  step as (
    select
      filter.first_step as number, filter.event, filter.item, filter.is_optional,
      -- The steps before and after it that are not optional.
      max(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between unbounded preceding and 1 preceding
      ) as previous,
      min(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between 1 following and unbounded following
      ) as next
    from unnest(v_filters) as filter
    where not filter.is_exclusion
  ),

  -- Times in seconds, which are sorted faster than intervals.
  done as (
    select
      attempt.value, attempt.is_other, step.number,
      attempt.times[step.next] is null
        and attempt.times[1] + v_window > least(v_bounds[2], now())
        and step.next is not null as is_open,
      date_part('epoch', attempt.times[step.number] - attempt.times[step.previous]) as time,
      case when step.number > 1 then date_part('epoch', attempt.times[step.number] - attempt.times[1]) end as total_time
    from attempt
    join step on attempt.times[step.number] is not null
    offset 0
  ),

  counted as (
    select
      done.value, done.is_other, done.number,
      count(*) as person_count,
      count(*) filter (where done.is_open) as open_count,
      justify_hours(make_interval(secs => avg(done.time))) as mean_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.time))) as median_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.total_time)))
        as total_time
    from done
    group by done.value, done.is_other, done.number
  ),

  shown as (
    select
      keys.value, keys.is_other, step.*,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.open_count, counted.open_count, _funnel.smallest_group), 0
      )::bigint as open_count,
      analytics._shown_time(counted.mean_time, counted.person_count, _funnel.smallest_group) as mean_time,
      analytics._shown_time(
        counted.median_time, counted.person_count, _funnel.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown_time(
        counted.total_time, counted.person_count, _funnel.smallest_group, counted.total_time
      ) as total_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel.breakdown is not null
      union all
      select null, false where _funnel.breakdown is null
    ) as keys
    cross join step
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.number = step.number
  )

  select
    shown.value,
    shown.is_other,
    shown.number,
    case when _funnel.step_order <> 'unordered' then shown.event end,
    case when _funnel.step_order <> 'unordered' then shown.item end,
    shown.is_optional,
    shown.person_count,
    shown.person_count::float8 / nullif(entered.person_count, 0),
    shown.person_count::float8 / nullif(earlier.person_count, 0),
    case when later.number is not null then greatest(shown.person_count - later.person_count, 0) end,
    case when shown.next is not null then shown.open_count end,
    shown.mean_time,
    shown.median_time,
    case when shown.number > 1 then shown.total_time end
  from shown
  join shown as entered
    on entered.value is not distinct from shown.value
    and entered.is_other = shown.is_other
    and entered.number = 1
  left join shown as earlier
    on earlier.value is not distinct from shown.value
    and earlier.is_other = shown.is_other
    and earlier.number = shown.previous
  left join shown as later
    on later.value is not distinct from shown.value
    and later.is_other = shown.is_other
    and later.number = shown.next
    and not shown.is_optional
  where _funnel.breakdown is null
    or entered.person_count > 0
  order by shown.is_other, shown.value is null, shown.value, shown.number;
end;
$$;

alter function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
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
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_shown(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns how many people did each step of a funnel, and how long it took.
`steps`: 2 to 20 events, each the name of an event, or an object with the keys `event` (null: any that is not
automatic), `item` (with what it contains), `property` ({"name": …, "is": …}) and `optional`. Only events from
`since` until `until` count, extended to whole days (UTC). `step_order`: `ordered`, with other events between the
steps; `strict`, without another event between them (automatic ones apart); or `unordered`, where row n is about any n
of the steps. All steps are within the `conversion_window` from the first one, including its end. A person counts
once, with the attempt that went furthest, and of those the earliest; a later first step begins a new attempt. One
event is one step: the same step twice needs two events. Events of the same instant count in the order of the steps.
`exclusions`: events, with the keys of a step, `from` and `to` (the first and the last step), that must not be between
two steps. A person whose furthest attempt met one is not in the funnel; in an unordered funnel, where only an
exclusion from the first to the last step is possible, she has done one step. An `optional` step can be left out; its
people are those who did it, and the next step is compared with the one before it.
`item`: that of the steps without an item. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>` of the events that `attribution` names: the first or
the last one with a value (`first_touch`, `last_touch`), the one of a step (`step_2`; a person counts for each value
there), or all (`all_events`: the steps of a value only). The rules are those of PostHog.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the step, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item or set (names the nearest), CF008 for too many
steps, CF009 for steps of another form.
$$;

grant execute on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
