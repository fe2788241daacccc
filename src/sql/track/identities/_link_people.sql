create or replace function track._enter_browsers(browsers text[], users bigint[], linked_at timestamptz[])
returns table (browser text, user_identity_id bigint, identity_id bigint)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
begin
  return query
  with pair as (
    select said.external_id, said.user_id, min(said.linked_at) as linked_at
    from unnest(_enter_browsers.browsers, _enter_browsers.users, _enter_browsers.linked_at)
      as said (external_id, user_id, linked_at)
    group by said.external_id, said.user_id
  ),

  found as materialized (
    select
      pair.external_id, pair.user_id, own.identity_id as own_id,
      row_number() over (partition by pair.external_id, own.identity_id is null order by pair.linked_at, pair.user_id)
        as place
    from pair
    left join track.identity as own
      on own.external_id = pair.external_id
      and own.kind = 'anonymous'
      and own.user_identity_id = pair.user_id
  ),

  placed as materialized (
    select
      free.external_id, free.user_id, free.identity_id is null as is_new,
      coalesce(free.identity_id, nextval('track.identity_identity_id_seq')) as identity_id
    from (
      select
        found.external_id, found.user_id,
        case
          when found.own_id is not null then found.own_id
          -- The identity of a browser without a user becomes that of its first one, unless it belongs to another person
          -- by a link to another browser.
          when found.place = 1 then (
            select browser.identity_id
            from track.identity as browser
            where browser.external_id = found.external_id
              and browser.kind = 'anonymous'
              and browser.user_identity_id is null
              and (
                (select key.kind from track.identity as key where key.identity_id = browser.person_id) <> 'user'
                or browser.person_id = (
                  select person.person_id from track.identity as person where person.identity_id = found.user_id
                )
              )
          )
        end as identity_id
      from found
    ) as free
  ),

  entered as (
    insert into track.identity (identity_id, kind, external_id, person_id, user_identity_id, branch, browser)
    overriding system value
    select
      placed.identity_id, 'anonymous', placed.external_id, placed.identity_id, placed.user_id, placed.identity_id,
      (
        select other.browser
        from track.identity as other
        where other.external_id = placed.external_id and other.kind = 'anonymous'
        limit 1
      )
    from placed
    where placed.is_new
    returning track.identity.person_id
  ),

  people as (
    insert into track.person (person_id)
    select entered.person_id
    from entered
  )

  select placed.external_id, placed.user_id, placed.identity_id
  from placed;
end;
$$;

comment on function track._enter_browsers(text[], bigint[], timestamptz[]) is $$
Returns the identity of each browser and user; new ones are inserted. The caller has locked the people.
$$;

create or replace function track._move_to_users(identity_ids bigint[], linked_at timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- Browsers that several people have used.
  v_shared text[];
  v_froms bigint[];
  v_tos bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  v_shared := array(
    select distinct sibling.external_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_move_to_users.identity_ids)
      and identity.kind = 'anonymous'
      and sibling.branch <> 0
  );
  if v_shared = '{}' then
    return;
  end if;

  -- A new link changes the user from its time to the next link; the first one also before.
  with span as materialized (
    select shared.external_id, browser.*
    from unnest(v_shared) as shared (external_id)
    cross join lateral track._browser_spans(shared.external_id) as browser
  ),

  changed as materialized (
    select distinct span.external_id, span.identity_id, span.since, span.until
    from unnest(_move_to_users.identity_ids, _move_to_users.linked_at) as link (identity_id, linked_at)
    join span on span.identity_id = link.identity_id and span.linked_at = link.linked_at
  )

  select
    array_agg(other.identity_id), array_agg(changed.identity_id), array_agg(changed.since), array_agg(changed.until)
  into v_froms, v_tos, v_since, v_until
  from changed
  join track.identity as other
    on other.external_id = changed.external_id
    and other.kind = 'anonymous'
    and other.identity_id <> changed.identity_id;

  if v_froms is not null then
    perform track._move_spans(v_froms, v_tos, v_since, v_until);
  end if;
end;
$$;

comment on function track._move_to_users(bigint[], timestamptz[]) is $$
After new links of browsers to users: moves what the browsers sent to the identities of the users.
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
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  -- For each new link, in order: its ends, kind and time. For a browser, the first end is its identity for the user.
  v_froms bigint[];
  v_tos bigint[];
  v_kinds text[];
  v_times timestamptz[];
  v_browsers text[];
  v_all bigint[];
  -- The people of the ends: first those with a user identity, each group by age. The variables below refer to a person
  -- by its position in this array.
  v_people bigint[];
  v_from_places int[];
  v_to_places int[];
  -- A disjoint-set forest: for each person another one that it is joined to, or itself. The root gives the key.
  v_joined int[];
  v_from int;
  v_to int;
  v_moved bigint[];
  v_old bigint[];
  v_new bigint[];
