/* A definer owned by insights_reader: it reads notes about people, for instructors in their own courses only. */
create or replace function analytics.interventions(course text, person text default null)
returns setof analytics.course_intervention
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(interventions.course);
  v_person_id constant bigint := (
    select identity.person_id
    from track.identity
    where identity.external_id = interventions.person
      and identity.kind = 'user'
  );
  v_people bigint[];
begin
  v_people := array(
    select distinct noted.person_id
    from analytics._interventions(v_course_id) as noted
    where interventions.person is null or noted.person_id = v_person_id
  );
  perform privacy.record_disclosure(v_people, 'analytics.interventions');

  return query
  with noted as materialized (
    select * from analytics._interventions(v_course_id) as entry where entry.person_id = any (v_people)
  ),

  -- A grade, or another automatic event, is not an activity of the learner.
  active as materialized (
    select event.person_id, event.occurred_at
    from track.event
    join track.item_ancestor as ancestor
      on ancestor.item_id = event.item_id
      and ancestor.ancestor_item_id = v_course_id
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_people)
  ),

  enrolled as (
    -- Completed, or else active, or else dropped.
    select
      enrolment.person_id,
      (array_agg(enrolment.status order by array_position('{completed,active,dropped}', enrolment.status)))[1] as status
    from track.enrolment
    where enrolment.person_id = any (v_people)
      and enrolment.item_id = v_course_id
    group by enrolment.person_id
  )

  select
    noted.intervention_id, noted.person, noted.action, noted.note, noted.happened_at, noted.created_by, noted.risk,
    enrolled.status,
    (
      select count(distinct (active.occurred_at at time zone 'UTC')::date)::int
      from active
      where active.person_id = noted.person_id
        and active.occurred_at > noted.happened_at
        and active.occurred_at <= noted.happened_at + interval '14 days'
    ),
    (select max(active.occurred_at) from active where active.person_id = noted.person_id)
  from noted
  left join enrolled on enrolled.person_id = noted.person_id
  order by noted.happened_at desc, noted.intervention_id desc;
end;
$$;

alter function analytics.interventions(text, text) owner to insights_reader;

comment on function analytics.interventions(text, text) is $$
@behavior -mutationField +queryField
Returns the notes of what teachers did about the learners of a course, the latest first, and the outcome of each.
`person`: a `userId`; null: all learners. Instructors call it for courses that they teach now, and read the notes of all
their teachers. Learners who have opted out of the purpose `analytics` have no rows.
Errors: CF002 for an unknown course, or one that the instructor does not teach.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.interventions(text, text)
to insights_instructor, insights_admin, insights_worker;
