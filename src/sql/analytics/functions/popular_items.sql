create or replace function analytics._popular_items(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text, smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- Whole days are read from the rollup. The hours before the first and after the last of them are read from the
  -- events, and so are the days that are queued for a refresh.
  v_first_day constant date := (
    _popular_items.since at time zone 'UTC' + interval '1 day' - interval '1 microsecond'
  )::date;
  v_end_day constant date := (_popular_items.until at time zone 'UTC')::date;
  v_head_until constant timestamptz := least(_popular_items.until, v_first_day::timestamp at time zone 'UTC');
  v_tail_since constant timestamptz := greatest(v_head_until, v_end_day::timestamp at time zone 'UTC');
  v_newest_day constant date := least(v_end_day, (now() at time zone 'UTC')::date);
  v_people bigint[];
  v_first_days date[];
  v_end_days date[];
begin
  select queued.people, queued.first_days, queued.end_days
  into v_people, v_first_days, v_end_days
  from analytics._queued_days(v_first_day, v_end_day) as queued;

  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  -- Page views of the hours that are read from the events.
  viewed as materialized (
    select
      page_view.person_id, page_view.event_id, page_view.item_id, page_view.started_at, page_view.engaged,
      page_view.is_continued
    from (
      values (_popular_items.since, v_head_until), (v_tail_since, _popular_items.until)
    ) as part (since, until)
    join track.session on session.ended_at >= part.since and session.started_at < part.until
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= part.since
      and page_view.started_at < part.until
  ),

  happened as (
    select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged
    from analytics.activity
    where activity.day >= v_first_day
      and activity.day < v_end_day
      and activity.item_id is not null
      and not exists (
        select
        from unnest(v_people, v_first_days, v_end_days) as queued (person_id, first_day, end_day)
        where queued.person_id = activity.person_id
          and activity.day >= queued.first_day
          and activity.day < queued.end_day
      )

    union all

    select computed.person_id, computed.day, computed.item_id, computed.event_count, computed.engaged
    from analytics._days_of_people(v_people, v_first_days, v_end_days) as computed
    where computed.item_id is not null

    union all

    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date,
      event.item_id,
      1,
      coalesce(opened.engaged, '0')
    from track.event
    left join viewed as opened
      on opened.person_id = event.person_id
      and opened.event_id = event.event_id
      and not opened.is_continued
    where event.item_id is not null
      and (
        event.occurred_at >= _popular_items.since and event.occurred_at < v_head_until
        or event.occurred_at >= v_tail_since and event.occurred_at < _popular_items.until
      )

    union all

    select
      viewed.person_id,
      (viewed.started_at at time zone 'UTC')::date,
      viewed.item_id,
      0,
      viewed.engaged
    from viewed
    where viewed.is_continued
      and viewed.item_id is not null
  ),

  by_person as (
    select
      coalesce(ancestor.ancestor_item_id, happened.item_id) as item_id,
      happened.person_id,
      sum(happened.event_count) as event_count,
      sum(happened.engaged) as engaged,
      sum(happened.event_count * aged.weight) as decayed_event_count,
      sum(extract(epoch from happened.engaged) * aged.weight) as decayed_engaged,
      max(aged.weight) as weight
    from happened
    join counted
      on counted.block = happened.person_id / 4096
      and get_bit(counted.people, (happened.person_id % 4096)::int) <> 0
    cross join lateral (
      select case
        when _popular_items.half_life is null then 1.0::float8
        -- A weight of 2 to the power of -1000 counts as zero; a smaller power would raise an underflow.
        else 0.5 ^ least(
          1000,
          (v_newest_day - happened.day) * 86400 / extract(epoch from _popular_items.half_life)::float8
        )
      end as weight
    ) as aged
    left join track.item_ancestor as ancestor
      on ancestor.item_id = happened.item_id
      and _popular_items.kind is not null
    group by 1, 2
  ),

  by_item as (
    select
      item.external_id as item,
      item.title,
      item.kind,
      sum(by_person.event_count)::bigint as event_count,
      count(*) as person_count,
      sum(by_person.engaged) as engaged,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items.measure
          when 'events' then sum(by_person.decayed_event_count)
          when 'engaged' then sum(by_person.decayed_engaged)::float8
          else sum(by_person.weight)
        end::numeric,
        9
      )::float8 as score
    from by_person
    join track.item using (item_id)
    where _popular_items.kind is null or item.kind = _popular_items.kind
    group by item.item_id, item.external_id, item.title, item.kind
  )

  select
    (row_number() over by_score)::int,
    by_item.item,
    by_item.title,
    by_item.kind,
    by_item.event_count,
    by_item.person_count,
    by_item.engaged,
    by_item.score
  from by_item
  where by_item.person_count >= _popular_items.smallest_group
  window by_score as (order by by_item.score desc, by_item.event_count desc, by_item.item)
  order by by_item.score desc, by_item.event_count desc, by_item.item
  limit _popular_items.top;
end;
$$;

comment on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int) is $$
Computes the result of `analytics.popular_items`, with the privileges of the caller and the given smallest group.
$$;

grant execute on function analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people'
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
  perform common.check_period(popular_items.since, popular_items.until);
  if popular_items.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', popular_items.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', popular_items.top, 1, 10000);
  if popular_items.measure is null or popular_items.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(popular_items.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if popular_items.kind is not null
    and not exists (select from track.item where item.kind = popular_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(popular_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select *
  from analytics._popular_items(
    popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life,
    popular_items.top, popular_items.measure,
    (select smallest_group from analytics.setting)
  );
end;
$$;

alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_reader;

comment on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not.
Items with fewer people than `analytics.setting.smallest_group` are excluded. Whole days are read from the rollup, and
those that are queued for a refresh from the events: the result includes every event that was stored when the function
was called. Engaged times are as of the last refresh of the sessions, and so are people who used an item only by
continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has.
$$;

grant execute on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text)
to insights_analyst, insights_admin, insights_worker;
