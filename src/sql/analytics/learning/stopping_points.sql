create or replace function analytics._stopping_points(
  course_id bigint,
  learners bigint[],
  kind text,
  inactive_days int,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.stopping_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the number of learners.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_active_since constant timestamptz :=
    date_trunc('day', now(), 'UTC') - make_interval(days => _stopping_points.inactive_days);
  v_queued constant bigint[] := coalesce(
    (track.queued_days('0001-01-01', 'infinity', _stopping_points.learners)).people, '{}'
  );
  -- By the key of the item: its item of the kind, 0 without one, -1 outside of the course.
  v_kind_item_of int[];
begin
  v_kind_item_of := array(
    select case when within.item_id is null then -1 else coalesce(part.kind_item_id, 0) end
    from generate_series(1, (select max(item.item_id) from track.item)) as every_item (item_id)
    left join track.item_ancestor as within
      on within.item_id = every_item.item_id
      and within.ancestor_item_id = _stopping_points.course_id
    left join analytics._kind_items(_stopping_points.course_id, _stopping_points.kind) as part
      on part.item_id = every_item.item_id
    order by every_item.item_id
  );
  return query
  -- Activity in the whole course decides who has stopped, also where it is not in an item of the kind. The uses of a
  -- person are combined while her journeys are read: those of all people are far more than the result.
  with learner as materialized (
    select
      enrolled.person_id, enrolled.has_completed, enrolled.has_dropped, enrolled.enrolled_at, used.ended_at,
      used.kind_items, used.last_kind_item
    from (
      select
        enrolment.person_id,
        bool_or(enrolment.status = 'completed') as has_completed,
        bool_and(enrolment.status = 'dropped') as has_dropped,
        min(enrolment.enrolled_at) as enrolled_at
      from track.enrolment
      where enrolment.item_id = _stopping_points.course_id
        and enrolment.person_id = any (_stopping_points.learners)
      group by enrolment.person_id
    ) as enrolled
    cross join lateral (
      select
        max(item_use.ended_at) as ended_at,
        array_agg(item_use.kind_item) filter (where item_use.kind_item > 0) as kind_items,
        (
          array_agg(item_use.kind_item order by item_use.ended_at desc, item_use.kind_item desc)
          filter (where item_use.kind_item > 0)
        )[1] as last_kind_item
      from (
        select v_kind_item_of[place.item_id] as kind_item, max(place.at) as ended_at
        from (
          select unnest(step.occurred_at) as at, unnest(step.item_ids) as item_id
          from track.step
          where step.person_id = enrolled.person_id
            and not step.is_automatic
            and enrolled.person_id <> all (v_queued)

          union all

          select event.occurred_at, event.item_id::int
          from track.event
          join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
          join track.source on source.source_id = event.source_id and not source.is_automatic
          where event.person_id = enrolled.person_id
            and enrolled.person_id = any (v_queued)
        ) as place
        group by 1
      ) as item_use
      where item_use.kind_item >= 0
    ) as used
  ),

  stopped as (
    select learner.person_id, learner.last_kind_item
    from learner
    where not learner.has_completed
      and (learner.has_dropped or coalesce(learner.ended_at, learner.enrolled_at) < v_active_since)
  ),

  reached as (
    select place.kind_item, count(*) as person_count
    from learner
    cross join lateral unnest(learner.kind_items) as place (kind_item)
    group by place.kind_item

    union all

    -- Before the first item (0) are all learners.
    select 0, count(*)
    from learner
  ),

  stopped_at as (
    select coalesce(stopped.last_kind_item, 0) as kind_item, count(*) as person_count
    from stopped
    group by 1
  ),

  place as (
    select distinct entry.kind_item from unnest(v_kind_item_of) as entry (kind_item) where entry.kind_item > 0

    union all

    select 0
  ),

  shown as (
    select
      place.kind_item,
      coalesce(
        analytics._shown(reached.person_count, reached.person_count, _stopping_points.smallest_group), 0
      )::bigint as reached_count,
      coalesce(
        analytics._shown(stopped_at.person_count, stopped_at.person_count, _stopping_points.smallest_group), 0
      )::bigint as stopped_count
    from place
    left join reached on reached.kind_item = place.kind_item
    left join stopped_at on stopped_at.kind_item = place.kind_item
  )

  select
    item.external_id, item.kind, item.title, shown.reached_count, shown.stopped_count,
    shown.stopped_count / nullif(shown.reached_count, 0)::float8,
    shown.stopped_count / nullif(sum(shown.stopped_count) over (), 0)::float8,
    _stopping_points.breakdown_value, _stopping_points.is_other
  from shown
  left join track.item on item.item_id = shown.kind_item
  order by shown.stopped_count desc, shown.reached_count desc, item.external_id collate "C" nulls first;
end;
$$;

comment on function analytics._stopping_points(bigint, bigint[], text, int, int, text, boolean) is $$
Computes the result of `analytics.stopping_points` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._stopping_points(
  bigint, bigint[], text, int, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.stopping_points(
  course text,
  kind text default null,
  inactive_days int default 14,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.stopping_point
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
declare
  v_visible record;
  v_part record;
begin
  perform common.check_count('inactive_days', stopping_points.inactive_days, 1, 3650);
  v_visible := analytics._visible_learners(
    coalesce(stopping_points.course, ''), stopping_points.among, stopping_points.breakdown
  );
  for v_part in
    select *
    from analytics._learner_groups(
      stopping_points.breakdown, stopping_points.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._stopping_points(
      v_visible.course_id, v_part.people, stopping_points.kind, stopping_points.inactive_days,
      v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.stopping_points(text, text, int, text, text, int) owner to insights_reader;

comment on function analytics.stopping_points(text, text, int, text, text, int) is $$
Returns where the learners of a course stopped: the items after which they did nothing more in it.
A learner has stopped when none of her enrolments is completed and she has dropped the course, or has not been active in
it today and on the `inactive_days` days (UTC) before; a learner who was never active counts from her enrolment on. She
stopped at the item of her last event in the course, and reached each item of which she has an event; automatic events,
such as grades, are left out. With `kind` (`page`, `video`, `task`, `module`), it is the last item of this kind: each
event counts for the nearest item of the kind that contains its item. The row without item holds the learners who
stopped before any such item. All items of the course have a row, in the order of the learners who stopped there.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers. People count as soon as their events are stored.
Errors: CF001 for `inactive_days` that are not from 1 to 3650; CF002 for an unknown course or set (names the nearest), a
course that the instructor does not teach, and a kind of which it contains no items; CF005 for `among` or `breakdown`
given by an instructor.
$$;

grant execute on function analytics.stopping_points(text, text, int, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
