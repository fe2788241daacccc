create or replace function analytics._left_out_days(
  kind text, first_day date, end_day date, smallest_group int
)
returns table (item_id bigint, day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the people of items by themselves, and of whole courses.
  v_is_stored constant boolean := _left_out_days.kind is null
    or _left_out_days.kind = 'course' and not exists (select from track.stale_course);
  v_queued record;
begin
  if _left_out_days.smallest_group <= 1 then
    return;
  end if;
  v_queued := track.queued_days(_left_out_days.first_day, _left_out_days.end_day);

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _left_out_days.kind is null then ancestor.depth = 0
        else item.kind = _left_out_days.kind
      end
  ),

  queued as materialized (
    select distinct target.target_id, queued.person_id, queued.day, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  day_size as (
    select people.target_id, people.day, sum(people.person_count) as person_count
    from (
      select item_day.item_id as target_id, item_day.day, item_day.person_count
      from track.item_day
      join track.item on item.item_id = item_day.item_id
      where v_is_stored
        and item_day.with_parts = (_left_out_days.kind is not null)
        and item_day.day >= _left_out_days.first_day
        and item_day.day < _left_out_days.end_day

      union all

      select used.target_id, used.day, count(*)
      from (
        select distinct target.target_id, item_month.month + place as day, item_month.part, listed.person
        from track.item_month
        join target on target.item_id = item_month.item_id
        cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
        join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
        join track.person_set_block as stored
          on stored.name = 'counted'
          and stored.block = item_month.part * 8 + listed.person / 4096
          and get_bit(stored.people, listed.person % 4096) <> 0
        where not v_is_stored
          and item_month.month > _left_out_days.first_day - 31
          and item_month.month < _left_out_days.end_day
      ) as used
      where used.day >= _left_out_days.first_day
        and used.day < _left_out_days.end_day
      group by used.target_id, used.day

      union all

      select queued.target_id, queued.day, case when queued.was then -1 else 1 end
      from queued
    ) as people
    group by people.target_id, people.day
  ),

  small as materialized (
    select day_size.target_id, day_size.day, date_trunc('week', day_size.day::timestamp)::date as week
    from day_size
    where day_size.person_count between 1 and _left_out_days.smallest_group - 1
  ),

  -- The small days of weeks (from Monday) that are whole in the period, as bits of a month.
  small_week as materialized (
    select
      small.target_id, small.week, date_trunc('month', small.day::timestamp)::date as month,
      bit_or(1 << (extract(day from small.day)::int - 1)) as days
    from small
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
    group by 1, 2, 3
  ),

  queued_period as materialized (
    select queued_day.person_id, queued_day.first_day, queued_day.end_day
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
      as queued_day (person_id, first_day, end_day)
  ),

  -- Their people: those of courses as a whole, and others by the items that are contained.
  used_in_week as (
    select used.target_id, used.week, used.person_id
    from (
      select
        small_week.target_id, small_week.week, small_week.month, listed.days & small_week.days as days,
        course_presence.block::bigint * 4096 + listed.member as person_id
      from small_week
      join track.course_presence
        on course_presence.item_id = small_week.target_id
        and course_presence.month = small_week.month
      join counted on counted.block = course_presence.block
      cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
      where v_is_stored
        and _left_out_days.kind is not null
        and listed.days & small_week.days <> 0
        and get_bit(counted.people, listed.member) <> 0

      union all

      select
        small_week.target_id, small_week.week, small_week.month, listed.days & small_week.days,
        item_month.part::bigint * 32768 + listed.person
      from small_week
      join target on target.target_id = small_week.target_id
      join track.item_month on item_month.item_id = target.item_id and item_month.month = small_week.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join counted
        on counted.block = item_month.part * 8 + listed.person / 4096
        and get_bit(counted.people, listed.person % 4096) <> 0
      where (not v_is_stored or _left_out_days.kind is null)
        and listed.days & small_week.days <> 0
    ) as used
    left join queued_period on queued_period.person_id = used.person_id
    where queued_period.person_id is null
      or used.days & ~analytics._days_of_month(used.month, queued_period.first_day, queued_period.end_day) <> 0

    union all

    select small.target_id, small.week, queued.person_id
    from small
    join queued on queued.target_id = small.target_id and queued.day = small.day and not queued.was
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
  ),

  week_of_group as (
    select used_in_week.target_id, used_in_week.week
    from used_in_week
    group by used_in_week.target_id, used_in_week.week
    having count(distinct used_in_week.person_id) >= _left_out_days.smallest_group
  )

  select small.target_id, small.day
  from small
  where not exists (
    select
    from week_of_group
    where week_of_group.target_id = small.target_id
      and week_of_group.week = small.week
  );
end;
$$;

comment on function analytics._left_out_days(text, date, date, int) is $$
Returns the days on which an item of a kind was used by fewer than `smallest_group` counted people.
Without the small days of a week (from Monday) that is whole in the period, if they have at least `smallest_group`
people together. Arguments and items are those of `analytics._item_use`. Days without use have no row.
$$;

grant execute on function analytics._left_out_days(text, date, date, int) to insights_reader;
