create or replace function privacy._export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  return query
  select
    'privacy.consent', 'Decisions about purposes, with the texts that were shown.', count(*),
    coalesce(
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
          'purpose', consent.purpose,
          'description', (select purpose.description from privacy.purpose where purpose.purpose = consent.purpose),
          'granted', consent.granted,
          'decidedAt', consent.decided_at,
          'recordedAt', consent.recorded_at,
          'decidedBy', consent.decided_by,
          'name', consent.subject_name,
          'source', consent.source,
          'basis', consent.basis,
          'validUntil', consent.valid_until,
          'documentVersion', consent.document_version,
          'texts', (
            select jsonb_object_agg(consent_text.language, consent_text.body)
            from privacy.consent_text
            where consent_text.purpose = consent.purpose
              and consent_text.version = consent.document_version
          ),
          'evidence', consent.evidence,
          'consentId', consent.consent_id,
          'ledgerPosition', consent.ledger_position,
          'salt', encode(consent.salt, 'hex')
        ))
        order by consent.decided_at, consent.recorded_at, consent.consent_id
      ),
      '[]'
    )
  from privacy.consent
  where consent.person_id = _export.subject.person_id

  union all

  select
    'privacy.person_age', 'Dates of birth.', count(*),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'name', (
            select named.name
            from unnest(_export.subject.identity_ids, _export.subject.names) as named (identity_id, name)
            where named.identity_id = person_age.identity_id
          ),
          'birthDate', person_age.birth_date,
          'isVerified', person_age.is_verified,
          'setAt', person_age.set_at
        )
        order by person_age.identity_id
      ),
      '[]'
    )
  from privacy.person_age
  where person_age.person_id = _export.subject.person_id;
end;
$$;

comment on function privacy._export(privacy.subject) is $$
Returns the decisions and dates of birth of a person. Registered in `privacy.handler`.
With `ledgerPosition` and `salt`, she can prove later what she decided: see `privacy.ledger`.
$$;
