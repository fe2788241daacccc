create or replace function track._with_claims(subject privacy.subject)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := subject;
begin
  -- They are never linked, and each is a person of its own. Those of a browser that others use may be theirs.
  select
    subject.identity_ids || array_agg(claimed.identity_id order by claimed.identity_id),
    subject.kinds || array_agg(claimed.kind order by claimed.identity_id),
    subject.names || array_agg(claimed.external_id order by claimed.identity_id)
  into v_subject.identity_ids, v_subject.kinds, v_subject.names
  from track.identity as claimed
  where claimed.kind = 'unverified'
    and claimed.external_id in (
      select entry.name
      from unnest(subject.kinds, subject.names) as entry (kind, name)
      where entry.kind = 'anonymous'
    )
    and not exists (
      select
      from track.identity as sibling
      where sibling.external_id = claimed.external_id
        and sibling.kind = 'anonymous'
        and sibling.identity_id <> all (subject.identity_ids)
    )
  having count(*) > 0;
  return case when v_subject.identity_ids is null then subject else v_subject end;
end;
$$;

comment on function track._with_claims(privacy.subject) is $$
Adds the messages without proof under the names of the browsers of a person (the kind `unverified`).
They are nobody else's, and nobody could name it after an erasure.
$$;

create or replace function track._subject_named(person text, person_id bigint)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject;
begin
  if _subject_named.person is not null then
    return track.subject(_subject_named.person);
  end if;
  v_subject := track.subject_of(_subject_named.person_id);
  if v_subject.person_id is null then
    perform common.refuse('CF002', format('there is no person %s', coalesce(_subject_named.person_id::text, 'null')),
      'The person was erased, or merged into another one.');
  end if;
  return v_subject;
end;
$$;

comment on function track._subject_named(text, bigint) is $$
Returns the person of a name, or else the one with a key. Errors: CF002 when there is none.
$$;

/*
 * The locks are taken in the order of the other transactions: the refresh first, because it reads and writes the same
 * derived rows, then the people, then their identities (see track._lock_people).
 */
create or replace function track.lock_subject(person text, person_id bigint default null)
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
  v_subject := track._with_claims(track._subject_named(lock_subject.person, lock_subject.person_id));
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- Not before the refresh has ended, which can take minutes: while this waits, no batch is stored.
  if track._has_names_of_its_own(v_subject) then
    perform pg_advisory_xact_lock(hashtext('track.ingest'));
  end if;
  loop
    perform track._lock_people(v_subject.identity_ids);
    v_all := v_subject.identity_ids;
    v_subject := track._with_claims(track._subject_named(lock_subject.person, lock_subject.person_id));
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
  perform track._settle(v_all);
  return v_subject;
end;
$$;

comment on function track.lock_subject(text, bigint) is $$
@behavior -*
Returns the person of a name, or else of a key, and locks her.
Until the transaction ends, no other one stores her data, moves her identities, or refreshes what is derived from them.
Includes messages without proof under the names of her browsers. Refreshes what is queued for her and for people she was
linked to.
Errors: CF002 for an unknown name, 25001 in a transaction of another level than read committed.
$$;
