create or replace function privacy.record_consents(
  person_id bigint,
  granted boolean,
  purposes text[] default null,
  decided_at timestamptz default now(),
  document_version text default null,
  evidence jsonb default null,
  valid_until timestamptz default null,
  decided_by text default 'person',
  identity_id bigint default null
)
returns setof privacy.consent
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
  v_purposes constant text[] := coalesce(
    record_consents.purposes,
    array(select privacy.optional_purposes(to_grant => record_consents.granted))
  );
  v_names_function constant text := (select setting.names_function from privacy.setting);
  v_named privacy.identity_name;
  -- The key of a person who was merged into another one is that of an identity of hers.
  v_person_id bigint := record_consents.person_id;
  v_purpose text;
begin
  if record_consents.person_id is null or record_consents.person_id <= 0 or record_consents.granted is null
    or cardinality(v_purposes) = 0
  then
    perform common.refuse(
      'CF001',
      format(
        'a decision of person %s about "%s" to %s',
        coalesce(record_consents.person_id::text, 'null'),
        left(array_to_string(v_purposes, ', '), 100),
        coalesce(record_consents.granted::text, 'null')
      ),
      'Give a person, a purpose, and true or false.'
    );
  end if;
  perform common.check_count('the number of purposes', cardinality(v_purposes), 1, 1000);
  foreach v_purpose in array v_purposes loop
    perform privacy._check_purpose(v_purpose);
    perform privacy._check_version(v_purpose, record_consents.document_version);
  end loop;
  if length(record_consents.document_version) > 200 or pg_column_size(record_consents.evidence) > 32768 then
    perform common.refuse(
      'CF008',
      format(
        'document_version has %s characters, evidence %s bytes',
        coalesce(length(record_consents.document_version), 0),
        coalesce(pg_column_size(record_consents.evidence), 0)
      ),
      'Send at most 200 characters and 32768 bytes.'
    );
  end if;
  if record_consents.decided_at > now() + interval '1 hour' then
    perform common.refuse('CF001', format('decided_at is %s, in the future', record_consents.decided_at),
      'Give the time of the decision.');
  end if;
  if record_consents.valid_until is not null
    and (not record_consents.granted or record_consents.valid_until <= record_consents.decided_at)
  then
    perform common.refuse('CF001',
      format('valid_until is %s, of a decision to %s at %s', record_consents.valid_until, record_consents.granted,
        record_consents.decided_at),
      'Give a time after the decision, and only for a grant: a refusal does not expire.');
  end if;
  if record_consents.decided_by is null or record_consents.decided_by not in ('person', 'guardian') then
    perform common.refuse('CF001',
      format('decided_by is %s', coalesce('"' || left(record_consents.decided_by, 100) || '"', 'null')),
      'Give "person" or "guardian".');
  end if;

  if v_names_function is not null then
    -- First without a lock, then as the person is until the end of the transaction: an erasure at the same time either
    -- finds the decision, or is found here.
    for v_attempt in 1 .. 2 loop
      execute format(
        'select named.* from %I.%I($1) as named',
        split_part(v_names_function, '.', 1), split_part(v_names_function, '.', 2)
      )
      into v_named
      using array[coalesce(record_consents.identity_id, record_consents.person_id)];
      if v_named.name is null then
        perform common.refuse(
          'CF002',
          case
            when record_consents.identity_id is null then format('there is no person %s', record_consents.person_id)
            else format('there is no identity %s', record_consents.identity_id)
          end,
          'Give the person_id of track.find_person, of a person who was not erased.'
        );
      end if;
      if v_attempt = 1 then
        perform privacy._held_subject(v_named.name);
      end if;
    end loop;
  end if;
  if record_consents.identity_id is null and v_named.person_id is not null then
    v_person_id := v_named.person_id;
  end if;
  if record_consents.identity_id is not null and v_named.person_id is distinct from record_consents.person_id then
    perform common.refuse('CF001',
      format('identity %s does not belong to person %s', record_consents.identity_id, record_consents.person_id),
      'Give an identity of the person, or none.');
  end if;

  return query
  insert into privacy.consent (
    person_id, identity_id, purpose, granted, decided_at, document_version, evidence, basis, subject_name, valid_until,
    decided_by
  )
  select
    v_person_id,
    coalesce(record_consents.identity_id, record_consents.person_id),
    purpose.purpose,
    record_consents.granted,
    -- A decision from a clock that is ahead must not override later decisions.
    least(record_consents.decided_at, now()),
    record_consents.document_version,
    record_consents.evidence,
    purpose.basis,
    v_named.name,
    record_consents.valid_until,
    record_consents.decided_by
  from privacy.purpose
  where purpose.purpose = any (v_purposes)
  returning *;
  perform privacy._call_listeners(array[v_person_id]);
end;
$$;

comment on function privacy.record_consents(
  bigint, boolean, text[], timestamptz, text, jsonb, timestamptz, text, bigint
) is $$
Records the same decision of a person about several purposes, made at `decided_at`; null: all that she can decide about.
So `record_consents(7, false)` withdraws everything, as easily as `record_consents(7, true)` grants it (GDPR article 7).
The other arguments and the errors are those of `privacy.record_consent`.
$$;

grant execute on function privacy.record_consents(
  bigint, boolean, text[], timestamptz, text, jsonb, timestamptz, text, bigint
) to insights_admin, insights_worker;
