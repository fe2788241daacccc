/* A definer owned by insights_reader: administrators query any person without privileges on the tables. */
create or replace function experiment.attributes(person text)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_person record;
begin
  v_person := experiment._named_attributes(attributes.person, null);
  perform privacy.record_disclosure(array[v_person.person_id], 'experiment.attributes');
  return v_person.attributes;
end;
$$;

alter function experiment.attributes(text) owner to insights_reader;

comment on function experiment.attributes(text) is $$
@behavior -mutationField +queryField
Returns the attributes by which a person is assigned: `id` (the `userId`), `anonymousId`, and traits.
`person`: a `userId`, also one that has sent nothing yet, or the `anonymousId` of a browser. The read is logged: see
`privacy.disclosure`. Errors: CF001, and those of a logged read: CF005 in a read-only transaction, CF008.
$$;

grant execute on function experiment.attributes(text) to insights_admin, insights_worker;
