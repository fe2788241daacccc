create or replace function privacy._erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_positions bigint[];
  v_count bigint;
begin
  with deleted as (
    delete from privacy.consent
    where consent.person_id = _erase.subject.person_id
    returning consent.ledger_position
  )
  select array_agg(deleted.ledger_position), count(*) into v_positions, v_count from deleted;
  -- The entries of the ledger stay: without record and salt, they say nothing about the person.
  perform privacy.account_removal(v_positions, 'erasure');
  return next row('privacy.consent', v_count, 'deleted')::privacy.erased;

  delete from privacy.person_age
  where person_age.person_id = _erase.subject.person_id;
  get diagnostics v_count = row_count;
  return next row('privacy.person_age', v_count, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy._erase(privacy.subject) is $$
Deletes the decisions and dates of birth of a person. Registered in `privacy.handler`.
$$;
