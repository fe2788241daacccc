/*
 * An event can raise, complete or take back what a person has to do with an item, and a merge or an erasure can take any
 * of it away, so the people who changed are computed anew from their events; nobody else is touched. Only rows that
 * differ are written.
 */
create or replace function recommend.refresh_interactions(most_people int default 2000)
returns bigint
language plpgsql
volatile
-- A definer: it reads everybody's events and writes recommend.interaction, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_people constant bigint[] := track._changed_people('recommend.interaction', refresh_interactions.most_people);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  v_allowed bigint[];
begin
  delete from track.changed
  where person_id = any (v_people)
    and consumer = 'recommend.interaction';

  -- Whoever objected is forgotten at the next refresh, whether or not anything else happened.
  delete from recommend.interaction
  where interaction.person_id = any (array(
    select decision.person_id
    from privacy.latest_decisions('personalization') as decision
    where not decision.granted
  ));

  if v_people = '{}' then
    return 0;
  end if;

  v_allowed := array(
    select changed.person_id
    from unnest(v_people) as changed (person_id)
    -- Allowed unless decided otherwise, or the other way round.
    where v_by_default <> (
      changed.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', v_people) as decision
        where decision.granted <> v_by_default
      )
    )
  );

  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(v_allowed) as interaction
  ),

  gone as (
    delete from recommend.interaction
    where interaction.person_id = any (v_people)
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

  return cardinality(v_people);
end;
$$;

comment on function recommend.refresh_interactions(int) is $$
Brings `recommend.interaction` up to date for at most so many people whose events changed; returns how many. Call it until that is 0.
Idempotent, and right for late events, merges of people and deletions. People who objected to `personalization` have no interactions.
Errors: CF001 for fewer than one person.
$$;

grant execute on function recommend.refresh_interactions(int) to insights_worker;
