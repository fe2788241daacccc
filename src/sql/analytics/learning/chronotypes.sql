create or replace function analytics._chronotypes(
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
returns setof analytics.chronotype
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with counted as (
    select found.chronotype, count(*) as person_count
    from analytics._active_hours(
      _chronotypes.course_id, _chronotypes.learners, _chronotypes.since, _chronotypes.until,
      _chronotypes.zone, _chronotypes.all_learners, _chronotypes.smallest_group
    ) as person
    cross join lateral analytics._chronotype(person.active_hours, person.active_days) as found
    group by found.chronotype
  ),

  shown as (
    select
      entry.chronotype, entry.place,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _chronotypes.smallest_group), 0
      )::bigint as person_count
    from unnest(
      '{definitely_morning,moderately_morning,intermediate,moderately_evening,definitely_evening,undetermined}'::text[]
    ) with ordinality as entry (chronotype, place)
    left join counted on counted.chronotype = entry.chronotype
  )

  select
    shown.chronotype, shown.person_count,
    shown.person_count / nullif(sum(shown.person_count) over (), 0)::float8,
    _chronotypes.breakdown_value, _chronotypes.is_other
  from shown
  order by shown.place;
end;
$$;

comment on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
) is $$
Computes the result of `analytics.chronotypes` for people, with the privileges of the caller.
`smallest_group`: see `analytics._active_hours` and `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._chronotypes(
  bigint, bigint[], timestamptz, timestamptz, text, bigint[], int, text, boolean
)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.chronotypes(
  course text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.chronotype
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
  v_visible := analytics._visible_learners(chronotypes.course, chronotypes.among, chronotypes.breakdown);
  if v_visible.smallest_group is not null then
    v_everyone := (
      select everyone.learners from analytics._visible_learners(chronotypes.course, null, null) as everyone
    );
  end if;
  for v_part in
    select *
    from analytics._learner_groups(
      chronotypes.breakdown, chronotypes.top_values, v_visible.smallest_group,
      case
        when chronotypes.breakdown is null then v_visible.learners
        else analytics._active_learners(
          v_visible.course_id, v_visible.learners, chronotypes.since, chronotypes.until, chronotypes.zone,
          v_visible.smallest_group
        )
      end
    )
  loop
    return query
    select *
    from analytics._chronotypes(
      v_visible.course_id, v_part.people, chronotypes.since, chronotypes.until, chronotypes.zone,
      v_everyone, v_visible.smallest_group, v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int) owner to insights_reader;

comment on function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int) is $$
Returns the chronotypes of people: how many learn in the morning, in the evening, or at no particular time.
The types are those of `analytics.my_chronotype`, from the active hours of each person: of any item, or in `course` for
the people who are enrolled in it. People without activity in the period are left out. Hours are those of `zone`; null:
of the zone of each person (the trait `timezone`, UTC without one). The period is extended to whole days. `among`:
people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people, of the days and hours on
which enough of them were active; fewer people than `analytics.setting.smallest_group` are 0, other figures are rounded
by `analytics._shown`, and shares are computed from these numbers. Without `course`, an instructor gets an error.
Errors: CF001 for a period, CF002 for an unknown course, set or zone (names the nearest) and for a course that the
instructor does not teach, CF005 for `among` or `breakdown` given by an instructor, CF008 for more than 10,000 days.
$$;

grant execute on function analytics.chronotypes(text, timestamptz, timestamptz, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
