/* A definer: it writes analytics.intervention, which no role may write, for instructors in their own courses only. */
create or replace function analytics.record_intervention(
  course text,
  person text,
  action text,
  note text default null,
  happened_at timestamptz default now()
)
returns bigint
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_course_id constant bigint := analytics._course_id(record_intervention.course);
  v_person_id constant bigint := analytics._course_learner(v_course_id, record_intervention.person);
  v_identity_id bigint;
  v_risk float8;
  v_intervention_id bigint;
begin
  if v_person_id is null
    or not exists (
      select 1
      from track.enrolment
      where enrolment.person_id = v_person_id
        and enrolment.item_id = v_course_id
    )
    and not exists (
      select 1
      from track.event
      join track.item_ancestor as ancestor
        on ancestor.item_id = event.item_id
        and ancestor.ancestor_item_id = v_course_id
      where event.person_id = v_person_id
    )
  then
    -- The same error for an unknown person, and for one whose activity the course does not show.
    perform common.refuse(
      'CF002',
      format('the course has no learner "%s"', coalesce(left(record_intervention.person, 100), 'null')),
      'Give the userId of a learner whom analytics.course_learners returns with activity.'
    );
  end if;
  if record_intervention.action is null
    or record_intervention.action not in ('message', 'call', 'meeting', 'extension', 'tutoring', 'other')
  then
    perform common.refuse(
      'CF001',
      format('action is "%s"', coalesce(left(record_intervention.action, 100), 'null')),
      'Use message, call, meeting, extension, tutoring or other.'
    );
  end if;
  if length(record_intervention.note) > 2000 then
    perform common.refuse(
      'CF008', format('the note has %s characters', length(record_intervention.note)), 'It can have at most 2,000.'
    );
  end if;
  if record_intervention.happened_at is null
    or record_intervention.happened_at > now() + interval '1 minute'
    or record_intervention.happened_at < '1990-01-01'
  then
    perform common.refuse(
      'CF001',
      format('happened_at is %s', coalesce(record_intervention.happened_at::text, 'null')),
      'Give a time that has passed.'
    );
  end if;
  -- Held until the end of the transaction: an erasure that runs at the same time waits, and deletes the row, too.
  select identity.identity_id into v_identity_id
  from track.identity
  where identity.external_id = record_intervention.person
    and identity.kind = 'user';
  perform track.lock_identities(array[v_identity_id]);

  if exists (
    select
    from analytics.prediction_target as entry
    where entry.target = 'dropout'
      and ml.deployed_version(entry.project) is not null
  ) then
    v_risk := (
      select scored.score
      from analytics._learner_scores('dropout', now(), v_course_id) as scored
      where scored.person_id = v_person_id
    );
  end if;
  insert into analytics.intervention (identity_id, course_id, action, note, happened_at, risk, created_by)
  values (
    v_identity_id, v_course_id, record_intervention.action, nullif(btrim(record_intervention.note), ''),
    record_intervention.happened_at, v_risk, common.author()
  )
  returning intervention.intervention_id into v_intervention_id;
  return v_intervention_id;
end;
$$;

comment on function analytics.record_intervention(text, text, text, text, timestamptz) is $$
Stores a note of what a teacher did about a learner at risk, and returns its key.
`action`: `message`, `call`, `meeting`, `extension`, `tutoring` or `other`; `note`: a text of up to 2,000 characters;
`happened_at`: the time of the action. The predicted probability of dropping out of now is stored with it, when there is
one. Instructors write notes about learners of courses that they teach now, administrators and workers about all. The
learner can read them (`privacy.export_me`): write what she may read. They are deleted when she is erased.
`analytics.interventions` returns them, `analytics.intervention_outcomes` the outcome.
Errors: CF001 for an invalid action or time; CF002 for an unknown course, one that the instructor does not teach, and a
person who does not learn in the course or has opted out of the purpose `analytics`; CF008 for a note that is too long.
$$;

grant execute on function analytics.record_intervention(text, text, text, text, timestamptz)
to insights_instructor, insights_admin, insights_worker;
