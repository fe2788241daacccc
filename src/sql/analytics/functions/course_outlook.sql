/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._course_outlook(target text, as_of timestamptz, smallest_group int)
returns setof analytics.course_outlook
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
as $$
begin
  return query
  with predicted as (
    select
      item.external_id,
      item.title,
      count(*) as person_count,
      avg(scored.score) as mean_score,
      percentile_cont(0.25) within group (order by scored.score) as lower_quartile,
      percentile_cont(0.75) within group (order by scored.score) as upper_quartile
    from analytics._learner_scores(_course_outlook.target, _course_outlook.as_of) as scored
    join track.item on item.item_id = scored.course_id
    where _course_outlook.smallest_group is null or track.is_in_person_set('counted', scored.person_id)
    group by item.item_id, item.external_id, item.title
    having count(*) >= coalesce(_course_outlook.smallest_group, 1)
  ),

  shown as (
    select
      predicted.external_id,
      predicted.title,
      analytics._shown(predicted.person_count, predicted.person_count, _course_outlook.smallest_group)::bigint
        as person_count,
      analytics._shown_mean(predicted.mean_score, predicted.person_count, _course_outlook.smallest_group)
        as mean_score,
      quartile.lower_quartile,
      quartile.upper_quartile
    from predicted
    cross join lateral (
      select
        analytics._shown_mean(
          predicted.lower_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as lower_quartile,
        analytics._shown_mean(
          predicted.upper_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as upper_quartile
    ) as quartile
  )

  select *
  from shown
  order by shown.mean_score desc nulls last, shown.external_id;
end;
$$;

alter function analytics._course_outlook(text, timestamptz, int) owner to insights_reader;

comment on function analytics._course_outlook(text, timestamptz, int) is $$
Computes the result of `analytics.course_outlook`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all learners.
$$;

grant execute on function analytics._course_outlook(text, timestamptz, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._course_outlook_shown(target text, as_of timestamptz)
returns setof analytics.course_outlook
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
as $$
  select *
  from analytics._course_outlook($1, date_trunc('day', $2), (select smallest_group from analytics.setting));
$$;

alter function analytics._course_outlook_shown(text, timestamptz) owner to insights_reader;

comment on function analytics._course_outlook_shown(text, timestamptz) is $$
Returns the result of `analytics.course_outlook` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._course_outlook_shown(text, timestamptz)
to insights_analyst;

create or replace function analytics.course_outlook(target text default 'dropout', as_of timestamptz default now())
returns setof analytics.course_outlook
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._course_outlook(text, timestamptz, int)', 'execute') then
    return query
    select *
    from analytics._course_outlook(course_outlook.target, course_outlook.as_of, null);
  else
    return query
    select *
    from analytics._course_outlook_shown(course_outlook.target, course_outlook.as_of);
  end if;
end;
$$;

comment on function analytics.course_outlook(text, timestamptz) is $$
Returns the predictions for the learners of each course, aggregated.
The mean probability of `dropout` or `completion`, or the mean expected `activity`, as of a time.
For admins and workers, figures are exact, of all learners. Analysts see figures of learners in the set `counted`, as of
the beginning of the day (UTC), rounded by `analytics._shown` and `analytics._shown_mean`, in the order of what is
shown. Courses with fewer learners than `analytics.setting.smallest_group` are excluded; a mean is null for fewer than
1.5 times as many, and quartiles for fewer than 4.5 times as many.
Errors: CF001 (as_of), CF002 (unknown target), CF006 (not trained).
$$;

grant execute on function analytics.course_outlook(text, timestamptz)
to insights_analyst, insights_admin, insights_worker;
