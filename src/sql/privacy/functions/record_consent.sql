create or replace function privacy.record_consent(
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null,
  valid_until timestamptz default null,
  decided_by text default 'person',
  identity_id bigint default null
)
returns privacy.consent
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return recorded
  from privacy.record_consents(
    record_consent.person_id, record_consent.granted, array[record_consent.purpose], record_consent.decided_at,
    record_consent.document_version, record_consent.evidence, record_consent.valid_until, record_consent.decided_by,
    record_consent.identity_id
  ) as recorded;
end;
$$;

comment on function privacy.record_consent(
  bigint, text, boolean, timestamptz, text, jsonb, timestamptz, text, bigint
) is $$
Records a decision of a person about a purpose, made at `decided_at`. Earlier decisions are kept.
`document_version` is the version of the text that she was shown: one of `privacy.consent_text` where the purpose has
texts. `valid_until`: the time at which a grant expires. `decided_by`: `guardian` when the holder of parental
responsibility decided for a minor. `identity_id`: the identity under which she decided, so that a split of the person
leaves it with the decision; without one, it is the key of the person.
Errors: CF001 for a missing value, a time in the future, a refusal that expires or an identity of another person, CF002
for an unknown person, purpose or version, CF008 for a document version above 200 characters or evidence above 32 kB.
$$;

grant execute on function privacy.record_consent(
  bigint, text, boolean, timestamptz, text, jsonb, timestamptz, text, bigint
) to insights_admin, insights_worker;
