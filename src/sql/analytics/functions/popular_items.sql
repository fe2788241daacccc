create or replace function analytics._popular_items(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text, smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_day constant date := greatest((_popular_items.since at time zone 'UTC')::date, '0001-01-01');
  v_end_day constant date := least(
    (_popular_items.until at time zone 'UTC' + interval '1 day' - interval '1 microsecond')::date, '9999-12-31'
  );
begin
  return query
  select
    (row_number() over by_score)::int,
    by_item.item,
    by_item.title,
    by_item.kind,
    by_item.event_count,
    by_item.person_count,
    by_item.engaged,
    by_item.score
  from (
    select
      item.external_id as item,
      item.title,
      item.kind,
      used.event_count,
      used.person_count,
      used.engaged,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items.measure
          when 'events' then used.decayed_event_count
          when 'engaged' then used.decayed_engaged
          else used.decayed_person_count
        end::numeric,
        9
      )::float8 as score
    from analytics._item_use(
      _popular_items.kind, v_first_day, v_end_day, _popular_items.half_life,
      least((_popular_items.until at time zone 'UTC')::date, (now() at time zone 'UTC')::date)
    ) as used
    join track.item on item.item_id = used.item_id
  ) as by_item
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
