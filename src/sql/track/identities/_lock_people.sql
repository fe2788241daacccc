/*
 * A person is a connected component of identities, named after its oldest user, or else its oldest identity. So the
 * name alone says whether a person has a user, two people who become one keep the name that comes first, and nobody
 * has to walk through the links to add one: only `track.unlink_identities` does.
 *
 * Locks are taken in this order, and each kind at once, so that nobody waits in a circle: rows of `track.person` for
 * update by whoever links or unlinks; rows of `track.identity` for update by whoever moves them, for key share by
 * whoever stores something for them.
 */
create or replace function track._lock_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it locks rows of track.person, which takes a right to write them.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
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
        where identity.identity_id = any (_lock_people.identity_ids)
        order by identity.person_id
      );
      perform person.person_id
      from track.person
      where person.person_id = any (v_people)
      order by person.person_id
      for update;
      get diagnostics v_locked = row_count;
      -- All of them, for a person who was merged away and is back meanwhile has another row.
      if v_locked = cardinality(v_people) and v_people = array(
        select distinct identity.person_id
        from track.identity
        where identity.identity_id = any (_lock_people.identity_ids)
        order by identity.person_id
      ) then
        return;
      end if;
      perform common.refuse('CF099', 'the identities moved to other people meanwhile');
    exception
      -- The error gives the locks back, without which the next attempt could wait in a circle.
      when sqlstate 'CF099' then null;
    end;
  end loop;
  perform common.refuse('serialization_failure', 'the people to be linked keep changing', 'Try again.');
end;
$$;

comment on function track._lock_people(bigint[]) is $$
Locks the people of the given identities.
Until the transaction ends, no other transaction links or unlinks an identity of these people.
$$;
