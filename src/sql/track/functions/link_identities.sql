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
Locks the people of some identities: until the transaction ends, nobody else links or unlinks an identity of them.
$$;

create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_since timestamptz;
  v_until timestamptz;
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  -- Each event of a person lies in a session or in what is to be refreshed. A browser has been there for a day or so,
  -- and a new one has no events.
  select min(period.since), max(period.until)
  into v_since, v_until
  from (
    select stale.since, stale.until
    from track.stale
    where stale.person_id = any (_move_identities.old_people)
    union all
    select session.started_at, session.ended_at
    from track.session
    where session.person_id = any (_move_identities.old_people)
  ) as period;

  -- Rows move by deletion and insertion: the person is what they are distributed by. Planned each time, so that only
  -- the months between are touched.
  if v_since is not null then
    execute $statement$
      with gone as (
        delete from track.event
        using unnest($1, $2, $3) as moved (identity_id, old_person_id, new_person_id)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at between $4 and $5
        returning moved.old_person_id, moved.new_person_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
        )
        select new_person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties
        from gone
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from gone
      group by old_person_id
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from gone
      group by new_person_id
    $statement$
    using _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people, v_since, v_until;
  end if;

  with gone as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from gone;

  with gone as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id
    from gone
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from gone;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and all that came with them, each from its old person to its new one; the three lists have the same length.
Costs what the identities have. The people and the identities are locked by the caller.
$$;

create or replace function track._resolve_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
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

  if v_moved is not null then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_moved)
    order by identity.identity_id
    for update;
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
end;
$$;

comment on function track._resolve_people(bigint[]) is $$
Walks through the links of some identities and moves whoever is not with the person that they resolve to. `track._lock_people` comes first.
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

create or replace function track._link_people(
  identity_ids bigint[],
  linked_identity_ids bigint[],
  kinds text[],
  linked_at timestamptz[],
  also_locked bigint[] default '{}'
)
returns int
language plpgsql
volatile
-- A definer: it writes track.identity_link, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_ends constant bigint[] := _link_people.identity_ids || _link_people.linked_identity_ids;
  -- Whose identities are linked: first those who have a user, each group by age. Below, a person is its place here.
  v_people bigint[];
  v_users int;
  -- For each link that is not made yet, in order: its place in the arguments, its kind, and whom it joins.
  v_links int[];
  v_is_identify boolean[];
  v_froms int[];
  v_tos int[];
  -- For each person one that it is joined to, or itself; following it leads to the one whose name all will have.
  v_joined int[];
  v_from int;
  v_to int;
  v_made int[] := '{}';
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  perform track._lock_people(v_ends);

  select array_agg(person_id order by is_user desc, person_id), count(*) filter (where is_user)
  into v_people, v_users
  from (
    select distinct identity.person_id, name.kind = 'user' as is_user
    from track.identity
    join track.identity as name on name.identity_id = identity.person_id
    where identity.identity_id = any (v_ends)
  ) as person;

  select
    array_agg(link.position order by link.position),
    array_agg(link.kind = 'identify' order by link.position),
    array_agg(person.place order by link.position),
    array_agg(linked_person.place order by link.position)
  into v_links, v_is_identify, v_froms, v_tos
  from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
    with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
  join track.identity on identity.identity_id = link.identity_id
  join track.identity as linked on linked.identity_id = link.linked_identity_id
  join unnest(v_people) with ordinality as person (person_id, place) on person.person_id = identity.person_id
  join unnest(v_people) with ordinality as linked_person (person_id, place) on linked_person.person_id = linked.person_id
  where not track._is_linked(link.identity_id, link.linked_identity_id, link.linked_at);

  v_joined := array(select generate_series(1, cardinality(v_people)));
  for i in 1 .. coalesce(cardinality(v_links), 0) loop
    v_from := v_froms[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_tos[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    -- A browser that belongs to one user already is shared: its past stays with that user.
    continue when v_is_identify[i] and v_from <> v_to and v_from <= v_users;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
    v_made := v_made || v_links[i];
  end loop;

  if v_made = '{}' then
    return 0;
  end if;

  -- Nobody is joined to somebody behind, so one pass leads everybody to the end.
  for i in 1 .. cardinality(v_people) loop
    v_joined[i] := v_joined[v_joined[i]];
  end loop;

  select
    array_agg(identity.identity_id),
    array_agg(identity.person_id),
    array_agg(joined.person_id)
  into v_moved, v_old, v_new
  from unnest(v_people, v_joined) with ordinality as person (person_id, joined, place)
  join unnest(v_people) with ordinality as joined (person_id, place) on joined.place = person.joined
  join track.identity on identity.person_id = person.person_id
  where person.joined <> person.place;

  -- And nobody stores anything for these meanwhile.
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_ends || v_moved || _link_people.also_locked)
  order by identity.identity_id
  for update;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select distinct on (link.identity_id, link.linked_identity_id)
    link.identity_id, link.linked_identity_id, link.kind, link.linked_at
  from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
    with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
  join unnest(v_made) as made (position) using (position)
  order by link.identity_id, link.linked_identity_id, link.position
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, linked_at = excluded.linked_at, unlinked_at = null;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
  return cardinality(v_made);
end;
$$;

comment on function track._link_people(bigint[], bigint[], text[], timestamptz[], bigint[]) is $$
Links identities to others, one link after the other as the lists of the same length say, and moves what belongs to whom once at the end; returns how many links were made.
A link is left out that is there already, that was taken back later, or that would join two users by an `identify`.
`also_locked`: identities that the caller will store something for, and has to lock with these.
$$;

create or replace function track.link_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves their data, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
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
    perform common.refuse(
      'CF002',
      format(
        'nobody is known as "%s"',
        left(case when v_person_id is null then link_identities.person else link_identities.other end, 100)
      ),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  if v_person_id = v_other_id then
    perform common.refuse('CF001', format('"%s" would be linked to itself', left(link_identities.person, 100)),
      'Give two different names.');
  end if;
  return track._link_people(array[v_other_id], array[v_person_id], array['alias'], array[clock_timestamp()]) > 0;
end;
$$;

comment on function track.link_identities(text, text) is $$
Says that two names are one person: what `other` did, and will do, belongs to `person`. False when they are linked already.
Errors: CF002 for a name that nobody has, CF001 for a name and itself. `track.unlink_identities` takes it back.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
