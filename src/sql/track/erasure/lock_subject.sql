/*
 * The locks are taken in the order of the other transactions: the refresh first, because it reads and writes the same
 * derived rows, then the people, then their identities (see track._lock_people).
 */
create or replace function track.lock_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
  v_all bigint[];
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('nobody can be erased in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the data that others have stored until it has its locks.'
    );
  end if;
  v_subject := track.subject(lock_subject.person);
  if track._has_names_of_its_own(v_subject) then
    perform pg_advisory_xact_lock(hashtext('track.ingest'));
  end if;
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  loop
    perform track._lock_people(v_subject.identity_ids);
    v_all := v_subject.identity_ids;
    v_subject := track.subject(lock_subject.person);
    -- Otherwise the name was moved to another person before the lock.
    exit when v_subject.identity_ids <@ v_all;
  end loop;

  -- Waits for transactions that have stored data for these people; later ones wait here, and then find no identity.
  v_all := track._with_siblings(v_subject.identity_ids);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;
  return v_subject;
end;
$$;

comment on function track.lock_subject(text) is $$
@behavior -*
Returns the same as `track.subject`, and locks the person: until the transaction ends, no other one stores her data,
moves her identities, or refreshes what is derived from them.
Errors: CF002 for an unknown name, 25001 in a transaction of another level than read committed.
$$;

create or replace function track.unshared_names(subject privacy.subject)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := subject;
begin
  -- A browser that others have used is theirs, too.
  select array_agg(named.kind), array_agg(named.name)
  into v_subject.kinds, v_subject.names
  from (
    select distinct entry.kind, entry.name
    from unnest(subject.kinds, subject.names) as entry (kind, name)
    where not exists (
      select
      from track.identity
      where identity.external_id = entry.name
        and identity.kind = entry.kind
    )
  ) as named;
  return v_subject;
end;
$$;

comment on function track.unshared_names(privacy.subject) is $$
@behavior -*
Returns a person who was erased, with those of her names that nobody else has.
$$;
