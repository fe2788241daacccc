create or replace function privacy.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'consent_id', consent.consent_id,
        'purpose', consent.purpose,
        'granted', consent.granted,
        'decided_at', consent.decided_at,
        'recorded_at', consent.recorded_at,
        'source', consent.source,
        'identity', subject.names[array_position(subject.identity_ids, consent.identity_id)],
        'subject_name', consent.subject_name,
        'decided_by', consent.decided_by,
        'basis', consent.basis,
        'valid_until', consent.valid_until,
        'document_version', consent.document_version,
        'texts', shown.texts,
        'evidence', consent.evidence,
        'ledger_position', consent.ledger_position,
        'salt', encode(consent.salt, 'hex')
      )
      order by consent.decided_at, consent.recorded_at, consent.consent_id
    )
    from privacy.consent
    left join (
      select
        consent_text.purpose, consent_text.version,
        jsonb_object_agg(consent_text.language, consent_text.body) as texts
      from privacy.consent_text
      group by consent_text.purpose, consent_text.version
    ) as shown on shown.purpose = consent.purpose and shown.version = consent.document_version
    where consent.person_id = subject.person_id
  );
  return next privacy.exported_rows('privacy.consent', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'birth_date', age.birth_date,
        'is_verified', age.is_verified,
        'set_at', age.set_at,
        'identity', subject.names[array_position(subject.identity_ids, age.identity_id)]
      )
      order by age.identity_id
    )
    from privacy.person_age as age
    where age.person_id = subject.person_id
  );
  return next privacy.exported_rows('privacy.person_age', v_rows);
  return next privacy.exported_rows(
    'privacy.request',
    (
      select jsonb_agg(
        to_jsonb(request) - '{person_id,identity_id,subject_hash,salt,answer_salt}'::text[]
        || jsonb_build_object(
          'identity', (export.subject).names[array_position((export.subject).identity_ids, request.identity_id)]
        )
        order by request.received_at, request.request_id
      )
      from privacy.request
      where request.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.restriction',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', restriction.reason,
          'since', restriction.since,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, restriction.identity_id)]
        )
        order by restriction.identity_id
      )
      from privacy.restriction
      where restriction.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.export_log',
    (
      -- Her own exports by name; those of administrators without.
      select jsonb_agg(
        jsonb_build_object(
          'exported_at', export_log.exported_at,
          'exported_by', case
            when export_log.exported_by = any (privacy.user_names(export.subject)) then export_log.exported_by
            else 'an administrator'
          end,
          'row_count', export_log.row_count
        )
        order by export_log.exported_at
      )
      from privacy.export_log
      where export_log.identity_id = any ((export.subject).identity_ids)
    )
  );
  return next privacy.exported_rows(
    'privacy.disclosure',
    (
      -- With the names of the readers, to which she has a right (34 CFR 99.32(c)).
      select jsonb_agg(
        jsonb_build_object(
          'read_at', disclosure.read_at,
          'read_by', disclosure.read_by,
          'role', disclosure.role,
          'function_name', disclosure.function_name,
          'reason', disclosure.reason,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, disclosure.identity_id)],
          'subject_name', disclosure.subject_name,
          'ledger_position', disclosure.ledger_position,
          'salt', encode(disclosure.salt, 'hex')
        )
        order by disclosure.read_at, disclosure.disclosure_id
      )
      from (
        select own.*
        from privacy.disclosure as own
        where own.identity_id = any ((export.subject).identity_ids)
        union all
        -- As privacy.my_disclosures: of the reads of a table by a reader for a reason, the last one of a day.
        (
          select distinct on (
            (of_all.read_at at time zone 'UTC')::date, of_all.read_by, of_all.role, of_all.function_name, of_all.reason
          )
            of_all.*
          from privacy.disclosure as of_all
          where of_all.identity_id is null
          order by
            (of_all.read_at at time zone 'UTC')::date, of_all.read_by, of_all.role, of_all.function_name,
            of_all.reason, of_all.read_at desc, of_all.disclosure_id
        )
      ) as disclosure
    )
  );
  return next privacy.exported_rows(
    'privacy.retention_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at, 'actor', entry.actor, 'rule', entry.rule, 'action', entry.action,
          'details', entry.details
        )
        order by entry.logged_at, entry.log_id
      )
      from privacy.retention_log as entry
      where entry.actor = any (privacy.user_names(export.subject))
    ),
    'Changes of rules of retention that the person made.'
  );
end;
$$;

comment on function privacy.export(privacy.subject) is $$
@behavior -*
Returns the decisions, date of birth, open requests and restrictions of a person, and the logs of her exports and reads.
Decisions have the texts that were shown, and the position in `privacy.ledger` and the salt, with which she can prove
later what she decided. For `privacy.export_person`.
$$;
