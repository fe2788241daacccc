create or replace function analytics._popular_courses_of(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  confidence float8,
  prior_weight float8,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_first_day constant date := greatest(_popular_courses_of.since::date, '0001-01-01');
  v_end_day constant date := least(
    (greatest(_popular_courses_of.until, '0001-01-01') - interval '1 microsecond')::date, '9999-12-30'
  ) + 1;
  v_z constant float8 := ml.normal_quantile((1 + _popular_courses_of.confidence) / 2);
begin
  return query
  with used as (
    select
      kernel.item_id as course_id,
      analytics._shown(kernel.event_count, kernel.person_count, _popular_courses_of.smallest_group)::bigint
        as event_count,
      analytics._shown(
        kernel.person_count, kernel.person_count, _popular_courses_of.smallest_group
      )::bigint as person_count,
      case
        when coalesce(_popular_courses_of.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _popular_courses_of.smallest_group
        ))
      end as engaged
    from analytics._item_use(
      'course', v_first_day, v_end_day, null, v_end_day, coalesce(_popular_courses_of.smallest_group, 1),
      case
        when _popular_courses_of.blocks is not null
          then analytics._people_of(_popular_courses_of.blocks, _popular_courses_of.people)
      end
    ) as kernel
    where kernel.person_count >= coalesce(_popular_courses_of.smallest_group, 1)
  ),

  -- Rates, bounds and averages are computed from the numbers as shown.
  completed as (
    select
      shown.course_id, shown.enrolment_count, shown.completion_count,
      sum(shown.completion_count) over () / nullif(sum(shown.enrolment_count) over (), 0) as rate_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.enrolment_count, kernel.enrolment_count, _popular_courses_of.smallest_group
        )::bigint as enrolment_count,
        analytics._shown(
          kernel.completion_count, kernel.completion_count, _popular_courses_of.smallest_group
        )::bigint as completion_count
      from analytics._course_completion(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
    ) as shown
  ),

  rated as (
    select
      shown.course_id, shown.rating_count, shown.mean_rating,
      sum(shown.rating_count * shown.mean_rating) over ()
        / nullif(sum(shown.rating_count) filter (where shown.mean_rating is not null) over (), 0) as mean_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.rating_count, kernel.rating_count, _popular_courses_of.smallest_group
        )::bigint as rating_count,
        analytics._shown_mean(kernel.mean_rating, kernel.rating_count, _popular_courses_of.smallest_group)
          as mean_rating
      from analytics._course_ratings(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
      where _popular_courses_of.measure = 'rating'
    ) as shown
  ),

  scored as (
    select
      item.external_id as course,
      item.title,
      used.event_count,
      used.person_count,
      used.engaged,
      coalesce(completed.enrolment_count, 0) as enrolment_count,
      coalesce(completed.completion_count, 0) as completion_count,
      completed.completion_count::float8 / nullif(completed.enrolment_count, 0) as completion_rate,
      bounds.bound[1] as completion_lower,
      bounds.bound[2] as completion_upper,
      case
        when completed.enrolment_count > 0
          then analytics._bayesian_average(
            completed.completion_count::float8 / completed.enrolment_count, completed.enrolment_count,
            completed.rate_of_all::float8, _popular_courses_of.prior_weight
          )
      end as completion_score,
      case when _popular_courses_of.measure = 'rating' then coalesce(rated.rating_count, 0) end as rating_count,
      rated.mean_rating,
      analytics._bayesian_average(
        rated.mean_rating, rated.rating_count, rated.mean_of_all, _popular_courses_of.prior_weight
      ) as rating_score
    from used
    join track.item on item.item_id = used.course_id
    left join completed on completed.course_id = used.course_id
    left join rated on rated.course_id = used.course_id
    cross join lateral (
      select analytics.wilson_bounds(
        completed.completion_count, completed.enrolment_count, v_z
      ) as bound
    ) as bounds
  )

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal courses.
  select
    (row_number() over by_score)::int,
    scored.course,
    scored.title,
    scored.event_count,
    scored.person_count,
    scored.engaged,
    scored.enrolment_count,
    scored.completion_count,
    scored.completion_rate,
    scored.completion_lower,
    scored.completion_upper,
    scored.completion_score,
    scored.rating_count,
    scored.mean_rating,
    scored.rating_score,
    null::text,
    false
  from scored
  cross join lateral (
    select round(
      case _popular_courses_of.measure
        when 'events' then scored.event_count
        when 'people' then scored.person_count
        when 'engaged' then extract(epoch from scored.engaged)
        when 'completion' then scored.completion_score
        when 'completion_bound' then scored.completion_lower
        when 'rating' then scored.rating_score
      end::numeric,
      9
    ) as score
  ) as by_measure
  window by_score as (
    order by by_measure.score desc nulls last, scored.person_count desc, scored.event_count desc, scored.course
  )
  order by 1
  limit _popular_courses_of.top;
