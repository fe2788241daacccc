create or replace function privacy.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The entries of the ledger stay, without the salts nobody can tell whose they were.
  perform privacy.account_removal(
    array(
      select consent.ledger_position
      from privacy.consent
      where consent.person_id = any (subject.identity_ids)
    ),
    'erasure'
  );
  return next privacy.erase_rows('privacy.consent', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.person_age', 'person_id', subject.identity_ids);
  return query select erased.* from privacy.forget_rights(subject) as erased;
end;
$$;

comment on function privacy.erase(privacy.subject) is $$
@behavior -*
Erases the decisions of a person and her date of birth, and answers her open requests.
Called by `privacy.erase_person`, after the other rooms.
$$;