begin
  perform track._lock_people(_link_people.identity_ids || _link_people.linked_identity_ids);

  -- Materialized, because a join could otherwise call the function again for each row of the other side.
  with given as materialized (
    select link.*
    from unnest(_link_people.identity_ids, _link_people.linked_identity_ids, _link_people.kinds, _link_people.linked_at)
      with ordinality as link (identity_id, linked_identity_id, kind, linked_at, position)
    where not track._is_linked(link.identity_id, link.linked_identity_id, link.linked_at)
  ),

  said as materialized (
    -- A browser keeps each link to a user, because another user may have identified between two of them.
    select distinct on (
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end
    )
      link.position, link.identity_id, link.linked_identity_id, link.kind, link.linked_at,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then browser.external_id end as browser
    from given as link
    join track.identity as browser on browser.identity_id = link.identity_id
    join track.identity as linked on linked.identity_id = link.linked_identity_id
    order by
      link.identity_id, link.linked_identity_id,
      case when browser.kind = 'anonymous' and linked.kind = 'user' then link.linked_at end,
      link.position
  ),

  entered as (
    select entered.*
    from (
      select array_agg(browser) as browsers, array_agg(linked_identity_id) as users, array_agg(said.linked_at) as times
      from said
      where browser is not null
    ) as pair
    cross join lateral track._enter_browsers(pair.browsers, pair.users, pair.times) as entered
  )

  select
    array_agg(coalesce(entered.identity_id, said.identity_id) order by said.position),
    array_agg(said.linked_identity_id order by said.position),
    array_agg(said.kind order by said.position),
    array_agg(said.linked_at order by said.position),
    array_agg(said.browser order by said.position)
  into v_froms, v_tos, v_kinds, v_times, v_browsers
  from said
  left join entered on entered.browser = said.browser and entered.user_identity_id = said.linked_identity_id;

  if v_froms is null then
    return 0;
  end if;

  with person as materialized (
    select
      person.person_id,
      row_number() over (order by person.is_user desc, person.person_id)::int as place
    from (
      select distinct identity.person_id, name.kind = 'user' as is_user
      from track.identity
      join track.identity as name on name.identity_id = identity.person_id
      where identity.identity_id = any (v_froms || v_tos)
    ) as person
  )

  select
    array(select person.person_id from person order by person.place),
    array_agg(from_person.place order by link.position),
    array_agg(to_person.place order by link.position)
  into v_people, v_from_places, v_to_places
  from unnest(v_froms, v_tos) with ordinality as link (from_id, to_id, position)
  join track.identity as from_identity on from_identity.identity_id = link.from_id
  join track.identity as to_identity on to_identity.identity_id = link.to_id
  join person as from_person on from_person.person_id = from_identity.person_id
  join person as to_person on to_person.person_id = to_identity.person_id;

  v_joined := array(select generate_series(1, cardinality(v_people)));
  for i in 1 .. cardinality(v_froms) loop
    v_from := v_from_places[i];
    while v_joined[v_from] <> v_from loop
      v_joined[v_from] := v_joined[v_joined[v_from]];
      v_from := v_joined[v_from];
    end loop;
    v_to := v_to_places[i];
    while v_joined[v_to] <> v_to loop
      v_joined[v_to] := v_joined[v_joined[v_to]];
      v_to := v_joined[v_to];
    end loop;
    v_joined[greatest(v_from, v_to)] := least(v_from, v_to);
  end loop;

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
  v_all := track._with_siblings(v_froms || v_tos || v_moved || _link_people.also_locked);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  update track.identity
  set user_identity_id = link.to_id
  from unnest(v_froms, v_tos, v_browsers) as link (from_id, to_id, browser)
  where identity.identity_id = link.from_id
    and identity.user_identity_id is null
    and link.browser is not null;

  insert into track.identity_link (identity_id, linked_identity_id, kind, linked_at)
  select link.from_id, link.to_id, link.kind, link.linked_at
  from unnest(v_froms, v_tos, v_kinds, v_times) as link (from_id, to_id, kind, linked_at)
  on conflict on constraint identity_link_pkey do update
  set kind = excluded.kind, unlinked_at = null;

  if v_moved is not null then
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
  perform track._move_to_users(v_froms, v_times);
  return cardinality(v_froms);
end;
$$;

comment on function track._link_people(bigint[], bigint[], text[], timestamptz[], bigint[]) is $$
Links identities in the order of the lists, then moves their data once. Returns the number of new links.
A link of a browser to a user applies from its time to the next link of the browser; the first one also before. A link
is skipped when it exists, or when it was removed at a later time. The lists have the same length.
`also_locked`: further identities for which the caller stores data, and which are locked together with these.
$$;
