/*
 * A person is a connected component of identities. Its key is that of its oldest user identity, or else of its oldest
 * identity. The key therefore shows whether the person has a user, and two people that are merged keep the first of
 * their keys. Adding a link does not have to follow the existing links; only `track.unlink_identities` does.
 *
 * To avoid deadlocks, locks are taken in this order, all of one kind in one statement: rows of `track.person` for
 * update, by transactions that link or unlink; rows of `track.identity`, for update by transactions that move them,
 * and for key share by transactions that store data for them.
 */
create or replace function track._lock_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: locking rows of track.person requires the privilege to update them.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_people bigint[];
  v_locked int;
begin
  for attempt in 1 .. 1000 loop
    begin
      v_people := array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any ((select track._with_siblings(_lock_people.identity_ids))::bigint[])
        order by identity.person_id
      );
      perform person.person_id
      from track.person
      where person.person_id = any (v_people)
      order by person.person_id
      for update;
      get diagnostics v_locked = row_count;
      -- All of them, because a person that was merged and split again in the meantime has another row.
      if v_locked = cardinality(v_people) and v_people = array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any ((select track._with_siblings(_lock_people.identity_ids))::bigint[])
        order by identity.person_id
      ) then
        return;
      end if;
      perform common.refuse('CF099', 'the identities were moved to other people concurrently');
    exception
      -- The error releases the locks; otherwise the next attempt could cause a deadlock.
      when sqlstate 'CF099' then null;
    end;
  end loop;
  perform common.refuse(
    'serialization_failure', 'the identities were moved to other people concurrently', 'Try again.'
  );
end;
$$;

comment on function track._lock_people(bigint[]) is $$
Locks the people of the given identities, and those of the other identities of the same browsers.
Until the transaction ends, no other transaction links or unlinks an identity of these people.
$$;
