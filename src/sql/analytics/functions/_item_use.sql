create or replace function analytics._item_use(
  kind text, first_day date, end_day date, half_life interval, newest_day date, smallest_group int, people bigint[]
)
returns table (
  item_id bigint,
  event_count bigint,
  person_count bigint,
  engaged interval,
  decayed_event_count float8,
  decayed_person_count float8,
  decayed_engaged float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_decays constant boolean := _item_use.half_life is not null;
  v_of_courses constant boolean := _item_use.kind is not distinct from 'course'
    and not exists (select from track.stale_course);
  -- People of whole months are the bits of courses. All other people are read from the days of people.
  v_by_bits constant boolean := v_of_courses and not v_decays;
  v_first_month date := date_trunc('month', _item_use.first_day + interval '1 month' - interval '1 day')::date;
  v_end_month date := date_trunc('month', _item_use.end_day::timestamp)::date;
  -- Bits of a day of a month, so that `width_bucket` finds the last day.
  v_powers constant int[] := array(select 1 << place from generate_series(0, 30) as place);
  v_queued record;
  -- One bit per person, counted or queued, of all blocks, and the months that queued days touch.
  v_counted varbit;
  v_queued_bits varbit;
  v_first_queued date;
  v_last_queued date;
begin
  if _item_use.people is not null then
    return query
    select used.*
    from analytics._item_use_of(
      _item_use.people, _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.half_life,
      _item_use.newest_day, _item_use.smallest_group
    ) as used;
    return;
  end if;

  if v_first_month >= v_end_month then
    v_first_month := _item_use.end_day;
    v_end_month := _item_use.end_day;
  end if;
  v_queued := track.queued_days(_item_use.first_day, _item_use.end_day);
  if not v_of_courses then
    select string_agg(coalesce(counted.people, v_no_people)::text, '' order by blocks.block)::varbit
    into v_counted
    from generate_series(
      0, (select max(set_block.block) from track.person_set_blocks('counted') as set_block)
    ) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block;
    if v_queued.people is not null then
      select string_agg(coalesce(queued.people, v_no_people)::text, '' order by blocks.block)::varbit
      into v_queued_bits
      from generate_series(
        0, (select max(person_id) / 4096 from unnest(v_queued.people) as person_id)
      ) as blocks (block)
      left join (
        select person_id / 4096 as block, bit_or(track.person_bit(person_id)) as people
        from unnest(v_queued.people) as person_id
        group by 1
      ) as queued on queued.block = blocks.block;
      select date_trunc('month', min(day)::timestamp), date_trunc('month', max(day)::timestamp)
      into v_first_queued, v_last_queued
      from unnest(v_queued.first_days || v_queued.end_days) as day;
    end if;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _item_use.kind is null then ancestor.depth = 0
        else item.kind = _item_use.kind
      end
  ),

  left_out as materialized (
    select small.item_id as target_id, small.day
    from analytics._left_out_days(
      _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.smallest_group
    ) as small
    where _item_use.smallest_group > 1
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select target.target_id, queued.person_id, queued.day, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  -- Sums. Those of the days that are left out are subtracted.
  summed as (
    select item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    where v_of_courses
      and item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
    union all
    select target.target_id, null, item_month.event_count, item_month.engaged
    from track.item_month
    join target on target.item_id = item_month.item_id
    where not v_of_courses
      and not v_decays
      and item_month.month >= v_first_month
      and item_month.month < v_end_month
    union all
    select target.target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    join target on target.item_id = item_day.item_id
    where not v_of_courses
      and not item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
      and (v_decays or item_day.day < v_first_month or item_day.day >= v_end_month)
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then -queued.event_count else queued.event_count end,
      case when queued.was then -queued.engaged else queued.engaged end
    from queued
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join track.item_day on item_day.item_id = left_out.target_id and item_day.day = left_out.day and item_day.with_parts
    where v_of_courses
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join target on target.target_id = left_out.target_id
    join track.item_day on item_day.item_id = target.item_id and item_day.day = left_out.day and not item_day.with_parts
    where not v_of_courses
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then queued.event_count else -queued.event_count end,
      case when queued.was then queued.engaged else -queued.engaged end
    from queued
    join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
  ),

  target_sum as (
    select
      summed.target_id,
      sum(summed.event_count)::bigint as event_count,
      sum(summed.engaged) as engaged,
      sum(summed.event_count * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life))
        as decayed_event_count,
      sum(
        extract(epoch from summed.engaged)
          * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life)
      ) as decayed_engaged
    from summed
    group by summed.target_id
  ),

  -- The months of the rollup that queued days touch, with these days as bits.
  queued_month as materialized (
    select
      entry.person_id, months.first_day as month,
      (
        ((1::bigint << least(entry.end_day - months.first_day, 31)) - 1)
          & ~((1::bigint << greatest(entry.first_day - months.first_day, 0)) - 1)
      )::int as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    cross join (
      select min(item_day.day) as first_day, max(item_day.day) as last_day
      from track.item_day
      where not item_day.with_parts
      having min(item_day.day) is not null
    ) as stored
    cross join lateral (
      select month::date as first_day
      from generate_series(
        date_trunc('month', greatest(entry.first_day, stored.first_day)::timestamp),
        least(entry.end_day - 1, stored.last_day)::timestamp,
        interval '1 month'
      ) as month
    ) as months
  ),

  queued_block as materialized (
    select
      queued_month.month, (queued_month.person_id / 4096)::int as block,
      bit_or(track.person_bit(queued_month.person_id)) as people
    from queued_month
    group by 1, 2
  ),

  left_out_month as materialized (
    select
      left_out.target_id, date_trunc('month', left_out.day::timestamp)::date as month,
      bit_or(1 << (extract(day from left_out.day)::int - 1)) as mask
    from left_out
    group by 1, 2
  ),

  -- People with queued days in a month are not read from its bits, but from their days.
  used_in_months as (
    select by_block.target_id, by_block.block, by_block.people & counted.people as people
    from (
      select
        course_presence.item_id as target_id, course_presence.block,
        bit_or(course_presence.people & ~coalesce(queued_block.people, v_no_people)) as people
      from track.course_presence
      left join queued_block
        on queued_block.month = course_presence.month
        and queued_block.block = course_presence.block
      where v_by_bits
        and course_presence.month >= v_first_month
        and course_presence.month < v_end_month
        and course_presence.item_id not in (select left_out_month.target_id from left_out_month)
      group by course_presence.item_id, course_presence.block
    ) as by_block
    join counted on counted.block = by_block.block
  ),

  -- The days of the people of courses in the period.
  listed_days as not materialized (
    select
      course_presence.item_id as target_id, course_presence.month,
      course_presence.block::bigint * 4096 + listed.member as person_id,
      listed.days & limits.mask as days
    from track.course_presence
    left join left_out_month
      on left_out_month.target_id = course_presence.item_id
      and left_out_month.month = course_presence.month
    cross join lateral (
      select
        analytics._days_of_month(course_presence.month, _item_use.first_day, _item_use.end_day)
          & ~coalesce(left_out_month.mask, 0) as mask
    ) as limits
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_of_courses
      and course_presence.month > _item_use.first_day - 31
      and course_presence.month < _item_use.end_day
      and listed.days & limits.mask <> 0
  ),

  used_on_days as (
    select used.target_id, used.person_id, max(used.last_day) as last_day
    from (
      select
        listed_days.target_id, listed_days.person_id,
        case when v_decays then listed_days.month - 1 + width_bucket(listed_days.days, v_powers) end as last_day
      from listed_days
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      left join queued_block
        on queued_block.month = listed_days.month
        and queued_block.block = listed_days.person_id / 4096
      where coalesce(get_bit(queued_block.people, (listed_days.person_id % 4096)::int), 0) = 0
        and (
          not v_by_bits
          or listed_days.month < v_first_month
          or listed_days.month >= v_end_month
          or listed_days.target_id in (select of_target.target_id from left_out_month as of_target)
        )

      union all

      -- Other days of queued people, in the months with queued days.
      select
        listed_days.target_id, listed_days.person_id,
        case
          when v_decays
            then listed_days.month - 1 + width_bucket(listed_days.days & ~queued_month.days, v_powers)
        end
      from listed_days
      join queued_month
        on queued_month.month = listed_days.month
        and queued_month.person_id = listed_days.person_id
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      where v_queued.people is not null
        and listed_days.days & ~queued_month.days <> 0

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where v_of_courses
        and not queued.was
        and left_out.day is null
    ) as used
    group by used.target_id, used.person_id
  ),

  -- People with queued days who used other items: on these days, and on other days of the months that they touch.
  queued_people as (
    select used.target_id, array_agg(used.person_id) as people, array_agg(used.last_day) as last_days
    from (
      select
        target.target_id, entry.person_id,
        item_month.month - 1 + width_bucket(unqueued.days, v_powers) as last_day
      from track.item_month
      join target on target.item_id = item_month.item_id
      left join left_out_month
        on left_out_month.target_id = target.target_id
        and left_out_month.month = item_month.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
        on entry.person_id = item_month.part::bigint * 32768 + listed.person
      cross join lateral (
        select
          listed.days & ~coalesce(left_out_month.mask, 0)
            & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day)
            & ~analytics._days_of_month(item_month.month, entry.first_day, entry.end_day) as days
      ) as unqueued
      where item_month.month between v_first_queued and v_last_queued
        and unqueued.days <> 0
        and case when entry.person_id < length(v_counted) then get_bit(v_counted, entry.person_id::int) <> 0 end

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where not queued.was
        and left_out.day is null
    ) as used
    where not v_of_courses
      and v_queued.people is not null
    group by used.target_id
  ),

  -- Item by item: one hash table of all items and people would be several times slower.
  used_items as (
    select of_target.target_id, used.person_count, used.weight
    from (
      select target.target_id, array_agg(target.item_id) as item_ids
      from target
      where not v_of_courses
      group by target.target_id
    ) as of_target
    left join queued_people on queued_people.target_id = of_target.target_id
    cross join lateral (
      select
        count(*) as person_count,
        sum(analytics._weight(_item_use.newest_day - by_person.last_day, _item_use.half_life)) as weight
      from (
        select on_days.person_id, max(on_days.last_day) as last_day
        from (
          select
            listed_people.person_id,
            case when v_decays then listed_people.month - 1 + width_bucket(listed_people.days, v_powers) end as last_day
          from (
            select
              item_month.month, item_month.part * 32768 + listed.person as person_id,
              listed.days & ~coalesce(left_out_month.mask, 0)
                & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day) as days
            from track.item_month
            left join left_out_month
              on left_out_month.target_id = of_target.target_id
              and left_out_month.month = item_month.month
            cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
            where item_month.item_id = any (of_target.item_ids)
              and item_month.month > _item_use.first_day - 31
              and item_month.month < _item_use.end_day
          ) as listed_people
          where listed_people.days <> 0
            and case
              when listed_people.person_id < length(v_counted) then get_bit(v_counted, listed_people.person_id) <> 0
            end
            and case
              when v_queued.people is not null
                and listed_people.month between v_first_queued and v_last_queued
                and listed_people.person_id < length(v_queued_bits)
                then get_bit(v_queued_bits, listed_people.person_id) = 0
              else true
            end

          union all

          select entry.person_id, entry.last_day
          from unnest(queued_people.people, queued_people.last_days) as entry (person_id, last_day)
        ) as on_days
        group by on_days.person_id
      ) as by_person
    ) as used
    where used.person_count > 0
  ),

  target_people as (
    select
      person_row.target_id, sum(person_row.person_count) as person_count, sum(person_row.weight) as weight
    from (
      select used_in_months.target_id, bit_count(used_in_months.people) as person_count, null as weight
      from used_in_months
      union all
      select
        used_on_days.target_id, count(*),
        sum(analytics._weight(_item_use.newest_day - used_on_days.last_day, _item_use.half_life))
      from used_on_days
      left join used_in_months
        on used_in_months.target_id = used_on_days.target_id
        and used_in_months.block = used_on_days.person_id / 4096
      where coalesce(get_bit(used_in_months.people, (used_on_days.person_id % 4096)::int), 0) = 0
      group by used_on_days.target_id
      union all
      select used_items.target_id, used_items.person_count, used_items.weight
      from used_items
    ) as person_row
    group by person_row.target_id
  )

  select
    target_people.target_id,
    coalesce(target_sum.event_count, 0),
    target_people.person_count::bigint,
    coalesce(target_sum.engaged, '0'),
    coalesce(case when v_decays then target_sum.decayed_event_count else target_sum.event_count end, 0)::float8,
    (case when v_decays then target_people.weight else target_people.person_count end)::float8,
    coalesce(
      case when v_decays then target_sum.decayed_engaged else extract(epoch from target_sum.engaged) end, 0
    )::float8
  from target_people
  left join target_sum on target_sum.target_id = target_people.target_id
  where target_people.person_count > 0;
end;
$$;

comment on function analytics._item_use(text, date, date, interval, date, int, bigint[]) is $$
Returns the use of the items of a kind, including that of the items they contain, on the days between two.
`end_day` is exclusive. `kind` null: the items themselves, without what they contain. People and sums are those of the
set `counted`; items that none of them used have no row. `half_life`: the decayed columns halve the events per
`half_life` of age at `newest_day`, and a person has the weight of the latest day; null: equal weights.
`smallest_group`: the days of an item that `analytics._left_out_days` returns are left out; 1: all days count.
`people`: of these only, from their journeys (`analytics._item_use_of`); null: all counted people, from the sums.
$$;

grant execute on function analytics._item_use(text, date, date, interval, date, int, bigint[]) to insights_reader;
