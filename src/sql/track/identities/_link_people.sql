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
  -- The people of the identities: first those with a user identity, each group by age. The variables below refer to a
  -- person by its position in this array.
  v_people bigint[];
  v_users int;
  -- For each new link, in order: its position in the arguments, its kind, and the people that it joins.
  v_links int[];
  v_is_identify boolean[];
  v_froms int[];
  v_tos int[];
  -- A disjoint-set forest: for each person another one that it is joined to, or itself. The root gives the key.
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
  join unnest(v_people) with ordinality as linked_person (person_id, place)
    on linked_person.person_id = linked.person_id
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
    -- A browser that already belongs to a user is shared: its earlier events stay with that user.
    continue when v_is_identify[i] and v_from <> v_to and v_from <= v_users;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
    v_made := v_made || v_links[i];
  end loop;

  if v_made = '{}' then
    return 0;
  end if;

  -- A person is never joined to a later one, so that one pass in order leads from each person to its root.
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

  -- Blocks transactions that store data for these identities.
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
Links identities in the order of the lists, then moves their data once. Returns the number of new links.
A link is skipped when it exists, when it was removed at a later time, or when an `identify` would join two users. The
lists have the same length.
`also_locked`: further identities for which the caller stores data, and which are locked together with these.
$$;
