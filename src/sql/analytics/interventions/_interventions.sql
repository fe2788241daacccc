create or replace function analytics._interventions(course_id bigint)
returns table (
  intervention_id bigint, person_id bigint, person text, action text, note text, happened_at timestamptz,
  created_by text, risk float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with noted as materialized (
    select intervention.*, identity.person_id, identity.external_id
    from analytics.intervention
    join track.item on item.item_id = intervention.course_id
    join track.identity on identity.identity_id = intervention.identity_id
    where coalesce(item.merged_item_id, item.item_id) = _interventions.course_id
  ),

  learner as materialized (
    select listed.person_id
    from analytics._course_people(
      _interventions.course_id, array(select distinct noted.person_id from noted)
    ) as listed
    where listed.is_shown
  )

  select
    noted.intervention_id, noted.person_id, noted.external_id, noted.action, noted.note, noted.happened_at,
    noted.created_by, noted.risk
  from noted
  join learner on learner.person_id = noted.person_id;
end;
$$;

comment on function analytics._interventions(bigint) is $$
Returns the notes about the learners of a course whose activity may be shown, with the privileges of the caller.
$$;

grant execute on function analytics._interventions(bigint) to insights_reader;