end;
$$;

comment on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) is $$
Returns the most popular courses of some counted people, with the privileges of the caller.
See `analytics.popular_courses`. `blocks`, `people`: one bit per person; null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_courses(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_course
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
begin
  perform common.check_period(_popular_courses.since, _popular_courses.until);
  perform common.check_count('top', _popular_courses.top, 1, 10000);
  if _popular_courses.measure is null
    or _popular_courses.measure not in ('events', 'people', 'engaged', 'completion', 'completion_bound', 'rating')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_courses.measure, 100)),
      'Use events, people, engaged, completion (Bayesian average), completion_bound (Wilson) or rating.');
  end if;
  if _popular_courses.confidence is null or not (_popular_courses.confidence between 0.5 and 0.9999) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(_popular_courses.confidence::text, 'null')),
      'Give a probability from 0.5 to 0.9999, such as 0.95.');
  end if;
  if _popular_courses.prior_weight is null or not (_popular_courses.prior_weight between 0 and 1000000) then
    perform common.refuse(
      'CF001',
      format('prior_weight is %s', coalesce(_popular_courses.prior_weight::text, 'null')),
      'Give a number of learners from 0 to 1000000: the mean of all courses counts for as many.'
    );
  end if;

  return query
  select
    popular.rank, popular.course, popular.title, popular.event_count, popular.person_count, popular.engaged,
    popular.enrolment_count, popular.completion_count, popular.completion_rate, popular.completion_lower,
    popular.completion_upper, popular.completion_score, popular.rating_count, popular.mean_rating,
    popular.rating_score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_courses.among, _popular_courses.breakdown, _popular_courses.top_values, _popular_courses.smallest_group
  ) as part
  cross join lateral analytics._popular_courses_of(
    _popular_courses.since, _popular_courses.until, _popular_courses.measure, _popular_courses.top,
    _popular_courses.confidence, _popular_courses.prior_weight, part.blocks, part.people,
    _popular_courses.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

alter function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
)
owner to insights_reader;

comment on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) is $$
Computes the result of `analytics.popular_courses`.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_courses_shown(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int
)
returns setof analytics.popular_course
language sql
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
  select *
  from analytics._popular_courses(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8, text, int)
owner to insights_reader;

comment on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the result of `analytics.popular_courses` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst;

create or replace function analytics.popular_courses(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 10,
  among text default null,
  confidence float8 default 0.95,
  prior_weight float8 default 25,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_courses(timestamptz, timestamptz, text, int, text, float8, float8, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._popular_courses(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values, null
    );
  else
    return query
    select *
    from analytics._popular_courses_shown(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the most popular courses: their use between two times (`until` exclusive), completion and ratings.
`measure` decides the order: `events` (frequency), `people` (distinct people), `engaged` (engaged time), `completion`
(Bayesian average of the completion rate), `completion_bound` (lower bound of the rate) or `rating` (Bayesian average of
the ratings). Courses that nobody used in the period are not listed; those without a value of the measure come last.
Use is that of `analytics.popular_items('course', …)`, to the unit: the period is extended to whole days, UTC.
Completion is that of all enrolments (`track.enrolment`), as of now, whatever the period: most enrolments of the last
weeks cannot be completed yet. A person counts once per course, and as completed when one of her enrolments is. The
bounds are those of Wilson's score interval (1927) with `confidence`. The Bayesian average is IMDb's weighted rating:
(enrolments * rate + `prior_weight` * rate of all courses) / (enrolments + `prior_weight`), so that a course with few
learners is near the average, and one with as many as `prior_weight` halfway between it and its own rate.
Ratings (`measure` = `rating`; otherwise null) are the latest `Course Rated` of each person and course, as of now,
numbers from 0 to 100; they are read from these events.
Only people in the set `counted` count. `among`: those of them in an expression of sets of people, such as
`segment.power & ~cohort.beta`; their use is then read from their journeys, and takes longer. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. Ranks and averages of all courses are those within the value.
For admins and workers, figures are exact. For analysts, days of small groups are left out as in
`analytics.popular_items`; numbers are rounded by `analytics._shown`, completions and enrolments each by themselves;
rates, bounds, averages and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown set.
$$;

grant execute on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst, insights_admin, insights_worker;
