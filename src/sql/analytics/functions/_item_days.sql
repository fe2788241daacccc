create or replace function analytics._item_days(kind text, first_day date, end_day date, people bigint[])
returns table (item_id bigint, day date, event_count bigint, person_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the use of items by themselves, and that of courses with all that they contain.
  v_of_courses constant boolean := _item_days.kind is not distinct from 'course';
  v_is_stored constant boolean := _item_days.people is null and case
    when v_of_courses then not exists (select from track.stale_course)
    else _item_days.kind is null
      or not exists (
        select
        from track.item
        join track.item as part on part.parent_item_id = item.item_id
        where item.kind = _item_days.kind
      )
  end;
  v_people bigint[] := people;
  v_queued record;
begin
  if not v_is_stored then
    if v_people is null then
      select analytics._people_of(array_agg(counted.block), array_agg(counted.people)) into v_people
      from track.person_set_blocks('counted') as counted;
    end if;
    return query
    select
      by_person.target_id, by_person.day, sum(by_person.event_count)::bigint, count(*), sum(by_person.engaged)
    from (
      select
        ancestor.ancestor_item_id as target_id, activity.day, activity.person_id,
        sum(activity.event_count) as event_count, sum(activity.engaged) as engaged
      from track.activity_of(v_people, _item_days.first_day, _item_days.end_day) as activity
      join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
      join track.item on item.item_id = ancestor.ancestor_item_id
      where case
          when _item_days.kind is null then ancestor.depth = 0
          else item.kind = _item_days.kind
        end
      group by 1, 2, 3
    ) as by_person
    group by by_person.target_id, by_person.day;
    return;
  end if;

  v_queued := track.queued_days(_item_days.first_day, _item_days.end_day);
  return query
  with queued as (
    select
      ancestor.ancestor_item_id as target_id, queued.day, queued.was, queued.person_id,
      sum(queued.event_count) as event_count, sum(queued.engaged) as engaged
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join track.item_ancestor as ancestor on ancestor.item_id = queued.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when v_of_courses then item.kind = 'course'
        else ancestor.depth = 0 and (_item_days.kind is null or item.kind = _item_days.kind)
      end
    group by 1, 2, 3, 4
  )

  select
    used.target_id, used.day, sum(used.event_count)::bigint, sum(used.person_count)::bigint, sum(used.engaged)
  from (
    select
      item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.person_count, item_day.engaged
    from track.item_day
    join track.item on item.item_id = item_day.item_id
    where item_day.with_parts = v_of_courses
      and item_day.day >= _item_days.first_day
      and item_day.day < _item_days.end_day
      and (_item_days.kind is null or item.kind = _item_days.kind)

    union all

    select
      queued.target_id, queued.day, sign.sign * queued.event_count, sign.sign, sign.sign * queued.engaged
    from queued
    cross join lateral (select case when queued.was then -1 else 1 end as sign) as sign
  ) as used
  group by used.target_id, used.day
  having sum(used.person_count) > 0;
end;
$$;

comment on function analytics._item_days(text, date, date, bigint[]) is $$
Returns the use of each item of a kind by counted people, by day (UTC), on the days between two (`end_day` exclusive).
With what the items contain; `kind` null: the items themselves, without what they contain. Days without use have no row.
`people`: of these only; null: of all counted people. Read from the sums of the rollup, with the people that are queued
for a refresh; kinds of items with parts other than courses, and the use of some people, from the journeys.
$$;

grant execute on function analytics._item_days(text, date, date, bigint[]) to insights_reader;
