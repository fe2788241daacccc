create or replace function privacy.forget_rights(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update privacy.request
  set
    state = 'completed', outcome = 'The person was erased.', person_id = null, identity_id = null,
    completed_at = greatest(clock_timestamp(), request.received_at)
  where request.person_id = subject.person_id
    and request.completed_at is null;
  get diagnostics v_rows = row_count;
  return next row('privacy.request', v_rows, 'cleared')::privacy.erased;
  return next privacy.erase_rows('privacy.restriction', 'person_id', array[subject.person_id]);
end;
$$;

comment on function privacy.forget_rights(privacy.subject) is $$
@behavior -*
Answers the open requests of a person who is erased, and deletes her restrictions.
Called by the erase function of this room.
$$;
