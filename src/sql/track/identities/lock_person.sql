create or replace function track.lock_person(identity_id bigint, occurred_at timestamptz)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id bigint;
  v_kind text;
begin
  -- One statement, because each list that is recorded calls this function. The locks are those of `lock_identities`.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    select identity.person_id, identity.kind into v_person_id, v_kind
    from track.identity
    where identity.identity_id = lock_person.identity_id
    for share;
  else
    select identity.person_id, identity.kind into v_person_id, v_kind
    from track.identity
    where identity.identity_id = lock_person.identity_id
    for key share;
  end if;
  if v_kind = 'anonymous' then
    return (track.people_of_identities(array[lock_person.identity_id], array[lock_person.occurred_at]))[1];
  end if;
  return v_person_id;
end;
$$;

comment on function track.lock_person(bigint, timestamptz) is $$
@behavior -*
Locks an identity as `track.lock_identities` does, and returns its person as `track.people_of_identities` does.
Null for an unknown identity. Raises 40001 in a transaction whose snapshot is from before a move.
$$;
