create or replace function analytics._stopping_points(
  course_id bigint, learners bigint[], kind text, inactive_days int, smallest_group int
)
returns setof analytics.stopping_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_active_since constant timestamptz :=
    date_trunc('day', now(), 'UTC') - make_interval(days => _stopping_points.inactive_days);
begin
  return query
  with part as materialized (
    select entry.item_id, entry.kind_item_id
    from analytics._kind_items(_stopping_points.course_id, _stopping_points.kind) as entry
  ),

  learner as materialized (
    select
      enrolment.person_id,
      bool_or(enrolment.status = 'completed') as has_completed,
      bool_and(enrolment.status = 'dropped') as has_dropped,
      min(enrolment.enrolled_at) as enrolled_at
    from track.enrolment
    where enrolment.item_id = _stopping_points.course_id
      and enrolment.person_id = any (_stopping_points.learners)
    group by enrolment.person_id
  ),

  -- Activity in the whole course decides who has stopped, also where it is not in an item of the kind.
  used as materialized (
    select used.person_id, part.kind_item_id, used.ended_at, used.item_id
    from analytics._item_uses(
      _stopping_points.learners,
      array(
        select ancestor.item_id
        from track.item_ancestor as ancestor
        where ancestor.ancestor_item_id = _stopping_points.course_id
      ),
      null,
      null
    ) as used
    left join part on part.item_id = used.item_id
  ),

  active as (
    select used.person_id, max(used.ended_at) as ended_at
    from used
    group by used.person_id
  ),

  stopped as (
    select learner.person_id
    from learner
    left join active on active.person_id = learner.person_id
    where not learner.has_completed
      and (learner.has_dropped or coalesce(active.ended_at, learner.enrolled_at) < v_active_since)
  ),

  last_used as (
    select distinct on (used.person_id) used.person_id, used.kind_item_id
    from used
    where used.kind_item_id is not null
    order by used.person_id, used.ended_at desc, used.item_id desc
  ),

  reached as (
    select used.kind_item_id, count(distinct used.person_id) as person_count
    from used
    where used.kind_item_id is not null
    group by used.kind_item_id

    union all

    -- Before the first item are all learners.
    select null, count(*)
    from learner
  ),

  stopped_at as (
    select last_used.kind_item_id, count(*) as person_count
    from stopped
    left join last_used on last_used.person_id = stopped.person_id
    group by last_used.kind_item_id
  ),

  place as (
    select distinct part.kind_item_id from part

    union all

    select null
  ),

  shown as (
    select
      place.kind_item_id,
      coalesce(
        analytics._shown(reached.person_count, reached.person_count, _stopping_points.smallest_group), 0
      )::bigint as reached_count,
      coalesce(
        analytics._shown(stopped_at.person_count, stopped_at.person_count, _stopping_points.smallest_group), 0
      )::bigint as stopped_count
    from place
    left join reached on reached.kind_item_id is not distinct from place.kind_item_id
    left join stopped_at on stopped_at.kind_item_id is not distinct from place.kind_item_id
  )

  select
    item.external_id, item.kind, item.title, shown.reached_count, shown.stopped_count,
    shown.stopped_count / nullif(shown.reached_count, 0)::float8,
    shown.stopped_count / nullif(sum(shown.stopped_count) over (), 0)::float8
  from shown
  left join track.item on item.item_id = shown.kind_item_id
  order by shown.stopped_count desc, shown.reached_count desc, item.external_id collate "C" nulls first;
end;
$$;

comment on function analytics._stopping_points(bigint, bigint[], text, int, int) is $$
Computes the result of `analytics.stopping_points` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._stopping_points(bigint, bigint[], text, int, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.stopping_points(
  course text,
  kind text default null,
  inactive_days int default 14,
  among text default null
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
begin
  perform common.check_count('inactive_days', stopping_points.inactive_days, 1, 3650);
  v_visible := analytics._visible_learners(coalesce(stopping_points.course, ''), stopping_points.among);
  return query
  select *
  from analytics._stopping_points(
    v_visible.course_id, v_visible.learners, stopping_points.kind, stopping_points.inactive_days,
    v_visible.smallest_group
  );
end;
$$;

alter function analytics.stopping_points(text, text, int, text) owner to insights_reader;

comment on function analytics.stopping_points(text, text, int, text) is $$
Returns where the learners of a course stopped: the items after which they did nothing more in it.
A learner has stopped when none of her enrolments is completed and she has dropped the course, or has not been active in
it today and on the `inactive_days` days (UTC) before; a learner who was never active counts from her enrolment on. She
stopped at the item of her last event in the course, and reached each item of which she has an event; automatic events,
such as grades, are left out. With `kind` (`page`, `video`, `task`, `module`), it is the last item of this kind: each
event counts for the nearest item of the kind that contains its item. The row without item holds the learners who
stopped before any such item. All items of the course have a row, in the order of the learners who stopped there.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers. People count as soon as their events are stored.
Errors: CF001 for `inactive_days` that are not from 1 to 3650; CF002 for an unknown course or set (names the nearest), a
course that the instructor does not teach, and a kind of which it contains no items; CF005 for `among` given by an
instructor.
$$;

grant execute on function analytics.stopping_points(text, text, int, text)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
