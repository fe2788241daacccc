create or replace function track._resolve_people(identity_ids bigint[])
returns int
language plpgsql
volatile
-- A definer: it moves the data of people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  -- Each component is named after its oldest user, or else its oldest identity. Whoever is named otherwise moves.
  with recursive reached (start_id, identity_id) as (
    select identity_id, identity_id
    from unnest(_resolve_people.identity_ids) as identity_id

    union

    select reached.start_id, other.identity_id
    from reached
    cross join lateral (
      select linked_identity_id
      from track.identity_link
      where identity_link.identity_id = reached.identity_id
        and unlinked_at is null
      union all
      select identity_link.identity_id
      from track.identity_link
      where linked_identity_id = reached.identity_id
        and unlinked_at is null
    ) as other (identity_id)
  ),

  named as (
    select distinct on (identity.identity_id)
      identity.identity_id,
      identity.person_id as old_person_id,
      first_value(identity.identity_id) over (
        partition by reached.start_id
        order by identity.kind = 'user' desc, identity.identity_id
      ) as new_person_id
    from reached
    join track.identity using (identity_id)
    order by identity.identity_id
  )

  select array_agg(identity_id), array_agg(old_person_id), array_agg(new_person_id)
  into v_moved, v_old, v_new
  from named
  where old_person_id <> new_person_id;

  if v_moved is null then
    return 0;
  end if;

  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
  join track.identity on identity.identity_id = moved.new_person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  -- Rows move by deletion and insertion: the person is what they are distributed by.
  with gone as (
    delete from track.event
    using unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
    where event.person_id = moved.old_person_id
      and event.identity_id = moved.identity_id
    returning moved.new_person_id, event.*
  )
  insert into track.event (
    person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
  )
  select new_person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
  from gone;

  with gone as (
    delete from track.trait
    using unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from gone;

  with gone as (
    delete from track.enrolment
    using unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.new_person_id, enrolment.*
  )
  insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
  select new_person_id, item_id, status, enrolled_at, ended_at, identity_id
  from gone;

  with gone as (
    delete from privacy.consent
    using unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
    where consent.person_id = moved.old_person_id
      and consent.identity_id = moved.identity_id
    returning moved.new_person_id, consent.*
  )
  insert into privacy.consent (
    person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence
  )
  select
    new_person_id, identity_id, consent_id, purpose, granted, decided_at, recorded_at, source, document_version, evidence
  from gone;

  insert into track.stale (person_id, since, until)
  select person_id, '-infinity', 'infinity'
  from (
    select unnest(v_old)
    union
    select unnest(v_new)
  ) as touched (person_id);

  delete from track.person
  using unnest(v_moved, v_old, v_new) as moved (identity_id, old_person_id, new_person_id)
  where person.person_id = moved.old_person_id
    and not exists (select from track.identity where identity.person_id = moved.old_person_id);

  return cardinality(v_moved);
end;
$$;

comment on function track._resolve_people(bigint[]) is $$
Resolves the components of the given identities to people anew and moves what belongs to them; returns how many identities changed hands.
$$;

create or replace function track._lock_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it locks rows of track.identity and track.person, which takes a right to write them.
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One at a time: two links that are made at once could each miss the other's component.
  perform pg_advisory_xact_lock(hashtext('track.identity_link'));

  -- And nobody stores anything for these people meanwhile. All at once and in order, as track.ingest does, so that nobody waits in a circle.
  perform identity.identity_id
  from track.identity
  where identity.person_id in (
    select named.person_id
    from track.identity as named
    where named.identity_id = any (_lock_people.identity_ids)
  )
  order by identity.identity_id
  for update;
end;
$$;

comment on function track._lock_people(bigint[]) is $$
Keeps everybody else from linking identities, and from storing anything for the people of these ones, until the transaction ends.
$$;

create or replace function track._is_linked(identity_id bigint, linked_identity_id bigint, linked_at timestamptz)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.identity_link
    where identity_link.identity_id = _is_linked.identity_id
      and identity_link.linked_identity_id = _is_linked.linked_identity_id
      and (identity_link.unlinked_at is null or identity_link.unlinked_at >= _is_linked.linked_at)
  );
end;

comment on function track._is_linked(bigint, bigint, timestamptz) is $$
Whether an identity is linked to another one already, or was taken back from it after the given time: nothing to do.
$$;

create or replace function track._link(identity_id bigint, linked_identity_id bigint, kind text, linked_at timestamptz)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.identity_link, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
begin
  if track._is_linked(_link.identity_id, _link.linked_identity_id, _link.linked_at) then
    return false;
  end if;

  -- A browser that belongs to one user already is shared: its past stays with that user.
  if _link.kind = 'identify' and exists (
    select
    from track.identity as other
    join track.identity as linked on linked.identity_id = _link.linked_identity_id
    join track.identity as owner on owner.person_id = other.person_id and owner.kind = 'user'
    where other.identity_id = _link.identity_id
      and other.person_id <> linked.person_id
  ) then
    return false;
  end if;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  values (_link.identity_id, _link.linked_identity_id, _link.kind, _link.linked_at)
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, linked_at = excluded.linked_at, unlinked_at = null;

  perform track._resolve_people(array[_link.identity_id]);
  return true;
end;
$$;

comment on function track._link(bigint, bigint, text, timestamptz) is $$
Links an identity to another one, unless it is already, was taken back later, or an `identify` would join two users. `track._lock_people` comes first.
$$;

create or replace function track.link_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves their data, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.person and kind <> 'nobody'
    order by kind = 'user' desc
    limit 1
  );
  v_other_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.other and kind <> 'nobody'
    order by kind = 'user' desc
    limit 1
  );
begin
  if v_person_id is null or v_other_id is null then
    raise exception using
      errcode = 'CF002',
      message = format('nobody is known as "%s"', case when v_person_id is null then link_identities.person else link_identities.other end),
      hint = 'Give the userId or anonymousId that was sent with events.';
  end if;
  if v_person_id = v_other_id then
    raise exception using
      errcode = 'CF001',
      message = format('"%s" would be linked to itself', link_identities.person),
      hint = 'Give two different names.';
  end if;
  perform track._lock_people(array[v_other_id, v_person_id]);
  return track._link(v_other_id, v_person_id, 'alias', clock_timestamp());
end;
$$;

comment on function track.link_identities(text, text) is $$
Says that two names are one person: what `other` did, and will do, belongs to `person`. False when they are linked already.
Errors: CF002 for a name that nobody has, CF001 for a name and itself. `track.unlink_identities` takes it back.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
