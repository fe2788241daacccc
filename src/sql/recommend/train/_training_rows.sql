create or replace function recommend._training_rows(kind text, until timestamptz default 'infinity')
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- People with an item that they used before and after that time.
  v_straddling constant bigint[] := array(
    select distinct interaction.person_id
    from recommend.interaction
    where interaction.first_at < _training_rows.until
      and interaction.last_at >= _training_rows.until
  );
begin
  return query
  with leaf as (
    select interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at
    from recommend.interaction
    where interaction.last_at < _training_rows.until

    union all

    -- What a later event changed is computed from the events before that time.
    select before.person_id, before.item_id, before.weight, before.first_at, before.last_at
    from recommend._interactions_of(v_straddling, _training_rows.until) as before
    join recommend.interaction
      on interaction.person_id = before.person_id
      and interaction.item_id = before.item_id
      and interaction.last_at >= _training_rows.until

    union all

    -- Enrolments that the application reports count as taken.
    select enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at
    from track.enrolment
    where enrolment.enrolled_at < _training_rows.until
  ),

  allowed as (
    select leaf.*
    from leaf
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = leaf.person_id / 4096
      and get_bit(counted.people, (leaf.person_id % 4096)::int) <> 0
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  )

  select
    allowed.person_id,
    target.item_id,
    least(sum(allowed.weight::float8) / v_full_weight, 1)::real,
    min(allowed.first_at),
    max(allowed.last_at)
  from allowed
  join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _training_rows.kind
    -- Without items that the person teaches or wrote, and all that they contain.
    and not exists (
      select
      from track.item_ancestor as container
      join track.applied_item_role as item_role on item_role.item_id = container.ancestor_item_id
      where container.item_id = allowed.item_id
        and item_role.person_id = allowed.person_id
    )
  group by allowed.person_id, target.item_id
  having sum(allowed.weight) > 0;
end;
$$;

comment on function recommend._training_rows(text, timestamptz) is $$
@behavior -*
Returns the interactions and enrolments with the items of a kind, by the same rules as `recommend._history`.
Events and enrolments from `until` on do not count.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included, without
what they teach or wrote.
$$;
