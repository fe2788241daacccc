/* A definer owned by insights_reader: nobody else reads the materialized view. */
create or replace function analytics._course_summaries_exact()
returns setof analytics.summarized_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select
    item.external_id,
    item.title,
    summary.person_count,
    summary.enrolment_count,
    summary.completion_count,
    summary.dropped_count,
    summary.completion_count::float8 / nullif(summary.enrolment_count, 0),
    summary.event_count,
    summary.engaged,
    summary.last_day,
    summary.refreshed_at
  from analytics.course_summary as summary
  join track.item on item.item_id = summary.course_id
  order by summary.person_count desc, item.external_id;
$$;

alter function analytics._course_summaries_exact() owner to insights_reader;

comment on function analytics._course_summaries_exact() is $$
Returns the result of `analytics.course_summaries` with exact figures, for admins and workers.
$$;

grant execute on function analytics._course_summaries_exact() to insights_admin, insights_worker;

/* A definer owned by insights_reader: nobody else reads the materialized view. */
create or replace function analytics._course_summaries_shown()
returns setof analytics.summarized_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select
    item.external_id,
    item.title,
    shown.person_count,
    shown.enrolment_count,
    shown.completion_count,
    shown.dropped_count,
    shown.completion_count::float8 / nullif(shown.enrolment_count, 0),
    shown.event_count,
    shown.engaged,
    case when shown.person_count > 0 then summary.group_last_day end,
    summary.refreshed_at
  from analytics.course_summary as summary
  cross join analytics.setting
  join track.item on item.item_id = summary.course_id
  cross join lateral (
    select
      analytics._shown(
        summary.group_person_count, summary.group_person_count, setting.smallest_group
      )::bigint as person_count,
      analytics._shown(
        summary.enrolment_count, summary.enrolment_count, setting.smallest_group
      )::bigint as enrolment_count,
      analytics._shown(
        summary.completion_count, summary.completion_count, setting.smallest_group
      )::bigint as completion_count,
      analytics._shown(summary.dropped_count, summary.dropped_count, setting.smallest_group)::bigint as dropped_count,
      analytics._shown(
        summary.group_event_count, summary.group_person_count, setting.smallest_group
      )::bigint as event_count,
      make_interval(secs => analytics._shown(
        extract(epoch from summary.group_engaged)::float8, summary.group_person_count, setting.smallest_group
      )) as engaged
  ) as shown
  order by shown.person_count desc, item.external_id;
$$;

alter function analytics._course_summaries_shown() owner to insights_reader;

comment on function analytics._course_summaries_shown() is $$
Returns the result of `analytics.course_summaries` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._course_summaries_shown() to insights_analyst;

create or replace function analytics.course_summaries()
returns setof analytics.summarized_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- A view that was never refreshed cannot be read.
  if not (select relispopulated from pg_catalog.pg_class where oid = 'analytics.course_summary'::regclass) then
    return;
  end if;
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._course_summaries_exact()', 'execute') then
    return query
    select * from analytics._course_summaries_exact();
  else
    return query
    select * from analytics._course_summaries_shown();
  end if;
end;
$$;

comment on function analytics.course_summaries() is $$
Returns the use and the completion of each course, over all time, as of the last refresh of the materialized views.
A snapshot for lists and dashboards that reads one row per course; `analytics.popular_courses` is exact at any moment
and takes a period. All courses are returned, also those that nobody used. Only people in the set `counted` count.
For admins and workers, figures are exact. For analysts, the days on which fewer than `analytics.setting.smallest_group`
people used a course are left out, numbers are rounded by `analytics._shown` (completions like enrolments, each by
itself), the rate is computed from what is shown, and courses are in the order of what is shown.
Before the first refresh there is no row.
$$;

grant execute on function analytics.course_summaries() to insights_analyst, insights_admin, insights_worker;
