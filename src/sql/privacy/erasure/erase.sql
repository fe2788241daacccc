create or replace function privacy.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_positions constant bigint[] := array(
    select consent.ledger_position
    from privacy.consent
    where consent.person_id = any (subject.identity_ids)

    union all

    select disclosure.ledger_position
    from privacy.disclosure
    where disclosure.identity_id = any (subject.identity_ids)
  );
  v_deleted record;
begin
  -- The entries of the ledger stay: without the salts nobody can tell whose they were.
  perform privacy.account_removal(v_positions, 'erasure');
  return next privacy.erase_rows('privacy.consent', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.person_age', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.export_log', 'identity_id', subject.identity_ids);
  -- The log of reads is kept as long as the record (34 CFR 99.32(a)(2)), and is erased with it.
  return next privacy.erase_rows('privacy.disclosure', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('privacy.export_log', 'exported_by', privacy.user_names(subject));
  return next privacy.clear_values('privacy.retention_log', 'actor', privacy.user_names(subject));
  return query select erased.* from privacy.forget_rights(subject) as erased;

  -- The room ml is above this one and has no people: its keys are names that a model from outside contains.
  v_deleted := ml.delete_keys(privacy.user_names(subject));
  return next row('ml.embedding', v_deleted.embeddings, 'deleted')::privacy.erased;
  return next row('ml.score', v_deleted.scores, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy.erase(privacy.subject) is $$
@behavior -*
Erases the decisions of a person, her date of birth, and the logs of her exports and of reads of her record.
Also answers her open requests, and deletes her vectors and scores in models from outside.
Called by `privacy.erase_person`, after the other rooms.
$$;
