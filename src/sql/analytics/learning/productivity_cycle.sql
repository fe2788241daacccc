create or replace function analytics._productivity_cycle(
  course_id bigint,
  learners bigint[],
  since timestamptz,
  until timestamptz,
  zone text,
  all_learners bigint[],
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.cycle_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select place.hour, sum(place.hour_count)::bigint as hour_count, count(*) as person_count
    from analytics._active_hours(
      _productivity_cycle.course_id, _productivity_cycle.learners, _productivity_cycle.since, _productivity_cycle.until,
      _productivity_cycle.zone, _productivity_cycle.all_learners, _productivity_cycle.smallest_group
    ) as person
    cross join lateral unnest(person.active_hours) with ordinality as place (hour_count, hour)
    where place.hour_count > 0
    group by place.hour
  ),

  shown as (
    select
      hour.number as hour,
      coalesce(
        analytics._shown(counted.hour_count::float8, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as hour_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _productivity_cycle.smallest_group), 0
      )::bigint as person_count
    from generate_series(0, 23) as hour (number)
    left join counted on counted.hour = hour.number + 1
  )

  select
    shown.hour, shown.hour_count, shown.person_count,
    shown.hour_count / nullif(sum(shown.hour_count) over (), 0)::float8,
    _productivity_cycle.breakdown_value, _productivity_cycle.is_other
  from shown
  order by shown.hour;
end;
$$;

comment on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
) is $$
Computes the result of `analytics.productivity_cycle` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._productivity_cycle(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.productivity_cycle(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.cycle_hour
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
  v_everyone bigint[];
begin
  v_visible := analytics._visible_learners(
    productivity_cycle.course, productivity_cycle.among, productivity_cycle.breakdown
  );
  if v_visible.smallest_group is not null then
    v_everyone := (
      select everyone.learners from analytics._visible_learners(productivity_cycle.course, null, null) as everyone
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      productivity_cycle.breakdown, productivity_cycle.top_values, v_visible.smallest_group,
      case
        when productivity_cycle.breakdown is null then v_visible.learners
        else analytics._active_learners(
          v_visible.course_id, v_visible.learners, productivity_cycle.since, productivity_cycle.until,
          productivity_cycle.zone, v_visible.smallest_group
        )
      end
    )
  loop
    return query
    select *
    from analytics._productivity_cycle(
      v_visible.course_id, v_part.people, productivity_cycle.since, productivity_cycle.until,
      productivity_cycle.zone, v_everyone, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.productivity_cycle(
  text, timestamptz, timestamptz, text, text, text, int
) owner to insights_reader;

comment on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text, text, int) is $$
Returns at which hours of the day people are active: how often, and how many of them.
An active hour is an hour of a day with an event of the person that is not automatic: of any item, or in `course` by the
people who are enrolled in it. It counts once, whatever the number of events. Hours are those of `zone`; null: of the
zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`: people of
these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` or `breakdown` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.productivity_cycle(text, timestamptz, timestamptz, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
