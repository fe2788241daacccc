create or replace function track.lock_identities(identity_ids bigint[])
returns boolean
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_locked int;
begin
  -- Moves to other people update the rows, but not their keys: a key share lock would not notice a move that this
  -- snapshot does not contain. The stronger one fails (40001).
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (lock_identities.identity_ids)
    order by identity.identity_id
    for share;
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (lock_identities.identity_ids)
    order by identity.identity_id
    for key share;
  end if;
  get diagnostics v_locked = row_count;
  return v_locked = cardinality(identity_ids);
end;
$$;

comment on function track.lock_identities(bigint[]) is $$
@behavior -*
Locks identities for which a transaction stores data: until it ends, they stay with their people.
False when one of them does not exist any more. Raises 40001 in a transaction whose snapshot is from before a move.
For the rooms that store data of people by their identities; `track.people_of_identities` is called after it.
$$;
