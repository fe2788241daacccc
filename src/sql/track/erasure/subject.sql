create or replace function track.subject_of(person_id bigint)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
begin
  select
    subject_of.person_id,
    array_agg(identity.identity_id order by identity.identity_id),
    array_agg(identity.kind order by identity.identity_id),
    array_agg(identity.external_id order by identity.identity_id)
  into v_subject
  from track.identity
  where identity.person_id = subject_of.person_id
    and subject_of.person_id <> 0
  having count(*) > 0;
  return v_subject;
end;
$$;

comment on function track.subject_of(bigint) is $$
@behavior -*
Returns a person with all her identities, as the functions of `privacy.handler` take it.
Null when there is none, or when the caller may not read it.
$$;

grant execute on function track.subject_of(bigint) to insights_reader, insights_learner, insights_admin, insights_worker;

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

grant execute on function track.subject(text) to insights_reader, insights_learner, insights_admin, insights_worker;
