create or replace function privacy.move_decisions(
  identities bigint[],
  old_people bigint[],
  new_people bigint[],
  new_identities bigint[] default null,
  since timestamptz[] default null,
  until timestamptz[] default null
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_touched bigint[];
  v_moved bigint;
begin
  -- Rows are moved by delete and insert, because the person is the distribution column.
  with deleted as (
    delete from privacy.consent
    using unnest(
      move_decisions.identities, move_decisions.old_people, move_decisions.new_people, move_decisions.new_identities,
      move_decisions.since, move_decisions.until
    ) as moved (identity_id, old_person_id, new_person_id, new_identity_id, since, until)
    where consent.person_id = moved.old_person_id
      and consent.identity_id = moved.identity_id
      and consent.decided_at >= coalesce(moved.since, '-infinity')
      and (moved.until is null or consent.decided_at < moved.until)
    returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, consent.*
  ),

  placed as (
    insert into privacy.consent (
      person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence,
      basis, subject_name, valid_until, decided_by, salt, ledger_position
    )
    select
      new_person_id, coalesce(new_identity_id, identity_id), consent_id, purpose, granted, decided_at, recorded_at,
      source, document_version, evidence, basis, subject_name, valid_until, decided_by, salt, ledger_position
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id), count(*)
  into v_touched, v_moved
  from deleted;

  -- Dates of birth are those of identities, not of periods.
  if move_decisions.new_identities is null then
    with deleted as (
      delete from privacy.person_age
      using unnest(move_decisions.identities, move_decisions.old_people, move_decisions.new_people)
        as moved (identity_id, old_person_id, new_person_id)
      where person_age.person_id = moved.old_person_id
        and person_age.identity_id = moved.identity_id
      returning moved.old_person_id, moved.new_person_id, person_age.*
    ),

    placed as (
      insert into privacy.person_age (person_id, identity_id, birth_date, is_verified, set_at)
      select new_person_id, identity_id, birth_date, is_verified, set_at
      from deleted
    )

    select v_touched || array_agg(old_person_id) || array_agg(new_person_id)
    into v_touched
    from deleted;
  end if;

  perform privacy._call_listeners(array(select distinct person_id from unnest(v_touched) as person_id));
  return v_moved;
end;
$$;

comment on function privacy.move_decisions(
  bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]
) is $$
Moves the decisions of identities, each from its old person to its new one, and their dates of birth.
Returns the number of moved decisions.
The lists have the same length. `new_identities`, `since` and `until`: moves the decisions of a period (`until`
exclusive) to another identity, too. Called by `track` when people are merged or split: the decisions of an identity
always belong to its person.
$$;
