/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics.course_outlook(target text default 'dropout', as_of timestamptz default now())
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
  select
    item.external_id,
    item.title,
    count(*),
    avg(scored.score),
    case
      when count(*) filter (where counted.belongs) >= 4 * setting.smallest_group
        then percentile_cont(0.25) within group (order by scored.score)
    end,
    case
      when count(*) filter (where counted.belongs) >= 4 * setting.smallest_group
        then percentile_cont(0.75) within group (order by scored.score)
    end
  from analytics._learner_scores($1, $2) as scored
  join track.item on item.item_id = scored.course_id
  cross join analytics.setting
  cross join lateral (
    select track.is_in_person_set('counted', scored.person_id) as belongs
  ) as counted
  group by item.item_id, item.external_id, item.title, setting.smallest_group
  having count(*) filter (where counted.belongs) >= setting.smallest_group
  order by avg(scored.score) desc, item.external_id;
$$;

alter function analytics.course_outlook(text, timestamptz) owner to insights_reader;

comment on function analytics.course_outlook(text, timestamptz) is $$
Returns the predictions for the learners of each course, aggregated.
The mean probability of `dropout` or `completion`, or the mean expected `activity`, as of a time. Courses with fewer
learners than `analytics.setting.smallest_group` are excluded; quartiles are null when a quarter has fewer learners
than that. For these limits, only learners in the set `counted` count.
Errors: CF001 (as_of), CF002 (unknown target), CF006 (not trained).
$$;

grant execute on function analytics.course_outlook(text, timestamptz)
to insights_analyst, insights_admin, insights_worker;
