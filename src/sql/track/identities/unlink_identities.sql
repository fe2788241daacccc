create or replace function track._resolve_people(identity_ids bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
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
        and kind <> 'claim'
        and unlinked_at is null
      union all
      select identity_link.identity_id
      from track.identity_link
      where linked_identity_id = reached.identity_id
        and kind <> 'claim'
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
    perform track._move_identities(v_moved, v_old, v_new);
  end if;
end;
$$;

comment on function track._resolve_people(bigint[]) is $$
Follows the links of the given identities, and moves each identity that belongs to another person now.
The caller has locked the people and the identities.
$$;

create or replace function track._give_back_browsers(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_froms bigint[];
  v_tos bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
begin
  with gone as (
    select distinct identity.identity_id, identity.external_id
    from track.identity
    where identity.identity_id = any (_give_back_browsers.identity_ids)
      and identity.kind = 'anonymous'
      and identity.user_identity_id is not null
      and not exists (
        select
        from track.identity_link as link
        where link.identity_id = identity.identity_id
          and link.linked_identity_id = identity.user_identity_id
          and link.kind <> 'claim'
          and link.unlinked_at is null
      )
  ),

  span as materialized (
    select
      gone.identity_id as old_identity_id,
      -- Without a user, all that the browser has sent is that of one identity.
      coalesce(browser.identity_id, min(gone.identity_id) over (partition by gone.external_id)) as identity_id,
      coalesce(browser.since, '-infinity') as since, coalesce(browser.until, 'infinity') as until
    from gone
    left join lateral track._browser_spans(gone.external_id) as browser on true
  ),

  freed as (
    update track.identity
    set user_identity_id = null
    from span
    where identity.identity_id = span.old_identity_id
      and identity.identity_id = span.identity_id
  )

  select array_agg(old_identity_id), array_agg(identity_id), array_agg(since), array_agg(until)
  into v_froms, v_tos, v_since, v_until
  from span
  where identity_id <> old_identity_id;

  if v_froms is not null then
    perform track._move_spans(v_froms, v_tos, v_since, v_until);
  end if;
end;
$$;

comment on function track._give_back_browsers(bigint[]) is $$
After links of browsers to users were removed: what they sent belongs to the other users of the browser, or to none.
$$;

create or replace function track._delete_empty_browsers(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_empty bigint[];
  v_names text[];
begin
  v_empty := array(
    select identity.identity_id
    from track.identity
    where identity.identity_id = any (_delete_empty_browsers.identity_ids)
      and identity.kind = 'anonymous'
      and identity.user_identity_id is not null
      and not exists (
        select
        from track.identity_link as link
        where identity.identity_id in (link.identity_id, link.linked_identity_id)
          and link.kind <> 'claim'
          and link.unlinked_at is null
      )
      -- Lists of people name identities.
      and not exists (select from track.exclusion where exclusion.identity_id = identity.identity_id)
      and not exists (select from track.person_set_member as listed where listed.identity_id = identity.identity_id)
  );

  -- Removed links are kept, so that an older message does not link again. Not by delete and insert, which would lock
  -- the other ends.
  with moved as (
    select
      link.identity_id, link.linked_identity_id, link.linked_at,
      (
        select sibling.identity_id
        from track.identity as sibling
        where sibling.external_id = identity.external_id
          and sibling.kind = 'anonymous'
          and sibling.identity_id <> all (v_empty)
        order by sibling.identity_id
        limit 1
      ) as new_identity_id
    from track.identity_link as link
    join track.identity on identity.identity_id = link.identity_id
    where link.identity_id = any (v_empty)
  )
  update track.identity_link
  set identity_id = moved.new_identity_id
  from moved
  where (identity_link.identity_id, identity_link.linked_identity_id, identity_link.linked_at)
      = (moved.identity_id, moved.linked_identity_id, moved.linked_at)
    and not exists (
      select
      from track.identity_link as other
      where (other.identity_id, other.linked_identity_id, other.linked_at)
        = (moved.new_identity_id, moved.linked_identity_id, moved.linked_at)
    );
  delete from track.identity_link
  where identity_link.identity_id = any (v_empty)
    or identity_link.linked_identity_id = any (v_empty);

  perform privacy.move_subjects(
    array_agg(empty.identity_id), array_agg(named.person_id), array_agg(named.identity_id)
  )
  from track.identity as empty
  cross join lateral (
    select sibling.identity_id, sibling.person_id
    from track.identity as sibling
    where sibling.external_id = empty.external_id
      and sibling.kind = 'anonymous'
      and sibling.identity_id <> all (v_empty)
    order by sibling.identity_id
    limit 1
  ) as named
  where empty.identity_id = any (v_empty);

  with deleted as (
    delete from track.identity
    where identity.identity_id = any (v_empty)
    returning identity.external_id, identity.branch
  )
  select array_agg(deleted.external_id) into v_names
  from deleted
  where deleted.branch = 0;
  -- Each name has a first identity.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (v_names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
  );
  delete from track.person
  where person.person_id = any (v_empty);
end;
$$;

comment on function track._delete_empty_browsers(bigint[]) is $$
Deletes identities of browsers for users without an active link. `track._give_back_browsers` has moved their data.
$$;

create or replace function track.unlink_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it splits a person and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_names constant bigint[] := track._with_siblings(array(
    select identity_id
    from track.identity
    where external_id in (unlink_identities.person, unlink_identities.other)
  ));
  v_all bigint[];
  v_ends bigint[];
begin
  perform track._lock_people(v_names);
  -- Blocks transactions that store data for these people.
  v_all := track._with_siblings(array(
    select identity.identity_id
    from track.identity
    where identity.person_id in (
      select named.person_id from track.identity as named where named.identity_id = any (v_names)
    )
  ));
  perform identity.identity_id
  from track.identity
  where identity.identity_id = any (v_all)
  order by identity.identity_id
  for update;

  with taken as (
    update track.identity_link
    set unlinked_at = clock_timestamp()
    from track.identity as identity, track.identity as linked
    where identity_link.identity_id = identity.identity_id
      and identity_link.linked_identity_id = linked.identity_id
      and identity_link.unlinked_at is null
      and (
        (identity.external_id, linked.external_id) = (unlink_identities.other, unlink_identities.person)
        or (identity.external_id, linked.external_id) = (unlink_identities.person, unlink_identities.other)
      )
    returning identity_link.identity_id, identity_link.linked_identity_id
  )
  select array_agg(identity_id) || array_agg(linked_identity_id) into v_ends
  from taken;

  if v_ends is null then
    perform common.refuse(
      'CF002',
      format('"%s" and "%s" are not linked', left(unlink_identities.person, 100), left(unlink_identities.other, 100)),
      'The active links are the rows of track.identity_link where unlinked_at is null.'
    );
  end if;

  perform track._give_back_browsers(v_ends);
  perform track._resolve_people(v_ends);
  perform track._delete_empty_browsers(v_ends);
  return true;
end;
$$;

comment on function track.unlink_identities(text, text) is $$
Removes a link between two names. Each event then belongs to the person of its own identity.
Errors: CF002 when the names are not linked.
$$;

grant execute on function track.unlink_identities(text, text) to insights_admin;
