create or replace function analytics._feature_people(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  previous_day date,
  observed_day date,
  return_days int,
  of_blocks int[],
  of_people bit(4096)[],
  smallest_group int
)
returns table (
  event_type_id int,
  item_kind text,
  block int,
  people bit(4096),
  earlier_people bit(4096),
  observed_people bit(4096),
  returned_people bit(4096),
  previous_people bit(4096),
  person_days bigint,
  event_count bigint,
  previous_event_count bigint,
  days date[],
  oldest_day date,
  latest_day date
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
-- The bits of a year are sorted in memory.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_of_all constant boolean := of_blocks is null;
  v_reads_journeys constant boolean := _feature_people.by_kind or not v_of_all;
  v_event_types constant int[] := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.merged_event_type_id is null
      and case
        when _feature_people.of_event_type_id is null
          then not event_type.is_automatic and not event_type.is_heartbeat and event_type.purpose <> 'service'
        else event_type.event_type_id = _feature_people.of_event_type_id
      end
  );
  -- Type 0 is any event that is not automatic. By kind of item, the other types are read from the journeys.
  v_present_types constant int[] := 0 || case when _feature_people.by_kind then '{}' else v_event_types end;
  -- The people who count, by block: an array, because the planner cannot estimate a join.
  v_members constant bit(4096)[] := (
    select array_agg(coalesce(member.people, v_no_people) order by blocks.block)
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)) as blocks (block)
    left join (
      select listed.block, listed.people from unnest(of_blocks, of_people) as listed (block, people)
      union all
      select everyone.block, everyone.people
      from analytics._members(null, _feature_people.smallest_group) as everyone
      where v_of_all
    ) as member on member.block = blocks.block
  );
  -- The other people, whom analysts could know from the difference to all people; null: there are none.
  v_others constant bit(4096)[] := case
    when not v_of_all and smallest_group > 1 then (
      select array_agg(
        coalesce(counted.people & ~coalesce(v_members[blocks.block + 1], v_no_people), v_no_people)
        order by blocks.block
      )
      from generate_series(0, cardinality(v_members) - 1) as blocks (block)
      left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    )
  end;
  v_reads_others constant boolean := _feature_people.by_kind and v_others is not null;
  v_queued record;
  v_is_queued boolean;
  -- Whether the days before the two periods are read as they are stored, which is several times faster.
  v_reads_history_at_once boolean;
