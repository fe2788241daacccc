/* A definer: it reads the tables of all rooms, and writes the log of exports, which no role may do. */
create or replace function privacy.export_person(person text)
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_subject privacy.subject;
begin
  if export_person.person is null then
    perform common.refuse('CF001', 'person is null', 'Give the userId or anonymousId of the person.');
  end if;
  v_subject := privacy._subject(export_person.person);
  perform privacy.record_disclosure(array[v_subject.person_id], 'privacy.export_person');
  return privacy._export_document(v_subject);
end;
$$;

comment on function privacy.export_person(text) is $$
@behavior -mutationField +queryField
Returns all data of a person as one JSON document (GDPR articles 15 and 20), and logs that it was exported and read.
`person` is a `userId` or `anonymousId`; the data of all her identities is returned, and that of nobody else.
The document has the keys `person` (her names), `exported_at`, `purposes`, `index` (each table with its meaning, number
of rows and columns) and `data` (the rows by table, with names in place of surrogate keys; times in UTC).
Errors: CF001 (null), CF002 for an unknown person, CF008 for more than 256 MB of JSON.
$$;

grant execute on function privacy.export_person(text) to insights_admin;
