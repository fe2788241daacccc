create or replace function analytics._presence_of_groups(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, start_at timestamptz, end_at timestamptz, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_monday constant timestamptz := '1970-01-05Z';
  v_week constant interval := interval '7 days';
  -- Each is part of the one before it. The last ones are the parts that buckets consist of.
  v_units constant interval[] := array(
    select level.unit
    from unnest('{1 day,1 hour,15 minutes,1 minute}'::interval[], '{null,1 day,1 hour,15 minutes}'::interval[])
      with ordinality as level (unit, parent_unit, position)
    where level.parent_unit is null
      or exists (
        select
        from unnest(_presence_of_groups.bounds) as bound
        where isfinite(bound)
          and bound <> date_bin(level.parent_unit, bound, v_monday)
      )
    order by level.position
  );
  v_unit constant interval := v_units[cardinality(v_units)];
  v_of_days constant boolean := cardinality(v_units) = 1;
  v_extent constant interval := case when v_of_days then v_week else interval '1 day' end;
  v_since timestamptz := bounds[1];
  -- No event is later than its arrival.
  v_until constant timestamptz := least(bounds[cardinality(bounds)], now() + interval '2 days');
  v_parts timestamptz[];
begin
  if not isfinite(v_since) and v_of_days then
    v_since := least(
      (
        select min(presence.day)
        from track.presence
        where presence.event_type_id = _presence_of_groups.event_type_id
      )::timestamptz,
      (select setting.oldest_event from track.setting),
      v_until
    ) - v_week;
  elsif not isfinite(v_since) then
    -- The past of parts of days is read by day.
    v_since := date_trunc('day', bounds[2]);
    return query
    select past.*
    from analytics._presence_of_groups(
      _presence_of_groups.event_type_id, array['-infinity', v_since], _presence_of_groups.item_id,
      _presence_of_groups.among, _presence_of_groups.breakdown, _presence_of_groups.top_values,
      _presence_of_groups.known_values, _presence_of_groups.smallest_group
    ) as past
    where past.end_at <= v_since;
  end if;
  if v_since >= v_until then
    return;
  end if;

  -- Whole weeks or days, so that what is left out does not depend on the period.
  v_since := date_bin(v_extent, v_since, v_monday);
  if extract(epoch from v_until - v_since) > 200000 * extract(epoch from v_unit) then
    perform common.refuse(
      'CF008',
      format('the period consists of more than 200000 parts of %s', v_unit),
      'Give a shorter period, or use days of the zone UTC.'
    );
  end if;
  v_parts := array(
    select generate_series(
      v_since, date_bin(v_extent, v_until - interval '1 microsecond', v_monday) + v_extent, v_unit
    )
  );

  return query
  with present as materialized (
    select by_value.value_key, v_parts[by_value.bucket] as start_at, by_value.block, by_value.people
    from analytics._presence_by_value(
      _presence_of_groups.event_type_id, v_parts, _presence_of_groups.item_id, _presence_of_groups.among,
      _presence_of_groups.breakdown, _presence_of_groups.top_values, _presence_of_groups.known_values,
      _presence_of_groups.smallest_group
    ) as by_value
  ),

  level as (
    select given.unit, given.level, v_units[given.level - 1] as parent_unit
    from unnest(v_units) with ordinality as given (unit, level)
  ),

  sized as (
    select
      by_block.value_key, by_block.level, by_block.unit_start, by_block.parent_start,
      sum(bit_count(by_block.people)) as person_count
    from (
      select
        present.value_key, level.level, date_bin(level.unit, present.start_at, v_monday) as unit_start,
        date_bin(coalesce(level.parent_unit, level.unit), present.start_at, v_monday) as parent_start,
        present.block, bit_or(present.people) as people
      from present
      cross join level
      group by 1, 2, 3, 4, 5
    ) as by_block
    group by by_block.value_key, by_block.level, by_block.unit_start, by_block.parent_start
  ),

  ranked as (
    select
      sized.*,
      -- One column, because a join on three is by the first of them where the planner expects few rows.
      (sized.value_key || ' ' || sized.level || ' ' || extract(epoch from sized.unit_start)::bigint) collate "C"
        as place,
      sized.person_count >= _presence_of_groups.smallest_group as is_group,
      bool_or(sized.person_count < _presence_of_groups.smallest_group)
        over (partition by sized.value_key, sized.level, sized.parent_start) as has_small,
      row_number() over (
        partition by
          sized.value_key, sized.level, sized.parent_start,
          sized.person_count >= _presence_of_groups.smallest_group
        order by sized.person_count, sized.unit_start
      ) as position
    from sized
  ),

  shown_part as materialized (
    select part.value_key, part.start_at
    from (select distinct present.value_key, present.start_at from present) as part
    cross join level
    join ranked
      on ranked.place = (
        part.value_key || ' ' || level.level || ' '
          || extract(epoch from date_bin(level.unit, part.start_at, v_monday))::bigint
      ) collate "C"
    group by part.value_key, part.start_at
    having bool_and(ranked.is_group and (ranked.level = 1 or not ranked.has_small or ranked.position > 1))
  ),

  small_week as materialized (
    select
      by_week.value_key, by_week.week, by_week.block, by_week.people,
      sum(bit_count(by_week.people)) over (partition by by_week.value_key, by_week.week) as person_count
    from (
      select
        present.value_key, date_bin(v_week, present.start_at, v_monday) as week, present.block,
        bit_or(present.people) as people
      from present
      left join shown_part on shown_part.value_key = present.value_key and shown_part.start_at = present.start_at
      where v_of_days
        and shown_part.start_at is null
      group by 1, 2, 3
    ) as by_week
  )

  select present.value_key, present.start_at, present.start_at + v_unit, present.block, present.people
  from present
  join shown_part on shown_part.value_key = present.value_key and shown_part.start_at = present.start_at

  union all

  select small_week.value_key, small_week.week, small_week.week + v_week, small_week.block, small_week.people
  from small_week
  where small_week.person_count >= _presence_of_groups.smallest_group;
end;
$$;

comment on function analytics._presence_of_groups(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the counted people with an event by period, of periods with at least `smallest_group` of them.
Where all bounds are those of days (UTC), a period is a day, or a whole week (from Monday): of the people of its small
days together, when they are at least as many. Otherwise it is an hour (UTC), or where a bound is not that of an hour, a
quarter of an hour or a minute; in each day (hour, quarter) that has a small one, the smallest other one is left out as
well (secondary suppression). So no figure contains the use of fewer people, and no two differ by it, whatever the
buckets and zones. The periods cover those between the bounds, and the whole weeks or days at both ends. The first bound
may be `-infinity`: the past is read by day. The other arguments are those of `analytics._presence_by_value`.
Errors: CF008 for more than 200,000 hours, quarters or minutes.
$$;

grant execute on function analytics._presence_of_groups(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;
