create or replace function analytics._course_progress(
  course_id bigint,
  learners bigint[],
  structure text,
  kind text,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.progress_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- Results of functions have no statistics.
set enable_nestloop to off
as $$
declare
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_times timestamptz[];
begin
  -- The latest run of each learner: what she did before it does not count, nor after its end for the structure of then.
  select
    array_agg(run.person_id), array_agg(run.enrolled_at),
    array_agg(case _course_progress.structure when 'then' then coalesce(run.ended_at, now()) else now() end)
  into v_people, v_since, v_times
  from (
    select distinct on (enrolment.person_id) enrolment.person_id, enrolment.enrolled_at, enrolment.ended_at
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (_course_progress.learners)
    order by enrolment.person_id, enrolment.enrolled_at desc, enrolment.ended_at desc nulls first
  ) as run;
  v_until := case _course_progress.structure when 'then' then v_times end;

  return query
  with learner as materialized (
    select entry.person_id, entry.counted_at
    from unnest(v_people, v_times) as entry (person_id, counted_at)
  ),

  part as materialized (
    select
      within.part_item_id as item_id, item.available_from, item.available_until,
      -- Unless the application states it, an item exists from when it was first seen or used.
      case
        when item.available_from is null then least(
          item.created_at,
          (select min(item_month.month) from track.item_month where item_month.item_id = item.item_id)::timestamp
            at time zone 'UTC'
        )
      end as created_at,
      within.started_at, within.ended_at
    from track.item_periods(_course_progress.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when _course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = _course_progress.kind
    end
  ),

  -- Learners of one time have one structure.
  moment as materialized (
    select distinct learner.counted_at from learner
  ),

  standing as materialized (
    select distinct moment.counted_at, part.item_id
    from moment
    join part
      on part.started_at <= moment.counted_at
      and part.ended_at > moment.counted_at
      and coalesce(part.available_from, part.created_at) <= moment.counted_at
      and coalesce(part.available_until, 'infinity') > moment.counted_at
  ),

  size as (
    select standing.counted_at, count(*) as item_count
    from standing
    group by standing.counted_at
  ),

  -- First with the time of the learner: an item alone has a row per time in `standing`.
  timed as materialized (
    select learner.person_id, learner.counted_at, used.item_id
    from analytics._item_uses(
      v_people, array(select distinct part.item_id from part), v_since, v_until
    ) as used
    join learner on learner.person_id = used.person_id
  ),

  used as (
    select timed.person_id, count(*) as item_count
    from timed
    join standing on standing.counted_at = timed.counted_at and standing.item_id = timed.item_id
    group by timed.person_id
  ),

  completed as (
    select distinct enrolment.person_id
    from track.enrolment
    where enrolment.item_id = _course_progress.course_id
      and enrolment.person_id = any (v_people)
      and enrolment.status = 'completed'
  ),

  counted as (
    select
      case
        when coalesce(used.item_count, 0) = 0 then 1
        when used.item_count = size.item_count then 6
        else 1 + ceil(4.0 * used.item_count / size.item_count)::int
      end as level,
      count(*) as person_count,
      count(completed.person_id) as completed_count
    from learner
    join size on size.counted_at = learner.counted_at
    left join used on used.person_id = learner.person_id
    left join completed on completed.person_id = learner.person_id
    group by 1
  ),

  shown as (
    select
      level.number, level.lower_bound, level.upper_bound,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _course_progress.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.completed_count, counted.completed_count, _course_progress.smallest_group), 0
      )::bigint as completed_count
    from (
      values (1, 0, 0), (2, 0, 0.25), (3, 0.25, 0.5), (4, 0.5, 0.75), (5, 0.75, 1), (6, 1, 1)
    ) as level (number, lower_bound, upper_bound)
    left join counted on counted.level = level.number
  )

  select
    shown.lower_bound::float8, shown.upper_bound::float8, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    shown.completed_count,
    _course_progress.breakdown_value, _course_progress.is_other
  from shown
  order by shown.number;
end;
$$;

comment on function analytics._course_progress(bigint, bigint[], text, text, int, text, boolean) is $$
Computes the result of `analytics.course_progress` for learners of a course, with the privileges of the caller.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._course_progress(
  bigint, bigint[], text, text, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.course_progress(
  course text,
  structure text default 'then',
  kind text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.progress_level
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
  if course_progress.structure is null or course_progress.structure not in ('then', 'now') then
    perform common.refuse(
      'CF001', format('structure is "%s"', left(course_progress.structure, 100)), 'Use then or now.'
    );
  end if;
  v_visible := analytics._visible_learners(
    coalesce(course_progress.course, ''), course_progress.among, course_progress.breakdown
  );
  if not exists (
    select
    from track.item_periods(v_visible.course_id) as within
    join track.item on item.item_id = within.part_item_id
    where case
      when course_progress.kind is null then item.kind not in ('course', 'module')
      else item.kind = course_progress.kind
    end
  ) then
    perform common.refuse(
      'CF002',
      format(
        'course "%s" contains no %s',
        left(course_progress.course, 100), coalesce(left(course_progress.kind, 100), 'items')
      ),
      'Give a kind that the course contains; send its items, or call track.sync_items, when it has no structure yet.'
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      course_progress.breakdown, course_progress.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._course_progress(
      v_visible.course_id, v_part.people, course_progress.structure, course_progress.kind,
      v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.course_progress(text, text, text, text, text, int) owner to insights_reader;

comment on function analytics.course_progress(text, text, text, text, text, int) is $$
Returns how far the learners of a course have come: how many have used none, some or all of its items.
Progress is the share of the items that the learner has used since the beginning of her latest enrolment, so that a new
run, or a reset with a new `enrolled_at`, begins at 0; automatic events are left out. `structure` = `then`: of the items
that the course had when her enrolment ended, now for an active one, and uses until then: a page that was moved or added
afterwards takes nothing from her. `now`: of the items that it has now, and all uses since the enrolment. `kind`: items
of this kind, such as `page`; null: all but courses and modules. An item is in the course from its `available_from`, or
else from when it was first seen or used (from the beginning of that month), until its `available_until`, and while the
course contained it (`track.item_periods`). Learners of a course without items at that time are left out.
`completed_count` is the number of them with a completed enrolment. Learners are all who are or were enrolled; `among`:
people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: a number of fewer people
than `analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed
from these numbers.
Errors: CF001 for another structure; CF002 for an unknown course or set (names the nearest), a course that the
instructor does not teach, and one without such items; CF005 for `among` or `breakdown` given by an instructor.
$$;

grant execute on function analytics.course_progress(text, text, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
