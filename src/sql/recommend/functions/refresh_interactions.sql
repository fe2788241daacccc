/*
 * An event can raise, complete or dismiss what a person has to do with an item, and a merge or an erasure can remove any
 * of it, so the people who changed are recomputed from all of their events; no one else is touched. Only rows that
 * differ are written.
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
  -- Allowed unless decided otherwise, or the other way round.
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
begin
  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  gone as (
    delete from recommend.interaction
    where interaction.person_id = any (refresh_interactions.people)
      and not exists (
        select
        from fresh
        where fresh.person_id = interaction.person_id
          and fresh.item_id = interaction.item_id
      )
  )

  insert into recommend.interaction (
    person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at
  )
  select person_id, item_id, weight, event_count, first_at, last_at, completed_at, dismissed_at
  from fresh
  on conflict (person_id, item_id) do update
  set
    weight = excluded.weight,
    event_count = excluded.event_count,
    first_at = excluded.first_at,
    last_at = excluded.last_at,
    completed_at = excluded.completed_at,
    dismissed_at = excluded.dismissed_at
  where interaction is distinct from excluded;
end;
$$;

comment on function recommend.refresh_interactions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.interaction` for people whose events or decisions changed, at whatever time. Called by `track.refresh`.
Idempotent, and right for late events, merges of people and deletions. People who opted out of `personalization` have no interactions.
$$;
