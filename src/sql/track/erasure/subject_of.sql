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

grant execute on function track.subject_of(bigint)
to insights_reader, insights_learner, insights_admin, insights_worker;
