create or replace function track.subject(person text)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject constant privacy.subject := track.subject_of(track.find_person(subject.person));
begin
  if v_subject.person_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(subject.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events. A person who was erased has none any more.'
    );
  end if;
  return v_subject;
end;
$$;

comment on function track.subject(text) is $$
@behavior -*
Returns the person with a `userId` or `anonymousId`, with all her identities.
Errors: CF002 for an unknown name.
$$;

grant execute on function track.subject(text)
to insights_reader, insights_learner, insights_admin, insights_worker;
