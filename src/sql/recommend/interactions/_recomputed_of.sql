create or replace function recommend._recomputed_of(person_id bigint, items bigint[], since timestamptz)
returns table (
  item_id bigint,
  weight real,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text,
  taken_at timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(
      array[_recomputed_of.person_id], _recomputed_of.items, _recomputed_of.since
    ) as interaction
  ),

  stored as materialized (
    select interaction.person_id, interaction.item_id, interaction.first_at, interaction.identity_id
    from recommend.interaction
    where interaction.person_id = _recomputed_of.person_id
      and (_recomputed_of.items is null or interaction.item_id = any (_recomputed_of.items))
  ),

  -- Stored interactions whose first event is not there any more, which the next refresh may keep.
  suspect as (
    select
      array_agg(stored.person_id) as people,
      array_agg(stored.item_id) as items,
      array_agg(stored.first_at) as first_at,
      array_agg(identity.person_id) as owners
    from stored
    join track.identity
      on identity.identity_id = coalesce(stored.identity_id, stored.person_id)
      and identity.person_id = stored.person_id
    where not exists (
      select 1
      from fresh
      where fresh.item_id = stored.item_id
        and fresh.first_at = stored.first_at
    )
  ),

  dismissed as materialized (
    select
      dismissed_topic.topic, dismissed_topic.dismissed_at, dismissed_topic.withdrawn_at, dismissed_topic.identity_id
    from recommend.dismissed_topic
    where dismissed_topic.person_id = _recomputed_of.person_id
      and _recomputed_of.since = '-infinity'
      and (
        select true
        from track.event
        where event.person_id = _recomputed_of.person_id
          and event.occurred_at = dismissed_topic.first_at
        limit 1
      ) is null
  )

  select
    fresh.item_id, fresh.weight, fresh.last_at, fresh.completed_at, fresh.dismissed_at, fresh.dropped_at,
    fresh.resumed_at, fresh.liking, fresh.liked_at, fresh.known_at, fresh.topic_dismissed_at, fresh.withdrawn_at,
    fresh.topic, null::timestamptz
  from fresh

  union all

  select
    coalesce(item.merged_item_id, item.item_id), 0, kept.last_at, kept.completed_at, kept.dismissed_at,
    kept.dropped_at, null, kept.liking, kept.liked_at, kept.known_at, kept.topic_dismissed_at, null, null,
    kept.taken_at
  from suspect
  cross join lateral recommend._kept_of(suspect.people, suspect.items, suspect.first_at, suspect.owners) as kept
  join track.item using (item_id)

  union all

  -- Topics whose events are deleted, which the next refresh keeps, too. Of a topic, only the last times are stored.
  select
    null, null, null, null, null, null, null, null, null, null, dismissed.dismissed_at, dismissed.withdrawn_at,
    dismissed.topic, null
  from dismissed
  where exists (
    select 1
    from track.identity
    where identity.identity_id = dismissed.identity_id
      and identity.person_id = _recomputed_of.person_id
  );
end;
$$;

comment on function recommend._recomputed_of(bigint, bigint[], timestamptz) is $$
@behavior -*
Returns what a person did with the given items, from her events since a time, for which stored rows are incomplete.
`items` null: all items. `since` is the time of the first event of these items. The rows with a topic and no item are
those of topics that were dismissed by name; from `-infinity`, all of them. What the next refresh keeps of deleted
events is included.
$$;

grant execute on function recommend._recomputed_of(bigint, bigint[], timestamptz)
to insights_reader, insights_learner;
