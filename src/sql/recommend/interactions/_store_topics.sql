create or replace function recommend._store_topics(
  people bigint[],
  allowed bigint[],
  fresh recommend.dismissed_topic[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rows whose first event is not among those of the person any more: it was moved, or is deleted.
  with fresh as materialized (
    select listed.*
    from unnest(_store_topics.fresh) as listed
  ),

  stored as materialized (
    select own.*
    from recommend.dismissed_topic as own
    where own.person_id = any (_store_topics.allowed)
  ),

  suspect as (
    select
      array_agg(stored.topic) as topics, array_agg(stored.dismissed_at) as dismissed_at,
      array_agg(stored.withdrawn_at) as withdrawn_at, array_agg(stored.identity_id) as identity_ids,
      array_agg(stored.first_at) as first_at
    from stored
    where not exists (
      select 1
      from fresh
      where fresh.person_id = stored.person_id
        and fresh.topic = stored.topic
        and fresh.first_at = stored.first_at
    )
  ),

  owned as materialized (
    select entry.owner_id, entry.topic, entry.dismissed_at, entry.withdrawn_at, entry.identity_id, entry.first_at
    from suspect
    cross join lateral unnest(
      suspect.topics, suspect.dismissed_at, suspect.withdrawn_at, suspect.identity_ids, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as entry (topic, dismissed_at, withdrawn_at, identity_id, first_at, owner_id)
    where entry.owner_id is not null
  ),

  present as materialized (
    select event.person_id, event.occurred_at
    from owned
    join track.event on event.person_id = owned.owner_id and event.occurred_at = owned.first_at
  ),

  said as (
    select fresh.*
    from fresh

    union all

    select owned.owner_id, owned.topic, owned.dismissed_at, owned.withdrawn_at, owned.identity_id, owned.first_at
    from owned
    where not exists (
      select 1
      from present
      where present.person_id = owned.owner_id
        and present.occurred_at = owned.first_at
    )
      and privacy.may_store(owned.owner_id, 'personalization')
  ),

  -- A row that moves to a person who is not refreshed now is added to hers.
  moved_to as (
    select distinct said.person_id, said.topic
    from said
    where said.person_id <> all (_store_topics.people)
  ),

  known as (
    select said.* from said

    union all

    select
      stored.person_id, stored.topic, stored.dismissed_at, stored.withdrawn_at, stored.identity_id, stored.first_at
    from moved_to
    join recommend.dismissed_topic as stored
      on stored.person_id = moved_to.person_id
      and stored.topic = moved_to.topic
  ),

  merged as materialized (
    select
      known.person_id,
      known.topic,
      max(known.dismissed_at) as dismissed_at,
      max(known.withdrawn_at) as withdrawn_at,
      (array_agg(known.identity_id order by known.first_at, known.identity_id))[1] as identity_id,
      min(known.first_at) as first_at
    from known
    group by known.person_id, known.topic
  ),

  deleted as (
    delete from recommend.dismissed_topic
    where dismissed_topic.person_id = any (_store_topics.people)
      and not exists (
        select 1
        from merged
        where merged.person_id = dismissed_topic.person_id
          and merged.topic = dismissed_topic.topic
      )
  )

  insert into recommend.dismissed_topic (person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at)
  select merged.person_id, merged.topic, merged.dismissed_at, merged.withdrawn_at, merged.identity_id, merged.first_at
  from merged
  on conflict (person_id, topic) do update
  set
    dismissed_at = excluded.dismissed_at,
    withdrawn_at = excluded.withdrawn_at,
    identity_id = excluded.identity_id,
    first_at = excluded.first_at
  where (
    dismissed_topic.dismissed_at, dismissed_topic.withdrawn_at, dismissed_topic.identity_id, dismissed_topic.first_at
  ) is distinct from (excluded.dismissed_at, excluded.withdrawn_at, excluded.identity_id, excluded.first_at);
end;
$$;

comment on function recommend._store_topics(bigint[], bigint[], recommend.dismissed_topic[]) is $$
@behavior -*
Replaces the topics that people are not interested in by those computed from their events.
A row whose first event is deleted stays, and follows its identity. `people` are refreshed, `allowed` are those of them
whose data may be used, `fresh` is the result of the computation.
$$;
