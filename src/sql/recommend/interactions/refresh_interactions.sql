/*
 * An event can add to, complete or dismiss an interaction, and a merge or an erasure can remove events. Therefore the
 * interactions of the changed people are recomputed from all of their events. Only rows that differ are written.
 */
create or replace function recommend.refresh_interactions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
  v_allowed constant bigint[] := array(
    select distinct changed.person_id
    from unnest(refresh_interactions.people) as changed (person_id)
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', refresh_interactions.people) as decision
        where decision.granted <> v_by_default
      )
    )
  );
  v_topics recommend.dismissed_topic[];
begin
  if exists (select 1 from recommend.taken where taken.person_id = any (refresh_interactions.people)) then
    perform recommend._move_taken(refresh_interactions.people);
  end if;

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  -- Stored interactions whose first event is not among those of the person any more: it was moved, or is deleted.
  suspect as (
    select
      array_agg(interaction.person_id) as people,
      array_agg(interaction.item_id) as items,
      array_agg(interaction.first_at) as first_at,
      array_agg(coalesce(interaction.identity_id, interaction.person_id)) as identity_ids
    from recommend.interaction
    where interaction.person_id = any (v_allowed)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
          and fresh.first_at = interaction.first_at
      )
  ),

  kept as (
    select
      array_agg(taken) as interactions,
      track.people_of_identities(array_agg(taken.identity_id), array_agg(taken.first_at)) as owners
    from suspect
    -- A table of the coordinator: Citus would call the functions on a worker.
    cross join recommend.setting
    cross join lateral recommend._kept_of(
      suspect.people, suspect.items, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as taken
  ),

  stored_taken as (
    insert into recommend.taken (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at
    )
    select distinct on (entry.owner_id, entry.item_id, entry.identity_id)
      entry.owner_id, entry.identity_id, entry.item_id, entry.first_at, entry.last_at, entry.taken_at,
      entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liking, entry.liked_at, entry.known_at,
      entry.topic_dismissed_at
    from kept
    cross join lateral unnest(kept.interactions, kept.owners) as entry (
      person_id, identity_id, item_id, first_at, last_at, taken_at, completed_at, dropped_at, dismissed_at, liking,
      liked_at, known_at, topic_dismissed_at, owner_id
    )
    where entry.owner_id is not null
      and num_nonnulls(
        entry.taken_at, entry.completed_at, entry.dropped_at, entry.dismissed_at, entry.liked_at, entry.known_at,
        entry.topic_dismissed_at
      ) > 0
      and privacy.may_store(entry.owner_id, 'personalization')
    order by entry.owner_id, entry.item_id, entry.identity_id, entry.last_at desc
    on conflict (person_id, item_id, identity_id) do update
    set
      first_at = least(taken.first_at, excluded.first_at),
      last_at = greatest(taken.last_at, excluded.last_at),
      taken_at = greatest(taken.taken_at, excluded.taken_at),
      completed_at = greatest(taken.completed_at, excluded.completed_at),
      dropped_at = greatest(taken.dropped_at, excluded.dropped_at),
      dismissed_at = greatest(taken.dismissed_at, excluded.dismissed_at),
      liking = case when excluded.liked_at >= taken.liked_at or taken.liked_at is null then excluded.liking
        else taken.liking end,
      liked_at = greatest(taken.liked_at, excluded.liked_at),
      known_at = greatest(taken.known_at, excluded.known_at),
      topic_dismissed_at = greatest(taken.topic_dismissed_at, excluded.topic_dismissed_at)
  ),

  deleted as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select 1
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  ),

  stored as (
    insert into recommend.interaction (
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    )
    select
      person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at, identity_id, dropped_at,
      resumed_at, liking, liked_at, known_at, topic_dismissed_at, withdrawn_at
    from fresh
    where topic is null
    on conflict (person_id, item_id) do update
    set
      weight = excluded.weight,
      event_count = excluded.event_count,
      first_at = excluded.first_at,
      last_at = excluded.last_at,
      completed_at = excluded.completed_at,
      dismissed_at = excluded.dismissed_at,
      identity_id = excluded.identity_id,
      dropped_at = excluded.dropped_at,
      resumed_at = excluded.resumed_at,
      liking = excluded.liking,
      liked_at = excluded.liked_at,
      known_at = excluded.known_at,
      topic_dismissed_at = excluded.topic_dismissed_at,
      withdrawn_at = excluded.withdrawn_at
    where interaction is distinct from excluded
  )

  select array_agg(
    row(
      fresh.person_id, fresh.topic, fresh.topic_dismissed_at, fresh.withdrawn_at, fresh.identity_id, fresh.first_at
    )::recommend.dismissed_topic
  )
  into v_topics
  from fresh
  where fresh.topic is not null;

  if v_topics is not null
    or exists (
      select 1 from recommend.dismissed_topic where dismissed_topic.person_id = any (refresh_interactions.people)
    )
  then
    perform recommend._store_topics(refresh_interactions.people, v_allowed, v_topics);
  end if;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for the given people, whose events or decisions changed. Called by `track.refresh`.
All events of these people are read; `since` and `until` are not used. Idempotent, also after late events, merges of
people and deletions. People who have opted out of `personalization` have no interactions. Interactions whose events are
deleted are kept in `recommend.taken` as far as they leave items out of lists.
$$;
