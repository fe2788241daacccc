create or replace function track.record_my_consent(purpose text, granted boolean, document_version text default null)
returns privacy.consent
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return recorded
  from track.record_my_consents(
    record_my_consent.granted, array[record_my_consent.purpose], record_my_consent.document_version
  ) as recorded;
end;
$$;

comment on function track.record_my_consent(text, boolean, text) is $$
Records a decision of the signed-in person about a purpose.
Withdrawing is as easy as granting (GDPR article 7). A person who was erased is stored again after a grant.
Errors: CF005 when no person is signed in, or for the refusal of a person who was erased, CF002 for an unknown
purpose, or for a version of its text that was not published.
$$;

grant execute on function track.record_my_consent(text, boolean, text) to insights_learner;
