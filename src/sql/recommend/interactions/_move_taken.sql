create or replace function recommend._move_taken(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with named as (
    select array_agg(taken.identity_id) as identity_ids, array_agg(taken.first_at) as first_at,
      array_agg(taken.person_id) as people, array_agg(taken.item_id) as items
    from recommend.taken
    where taken.person_id = any (_move_taken.people)
  ),

  moved as materialized (
    select entry.person_id, entry.identity_id, entry.item_id, entry.owner_id
    from named
    cross join lateral unnest(
      named.people, named.identity_ids, named.items,
      track.people_of_identities(named.identity_ids, named.first_at)
    ) as entry (person_id, identity_id, item_id, owner_id)
    where entry.owner_id is distinct from entry.person_id
      or not privacy.may_store(entry.person_id, 'personalization')
  ),

  deleted as (
    delete from recommend.taken
    using moved
    where taken.person_id = moved.person_id
      and taken.identity_id = moved.identity_id
      and taken.item_id = moved.item_id
    returning moved.owner_id, taken.*
  )

  insert into recommend.taken (
    person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  )
  select
    owner_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
    liked_at, known_at, topic_dismissed_at
  from deleted
  where owner_id <> person_id
    and privacy.may_store(owner_id, 'personalization')
  on conflict do nothing;
end;
$$;

comment on function recommend._move_taken(bigint[]) is $$
@behavior -*
Moves rows of `recommend.taken` to the people to whom their identities belong now, after links or unlinks.
Rows of people who have opted out of `personalization`, and of identities that do not exist any more, are deleted.
$$;
