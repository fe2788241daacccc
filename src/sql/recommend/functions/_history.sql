create or replace function recommend._history(
  person_id bigint,
  kind text
)
returns table (item_id bigint, strength real, is_left_out boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  -- Whether events are queued for the refresh. Then the stored interactions are incomplete.
  v_is_behind constant boolean := exists (
    select from track.stale where stale.person_id = _history.person_id
  ) or exists (
    select
    from track.changed
    where changed.person_id = _history.person_id
      and changed.consumer = 'recommend.interaction'
  );
begin
  -- Without consent no data is read.
  if not privacy.allowed(_history.person_id, 'personalization') then
    return;
  end if;

  return query
  -- Items that the person teaches or wrote, with all that they contain: her use is not that of a learner.
  with own as materialized (
    select distinct ancestor.item_id
    from track.applied_item_role as item_role
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
    where item_role.person_id = _history.person_id
  ),

  stored as (
    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend.interaction
    where interaction.person_id = _history.person_id
      and not v_is_behind

    union all

    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend._interactions_of(array[_history.person_id]) as interaction
    where v_is_behind
  ),

  leaf as (
    select stored.item_id, stored.weight, stored.completed_at is not null or stored.dismissed_at is not null as is_over
    from stored

    union all

    -- An enrolment that the application reports counts as taken, with any status.
    select enrolment.item_id, v_full_weight, true
    from track.enrolment
    where enrolment.person_id = _history.person_id
  )

  select
    target.item_id,
    least(sum(leaf.weight::float8) / v_full_weight, 1)::real,
    -- An item is left out when the item itself is over, not when only a part of it is.
    sum(leaf.weight::float8) >= v_full_weight or bool_or(leaf.is_over and ancestor.depth = 0)
  from leaf
  join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _history.kind
    and leaf.item_id not in (select own.item_id from own)
  group by target.item_id

  union all

  select target.item_id, 0, true
  from own
  join track.item as target on target.item_id = own.item_id
  where target.kind = _history.kind;
end;
$$;

comment on function recommend._history(bigint, text) is $$
@behavior -*
Returns the items of a kind that a person has interacted with, as far as the caller may read them.
`strength` is from 0 to 1, summed over what an item contains. `is_left_out` is true for an item that is not
recommended: taken, finished, dismissed or enrolled in, or one that the person teaches or wrote, whose strength is 0 as
of all that it contains. Events that the refresh has not processed yet are included.
Empty for a person who has opted out of `personalization`.
$$;

grant execute on function recommend._history(bigint, text) to insights_reader, insights_learner;
