/* A definer: it reads the tables of all rooms for the signed-in person, and writes the log of exports. */
create or replace function privacy.export_me()
returns jsonb
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return privacy._export_document(privacy._signed_in_subject());
end;
$$;

comment on function privacy.export_me() is $$
@behavior -mutationField +queryField
Returns all data of the signed-in person as one JSON document (GDPR articles 15 and 20), and logs the export.
The document is that of `privacy.export_person`. Errors: CF005 when no person is signed in, CF002 when no data of the
person is stored, CF008 for more than 256 MB of JSON.
$$;

grant execute on function privacy.export_me() to insights_learner;