begin
  v_queued := track.queued_days('-infinity', _feature_people.end_day);
  v_is_queued := v_queued.people is not null;
  v_reads_history_at_once := _feature_people.smallest_group is null
    and not exists (
      select from unnest(v_queued.first_days) as queued_day where queued_day < _feature_people.previous_day
    );

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select
      typed.event_type_id, entry.person_id, entry.day, entry.was,
      case when entry.was then -typed.event_count else typed.event_count end as event_count
    from (
      select activity.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      union all
      select activity.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where typed.event_count > 0
      and typed.event_type_id = any (v_present_types)
  ),

  change as materialized (
    select
      queued.event_type_id, queued.day, (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not membership.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where membership.is_counted), 0) as counted_count
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join counted on counted.block = queued.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    cross join lateral (
      select
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
    ) as membership
    group by 1, 2, 3
  ),

  -- Numbers of events of some people, and events by kind of item, are in the journeys.
  journey as materialized (
    select
      activity.event_type_id,
      case when _feature_people.by_kind then coalesce(item.kind, '') else '' end as item_kind,
      activity.day, (activity.person_id / 4096)::int as block,
      case
        when _feature_people.by_kind
          then coalesce(
            bit_or(track.person_bit(activity.person_id)) filter (where activity.person_id <> 0), v_no_people
          )
        else v_no_people
      end as people,
      coalesce(
        sum(activity.event_count) filter (
          where not v_reads_others
            or get_bit(v_members[(activity.person_id / 4096)::int + 1], (activity.person_id % 4096)::int) <> 0
        ),
        0
      ) as event_count
    from track.activity_of(
      case
        when not v_of_all and not v_reads_others then analytics._people_of(of_blocks, of_people)
        else analytics._people_among(null, _feature_people.smallest_group)
          -- Anonymised events.
          || case when _feature_people.smallest_group is null then '{0}'::bigint[] end
      end,
      _feature_people.previous_day,
      _feature_people.end_day,
      v_event_types
    ) as activity
    left join track.item on item.item_id = activity.item_id
    where v_reads_journeys
    group by 1, 2, 3, 4
  ),

  -- Rows of the same feature, day and block add up. Not materialized: the bits of all days are large.
  cell as not materialized (
    select
      presence.event_type_id, '' as item_kind, presence.day, presence.block,
      presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_members[presence.block + 1], v_no_people)
        as people,
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then presence.counted_count
        else presence.event_count
      end as event_count,
      case
        when v_others is not null then bit_count(
          presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_others[presence.block + 1], v_no_people)
        )
        else 0
      end as other_count
    from track.presence
    left join change
      on v_is_queued
      and change.event_type_id = presence.event_type_id
      and change.day = presence.day
      and change.block = presence.block
    where presence.event_type_id = any (v_present_types)
      and presence.day < _feature_people.end_day
      and (presence.event_type_id <> 0 or presence.day >= _feature_people.first_day)
      and (not v_reads_history_at_once or presence.day >= _feature_people.previous_day)

    union all

    select
      change.event_type_id, '', change.day, change.block,
      change.added & coalesce(v_members[change.block + 1], v_no_people),
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then change.counted_count
        else change.event_count
      end,
      bit_count(change.added & coalesce(v_others[change.block + 1], v_no_people))
    from change

    union all

    select
      journey.event_type_id, journey.item_kind, journey.day, journey.block,
      journey.people & coalesce(v_members[journey.block + 1], v_no_people), journey.event_count,
      bit_count(journey.people & coalesce(v_others[journey.block + 1], v_no_people))
    from journey
  ),

  history as (
    select presence.event_type_id, presence.block, bit_or(presence.people) as people
    from track.presence
    where v_reads_history_at_once
      and presence.event_type_id = any (v_present_types)
      and presence.event_type_id <> 0
      and presence.day < _feature_people.previous_day
    group by presence.event_type_id, presence.block
  ),

  history_days as (
    select
      feature.event_type_id,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day
        limit 1
      ) as oldest_day,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day desc
        limit 1
      ) as latest_day
    from unnest(v_event_types) as feature (event_type_id)
    where v_reads_history_at_once
      and not _feature_people.by_kind
  ),

  -- Days on which the others are few are hidden, and not in their weeks either.
  small_day as materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, date_trunc('week', cell.day::timestamp)::date as week,
      sum(cell.other_count) between 1 and _feature_people.smallest_group - 1 as is_hidden
    from cell
    where _feature_people.smallest_group is not null
    group by cell.event_type_id, cell.item_kind, cell.day
    having sum(bit_count(cell.people)) < _feature_people.smallest_group
      or sum(cell.other_count) between 1 and _feature_people.smallest_group - 1
  ),

  -- Weeks (from Monday) whose small days have enough people together. They count in periods that contain them.
  week_of_group as materialized (
    select by_block.event_type_id, by_block.item_kind, by_block.week
    from (
      select cell.event_type_id, cell.item_kind, small_day.week, cell.block, bit_or(cell.people) as people
      from small_day
      join cell using (event_type_id, item_kind, day)
      where not small_day.is_hidden
      group by cell.event_type_id, cell.item_kind, small_day.week, cell.block
    ) as by_block
    group by by_block.event_type_id, by_block.item_kind, by_block.week
    having sum(bit_count(by_block.people)) >= _feature_people.smallest_group
  ),

  placed as not materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, cell.block, cell.people, cell.event_count,
      small_day.day is null as is_large,
      cell.day >= _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.first_day
            and week_of_group.week + 7 <= _feature_people.end_day
        ) as in_period,
      cell.day >= _feature_people.previous_day
        and cell.day < _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.previous_day
            and week_of_group.week + 7 <= _feature_people.first_day
        ) as in_previous,
      cell.day < _feature_people.first_day
        and (small_day.day is null or week_of_group.week + 7 <= _feature_people.first_day) as is_before
    from cell
    left join small_day
      on small_day.event_type_id = cell.event_type_id
      and small_day.item_kind = cell.item_kind
      and small_day.day = cell.day
    left join week_of_group
      on week_of_group.event_type_id = small_day.event_type_id
      and week_of_group.item_kind = small_day.item_kind
      and week_of_group.week = small_day.week
      and not small_day.is_hidden
  ),

  returned as (
    select
      in_order.event_type_id, in_order.item_kind, in_order.block, bit_or(in_order.people & in_order.earlier) as people
    from (
      select
        placed.event_type_id, placed.item_kind, placed.block, placed.people,
        bit_or(placed.people) over (
          partition by placed.event_type_id, placed.item_kind, placed.block
          order by placed.day
          range between unbounded preceding and make_interval(days => _feature_people.return_days) preceding
        ) as earlier
      from placed
      where placed.day >= _feature_people.first_day
        and placed.in_period
        and placed.event_type_id <> 0
    ) as in_order
    group by in_order.event_type_id, in_order.item_kind, in_order.block
  ),

  by_block as (
    select
      placed.event_type_id, placed.item_kind, placed.block,
      coalesce(bit_or(placed.people) filter (where placed.in_period), v_no_people) as people,
      coalesce(bit_or(placed.people) filter (where placed.is_before), v_no_people) as earlier_people,
      coalesce(
        bit_or(placed.people) filter (where placed.in_period and placed.day <= _feature_people.observed_day),
        v_no_people
      ) as observed_people,
      coalesce(bit_or(placed.people) filter (where placed.in_previous), v_no_people) as previous_people,
      coalesce(sum(bit_count(placed.people)) filter (where placed.in_period), 0)::bigint as person_days,
      coalesce(sum(placed.event_count) filter (where placed.in_period), 0)::bigint as event_count,
      coalesce(sum(placed.event_count) filter (where placed.in_previous), 0)::bigint as previous_event_count,
      array_agg(placed.day) filter (where placed.in_period) as days,
      min(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as oldest_day,
      max(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as latest_day
    from placed
    group by placed.event_type_id, placed.item_kind, placed.block
  )

  select
    by_block.event_type_id,
    nullif(by_block.item_kind, ''),
    by_block.block,
    by_block.people,
    by_block.earlier_people | coalesce(history.people, v_no_people),
    by_block.observed_people,
    coalesce(returned.people, v_no_people),
    by_block.previous_people,
    by_block.person_days,
    by_block.event_count,
    by_block.previous_event_count,
    by_block.days,
    least(by_block.oldest_day, history_days.oldest_day),
    greatest(by_block.latest_day, history_days.latest_day)
  from by_block
  left join returned using (event_type_id, item_kind, block)
  left join history on history.event_type_id = by_block.event_type_id and history.block = by_block.block
  left join history_days on history_days.event_type_id = by_block.event_type_id;
end;
$$;

comment on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) is $$
Returns the people and events of event types in a period, one row per block of 4,096 people, as of now.
Event types are those that people cause by an action, or the one of `of_event_type_id`, and type 0: any event that is
not automatic. Days are UTC; the period is from `first_day` until `end_day` (exclusive), the one before it begins with
`previous_day`. `people`: in the period; `earlier_people`: on any day before it; `observed_people`: in the period
until `observed_day`; `returned_people`: in the period, and again at least `return_days` days later;
`previous_people`: in the period before. `earlier_people` may have bits of people who do not count. `days`: the days
of the period that count. `oldest_day` and `latest_day`: of all days before `end_day`.
`by_kind`: by kind of item, type 0 without kinds, and nothing before `previous_day`.
`of_blocks`, `of_people`: people who are not excluded, one bit per person; null: all of them, of whom only counted ones
with a `smallest_group`. With one, small days are left out as in `analytics._trend_of_groups`, in each of the periods
by itself, and so are days on which the other counted people are few.
$$;

grant execute on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) to insights_reader;
