create or replace function analytics._course_journey(
  course_id bigint, person text, since timestamptz, until timestamptz
)
returns setof analytics.course_action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := analytics._course_learner(_course_journey.course_id, _course_journey.person);
begin
  return query
  select
    event.occurred_at,
    event_type.name,
    item.external_id,
    item.kind,
    item.title,
    page_view.engaged,
    event_type.is_automatic or source.is_automatic
  from track.event
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  join track.item_ancestor as ancestor
    on ancestor.item_id = event.item_id
    and ancestor.ancestor_item_id = _course_journey.course_id
  join track.item on item.item_id = event.item_id
  left join track.page_view
    on page_view.person_id = event.person_id
    and page_view.event_id = event.event_id
    and not page_view.is_continued
  where event.person_id = v_person_id
    and event.occurred_at >= _course_journey.since
    and event.occurred_at < _course_journey.until
  order by event.occurred_at, event.event_id;
end;
$$;

comment on function analytics._course_journey(bigint, text, timestamptz, timestamptz) is $$
Computes the result of `analytics.course_journey`, with the privileges of the caller, for any course.
$$;

grant execute on function analytics._course_journey(bigint, text, timestamptz, timestamptz) to insights_reader;

/* A definer owned by insights_reader: it reads the events of people, for instructors in their own courses only. */
create or replace function analytics.course_journey(
  course text,
  person text,
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof analytics.course_action
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(course_journey.course);
begin
  perform common.check_period(course_journey.since, course_journey.until);
  perform privacy.record_disclosure(
    array[analytics._course_learner(v_course_id, course_journey.person)], 'analytics.course_journey'
  );
  return query
  select *
  from analytics._course_journey(v_course_id, course_journey.person, course_journey.since, course_journey.until);
end;
$$;

alter function analytics.course_journey(text, text, timestamptz, timestamptz) owner to insights_reader;

comment on function analytics.course_journey(text, text, timestamptz, timestamptz) is $$
@behavior -mutationField +queryField
Returns what a learner did in a course between two times (`until` exclusive), in order of time.
`person` is a `userId`. Instructors call it for courses that they teach now. Only events of the course and of what it
contains are returned, without their properties and sessions, which may tell what the person did elsewhere.
No rows for an unknown person, and for people whose activity `analytics.course_learners` does not return.
Errors: CF001 for a period, CF002 for an unknown course, or one that the instructor does not teach.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.course_journey(text, text, timestamptz, timestamptz)
to insights_instructor, insights_admin, insights_worker;
