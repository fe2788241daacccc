/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_item
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
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_session_items.breakdown, _session_items.smallest_group);
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);
  perform common.check_count('top_values', _session_items.top_values, 1, 100);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_items.among, _session_items.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_items.among, array[v_days[1], v_days[cardinality(v_days)]], _session_items.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.view_count <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
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
      _session_items.breakdown, _session_items.top_values, _session_items.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  -- One row per value, person and item: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.item_id, by_person.person_id, by_person.session_count,
      by_person.bounce_count
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    where _session_items.breakdown is null
      and by_person.item_id is not null

    union all

    select
      part.value, part.is_other, by_person.item_id, by_person.person_id,
      sum(by_person.session_count)::bigint, sum(by_person.bounce_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _session_items.breakdown is not null
      and by_person.item_id is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.item_id, sum(valued.session_count) as session_count,
      count(*) as person_count,
      sum(valued.bounce_count) as bounce_count,
      count(*) filter (where valued.bounce_count > 0) as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.item_id
  ),

  shown as (
    select
      counted.value, counted.is_other, counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
  )

  select *
  from (
    select
      (
        row_number() over (
          partition by shown.is_other, shown.value order by shown.session_count desc, item.external_id collate "C"
        )
      )::int as rank,
      item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
      least(shown.bounce_count::float8 / shown.session_count, 1) as bounce_rate,
      shown.value, shown.is_other
    from shown
    join track.item on item.item_id = shown.item_id
    where shown.session_count > 0
  ) as ranked
  where _session_items.top is null
    or ranked.rank <= _session_items.top
  order by ranked.is_other, ranked.value is null, ranked.value, ranked.rank;
end;
$$;

alter function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
owner to insights_reader;

comment on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int) is $$
Computes the result of `analytics.session_items`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
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
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values, null
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst, insights_admin, insights_worker;
