create or replace function privacy.record_consent(
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null
)
returns privacy.consent
language plpgsql
volatile
-- A definer: it writes privacy.consent, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_consent privacy.consent;
begin
  if record_consent.person_id is null or record_consent.person_id <= 0 or record_consent.granted is null then
    perform common.refuse(
      'CF001',
      format(
        'a decision of person %s about "%s" to %s',
        coalesce(record_consent.person_id::text, 'null'),
        left(record_consent.purpose, 100),
        coalesce(record_consent.granted::text, 'null')
      ),
      'Give a person, a purpose, and true or false.'
    );
  end if;
  if not exists (select from privacy.purpose where purpose.purpose = record_consent.purpose) then
    perform common.refuse(
      'CF002',
      format('there is no purpose "%s"', left(record_consent.purpose, 100)),
      (
        select format('The purposes are %s.', string_agg(purpose.purpose, ', ' order by purpose.purpose))
        from privacy.purpose
      )
    );
  end if;
  if length(record_consent.document_version) > 200 or pg_column_size(record_consent.evidence) > 32768 then
    perform common.refuse(
      'CF008',
      format(
        'document_version has %s characters, evidence %s bytes',
        coalesce(length(record_consent.document_version), 0),
        coalesce(pg_column_size(record_consent.evidence), 0)
      ),
      'Send at most 200 characters and 32768 bytes.'
    );
  end if;
  if record_consent.decided_at > now() + interval '1 hour' then
    perform common.refuse('CF001', format('decided_at is %s, in the future', record_consent.decided_at),
      'Give the time of the decision.');
  end if;

  insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, document_version, evidence)
  values (
    record_consent.person_id,
    record_consent.person_id,
    record_consent.purpose,
    record_consent.granted,
    -- A decision from a clock that is ahead must not override later decisions.
    least(record_consent.decided_at, now()),
    record_consent.document_version,
    record_consent.evidence
  )
  returning * into v_consent;
  perform privacy._call_listeners(array[v_consent.person_id]);
  return v_consent;
end;
$$;

comment on function privacy.record_consent(bigint, text, boolean, timestamptz, text, jsonb) is $$
Records a decision of a person about a purpose, made at `decided_at`. Earlier decisions are kept.
Errors: CF001 for a missing value or a time in the future, CF002 for an unknown purpose, CF008 for a document version
above 200 characters or evidence above 32 kB.
$$;

grant execute on function privacy.record_consent(bigint, text, boolean, timestamptz, text, jsonb)
to insights_admin, insights_worker;
