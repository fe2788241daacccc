/*
 * Interactions whose first event is deleted are kept, others are not: a changed weight, a merge or an unlink changes
 * what the events say, and the events are then at another person or have another weight, but exist.
 */
create or replace function recommend._kept_of(
  people bigint[],
  items bigint[],
  first_at timestamptz[],
  owners bigint[]
)
returns setof recommend.taken
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of a new database are those of empty tables.
set enable_seqscan to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_kept_kinds constant text[] := (select kept_kinds from recommend.setting);
  v_people bigint[] := '{}';
  v_items bigint[] := '{}';
  v_suspect record;
begin
  -- One by one: Citus finds the event on its worker, and plans no correlated subquery.
  for v_suspect in
    select suspect.person_id, suspect.item_id, suspect.first_at, suspect.owner_id
    from unnest(_kept_of.people, _kept_of.items, _kept_of.first_at, _kept_of.owners)
      as suspect (person_id, item_id, first_at, owner_id)
    where suspect.owner_id is not null
  loop
    if not exists (
      select
      from track.event
      where event.person_id = v_suspect.owner_id
        and event.occurred_at = v_suspect.first_at
    ) then
      v_people := v_people || v_suspect.person_id;
      v_items := v_items || v_suspect.item_id;
    end if;
  end loop;
  if v_people = '{}' then
    return;
  end if;

  return query
  with target as materialized (
    select distinct gone.person_id, item.item_id
    from unnest(_kept_of.people, _kept_of.items) as gone (person_id, item_id)
    join track.item_ancestor as ancestor on ancestor.item_id = gone.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    where gone.person_id = any (v_people)
      and gone.item_id = any (v_items)
      and item.kind = any (v_kept_kinds)
  ),

  summed as (
    select
      target.person_id,
      target.item_id,
      (
        array_agg(coalesce(interaction.identity_id, interaction.person_id)
          order by interaction.first_at, interaction.identity_id)
      )[1] as identity_id,
      min(interaction.first_at) as first_at,
      max(interaction.last_at) as last_at,
      sum(interaction.weight::float8) as weight,
      max(interaction.completed_at) filter (where part.depth = 0) as completed_at,
      max(interaction.dropped_at) filter (where part.depth = 0) as dropped_at,
      max(interaction.dismissed_at) filter (where part.depth = 0) as dismissed_at,
      max(interaction.liking) filter (where part.depth = 0) as liking,
      max(interaction.liked_at) filter (where part.depth = 0) as liked_at,
      max(interaction.known_at) filter (where part.depth = 0) as known_at,
      max(interaction.topic_dismissed_at) filter (where part.depth = 0) as topic_dismissed_at,
      coalesce(max(interaction.withdrawn_at) filter (where part.depth = 0), '-infinity') as withdrawn_at
    from target
    join track.item_ancestor as part on part.ancestor_item_id = target.item_id
    join recommend.interaction
      on interaction.person_id = target.person_id
      and interaction.item_id = part.item_id
    group by target.person_id, target.item_id
  )

  select
    summed.person_id, summed.identity_id, summed.item_id, summed.first_at, summed.last_at,
    case when summed.weight >= v_full_weight then summed.last_at end,
    summed.completed_at,
    summed.dropped_at,
    case when summed.dismissed_at > summed.withdrawn_at then summed.dismissed_at end,
    case when summed.liked_at > summed.withdrawn_at then summed.liking end,
    case when summed.liked_at > summed.withdrawn_at then summed.liked_at end,
    case when summed.known_at > summed.withdrawn_at then summed.known_at end,
    case when summed.topic_dismissed_at > summed.withdrawn_at then summed.topic_dismissed_at end
  from summed;
end;
$$;

comment on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[]) is $$
@behavior -*
Returns rows of `recommend.taken` for those of the given stored interactions whose first event is deleted.
The lists have one position per interaction whose first event is not among those of the person any more; `owners` are
the people to whom these events belong now. The rows are those of the items of `recommend.setting.kept_kinds` that
contain the items, computed from the stored interactions.
$$;

grant execute on function recommend._kept_of(bigint[], bigint[], timestamptz[], bigint[])
to insights_reader, insights_learner;
