create or replace function privacy.restrict_person(person text, reason text)
returns boolean
language plpgsql
volatile
-- A definer: it writes privacy.restriction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject privacy.subject;
  v_inserted int;
begin
  if restrict_person.reason is null
    or restrict_person.reason not in ('accuracy', 'unlawful', 'claims', 'objection')
  then
    perform common.refuse(
      'CF001', format('reason is "%s"', coalesce(left(restrict_person.reason, 100), 'null')),
      'Use accuracy, unlawful, claims or objection (GDPR article 18(1)).'
    );
  end if;
  v_subject := privacy._held_subject(restrict_person.person);
  if exists (select from privacy.restriction where restriction.person_id = v_subject.person_id) then
    return false;
  end if;
  insert into privacy.restriction (identity_id, person_id, reason)
  values (
    privacy._named_identity(v_subject, restrict_person.person), v_subject.person_id, restrict_person.reason
  )
  on conflict (identity_id) do nothing;
  get diagnostics v_inserted = row_count;
  perform privacy._answer_requests(v_subject.person_id, array['restriction'], 'The data is restricted.');
  perform privacy._call_listeners(array[v_subject.person_id]);
  return v_inserted > 0;
end;
$$;

comment on function privacy.restrict_person(text, text) is $$
Restricts the data of a person: it is stored, and not processed in any other way (GDPR article 18).
`privacy.allowed` is false for all purposes. The person is in no figure, segment, training, prediction or personal list
from the next refresh on; her events are still stored, and `privacy.erase_person` refuses to erase her. False when her
data is restricted already. `reason`: `accuracy`, `unlawful`, `claims` or `objection`. Completes her open requests of
this kind. `privacy.lift_restriction` ends it. Errors: CF001 for another reason, CF002 for an unknown person.
$$;

grant execute on function privacy.restrict_person(text, text) to insights_admin;
