create or replace function track.split_person(person text, names text[])
returns int
language plpgsql
volatile
-- A definer: it splits a person and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_identity_id bigint;
  v_person_id bigint;
  v_unknown text;
  v_all bigint[];
  -- The identities that leave, and those that stay.
  v_leaving bigint[];
  v_staying bigint[];
  v_ends bigint[];
  v_removed int;
begin
  if coalesce(cardinality(split_person.names), 0) not between 1 and 10000 or array_ndims(split_person.names) > 1 then
    perform common.refuse('CF001', format('there are %s names', coalesce(cardinality(split_person.names), 0)),
      'Give a list of 1 to 10000 names of the person.');
  end if;
  v_identity_id := track._named_identity(split_person.person, clock_timestamp());
  if v_identity_id is null then
    perform common.refuse(
      'CF002', format('there is no person "%s"', coalesce(left(split_person.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  perform track._lock_people(array[v_identity_id]);
  v_person_id := (select identity.person_id from track.identity where identity.identity_id = v_identity_id);

  select given.name into v_unknown
  from unnest(split_person.names) as given (name)
  where not exists (
    select
    from track.identity
    where identity.person_id = v_person_id
      and identity.external_id = given.name
  )
  limit 1;
  if found then
    perform common.refuse(
      'CF002',
      format(
        '"%s" is not a name of the person "%s"', coalesce(left(v_unknown, 100), 'null'),
        left(split_person.person, 100)
      ),
      'The names of a person are the rows of track.identity with her person_id.'
    );
  end if;

  -- The browsers of a user leave with her.
  select
    array_agg(named.identity_id) filter (where named.leaves),
    array_agg(named.identity_id) filter (where not named.leaves)
  into v_leaving, v_staying
  from (
    select
      identity.identity_id,
      identity.external_id = any (split_person.names)
        or (
          select user_identity.external_id = any (split_person.names)
          from track.identity as user_identity
          where user_identity.identity_id = identity.user_identity_id
        ) is true as leaves
    from track.identity
    where identity.person_id = v_person_id
  ) as named;
  if v_staying is null then
    perform common.refuse(
      'CF001', format('all names of the person "%s" would leave', left(split_person.person, 100)),
      'Name those that belong to another person. The browsers of a user leave with her.'
    );
  end if;

  -- Blocks transactions that store data for this person.
  v_all := track._with_siblings(v_leaving || v_staying);
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  -- A merge is undone without a trace. Removed links of messages are kept, so that an older message does not link
  -- again.
  with removed as materialized (
    select link.identity_id, link.linked_identity_id, link.linked_at, link.kind
    from track.identity_link as link
    where link.unlinked_at is null
      and link.kind <> 'claim'
      and (
        link.identity_id = any (v_leaving) and link.linked_identity_id = any (v_staying)
        or link.identity_id = any (v_staying) and link.linked_identity_id = any (v_leaving)
      )
  ),

  deleted as (
    delete from track.identity_link as link
    using removed
    where (link.identity_id, link.linked_identity_id, link.linked_at)
        = (removed.identity_id, removed.linked_identity_id, removed.linked_at)
      and removed.kind = 'merge'
  ),

  ended as (
    update track.identity_link as link
    set unlinked_at = greatest(clock_timestamp(), link.linked_at)
    from removed
    where (link.identity_id, link.linked_identity_id, link.linked_at)
        = (removed.identity_id, removed.linked_identity_id, removed.linked_at)
      and removed.kind <> 'merge'
  )

  select count(*), array_agg(removed.identity_id) || array_agg(removed.linked_identity_id)
  into v_removed, v_ends
  from removed;

  perform track._give_back_browsers(v_ends);
  perform track._resolve_people(v_ends);
  perform track._delete_empty_browsers(v_ends);
  return v_removed;
end;
$$;

comment on function track.split_person(text, text[]) is $$
Splits names off a person, and removes all links between these names and the others. Returns the number of links.
The browsers of a named user leave with her. Afterwards everything is as if the two had never been linked: each event,
trait, enrolment, decision and list belongs to the person of its own identity, and all derived data follows with the
next refresh. Undoes `track.merge_persons`, `track.link_identities` and links of messages; an `identify` or `alias`
of a later time links again. Errors: CF001 for an empty list, or when no name would stay, CF002 for an unknown person or
a name that is not hers.
$$;

grant execute on function track.split_person(text, text[]) to insights_admin;
