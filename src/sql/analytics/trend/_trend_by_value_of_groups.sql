create or replace function analytics._trend_by_value_of_groups(
  event_type_id int,
  bounds timestamptz[],
  of_item_id bigint,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns table (
  value text, is_other boolean, bucket int, event_count bigint, person_count bigint, engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_monday constant timestamptz := '1970-01-05Z';
  v_week constant interval := interval '7 days';
  v_buckets constant int := cardinality(bounds) - 1;
  -- Levels of units, each of which is part of one of the level before it; those of the last level are the atoms.
  v_units constant interval[] := array(
    select level.unit
    from unnest('{1 day,1 hour,15 minutes,1 minute}'::interval[], '{null,1 day,1 hour,15 minutes}'::interval[])
      with ordinality as level (unit, parent_unit, position)
    where level.parent_unit is null
      or exists (
        select
        from unnest(_trend_by_value_of_groups.bounds) as bound
        where bound <> date_bin(level.parent_unit, bound, v_monday)
      )
    order by level.position
  );
  v_unit constant interval := v_units[cardinality(v_units)];
  v_of_days constant boolean := cardinality(v_units) = 1;
  -- Whole days, or weeks where these are counted together.
  v_extent constant interval := case when v_of_days then v_week else interval '1 day' end;
  v_event_days constant timestamptz[] := array(
    select unnest(array[least(min(first_day), min(last_day)), greatest(max(first_day), max(last_day))])
    from (
      select stored.first_day, stored.last_day
      from track.event_type
      cross join lateral (
        select min(presence.day)::timestamptz as first_day, max(presence.day)::timestamptz as last_day
        from track.presence
        where presence.event_type_id = event_type.event_type_id
      ) as stored
      union all
      select stale.since, stale.until from track.stale
    ) as known
  );
  v_first constant timestamptz := date_bin(v_extent, greatest(bounds[1], v_event_days[1]), v_monday);
  v_last constant timestamptz := date_bin(
    v_extent, least(bounds[v_buckets + 1] - interval '1 microsecond', v_event_days[2]), v_monday
  );
  v_atoms timestamptz[];
begin
  if _trend_by_value_of_groups.breakdown is not null and not v_of_days then
    perform common.refuse(
      'CF001',
      'the buckets of a breakdown are not whole days of the zone UTC',
      'Figures of groups are broken down by day: use day or a longer bucket, and the zone UTC, or leave out breakdown.'
    );
  end if;
  if v_first > v_last or v_event_days[1] is null then
    return;
  end if;
  if extract(epoch from v_last + v_extent - v_first) > 200000 * extract(epoch from v_unit) then
    perform common.refuse(
      'CF008',
      format('the period consists of more than 200000 parts of %s', v_unit),
      'Give a shorter period, or use days of the zone UTC.'
    );
  end if;
  v_atoms := array(select generate_series(v_first, v_last + v_extent, v_unit));

  return query
  with used as materialized (
    select
      entry.person_id, v_atoms[entry.bucket] as atom, entry.is_member, entry.value, entry.event_count, entry.engaged,
      entry.event_count > 0 or _trend_by_value_of_groups.of_item_id is not null as is_use,
      -- Null: a value that is not named. Keys are comparable where values are null.
      case when not entry.is_other then coalesce('=' || entry.value, '') end as key
    from analytics._trend_values(
      _trend_by_value_of_groups.event_type_id, v_atoms, _trend_by_value_of_groups.of_item_id,
      _trend_by_value_of_groups.among, _trend_by_value_of_groups.breakdown, _trend_by_value_of_groups.smallest_group
    ) as entry
  ),

  level as (
    select given.unit, given.level::int as level, v_units[given.level - 1] as parent_unit
    from unnest(v_units) with ordinality as given (unit, level)
  ),

  -- Units of all people: without small ones, and without the smallest other one of the same parent.
  unit_size as (
    select
      unit_person.level, unit_person.unit_start, unit_person.parent_start,
      count(*) as people, count(*) filter (where unit_person.is_member) as members
    from (
      select
        level.level, date_bin(level.unit, used.atom, v_monday) as unit_start,
        date_bin(coalesce(level.parent_unit, level.unit), used.atom, v_monday) as parent_start,
        used.person_id, bool_or(used.is_member) as is_member
      from used
      cross join level
      where used.is_use
      group by 1, 2, 3, 4
    ) as unit_person
    group by 1, 2, 3
  ),

  open_unit as (
    select
      ranked.*,
      ranked.is_group and (ranked.level = 1 or not ranked.has_small or ranked.position > 1) as is_open
    from (
      select
        unit_size.*,
        unit_size.people >= _trend_by_value_of_groups.smallest_group as is_group,
        bool_or(unit_size.people < _trend_by_value_of_groups.smallest_group) over of_parent as has_small,
        row_number() over (
          partition by
            unit_size.level, unit_size.parent_start,
            unit_size.people >= _trend_by_value_of_groups.smallest_group
          order by unit_size.people, unit_size.unit_start
        ) as position
      from unit_size
      window of_parent as (partition by unit_size.level, unit_size.parent_start)
    ) as ranked
  ),

  -- Of these the units of the members, whose difference to all people must not be a small group either.
  shown_unit as materialized (
    select
      ranked.level, ranked.unit_start, ranked.is_open, ranked.members,
      case
        when _trend_by_value_of_groups.among is null then ranked.is_open
        else ranked.is_of_groups and (ranked.level = 1 or not ranked.has_hidden or ranked.member_position > 1)
      end as is_shown
    from (
      select
        grouped.*,
        bool_or(grouped.members > 0 and not grouped.is_of_groups) over (
          partition by grouped.level, grouped.parent_start
        ) as has_hidden,
        row_number() over (
          partition by grouped.level, grouped.parent_start, grouped.is_of_groups
          order by grouped.members, grouped.unit_start
        ) as member_position
      from (
        select
          open_unit.level, open_unit.unit_start, open_unit.parent_start, open_unit.members, open_unit.is_open,
          open_unit.is_open
            and open_unit.members >= _trend_by_value_of_groups.smallest_group
            and open_unit.people - open_unit.members not between 1 and _trend_by_value_of_groups.smallest_group - 1
            as is_of_groups
        from open_unit
      ) as grouped
    ) as ranked
  ),

  atom as (
    select distinct used.atom from used where used.is_use
  ),

  shown_atom as materialized (
    select atom.atom
    from atom
    cross join level
    left join shown_unit
      on shown_unit.level = level.level
      and shown_unit.unit_start = date_bin(level.unit, atom.atom, v_monday)
    group by atom.atom
    having bool_and(coalesce(shown_unit.is_shown, false))
  ),

  -- The other days of a week count together, in buckets that contain the week.
  small_day as materialized (
    select shown_unit.unit_start as atom, date_bin(v_week, shown_unit.unit_start, v_monday) as week_start
    from shown_unit
    where v_of_days
      and not shown_unit.is_shown
      -- A day without members adds nothing, and must not make a group of the others.
      and (_trend_by_value_of_groups.among is null or shown_unit.is_open and shown_unit.members > 0)
  ),

  shown_week as (
    select week_person.week_start
    from (
      select small_day.week_start, used.person_id, bool_or(used.is_member) as is_member
      from small_day
      join used on used.atom = small_day.atom and used.is_use
      group by 1, 2
    ) as week_person
    where width_bucket(week_person.week_start, _trend_by_value_of_groups.bounds)
      = width_bucket(week_person.week_start + interval '6 days', _trend_by_value_of_groups.bounds)
    group by week_person.week_start
    having count(*) filter (where week_person.is_member) >= _trend_by_value_of_groups.smallest_group
      and count(*) filter (where not week_person.is_member)
        not between 1 and _trend_by_value_of_groups.smallest_group - 1
  ),

  -- Values of a day: small ones are part of the rest, and the smallest other one if the rest was small.
  value_person as materialized (
    select used.atom, used.key, used.person_id, bool_or(used.is_member) as is_member
    from used
    where _trend_by_value_of_groups.breakdown is not null
      and used.is_use
    group by 1, 2, 3
  ),

  value_size as (
    select
      value_person.atom, value_person.key,
      count(*) as people, count(*) filter (where value_person.is_member) as members,
      count(*) >= _trend_by_value_of_groups.smallest_group and value_person.key is not null as is_group
    from value_person
    group by 1, 2
  ),

  value_group as materialized (
    select
      value_size.*,
      row_number() over (
        partition by value_size.atom, value_size.is_group order by value_size.people, value_size.key collate "C"
      ) as position
    from value_size
  ),

  small_rest as (
    select value_person.atom
    from value_person
    join value_group
      on value_group.atom = value_person.atom
      -- Equal, because "is not distinct from" cannot be hashed. No key is that of the values that are not named.
      and coalesce(value_group.key, 'other') = coalesce(value_person.key, 'other')
    where not value_group.is_group
    group by 1
    having count(distinct value_person.person_id) < _trend_by_value_of_groups.smallest_group
  ),

  kept_value as materialized (
    select value_group.atom, value_group.key, value_group.people, value_group.members
    from value_group
    left join small_rest on small_rest.atom = value_group.atom
    where value_group.is_group
      and (value_group.position > 1 or small_rest.atom is null)
  ),

  -- Of members, the values of a day only if none of them, nor the rest, has a small group of members or of others.
  mixed_day as (
    select mixed.atom
    from (
      select kept_value.atom, kept_value.people, kept_value.members from kept_value
      union all
      select
        value_person.atom, count(distinct value_person.person_id),
        count(distinct value_person.person_id) filter (where value_person.is_member)
      from value_person
      left join kept_value on kept_value.atom = value_person.atom and kept_value.key = value_person.key
      where kept_value.key is null
      group by 1
    ) as mixed
    where _trend_by_value_of_groups.among is not null
      and (
        mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
        or mixed.people - mixed.members between 1 and _trend_by_value_of_groups.smallest_group - 1
      )
  ),

  -- Where values overlap, the smallest other one need not have other people than those that stay.
  overlapping_day as (
    select value_person.atom
    from value_person
    join small_rest on small_rest.atom = value_person.atom
    group by value_person.atom
    having count(*) > count(distinct value_person.person_id)
  ),

  shown_value as materialized (
    select kept_value.atom, kept_value.key
    from kept_value
    where kept_value.atom not in (select mixed_day.atom from mixed_day)
      and kept_value.atom not in (select overlapping_day.atom from overlapping_day)
  ),

  counted as materialized (
    select
      used.*,
      width_bucket(used.atom, _trend_by_value_of_groups.bounds) as bucket,
      case
        when _trend_by_value_of_groups.breakdown is null then ''
        when shown_value.key is not null then used.key
      end as shown_key
    from used
    left join shown_atom on shown_atom.atom = used.atom
    left join small_day on small_day.atom = used.atom
    left join shown_week on shown_week.week_start = small_day.week_start
    left join shown_value
      on shown_value.key = used.key
      and shown_value.atom = used.atom
      and shown_atom.atom is not null
    where used.is_member
      and (shown_atom.atom is not null or shown_week.week_start is not null)
      and width_bucket(used.atom, _trend_by_value_of_groups.bounds) between 1 and v_buckets
  ),

  -- The order shows nothing that the figures do not.
  top as materialized (
    select by_person.shown_key as key, by_person.value
    from (
      select counted.shown_key, counted.value, counted.person_id, sum(counted.event_count) as event_count
      from counted
      where counted.shown_key is not null
      group by 1, 2, 3
    ) as by_person
    group by 1, 2
    order by
      analytics._shown(sum(by_person.event_count)::float8, count(*), _trend_by_value_of_groups.smallest_group) desc,
      by_person.shown_key collate "C"
    limit _trend_by_value_of_groups.top_values
  ),

  by_person as (
    select
      top.value, top.key is null as is_other, counted.bucket, counted.person_id,
      bool_or(counted.is_use) as is_use,
      sum(counted.event_count) as event_count,
      sum(counted.engaged) as engaged
    from counted
    left join top on top.key = counted.shown_key
    group by 1, 2, 3, 4
  )

  select
    by_person.value, by_person.is_other, by_person.bucket, sum(by_person.event_count)::bigint,
    count(*) filter (where by_person.is_use), sum(by_person.engaged)
  from by_person
  group by by_person.value, by_person.is_other, by_person.bucket;
end;
$$;

comment on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int) is $$
Returns the figures of counted people per bucket and value of a breakdown.
No difference of figures is that of a small group. With the privileges of the caller; the other arguments are those of
`analytics._trend_by_value`.
Of buckets that consist of days (UTC), the rules for days are those of `analytics._trend_of_groups`. All other buckets
consist of hours (UTC), or where a bound is not that of an hour, of quarters of an hour or of minutes. Small hours are
left out, and in each day that has one the smallest other hour as well (secondary suppression); so are small quarters of
the hours, and small minutes of the quarters. What is missing of a day therefore has at least `smallest_group` people.
A part is in a figure of members of `among` if members and others are groups, or there are no others.
Values are those of days (UTC). Within a day, values of small groups are in the rest (`is_other`), and the smallest
other value too if the rest would be small (all values where people have several of them); with `among` all values
are, unless members and others are groups in each.
The sum over all values is the figure without a breakdown. Days of a week that count together are in the rest.
The named values are those with most events in the figures as shown.
Errors: CF001 for a breakdown of other buckets than days, CF008 for a period of more than 200,000 parts.
$$;

grant execute on function analytics._trend_by_value_of_groups(int, timestamptz[], bigint, text, text, int, int)
to insights_reader;
