/* A definer owned by insights_reader: administrators query any person without privileges on the tables. */
create or replace function experiment.attributes(person text)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform privacy.record_disclosure(array[track.find_person(attributes.person)], 'experiment.attributes');
  return (experiment._named_attributes(attributes.person, null)).attributes;
end;
$$;

alter function experiment.attributes(text) owner to insights_reader;

comment on function experiment.attributes(text) is $$
@behavior -mutationField +queryField
Returns the attributes by which a person is assigned: `id` (the `userId`), `anonymousId`, and traits.
`person`: a `userId`, also one that has sent nothing yet, or the `anonymousId` of a browser. Errors: CF001.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function experiment.attributes(text) to insights_admin, insights_worker;
