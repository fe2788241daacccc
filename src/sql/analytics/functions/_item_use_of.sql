create or replace function analytics._item_use_of(
  people bigint[],
  kind text,
  first_day date,
  end_day date,
  half_life interval,
  newest_day date,
  smallest_group int
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
-- The best plan depends on the people and the period.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with everyone as materialized (
    select item_days.item_id, item_days.day, item_days.person_count
    from analytics._item_days(_item_use_of.kind, _item_use_of.first_day, _item_use_of.end_day, null) as item_days
    where _item_use_of.smallest_group > 1
  ),

  used_by_members as materialized (
    select
      target.item_id, activity.person_id, activity.day,
      sum(activity.event_count)::bigint as event_count, sum(activity.engaged) as engaged
    from track.activity_of(_item_use_of.people, _item_use_of.first_day, _item_use_of.end_day) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where case
        when _item_use_of.kind is null then ancestor.depth = 0
        else target.kind = _item_use_of.kind
      end
    group by target.item_id, activity.person_id, activity.day
  ),

  -- The others are a group too, or there are none.
  hidden as materialized (
    select member.item_id, member.day
    from (
      select used_by_members.item_id, used_by_members.day, count(*) as person_count
      from used_by_members
      group by used_by_members.item_id, used_by_members.day
    ) as member
    join everyone on everyone.item_id = member.item_id and everyone.day = member.day
    where everyone.person_count - member.person_count between 1 and _item_use_of.smallest_group - 1
  ),

  used as materialized (
    select used_by_members.*
    from used_by_members
    left join hidden on hidden.item_id = used_by_members.item_id and hidden.day = used_by_members.day
    where hidden.day is null
  ),

  small as materialized (
    select used.item_id, used.day, date_trunc('week', used.day::timestamp)::date as week
    from used
    group by used.item_id, used.day
    having count(*) < _item_use_of.smallest_group
  ),

  -- The rule of `analytics._left_out_days`.
  week_of_group as (
    select small.item_id, small.week
    from small
    join used on used.item_id = small.item_id and used.day = small.day
    where small.week >= _item_use_of.first_day
      and small.week + 7 <= _item_use_of.end_day
    group by small.item_id, small.week
    having count(distinct used.person_id) >= _item_use_of.smallest_group
  ),

  by_person as (
    select
      used.item_id, used.person_id,
      sum(used.event_count)::bigint as event_count, sum(used.engaged) as engaged,
      sum(used.event_count * decay.weight) as decayed_event_count,
      sum(extract(epoch from used.engaged) * decay.weight) as decayed_engaged,
      max(decay.weight) as weight
    from used
    cross join lateral (
      select analytics._weight(_item_use_of.newest_day - used.day, _item_use_of.half_life) as weight
    ) as decay
    left join small on small.item_id = used.item_id and small.day = used.day
    left join week_of_group on week_of_group.item_id = small.item_id and week_of_group.week = small.week
    where small.day is null
      or week_of_group.week is not null
    group by used.item_id, used.person_id
  )

  select
    by_person.item_id,
    sum(by_person.event_count)::bigint,
    count(*),
    sum(by_person.engaged),
    sum(by_person.decayed_event_count)::float8,
    sum(by_person.weight)::float8,
    sum(by_person.decayed_engaged)::float8
  from by_person
  group by by_person.item_id;
end;
$$;

comment on function analytics._item_use_of(bigint[], text, date, date, interval, date, int) is $$
Returns the use of the items of a kind by some people: what `analytics._item_use` returns, from their journeys.
The sums of the rollups are those of all counted people. A day of an item counts as `analytics._left_out_days`
describes, by these people alone, if the other counted people who used it are at least `smallest_group` as well, or
there are none; 1 or null: all days count.
$$;

grant execute on function analytics._item_use_of(bigint[], text, date, date, interval, date, int) to insights_reader;
