create or replace function analytics._popular_items_of(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  people bigint[],
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_first_day constant date := greatest(_popular_items_of.since::date, '0001-01-01');
  -- Whole days, so that two periods differ by a day at least.
  v_end_day constant date := least(
    case
      when _popular_items_of.until < '294276-12-31'
        then date_trunc('day', _popular_items_of.until - interval '1 microsecond') + interval '1 day'
      else 'infinity'
    end::date,
    '9999-12-31'
  );
begin
  return query
  with used as (
    select
      kernel.*,
      case _popular_items_of.measure
        when 'events' then kernel.event_count
        when 'engaged' then extract(epoch from kernel.engaged)
        else kernel.person_count
      end::float8 as measured,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items_of.measure
          when 'events' then kernel.decayed_event_count
          when 'engaged' then kernel.decayed_engaged
          else kernel.decayed_person_count
        end::numeric,
        9
      )::float8 as score
    from analytics._item_use(
      _popular_items_of.kind, v_first_day, v_end_day, _popular_items_of.half_life, least(v_end_day, now()::date),
      _popular_items_of.smallest_group, _popular_items_of.people
    ) as kernel
    where kernel.person_count >= _popular_items_of.smallest_group
  ),

  shown as (
    select
      item.external_id as item,
      item.title,
      item.kind as item_kind,
      analytics._shown(used.event_count, used.person_count, _popular_items_of.smallest_group)::bigint as event_count,
      analytics._shown(used.person_count, used.person_count, _popular_items_of.smallest_group)::bigint
        as person_count,
      case
        when _popular_items_of.smallest_group = 1 then used.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from used.engaged)::float8, used.person_count, _popular_items_of.smallest_group
        ))
      end as engaged,
      -- With a half-life, rounded like the figure without one: recent days weigh most, and may be those of one person.
      analytics._shown(
        used.score, used.person_count, _popular_items_of.smallest_group,
        case when _popular_items_of.half_life is not null then used.measured end
      ) as score
    from used
    join track.item on item.item_id = used.item_id
  )

  -- The order shows nothing that the figures do not.
  select
    (row_number() over by_score)::int,
    shown.item,
    shown.title,
    shown.item_kind,
    shown.event_count,
    shown.person_count,
    shown.engaged,
    shown.score,
    null::text,
    false
  from shown
  window by_score as (order by shown.score desc, shown.event_count desc, shown.item)
  order by shown.score desc, shown.event_count desc, shown.item
  limit _popular_items_of.top;
end;
$$;

comment on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) is $$
Returns the most used items of some counted people, with the privileges of the caller: see `analytics.popular_items`.
`people` null: all counted people. `smallest_group`: see `analytics._shown`; a day on which fewer people used an item
counts with the other small days of its week (from Monday), when the period contains the week and they have at least
`smallest_group` people together, and otherwise not; 1: exact figures of all days.
$$;

grant execute on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_items(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
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
begin
  perform common.check_period(_popular_items.since, _popular_items.until);
  if _popular_items.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', _popular_items.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', _popular_items.top, 1, 10000);
  if _popular_items.measure is null or _popular_items.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_items.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if _popular_items.kind is not null
    and not exists (select from track.item where item.kind = _popular_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_popular_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    popular.rank, popular.item, popular.title, popular.kind, popular.event_count, popular.person_count,
    popular.engaged, popular.score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_items.among, _popular_items.breakdown, _popular_items.top_values, _popular_items.smallest_group
  ) as part
  cross join lateral analytics._popular_items_of(
    _popular_items.kind, _popular_items.since, _popular_items.until, _popular_items.half_life, _popular_items.top,
    _popular_items.measure, case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end,
    _popular_items.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

alter function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) is $$
Computes the result of `analytics.popular_items`.
`smallest_group`: see `analytics._shown`; 1: exact figures.
$$;

grant execute on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.popular_item
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
  from analytics._popular_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
owner to insights_reader;

comment on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the result of `analytics.popular_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst;

create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._popular_items(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values, 1
    );
  else
    return query
    select *
    from analytics._popular_items_shown(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain. The period is extended to whole days, UTC, at both ends.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not. `among`: only people of these sets now, such
as `segment.power & ~cohort.beta`. `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people
of each value, of at most `top_values`; the others have `is_other`. Ranks are those within the value.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item counts with the other small days of its week (from Monday), when the period contains the whole week
and they have at least as many people together, and otherwise not: no two periods differ by the use of a smaller group.
Figures are rounded by `analytics._shown`, and items are in the order of what is shown; items of fewer people are
excluded, as those that nobody used.
With `among` or `breakdown`, small days are those of these people, a day on which the other people who used an item are
few does not count either, and the use is read from their journeys.
Days are read from the rollup, and those that are queued for a refresh from the events: the result includes every event
that was stored when the function was called. Engaged times are as of the last refresh of the sessions, and so are
people who used an item only by continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has and an unknown set.
$$;

grant execute on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
