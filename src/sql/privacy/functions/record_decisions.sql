create or replace function privacy.record_decisions(
  people bigint[],
  identities bigint[],
  purposes text[],
  granted boolean[],
  decided_at timestamptz[],
  source text,
  evidence jsonb[] default null,
  names text[] default null,
  document_versions text[] default null
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_recorded bigint;
begin
  -- A decision from a clock that is ahead must not override later decisions.
  insert into privacy.consent (
    person_id, identity_id, purpose, granted, decided_at, source, document_version, evidence, basis, subject_name
  )
  select
    decision.person_id, decision.identity_id, decision.purpose, decision.granted,
    least(decision.decided_at, now()), record_decisions.source, decision.document_version, decision.evidence,
    (select purpose.basis from privacy.purpose where purpose.purpose = decision.purpose), decision.name
  from unnest(
    record_decisions.people,
    record_decisions.identities,
    record_decisions.purposes,
    record_decisions.granted,
    record_decisions.decided_at,
    record_decisions.evidence,
    record_decisions.names,
    record_decisions.document_versions
  ) as decision (person_id, identity_id, purpose, granted, decided_at, evidence, name, document_version);
  get diagnostics v_recorded = row_count;

  perform privacy._call_listeners(array(select distinct person_id from unnest(record_decisions.people) as person_id));
  return v_recorded;
end;
$$;

comment on function privacy.record_decisions(
  bigint[], bigint[], text[], boolean[], timestamptz[], text, jsonb[], text[], text[]
) is $$
Records decisions, one per position of the lists. Returns their number.
The caller has checked people, identities and purposes. Null lists record nothing.
$$;
